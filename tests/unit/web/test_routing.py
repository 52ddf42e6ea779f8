from __future__ import annotations

import pytest

from mqweb.routes import OPERATIONS
from mqweb.routing import Table


@pytest.fixture
def table():
    table = Table()
    for path in ("/", "/v1/a", "/v1/a/{x}", "/v1/a/{x}/next", "/v1/a/{x}/{y}", "/v1/a/{x}/{y}/z"):
        table.add(path, path)
    return table


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", ("/", {})),
        ("/v1/a", ("/v1/a", {})),
        ("/v1/a/q", ("/v1/a/{x}", {"x": "q"})),
        ("/v1/a/next/next", ("/v1/a/{x}/next", {"x": "next"})),
        ("/v1/a/q/7", ("/v1/a/{x}/{y}", {"x": "q", "y": "7"})),
        ("/v1/a/q/7/z", ("/v1/a/{x}/{y}/z", {"x": "q", "y": "7"})),
        ("/v1", None),
        ("/v1/a/", None),
        ("/v1/a//7", None),
        ("/v1/a/q/7/z/", None),
        ("", None),
        ("v1/a", None),
        ("//v1/a", None),
        ("/{x}", None),
    ],
)
def test_a_path_is_found_by_its_parts(table, path, found):
    assert table.find(path) == found


def test_each_operation_is_found_at_its_path():
    table = Table()
    for each in OPERATIONS:
        table.add(each.path, each.path)
    for each in OPERATIONS:
        path = each.path.replace("{", "").replace("}", "")
        found = table.find(path)
        assert found is not None
        assert found[0] == each.path
        assert all(name == value for name, value in found[1].items())
