"""The life of jobs on a running server: who holds what, over connections and over its death."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from mqwire.errors import RequestError
from mqwire.packs import join_bodies
from mqwire.requests import check_request
from support.gated_server import gated_server
from support.raw import Raw
from support.server import PASSWORD, running_server

GRACE_SECONDS = 0.6
SHORT_GRACE = {"leases": {"grace_seconds": GRACE_SECONDS}}
LONG_GRACE = {"leases": {"grace_seconds": 60.0}}
PATIENCE_SECONDS = 10.0


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request):
    """A server with a short grace for each event loop; tests use queues of their own on it."""
    with running_server(loop=request.param, overrides=SHORT_GRACE) as running:
        yield running


@contextlib.contextmanager
def worker(server, instance=None, user="agent", **options):
    """Give a connection that is one of an instance's."""
    with Raw(server, None) as connection:
        if instance is not None:
            options["instance"] = instance
        credentials = {"user": user, "password": PASSWORD}
        connection.welcome = connection.ok("AUTH", credentials, options)[0]
        yield connection


@pytest.fixture
def admin(server, queue):
    with Raw(server) as connection:
        connection.ok("CREATE", queue)
        yield connection


def counts(connection, queue):
    [info] = connection.ok("INFO", queue)
    keys = ("ready", "delayed", "leased", "dead")
    assert info["pushed"] == sum(info[key] for key in ("pulled", "acked", "purged", "moved", *keys))
    return {key: info[key] for key in keys if info[key]}


