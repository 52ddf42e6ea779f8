"""A small scripted server for unit tests of clients: threads, a free port, no queues.

What it answers to a verb is a function `(peer, frame) -> None` of the test's;
AUTH and PING have one from the start, and a verb without one is never answered.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mqwire.frames import FrameReader, FrameWriter
from mqwire.packs import join_bodies, split_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from typing_extensions import Self

    Answer = Callable[["Peer", tuple[Any, ...]], None]

PATIENCE_SECONDS = 10.0
LIMITS = {"max_frame_bytes": 16 << 20, "max_body_bytes": 8 << 20, "max_messages_per_frame": 16384}
INFO = {
    "queue": "jobs",
    "ready": 0,
    "bytes": 0,
    "oldest_age_seconds": None,
    "pushed": 0,
    "pulled": 0,
    "purged": 0,
    "waiting": 0,
    "options": {"max_messages": 10, "max_bytes": 1000, "durability": "written"},
    "created_at": 1.5,
}
SNAPSHOT = {"number": 3, "records": 20, "bytes": 0, "seconds": 0.25}


class Peer:
    """One connection of a client, as the server sees it."""

    def __init__(self, server: FakeServer, sock: socket.socket) -> None:
        self.server = server
        self.socket = sock
        self.ended = threading.Event()
        self._lock = threading.Lock()

    def send(self, *frames: Sequence[Any]) -> None:
        writer = FrameWriter()
        self.send_bytes(b"".join(writer.encode(tuple(frame)) for frame in frames))

    def send_bytes(self, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            self.socket.sendall(data)

    def ok(self, frame: Sequence[Any], *results: Any) -> None:
        self.send((frame[1], "OK", *results))

    def error(self, frame: Sequence[Any], code: str, **details: Any) -> None:
        self.send((frame[1], "ERR", code, "no", details))

    def messages(self, frame: Sequence[Any], first: int, *bodies: Any, headers: Any = None) -> None:
        columns = [{"headers": headers}] if headers else []
        self.ok(frame, [first, len(bodies)], [join_bodies(bodies)], *columns)

    def empty(self, frame: Sequence[Any]) -> None:
        self.ok(frame, [], [])

    def break_off(self, code: str) -> None:
        self.send((0, "ERR", code, "broken off", {}))
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        reader = FrameReader(1 << 30)
        with self.socket, contextlib.suppress(OSError):
            while data := self.socket.recv(1 << 16):
                for frame in reader.feed(data):
                    self.server.take(self, frame)
        self.ended.set()


class FakeServer:
    """Accepts until the block ends. Use as a context manager.

    Args:
        path: serve a Unix socket there instead of a port.
        limits: what AUTH tells, where it differs from LIMITS.
    """

    def __init__(self, path: Path | None = None, **limits: int) -> None:
        self.answers: dict[str, Answer] = {"AUTH": self._auth, "PING": lambda p, f: p.ok(f)}
        self.peers: list[Peer] = []
        self.limits = {**LIMITS, **limits}
        self._path = path
        self._port = 0
        self._news = threading.Condition()
        self._seen: dict[str, list[tuple[Peer, tuple[Any, ...]]]] = defaultdict(list)
        self._threads: list[threading.Thread] = []
        self.start()

    @property
    def url(self) -> str:
        if self._path is not None:
            return f"mq+unix://admin:secret@{self._path}"
        return f"mq://admin:secret@127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen; after `stop`, again at the same place."""
        if self._path is not None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self._path))
        else:
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", self._port))
            self._port = self._listener.getsockname()[1]
        self._listener.listen()
        self._spawn(self._accept, self._listener)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            peer.close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
        self._threads.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def frames(self, verb: str) -> list[tuple[Any, ...]]:
        """All requests of this verb so far."""
        with self._news:
            return [frame for _, frame in self._seen[verb]]

    def wait_for(self, verb: str, count: int = 1) -> tuple[Peer, tuple[Any, ...]]:
        """Wait until `count` requests of this verb have come, and return the last of these."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._news:
            while len(self._seen[verb]) < count:
                left = deadline - time.monotonic()
                assert left > 0, f"{verb} number {count} has not come"
                self._news.wait(left)
            return self._seen[verb][count - 1]

    def take(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        with self._news:
            self._seen[frame[0]].append((peer, frame))
            self._news.notify_all()
        answer = self.answers.get(frame[0])
        if answer is not None:
            answer(peer, frame)

    def _auth(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        who = {
            "user": frame[2].get("user", "owner"),
            "role": "admin",
            "server": "mqd",
            "version": "9.9",
            "protocol": 1,
            "durability": "accepted",
            "limits": self.limits,
            "more": "is to come",
        }
        peer.ok(frame, who)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                peer = Peer(self, sock)
                self.peers.append(peer)
                self._spawn(peer.serve)

    def _spawn(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


class FakeBackup:
    """Answers BACKUP with the pieces of `data`; each connection has to begin by itself."""

    def __init__(self, server: FakeServer, data: bytes, piece_bytes: int = 1000) -> None:
        self.data = data
        self.piece_bytes = piece_bytes
        self._holders: set[Peer] = set()
        server.answers["BACKUP"] = self.answer

    def answer(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        if len(frame) == 2:
            self._holders.add(peer)
            peer.ok(frame, {**SNAPSHOT, "bytes": len(self.data), "more": "is to come"})
        elif peer in self._holders:
            peer.ok(frame, self.data[frame[2] : frame[2] + self.piece_bytes])
        else:
            peer.error(frame, "NO_BACKUP")


class FakeQueues:
    """Queues in memory behind a FakeServer, as far as clients can tell them from real ones."""

    def __init__(self, server: FakeServer) -> None:
        self.bodies: list[tuple[int, bytes, Any]] = []
        self._next_id = 1
        self._lock = threading.Lock()
        server.answers["PUSH"] = self._push
        server.answers["PULL"] = self._pull
        server.answers["PEEK"] = self._peek

    def _push(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        _, _, _, count, pack, *rest = frame
        options = rest[0] if rest else {}
        headers = options.get("headers")
        pieces = split_pack(pack)
        assert len(pieces) == count
        with self._lock:
            first = self._next_id
            self._next_id += count
            for index, piece in enumerate(pieces):
                each = headers[index] if isinstance(headers, tuple) else headers
                self.bodies.append((first + index, piece, each))
        peer.ok(frame, first, options.get("durability", "accepted"))

    def _pull(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        with self._lock:
            taken, self.bodies = self.bodies[: frame[3]], self.bodies[frame[3] :]
        self._reply(peer, frame, taken)

    def _peek(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        skip = frame[4].get("skip", 0) if len(frame) > 4 else 0
        self._reply(peer, frame, self.bodies[skip : skip + frame[3]])

    def _reply(self, peer: Peer, frame: tuple[Any, ...], messages: list[Any]) -> None:
        ids = [number for message_id, _, _ in messages for number in (message_id, 1)]
        headers = [each for _, _, each in messages]
        columns = [{"headers": headers}] if any(headers) else []
        peer.ok(frame, ids, [piece for _, piece, _ in messages], *columns)
