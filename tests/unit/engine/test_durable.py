"""The state on disk, where its directory is taken away."""

from __future__ import annotations

import asyncio

import pytest

from mqd.core.broker import Bounds, Broker
from mqd.engine import durable
from mqd.engine.durable import Durable, Settings
from mqd.engine.storage import NEVER_LSN
from mqd.store import JournalFailed
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
    assert f"the data directory {directory} was removed, moved or rep" in str(storage.failure)
    assert storage.commit(Level.SYNCED) == NEVER_LSN
    with pytest.raises(JournalFailed, match="was removed"):
        await storage.stop(asyncio.Event())
    if is_remade:
        other.start(asyncio.get_running_loop())
        await other.stop(asyncio.Event())
