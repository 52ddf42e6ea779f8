"""STEP and keys of pushes on a running server."""

from __future__ import annotations

import signal

import pytest

from mqwire.packs import join_bodies
from support.raw import Raw
from support.server import running_server


@pytest.fixture
def wire(server):
    with Raw(server) as connection:
        yield connection


@pytest.fixture
def queue(wire, request):
    """A queue for inputs with three messages, and one for outputs with room for four."""
    number = abs(hash(request.node.nodeid))
    jobs, results = f"in{number}", f"out{number}"
    wire.call("CREATE", jobs, {"max_messages": 3})
    wire.call("CREATE", results, {"max_messages": 4})
    wire.call("PUSH", jobs, 3, join_bodies(["a", "b", "c"]))
    yield jobs, results
    wire.call("DELETE", jobs)
    wire.call("DELETE", results)


def lease(wire, name, count=1):
    reply = wire.call("PULL", name, count, {"lease": 60})
    assert reply[1] == "OK"
    return list(reply[5])


def counts(wire, name):
    info = wire.call("INFO", name)[2]
    return {key: info[key] for key in ("ready", "delayed", "leased", "acked", "pushed")}


def test_a_step_settles_and_pushes(wire, queue):
    jobs, results = queue
    first, second = lease(wire, jobs), lease(wire, jobs)
    reply = wire.call(
        "STEP",
        [
            ["ACK", first],
            ["PUSH", results, 2, {"headers": {"of": 1}}],
            ["NACK", second, {"reason": "no", "delay": 60}],
            ["PUSH", jobs, 1],
        ],
        join_bodies(["r1", "r2", "d"]),
    )
    assert reply[1:] == ("OK", (1, 1, 1, 4), "synced")
    assert counts(wire, jobs) == {"ready": 2, "delayed": 1, "leased": 0, "acked": 1, "pushed": 4}
    pulled = wire.call("PULL", results, 9)
    assert pulled[2:] == (
        (1, 2),
        (join_bodies(["r1", "r2"]),),
        {"headers": ({"of": 1}, {"of": 1})},
    )


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (["ACK", [1, 10**9]], "LEASE_LOST"),
        (["PUSH", "nowhere", 1], "QUEUE_NOT_FOUND"),
        (["ACK", [1, 2, 3]], "WRONG_TYPE"),
        (["PULL", "jobs", 1], "UNKNOWN_VERB"),
        (["ACK", [1, 1], {"durability": "synced"}], "UNKNOWN_OPTION"),
        (["NACK", [1, 1], {"delay": 1, "lost": True}], "CONFLICTING_OPTIONS"),
        ([], "WRONG_TYPE"),
        ("ACK", "WRONG_TYPE"),
    ],
)
def test_a_part_that_is_refused_refuses_the_step_and_is_named(wire, queue, part, code):
    jobs, results = queue
    held = lease(wire, jobs)
    before = counts(wire, jobs), counts(wire, results)
    pack = join_bodies(["r"] * (2 if part and part[0] == "PUSH" else 1))
    reply = wire.call("STEP", [["PUSH", results, 1], ["ACK", held], part], pack)
    assert reply[1:3] == ("ERR", code)
    assert reply[4]["part"] == 2
    assert (counts(wire, jobs), counts(wire, results)) == before


def test_a_full_queue_refuses_all_of_it(wire, queue):
    jobs, results = queue
    held = lease(wire, jobs)
    parts = [["ACK", held], ["PUSH", results, 2], ["PUSH", results, 3]]
    reply = wire.call("STEP", parts, join_bodies("abcde"))
    assert reply[1:3] == ("ERR", "QUEUE_FULL")
    assert reply[4]["part"] == 2
    assert counts(wire, jobs)["leased"] == 1
    assert counts(wire, results)["ready"] == 0


