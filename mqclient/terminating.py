"""What SIGTERM does to a process that consumes. Floor 1.

A batch system that wants its node back sends SIGTERM and, half a minute later, SIGKILL. So a
consumer takes the signal, where nobody else has: the client drains, and the job under way is
interrupted and handed back, so that it spends no attempt and starts elsewhere at once.

The signal is taken when the first consumer begins that wants it, in the main thread, and only
from the system's default; it stays taken, and does what the default does where no consumer is
left. What it is not: the end of the process. The loop ends, and the program goes on.
"""

from __future__ import annotations

import _thread
import asyncio
import math
import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from mqclient.consuming import AsyncConsumer, Consumer
    from mqclient.jobs import Job

_consumers: WeakSet[Consumer] = WeakSet()
_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[AsyncConsumer]] = WeakKeyDictionary()


_FIRST_PAUSE_SECONDS: Final = 0.005
_LONGEST_PAUSE_SECONDS: Final = 0.25
_OWN_SECONDS: Final = 0.25
"""After the last signal of our own, none is taken for one of somebody else's for so long."""


def on_process(consumer: Consumer) -> None:
    """Take SIGTERM for a consumer of a blocking client, if that can be done from here."""
    if threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGTERM)
    if handler is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _take)
    elif handler is not _take:
        return
    _consumers.add(consumer)


def interrupt_in_block(job: Job) -> None:
    """Interrupt a job whose block is being entered just now, as soon as it has been.

    Nothing can be raised while it is entered: the block's end would not see it. So the main
    thread is sent the signal once more, from another thread, until the block has been
    interrupted or has ended. More than once, since one that comes just before the main thread
    begins to wait for something does not wake it.
    """
    _thread.start_new_thread(_signal_in_block, (job,))


def _signal_in_block(job: Job) -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    pause, taken = _FIRST_PAUSE_SECONDS, -1
    while _own.taken == taken or job.is_to_be_interrupted:
        if signal.getsignal(signal.SIGTERM) is not _take:
            break
        taken = _own.taken
        _own.job, _own.sent_at = job, time.monotonic()
        signal.pthread_kill(main_thread, signal.SIGTERM)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
    _own.job = None


class _Own:
    """The signals that this process sends to itself: they end nothing."""

    def __init__(self) -> None:
        self.job: Job | None = None
        """For whom; None while there are none."""
        self.taken = 0
        """How many have been taken."""
        self.sent_at = -math.inf
        """When the last one was sent."""

    def is_one(self) -> bool:
        """Tell whether a signal is one of these. Two in a row may come as one."""
        return self.job is not None or time.monotonic() - self.sent_at < _OWN_SECONDS


_own = _Own()


def _take(number: int, frame: Any) -> None:
    """Drain all clients that consume, and interrupt the job of the main thread."""
    if _own.is_one():
        job = _own.job
        _own.taken += 1
        if job is not None and job.is_to_be_interrupted:
            job.interrupt(frame)
        return
    consumers = [each for each in _consumers if not each.is_over]
    if not consumers:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    for consumer in consumers:
        consumer.client.drain()
    for consumer in consumers:
        if consumer.current is not None:
            consumer.current.interrupt(frame)


def on_loop(consumer: AsyncConsumer) -> None:
    """Take SIGTERM for a consumer of an AsyncClient, if that can be done from here."""
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        return
    with suppress(NotImplementedError, RuntimeError, ValueError):
        if loop not in _loops:  # else it is taken, though all consumers since may be gone
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                return
            loop.add_signal_handler(signal.SIGTERM, _take_on_loop, loop)
            _loops[loop] = WeakSet()
        _loops[loop].add(consumer)


def leave_loop(consumer: AsyncConsumer) -> None:
    """Give SIGTERM back, with the last consumer of the loop."""
    loop = asyncio.get_running_loop()
    watched = _loops.get(loop)
    if watched is None or consumer not in watched:
        return
    watched.discard(consumer)
    if not watched:
        del _loops[loop]
        loop.remove_signal_handler(signal.SIGTERM)


def _take_on_loop(loop: asyncio.AbstractEventLoop) -> None:
    consumers = [each for each in _loops.get(loop, ()) if not each.is_over]
    if not consumers:
        _loops.pop(loop, None)
        loop.remove_signal_handler(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    for consumer in consumers:
        consumer.client.drain()
        if consumer.current is not None:
            consumer.current.interrupt()
