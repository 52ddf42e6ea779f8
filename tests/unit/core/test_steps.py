from __future__ import annotations

import pytest

from mqd.core import job_records, order_records, records, step_records, steps
from mqd.core.parcels import PushExtras
from mqd.core.steps import Ack, Nack, Push, Reject
from mqwire.codes import Code
from mqwire.limits import MAX_LEASE_MESSAGES
from mqwire.packs import join_bodies
from support.jobs import Desk, refusal


class StepDesk(Desk):
    def step(self, *parts, now_ms=0, **options):
        planned = self.broker.plan_step(parts, now_ms, **options)
        if planned.record is not None:
            self.do(planned.record)
        return planned

    def refused(self, *parts, now_ms=0, **options):
        before = self.seen()
        error = refusal(self.broker.plan_step, parts, now_ms, **options)
        assert self.seen() == before
        return error

    def seen(self):
        queues = [
            (queue.info(0), queue.room(), queue.fifo.next_id) for queue in self.broker.queues()
        ]
        leases = [(lease.seq, lease.ids(), lease.size_bytes) for lease in self.jobs.leases()]
        return queues, leases, list(self.broker.keys.export(0))


def claim(seq, *ids, who=None, epoch=7):
    return (epoch, seq, ids, who)


def push(*texts, name="jobs", **more):
    return Push(name, len(texts), join_bodies(texts), **more)


@pytest.fixture
def desk():
    return StepDesk()


@pytest.fixture
def pair():
    """A desk with the queue `results` beside."""
    desk = StepDesk()
    desk.do(desk.broker.plan_create("results", {}, 0))
    return desk


def test_a_step_is_one_record_of_its_parts(pair):
    pair.push("a", "b")
    seq, _ = pair.lease()
    parts = (Ack(claim(seq, who="w1")), push("x", "y", name="results"), push("z"))
    planned = pair.broker.plan_step(parts, 5)
    assert planned.record == (
        step_records.STEP,
        (
            (job_records.ACK, 1, 7, seq, ()),
            (records.PUSH, 2, 1, 2, join_bodies("xy"), (), 5),
            (records.PUSH, 1, 3, 1, join_bodies("z"), (), 5),
        ),
    )
    assert planned.results == (1, 1, 3)
    assert (planned.repeats, planned.is_repeat) == ((), False)
    assert [queue.name for queue in planned.queues] == ["results", "jobs"]
    assert pair.counts() == {"ready": 1, "leased": 1}, "a plan has changed something"
    assert pair.do(planned.record) == 3
    assert pair.texts() == ["b", "z"]
    assert pair.texts("results") == ["x", "y"]
    assert pair.info()["acked"] == 1


def test_a_step_of_nothing_changes_nothing(desk):
    planned = desk.broker.plan_step((), 0)
    assert (planned.record, planned.results, planned.queues) == (None, (), ())


@pytest.mark.parametrize("is_exported", [False, True])
def test_a_step_that_is_applied_again_gives_the_same_state(pair, is_exported):
    pair.push(*"abcd")
    seq, _ = pair.lease(3)
    other, _ = pair.lease(1)
    pair.step(Nack(claim(seq, 2, 2), "no", 50), push("x", name="results"), Ack(claim(other)))
    rebuilt = pair.rebuilt(is_exported=is_exported)
    assert list(rebuilt.export()) == list(pair.broker.export())


def test_ids_of_pushes_to_one_queue_follow_on(desk):
    planned = desk.step(push("a", "b"), push("c"), push("d", "e"))
    assert planned.results == (1, 3, 4)
    assert [queue.name for queue in planned.queues] == ["jobs"]
    assert desk.texts() == list("abcde")


def test_pushes_to_one_queue_share_its_room():
    desk = StepDesk(max_messages=3, max_bytes=10)
    error = desk.refused(push("a", "b"), push("c", "d"))
    assert error.code is Code.QUEUE_FULL
    assert error.details == {
        "queue": "jobs", "bound": "max_messages", "limit": 3, "present": 2, "asked": 2, "part": 1
    }  # fmt: skip
    error = desk.refused(push("a", "b"), push("123456"))
    assert error.details == {
        "queue": "jobs", "bound": "max_bytes", "limit": 10, "present": 4, "asked": 7, "part": 1
    }  # fmt: skip
    assert desk.step(push("a", "b"), push("12345")).results == (1, 3)


