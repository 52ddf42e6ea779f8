"""The operation that pulls messages, and the forms in which they come. Floor 2."""

from __future__ import annotations

import asyncio
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from mqclient import lease_calls
from mqclient.messages import Source
from mqweb import bodies, forms, shapes
from mqweb.answers import NOTHING, Answer, encode_json, json_answer
from mqweb.found import Found
from mqweb.handing import hand_back, hand_on, hand_over, hold_seconds
from mqweb.leaving import unless_gone
from mqweb.media import BINARY, BYTES, LINES, ND_JSON, TYPE_HEADER
from mqweb.operations import Operation
from mqweb.problems import Problem
from mqwire.codes import Code, GatewayCode

if TYPE_CHECKING:
    from mqclient.lease_calls import Leased
    from mqclient.messages import Message
    from mqweb.requests import Request

_MOST_RUNS_BYTES = 4096  # of a header field: there are clients that take 8 KiB of them all
_MOST_FIELD_BYTES = 4096
_MOST_TYPE_CHARS = 256
_NO_DECODERS: dict[str, Any] = {}


async def pull(request: Request) -> Answer | None:
    """Carry out a pull."""
    queue = request.path["queue"]
    query = request.query(forms.PullQuery)
    wanted = _wanted(request)
    if wanted == BYTES and query.max != 1:
        raise Problem(Code.OUT_OF_RANGE, "one message at a time comes as bytes: leave out `max`")
    leased = await take(request, queue, query)
    if leased is None:
        return NOTHING
    lease, found = leased
    try:
        if wanted == LINES and (over := found.cut(_MOST_RUNS_BYTES)):
            await request.client.call(lease_calls.nack(lease, over, hand_back=True))
        answer = _answer_of(leased, wanted, queue, query.lease)
    except BaseException:
        await asyncio.shield(hand_back(request.client, lease))
        raise
    if query.lease is None:
        await hand_on(request, answer, lease, len(found), query.durability)
    else:
        await hand_over(request, answer, lease)
    return None


def _answer_of(leased: Leased, wanted: bytes, queue: str, seconds: float | None) -> Answer:
    """Return the answer with what a pull has found, in the form that is wanted.

    Raises:
        Problem: it does not come in that form.
    """
    lease = leased.lease
    found: Found = leased.messages
    if wanted:
        answer = _as_bytes(found.messages[0]) if wanted == BYTES else _as_lines(found)
        if seconds is None:
            return answer
        return answer._replace(fields=(*answer.fields, (b"mq-lease", str(lease).encode("ascii"))))
    held = None if seconds is None else {"id": str(lease), "seconds": seconds}
    text = None if found.plain is None else bodies.shown_plain(found.runs, found.plain)
    if text is not None:
        tail = b"]}\n" if held is None else b'],"lease":' + encode_json(held) + b"}\n"
        return Answer(200, f'{{"queue":"{queue}","messages":[{text}'.encode() + tail)
    document: dict[str, Any] = {"queue": queue}
    document["messages"] = [bodies.shown_message(each) for each in found.messages]
    if held is not None:
        document["lease"] = held
    return json_answer(document)


async def take(request: Request, queue: str, query: forms.PullQuery) -> Leased | None:
    """Return what a pull has found, under a lease: a `Found`; None where there is nothing."""
    config = request.config
    client = request.client
    seconds = hold_seconds(config.send_seconds) if query.lease is None else query.lease
    wait = min(query.wait, config.max_wait_seconds)
    call = lease_calls.pull(
        Source(queue, _NO_DECODERS, None, 1), query.max, seconds, wait, query.durability, Found
    )
    leased: Leased | None
    if wait:

        async def undo(late: Leased) -> None:
            await hand_back(client, late.lease)

        await request.body()  # so that what comes next is the client's leaving
        leased = await unless_gone(request, client.call(call), undo)
    else:
        leased = await client.call(call)
    return leased


