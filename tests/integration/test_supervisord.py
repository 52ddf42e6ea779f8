"""The set-up of supervisor for real: whatever is killed comes back, and no job is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path

import httpx
from supervisor.xmlrpc import SupervisorTransport

import mqclient
from support.server import ROOT

PATIENCE_SECONDS = 30.0
JOBS_A_ROUND = 8
PROGRAMS = ("mqd", "mqweb", "worker-0", "worker-1")
BIN = Path(sys.executable).parent


@dataclass
class Site:
    """A directory with a copy of the set-up, as its user would make it."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MQ", "SUPERVISOR"))}
        return {
            **kept,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.directory),  # where everything is that has no other place
            "MQD_SERVER__PORT": "0",
            "MQWEB_PORT": "0",
            "MQWEB_ADDRESS_FILE": str(self.directory / "web.json"),
        }

    @property
    def address_file(self) -> Path:
        return self.directory / ".mqd" / "default.json"

    def done(self) -> list[str]:
        path = self.directory / "done"
        return path.read_text().split() if path.exists() else []

    def running(self) -> dict[str, int]:
        """Return the process ids of the programs that run."""
        transport = SupervisorTransport(serverurl=f"unix://{self.directory}/supervisor.sock")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            found = proxy.supervisor.getAllProcessInfo()
        return {each["name"]: each["pid"] for each in found if each["statename"] == "RUNNING"}

    def health(self) -> int:
        url = json.loads((self.directory / "web.json").read_text())["url"]
        return httpx.get(f"{url}/ready").status_code

    def logs(self) -> str:
        paths = sorted(self.directory.glob("*.log"))
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in paths)


@contextlib.contextmanager
def running_site():
    # A path of its own that is short: a Unix socket's may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="mqd-sv-") as name:
        site = Site(Path(name))
        shutil.copy(ROOT / "deploy" / "supervisord.conf", name)
        done = "body=$(cat)\nsleep 0.15\necho $body >>done\n"
        (site.directory / "job.sh").write_text(done)
        process = subprocess.Popen(
            [str(BIN / "supervisord"), "--nodaemon", "-c", "supervisord.conf"],
            cwd=name,
            env=site.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield site, process
        except Exception as error:
            raise AssertionError(f"{error}\n{site.logs()}") from error
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE_SECONDS)


def wait_until(holds, what: str):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, KeyError, httpx.HTTPError, mqclient.MqError):
            found = holds()
            if found:
                return found
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}")


def all_run(site: Site, *, without: int | None = None) -> dict[str, int] | None:
    found = site.running()
    is_whole = set(PROGRAMS) <= set(found) and without not in found.values()
    return found if is_whole and site.health() == 200 else None


def test_each_process_comes_back_and_no_job_is_lost():
    with running_site() as (site, process):
        processes = wait_until(lambda: all_run(site), "everything runs")
        seen = set(processes.values())
        pushed: list[str] = []
        with mqclient.Client(address_file=site.address_file, name="pusher") as client:
            wait_until(lambda: client.info("jobs"), "the queue is made")
            for program in PROGRAMS:
                victim = processes[program]
                jobs = [f"{program}/{number}" for number in range(JOBS_A_ROUND)]
                before = len(site.done())
                client.push_many("jobs", jobs)
                pushed += jobs
                wait_until(lambda n=before: len(site.done()) > n, "jobs run")
                os.kill(victim, signal.SIGKILL)
                processes = wait_until(lambda v=victim: all_run(site, without=v), f"{program} back")
                assert victim not in processes.values()
                seen |= set(processes.values())
            wait_until(lambda: set(site.done()) >= set(pushed), "every job is done")
            infos = wait_until(lambda: nothing_is_left(client), "every queue is empty")
            assert {info.queue: info.dead for info in infos} == {"jobs": 0, "jobs.dead": 0}
        assert set(site.done()) == set(pushed)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
        the_stop_was_clean(site, seen)


def nothing_is_left(client):
    infos = client.queues()
    return infos if not any(info.ready + info.leased + info.delayed for info in infos) else None


def the_stop_was_clean(site: Site, seen: set[int]) -> None:
    logs = site.logs()
    assert "SIGKILL" not in logs.replace("terminated by SIGKILL", "")
    assert "Traceback" not in logs
    assert "FATAL" not in logs
    assert (site.directory / "mqd.log").read_text().splitlines()[-1].endswith("stopped")
    assert not site.address_file.exists()
    assert not (site.directory / "web.json").exists()
    assert not [pid for pid in seen if Path(f"/proc/{pid}").exists()]
