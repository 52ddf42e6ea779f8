"""Operations on messages: push, peek, status, cancel. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mqweb import bodies, forms, pushing, shapes
from mqweb.answers import Answer, json_answer
from mqweb.leaving import unless_gone
from mqweb.media import BINARY, BYTES, ND_JSON, TYPE_HEADER
from mqweb.operations import Operation
from mqweb.problems import Problem
from mqweb.requests import decoded
from mqwire.codes import Code, GatewayCode
from mqwire.limits import MAX_KEY_CHARS

if TYPE_CHECKING:
    from mqclient.messages import Message
    from mqclient.view_models import Status
    from mqweb.requests import Request


async def push(request: Request) -> Answer:
    """Carry out a push."""
    queue = request.path["queue"]
    query = request.query(forms.PushQuery)
    request.refuse_form()
    key = key_of(request)
    limits = request.client.server.limits
    said: forms.PushOptions = query
    media_type = request.media_type
    if media_type == ND_JSON.content_type:
        load = pushing.load_of_lines(await request.body(), _headers_of_query(query.headers), limits)
    elif query.raw or media_type not in ("application/json", ""):
        headers, raw = _raw_push(request, query, await request.body())
        load = pushing.load_of_one(raw, headers, limits)
    else:
        said = form = decoded(await request.body(), forms.PushForm)
        if request.has_query:
            _check_said_once(query, form)
        load = pushing.load_of_form(form, limits)
    options = pushing.options_of(said)
    if said is not query and request.has_query:
        options.update(pushing.options_of(query))
    durability = said.durability or query.durability
    call = pushing.push_call(queue, load, options, key or request.client.new_key(), durability)
    reached: pushing.Reached = await request.client.call(call)
    return json_answer(
        {
            "queue": queue,
            "first": reached.first,
            "count": load.count,
            "durability": reached.durability,
            "is_repeat": reached.is_repeat,
        },
        201,
    )


def _check_said_once(query: forms.PushQuery, form: forms.PushForm) -> None:
    """Refuse options that stand in the query and in the body, of which one would not count.

    Raises:
        Problem: one does.
    """
    if query.headers is not None:
        raise Problem(
            Code.CONFLICTING_OPTIONS,
            "`headers` in the query is for a body that is no form; put it into the body",
            {"options": ["headers"]},
        )
    names = ("durability", *pushing.OPTIONS)
    twice = [name for name in names if None not in (getattr(query, name), getattr(form, name))]
    if twice:
        raise Problem(
            Code.CONFLICTING_OPTIONS,
            f"{', '.join(twice)}: said in the query and in the body; say it once",
            {"options": twice},
        )


def _raw_push(
    request: Request, query: forms.PushQuery, body: bytes
) -> tuple[dict[str, Any] | None, bytes | str]:
    """Return headers and body of a message that is a request's whole body."""
    headers = _headers_of_query(query.headers) or {}
    if request.media_type in ("application/json", ""):
        try:
            bodies.check_json(body)
            return headers or None, body.decode("utf-8")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(GatewayCode.MALFORMED_BODY, f"the body is no JSON: {error}") from error
    said = request.field(b"content-type") or BYTES
    if said != BYTES:
        headers.setdefault(TYPE_HEADER, said.decode("latin-1"))
    return headers or None, body


def _headers_of_query(text: str | None) -> dict[str, Any] | None:
    return None if text is None else bodies.headers_of(text.encode("utf-8"))


def key_of(request: Request) -> str | None:
    """Return the key by which a request is known if it comes again, or None.

    Raises:
        Problem: Idempotency-Key is no key.
    """
    value = request.field(b"idempotency-key")
    if value is None:
        return None
    key = value.decode("latin-1").strip().strip('"')
    if not 0 < len(key) <= MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise Problem(
            Code.OUT_OF_RANGE,
            f"Idempotency-Key has 1 to {MAX_KEY_CHARS} printable characters of ASCII",
        )
    return key


async def peek(request: Request) -> Answer:
    """Look at messages."""
    queue = request.path["queue"]
    query = request.query(forms.PeekQuery)
    if query.id is not None:
        return await _peek_one(request, queue, query.id, query)
    state = query.state or "ready"
    found = await request.client.peek(
        queue, query.max, skip=query.skip, state=None if state == "ready" else state
    )
    messages = [shown_seen(each, state) for each in found]
    return json_answer({"queue": queue, "state": state, "messages": messages})


async def _peek_one(
    request: Request, queue: str, message_id: int, query: forms.PeekQuery
) -> Answer:
    """Look at one message, which `skip` would pass over."""
    found = await request.client.peek_one(queue, message_id)
    state = None if found is None else found.state
    if found is None or query.skip or query.state not in (None, state):
        return json_answer({"queue": queue, "state": query.state, "messages": []})
    return json_answer(
        {"queue": queue, "state": state, "messages": [shown_seen(found, state or "")]}
    )


def shown_seen(message: Message, state: str) -> dict[str, Any]:
    """Return a message that was looked at as members of a JSON object."""
    members = {**bodies.shown_message(message), "state": state}
    history = message.history
    if history:
        members["history"] = history
    if message.origin is not None:
        members["origin"] = message.origin
    if message.lease is not None:
        members["lease"] = str(message.lease)
    for name in ("due_at", "holder", "deadline_at"):
        value = getattr(message, name)
        if value is not None:
            members[name] = value
    return members


