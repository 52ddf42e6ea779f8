"""What HTTP costs: requests through the gateway beside a bare endpoint of the same framework.

Both have the same parser and event loop, and the same client, which keeps so many requests under
way. Works are done in turn, a little of each at a time, so that a noisy machine is as noisy to all.

Two figures are told of each, and both as a share of the bare endpoint's. *Requests a second* are
what a client sees; but the gateway has a server behind it where the bare endpoint has nothing, and
client, gateway and server share the machine's cores. *Processor time* is that of the process
behind the port alone, so it says what the gateway itself can do with a core; the server's own is
told beside it, and is not in that figure.

What is pushed is `written`: a bare endpoint keeps nothing, and where each answer waits for the
disk, requests a second are the disk's. What that makes of single pushes is a row of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.process import START_SECONDS, Wire, server_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUEUE = "bench"
SYNCED_QUEUE = "bench-synced"
BATCH = 64
BURSTS = 5
"""How often each work is done in a round."""
CONNECTIONS = 32
BODY = {"x": "y" * 80}
_EVENT_GAP_SECONDS = 0.02


@dataclass(frozen=True)
class Behind:
    """A process behind a port, and perhaps a server behind that."""

    pid: int
    port: int
    token: str = ""
    server_pid: int | None = None

    def cpu_seconds(self) -> tuple[float, float]:
        """Processor time that it has taken so far, and the server."""
        return _cpu_seconds(self.pid), _cpu_seconds(self.server_pid)

    def request(
        self, path: str, body: Any = None, method: str = "POST", *, lines: bool = False
    ) -> bytes:
        """Return a request, whole; with `lines` many bodies stand on lines, and are wanted so."""
        data = b"" if body is None else json.dumps(body).encode()
        if lines and body is not None:
            data = b"\n".join(json.dumps(each).encode() for each in body)
        kind = "application/x-ndjson" if lines else "application/json"
        head = [
            f"{method} {path} HTTP/1.1",
            "host: bench",
            f"authorization: Bearer {self.token}",
            f"content-type: {kind}",
            f"accept: {kind}",
            f"content-length: {len(data)}",
        ]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + data


def _cpu_seconds(pid: int | None) -> float:
    if pid is None:
        return 0.0
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in threads) / 1e9


class Talker(asyncio.Protocol):
    """A connection that sends the same request again when it is answered.

    Args:
        request: all of it.
    """

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._left = [0]
        self._seconds: list[float] = []
        self._rest = b""
        self._wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport: Any = transport

    def ask(self, left: list[int], seconds: list[float]) -> asyncio.Future[None]:
        """Send until there is nothing left; gives what is done then.

        Args:
            left: how many are to be sent, shared by all connections.
            seconds: where the time of each is put.
        """
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left, self._seconds = left, seconds
        self._next()
        return self._done

    def close(self) -> None:
        """End the connection."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Count an answer, and go on."""
        self._rest += data
        if not self._wanted:
            head, separator, _ = self._rest.partition(b"\r\n\r\n")
            if not separator:
                return
            if not head.startswith(b"HTTP/1.1 2"):
                self._done.set_exception(RuntimeError(self._rest.decode()))
                return
            _, _, length = head.partition(b"content-length: ")
            size = int(length.partition(b"\r\n")[0] or b"0")
            self._wanted = len(head) + 4 + size
        if len(self._rest) >= self._wanted:
            self._seconds.append(time.perf_counter() - self._since)
            self._rest, self._wanted = b"", 0
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; early if there was more to do."""
        if not self._done.done():
            self._done.set_exception(exc or RuntimeError("the connection was closed"))

    def _next(self) -> None:
        if self._left[0] <= 0:
            self._done.set_result(None)
            return
        self._left[0] -= 1
        self._since = time.perf_counter()
        self._transport.write(self._request)


@dataclass
class Outcome:
    """What a work came to."""

    per_second: float
    cpu_us: float
    server_us: float
    p50_ms: float
    p99_ms: float


async def _load(behind: Behind, request: bytes, count: int, connections: int) -> Outcome:
    loop = asyncio.get_running_loop()
    talkers = []
    for _ in range(connections):
        _, talker = await loop.create_connection(lambda: Talker(request), "127.0.0.1", behind.port)
        talkers.append(talker)
    # What a connection costs is not what a request does: each has been used before it counts.
    await asyncio.gather(*(talker.ask([1], []) for talker in talkers))
    seconds: list[float] = []
    left = [count]
    cpu, start = behind.cpu_seconds(), time.perf_counter()
    await asyncio.gather(*(talker.ask(left, seconds) for talker in talkers))
    took = time.perf_counter() - start
    used = [after - before for before, after in zip(cpu, behind.cpu_seconds(), strict=True)]
    for talker in talkers:
        talker.close()
    cpu_us, server_us = (each / count * 1e6 for each in used)
    return Outcome(count / took, cpu_us, server_us, *_quantiles(seconds))


def outcome(behind: Behind, request: bytes, count: int, connections: int = CONNECTIONS) -> Outcome:
    """Send a request `count` times over open connections, and tell how fast that was."""
    return uvloop.run(_load(behind, request, count, connections))


def _quantiles(seconds: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


@contextlib.contextmanager
def bare() -> Iterator[Behind]:
    """Run the bare endpoint."""
    command = [sys.executable, "-m", "benchmarks.web_bare"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  ours
    assert process.stdout is not None
    try:
        yield Behind(process.pid, int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def gateway(**settings: Any) -> Iterator[tuple[Behind, Wire]]:
    """Run the gateway in front of a server; gives a connection to that as well."""
    with server_process(**settings) as server, tempfile.TemporaryDirectory() as directory:
        address_file = Path(directory, "web.json")
        said = {"MQD": server.url, "PORT": "0", "ADDRESS_FILE": str(address_file)}
        environment = {**os.environ, **{f"MQWEB_{key}": value for key, value in said.items()}}
        command = [sys.executable, "-m", "mqweb"]
        process = subprocess.Popen(command, env=environment)  # noqa: S603  ours
        try:
            deadline = time.monotonic() + START_SECONDS
            while not address_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the gateway did not start")
                time.sleep(0.01)
            port = int(json.loads(address_file.read_text())["url"].rpartition(":")[2])
            yield Behind(process.pid, port, server.address.token, server.pid), Wire(server)
        finally:
            process.terminate()
            process.wait()


def measure(rounds: int, scale: float) -> Iterator[str]:
    """Yield lines: rates and ratios of single requests and of batches."""
    count = max(int(6000 * scale) // BURSTS, 100)
    path = f"/v1/queues/{QUEUE}/messages"
    one, many = {"body": BODY}, {"messages": [{"body": BODY}] * BATCH}
    found: dict[str, list[Outcome]] = {}
    with bare() as nothing, gateway() as (front, wire):
        wire.call("CREATE", QUEUE, {"max_messages": 1_000_000, "durability": "written"})
        wire.call("CREATE", SYNCED_QUEUE, {"max_messages": 1_000_000, "durability": "synced"})
        synced = front.request(f"/v1/queues/{SYNCED_QUEUE}/messages", one)
        works: dict[str, Callable[[], Outcome]] = {
            "bare": lambda: outcome(nothing, nothing.request(path, one), count),
            "push 1": lambda: outcome(front, front.request(path, one), count),
            "synced": lambda: outcome(front, synced, count // 4),
            "pull 1": lambda: outcome(front, front.request(f"/v1/queues/{QUEUE}/pull"), count),
            f"push {BATCH}": lambda: outcome(
                front, front.request(path, [BODY] * BATCH, lines=True), count // 4
            ),
            f"pull {BATCH}": lambda: outcome(
                front, front.request(f"/v1/queues/{QUEUE}/pull?max={BATCH}", lines=True), count // 4
            ),
            "push json": lambda: outcome(front, front.request(path, many), count // 4),
            "pull json": lambda: outcome(
                front, front.request(f"/v1/queues/{QUEUE}/pull?max={BATCH}"), count // 4
            ),
        }
        for _ in range(rounds):
            for _ in range(BURSTS):
                for name, work in works.items():
                    found.setdefault(name, []).append(work())
            for queue in (QUEUE, SYNCED_QUEUE):
                wire.call("PURGE", queue)
    yield from _table(found)


def _table(found: dict[str, list[Outcome]]) -> Iterator[str]:
    def middle(name: str, value: str) -> float:
        return statistics.median(getattr(each, value) for each in found[name])

    yield f"{CONNECTIONS} connections; medians of {len(found['bare'])} bursts; cpu: of the process"
    yield "behind the port alone; mqd: of the server behind that, not in cpu"
    head = ("requests/s", "to bare", "cpu us", "to bare", "mqd us", "p50 ms", "p99 ms")
    yield " " * 10 + "".join(f"{each:>11}" for each in head)
    for name in found:
        rate, cpu = middle(name, "per_second"), middle(name, "cpu_us")
        shares = rate / middle("bare", "per_second"), middle("bare", "cpu_us") / cpu
        late = middle(name, "p50_ms"), middle(name, "p99_ms")
        yield (
            f"{name:10}{rate:11.0f}{shares[0]:11.2f}{cpu:11.0f}{shares[1]:11.2f}"
            f"{middle(name, 'server_us'):11.0f}{late[0]:11.2f}{late[1]:11.2f}"
        )
    for verb in ("push", "pull"):
        one, many = f"{verb} 1", f"{verb} {BATCH}"
        by_rate = middle(many, "per_second") * BATCH / middle(one, "per_second")
        by_cpu = middle(one, "cpu_us") * BATCH / middle(many, "cpu_us")
        yield (
            f"{verb} in batches of {BATCH}: {by_rate:.0f} times the messages of single ones "
            f"a second, {by_cpu:.0f} times for the same processor time of the gateway"
        )


def streams(count: int, events: int) -> Iterator[str]:
    """Yield lines: how late events come to `count` open streams, and what else still goes."""
    with gateway() as (front, wire):
        wire.call("CREATE", QUEUE, {"durability": "written"})
        late, seconds = uvloop.run(_listen(front, count, events))
    yield f"{count} event streams, {events} events: {len(late)} arrivals"
    p50, p99 = _quantiles(late)
    yield f"from the push to the stream: p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    p50, p99 = _quantiles(seconds)
    yield f"pushes meanwhile:            p50 {p50:.1f} ms, p99 {p99:.1f} ms"


async def _listen(front: Behind, count: int, events: int) -> tuple[list[float], list[float]]:
    late: list[float] = []
    sent: dict[bytes, float] = {}
    readers = []
    writers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(front.request("/events?events=pushed", method="GET"))
        await reader.readuntil(b"retry:")
        readers.append(asyncio.create_task(_read(reader, sent, late)))
        writers.append(writer)
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    seconds = []
    request = front.request(f"/v1/queues/{QUEUE}/messages", {"body": BODY})
    for number in range(1, events + 1):
        sent[b'"runs":[%d,1]' % number] = since = time.perf_counter()
        writer.write(request)
        await reader.readuntil(b'"is_repeat":false}')
        seconds.append(time.perf_counter() - since)
        await asyncio.sleep(_EVENT_GAP_SECONDS)
    await asyncio.sleep(_EVENT_GAP_SECONDS * 50)
    for task in readers:
        task.cancel()
    for each in [writer, *writers]:
        each.close()
    return late, seconds


async def _read(reader: asyncio.StreamReader, sent: dict[bytes, float], late: list[float]) -> None:
    while data := await reader.read(65536):
        now = time.perf_counter()
        for piece in data.split(b'"at"')[1:]:
            start = piece.index(b'"runs"')
            runs = piece[start : piece.index(b"]", start) + 1]
            late.append(now - sent[runs])
