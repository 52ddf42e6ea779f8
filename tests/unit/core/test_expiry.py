from __future__ import annotations

import pytest

from mqd.core import deadlines, records
from mqd.core.cancelling import plan_cancel
from mqd.core.fifo import ANY_SIZE
from mqd.core.parcels import PushExtras
from mqd.core.queue import Waiter
from mqwire import causes
from mqwire.packs import join_bodies
from support.jobs import Desk, ack, texts_of


def push(desk, *texts, headers=(), now_ms=0, name="jobs", **extras):
    pack = join_bodies(texts)
    how = PushExtras(**extras)
    return desk.do(desk.broker.plan_push(name, len(texts), pack, headers, now_ms, extras=how))


def expired(desk):
    return desk.info()["expired"]


# Waiting too long


def test_messages_of_a_queue_with_a_ttl_expire_when_it_has_passed():
    desk = Desk(ttl_seconds=0.1)
    desk.push("a", "b", now_ms=0)
    desk.push("c", now_ms=1)
    assert desk.jobs.next_deadline_ms() == 100
    assert desk.expire(99) == 0
    assert desk.expire(100) == 2
    assert (expired(desk), desk.counts()) == (2, {"ready": 1})
    assert desk.jobs.next_deadline_ms() == 101
    assert desk.broker.queue("jobs").free_messages == 99


def test_of_two_ttls_the_shorter_counts():
    desk = Desk(ttl_seconds=0.1)
    push(desk, "a", ttl_ms=40)
    push(desk, "b", ttl_ms=900)
    push(desk, "c")
    assert desk.jobs.next_deadline_ms() == 40
    assert desk.expire(40) == 1
    assert desk.jobs.next_deadline_ms() == 100
    assert desk.expire(100) == 2


def test_what_was_taken_does_not_expire_and_leaves_no_time_behind():
    desk = Desk(ttl_seconds=0.1)
    desk.push("a", "b")
    queue = desk.broker.queue("jobs")
    desk.broker.take(queue, 1, ANY_SIZE)
    assert desk.jobs.next_deadline_ms() == 100
    desk.broker.take(queue, 1, ANY_SIZE)
    assert desk.jobs.next_deadline_ms() is None


def test_what_is_left_of_a_parcel_expires():
    desk = Desk()
    push(desk, *"abcd", ttl_ms=100, headers=((0, 4, {"k": 1}, 3),))
    desk.broker.take(desk.broker.queue("jobs"), 3, ANY_SIZE)
    assert desk.expire(100) == 1
    assert (expired(desk), desk.counts(), desk.info()["pulled"]) == (1, {}, 3)
    assert desk.broker.queue("jobs").free_bytes == 1000


def test_messages_expire_in_the_middle_of_a_queue():
    desk = Desk()
    for text, ttl_ms in zip("abcdef", (0, 50, 0, 50, 60, 0), strict=True):
        push(desk, text, ttl_ms=ttl_ms, priority=200)
    assert [desk.expire(60, most=1) for _ in range(4)] == [1, 1, 1, 0]
    assert "".join(desk.texts()) == "acf"


def test_delayed_messages_expire_too():
    desk = Desk()
    push(desk, "a", "b", ttl_ms=50, due_ms=200)
    push(desk, "c", ttl_ms=90)
    seq, _ = desk.lease(1, deadline_ms=900)
    desk.nack(seq, delay_ms=500)
    assert desk.counts() == {"delayed": 3}
    assert desk.expire(50) == 2
    assert desk.expire(90) == 1
    assert expired(desk) == 3
    assert desk.jobs.next_deadline_ms() is None


def test_what_is_due_and_expired_at_once_expires():
    desk = Desk()
    push(desk, "a", ttl_ms=50, due_ms=50)
    assert desk.expire(50) == 1
    assert (expired(desk), desk.counts()) == (1, {})