def test_what_a_step_frees_it_may_fill(wire, queue):
    jobs, _ = queue
    held = lease(wire, jobs)
    assert wire.call("PUSH", jobs, 1, join_bodies("x"))[2] == "QUEUE_FULL"
    assert (
        wire.call("STEP", [["PUSH", jobs, 1], ["ACK", held]], join_bodies("x"))[2] == "QUEUE_FULL"
    )
    assert wire.call("STEP", [["ACK", held], ["PUSH", jobs, 1]], join_bodies("x"))[1] == "OK"


def test_a_lease_is_settled_once_in_a_step(wire, queue):
    held = lease(wire, queue[0], 2)
    reply = wire.call("STEP", [["ACK", held, {"ids": [1, 1]}], ["ACK", held, {"ids": [2, 1]}]])
    assert reply[1:3] == ("ERR", "LEASE_LOST")
    assert reply[4] == {"lease": tuple(held), "why": "over", "part": 1}


def test_bodies_and_parts_have_to_agree(wire, queue):
    results = queue[1]
    for pack in (join_bodies("ab"), b"", b"\xc1"):
        assert wire.call("STEP", [["PUSH", results, 1]], pack)[2] == "BAD_PACK"
    assert wire.call("STEP", [["PUSH", results, 1]])[2] == "BAD_PACK"
    assert wire.call("STEP", [])[2] == "OUT_OF_RANGE"
    assert wire.call("STEP", [["PUSH", results, 1]] * 1025)[2] == "OUT_OF_RANGE"
    assert wire.call("STEP", [["PUSH", results, 16_384]] * 2)[2] == "TOO_MANY_MESSAGES"


def test_whoever_waits_is_served_by_a_step(server, wire, queue):
    jobs, results = queue
    with Raw(server) as other:
        other.send(("PULL", 7, results, 1, {"wait": 30}))
        other.call("PING")
        held = lease(wire, jobs)
        wire.call("STEP", [["ACK", held], ["PUSH", results, 1]], join_bodies(["r"]))
        assert other.read()[2:] == ((1, 1), (join_bodies(["r"]),))


def test_one_users_step_keys_are_not_anothers(server, wire, queue):
    results = queue[1]
    step = ("STEP", [["PUSH", results, 1]], join_bodies(["r"]), {"key": "k"})
    assert wire.call(*step)[1:] == ("OK", (1,), "synced")
    assert wire.call(*step)[1:] == ("OK", (1,), "synced", True, ())
    with Raw(server, "agent") as agent:
        assert agent.call(*step)[1:] == ("OK", (2,), "synced")
        other = agent.call("STEP", [["PUSH", results, 1]], join_bodies(["s"]), {"key": "k"})
        assert (other[2], other[4]) == ("KEY_REUSED", {"key": "k"})
        assert "'k'" in other[3]


def test_a_push_that_comes_again_is_known_and_so_is_a_step_after_kill_and_restart():
    with running_server() as server:
        with Raw(server) as wire:
            wire.call("CREATE", "jobs")
            wire.call("CREATE", "forgetful", {"dedupe_seconds": 0})
            push = ("PUSH", "jobs", 2, join_bodies(["a", "b"]), {"key": "p1"})
            assert wire.call(*push)[1:] == ("OK", 1, "synced")
            held = lease(wire, "jobs")
            step = ("STEP", [["ACK", held], ["PUSH", "jobs", 1]], join_bodies(["c"]), {"key": "s"})
            first = wire.call(*step)
            forgotten = ("PUSH", "forgetful", 1, join_bodies(["a"]), {"key": "p1"})
            assert [wire.call(*forgotten)[2] for _ in range(2)] == [1, 2]
        server.stop(signal.SIGKILL)
        with running_server(directory=server.directory) as again, Raw(again) as wire:
            assert wire.call(*step)[2:] == (*first[2:], True, ())
            assert wire.call(*push)[2:] == (1, "synced", True)
            other = ("PUSH", "jobs", 2, join_bodies(["a", "x"]), {"key": "p1"})
            assert wire.call(*other)[1:3] == ("ERR", "KEY_REUSED")
            assert wire.call("INFO", "jobs")[2]["pushed"] == 3
