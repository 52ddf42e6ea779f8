"""What the floor above may ask of an engine.

Theory of operation. The server handles what a connection has sent in *turns*.
`begin_turn` reads the clock once for all requests of the turn. A command is
carried out and its result returned at once, or refused with a `CodedError`; only
a pull on an empty queue may wait, and then its `Wait` is told later. Nothing in
an engine awaits between judging a command and carrying it out, so there are no
locks.

What a command has changed is on its way to the disk when the turn has ended
(`end_turn`). Whoever holds results keeps them back until `has_reached` says yes to
what `needs` has said of them after that; `on_progress` is called when it is worth
asking again. An engine that has failed keeps no promises: `failure` tells why, and
nothing may leave any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from mqwire.errors import CodedError
from mqwire.levels import Level
from mqwire.limits import DEFAULT_PRIORITY

if TYPE_CHECKING:
    from mqd.engine.account_base import AccountEngine

Results: TypeAlias = tuple[Any, ...]
"""What stands behind "OK" in a reply, in the form of PROTOCOL.md."""

NO_MESSAGES: Results = ((), ())
"""The results of a PULL or PEEK that found nothing."""

HeaderRuns: TypeAlias = tuple[tuple[int, int, dict[str, Any], int], ...]
"""Runs `(offset, count, headers, encoded bytes of one message's headers)`, by offset."""

OnEnd: TypeAlias = Callable[[Results | CodedError, Level], None]
"""Takes what a wait has ended with, and the level that it is to reach before it leaves."""

Needs: TypeAlias = tuple[int, int]
"""How far the engine's records must have been written, and synced."""


Claim: TypeAlias = "tuple[int, int, tuple[int, ...], str]"
"""A lease that somebody says to hold: its epoch and number, runs of ids under it (none: all of
them), and who it is."""


class Terms(NamedTuple):
    """What a pull with a lease asks for beside messages."""

    lease_ms: int
    """How long the lease is to run."""
    owner: dict[str, Any]
    """Who will hold it: `instance` is who, the rest describes."""


@dataclass(frozen=True)
class GiveBack:
    """How leased messages go on otherwise than by being done.

    Args:
        cause: NACK, HAND_BACK, REJECT or GONE of `mqwire.causes`.
        reason: for people.
        delay_ms: of a nack: how long they are kept back; None for the queue's back-off.
    """

    cause: str
    reason: str = ""
    delay_ms: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that was made.

    Args:
        number: counts up from 1.
        records: how many are in it.
        size_bytes: of its file.
        seconds: how long it took.
        path: its file; it may go when the next one is there.
    """

    number: int
    records: int
    size_bytes: int
    seconds: float
    path: str


class Wait(Protocol):
    """A pull that waits. It ends once: by messages, by time, by `wake`, or by an error."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was forgotten."""


class PushOptions(NamedTuple):
    """What a push may ask for beside being appended."""

    key: str | None = None
    """By which it is known if it comes again."""
    priority: int = DEFAULT_PRIORITY
    """0 to 255; higher first."""
    delay_ms: int = 0
    """How long the messages are kept back."""
    not_before_ms: int = 0
    """Until when they are kept back, in milliseconds since 1970-01-01 UTC."""
    ttl_ms: int = 0
    """How long they may wait; 0 for as long as the queue lets them."""
    max_attempts: int = 0
    """Their budget of failures; 0 for the queue's."""
    max_losses: int = 0
    """Their budget of lost workers; 0 for the queue's."""


NO_OPTIONS = PushOptions()
"""Those of a push that asks for nothing but to be appended."""


@dataclass(slots=True)
class Settle:
    """A part of a step: what becomes of leased messages."""

    claim: Claim
    how: GiveBack | None = None
    """None: they are done."""
    result: bytes | str | None = None
    """What came of each of those that are done."""


@dataclass(slots=True)
class Append:
    """A part of a step: a push."""

    queue: str
    count: int
    pack: bytes
    headers: HeaderRuns = ()
    options: PushOptions = NO_OPTIONS


