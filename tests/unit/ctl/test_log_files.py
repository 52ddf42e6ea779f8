"""Frame logs as files: compressed, in lines, over borders, and followed while they grow."""

from __future__ import annotations

import gzip
import json
import os

import pytest

from mqclient.ctl import exits, log_files
from mqclient.ctl import log as log_command
from mqclient.ctl.exits import Failure
from mqclient.ctl.log_files import LogSource
from mqwire.framelog import (
    IN,
    JSONL,
    OUT,
    Gap,
    LogReader,
    RecordEncoder,
    encode_gap,
    encode_header,
    file_name,
)
from mqwire.framelog_entries import EntryReader, to_json_line
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

AT_NS = 1_800_000_000_123_000_000
SECOND = 10**9
encode = FrameWriter().encode


def record(*frames, out=False, at=AT_NS, connection=3):
    blob = b"".join(map(encode, frames))
    source, destination = ("s:1", "c:1") if out else ("c:1", "s:1")
    encoder = RecordEncoder(connection, OUT if out else IN, source, destination, "ann")
    return encoder.head(at, len(blob)) + blob


def binary(*records, run=1):
    return encode_header(run, "0.1.0") + b"".join(records)


def lines(*records):
    reader, entries = LogReader(), EntryReader()
    read = reader.feed(binary(*records))
    made = [to_json_line(entry) for each in read for entry in entries.read(each)]
    return "".join(line + "\n" for line in made).encode()


