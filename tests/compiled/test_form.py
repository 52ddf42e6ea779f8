"""That the compiled form is what runs, in this process and in those that it starts.

`scripts/test` runs these tests, and those that only talk to servers, with the compiled form in
the path; anywhere else there is nothing to look at.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import traceback
from importlib import import_module
from importlib.machinery import ExtensionFileLoader

import pytest

import mqclient
from mqd import form
from mqd.children import module_command
from mqwire.errors import RequestError
from mqwire.packs import split_pack
from support.server import ROOT, running_server

COMPILED = ROOT / "build/compiled"

pytestmark = pytest.mark.skipif(
    str(COMPILED) not in os.environ.get("PYTHONPATH", "").split(os.pathsep),
    reason="the compiled form is not in the path",
)


def test_every_module_of_the_list_is_compiled():
    for name in runpy.run_path(str(ROOT / "setup.py"))["COMPILED_MODULES"]:
        module = import_module(name)
        assert isinstance(module.__spec__.loader, ExtensionFileLoader), name
        assert module.__file__.startswith(f"{COMPILED}{os.sep}")
        assert form.is_compiled(name)


def test_what_users_make_classes_of_is_not():
    for kind in (mqclient.Client, mqclient.AsyncClient, mqclient.Message, mqclient.MqError):
        assert isinstance(type(f"My{kind.__name__}", (kind,), {}), type)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_says_that_it_is_and_stops_on_signals(number):
    with running_server() as server:
        with mqclient.Client(server.url) as client:
            assert client.stats()["server"]["compiled"] is True
            client.create("jobs")
            client.push("jobs", b"x")
            assert client.snapshot().records > 0  # by a process of its own
        assert server.stop(number) == 0
        assert f"mqd {mqclient.__version__} (compiled) serves at" in server.stderr


def test_its_children_are_too():
    command = module_command("mqd.__main__", "--version")
    said = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout
    assert said == f"mqd {mqclient.__version__} (compiled)\n"
    command = [sys.executable, "-m", "mqd", "--version"]
    assert said == subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_what_goes_wrong_in_it_shows_where():
    with pytest.raises(RequestError) as caught:
        split_pack(b"\xc1")
    shown = "".join(traceback.format_exception(caught.value))
    assert "packs.py" in shown
    assert "in split_pack" in shown
