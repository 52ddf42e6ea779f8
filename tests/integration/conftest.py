from __future__ import annotations

import itertools

import pytest

from mqclient import Client
from support.server import running_server
from support.web import running_both

_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=["uvloop", "asyncio"])
def server(request):
    """One server for each event loop; tests use queues of their own on it."""
    with running_server(loop=request.param) as running:
        yield running


@pytest.fixture(scope="session")
def gateway():
    """One gateway with its server; a module that needs other settings has its own."""
    with running_both() as running:
        yield running


@pytest.fixture(scope="module")
def web(gateway):
    """Requests to the gateway, as an administrator."""
    with gateway.client() as client:
        yield client


@pytest.fixture(scope="module")
def mq(gateway):
    """The server behind the gateway."""
    with Client(gateway.server.url) as client:
        yield client


@pytest.fixture
def made_queue(mq):
    """Give a queue behind the gateway that no other test has."""
    name = f"web-{next(_numbers)}"
    mq.create(name)
    return name


@pytest.fixture
def queue():
    """Give the name of a queue that no other test has."""
    return f"queue-{next(_numbers)}"
