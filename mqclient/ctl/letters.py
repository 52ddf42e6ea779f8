"""Dead messages and dead letters: where they are, and what there is to tell of them. Floor 4.

A message that is not to be tried again is in one of two places. Where its queue has a
dead-letter queue it has moved there, and is an ordinary ready message of that queue with an
*origin*. Otherwise it has stayed in its queue, in the state *dead*. Both are found here.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mqclient.ctl import output, stories
from mqclient.ctl.pull import peeked
from mqclient.ctl.stories import CAUSES
from mqwire.limits import MAX_QUEUE_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqclient.client import Client
    from mqclient.messages import Message


class Letter(NamedTuple):
    """A message that is not to be tried again.

    Args:
        message: the message.
        state: `dead` for one that has stayed in its queue, `ready` for a dead letter.
    """

    message: Message
    state: str

    @property
    def attempts(self) -> int:
        """How often it failed before it died."""
        origin = self.message.origin
        return self.message.attempts if origin is None else origin.attempts

    @property
    def losses(self) -> int:
        """How often its worker was lost before it died."""
        origin = self.message.origin
        return self.message.losses if origin is None else origin.losses

    @property
    def died_at(self) -> float | None:
        """When its last delivery ended, in seconds since 1970; None if nothing is known."""
        history = self.message.history
        return history[-1].ended_at if history else None


def letters_in(client: Client, queue: str) -> Iterator[Letter]:
    """Yield the dead messages of a queue and the dead letters in it, and look at no more.

    A queue in which there are many ready messages and no dead letters is not read to its
    end, unless it is the dead-letter queue of another.

    Raises:
        MqError: the server refused, or could not be reached.
    """
    peek = partial(client.peek, queue)
    if client.info(queue).dead:
        for messages in peeked(partial(peek, state="dead"), MAX_QUEUE_MESSAGES):
            yield from (Letter(message, "dead") for message in messages)
    is_for_letters: bool | None = None
    for messages in peeked(peek, MAX_QUEUE_MESSAGES):
        letters = [Letter(each, "ready") for each in messages if each.origin is not None]
        yield from letters
        if is_for_letters is None:
            is_for_letters = bool(letters) or bool(sources_of(client, queue))
        if not is_for_letters:
            return


def sources_of(client: Client, queue: str) -> list[str]:
    """Return the names of the queues whose dead letters go to `queue`."""
    return [info.queue for info in client.queues() if info.options.get("dead_letter") == queue]


def gist(reason: str) -> str:
    """Return the line of a reason that says most: of a traceback, and of others, the last."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def row(letter: Letter, now: float) -> list[str]:
    """Return a letter as a row of a table.

    Args:
        letter: the letter.
        now: in seconds since 1970.
    """
    message, died_at = letter.message, letter.died_at
    when = "-" if died_at is None else f"{died_at:.3f}"
    if output.stdout_is_terminal():
        when = output.human_age(None if died_at is None else max(now - died_at, 0.0))
    history, origin = message.history, message.origin
    return [
        str(message.id),
        letter.state,
        "-" if origin is None else origin.queue,
        "-" if origin is None else str(origin.id),
        str(letter.attempts),
        str(letter.losses),
        when,
        CAUSES.get(history[-1].cause, history[-1].cause) if history else "-",
        (gist(history[-1].reason) if history else "") or "-",
    ]


def fields(letter: Letter) -> dict[str, Any]:
    """Return what is told of a letter in JSON beside its body."""
    message = letter.message
    origin = message.origin
    return {
        "state": letter.state,
        "origin": None if origin is None else vars(origin),
        "attempts": letter.attempts,
        "losses": letter.losses,
        "deliveries": message.deliveries,
        "died_at": letter.died_at,
        "history": [vars(attempt) for attempt in message.history],
    }


def story(letter: Letter, *, full: bool) -> list[str]:
    """Return all about a letter as lines for a person; see `stories.chapters` for `full`."""
    message, origin = letter.message, letter.message.origin
    lines = [f"message {message.id} of {message.queue}, {_kind(letter)}"]
    facts = []
    if origin is not None:
        facts.append(("pushed", output.moment(origin.pushed_at)))
    if letter.died_at is not None:
        ago = output.human_age(max(time.time() - letter.died_at, 0.0))
        facts.append(("died", f"{output.moment(letter.died_at)} ({ago} ago)"))
    facts.append(("failed", output.count_of(letter.attempts, "time")))
    facts.append(("workers lost", str(letter.losses)))
    facts.append(("delivered", output.count_of(message.deliveries, "time")))
    facts += [("header", f"{key}={value}") for key, value in message.headers.items()]
    facts.append(("body", stories.body_of(message)))
    lines += [f"{name:<14}{value}" for name, value in facts]
    return lines + stories.chapters(message, full=full)


def _kind(letter: Letter) -> str:
    origin = letter.message.origin
    if origin is None:
        return "dead in its own queue"
    return f"a dead letter: it was message {origin.id} of {origin.queue}"
