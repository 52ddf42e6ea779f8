from __future__ import annotations

import msgpack
import pytest

from mqd.core import deadlines as deadlines_module
from mqd.core import job_records, leases
from mqd.core.fifo import ANY_SIZE
from mqd.core.held import HELD_BYTES, HeldBatch
from mqd.core.leases import identity_of
from mqd.core.queue import Waiter
from mqwire.codes import Code
from mqwire.limits import MAX_LEASE_MESSAGES
from mqwire.packs import join_bodies
from mqwire.runs import ids_of
from support.jobs import Desk, ack, refusal, texts_of

WORKER = {"instance": "w1", "user": "lab", "peer": "10.0.0.9:1"}


@pytest.fixture
def desk():
    return Desk()


# Leasing


def test_a_lease_is_a_record_and_the_packs_as_they_came(desk):
    pack = join_bodies("abc")
    desk.do(desk.broker.plan_push("jobs", 3, pack, (), 5))
    record, batches = desk.jobs.lease(desk.broker.queue("jobs"), 64, ANY_SIZE, 30_000, WORKER, 1000)
    assert record == (job_records.LEASE, 1, 7, 1, 3, 30_000, WORKER, 1000, (1, 3))
    (batch,) = batches
    assert batch.packs[0] is pack
    assert desk.counts() == {"leased": 3}
    assert len(desk.jobs) == 1
    assert desk.jobs.next_deadline_ms() == 30_000


def test_a_lease_takes_no_more_messages_than_come_back_in_a_moment(desk):
    queue = desk.broker.queue("jobs")
    queue.free_messages = queue.free_bytes = 10**6
    desk.push(*["x"] * (2 * MAX_LEASE_MESSAGES))
    _, (batch,) = desk.lease(MAX_LEASE_MESSAGES + 1)
    assert batch.count == MAX_LEASE_MESSAGES
    assert desk.lease(MAX_LEASE_MESSAGES)[1][0].count == MAX_LEASE_MESSAGES


def test_numbers_of_leases_rise_and_are_not_used_twice_after_an_export(desk):
    desk.push("a", "b")
    first, _ = desk.lease()
    ack(desk.jobs, (7, first, (), None))
    other = desk.rebuilt(is_exported=True)
    record, _ = other.jobs.lease(other.queue("jobs"), 1, ANY_SIZE, 9, "w1", 0)
    assert record[2:4] == (8, first + 1)


def test_a_lease_takes_what_room_there_is_and_one_in_any_case(desk):
    desk.push("aaaa", "bbbb", "cccc")
    _, batches = desk.lease(3, room=2 * 5 + 5)
    assert texts_of(batches) == ["aaaa", "bbbb"]
    _, batches = desk.lease(3, room=0)
    assert texts_of(batches) == ["cccc"]


def test_returned_messages_come_before_what_was_never_delivered(desk):
    desk.push(*"abcde")
    seq, _ = desk.lease(3)
    desk.hand_back(seq, 1, 1, 3, 1)
    _, batches = desk.lease(9)
    assert [(batch.first_id, batch.count) for batch in batches] == [(1, 1), (3, 1), (4, 2)]
    assert [type(batch) is HeldBatch for batch in batches] == [True, True, False]
    assert batches[0].messages[0].deliveries == 2
    assert texts_of(batches) == ["a", "c", "d", "e"]


def test_a_lease_reaches_over_a_gap_in_the_ids():
    desk = Desk(dead_letter="grave")
    desk.push("x", name="grave")
    desk.push("a")
    desk.reject(desk.lease()[0])
    desk.push("y", name="grave")
    desk.do(desk.jobs.plan_redrive(desk.broker.queue("grave"), 0, 9)[0][0])
    _, batches = desk.lease(9, name="grave")
    assert [(batch.first_id, batch.count) for batch in batches] == [(1, 1), (3, 1)]
    assert texts_of(batches) == ["x", "y"]
    assert desk.history[-1][-1] == (1, 1, 3, 1)


def test_room_is_shared_by_returned_and_other_messages(desk):
    desk.push("aaaa", "bbbb", "cccc")
    seq, _ = desk.lease(1)
    desk.hand_back(seq)
    _, batches = desk.lease(9, room=(5 + HELD_BYTES) + HELD_BYTES + 2 * 4 + 10)
    assert texts_of(batches) == ["aaaa", "bbbb"]
    desk.hand_back(2)
    _, batches = desk.lease(9, room=2 * (5 + HELD_BYTES) - 1)
    assert texts_of(batches) == ["aaaa"]


