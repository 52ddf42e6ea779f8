"""SIGKILL before every file system call of a script, one after the other.

The script is a thousand operations (create, push, pull, purge, delete) on queues of
three levels, with three snapshots and a recovery inside. All file operations happen in
one thread, which strace watches: it lets the first k-1 calls of a kind pass and kills the
process in place of the k-th. How many calls of each kind there are is counted first.
Then the directory is recovered, and held against what was reported (`crash.serving`).

strace counts each kind of call by itself; the union over the kinds is every call.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from crash.reports import (
    Follower,
    Violation,
    empty,
    events,
    judge_history,
    judge_state,
    keep,
    read_report,
    reopen,
)
from crash.script import Script, Shape
from crash.serving import OneThread, Report, Serving
from mqd.store.files import OsFiles
from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crash.history import View

OPERATIONS = 1000
SEGMENT_BYTES = 16 * 1024
SHORT_SCRIPT = (2, 8)
"""Operations go by twos, and commits are written together."""
LONG_SCRIPT = (1, 0)
"""Every operation is a commit, and waited for."""
RUN_SECONDS = 60
_PR_SET_PTRACER = 0x59616D61
_ANY_PROCESS = -1
_call_name = re.compile(r"([a-z_0-9]+)\(").match
_ADVICE = "on Debian: apt-get install strace"

# What happens after how much of the script.
STEPS = (
    (0.25, "snapshot"),
    (0.20, "snapshot"),
    (0.20, "restart"),
    (0.20, "snapshot"),
    (0.15, "close"),
)


class Plan(NamedTuple):
    """Which script."""

    seed: int
    operations_per_commit: int
    most_unsettled: int
    """How many acknowledgements are waited for before the next commit is begun."""

    @property
    def shape(self) -> Shape:
        return Shape(self.operations_per_commit, 400, is_even=True)

    def parts(self) -> Iterator[tuple[str, int, str]]:
        """Yield the script's parts: a seed, how many commits, and what comes after them."""
        commits = OPERATIONS // self.operations_per_commit
        for number, (share, what) in enumerate(STEPS):
            yield f"{self.seed}.{number}", round(commits * share), what


class Point(NamedTuple):
    """Before which call the process is killed; `number` 0 for none."""

    call: str
    number: int


# The process that is killed


def serve(plan: Plan, directory: str, report: str, files: OneThread) -> None:
    """Go through the script."""
    options = {"sync_interval_seconds": 3600.0, "marker_seconds": 0.0}
    notes = Report(report)
    serving = Serving(files, directory, notes, SEGMENT_BYTES, **options)
    commit = 0
    for seed, commits, what in plan.parts():
        script = Script(serving.broker, seed, plan.shape)
        for _ in range(commits):
            commit += 1
            serving.commit(commit, script)
            serving.settle(plan.most_unsettled)
        serving.settle(0)
        if what == "snapshot":
            serving.fold()
        elif what == "restart":
            serving.rest()  # as if it were killed here
            serving = Serving(files, directory, notes, SEGMENT_BYTES, **options)
        else:
            serving.journal.close()


def allow_tracing() -> None:
    """Let any process of the same user trace this one, where only ancestors may otherwise."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANY_PROCESS), 0, 0, 0)


def _child(plan: Plan, place: Path, ready: int, go: int) -> NoReturn:
    status = 1
    try:
        signal.alarm(RUN_SECONDS)
        allow_tracing()
        files = OneThread(OsFiles())
        os.write(ready, b"%d\n" % files.thread.native_id)
        os.read(go, 1)
        serve(plan, str(place / "data"), str(place / "report"), files)
        status = 0
    except BaseException:  # noqa: BLE001  nothing of this may reach the parent's stack
        (place / "error").write_text(traceback.format_exc())
    finally:
        os._exit(status)


# The one who kills and looks


def why_not() -> str | None:
    """Say why this cannot be done here, or None if it can."""
    strace = shutil.which("strace")
    if strace is None:
        return f"there is no strace; {_ADVICE}"
    source = "from crash.kills import allow_tracing; allow_tracing(); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", source],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as traced:
        assert traced.stdout is not None
        traced.stdout.readline()
        try:
            tracer = _attach(str(traced.pid), Path(os.devnull), Point("", 0))
        except RuntimeError as error:
            return f"processes may not be traced here: {error}"
        finally:
            traced.kill()
        tracer.communicate()
    return None


class Outcome(NamedTuple):
    """What has become of one run."""

    place: Path
    is_killed: bool
    calls: Counter[str]


def run(plan: Plan, place: Path, point: Point) -> Outcome:
    """Run the script in a process of its own, and kill it at a point."""
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    process = os.fork()
    if not process:
        _child(plan, place, ready_write, go_read)
    os.close(ready_write)
    os.close(go_read)
    tracer = None
    try:
        thread = os.read(ready_read, 32).decode().strip()
        tracer = _attach(thread, place / "calls", point)
        os.write(go_write, b"g")
        _, status = os.waitpid(process, 0)
        process = 0
        tracer.wait(RUN_SECONDS)
    finally:
        os.close(ready_read)
        os.close(go_write)
        if process:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        if tracer is not None:
            tracer.kill()
            tracer.communicate()
    calls = _read_calls(place / "calls")
    is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not is_killed and status:
        error = place / "error"
        text = error.read_text() if error.exists() else f"wait status {status}"
        raise Violation(f"the script failed by itself: {text}")
    if is_killed and calls[point.call] != point.number:
        raise Violation(f"killed at call {calls[point.call]} in place of {point}")
    if not is_killed and 0 < point.number <= calls[point.call]:
        raise Violation(f"ran through {calls[point.call]} calls, and was to be killed at {point}")
    return Outcome(place, is_killed, calls)


def _attach(thread: str, log: Path, point: Point) -> subprocess.Popen[str]:
    command = ["strace", "-p", thread, "-o", str(log)]
    if point.number:
        kill = f"inject={point.call}:signal=KILL:when={point.number}"
        command += ["-e", f"trace={point.call}", "-e", kill]
    else:
        command += ["-e", "trace=%file,%desc"]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    if "attached" not in line:
        rest = tracer.communicate()[1]
        raise RuntimeError(f"strace does not attach: {line}{rest}")
    return tracer


def _read_calls(log: Path) -> Counter[str]:
    """Count what was called; what asks for memory is no file's business."""
    calls: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        match = _call_name(line)
        if match and not match[1].startswith("mmap"):
            calls[match[1]] += 1
    return calls


