"""A server without sockets: a broker with its journal, and a report of what it has promised.

The report lies where no fault reaches it, and is written line by line: what was begun
before the journal hears of it, and that a level was reached once it is. It is what
clients would know of a server that is killed at any moment.

    ["run", epoch, when]
    ["begin", commit, [[verb, uid, level, ...] ...]]
          push: first id, tags      pull: first id, tags      removal: first id that stays
    ["ack", commit, level, when]            everything in it of that level and less
    ["fold"], ["folded"]
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

from crash.history import new_broker
from crash.script import Action, tag_of
from mqd.core import records
from mqd.core.fifo import ANY_SIZE
from mqd.store.errors import SnapshotRefused
from mqd.store.fold import fold
from mqd.store.journal import Journal
from mqd.store.recovery import recover
from mqwire.levels import Level
from mqwire.packs import decode_body, split_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crash.script import Script
    from mqd.core.broker import Broker
    from mqd.store.files import Files

WAIT_SECONDS = 30.0


class Report:
    """Lines of JSON, each of them one write."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *values: Any) -> None:
        os.write(self._handle, json.dumps(values).encode() + b"\n")


class Serving:
    """One run of a server.

    Args:
        files: the disk.
        directory: the data directory.
        report: what is told to the outside.
        segment_bytes: small, so that segments are changed often.
        options: for the journal.
    """

    def __init__(
        self, files: Files, directory: str, report: Report, segment_bytes: int, **options: Any
    ) -> None:
        self._files = files
        self._directory = directory
        self._report = report
        self.broker = new_broker()
        recovered = recover(files, directory, self.broker.apply_all, segment_bytes=segment_bytes)
        self._progress = threading.Event()
        self.journal = Journal(recovered.writer, self._progress.set, **options)
        self._unsettled: deque[tuple[int, int, Level]] = deque()
        report.note("run", recovered.epoch, time.monotonic())

    def commit(self, number: int, script: Script) -> None:
        """Carry out the operations of one commit, and tell the outside when it may know."""
        begun: list[list[Any]] = []
        levels = {Level.ACCEPTED}

        def carry_out(action: Action) -> None:
            self.journal.append(action.record)
            begun.append(_carry_out(self.broker, action))
            levels.add(action.level)

        script.commit(carry_out)
        self._report.note("begin", number, begun)
        lsn = self.journal.commit(max(levels))
        self._unsettled.extend((lsn, number, level) for level in sorted(levels))
        self.settle()

    def settle(self, most_unsettled: int = 8) -> None:
        """Acknowledge what has reached its level; wait until no more than so many have not."""
        while True:
            self._progress.clear()
            self._acknowledge()
            if len(self._unsettled) <= most_unsettled:
                return
            if self.journal.failure is not None:
                raise self.journal.failure
            if not self._progress.wait(WAIT_SECONDS):
                raise TimeoutError("the journal has stopped")

    def _acknowledge(self) -> None:
        journal = self.journal
        reached = {
            Level.ACCEPTED: inf,
            Level.WRITTEN: journal.written_lsn,
            Level.SYNCED: journal.synced_lsn,
        }
        for item in list(self._unsettled):
            lsn, number, level = item
            if lsn <= reached[level]:
                self._report.note("ack", number, level, time.monotonic())
                self._unsettled.remove(item)

    def rest(self) -> None:
        """Wait until the journal has nothing to do of itself."""
        self.settle(0)
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.journal._is_asleep or self.journal._needs_marker():
            if self.journal.failure is not None:
                raise self.journal.failure
            if time.monotonic() > deadline:
                raise TimeoutError("the journal does not come to rest")
            self._progress.wait(0.0005)

    def fold(self) -> None:
        """Make a snapshot, as the process that does it would."""
        number = self.journal.seal()
        while self.journal.segment_number < number:
            self._progress.clear()
            if self.journal.failure is not None:
                raise self.journal.failure
            if self.journal.segment_number < number:
                self._progress.wait(0.01)
        self._report.note("fold")
        with suppress(SnapshotRefused):  # nothing has come since the last one
            fold(self._files, self._directory, number)
        self._report.note("folded")


def _carry_out(broker: Broker, action: Action) -> list[Any]:
    """Apply a record, and describe it for the report."""
    record, level = action
    kind = record[0]
    if kind == records.CREATE:
        return ["create", broker.apply(record), level]
    uid = record[1]
    if kind == records.PUSH:
        return ["push", uid, level, broker.apply(record), tags_of([record[4]])]
    queue = next(queue for queue in broker.queues() if queue.uid == uid)
    if kind == records.PULL:
        (batch,) = broker.take(queue, record[2], ANY_SIZE)
        return ["pull", uid, level, batch.first_id, tags_of(batch.packs)]
    end = queue.fifo.first_id + queue.fifo.count
    broker.apply(record)
    return ["removal", uid, level, end]


def tags_of(packs: Iterable[bytes]) -> list[str]:
    """Return the tags of all bodies in packs."""
    return [tag_of(decode_body(piece)) for pack in packs for piece in split_pack(pack)]


class OneThread:
    """File operations that all happen in one thread, so that they can be counted.

    Args:
        files: does them.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._turn = threading.Lock()
        self._asked = threading.Semaphore(0)
        self._answered = threading.Semaphore(0)
        self._call: Callable[[], Any] = int
        self._result: Any = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            self._asked.acquire()
            self._error = None
            try:
                self._result = self._call()
            except BaseException as error:  # noqa: BLE001  it is the caller's
                self._error = error
            self._answered.release()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._files, name)

        def do(*arguments: Any, **options: Any) -> Any:
            with self._turn:
                self._call = lambda: method(*arguments, **options)
                self._asked.release()
                self._answered.acquire()
                result, error = self._result, self._error
            if error is not None:
                raise error
            return result

        setattr(self, name, do)
        return do
