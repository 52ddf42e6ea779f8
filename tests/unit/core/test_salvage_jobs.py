from __future__ import annotations

import pytest

from mqd.core import job_records, leases, order_records, records, step_records, view_records
from mqd.core.broker import Bounds, Broker
from mqd.core.cancelling import plan_cancel
from mqd.core.salvage import NO_BOUNDS, Salvager
from mqd.core.salvage_jobs import DOUBTFUL, NO_LEASE, NO_QUEUE, NO_RESULTS
from mqd.core.steps import Ack, Push
from mqwire.packs import join_bodies
from support.jobs import Desk

WHO_KNOWS = "may have been elsewhere"


class Life(Desk):
    """A broker's life, and what a salvage makes of parts of it."""

    def ack(self, seq, *ids):
        return self.do(self.jobs.plan_ack((7, seq, ids, None)))

    def hole(self):
        """Let records be missing from here on; call it again where they are not."""
        self.history.append(None)

    def salvage(self, found=None):
        """Salvage what lies outside of the holes."""
        self.salvager = Salvager(Broker(Bounds(100, 1000, 10)))
        self.reasons, is_missing = [], False
        for record in self.history if found is None else found:
            if record is None:
                self.salvager.note_gap()
                is_missing = not is_missing
            elif not is_missing:
                self.reasons.append(self.salvager.apply(record))
        self.outcomes = self.salvager.finish()
        self.broker = Broker(NO_BOUNDS)
        self.broker.apply_all(self.salvager.export())
        self.jobs = self.broker.jobs
        self.jobs.epoch = 7
        for queue in self.broker.queues():
            info = queue.info(0)
            states = ("ready", "delayed", "leased", "dead")
            ways = ("pulled", "acked", "purged", "moved", "expired", "cancelled")
            assert info["pushed"] == sum(info[state] for state in states + ways)
        return self

    def outcome(self, name="jobs"):
        (found,) = [each for each in self.outcomes if each.name == name]
        return found.kept, found.missing, found.again

    def pull(self, count):
        return self.do((records.PULL, 1, count))

    def held(self, name="jobs"):
        return self.broker.queue(name).held


@pytest.fixture
def life():
    return Life()


def test_a_message_whose_lease_is_lost_is_delivered_again(life):
    life.push(*"abc")
    life.hole()
    life.lease(2)
    life.hole()
    life.ack(1)
    life.salvage()
    assert life.reasons[-1] == NO_LEASE
    assert life.texts() == ["a", "b", "c"]
    assert life.outcomes == [], "nothing is known to be wrong with the queue"


def test_single_messages_are_done_though_their_lease_is_lost(life):
    life.push(*"abc")
    life.hole()
    life.lease(3)
    life.hole()
    life.ack(1, 2, 1)
    life.salvage()
    assert life.reasons == [None] * 3
    assert life.texts() == ["a", "c"]
    assert life.info()["acked"] == 1


def test_what_is_leased_and_done_behind_a_gap_is_done(life):
    life.push(*"abcd")
    life.hole()
    life.lease(1)
    life.push("e")
    life.hole()
    life.lease(2)
    life.push("f")
    life.ack(2)
    life.salvage()
    assert life.reasons == [None] * 5
    assert life.texts() == ["a", "d", "f"]
    assert life.info()["acked"] == 2
    assert life.outcome() == (3, 1, 0)
    assert life.broker.queue("jobs").fifo.next_id == 7


def test_a_lease_from_before_a_gap_is_not_trusted_whole(life):
    life.push(*"abc")
    life.lease(2)
    life.hole()
    life.hand_back(1, 1, 1)
    life.lease(1)
    life.hole()
    life.ack(1)
    life.salvage()
    assert life.reasons[-1] == DOUBTFUL
    assert life.texts() == ["a", "b", "c"]
    assert life.outcome() == (3, 0, 2)
    assert len(life.jobs) == 0


def test_a_lease_that_is_there_at_the_end_is_there_afterwards(life):
    life.push(*"abc")
    life.lease(2, deadline_ms=500)
    life.hole()
    life.push("d")
    life.hole()
    life.do(life.jobs.plan_extend((7, 1, (), None), 900, 10))
    life.salvage()
    (lease,) = life.jobs.leases()
    assert (lease.epoch, lease.seq, lease.ids(), lease.deadline_ms) == (7, 1, (1, 2), 900)
    assert life.counts() == {"ready": 1, "leased": 2}
    assert life.jobs.state.book.last_seq == 1, "no number is given again"


