"""What leases cost: beside plain pulls, and when a million of them are out.

Ratios of works on one server, in turn within each round. Bodies of 100 bytes; the server
with its full frame log, at `written`.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.process import Wire, server_process
from benchmarks.rates import BODY, QUEUE
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from typing_extensions import Self

    from benchmarks.process import ServerProcess

BATCHES = 10_000
"""Frames of 64 messages in one round."""

BLOCKING = 3000
"""Pairs of round trips in one round."""

PAGE = 10_000
"""Frames that are sent before their replies are looked at."""

LEASE_SECONDS = 3600

SETTINGS = {"STORAGE__DURABILITY": "written", "QUEUES__MAX_MESSAGES": "10000000"}


def measure(rounds: int, scale: float) -> Iterator[str]:
    """Yield lines on leased pull and ack beside plain ones."""
    batches, blocking = max(1, int(BATCHES * scale)), max(1, int(BLOCKING * scale))
    pairs: dict[str, list[Callable[[Wire], float]]] = {
        "batches of 64: lease and ack, to plain pull": [
            lambda wire: _plain_batches(wire, batches),
            lambda wire: _leased_batches(wire, batches),
        ],
        "one message, blocking: lease and ack, to push and pull": [
            lambda wire: _push_and_pull(wire, blocking),
            lambda wire: _lease_and_ack(wire, blocking),
        ],
    }
    with server_process(**SETTINGS) as server:
        wire = Wire(server)
        wire.call("CREATE", QUEUE)
        for name, (plain, leased) in pairs.items():
            rates = [(plain(wire), leased(wire)) for _ in range(rounds)]
            ratios = [other / first for first, other in rates]
            first, other = (statistics.median(each) for each in zip(*rates, strict=True))
            spread = (max(ratios) - min(ratios)) / 2
            yield (
                f"{name}: {other:,.0f} to {first:,.0f} a second, "
                f"{statistics.median(ratios):.2f} ±{spread:.2f}"
            )


def outstanding(leases: int, lease_seconds: float) -> Iterator[str]:
    """Yield lines on a server that has given very many leases: extending, and running out."""
    with server_process(**SETTINGS) as server:
        wire = Wire(server)
        wire.call("CREATE", QUEUE)
        _fill(wire, leases)
        idle_bytes = server.memory_bytes()
        with _Stalls(server) as stalls:
            names, _ = _leases(wire, leases, 1, LEASE_SECONDS)
        grown_bytes = server.memory_bytes() - idle_bytes
        yield f"{leases:,} leases of one message: {grown_bytes / leases:,.0f} bytes each"
        yield f"while they were given: {stalls}"
        with _Stalls(server) as stalls:
            seconds = _settle(wire, "EXTEND", names, lease_seconds)
        yield f"extended in {seconds:.1f} s, {seconds / leases * 1e6:.1f} us each; {stalls}"
        with _Stalls(server) as stalls:
            began = time.perf_counter()
            while wire.call("INFO", QUEUE)[2]["leased"]:
                time.sleep(0.05)
            seconds = time.perf_counter() - began
        yield f"all had run out {seconds:.1f} s after the last extension; {stalls}"


def _fill(wire: Wire, messages: int) -> None:
    pack, whole = join_bodies([BODY] * 64), messages // 64
    wire.seconds_for(_frames(whole, "PUSH", QUEUE, 64, pack))
    rest = messages - 64 * whole
    if rest:
        wire.call("PUSH", QUEUE, rest, join_bodies([BODY] * rest))


def _plain_batches(wire: Wire, count: int) -> float:
    _fill(wire, 64 * count)
    return 64 * count / wire.seconds_for(_frames(count, "PULL", QUEUE, 64))


def _leased_batches(wire: Wire, count: int) -> float:
    _fill(wire, 64 * count)
    names, seconds = _leases(wire, count, 64, LEASE_SECONDS)
    return 64 * count / (seconds + _settle(wire, "ACK", names))


def _push_and_pull(wire: Wire, count: int) -> float:
    pack = join_bodies([BODY])
    began = time.perf_counter()
    for _ in range(count):
        wire.call("PUSH", QUEUE, 1, pack)
        wire.call("PULL", QUEUE, 1)
    return count / (time.perf_counter() - began)


def _lease_and_ack(wire: Wire, count: int) -> float:
    _fill(wire, count)
    began = time.perf_counter()
    for _ in range(count):
        reply = wire.call("PULL", QUEUE, 1, {"lease": LEASE_SECONDS})
        wire.call("ACK", reply[5])
    return count / (time.perf_counter() - began)


def _leases(wire: Wire, count: int, most: int, lease_seconds: float) -> tuple[list[Any], float]:
    """Take leases, pipelined; returns their names, and the seconds that it took."""
    names: list[Any] = []
    seconds = 0.0
    while len(names) < count:
        page = min(PAGE, count - len(names))
        frames = _frames(page, "PULL", QUEUE, most, {"lease": lease_seconds})
        replies, took = wire.replies_to(frames)
        names += [reply[5] for reply in replies]
        seconds += took
    return names, seconds


def _settle(wire: Wire, verb: str, names: list[Any], *arguments: Any) -> float:
    """Send a request for each lease, pipelined; returns the seconds that it took."""
    writer = FrameWriter()
    frames = [writer.encode((verb, i, name, *arguments)) for i, name in enumerate(names, 1)]
    return wire.seconds_for(frames)


def _frames(count: int, *request: Any) -> list[bytes]:
    writer = FrameWriter()
    return [writer.encode((request[0], i, *request[1:])) for i in range(1, count + 1)]


class _Stalls:
    """Watches how long the server lets a PING wait.

    From a process of its own: in a thread beside the one that sends the load, a PING would
    wait for the interpreter's lock too.
    """

    def __init__(self, server: ServerProcess) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_watch, args=(server, theirs), daemon=True)
        self._seconds: list[float] = []

    def __enter__(self) -> Self:
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._seconds = self._pipe.recv()
        self._process.join()

    def __str__(self) -> str:
        waits = sorted(self._seconds)
        middle, late = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        return (
            f"a PING took {middle * 1e3:.1f} ms (p50), {late * 1e3:.1f} ms (p99), "
            f"{waits[-1] * 1e3:.1f} ms (longest of {len(waits):,})"
        )


def _watch(server: ServerProcess, pipe: Connection) -> None:
    """Send PINGs, a millisecond apart, until something comes out of the pipe; say it when ready."""
    wire = Wire(server)
    wire.call("PING")
    pipe.send(None)
    seconds: list[float] = []
    while not pipe.poll():
        began = time.perf_counter()
        wire.call("PING")
        seconds.append(time.perf_counter() - began)
        time.sleep(0.001)
    pipe.send(seconds)
