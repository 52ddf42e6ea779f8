"""Operations that a seed gives, the same for whoever carries them out from the same state.

The one who serves and the one who checks draw them from a broker each: what comes next
depends on the seed and on what is in the queues, and on nothing else.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from mqd.core import records
from mqwire.levels import LEVELS, Level
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.core.broker import Broker
    from mqd.core.queue import Queue
    from mqd.core.records import Record

_NAMES = ("synced-0", "written-0", "accepted-0", "synced-1", "written-1")
_PUSH_MOST = 4


class Shape(NamedTuple):
    """What operations look like.

    Args:
        commit_most: operations in a commit: from 1 to this many, or always this many.
        body_bytes: bodies have up to about so many.
        queue_messages: queues are kept about this long.
        is_even: whether each commit has `commit_most` operations.
    """

    commit_most: int
    body_bytes: int
    queue_messages: int = 12
    is_even: bool = False


class Action(NamedTuple):
    """One operation: its record, and the level that its reply waits for."""

    record: Record
    level: Level


class Script:
    """Draws operations. To be used with one broker, which is not changed here.

    Args:
        broker: on which each operation is planned.
        seed: what it draws from; also the beginning of each body's name.
        shape: see `Shape`.
    """

    def __init__(self, broker: Broker, seed: str, shape: Shape) -> None:
        self._broker = broker
        self._seed = seed
        self._shape = shape
        self._chooser = random.Random(seed)
        self._count = 0

    def commit(self, carry_out: Callable[[Action], None]) -> None:
        """Draw the operations of one commit; each is carried out before the next is drawn."""
        most = self._shape.commit_most
        for _ in range(most if self._shape.is_even else self._chooser.randint(1, most)):
            carry_out(self._draw())

    def _draw(self) -> Action:
        chooser = self._chooser
        self._count += 1
        name = chooser.choice(_NAMES)
        level = LEVELS[name.partition("-")[0]]
        if name not in self._broker:
            options = {"durability": level.word}
            return Action(self._broker.plan_create(name, options, self._now_ms()), level)
        queue = self._broker.queue(name)
        what = chooser.random()
        if what < 0.015:
            return Action(self._broker.plan_delete(name), level)
        if what < 0.03:
            return Action(self._broker.plan_purge(name), level)
        return Action(self._push_or_pull(queue), level)

    def _push_or_pull(self, queue: Queue) -> Record:
        chooser = self._chooser
        if queue.fifo.count > chooser.randrange(2 * self._shape.queue_messages):
            return (records.PULL, queue.uid, chooser.randint(1, queue.fifo.count))
        bodies = [
            make_body(f"{self._seed}.{self._count}.{number}", self._body_bytes())
            for number in range(chooser.randint(1, _PUSH_MOST))
        ]
        headers = ((0, 1, {"k": self._count}, 4),) if chooser.random() < 0.2 else ()
        pack = join_bodies(bodies)
        return self._broker.plan_push(queue.name, len(bodies), pack, headers, self._now_ms())

    def _now_ms(self) -> int:
        """Return a time that goes on from the newest record's, as the server's clock does."""
        return self._broker.clock_ms + self._chooser.randrange(80)

    def _body_bytes(self) -> int:
        chooser = self._chooser
        return chooser.randrange(self._shape.body_bytes) // chooser.choice((1, 1, 8, 64))


def make_body(tag: str, size_bytes: int) -> str:
    """Return the body that goes by a tag, at least as long as the tag."""
    filler = f"<{tag}>"
    return filler + filler * (max(size_bytes - len(filler), 0) // len(filler))


def tag_of(body: object) -> str:
    """Return the tag of a body, or a word of its own for one that nobody has made."""
    if isinstance(body, str) and body.startswith("<"):
        tag = body[1:].partition(">")[0]
        if body == make_body(tag, len(body)):
            return tag
    return f"no body of ours: {body!r:.200}"
