from __future__ import annotations

import pytest

from mqd.core import deadlines, records, step_records
from mqd.core import keys as module
from mqd.core.keys import DIGEST_BYTES, KeyRing, digest_of_content, digest_of_push
from mqwire.codes import Code
from mqwire.packs import join_bodies
from support.jobs import Desk, refusal

DAY_MS = 24 * 3600 * 1000


class KeyDesk(Desk):
    def plan(self, key, *texts, now_ms=0, headers=(), name="jobs"):
        pack = join_bodies(texts)
        return self.broker.plan_keyed_push(name, len(texts), pack, headers, now_ms, key)

    def keyed(self, key, *texts, **options):
        """Push; returns the first id and whether it was pushed now."""
        record, first_id = self.plan(key, *texts, **options)
        if record is not None:
            assert self.do(record) == first_id
        return first_id, record is not None

    def kept(self, name="jobs"):
        return self.broker.keys.count(self.broker.queue(name))


@pytest.fixture
def desk():
    return KeyDesk()


@pytest.fixture
def few(monkeypatch):
    """Three keys at most."""
    monkeypatch.setattr(module, "MAX_KEYS", 3)
    monkeypatch.setattr(module, "MAX_RESULTS", 4)


def test_the_key_is_in_the_record_of_its_push(desk):
    record, first_id = desk.plan("k", "a", "b", now_ms=7)
    digest = digest_of_push(join_bodies("ab"), ())
    push = (records.PUSH, 1, 1, 2, join_bodies("ab"), (), 7)
    assert record == (step_records.KEYED_PUSH, 1, "k", digest, 7, push)
    assert first_id == 1
    assert desk.counts() == {}
    assert desk.kept() == 0, "a plan has changed something"


def test_a_key_of_a_journal_that_holds_a_hash_of_all_is_known_too(desk):
    headers = ((0, 1, {"n": 1}, 4),)
    for key, runs in (("plain", ()), ("with headers", headers)):
        digest = digest_of_content(join_bodies("a"), runs)
        desk.broker.keys.remember(1, key, digest, 0, (7,))
        assert desk.keyed(key, "a", headers=runs) == (7, False)
        assert refusal(desk.plan, key, "b", headers=runs).code is Code.KEY_REUSED


def test_a_repeat_is_answered_with_the_first_id_and_changes_nothing(desk):
    desk.push("z")
    assert desk.keyed("k", "a", "b") == (2, True)
    desk.push("c")
    assert desk.keyed("k", "a", "b") == (2, False)
    assert desk.info()["pushed"] == 4
    assert desk.texts() == ["z", "a", "b", "c"]
    assert desk.keyed("k", "a", "b") == (2, False), "whether or not they are still there"
    desk.do(desk.broker.plan_purge("jobs"))
    assert desk.keyed("k", "a", "b") == (2, False)


def test_a_repeat_does_not_make_its_key_last_longer(desk):
    desk.keyed("k", "a", now_ms=0)
    assert desk.keyed("k", "a", now_ms=599_999) == (1, False)
    assert desk.keyed("k", "a", now_ms=600_000) == (2, True)
    assert desk.keyed("k", "a", now_ms=1_199_999) == (2, False)


def test_keys_live_as_long_as_their_queue_says():
    desk = KeyDesk(dedupe_seconds=1.5)
    assert desk.keyed("k", "a", now_ms=0) == (1, True)
    assert desk.keyed("k", "a", now_ms=1499) == (1, False)
    assert desk.keyed("k", "b", now_ms=1500) == (2, True), "past its time it is not judged by"


def test_a_queue_may_remember_none():
    desk = KeyDesk(dedupe_seconds=0)
    record, _ = desk.plan("k", "a")
    assert record[0] == records.PUSH
    assert [desk.keyed("k", "a"), desk.keyed("k", "b")] == [(1, True), (2, True)]
    assert desk.kept() == 0


