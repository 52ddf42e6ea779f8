"""One server, one gateway and one browser for all tests of the console."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from support.browser import missing, running_browser
from support.console import Console
from support.server import running_server
from support.web import running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.web import RunningGateway

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def gateway() -> Iterator[RunningGateway]:
    with running_server() as server, running_gateway(server) as running:
        yield running


@pytest.fixture(scope="package")
def browser():
    if missing():
        pytest.skip(missing())
    with running_browser() as running:
        yield running


@pytest.fixture
def console(browser, gateway) -> Iterator[Console]:
    """Give a window of the console, in which nothing goes wrong that nobody expects."""
    with Console(browser, gateway.url).closing() as console:
        yield console


@pytest.fixture(scope="package")
def web(gateway):
    with gateway.client() as client:
        yield client


@pytest.fixture
def queue(web) -> str:
    """Give a queue that no other test has."""
    name = f"console-{next(_numbers)}"
    assert web.post("/v1/queues", json={"queue": name, "max_attempts": 1}).status_code == 201
    return name
