"""A hyper-parameter sweep over handwritten digits, run by worker processes through mqd.

What it is: a whole sweep, to be copied and changed. One producer pushes typed jobs to
the queue `digits.jobs`; workers lease them when they are ready, train a support vector
classifier on the 1,797 real digits that scikit-learn ships, and finish each job in one step
that pushes its typed result to `digits.results`; the producer collects them and shows the best.
What it is not: part of the library (it stands on mqclient alone), nor how results are
drawn (digits_report.py).

    python examples/digits_sweep.py             a sweep with four workers on this machine
    python examples/digits_sweep.py worker      one more worker, here or on another node
    python examples/digits_sweep.py --serial    the same sweep in one process, no server
    python examples/digits_sweep.py --check     both, and a comparison of every score

How it ends. The producer owns both queues: it creates them, and when it deletes them,
every worker that waits on them is told so, wherever it runs, and leaves. A worker also
leaves when no job has come for `--idle-seconds`. A worker that is killed, however that
happens, has its job handed to another at once; the producer starts a new one in its place.
A worker that is told to stop hands its job back first. Each setting has one result in the
end, or the producer names those that have none once no result has come for
`--patience-seconds`: a job that kills its worker again and again is given up.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from digits_report import compare, console, notes, progress_bar, save_plot, show

import mqclient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import FrameType

# Workers share the cores: a thread pool in each would make all of them slower, and one
# thread also keeps the order of additions, and so every score, the same.
THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
C_EXPONENTS: Final = (-0.5, 3.0)  # the range of the grid, in powers of ten
GAMMA_EXPONENTS: Final = (-3.5, 0.25)
LEASE_SECONDS: Final = 30.0  # until a worker that was stopped or cut off loses its job
MAX_LOSSES: Final = 10  # workers that a job may kill before it is given up
MAX_REPLACEMENTS: Final = 100  # workers that are started in the place of killed ones
RESULTS_PER_PULL: Final = 64
PULL_WAIT_SECONDS: Final = 0.5  # how late the producer may notice a dead worker
CONNECT_SECONDS: Final = 3.0  # somebody watches: a missing server is said soon
LOCAL_IDLE_SECONDS: Final = 25.0  # more than the grace of one that is killed as it takes a job
STOP_SECONDS: Final = 5.0  # how long a worker may take to leave before it is killed
INTERRUPTED: Final = 130  # exit code after Ctrl-C, as shells have it


@dataclass(frozen=True)
class Job:
    """One setting to try, whole in itself: a worker needs nothing else to know.

    Args:
        number: its place in the sweep, from 0.
        c: how dearly the classifier pays for a wrong sample.
        gamma: how fast the influence of a sample falls off; pixels are scaled to 0..1.
        folds: how many parts of the cross-validation.
    """

    number: int
    c: float
    gamma: float
    folds: int

    def __str__(self) -> str:
        return f"C = {self.c:g}, gamma = {self.gamma:g}"


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Args:
        job: the job itself, so that a result can be read without the sweep.
        scores: accuracy on each fold, 0..1; empty if it failed.
        seconds: how long it took.
        worker: who did it.
        error: why it failed, or None.
    """

    job: Job
    scores: list[float]
    seconds: float
    worker: str
    error: str | None = None

    @property
    def score(self) -> float:
        """Mean accuracy over the folds; below every real one if the job failed."""
        return math.fsum(self.scores) / len(self.scores) if self.scores else -1.0


class SweepError(Exception):
    """The sweep cannot go on; its text is one sentence for the person who started it."""


# What is computed: the same for workers and for the serial sweep.


def make_jobs(c_count: int, gamma_count: int, folds: int) -> list[Job]:
    """Return one job for each point of the grid of C and gamma."""
    pairs = [
        (c, gamma)
        for c in powers_of_ten(*C_EXPONENTS, c_count)
        for gamma in powers_of_ten(*GAMMA_EXPONENTS, gamma_count)
    ]
    return [Job(number, c, gamma, folds) for number, (c, gamma) in enumerate(pairs)]


def powers_of_ten(low: float, high: float, count: int) -> list[float]:
    """Return `count` values from 10**low to 10**high, evenly spaced on a log axis."""
    step = (high - low) / max(count - 1, 1)
    # Three digits: short in a message, and the same on every machine.
    return [float(f"{10 ** (low + step * index):.3g}") for index in range(count)]


