"""A worker whose jobs are runs of a command: takes them, runs them, settles them. Floor 4.

Theory of operation. Each *slot* is a thread with a loop: take one job, run the command, settle
the job by how it ended. The client extends the leases meanwhile. The main thread waits for
what the slots and the signals tell it, through one queue, and alone decides when it ends:

    WORKING   -- SIGTERM, SIGHUP, an error -->  DRAINING  no more jobs; commands go on
    DRAINING  -- its time is up, a signal -->   ENDING    SIGTERM to the commands
    ENDING    -- its time is up, a signal -->   KILLING   SIGKILL to the commands

Ctrl-C leads to ENDING at once. A job whose command was made to end is handed back, and spends
no attempt. What it is not: options and sentences (`mqclient.ctl.work`).
"""

from __future__ import annotations

import errno
import math
import os
import queue
import signal
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from mqclient.ctl import bodies, exits
from mqclient.ctl.bodies import Style
from mqclient.ctl.exits import Failure
from mqclient.ctl.running import Run, how_it_ended
from mqclient.errors import (
    BodyTooLarge,
    ConnectionLost,
    LeaseLost,
    NotLeased,
    RequestTimeout,
    TransportError,
)
from mqwire.json_text import to_json
from mqwire.limits import HARD_MAX_FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqclient.client import Client
    from mqclient.jobs import Job

WORKING: Final = 0
DRAINING: Final = 1
ENDING: Final = 2
KILLING: Final = 3

