"""What was looked at, as the results of a reply: bounded in bytes, with every column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqd.core.looking import DELAYED, READY, find, is_plain, look
from mqd.engine.base import NO_MESSAGES
from mqd.engine.deliveries import results
from mqwire.frames import FrameWriter
from mqwire.limits import DEFAULT_PRIORITY
from mqwire.runs import runs_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqd.core.looking import Seen
    from mqd.core.messages import Entry, Message
    from mqd.core.queue import Queue
    from mqd.engine.base import Results

_WAITING: Final = (READY, DELAYED)
_COUNTS: Final = ("deliveries", "attempts", "losses")

_USUAL: Final = {**dict.fromkeys(_COUNTS, 0), "priority": DEFAULT_PRIORITY}
"""What columns hold where there is nothing to tell; in others that is nil."""

_EACH_BYTES: Final = 24
"""What a message may need beside its body and its row: a run of ids, which is 10 bytes at most,
and what stands for nothing in the columns that others have, 13 at most."""


class Looker:
    """Makes the results of PEEK.

    Args:
        room_bytes: how large the messages of one reply may be together, columns included.
    """

    def __init__(self, room_bytes: int) -> None:
        self._room_bytes = room_bytes
        self._pack = FrameWriter().pack

    def peek(self, queue: Queue, state: str, skip: int, most: int) -> Results:
        """Return messages that are in a state, without removing them.

        The first is shown in any case; of a history that has no room beside it the oldest
        entries are left out.
        """
        if is_plain(queue, state):
            batch = queue.fifo.peek(skip, most, self._room_bytes)
            return results(batch) if batch.count else NO_MESSAGES
        is_waiting = state in _WAITING
        found = ((seen, _row(seen, is_waiting=is_waiting)) for seen in look(queue, state, skip))
        return self._results(found, most)

    def peek_one(self, queue: Queue, message_id: int, state: str | None) -> Results:
        """Return one message, in whichever state it is; none if it is in another than `state`."""
        found = find(queue, message_id)
        if found is None or (state is not None and found[0] != state):
            return NO_MESSAGES
        present, seen = found
        row = {"state": present, **_row(seen, is_waiting=present in _WAITING)}
        return self._results([(seen, row)], 1)

    def _results(self, found: Iterable[tuple[Seen, dict[str, Any]]], most: int) -> Results:
        """Make a reply of messages with what there is to tell of each, as far as they fit."""
        ids: list[int] = []
        pieces: list[bytes] = []
        rows: list[dict[str, Any]] = []
        left = self._room_bytes
        for seen, row in found:
            beside_bytes = len(seen.piece) + _EACH_BYTES
            size_bytes = beside_bytes + len(self._pack(row))
            if ids and size_bytes > left:
                break
            if size_bytes > left:
                self._shorten(row, left - beside_bytes)
            left -= size_bytes
            ids.append(seen.message_id)
            pieces.append(seen.piece)
            rows.append(row)
            if len(ids) == most:
                break
        if not ids:
            return NO_MESSAGES
        columns, shown = _columns(rows), (runs_of(ids), (b"".join(pieces),))
        return (*shown, columns) if columns else shown

    def _shorten(self, row: dict[str, Any], room_bytes: int) -> None:
        """Leave the oldest entries of a row's history out until it fits, or there are none."""
        while "history" in row and len(self._pack(row)) > room_bytes:
            row["history"] = row["history"][1:]
            if not row["history"]:
                del row["history"]


def _row(seen: Seen, *, is_waiting: bool) -> dict[str, Any]:
    """Return what there is to tell of a message beside its body, by column."""
    row: dict[str, Any] = {}
    if seen.headers is not None:
        row["headers"] = seen.headers
    if seen.message is not None:
        _add_life(row, seen.message)
        if is_waiting and seen.message.expires_ms:
            row["expires_at"] = seen.message.expires_ms / 1000
    if seen.due_ms:
        row["due_at"] = seen.due_ms / 1000
    lease = seen.lease
    if lease is not None:
        row["lease"] = (lease.epoch, lease.seq)
        row["holder"] = lease.who
        row["deadline_at"] = lease.deadline_of(seen.message_id) / 1000
    return row


def _add_life(row: dict[str, Any], message: Message) -> None:
    for name in _COUNTS:
        count = getattr(message, name)
        if count:
            row[name] = count
    if message.priority != DEFAULT_PRIORITY:
        row["priority"] = message.priority
    if message.history:
        row["history"] = tuple(map(described_entry, message.history))
    origin = message.origin
    if origin is not None:
        row["origin"] = {
            "queue": origin.queue,
            "id": origin.message_id,
            "pushed_at": origin.pushed_ms / 1000,
            "attempts": origin.attempts,
            "losses": origin.losses,
        }


def described_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry of a history as the wire has it."""
    return {
        "owner": entry.owner,
        "leased_at": entry.leased_ms / 1000,
        "ended_at": entry.ended_ms / 1000,
        "cause": entry.cause,
        "reason": entry.reason,
    }


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows into columns; a column is there if one of the rows has it."""
    columns: dict[str, list[Any]] = {}
    for index, row in enumerate(rows):
        for name, value in row.items():
            if name not in columns:
                columns[name] = [_USUAL.get(name)] * len(rows)
            columns[name][index] = value
    return columns
