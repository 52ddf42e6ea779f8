"""Users and tokens on a running server: what is on no record, what ends, and what is finished."""

from __future__ import annotations

import contextlib
import signal
import time

import argon2
import pytest

from mqd.core.access import ALLOWED, MANAGES, Role
from mqwire.levels import Level
from mqwire.verbs import VERBS
from support.gated_server import gated_server
from support.raw import Raw
from support.server import PASSWORD, running_server

PATIENCE_SECONDS = 10.0
SECRET = "battery staple s3cret"
OTHER = "stapled battery s3cret"
SHORT = {
    "leases": {"grace_seconds": 60.0},
    "auth": {"max_token_seconds": 3600.0, "max_tokens_per_user": 3, "max_users": 50},
}


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request):
    with running_server(loop=request.param, overrides=SHORT) as running:
        yield running


@pytest.fixture
def admin(server):
    with Raw(server) as connection:
        yield connection


@pytest.fixture
def ada(admin, queue):
    """Give the name of a managed agent, and a queue of the same name with three messages."""
    admin.ok("ADMIT", queue, "agent", SECRET)
    admin.ok("CREATE", queue)
    admin.push(queue, "a", "b", "c")
    return queue


@contextlib.contextmanager
def session(server, credentials, **options):
    with Raw(server, None) as connection:
        connection.welcome = connection.ok("AUTH", credentials, options)[0]
        yield connection


def by_password(name, password=SECRET):
    return {"user": name, "password": password}


def comes_in(server, credentials):
    with Raw(server, None) as connection:
        reply = connection.call("AUTH", credentials)
    assert reply[1] == "OK" or reply[2] == "AUTH_FAILED", reply
    return reply[1] == "OK"


def is_ended(connection):
    """Wait until the server has closed the connection, and said why."""
    begun = time.monotonic()
    frame = connection.read()
    assert frame[:3] == (0, "ERR", "AUTH_ENDED"), frame
    assert connection.is_closed()
    return time.monotonic() - begun < 1


