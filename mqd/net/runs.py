"""Runs: plain requests for one message each that came in a row, carried out as one.

Who pipelines pushes or pulls of single messages sends hundreds of frames at a time, all alike.
One after the other, most of what each costs is the way to the queue and back: so a row of them
makes one command, one record and one pack, and its replies are those that each would have had.

A run holds only what cannot be told from the same requests one by one: the plainest form, one
queue, sound bodies. Where the engine refuses it as a whole, nothing has happened, and each of its
requests is answered by itself.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final, Protocol

from mqd.net.job_verbs import is_plain_claim, is_plain_lease, lease_terms
from mqd.net.replies import WORDS
from mqd.net.run_replies import encoded, pull_replies, push_replies
from mqwire.alike import Frames
from mqwire.errors import CodedError
from mqwire.limits import (
    DEFAULT_PRIORITY,
    MAX_DELAY_SECONDS,
    MAX_PRIORITY,
    MAX_REQUEST_ID,
    MIB,
)
from mqwire.packs import size_of_each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mqd.engine.base import Engine
    from mqd.net.session import Session
    from mqwire.frames import Frame
    from mqwire.levels import Level

LEAST_RUN: Final = 4
"""Requests that are worth it."""

RUN_PAUSE: Final = 32
"""Requests that are answered by themselves before it is looked for a run again, where there was
none: looking costs a tenth of answering."""

MOST_RUN: Final = 256
"""Requests after which others are let have their turn, should it be time for that."""

_MOST_BODY_BYTES: Final = 4096
"""Larger bodies cost more to join than what a run saves."""

_ROOM_BYTES: Final = MIB
"""Of the bodies that a run of pulls returns."""

_ORDER_OPTIONS: Final = frozenset({"priority", "delay"})
_PLAIN_LENGTH: Final = 5  # of a PUSH without options
_PULL_LENGTH: Final = 4  # of such a PULL

_NO_RUN: Final = (0, b"")


class Asker(Protocol):
    """Whose requests a plain run has: a session, or a crowd of them (`mqd.net.crowd`)."""

    engine: Engine
    max_body_bytes: int

    @property
    def check_pack(self) -> Callable[[bytes, int], None]:
        """What raises where a pack does not hold so many bodies."""

    def rest_on(self, level: Level) -> None:
        """Hold the replies back until a level is reached."""

    def show_messages(self) -> None:
        """Note that there are messages in the replies."""


def carry_out(session: Session, frames: list[Frame], start: int, end: int) -> tuple[int, bytes]:
    """Carry out the run that begins with a frame.

    Args:
        session: whose frames they are.
        frames: what has come.
        start: where the run would begin.
        end: where it ends at the latest.

    Returns:
        How many requests it has, and the frames of their replies; 0 where there is no run.
    """
    verb = frames[start][0] if frames[start] else None
    kind: Callable[[Session, Sequence[Frame]], tuple[int, bytes]]
    if verb == "PUSH":
        kind = _push
    elif verb == "PULL":
        kind = _pull if len(frames[start]) == _PULL_LENGTH else _lease
    elif verb == "ACK":
        kind = _ack
    else:
        return _NO_RUN
    if verb not in session.identity.handlers:
        return _NO_RUN
    end = min(end, start + MOST_RUN)
    if type(frames) is Frames and kind in _OF_ALIKE:
        alike = _OF_ALIKE[kind](session, frames[start : min(end, frames.alike_until(start))])
        if alike[0]:
            return alike
    return kind(session, frames[start:end])


def carry_out_plain(asker: Asker, frames: Sequence[Frame]) -> tuple[int, bytes]:
    """Carry out the run that plain requests begin with, each of which somebody else may make.

    Args:
        asker: they may all do what they ask for.
        frames: at least one; as long as each other, of one of the verbs PUSH and PULL.

    Returns:
        As `carry_out`.
    """
    kind = _push if frames[0][0] == "PUSH" else _pull
    if type(frames) is Frames and frames.alike_until(0) == len(frames):
        alike = _OF_ALIKE[kind](asker, frames)
        if alike[0]:
            return alike
    return kind(asker, frames)


def _push_alike(asker: Asker, frames: Sequence[Frame]) -> tuple[int, bytes]:
    """Carry out plain pushes that are alike: what one of them says, all of them say."""
    ids = _ids_of_alike(frames, _PLAIN_LENGTH)
    if not ids:
        return _NO_RUN
    _, _, name, count, pack = frames[0]
    is_plain = (
        type(name) is str
        and type(count) is int
        and count == 1
        and type(pack) is bytes
        and len(pack) <= min(_MOST_BODY_BYTES, asker.max_body_bytes)
    )
    packs = b"".join([frame[4] for frame in frames]) if is_plain else b""
    if not packs or size_of_each(packs) != len(pack):
        return _NO_RUN
    return _pushed(asker, name, ids, [packs], None)


def _pull_alike(asker: Asker, frames: Sequence[Frame]) -> tuple[int, bytes]:
    """Carry out plain pulls that are alike."""
    ids = _ids_of_alike(frames, _PULL_LENGTH)
    if not ids:
        return _NO_RUN
    _, _, name, most = frames[0]
    if type(name) is not str or type(most) is not int or most != 1 or not _has_some(asker, name):
        return _NO_RUN
    return _pulled(asker, name, ids)


def _ids_of_alike(frames: Sequence[Frame], length: int) -> list[int]:
    """Return the ids of requests that are alike; none where these are no run."""
    if len(frames) < LEAST_RUN or len(frames[0]) != length:
        return []
    ids = [frame[1] for frame in frames]
    return ids if min(ids) > 0 and max(ids) <= MAX_REQUEST_ID else []


def _push(asker: Asker, frames: Sequence[Frame]) -> tuple[int, bytes]:
    length = len(frames[0])
    if not _PLAIN_LENGTH <= length <= _PLAIN_LENGTH + 1:
        return _NO_RUN
    ids: list[int] = []
    packs: list[bytes] = []
    check, most_bytes = asker.check_pack, min(_MOST_BODY_BYTES, asker.max_body_bytes)
    name = None
    for frame in frames:
        if len(frame) != length:
            break
        if length == _PLAIN_LENGTH:
            verb, request_id, queue, count, pack = frame
        else:
            verb, request_id, queue, count, pack, _ = frame
        if name is None:
            name = queue
        if (
            verb != "PUSH"
            or queue != name
            or type(count) is not int
            or count != 1
            or type(pack) is not bytes
            or len(pack) > most_bytes
            or type(request_id) is not int
            or not 0 < request_id <= MAX_REQUEST_ID
        ):
            break
        try:
            check(pack, 1)
        except CodedError:
            break
        ids.append(request_id)
        packs.append(pack)
    if len(ids) < LEAST_RUN or type(name) is not str:
        return _NO_RUN
    orders = None
    if length != _PLAIN_LENGTH:
        orders = _orders([frame[5] for frame in frames[: len(ids)]])
        del ids[len(orders[0]) :], packs[len(orders[0]) :]
    return _pushed(asker, name, ids, packs, orders)


def _pushed(
    asker: Asker,
    name: str,
    ids: Sequence[int],
    packs: Sequence[bytes],
    orders: tuple[bytes, int] | None,
) -> tuple[int, bytes]:
    """Carry pushes out, as `carry_out`; no run where that is to be done one by one.

    Args:
        asker: whose they are.
        name: the queue.
        ids: of the requests.
        packs: their bodies.
        orders: as `_orders` returns it; None for plain pushes.
    """
    if len(ids) < LEAST_RUN:
        return _NO_RUN
    engine = asker.engine
    try:
        if orders is None:
            first_id, level = engine.push(name, len(ids), b"".join(packs), (), None)
        else:
            pushed = engine.push_each(name, packs, *orders)
            if pushed is None:
                return _NO_RUN
            first_id, level = pushed
    except CodedError:
        return _NO_RUN  # some may be carried out, or each is to be told why not
    asker.rest_on(level)
    return len(ids), push_replies(ids, first_id, WORDS[level])


def _orders(options: Sequence[Any]) -> tuple[bytes, int]:
    """Return the priorities of the pushes that come first, and the delay that all of them have.

    Args:
        options: of pushes. The first that asks for anything else, or not soundly, or for
            another delay, ends the row.

    Returns:
        A byte for each push, and milliseconds.
    """
    try:
        asked = [each["priority"] for each in options if len(each) == 1]  # by far the most
        if set(map(type, asked)) == {int} and len(asked) == len(options):
            return bytes(asked), 0
    except (KeyError, TypeError, ValueError):
        pass
    priorities, delay_ms = bytearray(), -1
    for each in options:
        order = _order_of(each)
        if order is None or (order[1] != delay_ms and priorities):
            break
        priorities.append(order[0])
        delay_ms = order[1]
    return bytes(priorities), delay_ms


def _order_of(options: Any) -> tuple[int, int] | None:
    """Return the priority and the delay, in milliseconds, that a push asks for.

    None where it asks for anything else, or not soundly.
    """
    if type(options) is not dict or not options.keys() <= _ORDER_OPTIONS:
        return None
    priority, seconds = options.get("priority", DEFAULT_PRIORITY), options.get("delay", 0)
    if type(priority) is not int or not 0 <= priority <= MAX_PRIORITY:
        return None
    if type(seconds) not in (int, float) or not 0 <= seconds <= MAX_DELAY_SECONDS:
        return None
    return priority, ceil(1000 * seconds) if seconds else 0


def _pull(asker: Asker, frames: Sequence[Frame]) -> tuple[int, bytes]:
    ids: list[int] = []
    name = frames[0][2] if len(frames[0]) == 4 else None
    if type(name) is not str or not _has_some(asker, name):
        return _NO_RUN
    for frame in frames:
        if len(frame) != 4:
            break
        verb, request_id, queue, most = frame
        if (
            verb != "PULL"
            or queue != name
            or type(most) is not int
            or most != 1
            or type(request_id) is not int
            or not 0 < request_id <= MAX_REQUEST_ID
        ):
            break
        ids.append(request_id)
    if len(ids) < LEAST_RUN:
        return _NO_RUN
    return _pulled(asker, name, ids)


def _pulled(asker: Asker, name: str, ids: Sequence[int]) -> tuple[int, bytes]:
    """Carry pulls of a queue that has some out, as `carry_out`."""
    try:
        found = asker.engine.pull_each(name, len(ids), _ROOM_BYTES)
    except CodedError:
        return _NO_RUN  # as in _pushed
    assert found is not None, "nothing has happened since it was asked"
    asker.show_messages()
    asker.rest_on(found.level)
    return len(found.bodies), pull_replies(ids, found)


def _lease(session: Session, frames: Sequence[Frame]) -> tuple[int, bytes]:
    """Carry out pulls that ask for the same lease of the same number of messages."""
    first = frames[0]
    if not is_plain_lease(first) or not _has_some(session, first[2]):
        return _NO_RUN
    _, _, name, most, options = first
    ids: list[int] = []
    for frame in frames:
        if len(frame) != len(first):
            break
        verb, request_id, queue, count, asked = frame
        if (
            verb != "PULL"
            or queue != name
            or type(count) is not int
            or count != most
            or asked != options
            or type(asked["lease"]) is bool
            or type(request_id) is not int
            or not 0 < request_id <= MAX_REQUEST_ID
        ):
            break
        ids.append(request_id)
    if len(ids) < LEAST_RUN:
        return _NO_RUN
    terms = lease_terms(session, options["lease"])
    try:
        found, level = session.engine.jobs.lease_each(name, most, terms, len(ids), _ROOM_BYTES)
    except CodedError:
        return _NO_RUN  # as in _pushed
    session.show_messages()
    session.outbox.leases += [results[3] for results in found]
    session.rest_on(level)
    replies = ((each, "OK", *results) for each, results in zip(ids, found, strict=False))
    return len(found), encoded(replies)


def _ack(session: Session, frames: Sequence[Frame]) -> tuple[int, bytes]:
    """Carry out acks of whole leases."""
    holder = session.identity.holder
    ids: list[int] = []
    claims: list[tuple[int, int]] = []
    for frame in frames:
        if not is_plain_claim(frame):
            break
        verb, request_id, claim = frame
        if verb != "ACK" or type(request_id) is not int or not 0 < request_id <= MAX_REQUEST_ID:
            break
        ids.append(request_id)
        claims.append(claim)
    if len(ids) < LEAST_RUN or holder is None:
        return _NO_RUN
    counts, level = session.engine.jobs.ack_each(claims, holder.who)
    session.rest_on(level)
    word = WORDS[level]
    replies = ((each, "OK", count, word) for each, count in zip(ids, counts, strict=False))
    return len(counts), encoded(replies)


_OF_ALIKE: Final = {_push: _push_alike, _pull: _pull_alike}
"""How runs of requests that are alike are carried out: at a fraction of looking at each."""


def _has_some(asker: Asker, name: str) -> bool:
    """Tell whether a queue has messages for a run; asked first, since counting a run costs more."""
    try:
        return asker.engine.may_pull_each(name)
    except CodedError:
        return False
