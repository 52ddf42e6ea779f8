"""The relations between the bounds; their values are held equal to PROTOCOL.md in tests/contract."""

from __future__ import annotations

import msgpack
import pytest

from mqwire import limits
from mqwire.frames import FrameReader, FrameWriter
from mqwire.packs import join_bodies
from mqwire.verbs import VERBS

NAMES = [name for name in vars(limits) if name.isupper()]


@pytest.mark.parametrize("name", NAMES)
def test_every_bound_is_a_positive_integer(name):
    value = getattr(limits, name)
    assert type(value) is int or name in ("MIN_LEASE_SECONDS", "MIN_TTL_SECONDS")
    assert value > 0


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("KIB", "MIB")])
def test_every_name_ends_in_its_unit(name):
    units = {
        "USERS",
        "TOKENS",
        "BYTES",
        "CHARS",
        "SECONDS",
        "MESSAGES",
        "ENTRIES",
        "ELEMENTS",
        "HEADERS",
        "ID",
        "ATTEMPTS",
        "PRIORITY",
        "PARTS",
    }
    special = {"AUTH", "FRAME", "CONNECTION", "CREDIT"}  # "... before AUTH", "... per frame"
    assert name.rsplit("_", 1)[-1] in units | special


def test_a_prefix_holds_every_length_that_a_frame_may_have():
    assert limits.HARD_MAX_FRAME_BYTES < 2**32
    assert limits.PREFIX_BYTES == 5


def test_the_bounds_of_frames_stand_in_order():
    assert (
        limits.PREFIX_BYTES
        < limits.MAX_FRAME_BYTES_BEFORE_AUTH
        < limits.MIN_FRAME_BYTES
        <= limits.MAX_FRAME_BYTES
        <= limits.HARD_MAX_FRAME_BYTES
    )


def test_the_largest_request_id_is_exact_in_every_language():
    assert int(float(limits.MAX_REQUEST_ID)) == limits.MAX_REQUEST_ID
    assert float(limits.MAX_REQUEST_ID + 1) == float(limits.MAX_REQUEST_ID + 2)


def test_the_largest_credentials_fit_into_a_frame_before_auth():
    widest = "\U0001f600" * limits.MAX_TEXT_CHARS
    options = {
        "client": widest,
        "version": 2**31,
        "instance": widest[: limits.MAX_INSTANCE_CHARS],
        "host": widest[: limits.MAX_HOST_CHARS],
        "keepalive": float(limits.MAX_KEEPALIVE_SECONDS),
        "detached": True,
        # A comment is what may not fit as well: then the token is asked for with ISSUE.
        "issue": {"role": "administrator", "lifetime": float(limits.MAX_TOKEN_SECONDS)},
    }
    assert set(options) == set(VERBS["AUTH"].options)
    frame = ["AUTH", limits.MAX_REQUEST_ID, {"user": widest, "password": widest}, options]
    data = FrameWriter().encode(frame)
    assert len(data) - limits.PREFIX_BYTES <= limits.MAX_FRAME_BYTES_BEFORE_AUTH
    reader = FrameReader(limits.MAX_FRAME_BYTES_BEFORE_AUTH, limits.MAX_CONTAINER_BYTES)
    assert reader.feed(data) == [tuple(frame)]


def test_runs_of_single_messages_are_within_the_bounds_of_containers():
    ids = tuple(n for first in range(1, 32_768, 2) for n in (2**40 + first, 1))
    assert len(ids) == 2 * limits.MAX_MESSAGES_PER_FRAME == limits.MAX_CONTAINER_ENTRIES
    frame = ("ACK", 1, (3, 17), {"ids": ids})
    reader = FrameReader(limits.MAX_FRAME_BYTES, limits.MAX_CONTAINER_BYTES)
    assert reader.feed(FrameWriter().encode(frame)) == [frame]


def test_the_times_of_leases_stand_in_order():
    assert (
        0
        < limits.MIN_LEASE_SECONDS
        < 1
        < limits.MAX_KEEPALIVE_SECONDS
        < limits.MAX_LEASE_SECONDS
        < limits.MAX_DELAY_SECONDS
    )


def test_the_largest_body_with_the_largest_headers_fits_into_a_frame():
    pack = join_bodies([b"x" * (limits.MAX_BODY_BYTES - 5)])
    assert len(pack) == limits.MAX_BODY_BYTES
    headers = {"k" * limits.MAX_HEADER_KEY_CHARS: "v" * (limits.MAX_HEADERS_BYTES - 200)}
    frame = ["PUSH", 1, "q" * limits.MAX_NAME_CHARS, 1, pack, {"headers": headers}]
    assert len(msgpack.packb(frame)) <= limits.MAX_FRAME_BYTES


def test_headers_for_every_message_of_the_fullest_push_are_within_the_bound_of_entries():
    frame = ("PUSH", 1, "q", limits.MAX_MESSAGES_PER_FRAME, b"", {})
    headers = (None,) * limits.MAX_MESSAGES_PER_FRAME
    frame = (*frame[:-1], {"headers": headers})
    reader = FrameReader(limits.MAX_FRAME_BYTES, limits.MAX_CONTAINER_BYTES)
    assert reader.feed(FrameWriter().encode(frame)) == [frame]
