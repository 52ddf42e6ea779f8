"""The address file on the disk: written whole, removed if ours, told stale from live."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import mqwire
import mqwire.address
from mqd import address_file
from mqd.address_file import AddressFile, AddressFileError, AddressInUse, own_address
from mqwire.address import Address
from mqwire.frames import FrameWriter

URL = "mq://127.0.0.1:1"
PONG = FrameWriter().encode((1, "OK"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "address.json"


@pytest.fixture
def short_timeout(monkeypatch):
    monkeypatch.setattr(address_file, "ANSWER_TIMEOUT_SECONDS", 0.05)


@pytest.fixture
def listening():
    """Listen with a function that is given each connection; returns its url."""
    listeners, threads = [], []

    def listen(serve, family=socket.AF_INET, at=("127.0.0.1", 0)):
        listener = socket.socket(family)
        listener.bind(at)
        listener.listen()
        listeners.append(listener)

        def accept():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        threads.append(thread)
        name = listener.getsockname()
        return f"mq+unix://{name}" if family == socket.AF_UNIX else f"mq://{name[0]}:{name[1]}"

    yield listen
    for listener in listeners:
        # Ends an accept that still waits.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)


def answer(*parts):
    """Return a function that reads the request, sends the parts and waits for the other's end."""

    def serve(connection):
        try:
            assert connection.recv(4096) == FrameWriter().encode(("PING", 1))
            for part in parts:
                connection.sendall(part)
            connection.recv(1)
        except ConnectionError:
            pass

    return serve


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def ended_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(path, *urls, **changes):
    address = replace(own_address(urls or [URL], "some-token"), **changes)
    path.write_text(address.to_json())
    return address


# Writing and removing


def test_own_address():
    address = own_address(["mq://127.0.0.1:7500"], "t")
    assert address.urls == ("mq://127.0.0.1:7500",)
    assert (address.host, address.pid) == (socket.gethostname(), os.getpid())
    assert (address.token, address.server_version) == ("t", mqwire.__version__)
    assert address.started_at > 1.7e9


def test_writing_makes_a_private_file_in_private_directories(tmp_path):
    path = tmp_path / "a" / "b" / "address.json"
    umask = os.umask(0)
    try:
        address = own_address([URL], "t")
        AddressFile(path).write(address)
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700
    assert Address.from_json(path.read_text()) == address
    assert list(path.parent.iterdir()) == [path]


