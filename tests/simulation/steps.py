"""Steps as they are judged: each part as a request of its own, and what binds the parts.

A step that was refused has a part that was, and others of which nothing is known but that they
have not happened. One that comes again with its key is the same step: only one of its tries has
happened, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from mqwire.packs import join_bodies
from simulation.history import NEVER, Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulation.history import LeaseId, Moment

NOT_DONE = ("ERR", "NOT_DONE")
"""Stands for the reply to a part of a step in which another part was refused."""


class Part(Op):
    """A part of a step, as if it had been sent by itself.

    Args:
        step: the request.
        index: of the part.
        pack: the bodies, of a push.
    """

    __slots__ = ("step", "until")

    def __init__(self, step: Op, index: int, pack: bytes) -> None:
        verb, *arguments = step.parts[0][index]
        self.number = step.number
        self.conn = step.conn
        self.who = step.who
        self.verb = verb
        self.options = arguments.pop() if type(arguments[-1]) is dict else {}
        self.parts = (*arguments, pack) if verb == "PUSH" else tuple(arguments)
        self.came, self.left = step.came, step.left
        self.step = step
        self.until: Moment = min(step.left, step.conn.ended)
        self.reply = _reply_of(step, index)

    @property
    def end(self) -> Moment:
        return self.until


class StepSeen:
    """A step: all requests that were there with one key, or one without.

    Args:
        tries: these requests, in the order of sending.
        holders: who has been seen to be given which lease.
    """

    __slots__ = ("parts", "tries")

    def __init__(self, tries: list[Op], holders: Mapping[LeaseId, str]) -> None:
        self.tries = tries
        self.parts: list[list[Part]] = []
        """Each part's tries."""
        packs = _packs(tries[0])
        for index in range(len(tries[0].parts[0])):
            parts = [Part(each, index, packs[index]) for each in tries]
            if parts[0].verb != "PUSH":
                parts = _merged(parts, holders.get(tuple(parts[0].parts[0])))
            self.parts.append(parts)

    @property
    def end(self) -> Moment:
        """It has not happened later than this."""
        return max((each.end for each in self.tries if each.error is None), default=NEVER)

    def pushes(self) -> Iterator[list[Part]]:
        """Yield the tries of each part that is a push."""
        return (parts for parts in self.parts if parts[0].verb == "PUSH")

    def settlements(self) -> Iterator[Part]:
        """Yield those of the others that may have happened, or were refused."""
        for parts in self.parts:
            if parts[0].verb != "PUSH":
                yield from parts


def is_repeat(op: Op) -> bool:
    """Tell whether a step, or a push, was answered as one that had happened before."""
    return op.is_ok and op.reply is not None and op.reply[3:4] == (True,)


def _packs(step: Op) -> dict[int, bytes]:
    """Return the packs of the parts that are pushes."""
    bodies = list(_unpacked(step.parts[1]))
    packs = {}
    for index, part in enumerate(step.parts[0]):
        packs[index] = b""
        if part[0] == "PUSH":
            packs[index], bodies = join_bodies(bodies[: part[2]]), bodies[part[2] :]
    return packs


def _unpacked(pack: bytes) -> Iterator[Any]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(pack)
    return iter(unpacker)


def _reply_of(step: Op, index: int) -> tuple[Any, ...] | None:
    reply = step.reply
    if reply is None:
        return None
    if reply[0] == "OK":
        return ("OK", reply[1][index], reply[2], *reply[3:4])
    refused = reply[3].get("part")
    if refused != index:
        return NOT_DONE
    named = step.parts[0][index][1]
    if any(part[1] == named for part in step.parts[0][:index]):
        return NOT_DONE  # an earlier part has settled that lease
    return reply


def _merged(parts: list[Part], holder: str | None) -> list[Part]:
    """Make one of the tries to settle a lease of which one was answered as a repeat.

    Of those without an answer it was one of the holder's, if there is one.
    """
    firm = [part for part in parts if part.is_ok and not is_repeat(part)]
    repeats = [part for part in parts if is_repeat(part)]
    if firm or not repeats:
        return [part for part in parts if not is_repeat(part)]
    refused = [part for part in parts if part.error is not None]
    alive = [part for part in parts if part.error is None]
    whole = next((part for part in alive if part.who == holder), alive[0])
    whole.came = min(part.came for part in alive)
    whole.left = whole.until = repeats[0].left
    whole.reply = repeats[0].reply
    return [*refused, whole]
