"""What queues remember of messages that have left: how long, how many, and after a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mqd.core import job_records, view_records
from mqd.core.results import Kept, Outcome
from mqd.store.recordlog import decode, encode
from mqwire.runs import ids_of
from support.jobs import Desk, ack


def done(at_ms=0, result=None):
    return Outcome("done", at_ms, 1, 0, 0, "", result, None)


def kept_of(desk, message_id, now_ms=0, name="jobs"):
    return desk.broker.queue(name).kept.get(message_id, now_ms)


def keeping(**options):
    return Desk(keep_results_seconds=10, **options)


def test_a_result_is_told_until_its_time_is_over():
    kept = Kept(1000)
    kept.add((1, 2), done(500, b"r"))
    assert kept.get(2, 1499).result == b"r"
    assert kept.get(2, 1500) is kept.get(3, 0) is None


def test_forgetting_is_due_when_the_oldest_is_past_its_time():
    kept = Kept(1000)
    assert kept.times.next_ms() is None
    kept.add((1, 3), done(500, b"abc"))
    kept.add((4, 1), done(600, b"d"))
    assert kept.times.next_ms() == 1500
    assert (kept.forget(1499, 9), len(kept)) == (0, 4)
    assert (kept.forget(1500, 9), len(kept), kept.size_bytes) == (3, 1, 1)
    assert kept.times.next_ms() == 1600
    assert kept.forget(5000, 9) == 1
    assert (kept.times.next_ms(), len(kept), kept.size_bytes) == (None, 0, 0)
    kept.add((5, 1), done(5000))
    assert kept.times.next_ms() == 6000


def test_forgetting_goes_by_slices():
    kept = Kept(1000)
    for message_id in range(1, 10):
        kept.add((message_id, 1), done())
    assert kept.forget(1000, 4) == 4
    assert kept.times.next_ms() == 1000
    assert kept.forget(1000, 9) == 5


def test_what_more_has_become_of_since_counts_in_a_slice_too():
    kept = Kept(1000)
    for at_ms in (0, 500):
        for message_id in range(1, 10, 3):
            kept.add((message_id, 3), done(at_ms))
    assert [kept.forget(1000, 4) for _ in range(3)] == [6, 3, 0]
    assert (len(kept), kept.times.next_ms()) == (9, 1500)
    assert [kept.forget(1500, 4) for _ in range(3)] == [6, 3, 0]
    assert (len(kept), kept.times.next_ms()) == (0, None)


def test_too_many_let_the_oldest_go():
    kept = Kept(1000, max_count=3, max_bytes=10)
    kept.add((1, 2), done())
    kept.add((3, 1), done())
    assert len(kept) == 3
    kept.add((4, 1), done())
    assert [kept.get(each, 0) is None for each in range(1, 5)] == [True, True, False, False]
    kept.add((5, 1), done(result=b"x" * 10))
    assert len(kept) == 3
    kept.add((6, 1), done(result="y"))
    assert [each for each in range(1, 7) if kept.get(each, 0)] == [6]


def test_a_queue_that_keeps_no_results_remembers_nothing():
    desk = Desk()
    desk.push("a")
    seq, _ = desk.lease()
    record = desk.jobs.plan_ack((7, seq, (), None), 5, b"r")
    assert record == (job_records.ACK, 1, 7, seq, ())
    assert ack(desk.jobs, (7, seq, (), None), 5, b"r") == record
    assert desk.broker.queue("jobs").kept is None
    assert desk.broker.view.next_ms() is None


def test_an_ack_leaves_its_result_with_each_message():
    desk = keeping()
    desk.push("a", "b", "c")
    seq, _ = desk.lease(3)
    record = ack(desk.jobs, (7, seq, (2, 1), None), 5, b"r")
    desk.history.append(record)
    assert record == (view_records.DONE, 1, 7, seq, (2, 1), 5, b"r")
    assert kept_of(desk, 2) == done(5, b"r")
    assert kept_of(desk, 1) is None
    desk.do(desk.jobs.plan_ack((7, seq, (), None), 6))
    assert kept_of(desk, 1) == kept_of(desk, 3) == done(6)
    assert desk.info()["acked"] == 3
    assert kept_of(desk, 2, 10_005) is None


def test_counts_of_what_was_tried_before_stay_known():
    desk = keeping()
    desk.push("a", "b")
    seq, _ = desk.lease()
    desk.nack(seq)
    seq, _ = desk.lease(2)
    desk.do(desk.jobs.plan_ack((7, seq, (), None), 1, "r"))
    assert kept_of(desk, 1) == Outcome("done", 1, 2, 1, 0, "", "r", None)
    assert kept_of(desk, 2) == done(1, "r")


def test_a_dead_letter_is_remembered_with_its_error_and_its_new_place():
    desk = keeping(dead_letter="dead", max_attempts=2)
    desk.push("a", "b")
    desk.do(desk.broker.plan_push("dead", 1, b"\xa1z", (), 0))
    for now_ms in (3, 4):
        seq, _ = desk.lease(1)
        desk.nack(seq, now_ms=now_ms, reason=f"error {now_ms}")
    assert kept_of(desk, 1) == Outcome("dead", 4, 2, 2, 0, "nack", "error 4", ("dead", 2))
    assert kept_of(desk, 2) is None


def test_a_dead_letter_that_is_redriven_is_known_to_have_gone():
    desk = Desk(dead_letter="dead")
    desk.do(desk.broker.plan_delete("dead"))
    for record in desk.broker.plan_creation("dead", {"keep_results_seconds": 10}, 0):
        desk.do(record)
    desk.push("a")
    seq, _ = desk.lease()
    desk.reject(seq)
    records, _ = desk.jobs.plan_redrive(desk.broker.queue("dead"), 8, 9)
    for record in records:
        desk.do(record)
    assert kept_of(desk, 1, name="dead") == Outcome("gone", 8, 1, 0, 0, "", None, ("jobs", 2))


def redrive_all(desk, now_ms):
    for record in desk.jobs.plan_redrive(desk.broker.queue("dead"), now_ms, 9)[0]:
        desk.do(record)


def test_a_message_that_has_come_back_is_known_by_its_new_name():
    desk = keeping(dead_letter="dead")
    desk.push("a")
    desk.reject(desk.lease()[0])
    redrive_all(desk, 8)
    assert kept_of(desk, 1) == Outcome("gone", 8, 1, 0, 0, "", None, ("jobs", 2))
    desk.do(desk.jobs.plan_reject((7, desk.lease()[0], (), None), 9))
    assert kept_of(desk, 2) == Outcome("dead", 9, 2, 0, 0, "reject", "", ("dead", 2))
    kept = desk.broker.queue("jobs").kept
    assert (kept.forget(10_007, 9), len(kept)) == (1, 2)  # its first death: more is known of it
    assert kept_of(desk, 1, now_ms=10_007).moved_to == ("jobs", 2)
    assert (kept.forget(10_008, 9), len(kept)) == (1, 1)
    assert (kept.forget(10_009, 9), len(kept)) == (1, 0)


def test_a_message_that_comes_back_is_nobody_elses_story():
    desk = keeping(dead_letter="dead")
    desk.push("a")
    desk.reject(desk.lease()[0])
    desk.do(desk.broker.plan_delete("jobs"))
    for record in desk.broker.plan_creation("jobs", {"keep_results_seconds": 10}, 0):
        desk.do(record)
    desk.push("b")
    desk.do(desk.jobs.plan_ack((7, desk.lease()[0], (), None), 1, "r"))
    redrive_all(desk, 8)
    assert kept_of(desk, 1) == done(1, "r")


def test_a_message_that_comes_back_when_its_story_is_forgotten_has_none():
    desk = keeping(dead_letter="dead")
    desk.push("a")
    desk.reject(desk.lease()[0])
    redrive_all(desk, 10_001)
    assert kept_of(desk, 1, now_ms=10_001) is None


def test_deleting_a_queue_forgets_its_results():
    desk = keeping()
    desk.push("a")
    seq, _ = desk.lease()
    desk.do(desk.jobs.plan_ack((7, seq, (), None), 1, "r"))
    assert desk.broker.view.next_ms() == 10_001
    desk.do(desk.broker.plan_delete("jobs"))
    assert desk.broker.view.next_ms() is None


def test_results_are_forgotten_over_queues_in_slices():
    desk = keeping()
    for record in desk.broker.plan_creation("more", {"keep_results_seconds": 20}, 0):
        desk.do(record)
    for name in ("jobs", "more"):
        desk.push(*"abcde", name=name)
        seq, _ = desk.lease(5, name=name)
        for message_id in range(1, 6):
            desk.do(desk.jobs.plan_ack((7, seq, (message_id, 1), None), 0))
    view = desk.broker.view
    assert view.forget(9_999, 3) == 0
    assert [view.forget(20_000, 3) for _ in range(5)] == [3, 3, 3, 1, 0]
    assert view.next_ms() is None


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 30), st.sampled_from([None, b"ab", "xyz"])),
        max_size=20,
    ),
    st.integers(0, 12_000),
    st.booleans(),
)
def test_a_rebuilt_broker_tells_the_same(acks, later_ms, is_forgotten):
    desk = keeping()
    now_ms = 0
    for count, pause, result in acks:
        now_ms += 100 * pause
        desk.push(*"abcd"[:count], now_ms=now_ms)
        seq, _ = desk.lease(count, now_ms=now_ms)
        desk.do(desk.jobs.plan_ack((7, seq, (), None), now_ms, result))
        if is_forgotten:
            desk.broker.view.forget(now_ms, 3)
    now_ms += later_ms
    ids = range(desk.broker.queue("jobs").fifo.next_id)
    told = [kept_of(desk, each, now_ms) for each in ids]
    exported = tuple(decode([encode(list(desk.broker.export()))]))
    for other in (desk.rebuilt(), desk.rebuilt(is_exported=True)):
        assert [other.queue("jobs").kept.get(each, now_ms) for each in ids] == told
        assert other.queue("jobs").info(0) == desk.info()
    other = Desk()
    other.broker = type(desk.broker)(desk.broker._bounds)
    other.broker.apply_all(exported)
    assert [kept_of(other, each, now_ms) for each in ids] == told


def test_large_results_are_exported_in_pieces():
    kept = Kept(1000)
    for message_id in range(1, 12):
        kept.add((message_id, 1), done(result=b"x" * 60_000))
    records = list(kept.export(3, 0))
    assert len(records) == 3
    assert all(record[:2] == (view_records.RESULTS, 3) for record in records)
    groups = [group for record in records for group in record[2]]
    assert [next(ids_of(group[0])) for group in groups] == list(range(1, 12))