def test_writing_goes_through_a_synced_temporary_file(path, monkeypatch):
    steps = []
    fsync, rename = os.fsync, Path.replace

    def logged_fsync(descriptor):
        steps.append(
            "sync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file"
        )
        fsync(descriptor)

    def logged_rename(source, target):
        steps.append("rename")
        assert source.parent == target.parent
        assert source.stat().st_mode & 0o777 == 0o600
        assert source.read_text().endswith("}\n")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(Path, "replace", logged_rename)
    path.write_text("old")
    path.chmod(0o644)
    AddressFile(path).write(own_address([URL], "t"))
    assert steps == ["sync file", "rename", "sync directory"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_everything_as_it_was(path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AddressFileError, match=r"cannot be written .No space left on device."):
        AddressFile(path).write(own_address([URL], "t"))
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_rename_that_fails_leaves_no_temporary_file(path):
    path.mkdir()
    with pytest.raises(AddressFileError, match=r"Is a directory.*--address-file"):
        AddressFile(path).write(own_address([URL], "t"))
    assert list(path.parent.iterdir()) == [path]


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "sub" / "address.json"
    with pytest.raises(AddressFileError, match=r"cannot be written"):
        AddressFile(path).write(own_address([URL], "t"))


def test_removing_what_is_ours(path):
    file = AddressFile(path)
    assert file.remove() is False
    file.write(own_address([URL], "t"))
    assert file.remove() is True
    assert not path.exists()
    assert file.remove() is False


@pytest.mark.parametrize("changes", [{"token": "other"}, {"pid": 1}, {"token": "é\ud800"}])
def test_another_servers_file_is_left(path, changes):
    file = AddressFile(path)
    file.write(own_address([URL], "t"))
    leave(path, **{"token": "t", **changes})
    assert file.remove() is False
    assert path.exists()


@pytest.mark.parametrize("text", ["", "garbage"])
def test_what_is_no_address_file_any_more_is_left(path, text):
    file = AddressFile(path)
    file.write(own_address([URL], "t"))
    path.write_text(text)
    assert file.remove() is False
    assert path.exists()


def test_a_file_found_and_never_written_is_left(path):
    leave(path)
    assert AddressFile(path).remove() is False


def test_a_removal_that_fails_is_told(path, monkeypatch):
    def denied(self):
        raise PermissionError(13, "Permission denied")

    file = AddressFile(path)
    file.write(own_address([URL], "t"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", denied)
        with pytest.raises(AddressFileError, match=r"cannot be removed .Permission denied."):
            file.remove()


# Stale or live


def test_no_file_is_free(path):
    assert AddressFile(path).check_free() is None


@pytest.mark.parametrize("text", ["", " \n", "\u00a0\r\n"])  # what clients too take for empty
def test_an_empty_file_is_free(path, text):
    path.write_text(text, "utf-8")
    assert "empty" in AddressFile(path).check_free()
    assert path.exists()


@pytest.mark.parametrize("pid", ["ended", 0, -1, 2**70])
def test_a_process_that_has_ended_left_its_file(path, pid, listening):
    url = listening(answer(PONG))
    leave(path, url, pid=ended_pid() if pid == "ended" else pid)
    assert "has ended; it is replaced" in AddressFile(path).check_free()


def test_a_process_that_answers_keeps_its_file(path, listening):
    url = listening(answer(PONG[:3], PONG[3:]))
    leave(path, f"mq://127.0.0.1:{closed_port()}", url)
    with pytest.raises(AddressInUse) as caught:
        AddressFile(path).check_free()
    sentence = str(caught.value)
    assert url in sentence
    assert str(os.getpid()) in sentence
    assert "--address-file" in sentence
    assert "some-token" not in sentence


def test_a_server_that_answers_with_an_error_keeps_its_file(path, listening):
    refusal = FrameWriter().encode((0, "ERR", "TOO_MANY_CONNECTIONS", "full", {}))
    leave(path, listening(answer(refusal)))
    with pytest.raises(AddressInUse):
        AddressFile(path).check_free()


def test_a_server_that_is_too_busy_to_answer_keeps_its_file(path, listening, short_timeout):
    leave(path, listening(answer()))
    with pytest.raises(AddressInUse):
        AddressFile(path).check_free()


def test_a_server_on_a_unix_socket_keeps_its_file(path, listening):
    directory = tempfile.mkdtemp(prefix="mqd-")
    try:
        leave(path, listening(answer(PONG), socket.AF_UNIX, f"{directory}/s"))
        with pytest.raises(AddressInUse):
            AddressFile(path).check_free()
    finally:
        shutil.rmtree(directory)


def hang_up(connection):
    connection.recv(4096)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)


@pytest.mark.parametrize(
    "serve", [answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), hang_up, lambda _: None]
)
def test_another_program_at_the_port_does_not_count(path, listening, serve):
    leave(path, listening(serve))
    assert "does not answer; it is replaced" in AddressFile(path).check_free()


@pytest.mark.parametrize(
    "url",
    ["mq+unix:///no/such/socket", "mq://127.0.0.1:99999", "mq://[", "", "mq+unix://" + "x" * 300],
)
def test_urls_that_lead_nowhere(path, url):
    leave(path, url)
    assert "does not answer; it is replaced" in AddressFile(path).check_free()


def test_a_process_of_somebody_else_counts_as_running(path, monkeypatch):
    def denied(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", denied)
    leave(path, f"mq://127.0.0.1:{closed_port()}")
    assert "does not answer" in AddressFile(path).check_free()


def test_loopback_of_another_machine_is_not_asked_here(path, listening):
    asked = threading.Event()
    url = listening(lambda _: asked.set())
    leave(path, url, "mq://localhost:1", "mq+unix:///tmp/s", host="elsewhere")
    assert "cannot be asked from this machine" in AddressFile(path).check_free()
    assert not asked.is_set()


def test_another_machine_is_asked_where_it_can_be(path, listening, monkeypatch):
    url = listening(answer(PONG))
    leave(path, url, host="elsewhere", pid=ended_pid())
    monkeypatch.setattr(mqwire.address, "is_local", lambda _: False)
    with pytest.raises(AddressInUse, match="on elsewhere, which answers"):
        AddressFile(path).check_free()


# Something else in its place


@pytest.mark.parametrize(
    "text",
    ["my thesis", "[]", "{}", '{"address_file_version": 2}', '{"address_file_version": 1}', "["],
)
def test_what_is_no_address_file_is_not_replaced(path, text):
    path.write_text(text)
    with pytest.raises(AddressFileError, match="is no address file that can be replaced"):
        AddressFile(path).check_free()
    assert path.read_text() == text


def test_odd_files_are_not_replaced(path, tmp_path):
    path.write_bytes(b"\xff")
    (tmp_path / "large").write_bytes(b" " * (address_file.MAX_FILE_BYTES + 1))
    (tmp_path / "deep").write_text("[" * 60_000)
    os.mkfifo(tmp_path / "pipe")
    for other in (path, tmp_path / "large", tmp_path / "deep", tmp_path / "pipe"):
        with pytest.raises(AddressFileError, match="is no address file"):
            AddressFile(other).check_free()
    for other in (tmp_path, path / "below"):
        with pytest.raises(AddressFileError):
            AddressFile(other).check_free()
