"""DOCUMENTATION.md says what the software does: tables, files, links, sentences, examples.

The links of the other documents are looked at here too.
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import pytest

import mqd.__main__ as mqd_command
import mqwire
from mqclient import AsyncClient, Client, MqError, UnknownServerError, errors
from mqclient.ctl import exits
from mqclient.ctl.app import cli
from mqclient.ctl.session import global_options
from mqd.config import KEYS, SECTIONS, variable_name
from mqd.config.printing import scalar_text
from mqd.core.access import ALLOWED, PUBLIC_VERBS, Role
from mqwire.codes import Code
from mqwire.verbs import VERBS
from support.server import ROOT, START_SECONDS, STOP_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (ROOT / "DOCUMENTATION.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROSE = FENCED.sub("", TEXT)
HEADING = re.compile(r"(?m)^(#{2,4}) (.+)$")


def section(title: str) -> str:
    """Return the text below a heading, up to the next one of its level or above."""
    found = [match for match in HEADING.finditer(PROSE) if match[2] == title]
    assert len(found) == 1, title
    level = len(found[0][1])
    rest = PROSE[found[0].end() :]
    ends = [match.start() for match in HEADING.finditer(rest) if len(match[1]) <= level]
    return rest[: min(ends, default=len(rest))]


def rows(text: str) -> list[dict[str, str]]:
    """Return the rows of all tables in a text, by the heads of their columns."""
    found = []
    heads: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            heads = []
            continue
        cells = [cell.strip() for cell in line.strip()[1:-1].split("|")]
        if not heads:
            heads = cells
        elif not set("".join(cells)) <= {"-"}:
            assert len(cells) == len(heads), line
            found.append(dict(zip(heads, cells, strict=True)))
    return found


def quoted(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


# Files and links


def test_every_file_has_its_line_and_every_line_its_file():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("there is no git here that lists the files")
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {name for name in names.split("\0") if name and (ROOT / name).exists()}
    listed = [quoted(row["file"])[0] for row in rows(section("8. Every file"))]
    assert sorted(listed) == sorted(files)


def test_every_file_says_what_it_is():
    assert all(row["what it is"].endswith(".") for row in rows(section("8. Every file")))


def documents() -> list[Path]:
    top = [ROOT / name for name in ("README.md", "PROTOCOL.md", "CHANGELOG.md", "DOCUMENTATION.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/README.md"]


def anchors(path: Path) -> set[str]:
    """Return the anchors that a document's headings have."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    titles = (
        re.sub(r"[^\w\- ]", "", title.lower()) for title in re.findall(r"(?m)^#+ (.+)$", text)
    )
    return {title.replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_dead(path):
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


# The configuration


def test_every_key_has_its_row_with_its_default():
    listed = rows(section("4. Configuration"))
    listed = [row for row in listed if "variable" in row and "key" in row]
    assert [row["key"] for row in listed] == [f"`{path}`" for path in KEYS]
    for row, (path, key) in zip(listed, KEYS.items(), strict=True):
        name, _, field = path.partition(".")
        default = scalar_text(getattr(SECTIONS[name](), field))
        assert row["default"] == f"`{default}`"
        assert row["variable"] == f"`{variable_name(path)}`"
        assert row["flag"] == (f"`{key.flag}`" if key.flag else "")
        assert row["meaning"]
        if path != "auth.users":
            assert row["takes"] == key.kind.takes


def test_every_section_has_its_heading():
    assert re.findall(r"(?m)^### Section `(\w+)`$", PROSE) == list(SECTIONS)


# Commands


def option_words(params: list[click.Parameter]) -> set[str]:
    options = [param for param in params if isinstance(param, click.Option)]
    return {word for option in options for word in (*option.opts, *option.secondary_opts)}


def listed_options(title: str) -> set[str]:
    return {
        word.split()[0]
        for row in rows(section(title))
        for cell in [row.get("option") or row.get("flag") or ""]
        for word in quoted(cell)
    }


def global_words() -> set[str]:
    return option_words(click.command()(global_options(lambda: None)).params)


def test_every_option_of_every_command_is_listed():
    assert listed_options("Options of every command") == global_words() | {"-h", "--help"}


@pytest.mark.parametrize("name", cli.commands)
def test_a_command_has_its_section_with_its_options(name):
    own = option_words(cli.commands[name].params) - global_words()
    assert listed_options(f"mqctl {name}") == own


def test_every_section_of_a_command_has_its_command():
    assert re.findall(r"(?m)^### mqctl (\w+)$", PROSE) == list(cli.commands)


def test_the_exit_codes_of_mqctl_are_the_same():
    listed = [(int(row["code"]), row["meaning"]) for row in rows(section("Exit codes"))]
    assert listed == list(exits.MEANINGS.items())


def test_every_flag_of_mqd_is_listed():
    flags = option_words(mqd_command.main.params) | {"-h", "--help"}
    assert listed_options("Flags of mqd") == flags
    assert set(mqd_command.main.commands) == {"check", "hash-password", "restore"}
    assert "`mqd hash-password`" in section("Flags of mqd")


def test_the_exit_codes_of_mqd_are_the_same():
    codes = {0} | {value for name, value in vars(mqd_command).items() if name.startswith("EXIT_")}
    assert {int(row["code"]) for row in rows(section("Exit codes of mqd"))} == codes


# Errors, methods, roles


def error_rows() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    found = rows(section("Errors"))
    return [row for row in found if "is a" in row], [row for row in found if "code" in row]


def test_every_code_has_its_class():
    _, listed = error_rows()
    assert listed == [
        {
            "code": f"`{code.name}`",
            "class": f"`{errors.ERRORS_BY_CODE[code.name].__name__}`",
            "meaning": code.summary,
            "retry": "yes" if code.is_retryable else "",
            "closes": "yes" if code.is_fatal else "",
        }
        for code in Code
    ]


def test_every_other_class_has_its_row():
    listed, _ = error_rows()
    by_code = set(errors.ERRORS_BY_CODE.values()) - {UnknownServerError}
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, MqError) and kind not in by_code
    }
    assert {quoted(row["class"])[0] for row in listed} == {k.__name__ for k in kinds} - {"MqError"}
    for row in listed:
        kind = getattr(errors, quoted(row["class"])[0])
        assert quoted(row["is a"]) == [base.__name__ for base in kind.__bases__]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_method_has_its_row_with_its_arguments(kind):
    listed = [quoted(row["method"])[0] for row in rows(section("The client")) if "method" in row]
    public = [name for name in dir(kind) if not name.startswith("_")]
    assert sorted(name.partition("(")[0] for name in listed) == sorted(public)
    for form in listed:
        name, _, arguments = form.removesuffix(")").partition("(")
        if name not in ("server", "instance", "is_draining"):
            parameters = list(inspect.signature(getattr(kind, name)).parameters.values())[1:]
            assert arguments.split(", ") == [
                each.name if each.default is each.empty else f"{each.name}={each.default!r}"
                for each in parameters
                if each.name != "timeout"
            ] or (arguments, [p.name for p in parameters]) in [("", []), ("", ["timeout"])]


