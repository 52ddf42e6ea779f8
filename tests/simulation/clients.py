"""The kinds of clients: producers, pullers, an operator; workers are in `simulation.workers`.

To add one: a subclass of `Actor` with a `script`, a line in `KINDS`, and its number in
`simulation.scenario.Scenario.crew`. To add a verb: a request in some script; what is to hold of
its replies belongs to `simulation.checker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulation.actors import Actor, Script
from simulation.wishes import LEVELS, Wishes
from simulation.workers import Keeper, Worker

if TYPE_CHECKING:
    import random

    from simulation.world import World


class Producer(Actor):
    """Pushes; what it is not sure of it pushes again, or leaves.

    An attempt has the bodies of the first where it has a key, and then is to change nothing; it
    is made until it is answered. Each other one has bodies of its own, so that what a retry
    doubles can be told apart.
    """

    def __init__(self, world: World, name: str, chance: random.Random) -> None:
        super().__init__(world, name, chance)
        self._wishes = Wishes(world, name, chance)
        self._retries = chance.random() < 0.6
        # A queue that is made again knows no keys.
        may_have_keys = self._wishes.may_have_keys and not world.scenario.deletes
        self._has_keys = chance.random() < 0.6 and may_have_keys
        self._pause_seconds = chance.choice((0.3, 1.0, 3.0))

    def script(self) -> Script:
        chance = self.chance
        while True:
            yield chance.uniform(0.0, self._pause_seconds)
            yield from self.dial()
            pushes = [self._push() for _ in range(self._how_many())]
            while pushes:
                patience_seconds = chance.choice((0.02, 1.0, 1.0, 8.0, 8.0))
                replies = yield from self.ask(*pushes, patience_seconds=patience_seconds)
                self._note(pushes, replies)
                pushes = [
                    push if self._has_keys else self._push(push[1])
                    for push, reply in zip(pushes, replies, strict=True)
                    if reply is None
                ]
                if not (self._retries and pushes):
                    break
                yield chance.uniform(0.0, 0.5)
                yield from self.dial()

    def _how_many(self) -> int:
        chance = self.chance
        if chance.random() < self.world.scenario.bursts:
            return chance.randint(10, 25)
        count: int = self.among(((8, 1), (1, 2), (1, 4)))
        return count

    def _push(self, queue: str | None = None) -> tuple[Any, ...]:
        count = self.among(((6, 1), (2, 2), (1, 5)))
        request = self._wishes.push(queue or self.chance.choice(self.world.scenario.pushed), count)
        if self._has_keys:
            request[-1]["key"] = self._wishes.key()
        return request

    def _note(self, pushes: list[Any], replies: list[Any]) -> None:
        """Let others know of what was pushed."""
        for push, reply in zip(pushes, replies, strict=True):
            if reply is not None and reply[0] == "OK":
                self.world.known_ids += [(push[1], reply[1] + place) for place in range(push[2])]


class Puller(Actor):
    """Pulls without a lease: what it gets is gone from the queue."""

    def script(self) -> Script:
        chance = self.chance
        while True:
            yield chance.uniform(0.0, 3.0)
            yield from self.dial()
            queue = chance.choice(self.world.scenario.plain)
            options: dict[str, Any] = {}
            wait_seconds = self.among(((2, 0), (2, 1.0), (1, 5.0)))
            if wait_seconds:
                options["wait"] = wait_seconds
            if chance.random() < 0.2:
                options["durability"] = chance.choice(LEVELS)
            patience_seconds = chance.choice((0.5, wait_seconds + 5.0))
            yield from self.call(
                "PULL", queue, chance.randint(1, 4), options, patience_seconds=patience_seconds
            )


class Operator(Actor):
    """Looks at queues, empties them, deletes them, lets the dead be tried again.

    It cancels messages, and stops the delivery of a queue for a while, which it may forget.
    """

    def __init__(self, world: World, name: str, chance: random.Random) -> None:
        super().__init__(world, name, chance)
        scenario = world.scenario
        self._pause_seconds = 1.0 if scenario.cancels or scenario.pauses else 4.0

    def script(self) -> Script:
        chance = self.chance
        scenario = self.world.scenario
        while True:
            yield chance.uniform(0.0, self._pause_seconds)
            yield from self.dial()
            queue = chance.choice(scenario.names)
            look: Any = chance.choice(
                (("INFO", queue), ("LIST",), ("HOLDERS",), ("PEEK", queue, 3), ("REDRIVE", queue))
            )
            yield from self.call(*look)
            for does, often in (
                (self._cancel, scenario.cancels),
                (self._stop_a_while, scenario.pauses),
                (self._snapshot, scenario.snapshots),
                (self._purge, scenario.purges),
                (self._delete, scenario.deletes),
            ):
                if chance.random() < often:
                    yield from does()

    def _queue(self) -> str:
        return self.chance.choice(self.world.scenario.names)

    def _snapshot(self) -> Script:
        yield from self.call("SNAPSHOT", patience_seconds=5.0)

    def _purge(self) -> Script:
        state = self.chance.choice(({}, {}, {"state": "dead"}))
        yield from self.call("PURGE", self._queue(), state)

    def _delete(self) -> Script:
        queue = self._queue()
        yield from self.call("DELETE", queue)
        yield self.chance.uniform(0.0, 1.0)
        yield from self._create(queue)

    def _cancel(self) -> Script:
        """Cancel one of the newest messages that somebody knows of, or two."""
        known = self.world.known_ids[-12:]
        if not known:
            return
        queue, message_id = self.chance.choice(known)
        runs = self.chance.choice(([message_id, 1], [message_id, 1], [message_id, 2]))
        options = {"durability": self.chance.choice(LEVELS)} if self.chance.random() < 0.1 else {}
        yield from self.call("CANCEL", queue, runs, options)

    def _stop_a_while(self) -> Script:
        queue = self.chance.choice(self.world.scenario.leased)
        yield from self.call("PAUSE", queue)
        yield self.chance.uniform(0.0, 2.0)
        if self.chance.random() < 0.8:
            yield from self.dial()
            yield from self.call("RESUME", queue)

    def _create(self, queue: str) -> Script:
        while True:
            yield from self.dial()
            options = {**self.world.scenario.queues[queue], "if_missing": True}
            reply = yield from self.call("CREATE", queue, options)
            if reply is not None:
                return


class Founder(Actor):
    """Creates the queues, before anybody else comes."""

    is_done = False

    def script(self) -> Script:
        queues = self.world.scenario.queues
        while not self.is_done:
            yield from self.dial()
            replies = yield from self.ask(
                *(
                    ("CREATE", queue, {**options, "if_missing": True})
                    for queue, options in queues.items()
                )
            )
            self.is_done = all(reply is not None and reply[0] == "OK" for reply in replies)
        self.hang_up()


class Heir(Actor):
    """Empties all queues when everybody has gone, and says what is left in them."""

    def __init__(self, world: World, name: str, chance: random.Random) -> None:
        super().__init__(world, name, chance)
        self.left: dict[str, dict[str, Any]] | None = None

    def script(self) -> Script:
        queues = list(self.world.scenario.queues)
        yield from self.dial()
        if self.world.scenario.pauses:
            yield from self.ask(*(("RESUME", queue) for queue in queues))
        moved = True
        while moved:
            pulls = yield from self.ask(*(("PULL", queue, 1000) for queue in queues))
            redrives = yield from self.ask(*(("REDRIVE", queue) for queue in queues))
            moved = any(reply[0] == "OK" and reply[1] for reply in (*pulls, *redrives))
        infos = yield from self.ask(*(("INFO", queue) for queue in queues))
        left = {reply[1]["queue"]: reply[1] for reply in infos if reply[0] == "OK"}
        self.left = left
        self.hang_up()


KINDS: dict[str, type[Actor]] = {
    "producer": Producer,
    "worker": Worker,
    "keeper": Keeper,
    "puller": Puller,
    "operator": Operator,
}
