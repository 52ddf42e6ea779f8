"""What can be wrong with a data directory.

    StorageError
    +-- DirectoryLocked      another server holds it
    +-- ForeignDirectory     a file pretends to be ours and is not
    +-- UnsupportedFormat    a file was written by another version
    +-- JournalDamaged       promised bytes of the journal are bad or missing
    +-- SnapshotDamaged      no snapshot that is needed can be read
    +-- RecordRefused        a sound record does not fit the state before it
    +-- SnapshotRefused      a snapshot cannot be made now; nothing was changed
    +-- DirectoryOccupied    something is there where a new directory is to be made
    +-- DirectoryUnusable    the operating system refuses a file operation
    +-- JournalFailed        a write or sync has failed: nothing is promised any more

Each message is one sentence for the person who runs the server: what is wrong,
in which file at which byte, and what to do.
"""

from __future__ import annotations


class StorageError(Exception):
    """A data directory cannot be used, or not any more.

    Args:
        message: one sentence that says what is wrong and what to do.
        path: the file or directory concerned, or None.
        offset: where in the file, in bytes from its start, or None.
    """

    def __init__(self, message: str, path: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.offset = offset


class DirectoryLocked(StorageError):  # noqa: N818  the name says what is the matter
    """Another process holds the data directory; nothing was touched."""


class ForeignDirectory(StorageError):  # noqa: N818  as above
    """A file has one of our names but belongs to another directory or program."""


class UnsupportedFormat(StorageError):  # noqa: N818  as above
    """A file has a format version that this program does not read."""


class JournalDamaged(StorageError):  # noqa: N818  as above
    """Bytes of the journal that were promised are bad or missing."""


class SnapshotDamaged(StorageError):  # noqa: N818  as above
    """A snapshot that is needed is bad."""


class RecordRefused(StorageError):  # noqa: N818  as above
    """A record with a good checksum cannot be applied."""


class SnapshotRefused(StorageError):  # noqa: N818  as above
    """A snapshot cannot be made now; the directory is as it was."""


class DirectoryOccupied(StorageError):  # noqa: N818  as above
    """A directory that is to be made anew holds something; nothing was changed."""


class DirectoryUnusable(StorageError):  # noqa: N818  as above
    """The operating system has refused a file operation before anything was served."""


class JournalFailed(StorageError):  # noqa: N818  as above
    """A write or sync of the journal has failed: whoever serves has to stop."""


class DirectoryGone(JournalFailed):
    """The data directory is not where it was: what is written to its files is not found again."""


ADVICE_FOR_DAMAGE = (
    "nothing was changed; look at it with `mqd check`, which can also salvage what is sound, "
    "or restore a backup"
)
"""End of the sentences about damage."""
