"""The state on disk, where its directory is taken away."""

from __future__ import annotations

import asyncio
import errno
import shutil

import pytest

from mqd.core.broker import Bounds, Broker
from mqd.engine import durable
from mqd.engine.durable import Durable, Settings
from mqd.engine.storage import NEVER_LSN
from mqd.store import DirectoryGone, JournalFailed
from mqwire.errors import CodedError
from mqwire.levels import Level


@pytest.mark.parametrize("is_remade", [False, True])
async def test_nothing_is_promised_once_the_directory_is_gone(tmp_path, monkeypatch, is_remade):
    monkeypatch.setattr(durable, "LOOK_SECONDS", 0.001)
    directory = tmp_path / "data"
    directory.mkdir()
    storage = Durable(str(directory), Broker(Bounds(10**6, 2**30, 10)), Settings())
    failed = asyncio.Event()
    storage.on_progress = lambda: failed.set() if storage.failure is not None else None
    storage.start(asyncio.get_running_loop())
    while not storage.recovered.writer.has_spare:  # which is not made without the directory
        await asyncio.sleep(0.001)
    assert storage.commit(Level.SYNCED) < NEVER_LSN
    directory.rename(tmp_path / "aside")
    if is_remade:
        directory.mkdir()
        other = Durable(str(directory), Broker(Bounds(10**6, 2**30, 10)), Settings())
    await asyncio.wait_for(failed.wait(), 20)
    moved = f"the data directory {directory} was moved to {tmp_path / 'aside'}"
    if is_remade:
        moved += ", and there is another one in its place"
    assert str(storage.failure).startswith(f"{moved} while the server used it; the server stops")
    assert f"start it again with --data-dir {tmp_path / 'aside'}" in str(storage.failure)
    assert storage.commit(Level.SYNCED) == NEVER_LSN
    with pytest.raises(JournalFailed, match="was moved to"):
        await storage.stop(asyncio.Event())
    if is_remade:
        other.start(asyncio.get_running_loop())
        await other.stop(asyncio.Event())


async def test_a_journal_that_finds_no_directory_says_what_became_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "LOOK_SECONDS", 3600)
    directory = tmp_path / "data"
    directory.mkdir()
    storage = Durable(str(directory), Broker(Bounds(10**6, 2**30, 10)), Settings())
    storage.start(asyncio.get_running_loop())
    while not storage.recovered.writer.has_spare:  # from here on nothing is made there by itself
        await asyncio.sleep(0.001)
    shutil.rmtree(directory)
    with pytest.raises(CodedError):
        await storage.snapshot()  # which begins a file
    with pytest.raises(DirectoryGone, match="was removed or emptied while the server used it"):
        await storage.stop(asyncio.Event())
    assert isinstance(storage.failure, DirectoryGone)


async def test_a_stop_that_fails_keeps_the_error_behind_it(tmp_path, monkeypatch):
    storage = Durable(str(tmp_path), Broker(Bounds(10**6, 2**30, 10)), Settings())
    storage.start(asyncio.get_running_loop())
    behind = OSError(errno.EIO, "Input/output error")
    failure = JournalFailed("the journal cannot be written")
    failure.__cause__ = behind
    close = storage._journal.close

    def close_and_fail():
        close()
        storage._journal.failure = failure
        raise failure

    monkeypatch.setattr(storage._journal, "close", close_and_fail)
    with pytest.raises(JournalFailed) as raised:
        await storage.stop(asyncio.Event())
    assert raised.value is failure
    assert raised.value.__cause__ is behind
