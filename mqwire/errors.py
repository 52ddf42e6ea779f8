"""The error that carries a code. Floor 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mqwire.codes import Code


class CodedError(Exception):
    """Something that is answered with an error frame.

    Args:
        code: the registered code.
        message: one sentence for people: what was wrong, with the values, and what to do.
        details: the same for machines; small, and values that msgpack can hold.
    """

    def __init__(self, code: Code, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.details: dict[str, Any] = dict(details or {})


class StreamError(CodedError):
    """The byte stream broke the rules of framing: nothing after it can be read."""


class RequestError(CodedError):
    """One request broke the rules of its verb: the next one can be read."""
