"""What lies in a data directory: which snapshot to load, and which segments after it.

Reads only. Used by recovery, by the fold, and by whoever wants to look.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mqd.store import snapshot as snapshots
from mqd.store.decisions import SegmentsState, SnapshotState
from mqd.store.errors import ADVICE_FOR_DAMAGE, ForeignDirectory, JournalDamaged, SnapshotDamaged
from mqd.store.reading import BatchReader, judge_header
from mqd.store.recordlog import SEGMENT_MAGIC, Header
from mqd.store.segments import SPARE_NAME, segment_name, segment_number
from mqd.store.snapshot import SnapshotInfo, is_temporary, snapshot_number

if TYPE_CHECKING:
    from mqd.store.files import Files

_OUR_ENDINGS = (".mqj", ".mqs")


@dataclass
class Survey:
    """What was found. `headers` are those of the segments that are needed, in order."""

    directory: str
    snapshot_state: SnapshotState = SnapshotState.NONE
    segments_state: SegmentsState = SegmentsState.NONE
    snapshot: SnapshotInfo | None = None
    """The one to load."""
    headers: list[Header] = field(default_factory=list)
    missing_number: int = 0
    """The segment that is needed and not there, if there is one."""
    old_snapshots: list[int] = field(default_factory=list)
    """Older than the one to load, and the damaged ones."""
    old_segments: list[int] = field(default_factory=list)
    """Older than any that is needed."""
    last_snapshot_number: int = 0
    leavings: list[str] = field(default_factory=list)
    """Files of ours that were never finished."""
    damage: SnapshotDamaged | None = None
    """What is wrong with the newest snapshot, if it is damaged."""

    @property
    def first_needed(self) -> int:
        """The number of the first segment that is needed."""
        return self.snapshot.first_segment if self.snapshot else 1


def look(files: Files, directory: str) -> Survey:
    """Find out what is there. Every snapshot up to the first sound one is read.

    Raises:
        StorageError: a file is not what its name says, or cannot be used.
    """
    survey = Survey(directory)
    segment_numbers, snapshot_numbers = [], []
    for name in files.names(directory):
        number = segment_number(name)
        if number is not None:
            segment_numbers.append(number)
        elif (number := snapshot_number(name)) is not None:
            snapshot_numbers.append(number)
        elif name == SPARE_NAME or is_temporary(name):
            survey.leavings.append(name)
        elif name.endswith(_OUR_ENDINGS):
            raise ForeignDirectory(
                f"{directory}/{name} has the ending of our files and no name of ours: give it its "
                "name back or move it away",
                f"{directory}/{name}",
            )
    _choose_snapshot(files, survey, sorted(snapshot_numbers, reverse=True))
    _judge_segments(files, survey, sorted(segment_numbers))
    return survey


def _choose_snapshot(files: Files, survey: Survey, numbers: list[int]) -> None:
    if not numbers:
        return
    survey.last_snapshot_number = numbers[0]
    survey.snapshot_state = SnapshotState.DAMAGED
    for number in numbers:
        if survey.snapshot is not None:
            survey.old_snapshots.append(number)
            continue
        try:
            survey.snapshot = snapshots.verify(files, survey.directory, number)
        except SnapshotDamaged as error:
            survey.damage = survey.damage or error
            survey.old_snapshots.append(number)
        else:
            is_newest = survey.damage is None
            survey.snapshot_state = SnapshotState.GOOD if is_newest else SnapshotState.FALLBACK


def _judge_segments(files: Files, survey: Survey, numbers: list[int]) -> None:
    if not numbers:
        return
    first = survey.first_needed
    survey.old_segments = [number for number in numbers if number < first]
    needed = [number for number in numbers if number >= first]
    survey.segments_state = SegmentsState.GAP
    expected = range(first, first + max(len(needed), 1))
    for number, wanted in zip([*needed, 0], expected, strict=False):
        if number != wanted:
            survey.missing_number = wanted
            return
    survey.headers = [_read_header(files, survey, number) for number in needed]
    _check_headers(survey)
    is_tidy = not survey.old_segments
    survey.segments_state = SegmentsState.WHOLE if is_tidy else SegmentsState.LEFT_OVER


def _read_header(files: Files, survey: Survey, number: int) -> Header:
    path = f"{survey.directory}/{segment_name(number)}"
    reader = BatchReader(files, path, SEGMENT_MAGIC)
    reader.close()
    if reader.header is None:
        raise judge_header(path, reader.fault, damaged(path, 0))
    if reader.header.number != number:
        raise ForeignDirectory(
            f"{path} was written as number {reader.header.number}: give it its name back", path, 0
        )
    return reader.header


def _check_headers(survey: Survey) -> None:
    """Check that the files belong together."""
    headers = survey.headers
    snapshot = survey.snapshot
    first = headers[0]
    store_id = snapshot.identity.store_id if snapshot else first.store_id
    lsn = snapshot.first_lsn if snapshot else 1
    if first.first_lsn != lsn:
        raise damaged(f"{survey.directory}/{segment_name(first.number)}", 0)
    for header in headers:
        path = f"{survey.directory}/{segment_name(header.number)}"
        if header.store_id != store_id:
            raise ForeignDirectory(
                f"{path} belongs to another data directory: move it back there", path, 0
            )
        if header.first_lsn < lsn:
            raise damaged(path, 0)
        lsn = header.first_lsn


def damaged(path: str, offset: int) -> JournalDamaged:
    """Make the error for promised bytes that are bad or missing from `offset` on."""
    return JournalDamaged(
        f"the journal is damaged: {path} at byte {offset} should hold records that were promised; "
        f"{ADVICE_FOR_DAMAGE}",
        path,
        offset,
    )