class Evaluator:
    """Loads the digits once, then scores one setting at a time."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits  # noqa: PLC0415  after limit_threads

        images, self._labels = load_digits(return_X_y=True)
        self._images = images / 16  # grey levels are 0..16
        self._worker = f"{socket.gethostname()}:{os.getpid()}"

    def evaluate(self, job: Job) -> Result:
        """Train and score one setting; an exception becomes the result's `error`."""
        started_at = time.perf_counter()
        scores: list[float] = []
        error = None
        try:
            scores = self._scores(job)
        except Exception as failure:  # noqa: BLE001  one bad setting must not end a worker
            error = f"{type(failure).__name__}: {failure}"
        return Result(job, scores, time.perf_counter() - started_at, self._worker, error)

    def _scores(self, job: Job) -> list[float]:
        from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415  after limit_threads
        from sklearn.svm import SVC  # noqa: PLC0415  after limit_threads

        images, labels = self._images, self._labels
        # A fixed shuffle: every process cuts the digits into the same folds.
        folds = StratifiedKFold(job.folds, shuffle=True, random_state=0)
        scores = []
        for train, test in folds.split(images, labels):
            model = SVC(C=job.c, gamma=job.gamma).fit(images[train], labels[train])
            scores.append(float(model.score(images[test], labels[test])))
        return scores


def limit_threads() -> None:
    """Keep this process and its workers to a thread each. No effect once numpy is imported."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))


def queue_names(sweep: str) -> tuple[str, str]:
    """Return the names of the queues for jobs and for results."""
    return f"{sweep}.jobs", f"{sweep}.results"


# The worker: lease, train, done.


def work(sweep: str, idle_seconds: float) -> int:
    """Do jobs until none has come for `idle_seconds` or the sweep is over.

    Returns:
        How many jobs were done.

    Raises:
        mqclient.MqError: the server cannot be reached, or refuses.
        KeyboardInterrupt: told to stop; the job in hand has been handed back.
    """
    jobs, results = queue_names(sweep)
    done = 0
    with mqclient.Client(name="digits_sweep worker") as client:
        evaluator = Evaluator()
        # The producer deletes the queues when it is through: that ends a wait as well.
        with contextlib.suppress(mqclient.QueueNotFound):
            for job in client.consume(jobs, lease=LEASE_SECONDS, wait=idle_seconds, into=Job):
                with job:  # handed back if this process is told to stop
                    try:
                        result = evaluator.evaluate(job.body)
                    except mqclient.BodyError as error:
                        notes.print(f"Message {job.id} of {jobs} is no job: {error}", style="red")
                        job.reject(str(error))
                        continue
                    job.done(push={results: [result]})  # both, or neither
                    done += 1
    return done


# The producer: push, start workers, collect.


class Workers:
    """Worker processes on this machine.

    Args:
        processes: processes to watch over that have been started already.
    """

    def __init__(self, processes: Iterable[subprocess.Popen[bytes]] = ()) -> None:
        self._processes = list(processes)
        self._reported: set[int] = set()
        self._command: list[str] = []
        self._replacements = 0

    def start(self, count: int, sweep: str) -> None:
        """Start `count` workers, by the same command that starts one on another node."""
        self._command = [sys.executable, __file__, "worker", "--sweep", sweep, "--quiet"]
        self._command += ["--idle-seconds", str(LOCAL_IDLE_SECONDS)]
        for _ in range(count):
            self._start_one()

    def _start_one(self) -> None:
        self._processes.append(subprocess.Popen(self._command))  # noqa: S603  this very file

    def stop(self) -> None:
        """Tell those that are left to stop, and see to it that they do."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            wait_or_kill(process, max(deadline - time.monotonic(), 0))

    @property
    def are_all_dead(self) -> bool:
        """Whether there were workers and each has failed, so that nobody works here."""
        return bool(self._processes) and all(process.poll() for process in self._processes)

    def new_deaths(self) -> list[str]:
        """Return a sentence for each worker that has died since the last call.

        Those that were killed have been replaced.
        """
        sentences = []
        for number, process in enumerate(list(self._processes), start=1):
            code = process.poll()
            if code and process.pid not in self._reported:
                self._reported.add(process.pid)
                cause = f"signal {-code}" if code < 0 else f"exit code {code}"
                sentences.append(f"Worker {number} (process {process.pid}) has died: {cause}.")
                if code < 0:
                    self._replace()
        return sentences

    def _replace(self) -> None:
        """Start a worker in the place of one that was killed; one that failed would again."""
        if self._command and self._replacements < MAX_REPLACEMENTS:
            self._replacements += 1
            self._start_one()

    def __str__(self) -> str:
        alive = sum(process.poll() is None for process in self._processes)
        return f"{alive} of {len(self._processes)} local workers alive, {len(self._reported)} died"


