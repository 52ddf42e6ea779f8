"""The verbs: what a request is turned into. Parse, ask the engine, reply; no rules here.

A handler takes the session, the request's id and the whole frame, and returns the
reply, or None where the reply comes later. It raises a `CodedError` to refuse. The hot
verbs recognise their plainest form by themselves and leave everything else to
`check_request`, which finds the right words for what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqd.core.access import ALLOWED, PUBLIC_VERBS, Role
from mqd.engine.base import NO_MESSAGES
from mqd.net.account_verbs import ACCOUNT_HANDLERS, check_issue
from mqd.net.backups import begin_backup, describe, read_backup
from mqd.net.finishing import FINISHING_HANDLERS, ending
from mqd.net.job_verbs import JOB_HANDLERS, is_plain_lease, lease_terms
from mqd.net.log_verbs import LOG_HANDLERS
from mqd.net.push_verbs import PUSH_HANDLERS
from mqd.net.view_verbs import VIEW_HANDLERS
from mqwire import PROTOCOL_VERSION, SUPPORTED_VERSIONS
from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.levels import LEVELS
from mqwire.limits import MAX_MESSAGES_PER_FRAME, MAX_TEXT_CHARS
from mqwire.requests import check_envelope, check_request

if TYPE_CHECKING:
    from mqd.engine.base import Results
    from mqd.net.replies import Handler, Reply
    from mqd.net.session import Session
    from mqwire.frames import Frame


def auth(session: Session, request_id: int, frame: Frame) -> None:
    """Start to find out who the client is; the session replies when that is known."""
    (credentials,), options = check_request(frame)
    version = options.get("version", PROTOCOL_VERSION)
    if version not in SUPPORTED_VERSIONS:
        spoken = ", ".join(map(str, SUPPORTED_VERSIONS))
        raise RequestError(
            Code.UNSUPPORTED_VERSION,
            f"this server speaks protocol version {spoken}, not {version}",
            {"asked": version, "supported": list(SUPPORTED_VERSIONS)},
        )
    if "issue" in options:
        check_issue(options["issue"])
    session.identity.authenticate(request_id, _check_credentials(credentials), options)


def _check_credentials(credentials: dict[str, Any]) -> dict[str, str]:
    """Return credentials of a known form; what is wrong is told without any value."""
    is_known_form = set(credentials) in ({"user", "password"}, {"token"})
    if not is_known_form or any(type(value) is not str for value in credentials.values()):
        expected = '{"user": text, "password": text} or {"token": text}'
        raise RequestError(
            Code.WRONG_TYPE,
            f"AUTH: credentials must be {expected}",
            {"verb": "AUTH", "field": "credentials", "expected": expected},
        )
    for name, value in credentials.items():
        if len(value) > MAX_TEXT_CHARS:
            raise RequestError(
                Code.OUT_OF_RANGE,
                f"AUTH: {name} may have {MAX_TEXT_CHARS} characters at most",
                {"verb": "AUTH", "field": name, "high": MAX_TEXT_CHARS, "got": len(value)},
            )
    return credentials


def ping(_session: Session, request_id: int, frame: Frame) -> Reply:
    """Answer."""
    if len(frame) != 2:
        check_request(frame)
    return (request_id, "OK")


def create(session: Session, request_id: int, frame: Frame) -> Reply:
    """Create a queue."""
    (name,), options = check_request(frame)
    if_missing = options.pop("if_missing", False)
    info, level = session.engine.create(name, options, if_missing=if_missing)
    session.rest_on(level)
    return (request_id, "OK", info)


def delete(session: Session, request_id: int, frame: Frame) -> Reply:
    """Delete a queue with its messages."""
    (name,), _ = check_request(frame)
    removed, level = session.engine.delete(name)
    session.rest_on(level)
    return (request_id, "OK", removed)


def purge(session: Session, request_id: int, frame: Frame) -> Reply:
    """Remove messages of a queue."""
    (name,), options = check_request(frame)
    is_of_dead = options.get("state") == "dead"
    remove = session.engine.jobs.purge_dead if is_of_dead else session.engine.purge
    removed, level = remove(name)
    session.rest_on(level)
    return (request_id, "OK", removed)


def pause(session: Session, request_id: int, frame: Frame) -> Reply:
    """Let no message of a queue be delivered."""
    (name,), _ = check_request(frame)
    session.rest_on(session.engine.pause(name))
    return (request_id, "OK")


def resume(session: Session, request_id: int, frame: Frame) -> Reply:
    """Let messages of a queue be delivered again."""
    (name,), _ = check_request(frame)
    session.rest_on(session.engine.resume(name))
    return (request_id, "OK")


def list_queues(session: Session, request_id: int, frame: Frame) -> Reply:
    """Describe the queues whose names fit a pattern."""
    (pattern,), _ = check_request(frame)
    session.use_up_share()
    return (request_id, "OK", session.engine.infos(pattern or "*"))


def info(session: Session, request_id: int, frame: Frame) -> Reply:
    """Describe one queue."""
    (name,), _ = check_request(frame)
    return (request_id, "OK", session.engine.info(name))


def pull(session: Session, request_id: int, frame: Frame) -> Reply | None:
    """Remove the oldest messages and return them; wait for some if there are none."""
    wait_seconds, level, terms = 0.0, None, None
    if len(frame) == 4:
        _, _, name, most = frame
        if type(name) is not str or type(most) is not int or not 0 < most <= MAX_MESSAGES_PER_FRAME:
            check_request(frame)
    elif is_plain_lease(frame):
        _, _, name, most, options = frame
        terms = lease_terms(session, options["lease"])
    else:
        (name, most), options = check_request(frame)
        wait_seconds = options.get("wait", 0.0)
        level = LEVELS.get(options.get("durability", ""))
        if "lease" in options:
            terms = lease_terms(session, options["lease"])
    if terms is None:
        results, reached = session.engine.pull(name, most, level)
    else:
        results, reached = session.engine.jobs.lease(name, most, terms, level)
    if results is NO_MESSAGES:
        if wait_seconds:
            session.pending.wait(request_id, (name, most), wait_seconds, level, terms)
            return None
    else:
        outbox = session.outbox
        outbox.shows_messages = True
        if terms is not None:
            outbox.leases.append(results[3])
        if reached > outbox.level:  # noqa: PLR1730  as above
            outbox.level = reached
    return (request_id, "OK", *results)


def wake(session: Session, request_id: int, frame: Frame) -> Reply:
    """End one of the session's own waits."""
    (waiting_id,), _ = check_request(frame)
    return (request_id, "OK", session.pending.wake(waiting_id))


