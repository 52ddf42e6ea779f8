"""What every server that is measured can do: start, be told about, hold still, and stop.

A server runs on a free port of loopback and in a directory of its own. While others are
measured it is held still (SIGSTOP), so that nothing that it does afterwards (compressing,
compacting, collecting garbage) falls into somebody else's time: it goes on in its own.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmarks.peers import interrupts
from benchmarks.peers.servers import processes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

START_SECONDS = 120.0
STOP_SECONDS = 20.0
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Mode:
    """A way to run a server.

    Args:
        durability: what an answer means, as words of ours: `memory`, `kernel` or `disk`.
        meaning: the same in a sentence.
        settings: what is set for it, as the server calls it.
    """

    durability: str
    meaning: str
    settings: tuple[str, ...]


class PeerServer(ABC):
    """A server that may be started, and started again on what it has kept.

    Args:
        mode: a name out of `modes`.
        directory: an empty one, for everything that it leaves.
    """

    program: ClassVar[str]
    """What is run."""
    package: ClassVar[str]
    """The Debian package that has it."""
    modes: ClassVar[Mapping[str, Mode]]

    def __init__(self, mode: str, directory: Path) -> None:
        self.mode = self.modes[mode]
        self.directory = directory
        self.port = 0
        self.secret = ""
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether it can be run here."""
        return shutil.which(cls.program) is not None

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return the version of what is installed."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return what is run, for the port that was chosen."""

    def environment(self) -> dict[str, str] | None:
        """Return the variables that it runs with; None for those of this process."""
        return None

    def is_ready(self) -> bool:
        """Tell whether it serves."""
        return can_connect(self.port)

    def start(self) -> None:
        """Start it on a free port, and wait until it serves.

        Raises:
            RuntimeError: it has ended, or does not serve in time; with what it has printed.
        """
        self.port = free_port()
        log = self.directory / "output"
        with log.open("ab") as output, interrupts.whole():
            process = self._process = subprocess.Popen(  # noqa: S603  a program of this machine, by its name
                self.command(),
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt is the suite's to deal with
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.program} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.005)

    def hold(self) -> None:
        """Let it do nothing until `release`."""
        processes.send(self.pid, signal.SIGSTOP)

    def release(self) -> None:
        """Let it go on."""
        processes.send(self.pid, signal.SIGCONT)

    def memory_bytes(self) -> int:
        """Return the memory of all its processes."""
        return processes.memory_bytes(self.pid)

    def processor_seconds(self) -> float:
        """Return the processor time of all its processes."""
        return processes.processor_seconds(self.pid)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            processes.send(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """End it, in order if it can; nothing of it runs afterwards."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        family = processes.tree(process.pid)
        self.release()
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        for pid in family[1:]:
            processes.send(pid, signal.SIGKILL)
        self.kill()

    @property
    def pid(self) -> int:
        """Id of its first process, once it was started."""
        assert self._process is not None
        return self._process.pid


def free_port() -> int:
    """Return a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def can_connect(port: int) -> bool:
    """Tell whether somebody listens."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def printed_by(*command: str) -> str:
    """Return what a command prints."""
    done = subprocess.run(  # noqa: S603  as `PeerServer.start`
        command, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr
