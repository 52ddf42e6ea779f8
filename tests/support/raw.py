"""A connection that sends and reads bare frames, for tests of the server."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from mqwire.frames import FrameReader, FrameWriter
from mqwire.packs import join_bodies, split_pack

if TYPE_CHECKING:
    from support.server import RunningServer

from support.server import PASSWORD

PATIENCE_SECONDS = 10.0


class Raw:
    """One blocking connection; each read has a deadline."""

    def __init__(self, server: RunningServer, user: str | None = "admin", *, unix: bool = False):
        family = socket.AF_UNIX if unix else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(str(server.socket_path) if unix else (server.host, server.port))
        self._reader = FrameReader(2**31)
        self._frames: list[tuple[Any, ...]] = []
        self._last_id = 0
        if user is not None:
            reply = self.call("AUTH", {"user": user, "password": PASSWORD})
            assert reply[1] == "OK", reply

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *frames: tuple[Any, ...] | list[Any]) -> None:
        writer = FrameWriter()
        self.socket.sendall(b"".join(writer.encode(frame) for frame in frames))

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> tuple[Any, ...]:
        while not self._frames:
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError("the server has closed the connection")
            self._frames += self._reader.feed(data)
            assert self._reader.error is None, self._reader.error
        return self._frames.pop(0)

    def is_closed(self) -> bool:
        """Whether nothing but the end comes now."""
        assert not self._frames, self._frames
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def call(self, verb: str, *arguments: Any) -> tuple[Any, ...]:
        """Send a request and return its reply; other frames stay for `read`."""
        self._last_id += 1
        request_id = 1_000_000 + self._last_id
        self.send((verb, request_id, *arguments))
        passed = []
        while True:
            frame = self.read()
            if frame[0] in (request_id, 0):
                self._frames = passed + self._frames
                return frame
            passed.append(frame)

    def ok(self, verb: str, *arguments: Any) -> tuple[Any, ...]:
        """Send a request that must succeed and return its results."""
        reply = self.call(verb, *arguments)
        assert reply[1] == "OK", reply
        return reply[2:]

    def error(self, verb: str, *arguments: Any) -> tuple[str, dict[str, Any]]:
        """Send a request that must be refused and return code and details."""
        reply = self.call(verb, *arguments)
        assert reply[1] == "ERR", reply
        assert isinstance(reply[3], str)
        assert reply[3]
        return reply[2], reply[4]

    def push(self, queue: str, *bodies: bytes | str) -> int:
        first, _level = self.ok("PUSH", queue, len(bodies), join_bodies(bodies))
        return first

    def pull(self, queue: str, most: int = 1, **options: Any) -> list[Any]:
        _ids, packs, *_ = self.ok("PULL", queue, most, options)
        return [piece for pack in packs for piece in split_pack(pack)]
