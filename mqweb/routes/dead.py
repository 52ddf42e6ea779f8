"""Operations on dead letters: list, redrive. Floor 2.

Dead messages of a queue stay in it, or move to its dead-letter queue, where they are ready. Both
are listed; what a queue's own dead letters became of is told by where its `dead_letter` leads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqweb import forms, shapes
from mqweb.answers import json_answer
from mqweb.operations import Operation
from mqweb.problems import Problem
from mqweb.routes.messages import shown_seen
from mqwire.codes import Code, GatewayCode

if TYPE_CHECKING:
    from mqweb.answers import Answer
    from mqweb.requests import Request

_CODES = (Code.QUEUE_NOT_FOUND, Code.QUEUE_FULL)


async def dead_letters(request: Request) -> Answer:
    """Look at the dead messages of a queue, and at the dead letters in it."""
    queue = request.path["queue"]
    query = request.query(forms.DeadQuery)
    client = request.client
    info = await client.info(queue)
    found: list[dict[str, Any]] = []
    if info.dead > query.skip:
        dead = await client.peek(queue, query.max, skip=query.skip, state="dead")
        found = [shown_seen(each, "dead") for each in dead]
    left = query.max - len(found)
    if left > 0:
        ready = await client.peek(queue, left, skip=max(query.skip - info.dead, 0))
        found += [shown_seen(each, "ready") for each in ready if each.origin is not None]
    return json_answer(
        {
            "queue": queue,
            "dead_letter": info.options.get("dead_letter"),
            "dead": info.dead,
            "ready": info.ready,
            "messages": found,
        }
    )


async def redrive(request: Request) -> Answer:
    """Let dead messages be tried again."""
    form = await request.json(forms.RedriveForm)
    _check_choice(form)
    moved = await request.client.redrive(
        request.path["queue"], ids=form.ids, count=form.max, cause=form.cause, origin=form.origin
    )
    return json_answer({"moved": moved})


def _check_choice(form: forms.RedriveForm) -> None:
    """Check that a redrive says which messages, so that none moves all by being empty.

    Raises:
        Problem: it says nothing, or two things.
    """
    choices = {"ids": form.ids is not None, "max": form.max is not None, "all": form.all}
    said = [name for name, is_said in choices.items() if is_said]
    if not said:
        raise Problem(
            GatewayCode.MISSING_FIELD,
            'say which dead messages: {"ids": [1, 2]}, {"max": 10} or {"all": true}',
            {"options": list(choices)},
        )
    if len(said) > 1:
        raise Problem(
            Code.CONFLICTING_OPTIONS,
            f"{' and '.join(f'`{name}`' for name in said)} exclude each other: say one",
            {"options": said},
        )


OPERATIONS = (
    Operation(
        "GET",
        "/v1/queues/{queue}/dead",
        dead_letters,
        "Look at dead letters",
        "Dead letters",
        "With their history: what their workers said each time. Messages that are dead in the "
        "queue come first, then those that came to it as dead letters. Where the queue has a "
        "`dead_letter` queue, its own are there.",
        ("INFO", "PEEK"),
        query=forms.DeadQuery,
        result=shapes.Dead,
        codes=_CODES[:1],
    ),
    Operation(
        "POST",
        "/v1/queues/{queue}/redrive",
        redrive,
        "Try dead messages again",
        "Dead letters",
        "Messages that are dead in the queue become ready; those that came to it as dead letters "
        "go back to the queue that they came from. One of `ids`, `max` and `all` says which; "
        "`cause` and `origin` leave some of them out.",
        ("REDRIVE",),
        body=forms.RedriveForm,
        result=shapes.Redriven,
        codes=(*_CODES, Code.CONFLICTING_OPTIONS),
    ),
)
