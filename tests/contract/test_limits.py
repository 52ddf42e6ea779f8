"""PROTOCOL.md's table of limits is mqwire/limits.py."""

from __future__ import annotations

import re

import msgpack
import pytest

from mqd.config import AuthConfig
from mqd.core.broker import Bounds, Broker
from mqwire import limits
from mqwire.names import NAME_RULE, PATTERN_RULE
from mqwire.verbs import VERBS, Kind
from support.protocol_tables import first_table, section

KIB, MIB = 1024, 1024 * 1024

ROWS = {row["limit"]: row["value"] for row in first_table(section(8))}
EXPECTED = {
    "frame's body*": f"{limits.MAX_FRAME_BYTES} bytes (16 MiB)",
    "frame's body before AUTH": f"{limits.MAX_FRAME_BYTES_BEFORE_AUTH} bytes",
    "encoded body of a message*": f"{limits.MAX_BODY_BYTES} bytes (8 MiB)",
    "messages in one PUSH, PULL or PEEK, or named by *ids*": f"{limits.MAX_MESSAGES_PER_FRAME}",
    "encoded arrays and maps in a request, together": f"{limits.MAX_CONTAINER_BYTES} bytes (256 KiB)",
    "entries of an array or map in a request": f"{limits.MAX_CONTAINER_ENTRIES}",
    "headers of one message": (
        f"{limits.MAX_HEADERS} entries, {limits.MAX_HEADERS_BYTES} bytes encoded, "
        f"keys of {limits.MAX_HEADER_KEY_CHARS} characters"
    ),
    "queue name, pattern": f"{limits.MAX_NAME_CHARS} characters",
    "user name, password, token, client name": f"{limits.MAX_TEXT_CHARS} characters",
    "password of a managed user": f"{limits.MIN_PASSWORD_CHARS} characters at least",
    "life of a token*": (
        f"{limits.MIN_TOKEN_SECONDS} s to {limits.MAX_TOKEN_SECONDS} s (366 days)"
    ),
    "managed users*": f"{AuthConfig().max_users}, at most {limits.MAX_MANAGED_USERS}",
    "tokens*": (
        f"{AuthConfig().max_tokens_per_user} of a user and {AuthConfig().max_tokens} in all, "
        f"at most {limits.MAX_TOKENS}"
    ),
    "wait": f"{limits.MAX_WAIT_SECONDS} s",
    "waiting PULLs of a connection": f"{limits.MAX_WAITS_PER_CONNECTION}",
    "lease": f"{limits.MIN_LEASE_SECONDS} s to {limits.MAX_LEASE_SECONDS} s (7 days)",
    "messages under one lease": f"{limits.MAX_LEASE_MESSAGES}",
    "delay, back-off, `ttl`, `ttl_seconds`, `expires_seconds`": (
        f"{limits.MAX_DELAY_SECONDS} s (366 days)"
    ),
    "`ttl`, `ttl_seconds`": f"{limits.MIN_TTL_SECONDS} s at least",
    "`expires_seconds`": f"{limits.MIN_EXPIRES_SECONDS} s at least",
    "not_before": f"{limits.MAX_TIME_SECONDS} s",
    "priority": f"0 to {limits.MAX_PRIORITY}, {limits.DEFAULT_PRIORITY} without one",
    "parts of one STEP": f"{limits.MAX_STEP_PARTS}",
    "messages that one STEP settles": f"{limits.MAX_STEP_MESSAGES}",
    "leases that one HOLDERS tells of": f"{limits.MAX_HOLDERS_ENTRIES}",
    "records of the frame log that FRAMES may tell of": f"{limits.MAX_TAIL_ENTRIES}",
    "these records, together": f"{limits.MAX_TAIL_BYTES} bytes (1 MiB)",
    "one of these records": f"{limits.MAX_TAIL_RECORD_BYTES} bytes (64 KiB)",
    "places that one PEEK passes over": f"{limits.MAX_SKIPPED_ENTRIES}",
    "key of a push or a step": f"{limits.MAX_KEY_CHARS} characters",
    "`dedupe_seconds`": f"{limits.MAX_DEDUPE_SECONDS} s (7 days)",
    "result of a message": f"{limits.MAX_RESULT_BYTES} bytes (64 KiB)",
    "results that a queue keeps, messages": f"{limits.MAX_KEPT_MESSAGES}",
    "results that a queue keeps, together": f"{limits.MAX_KEPT_RESULT_BYTES} bytes (64 MiB)",
    "`keep_results_seconds`": f"{limits.MIN_KEEP_SECONDS} s to {limits.MAX_DELAY_SECONDS} s",
    "messages that STATUS waits for": f"{limits.MAX_WAITED_MESSAGES}",
    "messages that CANCEL names": f"{limits.MAX_CANCELLED_MESSAGES}",
    "credit of a watch": f"{limits.MAX_CREDIT} events",
    "watches of a connection": f"{limits.MAX_WATCHES_PER_CONNECTION}",
    "attempts, worker losses": f"{limits.MAX_ATTEMPTS}",
    "reason": f"{limits.MAX_REASON_CHARS} characters",
    "instance": f"{limits.MAX_INSTANCE_CHARS} characters",
    "host": f"{limits.MAX_HOST_CHARS} characters",
    "keepalive": f"1 s to {limits.MAX_KEEPALIVE_SECONDS} s",
    "request id": "2^53 - 1",
}


def test_the_limits_are_those_of_the_table():
    assert list(ROWS) == list(EXPECTED)


