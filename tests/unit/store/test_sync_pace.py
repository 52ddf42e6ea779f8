from __future__ import annotations

from mqd.store.sync_pace import (
    MAX_PAUSE_SECONDS,
    PAUSE_SECONDS,
    QUICK_SECONDS,
    STALL_SECONDS,
    SyncPace,
)

QUICK = QUICK_SECONDS / 5
SLOW = QUICK_SECONDS * 3
NO_STALL = STALL_SECONDS * 0.9
STALL = STALL_SECONDS * 2


def noted(pace: SyncPace, now: float, *seconds: float, is_loops: bool = True) -> float:
    """Note syncs one after the other from a time on; return when the last has ended."""
    for each in seconds:
        pace.note(now, now + each, is_loops=is_loops)
        now += each
    return now


def quiet_after(pace: SyncPace, now: float) -> float:
    """Return for how long the loop makes no syncs from a time on, in whole seconds."""
    return float(next(wait for wait in range(1000) if pace.is_quick(now + wait)))


def test_a_disk_is_quick_until_it_says_otherwise() -> None:
    assert SyncPace().is_quick(0.0)


def test_a_disk_that_is_slow_on_the_average_is_left_to_the_writer() -> None:
    pace = SyncPace()
    now = noted(pace, 0.0, *[SLOW] * 40)
    assert not pace.is_quick(now)
    assert not pace.is_quick(now + 1000 * MAX_PAUSE_SECONDS), "only syncs tell"
    now = noted(pace, now, *[QUICK] * 100, is_loops=False)
    assert pace.is_quick(now)


def test_a_slow_one_among_quick_ones_says_nothing() -> None:
    pace = SyncPace()
    now = 0.0
    for _ in range(100):
        now = noted(pace, now, *[QUICK] * 50, NO_STALL)
        assert pace.is_quick(now)


def test_a_disk_is_not_quick_if_every_tenth_sync_is_slow() -> None:
    pace = SyncPace()
    now = noted(pace, 0.0, *[*[QUICK] * 9, NO_STALL] * 20)
    assert not pace.is_quick(now)


def test_after_a_stall_the_loop_makes_no_syncs_for_a_while() -> None:
    pace = SyncPace()
    now = noted(pace, 0.0, *[QUICK] * 50, STALL, is_loops=False)
    assert quiet_after(pace, now) == PAUSE_SECONDS
    now = noted(pace, now, *[QUICK] * 50, STALL, is_loops=False)
    assert quiet_after(pace, now) == PAUSE_SECONDS, "the loop had no part in it"


def test_the_while_is_the_longer_the_sooner_the_next_stall_comes() -> None:
    pace = SyncPace()
    now, pauses = 1000.0, []
    for _ in range(9):
        now = noted(pace, now, *[QUICK] * 50, STALL)
        pauses.append(quiet_after(pace, now))
        now += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[MAX_PAUSE_SECONDS] * 3]
    now = noted(pace, now + MAX_PAUSE_SECONDS, *[QUICK] * 50, STALL)
    assert quiet_after(pace, now) == PAUSE_SECONDS


def test_a_sync_as_long_as_a_stall_may_be_is_none() -> None:
    pace = SyncPace()
    now = noted(pace, 0.0, *[QUICK] * 50, NO_STALL)
    assert pace.is_quick(now)


def test_a_stall_long_after_others_is_the_first_again_whoever_had_it() -> None:
    pace = SyncPace()
    now = 1000.0
    for _ in range(7):
        now = noted(pace, now, *[QUICK] * 50, STALL) + MAX_PAUSE_SECONDS
    now = noted(pace, now + MAX_PAUSE_SECONDS, *[QUICK] * 50, STALL, is_loops=False)
    assert quiet_after(pace, now) == PAUSE_SECONDS


def test_stalls_of_the_writer_keep_no_pause_from_growing_small_again() -> None:
    pace = SyncPace()
    now = 1000.0
    for _ in range(3):
        now = noted(pace, now, *[QUICK] * 50, STALL)
    assert quiet_after(pace, now) == 4 * PAUSE_SECONDS
    for _ in range(8):
        now = noted(pace, now + 10, *[QUICK] * 50, STALL, is_loops=False)
    assert quiet_after(pace, now) == PAUSE_SECONDS
