"""The HTTP gateway's OpenAPI document says what it does, and every role may do its part alone."""

from __future__ import annotations

import gc
import json
import re

import httpx
import hypothesis
import pytest
import schemathesis
import yaml

from mqd.core.access import ALLOWED, Role
from mqweb.documents import openapi
from mqweb.routes import OPERATIONS
from mqwire.codes import Code
from support.server import PASSWORD
from support.web import running_both

# Schemathesis leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

EXAMPLES = 4
# Those that wait for events, and what would end the others' work.
LEFT_OUT = ("/events", "/token", "/v1/me/password")


@pytest.fixture(scope="module")
def gateway():
    with running_both({"MAX_WAIT_SECONDS": "0"}) as running:
        with running.client() as client:
            client.post("/v1/queues", json={"queue": "0", "keep_results_seconds": 60})
            client.post("/v1/queues/0/messages", json={"messages": [{"body": 1}] * 20})
            client.post("/v1/queues/0/pull?max=5&lease=600")
            form = {"user": "secretary", "role": "secretary", "password": PASSWORD}
            client.post("/v1/users", json=form)
        yield running


@pytest.fixture(autouse=True)
def _collected():
    """Find those sockets here, and not in other tests, where they would be failures."""
    yield
    gc.collect()


# The document


@schemathesis.serializer("application/x-ndjson")
def _lines(_context, value):
    return json.dumps(value).encode()


schema = schemathesis.openapi.from_dict(openapi(OPERATIONS)).exclude(path=list(LEFT_OUT))


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_the_gateway_does_what_its_document_says(gateway, case):
    # The owner's token, which no example can revoke.
    owner = {"Authorization": f"Bearer {gateway.server.address.token}"}
    reply = case.call(base_url=gateway.url, headers=owner)
    assert reply.status_code < 500 or reply.json()["code"] in ("QUEUE_FULL", "TOO_MANY_QUEUES")
    case.validate_response(
        reply,
        excluded_checks=[
            schemathesis.checks.ignored_auth,
            schemathesis.checks.positive_data_acceptance,
            schemathesis.checks.use_after_free,
            schemathesis.checks.ensure_resource_availability,
        ],
    )


def test_both_forms_of_the_document_are_the_same(gateway):
    as_json = httpx.get(f"{gateway.url}/openapi.json")
    as_yaml = httpx.get(f"{gateway.url}/openapi.yaml")
    assert as_json.json() == yaml.safe_load(as_yaml.text)
    known = as_json.headers["etag"]
    again = httpx.get(f"{gateway.url}/openapi.json", headers={"If-None-Match": known})
    assert (again.status_code, again.content) == (304, b"")


def test_every_operation_has_its_own_name():
    names = [each.name for each in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_page_asks_no_other_host_for_anything(gateway, page):
    reply = httpx.get(f"{gateway.url}{page}")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    sources = re.findall(r'(?:src|href)="([^"]*)"', reply.text)
    assert sources
    for source in sources:
        assert source.startswith(("/assets/", "data:"))
        if source.startswith("/"):
            assert httpx.get(f"{gateway.url}{source}").status_code == 200


# Roles

LEASE = "/v1/leases/1-99"
TASK = "/v1/tasks/none/1"
REQUESTS = {
    "push": ("POST", "/v1/queues/none/messages", {"body": 1}),
    "pull": ("POST", "/v1/queues/none/pull", None),
    "peek": ("GET", "/v1/queues/none/messages", None),
    "message_status": ("GET", "/v1/queues/none/messages/1", None),
    "message_statuses": ("POST", "/v1/queues/none/status", {"ids": [1]}),
    "cancel_message": ("DELETE", "/v1/queues/none/messages/1", None),
    "cancel_messages": ("POST", "/v1/queues/none/cancel", {"ids": [1]}),
    "ack": ("POST", f"{LEASE}/ack", None),
    "nack": ("POST", f"{LEASE}/nack", None),
    "reject": ("POST", f"{LEASE}/reject", None),
    "extend": ("POST", f"{LEASE}/extend", {"seconds": 5}),
    "step": ("POST", "/v1/step", {"parts": [{"do": "ack", "lease": "1-99"}]}),
    "submit_task": ("POST", "/v1/tasks/none", {"task": 1}),
    "take_task": ("POST", "/v1/tasks/none/next", None),
    "complete_task": ("POST", f"{TASK}/complete", {"lease": "1-99"}),
    "fail_task": ("POST", f"{TASK}/fail", {"lease": "1-99"}),
    "task_status": ("GET", TASK, None),
    "list_tasks": ("GET", "/v1/tasks/none", None),
    "cancel_task": ("DELETE", TASK, None),
    "clear_tasks": ("DELETE", "/v1/tasks/none", None),
    "list_queues": ("GET", "/v1/queues", None),
    "create_queue": ("POST", "/v1/queues", {"queue": "made", "if_missing": True}),
    "queue_info": ("GET", "/v1/queues/none", None),
    "delete_queue": ("DELETE", "/v1/queues/none", None),
    "purge_queue": ("POST", "/v1/queues/none/purge", None),
    "pause_queue": ("POST", "/v1/queues/none/pause", None),
    "resume_queue": ("POST", "/v1/queues/none/resume", None),
    "dead_letters": ("GET", "/v1/queues/none/dead", None),
    "redrive": ("POST", "/v1/queues/none/redrive", {"all": True}),
    "list_tokens": ("GET", "/v1/tokens", None),
    "revoke_token": ("DELETE", "/v1/tokens/999", None),
    "list_users": ("GET", "/v1/users", None),
    "add_user": ("POST", "/v1/users", {"user": "x", "role": "user", "password": "long enough"}),
    "change_user": ("PATCH", "/v1/users/none", {"disabled": True}),
    "remove_user": ("DELETE", "/v1/users/none", None),
    "change_password": ("POST", "/v1/me/password", {"old": "x", "new": "long enough"}),
    "figures": ("GET", "/status", None),
    "who_am_i": ("GET", "/v1/me", None),
    "list_holders": ("GET", "/v1/holders", None),
    "make_snapshot": ("POST", "/v1/snapshot", None),
    "list_frames": ("GET", "/v1/frames", None),
    "events": ("GET", "/events?pattern=!", None),
}


def test_every_operation_for_users_is_tried():
    assert {each.name for each in OPERATIONS if not each.is_open} == set(REQUESTS)


@pytest.mark.parametrize("role", [role.word for role in Role])
def test_a_role_may_do_what_its_verbs_may_and_no_more(gateway, role):
    gateway.tokens.clear()
    by_name = {each.name: each for each in OPERATIONS}
    allowed = ALLOWED[Role(role)] | {"AUTH"}
    with gateway.client(role) as client:
        for name, (method, path, body) in REQUESTS.items():
            reply = client.request(method, path, json=body)
            may = set(by_name[name].verbs) <= allowed
            if may:
                code = reply.json()["code"] if reply.status_code in (401, 403) else ""
                # Its own refusals: a wrong old password.
                assert code in ("", "AUTH_FAILED" if name == "change_password" else ""), name
            else:
                assert reply.status_code == 403, (name, reply.text)
                assert reply.json()["code"] == Code.ACCESS_DENIED.name