def test_headers_that_do_not_fit_behind_a_returned_message_stay(desk):
    desk.push("a")
    desk.push("b", headers=((0, 1, {"k": 1}, 30),))
    seq, _ = desk.lease(1)
    desk.hand_back(seq)
    _, batches = desk.lease(9, room=2 * HELD_BYTES + 30)
    assert texts_of(batches) == ["a"]


@pytest.mark.parametrize("room", [100, 1000, 5000, 30_000])
def test_a_reply_with_many_that_came_back_fits_into_its_room(room):
    desk = Desk(max_messages=100, max_bytes=1000)
    desk.push(*["x"] * 60, headers=((0, 1, {"n": 1}, 3),))
    seq, _ = desk.lease(40)
    for message_id in range(1, 41, 2):
        desk.nack(seq, message_id, 1)
    _, batches = desk.lease(99, room=room)
    count = sum(batch.count for batch in batches)
    runs = [number for batch in batches for number in (2**53, 16_384)]
    column = [2**31] * sum(b.count for b in batches if isinstance(b, HeldBatch))
    column += [1] * (count - len(column))
    reply = (runs, [p for b in batches for p in b.packs], [None] * count, [column] * 3)
    assert count == 1 or len(msgpack.packb(reply)) <= room + 32, "some heads are the frame's"


def test_headers_and_push_times_follow_a_message_through_its_returns(desk):
    desk.push("a", "b", headers=((1, 1, {"n": 1}, 3),), now_ms=0)
    desk.push("c", "d", headers=((0, 2, {"m": 2}, 3),), now_ms=5000)
    desk.push("e", now_ms=9000)
    seq, _ = desk.lease(3, now_ms=9000)
    desk.hand_back(seq)
    held = desk.broker.queue("jobs").held.ready
    found = [(m.message_id, m.headers, m.header_bytes, m.pushed_ms) for m in held.values()]
    assert found == [(1, None, 0, 0), (2, {"n": 1}, 3, 0), (3, {"m": 2}, 3, 5000)]
    _, batches = desk.lease(3)
    assert batches[0].headers == [None, {"n": 1}, {"m": 2}]
    (lease,) = desk.jobs.leases()
    assert list(ids_of(lease.ids())) == [1, 2, 3]


def test_an_unleased_pull_takes_returned_messages_too(desk):
    desk.push(*"abcd")
    seq, _ = desk.lease(3)
    desk.hand_back(seq, 1, 1, 3, 1)
    assert desk.texts() == ["a", "c", "d"]
    info = desk.info()
    assert (info["pulled"], info["leased"], info["bytes"]) == (3, 1, 0)
    assert desk.broker.queue("jobs").outside == 1


def test_one_record_may_pull_returned_and_other_messages(desk):
    desk.push(*"abc")
    seq, _ = desk.lease(1)
    desk.hand_back(seq)
    assert desk.do((4, 1, 3)) == 3
    assert desk.do((4, 1, 1)) == 0, "what is not there is not waited for"
    assert desk.counts() == {}


def test_those_who_wait_get_returned_messages(desk):
    desk.push("a")
    seq, _ = desk.lease()
    queue = desk.broker.queue("jobs")
    waiter = Waiter(1, ANY_SIZE)
    queue.waiters[waiter] = None
    assert list(desk.broker.serve(queue)) == []
    desk.hand_back(seq)
    assert next(desk.broker.serve(queue)) is waiter
    assert desk.texts() == ["a"]


def test_every_message_counts_for_the_bounds_until_it_is_gone():
    desk = Desk(max_messages=3, max_bytes=20)
    desk.push("a", "b")
    seq, _ = desk.lease(2)
    desk.push("c")
    error = refusal(desk.broker.plan_push, "jobs", 1, join_bodies("d"), (), 0)
    assert error.details == {
        "queue": "jobs", "bound": "max_messages", "limit": 3, "present": 3, "asked": 1
    }  # fmt: skip
    ack(desk.jobs, (7, seq, (1, 1), None))
    error = refusal(desk.broker.plan_push, "jobs", 1, b"x" * 17, (), 0)
    assert error.details == {
        "queue": "jobs", "bound": "max_bytes", "limit": 20, "present": 4, "asked": 17
    }  # fmt: skip
    desk.broker.plan_push("jobs", 1, b"x" * 16, (), 0)


# Settling


