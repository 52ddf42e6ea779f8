"""The command log: files off the disk, filtered, for people and machines."""

from __future__ import annotations

import base64
import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqclient.ctl import exits, log, log_files
from mqclient.ctl.log_view import show, to_line
from mqwire.framelog import (
    IN,
    OUT,
    FrameSplitter,
    Record,
    RecordEncoder,
    encode_header,
    file_name,
)
from mqwire.framelog_entries import Entry, Pack, to_json_line
from mqwire.frames import FrameWriter, prefix
from mqwire.packs import join_bodies

CLIENT, SERVER = "10.0.0.5:40000", "10.0.0.1:7500"
AT_NS = 1_800_000_000_123_000_000
encode = FrameWriter().encode


def record(*frames, connection=3, out=False, user="ann", at=AT_NS, client=CLIENT) -> bytes:
    blob = b"".join(frame if isinstance(frame, bytes) else encode(frame) for frame in frames)
    source, destination = (SERVER, client) if out else (client, SERVER)
    encoder = RecordEncoder(connection, OUT if out else IN, source, destination, user)
    return encoder.head(at, len(blob)) + blob


def write_log(directory, *records, number=1):
    path = directory / file_name(number)
    path.write_bytes(encode_header(AT_NS, "0.1.0") + b"".join(records))
    return path


def entry(frame, *, direction=IN, at=AT_NS) -> Entry:
    raw = frame if isinstance(frame, bytes) else encode(frame)
    made = Record(at, 3, direction, CLIENT, SERVER, "ann", raw)
    [logged] = FrameSplitter().split(made)
    return Entry(made, logged)


def line(frame, width=200, **extra) -> str:
    """Return the part of a line that shows the frame."""
    return to_line(entry(frame, **extra), width).partition(" ann ")[2]


def test_a_conversation(ctl, tmp_path):
    write_log(
        tmp_path,
        record(["AUTH", 1, {"user": "ann", "password": "(hidden)"}], user=""),
        record(["PUSH", 2, "jobs", 2, join_bodies(['{"x": 1}', b"\x01\x02"]), {"headers": {"n": 1}}]),
        record([2, "OK", 1, "accepted"], out=True),
        record(["PULL", 3, "jobs", 5]),
        record([3, "OK", [1, 2], [join_bodies(['{"x": 1}']), join_bodies([b"\x01\x02"])], {"headers": [{"n": 1}, None]}], out=True),
    )  # fmt: skip
    result = ctl("log", str(tmp_path))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [text.split(" ", 2)[2] for text in result.stdout.splitlines()]
    there, back = f"{CLIENT} -> {SERVER}", f"{SERVER} -> {CLIENT}"
    assert lines == [
        f'#3 >> {there} - AUTH 1 {{"user": "ann", "password": "(hidden)"}}',
        f'#3 >> {there} ann PUSH 2 jobs 2 [{{"x": 1}}, 0x0102] {{"headers": {{"n": 1}}}}',
        f"#3 << {back} ann OK 2 1 accepted (PUSH jobs 0.000 ms)",
        f"#3 >> {there} ann PULL 3 jobs 5",
        f'#3 << {back} ann OK 3 [1, 2] [{{"x": 1}}, 0x0102] {{"headers": [{{"n": 1}}, nil]}} (PULL jobs 0.000 ms)',
    ]
    assert result.stdout.startswith("2027-01-1")
    assert ":00.123 #3" in result.stdout


def test_for_machines(ctl, tmp_path):
    pack = join_bodies(['{"x": 1}', b"\x01"])
    write_log(
        tmp_path,
        record(["PUSH", 2, "jobs", 2, pack]),
        record([3, "OK", [1, 2], [pack], {"headers": [None, {"k": b"\x02"}]}], out=True),
    )
    result = ctl("log", str(tmp_path), "--json", "--width", "1")
    push, reply = map(json.loads, result.stdout.splitlines())
    bodies = ['{"x": 1}', {"base64": "AQ=="}]
    assert push == {
        "time": "2027-01-15T08:00:00.123000000Z",
        "time_ns": AT_NS,
        "connection": 3,
        "direction": "in",
        "source": CLIENT,
        "destination": SERVER,
        "user": "ann",
        "bytes": len(encode(["PUSH", 2, "jobs", 2, pack])),
        "verb": "PUSH",
        "queue": "jobs",
        "seconds": None,
        "frame": ["PUSH", 2, "jobs", 2, bodies],
    }
    assert reply["frame"] == [
        3,
        "OK",
        [1, 2],
        [bodies],
        {"headers": [None, {"k": {"base64": "Ag=="}}]},
    ]
    assert (reply["source"], reply["direction"]) == (SERVER, "out")


