"""Operations on single messages, as generators of calls. Floor 1: no I/O.

As `mqclient.steps`: loops that exist once for both clients.
"""

from __future__ import annotations

import logging
import math
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mqclient import view_calls
from mqclient.checks import check_ids
from mqclient.errors import InterfaceError, MqError, ProtocolError
from mqclient.steps import Patience, Within, is_passing
from mqclient.view_calls import MOST_IDS
from mqclient.view_models import Cancellation, Status
from mqwire.limits import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from mqclient.calls import Call
    from mqclient.steps import Pause

_logger = logging.getLogger("mqclient")
_GRACE_SECONDS: Final = 10.0
"""What a reply may take beside the time that the server holds it back, if nothing is said."""


def ids_of(ids: int | Iterable[int]) -> list[int]:
    """Return ids as a list; one alone may be given as it is.

    Raises:
        InterfaceError: they are no positive integers.
    """
    if type(ids) is int:
        return check_ids([ids])
    if isinstance(ids, list) and not ids:
        return []
    return check_ids(ids)


def status(queue: str, ids: list[int]) -> Generator[Call, list[Status], list[Status]]:
    """Look where messages are; the result is in the order of `ids`."""
    known: dict[int, Status] = {}
    left = sorted(set(ids))
    while left:
        told = yield view_calls.status(queue, left[:MOST_IDS])
        left = _rest(left, told, known)
    return [known[each] for each in ids]


def wait(
    queue: str, ids: list[int], seconds: float, *, was_connected: bool
) -> Generator[Call | Pause | Within, Any, list[Status]]:
    """Wait until all messages have come to an end, `seconds` at most; look then.

    The server holds its reply back; where a connection is lost meanwhile it is asked again.

    Args:
        queue: where.
        ids: the messages.
        seconds: how long; math.inf for no end.
        was_connected: whether the client was connected before: who never was has a wrong
            address more likely than a server that restarts.
    """
    ends_at = monotonic() + seconds
    patience = Patience()
    is_told = False
    known: dict[int, Status] = {}
    left = sorted(set(ids))
    while left:
        remaining = max(ends_at - monotonic(), 0.0)
        call = view_calls.status(queue, left[:MOST_IDS], min(remaining, MAX_WAIT_SECONDS))
        try:
            told: list[Status] = yield Within(call, _GRACE_SECONDS)
        except MqError as error:
            if not (is_passing(error) and was_connected and remaining):
                raise
            if not is_told:
                is_told = True
                _logger.warning(
                    "waiting for messages of %r over a lost connection: %s", queue, error
                )
            yield patience.pause(remaining)
            continue
        was_connected, is_told = True, False
        patience = Patience()
        if ends_at > monotonic():
            told = [each for each in told if each.is_over]
            if not told:
                continue  # the server ended the wait early, as it may
        left = _rest(left, told, known)
    return [known[each] for each in ids]


def cancel(
    queue: str, ids: list[int], durability: str | None
) -> Generator[Call, Cancellation, Cancellation]:
    """Cancel messages, in as many requests as it takes."""
    removed = marked = 0
    named = sorted(set(ids))
    for start in range(0, len(named), MOST_IDS):
        one = yield view_calls.cancel(queue, named[start : start + MOST_IDS], durability)
        removed += one.removed
        marked += one.marked
    return Cancellation(removed, marked)


def seconds_of(timeout: float | None) -> float:
    """Return the seconds of a wait; endless for None.

    Raises:
        InterfaceError: it is no number from 0 on.
    """
    if timeout is None:
        return math.inf
    if type(timeout) not in (int, float) or not timeout >= 0:
        raise InterfaceError(f"timeout must be a number of seconds from 0 on, not {timeout!r}")
    return timeout


def _rest(left: list[int], told: list[Status], known: dict[int, Status]) -> list[int]:
    """Take note of what was told, and return what was not."""
    known.update((each.id, each) for each in told)
    rest = [each for each in left if each not in known]
    if len(rest) == len(left):
        raise ProtocolError("the reply to STATUS tells of none of the messages that were named")
    return rest