class Each(NamedTuple):
    """What pulls of one message each have returned."""

    ids: Sequence[int]
    bodies: Sequence[bytes]
    """Their encodings."""
    columns: dict[int, dict[str, Any]]
    """What else there is to tell of a message, by its place among these; most have nothing."""
    level: Level
    """What all of it is to reach before it leaves."""


class StepDone(NamedTuple):
    """What a step has come to."""

    results: tuple[int, ...]
    """For each part how many messages it has settled, or the first id of its push."""
    repeats: tuple[int, ...]
    """Which parts are pushes that had been made before, and so have changed nothing."""
    is_repeat: bool
    """Whether the whole step had been made before, and so nothing has changed."""


class JobEngine(Protocol):
    """The part of an engine that knows leases. LEASE_LOST and NOT_LEASED refuse a claim."""

    def lease(
        self, name: str, most: int, terms: Terms, level: Level | None
    ) -> tuple[Results, Level]:
        """Put the oldest messages under a lease and return them with it, or `NO_MESSAGES`."""

    def lease_each(
        self, name: str, most: int, terms: Terms, times: int, room_bytes: int
    ) -> tuple[list[Results], Level]:
        """Give leases as so many calls of `lease` would, at the queue's level.

        Args:
            name: the queue.
            most: how many messages each lease has at most.
            terms: of all of them.
            times: how many leases at most.
            room_bytes: how large all that is returned may be, but for the last lease.

        Returns:
            The results of the first ones; of none where calls one by one might come to
            something else. And the level.
        """

    def ack_each(self, claims: Sequence[tuple[int, int]], who: str) -> tuple[list[int], Level]:
        """Let whole leases be done as so many calls of `ack` would, at the queue's level.

        Returns:
            How many messages each of the first ones had. It ends before the first that would be
            refused, or where calls one by one might come to something else.
        """

    def ack(
        self, claim: Claim, level: Level | None, result: bytes | str | None = None
    ) -> tuple[int, Level]:
        """Let leased messages be done; returns how many.

        `result` is what came of each of them, for queues that keep that.
        """

    def give_back(self, claim: Claim, how: GiveBack, level: Level | None) -> tuple[int, Level]:
        """Let leased messages go on otherwise; returns how many."""

    def extend(self, claim: Claim, lease_ms: int) -> Level:
        """Let a lease, or messages of it, end so long from now."""

    def cancelled(self, claim: Claim) -> tuple[int, ...]:
        """Tell which messages of a lease were cancelled, as runs of ids."""

    def redrive(
        self,
        name: str,
        most: int,
        ids: tuple[int, ...],
        cause: str | None = None,
        origin: str | None = None,
    ) -> tuple[int, Level]:
        """Let dead messages be tried again; returns how many.

        No ids stand for all; of these, those whose last delivery ended with `cause`, and
        which came from the queue `origin`, where that is said.
        """

    def purge_dead(self, name: str) -> tuple[int, Level]:
        """Remove the dead messages of a queue; returns how many."""

    def holders(self, pattern: str, most: int) -> list[dict[str, Any]]:
        """Describe leases on the queues whose names fit, the oldest first.

        They are `most` at most, and `MAX_HOLDERS_ENTRIES`.
        """

    def newest_seq(self) -> int:
        """Return the number of the newest lease that there was."""

    def holds(self, who: str, newest_seq: int | None = None) -> bool:
        """Tell whether a holder has any lease, or any that is no newer than this.

        `newest_seq` is what the method of that name has returned in this run.
        """

    def arrive(self, who: str) -> None:
        """Note that a holder has one more connection."""

    def leave(self, who: str, *, has_grace: bool, is_detached: bool = False) -> None:
        """Note that a holder has one connection less.

        With the last one it loses its leases: at once, or after its grace. One that is
        detached keeps them to their time.
        """


class Event(NamedTuple):
    """One thing that has happened."""

    kind: str
    """One of `mqwire.verbs.EVENTS`."""
    name: str
    """The queue's."""
    ids: tuple[int, ...]
    """Of the messages that it has happened to, as runs; empty where it is about none."""
    more: dict[str, Any]
    """What else there is to say; small."""
    at_ms: int
    """When."""
    level: Level
    """What it is to reach before it is told."""


