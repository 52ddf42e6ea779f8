from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from mqd.core import records
from mqd.core.access import Role
from mqd.core.broker import Bounds, Broker
from mqd.core.salvage import NO_BOUNDS, QueueOutcome, Salvager
from mqd.core.standings import Change, Issue, Standing
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from mqd.core.records import Record

OPTIONS = {"max_messages": 7, "max_bytes": 70}
CREATE = (records.CREATE, 1, "jobs", OPTIONS, 5)


def push(first_id: int, *bodies: str, uid: int = 1, headers: Any = (), now_ms: int = 9) -> Record:
    pack = join_bodies(bodies)
    return (records.PUSH, uid, first_id, len(bodies), pack, headers, now_ms)


def pull(count: int, uid: int = 1) -> Record:
    return (records.PULL, uid, count)


class Case:
    """A salvage, and the broker that a server would make of it."""

    def __init__(self, *found: Record, has_gap: bool = True) -> None:
        self.salvager = Salvager(Broker(Bounds(100, 1000, 10)))
        if has_gap:
            self.salvager.note_gap()
        self.reasons = [self.salvager.apply(record) for record in found]
        self.outcomes: list[QueueOutcome] = []
        self.broker = Broker(NO_BOUNDS)

    def add(self, *found: Record) -> Case:
        self.reasons += [self.salvager.apply(record) for record in found]
        return self

    def end(self) -> Case:
        self.outcomes = self.salvager.finish()
        self.broker.apply_all(self.salvager.export())
        for queue in self.broker.queues():
            gone = queue.pulled + queue.purged + queue.acked + queue.moved
            assert queue.pushed == gone + queue.fifo.count + queue.outside
            assert queue.pushed == queue.fifo.next_id - 1, "every id was given once"
        return self

    def bodies(self, name: str = "jobs") -> bytes:
        return b"".join(pack for _, _, pack, _, _ in self.broker.queue(name).fifo.export())

    def next_id(self, name: str = "jobs") -> int:
        return self.broker.queue(name).fifo.next_id


OTHER = 250


class OtherKinds(Broker):
    """A broker that knows a kind of record which has no rule in a salvage."""

    def __init__(self) -> None:
        super().__init__(Bounds(100, 1000, 10))
        self.others: list[int] = []
        self.appliers[OTHER] = self._apply_other

    def _apply_other(self, uid: int) -> int:
        self.others.append(uid)
        return 0


def test_without_holes_it_is_what_a_start_does() -> None:
    broker = Broker(Bounds(100, 1000, 10))
    done: list[Record] = []

    def do(record: Record) -> None:
        broker.apply(record)
        done.append(record)

    do(broker.plan_create("jobs", {"durability": "written"}, 3))
    do(broker.plan_create("gone", {}, 4))
    do(push(1, "a", "b", headers=((1, 1, {"k": 1}, 4),), now_ms=200))
    do(broker.plan_push("gone", 1, join_bodies("x"), (), 201))
    do(pull(1))
    do(push(3, "c", now_ms=500))
    do(broker.plan_delete("gone"))
    do(broker.plan_create("purged", {}, 600))
    do(broker.plan_push("purged", 1, join_bodies("x"), (), 601))
    do(broker.plan_purge("purged"))
    for found, has_gap in itertools.product((done, [*broker.export()]), (False, True)):
        case = Case(*found, has_gap=has_gap).end()
        assert not any(case.reasons)
        assert case.outcomes == []
        assert list(case.salvager.export()) == list(broker.export())


def test_a_push_behind_a_hole_is_kept_with_its_ids() -> None:
    case = Case(CREATE, push(1, "a", "b"), push(6, "f", headers=((0, 1, {"k": 1}, 4),))).end()
    assert case.reasons == [None] * 3
    assert case.bodies() == join_bodies("abf")
    assert case.next_id() == 7
    assert case.outcomes == [QueueOutcome("jobs", 3, 3, is_made_up=False)]
    first, last = case.broker.queue("jobs").fifo.export()
    assert (first[:2], last[:2], last[3]) == ((1, 2), (6, 1), ((0, 1, {"k": 1}, 4),))


def test_a_pull_takes_what_is_missing_before_what_is_there() -> None:
    found = (CREATE, push(1, "a", "b"), push(6, "f", "g"))
    for count, left, missing in (
        (1, "bfg", 3),
        (3, "fg", 2),
        (5, "fg", 0),
        (6, "g", 0),
        (7, "", 0),
    ):
        case = Case(*found, pull(count)).end()
        assert case.bodies() == join_bodies(left), count
        assert case.outcomes == [QueueOutcome("jobs", len(left), missing, is_made_up=False)]
        assert case.broker.queue("jobs").pulled == count
        assert case.next_id() == 8


def test_a_pull_of_more_than_is_known() -> None:
    case = Case(CREATE, push(1, "a", "b"), pull(5), push(7, "g")).end()
    assert case.bodies() == join_bodies("g")
    assert case.next_id() == 8
    assert case.outcomes == [QueueOutcome("jobs", 1, 1, is_made_up=False)]
    assert Case(CREATE, push(1, "a"), pull(3)).end().next_id() == 4


