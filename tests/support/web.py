"""A real gateway process in front of a real server, and requests to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from support.server import PASSWORD, ROOT, START_SECONDS, STOP_SECONDS, running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mqwire.codes import Code, GatewayCode
    from support.server import RunningServer


@dataclass
class RunningGateway:
    """A gateway process and how to reach it."""

    process: subprocess.Popen[bytes]
    directory: Path
    url: str
    server: RunningServer
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def stderr(self) -> str:
        return (self.directory / "stderr").read_text()

    def token(self, user: str = "admin") -> str:
        if user not in self.tokens:
            said = {"user": user, "password": PASSWORD}
            reply = httpx.post(f"{self.url}/token", json=said)
            assert reply.status_code == 200, reply.text
            self.tokens[user] = reply.json()["token"]
        return self.tokens[user]

    def client(self, user: str = "admin", **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers(user), timeout=20, **options)

    def async_client(self, user: str = "admin") -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=self.headers(user), timeout=20)

    def headers(self, user: str = "admin") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(user)}"}

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def running_gateway(
    server: RunningServer, settings: Mapping[str, str] | None = None
) -> Iterator[RunningGateway]:
    """Run `python -m mqweb` until the block ends; it must stop cleanly and log no traceback."""
    with tempfile.TemporaryDirectory(prefix="mqweb-test-") as name:
        directory = Path(name)
        address_file = directory / "web.json"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MQ_", "MQWEB_"))}
        said = {"PORT": "0", "ADDRESS_FILE": str(address_file), "MQD": server.url_for("admin")}
        said.update(settings or {})
        environment.update({f"MQWEB_{key}": value for key, value in said.items()})
        with (directory / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "mqweb"], cwd=ROOT, stderr=stderr, env=environment
            )
        try:
            url = _wait_for_url(process, address_file, directory)
            gateway = RunningGateway(process, directory, url, server)
            yield gateway
            if process.poll() is None:
                assert gateway.stop() == 0, gateway.stderr
            assert "Traceback" not in gateway.stderr, gateway.stderr
            assert " ERROR " not in gateway.stderr, gateway.stderr
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@contextlib.contextmanager
def running_both(settings: Mapping[str, str] | None = None) -> Iterator[RunningGateway]:
    with running_server() as server, running_gateway(server, settings) as gateway:
        yield gateway


def refused(reply: httpx.Response, code: Code | GatewayCode) -> dict[str, Any]:
    """Check that a reply is a problem document with a code, and return it."""
    problem: dict[str, Any] = reply.json()
    assert problem["code"] == code.name, problem
    assert reply.status_code == problem["status"] == code.http_status
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem["title"] == code.summary
    assert "Traceback" not in reply.text
    return problem


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is so; it must come to pass."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def _wait_for_url(process: subprocess.Popen[bytes], path: Path, directory: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if path.exists():
            url: str = json.loads(path.read_text())["url"]
            return url
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise AssertionError(f"the gateway did not start:\n{(directory / 'stderr').read_text()}")
