"""Job life in the local engine: time is an argument, the disk does what it is told."""

from __future__ import annotations

import pytest

from mqd.core import job_records
from mqd.core.broker import Bounds, Broker
from mqd.core.errors import BrokerError
from mqd.core.shelves import Shelves
from mqd.engine import jobs as engine_jobs
from mqd.engine.base import NO_MESSAGES, GiveBack, Terms
from mqd.engine.jobs import GONE_REASON, SLICE
from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.frames import FrameWriter
from mqwire.levels import Level
from mqwire.limits import MAX_MESSAGES_PER_FRAME, MIN_FRAME_BYTES
from mqwire.packs import join_bodies
from support.engines import EPOCH, GRACE_MS, Clock, Disk, new_engine

FAILED = GiveBack("nack")
HANDED_BACK = GiveBack("hand_back")


def terms(who="ada/w1", lease_ms=10_000):
    return Terms(lease_ms, {"instance": who, "user": "ada", "peer": "10.0.0.9:1"})


class Shop:
    """An engine with its clock and disk, and short ways to use them."""

    def __init__(self, **settings):
        self.clock, self.disk = Clock(), Disk()
        self.engine = new_engine(self.clock, self.disk, **settings)
        self.jobs = self.engine.jobs
        self.ended = []

    def push(self, *texts, name="jobs"):
        return self.engine.push(name, len(texts), join_bodies(texts), (), None)

    def lease(self, most=1, *, name="jobs", level=None, **kind):
        """Lease; returns the results without the level."""
        return self.jobs.lease(name, most, terms(**kind), level)[0]

    def wait(self, most=1, *, name="jobs", kind=None, level=None):
        note = lambda outcome, reached: self.ended.append((outcome, reached))  # noqa: E731
        return self.engine.wait(name, most, 60, level, kind, note)

    def claim(self, seq, *ids, who="ada/w1", epoch=EPOCH):
        return (epoch, seq, ids, who)

    def at(self, ms, *, ticks=1):
        """Let it be `ms`, as the ticker would: `ticks` times at most while something is due."""
        self.clock.ms = ms
        for _ in range(ticks):
            self.engine.begin_turn()
            due_ms = self.engine.next_deadline_ms()
            if due_ms is None or due_ms > ms:
                return
            self.engine.expire()

    def info(self, name="jobs"):
        info = self.engine.info(name)
        keys = ("ready", "delayed", "leased", "dead")
        return {key: info[key] for key in keys if info[key]}

    def restarted(self, at_ms):
        """Return a shop on what this one has recorded."""
        other = Shop.__new__(Shop)
        other.clock, other.disk, other.ended = Clock(), Disk(), []
        other.clock.ms = at_ms
        other.engine = new_engine(
            other.clock, other.disk, records=list(self.disk.records), epoch=EPOCH + 1
        )
        other.jobs = other.engine.jobs
        return other

    def history(self, message_id, name="jobs"):
        held = self.engine.broker.queue(name).held
        for place in (held.ready, held.delayed, held.dead):
            if message_id in place:
                return [(entry.cause, entry.reason) for entry in place[message_id].history]
        raise AssertionError("it is not there")


@pytest.fixture
def shop():
    return Shop()


def refusal(command, *arguments):
    with pytest.raises(CodedError) as caught:
        command(*arguments)
    return caught.value


# Results


def test_a_lease_has_columns_always_and_the_lease_behind_them(shop):
    shop.push("a", "b", "c")
    assert shop.lease(2) == ((1, 2), [join_bodies(["a", "b"])], {}, (EPOCH, 1))
    assert shop.lease(9)[3] == (EPOCH, 2)
    assert shop.jobs.lease("jobs", 1, terms(), None) == (NO_MESSAGES, Level.ACCEPTED)
    assert shop.engine.pulled == 3


def test_what_came_back_has_its_counts_and_the_rest_what_is_usual(shop):
    shop.push("a", "b", "c", "d")
    shop.lease(3)
    shop.jobs.give_back(shop.claim(1, 1, 1), FAILED, None)
    shop.jobs.give_back(shop.claim(1, 2, 1), GiveBack("gone"), None)
    shop.jobs.ack(shop.claim(1), None)
    ids, _, columns, _ = shop.lease(9)
    assert list(ids) == [1, 2, 4, 1]
    assert columns == {"deliveries": [2, 2, 1], "attempts": [1, 0, 0], "losses": [0, 1, 0]}


