from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from mqclient import errors
from mqclient.ctl import exits, push
from mqclient.ctl.push import Progress


@pytest.fixture
def jobs(ctl):
    return ctl.with_queue()


def sent(ctl) -> list:
    """Return the headers of all messages in the queue."""
    return [message.headers for message in ctl.client.queues_by_name["jobs"].messages]


def test_arguments(jobs):
    result = jobs("push", "jobs", '{"x": 1}', "hello")
    assert (result.exit_code, result.output) == (0, "")
    assert jobs.raws() == ['{"x": 1}', '"hello"']


def test_raw_and_text_arguments(jobs):
    assert jobs("push", "jobs", "--raw", '{"x": 1}', "grüße").exit_code == 0
    assert jobs("push", "jobs", "--text", "5").exit_code == 0
    assert jobs.raws() == [b'{"x": 1}', "grüße".encode(), '"5"']


def test_an_argument_that_starts_with_a_dash(jobs):
    assert jobs("push", "jobs", "--", "-5").exit_code == 0
    assert jobs.raws() == ["-5"]


def test_an_argument_that_is_not_utf_8(jobs):
    result = jobs("push", "jobs", "\udcff")
    assert result.exit_code == exits.USAGE
    assert "--raw" in result.stderr
    assert jobs("push", "jobs", "--raw", "\udcff").exit_code == 0
    assert jobs.raws() == [b"\xff"]


def test_standard_input(jobs):
    result = jobs("push", "jobs", "--json", stdin='{"x": 1}\r\n\n  \nhello\n3')
    assert json.loads(result.stdout) == {"queue": "jobs", "count": 3, "first_id": 1, "last_id": 3}
    assert jobs.raws() == ['{"x": 1}', '"hello"', "3"]


def test_blank_lines_are_messages_where_they_are_asked_for(jobs):
    jobs("push", "jobs", "--raw", stdin=b"a\r\n\nb\n")
    assert jobs.raws() == [b"a\r", b"", b"b"]
    jobs.with_queue()
    jobs("push", "jobs", "--text", stdin=b"a\r\n\n5\n")
    assert jobs.raws() == ['"a"', '""', '"5"']


@pytest.mark.parametrize(
    ("options", "raws"),
    [(["--raw"], [b"a\nb\n"]), ([], ['"a\\nb\\n"']), (["--text"], ['"a\\nb\\n"'])],
)
def test_the_whole_input_as_one_message(jobs, options, raws):
    assert jobs("push", "jobs", "--whole", *options, stdin=b"a\nb\n").exit_code == 0
    assert jobs.raws() == raws


def test_an_empty_whole_input_is_an_empty_message(jobs):
    assert jobs("push", "jobs", "--whole", "--raw").exit_code == 0
    assert jobs.raws() == [b""]


def test_a_file(jobs, tmp_path):
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b'{"x": 1}\n{"x": 2}\n')
    assert jobs("push", "jobs", "-f", str(path)).exit_code == 0
    assert jobs("push", "jobs", "-f", "-", stdin="3\n").exit_code == 0
    assert jobs.raws() == ['{"x": 1}', '{"x": 2}', "3"]


def test_a_file_that_is_not_there(jobs, tmp_path):
    result = jobs("push", "jobs", "-f", str(tmp_path / "none"))
    assert result.exit_code == exits.USAGE
    assert "No such file" in result.stderr


def test_headers(jobs):
    jobs("push", "jobs", "x", "-H", "sweep=a", "--header", "n=1")
    jobs("push", "jobs", "x")
    assert sent(jobs) == [{"sweep": "a", "n": "1"}, {}]


@pytest.mark.parametrize(
    "arguments",
    [
        ["x", "--text", "--raw"],
        ["x", "--whole"],
        ["x", "--file", "-"],
        ["x", "-H", "sweep"],
    ],
)
def test_options_that_make_no_sense(jobs, arguments):
    result = jobs("push", "jobs", *arguments)
    assert result.exit_code == exits.USAGE
    assert jobs.client.calls == []


