"""mqctl as a process of its own, against a real server, in pipes and on terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from mqclient.ctl import exits
from support.server import PASSWORD, ROOT, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "mqclient.ctl"]
SECONDS = 30


@pytest.fixture(scope="module")
def server():
    with running_server() as running:
        yield running


class Shell:
    """Runs mqctl as the user who started the server: with nothing typed."""

    def __init__(self, server) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MQ")}
        self.environment = {**kept, "MQ_ADDRESS_FILE": str(server.address_file), "NO_COLOR": "1"}

    def __call__(self, *arguments: str, stdin: bytes = b"", **extra: str):
        return subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            cwd=ROOT,
            env={**self.environment, **extra},
            timeout=SECONDS,
            check=False,
        )

    def start(self, *arguments: str, **streams) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=self.environment, **streams)

    @contextmanager
    def on_terminal(self, *arguments: str, **streams) -> Iterator[bytearray]:
        """Run with the standard output and error on one terminal; give what it shows."""
        leader, follower = pty.openpty()
        shown = bytearray()
        process = self.start(*arguments, stdout=follower, stderr=follower, **streams)
        os.close(follower)
        try:
            while chunk := _read(leader):
                shown += chunk
        finally:
            os.close(leader)
            process.wait(SECONDS)
        yield shown


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # the other end has closed
        return b""


@pytest.fixture(scope="module")
def mqctl(server):
    return Shell(server)


@pytest.fixture
def jobs(mqctl, queue):
    assert mqctl("create", queue).returncode == 0
    return queue


def test_a_first_session(mqctl, queue):
    assert mqctl("create", queue).returncode == 0
    assert mqctl("push", queue, '{"x": 1}').returncode == 0
    done = mqctl("pull", queue)
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, {"x": 1}, b"")
    done = mqctl("pull", queue)
    assert (done.returncode, done.stdout, done.stderr) == (exits.EMPTY, b"", b"")
    assert mqctl("delete", queue).returncode == 0
    done = mqctl("info", queue)
    assert done.returncode == exits.REFUSED
    assert done.stderr.startswith(b"mqctl: QUEUE_NOT_FOUND: ")
    assert done.stderr.count(b"\n") == 1


def test_what_ls_and_info_tell(mqctl, jobs):
    mqctl("push", jobs, "a", "b")
    mqctl("pull", jobs)
    info = json.loads(mqctl("ls", jobs, "--json").stdout)
    assert (info["queue"], info["ready"], info["pushed"], info["pulled"]) == (jobs, 1, 2, 1)
    assert mqctl("ls", jobs).stdout.split()[:2] == [jobs.encode(), b"1"]
    assert json.loads(mqctl("--json", "info", jobs).stdout)["created_at"] == info["created_at"]


def test_bounds(mqctl, queue):
    assert mqctl("create", queue, "--max-messages", "1", "--max-bytes", "1MiB").returncode == 0
    done = mqctl("push", queue, "a", "b")
    assert done.returncode == exits.REFUSED
    assert b"QUEUE_FULL" in done.stderr


def test_a_pipe_of_many_lines_comes_out_as_it_went_in(mqctl, jobs):
    lines = b"".join(b'{"job": %d, "name": "\xc3\xbc"}\n' % number for number in range(20_000))
    done = mqctl("push", jobs, "--json", stdin=lines)
    assert json.loads(done.stdout)["count"] == 20_000
    assert done.stderr == b""
    pulled = mqctl("pull", jobs, "--all").stdout
    assert [json.loads(line) for line in pulled.splitlines()] == [
        json.loads(line) for line in lines.splitlines()
    ]


def test_binary_data_comes_out_as_it_went_in(mqctl, jobs):
    data = bytes(range(256)) * 1000
    assert mqctl("push", jobs, "--raw", "--whole", "-H", "kind=data", stdin=data).returncode == 0
    assert json.loads(mqctl("peek", jobs, "--json").stdout)["headers"] == {"kind": "data"}
    assert mqctl("pull", jobs, "--raw", "--whole").stdout == data


def test_large_messages_all_come(mqctl, jobs):
    body = b"x" * (7 * 1024 * 1024)
    for _ in range(5):
        assert mqctl("push", jobs, "--raw", "--whole", stdin=body).returncode == 0
    assert mqctl("pull", jobs, "--raw", "--whole", "--all").stdout == body * 5


def test_wait_ends_with_the_first_message(mqctl, jobs):
    with mqctl.start("pull", jobs, "--wait", "25", stdout=subprocess.PIPE) as waiting:
        _until(lambda: json.loads(mqctl("info", jobs, "--json").stdout)["waiting"] == 1)
        mqctl("push", jobs, "late")
        assert waiting.stdout.read() == b'"late"\n'
    assert waiting.returncode == 0


def test_follow_goes_on_until_ctrl_c(mqctl, jobs):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with mqctl.start("pull", jobs, "--follow", **streams) as following:
        for body in (b"1", b"2"):
            mqctl("push", jobs, body.decode())
            assert following.stdout.readline() == body + b"\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(SECONDS) == exits.INTERRUPTED
        assert following.stdout.read() == b""
        assert following.stderr.read().strip() == b""


def test_ping_and_version(mqctl):
    assert [float(line) > 0 for line in mqctl("ping", "-n", "3").stdout.splitlines()] == [True] * 3
    versions = json.loads(mqctl("version", "--json").stdout)
    assert versions["server"] == versions["client"]


# Errors


@pytest.mark.parametrize("user", ["user", "agent"])
def test_a_role_that_may_not(mqctl, server, queue, user):
    done = mqctl("create", queue, "--url", server.url_for(user))
    assert done.returncode == exits.REFUSED
    assert b"ACCESS_DENIED" in done.stderr


def test_a_wrong_password_is_refused_and_not_shown(mqctl, server):
    url = f"mq://admin:secret@127.0.0.1:{server.port}"
    done = mqctl("ls", MQ_URL=url)
    assert done.returncode == exits.REFUSED
    assert b"AUTH_FAILED" in done.stderr
    assert b"secret" not in done.stderr


def test_nobody_is_there(mqctl, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"mq://a:b@127.0.0.1:{taken.getsockname()[1]}"
        done = mqctl("--url", url, "--timeout", "0.2", "ls")
    assert done.returncode == exits.CANNOT_CONNECT
    assert done.stderr.count(b"\n") == 1
    missing = mqctl("ls", "--address-file", str(tmp_path / "none"))
    assert missing.returncode == exits.CANNOT_CONNECT
    assert mqctl("version", "--url", url, "--timeout", "0.2").returncode == 0


def test_somebody_is_there_who_says_nothing(mqctl):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mq://a:b@127.0.0.1:{silent.getsockname()[1]}"
        done = mqctl("--url", url, "--timeout", "0.2", "ls")
    assert done.returncode in (exits.CANNOT_CONNECT, exits.TIMED_OUT)
    assert done.stderr.count(b"\n") == 1


def test_a_url_that_is_none(mqctl):
    assert mqctl("--url", "localhost", "ls").returncode == exits.USAGE


def test_a_reader_that_has_gone(mqctl, jobs):
    reading, writing = os.pipe()
    os.close(reading)
    with mqctl.start("ls", stdout=writing, stderr=subprocess.PIPE) as listing:
        os.close(writing)
        assert listing.stderr.read() == b""
    assert listing.returncode == 0


def test_messages_for_a_reader_that_has_gone_are_named(mqctl, jobs):
    mqctl("push", jobs, "1", "2")
    reading, writing = os.pipe()
    os.close(reading)
    with mqctl.start("pull", jobs, "--all", stdout=writing, stderr=subprocess.PIPE) as pulling:
        os.close(writing)
        message = pulling.stderr.read()
    assert pulling.returncode == exits.INTERNAL
    assert b"messages 1 to 2 were pulled" in message
    assert message.count(b"\n") == 1


# On a terminal


def test_a_person_sees_tables(mqctl, jobs):
    with mqctl.on_terminal("ls", jobs) as shown:
        assert b"waiting" in shown
        assert jobs.encode() in shown


def test_a_body_does_not_control_the_terminal(mqctl, jobs):
    mqctl("push", jobs, "--raw", "--whole", stdin=b"\x1b]0;evil\x07\x9b2J")
    for options in ((), ("--raw",), ("--json",)):
        with mqctl.on_terminal("peek", jobs, *options) as shown:
            assert b"\x1b" not in shown
            assert b"\x07" not in shown
            assert len(shown) > 10


def test_a_person_sees_a_long_push_move(mqctl, jobs, tmp_path):
    path = tmp_path / "lines"
    path.write_text("".join(f"{number}\n" for number in range(200_000)))
    with mqctl.on_terminal("push", jobs, "--file", str(path)) as shown:
        assert b"200,000 messages" in shown
        assert re.search(rb"pushed 200000 messages to .*, ids 1 to 200000", shown)


# The frame log


def test_the_log_has_it_all_but_secrets(mqctl, server, jobs):
    url = server.url_for("agent")
    mqctl("push", jobs, '{"x": "needle"}', "-H", "sweep=a", "--url", url)
    mqctl("pull", jobs, "--json", "--url", url)
    directory = str(server.frame_log_dir)

    def log(*options: str) -> str:
        done = mqctl("log", directory, "--queue", jobs, *options)
        assert done.returncode == 0
        return done.stdout.decode()

    _until(lambda: "<<" in log("--verb", "pull"))
    lines = log().splitlines()
    assert [line.split()[8] for line in lines] == ["CREATE", "OK", "PUSH", "OK", "PULL", "OK"]
    assert all(" agent " in line for line in lines[2:])
    assert "needle" in lines[2]
    assert '{"sweep": "a"}' in lines[5]
    frames = [json.loads(line) for line in log("--json", "--user", "agent").splitlines()]
    assert frames[0]["frame"][:4] == ["PUSH", 2, jobs, 1]
    assert json.loads(frames[0]["frame"][4][0]) == {"x": "needle"}
    assert frames[0]["source"] == frames[1]["destination"] != frames[0]["destination"]
    whole = mqctl("log", directory, "--width", "0").stdout.decode()
    assert "AUTH" in whole
    assert PASSWORD not in whole
    assert server.address.token not in whole


def test_shells_complete_names_of_queues(mqctl, jobs):
    words = {"COMP_WORDS": f"mqctl pull {jobs[:-1]}", "COMP_CWORD": "2"}
    done = mqctl(_MQCTL_COMPLETE="bash_complete", **words)
    assert f"plain,{jobs}" in done.stdout.decode().splitlines()


def _until(condition) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