def test_a_whole_ack_takes_no_message_apart(desk):
    desk.push(*"abc")
    seq, _ = desk.lease(3)
    (lease,) = desk.jobs.leases()
    record = ack(desk.jobs, (7, seq, (), "w1"))
    assert record == (job_records.ACK, 1, 7, seq, ())
    assert lease.loose is None
    assert desk.info()["acked"] == 3
    assert desk.counts() == {}
    assert desk.broker.queue("jobs").free_bytes == 1000


def test_an_ack_of_all_ids_by_name_is_one_of_the_lease(desk):
    desk.push(*"abc")
    seq, _ = desk.lease(3)
    record = desk.jobs.plan_ack((7, seq, (3, 1, 1, 2), None))
    assert record[-1] == ()


def test_single_messages_are_done_and_the_rest_is_still_leased(desk):
    desk.push(*"abcd")
    seq, _ = desk.lease(4)
    record = desk.jobs.plan_ack((7, seq, (4, 1, 1, 2, 2, 1), None))
    assert record[-1] == (1, 2, 4, 1), "ids in order, each once"
    assert desk.do(record) == 3
    assert desk.counts() == {"leased": 1}
    assert desk.hand_back(seq) == 1
    assert desk.texts() == ["c"]
    assert len(desk.jobs) == 0


@pytest.mark.parametrize(
    "settle",
    [
        lambda jobs, claim: jobs.plan_ack(claim),
        ack,
        lambda jobs, claim: jobs.plan_nack(claim, 0),
        lambda jobs, claim: jobs.plan_reject(claim, 0),
        lambda jobs, claim: jobs.plan_hand_back(claim, 0),
        lambda jobs, claim: jobs.plan_extend(claim, 500, 10),
    ],
)
def test_only_a_live_lease_of_ones_own_can_be_settled(desk, settle):
    desk.push("a", "b")
    seq, _ = desk.lease(owner=WORKER)
    over, _ = desk.lease()
    ack(desk.jobs, (7, over, (), None))
    cases = {
        "unknown": (7, 3, (), None),
        "over": (7, over, (), None),
        "stale": (6, seq, (), None),
        "foreign": (7, seq, (), "w2"),
    }
    for why, claim in cases.items():
        error = refusal(settle, desk.jobs, claim)
        assert error.code is Code.LEASE_LOST
        assert error.details == {"lease": [claim[0], claim[1]], "why": why}
        assert f"{claim[0]}-{claim[1]}" in error.message
    assert desk.counts() == {"leased": 1}
    settle(desk.jobs, (7, seq, (), "w1"))


def test_an_id_that_is_not_under_the_lease_is_named(desk):
    desk.push(*"abc")
    seq, _ = desk.lease(2)
    for ids in ((3, 1), (1, 3), (1, 2, 3, 1)):
        error = refusal(desk.jobs.plan_ack, (7, seq, ids, None))
        assert error.code is Code.NOT_LEASED
        assert error.details == {"lease": [7, seq], "id": 3}
    assert desk.counts() == {"ready": 1, "leased": 2}


def test_an_extension_moves_the_deadline_and_nothing_else(desk):
    desk.push("a")
    seq, _ = desk.lease(deadline_ms=100)
    assert desk.do(desk.jobs.plan_extend((7, seq, (), "w1"), 900, 10)) == 1
    assert desk.expire(899) == 0
    assert desk.expire(900) == 1


def test_who_an_owner_is():
    assert identity_of("w1") == identity_of(WORKER) == "w1"


# Losses


def test_a_lease_runs_out_at_its_deadline_and_not_before(desk):
    desk.push("a")
    desk.lease(deadline_ms=100, now_ms=40)
    assert desk.expire(99) == 0
    assert desk.expire(100) == 1
    (message,) = desk.broker.queue("jobs").held.ready.values()
    assert (message.deliveries, message.attempts, message.losses) == (1, 0, 1)
    assert message.history == (("w1", 40, 100, "expired", ""),)


def test_expiry_comes_in_slices_of_whole_leases(desk):
    desk.push(*"abcdef")
    for _ in range(3):
        desk.lease(2)
    assert desk.expire(100, most=1) == 2
    assert desk.expire(100, most=3) == 4
    assert desk.expire(100) == 0