@pytest.mark.parametrize("way", ["hand_back", "nack", "delay", "loss"])
def test_leased_messages_expire_when_they_come_back(way):
    desk = Desk()
    push(desk, "a", "b", ttl_ms=50)
    seq, _ = desk.lease(1, deadline_ms=80)
    desk.do(desk.jobs.plan_ack((7, desk.lease(1, deadline_ms=900)[0], (), None)))
    assert desk.expire(60) == 0, "what is leased is not touched"
    if way == "hand_back":
        desk.do(desk.jobs.plan_hand_back((7, seq, (), None), 60))
    elif way == "loss":
        desk.expire(80)
    else:
        desk.nack(seq, now_ms=60, delay_ms=5 if way == "delay" else 0)
    assert (expired(desk), desk.counts()) == (1, {})
    assert desk.jobs.next_deadline_ms() is None


def test_a_message_that_comes_back_in_time_goes_on_waiting_for_its_end():
    desk = Desk()
    push(desk, "a", ttl_ms=50)
    seq, _ = desk.lease()
    desk.hand_back(seq)
    assert desk.jobs.next_deadline_ms() == 50
    assert desk.expire(50) == 1


# What becomes of it


def test_expired_messages_become_dead_letters_where_the_queue_says_so():
    desk = Desk(ttl_seconds=0.05, on_expiry="dead_letter", dead_letter="dead")
    push(desk, "a", "b", priority=9, now_ms=3, max_attempts=4)
    assert desk.expire(53) == 2
    assert (expired(desk), desk.info()["moved"]) == (0, 2)
    letter = desk.broker.queue("dead").held.ready[1]
    assert letter.origin == ("jobs", 1, 3, 0, 0)
    assert letter.history == (("", 53, 53, causes.TTL, ""),)
    assert (letter.expires_ms, letter.priority) == (0, 9)
    assert desk.jobs.next_deadline_ms() is None


def test_without_room_among_dead_letters_they_are_dead_where_they_are():
    desk = Desk(ttl_seconds=0.05, on_expiry="dead_letter")
    desk.push("a")
    desk.expire(50)
    assert (desk.counts(), expired(desk)) == ({"dead": 1}, 0)
    assert desk.jobs.next_deadline_ms() is None
    found, _ = desk.jobs.plan_redrive(desk.broker.queue("jobs"), 500, 9)
    desk.do(found[0])
    assert desk.jobs.next_deadline_ms() == 550, "it has a new life"


def test_old_and_dead_messages_share_the_room_among_dead_letters():
    desk = Desk(dead_letter="dead", on_expiry="dead_letter", max_attempts=1)
    desk.do(desk.broker.plan_delete("dead"))
    desk.do(desk.broker.plan_create("dead", {"max_messages": 1}, 0))
    push(desk, "a", ttl_ms=50)
    push(desk, "b", ttl_ms=50, max_attempts=9)
    seq, _ = desk.lease(2)
    desk.nack(seq, now_ms=60)
    assert desk.counts() == {"dead": 1}
    assert desk.counts("dead") == {"ready": 1}


def test_a_letter_goes_by_the_ttl_of_its_queue_and_a_redriven_one_by_both():
    desk = Desk(dead_letter="dead", max_attempts=1)
    desk.do(desk.broker.plan_delete("dead"))
    desk.do(desk.broker.plan_create("dead", {"ttl_seconds": 5}, 0))
    push(desk, "a", ttl_ms=70)
    seq, _ = desk.lease()
    desk.nack(seq, now_ms=10)
    assert desk.jobs.next_deadline_ms() == 5010
    found, _ = desk.jobs.plan_redrive(desk.broker.queue("dead"), 1000, 9)
    desk.do(found[0])
    assert desk.jobs.next_deadline_ms() == 1070


# Budgets of a message


def test_a_push_may_have_budgets_of_its_own():
    desk = Desk(max_attempts=1, max_worker_losses=3)
    push(desk, "a", max_attempts=3, max_losses=1)
    for attempt in (1, 2):
        seq, _ = desk.lease()
        desk.nack(seq)
        assert desk.broker.queue("jobs").held.ready[1].attempts == attempt
    desk.lease(deadline_ms=10)
    desk.expire(10)
    assert desk.counts() == {"dead": 1}
    assert desk.broker.queue("jobs").held.dead[1].losses == 1


