"""Operations that take more than one request, as generators of calls. Floor 1: no I/O.

A generator yields a call and is sent its result, or thrown its error; a client
drives it with its own way of calling. Where it yields a Pause the client waits in its own
way. So the loops exist once for both.
"""

from __future__ import annotations

import math
import random
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqclient import calls
from mqclient.batches import Messages
from mqclient.cutting import Portion, cut_portions
from mqclient.errors import (
    ArgumentError,
    AuthBusy,
    AuthTimeout,
    ConnectionLost,
    LeaseLost,
    MqError,
    NotLeased,
    RequestTimeout,
    ShuttingDown,
    TooManyConnections,
    TransportError,
)
from mqwire.limits import (
    DEFAULT_DEDUPE_SECONDS,
    FRAME_OVERHEAD_BYTES,
    MAX_HEADERS_BYTES,
    MAX_WAIT_SECONDS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from mqclient.calls import Call
    from mqclient.codecs import Encoder
    from mqclient.kept import KeptMessages
    from mqclient.messages import Source
    from mqclient.models import Limits

    StepsOf: TypeAlias = "Generator[Call | Pause | Within, Any, Any]"

_SHORTEST_WAIT_SECONDS: Final = 0.005
"""A wait that has less than this left is over."""


_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0


class Pause(NamedTuple):
    """A while in which nothing is sent.

    Args:
        seconds: how long.
        ends_on_drain: whether it is over as soon as the client drains.
    """

    seconds: float
    ends_on_drain: bool = False


class Within(NamedTuple):
    """A call that has a time of its own.

    Args:
        call: the call.
        seconds: how long it may take.
    """

    call: Call
    seconds: float


class Patience:
    """How long to wait before what did not get through is tried again: longer each time."""

    def __init__(self, *, ends_on_drain: bool = False) -> None:
        self._ends_on_drain = ends_on_drain
        self._seconds = _FIRST_PAUSE_SECONDS

    def pause(self, left: float = math.inf) -> Pause:
        """Return the next pause, `left` seconds at most."""
        # Half of it is left to chance: clients that lost one server spread out.
        seconds = self._seconds * random.uniform(0.5, 1.0)  # noqa: S311  no secret depends on it
        self._seconds = min(self._seconds * 2, _LONGEST_PAUSE_SECONDS)
        return Pause(min(seconds, left), self._ends_on_drain)


def is_passing(error: BaseException) -> bool:
    """Tell whether an error is about the connection, not about the request."""
    return isinstance(
        error,
        TransportError
        | RequestTimeout
        | ShuttingDown
        | TooManyConnections
        | AuthBusy
        | AuthTimeout,
    )


def settle(call: Call, count: int, ends_at: float) -> Generator[Call | Pause, Any, Any]:
    """Settle messages; where the reply is lost, find out what became of it.

    The call is sent again until it is answered. If the first one was carried out, the second
    one finds the messages no longer under the lease, which nobody else could have settled:
    that is success. Only where the lease has ended as a whole it may also have run out.

    Args:
        call: an ACK, NACK, REJECT or STEP.
        count: of how many messages; the result where the reply was lost.
        ends_at: when to stop trying, by the monotonic clock.

    Raises:
        LeaseLost: the lease was over before the first call; nothing has changed.
        ConnectionLost, RequestTimeout: with `in_doubt`, nobody can say.
    """
    doubt: MqError | None = None
    patience = Patience()
    while True:
        try:
            return (yield call)
        except NotLeased:
            if doubt is None:
                raise
            return count
        except MqError as error:
            if doubt is not None and _is_over(error):
                raise doubt from error
            if not is_passing(error):
                raise
            doubt = doubt or _doubt_of(error)
            left = ends_at - monotonic()
            if left <= 0:
                raise (doubt or error) from error.__cause__
        yield patience.pause(left)


def push_again(call: Call, lost: ConnectionLost, sent_at: float, ends_at: float) -> StepsOf:
    """Send a push with a key again, whose reply was lost; the server knows it by its key.

    Not every queue remembers keys, and none for ever: so the queue is asked first, and where
    it may have forgotten the key the push stays in doubt.

    Args:
        call: the push.
        lost: how its reply was lost.
        sent_at: when it was sent first, by the monotonic clock.
        ends_at: when to stop trying.

    Raises:
        ConnectionLost: `lost`, since nothing could be found out.
        ServerError: it was refused now, and so before: nothing was pushed.
    """
    call.is_keyed = False  # it is this that sends it again
    patience = Patience()
    while True:
        try:
            info = yield Within(calls.info(call.arguments[0]), _left(ends_at, lost))
            remembered = info.options.get("dedupe_seconds", DEFAULT_DEDUPE_SECONDS)
            # Until when it may arrive counts, not when it is sent.
            until = min(ends_at, sent_at + remembered)
            return (yield Within(call, _left(until, lost)))
        except MqError as error:
            if error is lost or not is_passing(error):
                raise
        yield patience.pause(_left(ends_at, lost))


def _left(ends_at: float, lost: ConnectionLost) -> float:
    left = ends_at - monotonic()
    if left <= 0:
        raise lost
    return left


def _is_over(error: MqError) -> bool:
    return isinstance(error, LeaseLost) and error.details.get("why") == "over"


def _doubt_of(error: MqError) -> MqError | None:
    is_doubtful = isinstance(error, ConnectionLost | RequestTimeout) and error.in_doubt
    return error if is_doubtful else None


def push_many(
    encoder: Encoder,
    limits: Limits,
    queue: str,
    bodies: Iterable[Any],
    headers: Mapping[str, Any] | Iterable[Mapping[str, Any] | None] | None,
    on_progress: Callable[[int], object] | None,
    more: MoreOfFrames,
) -> Generator[Call, int, list[int]]:
    """Push all bodies in as few frames as the limits allow, one after the other.

    Raises:
        MqError: the first error; its `pushed` has the ids of what was pushed before.
    """
    ids: list[int] = []
    try:
        for portion in cut_portions(encoder, limits, bodies, headers):
            first = yield push(queue, portion, more)
            ids.extend(range(first, first + portion.count))
            if on_progress is not None:
                on_progress(len(ids))
    except MqError as error:
        error.pushed = ids
        raise
    return ids


class MoreOfFrames:
    """What the frames of one `push_many` say beside their messages.

    Args:
        durability: what each of them waits for.
        options: as they stand on the wire.
        keys: a key for each frame; None for none.
    """

    def __init__(
        self, durability: str | None, options: Mapping[str, Any], keys: Iterator[str] | None
    ) -> None:
        self.durability = durability
        self._options = options
        self._keys = keys

    def next(self) -> Mapping[str, Any]:
        """Return the options of the next frame."""
        if self._keys is None:
            return self._options
        return {**self._options, "key": next(self._keys)}


def push(queue: str, one: Portion, more: MoreOfFrames) -> Call:
    """Return the call that pushes a portion. Result: the first id."""
    return calls.push(
        queue,
        one.count,
        one.pack,
        one.headers,
        one.largest_body_bytes,
        more.durability,
        more.next(),
    )


def pull_many(
    kept: KeptMessages,
    limits: Limits,
    source: Source,
    count: int,
    wait: float,
    durability: str | None,
) -> Generator[Call, tuple[Messages, int], Messages]:
    """Pull up to `count` messages: kept ones first, then the server's.

    Once there are messages, an error ends the pull without being raised, since
    they are gone from the server: the next call meets it. If the caller is
    interrupted they are kept for the next pull.
    """
    queue = source.queue
    ends_at = monotonic() + wait
    got = Messages()
    is_drained = not kept.expects(queue)
    while True:
        if taken := kept.take(source, count - len(got)):
            got = got.plus(Messages(taken))
        asked = min(count - len(got), limits.max_messages_per_frame)
        if not asked:
            return got
        # Messages of a pull that was given up may be on their way: see to them first.
        left = 0.0 if got or not is_drained else max(0.0, ends_at - monotonic())
        try:
            fresh, size = yield calls.pull(source, asked, min(left, MAX_WAIT_SECONDS), durability)
        except MqError:
            if not got:
                raise
            return got
        except BaseException:
            kept.keep(queue, got)
            raise
        got = got.plus(fresh)
        if fresh:
            if len(fresh) < asked and not _is_cut(size, limits):
                return got
        elif got or ends_at - monotonic() < _SHORTEST_WAIT_SECONDS:
            return got.plus(Messages(kept.take(source, count - len(got))))
        is_drained = True


def peek(
    limits: Limits, source: Source, count: int, skip: int, state: str | None = None
) -> Generator[Call, tuple[Messages, int], Messages]:
    """Look at up to `count` messages after the first `skip`, in as many frames as it takes."""
    got = Messages()
    while len(got) < count:
        asked = min(count - len(got), limits.max_messages_per_frame)
        fresh, size = yield calls.peek(source, asked, skip + len(got), state)
        got = got.plus(fresh)
        if not fresh or (len(fresh) < asked and not _is_cut(size, limits)):
            break
    return got


def check_count(count: int, what: str = "count", least: int = 1) -> None:
    """Return if `count` is an integer from `least` on.

    Raises:
        InterfaceError: it is not.
    """
    if type(count) is not int or count < least:
        raise ArgumentError(f"{what} must be an integer from {least} on, not {count!r}")


def _is_cut(pack_bytes: int, limits: Limits) -> bool:
    """Tell whether a reply may have ended because another body would not have fitted."""
    spare = FRAME_OVERHEAD_BYTES + MAX_HEADERS_BYTES + limits.max_body_bytes
    return pack_bytes + spare > limits.max_frame_bytes
