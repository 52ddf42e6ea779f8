"""What happens at the server's door, in one order: the history that the checker judges.

A request is *there* when its last byte has been given to the server, and a reply *has left*
when the server has given its first to the network. What the network does to it after that is
the clients' trouble and no matter of promises. So a request that is there without a reply having
left is *in doubt* until its connection has ended, or its server: carried out between these two
moments, or never.

A `Moment` is a time and a number that counts everything, so that any two have an order.
Beside the door there is one look inside: a lease's record tells when exactly it was given.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable

Moment: TypeAlias = "tuple[float, int]"

NEVER: Moment = (float("inf"), 0)

LeaseId: TypeAlias = "tuple[int, int]"

WALL_SECONDS = 1_700_000_000.0
"""What the wall's clock shows when a run begins."""


class Conn:
    """One connection, as the server sees it."""

    __slots__ = ("client", "ended", "heard_seconds", "keepalive", "life", "number", "opened")

    def __init__(self, number: int, client: str, life: int, opened: Moment) -> None:
        self.number = number
        self.client = client
        self.life = life
        self.opened = opened
        self.ended: Moment = NEVER
        self.keepalive: float | None = None
        """What its client has promised, once that was taken."""
        self.heard_seconds = opened[0]


class Op:
    """One request, and its reply if one has left."""

    __slots__ = ("came", "conn", "left", "number", "options", "parts", "reply", "verb", "who")

    def __init__(self, number: int, conn: Conn, who: str, request: tuple[Any, ...]) -> None:
        self.number = number
        self.conn = conn
        self.who = who
        """The holder that the connection is, as far as its client knows."""
        self.verb: str = request[0]
        last = request[-1]
        has_options = len(request) > 1 and type(last) is dict and self.verb != "AUTH"
        self.options: dict[str, Any] = last if has_options else {}
        self.parts: tuple[Any, ...] = request[1:-1] if has_options else request[1:]
        if self.verb == "AUTH" and len(request) == 3:
            self.options, self.parts = last, request[1:2]
        self.came: Moment = NEVER
        self.left: Moment = NEVER
        self.reply: tuple[Any, ...] | None = None

    @property
    def is_there(self) -> bool:
        return self.came is not NEVER

    @property
    def is_ok(self) -> bool:
        return self.reply is not None and self.reply[0] == "OK"

    @property
    def error(self) -> str | None:
        """The code of the refusal."""
        return self.reply[1] if self.reply is not None and self.reply[0] == "ERR" else None

    @property
    def may_have_happened(self) -> bool:
        return self.is_there and self.error is None

    @property
    def end(self) -> Moment:
        """Its effect is not later than this."""
        return min(self.left, self.conn.ended)

    def __repr__(self) -> str:
        parts = " ".join(_shown(part) for part in self.parts)
        options = f" {self.options}" if self.options else ""
        return f"#{self.number} {self.conn.client}/{self.conn.number} {self.verb} {parts}{options}"


def _shown(value: Any) -> str:
    """Return a value for people, what is long in it cut."""
    if type(value) is tuple:
        return f"({', '.join(map(_shown, value))})"
    if type(value) is bytes:
        return repr(value[:40]) + ("..." if len(value) > 40 else "")
    return str(value)


class Crash(NamedTuple):
    """An end of the server."""

    at: Moment
    kind: str
    """`kill`, `power`, or `stop` for one in good order."""

    def undoes(self, level: Level) -> bool:
        """Tell whether what was promised at a level may be gone."""
        if self.kind == "stop":
            return False
        return level < (Level.SYNCED if self.kind == "power" else Level.WRITTEN)


class History:
    """All that has happened."""

    def __init__(self, now_seconds: Callable[[], float]) -> None:
        self.ops: list[Op] = []
        self.conns: list[Conn] = []
        self.crashes: list[Crash] = []
        self.starts: list[Moment] = []
        self.stalls: list[tuple[float, float]] = []
        """From when to when nobody did anything."""
        self.full: list[tuple[float, float]] = []
        """From when to when the disk was full."""
        self.grants: dict[LeaseId, Moment] = {}
        """When leases were given, of those whose records were seen."""
        self.counts: dict[str, int] = defaultdict(int)
        self.faults: list[str] = []
        """What the harness itself has seen to be wrong."""
        self.trace: Callable[[str], None] | None = None
        """Takes a line for everything that happens."""
        self.on_arrival: Callable[[Op], None] | None = None
        """Is told of requests that are there."""
        self._now_seconds = now_seconds
        self._moments = 0

    def moment(self) -> Moment:
        self._moments += 1
        return (self._now_seconds(), self._moments)

    def note(self, line: str) -> None:
        """Trace something."""
        if self.trace is not None:
            self.trace(f"{self._now_seconds():10.4f} {line}")

    def sent(self, conn: Conn, who: str, request: tuple[Any, ...]) -> Op:
        """A client has sent a request."""
        op = Op(len(self.ops) + 1, conn, who, request)
        self.ops.append(op)
        if self.trace is not None:
            self.note(f"{op!r}")
        return op

    def arrived(self, op: Op) -> None:
        """A request is there."""
        op.came = self.moment()
        if self.on_arrival is not None:
            self.on_arrival(op)
        if self.trace is not None:
            self.note(f"  #{op.number} is there")

    def replied(self, op: Op, reply: tuple[Any, ...]) -> None:
        """A reply has left."""
        if op.reply is not None:
            self.faults.append(f"two replies: {op!r}: {op.reply} and {reply}")
        op.reply = reply
        op.left = self.moment()
        if self.trace is not None:
            self.note(f"  #{op.number} -> {_shown(reply)}")