def test_an_owner_who_has_gone_loses_all_leases_in_slices(desk):
    desk.push(*"abcde")
    for owner in (WORKER, "w1", "w2", "w1"):
        desk.lease(owner=owner)
    jobs = desk.jobs
    assert [desk.do(r) for r in jobs.plan_gone("w1", 9, 2, reason="no sign of life")] == [1, 1]
    assert jobs.holds("w1")
    assert jobs.newest_seq == 4
    assert (jobs.holds("w1", 3), jobs.holds("w1", 4)) == (False, True)
    assert [desk.do(r) for r in jobs.plan_gone("w1", 9, 2)] == [1]
    assert not jobs.holds("w1")
    assert list(jobs.plan_gone("w1", 9, 2)) == []
    assert desk.counts() == {"ready": 4, "leased": 1}
    message = desk.broker.queue("jobs").held.ready[1]
    assert (message.attempts, message.losses) == (0, 1)
    assert message.history == ((WORKER, 0, 9, "gone", "no sign of life"),)


def test_a_large_lease_ends_a_slice(desk):
    desk.push(*"abcd")
    desk.lease(3)
    desk.lease(1)
    assert [desk.do(record) for record in desk.jobs.plan_gone("w1", 9, 2)] == [3]


# Deadlines of single messages


def extend(desk, seq, deadline_ms, *ids):
    return desk.do(desk.jobs.plan_extend((7, seq, ids, None), deadline_ms, 10))


def deadlines(jobs):
    return {
        each: lease.deadline_of(each) for lease in jobs.leases() for each in ids_of(lease.ids())
    }


def test_messages_that_were_extended_outlive_their_lease_s_deadline(desk):
    desk.push(*"abcd")
    seq, _ = desk.lease(4)
    assert extend(desk, seq, 300, 2, 2) == 2
    assert deadlines(desk.jobs) == {1: 100, 2: 300, 3: 300, 4: 100}
    assert desk.jobs.next_deadline_ms() == 100
    assert desk.expire(100) == 2
    assert desk.counts() == {"ready": 2, "leased": 2}
    assert desk.jobs.next_deadline_ms() == 300
    assert desk.do(desk.jobs.plan_ack((7, seq, (2, 1), None))) == 1
    assert desk.expire(299) == 0
    assert desk.expire(300) == 1
    assert refusal(desk.jobs.plan_ack, (7, seq, (), None)).details["why"] == "over"
    assert desk.jobs.next_deadline_ms() is None


def test_a_message_may_be_let_go_sooner_than_its_lease(desk):
    desk.push(*"abc")
    seq, _ = desk.lease(3)
    extend(desk, seq, 50, 1, 1)
    extend(desk, seq, 60, 2, 1)
    extend(desk, seq, 40, 2, 1)
    assert desk.jobs.next_deadline_ms() == 40
    assert desk.expire(45) == 1
    assert deadlines(desk.jobs) == {1: 50, 3: 100}


@pytest.mark.parametrize("settle", ["plan_ack", "ack", "plan_nack"])
def test_what_is_settled_has_no_deadline(desk, settle):
    desk.push(*"abc")
    seq, _ = desk.lease(3)
    extend(desk, seq, 50, 1, 1)
    claim = (7, seq, (1, 1), None)
    if settle == "ack":
        ack(desk.jobs, claim)
    elif settle == "plan_ack":
        desk.do(desk.jobs.plan_ack(claim))
    else:
        desk.do(desk.jobs.plan_nack(claim, 0))
    assert desk.jobs.next_deadline_ms() == 100
    assert desk.expire(99) == 0


def test_the_whole_lease_is_extended_with_what_had_its_own_deadline(desk):
    desk.push(*"abc")
    seq, _ = desk.lease(3)
    extend(desk, seq, 50, 1, 1)
    assert extend(desk, seq, 200) == 3
    assert set(deadlines(desk.jobs).values()) == {200}
    extend(desk, seq, 50, 1, 1)
    assert extend(desk, seq, 400, 1, 3) == 3, "all of them by their ids is the whole lease"
    assert desk.history[-1][-2] == ()
    assert desk.expire(399) == 0
    assert desk.expire(400) == 3


def test_the_deadline_of_a_lease_counts_no_more_where_all_have_their_own(desk):
    desk.push(*"ab")
    seq, _ = desk.lease(2)
    extend(desk, seq, 300, 1, 1)
    extend(desk, seq, 200, 2, 1)
    assert desk.jobs.next_deadline_ms() == 200
    assert desk.expire(150) == 0
    assert desk.expire(200) == 1
    desk.push("c")
    assert desk.jobs.next_deadline_ms() == 300


def test_a_lease_whose_messages_all_run_out_is_over_whole(desk):
    desk.push(*"ab")
    seq, _ = desk.lease(2)
    extend(desk, seq, 60, 1, 1)
    assert desk.expire(100) == 2
    assert not len(desk.jobs)


