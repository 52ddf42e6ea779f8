from __future__ import annotations

import pytest

from mqclient.ctl import output
from support.ctl import Ctl


@pytest.fixture
def ctl():
    return Ctl()


@pytest.fixture
def terminal(monkeypatch):
    """A person watches both outputs."""
    monkeypatch.setattr(output, "stdout_is_terminal", lambda: True)
    monkeypatch.setattr(output, "stderr_is_terminal", lambda: True)


@pytest.fixture
def person(terminal, monkeypatch):
    """And can be asked."""
    monkeypatch.setattr(output, "person_is_there", lambda: True)
