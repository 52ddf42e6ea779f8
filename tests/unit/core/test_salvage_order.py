"""Salvages of what has priorities, times and budgets, and of pauses."""

from __future__ import annotations

import pytest

from mqd.core import job_records, order_records, records
from mqd.core.broker import Bounds, Broker
from mqd.core.fifo import ANY_SIZE
from mqd.core.parcels import PushExtras
from mqd.core.salvage import Salvager
from mqd.core.salvage_jobs import DOUBTFUL, MAYBE_OLD, NO_QUEUE
from mqwire.packs import join_bodies
from unit.core.test_salvage_jobs import WHO_KNOWS, Life


class OrderLife(Life):
    """A broker's life with pushes that say more, and what a salvage makes of parts of it."""

    def say(self, *texts, name="jobs", now_ms=0, headers=(), **extras):
        """Push with extras."""
        pack, said = join_bodies(texts), PushExtras(**extras)
        plan = self.broker.plan_push
        return self.do(plan(name, len(texts), pack, headers, now_ms, extras=said))

    def say_each(self, *texts, priorities, due_ms=0):
        """Push as pushes of one message each, with priorities of their own."""
        queue, pack = self.broker.queue("jobs"), join_bodies(texts)
        return self.do(self.broker.rows.plan_push(queue, pack, bytes(priorities), due_ms, 0))

    def pull_each(self, most):
        """Take as takes of one message each, and keep the record."""
        record, _ = self.broker.rows.take(self.broker.queue("jobs"), most, ANY_SIZE)
        self.history.append(record)

    def snapshot(self):
        """Let the history begin with a snapshot."""
        self.history = list(self.broker.export())

    def lose(self, *kinds):
        """Let the records of some kinds be missing."""
        holes = [[None, each, None] if each[0] in kinds else [each] for each in self.history]
        self.history = [each for hole in holes for each in hole]


@pytest.fixture
def life():
    return OrderLife()


def test_a_salvage_of_everything_keeps_what_pushes_said(life):
    life.push("a")
    life.say("b", "c", priority=200, ttl_ms=500, headers=((1, 1, {"k": 1}, 3),))
    life.say("d", due_ms=700, max_attempts=2)
    life.do(life.broker.plan_pause("jobs"))
    before = list(life.broker.export())
    life.salvage()
    assert life.reasons == [None] * len(life.history)
    assert list(life.broker.export()) == before
    life.history = before
    assert list(life.salvage().broker.export()) == before
    assert life.outcomes == []


def test_pushes_behind_a_gap_are_kept_with_what_they_said(life):
    life.hole()
    life.push("a")
    life.hole()
    life.say("b", "c", priority=200, ttl_ms=500)
    life.say("d", due_ms=700)
    life.salvage()
    assert life.outcome() == (3, 1, 0)
    (parcel,) = life.held().parcels.values()
    assert parcel[:2] == (2, 2)
    assert parcel[5:] == (200, 0, 500, (500, 0, 0))
    assert life.counts() == {"ready": 2, "delayed": 1}
    assert life.broker.queue("jobs").fifo.next_id == 5


def test_rows_are_kept_and_carried_out(life):
    life.push("x")
    life.say_each("a", "b", "c", "d", priorities=[9, 200, 128, 201])
    life.say_each("e", "f", priorities=[3, 4], due_ms=700)
    life.pull_each(3)
    before = list(life.broker.export())
    life.salvage()
    assert life.reasons == [None] * len(life.history)
    assert list(life.broker.export()) == before
    assert life.counts() == {"ready": 2, "delayed": 2}


def test_a_row_behind_a_gap_is_kept(life):
    life.hole()
    life.push("a")
    life.hole()
    life.say_each("b", "c", "d", priorities=[9, 200, 128])
    life.salvage()
    assert life.reasons == [None] * 2
    assert life.outcome() == (3, 1, 0)
    assert life.texts() == ["c", "d", "b"]


def test_no_row_of_takes_is_carried_out_behind_a_gap(life):
    life.say_each("a", "b", "c", priorities=[9, 200, 128])
    life.hole()
    life.push("x")
    life.hole()
    life.pull_each(2)
    life.salvage()
    assert WHO_KNOWS in life.reasons[-1]
    assert life.counts() == {"ready": 3}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ((order_records.PUSH_EACH, 1, 1, 1, b"\xa1a", b"\x01\x02", 0, 0, 0), "priorities"),
        ((order_records.PUSH_EACH, 1, 1, 2, b"\xa1a", b"\x01\x02", 0, 0, 0), "bodies"),
        ((order_records.PUSH_EACH, 1, 1, 0, b"", b"", 0, 0, 0), "it is about no message"),
        ((order_records.PULL_EACH, 1, 0), "it is about no message"),
        ((order_records.PULL_EACH, 5, 1), NO_QUEUE),
    ],
)
def test_rows_that_make_no_sense_are_refused(life, record, reason):
    life.history.append(record)
    life.salvage()
    assert reason in life.reasons[-1]
    assert life.counts() == {}


