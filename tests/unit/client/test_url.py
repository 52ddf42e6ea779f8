from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import mqclient
from mqclient.errors import ConfigurationError, ConnectFailed, NotAnAddressFile
from mqclient.url import Credentials, Endpoint, UrlTarget, find_target
from mqwire.address import Address

if TYPE_CHECKING:
    from pathlib import Path


def gone_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def address(*urls: str, host: str | None = None, pid: int | None = None) -> Address:
    return Address(
        urls=urls,
        token="s3cret-token",
        host=socket.gethostname() if host is None else host,
        pid=os.getpid() if pid is None else pid,
        started_at=time.time(),
        server_version="1",
    )


@pytest.mark.parametrize(
    ("url", "endpoint", "fields"),
    [
        ("mq://me:pw@host:7", Endpoint("host", 7), {"user": "me", "password": "pw"}),
        ("mq://me:pw@host", Endpoint("host", 7500), {"user": "me", "password": "pw"}),
        ("mq://me:pw@host:7/", Endpoint("host", 7), {"user": "me", "password": "pw"}),
        ("mq://:tok@host:7", Endpoint("host", 7), {"token": "tok"}),
        ("mq://m%40e:p%2F%3A@host", Endpoint("host", 7500), {"user": "m@e", "password": "p/:"}),
        ("mq://me:p@w@host", Endpoint("host", 7500), {"user": "me", "password": "p@w"}),
        ("mq://me:pw@[::1]:7", Endpoint("::1", 7), {"user": "me", "password": "pw"}),
        ("mq://me:pw@[::1]", Endpoint("::1", 7500), {"user": "me", "password": "pw"}),
        ("mq+unix://me:pw@/run/x", Endpoint(path="/run/x"), {"user": "me", "password": "pw"}),
        ("mq+unix://:tok@/run/a%20b", Endpoint(path="/run/a b"), {"token": "tok"}),
    ],
)
def test_urls(url: str, endpoint: Endpoint, fields: dict[str, str]):
    route = UrlTarget(url).route()
    assert route.endpoints == (endpoint,)
    assert route.credentials == Credentials(fields)
    assert not route.stale


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "http://me:hunter2@host",
        "me:hunter2://host",
        "mqs://me:hunter2@host",
        "mq://me:hunter2@",
        "mq://me:hunter2@host:x",
        "mq://me:hunter2@host:0",
        "mq://me:hunter2@host:65536",
        "mq://me:hunter2@host:²",
        "mq://me:hunter2@host/hunter2",
        "mq://me:x@y/hunter2",
        "mq://me:hunter2@[::1",
        "mq://me:hunter2@[::1]x",
        "mq://me:hunter2@ho st",
        "mq://me@host",
        "mq://me:@host",
        "mq://host",
        "mq+unix://me:hunter2@run",
        "mq+unix:///run/x",
        "mq+unix://me:hunter2@/",
    ],
)
def test_what_is_no_url_is_refused_without_showing_secrets(url: str):
    with pytest.raises(ConfigurationError) as caught:
        mqclient.Client(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in f"{error!r}{error}"
        error = error.__cause__ or error.__context__


def test_secrets_are_not_shown():
    client = mqclient.Client("mq://me:hunter2@host:7")
    target = client._target
    shown = f"{client!r}{client}{target}{target.route()!r}{vars(target)!r}"
    assert "hunter2" not in shown
    assert "mq://host:7" in repr(client)
    assert str(Endpoint("::1", 7)) == "mq://[::1]:7"
    assert str(Endpoint(path="/run/x")) == "mq+unix:///run/x"


def test_the_order_of_what_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(find_target(None, None)) == f"address file {tmp_path}/.mqd/default.json"
    monkeypatch.setenv("MQ_ADDRESS_FILE", "~/other.json")
    assert str(find_target(None, None)) == f"address file {tmp_path}/other.json"
    monkeypatch.setenv("MQ_URL", "mq://:t@a")
    assert str(find_target(None, None)) == "mq://a:7500"
    monkeypatch.setenv("MQ_URL", "file:///there%20too/x.json")
    assert str(find_target(None, None)) == "address file /there too/x.json"
    assert str(find_target("mq://:t@b", None)) == "mq://b:7500"
    assert str(find_target(None, tmp_path / "x")) == f"address file {tmp_path}/x"
    with pytest.raises(ConfigurationError, match="not both"):
        find_target("mq://:t@b", tmp_path / "x")


def test_nothing_at_all_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        ConnectFailed, match="start a server on this machine with `mqd`, or give a URL"
    ):
        mqclient.Client().connect()


