"""What a seed stands for: the queues, the crew, and what goes wrong when.

Everything is drawn here, so that a run can be repeated with less in it: see `smaller`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from simulation.disk import Pace
from simulation.network import Weather

if TYPE_CHECKING:
    from collections.abc import Iterator


class Mishap(NamedTuple):
    """Something that goes wrong.

    Args:
        at_seconds: when.
        kind: one of MISHAPS.
        extent: from 0 up to 1: how long, or how bad.
    """

    at_seconds: float
    kind: str
    extent: float


MISHAPS = (
    (6, "cut"),
    (3, "vanish"),
    (3, "kill"),
    (3, "power"),
    (1, "stop"),
    (1, "disk"),
    (4, "ambush"),
    (2, "slow_disk"),
    (1, "full_disk"),
    (1, "deaf"),
    (1, "stall"),
)

HABITS = (
    "snapshots",
    "purges",
    "deletes",
    "cancels",
    "pauses",
    "priorities",
    "delays",
    "ttls",
    "steps",
    "bursts",
)
"""What clients do more or less often: fields of a scenario."""


@dataclass(frozen=True)
class Scenario:
    """One run."""

    seed: int
    seconds: float
    grace_seconds: float
    queues: dict[str, dict[str, Any]]
    """Their options."""
    pushed: tuple[str, ...]
    leased: tuple[str, ...]
    plain: tuple[str, ...]
    """Which of them are pushed to, pulled from with leases, and without."""
    crew: tuple[str, ...]
    mishaps: tuple[Mishap, ...]
    weather: Weather
    pace: Pace
    level: str
    limits: dict[str, int]
    snapshots: float = 0.0
    purges: float = 0.0
    deletes: float = 0.0
    cancels: float = 0.0
    pauses: float = 0.0
    """How often the operator does that, at each of its visits."""
    priorities: float = 0.0
    delays: float = 0.0
    ttls: float = 0.0
    """How often a push says something of that."""
    steps: float = 0.0
    """How often a worker that could settle a lease makes a step instead."""
    bursts: float = 0.0
    """How often a producer that comes brings many messages at once."""
    jumps: tuple[float, ...] = field(default=())
    """By how many seconds somebody has set the clock at each restart."""
    detached: tuple[str, ...] = ()
    """Those of the crew whose leases go on without a connection."""
    resident_bytes: int = 0
    """How much of waiting messages' bodies lies in memory; 0 for all."""

    @property
    def names(self) -> tuple[str, ...]:
        """All queues."""
        return tuple(self.queues)

    def describe(self) -> str:
        """Say what it is, for people."""
        queues = "; ".join(f"{name} {options}" for name, options in self.queues.items())
        mishaps = ", ".join(f"{each.kind} at {each.at_seconds:.2f}" for each in self.mishaps)
        habits = ", ".join(
            f"{name} {getattr(self, name)}" for name in HABITS if getattr(self, name)
        )
        return (
            f"seed {self.seed}: {self.seconds:.1f} s, grace {self.grace_seconds:g} s, "
            f"level {self.level}, crew {' '.join(self.crew)}; queues: {queues}; "
            f"detached: {' '.join(self.detached) or 'none'}; habits: {habits or 'none'}; "
            f"mishaps: {mishaps or 'none'}; clock set by {self.jumps}; "
            f"in memory: {self.resident_bytes or 'all'}"
        )


def draw(seed: int) -> Scenario:
    """Make the scenario of a seed."""
    chance = random.Random(seed)
    seconds = chance.choice((1.5, 2.5, 4.0, 6.0, 9.0))
    habits = _habits(chance)
    queues, leased = _queues(chance, habits)
    crew = [f"producer{number}" for number in range(chance.randint(1, 2))]
    workers = chance.randint(1, 3)
    crew += [f"worker{number}" for number in range(workers)]
    crew += [f"keeper{number}" for number in range(workers) if chance.random() < 0.25]
    plain: tuple[str, ...] = ()
    if chance.random() < 0.4:
        crew.append("puller0")
        plain = ("plain", *leased) if chance.random() < 0.5 else ("plain",)
    has_operator = chance.random() < 0.3
    if has_operator or "cancels" in habits or "pauses" in habits:
        crew.append("operator0")
    if has_operator and chance.random() < 0.6:
        habits |= {"purges": 0.3, "deletes": 0.05}
    return Scenario(
        seed=seed,
        seconds=seconds,
        grace_seconds=chance.choice((0.6, 1.5, 3.0)),
        queues=queues,
        pushed=(*leased, "plain") if plain else leased,
        leased=leased,
        plain=plain,
        crew=tuple(crew),
        mishaps=_mishaps(chance, seconds),
        weather=chance.choice((Weather(), Weather(0.05, 0.1, 1.5, 0.4), Weather(0.0005, 0.0, 0.0))),
        pace=chance.choice((Pace(), Pace(0.05, 0.3, 0.1), Pace(0.002, 0.02, 0.0, 3))),
        level=chance.choice(("synced", "synced", "written", "accepted")),
        limits=chance.choice(
            ({}, {"max_frames_per_turn": 2}, {"max_unsent_bytes": 4096, "max_frames_per_turn": 1})
        ),
        jumps=tuple(chance.choice((0.0, 0.0, 3600.0, -3600.0)) for _ in range(20))
        if chance.random() < 0.2
        else (),
        detached=_detached(seed, crew),
        resident_bytes=_resident_bytes(seed),
        **habits,
    )