def test_messages_of_parcels_are_done_though_their_lease_is_lost(life):
    life.say("a", "b", "c", "d", priority=9)
    life.hole()
    life.lease(3)
    life.hole()
    life.ack(1, 2, 1)
    life.salvage()
    assert life.reasons == [None] * 3
    assert life.texts() == ["a", "c", "d"]
    assert life.info()["acked"] == 1


def test_a_lease_behind_a_gap_takes_its_messages_out_of_parcels(life):
    life.say("a", "b", "c", priority=9)
    life.hole()
    life.push("x")
    life.hole()
    life.lease(1)
    life.push("y")
    life.lease(3)
    life.ack(2)
    life.hand_back(1)
    life.salvage()
    assert life.reasons == [None] * 7
    assert life.texts() == ["c"]
    assert life.info()["acked"] == 3


def test_what_is_left_of_a_parcel_stays_one(life):
    life.say(*"abcde", priority=9)
    life.hole()
    life.lease(1)
    life.hole()
    life.lease(1)
    life.salvage()
    held = life.held()
    ((key, parcel),) = held.parcels.items()
    assert (key, parcel[:2], set(held.ready)) == (5, (3, 3), {1})
    assert held.ready[1].priority == 9
    assert life.counts() == {"ready": 4, "leased": 1}


def test_delayed_parcels_become_ready_behind_a_gap(life):
    life.say("a", "b", due_ms=700)
    life.say("c", "d", due_ms=900)
    life.hole()
    life.push("x")
    life.hole()
    life.expire(700)
    life.salvage()
    assert life.counts() == {"ready": 2, "delayed": 2}
    life.expire(900)
    assert life.texts() == ["a", "b", "c", "d"]


def test_a_lease_tells_that_a_delay_was_over(life):
    life.say("a", "b", due_ms=700)
    life.hole()
    life.expire(700)
    life.hole()
    life.lease(1)
    life.salvage()
    assert life.counts() == {"ready": 1, "leased": 1}


def test_what_came_since_a_gap_is_dropped_when_it_expires(life):
    life.hole()
    life.push("x")
    life.hole()
    life.say("a", "b", ttl_ms=500)
    life.say("c", ttl_ms=900)
    life.expire(500)
    life.salvage()
    assert life.reasons == [None] * 4
    assert life.texts() == ["c"]
    assert life.info()["expired"] == 2


def test_parcels_from_before_a_gap_are_not_dropped_whole(life):
    life.say("a", "b", ttl_ms=500)
    life.hole()
    life.lease(2, deadline_ms=9000)
    life.hand_back(1, 2, 1)
    life.hole()
    life.expire(500)
    life.salvage()
    assert life.reasons[-1] == MAYBE_OLD
    assert life.outcome() == (2, 0, 2)
    assert life.expire(501) == 2, "they go when their time is over"
    assert life.counts() == {}


def test_a_message_that_has_left_its_parcel_is_dropped_alone(life):
    life.say("a", "b", "c", ttl_ms=500)
    life.lease(2, deadline_ms=9000)
    life.hand_back(1, 1, 1)
    life.hole()
    life.push("x")
    life.hole()
    life.do((order_records.EXPIRE, 1, (1, 1), (), 500))
    life.salvage()
    assert life.reasons[-1] is None
    assert life.counts() == {"ready": 1, "leased": 1}
    assert life.info()["expired"] == 1


def test_dead_letters_of_time_go_their_way_behind_a_gap():
    life = OrderLife(ttl_seconds=1, on_expiry="dead_letter", dead_letter="old")
    life.push("a", "b")
    life.hole()
    life.push("x")
    life.hole()
    life.lease(1, deadline_ms=9000)
    life.expire(1000)
    life.do(life.jobs.plan_hand_back((7, 1, (), None), 1500))
    life.salvage()
    assert life.reasons[-3:] == [None] * 3
    assert sorted(life.texts("old")) == ["a", "b"]
    assert life.info()["moved"] == 2


