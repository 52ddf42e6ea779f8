"""What form the server says that it is."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES

from mqd import form


def test_sources_are_not_compiled():
    assert not form.is_compiled()
    assert not form.IS_COMPILED
    assert form.WORDS == ""


def test_an_extension_is_and_is_not_imported_for_that(tmp_path, monkeypatch):
    (tmp_path / f"hot_module{EXTENSION_SUFFIXES[0]}").write_bytes(b"no code")
    (tmp_path / "hot_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert form.is_compiled("hot_module")
    assert "hot_module" not in sys.modules


def test_what_is_not_there_is_not():
    assert not form.is_compiled("no_such_module")
