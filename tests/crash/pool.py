"""Work in several processes, counted: what `scripts/crash` and the tests share.

Each process is a `crash.worker`, in a session of its own, so that Ctrl-C stops the work
in good order and what was counted until then is still told.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TESTS = Path(__file__).resolve().parents[1]
STOP_SECONDS = 20.0
TICK_SECONDS = 0.5


def cores() -> int:
    """Tell how many processes make sense."""
    return len(os.sched_getaffinity(0))


@dataclass
class Result:
    """What came of it."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    is_interrupted: bool = False
    """Stopped before everything was done, by Ctrl-C or by time."""
    notes: list[str] = field(default_factory=list)
    """Further sentences."""

    def add(self, other: Result) -> None:
        """Take what came of more of the same."""
        self.counts.update(other.counts)
        self.seconds += other.seconds
        self.failures += other.failures
        self.is_interrupted |= other.is_interrupted
        self.notes += other.notes

    def as_json(self) -> dict[str, Any]:
        return {
            "counts": dict(sorted(self.counts.items())),
            "seconds": round(self.seconds, 1),
            "failures": self.failures,
            "notes": self.notes,
            "is_complete": not self.is_interrupted and not self.failures,
        }


def _path() -> str:
    """Return where workers look for modules: where this process does first, if it was told to."""
    told = os.environ.get("PYTHONPATH")
    return os.pathsep.join([*([told] if told else ()), str(TESTS), str(TESTS.parent)])


class _Worker:
    def __init__(self, part: str, options: Mapping[str, Any], prefix: Sequence[str]) -> None:
        self._unread = b""
        self.end: str | None = None
        self.text = ""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the worker
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "crash.worker", part, json.dumps(dict(options))],
            cwd=TESTS.parent,
            env={**os.environ, "PYTHONPATH": _path()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )

    def read(self, counts: Counter[str]) -> bool:
        """Take what it says. False at its end."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 65536)
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "end" in said:
                self.end, self.text = said["end"], said.get("text", "")
            else:
                counts.update(said)
        return bool(data)

    def failure(self) -> str | None:
        """Say how it has failed, once it has ended by itself."""
        self._wait_for_end()
        status = self._reap()
        if self.end == "done":
            return None
        if self.end == "failed":
            return self.text
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace")
        return f"a worker has died with status {status}: {text[-2000:]}"

    def _wait_for_end(self, seconds: float | None = None) -> bool:
        """Wait until it has ended, without taking note of that: its id stays its own."""
        handle = os.pidfd_open(self.process.pid)
        try:
            return bool(select.select([handle], [], [], seconds)[0])
        finally:
            os.close(handle)

    def _reap(self) -> int:
        """End whatever it has left behind, and then itself: after that the id is anybody's."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()

    def stop(self) -> None:
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGTERM)
            if not self._wait_for_end(STOP_SECONDS):
                os.kill(self.process.pid, signal.SIGKILL)
                self._wait_for_end()
            self._reap()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._stderr.close()


def run(
    part: str,
    each: Sequence[Mapping[str, Any]],
    *,
    prefix: Sequence[str] = (),
    seconds: float = float("inf"),
    on_tick: Callable[[Result], None] = lambda _result: None,
) -> Result:
    """Have work done by one process for each of the options.

    Args:
        part: one of `crash.worker.PARTS`.
        each: the options of each process.
        prefix: a command to run each under.
        seconds: stop after this time at the latest; the result is then an interrupted one.
        on_tick: called now and then with what there is so far.

    Returns:
        What was counted until all were done, one failed, or somebody pressed Ctrl-C.
    """
    result = Result()
    started = time.monotonic()
    workers: list[_Worker] = []
    with _ctrl_c() as is_interrupted:
        try:
            workers += (_Worker(part, options, prefix) for options in each)
            _gather(workers, result, started, seconds, on_tick, is_interrupted)
        finally:
            for worker in workers:
                worker.stop()
            result.seconds = time.monotonic() - started
    return result


@contextlib.contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Take note of Ctrl-C, which would otherwise strike anywhere."""
    pressed: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _gather(
    workers: list[_Worker],
    result: Result,
    started: float,
    seconds: float,
    on_tick: Callable[[Result], None],
    is_interrupted: Callable[[], bool],
) -> None:
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        while selector.get_map():
            for key, _ in selector.select(TICK_SECONDS):
                worker = key.data
                if worker.read(result.counts):
                    continue
                selector.unregister(key.fileobj)
                failure = worker.failure()
                if failure is not None:
                    result.failures.append(failure)
                    return
            result.seconds = time.monotonic() - started
            on_tick(result)
            if result.seconds > seconds or is_interrupted():
                result.is_interrupted = True
                return