def test_headers_stand_beside_the_counts(shop):
    shop.engine.push("jobs", 2, join_bodies("ab"), ((1, 1, {"n": 1}, 3),), None)
    shop.push("c")
    shop.lease(1)
    shop.jobs.give_back(shop.claim(1), HANDED_BACK, None)
    assert shop.lease(9)[2] == {"headers": [None, {"n": 1}, None], "deliveries": [2, 1, 1]}


def test_a_pull_that_removes_counts_its_own_delivery(shop):
    shop.push("a", "b")
    shop.lease(1)
    shop.jobs.give_back(shop.claim(1), HANDED_BACK, None)
    found, _ = shop.engine.pull("jobs", 9, None)
    assert found == ((1, 1, 2, 1), [join_bodies("a"), join_bodies("b")], {"deliveries": [2, 1]})


def test_peek_tells_deliveries_so_far(shop):
    shop.push("a", "b")
    shop.lease(1)
    shop.jobs.give_back(shop.claim(1), FAILED, None)
    ids, packs, columns = shop.engine.peek("jobs", 0, 9)
    assert (ids, packs) == ((1, 2), (join_bodies("ab"),))
    assert (columns["deliveries"], columns["attempts"]) == ([1, 0], [1, 0])
    assert columns["history"][0][0]["cause"] == "nack"
    assert shop.engine.peek("jobs", 1, 9) == ((2, 1), (join_bodies("b"),))
    assert shop.engine.peek("jobs", 2, 9) is NO_MESSAGES
    assert shop.engine.peek("jobs", 0, 9) == (ids, packs, columns)


def test_a_reply_with_all_that_came_back_fits_into_the_smallest_frame():
    shop = Shop(max_frame_bytes=MIN_FRAME_BYTES)
    count = 4000
    shop.engine.push("jobs", count, join_bodies(["x"] * count), (), None)
    while shop.engine.info("jobs")["ready"]:
        shop.lease(count)
    for seq in [lease.seq for lease in shop.engine.broker.jobs.leases()]:
        lease = shop.engine.broker.jobs.lease_of((EPOCH, seq, (), None))
        ids = lease.ids()
        every_other = [n for first in range(ids[0], ids[0] + ids[1], 2) for n in (first, 1)]
        shop.jobs.give_back((EPOCH, seq, tuple(every_other), "ada/w1"), FAILED, None)
    shop.jobs.give_back(shop.claim(1), GiveBack("gone"), None)
    found = shop.lease(MAX_MESSAGES_PER_FRAME)
    assert len(FrameWriter().encode((2**53 - 1, "OK", *found))) <= MIN_FRAME_BYTES
    assert sum(found[0][1::2]) > 500


# Levels


@pytest.mark.parametrize(
    ("usual", "asked", "reached"),
    [
        (Level.SYNCED, None, Level.WRITTEN),
        (Level.WRITTEN, None, Level.WRITTEN),
        (Level.ACCEPTED, None, Level.ACCEPTED),
        (Level.SYNCED, Level.SYNCED, Level.SYNCED),
        (Level.SYNCED, Level.ACCEPTED, Level.ACCEPTED),
        (Level.ACCEPTED, Level.SYNCED, Level.SYNCED),
    ],
)
def test_a_lease_is_written_before_its_messages_leave_unless_somebody_says_otherwise(
    usual, asked, reached
):
    shop = Shop(level=usual)
    shop.push("a")
    assert shop.jobs.lease("jobs", 1, terms(), asked)[1] is reached
    shop.wait(kind=terms(), level=asked)
    shop.push("b")
    assert shop.ended[0][1] is reached


def test_settlements_go_by_the_queue_or_by_what_is_asked(shop):
    shop.engine.create("fast", {"durability": "accepted"}, if_missing=False)
    for name, usual in (("jobs", Level.SYNCED), ("fast", Level.ACCEPTED)):
        shop.push("a", "b", "c", "d", name=name)
        seq = shop.lease(4, name=name)[3][1]
        assert shop.jobs.ack(shop.claim(seq, shop_first(shop, seq), 1), None) == (1, usual)
        how = GiveBack("reject")
        claim = shop.claim(seq, shop_first(shop, seq), 1)
        assert shop.jobs.give_back(claim, how, Level.WRITTEN) == (1, Level.WRITTEN)
        assert shop.jobs.extend(shop.claim(seq), 1000) is min(usual, Level.WRITTEN)
        assert shop.jobs.ack(shop.claim(seq), Level.WRITTEN) == (2, Level.WRITTEN)
        assert shop.jobs.redrive(name, 9, ()) == (1, usual)


