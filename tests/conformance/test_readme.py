"""Every code block of README.md, run in its order against the server of its first block."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.server import ROOT, START_SECONDS, STOP_SECONDS

BLOCK = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())
OUTPUT = re.compile(r"print\(.*#\s+(.+)$", re.MULTILINE)


@dataclass
class Session:
    """A home of its own, in which the server runs and the blocks are tried."""

    directory: Path
    environment: dict[str, str]

    def run(self, command: list[str], **options) -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            **options,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MQ_", "MQD_"))}
    environment |= {"HOME": str(home), "MQD_SERVER__PORT": "0", "MQD_VENV": sys.prefix}
    directory = tmp_path_factory.mktemp("clone")
    (directory / ".venv").symlink_to(sys.prefix)
    (directory / "scripts").symlink_to(ROOT / "scripts")
    session = Session(directory, environment)
    [command] = [text for language, use, text in BLOCKS if use == "server"]
    log = home / "server.log"
    with log.open("wb") as stderr:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=directory,
            env=environment,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (home / ".mqd/default.json").exists():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield session
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(STOP_SECONDS)
    assert server.returncode == 0


@pytest.fixture(autouse=True)
def _needs_a_virtual_environment():
    if not Path(sys.prefix, ".mqd-stamp").exists():
        pytest.skip("the environment was not made by scripts/lib.sh: run scripts/test")


def test_the_first_session(session):
    """The blocks build on each other, so they are one test."""
    outputs = []
    for language, use, text in BLOCKS:
        if language == "bash" and not use:
            terminal = "source .venv/bin/activate\n" if outputs else ""  # it stays activated
            outputs.append(session.run(["bash", "-euc", terminal + text]))
        elif language == "python":
            output = session.run([sys.executable, "-c", text])
            for expected in OUTPUT.findall(text):
                assert expected in output
            outputs.append(output)
    shell, work, jobs, life, typed, asynchronous = outputs
    assert shell.splitlines()[-1] == '{"x": 1}'
    assert work.split() == [str(len('{"x": 2}\n'))]
    assert jobs == "100\n"
    assert "train.dead" in life
    assert typed == "resnet 0\n"
    assert asynchronous == f"{sum(range(100))}\n"


def test_the_test_command_is_what_ci_runs():
    [command] = [text.strip() for _, use, text in BLOCKS if use == "tests"]
    assert (ROOT / command).exists()
    assert command in (ROOT / ".ci/run").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_ends_with_a_plot_and_the_serial_result(session):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    [command] = [text for _, use, text in BLOCKS if use == "demo"]
    output = session.run(["bash", "-euc", command])
    assert "Equal to the serial sweep" in output
    plot = session.directory / "digits_sweep.png"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_every_block_is_run_by_one_of_these_tests():
    uses = {(language, use) for language, use, _ in BLOCKS}
    assert uses == {
        ("bash", "server"),
        ("bash", "tests"),
        ("bash", "demo"),
        ("bash", ""),
        ("python", ""),
    }
