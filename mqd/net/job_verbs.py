"""The verbs of job life: as those of `mqd.net.verbs`, for what is under a lease."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from mqd.engine.base import GiveBack, Terms
from mqd.net.replies import WORDS
from mqwire import causes
from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.levels import LEVELS
from mqwire.limits import (
    MAX_LEASE_SECONDS,
    MAX_MESSAGES_PER_FRAME,
    MAX_REQUEST_ID,
    MIN_LEASE_SECONDS,
)
from mqwire.requests import check_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mqd.engine.base import Claim
    from mqd.net.replies import Handler, Reply
    from mqd.net.session import Session
    from mqwire.frames import Frame

_REDRIVE_MOST = 1000
"""How many messages one REDRIVE moves that does not say."""

_HOLDERS_MOST = 1000
"""How many leases one HOLDERS shows that does not say."""


def is_plain_lease(frame: Frame) -> bool:
    """Tell whether a PULL is a sound one that asks for a lease and nothing else."""
    if len(frame) != 5:
        return False
    _, _, name, most, options = frame
    return (
        type(options) is dict
        and len(options) == 1
        and type(options.get("lease")) in (int, float)
        and MIN_LEASE_SECONDS <= options["lease"] <= MAX_LEASE_SECONDS
        and type(name) is str
        and type(most) is int
        and 0 < most <= MAX_MESSAGES_PER_FRAME
    )


def is_plain_claim(frame: Frame) -> bool:
    """Tell whether a frame is a sound ACK of a whole lease."""
    if len(frame) != 3:
        return False
    lease = frame[2]
    return (
        type(lease) is tuple
        and len(lease) == 2
        and type(lease[0]) is int
        and type(lease[1]) is int
        and 0 <= lease[0] <= MAX_REQUEST_ID
        and 0 <= lease[1] <= MAX_REQUEST_ID
    )


def lease_terms(session: Session, seconds: float) -> Terms:
    """Make the terms of a lease that a session asks for."""
    holder = session.identity.holder
    assert holder is not None, "only those who have authenticated may pull"
    return Terms(ceil(1000 * seconds), holder.owner)


def claim_of(session: Session, lease: tuple[int, int], options: Mapping[str, Any]) -> Claim:
    """Tell which lease, and what under it, a session says to hold."""
    holder = session.identity.holder
    assert holder is not None, "as in lease_terms"
    return (*lease, options.get("ids", ()), holder.who)


def ack(session: Session, request_id: int, frame: Frame) -> Reply:
    """Let leased messages be done."""
    if is_plain_claim(frame):
        (epoch, seq), holder = frame[2], session.identity.holder
        assert holder is not None, "as in lease_terms"
        count, level = session.engine.jobs.ack((epoch, seq, (), holder.who), None)
    else:
        (lease,), options = check_request(frame)
        asked, result = LEVELS.get(options.get("durability", "")), options.get("result")
        count, level = session.engine.jobs.ack(claim_of(session, lease, options), asked, result)
    session.rest_on(level)
    return (request_id, "OK", count, WORDS[level])


def nack(session: Session, request_id: int, frame: Frame) -> Reply:
    """Let leased messages be tried again."""
    (lease,), options = check_request(frame)
    return _give_back(session, request_id, lease, options, how_of_nack(options))


def how_of_nack(options: Mapping[str, Any]) -> GiveBack:
    """Tell how a NACK gives messages back; CONFLICTING_OPTIONS where that cannot be told."""
    ways = [way for way in ("delay", "hand_back", "lost") if options.get(way, False) is not False]
    if len(ways) > 1:
        raise RequestError(
            Code.CONFLICTING_OPTIONS,
            f"NACK: {' and '.join(ways)} exclude each other",
            {"verb": "NACK", "options": ways},
        )
    reason = options.get("reason", "")
    if options.get("hand_back"):
        return GiveBack(causes.HAND_BACK, reason)
    if options.get("lost"):
        return GiveBack(causes.GONE, reason)
    delay = options.get("delay")
    return GiveBack(causes.NACK, reason, None if delay is None else ceil(1000 * delay))


def how_of_reject(options: Mapping[str, Any]) -> GiveBack:
    """Tell how a REJECT gives messages back."""
    return GiveBack(causes.REJECT, options.get("reason", ""))


def reject(session: Session, request_id: int, frame: Frame) -> Reply:
    """Let leased messages be dead."""
    (lease,), options = check_request(frame)
    return _give_back(session, request_id, lease, options, how_of_reject(options))


def _give_back(
    session: Session,
    request_id: int,
    lease: tuple[int, int],
    options: Mapping[str, Any],
    how: GiveBack,
) -> Reply:
    session.use_up_share()  # each of its messages may need a step of its own
    level = LEVELS.get(options.get("durability", ""))
    count, level = session.engine.jobs.give_back(claim_of(session, lease, options), how, level)
    session.rest_on(level)
    return (request_id, "OK", count, WORDS[level])


def extend(session: Session, request_id: int, frame: Frame) -> Reply:
    """Let a lease, or messages of it, run on."""
    (lease, seconds), options = check_request(frame)
    return extend_by(session, request_id, lease, seconds, options)


def extend_by(
    session: Session,
    request_id: int,
    lease: tuple[int, int],
    seconds: float,
    options: Mapping[str, Any],
) -> Reply:
    """Let a lease, or messages of it, end so long from now."""
    if options:
        session.use_up_share()  # each of its messages may need a step of its own
    jobs, claim = session.engine.jobs, claim_of(session, lease, options)
    session.rest_on(jobs.extend(claim, ceil(1000 * seconds)))
    cancelled = jobs.cancelled(claim)
    return (request_id, "OK", cancelled) if cancelled else (request_id, "OK")


def redrive(session: Session, request_id: int, frame: Frame) -> Reply:
    """Let dead messages be tried again."""
    (name,), options = check_request(frame)
    session.use_up_share()
    most, ids = options.get("max", _REDRIVE_MOST), options.get("ids", ())
    cause, origin = options.get("cause"), options.get("origin")
    moved, level = session.engine.jobs.redrive(name, most, ids, cause, origin)
    session.rest_on(level)
    return (request_id, "OK", moved)


def holders(session: Session, request_id: int, frame: Frame) -> Reply:
    """Describe leases and who holds them."""
    (pattern,), options = check_request(frame)
    session.use_up_share()
    most = min(options.get("max", _HOLDERS_MOST), MAX_MESSAGES_PER_FRAME)
    return (request_id, "OK", session.engine.jobs.holders(pattern or "*", most))


JOB_HANDLERS: dict[str, Handler] = {
    "ACK": ack,
    "EXTEND": extend,
    "HOLDERS": holders,
    "NACK": nack,
    "REDRIVE": redrive,
    "REJECT": reject,
}
