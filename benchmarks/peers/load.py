"""A load process: `python -m benchmarks.peers.load`, told what to do in lines of JSON.

    > {"do": "prepare", "task": "bursts", "place": {...}, "options": {...}}
    < {"ready": true}
    > {"do": "go"}
    < {"figures": {"push_per_second": 465000.0, ...}, "processor_seconds": 1.2}

`go` as often as wanted; the end of the input ends it, so that it never outlives the suite.
What goes wrong is answered with `{"error": "..."}`, and ends it too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, TextIO

from benchmarks.peers.sides import Place
from benchmarks.peers.tasks.table import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.peers.tasks.base import Task


class Worker:
    """What obeys the orders; `close` ends its connections."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._task: Task | None = None
        self.close = self._stack.close

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what an order says, and return the answer; whatever goes wrong is one too."""
        try:
            if order["do"] == "prepare":
                place = Place(**order["place"])
                self._task = TASKS[order["task"]](place, order["options"], self._stack)
                return {"ready": True}
            assert self._task is not None
            began = time.process_time()
            figures = self._task.go()
            return {"figures": figures, "processor_seconds": time.process_time() - began}
        except Exception as error:  # noqa: BLE001  whatever it is, the suite tells people
            return {"error": f"{type(error).__name__}: {error}"}


def serve(lines: Iterable[str], answers: TextIO) -> int:
    """Do what the lines say; return the exit code."""
    with closing(Worker()) as worker:
        for line in lines:
            answer = worker.obey(json.loads(line))
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
            if "error" in answer:
                return 1
    return 0


def main() -> int:
    """Serve standard input and output; what libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        return serve(sys.stdin, answers)


if __name__ == "__main__":
    sys.exit(main())