def shop_first(shop, seq):
    return shop.engine.broker.jobs.lease_of((EPOCH, seq, (), None)).ids()[0]


def test_all_that_life_does_is_on_record(shop):
    shop.engine.create("work", {"dead_letter": "dead", "max_attempts": 2}, if_missing=False)
    shop.push(*"abcdef", name="work")
    shop.lease(4, name="work")
    shop.jobs.ack(shop.claim(1, 1, 1), None)
    shop.jobs.give_back(shop.claim(1, 2, 1), GiveBack("nack", "why", 500), None)
    shop.jobs.give_back(shop.claim(1, 3, 1), GiveBack("reject"), None)
    shop.jobs.extend(shop.claim(1), 5000)
    shop.jobs.arrive("ada/w1")
    shop.at(1500)
    shop.at(6000)
    shop.lease(1, name="dead")
    shop.jobs.leave("ada/w1", has_grace=False)
    shop.at(6001)
    shop.jobs.redrive("dead", 9, ())
    shop.jobs.purge_dead("work")
    shop.wait(name="work", kind=terms())
    shop.push("g", name="work")
    rebuilt = Broker(Bounds(1, 1, 1))
    rebuilt.apply_all(shop.disk.records)
    assert list(rebuilt.export()) == list(shop.engine.broker.export())
    kinds = {record[0] for record in shop.disk.records}
    assert kinds >= set(range(job_records.LEASE, job_records.PURGE_DEAD + 1))


# Refusals


def test_a_claim_is_judged_by_who_it_is_before_anything_else(shop):
    shop.push("a")
    shop.lease()
    cases = {
        "unknown": shop.claim(2),
        "stale": shop.claim(1, epoch=EPOCH - 1),
        "foreign": shop.claim(1, who="bob/w1"),
    }
    for why, claim in cases.items():
        for settle in (
            lambda claim: shop.jobs.ack(claim, None),
            lambda claim: shop.jobs.give_back(claim, FAILED, None),
            lambda claim: shop.jobs.give_back(claim, HANDED_BACK, None),
            lambda claim: shop.jobs.give_back(claim, GiveBack("reject"), None),
            lambda claim: shop.jobs.give_back(claim, GiveBack("gone"), None),
            lambda claim: shop.jobs.extend(claim, 1000),
        ):
            error = refusal(settle, claim)
            assert error.code is Code.LEASE_LOST
            assert error.details == {"lease": [claim[0], claim[1]], "why": why}
    shop.jobs.ack(shop.claim(1), None)
    assert refusal(shop.jobs.ack, shop.claim(1), None).details["why"] == "over"


def test_a_refused_settlement_is_on_no_record(shop):
    shop.push("a", "b")
    shop.lease(1)
    before = list(shop.disk.records)
    for how in (FAILED, HANDED_BACK, GiveBack("reject"), GiveBack("gone")):
        error = refusal(shop.jobs.give_back, shop.claim(1, 1, 2), how, None)
        assert error.code is Code.NOT_LEASED
        assert error.details == {"lease": [EPOCH, 1], "id": 2}
    assert refusal(shop.jobs.ack, shop.claim(1, 1, 2), None).code is Code.NOT_LEASED
    assert shop.disk.records == before
    assert shop.info() == {"ready": 1, "leased": 1}


def test_a_queue_that_is_not_there(shop):
    for command, arguments in (
        (shop.jobs.lease, ("nowhere", 1, terms(), None)),
        (shop.jobs.redrive, ("nowhere", 1, ())),
        (shop.jobs.purge_dead, ("nowhere",)),
    ):
        assert refusal(command, *arguments).code is Code.QUEUE_NOT_FOUND


def test_a_full_disk_lets_work_end_and_refuses_what_takes_space(shop):
    shop.push("a", "b", "c")
    shop.lease(1)
    shop.jobs.give_back(shop.claim(1), GiveBack("reject"), None)
    shop.disk.room_bytes = 0
    shop.lease(1)
    shop.jobs.extend(shop.claim(2), 1000)
    shop.jobs.give_back(shop.claim(2), HANDED_BACK, None)
    shop.lease(1)
    shop.jobs.ack(shop.claim(3), None)
    assert refusal(shop.jobs.redrive, "jobs", 9, ()).code is Code.STORAGE_FULL
    shop.jobs.purge_dead("jobs")
    shop.disk.is_stuffed = True
    before = list(shop.disk.records)
    assert refusal(shop.jobs.lease, "jobs", 1, terms(), None).code is Code.STORAGE_FULL
    assert refusal(shop.jobs.purge_dead, "jobs").code is Code.STORAGE_FULL
    assert shop.disk.records == before