def test_deadlines_of_single_messages_are_salvaged_with_their_lease(life):
    life.push(*"abcd")
    life.lease(4, deadline_ms=500)
    life.do(life.jobs.plan_extend((7, 1, (1, 2), None), 700, 10))
    life.hole()
    life.ack(1, 1, 1)
    life.hole()
    life.do(life.jobs.plan_extend((7, 1, (3, 1), None), 900, 10))
    life.ack(1, 4, 1)
    life.salvage()
    (lease,) = life.jobs.leases()
    assert [lease.deadline_of(each) for each in (1, 2, 3)] == [700, 700, 900]
    assert life.jobs.next_deadline_ms() == 700


def test_extensions_of_messages_that_are_not_known_to_be_leased_change_nothing(life):
    life.push(*"ab")
    life.lease(1, deadline_ms=500)
    life.hole()
    life.hole()
    life.do((job_records.EXTEND, 1, 7, 1, 700, (2, 1)))
    life.do((job_records.EXTEND, 1, 7, 1, 600))
    life.do((job_records.EXTEND, 1, 7, 1, 650, ()))
    life.salvage(life.history)
    (lease,) = life.jobs.leases()
    assert (lease.deadline_ms, lease.own) == (650, None)


def test_extensions_of_leases_that_are_lost_are_refused_and_make_nothing_uncertain(life):
    life.push(*"ab")
    life.hole()
    life.lease(1)
    life.hole()
    life.lease(1)
    life.do(life.jobs.plan_extend((7, 1, (), None), 900, 10))
    life.ack(2)
    life.salvage()
    assert life.reasons[-2:] == [NO_LEASE, None]
    assert life.texts() == ["a"]


def test_a_record_that_is_refused_for_its_form_makes_leases_uncertain(life):
    life.push(*"ab")
    life.hole()
    life.hole()
    life.lease(2)
    found = [*life.history, (job_records.RETURN, 1, 7, 1), (job_records.ACK, 1, 7, 1, ())]
    life.salvage(found)
    assert life.reasons[-1] == DOUBTFUL
    assert life.texts() == ["a", "b"]


def test_a_lease_takes_its_messages_from_wherever_they_were_thought_to_be():
    life = Life(max_attempts=1)
    life.push(*"abcde")
    life.lease(3)
    life.nack(1, 3, 1)
    life.nack(1, 1, 1, delay_ms=50, now_ms=0)
    life.reject(1, 2, 1)
    life.do(life.jobs.plan_redrive(life.broker.queue("jobs"), 5, 9)[0][0])
    life.lease(2, deadline_ms=200)
    life.hole()
    life.hand_back(2)
    life.expire(60)
    life.hole()
    life.lease(5)
    life.salvage()
    (lease,) = life.jobs.leases()
    assert (lease.seq, lease.ids()) == (3, (1, 5))
    assert life.counts() == {"leased": 5}
    assert lease.loose[5].deliveries == 1
    assert life.ack(3) == 5


def test_what_comes_back_behind_a_gap_goes_where_its_record_says():
    life = Life(max_attempts=2, backoff="fixed", backoff_seconds=1)
    life.push(*"abcd")
    life.hole()
    life.lease(4, owner="w9", now_ms=3)
    life.hole()
    life.nack(1, 1, 1, now_ms=10, reason="bad")
    life.hand_back(1, 2, 1)
    life.reject(1, 3, 1)
    life.salvage()
    held = life.held()
    assert {n: (m.attempts, m.due_ms) for n, m in held.delayed.items()} == {1: (1, 1010)}
    assert held.delayed[1].history == (("", 10, 10, "nack", "bad"),)
    assert set(held.ready) == {2}
    assert set(held.dead) == {3}
    assert life.counts() == {"ready": 2, "delayed": 1, "dead": 1}
    assert life.expire(2000) == 1


def test_losses_and_wakings_behind_a_gap():
    life = Life(max_worker_losses=5)
    life.push(*"ab")
    life.lease(2, deadline_ms=100)
    life.hole()
    life.push("c")
    life.hole()
    life.expire(100)
    life.lease(2, deadline_ms=300, now_ms=150)
    life.nack(2, delay_ms=50, now_ms=200)
    life.hole()
    life.push("d")
    life.hole()
    life.expire(260)
    life.salvage()
    assert {m.losses for m in life.held().ready.values()} == {1}
    assert {m.history[0][0] for m in life.held().ready.values()} == {"w1"}
    assert life.texts() == ["a", "b"]
    assert life.broker.clock_ms == 200