async def message_status(request: Request) -> Answer:
    """Tell where one message is."""
    query = request.query(forms.StatusQuery)
    found = await statuses_of(request, request.path["queue"], [id_of(request)], query.wait)
    return json_answer(shown_status(found[0]))


async def message_statuses(request: Request) -> Answer:
    """Tell where several messages are."""
    form = await request.json(forms.StatusForm)
    queue = request.path["queue"]
    found = await statuses_of(request, queue, form.ids, form.wait)
    return json_answer({"queue": queue, "statuses": [shown_status(each) for each in found]})


async def statuses_of(request: Request, queue: str, ids: list[int], wait: float) -> list[Status]:
    """Return where messages are, once they are at their end or the wait is over."""
    client = request.client
    seconds = min(wait, request.config.max_wait_seconds)
    if not seconds:
        return await client.status(queue, ids)
    await request.body()
    found: list[Status] = await unless_gone(request, client.wait(queue, ids, timeout=seconds))
    return found


def shown_status(status: Status) -> dict[str, Any]:
    """Return a status as members of a JSON object, with what is known alone."""
    members: dict[str, Any] = {"id": status.id, "state": status.state}
    for name in _STATUS_MEMBERS:
        value = getattr(status, name)
        if value is not None:
            members[name] = value
    if status.is_cancelled:
        members["is_cancelled"] = True
    if status.lease is not None:
        members["lease"] = str(status.lease)
    if status.moved_to is not None:
        members["moved_to"] = status.moved_to._asdict()
    members.update(bodies.shown_result(status.raw_result))
    return members


_STATUS_MEMBERS = (
    "position",
    "due_at",
    "holder",
    "leased_at",
    "deadline_at",
    "user",
    "client",
    "host",
    "peer",
    "deliveries",
    "attempts",
    "losses",
    "cause",
    "error",
    "ended_at",
)


def id_of(request: Request) -> int:
    """Return the id of the message that the path names.

    Raises:
        Problem: it is no id.
    """
    text = request.path["id"]
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 2**63):
        raise Problem(Code.OUT_OF_RANGE, f"a message's id is a positive integer, not {text[:40]!r}")
    return int(text)


async def cancel_message(request: Request) -> Answer:
    """Cancel one message."""
    request.query(forms.NoQuery)
    done = await request.client.cancel(request.path["queue"], [id_of(request)])
    return json_answer(done._asdict())


async def cancel_messages(request: Request) -> Answer:
    """Cancel several messages."""
    form = await request.json(forms.CancelForm)
    done = await request.client.cancel(request.path["queue"], form.ids, durability=form.durability)
    return json_answer(done._asdict())


OPERATIONS = (
    Operation(
        "POST",
        "/v1/queues/{queue}/messages",
        push,
        "Push messages",
        "Messages",
        "One message or many, all or none. A body of the type `application/json` is a form with "
        "`body`, or with `messages`. One of the type `application/x-ndjson` has a JSON document on "
        "each line, and is the fastest way to push many. One of any other type is the message "
        "itself, as bytes. Their options stand in the query. With `?raw=true` a JSON document is "
        "the message itself. "
        "With `Idempotency-Key` the push may be sent again: a repeat changes nothing.",
        ("PUSH",),
        query=forms.PushQuery,
        body=forms.PushForm,
        media=(ND_JSON, BINARY),
        result=shapes.Pushed,
        status=201,
        codes=(Code.QUEUE_NOT_FOUND, Code.QUEUE_FULL, Code.KEY_REUSED, Code.BODY_TOO_LARGE),
    ),
    Operation(
        "GET",
        "/v1/queues/{queue}/messages",
        peek,
        "Look at messages",
        "Messages",
        "Changes nothing. Ready ones come in the order in which they would be delivered. With `id` "
        "that message alone comes, in whichever state it is, or none.",
        ("PEEK",),
        query=forms.PeekQuery,
        result=shapes.Peeked,
        codes=(Code.QUEUE_NOT_FOUND,),
    ),
    Operation(
        "GET",
        "/v1/queues/{queue}/messages/{id}",
        message_status,
        "Where a message is",
        "Messages",
        "With `wait` the answer comes when the message is done, dead, cancelled or gone, or when "
        "the wait is over.",
        ("STATUS",),
        query=forms.StatusQuery,
        result=shapes.Status,
        codes=(Code.QUEUE_NOT_FOUND,),
    ),
    Operation(
        "POST",
        "/v1/queues/{queue}/status",
        message_statuses,
        "Where messages are",
        "Messages",
        "As for one message; with `wait` the answer comes when all are at their end.",
        ("STATUS",),
        body=forms.StatusForm,
        result=shapes.Statuses,
        codes=(Code.QUEUE_NOT_FOUND,),
    ),
    Operation(
        "DELETE",
        "/v1/queues/{queue}/messages/{id}",
        cancel_message,
        "Cancel a message",
        "Messages",
        "One that waits is removed; one under a lease is marked, and not tried again.",
        ("CANCEL",),
        result=shapes.Cancelled,
        codes=(Code.QUEUE_NOT_FOUND,),
    ),
    Operation(
        "POST",
        "/v1/queues/{queue}/cancel",
        cancel_messages,
        "Cancel messages",
        "Messages",
        "As for one message.",
        ("CANCEL",),
        body=forms.CancelForm,
        result=shapes.Cancelled,
        codes=(Code.QUEUE_NOT_FOUND,),
    ),
)
