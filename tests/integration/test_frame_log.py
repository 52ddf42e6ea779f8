"""The frame log of a real server: everything once, in order, over all files, and no secret."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mqwire.framelog import OUT, FrameSplitter, LogReader, parse_file_name
from mqwire.framelog_bodies import body_mark
from mqwire.frames import FrameReader, FrameWriter
from mqwire.packs import join_bodies
from support.raw import Raw
from support.server import PASSWORD, ROOT, running_server

TINY = {"max_file_bytes": 4096, "max_total_bytes": 2**40}
SECONDS = 20.0


def names_of(server):
    """Return the files of the log, in order; of one that is being compressed, the original."""
    by_number = {}
    for path in sorted(server.frame_log_dir.iterdir(), reverse=True):
        name = parse_file_name(path.name)
        if name is not None:
            by_number[name.number] = path
    return [by_number[number] for number in sorted(by_number)]


def contents(path):
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def frames_by_connection(server):
    """Return all frames on record as (direction, frame), by connection, in the log's order."""
    found, splitter = {}, FrameSplitter()
    for path in names_of(server):
        reader = LogReader()
        for record in reader.feed(contents(path)):
            for logged in splitter.split(record):
                item = (record.direction, logged.frame)
                found.setdefault(record.connection_id, []).append(item)
        assert (reader.error, reader.leftover_bytes) == (None, 0), path
    return found


class Recorder(Raw):
    """A connection that remembers what it has sent and got."""

    def __init__(self, *args, **kwargs):
        self.sent, self.got = [], []
        super().__init__(*args, **kwargs)

    def send(self, *frames):
        self.sent += [tuple(frame) for frame in frames]
        super().send(*frames)

    def read(self):
        frame = super().read()
        self.got.append(frame)
        return frame


def talk(server, number, recorders):
    """Push and pull in rows of many requests, some cut in pieces, on one connection."""
    encode = FrameWriter().encode
    with Recorder(server) as wire:
        recorders[number] = wire
        for round_number in range(25):
            first = 100 * round_number + 1
            body = f"{number}.{round_number}.".encode() + bytes(40 * (round_number % 7))
            requests = [
                ("PUSH", first, "jobs", 1, join_bodies([body])),
                ("PULL", first + 1, "jobs", 3),
                ("INFO", first + 2, "jobs"),
                ("PULL", first + 3, "jobs", 1, {"wait": 0.001}),
                ("NONSENSE", first + 4, body),
                ("PING", first + 5),
            ]
            data = b"".join(map(encode, requests))
            wire.sent += requests
            for start in range(0, len(data), 61):
                wire.send_bytes(data[start : start + 61])
            for _ in requests:
                wire.read()


def comparable(frame):
    """Return a frame with inner arrays and maps as both sides have them."""
    return json.dumps(frame, default=lambda value: value.hex(), sort_keys=True)


def logged_as(frame):
    """What follows a verb that there is not might be a misspelt secret."""
    return (*frame[:2], "(hidden)") if frame[0] == "NONSENSE" else frame


def test_every_request_and_reply_is_there_once_and_in_order(tmp_path):
    recorders = {}
    with running_server(overrides={"frame_log": TINY}) as server:
        with Raw(server) as admin:
            admin.ok("CREATE", "jobs")
        threads = [
            threading.Thread(target=talk, args=(server, number, recorders)) for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.stop() == 0
        assert len(names_of(server)) > 10
        logged = [items for _, items in sorted(frames_by_connection(server).items())][1:]
        assert len(logged) == len(recorders) == 6
        expected = {
            tuple(map(comparable, wire.got)): [comparable(logged_as(f)) for f in wire.sent[1:]]
            for wire in recorders.values()
        }
        for items in logged:
            requests = [comparable(frame) for way, frame in items if way == "in"]
            replies = tuple(comparable(frame) for way, frame in items if way == "out")
            assert expected.pop(replies) == requests[1:]
            assert json.loads(requests[0])[2] == {"user": "admin", "password": "(hidden)"}
        # Each reply stands behind its request, although they are in files of their own.
        for items in logged:
            asked = set()
            for way, frame in items:
                asked |= {frame[1]} if way == "in" else set()
                assert way == "in" or frame[0] in asked


def test_files_are_compressed_also_those_of_a_crash(tmp_path):
    directory = tmp_path / "frames"
    settings = {"frame_log": {**TINY, "path": str(directory)}}
    with running_server(overrides=settings) as server:
        with Raw(server) as wire:
            wire.ok("CREATE", "jobs")
            count = 0
            while len(list(directory.glob("*.mqlog.gz"))) < 2:
                count = wire.push("jobs", "x" * 200)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    crashed = {path.name for path in directory.glob("*.mqlog")}
    assert crashed
    part = directory / "frames-000001.mqlog.gz.part"
    part.write_bytes(b"half")
    with running_server(overrides=settings):
        _until(lambda: not crashed & {path.name for path in directory.iterdir()})
        assert not part.exists()
        shown = mqctl("log", str(directory), "--verb", "PUSH", "--json")
        [*lines] = map(json.loads, shown.splitlines())
        pushes = [line for line in lines if line["direction"] == "in"]
        replies = [line for line in lines if line["direction"] == "out"]
        assert 0 < len(pushes) <= count
        assert [line["frame"][1] for line in pushes] == sorted(line["frame"][1] for line in pushes)
        assert all(line["queue"] == "jobs" and line["seconds"] >= 0 for line in replies)


def test_following_over_rotations(tmp_path):
    with running_server(overrides={"frame_log": TINY}) as server:
        with Raw(server) as wire:
            wire.ok("CREATE", "jobs")
            _until(lambda: server.frame_log_dir.exists() and names_of(server))
            command = [sys.executable, "-m", "mqclient.ctl", "log", "--follow", "--json"]
            command += ["--verb", "PUSH", str(server.frame_log_dir)]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            try:
                seen = []
                for number in range(100):
                    wire.ok("PUSH", "jobs", 1, join_bodies([f"{number} " + "x" * 300]))
                    if number % 10 == 9:
                        seen += [json.loads(process.stdout.readline()) for _ in range(20)]
            finally:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=SECONDS)
        assert [line["frame"][4][0].split()[0] for line in seen[::2]] == [*map(str, range(100))]
        assert {line["verb"] for line in seen} == {"PUSH"}
        assert process.returncode == 130
        assert len(names_of(server)) > 5


