"""The blocking client. Floor 1: a thin shell around calls, steps and a connection."""

from __future__ import annotations

import threading
import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from mqclient import calls, steps
from mqclient.base import BaseClient, check_wait
from mqclient.blocking import BlockingConnection, open_blocking
from mqclient.dialing import Dialing
from mqclient.errors import ConnectionLost, InterfaceError, MqError, RequestTimeout
from mqclient.pipelines import BasePipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from mqclient.calls import Call
    from mqclient.inflight import Request
    from mqclient.messages import Message
    from mqclient.models import Limits, QueueInfo
    from mqclient.steps import StepsOf


class Client(BaseClient):
    """A connection to an mqd server, for code that blocks.

        with mqclient.Client() as client:
            client.create("jobs", if_missing=True)
            client.push("jobs", {"lr": 0.1})
            message = client.pull("jobs", wait=60)
            print(message.body)

    Args:
        url: `mq://user:password@host:port`, `mq://:token@host:port`,
            `mq+unix://user:password@/path` or `file:///path/address.json`; None takes the
            variable MQ_URL, else the address file that a server of the same user on this
            machine has written (MQ_ADDRESS_FILE or ~/.mqd/default.json).
        codec: how bodies are encoded that are not bytes: `json`, `msgpack`, `raw` (bytes
            only) or a `Codec`. Every client reads the built-in three, whatever its own is.
        timeout: seconds that each call may take, on top of the `wait` of a pull and
            including a reconnect. Every method takes its own instead. `push_many`, and
            `pull_many` and `peek` past one frame, take it for each frame.
        connect_timeout: seconds that connecting may take, refused attempts included: a
            server that is just starting is waited for.
        name: what the server's logs call this client.
        address_file: an address file to use instead of a URL.

    Raises:
        ConfigurationError: one of these makes no sense.

    It connects at the first call, at `connect` or on entering `with`.

    *Bodies.* Bytes are sent as they are and come back as bytes. Anything else that JSON
    can hold, a dataclass too, is sent as JSON text and comes back as JSON does: tuples as
    lists, keys as strings; `into=SomeDataclass` restores and checks the type. A body that
    cannot be decoded raises BodyError where `Message.body` is looked at, never in a pull.

    *Errors* are all MqError: InterfaceError for misuse, ServerError with one subclass for
    each code of the protocol, ConnectFailed, ConnectionLost, RequestTimeout,
    ProtocolError, BodyError.

    *Lost connections.* What is under way fails with ConnectionLost, whose `in_doubt` says
    whether it may have been carried out; the cause is the server's own error if it gave
    one. The next call connects again. A call that is not in doubt (a look, or one that
    had not been sent) is tried once more by itself.

    *Delivery is at most once.* A pull that is given up (time-out, Ctrl-C) tells the server
    so. If messages come for it all the same they are kept and handed to the next pull of
    that queue by this client; what is still kept at `close` is lost, and logged.

    *Threads* may share a client: calls of others go on while one waits in a pull. *Forks*
    may too: the child connects by itself; kept messages stay with the parent.
    """

    def _reset(self) -> None:
        super()._reset()
        self._connection: BlockingConnection | None = None
        self._connecting = threading.Lock()

    def _after_fork(self) -> None:
        connection = self._connection
        super()._after_fork()
        if connection is not None:
            connection.abandon()

    def connect(self, *, timeout: float | None = None) -> None:
        """Connect now, if the client is not connected.

        Raises:
            ConnectFailed: nothing answers; the text says what to do.
            AuthFailed: the credentials are not valid.
        """
        self._ready(monotonic() + self._seconds(timeout))

    def close(self) -> None:
        """Close the connection. Calls of other threads fail; later calls are refused."""
        if not self._is_closed:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()
            self._report_kept()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def create(
        self,
        queue: str,
        *,
        max_messages: int | None = None,
        max_bytes: int | None = None,
        if_missing: bool = False,
        timeout: float | None = None,
    ) -> QueueInfo:
        """Create a queue.

        Args:
            queue: its name.
            max_messages: bound of the messages in it; None for the server's default.
            max_bytes: bound of their size; None for the server's default.
            if_missing: leave a queue of this name as it is, and return its info.
            timeout: seconds; None for the client's.

        Raises:
            QueueExists, BadName, OutOfRange, TooManyQueues, AccessDenied: it was refused.
        """
        call = calls.create(
            queue, max_messages=max_messages, max_bytes=max_bytes, if_missing=if_missing
        )
        info: QueueInfo = self._result(call, self._seconds(timeout))
        return info

    def delete(self, queue: str, *, timeout: float | None = None) -> int:
        """Delete a queue and return how many messages went with it.

        Raises:
            QueueNotFound: there is no such queue.
        """
        removed: int = self._result(calls.delete(queue), self._seconds(timeout))
        return removed

    def queues(
        self, pattern: str | None = None, *, timeout: float | None = None
    ) -> list[QueueInfo]:
        """Return the infos of all queues, or of those that fit a pattern with `*` and `?`."""
        infos: list[QueueInfo] = self._result(calls.queues(pattern), self._seconds(timeout))
        return infos

    def info(self, queue: str, *, timeout: float | None = None) -> QueueInfo:
        """Return the info of one queue.

        Raises:
            QueueNotFound: there is no such queue.
        """
        info: QueueInfo = self._result(calls.info(queue), self._seconds(timeout))
        return info

    def push(
        self,
        queue: str,
        body: Any,
        *,
        headers: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Push one message and return its id.

        Args:
            queue: where to.
            body: bytes, anything that the codec can hold, or a dataclass.
            headers: a small map of text to scalars.
            timeout: seconds; None for the client's.

        Raises:
            QueueFull, QueueNotFound, BodyTooLarge, BadHeaders: it was refused.
            ConnectionLost, RequestTimeout: with `in_doubt`, it may have been pushed.

        Durability: `server.durability` has been reached when it returns.
        """
        call = self._push_call(queue, body, headers)
        message_id: int = self._result(call, self._seconds(timeout))
        return message_id

    def push_many(
        self,
        queue: str,
        bodies: Iterable[Any],
        *,
        headers: Mapping[str, Any] | Iterable[Mapping[str, Any] | None] | None = None,
        on_progress: Callable[[int], object] | None = None,
        timeout: float | None = None,
    ) -> list[int]:
        """Push many messages, in as few frames as the limits allow, and return their ids.

        Each frame is all or nothing; the whole is not.

        Args:
            queue: where to.
            bodies: any number, also from a generator, which is read as it is pushed.
            headers: one map for all, or a map or None for each body.
            on_progress: called after each frame with the count pushed so far.
            timeout: seconds for each frame; None for the client's.

        Raises:
            MqError: the first error, as with `push`; its `pushed` has the ids so far.
        """
        seconds = self._seconds(timeout)
        limits = self._limits(seconds)
        operation = steps.push_many(self._encoder, limits, queue, bodies, headers, on_progress)
        ids: list[int] = self._run(operation, seconds)
        return ids

    def pull(
        self,
        queue: str,
        *,
        wait: float = 0.0,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Message | None:
        """Remove the oldest message and return it, or None if there is none.

        Args:
            queue: where from.
            wait: seconds to wait for a message, at most.
            into: a dataclass (or another type) that the body is restored to.
            timeout: seconds on top of `wait`; None for the client's.

        Raises:
            QueueNotFound: there is no such queue, or it was deleted meanwhile.
            ConnectionLost, RequestTimeout: with `in_doubt`, a message may have been
                removed; after a time-out it is kept for the next pull if it arrives.
        """
        messages = self.pull_many(queue, 1, wait=wait, into=into, timeout=timeout)
        return messages[0] if messages else None

    def pull_many(
        self,
        queue: str,
        count: int,
        *,
        wait: float = 0.0,
        into: type | None = None,
        timeout: float | None = None,
    ) -> list[Message]:
        """Remove up to `count` of the oldest messages and return them.

        It waits until there is at least one. More than one frame's worth is asked for
        frame by frame, without waiting, until one does not come back full; an error after
        the first frame ends the pull without being raised.

        Args:
            queue: where from.
            count: most messages, from 1 on.
            wait: seconds to wait for the first message, at most.
            into: a dataclass (or another type) that bodies are restored to.
            timeout: seconds on top of `wait`, for each frame; None for the client's.

        Raises:
            QueueNotFound, ConnectionLost, RequestTimeout: as with `pull`.
        """
        steps.check_count(count)
        seconds = self._seconds(timeout)
        source = self._source(queue, into)
        limits = self._limits(seconds)
        operation = steps.pull_many(self._keeper, limits, source, count, check_wait(wait))
        messages: list[Message] = self._run(operation, seconds)
        return messages

    def peek(
        self,
        queue: str,
        count: int = 1,
        *,
        skip: int = 0,
        into: type | None = None,
        timeout: float | None = None,
    ) -> list[Message]:
        """Return up to `count` of the oldest messages after the first `skip`; change nothing.

        Raises:
            QueueNotFound: there is no such queue.
        """
        steps.check_count(count)
        steps.check_count(skip, "skip", 0)
        seconds = self._seconds(timeout)
        source = self._source(queue, into)
        operation = steps.peek(self._limits(seconds), source, count, skip)
        messages: list[Message] = self._run(operation, seconds)
        return messages

    def purge(self, queue: str, *, timeout: float | None = None) -> int:
        """Remove all messages of a queue and return how many there were.

        Raises:
            QueueNotFound: there is no such queue.
        """
        removed: int = self._result(calls.purge(queue), self._seconds(timeout))
        return removed

    def ping(self, *, timeout: float | None = None) -> float:
        """Return the seconds that a round trip to the server takes."""
        seconds = self._seconds(timeout)
        self._ready(monotonic() + seconds)
        started_at = time.perf_counter()
        self._result(calls.ping(), seconds)
        return time.perf_counter() - started_at

    def pipeline(self, *, raise_errors: bool = True, timeout: float | None = None) -> Pipeline:
        """Return a pipeline: calls that are sent in one go.

            with client.pipeline() as p:
                p.push("results", {"score": 0.97})
                p.pull("jobs")
            first_id, message = p.results

        Leaving `with`, or `run`, sends them and waits for all replies. Each is carried
        out, or refused, by itself.

        Args:
            raise_errors: raise the first error once all replies are there; with False,
                and in `results` in any case, errors stand in the places of results.
            timeout: seconds for all of it, on top of the longest wait in it.
        """
        return Pipeline(self, timeout, raise_errors=raise_errors)

    # Inside

    def _result(self, call: Call, seconds: float) -> Any:
        """Carry one call out; one that is certain not to have been done is tried again."""
        deadline = monotonic() + seconds + call.wait
        request = self._ready(deadline).exchange((call,), deadline)[0]
        if type(request.error) is ConnectionLost and not request.error.in_doubt:
            request = self._ready(deadline).exchange((call,), deadline)[0]
        return request.outcome()

    def _run(self, operation: StepsOf, seconds: float) -> Any:
        """Drive an operation of several calls."""
        try:
            call = next(operation)
            while True:
                try:
                    result = self._result(call, seconds)
                except BaseException as error:  # noqa: BLE001, PERF203  the operation raises it again
                    call = operation.throw(error)
                else:
                    call = operation.send(result)
        except StopIteration as stop:
            return stop.value

    def _run_pipeline(self, many: Sequence[Call], seconds: float) -> Sequence[Request]:
        deadline = monotonic() + seconds + max((call.wait for call in many), default=0.0)
        return self._ready(deadline).exchange(many, deadline) if many else []

    def _limits(self, seconds: float) -> Limits:
        connection = self._ready(monotonic() + seconds)
        assert connection.server is not None
        return connection.server.limits

    def _ready(self, deadline: float) -> BlockingConnection:
        """Return a connection that is not known to be lost; connect if there is none."""
        connection = self._connection
        if connection is not None and not connection.is_lost:
            return connection
        left = deadline - monotonic()
        if left <= 0 or not self._connecting.acquire(timeout=left):
            raise RequestTimeout("no connection was made in time")
        try:
            connection = self._connection
            if connection is None or connection.is_lost:
                connection = self._connect(min(deadline - monotonic(), self._connect_timeout))
            return connection
        finally:
            self._connecting.release()

    def _connect(self, seconds: float) -> BlockingConnection:
        if self._connection is not None:
            self._connection.close()
        dialing = Dialing(self._target, seconds, is_again=self._was_connected)
        while True:
            if self._is_closed:
                raise InterfaceError("the client is closed")
            try:
                connection = open_blocking(dialing.attempt(), self._name, self._keeper)
            except (OSError, MqError) as error:
                pause = dialing.pause_after(error)
            else:
                return self._adopt(connection)
            time.sleep(pause)

    def _adopt(self, connection: BlockingConnection) -> BlockingConnection:
        self._connection, self._server, self._was_connected = connection, connection.server, True
        if self._is_closed:  # by another thread, meanwhile
            connection.close()
        return connection


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