def test_a_key_that_came_with_something_else(desk):
    headers = ((0, 1, {"n": 1, "m": 2}, 6),)
    desk.keyed("k", "a", "b", headers=headers)
    same = ((0, 1, {"m": 2, "n": 1}, 6),)
    assert desk.keyed("k", "a", "b", headers=same) == (1, False)
    others = [
        (("a", "c"), headers),
        (("a",), headers),
        (("a", "b", ""), headers),
        (("a", "b"), ()),
        (("a", "b"), ((1, 1, {"n": 1, "m": 2}, 6),)),
        (("a", "b"), ((0, 2, {"n": 1, "m": 2}, 6),)),
        (("a", "b"), ((0, 1, {"n": 1, "m": 3}, 6),)),
        (("a", "b"), ((0, 1, {"n": 1, "m": "2"}, 6),)),
    ]
    for texts, each in others:
        error = refusal(desk.plan, "k", *texts, headers=each)
        assert error.code is Code.KEY_REUSED
        assert error.details == {"queue": "jobs", "key": "k"}
    assert desk.info()["pushed"] == 2


def test_keys_belong_to_their_queue(desk):
    desk.do(desk.broker.plan_create("other", {}, 0))
    desk.push("z")
    assert desk.keyed("k", "a") == (2, True)
    assert desk.keyed("k", "b", name="other") == (1, True)
    assert desk.keyed("k", "a") == (2, False)
    desk.do(desk.broker.plan_delete("jobs"))
    exported = [record[1] for record in desk.broker.export() if record[0] == step_records.KEYS]
    assert exported == [desk.broker.queue("other").uid], "they are dropped with it"
    desk.do(desk.broker.plan_create("jobs", {}, 0))
    assert desk.keyed("k", "c") == (1, True)
    assert desk.keyed("k", "b", name="other") == (1, False)


def test_a_refused_push_leaves_its_key_free():
    desk = KeyDesk(max_messages=1)
    desk.push("z")
    assert refusal(desk.plan, "k", "a").code is Code.QUEUE_FULL
    desk.texts()
    assert desk.keyed("k", "b") == (2, True)
    assert desk.keyed("k", "b") == (2, False), "a repeat needs no room"
    assert refusal(desk.plan, "k", "b", name="nowhere").code is Code.QUEUE_NOT_FOUND


def test_the_oldest_keys_go_for_more_than_there_may_be(desk, few):
    for number, key in enumerate("abcd", 1):
        assert desk.keyed(key, key) == (number, True)
    assert desk.kept() == 3
    assert [desk.plan(key, key)[1] for key in "bcd"] == [2, 3, 4]
    assert desk.keyed("a", "a") == (5, True)
    assert desk.keyed("b", "b") == (6, True)
    assert desk.keyed("d", "d") == (4, False)


def test_keys_past_their_time_go_when_others_come(desk):
    for number in range(10):
        desk.keyed(f"old{number}", "a", now_ms=number)
    for number in range(5):
        desk.keyed(f"new{number}", "a", now_ms=DAY_MS)
        assert desk.kept() == 10 - (number + 1)
    assert desk.broker.keys.count() == 0
    desk.keyed("new9", "a", now_ms=2 * DAY_MS)
    assert desk.kept() == 4
    for number in range(9):
        desk.keyed(f"now{number}", "a", now_ms=3 * DAY_MS)
    assert desk.kept() == 9


def test_a_key_that_is_used_anew_is_the_youngest(desk, few):
    desk.keyed("a", "1", now_ms=0)
    desk.keyed("b", "1", now_ms=500_000)
    desk.keyed("a", "2", now_ms=600_000)
    desk.keyed("c", "1", now_ms=600_001)
    desk.keyed("d", "1", now_ms=600_002)
    assert desk.plan("a", "2", now_ms=600_002) == (None, 3)
    assert desk.plan("b", "1", now_ms=600_002)[0] is not None


@pytest.mark.parametrize("is_exported", [False, True])
def test_keys_are_there_after_a_restart(desk, is_exported):
    desk.keyed("gone", "a", now_ms=0)
    for number in range(70):
        desk.keyed(f"k{number}", "a", now_ms=DAY_MS + number)
        desk.texts()
        desk.history.append((records.PULL, 1, 100))
    desk.broker = desk.rebuilt(is_exported=is_exported)
    assert desk.kept() == 70
    assert desk.plan("k0", "a", now_ms=DAY_MS + 599_999) == (None, 2)
    assert desk.plan("k0", "a", now_ms=DAY_MS + 600_000)[0] is not None
    assert desk.plan("k69", "a", now_ms=DAY_MS + 600_000) == (None, 71)
    assert refusal(desk.plan, "k9", "b", now_ms=DAY_MS + 100).code is Code.KEY_REUSED