def test_a_named_file_that_is_missing(tmp_path: Path):
    with pytest.raises(ConnectFailed, match="is not running"):
        mqclient.Client(address_file=tmp_path / "x.json").connect()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hello", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ('{"mq": 1}', "it is JSON of another kind"),
        ('{"address_file_version": 99}', "its version is 99, understood is 1"),
        ("\udcff", "it is not UTF-8 text"),
        (address().to_json(), "its urls are not a list with an address in it"),
    ],
)
def test_a_file_that_is_no_address_file(tmp_path: Path, text: str, why: str):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(NotAnAddressFile) as caught:
        find_target(None, path).route()
    sentence = f"{path} is no address file that can be used: {why}; name the one that your `mqd`"
    assert str(caught.value).startswith(sentence)
    assert isinstance(caught.value, ConfigurationError)


def test_a_directory_is_no_address_file_and_is_not_waited_for(tmp_path: Path):
    client = mqclient.Client(address_file=tmp_path, server_wait=60, timeout=60)
    started_at = time.monotonic()
    with pytest.raises(NotAnAddressFile, match="Is a directory"):
        client.connect()
    assert time.monotonic() - started_at < 10


def test_an_empty_address_file_is_one_that_a_crash_has_left(tmp_path: Path):
    path = tmp_path / "x.json"
    path.touch()
    with pytest.raises(ConnectFailed, match="is empty; start the server") as caught:
        find_target(None, path).route()
    assert caught.value.may_pass
    assert not isinstance(caught.value, NotAnAddressFile)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("mq://h:1", "mq://USER:PASSWORD@h:1"),
        ("mq+unix:///run/x", "mq+unix://USER:PASSWORD@/run/x"),
    ],
)
def test_a_url_without_credentials_says_how_to_get_in(url: str, wanted: str):
    with pytest.raises(ConfigurationError) as caught:
        find_target(url, None)
    text = str(caught.value)
    assert text.startswith(f"{url} has no credentials: put them in ({wanted}), or give a token")
    assert "MQ_TOKEN=TOKEN" in text
    assert "unset MQ_URL" in text
    assert isinstance(find_target(wanted, None), UrlTarget)  # what it says to write can be read


def test_a_file_is_read(tmp_path: Path):
    path = tmp_path / "x.json"
    path.write_text(address("mq+unix:///run/x", "mq://127.0.0.1:7").to_json())
    route = find_target(f"file://{path}", None).route()
    assert route.endpoints == (Endpoint(path="/run/x"), Endpoint("127.0.0.1", 7))
    assert route.credentials == Credentials({"token": "s3cret-token"})
    assert "s3cret" not in repr(route)
    assert not route.stale


def test_staleness_is_judged_on_the_servers_own_machine_alone(tmp_path: Path):
    path = tmp_path / "x.json"
    path.write_text(address("mq://127.0.0.1:7", pid=gone_pid()).to_json())
    assert "start `mqd` again" in find_target(None, path).route().stale
    path.write_text(address("mq://login1:7", pid=gone_pid(), host="elsewhere").to_json())
    assert not find_target(None, path).route().stale
    path.write_text(address("mq://127.0.0.1:7", pid=1).to_json())
    assert not find_target(None, path).route().stale


def test_a_stale_file_ends_the_connect_at_once(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        path = tmp_path / "x.json"
        url = f"mq://127.0.0.1:{taken.getsockname()[1]}"
        path.write_text(address(url, pid=gone_pid()).to_json())
        started_at = time.monotonic()
        with pytest.raises(ConnectFailed, match="stale"):
            mqclient.Client(address_file=path, connect_timeout=60, timeout=60).connect()
        assert time.monotonic() - started_at < 10


def test_another_machines_server_is_not_looked_for_on_this_one(tmp_path: Path):
    path = tmp_path / "x.json"
    both = address("mq://127.0.0.1:7", "mq+unix:///s", "mq://login1:7", host="elsewhere")
    path.write_text(both.to_json())
    assert [str(end) for end in find_target(None, path).route().endpoints] == ["mq://login1:7"]
    path.write_text(address("mq://127.0.0.1:7", host="elsewhere").to_json())
    with pytest.raises(ConnectFailed, match="runs on elsewhere and listens there only"):
        find_target(None, path).route()


def test_what_is_in_an_address_file_or_nothing(tmp_path: Path):
    path = tmp_path / "a.json"
    target = find_target(None, path)
    assert target.address() is None
    path.write_text("{")
    assert target.address() is None
    path.write_text(address("mq://h:1", pid=7).to_json())
    assert target.address().pid == 7
