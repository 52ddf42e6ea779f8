"""Which frame log is read when none is named."""

from __future__ import annotations

import os
import socket

import pytest

from mqclient.ctl import exits, log_place
from mqwire.address import Address
from mqwire.framelog import encode_header, file_name


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("MQ_URL", "MQ_ADDRESS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def make_log(directory, number=1):
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / file_name(number)
    path.write_bytes(encode_header(1, "0.1.0"))
    return path


def write_address(path, *, host=None, pid=None):
    here = socket.gethostname()
    mine = os.getpid()
    text = Address(("mq://h:1",), "t", host or here, pid or mine, 0.0, "1").to_json()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def opened(tmp_path):
    """Have this process, as a server would, write a log elsewhere."""
    path = make_log(tmp_path / "elsewhere")
    with path.open("ab"):
        yield path.parent


def test_the_server_of_an_address_file_tells_by_what_it_has_open(ctl, home, opened, monkeypatch):
    path = write_address(home / "a.json")
    assert ctl("log", "--address-file", str(path)).exit_code == 0
    assert ctl("log", "--url", f"file://{path}").exit_code == 0
    monkeypatch.setenv("MQ_ADDRESS_FILE", str(path))
    assert ctl("log").exit_code == 0


def test_the_default_address_file_is_looked_at_too(ctl, home, opened, terminal):
    write_address(home / ".mqd" / "default.json")
    result = ctl("log")
    assert result.exit_code == 0
    assert result.stderr.startswith(
        f"the frame log of the server with process {os.getpid()}: {opened}\n"
    )


def default_of(ctl, home, *arguments):
    """Return whether a command line leads to the default directory."""
    result = ctl("log", *arguments)
    assert result.exit_code == exits.USAGE
    assert "frame_log.path" in result.stderr
    make_log(home / ".mqd" / "data" / "frames")
    return ctl("log", *arguments).exit_code == 0


def test_a_server_elsewhere_cannot_tell(ctl, home, opened):
    path = write_address(home / "a.json", host="elsewhere")
    assert default_of(ctl, home, "--address-file", str(path))


def test_a_url_cannot_tell(ctl, home, opened):
    assert default_of(ctl, home, "--url", "mq://a:b@h")


def test_it_is_said_that_a_url_has_no_effect(ctl, home, opened, monkeypatch):
    write_address(home / ".mqd" / "default.json")
    result = ctl("log", "--url", "mq://a:b@elsewhere:2")
    assert result.exit_code == 0
    assert f"the frame log in {opened}, whichever" in result.stderr
    assert "--url has no effect here" in result.stderr
    assert "mqctl log PATH" in result.stderr
    monkeypatch.setenv("MQ_URL", "mq://a:b@elsewhere:2")
    assert "MQ_URL has no effect here" in ctl("log").stderr


def test_a_url_of_the_server_of_the_address_file_is_well(ctl, home, opened, monkeypatch):
    path = write_address(home / "a.json")
    monkeypatch.setenv("MQ_ADDRESS_FILE", str(path))
    result = ctl("log", "--url", "mq://a:b@h:1")
    assert result.exit_code == 0
    assert "no effect" not in result.stderr


def test_where_nothing_fits_the_directory_is_named(ctl, home, opened):
    write_address(home / ".mqd" / "default.json")
    assert f"no frame of this log fits: {opened}\n" in ctl("log").stderr


def test_a_server_that_is_gone_cannot_tell(ctl, home, opened):
    path = write_address(home / "a.json", pid=2**30)
    assert default_of(ctl, home, "--address-file", str(path))


def test_no_address_file_at_all(ctl, home, opened):
    assert default_of(ctl, home)


def test_an_address_file_of_no_use(ctl, home, opened):
    (home / "a.json").write_text("{")
    assert default_of(ctl, home, "--address-file", str(home / "a.json"))


def test_a_server_without_a_log_cannot_tell(ctl, home):
    path = write_address(home / "a.json")
    assert default_of(ctl, home, "--address-file", str(path))


def test_a_log_that_was_removed_is_passed_over(home, opened):
    (opened / file_name(1)).unlink()
    assert log_place.directory_of(os.getpid()) is None


def test_files_that_are_closed_meanwhile_are_passed_over(home, opened, monkeypatch):
    def gone(_):
        raise FileNotFoundError

    monkeypatch.setattr(os, "readlink", gone)
    assert log_place.directory_of(os.getpid()) is None


def test_a_bad_url_is_said(ctl, home):
    result = ctl("log", "--url", "http://h")
    assert result.exit_code == exits.USAGE
    assert "mq://" in result.stderr


def test_a_named_log_needs_no_server(ctl, home, opened):
    assert ctl("log", str(opened), "--url", "http://h").exit_code == 0


def test_a_verb_that_there_is_not_is_told(ctl, home, opened):
    result = ctl("log", str(opened), "--verb", "pus")
    assert result.exit_code == exits.USAGE
    assert "there is no verb 'pus'; did you mean PUSH?" in result.stderr
    assert "there are AUTH, " in ctl("log", str(opened), "--verb", "xyzzy").stderr
