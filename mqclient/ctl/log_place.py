"""Where a frame log is that nobody has named. Floor 4.

An address file tells the process of a server. Where that runs on this machine, under the
same user, the kernel tells which files it has open, and so the directory in which it
writes its log, whatever its configuration says. Where nothing can be told (another
machine, another user, no server, no log, no /proc) it is the directory of the shipped
configuration.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mqclient.ctl import exits, output
from mqclient.ctl.exits import Failure
from mqclient.url import FILE_VARIABLE, URL_VARIABLE, FileTarget, find_target
from mqwire.address import DEFAULT_ADDRESS_FILE
from mqwire.framelog import parse_file_name

if TYPE_CHECKING:
    from mqclient.ctl.session import Session

DEFAULT_DIRECTORY: Final = "~/.mqd/data/frames"
PROCESSES: Final = Path("/proc")


def find_directory(session: Session) -> Path:
    """Return the directory of the frame log of the server that is meant.

    Raises:
        Failure: there is none that can be told.
        MqError: the url, or the variables, make no sense.
    """
    target = find_target(session.url, session.address_file)
    if isinstance(target, FileTarget):
        return _directory_of_file(target)
    # A URL tells no process. But it may be that of the server of the address file.
    file = FileTarget(os.environ.get(FILE_VARIABLE) or DEFAULT_ADDRESS_FILE)
    address = file.address()
    directory = _directory_of_file(file)
    if address is None or str(target) not in address.urls_from(socket.gethostname()):
        source = "--url" if session.url is not None else URL_VARIABLE
        output.warn(
            f"this is the frame log in {directory}, whichever server that is of: {source} has no "
            "effect here; name the directory of another log: mqctl log PATH"
        )
    return directory


def _directory_of_file(target: FileTarget) -> Path:
    address = target.address()
    if address is not None and address.host == socket.gethostname():
        found = directory_of(address.pid)
        if found is not None:
            output.note(f"the frame log of the server with process {address.pid}: {found}")
            return found
    default = Path(DEFAULT_DIRECTORY).expanduser()
    if not default.is_dir():
        raise Failure(
            f"there is no frame log in {default}; name its directory or files, which are "
            "where the server's configuration has frame_log.path",
            exits.USAGE,
        )
    return default


def directory_of(pid: int) -> Path | None:
    """Return the directory in which a process has a frame log open, or None."""
    try:
        opened = list((PROCESSES / str(pid) / "fd").iterdir())
    except OSError:  # gone, somebody else's, or no such system
        return None
    for link in opened:
        try:
            path = Path(os.readlink(link))  # noqa: PTH115  what it is called, not where it leads
        except OSError:  # closed meanwhile
            continue
        if parse_file_name(path.name) is not None and path.exists():
            return path.parent
    return None
