"""mqwire.json_text: whatever msgpack holds has a form in JSON."""

from __future__ import annotations

import json

from mqwire.json_text import base64_of, to_json


def test_values_that_json_does_not_have():
    value = {"b": b"\x01", ("k", 1): float("inf"), "m": memoryview(b"\x02"), "o": object}
    assert json.loads(to_json(value)) == {
        "b": {"base64": "AQ=="},
        '["k", 1]': "inf",
        "m": {"base64": "Ag=="},
        "o": str(object),
    }


def test_what_json_has_stays_as_it_is():
    value = {"t": "é", "l": [1, 2.5, True, None], "f": float("nan")}
    assert to_json(value) == '{"t": "é", "l": [1, 2.5, true, null], "f": "nan"}'
    assert base64_of(b"\x01") == "AQ=="


def test_binary_of_every_kind():
    assert to_json((b"\x01", bytearray(b"\x02"))) == '[{"base64": "AQ=="}, {"base64": "Ag=="}]'