def test_headers_fill_room_too():
    desk = StepDesk(max_bytes=10)
    headers = ((0, 1, {"k": 1}, 7),)
    assert desk.refused(push("a", headers=headers), push("b")).details["part"] == 1
    assert desk.step(push("a", headers=headers), push("")).results == (1, 2)


def test_a_full_queue_takes_a_message_for_one_that_is_done():
    desk = StepDesk(max_messages=2, max_bytes=5)
    desk.push("a")
    desk.push("b")
    seq, _ = desk.lease()
    error = desk.refused(push("c"), Ack(claim(seq)))
    assert error.code is Code.QUEUE_FULL
    assert error.details["part"] == 0, "what is freed later does not count"
    assert desk.refused(Ack(claim(seq)), push("cccc")).details["bound"] == "max_bytes"
    assert desk.step(Ack(claim(seq)), push("cc")).results == (1, 3)
    assert desk.texts() == ["b", "cc"]


def test_room_of_single_messages_that_are_done():
    desk = StepDesk(max_messages=3, max_bytes=9)
    desk.push("a", "bb", "ccc")
    seq, _ = desk.lease(3)
    part = Ack(claim(seq, 2, 1, 1, 1, 2, 1))
    assert desk.refused(part, push("x", "y", "z")).details["present"] == 1
    assert desk.refused(part, push("xxx", "y")).details["present"] == 4
    assert desk.step(part, push("xx", "y")).results == (2, 4)
    assert desk.counts() == {"ready": 2, "leased": 1}


def test_what_comes_back_frees_nothing():
    desk = StepDesk(max_messages=1)
    desk.push("a")
    seq, _ = desk.lease()
    for part in (Nack(claim(seq)), Nack(claim(seq), is_hand_back=True), Reject(claim(seq))):
        assert desk.refused(part, push("b")).code is Code.QUEUE_FULL


def test_a_dead_letter_frees_its_place_and_takes_an_id_before_later_pushes():
    desk = StepDesk(max_messages=2, dead_letter="grave")
    desk.push("a")
    desk.push("b")
    seq, _ = desk.lease()
    planned = desk.step(
        push("first", name="grave"), Reject(claim(seq), "so"), push("last", name="grave"), push("c")
    )
    assert planned.results == (1, 1, 3, 3)
    assert [queue.name for queue in planned.queues] == ["grave", "jobs"]
    assert desk.texts("grave") == ["first", "a", "last"]
    assert desk.texts() == ["b", "c"]


@pytest.mark.parametrize("settle", [Reject, Nack])
def test_dead_letters_and_pushes_share_the_room_of_their_queue(settle):
    desk = StepDesk(max_messages=9, dead_letter="grave", max_attempts=1)
    desk.do(desk.broker.plan_delete("grave"))
    desk.do(desk.broker.plan_create("grave", {"max_messages": 2}, 0))
    desk.push("a", "b", "c")
    seq, _ = desk.lease(3)
    planned = desk.broker.plan_step((settle(claim(seq)), push("x", name="jobs")), 0)
    assert planned.record[1][0][-1] == ((3, (1, 2), 3), (2, (3, 1), 0))
    planned = desk.step(push("x", name="grave"), settle(claim(seq)))
    assert planned.results == (1, 3)
    assert desk.counts() == {"dead": 2}
    assert desk.texts("grave") == ["x", "a"]
    error = desk.refused(push("y", "z", "z", name="grave"))
    assert error.details["part"] == 0


def test_dead_letters_of_two_leases_share_the_room_and_a_push_finds_what_they_leave():
    desk = StepDesk(dead_letter="grave")
    desk.do(desk.broker.plan_delete("grave"))
    desk.do(desk.broker.plan_create("grave", {"max_messages": 3}, 0))
    desk.push("a", "b")
    first, _ = desk.lease()
    second, _ = desk.lease()
    parts = (Reject(claim(first)), Reject(claim(second)), push("x", "y", name="grave"))
    error = desk.refused(*parts)
    assert (error.details["part"], error.details["present"]) == (2, 2)
    assert desk.step(*parts[:2], push("x", name="grave")).results == (1, 1, 3)
    assert desk.texts("grave") == ["a", "b", "x"]