def test_a_push_that_says_nothing_of_budgets_goes_by_the_queues():
    desk = Desk(max_attempts=1)
    push(desk, "a", priority=9, max_losses=5)
    seq, _ = desk.lease()
    desk.nack(seq)
    assert desk.counts() == {"dead": 1}


def test_budgets_of_a_push_do_not_count_among_dead_letters():
    desk = Desk(dead_letter="dead", max_attempts=2)
    push(desk, "a", max_attempts=1)
    seq, _ = desk.lease()
    desk.nack(seq)
    for _ in range(3):
        seq, _ = desk.lease(name="dead")
        desk.nack(seq)
    assert desk.counts("dead") == {"ready": 1}


# Queues without use


def ending(desk, now_ms):
    found = list(desk.jobs.plan_expiry(now_ms, 1))
    return [record for record in found if record[0] == records.DELETE]


@pytest.fixture
def idle():
    desk = Desk()
    desk.jobs.started_ms = 0
    desk.do(desk.broker.plan_create("idle", {"expires_seconds": 1}, 100))
    return desk


def test_a_queue_without_use_is_deleted(idle):
    assert idle.jobs.next_deadline_ms() == 1100
    assert ending(idle, 1099) == []
    ((kind, uid),) = idle.jobs.plan_expiry(1100, 1)
    assert (kind, idle.broker.queue_of(uid).name) == (records.DELETE, "idle")
    idle.do((kind, uid))
    assert "idle" not in idle.broker
    assert idle.jobs.next_deadline_ms() is None


def test_pushes_leases_and_whoever_says_so_use_a_queue(idle):
    queue = idle.broker.queue("idle")
    idle.push("a", name="idle", now_ms=200)
    assert ending(idle, 1100) == []
    assert idle.jobs.next_deadline_ms() == 1200
    push(idle, "b", name="idle", now_ms=300, priority=3)
    assert ending(idle, 1200) == []
    seq, _ = idle.lease(name="idle", now_ms=400, deadline_ms=9999)
    assert ending(idle, 1500) == [], "leases are use"
    ack(idle.jobs, (7, seq, (), None))
    queue.used_ms = 2000
    assert ending(idle, 2999) == []
    assert idle.jobs.next_deadline_ms() == 3000
    assert len(ending(idle, 3000)) == 1


def test_those_who_wait_use_a_queue(idle):
    waiter = Waiter(1, ANY_SIZE)
    queue = idle.broker.queue("idle")
    queue.waiters[waiter] = None
    assert ending(idle, 1100) == []
    del queue.waiters[waiter]
    assert ending(idle, 2099) == []
    assert len(ending(idle, 2100)) == 1


def test_a_dead_letter_uses_the_queue_that_it_comes_to(idle):
    idle.do(idle.broker.plan_create("work", {"dead_letter": "idle"}, 0))
    idle.push("a", name="work")
    seq, _ = idle.lease(name="work")
    idle.do(idle.jobs.plan_reject((7, seq, (), None), 800))
    assert ending(idle, 1100) == []
    assert idle.jobs.next_deadline_ms() == 1800


@pytest.mark.parametrize("is_told", [False, True])
def test_a_restart_counts_as_use(idle, is_told):
    other = idle.rebuilt(is_exported=True)
    if is_told:
        other.jobs.started_ms = 50_000
    assert list(other.jobs.plan_expiry(50_000, 10)) == []
    assert other.jobs.next_deadline_ms() == 51_000
    assert list(other.jobs.plan_expiry(51_000, 1)) == [(records.DELETE, 2)]


# Rebuilding


