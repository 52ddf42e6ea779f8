from __future__ import annotations

import pytest

from mqd.core.broker import Broker
from mqd.core.dead_letters import Wanted
from mqd.core.fifo import ANY_SIZE
from mqd.core.messages import GIST_CHARS, MAX_HISTORY
from mqwire.codes import Code
from mqwire.limits import MAX_REASON_CHARS
from mqwire.packs import join_bodies
from support.jobs import BOUNDS, Desk, ack, refusal


def redrive(desk, name="jobs", most=100, ids=(), now_ms=0):
    found, count = desk.jobs.plan_redrive(desk.broker.queue(name), now_ms, most, ids)
    assert sum(desk.do(record) for record in found) == count
    return count


def dead_messages(desk, name="jobs"):
    return list(desk.broker.queue(name).held.dead.values())


# Failing


def test_a_failure_costs_an_attempt_and_the_message_is_ready_again():
    desk = Desk()
    desk.push("a", "b")
    seq, _ = desk.lease(2, now_ms=5)
    assert desk.nack(seq, 1, 1, now_ms=9, reason="KeyError: 'x'") == 1
    message = desk.broker.queue("jobs").held.ready[1]
    assert (message.deliveries, message.attempts, message.losses) == (1, 1, 0)
    assert message.history == (("w1", 5, 9, "nack", "KeyError: 'x'"),)
    assert desk.counts() == {"ready": 1, "leased": 1}


def test_a_hand_back_costs_nothing_and_is_on_record():
    desk = Desk(max_attempts=1, max_worker_losses=1)
    desk.push("a")
    for _ in range(3):
        seq, _ = desk.lease()
        desk.hand_back(seq)
    message = desk.broker.queue("jobs").held.ready[1]
    assert (message.deliveries, message.attempts, message.losses) == (3, 0, 0)
    assert [entry.cause for entry in message.history] == ["hand_back"] * 3


def test_a_delayed_message_is_ready_when_its_time_has_come():
    desk = Desk()
    desk.push("a", "b", "c")
    seq, _ = desk.lease(2)
    desk.nack(seq, now_ms=10, delay_ms=40)
    assert desk.counts() == {"ready": 1, "delayed": 2}
    assert desk.jobs.next_deadline_ms() == 50
    assert desk.expire(49) == 0
    assert desk.expire(50, most=1) == 1
    assert desk.jobs.next_deadline_ms() == 50
    assert desk.expire(50) == 1
    assert desk.jobs.next_deadline_ms() is None
    assert desk.texts() == ["a", "b", "c"], "old places"


def test_the_queues_back_off_is_for_those_who_do_not_ask_otherwise():
    desk = Desk(backoff="linear", backoff_seconds=2, backoff_jitter=0.5)
    desk.push("a")
    waits = []
    for how in ({}, {"chance": 0.5}, {"delay_ms": 70}, {"delay_ms": 0}):
        seq, _ = desk.lease()
        desk.nack(seq, **how)
        due_ms = desk.jobs.next_deadline_ms()
        waits.append(due_ms)
        desk.expire(10**6)
    assert waits == [2000, 3000, 70, None]


def test_messages_of_one_lease_each_have_their_own_fate():
    desk = Desk(max_attempts=2, backoff="exponential")
    desk.push("a", "b")
    desk.nack(desk.lease(1)[0], delay_ms=0)
    seq, _ = desk.lease(2)
    assert desk.nack(seq) == 2
    assert desk.counts() == {"dead": 1, "delayed": 1}
    assert dead_messages(desk)[0].message_id == 1


def test_histories_are_bounded_in_number_and_in_size():
    desk = Desk()
    desk.push("a")
    for number in range(MAX_HISTORY + 1):
        seq, _ = desk.lease()
        desk.nack(seq, reason=f"{number:<{2 * MAX_REASON_CHARS}}", delay_ms=0)
    history = desk.broker.queue("jobs").held.ready[1].history
    assert len(history) == MAX_HISTORY
    assert history[0].reason.strip() == "1"
    assert [len(entry.reason) for entry in history] == [
        *[GIST_CHARS] * (MAX_HISTORY - 1),
        MAX_REASON_CHARS,
    ]


@pytest.mark.parametrize(
    ("options", "cause"), [({"max_attempts": 3}, "nack"), ({"max_worker_losses": 3}, "expired")]
)
def test_past_a_budget_a_message_is_dead_and_stays_without_a_dead_letter_queue(options, cause):
    desk = Desk(**options)
    desk.push("a")
    for _ in range(3):
        assert desk.counts() == {"ready": 1}
        seq, _ = desk.lease()
        if cause == "nack":
            desk.nack(seq)
        else:
            desk.expire(100)
    assert desk.counts() == {"dead": 1}
    assert [entry.cause for entry in dead_messages(desk)[0].history] == [cause] * 3