def test_what_a_nack_may_say():
    desk = StepDesk(max_attempts=2, max_worker_losses=2, backoff="fixed", backoff_seconds=1,
                    backoff_jitter=1.0)  # fmt: skip
    desk.push(*"abcde")
    seqs = [desk.lease()[0] for _ in range(5)]
    planned = desk.step(
        Nack(claim(seqs[0]), "bad", chance=0.5),
        Nack(claim(seqs[1]), "bad", 70),
        Nack(claim(seqs[2]), "stop", is_hand_back=True),
        Nack(claim(seqs[3]), "died", is_lost=True),
        Reject(claim(seqs[4]), "never"),
        now_ms=40,
    )
    assert planned.results == (1,) * 5
    held = desk.broker.queue("jobs").held
    everything = held.delayed | dict(held.ready.items()) | held.dead
    seen = {n: (m.attempts, m.losses, m.due_ms, m.history[0][3:]) for n, m in everything.items()}
    assert seen == {
        1: (1, 0, 540, ("nack", "bad")),
        2: (1, 0, 110, ("nack", "bad")),
        3: (0, 0, 0, ("hand_back", "stop")),
        4: (0, 1, 0, ("gone", "died")),
        5: (0, 0, 0, ("reject", "never")),
    }
    assert set(held.dead) == {5}
    assert [queue.name for queue in planned.queues] == ["jobs"]


def test_only_queues_with_something_ready_are_to_be_served(desk):
    desk.push(*"abc")
    seqs = [desk.lease()[0] for _ in range(3)]
    parts = (Ack(claim(seqs[0])), Nack(claim(seqs[1]), "", 50), Reject(claim(seqs[2])))
    assert desk.step(*parts).queues == ()


def test_the_queue_of_a_dead_letter_is_to_be_served():
    desk = StepDesk(dead_letter="grave")
    desk.push("a")
    seq, _ = desk.lease()
    assert [queue.name for queue in desk.step(Reject(claim(seq))).queues] == ["grave"]


def test_a_lease_that_is_lost_to_its_worker_past_its_budget():
    desk = StepDesk(max_worker_losses=1, dead_letter="grave")
    desk.push("a", "b")
    seq, _ = desk.lease(2)
    assert desk.step(Nack(claim(seq, 2, 1), is_lost=True)).results == (1,)
    assert desk.texts("grave") == ["b"]
    assert desk.counts() == {"leased": 1}


@pytest.mark.parametrize("first", [(), (1, 1)])
@pytest.mark.parametrize("second", [(), (2, 1), (1, 1)])
@pytest.mark.parametrize("settle", [Ack, Nack, Reject])
def test_a_lease_may_be_settled_by_one_part_only(desk, first, second, settle):
    desk.push("a", "b")
    seq, _ = desk.lease(2)
    error = desk.refused(settle(claim(seq, *first)), push("x"), Ack(claim(seq, *second)))
    assert error.code is Code.LEASE_LOST
    assert error.details == {"lease": [7, seq], "why": "over", "part": 2}
    wrong = claim(seq, epoch=6)
    assert desk.refused(settle(claim(seq)), Reject(wrong)).details["why"] == "stale"
    assert desk.refused(settle(claim(seq)), Nack(claim(seq, who="w2"))).details["why"] == "foreign"
    assert desk.counts() == {"leased": 2}


def test_the_part_that_is_refused_is_told(desk):
    desk.push(*"abc")
    seq, _ = desk.lease(2)
    other, _ = desk.lease()
    good = Ack(claim(seq))
    for part, code in (
        (Ack(claim(9)), Code.LEASE_LOST),
        (Nack(claim(other, 1, 1)), Code.NOT_LEASED),
        (Reject(claim(other, who="w2")), Code.LEASE_LOST),
        (push("x", name="nowhere"), Code.QUEUE_NOT_FOUND),
    ):
        error = desk.refused(good, part, push("x"))
        assert (error.code, error.details["part"]) == (code, 1)
    assert desk.counts() == {"leased": 3}