def until(condition, seconds=PATIENCE_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_a_whole_life(server, admin, queue):
    dead = f"{queue}.dead"
    admin.ok("DELETE", queue)
    options = {"dead_letter": dead, "max_attempts": 2, "backoff": "fixed", "backoff_seconds": 0.05}
    admin.ok("CREATE", queue, options)
    admin.push(queue, "a", "b", "c", "d")
    with worker(server, "w1", host="node7", client="test/1") as one:
        assert one.welcome["grace_seconds"] == GRACE_SECONDS
        assert one.welcome["limits"]["max_lease_seconds"] == 604_800
        ids, packs, columns, lease = one.ok("PULL", queue, 4, {"lease": 60})
        assert (ids, packs, columns) == ((1, 4), (join_bodies("abcd"),), {})
        [[holder]] = admin.ok("HOLDERS", queue)
        assert holder["lease"] == lease
        assert holder["is_connected"]
        assert 59 < holder["deadline_at"] - holder["leased_at"] < 61
        words = {key: holder[key] for key in ("queue", "count", "holder", "user", "host", "client")}
        assert words == {
            "queue": queue,
            "count": 4,
            "holder": "agent/w1",
            "user": "agent",
            "host": "node7",
            "client": "test/1",
        }
        assert one.ok("ACK", lease, {"ids": [1, 1]}) == (1, "synced")
        assert one.ok("NACK", lease, {"ids": [2, 1], "reason": "why"}) == (1, "synced")
        assert one.ok("REJECT", lease, {"ids": [3, 1]}) == (1, "synced")
        assert one.ok("NACK", lease, {"hand_back": True, "durability": "written"}) == (1, "written")
        assert one.error("EXTEND", lease, 60)[1]["why"] == "over"
        ids, _, columns, lease = one.ok("PULL", queue, 1, {"lease": 60})
        assert (ids, columns) == ((4, 1), {"deliveries": (2,)})
        ids, _, columns, other = one.ok("PULL", queue, 1, {"lease": 60, "wait": 10})
        assert (ids, columns) == ((2, 1), {"deliveries": (2,), "attempts": (1,)})
        one.ok("NACK", other)
        one.ok("ACK", lease)
        assert one.ok("PEEK", dead, 9)[:2] == ((1, 2), (join_bodies("cb"),))
        assert one.error("REDRIVE", dead)[0] == "ACCESS_DENIED"
        assert admin.ok("REDRIVE", dead, {"ids": [2, 1]}) == (1,)
        assert one.pull(queue) == [join_bodies("b")]
    assert counts(admin, queue) == {}
    assert counts(admin, dead) == {"ready": 1}


def test_a_waiting_pull_gets_what_runs_out(server, admin, queue):
    admin.push(queue, "a")
    with worker(server, "w1") as one, worker(server, "w2") as two:
        one.ok("PULL", queue, 1, {"lease": 0.2})
        begun = time.monotonic()
        ids, _, columns, _ = two.ok("PULL", queue, 1, {"lease": 60, "wait": 10})
        assert (ids, columns) == ((1, 1), {"deliveries": (2,), "losses": (1,)})
        assert 0.1 < time.monotonic() - begun < 5


def test_who_comes_back_within_the_grace_keeps_its_lease(server, admin, queue):
    admin.push(queue, "a")
    with worker(server, "w1") as one:
        *_, lease = one.ok("PULL", queue, 1, {"lease": 60})
    until(lambda: not admin.ok("HOLDERS", queue)[0][0]["is_connected"])
    with worker(server, "w1") as one:
        assert admin.ok("HOLDERS", queue)[0][0]["is_connected"]
        with worker(server, "w2") as other:  # waits longer than the grace lasts
            assert other.ok("PULL", queue, 1, {"wait": 2 * GRACE_SECONDS}) == ((), ())
        assert one.ok("ACK", lease)[0] == 1


def test_who_does_not_come_back_is_gone(server, admin, queue):
    admin.push(queue, "a")
    begun = time.monotonic()
    with worker(server, "w1") as one:
        *_, lease = one.ok("PULL", queue, 1, {"lease": 60})
    ids, _, columns, _ = admin.ok("PULL", queue, 1, {"wait": 10, "lease": 60})
    assert time.monotonic() - begun >= GRACE_SECONDS
    assert (ids, columns) == ((1, 1), {"deliveries": (2,), "losses": (1,)})
    with worker(server, "w1") as one:
        assert one.error("ACK", lease) == ("LEASE_LOST", {"lease": lease, "why": "over"})


def test_who_is_detached_keeps_its_lease_without_a_connection(server, admin, queue):
    admin.push(queue, "a")
    with worker(server, "gate", detached=True) as one:
        *_, lease = one.ok("PULL", queue, 1, {"lease": 60})
    with worker(server, "w2") as other:  # waits longer than the grace lasts
        assert other.ok("PULL", queue, 1, {"wait": 2 * GRACE_SECONDS}) == ((), ())
    [[holder]] = admin.ok("HOLDERS", queue)
    assert (holder["holder"], holder["is_detached"]) == ("agent~gate", True)
    with worker(server, "gate") as attached:
        assert attached.error("ACK", lease)[1]["why"] == "foreign"
    with worker(server, "gate", detached=True) as again:
        assert again.ok("ACK", lease)[0] == 1


def test_one_connection_of_an_instance_is_enough(server, admin, queue):
    admin.push(queue, "a")
    with worker(server, "w1") as keeper:
        with worker(server, "w1") as one:
            *_, lease = one.ok("PULL", queue, 1, {"lease": 60})
        with worker(server, "w2") as other:
            assert other.ok("PULL", queue, 1, {"wait": 2 * GRACE_SECONDS}) == ((), ())
        keeper.ok("EXTEND", lease, 30)
        assert keeper.ok("ACK", lease)[0] == 1


def test_another_user_with_the_same_instance_is_somebody_else(server, admin, queue):
    admin.push(queue, "a")
    with worker(server, "w1") as one, worker(server, "w1", user="admin") as other:
        *_, lease = one.ok("PULL", queue, 1, {"lease": 60})
        for verb, *rest in (("ACK",), ("NACK",), ("REJECT",), ("EXTEND", 60)):
            code, details = other.error(verb, lease, *rest)
            assert (code, details) == ("LEASE_LOST", {"lease": lease, "why": "foreign"})
        assert one.ok("ACK", lease)[0] == 1


def test_a_connection_without_an_instance_loses_its_leases_at_once(admin, server, queue):
    admin.push(queue, "a")
    with worker(server) as one:
        *_, lease = one.ok("PULL", queue, 1, {"lease": 600})
        assert admin.ok("HOLDERS", queue)[0][0]["holder"].startswith("agent#")
        assert admin.error("ACK", lease)[1]["why"] == "foreign"
    begun = time.monotonic()
    assert admin.ok("PULL", queue, 1, {"wait": 10})[2] == {"deliveries": (2,), "losses": (1,)}
    assert time.monotonic() - begun < GRACE_SECONDS


def test_who_becomes_somebody_else_leaves_its_leases(admin, server, queue):
    admin.push(queue, "a", "b")
    with worker(server, "w1") as one:
        *_, lease = one.ok("PULL", queue, 1, {"lease": 600})
        credentials = {"user": "agent", "password": PASSWORD}
        one.ok("AUTH", credentials, {"instance": "w2"})
        assert one.error("ACK", lease)[1]["why"] == "foreign"
        assert not admin.ok("HOLDERS", queue)[0][0]["is_connected"]
        one.ok("AUTH", credentials, {"instance": "w1"})
        assert one.ok("ACK", lease)[0] == 1
        one.ok("AUTH", credentials)
        *_, lease = one.ok("PULL", queue, 1, {"lease": 600})
        one.ok("AUTH", credentials, {"instance": "w3"})
        assert admin.ok("PULL", queue, 1, {"wait": 10})[2]["losses"] == (1,)


def test_a_waiting_pull_of_one_who_has_left_takes_no_lease(admin, server, queue):
    with worker(server, "w1") as one:
        one.send(("PULL", 1, queue, 1, {"lease": 60, "wait": 60}))
        until(lambda: admin.ok("INFO", queue)[0]["waiting"])
    until(lambda: not admin.ok("INFO", queue)[0]["waiting"])
    admin.push(queue, "a")
    assert counts(admin, queue) == {"ready": 1}


def test_leases_by_unix_socket_have_a_peer_too(admin, server, queue):
    admin.push(queue, "a")
    with Raw(server, "agent", unix=True) as one:
        one.ok("PULL", queue, 1, {"lease": 60})
        assert admin.ok("HOLDERS", queue)[0][0]["peer"].startswith("unix:")


def test_a_deleted_queue_takes_its_leases_along(admin, server, queue):
    admin.push(queue, "a")
    with worker(server, "w1") as one:
        *_, lease = one.ok("PULL", queue, 1, {"lease": 60})
        assert admin.ok("DELETE", queue) == (1,)
        assert one.error("ACK", lease)[1]["why"] == "over"
        assert admin.ok("HOLDERS", queue) == ((),)


HALF_FORMS = [
    ("PULL", "jobs", 1, {"lease": True}),
    ("PULL", "jobs", 1, {"lease": "60"}),
    ("PULL", "jobs", 1, {"lease": None}),
    ("PULL", "jobs", 1, {"lease": 0.0999}),
    ("PULL", "jobs", 1, {"lease": math.nan}),
    ("PULL", "jobs", 1, {"lease": 604_800.001}),
    ("PULL", "jobs", 0, {"lease": 60}),
    ("PULL", "jobs", True, {"lease": 60}),
    ("PULL", "jobs", 16_385, {"lease": 60}),
    ("PULL", 5, 1, {"lease": 60}),
    ("PULL", "", 1, {"lease": 60, "wait": 0}),
    ("PULL", "jobs", 1, {"leese": 60}),
    ("PULL", "jobs", 1, [60]),
    ("ACK", 5),
    ("ACK", []),
    ("ACK", [3]),
    ("ACK", [3, 17, 1]),
    ("ACK", [3, -1]),
    ("ACK", [-1, 17]),
    ("ACK", [3, 2**53]),
    ("ACK", [2**53, 17]),
    ("ACK", [True, 17]),
    ("ACK", [3, 17.0]),
    ("ACK", [3, 17], 5),
    ("ACK", [3, 17], {"delay": 5}),
]


@pytest.mark.parametrize("form", HALF_FORMS, ids=repr)
def test_what_is_nearly_a_plain_form_is_refused_as_everything_is(server, form):
    verb, *rest = form
    frame = (verb, 1, *(tuple(each) if isinstance(each, list) else each for each in rest))
    with pytest.raises(RequestError) as caught:
        check_request(frame)
    with Raw(server) as one:
        code, details = one.error(verb, *rest)
    assert code == caught.value.code.name
    assert repr(details) == repr(json_like(caught.value.details))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"delay": 0, "hand_back": True}, ["delay", "hand_back"]),
        ({"delay": 0.0, "lost": True}, ["delay", "lost"]),
        ({"lost": True, "hand_back": True}, ["hand_back", "lost"]),
        ({"delay": 1, "hand_back": True, "lost": True}, ["delay", "hand_back", "lost"]),
    ],
)
def test_ways_to_give_back_exclude_each_other(server, admin, queue, options, named):
    admin.push(queue, "a")
    *_, lease = admin.ok("PULL", queue, 1, {"lease": 60})
    code, details = admin.error("NACK", lease, options)
    assert (code, details) == ("CONFLICTING_OPTIONS", {"verb": "NACK", "options": tuple(named)})
    assert counts(admin, queue) == {"leased": 1}
    spoken = {"hand_back": False, "lost": False, "delay": 0}
    assert admin.ok("NACK", lease, spoken)[0] == 1, "what is false is not said"
    columns = admin.ok("PEEK", queue, 1)[2]
    assert (columns["deliveries"], columns["attempts"]) == ((1,), (1,))


def json_like(value):
    """Return a value as it comes over the wire."""
    if isinstance(value, dict):
        return {key: json_like(each) for key, each in value.items()}
    return tuple(map(json_like, value)) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("lease", [0.1, 604_800, 604_800.0])
def test_the_bounds_of_a_lease_are_within_them(server, admin, queue, lease):
    admin.push(queue, "a")
    assert admin.ok("PULL", queue, 16_384, {"lease": lease})[0] == (1, 1)


# The promise to be heard


def test_one_that_promised_and_is_silent_is_cut_off(server):
    begun = time.monotonic()
    with worker(server, "w1", keepalive=1) as one:
        assert one.is_closed()
        assert 1.9 <= time.monotonic() - begun <= 4
    assert "has not been heard as promised" in server.stderr


def test_one_that_pings_is_not_cut_off(server):
    begun = time.monotonic()
    with worker(server, "w1", keepalive=1) as one:
        one.socket.settimeout(0.8)
        while time.monotonic() - begun < 3.5:
            with contextlib.suppress(TimeoutError):
                one.read()
            one.ok("PING")
        assert one.ok("PING") == ()


def test_one_that_waits_has_to_be_heard_too(admin, server, queue):
    admin.push(queue, "a")
    with worker(server, keepalive=1) as one:
        one.ok("PULL", queue, 1, {"lease": 60})
        one.send(("PULL", 5, queue, 1, {"lease": 60, "wait": 60}))
        assert admin.ok("PULL", queue, 1, {"wait": 10})[2] == {"deliveries": (2,), "losses": (1,)}
        assert one.is_closed()


