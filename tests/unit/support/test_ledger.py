"""The history checker finds what is planted, and has nothing to say about sound histories."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqwire.levels import Level
from support.ledger import Event, Pull, Push, Removal, judge

if TYPE_CHECKING:
    from collections.abc import Callable

W, S, A = Level.WRITTEN, Level.SYNCED, Level.ACCEPTED


def push(first_id: int, *bodies: str, run: int = 1, level: Level | None = W, by: str = "p") -> Push:
    return Push("q", by, bodies, run, level, first_id if level is not None else 0)


def pull(
    first_id: int, *bodies: str, run: int = 1, level: Level | None = W, by: str = "c", most: int = 9
) -> Pull:
    ids = tuple(range(first_id, first_id + len(bodies)))
    return Pull("q", by, most, run, level, ids, bodies)


def in_doubt(most: int, run: int = 1) -> Pull:
    return Pull("q", "c", most, run)


def kinds(*history: Event, promised: Level = W) -> set[str]:
    return {sentence.partition(":")[0] for sentence in judge(history, promised).violations}


SOUND = {
    "nothing": [],
    "one after the other": [push(1, "a", "b"), push(3, "c"), pull(1, "a"), pull(2, "b", "c")],
    "a crash between": [push(1, "a", "b"), pull(1, "a"), pull(2, "b", run=2)],
    "a push in doubt that is not there": [push(0, "a", level=None), push(1, "b", run=2),
                                          pull(1, "b", run=2)],
    "a push in doubt that is there": [push(0, "a", "b", level=None), pull(1, "a", "b", run=2)],
    "a pull in doubt has taken it": [push(1, "a", "b", "c"), in_doubt(2), pull(3, "c", run=2)],
    "several pulls in doubt": [push(1, "a", "b", "c", "d"), in_doubt(1), pull(2, "b", run=2),
                               in_doubt(1, run=2), pull(4, "d", run=3)],
    "a push in doubt of which a pull in doubt has taken a part": [
        push(0, "a", "b", level=None), in_doubt(1), pull(2, "b", run=2)],
    "a large pull in doubt and a small one, in whichever order": [
        push(1, "a", "b", "c", "d", "e"), in_doubt(4), in_doubt(1), pull(2, "b", run=1),
        pull(6, run=2)],
    "less than promised is gone": [push(1, "a", level=A), push(1, "b", run=2),
                                   pull(1, "b", run=2)],
    "less than promised comes again": [push(1, "a"), pull(1, "a", level=A),
                                       pull(1, "a", run=2)],
    "a purge": [push(1, "a", "b"), Removal("q", 1, 3, W), push(3, "c"), pull(3, "c", run=2)],
    "a purge in doubt": [push(1, "a", "b"), Removal("q", 1, 3)],
    "a purge in doubt that was none": [push(1, "a"), Removal("q", 1, 2), pull(1, "a", run=2)],
    "several producers": [push(1, "a", by="x"), push(2, "b", by="y"), push(3, "c", by="x"),
                          pull(1, "a", "b", by="u"), pull(3, "c", by="v")],
}  # fmt: skip

PLANTED = {
    "lost": [
        [push(1, "a")],
        [push(1, "a"), pull(1, level=None)._replace(most=0)],
        [push(1, "a", "b", "c"), pull(2, "b", "c", run=2)],
        [push(1, "a", "b", "c", "d"), in_doubt(2), pull(4, "d", run=2)],
        # What a pull takes lies in a row.
        [push(1, "a", "b", "c"), in_doubt(2), pull(2, "b", run=2)],
        # A pull of the third run has not taken what was before the first in the second.
        [push(1, "a", "b", "c"), pull(2, "b", run=2), in_doubt(9, run=3), pull(3, "c", run=3)],
        # One of the first run has not taken what lies behind what the second has taken.
        [push(1, "a", "b"), in_doubt(9), pull(1, "a", run=2)],
        # Of a push, either all or nothing.
        [push(0, "a", "b", level=None), pull(1, "a", run=2)],
        [push(1, "a"), push(2, "b"), Removal("q", 1, 2), pull(3, run=2)],
        [push(1, "a", "b"), pull(1, "a", level=A, run=1)],
    ],
    "duplicated": [
        [push(1, "a"), pull(1, "a"), pull(1, "a", run=2)],
        [push(1, "a"), pull(1, "a", level=A), pull(1, "a", level=A, by="d")],
    ],
    "invented": [
        [pull(1, "a")],
        [push(1, "a")._replace(queue="other"), pull(1, "a")],
        [Push("q", "p", ("a",), 1, is_refused=True), pull(1, "a")],
        [push(1, "a", "b"), pull(1, "a", "b", most=1)],
        [push(1, "a"), pull(1, "a")._replace(ids=(1, 2))],
    ],
    "moved": [
        [push(1, "a"), pull(2, "a")],
        [push(0, "a", "b", level=None), pull(1, "b", "a", run=2)],
        [push(1, "a"), pull(1, "a", level=A), pull(2, "a", run=2)],
    ],
    "id reused": [
        [push(1, "a"), push(1, "b", run=2), pull(1, "a"), pull(1, "b", run=2)],
        [push(1, "a", level=A), push(1, "b", level=A, by="y")],
        [push(1, "a"), pull(1, "a"), push(1, "b", run=2, level=A, by="y")],
        # It was pulled with a promise, so it was pushed with one.
        [push(1, "a", level=A), pull(1, "a"), push(1, "b", run=2, by="y"), pull(1, "b", run=2)],
    ],
    "reordered": [
        [push(2, "a"), push(1, "b"), pull(1, "b", "a")],
        [push(2, "a"), push(1, "b", run=2), pull(1, "b", "a", run=2)],
        [push(1, "a", "b"), pull(2, "b"), pull(1, "a")],
        [push(1, "a", "b"), Pull("q", "c", 9, 1, W, (2, 1), ("b", "a"))],
        [push(0, "a", level=None), push(0, "b", level=None), pull(1, "b", "a", run=2)],
    ],
    "came back": [[push(1, "a"), Removal("q", 1, 2, W), pull(1, "a", run=2)]],
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_sound_histories(name: str) -> None:
    assert judge(SOUND[name], W).violations == []


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, number) for kind in PLANTED for number in range(len(PLANTED[kind]))]
)
def test_planted_violations(kind: str, number: int) -> None:
    assert kind in kinds(*PLANTED[kind][number])


def test_what_is_promised_depends_on_what_has_happened() -> None:
    history = [push(1, "a", level=W), push(2, "b", level=S)]
    assert kinds(*history, promised=S) == kinds(*history, promised=W) == {"lost"}
    assert kinds(push(1, "a", level=W), promised=S) == set()
    twice = [push(1, "a", level=S), pull(1, "a", level=W), pull(1, "a", run=2, level=S)]
    assert kinds(*twice, promised=S) == set()
    assert kinds(*twice, promised=W) == {"duplicated"}


def test_figures() -> None:
    verdict = judge(
        [push(1, "a", "b"), push(0, "c", level=None), in_doubt(1), pull(2, "b", "c", level=A),
         pull(2, "b", run=2)],
        W,
    )  # fmt: skip
    assert verdict.violations == []
    assert verdict.counts == {
        "acknowledged": 2, "in_doubt": 1, "recovered": 1, "taken": 1, "delivered": 3, "returned": 1,
    }  # fmt: skip


def test_a_body_that_is_pushed_twice_is_no_history() -> None:
    with pytest.raises(ValueError, match="pushed twice"):
        judge([push(1, "a"), push(2, "a")], W)


class Simulation:
    """A server as it should be, with clients that lose replies."""

    def __init__(self, chooser: random.Random) -> None:
        self.chooser = chooser
        self.history: list[Event] = []
        self.ready: deque[tuple[int, str]] = deque()
        self.next_id = 1
        self.run = 1
        self.bodies = 0
        self.unpromised: list[Callable[[], None]] = []

    def step(self) -> None:
        level = self.chooser.choice((A, W, S))
        reply = level if self.chooser.random() < 0.8 else None
        by = self.chooser.choice("xy")
        if reply is None:
            by += str(len(self.history))  # one that gets no reply is not heard of again
        before = (list(self.ready), self.next_id)
        if self.chooser.random() < 0.5:
            self._push(by, reply)
        else:
            self._pull(by, reply)
        if level is A:
            self.unpromised.append(lambda: self._undo(*before))
        else:
            self.unpromised.clear()
        if reply is None and self.chooser.random() < 0.5:
            self.crash()

    def _push(self, by: str, reply: Level | None) -> None:
        bodies = tuple(str(self.bodies + n) for n in range(self.chooser.randint(1, 3)))
        self.bodies += len(bodies)
        first_id = self.next_id if reply is not None else 0
        self.history.append(Push("q", by, bodies, self.run, reply, first_id))
        for body in bodies:
            self.ready.append((self.next_id, body))
            self.next_id += 1

    def _pull(self, by: str, reply: Level | None) -> None:
        most = self.chooser.randint(1, 4)
        taken = [self.ready.popleft() for _ in range(min(most, len(self.ready)))]
        if reply is None:
            self.history.append(Pull("q", by, most, self.run))
            return
        ids, bodies = zip(*taken, strict=True) if taken else ((), ())
        self.history.append(Pull("q", by, most, self.run, reply, ids, bodies))

    def _undo(self, ready: list[tuple[int, str]], next_id: int) -> None:
        self.ready = deque(ready)
        self.next_id = next_id

    def crash(self) -> None:
        """Forget some of what was never promised, the latest first."""
        for _ in range(self.chooser.randint(0, len(self.unpromised))):
            self.unpromised.pop()()
        self.unpromised.clear()
        self.run += 1

    def drain(self) -> list[Event]:
        self.crash()
        while self.ready:
            self._pull("drain", S)
        return self.history


@given(st.integers(0, 2**32), st.integers(0, 60))
def test_a_server_as_it_should_be_is_never_accused(seed: int, steps: int) -> None:
    simulation = Simulation(random.Random(seed))
    for _ in range(steps):
        simulation.step()
    assert judge(simulation.drain(), W).violations == []


@given(st.integers(0, 2**32), st.sampled_from(["lose", "twice", "swap", "move"]))
def test_a_server_that_goes_wrong_once_is_found_out(seed: int, fault: str) -> None:
    chooser = random.Random(seed)
    simulation = Simulation(chooser)
    for _ in range(40):
        simulation.step()
    simulation.crash()
    for number in range(3):
        simulation._push(f"last{number}", S)
    ready = simulation.ready
    if fault == "lose":
        # Not the oldest: that one may be what a pull in doubt has taken.
        del ready[-chooser.randint(1, min(3, len(ready) - 1))]
    elif fault == "twice":
        ready.append(ready[-chooser.randint(1, len(ready))])
    elif fault == "swap":
        ready[-1], ready[-2] = (ready[-1][0], ready[-2][1]), (ready[-2][0], ready[-1][1])
    else:
        ready[-1] = (ready[-1][0] + 1, ready[-1][1])
    assert judge(simulation.drain(), W).violations
