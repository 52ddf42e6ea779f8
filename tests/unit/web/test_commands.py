from __future__ import annotations

import pytest
from click.testing import CliRunner

from mqweb import carrying
from mqweb.bridge import Bridge, Route
from mqweb.cli import EXIT_USAGE, REDIS_VARIABLE, main

URL = "redis://:secret@host:1/0"


@pytest.fixture
def urls(monkeypatch):
    found = []
    monkeypatch.setattr(carrying, "run", lambda _config, route: found.append(route.url))
    return found


def test_the_url_of_redis_comes_from_a_variable_or_a_file_as_well(urls, tmp_path):
    path = tmp_path / "redis-url"
    path.write_text(f"{URL}\n")
    run = CliRunner().invoke
    assert run(main, ["events"], env={REDIS_VARIABLE: URL}).exit_code == 0
    assert run(main, ["events", "--to-file", str(path)], env={REDIS_VARIABLE: "x"}).exit_code == 0
    assert run(main, ["events", "--to", URL], env={REDIS_VARIABLE: "x"}).exit_code == 0
    assert urls == [URL] * 3
    assert run(main, ["events"], env={REDIS_VARIABLE: ""}).exit_code == EXIT_USAGE


@pytest.mark.parametrize("url", ["redis://:se/cret@host", "redis://:secret@host:cret/0", "cret"])
def test_what_is_wrong_with_the_url_is_told_without_it(url):
    route = Route(url, "name", False, 1, None, None, 1)
    with pytest.raises(ValueError, match="the URL of Redis is none") as raised:
        Bridge(object(), route)
    assert "cret" not in str(raised.value)