def test_dead_letters_behind_a_gap_go_to_the_end_of_their_queue():
    life = Life(dead_letter="grave")
    life.push("a", "b")
    life.hole()
    life.push("x", "y", name="grave")
    life.hole()
    life.lease(1)
    life.reject(1)
    life.push("z", name="grave")
    life.salvage()
    assert life.texts() == ["b"]
    assert life.texts("grave") == ["z", "a"]
    assert life.outcome("grave") == (2, 3, 1)
    assert life.info()["moved"] == 1


def test_a_dead_letter_is_not_taken_for_a_message_of_its_new_queue():
    life = Life(dead_letter="grave")
    life.push("a")
    life.hole()
    life.push("x", name="grave")
    life.hole()
    life.lease()
    life.reject(1)
    life.lease(1, name="grave")
    life.ack(2)
    life.salvage()
    assert life.texts("grave") == ["a"]


def test_what_is_redriven_behind_a_gap():
    life = Life(dead_letter="grave")
    life.push(*"abc")
    life.lease(3)
    life.reject(1, 1, 2)
    life.hole()
    life.push("d")
    life.hole()
    life.hand_back(1, 3, 1)
    (record,), _ = life.jobs.plan_redrive(life.broker.queue("grave"), 9, 9, (2, 1))
    life.do(record)
    life.salvage()
    assert life.texts("grave") == ["a"]
    assert life.texts() == ["c", "b"]
    other = Life()
    other.push("a")
    other.lease()
    other.reject(1)
    other.hole()
    other.hole()
    other.do(other.jobs.plan_redrive(other.broker.queue("jobs"), 9, 9)[0][0])
    other.salvage()
    assert other.texts() == ["a"]


def test_a_dead_letter_whose_queue_is_lost_finds_one_that_is_made_up():
    life = Life(dead_letter="grave")
    life.history[0:1] = [None, life.history[0], None]
    life.push("a")
    life.lease()
    life.reject(1)
    life.salvage()
    assert life.texts("salvaged-1") == ["a"]
    assert life.outcomes == [("salvaged-1", 1, 0, True, 1)]


def test_where_there_were_leases_no_removal_by_place_is_carried_out(life):
    life.push(*"abc")
    life.lease(1)
    life.ack(1)
    life.reject(life.lease(1)[0])
    life.hole()
    life.hole()
    life.pull(1)
    life.do(life.broker.plan_purge("jobs"))
    life.do(life.jobs.plan_purge_dead(life.broker.queue("jobs")))
    life.salvage()
    assert all(WHO_KNOWS in reason for reason in life.reasons[-3:])
    assert life.counts() == {"ready": 1, "dead": 1}


def test_a_queue_without_dead_letters_may_be_deleted(life):
    life.push("a")
    life.lease()
    life.hole()
    life.hole()
    life.do(life.broker.plan_delete("jobs"))
    life.do(life.broker.plan_create("jobs", {}, 9))
    life.push("b")
    life.lease()
    life.salvage()
    assert life.reasons[-4:] == [None] * 4
    assert life.counts() == {"leased": 1}
    assert len(life.broker) == 1


def test_a_queue_that_dead_letters_go_to_or_come_from_is_kept():
    life = Life(dead_letter="grave")
    life.push("a")
    life.lease()
    life.hole()
    life.reject(1)
    life.hole()
    for name in ("jobs", "grave"):
        life.do(life.broker.plan_delete(name))
    life.salvage()
    assert all(WHO_KNOWS in reason for reason in life.reasons[-2:])
    assert life.counts() == {"leased": 1}


def test_nothing_is_done_where_all_is_to_be_kept(life):
    life.push(*"ab")
    life.lease()
    ack = life.jobs.plan_ack((7, 1, (1, 1), None))
    salvager = Salvager(Broker(Bounds(100, 1000, 10)))
    for record in life.history:
        assert salvager.apply(record) is None
    salvager.why_all_is_kept = "who knows"
    assert salvager.apply(ack) == "who knows"
    assert salvager.apply(life.history[-1]) is None
    assert salvager.known == 1


def test_records_about_queues_that_are_not_known(life):
    life.push("a")
    life.lease()
    life.ack(1)
    life.history[0:1] = [None, life.history[0], None]
    del life.history[3]
    life.salvage()
    assert life.reasons == [NO_QUEUE, NO_QUEUE]
    assert len(life.broker) == 0