def test_what_is_dropped_out_of_a_lease_is_dropped_behind_a_gap():
    life = OrderLife(ttl_seconds=1)
    life.push("a", "b")
    life.hole()
    life.lease(2)
    life.hole()
    life.do(life.jobs.plan_nack((7, 1, (), None), 1500))
    life.salvage()
    assert life.counts() == {}
    assert life.info()["expired"] == 2


def test_nothing_expires_where_everything_is_kept():
    life = OrderLife(ttl_seconds=1)
    life.push("a", "b")
    life.push("c")
    life.lease(2)
    life.do(life.jobs.plan_nack((7, 1, (), None), 1500))
    life.expire(1500)
    salvager = Salvager(Broker(Bounds(100, 1000, 10)))
    for record in life.history[:4]:
        assert salvager.apply(record) is None
    salvager.why_all_is_kept = "so"
    assert [salvager.apply(record) for record in life.history[4:]] == [None, "so"]
    salvager.finish()
    rebuilt = Broker(Bounds(0, 0, 0))
    rebuilt.apply_all(salvager.export())
    assert rebuilt.queue("jobs").ready == 3


def test_nothing_is_removed_by_place_behind_a_gap_where_there_were_priorities(life):
    life.push("a")
    life.say("b", priority=200)
    life.hole()
    life.pull(1)
    life.hole()
    life.pull(1)
    life.salvage()
    assert WHO_KNOWS in life.reasons[-1]
    assert sorted(life.texts()) == ["a", "b"]


@pytest.mark.parametrize("is_paused", [True, False])
def test_a_queue_is_paused_where_that_is_known(life, is_paused):
    life.do(life.broker.plan_pause("jobs"))
    life.do(life.broker.plan_resume("jobs"))
    life.hole()
    life.push("x")
    life.hole()
    if is_paused:
        life.do(life.broker.plan_pause("jobs"))
    life.salvage()
    assert life.broker.queue("jobs").is_paused is is_paused


def test_a_pause_of_a_queue_that_is_not_known_is_told(life):
    life.do(life.broker.plan_pause("jobs"))
    life.lose(records.CREATE)
    life.salvage()
    assert life.reasons == [NO_QUEUE]


def test_parcels_of_a_snapshot_behind_a_gap(life):
    life.say("a", "b", "c", priority=200)
    life.say("d", due_ms=700)
    life.lease(1)
    life.snapshot()
    life.lose(job_records.SKIP)
    life.salvage()
    assert life.counts() == {"ready": 2, "delayed": 1, "leased": 1}
    assert life.broker.queue("jobs").fifo.next_id == 5
    life.ack(1)
    assert life.texts() == ["b", "c"]


def test_a_parcel_that_is_there_in_part_is_made_whole(life):
    life.say("a", "b", "c", priority=200)
    life.snapshot()
    (parcel,) = [each for each in life.history if each[0] == order_records.PARCEL]
    message = (2, b"\xa1b", None, 0, 0, 1, 0, 0, 0, (), None, 200, 0, None)
    kept = (job_records.KEEP, 1, job_records.READY_HERE, message)
    life.history = [life.history[0], None, parcel, None, kept, parcel, parcel]
    life.salvage()
    assert life.reasons == [None] * 4
    assert life.texts() == ["a", "b", "c"]
    assert life.salvager.known == 1


def test_the_lease_of_parcels_is_there_behind_a_gap(life):
    life.say("a", "b", priority=200)
    life.lease(1)
    life.snapshot()
    life.lose(order_records.PARCEL)
    life.salvage()
    (lease,) = life.jobs.leases()
    assert lease.ids() == (1, 1)
    assert life.counts() == {"leased": 1}


@pytest.mark.parametrize("has_gap", [True, False])
@pytest.mark.parametrize("has_expired", [True, False])
def test_counters_of_a_snapshot(life, has_expired, has_gap):
    life.push("a")
    life.lease()
    life.ack(1)
    if has_expired:
        life.say("b", ttl_ms=500)
        life.expire(500)
    life.snapshot()
    if has_gap:
        life.hole()
        life.push("x")
        life.hole()
        life.push("y")
    life.salvage()
    assert [reason for reason in life.reasons if reason] == []
    info = life.info()
    assert (info["acked"], info["expired"], info["purged"]) == (1, has_expired, has_gap)


def test_a_parcel_is_not_trusted_whole_behind_another_gap(life):
    life.hole()
    life.push("x")
    life.hole()
    life.say("a", "b", ttl_ms=500)
    life.hole()
    life.push("y")
    life.hole()
    life.expire(500)
    life.salvage()
    assert life.reasons[-1] == MAYBE_OLD


