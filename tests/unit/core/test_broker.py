from __future__ import annotations

import pytest

from mqd.core import job_records, records
from mqd.core.broker import Bounds, Broker
from mqd.core.errors import BrokerError
from mqd.core.fifo import ANY_SIZE
from mqd.core.queue import Waiter
from mqwire.codes import Code
from mqwire.levels import Level
from mqwire.packs import join_bodies

BOUNDS = Bounds(max_messages=100, max_bytes=1000, max_queues=3)


@pytest.fixture
def broker():
    broker = Broker(BOUNDS)
    broker.apply(broker.plan_create("jobs", {}, 5000))
    return broker


def push(broker, *texts, name="jobs", now_ms=5000, headers=()):
    return broker.apply(broker.plan_push(name, len(texts), join_bodies(texts), headers, now_ms))


def refusal(plan, *arguments):
    with pytest.raises(BrokerError) as caught:
        plan(*arguments)
    return caught.value


def test_a_new_queue_has_the_bounds_of_the_server(broker):
    assert broker.queue("jobs").info(6000) == {
        "queue": "jobs",
        "ready": 0,
        "delayed": 0,
        "leased": 0,
        "dead": 0,
        "bytes": 0,
        "oldest_age_seconds": None,
        "oldest_delayed_age_seconds": None,
        "oldest_leased_age_seconds": None,
        "oldest_dead_age_seconds": None,
        "pushed": 0,
        "pulled": 0,
        "acked": 0,
        "purged": 0,
        "moved": 0,
        "expired": 0,
        "cancelled": 0,
        "waiting": 0,
        "is_paused": False,
        "options": {"max_messages": 100, "max_bytes": 1000},
        "created_at": 5.0,
    }


def test_info_counts(broker):
    push(broker, "a", "b", "c", now_ms=5000)
    broker.take(broker.queue("jobs"), 1, ANY_SIZE)
    broker.apply(broker.plan_purge("jobs"))
    push(broker, "d", now_ms=8000)
    info = broker.queue("jobs").info(9500)
    assert (info["pushed"], info["pulled"], info["purged"], info["ready"]) == (4, 1, 2, 1)
    assert (info["bytes"], info["oldest_age_seconds"]) == (2, 1.5)


def test_an_age_is_never_negative(broker):
    push(broker, "a", now_ms=9000)
    assert broker.queue("jobs").info(8000)["oldest_age_seconds"] == 0


@pytest.mark.parametrize("option", ["max_messages", "max_bytes"])
def test_a_queue_may_ask_for_the_cap_and_not_for_more(broker, option):
    cap = getattr(BOUNDS, option)
    broker.plan_create("more", {option: cap}, 0)
    with pytest.raises(BrokerError) as caught:
        broker.plan_create("more", {option: cap + 1}, 0)
    assert caught.value.code is Code.OUT_OF_RANGE
    assert caught.value.details == {
        "verb": "CREATE",
        "field": option,
        "low": 1,
        "high": cap,
        "got": cap + 1,
    }


def test_creating_twice_is_refused(broker):
    error = refusal(broker.plan_create, "jobs", {}, 0)
    assert error.code is Code.QUEUE_EXISTS
    assert error.details == {"queue": "jobs"}


def test_as_many_queues_as_allowed_and_not_one_more(broker):
    for name in ("b", "c"):
        broker.apply(broker.plan_create(name, {}, 0))
    error = refusal(broker.plan_create, "d", {}, 0)
    assert error.code is Code.TOO_MANY_QUEUES
    broker.apply(broker.plan_delete("b"))
    broker.apply(broker.plan_create("d", {}, 0))
    assert len(broker) == 3


@pytest.mark.parametrize(
    "plan",
    [
        lambda b: b.plan_delete("nowhere"),
        lambda b: b.plan_purge("nowhere"),
        lambda b: b.plan_push("nowhere", 1, b"\xc0", (), 0),
        lambda b: b.queue("nowhere"),
    ],
)
def test_a_missing_queue_is_named(broker, plan):
    error = refusal(plan, broker)
    assert error.code is Code.QUEUE_NOT_FOUND
    assert error.details == {"queue": "nowhere"}
    assert "nowhere" in error.message


def test_a_queue_takes_messages_up_to_its_bound_and_not_one_more(broker):
    broker.apply(broker.plan_create("small", {"max_messages": 2}, 0))
    push(broker, "a", "b", name="small")
    error = refusal(broker.plan_push, "small", 1, join_bodies("c"), (), 0)
    assert error.code is Code.QUEUE_FULL
    assert error.details == {
        "queue": "small",
        "bound": "max_messages",
        "limit": 2,
        "present": 2,
        "asked": 1,
    }
    broker.take(broker.queue("small"), 1, ANY_SIZE)
    push(broker, "c", name="small")


