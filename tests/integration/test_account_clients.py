"""Users and tokens over both clients and mqctl, and a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

import mqclient
from support.both_clients import KINDS, ClientMaker
from support.both_jobs import work
from support.server import ROOT, running_server

pytestmark = pytest.mark.timeout(60)

SECRET = "battery staple"
OTHER = "stapled battery"
PATIENCE_SECONDS = 10.0


@pytest.fixture(scope="module")
def server():
    with running_server() as running:
        yield running


@pytest.fixture(params=KINDS)
def make_client(request):
    maker = ClientMaker(request.param)
    yield maker
    maker.close()


@pytest.fixture
def admin(server, make_client):
    return make_client(server.url)


def url_of(server, name, password=SECRET):
    return f"mq://{name}:{password.replace(' ', '%20')}@{server.host}:{server.port}"


def until(is_true):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_users_are_managed(server, admin, make_client, queue):
    user = admin.add_user(queue, "manager", SECRET)
    assert (user.user, user.role, user.is_managed, user.is_disabled) == (
        queue,
        "agent",
        True,
        False,
    )
    with pytest.raises(mqclient.UserExists):
        admin.add_user(queue, "user", SECRET)
    assert admin.change_user(queue, role="basic").role == "user"
    assert [each.user for each in admin.users(f"{queue}*")] == [queue]
    assert {each.user: each.is_managed for each in admin.users()}["admin"] is False
    with pytest.raises(mqclient.UserConfigured):
        admin.remove_user("admin")
    managed = make_client(url_of(server, queue))
    with pytest.raises(mqclient.AccessDenied):
        managed.users()
    assert (managed.server.is_managed, admin.server.is_managed) == (True, False)
    admin.remove_user(queue)
    with pytest.raises(mqclient.UserNotFound):
        admin.change_user(queue, disabled=True)


def test_misuse_is_told_without_the_password(admin):
    for attempt in (
        lambda: admin.add_user("ada", "agent", "short"),
        lambda: admin.add_user("ada", "agent", ["short"]),
        lambda: admin.add_user("ada", "root", SECRET),
        lambda: admin.change_user("ada"),
        lambda: admin.change_password(SECRET, "short"),
    ):
        with pytest.raises(mqclient.InterfaceError) as caught:
            attempt()
        assert "short" not in str(caught.value)
        assert SECRET not in str(caught.value)
    with pytest.raises(mqclient.InterfaceError) as caught:
        admin.add_user("ada", "agent", f"{SECRET}\ud800")
    assert SECRET not in f"{caught.value}{caught.value.__cause__}"


def test_who_changes_its_password_connects_with_it_from_then_on(server, admin, make_client, queue):
    admin.add_user(queue, "agent", SECRET)
    client = make_client(url_of(server, queue))
    client.change_password(SECRET, OTHER)
    client.ping()
    make_client(url_of(server, queue, OTHER)).ping()
    with pytest.raises(mqclient.AuthFailed):
        make_client(url_of(server, queue)).ping()
    server_side = client.client if hasattr(client, "client") else client
    assert OTHER in dict(server_side._target.route().credentials.fields).values()


def test_a_token_is_a_way_in(server, admin, make_client, queue, monkeypatch, tmp_path):
    admin.add_user(queue, "agent", SECRET)
    owner = make_client(url_of(server, queue))
    token = owner.issue_token(role="user", lifetime=60, comment="a page")
    assert "mqt_" not in repr(token)
    bare = f"mq://{server.host}:{server.port}"
    file = tmp_path / "token"
    file.write_text(f"{token.token}\n")
    file.chmod(0o600)
    ways = [
        ({}, {"token": token.token}),
        ({"MQ_TOKEN": token.token}, {}),
        ({"MQ_TOKEN_FILE": str(file)}, {}),
    ]
    for variables, options in ways:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            client = make_client(bare, **options)
            client.connect()
        who = client.server
        assert (who.user, who.role, who.token_id) == (queue, "user", token.id)
        assert who.expires_at == token.expires_at
        assert token.token not in repr(client)
    by_file = make_client(address_file=server.address_file, token=token.token)
    by_file.ping()
    assert by_file.server.user == queue
    assert [each.id for each in owner.tokens()] == [token.id]
    assert [each.id for each in admin.tokens(queue)] == [token.id]
    with pytest.raises(mqclient.AccessDenied):
        by_file.issue_token()
    by_file.revoke_token(by_file.server.token_id)
    with pytest.raises(mqclient.TokenNotFound):
        owner.revoke_token(token.id)
    with pytest.raises(mqclient.AuthFailed):
        make_client(bare, token=token.token).ping()


def test_a_loop_finishes_what_it_has_and_then_says_why(server, admin, make_client, queue):
    admin.add_user(queue, "agent", SECRET)
    admin.create(queue)
    admin.create(f"{queue}.out")
    admin.push_many(queue, ["a", "b", "c"])
    worker = make_client(url_of(server, queue))
    done = []

    def job_done(job):
        if not done:
            admin_of_its_own = mqclient.Client(server.url)
            with admin_of_its_own:
                admin_of_its_own.change_user(queue, password=OTHER)
                time.sleep(0.1)
        done.append(job.body)
        return job.done(push={f"{queue}.out": [job.body]})

    with pytest.raises((mqclient.AuthEnding, mqclient.AuthFailed)):
        work(worker, job_done, queue, prefetch=2, lease=30)
    assert done == ["a", "b"]
    until(lambda: admin.info(queue).leased == 0)
    assert (admin.info(queue).acked, admin.info(queue).ready) == (2, 1)
    assert [each.body for each in admin.pull_many(f"{queue}.out", 9)] == ["a", "b"]


def test_the_wait_of_a_loop_ends_with_a_coded_error(server, admin, make_client, queue):
    admin.add_user(queue, "agent", SECRET)
    admin.create(queue)
    worker = make_client(url_of(server, queue))
    ender = threading.Timer(0.3, lambda: _end(server, queue))
    ender.start()
    begun = time.monotonic()
    with pytest.raises((mqclient.AuthEnding, mqclient.AuthFailed)):
        worker.pull(queue, wait=60)
    assert time.monotonic() - begun < PATIENCE_SECONDS
    ender.join()


def _end(server, name):
    with mqclient.Client(server.url) as client:
        client.remove_user(name)


def test_a_watch_ends_with_a_coded_error(server, queue):
    with mqclient.Client(server.url) as admin:
        admin.add_user(queue, "user", SECRET)
        with mqclient.Client(url_of(server, queue)) as client, client.watch() as watch:
            admin.remove_user(queue)
            with pytest.raises((mqclient.AuthEnding, mqclient.AuthFailed)):
                next(watch)


def mqctl(server, *arguments, stdin=""):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MQ_")}
    return subprocess.run(
        [sys.executable, "-m", "mqclient.ctl", "--url", server.url, *arguments],
        cwd=ROOT,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_commands(server, queue):
    assert mqctl(server, "user", "add", queue, "agent", stdin=SECRET).returncode == 0
    assert mqctl(server, "user", "add", queue, "agent", stdin=SECRET).returncode == 4
    assert queue in mqctl(server, "user", "ls").stdout
    made = mqctl(server, "token", "new", "--lifetime", "60")
    assert made.stdout.startswith("mqt_")
    listed = mqctl(server, "token", "ls").stdout.split()
    assert mqctl(server, "token", "revoke", listed[0]).returncode == 0
    assert mqctl(server, "user", "rm", queue).returncode == 0
