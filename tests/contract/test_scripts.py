"""The commands of the checkout that are shell: arguments of `scripts/run`, variables of all."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from mqd.config import Config, load
from mqd.config.sources import OTHER_VARIABLES

ROOT = Path(__file__).parents[2]
SHOWS = '#!/bin/sh\nprintf "mqd"; printf " <%s>" "$@"; echo\n'
STAYS = "#!/bin/sh\nexec sleep 60\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return variables under which the scripts find programs that only show their arguments."""
    (tmp_path / "bin").mkdir()
    for name, text in (("mqd", SHOWS), ("mqweb", STAYS)):
        program = tmp_path / "bin" / name
        program.write_text(text)
        program.chmod(0o755)
    variables = {**os.environ, "MQD_VENV": str(tmp_path)}
    stamp = '. scripts/lib.sh; _stamp web >"$VENV/.mqd-stamp"'
    subprocess.run(["bash", "-c", stamp], cwd=ROOT, env=variables, check=True)
    return variables


@pytest.mark.parametrize(
    ("given", "passed", "has_gateway"),
    [
        ("", "", False),
        ("--port 1", " <--port> <1>", False),
        ("--web", "", True),
        ("--web --port 1", " <--port> <1>", True),
        ("--port 1 --web", " <--port> <1>", True),
        ("--port 1 --web --dev", " <--port> <1> <--dev>", True),
        ("--dev -- --web", " <--dev> <--> <--web>", False),
    ],
)
def test_run_takes_web_anywhere(
    environment: dict[str, str], given: str, passed: str, *, has_gateway: bool
) -> None:
    run = subprocess.run(
        [ROOT / "scripts/run", *given.split()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == f"mqd <--config> <{ROOT}/mqd.yaml>{passed}\n"
    assert ("mqweb is ended too" in run.stderr) == has_gateway


def test_a_server_knows_the_variables_of_the_project_that_are_no_keys() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "scripts", "deploy", "tests", "benchmarks", "examples"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    texts = [
        (ROOT / name).read_text(encoding="utf-8", errors="replace")
        for name in listed
        if not name.startswith("tests/unit/")
    ]
    found = {name for text in texts for name in re.findall(r"\bMQD_[A-Z0-9_]+\b", text)}
    assert {name for name in found if "__" not in name} | {"MQD_CONFIG"} == OTHER_VARIABLES
    assert load(None, dict.fromkeys(OTHER_VARIABLES, "x"), {}) == Config()