def test_json_on_a_terminal_is_escaped(ctl, tmp_path, terminal):
    write_log(tmp_path, record(["LIST", 1, "\x9b31m"]))
    shown = ctl("log", str(tmp_path), "--json").stdout
    assert shown.strip().isprintable()
    assert json.loads(shown)["frame"][2] == "\x9b31m"


# Files


def test_files_come_in_the_order_in_which_they_were_written(ctl, tmp_path):
    for number in (10, 1_000_000, 2):
        write_log(tmp_path, record(["PING", number]), number=number)
    (tmp_path / "notes.txt").write_text("no log")
    result = ctl("log", str(tmp_path), "--json")
    assert [json.loads(text)["frame"][1] for text in result.stdout.splitlines()] == [
        2,
        10,
        1_000_000,
    ]


def test_several_paths(ctl, tmp_path):
    one = write_log(tmp_path, record(["PING", 1]))
    result = ctl("log", str(one), str(tmp_path), str(one))
    assert result.stdout.count("PING 1") == 3


def test_the_default_directory(ctl, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MQ_URL", raising=False)
    monkeypatch.delenv("MQ_ADDRESS_FILE", raising=False)
    result = ctl("log")
    assert result.exit_code == exits.USAGE
    assert "there is no frame log in" in result.stderr
    directory = tmp_path / ".mqd" / "data" / "frames"
    directory.mkdir(parents=True)
    write_log(directory, record(["PING", 1]))
    assert "PING 1" in ctl("log").stdout


def test_a_path_without_a_log(ctl, tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        result = ctl("log", str(path))
        assert result.exit_code == exits.USAGE
        assert str(path) in result.stderr


def test_a_directory_that_cannot_be_read(ctl, tmp_path, monkeypatch):
    def refuse(_self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    result = ctl("log", str(tmp_path))
    assert result.exit_code == exits.USAGE
    assert "Permission denied" in result.stderr


def test_a_record_that_was_cut_off_is_no_error(ctl, tmp_path):
    path = write_log(tmp_path, record(["PING", 1]), record(["PING", 2])[:-3])
    write_log(tmp_path, record(["PING", 3]), number=2)
    result = ctl("log", str(tmp_path))
    assert result.exit_code == 0
    assert ["PING 1" in result.stdout, "PING 2" in result.stdout, "PING 3" in result.stdout] == [
        True,
        False,
        True,
    ]
    assert f"{path}: the last record is not whole" in result.stderr


def test_damage_is_told_and_the_next_file_read(ctl, tmp_path):
    write_log(tmp_path, record(["PING", 1]), bytes(9), record(["PING", 2]))
    (tmp_path / file_name(2)).write_text("GET / HTTP/1.1")
    write_log(tmp_path, record(["PING", 3]), number=3)
    result = ctl("log", str(tmp_path))
    assert result.exit_code == exits.INTERNAL
    assert result.stdout.count("PING") == 2
    assert result.stderr.count("what follows was not read") == 2
    assert "not a frame log" in result.stderr


def test_an_empty_file_is_one_that_was_just_made(ctl, tmp_path):
    (tmp_path / file_name(1)).touch()
    assert ctl("log", str(tmp_path)).exit_code == 0


def test_large_files_are_read_in_pieces(ctl, tmp_path, monkeypatch):
    monkeypatch.setattr(log_files, "READ_BYTES", 7)
    write_log(tmp_path, *(record(["PING", number]) for number in range(1, 50)))
    assert ctl("log", str(tmp_path)).stdout.count("PING") == 49


# The last ones


def pings(directory, *ids, number=1):
    return write_log(directory, *(record(["PING", each]) for each in ids), number=number)


def test_the_last_ones_over_the_borders_of_files(ctl, tmp_path):
    pings(tmp_path, 1, 2, 3)
    pings(tmp_path, 4, number=2)
    for option in ("--last", "-n"):
        lines = ctl("log", str(tmp_path), option, "2").stdout.splitlines()
        assert [each.partition(" PING ")[2] for each in lines] == ["3", "4"]
    assert ctl("log", str(tmp_path), "--last", "9").stdout.count("PING") == 4
    assert ctl("log", str(tmp_path), "--last", "0").exit_code == exits.USAGE


def test_the_last_ones_of_those_that_fit_as_json(ctl, tmp_path):
    write_log(tmp_path, record(["PING", 1], ["LIST", 2], ["PING", 3], ["LIST", 4], ["LIST", 5]))
    result = ctl("log", str(tmp_path), "--verb", "ping", "--last", "1", "--json")
    assert [json.loads(each)["frame"] for each in result.stdout.splitlines()] == [["PING", 3]]
    assert "no frame" in ctl("log", str(tmp_path), "--verb", "pull", "--last", "1").stderr


def test_following_goes_on_from_the_last_ones(ctl, tmp_path, monkeypatch):
    path = pings(tmp_path, 1, 2, 3)

    def pause():
        if path.exists():
            with path.open("ab") as file:
                file.write(b"".join(record(["PING", each]) for each in (4, 5, 6)))
            path.rename(tmp_path / "away")
            return
        raise KeyboardInterrupt

    monkeypatch.setattr(log, "_pause", pause)
    result = ctl("log", str(tmp_path), "--follow", "--last", "2")
    assert result.exit_code == exits.INTERRUPTED
    lines = result.stdout.splitlines()
    assert [each.partition(" PING ")[2] for each in lines] == ["2", "3", "4", "5", "6"]


# Filters


@pytest.fixture
def mixed(tmp_path):
    write_log(
        tmp_path,
        record(["PUSH", 1, "a", 1, b"\xc0"], ["PULL", 2, "a", 1], ["PULL", 3, "b", 1], at=AT_NS),
        record(["PULL", 2, "b", 1], connection=4, user="bob", client="10.0.0.6:1", at=AT_NS + 10**9),
        record([3, "OK", [], []], [1, "OK", 1, "accepted"], out=True, at=AT_NS + 2 * 10**9),
        record([2, "OK", [], []], out=True, at=AT_NS + 2 * 10**9),
        record([2, "ERR", "QUEUE_NOT_FOUND", "no", {}], connection=4, user="bob", client="10.0.0.6:1", out=True, at=AT_NS + 3 * 10**9),
        record([0, "ERR", "SHUTTING_DOWN", "bye", {}], out=True, at=AT_NS + 4 * 10**9),
        record(["LIST", 4, "a"], ["PULL", 2, "c", 1], prefix(1) + b"\xc1", ["PING"], [], at=AT_NS + 4 * 10**9),
        record([2, "OK", [], []], [], out=True, at=AT_NS + 5 * 10**9),
    )  # fmt: skip
    return tmp_path


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], 16),
        (["--queue", "a"], [["PUSH", 1], ["PULL", 2], [1, "OK"], [2, "OK"]]),
        (["--queue", "b"], [["PULL", 3], ["PULL", 2], [3, "OK"], [2, "ERR"]]),
        (["--verb", "push"], [["PUSH", 1], [1, "OK"]]),
        (["--verb", "PULL", "--queue", "b", "--user", "bob"], [["PULL", 2], [2, "ERR"]]),
        (["--user", "bob"], [["PULL", 2], [2, "ERR"]]),
        (["--peer", "10.0.0.6"], [["PULL", 2], [2, "ERR"]]),
        (["--verb", "list"], [["LIST", 4]]),
        (["--since", "2027-01-15T08:00:03Z", "--until", "2027-01-15T08:00:04Z"], [[2, "ERR"]]),
        (["--queue", "none"], []),
    ],
)  # fmt: skip
def test_filters(ctl, mixed, options, shown):
    result = ctl("log", str(mixed), "--json", *options)
    assert result.exit_code == 0
    frames = [json.loads(text)["frame"] for text in result.stdout.splitlines()]
    if isinstance(shown, int):
        assert len(frames) == shown
    else:
        assert [frame[:2] for frame in frames] == shown


