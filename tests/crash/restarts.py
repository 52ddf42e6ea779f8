"""kill -9 of the whole server under load, at random moments, and started again each time."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crash.reports import Violation, keep
from crash.server_load import ServerRuns
from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

RESTARTS_PER_DIRECTORY = 10


def _restart(runs: ServerRuns, chooser: random.Random) -> Counter[str]:
    """Run the server once, and kill it."""
    runs.start()
    if chooser.random() < 0.15:
        time.sleep(chooser.uniform(0, 0.6))
        moment = "start"
    else:
        runs.let_clients_work()
        time.sleep(chooser.uniform(0, 0.5))
        moment = "load"
    runs.server.kill()
    return runs.end(float("inf")) + Counter({"restarts": 1, f"restarts.{moment}": 1})


def _directory(seed: str, restarts: int, scratch: str) -> Iterator[Counter[str]]:
    """Kill the server on one directory so many times, and judge what its clients saw."""
    chooser = random.Random(seed)
    outside = Path(tempfile.mkdtemp(dir=scratch))
    runs = ServerRuns(outside, outside / "data", seed, Level.WRITTEN)
    try:
        for _ in range(restarts):
            yield _restart(runs, chooser)
        yield runs.finish()
    except Violation as error:
        raise Violation(f"seed {seed}, see {keep(outside)}: {error}") from error
    finally:
        runs.server.kill()
    shutil.rmtree(outside)


def work(options: dict[str, Any]) -> Iterator[Counter[str]]:
    """Do one worker's share of the kills. See `crash.pool`.

    Args:
        options: `seed`, `index` of this worker, `restarts`, how many, and `scratch`, a
            directory.
    """
    left = options["restarts"]
    directories = 0
    while left > 0:
        restarts = min(left, RESTARTS_PER_DIRECTORY)
        seed = f"{options['seed']}.{options['index']}.{directories}"
        yield from _directory(seed, restarts, options["scratch"])
        left -= restarts
        directories += 1
