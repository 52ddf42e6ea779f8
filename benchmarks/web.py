"""What HTTP costs: requests through the gateway beside a bare endpoint of the same framework.

Works are done in turn within each round, so that a noisy machine is as noisy to all. Told are
requests a second, and the processor time that the process behind the port took for each, which
tells more where the machine is busy: client, gateway and server share its cores.
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
BATCH = 64
CONNECTIONS = 32
BODY = {"x": "y" * 80}
_EVENT_GAP_SECONDS = 0.02


@dataclass(frozen=True)
class Behind:
    """A process behind a port."""

    pid: int
    port: int
    token: str = ""

    def cpu_seconds(self) -> float:
        """Processor time that it has taken so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


class Talker(asyncio.Protocol):
    """A connection that sends the same request again when it is answered.

    Args:
        request: all of it.
        left: how many are to be sent, shared by all connections.
        seconds: where the time of each is put.
    """

    def __init__(self, request: bytes, left: list[int], seconds: list[float]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._left = left
        self._seconds = seconds
        self._rest = b""
        self._wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        """Count an answer, and go on."""
        self._rest += data
        if not self._wanted:
            head, separator, _ = self._rest.partition(b"\r\n\r\n")
            if not separator:
                return
            if not head.startswith(b"HTTP/1.1 2"):
                self.done.set_exception(RuntimeError(self._rest.decode()))
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
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the connection was closed"))

    def _next(self) -> None:
        if self._left[0] <= 0:
            self.done.set_result(None)
            self._transport.close()
            return
        self._left[0] -= 1
        self._since = time.perf_counter()
        self._transport.write(self._request)


@dataclass
class Outcome:
    """What a work came to."""

    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


async def _load(behind: Behind, request: bytes, count: int, connections: int) -> list[float]:
    loop = asyncio.get_running_loop()
    seconds: list[float] = []
    left = [count]
    talkers = []
    for _ in range(connections):
        _, talker = await loop.create_connection(
            lambda: Talker(request, left, seconds), "127.0.0.1", behind.port
        )
        talkers.append(talker)
    await asyncio.gather(*(talker.done for talker in talkers))
    return seconds


def outcome(behind: Behind, request: bytes, count: int, connections: int = CONNECTIONS) -> Outcome:
    """Send a request `count` times over some connections, and tell how fast that was."""
    cpu, start = behind.cpu_seconds(), time.perf_counter()
    seconds = uvloop.run(_load(behind, request, count, connections))
    took = time.perf_counter() - start
    used = behind.cpu_seconds() - cpu
    return Outcome(count / took, used / count * 1e6, *_quantiles(seconds))


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
            yield Behind(process.pid, port, server.address.token), Wire(server)
        finally:
            process.terminate()
            process.wait()


def measure(rounds: int, scale: float) -> Iterator[str]:
    """Yield lines: rates and ratios of single requests and of batches."""
    count = max(int(6000 * scale), 100)
    path = f"/v1/queues/{QUEUE}/messages"
    one, many = {"body": BODY}, {"messages": [{"body": BODY}] * BATCH}
    found: dict[str, list[Outcome]] = {}
    with bare() as nothing, gateway() as (front, wire):
        wire.call("CREATE", QUEUE, {"max_messages": 1_000_000})
        works: dict[str, Callable[[], Outcome]] = {
            "bare": lambda: outcome(nothing, nothing.request(path, one), count),
            "push 1": lambda: outcome(front, front.request(path, one), count),
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
            for name, work in works.items():
                found.setdefault(name, []).append(work())
            wire.call("PURGE", QUEUE)
    yield from _table(found)


def _table(found: dict[str, list[Outcome]]) -> Iterator[str]:
    def middle(name: str, value: str) -> float:
        return statistics.median(getattr(each, value) for each in found[name])

    yield f"{'':10} {'requests/s':>11} {'cpu us':>8} {'p50 ms':>8} {'p99 ms':>8}  to bare (by cpu)"
    for name in found:
        rate, cpu = middle(name, "per_second"), middle(name, "cpu_us")
        ratio, by_cpu = rate / middle("bare", "per_second"), middle("bare", "cpu_us") / cpu
        yield (
            f"{name:10} {rate:11.0f} {cpu:8.0f} {middle(name, 'p50_ms'):8.2f} "
            f"{middle(name, 'p99_ms'):8.2f}  {ratio:.2f} ({by_cpu:.2f})"
        )
    for verb in ("push", "pull"):
        single = middle(f"{verb} 1", "per_second")
        batch = middle(f"{verb} {BATCH}", "per_second") * BATCH
        times = batch / single
        yield f"{verb} in batches of {BATCH}: {times:.0f} times the messages of single ones"


def streams(count: int, events: int) -> Iterator[str]:
    """Yield lines: how late events come to `count` open streams, and what else still goes."""
    with gateway() as (front, wire):
        wire.call("CREATE", QUEUE)
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
