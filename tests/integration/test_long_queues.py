"""Queues that are longer than what the server may keep in memory."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

import mqclient
from support.server import running_server

MIB = 1 << 20
COUNT = 40_000
BATCH = 1000
PADDING = "x" * 1000
SMALL = {
    "storage": {"resident_bytes": MIB, "durability": "written"},
    "frame_log": {"level": "off"},
}


def memory_bytes(server):
    """Return what of a server's process lies in memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def fill(client):
    for start in range(0, COUNT, BATCH):
        client.push_many("jobs", [f"{n} {PADDING}" for n in range(start, start + BATCH)])


def numbers(messages):
    return [int(message.body.split()[0]) for message in messages]


def test_a_long_queue_takes_little_memory_and_outlives_its_server(tmp_path):
    with running_server(overrides=SMALL, directory=tmp_path) as server:
        empty_bytes = memory_bytes(server)
        with mqclient.Client(server.url) as client:
            client.create("jobs")
            fill(client)
            assert memory_bytes(server) - empty_bytes < 30 * MIB < COUNT * len(PADDING)
            pages = client.stats()["pages"]
            assert pages["resident_bytes"] < 2 * MIB
            assert pages["paged_bytes"] > 35 * MIB
            assert pages["file_bytes"] < 1.2 * pages["paged_bytes"]
            assert numbers(client.peek("jobs", 2, skip=COUNT // 2)) == [COUNT // 2, COUNT // 2 + 1]
            assert numbers(client.pull_many("jobs", 1500)) == list(range(1500))
            server.stop(signal.SIGKILL)
    with running_server(overrides=SMALL, directory=tmp_path) as server:
        assert not list(server.data_dir.glob("pages*"))
        with mqclient.Client(server.url) as client:
            assert client.info("jobs").ready == COUNT - 1500
            # What the process takes says nothing here: how much of what the start needed for a
            # moment is given back is up to the allocator.
            assert client.stats()["pages"]["resident_bytes"] < 2 * MIB
            found = []
            while messages := client.pull_many("jobs", 5000):
                found += numbers(messages)
            assert found == list(range(1500, COUNT))
            pages = client.stats()["pages"]
            assert (pages["pages"], pages["file_bytes"]) == (0, 0)


def damage_pages(server):
    """Write over what the server has put aside, in whichever of its files that is."""
    damaged = 0
    for path in Path(f"/proc/{server.process.pid}/fd").iterdir():
        target = str(path.readlink())
        if target.startswith(str(server.data_dir)) and target.endswith("(deleted)"):
            with path.open("r+b") as file:
                size = file.seek(0, 2)
                file.seek(0)
                file.write(b"?" * size)
            damaged += 1
    return damaged


def test_pages_that_are_damaged_are_refused_and_come_back_with_a_restart(tmp_path):
    with (
        running_server(overrides=SMALL, directory=tmp_path) as server,
        mqclient.Client(server.url) as client,
    ):
        client.create("jobs")
        client.create("other")
        for start in range(0, 4000, BATCH):
            client.push_many("jobs", [f"{n} {PADDING}" for n in range(start, start + BATCH)])
        client.push("other", "goes on")
        assert damage_pages(server) == 1
        first = numbers(client.pull_many("jobs", 100))
        with pytest.raises(mqclient.ServerError, match="cannot be had") as caught:
            while messages := client.pull_many("jobs", 100):
                first += numbers(messages)
        assert caught.value.code == "INTERNAL"
        before = client.info("jobs").ready
        with pytest.raises(mqclient.ServerError, match="cannot be had"):
            client.peek("jobs", 1, skip=before // 2)
        assert (before, first) == (4000 - len(first), list(range(len(first))))
        assert client.pull("other").body == "goes on"
        assert client.stats()["pages"]["read_failures"] >= 2
        assert "the journal has them" in server.stderr
        server.stop(signal.SIGKILL)
    with (
        running_server(overrides=SMALL, directory=tmp_path) as server,
        mqclient.Client(server.url) as client,
    ):
        found = []
        while messages := client.pull_many("jobs", 1000):
            found += numbers(messages)
        assert first + found == list(range(4000))
