"""Figures for Prometheus: what promtool says of them, what they cost, what the dashboard asks for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time

import httpx
import pytest

from support.server import PASSWORD, ROOT
from support.web import running_both


@pytest.fixture(scope="module")
def gateway():
    with running_both({"OPEN_METRICS": "true"}) as running:
        with running.client() as client:
            client.post("/v1/queues", json={"queue": "jobs"})
            messages = [{"body": 1}] * 3
            client.post("/v1/queues/jobs/messages", json={"messages": messages})
            client.post("/v1/queues/jobs/pull?lease=60")
        yield running


@pytest.fixture(scope="module")
def text(gateway):
    return httpx.get(f"{gateway.url}/metrics").text


def test_promtool_has_nothing_to_say(text):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool here (Debian: apt install prometheus)")
    result = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_figures_are_those_of_the_queues(text):
    assert 'mqd_queue_messages{queue="jobs",state="ready"} 2.0' in text
    assert 'mqd_queue_messages{queue="jobs",state="leased"} 1.0' in text
    assert 'mqd_queue_pushed_messages_total{queue="jobs"} 3.0' in text


def test_who_asks_often_costs_mqd_one_look_a_second(gateway):
    with gateway.client() as client:
        before = client.get("/status").json()["requests"]["frames"]
        for _ in range(50):
            assert client.get("/metrics").status_code == 200
        after = client.get("/status").json()["requests"]["frames"]
    assert after - before < 100  # one each, which tells whether who asks is somebody still


def test_who_is_nobody_any_more_is_told_nothing_and_others_all(gateway):
    with gateway.client() as client:
        said = {"user": "agent", "password": PASSWORD, "lifetime": 60}
        made = client.post("/token", json=said).json()
        key = {"X-API-Key": made["token"]}
        assert httpx.get(f"{gateway.url}/metrics", headers=key).status_code == 200
        assert httpx.post(f"{gateway.url}/v1/queues/jobs/pull?lease=60", headers=key)
        assert client.delete(f"/v1/tokens/{made['id']}").status_code == 204
        deadline = time.monotonic() + 10
        while httpx.get(f"{gateway.url}/metrics", headers=key).status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        reply = httpx.get(f"{gateway.url}/metrics", headers=key)
        assert reply.json()["code"] == "AUTH_FAILED"
        assert "mqd_up 1.0" in client.get("/metrics").text


def test_the_dashboard_asks_for_what_there_is(text):
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    told = set(re.findall(r"^(\w+)(?:\{| )", text, re.MULTILINE))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            for name in re.findall(r"\b(mq(?:d|web)_\w+)", target["expr"]):
                if name != "mqd_snapshot_bytes" and "oldest_age" not in name:
                    assert name in told, name