def _wanted(request: Request) -> bytes:
    """Return the form that is asked for beside JSON; empty for none."""
    return _first_accepted(request.field(b"accept") or b"")


@lru_cache(256)
def _first_accepted(accepted: bytes) -> bytes:
    first = accepted.partition(b",")[0].partition(b";")[0].strip().lower()
    return first if first in (BYTES, LINES) else b""


def _as_lines(found: Found) -> Answer:
    """Return messages as lines, a JSON document each; their ids stand in a header field."""
    lines = bodies.lines_of(found.raws)
    if lines is None:
        lines = "".join([f"{_line(each)}\n" for each in found.messages]).encode()
    fields = ((b"mq-ids", found.shown_runs.encode("ascii")),)
    return Answer(200, lines, LINES, fields)


def _line(message: Message) -> str:
    try:
        if isinstance(message.raw, str):
            return msgspec.json.format(message.raw, indent=-1)
    except msgspec.DecodeError:
        pass
    raise Problem(
        GatewayCode.NOT_ACCEPTABLE,
        f"message {message.id} is no JSON document, and cannot come as a line",
        {"id": message.id},
    )


def _as_bytes(message: Message) -> Answer:
    """Return a message as it is; what there is to tell of it stands in the header fields."""
    raw, headers = message.raw, dict(message.headers)
    body = raw if isinstance(raw, bytes) else str(raw).encode("utf-8")
    kind = BYTES if isinstance(raw, bytes) else b"application/json"
    said = headers.get(TYPE_HEADER)
    if isinstance(said, str) and _is_type(said):
        kind = said.encode("ascii")
        del headers[TYPE_HEADER]
    fields = [
        (b"mq-id", b"%d" % message.id),
        (b"mq-deliveries", b"%d" % message.deliveries),
    ]
    if headers:
        fields.append((b"mq-headers", _headers_field(message, headers)))
    return Answer(200, body, kind, fields)


def _is_type(said: str) -> bool:
    """Tell whether a header of a message can stand as the type of its body."""
    return 0 < len(said) <= _MOST_TYPE_CHARS and said.isascii() and said.isprintable()


def _headers_field(message: Message, headers: dict[str, Any]) -> bytes:
    """Return headers as a field of the answer.

    Raises:
        Problem: they are longer than clients take a field; the message is handed back.
    """
    field = _as_field(bodies.shown_headers(headers))
    if len(field) > _MOST_FIELD_BYTES:
        raise Problem(
            GatewayCode.NOT_ACCEPTABLE,
            f"message {message.id} has headers of {len(field)} bytes, more than there may be in "
            "Mq-Headers: it is where it was; pull it as JSON, without Accept",
            {"id": message.id, "limit": _MOST_FIELD_BYTES, "asked": len(field)},
        )
    return field


def _as_field(value: Any) -> bytes:
    """Return a JSON document as a header field can have it: printable ASCII alone."""
    plain = msgspec.json.decode(msgspec.json.encode(value))
    return json.dumps(plain, separators=(",", ":")).replace("\x7f", "\\u007f").encode("ascii")


OPERATIONS = (
    Operation(
        "POST",
        "/v1/queues/{queue}/pull",
        pull,
        "Pull messages",
        "Messages",
        "Without `lease` the messages are gone once the client's connection has taken the whole "
        "answer; if it breaks before, they are handed back. With `lease` they stay until they are "
        "acknowledged. With `Accept: application/octet-stream` one message comes as it is, its "
        "headers in `Mq-Headers` (one with more than 4 KiB of them is refused so, and stays); with "
        "`application/x-ndjson` many come as lines, with the runs of their ids in `Mq-Ids`, of "
        "which no more come than 4 KiB hold. There is no body where there is no message.",
        ("PULL", "ACK", "NACK"),
        query=forms.PullQuery,
        result=shapes.Pulled,
        gives=(ND_JSON, BINARY),
        is_empty_possible=True,
        codes=(Code.QUEUE_NOT_FOUND,),
    ),
)