def test_messages_of_a_snapshots_parcels_are_done_behind_a_gap(life):
    life.say("a", "b", priority=9)
    life.snapshot()
    life.lose(records.RESTORE)
    life.hole()
    life.lease(2)
    life.hole()
    life.ack(1, 1, 1)
    life.salvage()
    assert life.reasons[-1] is None
    assert life.texts("salvaged-1") == ["b"]


def test_what_is_moved_behind_a_gap_has_the_time_of_the_queue_that_it_comes_to():
    life = OrderLife(ttl_seconds=1)
    life.do(life.broker.plan_create("work", {"dead_letter": "jobs"}, 0))
    life.push("a", name="work")
    life.hole()
    life.push("x", name="work")
    life.hole()
    life.reject(life.lease(name="work")[0])
    life.salvage()
    (message,) = life.held().ready.values()
    assert message.expires_ms == 1000
    assert life.expire(1000) == 1


def test_a_redrive_behind_a_gap_gives_new_time():
    life = OrderLife(ttl_seconds=1)
    life.push("a")
    life.reject(life.lease()[0])
    life.hole()
    life.push("x")
    life.hole()
    for record in life.jobs.plan_redrive(life.broker.queue("jobs"), 5000, 9)[0]:
        life.do(record)
    life.salvage()
    assert life.held().ready[1].expires_ms == 6000


def test_a_doubtful_ack_brings_messages_of_parcels_back(life):
    life.say("a", "b", priority=200)
    life.lease(1)
    life.hole()
    life.push("x")
    life.hole()
    life.ack(1)
    life.salvage()
    assert life.reasons[-1] == DOUBTFUL
    assert life.texts() == ["a", "b"]


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (7, 256, "its priority is 256"),
        (7, -1, "its priority is -1"),
        (10, (1, 2), "what it says of time and budgets is not understood"),
        (3, 0, "it is about no message"),
        (4, b"\xa1a\xa1b", "bodies"),
        (10, 3, "its fields are not those of its kind"),
    ],
)
@pytest.mark.parametrize("kind", [order_records.PUSH_WITH, order_records.PARCEL])
def test_parcels_that_make_no_sense_are_refused(life, place, value, reason, kind):
    life.say("a", ttl_ms=500)
    record = [kind, *life.history.pop()[1:]]
    record[place] = value
    life.history.append(tuple(record))
    life.salvage()
    assert reason in life.reasons[-1]
    assert life.counts() == {}


def test_a_queue_is_made_up_however_many_there_are(life):
    pack = join_bodies("a")
    for uid in range(2, 20):
        life.history += [None, None, (records.PUSH, uid, 1, 1, pack, (), 5)]
    life.salvage()
    assert len(life.broker) == 19
    assert life.broker.queue("salvaged-7").options == {"max_messages": 100, "max_bytes": 1000}


def test_parcels_of_a_snapshot_may_come_in_any_order(life):
    life.say("a", "b", priority=9)
    life.say("c", "d", priority=200)
    life.say("e", due_ms=700)
    life.snapshot()
    parcels = [each for each in life.history if each[0] == order_records.PARCEL]
    others = [each for each in life.history if each[0] != order_records.PARCEL]
    life.history = [*others[:2], None, None, parcels[2], parcels[0], parcels[1], *others[2:]]
    life.history.append((job_records.ACK, 1, 7, 1, (1, 4)))
    life.salvage()
    assert life.counts() == {"delayed": 1}
    assert life.info()["acked"] == 4


@pytest.mark.parametrize("name", ["jobs", "old"])
def test_no_queue_is_deleted_where_one_is_made_up_that_may_have_dead_letters(name):
    life = OrderLife(dead_letter="old")
    life.push("a")
    life.push("b", name="old")
    life.lease()
    life.lose(records.CREATE)
    life.history.insert(0, life.history[1])  # the queue of the dead letters is known
    life.hole()
    life.reject(1)
    life.hole()
    life.do(life.broker.plan_delete(name))
    life.salvage()
    assert WHO_KNOWS in life.reasons[-1]


def test_a_parcel_that_comes_again_after_its_messages_had_gone_is_kept(life):
    life.say("a", priority=9)
    life.say("b", priority=9)
    parcels = [each for each in life.broker.export() if each[0] == order_records.PARCEL]
    life.hole()
    life.hole()
    life.salvage([*life.history, (job_records.ACK, 1, 7, 5, (1, 1)), parcels[0]])
    assert life.texts() == ["a", "b"]
