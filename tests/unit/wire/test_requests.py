"""Every argument and option of every verb: each wrong type, the bounds and one past them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given

from mqwire.codes import Code
from mqwire.errors import RequestError, StreamError
from mqwire.requests import HIDDEN, check_envelope, check_request
from mqwire.verbs import SECRET_VERBS, VERBS, Kind
from support.wire_values import frames

MAX_ID = 2**53 - 1

# A value that fits for each kind, and one of each type that a reader gives, under its word.
FITTING = {
    Kind.NAME: "jobs",
    Kind.USER: "ada",
    Kind.PATTERN: "job*",
    Kind.TEXT: "doc/1",
    Kind.COUNT: 1,
    Kind.SECONDS: 2.5,
    Kind.NUMBER: 0.5,
    Kind.LEASE: (3, 17),
    Kind.PARTS: (("ACK", (3, 17)),),
    Kind.RUNS: (7, 3, 20, 1),
    Kind.FLAG: True,
    Kind.LEVEL: "synced",
    Kind.PACK: b"\x01",
    Kind.RESULT: b"r",
    Kind.MAP: {},
    Kind.HEADERS: {},
}
OF_TYPE = {
    "nil": None,
    "a boolean": True,
    "an integer": 1,
    "a float": 1.0,
    "a string": "jobs",
    "binary": b"jobs",
    "an array": (1,),
    "a map": {},
}
FIELDS = [
    pytest.param(verb, place, id=f"{verb.name}.{verb.arguments[place].name}")
    for verb in VERBS.values()
    for place in range(len(verb.arguments))
] + [
    pytest.param(verb, name, id=f"{verb.name}.options.{name}")
    for verb in VERBS.values()
    for name in verb.options
]
LEVEL_FIELDS = [field for field in FIELDS if field.id.endswith(".durability")]


def fitting_value(field):
    if field.kind is Kind.WORDS:
        return field.words[:2]
    if field.kind is Kind.TEXT and field.low > len(FITTING[Kind.TEXT]):
        return "x" * field.low
    return field.words[0] if field.kind is Kind.WORD else FITTING[field.kind]


def fitting(verb):
    return [verb.name, 7, *map(fitting_value, verb.arguments)]


def field_at(verb, place):
    return verb.arguments[place] if isinstance(place, int) else verb.options[place]


def frame_with(verb, place, value):
    """Make a request that is sound but for `value` as the argument or option at `place`."""
    frame = fitting(verb)
    if isinstance(place, int):
        frame[2 + place] = value
        return tuple(frame)
    return (*frame, {place: value})


def refusal(frame, code):
    with pytest.raises(RequestError) as caught:
        check_request(tuple(frame))
    assert caught.value.code is code
    assert caught.value.message.isascii()
    return caught.value


class TestEnvelope:
    @pytest.mark.parametrize("request_id", [1, 2, MAX_ID])
    def test_a_verb_and_an_id(self, request_id):
        assert check_envelope(("PING", request_id)) == ("PING", request_id)

    def test_the_verb_need_not_exist(self):
        assert check_envelope(("", 1, None)) == ("", 1)

    @pytest.mark.parametrize(
        "frame",
        [
            (),
            ("PING",),
            (1, "PING"),
            ("PING", 0),
            ("PING", -1),
            ("PING", MAX_ID + 1),
            ("PING", True),
            ("PING", 1.0),
            ("PING", "1"),
            ("PING", None),
            (b"PING", 1),
            (None, 1),
            (("PING",), 1),
        ],
        ids=repr,
    )
    def test_nothing_can_be_answered_without_them(self, frame):
        with pytest.raises(StreamError) as caught:
            check_envelope(frame)
        assert caught.value.code is Code.MALFORMED_FRAME
        assert str(MAX_ID) in caught.value.message


class TestVerb:
    def test_an_unknown_verb_is_told_with_those_that_exist(self):
        error = refusal(("PLUSH", 1, "jobs"), Code.UNKNOWN_VERB)
        assert error.details == {"verb": "PLUSH"}
        assert "'PLUSH'" in error.message
        assert all(verb in error.message for verb in VERBS)

    @pytest.mark.parametrize("verb", ["", "push", "PUSH ", "Push", "options"])
    def test_verbs_are_compared_letter_by_letter(self, verb):
        assert refusal((verb, 1), Code.UNKNOWN_VERB).details == {"verb": verb}

    def test_a_long_verb_is_cut(self):
        error = refusal(("ä" * 100_000, 1), Code.UNKNOWN_VERB)
        assert error.details == {"verb": "ä" * 64}
        assert len(error.message) < 1000


class TestArity:
    @pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
    def test_sound_at_its_bounds_and_refused_one_past_them(self, verb):
        shortest = fitting(verb)[: verb.least_length]
        longest = [*fitting(verb), {}]
        check_request(tuple(shortest))
        check_request(tuple(longest))
        too_long = refusal((*longest, {}), Code.WRONG_ARITY)
        assert too_long.details["got"] == verb.most_length + 1
        for length in range(2, verb.least_length):
            too_short = refusal(shortest[:length], Code.WRONG_ARITY)
            assert too_short.details["got"] == length
            assert too_short.details["verb"] == verb.name

    @pytest.mark.parametrize(
        ("frame", "form"),
        [
            (("PING", 1, 2, {}), '"PING", id, [options]'),
            (("INFO", 1), '"INFO", id, queue, [options]'),
            (("LIST", 1, "*", {}, {}), '"LIST", id, [pattern], [options]'),
            (("STATS", 1, {}, {}), '"STATS", id, [options]'),
            (("SNAPSHOT", 1, 5, {}), '"SNAPSHOT", id, [options]'),
            (("BACKUP", 1, 0, {}, {}), '"BACKUP", id, [offset], [options]'),
            (("PULL", 1, "jobs"), '"PULL", id, queue, max, [options]'),
            (("ACK", 1), '"ACK", id, lease, [options]'),
            (("EXTEND", 1, (3, 17)), '"EXTEND", id, lease, seconds, [options]'),
            (("HOLDERS", 1, "*", {}, {}), '"HOLDERS", id, [pattern], [options]'),
        ],
        ids=repr,
    )
    def test_the_right_form_is_told(self, frame, form):
        error = refusal(frame, Code.WRONG_ARITY)
        assert error.details == {"verb": frame[0], "form": form, "got": len(frame)}
        assert f"[{form}]; this frame has {len(frame)} elements" in error.message

    def test_what_was_left_out_is_none(self):
        assert check_request(("LIST", 1)) == ([None], {})
        assert check_request(("BACKUP", 1)) == ([None], {})
        assert check_request(("BACKUP", 1, 0)) == ([0], {})

    def test_arguments_and_options_come_apart(self):
        frame = ("PULL", 1, "jobs", 5, {"wait": 2})
        assert check_request(frame) == (["jobs", 5], {"wait": 2})
        assert check_request(frame[:4]) == (["jobs", 5], {})
        assert check_request(("PING", 1)) == ([], {})


class TestTypes:
    @pytest.mark.parametrize(("verb", "place"), FIELDS)
    @pytest.mark.parametrize("word", OF_TYPE)
    def test_each_type_for_each_field(self, verb, place, word):
        field, value = field_at(verb, place), OF_TYPE[word]
        if type(value) in (str, tuple) and type(value) in field.kind.types:
            value = fitting_value(field)  # what is one of certain words, or an array of some form
        frame = frame_with(verb, place, value)
        if type(value) in field.kind.types or (word == "a map" and not field.is_required):
            check_request(frame)  # a map in the place of an argument left out is the options
        else:
            assert refusal(frame, Code.WRONG_TYPE).details == {
                "verb": verb.name,
                "field": field.name,
                "expected": field.kind.words,
                "got": word,
            }

    @pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
    @pytest.mark.parametrize("word", [word for word in OF_TYPE if word != "a map"])
    def test_options_are_a_map(self, verb, word):
        error = refusal((*fitting(verb), OF_TYPE[word]), Code.WRONG_TYPE)
        assert error.details == {
            "verb": verb.name,
            "field": "options",
            "expected": "a map",
            "got": word,
        }

    def test_a_type_that_no_reader_gives_is_named_too(self):
        assert refusal(("INFO", 1, {1, 2}), Code.WRONG_TYPE).details["got"] == "set"

    def test_a_map_is_options_only_where_no_argument_has_to_be(self):
        assert check_request(("LIST", 1, {})) == ([None], {})
        assert check_request(("LIST", 1, "*", {})) == (["*"], {})
        assert refusal(("DELETE", 1, {}), Code.WRONG_TYPE).details["field"] == "queue"

    def test_a_verb_without_options_takes_an_empty_map_and_names_an_unknown_one(self):
        assert check_request(("PING", 1, {})) == ([], {})
        error = refusal(("DELETE", 1, "jobs", {"force": True}), Code.UNKNOWN_OPTION)
        assert error.details == {"verb": "DELETE", "option": "force"}
        assert "it has none" in error.message

    def test_arguments_are_judged_before_options(self):
        assert refusal(("PULL", 1, 5, 5, {"nope": 1}), Code.WRONG_TYPE).details["field"] == "queue"


class TestBounds:
    @pytest.mark.parametrize(
        ("verb", "place"),
        [
            field
            for field in FIELDS
            if field_at(*field.values).kind in (Kind.COUNT, Kind.SECONDS, Kind.NUMBER, Kind.TEXT)
        ],
    )
    def test_at_the_bounds_and_one_past_them(self, verb, place):
        field = field_at(verb, place)

        def given_size(size):
            return frame_with(verb, place, "x" * size if field.kind is Kind.TEXT else size)

        check_request(given_size(field.low))
        check_request(given_size(field.high))
        is_messages = field.name in ("count", "max")
        too_much = Code.TOO_MANY_MESSAGES if is_messages else Code.OUT_OF_RANGE
        error = refusal(given_size(field.high + 1), too_much)
        assert error.details == {
            "verb": verb.name,
            "field": field.name,
            "low": field.low,
            "high": field.high,
            "got": field.high + 1,
        }
        assert f"from {field.low} to {field.high}, not {field.high + 1}" in error.message
        if field.kind is not Kind.TEXT:
            error = refusal(given_size(field.low - 1), Code.OUT_OF_RANGE)
            assert error.details["got"] == field.low - 1

    def test_the_length_of_text_is_told_in_characters(self):
        error = refusal(("AUTH", 1, {}, {"client": "ä" * 257}), Code.OUT_OF_RANGE)
        assert "client in characters must be from 0 to 256, not 257" in error.message

    @pytest.mark.parametrize("wait", [0, 0.0, 0.001, 3600, 3600.0])
    def test_a_wait_may_be_whole_or_not(self, wait):
        assert check_request(("PULL", 1, "jobs", 1, {"wait": wait}))[1] == {"wait": wait}

    @pytest.mark.parametrize("wait", [-0.001, 3600.001, math.inf, -math.inf, math.nan, 2**64 - 1])
    def test_a_wait_that_is_no_time_is_refused(self, wait):
        refusal(("PULL", 1, "jobs", 1, {"wait": wait}), Code.OUT_OF_RANGE)

    @pytest.mark.parametrize("seconds", [0.1, 0.10001, 1, 604_800, 604_800.0])
    def test_a_lease_may_be_whole_or_not(self, seconds):
        assert check_request(("EXTEND", 1, (3, 17), seconds))[0] == [(3, 17), seconds]

    @pytest.mark.parametrize(
        "seconds", [0, 0.0999, -1.0, 604_800.001, math.inf, -math.inf, math.nan]
    )
    def test_a_lease_that_is_no_time_is_refused(self, seconds):
        refusal(("EXTEND", 1, (3, 17), seconds), Code.OUT_OF_RANGE)
        refusal(("PULL", 1, "jobs", 1, {"lease": seconds}), Code.OUT_OF_RANGE)

    @pytest.mark.parametrize("part", [-0.001, 1.001, math.nan])
    def test_a_jitter_is_a_part(self, part):
        refusal(("CREATE", 1, "jobs", {"backoff_jitter": part}), Code.OUT_OF_RANGE)

    @pytest.mark.parametrize("got", [-(2**63), -1, 0])
    def test_too_few_messages_are_out_of_range_not_too_many(self, got):
        refusal(("PULL", 1, "jobs", got), Code.OUT_OF_RANGE)


class TestNames:
    @pytest.mark.parametrize(
        ("verb", "place"), [field for field in FIELDS if field_at(*field.values).kind is Kind.NAME]
    )
    @pytest.mark.parametrize("name", ["", "a b", ".hidden", "-f", "a" * 129, "jobs*"])
    def test_every_queue_is_named_by_the_rule(self, verb, place, name):
        refusal(frame_with(verb, place, name), Code.BAD_NAME)

    @pytest.mark.parametrize("pattern", ["", "a b", "[a]", "a" * 129])
    def test_a_pattern_follows_its_rule(self, pattern):
        refusal(("LIST", 1, pattern), Code.BAD_NAME)

    @pytest.mark.parametrize("pattern", ["*", "-?", ".*", "a" * 128])
    def test_a_pattern_may_start_as_it_likes(self, pattern):
        assert check_request(("LIST", 1, pattern)) == ([pattern], {})


class TestLevels:
    def test_the_verbs_that_take_one(self):
        assert all(field_at(*field.values).kind is Kind.LEVEL for field in LEVEL_FIELDS)
        assert [field.id for field in LEVEL_FIELDS] == [
            "CREATE.options.durability",
            "PUSH.options.durability",
            "PULL.options.durability",
            "ACK.options.durability",
            "NACK.options.durability",
            "REJECT.options.durability",
            "STEP.options.durability",
            "CANCEL.options.durability",
        ]

    @pytest.mark.parametrize(("verb", "place"), LEVEL_FIELDS)
    @pytest.mark.parametrize("level", ["accepted", "written", "synced"])
    def test_every_level(self, verb, place, level):
        assert check_request(frame_with(verb, place, level))[1] == {place: level}

    @pytest.mark.parametrize(("verb", "place"), LEVEL_FIELDS)
    @pytest.mark.parametrize("word", ["", "safe", "SYNCED", "synced ", "Level.SYNCED", "sync"])
    def test_an_unknown_word_is_told_with_those_that_exist(self, verb, place, word):
        error = refusal(frame_with(verb, place, word), Code.OUT_OF_RANGE)
        assert error.details == {
            "verb": verb.name,
            "field": "durability",
            "expected": ["accepted", "written", "synced"],
            "got": word,
        }
        assert f"one of accepted, written, synced, not '{word}'" in error.message

    @pytest.mark.parametrize("level", [None, True, 2, 2.0, b"synced", ("synced",), {}])
    def test_a_level_is_a_word_and_no_number(self, level):
        error = refusal(("PULL", 1, "jobs", 1, {"durability": level}), Code.WRONG_TYPE)
        assert error.details["expected"] == "a durability level (a string)"

    def test_a_long_word_is_cut_and_shown_in_ascii(self):
        frame = ("CREATE", 1, "jobs", {"durability": "\u00e4\x1b" * 50_000})
        error = refusal(frame, Code.OUT_OF_RANGE)
        assert error.details["got"] == "\u00e4\x1b" * 32
        assert len(error.message) < 1000


class TestWords:
    WORD_FIELDS = [field for field in FIELDS if field_at(*field.values).kind is Kind.WORD]  # noqa: RUF012  read only

    @pytest.mark.parametrize(("verb", "place"), WORD_FIELDS)
    def test_each_word_and_no_other(self, verb, place):
        field = field_at(verb, place)
        words = field.words
        for word in words:
            arguments, options = check_request(frame_with(verb, place, word))
            assert (arguments[place] if isinstance(place, int) else options[place]) == word
        for word in ("", words[0].upper(), words[0] + " ", "synced"):
            assert refusal(frame_with(verb, place, word), Code.OUT_OF_RANGE).details == {
                "verb": verb.name,
                "field": field.name,
                "expected": list(words),
                "got": HIDDEN if verb.name in SECRET_VERBS else word,
            }

    @pytest.mark.parametrize(
        "frame", [("ADMIT", 1, "ada", "s3cret", "agent"), ("ALTER", 1, "ada", {"role": "s3cret"})]
    )
    def test_a_password_in_the_wrong_place_is_not_repeated(self, frame):
        error = refusal(frame, Code.OUT_OF_RANGE)
        assert "s3cret" not in f"{error} {error.details}"

    @pytest.mark.parametrize("name", ["", "s3cret word", "../s3cret", "x" * 129])
    @pytest.mark.parametrize("rest", [("ADMIT", "agent", "long enough"), ("ALTER",), ("EXPEL",)])
    def test_what_is_no_name_of_a_user_is_not_repeated(self, name, rest):
        verb, *arguments = rest
        error = refusal((verb, 1, name, *arguments), Code.BAD_NAME)
        assert "s3cret" not in f"{error} {error.details}"
        assert set(error.details) == {"verb", "field", "rule"}


LEASE_FIELDS = [field for field in FIELDS if field_at(*field.values).kind is Kind.LEASE]
RUNS_FIELDS = [field for field in FIELDS if field_at(*field.values).kind is Kind.RUNS]


class TestLeases:
    def test_the_verbs_that_take_one(self):
        assert [field.id for field in LEASE_FIELDS] == [
            "ACK.lease",
            "NACK.lease",
            "EXTEND.lease",
            "REJECT.lease",
        ]

    @pytest.mark.parametrize(("verb", "place"), LEASE_FIELDS)
    @pytest.mark.parametrize("lease", [(0, 0), (0, 1), (MAX_ID, MAX_ID)])
    def test_two_numbers(self, verb, place, lease):
        assert check_request(frame_with(verb, place, lease))[0][place] == lease

    @pytest.mark.parametrize(("verb", "place"), LEASE_FIELDS)
    @pytest.mark.parametrize(
        "lease",
        [
            (),
            (3,),
            (3, 17, 1),
            (-1, 17),
            (3, -1),
            (3, MAX_ID + 1),
            (MAX_ID + 1, 17),
            (3, True),
            (False, 17),
            (3.0, 17),
            (3, "17"),
            (3, None),
            ((3,), 17),
        ],
        ids=repr,
    )
    def test_another_array_is_none(self, verb, place, lease):
        assert refusal(frame_with(verb, place, lease), Code.WRONG_TYPE).details == {
            "verb": verb.name,
            "field": "lease",
            "expected": "a lease (an array of two unsigned integers)",
            "got": "another array",
        }


class TestListsOfWords:
    @pytest.mark.parametrize("events", [(), ("acked",), ("acked", "dead"), ("dead", "dead")])
    def test_any_of_the_words(self, events):
        assert check_request(("WATCH", 1, "*", {"events": events}))[1] == {"events": events}

    def test_another_word_is_told_with_those_that_there_are(self):
        error = refusal(("WATCH", 1, {"events": ("acked", "eaten")}), Code.OUT_OF_RANGE)
        assert (error.details["field"], error.details["got"]) == ("events", "eaten")
        assert "acked" in error.details["expected"]

    @pytest.mark.parametrize("event", [None, 1, b"acked", ("acked",)])
    def test_what_is_no_word_is_of_the_wrong_type(self, event):
        error = refusal(("WATCH", 1, {"events": ("acked", event)}), Code.WRONG_TYPE)
        assert error.details["got"] == "another array"


class TestResults:
    @pytest.mark.parametrize("result", ["", b"", "r", b"x" * 65_536, "x" * 65_536, "ä" * 32_768])
    def test_text_and_bytes_up_to_their_bound(self, result):
        assert check_request(("ACK", 1, (3, 17), {"result": result}))[1] == {"result": result}

    @pytest.mark.parametrize("result", [b"x" * 65_537, "x" * 65_537, "ä" * 32_769])
    def test_a_text_counts_as_it_is_encoded(self, result):
        error = refusal(("ACK", 1, (3, 17), {"result": result}), Code.OUT_OF_RANGE)
        assert error.details["field"] == "result"
        assert error.details["high"] == 65_536
        assert error.details["got"] > 65_536
        assert "result in bytes" in error.message


class TestRuns:
    def test_the_verbs_that_take_some(self):
        assert [field.id for field in RUNS_FIELDS] == [
            "STATUS.ids",
            "CANCEL.ids",
            "ACK.options.ids",
            "NACK.options.ids",
            "EXTEND.options.ids",
            "REJECT.options.ids",
            "REDRIVE.options.ids",
        ]

    @pytest.mark.parametrize(("verb", "place"), RUNS_FIELDS)
    @pytest.mark.parametrize(
        "runs", [(1, 1), (7, 3, 20, 1), (20, 1, 7, 3), (MAX_ID, 1), (1, 16_384), (1, 1) * 16_384]
    )
    def test_pairs_of_a_first_id_and_a_count(self, verb, place, runs):
        arguments, options = check_request(frame_with(verb, place, runs))
        assert (arguments if isinstance(place, int) else options)[place] == runs

    @pytest.mark.parametrize(("verb", "place"), RUNS_FIELDS)
    @pytest.mark.parametrize(
        "runs",
        [
            (),
            (1,),
            (1, 1, 2),
            (0, 1),
            (1, 0),
            (1, 1, 5, 0),
            (-1, 1),
            (1, -1),
            (1, True),
            (1.0, 1),
            (1, "1"),
            (None, 1),
            (MAX_ID + 1, 1),
            (1, MAX_ID + 1),
            ((1, 1),),
            ((1, 1), (2, 1)),
        ],
        ids=repr,
    )
    def test_another_array_is_none(self, verb, place, runs):
        details = refusal(frame_with(verb, place, runs), Code.WRONG_TYPE).details
        assert details["field"] == "ids"
        assert details["expected"].startswith("runs of ids")

    @pytest.mark.parametrize(("verb", "place"), RUNS_FIELDS)
    @pytest.mark.parametrize(
        "runs", [(1, 16_385), (1, 16_384, 20_000, 1), (1, MAX_ID), (1, 1) * 16_385], ids=len
    )
    def test_more_messages_than_a_frame_has_are_too_many(self, verb, place, runs):
        error = refusal(frame_with(verb, place, runs), Code.TOO_MANY_MESSAGES)
        assert error.details == {
            "verb": verb.name,
            "field": "ids",
            "low": 1,
            "high": 16_384,
            "got": sum(runs[1::2]),
        }


class TestOptions:
    @pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
    def test_an_unknown_option_is_refused_never_ignored(self, verb):
        error = refusal((*fitting(verb), {"max_mesages": 2}), Code.UNKNOWN_OPTION)
        assert error.details == {"verb": verb.name, "option": "max_mesages"}
        assert all(option in error.message for option in verb.options)

    def test_an_unknown_option_beside_known_ones(self):
        frame = ("CREATE", 1, "jobs", {"if_missing": True, "ttl": 5})
        assert refusal(frame, Code.UNKNOWN_OPTION).details["option"] == "ttl"

    def test_options_of_another_verb_are_unknown(self):
        refusal(("PEEK", 1, "jobs", 1, {"wait": 1}), Code.UNKNOWN_OPTION)

    @pytest.mark.parametrize(
        ("key", "shown"),
        [(b"wait", "b'wait'"), (1, "1"), (None, "None"), ("\n" * 100, "\n" * 64), ("", "")],
    )
    def test_whatever_key_is_told_as_short_text(self, key, shown):
        frame = ("PULL", 1, "jobs", 1, {key: 1})
        assert refusal(frame, Code.UNKNOWN_OPTION).details["option"] == shown

    def test_a_long_key_is_cut(self):
        error = refusal(("PULL", 1, "jobs", 1, {"ä" * 100_000: 1}), Code.UNKNOWN_OPTION)
        assert error.details["option"] == "ä" * 64
        assert len(error.message) < 1000

    def test_all_options_at_once(self):
        options = {
            "max_messages": 1,
            "max_bytes": 2,
            "durability": "written",
            "dead_letter": "jobs.dead",
            "max_attempts": 3,
            "max_worker_losses": 4,
            "backoff": "linear",
            "backoff_seconds": 0.5,
            "backoff_cap_seconds": 60,
            "backoff_jitter": 0.25,
            "ttl_seconds": 0.5,
            "on_expiry": "drop",
            "max_leased": 5,
            "expires_seconds": 60,
            "dedupe_seconds": 0,
            "keep_results_seconds": 1,
            "if_missing": False,
        }
        assert set(options) == set(VERBS["CREATE"].options)
        assert check_request(("CREATE", 1, "jobs", options)) == (["jobs"], options)


@given(frames)
def test_any_frame_has_an_envelope_or_breaks_the_stream(frame):
    for given_frame in (frame, ("PUSH", *frame), ("PUSH", 1, *frame)):
        is_sound = (
            len(given_frame) >= 2
            and isinstance(given_frame[0], str)
            and isinstance(given_frame[1], int)
            and not isinstance(given_frame[1], bool)
            and given_frame[1] in range(1, MAX_ID + 1)
        )
        try:
            assert check_envelope(given_frame) == given_frame[:2]
        except StreamError:
            assert not is_sound
        else:
            assert is_sound


@given(frames)
def test_any_frame_is_accepted_or_refused_with_a_code(frame):
    for verb in VERBS.values():
        judge((verb.name, 1, *frame[2:]), verb)


def judge(frame, verb):
    try:
        arguments, options = check_request(frame)
    except RequestError as error:
        assert not error.code.is_fatal
    else:
        assert len(arguments) == len(verb.arguments)
        assert set(options) <= set(verb.options)