def wait_or_kill(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for a process to end, and end it if it does not within `seconds`."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_with_workers(
    jobs: Sequence[Job], sweep: str, worker_count: int, patience_seconds: float
) -> list[Result]:
    """Run a sweep through the server.

    Args:
        jobs: what to do.
        sweep: the name of the sweep; its queues must not exist.
        worker_count: processes to start here; 0 if all of them run elsewhere.
        patience_seconds: give up when no result has come for so long.

    Returns:
        One result for each job, in the order of the jobs.

    Raises:
        SweepError: a sweep of this name is under way, or results are missing.
        mqclient.MqError: the server cannot be reached, or refuses.
    """
    job_queue, result_queue = queue_names(sweep)
    client = mqclient.Client(name="digits_sweep", connect_timeout=CONNECT_SECONDS)
    with client, contextlib.ExitStack() as cleanup:
        for queue in (job_queue, result_queue):
            create_own_queue(client, queue, sweep)
            cleanup.callback(delete_queue, client, queue)
        client.push_many(job_queue, jobs)
        workers = Workers()
        cleanup.callback(workers.stop)
        workers.start(worker_count, sweep)
        with progress_bar("workers", len(jobs)) as on_result:
            return collect(client, result_queue, jobs, workers, patience_seconds, on_result)


def create_own_queue(client: mqclient.Client, queue: str, sweep: str) -> None:
    """Create a queue that must be new: two sweeps would take each other's messages."""
    try:
        client.create(queue, max_worker_losses=MAX_LOSSES)
    except mqclient.QueueExists as error:
        raise SweepError(
            f"A sweep named {sweep} is under way on this server, or was broken off: choose "
            f"another name with --sweep, or remove what is left with `mqctl delete {queue}`."
        ) from error


def delete_queue(client: mqclient.Client, queue: str) -> None:
    """Delete a queue at the end, if its server is still there."""
    with contextlib.suppress(mqclient.TransportError, mqclient.QueueNotFound):
        client.delete(queue)


def collect(
    client: mqclient.Client,
    queue: str,
    jobs: Sequence[Job],
    workers: Workers,
    patience_seconds: float,
    on_result: Callable[[Result], None],
) -> list[Result]:
    """Pull results until each job has one.

    Raises:
        SweepError: no result has come for `patience_seconds`, every worker has died, or a job
            has two results.
    """
    found: dict[int, Result] = {}
    heard_at = time.monotonic()
    while len(found) < len(jobs):
        # Asked before the pull: a dead worker's last results are on the server already.
        is_hopeless = workers.are_all_dead
        messages = client.pull_many(queue, RESULTS_PER_PULL, wait=PULL_WAIT_SECONDS, into=Result)
        for message in messages:
            result: Result = message.body
            if result.job.number in found:
                raise SweepError(f"The setting {result.job} has two results.")
            found[result.job.number] = result
            on_result(result)
        for sentence in workers.new_deaths():
            notes.print(sentence, "Its job goes to another.", style="red")
        if messages:
            heard_at = time.monotonic()
        elif is_hopeless or time.monotonic() - heard_at > patience_seconds:
            raise SweepError(describe_missing(jobs, found, workers))
    return [found[job.number] for job in jobs]


def describe_missing(jobs: Sequence[Job], found: dict[int, Result], workers: Workers) -> str:
    """Say which settings have no result, and what is known about the reason."""
    missing = [job for job in jobs if job.number not in found]
    names = "; ".join(str(job) for job in missing[:3]) + ("; ..." if missing[3:] else "")
    return f"{len(missing)} of {len(jobs)} settings have no result ({names}): {workers}."


def run_serially(jobs: Sequence[Job]) -> list[Result]:
    """Run the same sweep in this process, without a server."""
    evaluator = Evaluator()
    results = []
    with progress_bar("serial", len(jobs)) as on_result:
        for job in jobs:
            results.append(evaluator.evaluate(job))
            on_result(results[-1])
    return results