def test_what_is_exported_is_small_records_of_what_is_not_past_its_time(desk):
    desk.keyed("old", "a", now_ms=0)
    for number in range(65):
        desk.keyed(f"k{number}", "a", now_ms=600_000)
    keys = [record for record in desk.broker.export() if record[0] == step_records.KEYS]
    assert [(record[1], len(record[2])) for record in keys] == [(1, 64), (1, 1)]
    digest = digest_of_push(join_bodies("a"), ())
    assert keys[0][2][0] == ("k0", digest, 600_000, (2,))
    assert len(digest) == DIGEST_BYTES


def test_results_of_steps_are_bounded_together(desk, few):
    from mqd.core.steps import Push

    part = Push("jobs", 1, join_bodies("a"))
    for key, count in (("a", 1), ("b", 2), ("c", 2), ("d", 1)):
        desk.do(desk.broker.plan_step((part,) * count, 0, key=key).record)
    assert desk.broker.keys.count() == 2, "c and d: b would be the fifth result"
    desk.do(desk.broker.plan_step((part,) * 5, 0, key="e").record)
    assert desk.broker.keys.count() == 1
    assert desk.broker.plan_step((part,) * 5, 0, key="e").is_repeat


def test_a_ring_counts_the_results_that_it_holds():
    ring = KeyRing(5, 9, 4)
    for key, results in (("a", (1, 2)), ("a", (3,)), ("b", (4, 5)), ("c", ()), ("d", (-7,))):
        ring.add(key, b"x" * DIGEST_BYTES, 5, results)
    assert [(key, results) for key, _, _, results in ring.living(9)] == [
        ("a", (3,)), ("b", (4, 5)), ("c", ()), ("d", (-7,)),
    ]  # fmt: skip
    assert list(ring.living(10)) == []


# Keys that are past their time, and too many


def beside(desk, *names, **options):
    for name in names:
        desk.do(desk.broker.plan_create(name, options, 0))


def test_keys_go_from_a_queue_to_which_nobody_pushes(desk):
    keys = desk.broker.keys
    assert keys.next_ms() is None
    for number in range(5):
        desk.keyed(f"k{number}", "a", now_ms=number)
    assert keys.next_ms() == 600_000
    assert keys.forget(599_999, 9) == 0
    assert keys.next_ms() == 600_999, "it was looked for them a moment ago"
    assert keys.forget(600_003, 3) == 3
    assert desk.kept() == 2
    assert keys.forget(600_003, 3) == 1
    assert keys.forget(600_003, 3) == 0
    assert keys.next_ms() == 601_003
    assert desk.keyed("k4", "a", now_ms=600_003) == (5, False)
    assert keys.forget(601_003, 3) == 1
    assert (desk.kept(), keys.next_ms()) == (0, None)
    assert desk.keyed("k4", "a", now_ms=601_003) == (6, True)


def test_keys_of_steps_and_of_deleted_queues_are_looked_for_too(desk):
    keys = desk.broker.keys
    beside(desk, "other", dedupe_seconds=1)
    desk.keyed("k", "a", now_ms=0, name="other")
    keys.remember(step_records.STEPS, "s", b"d" * DIGEST_BYTES, 0, (1, 2))
    assert keys.next_ms() == 1000
    desk.do(desk.broker.plan_delete("other"))
    assert keys.next_ms() == 600_000
    assert keys.forget(600_000, 9) == 1
    assert (keys.count(), keys.next_ms()) == (0, None)