def test_no_messages_but_those_of_the_lease_are_extended(desk):
    desk.push(*"ab")
    seq, _ = desk.lease(1)
    before = list(desk.broker.export())
    error = refusal(desk.jobs.plan_extend, (7, seq, (1, 2), None), 300, 10)
    assert (error.code, error.details["id"]) == (Code.NOT_LEASED, 2)
    assert list(desk.broker.export()) == before


@pytest.mark.parametrize("is_exported", [False, True])
def test_deadlines_of_single_messages_are_rebuilt(is_exported):
    desk = Desk()
    desk.push(*"abcde")
    seq, _ = desk.lease(4)
    desk.lease(1)
    extend(desk, seq, 300, 2, 2)
    extend(desk, seq, 50, 4, 1)
    other = desk.rebuilt(is_exported=is_exported)
    assert deadlines(other.jobs) == {1: 100, 2: 300, 3: 300, 4: 50, 5: 100}
    assert other.jobs.next_deadline_ms() == 50
    assert list(other.export()) == list(desk.broker.export())


def test_an_extension_of_an_older_version_is_for_the_whole_lease(desk):
    desk.push(*"ab")
    seq, _ = desk.lease(2)
    assert desk.do((job_records.EXTEND, 1, 7, seq, 500)) == 2
    assert set(deadlines(desk.jobs).values()) == {500}


@pytest.mark.parametrize("is_exported", [False, True])
def test_the_clock_of_a_restart_does_not_lie_behind_an_extension(desk, is_exported):
    desk.push("a")
    seq, _ = desk.lease()
    desk.do(desk.jobs.plan_extend((7, seq, (), None), 9000, 8000))
    assert desk.rebuilt(is_exported=is_exported).clock_ms == 8000


def test_a_slice_of_what_has_run_out_ends_behind_the_lease_that_fills_it(desk):
    desk.push(*"abcd")
    desk.lease(3)
    desk.lease(1)
    assert [desk.do(record) for record in desk.jobs.plan_expiry(100, 2)] == [3]
    assert [desk.do(record) for record in desk.jobs.plan_expiry(100, 2)] == [1]


# Deleting and purging


def test_the_leases_of_a_deleted_queue_are_lost(desk):
    desk.push(*"abc")
    seq, _ = desk.lease()
    delayed, _ = desk.lease()
    desk.nack(delayed, delay_ms=50)
    desk.do(desk.broker.plan_create("other", {}, 0))
    desk.push("x", name="other")
    kept, _ = desk.lease(name="other")
    assert desk.do(desk.broker.plan_delete("jobs")) == 3
    assert desk.jobs.next_deadline_ms() == 100
    assert refusal(desk.jobs.plan_ack, (7, seq, (), None)).details["why"] == "over"
    assert desk.do(desk.jobs.plan_ack((7, kept, (), None))) == 1
    assert desk.jobs.next_deadline_ms() is None


def test_purging_keeps_what_is_leased_and_what_is_dead(desk):
    desk.push(*"abcde")
    for _ in range(4):
        desk.lease()
    desk.hand_back(1)
    desk.nack(2, delay_ms=50)
    desk.reject(3)
    assert desk.counts() == {"ready": 2, "delayed": 1, "dead": 1, "leased": 1}
    assert desk.do(desk.broker.plan_purge("jobs")) == 3
    assert desk.counts() == {"dead": 1, "leased": 1}
    assert desk.info()["purged"] == 3
    assert desk.jobs.next_deadline_ms() == 100
    assert desk.do(desk.jobs.plan_purge_dead(desk.broker.queue("jobs"))) == 1
    assert desk.info()["purged"] == 4
    assert desk.broker.queue("jobs").outside == 1
    assert desk.hand_back(4) == 1
    assert desk.texts() == ["d"]


# Rebuilding


