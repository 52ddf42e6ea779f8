"""Every transcript in PROTOCOL.md, executed against a real server."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

import pytest

from mqwire.packs import join_bodies
from support.raw import Raw
from support.server import ROOT, running_server

BLOCK = re.compile(r"^```mq(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Transcript:
    line: int
    user: str | None
    lines: list[str]


def transcripts():
    text = (ROOT / "PROTOCOL.md").read_text()
    found = []
    for match in BLOCK.finditer(text):
        heading = match[1] or "admin"
        line = text.count("\n", 0, match.start()) + 1
        found.append(
            Transcript(line, None if heading == "stranger" else heading, match[2].splitlines())
        )
    return found


def value_of(text: str) -> Any:
    """Evaluate the notation: JSON with nil, pack(...), hex(...) and `...`."""
    return _build(ast.parse(text, mode="eval").body)


_NAMES = {"true": True, "false": False, "nil": None}


def _build(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _NAMES[node.id]
    if isinstance(node, ast.List):
        return [_build(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {_build(k): _build(v) for k, v in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        arguments = [_build(item) for item in node.args]
        if node.func.id == "pack":
            return join_bodies(arguments)
        if node.func.id == "hex":
            return bytes.fromhex(arguments[0])
    raise AssertionError(f"not part of the notation: {ast.dump(node)}")


def fits(expected: Any, got: Any) -> bool:
    if expected is ...:
        return True
    if isinstance(expected, list):
        if not isinstance(got, (list, tuple)):
            return False
        if len(expected) > 0 and expected[-1] is ... and len(got) >= len(expected) - 1:
            expected, got = expected[:-1], got[: len(expected) - 1]
        return len(expected) == len(got) and all(map(fits, expected, got))
    if isinstance(expected, dict):
        is_open = expected.pop(..., None) is ...
        if not isinstance(got, dict) or (not is_open and set(expected) != set(got)):
            return False
        return all(key in got and fits(value, got[key]) for key, value in expected.items())
    return type(expected) is type(got) and expected == got


def open_map(text: str) -> str:
    """Make the `...` at a map's end something that Python can read."""
    return re.sub(r"(?<!: )\.\.\.\s*}", "...: ...}", text)


@pytest.mark.parametrize("transcript", transcripts(), ids=lambda t: f"line-{t.line}")
def test_transcript(transcript):
    with running_server() as server, Raw(server, transcript.user) as connection:
        for line in transcript.lines:
            side, _, text = line.partition(": ")
            if side == "C":
                value = value_of(text)
                if isinstance(value, bytes):
                    connection.send_bytes(value)
                else:
                    connection.send(value)
            elif text == "closed":
                assert connection.is_closed()
            else:
                assert side == "S", line
                got = connection.read()
                assert fits(value_of(open_map(text)), got), f"{line}\ngot: {got}"


def test_there_are_transcripts_for_every_verb():
    said = {
        value_of(line[3:])[0] for t in transcripts() for line in t.lines if line.startswith("C: [")
    }
    from mqwire.verbs import VERBS

    assert set(VERBS) <= said


def test_the_notation_can_fail():
    assert not fits([1, "OK"], (1, "OK", 2))
    assert not fits({"a": 1}, {"a": 1, "b": 2})
    assert not fits([1, "OK", {"a": 1, ...: ...}], (1, "OK", {"a": 2}))
    assert fits([1, "OK", ...], (1, "OK"))
    assert fits({"a": 1, ...: ...}, {"a": 1, "b": 2})


def test_the_client_in_the_document_works():
    text = (ROOT / "PROTOCOL.md").read_text()
    code = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(compile(code[1], "PROTOCOL.md", "exec"), namespace)
    with running_server() as server:
        client = namespace["TinyClient"](server.host, server.port, {"token": server.address.token})
        assert client.who["role"] == "admin"
        client.call("CREATE", "jobs")
        assert client.push("jobs", "one", b"two", "three") == 1
        assert client.pull("jobs", 2) == ["one", b"two"]
        assert client.pull("jobs", 9, wait=1) == ["three"]
        assert client.pull("jobs", 9, wait=0.01) == []
        with pytest.raises(RuntimeError, match="QUEUE_NOT_FOUND"):
            client.push("nowhere", "x")
        client.socket.close()
