"""What both clients have in common: settings, checks, and making of calls. Floor 1: no I/O."""

from __future__ import annotations

import logging
import math
import os
import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from mqclient import calls, lease_calls
from mqclient.checks import check_headers
from mqclient.codecs import Codec, Encoder, decoders
from mqclient.cutting import cut_portions, pack_bodies
from mqclient.errors import ArgumentError, ConfigurationError, InterfaceError
from mqclient.identity import KEEPALIVE_SECONDS, Identity, host_name, new_instance
from mqclient.kept import KeptMessages
from mqclient.keys import Keys, keys_of_frames
from mqclient.messages import Source
from mqclient.models import Limits
from mqclient.options import checked_push_options
from mqclient.steps import MoreOfFrames, check_count
from mqclient.typed import restorer
from mqclient.url import find_target
from mqwire import __version__
from mqwire.limits import (
    MAX_INSTANCE_CHARS,
    MAX_LEASE_SECONDS,
    MAX_WAIT_SECONDS,
    MIN_LEASE_SECONDS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mqclient.calls import Call
    from mqclient.consuming import BaseConsumer
    from mqclient.keeper import Keeper, OnCancelled, OnLost
    from mqclient.lease_calls import Part
    from mqclient.models import LeaseId, ServerInfo
    from mqclient.options import PushOptions

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
DEFAULT_CONNECT_SECONDS: Final = 10.0
WORKER_SERVER_WAIT_SECONDS: Final = 300.0
"""Batch systems start workers and servers in any order, minutes apart."""
DEFAULT_SNAPSHOT_SECONDS: Final = 600.0
"""For what makes a snapshot, which takes as long as the server's disk needs for its state:
enough for some tens of gigabytes, and an end all the same."""
_MAX_NAME_CHARS: Final = 200

_logger = logging.getLogger("mqclient")
_clients: WeakSet[BaseClient] = WeakSet()


class BaseClient:
    """Settings and checks; see `Client` for what the arguments mean."""

    def __init__(  # noqa: PLR0913  what users say, by name
        self,
        url: str | None = None,
        *,
        codec: str | Codec = "json",
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        connect_timeout: float = DEFAULT_CONNECT_SECONDS,
        name: str | None = None,
        address_file: str | os.PathLike[str] | None = None,
        keys: bool = True,
        server_wait: float | None = None,
        detached: str | None = None,
        token: str | None = None,
    ) -> None:
        self._target = find_target(url, address_file, token)
        self._encoder = Encoder(codec)
        self._decoders = decoders(codec)
        self._timeout = _positive(timeout, "timeout")
        self._connect_timeout = _positive(connect_timeout, "connect_timeout")
        is_name = isinstance(name, str) and 0 < len(name) <= _MAX_NAME_CHARS
        if name is not None and not is_name:
            raise ConfigurationError(f"name is a text of 1 to {_MAX_NAME_CHARS} characters")
        self._name = f"mqclient/{__version__} {name}" if name else f"mqclient/{__version__}"
        self._consumers: WeakSet[BaseConsumer[Any]] = WeakSet()
        self._adds_keys = keys
        if server_wait is not None:
            check_wait(server_wait)
        self._server_wait = server_wait
        if detached is not None and not 0 < len(detached) <= MAX_INSTANCE_CHARS:
            raise ConfigurationError(f"detached must have 1 to {MAX_INSTANCE_CHARS} characters")
        self._detached = detached
        self._is_closed = False
        self._is_draining = False
        self._said_waiting = False
        self._was_connected = False
        self._server: ServerInfo | None = None
        self._reset()
        _clients.add(self)

    @property
    def server(self) -> ServerInfo:
        """Who answered when the client connected last, and with which limits.

        Raises:
            InterfaceError: it has not connected yet; `connect`, any call and `with` do.
        """
        if self._server is None:
            raise InterfaceError("the client has not connected yet")
        return self._server

    @property
    def instance(self) -> str:
        """What the server knows this worker by: leases are those of a user and an instance.

        It stays the same when the client connects again; a forked child has another one. That
        of a detached client is what it was given.
        """
        return self._instance

    @property
    def is_draining(self) -> bool:
        """Whether `drain` was called: no more jobs are begun."""
        return self._is_draining

    def __repr__(self) -> str:
        who = f", user {self._server.user!r}" if self._server is not None else ""
        return f"{type(self).__name__}({self._target}{who})"

    def _reset(self) -> None:
        """Begin without a connection, without locks that a fork may have left held."""
        self._kept = KeptMessages()
        self._keys = Keys()
        self._key = new_instance()  # of this client alone, also where others share the instance
        self._instance = self._detached or self._key
        self._keeper: Keeper | None = None

    def _after_fork(self) -> None:
        """Forget, in a forked child, what belongs to the parent: connection and messages."""
        for consumer in list(self._consumers):
            consumer.abandon()
        self._consumers = WeakSet()
        self._reset()

    def _identity(self, keepalive: int = 0) -> Identity:
        is_detached = self._detached is not None
        return Identity(self._name, self._instance, host_name(), keepalive, is_detached)

    def _waits_for_server(self) -> bool:
        """Whether a server that is not there yet is waited for by whoever connects."""
        return bool(self._server_wait) and not self._was_connected

    def _dial_seconds(self) -> float:
        """How long connecting may take."""
        if self._waits_for_server():
            return max(self._connect_timeout, self._server_wait or 0.0)
        return self._connect_timeout

    def _connect_seconds(self, timeout: float | None) -> float:
        """How long a call of `connect` may take."""
        seconds = self._seconds(timeout)
        return seconds if timeout is not None else max(seconds, self._dial_seconds())

    def _worker_wait(self) -> float:
        """How long a worker waits for a server that is not there yet."""
        return WORKER_SERVER_WAIT_SECONDS if self._server_wait is None else self._server_wait

    def _say_waiting(self, why: str, seconds: float) -> None:
        """Say once, while there is no server, that one is waited for."""
        if not self._said_waiting and not self._was_connected:
            self._said_waiting = True
            _logger.warning("waiting for a server, %.3g s at most: %s", seconds, why)

    def drain(self) -> None:
        """Begin no more jobs; see `Client.drain`."""
        raise NotImplementedError

    def _drain_consumers(self) -> None:
        """Have given back what consumers hold and have not begun."""
        for consumer in list(self._consumers):
            consumer.return_unbegun()

    def _hold(
        self,
        lease: LeaseId,
        seconds: float,
        on_lost: OnLost,
        on_cancelled: OnCancelled,
        unbegun: Iterable[int],
    ) -> None:
        """Have a lease extended from now on, by a keeper that is started if there is none."""
        self._keeper = own = keeper_of_this_process()
        own.join(self._key, self._target.fields(), asdict(self._identity(KEEPALIVE_SECONDS)))
        own.hold(self._key, lease, seconds, on_lost, unbegun, on_cancelled)

    def _begin_work(self, lease: LeaseId, message_id: int) -> None:
        """Have it known that a message is at work from now on."""
        if self._keeper is not None:
            self._keeper.begin(self._key, lease, message_id)

    def _release(self, lease: LeaseId) -> None:
        """Have a lease extended no more: it is settled or lost."""
        if self._keeper is not None:
            self._keeper.release(self._key, lease)

    def _hand_back(self, lease: LeaseId, ids: Sequence[int] | None) -> None:
        """Have messages handed back that are under a lease; None for all; without waiting."""
        if self._keeper is not None:
            self._keeper.hand_back(self._key, lease, ids)

    def _leave_keeper(self) -> None:
        """Hand back what is still held, and need no keeper any more."""
        for consumer in list(self._consumers):
            consumer.abandon()
        if self._keeper is not None:
            self._keeper.leave(self._key)

    def _seconds(self, timeout: float | None) -> float:
        if self._is_closed:
            raise InterfaceError("the client is closed")
        return self._timeout if timeout is None else _positive(timeout, "timeout")

    def _snapshot_seconds(self, timeout: float | None) -> float:
        seconds = self._seconds(timeout)
        return max(seconds, DEFAULT_SNAPSHOT_SECONDS) if timeout is None else seconds

    def _source(self, queue: str, into: type | None, deliveries: int = 1) -> Source:
        """Say how messages of a pull are read; a type that cannot be restored is refused now."""
        calls.check_queue(queue)
        restore = None if into is None else restorer(into)
        return Source(queue, self._decoders, restore, deliveries)

    def _lease_call(
        self, queue: str, count: int, seconds: float, wait: float, into: type | None
    ) -> Call:
        check_count(count)
        if wait > MAX_WAIT_SECONDS:
            raise ArgumentError(f"a lease is waited for {MAX_WAIT_SECONDS} s at most, not {wait}")
        return lease_calls.pull(self._source(queue, into), count, seconds, wait)

    def _step_call(self, settlement: Part, push: Mapping[str, Iterable[Any]]) -> Call:
        """Return the call that settles and pushes in one step, and may be sent again.

        Raises:
            InterfaceError: bodies cannot be encoded, or are not given as many for a queue.
        """
        parts, packs, largest = [settlement], [], 0
        limits = self._server.limits if self._server is not None else Limits()
        for queue, bodies in push.items():
            calls.check_queue(queue)
            for one in cut_portions(self._encoder, limits, bodies, None):
                parts.append(lease_calls.push_part(queue, one.count, one.headers))
                packs.append(one.pack)
                largest = max(largest, one.largest_body_bytes)
        return lease_calls.step(parts, b"".join(packs), largest, key=secrets.token_hex(16))

    def _push_call(
        self,
        queue: str,
        body: Any,
        headers: Mapping[str, Any] | None,
        durability: str | None,
        more: PushOptions,
        *,
        adds_key: bool = True,
    ) -> Call:
        options = checked_push_options(more) if more else {}
        if adds_key and self._adds_keys and "key" not in options:
            options["key"] = next(self._keys)
        encoder = self._encoder
        pack = pack_bodies([encoder.encode(body)])
        if headers:
            check_headers(headers)
        if headers or encoder.mark is not None:
            headers = encoder.headers_of(body, headers)
        return calls.push(queue, 1, pack, headers, len(pack), durability, options)

    def _more_of_frames(
        self, durability: str | None, more: PushOptions, *, adds_keys: bool = True
    ) -> MoreOfFrames:
        options = checked_push_options(more)
        key = options.pop("key", None)
        keys: Iterator[str] | None = None
        if key is not None:
            keys = keys_of_frames(key)
        elif adds_keys and self._adds_keys:
            keys = self._keys
        return MoreOfFrames(durability, options, keys)

    def _report_kept(self) -> None:
        """Say at the end which messages nobody has asked for again: they are gone."""
        for queue, count in self._kept.counts().items():
            _logger.warning(
                "closed with %d message(s) of queue %r that arrived after their pull had been "
                "given up; they are lost",
                count,
                queue,
            )


def keeper_of_this_process() -> Keeper:
    """Return the keeper; imported late, since most programs never need one."""
    from mqclient.keeper import keeper  # noqa: PLC0415  see above

    return keeper()


def check_lease(seconds: float) -> float:
    """Return the time of a lease in seconds.

    Raises:
        InterfaceError: it is no number from MIN_LEASE_SECONDS to MAX_LEASE_SECONDS.
    """
    is_number = type(seconds) in (int, float)
    if not is_number or not MIN_LEASE_SECONDS <= seconds <= MAX_LEASE_SECONDS:
        raise ArgumentError(
            f"a lease has {MIN_LEASE_SECONDS} to {MAX_LEASE_SECONDS} seconds, not {seconds!r}"
        )
    return seconds


def check_wait(wait: float) -> float:
    """Return `wait` in seconds.

    Raises:
        InterfaceError: it is no number from 0 on.
    """
    if type(wait) not in (int, float) or not wait >= 0:
        raise ArgumentError(f"wait must be a number of seconds from 0 on, not {wait!r}")
    return wait


def _positive(seconds: float, what: str) -> float:
    if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
        raise ConfigurationError(f"{what} must be a positive number of seconds, not {seconds!r}")
    return float(seconds)


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._after_fork()  # noqa: SLF001  the same class


os.register_at_fork(after_in_child=_after_fork_in_child)
