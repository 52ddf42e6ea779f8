"""The commands user and token: where passwords come from, and what is written."""

from __future__ import annotations

import json

import pytest

from mqclient import errors
from mqclient.account_models import NewToken, TokenInfo, UserInfo
from mqclient.ctl import accounts, exits

ADA = UserInfo("ada", "agent", True, False, 2, 1_800_000_000.0, 1_800_000_000.0)
ROOT = UserInfo("root", "admin", False, True, 0)
TOKEN = TokenInfo(7, "ada", "user", "a page", 1_800_000_000.0, 1_800_000_060.25)
SECRET = "battery staple"


@pytest.fixture
def kept(ctl, monkeypatch):
    """Give a client that writes down what it is asked about users and tokens."""
    client = ctl.client

    def answer(name, value):
        def called(*arguments, **options):
            client._called(name, *arguments, *([options] if options else []))
            return value

        monkeypatch.setattr(client, name, called, raising=False)

    answer("users", [ADA, ROOT])
    for name in ("add_user", "change_user"):
        answer(name, ADA)
    for name in ("remove_user", "change_password", "revoke_token"):
        answer(name, None)
    answer("tokens", [TOKEN])
    answer("issue_token", NewToken(7, "ada", "user", "", 1.0, 2.0, "mqt_secret"))
    return ctl


def asked(kept):
    return [call for call in kept.client.calls if call[0] not in ("connect", "close")]


def test_a_password_is_a_line_of_the_standard_input(kept):
    result = kept("user", "add", "ada", "manager", stdin=f"{SECRET}\r\nmore\n")
    assert (result.exit_code, result.output) == (0, "")
    assert asked(kept) == [("add_user", "ada", "manager", SECRET)]


def test_a_password_is_in_a_file(kept, tmp_path):
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    assert kept("user", "passwd", "ada", "--password-file", str(file)).exit_code == 0
    assert kept("user", "add", "ada", "user", "--password-file", "-", stdin=SECRET).exit_code == 0
    assert asked(kept) == [
        ("change_user", "ada", {"password": SECRET}),
        ("add_user", "ada", "user", SECRET),
    ]


def test_somebody_who_is_there_is_asked_twice_and_sees_nothing(kept, person):
    result = kept("user", "add", "ada", "agent", stdin=f"{SECRET}\nother\n{SECRET}\n{SECRET}\n")
    assert result.exit_code == 0
    assert SECRET not in result.output
    assert asked(kept) == [("add_user", "ada", "agent", SECRET)]
    assert "added user ada (agent)" in result.stderr


def test_ones_own_password_takes_the_old_one(kept, person):
    result = kept("user", "passwd", stdin=f"old password\n{SECRET}\n{SECRET}\n")
    assert asked(kept) == [("change_password", "old password", SECRET)]
    assert SECRET not in result.output


def test_ones_own_password_in_a_pipe_is_the_next_line(kept):
    kept("user", "passwd", stdin=f"old password\n{SECRET}\n")
    assert asked(kept) == [("change_password", "old password", SECRET)]


@pytest.mark.parametrize("text", ["", "short", "x" * 257, b"\xff" * 20])
def test_what_is_no_password_is_refused_without_a_connection(kept, text):
    result = kept("user", "add", "ada", "agent", stdin=text)
    assert result.exit_code == exits.USAGE
    assert "xxx" not in result.output
    assert not kept.client.calls


def test_where_no_password_comes_it_is_said_where_from(kept):
    for arguments in (("add", "bob", "agent"), ("passwd", "bob")):
        told = kept("user", *arguments, stdin="").stderr
        assert told.startswith("mqctl: the password is missing: it is a line of the standard input")
        assert "--password-file" in told
    assert "the old password is missing" in kept("user", "passwd", stdin="").stderr
    told = kept("user", "passwd", stdin="correct horse\n").stderr
    assert "the new password, which follows the old one, is missing" in told


def test_a_wrong_old_password_is_not_what_one_comes_in_with(kept):
    def refuse(*_call):
        raise errors.AuthFailed("AUTH_FAILED", "that is not the old password")

    kept.client.before["change_password"] = refuse
    result = kept("user", "passwd", stdin="correct horse\nbattery staple\n")
    assert result.exit_code == exits.REFUSED
    assert result.stderr == "mqctl: AUTH_FAILED: that is not the old password\n"