def write(directory, number, data, *, form="binary", packed=False):
    path = directory / (file_name(number, form) + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def shown(ctl, *arguments):
    result = ctl("log", *map(str, arguments), "--json")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def ids(objects):
    return [each["frame"][each["direction"] == IN] for each in objects]


def test_compressed_files_have_their_place_among_the_others(ctl, tmp_path):
    write(tmp_path, 1, binary(record(["PING", 1])), packed=True)
    write(tmp_path, 2, lines(record(["PING", 2])), form=JSONL, packed=True)
    write(tmp_path, 3, lines(record(["PING", 3])), form=JSONL)
    write(tmp_path, 4, binary(record(["PING", 4])))
    assert ids(shown(ctl, tmp_path)) == [1, 2, 3, 4]
    assert ids(shown(ctl, tmp_path / "frames-000002.jsonl.gz")) == [2]


def test_a_file_that_is_there_twice_is_read_once(ctl, tmp_path):
    write(tmp_path, 1, binary(record(["PING", 1])), packed=True)
    write(tmp_path, 1, binary(record(["PING", 1])))
    assert ids(shown(ctl, tmp_path)) == [1]


@pytest.mark.parametrize("form", ["binary", JSONL])
def test_a_file_of_any_name(ctl, tmp_path, form):
    path = tmp_path / "copy"
    data = [record(["PING", 1])]
    path.write_bytes(gzip.compress(lines(*data) if form == JSONL else binary(*data)))
    assert ids(shown(ctl, path)) == [1]


def test_a_file_that_is_compressed_after_it_was_listed(ctl, tmp_path, monkeypatch):
    path = write(tmp_path, 1, binary(record(["PING", 1])))
    monkeypatch.setattr(log_files, "_newer_files", lambda *_: [log_files.Found(1, path)])
    path.rename(tmp_path / "kept")
    write(tmp_path, 1, binary(record(["PING", 1])), packed=True)
    assert ids(shown(ctl, tmp_path)) == [1]
    (tmp_path / "frames-000001.mqlog.gz").unlink()
    result = ctl("log", str(tmp_path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"{path}: it was removed before" in result.stderr


def test_damage_in_a_compressed_file(ctl, tmp_path):
    path = write(tmp_path, 1, binary(*(record(["PING", n]) for n in range(900))), packed=True)
    path.write_bytes(path.read_bytes()[:-20])
    write(tmp_path, 2, binary(record(["PING", 1000])))
    result = ctl("log", str(tmp_path))
    assert result.exit_code == exits.INTERNAL
    assert "damaged as a gzip file" in result.stderr
    assert "PING 1000" in result.stdout


def test_a_disk_that_fails(ctl, tmp_path, monkeypatch):
    path = write(tmp_path, 1, binary(record(["PING", 1])))
    file = log_files.LogFile(log_files.Found(0, path), log_files.History())

    class Bad:
        def read(self, _size):
            raise OSError(5, "Input/output error")

    file._file = Bad()
    assert list(file.read()) == []
    assert not file.report()
    file.close()


def test_a_file_that_may_not_be_read(ctl, tmp_path, monkeypatch):
    path = write(tmp_path, 1, b"")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    result = ctl("log", str(path))
    assert result.exit_code == exits.USAGE
    assert "Permission denied" in result.stderr


# Lines


RECORDS = (
    record(["PUSH", 1, "jobs", 2, join_bodies(["a", b"\x01"]), {"headers": {"k": b"v"}}]),
    record([1, "OK", 7, "accepted"], out=True, at=AT_NS + 2_500_000),
    record(["PULL", 2, "jobs", 2], at=AT_NS + SECOND),
    record([2, "OK", [7, 2], [join_bodies(["a", b"\x01"])]], out=True, at=AT_NS + 2 * SECOND),
    encode_gap(AT_NS + 3 * SECOND, Gap(4, 400, AT_NS + SECOND, "No space left on device")),
    record([0, "ERR", "SHUTTING_DOWN", "bye", {}], out=True, at=AT_NS + 4 * SECOND),
)


def test_lines_of_json_show_what_records_show(ctl, tmp_path):
    one = write(tmp_path, 1, binary(*RECORDS))
    two = write(tmp_path, 2, lines(*RECORDS), form=JSONL)
    for options in ([], ["--verb", "PULL"], ["--queue", "jobs"], ["--user", "x"], ["--peer", "c:"]):
        assert ctl("log", str(one), "--json", *options).stdout == (
            ctl("log", str(two), "--json", *options).stdout
        )
    first, second = (ctl("log", str(path)).stdout.splitlines() for path in (one, two))
    assert first == second
    assert first[1].endswith("OK 1 7 accepted (PUSH jobs 2.500 ms)")
    assert first[0].endswith('PUSH 1 jobs 2 [a, 0x01] {"headers": {"k": 0x76}}')


def test_a_frame_that_could_not_be_decoded_in_lines(ctl, tmp_path):
    bad = b"\xce\0\0\0\1\xc1"
    head = RecordEncoder(3, IN, "c", "s", "ann").head(AT_NS, len(bad))
    path = write(tmp_path, 1, lines(head + bad), form=JSONL)
    assert "undecodable" in ctl("log", str(path)).stdout


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[" * 100_000,
        b"[]",
        b'{"frame": []}',
        b'{"time_ns": 1, "connection": 1, "direction": "in", "source": "", "destination": "", "user": 5, "frame": []}',
        b"\xff",
    ],
)
def test_damage_in_lines(ctl, tmp_path, line):
    good = lines(record(["PING", 1]))
    path = write(tmp_path, 1, good + line + b"\n" + good, form=JSONL)
    result = ctl("log", str(path))
    assert result.exit_code == exits.INTERNAL
    assert result.stdout.count("PING") == 1
    assert f"the line at byte {len(good)} is not one" in result.stderr


@pytest.mark.parametrize(
    "extra",
    [
        {"seconds": 1, "x": {"base64": "="}},
        {"seconds": 1, "x": {"base64": 5}},
        {"seconds": 1e400, "verb": 5},
        {"seconds": "x"},
        {"seconds": 1, "verb": 5},
    ],
)
def test_odd_fields_in_lines(ctl, tmp_path, extra):
    fields = {"time_ns": 1, "connection": 1, "direction": "out", "source": "", "destination": "", "user": "", "frame": [1, "OK", [1, 1], [5, ["a"]]], **extra}  # fmt: skip
    path = write(tmp_path, 1, json.dumps(fields).encode() + b"\n", form=JSONL)
    result = ctl("log", str(path))
    assert result.exit_code == 0
    assert "OK 1" in result.stdout


def test_half_a_line_is_no_error(ctl, tmp_path):
    good = lines(record(["PING", 1]))
    path = write(tmp_path, 1, good + good[:-1], form=JSONL)
    result = ctl("log", str(path))
    assert (result.exit_code, result.stdout.count("PING")) == (0, 1)
    assert "not whole" in result.stderr


# Over the borders of files


def test_a_reply_finds_its_request_in_an_earlier_file(ctl, tmp_path):
    write(tmp_path, 1, binary(record(["PULL", 1, "jobs", 1])), packed=True)
    write(tmp_path, 2, binary(record(["PING", 9], connection=4)))
    write(tmp_path, 3, binary(record([1, "OK", [], []], out=True, at=AT_NS + SECOND)))
    request, reply = shown(ctl, tmp_path, "--queue", "jobs")
    assert (reply["verb"], reply["queue"], reply["seconds"]) == ("PULL", "jobs", 1.0)
    assert request["seconds"] is None
    assert "(PULL jobs 1000.000 ms)" in ctl("log", str(tmp_path)).stdout


def test_but_not_in_an_earlier_run_of_the_server(ctl, tmp_path):
    write(tmp_path, 1, binary(record(["PULL", 1, "jobs", 1])))
    write(tmp_path, 2, binary(record([1, "OK", [], []], out=True), run=2))
    assert ids(shown(ctl, tmp_path, "--queue", "jobs")) == [1]
    assert shown(ctl, tmp_path)[1]["verb"] is None


def test_a_request_before_the_time_still_names_its_reply(ctl, tmp_path):
    path = write(tmp_path, 1, binary(record(["PULL", 1, "jobs", 1], at=AT_NS - 60 * SECOND)))
    os.utime(path, ns=(AT_NS, AT_NS - 60 * SECOND))
    write(tmp_path, 2, binary(record([1, "OK", [], []], out=True, at=AT_NS)))
    [reply] = shown(ctl, tmp_path, "--since", "2027-01-15T08:00:00Z", "--queue", "jobs")
    assert reply["seconds"] == 60.0


def test_files_that_are_much_older_are_not_even_opened(ctl, tmp_path):
    for number, age_hours in ((1, 9), (2, 1), (3, 9)):
        path = write(tmp_path, number, binary(record(["PING", number])))
        moment = AT_NS - age_hours * 3600 * SECOND
        os.utime(path, ns=(moment, moment))
    (tmp_path / file_name(1)).write_bytes(b"damaged")
    os.utime(tmp_path / file_name(1), ns=(0, 0))
    assert ids(shown(ctl, tmp_path, "--since", "2027-01-15T07:00:00Z")) == [2, 3]


def test_gaps_are_shown_whatever_is_looked_for(ctl, tmp_path):
    path = write(tmp_path, 1, binary(*RECORDS))
    [gap] = ctl("log", str(path), "--queue", "none").stdout.splitlines()
    assert "--- 4 records are missing here, from " in gap
    assert gap.endswith("on: No space left on device ---")
    at = "2027-01-15T08:00:0{}.{}00Z"
    for times, count in (((0, 0), 0), ((0, 1), 1), ((2, 2), 1), ((3, 4), 1), ((4, 5), 0)):
        since, until = at.format(times[0], 0), at.format(times[1], 5)
        result = ctl("log", str(path), "--verb", "PUSH", "--since", since, "--until", until)
        assert result.stdout.count("missing") == count, times


# Following


class Server:
    """Writes to a log whenever its reader has nothing more to read."""

    def __init__(self, directory, *steps):
        self.directory = directory
        self.steps = list(steps)

    def pause(self):
        if not self.steps:
            raise KeyboardInterrupt
        self.steps.pop(0)()

    def append(self, number, data, form="binary"):
        with (self.directory / file_name(number, form)).open("ab") as file:
            file.write(data)

    def pack(self, number):
        path = self.directory / file_name(number)
        write(self.directory, number, path.read_bytes(), packed=True)
        path.unlink()


def followed(directory, server):
    seen = []
    source = LogSource((directory,))
    with pytest.raises(KeyboardInterrupt):
        seen.extend(item.entry.request_id for item in source.follow(server.pause))
    return seen, source.is_sound


def test_what_comes_is_shown_over_rotation_and_compression(tmp_path):
    server = Server(tmp_path)
    write(tmp_path, 1, binary(record(["PING", 1])))

    def rotate(old, new, *, packed):
        server.append(old, record(["PING", 10 * old]))
        server.append(new, binary(record(["PING", new])))
        if packed:
            server.pack(old)

    server.steps = [
        lambda: server.append(1, record(["PING", 5])),
        lambda: None,
        lambda: rotate(1, 2, packed=True),
        lambda: rotate(2, 3, packed=False),
        lambda: [rotate(3, 4, packed=True), rotate(4, 5, packed=True)],
    ]
    assert followed(tmp_path, server) == ([1, 5, 10, 2, 20, 3, 30, 4, 40, 5], True)


@pytest.mark.parametrize("form", ["binary", JSONL])
def test_half_a_record_is_waited_for_or_written_over(tmp_path, form):
    make = lines if form == JSONL else (lambda *records: b"".join(records))
    first, second, third = (make(record(["PING", number])) for number in (1, 2, 3))
    start = b"" if form == JSONL else binary()
    path = write(tmp_path, 1, start + first, form=form)
    server = Server(tmp_path)
    whole_bytes = len(start + first)
    server.steps = [
        lambda: server.append(1, second[:20], form),
        lambda: None,
        lambda: [os.truncate(path, whole_bytes), server.append(1, third, form)],
        lambda: server.append(1, second[:30], form),
        lambda: server.append(1, second[30:], form),
    ]
    assert followed(tmp_path, server) == ([1, 3, 2], True)


def test_a_file_that_has_no_header_yet(tmp_path):
    path = write(tmp_path, 1, b"")
    server = Server(tmp_path)
    server.steps = [
        lambda: path.write_bytes(binary()[:9]),
        lambda: path.write_bytes(binary(record(["PING", 1]))),
    ]
    assert followed(tmp_path, server) == ([1], True)


def test_files_that_retention_takes_away(tmp_path, monkeypatch, capsys):
    one, two = (write(tmp_path, number, binary(record(["PING", number]))) for number in (1, 2))
    server = Server(tmp_path, one.unlink, lambda: write(tmp_path, 4, binary(record(["PING", 4]))))
    listed = log_files._newer_files
    calls = []

    def list_and_lose(directory, number):
        found = listed(directory, number)
        if not calls:
            calls.append(two.unlink())
        return found

    monkeypatch.setattr(log_files, "_newer_files", list_and_lose)
    assert followed(tmp_path, server) == ([1, 4], True)
    assert "frames-000002.mqlog: it was removed before" in capsys.readouterr().err


def test_a_log_that_is_gone_altogether_may_come_back(tmp_path, monkeypatch):
    one = write(tmp_path, 1, binary(record(["PING", 1])))
    server = Server(tmp_path, lambda: write(tmp_path, 2, binary(record(["PING", 2]))))
    found = [log_files.Found(1, one)]
    one.unlink()
    monkeypatch.setattr(LogSource, "_files_of", lambda *_: found)
    assert followed(tmp_path, server) == ([2], True)


def test_damage_is_told_when_the_next_file_comes(tmp_path, capsys):
    write(tmp_path, 1, binary(record(["PING", 1])) + bytes(99))
    server = Server(tmp_path, lambda: write(tmp_path, 2, binary(record(["PING", 2]))))
    assert followed(tmp_path, server) == ([1, 2], False)
    assert "is damaged" in capsys.readouterr().err


def test_only_one_directory_can_be_followed(ctl, tmp_path):
    path = write(tmp_path, 1, b"")
    for paths in ((path,), (tmp_path, tmp_path)):
        with pytest.raises(Failure, match="takes one directory"):
            next(LogSource(paths).follow(lambda: None))
        assert ctl("log", "-f", *map(str, paths)).exit_code == exits.USAGE


def test_following_ends_with_an_interrupt_and_has_shown_everything(ctl, tmp_path, monkeypatch):
    write(tmp_path, 1, binary(*RECORDS))
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(log_command.time, "sleep", nap)
    result = ctl("log", "--follow", str(tmp_path), "--verb", "pull")
    assert result.exit_code == exits.INTERRUPTED
    assert len(result.stdout.splitlines()) == 3  # request, gap, reply
    assert naps == [log_command.POLL_SECONDS] * 2


# Settlements name a lease, and their queue is found

LEASED = (
    record(["PULL", 1, "jobs", 1, {"lease": 60}], ["PULL", 2, "other", 1, {"lease": 60}]),
    record([1, "OK", [7, 1], [join_bodies(["a"])], {}, [3, 17]], out=True),
    record([2, "OK", [1, 1], [join_bodies(["b"])], {}, [3, 18]], out=True),
)
SETTLED = (
    record(["EXTEND", 3, [3, 17], 60], ["ACK", 4, [3, 18]], ["NACK", 5, [3, 16]]),
    record([3, "OK", 60], [4, "OK", 1, "synced"], [5, "OK", 1, "synced"], out=True),
    record(["STEP", 6, [["ACK", [3, 17]], ["PUSH", "results", 1]], join_bodies(["out"])]),
    record([6, "OK", [1, 1], "synced"], out=True),
)
OF_JOBS = [1, 1, 3, 3, 6, 6]


@pytest.mark.parametrize("form", ["binary", JSONL])
def test_settlements_are_found_by_the_queue_of_their_lease(ctl, tmp_path, form):
    encoded = lines if form == JSONL else binary
    write(tmp_path, 1, encoded(*LEASED, *SETTLED), form=form)
    result = ctl("log", str(tmp_path), "--queue", "jobs", "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert ids(found) == OF_JOBS
    assert {each["queue"] for each in found} == {"jobs"}
    assert found[-1]["queues"] == ["jobs", "results"]
    assert found[-2]["frame"][3] == ["out"]
    # One lease was given before the log begins.
    assert result.stderr.startswith("mqctl: 1 settlement left out:")
    for queue, wanted in (("other", [2, 2, 4, 4]), ("results", [6, 6])):
        assert ids(shown(ctl, tmp_path, "--queue", queue)) == wanted


def test_leases_outlive_files_and_runs_of_the_server(ctl, tmp_path):
    write(tmp_path, 1, binary(*LEASED, run=1))
    write(tmp_path, 2, binary(*SETTLED, run=2))
    assert ids(shown(ctl, tmp_path, "--queue", "jobs")) == OF_JOBS
    assert ids(shown(ctl, tmp_path / file_name(2), "--queue", "results")) == [6, 6]


def test_a_log_that_begins_in_the_middle_says_what_it_cannot_tell(ctl, tmp_path):
    path = write(tmp_path, 2, binary(*SETTLED))
    result = ctl("log", str(path), "--queue", "jobs")
    assert result.stdout == ""
    assert "no frame of this log fits" in result.stderr
    assert "4 settlements left out: they name leases that were given before" in result.stderr
    # What is left out for another reason does not count.
    assert "left out" not in ctl("log", str(path), "--queue", "jobs", "--user", "bob").stderr
    assert "left out" not in ctl("log", str(path)).stderr


def test_lines_of_servers_that_knew_no_queues_of_leases(ctl, tmp_path):
    made = [json.loads(line) for line in lines(*LEASED, *SETTLED).splitlines()]
    for fields in made:
        if fields["verb"] in ("ACK", "EXTEND", "NACK", "STEP"):
            fields["queue"] = None
            fields.pop("queues", None)
    text = "".join(json.dumps(fields) + "\n" for fields in made)
    write(tmp_path, 1, text.encode(), form=JSONL)
    # The replies were written without a queue; the requests are found.
    assert ids(shown(ctl, tmp_path, "--queue", "jobs")) == [1, 1, 3, 6]