def test_messages_of_a_step_have_headers_and_times(desk):
    desk.step(push("a", "b", headers=((1, 1, {"k": 1}, 3),)), now_ms=70)
    (batch,) = desk.broker.take(desk.broker.queue("jobs"), 2, 99)
    assert batch.headers == [None, {"k": 1}]
    assert desk.broker.clock_ms == 70


def test_more_named_arguments_go_along_to_the_push(desk, monkeypatch):
    seen = []
    plan_push = desk.broker.plan_push

    def watched(*arguments, extra=None, **options):
        seen.append(extra)
        return plan_push(*arguments, **options)

    monkeypatch.setattr(desk.broker, "plan_push", watched)
    desk.step(push("a", options={"extra": 5}), push("b"))
    assert seen == [5, None]


# Keys


def test_a_step_that_comes_again_with_its_key_is_answered_as_before(pair):
    pair.push("a", "b")
    seq, _ = pair.lease()
    parts = (Ack(claim(seq)), push("x", name="results"), push("y", "z"))
    first = pair.step(*parts, key="s1", now_ms=10)
    assert first.results == (1, 1, 3)
    for broker in (pair.broker, pair.rebuilt(), pair.rebuilt(is_exported=True)):
        again = broker.plan_step(parts, 600_009, key="s1")
        assert again == (None, (1, 1, 3), (), True, ())
        late = refusal(broker.plan_step, parts, 600_010, key="s1")
        assert (late.code, late.details["why"]) == (Code.LEASE_LOST, "over")
    assert pair.refused(*parts).code is Code.LEASE_LOST
    assert pair.refused(*parts, key="s2").details["part"] == 0


def test_a_step_key_with_other_parts_is_refused(pair):
    pair.push("a", "b")
    seq, _ = pair.lease()
    parts = (Nack(claim(seq), "bad", chance=0.1), push("x"))
    pair.step(*parts, key="s1")
    others = [
        (Nack(claim(seq), "bad"),),
        (Nack(claim(seq), "worse"), push("x")),
        (Nack(claim(seq), "bad", 5), push("x")),
        (Nack(claim(seq), "bad", is_hand_back=True), push("x")),
        (Nack(claim(seq), "bad", is_lost=True), push("x")),
        (Nack(claim(seq, 1, 1), "bad"), push("x")),
        (Nack(claim(seq + 1), "bad"), push("x")),
        (Reject(claim(seq), "bad"), push("x")),
        (Ack(claim(seq)), push("x")),
        (Nack(claim(seq), "bad"), push("y")),
        (Nack(claim(seq), "bad"), push("x", name="results")),
        (Nack(claim(seq), "bad"), push("x", key="k")),
        (Nack(claim(seq), "bad"), push("x", headers=((0, 1, {"k": 1}, 3),))),
        (push("x"), Nack(claim(seq), "bad")),
    ]
    for each in others:
        error = pair.refused(*each, key="s1")
        assert (error.code, error.details) == (Code.KEY_REUSED, {"key": "s1"})
    same = (Nack(claim(seq, who="w1"), "bad", chance=0.9), push("x"))
    assert pair.step(*same, key="s1", now_ms=9).is_repeat


def test_a_refused_step_leaves_its_key_free(desk):
    desk.refused(push("x"), Ack(claim(4)), key="s1")
    assert not desk.step(push("y"), key="s1").is_repeat


def test_a_push_of_a_step_may_have_been_made_before(pair):
    pair.push("a")
    seq, _ = pair.lease()
    part = push("x", name="results", key="k")
    assert pair.step(part).results == (1,)
    planned = pair.step(part, Ack(claim(seq)), push("y", name="results"), key="s1")
    assert planned.results == (1, 1, 2)
    assert planned.repeats == (0,)
    assert [queue.name for queue in planned.queues] == ["results"]
    again = pair.step(part, Ack(claim(seq)), push("y", name="results"), key="s1")
    assert again == (None, (1, 1, 2), (0,), True, ())
    assert pair.texts("results") == ["x", "y"]
    error = pair.refused(push("z"), push("other", name="results", key="k"))
    assert error.code is Code.KEY_REUSED
    assert error.details == {"queue": "results", "key": "k", "part": 1}
    nothing = pair.step(part)
    assert (nothing.record, nothing.results, nothing.repeats) == (None, (1,), (0,))