def test_nothing_to_push(jobs, terminal):
    result = jobs("push", "jobs", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "queue": "jobs",
        "count": 0,
        "first_id": None,
        "last_id": None,
    }
    assert result.stderr == "there was nothing to push\n"


def test_a_person_is_told(jobs, terminal):
    assert jobs("push", "jobs", "x").stderr == "pushed message 1 to jobs\n"
    assert jobs("push", "jobs", "x", "y").stderr == "pushed 2 messages to jobs, ids 2 to 3\n"


def test_a_person_at_the_keyboard_is_told_what_to_do(jobs, terminal, monkeypatch):
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    assert "Ctrl-D" in jobs("push", "jobs", stdin="x\n").stderr


def test_a_bad_line_is_named_with_what_came_through_before(jobs, monkeypatch):
    monkeypatch.setattr("mqclient.ctl.bodies.CHUNK_BYTES", 2)
    result = jobs("push", "jobs", stdin=b"a\nb\n\n\xff\nc\n")
    assert result.exit_code == exits.USAGE
    assert "line 4: it is not UTF-8" in result.stderr
    assert "the first 2 messages have been pushed" in result.stderr
    assert jobs.raws() == ['"a"', '"b"']


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (errors.QueueFull("QUEUE_FULL", "no room"), exits.REFUSED, "QUEUE_FULL"),
        (errors.ConnectionLost("it broke"), exits.CANNOT_CONNECT, "it broke"),
        (KeyboardInterrupt(), exits.INTERRUPTED, "interrupted"),
    ],
)
@pytest.mark.parametrize(
    ("after", "said"),
    [(0, ""), (1, "the first 1 message has been"), (2, "the first 2 messages have been")],
)
def test_an_error_says_how_far_it_came(jobs, error, code, word, after, said):
    def fail(body):
        if body == str(after):
            raise error

    jobs.client.before["push"] = fail
    result = jobs("push", "jobs", stdin="0\n1\n2\n3\n")
    assert result.exit_code == code
    assert word in result.stderr
    assert said in result.stderr
    assert ("pushed" in result.stderr) is bool(after)
    assert len(jobs.raws()) == after


def test_a_queue_that_is_not_there(ctl):
    assert ctl("push", "jobs", "x").exit_code == exits.REFUSED


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(push, "_monotonic", lambda: clock.now)
    return clock


def test_no_progress_is_drawn_into_a_pipe(clock):
    with Progress(10, "messages") as progress:
        progress.update(5000, 0)
        assert progress._bar is None


def test_no_progress_is_drawn_for_what_is_quick(terminal, clock):
    with Progress(10, "messages") as progress:
        progress.update(999, 0)
        clock.now += 0.9
        progress.update(999, 0)
        assert progress._bar is None


@pytest.mark.parametrize(("count", "seconds"), [(1000, 0), (1, 1.1)])
def test_progress_is_drawn_for_what_takes_time(terminal, clock, capfd, count, seconds):
    with Progress(2000, "messages") as progress:
        clock.now += seconds
        progress.update(count, 0)
        progress.update(count + 1, 0)
        assert progress._bar.tasks[0].completed == count + 1
    assert capfd.readouterr().out == ""


def test_progress_counts_bytes_of_a_file(terminal, clock, capfd):
    with Progress(1000, "bytes") as progress:
        progress.update(1000, 500)
        assert progress._bar.tasks[0].percentage == 50


def test_progress_has_no_end_in_a_pipe(terminal, clock, capfd):
    with Progress(None, "messages") as progress:
        progress.update(1000, 500)
        assert progress._bar.tasks[0].total is None


def test_progress_knows_how_much_there_is(tmp_path):
    path = tmp_path / "jobs"
    path.write_bytes(b"12345")
    with path.open("rb") as file:
        assert push._progress(0, file)._total == 5
    with open("/dev/null", "rb") as file:  # noqa: PTH123  a device
        assert push._progress(0, file)._total is None
    assert push._progress(7, None)._total == 7


def test_rich_is_not_imported_for_a_short_push(jobs):
    sys.modules.pop("rich.progress", None)
    jobs("push", "jobs", "x")
    assert "rich.progress" not in sys.modules
