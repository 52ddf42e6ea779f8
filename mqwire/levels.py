"""The durability levels, weakest first. Floor 0.

A level says what has happened to a record when the reply that rests on it
leaves the server; PROTOCOL.md section 6 says what each survives.
"""

from __future__ import annotations

from enum import IntEnum


class Level(IntEnum):
    """How far a record has come; comparable."""

    ACCEPTED = 0
    """In the server's memory."""
    WRITTEN = 1
    """In the kernel: survives the death of the server process."""
    SYNCED = 2
    """On the disk: survives loss of power."""

    @property
    def word(self) -> str:
        """The lower-case word used on the wire, in the config and in text."""
        return self.name.lower()


LEVELS: dict[str, Level] = {level.word: level for level in Level}
