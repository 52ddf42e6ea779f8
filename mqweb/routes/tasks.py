"""Operations for those who think in tasks. Floor 2.

A task is a message of a queue. It is queued while it is ready or delayed, processing under a
lease, completed when it was acknowledged, failed when it is dead. Completed ones are known in
queues that keep results (`keep_results_seconds`), for so long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqclient import lease_calls
from mqweb import bodies, forms, pushing, shapes
from mqweb.answers import NOTHING, json_answer
from mqweb.handing import hand_over
from mqweb.operations import Operation
from mqweb.routes.leases import lease_named, result_of
from mqweb.routes.messages import id_of, key_of, shown_seen, shown_status, statuses_of
from mqweb.routes.pulls import take
from mqwire.codes import Code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mqclient.messages import Message
    from mqclient.models import LeaseId
    from mqclient.view_models import Status
    from mqweb.answers import Answer
    from mqweb.requests import Request

STATES: Final = {
    "ready": "queued",
    "delayed": "queued",
    "leased": "processing",
    "done": "completed",
    "dead": "failed",
    "cancelled": "cancelled",
    "gone": "gone",
    "unknown": "unknown",
}
"""What a state of a message is called here."""
_LOOKED_AT: Final = 1000
_MOST_LOOKS: Final = 20


async def submit_task(request: Request) -> Answer:
    """Submit a task."""
    queue = request.path["queue"]
    form = await request.json(forms.TaskForm)
    raw = bodies.raw_of(form.task, bodies.JSON)
    load = pushing.load_of_one(raw, bodies.headers_of(form.headers), request.client.server.limits)
    key = key_of(request) or request.client.new_key()
    call = pushing.push_call(queue, load, pushing.options_of(form), key, form.durability)
    reached: pushing.Reached = await request.client.call(call)
    where = f"/v1/tasks/{queue}/{reached.first}".encode("ascii")
    members = {"queue": queue, "id": reached.first, "state": "queued"}
    return json_answer(members, 201, ((b"location", where),))


async def take_task(request: Request) -> Answer | None:
    """Take the next task."""
    queue = request.path["queue"]
    query = request.query(forms.TakeQuery)
    pull = forms.PullQuery(max=1, wait=query.wait, lease=query.lease)
    leased = await take(request, queue, pull)
    if leased is None:
        return NOTHING
    lease, found = leased
    [message] = found.messages
    members = _shown(queue, bodies.shown_message(message), "processing")
    members["lease"] = str(lease)
    await hand_over(request, json_answer(members), lease)
    return None


async def complete_task(request: Request) -> Answer:
    """Say that a task is done."""
    form = await request.json(forms.CompleteForm)
    result = result_of(form.result, bodies.JSON)
    return await _settle(request, lease_calls.ack(*_one(request, form.lease), result=result))


async def fail_task(request: Request) -> Answer:
    """Say that a task has failed."""
    form = await request.json(forms.FailForm)
    make = lease_calls.nack if form.retry else lease_calls.reject
    return await _settle(request, make(*_one(request, form.lease), reason=form.error))


def _one(request: Request, lease: str) -> tuple[LeaseId, list[int]]:
    return lease_named(lease), [id_of(request)]


async def _settle(request: Request, call: Any) -> Answer:
    await request.client.call(call)
    queue = request.path["queue"]
    found = await request.client.status(queue, [id_of(request)])
    return json_answer(_of_status(queue, found[0]))


async def task_status(request: Request) -> Answer:
    """Tell where a task is."""
    query = request.query(forms.StatusQuery)
    queue = request.path["queue"]
    found = await statuses_of(request, queue, [id_of(request)], query.wait)
    return json_answer(_of_status(queue, found[0]))


async def list_tasks(request: Request) -> Answer:
    """List the tasks in one state."""
    queue = request.path["queue"]
    query = request.query(forms.TasksQuery)
    members: dict[str, Any] = {"queue": queue, "state": query.state}
    if query.state in ("queued", "processing"):
        members["tasks"] = [each async for each in _held(request, queue, query)]
        return json_answer(members)
    found, before = await _ended(request, queue, query)
    members["tasks"] = [_of_status(queue, each) for each in found]
    if before is not None:
        members["before"] = before
    return json_answer(members)


async def cancel_task(request: Request) -> Answer:
    """Cancel a task."""
    done = await request.client.cancel(request.path["queue"], [id_of(request)])
    return json_answer(done._asdict())


async def clear_tasks(request: Request) -> Answer:
    """Remove the tasks that wait."""
    return json_answer({"removed": await request.client.purge(request.path["queue"])})


async def _held(
    request: Request, queue: str, query: forms.TasksQuery
) -> AsyncIterator[dict[str, Any]]:
    """Yield tasks that the queue holds: ready ones before delayed ones."""
    client, skip, left = request.client, query.skip, query.max
    if query.state == "processing":
        for each in await client.peek(queue, left, skip=skip, state="leased"):
            yield _of_message(queue, each, "leased")
        return
    ready = await client.peek(queue, left, skip=skip)
    for each in ready:
        yield _of_message(queue, each, "ready")
    if len(ready) < left:
        count = (await client.info(queue)).ready
        skip = max(skip - count, 0)
        for each in await client.peek(queue, left - len(ready), skip=skip, state="delayed"):
            yield _of_message(queue, each, "delayed")


async def _ended(
    request: Request, queue: str, query: forms.TasksQuery
) -> tuple[list[Status], int | None]:
    """Return tasks that have come to an end, the latest first, and where to go on.

    A request looks at some thousands of ids at most: the ids of a queue are counted up from 1.
    """
    top = (await request.client.info(queue)).pushed
    at = min(query.before - 1, top) if query.before is not None else top
    found: list[Status] = []
    for _ in range(_MOST_LOOKS):
        if at < 1 or len(found) >= query.max:
            break
        first = max(at - _LOOKED_AT + 1, 1)
        for each in reversed(await request.client.status(queue, range(first, at + 1))):
            if STATES.get(each.state) == query.state and len(found) < query.max:
                found.append(each)
        at = found[-1].id - 1 if len(found) >= query.max else first - 1
    return found, at + 1 if at >= 1 else None


def _of_message(queue: str, message: Message, state: str) -> dict[str, Any]:
    return _shown(queue, shown_seen(message, state), STATES[state])


def _of_status(queue: str, status: Status) -> dict[str, Any]:
    return {"queue": queue, **shown_status(status), "state": STATES.get(status.state, status.state)}


def _shown(queue: str, members: dict[str, Any], state: str) -> dict[str, Any]:
    members.pop("history", None)
    members.pop("origin", None)
    task = members.pop("body")
    return {"queue": queue, **members, "task": task, "state": state}


_NOT_FOUND = (Code.QUEUE_NOT_FOUND,)
_SETTLING = (Code.QUEUE_NOT_FOUND, Code.LEASE_LOST, Code.NOT_LEASED)

OPERATIONS = (
    Operation(
        "POST",
        "/v1/tasks/{queue}",
        submit_task,
        "Submit a task",
        "Tasks",
        "With `Idempotency-Key` it may be sent again: a repeat submits nothing.",
        ("PUSH",),
        body=forms.TaskForm,
        result=shapes.Task,
        status=201,
        codes=(Code.QUEUE_NOT_FOUND, Code.QUEUE_FULL, Code.KEY_REUSED),
    ),
    Operation(
        "POST",
        "/v1/tasks/{queue}/next",
        take_task,
        "Take the next task",
        "Tasks",
        "It is the worker's for `lease` seconds. There is no body where there is no task.",
        ("PULL",),
        query=forms.TakeQuery,
        result=shapes.Task,
        is_empty_possible=True,
        codes=_NOT_FOUND,
    ),
    Operation(
        "POST",
        "/v1/tasks/{queue}/{id}/complete",
        complete_task,
        "A task is done",
        "Tasks",
        "Its `result` is kept by a queue that keeps results, and told with its status.",
        ("ACK", "STATUS"),
        body=forms.CompleteForm,
        result=shapes.Task,
        codes=_SETTLING,
    ),
    Operation(
        "POST",
        "/v1/tasks/{queue}/{id}/fail",
        fail_task,
        "A task has failed",
        "Tasks",
        "It is tried again as often as its queue allows, or not if `retry` is false.",
        ("NACK", "REJECT", "STATUS"),
        body=forms.FailForm,
        result=shapes.Task,
        codes=_SETTLING,
    ),
    Operation(
        "GET",
        "/v1/tasks/{queue}/{id}",
        task_status,
        "Where a task is",
        "Tasks",
        "A queued one has a `position`: how many would be taken before it.",
        ("STATUS",),
        query=forms.StatusQuery,
        result=shapes.Task,
        codes=_NOT_FOUND,
    ),
    Operation(
        "GET",
        "/v1/tasks/{queue}",
        list_tasks,
        "List tasks by state",
        "Tasks",
        "Completed, failed and cancelled ones come with the highest ids first; `before` of an "
        "answer leads on. They are known as long as the queue keeps results.",
        ("PEEK", "INFO", "STATUS"),
        query=forms.TasksQuery,
        result=shapes.Tasks,
        codes=_NOT_FOUND,
    ),
    Operation(
        "DELETE",
        "/v1/tasks/{queue}/{id}",
        cancel_task,
        "Cancel a task",
        "Tasks",
        "One that is queued is removed; one that is processed is marked, and not tried again.",
        ("CANCEL",),
        result=shapes.Cancelled,
        codes=_NOT_FOUND,
    ),
    Operation(
        "DELETE",
        "/v1/tasks/{queue}",
        clear_tasks,
        "Remove the tasks that are queued",
        "Tasks",
        "Those that are processed go on.",
        ("PURGE",),
        result=shapes.Removed,
        codes=_NOT_FOUND,
    ),
)
