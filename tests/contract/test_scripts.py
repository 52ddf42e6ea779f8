"""The commands of the checkout that are shell: how `scripts/run` takes its arguments."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

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
