"""Workers of a pipeline, and its producer: see `crash.pipeline_actor`.

A worker pulls under a lease and makes a STEP of what it has done: the ack of what came, and
the push of what comes of it. A STEP whose reply it never saw is sent again under the same
key, over another connection and to a server that was started again. The producer does the
same with the pushes of the inputs.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from crash.pipeline_actor import PUSHING, RETRY_SECONDS, Actor, Broken, Task, Wrong, results_of
from mqwire.packs import decode_body, join_bodies, split_pack

if TYPE_CHECKING:
    from collections.abc import Sequence

STAGES = ("cut", "bend", "paint")
OUTPUTS = "outputs"
FAILED = "failed"
"""Where dead letters would go: nothing may ever be in it."""

ENDS = (signal.SIGTERM, signal.SIGINT)
"""What has a process end; it ends its present turn first."""

_WAIT_SECONDS = 0.05
_LEASES_SECONDS = (1.0, 1.0, 2.0, 3.0)
_OUTAGE_SECONDS = (0.2, 2.5)
_SHORT_LEASE_SECONDS = 0.3
"""For those that will sleep through it."""

_CHANCES = {
    "freeze": 0.02,  # asleep until the lease is over
    "second_lease": 0.15,  # one more, before the first is settled
    "partly": 0.3,  # a STEP about the first messages of a lease alone
    "nack": 0.04,
    "extend": 0.05,
    "leave": 0.03,  # another connection, for no reason
    "deaf": 0.04,  # the reply to a STEP is not waited for
    "outage": 0.4,  # and no other connection is to be had for a while
    "twice": 0.02,  # a STEP that is sent again at once
}
_WAYS_BACK: tuple[dict[str, Any], ...] = (
    {"delay": 0},
    {"delay": 0.05, "reason": "again, but later"},
    {},
    {"hand_back": True},
    {"lost": True, "reason": "its process has died"},
)


class Producer(Actor):
    """Pushes all jobs, in batches whose sizes and keys anybody after it would choose too."""

    def __init__(self, task: Task, report: int) -> None:
        super().__init__(task, report)
        self._next = task.stage

    def _turn(self) -> None:
        if self._next >= self._task.most:
            self.is_told_to_stop = True
            return
        count = min(random.Random(self._next).randint(1, 16), self._task.most - self._next)
        bodies = [str(self._next + number) for number in range(count)]
        options = {"key": f"jobs-{self._next}", **self._level()}
        self._send("PUSH", STAGES[0], count, join_bodies(bodies), options)
        self._pass("push_sent")
        reply = self._there.read()
        self._pass("push_answered")
        if reply[0] == "OK":
            if len(reply) > 3 and reply[3]:
                self._tell("counts", "pushes.repeated")
            self._next += count
            self._tell("pushed", self._next)
        elif reply[1] == "QUEUE_FULL":
            time.sleep(RETRY_SECONDS)
        else:
            raise Wrong(f"PUSH: {reply}")


@dataclass
class Held:
    """Messages under a lease that are not settled yet."""

    lease: Sequence[int]
    ids: list[int]
    bodies: list[str]
    is_late: bool
    """Whether the lease is over by now, and the server should know."""


@dataclass
class Step:
    """A STEP that was not answered yet."""

    key: str
    parts: list[Any] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    shares: dict[int, tuple[Held, int]] = field(default_factory=dict)
    """By the index of the part that settles: of which lease, and how many of its messages."""
    sends: int = 0
    has_nack: bool = False


class Worker(Actor):
    """Takes from one queue and gives to the next, by STEP."""

    def __init__(self, task: Task, report: int) -> None:
        super().__init__(task, report)
        self._queue = STAGES[task.stage]
        self._next_queue = (*STAGES, OUTPUTS)[task.stage + 1]
        self._held: list[Held] = []
        self._step: Step | None = None
        self._steps = 0

    def _happens(self, what: str) -> bool:
        return self._chooser.random() < _CHANCES[what]

    def _turn(self) -> None:
        if self._happens("leave"):
            raise Broken
        if self._step is None:
            wants_more = len(self._held) < 2 and self._happens("second_lease")
            if not self._held or wants_more:
                self._pull()
                return
            self._step = self._plan()
        self._settle(self._step)

    def _pull(self) -> None:
        will_freeze = self._happens("freeze")
        seconds = _SHORT_LEASE_SECONDS if will_freeze else self._chooser.choice(_LEASES_SECONDS)
        most = self._chooser.randint(1, self._task.most)
        self._send("PULL", self._queue, most, {"wait": _WAIT_SECONDS, "lease": seconds})
        self._pass("pull_sent")
        if self._is_last("reply_torn"):
            with contextlib.suppress(OSError):
                self._there.socket.recv(self._chooser.randint(1, 24))
            self._die("reply_torn")
        ids, packs, *rest = results_of(self._there.read())
        if not ids:
            return
        self._pass("leased")
        _columns, lease = rest
        bodies = [decode_body(piece) for pack in packs for piece in split_pack(pack)]
        held = Held(lease, _expand(ids), bodies, will_freeze)
        self._held.append(held)
        if will_freeze:
            self._freeze(seconds)
        elif self._happens("extend"):
            self._extend(held)

    def _freeze(self, seconds: float) -> None:
        self._tell("freezes", seconds)
        os.kill(os.getpid(), signal.SIGSTOP)

    def _extend(self, held: Held) -> None:
        reply = self._call("EXTEND", held.lease, self._chooser.choice(_LEASES_SECONDS))
        if reply[0] == "ERR" and reply[1] != "LEASE_LOST":
            raise Wrong(f"EXTEND: {reply}")

    def _plan(self) -> Step:
        """Plan how to settle what is held."""
        step = Step(f"{self._task.name}-{self._steps}")
        self._steps += 1
        for held in self._held:
            whole = len(held.ids)
            count = self._chooser.randint(1, whole) if self._happens("partly") else whole
            options: dict[str, Any] = {}
            if count < whole or self._chooser.random() < 0.5:
                options["ids"] = _runs(held.ids[:count])
            wants_nack = self._task.moment == "nack_sent" and self._chooser.random() < 0.5
            if wants_nack or self._happens("nack"):
                step.has_nack = True
                settling = ["NACK", held.lease, {**options, **self._chooser.choice(_WAYS_BACK)}]
                made = [settling]
            else:
                settling = ["ACK", held.lease, options]
                made = [settling, ["PUSH", self._next_queue, count]]
                self._chooser.shuffle(made)
                way = f">{self._queue}:{step.key}"
                step.bodies += [body + way for body in held.bodies[:count]]
            step.shares[len(step.parts) + made.index(settling)] = (held, count)
            step.parts += made
        return step

    def _settle(self, step: Step) -> None:
        """Send the STEP, for the first time or again, and go by the answer."""
        if self._task.is_control:
            self._settle_one_by_one(step)
            return
        options = {"key": step.key, **self._level()}
        request = ("STEP", step.parts, join_bodies(step.bodies), options)
        data = self._there.encode(*request)
        is_twice = self._happens("twice")
        if is_twice:
            data += self._there.encode(*request)
        if self._is_last("frame_cut"):
            self._there.send(data[: self._chooser.randrange(1, len(data))])
            self._die("frame_cut")
        step.sends += 1 + is_twice
        self._there.send(data)
        self._pass("step_sent")
        if step.has_nack:
            self._pass("nack_sent")
        if self._happens("deaf"):
            self._go_deaf()
        reply = self._there.read()
        if is_twice:
            reply = self._later(reply, self._there.read())
        self._pass("step_answered")
        self._take(step, reply)

    def _go_deaf(self) -> NoReturn:
        """Lose the reply; the STEP may have to wait for the next connection."""
        if self._happens("outage"):
            self._tell("counts", "outages")
            self._there.close()
            time.sleep(self._chooser.uniform(*_OUTAGE_SECONDS))
        raise Broken

    def _later(self, first: Any, second: Any) -> Any:
        """Judge two answers to the same STEP, sent twice at once; returns the one that holds."""
        if first[0] != "OK":
            return second
        if second[:2] != first[:2] or len(second) < 4 or second[3] is not True:
            raise Wrong(f"the same STEP twice: {first}, {second}")
        self._tell("counts", "steps.sent_twice")
        return first

    def _take(self, step: Step, reply: Any) -> None:
        """Go by the answer to a STEP."""
        if reply[0] == "OK":
            self._take_done(step, reply)
        elif reply[1] == "LEASE_LOST":
            held, _ = step.shares[reply[3]["part"]]
            self._tell("refused", step.key, reply[3]["why"])
            if held.is_late:
                self._tell("counts", "late_steps.refused")
            self._held.remove(held)
            self._step = None
        elif reply[1] == "QUEUE_FULL":
            self._tell("counts", "steps.queue_full")
            time.sleep(RETRY_SECONDS)
        else:
            raise Wrong(f"STEP: {reply}")

    def _take_done(self, step: Step, reply: Any) -> None:
        results = reply[1]
        is_repeat = len(reply) > 3 and reply[3]
        if is_repeat and step.sends == 1:
            raise Wrong(f"{step.key} was sent once, and is said to be a repeat")
        for index, (held, count) in step.shares.items():
            if results[index] != count:
                raise Wrong(f"{step.key}: {count} messages were to be settled, not {results}")
            if held.is_late:
                self._tell("counts", "late_steps.made")
            del held.ids[:count], held.bodies[:count]
        self._held = [held for held in self._held if held.ids]
        self._tell("done", step.key, len(step.bodies), "again" if is_repeat else "once")
        if step.has_nack:
            self._tell("counts", "steps.with_nack")
        self._step = None

    def _settle_one_by_one(self, step: Step) -> None:
        """Do what a worker would do without STEP: the parts, each as a request of its own."""
        bodies = iter(step.bodies)
        requests = []
        for verb, where, *rest in step.parts:
            if verb == "PUSH":
                pack = join_bodies([next(bodies) for _ in range(rest[0])])
                requests.append((verb, where, rest[0], pack))
            else:
                requests.append((verb, where, *rest))
        while step.sends < len(requests):
            self._send(*requests[step.sends])
            self._pass("step_sent")
            reply = self._there.read()
            self._pass("step_answered")
            if reply[0] != "OK" and reply[1] == "QUEUE_FULL":
                time.sleep(RETRY_SECONDS)
                return
            step.sends += 1
        self._tell("counts", "steps")
        for held, count in step.shares.values():
            del held.ids[:count], held.bodies[:count]
        self._held = [held for held in self._held if held.ids]
        self._step = None


def _expand(runs: Sequence[int]) -> list[int]:
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [first + number for first, count in pairs for number in range(count)]


def _runs(ids: Sequence[int]) -> list[int]:
    return [value for each in ids for value in (each, 1)]


def live(task: Task, report: int) -> int:
    """Be a process of the pipeline. Returns its exit code.

    The caller has just forked it, with `ENDS` blocked.

    Args:
        task: what to be.
        report: the pipe for what it tells. What it has not expected stands in a file
            `failure.NAME` in its place.
    """
    try:
        actor = (Worker if task.moment not in PUSHING else Producer)(task, report)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: setattr(actor, "is_told_to_stop", True))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        actor.run()
    except BaseException:  # noqa: BLE001  whatever it is, somebody is to know
        Path(task.place, f"failure.{task.name}").write_text(traceback.format_exc())
        return 1
    return 0
