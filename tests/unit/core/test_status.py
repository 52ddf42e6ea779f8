"""Where messages are: every id is in exactly one state, and a position is what pulls show."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqd.core import finding
from mqd.core import status as statuses
from mqd.core.cancelling import plan_cancel
from mqd.core.fifo import ANY_SIZE
from mqd.core.status import Survey
from mqwire.runs import ids_of
from support.jobs import Desk


def survey(desk, now_ms=0, name="jobs"):
    queue = desk.broker.queue(name)
    target = queue.dead_letter
    known = desk.broker.queue(target) if target in desk.broker else None
    return Survey(queue, known, now_ms)


def states(desk, now_ms=0):
    found = survey(desk, now_ms)
    return [found.find(each).state for each in range(desk.broker.queue("jobs").fifo.next_id + 1)]


def test_every_state_there_is():
    desk = Desk(keep_results_seconds=10)
    desk.push(*"abcdefg")
    desk.broker.take(desk.broker.queue("jobs"), 1, ANY_SIZE)
    seq, _ = desk.lease(5)
    desk.do(desk.jobs.plan_ack((7, seq, (2, 1), None), 5, b"r"))
    desk.nack(seq, 3, 1, delay_ms=50)
    desk.hand_back(seq, 4, 1)
    desk.reject(seq, 5, 1, reason="broken")
    assert states(desk) == [
        "unknown", "gone", "done", "delayed", "ready", "dead", "leased", "ready", "unknown",
    ]  # fmt: skip
    found = survey(desk)
    assert found.find(2).outcome.result == b"r"
    assert found.find(3).message.due_ms == 50
    assert (found.find(4).position, found.find(7).position) == (0, 1)
    assert found.find(5).message.history[-1].reason == "broken"
    assert found.find(6).lease.seq == seq
    assert found.find(6).message.deliveries == 1
    assert states(desk, 10_005)[2] == "gone"


def test_a_message_that_was_never_delivered_has_no_object():
    desk = Desk()
    desk.push("a")
    assert survey(desk).find(1) == statuses.Status("ready", 0)


def test_a_dead_letter_is_found_where_it_went():
    desk = Desk(dead_letter="dead")
    desk.push(*"abc")
    seq, _ = desk.lease(3)
    desk.do(desk.broker.plan_push("dead", 1, b"\xa1z", (), 0))
    desk.reject(seq, 2, 1, reason="broken")
    desk.do(desk.jobs.plan_ack((7, seq, (), None)))
    found = survey(desk).find(2)
    assert (found.state, found.moved_to, found.message.message_id) == ("dead", "dead", 2)
    assert states(desk) == ["unknown", "gone", "dead", "gone", "unknown"]
    records, _ = desk.jobs.plan_redrive(desk.broker.queue("dead"), 8, 9)
    for record in records:
        desk.do(record)
    assert states(desk) == ["unknown", "gone", "gone", "gone", "ready", "unknown"]


def test_a_message_that_has_come_back_is_found_by_all_its_names():
    desk = Desk(dead_letter="dead", keep_results_seconds=10)
    desk.push("a")
    for new_id in (2, 3):
        desk.reject(desk.lease()[0])
        for record in desk.jobs.plan_redrive(desk.broker.queue("dead"), 8, 9)[0]:
            desk.do(record)
        for old_id in range(1, new_id):
            found = survey(desk).find(old_id)
            assert (found.state, found.position, found.new_id) == ("ready", 0, new_id)
        assert survey(desk).find(new_id).new_id == 0
    desk.do(desk.jobs.plan_ack((7, desk.lease()[0], (), None), 9, "r"))
    found = survey(desk).find(1)
    assert (found.state, found.outcome.result, found.new_id) == ("done", "r", 3)


def test_dead_letters_of_others_are_not_ours(monkeypatch):
    desk = Desk(dead_letter="dead")
    for record in desk.broker.plan_creation("more", {"dead_letter": "dead"}, 0):
        desk.do(record)
    desk.push("a", name="more")
    seq, _ = desk.lease(name="more")
    desk.reject(seq)
    desk.push("a")
    desk.broker.take(desk.broker.queue("jobs"), 1, ANY_SIZE)
    assert states(desk) == ["unknown", "gone", "unknown"]
    assert survey(desk, name="more").find(1).state == "dead"
    monkeypatch.setattr(statuses, "MAX_SEARCHED", 0)
    assert survey(desk, name="more").find(1).state == "gone"


def test_among_too_many_returned_messages_no_position_is_told(monkeypatch):
    desk = Desk()
    desk.push(*"abcde")
    seq, _ = desk.lease(3)
    desk.hand_back(seq)
    assert [survey(desk).find(each).position for each in range(1, 6)] == [0, 1, 2, 3, 4]
    monkeypatch.setattr(statuses, "MAX_COUNTED", 2)
    assert [survey(desk).find(each).position for each in (1, 5)] == [None, None]


def test_messages_of_parcels_are_found_by_any_of_their_ids(monkeypatch):
    desk = Desk()
    desk.push("a")
    desk.push_with("b", "c", "d", priority=200)
    desk.push_with("e", "f", due_ms=90)
    desk.push("g", "h")
    desk.push_with("i", priority=1)
    for limit in (100_000, 0):
        monkeypatch.setattr(finding, "MAX_PROBED", limit)
        found = survey(desk)
        for _ in range(2):
            ready = [found.find(each).position for each in (2, 3, 4, 1, 7, 8, 9)]
            assert ready == list(range(7))
            assert [found.find(each).due_ms for each in (5, 6)] == [90, 90]
    desk.lease(2)
    assert states(desk)[1:] == [
        "ready", "leased", "leased", "ready", "delayed", "delayed", "ready", "ready", "ready",
        "unknown",
    ]  # fmt: skip
    desk.broker.take(desk.broker.queue("jobs"), 1, ANY_SIZE)
    monkeypatch.setattr(finding, "MAX_PROBED", 0)
    assert states(desk)[3:6] == ["leased", "gone", "delayed"]
    assert states(desk)[4:7] == ["gone", "delayed", "delayed"]
    monkeypatch.setattr(statuses, "MAX_COUNTED", 0)
    assert survey(desk).find(1).position is None


def test_what_was_dropped_is_gone_and_a_queue_that_keeps_results_knows_why():
    for options in ({}, {"keep_results_seconds": 10}):
        desk = Desk(ttl_seconds=0.05, **options)
        desk.push("a", "b", now_ms=0)
        desk.push("c", now_ms=0)
        seq, _ = desk.lease(1)
        desk.expire(60)
        desk.nack(seq, now_ms=70)
        assert states(desk, 100) == ["unknown", "gone", "gone", "gone", "unknown"]
        outcomes = [survey(desk, 100).find(each).outcome for each in (1, 2, 3)]
        if options:
            assert [(each.cause, each.at_ms, each.deliveries) for each in outcomes] == [
                ("ttl", 70, 1), ("ttl", 60, 0), ("ttl", 60, 0)
            ]  # fmt: skip
        else:
            assert outcomes == [None] * 3


def test_what_expired_and_became_a_dead_letter_is_dead_with_that_cause():
    desk = Desk(ttl_seconds=0.05, on_expiry="dead_letter", dead_letter="dead")
    desk.push("a", now_ms=0)
    desk.expire(60)
    found = survey(desk).find(1)
    assert (found.state, found.moved_to) == ("dead", "dead")
    desk = Desk(
        ttl_seconds=0.05, on_expiry="dead_letter", dead_letter="dead", keep_results_seconds=10
    )
    desk.push("a", now_ms=0)
    desk.expire(60)
    assert survey(desk).find(1).outcome.cause == "ttl"
    assert survey(desk).find(1).outcome.moved_to == ("dead", 1)


class World:
    """A queue under random steps, and what has to be true of each of its messages."""

    STEPS = (
        "push",
        "push",
        "push_with",
        "push_with",
        "lease",
        "lease",
        "ack",
        "nack",
        "back",
        "reject",
        "take",
        "time",
        "cancel",
        "cancel",
    )

    def __init__(self, seed, **options):
        self.chooser = random.Random(seed)
        self.desk = Desk(max_messages=60, **options)
        self.queue = self.desk.broker.queue("jobs")
        self.keeps = "keep_results_seconds" in options
        self.states = {}
        self.priorities = {}
        self.due_ms = {}
        self.expires_ms = {}
        self.done_ms = {}
        self.leases = {}
        self.marked = set()
        self.now_ms = 0

    def step(self):
        getattr(self, self.chooser.choice(self.STEPS))()

    def push(self):
        count = self.chooser.randint(1, 4)
        if self.has_room():
            first = self.desk.push(*"abcd"[:count], now_ms=self.now_ms)
            self.states.update(dict.fromkeys(range(first, first + count), "ready"))

    def has_room(self):
        here = ("ready", "delayed", "leased", "dead")
        return sum(1 for state in self.states.values() if state in here) < 50

    def push_with(self):
        count, ttl_ms = self.chooser.randint(1, 4), self.chooser.choice([0, 0, 9])
        due_ms = self.chooser.choice([0, 0, self.now_ms + 4])
        priority = self.chooser.choice([0, 128, 128, 200])
        if self.has_room():
            first = self.desk.push_with(
                *"abcd"[:count],
                now_ms=self.now_ms,
                priority=priority,
                due_ms=due_ms,
                ttl_ms=ttl_ms,
            )
            ids = range(first, first + count)
            self.states.update(dict.fromkeys(ids, "delayed" if due_ms else "ready"))
            self.priorities.update(dict.fromkeys(ids, priority))
            self.due_ms.update(dict.fromkeys(ids, due_ms))
            self.expires_ms.update(dict.fromkeys(ids, self.now_ms + ttl_ms if ttl_ms else 0))

    def lease(self):
        if self.queue.ready:
            deadline_ms = self.now_ms + self.chooser.randint(1, 9)
            most = self.chooser.randint(1, 5)
            seq, batches = self.desk.lease(most, deadline_ms=deadline_ms, now_ms=self.now_ms)
            ids = {b.first_id + i for b in batches for i in range(b.count)}
            self.leases[seq] = (ids, deadline_ms)
            self.states.update(dict.fromkeys(ids, "leased"))

    def chosen(self):
        if not self.leases:
            return None
        seq = self.chooser.choice(sorted(self.leases))
        ids = sorted(self.leases[seq][0])
        some = self.chooser.sample(ids, self.chooser.randint(1, len(ids)))
        return seq, some, tuple(each for number in some for each in (number, 1))

    def settle(self, seq, ids, state):
        held = self.leases[seq][0]
        held.difference_update(ids)
        if not held:
            del self.leases[seq]
        dropped = self.marked.intersection(ids) if state != "done" else set()
        for number in ids:
            self.states[number] = "cancelled" if number in dropped else state
        self.done_ms.update(dict.fromkeys(dropped, self.now_ms))
        if state in ("ready", "delayed"):
            self.drop_expired(set(ids) - dropped)

    def drop_expired(self, ids):
        for number in ids:
            if 0 < self.expires_ms.get(number, 0) <= self.now_ms:
                self.states[number] = "gone"

    def cancel(self):
        ids = self.chooser.sample(range(1, 90), self.chooser.randint(1, 8))
        runs = tuple(each for number in ids for each in (number, 1))
        waiting = {n for n in ids if self.states.get(n) in ("ready", "delayed")}
        marked = {n for n in ids if self.states.get(n) == "leased"} - self.marked
        planned = plan_cancel(self.queue, runs, self.now_ms)
        assert (planned.removed, planned.marked) == (len(waiting), len(marked))
        for record in planned.records:
            self.desk.do(record)
        self.marked |= marked
        self.states.update(dict.fromkeys(waiting, "cancelled"))
        self.done_ms.update(dict.fromkeys(waiting, self.now_ms))

    def ack(self):
        if found := self.chosen():
            seq, ids, runs = found
            self.desk.do(self.desk.jobs.plan_ack((7, seq, runs, None), self.now_ms, b"r"))
            self.settle(seq, ids, "done")
            self.done_ms.update(dict.fromkeys(ids, self.now_ms))

    def nack(self):
        if found := self.chosen():
            seq, ids, runs = found
            delay_ms = self.chooser.choice([0, 3])
            self.desk.nack(seq, *runs, now_ms=self.now_ms, delay_ms=delay_ms)
            self.due_ms.update(dict.fromkeys(ids, self.now_ms + delay_ms))
            self.settle(seq, ids, "delayed" if delay_ms else "ready")

    def back(self):
        if found := self.chosen():
            seq, ids, runs = found
            self.desk.do(self.desk.jobs.plan_hand_back((7, seq, runs, None), self.now_ms))
            self.settle(seq, ids, "ready")

    def reject(self):
        if found := self.chosen():
            seq, ids, runs = found
            self.desk.do(self.desk.jobs.plan_reject((7, seq, runs, None), self.now_ms))
            self.settle(seq, ids, "dead")

    def take(self):
        if self.queue.ready:
            most = self.chooser.randint(1, 3)
            batches = self.desk.broker.take(self.queue, most, ANY_SIZE)
            ids = [n for each in batches for n in range(each.first_id, each.first_id + each.count)]
            self.desk.history.append((4, self.queue.uid, len(ids)))
            self.states.update(dict.fromkeys(ids, "gone"))

    def time(self):
        self.now_ms += self.chooser.randint(1, 5)
        self.desk.expire(self.now_ms, most=10_000)
        self.drop_expired([n for n, state in self.states.items() if state in ("ready", "delayed")])
        for seq, (ids, deadline_ms) in list(self.leases.items()):
            if deadline_ms <= self.now_ms:
                self.settle(seq, list(ids), "ready")
        for number, state in self.states.items():
            if state == "delayed" and self.due_ms[number] <= self.now_ms:
                self.states[number] = "ready"

    def expected(self, number):
        state = self.states[number]
        if state in ("done", "cancelled"):
            is_known = self.keeps and self.now_ms < self.done_ms[number] + 10
            return state if is_known else "gone"
        return state

    def check(self, desk):
        found = survey(desk, self.now_ms)
        queue = desk.broker.queue("jobs")
        for number in self.states:
            assert found.find(number).state == self.expected(number), number
        assert found.find(len(self.states) + 1).state == "unknown"
        ready = [n for n, state in self.states.items() if state == "ready"]
        ready.sort(key=lambda n: (-self.priorities.get(n, 128), n))
        assert [found.find(n).position for n in ready] == list(range(len(ready)))
        counts = {
            "acked": "done",
            "cancelled": "cancelled",
            "ready": "ready",
            "delayed": "delayed",
            "leased": "leased",
            "dead": "dead",
        }
        info = queue.info(self.now_ms)
        for key, state in counts.items():
            assert info[key] == sum(1 for each in self.states.values() if each == state), key
        gone = sum(1 for each in self.states.values() if each == "gone")
        assert info["pulled"] + info["expired"] == gone
        assert info["pushed"] == len(self.states)
        present = [n for n, s in self.states.items() if s in ("ready", "delayed", "leased", "dead")]
        assert queue.max_messages - queue.room()[0] == len(present)
        assert queue.max_bytes - queue.room()[1] == 2 * len(present)
        for number, state in self.states.items():
            if state == "delayed":
                assert found.find(number).due_ms == self.due_ms[number]
        for seq, (ids, _) in self.leases.items():
            assert (queue.leases[seq].cancelled or set()) == ids & self.marked
            assert {found.find(n).lease.seq for n in ids} == {seq}
            assert set(ids_of(queue.leases[seq].ids())) == ids


@pytest.mark.parametrize("options", [{}, {"keep_results_seconds": 0.01}])
@given(seed=st.integers(0, 2**32))
def test_status_agrees_with_a_model(options, seed):
    world = World(seed, **options)
    for number in range(60):
        world.step()
        if number % 7 == 0:
            world.check(world.desk)
    world.check(world.desk)
    for is_exported in (False, True):
        other = Desk()
        other.broker = world.desk.rebuilt(is_exported=is_exported)
        world.check(other)


def test_many_parcels_are_put_in_order_once(monkeypatch):
    monkeypatch.setattr(finding, "MAX_PROBED", 3)
    desk = Desk()
    desk.push_with("a", priority=3)
    desk.push(*"bcdefgh")
    desk.push_with("i", "j", priority=3)
    desk.push("k", "l")
    parcels = finding.Parcels(desk.broker.queue("jobs"))
    assert [parcels.key_of(each) for each in (11, 2, 1, 9, 10, 12)] == [0, 0, 1, 10, 10, 0]
    assert parcels._keys is None
    monkeypatch.setattr(finding, "MAX_MESSAGES_PER_FRAME", 4)
    parcels = finding.Parcels(desk.broker.queue("jobs"))
    assert parcels.key_of(2) == 0
    assert parcels._keys == [1, 10]
    assert [parcels.key_of(each) for each in (1, 5, 9, 10, 12)] == [1, 0, 10, 10, 0]