def test_the_clients_own_arguments_are_listed():
    parameters = list(inspect.signature(Client.__init__).parameters)[1:]
    listed = [
        quoted(row["argument"])[0] for row in rows(section("The client")) if "argument" in row
    ]
    assert listed == parameters


def test_roles_by_verb_are_the_same():
    listed = rows(section("5. Who may do what"))
    assert sorted(quoted(row["verb"])[0] for row in listed) == sorted(VERBS)
    for row in listed:
        verb = quoted(row["verb"])[0]
        for role in Role:
            is_allowed = verb in ALLOWED[role] | PUBLIC_VERBS
            assert row[role.word] == ("yes" if is_allowed else ""), (verb, role)


# Sentences


def sources() -> str:
    """Return the program's text with the parts of its sentences joined, and values as `...`."""
    files = [path for name in ("mqwire", "mqd", "mqclient") for path in (ROOT / name).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    text = re.sub(r'"\s*\n\s*f?"', "", text)
    return "\n".join([text, *map(os.strerror, errno.errorcode), *Code.__members__, *KEYS])


FROM_ELSEWHERE = (
    "Name or service not known",  # the resolver
    "error while attempting to bind on address",  # the event loop
    "address already in use",
    "cannot assign requested address",
    "PATH",
    "process 4944 on login1",
    "process 77 on login1",
    "mq://127.0.0.1:7500",
)


def sentences() -> list[str]:
    told = rows(section("Troubleshooting"))
    states = rows(section("The address file"))
    symptoms = [words for row in told for words in quoted(row["symptom"])]
    said = [
        words for row in states if "what it says" in row for words in quoted(row["what it says"])
    ]
    return [words for words in symptoms + said if " " in words and "mqctl " not in words]


# Where a value may stand, or where two sentences are put together.
JOINT = re.compile(r"\.\.\.|\b[0-9]+\b|[:;,?'()]")


@pytest.fixture(scope="module")
def said():
    return sources()


@pytest.mark.parametrize("sentence", sentences())
def test_a_quoted_sentence_is_one_that_the_software_says(sentence, said):
    for words in FROM_ELSEWHERE:
        sentence = sentence.replace(words, "...")
    pieces = [piece.strip() for piece in JOINT.split(sentence)]
    assert [piece for piece in pieces if piece not in said] == []


# Examples

CONSOLE = [(use, body) for use, body in FENCED.findall(TEXT) if use.startswith("console")]
PYTHON = [body for use, body in FENCED.findall(TEXT) if use == "python"]
COMMAND = re.compile(r"(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)")


@dataclass
class Session:
    """A home of its own, with a server that is found there, as a reader would have it."""

    home: Path
    environment: dict[str, str]
    log: Path
    port: str = ""

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return self.as_documented(done.stdout)

    def as_documented(self, text: str) -> str:
        """Return output with the port and version that the document is written for."""
        return text.replace(f":{self.port}", ":7500").replace(mqwire.__version__, "0.1.0")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    programs = home / "bin"
    programs.mkdir()
    for name, module in (("mqd", "mqd"), ("mqctl", "mqclient.ctl")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        program.chmod(0o700)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MQ_", "MQD_"))}
    environment |= {
        "HOME": str(home),
        "PATH": f"{programs}:{environment['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MQD_SERVER__PORT": "0",
    }
    running = Session(home, environment, home / "server.log")
    with running.log.open("wb") as stderr:
        server = subprocess.Popen(["mqd"], cwd=home, env=environment, stderr=stderr)
    try:
        deadline = time.monotonic() + START_SECONDS
        while " serves at " not in (log := running.log.read_text()):
            assert server.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.02)
        running.port = re.search(r"mq://127\.0\.0\.1:(\d+)", log)[1]
        yield running
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        server.wait(STOP_SECONDS)
    assert server.returncode == 0


def fits(expected: str, output: str) -> bool:
    """Tell whether output is what is printed, in which `...` stands for anything on a line."""
    pattern = re.escape(_narrow(expected)).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, _narrow(output)) is not None