# What a line shows


def test_long_values_are_cut_and_their_size_told():
    pack = join_bodies(["x" * 30, b"\x01" * 30])
    assert line(["PUSH", 1, "jobs", 2, pack], 10) == (
        "PUSH 1 jobs 2 [xxxxxxxxxx... (30 characters), 0x0101010101... (30 bytes)]"
    )
    assert (
        line([1, "OK", {"a" * 8: "b" * 8}], 10, direction=OUT) == 'OK 1 {"aaaaaaaa... (1 entries)'
    )
    assert line(["LIST", 1, "q" * 30], 10) == f'LIST 1 "{"q" * 10}"... (30 characters)'


def test_width_0_shows_all():
    pack = join_bodies(["x" * 3000] * 20)
    assert line(["PUSH", 1, "jobs", 20, pack], 0).count("x" * 3000) == 20
    assert line(["LIST", 1, [["q" * 3000]], b"\x01" * 300], 0).count("q") == 3000


def test_many_bodies_are_counted():
    shown = line(
        [1, "OK", [1, 20], [join_bodies("abcdefghij"), join_bodies("klmnopqrst")]], direction=OUT
    )
    assert shown == "OK 1 [1, 20] [a, b, c, d, e, f, g, h, ... 20 bodies]"


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (["PUSH", 1, "jobs", 1, b"\xc1"], "PUSH 1 jobs 1 0xc1"),
        (["PUSH", 1, "jobs", 1, "text"], "PUSH 1 jobs 1 text"),
        (["PUSH", 1], "PUSH 1"),
        (["PUSH", 1, "jobs", 1, b"\xd4\x05\x00"], "PUSH 1 jobs 1 [[5, 0x00]]"),
        (["PUSH", 1, "jobs", 1, b"\x81\x90\x01"], "PUSH 1 jobs 1 [0x819001]"),
        (["PUSH", 1, "jobs", 1, b"\x92\x01\xc2"], "PUSH 1 jobs 1 [[1, false]]"),
        (["PUSH", 1, "jobs", 1, b"\x91" * 600 + b"\xc0"], "(nested deeper)"),
        (["PUSH", 1, "jobs", 1, b"\x91" * 1020 + b"\xc0"], "(nested deeper)"),
        (["PUSH", 1, "jobs", 1, b"\x91" * 2000 + b"\xc0"], "0x9191"),
        (["A B", 1, 1.5, True, None, 2**60], "PUSH".replace("PUSH", '"A B" 1 1.5 true nil 1152921504606846976')),
        ([], ""),
        ([["PING"], 1], '["PING"] 1'),
    ],
)  # fmt: skip
def test_odd_requests(frame, shown):
    assert shown in line(frame)


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        ([1, "OK", [], []], "OK 1 [] []"),
        ([1, "OK", [1, 1], ["text"]], 'OK 1 [1, 1] ["text"]'),
        ([1, "OK", [1, 1], [b"\xc1"]], "OK 1 [1, 1] [0xc1]"),
        ([1, "OK", [1, 2], [b"\xc1", b"\x01"]], "OK 1 [1, 2] [0xc1, [1]]"),
        ([1, "OK", [1, 1], 5], "OK 1 [1, 1] 5"),
        ([1, "ERR", "BAD_NAME", "no\x1b[2J", {}], r'ERR 1 BAD_NAME "no\x1b[2J" {}'),
        ([], ""),
        ([5], "5"),
    ],
)
def test_odd_replies(frame, shown):
    assert line(frame, direction=OUT) == shown


