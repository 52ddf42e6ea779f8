"""What a start does with what it finds: a table. Pure.

    snapshot   NONE      there is none
               GOOD      the newest is sound
               FALLBACK  the newest is damaged, an older one is sound
               DAMAGED   there are some, and none is sound
    segments   NONE      there is none
               WHOLE     from the first that is needed on, all are there
               LEFT_OVER as WHOLE, and some that no snapshot needs any more
               GAP       one that is needed is missing
    tail       CLEAN     the last segment ends with a batch
               TORN      bytes that were never promised are bad: a loss of power
               DAMAGED   bytes that were promised are bad, in whichever segment

Which segments are needed follows from the snapshot that is loaded: those from its own
first segment on, and all from number 1 on where none is loaded. A segment that is
needed is there when a snapshot gets its name, so a snapshot alone is never whole.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class SnapshotState(Enum):
    """What was found of snapshots."""

    NONE = "no snapshot"
    GOOD = "a snapshot"
    FALLBACK = "a damaged snapshot and an older one"
    DAMAGED = "only damaged snapshots"


class SegmentsState(Enum):
    """What was found of segments."""

    NONE = "no segments"
    WHOLE = "all segments"
    LEFT_OVER = "all segments and older ones"
    GAP = "segments with one missing"


class TailState(Enum):
    """What was found where the sound batches end."""

    CLEAN = "ends with a batch"
    TORN = "a torn tail"
    DAMAGED = "damage"


class Action(Enum):
    """What is done."""

    START_EMPTY = "nothing is there yet: begin"
    GO_ON = "load what is there and go on in a new segment"
    CUT = "as GO_ON, without the bytes that were never promised"
    REFUSE = "change nothing and say why"


class Decision(NamedTuple):
    """What is done, and why."""

    action: Action
    reason: str


_CLEAN: Final = Decision(Action.GO_ON, "everything is there")
_TORN: Final = Decision(Action.CUT, "the last bytes were never promised")
_DAMAGE: Final = Decision(Action.REFUSE, "bytes that were promised are damaged")
_BY_TAIL: Final = {TailState.CLEAN: _CLEAN, TailState.TORN: _TORN, TailState.DAMAGED: _DAMAGE}


def _refuse(reason: str) -> dict[TailState, Decision]:
    return dict.fromkeys(TailState, Decision(Action.REFUSE, reason))


_NO_SEGMENTS: Final = _refuse("the segments that come after the snapshot are missing")
_GAP: Final = _refuse("a segment is missing")
_NO_SNAPSHOT: Final = _refuse("the snapshot is damaged, and the segments before it are gone")

TABLE: Final[dict[tuple[SnapshotState, SegmentsState], dict[TailState, Decision]]] = {
    (SnapshotState.NONE, SegmentsState.NONE): dict.fromkeys(
        TailState, Decision(Action.START_EMPTY, "the directory is new")
    ),
    (SnapshotState.NONE, SegmentsState.WHOLE): _BY_TAIL,
    (SnapshotState.NONE, SegmentsState.LEFT_OVER): _refuse("a segment has a number below 1"),
    (SnapshotState.NONE, SegmentsState.GAP): _refuse(
        "segments are missing, or the snapshot that took their place"
    ),
    (SnapshotState.GOOD, SegmentsState.NONE): _NO_SEGMENTS,
    (SnapshotState.GOOD, SegmentsState.WHOLE): _BY_TAIL,
    (SnapshotState.GOOD, SegmentsState.LEFT_OVER): _BY_TAIL,
    (SnapshotState.GOOD, SegmentsState.GAP): _GAP,
    (SnapshotState.FALLBACK, SegmentsState.NONE): _NO_SEGMENTS,
    (SnapshotState.FALLBACK, SegmentsState.WHOLE): _BY_TAIL,
    (SnapshotState.FALLBACK, SegmentsState.LEFT_OVER): _BY_TAIL,
    (SnapshotState.FALLBACK, SegmentsState.GAP): _NO_SNAPSHOT,
    (SnapshotState.DAMAGED, SegmentsState.NONE): _NO_SNAPSHOT,
    (SnapshotState.DAMAGED, SegmentsState.WHOLE): _BY_TAIL,
    (SnapshotState.DAMAGED, SegmentsState.LEFT_OVER): _NO_SNAPSHOT,
    (SnapshotState.DAMAGED, SegmentsState.GAP): _NO_SNAPSHOT,
}


def decide(snapshot: SnapshotState, segments: SegmentsState, tail: TailState) -> Decision:
    """Tell what a start does. Every combination has exactly one decision."""
    return TABLE[snapshot, segments][tail]
