"""Runs of seeds: one, many, and one made as small as it can be."""

from __future__ import annotations

import gc
import hashlib
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulation.checker import judge
from simulation.scenario import draw, smaller
from simulation.world import World, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from simulation.history import History
    from simulation.scenario import Scenario

COLLECT_EVERY = 16
"""Runs between two collections of garbage, of what is new alone: what is old is no garbage, and
to look through it would cost a tenth of all time."""

COUNTED = frozenset(
    {"ACK", "NACK", "REJECT", "EXTEND", "PUSH", "STEP", "CANCEL", "PAUSE", "PURGE", "SNAPSHOT"}
)


@dataclass
class Outcome:
    """What came of one run."""

    seed: int
    violations: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    digest: str = ""
    """Of the trace, if one was taken."""

    def __str__(self) -> str:
        told = "\n".join(f"    {each}" for each in self.violations[:8])
        rest = len(self.violations) - 8
        more = f"\n    and {rest} more" if rest > 0 else ""
        return f"seed {self.seed}:\n{told}{more}"


def run(scenario: Scenario, trace: Callable[[str], None] | None = None) -> Outcome:
    """Run one scenario and judge it. To be used inside `virtual_time`."""
    world = World(scenario, trace)
    try:
        history = world.run()
        violations = judge(history, scenario)
    except Exception:  # noqa: BLE001  a bug of the server ends the run, and is its result
        text = traceback.format_exc()
        return Outcome(scenario.seed, [f"exception: {text}"], Counter(runs=1))
    return Outcome(scenario.seed, violations, _count(history))


def _count(history: History) -> Counter[str]:
    counts = Counter(history.counts)
    counts["runs"] = 1
    counts["starts"] = len(history.starts)
    counts["connections"] = len(history.conns)
    for op in history.ops:
        counts["requests"] += 1
        if not op.is_there:
            counts["requests that never came"] += 1
        elif op.reply is None:
            counts["requests in doubt"] += 1
        elif op.is_ok:
            _count_ok(counts, op.verb, op.reply, "lease" in op.options)
        elif op.verb == "STEP":
            counts["STEP refused"] += 1
        elif op.error == "LEASE_LOST":
            counts["claims refused"] += 1
    return counts


def _count_ok(counts: Counter[str], verb: str, reply: tuple[object, ...], has_lease: bool) -> None:
    if verb == "PULL" and reply[1]:
        counts["leases" if has_lease else "pulls without a lease"] += 1
    elif verb in COUNTED:
        counts[f"{verb} accepted"] += 1
        if verb in ("PUSH", "STEP") and reply[3:4] == (True,):
            counts[f"{verb} repeated"] += 1


def run_seeds(seeds: Iterable[int]) -> Iterator[Outcome]:
    """Run the scenarios of seeds, one after the other."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with virtual_time():
            for number, seed in enumerate(seeds):
                yield run(draw(seed))
                if not number % COLLECT_EVERY:
                    gc.collect(0)
    finally:
        if was_enabled:
            gc.enable()


def traced(scenario: Scenario, say: Callable[[str], None] | None = None) -> Outcome:
    """Run one scenario with a trace, whose digest the outcome has."""
    digest = hashlib.sha256()

    def take(line: str) -> None:
        digest.update(line.encode() + b"\n")
        if say is not None:
            say(line)

    with virtual_time():
        outcome = run(scenario, take)
    outcome.digest = digest.hexdigest()
    return outcome


def minimized(scenario: Scenario, most_runs: int = 400) -> Scenario:
    """Return a scenario with less in it that fails in the same way, if there is one.

    Each client has its own random numbers, so that those who are left do much the same.
    """
    with virtual_time():
        kinds = kinds_of(run(scenario))
        runs, is_smaller = 1, bool(kinds)
        while is_smaller:
            is_smaller = False
            for less in smaller(scenario):
                if runs >= most_runs:
                    return scenario
                runs += 1
                if kinds & kinds_of(run(less)):
                    scenario, is_smaller = less, True
                    break
    return scenario


def kinds_of(outcome: Outcome) -> set[str]:
    """Return the kinds of what is wrong in a run."""
    return {violation.partition(":")[0] for violation in outcome.violations}