@pytest.mark.parametrize("is_exported", [False, True])
def test_all_of_it_is_rebuilt(is_exported):
    desk = Desk(ttl_seconds=0.5, dead_letter="dead")
    push(desk, "a", ttl_ms=40, max_attempts=7)
    push(desk, "b", "c", ttl_ms=90, due_ms=60, max_losses=2)
    desk.push("d", "e", "f", now_ms=10)
    push(desk, "g", ttl_ms=300)
    desk.expire(40)
    seq, _ = desk.lease(2, deadline_ms=99)
    desk.lease(2, deadline_ms=999)
    desk.nack(seq, 4, 1, delay_ms=70)
    other = desk.rebuilt(is_exported=is_exported)
    other.jobs.epoch = 7
    assert other.queue("jobs").info(50) == desk.broker.queue("jobs").info(50)
    for now_ms in (70, 90, 99, 400, 1200):
        assert other.jobs.next_deadline_ms() == desk.jobs.next_deadline_ms()
        twins = []
        for record in other.jobs.plan_expiry(now_ms, 9):
            twins.append(record)
            other.apply(record)
        done = len(desk.history)
        desk.expire(now_ms, 9)
        assert twins == desk.history[done:]
    assert expired(desk) == other.queue("jobs").info(0)["expired"] == 7
    assert texts_of([]) == desk.texts() == []


def test_a_tally_of_a_version_without_expiry_is_applied():
    desk = Desk()
    desk.do((17, 1, 3, 2))
    info = desk.info()
    assert (info["acked"], info["moved"], info["expired"], info["pushed"]) == (3, 2, 0, 5)


def test_a_message_of_a_version_without_priorities_is_applied():
    desk = Desk()
    desk.do((18, 1, 1))
    desk.do((15, 1, 0, (1, join_bodies("a"), None, 0, 5, 1, 1, 0, 0, (), None)))
    message = desk.broker.queue("jobs").held.ready[1]
    assert (message.priority, message.expires_ms, message.terms) == (128, 0, None)
    assert desk.texts() == ["a"]


# Bounds of moments


def test_what_is_leased_has_no_end_to_wait_for():
    desk = Desk()
    push(desk, "a", ttl_ms=50)
    desk.lease(deadline_ms=100)
    assert desk.jobs.next_deadline_ms() == 100


def test_what_comes_back_at_its_last_moment_has_expired():
    for now_ms, count in ((49, 0), (50, 1)):
        desk = Desk()
        push(desk, "a", ttl_ms=50)
        seq, _ = desk.lease()
        desk.do(desk.jobs.plan_hand_back((7, seq, (), None), now_ms))
        assert expired(desk) == count


def test_of_two_ttls_the_shorter_counts_for_what_is_redriven():
    desk = Desk(ttl_seconds=5, max_attempts=1)
    for text, ttl_ms in (("a", 70), ("b", 9000)):
        push(desk, text, ttl_ms=ttl_ms)
    seq, _ = desk.lease(2)
    desk.nack(seq)
    found, _ = desk.jobs.plan_redrive(desk.broker.queue("jobs"), 1000, 9)
    desk.do(found[0])
    held = desk.broker.queue("jobs").held
    assert [message.expires_ms for message in held.ready.values()] == [1070, 6000]


def test_a_timetable_that_is_not_through_what_was_removed_makes_no_record(monkeypatch):
    monkeypatch.setattr(deadlines, "MOST_PASSED", 1)
    desk = Desk()
    for number in range(9):
        push(desk, "a", due_ms=10 + number)
    for record in plan_cancel(desk.broker.queue("jobs"), (2, 7), 0).records:
        desk.do(record)
    for record in plan_cancel(desk.broker.queue("jobs"), (1, 1), 0).records:
        desk.do(record)
    calls = 0
    while desk.jobs.next_deadline_ms() < 18:
        assert list(desk.jobs.plan_expiry(17, 9)) == []
        calls += 1
    assert 0 < calls < 9
    assert desk.expire(18) == 1


def test_dead_letters_of_messages_with_objects_and_of_parcels_expire_together():
    desk = Desk(dead_letter="dead", on_expiry="dead_letter", ttl_seconds=1)
    push(desk, "a", "b")
    desk.hand_back(desk.lease(1)[0])
    push(desk, "c")
    assert desk.expire(1000) == 3
    assert sorted(desk.texts("dead")) == ["a", "b", "c"]