def test_pushes_go_on_behind_a_hole_and_a_purge_ends_it() -> None:
    case = Case(CREATE, push(3, "c"), push(4, "d"), push(5, "e"), pull(3)).end()
    assert case.bodies() == join_bodies("de")
    purge = (records.PURGE, 1)
    case = Case(CREATE, push(3, "c"), purge, push(4, "d"), pull(1), push(6, "f")).end()
    assert case.bodies() == join_bodies("f")
    assert case.outcomes == [QueueOutcome("jobs", 1, 1, is_made_up=False)]


def test_an_unknown_queue_is_made_up_and_loses_nothing_to_pulls() -> None:
    case = Case(pull(4, uid=3), push(101, "x", "y", uid=3), pull(50, uid=3)).end()
    assert case.reasons == ["its queue is not known", None, None]
    assert case.bodies("salvaged-3") == join_bodies("xy")
    assert case.next_id("salvaged-3") == 103
    assert case.outcomes == [QueueOutcome("salvaged-3", 2, 50, is_made_up=True)]
    assert case.broker.queue("salvaged-3").options == {"max_messages": 100, "max_bytes": 1000}
    assert list(case.salvager.export())[-1][1] == 3, "a number would come again"


def test_a_made_up_name_takes_nobodys_place() -> None:
    taken = (records.CREATE, 7, "salvaged-3", OPTIONS, 5)
    case = Case(push(1, "x", uid=3), taken, push(1, "z", uid=7)).end()
    assert case.bodies("salvaged-3") == join_bodies("z")
    assert case.bodies("salvaged-3-again") == join_bodies("x")
    deleted = (records.DELETE, 3)
    assert len(Case(push(1, "x", uid=3), deleted).end().broker) == 0


def test_what_is_known_changes_nothing() -> None:
    case = Case(CREATE, push(1, "a", "b"), CREATE, push(1, "a"), push(2, "b"))
    restore = (records.RESTORE, 1, "jobs", OPTIONS, 5, 1, 0, 0)
    case.add(restore, push(4, "d"), push(1, "a")).end()
    assert case.reasons == [None] * 8
    assert case.salvager.known == 5
    assert case.bodies() == join_bodies("abd")


def test_what_is_gone_stays_gone() -> None:
    case = Case(CREATE, push(1, "a", "b"), pull(2), push(1, "a"), push(9, "i"), push(1, "a")).end()
    assert case.reasons == [None] * 6
    assert case.bodies() == join_bodies("i")


@pytest.mark.parametrize("late", [push(3, "c"), push(3, "c", "d"), push(1, "a", "b", "c", "d")])
def test_what_fits_into_a_hole_only_afterwards_is_refused(late: Record) -> None:
    case = Case(CREATE, push(1, "a", "b"), push(4, "d"), late).end()
    assert (
        case.reasons[-1] == "its ids were given already, to messages that are missing or to others"
    )
    assert case.bodies() == join_bodies("abd")


def test_a_name_that_is_taken_says_that_the_older_queue_is_gone() -> None:
    newer = (records.CREATE, 4, "jobs", OPTIONS, 50)
    case = Case(CREATE, push(1, "a"), push(3, "c"), newer, push(1, "z", uid=4), CREATE).end()
    assert case.reasons == [None] * 5 + [None]
    assert case.bodies() == join_bodies("z")
    assert case.salvager.known == 1
    assert case.outcomes == []


def test_a_broken_create_costs_nobody_a_queue() -> None:
    case = Case(CREATE, push(1, "a"), (records.CREATE, 4, "jobs", {}, 50)).end()
    assert "cannot be applied" in (case.reasons[-1] or "")
    assert case.bodies() == join_bodies("a")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ((), "is no record"),
        ((99, 1), "what it means there is not known"),
        (("PUSH", 1), "is no record"),
        ((records.DELETE,), "fields are not those"),
        ((records.DELETE, "1"), "fields are not those"),
        ((records.DELETE, 9), "queue is not known"),
        ((records.PURGE, 9), "queue is not known"),
        ((records.PULL, 1, 0), "about no message"),
        ((records.PUSH, 1, 2, 0, b"", (), 1), "about no message"),
        ((records.PUSH, 1, 2, 2, b"\xa1x", (), 1), "does not hold 2 well-formed bodies"),
        ((records.PUSH, 1, 2, 1, b"\xa1x", (7,), 1), "cannot be applied"),
    ],
)
def test_records_that_fit_nowhere(record: Record, reason: str) -> None:
    case = Case(CREATE, push(1, "a"), record)
    assert reason in (case.reasons[-1] or "")
    assert case.end().bodies().startswith(join_bodies("a"))


def test_where_removals_are_doubtful_everything_is_kept() -> None:
    case = Case(CREATE, push(1, "a", "b"))
    case.salvager.why_all_is_kept = "who knows"
    again = (records.CREATE, 4, "jobs", OPTIONS, 50)
    removals = [pull(1), (records.PURGE, 1), (records.DELETE, 1), again]
    case.add(*removals, push(2, "b"), push(3, "c"), push(1, "z", uid=4)).end()
    assert case.reasons == [*[None] * 2, *["who knows"] * 4, *[None] * 3]
    assert case.bodies() == join_bodies("abc")
    assert case.bodies("salvaged-4") == join_bodies("z")


