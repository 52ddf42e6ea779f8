"""What kind of file system a directory lies on.

Locks, syncs and renames of network file systems may not mean what they mean on a local
disk, and a file system in memory keeps nothing over loss of power: whoever starts a server
there should know.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

NETWORK_TYPES: Final = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.beegfs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb3",
        "smbfs",
        "wekafs",
    }
)
"""The words of the kernel for file systems that several machines share."""

MEMORY_TYPES: Final = frozenset({"ramfs", "tmpfs"})
"""File systems that are gone when the machine is."""

_MOUNTS: Final = "/proc/self/mountinfo"
_POINT_FIELD: Final = 4


def filesystem_type(directory: str, mounts: str | None = None) -> str:
    """Return the kernel's word for the file system that holds a directory.

    Args:
        directory: may be a symbolic link.
        mounts: text in the form of `/proc/self/mountinfo` (proc(5)); None reads that.

    Returns:
        "" where it cannot be told.
    """
    if mounts is None:
        try:
            mounts = Path(_MOUNTS).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    path = os.path.realpath(directory)
    best, found = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) <= _POINT_FIELD or not after:
            continue
        point = _unescaped(fields[_POINT_FIELD])
        # The last of several mounts on one point hides those before it.
        if _holds(point, path) and len(point) >= len(best):
            best, found = point, after.split(" ")[0]
    return found


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    """Undo what the kernel does to white space and backslashes in a path."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
