"""One run of a command."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from mqclient.ctl import running
from mqclient.ctl.running import Run

SECONDS = 20


def run(*command, body=None, stdout=None, **variables):
    started = Run(command, body, {"PATH": os.environ["PATH"], **variables}, stdout)
    assert started.wait(SECONDS)
    return started


@pytest.fixture
def output_file(tmp_path):
    with (tmp_path / "out").open("w+b") as file:
        yield file


def contents(file) -> bytes:
    file.seek(0)
    return file.read()


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_what_goes_in_comes_out(output_file, size):
    assert run("cat", body=b"x" * size, stdout=output_file).exit_code == 0
    assert contents(output_file) == b"x" * size


def test_a_command_that_does_not_read_its_input():
    assert run("true", body=b"x" * 1_000_000).exit_code == 0


def test_no_body_is_an_empty_input(output_file):
    assert run("cat", stdout=output_file).exit_code == 0
    assert contents(output_file) == b""


def test_variables(output_file):
    run("sh", "-c", 'echo "$A"', stdout=output_file, A="b")
    assert contents(output_file) == b"b\n"


def test_a_program_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        run("/no/such/program")


def test_the_reason_ends_with_the_exit_code_and_what_was_said_last(capfdbinary):
    ended = run("sh", "-c", "echo one >&2; echo two >&2; echo >&2; exit 3")
    assert ended.exit_code == 3
    assert ended.reason() == "one\ntwo\nexit code 3: two"


def test_standard_error_is_passed_on(capsysbinary):
    run("sh", "-c", "echo one >&2; printf 'no end' >&2")
    assert capsysbinary.readouterr().err == b"one\nno end"


def test_nobody_reads_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert run("sh", "-c", "echo one >&2; exit 1").reason() == "exit code 1: one"


def test_the_end_of_a_long_standard_error_is_kept():
    ended = run(
        sys.executable,
        "-c",
        "import sys\nfor n in range(1000): print(f'line {n} ' + 'x' * n, file=sys.stderr)\nsys.exit(2)",
    )
    lines = ended.reason().splitlines()
    assert len(ended.reason()) < 4096
    assert lines[-2].startswith("line 999 ")
    assert lines[-1].startswith("exit code 2: line 999 ")
    assert len(lines[-1]) < 220


def test_a_silent_failure():
    assert run("false").reason() == "exit code 1"


def test_what_is_no_text():
    reason = run("sh", "-c", r"printf '\377\n' >&2; exit 1").reason()
    assert reason == "exit code 1: \ufffd"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-200, "killed by signal 200"),
    ],
)
def test_how_it_ended(code, words):
    assert running.how_it_ended(code) == words


@pytest.mark.parametrize(
    ("script", "was_told"),
    [("kill -TERM $$", True), ("exit 143", True), ("kill -KILL $$", False), ("exit 1", False)],
)
def test_whether_it_was_told_to_end(script, was_told):
    assert run("sh", "-c", script).was_told_to_end is was_told


def test_a_signal_reaches_all_that_it_has_started(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The inner shell has the pipe open for writing as long as it lives.
    started = Run(
        ["sh", "-c", f"sh -c 'echo; exec sleep 60' 3>{fifo} >&3 & wait"],
        b"x",
        dict(os.environ),
        None,
    )
    with fifo.open("rb") as reading:
        assert reading.readline() == b"\n"
        started.send(signal.SIGKILL)
        assert reading.read() == b""
    assert started.wait(SECONDS)
    assert started.exit_code == -signal.SIGKILL
    started.send(signal.SIGKILL)  # it has gone: nothing happens


def test_what_is_left_behind_is_not_waited_for_and_can_be_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_LAST_WORDS_SECONDS", 0.01)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    started = Run(["sh", "-c", f"cat {fifo} & exit 4"], None, dict(os.environ), None)
    assert started.wait(SECONDS)
    assert started.exit_code == 4
    started.sweep()
    started._reader.join(SECONDS)
    assert not started._reader.is_alive()
    started.sweep()  # nobody is left
