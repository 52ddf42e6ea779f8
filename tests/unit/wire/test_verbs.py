"""The registry of verbs, written out once more: a bound that moves must be moved here too."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from mqwire.verbs import STEP_PARTS, VERBS, Field, Kind, Verb

NAME = ("queue", Kind.NAME)
MAX = ("max", Kind.COUNT, 1, 16_384)
DURABILITY = ("durability", Kind.LEVEL)
LEASE = ("lease", Kind.LEASE)
IDS = ("ids", Kind.RUNS)
REASON = ("reason", Kind.TEXT, 0, 4096)
RESULT = ("result", Kind.RESULT, 0, 65_536)
KEY = ("key", Kind.TEXT, 1, 128)
WEEK, YEAR = 604_800, 31_622_400
BUDGETS = [("max_attempts", Kind.COUNT, 1, 2**31), ("max_worker_losses", Kind.COUNT, 1, 2**31)]
WAYS_BACK = [
    ("delay", Kind.SECONDS, 0, YEAR),
    ("hand_back", Kind.FLAG),
    ("lost", Kind.FLAG),
]
PUSHED = [
    ("headers", Kind.HEADERS),
    KEY,
    ("priority", Kind.COUNT, 0, 255),
    ("delay", Kind.SECONDS, 0, YEAR),
    ("not_before", Kind.SECONDS, 0, 2**33),
    ("ttl", Kind.SECONDS, 0.001, YEAR),
    *BUDGETS,
]

EVENTS = (
    "created",
    "deleted",
    "paused",
    "resumed",
    "purged",
    "pushed",
    "pulled",
    "leased",
    "acked",
    "nacked",
    "rejected",
    "handed_back",
    "lost",
    "ready",
    "expired",
    "dead",
    "redriven",
    "cancelling",
    "cancelled",
)

# verb: (arguments, options); (name, kind[, low, high[, words]]); "?" marks what may be left out.
EXPECTED = {
    "AUTH": (
        [("credentials", Kind.MAP)],
        [
            ("client", Kind.TEXT, 0, 256),
            ("version", Kind.COUNT, 0, 2**31),
            ("instance", Kind.TEXT, 1, 64),
            ("host", Kind.TEXT, 0, 128),
            ("keepalive", Kind.SECONDS, 1, 3600),
            ("detached", Kind.FLAG),
            ("issue", Kind.MAP),
        ],
    ),
    "CREATE": (
        [NAME],
        [
            ("max_messages", Kind.COUNT, 1, 2**40),
            ("max_bytes", Kind.COUNT, 1, 2**50),
            DURABILITY,
            ("dead_letter", Kind.NAME),
            *BUDGETS,
            ("backoff", Kind.WORD, 0, 256, ("none", "fixed", "linear", "exponential")),
            ("backoff_seconds", Kind.SECONDS, 0, YEAR),
            ("backoff_cap_seconds", Kind.SECONDS, 0, YEAR),
            ("backoff_jitter", Kind.NUMBER, 0, 1),
            ("ttl_seconds", Kind.SECONDS, 0.001, YEAR),
            ("on_expiry", Kind.WORD, 0, 256, ("drop", "dead_letter")),
            ("max_leased", Kind.COUNT, 1, 2**40),
            ("expires_seconds", Kind.SECONDS, 1, YEAR),
            ("dedupe_seconds", Kind.SECONDS, 0, WEEK),
            ("keep_results_seconds", Kind.SECONDS, 1, YEAR),
            ("if_missing", Kind.FLAG),
        ],
    ),
    "DELETE": ([NAME], []),
    "LIST": ([("pattern?", Kind.PATTERN)], []),
    "INFO": ([NAME], []),
    "PUSH": (
        [NAME, ("count", Kind.COUNT, 1, 16_384), ("pack", Kind.PACK)],
        [*PUSHED, DURABILITY],
    ),
    "PULL": (
        [NAME, MAX],
        [("wait", Kind.SECONDS, 0, 3600), ("lease", Kind.SECONDS, 0.1, WEEK), DURABILITY],
    ),
    "ACK": ([LEASE], [IDS, RESULT, DURABILITY]),
    "NACK": (
        [LEASE],
        [IDS, REASON, *WAYS_BACK, DURABILITY],
    ),
    "EXTEND": ([LEASE, ("seconds", Kind.SECONDS, 0.1, WEEK)], [IDS]),
    "REJECT": ([LEASE], [IDS, REASON, DURABILITY]),
    "STEP": ([("parts", Kind.PARTS, 1, 1024), ("pack?", Kind.PACK)], [KEY, DURABILITY]),
    "REDRIVE": (
        [NAME],
        [
            MAX,
            IDS,
            (
                "cause",
                Kind.WORD,
                0,
                256,
                ("nack", "reject", "hand_back", "expired", "gone", "ttl"),
            ),
            ("origin", Kind.NAME),
        ],
    ),
    "HOLDERS": ([("pattern?", Kind.PATTERN)], [MAX]),
    "WAKE": ([("request", Kind.COUNT, 1, 2**53 - 1)], []),
    "PEEK": (
        [NAME, MAX],
        [
            ("skip", Kind.COUNT, 0, 2**40),
            ("state", Kind.WORD, 0, 256, ("ready", "delayed", "leased", "dead")),
            ("id", Kind.COUNT, 1, 2**53 - 1),
        ],
    ),
    "STATUS": ([NAME, IDS], [("wait", Kind.SECONDS, 0, 3600)]),
    "CANCEL": ([NAME, IDS], [DURABILITY]),
    "WATCH": (
        [("pattern?", Kind.PATTERN)],
        [("events", Kind.WORDS, 0, 256, EVENTS), ("credit", Kind.COUNT, 1, 65_536)],
    ),
    "CREDIT": (
        [("request", Kind.COUNT, 1, 2**53 - 1), ("events", Kind.COUNT, 1, 65_536)],
        [],
    ),
    "UNWATCH": ([("request", Kind.COUNT, 1, 2**53 - 1)], []),
    "PURGE": ([NAME], [("state", Kind.WORD, 0, 256, ("waiting", "dead"))]),
    "PAUSE": ([NAME], []),
    "RESUME": ([NAME], []),
    "PING": ([], []),
    "STATS": ([], []),
    "SNAPSHOT": ([], []),
    "BACKUP": ([("offset?", Kind.COUNT, 0, 2**53 - 1)], []),
    "FRAMES": (
        [],
        [
            ("after", Kind.COUNT, 0, 2**53 - 1),
            MAX,
            ("context", Kind.COUNT, 0, 4096),
        ],
    ),
}

PARTS = {
    "ACK": ([LEASE], [IDS, RESULT]),
    "NACK": ([LEASE], [IDS, REASON, *WAYS_BACK]),
    "REJECT": ([LEASE], [IDS, REASON]),
    "PUSH": ([NAME, ("count", Kind.COUNT, 1, 16_384)], PUSHED),
}

TYPES = {
    Kind.NAME: (str,),
    Kind.PATTERN: (str,),
    Kind.USER: (str,),
    Kind.TEXT: (str,),
    Kind.COUNT: (int,),
    Kind.SECONDS: (int, float),
    Kind.NUMBER: (int, float),
    Kind.WORD: (str,),
    Kind.LEASE: (tuple,),
    Kind.PARTS: (tuple,),
    Kind.RUNS: (tuple,),
    Kind.FLAG: (bool,),
    Kind.LEVEL: (str,),
    Kind.PACK: (bytes,),
    Kind.RESULT: (bytes, str),
    Kind.WORDS: (tuple,),
    Kind.MAP: (dict,),
    Kind.HEADERS: (dict, tuple),
}


ROLE_WORDS = ("admin", "secretary", "agent", "user", "administrator", "manager", "basic")
EXPECTED |= {
    "USERS": ([("pattern?", Kind.PATTERN)], []),
    "ADMIT": (
        [
            ("user", Kind.USER),
            ("role", Kind.WORD, 0, 256, ROLE_WORDS),
            ("password", Kind.TEXT, 8, 256),
        ],
        [],
    ),
    "ALTER": (
        [("user", Kind.USER)],
        [
            ("role", Kind.WORD, 0, 256, ROLE_WORDS),
            ("password", Kind.TEXT, 8, 256),
            ("disabled", Kind.FLAG),
        ],
    ),
    "EXPEL": ([("user", Kind.USER)], []),
    "PASSWORD": ([("old", Kind.TEXT), ("new", Kind.TEXT, 8, 256)], []),
    "ISSUE": (
        [],
        [
            ("role", Kind.WORD, 0, 256, ROLE_WORDS),
            ("lifetime", Kind.SECONDS, 1, 31_622_400),
            ("comment", Kind.TEXT),
        ],
    ),
    "TOKENS": ([("pattern?", Kind.PATTERN)], []),
    "REVOKE": ([("token", Kind.COUNT, 1, 2**53 - 1)], []),
}


def as_field(name, kind, low=0, high=256, words=()):
    is_required = not name.endswith("?")
    return Field(name.rstrip("?"), kind, low, high, is_required=is_required, words=words)


def test_the_verbs():
    assert set(VERBS) == set(EXPECTED)
    assert all(VERBS[name].name == name for name in VERBS)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_verb_takes(name):
    arguments, options = EXPECTED[name]
    assert VERBS[name].arguments == tuple(as_field(*argument) for argument in arguments)
    assert VERBS[name].options == {option[0]: as_field(*option) for option in options}


def test_the_parts_of_a_step():
    assert set(STEP_PARTS) == set(PARTS)


@pytest.mark.parametrize("name", PARTS)
def test_what_a_part_of_a_step_takes(name):
    arguments, options = PARTS[name]
    assert STEP_PARTS[name].arguments == tuple(as_field(*argument) for argument in arguments)
    assert STEP_PARTS[name].options == {option[0]: as_field(*option) for option in options}


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_a_verb_is_sound(verb):
    assert verb.name.isupper()
    assert verb.name.isalpha()
    assert verb.summary
    required = [argument.is_required for argument in verb.arguments]
    assert required == sorted(required, reverse=True), "what may be left out stands last"
    fields = [*verb.arguments, *verb.options.values()]
    assert len({field.name for field in fields}) == len(fields)
    assert all(field.low <= field.high for field in fields)
    assert all(bool(field.words) is (field.kind in (Kind.WORD, Kind.WORDS)) for field in fields)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_a_kind_is_a_word_and_the_types_that_a_reader_gives(kind):
    assert kind.types == TYPES[kind]
    assert kind.words


@pytest.mark.parametrize(
    ("verb", "least", "most"),
    [
        ("PING", 2, 3),
        ("LIST", 2, 4),
        ("INFO", 3, 4),
        ("PUSH", 5, 6),
        ("AUTH", 3, 4),
        ("BACKUP", 2, 4),
    ],
)
def test_how_long_a_frame_may_be(verb, least, most):
    assert (VERBS[verb].least_length, VERBS[verb].most_length) == (least, most)


def test_a_verb_has_options_of_its_own():
    assert Verb("A", "a").options is not Verb("B", "b").options


def test_the_registry_cannot_be_changed_by_accident():
    with pytest.raises(FrozenInstanceError):
        VERBS["PING"].name = "PONG"
    with pytest.raises(FrozenInstanceError):
        VERBS["PULL"].arguments[1].high = 10**9
