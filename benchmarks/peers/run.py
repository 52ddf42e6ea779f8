"""Does works on all their sides, in turn within each round, and gathers the figures."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers import sides
from benchmarks.peers.bounds import bound_for
from benchmarks.peers.figures import is_compared, ratios, spread, verdict
from benchmarks.peers.works.base import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.peers.servers.base import PeerServer
    from benchmarks.peers.works.base import Figures, Row, Work

USUAL_BODY_BYTES = 100
"""The size of bodies that bounds are about."""


@dataclass(frozen=True)
class Wishes:
    """What a run is asked to do.

    Args:
        rounds: how often each row is measured on each side.
        scale: times the usual amount of work.
        bodies: sizes of bodies, in bytes.
        against: names of peers or sides; empty for all that are installed.
    """

    rounds: int
    scale: float
    bodies: tuple[int, ...] = (USUAL_BODY_BYTES,)
    against: tuple[str, ...] = ()

    def has(self, side: str) -> bool:
        """Tell whether a side is to be measured, and can be."""
        peer = side.partition(" ")[0]
        return sides.is_chosen(side, self.against) and sides.missing(peer) is None


@dataclass
class Measured:
    """What was measured of a row with bodies of one size.

    Args:
        work: its work's name.
        row: its name.
        body_bytes: of each body.
        held: who is held against whom, ours first.
        rounds: by side, the figures of each round.
        failures: by side, why it was given up.
    """

    work: str
    row: str
    body_bytes: int
    held: tuple[tuple[str, str], ...]
    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def values(self, side: str, figure: str) -> list[float]:
        """Return a figure of each round of a side, if it has them."""
        return [figures[figure] for figures in self.rounds.get(side, []) if figure in figures]

    def figures(self) -> list[str]:
        """Return the names of the figures that are compared."""
        every = [name for rounds in self.rounds.values() for name in rounds[0]]
        return list(dict.fromkeys(every))

    def ratios(self) -> Iterator[dict[str, Any]]:
        """Yield how ours stand to theirs, with the bounds that there are."""
        for ours, theirs in self.held:
            for figure in filter(is_compared, self.figures()):
                rounds = ratios(figure, self.values(ours, figure), self.values(theirs, figure))
                if not rounds:
                    continue
                told: dict[str, Any] = {"row": self.row, "figure": figure}
                told |= {"ours": ours, "theirs": theirs}
                told |= {"body_bytes": self.body_bytes, "ratio": asdict(spread(rounds))}
                bound = bound_for(self.row, figure, ours, theirs)
                if bound is not None and self.body_bytes == USUAL_BODY_BYTES:
                    met = verdict(spread(rounds).median, bound.at_least, bound.dream)
                    told["bound"] = asdict(met)
                yield told

    def as_json(self) -> dict[str, Any]:
        """Return everything about it."""
        return {**asdict(self), "ratios": list(self.ratios())}


class Arena:
    """Servers that run, all but the one that is measured held still."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._servers: dict[str, PeerServer] = {}

    @contextmanager
    def only(self, side: sides.Side) -> Iterator[PeerServer]:
        """Let the server of a side run, which is started at the first time."""
        if side.name not in self._servers:
            self._servers[side.name] = side.started(self._stack)
        server = self._servers[side.name]
        server.release()
        try:
            yield server
        except Exception:
            # Nobody knows what it has kept: the next row gets another one.
            server.stop()
            del self._servers[side.name]
            raise
        else:
            server.hold()

    @contextmanager
    def none(self, side: sides.Side) -> Iterator[PeerServer]:
        """Let none of them run; the server is one that was not started."""
        yield side.server(Path())


def turns(names: Sequence[str], number: int) -> list[str]:
    """Return the names in another order for each round, so that none is always the first."""
    first = number % len(names) if names else 0
    return [*names[first:], *names[:first]]


def measure(work: Work, wishes: Wishes, tell: Callable[[str], None]) -> Iterator[Measured]:
    """Yield what was measured of each row of a work; servers run for all its rows."""
    with ExitStack() as stack:
        arena = Arena(stack)
        for row in work.rows:
            for body_bytes in wishes.bodies:
                names = [name for name in row.sides if wishes.has(name)]
                if body_bytes <= row.max_body_bytes and len(names) > 0:
                    yield _measure_row(work, row, body_bytes, wishes, arena, tell)


def _measure_row(
    work: Work,
    row: Row,
    body_bytes: int,
    wishes: Wishes,
    arena: Arena,
    tell: Callable[[str], None],
) -> Measured:
    held = tuple(pair for pair in row.held if all(wishes.has(name) for name in pair))
    measured = Measured(work.name, row.name, body_bytes, held)
    names = [name for name in row.sides if wishes.has(name)]
    stages: dict[str, Stage] = {}
    try:
        for number in range(min(wishes.rounds, row.most_rounds)):
            for name in turns(names, number):
                if name in measured.failures:
                    continue
                side = sides.side(name)
                try:
                    with (arena.none if row.is_alone else arena.only)(side) as server:
                        stage = stages.get(name) or Stage(side, server, body_bytes, wishes.scale)
                        stages[name] = stage
                        measured.rounds.setdefault(name, []).append(row.measure(stage))
                except Exception as error:  # noqa: BLE001  a peer that fails is told, others go on
                    measured.failures[name] = f"{type(error).__name__}: {error}"
                    measured.rounds.pop(name, None)
                    tell(f"{name} is given up in '{row.name}': {error}")
    finally:
        for stage in stages.values():
            stage.end()
    return measured