def test_a_record_that_is_refused_leaves_a_gap() -> None:
    case = Case(CREATE, push(1, "a"), push(4, "d"), pull(3), has_gap=False)
    assert "cannot be applied" in (case.reasons[2] or ""), "a start would refuse it"
    bad = (records.DELETE, 9)
    case = Case(CREATE, push(1, "a"), bad, push(4, "d"), pull(3), has_gap=False).end()
    assert [reason is None for reason in case.reasons] == [True, True, False, True, True]
    assert case.bodies() == join_bodies("d")


def test_kinds_without_a_rule_are_applied_as_long_as_nothing_is_missing() -> None:
    broker = OtherKinds()
    salvager = Salvager(broker)
    found = (CREATE, push(1, "a", "b"), (OTHER, 1), pull(1))
    assert [salvager.apply(record) for record in found] == [None] * 4
    assert broker.others == [1]
    salvager.note_gap()
    found = (pull(1), (OTHER, 1), (records.PURGE, 1), push(3, "c"), push(5, "e"))
    reasons = [salvager.apply(record) or "" for record in found]
    assert "may have been elsewhere" in reasons[0]
    assert "what it means there is not known" in reasons[1]
    assert "may have been elsewhere" in reasons[2]
    assert reasons[3] == ""
    assert reasons[4] == ""
    assert broker.queue("jobs").fifo.count == 3


def test_kinds_without_a_rule_that_come_behind_a_gap() -> None:
    broker = OtherKinds()
    salvager = Salvager(broker)
    salvager.note_gap()
    found = (CREATE, push(1, "a", "b"), pull(1), (OTHER, 1), pull(1))
    assert [salvager.apply(record) is None for record in found] == [True, True, True, False, False]
    assert broker.others == []


def test_counters_never_go_back() -> None:
    counters = (records.COUNTERS, 8, 700)
    case = Case(CREATE, push(1, "a", now_ms=900), counters, push(1, "x", uid=2, now_ms=3)).end()
    assert list(case.salvager.export())[-1] == (records.COUNTERS, 8, 900)


# Users and tokens


def accounts_history():
    """Return what adds two users and a token of each."""
    broker = Broker(Bounds(10, 10**6, 5))
    history = []

    def do(record):
        history.append(record)
        broker.apply(record)

    for name in ("ada", "bob"):
        do(broker.accounts.plan_admit(Role.ADMIN, name, Role.AGENT, "hash", 5))
        user = broker.accounts.user(name)
        standing = Standing(name, user.role, user.basis)
        issue = Issue(Role.AGENT, name.encode() * 8, "", 10**6)
        do(broker.accounts.plan_issue(standing, issue, 5))
    do(broker.accounts.plan_alter(Role.ADMIN, "bob", Change(is_disabled=True), 6))
    do(broker.accounts.plan_revoke(standing_of(broker, "ada"), 2, 7))
    return history


def standing_of(broker, name):
    user = broker.accounts.user(name)
    return Standing(name, user.role, user.basis)


def salvaged_accounts(history, gaps=()):
    salvager = Salvager(Broker(Bounds(10, 10**6, 5)))
    for place, record in enumerate(history):
        if place in gaps:
            salvager.note_gap()
        else:
            assert salvager.apply(record) is None
    salvager.finish()
    other = Broker(Bounds(10, 10**6, 5))
    other.apply_all(list(salvager.export()))
    return other.accounts


def test_users_and_tokens_without_a_gap_are_as_they_were():
    history = accounts_history()[:-2]
    accounts = salvaged_accounts(history)
    assert [user.is_disabled for user in accounts.users()] == [False, False]
    assert [accounts.count_of(name) for name in ("ada", "bob")] == [1, 1]
    accounts = salvaged_accounts(accounts_history())
    assert [user.is_disabled for user in accounts.users()] == [False, True]
    assert accounts.token_users() == []


@pytest.mark.parametrize("gap", range(6))
def test_behind_a_gap_nobody_comes_in_that_may_have_been_ended_in_it(gap):
    accounts = salvaged_accounts(accounts_history(), {gap})
    assert all(user.is_disabled for user in accounts.users())
    assert accounts.token_users() == []
    assert {user.name for user in accounts.users()} == ({"bob"} if gap == 0 else {"ada", "bob"})


@pytest.mark.parametrize(
    "record",
    [
        (60, "ada", "agent", "hash", 1, 1, 0, 0),
        (60, "ada", "nobody", "hash", False, 1, 0, 0),
        (62, 1, "ada", "user:1", "agent", "text", "", 0, 0),
        (61, 5, 0),
        (63, 1, 0),
    ],
)
def test_a_record_of_users_that_makes_no_sense_is_refused(record):
    salvager = Salvager(Broker(Bounds(10, 10**6, 5)))
    assert salvager.apply(record) is not None
