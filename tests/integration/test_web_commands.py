"""The documentation of the HTTP gateway: its tables are true, its commands run as they are printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import httpx
import pytest

from mqweb.config import DEFAULTS, SETTINGS
from mqweb.routes import OPERATIONS
from mqwire.codes import GatewayCode
from support.server import ROOT
from support.web import running_both

TEXT = (ROOT / "DOCUMENTATION.md").read_text(encoding="utf-8")
SECTION = TEXT[TEXT.index("## 9. Over HTTP") :]
ROW = re.compile(r"^\| ([^|]+) \| `([A-Z]+) ([^`|]+)` \| `(.+)` \|$", re.MULTILINE)
COMMANDS = [match.groups() for match in ROW.finditer(SECTION)]


def test_every_operation_has_its_command():
    told = {(method, path) for _, method, path, _ in COMMANDS}
    served = {(each.method, each.path) for each in OPERATIONS}
    assert told == served


def test_the_codes_of_the_gateway_are_the_registered_ones():
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+) \| (\d+) \|$", SECTION, re.MULTILINE)
    assert rows == [(each.name, each.summary, str(each.http_status)) for each in GatewayCode]


def test_the_settings_are_there_with_their_defaults():
    rows = re.findall(r"^\| `([a-z_]+)` \| `([^`]+)` \| (.+) \|$", SECTION, re.MULTILINE)
    assert rows == [
        (name, json.dumps(getattr(DEFAULTS, name)), setting.doc)
        for name, setting in SETTINGS.items()
    ]


def test_the_commands_do_what_they_say(tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    with running_both() as gateway:
        values = {
            "W": gateway.url,
            "K": f"X-API-Key: {gateway.server.address.token}",
            "L": "",
            "I": "",
            "B": "",
        }
        for what, _, path, command in COMMANDS:
            if path.endswith("/fail"):  # another task than the one that is done
                values |= taken(gateway)
            if path == "/v1/me/password":
                values |= {"B": f"X-API-Key: {token_of_bob(gateway)}"}
            result = subprocess.run(
                ["bash", "-c", command],
                env={**os.environ, **values},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert result.returncode == 0, (what, result.stderr)
            assert '"urn:mqd:problem' not in result.stdout, (what, result.stdout)
            if "lease" in command and path.endswith(("/pull", "/next")):
                reply = json.loads(result.stdout)
                lease = reply["lease"]
                values |= {"L": lease if isinstance(lease, str) else lease["id"]}
                values |= {"I": str(reply.get("id", ""))}
        with gateway.client() as client:
            assert client.get("/v1/queues/jobs").status_code == 404


def token_of_bob(gateway):
    said = {"user": "bob", "password": "battery staple"}
    return httpx.post(f"{gateway.url}/token", json=said, timeout=20).json()["token"]


def taken(gateway):
    """Take one more task."""
    owner = {"X-API-Key": gateway.server.address.token}
    with httpx.Client(base_url=gateway.url, headers=owner, timeout=20) as client:
        client.post("/v1/tasks/jobs", json={"task": 2, "priority": 255})
        reply = client.post("/v1/tasks/jobs/next").json()
    return {"L": reply["lease"], "I": str(reply["id"])}
