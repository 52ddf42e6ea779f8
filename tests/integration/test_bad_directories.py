"""Whatever is wrong with a data directory: an exit code, a sentence, and no byte changed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zlib

import pytest

from support.raw import Raw
from support.server import ROOT, running_server, write_config


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A directory with a snapshot, a sealed segment and one that was written last."""
    directory = tmp_path_factory.mktemp("original")
    for number in range(2):
        with running_server(directory=directory) as server, Raw(server) as raw:
            raw.ok("CREATE", "jobs", {"if_missing": True})
            raw.ok("PUSH", "jobs", 3, b"\xa1a\xa1b\xa1c")
            if number == 0:
                raw.ok("SNAPSHOT")
            raw.ok("PUSH", "jobs", 1, b"\xa1d")
            raw.ok("PUSH", "jobs", 1, b"\xa1e")  # its batch says that the one before is synced
            server.process.kill()
            server.process.wait()
    assert len(list(server.data_dir.glob("segment-*.mqj"))) >= 2
    return server.data_dir


def segments(directory):
    return sorted(directory.glob("segment-*.mqj"))


def snapshot(directory):
    return max(directory.glob("snapshot-*.mqs"))


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def truncate(path, size):
    path.write_bytes(path.read_bytes()[:size])


def swap(first, second):
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def another_version(path):
    data = bytearray(path.read_bytes())
    data[8:12] = (99).to_bytes(4, "big")
    data[52:56] = zlib.crc32(data[:52]).to_bytes(4, "big")
    path.write_bytes(data)


BREAKAGES = {
    "a flipped bit in promised records": (
        lambda d: flip(segments(d)[0], 70),
        ("is damaged", "at byte", "mqd check"),
    ),
    "a segment of no length": (
        lambda d: truncate(segments(d)[0], 0),
        ("is damaged", "mqd check"),
    ),
    "a segment that is cut in its header": (
        lambda d: truncate(segments(d)[0], 30),
        ("is damaged", "mqd check"),
    ),
    "a segment that is missing": (
        lambda d: segments(d)[0].unlink(),
        ("is not there", "mqd check"),
    ),
    "a snapshot without its segments": (
        lambda d: [path.unlink() for path in segments(d)],
        ("is not there", "mqd check"),
    ),
    "segments without their snapshot": (
        lambda d: snapshot(d).unlink(),
        ("segments are missing, or the snapshot that took their place", "mqd check"),
    ),
    "a snapshot with a flipped bit": (
        lambda d: flip(snapshot(d), 90),
        ("the snapshot", "is damaged", "mqd check"),
    ),
    "a snapshot that is cut": (
        lambda d: truncate(snapshot(d), 100),
        ("the snapshot", "is damaged", "mqd check"),
    ),
    "swapped segments": (
        lambda d: swap(*segments(d)[:2]),
        ("was written as number", "give it its name back"),
    ),
    "a segment with another name": (
        lambda d: segments(d)[0].rename(d / "segment-old.mqj"),
        ("has the ending of our files and no name of ours",),
    ),
    "a segment of another directory": (
        lambda d: shutil.copy(foreign_segment(d), segments(d)[-1]),
        ("move it back there",),
    ),
    "a file that is none of ours": (
        lambda d: segments(d)[0].write_bytes(b"#!/bin/sh\n" * 100),
        ("has the name of one of our files and is none", "mqd check"),
    ),
    "another format version": (
        lambda d: another_version(segments(d)[0]),
        ("format that this version does not read", "use the version that wrote it"),
    ),
}


def foreign_segment(directory):
    """Make a segment of the same number and lsn that belongs elsewhere."""
    source = segments(directory)[-1]
    other = directory.parent / "foreign.mqj"
    data = bytearray(source.read_bytes())
    data[36:44] = bytes(8)  # the store's id
    data[52:56] = zlib.crc32(data[:52]).to_bytes(4, "big")
    other.write_bytes(data)
    return other


def fingerprint(directory):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.iterdir())
        if path.is_file() and not path.name.endswith("lock")
    }


def start(tmp_path, data_dir):
    config = write_config(tmp_path, {"storage": {"path": str(data_dir)}})
    return subprocess.run(
        [sys.executable, "-m", "mqd", "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_server_refuses_in_words_and_changes_nothing(name, original, tmp_path):
    data_dir = tmp_path / "data"
    shutil.copytree(original, data_dir)
    harm, words = BREAKAGES[name]
    harm(data_dir)
    before = fingerprint(data_dir)
    done = start(tmp_path, data_dir)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("mqd: ")
    for part in words:
        assert part in sentence
    assert str(data_dir) in sentence
    assert fingerprint(data_dir) == before


def test_a_refused_start_does_not_say_that_it_replaces_the_address_file(original, tmp_path):
    data_dir = tmp_path / "data"
    shutil.copytree(original, data_dir)
    harm, _ = next(iter(BREAKAGES.values()))
    harm(data_dir)
    stale = tmp_path / "address.json"  # as the configuration has it
    stale.touch()
    done = start(tmp_path, data_dir)
    assert done.returncode == 4
    assert "replaced" not in done.stderr
    assert stale.read_bytes() == b""


def test_what_was_never_promised_is_cut_and_told(original, tmp_path):
    shutil.copytree(original, tmp_path / "data")
    last = segments(tmp_path / "data")[-1]
    with last.open("r+b") as file:
        file.truncate(56)
        file.seek(56)
        file.write(b"\xb5mqB garbage that the power has left")
    with running_server(directory=tmp_path) as server, Raw(server) as raw:
        assert raw.ok("STATS")[0]["recovery"]["cut_bytes"] > 0
        assert "bytes at the end of the journal were cut off" in server.stderr


def test_a_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "file").write_text("precious")
    done = start(tmp_path, tmp_path / "file")
    assert done.returncode == 2
    assert f"{tmp_path}/file cannot be made" in done.stderr
    assert (tmp_path / "file").read_text() == "precious"