def test_who_authenticates_without_a_promise_has_made_none(server):
    with worker(server, "w1", keepalive=1) as one:
        one.ok("AUTH", {"user": "agent", "password": PASSWORD})
        one.socket.settimeout(3)
        with pytest.raises(TimeoutError):
            one.read()
        one.socket.settimeout(PATIENCE_SECONDS)
        assert one.ok("PING") == ()


def test_the_kernel_watches_those_that_promise_nothing(server):
    with Raw(server) as one:
        port = one.socket.getsockname()[1]
        command = ["ss", "-tnoH", "state", "established", f"( dport = :{port} )"]
        try:
            shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("there is no ss here that shows the timers of connections")
        [line] = [line for line in shown.splitlines() if f":{server.port} " in line]
        assert "timer:(keepalive," in line


def test_a_listener_hands_its_keepalive_on():
    from mqd.net.server import _notice_lost_hosts

    with socket.create_server(("127.0.0.1", 0)) as listener:
        _notice_lost_hosts(listener)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                for name, seconds in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5)):
                    if hasattr(socket, name):
                        value = accepted.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                        assert value == seconds


# What leaves when


@pytest.fixture
async def gated(tmp_path):
    async with gated_server(tmp_path) as running:
        admin = await running.connect()
        for name in ("dead", "jobs"):
            options = {"dead_letter": "dead"} if name == "jobs" else {}
            assert (await admin.call("CREATE", name, options))[1] == "OK"
        assert (await admin.call("PUSH", "jobs", 4, join_bodies("abcd")))[1] == "OK"
        yield running