@pytest.mark.parametrize("level", ["full", "headers"])
@pytest.mark.parametrize("form", ["binary", "jsonl"])
@pytest.mark.parametrize("compress", [True, False])
def test_no_secret_is_on_record_and_bodies_only_if_wanted(level, form, compress):
    overrides = {"frame_log": {**TINY, "level": level, "format": form, "compress": compress}}
    body = "needle in the haystack"
    with running_server(overrides=overrides) as server:
        token = server.address.token
        with Raw(server, None) as wire:
            assert wire.error("AUTH", {"user": "admin", "password": "wrong s3cret"})[0]
            assert wire.error("PUSH", "s3cret", 1, b"s3cret")[0] == "NOT_AUTHENTICATED"
            wire.ok("AUTH", {"token": token}, {"client": "t"})
            wire.ok("AUTH", {"user": "admin", "password": PASSWORD})
            wire.ok("CREATE", "jobs")
            count = 0
            while len(names_of(server)) < 3:
                count = wire.push("jobs", body)
            assert wire.ok("PEEK", "jobs", 1)
            assert len(wire.pull("jobs", count)) == count
            wire.error("AUTH", {"password": PASSWORD, "s3cret": "s3cret"})
        assert server.stop() == 0
        files = names_of(server)
        data = b"".join(map(contents, files))
        for secret in (token, PASSWORD, "s3cret"):
            assert secret.encode() not in data
        assert (body.encode() in data) == (level == "full")
        assert {path.name.split(".")[1] for path in files} == {
            "mqlog" if form == "binary" else "jsonl"
        }
        shown = mqctl("log", str(server.frame_log_dir), "--json").encode()
        if form == "jsonl":
            assert shown == data
        mark = body_mark(join_bodies([body]))
        marks = shown.count(mark["blake2b"].encode())
        assert marks == 0 if level == "full" else marks > count  # of requests and replies


def test_a_log_that_is_off_writes_nothing():
    with running_server(overrides={"frame_log": {"level": "off"}}) as server:
        with Raw(server) as wire:
            wire.ok("CREATE", "jobs")
        assert not server.frame_log_dir.exists()


def test_replies_are_decoded_alike():
    """The comparison above rests on it."""
    frame = (1, "OK", (1, 2), (b"\x01",), {"headers": (None, {"k": 1.5})})
    [decoded] = FrameReader(2**20).feed(FrameWriter().encode(frame))
    assert comparable(decoded) == comparable(frame)


def mqctl(*arguments):
    command = [sys.executable, "-m", "mqclient.ctl", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MQD_", "MQ_"))}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_newest_frames_are_told_over_the_wire_and_do_not_feed_themselves():
    with running_server() as server:
        with Raw(server) as admin, Raw(server, user="agent") as agent:
            admin.ok("CREATE", "jobs")
            agent.ok("PUSH", "jobs", 1, join_bodies([b"hello"]))
            agent.ok("ISSUE", {"comment": "mine"})
            assert agent.error("FRAMES")[0] == "ACCESS_DENIED"
            data, _, last, missed, level = admin.ok("FRAMES")
            assert (missed, level) == (0, "full")
            assert b"hello" in data
            assert PASSWORD.encode() not in data
            assert b"mqt_" not in data
            for _ in range(3):
                nothing, *rest = admin.ok("FRAMES", {"after": last})
                assert (LogReader().feed(nothing), rest) == ([], [(), last, 0, "full"])
            admin.ok("PING")
            _, runs, *_ = admin.ok("FRAMES", {"after": last})
            assert runs == (last + 1, 2)
        server.stop()
        on_record = [each for path in names_of(server) for each in LogReader().feed(contents(path))]
    # As the log's own file has it, but for what has asked for it.
    told = LogReader().feed(data)
    logged = on_record[: on_record.index(told[-1]) + 1]
    assert told == [
        each for each in logged if each.direction == OUT or b"FRAMES" not in each.frames
    ]
    splitter = FrameSplitter()
    frames = [logged.frame for record in on_record for logged in splitter.split(record)]
    replies = [frame for frame in frames if len(frame) == 7 and frame[-1] == "full"]
    assert len(replies) == 5
    assert all(set(frame[2]) == {"bytes", "blake2b"} for frame in replies)


def test_a_server_without_bodies_or_without_a_log_says_so():
    overrides = {"frame_log": {"level": "headers"}}
    with running_server(overrides=overrides) as server, Raw(server) as admin:
        admin.ok("CREATE", "jobs")
        admin.ok("PUSH", "jobs", 1, join_bodies([b"hello"]))
        data, *_, level = admin.ok("FRAMES")
        assert (level, b"hello" in data, b"jobs" in data) == ("headers", False, True)
    overrides = {"frame_log": {"level": "off"}}
    with running_server(overrides=overrides) as server, Raw(server) as admin:
        assert admin.error("FRAMES")[0] == "NO_FRAME_LOG"
