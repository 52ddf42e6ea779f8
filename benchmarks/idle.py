"""What connections cost that do nothing, and whether bad clients disturb a good one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import socket
import time
from typing import TYPE_CHECKING

from benchmarks.process import ServerProcess, Wire, server_process
from mqwire.frames import FrameWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

HOLDERS = 4
"""Processes that hold the idle connections: no one of them may need too many files."""


def measure(connections: int, round_trips: int) -> Iterator[str]:
    """Yield lines that tell what was found."""
    with server_process(LIMITS__MAX_CONNECTIONS=connections + 100) as server:
        wire = Wire(server)
        wire.call("CREATE", "jobs")
        empty_bytes = server.memory_bytes()
        alone = _latencies(wire, round_trips)
        yield f"server alone: {empty_bytes >> 20} MiB; a good client: {_shown(alone)}"
        with _idle_connections(server, connections):
            held_bytes = server.memory_bytes()
            each = (held_bytes - empty_bytes) / connections
            beside = _latencies(wire, round_trips)
            yield (
                f"{connections} idle connections: {held_bytes >> 20} MiB, {each / 1024:.1f} KiB "
                f"for each; a good client: {_shown(beside)}"
            )
            for name, misbehave in BAD_CLIENTS.items():
                with _child(misbehave, server):
                    disturbed = _latencies(wire, round_trips)
                yield f"beside {name}: a good client: {_shown(disturbed)}"
        yield f"afterwards: {server.memory_bytes() >> 20} MiB"


def _latencies(wire: Wire, count: int) -> list[float]:
    """Return the sorted seconds of round trips: a push and a pull each."""
    push = FrameWriter().encode(("PUSH", 1, "jobs", 1, b"\xa1x"))
    pull = FrameWriter().encode(("PULL", 2, "jobs", 1))
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        wire.exchange(push)
        wire.exchange(pull)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)


def _shown(seconds: list[float]) -> str:
    def at(part: float) -> float:
        return seconds[int(part * (len(seconds) - 1))] * 1e6

    return f"median {at(0.5):.0f} us, 99 % within {at(0.99):.0f} us, longest {at(1):.0f} us"


@contextlib.contextmanager
def _idle_connections(server: ServerProcess, count: int) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    shares = [count // HOLDERS + (number < count % HOLDERS) for number in range(HOLDERS)]
    children = []
    for share in shares:
        ours, theirs = context.Pipe()
        process = context.Process(target=_hold, args=(server, share, theirs), daemon=True)
        process.start()
        children.append((process, ours))
    try:
        for _, ours in children:
            ours.recv()
        yield
    finally:
        for process, ours in children:
            ours.send(None)
            process.join()


def _hold(server: ServerProcess, count: int, pipe: Connection) -> None:
    """Open connections that authenticate and then say nothing, until told to end."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    held = [Wire(server) for _ in range(count)]
    pipe.send(len(held))
    pipe.recv()
    for wire in held:
        wire.socket.close()


@contextlib.contextmanager
def _child(target: object, server: ServerProcess) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=target, args=(server,), daemon=True)  # type: ignore[arg-type]
    process.start()
    time.sleep(0.5)  # until it is at work
    try:
        yield
    finally:
        process.terminate()
        process.join()


def send_garbage(server: ServerProcess) -> None:
    """Send garbage, be cut off, and come again; 20,000 times at most."""
    for _ in range(20_000):
        place = ("127.0.0.1", server.port)
        with socket.create_connection(place) as connection, contextlib.suppress(OSError):
            connection.sendall(os.urandom(4096))
            while connection.recv(4096):
                pass


def never_read(server: ServerProcess) -> None:
    """Ask for more and more and read no answer."""
    wire = Wire(server)
    wire.call("CREATE", "large", {"if_missing": True})
    wire.call("PUSH", "large", 1, b"\xc6\x00\x10\x00\x00" + bytes(1 << 20))
    with contextlib.suppress(OSError):
        for number in range(1, 100_000):
            wire.socket.sendall(FrameWriter().encode(("PEEK", number, "large", 1)))


def drip(server: ServerProcess) -> None:
    """Send a frame a byte a second; a minute at most."""
    wire = Wire(server)
    for byte in FrameWriter().encode(("PUSH", 1, "jobs", 1, b"\xc4\x32" + bytes(50)))[:60]:
        wire.socket.sendall(bytes([byte]))
        time.sleep(1)


BAD_CLIENTS = {
    "one that sends garbage": send_garbage,
    "one that never reads": never_read,
    "one that sends a byte a second": drip,
}
