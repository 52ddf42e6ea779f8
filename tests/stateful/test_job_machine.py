"""The life of jobs against a plain model: a dictionary of messages, and time as an input.

A second broker is fed with the records alone, as they come off a disk, and has to be equal
after every step; crashes and snapshots put it, or what it exports, in the place of the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mqd.core import deadlines as deadlines_module
from mqd.core import held as held_module
from mqd.core import job_records, order_records, records
from mqd.core import lanes as lanes_module
from mqd.core import leases as leases_module
from mqd.core.broker import Bounds, Broker
from mqd.core.errors import BrokerError
from mqd.core.fifo import ANY_SIZE, Batch
from mqd.core.held import HeldBatch
from mqd.core.messages import MAX_HISTORY
from mqd.core.parcels import PushExtras, closed, size_of
from mqd.store.recordlog import decode, encode
from mqwire.codes import Code
from mqwire.packs import join_bodies, split_pack
from mqwire.runs import ids_of, runs_of
from support.jobs import ack
from support.pages import small_pager

BOUNDS = Bounds(max_messages=9, max_bytes=120, max_queues=3)
NAMES = st.sampled_from("abc")
OWNERS = st.sampled_from(["w1", {"instance": "w2", "peer": "10.0.0.2"}])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "dead_letter": NAMES,
        "max_messages": st.integers(2, 9),
        "max_attempts": st.integers(1, 3),
        "max_worker_losses": st.integers(1, 2),
        "backoff": st.sampled_from(["fixed", "linear", "exponential"]),
        "backoff_seconds": st.sampled_from([0.5, 2]),
        "backoff_cap_seconds": st.sampled_from([3, 60]),
        "backoff_jitter": st.sampled_from([0.0, 0.5]),
        "max_leased": st.integers(1, 5),
        "ttl_seconds": st.sampled_from([0, 1, 4]),
        "on_expiry": st.sampled_from(["drop", "dead_letter"]),
        "expires_seconds": st.sampled_from([0, 0, 0, 0, 3, 50]),
    },
)
BY_AGE_EVERY = 4

SMALL = (
    (held_module, "BY_AGE_EVERY", BY_AGE_EVERY),
    (lanes_module, "_SWEEP_LEAST", 0),
    (lanes_module, "_SWEPT_TOGETHER", 1),
    (deadlines_module, "_SWEEP_LEAST", 0),
    (deadlines_module, "_MOVED_TOGETHER", 1),
    (leases_module, "PIECE_BYTES", 12),
)
"""So that turns and sweeps come up in a run of few steps."""

EXTRAS = st.one_of(
    st.none(),
    st.tuples(
        st.sampled_from([0, 127, 128, 129, 255]),
        st.sampled_from([0, 0, -5, 300, 2000]),
        st.sampled_from([0, 0, 500, 2000, 6000]),
        st.integers(0, 2),
        st.integers(0, 2),
    ).map(lambda values: PushExtras(*values)),
)
"""What a push says; a time is in milliseconds from now, 0 for none."""


@dataclass
class Job:
    piece: bytes
    headers: dict[str, Any] | None
    size_bytes: int
    pushed_ms: int
    state: str = "ready"
    deliveries: int = 0
    attempts: int = 0
    losses: int = 0
    due_ms: int = 0
    causes: tuple[str, ...] = ()
    origin: tuple[str, int] | None = None
    priority: int = 128
    expires_ms: int = 0
    terms: tuple[int, int, int] = (0, 0, 0)

    @property
    def own_terms(self):
        return (0, 0, 0) if self.origin else self.terms

    def seen(self):
        return (
            self.state, self.piece, self.headers, self.deliveries, self.attempts, self.losses,
            self.due_ms, self.causes, self.origin, self.priority,
            self.expires_ms, self.terms,
        )  # fmt: skip


@dataclass
class ModelQueue:
    options: dict[str, Any]
    jobs: dict[int, Job] = field(default_factory=dict)
    next_id: int = 1
    pulled: int = 0
    acked: int = 0
    purged: int = 0
    moved: int = 0
    expired: int = 0
    pushed: int = 0
    used_ms: int = 0
    is_paused: bool = False
    turn: int = 0

    def add(self, job):
        self.jobs[self.next_id] = job
        self.next_id += 1
        self.pushed += 1

    def ids(self, *states):
        return sorted(number for number, job in self.jobs.items() if job.state in states)

    def next_takes(self):
        """Count a take or a lease; the ids of what is ready in the order of this one."""
        ready = self.ids("ready")
        if any(self.jobs[number].priority != 128 for number in ready):
            self.turn = (self.turn + 1) % BY_AGE_EVERY
            if self.turn == 0:
                return ready
        return sorted(ready, key=lambda number: -self.jobs[number].priority)

    @property
    def available(self):
        cap = self.options.get("max_leased", 99) - len(self.ids("leased"))
        return 0 if self.is_paused else max(0, min(cap, len(self.ids("ready"))))

    def has_room(self, count, size_bytes):
        held = sum(job.size_bytes for job in self.jobs.values())
        return (
            len(self.jobs) + count <= self.options["max_messages"]
            and held + size_bytes <= self.options["max_bytes"]
        )

    def is_spent(self, job):
        _, attempts, losses = job.own_terms
        return (
            job.attempts >= (attempts or self.options.get("max_attempts", 99))
            or job.losses >= (losses or self.options.get("max_worker_losses", 99))
        )  # fmt: skip

    def expiry_ms(self, now_ms, job):
        ttls = [1000 * self.options.get("ttl_seconds", 0), job.own_terms[0]]
        return min((now_ms + ttl_ms for ttl_ms in ttls if ttl_ms), default=0)

    def backoff_ms(self, attempts, chance):
        kind = self.options.get("backoff")
        if kind is None:
            return 0
        factor = {"fixed": 1, "linear": attempts, "exponential": 2 ** (attempts - 1)}[kind]
        seconds = min(
            self.options.get("backoff_seconds", 1) * factor,
            self.options.get("backoff_cap_seconds", 3600),
        )
        return int(1000 * seconds * (1 - self.options.get("backoff_jitter", 0) * chance))


@dataclass
class ModelLease:
    queue: str
    ids: set[int]
    deadline_ms: int
    who: str
    epoch: int
    own: dict[int, int] = field(default_factory=dict)

    def deadlines(self):
        return {number: self.own.get(number, self.deadline_ms) for number in self.ids}


def held_job(message, state):
    return (
        state, message.piece, message.headers, message.deliveries, message.attempts,
        message.losses, message.due_ms, tuple(entry.cause for entry in message.history),
        message.origin and (message.origin.queue, message.origin.message_id), message.priority,
        message.expires_ms, message.terms or (0, 0, 0),
    )  # fmt: skip


def packed(first_id, pack, runs, state, deliveries, due_ms=0, beyond=(128, 0, (0, 0, 0))):
    for number, piece in enumerate(split_pack(pack), first_id):
        headers = [run[2] for run in runs if run[0] <= number < run[0] + run[1]]
        assert len(headers) <= 1
        values = headers[0] if headers else None
        yield number, (state, piece, values, deliveries, 0, 0, due_ms, (), None, *beyond)


def in_parcels(parcels, state, deliveries=0):
    """Yield the messages of parcels."""
    for parcel in map(closed, parcels):
        first_id, count, pack, runs, _, priority, due_ms, expires_ms, terms = parcel
        absolute = [(first_id + run[0], *run[1:]) for run in runs]
        due_ms = due_ms if state == "delayed" else 0
        beyond = (priority, expires_ms, terms or (0, 0, 0))
        pieces = list(packed(first_id, pack, absolute, state, deliveries, due_ms, beyond))
        assert len(pieces) == count
        yield from pieces


def in_queue(queue):
    """Yield the messages of a queue that are not leased, without changing how they lie there."""
    for first_id, count, pack, runs, _ in queue.fifo.export():
        absolute = [(first_id + run[0], *run[1:]) for run in runs]
        pieces = list(packed(first_id, pack, absolute, "ready", 0))
        assert len(pieces) == count
        yield from pieces
    for state in ("ready", "delayed", "dead") if queue.held else ():
        for number, message in getattr(queue.held, state).items():
            assert number == message.message_id
            yield number, held_job(message, state)
    if queue.held:
        yield from in_parcels(queue.held.parcels.values(), "ready")
        yield from in_parcels(queue.held.delayed_parcels.values(), "delayed")
        check_counts(queue.held)


def check_counts(held):
    """What a queue's other messages are counted as is what they are."""
    ready = [(each.priority, 1, each.size_bytes) for each in held.ready.values()]
    ready += [(each[5], each[1], size_of(each)) for each in held.parcels.values()]
    assert held.ready_count == sum(each[1] for each in ready)
    assert held.ready_bytes == sum(each[2] for each in ready)
    assert held.ranked == sum(each[1] for each in ready if each[0] != 128)
    waiting = sum(each[1] for each in held.delayed_parcels.values())
    assert held.delayed_count == len(held.delayed) + waiting


