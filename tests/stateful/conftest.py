"""Time for machines: hundreds of examples of fifty steps, under coverage, on a busy machine."""

from __future__ import annotations

from pathlib import Path

import pytest

SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give everything here more time than other tests have."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS))
