"""The writer: files change when they are full, old, torn or gone; what is lost is on record."""

from __future__ import annotations

import errno
import json
import logging
import os

import pytest

from mqd.config import FrameLogConfig
from mqd.net import frame_log_writer as module
from mqd.net.frame_log_format import new_format
from mqd.net.frame_log_writer import Load, Writer, joined
from mqwire.framelog import GAP, IN, OUT, Gap, LogReader, RecordEncoder
from mqwire.framelog_entries import EntryReader
from mqwire.frames import FrameWriter

SECOND = 10**9
START = 1000 * SECOND
encode = FrameWriter().encode


class Run:
    """A writer whose thread does nothing: the test takes the loads to it, and tells the time."""

    def __init__(self, directory, form="binary", **settings):
        self.directory = directory
        self.now_ns = START
        self.changes = 0
        config = FrameLogConfig(format=form, **settings)
        self.writer = Writer(
            directory, config, new_format(form, START, "test"), lambda: self.now_ns, lambda: None
        )
        self.writer.on_new_file = self.changed

    def changed(self):
        self.changes += 1

    def write(self, number, size=100, seconds=0, gap=None):
        self.now_ns += seconds * SECOND
        frame = encode(["PUSH", number, "q", 1, bytes(size)])
        head = RecordEncoder(1, IN, "a", "b", "u").head(self.now_ns, len(frame))
        self.writer._take(Load([head, frame], len(head) + len(frame), 1, gap))

    def idle(self, seconds=0):
        self.now_ns += seconds * SECOND
        self.writer._take(Load([], 0, 0))

    def names(self):
        return sorted(path.name for path in self.directory.iterdir())

    def contents(self):
        """Return the requests' numbers, or gaps, by file."""
        found = []
        for name in self.names():
            reader, entries = LogReader(), EntryReader()
            records = reader.feed((self.directory / name).read_bytes())
            assert reader.error is None
            read = [entry for record in records for entry in entries.read(record)]
            found.append([entry.gap or entry.request_id for entry in read])
        return found


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(module.threading.Thread, "start", lambda _self: None)
    runs = []

    def make(**settings):
        runs.append(Run(tmp_path, **settings))
        return runs[-1]

    yield make
    for run in runs:
        run.writer.file.close(run.now_ns)


@pytest.fixture
def disk(monkeypatch):
    """Give a set of the calls that fail, by name."""
    failing = set()
    for name in ("writev", "open", "ftruncate"):
        real = getattr(os, name)

        def call(*args, _name=name, _real=real, **kwargs):
            if _name in failing:
                if _name == "writev":
                    _real(args[0], [bytes(args[1][0])[:3]])
                raise OSError(errno.ENOSPC, "No space left on device")
            return _real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)
    return failing


def test_a_full_file_is_followed_by_another(make):
    run = make(max_file_bytes=4096)
    for number in range(1, 10):
        run.write(number, size=1000)
    assert run.names() == [f"frames-{number:06d}.mqlog" for number in (1, 2, 3)]
    assert run.contents() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert all(path.stat().st_size <= 4096 for path in run.directory.iterdir())
    assert run.changes == 2
    assert run.writer.written_bytes == sum(p.stat().st_size for p in run.directory.iterdir())


def test_all_files_of_a_run_say_the_same_start(make):
    run = make(max_file_bytes=4096)
    for number in range(1, 10):
        run.write(number, size=1000, seconds=1)
    readers = [LogReader() for _ in run.names()]
    for reader, name in zip(readers, run.names(), strict=True):
        reader.feed((run.directory / name).read_bytes())
    assert {reader.header for reader in readers} == {(1, START, "test")}


def test_one_load_that_is_too_large_has_a_file_of_its_own(make):
    run = make(max_file_bytes=4096)
    for number, size in ((1, 10), (2, 9000), (3, 9000), (4, 10), (5, 10)):
        run.write(number, size=size)
    assert run.contents() == [[1], [2], [3], [4, 5]]


def test_space_is_reserved_where_much_comes_at_a_time(make, monkeypatch):
    asked = []
    monkeypatch.setattr(module.OpenFile, "reserve", lambda _self, size: asked.append(size))
    run = make()
    run.write(1, size=1000)
    assert asked == []
    run.write(2, size=module.RESERVE_FROM_BYTES)
    assert len(asked) == 1
    assert asked[0] > module.RESERVE_FROM_BYTES
    assert run.contents() == [[1, 2]]


