"""One run: a server that lives, dies and is started again, its clients, and what goes wrong.

Server, sessions, engine and broker are the real ones. Simulated are the event loop and the
clock (`support.virtual_loop`), the connections (`simulation.network`), the disk
(`simulation.disk`) and the process itself: when it is killed, nothing of it happens any more.
"""

from __future__ import annotations

import contextlib
import logging
import random
from typing import TYPE_CHECKING, Any
from unittest import mock

import mqd.clock
import mqd.net.meters
import mqd.net.server
import mqd.net.session
from mqd.clock import Clock
from mqd.config import Config, FrameLogConfig, LimitsConfig, ServerConfig
from mqd.config.sections import LeasesConfig
from mqd.core.access import Role
from mqd.core.standings import Standing
from mqd.engine.local import LocalEngine, Settings
from mqd.net.server import Server, Services
from mqd.net.session import Session
from mqwire.levels import LEVELS
from simulation.clients import KINDS, Founder, Heir
from simulation.disk import Disk, Pace, SimStorage
from simulation.history import WALL_SECONDS, Conn, Crash, History
from simulation.network import Link, Peer
from simulation.workers import LEASE_SECONDS
from support.virtual_loop import Listener, Timeline, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulation.actors import Actor
    from simulation.history import LeaseId, Op
    from simulation.scenario import Mishap, Scenario

REST_SECONDS = 70.0
"""How long everything is left alone at the end, beside the grace: a host that is gone is noticed."""

DRAIN_SECONDS = 30.0

ADMIN = Standing("admin", Role.ADMIN, "test")


class _Time:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.set_seconds = 0.0
        self._looks = 0

    def monotonic(self) -> float:
        return self.timeline.now_seconds

    def time(self) -> float:
        return WALL_SECONDS + self.set_seconds + self.timeline.now_seconds

    def turn(self) -> float:
        """Tell a session how late it is: a frame seems to take a while, so that turns end."""
        self._looks += 1
        return self.timeline.now_seconds + self._looks * 1e-4


class SimSession(Session):
    """A session that lies in sets at the same place in each run."""

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


_time = _Time()


@contextlib.contextmanager
def virtual_time() -> Iterator[None]:
    """Let the server's modules see virtual time, and say nothing; for as many runs as there are."""
    logger = logging.getLogger("mqd")
    level = logger.level
    with contextlib.ExitStack() as stack:
        for module in (mqd.clock, mqd.net.meters):
            stack.enter_context(mock.patch.object(module, "time", _time))
        stack.enter_context(mock.patch.object(mqd.net.session, "monotonic", _time.turn))
        stack.enter_context(mock.patch.object(mqd.net.server, "Session", SimSession))
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


