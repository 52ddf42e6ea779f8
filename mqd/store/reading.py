"""Reading journal and snapshot files piece by piece, in bounded memory.

What it is not: judging what a stop means. The journal's rule is in
`mqd.store.recovery`, the snapshot's in `mqd.store.snapshot`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqd.store.errors import ForeignDirectory, StorageError, UnsupportedFormat
from mqd.store.recordlog import (
    BATCH_BYTES,
    FORMAT_VERSION,
    HEADER_BYTES,
    Header,
    HeaderFault,
    Later,
    Scan,
    Stop,
    find_later,
    read_header,
    scan_batches,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.store.files import Files

CHUNK_BYTES: Final = 4 * 1024 * 1024


class BatchReader:
    """Reads one file's sound batches from its start. To be closed.

    Memory: a chunk, or the largest batch, whichever is more; about three times that
    while records are decoded.

    Args:
        files: the file operations.
        path: the file.
        magic: which kind of file it has to be.
        first_lsn: what the first batch has to have, if not what the header says.
    """

    def __init__(self, files: Files, path: str, magic: bytes, first_lsn: int | None = None) -> None:
        self.path = path
        self._files = files
        self._handle = files.open(path)
        try:
            read = read_header(magic, files.read(self._handle, 0, HEADER_BYTES))
        except BaseException:
            files.close(self._handle)
            raise
        self.header: Header | None = None
        """The file's header; None if it has none of the kind that was asked for."""
        self.fault: HeaderFault | None = None
        """Why there is none."""
        self.offset = HEADER_BYTES
        """Where the first byte lies that belongs to no batch read so far."""
        self.next_lsn = 0
        """The lsn that the next batch has to have."""
        self.synced_upto = 0
        """The highest that one of the batches says."""
        self.why_stopped = Stop.END
        if isinstance(read, HeaderFault):
            self.fault = read
            self.offset = 0
        else:
            self.header = read
            self.next_lsn = read.first_lsn if first_lsn is None else first_lsn

    def close(self) -> None:
        """Close the file."""
        self._files.close(self._handle)

    def runs(self, last_lsn: int | None = None) -> Iterator[Scan]:
        """Yield sound batches, many at a time, up to the first that is not.

        Args:
            last_lsn: nothing after it is looked at.

        Durability: nothing is written.
        """
        assert self.header is not None
        file_id = self.header.file_id
        rest = b""
        while last_lsn is None or self.next_lsn <= last_lsn:
            wanted = max(CHUNK_BYTES, len(rest))
            more = self._files.read(self._handle, self.offset + len(rest), wanted)
            data = rest + more if rest else more
            scan = scan_batches(data, 0, file_id, self.next_lsn)
            self.why_stopped = scan.why_stopped
            if last_lsn is not None and scan.next_lsn > last_lsn + 1:
                scan = _cut(scan, last_lsn)
            if scan.payloads:
                self.next_lsn = scan.next_lsn
                self.offset += scan.end_offset
                self.synced_upto = max(self.synced_upto, scan.synced_upto)
                yield scan
            is_at_end = len(more) < wanted
            if is_at_end or scan.why_stopped is Stop.BAD:
                return
            if scan.why_stopped is Stop.BLANK and len(data) - scan.end_offset >= BATCH_BYTES:
                return
            rest = data[scan.end_offset :]

    def later(self) -> tuple[Later, int]:
        """Look at what lies behind the last batch.

        Returns:
            The sound batches there, and how many bytes there are up to the last that is
            not zero.

        Memory: what lies there.
        """
        assert self.header is not None
        size_bytes = self._files.size_bytes(self._handle)
        rest = self._files.read(self._handle, self.offset, max(0, size_bytes - self.offset))
        return find_later(rest, 0, self.header.file_id), len(rest.rstrip(b"\0"))


def _cut(scan: Scan, last_lsn: int) -> Scan:
    """Leave out what comes after `last_lsn`."""
    kept = last_lsn + 1 - scan.first_lsn
    left_out = sum(BATCH_BYTES + len(payload) for payload in scan.payloads[kept:])
    return scan._replace(
        payloads=scan.payloads[:kept],
        end_offset=scan.end_offset - left_out,
        why_stopped=Stop.END,
    )


def judge_header(path: str, fault: HeaderFault | None, damaged: StorageError) -> StorageError:
    """Make the error for a file that has one of our names and no header of its kind.

    Args:
        path: the file.
        fault: what is wrong.
        damaged: the error for a header that was right once.
    """
    if fault is HeaderFault.FOREIGN:
        return ForeignDirectory(
            f"{path} has the name of one of our files and is none, or its first bytes are damaged: "
            "look at it with `mqd check`, and move it away only if it was never ours",
            path,
            0,
        )
    if fault is HeaderFault.OTHER_VERSION:
        return UnsupportedFormat(
            f"{path} was written in a format that this version does not read (it reads "
            f"{FORMAT_VERSION}): use the version that wrote it",
            path,
            8,
        )
    return damaged
