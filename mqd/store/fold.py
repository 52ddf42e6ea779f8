"""Fold: the last snapshot and the sealed segments after it become the next snapshot.

    python -m mqd.store.fold DIRECTORY --before NUMBER [--resident-bytes N] [--until-eof]

A process of its own, so that whoever serves never stops for it: it reads files that
nobody writes any more, through the same scanner and the same `Broker.apply` as a start,
so every fold is a rehearsal of one. The order: write and sync a temporary file, rename
it, sync the directory, read it back, and only then remove what it has taken the place of.

Memory: the state that it folds, as the server has it, bodies beyond N bytes put aside on the
disk as the server does it, and a chunk of a file. Time: that
of a start from the same files, and of writing the snapshot. It runs at low priority, and
holds `fold.lock`, so that there is one at a time. Bodies are put aside only while the disk has
room for what it reads once more: that much the snapshot may need.

Standard output is one line of JSON: `snapshot` (its number), `covered_lsn`, `records`,
`bytes`, `read_bytes`, `seconds`, `removed` (how many files went); or `error` and `path`. With
either, `warnings` are what there was to say on the way.
Exit codes: 0 done, 2 wrong arguments, 3 another fold runs, 4 damage or foreign files, 5
the disk has refused something, 6 there is nothing to fold, or not yet.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mqd.core.broker import Bounds, Broker
from mqd.core.errors import BrokerError
from mqd.core.paging import Pager
from mqd.store import snapshot as snapshots
from mqd.store.decisions import SegmentsState, SnapshotState
from mqd.store.dirlock import FOLD_LOCK_NAME, DirectoryLock
from mqd.store.errors import (
    DirectoryLocked,
    DirectoryUnusable,
    JournalDamaged,
    SnapshotRefused,
    StorageError,
)
from mqd.store.files import OsFiles
from mqd.store.pages import OsScratchFiles, PageFiles
from mqd.store.recovery import Replay, remove, replay_segments
from mqd.store.segments import identity_of
from mqd.store.snapshot import Place
from mqd.store.survey import Survey, look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqd.store.files import Files

_logger = logging.getLogger("mqd")

NICENESS: Final = 10
_EXIT_CODES: Final[tuple[tuple[type[StorageError], int], ...]] = (
    (DirectoryLocked, 3),
    (DirectoryUnusable, 5),
    (SnapshotRefused, 6),
    (StorageError, 4),
)


class Folded(NamedTuple):
    """What a fold has done."""

    snapshot: int
    covered_lsn: int
    records: int
    size_bytes: int
    read_bytes: int
    removed: int
    """How many files went."""


def fold(files: Files, directory: str, before: int, pager: Pager | None = None) -> Folded:
    """Make the next snapshot, and remove what it takes the place of.

    Args:
        files: the file operations.
        directory: a data directory; whoever serves it may go on meanwhile.
        before: the first segment that is not folded; it, and so all before it, must have
            been begun (`Journal.seal`).
        pager: as of `Broker`.

    Durability: the snapshot is on the disk, and was read back, before anything goes.

    Raises:
        StorageError: there is no new snapshot; nothing was removed.
        OSError: the same, unless removing itself has failed.
        BrokerError: the same; what was put aside cannot be had.
    """
    survey = look(files, directory)
    headers = [header for header in survey.headers if header.number <= before]
    _check(survey, [header.number for header in headers], before)
    broker = Broker(Bounds(0, 0, 0), pager)
    replay = Replay()
    if survey.snapshot is not None:
        for records in snapshots.load(files, directory, survey.snapshot):
            broker.apply_all(records)
        replay.next_lsn = survey.snapshot.first_lsn
        replay.read_bytes = survey.snapshot.size_bytes
    replay_segments(files, directory, headers, broker.apply_all, replay, is_sealed=True)
    if replay.damage is not None:
        raise replay.damage
    assert replay.next_lsn == headers[-1].first_lsn
    place = Place(survey.last_snapshot_number + 1, replay.next_lsn - 1, before)
    identity = identity_of(headers[-1])
    info = snapshots.write(files, directory, broker.export(), place, identity)
    old_snapshots = list(survey.old_snapshots)
    if survey.snapshot is not None:
        old_snapshots.append(survey.snapshot.number)
    old_segments = [*survey.old_segments, *(header.number for header in headers[:-1])]
    remove(files, directory, old_snapshots, old_segments)
    removed = len(old_snapshots) + len(old_segments)
    return Folded(
        info.number, info.covered_lsn, info.records, info.size_bytes, replay.read_bytes, removed
    )


def _check(survey: Survey, numbers: list[int], before: int) -> None:
    """Make sure that what a start would load is there, up to the segment `before`."""
    if SnapshotState.DAMAGED is survey.snapshot_state and survey.damage is not None:
        raise survey.damage
    if survey.segments_state in (SegmentsState.NONE, SegmentsState.GAP):
        raise JournalDamaged(
            f"segments of {survey.directory} are missing; nothing was changed", survey.directory
        )
    if not numbers or numbers[-1] != before:
        raise SnapshotRefused(
            f"segment {before} of {survey.directory} is not begun: seal the journal first"
        )
    if len(numbers) == 1:
        raise SnapshotRefused(f"there is nothing to fold before segment {before}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a fold for a directory, and say in a line of JSON what came of it."""
    parser = argparse.ArgumentParser(prog="python -m mqd.store.fold", description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("--before", type=int, required=True, metavar="NUMBER")
    parser.add_argument("--nice", type=int, default=NICENESS, metavar="N")
    parser.add_argument("--resident-bytes", type=int, metavar="N")
    parser.add_argument("--until-eof", action="store_true")
    options = parser.parse_args(arguments)
    if options.until_eof:
        threading.Thread(target=_end_with_input, daemon=True).start()
    os.nice(options.nice)
    gc.disable()  # nothing here is garbage before the end
    with _Warnings() as warnings:
        said, code = _run(options)
    if warnings.sentences:
        said["warnings"] = warnings.sentences
    print(json.dumps(said))  # noqa: T201  the result
    return code


def _run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Run a fold; returns what there is to say of it, and the exit code."""
    started = time.monotonic()
    try:
        with DirectoryLock(options.directory, FOLD_LOCK_NAME):
            _sweep(options.directory)
            pager = _pager(options.directory, options.resident_bytes)
            folded = fold(OsFiles(), options.directory, options.before, pager)
    except BrokerError as error:
        return {"error": error.message, "path": options.directory}, 5
    except StorageError as error:
        code = next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
        return {"error": error.message, "path": error.path}, code
    except OSError as error:
        return {"error": error.strerror or str(error), "path": error.filename}, 5
    figures = folded._asdict()
    figures["bytes"] = figures.pop("size_bytes")
    figures["seconds"] = round(time.monotonic() - started, 6)
    return figures, 0


class _Warnings(logging.Handler):
    """Keeps what our modules log, which would be taken for the server's on its standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())

    def __enter__(self) -> _Warnings:  # noqa: PYI034  Self is of Python 3.11
        _logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _logger.removeHandler(self)


def _pager(directory: str, resident_bytes: int | None) -> Pager | None:
    if resident_bytes is None:
        return None
    pages = PageFiles(OsScratchFiles(directory), reserve_bytes=_files_bytes(directory))
    return Pager(pages, resident_bytes)


def _files_bytes(directory: str) -> int:
    """Tell how large snapshots and segments are: the next snapshot is hardly larger."""
    size_bytes = 0
    for path in Path(directory).iterdir():
        if path.suffix in (".mqj", ".mqs"):
            with suppress(FileNotFoundError):  # whoever serves has renamed it meanwhile
                size_bytes += path.stat().st_size
    return size_bytes


def _end_with_input() -> None:
    """End the process when standard input ends: nobody waits for the fold any more.

    It may end at any moment: until the snapshot has its name there is none, and from then
    on it is whole.
    """
    while os.read(sys.stdin.fileno(), 1024):  # not by sys.stdin: its lock would be held at exit
        pass
    os._exit(1)


def _sweep(directory: str) -> None:
    """Remove what a fold that was killed has left."""
    for path in Path(directory).iterdir():
        if snapshots.is_temporary(path.name):
            path.unlink()


if __name__ == "__main__":
    sys.exit(main())