def _narrow(text: str) -> str:
    """Return text in which columns are no wider than they must be."""
    return re.sub(r"(?m) {2,}", "  ", text)


@pytest.mark.timeout(300)
def test_the_examples_print_what_is_printed(session):
    """They build on each other, so they are one test: the shell's, then Python's."""
    for use, body in CONSOLE:
        for command, expected in COMMAND.findall(body):
            is_server = use == "console server"
            output = (
                session.as_documented(session.log.read_text())
                if is_server
                else session.run("bash", "-c", command)
            )
            assert fits(expected, output), f"$ {command}\n{output}"
    assert session.run("mqctl", "push", "jobs", '{"x": 3}') == ""
    for body in PYTHON:
        output = session.run(sys.executable, "-c", body.replace("wait=60", "wait=0.1"))
        assert "Traceback" not in output, output
        for expected in re.findall(r"print\(.*\)  # (.+)$", body, re.MULTILINE):
            assert f"{expected}\n" in output, output


@pytest.mark.parametrize("script", [body for use, body in FENCED.findall(TEXT) if use == "bash"])
def test_a_script_is_one(script):
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    "part", [body for use, body in FENCED.findall(TEXT) if use == "python part"]
)
def test_a_part_of_a_program_is_python(part):
    compile(part, "DOCUMENTATION.md", "exec")


def test_every_block_is_of_a_kind_that_is_looked_at():
    kinds = {"bash", "console", "console server", "python", "python part", "yaml", "text"}
    assert {use for use, _ in FENCED.findall(TEXT)} == kinds
