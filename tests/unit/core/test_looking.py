"""Looking at messages in every state, and how long the oldest have been in it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqd.core import looking
from mqd.core.fifo import ANY_SIZE
from mqd.core.held import Held, Message
from mqd.core.looking import find, is_plain, look
from mqwire.codes import Code
from support.jobs import Desk, refusal, texts_of


def seen(desk, state, skip=0, name="jobs"):
    queue = desk.broker.queue(name)
    return [(each.message_id, each.piece[1:].decode()) for each in look(queue, state, skip)]


def test_ready_messages_are_shown_in_the_order_in_which_they_leave():
    desk = Desk()
    desk.push("a", "b", "c")
    desk.push("d")
    seq, _ = desk.lease(4)
    desk.push("e", "f")
    desk.hand_back(seq, 2, 1, 4, 1)
    assert not is_plain(desk.broker.queue("jobs"), "ready")
    assert seen(desk, "ready") == [(2, "b"), (4, "d"), (5, "e"), (6, "f")]
    for skip in range(6):
        assert seen(desk, "ready", skip) == seen(desk, "ready")[skip:]
    assert desk.texts() == ["b", "d", "e", "f"]


def test_returned_messages_between_those_of_a_pack_and_behind_it():
    desk = Desk()
    desk.push("a", "b", "c", "d")
    first, _ = desk.lease(1)
    second, _ = desk.lease(2)
    desk.hand_back(second)
    desk.hand_back(first)
    assert [number for number, _ in seen(desk, "ready")] == [1, 2, 3, 4]
    desk.broker.take(desk.broker.queue("jobs"), 1, ANY_SIZE)
    seq, _ = desk.lease(3)
    desk.hand_back(seq, 4, 1)
    assert seen(desk, "ready") == [(4, "d")]


def test_headers_of_begun_packs_are_those_of_their_messages():
    desk = Desk()
    desk.push("a", "b", "c", headers=((0, 1, {"k": 0}, 4), (2, 1, {"k": 2}, 4)))
    seq, _ = desk.lease(1)
    desk.hand_back(seq)
    queue = desk.broker.queue("jobs")
    assert [each.headers for each in look(queue, "ready", 0)] == [{"k": 0}, None, {"k": 2}]
    desk.broker.take(queue, 1, ANY_SIZE)
    desk.broker.take(queue, 1, ANY_SIZE)
    assert [each.headers for each in look(queue, "ready", 0)] == [{"k": 2}]


def test_leased_messages_come_by_lease_and_stay_in_their_packs():
    desk = Desk()
    desk.push("a", "b", "c", "d")
    first, _ = desk.lease(2)
    second, _ = desk.lease(2, owner="w2")
    assert seen(desk, "leased") == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    for skip in range(5):
        assert seen(desk, "leased", skip) == seen(desk, "leased")[skip:]
    leases = [each.lease.seq for each in look(desk.broker.queue("jobs"), "leased", 0)]
    assert leases == [first, first, second, second]
    assert all(lease.loose is None for lease in desk.jobs.leases())
    desk.hand_back(first, 1, 1)
    assert seen(desk, "leased", 0) == [(2, "b"), (3, "c"), (4, "d")]


def test_delayed_and_dead_come_in_the_order_in_which_they_became_so():
    desk = Desk()
    desk.push("a", "b", "c", "d")
    seq, _ = desk.lease(4)
    desk.nack(seq, 3, 1, delay_ms=50)
    desk.nack(seq, 1, 1, delay_ms=90)
    desk.reject(seq, 4, 1)
    desk.reject(seq, 2, 1)
    assert seen(desk, "delayed") == [(3, "c"), (1, "a")]
    assert seen(desk, "delayed", 1) == [(1, "a")]
    assert seen(desk, "dead") == [(4, "d"), (2, "b")]
    assert seen(desk, "ready") == seen(desk, "leased") == []


@pytest.mark.parametrize("state", ["ready", "delayed", "leased", "dead"])
def test_a_queue_without_messages_shows_none(state):
    assert seen(Desk(), state) == []


def test_ages_tell_of_the_oldest_in_each_state():
    desk = Desk()
    ages = "oldest_age_seconds", "oldest_delayed_age_seconds", "oldest_leased_age_seconds"
    ages += ("oldest_dead_age_seconds",)

    def now(broker=desk.broker):
        info = broker.queue("jobs").info(10_000)
        return [info[age] for age in ages]

    assert now() == [None] * 4
    desk.push("a", "b", "c", "d", now_ms=1000)
    assert now() == [9, None, None, None]
    first, _ = desk.lease(2, now_ms=2000)
    second, _ = desk.lease(2, now_ms=3000)
    assert now() == [None, None, 8, None]
    desk.nack(first, 1, 1, now_ms=4000, delay_ms=50_000)
    desk.nack(second, 3, 1, now_ms=4500, delay_ms=60)
    desk.do(desk.jobs.plan_reject((7, first, (), None), 5000))
    assert now() == [None, 6, 7, 5]
    assert now(desk.rebuilt()) == now()
    assert now(desk.rebuilt(is_exported=True)) == now()
    desk.hand_back(second)
    desk.expire(60_000)
    assert now() == [9, None, None, 5]


def test_leases_of_a_deleted_queue_are_forgotten():
    desk = Desk()
    for record in desk.broker.plan_creation("more", {}, 0):
        desk.do(record)
    desk.push("a", "b")
    desk.push("c", name="more")
    desk.lease(1)
    desk.lease(1)
    desk.lease(1, name="more")
    desk.do(desk.broker.plan_delete("jobs"))
    assert [lease.queue.name for lease in desk.jobs.leases()] == ["more"]
    assert list(desk.broker.queue("more").leases) == [3]


@pytest.mark.parametrize("skip", range(13))
def test_what_came_back_from_other_queues_lies_between_packs_with_gaps(skip):
    desk = Desk()
    desk.do(desk.broker.plan_create("dead", {}, 0))
    for record in desk.broker.plan_creation("work", {"dead_letter": "dead"}, 0):
        desk.do(record)
    desk.push(*"ab", name="dead")
    desk.push("x", name="work")  # is to leave gaps in the ids of the dead letters' packs
    desk.reject(desk.lease(name="work")[0])
    desk.push(*"cdef", name="dead")
    desk.push("y", name="work")
    desk.reject(desk.lease(name="work")[0])
    desk.push(*"gh", name="dead")
    desk.hand_back(desk.lease(4, name="dead")[0])
    before = desk.info("dead")
    shown = [(number, text) for number, text in enumerate("abxcdefygh", 1)]
    assert seen(desk, "ready", skip, name="dead") == shown[skip:]
    assert desk.info("dead") == before
    assert desk.texts("dead") == list("abxcdefygh"), "and nothing has changed"


def test_higher_priorities_are_shown_first_and_parcels_are_passed_over_whole():
    desk = Desk()
    desk.push("a", "b")
    desk.push_with("c", "d", priority=3, headers=((1, 1, {"k": 1}, 4),))
    desk.push_with("e", "f", "g", priority=200)
    desk.push_with("h", ttl_ms=50)
    desk.push("i")
    desk.broker.take(desk.broker.queue("jobs"), 1, ANY_SIZE)
    order = [(6, "f"), (7, "g"), (1, "a"), (2, "b"), (8, "h"), (9, "i"), (3, "c"), (4, "d")]
    for skip in range(10):
        assert seen(desk, "ready", skip) == order[skip:]
    found = {each.message_id: each for each in look(desk.broker.queue("jobs"), "ready", 0)}
    assert found[4].headers == {"k": 1}
    assert [found[number].message.priority for number in (3, 6, 8)] == [3, 200, 128]
    assert found[8].message.expires_ms == 50
    assert found[9].message is None


def test_what_a_push_delays_comes_between_what_a_nack_does():
    desk = Desk()
    desk.push("a", "b")
    seq, _ = desk.lease(2)
    desk.nack(seq, 2, 1, now_ms=10, delay_ms=500)
    desk.push_with("c", "d", due_ms=900, now_ms=20)
    desk.nack(seq, 1, 1, now_ms=30, delay_ms=50)
    assert seen(desk, "delayed") == [(2, "b"), (3, "c"), (4, "d"), (1, "a")]
    assert seen(desk, "delayed", 2) == [(4, "d"), (1, "a")]
    found = look(desk.broker.queue("jobs"), "delayed", 0)
    assert [each.due_ms for each in found] == [510, 900, 900, 80]
    for broker in (desk.rebuilt(), desk.rebuilt(is_exported=True)):
        other = look(broker.queue("jobs"), "delayed", 0)
        assert [each.message_id for each in other] == [2, 3, 4, 1]
        assert broker.queue("jobs").info(1000)["oldest_delayed_age_seconds"] == 0.99
    desk.expire(1000)
    assert [each.due_ms for each in look(desk.broker.queue("jobs"), "ready", 0)] == [0] * 4


def test_parcels_under_a_lease_are_shown_with_their_first_delivery():
    desk = Desk()
    desk.push_with("a", "b", priority=9)
    desk.push("c")
    seq, _ = desk.lease(3)
    assert seen(desk, "leased") == [(1, "a"), (2, "b"), (3, "c")]
    found = list(look(desk.broker.queue("jobs"), "leased", 1))
    assert [each.message.deliveries for each in found] == [1, 1]
    (lease,) = desk.jobs.leases()
    assert lease.loose is None
    desk.nack(seq, 2, 1)
    assert seen(desk, "leased") == [(1, "a"), (3, "c")]


def test_what_has_expired_is_not_there():
    desk = Desk()
    desk.push_with("a", ttl_ms=50)
    desk.push_with("b", ttl_ms=90, due_ms=70)
    desk.expire(60)
    assert seen(desk, "ready") == []
    assert seen(desk, "delayed") == [(2, "b")]
    desk.expire(90)
    assert seen(desk, "delayed") == seen(desk, "ready") == []


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=60), st.integers(0, 5))
def test_the_walk_over_the_returned_is_in_order(steps, taken):
    held = Held()
    for message_id, is_added in steps:
        if is_added and message_id not in held.ready:
            message = Message(message_id, b"x", None, 0, 0)
            message.priority = 127 + message_id % 3
            held.add_ready(message)
        elif not is_added and message_id in held.ready:
            held.remove_ready(message_id)
    for _ in range(taken):
        first = held.first()
        if first is not None:
            held.take(first[1], 1, ANY_SIZE, 1)
    shown = list(held.in_order())
    assert sorted(message.message_id for _, message in shown) == sorted(held.ready)
    for rank, message in shown:
        assert held.first() == (rank, message.message_id)
        held.take(message.message_id, 1, ANY_SIZE, 1)


@given(st.integers(0, 10_000), st.integers(0, 9))
def test_ready_is_what_pulls_return(seed, skip):
    chooser = random.Random(seed)
    desk = Desk()
    leases = []
    for number in range(25):
        step = chooser.choice(["push", "push", "rank", "lease", "back", "take"])
        queue = desk.broker.queue("jobs")
        if step in ("push", "rank") and len(desk.history) < 40:
            texts = [f"{number}.{i}" for i in range(chooser.randint(1, 3))]
            if step == "push":
                desk.push(*texts)
            else:
                desk.push_with(*texts, priority=chooser.choice([1, 128, 255]), ttl_ms=99)
        elif step == "lease" and queue.ready:
            leases.append(desk.lease(chooser.randint(1, 4))[0])
        elif step == "back" and leases:
            desk.hand_back(leases.pop(chooser.randrange(len(leases))))
        elif step == "take" and queue.ready:
            desk.broker.take(queue, 1, ANY_SIZE)
    queue = desk.broker.queue("jobs")
    found = [text for _, text in seen(desk, "ready", skip)]
    pulled = []
    while queue.ready:
        queue.hold().turn = 0  # no take is to go by age
        pulled += texts_of(desk.broker.take(queue, 1, ANY_SIZE))
    assert found == pulled[skip:]


# How much is passed over


def with_returned(desk):
    desk.push("x")
    seq, _ = desk.lease(1)
    desk.push(*"ab")
    for text in "cdef":
        desk.push(text)
    desk.hand_back(seq)


def ranked(desk):
    for text in "abcdefg":
        desk.push_with(text, priority=3)


def delayed(desk):
    for text in "abcdefg":
        desk.push_with(text, due_ms=50)


def leased(desk):
    desk.push(*"abcdefg")
    for _ in range(7):
        desk.lease(1)


@pytest.mark.parametrize(
    ("state", "fill", "skip"),
    [
        ("ready", with_returned, 5),
        ("ready", ranked, 4),
        ("delayed", delayed, 4),
        ("leased", leased, 4),
    ],
)
def test_a_look_passes_over_so_many_places_and_no_more(monkeypatch, state, fill, skip):
    monkeypatch.setattr(looking, "MAX_SKIPPED_ENTRIES", 4)
    desk = Desk()
    fill(desk)
    everything = seen(desk, state)
    assert len(everything) == 7
    assert seen(desk, state, skip) == everything[skip:]
    error = refusal(seen, desk, state, skip + 1)
    assert error.code is Code.OUT_OF_RANGE
    assert error.details == {"verb": "PEEK", "field": "skip", "low": 0, "got": skip + 1, "limit": 4}
    monkeypatch.setattr(looking, "MAX_SKIPPED_ENTRIES", 99)
    assert seen(desk, state, 9) == []


def test_dead_messages_are_passed_over_however_many_they_are(monkeypatch):
    monkeypatch.setattr(looking, "MAX_SKIPPED_ENTRIES", 1)
    desk = Desk()
    desk.push(*"abcd")
    desk.reject(desk.lease(4)[0])
    assert seen(desk, "dead", 3) == [(4, "d")]


def test_what_is_delayed_in_parcels_and_by_itself_is_told_together():
    desk = Desk()
    desk.push("a")
    desk.nack(desk.lease(1)[0], now_ms=5, delay_ms=50)
    assert [text for _, text in seen(desk, "delayed")] == ["a"]
    desk.push_with("b", due_ms=50, now_ms=3)
    desk.push_with("c", due_ms=50, now_ms=8)
    assert [text for _, text in seen(desk, "delayed")] == ["b", "a", "c"]
    assert desk.broker.queue("jobs").info(10)["oldest_delayed_age_seconds"] == 0.007


STATES = ("ready", "delayed", "leased", "dead")


def found_one_by_one(desk):
    """Check that each id leads to what a look at all states shows of it; return these."""
    queue = desk.broker.queue("jobs")
    shown = {each.message_id: (state, each) for state in STATES for each in look(queue, state, 0)}
    for message_id in range(queue.fifo.next_id + 2):
        found = find(queue, message_id)
        if message_id not in shown:
            assert found is None, message_id
            continue
        (state, one), (expected_state, expected) = found, shown[message_id]
        assert state == expected_state
        assert one[:3] == expected[:3]
        assert one.due_ms == expected.due_ms
        assert (one.lease and one.lease.seq) == (expected.lease and expected.lease.seq)
    return {state: sorted(n for n in shown if shown[n][0] == state) for state in STATES}


def test_one_message_is_found_wherever_it_is():
    desk = Desk()
    desk.push("a", "b", "c", headers=((1, 1, {"k": 1}, 4),))
    desk.push("d", "e", "f", "g", "h")
    desk.push("i")
    desk.broker.take(desk.broker.queue("jobs"), 1, ANY_SIZE)
    seq, _ = desk.lease(4)
    desk.nack(seq, 3, 1, now_ms=5, delay_ms=50)
    desk.hand_back(seq, 4, 1)
    desk.reject(seq, 5, 1)
    desk.push_with("j", "k", "l", due_ms=50, now_ms=3)
    desk.push_with("m", "n", priority=9)
    desk.push("o", "p")
    desk.broker.queue("jobs").fifo.remove([7])
    states = found_one_by_one(desk)
    assert states == {
        "ready": [4, 6, 8, 9, 13, 14, 15, 16],
        "delayed": [3, 10, 11, 12],
        "leased": [2],
        "dead": [5],
    }
    assert find(desk.broker.queue("jobs"), 2)[1].headers == {"k": 1}


@pytest.mark.parametrize("seed", range(20))
def test_one_message_is_found_whatever_has_happened(seed):
    chooser, desk = random.Random(seed), Desk()
    for step in range(60):
        way = chooser.choice(["push", "with", "due", "take", "lease", "back", "nack", "reject"])
        texts = [f"{step}-{k}" for k in range(chooser.randint(1, 4))]
        if way == "push":
            desk.push(*texts, headers=((0, 1, {"k": step}, 4),))
        elif way == "with":
            desk.push_with(*texts, priority=chooser.randint(0, 255))
        elif way == "due":
            desk.push_with(*texts, due_ms=10**6 + step, now_ms=1)
        elif desk.broker.queue("jobs").ready and way == "take":
            desk.broker.take(desk.broker.queue("jobs"), chooser.randint(1, 3), ANY_SIZE)
        elif desk.broker.queue("jobs").ready and way == "lease":
            desk.lease(chooser.randint(1, 5))
        elif desk.broker.queue("jobs").leases:
            seq = chooser.choice(list(desk.broker.queue("jobs").leases))
            {"back": desk.hand_back, "reject": desk.reject}.get(way, desk.nack)(seq)
        found_one_by_one(desk)
