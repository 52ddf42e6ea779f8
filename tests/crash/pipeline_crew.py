"""The processes of a pipeline, life by life: started, struck, put to sleep, buried, heard."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from crash.pipeline_actor import CONNECTING, MOMENTS, PUSHING, Task
from crash.pipeline_worker import ENDS, STAGES, live
from crash.reports import Violation

if TYPE_CHECKING:
    from pathlib import Path

WORKERS_PER_STAGE = 3
GRACE_SECONDS = 0.3
OVERSLEEP_SECONDS = 0.5
"""How long after the end of its lease and of its grace a sleeper is woken."""

TICK_SECONDS = 0.005
_QUIET_SECONDS = 60.0
_STRIKES_SECONDS = (0.1, 0.5)
"""How long from one worker that is struck from outside to the next."""


class Sleep(NamedTuple):
    """A process that was stopped."""

    until: float
    is_late: bool
    """Whether it is to wake up after its lease, also where a restart has prolonged that."""


class Crew:
    """The processes of a pipeline: one producer and some workers, each life by life.

    Args:
        place: of the server's address and socket.
        options: as of `work`.
    """

    def __init__(self, place: Path, options: dict[str, Any]) -> None:
        self.counts: Counter[str] = Counter()
        self.done: dict[str, int] = {}
        """For each STEP that a worker knows to be done how many messages it has pushed."""
        self.refused: set[str] = set()
        """STEPs of which workers know that they were not done."""
        self.served_at = 0.0
        """When the server was started last."""
        self._place = place
        self._options = options
        self._chooser = random.Random(f"{options['seed']}.crew")
        self._report, self._report_end = os.pipe()
        os.set_blocking(self._report, False)
        self._unread = b""
        self._lives = 0
        self._produced = 0
        self._tasks: dict[int, Task] = {}  # by process id
        self._slots: dict[int, int] = {}  # process ids, by place in the crew; 0 the producer
        self._instances: dict[int, str] = {}
        self._asleep: dict[int, Sleep] = {}
        self._last_words: dict[str, str] = {}
        self._moments: list[str] = []
        self._strike_at = 0.0

    @property
    def is_all_produced(self) -> bool:
        """Whether the server has all inputs."""
        return self._produced >= self._options["jobs_count"]

    def take_counts(self) -> Counter[str]:
        """Return what was counted since this was asked last."""
        counts, self.counts = self.counts, Counter()
        return counts

    def tick(self) -> None:
        """Look after everybody, and strike one of them now and then."""
        self.listen(TICK_SECONDS)
        self._bury()
        self._wake()
        for slot in range(1 + WORKERS_PER_STAGE * len(STAGES)):
            if slot not in self._slots and (slot or not self.is_all_produced):
                self._start(slot)
        now = time.monotonic()
        if now > self._strike_at:
            self._strike_at = now + self._chooser.uniform(*_STRIKES_SECONDS)
            self._strike()

    def _start(self, slot: int) -> None:
        self._lives += 1
        name = f"w{slot}.{self._lives}"
        instance = self._instances.get(slot, "")
        if not instance or self._chooser.random() < 0.7:
            instance = name  # else somebody has started it again under its old name
        self._instances[slot] = instance
        moment = self._chooser.choice(PUSHING) if slot == 0 else self._next_moment()
        most = self._options["passes_most"]
        if moment in CONNECTING:
            most = max(1, most // 8)
        task = Task(
            place=str(self._place),
            name=name,
            instance=instance,
            seed=f"{self._options['seed']}.{name}",
            stage=self._produced if slot == 0 else slot % len(STAGES),
            moment=moment,
            passes=self._chooser.randint(1, most),
            most=self._options["jobs_count"] if slot == 0 else self._options["pull_most"],
            is_control=self._options["is_control"],
        )
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # until it knows what to do then
        process = os.fork()
        if not process:
            _be(task, self._report_end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        self._slots[slot] = process
        self._tasks[process] = task

    def _next_moment(self) -> str:
        """Return each moment as often as the others, in no order."""
        if not self._moments:
            self._moments = list(MOMENTS)
            self._chooser.shuffle(self._moments)
        return self._moments.pop()

    def _strike(self) -> None:
        """Kill somebody, or put somebody to sleep."""
        awake = [process for process in self._tasks if process not in self._asleep]
        if not awake:
            return
        process = self._chooser.choice(awake)
        if self._chooser.random() < 0.8:
            os.kill(process, signal.SIGKILL)
        else:
            seconds = self._chooser.uniform(0.3, 4.0)
            os.kill(process, signal.SIGSTOP)
            self._asleep[process] = Sleep(time.monotonic() + seconds, is_late=False)
            self.counts["sleeps.any_moment"] += 1

    def listen(self, seconds: float) -> None:
        """Hear what they tell, for so long at most if they tell nothing."""
        select.select([self._report], [], [], seconds)
        while True:
            try:
                data = os.read(self._report, 1 << 16)
            except BlockingIOError:
                return
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                self._hear(*line.decode().split())

    def wait_for_step(self, seconds: float) -> None:
        """Wait until somebody tells that a STEP is done, for so long at most."""
        known = len(self.done)
        until = time.monotonic() + seconds
        while len(self.done) == known and (left := until - time.monotonic()) > 0:
            self.listen(left)

    def _hear(self, name: str, what: str, *words: str) -> None:
        if what == "done":
            self.done[words[0]] = int(words[1])
            self.counts["steps"] += 1
            self.counts["steps.repeated"] += words[2] == "again"
        elif what == "refused":
            key, why = words
            if why != "over":
                raise Violation(f"the lease of {key} is said to be {why}")
            self.refused.add(key)
            self.counts["leases.lost"] += 1
        elif what == "pushed":
            self._produced = int(words[0])
        elif what == "dies":
            self._last_words[name] = words[0]
        elif what == "freezes":
            process = next(each for each, task in self._tasks.items() if task.name == name)
            until = time.monotonic() + float(words[0]) + OVERSLEEP_SECONDS
            self._asleep[process] = Sleep(until, is_late=True)
            self.counts["sleeps.leased"] += 1
        else:
            self.counts[words[0]] += 1

    def _bury(self) -> None:
        for slot, process in list(self._slots.items()):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                self.listen(0)
                del self._slots[slot]
                self._asleep.pop(process, None)
                self._count_end(self._tasks.pop(process), status)

    def _count_end(self, task: Task, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL:
            self.counts["deaths"] += 1
            self.counts[f"deaths.{self._last_words.pop(task.name, 'any_moment')}"] += 1
        elif code:
            failure = self._place / f"failure.{task.name}"
            text = failure.read_text() if failure.exists() else ""
            raise Violation(f"{task.name} has ended with {code}: {text}")

    def _wake(self) -> None:
        now = time.monotonic()
        for process, sleep in list(self._asleep.items()):
            restart = self.served_at + GRACE_SECONDS + OVERSLEEP_SECONDS if sleep.is_late else 0
            if now > max(sleep.until, restart):
                del self._asleep[process]
                os.kill(process, signal.SIGCONT)

    def end(self, *, is_by_force: bool) -> None:
        """Have everybody end; what they hold then goes back by itself.

        Raises:
            Violation: somebody does not.
        """
        deadline = time.monotonic() + _QUIET_SECONDS
        for process in self._tasks:
            os.kill(process, signal.SIGKILL if is_by_force else signal.SIGTERM)
            os.kill(process, signal.SIGCONT)
        while self._tasks and not is_by_force:
            self.listen(TICK_SECONDS)
            self._bury()
            if time.monotonic() > deadline:
                raise Violation("a worker does not end")
        for process in self._slots.values():
            os.waitpid(process, 0)
        self._slots.clear()
        self._tasks.clear()

    def close(self) -> None:
        """Kill everybody."""
        self.end(is_by_force=True)
        os.close(self._report)
        os.close(self._report_end)


def _be(task: Task, report: int) -> NoReturn:
    """Be a new process, with nothing of the old one's but the report."""
    code = 1
    with contextlib.suppress(BaseException):
        nothing = os.open(os.devnull, os.O_RDWR)
        for handle in range(3):
            os.dup2(nothing, handle)
        os.closerange(3, report)
        os.closerange(report + 1, 1024)
        code = live(task, report)
    os._exit(code)
