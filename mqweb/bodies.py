"""Bodies of messages in JSON, and headers. Floor 2: pure.

A body that is a JSON document stands as it is. What is none is marked:

    {"body": {"lr": 0.1}}                              a JSON document
    {"body": "AAEC", "encoding": "base64"}             bytes
    {"body": "plain words", "encoding": "text"}        text that is no JSON document

A JSON document is carried as the text that it was: no digit of it is changed on the way. A header
whose value is bytes is `{"base64": "AAEC"}`.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mqclient.codecs import CODEC_HEADER
from mqweb.problems import Problem
from mqwire.codes import Code, GatewayCode
from mqwire.json_text import base64_of
from mqwire.limits import MAX_HEADERS, MAX_HEADERS_BYTES
from mqwire.runs import ids_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mqclient.messages import Message

BASE64: Final = "base64"
TEXT: Final = "text"
JSON: Final = "json"

_MOST_HEADERS_BYTES: Final = 8 * MAX_HEADERS_BYTES  # as JSON, with escapes


class _Bytes(msgspec.Struct, forbid_unknown_fields=True):
    """A value of a header that is bytes."""

    base64: str


_decode_scalar = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_bytes = msgspec.json.Decoder(_Bytes).decode
_decode_headers = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_lines = msgspec.json.Decoder(msgspec.Raw).decode_lines


def raw_of(body: msgspec.Raw, encoding: str) -> bytes | str:
    """Return a body as it goes over the wire.

    Raises:
        Problem: it is not what its encoding says.
    """
    text = bytes(body)
    if encoding == JSON:
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Problem(GatewayCode.MALFORMED_BODY, f"a body is no JSON: {error}") from error
    try:
        value = _decode_text(text)
    except msgspec.ValidationError as error:
        sentence = f"a body with the encoding {encoding} is a string"
        raise Problem(Code.WRONG_TYPE, sentence) from error
    return value if encoding == TEXT else _from_base64(value, "body")


def check_json(document: bytes) -> None:
    """Judge whether something is a JSON document, without making anything of it.

    Raises:
        DecodeError, RecursionError: it is none.
    """
    _decode_raw(document)


def shown(raw: Any, headers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a body as members of a JSON object: `body`, and `encoding` where it is needed."""
    if type(raw) is str:
        if headers is None or CODEC_HEADER not in headers:
            text = raw.encode("utf-8")
            try:
                check_json(text)
            except (msgspec.DecodeError, RecursionError):
                return {"body": raw, "encoding": TEXT}
            return {"body": msgspec.Raw(text)}
        return {"body": raw, "encoding": TEXT}
    if type(raw) is bytes:
        return {"body": base64_of(raw), "encoding": BASE64}
    return {"body": repr(raw), "encoding": TEXT}  # of a foreign client: no bytes, no text


def lines_of(texts: Sequence[Any]) -> bytes | None:
    """Return texts as lines where each is a JSON document on one line, else None.

    Every line ends.
    """
    try:
        if any(["\n" in each for each in texts]):  # noqa: C419  faster than a generator
            return None
        lines = "\n".join([*texts, ""]).encode()
    except TypeError:  # one is no text
        return None
    return lines if count_lines(lines) == len(texts) else None


def count_lines(text: str | bytes) -> int:
    """Return how many JSON documents a text is made of; -1 where it is made of something else.

    They stand on lines of their own, and may go on on the next one: so there are as many of them
    as lines only where each line is one. It is one C call for all of them.
    """
    try:
        return len(_decode_lines(text))
    except (msgspec.DecodeError, RecursionError):
        return -1


def shown_plain(runs: Sequence[int], raws: Sequence[Any]) -> str | None:
    """Return messages of which there is nothing to tell but id and body, as they stand in JSON.

    None where one has no JSON document; then each is to be looked at by itself.
    """
    if lines_of(raws) is None:
        return None
    pairs = zip(ids_of(runs), raws, strict=True)
    return ",".join([f'{{"id":{each},"body":{raw},"deliveries":1}}' for each, raw in pairs])


def shown_result(raw: bytes | str | None) -> dict[str, Any]:
    """Return a result, as `result` and `result_encoding`; nothing where there is none."""
    if raw is None:
        return {}
    members = shown(raw)
    found = {"result": members["body"]}
    if "encoding" in members:
        found["result_encoding"] = members["encoding"]
    return found


def headers_of(document: msgspec.Raw | bytes | msgspec.UnsetType) -> dict[str, Any] | None:
    """Return headers, a JSON object, as they go over the wire; None where there are none.

    Raises:
        Problem: they are no object, too many or too long, or a value is no scalar.
    """
    if isinstance(document, msgspec.UnsetType):
        return None
    text = bytes(document)
    if text == b"null":
        return None
    if len(text) > _MOST_HEADERS_BYTES:
        raise Problem(
            Code.BAD_HEADERS,
            f"headers of {len(text)} bytes are more than may be",
            {"limit": _MOST_HEADERS_BYTES, "asked": len(text)},
        )
    try:
        values = _decode_headers(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(Code.BAD_HEADERS, f"`headers` is no JSON object: {error}") from error
    if len(values) > MAX_HEADERS:
        raise Problem(
            Code.BAD_HEADERS,
            f"{len(values)} headers are more than a message may have",
            {"limit": MAX_HEADERS, "asked": len(values)},
        )
    return {name: _scalar(name, bytes(value)) for name, value in values.items()} or None


def shown_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers as they stand in JSON."""
    return {
        name: {BASE64: base64_of(value)} if type(value) is bytes else value
        for name, value in headers.items()
    }


def shown_message(message: Message) -> dict[str, Any]:
    """Return a message as members of a JSON object, with what is worth telling alone."""
    headers = message.headers
    members = {"id": message.id, **shown(message.raw, headers)}
    if headers:
        members["headers"] = shown_headers(headers)
    members["deliveries"] = message.deliveries
    for name in ("attempts", "losses"):
        count = getattr(message, name)
        if count:
            members[name] = count
    return members


def _scalar(name: str, document: bytes) -> Any:
    try:
        if document.startswith(b"{"):
            return _from_base64(_decode_bytes(document).base64, f"header {name}")
        if not document.startswith(b"["):
            return _decode_scalar(document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _no_scalar(name) from error
    raise _no_scalar(name)


def _no_scalar(name: str) -> Problem:
    return Problem(
        Code.BAD_HEADERS,
        f"the header {name!r} is no null, boolean, number, string or {{'base64': string}}",
        {"header": name},
    )


def _from_base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii's too
        raise Problem(Code.WRONG_TYPE, f"the {what} is no base64") from error
