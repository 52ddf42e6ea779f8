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


@pytest.fixture(scope="module")
def gateway():
    with running_both() as running:
        yield running


def test_the_commands_do_what_they_say(gateway, tmp_path):
    for tool in ("curl", "jq"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} here")
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
            ["bash", "-c", f'{command}\nended=$?; echo "$L $I" >variables; exit $ended'],
            env={**os.environ, **values},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert result.returncode == 0, (what, result.stderr)
        assert '"urn:mqd:problem' not in result.stdout, (what, result.stdout)
        values["L"], _, values["I"] = (tmp_path / "variables").read_text().strip().partition(" ")
    with gateway.client() as client:
        assert client.get("/v1/queues/jobs").status_code == 404


def test_the_first_session_goes_as_it_is_told(gateway, tmp_path):
    for tool in ("curl", "jq"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} here")
    told = SECTION[SECTION.index("### A first session") : SECTION.index("### Every operation")]
    script = "\n".join(re.findall(r"```bash\n(.*?)```", told, re.DOTALL))
    assert script.count("http://127.0.0.1:7580") == 1
    address = tmp_path / ".mqd" / "default.json"
    address.parent.mkdir()
    address.write_text(json.dumps({"token": gateway.server.address.token}))
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("http://127.0.0.1:7580", gateway.url)],
        env={**os.environ, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert result.returncode == 0, result.stderr
    assert "urn:mqd:problem" not in result.stdout, result.stdout
    for said in (
        '"role":"admin"',
        '"state":"ready"',
        '"loss": 0.5',
        '"attempts":1',
        "event: pushed",
    ):
        assert said in result.stdout, (said, result.stdout)


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