# The command line.


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; exits with usage on a mistake."""
    parser = argparse.ArgumentParser(description="Sweep over SVC settings on handwritten digits.")
    add_sweep_name(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--serial", action="store_true", help="in this process, without a server")
    mode.add_argument("--check", action="store_true", help="fail unless a serial sweep is equal")
    numbers = (
        ("--workers", 4, 0, "processes to start here (%(default)s)"),
        ("--c-values", 12, 1, "values of C in the grid (%(default)s)"),
        ("--gamma-values", 10, 1, "values of gamma in the grid (%(default)s)"),
        ("--folds", 3, 2, "parts of the cross-validation (%(default)s)"),
    )
    for flag, default, low, text in numbers:
        parser.add_argument(flag, type=at_least(low), default=default, metavar="N", help=text)
    parser.add_argument(
        "--patience-seconds",
        type=float,
        default=30.0,
        metavar="S",
        help="give up when no result has come for so long: more than a job takes (%(default)s)",
    )
    parser.add_argument("--plot", type=Path, default=Path("digits_sweep.png"), metavar="PATH")
    worker = parser.add_subparsers(dest="role").add_parser("worker", help="do the jobs of a sweep")
    add_sweep_name(worker)
    worker.add_argument("--idle-seconds", type=float, default=5.0, metavar="S", help="then leave")
    worker.add_argument("--quiet", action="store_true", help="print nothing but trouble")
    return parser.parse_args(arguments)


def add_sweep_name(parser: argparse.ArgumentParser) -> None:
    """Add the option that producer and workers must agree on."""
    text = "first part of the queues' names (%(default)s)"
    parser.add_argument("--sweep", default="digits", metavar="NAME", help=text)


def at_least(low: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `low` on."""

    def count(text: str) -> int:
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"must be {low} or more, not {text}")
        return int(text)

    return count


def produce(options: argparse.Namespace) -> int:
    """Run the sweep as the command line asks and show what came of it; the exit code."""
    if not options.plot.absolute().parent.is_dir():
        raise SweepError(f"There is no directory for the plot {options.plot}.")
    jobs = make_jobs(options.c_values, options.gamma_values, options.folds)
    started_at = time.monotonic()
    if options.serial:
        results = run_serially(jobs)
    else:
        results = run_with_workers(jobs, options.sweep, options.workers, options.patience_seconds)
    seconds = time.monotonic() - started_at
    failed = [result for result in results if result.error is not None]
    if failed:
        raise SweepError(
            f"{len(failed)} of {len(jobs)} settings failed, "
            f"the first ({failed[0].job}) with {failed[0].error}."
        )
    show(results, seconds)
    try:
        save_plot(results, options.plot)
    except (OSError, ValueError) as error:
        raise SweepError(f"The plot {options.plot} cannot be written: {error}.") from error
    console.print(f"Plot: {options.plot}")
    is_equal = not options.check or compare(results, run_serially(jobs))
    return 0 if is_equal else 1


def run_worker(options: argparse.Namespace) -> int:
    """Work, and say how much was done unless asked to be quiet; the exit code."""
    done = work(options.sweep, options.idle_seconds)
    if not options.quiet:
        notes.print(f"Did {done} jobs of the sweep {options.sweep}.")
    return 0


def require_packages() -> None:
    """Say in one sentence what is missing, instead of a traceback from each worker."""
    missing = [name for name in ("sklearn", "matplotlib") if not importlib.util.find_spec(name)]
    if missing:
        raise SweepError(
            f"{' and '.join(missing)} cannot be imported: pip install '.[examples]' in the "
            "project's directory brings what the examples need."
        )


def interrupt_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Turn the first Ctrl-C or SIGTERM into an exception; more must not stop the tidying."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse_arguments(arguments)
    limit_threads()
    try:
        require_packages()
        # Not before: Python turns what is raised while a class is made into another error.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interrupt_once)
        return run_worker(options) if options.role == "worker" else produce(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SweepError as error:
        trouble = str(error)
    except (mqclient.ConnectFailed, mqclient.ConfigurationError) as error:
        trouble = f"No mqd server was reached; scripts/run starts one ({error})."
    except mqclient.MqError as error:
        trouble = f"The sweep was broken off: {error}"
    notes.print(trouble, style="red")
    return 1


if __name__ == "__main__":
    sys.exit(main())
