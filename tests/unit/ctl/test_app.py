"""How mqctl starts, and how it ends whatever happens."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

import mqwire
from mqclient import errors
from mqclient.ctl import app, exits, output
from mqclient.ctl.app import cli

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("rich", "asyncio", "msgpack", "mqclient.client", "mqclient.async_client", "socket")


def run_python(code: str, *arguments: str, **extra) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **extra,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["push", "--help"],
        ["--version"],
        ["log", "-h"],
        ["backup", "-h"],
        ["stats", "-h"],
        ["work", "-h"],
        ["dead", "redrive", "-h"],
    ],
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import json, sys\n"
        "from mqclient.ctl import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = run_python(code, *arguments)
    assert done.returncode == 0, done.stderr
    assert not set(HEAVY) & set(json.loads(done.stderr))


def test_help_has_every_command_and_exit_code():
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name in cli.commands:
        assert f"  {name} " in result.stdout
    for code, meaning in exits.MEANINGS.items():
        assert f"{code}  " in result.stdout
        assert meaning.split(",", maxsplit=1)[0] in result.stdout


def test_the_commands_that_there_are():
    assert list(cli.commands) == [
        "create", "delete", "ls", "info", "purge", "pause", "resume", "push", "pull", "peek", "work",
        "holders", "dead", "status", "wait", "cancel", "watch", "stats", "snapshot", "backup", "user", "token", "ping", "version", "completion", "log",
    ]  # fmt: skip


def paths(group: click.Group = cli) -> list[list[str]]:
    """Return how every command is called, those of groups too."""
    found = []
    for name, command in group.commands.items():
        found.append([name])
        if isinstance(command, click.Group):
            found += [[name, *path] for path in paths(command)]
    return found


@pytest.mark.parametrize("path", paths(), ids=" ".join)
def test_every_command_has_help_and_takes_json(path):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert ("--json" in result.stdout) is (path != ["completion"])


def test_a_group_alone_shows_its_help(ctl):
    result = ctl("dead")
    assert (result.exit_code, result.stdout) == (exits.USAGE, "")
    assert "redrive" in result.stderr


def test_version():
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"mqctl {mqwire.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nosuch"], "mqctl: No such command 'nosuch'; see `mqctl --help`"),
        (["ls", "--nosuch"], "see `mqctl ls --help`"),
        (["push"], "mqctl: Missing argument 'QUEUE'; see `mqctl push --help`"),
        (["--timeout", "soon", "ls"], "'soon' is not a number of seconds"),
        (["--url", "mq://a:b@h", "--address-file", "x", "ls"], "not both"),
    ],
)
def test_usage_errors_are_one_sentence(ctl, arguments, sentence):
    result = ctl(*arguments)
    assert result.exit_code == exits.USAGE
    assert result.stdout == ""
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (errors.AuthFailed("AUTH_FAILED", "no"), exits.REFUSED, "AUTH_FAILED: no; check the credentials"),
        (errors.StorageFull("STORAGE_FULL", "no room"), exits.REFUSED, "STORAGE_FULL: no room; try again when its disk has room"),
        (errors.NoJournal("NO_JOURNAL", "in memory"), exits.REFUSED, "storage.journal: true"),
        (errors.SnapshotFailed("SNAPSHOT_FAILED", "no"), exits.REFUSED, "see that its disk has room and try again"),
        (errors.NoBackup("NO_BACKUP", "no"), exits.REFUSED, "begin the backup again"),
        (errors.UnknownOption("UNKNOWN_OPTION", "hm"), exits.REFUSED, "UNKNOWN_OPTION: hm; `mqctl version` shows whether the server is older"),
        (errors.UnknownServerError("NEW_CODE", "hm"), exits.REFUSED, "NEW_CODE: hm"),
        (errors.ConnectFailed("cannot connect"), exits.CANNOT_CONNECT, "cannot connect"),
        (errors.NotAnAddressFile("x is no address file"), exits.USAGE, "x is no address file"),
        (errors.ConnectionLost("it broke", in_doubt=True), exits.CANNOT_CONNECT, "it broke"),
        (errors.RequestTimeout("no reply"), exits.TIMED_OUT, "--timeout"),
        (errors.RequestTimeout("no reply", in_doubt=True), exits.TIMED_OUT, "may have been carried out"),
        (errors.ConfigurationError("a bad URL"), exits.USAGE, "a bad URL"),
        (errors.ProtocolError("what is this"), exits.INTERNAL, "what is this"),
        (OSError(errno.ENOSPC, "No space left"), exits.INTERNAL, "cannot read or write: "),
        (ZeroDivisionError("oops"), exits.INTERNAL, "unexpected ZeroDivisionError: oops"),
        (KeyboardInterrupt(), exits.INTERRUPTED, ""),
        (click.FileError("x", "gone"), exits.USAGE, "gone"),
    ],
)  # fmt: skip
def test_every_error_has_its_exit_code_and_sentence(ctl, error, code, sentence):
    def fail(*_):
        raise error

    ctl.client.before["queues"] = fail
    result = ctl("ls")
    assert result.exit_code == code
    assert result.stdout == ""
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") <= 1 or code == exits.INTERRUPTED


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["put", "jobs", "1"], "there is no command 'put': it is `push` here; see `mqctl --help`"),
        (["redrive", "jobs"], "there is no command 'redrive': it is `dead redrive` here; see"),
        (["log", "--verb", "psuh"], "did you mean PUSH? See `mqctl log --help`"),
    ],
)
def test_the_command_that_is_meant_is_named(ctl, arguments, sentence):
    result = ctl(*arguments)
    assert (result.exit_code, result.stdout) == (exits.USAGE, "")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_word_of_others_hides_a_command_and_each_leads_to_one():
    for command, words in app._WORDS_BY_COMMAND.items():
        assert not set(words.split()) & {*app.cli.commands, "help"}
        assert command.split()[0] in app.cli.commands


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["help"], ["--help"]),
        (["help", "push"], ["push", "--help"]),
        (["help", "help"], ["--help"]),
        (["help", "dead", "list"], ["dead", "list", "--help"]),
    ],
)
def test_help_is_a_word_too(ctl, arguments, wanted):
    result = ctl(*arguments)
    assert result.exit_code == exits.OK
    assert result.stdout == ctl(*wanted).stdout
    assert result.stdout.startswith("Usage: ")


def test_help_on_what_is_no_command(ctl):
    assert ctl("help", "nonsense").exit_code == exits.USAGE


def test_help_on_a_word_of_other_queues_names_the_command_that_is_meant(ctl):
    result = ctl("help", "put")
    assert result.exit_code == exits.USAGE
    assert "there is no command 'put': it is `push` here" in result.stderr


@pytest.mark.parametrize("words", [["help"], ["help", "push"], ["put"]])
def test_completion_behind_what_is_no_command_says_nothing_and_offers_the_commands(words, capsys):
    completion = ShellComplete(cli, {}, app.PROGRAM, "_MQCTL_COMPLETE")
    offered = completion.get_completions(words, "pus")
    assert [item.value for item in offered] == ["push"]
    assert capsys.readouterr() == ("", "")


def test_a_usage_error_from_nowhere():
    sentence = "hm; see `mqctl --help`"
    assert app._ending(click.UsageError("hm.")) == (sentence, exits.USAGE)


def test_control_characters_in_errors_are_escaped(ctl):
    def fail(*_):
        raise errors.BadName("BAD_NAME", "\x1b[31mred\n\u202e")

    ctl.client.before["queues"] = fail
    assert r"\x1b[31mred \u202e" in ctl("ls").stderr


def test_the_traceback_is_there_for_those_who_ask(ctl, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setenv("MQCTL_TRACEBACK", "1")
    ctl.client.before["queues"] = fail
    assert isinstance(ctl("ls").exception, ZeroDivisionError)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "mq://a:b@h", "--timeout", "5", "--json", "ls"],
        ["ls", "--url", "mq://a:b@h", "--timeout", "5", "--json"],
        ["--url", "mq://x:y@z", "--timeout", "9", "ls", "--url", "mq://a:b@h", "--timeout", "5", "--json"],
    ],
)  # fmt: skip
def test_global_options_stand_before_or_after_the_command(ctl, arguments):
    assert ctl(*arguments).exit_code == 0
    [session] = ctl.sessions
    assert (session.url, session.timeout, session.is_json) == ("mq://a:b@h", 5.0, True)


def test_a_reader_that_has_seen_enough_is_no_failure(ctl, monkeypatch):
    def broken(*_):
        raise BrokenPipeError

    monkeypatch.setattr(output, "write_bytes", broken)
    ctl.with_queue("1")
    result = ctl("ls")
    assert (result.exit_code, result.output) == (0, "")


def test_dropping_a_pipe_that_nobody_reads(monkeypatch, tmp_path):
    class Broken:
        def __init__(self, file):
            self.fileno = file.fileno

        def flush(self):
            raise BrokenPipeError

    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", Broken(file))
        app.drop_stdout()
        monkeypatch.undo()
        file.write("lost")
    assert (tmp_path / "out").read_text() == ""


def run_main(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that ends in main() as a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", f"from mqclient.ctl import app, exits, output\n{code}app.main()\n"],
        check=False,
        text=True,
        stderr=subprocess.PIPE,
        env={name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"},
        **options,
    )


def test_what_cannot_be_written_is_not_tried_again_at_the_exit():
    code = """
import sys
@app.cli.command()
def spill():
    output.write_bytes(b"x" * 100)
    try:
        output.flush()
    except OSError as error:
        raise exits.Failure("cannot write", exits.INTERNAL) from error
sys.argv = ["mqctl", "spill"]
"""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = run_main(code, stdout=writer)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (exits.INTERNAL, "mqctl: cannot write\n")


def test_ctrl_c_at_the_very_end_shows_no_traceback():
    code = """
import atexit, os, signal, sys
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.argv = ["mqctl", "completion", "zsh"]
"""
    result = run_main(code, stdout=subprocess.DEVNULL)
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")


def test_no_standard_output_at_all():
    code = (
        "import sys; sys.stdout = None\n"
        "from mqclient.ctl import main\n"
        "sys.argv = ['mqctl', 'completion', 'zsh']\n"
        "main()\n"
    )
    done = run_python(code)
    assert done.returncode == exits.INTERNAL
    assert done.stderr == "mqctl: cannot read or write: the standard output is closed\n"


def test_no_standard_error_at_all(monkeypatch):
    def broken(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(click, "echo", broken)
    result = CliRunner().invoke(cli, ["nosuch"])
    assert result.exit_code == exits.USAGE
