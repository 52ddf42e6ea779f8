"""A real server process for tests, on free ports, with its own directory."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import argon2
import yaml

from mqwire.address import Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse"
ROLES = {"admin": "admin", "agent": "agent", "user": "user"}
START_SECONDS = 20.0
STOP_SECONDS = 10.0

# As weak as argon2 lets a hash be: tests check many passwords.
_hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class RunningServer:
    """A server process and how to reach it."""

    process: subprocess.Popen[bytes]
    directory: Path
    address: Address
    loop: str

    @property
    def address_file(self) -> Path:
        return self.directory / "address.json"

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def frame_log_dir(self) -> Path:
        return self.data_dir / "frames"

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def port(self) -> int:
        tcp = next(url for url in self.address.urls if url.startswith("mq://"))
        return int(tcp.rpartition(":")[2])

    @property
    def socket_path(self) -> Path:
        return self.directory / "mqd.sock"

    @property
    def url(self) -> str:
        """URL with an administrator's credentials."""
        return self.url_for("admin")

    def url_for(self, user: str) -> str:
        return f"mq://{user}:{PASSWORD.replace(' ', '%20')}@{self.host}:{self.port}"

    def unix_url_for(self, user: str) -> str:
        return f"mq+unix://{user}:{PASSWORD.replace(' ', '%20')}@{self.socket_path}"

    @property
    def stderr(self) -> str:
        return (self.directory / "stderr").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the process and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@functools.cache
def _password_hash() -> str:
    """Return the same hash for each start: tokens of users end with another one."""
    return _hasher.hash(PASSWORD)


def write_config(directory: Path, overrides: Mapping[str, Mapping[str, Any]]) -> Path:
    config: dict[str, dict[str, Any]] = {
        "server": {
            "port": 0,
            "unix_socket": str(directory / "mqd.sock"),
            "address_file": str(directory / "address.json"),
        },
        "storage": {"path": str(directory / "data")},
        "queues": {"backoff": "none"},  # no test is to wait where it does not say so
        "auth": {
            "users": [
                {"name": name, "password_hash": _password_hash(), "role": role}
                for name, role in ROLES.items()
            ]
        },
    }
    for section, values in overrides.items():
        config.setdefault(section, {}).update(values)
    path = directory / "mqd.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def running_server(
    *,
    loop: str = "auto",
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    directory: Path | None = None,
    command: Sequence[str] = (),
) -> Iterator[RunningServer]:
    """Run `python -m mqd` until the block ends; it must stop cleanly and log no traceback.

    `directory` is that of an earlier run, to go on from; `command` stands before Python.
    """
    with contextlib.ExitStack() as stack:
        if directory is None:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="mqd-test-"))
            directory = Path(name)
        (directory / "address.json").unlink(missing_ok=True)  # of one that was killed
        config = write_config(directory, overrides or {})
        with (directory / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                [*command, sys.executable, "-m", "mqd", "--config", str(config), "--loop", loop],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={k: v for k, v in os.environ.items() if not k.startswith(("MQD_", "MQ_"))},
            )
        try:
            address = _wait_for_address(process, directory)
            server = RunningServer(process, directory, address, loop)
            yield server
            if process.poll() is None:
                assert server.stop() == 0, server.stderr
            assert "Traceback" not in server.stderr, server.stderr
            assert "ERROR asyncio" not in server.stderr, server.stderr
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _wait_for_address(process: subprocess.Popen[bytes], directory: Path) -> Address:
    path = directory / "address.json"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if path.exists():
            return Address.from_json(path.read_text())
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise AssertionError(f"the server did not start:\n{(directory / 'stderr').read_text()}")


def read_json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
