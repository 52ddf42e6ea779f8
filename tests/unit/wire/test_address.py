from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqwire.address import ADDRESS_FILE_VERSION, DEFAULT_ADDRESS_FILE, Address, is_local

ADDRESS = Address(
    urls=("mq+unix:///run/mqd.sock", "mq://127.0.0.1:7500"),
    token="s3cret-token",
    host="login-1",
    pid=4711,
    started_at=1_700_000_000.25,
    server_version="0.1.0",
)

texts = st.text(max_size=30)
addresses = st.builds(
    Address,
    urls=st.lists(texts, min_size=1, max_size=3).map(tuple),
    token=texts,
    host=texts,
    pid=st.integers(0, 2**31),
    started_at=st.floats(0, 1e11),
    server_version=texts,
)


def fields(**changes):
    return {**json.loads(ADDRESS.to_json()), **changes}


@given(addresses)
def test_what_is_written_is_read(address):
    assert Address.from_json(address.to_json()) == address


def test_the_text_is_one_json_object_with_a_version():
    assert ADDRESS.to_json().endswith("}\n")
    assert json.loads(ADDRESS.to_json()) == {
        "address_file_version": ADDRESS_FILE_VERSION,
        "urls": ["mq+unix:///run/mqd.sock", "mq://127.0.0.1:7500"],
        "token": "s3cret-token",
        "host": "login-1",
        "pid": 4711,
        "started_at": 1_700_000_000.25,
        "server_version": "0.1.0",
    }


def test_the_file_is_in_the_home_of_its_owner():
    assert DEFAULT_ADDRESS_FILE == "~/.mqd/default.json"


def test_a_repr_does_not_tell_the_token():
    for shown in (repr(ADDRESS), str(ADDRESS), f"{ADDRESS}"):
        assert "s3cret" not in shown
        assert "login-1" in shown
        assert "4711" in shown


def test_keys_of_later_versions_are_passed_over():
    assert Address.from_json(json.dumps(fields(cluster="b", extra=[1]))) == ADDRESS


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *((text, "it is not JSON$") for text in ("", "{", "\x00", "hello", "[" * 100_000)),
        *((text, "it is not a JSON object$") for text in ("[]", "null", '"mq://host"', "17")),
        (json.dumps([fields()]), "it is not a JSON object$"),
    ],
)
def test_what_is_no_object_is_refused_without_the_words_of_a_parser(text, why):
    with pytest.raises(ValueError, match=why):
        Address.from_json(text)


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_another_version_is_refused_with_both_versions(version):
    with pytest.raises(ValueError, match="understood is 1"):
        Address.from_json(json.dumps(fields(address_file_version=version)))


def test_a_file_without_a_version_is_refused():
    without = fields()
    del without["address_file_version"]
    with pytest.raises(ValueError, match="JSON of another kind"):
        Address.from_json(json.dumps(without))


@pytest.mark.parametrize("key", ["urls", "token", "host", "pid", "started_at", "server_version"])
def test_a_missing_key_is_named(key):
    without = fields()
    del without[key]
    with pytest.raises(ValueError, match=key):
        Address.from_json(json.dumps(without))


@pytest.mark.parametrize(
    "changes",
    [
        {"urls": "mq://127.0.0.1:7500"},
        {"urls": []},
        {"urls": None},
        {"urls": {"mq://127.0.0.1:7500": 1}},
        {"pid": None},
        {"pid": "many"},
        {"pid": []},
        {"pid": float("inf")},
        {"started_at": None},
        {"started_at": "yesterday"},
    ],
    ids=str,
)
def test_a_value_of_the_wrong_type_is_refused(changes):
    with pytest.raises(ValueError, match=r"."):
        Address.from_json(json.dumps(fields(**changes)))


LOCAL = ["mq://127.0.0.1:7500", "mq://[::1]:7500", "mq://localhost:7500", "mq+unix:///run/mqd.sock"]
REMOTE = ["mq://login1:7500", "mq://10.0.0.5:7500", "mq://[fd00::5]:7500", "mq:///"]


@pytest.mark.parametrize("url", LOCAL)
def test_a_local_url_is_told_from_others(url):
    assert is_local(url)


@pytest.mark.parametrize("url", REMOTE)
def test_a_url_of_the_network_is_not_local(url):
    assert not is_local(url)


def test_from_another_machine_no_local_url_is_taken():
    mixed = replace(ADDRESS, urls=(*LOCAL, *REMOTE), host="login1")
    assert mixed.urls_from("login1") == (*LOCAL, *REMOTE)
    assert mixed.urls_from("node7") == tuple(REMOTE)
