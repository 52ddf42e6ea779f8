"""Work under a lease, by the plain verbs: nothing happens by itself here. Floor 1.

`Client.lease` returns one; `Client.consume` is the way for workers, which extends leases and
settles jobs by itself (`mqclient.consuming`).
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from mqclient import lease_calls, steps
from mqclient.checks import check_ids
from mqclient.codecs import encode_result
from mqclient.errors import InterfaceError
from mqclient.models import LeaseId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from mqclient.async_client import AsyncClient
    from mqclient.base import BaseClient
    from mqclient.calls import Call
    from mqclient.client import Client
    from mqclient.lease_calls import Leased
    from mqclient.messages import Message
    from mqclient.steps import StepsOf


def lease_id(named: LeaseId | str) -> LeaseId:
    """Return the id of a lease that somebody has named.

    Raises:
        InterfaceError: it is no id, and no text of one.
    """
    if isinstance(named, LeaseId):
        return named
    try:
        return LeaseId.from_text(named)
    except ValueError as error:
        raise InterfaceError(str(error)) from error


class BaseLease:
    """Messages under one lease; see `Client.lease`."""

    def __init__(self, client: BaseClient, leased: Leased) -> None:
        self.id: LeaseId = leased.lease
        """Its id; `str` of it is what `mqctl` shows."""
        self.messages: Sequence[Message] = leased.messages
        """What it was given; settled ones stay in the list. Empty where it is only named."""
        self._client = client

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def __repr__(self) -> str:
        if not self.messages:
            return f"{type(self).__name__}({self.id})"
        queue = self.messages[0].queue
        return f"{type(self).__name__}({self.id}, {len(self.messages)} of queue {queue!r})"

    def _settle(
        self,
        make: Callable[..., Call],
        ids: Collection[int] | None,
        timeout: float | None,
        **options: Any,
    ) -> tuple[StepsOf, float]:
        """Return the operation that settles, and how long it may take."""
        seconds = self._client._seconds(timeout)  # noqa: SLF001  a part of the client
        chosen = None if ids is None else check_ids(ids)
        count = len(self.messages) if chosen is None else len(chosen)
        call = make(self.id, chosen, **options)
        return steps.settle(call, count, monotonic() + seconds), seconds


class Lease(BaseLease):
    """Messages under a lease, and the verbs to settle them.

        lease = client.lease("jobs", 8, seconds=120)
        for message in lease:
            work(message.body)
        lease.ack()

    Each verb is for all messages that are still under the lease, or for those with the given
    ids; it returns how many these were.

    *A lost reply* is asked for again: the request is sent once more over the next connection,
    and what has been done already changes nothing. Only where the lease has ended by then
    nobody can say whether that was the doing of the first request: that is ConnectionLost, or
    RequestTimeout, with `in_doubt`.

    Raises:
        LeaseLost: the lease is over or was never this client's; nothing has changed.
        NotLeased: a message is not under the lease, since it has been settled before.
    """

    _client: Client

    def ack(
        self,
        ids: Collection[int] | None = None,
        *,
        result: Any = None,
        durability: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Say that messages are done: they are gone for good.

        Args:
            ids: which; None for all.
            result: what came of each, as with `Job.done`.
            durability: what is reached when it returns; None for the queue's level.
            timeout: seconds; None for the client's.

        Durability: when it returns, the level asked for, or the queue's, has been reached.
        """
        raw = None if result is None else encode_result(result)
        return self._do(lease_calls.ack, ids, timeout, durability=durability, result=raw)

    def nack(
        self,
        ids: Collection[int] | None = None,
        *,
        reason: str | BaseException = "",
        delay: float | None = None,
        timeout: float | None = None,
    ) -> int:
        """Say that messages have failed: an attempt is spent, and another one follows.

        Args:
            ids: which; None for all.
            reason: why, for their history: a text, of which the end counts, or an error,
                whose traceback is taken.
            delay: seconds until they are ready again; None for the queue's back-off.
            timeout: seconds; None for the client's.
        """
        return self._do(lease_calls.nack, ids, timeout, reason=reason, delay=delay)

    def reject(
        self,
        ids: Collection[int] | None = None,
        *,
        reason: str | BaseException = "",
        timeout: float | None = None,
    ) -> int:
        """Say that messages are never to be tried again: they are dead letters."""
        return self._do(lease_calls.reject, ids, timeout, reason=reason)

    def hand_back(self, ids: Collection[int] | None = None, *, timeout: float | None = None) -> int:
        """Give messages back to their old place; no attempt is spent."""
        return self._do(lease_calls.nack, ids, timeout, hand_back=True)

    def extend(
        self,
        seconds: float,
        ids: Collection[int] | None = None,
        *,
        timeout: float | None = None,
    ) -> list[int]:
        """Let the lease run for `seconds` from now on, be that longer or shorter.

        Args:
            seconds: how long.
            ids: the messages that it is for, which have a deadline of their own then; None
                for all, those that had one too. Each is settled with the lease as before.
            timeout: seconds; None for the client's.

        Returns:
            Ids of its messages that were cancelled: they are not to be worked on any more.
        """
        client = self._client
        call = lease_calls.extend(self.id, seconds, ids)
        cancelled: list[int] = client._result(call, client._seconds(timeout))  # noqa: SLF001  a part of it
        return cancelled

    def _do(
        self,
        make: Callable[..., Call],
        ids: Collection[int] | None,
        timeout: float | None,
        **options: Any,
    ) -> int:
        count: int = self._client._run(*self._settle(make, ids, timeout, **options))  # noqa: SLF001  a part of it
        return count


class AsyncLease(BaseLease):
    """As `Lease`; its verbs are coroutines."""

    _client: AsyncClient

    async def ack(
        self,
        ids: Collection[int] | None = None,
        *,
        result: Any = None,
        durability: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """As `Lease.ack`."""
        raw = None if result is None else encode_result(result)
        return await self._do(lease_calls.ack, ids, timeout, durability=durability, result=raw)

    async def nack(
        self,
        ids: Collection[int] | None = None,
        *,
        reason: str | BaseException = "",
        delay: float | None = None,
        timeout: float | None = None,
    ) -> int:
        """As `Lease.nack`."""
        return await self._do(lease_calls.nack, ids, timeout, reason=reason, delay=delay)

    async def reject(
        self,
        ids: Collection[int] | None = None,
        *,
        reason: str | BaseException = "",
        timeout: float | None = None,
    ) -> int:
        """As `Lease.reject`."""
        return await self._do(lease_calls.reject, ids, timeout, reason=reason)

    async def hand_back(
        self, ids: Collection[int] | None = None, *, timeout: float | None = None
    ) -> int:
        """As `Lease.hand_back`."""
        return await self._do(lease_calls.nack, ids, timeout, hand_back=True)

    async def extend(
        self,
        seconds: float,
        ids: Collection[int] | None = None,
        *,
        timeout: float | None = None,
    ) -> list[int]:
        """As `Lease.extend`."""
        client = self._client
        call = lease_calls.extend(self.id, seconds, ids)
        cancelled: list[int] = await client._result(call, client._seconds(timeout))  # noqa: SLF001  a part of it
        return cancelled

    async def _do(
        self,
        make: Callable[..., Call],
        ids: Collection[int] | None,
        timeout: float | None,
        **options: Any,
    ) -> int:
        count: int = await self._client._run(*self._settle(make, ids, timeout, **options))  # noqa: SLF001  a part of it
        return count
