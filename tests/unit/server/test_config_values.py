"""What each kind of key takes and refuses, and what the configuration says of itself."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import argon2
import pytest

from mqd.config import (
    KEYS,
    SECTIONS,
    AuthConfig,
    Config,
    ConfigError,
    FrameLogConfig,
    LimitsConfig,
    Problem,
    ServerConfig,
    StorageConfig,
    UserEntry,
    load,
)
from mqd.config.kinds import Boolean, Choice, Integer, Seconds, Text
from mqd.config.problems import quoted, shown, suggestion, type_words
from mqd.config.users import MAX_USERS, Users
from mqd.core.access import Role
from mqwire import limits
from mqwire.levels import LEVELS

ROOT = Path(__file__).resolve().parents[3]
HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")
OVERHEAD = limits.MAX_HEADERS_BYTES + limits.FRAME_OVERHEAD_BYTES


def entry(name="ada", password_hash=HASH, role="agent"):
    return {"name": name, "password_hash": password_hash, "role": role}


def sentence_of(call, *arguments, **keywords):
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **keywords)
    return str(caught.value)


# Kinds


@pytest.mark.parametrize("value", [1, 2, 9])
def test_integers_within_bounds(value):
    assert Integer(1, 9).read("a.b", value) == value


@pytest.mark.parametrize("value", [0, 10, -1, True, 1.0, "1", None, [1]])
def test_other_integers_are_refused(value):
    sentence = sentence_of(Integer(1, 9, "eggs").read, "a.b", value)
    assert sentence == f"a.b: got {shown(value)}; it takes an integer from 1 to 9 (eggs)"


@pytest.mark.parametrize("value", [0.001, 1, 9.5, 10])
def test_seconds_become_floats(value):
    seconds = Seconds(10).read("a.b", value)
    assert seconds == value
    assert type(seconds) is float


@pytest.mark.parametrize(
    "value", [0, 0.0, -1, 10.01, 10**400, True, "1", None, float("nan"), float("inf")]
)
def test_other_seconds_are_refused(value):
    sentence = sentence_of(Seconds(10).read, "a.b", value)
    assert sentence.endswith("it takes a number of seconds above 0 and up to 10")


def test_zero_seconds_are_taken_where_they_mean_something():
    kind = Seconds(10, "never")
    assert kind.read("a.b", 0) == 0.0
    assert kind.read("a.b", 10) == 10.0
    sentence = sentence_of(kind.read, "a.b", -0.1)
    assert sentence.endswith("it takes a number of seconds from 0 (never) to 10")


def test_text_and_null():
    kind = Text("a word", 3, r"[a-z]+", is_optional=True, null_means="silence")
    assert kind.read("a.b", "abc") == "abc"
    assert kind.read("a.b", None) is None
    assert kind.takes == "a word: text of 1 to 3 characters, or null (silence)"


@pytest.mark.parametrize("value", ["", "abcd", "A", "a\n", "\0", 1, False, None])
def test_other_text_is_refused(value):
    assert "it takes a word: text of" in sentence_of(Text("a word", 3, "[a-z]+").read, "a", value)


def test_choices():
    kind = Choice(("on", "off"))
    assert kind.read("a.b", "off") == "off"
    assert sentence_of(kind.read, "a.b", "of") == "a.b: got 'of' (text); it takes on or off"
    assert sentence_of(kind.read, "a.b", False).endswith(
        "got false (a boolean); it takes on or off"
    )
    assert Choice(("a", "b", "c")).takes == "one of a, b, c"


# Users


def test_users_from_mappings_and_entries():
    users = Users().read("auth.users", [entry(), entry("bob", role="manager")])
    assert users == (UserEntry("ada", HASH, Role.AGENT), UserEntry("bob", HASH, Role.AGENT))
    assert Users().read("auth.users", users) == users


def test_everything_that_is_wrong_with_users_is_told():
    items = [
        entry(".hidden"),
        entry(role="root"),
        {"nam": "ada"},
        entry("eve"),
        entry("eve", role="admin"),
        {**entry("mia"), 7: "seven"},
        entry(7, 7, 7),
    ]
    with pytest.raises(ConfigError) as caught:
        Users().read("u", items)
    assert [problem.path for problem in caught.value.problems] == [
        "u[0].name",
        "u[1].role",
        "u[2].nam",
        "u[2].name",
        "u[2].password_hash",
        "u[2].role",
        "u[4].name",
        "u[5]",
        "u[6].name",
        "u[6].password_hash",
        "u[6].role",
    ]
    sentences = [problem.sentence for problem in caught.value.problems]
    assert sentences[1] == (
        "got 'root' (text); it takes "
        "admin or secretary or agent or user or administrator or manager or basic"
    )
    assert sentences[2].endswith("there are name, password_hash, role; did you mean name?")
    assert sentences[3] == "it is missing"
    assert sentences[6] == "there are two users named eve"
    assert sentences[9] == (
        "got an integer; it takes an encoded argon2 hash in quotes, as 'mqd hash-password' prints it"
    )


SALT = HASH.split("$")[4]
NO_HASHES = [
    "",
    "hunter2",
    "hunter2" * 1000,
    HASH + "$",
    HASH[1:],
    HASH.replace("argon2id", "argon3"),
    HASH.replace("m=8", "m=x"),
    HASH.replace("m=8", "q=8"),
    HASH.replace(SALT, "c2FsdA"),
    HASH[:-30],
    HASH + " ",
    None,
    12345678,
]


@pytest.mark.parametrize("value", NO_HASHES)
def test_no_hash_is_refused_and_not_shown(value):
    sentence = sentence_of(Users().read, "auth.users", [entry(password_hash=value)])
    assert sentence.startswith(f"auth.users[0].password_hash: got {type_words(value)}; ")
    assert "hunter2" not in sentence
    assert "12345678" not in sentence


@pytest.mark.parametrize("value", ["hunter2", 12345678, None, ["hunter2"], {"hunter2$x": 1}])
def test_what_is_no_user_is_not_shown(value):
    assert "hunter2" not in sentence_of(Users().read, "auth.users", [value])
    assert "12345678" not in sentence_of(Users().read, "auth.users", [value])


@pytest.mark.parametrize("value", ["hunter2", None, {"name": "ada"}, [entry()] * (MAX_USERS + 1)])
def test_users_are_a_bounded_list(value):
    sentence = sentence_of(Users().read, "auth.users", value)
    assert sentence.startswith(f"auth.users: got {type_words(value)}; it takes a list of at most")


# Sections and the whole


def test_defaults_that_others_rely_on():
    config = Config()
    assert config.server == ServerConfig(
        "127.0.0.1", 7500, None, "~/.mqd/default.json", "auto", 0.00005, "info"
    )
    assert (config.queues.max_messages, config.queues.max_bytes) == (1_000_000, 2**30)
    assert config.queues.max_queues == 10_000
    assert config.storage == StorageConfig("~/.mqd/data", "synced", True, 64 * 2**20, 60.0, False)
    assert config.frame_log == FrameLogConfig(
        "full", None, "binary", True, 2**28, 86_400.0, 10 * 2**30, 30 * 86_400.0
    )
    assert (config.auth.users, config.auth.timeout_seconds) == ((), 10.0)
    assert config.limits == LimitsConfig(
        16_000, limits.MAX_FRAME_BYTES, limits.MAX_BODY_BYTES, 1024, 2**20, 60.0, 256
    )


def test_nothing_can_be_changed():
    with pytest.raises(FrozenInstanceError):
        Config().server = ServerConfig()
    with pytest.raises(FrozenInstanceError):
        Config().server.port = 1


def test_a_section_checks_itself_and_tells_everything():
    with pytest.raises(ConfigError) as caught:
        ServerConfig(host="two words", port=65_536, loop="trio")
    assert [problem.path for problem in caught.value.problems] == [
        "server.host",
        "server.port",
        "server.loop",
    ]
    assert isinstance(caught.value, ValueError)


def test_booleans_are_true_and_false_alone():
    assert Boolean().read("a.b", value=True) is True
    for value in (1, "true", None):
        sentence = sentence_of(Boolean().read, "a.b", value)
        assert sentence.endswith("it takes true or false")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%eth0", "login-1.hpc.example", "::"])
def test_hosts(host):
    assert ServerConfig(host=host).host == host


BOUNDS = [
    (path, bound)
    for path, key in KEYS.items()
    if isinstance(key.kind, Integer) and path != "limits.max_body_bytes"
    for bound in ("low", "high")
]


@pytest.mark.parametrize(("path", "bound"), BOUNDS)
def test_each_integer_at_its_bound_and_one_past_it(path, bound):
    section, name = path.split(".")
    at = getattr(KEYS[path].kind, bound)
    past = at + (1 if bound == "high" else -1)
    assert getattr(SECTIONS[section](**{name: at}), name) == at
    assert path in sentence_of(SECTIONS[section], **{name: past})


def test_a_body_and_its_headers_fit_into_a_frame():
    frame = limits.MIN_FRAME_BYTES
    Config(limits=LimitsConfig(max_frame_bytes=frame, max_body_bytes=frame - OVERHEAD))
    with pytest.raises(ConfigError, match="it takes at most 16384"):
        Config(limits=LimitsConfig(max_frame_bytes=frame, max_body_bytes=frame - OVERHEAD + 1))


def test_the_frame_log_has_room_for_a_file():
    sizes = {"max_file_bytes": 5000, "max_total_bytes": 5000}
    assert Config(frame_log=FrameLogConfig(**sizes)).frame_log.max_total_bytes == 5000
    with pytest.raises(ConfigError, match=r"frame_log\.max_total_bytes: 5000 bytes of files"):
        Config(frame_log=FrameLogConfig(**{**sizes, "max_file_bytes": 5001}))


def test_the_largest_frame_takes_the_largest_body():
    most = KEYS["limits.max_body_bytes"].kind.high
    largest = LimitsConfig(max_frame_bytes=limits.HARD_MAX_FRAME_BYTES, max_body_bytes=most)
    storage = StorageConfig(segment_bytes=2**30)
    assert Config(limits=largest, storage=storage).limits.max_body_bytes == most


def test_a_segment_holds_a_few_of_the_largest_frames():
    config = LimitsConfig(max_frame_bytes=2**20, max_body_bytes=2**10)
    assert Config(storage=StorageConfig(segment_bytes=2**22), limits=config).limits == config
    sentence = sentence_of(Config, storage=StorageConfig(segment_bytes=2**22 - 1), limits=config)
    assert sentence.startswith("storage.segment_bytes: 4194303 bytes hold too few frames")


@pytest.mark.parametrize("word", LEVELS)
def test_every_level_may_be_the_servers(word):
    assert StorageConfig(durability=word).durability == word


def test_paths_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    config = Config(server=ServerConfig(unix_socket="~/s", address_file="/tmp/a.json"))
    assert config.storage_path == Path("/home/ada/.mqd/data")
    assert config.frame_log_path == Path("/home/ada/.mqd/data/frames")
    assert config.unix_socket_path == Path("/home/ada/s")
    assert config.address_file_path == Path("/tmp/a.json")
    bare = Config(server=ServerConfig(address_file=None), frame_log=FrameLogConfig(path="~/log"))
    assert bare.unix_socket_path is None
    assert bare.address_file_path is None
    assert bare.frame_log_path == Path("/home/ada/log")


def test_a_home_that_cannot_be_told():
    config = Config(storage=StorageConfig(path="~nobody.of.this.name/data"))
    with pytest.raises(ConfigError, match=r"storage\.path: the home directory of"):
        _ = config.storage_path


def test_hashes_are_in_no_repr_and_no_yaml():
    config = Config(auth=AuthConfig(users=(UserEntry("ada", HASH, Role.ADMIN),)))
    assert HASH not in repr(config)
    assert HASH not in config.to_yaml()
    assert '    - {name: "ada", role: "admin", password_hash: "(hidden)"}\n' in config.to_yaml()
    assert "ada" in repr(config)
    assert config.auth.users_by_name == {"ada": UserEntry("ada", HASH, Role.ADMIN)}


def test_printed_configuration_is_read_back_the_same(tmp_path):
    config = replace(
        Config(),
        server=ServerConfig(port=0, unix_socket='/tmp/a "b" \\ c: #d é', address_file=None),
        frame_log=FrameLogConfig(level="off"),
        auth=AuthConfig(timeout_seconds=0.001),
    )
    path = tmp_path / "mqd.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert load(str(path), {}, {}) == config


# mqd.yaml


def test_the_default_file_is_the_default_configuration():
    assert load(str(ROOT / "mqd.yaml"), {}, {}) == Config()


def test_the_default_file_names_and_explains_every_key():
    text = (ROOT / "mqd.yaml").read_text(encoding="utf-8")
    head, body = text[: text.index("\n\n") + 2], text[text.index("\n\n") + 2 :]
    assert body == Config().to_yaml()
    assert all(line.startswith("#") for line in head.splitlines() if line)
    lines = body.splitlines()
    for name, section in SECTIONS.items():
        assert f"{name}:" in lines
        for item in fields(section):
            assert sum(line.startswith(f"  {item.name}: ") for line in lines) >= 1
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("path", KEYS)
def test_every_key_has_an_explanation_and_its_unit_in_its_name(path):
    key = KEYS[path]
    assert key.doc.endswith(".")
    assert path.endswith("_seconds") is isinstance(key.kind, Seconds)
    assert path.endswith("_bytes") is (getattr(key.kind, "unit", "") == "bytes")


# Words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true (a boolean)"),
        (7, "7 (an integer)"),
        (2**200, "an integer"),
        pytest.param(-(10**5000), "an integer", id="huge"),
        (1.5, "1.5 (a number)"),
        ("é\n", r"'\xe9\n' (text)"),
        ("x" * 65, f"'{'x' * 64}...' (text)"),
        ([1], "a list"),
        ((1,), "a list"),
        ({}, "a mapping"),
        (b"", "binary"),
        ({1}, "a set"),
    ],
)
def test_values_are_shown_with_their_type(value, words):
    assert shown(value) == words


def test_quoted_text_is_printable_ascii():
    assert quoted("a\x1b[31m\ud800") == r"'a\x1b[31m\ud800'"


def test_suggestions():
    assert suggestion("server.prot", KEYS) == "; did you mean server.port?"
    assert suggestion("server.max_connections", KEYS) == "; did you mean limits.max_connections?"
    assert suggestion("zzz", KEYS) == ""


def test_problems_in_words():
    assert str(Problem("a.b", "it is odd", "x.yaml:3")) == "a.b (x.yaml:3): it is odd"
    assert str(Problem("a.b", "it is odd")) == "a.b: it is odd"
    assert str(Problem("", "it is odd", "x.yaml")) == "x.yaml: it is odd"
    assert str(Problem("", "it is odd")) == "it is odd"
    assert str(ConfigError([Problem("", "one"), Problem("", "two")])) == "one\ntwo"