def test_an_old_file_is_followed_by_another(make):
    run = make(max_file_seconds=60.0)
    run.write(1)
    run.write(2, seconds=59)
    run.write(3, seconds=1)
    run.write(4, seconds=59)
    run.idle(seconds=1)
    run.write(5)
    assert run.contents() == [[1, 2], [3, 4], [5]]


def test_an_empty_file_does_not_grow_old(make):
    run = make(max_file_seconds=60.0)
    run.idle(seconds=1000)
    run.write(1)
    run.write(2, seconds=1)
    assert run.contents() == [[1], [2]]


def test_a_new_run_goes_on_counting(make):
    first = make()
    first.write(1)
    (first.directory / "frames-000007.jsonl.gz").touch()
    second = make()
    assert second.writer.file.path.name == "frames-000008.mqlog"


def test_where_no_file_can_be_begun_the_old_one_goes_on(make, disk, caplog):
    run = make(max_file_bytes=4096)
    run.write(1, size=4000)
    disk.add("open")
    for number in (2, 3):
        run.write(number, size=1000)
    assert len(caplog.records) == 1  # it is not tried again at once
    run.write(4, size=1000, seconds=2)
    disk.clear()
    run.write(5)
    run.write(6, seconds=2)
    assert run.contents() == [[1, 2, 3, 4, 5], [6]]
    assert "no new frame log can be begun" in caplog.text
    assert run.writer.lost_records == 0


def test_a_file_that_somebody_has_removed_is_replaced(make):
    run = make()
    run.write(1)
    run.writer.file.path.unlink()
    run.write(2)
    assert run.names() == ["frames-000002.mqlog"]
    assert run.contents() == [[2]]


def test_what_is_lost_is_on_record_where_it_is_missing(make, disk, caplog):
    caplog.set_level(logging.WARNING, "mqd.frame_log")
    run = make()
    run.write(1)
    disk.add("writev")
    run.write(2, seconds=5)
    run.write(3, seconds=5)
    assert run.writer.is_failing
    disk.clear()
    run.write(4, seconds=5)
    run.write(5)
    [[first, gap, *rest]] = run.contents()
    assert (first, rest) == (1, [4, 5])
    assert gap[:1] + gap[2:] == (2, START + 5 * SECOND, "No space left on device")
    assert gap.size_bytes > 200
    assert run.writer.lost_records == 2
    assert not run.writer.is_failing
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "2 records are missing" in caplog.text


def test_a_gap_is_recorded_although_nothing_comes_any_more(make, disk):
    run = make()
    disk.add("writev")
    run.write(1)
    run.idle()
    assert run.contents() == [[]]
    disk.clear()
    run.idle()
    [[gap]] = run.contents()
    assert gap.records == 1


def test_what_the_event_loop_has_dropped_is_recorded_before_what_came_after(make, disk):
    run = make()
    run.write(1)
    dropped = Gap(7, 700, START, "the disk takes nothing")
    disk.add("writev")
    run.write(2, gap=dropped)
    disk.clear()
    run.write(3)
    [[_, gap, _]] = run.contents()
    assert gap.records == 8
    assert gap.reason == "the disk takes nothing"
    assert run.writer.lost_records == 1


def test_a_torn_file_is_left_and_another_begun(make, disk):
    run = make()
    run.write(1)
    disk.update(("writev", "ftruncate"))
    run.write(2)
    disk.add("open")
    run.write(3)
    disk.clear()
    run.write(4)
    reader = LogReader()
    torn = reader.feed((run.directory / "frames-000001.mqlog").read_bytes())
    assert len(torn) == 1
    assert (reader.error, reader.leftover_bytes) == (None, 3)
    [_, [gap, number]] = run.contents()
    assert (gap.records, number) == (2, 4)


