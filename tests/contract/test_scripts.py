"""The commands of the checkout that are shell: arguments of `scripts/run`, variables of all."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
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
    variables = {**os.environ, "MQD_VENV": str(tmp_path), "MQD_PURE": "1"}
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


# The compiled form


def test_every_module_that_is_compiled_is_there_and_once() -> None:
    names = runpy.run_path(str(ROOT / "setup.py"))["COMPILED_MODULES"]
    assert len(set(names)) == len(names) > 0
    assert [name for name in names if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []


BUILTINS = {"bytes", "bytearray", "dict", "deque", "float", "int", "list", "set", "str", "tuple"}
PURE_CALLS = {"len", "min", "max", "bisect_right", "alike_until"}


def compiled_trees() -> list[tuple[str, ast.Module]]:
    names = runpy.run_path(str(ROOT / "setup.py"))["COMPILED_MODULES"]
    paths = [ROOT / f"{name.replace('.', '/')}.py" for name in names]
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in paths]


def test_no_module_that_is_compiled_makes_classes_of_builtins() -> None:
    # Where its methods are its own, compiled code calls those of the builtin all the same.
    for path, tree in compiled_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base).partition("[")[0] for base in node.bases}
                assert not bases & BUILTINS, f"{path}: {node.name}"


def test_no_dict_of_ours_has_a_get_of_its_own() -> None:
    # Compiled code that is given one calls the dict's.
    for package in ("mqwire", "mqd", "mqclient"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and any(
                    "dict" in ast.unparse(b) for b in node.bases
                ):
                    methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                    assert "get" not in methods, f"{path}: {node.name}"


def test_no_bound_of_a_slice_that_is_compiled_has_an_effect() -> None:
    # mypyc may compute the bounds twice: bytes were sent twice so, and told of once.
    for path, tree in compiled_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Slice):
                calls = [each.func for each in ast.walk(node) if isinstance(each, ast.Call)]
                names = {ast.unparse(call).rpartition(".")[2] for call in calls}
                assert names <= PURE_CALLS, f"{path}:{node.lineno}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small checkout with an environment, and a compiled form that fits it."""
    for name in ("mqwire", "mqd", "mqclient", "mqweb", "scripts", "build/compiled", ".venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("setup.py", "setup.cfg", "scripts/lib.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "mqd/hot.py").write_text("x = 1\n")
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    said_in(tmp_path, 'compiled_stamp >"$COMPILED/.mqd-stamp"')
    return tmp_path


def said_in(checkout: Path, commands: str, **variables: str) -> str:
    """Run commands after lib.sh, and return all that they say."""
    names = ("MQD_VENV", "MQD_PURE", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        ["bash", "-c", f". {checkout}/scripts/lib.sh; {commands}"],
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout


SHOW = 'use_compiled; echo "<${PYTHONPATH:-}>"'


def test_a_compiled_form_of_these_sources_is_taken(checkout: Path) -> None:
    compiled = checkout / "build/compiled"
    said = f"running the compiled form in {compiled}; MQD_PURE=1 leaves it out\n"
    assert said_in(checkout, SHOW) == f"{said}<{compiled}>\n"
    assert said_in(checkout, SHOW, PYTHONPATH="/x") == f"{said}<{compiled}:/x>\n"
    (checkout / "mqd/__pycache__").mkdir()
    (checkout / "mqd/__pycache__/hot.cpython-311.pyc").write_bytes(b"no source")
    assert said_in(checkout, SHOW) == f"{said}<{compiled}>\n"


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename", "list", "no stamp"])
def test_one_of_other_sources_is_not_and_that_is_said(checkout: Path, change: str) -> None:
    if change == "edit":
        (checkout / "mqd/hot.py").write_text("x = 2\n")
    elif change == "add":
        (checkout / "mqwire/more.py").write_text("")
    elif change == "remove":
        (checkout / "mqd/hot.py").unlink()
    elif change == "rename":
        (checkout / "mqd/hot.py").rename(checkout / "mqd/hotter.py")
    elif change == "list":
        (checkout / "setup.py").write_text("")
    else:
        (checkout / "build/compiled/.mqd-stamp").unlink()
    assert said_in(checkout, SHOW) == (
        "running without the compiled form, which is of other sources; "
        "scripts/compile makes it anew\n<>\n"
    )


def test_one_that_is_not_wanted_or_not_there_is_not_mentioned(checkout: Path) -> None:
    assert said_in(checkout, SHOW, MQD_PURE="1") == "<>\n"
    shutil.rmtree(checkout / "build/compiled")
    assert said_in(checkout, SHOW) == "<>\n"


def test_what_is_missing_for_compiling_is_said_in_a_sentence(checkout: Path) -> None:
    said = said_in(checkout, "missing_for_compiling", CC="no-such-compiler -pthread")
    assert said == "C compiler (no-such-compiler; on Debian: apt install gcc)\n"
