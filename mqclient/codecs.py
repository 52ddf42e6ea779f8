"""How bodies become bytes or text and back. Floor 1.

On the wire a body is binary or text. What it means follows from the message
alone, so every client can read what any other has pushed:

    binary, no header `codec`     the bytes themselves
    text, no header `codec`       JSON
    header `codec: NAME`          what the codec NAME makes of it

A client's own codec therefore only decides how it encodes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgpack

from mqclient.checks import check_callable
from mqclient.errors import ArgumentError, ConfigurationError, InterfaceError
from mqclient.typed import to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CODEC_HEADER: Final = "codec"
Raw: TypeAlias = bytes | str

_encode_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=to_plain
).encode
_decode_json = json.JSONDecoder().decode


@dataclass(frozen=True)
class Codec:
    """A user's own way to encode bodies.

    Every body goes through it, bytes too, and its messages carry the header
    `codec: name`; whoever pulls them needs a client with a codec of the same name.

    Args:
        name: what the header says.
        encode: makes bytes or text of a body.
        decode: makes a body of bytes or text, as `encode` returned them.
    """

    name: str
    encode: Callable[[Any], bytes | str]
    decode: Callable[[Any], Any]

    def __post_init__(self) -> None:
        """Refuse what could not work.

        Raises:
            ArgumentError: a part of it is of the wrong kind.
        """
        if not isinstance(self.name, str):
            raise ArgumentError(f"the name of a codec is a text, not {self.name!r}")
        check_callable(self.encode, "encode")
        check_callable(self.decode, "decode")


class JsonText(str):
    """A JSON document as text: the codec `json` sends it as it is, not as a JSON string.

    Nothing checks that it is JSON, and no digit or space of it is lost.
    """

    __slots__ = ()


class Encoder:
    """Encodes the bodies of one client.

    Args:
        codec: `json`, `msgpack`, `raw` or a `Codec`.

    Raises:
        ConfigurationError: there is no such codec, or its name is taken.
    """

    def __init__(self, codec: str | Codec) -> None:
        if isinstance(codec, Codec):
            if not codec.name or codec.name in _OWN:
                raise ConfigurationError(
                    f"a codec of one's own cannot have the name {codec.name!r}"
                )
            name, encode = codec.name, _guarded(codec)
        elif codec in _OWN:
            name, encode = codec, _OWN[codec][0]
        else:
            known = ", ".join(_OWN)
            raise ConfigurationError(
                f"there is no codec {codec!r}; there are {known} and Codec(...)"
            )
        self.encode: Callable[[Any], Raw] = encode
        """Makes bytes or text of a body; raises InterfaceError if it cannot."""
        self.mark = None if name in ("json", "raw") else {CODEC_HEADER: name}
        """The header that goes with what was encoded, or None."""
        self.marks_all = self.mark is None or isinstance(codec, Codec)
        """Whether `mark` goes with all bodies alike."""
        self._keeps_bytes = not isinstance(codec, Codec)

    def encode_all(self, bodies: list[Any]) -> list[Raw]:
        """Make bytes or text of many bodies; bytes alone are as they are, and cost no call."""
        if self._keeps_bytes and _BYTES_ALONE.issuperset(map(type, bodies)):
            return bodies
        return list(map(self.encode, bodies))

    def is_marked(self, body: Any) -> bool:
        """Tell whether `body` is sent with the header `codec`."""
        return self.mark is not None and (self.marks_all or type(body) not in _BYTES_LIKE)

    def headers_of(self, body: Any, headers: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return the headers that `body` is sent with, or None for none.

        Raises:
            InterfaceError: the caller has set the reserved header for a body that this
                client encodes.
        """
        if headers:
            is_marked = self.is_marked(body)
            if CODEC_HEADER in headers and (is_marked or type(body) not in _BYTES_LIKE):
                raise InterfaceError(
                    f"the header {CODEC_HEADER!r} is the client's; it may be given with bytes only"
                )
            return {**headers, **(self.mark or {})} if is_marked else dict(headers)
        return self.mark if self.is_marked(body) else None


def decoders(codec: str | Codec) -> dict[str, Callable[[Any], Any]]:
    """Return how to decode each value of the header `codec` that a client knows."""
    known = {name: decode for name, (_, decode) in _OWN.items()}
    if isinstance(codec, Codec):
        known[codec.name] = codec.decode
    return known


def decode_plain(raw: Any) -> Any:
    """Decode a body that no header marks: text is JSON, everything else is itself."""
    return _decode_json(raw) if type(raw) is str else raw


def encode_result(value: Any) -> Raw:
    """Encode what a worker attaches to a message: bytes stay, all else becomes JSON text.

    Raises:
        InterfaceError: JSON cannot hold it.
    """
    return _json(value)


def decode_result(raw: Any) -> Any:
    """Decode what a worker has attached; text that is no JSON is itself."""
    try:
        return decode_plain(raw)
    except ValueError:
        return raw


def _json(body: Any) -> Raw:
    if type(body) in _BYTES_LIKE:
        return bytes(body)
    if type(body) is JsonText:
        return str(body)
    try:
        return _encode_json(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise _cannot("JSON", body, error) from error


def _msgpack(body: Any) -> Raw:
    if type(body) in _BYTES_LIKE:
        return bytes(body)
    try:
        packed: bytes = msgpack.packb(body, default=to_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _cannot("msgpack", body, error) from error
    return packed


def _raw(body: Any) -> Raw:
    if type(body) in _BYTES_LIKE:
        return bytes(body)
    raise InterfaceError(f"the codec raw takes bytes, not {type(body).__name__}")


def _guarded(codec: Codec) -> Callable[[Any], Raw]:
    def encode(body: Any) -> Raw:
        try:
            raw = codec.encode(body)
        except Exception as error:
            raise _cannot(f"codec {codec.name}", body, error) from error
        if type(raw) not in (bytes, str):
            made = type(raw).__name__
            raise InterfaceError(f"the codec {codec.name} made {made} of a body, not bytes or str")
        return raw

    return encode


def _cannot(form: str, body: Any, error: Exception) -> InterfaceError:
    return InterfaceError(f"{form} cannot hold this body of type {type(body).__name__}: {error}")


def _unpack(raw: Any) -> Any:
    return msgpack.unpackb(raw, strict_map_key=False)


_BYTES_LIKE: Final = (bytes, bytearray, memoryview)
_BYTES_ALONE: Final = {bytes}
_OWN: Final[dict[str, tuple[Callable[[Any], Raw], Callable[[Any], Any]]]] = {
    "json": (_json, _decode_json),
    "msgpack": (_msgpack, _unpack),
    "raw": (_raw, lambda raw: raw),
}