@pytest.mark.parametrize("call", ["writev", "open"])
@pytest.mark.parametrize("first", range(12))
def test_whatever_call_fails_nothing_is_twice_or_out_of_order(make, monkeypatch, call, first):
    run = make(max_file_bytes=4096)
    real, count = getattr(os, call), [0]

    def fail_some(*args, **kwargs):
        count[0] += 1
        if first < count[0] <= first + 3:
            raise OSError(errno.EIO, "Input/output error")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, fail_some)
    for number in range(1, 31):
        run.write(number, size=1000, seconds=2)
    found = [item for items in run.contents() for item in items]
    missing = sum(item.records for item in found if isinstance(item, Gap))
    numbers = [item for item in found if not isinstance(item, Gap)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + missing == 30
    assert run.writer.lost_records == missing


def test_a_bug_costs_one_load(make, monkeypatch, caplog):
    run = make()
    form = run.writer._format
    monkeypatch.setattr(form, "encode", lambda _parts: 1 // 0)
    run.write(1)
    monkeypatch.undo()
    run.write(2)
    [[gap, number]] = run.contents()
    assert (gap.reason, number) == ("a bug: ZeroDivisionError", 2)
    assert "a bug costs the frame log 1 records" in caplog.text


def test_lines_of_json(make, disk):
    run = make(form="jsonl", max_file_bytes=4096)
    run.write(1, size=1)
    disk.add("writev")
    run.write(2, size=1)
    disk.clear()
    for number in range(3, 30):
        run.write(number, size=1)
    reply = encode([29, "OK", 1, "accepted"])
    head = RecordEncoder(1, OUT, "b", "a", "u").head(run.now_ns + 500, len(reply))
    run.writer._take(Load([head, reply], 1, 1))
    assert run.names()[:2] == ["frames-000001.jsonl", "frames-000002.jsonl"]
    files = [(run.directory / name).read_text() for name in run.names()]
    assert all(text.endswith("\n") for text in files)
    lines = [json.loads(line) for line in "".join(files).splitlines()]
    assert lines[1]["direction"] == GAP
    assert lines[1]["frame"][2]["records"] == 1
    assert [line["frame"][1] for line in lines[2:-1]] == [*range(3, 30)]
    assert (lines[-1]["verb"], lines[-1]["queue"], lines[-1]["seconds"]) == ("PUSH", "q", 5e-7)


def test_gaps_in_a_row_are_one():
    one, two = Gap(1, 10, 5, "a"), Gap(2, 20, 6, "b")
    assert joined(one, two) == Gap(3, 30, 5, "a")
    assert joined(None, two) == joined(two, None) == two
    assert joined(None, None) is None


# The thread


def test_what_is_handed_over_is_written_when_it_is_closed(tmp_path):
    config, now_ns = FrameLogConfig(), lambda: START
    writer = Writer(tmp_path, config, new_format("binary", START, "test"), now_ns, lambda: None)
    head = RecordEncoder(1, IN, "a", "b", "u").head(START, 6)
    writer.loads.put(Load([head, b"\xce\0\0\0\1\x90"], len(head) + 6, 1))
    writer.loads.put(Load([], 0, 0, Gap(1, 1, 1, "x")))
    writer.close(5)
    reader = LogReader()
    assert len(reader.feed(writer.file.path.read_bytes())) == 2


def test_a_gap_is_tried_once_more_at_the_end(tmp_path, disk):
    config, now_ns = FrameLogConfig(), lambda: START
    writer = Writer(tmp_path, config, new_format("binary", START, "test"), now_ns, lambda: None)
    disk.add("writev")
    head = RecordEncoder(1, IN, "a", "b", "u").head(START, 6)
    writer.loads.put(Load([head, b"\xce\0\0\0\1\x90"], len(head) + 6, 1))
    while not writer.is_failing:
        assert writer._thread.is_alive()
    disk.clear()
    writer.close(5)
    [record] = LogReader().feed(writer.file.path.read_bytes())
    assert record.direction == GAP


def test_a_disk_that_hangs_does_not_keep_the_server_from_stopping(tmp_path, monkeypatch, caplog):
    from threading import Event

    config, now_ns = FrameLogConfig(), lambda: START
    writer = Writer(tmp_path, config, new_format("binary", START, "test"), now_ns, lambda: None)
    go_on = Event()
    monkeypatch.setattr(os, "writev", lambda *_: go_on.wait() and 0)
    writer.loads.put(Load([b"x"], 1, 1))
    writer.close(0.01)
    assert "takes nothing" in caplog.text
    monkeypatch.undo()
    go_on.set()
    writer._thread.join(5)
    assert not writer._thread.is_alive()
