"""Defaults, then file, then environment, then flags; what is wrong in any of them is told."""

from __future__ import annotations

import argon2
import pytest

from mqd.config import KEYS, Config, ConfigError, load, variable_name
from mqd.config.sources import MAX_FILE_BYTES
from mqd.core.access import Role

HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mqd.yaml"

    def write(text):
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def problems_of(path=None, environ=None, flags=None):
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, flags or {})
    return [str(problem).replace(f"{path}", "F") for problem in caught.value.problems]


def test_nothing_gives_the_defaults(file):
    assert load(None, {}, {}) == Config()
    assert load(file(""), {}, {}) == Config()
    assert load(file("# a comment alone\n"), {}, {}) == Config()
    assert load(file("server:\nlimits: ~\n"), {}, {}) == Config()


def test_later_sources_come_before_earlier_ones(file):
    path = file("server: {host: h1, port: 1, log_level: debug}\nqueues:\n  max_queues: 1_000\n")
    environ = {"MQD_SERVER__PORT": "2", "MQD_SERVER__HOST": "h2"}
    config = load(path, environ, {"server.host": "h3"})
    assert (config.server.host, config.server.port) == ("h3", 2)
    assert config.server.log_level == "debug"
    assert config.queues.max_queues == 1000


@pytest.mark.parametrize("path", KEYS)
def test_each_key_has_its_variable(path):
    section, name = path.split(".")
    assert variable_name(path) == f"MQD_{section.upper()}__{name.upper()}"
    value = getattr(getattr(Config(), section), name)
    text = {None: "null", (): "[]"}.get(value, str(value))
    assert load(None, {variable_name(path): text}, {}) == Config()


def test_variables_are_yaml():
    environ = {
        "MQD_AUTH__USERS": f'[{{name: ada, password_hash: "{HASH}", role: manager}}]',
        "MQD_AUTH__TIMEOUT_SECONDS": "1e-1",
        "MQD_FRAME_LOG__LEVEL": "off",
        "MQD_SERVER__ADDRESS_FILE": "",
        "MQD_SERVER__HOST": "::1",
        "MQD_SERVER__UNIX_SOCKET": "'null'",
    }
    config = load(None, environ, {})
    assert [(user.name, user.role) for user in config.auth.users] == [("ada", Role.AGENT)]
    assert config.auth.timeout_seconds == 0.1
    assert config.frame_log.level == "off"
    assert config.server.address_file is None
    assert config.server.host == "::1"
    assert config.server.unix_socket == "null"


def test_other_variables_are_left_alone():
    kubernetes = {
        "MQD_PORT": "tcp://10.0.0.1:7500",
        "MQD_PORT_7500_TCP": "tcp://10.0.0.1:7500",
        "MQD_PORT_7500_TCP_ADDR": "10.0.0.1",
        "MQD_SERVICE_HOST": "10.0.0.1",
        "MQD_SERVICE_PORT": "7500",
        "MQD_SERVICE_PORT_MQ": "7500",
        "MQD_SERVER_PORT": "tcp://10.0.0.1:7500",
        "MQD_SERVER_SERVICE_HOST": "10.0.0.1",
    }
    environ = {"MQD_CONFIG": "x", "HOME": "/", "MQ_URL": "?", "MQDX": "", **kubernetes}
    assert load(None, environ, {}) == Config()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MQD_SERVER_PORT", "MQD_SERVER__PORT"),
        ("MQD_CONFG", "MQD_CONFIG"),
        ("MQD_config", "MQD_CONFIG"),
    ],
)
def test_a_misspelt_variable_is_told(name, meant):
    [problem] = problems_of(None, {name: "3"}, {})
    assert problem == (f"variable {name}: there is no key for this variable; did you mean {meant}?")


