from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from mqclient import errors
from mqclient.ctl import exits, progress, push
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
        ["x", "-"],
        ["-", "-"],
        ["-", "--file", "-"],
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


def test_a_script_is_told_that_nothing_was_pushed(jobs):
    result = jobs("push", "jobs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "mqctl: there was nothing to push\n"


@pytest.mark.parametrize("arguments", [["-"], ["--", "-"]])
def test_a_lone_dash_is_standard_input(jobs, arguments):
    assert jobs("push", "jobs", *arguments, stdin="1\n2\n").exit_code == 0
    assert jobs("push", "jobs", "--whole", "--text", *arguments, stdin="a\nb").exit_code == 0
    assert jobs.raws() == ["1", "2", '"a\\nb"']


def test_the_text_of_a_dash_is_written_as_json(jobs):
    jobs("push", "jobs", '"-"')
    jobs("push", "jobs", "--text", stdin="-\n")
    assert jobs.raws() == ['"-"', '"-"']


def test_a_dash_among_bodies_says_how_it_is_written(jobs):
    assert "written '\"-\"'" in jobs("push", "jobs", "x", "-").stderr


def test_a_body_that_looks_like_an_option(jobs):
    result = jobs("push", "jobs", "-1")
    assert result.exit_code == 2
    assert "a body that starts with - comes after a lone --; see" in result.stderr
    assert "lone" not in jobs("pull", "jobs", "-1").stderr


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


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (0, "no message is known to have been pushed; 4 were on the way and may have been"),
        (1, "the first 1 message has been pushed; 3 were on the way and may have been"),
        (3, "the first 3 messages have been pushed; 1 was on the way and may have been"),
    ],
)
def test_an_interrupt_says_how_far_it_came(jobs, after, said):
    def interrupt(body):
        if body == str(after):
            raise KeyboardInterrupt

    jobs.client.before["push"] = interrupt
    result = jobs("push", "jobs", stdin="0\n1\n2\n3\n")
    assert result.exit_code == exits.INTERRUPTED
    assert result.stderr == f"mqctl: interrupted; {said}\n"
    assert (result.stdout, len(jobs.raws())) == ("", after)


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (b"", "no message is known to have been pushed"),
        (b"a\nb\n", "the first 2 messages have been pushed"),
    ],
)
def test_an_interrupt_while_it_waits_for_input_does_too(jobs, monkeypatch, chunk, said):
    chunks = iter([chunk] if chunk else [])

    def read(_stream):
        for data in chunks:
            return data
        raise KeyboardInterrupt

    monkeypatch.setattr("mqclient.ctl.bodies._read_some", read)
    result = jobs("push", "jobs", "--json", stdin=b"")
    assert result.exit_code == exits.INTERRUPTED
    assert result.stderr == f"mqctl: interrupted; {said}\n"
    assert result.stdout == ""


@pytest.mark.parametrize("level", ["synced", "written", "accepted"])
def test_the_level_to_wait_for(jobs, level):
    assert jobs("push", "jobs", "x", "--durability", level).exit_code == 0
    assert jobs("push", "jobs", "x").exit_code == 0
    assert jobs.client.levels == [level, None]


def test_a_level_that_is_none(jobs):
    result = jobs("push", "jobs", "x", "--durability", "safe")
    assert result.exit_code == exits.USAGE
    assert all(level in result.stderr for level in ("synced", "written", "accepted"))


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("{x: 1}", "Expecting property name enclosed in double quotes, character 2"),
        ('{"x": 1', "Expecting ',' delimiter, character 8"),
        (" [1, 2", "Expecting ',' delimiter, character 7"),
        ('{"x": NaN}', "NaN is no number of JSON"),
        ("[INFO] all is well", "character 2"),
    ],
)
def test_what_looks_like_json_and_is_none_is_pushed_with_a_warning(jobs, text, flaw):
    result = jobs("push", "jobs", text)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"mqctl: '{text}' looks like JSON and is none (")
    assert flaw in result.stderr
    assert "--text" in result.stderr
    assert result.stderr.count("\n") == 1
    assert [json.loads(raw) for raw in jobs.raws()] == [text]


