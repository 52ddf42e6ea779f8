"""Dead messages and dead letters: where they are, and what there is to tell of them. Floor 4.

A message that is not to be tried again is in one of two places. Where its queue has a
dead-letter queue it has moved there, and is an ordinary ready message of that queue with an
*origin*. Otherwise it has stayed in its queue, in the state *dead*. Both are found here.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mqclient.ctl import bodies, output
from mqclient.ctl.pull import peeked
from mqwire.limits import MAX_QUEUE_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqclient.client import Client
    from mqclient.messages import Message
    from mqclient.models import Attempt

CAUSES: Final = {
    "nack": "failed",
    "reject": "rejected",
    "expired": "lease ran out",
    "gone": "worker lost",
    "hand_back": "handed back",
    "ttl": "waited too long",
}
"""What a delivery's end is called when people are told."""

_SHOWN_BODY_CHARS: Final = 2000


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


def story(letter: Letter) -> list[str]:
    """Return all about a letter as lines for a person."""
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
    body = bodies.to_document(message.raw)
    shown = body[:_SHOWN_BODY_CHARS]
    cut = "..." if len(body) > len(shown) else ""
    facts.append(("body", shown + cut))
    lines += [f"{name:<14}{value}" for name, value in facts]
    history = message.history
    forgotten = max(message.deliveries - len(history), 0)
    if forgotten:
        first = output.count_of(forgotten, "delivery", "deliveries")
        lines += ["", f"of the first {first} nothing is known any more"]
    for number, attempt in enumerate(history, forgotten + 1):
        lines += ["", *_chapter(number, attempt)]
    return lines


def _kind(letter: Letter) -> str:
    origin = letter.message.origin
    if origin is None:
        return "dead in its own queue"
    return f"a dead letter: it was message {origin.id} of {origin.queue}"


def _chapter(number: int, attempt: Attempt) -> Iterator[str]:
    """Yield the lines about one delivery."""
    lasted = output.human_age(max(attempt.ended_at - attempt.leased_at, 0.0))
    began = output.moment(attempt.leased_at)
    cause = CAUSES.get(attempt.cause, attempt.cause)
    yield f"delivery {number}: {cause} after {lasted}, begun {began}"
    yield f"  by {_owner(attempt.owner)}"
    # Each line by itself, so that a traceback is shown as text and not as one long line.
    yield from (f"  | {line}".rstrip() for line in attempt.reason.rstrip().splitlines())


def _owner(owner: Any) -> str:
    if not owner:
        return "nobody"
    if not isinstance(owner, dict):
        return str(owner)
    words = [str(owner.get("instance", "unknown"))]
    words += [f"{word} {owner[key]}" for key, word in _OWNER_WORDS.items() if owner.get(key)]
    return ", ".join(words)


_OWNER_WORDS: Final = {"host": "on host", "peer": "from", "client": "client"}