class Kills:
    """Kills a script at one point after the other, and judges what is left.

    Args:
        plan: which script.
        scratch: a directory for it.
    """

    def __init__(self, plan: Plan, scratch: Path) -> None:
        self._plan = plan
        self._scratch = scratch
        follower = Follower()
        for seed, commits, _ in plan.parts():
            follower.follow(seed, plan.shape, commits)
        self._views: list[View] = follower.views

    def count(self) -> Counter[str]:
        """Run the script to its end, and tell how many calls of each kind it makes."""
        place = Path(tempfile.mkdtemp(prefix="count-", dir=self._scratch))
        outcome = run(self._plan, place, Point("", 0))
        self._judge(outcome)
        shutil.rmtree(place)
        return outcome.calls

    def try_point(self, point: Point) -> bool:
        """Kill at a point, recover, judge. False if the script has ended before it.

        Raises:
            Violation: something is not as promised; the directory is kept.
        """
        place = Path(tempfile.mkdtemp(prefix="kill-", dir=self._scratch))
        try:
            outcome = run(self._plan, place, point)
            self._judge(outcome)
        except Exception as error:
            raise Violation(f"{point}, {self._plan}, see {keep(place)}: {error}") from error
        shutil.rmtree(place)
        return outcome.is_killed

    def _judge(self, outcome: Outcome) -> None:
        report = outcome.place / "report"
        report.touch()
        seen = read_report(report)
        directory = str(outcome.place / "data")
        first = reopen(directory, SEGMENT_BYTES)
        promised = seen.promised(Level.WRITTEN)
        begun = seen.begun if outcome.is_killed else promised
        if not outcome.is_killed and seen.begun != len(self._views) - 1:
            raise Violation("the script has not come to its end")
        judge_state(first.broker, self._views, promised, begun)
        second = reopen(directory, SEGMENT_BYTES)
        judge_state(second.broker, self._views, promised, begun)
        if not seen.epoch < first.recovered.epoch < second.recovered.epoch:
            raise Violation("an epoch comes again")
        judge_history([*events(seen, 1), *empty(first.broker, 2)], Level.WRITTEN)


def work(options: dict[str, Any]) -> Iterator[Counter[str]]:
    """Go through one worker's share of the points. See `crash.pool`.

    Args:
        options: `seed`, `script` (the rest of a `Plan`), `index` and `jobs` of this worker,
            and `scratch`, a directory.

    Of each kind of call, this worker tries every `jobs`-th until the script runs through. How
    commits share writes and syncs is a matter of time, so that one run makes more calls than
    another: a run that ends before its point has made fewer, which `run` makes sure of.
    """
    plan = Plan(options["seed"], *options["script"])
    kills = Kills(plan, Path(options["scratch"]))
    calls = kills.count()
    index, jobs = options["index"], options["jobs"]
    if not index:
        yield Counter({f"calls.{call}": count for call, count in calls.items()})
        yield Counter(calls=calls.total(), scripts=1)
    for call, count in sorted(calls.items()):
        number = 1 + index
        while (is_killed := kills.try_point(Point(call, number))) or number <= count:
            yield Counter({"kills": 1, f"kills.{call}": 1}) if is_killed else Counter(run_through=1)
            number += jobs
        yield Counter(run_through=1)
