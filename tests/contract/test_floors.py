"""Imports point down only, and the pure floors stay pure.

The contracts stand in setup.cfg and import-linter judges the tree by them. That each of
them would notice is shown on a skeleton of the tree with one wrong import planted.
What import-linter does not look at (calls that need no import) is judged here.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from configparser import ConfigParser
from typing import TYPE_CHECKING

import pytest

from support.protocol_tables import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LINT = "import sys; from importlinter.cli import lint_imports_command as run; run(sys.argv[1:])"
PURE_FLOORS = ("mqwire", "mqd/core")
IMPURE_MODULES = {
    "asyncio",
    "uvloop",
    "socket",
    "select",
    "threading",
    "time",
    "datetime",
    "random",
    "os",
    "pathlib",
    "logging",
}
# Other doors to the same rooms.
SIDE_DOORS = {
    "_socket",
    "_thread",
    "concurrent",
    "ctypes",
    "fcntl",
    "importlib",
    "io",
    "mmap",
    "multiprocessing",
    "posix",
    "queue",
    "secrets",
    "selectors",
    "shutil",
    "signal",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "uuid",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}

SKELETON = {
    "mqwire": ["codes", "frames", "limits", "packs", "requests", "verbs"],
    "mqd": [
        "__main__",
        "app",
        "net/session",
        "engine/local",
        "store/journal",
        "core/broker",
        "config",
    ],
    "mqclient": ["client", "ctl/main"],
    "mqweb": ["app", "routes/queues"],
}
CONTRACTS = {
    "packages": "the gateway stands on the client; client and server never meet; both stand on mqwire",
    "mqd": "floors inside mqd",
    "pure": "pure floors import no I/O, clock, randomness or logging",
    "vocabulary": "core uses only the vocabulary of mqwire",
    "apart": "the client and the gateway never import the server",
}
PLANTS = [
    ("packages", "mqd/app.py", "import mqclient.client"),
    ("packages", "mqclient/client.py", "import mqd.config"),
    ("packages", "mqwire/codes.py", "import mqd.config"),
    ("packages", "mqwire/codes.py", "import mqclient"),
    ("packages", "mqclient/client.py", "import mqweb.app"),
    ("packages", "mqwire/codes.py", "import mqweb"),
    ("mqd", "mqd/core/broker.py", "import mqd.engine.local"),
    ("mqd", "mqd/core/broker.py", "from mqd.net import session"),
    ("mqd", "mqd/engine/local.py", "import mqd.net.session"),
    ("mqd", "mqd/store/journal.py", "import mqd.engine.local"),
    ("mqd", "mqd/net/session.py", "import mqd.app"),
    ("mqd", "mqd/app.py", "import mqd.__main__"),
    ("vocabulary", "mqd/core/broker.py", "import mqwire.frames"),
    ("vocabulary", "mqd/core/broker.py", "from mqwire import requests"),
    ("vocabulary", "mqd/core/broker.py", "def late():\n    import mqwire.verbs"),
    ("apart", "mqclient/ctl/main.py", "from mqd import config"),
    ("apart", "mqweb/routes/queues.py", "from mqd.core import broker"),
    ("pure", "mqwire/frames.py", "import time"),
    ("pure", "mqwire/frames.py", "def late():\n    import socket"),
    ("pure", "mqd/core/broker.py", "from random import random"),
    ("pure", "mqd/core/broker.py", "from os import path"),
    ("pure", "mqd/core/broker.py", "import asyncio.events"),
]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT, "--config", "setup.cfg", "--no-cache", "--no-logo"]
    return subprocess.run(
        command, cwd=tree, capture_output=True, text=True, check=False, timeout=120
    )


def contracts() -> ConfigParser:
    config = ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


@pytest.fixture
def skeleton(tmp_path):
    (tmp_path / "setup.cfg").write_bytes((ROOT / "setup.cfg").read_bytes())
    for package, modules in SKELETON.items():
        for module in modules:
            path = tmp_path / package / f"{module}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            (path.parent / "__init__.py").touch()
        (tmp_path / package / "__init__.py").touch()
    return tmp_path


def test_the_tree_keeps_its_contracts():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in result.stdout


def test_no_contract_makes_an_exception():
    for name in contracts().sections():
        if name.startswith("importlinter"):
            assert not [key for key in contracts()[name] if key.startswith("ignore")], name


def test_the_contracts_are_these():
    names = {
        section.removeprefix("importlinter:contract:"): contracts()[section]["name"]
        for section in contracts().sections()
        if section.startswith("importlinter:contract:")
    }
    assert names == CONTRACTS


def test_a_clean_skeleton_keeps_them(skeleton):
    result = lint(skeleton)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "path", "line"), PLANTS)
def test_a_wrong_import_breaks_its_contract(skeleton, contract, path, line):
    (skeleton / path).write_text(line + "\n", encoding="utf-8")
    result = lint(skeleton)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{CONTRACTS[contract]} BROKEN" in " ".join(result.stdout.split())


@pytest.mark.parametrize("module", sorted(IMPURE_MODULES))
def test_every_impure_module_is_forbidden_by_the_contract(module):
    pure = contracts()["importlinter:contract:pure"]
    assert pure["source_modules"].split() == ["mqwire", "mqd.core"]
    assert module in pure["forbidden_modules"].split()


def impurities(source: str) -> set[str]:
    """Return what a module imports or calls that a pure floor may not, wherever it stands."""
    nodes = list(ast.walk(ast.parse(source)))
    modules = {name for node in nodes for name in imported(node)}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return (modules & (IMPURE_MODULES | SIDE_DOORS)) | (names & IMPURE_CALLS)


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [(node.module or "").split(".")[0]]
    return []


@pytest.mark.parametrize(
    "path",
    sorted(path for floor in PURE_FLOORS for path in (ROOT / floor).rglob("*.py")),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_a_pure_floor_has_no_door_to_the_world(path):
    assert impurities(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", "time"),
        ("import os.path as p", "os"),
        ("from datetime import datetime", "datetime"),
        ("def f():\n    from logging import getLogger", "logging"),
        ("if x:\n    import socket", "socket"),
        ("f = open", "open"),
        ("def f():\n    print(1)", "print"),
        ("t = __import__('time')", "__import__"),
        ("import importlib", "importlib"),
    ],
)
def test_a_door_is_found(source, found):
    assert impurities(source) == {found}


def test_the_wire_needs_no_package_but_msgpack():
    needed = {
        name
        for path in (ROOT / "mqwire").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in imported(node)
    }
    assert needed - set(sys.stdlib_module_names) == {"mqwire", "msgpack"}