# Giving back


@pytest.mark.parametrize(
    ("how", "counts", "state"),
    [
        (GiveBack("nack", "x"), (1, 0), "ready"),
        (GiveBack("nack", "x", 0), (1, 0), "ready"),
        (GiveBack("nack", "x", 1), (1, 0), "delayed"),
        (GiveBack("hand_back", "x"), (0, 0), "ready"),
        (GiveBack("gone", "x"), (0, 1), "ready"),
        (GiveBack("reject", "x"), (0, 0), "dead"),
    ],
)
def test_each_way_counts_what_it_is(shop, how, counts, state):
    shop.push("a")
    shop.lease()
    assert shop.jobs.give_back(shop.claim(1), how, None)[0] == 1
    assert shop.info() == {state: 1}
    held = shop.engine.broker.queue("jobs").held
    [message] = getattr(held, state).values()
    assert (message.attempts, message.losses) == counts
    assert shop.history(1) == [(how.cause, "x")]


def test_chance_is_drawn_for_the_back_off_alone():
    drawn = []
    shop = Shop(chance=lambda: drawn.append(1) or 0.5)
    options = {"backoff": "fixed", "backoff_seconds": 10, "backoff_jitter": 0.5}
    shop.engine.create("work", options, if_missing=False)
    shop.push("a", name="work")
    shop.lease(name="work")
    shop.jobs.give_back(shop.claim(1), FAILED, None)
    assert shop.engine.next_deadline_ms() == 1000 + 7500
    shop.at(8500)
    shop.lease(name="work")
    shop.jobs.give_back(shop.claim(2), GiveBack("nack", "", 20_000), None)
    assert shop.engine.next_deadline_ms() == 8500 + 20_000
    assert drawn == [1]


def test_redrive_tells_how_many_it_has_moved_however_often_they_are_named(shop):
    shop.push("a", "b", "c")
    shop.lease(3)
    shop.jobs.give_back(shop.claim(1), GiveBack("reject"), None)
    assert shop.jobs.redrive("jobs", 9, (2, 1, 1, 2, 2, 1))[0] == 2
    assert shop.info() == {"ready": 2, "dead": 1}
    assert shop.jobs.redrive("jobs", 1, ())[0] == 1
    assert shop.jobs.redrive("jobs", 1, ())[0] == 0


def test_purges_take_their_own(shop):
    shop.push("a", "b", "c", "d")
    shop.lease(3)
    shop.jobs.give_back(shop.claim(1, 1, 1), GiveBack("reject"), None)
    shop.jobs.give_back(shop.claim(1, 2, 1), GiveBack("nack", "", 9), None)
    assert shop.jobs.purge_dead("jobs") == (1, Level.SYNCED)
    assert shop.info() == {"ready": 1, "delayed": 1, "leased": 1}
    assert shop.engine.purge("jobs") == (2, Level.SYNCED)
    assert shop.info() == {"leased": 1}
    assert shop.engine.stats()["queues"]["leased"] == 1


# Those who wait


def served(shop, text="a", **columns):
    [(found, _)] = shop.ended
    assert found[1] == [join_bodies(text)]
    assert (found[2] if len(found) > 2 else {}) == columns
    return found


