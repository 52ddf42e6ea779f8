"""What pushes and steps ask for: requests as clients make them, drawn by chance.

What it is not: a client. Whoever asks sends the request, and sends it again as it is where it
has a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqwire.packs import join_bodies

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from simulation.world import World

LEVELS = ("accepted", "written", "synced")
PRIORITIES = (0, 100, 128, 129, 200, 255)
SECONDS = (0.2, 0.7, 2.0)
TTL_SECONDS = (0.3, 1.0, 3.0, 300.0)
NOWHERE = "nowhere"
"""A queue that there is not."""


class Wishes:
    """Draws what one client asks for.

    Args:
        world: where it lives.
        name: its own; the bodies of its messages begin with it.
        chance: its own.
    """

    def __init__(self, world: World, name: str, chance: random.Random) -> None:
        self._world = world
        self._scenario = world.scenario
        self._name = name
        self._chance = chance
        self._made = 0
        # A clock that is set forward lets keys be forgotten.
        self.may_have_keys = not world.scenario.jumps

    def key(self) -> str:
        """Return one that nobody has used."""
        self._made += 1
        return f"{self._name}-{self._made}"

    def bodies(self, count: int) -> list[str]:
        """Return bodies that nobody has pushed."""
        self._made += 1
        filling = "~" * 900 if self._chance.random() < 0.05 else ""
        return [f"{self._name}.{self._made}.{number}{filling}" for number in range(count)]

    def push_options(self) -> dict[str, Any]:
        """Draw what a push says of its messages."""
        chance, scenario = self._chance, self._scenario
        options: dict[str, Any] = {}
        if chance.random() < 0.1:
            options["headers"] = {"n": self._made}
        if chance.random() < scenario.priorities:
            options["priority"] = chance.choice(PRIORITIES)
        if chance.random() < scenario.delays:
            seconds = chance.choice(SECONDS)
            if chance.random() < 0.5:
                options["delay"] = seconds
            else:
                options["not_before"] = self._world.wall_seconds() + seconds
        if chance.random() < scenario.ttls:
            options["ttl"] = chance.choice(TTL_SECONDS)
        return options

    def push(self, queue: str, count: int) -> tuple[Any, ...]:
        """Draw a push."""
        bodies, options = self.bodies(count), self.push_options()
        if self._chance.random() < 0.15:
            options["durability"] = self._chance.choice(LEVELS)
        return ("PUSH", queue, count, join_bodies(bodies), options)

    def step(self, settlements: Sequence[Any], *, has_key: bool) -> tuple[Any, ...]:
        """Draw a step that settles something; now and then one that must be refused."""
        chance, scenario = self._chance, self._scenario
        parts, bodies = list(settlements), []
        for _ in range(chance.choice((0, 1, 1, 2))):
            queue = chance.choice((*scenario.pushed, "results"))
            if chance.random() < 0.05:
                queue = NOWHERE
            count = chance.choice((1, 1, 2))
            parts.append(("PUSH", queue, count, self.push_options()))
        if chance.random() < 0.05:
            parts.append(parts[0])
        chance.shuffle(parts)
        for part in parts:
            if part[0] == "PUSH":
                bodies += self.bodies(part[2])
        options: dict[str, Any] = {"key": self.key()} if has_key else {}
        if chance.random() < 0.1:
            options["durability"] = chance.choice(LEVELS)
        return ("STEP", parts, join_bodies(bodies), options)