def test_everything_that_is_wrong_anywhere_is_told(file):
    path = file("server:\n  port: yes\n  prot: 1\nsever: {}\nport: 1\nlimits: 3\n")
    environ = {
        "MQD_SERVR__PORT": "1",
        "MQD_server__port": "1",
        "MQD_SERVER__PORT": "-1",
        "MQD_SERVER__HOST": "[",
        "MQD_SERVER__LOOP": "a: 1",
    }
    flags = {"server.loop": "trio", "serverloop": 1}
    assert problems_of(path, environ, flags) == [
        "server.prot (F:3): there is no such key; did you mean server.port?",
        (
            "sever (F:4): there is no such section; there are server, queues, leases, storage, "
            "frame_log, auth, limits; did you mean server?"
        ),
        (
            "port (F:5): there is no such section; there are server, queues, leases, storage, "
            "frame_log, auth, limits; did you mean server.port?"
        ),
        "limits (F:6): got an integer; it takes a mapping of keys to values",
        (
            "variable MQD_SERVR__PORT: there is no key for this variable; did you mean "
            "MQD_SERVER__PORT?"
        ),
        (
            "variable MQD_server__port: there is no key for this variable; did you mean "
            "MQD_SERVER__PORT?"
        ),
        (
            "variable MQD_SERVER__HOST: it is not YAML: while parsing a flow node, expected the node "
            "content, but found '<stream end>'"
        ),
        "serverloop (flags): there is no such key; did you mean server.loop?",
        "server.port (F:2): got 'yes' (text); it takes an integer from 0 to 65535",
        (
            "server.port (variable MQD_SERVER__PORT): got -1 (an integer); it takes an integer from "
            "0 to 65535"
        ),
        (
            "server.loop (variable MQD_SERVER__LOOP): got a mapping; it takes one of auto, uvloop, "
            "asyncio"
        ),
        "server.loop (flag --loop): got 'trio' (text); it takes one of auto, uvloop, asyncio",
    ]


def test_keys_that_are_there_twice(file):
    path = file(
        "server:\n  port: 1\n  host: a\n  port: 2\nqueues: {}\nserver: {}\n"
        "auth:\n  users:\n    - {name: a, name: b}\n"
    )
    assert problems_of(path) == [
        "server.port (F:4): it is there twice; the first one is in line 2",
        "server (F:6): it is there twice; the first one is in line 1",
        "auth.users[0].name (F:9): it is there twice; the first one is in line 9",
    ]


def test_users_of_a_file(file):
    good = f"auth:\n  users:\n    - name: ada\n      password_hash: {HASH}\n      role: admin\n"
    assert load(file(good), {}, {}).auth.users_by_name["ada"].password_hash == HASH


