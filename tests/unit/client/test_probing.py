from __future__ import annotations

from mqclient import calls
from mqclient.inflight import InFlight
from mqclient.kept import KeptMessages
from mqclient.probing import ASK, LOST, LOST_SECONDS, QUIET_SECONDS, WAIT, Probe
from mqwire.frames import FrameReader, FrameWriter


def test_silence_is_asked_about_once_and_then_taken_for_the_end():
    probe = Probe(100.0)
    assert probe.step(100.0 + QUIET_SECONDS - 0.001) == WAIT
    assert probe.step(100.0 + QUIET_SECONDS) == ASK
    asked_at = 100.0 + QUIET_SECONDS
    assert probe.next_at == asked_at + LOST_SECONDS
    assert probe.step(asked_at + LOST_SECONDS - 0.001) == WAIT
    assert probe.step(asked_at + LOST_SECONDS) == LOST


def test_whatever_comes_begins_it_anew():
    probe = Probe(0.0)
    assert probe.step(20.0) == ASK
    probe.heard(30.0)
    assert probe.step(44.9) == WAIT
    assert probe.step(45.0) == ASK
    assert probe.step(74.9) == WAIT


def test_a_dead_server_is_noticed_within_the_time_that_is_promised():
    assert QUIET_SECONDS + LOST_SECONDS <= 45


def test_the_answer_to_a_ping_of_ours_wakes_nobody():
    core = InFlight(KeptMessages())
    request, _ = core.begin(calls.purge("q"), "waker")
    [ping] = FrameReader(1 << 20).feed(core.ping())
    assert ping == ("PING", 2)
    assert core.feed(FrameWriter().encode((2, "OK"))) == []
    assert core.waiting() is request
    core.lose("gone")
    assert core.ping() == b""
