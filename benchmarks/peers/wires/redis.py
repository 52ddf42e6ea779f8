"""A bare connection to Redis: LPUSH and RPOP, both with counts for batches."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from benchmarks.peers.wires.base import Burst, Marks, Wire, connected

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place

LINE_END = b"\r\n"
GROUP = b"workers"


class RedisWire(Wire):
    """A connection."""

    def __init__(self, place: Place) -> None:
        self.socket = connected(place)

    def make_queue(self, queue: str) -> None:
        """Do nothing: a list is there when something is in it."""

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        return self.number("LLEN", queue)

    def number(self, *words: str) -> int:
        """Send a command and return its answer, a number.

        Raises:
            RuntimeError: the answer is another one.
        """
        self.socket.sendall(command(*(word.encode() for word in words)))
        answer = b""
        while not answer.endswith(LINE_END):
            answer += self.socket.recv(65536)
        if not answer.startswith(b":"):
            raise RuntimeError(repr(answer))
        return int(answer[1:])

    def push(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:
        """Return LPUSHes of one value or more."""
        request = command(b"LPUSH", queue.encode(), *([body] * batch))
        return Burst(request * count, count, Marks(LINE_END))

    def pull(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:  # noqa: ARG002
        """Return RPOPs, with a count where that is not one."""
        name = queue.encode()
        if batch == 1:
            return Burst(command(b"RPOP", name) * count, 2 * count, Marks(LINE_END))
        request = command(b"RPOP", name, b"%d" % batch)
        return Burst(request * count, (1 + 2 * batch) * count, Marks(LINE_END))

    def wait(self, queue: str) -> Burst:
        """Return a BRPOP: its answer names the list, too."""
        return Burst(command(b"BRPOP", queue.encode(), b"60"), 5, Marks(LINE_END))

    def blocked(self, queue: str) -> int:  # noqa: ARG002  there is one
        """Return how many clients wait."""
        return self._figure(b"clients", b"blocked_clients")

    def _figure(self, section: bytes, name: bytes) -> int:
        self.socket.sendall(command(b"INFO", section))
        answer = b""
        while not answer.endswith(LINE_END * 2):
            answer += self.socket.recv(65536)
        found = re.search(rb"%b:(\d+)" % name, answer)
        assert found is not None
        return int(found[1])

    def snapshot(self) -> None:
        """BGSAVE."""
        self.socket.sendall(command(b"BGSAVE"))
        answer = self.socket.recv(65536)
        if not answer.startswith(b"+"):
            raise RuntimeError(repr(answer))
        while self._figure(b"persistence", b"rdb_bgsave_in_progress"):
            time.sleep(0.005)

    def clear(self, queue: str) -> None:
        """Remove the list."""
        self.number("DEL", queue)


class RedisStreamWire(RedisWire):
    """A connection to a stream with one group; entries have ids that are known beforehand.

    The variant `keep` acknowledges, and leaves the entries in the stream; otherwise they are
    deleted too, as those of a queue.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._keeps = place.variant == "keep"
        self._pushed = 0
        self._taken = 0

    def make_queue(self, queue: str) -> None:
        """Make the stream and its group, if they are not there."""
        self.socket.sendall(command(b"XGROUP", b"CREATE", queue.encode(), GROUP, b"0", b"MKSTREAM"))
        answer = self.socket.recv(65536)
        if not answer.startswith((b"+OK", b"-BUSYGROUP")):
            raise RuntimeError(repr(answer))

    def waiting(self, queue: str) -> int:
        """Return how many entries there are; with `keep`, how many are not acknowledged."""
        if not self._keeps:
            return self.number("XLEN", queue)
        self.clear(queue)
        self.socket.sendall(command(b"XPENDING", queue.encode(), GROUP))
        answer = b""
        while answer.count(LINE_END) < 2:
            answer += self.socket.recv(65536)
        return int(answer.split(LINE_END)[1][1:])

    def clear(self, queue: str) -> None:
        """Remove all entries, and leave the group."""
        self.number("XTRIM", queue, "MAXLEN", "0")

    def push(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:
        """Return XADDs, each with the next id."""
        if batch > 1:
            raise NotImplementedError("XADD adds one entry")
        base = time.time_ns() // 1_000_000  # above all ids that were there
        self._pushed = max(base, self._pushed + 1)
        name = queue.encode()
        requests = b"".join(
            command(b"XADD", name, b"%d-%d" % (self._pushed, number), b"b", body)
            for number in range(1, count + 1)
        )
        self._taken = 0
        return Burst(requests, 2 * count, Marks(LINE_END))

    def pull(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:
        """Do nothing: what is taken from a stream has to be settled."""
        raise NotImplementedError

    def lease_and_ack(self, queue: str, body: bytes, count: int, batch: int) -> Burst:  # noqa: ARG002
        """Return XREADGROUPs, each followed by XACK and, unless entries are kept, XDEL."""
        name, parts = queue.encode(), []
        read = command(
            *(b"XREADGROUP", b"GROUP", GROUP, b"c", b"COUNT", b"%d" % batch),
            *(b"STREAMS", name, b">"),
        )
        for _ in range(count):
            ids = [
                b"%d-%d" % (self._pushed, number)
                for number in range(self._taken + 1, self._taken + batch + 1)
            ]
            self._taken += batch
            parts += [read, command(b"XACK", name, GROUP, *ids)]
            if not self._keeps:
                parts.append(command(b"XDEL", name, *ids))
        settled = 1 if self._keeps else 2
        # The answer to XREADGROUP: an array, an array, the name, an array, and for each entry
        # two arrays, an id, a field and a value, where strings have two lines each.
        lines = 1 + 1 + 2 + 1 + 8 * batch + settled
        return Burst(b"".join(parts), lines * count, Marks(LINE_END))


def command(*words: bytes) -> bytes:
    """Return a command as Redis reads it."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def connect(place: Place) -> RedisWire:
    """Return a connection to a list, or to a stream where the variant says so."""
    return RedisStreamWire(place) if place.variant else RedisWire(place)
