"""A disk in memory that remembers every operation, and what a crash may leave of them.

What is on the disk after a crash, by the rules that a file system may use:

- a file's content is what it was at its last sync, and of the writes, truncations and
  reservations since then any part may be there: all, none, or some without those before
  them; a single write may be there up to any byte, or without any of its sectors;
- the names of a directory are those of its last sync, with any of the changes since then;
  a new name may come without the content that was not synced, and the other way round;
- what was synced is there.

`Disk.crashes` enumerates such states for every point between two operations.
"""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SECTOR_BYTES = 512
MOST_DROPPED = 3

Content = dict[str, bytes]


class Inode:
    __slots__ = ("data", "number")

    def __init__(self, number: int, data: bytes = b"") -> None:
        self.number = number
        self.data = bytearray(data)


class MemoryFiles:
    """`mqd.store.files.Files` in memory; one directory."""

    def __init__(self, content: Content | None = None) -> None:
        self.inodes = {name: Inode(-1, data) for name, data in (content or {}).items()}
        self.handles: dict[int, Inode] = {}
        self.last = 0

    def content(self) -> Content:
        return {name: bytes(inode.data) for name, inode in self.inodes.items()}

    def _open(self, inode: Inode) -> int:
        self.last += 1
        self.handles[self.last] = inode
        return self.last

    def create(self, path: str) -> int:
        name = _name(path)
        if name in self.inodes:
            raise FileExistsError(errno.EEXIST, "exists", path)
        self.last += 1
        inode = self.inodes[name] = Inode(self.last)
        return self._open(inode)

    def open(self, path: str, *, writable: bool = False) -> int:  # noqa: ARG002  the interface's
        inode = self.inodes.get(_name(path))
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "is not there", path)
        return self._open(inode)

    def close(self, handle: int) -> None:
        del self.handles[handle]

    def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        return bytes(self.handles[handle].data[offset : offset + size_bytes])

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        _write(self.handles[handle].data, offset, b"".join(parts))

    def sync_data(self, handle: int) -> None:
        assert handle in self.handles

    def sync(self, handle: int) -> None:
        assert handle in self.handles

    def truncate(self, handle: int, size_bytes: int) -> None:
        _truncate(self.handles[handle].data, size_bytes)

    def allocate(self, handle: int, size_bytes: int) -> None:
        data = self.handles[handle].data
        _truncate(data, max(len(data), size_bytes))

    def rename(self, source: str, target: str) -> None:
        if _name(source) not in self.inodes:
            raise FileNotFoundError(errno.ENOENT, "is not there", source)
        self.inodes[_name(target)] = self.inodes.pop(_name(source))

    def unlink(self, path: str) -> None:
        if self.inodes.pop(_name(path), None) is None:
            raise FileNotFoundError(errno.ENOENT, "is not there", path)

    def sync_directory(self, path: str) -> None:
        pass

    def names(self, path: str) -> list[str]:  # noqa: ARG002  the interface's
        return sorted(self.inodes)

    def size_bytes(self, handle: int) -> int:
        return len(self.handles[handle].data)

    def make_directory(self, path: str) -> None:
        pass


class Op(NamedTuple):
    """One operation that changes the disk, and what had been promised before it."""

    kind: str
    arguments: tuple[Any, ...]
    promise: Any


class RecordingFiles(MemoryFiles):
    """Remembers what was done.

    Args:
        promise: asked before each operation; its answer goes into the record.
    """

    def __init__(self, promise: Callable[[], Any], content: Content | None = None) -> None:
        super().__init__()
        self.promise = promise
        self.ops: list[Op] = []
        self.is_dead = False
        for name, data in (content or {}).items():
            handle = self.create(name)
            self.write(handle, 0, [data])
            self.sync(handle)
            self.close(handle)
        self.sync_directory("")
        self.begins_at = len(self.ops)

    def note(self, kind: str, *arguments: Any) -> None:
        if self.is_dead:
            raise OSError(errno.EIO, "the process is gone")
        self.ops.append(Op(kind, arguments, self.promise()))

    def create(self, path: str) -> int:
        self.note("nothing")
        handle = super().create(path)
        self.note("create", _name(path), self.handles[handle].number)
        return handle

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        self.note("write", self.handles[handle].number, offset, b"".join(parts))
        super().write(handle, offset, parts)

    def sync_data(self, handle: int) -> None:
        self.note("sync", self.handles[handle].number)

    def sync(self, handle: int) -> None:
        self.note("sync", self.handles[handle].number)

    def truncate(self, handle: int, size_bytes: int) -> None:
        self.note("truncate", self.handles[handle].number, size_bytes)
        super().truncate(handle, size_bytes)

    def allocate(self, handle: int, size_bytes: int) -> None:
        self.note("allocate", self.handles[handle].number, size_bytes)
        super().allocate(handle, size_bytes)

    def rename(self, source: str, target: str) -> None:
        number = self.inodes[_name(source)].number
        self.note("rename", _name(source), _name(target), number)
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self.note("unlink", _name(path))
        super().unlink(path)

    def sync_directory(self, path: str) -> None:  # noqa: ARG002  the interface's
        self.note("sync_directory")


class Crash(NamedTuple):
    """What a crash has left, and what had been promised by then."""

    content: Content
    promise: Any
    after_ops: int


