"""The command `mqd`: flags, words, exit codes. No server is started: `mqd.app` is replaced."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import argon2
import pytest
from click.testing import CliRunner

import mqwire
from mqd import __main__
from mqd.address_file import AddressFileError, AddressInUse
from mqd.config import KEYS, Config, ConfigError, Problem
from mqd.core.access import Role

ROOT = Path(__file__).resolve().parents[3]
SOUND = "the configuration is sound\n"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("MQD_"):
            monkeypatch.delenv(name)


@pytest.fixture
def served(monkeypatch):
    """Record what would be served; `outcome` is returned, or raised if it is an exception."""
    calls = SimpleNamespace(configs=[], dev=[], outcome=0)

    def serve(config, *, dev):
        calls.configs.append(config)
        calls.dev.append(dev)
        if isinstance(calls.outcome, Exception):
            raise calls.outcome
        return calls.outcome

    monkeypatch.setitem(sys.modules, "mqd.app", SimpleNamespace(serve=serve))
    return calls


def run(*arguments, stdin=None):
    return CliRunner().invoke(__main__.main, arguments, input=stdin, prog_name="mqd")


def run_module(*arguments, flags=(), stdin=b""):
    command = [sys.executable, *flags, "-m", "mqd", *arguments]
    return subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, timeout=60, check=False
    )


# Help and version


def test_help_names_every_flag():
    result = run("--help")
    assert result.exit_code == 0
    for flag in (
        "-c, --config",
        "--host",
        "--port",
        "--data-dir",
        "--unix-socket",
        "--address-file",
        "--loop",
        "--dev",
        "--check-config",
        "--print-config",
        "--version",
        "hash-password",
    ):
        assert flag in result.output


def test_version():
    assert run("--version").output == f"mqd {mqwire.__version__}\n"


def test_help_imports_nothing_slow():
    code = (
        "import sys; from mqd.__main__ import main\n"
        "try: main(['--help'])\n"
        "finally: print({'asyncio', 'uvloop', 'argon2', 'yaml', 'mqd.config', 'mqd.app'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("set()\n")


# Configuration


def test_without_anything_the_defaults_are_served(served):
    result = run()
    assert (result.exit_code, result.output) == (0, "")
    assert served.configs == [Config()]
    assert served.dev == [False]


def test_each_flag_sets_its_key(served):
    result = run(
        "--host",
        "::1",
        "--port",
        "0",
        "--data-dir",
        "/d",
        "--unix-socket",
        "/s",
        "--address-file",
        "/a",
        "--loop",
        "asyncio",
    )
    assert result.exit_code == 0
    (config,) = served.configs
    assert (config.server.host, config.server.port, config.server.loop) == ("::1", 0, "asyncio")
    assert (config.server.unix_socket, config.server.address_file) == ("/s", "/a")
    assert config.storage.path == "/d"


def test_every_flag_of_a_key_is_the_one_the_key_tells():
    options = {parameter.name: parameter.opts[-1] for parameter in __main__.main.params}
    told = {key.flag: path for path, key in KEYS.items() if key.flag}
    assert told == {options[name]: path for name, path in __main__._KEYS_BY_PARAMETER.items()}


def test_an_empty_address_file_is_none(served):
    run("--address-file", "")
    assert served.configs[0].server.address_file is None


def test_the_file_comes_from_the_flag_or_else_the_variable(served, tmp_path, monkeypatch):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("server: {port: 1}")
    two.write_text("server: {port: 2}")
    monkeypatch.setenv("MQD_CONFIG", str(one))
    run()
    run("-c", str(two))
    run("--config", str(two), "--port", "3")
    assert [config.server.port for config in served.configs] == [1, 2, 3]


def test_a_file_in_the_directory_is_not_taken_unasked(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mqd.yaml").write_text("server: {port: 1}")
    run()
    assert served.configs == [Config()]


def test_checking_serves_nothing(served):
    result = run("--check-config", "-c", str(ROOT / "mqd.yaml"))
    assert (result.exit_code, result.stdout, result.stderr) == (0, SOUND, "")
    assert served.configs == []


def test_printing_shows_what_is_in_force(served, monkeypatch):
    monkeypatch.setenv("MQD_QUEUES__MAX_QUEUES", "7")
    result = run("--print-config", "--port", "1")
    assert result.exit_code == 0
    assert "  port: 1\n" in result.stdout
    assert "  max_queues: 7\n" in result.stdout
    assert served.configs == []


def test_all_problems_are_told_a_line_each(served, tmp_path, monkeypatch):
    path = tmp_path / "c.yaml"
    path.write_text("server: {prot: 1}")
    monkeypatch.setenv("MQD_STORAGE__DURABILITY", "safe")
    result = run("-c", str(path), "--port", "65536")
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("mqd: ") for line in lines)
    assert f"{path}:1" in lines[0]
    assert "variable MQD_STORAGE__DURABILITY" in lines[1]
    assert "flag --port" in lines[2]
    assert served.configs == []


@pytest.mark.parametrize("arguments", [["--port", "x"], ["--prot", "1"], ["serve"], ["--host"]])
def test_a_wrong_command_line(served, arguments):
    assert run(*arguments).exit_code == 2
    assert served.configs == []


# Development


def test_development_has_the_three_users_and_says_so(served):
    result = run("--dev")
    assert result.exit_code == 0
    assert "anyone on this machine can come in" in result.stderr
    assert "cannot come in" not in result.stderr
    users = served.configs[0].auth.users
    assert [(user.name, user.role) for user in users] == [
        (role.word, role) for role in (Role.ADMIN, Role.AGENT, Role.USER)
    ]
    for user in users:
        assert argon2.PasswordHasher().verify(user.password_hash, user.name)
    assert served.dev == [True]


def test_development_drops_configured_users_and_says_so(served, monkeypatch):
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("x")
    users = f'[{{name: ada, password_hash: "{hashed}", role: admin}}]'
    monkeypatch.setenv("MQD_AUTH__USERS", users)
    result = run("--dev")
    assert "The users of the configuration cannot come in." in result.stderr
    assert "ada" not in served.configs[0].auth.users_by_name


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "login-1", "127.0.0.1.example"])
def test_development_is_refused_off_loopback(served, host):
    result = run("--dev", "--host", host)
    assert result.exit_code == 2
    assert f"server.host is {host}" in result.stderr
    assert served.configs == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_development_on_loopback(served, host):
    assert run("--dev", "--host", host).exit_code == 0


# Exit codes


@pytest.mark.parametrize(
    ("outcome", "code", "words"),
    [
        (0, 0, ""),
        (3, 3, ""),
        (AddressInUse("it is taken"), 3, "mqd: it is taken\n"),
        (AddressFileError("it is odd"), 2, "mqd: it is odd\n"),
        (ConfigError([Problem("a.b", "x"), Problem("c.d", "y")]), 2, "mqd: a.b: x\nmqd: c.d: y\n"),
        (OSError(98, "7500 is in use"), 3, "mqd: 7500 is in use; give another one with --port\n"),
        (
            OSError(99, "not our address"),
            3,
            "mqd: not our address; give an address of this machine with --host\n",
        ),
        (OSError("no such loop"), 3, "mqd: no such loop\n"),
        (
            PermissionError(13, "Permission denied", "/d"),
            1,
            "mqd: /d: Permission denied; it has to be open to the account that runs mqd\n",
        ),
    ],
)
def test_exit_codes_and_words(served, outcome, code, words):
    served.outcome = outcome
    result = run()
    assert (result.exit_code, result.stderr) == (code, words)


def test_a_bug_is_not_hidden(served):
    served.outcome = KeyError("bug")
    result = run()
    assert result.exit_code == 1
    assert isinstance(result.exception, KeyError)


def test_python_without_assertions_is_refused():
    done = run_module("--check-config", flags=["-O"])
    assert done.returncode == 2
    assert b"-O leaves out checks" in done.stderr


def test_refusals_are_no_tracebacks():
    done = run_module("--port", "70000", "--host", "")
    assert done.returncode == 2
    assert done.stdout == b""
    assert len(done.stderr.splitlines()) == 2
    assert b"Traceback" not in done.stderr


# Hashing passwords


def verifies(encoded, password):
    return argon2.PasswordHasher().verify(encoded.strip(), password)


@pytest.mark.parametrize("line", ["correct horse\n", "correct horse", "correct horse\r\nmore\n"])
def test_a_line_of_standard_input_is_hashed(line):
    result = run("hash-password", stdin=line)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    assert verifies(result.stdout, "correct horse")


def test_the_printed_hash_is_taken_by_the_configuration(tmp_path):
    hashed = run_module("hash-password", stdin="schön\n".encode()).stdout.decode().strip()
    path = tmp_path / "c.yaml"
    path.write_text(f"auth: {{users: [{{name: ada, role: user, password_hash: '{hashed}'}}]}}")
    assert run("-c", str(path), "--check-config").stdout == SOUND
    assert verifies(hashed, "schön")


def test_the_longest_password_and_one_longer():
    assert run("hash-password", stdin="😀" * 256 + "\r\n").exit_code == 0
    for line in ("x" * 257, "😀" * 257, "é" * 100_000, "", "\n"):
        result = run("hash-password", stdin=line)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == "mqd: a password has 1 to 256 characters\n"


def test_a_password_that_is_no_text():
    result = run("hash-password", stdin=b"\xff\n")
    assert (result.exit_code, result.stderr) == (2, "mqd: the password is not UTF-8\n")


def test_a_terminal_is_asked_twice(monkeypatch):
    monkeypatch.setattr(__main__, "_is_terminal", lambda: True)
    result = run("hash-password", stdin="one\ntwo\none\none\n")
    assert result.exit_code == 0
    assert verifies(result.stdout.splitlines()[-1], "one")
    assert "do not match" in result.stderr
    assert "one" not in result.stdout.replace(result.stdout.splitlines()[-1], "")


def test_a_command_serves_nothing(served):
    run("hash-password", stdin="x\n")
    assert served.configs == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("foo",), "No such command 'foo'; see `mqd --help`"),
        (
            ("--port", "abc"),
            "Invalid value for '--port': 'abc' is not a valid integer; see `mqd --help`",
        ),
    ],
)
def test_what_is_wrong_with_a_command_line_is_one_sentence(served, arguments, says):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"mqd: {says}\n"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EADDRNOTAVAIL, "cannot assign"), "cannot assign; give an address of this"),
        (OSError(errno.EACCES, "permission denied"), "permission denied; ports below 1024"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied; it has"),
    ],
)
def test_an_error_of_the_system_has_a_next_step(served, error, says):
    served.outcome = error
    assert run().stderr.startswith(f"mqd: {says}")
