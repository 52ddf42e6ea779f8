"""The leases that a keeper looks after: what to send when. Floor 1: no I/O, no clock.

    hold -> due, extended, due, extended ... -> release | hand back | lost

A lease is extended at a third of its time, so two extensions may fail before it runs out.
While the worker's process is stopped nothing is extended, and just before a lease would run out
it is given up, as lost, with that as the reason; what has to be handed back is handed back all
the same.

Once the worker's process is gone, all that it still held goes back to the queue, as lost.

What it is not: connections and time-outs (`mqclient.keeping`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mqclient import lease_calls
from mqclient.errors import LeaseLost, NotLeased, ServerError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mqclient.calls import Call
    from mqclient.errors import MqError
    from mqclient.models import LeaseId

EXTENSIONS_PER_LEASE: Final = 3
_BEFORE_END_SECONDS: Final = 1.0
_AGAIN: Final = 4
"""An extension that was refused for another reason is tried again after its interval by this."""


STOPPED: Final = (
    "the worker's process was stopped (SIGSTOP, Ctrl-Z or a suspended allocation) until its lease "
    "ended"
)
"""What the history says of such a delivery."""


class Order(NamedTuple):
    """One call that is to be carried out, and the lease that it is about."""

    lease: LeaseId
    call: Call


class _Held:
    """One lease that is extended."""

    __slots__ = ("cancelled", "due_at", "extended_at", "seconds", "unbegun")

    def __init__(self, seconds: float, now: float, unbegun: Collection[int]) -> None:
        self.seconds = seconds
        self.extended_at = now
        self.due_at = now + self.interval
        self.unbegun = set(unbegun)
        self.cancelled: set[int] = set()

    @property
    def interval(self) -> float:
        return self.seconds / EXTENSIONS_PER_LEASE

    @property
    def gives_up_at(self) -> float:
        """When a lease is given up that cannot be extended: just before the server ends it."""
        return self.extended_at + self.seconds - min(_BEFORE_END_SECONDS, self.seconds / 4)


class Holdings:
    """The leases of one client. Not thread-safe: the shell serialises all calls."""

    def __init__(self) -> None:
        self.is_gone = False
        """Whether the worker's process has ended: what is left goes back, and that is all."""
        self._held: dict[LeaseId, _Held] = {}
        self._returns: list[Order] = []

    def __len__(self) -> int:
        return len(self._held) + len(self._returns)

    def hold(
        self, lease: LeaseId, seconds: float, now: float, unbegun: Collection[int] = ()
    ) -> None:
        """Look after a lease that runs for `seconds` from now on.

        Args:
            lease: its id.
            seconds: its time.
            now: when.
            unbegun: those of its messages that nobody has begun with, if some are at work.
        """
        self._held[lease] = _Held(seconds, now, unbegun)

    def begin(self, lease: LeaseId, message_id: int) -> None:
        """Note that a message is at work from now on: its worker may be lost with it."""
        held = self._held.get(lease)
        if held is not None:
            held.unbegun.discard(message_id)

    def release(self, lease: LeaseId) -> None:
        """Leave a lease alone: it has been settled, or runs out by itself."""
        self._held.pop(lease, None)

    def hand_back(self, lease: LeaseId, ids: Sequence[int] | None) -> None:
        """Give messages back that nobody has begun with; None for the whole lease."""
        held = self._held.get(lease)
        if ids is None:
            self.release(lease)
        elif held is not None:
            held.unbegun.difference_update(ids)
        self._returns.append(Order(lease, lease_calls.nack(lease, ids, hand_back=True)))

    def gone(self, reason: str) -> None:
        """Note that the worker's process has ended: what it was working on is lost.

        What it had not begun is handed back, and spends nothing: it may be something else in
        the same lease that has killed the worker.

        Args:
            reason: how it ended, for the messages' history.
        """
        if self.is_gone:
            return
        self.is_gone = True
        for lease in list(self._held):
            self._lose(lease, reason)

    def stopped(self, now: float) -> list[LeaseId]:
        """Give up, while the worker's process is stopped, what is about to run out.

        The server would end it a moment later and could not say why; so the history can.

        Returns:
            The leases that were given up.
        """
        ending = [lease for lease, each in self._held.items() if each.gives_up_at <= now]
        for lease in ending:
            self._lose(lease, STOPPED)
        return ending

    def gives_up_at(self) -> float | None:
        """Return when `stopped` has something to do, if the process is stopped then."""
        return min((each.gives_up_at for each in self._held.values()), default=None)

    def _lose(self, lease: LeaseId, reason: str) -> None:
        each = self._held.pop(lease)
        if each.unbegun:
            self.hand_back(lease, sorted(each.unbegun))
        # All that is under the lease then. If nothing is, it is refused and done with.
        self._returns.append(Order(lease, lease_calls.nack(lease, reason=reason, lost=True)))

    def next_at(self) -> float | None:
        """Return when there is something to do, or None if there is nothing to wait for."""
        if self._returns:
            return 0.0
        return min((each.due_at for each in self._held.values()), default=None)

    def extensions(self, now: float) -> list[Order]:
        """Return the extensions that are due."""
        return [
            Order(lease, lease_calls.extend(lease, each.seconds))
            for lease, each in self._held.items()
            if each.due_at <= now
        ]

    def returns(self) -> list[Order]:
        """Return what is to be handed back."""
        return list(self._returns)

    def extended(self, lease: LeaseId, error: MqError | None, now: float) -> ServerError | None:
        """Take the answer to an extension.

        Args:
            lease: the lease.
            error: why it was not extended, or None.
            now: when it was asked for.

        Returns:
            The server's word that the lease is lost; None if it is not.
        """
        held = self._held.get(lease)
        if held is None:
            return None  # settled in the meantime
        if error is None:
            held.extended_at = now
            held.due_at = now + held.interval
        elif isinstance(error, LeaseLost | NotLeased):
            del self._held[lease]
            return error
        elif isinstance(error, ServerError):
            held.due_at = now + held.interval / _AGAIN
        return None  # without an answer it stays due: it is asked for over the next connection

    def cancelled(self, lease: LeaseId, ids: Sequence[int]) -> list[int]:
        """Take note of messages that were cancelled; return those that were not known."""
        held = self._held.get(lease)
        if held is None:
            return []
        fresh = [each for each in ids if each not in held.cancelled]
        held.cancelled.update(fresh)
        return fresh

    def returned(self, order: Order, error: MqError | None) -> None:
        """Take the answer to what was handed back; without one it is sent again."""
        if error is None or isinstance(error, ServerError):
            self._returns.remove(order)
