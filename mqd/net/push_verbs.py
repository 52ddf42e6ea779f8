"""The verbs that append messages: PUSH with options, and STEP."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from mqd.core.errors import key_reused
from mqd.engine.base import Append, PushOptions, Settle
from mqd.net.headers import header_runs
from mqd.net.job_verbs import claim_of, how_of_nack, how_of_reject
from mqd.net.replies import WORDS
from mqwire.codes import Code
from mqwire.errors import CodedError, RequestError
from mqwire.levels import LEVELS
from mqwire.limits import DEFAULT_PRIORITY, MAX_KEY_CHARS, MAX_MESSAGES_PER_FRAME
from mqwire.packs import Cutter, iter_sizes
from mqwire.requests import check_options, check_request, check_step_part
from mqwire.verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mqd.net.replies import Handler, Reply
    from mqd.net.session import Session
    from mqwire.frames import Frame

_PARTS_PER_TURN = 8
"""A step of more parts is the last of its connection's turn."""

_PUSH = VERBS["PUSH"]
_PLAIN_OPTIONS = frozenset({"headers", "durability"})
_TIMELESS_OPTIONS = _PLAIN_OPTIONS | {"key", "priority"}


def push(session: Session, request_id: int, frame: Frame) -> Reply:
    """Append messages to a queue, all or none."""
    headers = level = None
    length = len(frame)
    if length == 5 or (length == 6 and type(frame[5]) is dict):
        name, count, pack = frame[2:5]
        if (
            type(name) is not str
            or type(count) is not int
            or type(pack) is not bytes
            or not 0 < count <= MAX_MESSAGES_PER_FRAME
        ):
            check_request(frame)
        if length == 6:
            options = frame[5]
            key = options.get("key")
            if len(options) == 1 and type(key) is str and 0 < len(key) <= MAX_KEY_CHARS:
                part = Append(name, count, pack, (), PushOptions(key))  # what our client sends
                return _push_with(session, request_id, part)
            check_options(_PUSH, options)
            if not options.keys() <= _PLAIN_OPTIONS:
                part = _append(name, count, pack, options)
                return _push_with(session, request_id, part, options)
            headers = options.get("headers")
            level = LEVELS.get(options.get("durability", ""))
    else:
        check_request(frame)
        raise AssertionError("a PUSH that is sound has five elements, or six")
    _check_pack(session, pack, count)
    runs = header_runs(headers, count) if headers is not None else ()
    first_id, level = session.engine.push(name, count, pack, runs, level)
    outbox = session.outbox
    if level > outbox.level:  # noqa: PLR1730  half the time of max()
        outbox.level = level
    return (request_id, "OK", first_id, WORDS[level])


def _push_with(
    session: Session, request_id: int, part: Append, options: Mapping[str, Any] | None = None
) -> Reply:
    _check_pack(session, part.pack, part.count)
    asked = LEVELS.get(options.get("durability", "")) if options else None
    first_id, is_repeat, level = session.engine.push_with(part, asked)
    outbox = session.outbox
    if level > outbox.level:  # noqa: PLR1730  half the time of max()
        outbox.level = level
    if is_repeat:
        return (request_id, "OK", first_id, WORDS[level], True)
    return (request_id, "OK", first_id, WORDS[level])


def _append(name: str, count: int, pack: bytes, options: Mapping[str, Any]) -> Append:
    headers = options.get("headers")
    runs = header_runs(headers, count) if headers is not None else ()
    return Append(name, count, pack, runs, _options(options))


def _options(options: Mapping[str, Any]) -> PushOptions:
    get = options.get
    if options.keys() <= _TIMELESS_OPTIONS:
        return PushOptions(get("key"), get("priority", DEFAULT_PRIORITY))
    if "delay" in options and "not_before" in options:
        raise RequestError(
            Code.CONFLICTING_OPTIONS,
            "PUSH: delay and not_before exclude each other",
            {"verb": "PUSH", "options": ["delay", "not_before"]},
        )
    return PushOptions(
        get("key"),
        get("priority", DEFAULT_PRIORITY),
        ceil(1000 * get("delay", 0)),
        ceil(1000 * get("not_before", 0)),
        ceil(1000 * get("ttl", 0)),
        get("max_attempts", 0),
        get("max_worker_losses", 0),
    )


def _check_pack(session: Session, pack: bytes, count: int) -> None:
    session.check_pack(pack, count)
    if len(pack) > session.max_body_bytes:
        _check_bodies(pack, session.max_body_bytes)


def _check_bodies(pack: bytes, limit: int) -> None:
    largest = max(iter_sizes(pack))
    if largest > limit:
        raise RequestError(
            Code.BODY_TOO_LARGE,
            f"a body of {largest} bytes is over the bound of {limit}; "
            "keep large data in a file and push its path",
            {"limit": limit, "asked": largest},
        )


def step(session: Session, request_id: int, frame: Frame) -> Reply:
    """Settle leases and push messages, all or none."""
    (raw_parts, pack), options = check_request(frame)
    if len(raw_parts) > _PARTS_PER_TURN:
        session.use_up_share()
    parts = _parts(session, raw_parts, pack or b"")
    key = options.get("key")
    if key is not None:
        assert session.identity.user is not None, "only those who have authenticated make steps"
        key = f"{session.identity.user}/{key}"  # one user's keys are not another's
    asked = LEVELS.get(options.get("durability", ""))
    try:
        done, level = session.engine.step(parts, key, asked)
    except CodedError as error:
        if error.code is Code.KEY_REUSED and "part" not in error.details:
            raise key_reused(options["key"]) from error  # as the client calls it
        raise
    session.rest_on(level)
    reply = (request_id, "OK", done.results, WORDS[level])
    if done.is_repeat or done.repeats:
        return (*reply, done.is_repeat, done.repeats)
    return reply


def _parts(session: Session, raw_parts: tuple[Any, ...], pack: bytes) -> list[Settle | Append]:
    """Check the parts of a step, and cut its pack into those of its pushes."""
    checked = [_in_part(index, check_step_part, raw) for index, raw in enumerate(raw_parts)]
    total = sum(arguments[1] for verb, arguments, _ in checked if verb == "PUSH")
    if total > MAX_MESSAGES_PER_FRAME:
        raise RequestError(
            Code.TOO_MANY_MESSAGES,
            f"STEP: its pushes may have {MAX_MESSAGES_PER_FRAME} messages together, not {total}",
            {"limit": MAX_MESSAGES_PER_FRAME, "asked": total},
        )
    if total or pack:
        _check_pack(session, pack, total)
    cutter = Cutter(pack)
    return [_in_part(index, _part, session, each, cutter) for index, each in enumerate(checked)]


def _in_part(index: int, check: Callable[..., Any], *arguments: Any) -> Any:
    """Call what may refuse a part of a step, and say which part that was."""
    try:
        return check(*arguments)
    except CodedError as error:
        error.details["part"] = index
        raise


def _part(
    session: Session, part: tuple[str, list[Any], dict[str, Any]], cutter: Cutter
) -> Settle | Append:
    verb, arguments, options = part
    if verb == "PUSH":
        name, count = arguments
        _, piece = cutter.take(count, 0, count)
        return _append(name, count, piece, options)
    claim = claim_of(session, arguments[0], options)
    if verb == "NACK":
        return Settle(claim, how_of_nack(options))
    if verb == "REJECT":
        return Settle(claim, how_of_reject(options))
    return Settle(claim, result=options.get("result"))


PUSH_HANDLERS: dict[str, Handler] = {"PUSH": push, "STEP": step}