def test_the_warning_is_short_and_has_no_control_characters(jobs):
    result = jobs("push", "jobs", "{\x1b" + "x" * 10_000)
    assert r"'{\x1bxxx" in result.stderr
    assert "xxx...'" in result.stderr
    assert len(result.stderr) < 300


@pytest.mark.parametrize(
    "arguments", [["--text", "{x"], ["--raw", "{x"], ["x{"], ["{}"], ["[1]", '{"x": 1}'], ["nul"]]
)
def test_no_warning_without_a_reason(jobs, arguments):
    result = jobs("push", "jobs", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")


def test_no_warning_for_lines_of_an_input(jobs):
    assert jobs("push", "jobs", stdin="{x\n").stderr == ""


def test_a_queue_that_is_not_there(ctl):
    assert ctl("push", "jobs", "x").exit_code == exits.REFUSED


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "_monotonic", lambda: clock.now)
    return clock


def test_no_progress_is_drawn_into_a_pipe(clock):
    with Progress(10, "messages") as bar:
        bar.update(5000, 0)
        assert bar._bar is None


def test_no_progress_is_drawn_for_what_is_quick(terminal, clock):
    with Progress(10, "messages") as bar:
        bar.update(999, 0)
        clock.now += 0.9
        bar.update(999, 0)
        assert bar._bar is None


@pytest.mark.parametrize(("count", "seconds"), [(1000, 0), (1, 1.1)])
def test_progress_is_drawn_for_what_takes_time(terminal, clock, capfd, count, seconds):
    with Progress(2000, "messages") as bar:
        clock.now += seconds
        bar.update(count, 0)
        bar.update(count + 1, 0)
        assert bar._bar.tasks[0].completed == count + 1
    assert capfd.readouterr().out == ""


def test_progress_counts_bytes_of_a_file(terminal, clock, capfd):
    with Progress(1000, "bytes") as bar:
        bar.update(1000, 500)
        assert bar._bar.tasks[0].percentage == 50


def test_progress_has_no_end_in_a_pipe(terminal, clock, capfd):
    with Progress(None, "messages") as bar:
        bar.update(1000, 500)
        assert bar._bar.tasks[0].total is None


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


# Order, time and keys


def test_options_of_order_and_time_reach_the_client(jobs):
    result = jobs("push", "jobs", "1", "--priority", "200", "--delay", "60.5", "--ttl", "7200")
    assert result.exit_code == 0, result.stderr
    assert jobs("push", "jobs", "1", "--not-before", "1900000000.5", "--key", "k").exit_code == 0
    assert jobs("push", "jobs", "1", "--not-before", "2030-01-31T12:00Z").exit_code == 0
    assert jobs("push", "jobs", "1").exit_code == 0
    assert jobs.client.said == [
        {"priority": 200, "delay": 60.5, "ttl": 7200.0},
        {"not_before": 1900000000.5, "key": "k"},
        {"not_before": 1896091200.0},
        {},
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--priority", "256"),
        ("--priority", "-1"),
        ("--delay", "-1"),
        ("--ttl", "0"),
        ("--not-before", "soon"),
        ("--not-before", "nan"),
        ("--not-before", "-5"),
        ("--not-before", "1e11"),
        ("--delay", "1", "--not-before", "1"),
    ],
)
def test_times_that_are_none(jobs, options):
    assert jobs("push", "jobs", "1", *options).exit_code == exits.USAGE
    assert jobs.raws() == []


def test_with_a_key_an_input_is_one_push(jobs, monkeypatch):
    monkeypatch.setattr("mqclient.ctl.bodies.read_lines", lambda _: iter([[b"1"], [], [b"2", b""]]))
    assert jobs("push", "jobs", "--key", "k", stdin="x").exit_code == 0
    assert jobs.client.said == [{"key": "k"}]
    assert jobs.raws() == ["1", "2"]
    assert jobs("push", "jobs", stdin="x").exit_code == 0
    assert jobs.client.said[1:] == [{}, {}]
