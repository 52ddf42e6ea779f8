"""Steps and keys against the model of jobs: everything that `JobMachine` does, and both of these.

The parts of a step are carried out on a copy of the model one after the other; so the model
knows which part is refused, and nothing of it is kept then.
"""

from __future__ import annotations

import copy

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import invariant, precondition, rule

from mqd.core import keys as keys_module
from mqd.core import order_records, records, step_records
from mqd.core.fifo import ANY_SIZE
from mqd.core.steps import Ack, Nack, Push, Reject
from mqwire.codes import Code
from mqwire.packs import join_bodies
from stateful.test_job_machine import EXTRAS, NAMES, OPTIONS, OWNERS, Job, JobMachine

MAX_KEYS = 2
STEP_MS = 600_000
KEYS = st.sampled_from(["k1", "k2", "k3", "k4", "k5", "k6"])


class Refused(Exception):  # noqa: N818  what the model says, not an error of the test
    def __init__(self, code, **details):
        super().__init__(code)
        self.code, self.details = code, details


class ModelKeys:
    """Keys, the oldest first: what each came with and was answered, and when."""

    def __init__(self, dedupe_ms):
        self.dedupe_ms = dedupe_ms
        self.entries = {}

    def alive(self, key, now_ms):
        entry = self.entries.get(key)
        return entry if entry is not None and now_ms < entry[2] + self.dedupe_ms else None

    def add(self, key, content, answer, now_ms):
        self.entries.pop(key, None)
        self.entries[key] = (content, answer, now_ms)
        while len(self.entries) > MAX_KEYS:
            del self.entries[next(iter(self.entries))]

    def living(self, now_ms):
        return {key: entry[2] for key, entry in self.entries.items() if self.alive(key, now_ms)}