ENDINGS = {
    "expel": lambda admin, name, _token: admin.ok("EXPEL", name),
    "disable": lambda admin, name, _token: admin.ok("ALTER", name, {"disabled": True}),
    "password": lambda admin, name, _token: admin.ok("ALTER", name, {"password": OTHER}),
    "role": lambda admin, name, _token: admin.ok("ALTER", name, {"role": "basic"}),
    "revoke": lambda admin, _name, token: admin.ok("REVOKE", token["id"]),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_what_has_ended_is_closed_within_a_second(server, admin, ada, how):
    with session(server, by_password(ada)) as one:
        [token] = one.ok("ISSUE")
        with session(server, {"token": token["token"]}) as two:
            two.send(("PULL", 1, f"{ada}", 1, {"wait": 60}), ("WATCH", 2))
            assert two.read()[:3] == (1, "OK", (1, 1))
            assert two.read()[:2] == (2, "OK")
            two.pull(ada, 9)
            while two._frames:
                two.read()
            two.send(("PULL", 3, ada, 1, {"wait": 60}), ("STATUS", 4, ada, (9, 1), {"wait": 60}))
            time.sleep(0.05)
            ENDINGS[how](admin, ada, token)
            told = []
            while not told or told[-1][0]:
                told.append(two.read())
            refused = {frame[0]: frame[2] for frame in told if frame[1] == "ERR"}
            assert refused == {0: "AUTH_ENDED", 2: "AUTH_ENDING", 3: "AUTH_ENDING"} | (
                {4: "AUTH_ENDING"} if 4 in refused else {}
            )
            assert two.is_closed()
        if how == "revoke":
            assert one.ok("TOKENS") == ((),)
        else:
            assert is_ended(one)
    assert not comes_in(server, {"token": token["token"]})


def test_where_the_frame_log_is_only_administrators_are_told(server, admin, ada):
    told = admin.ok("STATS")[0]["frame_log"]
    assert told.pop("directory") == str(server.frame_log_dir)
    with session(server, by_password(ada)) as one:
        assert one.ok("STATS")[0]["frame_log"].keys() == told.keys()


def test_a_token_that_is_over_ends_by_itself(server, admin, ada):
    with session(server, by_password(ada)) as one:
        [token] = one.ok("ISSUE", {"lifetime": 1.0, "role": "user"})
        with session(server, {"token": token["token"]}) as two:
            assert two.welcome["role"] == "user"
            assert two.welcome["token_id"] == token["id"]
            assert two.welcome["expires_at"] == token["expires_at"]
            assert two.read()[:3] == (0, "ERR", "AUTH_ENDED")
            assert time.time() - token["expires_at"] < 1
        assert one.ok("TOKENS") == ((),)


# What is held is finished


def test_a_lease_is_not_cut_and_its_holder_finishes_it(server, admin, ada):
    admin.ok("CREATE", f"{ada}.out")
    with (
        session(server, by_password(ada), instance="w1") as one,
        session(server, by_password(ada), instance="w1") as keeper,
    ):
        *_, lease = one.ok("PULL", ada, 3, {"lease": 60})
        admin.ok("EXPEL", ada)
        for verb, *rest in (
            ("PULL", ada, 1),
            ("PUSH", ada, 1, b"\xa1x"),
            ("INFO", ada),
            ("STATS",),
            ("WATCH",),
            ("ISSUE",),
            ("STEP", [["PUSH", f"{ada}.out", 1]], b"\xa1x"),
        ):
            assert one.error(verb, *rest)[0] == "AUTH_ENDING"
        one.ok("PING")
        keeper.ok("EXTEND", lease, 60)
        assert (
            one.error("STEP", [["ACK", lease], ["PUSH", "no-such", 1]], b"\xa1x")[0]
            == "QUEUE_NOT_FOUND"
        )
        one.ok("STEP", [["ACK", lease, {"ids": [1, 1]}], ["PUSH", f"{ada}.out", 1]], b"\xa1x")
        one.ok("NACK", lease, {"ids": [2, 1], "hand_back": True})
        one.ok("ACK", lease)
        assert is_ended(one)
        assert is_ended(keeper)
    assert admin.pull(f"{ada}.out") == [b"\xa1x"]
    [info] = admin.ok("INFO", ada)
    assert (info["ready"], info["leased"], info["acked"]) == (1, 0, 2)


def test_a_lease_that_runs_out_closes_its_holder_too(server, admin, ada):
    with session(server, by_password(ada), instance="w1") as one:
        one.ok("PULL", ada, 1, {"lease": 0.5})
        admin.ok("ALTER", ada, {"password": OTHER})
        assert is_ended(one)


def test_what_the_holder_has_taken_since_is_not_settled_and_keeps_nobody(server, admin, ada):
    with (
        session(server, by_password(ada), issue={}, instance="w1") as one,
        session(server, {"token": one.welcome["token"]["token"]}, instance="w1") as ended,
    ):
        *_, old = one.ok("PULL", ada, 1, {"lease": 60})
        admin.ok("REVOKE", one.welcome["token"]["id"])
        assert ended.error("INFO", ada)[0] == "AUTH_ENDING"
        *_, later = one.ok("PULL", ada, 1, {"lease": 60})
        for verb, *rest in (
            ("ACK", later),
            ("NACK", later, {"hand_back": True}),
            ("REJECT", later),
            ("EXTEND", later, 60),
            ("STEP", [["ACK", later], ["PUSH", ada, 1]], b"\xa1x"),
            ("STEP", [["ACK", old], ["ACK", later]]),
        ):
            assert ended.error(verb, *rest)[0] == "AUTH_ENDING", verb
        ended.ok("ACK", old)
        assert is_ended(ended)
        one.ok("ACK", later)


def test_who_is_detached_ends_at_once_and_its_leases_are_settled_by_others(server, admin, ada):
    gateway = {"instance": "http", "detached": True}
    with session(server, by_password(ada), issue={}, **gateway) as one:
        with session(server, {"token": one.welcome["token"]["token"]}, **gateway) as two:
            *_, lease = two.ok("PULL", ada, 3, {"lease": 60})
            admin.ok("REVOKE", one.welcome["token"]["id"])
            assert is_ended(two)
        assert one.ok("ACK", lease)[0] == 3


def test_who_authenticates_again_goes_on(server, admin, ada):
    with session(server, by_password(ada), instance="w1") as one:
        *_, lease = one.ok("PULL", ada, 1, {"lease": 60})
        admin.ok("ALTER", ada, {"password": OTHER})
        assert one.error("INFO", ada)[0] == "AUTH_ENDING"
        assert one.error("AUTH", by_password(ada))[0] == "AUTH_FAILED"
        one.ok("AUTH", by_password(ada, OTHER), {"instance": "w1"})
        one.ok("ACK", lease)
        one.ok("INFO", ada)


def test_who_may_finish_may_not_for_ever(queue):
    overrides = {"auth": {"finish_seconds": 0.5}, "leases": {"grace_seconds": 0.2}}
    with running_server(overrides=overrides) as server, Raw(server) as admin:
        admin.ok("ADMIT", "ada", "agent", SECRET)
        admin.ok("CREATE", queue)
        admin.push(queue, "a")
        with session(server, by_password("ada"), instance="g") as one:
            *_, lease = one.ok("PULL", queue, 1, {"lease": 600})
            admin.ok("EXPEL", "ada")
            while one.call("INFO", queue)[1] == "OK":  # it is told within a second
                pass
            one.ok("EXTEND", lease, 600)
            [[holder]] = admin.ok("HOLDERS")
            assert holder["deadline_at"] - holder["leased_at"] < 60
            assert is_ended(one)
        assert admin.ok("PULL", queue, 1, {"wait": 10})[2] == {"deliveries": (2,), "losses": (1,)}


# Own passwords


def test_who_changes_its_password_goes_on_and_what_else_there_is_ends(server, admin, ada):
    with session(server, by_password(ada)) as one, session(server, by_password(ada)) as other:
        [token] = other.ok("ISSUE")
        assert one.error("PASSWORD", OTHER, SECRET)[0] == "AUTH_FAILED"
        one.ok("PASSWORD", SECRET, OTHER)
        assert is_ended(other)
        one.ok("INFO", ada)
        assert not comes_in(server, by_password(ada))
        assert not comes_in(server, {"token": token["token"]})
        assert comes_in(server, by_password(ada, OTHER))
        admin.ok("EXPEL", ada)
        assert is_ended(one)


def test_who_came_with_a_token_does_not_outlive_it_by_a_new_password(server, admin, ada):
    with session(server, by_password(ada), issue={}) as one:
        with session(server, {"token": one.welcome["token"]["token"]}) as two:
            two.ok("PASSWORD", SECRET, OTHER)
            assert is_ended(two)
        assert is_ended(one)
    assert comes_in(server, by_password(ada, OTHER))


def test_passwords_of_the_configuration_are_changed_there(server):
    with Raw(server, "user") as one:
        code, details = one.error("PASSWORD", PASSWORD, SECRET)
        assert (code, details) == ("USER_CONFIGURED", {"user": "user"})


# Over a crash


@pytest.mark.parametrize("is_folded", [False, True])
def test_what_was_answered_holds_after_the_death_of_the_server(tmp_path, queue, is_folded):
    overrides = {"storage": {"durability": "accepted"}, **SHORT}
    with running_server(overrides=overrides, directory=tmp_path) as server, Raw(server) as admin:
        names = list(ENDINGS)
        tokens = {}
        for name in [*names, "stays"]:
            admin.ok("ADMIT", name, "agent", SECRET)
            with session(server, by_password(name), issue={"comment": "c"}) as one:
                tokens[name] = one.welcome["token"]
        with session(server, by_password("revoke")) as agent:
            admin.ok("CREATE", queue)
            admin.push(queue, "a")
            agent.ok("AUTH", by_password("revoke"), {"instance": "g", "detached": True})
            *_, lease = agent.ok("PULL", queue, 1, {"lease": 600, "durability": "written"})
        if is_folded:
            admin.ok("SNAPSHOT")
        for name, end in ENDINGS.items():
            end(admin, name, tokens[name])
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with running_server(overrides=overrides, directory=tmp_path) as server, Raw(server) as admin:
        for name in names:
            assert not comes_in(server, {"token": tokens[name]["token"]}), name
        assert comes_in(server, {"token": tokens["stays"]["token"]})
        known = {user["user"]: user for user in admin.ok("USERS")[0] if user["is_managed"]}
        assert set(known) == {*names, "stays"} - {"expel"}
        assert known["disable"]["is_disabled"]
        assert not comes_in(server, by_password("disable"))
        assert not comes_in(server, by_password("password"))
        assert comes_in(server, by_password("password", OTHER))
        assert known["role"]["role"] == "user"
        with session(server, by_password("revoke"), instance="g", detached=True) as again:
            assert again.ok("ACK", lease)[0] == 1


def test_tokens_of_a_configured_user_end_with_its_entry(tmp_path):
    with running_server(directory=tmp_path) as server, Raw(server, "agent") as agent:
        [token] = agent.ok("ISSUE")
        assert comes_in(server, {"token": token["token"]})
    # The same password, but another salt: it is another entry.
    another = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    users = [{"name": "agent", "password_hash": another, "role": "agent"}]
    with running_server(directory=tmp_path, overrides={"auth": {"users": users}}) as server:
        assert not comes_in(server, {"token": token["token"]})


# What is on no record


def test_no_password_token_or_hash_is_in_the_frame_log_or_the_servers_log(tmp_path):
    with running_server(directory=tmp_path) as server, Raw(server) as admin:
        admin.ok("ADMIT", "ada", "agent", SECRET)
        admin.error("ADMIT", "ada", SECRET, "agent")
        admin.ok("ALTER", "ada", {"password": OTHER, "role": "user"})
        with session(server, by_password("ada", OTHER), issue={}) as one:
            one.ok("PASSWORD", OTHER, SECRET)
            token = one.welcome["token"]["token"]
        with session(server, by_password("ada")) as one:
            one.send(("PING", 1), ("ISSUE", 2), ("PING", 3))
            frames = [one.read() for _ in range(3)]
            second = next(frame[2]["token"] for frame in frames if frame[0] == 2)
            assert comes_in(server, {"token": second})
            one.ok("TOKENS")
        users = admin.ok("USERS")
    assert "argon2" not in repr(users)
    assert "hash" not in repr(users)
    logged = b"".join(path.read_bytes() for path in server.frame_log_dir.iterdir())
    kept = b"".join(path.read_bytes() for path in server.data_dir.glob("*.mq*"))
    for secret in (SECRET, OTHER, token, second):
        assert secret.encode() not in logged + kept + server.stderr.encode()
    assert b"argon2" not in logged
    assert b"argon2" in kept
    assert b"ADMIT" in logged
    assert b"ISSUE" in logged


# Every role and every verb


VALUES = {
    "name": "roles",
    "user": "nobody",
    "role": "user",
    "password": SECRET,
    "old": SECRET,
    "new": OTHER,
    "queue": "roles",
    "count": 1,
    "max": 1,
    "pack": b"\xa1x",
    "lease": (1, 99),
    "ids": (1, 1),
    "seconds": 1,
    "parts": (("ACK", (1, 99)),),
    "request": 99,
    "events": 1,
    "token": 99,
    "credentials": {"user": "eve", "password": SECRET},
}


@pytest.mark.parametrize("role", Role, ids=lambda role: role.word)
def test_each_role_and_each_verb(server, admin, queue, role):
    admin.ok("ADMIT", queue, role.word, SECRET)
    with session(server, by_password(queue)) as one:
        assert one.welcome["role"] == role.word
        for verb in VERBS.values():
            arguments = [VALUES[each.name] for each in verb.arguments if each.is_required]
            reply = one.call(verb.name, *arguments)
            is_denied = reply[1] == "ERR" and reply[2] == "ACCESS_DENIED"
            may = verb.name in ALLOWED[role] or verb.name in ("AUTH", "PING")
            if verb.name == "ADMIT" and may and Role.USER in MANAGES[role]:
                admin.ok("EXPEL", "nobody")
            assert is_denied is (not may), (verb.name, reply)


def test_a_secretary_does_not_become_an_administrator(server, admin, queue):
    admin.ok("ADMIT", queue, "secretary", SECRET)
    admin.ok("ADMIT", f"{queue}.root", "admin", SECRET)
    with session(server, by_password(queue)) as one:
        for verb, *rest in (
            ("ADMIT", f"{queue}.new", "admin", SECRET),
            ("ADMIT", f"{queue}.new", "secretary", SECRET),
            ("ALTER", queue, {"role": "administrator"}),
            ("ALTER", f"{queue}.root", {"password": OTHER}),
            ("EXPEL", f"{queue}.root"),
            ("ISSUE", {"role": "admin"}),
            ("CREATE", queue),
        ):
            assert one.error(verb, *rest)[0] == "ACCESS_DENIED"
        one.ok("ADMIT", f"{queue}.new", "manager", SECRET)
        assert one.error("ALTER", f"{queue}.new", {"role": "admin"})[0] == "ACCESS_DENIED"
        one.ok("ALTER", f"{queue}.new", {"password": OTHER})
        with session(server, by_password(f"{queue}.new", OTHER)) as new:
            [token] = new.ok("ISSUE")
        assert [each["id"] for each in one.ok("TOKENS", f"{queue}*")[0]] == [token["id"]]
        one.ok("REVOKE", token["id"])
        one.ok("EXPEL", f"{queue}.new")


# Bounds


def test_the_bounds_of_the_configuration_hold(server, admin, ada):
    with session(server, by_password(ada)) as one:
        assert one.error("ISSUE", {"lifetime": 3601})[0] == "OUT_OF_RANGE"
        tokens = [one.ok("ISSUE", {"lifetime": 3600})[0] for _ in range(3)]
        assert one.error("ISSUE")[0] == "TOO_MANY_TOKENS"
        with Raw(server, None) as other:
            assert other.error("AUTH", by_password(ada), {"issue": {}})[0] == "TOO_MANY_TOKENS"
            assert other.error("PUSH", ada, 1, b"\xa1x")[0] == "NOT_AUTHENTICATED"
            error = other.error("AUTH", by_password(ada), {"issue": {"role": "admin"}})
            assert error[0] == "ACCESS_DENIED"
            assert other.error("AUTH", by_password(ada), {"issue": {"x": 1}})[0] == "UNKNOWN_OPTION"
        one.ok("REVOKE", tokens[0]["id"])
        one.ok("ISSUE", {"comment": "console"})
        with session(server, by_password(ada), issue={"comment": "console"}) as third:
            assert comes_in(server, {"token": third.welcome["token"]["token"]})
        assert len(one.ok("TOKENS")[0]) == 3
        with session(server, {"token": tokens[1]["token"]}) as two:
            assert two.error("ISSUE")[0] == "ACCESS_DENIED"
            two.ok("REVOKE", two.welcome["token_id"])
            assert is_ended(two)


@pytest.mark.parametrize(
    "request_",
    [
        ("ADMIT", "bob", "agent", SECRET),
        ("ALTER", "ada", {"disabled": True}),
        ("ALTER", "ada", {"password": OTHER}),
        ("EXPEL", "ada"),
        ("ISSUE",),
        ("REVOKE", 2),
    ],
    ids=lambda request: request[0],
)
async def test_nothing_is_answered_before_it_is_synced(tmp_path, request_):
    async with gated_server(tmp_path, level=Level.ACCEPTED) as running:
        admin = await running.connect()
        assert (await admin.call("ADMIT", "ada", "agent", SECRET))[1] == "OK"
        assert (await admin.call("ISSUE"))[2]["id"] == 2
        running.files.sync_gate.clear()
        admin.send(*request_)
        assert await admin.hears_nothing()
        running.files.sync_gate.set()
        assert (await admin.read())[1] == "OK"
