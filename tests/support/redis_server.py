"""A real Redis server for tests, where there is one."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 10.0


def free_port() -> int:
    """Return a port that nobody uses now; Redis takes none by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_redis(port: int) -> Iterator[str]:
    """Run a server without any files until the block ends; gives its URL."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server here (Debian: apt install redis-server)")
    with tempfile.TemporaryDirectory(prefix="redis-test-") as directory:
        command = [program, "--port", str(port), "--save", "", "--appendonly", "no"]
        process = subprocess.Popen(
            [*command, "--bind", "127.0.0.1", "--dir", directory], stdout=subprocess.DEVNULL
        )
        try:
            _wait(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise AssertionError("redis-server did not start")