KILL_AFTER_SECONDS: Final = 5.0
"""What a command that is told to end has left to do so."""
_LOOK_SECONDS: Final = 0.5
"""How often a slot looks whether its job is still its own."""
_BUSY_WAIT_SECONDS: Final = 1.0
"""How long a slot waits at least while others work: their jobs may come back."""
_SIGNAL_SECONDS: Final = 1.0
"""A batch system sends SIGTERM to the command and to us; so far apart it may arrive."""
_LISTEN_SECONDS: Final = 0.5
"""A signal that comes just before the main thread begins to wait does not wake it."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

PLACE: Final = "{}"
"""What stands for the body in the arguments of a command."""


@dataclass(frozen=True)
class Plan:
    """How a worker works.

    Args:
        queue: where the jobs come from.
        command: program and arguments; PLACE in them stands for the body.
        lease: seconds of a lease, which is extended as long as the command runs.
        slots: how many commands run at a time.
        count: how many jobs are begun; None for no bound.
        wait: seconds without a job after which it ends; None for never.
        drain: seconds that commands may go on after SIGTERM.
        reject_codes: exit codes that mean: never try again.
        is_raw: whether a body that is a JSON string is given as it is, with its quotes.
        stdout: where the commands' standard output goes; None for this program's.
        results: the queue to which it is pushed as the job's result; None for none.
    """

    queue: str
    command: tuple[str, ...]
    lease: float
    slots: int = 1
    count: int | None = None
    wait: float | None = None
    drain: float = 0.0
    reject_codes: tuple[int, ...] = ()
    is_raw: bool = False
    stdout: int | None = None
    results: str | None = None


class Outcome(NamedTuple):
    """What became of a job.

    Args:
        id: the message's number.
        result: `done`, `failed`, `rejected`, `handed back`, `lost` (somebody else has it by
            now), `cancelled` or `in doubt` (the server could not be reached).
        exit_code: the command's, negative for the signal that ended it; None if it did not
            start.
        seconds: how long it took.
        reason: why, where it is not done.
    """

    id: int
    result: str
    exit_code: int | None
    seconds: float
    reason: str


class _SlotEnd(NamedTuple):
    """A slot has ended, with or without an error."""

    error: BaseException | None


class _Signal(NamedTuple):
    """A signal has come."""

    number: int


class Worker:
    """Runs a plan to its end.

    Args:
        client: a connected client.
        plan: the plan.
        tell: told of each job's outcome, in the main thread.
        note: told in a sentence what happens beside that, in the main thread.
    """

    def __init__(
        self,
        client: Client,
        plan: Plan,
        tell: Callable[[Outcome], object],
        note: Callable[[str], object],
    ) -> None:
        self.was_interrupted = False
        """Whether Ctrl-C has come."""
        self.was_drained = False
        """Whether a signal has ended it."""
        self._client = client
        self._plan = plan
        self._tell = tell
        self._note = note
        self._inbox: queue.SimpleQueue[Outcome | _SlotEnd | _Signal] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy = 0
        self._runs: set[Run] = set()
        self._left = plan.count
        self._stage = WORKING
        self._ends_at: float | None = None
        self._signalled = threading.Event()
        self._error: BaseException | None = None
        self._is_left = False

    def run(self) -> None:
        """Work until there is an end; to be called in the main thread.

        Raises:
            MqError, Failure, OSError: it could not go on; all commands have ended.
        """
        with self._listening():
            open_slots = self._plan.slots
            for number in range(open_slots):
                threading.Thread(target=self._slot, name=f"slot-{number}", daemon=True).start()
            while open_slots and not self._is_left:
                event = self._next_event()
                if isinstance(event, _SlotEnd):
                    open_slots -= 1
                if event is not None:
                    self._handle(event)
        if self._error is not None:
            raise self._error

    # In the main thread

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Have signals put into the inbox."""

        def take(number: int, _frame: Any) -> None:
            self._inbox.put(_Signal(number))  # may be called at any time, also inside itself

        before = {number: signal.signal(number, take) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _next_event(self) -> Outcome | _SlotEnd | _Signal | None:
        """Wait for an event, or go on to the next stage if the time of this one is up."""
        left = math.inf if self._ends_at is None else self._ends_at - time.monotonic()
        if left <= 0:
            self._advance(self._stage + 1)
            return None
        with suppress(queue.Empty):
            return self._inbox.get(timeout=min(left, _LISTEN_SECONDS))
        return None

    def _handle(self, event: Outcome | _SlotEnd | _Signal) -> None:
        if isinstance(event, _Signal):
            self._take_signal(event.number)
        elif isinstance(event, Outcome):
            try:
                self._tell(event)
            except Exception as error:  # noqa: BLE001  raised again at the end
                self._give_up(error)
        elif event.error is not None:
            self._give_up(event.error)

    def _give_up(self, error: BaseException) -> None:
        """Take no more jobs, let commands end, and raise the first error then."""
        self._error = self._error or error
        if self._stage == WORKING:
            self._advance(DRAINING)
            self._ends_at = None
            if self._is_anybody_busy():
                self._say(f"no more jobs are taken, and what runs goes on to its end: {error}")

    def _take_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        self._signalled.set()
        self.was_drained = True
        if self._stage == KILLING:
            # The server does not answer, and the user does not want to wait for it: what the
            # slots hold is handed back by the process that keeps the leases.
            self._is_left = True
            return
        if number == signal.SIGINT:
            self.was_interrupted = True
            self._advance(max(ENDING, self._stage + 1))
            return
        self._advance(self._stage + 1)
        if self._stage == DRAINING and self._is_anybody_busy():
            self._say(
                f"{name}: no more jobs are taken; what runs has {self._plan.drain:g} s to end"
            )

    def _say(self, text: str) -> None:
        # The terminal may be gone: that is what SIGHUP means.
        with suppress(OSError):
            self._note(text)

    def _advance(self, stage: int) -> None:
        """Go on to a stage; there is no way back."""
        with self._lock:
            self._stage = stage = min(stage, KILLING)
            runs = list(self._runs)
        self._client.drain()
        seconds = {DRAINING: self._plan.drain, ENDING: KILL_AFTER_SECONDS}.get(stage)
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        for run in runs:
            self._press(run, stage)

    @staticmethod
    def _press(run: Run, stage: int) -> None:
        if stage >= ENDING:
            run.send(signal.SIGKILL if stage == KILLING else signal.SIGTERM)

    # In the slots

    def _slot(self) -> None:
        error = None
        try:
            while self._take_ticket():
                if not self._next_job():
                    break
        except BaseException as caught:  # noqa: BLE001  the main thread raises it again
            error = caught
        self._inbox.put(_SlotEnd(error))

    def _take_ticket(self) -> bool:
        """Tell whether one more job may be begun, and count it."""
        with self._lock:
            if self._stage != WORKING or self._left == 0:
                return False
            if self._left is not None:
                self._left -= 1
            return True

    def _next_job(self) -> bool:
        """Take a job, run it and settle it; False when there is none."""
        plan = self._plan
        wait = plan.wait
        while True:
            with self._client.consume(
                plan.queue, lease=plan.lease, wait=wait, handle_signals=False
            ) as jobs:
                job = next(jobs, None)
                if job is not None:
                    self._inbox.put(self._busy_with(job))
                    return True
            if self._client.is_draining or not self._is_anybody_busy():
                return False
            wait = max(plan.wait or 0.0, _BUSY_WAIT_SECONDS)

    def _is_anybody_busy(self) -> bool:
        with self._lock:
            return bool(self._busy)

    def _busy_with(self, job: Job) -> Outcome:
        with self._lock:
            self._busy += 1
        try:
            return self._work_on(job)
        finally:
            with self._lock:
                self._busy -= 1

    def _work_on(self, job: Job) -> Outcome:
        began_at = time.monotonic()
        with nullcontext() if self._plan.results is None else tempfile.TemporaryFile() as kept:
            try:
                run = self._start(job, kept)
            except (OSError, ValueError) as error:
                return self._refuse(job, error)
            try:
                self._see_through(run, job)
            finally:
                with self._lock:
                    self._runs.discard(run)
            result, reason = self._settle(run, job, kept)
        return Outcome(job.id, result, run.exit_code, time.monotonic() - began_at, reason)

    def _start(self, job: Job, kept: IO[bytes] | None) -> Run:
        plan = self._plan
        data, text = _input(job.message.raw, is_raw=plan.is_raw)
        takes_argument = any(PLACE in argument for argument in plan.command)
        command = [argument.replace(PLACE, text) for argument in plan.command]
        environment = {**os.environ, **_variables(job)}
        stdout = plan.stdout if kept is None else kept
        run = Run(command, None if takes_argument else data, environment, stdout)
        with self._lock:
            self._runs.add(run)
            stage = self._stage
        self._press(run, stage)
        return run

    def _refuse(self, job: Job, error: OSError | ValueError) -> Outcome:
        """Settle a job whose command has not even started.

        Raises:
            Failure: that was not for the job's own sake: no other one would fare better.
        """
        program = self._plan.command[0]
        if isinstance(error, ValueError) or error.errno == errno.E2BIG:
            reason = f"its body cannot be an argument of a command: {error}"
            job.reject(reason)
            return Outcome(job.id, "rejected", None, 0.0, reason)
        job.hand_back()
        raise Failure(
            f"cannot run {program}: {error}; job {job.id} was handed back", exits.USAGE
        ) from error

    def _see_through(self, run: Run, job: Job) -> None:
        """Wait until it has ended, and end it if the job is somebody else's or nobody's."""
        while not run.wait(_LOOK_SECONDS):
            if job.is_lost or job.is_cancelled:
                run.send(signal.SIGTERM)
                if not run.wait(KILL_AFTER_SECONDS):
                    run.send(signal.SIGKILL)
                    run.wait()
                run.sweep()
                return

    def _settle(  # noqa: PLR0911  each says what became of the job
        self, run: Run, job: Job, kept: IO[bytes] | None
    ) -> tuple[str, str]:
        """Settle a job by how its command ended; return what became of it, and why."""
        reason = "" if run.exit_code == 0 else run.reason()
        try:
            if job.is_lost:
                job.raise_if_lost()
            if run.exit_code == 0:
                return self._finish(job, kept)
            if job.is_cancelled or self._was_stopped(run):
                job.hand_back()
                if job.is_cancelled:
                    return "cancelled", "it was cancelled, and is not tried again"
                return "handed back", "the worker was told to end"
            if run.exit_code in self._plan.reject_codes:
                job.reject(reason)
                return "rejected", reason
            job.fail(reason)
        except (LeaseLost, NotLeased) as error:
            return (
                "lost",
                f"{how_it_ended(run.exit_code)}, but the job is not this worker's: {error}",
            )
        except (TransportError, RequestTimeout) as error:
            why = f"{how_it_ended(run.exit_code)}, but the server was not reached: {error}"
            return ("in doubt" if _is_in_doubt(error) else "lost"), why
        return "failed", reason

    def _finish(self, job: Job, kept: IO[bytes] | None) -> tuple[str, str]:
        """Say that a job is done, and push its result in the same step."""
        if kept is None or self._plan.results is None:
            job.done()
            return "done", ""
        kept.seek(0)
        try:
            job.done(push={self._plan.results: [_result(kept.read(HARD_MAX_FRAME_BYTES))]})
        except BodyTooLarge as error:
            # No other worker would fare better, but its command may be mended.
            reason = f"its output is too large to be a result: {error}"
            job.fail(reason)
            return "failed", reason
        return "done", ""

    def _was_stopped(self, run: Run) -> bool:
        """Tell whether a command ended because it, or the whole allocation, was told to."""
        if self._stage >= ENDING:
            run.sweep()
            return True
        return run.was_told_to_end and self._signalled.wait(_SIGNAL_SECONDS)


def _is_in_doubt(error: TransportError | RequestTimeout) -> bool:
    return isinstance(error, ConnectionLost | RequestTimeout) and error.in_doubt


def _input(raw: Any, *, is_raw: bool) -> tuple[bytes, str]:
    """Return a body as a standard input and as an argument.

    Text gets the line end that shells want of a last line; as an argument it has none.
    """
    if is_raw or isinstance(raw, bytes):
        data = bodies.to_bytes(raw)
        return data, os.fsdecode(data)
    text = bodies.to_text(raw)
    return text.encode("utf-8", "backslashreplace") + b"\n", text


def _result(data: bytes) -> Any:
    """Return what a command wrote as a body: JSON, else text without its line end, else bytes."""
    try:
        return bodies.to_body(data.rstrip(b"\r\n"), Style.JSON)
    except Failure:
        return data


def _variables(job: Job) -> dict[str, str]:
    """Return what a command is told of its job beside the body."""
    return {
        "MQ_JOB_QUEUE": job.queue,
        "MQ_JOB_ID": str(job.id),
        "MQ_JOB_DELIVERIES": str(job.deliveries),
        "MQ_JOB_ATTEMPTS": str(job.attempts),
        "MQ_JOB_HEADERS": to_json(job.headers),
    }