class Listener(Protocol):
    """One who wants to know what happens."""

    def wants(self, name: str) -> bool:
        """Tell whether events of a queue are of interest; the same for as long as it listens."""

    def note(self, event: Event) -> None:
        """Take an event of a queue that is of interest. The state may be as it was before it."""

    def tell(self) -> None:
        """The turn is about to end: pass on what was noted."""


class ViewEngine(Protocol):
    """The part of an engine that tells where messages are. QUEUE_NOT_FOUND refuses a name."""

    @property
    def has_listeners(self) -> bool:
        """Whether `tell` has something to do."""

    def tell(self) -> None:
        """Tell those who wait what the turn has changed; it is not ended yet."""

    def listen(self, listener: Listener) -> None:
        """Let somebody listen to what happens from now on."""

    def stop_listening(self, listener: Listener) -> None:
        """Let somebody listen no longer."""

    def status(self, name: str, ids: tuple[int, ...]) -> tuple[Results, Level]:
        """Tell where messages are: of the first ones, where not all have room in a reply."""

    def wait(self, name: str, ids: tuple[int, ...], seconds: float, on_end: OnEnd) -> Wait | None:
        """Wait until messages have come to an end, and tell where they are then.

        None if they all have already: then there is nothing to wait for.
        """

    def prepare_cancel(self, name: str, ids: tuple[int, ...]) -> Iterator[None]:
        """Find out what `cancel` needs to know, a slice between one turn and the next.

        Nothing changes. Where it was done to its end in the same turn, `cancel` is quick,
        however far apart on the disk the messages lie.
        """

    def cancel(
        self, name: str, ids: tuple[int, ...], level: Level | None
    ) -> tuple[tuple[int, int], Level]:
        """Cancel messages; returns how many were removed, and how many leased ones marked."""


