"""Three stages of work over STEP, while everybody dies: one output for each input.

A producer, workers and the whole server, on one machine. Workers and the producer kill
themselves at moments of the protocol, or are killed, or are put to sleep for longer than
their leases, at any moment; the server is killed with SIGKILL, while it serves or while it
starts, and started again. At the end nothing has died of old age, everybody is quiet, and

- there is exactly one output for each input, and it names its whole way;
- the queues hold nothing else, and their counters say the same, over one more restart;
- what a worker was told about a STEP is true: those that were done have all their outputs,
  those that were refused have none.

The control is workers that do without STEP: they have to lose or to double something.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crash.pipeline_actor import Broken, Link
from crash.pipeline_crew import GRACE_SECONDS, TICK_SECONDS, Crew
from crash.pipeline_worker import FAILED, OUTPUTS, STAGES
from crash.reports import Violation, keep
from crash.server_load import ServerProcess
from mqwire.packs import decode_body, split_pack
from support.server import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PULLS_PER_QUEUE = 60
"""How many of the largest pulls fill a stage's queue: it is full now and then."""
_LOOK_SECONDS = 0.05

_UNFINISHED = ("ready", "delayed", "leased", "dead")
_NOBODY = ("moved", "purged", "expired", "pulled")


SHORT: dict[str, Any] = {
    "jobs_count": 240,
    "jobs_per_kill": 60,
    "passes_most": 3,
    "pull_most": 4,
    "snapshot_seconds": 0.1,
    "is_control": False,
}
"""Options of `work` for a few jobs with as many deaths as fit."""

CONTROL = {**SHORT, "jobs_count": 160, "jobs_per_kill": 80, "is_control": True}
"""Options of `work` for what has to go wrong."""


