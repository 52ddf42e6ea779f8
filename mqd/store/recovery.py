"""From the files of a data directory back to the state that they hold.

    look        which snapshot, which segments           mqd.store.survey
    load        the snapshot's records, then the segments', in order, to `apply`
    judge       where the sound batches end: clean, torn, or damaged
    decide      by the table                             mqd.store.decisions
    begin       a new segment, one epoch higher; what was accepted but never promised
                is written into it again and synced
    tidy        bytes that were never promised, and files that nothing needs, go

The rule for bad bytes: a batch says up to which lsn everything was on the disk when it
was written, and a segment's header that everything before it was. Bad bytes at or below
the highest such word are damage, and nothing is skipped for them. Above it they are what
a loss of power leaves.

Nothing is changed before the decision. The new segment takes the place of whatever the
one before it holds from its own first lsn on, so a crash at any point of this leaves
files that give the same state again.
"""

from __future__ import annotations

import gc
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from mqd.core.errors import BrokerError
from mqd.store import snapshot as snapshots
from mqd.store.decisions import Action, Decision, TailState, decide
from mqd.store.errors import (
    ADVICE_FOR_DAMAGE,
    DirectoryUnusable,
    JournalDamaged,
    RecordRefused,
    StorageError,
)
from mqd.store.reading import BatchReader
from mqd.store.recordlog import ID_BYTES, SEGMENT_MAGIC, Header, Scan, Stop, decode
from mqd.store.segments import SEGMENT_BYTES, Identity, Load, SegmentWriter, segment_name
from mqd.store.snapshot import snapshot_name
from mqd.store.survey import Survey, damaged, look

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.core.records import Record
    from mqd.store.files import Files

    Apply: TypeAlias = Callable[[list[Record]], object]
else:
    Apply = object


@dataclass
class Recovered:
    """What a recovery has found and done."""

    writer: SegmentWriter
    """The segment to go on in, for `mqd.store.journal.Journal`."""
    next_lsn: int
    epoch: int
    """How many times this directory has been started, this start included; on the disk."""
    store_id: bytes
    decision: Decision
    records: int = 0
    """How many were applied."""
    journal_records: int = 0
    """Those of them that came from segments, not from the snapshot."""
    read_bytes: int = 0
    cut_bytes: int = 0
    """Bytes that were never promised and are gone."""
    seconds: float = 0.0
    snapshot_number: int = 0
    """The snapshot that was loaded; 0 for none."""
    warnings: list[str] = field(default_factory=list)
    """Sentences for whoever runs the server."""


@dataclass
class Replay:
    """How far reading the segments has come, and what it has found."""

    next_lsn: int = 1
    records: int = 0
    read_bytes: int = 0
    promised_lsn: int = 0
    """The highest lsn that the files themselves say was on the disk."""
    tail: TailState = TailState.CLEAN
    tail_offset: int = 0
    """Where in the last segment the sound batches end."""
    cut_bytes: int = 0
    runs: deque[Scan] = field(default_factory=deque)
    """Sound batches of the last segment, without runs that were promised to the end."""
    damage: JournalDamaged | None = None

    def promise(self, lsn: int) -> None:
        """Note that a file says that everything up to `lsn` was on the disk."""
        self.promised_lsn = max(self.promised_lsn, lsn)
        while self.runs and self.runs[0].next_lsn <= lsn + 1:
            self.runs.popleft()

    def unpromised(self) -> list[Load]:
        """Return the sound batches that no file says were on the disk."""
        return [
            Load(lsn, [bytes(payload)], len(payload))
            for run in self.runs
            for lsn, payload in enumerate(run.payloads, run.first_lsn)
            if lsn > self.promised_lsn
        ]


def recover(
    files: Files, directory: str, apply: Apply, *, segment_bytes: int = SEGMENT_BYTES
) -> Recovered:
    """Rebuild the state, and make the directory ready to be written again.

    The caller holds the directory's lock.

    Args:
        files: the file operations.
        directory: the data directory; made if it is missing.
        apply: takes records, some at a time, in their order (`Broker.apply_all`). What it
            has built is to be thrown away if this raises.
        segment_bytes: how much space to reserve for a segment.

    Durability: all that was applied, and the new epoch, are on the disk on return.

    Raises:
        StorageError: the directory cannot be used; no file was changed, unless the disk
            itself has failed in the middle.
    """
    started = time.monotonic()
    is_collecting = gc.isenabled()
    gc.disable()  # all that is made here stays: looking through it over and over is in vain
    try:
        files.make_directory(directory)
        survey = look(files, directory)
        replay = _read(files, survey, apply)
        recovered = _go_on(files, survey, replay, segment_bytes)
    except OSError as error:
        raise DirectoryUnusable(
            f"the data directory {directory} cannot be used: {error.strerror or error}; "
            "mend that and start again",
            error.filename if isinstance(error.filename, str) else directory,
        ) from error
    finally:
        if is_collecting:
            gc.enable()
    recovered.seconds = time.monotonic() - started
    return recovered


