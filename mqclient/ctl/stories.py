"""What a message has been through, as lines for people. Floor 4: pure.

Each delivery that ended otherwise than well has a chapter: who had it, for how long, how it
ended, and the reason that was given. A reason is a traceback as a rule, and of a traceback
the frames of the user's own code say where to look; those of Python and of this library say
nothing that their callers do not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mqclient.ctl import bodies, output
from mqwire.limits import DEFAULT_PRIORITY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
_frame_of: Final = re.compile(r'  File "(.*)", line \d+').match
_is_foreign: Final = re.compile(
    r"^<frozen |(^|[\\/])(mqclient|mqwire)[\\/]"
    r"|[\\/]lib(64)?[\\/]python3(\.\d+)?[\\/](?!site-packages|dist-packages)"
).search
"""Whether a file is one of Python itself or of this library; installed packages are others'."""
_OWNER_WORDS: Final = {"host": "on host", "peer": "from", "client": "client"}


def facts_of(message: Message, state: str) -> list[str]:
    """Return what is known of a message that was peeked at, without its deliveries."""
    facts = [
        ("failed", output.count_of(message.attempts, "time")),
        ("workers lost", str(message.losses)),
        ("delivered", output.count_of(message.deliveries, "time")),
    ]
    if message.priority != DEFAULT_PRIORITY:
        facts.append(("priority", str(message.priority)))
    if message.due_at is not None:
        facts.append(("due", output.moment(message.due_at)))
    if message.expires_at is not None:
        facts.append(("expires", output.moment(message.expires_at)))
    if message.holder is not None:
        facts += [("worker", message.holder), ("lease", str(message.lease))]
    if message.deadline_at is not None:
        facts.append(("until", f"{output.moment(message.deadline_at)}, unless it is extended"))
    facts += [("header", f"{key}={value}") for key, value in message.headers.items()]
    facts.append(("body", body_of(message)))
    heading = f"message {message.id} of {message.queue}, {state}"
    return [heading, *(f"{name:<14}{value}" for name, value in facts)]


def fields_of(message: Message) -> dict[str, Any]:
    """Return the same, and the deliveries, for JSON; without what there is not."""
    known = {
        "deliveries": message.deliveries,
        "attempts": message.attempts,
        "losses": message.losses,
        "priority": message.priority,
        "history": [vars(attempt) for attempt in message.history],
    }
    more = {
        "origin": None if message.origin is None else vars(message.origin),
        "due_at": message.due_at,
        "expires_at": message.expires_at,
        "lease": None if message.lease is None else str(message.lease),
        "holder": message.holder,
        "deadline_at": message.deadline_at,
        "state": message.state,
    }
    return {**known, **{name: value for name, value in more.items() if value is not None}}


def body_of(message: Message) -> str:
    """Return a message's body as one JSON document, cut where it is long."""
    body = bodies.to_document(message.raw)
    shown = body[:_SHOWN_BODY_CHARS]
    return shown + ("..." if len(body) > len(shown) else "")


def chapters(message: Message, *, full: bool) -> list[str]:
    """Return the deliveries of a message that have ended, as far as the server knows them.

    Args:
        message: one that was peeked at.
        full: whether reasons are given whole. Otherwise tracebacks are without the frames
            that are not the user's, and a reason that is that of the delivery before is not
            repeated.
    """
    history = message.history
    # A delivery that goes on has no entry yet.
    ended = message.deliveries - (message.lease is not None)
    forgotten = max(ended - len(history), 0)
    lines = []
    if forgotten:
        first = output.count_of(forgotten, "delivery", "deliveries")
        lines += ["", f"of the first {first} nothing is known any more"]
    before = ""
    for number, attempt in enumerate(history, forgotten + 1):
        lines += ["", *_heading(number, attempt)]
        reason = attempt.reason.rstrip().splitlines()
        if not full and len(reason) > 1 and attempt.reason == before:
            reason = [f"(the same as of delivery {number - 1})"]
        elif not full:
            reason = own_frames(reason)
        # Each line by itself, so that a traceback is shown as text and not as one long line.
        lines += [f"  | {line}".rstrip() for line in reason]
        before = attempt.reason
    return lines


def own_frames(reason: Sequence[str]) -> list[str]:
    """Return the lines of a reason without the frames that are not the user's.

    Where no frame is the user's all stay: something has to say where it was.
    """
    kept: list[str] = []
    left_out = own = 0
    is_left_out = False
    for line in reason:
        frame = _frame_of(line)
        if frame is not None:
            is_left_out = _is_foreign(frame[1]) is not None
            left_out += is_left_out
            own += not is_left_out
        elif not line.startswith(("    ", "  [Previous line repeated")):
            is_left_out = False
        if not is_left_out:
            kept.append(line)
    if not own or not left_out:
        return list(reason)
    frames = output.count_of(left_out, "frame")
    return [*kept, f"({frames} of Python and of mqclient left out; --full shows all)"]


def owner(who: Any) -> str:
    """Return who had a message, in words."""
    if not who:
        return "nobody"
    if not isinstance(who, dict):
        return str(who)
    words = [str(who.get("instance", "unknown"))]
    words += [f"{word} {who[key]}" for key, word in _OWNER_WORDS.items() if who.get(key)]
    return ", ".join(words)


def _heading(number: int, attempt: Attempt) -> Iterator[str]:
    """Yield the lines of a delivery before its reason."""
    lasted = output.human_age(max(attempt.ended_at - attempt.leased_at, 0.0))
    began = output.moment(attempt.leased_at)
    cause = CAUSES.get(attempt.cause, attempt.cause)
    yield f"delivery {number}: {cause} after {lasted}, begun {began}"
    yield f"  by {owner(attempt.owner)}"
