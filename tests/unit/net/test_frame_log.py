from __future__ import annotations

import asyncio
import errno
import gzip
import logging
import os
import threading

import pytest

from mqd.config import FrameLogConfig
from mqd.net import frame_log as module
from mqd.net.frame_log import FrameLog
from mqwire.framelog import LogReader, RecordEncoder

FRAME = b"\xce\0\0\0\x01\x90"


@pytest.fixture
async def log(tmp_path):
    log = FrameLog(tmp_path / "frames", "test", asyncio.get_running_loop())
    yield log
    log.close()


def append(log, number, frames=FRAME):
    head = RecordEncoder(number, "in", "a", "b", "u").head(number, len(frames))
    log.append(head, [frames[:3], frames[3:]], len(frames))


def numbers_in(path):
    reader = LogReader()
    records = reader.feed(path.read_bytes())
    assert reader.error is None
    assert reader.leftover_bytes == 0
    return [record.connection_id for record in records]


async def test_what_is_appended_is_in_the_file_when_the_log_is_closed(tmp_path):
    log = FrameLog(tmp_path, "test", asyncio.get_running_loop())
    for number in range(2000):
        append(log, number)
    log.close()
    assert numbers_in(log.path) == list(range(2000))
    assert log.path.stat().st_mode & 0o777 == 0o600


async def test_what_is_appended_gets_there_by_itself(log):
    empty_bytes = log.path.stat().st_size
    append(log, 1)
    while log.path.stat().st_size == empty_bytes:
        await asyncio.sleep(0.005)
    assert numbers_in(log.path) == [1]


async def test_each_log_has_a_file_of_its_own_with_the_next_number(tmp_path):
    (tmp_path / "frames-000041.mqlog").touch()
    (tmp_path / "notes.txt").touch()
    names = []
    for _ in range(2):
        log = FrameLog(tmp_path, "test", asyncio.get_running_loop())
        names.append(log.path.name)
        log.close()
    assert names == ["frames-000042.mqlog", "frames-000043.mqlog"]


async def test_a_write_that_takes_a_part_is_gone_on_with(tmp_path, monkeypatch):
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: writev(fd, [bytes(parts[0])[:5]]))
    log = FrameLog(tmp_path, "test", asyncio.get_running_loop())
    for number in range(20):
        append(log, number)
    log.close()
    assert numbers_in(log.path) == list(range(20))


async def test_a_disk_that_fails_costs_whole_records_which_are_counted(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.WARNING, "mqd.frame_log")
    writev, is_full = os.writev, threading.Event()

    def write_some(fd, parts):
        if is_full.is_set():
            writev(fd, [b"half a rec"])
            raise OSError(errno.ENOSPC, "No space left on device")
        return writev(fd, parts)

    monkeypatch.setattr(os, "writev", write_some)
    log = FrameLog(tmp_path, "test", asyncio.get_running_loop())
    for number, full in ((1, False), (2, True), (3, True), (4, False)):
        is_full.set() if full else is_full.clear()
        append(log, number)
        handed = log._writer.done_bytes
        log.flush()
        while log._writer.done_bytes == handed:
            await asyncio.sleep(0.001)
    assert log.lost_records == 2
    log.close()
    assert numbers_in(log.path) == [1, 0, 4]  # 0 is the gap
    reports = [record.getMessage() for record in caplog.records]
    assert len(reports) == 2
    assert "No space left" in reports[0]
    assert "2 records are missing" in reports[1]


