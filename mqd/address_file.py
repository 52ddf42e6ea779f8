"""The address file: how clients of the same user find this server, and how it is kept.

What it is: writing it so that a reader sees it whole or not at all, removing it
if it is still ours, and telling one that a crash has left from one of another
server that runs.
What it is not: what the file says (`mqwire.address`), or a lock: two servers
that start in the same instant with the same file may both go on.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import mqwire
from mqwire.address import Address
from mqwire.frames import FrameReader, FrameWriter
from mqwire.limits import MAX_FRAME_BYTES_BEFORE_AUTH

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FILE_BYTES: Final = 64 * 1024
ANSWER_TIMEOUT_SECONDS: Final = 1.0
"""How long each url of a file that was found has for its answer."""


class AddressFileError(Exception):
    """The address file cannot be used; the text is one sentence that says what to do."""


class AddressInUse(AddressFileError):  # noqa: N818  says what is the case
    """The address file is that of another server, which runs."""


def own_address(urls: Iterable[str], token: str) -> Address:
    """Return the address of the server that this process is.

    Args:
        urls: where it listens, `mq://host:port` or `mq+unix:///path`, without credentials.
        token: what lets its owner in.
    """
    return Address(
        urls=tuple(urls),
        token=token,
        host=socket.gethostname(),
        pid=os.getpid(),
        started_at=time.time(),
        server_version=mqwire.__version__,
    )


class AddressFile:
    """The address file of one server: check that it is free, write it, remove it.

    Args:
        path: the file; nothing is touched yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: Address | None = None

    def check_free(self) -> str | None:
        """Return if this server may write its address; changes nothing.

        Blocks for up to `ANSWER_TIMEOUT_SECONDS` for each url of a file that is there:
        call it before the event loop runs, or in a thread.

        Returns:
            None if there is no such file, else a sentence for the log about the file
            that a crash has left and that will be replaced.

        Raises:
            AddressInUse: another server runs and uses it.
            AddressFileError: there is something else at the path, not ours to replace.
        """
        try:
            found = _read(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(self.path, "cannot be read", error) from error
        if found is None:
            return f"the empty address file {self.path} is replaced"
        return _why_stale(self.path, found)

    def write(self, address: Address) -> None:
        """Write the file, readable by its owner only, in the place of what is there.

        Directories that are missing are made with mode 0700. A reader finds the file of
        before or the new one, never a part.

        Durability: on disk under its name when this returns.

        Raises:
            AddressFileError: it cannot be written; a file of before is as it was, unless
                the directory alone could not be synced.
        """
        self._written = address
        try:
            make_private_directory(self.path.parent)
            _replace(self.path, address.to_json().encode())
        except OSError as error:
            raise _failed(self.path, "cannot be written", error) from error

    def remove(self) -> bool:
        """Remove the file unless another server has put its own in its place.

        Returns:
            Whether it was removed. A file that was never written, that is gone, or that
            cannot be read as an address file any more, is not ours.

        Raises:
            AddressFileError: it is ours and cannot be removed.
        """
        try:
            found = _read(self.path)
        except (OSError, AddressFileError):
            return False
        if found is None or self._written is None or not _is_same(found, self._written):
            return False
        try:
            self.path.unlink()
        except OSError as error:
            raise _failed(self.path, "cannot be removed", error) from error
        return True


def _is_same(found: Address, ours: Address) -> bool:
    # A file of another server may hold anything that JSON can.
    theirs = found.token.encode(errors="surrogatepass")
    return hmac.compare_digest(theirs, ours.token.encode()) and found.pid == ours.pid


def _why_stale(path: Path, found: Address) -> str:
    """Return why the file was left behind, or raise if it was not."""
    server = f"process {found.pid} on {found.host}"
    is_here = found.host == socket.gethostname()
    if is_here and not _is_running(found.pid):
        return f"the address file {path} was left by {server}, which has ended; it is replaced"
    urls = found.urls_from(socket.gethostname())
    for url in urls:
        if _is_answered(url):
            raise AddressInUse(
                f"the address file {path} belongs to another server, {server}, which answers at "
                f"{url}: stop that one, or give this one a file of its own with --address-file"
            )
    left = f"the address file {path} was left by {server}"
    if len(urls) == len(found.urls):
        return f"{left}, which does not answer; it is replaced"
    return (
        f"{left}, which cannot be asked from this machine; it is replaced. If that server still "
        "runs, give each a file of its own with --address-file"
    )


def _read(path: Path) -> Address | None:
    """Return the file's address, or None if it is empty or has blanks alone."""
    # Not blocking, so that a pipe does not hold up the start; it is no regular file then.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _no_address_file(path, "it is no regular file")
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise _no_address_file(path, f"it has more than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode()
        return Address.from_json(text) if text.strip() else None  # clients tell it the same way
    except UnicodeDecodeError as error:
        raise _no_address_file(path, "it is not UTF-8 text") from error
    except ValueError as error:
        raise _no_address_file(path, str(error)) from error


def _no_address_file(path: Path, why: str) -> AddressFileError:
    return AddressFileError(
        f"{path} is no address file that can be replaced ({why}): move it away, or give another "
        "one with --address-file"
    )


def _failed(path: Path, what: str, error: OSError) -> AddressFileError:
    reason = error.strerror or str(error)
    return AddressFileError(
        f"the address file {path} {what} ({reason}): give another one with --address-file"
    )


def make_private_directory(directory: Path) -> None:
    """Make a directory and those above it that are missing, each for its owner only."""
    if not directory.is_dir():
        make_private_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _replace(path: Path, data: bytes) -> None:
    # In the same directory, so that the rename stays within one file system; the
    # function makes it with mode 0600 whatever the umask.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, not a path
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _is_running(pid: int) -> bool:
    """Tell whether a process of this id is on this machine, whosever it is."""
    if pid <= 0:
        return False  # these would stand for groups of processes
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _is_answered(url: str) -> bool:
    """Tell whether a server of ours answers at `url`.

    One that accepts the connection and says nothing counts: a busy or stopped server
    must not lose its file. One that says something else, or hangs up, does not: the
    port may have gone to another program.
    """
    try:
        with _connected(url) as connection:
            connection.sendall(FrameWriter().encode(("PING", 1)))
            return _hears_frame(connection)
    except (OSError, ValueError):
        return False


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme != "mq+unix":
        target = (parts.hostname or "", parts.port or 0)
        return socket.create_connection(target, timeout=ANSWER_TIMEOUT_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(ANSWER_TIMEOUT_SECONDS)
        connection.connect(parts.path)
    except BaseException:
        connection.close()
        raise
    return connection


def _hears_frame(connection: socket.socket) -> bool:
    reader = FrameReader(MAX_FRAME_BYTES_BEFORE_AUTH)
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while reader.error is None:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = connection.recv(MAX_FRAME_BYTES_BEFORE_AUTH)
        except TimeoutError:
            return True
        if not data:
            return False
        if reader.feed(data):
            return True
    return False
