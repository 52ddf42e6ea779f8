"""Clients that take leases: workers, and the keepers beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulation.actors import Actor, Script
from simulation.wishes import LEVELS, Wishes

if TYPE_CHECKING:
    import random

    from simulation.history import LeaseId
    from simulation.world import World

LEASE_SECONDS = ((2, 0.3), (4, 1.0), (4, 3.0), (3, 10.0), (2, 300.0))
OLD_LEASES = 6
STEP_TRIES = 3


class Holding:
    """A lease, as its holder knows it."""

    __slots__ = ("ids", "lease", "queue")

    def __init__(self, queue: str, lease: LeaseId, ids: list[int]) -> None:
        self.queue = queue
        self.lease = lease
        self.ids = ids


class Worker(Actor):
    """Takes leases and settles them: in time or late, whole or in part, twice or never.

    Some make steps, which settle leases and push what came of them. Those that are detached and
    have no instance are one holder, any of which may settle what another has pulled.
    """

    def __init__(self, world: World, name: str, chance: random.Random) -> None:
        super().__init__(world, name, chance)
        self._lives = 0
        self._wishes = Wishes(world, name, chance)
        self.holdings: list[Holding] = []
        self._old: list[LeaseId] = []
        self._has_instance = chance.random() < 0.8
        self.is_detached = name in world.scenario.detached
        self._pause_seconds = chance.choice((0.1, 0.5, 2.0))
        self._most = chance.choice((1, 2, 3))
        if world.scenario.bursts:
            self._pause_seconds, self._most = 0.05, 1
        self._is_naughty = chance.random() < 0.4
        self._is_steady = chance.random() < 0.25
        self.keepalive = chance.choice((None, 1.0, 3.0)) if self._has_instance else None
        self._be_reborn()

    def _be_reborn(self) -> None:
        self._lives += 1
        self.holdings.clear()
        if self._has_instance:
            self.instance = f"{self.name}-{self._lives}"

    def script(self) -> Script:
        chance = self.chance
        while True:
            yield chance.uniform(0.0, self._pause_seconds)
            was_away = self.link is None
            yield from self.dial()
            if was_away and self.holdings and chance.random() < 0.5:  # it goes on where it was
                yield chance.uniform(0.0, 2.0 * self.world.scenario.grace_seconds)
                yield from self.dial()
            if not self.holdings or (len(self.holdings) < 3 and chance.random() < 0.2):
                yield from self._pull()
                continue
            does = self.among(self._habits())
            yield from does()

    def _habits(self) -> list[tuple[float, Any]]:
        steps = self.world.scenario.steps
        if self._is_steady:
            habits = [(4.0, self._toil), (2.0, self._extend), (2.0, self._ack)]
            return [*habits, (4.0 * steps, self._step)]
        habits = [
            (40.0 * steps, self._step),
            (10.0, self._ack),
            (3.0, self._ack_some),
            (3.0, self._give_back),
            (3.0, self._extend),
            (1.0, self._reject),
            (1.5, self._toil),
            (0.7, self._sleep_on),
            (0.7, self._come_back),
            (0.5, self._die),
        ]
        if self._is_naughty:
            habits += [(1.5, self._settle_old), (1.0, self._settle_foreign)]
        return habits

    # Each of these is a step of a worker's life

    def _pull(self) -> Script:
        chance = self.chance
        queue = chance.choice(self.world.scenario.leased)
        options: dict[str, Any] = {"lease": self.among(LEASE_SECONDS)}
        wait_seconds = self.among(((2, 0), (2, 0.5), (2, 4.0)))
        if wait_seconds:
            options["wait"] = wait_seconds
        if chance.random() < 0.1:
            options["durability"] = chance.choice(LEVELS)
        request = ("PULL", queue, chance.randint(1, self._most), options)
        reply = yield from self.call(*request, patience_seconds=wait_seconds + 4.0)
        self._take(queue, reply)

    def _take(self, queue: str, reply: Any) -> None:
        if reply is not None and reply[0] == "OK" and reply[1]:
            runs, lease = reply[1], tuple(reply[4])
            pairs = zip(runs[::2], runs[1::2], strict=True)
            ids = [each for first, count in pairs for each in range(first, first + count)]
            self.holdings.append(Holding(queue, lease, ids))
            self.world.known_leases.append(lease)
            self.world.known_ids += [(queue, each) for each in ids]

    def _one(self) -> Holding:
        return self.chance.choice(self.holdings)

    def _done_with(self, holding: Holding) -> None:
        self.holdings.remove(holding)
        self._old = [*self._old, holding.lease][-OLD_LEASES:]

    def _settle(self, verb: str, holding: Holding, options: dict[str, Any]) -> Script:
        """Settle, and perhaps pull on in the same write."""
        if self.chance.random() < 0.1:
            options["durability"] = self.chance.choice(LEVELS)
        requests: list[tuple[Any, ...]] = [(verb, holding.lease, options)]
        if "ids" in options:
            gone = set(options["ids"][::2])
            holding.ids = [each for each in holding.ids if each not in gone]
        if "ids" not in options or not holding.ids:
            self._done_with(holding)
        elif self.chance.random() < 0.2:
            requests.append(("ACK", holding.lease))
            self._done_with(holding)
        queue = holding.queue
        if self.chance.random() < 0.2:
            requests.append(("PULL", queue, 1, {"lease": self.among(LEASE_SECONDS)}))
        replies = yield from self.ask(*requests, patience_seconds=5.0)
        if requests[-1][0] == "PULL":
            self._take(queue, replies[-1])
        if replies[0] is None and self.chance.random() < 0.5:  # in doubt: once more
            yield from self.dial()
            yield from self.call(verb, holding.lease, options)

    def _ack(self) -> Script:
        yield from self._settle("ACK", self._one(), {})

    def _ack_some(self) -> Script:
        holding = self._one()
        yield from self._settle("ACK", holding, {"ids": self._some(holding)})

    def _some(self, holding: Holding) -> list[int]:
        """Return some of the ids, as runs of one each."""
        count = self.chance.randint(1, len(holding.ids))
        chosen = sorted(self.chance.sample(holding.ids, count))
        return [number for each in chosen for number in (each, 1)]

    def _give_back(self) -> Script:
        holding = self._one()
        options: dict[str, Any] = dict(
            self.among(
                (
                    (3, {"hand_back": True}),
                    (2, {}),
                    (2, {"delay": self.chance.choice((0, 0.5, 3))}),
                    (1, {"lost": True}),
                    (1, {"reason": "it failed"}),
                )
            )
        )
        if self.chance.random() < 0.4:
            options["ids"] = self._some(holding)
        yield from self._settle("NACK", holding, options)

    def _reject(self) -> Script:
        yield from self._settle("REJECT", self._one(), {"reason": "it is no good"})

    def _step(self) -> Script:
        """Settle leases and push, all or nothing; what is in doubt is tried again."""
        chance = self.chance
        count = min(len(self.holdings), chance.choice((1, 1, 1, 2)))
        chosen = chance.sample(self.holdings, count)
        settlements: list[Any] = [self._part(holding) for holding in chosen]
        if self._is_naughty and self._old and chance.random() < 0.2:
            settlements.append(("ACK", chance.choice(self._old)))
        has_key = self._wishes.may_have_keys and chance.random() < 0.6
        request = self._wishes.step(settlements, has_key=has_key)
        for holding in chosen:
            self._done_with(holding)
        for _ in range(STEP_TRIES):
            patience_seconds = chance.choice((0.01, 1.0, 5.0))
            reply = yield from self.call(*request, patience_seconds=patience_seconds)
            if reply is not None:
                break
            yield chance.uniform(0.0, 0.5)
            yield from self.dial()
            if not has_key:  # what comes of this one must be told apart
                request = self._wishes.step(settlements, has_key=False)
        if reply is not None and reply[0] == "ERR":  # nothing has happened to them
            self.holdings += chosen[:1]

    def _part(self, holding: Holding) -> tuple[Any, ...]:
        verb, options = self.among(
            (
                (6, ("ACK", {})),
                (1, ("NACK", {"hand_back": True})),
                (1, ("NACK", {})),
                (1, ("REJECT", {})),
            )
        )
        if self.chance.random() < 0.15:
            options = {**options, "ids": self._some(holding)}
        return (verb, holding.lease, options)

    def _extend(self) -> Script:
        holding = self._one()
        options = {"ids": self._some(holding)} if self.chance.random() < 0.3 else {}
        yield from self.call("EXTEND", holding.lease, self.among(LEASE_SECONDS), options)

    def _toil(self) -> Script:
        """Work for long, having said so."""
        yield from self.call("EXTEND", self._one().lease, 300.0)
        yield self.chance.uniform(0.0, 5.0)

    def _sleep_on(self) -> Script:
        """Stand still, as under SIGSTOP: nothing is sent, and nothing is read."""
        self.is_frozen = True
        if self.link is not None:
            self.link.go_deaf()
        yield self.chance.uniform(0.0, 8.0)
        self.is_frozen = False
        if self.link is not None:
            self.link.listen()

    def _come_back(self) -> Script:
        """Lose the connection, and be there again before the grace has ended, or after."""
        self.hang_up()
        yield self.chance.uniform(0.0, 2.0 * self.world.scenario.grace_seconds)

    def _die(self) -> Script:
        """End, and let somebody else begin."""
        if self.link is not None and self.chance.random() < 0.5:
            self.link.vanish(up=True, down=True, is_host_gone=True)
            self.link = None
        self.hang_up()
        self._be_reborn()
        yield self.chance.uniform(0.0, 2.0)

    def _settle_old(self) -> Script:
        if self._old:
            verb = self.chance.choice(("ACK", "ACK", "NACK", "REJECT"))
            yield from self.call(verb, self.chance.choice(self._old))

    def _settle_foreign(self) -> Script:
        known = self.world.known_leases
        if known:
            epoch, seq = self.chance.choice(known)
            other = self.among(
                ((3, (epoch, seq)), (1, (epoch + 1, seq)), (1, (max(0, epoch - 1), seq)))
            )
            request: Any = self.chance.choice(
                (("ACK", other), ("NACK", other), ("EXTEND", other, 5))
            )
            yield from self.call(*request)


class Keeper(Actor):
    """Another connection of a worker's instance, that extends its leases."""

    keepalive = 2.0

    def __init__(self, world: World, name: str, chance: random.Random) -> None:
        super().__init__(world, name, chance)
        self._seconds = chance.choice((1.0, 4.0))

    def script(self) -> Script:
        number = self.name.removeprefix("keeper")
        while True:
            yield self._seconds * self.chance.uniform(0.2, 0.5)
            worker = self.world.actors.get(f"worker{number}")
            if not isinstance(worker, Worker) or worker.instance is None:
                return
            if worker.instance != self.instance:
                self.hang_up()
                self.instance, self.is_detached = worker.instance, worker.is_detached
            yield from self.dial()
            leases = [each.lease for each in worker.holdings]
            if leases:
                yield from self.ask(*(("EXTEND", lease, self._seconds) for lease in leases))
