from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from mqd import state as states
from mqd.clock import Clock
from mqd.config import Config, ConfigError, LimitsConfig, StorageConfig
from mqd.core.broker import Bounds, Broker
from mqd.engine.durable import Durable, Settings
from mqd.engine.storage import MemoryOnly
from mqd.state import open_state
from mqd.store import DirectoryLocked, JournalDamaged, recover
from mqd.store.files import OsFiles
from mqd.store.journal import Journal

DAY_MS = 86_400_000


def config_for(directory, **storage):
    return Config(
        storage=StorageConfig(path=str(directory), segment_bytes=2**18, **storage),
        limits=LimitsConfig(max_frame_bytes=2**16, max_body_bytes=2**10),
    )


def write_history(directory, now_ms):
    """Leave a directory as a server leaves it that has created one queue."""
    directory.mkdir(mode=0o700, exist_ok=True)
    broker = Broker(Bounds(10, 1000, 10))
    recovered = recover(OsFiles(), str(directory), broker.apply_all, segment_bytes=2**16)
    journal = Journal(recovered.writer, lambda: None)
    journal.append(broker.plan_create("jobs", {}, now_ms))
    journal.commit()
    journal.close()


def release(state):
    state.storage._lock.release()
    state.storage.recovered.writer.abandon()


def test_a_new_directory_is_made_for_its_owner_alone(tmp_path):
    state = open_state(config_for(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert len(state.broker) == 0
    release(state)


def test_a_state_is_there_again(tmp_path, caplog):
    caplog.set_level("INFO")
    write_history(tmp_path, 5000)
    state = open_state(config_for(tmp_path))
    assert "jobs" in state.broker
    assert "0 messages in 1 queue" in caplog.text
    release(state)


def test_time_goes_on_from_the_newest_record_if_the_clock_was_set_back(tmp_path, caplog):
    ahead_ms = int(time.time() * 1000) + DAY_MS
    write_history(tmp_path, ahead_ms)
    state = open_state(config_for(tmp_path))
    assert state.clock.now_ms() >= ahead_ms
    assert "s behind the newest record" in caplog.text
    release(state)


def test_a_clock_that_is_right_is_taken(caplog):
    clock = Clock(1000)
    assert clock.ahead_seconds == 0
    assert abs(clock.now_ms() / 1000 - time.time()) < 5


def test_a_wall_clock_that_is_set_while_the_server_runs_moves_nothing(monkeypatch):
    times = SimpleNamespace(time=lambda: 5000.0, monotonic=lambda: 70.0)
    monkeypatch.setattr("mqd.clock.time", times)
    clock = Clock()
    for wall_seconds in (0.0, 5000.0 + 86_400):
        times.time = lambda seconds=wall_seconds: seconds
        assert clock.now_ms() == 5_000_000
    times.monotonic = lambda: 71.5
    assert clock.now_ms() == 5_001_500


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "lustre"])
def test_a_network_file_system_is_refused_unless_it_is_allowed(tmp_path, monkeypatch, caplog, kind):
    monkeypatch.setattr(states, "filesystem_type", lambda _: kind)
    with pytest.raises(ConfigError) as caught:
        open_state(config_for(tmp_path))
    (problem,) = caught.value.problems
    assert f"lies on {kind}, a network file system" in str(problem)
    assert "storage.allow_network_filesystem" in str(problem)
    assert list(tmp_path.iterdir()) == []
    release(open_state(config_for(tmp_path, allow_network_filesystem=True)))
    assert f"lies on {kind}, a network file system" in caplog.text


def test_a_file_system_in_memory_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(states, "filesystem_type", lambda _: "tmpfs")
    release(open_state(config_for(tmp_path)))
    assert "lies on tmpfs: what is there is gone when the machine is" in caplog.text


def test_without_a_journal_nothing_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(states, "filesystem_type", lambda _: "nfs")
    state = open_state(config_for(tmp_path, journal=False))
    assert isinstance(state.storage, MemoryOnly)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        open_state(config_for(tmp_path / "file" / "data"))
    assert "cannot be made" in str(caught.value.problems[0])


def test_a_directory_that_is_served_already(tmp_path):
    first = open_state(config_for(tmp_path))
    with pytest.raises(DirectoryLocked):
        open_state(config_for(tmp_path))
    release(first)
    release(open_state(config_for(tmp_path)))


def test_what_cannot_be_recovered_is_left_as_it_is_and_unlocked(tmp_path):
    write_history(tmp_path, 5000)
    (segment,) = tmp_path.glob("*.mqj")
    data = bytearray(segment.read_bytes())
    data[70] ^= 1
    segment.write_bytes(data)
    for _ in range(2):  # the lock is free again
        with pytest.raises(JournalDamaged):
            Durable(str(tmp_path), Broker(Bounds(1, 1, 1)), Settings())
    assert segment.read_bytes() == data


def test_queues_that_do_not_say_have_the_servers_retries(tmp_path):
    state = open_state(config_for(tmp_path / "data", journal=False))
    record = state.broker.plan_create("jobs", {}, 5)
    assert record[3].items() >= {"backoff": "exponential", "max_worker_losses": 5}.items()
    record = state.broker.plan_create("jobs", {"backoff": "none", "max_worker_losses": 9}, 5)
    assert record[3].items() >= {"backoff": "none", "max_worker_losses": 9}.items()
