"""Hashes, the bounded pool that checks them, and tokens."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time

import argon2
import pytest

from mqd import passwords
from mqd.config import UserEntry
from mqd.core.access import Role
from mqd.core.standings import Standing
from mqd.passwords import (
    PasswordChecker,
    Tokens,
    digest_of,
    hash_password,
    new_token,
    new_user_token,
)
from mqwire.codes import Code
from mqwire.errors import CodedError

_weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
USERS = {
    "ada": UserEntry("ada", _weak.hash("correct horse"), Role.AGENT),
    "bob": UserEntry("bob", _weak.hash("battery staple"), Role.USER),
}
ADA = USERS["ada"]
DEADLINE_SECONDS = 10.0


@pytest.fixture
def checker():
    checker = PasswordChecker()
    yield checker
    checker.close()


@pytest.fixture
def gate(monkeypatch):
    """Hold every check in its thread until the gate is set; count those that have begun."""

    class Gate(threading.Event):
        begun = 0

    gate = Gate()
    verify = passwords._is_right

    def held(encoded, password):
        Gate.begun += 1
        assert gate.wait(DEADLINE_SECONDS)
        return verify(encoded, password)

    monkeypatch.setattr(passwords, "_is_right", held)
    yield gate
    gate.set()


async def settled(tasks, count):
    """Return when `count` of the tasks have begun and wait for their result."""
    for _ in range(count + 2):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks[:count])


async def until(condition):
    """Return when a thread has brought the condition about."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


def test_hashes_are_argon2id_with_the_stated_costs_and_a_salt():
    one, other = hash_password("x"), hash_password("x")
    assert one != other
    parameters = argon2.extract_parameters(one)
    assert parameters.type is argon2.Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19_456, 2, 1)


def test_nobodys_hash_costs_as_much_as_a_real_one():
    assert argon2.extract_parameters(passwords._NOBODY) == argon2.extract_parameters(
        hash_password("x")
    )


async def test_right_and_wrong_credentials(checker):
    assert await checker.check(ADA, "correct horse") == ADA
    assert await checker.check(USERS["bob"], "battery staple") == USERS["bob"]
    assert await checker.check(ADA, "battery staple") is None
    assert await checker.check(ADA, "") is None


async def test_a_user_that_does_not_exist_has_no_password(checker):
    # Also not the password whose hash is used in the place of one.
    assert await checker.check(None, "correct horse", ADA.password_hash) is None
    assert await checker.check(None, "") is None


@pytest.mark.parametrize("decoy", ["", ADA.password_hash])
async def test_a_user_that_does_not_exist_costs_a_check(checker, monkeypatch, decoy):
    seen = []
    monkeypatch.setattr(passwords, "_is_right", lambda *arguments: seen.append(arguments) or True)
    assert await checker.check(None, "pw", decoy) is None
    assert seen == [(decoy or passwords._NOBODY, "pw")]


async def test_a_hash_is_made_in_the_same_way_as_a_check(checker):
    encoded = await checker.hash("battery staple")
    assert argon2.extract_parameters(encoded) == argon2.extract_parameters(passwords._NOBODY)
    assert await checker.check(UserEntry("bob", encoded, Role.USER), "battery staple") is not None


async def test_as_many_as_may_wait_and_not_one_more(gate):
    checker = PasswordChecker(threads=2, max_waiting=3)
    tasks = [asyncio.ensure_future(checker.check(ADA, "correct horse")) for _ in range(5)]
    await settled(tasks, 5)
    with pytest.raises(CodedError) as caught:
        await checker.check(ADA, "correct horse")
    assert caught.value.code is Code.AUTH_BUSY
    gate.set()
    assert await asyncio.gather(*tasks) == [ADA] * 5
    # Every place is free again.
    tasks = [asyncio.ensure_future(checker.check(ADA, "x")) for _ in range(5)]
    assert await asyncio.gather(*tasks) == [None] * 5
    checker.close()


async def test_the_shipped_bound():
    assert (passwords.THREADS, passwords.MAX_WAITING) == (2, 32)
    checker = PasswordChecker()
    assert all(checker._slots.acquire(blocking=False) for _ in range(34))
    with pytest.raises(CodedError, match="AUTH_BUSY"):
        await checker.check(ADA, "x")
    checker.close()


async def test_a_check_that_nobody_waits_for_keeps_its_place_and_is_skipped(gate):
    checker = PasswordChecker(threads=1, max_waiting=1)
    running = asyncio.ensure_future(checker.check(ADA, "correct horse"))
    waiting = asyncio.ensure_future(checker.check(ADA, "correct horse"))
    await settled([running, waiting], 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(CodedError, match="AUTH_BUSY"):
        await checker.check(ADA, "correct horse")
    gate.set()
    assert await running == ADA
    # One thread, first come first served: when this one is done, the skipped one was passed.
    await until(lambda: checker._slots._value)
    assert await checker.check(ADA, "correct horse") == ADA
    assert gate.begun == 2
    checker.close()


async def test_closing_ends_what_waits_and_refuses_what_comes(gate):
    checker = PasswordChecker(threads=1, max_waiting=1)
    running = asyncio.ensure_future(checker.check(ADA, "correct horse"))
    waiting = asyncio.ensure_future(checker.check(ADA, "correct horse"))
    await settled([running, waiting], 2)
    await until(lambda: gate.begun)
    checker.close()
    checker.close()
    gate.set()
    assert await running == ADA
    with pytest.raises(CodedError) as caught:
        await waiting
    assert caught.value.code is Code.SHUTTING_DOWN
    with pytest.raises(CodedError, match="SHUTTING_DOWN"):
        await checker.check(ADA, "correct horse")


async def test_a_failure_of_the_hash_is_no_wrong_password(checker):
    broken = UserEntry("ada", "no hash at all", Role.ADMIN)
    with pytest.raises(argon2.exceptions.InvalidHashError):
        await checker.check(broken, "x")
    assert checker._slots._value == 34


def test_secrets_are_in_no_repr():
    assert "correct" not in repr(passwords._Job("hash", "correct horse"))


def test_tokens_are_long_random_and_fit_for_urls():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert len(token) == 43
        assert token.replace("-", "").replace("_", "").isalnum()


def test_a_users_token_is_known_for_what_it_is():
    token = new_user_token()
    assert token.startswith("mqt_")
    assert len(token) == 47
    assert digest_of(token) == hashlib.sha256(token.encode()).digest()


def test_tokens_are_known_by_their_digest():
    tokens, token, other = Tokens(), new_token(), new_token()
    admin = Standing("owner", Role.ADMIN, "owner")
    agent = Standing("worker", Role.AGENT, "owner")
    assert tokens.check(token) is None
    tokens.add(token, admin)
    tokens.add(other, agent)
    assert tokens.check(token) == admin
    assert tokens.check(other) == agent
    for wrong in ("", token[:-1], token + "a", token.swapcase(), "é\ud800"):
        assert tokens.check(wrong) is None
    assert token not in repr(vars(tokens))