async def test_a_lease_does_not_wait_for_a_sync_unless_it_is_told_to(gated):
    one = await gated.connect()
    gated.files.sync_gate.clear()
    reply = await one.call("PULL", "jobs", 1, {"lease": 60})
    assert reply[2] == (1, 1)
    assert (await one.call("EXTEND", reply[5], 30))[1] == "OK"
    one.send("PULL", "jobs", 1, {"lease": 60, "durability": "synced"})
    assert await one.hears_nothing()
    gated.files.sync_gate.set()
    assert (await one.read())[2] == (2, 1)


@pytest.mark.parametrize(
    ("verb", "options"),
    [("ACK", {}), ("NACK", {}), ("NACK", {"hand_back": True}), ("REJECT", {})],
)
async def test_a_settlement_waits_for_its_level(gated, verb, options):
    one = await gated.connect()
    *_, lease = await one.call("PULL", "jobs", 3, {"lease": 60})
    gated.files.sync_gate.clear()
    reply = await one.call(verb, lease, {**options, "ids": [1, 1], "durability": "written"})
    assert reply[1:] == ("OK", 1, "written")
    one.send(verb, lease, options)
    assert await one.hears_nothing()
    gated.files.sync_gate.set()
    assert (await one.read())[1:] == ("OK", 2, "synced")


async def test_redrives_and_purges_of_the_dead_wait_for_theirs(gated):
    one = await gated.connect()
    *_, lease = await one.call("PULL", "jobs", 3, {"lease": 60})
    await one.call("REJECT", lease)
    for verb, *rest in (("REDRIVE", "dead"), ("PURGE", "jobs", {"state": "dead"})):
        gated.files.sync_gate.clear()
        one.send(verb, *rest)
        assert await one.hears_nothing(), verb
        gated.files.sync_gate.set()
        assert (await one.read())[1] == "OK"


@pytest.mark.parametrize("verb", ["PEEK", "PULL"])
async def test_a_dead_letter_is_shown_when_its_move_is_durable(gated, verb):
    one, other = await gated.connect(), await gated.connect()
    *_, lease = await one.call("PULL", "jobs", 1, {"lease": 60})
    gated.files.sync_gate.clear()
    one.send("REJECT", lease)
    assert await one.hears_nothing()
    options = {"lease": 60, "durability": "accepted"} if verb == "PULL" else {}
    other.send(verb, "dead", 1, options)
    assert await other.hears_nothing()
    gated.files.sync_gate.set()
    assert (await other.read())[2] == (1, 1)
    assert (await one.read())[1] == "OK"


async def test_a_waiting_lease_is_told_when_the_push_is_durable(gated):
    one, other = await gated.connect(), await gated.connect()
    await one.call("PULL", "jobs", 9)
    one.send("PULL", "jobs", 1, {"lease": 60, "wait": 60})
    gated.files.sync_gate.clear()
    other.send("PUSH", "jobs", 1, join_bodies("e"))
    assert await one.hears_nothing()
    gated.files.sync_gate.set()
    assert (await one.read())[2] == (5, 1)


# The death of the server


