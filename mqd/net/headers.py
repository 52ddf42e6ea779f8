"""Headers as they come over the wire, checked and turned into runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.limits import MAX_HEADER_KEY_CHARS, MAX_HEADERS, MAX_HEADERS_BYTES

if TYPE_CHECKING:
    from mqd.engine.base import HeaderRuns

_SCALARS = (type(None), bool, int, float, str, bytes)
_packer = msgpack.Packer()


def header_runs(headers: Any, count: int) -> HeaderRuns:
    """Turn the option `headers` of a PUSH into runs.

    Args:
        headers: one map for all messages, or a tuple with a map or None for each.
        count: how many messages the push has.

    Returns:
        Runs `(offset, count, headers, encoded bytes)`, by offset; messages whose headers
        are None or empty are in none.

    Raises:
        RequestError: BAD_HEADERS, naming the message and what is wrong with its headers.
    """
    if headers == {}:
        return ()
    if type(headers) is dict:
        size_bytes = _check(headers, 0)
        return ((0, count, headers, size_bytes),)
    if len(headers) != count:
        raise _bad(f"there are headers for {len(headers)} messages, but {count} messages")
    return tuple(
        (offset, 1, values, _check(values, offset))
        for offset, values in enumerate(headers)
        if values is not None and values != {}
    )


def _check(values: Any, offset: int) -> int:
    """Return the encoded size of one message's headers in bytes."""
    if type(values) is not dict:
        raise _bad(f"those of message {offset} are not a map")
    if len(values) > MAX_HEADERS:
        raise _bad(f"message {offset} has {len(values)} of them; {MAX_HEADERS} may be")
    for key, value in values.items():
        if len(key) > MAX_HEADER_KEY_CHARS:
            raise _bad(
                f"message {offset} has a key of {len(key)} characters; "
                f"{MAX_HEADER_KEY_CHARS} may be"
            )
        if type(value) not in _SCALARS:
            raise _bad(
                f"message {offset}: the value of '{key}' is neither nil, a boolean, a number, "
                "text nor binary"
            )
    size_bytes = len(_packer.pack(values))
    if size_bytes > MAX_HEADERS_BYTES:
        raise _bad(f"those of message {offset} have {size_bytes} bytes; {MAX_HEADERS_BYTES} may be")
    return size_bytes


def _bad(why: str) -> RequestError:
    return RequestError(Code.BAD_HEADERS, f"the headers cannot be taken: {why}")