# Dead letters


def test_the_dead_letter_queue_is_created_along():
    desk = Desk(dead_letter="dead", max_messages=5)
    assert [record[2] for record in desk.history] == ["dead", "jobs"]
    assert desk.info("dead")["options"]["max_messages"] == 100
    assert len(desk.broker.plan_creation("more", {"dead_letter": "dead"}, 0)) == 1
    assert len(desk.broker.plan_creation("more", {"dead_letter": "new"}, 0)) == 2


def test_a_queue_and_its_dead_letters_both_need_a_place():
    desk = Desk()
    for name in ("b", "c"):
        desk.do(desk.broker.plan_create(name, {}, 0))
    assert BOUNDS.max_queues == 4
    desk.broker.plan_creation("d", {"dead_letter": "c"}, 0)
    error = refusal(desk.broker.plan_creation, "d", {"dead_letter": "e"}, 0)
    assert error.code is Code.TOO_MANY_QUEUES


def test_no_dead_letter_may_come_back_to_its_queue():
    desk = Desk(dead_letter="b")
    desk.do(desk.broker.plan_create("c", {"dead_letter": "jobs"}, 0))
    desk.do(desk.broker.plan_delete("b"))
    for target in ("b", "c", "jobs"):
        error = refusal(desk.broker.plan_creation, "b", {"dead_letter": target}, 0)
        assert error.code is Code.OUT_OF_RANGE
        assert error.details["field"] == "dead_letter"
        assert error.details["got"] == target


def test_a_rejected_message_goes_to_the_dead_letters_with_its_history():
    desk = Desk(dead_letter="dead")
    desk.push("x", "a", now_ms=3, headers=((1, 1, {"k": 1}, 4),))
    desk.push("other", name="dead")
    ack(desk.jobs, (7, desk.lease(1)[0], (), None))
    desk.nack(desk.lease(1)[0])
    desk.reject(desk.lease(1, now_ms=5)[0], reason="no such file")
    assert desk.counts() == {}
    assert (desk.info()["moved"], desk.info("dead")["pushed"]) == (1, 2)
    (letter,) = desk.broker.queue("dead").held.ready.values()
    assert letter.origin == ("jobs", 2, 3, 1, 0)
    assert (letter.message_id, letter.attempts, letter.headers) == (2, 0, {"k": 1})
    assert [entry.reason for entry in letter.history] == ["", "no such file"]
    desk.push("last", name="dead")
    assert desk.texts("dead") == ["other", "a", "last"], "in the order of coming"
    assert desk.broker.queue("jobs").free_bytes == 1000


@pytest.mark.parametrize("bound", [{"max_messages": 1}, {"max_bytes": 3}])
def test_what_does_not_fit_into_the_dead_letter_queue_stays_dead_in_its_own(bound):
    desk = Desk()
    desk.do(desk.broker.plan_create("dead", bound, 0))
    desk.do(desk.broker.plan_create("work", {"dead_letter": "dead"}, 0))
    desk.push("a", "b", name="work")
    desk.reject(desk.lease(2, name="work")[0])
    assert desk.counts("work") == {"dead": 1}
    assert desk.counts("dead") == {"ready": 1}
    assert desk.texts("dead") == ["a"]


def test_without_its_dead_letter_queue_a_message_stays():
    desk = Desk(dead_letter="dead")
    desk.do(desk.broker.plan_delete("dead"))
    desk.push("a")
    desk.reject(desk.lease()[0])
    assert desk.counts() == {"dead": 1}
    info = desk.info()
    assert (info["pushed"], info["moved"]) == (1, 0)


# Redrive


def test_dead_messages_take_their_old_places_with_new_budgets():
    desk = Desk(max_attempts=1)
    desk.push("a", "b", "c")
    desk.nack(desk.lease(2)[0])
    assert desk.counts() == {"ready": 1, "dead": 2}
    assert redrive(desk, most=1) == 1
    assert redrive(desk) == 1
    assert redrive(desk) == 0
    message = desk.broker.queue("jobs").held.ready[1]
    assert (message.deliveries, message.attempts, len(message.history)) == (1, 0, 1)
    desk.nack(desk.lease(2)[0])
    assert redrive(desk) == 2
    assert desk.texts() == ["a", "b", "c"]


def test_a_loss_is_forgiven_too():
    desk = Desk(max_worker_losses=1)
    desk.push("a")
    desk.lease()
    desk.expire(100)
    assert redrive(desk) == 1
    assert desk.broker.queue("jobs").held.ready[1].losses == 0


