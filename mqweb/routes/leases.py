"""Operations on leases: ack, nack, reject, extend, and steps of several. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mqclient import lease_calls
from mqclient.models import LeaseId
from mqweb import bodies, forms, pushing, shapes
from mqweb.answers import json_answer
from mqweb.operations import Operation
from mqweb.problems import Problem
from mqweb.routes.messages import key_of
from mqwire.codes import Code

if TYPE_CHECKING:
    from mqclient.calls import Call
    from mqweb.answers import Answer
    from mqweb.requests import Request

_CODES = (Code.LEASE_LOST, Code.NOT_LEASED)
_MOST_DIGITS = 20


async def ack(request: Request) -> Answer:
    """Say that messages are done."""
    form = await request.json(forms.AckForm)
    call = lease_calls.ack(
        lease_of_path(request), form.ids, form.durability, result_of(form.result, form.encoding)
    )
    return await _settled(request, call)


async def nack(request: Request) -> Answer:
    """Give messages back."""
    form = await request.json(forms.NackForm)
    call = lease_calls.nack(
        lease_of_path(request),
        form.ids,
        reason=form.reason,
        delay=form.delay,
        hand_back=form.hand_back,
        lost=form.lost,
        durability=form.durability,
    )
    return await _settled(request, call)


async def reject(request: Request) -> Answer:
    """Say that messages are never to be tried again."""
    form = await request.json(forms.RejectForm)
    call = lease_calls.reject(
        lease_of_path(request), form.ids, reason=form.reason, durability=form.durability
    )
    return await _settled(request, call)


async def extend(request: Request) -> Answer:
    """Let a lease run on."""
    form = await request.json(forms.ExtendForm)
    cancelled = await request.client.call(
        lease_calls.extend(lease_of_path(request), form.seconds, form.ids)
    )
    return json_answer({"cancelled": cancelled})


async def step(request: Request) -> Answer:
    """Carry out all parts, or none."""
    form = await request.json(forms.StepForm)
    parts, packs, largest = [], [], 0
    for each in form.parts:
        if isinstance(each, forms.PushPart):
            load = pushing.load_of_many(each.messages, request.client.server.limits)
            parts.append(_push_part(each, load))
            packs.append(load.pack)
            largest = max(largest, load.largest_body_bytes)
        else:
            parts.append(_settlement_part(each))
    key = key_of(request) or request.client.new_key()
    call = lease_calls.step(parts, b"".join(packs), largest, key=key, durability=form.durability)
    return json_answer({"results": await request.client.call(call)})


async def _settled(request: Request, call: Call) -> Answer:
    return json_answer({"count": await request.client.call(call)})


def _push_part(part: forms.PushPart, load: pushing.Load) -> tuple[Any, ...]:
    options = pushing.options_of(part)
    if load.headers:
        options["headers"] = load.headers
    return (
        ("PUSH", part.queue, load.count, options) if options else ("PUSH", part.queue, load.count)
    )


def _settlement_part(
    part: forms.AckPart | forms.NackPart | forms.RejectPart,
) -> tuple[Any, ...]:
    lease = lease_named(part.lease)
    if isinstance(part, forms.AckPart):
        return lease_calls.ack_part(lease, part.ids, result_of(part.result, part.encoding))
    if isinstance(part, forms.RejectPart):
        call = lease_calls.reject(lease, part.ids, reason=part.reason)
    else:
        call = lease_calls.nack(
            lease,
            part.ids,
            reason=part.reason,
            delay=part.delay,
            hand_back=part.hand_back,
            lost=part.lost,
        )
    return (call.verb, *call.arguments)


def result_of(result: msgspec.Raw | msgspec.UnsetType, encoding: str) -> bytes | str | None:
    """Return a result as it goes over the wire."""
    return bodies.raw_of(result, encoding) if isinstance(result, msgspec.Raw) else None


def lease_of_path(request: Request) -> LeaseId:
    """Return the lease that the path names."""
    return lease_named(request.path["lease"])


def lease_named(text: str) -> LeaseId:
    """Return the lease with such an id.

    Raises:
        Problem: that is no id of a lease.
    """
    epoch, sign, number = text.partition("-")
    for digits in (epoch, number):
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
        if not sign or not is_number or int(digits) >= 2**64:
            raise Problem(
                Code.OUT_OF_RANGE, f"a lease's id is two numbers as in 3-17, not {text[:50]!r}"
            )
    return LeaseId(int(epoch), int(number))


OPERATIONS = (
    Operation(
        "POST",
        "/v1/leases/{lease}/ack",
        ack,
        "Messages are done",
        "Leases",
        "All that the lease holds, or `ids` of it. `result` is kept by a queue that keeps results.",
        ("ACK",),
        body=forms.AckForm,
        result=shapes.Settled,
        codes=_CODES,
    ),
    Operation(
        "POST",
        "/v1/leases/{lease}/nack",
        nack,
        "Messages come back",
        "Leases",
        "They have failed, which spends an attempt, unless `hand_back` or `lost` is said.",
        ("NACK",),
        body=forms.NackForm,
        result=shapes.Settled,
        codes=(*_CODES, Code.CONFLICTING_OPTIONS),
    ),
    Operation(
        "POST",
        "/v1/leases/{lease}/reject",
        reject,
        "Messages are never tried again",
        "Leases",
        "They become dead letters.",
        ("REJECT",),
        body=forms.RejectForm,
        result=shapes.Settled,
        codes=_CODES,
    ),
    Operation(
        "POST",
        "/v1/leases/{lease}/extend",
        extend,
        "More time for a lease",
        "Leases",
        "It ends `seconds` from now, be that later or earlier than before: the whole lease, or "
        "`ids` of it alone.",
        ("EXTEND",),
        body=forms.ExtendForm,
        result=shapes.Extended,
        codes=_CODES,
    ),
    Operation(
        "POST",
        "/v1/step",
        step,
        "Settle and push, all or nothing",
        "Leases",
        "With `Idempotency-Key` the step may be sent again: a repeat changes nothing.",
        ("STEP",),
        body=forms.StepForm,
        result=shapes.Stepped,
        codes=(*_CODES, Code.QUEUE_NOT_FOUND, Code.QUEUE_FULL, Code.KEY_REUSED),
    ),
)
