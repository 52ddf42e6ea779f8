from __future__ import annotations

import pytest

from mqclient.errors import AccessDenied, ConnectionLost, LeaseLost, NotLeased, RequestTimeout
from mqclient.holdings import STOPPED, Holdings
from mqclient.models import LeaseId

ONE, TWO = LeaseId(3, 1), LeaseId(3, 2)


def sent(orders):
    return [(order.call.verb, *order.call.arguments) for order in orders]


def test_a_lease_is_extended_at_a_third_of_its_time():
    holdings = Holdings()
    holdings.hold(ONE, 30.0, 100.0)
    assert holdings.next_at() == 110.0
    assert holdings.extensions(109.9) == []
    assert sent(holdings.extensions(110.0)) == [("EXTEND", (3, 1), 30.0)]
    assert holdings.extended(ONE, None, 110.5) is None
    assert holdings.next_at() == 120.5


def test_leases_have_times_of_their_own():
    holdings = Holdings()
    holdings.hold(ONE, 30.0, 100.0)
    holdings.hold(TWO, 3.0, 100.0)
    assert holdings.next_at() == 101.0
    assert sent(holdings.extensions(101.0)) == [("EXTEND", (3, 2), 3.0)]
    holdings.release(TWO)
    holdings.release(TWO)
    assert holdings.next_at() == 110.0


def test_one_without_an_answer_stays_due():
    for error in (ConnectionLost("gone"), RequestTimeout("late")):
        holdings = Holdings()
        holdings.hold(ONE, 30.0, 0.0)
        assert holdings.extended(ONE, error, 10.0) is None
        assert sent(holdings.extensions(10.0)) == [("EXTEND", (3, 1), 30.0)]


@pytest.mark.parametrize("kind", [LeaseLost, NotLeased])
def test_a_lost_lease_is_told_and_left_alone(kind):
    holdings = Holdings()
    holdings.hold(ONE, 30.0, 0.0)
    error = kind("CODE", "no", {"why": "over"})
    assert holdings.extended(ONE, error, 10.0) is error
    assert holdings.next_at() is None
    assert holdings.extended(ONE, error, 20.0) is None


def test_another_refusal_is_tried_again_soon():
    holdings = Holdings()
    holdings.hold(ONE, 24.0, 0.0)
    assert holdings.extended(ONE, AccessDenied("ACCESS_DENIED", "no"), 8.0) is None
    assert holdings.next_at() == 10.0


def test_the_answer_that_comes_after_the_release_changes_nothing():
    holdings = Holdings()
    holdings.hold(ONE, 30.0, 0.0)
    holdings.release(ONE)
    assert holdings.extended(ONE, LeaseLost("LEASE_LOST", "over", {"why": "over"}), 10.0) is None
    assert len(holdings) == 0


def test_what_is_handed_back_is_sent_until_it_is_answered():
    holdings = Holdings()
    holdings.hold(ONE, 30.0, 0.0)
    holdings.hand_back(ONE, [4, 5, 9])
    holdings.hand_back(TWO, None)
    assert holdings.next_at() == 0.0
    first, second = holdings.returns()
    assert sent([first]) == [("NACK", (3, 1), {"ids": [4, 2, 9, 1], "hand_back": True})]
    assert sent([second]) == [("NACK", (3, 2), {"hand_back": True})]
    holdings.returned(first, ConnectionLost("gone", in_doubt=True))
    holdings.returned(second, LeaseLost("LEASE_LOST", "over", {}))
    assert holdings.returns() == [first]
    holdings.returned(first, None)
    assert holdings.returns() == []
    assert holdings.next_at() == 10.0  # some of its messages are still worked on


def test_a_process_that_is_gone_has_lost_what_it_held_and_no_more():
    holdings = Holdings()
    holdings.hold(ONE, 30.0, 0.0)
    holdings.hand_back(TWO, None)
    holdings.gone("the worker's process ended (signal 9)")
    holdings.gone("and again")
    assert sent(holdings.returns()) == [
        ("NACK", (3, 2), {"hand_back": True}),
        ("NACK", (3, 1), {"reason": "the worker's process ended (signal 9)", "lost": True}),
    ]
    assert holdings.extensions(1000.0) == []


def test_what_was_not_begun_has_not_lost_its_worker():
    holdings = Holdings()
    holdings.hold(ONE, 30.0, 0.0, [4, 5, 6, 7])
    holdings.begin(ONE, 4)
    holdings.begin(TWO, 4)
    holdings.hand_back(ONE, [7])
    holdings.gone("killed")
    assert sent(holdings.returns()) == [
        ("NACK", (3, 1), {"ids": [7, 1], "hand_back": True}),
        ("NACK", (3, 1), {"ids": [5, 2], "hand_back": True}),
        ("NACK", (3, 1), {"reason": "killed", "lost": True}),
    ]


def test_what_a_stopped_process_holds_is_given_up_just_before_its_end():
    holdings = Holdings()
    holdings.hold(ONE, 30.0, 100.0)
    holdings.hold(TWO, 2.0, 100.0)
    assert holdings.gives_up_at() == 101.5
    assert holdings.stopped(101.4) == []
    assert holdings.stopped(101.5) == [TWO]
    [order] = holdings.returns()
    assert order.call.arguments == ((3, 2), {"reason": STOPPED, "lost": True})
    holdings.extended(ONE, None, 110.0)
    assert holdings.gives_up_at() == 139.0
    assert holdings.stopped(139.0) == [ONE]
    assert holdings.gives_up_at() is None