def peek(session: Session, request_id: int, frame: Frame) -> Reply:
    """Return messages without removing them."""
    (name, most), options = check_request(frame)
    session.use_up_share()
    session.outbox.shows_messages = True
    skip, state, message_id = options.get("skip", 0), options.get("state"), options.get("id")
    if message_id is None:
        results = session.engine.peek(name, skip, most, state or "ready")
    else:
        results = session.engine.peek_one(name, message_id, state)
        if skip:  # it passes over the only one
            results = NO_MESSAGES
    return (request_id, "OK", *results)


def stats(session: Session, request_id: int, frame: Frame) -> Reply:
    """Show the server's figures."""
    check_request(frame)
    session.use_up_share()
    return (request_id, "OK", session.server_stats(has_places=session.identity.role is Role.ADMIN))


def snapshot(session: Session, request_id: int, frame: Frame) -> None:
    """Make a snapshot; the reply comes when it is there."""
    check_request(frame)
    session.pending.start(request_id, _snapshot(session))


async def _snapshot(session: Session) -> Results:
    return (describe(await session.engine.snapshot()),)


def backup(session: Session, request_id: int, frame: Frame) -> None:
    """Begin a backup, or return a piece of it."""
    (offset,), _ = check_request(frame)
    results = begin_backup(session) if offset is None else read_backup(session, offset)
    session.pending.start(request_id, results)


HANDLERS: dict[str, Handler] = {
    **ACCOUNT_HANDLERS,
    **JOB_HANDLERS,
    **LOG_HANDLERS,
    **PUSH_HANDLERS,
    **VIEW_HANDLERS,
    "AUTH": auth,
    "BACKUP": backup,
    "CREATE": create,
    "DELETE": delete,
    "INFO": info,
    "LIST": list_queues,
    "PAUSE": pause,
    "PEEK": peek,
    "PING": ping,
    "PULL": pull,
    "PURGE": purge,
    "RESUME": resume,
    "SNAPSHOT": snapshot,
    "STATS": stats,
    "WAKE": wake,
}


def _handlers_for(role: Role | None) -> dict[str, Handler]:
    allowed = PUBLIC_VERBS | (ALLOWED[role] if role is not None else frozenset())
    return {verb: handler for verb, handler in HANDLERS.items() if verb in allowed}


HANDLERS_BY_ROLE: dict[Role | None, dict[str, Handler]] = {
    role: _handlers_for(role) for role in (None, *Role)
}
"""The handlers that a role may use; those of None are open to anyone, before AUTH too."""


HANDLERS_FINISHING: dict[Role, dict[str, Handler]] = {
    role: {
        **HANDLERS_BY_ROLE[None],
        **{verb: each for verb, each in FINISHING_HANDLERS.items() if verb in ALLOWED[role]},
    }
    for role in Role
}
"""The handlers of a session with this role whose credentials have ended."""


def refuse(session: Session, _request_id: int, frame: Frame) -> None:
    """Say why a verb is not among the session's handlers.

    Raises:
        RequestError: UNKNOWN_VERB, NOT_AUTHENTICATED, AUTH_ENDING or ACCESS_DENIED.
        StreamError: MALFORMED_FRAME if the verb is no string.
    """
    verb, _ = check_envelope(frame)
    if session.identity.role is None:
        raise RequestError(
            Code.NOT_AUTHENTICATED, "say who you are first, with AUTH", {"verb": verb[:64]}
        )
    if verb in HANDLERS:
        if session.identity.finishing is not None:
            raise ending()
        role = session.identity.role.word
        raise RequestError(
            Code.ACCESS_DENIED,
            f"the role '{role}' does not allow {verb}; ask an administrator",
            {"verb": verb, "role": role},
        )
    check_request(frame)
    raise AssertionError("a verb of the registry has no handler")