class Engine(Protocol):
    """Carries commands out. Names have been checked; numbers are within their bounds.

    A command that takes a `level` goes by the queue's where it is None, and returns with
    its result the level that this is to reach before it leaves.
    """

    level: Level
    """The level of commands and queues that name none."""

    epoch: int
    """Which start of the state this is: part of the name of each lease."""

    pushed: int
    """Messages that were pushed since the start."""

    @property
    def pulled(self) -> int:
        """Messages that were pulled since the start, those under a lease included."""

    @property
    def jobs(self) -> JobEngine:
        """What it does with leases."""

    @property
    def accounts(self) -> AccountEngine:
        """What it does with users and tokens."""

    @property
    def views(self) -> ViewEngine:
        """What it tells of messages."""

    on_progress: Callable[[], None]
    """Called in the event loop when records have come further, or the engine has failed."""

    @property
    def failure(self) -> Exception | None:
        """Why nothing can be promised any more; None while all is well."""

    @property
    def is_behind(self) -> bool:
        """Whether so much is on its way to the disk that clients have to wait."""

    def begin_turn(self) -> None:
        """Read the clock for the requests that follow."""

    def end_turn(self, level: Level, *, is_alone: bool = False) -> None:
        """Hand on what the turn has changed.

        Args:
            level: the highest that is waited for.
            is_alone: whether nobody waits for anything else: blocking for a moment harms
                nobody.
        """

    def needs(self, level: Level, *, shows_messages: bool) -> Needs:
        """Tell what the results of the turn that has ended rest on.

        Args:
            level: the highest of theirs.
            shows_messages: whether there are messages among them: their push has to have
                reached its own level, too.
        """

    def has_reached(self, needs: Needs) -> bool:
        """Tell whether results that need this may leave."""

    def create(
        self, name: str, options: Mapping[str, Any], *, if_missing: bool
    ) -> tuple[dict[str, Any], Level]:
        """Create a queue and return its info.

        QUEUE_EXISTS, TOO_MANY_QUEUES, OUT_OF_RANGE, NO_JOURNAL, STORAGE_FULL.
        """

    def delete(self, name: str) -> tuple[int, Level]:
        """Delete a queue; those who wait get QUEUE_NOT_FOUND. Returns messages removed."""

    def purge(self, name: str) -> tuple[int, Level]:
        """Remove the messages of a queue. Returns how many."""

    def pause(self, name: str) -> Level:
        """Let no message of a queue be delivered; it takes pushes as before."""

    def resume(self, name: str) -> Level:
        """Let messages of a queue be delivered again, and serve those who wait."""

    def info(self, name: str) -> dict[str, Any]:
        """Describe a queue."""

    def infos(self, pattern: str) -> list[dict[str, Any]]:
        """Describe the queues whose names fit, sorted by name."""

    def push(
        self, name: str, count: int, pack: bytes, headers: HeaderRuns, level: Level | None
    ) -> tuple[int, Level]:
        """Append messages and serve those who wait. Returns the first id.

        QUEUE_FULL, NO_JOURNAL, STORAGE_FULL.
        """

    def push_with(self, part: Append, level: Level | None) -> tuple[int, bool, Level]:
        """Append messages with options. Returns the first id, and whether it is a repeat.

        As `push`, and KEY_REUSED.
        """

    def step(
        self, parts: Sequence[Settle | Append], key: str | None, level: Level | None
    ) -> tuple[StepDone, Level]:
        """Settle leases and push messages, all or nothing.

        What refuses a part refuses the step, with the part's index in the details as `part`.
        """

    def pull(self, name: str, most: int, level: Level | None) -> tuple[Results, Level]:
        """Remove the oldest messages and return them, or `NO_MESSAGES`.

        NO_JOURNAL, STORAGE_FULL.
        """

    def push_each(
        self, name: str, bodies: Sequence[bytes], priorities: bytes, delay_ms: int
    ) -> tuple[int, Level] | None:
        """Append messages as pushes of one message each would, at the queue's level.

        Args:
            name: the queue.
            bodies: their encodings, checked.
            priorities: a byte for each.
            delay_ms: how long all of them are kept back.

        Returns:
            The first id and the level; None, and nothing has happened, where pushes one by one
            might come to something else. QUEUE_FULL and STORAGE_FULL are about all of them.
        """

    def may_pull_each(self, name: str) -> bool:
        """Tell whether `pull_each` would return something now; it costs little to ask."""

    def pull_each(self, name: str, most: int, room_bytes: int) -> Each | None:
        """Remove messages as pulls of one message each would, at the queue's level.

        Args:
            name: the queue.
            most: how many pulls, each of which finds something to return.
            room_bytes: how large all that is returned may be, but for its last message.

        Returns:
            What was taken, one message at least. None, and nothing has happened, where a `pull`
            might come to something else. INTERNAL where what was put aside cannot be had.
        """

    def wait(
        self,
        name: str,
        most: int,
        seconds: float,
        level: Level | None,
        terms: Terms | None,
        on_end: OnEnd,
    ) -> Wait:
        """Wait for messages of a queue that is empty now; `on_end` is called once.

        They are removed, or come under a lease where there are `terms`.
        """

    def wake(self, wait: Wait) -> bool:
        """End a wait now, as if its time had run out. False if it was over already."""

    def forget(self, wait: Wait) -> None:
        """Drop a wait whose client has gone: nothing is delivered to it any more."""

    def peek(self, name: str, skip: int, most: int, state: str = "ready") -> Results:
        """Return messages that are in a state, without removing them."""

    def peek_one(self, name: str, message_id: int, state: str | None = None) -> Results:
        """Return one message, in whichever state it is, or in this one alone."""

    async def snapshot(self) -> Snapshot:
        """Make a snapshot of the state, all that was done before included.

        Raises:
            CodedError: NO_JOURNAL or SNAPSHOT_FAILED.
        """

    def stats(self) -> dict[str, Any]:
        """Return the engine's parts of STATS: `queues`, `pages`, `journal`, and others."""

    def next_deadline_ms(self) -> int | None:
        """When `expire` has to be called next, on the engine's clock; None for never."""

    def expire(self) -> None:
        """Carry out what time has brought by the present turn's clock, or a slice of it."""
