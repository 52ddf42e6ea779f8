"""The files of a journal: their names, and the one that writes them.

    segment-0000000001.mqj    written, sealed
    segment-0000000002.mqj    written now; its space is reserved
    spare.mqj                 reserved for the next one, still without a name of its own

A segment gets its name when its header, and whatever else it begins with, is on the
disk; from then on nobody finds a segment without a header. Before that, the segment
before it is synced, and its unused space is given back.

What it is not: threads, group commit, when to sync. See `mqd.store.journal`.
"""

from __future__ import annotations

import errno
import re
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.store.recordlog import (
    BATCH_BYTES,
    HEADER_BYTES,
    ID_BYTES,
    SEGMENT_MAGIC,
    Header,
    encode_batch,
    encode_header,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqd.store.files import Files

SEGMENT_BYTES: Final = 64 * 1024 * 1024
SPARE_NAME: Final = "spare.mqj"
LEAST_PART_BYTES: Final = 64 * 1024
"""No smaller part of a segment is made a segment of its own."""

_SLACK_BYTES: Final = 16 * 1024
"""What a file takes on the disk beside its content, at most."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
_is_segment: Final = re.compile(r"segment-([0-9]{10,18})\.mqj").fullmatch


def segment_name(number: int) -> str:
    """Return the name of a segment; numbers count up from 1."""
    return f"segment-{number:010d}.mqj"


def segment_number(name: str) -> int | None:
    """Return the number in a segment's name, or None for any other name."""
    match = _is_segment(name)
    return None if match is None else int(match[1])


class Identity(NamedTuple):
    """What all segments that one start of a server writes have in common."""

    store_id: bytes
    epoch: int


def identity_of(header: Header) -> Identity:
    """Return the part of a header that all files of one start share."""
    return Identity(header.store_id, header.epoch)


class Load:
    """What becomes one batch."""

    __slots__ = ("lsn", "parts", "size_bytes")

    def __init__(self, lsn: int, parts: list[bytes], payload_bytes: int) -> None:
        self.lsn = lsn
        self.parts = parts
        self.size_bytes = BATCH_BYTES + payload_bytes
        """What it takes in a segment."""


class SegmentWriter:
    """Writes batches into segments. Used by one thread at a time.

    Every method but `prepare_spare` may raise OSError; after that nothing may be
    written or synced any more, since nobody knows what the disk holds.

    Args:
        files: the file operations.
        directory: the data directory.
        identity: goes into every header.
        segment_bytes: how much space to reserve for a segment.
    """

    def __init__(
        self, files: Files, directory: str, identity: Identity, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self._files = files
        self._directory = directory
        self.identity = identity
        self._segment_bytes = max(segment_bytes, HEADER_BYTES + BATCH_BYTES)
        self._spare: int | None = None
        self._spare_bytes = 0
        self._handle: int | None = None
        self._file_id = b""
        self._offset = 0
        self._capacity_bytes = 0
        self.number = 0
        """The segment that is written."""
        self.first_lsn = 0
        """The lsn that it began with."""
        self.written_lsn = 0
        """All batches up to this one are in the kernel."""
        self.synced_lsn = 0
        """All batches up to this one are on the disk."""
        self.is_full = False
        """Whether space for the next segment could not be reserved the last time."""

    @property
    def reserve_bytes(self) -> int:
        """How much is kept for records that free space while the disk is full."""
        return self._segment_bytes // 4

    @property
    def entry_reserve_bytes(self) -> int:
        """How much of that is kept from those who come in to free space.

        A server that starts on a full disk may get a segment that is smaller than the reserve.
        """
        return min(self.reserve_bytes, self._capacity_bytes) // 2

    @property
    def room_bytes(self) -> int:
        """How much can certainly be written, whatever the disk says to new reservations."""
        rest = self._capacity_bytes - self._offset
        if self._spare is None:
            return rest
        return max(rest, self._spare_bytes - HEADER_BYTES)

    @property
    def has_spare(self) -> bool:
        """Whether the next segment's space is reserved."""
        return self._spare is not None

    def fits(self, size_bytes: int) -> bool:
        """Tell whether a load of this size goes into the present segment."""
        return self._offset + size_bytes <= self._capacity_bytes

    def begin(self, number: int, first_lsn: int, loads: Sequence[Load] = ()) -> None:
        """Open the first segment of this start, with loads to begin with.

        Durability: header and loads are synced, and so is its name, when it returns.

        Raises:
            OSError: also where there is no space.
        """
        needed = sum(load.size_bytes for load in loads)
        if not self.prepare_spare(needed):
            self._make_largest_spare(HEADER_BYTES + needed + 64 * BATCH_BYTES)
        self._open_spare(number, first_lsn, loads)

    def _make_largest_spare(self, least_bytes: int) -> None:
        """Reserve what a full disk still gives: room for records that free space.

        Raises:
            OSError: not even `least_bytes` are to be had.
        """
        size_bytes = self._segment_bytes // 2
        while size_bytes > least_bytes and not self._could_make_spare(size_bytes):
            size_bytes //= 2
        if self._spare is None:
            self._make_spare(least_bytes)

    def write(self, loads: Sequence[Load]) -> int:
        """Write loads, going on in a new segment where one is full.

        Returns:
            How many were written: fewer than all only if the next segment's space
            cannot be reserved.

        Durability: in the kernel; those in a segment that is full now are synced.
        """
        parts: list[bytes] = []
        size_bytes = 0
        first_lsn = self.written_lsn + 1
        for done, load in enumerate(loads):
            assert load.lsn == first_lsn + done, "a gap in the journal is damage to who reads it"
            if not self.fits(size_bytes + load.size_bytes):
                if parts:
                    self._put(parts, size_bytes, loads[done - 1].lsn)
                    parts, size_bytes = [], 0
                if not self.fits(load.size_bytes) and not self.rotate(load.size_bytes):
                    return done
            parts += encode_batch(load.lsn, self.synced_lsn, self._file_id, load.parts)
            size_bytes += load.size_bytes
        if parts:
            self._put(parts, size_bytes, loads[-1].lsn)
        return len(loads)

    def write_one(self, load: Load) -> int:
        """Write a load that `fits`; what `write` does for one, in a fraction of its steps.

        It may be called while another thread is in `sync`.

        Returns:
            What the batch says to be synced.

        Durability: in the kernel.
        """
        assert load.lsn == self.written_lsn + 1, "a gap in the journal is damage to who reads it"
        assert self._handle is not None
        synced_lsn = self.synced_lsn
        batch = encode_batch(load.lsn, synced_lsn, self._file_id, load.parts)
        self._files.write(self._handle, self._offset, batch)
        self._offset += load.size_bytes
        self.written_lsn = load.lsn
        return synced_lsn

    def _put(self, parts: list[bytes], size_bytes: int, last_lsn: int) -> None:
        assert self._handle is not None
        self._files.write(self._handle, self._offset, parts)
        self._offset += size_bytes
        self.written_lsn = last_lsn

    def sync(self) -> None:
        """Bring all that was written onto the disk."""
        assert self._handle is not None
        written_lsn = self.written_lsn
        if written_lsn > self.synced_lsn:
            self._files.sync_data(self._handle)
            self.synced_lsn = written_lsn

    def rotate(self, needed_bytes: int = 0) -> bool:
        """Seal the present segment and begin the next.

        Returns:
            False if there is no space for it; then nothing has changed.

        Durability: all that was written is synced, the new segment's header and name too.
        """
        if not self.prepare_spare(needed_bytes):
            return False
        self._end_segment()
        self._open_spare(self.number + 1, self.written_lsn + 1)
        return True

    def rotate_within(self) -> bool:
        """Seal the present segment on a full disk: half of its unused space makes the next.

        The other half is free for others when this returns: for the snapshot that is to
        take the place of the segments before.

        Returns:
            False if too little is left for that. If the disk has given the half to somebody
            else at once, that half is lost.

        Durability: as `rotate`.
        """
        rest_bytes = self._capacity_bytes - self._offset
        part_bytes = rest_bytes // 2
        is_too_little = rest_bytes < self._segment_bytes // 16 or part_bytes < LEAST_PART_BYTES
        if is_too_little or self._spare is not None:
            return False
        assert self._handle is not None
        self._capacity_bytes -= part_bytes
        self._files.truncate(self._handle, self._capacity_bytes)
        if not self._could_make_spare(part_bytes - _SLACK_BYTES):
            self._take_back(part_bytes)
            return False
        self._end_segment()
        self._open_spare(self.number + 1, self.written_lsn + 1)
        return True

    def _take_back(self, size_bytes: int) -> None:
        """Reserve again what was given up in vain, if the disk still has it."""
        assert self._handle is not None
        try:
            self._files.allocate(self._handle, self._capacity_bytes + size_bytes)
        except OSError as error:
            if error.errno not in _FULL:
                raise
        else:
            self._capacity_bytes += size_bytes

    def _end_segment(self) -> None:
        if self._handle is None:
            return
        self._files.truncate(self._handle, self._offset)
        self.sync()
        handle, self._handle = self._handle, None
        self._files.close(handle)

    def _open_spare(self, number: int, first_lsn: int, loads: Sequence[Load] = ()) -> None:
        spare = self._spare
        assert spare is not None
        file_id = secrets.token_bytes(ID_BYTES)
        header = Header(number, first_lsn, self.identity.epoch, self.identity.store_id, file_id)
        parts = [encode_header(SEGMENT_MAGIC, header)]
        for load in loads:
            parts += encode_batch(load.lsn, first_lsn - 1, file_id, load.parts)
        self._files.write(spare, 0, parts)
        self._files.sync(spare)
        path = f"{self._directory}/{segment_name(number)}"
        self._files.rename(f"{self._directory}/{SPARE_NAME}", path)
        self._files.sync_directory(self._directory)
        self._spare = None
        self._handle, self._file_id = spare, file_id
        self._capacity_bytes = self._spare_bytes
        self._offset = sum(map(len, parts))
        self.number, self.first_lsn = number, first_lsn
        self.written_lsn = self.synced_lsn = loads[-1].lsn if loads else first_lsn - 1

    def prepare_spare(self, needed_bytes: int = 0) -> bool:
        """Reserve space for the next segment, unless that is done.

        Args:
            needed_bytes: what has to fit into it.

        Returns:
            Whether it is there. A full disk, or no more files, is no error.
        """
        wanted_bytes = max(self._segment_bytes, HEADER_BYTES + needed_bytes + BATCH_BYTES)
        if self._spare is not None and self._spare_bytes >= wanted_bytes:
            return True
        self.is_full = not self._could_make_spare(wanted_bytes)
        return not self.is_full

    def _could_make_spare(self, size_bytes: int) -> bool:
        """Reserve space, or tell that the disk has none."""
        try:
            self._make_spare(size_bytes)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return False
        return True

    def _make_spare(self, size_bytes: int) -> None:
        path = f"{self._directory}/{SPARE_NAME}"
        spare = self._spare
        if spare is None:
            spare = self._files.create(path)
        try:
            self._files.allocate(spare, size_bytes)
        except BaseException:
            if self._spare is None:
                self._files.close(spare)
                self._files.unlink(path)
            raise
        self._spare, self._spare_bytes = spare, size_bytes

    def finish(self) -> None:
        """Sync, and give unused space back: nothing is written after that."""
        self._end_segment()
        if self._spare is not None:
            self._drop(self._spare)
            self._spare = None
            self._files.unlink(f"{self._directory}/{SPARE_NAME}")

    def abandon(self) -> None:
        """Close the files as they are; nothing is written or synced."""
        for handle in (self._handle, self._spare):
            if handle is not None:
                self._drop(handle)
        self._handle = self._spare = None

    def _drop(self, handle: int) -> None:
        self._files.close(handle)
