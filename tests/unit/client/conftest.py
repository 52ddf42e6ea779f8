from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.both_clients import KINDS, ClientMaker
from support.fake_server import FakeServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture(params=KINDS)
def make_client(request: pytest.FixtureRequest) -> Iterator[ClientMaker]:
    maker = ClientMaker(request.param)
    yield maker
    maker.close()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MQ_URL", raising=False)
    monkeypatch.delenv("MQ_ADDRESS_FILE", raising=False)