class Disk:
    """What is on the disk for certain, and what may be, while operations go by."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.data: dict[int, bytes] = {}
        self.name_ops: list[Op] = []
        self.data_ops: list[Op] = []

    def step(self, op: Op) -> None:
        kind, arguments, _ = op
        if kind in ("create", "rename", "unlink"):
            self.name_ops.append(op)
            if kind == "create":
                self.data[arguments[1]] = b""
        elif kind in ("write", "truncate", "allocate"):
            self.data_ops.append(op)
        elif kind == "sync":
            mine = [each for each in self.data_ops if each.arguments[0] == arguments[0]]
            self.data_ops = [each for each in self.data_ops if each.arguments[0] != arguments[0]]
            self.data[arguments[0]] = _contents(self.data, mine)[arguments[0]]
        elif kind == "sync_directory":
            self.names = _names(self.names, self.name_ops)
            self.name_ops = []

    def states(self) -> Iterator[Content]:
        """Yield what may be found; some of it twice."""
        all_names = list(self._all_names())
        for ops in _subsets(self.data_ops):
            contents = _contents(self.data, ops)
            for names in all_names:
                yield {name: contents[number] for name, number in names.items()}
        few_names = [_names(self.names, self.name_ops)]
        if self.name_ops:
            few_names.append(self.names)
        for ops in _tears(self.data_ops):
            contents = _contents(self.data, ops)
            for names in few_names:
                yield {name: contents[number] for name, number in names.items()}

    def _all_names(self) -> Iterator[dict[str, int]]:
        for ops in _subsets(self.name_ops):
            yield _names(self.names, ops)


def crashes(ops: Sequence[Op], begin: int, last_promise: Any) -> Iterator[Crash]:
    """Yield the states that a crash may leave at any point from operation `begin` on.

    The same state with the same promise comes once, as far as neighbours go.
    """
    disk = Disk()
    seen: set[int] = set()
    promise: Any = None
    for index, op in enumerate([*ops, Op("nothing", (), last_promise)]):
        if op.promise != promise:
            promise = op.promise
            seen = set()
        if index >= begin:
            for content in disk.states():
                key = hash(tuple(content.items()))
                if key not in seen:
                    seen.add(key)
                    yield Crash(content, promise, index)
        disk.step(op)


def _subsets(ops: list[Op]) -> Iterator[list[Op]]:
    """Yield all of `ops`, none, the beginnings, and all without up to three of them."""
    yield ops
    for dropped in range(1, min(MOST_DROPPED, len(ops)) + 1):
        for left_out in itertools.combinations(range(len(ops)), dropped):
            yield [op for index, op in enumerate(ops) if index not in left_out]
    for end in range(max(0, len(ops) - MOST_DROPPED)):
        yield ops[:end]


def _tears(ops: list[Op]) -> Iterator[list[Op]]:
    """Yield `ops` with one write torn: at each byte, or without some of its sectors."""
    for index, op in enumerate(ops):
        if op.kind != "write":
            continue
        number, offset, data = op.arguments
        before, after = ops[:index], ops[index + 1 :]
        for end in range(1, len(data)):
            torn = Op("write", (number, offset, data[:end]), None)
            yield [*before, torn]
            if after:
                yield [*before, torn, *after]
        for pieces in _sector_losses(offset, data):
            parts = [Op("write", (number, start, piece), None) for start, piece in pieces]
            yield [*before, *parts, *after]


def _sector_losses(offset: int, data: bytes) -> Iterator[list[tuple[int, bytes]]]:
    edges = [
        offset,
        *range((offset // SECTOR_BYTES + 1) * SECTOR_BYTES, offset + len(data), SECTOR_BYTES),
    ]
    pieces = [
        (start, data[start - offset : end - offset])
        for start, end in zip(edges, [*edges[1:], offset + len(data)], strict=True)
    ]
    for dropped in range(1, min(MOST_DROPPED, len(pieces) - 1) + 1):
        for left_out in itertools.combinations(range(len(pieces)), dropped):
            yield [
                (start, bytes(len(piece)) if index in left_out else piece)
                for index, (start, piece) in enumerate(pieces)
            ]


def _contents(data: dict[int, bytes], ops: Sequence[Op]) -> dict[int, bytes]:
    changed: dict[int, bytearray] = {}
    for kind, arguments, _ in ops:
        number = arguments[0]
        target = changed.get(number)
        if target is None:
            target = changed[number] = bytearray(data[number])
        if kind == "write":
            _write(target, arguments[1], arguments[2])
        elif kind == "truncate":
            _truncate(target, arguments[1])
        else:
            _truncate(target, max(len(target), arguments[1]))
    return {**data, **{number: bytes(each) for number, each in changed.items()}}


def _names(names: dict[str, int], ops: Sequence[Op]) -> dict[str, int]:
    result = dict(names)
    for kind, arguments, _ in ops:
        if kind == "create":
            result[arguments[0]] = arguments[1]
        elif kind == "rename":
            result.pop(arguments[0], None)
            result[arguments[1]] = arguments[2]
        else:
            result.pop(arguments[0], None)
    return result


def _write(target: bytearray, offset: int, data: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


def _truncate(target: bytearray, size_bytes: int) -> None:
    del target[size_bytes:]
    target.extend(bytes(size_bytes - len(target)))


def _name(path: str) -> str:
    return path.rpartition("/")[2]
