"""Opens the state that a server serves: from its data directory, or empty. Floor 4.

What blocks is done here, before the event loop: the directory made and locked, what lies
in it recovered. Nothing is served from it before.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mqd.address_file import make_private_directory
from mqd.clock import Clock
from mqd.config import ConfigError, Problem
from mqd.core.broker import Bounds, Broker
from mqd.core.paging import Pager
from mqd.core.standings import Caps
from mqd.engine.durable import Durable, Settings
from mqd.engine.storage import MemoryOnly
from mqd.store.mounts import MEMORY_TYPES, NETWORK_TYPES, filesystem_type
from mqd.store.pages import OsScratchFiles, PageFiles

if TYPE_CHECKING:
    from mqd.config import Config
    from mqd.engine.storage import Storage

_logger = logging.getLogger("mqd.storage")

RESERVED_SEGMENTS: Final = 2
"""Bodies are put aside on the disk only while so many segments of the journal would fit too."""


@dataclass
class State:
    """What is served, where its records go, and the time that it has come to."""

    broker: Broker
    storage: Storage
    clock: Clock


def open_state(config: Config) -> State:
    """Open the state that a configuration names.

    Raises:
        ConfigError: the data directory cannot be made, or must not lie where it does.
        StorageError: it cannot be used; nothing in it was changed.
    """
    _prepare_directory(config)
    queues = config.queues
    defaults = {"backoff": queues.backoff, "max_worker_losses": queues.max_worker_losses}
    auth = config.auth
    caps = Caps(auth.max_users, auth.max_tokens, auth.max_tokens_per_user)
    bounds = Bounds(queues.max_messages, queues.max_bytes, queues.max_queues, defaults, caps)
    if not config.storage.journal:
        clock = Clock()
        return State(Broker(bounds), MemoryOnly(epoch=clock.now_ms() // 1000), clock)
    broker = Broker(bounds, _pager(config))
    storage = _recover(config, broker)
    clock = Clock(broker.clock_ms)
    if clock.ahead_seconds:
        _logger.warning(
            "the clock of this machine is %.0f s behind the newest record in %s; time goes on "
            "from that record: see that the clock is right",
            clock.ahead_seconds,
            config.storage_path,
        )
    return State(broker, storage, clock)


def counted(number: int, what: str) -> str:
    """Return a number with its noun: `1 queue`, `2 queues`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _prepare_directory(config: Config) -> None:
    """Make the data directory, and look where it lies."""
    path = config.storage_path
    try:
        make_private_directory(path)
    except OSError as error:
        sentence = f"{path} cannot be made ({error.strerror})"
        advice = "give another directory with --data-dir"
        raise ConfigError([Problem("storage.path", f"{sentence}: {advice}")]) from error
    if not config.storage.journal:
        return
    kind = filesystem_type(str(path))
    if kind in NETWORK_TYPES:
        risk = (
            f"{path} lies on {kind}, a network file system: locks and syncs may not mean there "
            "what they say, two servers may use one directory, and what was promised may be lost"
        )
        if not config.storage.allow_network_filesystem:
            advice = (
                "give a directory on a local disk with --data-dir, or set "
                "storage.allow_network_filesystem to true"
            )
            raise ConfigError([Problem("storage.path", f"{risk}; {advice}")])
        _logger.warning("%s", risk)
    elif kind in MEMORY_TYPES:
        _logger.warning("%s lies on %s: what is there is gone when the machine is", path, kind)


def _pager(config: Config) -> Pager:
    """Make what puts bodies aside. The journal needs the disk more: some of it stays free."""
    storage = config.storage
    files = OsScratchFiles(str(config.storage_path))
    pages = PageFiles(files, reserve_bytes=RESERVED_SEGMENTS * storage.segment_bytes)
    return Pager(pages, storage.resident_bytes)


def _recover(config: Config, broker: Broker) -> Durable:
    storage = config.storage
    settings = Settings(
        storage.snapshot_interval_seconds, storage.segment_bytes, storage.resident_bytes
    )
    durable = Durable(str(config.storage_path), broker, settings)
    recovered = durable.recovered
    for warning in recovered.warnings:
        _logger.warning("%s", warning)
    if recovered.records:
        rate = recovered.records / max(recovered.seconds, 1e-6)
        _logger.info(
            "state recovered from %s: %s in %s; %d records, %d bytes, in %.2f s (%.0f records/s)",
            config.storage_path,
            counted(sum(queue.fifo.count for queue in broker.queues()), "message"),
            counted(len(broker), "queue"),
            recovered.records,
            recovered.read_bytes,
            recovered.seconds,
            rate,
        )
    return durable