def test_undecodable_frames_are_shown_with_their_size():
    raw = prefix(1100) + b"\x91" * 1100
    assert (
        line(raw)
        == "(undecodable, 1105 bytes: the frame is malformed: its body cannot be decoded (it is nested too deeply))"
    )
    shown = json.loads(to_json_line(entry(raw)))
    assert shown["frame"] is None
    assert shown["bytes"] == 1105
    assert "nested too deeply" in shown["undecodable"]
    assert base64.b64decode(shown["base64"]) == raw


@pytest.mark.parametrize("depth", [100, 500, 900, 1000, 1020])
def test_deep_frames_crash_nobody(depth):
    body = b"\x92\xa4LIST" + b"\x91" * depth + b"\xc0"
    deep = entry(prefix(len(body)) + body)
    assert "(nested deeper)" in to_line(deep, 0)
    shown = json.loads(to_json_line(deep))
    assert (shown["frame"] is None) == ("undecodable" in shown)
    assert shown["frame"] is not None or shown["base64"]
    assert shown["frame"] is not None or depth >= 500


@pytest.mark.parametrize("at", [0, 2**64 - 1])
def test_times_that_no_calendar_knows(at):
    assert to_line(entry(["PING", 1], at=at), 200).endswith("PING 1")
    assert json.loads(to_json_line(entry(["PING", 1], at=at)))["time_ns"] == at


def test_a_time_beyond_the_calendar():
    at = 10**22
    assert to_line(entry(["PING", 1], at=at), 200).startswith("10000000000000.000 ")
    assert json.loads(to_json_line(entry(["PING", 1], at=at)))["time"] == ""


def test_a_pack_may_stand_anywhere():
    assert show((Pack(["a"]),), 200) == '[["a"]]'
    assert show(object, 5).endswith("... (long)")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(anything, max_size=6), st.sampled_from([IN, OUT]), st.integers(0, 50))
def test_any_frame_is_shown(frame, direction, width):
    shown = to_line(entry(frame, direction=direction), width)
    assert shown.isprintable()
    assert "\n" not in to_json_line(entry(frame, direction=direction))
    json.loads(to_json_line(entry(frame, direction=direction)))


@given(st.binary(max_size=80), st.integers(1, 4), st.sampled_from([IN, OUT]))
def test_any_pack_is_shown(pack, count, direction):
    frame = ["PUSH", 1, "q", count, pack] if direction == IN else [1, "OK", [1, count], [pack]]
    assert to_line(entry(frame, direction=direction), 40).isprintable()
    json.loads(to_json_line(entry(frame, direction=direction)))


@given(anything)
def test_any_foreign_body_is_shown(body):
    frame = ["PUSH", 1, "q", 1, msgpack.packb(body)]
    assert to_line(entry(frame), 40).isprintable()
    json.loads(to_json_line(entry(frame)))
