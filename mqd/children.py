"""Processes that do the server's work beside it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

LOOK_SECONDS: Final = 0.005
"""How often it is looked whether a process that says nothing any more has ended."""

KILL_SECONDS: Final = 2.0
"""How long the end of one that was killed is waited for: a disk that hangs may hold it."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `main` of one of our modules in a Python of its own.

    It finds modules where this process does, and nowhere else: `python -m` would look into
    the working directory first, where anybody's file may lie.
    """
    program = f"import sys; sys.path[:] = {sys.path!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-c", program, *arguments]


class Child:
    """A process that reads until this one lets go of it, and whose output is wanted.

    To be used with `async with`, which leaves none behind. The event loop's own processes are
    forked: that stops the server while the kernel copies the tables of all its memory, and
    makes it pay for each page that it changes next. `subprocess` spares both (vfork).

    Args:
        command: what is run, in a session of its own: Ctrl-C is for the server.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  nothing of it is from outside
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    @property
    def returncode(self) -> int | None:
        """How it has ended; None if it has not, or nobody has noticed yet."""
        return self._process.returncode

    async def output(self) -> tuple[bytes, int]:
        """Return all that it says, and its exit code, when it has ended."""
        assert self._process.stdout is not None
        said = await _read(self._process.stdout)
        return said, await self._end()

    async def _end(self) -> int:
        while (code := self._process.poll()) is None:  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(LOOK_SECONDS)
        return code

    async def __aenter__(self) -> Child:  # noqa: PYI034  Self is of Python 3.11
        """Return the process."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process if it has not ended."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.poll() is None:
                process.kill()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._end(), KILL_SECONDS)
        finally:
            process.stdin.close()
            process.stdout.close()


async def _read(pipe: IO[bytes]) -> bytes:
    """Return everything up to the end of a pipe, which stays open."""
    reader = asyncio.StreamReader()
    own = os.fdopen(os.dup(pipe.fileno()), "rb", buffering=0)  # the transport closes what it gets
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), own)
    try:
        return await reader.read()
    finally:
        transport.close()