# Snapshots


def exported(life, *gone):
    """The records of a snapshot, those of some kinds being in a hole each."""
    for record in life.broker.export():
        yield from (None, record, None) if record[0] in gone else (record,)


@pytest.fixture
def full():
    """A broker with messages everywhere."""
    life = Life(max_attempts=9)
    life.push(*"abcdef")
    life.lease(4, deadline_ms=500)
    life.nack(1, 1, 1, delay_ms=50)
    life.reject(1, 2, 1)
    life.hand_back(1, 3, 1)
    life.push("g")
    life.lease(1, deadline_ms=500)
    return life


def test_a_whole_snapshot_behind_a_gap(full):
    expected = [*full.broker.export()]
    full.salvage([None, None, *expected])
    assert [*full.broker.export()] == expected
    assert full.outcomes == []
    assert full.reasons == [None] * len(expected)


def test_a_snapshot_that_comes_twice_changes_nothing(full):
    expected = [*full.broker.export()]
    again = [record for record in expected if record[0] != job_records.TALLY]
    again = [record for record in again if record[0] != job_records.SKIP]
    full.salvage([None, None, *expected, *again])
    assert [*full.broker.export()] == expected
    assert full.salvager.known == 7, "the queue, its pack, three messages and two leases"


def test_a_snapshot_without_its_queue(full):
    counts = full.counts()
    full.salvage([*exported(full, records.RESTORE)])
    assert full.counts("salvaged-1") == counts
    full.lease(9, name="salvaged-1", deadline_ms=9)
    assert full.ack(3) == 3


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (records.PUSH, {"delayed": 1, "leased": 2, "dead": 1}),
        (job_records.KEEP, {"ready": 3, "leased": 2}),
        (job_records.LEASED, {"ready": 3, "delayed": 1, "dead": 1}),
        (job_records.SKIP, {"ready": 3, "delayed": 1, "leased": 2, "dead": 1}),
    ],
)
def test_a_snapshot_lacks_what_was_in_its_hole_and_nothing_else(full, kind, left):
    full.salvage([*exported(full, kind)])
    assert full.counts() == left
    assert full.broker.queue("jobs").fifo.next_id == (5 if kind == records.PUSH else 8)


# Steps and keys


def step_of(life, *parts, **options):
    life.do(life.broker.plan_step(parts, 0, **options).record)


def push_part(text, **more):
    return Push("jobs", 1, join_bodies([text]), **more)


def test_a_step_is_carried_out_as_far_as_that_goes(life):
    life.push(*"ab")
    life.hole()
    life.lease()
    life.hole()
    life.lease()
    step_of(life, Ack((7, 1, (), None)), Ack((7, 2, (), None)), push_part("c"), key="s")
    life.salvage()
    assert life.reasons[-1] == f"1 of its 3 parts were not carried out: {NO_LEASE}"
    assert life.texts() == ["a", "c"]
    assert life.broker.keys.count() == 0, "it may come again"


def test_keys_of_what_was_carried_out_are_kept(life):
    life.push("a")
    life.hole()
    life.hole()
    step_of(life, push_part("b", key="k"), push_part("c"), key="s")
    life.do(life.broker.plan_keyed_push("jobs", 1, join_bodies("d"), (), 0, "l")[0])
    life.salvage()
    for key, text, first_id in (("k", "b", 2), ("l", "d", 4)):
        found = life.broker.plan_keyed_push("jobs", 1, join_bodies(text), (), 0, key)
        assert found == (None, first_id)
    again = life.broker.plan_step((push_part("b", key="k"), push_part("c")), 0, key="s")
    assert (again.is_repeat, again.results) == (True, (2, 3))


def test_a_key_whose_push_is_refused_is_free(life):
    life.push("a")
    life.hole()
    life.hole()
    push = (records.PUSH, 1, 2, 2, join_bodies("b"), (), 0)
    found = [*life.history, (step_records.KEYED_PUSH, 1, "k", b"d", 0, push)]
    life.salvage(found)
    assert "does not hold" in life.reasons[-1]
    assert life.broker.keys.count(life.broker.queue("jobs")) == 0


@pytest.mark.parametrize("has_gap", [False, True])
def test_keys_of_a_snapshot_are_kept_where_nothing_is_missing_before_them(life, has_gap):
    life.do(life.broker.plan_keyed_push("jobs", 1, join_bodies("a"), (), 0, "k")[0])
    step_of(life, push_part("b"), key="s")
    found = [*life.broker.export()]
    life.salvage([None, None, *found] if has_gap else found)
    keys = life.broker.keys
    assert (keys.count(), keys.count(life.broker.queue("jobs"))) == ((0, 0) if has_gap else (1, 1))
    refused = [reason for reason in life.reasons if reason]
    assert len(refused) == (2 if has_gap else 0)
    assert life.texts() == ["a", "b"]


# Results and cancellations


@pytest.fixture
def keeper():
    return Life(keep_results_seconds=10)


def cancel(life, *ids):
    runs = tuple(each for number in ids for each in (number, 1))
    for record in plan_cancel(life.broker.queue("jobs"), runs, 5).records:
        life.do(record)


def test_what_is_done_by_name_keeps_its_result_behind_a_gap(keeper):
    keeper.push(*"abc")
    keeper.lease(3)
    keeper.hole()
    keeper.push("d")
    keeper.hole()
    keeper.do(keeper.jobs.plan_ack((7, 1, (2, 1), None), 5, "r"))
    keeper.do(keeper.jobs.plan_ack((7, 1, (), None), 6, "s"))
    keeper.salvage()
    assert keeper.reasons[-2:] == [None, DOUBTFUL]
    kept = keeper.broker.queue("jobs").kept
    assert kept.get(2, 5).result == "r"
    assert kept.get(1, 5) is None
    assert keeper.texts() == ["a", "c"]
    assert keeper.info()["acked"] == 1


def test_results_of_a_snapshot_are_kept_where_their_queue_is_known(keeper):
    keeper.push(*"ab")
    keeper.lease(2)
    keeper.do(keeper.jobs.plan_ack((7, 1, (1, 1), None), 5, "r"))
    exported = list(keeper.broker.export())
    keeper.salvage([exported[0], None, None, *exported[1:]])
    assert keeper.broker.queue("jobs").kept.get(1, 5).result == "r"
    lost = Life(keep_results_seconds=10)
    lost.salvage([None, None, *exported[1:]])
    assert "its queue is not known" in [each for each in lost.reasons if each]


def test_what_was_cancelled_stays_away(life):
    life.push(*"abcdef")
    life.push_with("g", "h", priority=200)
    life.lease(3)
    life.hole()
    life.push("x")
    life.hole()
    cancel(life, 1, 4, 7)
    life.nack(1, 7, 1)
    life.salvage()
    assert life.reasons == [None] * 7
    assert life.info()["cancelled"] == 2
    life.hand_back(1)
    assert life.info()["cancelled"] == 3
    assert life.texts() == ["h", "b", "c", "e", "f"]


def test_a_mark_without_its_lease_is_refused(life):
    life.push(*"ab")
    life.hole()
    life.lease(1)
    life.hole()
    cancel(life, 1)
    life.salvage()
    assert life.reasons[-1] == NO_LEASE
    assert life.texts() == ["a", "b"]


def test_where_all_is_kept_so_is_what_was_cancelled(life):
    life.push(*"abc")
    life.lease(1)
    cancel(life, 1, 2)
    life.nack(1)
    history, life.history = life.history, []
    life.salvager = Salvager(Broker(Bounds(100, 1000, 10)))
    life.salvager.why_all_is_kept = "who knows"
    for record in history:
        life.salvager.apply(record)
    life.salvager.finish()
    other = Broker(NO_BOUNDS)
    other.apply_all(life.salvager.export())
    assert other.queue("jobs").ready == 3


# Leases in several records of a snapshot


def in_pieces(life, monkeypatch):
    """Let the history be a snapshot with a lease in three records."""
    monkeypatch.setattr(leases, "PIECE_BYTES", 2)
    life.push(*"abcd")
    life.hand_back(life.lease(3)[0])
    life.lease(3, deadline_ms=500)
    life.history = list(life.broker.export())
    kinds = [record[0] for record in life.history]
    assert kinds.count(job_records.MORE) == 2
    return kinds.index(job_records.LEASED)


def test_what_is_left_of_a_lease_in_pieces_is_under_it(life, monkeypatch):
    at = in_pieces(life, monkeypatch)
    life.history[at + 1 : at + 2] = [None, None]
    life.salvage()
    (lease,) = life.jobs.leases()
    assert (lease.ids(), lease.count, lease.size_bytes) == ((1, 1, 3, 1), 2, 4)
    assert life.counts() == {"ready": 1, "leased": 2}


