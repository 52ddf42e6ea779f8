from __future__ import annotations

import itertools

import pytest

from support.server import running_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=["uvloop", "asyncio"])
def server(request):
    """One server for each event loop; tests use queues of their own on it."""
    with running_server(loop=request.param) as running:
        yield running


@pytest.fixture
def queue():
    """Give the name of a queue that no other test has."""
    return f"queue-{next(_numbers)}"
