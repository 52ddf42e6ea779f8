"""The suite's end of load processes: starting them, telling them what to do, ending them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers.sides import Place

ANSWER_SECONDS = 300.0
END_SECONDS = 5.0


class LoadFailed(Exception):  # noqa: N818  it is what has happened to the load
    """A load process could not do what it was told; the text says why."""


class Load:
    """A load process that is ready to do its task.

    Args:
        task: a name out of `tasks.TASKS`.
        place: the server.
        options: the task's.
    """

    def __init__(self, task: str, place: Place, options: dict[str, Any]) -> None:
        self._buffer = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt is the suite's to deal with
        )
        self.order({"do": "prepare", "task": task, "place": asdict(place), "options": options})

    def order(self, order: dict[str, Any]) -> None:
        """Tell it something, without waiting."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its answer, or none, says more
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Wait for its answer, for so long at most.

        Raises:
            LoadFailed: there is none, or it says that something went wrong.
        """
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([handle], [], [], max(0, deadline - time.monotonic()))
            if not readable:
                raise LoadFailed(f"no answer from a load process in {seconds:.0f} s")
            data = os.read(handle, 65536)
            if not data:
                raise LoadFailed("a load process has ended without an answer")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LoadFailed(answer["error"])
        return answer

    def end(self) -> None:
        """End it, whatever it does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def go(loads: Sequence[Load]) -> list[dict[str, Any]]:
    """Let all of them do their tasks at once; return their answers, in their order."""
    for load in loads:
        load.order({"do": "go"})
    return [load.answer() for load in loads]