def test_a_file_that_is_not_there(kept):
    result = kept("user", "add", "ada", "agent", "--password-file", "/no/such/file")
    assert result.exit_code == exits.USAGE
    assert "/no/such/file" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("role", "ada", "basic"), ("change_user", "ada", {"role": "basic"})),
        (("disable", "ada"), ("change_user", "ada", {"disabled": True})),
        (("enable", "ada"), ("change_user", "ada", {"disabled": False})),
        (("rm", "ada"), ("remove_user", "ada")),
    ],
)
def test_changes(kept, arguments, call):
    result = kept("user", *arguments)
    assert (result.exit_code, result.output) == (0, "")
    assert asked(kept) == [call]
    shown = json.loads(kept("user", *arguments, "--json").stdout)
    assert shown["user"] == "ada"


def test_a_word_that_is_no_role(kept):
    result = kept("user", "role", "ada", "root")
    assert result.exit_code == exits.USAGE
    assert "secretary" in result.stderr


def test_who_removes_is_asked_first(kept, person):
    assert kept("user", "rm", "ada", stdin="n\n").exit_code == exits.INTERRUPTED
    assert not kept.client.calls
    assert kept("user", "rm", "ada", stdin="y\n").exit_code == 0
    assert kept("user", "rm", "ada", "--yes").exit_code == 0
    assert asked(kept) == [("remove_user", "ada")] * 2


def test_users_in_a_pipe_and_for_machines(kept):
    assert kept("user", "ls", "*").stdout.splitlines() == [
        "ada   agent  here    enabled   2",
        "root  admin  config  disabled  0",
    ]
    first, second = map(json.loads, kept("user", "ls", "--json").stdout.splitlines())
    assert (first["user"], first["is_managed"], first["tokens"]) == ("ada", True, 2)
    assert (second["is_disabled"], second["made_at"]) == (True, None)
    assert asked(kept) == [("users", "*"), ("users", None)]


def test_tokens_in_a_pipe_for_a_person_and_for_machines(kept, terminal, monkeypatch):
    assert json.loads(kept("token", "ls", "--json").stdout)["id"] == 7
    monkeypatch.setattr(accounts.time, "time", lambda: 1_800_000_030.25)
    shown = kept("token", "ls", "a*").stdout
    assert "30.0 s" in shown
    assert "a page" in shown
    monkeypatch.setattr(accounts.output, "stdout_is_terminal", lambda: False)
    assert kept("token", "ls").stdout.split() == ["7", "ada", "user", "1800000060.250", "a", "page"]


def test_a_new_token_is_written_once(kept):
    result = kept("token", "new", "--role", "user", "--lifetime", "60", "--comment", "a page")
    assert result.stdout == "mqt_secret\n"
    assert asked(kept) == [("issue_token", {"role": "user", "lifetime": 60.0, "comment": "a page"})]
    assert json.loads(kept("token", "new", "--json").stdout)["token"] == "mqt_secret"


def test_a_token_is_revoked(kept):
    assert kept("token", "revoke", "7").exit_code == 0
    assert json.loads(kept("token", "revoke", "7", "--json").stdout) == {"id": 7}
    assert kept("token", "revoke", "x").exit_code == exits.USAGE
    assert asked(kept) == [("revoke_token", 7)] * 2


@pytest.mark.parametrize("command", ["user", "token"])
def test_a_group_alone_is_explained(kept, command):
    result = kept(command)
    assert result.exit_code == exits.USAGE
    assert "ls" in result.stderr


def test_nobody_and_nothing(kept, monkeypatch):
    for name in ("users", "tokens"):
        monkeypatch.setattr(kept.client, name, lambda _pattern: [])
    assert kept("user", "ls").stderr == "mqctl: no user fits\n"
    assert kept("token", "ls").stderr == "mqctl: you have no tokens\n"
    assert kept("token", "ls", "*").stderr == "mqctl: no token fits\n"


def test_a_refusal_is_told(kept):
    refusal = errors.UserExists("USER_EXISTS", "there is a user 'ada' already")
    kept.client.before["add_user"] = lambda *_: (_ for _ in ()).throw(refusal)
    result = kept("user", "add", "ada", "agent", stdin=SECRET)
    assert result.exit_code == exits.REFUSED
    assert "USER_EXISTS" in result.stderr