def _read(files: Files, survey: Survey, apply: Apply) -> Replay:
    """Apply all that is sound, and find out what ends it. Nothing is changed."""
    replay = Replay()
    decision = decide(survey.snapshot_state, survey.segments_state, TailState.CLEAN)
    if decision.action is Action.REFUSE:
        raise _refusal(survey, decision)
    if survey.snapshot is not None:
        _load_snapshot(files, survey, apply, replay)
    replay_segments(files, survey.directory, survey.headers, apply, replay)
    if replay.damage is not None:
        replay.tail = TailState.DAMAGED
    decision = decide(survey.snapshot_state, survey.segments_state, replay.tail)
    if decision.action is Action.REFUSE:
        assert replay.damage is not None
        raise replay.damage
    return replay


def _refusal(survey: Survey, decision: Decision) -> StorageError:
    if survey.damage is not None:
        return survey.damage
    number = survey.missing_number or survey.first_needed
    path = f"{survey.directory}/{segment_name(number)}"
    return JournalDamaged(f"{decision.reason}: {path} is not there; {ADVICE_FOR_DAMAGE}", path)


def _load_snapshot(files: Files, survey: Survey, apply: Apply, replay: Replay) -> None:
    info = survey.snapshot
    assert info is not None
    path = f"{survey.directory}/{snapshot_name(info.number)}"
    for records in snapshots.load(files, survey.directory, info):
        _apply(apply, records, path, "the snapshot")
        replay.records += len(records)
    replay.read_bytes += info.size_bytes
    replay.next_lsn = info.first_lsn


def replay_segments(
    files: Files,
    directory: str,
    headers: list[Header],
    apply: Apply,
    replay: Replay,
    *,
    is_sealed: bool = False,
) -> None:
    """Apply the records of segments that follow each other.

    Args:
        files: the file operations.
        directory: the data directory.
        headers: the segments' headers, the first beginning with `replay.next_lsn`.
        apply: as in `recover`.
        replay: is kept up to date; `damage` is set where promised bytes are bad, and
            nothing more is read then.
        is_sealed: read only up to where the last of the segments begins, not into it.
    """
    ends = [header.first_lsn - 1 for header in headers[1:]]
    last_lsns = ends if is_sealed else [*ends, None]
    for header, last_lsn in zip(headers, last_lsns, strict=False):
        path = f"{directory}/{segment_name(header.number)}"
        reader = BatchReader(files, path, SEGMENT_MAGIC)
        try:
            if reader.header != header:
                raise damaged(path, 0)
            replay.promise(header.first_lsn - 1)
            _replay_segment(reader, last_lsn, apply, replay)
            if last_lsn is not None and reader.next_lsn <= last_lsn:
                replay.damage = damaged(path, reader.offset)
            elif last_lsn is None:
                _judge_tail(reader, replay)
        finally:
            reader.close()
        replay.read_bytes += reader.offset
        if replay.damage is not None:
            return


def _replay_segment(
    reader: BatchReader, last_lsn: int | None, apply: Apply, replay: Replay
) -> None:
    for run in reader.runs(last_lsn):
        try:
            records = decode(run.payloads)
        except ValueError as error:
            raise RecordRefused(
                f"{reader.path} holds a batch with a good checksum that is not readable, its lsn "
                f"from {run.first_lsn} to {run.next_lsn - 1}: report this with a copy of the "
                "directory",
                reader.path,
                reader.offset,
            ) from error
        _apply(apply, records, reader.path, f"lsn {run.first_lsn} to {run.next_lsn - 1}")
        replay.records += len(records)
        replay.next_lsn = run.next_lsn
        if last_lsn is None:  # else the next segment's header promises it, or nobody wants to know
            replay.runs.append(run)
        replay.promise(run.synced_upto)


