"""Starts `lease_worker.py`, and reads what it says."""

from __future__ import annotations

import queue as queues
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

    from support.server import RunningServer

HERE = Path(__file__).resolve().parent
PATIENCE_SECONDS = 20.0


class Worker:
    """A worker process; killed at the end of the block if it is still there."""

    def __init__(
        self,
        server: RunningServer,
        kind: str,
        queue: str,
        *,
        lease: float,
        work: str = "hold",
        prefetch: int = 1,
    ) -> None:
        command = [kind, str(server.address_file), queue, str(lease), work, str(prefetch)]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "lease_worker.py"), *command],
            cwd=HERE.parents[1],
            env={"PYTHONPATH": str(HERE.parents[1]), "PYTHONWARNINGS": "error"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: queues.Queue[str] = queues.Queue()
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._said.put)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors.append)),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def hears(self, what: str) -> None:
        """Wait until the worker says so; nothing else may come before."""
        try:
            said = self._said.get(timeout=PATIENCE_SECONDS)
        except queues.Empty:
            said = "nothing"
        assert said == what, (said, self.errors)

    def tell(self) -> None:
        """Let the job that it holds end well."""
        assert self.process.stdin is not None
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue

    @staticmethod
    def _read(stream: Any, put: Any) -> None:
        for line in stream:
            put(line.rstrip())