def test_of_too_many_keys_in_all_those_go_whose_time_ends_first(desk, monkeypatch):
    monkeypatch.setattr(module, "MAX_ALL_KEYS", 4)
    beside(desk, "short", dedupe_seconds=10)
    desk.keyed("long", "a", now_ms=0)
    for number in range(3):
        desk.keyed(f"s{number}", "a", now_ms=1000 + number, name="short")
    assert (desk.kept(), desk.kept("short")) == (1, 3)
    desk.keyed("next", "a", now_ms=2000)
    assert (desk.kept(), desk.kept("short")) == (2, 2)
    assert desk.keyed("s0", "a", now_ms=2000, name="short")[1], "it was forgotten"
    assert not desk.keyed("s2", "a", now_ms=2000, name="short")[1]
    for number in range(4):
        desk.keyed(f"k{number}", "a", now_ms=3000)
    assert (desk.kept(), desk.kept("short")) == (4, 0)
    assert desk.keyed("long", "a", now_ms=3000)[1], "and it was the oldest that was left"


def test_a_rebuilt_broker_forgets_the_same_keys_where_there_are_too_many(desk, monkeypatch):
    monkeypatch.setattr(module, "MAX_ALL_KEYS", 4)
    beside(desk, "short", dedupe_seconds=1)
    for number in range(3):
        desk.keyed(f"s{number}", "a", now_ms=number, name="short")
    desk.keyed("a", "a", now_ms=1500)
    assert desk.broker.keys.forget(1500, 9) == 3
    desk.keyed("b", "a", now_ms=1500)
    other = desk.rebuilt()
    living = list(desk.broker.keys.export(1500))
    assert list(other.keys.export(1500)) == living
    assert sum(len(record[2]) for record in living) == 2


def test_no_call_looks_at_more_than_it_lets_go(desk, monkeypatch):
    looks = []
    usual = KeyRing.forget_oldest
    monkeypatch.setattr(KeyRing, "forget_oldest", lambda ring: (looks.append(1), usual(ring)))
    beside(desk, "b", "c")
    for number in range(30):
        desk.keyed(f"k{number}", "a", now_ms=number, name=("jobs", "b", "c")[number % 3])
    assert desk.broker.keys.forget(10**9, 7) == len(looks) == 7


def test_whose_time_ends_first_is_looked_up_where_keys_have_gone_otherwise(desk, monkeypatch):
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    monkeypatch.setattr(module, "MAX_ALL_KEYS", 3)
    beside(desk, "b", "c", "d")
    desk.keyed("k0", "a", now_ms=0)
    desk.keyed("k5", "a", now_ms=5, name="b")
    desk.keyed("k10", "a", now_ms=10)
    desk.keyed("k20", "a", now_ms=20)
    desk.keyed("k30", "a", now_ms=30, name="c")
    assert [desk.kept(name) for name in ("jobs", "b", "c")] == [2, 0, 1]
    desk.do(desk.broker.plan_delete("c"))
    desk.keyed("k40", "a", now_ms=40, name="d")
    assert [desk.kept(name) for name in ("jobs", "d")] == [2, 1]


def test_too_many_keys_while_the_timetable_is_not_through_what_was_removed(desk, monkeypatch):
    monkeypatch.setattr(deadlines, "MOST_PASSED", 1)
    names = [f"q{number}" for number in range(3)]
    for number in range(3):
        beside(desk, names[number])
        for step in range(9):
            desk.keyed(f"k{step}", "a", now_ms=number + 9 * step, name=names[number])
    monkeypatch.setattr(module, "MAX_ALL_KEYS", 4)
    desk.keyed("last", "a", now_ms=500, name=names[0])
    living = [key for record in desk.broker.keys.export(500) for key, *_ in record[2]]
    assert sorted(living) == ["k8", "k8", "k8", "last"]


def test_a_large_table_of_rings_is_gone_through(desk, monkeypatch):
    keys = desk.broker.keys
    beside(desk, "b", "c")
    for number, name in enumerate(("jobs", "b", "c")):
        desk.keyed("k", "a", now_ms=number, name=name)
    monkeypatch.setattr(deadlines, "MOST_PASSED", 1)
    for name in ("b", "jobs"):
        desk.do(desk.broker.plan_delete(name))
    monkeypatch.setattr(module, "MAX_ALL_KEYS", 1)
    desk.do(desk.broker.plan_create("d", {}, 9))
    desk.keyed("k", "a", now_ms=9, name="d")
    assert [desk.kept(name) for name in ("c", "d")] == [0, 1]
    assert keys.next_ms() == 600_009