def test_pushes_of_one_step_with_one_key(desk):
    part = push("x", key="k")
    planned = desk.step(push("w"), part, part, push("y"))
    assert (planned.results, planned.repeats) == ((1, 2, 2, 3), (2,))
    assert desk.texts() == ["w", "x", "y"]
    assert desk.refused(push("u", key="j"), push("v", key="j")).details["part"] == 1


def test_a_push_that_was_made_before_needs_no_room():
    desk = StepDesk(max_messages=1)
    part = push("x", key="k")
    assert desk.step(part, part).results == (1, 1)
    assert desk.step(part, key="s").repeats == (0,)


def test_a_queue_without_keys_takes_no_notice_of_a_steps():
    desk = StepDesk(dedupe_seconds=0)
    part = push("x", key="k")
    planned = desk.step(part, part)
    assert (planned.results, planned.repeats) == ((1, 2), ())
    assert [record[0] for record in planned.record[1]] == [records.PUSH, records.PUSH]


def late_desk(on_expiry):
    """A desk whose queue has a lease on two messages that have waited too long since."""
    desk = StepDesk(ttl_seconds=1, on_expiry=on_expiry, dead_letter="dead", max_messages=2)
    desk.push("a", "b")
    seq, _ = desk.lease(2)
    return desk, seq


@pytest.mark.parametrize("how", [{}, {"is_hand_back": True}, {"is_lost": True}])
def test_what_has_waited_too_long_has_its_place_before_a_later_push(how):
    desk, seq = late_desk("dead_letter")
    parts = (Nack(claim(seq), **how), push("x", name="dead"), push("y"))
    planned = desk.step(*parts, now_ms=1000)
    assert planned.results == (2, 3, 3)
    assert [queue.name for queue in planned.queues] == ["dead", "jobs"]
    assert desk.texts("dead") == ["a", "b", "x"]
    assert desk.texts() == ["y"]


def test_who_waits_for_dead_letters_is_served_after_a_step():
    desk, seq = late_desk("dead_letter")
    planned = desk.step(Nack(claim(seq)), now_ms=1000)
    assert [queue.name for queue in planned.queues] == ["dead"]


def test_what_has_waited_too_long_and_is_dropped_leaves_its_room_to_later_pushes():
    desk, seq = late_desk("drop")
    planned = desk.step(Nack(claim(seq)), push("x", "y"), now_ms=1000)
    assert (planned.results, [queue.name for queue in planned.queues]) == ((2, 3), ["jobs"])
    assert desk.texts() == ["x", "y"]
    assert desk.info()["expired"] == 2


def test_pushes_of_a_step_say_what_others_may(pair):
    extras = PushExtras(priority=200, ttl_ms=500)
    part = push("x", options={"extras": extras})
    planned = pair.step(push("w"), part, push("k", key="k", options={"extras": extras}))
    assert [record[0] for record in planned.record[1]] == [
        records.PUSH,
        order_records.PUSH_WITH,
        step_records.KEYED_PUSH,
    ]
    assert pair.step(push("k", key="k")).repeats == (0,), "a key is about what was pushed"
    assert pair.texts() == ["x", "k", "w"]


# How much a step may settle


def test_a_step_settles_so_many_messages_and_no_more(desk, monkeypatch):
    monkeypatch.setattr(steps, "MAX_STEP_MESSAGES", 6)
    desk.push(*"abcdefgh")
    one, two, three = (desk.lease(most)[0] for most in (3, 3, 2))
    error = desk.refused(Ack(claim(one)), Nack(claim(two)), Reject(claim(three, 8, 1)))
    assert error.code is Code.TOO_MANY_MESSAGES
    assert error.details == {"limit": 6, "part": 2}
    assert desk.refused(Ack(claim(one, 1, 3, 1, 3, 1, 1))).code is Code.TOO_MANY_MESSAGES
    assert desk.step(Ack(claim(one)), Nack(claim(two, 4, 1)), Reject(claim(three))).results == (
        3,
        1,
        2,
    )


def test_a_whole_lease_fits_into_a_step():
    assert steps.MAX_STEP_MESSAGES >= MAX_LEASE_MESSAGES
