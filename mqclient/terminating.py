"""What SIGTERM does to a process that consumes. Floor 1.

A batch system that wants its node back sends SIGTERM and, half a minute later, SIGKILL. So a
consumer takes the signal, where nobody else has: the client drains, and the job under way is
interrupted and handed back, so that it spends no attempt and starts elsewhere at once.

The signal is taken when the first consumer begins that wants it, in the main thread, and only
from the system's default; it stays taken, and does what the default does where no consumer is
left. What it is not: the end of the process. The loop ends, and the program goes on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from mqclient.consuming import AsyncConsumer, Consumer

_consumers: WeakSet[Consumer] = WeakSet()
_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[AsyncConsumer]] = WeakKeyDictionary()


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


def _take(number: int, frame: Any) -> None:
    """Drain all clients that consume, and interrupt the job of the main thread."""
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
