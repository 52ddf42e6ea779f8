"""File systems of their own, on images, whose power can be cut.

The cut is what ext4 and XFS offer for exactly that: an ioctl after which nothing more
reaches the disk, and every call that would write fails. What had not been synced is gone
when the file system is mounted again, with the journal's last transactions (LOGFLUSH) or
without them. It is not a disk that tears sectors, nor one that lies about a sync.

All of this happens under `PREFIX`, in a mount namespace of its own: mounts and loop
devices go with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = ("unshare", "--mount", "--propagation", "private")
_SHUTDOWN = 0x8004587D
LOGFLUSH, NOLOGFLUSH = 1, 2
_COMMAND_SECONDS = 60
_ENOUGH_BYTES = 2 * 1024**3
_BUSY_SECONDS = 15
_TESTS = Path(__file__).resolve().parents[1]


class Kind(NamedTuple):
    """A file system, how it is made and how it is mounted."""

    make: tuple[str, ...]
    options: str
    image_bytes: int
    package: str


_EXT4 = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,nodiscard")
KINDS = {
    "ext4": Kind(_EXT4, "loop", 64 * 1024 * 1024, "e2fsprogs"),
    # Without the kernel's own care for programs that rename before they sync.
    "ext4-noauto": Kind(_EXT4, "loop,noauto_da_alloc", 64 * 1024 * 1024, "e2fsprogs"),
    "xfs": Kind(("mkfs.xfs", "-q", "-f", "-K"), "loop", 320 * 1024 * 1024, "xfsprogs"),
}


class MountRefused(Exception):  # noqa: N818  the name says what has happened
    """There are no mounts to be had here."""


class CuttableDisk:
    """A file system on an image. To be closed.

    Args:
        kind: one of `KINDS`.
        scratch: a directory for image and mount point.
    """

    def __init__(self, kind: str, scratch: Path) -> None:
        self._kind = KINDS[kind]
        self._place = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=scratch))
        self._image = self._place / "image"
        self.root = self._place / "mount"
        """Where it is mounted."""
        self.outside = self._place / "outside"
        """A directory that no cut reaches; it goes with the disk."""
        self.root.mkdir()
        self.outside.mkdir()
        self._is_mounted = False
        self._handle: int | None = None
        with self._image.open("wb") as image:
            image.truncate(self._kind.image_bytes)
        _command(*self._kind.make, str(self._image))
        self.mount()

    def mount(self) -> None:
        """Mount it; what the file system's own journal holds is replayed."""
        _command("mount", "-o", self._kind.options, str(self._image), str(self.root))
        self._is_mounted = True
        self._handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def let_go(self) -> None:
        """Close what this process has open in it: for children, which hold it as well."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def cut(self, how: int) -> None:
        """Cut the power: `LOGFLUSH` or `NOLOGFLUSH`."""
        assert self._handle is not None
        fcntl.ioctl(self._handle, _SHUTDOWN, struct.pack("I", how))

    def unmount(self) -> None:
        """Unmount it. Nobody may have anything open in it."""
        self.let_go()
        deadline = time.monotonic() + _BUSY_SECONDS
        while self._is_mounted and not self._try_unmount(is_last=time.monotonic() > deadline):
            time.sleep(0.02)  # a process that has just been killed holds something

    def _try_unmount(self, *, is_last: bool) -> bool:
        try:
            _command("umount", str(self.root))
        except MountRefused:
            if is_last:
                raise
            return False
        self._is_mounted = False
        return True

    def close(self) -> None:
        """Unmount and remove everything."""
        try:
            self.unmount()
        finally:
            shutil.rmtree(self._place, ignore_errors=self._is_mounted)


def _command(*arguments: str) -> None:
    try:
        done = subprocess.run(arguments, capture_output=True, timeout=_COMMAND_SECONDS, check=False)
    except FileNotFoundError as error:
        raise MountRefused(f"there is no {arguments[0]}") from error
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()
        raise MountRefused(f"{' '.join(arguments[:3])}: {text}")


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """Lend a directory where images are best: in memory, if there is enough."""
    memory = Path("/dev/shm")
    where = None
    if memory.is_dir() and os.access(memory, os.W_OK):
        found = os.statvfs(memory)
        if found.f_bavail * found.f_frsize > _ENOUGH_BYTES:
            where = memory
    place = Path(tempfile.mkdtemp(prefix="mqd-cuts-", dir=where))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def why_not(kind: str) -> str | None:
    """Say why power cuts of a file system cannot be done here, or None if they can."""
    maker = KINDS[kind].make[0]
    if os.geteuid():
        return "loop mounts need root: run this as root"
    if shutil.which(maker) is None:
        return f"there is no {maker}; on Debian: apt-get install {KINDS[kind].package}"
    if shutil.which(PREFIX[0]) is None:
        return "there is no unshare; on Debian: apt-get install util-linux"
    tried = subprocess.run(
        [*PREFIX, sys.executable, "-m", "crash.mounts", kind],
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
        capture_output=True,
        timeout=2 * _COMMAND_SECONDS,
        check=False,
    )
    if tried.returncode:
        lines = tried.stderr.decode(errors="replace").strip().splitlines() or ["it fails"]
        return f"{kind} cannot be mounted and cut here: {lines[-1]}"
    return None


def main(kind: str) -> int:
    """Try a cut."""
    with scratch_directory() as scratch:
        disk = CuttableDisk(kind, scratch)
        try:
            return _try_cut(disk)
        finally:
            disk.close()


def _try_cut(disk: CuttableDisk) -> int:
    kept, lost = disk.root / "kept", disk.root / "lost"
    handle = os.open(kept, os.O_CREAT | os.O_WRONLY)
    os.write(handle, b"x")
    os.fsync(handle)
    lost.write_bytes(b"x")
    disk.cut(NOLOGFLUSH)
    try:
        os.fsync(handle)
    except OSError as error:
        assert error.errno == errno.EIO, error
    else:
        raise AssertionError("the power is cut, and a sync says that all is well")
    finally:
        os.close(handle)
    disk.unmount()
    disk.mount()
    assert kept.read_bytes() == b"x", "what was synced is gone"
    assert not lost.exists(), "what was never synced is there"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