@pytest.fixture
def directory():
    with tempfile.TemporaryDirectory(prefix="mqd-test-") as name:
        yield Path(name)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_leases_outlive_the_server(directory, number):
    with running_server(directory=directory, overrides=LONG_GRACE) as running:
        with Raw(running) as admin, worker(running, "w1") as one:
            admin.ok("CREATE", "jobs")
            admin.push("jobs", *"abcd")
            *_, first = one.ok("PULL", "jobs", 1, {"lease": 60})
            one.ok("NACK", first)
            *_, lease = one.ok("PULL", "jobs", 2, {"lease": 60})
            *_, short = one.ok("PULL", "jobs", 1, {"lease": 0.1})
            one.ok("EXTEND", lease, 500)
            [before] = admin.ok("HOLDERS")
            assert len(before) == 2
            running.process.send_signal(number)
            running.process.wait(PATIENCE_SECONDS)
    with running_server(directory=directory, overrides=LONG_GRACE) as running:
        with Raw(running) as admin, worker(running, "w1") as one, worker(running, "w2") as two:
            [after] = admin.ok("HOLDERS")
            assert [each["lease"] for each in after] == [lease, short], "though its time is up"
            assert after[0]["deadline_at"] == before[0]["deadline_at"]
            assert after[0]["holder"] == "agent/w1"
            assert counts(admin, "jobs") == {"ready": 1, "leased": 3}
            epoch, seq = lease
            assert two.error("ACK", lease)[1]["why"] == "foreign"
            assert one.error("ACK", (epoch + 1, seq))[1]["why"] == "stale"
            assert one.error("ACK", (epoch, seq + 100))[1]["why"] == "unknown"
            ids, _, _, fresh = two.ok("PULL", "jobs", 1, {"lease": 60})
            assert (ids, fresh[0]) == ((4, 1), epoch + 1)
            assert one.ok("NACK", lease, {"ids": [1, 1]}) == (1, "synced")
            assert one.ok("ACK", lease) == (1, "synced")
            ids, _, columns, _ = two.ok("PULL", "jobs", 1, {"lease": 60})
            assert (ids, columns) == ((1, 1), {"deliveries": (3,), "attempts": (2,)})
            assert one.ok("ACK", short) == (1, "synced"), "in time, since it could not before"


def test_who_does_not_come_back_after_a_restart_is_gone(directory):
    with running_server(directory=directory, overrides=LONG_GRACE) as running:
        with Raw(running) as admin, worker(running, "w1") as one:
            admin.ok("CREATE", "jobs")
            admin.push("jobs", "a")
            one.ok("PULL", "jobs", 1, {"lease": 600})
            running.process.kill()
            running.process.wait(PATIENCE_SECONDS)
    with running_server(directory=directory, overrides=SHORT_GRACE) as running, Raw(running) as one:
        assert one.ok("PULL", "jobs", 1, {"wait": 10})[2] == {"deliveries": (2,), "losses": (1,)}


def test_a_connection_without_an_instance_cannot_come_back_after_a_restart(directory):
    with running_server(directory=directory, overrides=LONG_GRACE) as running:
        with Raw(running) as one:
            one.ok("CREATE", "jobs")
            one.push("jobs", "a")
            *_, lease = one.ok("PULL", "jobs", 1, {"lease": 600})
            running.process.kill()
            running.process.wait(PATIENCE_SECONDS)
    with running_server(directory=directory, overrides=LONG_GRACE) as running:
        for _ in range(3):  # whatever numbers its connections have
            with Raw(running) as one:
                assert one.error("ACK", lease)[1]["why"] == "foreign"


def test_a_server_in_memory_has_leases_too():
    overrides = {**SHORT_GRACE, "storage": {"journal": False}}
    with running_server(overrides=overrides) as running, worker(running, "w1", "admin") as one:
        one.ok("CREATE", "jobs")
        one.push("jobs", "a", "b")
        *_, lease = one.ok("PULL", "jobs", 2, {"lease": 60})
        assert lease[0] > 1_700_000_000, "an epoch that no earlier start can have had"
        assert one.ok("ACK", lease, {"ids": [1, 1]}) == (1, "accepted")
        assert one.error("ACK", lease, {"durability": "synced"})[0] == "NO_JOURNAL"
        assert one.ok("STATS")[0]["server"]["epoch"] == lease[0]
