"""What a pull has found, read as far as its answer needs it. Floor 2: pure.

Of most messages there is nothing to tell but an id and a body: an answer with many is made of
the bodies as they came in, with a few C calls for all of them and no object for each.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from mqclient.batches import read_messages, read_plain
from mqwire.runs import ids_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqclient.messages import Message, Source
    from mqwire.frames import Frame


class Found:
    """Messages that a pull has found.

    Args:
        frame: the reply.
        source: what they have in common.

    Raises:
        LookupError, TypeError, ValueError: the reply does not have the form of one.
    """

    __slots__ = ("_frame", "_messages", "_source", "plain", "runs")

    def __init__(self, frame: Frame, source: Source) -> None:
        self._frame = frame
        self._source = source
        self._messages: list[Message] | None = None
        self.runs: Sequence[int] = frame[2]
        """Their ids."""
        self.plain = read_plain(frame)
        """Their raw bodies, where there is nothing else to tell of them but ids; else None."""
        if self.plain is None:
            self._messages = list(read_messages(frame, source))

    def __len__(self) -> int:
        return sum(self.runs[1::2])

    @property
    def messages(self) -> list[Message]:
        """They themselves."""
        if self._messages is None:
            self._messages = read_messages(self._frame, self._source)[: len(self)]
        return self._messages

    @property
    def raws(self) -> list[Any]:
        """Their raw bodies."""
        return [each.raw for each in self.messages] if self.plain is None else self.plain

    @property
    def shown_runs(self) -> str:
        """The runs of the ids, as text."""
        return ",".join(map(str, self.runs))

    def cut(self, most_bytes: int) -> list[int]:
        """Keep as many messages as have runs that fit, and return the ids of the others.

        Args:
            most_bytes: that their runs may have as text.
        """
        text = self.shown_runs
        if len(text) <= most_bytes:
            return []
        fitting = text[: most_bytes + 1].count(",") // 2 * 2  # a run is two numbers
        over = list(ids_of(self.runs[fitting:]))
        self.runs = self.runs[:fitting]
        if self._messages is not None:
            self._messages = list(islice(self._messages, len(self)))
        if self.plain is not None:
            self.plain = self.plain[: len(self)]
        return over
