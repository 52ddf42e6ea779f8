"""Cuts of the power while a load runs, on real file systems, and what is there afterwards.

A load writes into a data directory on a `CuttableDisk` and tells outside of it what was
promised. At some moment the power goes; the file system is unmounted and mounted again,
the directory recovered, and held against what was told. Then the load goes on from there,
with a new disk now and then.

Two loads: `ScriptLoad` is a broker with its journal in a process forked for it, and with
snapshots made meanwhile; `crash.server_load` is the whole server, over TCP.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from crash.mounts import LOGFLUSH, NOLOGFLUSH, CuttableDisk
from crash.reports import (
    Follower,
    Violation,
    empty,
    events,
    judge_history,
    judge_state,
    keep,
    read_report,
    reopen,
)
from crash.script import Script, Shape
from crash.server_load import ServerLoad
from crash.serving import Report, Serving
from mqd.store.errors import JournalFailed, StorageError
from mqd.store.files import OsFiles
from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.core.records import Record
    from mqd.store.files import Files
    from support.ledger import Event

CUTS_PER_DISK = 20
SERVER_CUTS_PER_DISK = 4
SEGMENT_BYTES = 24 * 1024
RUN_SECONDS = 60
GONE_SECONDS = 10.0
"""How long a process may live that cannot write any more, on a noisy machine."""

SHAPE = Shape(6, 1500)


class Load(Protocol):
    """Something that writes into a data directory until the power goes."""

    def start(self) -> None:
        """Begin, or go on after a cut."""

    def wait_for_moment(self) -> str:
        """Return when the power is to be cut; tells a word for the kind of moment."""

    def cut_begins(self) -> None:
        """Take note that nobody hears anything from here on.

        A sync that is under way when the ioctl comes may say that all is well, and what it
        should have written is gone nevertheless. Without power nobody would hear of it.
        """

    def stop(self) -> None:
        """Make sure that nothing is open on the disk any more."""

    def judge(self) -> Counter[str]:
        """Hold what is there against what was promised; the disk is mounted again.

        Raises:
            Violation: a promise was broken.
            StorageError: the directory cannot be used any more, which is the same.
        """

    def finish(self) -> Counter[str]:
        """Judge the whole history; nothing comes after it."""


class NoSync(OsFiles):
    """Files that are never synced: a server that promises too early."""

    def sync_data(self, handle: int) -> None:
        """Do nothing."""

    def sync(self, handle: int) -> None:
        """Do nothing."""

    def sync_directory(self, path: str) -> None:
        """Do nothing."""


class ScriptLoad:
    """A broker with its journal, in a process of its own.

    Args:
        disk: the disk.
        seed: which operations, and when the power goes.
        files: the file operations that the load uses.
    """

    def __init__(self, disk: CuttableDisk, seed: str, files: Files) -> None:
        self._disk = disk
        self._seed = seed
        self._files = files
        self._chooser = random.Random(seed)
        self._outside = disk.outside
        self._directory = str(disk.root / "data")
        self._run = 0
        self._start: list[Record] = []
        self._history: list[Event] = []
        self._process = 0
        self._folds = -1
        self._cut_at = 0.0
        self._epoch = 0

    @property
    def _report(self) -> Path:
        return self._outside / str(self._run)

    @property
    def _run_seed(self) -> str:
        return f"{self._seed}.{self._run}"

    def start(self) -> None:
        """See `Load`."""
        self._run += 1
        self._report.touch()
        self._folds, told = os.pipe()
        self._process = os.fork()
        if not self._process:
            self._disk.let_go()
            self._child(told)
        os.close(told)

    def _child(self, told: int) -> NoReturn:
        status = 1
        try:
            signal.alarm(RUN_SECONDS)
            self._serve(told)
        except (StorageError, OSError):
            status = 3  # as it must be without power
        except BaseException:  # noqa: BLE001  nothing of this may reach the parent's stack
            (self._outside / "error").write_text(traceback.format_exc())
        finally:
            os._exit(status)

    def _serve(self, told: int) -> None:
        chooser = random.Random(f"{self._run_seed} folds")
        notes = Report(str(self._report))
        serving = Serving(
            self._files,
            self._directory,
            notes,
            SEGMENT_BYTES,
            sync_interval_seconds=0.02,
            marker_seconds=0.001,
        )
        script = Script(serving.broker, self._run_seed, SHAPE)
        folder = threading.Thread()
        commit = 0
        while True:
            commit += 1
            serving.commit(commit, script)
            if chooser.random() < 0.03 and not folder.is_alive():
                folder = threading.Thread(target=_fold, args=(serving, told), daemon=True)
                folder.start()
            elif chooser.random() < 0.01:
                serving.rest()

    def wait_for_moment(self) -> str:
        """See `Load`."""
        what = self._chooser.random()
        if what < 0.2:
            time.sleep(self._chooser.uniform(0, 0.01))
            return "start"
        if what < 0.6:
            time.sleep(self._chooser.uniform(0, 0.12))
            return "any"
        select.select([self._folds], [], [], 2.0)
        time.sleep(self._chooser.uniform(0, 0.006))
        return "snapshot"

    def cut_begins(self) -> None:
        """See `Load`."""
        self._cut_at = time.monotonic()

    def stop(self) -> None:
        """See `Load`."""
        if not self._process:
            return
        process, self._process = self._process, 0
        gone = os.pidfd_open(process)
        try:
            has_gone = bool(select.select([gone], [], [], GONE_SECONDS)[0])
            if not has_gone:
                os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
        finally:
            os.close(gone)
            os.close(self._folds)
        error = self._outside / "error"
        if error.exists():
            raise RuntimeError(f"the load has failed: {error.read_text()}")
        if not has_gone:
            raise Violation("the process lives on without a disk")
        if os.waitstatus_to_exitcode(status) != 3:
            raise RuntimeError(f"the load has ended with wait status {status}")

    def judge(self) -> Counter[str]:
        """See `Load`."""
        seen = read_report(self._report, self._cut_at)
        found = reopen(self._directory, SEGMENT_BYTES)
        follower = Follower(self._start)
        follower.follow(self._run_seed, SHAPE, seen.begun)
        promised = seen.promised(Level.SYNCED)
        commit = judge_state(found.broker, follower.views, promised, seen.begun)
        if found.recovered.epoch <= max(seen.epoch, self._epoch):
            raise Violation("an epoch comes again")
        self._epoch = found.recovered.epoch
        self._history += events(seen, self._run)
        again = Follower(self._start)
        again.follow(self._run_seed, SHAPE, commit)
        self._start = list(again.broker.export())
        return Counter(
            operations=len(seen.actions),
            promised_commits=promised,
            snapshots=seen.folds,
            torn=found.recovered.cut_bytes > 0,
        )

    def finish(self) -> Counter[str]:
        """See `Load`."""
        broker = Follower(self._start).broker
        history = [*self._history, *empty(broker, self._run + 1)]
        return Counter(delivered=judge_history(history, Level.SYNCED))


def _fold(serving: Serving, told: int) -> None:
    os.write(told, b"f")
    try:
        serving.fold()
    except (JournalFailed, StorageError, OSError):
        return  # the power is gone


def cut_once(disk: CuttableDisk, load: Load, how: int) -> Counter[str]:
    """Let a load run, cut the power, and judge what is there then."""
    try:
        load.start()
        moment = load.wait_for_moment()
        load.cut_begins()
        disk.cut(how)
    finally:
        load.stop()
        disk.unmount()
    disk.mount()
    left = disk.outside / "left"  # for whoever has to look into it
    shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(disk.root, left)
    counts = load.judge()
    counts.update({"cuts": 1, f"cuts.{moment}": 1})
    return counts


def _cut_disk(
    kind: str, seed: str, cuts: int, scratch: Path, *, is_server: bool
) -> Iterator[Counter[str]]:
    """Cut the power of one disk so many times."""
    chooser = random.Random(seed)
    disk = CuttableDisk(kind, scratch)
    try:
        load = ServerLoad(disk, seed) if is_server else ScriptLoad(disk, seed, OsFiles())
        for number in range(cuts):
            how = chooser.choice((LOGFLUSH, NOLOGFLUSH))
            try:
                counts = cut_once(disk, load, how)
            except (Violation, StorageError) as error:
                place = keep(disk.outside)
                raise Violation(
                    f"{kind}, seed {seed}, cut {number}: {error}\n"
                    f"what the disk held and what was told: {place}"
                ) from error
            flush = "logflush" if how == LOGFLUSH else "nologflush"
            yield counts + Counter({f"cuts.{kind}": 1, f"cuts.{flush}": 1})
        yield load.finish()
    finally:
        disk.close()


def _control(
    kind: str, seed: str, cuts: int, scratch: Path, *, is_server: bool
) -> Iterator[Counter[str]]:
    """The same without syncs, each time on a new disk: it has to lose something.

    A server syncs; there, what it says was only written is taken for promised.
    """
    for number in range(cuts):
        disk = CuttableDisk(kind, scratch)
        try:
            name = f"{seed}.{number}"
            load = (
                ServerLoad(disk, name, is_control=True)
                if is_server
                else ScriptLoad(disk, name, NoSync())
            )
            cut_once(disk, load, NOLOGFLUSH)
            load.finish()
        except (Violation, StorageError):
            yield Counter({"control_cuts": 1, f"control_losses.{kind}": 1})
        else:
            yield Counter(control_cuts=1)
        finally:
            disk.close()


def work(options: dict[str, Any]) -> Iterator[Counter[str]]:
    """Do one worker's share of the cuts. See `crash.pool`.

    Args:
        options: `kinds` of file systems, `seed`, `index` of this worker, `cuts`,
            `control_cuts` for each kind, `is_server`, which load, and `scratch`, a directory.
    """
    kinds, seed, left = options["kinds"], options["seed"], options["cuts"]
    scratch = Path(options["scratch"])
    disks = 0
    for kind in kinds:
        name = f"{seed}.{options['index']}.{kind}"
        yield from _control(
            kind, name, options["control_cuts"], scratch, is_server=options["is_server"]
        )
    while left > 0:
        cuts = min(left, SERVER_CUTS_PER_DISK if options["is_server"] else CUTS_PER_DISK)
        kind = kinds[(disks + options["index"]) % len(kinds)]
        name = f"{seed}.{options['index']}.{disks}"
        yield from _cut_disk(kind, name, cuts, scratch, is_server=options["is_server"])
        left -= cuts
        disks += 1
