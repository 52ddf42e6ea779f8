"""PROTOCOL.md's table of limits is mqwire/limits.py."""

from __future__ import annotations

import re

import pytest

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
    "messages in one PUSH, PULL or PEEK": f"{limits.MAX_MESSAGES_PER_FRAME}",
    "encoded arrays and maps in a request, together": f"{limits.MAX_CONTAINER_BYTES} bytes (256 KiB)",
    "entries of an array or map in a request": f"{limits.MAX_CONTAINER_ENTRIES}",
    "headers of one message": (
        f"{limits.MAX_HEADERS} entries, {limits.MAX_HEADERS_BYTES} bytes encoded, "
        f"keys of {limits.MAX_HEADER_KEY_CHARS} characters"
    ),
    "queue name, pattern": f"{limits.MAX_NAME_CHARS} characters",
    "user name, password, token, client name": f"{limits.MAX_TEXT_CHARS} characters",
    "wait": f"{limits.MAX_WAIT_SECONDS} s",
    "waiting PULLs of a connection": f"{limits.MAX_WAITS_PER_CONNECTION}",
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
        if field.kind in (Kind.COUNT, Kind.SECONDS, Kind.TEXT)
    ]
    highs = {field.name: field.high for field in fields}
    assert highs == {
        "client": limits.MAX_TEXT_CHARS,
        "version": 2**31,
        "max_messages": limits.MAX_QUEUE_MESSAGES,
        "max_bytes": limits.MAX_QUEUE_BYTES,
        "count": limits.MAX_MESSAGES_PER_FRAME,
        "max": limits.MAX_MESSAGES_PER_FRAME,
        "wait": limits.MAX_WAIT_SECONDS,
        "request": limits.MAX_REQUEST_ID,
        "skip": limits.MAX_QUEUE_MESSAGES,
        "offset": limits.MAX_REQUEST_ID,
    }
