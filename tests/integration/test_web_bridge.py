"""The bridge: what happens at a real mqd arrives at a real Redis, whoever goes away."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys

import pytest
import redis

from mqclient import AsyncClient, Client
from mqweb.bridge import Bridge, Route
from support.redis_server import free_port, running_redis
from support.server import ROOT, running_server


@pytest.fixture(scope="module")
def server():
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def redis_url():
    with running_redis(free_port()) as url:
        yield url


async def until(condition, seconds=20.0):
    async def wait():
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), seconds)


class Carrying:
    """A bridge at work, inside the test."""

    def __init__(self, server, route):
        self.client = AsyncClient(server.url, connect_timeout=1.0)
        self.bridge = Bridge(self.client, route)
        self._stopping = asyncio.Event()

    async def __aenter__(self):
        self._task = asyncio.create_task(self.bridge.run(self._stopping))
        return self.bridge

    async def __aexit__(self, *_error):
        self._stopping.set()
        await self._task
        await self.client.close()


def entries(store, name):
    return [json.loads(fields[b"data"]) for _, fields in store.xrange(name)]


async def test_events_are_added_to_a_stream_in_order(server, redis_url):
    store = redis.Redis.from_url(redis_url)
    route = Route(redis_url, "s:{queue}", is_stream=True, pattern="bridged", kinds=["pushed"])
    async with Carrying(server, route) as bridge, AsyncClient(server.url) as client:
        await client.create("bridged", if_missing=True)
        sent = 0

        def has_come():
            return store.exists("s:bridged")

        while not has_come():  # the watch begins at its own time
            await client.push("bridged", sent)
            sent += 1
        for _ in range(50):
            await client.push("bridged", sent)
            sent += 1
        await until(lambda: entries(store, "s:bridged")[-1]["runs"][0] == sent)
        ids = [each["runs"][0] for each in entries(store, "s:bridged")]
        assert ids == list(range(ids[0], sent + 1))
        assert {each["kind"] for each in entries(store, "s:bridged")} == {"pushed"}
        assert bridge.lost == 0
    store.close()


async def test_redis_goes_away_and_comes_back_and_what_was_lost_is_counted(server):
    port = free_port()
    with running_redis(port) as url:
        route = Route(url, "gap", is_stream=True, kinds=["pushed"], pattern="gap", line_events=10)
        carrying = Carrying(server, route)
        async with AsyncClient(server.url) as client:
            await client.create("gap", if_missing=True)
            bridge = await carrying.__aenter__()
            while not bridge.delivered:
                await client.push("gap", 0)
                await asyncio.sleep(0.01)
    async with AsyncClient(server.url) as client:
        for number in range(40):
            await client.push("gap", number)
        last = (await client.info("gap")).pushed
        await until(lambda: bridge.lost >= 29)
        with running_redis(port) as url:
            store = redis.Redis.from_url(url)
            await until(
                lambda: store.exists("gap") and entries(store, "gap")[-1]["kind"] == "pushed"
            )
            await until(lambda: entries(store, "gap")[-1]["runs"][0] == last)
            told = entries(store, "gap")
            store.close()
            await carrying.__aexit__()
    assert told[0] == {"kind": "missed", "count": bridge.lost}
    assert [each["runs"][0] for each in told[1:]] == list(range(last - 9, last + 1))


async def test_mqd_goes_away_and_comes_back(redis_url):
    store = redis.Redis.from_url(redis_url)
    with running_server() as server:
        port = server.port
        carrying = Carrying(server, Route(redis_url, "away", is_stream=True, kinds=["created"]))
        bridge = await carrying.__aenter__()
        async with AsyncClient(server.url) as client:
            number = 0
            while not bridge.delivered:
                await client.create(f"q{number}")
                number += 1
        server.stop(signal.SIGKILL)
        overrides = {"server": {"port": port}}
        with running_server(overrides=overrides, directory=None) as again:
            kinds = lambda: [each["kind"] for each in entries(store, "away")]  # noqa: E731  short
            await until(lambda: "missed" in kinds())
            with Client(again.url) as client:
                client.create("later")
            await until(lambda: entries(store, "away")[-1].get("queue") == "later")
            await carrying.__aexit__()
    store.close()


def test_the_command_carries_events_until_it_is_told_to_stop(server, redis_url):
    store = redis.Redis.from_url(redis_url)
    heard = store.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("told:created")
    heard.get_message(timeout=10)
    environment = {**os.environ, "MQWEB_MQD": server.url}
    command = [sys.executable, "-m", "mqweb", "events", "--to", redis_url]
    process = subprocess.Popen(
        [*command, "--name", "told:{kind}", "--kinds", "created"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = iter(process.stderr.readline, "")
    assert any("watching mqd" in line for line in lines)
    with Client(server.url) as client:
        client.create("told-1")
    message = None
    while message is None:
        message = heard.get_message(timeout=10)
    assert json.loads(message["data"])["queue"] == "told-1"
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert re.search(r"events delivered: 1, not delivered: 0", rest)
    heard.close()
    store.close()


@pytest.mark.parametrize("url", ["http://host", "nothing"])
def test_a_url_that_is_none_is_said(server, url):
    result = subprocess.run(
        [sys.executable, "-m", "mqweb", "events", "--to", url],
        cwd=ROOT,
        env={**os.environ, "MQWEB_MQD": server.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("mqweb: ")
    assert "Traceback" not in result.stderr