def in_lease(lease):
    """Yield the messages of a lease."""
    for batch, runs, _ in lease.parts:
        yield from packed(batch.first_id, b"".join(batch.packs), runs, "leased", 1)
    yield from in_parcels(lease.parcels or (), "leased", 1)
    for number, message in (lease.loose or {}).items():
        yield number, held_job(message, "leased")


def picture(broker):
    """Every message of a broker, each in one place."""
    pairs = [((q.name, number), seen) for q in broker.queues() for number, seen in in_queue(q)]
    for lease in broker.jobs.leases():
        jobs = list(in_lease(lease))
        assert list(ids_of(lease.ids())) == sorted(number for number, _ in jobs)
        assert len(jobs) == lease.count > 0
        pairs += (((lease.queue.name, number), seen) for number, seen in jobs)
    found = dict(pairs)
    assert len(found) == len(pairs), "a message is in two places"
    return found


def whole_picture(broker, now_ms):
    leases = {
        lease.seq: (lease.queue.name, lease.epoch, lease.deadline_ms, lease.owner, lease.ids(),
                    lease.leased_ms, lease.size_bytes, tuple(lease.own_deadlines()), lease.due_ms)
        for lease in broker.jobs.leases()
    }  # fmt: skip
    queues = [
        (
            q.uid,
            q.info(now_ms),
            q.fifo.next_id,
            q.free_bytes,
            q.free_messages,
            q.held.turn if q.held else 0,
        )
        for q in broker.queues()
    ]
    state = broker.jobs.state
    times = (state.book.times.next_ms(), state.alarms.next_ms())
    return picture(broker), leases, queues, broker.clock_ms, times


class JobMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        # One puts aside what is more than a few bodies, the other does not.
        self.broker, self.shadow = Broker(BOUNDS, small_pager(15, 8, 4, 16)[0]), Broker(BOUNDS)
        self.broker.jobs.epoch = self.epoch = 1
        self.broker.jobs.started_ms = 1_000_000
        self.queues: dict[str, ModelQueue] = {}
        self.leases: dict[int, ModelLease] = {}
        self.ended: list[tuple[int, int]] = []
        self.deliveries: dict[bytes, int] = {}
        self.last_seq = 0
        self.now_ms = 1_000_000
        self.bodies = 0
        self.usual = [(module, name, getattr(module, name)) for module, name, _ in SMALL]
        for module, name, value in SMALL:
            setattr(module, name, value)

    def teardown(self):
        for module, name, value in self.usual:
            setattr(module, name, value)

    # Helpers

    @property
    def jobs(self):
        return self.broker.jobs

    def follow(self, record):
        """Feed the second broker with a record as it comes off a disk."""
        self.shadow.apply_all(decode([encode([record])]))

    def do(self, record):
        result = self.broker.apply(record)
        self.follow(record)
        return result

    def refused(self, code, plan, *arguments, **options):
        before = whole_picture(self.broker, self.now_ms)
        try:
            plan(*arguments, **options)
        except BrokerError as error:
            refusal = error
        else:
            raise AssertionError(f"{code} was expected")
        assert refusal.code is code
        assert whole_picture(self.broker, self.now_ms) == before
        return refusal

    def planned(self, plan, *arguments, **options):
        before = whole_picture(self.broker, self.now_ms)
        made = plan(*arguments, **options)
        assert whole_picture(self.broker, self.now_ms) == before, "a plan has changed something"
        return made

    def touch(self, name):
        """Use a queue, as whoever carries out a command does."""
        self.broker.queue(name).used_ms = self.queues[name].used_ms = self.now_ms

    def draw_lease(self, data, is_partly=True):
        seq = data.draw(st.sampled_from(sorted(self.leases)))
        lease = self.leases[seq]
        ids = sorted(lease.ids)
        self.touch(lease.queue)
        if is_partly and data.draw(st.booleans()):
            ids = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
        is_named = len(ids) < len(lease.ids) or data.draw(st.booleans())
        who = data.draw(st.sampled_from([None, lease.who]))
        runs = tuple(x for number in ids for x in (number, 1)) if is_named and is_partly else ()
        return seq, lease, sorted(ids), (lease.epoch, seq, runs, who)

    def end(self, seq, ids):
        lease = self.leases[seq]
        lease.ids -= set(ids)
        lease.own = {number: due_ms for number, due_ms in lease.own.items() if number in lease.ids}
        if not lease.ids:
            del self.leases[seq]
            self.ended.append((lease.epoch, seq))

    def returned(self, seq, ids, cause, delay):
        """Let messages come back in the model; `delay` tells how long each is kept back."""
        name = self.leases[seq].queue
        queue = self.queues[name]
        target = self.queues.get(queue.options.get("dead_letter"))
        next_id, ways = target and target.next_id, []
        for number in sorted(ids):
            job = queue.jobs[number]
            job.attempts += cause == "nack"
            job.losses += cause in ("expired", "gone")
            job.causes = (*job.causes, cause)[-MAX_HISTORY:]
            is_dead = cause == "reject" or (cause != "hand_back" and queue.is_spent(job))
            wait_ms = delay(job)
            if is_dead:
                self.died(name, number)
            elif 0 < job.expires_ms <= self.now_ms:
                self.waited_too_long(name, number)
            elif wait_ms:
                job.state, job.due_ms = "delayed", self.now_ms + wait_ms
            else:
                job.state = "ready"
            if target and target.next_id > next_id + len(ways):
                ways.append("dead" if is_dead else "old")
        if len(set(ways)) > 1:
            self.in_ways(target, next_id, ways)
        self.end(seq, ids)

    @staticmethod
    def in_ways(target, next_id, ways):
        """Let dead letters have their ids as they come: those of a kind together."""
        jobs = [target.jobs[next_id + index] for index in range(len(ways))]
        order = sorted(range(len(ways)), key=lambda index: ways[index] != ways[0])
        for index, before in enumerate(order):
            target.jobs[next_id + index] = jobs[before]

    def died(self, name, number):
        queue = self.queues[name]
        job = queue.jobs[number]
        target = self.queues.get(queue.options.get("dead_letter"))
        if target and target.has_room(1, job.size_bytes):
            del queue.jobs[number]
            queue.moved += 1
            self.arrive(target, job, (name, number))
        else:
            job.state = "dead"

    def waited_too_long(self, name, number):
        queue = self.queues[name]
        job = queue.jobs[number]
        assert 0 < job.expires_ms <= self.now_ms
        job.due_ms = 0
        if queue.options.get("on_expiry") == "dead_letter":
            job.causes = (*job.causes, "ttl")[-MAX_HISTORY:]
            self.died(name, number)
        else:
            del queue.jobs[number]
            queue.expired += 1

    def arrive(self, target, job, origin):
        job.origin, job.state, job.attempts, job.losses = origin, "ready", 0, 0
        job.pushed_ms = target.used_ms = self.now_ms
        job.expires_ms = target.expiry_ms(self.now_ms, job)
        target.add(job)

    def lost(self, seq, cause, ids=None):
        self.returned(seq, ids or list(self.leases[seq].ids), cause, lambda _: 0)

    # Time

    @rule(seconds=st.sampled_from([0.0, 0.3, 1, 2, 5, 40]), most=st.integers(1, 4))
    def pass_time(self, seconds, most):
        self.now_ms += int(seconds * 1000)
        while (due_ms := self.jobs.next_deadline_ms()) is not None and due_ms <= self.now_ms:
            done = found = 0
            for record in self.jobs.plan_expiry(self.now_ms, most):
                assert done < most, "a slice goes on"
                done += self.expired(record)
                found += 1
            assert found or self.jobs.next_deadline_ms() != due_ms
        for lease in self.leases.values():
            assert min(lease.deadlines().values()) > self.now_ms
        assert not list(self.jobs.plan_expiry(self.now_ms, most))
        for queue in self.queues.values():
            for number in queue.ids("delayed"):
                assert queue.jobs[number].due_ms > self.now_ms
            for number in queue.ids("ready", "delayed"):
                assert not 0 < queue.jobs[number].expires_ms <= self.now_ms

    def expired(self, record):
        if record[0] == job_records.RETURN:
            seq = record[3]
            times = self.leases[seq].deadlines()
            due = sorted(number for number, due_ms in times.items() if due_ms <= self.now_ms)
            first_ms = min(min(lease.deadlines().values()) for lease in self.leases.values())
            assert first_ms == min(times.values())
            assert sorted(each for part in record[7] for each in ids_of(part[1])) == due
            self.lost(seq, "expired", due)
        elif record[0] == records.DELETE:
            self.unused(self.broker.queue_of(record[1]).name)
            self.do(record)
            return 1  # a queue, whatever was in it
        elif record[0] == order_records.EXPIRE:
            name = self.broker.queue_of(record[1]).name
            for number in sorted(self.meant(name, record[2])):
                assert self.queues[name].jobs[number].state in ("ready", "delayed")
                self.waited_too_long(name, number)
        else:
            assert record[0] == job_records.READY
            name = self.broker.queue_of(record[1]).name
            for number in self.meant(name, record[2]):
                job = self.queues[name].jobs[number]
                assert (job.state, job.due_ms <= self.now_ms) == ("delayed", True)
                job.state, job.due_ms = "ready", 0
        return self.do(record)

    def unused(self, name):
        queue = self.queues.pop(name)
        idle_ms = 1000 * queue.options["expires_seconds"]
        assert 0 < queue.used_ms + idle_ms <= self.now_ms
        assert not queue.ids("leased")

    @invariant()
    def unused_queues_end(self):
        for name, queue in self.queues.items():
            idle_ms = 1000 * queue.options.get("expires_seconds", 0)
            if idle_ms:
                due_ms = self.jobs.next_deadline_ms()
                used_ms = max(self.broker.queue(name).used_ms, self.jobs.started_ms)
                assert queue.used_ms <= used_ms <= self.now_ms
                assert due_ms <= used_ms + idle_ms

    def meant(self, name, runs):
        """Return the ids that a record means: the last of a parcel stands for all of it."""
        held, numbers = self.broker.queue(name).held, []
        for number in ids_of(runs):
            parcel = held.delayed_parcels.get(number) or held.parcels.find(number)
            first_id = parcel[0] if parcel else number
            numbers.extend(range(first_id, number + 1))
        return numbers

    # Queues

    @initialize(
        options=OPTIONS,
        counts=st.lists(st.integers(1, 3), max_size=3),
        room=st.sampled_from([0, 2]),
        data=st.data(),
    )
    def begin(self, options, counts, room, data):
        if room:
            self.create("b", {"max_messages": room})
        self.create("a", {"dead_letter": "b", **options})
        for count in counts if self.queues else ():
            self.push(data, count, [None, {"k": 1}, None], data.draw(EXTRAS))

    @rule(name=NAMES, options=OPTIONS)
    def create(self, name, options):
        target, following = options.get("dead_letter"), options.get("dead_letter")
        while following is not None and following != name:
            known = self.queues.get(following)
            following = known and known.options.get("dead_letter")
        plan = self.broker.plan_creation
        if name in self.queues:
            self.refused(Code.QUEUE_EXISTS, plan, name, options, self.now_ms)
            return
        if following == name:
            self.refused(Code.OUT_OF_RANGE, plan, name, options, self.now_ms)
            return
        wanted = {name} | ({target} - {None})
        assert len(wanted | set(self.queues)) <= BOUNDS.max_queues
        for record in self.planned(plan, name, options, self.now_ms):
            self.do(record)
        defaults = {"max_messages": BOUNDS.max_messages, "max_bytes": BOUNDS.max_bytes}
        if target is not None and target not in self.queues:
            self.queues[target] = ModelQueue(defaults, used_ms=self.now_ms)
        self.queues[name] = ModelQueue({**defaults, **options}, used_ms=self.now_ms)

    @precondition(lambda self: self.queues)
    @rule(data=st.data(), doubt=st.integers(0, 4))
    def delete(self, data, doubt):
        if doubt:
            return
        name = data.draw(st.sampled_from(sorted(self.queues)))
        removed = self.do(self.planned(self.broker.plan_delete, name))
        assert removed == len(self.queues.pop(name).jobs)
        for seq in [seq for seq, lease in self.leases.items() if lease.queue == name]:
            self.end(seq, list(self.leases[seq].ids))

    @precondition(lambda self: self.queues)
    @rule(data=st.data(), is_dead=st.booleans(), doubt=st.integers(0, 2))
    def purge(self, data, is_dead, doubt):
        if doubt:
            return
        name = data.draw(st.sampled_from(sorted(self.queues)))
        queue = self.queues[name]
        if is_dead:
            record, states = self.jobs.plan_purge_dead(self.broker.queue(name)), ("dead",)
        else:
            record, states = self.broker.plan_purge(name), ("ready", "delayed")
        numbers = queue.ids(*states)
        assert self.do(record) == len(numbers)
        queue.purged += len(numbers)
        for number in numbers:
            del queue.jobs[number]

    # Messages

    @precondition(lambda self: self.queues)
    @rule(
        data=st.data(),
        count=st.integers(1, 4),
        headers=st.lists(st.sampled_from([None, {"k": 1}, {"h": 2}]), min_size=4, max_size=4),
        extras=EXTRAS,
    )
    def push(self, data, count, headers, extras=None):
        name = data.draw(st.sampled_from(sorted(self.queues)))
        queue = self.queues[name]
        self.bodies += count
        pieces = [join_bodies([f"{number:04}"]) for number in range(self.bodies, self.bodies + 4)]
        self.bodies += 4
        pieces, headers = pieces[:count], headers[:count]
        runs = tuple((i, 1, values, 4) for i, values in enumerate(headers) if values)
        size = sum(map(len, pieces)) + 4 * len(runs)
        arguments = (name, count, b"".join(pieces), runs, self.now_ms)
        extras = self.from_now(extras)
        if not queue.has_room(count, size):
            self.refused(Code.QUEUE_FULL, self.broker.plan_push, *arguments, extras=extras)
            return
        record = self.planned(self.broker.plan_push, *arguments, extras=extras)
        assert self.do(record) == queue.next_id
        for piece, values in zip(pieces, headers, strict=True):
            size_bytes = len(piece) + (4 if values else 0)
            self.pushed(queue, Job(piece, values, size_bytes, self.now_ms), extras)
        self.touch(name)

    @precondition(lambda self: self.queues)
    @rule(
        data=st.data(),
        priorities=st.lists(st.sampled_from([0, 128, 129, 255]), min_size=1, max_size=5),
        due_ms=st.sampled_from([0, 0, 0, 300]),
    )
    def push_each(self, data, priorities, due_ms):
        name = data.draw(st.sampled_from(sorted(self.queues)))
        queue, real = self.queues[name], self.broker.queue(name)
        texts = [f"{self.bodies + at:04}" for at in range(len(priorities))]
        self.bodies += len(priorities)
        pieces = [join_bodies([text]) for text in texts]
        due_ms = due_ms and self.now_ms + due_ms
        arguments = (real, b"".join(pieces), bytes(priorities), due_ms, self.now_ms)
        if not queue.has_room(len(pieces), sum(map(len, pieces))):
            self.refused(Code.QUEUE_FULL, self.broker.rows.plan_push, *arguments)
            return
        record = self.planned(self.broker.rows.plan_push, *arguments)
        assert self.broker.rows.push(record, pieces) == queue.next_id
        self.follow(record)
        for piece, priority in zip(pieces, priorities, strict=True):
            extras = PushExtras(priority, due_ms)
            self.pushed(queue, Job(piece, None, len(piece), self.now_ms), extras)
        self.touch(name)

    def from_now(self, extras):
        """Return what a push says with a time of day in it, as the broker wants it."""
        if extras is None or not extras.due_ms:
            return extras
        return extras._replace(due_ms=self.now_ms + extras.due_ms)

    def pushed(self, queue, job, extras):
        """Let a job come into a queue in the model by a push that says this."""
        if extras is not None:
            job.priority, job.terms = extras.priority, tuple(extras[2:])
            job.due_ms = extras.due_ms if extras.due_ms > self.now_ms else 0
        job.expires_ms = queue.expiry_ms(self.now_ms, job)
        job.state = "delayed" if job.due_ms else "ready"
        queue.used_ms = self.now_ms
        queue.add(job)

    @precondition(lambda self: self.queues)
    @rule(data=st.data())
    def pause_or_resume(self, data):
        name = data.draw(st.sampled_from(sorted(self.queues)))
        queue = self.queues[name]
        is_paused = data.draw(st.booleans()) and not queue.is_paused
        plan = self.broker.plan_pause if is_paused else self.broker.plan_resume
        self.do(self.planned(plan, name))
        queue.is_paused = is_paused

    def some_available(self):
        return [name for name, queue in sorted(self.queues.items()) if queue.available]

    def draw_available(self, data):
        return data.draw(st.sampled_from(self.some_available()))

    def first_ready(self, name, most):
        queue = self.queues[name]
        self.touch(name)
        return queue, queue.next_takes()[:most]

    def check_batch(self, queue, batch):
        pieces = [piece for pack in batch.packs for piece in split_pack(pack)]
        numbers = range(batch.first_id, batch.first_id + batch.count)
        headers = batch.headers or [None] * batch.count
        expected = [queue.jobs[number] for number in numbers]
        assert [(job.piece, job.headers) for job in expected] == list(
            zip(pieces, headers, strict=True)
        )
        if isinstance(batch, HeldBatch):
            assert [message.message_id for message in batch.messages] == list(numbers)
        return list(numbers)

    @precondition(lambda self: self.some_available())
    @rule(
        data=st.data(),
        most=st.sampled_from([1, 1, 2, 6]),
        room=st.sampled_from([ANY_SIZE, 0, 14, 25, 40]),
    )
    def pull(self, data, most, room):
        name = self.draw_available(data)
        queue, wanted = self.first_ready(name, most)
        real = self.broker.queue(name)
        batches = self.broker.take(real, most, room)
        numbers = [number for batch in batches for number in self.check_batch(queue, batch)]
        assert numbers
        assert numbers == (wanted if room == ANY_SIZE else wanted[: len(numbers)])
        self.follow((records.PULL, real.uid, len(numbers)))
        queue.pulled += len(numbers)
        for number in numbers:
            del queue.jobs[number]

    @precondition(lambda self: self.some_available())
    @rule(
        data=st.data(),
        most=st.sampled_from([1, 2, 3, 5, 9]),
        room=st.sampled_from([ANY_SIZE, ANY_SIZE, 1, 14, 40]),
    )
    def pull_each(self, data, most, room):
        name = self.draw_available(data)
        queue, real = self.queues[name], self.broker.queue(name)
        self.touch(name)
        record, lots = self.broker.rows.take(real, most, room)
        numbers = []
        for lot in lots:
            if isinstance(lot, Batch):
                numbers += self.check_batch(queue, lot)
                continue
            ids, bodies = lot
            wanted = [(queue.jobs[number].piece, queue.jobs[number].headers) for number in ids]
            assert wanted == [(body, None) for body in bodies]
            numbers += ids
        for number in numbers:
            assert number == queue.next_takes()[0]
            del queue.jobs[number]
        assert numbers
        assert len(numbers) == most or room != ANY_SIZE or not queue.ids("ready")
        assert record[1:] == (real.uid, len(numbers))
        queue.pulled += len(numbers)
        self.follow(record)

    @precondition(lambda self: self.some_available())
    @rule(
        data=st.data(),
        most=st.sampled_from([1, 1, 2, 3, 8]),
        room=st.sampled_from([ANY_SIZE, ANY_SIZE, 0, 14, 25, 40]),
        seconds=st.integers(1, 8),
        owner=OWNERS,
    )
    def lease(self, data, most, room, seconds, owner):
        self.lease_from(self.draw_available(data), most, room, seconds, owner)

    def lease_from(self, name, most, room, seconds, owner):
        queue, wanted = self.first_ready(name, most)
        deadline_ms = self.now_ms + 1000 * seconds
        real = self.broker.queue(name)
        wanted = wanted[: queue.available]
        record, batches = self.jobs.lease(real, most, room, deadline_ms, owner, self.now_ms)
        numbers = [number for batch in batches for number in self.check_batch(queue, batch)]
        assert numbers
        assert numbers == wanted[: len(numbers)]
        if room == ANY_SIZE:
            assert numbers == wanted
        elif len(numbers) > 1:
            assert sum(queue.jobs[number].size_bytes for number in numbers) <= room
        seq = self.last_seq = self.last_seq + 1
        assert record == (
            job_records.LEASE, real.uid, self.epoch, seq, len(numbers), deadline_ms, owner,
            self.now_ms, record[8],
        )  # fmt: skip
        assert list(ids_of(record[8])) == numbers
        self.follow(record)
        who = owner if isinstance(owner, str) else owner["instance"]
        self.leases[seq] = ModelLease(name, set(numbers), deadline_ms, who, self.epoch)
        for number in numbers:
            queue.jobs[number].state = "leased"
            queue.jobs[number].deliveries += 1

    # Settling

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), is_one_pass=st.booleans())
    def ack(self, data, is_one_pass):
        seq, lease, ids, claim = self.draw_lease(data)
        if is_one_pass:
            self.follow(ack(self.jobs, claim))
        else:
            assert self.do(self.planned(self.jobs.plan_ack, claim)) == len(ids)
        queue = self.queues[lease.queue]
        queue.acked += len(ids)
        for number in ids:
            del queue.jobs[number]
        self.end(seq, ids)

    @precondition(lambda self: self.leases)
    @rule(
        data=st.data(),
        delay_ms=st.sampled_from([None, None, 0, 700]),
        chance=st.sampled_from([0.0, 0.5]),
    )
    def nack(self, data, delay_ms, chance):
        seq, lease, ids, claim = self.draw_lease(data)
        queue = self.queues[lease.queue]
        record = self.planned(
            self.jobs.plan_nack, claim, self.now_ms, reason="bad", delay_ms=delay_ms, chance=chance
        )
        self.returned(
            seq,
            ids,
            "nack",
            lambda job: queue.backoff_ms(job.attempts, chance) if delay_ms is None else delay_ms,
        )
        assert self.do(record) == len(ids)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), is_rejected=st.booleans())
    def hand_back_or_reject(self, data, is_rejected):
        seq, _, ids, claim = self.draw_lease(data)
        plan = self.jobs.plan_reject if is_rejected else self.jobs.plan_hand_back
        record = self.planned(plan, claim, self.now_ms, reason="so")
        self.returned(seq, ids, "reject" if is_rejected else "hand_back", lambda _: 0)
        assert self.do(record) == len(ids)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seconds=st.integers(1, 60), is_partly=st.booleans())
    def extend(self, data, seconds, is_partly):
        _, lease, ids, claim = self.draw_lease(data, is_partly=is_partly)
        deadline_ms = self.now_ms + 1000 * seconds
        if len(ids) < len(lease.ids):
            lease.own.update(dict.fromkeys(ids, deadline_ms))
        else:
            lease.deadline_ms, lease.own = deadline_ms, {}
        record = self.planned(self.jobs.plan_extend, claim, deadline_ms, self.now_ms)
        assert self.do(record) == len(ids)

    @rule(who=st.sampled_from(["w1", "w2", "w3"]), most=st.integers(1, 3))
    def gone(self, who, most):
        held = [seq for seq, lease in self.leases.items() if lease.who == who]
        assert self.jobs.holds(who) == bool(held)
        while self.jobs.holds(who):
            for record in self.jobs.plan_gone(who, self.now_ms, most):
                assert self.leases[record[3]].who == who
                self.lost(record[3], "gone")
                self.do(record)

    @rule(data=st.data())
    def wrong_claim(self, data):
        cases = [("unknown", (self.epoch, self.last_seq + 1, (), None))]
        if self.ended:
            cases.append(("over", (*data.draw(st.sampled_from(self.ended)), (), None)))
        for seq, lease in self.leases.items():
            cases.append(("stale", (lease.epoch + 1, seq, (), lease.who)))
            cases.append(("foreign", (lease.epoch, seq, (), "somebody")))
            outside = {1, max(lease.ids) + 1} - lease.ids
            runs = [(min(lease.ids), 20), *((number, 1) for number in outside)]
            cases.extend((None, (lease.epoch, seq, run, None)) for run in runs)
        why, claim = data.draw(st.sampled_from(cases))
        jobs, now_ms = self.jobs, self.now_ms
        plans = [
            (jobs.plan_ack, claim),
            (ack, jobs, claim),
            (jobs.plan_nack, claim, now_ms),
            (jobs.plan_hand_back, claim, now_ms),
            (jobs.plan_reject, claim, now_ms),
        ]
        if why is None:
            error = self.refused(Code.NOT_LEASED, *data.draw(st.sampled_from(plans)))
            assert error.details["id"] not in self.leases[claim[1]].ids
            self.refused(Code.NOT_LEASED, jobs.plan_extend, claim, now_ms + 5, now_ms)
        else:
            plans.append((jobs.plan_extend, claim, now_ms + 5, now_ms))
            error = self.refused(Code.LEASE_LOST, *data.draw(st.sampled_from(plans)))
            assert error.details == {"lease": [claim[0], claim[1]], "why": why}

    def redrivable(self, name):
        return [
            number
            for number, job in self.queues[name].jobs.items()
            if job.state == "dead" or (job.state == "ready" and job.origin)
        ]

    @precondition(lambda self: self.queues)
    @rule(data=st.data(), most=st.integers(1, 5), is_chosen=st.booleans())
    def redrive(self, data, most, is_chosen):
        names = [name for name in sorted(self.queues) if self.redrivable(name)]
        name = data.draw(st.sampled_from(names or sorted(self.queues)))
        queue, real = self.queues[name], self.broker.queue(name)
        candidates = self.redrivable(name)
        chosen = ()
        if is_chosen:
            numbers = st.sampled_from(sorted({*queue.jobs, 1, 99}))
            chosen = data.draw(st.lists(numbers, min_size=1, unique=True))
        runs = runs_of(sorted(chosen))
        movable = [n for n in candidates if not chosen or n in chosen]
        try:
            found, count = self.planned(self.jobs.plan_redrive, real, self.now_ms, most, runs)
        except BrokerError as error:
            assert movable
            job = queue.jobs[min(movable)]
            assert error.code in (Code.QUEUE_FULL, Code.QUEUE_NOT_FOUND)
            for number in movable:
                job = queue.jobs[number]
                assert job.state == "ready"
                target = self.queues.get(job.origin[0])
                assert target is None or not target.has_room(1, job.size_bytes)
            return
        assert count <= most
        assert bool(count) == bool(movable)
        done = 0
        for record in found:
            done += self.do(record)
            for number in ids_of(record[2]):
                assert number in movable
                job = queue.jobs[number]
                job.attempts = job.losses = 0
                if job.state == "dead":
                    assert record[3] == real.uid
                    job.state = "ready"
                    job.expires_ms = queue.expiry_ms(self.now_ms, job)
                    continue
                target = self.queues[job.origin[0]]
                assert target.has_room(1, job.size_bytes)
                del queue.jobs[number]
                queue.moved += 1
                self.arrive(target, job, None)
        assert done == count

    # Crashes

    @rule(is_snapshot=st.booleans())
    def crash_and_recover(self, is_snapshot):
        self.broker = self.shadow
        exported = decode([encode(self.broker.export())])
        self.shadow = Broker(BOUNDS)
        self.shadow.apply_all(exported)
        if is_snapshot:
            again = Broker(BOUNDS)
            again.apply_all(exported)
            self.broker = again
        self.epoch += 1
        self.jobs.epoch = self.epoch
        self.jobs.started_ms = self.now_ms
        for queue in self.queues.values():
            queue.used_ms = self.now_ms

    # Invariants

    @invariant()
    def the_broker_is_as_the_model(self):
        expected = {
            (name, number): job.seen()
            for name, queue in self.queues.items()
            for number, job in queue.jobs.items()
        }
        found = picture(self.broker)
        assert found == expected
        pieces = [seen[1] for seen in found.values()]
        assert len(set(pieces)) == len(pieces), "a message is there twice"
        for seen in found.values():
            assert seen[3] >= self.deliveries.get(seen[1], 0), "a delivery count has fallen"
            self.deliveries[seen[1]] = seen[3]

    @invariant()
    def counts_add_up(self):
        for name, queue in self.queues.items():
            real = self.broker.queue(name)
            info = real.info(self.now_ms)
            assert (real.available, info["is_paused"]) == (queue.available, queue.is_paused)
            for state in ("ready", "delayed", "leased", "dead"):
                assert info[state] == len(queue.ids(state))
            for counter in ("pushed", "pulled", "acked", "purged", "moved", "expired"):
                assert info[counter] == getattr(queue, counter), counter
            there = info["ready"] + info["delayed"] + info["leased"] + info["dead"]
            gone = info["pulled"] + info["acked"] + info["purged"] + info["moved"]
            gone += info["expired"]
            assert info["pushed"] == gone + there
            ready = [queue.jobs[number] for number in queue.ids("ready")]
            assert info["bytes"] == sum(job.size_bytes for job in ready)
            if ready:
                age_ms = self.now_ms - min(job.pushed_ms for job in ready)
                assert 0 <= round(info["oldest_age_seconds"] * 1000) - age_ms <= 100
            else:
                assert info["oldest_age_seconds"] is None

    @invariant()
    def leases_are_as_the_model(self):
        assert len(self.jobs) == len(self.leases)
        for lease in self.jobs.leases():
            model = self.leases[lease.seq]
            deadlines = {number: lease.deadline_of(number) for number in ids_of(lease.ids())}
            assert (lease.queue.name, deadlines, lease.epoch) == (
                model.queue,
                model.deadlines(),
                model.epoch,
            )
            assert lease.next_ms == lease.due_ms == min(deadlines.values())

    @invariant()
    def records_alone_give_the_same_state(self):
        assert whole_picture(self.shadow, self.now_ms) == whole_picture(self.broker, self.now_ms)


JobMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestJobs = JobMachine.TestCase
