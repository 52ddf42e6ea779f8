"""Passwords and tokens: who somebody is.

What it is: argon2id hashes, checked in two threads behind a bounded queue, and
random tokens of which only a digest is kept.
What it is not: what somebody may do (`mqd.core.access`), or where users are
configured (`mqd.config`).

Theory of operation. One check takes tens of milliseconds and 19 MiB, so checks
run off the event loop, two at a time, and no more than a few wait: past that a
client is told to come again. A slot is given back by the thread that has done
the check, or that skips it because nobody waits for it any longer; so a client
that hangs up in the middle cannot make more work than one that stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import argon2

from mqwire.codes import Code
from mqwire.errors import CodedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mqd.config import UserEntry
    from mqd.core.access import Role

TOKEN_BYTES: Final = 32
THREADS: Final = 2
MAX_WAITING: Final = 32

# OWASP's least for argon2id with one lane: 19 MiB and two passes.
_HASHER: Final = argon2.PasswordHasher(
    time_cost=2,
    memory_cost=19 * 1024,
    parallelism=1,
    hash_len=32,
    salt_len=16,
    type=argon2.Type.ID,
)

# A hash of random bytes that nobody has kept, for users that do not exist.
_NOBODY: Final = (
    "$argon2id$v=19$m=19456,t=2,p=1$"
    "OXzn0nWpS7OtP+jLw6MzKA$2G1nGenCLOvLfb0qUQLY7mj1YYjIAZjMHyrB1O4s5Z4"
)


@dataclass(frozen=True)
class User:
    """Somebody who has come in.

    Args:
        name: as configured, or as the server calls the owner of its token.
        role: what they may do.
    """

    name: str
    role: Role


def hash_password(text: str) -> str:
    """Return the encoded argon2id hash of a password, with a salt of its own.

    Takes tens of milliseconds: off the event loop, please.
    """
    return _HASHER.hash(text)


def new_token() -> str:
    """Return 256 random bits as text that a URL can hold."""
    return secrets.token_urlsafe(TOKEN_BYTES)


class Tokens:
    """The tokens that are taken, each for a user. Holds digests, never tokens."""

    def __init__(self) -> None:
        self._users: list[tuple[bytes, User]] = []

    def add(self, token: str, user: User) -> None:
        """Take `token` from here on as the word of `user`."""
        self._users.append((_digest(token), user))

    def check(self, token: str) -> User | None:
        """Return whose token this is, or None.

        Complexity: a comparison with every token that is taken, whichever it is, so
        that the time tells nothing.
        """
        digest = _digest(token)
        found = [user for known, user in self._users if hmac.compare_digest(known, digest)]
        return found[0] if found else None


def _digest(token: str) -> bytes:
    # A token is 256 random bits: a fast digest is enough, there is nothing to guess.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class PasswordChecker:
    """Checks passwords off the event loop, a few at a time.

    Args:
        threads: checks that run at a time.
        max_waiting: checks that wait beside those.
    """

    def __init__(self, *, threads: int = THREADS, max_waiting: int = MAX_WAITING) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="mqd-password")
        self._slots = threading.BoundedSemaphore(threads + max_waiting)
        self._is_closed = False

    async def check(self, users: Mapping[str, UserEntry], name: str, password: str) -> User | None:
        """Return the user whose name and password these are, or None.

        A name that does not exist takes as long as one that does.

        Args:
            users: the configured users by name.
            name: as the client gave it.
            password: as the client gave it.

        Raises:
            CodedError: AUTH_BUSY if as many checks are under way as may be,
                SHUTTING_DOWN after `close`.

        Cancellation: a check that has not begun is skipped; nothing else is left behind.
        """
        if self._is_closed:
            raise _shutting_down()
        if not self._slots.acquire(blocking=False):
            raise CodedError(Code.AUTH_BUSY, "too many password checks are under way; try again")
        entry = users.get(name)
        # With a configured user's hash the time is right also for other costs than ours.
        encoded = entry or next(iter(users.values()), None)
        job = _Job(encoded.password_hash if encoded else _NOBODY, password)
        future = self._executor.submit(self._run, job)
        try:
            is_right = await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            job.is_wanted = False
            raise
        if is_right is None:
            raise _shutting_down()
        return User(entry.name, entry.role) if entry and is_right else None

    def close(self) -> None:
        """Take no more checks and skip those that wait. Does not wait for the running ones."""
        self._is_closed = True
        self._executor.shutdown(wait=False)

    def _run(self, job: _Job) -> bool | None:
        """Run a check in a thread; None if it is skipped."""
        try:
            if self._is_closed or not job.is_wanted:
                return None
            return _is_right(job.encoded, job.password)
        finally:
            self._slots.release()


@dataclass
class _Job:
    encoded: str = field(repr=False)
    password: str = field(repr=False)
    is_wanted: bool = True


def _is_right(encoded: str, password: str) -> bool:
    try:
        return _HASHER.verify(encoded, password)
    except argon2.exceptions.VerifyMismatchError:
        return False


def _shutting_down() -> CodedError:
    return CodedError(Code.SHUTTING_DOWN, "the server is stopping")
