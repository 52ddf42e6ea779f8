"""The broker against a plain model: lists of bodies, and nothing clever."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mqd.core import records
from mqd.core.broker import Bounds, Broker
from mqd.core.errors import BrokerError
from mqd.core.fifo import ANY_SIZE
from mqd.core.queue import Waiter
from mqwire.codes import Code
from mqwire.packs import join_bodies, split_pack
from support.pages import small_pager

BOUNDS = Bounds(max_messages=12, max_bytes=90, max_queues=3)
NAMES = st.sampled_from(["a", "b", "c", "d"])
BODIES = st.lists(
    st.one_of(st.text("xyz", max_size=6), st.binary(max_size=6)), min_size=1, max_size=5
)
HEADERS = st.one_of(
    st.none(), st.dictionaries(st.sampled_from("hk"), st.integers(0, 9), min_size=1, max_size=2)
)


@dataclass
class Message:
    number: int
    piece: bytes
    headers: dict[str, Any] | None
    size_bytes: int
    pushed_ms: int


@dataclass
class ModelQueue:
    max_messages: int
    max_bytes: int
    created_ms: int
    messages: list[Message] = field(default_factory=list)
    waiters: list[Waiter] = field(default_factory=list)
    pushed: int = 0
    pulled: int = 0
    purged: int = 0
    is_paused: bool = False

    @property
    def size_bytes(self):
        return sum(message.size_bytes for message in self.messages)


def messages_of(batch):
    pieces = [piece for pack in batch.packs for piece in split_pack(pack)]
    headers = batch.headers or [None] * batch.count
    assert len(pieces) == len(headers) == batch.count
    numbers = range(batch.first_id, batch.first_id + batch.count)
    return list(zip(numbers, pieces, headers, strict=True))


class BrokerMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.broker = self.empty()
        self.model: dict[str, ModelQueue] = {}
        self.history: list[records.Record] = []
        self.now_ms = 1_000_000

    # Helpers

    @staticmethod
    def empty():
        """Return a broker that puts aside what is more than a few bodies."""
        return Broker(BOUNDS, small_pager(15, 8, 4, 16)[0])

    def attempt(self, expected: Code | None, plan, *arguments):
        """Plan and apply; the model has said what is to come of it."""
        before = self.picture(self.broker)
        try:
            record = plan(*arguments)
        except BrokerError as error:
            assert error.code is expected
            assert self.picture(self.broker) == before
            return None
        assert expected is None
        assert self.picture(self.broker) == before, "a plan has changed something"
        self.history.append(record)
        return self.broker.apply(record)

    def picture(self, broker):
        return [
            (queue.uid, queue.info(self.now_ms), messages_of(queue.fifo.peek(0, 99, ANY_SIZE)))
            for queue in broker.queues()
        ]

    # Rules

    @rule(seconds=st.floats(0, 100))
    def pass_time(self, seconds):
        self.now_ms += int(seconds * 1000)

    @rule(
        name=NAMES,
        most=st.one_of(st.none(), st.integers(1, 13)),
        size=st.one_of(st.none(), st.integers(1, 91)),
    )
    def create(self, name, most, size):
        expected = None
        if name in self.model:
            expected = Code.QUEUE_EXISTS
        elif len(self.model) >= BOUNDS.max_queues:
            expected = Code.TOO_MANY_QUEUES
        elif (most or 0) > BOUNDS.max_messages or (size or 0) > BOUNDS.max_bytes:
            expected = Code.OUT_OF_RANGE
        options = {"max_messages": most, "max_bytes": size}
        asked = {option: value for option, value in options.items() if value is not None}
        self.attempt(expected, self.broker.plan_create, name, asked, self.now_ms)
        if expected is None:
            self.model[name] = ModelQueue(
                most or BOUNDS.max_messages, size or BOUNDS.max_bytes, self.now_ms
            )

    @rule(name=NAMES)
    def delete(self, name):
        queue = self.model.pop(name, None)
        removed = self.attempt(
            None if queue else Code.QUEUE_NOT_FOUND, self.broker.plan_delete, name
        )
        assert removed == (len(queue.messages) if queue else None)

    @rule(name=NAMES)
    def purge(self, name):
        queue = self.model.get(name)
        removed = self.attempt(
            None if queue else Code.QUEUE_NOT_FOUND, self.broker.plan_purge, name
        )
        if queue:
            assert removed == len(queue.messages)
            queue.purged += removed
            queue.messages.clear()

    @rule(name=NAMES, bodies=BODIES, data=st.data(), is_shared=st.booleans())
    def push(self, name, bodies, data, is_shared):
        count = len(bodies)
        if is_shared:
            headers = [data.draw(HEADERS)] * count
        else:
            headers = data.draw(st.lists(HEADERS, min_size=count, max_size=count))
        sizes = [len(join_bodies([str(values)])) if values else 0 for values in headers]
        if is_shared and headers[0]:
            runs = ((0, count, headers[0], sizes[0]),)
        else:
            runs = tuple(
                (i, 1, v, s) for i, (v, s) in enumerate(zip(headers, sizes, strict=True)) if v
            )
        pieces = [join_bodies([body]) for body in bodies]
        queue = self.model.get(name)
        size = sum(map(len, pieces)) + sum(sizes)
        expected = None
        if queue is None:
            expected = Code.QUEUE_NOT_FOUND
        elif (
            len(queue.messages) + count > queue.max_messages
            or queue.size_bytes + size > queue.max_bytes
        ):
            expected = Code.QUEUE_FULL
        first = self.attempt(
            expected, self.broker.plan_push, name, count, b"".join(pieces), runs, self.now_ms
        )
        if expected is not None:
            return
        assert first == queue.pushed + 1, "ids follow each other and are never used twice"
        for number, (piece, values, header_bytes) in enumerate(
            zip(pieces, headers, sizes, strict=True), first
        ):
            queue.messages.append(
                Message(number, piece, values, len(piece) + header_bytes, self.now_ms)
            )
        queue.pushed += count
        self.serve(name, queue)

    @rule(name=NAMES, is_paused=st.booleans())
    def pause_or_resume(self, name, is_paused):
        queue = self.model.get(name)
        plan = self.broker.plan_pause if is_paused else self.broker.plan_resume
        self.attempt(None if queue else Code.QUEUE_NOT_FOUND, plan, name)
        if queue:
            queue.is_paused = is_paused
            self.serve(name, queue)

    def serve(self, name, queue):
        real = self.broker.queue(name)
        for waiter in self.broker.serve(real):
            assert not queue.is_paused
            assert waiter is queue.waiters.pop(0), "the first who came is the first served"
            (batch,) = self.broker.take(real, waiter.most, waiter.room_bytes)
            assert 1 <= batch.count <= waiter.most
            self.took(real, queue, batch)

    def took(self, real, queue, batch):
        self.history.append((records.PULL, real.uid, batch.count))
        expected, queue.messages = queue.messages[: batch.count], queue.messages[batch.count :]
        assert messages_of(batch) == [(m.number, m.piece, m.headers) for m in expected]
        queue.pulled += batch.count

    @precondition(lambda self: any(q.messages and not q.is_paused for q in self.model.values()))
    @rule(
        data=st.data(),
        most=st.integers(1, 14),
        room=st.one_of(st.just(ANY_SIZE), st.integers(0, 60)),
    )
    def take(self, data, most, room):
        name = data.draw(
            st.sampled_from([n for n, q in self.model.items() if q.messages and not q.is_paused])
        )
        queue, real = self.model[name], self.broker.queue(name)
        available = len(queue.messages)
        (batch,) = self.broker.take(real, most, room)
        assert 1 <= batch.count <= min(most, available)
        if room == ANY_SIZE:
            assert batch.count == min(most, available)
        elif batch.count > 1:
            assert sum(message.size_bytes for message in queue.messages[: batch.count]) <= room
        self.took(real, queue, batch)

    @precondition(lambda self: any(not queue.messages for queue in self.model.values()))
    @rule(data=st.data(), most=st.integers(1, 4))
    def wait(self, data, most):
        name = data.draw(
            st.sampled_from([name for name, queue in self.model.items() if not queue.messages])
        )
        waiter = Waiter(most, ANY_SIZE)
        self.broker.queue(name).waiters[waiter] = None
        self.model[name].waiters.append(waiter)

    @rule(name=NAMES, skip=st.integers(0, 14), most=st.integers(1, 14))
    def peek(self, name, skip, most):
        if name in self.model:
            batch = self.broker.queue(name).fifo.peek(skip, most, ANY_SIZE)
            expected = self.model[name].messages[skip : skip + most]
            assert messages_of(batch) == [(m.number, m.piece, m.headers) for m in expected]

    @rule()
    def crash_and_recover(self):
        rebuilt = self.empty()
        rebuilt.apply_all(self.history)
        for queue in self.broker.queues():
            rebuilt.queue(queue.name).waiters.update(queue.waiters)
        assert self.picture(rebuilt) == self.picture(self.broker)
        self.broker = rebuilt

    @rule()
    def export_and_import(self):
        """A snapshot takes the place of the history."""
        self.history = list(self.broker.export())
        uid = self.broker.plan_create("new", {}, 0)[1] if len(self.model) < 3 else None
        self.crash_and_recover()
        if uid is not None:
            assert self.broker.plan_create("new", {}, 0)[1] == uid

    # Invariants

    @invariant()
    def the_broker_is_as_the_model(self):
        assert [queue.name for queue in self.broker.queues()] == sorted(self.model)
        for queue in self.broker.queues():
            model = self.model[queue.name]
            info = queue.info(self.now_ms)
            assert info["ready"] == len(model.messages)
            assert info["bytes"] == model.size_bytes
            assert (info["pushed"], info["pulled"], info["purged"]) == (
                model.pushed,
                model.pulled,
                model.purged,
            )
            assert info["pushed"] == info["pulled"] + info["purged"] + info["ready"]
            assert info["waiting"] == len(model.waiters)
            is_idle = model.waiters and model.messages and not model.is_paused
            assert not is_idle, "nobody waits while there are messages"
            assert queue.available == (0 if model.is_paused else len(model.messages))
            if model.messages:
                age_ms = self.now_ms - model.messages[0].pushed_ms
                assert 0 <= round(info["oldest_age_seconds"] * 1000) - age_ms <= 100
            else:
                assert info["oldest_age_seconds"] is None


BrokerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBroker = BrokerMachine.TestCase
