"""How what is left of a directory goes together, and what is lost. Pure.

The rules:

- The state is begun with the newest snapshot from which on every segment is sound and
  there, as a start does. Where there is none: with the newest snapshot of which at least
  half is sound, else with the newest of which anything is, else with nothing.
- Segments follow in the order of the lsn that they begin with, whatever their names are.
  Where one begins, the one before it ends, as in a start.
- Bad bytes at the end of the last segment are a torn tail if no file says that what they
  held was on the disk. Sound batches behind them were never promised either, and a start
  leaves them out; here they are taken, but nothing is removed for them.
- Every lsn that a file says was on the disk, or that lies between two that are there, and
  that is in no sound batch, is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mqd.store.inventory import FileKind, named_number
from mqd.store.recordlog import HEADER_BYTES
from mqd.store.segments import segment_name

if TYPE_CHECKING:
    from mqd.store.inventory import FileEntry, Inventory


class Loss(NamedTuple):
    """Something that was promised, or may have been, and is not there."""

    name: str
    """The file that has it, or should have."""
    start: int | None = None
    """The first bad byte; None where the file itself is not there."""
    end: int | None = None
    """Where the bad bytes end; the same as `start` where the file was cut off."""
    first_lsn: int = 0
    """The first batch of the journal that is lost; 0 if it is none of the journal."""
    last_lsn: int = 0
    """The last one; 0 if nobody can tell."""
    was_promised: bool = True
    """Whether a file says that it was on the disk."""


class Part(NamedTuple):
    """What is taken from a segment."""

    entry: FileEntry
    first_lsn: int
    last_lsn: int | None
    """None for all that is there."""
    is_doubtful: bool = False
    """Whether it lies behind a gap and was never promised: a start leaves it out."""


@dataclass
class Plan:
    """What a state is rebuilt from."""

    base: FileEntry | None
    """The snapshot to begin with."""
    parts: list[Part] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    last_lsn: int = 0
    """The last that is there, or is known to be lost."""
    torn_bytes: int = 0
    """Bytes at the end that were never promised."""
    is_place_lost: bool = False
    """Whether nobody can tell which segments come after the snapshot."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to rebuild a state from."""
        return self.base is None and not self.parts


def plan(inventory: Inventory) -> Plan:
    """Choose what to rebuild the state from, and find out what is lost."""
    snapshots = [each for each in reversed(inventory.of_kind(FileKind.SNAPSHOT)) if each.has_use]
    for base in (*(each for each in snapshots if each.info is not None), None):
        found = plan_from(inventory, base)
        if not found.losses and not found.is_empty:
            return found
    mostly = [each for each in snapshots if 2 * each.sound_bytes >= each.size_bytes]
    begun = [each for each in (*mostly, *snapshots) if each.extents]
    return plan_from(inventory, begun[0] if begun else None)


def plan_from(inventory: Inventory, base: FileEntry | None) -> Plan:
    """Find out what can be taken, and what is lost, if the state is begun with a snapshot."""
    return _Planner(inventory, base).run()


