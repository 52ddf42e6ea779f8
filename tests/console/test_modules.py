"""What the console computes without a page: numbers, rates, what needs attention, events."""

from __future__ import annotations

import pytest

from support.console import Console

DASH = "\u2013"
_CALL = """async ([module, name, given]) => {
    const found = (await import(`/console/${module}.js`))[name];
    return found(...given);
}"""
INFO = {
    "queue": "jobs", "ready": 0, "delayed": 0, "leased": 0, "dead": 0, "bytes": 0, "waiting": 0,
    "is_paused": False, "oldest_age_seconds": None, "oldest_dead_age_seconds": None,
    "options": {"max_messages": 100, "max_bytes": 1000},
}  # fmt: skip


@pytest.fixture(scope="module")
def console(browser, gateway):
    """Give a window that nobody is signed in to; one is enough for all, since nothing changes it."""
    with Console(browser, gateway.url).closing() as console:
        console.page.goto(console.url)
        yield console


@pytest.fixture
def call(console):
    """Give what calls a function of a module."""
    return lambda module, name, *given: console.page.evaluate(_CALL, [module, name, list(given)])


def test_numbers_are_made_readable(call):
    assert [call("format", "count", n) for n in (None, 0, 99_999, 1_240_000)] == [
        DASH,
        "0",
        "99,999",
        "1.24 M",
    ]
    assert [call("format", "bytes", n) for n in (1023, 1536, 8 << 20)] == [
        "1023 B",
        "1.5 KiB",
        "8 MiB",
    ]
    assert [call("format", "rate", n) for n in (None, 0, 0.001, 0.44, 9.96, 123.4, 15_300)] == [
        DASH,
        "0",
        "<0.01",
        "0.44",
        "10",
        "123",
        "15.3 k",
    ]
    spans = {
        None: DASH,
        0: "0 s",
        0.0042: "4.2 ms",
        0.4: "0.4 s",
        59.6: "1 min",
        725: "12 min 5 s",
        3600: "1 h",
        273_600: "3 d 4 h",
    }
    for seconds, words in spans.items():
        assert call("format", "span", seconds) == words
    assert [call("format", "roughly", n) for n in (0.3, 59.9, 7300)] == ["<1 s", "59 s", "2 h"]


def test_rates_come_out_of_counters_and_end_with_their_queue(console):
    rates = console.page.evaluate("""async () => {
        const { Series } = await import("/console/series.js");
        const series = new Series(100);
        const told = [];
        const add = (at, pushed, mark) => {
            series.add(at, { ready: 1, delayed: 0, leased: 0, dead: 0, pushed, pulled: 0, acked: 0 }, mark);
            told.push([series.length, series.rate("pushed", 10)]);
        };
        add(0, 100, "a"); add(2, 120, "a"); add(12, 120, "a");
        add(14, 120, "b");  // of another queue of the same name
        add(16, 130, "b");
        add(18, 5, "b");    // a counter that has fallen
        add(150, 10, "b");  // older ones are forgotten
        return told;
    }""")
    assert rates == [[1, None], [2, 10], [2 + 1, 0], [1, None], [2, 5], [1, None], [1, None]]


def test_a_small_plot_keeps_its_peaks_and_has_no_more_points_than_pixels(call):
    assert call("series", "thinned", [1, 2, 3], 3) == [1, 2, 3]
    assert call("series", "thinned", [0, 9, 0, 1, 2, 3, 0], 3) == [9, 1, 3]
    assert call("series", "polyline", [0, 0.05], 10, 10) == "0.0,10.0 10.0,9.5"
    assert call("series", "polyline", [0, 0.05], 10, 10, 0.1) == "0.0,10.0 10.0,5.0"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"ready": 3, "oldest_age_seconds": 61}, ["nobody pulls"]),
        ({"ready": 3, "oldest_age_seconds": 59}, []),
        ({"ready": 3, "oldest_age_seconds": 61, "waiting": 1}, []),
        ({"ready": 3, "oldest_age_seconds": 61, "leased": 1}, []),
        ({"ready": 3, "oldest_age_seconds": 61, "is_paused": True}, ["paused"]),
        ({"is_paused": True}, []),
        ({"dead": 2, "oldest_dead_age_seconds": 9}, ["2 dead"]),
        ({"ready": 90, "waiting": 1}, ["nearly full"]),
        ({"ready": 100, "waiting": 1}, ["full"]),
        ({"bytes": 950}, ["nearly full"]),
        (
            {"leased": 4, "ready": 1, "options": {**INFO["options"], "max_leased": 4}},
            ["at its cap"],
        ),
    ],
)
def test_what_needs_attention(call, changes, expected):
    found = call("attention", "attention", [{**INFO, **changes}], None)
    assert [each["what"] for each in found] == expected


