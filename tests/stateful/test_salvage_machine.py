"""What a salvage makes of the records of a broker's life when some of them are missing.

The broker's life is that of `StepMachine`: queues, leases, dead letters, steps and keys,
priorities, delays, TTLs, pauses and caps. At
any moment slices of its records, perhaps behind a snapshot, are left out, and the rest is
salvaged: everything that is there and lies in a record that was found has to be kept, once.
"""

from __future__ import annotations

import re
from collections import Counter

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import invariant, rule

from mqd.core import job_records, order_records, records, step_records
from mqd.core.broker import Broker
from mqd.core.salvage import NO_BOUNDS, SHAPES, Salvager
from mqd.store.recordlog import encode
from stateful.test_job_machine import BOUNDS, picture, whole_picture
from stateful.test_step_machine import StepMachine

BODY = re.compile(rb"\xa4\d{4}")
CREATIONS = (records.CREATE, records.RESTORE)
UNORDERED_KINDS = {
    *range(job_records.LEASE, job_records.MORE + 1),
    order_records.PUSH_WITH,
    order_records.PUSH_EACH,
    order_records.PULL_EACH,
    order_records.PARCEL,
    order_records.TURN,
    order_records.EXPIRE,
}
"""Where one of them was seen, nobody goes by the order of ids."""


def kinds_in(record):
    yield record[0]
    inner = record[-1] if record[0] in (step_records.STEP, step_records.KEYED_STEP) else ()
    if record[0] == step_records.KEYED_PUSH:
        inner = (record[-1],)
    for each in inner:
        yield from kinds_in(each)


class SalvageMachine(StepMachine):
    def __init__(self):
        super().__init__()
        self.history = []
        self.base = ([], 0)

    def follow(self, record):
        super().follow(record)
        self.history.append(record)

    @rule()
    def snapshot(self):
        self.base = (list(self.shadow.export()), len(self.history))

    @rule(chance=st.randoms(use_true_random=False), is_behind_snapshot=st.booleans())
    def salvage(self, chance, is_behind_snapshot):
        base, begin = self.base if is_behind_snapshot else ([], 0)
        found = [*base, *self.history[begin:]]
        self.salvaged(found, set())
        for _ in range(20 if found else 0):
            gone = set()
            for _ in range(chance.randint(1, 3)):
                start = chance.randrange(len(found))
                gone.update(range(start, start + chance.choice([1, 1, 2, 3, 8])))
            if chance.random() < 0.8:
                gone -= {index for index, record in enumerate(found) if record[0] in CREATIONS}
            self.salvaged(found, gone)

    def salvaged(self, found, gone):
        salvager = Salvager(Broker(BOUNDS))
        kept, is_fair, is_unordered, has_gap = [], True, False, False
        for index, record in enumerate(found):
            if index in gone:
                has_gap = True
                salvager.note_gap()
                continue
            kept.append(record)
            kinds = set(kinds_in(record))
            is_unordered |= bool(kinds & UNORDERED_KINDS)
            if (
                has_gap
                and not is_unordered
                and kinds & {records.PULL, records.PURGE, records.DELETE}
            ):
                is_fair = False  # nobody can know that there was no order
            assert record[0] in SHAPES
            reason = salvager.apply(record)
            assert reason is None or gone, reason
        outcomes = salvager.finish()
        rebuilt = Broker(NO_BOUNDS)
        rebuilt.apply_all(salvager.export())
        if not gone & set(range(len(found))):
            assert outcomes == []
            assert whole_picture(rebuilt, self.now_ms) == whole_picture(self.shadow, self.now_ms)
        self.judge(rebuilt, kept, outcomes, is_fair)

    def judge(self, rebuilt, kept, outcomes, is_fair):
        bodies = Counter(seen[1] for seen in picture(rebuilt).values())
        assert not bodies or max(bodies.values()) == 1, "a message is there twice"
        readable = set(BODY.findall(encode(kept)))
        assert bodies.keys() <= readable, "a message is made up"
        wanted = {seen[1] for seen in picture(self.shadow).values()} & readable
        if is_fair:
            assert wanted <= bodies.keys(), "a message is lost"
        there = {queue.name: queue.fifo.count + queue.outside for queue in rebuilt.queues()}
        assert all(outcome.kept == there[outcome.name] for outcome in outcomes)
        for queue in rebuilt.queues():
            info = queue.info(self.now_ms)
            states = ("ready", "delayed", "leased", "dead")
            ways = ("pulled", "acked", "purged", "moved", "expired")
            assert info["pushed"] == sum(info[part] for part in states + ways)
            assert queue.fifo.next_id > max(
                (n for name, n in picture(rebuilt) if name == queue.name), default=0
            )

    @invariant()
    def keys_are_as_the_model(self):
        """That is looked at elsewhere."""


SalvageMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestSalvage = SalvageMachine.TestCase