@pytest.mark.parametrize("kind", [None, terms("ada/w2", 5000)], ids=["removing", "leasing"])
class TestWaiting:
    @pytest.mark.parametrize("cause", ["nack", "hand_back", "gone"])
    def test_served_by_what_is_given_back(self, shop, kind, cause):
        shop.push("a")
        shop.lease()
        shop.wait(kind=kind)
        shop.jobs.give_back(shop.claim(1), GiveBack(cause), None)
        assert served(shop, **{"deliveries": [2], **COLUMNS[cause]})[0] == (1, 1)

    def test_served_when_a_lease_runs_out(self, shop, kind):
        shop.push("a")
        shop.lease()
        shop.wait(kind=kind)
        shop.at(10_999)
        assert not shop.ended
        shop.at(11_000)
        served(shop, deliveries=[2], losses=[1])

    def test_served_when_a_delay_is_over(self, shop, kind):
        shop.push("a")
        shop.lease()
        shop.wait(kind=kind)
        shop.jobs.give_back(shop.claim(1), GiveBack("nack", "", 3000), None)
        shop.at(3999)
        assert not shop.ended
        shop.at(4000)
        served(shop, deliveries=[2], attempts=[1])

    def test_served_when_a_holder_is_gone(self, shop, kind):
        shop.push("a")
        shop.jobs.arrive("ada/w1")
        shop.lease(lease_ms=600_000)
        shop.wait(kind=kind)
        shop.jobs.leave("ada/w1", has_grace=True)
        shop.at(1000 + GRACE_MS - 1)
        assert not shop.ended
        shop.at(1000 + GRACE_MS)
        served(shop, deliveries=[2], losses=[1])

    def test_served_by_dead_letters_that_arrive(self, shop, kind):
        shop.engine.create("work", {"dead_letter": "jobs"}, if_missing=False)
        shop.push("a", name="work")
        shop.lease(name="work")
        shop.wait(kind=kind)
        shop.jobs.give_back(shop.claim(1), GiveBack("reject"), None)
        served(shop, deliveries=[2])

    def test_served_by_a_redrive_of_its_own_dead(self, shop, kind):
        shop.push("a")
        shop.lease()
        shop.jobs.give_back(shop.claim(1), GiveBack("reject"), None)
        shop.wait(kind=kind)
        shop.jobs.redrive("jobs", 9, ())
        served(shop, deliveries=[2])

    def test_served_by_a_redrive_of_dead_letters(self, shop, kind):
        shop.engine.create("work", {"dead_letter": "jobs"}, if_missing=False)
        shop.push("a", name="work")
        shop.lease(name="work")
        shop.jobs.give_back(shop.claim(1), GiveBack("reject"), None)
        shop.wait(name="work", kind=kind)
        shop.jobs.redrive("jobs", 9, ())
        assert served(shop, deliveries=[2])[0] == (2, 1)


COLUMNS = {"nack": {"attempts": [1]}, "hand_back": {}, "gone": {"losses": [1]}}


def test_a_lease_that_was_waited_for_begins_with_its_delivery(shop):
    shop.wait(kind=terms(lease_ms=5000))
    shop.at(9000)
    shop.push("a")
    [lease] = shop.engine.broker.jobs.leases()
    assert (lease.leased_ms, lease.deadline_ms) == (9000, 14_000)
    assert shop.ended[0][0][3] == (EPOCH, 1)


# Time


def test_what_time_brings_comes_in_slices_and_the_next_one_is_due_at_once(shop):
    count = 3 * SLICE + 1
    shop.engine.push("jobs", count, join_bodies(["x"] * count), (), None)
    for _ in range(count):
        shop.lease()
    shop.clock.ms = 11_000
    left = []
    for _ in range(9):
        shop.engine.begin_turn()
        if shop.engine.next_deadline_ms() is None:
            break
        assert shop.engine.next_deadline_ms() <= 11_000
        shop.engine.expire()
        left.append(shop.info().get("leased", 0))
    assert left == [count - SLICE, count - 2 * SLICE, count - 3 * SLICE, 0]


def test_a_holder_with_many_leases_goes_in_slices_too(shop):
    count = SLICE + 1
    shop.engine.push("jobs", count, join_bodies(["x"] * count), (), None)
    shop.jobs.arrive("ada/w1")
    for _ in range(count):
        shop.lease(lease_ms=600_000)
    shop.jobs.leave("ada/w1", has_grace=False)
    shop.at(1000)
    assert shop.info() == {"ready": SLICE, "leased": 1}
    assert shop.engine.next_deadline_ms() == 1000
    shop.at(1000)
    assert shop.info() == {"ready": count}
    assert shop.engine.next_deadline_ms() is None
    assert shop.history(1) == [("gone", GONE_REASON)]


