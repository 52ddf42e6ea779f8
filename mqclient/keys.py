"""Keys that a client sends with its pushes, so that each can be sent again. Floor 1: no I/O.

A key has to differ from all others that a queue remembers. So it begins with what one client
object has drawn at random, and ends with a number that counts its pushes: that costs a push a
few bytes and no look at the system's source of randomness. A forked child draws another one.
"""

from __future__ import annotations

import secrets
from itertools import count
from typing import TYPE_CHECKING, Final

from mqclient.errors import InterfaceError
from mqwire.limits import MAX_KEY_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANDOM_BYTES: Final = 12
_COUNT_CHARS: Final = 10
"""What the number of a frame may take behind a key that was given for many."""


class Keys:
    """The keys of one client. Thread-safe: counting is one step of the interpreter."""

    def __init__(self) -> None:
        self._prefix = secrets.token_urlsafe(_RANDOM_BYTES)
        self._numbers = count(1)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return f"{self._prefix}.{next(self._numbers):x}"


def keys_of_frames(key: object) -> Iterator[str]:
    """Yield the keys of one frame after the other, where the user has given one for all.

    The same bodies are cut into the same frames, so the same keys come with them again.

    Raises:
        InterfaceError: it is no text, or has no room for the number of a frame.
    """
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARS - _COUNT_CHARS:
        most = MAX_KEY_CHARS - _COUNT_CHARS
        raise InterfaceError(f"a key for many messages is a text of 1 to {most} characters")
    return _numbered(key)


def _numbered(key: str) -> Iterator[str]:
    yield key
    for number in count(2):
        yield f"{key}/{number}"
