"""How a run ends early: in order, with nothing left behind.

A signal ends the block of `orderly_end` with `Interrupted`. What starts a process, or makes a
directory, does so inside `whole`: there a signal waits until somebody knows what was started,
and so can end it.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody wants the run to end; not an `Exception`, so that nothing takes it for a failure."""


class _State:
    """How deep in `whole` the main thread is, and the signal that waits."""

    def __init__(self) -> None:
        self.depth = 0
        self.waiting: str | None = None

    def end(self) -> None:
        """Raise what has waited, unless it has to wait on."""
        if self.waiting is not None and self.depth == 0:
            name, self.waiting = self.waiting, None
            raise Interrupted(name)


_STATE = _State()


@contextmanager
def whole() -> Iterator[None]:
    """Let a signal wait until the block is left."""
    _STATE.depth += 1
    try:
        yield
    finally:
        _STATE.depth -= 1
        _STATE.end()


@contextmanager
def orderly_end() -> Iterator[None]:
    """See to it that a signal ends the block with `Interrupted`, once, with time to clean up.

    Further signals are ignored from then on: what was started is being stopped.
    """

    def end(number: int, _: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        _STATE.waiting = signal.Signals(number).name
        _STATE.end()

    before = {each: signal.getsignal(each) for each in SIGNALS}
    for each in SIGNALS:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