def test_the_worst_and_oldest_stands_first(call):
    queues = [
        {**INFO, "queue": "a", "is_paused": True, "ready": 1, "oldest_age_seconds": 9e6},
        {**INFO, "queue": "b", "dead": 1, "oldest_dead_age_seconds": 5},
        {**INFO, "queue": "c", "options": {**INFO["options"], "dead_letter": "d"}},
        {**INFO, "queue": "d", "ready": 2, "oldest_age_seconds": 50},
    ]
    stats = {"journal": {"is_full": True}, "snapshot": None, "frame_log": {"lost_records": 2}}
    found = call("attention", "attention", queues, stats)
    assert [(each.get("queue"), each["what"]) for each in found] == [
        ("d", "2 dead letters"),
        ("b", "1 dead"),
        (None, "the disk is full"),
        ("a", "paused"),
        (None, "the frame log has gaps"),
    ]


def test_a_disk_that_is_nearly_full_is_told_before_it_is_full(call):
    def told(free_bytes, *, is_full=False):
        journal = {"bytes": 100, "disk_free_bytes": free_bytes, "is_full": is_full}
        stats = {"journal": journal, "snapshot": None, "frame_log": None}
        return [each["what"] for each in call("attention", "attention", [], stats)]

    assert told(100) == []
    assert told(99) == ["the disk is nearly full"]
    assert told(0, is_full=True) == ["the disk is full"]


def test_an_event_stream_may_be_cut_anywhere(console):
    told = console.page.evaluate("""async () => {
        const { EventParser } = await import("/console/api.js");
        const text = ': hello\\n\\nid: 1\\nevent: pushed\\r\\ndata: {"a":\\ndata: 1}\\n\\ndata: []\\n\\nevent: x\\n\\n';
        return [1, 3, text.length].map((size) => {
            const told = [];
            const parser = new EventParser((kind, data) => told.push([kind, data]));
            for (let at = 0; at < text.length; at += size) parser.take(text.slice(at, at + size));
            return told;
        });
    }""")
    assert told == [[["pushed", {"a": 1}], ["message", []]]] * 3


def test_what_a_form_says_of_frames_becomes_a_query(call):
    said = {"queue": "jobs", "changes": True, "kind": "errors"}
    expected = {"queue": "jobs", "changes": True, "errors": True}
    assert call("views/frames", "queryFor", said) == expected
    assert call("views/frames", "queryFor", {"changes": False, "kind": "in"}) == {"direction": "in"}


def test_frames_are_joined_and_what_is_missing_is_said(call):
    frame = {"number": 7, "time": "t"}
    answer = {"frames": [frame, {**frame, "number": 8}], "missed": 0, "cut": 0, "last": 8}
    first = call("views/frames", "joined", [], {**answer, "missed": 5, "cut": 3})
    assert [each["number"] for each in first] == [8, 7]  # nobody has been told of any before
    second = call("views/frames", "joined", first, {**answer, "frames": [], "missed": 2, "cut": 1})
    assert second[0]["words"] == (
        "2 reads and writes went by too quickly, or are too large, to be shown; "
        "1 more frame would be here: the log's files have them."
    )
    anew = call("views/frames", "joined", first, {**answer, "missed": None})
    assert [each.get("words") for each in anew[:3]] == [None, None, "Here mqd was started anew."]
    many = call("views/frames", "joined", anew * 60, answer)
    assert len(many) == 200


def test_small_matters(call):
    assert [call("live", "retrySeconds", n) for n in (1, 2, 3, 4, 99)] == [1, 2, 4, 8, 8]
    assert call("router", "placeOf", "#/queues/a.b/messages/7") == [
        "queues",
        "a.b",
        "messages",
        "7",
    ]
    assert call("router", "placeOf", "") == ["queues"]
    assert call("router", "placeOf", "#/%/%41") == ["%", "A"]
    said = {"queue": "jobs", "user": "o'brien x", "json": True}
    assert (
        call("views/log", "commandOf", said)
        == "mqctl log --queue jobs --user 'o'\\''brien x' --json"
    )
    assert (
        call("views/log", "commandOf", {"follow": True}, "/var/my logs/frames")
        == "mqctl log '/var/my logs/frames' --follow"
    )
    assert call("attention", "whyDead", {"history": [{"cause": "gone", "reason": ""}]}) == (
        "the worker was lost"
    )
