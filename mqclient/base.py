"""What both clients have in common: settings, checks, and making of calls. Floor 1: no I/O."""

from __future__ import annotations

import logging
import math
import os
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from mqclient import calls
from mqclient.codecs import Codec, Encoder, decoders
from mqclient.cutting import pack_bodies
from mqclient.errors import ConfigurationError, InterfaceError
from mqclient.keeper import Keeper
from mqclient.messages import Source
from mqclient.typed import restorer
from mqclient.url import find_target
from mqwire import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mqclient.calls import Call
    from mqclient.models import ServerInfo

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
DEFAULT_CONNECT_SECONDS: Final = 10.0
DEFAULT_SNAPSHOT_SECONDS: Final = 600.0
"""For what makes a snapshot, which takes as long as the server's disk needs for its state:
enough for some tens of gigabytes, and an end all the same."""
_MAX_NAME_CHARS: Final = 200

_logger = logging.getLogger("mqclient")
_clients: WeakSet[BaseClient] = WeakSet()


class BaseClient:
    """Settings and checks; see `Client` for what the arguments mean."""

    def __init__(
        self,
        url: str | None = None,
        *,
        codec: str | Codec = "json",
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        connect_timeout: float = DEFAULT_CONNECT_SECONDS,
        name: str | None = None,
        address_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._target = find_target(url, address_file)
        self._encoder = Encoder(codec)
        self._decoders = decoders(codec)
        self._timeout = _positive(timeout, "timeout")
        self._connect_timeout = _positive(connect_timeout, "connect_timeout")
        if name is not None and not 0 < len(name) <= _MAX_NAME_CHARS:
            raise ConfigurationError(f"name must have 1 to {_MAX_NAME_CHARS} characters")
        self._name = f"mqclient/{__version__} {name}" if name else f"mqclient/{__version__}"
        self._is_closed = False
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

    def __repr__(self) -> str:
        who = f", user {self._server.user!r}" if self._server is not None else ""
        return f"{type(self).__name__}({self._target}{who})"

    def _reset(self) -> None:
        """Begin without a connection, without locks that a fork may have left held."""
        self._keeper = Keeper()

    def _after_fork(self) -> None:
        """Forget, in a forked child, what belongs to the parent: connection and messages."""
        self._reset()

    def _seconds(self, timeout: float | None) -> float:
        if self._is_closed:
            raise InterfaceError("the client is closed")
        return self._timeout if timeout is None else _positive(timeout, "timeout")

    def _snapshot_seconds(self, timeout: float | None) -> float:
        seconds = self._seconds(timeout)
        return max(seconds, DEFAULT_SNAPSHOT_SECONDS) if timeout is None else seconds

    def _source(self, queue: str, into: type | None) -> Source:
        """Say how messages of a pull are read; a type that cannot be restored is refused now."""
        calls.check_queue(queue)
        return Source(queue, self._decoders, None if into is None else restorer(into))

    def _push_call(
        self, queue: str, body: Any, headers: Mapping[str, Any] | None, durability: str | None
    ) -> Call:
        encoder = self._encoder
        pack = pack_bodies([encoder.encode(body)])
        if headers or encoder.mark is not None:
            headers = encoder.headers_of(body, headers)
        return calls.push(queue, 1, pack, headers, len(pack), durability)

    def _report_kept(self) -> None:
        """Say at the end which messages nobody has asked for again: they are gone."""
        for queue, count in self._keeper.counts().items():
            _logger.warning(
                "closed with %d message(s) of queue %r that arrived after their pull had been "
                "given up; they are lost",
                count,
                queue,
            )


def check_wait(wait: float) -> float:
    """Return `wait` in seconds.

    Raises:
        InterfaceError: it is no number from 0 on.
    """
    if type(wait) not in (int, float) or not wait >= 0:
        raise InterfaceError(f"wait must be a number of seconds from 0 on, not {wait!r}")
    return wait


def _positive(seconds: float, what: str) -> float:
    if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
        raise ConfigurationError(f"{what} must be a positive number of seconds, not {seconds!r}")
    return float(seconds)


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._after_fork()  # noqa: SLF001  the same class


os.register_at_fork(after_in_child=_after_fork_in_child)