def test_a_hash_that_fell_apart_is_explained_and_not_shown(file):
    path = file(f"auth:\n  users:\n    - {{name: ada, role: admin, password_hash: {HASH}}}\n")
    problems = problems_of(path)
    assert any("a password_hash needs quotes" in problem for problem in problems)
    assert not any(part in problem for problem in problems for part in HASH.split("$")[4:])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- 1\n", "F:1: got a list; it takes a mapping of keys to values"),
        ("7\n", "F:1: got an integer; it takes a mapping of keys to values"),
        ("server: [1]\n", "server (F:1): got a list; it takes a mapping of keys to values"),
        ("? [a]\n: 1\n", "F:1: a key is a list or a mapping; keys are words"),
        (
            "server:\n  ? {a: b}\n  : 1\n",
            "server (F:2): a key is a list or a mapping; keys are words",
        ),
        ("server: &a {}\nlimits: *a\n", "F:2: it is not YAML: aliases are not taken"),
        (
            "<<: {server: {}}\n",
            (
                "<< (F:1): there is no such section; there are server, queues, leases, "
                "storage, frame_log, auth, limits"
            ),
        ),
        (
            "server:\n\tport: 1\n",
            (
                "F:2: it is not YAML: while scanning for the next token, found "
                "character '\\t' that cannot start any token"
            ),
        ),
        (
            "a: 1\n---\nb: 1\n",
            (
                "F:2: it is not YAML: expected a single document in the stream, but "
                "found another document"
            ),
        ),
        ("server: \x07\n", "F: it is not YAML: special characters are not allowed"),
        ("server: " + "[" * 5000, "F: it is nested too deeply"),
        (
            "server: {host: !!python/name:os.system x}\n",
            "server.host (F:1): the tag 'tag:yaml.org,2002:python/name:os.system' is not taken",
        ),
        (
            "server: {host: !!set {a}}\n",
            "server.host (F:1): the tag 'tag:yaml.org,2002:set' is not taken",
        ),
        (
            "server: {port: !!int abc}\n",
            "server.port (F:1): its value cannot be read as 'tag:yaml.org,2002:int'",
        ),
        (
            "server: {port: !!bool abc}\n",
            "server.port (F:1): its value cannot be read as 'tag:yaml.org,2002:bool'",
        ),
        (
            f"server: {{port: {'9' * 5000}}}\n",
            "server.port (F:1): its value cannot be read as 'tag:yaml.org,2002:int'",
        ),
        (
            "server: {'po rt': 1}\n",
            "server.po rt (F:1): there is no such key; did you mean server.port?",
        ),
        ("'a b': {}\n'a b': {}\n", "'a b' (F:2): it is there twice; the first one is in line 1"),
    ],
)
def test_files_that_are_wrong(file, text, problem):
    assert problem in problems_of(file(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0123", "'0123' (text)"),
        ("0x10", "'0x10' (text)"),
        ("1:30", "'1:30' (text)"),
        ("on", "'on' (text)"),
        ("2001-01-01", "'2001-01-01' (text)"),
        ("1.5", "1.5 (a number)"),
        ("-1e3", "-1000.0 (a number)"),
        (".inf", "inf (a number)"),
        (".NaN", "nan (a number)"),
        ("TRUE", "true (a boolean)"),
        ("Null", "null"),
        ("", "null"),
        ("{}", "a mapping"),
        ("[1, [2]]", "a list"),
        ("!!str 1", "'1' (text)"),
        ("1.2.3", "'1.2.3' (text)"),
        ("-", "a list"),
    ],
)
def test_scalars_are_those_of_the_core_schema(text, shown):
    expected = f"server.port (variable MQD_SERVER__PORT): got {shown}; "
    assert problems_of(environ={"MQD_SERVER__PORT": text})[0].startswith(expected)


def test_files_that_cannot_be_read(tmp_path):
    missing = str(tmp_path / "missing.yaml")
    assert problems_of(missing) == ["F: it cannot be read: No such file or directory"]
    assert problems_of(str(tmp_path)) == ["F: it cannot be read: Is a directory"]
    assert problems_of("a\0b") == ["F: it cannot be read: embedded null byte"]
    assert "home" in problems_of("~nobody.of.this.name/x")[0]
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"# caf\xe9\n")
    assert problems_of(str(latin)) == ["F: it is not UTF-8 at byte 5"]
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert problems_of(str(large)) == [f"F: it has more than {MAX_FILE_BYTES} bytes"]


def test_a_file_that_cannot_be_read_hides_no_other_problem(tmp_path):
    assert len(problems_of(str(tmp_path), {"MQD_SERVER__PORT": "x"})) == 2


def test_a_home_before_the_file_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfserver: {port: 1}\r\n")
    assert load("~/c.yaml", {}, {}).server.port == 1


def test_values_that_do_not_go_together_are_told_with_their_place(file):
    path = file("limits:\n  max_body_bytes: 100_000\n  max_frame_bytes: 65536\n")
    (problem,) = problems_of(path)
    assert problem.startswith("limits.max_body_bytes (F:2): a body of 100000 bytes does not fit")
    (problem,) = problems_of(environ={"MQD_LIMITS__MAX_FRAME_BYTES": "65536"})
    assert problem.startswith("limits.max_body_bytes (default): ")


def test_paths_that_cannot_be_made_out_are_told_once(file):
    path = file("storage: {path: ~nobody.of.this.name/x}\nserver: {address_file: ~nobody.else/x}")
    problems = problems_of(path)
    assert [problem.partition(": ")[0] for problem in problems] == [
        "storage.path (F:1)",
        "server.address_file (F:2)",
    ]
