"""Watches: what happens at the server, as an iterator of events. Floor 1.

Theory of operation. A watch has a connection of its own, so that it neither holds up the
client's calls nor is held up by them, and is not read while nobody asks for events. The
server may be ahead by as many events as it has credit for; the watch gives it back by halves as
events are taken out. Of those past that the server tells the number alone, and so does the
watch: an event of the kind `missed`. A lost connection is made again; what happened meanwhile
was missed, and nobody knows how much.

What there is to do next is decided once, by a generator of orders; the two kinds of watch
carry these out in their own way.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqclient import view_calls
from mqclient.checks import check_words
from mqclient.errors import MqError, ProtocolError, server_error
from mqclient.steps import Patience, Pause, check_count, is_passing
from mqclient.view_models import MISSED, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from mqclient.async_driver import AsyncDriver
    from mqclient.base import BaseClient
    from mqclient.blocking import BlockingConnection
    from mqclient.calls import Call
    from mqclient.driver import Driver
    from mqclient.streaming import AsyncConnection
    from mqwire.frames import Frame

    Order: TypeAlias = "_Open | _Listen | Pause"

_logger = logging.getLogger("mqclient.watching")

DEFAULT_CREDIT: Final = 1000
"""Events that the server may be ahead: as many as it takes where nothing is said."""


class _Open(NamedTuple):
    """Connect, and have the server begin."""


class _Listen(NamedTuple):
    """Wait until something has come, or the connection is lost, until a moment at most."""

    until: float


class BaseWatch:
    """What is watched, and what has come; see `Client.watch` for the arguments."""

    def __init__(
        self,
        client: BaseClient,
        pattern: str | None,
        events: Sequence[str] | None,
        credit: int,
        wait: float | None,
    ) -> None:
        check_count(credit, "credit")
        check_words(events, "events", "acked")
        self._client = client
        self._call = view_calls.watch(pattern, events, credit)
        self._wait = math.inf if wait is None else wait
        self._give_at = max(credit // 2, 1)
        self._request_id = 0
        self._events: deque[Event] = deque()
        self._taken = 0  # out of the credit, and not given back yet
        self._error: MqError | None = None
        self._is_begun = False
        self._is_loss_told = False
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._is_closed

    @property
    def is_connected(self) -> bool:
        """Whether the server is reached: while it is not, what happens is missed."""
        return self._is_open

    @property
    def _is_open(self) -> bool:
        raise NotImplementedError

    def _give(self, call: Call) -> None:
        raise NotImplementedError

    def _take(self, frame: Frame) -> None:
        """Take a frame of events; never raises, since it is called by who reads."""
        try:
            if frame[1] == "ERR":  # the server has ended the watch
                self._error = server_error(str(frame[2]), str(frame[3]), frame[4])
                return
            missed = frame[3]
            events = [Event.from_array(each) for each in frame[2]]
            if missed:
                self._events.append(Event.missed(int(missed)))
        except (LookupError, TypeError, ValueError) as error:
            self._error = ProtocolError(f"an event does not have its form: {error}")
        else:
            self._events.extend(events)

    def _has_news(self) -> bool:
        return bool(self._events) or self._error is not None

    def _begin_again(self) -> None:
        """Note what a lost connection means, before the first event of the next one comes."""
        is_told = self._events and self._events[-1].count is None
        if self._is_begun and not is_told:
            self._events.append(Event.missed(None))

    def _tell_loss(self) -> None:
        """Say once for each connection that it is lost."""
        if self._is_begun and not self._is_loss_told and not self._has_ended():
            self._is_loss_told = True
            _logger.warning(
                "a watch has lost its connection and makes one anew; what happens now is missed"
            )

    def _begun(self, request_id: int) -> None:
        """Note that the server tells events from now on."""
        self._is_begun, self._is_loss_told = True, False
        self._request_id = request_id
        self._taken = 0

    def _begin(self) -> Generator[Order, Any, None]:
        """Begin, if it has not begun."""
        if not self._is_begun:
            yield _Open()

    def _next(self) -> Generator[Order, Any, Event | None]:
        """Find the next event; the result is None at the end."""
        ends_at = monotonic() + self._wait
        patience = Patience()
        while not self._is_closed:
            if self._events:
                return self._pop()
            if self._error is not None:
                raise self._error
            left = ends_at - monotonic()
            if self._is_open:
                if left <= 0:
                    return None
                yield _Listen(ends_at)
                continue
            self._tell_loss()
            try:
                yield _Open()
            except MqError as error:
                if self._has_ended():
                    return None
                if not (self._is_begun and is_passing(error)) or left <= 0:
                    raise
                yield patience.pause(left)
        return None

    def _has_ended(self) -> bool:
        return self._is_closed or self._client._is_closed  # noqa: SLF001  a part of the client

    def _pop(self) -> Event:
        event = self._events.popleft()
        if event.kind != MISSED:
            self._taken += 1
        if self._taken >= self._give_at and self._is_open:
            self._give(view_calls.credit(self._request_id, self._taken))
            self._taken = 0
        return event


class Watch(BaseWatch):
    """What happens at the server, one event after the other; see `Client.watch`."""

    _client: Driver

    def __init__(
        self,
        client: Driver,
        pattern: str | None,
        events: Sequence[str] | None,
        credit: int,
        wait: float | None,
    ) -> None:
        super().__init__(client, pattern, events, credit, wait)
        self._connection: BlockingConnection | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event: Event | None = self._carry_out(self._next())
        if event is None:
            self.close()
            raise StopIteration
        return event

    def close(self) -> None:
        """End it; also by another thread."""
        self._is_closed = True
        if self._connection is not None:
            self._client._hang_up(self._connection)  # noqa: SLF001  a part of it

    def __enter__(self) -> Self:
        self._carry_out(self._begin())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _is_open(self) -> bool:
        return self._connection is not None and not self._connection.is_lost

    def _give(self, call: Call) -> None:
        assert self._connection is not None
        self._connection.say(call)

    def _carry_out(self, orders: Generator[Order, Any, Any]) -> Any:
        return _driven(orders, self._do)

    def _do(self, order: Order) -> None:
        if isinstance(order, Pause):
            self._client._pause(order)  # noqa: SLF001  a part of it
        elif isinstance(order, _Listen):
            assert self._connection is not None
            self._connection.listen(self._has_news, order.until)
        else:
            self._open()

    def _open(self) -> None:
        client = self._client
        if self._connection is not None:
            client._hang_up(self._connection)  # noqa: SLF001  a part of it
        deadline = monotonic() + client._seconds(None)  # noqa: SLF001  a part of it
        self._connection = connection = client._dial_another()  # noqa: SLF001  a part of it
        self._begin_again()
        connection.subscribe(self._take)
        [request] = connection.exchange((self._call,), deadline)
        request.outcome()
        self._begun(request.id)
        if self._is_closed:
            client._hang_up(connection)  # noqa: SLF001  a part of it


class AsyncWatch(BaseWatch):
    """As `Watch`, with `async for` and `async with`."""

    _client: AsyncDriver

    def __init__(
        self,
        client: AsyncDriver,
        pattern: str | None,
        events: Sequence[str] | None,
        credit: int,
        wait: float | None,
    ) -> None:
        super().__init__(client, pattern, events, credit, wait)
        self._connection: AsyncConnection | None = None
        self._news: asyncio.Future[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event: Event | None = await self._carry_out(self._next())
        if event is None:
            await self.close()
            raise StopAsyncIteration
        return event

    async def close(self) -> None:
        """As `Watch.close`; also by another task."""
        self._is_closed = True
        if self._connection is not None:
            self._client._hang_up(self._connection)  # noqa: SLF001  a part of it

    async def __aenter__(self) -> Self:
        await self._carry_out(self._begin())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _is_open(self) -> bool:
        return self._connection is not None and not self._connection.is_lost

    def _give(self, call: Call) -> None:
        assert self._connection is not None
        self._connection.say(call)

    def _take(self, frame: Frame) -> None:
        super()._take(frame)
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _carry_out(self, orders: Generator[Order, Any, Any]) -> Any:
        try:
            order = next(orders)
            while True:
                try:
                    await self._do(order)
                except BaseException as error:  # noqa: BLE001, PERF203  the generator raises it again
                    order = orders.throw(error)
                else:
                    order = orders.send(None)
        except StopIteration as stop:
            return stop.value

    async def _do(self, order: Order) -> None:
        if isinstance(order, Pause):
            await self._client._pause(order)  # noqa: SLF001  a part of it
        elif isinstance(order, _Listen):
            await self._listen(order.until)
        else:
            await self._open()

    async def _listen(self, until: float) -> None:
        self._news = asyncio.get_running_loop().create_future()
        seconds = None if until == math.inf else max(until - monotonic(), 0.0)
        await asyncio.wait([self._news], timeout=seconds)

    async def _open(self) -> None:
        client = self._client
        if self._connection is not None:
            client._hang_up(self._connection)  # noqa: SLF001  a part of it
        deadline = monotonic() + client._seconds(None)  # noqa: SLF001  a part of it
        self._connection = connection = await client._dial_another()  # noqa: SLF001  a part of it
        self._begin_again()
        connection.subscribe(self._take, self._wake)
        [request] = await connection.exchange((self._call,), deadline)
        request.outcome()
        self._begun(request.id)
        if self._is_closed:
            client._hang_up(connection)  # noqa: SLF001  a part of it


def _driven(orders: Generator[Order, Any, Any], do: Callable[[Order], None]) -> Any:
    try:
        order = next(orders)
        while True:
            try:
                do(order)
            except BaseException as error:  # noqa: BLE001, PERF203  the generator raises it again
                order = orders.throw(error)
            else:
                order = orders.send(None)
    except StopIteration as stop:
        return stop.value