def test_a_full_disk_is_left_alone_for_a_second_and_nothing_is_lost(shop):
    shop.push("a", "b")
    shop.lease()
    shop.jobs.arrive("ada/w2")
    shop.lease(who="ada/w2", lease_ms=600_000)
    shop.jobs.leave("ada/w2", has_grace=False)
    shop.disk.is_stuffed = True
    before = list(shop.disk.records)
    shop.at(11_000)
    assert shop.engine.next_deadline_ms() == 12_000
    shop.at(11_999)
    assert (shop.disk.records, shop.info()) == (before, {"leased": 2})
    shop.at(12_000)
    assert (shop.disk.records, shop.engine.next_deadline_ms()) == (before, 13_000)
    shop.disk.is_stuffed = False
    shop.at(12_999)
    shop.engine.expire()
    assert shop.disk.records == before, "nobody asks before the second is over"
    shop.at(13_000, ticks=2)
    assert shop.info() == {"ready": 2}
    assert (shop.history(1), shop.history(2)) == ([("expired", "")], [("gone", GONE_REASON)])


def test_waits_end_in_their_time_while_the_disk_is_full(shop):
    shop.engine.create("other", {}, if_missing=False)
    shop.push("a")
    shop.lease()
    shop.engine.wait("other", 1, 10.5, None, None, lambda *end: shop.ended.append(end))
    shop.disk.is_stuffed = True
    shop.at(11_000)
    assert shop.engine.next_deadline_ms() == 11_501
    shop.at(11_501)
    assert shop.ended == [(NO_MESSAGES, Level.ACCEPTED)]


# Who is there


def test_who_comes_back_within_the_grace_keeps_what_it_has(shop):
    shop.push("a")
    shop.jobs.arrive("ada/w1")
    shop.lease(lease_ms=600_000)
    shop.jobs.leave("ada/w1", has_grace=True)
    assert shop.engine.next_deadline_ms() == 1000 + GRACE_MS
    shop.at(1000 + GRACE_MS - 1)
    shop.jobs.arrive("ada/w1")
    assert shop.engine.next_deadline_ms() == 601_000
    shop.at(600_999)
    assert shop.info() == {"leased": 1}
    assert shop.jobs.ack(shop.claim(1), None)[0] == 1


def test_the_grace_begins_with_the_end_of_the_last_connection(shop):
    shop.push("a")
    shop.jobs.arrive("ada/w1")
    shop.jobs.arrive("ada/w1")
    shop.lease(lease_ms=600_000)
    shop.jobs.leave("ada/w1", has_grace=True)
    shop.at(100_000)
    assert shop.info() == {"leased": 1}
    shop.jobs.leave("ada/w1", has_grace=True)
    shop.at(100_000 + GRACE_MS - 1)
    assert shop.info() == {"leased": 1}
    shop.at(100_000 + GRACE_MS)
    assert shop.info() == {"ready": 1}


def test_who_holds_nothing_is_forgotten_at_once(shop):
    shop.jobs.arrive("ada/w1")
    shop.jobs.leave("ada/w1", has_grace=True)
    assert shop.engine.next_deadline_ms() is None


def test_who_is_gone_is_not_looked_for_again(shop):
    shop.push("a")
    shop.jobs.arrive("ada/w1")
    shop.lease(lease_ms=600_000)
    shop.jobs.leave("ada/w1", has_grace=True)
    shop.engine.delete("jobs")
    shop.at(1000 + GRACE_MS)
    assert shop.engine.next_deadline_ms() is None


def test_gone_takes_the_leases_of_one_holder_alone(shop):
    shop.push("a", "b")
    for who in ("ada/w1", "bob/w1"):
        shop.jobs.arrive(who)
        shop.lease(who=who, lease_ms=600_000)
    shop.jobs.leave("ada/w1", has_grace=False)
    shop.at(1000)
    assert shop.info() == {"ready": 1, "leased": 1}
    assert [lease.who for lease in shop.engine.broker.jobs.leases()] == ["bob/w1"]


def detached_terms(who="ada~gate", lease_ms=600_000):
    return Terms(lease_ms, {"instance": who, "user": "ada", "is_detached": True})


def lease_detached(shop):
    shop.jobs.arrive("ada~gate")
    shop.jobs.lease("jobs", 1, detached_terms(), None)


def test_who_is_detached_keeps_its_lease_to_its_time(shop):
    shop.push("a")
    lease_detached(shop)
    shop.jobs.leave("ada~gate", has_grace=True, is_detached=True)
    assert shop.engine.next_deadline_ms() == 601_000
    [described] = shop.jobs.holders("*", 9)
    assert (described["is_detached"], described["is_connected"]) == (True, False)
    shop.at(600_999)
    assert shop.info() == {"leased": 1}
    shop.jobs.extend(shop.claim(1, who="ada~gate"), 1000)
    shop.at(601_999)
    assert shop.info() == {"ready": 1}
    assert shop.history(1) == [("expired", "")]


