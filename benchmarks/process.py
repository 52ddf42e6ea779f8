"""A server process for a benchmark, and a bare connection to it."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mqwire.address import Address
from mqwire.frames import FrameReader, FrameWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 120.0
STOP_SECONDS = 60.0
SEND_BYTES = 256 * 1024


@dataclass(frozen=True)
class ServerProcess:
    """A server that runs."""

    pid: int
    address: Address

    @property
    def port(self) -> int:
        """Its TCP port."""
        return int(self.address.urls[0].rpartition(":")[2])

    @property
    def url(self) -> str:
        """URL with the owner's token."""
        return f"mq://:{self.address.token}@127.0.0.1:{self.port}"

    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Processor time that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class KeptServer:
    """A server on a directory of its own, which may be killed and started again.

    Args:
        directory: for everything that it leaves.
        settings: configuration by variable name without `MQD_`, as `FRAME_LOG__LEVEL="off"`.
    """

    def __init__(self, directory: str, settings: dict[str, Any]) -> None:
        self._directory = directory
        self._environment = {**os.environ, **{f"MQD_{key}": str(v) for key, v in settings.items()}}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> ServerProcess:
        """Start it, and wait until it serves."""
        address_file = Path(self._directory, "address.json")
        address_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "mqd", "--port", "0", "--address-file", str(address_file)]
        command += ["--data-dir", f"{self._directory}/data"]
        error_path = Path(self._directory, "stderr")
        with error_path.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603  our own program
                command, env=self._environment, stderr=stderr
            )
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while not address_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(error_path.read_text())
            time.sleep(0.002)
        return ServerProcess(process.pid, Address.from_json(address_file.read_text()))

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(STOP_SECONDS)

    def forget(self) -> None:
        """End it and remove what it has kept."""
        self.kill()
        shutil.rmtree(f"{self._directory}/data")


@contextlib.contextmanager
def kept_server(**settings: Any) -> Iterator[KeptServer]:
    """Give a server that may be started, and end it with the block."""
    with tempfile.TemporaryDirectory(prefix="mqd-bench-") as directory:
        server = KeptServer(directory, settings)
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def server_process(**settings: Any) -> Iterator[ServerProcess]:
    """Run a server until the block ends; `settings` as for `KeptServer`."""
    with kept_server(**settings) as server:
        yield server.start()


class Wire:
    """A blocking connection that sends bytes made beforehand, so that the server is measured."""

    def __init__(self, server: ServerProcess, *, is_known: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = FrameReader(2**31)
        self._replies: list[tuple[Any, ...]] | None = None  # where replies go that are looked at
        if is_known:
            self.call("AUTH", {"token": server.address.token})

    def call(self, verb: str, *arguments: Any) -> tuple[Any, ...]:
        """Send a request and return its reply, which must be OK."""
        reply = self.exchange(FrameWriter().encode((verb, 1, *arguments)))
        if reply[1] != "OK":
            raise RuntimeError(str(reply))
        return reply

    def exchange(self, request: bytes) -> tuple[Any, ...]:
        """Send a request and return its reply."""
        self.socket.sendall(request)
        while not (frames := self._reader.feed(self._recv())):
            pass
        return frames[0]

    def replies_to(self, requests: list[bytes]) -> tuple[list[tuple[Any, ...]], float]:
        """Send requests without waiting, and return the replies, in the order of coming.

        Returns:
            The replies, and how long it took as of `seconds_for`.
        """
        self._replies = []
        seconds = self.seconds_for(requests)
        replies, self._replies = self._replies, None
        return replies or [], seconds

    def seconds_for(self, requests: list[bytes]) -> float:
        """Send requests without waiting, and return how long it took until all were answered."""
        unsent = memoryview(b"".join(requests))
        answered = 0
        start = time.perf_counter()
        self.socket.setblocking(False)
        while answered < len(requests):
            wanted = [self.socket] if unsent else []
            readable, writable, _ = select.select([self.socket], wanted, [])
            if writable:
                unsent = unsent[self.socket.send(unsent[:SEND_BYTES]) :]
            if readable:
                frames = self._reader.feed(self._recv())
                answered += len(frames)
                if self._replies is not None:
                    self._replies += frames
        seconds = time.perf_counter() - start
        self.socket.setblocking(True)
        return seconds

    def _recv(self) -> bytes:
        data = self.socket.recv(1 << 20)
        if not data:
            raise RuntimeError("the server has closed the connection")
        return data