class StepMachine(JobMachine):
    def __init__(self):
        super().__init__()
        self.real_bound = keys_module.MAX_KEYS
        keys_module.MAX_KEYS = MAX_KEYS
        self.step_keys = ModelKeys(STEP_MS)
        self.known_keys = {}
        """Those that the step knows that is carried out: all that were there before, and its
        own, however few may be kept."""

    def teardown(self):
        super().teardown()
        keys_module.MAX_KEYS = self.real_bound

    # The model

    def keys_of(self, name):
        queue = self.queues[name]
        if not hasattr(queue, "keys"):
            queue.keys = ModelKeys(int(1000 * queue.options.get("dedupe_seconds", 600)))
        return queue.keys

    def model_push(self, part):
        """Push in the model; returns the first id and whether that was before."""
        queue = self.queues.get(part.queue)
        if queue is None:
            raise Refused(Code.QUEUE_NOT_FOUND)
        if part.key is not None:
            entry = self.known_keys.get((part.queue, part.key))
            if entry is not None:
                if entry[0] != (part.pack, part.headers):
                    raise Refused(Code.KEY_REUSED, queue=part.queue, key=part.key)
                return entry[1], True
        piece_bytes = len(part.pack) // part.count
        sizes = [piece_bytes] * part.count
        headers = [None] * part.count
        for offset, count, values, bytes_each in part.headers:
            for index in range(offset, offset + count):
                headers[index] = values
                sizes[index] += bytes_each
        if not queue.has_room(part.count, sum(sizes)):
            raise Refused(Code.QUEUE_FULL, queue=part.queue)
        first_id = queue.next_id
        for index, size_bytes in enumerate(sizes):
            piece = part.pack[index * piece_bytes : (index + 1) * piece_bytes]
            job = Job(piece, headers[index], size_bytes, self.now_ms)
            self.pushed(queue, job, part.options and part.options["extras"])
        if part.key is not None and self.keys_of(part.queue).dedupe_ms:
            content = (part.pack, part.headers)
            self.keys_of(part.queue).add(part.key, content, first_id, self.now_ms)
            self.known_keys[part.queue, part.key] = (content, first_id)
        return first_id, False

    def model_settle(self, part, settled):
        """Settle in the model; returns how many messages."""
        epoch, seq, runs, _ = part.claim
        if seq in settled or seq not in self.leases:
            why = "unknown" if seq > self.last_seq else "over"
            raise Refused(Code.LEASE_LOST, lease=[epoch, seq], why=why)
        lease = self.leases[seq]
        ids = sorted(
            {
                each
                for at in range(0, len(runs), 2)
                for each in range(runs[at], sum(runs[at : at + 2]))
            }
        )
        for number in ids:
            if number not in lease.ids:
                raise Refused(Code.NOT_LEASED, id=number)
        ids = ids or sorted(lease.ids)
        settled.add(seq)
        queue = self.queues[lease.queue]
        if isinstance(part, Ack):
            queue.acked += len(ids)
            for number in ids:
                del queue.jobs[number]
            self.end(seq, ids)
        elif isinstance(part, Reject):
            self.returned(seq, ids, "reject", lambda _: 0)
        elif part.is_hand_back:
            self.returned(seq, ids, "hand_back", lambda _: 0)
        elif part.is_lost:
            self.returned(seq, ids, "gone", lambda _: 0)
        else:
            self.returned(
                seq,
                ids,
                "nack",
                lambda job: (
                    queue.backoff_ms(job.attempts, part.chance)
                    if part.delay_ms is None
                    else part.delay_ms
                ),
            )
        return len(ids)

    def model_step(self, parts):
        """Carry parts out in the model, or nothing; returns results and repeats, or a refusal."""
        before = copy.deepcopy((self.queues, self.leases, self.ended))
        results, repeats, settled = [], [], set()
        self.known_keys = {
            (name, key): self.keys_of(name).entries[key]
            for name in self.queues
            for key in self.keys_of(name).living(self.now_ms)
        }
        for index, part in enumerate(parts):
            try:
                if isinstance(part, Push):
                    result, is_repeat = self.model_push(part)
                    repeats += [index] * is_repeat
                else:
                    result = self.model_settle(part, settled)
            except Refused as refusal:
                self.queues, self.leases, self.ended = before
                refusal.details["part"] = index
                return refusal
            results.append(result)
        return tuple(results), tuple(repeats)

    # Drawing

    def draw_push(self, data, key=None, is_same=False):
        roomy = [name for name, queue in self.queues.items() if queue.has_room(1, 20)]
        names = sorted({*self.queues, "b"})
        name = data.draw(st.sampled_from([*names, *(5 * sorted(roomy))]))
        if key is not None and is_same and name in self.queues:
            entry = self.keys_of(name).alive(key, self.now_ms)
            if entry is not None:
                pack, headers = entry[0]
                return Push(name, len(pack) // 5, pack, headers, key, self.draw_options(data))
        count = data.draw(st.integers(1, 3))
        texts = [f"{self.bodies + number:04}" for number in range(count)]
        self.bodies += count
        runs = ((count - 1, 1, {"k": 1}, 4),) if data.draw(st.booleans()) else ()
        return Push(name, count, join_bodies(texts), runs, key, self.draw_options(data))

    def draw_options(self, data):
        """Draw what a push says, or nothing."""
        extras = self.from_now(data.draw(EXTRAS))
        return (
            data.draw(st.sampled_from([None, {"extras": None}]))
            if extras is None
            else {"extras": extras}
        )

    def draw_parts(self, data, count):
        parts, left = [], sorted(self.leases)
        for _ in range(count):
            kinds = ["push", "keyed", *(2 * ["ack", "nack", "reject"])]
            kind = data.draw(st.sampled_from(kinds if left else kinds[:2]))
            if kind == "push":
                parts.append(self.draw_push(data))
            elif kind == "keyed":
                parts.append(self.draw_push(data, data.draw(KEYS), data.draw(st.booleans())))
            else:
                seq = left.pop(data.draw(st.integers(0, len(left) - 1)))
                parts.append(self.draw_settlement(data, kind, seq))
        twice = [part for part in parts if self.is_kept(part)]
        if twice and data.draw(st.booleans()):
            parts.append(twice[0])
        if not data.draw(st.integers(0, 5)):
            parts.append(self.draw_bad(data))
        return parts

    def draw_settlement(self, data, kind, seq):
        lease = self.leases[seq]
        ids = sorted(lease.ids)
        runs = ()
        if data.draw(st.booleans()):
            chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
            runs = tuple(x for number in chosen for x in (number, 1))
        claim = (lease.epoch, seq, runs, data.draw(st.sampled_from([None, lease.who])))
        if kind == "ack":
            return Ack(claim)
        if kind == "reject":
            return Reject(claim, "so")
        how = {"delay_ms": 700}, {"delay_ms": 0}, {"is_hand_back": True}, {"is_lost": True}
        chance = data.draw(st.sampled_from([0.0, 0.5]))
        return Nack(claim, "bad", chance=chance, **data.draw(st.sampled_from([{}, *how])))

    def draw_bad(self, data):
        claims = [(self.epoch, self.last_seq + 1, (), None)]
        claims += [(*each, (), None) for each in self.ended[-1:]]
        for seq, lease in self.leases.items():
            claims += [(lease.epoch, seq, (90, 2), None), (lease.epoch, seq, (), None)]
        return Ack(data.draw(st.sampled_from(claims)))

    def is_kept(self, part):
        """Tell whether a part is a push whose key is remembered."""
        is_keyed = isinstance(part, Push) and part.key is not None and part.queue in self.queues
        return is_keyed and self.keys_of(part.queue).dedupe_ms > 0

    def counts_of_ready(self):
        return {queue.name: queue.ready for queue in self.broker.queues()}

    # Rules

    @rule(
        name=NAMES,
        options=OPTIONS,
        dedupe=st.sampled_from([0, 2, 40]),
        room=st.integers(3, 9),
    )
    def create_with_keys(self, name, options, dedupe, room):
        self.create(name, {**options, "dedupe_seconds": dedupe, "max_messages": room})

    @precondition(lambda self: self.queues)
    @rule(data=st.data(), key=KEYS, is_same=st.booleans())
    def keyed_push(self, data, key, is_same):
        part = self.draw_push(data, key, is_same)
        arguments = (part.queue, part.count, part.pack, part.headers, self.now_ms, key)
        options = part.options or {}
        expected = self.model_step([part])
        if isinstance(expected, Refused):
            plan = self.broker.plan_keyed_push
            error = self.refused(expected.code, plan, *arguments, **options)
            if expected.code is Code.KEY_REUSED:
                assert error.details == {"queue": part.queue, "key": key}
            return
        record, first_id = self.planned(self.broker.plan_keyed_push, *arguments, **options)
        assert (first_id,) == expected[0]
        assert (record is None) == bool(expected[1])
        if record is not None:
            is_kept = self.keys_of(part.queue).dedupe_ms > 0
            assert (record[0] == step_records.KEYED_PUSH) == is_kept
            push = record[-1] if is_kept else record
            assert push[0] == (order_records.PUSH_WITH if self.says_more(part) else records.PUSH)
            assert self.do(record) == first_id

    @precondition(lambda self: self.queues)
    @rule(data=st.data(), count=st.integers(1, 4), key=st.none() | KEYS)
    def step(self, data, count, key):
        parts = self.draw_parts(data, count)
        if key is not None and self.step_keys.alive(key, self.now_ms):
            error = self.refused(
                Code.KEY_REUSED, self.broker.plan_step, parts, self.now_ms, key=key
            )
            assert error.details == {"key": key}
            return
        self.make(parts, key)

    @precondition(lambda self: self.queues)
    @rule(
        data=st.data(),
        leases=st.integers(1, 3),
        owner=OWNERS,
        key=st.none() | KEYS,
        seconds=st.sampled_from([0, 0, 5]),
    )
    def work(self, data, leases, owner, key, seconds):
        """Lease what is there, and settle some of it together with pushes, perhaps late."""
        for _ in range(leases):
            if not self.some_available():
                part = self.draw_push(data)
                if self.model_room(part):
                    self.make([part], None)
            if self.some_available():
                self.lease(data, data.draw(st.integers(1, 3)), ANY_SIZE, 60, owner)
        if seconds:
            self.pass_time(seconds, 4)
        if self.leases:
            self.step(data, data.draw(st.integers(2, 4)), key)

    @rule(
        data=st.data(),
        on_expiry=st.sampled_from(["drop", "dead_letter"]),
        kind=st.sampled_from(["ack", "nack", "nack", "reject"]),
        count=st.integers(1, 3),
        key=st.none() | KEYS,
    )
    def late_work(self, data, on_expiry, kind, count, key):
        """Settle what has waited too long while it was under its lease, beside pushes."""
        if "c" not in self.queues:
            options = {"ttl_seconds": 1, "on_expiry": on_expiry, "dead_letter": "b"}
            self.create("c", {**options, "max_messages": 3})
        if "c" not in self.queues:
            return
        pack = join_bodies([f"{self.bodies + number:04}" for number in range(count)])
        self.bodies += count
        if self.queues["c"].has_room(count, len(pack)):
            self.make([Push("c", count, pack)], None)
        if "c" in self.some_available():
            self.lease_from("c", count, ANY_SIZE, 60, "w1")
            settled = self.draw_settlement(data, kind, self.last_seq)
            self.pass_time(data.draw(st.sampled_from([0, 2])), 4)
            pushes = [self.draw_push(data) for _ in range(data.draw(st.integers(1, 2)))]
            if key is None or not self.step_keys.alive(key, self.now_ms):
                self.make([settled, *pushes], key)

    def says_more(self, part):
        """Tell whether a push is more than a plain one where it goes."""
        has_ttl = self.queues[part.queue].options.get("ttl_seconds")
        return bool(has_ttl or (part.options and part.options["extras"]))

    def model_room(self, part):
        return part.queue in self.queues and self.queues[part.queue].has_room(part.count, 40)

    def make(self, parts, key):
        expected = self.model_step(parts)
        if isinstance(expected, Refused):
            plan = self.broker.plan_step
            error = self.refused(expected.code, plan, parts, self.now_ms, key=key)
            assert {name: error.details[name] for name in expected.details} == expected.details
            return
        results, repeats = expected
        planned = self.planned(self.broker.plan_step, parts, self.now_ms, key=key)
        assert (planned.results, planned.repeats, planned.is_repeat) == (results, repeats, False)
        if planned.record is None:
            assert len(repeats) == len(parts)
            return
        before = self.counts_of_ready()
        assert self.do(planned.record) == len(parts) - len(repeats)
        served = {queue.name for queue in planned.queues}
        assert served >= {name for name, n in self.counts_of_ready().items() if n > before[name]}
        if key is not None:
            self.step_keys.add(key, list(parts), (results, repeats), self.now_ms)

    @precondition(lambda self: self.step_keys.entries)
    @rule(data=st.data(), change=st.integers(0, 2))
    def step_again(self, data, change):
        key = data.draw(st.sampled_from(sorted(self.step_keys.entries)))
        parts, (results, repeats), _ = self.step_keys.entries[key]
        if self.step_keys.alive(key, self.now_ms) is None:
            if any(isinstance(part, Push) for part in parts):
                return  # the model wants every body once
            self.make(parts, key)
        elif change:
            planned = self.planned(self.broker.plan_step, parts, self.now_ms, key=key)
            assert planned == (None, results, repeats, True, ())
        else:
            other = [*parts, parts[0]]
            self.refused(Code.KEY_REUSED, self.broker.plan_step, other, self.now_ms, key=key)

    @rule()
    def pass_minutes(self):
        self.pass_time(600, 3)

    # Invariants

    @invariant()
    def keys_are_as_the_model(self):
        for broker in (self.broker, self.shadow):
            clock_ms = self.now_ms
            found = {
                uid: {key: made_ms for key, _, made_ms, _ in ring.living(clock_ms)}
                for uid, ring in broker.keys._rings.items()
            }
            expected = {step_records.STEPS: self.step_keys.living(clock_ms)}
            for name in self.queues:
                expected[broker.queue(name).uid] = self.keys_of(name).living(clock_ms)
            for uid in {*found, *expected}:
                assert found.get(uid, {}) == expected.get(uid, {})
            assert all(len(ring) <= MAX_KEYS for ring in broker.keys._rings.values())


StepMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestSteps = StepMachine.TestCase
