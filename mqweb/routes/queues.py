"""Operations on queues. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mqclient.errors import QueueExists
from mqweb import forms, shapes
from mqweb.answers import NOTHING, json_answer
from mqweb.operations import FEW_BYTES, Operation
from mqwire.codes import Code

if TYPE_CHECKING:
    from mqclient.models import QueueInfo
    from mqweb.answers import Answer
    from mqweb.requests import Request

_NOT_FOUND = (Code.QUEUE_NOT_FOUND,)
_IN_OPTIONS = ("max_messages", "max_bytes", "durability")


def shown_queue(info: QueueInfo) -> dict[str, Any]:
    """Return a queue's info as it stands in JSON."""
    members: dict[str, Any] = msgspec.to_builtins(info)
    for name in _IN_OPTIONS:
        del members[name]
    return members


async def list_queues(request: Request) -> Answer:
    """Look at queues."""
    query = request.query(forms.QueuesQuery)
    infos = await request.client.queues(query.pattern)
    return json_answer({"queues": [shown_queue(each) for each in infos]})


async def create_queue(request: Request) -> Answer:
    """Create a queue."""
    form = await request.json(forms.QueueForm)
    options = {
        name: value
        for name in form.__struct_fields__
        if name not in ("queue", "if_missing") and (value := getattr(form, name)) is not None
    }
    try:
        info = await request.client.create(form.queue, **options)
    except QueueExists:
        if not form.if_missing:
            raise
        info = await request.client.create(form.queue, if_missing=True, **options)
        return json_answer(shown_queue(info), 200)
    return json_answer(shown_queue(info), 201)


async def queue_info(request: Request) -> Answer:
    """Look at one queue."""
    return json_answer(shown_queue(await request.client.info(request.path["queue"])))


async def delete_queue(request: Request) -> Answer:
    """Delete a queue."""
    return json_answer({"removed": await request.client.delete(request.path["queue"])})


async def purge_queue(request: Request) -> Answer:
    """Remove messages of a queue."""
    form = await request.json(forms.PurgeForm)
    removed = await request.client.purge(request.path["queue"], state=form.state)
    return json_answer({"removed": removed})


async def pause_queue(request: Request) -> Answer:
    """Stop the delivery of a queue's messages."""
    await request.client.pause(request.path["queue"])
    return NOTHING


async def resume_queue(request: Request) -> Answer:
    """Let a queue's messages be delivered again."""
    await request.client.resume(request.path["queue"])
    return NOTHING


OPERATIONS = (
    Operation(
        "GET",
        "/v1/queues",
        list_queues,
        "Look at queues",
        "Queues",
        "Those whose names fit a pattern, or all of them, with their figures of the moment.",
        ("LIST",),
        query=forms.QueuesQuery,
        result=shapes.Queues,
    ),
    Operation(
        "POST",
        "/v1/queues",
        create_queue,
        "Create a queue",
        "Queues",
        "201 where it was created, 200 where it was there and `if_missing` lets it be as it is.",
        ("CREATE",),
        body=forms.QueueForm,
        most_bytes=FEW_BYTES,
        result=shapes.Queue,
        status=201,
        other_status=200,
        codes=(Code.QUEUE_EXISTS, Code.TOO_MANY_QUEUES),
    ),
    Operation(
        "GET",
        "/v1/queues/{queue}",
        queue_info,
        "Look at a queue",
        "Queues",
        "Its figures of the moment, and what it was created with.",
        ("INFO",),
        result=shapes.Queue,
        codes=_NOT_FOUND,
    ),
    Operation(
        "DELETE",
        "/v1/queues/{queue}",
        delete_queue,
        "Delete a queue",
        "Queues",
        "With all its messages, and the leases on them.",
        ("DELETE",),
        result=shapes.Removed,
        codes=_NOT_FOUND,
    ),
    Operation(
        "POST",
        "/v1/queues/{queue}/purge",
        purge_queue,
        "Remove a queue's messages",
        "Queues",
        "Those that wait, or those that are dead. Messages under leases stay.",
        ("PURGE",),
        body=forms.PurgeForm,
        most_bytes=FEW_BYTES,
        result=shapes.Removed,
        codes=_NOT_FOUND,
    ),
    Operation(
        "POST",
        "/v1/queues/{queue}/pause",
        pause_queue,
        "Stop delivery",
        "Queues",
        "Pulls wait, or find nothing; pushes, and work under leases, go on.",
        ("PAUSE",),
        codes=_NOT_FOUND,
    ),
    Operation(
        "POST",
        "/v1/queues/{queue}/resume",
        resume_queue,
        "Let messages be delivered again",
        "Queues",
        "As before the delivery was stopped.",
        ("RESUME",),
        codes=_NOT_FOUND,
    ),
)
