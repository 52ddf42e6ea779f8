from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqclient.ctl import output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc\x00", r"a\nb\tc\x00"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\u202eevil", r"\u202eevil"),
        ("\udcff", r"\udcff"),
    ],
)
def test_escape(text, shown):
    assert output.escape(text) == shown


@given(st.text())
def test_what_is_escaped_is_printable(text):
    assert output.escape(text).isprintable()


@given(st.recursive(st.text() | st.none(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_escaped_json_means_the_same(value):
    text = json.dumps(value, ensure_ascii=False)
    assert output.escape_json(text).isprintable()
    assert json.loads(output.escape_json(text)) == value


def test_layout_in_json_becomes_spaces():
    assert output.escape_json('{\t"x": "\x9b"}') == '{ "x": "\\u009b"}'


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (3 * 1024**5, "3072.0 TiB"),
    ],
)
def test_sizes_for_people(size, text):
    assert output.human_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.24, "0.2 s"), (75, "1 min 15 s"), (3700, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_ages_for_people(seconds, text):
    assert output.human_age(seconds) == text


def test_lines_and_json_in_a_pipe_are_as_they_are(capfdbinary):
    output.write_line("a\x1b\udcff")
    output.write_json({"a": "\x9bü"})
    output.flush()
    assert capfdbinary.readouterr().out == b'a\x1b\\udcff\n{"a": "\xc2\x9b\xc3\xbc"}\n'


def test_and_escaped_on_a_terminal(terminal, capfdbinary):
    output.write_line("a\x1b")
    output.write_json({"a": "\x9bü"})
    output.flush()
    assert capfdbinary.readouterr().out == b'a\\x1b\n{"a": "\\u009b\xc3\xbc"}\n'


def test_notes_are_for_people(capfd, monkeypatch):
    output.note("quiet")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(output, "stderr_is_terminal", lambda: True)
    output.note("done\x1b")
    assert capfd.readouterr() == ("", "done\\x1b\n")


def test_warnings_are_for_all(capfd):
    output.warn("careful\n")
    assert capfd.readouterr() == ("", "mqctl: careful\\n\n")


COLUMNS = (output.Column("name"), output.Column("size", is_number=True))


def test_tables_in_a_pipe_are_aligned_and_have_no_heading(capfd):
    output.write_table(COLUMNS, [["a", "5"], ["longer", "1000"]])
    output.flush()
    assert capfd.readouterr().out == "a          5\nlonger  1000\n"


def test_tables_for_people_are_drawn(terminal, capfd):
    output.write_table(COLUMNS, [["[red]a", "5"], ["b\x1b[2J", "1000"]])
    shown = capfd.readouterr().out
    assert "name" in shown
    assert "[red]a" in shown
    assert "b\\x1b[2J" in shown


def test_tables_without_headings(terminal, capfd):
    output.write_table((output.Column(), output.Column()), [["a", "5"]])
    assert capfd.readouterr().out.split() == ["a", "5"]


def test_a_pipe_is_no_person():
    assert not output.person_is_there()