def test_who_is_detached_keeps_its_lease_over_a_restart_and_the_grace(shop):
    shop.push("a", "b")
    lease_detached(shop)
    shop.lease(lease_ms=600_000, who="ada/w2")
    records = list(shop.engine.broker.export())
    for other in (shop.restarted(100_000), restored(shop, records, 100_000)):
        other.at(100_000 + GRACE_MS, ticks=2)
        assert other.info() == {"ready": 1, "leased": 1}, "of the other nothing was heard"
        assert other.jobs.ack(other.claim(1, who="ada~gate"), None)[0] == 1


def test_a_lease_that_ends_with_the_server_down_waits_for_the_grace_like_all(shop):
    shop.push("a")
    shop.jobs.lease("jobs", 1, detached_terms(lease_ms=5000), None)
    other = shop.restarted(400_000)
    assert other.engine.next_deadline_ms() == 400_000 + GRACE_MS
    other.at(400_000 + GRACE_MS - 1)
    assert other.info() == {"leased": 1}
    other.at(400_000 + GRACE_MS)
    assert other.history(1) == [("expired", "")]


# After a restart


def restored(shop, records, at_ms):
    """Return a shop on records that are not this one's own, as a snapshot has them."""
    shop.disk.records[:] = records
    return shop.restarted(at_ms)


def test_nothing_runs_out_before_the_grace_after_a_restart(shop):
    shop.push("a", "b")
    shop.lease(lease_ms=5000)
    shop.lease(lease_ms=600_000, who="ada/w2")
    other = shop.restarted(400_000)
    assert other.engine.next_deadline_ms() == 400_000 + GRACE_MS
    other.jobs.arrive("ada/w1")
    other.at(400_000 + GRACE_MS - 1)
    assert other.info() == {"leased": 2}
    other.at(400_000 + GRACE_MS, ticks=2)
    assert other.info() == {"ready": 2}, "one has run out, of the other nothing was heard"
    assert other.history(1) == [("expired", "")]
    assert other.history(2) == [("gone", GONE_REASON)]


def test_who_comes_back_after_a_restart_settles_what_it_had(shop):
    shop.push("a")
    shop.lease(lease_ms=600_000)
    other = shop.restarted(400_000)
    other.jobs.arrive("ada/w1")
    other.at(400_000 + GRACE_MS)
    assert other.info() == {"leased": 1}
    assert refusal(other.jobs.ack, other.claim(1, epoch=EPOCH + 1), None).details["why"] == "stale"
    assert other.jobs.ack(other.claim(1, epoch=EPOCH), None)[0] == 1


def test_a_new_lease_has_the_new_epoch_and_runs_out_within_the_grace_of_old_ones(shop):
    shop.push("a", "b")
    shop.lease(lease_ms=100)
    other = shop.restarted(2000)
    other.jobs.arrive("ada/w9")
    assert other.lease(who="ada/w9", lease_ms=100)[3] == (EPOCH + 1, 2)
    other.at(2000 + GRACE_MS - 1)
    assert other.info() == {"leased": 1, "ready": 1}
    other.jobs.extend(other.claim(1, epoch=EPOCH), 1)
    assert other.engine.next_deadline_ms() == 2000 + GRACE_MS, "it was there before"
    other.at(2000 + GRACE_MS)
    assert other.info() == {"ready": 2}


def deadlines_of(shop):
    ((found,), _) = shop.engine.views.status("jobs", (1, 3))
    return [each["deadline_at"] for each in found]


def test_single_messages_of_a_lease_are_extended(shop):
    shop.push(*"abc")
    shop.lease(3, lease_ms=1000)
    shop.jobs.extend(shop.claim(1, 2, 1), 5000)
    (holder,) = shop.jobs.holders("*", 9)
    assert (holder["count"], holder["deadline_at"]) == (3, 2.0)
    assert deadlines_of(shop) == [2, 6, 2]
    assert shop.engine.peek("jobs", 0, 9, "leased")[2]["deadline_at"] == [2, 6, 2]
    other = shop.restarted(1500)
    assert deadlines_of(other) == [2, 6, 2]
    shop.at(2000)
    assert shop.info() == {"leased": 1, "ready": 2}
    (holder,) = shop.jobs.holders("*", 9)
    assert (holder["count"], holder["deadline_at"]) == (1, 6.0)
    assert shop.jobs.ack(shop.claim(1), None)[0] == 1
    assert shop.engine.next_deadline_ms() is None