def _judge_tail(reader: BatchReader, replay: Replay) -> None:
    replay.tail_offset = reader.offset
    later, dirty_bytes = reader.later()
    is_clean = not dirty_bytes and reader.why_stopped in (Stop.END, Stop.BLANK)
    if is_clean:
        return
    replay.promise(later.synced_upto)
    if replay.promised_lsn >= replay.next_lsn:
        replay.damage = damaged(reader.path, reader.offset)
        return
    replay.tail = TailState.TORN
    replay.cut_bytes = dirty_bytes


def _apply(apply: Apply, records: list[Record], path: str, where: str) -> None:
    try:
        apply(records)
    except BrokerError as error:
        raise DirectoryUnusable(
            f"{path} cannot be loaded ({where}): {error.message}", path
        ) from error
    except Exception as error:
        raise RecordRefused(
            f"a record in {path} ({where}) has a good checksum and cannot be applied ({error!r}): "
            "the directory was written by a server with other rules or with a bug; keep a copy of "
            "it, and start with the version that wrote it",
            path,
        ) from error


def _go_on(files: Files, survey: Survey, replay: Replay, segment_bytes: int) -> Recovered:
    """Begin a new segment, and tidy up behind it."""
    directory = survey.directory
    headers = survey.headers
    decision = decide(survey.snapshot_state, survey.segments_state, replay.tail)
    identity = _next_identity(survey)
    if headers and replay.tail_offset:
        _cut_tail(files, f"{directory}/{segment_name(headers[-1].number)}", replay.tail_offset)
    for name in survey.leavings:
        files.unlink(f"{directory}/{name}")
    writer = SegmentWriter(files, directory, identity, segment_bytes)
    number = headers[-1].number + 1 if headers else survey.first_needed
    loads = replay.unpromised()
    first_lsn = loads[0].lsn if loads else replay.next_lsn
    try:
        writer.begin(number, first_lsn, loads)
        _prune(files, survey)
    except BaseException:
        writer.abandon()
        raise
    return Recovered(
        writer=writer,
        next_lsn=replay.next_lsn,
        epoch=identity.epoch,
        store_id=identity.store_id,
        decision=decision,
        records=replay.records,
        journal_records=replay.records - (survey.snapshot.records if survey.snapshot else 0),
        read_bytes=replay.read_bytes,
        cut_bytes=replay.cut_bytes,
        snapshot_number=survey.snapshot.number if survey.snapshot else 0,
        warnings=_warnings(survey, replay),
    )


def _next_identity(survey: Survey) -> Identity:
    epochs = [header.epoch for header in survey.headers]
    store_id = survey.headers[0].store_id if survey.headers else secrets.token_bytes(ID_BYTES)
    if survey.snapshot is not None:
        epochs.append(survey.snapshot.identity.epoch)
    return Identity(store_id, max(epochs, default=0) + 1)


def _cut_tail(files: Files, path: str, size_bytes: int) -> None:
    """Take the bytes off that are no sound batch: torn ones, and space that was reserved."""
    handle = files.open(path, writable=True)
    try:
        if files.size_bytes(handle) > size_bytes:
            files.truncate(handle, size_bytes)
    finally:
        files.close(handle)


def _prune(files: Files, survey: Survey) -> None:
    """Remove what an unfinished fold has left, if its snapshot is the one in use."""
    if survey.damage is not None:
        return  # what is damaged may still be needed by somebody who looks into it
    remove(files, survey.directory, survey.old_snapshots, survey.old_segments)


def remove(files: Files, directory: str, snapshots: list[int], segments: list[int]) -> None:
    """Remove snapshots and segments that a newer snapshot has taken the place of.

    Durability: none is needed; whatever comes back after a crash is removed again.
    """
    for number in segments:
        files.unlink(f"{directory}/{segment_name(number)}")
    for number in snapshots:
        files.unlink(f"{directory}/{snapshot_name(number)}")


def _warnings(survey: Survey, replay: Replay) -> list[str]:
    found = []
    if survey.damage is not None:
        loaded = "the segments alone" if survey.snapshot is None else "the one before it"
        found.append(f"{survey.damage.path} is damaged; the state was rebuilt from {loaded}")
    if replay.cut_bytes:
        found.append(
            f"{replay.cut_bytes} bytes at the end of the journal were cut off: they were being "
            "written when the power went, and nothing in them was promised"
        )
    return found