class _Planner:
    """Goes through the segments in their order."""

    def __init__(self, inventory: Inventory, base: FileEntry | None) -> None:
        self.plan = Plan(base)
        self._inventory = inventory
        self._sizes = {entry.name: entry.size_bytes for entry in inventory.entries}
        segments = _in_order(inventory)
        self._expected = _lsn_after(base, segments)
        if self._expected == 0:
            self.plan.is_place_lost = True
            self._expected = segments[0].first_lsn if segments else 1
        self._segments = _from(segments, self._expected)
        snapshots = [each for each in inventory.of_kind(FileKind.SNAPSHOT) if each.has_use]
        said = [each.synced_upto for each in self._segments]
        said += [each.first_lsn - 1 for each in (*self._segments, *snapshots)]
        self._promised = max(said, default=0)
        self._last_number = max((each.first_segment for each in snapshots), default=0)

    def run(self) -> Plan:
        """Make the plan."""
        base, segments = self.plan.base, self._segments
        if base is not None and base.info is None:
            self._note_damage(base)
        number = base.first_segment if base is not None else 1
        if segments and (self.plan.is_place_lost or not number):
            number = segments[0].number
        for index, entry in enumerate(segments):
            self._reach(entry, number)
            self._take(entry, segments[index + 1] if index + 1 < len(segments) else None)
            number = entry.number + 1
        is_behind = self._last_number >= number or (base is not None and not segments)
        if not self._note_unusable(number) and is_behind:
            self._lose_file(number, max(number, self._last_number), self._expected, 0)
        self.plan.last_lsn = max(self._expected - 1, self._promised)
        return self.plan

    def _note_damage(self, base: FileEntry) -> None:
        """Note the bytes of a snapshot that are bad."""
        if base.is_ended and len(base.extents) == 1 and base.extents[0].first_lsn == 1:
            return  # all batches are there; what is bad is the header, or behind the end
        self.plan.losses += [Loss(base.name, start, end) for start, end in base.bad]
        if not base.is_ended:
            self.plan.losses.append(Loss(base.name, *base.tail))

    def _reach(self, entry: FileEntry, number: int) -> None:
        """Note what is missing between what was taken so far and the next segment."""
        if entry.first_lsn <= self._expected:
            return
        if entry.header is None:
            end = entry.extents[0].offset
            self._lose(entry.name, 0, end, entry.first_lsn - 1)
        else:
            self._lose_file(number, entry.number - 1, self._expected, entry.first_lsn - 1)

    def _lose(self, name: str, start: int, end: int, last_lsn: int) -> None:
        is_promised = self._expected <= self._promised
        self.plan.losses.append(Loss(name, start, end, self._expected, last_lsn, is_promised))
        self._expected = last_lsn + 1

    def _lose_file(self, number: int, last_number: int, first_lsn: int, last_lsn: int) -> None:
        """Note segments that are not there, or of which nothing is sound."""
        name = segment_name(number) if number else "the segments after the snapshot"
        size_bytes = self._sizes.get(name)
        start = None if size_bytes is None else 0
        if last_number > number:
            name = f"{name} to {segment_name(last_number)}"
        if self.plan.base is None and first_lsn == 1:
            name += ", or the snapshot that took their place"
        self.plan.losses.append(Loss(name, start, size_bytes, first_lsn, last_lsn))
        self._expected = max(self._expected, last_lsn + 1)

    def _note_unusable(self, number: int) -> bool:
        """Note files in the place of later segments: nobody can tell what was in them."""
        before = len(self.plan.losses)
        for entry in self._inventory.of_kind(FileKind.SEGMENT):
            named = named_number(entry)
            if not entry.has_use and named is not None and named >= number:
                loss = Loss(entry.name, 0, entry.size_bytes, self._expected, 0)
                self.plan.losses.append(loss)
        return len(self.plan.losses) > before

    def _take(self, entry: FileEntry, following: FileEntry | None) -> None:
        """Take what is sound of a segment, up to where the following one begins."""
        last_lsn = None if following is None else following.first_lsn - 1
        first_lsn = self._expected
        at = HEADER_BYTES if entry.header else 0
        is_doubtful = False
        for extent in entry.extents:
            if last_lsn is not None and extent.first_lsn > last_lsn:
                break
            if extent.first_lsn > self._expected:
                if following is None and self._expected > self._promised and not is_doubtful:
                    self.plan.parts.append(Part(entry, first_lsn, self._expected - 1))
                    first_lsn, is_doubtful = extent.first_lsn, True
                self._lose(entry.name, at, extent.offset, extent.first_lsn - 1)
            at = extent.end_offset
            next_lsn = extent.next_lsn if last_lsn is None else min(extent.next_lsn, last_lsn + 1)
            self._expected = max(self._expected, next_lsn)
        self.plan.parts.append(Part(entry, first_lsn, last_lsn, is_doubtful))
        self._end(entry, following, at)

    def _end(self, entry: FileEntry, following: FileEntry | None, at: int) -> None:
        """Judge what lies behind what was taken of a segment."""
        behind = (extent.offset for extent in entry.extents if extent.offset > at)
        end = next(behind, max(at, entry.tail.end))
        if following is None and self._expected > self._promised:
            self.plan.torn_bytes = max(at, entry.tail.end) - at
        elif following is None:
            self._lose(entry.name, at, end, self._promised)
        elif (
            following.header is not None
            and following.number == entry.number + 1
            and self._expected < following.first_lsn
        ):
            self._lose(entry.name, at, end, following.first_lsn - 1)


def _lsn_after(base: FileEntry | None, segments: list[FileEntry]) -> int:
    """Return the first lsn that is not in the snapshot; 0 if nobody can tell."""
    if base is None:
        return 1
    if base.first_lsn or not base.first_segment:
        return base.first_lsn
    return next((each.first_lsn for each in segments if each.number == base.first_segment), 0)


def _in_order(inventory: Inventory) -> list[FileEntry]:
    """Return the segments that belong to the directory, each once where there are copies.

    A name may be wrong, and where the header is damaged so may be the number: the batches
    themselves tell the order.
    """
    by_place: dict[tuple[int, int], FileEntry] = {}
    for entry in inventory.of_kind(FileKind.SEGMENT):
        place = (entry.first_lsn, entry.number)
        other = by_place.get(place)
        if entry.has_use and (other is None or _worth(entry) > _worth(other)):
            by_place[place] = entry
    return [by_place[place] for place in sorted(by_place)]


def _worth(entry: FileEntry) -> tuple[int, bool]:
    return entry.batches, entry.name == segment_name(entry.number)


def _from(segments: list[FileEntry], lsn: int) -> list[FileEntry]:
    """Leave out the segments that end before `lsn`."""
    firsts: list[int | None] = [entry.first_lsn for entry in segments]
    return [
        entry
        for entry, following in zip(segments, [*firsts[1:], None], strict=False)
        if following is None or following > lsn
    ]
