"""How the blocking client carries calls out: connections and operations. Floor 1.

What is not here: what users call, which is `mqclient.client`.
"""

from __future__ import annotations

import threading
import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from mqclient import steps
from mqclient.base import BaseClient
from mqclient.blocking import BlockingConnection, open_blocking
from mqclient.dialing import Dialing
from mqclient.errors import ConnectionLost, InterfaceError, MqError, RequestTimeout
from mqclient.steps import Pause, Within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mqclient.backups import Backup
    from mqclient.calls import Call
    from mqclient.inflight import Request
    from mqclient.models import Limits
    from mqclient.steps import StepsOf


class Driver(BaseClient):
    """A client without its methods: see `Client` for what the arguments mean."""

    def _reset(self) -> None:
        super()._reset()
        self._connection: BlockingConnection | None = None
        self._connecting = threading.Lock()
        self._others: set[BlockingConnection] = set()  # of backups
        self._drained = threading.Event()

    def _after_fork(self) -> None:
        inherited = [*self._others, self._connection]
        super()._after_fork()
        for connection in inherited:
            if connection is not None:
                connection.abandon()

    def _result(self, call: Call, seconds: float) -> Any:
        """Carry one call out; one of which nothing can be done twice is tried again."""
        sent_at = monotonic()
        deadline = sent_at + seconds + call.wait
        request = self._ready(deadline).exchange((call,), deadline)[0]
        if type(request.error) is ConnectionLost and not request.error.in_doubt:
            request = self._ready(deadline).exchange((call,), deadline)[0]
        if type(request.error) is ConnectionLost and call.is_keyed and request.error.in_doubt:
            return self._run(steps.push_again(call, request.error, sent_at, deadline), seconds)
        return request.outcome()

    def _run(self, operation: StepsOf, seconds: float) -> Any:
        """Drive an operation of several calls."""
        try:
            call = next(operation)
            while True:
                try:
                    result = self._step(call, seconds)
                except BaseException as error:  # noqa: BLE001, PERF203  the operation raises it again
                    call = operation.throw(error)
                else:
                    call = operation.send(result)
        except StopIteration as stop:
            return stop.value

    def _step(self, call: Call | Pause | Within, seconds: float) -> Any:
        if isinstance(call, Pause):
            self._pause(call)
            return None
        if isinstance(call, Within):
            call, seconds = call
        return self._result(call, seconds)

    def _pause(self, pause: Pause) -> None:
        if pause.ends_on_drain:
            self._drained.wait(pause.seconds)
        else:
            time.sleep(pause.seconds)

    def _finish_drain(self) -> None:
        """End what waits; in a thread of its own, since locks may be held where it began."""
        self._drained.set()
        connection = self._connection
        if connection is not None:
            connection.drain()
        self._drain_consumers()

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
                connection = self._connect(min(deadline - monotonic(), self._dial_seconds()))
            return connection
        finally:
            self._connecting.release()

    def _copy(
        self, copy: Backup, seconds: float, on_progress: Callable[[int, int], object] | None
    ) -> None:
        """Fetch a backup over a connection of its own, which ends with it."""
        connection = self._dial(min(seconds, self._connect_timeout))
        self._others.add(connection)
        try:
            while not copy.is_done:
                if self._is_closed:
                    raise InterfaceError("the client is closed")
                deadline = monotonic() + seconds
                [request] = connection.exchange((copy.next_call(),), deadline)
                copy.take(request.outcome())
                copy.tell(on_progress)
                seconds = min(seconds, self._timeout)
        finally:
            self._others.discard(connection)
            connection.close()

    def _dial_another(self) -> BlockingConnection:
        """Make a connection beside the client's own, which ends with the client."""
        connection = self._dial(self._connect_timeout)
        self._others.add(connection)
        if self._is_closed:  # by another thread, meanwhile
            self._hang_up(connection)
        return connection

    def _hang_up(self, connection: BlockingConnection) -> None:
        """End such a connection."""
        self._others.discard(connection)
        connection.close()

    def _connect(self, seconds: float) -> BlockingConnection:
        if self._connection is not None:
            self._connection.close()
        self._connection = connection = self._dial(seconds)
        if self._is_closed:  # by another thread, meanwhile
            connection.close()
        elif self._is_draining:
            connection.drain()
        return connection

    def _dial(self, seconds: float) -> BlockingConnection:
        """Make a connection, or say why there is none."""
        waits = self._waits_for_server()
        dialing = Dialing(self._target, seconds, is_again=self._was_connected or waits)
        while True:
            if self._is_closed:
                raise InterfaceError("the client is closed")
            try:
                connection = open_blocking(dialing.attempt(), self._identity(), self._kept)
            except (OSError, MqError) as error:
                pause = dialing.pause_after(error)
                if waits:
                    self._say_waiting(dialing.why(error), seconds)
            else:
                self._server, self._was_connected = connection.server, True
                return connection
            time.sleep(pause)