async def test_a_slow_disk_makes_callers_wait_and_loses_nothing(tmp_path, monkeypatch):
    writev, may_write = os.writev, threading.Event()

    def wait_and_write(fd, parts):
        may_write.wait()
        return writev(fd, parts)

    log = FrameLog(tmp_path, "test", asyncio.get_running_loop())
    monkeypatch.setattr(os, "writev", wait_and_write)
    monkeypatch.setattr(module, "MAX_BACKLOG_BYTES", 1000)
    count = 0
    while not log.is_behind:
        count += 1
        append(log, count)
        log.flush()
    caught_up = asyncio.Event()
    log.when_caught_up(caught_up.set)
    assert not caught_up.is_set()
    may_write.set()
    await asyncio.wait_for(caught_up.wait(), 5)
    assert not log.is_behind
    log.close()
    assert numbers_in(log.path) == list(range(1, count + 1))
    assert log.lost_records == 0


async def test_a_caller_that_asks_after_the_log_has_caught_up_is_called_all_the_same(log):
    caught_up = asyncio.Event()
    log.when_caught_up(caught_up.set)
    await asyncio.wait_for(caught_up.wait(), 1)


async def test_a_disk_that_takes_nothing_at_all_does_not_stop_serving(
    tmp_path, monkeypatch, caplog
):
    writev, may_write = os.writev, threading.Event()

    def hang(fd, parts):
        may_write.wait()
        return writev(fd, parts)

    log = FrameLog(tmp_path, "test", asyncio.get_running_loop())
    monkeypatch.setattr(os, "writev", hang)
    monkeypatch.setattr(module, "MAX_BACKLOG_BYTES", 200)
    monkeypatch.setattr(module, "STALL_SECONDS", 0.05)
    kept = 0
    while not log.is_behind:
        kept += 1
        append(log, kept)
        log.flush()
    released = asyncio.Event()
    log.when_caught_up(released.set)
    await asyncio.wait_for(released.wait(), 5)
    assert not log.is_behind
    append(log, 99)
    log.flush()
    assert log.lost_records == 1
    may_write.set()
    while log._is_stalled:
        await asyncio.sleep(0.001)
    append(log, 100)
    log.close()
    assert numbers_in(log.path) == [*range(1, kept + 1), 0, 100]
    assert "takes nothing" in caplog.text


async def test_stats(tmp_path):
    log = FrameLog(tmp_path, "test", asyncio.get_running_loop())
    empty_bytes = log.path.stat().st_size
    append(log, 1)
    before = log.stats()
    assert (before.file_bytes, before.written_bytes) == (empty_bytes, empty_bytes)
    assert before.behind_bytes > 6
    log.close()
    after = log.stats()
    assert after.path == log.path
    assert after.file_bytes == after.written_bytes == log.path.stat().st_size
    assert (after.behind_bytes, after.lost_records, after.is_failing) == (0, 0, False)


async def test_a_directory_keeps_its_bounds_by_itself(tmp_path):
    for number in (1, 2):
        (tmp_path / f"frames-{number:06d}.mqlog").write_bytes(bytes(50_000))
    config = FrameLogConfig(max_file_bytes=4096, max_total_bytes=60_000)
    log = FrameLog(tmp_path, "test", asyncio.get_running_loop(), config)
    assert log.has_bodies
    for number in range(200):
        append(log, number)
        log.flush()
    while log.stats().behind_bytes or any(
        path.suffix != ".gz" for path in tmp_path.iterdir() if path != log.path
    ):
        await asyncio.sleep(0.005)
    log.close()
    oldest, *packed, last = sorted(tmp_path.iterdir())
    assert (oldest.name, last, len(packed)) == ("frames-000002.mqlog.gz", log.path, 1)
    pieces = [gzip.decompress(path.read_bytes()) for path in packed] + [last.read_bytes()]
    records = [record for piece in pieces for record in LogReader().feed(piece)]
    assert [record.connection_id for record in records] == list(range(200))


async def test_a_level_without_bodies(tmp_path):
    config = FrameLogConfig(level="headers")
    log = FrameLog(tmp_path, "test", asyncio.get_running_loop(), config)
    assert not log.has_bodies
    log.close()


def test_the_clock_tells_the_time():
    import time

    now_ns = module.steady_clock()
    assert abs(now_ns() - time.time_ns()) < 10**9
