"""What a work is made of: rows, each a task for some sides; and where a row is measured."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.peers import bursts, interrupts, loads, sides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.peers.loads import Load
    from benchmarks.peers.servers.base import PeerServer
    from benchmarks.peers.sides import Side
    from benchmarks.peers.wires.base import Wire

Figures = dict[str, float]

FILL_SECONDS = 120.0
PREPARE_SECONDS = 600.0
REST_SECONDS = 60.0
REST_LOOK_SECONDS = 0.3
REST_SHARE = 0.1
"""What part of a processor a server takes that is at rest; RabbitMQ's never takes none."""

BUDGET_BYTES = 64 << 20
"""Most that the bodies of one counted go have together, whatever their size."""


@dataclass
class Stage:
    """Where a row is measured: a side whose server runs, and what was asked of the run.

    Args:
        side: what is measured.
        server: its server.
        body_bytes: size of bodies.
        scale: times the usual amount of work.
        variant: what queues are used as, see `sides.Place`.
    """

    side: Side
    server: PeerServer
    body_bytes: int
    scale: float
    variant: str = ""
    _loads: dict[str, list[Load]] = field(default_factory=dict)

    def count(self, usual: int) -> int:
        """Return how many messages a counted go has, of so many at scale 1."""
        wanted = usual * self.scale * self.side.share
        return max(1, int(min(wanted, BUDGET_BYTES / self.body_bytes)))

    def seconds(self, usual: float) -> float:
        """Return how long a timed go takes, of so long at scale 1."""
        return usual * self.scale

    def prepare(self, task: str, options: dict[str, Any], processes: int = 1) -> None:
        """Let load processes prepare a task, unless they have done so in an earlier round."""
        if task in self._loads:
            return
        place = self.side.place(self.server, self.variant)
        asked = {"body_bytes": self.body_bytes, "queue": self.queue, **options}
        started = self._loads[task] = []
        for _ in range(processes):
            with interrupts.whole():
                # One by one: those that run are ended if the next one cannot be started.
                started += [loads.Load(task, place, asked)]
        for load in started:
            load.answer(PREPARE_SECONDS)

    def done(self, *tasks: str) -> list[Figures]:
        """Let the load processes of these tasks do them, all at once.

        Returns:
            The figures of each, and in those of the first the processor time that a message
            took, of all processes of the server and of all clients: on a busy machine these
            say more than the clock does.
        """
        before = self.server.processor_seconds()
        answers = loads.go([load for task in tasks for load in self._loads[task]])
        spent = self.server.processor_seconds() - before
        figures: list[Figures] = [answer["figures"] for answer in answers]
        messages = sum(each.pop("messages") for each in figures)
        clients = sum(answer["processor_seconds"] for answer in answers)
        if messages:
            figures[0]["server_cpu_us"] = spent / messages * 1e6
            figures[0]["client_cpu_us"] = clients / messages * 1e6
        return figures

    def go(self, task: str, options: dict[str, Any], processes: int = 1) -> list[Figures]:
        """Prepare a task and do it, as `prepare` and `done`."""
        self.prepare(task, options, processes)
        return self.done(task)

    def wire(self) -> Wire:
        """Return a bare connection of the suite itself, for what nobody measures."""
        return sides.wire(self.side.place(self.server, self.variant))

    def fill(self, messages: int) -> None:
        """Push messages that others are to take."""
        with contextlib.closing(self.wire()) as wire:
            wire.make_queue(self.queue)
            burst = wire.push(self.queue, b"x" * self.body_bytes, messages)
            bursts.seconds_for([(wire, burst)], FILL_SECONDS)

    def rest(self) -> None:
        """Wait until the server is through with what it does behind its answers.

        That is: compacting, compressing, syncing. One that is never idle is waited for a minute.
        """
        ends_at = time.monotonic() + REST_SECONDS
        busy = 1.0
        while busy > REST_SHARE and time.monotonic() < ends_at:
            before = self.server.processor_seconds()
            time.sleep(REST_LOOK_SECONDS)
            busy = (self.server.processor_seconds() - before) / REST_LOOK_SECONDS

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Stage]:
        """Give a stage with a server of its own, which has nothing and ends with the block."""
        with contextlib.ExitStack() as stack:
            server = self.side.started(stack)
            stage = Stage(self.side, server, self.body_bytes, self.scale, self.variant)
            stack.callback(stage.end)
            yield stage

    @property
    def queue(self) -> str:
        """The queue that is worked on."""
        return f"bench-{self.variant}" if self.variant else "bench"

    def end(self) -> None:
        """End what was started for the row."""
        for started in self._loads.values():
            while started:
                started.pop().end()
        self._loads.clear()


@dataclass(frozen=True)
class Row:
    """A line of a work's table, measured on each of its sides once in a round.

    Args:
        name: what tables call it.
        sides: by name, in the order of the table.
        held: who is held against whom, ours first.
        measure: does it once, and returns the figures.
        max_body_bytes: it is left out with larger bodies.
        most_rounds: it is measured no more often, however many rounds a run has.
        is_alone: it starts its servers itself, see `Stage.fresh`.
    """

    name: str
    sides: tuple[str, ...]
    held: tuple[tuple[str, str], ...]
    measure: Callable[[Stage], Figures]
    max_body_bytes: int = 1 << 20
    most_rounds: int = 1000
    is_alone: bool = False


@dataclass(frozen=True)
class Work:
    """Rows that belong together, measured on the same servers.

    Args:
        name: what the command calls it.
        meaning: a sentence for people.
        rows: what is measured.
    """

    name: str
    meaning: str
    rows: tuple[Row, ...]


def against(ours: str, *theirs: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of one side of ours with others."""
    return tuple((ours, their) for their in theirs)


def sides_of(held: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the sides that pairs name, ours first, each once."""
    ours = dict.fromkeys(our for our, _ in held)
    return tuple({**ours, **dict.fromkeys(their for _, their in held)})
