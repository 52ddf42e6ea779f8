"""What a client of the simulation is: a script that asks and sleeps.

A script is a generator. It yields a number to sleep so many seconds, or an `Ask` to send
requests in one write; it gets back the replies, each without its id, with None for one that did
not come before the link was lost or patience ran out. A client that loses patience hangs up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import random
    from collections.abc import Generator, Iterable

    from simulation.history import Op
    from simulation.network import Link
    from simulation.world import World
    from support.virtual_loop import Call

Reply: TypeAlias = "tuple[Any, ...] | None"


class Ask(NamedTuple):
    """Requests that leave together: each `(verb, *arguments[, options])`."""

    requests: list[tuple[Any, ...]]
    patience_seconds: float = 10.0


Script: TypeAlias = "Generator[float | Ask, Any, Any]"


class Actor:
    """A client.

    Args:
        world: where it lives.
        name: its own.
        chance: its own, so that it does the same whoever else there is.
    """

    instance: str | None = None
    """What it says in AUTH."""
    keepalive: float | None = None
    is_detached = False
    """Its leases go on to their time, be it connected or not."""

    def __init__(self, world: World, name: str, chance: random.Random) -> None:
        self.world = world
        self.name = name
        self.chance = chance
        self.link: Link | None = None
        self.who = name
        self.is_frozen = False
        """It does not even keep its connection alive."""
        self._script = self.script()
        self._open: dict[Op, int] = {}
        self._replies: list[Reply] = []
        self._is_asking = False
        self._deadline: Call | None = None
        self._ping: Call | None = None

    def script(self) -> Script:
        """Do what this kind of client does."""
        raise NotImplementedError

    def start(self, seconds: float) -> None:
        """Begin after a while."""
        self.world.timeline.call_later(seconds, self._go, None)

    def stop(self) -> None:
        """Do nothing any more; the link stays as it is."""
        self._script.close()
        self._is_asking = False
        for call in (self._deadline, self._ping):
            if call is not None:
                call.cancel()

    # What scripts are made of

    def ask(self, *requests: tuple[Any, ...], patience_seconds: float = 10.0) -> Script:
        """Send requests, and return the replies to them."""
        if self.link is None:
            return [None] * len(requests)
        replies: list[Reply] = yield Ask(list(requests), patience_seconds)
        return replies

    def call(self, *request: Any, patience_seconds: float = 10.0) -> Script:
        """Send one request, and return the reply to it."""
        (reply,) = yield from self.ask(request, patience_seconds=patience_seconds)
        return reply

    def dial(self) -> Script:
        """Connect, if that is not so already, and say who this is."""
        while self.link is None:
            self.link = self.world.connect(self)
            if self.link is None:
                yield self.chance.uniform(0.05, 0.3)
                continue
            self.who = self._identity(self.link)
            options: dict[str, Any] = {"client": self.name}
            if self.is_detached:
                options["detached"] = True
            if self.instance is not None:
                options["instance"] = self.instance
            if self.keepalive is not None:
                options["keepalive"] = self.keepalive
            user = {"user": "admin", "password": ""}
            reply = yield from self.call("AUTH", user, options, patience_seconds=3.0)
            if reply is None or reply[0] != "OK":
                self.hang_up()
                yield self.chance.uniform(0.05, 0.6)
            elif self.keepalive is not None:
                self._ping_later()

    def _identity(self, link: Link) -> str:
        if self.is_detached:
            return f"admin~{self.instance or ''}"
        return f"admin/{self.instance}" if self.instance else f"#{link.conn.number}"

    def hang_up(self) -> None:
        """Close the link."""
        if self.link is not None:
            link, self.link = self.link, None
            link.leave()

    def among(self, weighted: Iterable[tuple[float, Any]]) -> Any:
        """Pick one of several, by weight."""
        pairs = list(weighted)
        at = self.chance.random() * sum(weight for weight, _ in pairs)
        for weight, value in pairs:
            at -= weight
            if at < 0:
                return value
        return pairs[-1][1]

    # What makes them run

    def _go(self, value: Any) -> None:
        try:
            wanted = self._script.send(value)
        except StopIteration:
            return
        if not isinstance(wanted, Ask):
            self.world.timeline.call_later(wanted, self._go, None)
            return
        assert self.link is not None
        self._is_asking = True
        self._replies = [None] * len(wanted.requests)
        ops = self.link.send(wanted.requests)
        self._open = {op: place for place, op in enumerate(ops)}
        self._deadline = self.world.timeline.call_later(wanted.patience_seconds, self._give_up)

    def _answered(self) -> None:
        if self._is_asking:
            self._is_asking = False
            self._open = {}
            if self._deadline is not None:
                self._deadline.cancel()
            self._go(self._replies)

    def _give_up(self) -> None:
        self.hang_up()
        self._answered()

    def heard(self, link: Link, op: Op, reply: tuple[Any, ...]) -> None:
        """Take a reply."""
        place = self._open.pop(op, None)
        if link is self.link and place is not None:
            self._replies[place] = reply
            if not self._open:
                self._answered()

    def lost(self, link: Link) -> None:
        """Hear that a link has ended."""
        if link is self.link:
            self.link = None
            self._answered()

    def _ping_later(self) -> None:
        assert self.keepalive is not None
        if self._ping is not None:
            self._ping.cancel()
        seconds = self.keepalive * self.chance.uniform(0.3, 0.9)
        self._ping = self.world.timeline.call_later(seconds, self._keep_alive)

    def _keep_alive(self) -> None:
        if self.link is not None:
            if not self.is_frozen:
                self.link.send([("PING",)])
            self._ping_later()