def test_a_queue_takes_bytes_up_to_its_bound_and_not_one_more(broker):
    broker.apply(broker.plan_create("small", {"max_bytes": 10}, 0))
    run = ((0, 2, {"n": 1}, 3),)
    assert broker.plan_push("small", 2, join_bodies("ab"), run, 0)  # 2 * 2 and 2 * 3 bytes
    error = refusal(broker.plan_push, "small", 2, join_bodies(["a", "bc"]), run, 0)
    assert error.code is Code.QUEUE_FULL
    assert error.details == {
        "queue": "small",
        "bound": "max_bytes",
        "limit": 10,
        "present": 0,
        "asked": 11,
    }


def test_a_plan_changes_nothing(broker):
    push(broker, "a")
    before = broker.queue("jobs").info(0)
    broker.plan_push("jobs", 1, join_bodies("b"), (), 0)
    broker.plan_purge("jobs")
    broker.plan_delete("jobs")
    broker.plan_create("other", {}, 0)
    assert broker.queue("jobs").info(0) == before
    assert len(broker) == 1


def test_deleting_takes_the_messages_along_and_a_new_queue_starts_afresh(broker):
    push(broker, "a", "b")
    uid = broker.queue("jobs").uid
    assert broker.apply(broker.plan_delete("jobs")) == 2
    assert "jobs" not in broker
    broker.apply(broker.plan_create("jobs", {}, 0))
    queue = broker.queue("jobs")
    assert queue.uid > uid
    assert queue.fifo.count == 0
    assert push(broker, "c") == 1


def test_queues_are_listed_by_name_and_pattern(broker):
    for name in ("a.2", "a.1"):
        broker.apply(broker.plan_create(name, {}, 0))
    assert [queue.name for queue in broker.queues()] == ["a.1", "a.2", "jobs"]
    assert [queue.name for queue in broker.queues("a.*")] == ["a.1", "a.2"]


def test_waiters_are_served_in_the_order_of_their_coming(broker):
    queue = broker.queue("jobs")
    first, second, third = Waiter(2, ANY_SIZE), Waiter(1, ANY_SIZE), Waiter(1, ANY_SIZE)
    for waiter in (first, second, third):
        queue.waiters[waiter] = None
    push(broker, "a", "b", "c")
    served = []
    for waiter in broker.serve(queue):
        assert waiter not in queue.waiters
        (batch,) = broker.take(queue, waiter.most, waiter.room_bytes)
        served.append((waiter, batch.first_id, batch.count))
    assert served == [(first, 1, 2), (second, 3, 1)]
    assert list(queue.waiters) == [third]
    assert queue.pulled == 3


def test_the_records_of_a_history_rebuild_the_broker(broker):
    history = [(records.CREATE, 1, "jobs", {"max_messages": 100, "max_bytes": 1000}, 5000)]

    def do(record):
        history.append(record)
        broker.apply(record)

    do(broker.plan_push("jobs", 3, join_bodies("abc"), ((1, 1, {"n": 1}, 3),), 5000))
    queue = broker.queue("jobs")
    (taken,) = broker.take(queue, 2, ANY_SIZE)
    history.append((records.PULL, queue.uid, taken.count))
    do(broker.plan_create("other", {"max_messages": 5, "max_bytes": 50}, 7000))
    do(broker.plan_purge("jobs"))
    do(broker.plan_push("jobs", 1, join_bodies("d"), (), 7000))
    do(broker.plan_delete("other"))

    rebuilt = Broker(Bounds(1, 1, 2))  # bounds judge commands, not records
    rebuilt.apply_all(history)
    assert [q.info(9000) for q in rebuilt.queues()] == [q.info(9000) for q in broker.queues()]
    assert rebuilt.queue("jobs").fifo.take(9, ANY_SIZE) == queue.fifo.take(9, ANY_SIZE)
    assert rebuilt.plan_create("new", {}, 0)[1] == 3
    assert rebuilt.clock_ms == broker.clock_ms == 7000


def test_time_and_numbers_outlive_what_they_were_used_for(broker):
    broker.apply(broker.plan_create("gone", {"durability": "written"}, 9000))
    assert broker.queue("gone").level is Level.WRITTEN
    broker.apply(broker.plan_delete("gone"))
    rebuilt = Broker(BOUNDS)
    rebuilt.apply_all(broker.export())
    assert rebuilt.clock_ms == 9000
    assert rebuilt.plan_create("new", {}, 0)[1] == 3


def test_a_queues_own_level_outlives_it(broker):
    broker.apply(broker.plan_create("own", {"durability": "accepted"}, 9000))
    rebuilt = Broker(BOUNDS)
    rebuilt.apply_all(broker.export())
    assert rebuilt.queue("own").level is Level.ACCEPTED
    assert rebuilt.queue("jobs").level is None
    assert rebuilt.queue("own").info(0) == broker.queue("own").info(0)


def test_ids_that_were_passed_over_at_the_end_stay_so(broker):
    broker.apply(broker.plan_push("jobs", 1, join_bodies("a"), (), 5000))
    broker.apply((job_records.SKIP, broker.queue("jobs").uid, 3))
    rebuilt = Broker(BOUNDS)
    rebuilt.apply_all(broker.export())
    for each in (broker, rebuilt):
        assert each.plan_push("jobs", 1, join_bodies("b"), (), 5000)[2] == 5
