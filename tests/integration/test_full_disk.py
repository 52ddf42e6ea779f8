"""A disk that is really full, and what pulling makes of it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time

import pytest

from support.raw import Raw
from support.server import running_server

BODY = b"\xc6\x00\x01\x86\xa0" + bytes(100_000)


@contextlib.contextmanager
def small_disk(directory):
    """Mount a file system of 12 MiB; skip where that is not allowed."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=700", "mqd-test", str(directory)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("a file system cannot be mounted here: that takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize("is_killed", [False, True])
def test_pulling_makes_space_again(tmp_path, is_killed):
    overrides = {
        "storage": {"segment_bytes": 2**20, "path": str(tmp_path / "disk" / "data")},
        "frame_log": {"level": "off"},
        "limits": {"max_frame_bytes": 2**18, "max_body_bytes": 2**17},
    }
    with small_disk(tmp_path / "disk"):
        with running_server(directory=tmp_path, overrides=overrides) as server:
            with Raw(server) as raw:
                raw.ok("CREATE", "jobs")
                [figures] = raw.ok("STATS")
                assert figures["journal"]["disk_bytes"] == 12 * 2**20
                assert 0 < figures["journal"]["disk_free_bytes"] < 12 * 2**20
                pushed = _fill(raw)
                assert pushed >= 50
            if is_killed:
                server.process.kill()
                server.process.wait()
            else:
                with Raw(server) as raw:
                    _empty(raw, pushed)
        if is_killed:
            with (
                running_server(directory=tmp_path, overrides=overrides) as server,
                Raw(server) as raw,
            ):
                pushed += _fill(raw)  # what was reserved is free again
                _empty(raw, pushed)
        assert "is full: pushes may be refused" in server.stderr
        assert "has space again" in server.stderr


def test_who_is_to_make_space_comes_in(tmp_path):
    """For each of these there is a token, on a disk that takes nothing else, and not for ever."""
    overrides = {
        "storage": {"segment_bytes": 2**20, "path": str(tmp_path / "disk" / "data")},
        "frame_log": {"level": "off"},
        "limits": {"max_frame_bytes": 2**18, "max_body_bytes": 2**17},
    }
    with (
        small_disk(tmp_path / "disk"),
        running_server(directory=tmp_path, overrides=overrides) as server,
        Raw(server) as raw,
    ):
        raw.ok("CREATE", "jobs")
        _fill(raw)
        asked = {"comment": "login"}
        token = raw.ok("ISSUE", asked)[0]["token"]
        issued = 1
        while (reply := raw.call("ISSUE", asked))[1] == "OK":
            issued += 1
            assert issued < 10_000
            token = reply[2]["token"]  # the older ones make room
        assert reply[2] == "STORAGE_FULL"
        with Raw(server, user=None) as other:
            other.ok("AUTH", {"token": token})
            assert other.ok("PURGE", "jobs")[0] > 50


def _fill(raw):
    pushed = 0
    while (reply := raw.call("PUSH", "jobs", 1, BODY))[1] == "OK":
        pushed += 1
    assert reply[2] == "STORAGE_FULL"
    return pushed


def _empty(raw, pushed):
    """Pull everything, and push until it is taken again."""
    assert raw.call("PUSH", "jobs", 1, BODY)[2] == "STORAGE_FULL"
    for number in range(1, pushed + 1):
        assert raw.ok("PULL", "jobs", 1)[0] == (number, 1)
    deadline = time.monotonic() + 30
    while raw.call("PUSH", "jobs", 1, BODY)[1] == "ERR":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert raw.ok("PULL", "jobs", 1)[0] == (pushed + 1, 1)
    while raw.ok("STATS")[0]["journal"]["is_full"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    raw.ok("SNAPSHOT")  # by then the log has said so
