"""One run of a command for one job: what goes in, what comes out, how it is ended. Floor 4.

A command runs in a process group of its own, so that a Ctrl-C at the terminal reaches this
program alone, which then decides, and so that what it has started ends with it. Its standard
error is passed on line by line, and the last of it is kept, since it says why it failed.

What it is not: somebody who knows of queues (`mqclient.ctl.working`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEPT_LINES: Final = 40
KEPT_CHARS: Final = 3500
"""What a failure's reason says of the standard error: a traceback fits, and so does the reason
into what the protocol takes."""

_GIST_CHARS: Final = 200
_LINE_BYTES: Final = 64 * 1024
"""A line that is longer is passed on in pieces."""
_LAST_WORDS_SECONDS: Final = 0.5
"""How long the standard error is read of what a command has left behind."""


class Run:
    """A process for one job, from its start on.

    Args:
        command: program and arguments.
        body: its standard input; None for none at all.
        environment: its variables.
        stdout: where its standard output goes: a descriptor, or None for this program's.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        body: bytes | None,
        environment: Mapping[str, str],
        stdout: IO[bytes] | int | None,
    ) -> None:
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._ended = threading.Event()
        with tempfile.TemporaryFile() if body else _nothing() as stdin:
            # A file, not a pipe: a command that does not read its input stops nobody.
            if body:
                stdin.write(body)
                stdin.seek(0)
            self._process = subprocess.Popen(  # noqa: S603  it is what the user asked for
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                env=dict(environment),
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._pass_on, name="stderr", daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended, `seconds` at most; tell whether it has."""
        return self._ended.wait(seconds)

    def send(self, number: int) -> None:
        """Send a signal to it and to what it has started, if it is still there."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def sweep(self) -> None:
        """End what it has left running, once it has been made to end itself."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def exit_code(self) -> int:
        """How it ended, once it has: negative for the signal that ended it."""
        code = self._process.returncode
        assert code is not None, "wait until it has ended"
        return code

    @property
    def was_told_to_end(self) -> bool:
        """Whether it ended by a signal that means that the whole allocation ends."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        return self.exit_code in {code for each in numbers for code in (-each, 128 + each)}

    def reason(self) -> str:
        """Say why it failed: the end of its standard error, and then how it ended."""
        lines = [line for line in self._last_lines if line.strip()]
        ending = how_it_ended(self.exit_code)
        if not lines:
            return ending
        last = lines[-1].strip()
        ending = f"{ending}: {last[:_GIST_CHARS]}"
        if len(lines) == 1 and len(last) <= _GIST_CHARS:
            return ending
        said = "\n".join(lines)[-KEPT_CHARS:]
        return f"{said}\n{ending}"

    def _watch(self) -> None:
        self._process.wait()
        # What it has left running may hold its standard error open: that is not waited for.
        self._reader.join(_LAST_WORDS_SECONDS)
        self._ended.set()

    def _pass_on(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        with stream:
            while line := stream.readline(_LINE_BYTES):
                self._last_lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                _write_error(line)


def how_it_ended(exit_code: int) -> str:
    """Say how a process ended: `exit code 3`, `killed by SIGKILL`."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"killed by signal {-exit_code}"


def _write_error(line: bytes) -> None:
    """Pass a line on; that nobody reads it is no reason to stop the work."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()


def _nothing() -> Any:
    return Path(os.devnull).open("rb")
