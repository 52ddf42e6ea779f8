"""The files of deploy/ say what they have to, and the tools that read them take them.

A tool that is not there is no failure: the tests of its file are skipped and say so.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import mqd.__main__ as mqd_command
import mqweb.cli as mqweb_command
from mqweb import server as mqweb_server
from support.image_root import instructions, let_through

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
UNITS = sorted((DEPLOY / "systemd").rglob("*.service"))
SCRIPTS = [*sorted((DEPLOY / "slurm").iterdir()), DEPLOY / "job.sh"]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
# What DOCUMENTATION.md asks of whatever stops the server, and what a drain of workers takes.
MQD_STOP_SECONDS = 40
MQWEB_STOP_SECONDS = mqweb_server._GRACE_SECONDS
KILL_SECONDS = 5
LOOK_FIRST = {mqd_command.EXIT_USAGE, mqd_command.EXIT_CANNOT_LISTEN, mqd_command.EXIT_DAMAGED}
WEB_LOOK_FIRST = {mqweb_command.EXIT_USAGE, mqweb_command.EXIT_CANNOT_LISTEN}


def tool(name: str) -> str:
    path = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        pytest.skip(f"there is no {name} here")
    return path


def said_by(*command: str | Path, **options) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


# The Dockerfile


def test_hadolint_has_nothing_against_the_dockerfile():
    assert said_by(tool("hadolint"), DEPLOY / "Dockerfile") == ""


def test_the_dockerfile_has_what_a_server_needs_of_it():
    said = instructions((DEPLOY / "Dockerfile").read_text())
    last = {each.word: each.rest for each in said}
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"]), "a number that is not root's"
    assert json.loads(last["CMD"]) == ["mqd"]
    assert json.loads(last["HEALTHCHECK"].partition(" CMD ")[2])[:2] == ["mqctl", "ping"]
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["VOLUME"]) == ["/data"]
    assert "EXTRAS=web" in [each.rest for each in said if each.word == "ARG"]


def test_the_build_is_given_what_the_package_is_made_of_and_nothing_else():
    ignored = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    files = said_by("git", "ls-files", cwd=ROOT).splitlines()
    given = {name for name in files if let_through(name, ignored)}
    packages = ("mqwire/", "mqd/", "mqclient/", "mqweb/")
    needed = {"setup.cfg", "pyproject.toml", "README.md"}
    assert given == needed | {name for name in files if name.startswith(packages)}
    copied = " ".join(
        each.rest
        for each in instructions((DEPLOY / "Dockerfile").read_text())
        if each.word == "COPY"
    ).split()
    assert {*needed, *packages} <= set(copied)
    assert not let_through("mqd/__pycache__/app.pyc", ignored)
    assert not let_through("deploy/secrets/mqd.yaml", ignored)


# compose.yaml


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_has_no_more_rights_than_it_needs_and_says_how_it_is(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["tmpfs"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert "curl" not in str(service["healthcheck"])
    assert all(re.match(r"\$\{\w+:-127\.0\.0\.1:", port) for port in service["ports"])
    assert "password" not in str(service).lower()


def test_services_have_the_time_to_stop_and_start_in_order():
    mqd, mqweb = COMPOSE["services"]["mqd"], COMPOSE["services"]["mqweb"]
    assert int(mqd["stop_grace_period"].rstrip("s")) > MQD_STOP_SECONDS
    assert int(mqweb["stop_grace_period"].rstrip("s")) > MQWEB_STOP_SECONDS
    assert mqweb["depends_on"]["mqd"]["condition"] == "service_healthy"
    secret = COMPOSE["secrets"][mqd["secrets"][0]]
    assert secret == {"file": "./secrets/mqd.yaml"}
    assert "data:/data" in mqd["volumes"]


def test_compose_takes_its_file(tmp_path):
    (tmp_path / "deploy/secrets").mkdir(parents=True)
    (tmp_path / "deploy/secrets/mqd.yaml").touch()
    text = (DEPLOY / "compose.yaml").read_text()
    command = ["docker", "compose"]
    if (
        shutil.which("docker") is None
        or subprocess.run([*command, "version"], capture_output=True, check=False).returncode
    ):
        # The first generation, which Debian has: it knows all of it but the name.
        command = [tool("docker-compose")]
        text = text.replace("name: mqd\n", "")
    path = tmp_path / "deploy/compose.yaml"
    path.write_text(text)
    shown = yaml.safe_load(said_by(*command, "--file", path, "config"))
    assert shown["services"]["mqweb"]["read_only"] is True


# supervisord.conf


def supervised() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read(DEPLOY / "supervisord.conf")
    return parser


def test_supervisor_stops_workers_first_and_gives_each_its_time():
    parser = supervised()
    times = {name: parser.getint(f"program:{name}", "stopwaitsecs") for name in PROGRAMS}
    order = sorted(PROGRAMS, key=lambda name: parser.getint(f"program:{name}", "priority"))
    drain = int(parser.get("program:worker", "command").partition("--drain ")[2].split()[0])
    assert order == list(PROGRAMS)
    assert times["mqd"] > MQD_STOP_SECONDS
    assert times["mqweb"] > MQWEB_STOP_SECONDS
    assert times["worker"] > drain + KILL_SECONDS


PROGRAMS = ("mqd", "mqweb", "worker")


def test_supervisor_starts_no_server_again_that_somebody_has_to_look_at():
    parser = supervised()
    codes = {name: exit_codes(parser.get(f"program:{name}", "exitcodes")) for name in PROGRAMS}
    assert codes["mqd"] == LOOK_FIRST | {0}
    assert codes["mqweb"] == WEB_LOOK_FIRST | {0}
    for name in PROGRAMS:
        assert parser.get(f"program:{name}", "autorestart") == "unexpected"
        assert parser.get(f"program:{name}", "stdout_logfile_maxbytes") != "0"


def exit_codes(text: str) -> set[int]:
    return {int(code) for code in re.split(r"[ ,]+", text)}


def test_no_file_of_the_set_up_names_a_place_of_one_machine():
    text = (DEPLOY / "supervisord.conf").read_text()
    values = [line for line in text.splitlines() if line and not line.startswith(";")]
    assert not re.search(r"(?:^|[\s=\"])/\w", "\n".join(values))


# systemd


def unit(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_systemd_takes_the_unit(path, tmp_path):
    analyze = tool("systemd-analyze")
    # Where this environment has the programs stands for where an installation has them.
    text = re.sub(r"(?m)^(ExecStart=)\S+/bin/", rf"\g<1>{BIN}/", path.read_text())
    copy = tmp_path / path.name.replace("@", "@jobs")
    copy.write_text(text)
    whose = ["--user"] if path.parent.name == "user" else []
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    said = said_by(analyze, "verify", "--man=no", *whose, copy, env=environment)
    assert path.name.split(".")[0] not in said, said


@pytest.mark.parametrize("name", ["mqd", "mqweb"])
def test_systemd_finds_little_that_the_unit_may_do(name):
    path = DEPLOY / "systemd" / f"{name}.service"
    said = said_by(
        tool("systemd-analyze"), "security", "--offline=true", "--no-pager", "--threshold=20", path
    )
    assert "Overall exposure level" in said


@pytest.mark.parametrize("path", UNITS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_unit_has_the_time_to_stop_and_ends_where_somebody_has_to_look(path):
    said = unit(path)
    stop = int(said["TimeoutStopSec"][0])
    prevented = exit_codes(said["RestartPreventExitStatus"][0])
    assert said["Restart"] == ["on-failure"]
    assert said["KillMode"] == ["mixed"]
    if path.name == "mqd.service":
        assert said["Type"] == ["notify"]
        assert stop > MQD_STOP_SECONDS
        assert prevented == LOOK_FIRST
    elif path.name == "mqweb.service":
        assert stop > MQWEB_STOP_SECONDS
        assert prevented == WEB_LOOK_FIRST
    else:
        drain = int(said["ExecStart"][0].partition("--drain ")[2].split()[0])
        assert stop > drain + KILL_SECONDS
        assert "7" in said["SuccessExitStatus"]


# Scripts


def test_shellcheck_has_nothing_against_the_scripts():
    assert said_by(tool("shellcheck"), *SCRIPTS) == ""


@pytest.mark.parametrize("name", ["server", "workers"])
def test_slurm_tells_the_shell_a_minute_before_and_the_shell_is_the_program(name):
    text = (DEPLOY / "slurm" / f"{name}.sbatch").read_text()
    assert "#SBATCH --signal=B:TERM@60" in text
    last = text.rstrip().replace("\\\n", "").splitlines()[-1]
    assert last.startswith("exec mq"), "a shell that waits would not pass the signal on"
    if name == "workers":
        assert int(last.partition("--drain ")[2].split()[0]) + KILL_SECONDS < 60