@pytest.mark.parametrize("limit", EXPECTED)
def test_a_limit_is_the_same(limit):
    assert ROWS[limit] == EXPECTED[limit]


def test_the_largest_id_is_the_same_in_the_text():
    assert limits.MAX_REQUEST_ID == 2**53 - 1
    assert "from 1 to 2^53 - 1" in section(2)


@pytest.mark.parametrize("row", [row for row in EXPECTED.values() if "iB)" in row])
def test_a_round_size_is_the_size_in_bytes(row):
    size, count, unit = re.fullmatch(r"(\d+) bytes \((\d+) (KiB|MiB)\)", row).groups()
    assert int(size) == int(count) * {"KiB": KIB, "MiB": MIB}[unit]


def test_what_the_text_says_of_containers_and_strangers():
    assert f"{limits.MAX_CONTAINER_BYTES // KIB} KiB together" in " ".join(section(1).split())
    assert f"more than {limits.MAX_CONTAINER_ENTRIES} entries" in " ".join(section(1).split())
    assert f"may have {limits.MAX_FRAME_BYTES_BEFORE_AUTH // KIB} KiB" in section(2)


def test_the_rule_for_names_is_that_of_the_text():
    text = " ".join(section(4).split())
    assert f"1 to {limits.MAX_NAME_CHARS} characters out of `A-Z a-z 0-9 . _ -`" in text
    assert f"1 to {limits.MAX_NAME_CHARS} characters out of A-Z a-z 0-9 . _ -" in NAME_RULE
    assert "`*`" in text
    assert "`?`" in text
    assert PATTERN_RULE.endswith("A-Z a-z 0-9 . _ - * ?")


def test_the_verbs_bounds_are_these_limits():
    fields = [
        field
        for verb in VERBS.values()
        for field in (*verb.arguments, *verb.options.values())
        if field.kind in (Kind.COUNT, Kind.SECONDS, Kind.NUMBER, Kind.TEXT)
    ]
    highs = {field.name: field.high for field in fields}
    assert highs == {
        **dict.fromkeys(("client", "password", "old", "new", "comment"), limits.MAX_TEXT_CHARS),
        "token": limits.MAX_REQUEST_ID,
        "lifetime": limits.MAX_TOKEN_SECONDS,
        "version": 2**31,
        "max_messages": limits.MAX_QUEUE_MESSAGES,
        "max_bytes": limits.MAX_QUEUE_BYTES,
        "count": limits.MAX_MESSAGES_PER_FRAME,
        "max": limits.MAX_MESSAGES_PER_FRAME,
        "wait": limits.MAX_WAIT_SECONDS,
        "request": limits.MAX_REQUEST_ID,
        "skip": limits.MAX_QUEUE_MESSAGES,
        "id": limits.MAX_REQUEST_ID,
        "offset": limits.MAX_REQUEST_ID,
        "after": limits.MAX_REQUEST_ID,
        "context": limits.MAX_TAIL_ENTRIES,
        "instance": limits.MAX_INSTANCE_CHARS,
        "host": limits.MAX_HOST_CHARS,
        "keepalive": limits.MAX_KEEPALIVE_SECONDS,
        "lease": limits.MAX_LEASE_SECONDS,
        "seconds": limits.MAX_LEASE_SECONDS,
        "delay": limits.MAX_DELAY_SECONDS,
        "reason": limits.MAX_REASON_CHARS,
        "max_attempts": limits.MAX_ATTEMPTS,
        "max_worker_losses": limits.MAX_ATTEMPTS,
        "backoff_seconds": limits.MAX_DELAY_SECONDS,
        "backoff_cap_seconds": limits.MAX_DELAY_SECONDS,
        "backoff_jitter": 1,
        "ttl_seconds": limits.MAX_DELAY_SECONDS,
        "max_leased": limits.MAX_QUEUE_MESSAGES,
        "expires_seconds": limits.MAX_DELAY_SECONDS,
        "dedupe_seconds": limits.MAX_DEDUPE_SECONDS,
        "keep_results_seconds": limits.MAX_DELAY_SECONDS,
        "credit": limits.MAX_CREDIT,
        "events": limits.MAX_CREDIT,
        "key": limits.MAX_KEY_CHARS,
        "priority": limits.MAX_PRIORITY,
        "not_before": limits.MAX_TIME_SECONDS,
        "ttl": limits.MAX_DELAY_SECONDS,
    }


def test_the_days_are_days():
    day = 24 * 3600
    assert 7 * day == limits.MAX_LEASE_SECONDS
    assert 366 * day == limits.MAX_DELAY_SECONDS


def test_the_largest_info_is_as_small_as_the_text_says():
    name, other = "q" * limits.MAX_NAME_CHARS, "d" * limits.MAX_NAME_CHARS
    broker = Broker(Bounds(limits.MAX_QUEUE_MESSAGES, limits.MAX_QUEUE_BYTES, 9))
    options = {}
    for option in VERBS["CREATE"].options.values():
        if option.name != "if_missing":
            longest = {Kind.NAME: other, Kind.WORD: "exponential", Kind.LEVEL: "accepted"}
            options[option.name] = longest.get(option.kind, float(option.high))
    options["max_messages"], options["max_bytes"] = 2**40, 2**50
    for record in broker.plan_creation(name, options, 0):
        broker.apply(record)
    info = broker.queue(name).info(0)
    for key, value in info.items():
        if isinstance(value, (int, float)) or value is None:
            info[key] = float(2**53)
    (most,) = re.findall(r"An info has (\d+) bytes at most", section(5))
    assert set(options) <= set(info["options"])
    assert len(msgpack.packb(info)) <= int(most)