def test_dead_letters_go_back_to_the_end_of_where_they_came_from():
    desk = Desk(dead_letter="dead")
    desk.push("a", "b")
    desk.push("mine", name="dead")
    desk.reject(desk.lease(2)[0])
    desk.push("c")
    assert redrive(desk, "dead", now_ms=44) == 2
    assert desk.counts("dead") == {"ready": 1}
    assert (desk.info("dead")["moved"], desk.info()["pushed"]) == (2, 5)
    message = desk.broker.queue("jobs").held.ready[4]
    assert (message.deliveries, message.origin, message.pushed_ms) == (1, None, 44)
    assert desk.texts() == ["c", "a", "b"]
    assert desk.texts("dead") == ["mine"]
    assert desk.broker.clock_ms == 44


def test_single_ids_are_driven_back_and_others_are_passed_over():
    desk = Desk(dead_letter="dead")
    desk.push("a", "b", "c")
    desk.push("mine", name="dead")
    desk.reject(desk.lease(3)[0])
    assert redrive(desk, "dead", ids=(1, 1, 3, 1, 90, 2)) == 1
    assert desk.texts() == ["b"]
    assert redrive(desk, "dead", ids=(3, 1)) == 0
    assert redrive(desk, "jobs", ids=(1, 9)) == 0
    desk.do(desk.broker.plan_delete("dead"))
    desk.push("d")
    seq, _ = desk.lease()
    desk.reject(seq)
    assert redrive(desk, ids=(5, 1)) == 1


def test_a_queue_that_never_had_a_dead_message_has_none_to_drive_back():
    assert redrive(Desk()) == 0


def test_what_cannot_go_back_stays_and_is_told_where_nothing_can():
    desk = Desk(dead_letter="dead", max_messages=2)
    desk.do(desk.broker.plan_create("gone", {"dead_letter": "dead"}, 0))
    desk.push("x", name="gone")
    desk.reject(desk.lease(name="gone")[0])
    desk.do(desk.broker.plan_delete("gone"))
    dead = desk.broker.queue("dead")
    error = refusal(desk.jobs.plan_redrive, dead, 0, 9)
    assert (error.code, error.details) == (Code.QUEUE_NOT_FOUND, {"queue": "gone"})
    desk.push("a", "b")
    desk.reject(desk.lease(2)[0])
    desk.push("c")
    assert redrive(desk, "dead") == 1
    error = refusal(desk.jobs.plan_redrive, dead, 0, 9, (3, 1))
    assert error.code is Code.QUEUE_FULL
    assert error.details == {
        "queue": "jobs", "bound": "max_messages", "limit": 2, "present": 2, "asked": 1
    }  # fmt: skip
    assert desk.counts("dead") == {"ready": 2}


def test_bytes_bound_the_way_back_too():
    desk = Desk(dead_letter="dead", max_bytes=4)
    desk.push("abc")
    desk.reject(desk.lease()[0])
    desk.push("d")
    error = refusal(desk.jobs.plan_redrive, desk.broker.queue("dead"), 0, 9)
    assert error.details == {
        "queue": "jobs", "bound": "max_bytes", "limit": 4, "present": 2, "asked": 4
    }  # fmt: skip


def test_records_alone_give_the_same_dead_letters():
    desk = Desk(dead_letter="dead")
    desk.push("a", "b", "c")
    desk.push("mine", name="dead")
    desk.reject(desk.lease(3)[0], reason="why")
    redrive(desk, "dead", ids=(3, 1))
    desk.push("last", name="dead")
    for exported in (False, True):
        other = desk.rebuilt(is_exported=exported)
        letters = {k: m.export() for k, m in other.queue("dead").held.ready.items()}
        assert letters == {k: m.export() for k, m in desk.broker.queue("dead").held.ready.items()}
        assert [q.info(0) for q in other.queues()] == [q.info(0) for q in desk.broker.queues()]
        assert other.plan_push("dead", 1, join_bodies("x"), (), 0)[2] == 6
        assert other.queue("dead").fifo.peek(0, 9, ANY_SIZE).count == 1
    assert isinstance(other, Broker)


def test_a_redrive_may_be_of_a_cause_or_an_origin_alone():
    desk = Desk(dead_letter="dead", max_worker_losses=1)
    desk.do(desk.broker.plan_create("other", {"dead_letter": "dead"}, 0))
    desk.push("a", "b")
    desk.push("c", name="other")
    desk.reject(desk.lease(1)[0])
    desk.lease(1, deadline_ms=5)
    desk.expire(now_ms=5)
    desk.reject(desk.lease(1, name="other")[0])

    def redriven(**wanted):
        queue = desk.broker.queue("dead")
        found, count = desk.jobs.plan_redrive(queue, 9, 100, (), Wanted(**wanted))
        return count, [record[2] for record in found]

    assert redriven(cause="nack") == (0, [])
    assert redriven(cause="reject") == (2, [(1, 1), (3, 1)])
    assert redriven(cause="expired") == (1, [(2, 1)])
    assert redriven(origin="other") == (1, [(3, 1)])
    assert redriven(origin="other", cause="expired") == (0, [])
    assert redriven()[0] == 3