@pytest.mark.parametrize("is_exported", [False, True])
def test_leases_and_all_that_came_of_them_are_rebuilt(is_exported):
    desk = Desk(dead_letter="dead", max_attempts=2)
    desk.push(*"abcdef", headers=((0, 6, {"k": 1}, 3),))
    desk.push(*"gh", now_ms=500)
    for most in (1, 1, 1, 2, 1):
        desk.lease(most, owner=WORKER)
    desk.nack(1, delay_ms=70, reason="try later")
    desk.hand_back(2)
    desk.reject(3, reason="never")
    ack(desk.jobs, (7, 4, (4, 1), None))
    desk.history.append((job_records.ACK, 2, 7, 4, (4, 1)))
    desk.do(desk.jobs.plan_extend((7, 5, (), None), 999, 10))
    other = desk.rebuilt(is_exported=is_exported)
    for name in ("jobs", "dead"):
        queue, twin = desk.broker.queue(name), other.queue(name)
        assert twin.info(900) == queue.info(900)
        assert (twin.free_bytes, twin.fifo.next_id) == (queue.free_bytes, queue.fifo.next_id)
        for place in ("ready", "delayed", "dead"):
            messages = getattr(queue.held, place) if queue.held else {}
            twins = getattr(twin.held, place) if twin.held else {}
            assert {k: m.export() for k, m in twins.items()} == {
                k: m.export() for k, m in messages.items()
            }
    assert [(x.seq, x.ids(), x.deadline_ms) for x in other.jobs.leases()] == [
        (x.seq, x.ids(), x.deadline_ms) for x in desk.jobs.leases()
    ]
    assert other.jobs.next_deadline_ms() == desk.jobs.next_deadline_ms() == 70
    assert other.clock_ms == desk.broker.clock_ms
    assert other.apply(other.jobs.plan_ack((7, 4, (), "w1"))) == 1


def test_a_queue_without_leases_is_exported_as_ever(desk):
    desk.push("a")
    assert [record[0] for record in desk.broker.export()] == [6, 3, 7]


@pytest.mark.parametrize("is_exported", [False, True])
def test_leases_that_were_read_share_what_is_known_of_their_owner(is_exported):
    desk = Desk()
    desk.push("a", "b", "c")
    for host in ("n1", "n1", "n2"):
        desk.lease(owner={"instance": "ada/1", "host": host})
    first, second, third = desk.rebuilt(is_exported=is_exported).jobs.leases()
    assert first.owner is second.owner
    assert third.owner == {"instance": "ada/1", "host": "n2"}


def test_a_large_lease_is_exported_in_several_records(monkeypatch):
    monkeypatch.setattr(leases, "PIECE_BYTES", 12)
    desk = Desk()
    desk.push("aa", "bb", "cc", "d", "e", "x" * 30)
    seq, _ = desk.lease(6)
    desk.nack(seq, 1, 6, reason="eight ch")
    seq, _ = desk.lease(6)
    exported = [record for record in desk.broker.export() if record[0] in (16, 20)]
    assert [[each[0] for each in record[-1]] for record in exported[1:]] == [
        [2],
        [3],
        [4],
        [5],
        [6],
    ]
    assert [each[0] for each in exported[0][9]] == [1]
    other = desk.rebuilt(is_exported=True)
    (lease,), (twin,) = desk.jobs.leases(), other.jobs.leases()
    assert twin.export() == lease.export()
    assert (twin.count, twin.size_bytes) == (lease.count, lease.size_bytes)
    queue, twin = desk.broker.queue("jobs"), other.queue("jobs")
    assert twin.info(900) == queue.info(900)
    assert (twin.free_bytes, twin.free_messages) == (queue.free_bytes, queue.free_messages)


def test_pieces_of_a_lease_are_filled_to_their_bound(monkeypatch):
    monkeypatch.setattr(leases, "PIECE_BYTES", 4)
    desk = Desk()
    desk.push(*"abcde")
    desk.hand_back(desk.lease(5)[0])
    desk.lease(5)
    exported = [record for record in desk.broker.export() if record[0] in (16, 20)]
    assert [len(record[9 if record[0] == 16 else -1]) for record in exported] == [2, 2, 1]


def test_nothing_runs_out_while_a_table_of_deadlines_is_not_through_what_was_removed(
    desk, monkeypatch
):
    monkeypatch.setattr(deadlines_module, "MOST_PASSED", 1)
    desk.push(*["x"] * 9)
    seq, _ = desk.lease(9)
    for number in range(1, 9):
        extend(desk, seq, 10 + number, number, 1)
    extend(desk, seq, 200, 9, 1)
    ack(desk.jobs, (7, seq, (2, 7), None))
    ack(desk.jobs, (7, seq, (1, 1), None))
    lease = desk.jobs.lease_of((7, seq, (), None))
    assert (lease.count, lease.due_ms < 100) == (1, True), "so it is looked at too early"
    for _ in range(9):
        assert desk.expire(199) == 0
    assert desk.jobs.next_deadline_ms() == 200
    assert desk.expire(200) == 1