def amount(jobs_count: int) -> dict[str, Any]:
    """Return options of `work` for many jobs, that end before long."""
    return {
        "jobs_count": jobs_count,
        "jobs_per_kill": max(100, min(1000, jobs_count // 20)),
        "passes_most": 40,
        "pull_most": 24,
        "snapshot_seconds": 1.0,
        "is_control": False,
    }


class Pipeline:
    """A pipeline on one data directory, from its first job to its last.

    Args:
        outside: a directory of its own.
        options: as of `work`.
    """

    def __init__(self, outside: Path, options: dict[str, Any]) -> None:
        self._jobs = options["jobs_count"]
        self._chooser = random.Random(f"{options['seed']}.server")
        self._server = ServerProcess(
            outside,
            outside / "data",
            {
                "frame_log": {"level": "off"},
                "leases": {"grace_seconds": GRACE_SECONDS},
                "storage": {"snapshot_interval_seconds": options["snapshot_seconds"]},
            },
        )
        self._place = outside
        self._link: Link | None = None
        self._crew = Crew(outside, options)
        kills = max(1, self._jobs // options["jobs_per_kill"])
        whole = len(STAGES) * self._jobs
        self._kills_at = [int(whole * (n + self._chooser.random()) / kills) for n in range(kills)]
        self._told = 0
        self._pull_most = options["pull_most"]
        self._is_control = options["is_control"]

    def run(self) -> Iterator[Counter[str]]:
        """Do all of it; yields what is new.

        Raises:
            Violation: something was lost or doubled or is not what it should be.
        """
        self._serve()
        self._create()
        try:
            while not self._is_quiet():
                yield from self._work_until_empty()
                self._crew.end(is_by_force=False)
        finally:
            self._crew.close()
        infos = self._infos()
        self._server.stop()
        self._serve()
        found = self._infos()
        if _lasting(found) != _lasting(infos):
            raise Violation(f"a restart has changed {infos} into {found}")
        outputs = list(self._outputs())
        self._server.stop()
        yield self._crew.take_counts()
        yield self._judge(infos, outputs)

    def close(self) -> None:
        """End what there still is."""
        self._server.kill()

    # The server

    def _serve(self) -> None:
        """Start the server, and come in."""
        self._server.start()
        self._server.wait_until_it_serves()
        self._crew.served_at = time.monotonic()
        if self._link is not None:
            self._link.close()
        self._link = Link(self._place, is_local=True)
        self._link.call("AUTH", {"user": "admin", "password": PASSWORD})

    def _call(self, verb: str, *arguments: Any) -> Any:
        assert self._link is not None, "the server serves"
        try:
            return self._link.call(verb, *arguments)
        except Broken as error:
            raise Violation("the server has broken off by itself") from error

    def _create(self) -> None:
        for name in (OUTPUTS, FAILED):
            self._call("CREATE", name)
        options = {
            "max_messages": _PULLS_PER_QUEUE * self._pull_most,
            "dead_letter": FAILED,
            "max_attempts": 1000,
            "max_worker_losses": 1000,
            "backoff": "fixed",
            "backoff_seconds": 0.02,
        }
        for name in STAGES:
            self._call("CREATE", name, options)

    def _kill(self) -> None:
        self._server.kill()
        self._crew.counts["server_kills"] += 1
        if self._chooser.random() < 0.2:
            self._server.start()
            self._pass_time(self._chooser.uniform(0, 0.5))
            self._server.kill()
            self._crew.counts["server_kills"] += 1
            self._crew.counts["server_kills.starting"] += 1
        self._serve()

    def _pass_time(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._crew.listen(TICK_SECONDS)

    # The work

    def _work_until_empty(self) -> Iterator[Counter[str]]:
        """Keep the crew at it until the stages have nothing left; yields jobs as they come."""
        look_at = 0.0
        while True:
            self._crew.tick()
            if time.monotonic() < look_at:
                continue
            infos = self._infos()
            acked = sum(infos[name]["acked"] for name in STAGES)
            arrived = infos[OUTPUTS]["pushed"]
            yield Counter({"jobs": arrived - self._told})
            yield self._crew.take_counts()
            self._told = arrived
            if self._kills_at and acked >= self._kills_at[0]:
                del self._kills_at[0]
                if self._chooser.random() < 0.5:
                    self._crew.wait_for_step(1.0)  # a worker has just been told that it is done
                else:
                    self._pass_time(self._chooser.uniform(0, 0.05))
                self._kill()
            elif self._is_empty(infos):
                return
            look_at = time.monotonic() + _LOOK_SECONDS

    def _infos(self) -> dict[str, Any]:
        (infos,) = self._call("LIST")
        return {info["queue"]: info for info in infos}

    def _is_empty(self, infos: dict[str, Any]) -> bool:
        left = sum(infos[name][state] for name in STAGES for state in _UNFINISHED)
        return self._crew.is_all_produced and not left

    def _is_quiet(self) -> bool:
        """Tell, while nobody is at work, whether there is no work left."""
        return self._is_empty(self._infos())

    # The judgement

    def _outputs(self) -> Iterator[str]:
        """Take all outputs out."""
        while True:
            _, packs, *_ = self._call("PULL", OUTPUTS, 1000, {"durability": "synced"})
            if not packs:
                return
            yield from (decode_body(piece) for pack in packs for piece in split_pack(pack))

    def _judge(self, infos: dict[str, Any], outputs: list[str]) -> Counter[str]:
        verdict = judge(outputs, self._jobs)
        if self._is_control:
            return Counter({f"control.{name}": len(of) for name, of in verdict.wrong.items()})
        faults = [f"{name}: {found[:5]}" for name, found in verdict.wrong.items() if found]
        faults += _faults_of(infos, self._jobs)
        crew = self._crew
        untrue = [key for key, count in crew.done.items() if verdict.made[key] != count]
        faults += [f"told to be done, and are not: {untrue[:5]}"] if untrue else []
        untrue = [key for key in crew.refused if verdict.made[key]]
        faults += [f"told to be refused, and are done: {untrue[:5]}"] if untrue else []
        if faults:
            raise Violation("; ".join(faults))
        return Counter()


class Verdict(NamedTuple):
    """What outputs say."""

    wrong: dict[str, list[str]]
    """What is `lost`, `doubled` or `invented`."""
    made: Counter[str]
    """How many messages came out of each STEP."""


def judge(outputs: Iterable[str], jobs: int) -> Verdict:
    """Look at all outputs of a pipeline that had the inputs 0 to `jobs` - 1."""
    seen: Counter[int] = Counter()
    made: Counter[str] = Counter()
    invented = []
    for text in outputs:
        number, *way = text.split(">")
        stages = tuple(each.partition(":")[0] for each in way)
        if stages != STAGES or not number.isdigit() or int(number) >= jobs:
            invented.append(text)
            continue
        seen[int(number)] += 1
        made.update(each.partition(":")[2] for each in way)
    lost = [str(number) for number in range(jobs) if not seen[number]]
    doubled = [str(number) for number, count in seen.items() if count > 1]
    return Verdict({"lost": lost, "doubled": doubled, "invented": invented}, made)


def _faults_of(infos: dict[str, Any], jobs: int) -> list[str]:
    """Hold the counters of all queues against what must have happened."""
    wanted: dict[str, dict[str, int]] = {
        name: {**dict.fromkeys((*_UNFINISHED, *_NOBODY), 0), "pushed": jobs, "acked": jobs}
        for name in STAGES
    }
    nothing = dict.fromkeys((*_UNFINISHED, *_NOBODY, "pushed", "acked"), 0)
    wanted[OUTPUTS] = {**nothing, "pushed": jobs, "ready": jobs}
    wanted[FAILED] = nothing
    return [
        f"{name} has {infos[name][key]} {key} and not {number}"
        for name, counters in wanted.items()
        for key, number in counters.items()
        if infos[name][key] != number
    ]


def _lasting(infos: dict[str, Any]) -> list[Any]:
    """Return what a restart may not change of infos."""
    keys = ("queue", "pushed", "acked", *_UNFINISHED, *_NOBODY)
    return [[info[key] for key in keys] for info in infos.values()]


def work(options: dict[str, Any]) -> Iterator[Counter[str]]:
    """Do one pipeline. See `crash.pool`.

    Args:
        options: `seed`, `jobs_count`, how many inputs, `jobs_per_kill` of the server,
            `passes_most`, how often a worker comes to the moment of its death at most,
            `pull_most` messages, `snapshot_seconds` between two snapshots, `is_control`,
            and `scratch`, a directory.
    """
    outside = Path(tempfile.mkdtemp(dir=options["scratch"]))
    pipeline = Pipeline(outside, options)
    try:
        for counts in pipeline.run():
            if options["is_control"]:  # only what went wrong in it is of interest
                yield Counter({name: counts[name] for name in counts if "control." in name})
            else:
                yield counts
    except Violation as error:
        raise Violation(f"seed {options['seed']}, see {keep(outside)}: {error}") from error
    finally:
        pipeline.close()
    shutil.rmtree(outside)