class World:
    """Everything there is in one run. To be used inside `virtual_time`.

    Args:
        scenario: what is to happen.
        trace: takes a line for each thing that happens.
    """

    def __init__(self, scenario: Scenario, trace: Callable[[str], None] | None = None) -> None:
        self.scenario = scenario
        self.timeline = _time.timeline = Timeline()
        _time.set_seconds = 0.0
        _time._looks = 0
        self.history = History(self.timeline_now)
        self.history.trace = trace
        self.disk = Disk(scenario.resident_bytes)
        self.known_leases: list[LeaseId] = []
        self.known_ids: list[tuple[str, int]] = []
        """Messages that clients know of: queue and id."""
        self.actors: dict[str, Actor] = {}
        self._chance = random.Random(scenario.seed * 2 + 1)
        self._links: list[Link] = []
        self._life = 0
        self._loop: VirtualLoop | None = None
        self._server: Server
        self._storage: SimStorage
        self._is_stopping = False
        self._last_stall = 0.0

    def timeline_now(self) -> float:
        return self.timeline.now_seconds

    def wall_seconds(self) -> float:
        """Tell what the wall's clock shows."""
        return _time.time()

    # The whole of it

    def run(self) -> History:
        """Live through it."""
        self._start()
        founder = Founder(self, "founder", random.Random(0))
        founder.start(0.001)
        while not founder.is_done:
            self.timeline.run(self.timeline.now_seconds + 1.0)
        scenario = self.scenario
        begin_seconds = self.timeline.now_seconds
        for name in scenario.crew:
            chance = random.Random(f"{scenario.seed}/{name}")
            actor = KINDS[name.rstrip("0123456789")](self, name, chance)
            self.actors[name] = actor
            actor.start(chance.uniform(0.0, 0.2))
        end_seconds = begin_seconds + scenario.seconds
        for mishap in scenario.mishaps:
            if mishap.at_seconds < scenario.seconds:
                seconds = begin_seconds + mishap.at_seconds
                self.timeline.at(None, seconds, self._go_wrong, (mishap,))
        self.timeline.run(end_seconds)
        self._wind_up()
        return self.history

    def _wind_up(self) -> None:
        """Let everybody go, wait until that has come to rest, and empty the queues."""
        for actor in self.actors.values():
            actor.stop()
        for link in self._links:
            if link.is_alive and not link.is_over:
                link.listen()
                link.leave()
        self.timeline.run(self.timeline.now_seconds + self._rest_seconds())
        self._check_rest()
        heir = Heir(self, "heir", random.Random(1))
        heir.start(0.0)
        self.timeline.run(self.timeline.now_seconds + DRAIN_SECONDS)
        if heir.left is None:
            self.history.faults.append("the queues could not be emptied in time")
        for queue, info in (heir.left or {}).items():
            for state in ("ready", "delayed", "leased", "dead"):
                if info[state]:
                    self.history.faults.append(f"stuck: {queue} has {info[state]} {state}")
        if self._loop is not None:
            self.history.faults += [f"asyncio: {each}" for each in self._loop.complaints]
            self._loop.kill()

    def _rest_seconds(self) -> float:
        """Tell how long it takes at most until everything has come to rest.

        The leases of those who are detached have to run out, the others end before; and what was to
        wait for a time by a clock that was set back later, waits for it.
        """
        scenario = self.scenario
        rest_seconds = scenario.grace_seconds + REST_SECONDS
        if scenario.detached:
            rest_seconds += max(seconds for _, seconds in LEASE_SECONDS)
        if scenario.delays:
            rest_seconds += sum(map(abs, scenario.jumps))
        return rest_seconds

    def _check_rest(self) -> None:
        """See that no connection is open any more: all were closed, or must have been noticed."""
        for link in self._links:
            if link.is_alive and not link.is_up_lost:
                self.history.faults.append(
                    f"connection {link.conn.client}/{link.conn.number} was never ended"
                )

    # The server's process

    def _start(self) -> None:
        if self._loop is not None:
            return
        scenario, disk = self.scenario, self.disk
        jumps = scenario.jumps
        if jumps and self._life:
            _time.set_seconds += jumps[self._life % len(jumps)]
        self._life += 1
        disk.epoch += 1
        self._loop = loop = VirtualLoop(self.timeline)
        broker = disk.recover()
        self._storage = SimStorage(loop, disk, scenario.pace, self._chance, self.history)
        clock = Clock(broker.clock_ms)
        config = _config(scenario)
        engine = LocalEngine(
            broker,
            self._storage,
            clock.now_ms,
            Settings(
                max_frame_bytes=config.limits.max_frame_bytes,
                level=LEVELS[scenario.level],
                grace_ms=round(1000 * scenario.grace_seconds),
                epoch=disk.epoch,
                chance=self._chance.random,
            ),
        )
        engine.accounts.fix(ADMIN.name, ADMIN.basis, ADMIN.role)
        loop.call_soon(self._serve, config, Services(engine, clock, self, None))
        self.history.starts.append(self.history.moment())
        self.history.note(f"start {self._life}: {len(disk.payloads)} payloads")
        self._is_stopping = False

    def _serve(self, config: Config, services: Services) -> None:
        assert self._loop is not None
        self._server = Server(config, services)
        self._loop.create_task(self._server.start())

    async def check(self, _name: str, _password: str) -> Standing | None:
        return ADMIN

    async def hash(self, password: str) -> str:
        return f"hash of {password}"

    async def authenticate(self, _credentials: dict[str, str]) -> Standing:
        loop = self._loop
        if loop is not None and self._chance.random() < 0.3:
            future = loop.create_future()
            loop.call_later(self._chance.uniform(0.0, 0.05), _end_future, future)
            await future
        return ADMIN

    def connect(self, peer: Peer) -> Link | None:
        """Connect a client; None if nobody listens."""
        loop = self._loop
        if loop is None or not self._listeners():
            return None
        history = self.history
        conn = Conn(len(history.conns) + 1, peer.name, self._life, history.moment())
        history.conns.append(conn)
        history.note(f"{peer.name}/{conn.number} connects")
        link = Link(loop, conn, peer, self.scenario.weather, self._chance, history)
        link.session = self._listeners()[0].factory()
        loop.call_soon(link.session.connection_made, link)
        self._links = [each for each in self._links if each.is_alive]
        self._links.append(link)
        return link

    def _listeners(self) -> list[Listener]:
        server: Any = getattr(self, "_server", None)
        return [] if server is None or server.loop is not self._loop else server._listeners

    def _end(self, kind: str) -> None:
        """End the process in this moment, and start it again some time later."""
        loop = self._loop
        if loop is None:
            return
        history = self.history
        if kind == "stop" and self._storage.failure is not None:
            kind = "power"  # in good order, and nothing could be written any more
        history.note(f"the server ends: {kind}")
        history.faults += [f"asyncio: {each}" for each in loop.complaints]
        self._loop = None
        history.crashes.append(Crash(history.moment(), kind))
        for link in self._links:
            if link.is_alive:
                link.server_died(is_heard=kind != "power" or self._chance.random() < 0.3)
        self._storage.end(kind)
        if self.scenario.snapshots and self._life % 2:
            self.disk.fold()  # a snapshot is made by another process, which may live on
        loop.kill()
        self._restore_disk()
        self.timeline.call_later(self._chance.uniform(0.01, 2.0), self._start)

    def _restore_disk(self) -> None:
        for spans in (self.history.full,):
            if spans and spans[-1][1] == float("inf"):
                spans[-1] = (spans[-1][0], self.timeline.now_seconds)

    # What goes wrong

    def _go_wrong(self, mishap: Mishap) -> None:
        self.history.counts[mishap.kind] += 1
        getattr(self, f"_mishap_{mishap.kind}")(mishap.extent)

    def _some_link(self) -> Link | None:
        links = [link for link in self._links if link.is_alive and not link.is_over]
        return self._chance.choice(links) if links else None

    def _mishap_cut(self, _extent: float) -> None:
        link = self._some_link()
        if link is not None:
            link.cut()

    def _mishap_vanish(self, extent: float) -> None:
        link = self._some_link()
        if link is not None:
            link.vanish(up=extent < 0.8, down=extent > 0.4, is_host_gone=True)

    def _mishap_deaf(self, extent: float) -> None:
        link = self._some_link()
        if link is not None:
            link.go_deaf()
            self.timeline.call_later(6 * extent, link.listen)

    def _mishap_kill(self, _extent: float) -> None:
        self._end("kill")

    def _mishap_power(self, _extent: float) -> None:
        self._end("power")

    def _mishap_ambush(self, extent: float) -> None:
        """Kill the server while it does what a request asks for that is all or nothing."""
        verb = "STEP" if self.scenario.steps else "PUSH"

        def see(op: Op) -> None:
            if op.verb == verb:
                self.history.on_arrival = None
                kind = "power" if extent < 0.3 else "kill"
                self.timeline.call_later(0.02 * extent**2, self._end, kind)

        self.history.on_arrival = see

    def _mishap_stop(self, _extent: float) -> None:
        if self._loop is not None and not self._is_stopping:
            self._is_stopping = True
            self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        loop = self._loop
        assert loop is not None
        self.history.note("the server is told to stop")
        await self._server.stop()
        loop.call_later(0.01, self._end, "stop")

    def _mishap_disk(self, extent: float) -> None:
        """Let the disk break; the process ends by itself soon, and a new disk has what was synced."""
        if self._loop is not None:
            self.history.note("the disk breaks")
            self._storage.fail()
            self._loop.call_later(0.1 * extent, self._end, "power")

    def _mishap_slow_disk(self, extent: float) -> None:
        if self._loop is not None:
            self._storage.pace = Pace(0.2 + extent, 0.2 + extent, 0.0, 20)
            self._loop.call_later(2 * extent, self._recover_pace)

    def _recover_pace(self) -> None:
        self._storage.pace = self.scenario.pace

    def _mishap_full_disk(self, extent: float) -> None:
        if self._loop is not None:
            self._storage.is_full = True
            self.history.full.append((self.timeline.now_seconds, float("inf")))
            self._loop.call_later(4 * extent, self._make_room)

    def _make_room(self) -> None:
        self._storage.is_full = False
        self._restore_disk()

    def _mishap_stall(self, extent: float) -> None:
        """Suspend the machine."""
        seconds = 6 * extent
        before = self.timeline.now_seconds
        self.history.note(f"everything stands still for {seconds:.2f} s")
        self.timeline.stall(seconds)
        self.history.stalls.append((before, before + seconds))


def _end_future(future: Any) -> None:
    if not future.done():
        future.set_result(None)


_configs: dict[tuple[Any, ...], Config] = {}


def _config(scenario: Scenario) -> Config:
    key = (scenario.grace_seconds, *sorted(scenario.limits.items()))
    config = _configs.get(key)
    if config is None:
        config = _configs[key] = Config(
            server=ServerConfig(port=7500, busy_poll_seconds=0),
            frame_log=FrameLogConfig(level="off"),
            limits=LimitsConfig(max_connections=64, **scenario.limits),
            leases=LeasesConfig(grace_seconds=scenario.grace_seconds),
        )
    return config
