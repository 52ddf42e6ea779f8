"""A server process for a benchmark, and a bare connection to it."""

from __future__ import annotations

import contextlib
import os
import select
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

START_SECONDS = 20.0
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


@contextlib.contextmanager
def server_process(**settings: Any) -> Iterator[ServerProcess]:
    """Run a server until the block ends.

    Args:
        settings: configuration by variable name without `MQD_`, as `FRAME_LOG__LEVEL="off"`.
    """
    with tempfile.TemporaryDirectory(prefix="mqd-bench-") as directory:
        address_file = Path(directory, "address.json")
        environment = {**os.environ, **{f"MQD_{name}": str(v) for name, v in settings.items()}}
        command = [sys.executable, "-m", "mqd", "--port", "0", "--data-dir", f"{directory}/data"]
        command += ["--address-file", str(address_file)]
        with Path(directory, "stderr").open("wb") as stderr:
            process = subprocess.Popen(command, env=environment, stderr=stderr)  # noqa: S603
        try:
            deadline = time.monotonic() + START_SECONDS
            while not address_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(Path(directory, "stderr").read_text())
                time.sleep(0.01)
            yield ServerProcess(process.pid, Address.from_json(address_file.read_text()))
        finally:
            process.terminate()
            process.wait(10)


class Wire:
    """A blocking connection that sends bytes made beforehand, so that the server is measured."""

    def __init__(self, server: ServerProcess, *, is_known: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = FrameReader(2**31)
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
                answered += len(self._reader.feed(self._recv()))
        seconds = time.perf_counter() - start
        self.socket.setblocking(True)
        return seconds

    def _recv(self) -> bytes:
        data = self.socket.recv(1 << 20)
        if not data:
            raise RuntimeError("the server has closed the connection")
        return data