def test_without_the_beginning_of_its_lease_a_message_is_ready(life, monkeypatch):
    at = in_pieces(life, monkeypatch)
    life.history[at : at + 1] = [None, None]
    life.salvage()
    assert life.counts() == {"ready": 3}
    assert life.texts() == ["b", "c", "d"]


def test_a_piece_of_a_lease_that_is_found_twice_is_known(life, monkeypatch):
    at = in_pieces(life, monkeypatch)
    life.history += [None, None, life.history[at], *life.history[at + 1 : at + 3]]
    life.salvage()
    assert life.counts() == {"ready": 1, "leased": 3}
    (lease,) = life.jobs.leases()
    life.do(life.jobs.plan_ack((7, lease.seq, (2, 1), None)))
    assert life.counts() == {"ready": 1, "leased": 2}


def test_a_piece_of_a_lease_whose_queue_is_not_known_makes_one_up(life, monkeypatch):
    at = in_pieces(life, monkeypatch)
    life.salvage([None, None, life.history[at + 1]])
    assert life.reasons == [None]
    (queue,) = life.broker.queues()
    assert life.texts(queue.name) == ["b"]


# What is said again, or of what is not there any more


def test_what_records_say_of_messages_that_have_gone_changes_nothing(life):
    life.push(*"abc")
    life.hole()
    life.hole()
    life.salvage(
        [
            *life.history[:4],
            None,
            None,
            (job_records.ACK, 1, 7, 9, (1, 1)),
            (job_records.ACK, 1, 7, 9, (1, 1)),
            (view_records.CANCEL, 1, (1, 1, 2, 1), 5),
            (view_records.CANCEL, 1, (2, 1), 5),
            (job_records.READY, 1, (2, 1)),
            (job_records.REDRIVE, 1, (2, 1), 1, 5),
            (order_records.EXPIRE, 1, (2, 1), (), 5),
            (order_records.EXPIRE, 1, (2, 1), ((order_records.DROPPED, (2, 1), 0),), 5),
            (job_records.RETURN, 1, 7, 9, "nack", "", 5, ((0, (2, 1), 0),)),
        ]
    )
    assert life.texts() == ["c"]
    assert (life.info()["acked"], life.info()["cancelled"]) == (1, 1)


def test_a_queue_that_is_deleted_after_its_leases_were_looked_at_is_forgotten(life):
    life.push(*"ab")
    life.do(life.broker.plan_create("other", {}, 0))
    life.push("x", name="other")
    life.hole()
    life.hole()
    life.lease(1)
    life.lease(1, name="other")
    life.do(life.broker.plan_delete("jobs"))
    life.do(life.broker.plan_create("jobs", {}, 0))
    life.push("c")
    life.salvage()
    assert life.texts() == ["c"]
    assert life.counts("other") == {"leased": 1}


def test_a_lease_whose_messages_have_all_come_back_hands_none_back_twice(life):
    life.push(*"ab")
    life.lease(2)
    life.hole()
    life.hole()
    life.do((job_records.ACK, 1, 7, 1, (1, 1)))
    life.do((job_records.ACK, 1, 7, 1, ()))
    life.salvage()
    assert life.reasons[-1] == DOUBTFUL
    assert life.texts() == ["b"]


def test_a_delayed_message_that_was_done_in_a_later_lease_is_done(life):
    life.push(*"ab")
    life.nack(life.lease(1)[0], delay_ms=50)
    life.hole()
    life.expire(50)
    life.lease(2)
    life.hole()
    life.ack(2, 1, 1)
    life.salvage()
    assert life.texts() == ["b"]
    assert life.info()["delayed"] == 0


def test_results_in_a_queue_that_is_not_known_to_keep_any(life):
    life.push("a")
    life.hole()
    life.hole()
    life.do((view_records.CANCELLED, 1, 0))
    life.salvage([*life.history, (view_records.RESULTS, 1, ())])
    assert life.reasons[-1] == NO_RESULTS


def test_a_step_without_a_key_is_carried_out_behind_a_gap(life):
    life.push("a")
    life.hole()
    life.hole()
    life.do(life.broker.plan_step((Push("jobs", 1, join_bodies("b")),), 5).record)
    life.salvage()
    assert life.reasons[-1] is None
    assert life.texts() == ["a", "b"]
