"""Pipelines: many calls sent in one go. Floor 1: no I/O.

The methods are those of the clients, but they return nothing: the results
stand in `results` in order, once the pipeline has run. A pull in a pipeline
asks the server once, with one frame, and does not see kept messages; a
`push_many` must fit into one frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqclient import calls, lease_calls, steps
from mqclient.base import check_wait
from mqclient.cutting import cut_portions
from mqclient.errors import InterfaceError, MqError
from mqclient.models import Limits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from mqclient.async_client import AsyncClient
    from mqclient.base import BaseClient
    from mqclient.batches import Messages
    from mqclient.calls import Call
    from mqclient.client import Client
    from mqclient.inflight import Request
    from mqclient.messages import Message
    from mqclient.options import PushOptions, QueueOptions


class BasePipeline:
    """The calls of a pipeline and, once it has run, their results."""

    def __init__(self, client: BaseClient, timeout: float | None, *, raise_errors: bool) -> None:
        self.results: list[Any] = []
        """The results in order; in the place of one that failed stands its error."""
        self._client = client
        self._seconds = client._seconds(timeout)  # noqa: SLF001  a part of the client
        self._raise_errors = raise_errors
        self._calls: list[Call] = []
        self._has_run = False

    def __len__(self) -> int:
        return len(self._calls)

    def create(
        self,
        queue: str,
        *,
        max_messages: int | None = None,
        max_bytes: int | None = None,
        durability: str | None = None,
        if_missing: bool = False,
        **more: Unpack[QueueOptions],
    ) -> None:
        """Add a create. Result: QueueInfo."""
        call = calls.create(
            queue,
            max_messages=max_messages,
            max_bytes=max_bytes,
            durability=durability,
            if_missing=if_missing,
            **more,
        )
        self._add(call)

    def delete(self, queue: str) -> None:
        """Add a delete. Result: how many messages went with it."""
        self._add(calls.delete(queue))

    def queues(self, pattern: str | None = None) -> None:
        """Add a list. Result: list of QueueInfo."""
        self._add(calls.queues(pattern))

    def info(self, queue: str) -> None:
        """Add a look at a queue. Result: QueueInfo."""
        self._add(calls.info(queue))

    def push(
        self,
        queue: str,
        body: Any,
        *,
        headers: Mapping[str, Any] | None = None,
        durability: str | None = None,
        **more: Unpack[PushOptions],
    ) -> None:
        """Add a push, with a key if one is given. Result: the id."""
        push_call = self._client._push_call  # noqa: SLF001  a part of it
        call = push_call(queue, body, headers, durability, more, adds_key=False)
        self._add(call)

    def push_many(
        self,
        queue: str,
        bodies: Iterable[Any],
        *,
        headers: Mapping[str, Any] | Iterable[Mapping[str, Any] | None] | None = None,
        durability: str | None = None,
        **more: Unpack[PushOptions],
    ) -> None:
        """Add a push of some messages. Result: list of ids.

        Raises:
            InterfaceError: they do not fit into one frame, or there are none.
        """
        encoder = self._client._encoder  # noqa: SLF001  a part of the client
        portions = list(cut_portions(encoder, Limits(), bodies, headers))
        if len(portions) != 1:
            raise InterfaceError("a push_many in a pipeline takes what fits into one frame")
        [one] = portions
        said = self._client._more_of_frames(durability, more, adds_keys=False)  # noqa: SLF001  a part of it
        call = steps.push(queue, one, said)
        self._add(calls.then(call, lambda first: list(range(first, first + one.count))))

    def pull(
        self,
        queue: str,
        *,
        wait: float = 0.0,
        durability: str | None = None,
        into: type | None = None,
    ) -> None:
        """Add a pull. Result: Message or None."""
        source = self._client._source(queue, into)  # noqa: SLF001  a part of the client
        if check_wait(wait):
            self._add(calls.then(calls.pull(source, 1, wait, durability), _first))
        else:
            self._add(calls.pull_one(source, durability))

    def pull_many(
        self,
        queue: str,
        count: int,
        *,
        wait: float = 0.0,
        durability: str | None = None,
        into: type | None = None,
    ) -> None:
        """Add a pull of up to `count` messages. Result: Messages."""
        steps.check_count(count)
        source = self._client._source(queue, into)  # noqa: SLF001  a part of the client
        self._add(calls.then(calls.pull(source, count, check_wait(wait), durability), _all))

    def peek(
        self,
        queue: str,
        count: int = 1,
        *,
        skip: int = 0,
        state: str | None = None,
        into: type | None = None,
    ) -> None:
        """Add a look at up to `count` messages. Result: Messages."""
        steps.check_count(count)
        steps.check_count(skip, "skip", 0)
        source = self._client._source(queue, into, 0)  # noqa: SLF001  a part of the client
        self._add(calls.then(calls.peek(source, count, skip, state), _all))

    def purge(self, queue: str, *, state: str | None = None) -> None:
        """Add a purge. Result: how many messages went."""
        self._add(calls.purge(queue, state))

    def holders(self, pattern: str | None = None, *, count: int | None = None) -> None:
        """Add a look at who holds leases. Result: list of Holder."""
        self._add(lease_calls.holders(pattern, count))

    def redrive(
        self,
        queue: str,
        *,
        ids: Collection[int] | None = None,
        count: int | None = None,
        cause: str | None = None,
        origin: str | None = None,
    ) -> None:
        """Add a redrive. Result: how many messages were moved."""
        self._add(lease_calls.redrive(queue, ids=ids, count=count, cause=cause, origin=origin))

    def pause(self, queue: str) -> None:
        """Add a pause. Result: None."""
        self._add(calls.pause(queue))

    def resume(self, queue: str) -> None:
        """Add the end of a pause. Result: None."""
        self._add(calls.resume(queue))

    def stats(self) -> None:
        """Add a look at the server's figures. Result: dict."""
        self._add(calls.stats())

    def ping(self) -> None:
        """Add a ping. Result: None."""
        self._add(calls.ping())

    def _add(self, call: Call) -> None:
        if self._has_run:
            raise InterfaceError("the pipeline has run; begin another one")
        self._calls.append(call)

    def _begin(self) -> list[Call]:
        if self._has_run:
            raise InterfaceError("the pipeline has run; begin another one")
        self._has_run = True
        return self._calls

    def _finish(self, requests: Sequence[Request]) -> list[Any]:
        for request in requests:
            try:
                result = request.outcome()
            except MqError as error:
                result = error
            self.results.append(result)
        if self._raise_errors:
            for result in self.results:
                if isinstance(result, MqError):
                    raise result
        return self.results


class Pipeline(BasePipeline):
    """Calls that are sent in one go; see `Client.pipeline`."""

    _client: Client

    def run(self) -> list[Any]:
        """Send the calls, wait for all replies, and return the results in order.

        Raises:
            MqError: the first error, unless the pipeline was made with `raise_errors=False`;
                `results` has the others.
        """
        requests = self._client._run_pipeline(self._begin(), self._seconds)  # noqa: SLF001  a part of it
        return self._finish(requests)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and not self._has_run:
            self.run()


class AsyncPipeline(BasePipeline):
    """Calls that are sent in one go; see `Client.pipeline`."""

    _client: AsyncClient

    async def run(self) -> list[Any]:
        """As `Pipeline.run`."""
        requests = await self._client._run_pipeline(self._begin(), self._seconds)  # noqa: SLF001  a part of it
        return self._finish(requests)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and not self._has_run:
            await self.run()


def _first(batch: tuple[Messages, int]) -> Message | None:
    return batch[0][0] if batch[0] else None


def _all(batch: tuple[Messages, int]) -> Messages:
    return batch[0]
