"""What is the matter with a data directory. Reads only.

Whether a start would succeed is found out by a start, rehearsed on files that take no
writes; and every file is looked at by itself, so that all that is wrong is told, not only
the first of it.

A directory that is served changes while it is looked at. It is looked at as it stands: a
file that is written reads as it was when it was opened, and what looks wrong is believed
only if it is wrong in the same place a second time, since files come and go when a snapshot
is made.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.core.broker import Broker
from mqd.core.salvage import NO_BOUNDS
from mqd.store.contents import NOTHING, Contents, contents_of
from mqd.store.decisions import Action
from mqd.store.dirlock import FOLD_LOCK_NAME, LOCK_NAME
from mqd.store.errors import DirectoryLocked, DirectoryUnusable, StorageError
from mqd.store.inventory import FileEntry, FileKind, FileState, Inventory, named_number, take
from mqd.store.readonly import ReadOnlyFiles
from mqd.store.recovery import recover
from mqd.store.remains import Plan, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.store.files import Files
    from mqd.store.recovery import Recovered

LOOKS: Final = 5
"""How often a directory that changes is looked at before giving up."""

_LOCKS: Final = ((LOCK_NAME, "serves"), (FOLD_LOCK_NAME, "makes a snapshot"))
_PID_BYTES: Final = 32


class Holder(NamedTuple):
    """Who holds a directory."""

    pid: int | None
    """The process; None if its lock file does not say."""
    does: str
    """What it does: `serves` or `makes a snapshot`."""

    @property
    def who(self) -> str:
        """The process, in words."""
        return "another process" if self.pid is None else f"process {self.pid}"


def holder_of(directory: str) -> Holder | None:
    """Tell who serves a directory, or makes a snapshot in it.

    Changes nothing, not even where there is no lock file; the lock is tried, shared, for
    a moment. What cannot be opened counts as free: whatever else is done will say why.
    """
    for name, does in _LOCKS:
        handle = _open_lock(directory, name)
        if handle is None:
            continue
        try:
            holder = _try_lock(handle, does)
        finally:
            os.close(handle)
        if holder is not None:
            return holder
    return None


@contextmanager
def hold_still(directory: str) -> Iterator[None]:
    """Keep others from serving a directory, as far as that changes nothing in it.

    Its lock files are locked, shared, where there are any.

    Raises:
        DirectoryLocked: somebody has the directory.
    """
    with ExitStack() as stack:
        for name, does in _LOCKS:
            handle = _open_lock(directory, name)
            if handle is None:
                continue
            stack.callback(os.close, handle)
            holder = _try_lock(handle, does)
            if holder is not None:
                raise DirectoryLocked(
                    f"{holder.who} {holder.does} in {directory}: stop it first; of a server that "
                    "runs take a backup instead (`mqctl backup`)",
                    directory,
                )
        yield


def _open_lock(directory: str, name: str) -> int | None:
    try:
        return os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None


def _try_lock(handle: int, does: str) -> Holder | None:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(handle, _PID_BYTES, 0).decode("ascii", "replace").strip()
        return Holder(int(text) if text.isdigit() else None, does)
    except OSError:  # no locks on this file system: then nobody has one
        return None
    return None


@dataclass
class Checked:
    """What was found."""

    directory: str
    holder: Holder | None
    inventory: Inventory
    plan: Plan
    """What a salvage would take, and what is lost."""
    recovered: Recovered | None
    """What a start would have done; None if it would have refused."""
    problem: StorageError | None
    """Why it would have."""
    contents: Contents = NOTHING
    """What a start would have found; nothing if it would have refused."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of ours in the directory."""
        recovered = self.recovered
        return recovered is not None and recovered.decision.action is Action.START_EMPTY

    @property
    def damaged(self) -> list[FileEntry]:
        """The files that something is wrong with, but for those that nothing needs."""
        wrong = [entry for entry in self.inventory.entries if _is_wrong(entry)]
        if self.recovered is None:
            return wrong
        loaded = self.recovered.snapshot_number
        return [each for each in wrong if _is_newer_snapshot(each, loaded)]

    @property
    def is_sound(self) -> bool:
        """Whether a start would succeed, and nothing that it could need is damaged."""
        return self.problem is None and not self.damaged


def _is_wrong(entry: FileEntry) -> bool:
    return entry.state not in {FileState.SOUND, FileState.TAIL, FileState.UNFINISHED}


def _is_newer_snapshot(entry: FileEntry, number: int) -> bool:
    return entry.kind is FileKind.SNAPSHOT and (named_number(entry) or 0) > number


def check(
    files: Files, directory: str, find_holder: Callable[[str], Holder | None] = holder_of
) -> Checked:
    """Look at a data directory; not a byte of it changes.

    Args:
        files: the file operations; only those that read are used.
        directory: the data directory.
        find_holder: tells who holds it.

    Memory: the state that a start would load, and the largest file that is damaged, or the space
    that is reserved in the newest segment.

    Raises:
        DirectoryUnusable: it is not there, is none, or cannot be read.
        DirectoryLocked: it changes faster than it can be looked at.
    """
    before: object = None
    for _ in range(LOOKS):
        holder = find_holder(directory)
        checked = _look(files, directory, holder)
        odd = _oddity(checked)
        if odd is None or odd == before:
            return checked
        if holder is None and find_holder(directory) is None:
            return checked
        before = odd
    raise DirectoryLocked(
        f"{directory} changes faster than it can be looked at: try again when there is less to "
        "do, or stop the server first",
        directory,
    )


def _oddity(checked: Checked) -> object:
    """Return what is wrong, comparable; None if nothing is that could come from a race."""
    lost = [each.name for each in checked.inventory.entries if each.state is FileState.UNREADABLE]
    problem = checked.problem
    if problem is None:
        return lost or None
    return type(problem), problem.path, problem.offset, lost


def _look(files: Files, directory: str, holder: Holder | None) -> Checked:
    reading = ReadOnlyFiles(files, is_live=holder is not None)
    try:
        reading.names(directory)
    except OSError as error:
        raise unusable(directory, error) from error
    broker = Broker(NO_BOUNDS)
    recovered: Recovered | None = None
    problem: StorageError | None = None
    try:
        recovered = recover(reading, directory, broker.apply_all)
    except StorageError as error:
        problem = error
        broker = Broker(NO_BOUNDS)
    try:
        inventory = take(reading, directory)
    except OSError as error:
        raise unusable(directory, error) from error
    checked = Checked(directory, holder, inventory, plan(inventory), recovered, problem)
    checked.contents = contents_of(broker)
    return checked


def unusable(directory: str, error: OSError) -> DirectoryUnusable:
    """Make the error for a directory that cannot be looked at."""
    if isinstance(error, FileNotFoundError):
        sentence = f"there is no directory {directory}: check the path"
    elif isinstance(error, NotADirectoryError):
        sentence = f"{directory} is no directory: give the directory that the server uses"
    elif isinstance(error, PermissionError):
        sentence = (
            f"{directory} may not be read by this user: do it as the user that the server runs as"
        )
    else:
        sentence = f"{directory} cannot be read: {error.strerror or error}; mend that first"
    return DirectoryUnusable(sentence, directory)
