"""The command stats: the figures for people, pipes and machines, once and again."""

from __future__ import annotations

import json

import pytest

from mqclient import errors
from mqclient.ctl import exits, stats
from support.ctl import STATS


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """Let --watch pause twice, and then Ctrl-C come."""
    made: list[float] = []

    def pause(seconds: float) -> None:
        made.append(seconds)
        if len(made) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(stats, "_pause", pause)
    return made


def test_in_a_pipe(ctl):
    result = ctl("stats")
    assert (result.exit_code, result.stderr) == (0, "")
    figures = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert figures["queues.ready"] == "12345"
    assert figures["journal.bytes"] == "3145728"
    assert figures["journal.sync_seconds_mean"] == "0.000123"
    assert figures["journal.is_full"] == "no"
    assert figures["snapshot.age_seconds"] == "-"
    assert figures["rates.frames"] == "1234.56"
    assert figures["rates.pushed"] == "0"
    assert figures["recovery.decision"] == "nothing was there"
    assert figures["frame_log"] == "-"
    assert list(figures)[:2] == ["server.version", "server.started_at"]


def test_for_machines(ctl):
    result = ctl("stats", "--json")
    assert json.loads(result.stdout) == STATS
    assert result.stdout.count("\n") == 1


def test_for_a_person(ctl, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = [" ".join(line.split()) for line in ctl("stats").stdout.splitlines()]
    for line in (
        "server version 9.9",
        "uptime seconds 1 min 15 s",
        "ready 12,345",
        "bytes 3.0 MiB",
        "written bytes 1.0 KiB",
        "sync seconds mean 0.123 ms",
        "sync seconds max 1.5 s",
        "is full no",
        "frames 1,234.6 /s",
        "rates seconds 1 min 0 s",
        "snapshot number 3",
        "seconds 250 ms",
        "age seconds -",
        "recovery seconds 0.0 s",
        "frame log -",
    ):
        assert line in lines, line
    assert any(line.startswith("started at 2027-01-1") for line in lines)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("news", "text", "text"),
        ("news", (1, 2), "(1, 2)"),
        ("news_seconds", "late", "late"),
        ("is_new", True, "yes"),
        ("news", 1.5, "1.5"),
    ],
)
def test_figures_of_a_newer_server_are_shown(name, value, shown):
    assert stats.human("journal", name, value) == shown


def test_watching_prints_again_and_again_until_it_is_interrupted(ctl, pauses):
    result = ctl("stats", "--watch", "2.5")
    assert result.exit_code == exits.INTERRUPTED
    assert pauses == [2.5, 2.5, 2.5]
    assert result.stdout.count("queues.count") == 3
    assert result.stdout.count("\n\n") == 3
    assert result.stderr.strip() == ""


def test_watching_for_machines_is_a_line_each_time(ctl, pauses):
    lines = ctl("stats", "--watch", "1", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [STATS] * 3


def test_watching_at_a_terminal_redraws(ctl, terminal, pauses):
    shown = ctl("stats", "--watch", "1").stdout
    assert shown.count("\x1b[H\x1b[2J") == 3
    assert "\x1b[H" not in ctl("stats").stdout


def test_watching_ends_with_the_server(ctl, pauses):
    def lose():
        if pauses:
            raise errors.ConnectionLost("it broke")

    ctl.client.before["stats"] = lose
    result = ctl("stats", "--watch", "1")
    assert (result.exit_code, result.stdout.count("queues.count")) == (exits.CANNOT_CONNECT, 1)


def test_the_pause_is_one():
    stats._pause(0)


@pytest.mark.parametrize("text", ["0", "0.05", "-1", "100000", "soon"])
def test_it_cannot_be_watched_all_the_time(ctl, text):
    result = ctl("stats", "--watch", text)
    assert result.exit_code == exits.USAGE
    assert ctl.client.calls == []
