"""What a promise costs: synced pushes, beside what the disk can do at all.

Within each round: appending and syncing the bytes of one push by itself, in the same
directory, as fast as one thread can; one client that pushes and waits; many that do so at
a time, each in a process of its own with others.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from typing import TYPE_CHECKING

from benchmarks.process import ServerProcess, Wire, server_process
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

PACK = join_bodies([b"x" * 100])
RECORD_BYTES = 180
SECONDS = 1.5
PROCESSES = 2


def measure(rounds: int, clients: int) -> Iterator[str]:
    """Yield lines that tell what was found."""
    alone, one, many, syncs = [], [], [], []
    with server_process() as server:
        wire = Wire(server)
        wire.call("CREATE", "bench")
        for _ in range(rounds):
            alone.append(_bare_syncs())
            one.append(_pushes(server, 1))
            before = _syncs(wire)
            many.append(_pushes(server, clients))
            syncs.append((_syncs(wire) - before) / SECONDS)
            wire.call("PURGE", "bench")
    yield f"fdatasync of {RECORD_BYTES} appended bytes: {statistics.median(alone):,.0f}/s"
    yield _line("one client, synced", one, alone, "the bare syncs")
    yield _line(f"{clients} clients, synced", many, one, "one client")
    yield f"syncs while {clients} clients push: {statistics.median(syncs):,.0f}/s"


def _line(name: str, rates: list[float], others: list[float], what: str) -> str:
    ratios = [rate / other for rate, other in zip(rates, others, strict=True)]
    spread = (max(ratios) - min(ratios)) / 2
    return (
        f"{name}: {statistics.median(rates):,.0f} pushes/s, {statistics.median(ratios):.2f} "
        f"±{spread:.2f} times {what}"
    )


def _syncs(wire: Wire) -> int:
    count: int = wire.call("STATS")[2]["journal"]["syncs"]
    return count


def _bare_syncs() -> float:
    """Append and sync where the server's data lies, into space that was reserved."""
    with tempfile.NamedTemporaryFile(prefix="mqd-bench-") as file:
        handle = file.fileno()
        os.posix_fallocate(handle, 0, 64 << 20)
        os.fsync(handle)
        data = os.urandom(RECORD_BYTES)
        count = 0
        start = time.perf_counter()
        while (elapsed := time.perf_counter() - start) < SECONDS:
            os.pwrite(handle, data, count * RECORD_BYTES)
            os.fdatasync(handle)
            count += 1
    return count / elapsed


def _pushes(server: ServerProcess, clients: int) -> float:
    """Let clients push, each waiting for its reply; return how many they pushed a second."""
    processes = min(PROCESSES, clients)
    shares = [clients // processes + (number < clients % processes) for number in range(processes)]
    pipes = []
    for share in shares:
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(target=_push, args=(server, share, there), daemon=True)
        process.start()
        pipes.append((process, here))
    for _, pipe in pipes:
        pipe.recv()  # connected
    for _, pipe in pipes:
        pipe.send(None)
    counts = [pipe.recv() for _, pipe in pipes]
    for process, _ in pipes:
        process.join()
    return sum(counts) / SECONDS


def _push(server: ServerProcess, clients: int, pipe: Connection) -> None:
    import selectors  # noqa: PLC0415  only the children need it

    wires = [Wire(server) for _ in range(clients)]
    request = FrameWriter().encode(("PUSH", 1, "bench", 1, PACK))
    pipe.send(None)
    pipe.recv()
    count = 0
    ends_at = time.perf_counter() + SECONDS
    if clients == 1:
        (wire,) = wires
        while time.perf_counter() < ends_at:
            wire.exchange(request)
            count += 1
    else:
        selector = selectors.DefaultSelector()
        for wire in wires:
            selector.register(wire.socket, selectors.EVENT_READ, wire)
            wire.socket.sendall(request)
        while time.perf_counter() < ends_at:
            for key, _ in selector.select(0.1):
                key.data.socket.recv(65536)  # one small frame
                key.data.socket.sendall(request)
                count += 1
    pipe.send(count)
