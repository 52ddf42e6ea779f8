"""A server without sockets, one session of it, and what its client would see."""

from __future__ import annotations

import asyncio

from mqd.config import Config, LimitsConfig, ServerConfig
from mqd.net.server import Server, Services
from mqd.net.session import Session
from mqwire.frames import FrameReader, FrameWriter
from mqwire.levels import Level
from support.engines import Clock, Disk, new_engine
from support.gated_server import EveryRole

ENCODE = FrameWriter().encode


class Transport:
    """Takes what is written; its client reads everything."""

    def __init__(self):
        self.written = []
        self.is_aborted = False
        self.pieces = 0  # of what was written in pieces

    def set_write_buffer_limits(self, **_):
        pass

    def get_extra_info(self, _name):
        return ("127.0.0.1", 1)

    def is_closing(self):
        return False

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    def get_write_buffer_size(self):
        return 0

    def close(self):
        pass

    def abort(self):
        self.is_aborted = True

    def write(self, data):
        self.written.append(data)

    def writelines(self, pieces):
        self.written += pieces
        self.pieces += len(pieces)


class Bench:
    """A server without sockets, one session, and its client."""

    async def start(self, user="admin", pager=None, **limits):
        self.disk, self.clock = Disk(), Clock()
        self.engine = new_engine(self.clock, self.disk, Level.ACCEPTED, pager=pager)
        services = Services(self.engine, self.clock, EveryRole(self.engine.accounts), None)
        config = Config(server=ServerConfig(port=0), limits=LimitsConfig(**limits))
        self.server = Server(config, services)
        self.session, self.transport = Session(self.server, 1), Transport()
        self.session.connection_made(self.transport)
        await self.ask(("AUTH", 1, {"user": user, "password": ""}))
        return self

    async def ask(self, *frames):
        """Send frames in one piece; returns the replies."""
        self.transport.written.clear()
        self.session.data_received(b"".join(map(ENCODE, frames)))
        for _ in range(20):
            await asyncio.sleep(0)
        return FrameReader(2**31).feed(b"".join(self.transport.written))

    def kinds(self):
        return [record[0] for record in self.disk.records]

    def turn(self, name):
        """Tell how many takes were counted since the last that went by age."""
        held = self.engine.broker.queue(name).held
        return 0 if held is None else held.turn

    def close(self):
        self.session.connection_lost(None)