def _detached(seed: int, crew: list[str]) -> tuple[str, ...]:
    """Draw which workers are detached: in three of four runs none.

    The chance is one of its own, so that all else of a seed is what it was without.
    """
    chance = random.Random(f"{seed}/detached")
    if chance.random() < 0.75:
        return ()
    return tuple(name for name in crew if name.startswith("worker") and chance.random() < 0.6)


def _resident_bytes(seed: int) -> int:
    """Draw how much lies in memory: in half of the runs all; by a chance of its own, as above."""
    return random.Random(f"{seed}/resident").choice((0, 0, 1, 100))


def _habits(chance: random.Random) -> dict[str, float]:
    """Draw what clients do beside the usual; in a third of all runs nothing."""
    drawn = {"snapshots": 0.4} if chance.random() < 0.5 else {}
    if chance.random() < 0.33:
        return drawn
    often = (
        ("cancels", 0.8),
        ("pauses", 0.6),
        ("priorities", 0.7),
        ("delays", 0.4),
        ("ttls", 0.5),
        ("steps", 0.6),
    )
    drawn |= {name: share for name, share in often if chance.random() < 0.4}
    if "priorities" in drawn and chance.random() < 0.5:
        drawn["bursts"] = 0.3
    return drawn


def _queues(
    chance: random.Random, habits: dict[str, float]
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    jobs: dict[str, Any] = {}
    if chance.random() < 0.3:
        jobs["durability"] = chance.choice(("synced", "written", "accepted"))
    careful: dict[str, Any] = {"dead_letter": "dead"}
    careful["max_attempts"] = chance.randint(1, 3)
    careful["max_worker_losses"] = chance.randint(1, 4)
    if chance.random() < 0.5:
        careful["backoff"] = chance.choice(("fixed", "linear", "exponential"))
        careful["backoff_seconds"] = chance.choice((0.5, 2))
        careful["backoff_cap_seconds"] = 4
        careful["backoff_jitter"] = chance.choice((0, 0.5))
    if chance.random() < 0.2:
        careful["max_messages"] = 6
    for options in (jobs, careful):
        if chance.random() < 0.15:
            options["max_leased"] = chance.randint(1, 3)
        if "ttls" in habits and chance.random() < 0.5:
            options["on_expiry"] = "dead_letter"
        if "ttls" in habits and chance.random() < 0.3:
            options["ttl_seconds"] = chance.choice((1, 4))
    queues = {"dead": {}, "jobs": jobs, "careful": careful, "plain": {}}
    if "steps" in habits:
        queues["results"] = {} if chance.random() < 0.7 else {"max_messages": 4}
    if chance.random() < 0.2:
        queues["dead"] = {"max_messages": 2}
    leased = chance.choice((("jobs",), ("jobs", "careful"), ("careful", "jobs", "dead")))
    return queues, leased


def _mishaps(chance: random.Random, seconds: float) -> tuple[Mishap, ...]:
    """Draw what goes wrong; in some runs only things of a few kinds, in some nothing."""
    kinds = [kind for weight, kind in MISHAPS for _ in range(weight)]
    if chance.random() < 0.5:
        kinds = [kind for kind in kinds if chance.random() < 0.4] or ["kill"]
    count = chance.choice((0, 1, 2, 4, 7))
    drawn = [
        Mishap(chance.uniform(0.5, seconds), chance.choice(kinds), chance.random())
        for _ in range(count)
    ]
    return tuple(sorted(drawn))


def smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Yield scenarios with a little less in them, those with much less first."""
    for part in (0.25, 0.5, 0.75, 0.9, 0.97):
        yield replace(scenario, seconds=scenario.seconds * part)
    for place in range(len(scenario.crew)):
        yield replace(scenario, crew=scenario.crew[:place] + scenario.crew[place + 1 :])
    for place in range(len(scenario.mishaps)):
        less = scenario.mishaps[:place] + scenario.mishaps[place + 1 :]
        yield replace(scenario, mishaps=less)
    if scenario.weather != Weather(0.0005, 0.0, 0.0, 0.0):
        yield replace(scenario, weather=Weather(0.0005, 0.0, 0.0, 0.0))
    nothing: tuple[tuple[str, Any], ...] = (
        ("limits", {}),
        ("jumps", ()),
        ("detached", ()),
        ("resident_bytes", 0),
    )
    for name, without in nothing:
        if getattr(scenario, name):
            yield replace(scenario, **{name: without})
    for name in HABITS:
        if getattr(scenario, name):
            yield replace(scenario, **{name: 0.0})
