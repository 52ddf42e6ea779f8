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
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TextIO

from benchmarks.peers.sides import Place
from benchmarks.peers.tasks.table import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.peers.tasks.base import Task


def serve(lines: Iterable[str], answers: TextIO) -> int:
    """Do what the lines say; return the exit code."""
    with ExitStack() as stack:
        return _serve(lines, answers, stack)


def _serve(lines: Iterable[str], answers: TextIO, stack: ExitStack) -> int:
    task: Task | None = None
    for line in lines:
        order = json.loads(line)
        try:
            if order["do"] == "prepare":
                task = TASKS[order["task"]](Place(**order["place"]), order["options"], stack)
                answer: dict[str, Any] = {"ready": True}
            else:
                assert task is not None
                began = time.process_time()
                answer = {"figures": task.go()}
                answer["processor_seconds"] = time.process_time() - began
        except Exception as error:  # noqa: BLE001  whatever it is, the suite tells people
            _say(answers, {"error": f"{type(error).__name__}: {error}"})
            return 1
        _say(answers, answer)
    return 0


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def main() -> int:
    """Serve standard input and output; what libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        return serve(sys.stdin, answers)


if __name__ == "__main__":
    sys.exit(main())