def test_delays_end_in_their_time_after_a_restart(shop):
    shop.push("a", "b")
    shop.lease(2)
    shop.jobs.give_back(shop.claim(1, 1, 1), GiveBack("nack", "", 5000), None)
    other = shop.restarted(2000)
    other.at(6000)
    assert other.info() == {"ready": 1, "leased": 1}


def test_without_leases_a_restart_waits_for_nobody(shop):
    shop.push("a")
    other = shop.restarted(2000)
    assert other.engine.next_deadline_ms() is None
    other.lease(lease_ms=100)
    other.at(2100)
    assert other.info() == {"ready": 1}


# Holders


def test_holders_are_told_with_what_is_known_of_them(shop):
    shop.push("a", "b", "c")
    shop.jobs.arrive("ada/w1")
    shop.lease(2)
    assert shop.jobs.holders("*", 9) == [
        {
            "queue": "jobs",
            "lease": (EPOCH, 1),
            "count": 2,
            "holder": "ada/w1",
            "user": "ada",
            "peer": "10.0.0.9:1",
            "is_connected": True,
            "leased_at": 1.0,
            "deadline_at": 11.0,
        }
    ]
    shop.jobs.leave("ada/w1", has_grace=True)
    assert not shop.jobs.holders("*", 9)[0]["is_connected"]


class Unlooked(Shelves):
    """Leases that nobody is to look at one by one."""

    def values(self):
        raise AssertionError("these are not asked for")

    __iter__ = values


def test_what_does_not_fit_is_not_looked_through_for_holders(shop):
    for name in ("a.one", "b.two"):
        shop.engine.create(name, {}, if_missing=False)
        shop.push("x", name=name)
        shop.lease(name=name)
    queue = shop.engine.broker.queue("a.one")
    leases, queue.leases = queue.leases, Unlooked()
    for lease in leases.values():
        queue.leases[lease.seq] = lease
    assert [each["queue"] for each in shop.jobs.holders("b.*", 9)] == ["b.two"]


def test_one_reply_tells_of_so_many_leases_and_no_more(shop, monkeypatch):
    monkeypatch.setattr(engine_jobs, "MAX_HOLDERS_ENTRIES", 2)
    shop.push(*"abc")
    for _ in range(3):
        shop.lease()
    assert len(shop.jobs.holders("*", 9)) == 2
    assert len(shop.jobs.holders("*", 1)) == 1


def test_holders_by_pattern_and_number_the_oldest_first(shop):
    shop.engine.create("work", {}, if_missing=False)
    for name in ("jobs", "work", "jobs"):
        shop.push("a", name=name)
        shop.lease(name=name)
    assert [each["lease"][1] for each in shop.jobs.holders("*", 9)] == [1, 2, 3]
    assert [each["lease"][1] for each in shop.jobs.holders("jo*", 9)] == [1, 3]
    assert [each["lease"][1] for each in shop.jobs.holders("*", 2)] == [1, 2]
    assert shop.jobs.holders("none", 9) == []


@pytest.mark.parametrize("letter", ["x", "\U0001f600"])
def test_no_more_holders_are_told_than_fit_into_a_frame(letter):
    shop = Shop(max_frame_bytes=MIN_FRAME_BYTES)
    name = "q" * 128
    shop.engine.create(name, {}, if_missing=False)
    shop.engine.push(name, 600, join_bodies(["x"] * 600), (), None)
    owner = {
        "instance": "u" * 128 + "/" + letter * 64,
        "user": "u" * 128,
        "peer": "unix:" + "p" * 107,
        "client": letter * 256,
        "host": letter * 128,
    }
    for _ in range(600):
        shop.jobs.lease(name, 1, Terms(10_000, owner), None)
    found = shop.jobs.holders("*", MAX_MESSAGES_PER_FRAME)
    size = len(FrameWriter().encode((2**53 - 1, "OK", found)))
    assert size <= MIN_FRAME_BYTES
    assert len(found) >= 10


def test_an_owner_of_another_kind_is_told_too(shop):
    shop.push("a")
    queue = shop.engine.broker.queue("jobs")
    shop.engine.broker.jobs.lease(queue, 1, 10**6, 5000, "someone", 1000)
    assert shop.jobs.holders("*", 1)[0]["holder"] == "someone"


def test_errors_are_those_of_the_broker(shop):
    with pytest.raises(BrokerError):
        shop.jobs.ack(shop.claim(9), None)
