"""A server inside the test, on a data directory whose disk does what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from typing import TYPE_CHECKING, Any

from mqd.clock import Clock
from mqd.config import Config, FrameLogConfig, LimitsConfig, ServerConfig, StorageConfig
from mqd.core.access import Role
from mqd.core.broker import Bounds, Broker
from mqd.core.standings import Standing
from mqd.engine.durable import Durable, Settings
from mqd.engine.local import LocalEngine
from mqd.engine.local import Settings as EngineSettings
from mqd.net.server import Server, Services
from mqd.store import OsFiles
from mqd.store.sync_pace import SyncPace
from mqwire.frames import FrameReader, FrameWriter
from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from mqd.engine.account_base import AccountEngine

PATIENCE_SECONDS = 10.0
SEGMENT_BYTES = 64 * 1024


class GatedFiles(OsFiles):
    """Real files. Syncs wait for `sync_gate`; syncs and writes may fail, and space may run out."""

    def __init__(self) -> None:
        self.sync_gate = threading.Event()
        self.sync_gate.set()
        self.is_full = False
        self.is_broken = False

    def sync_data(self, handle: int) -> None:
        assert self.sync_gate.wait(PATIENCE_SECONDS)
        if self.is_broken:
            raise OSError(errno.EIO, "Input/output error")
        super().sync_data(handle)

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        if self.is_broken:
            raise OSError(errno.EIO, "Input/output error")
        super().write(handle, offset, parts)

    def allocate(self, handle: int, size_bytes: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().allocate(handle, size_bytes)


class NeverQuick(SyncPace):
    """Leaves each sync to the writer: one of the loop's would hold the test that opens its gate."""

    def is_quick(self, now: float) -> bool:  # noqa: ARG002  the interface
        return False


class EveryRole:
    """Lets in whoever gives a role's word for a name, whatever the password."""

    def __init__(self, accounts: AccountEngine) -> None:
        for role in Role:
            accounts.fix(role.word, "test", role)

    async def authenticate(self, credentials: dict[str, str]) -> Standing:
        return Standing(credentials["user"], Role(credentials["user"]), "test")

    async def check(self, name: str, _password: str) -> Standing | None:
        return Standing(name, Role(name), "test")

    async def hash(self, password: str) -> str:
        return f"hash of {password}"


class GatedServer:
    """What a test gets: the server, its disk, and connections to it."""

    def __init__(self, server: Server, storage: Durable, files: GatedFiles, port: int) -> None:
        self.server = server
        self.storage = storage
        self.files = files
        self._port = port
        self._connections: list[Connection] = []

    async def connect(self, user: str = "admin") -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        connection = Connection(reader, writer)
        self._connections.append(connection)
        assert (await connection.call("AUTH", {"user": user, "password": ""}))[1] == "OK"
        return connection

    async def close(self) -> None:
        for connection in self._connections:
            connection.writer.close()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()


class Connection:
    """Bare frames; each read has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stream = reader
        self.writer = writer
        self._frames: list[tuple[Any, ...]] = []
        self._reader = FrameReader(2**31)
        self._encode = FrameWriter().encode
        self._last_id = 0

    def send(self, verb: str, *arguments: Any) -> int:
        """Send a request; returns its id."""
        self._last_id += 1
        self.writer.write(self._encode((verb, self._last_id, *arguments)))
        return self._last_id

    async def read(self) -> tuple[Any, ...]:
        while not self._frames:
            data = await asyncio.wait_for(self._stream.read(1 << 20), PATIENCE_SECONDS)
            if not data:
                raise EOFError("the server has closed the connection")
            self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    async def call(self, verb: str, *arguments: Any) -> tuple[Any, ...]:
        request_id = self.send(verb, *arguments)
        reply = await self.read()
        assert reply[0] == request_id
        return reply

    async def hears_nothing(self) -> bool:
        """Tell whether nothing comes, though the server answers everybody else meanwhile."""
        if self._frames:
            return False
        with contextlib.suppress(asyncio.TimeoutError):
            data = await asyncio.wait_for(self._stream.read(1 << 20), 0.05)
            self._frames += self._reader.feed(data)
            return False
        return True


@contextlib.asynccontextmanager
async def gated_server(
    directory: Path, *, level: Level = Level.SYNCED, limits: LimitsConfig | None = None
) -> AsyncIterator[GatedServer]:
    """Serve a data directory; the disk works as long as the test says nothing else."""
    files = GatedFiles()
    loop = asyncio.get_running_loop()
    config = Config(
        server=ServerConfig(port=0),
        storage=StorageConfig(path=str(directory)),
        frame_log=FrameLogConfig(level="off"),
        limits=limits or LimitsConfig(),
    )
    broker = Broker(Bounds(10**6, 2**30, 100))
    storage = Durable(str(directory), broker, Settings(3600.0, SEGMENT_BYTES), files)
    storage.start(loop)
    storage._journal._sync_pace = NeverQuick()
    clock = Clock(broker.clock_ms)
    most, epoch = config.limits.max_frame_bytes, storage.epoch
    settings = EngineSettings(max_frame_bytes=most, level=level, grace_ms=15_000, epoch=epoch)
    engine = LocalEngine(broker, storage, clock.now_ms, settings)

    server = Server(config, Services(engine, clock, EveryRole(engine.accounts), None))
    (url,) = await server.start()
    try:
        running = GatedServer(server, storage, files, int(url.rpartition(":")[2]))
        yield running
        await running.close()
    finally:
        files.sync_gate.set()
        await server.stop()
        hurry = asyncio.Event()
        hurry.set()
        if storage.failure is None:
            await storage.stop(hurry)
