"""The keeper: the process beside a worker that extends its leases. Floor 1.

A worker may hold Python's interpreter lock for minutes, in C code that knows nothing of it;
no thread of its process runs then. So its leases are extended from a process of their own,
which shares nothing with it but a socket pair, and whose connection says the same user and
instance. It looks whether the worker's process is

    alive      then leases are extended, at a third of their time
    stopped    (Ctrl-Z, SIGSTOP, a suspended allocation; Linux only) then they are not, and
               are given up just before they run out
    gone       then they are handed back at once, as lost

and ends with it. What it is not: somebody who decides about jobs; it does as it is told.

Theory of operation. The main thread reads what the worker says and watches its process; each
client of that process has a thread (`Link`) with a connection, which sends and waits for
replies. Where no process can be started, the same runs as a thread of the worker: then the
interpreter lock can stop it, and nothing can be told of a process that has ended.

What is said on the socket pair: frames as in `mqwire.frames`, small arrays.

    to the keeper      link key target identity | drop key | end
                       hold key lease seconds [ids that are not begun] | begin key lease id
                       release key lease | hand_back key lease ids
    from the keeper    lost key lease message details | cancelled key lease ids
                       trouble key text
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mqclient import calls
from mqclient.blocking import BlockingConnection, open_blocking
from mqclient.dialing import Dialing
from mqclient.errors import MqError, RequestTimeout, ServerError, TransportError
from mqclient.holdings import STOPPED, Holdings
from mqclient.identity import Identity
from mqclient.kept import KeptMessages
from mqclient.models import LeaseId
from mqclient.url import target_from
from mqwire.frames import FrameReader, FrameWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mqclient.calls import Call
    from mqclient.holdings import Order
    from mqclient.inflight import Request
    from mqclient.url import FileTarget, UrlTarget

    Tell = Callable[..., None]

MAX_ORDER_BYTES: Final = 1024 * 1024
MAX_UNSAID_BYTES: Final = 256 * 1024
"""What is kept for a worker that does not listen just now."""
_REPLY_SECONDS: Final = 10.0
_DIAL_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.5
_STOPPED_LOOK_SECONDS: Final = 0.25
"""How often a process that is stopped is looked at, while an extension is due."""
_PARENT_LOOK_SECONDS: Final = 0.5
"""How often a process is looked at where the system does not tell of its end."""
_LAST_SECONDS: Final = 20.0
"""How long the keeper tries to hand leases back before it leaves that to the server."""
_IGNORED: Final = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "TSTP", "TTIN", "TTOU")
"""What a batch system sends to all processes of a job: the keeper ends when the worker does."""


_PIDFD_INFO: Final = struct.Struct("=Q52xi")
"""What <linux/pidfd.h> calls so: which fields are known, and at the end the exit status."""
_PIDFD_INFO_EXIT: Final = 1 << 3
_PIDFD_GET_INFO: Final = 0xC040FF0B


class Link(threading.Thread):
    """The leases of one client, and the connection over which they are extended.

    Args:
        target: its server.
        identity: what AUTH says.
        is_stopped: whether the worker's process is stopped just now.
        tell: says something to the worker.
    """

    def __init__(
        self,
        target: UrlTarget | FileTarget,
        identity: Identity,
        is_stopped: Callable[[], bool],
        tell: Tell,
    ) -> None:
        super().__init__(name="mqclient-keeper-link", daemon=True)
        self._target = target
        self._identity = identity
        self._is_stopped = is_stopped
        self._tell = tell
        self._holdings = Holdings()
        self._news = threading.Condition()
        self._ends_at: float | None = None
        self._connection: BlockingConnection | None = None
        self._ping_at = 0.0
        self._trouble = ""

    def hold(
        self,
        lease: LeaseId,
        seconds: float,
        unbegun: Sequence[int] = (),
        since: float | None = None,
    ) -> None:
        """Look after a lease that runs since then, or from now on."""
        with self._news:
            began_at = monotonic() if since is None else since
            self._holdings.hold(lease, seconds, began_at, unbegun)
            self._news.notify()

    def begin(self, lease: LeaseId, message_id: int) -> None:
        """Note that a message is at work from now on."""
        with self._news:
            self._holdings.begin(lease, message_id)

    def release(self, lease: LeaseId) -> None:
        """Leave a lease alone."""
        with self._news:
            self._holdings.release(lease)

    def hand_back(self, lease: LeaseId, ids: Sequence[int] | None) -> None:
        """Give messages back that nobody has begun with."""
        with self._news:
            self._holdings.hand_back(lease, ids)
            self._news.notify()

    def end(self, reason: str | None = None) -> None:
        """End when what is to be handed back has been; with a reason, all that is held is."""
        with self._news:
            if reason is not None:
                self._holdings.gone(reason)
            self._ends_at = monotonic() + _LAST_SECONDS
            self._news.notify()

    def run(self) -> None:
        """Extend and hand back until there is an end."""
        try:
            while not self._is_over():
                self._turn()
        finally:
            self._hang_up()

    def _is_over(self) -> bool:
        with self._news:
            ends_at = self._ends_at
            return ends_at is not None and (monotonic() > ends_at or not self._holdings.returns())

    def _turn(self) -> None:
        now = monotonic()
        with self._news:
            returns = self._holdings.returns()
            extensions = self._holdings.extensions(now)
        is_frozen = bool(extensions) and self._is_stopped()
        if is_frozen:
            returns = self._give_up(now)
        orders = returns if is_frozen else [*returns, *extensions]
        try:
            if orders:
                self._carry_out(orders, len(returns))
            elif self._connection is not None and now >= self._ping_at:
                self._exchange([calls.ping()])
            else:
                self._wait(now, is_frozen=is_frozen)
        except (MqError, OSError) as error:
            self._hang_up()
            self._say_trouble(f"leases cannot be extended just now: {error}")
            self._wait(now + _PAUSE_SECONDS, is_frozen=True)

    def _give_up(self, now: float) -> list[Order]:
        """Give up what a process that is stopped is about to lose; return what is to be sent."""
        with self._news:
            given_up = self._holdings.stopped(now)
            returns = self._holdings.returns()
        for lease in given_up:
            details = {"lease": list(lease), "why": "over"}
            self._tell("lost", list(lease), f"lease {lease} is over: {STOPPED}", details)
        return returns

    def _carry_out(self, orders: Sequence[Order], returns: int) -> None:
        asked_at = monotonic()
        requests = self._exchange([order.call for order in orders])
        for number, (order, request) in enumerate(zip(orders, requests, strict=True)):
            ids, error = _answer_of(request)
            with self._news:
                if number < returns:
                    self._holdings.returned(order, error)
                    continue
                cancelled = self._holdings.cancelled(order.lease, ids) if ids else []
                lost = self._holdings.extended(order.lease, error, asked_at)
            if cancelled:
                self._tell("cancelled", list(order.lease), cancelled)
            if lost is not None:
                self._tell("lost", list(order.lease), lost.message, lost.details)
            elif isinstance(error, ServerError):
                self._say_trouble(f"lease {order.lease} was not extended: {error}")

    def _exchange(self, many: Sequence[Call]) -> list[Request]:
        """Send calls and wait for their replies, over a new connection if need be.

        Raises:
            MqError, OSError: there is none, or it was lost.
        """
        connection = self._connection
        if connection is None or connection.is_lost:
            connection = self._connection = self._dial()
        requests = connection.exchange(many, monotonic() + _REPLY_SECONDS)
        for request in requests:
            if isinstance(request.error, TransportError | RequestTimeout):
                raise request.error
        self._ping_at = monotonic() + self._identity.keepalive
        self._trouble = ""
        return requests

    def _dial(self) -> BlockingConnection:
        dialing = Dialing(self._target, _DIAL_SECONDS, is_again=True)
        while True:
            try:
                return open_blocking(dialing.attempt(), self._identity, KeptMessages())
            except (OSError, MqError) as error:
                pause = dialing.pause_after(error)
            threading.Event().wait(pause)

    def _wait(self, now: float, *, is_frozen: bool) -> None:
        """Wait until there may be something to do, and not past the next PING."""
        with self._news:
            due_at = self._holdings.next_at()
            wake_at = now + self._identity.keepalive
            if self._connection is not None:
                wake_at = min(wake_at, self._ping_at)
            if is_frozen:
                wake_at = min(wake_at, now + _STOPPED_LOOK_SECONDS)
                gives_up_at = self._holdings.gives_up_at()
                if gives_up_at is not None and gives_up_at > now:
                    wake_at = min(wake_at, gives_up_at)
            elif due_at is not None:
                wake_at = min(wake_at, due_at)
            if self._ends_at is None or is_frozen:
                self._news.wait(max(wake_at - monotonic(), 0.0))

    def _say_trouble(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._tell("trouble", text)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _answer_of(request: Request) -> tuple[Any, MqError | None]:
    try:
        return request.outcome(), None
    except MqError as error:
        return None, error


class Parent:
    """The worker's process, as its keeper sees it.

    Args:
        pid: its process id.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.descriptor: int | None = None
        """Becomes readable when the process has ended; None where there is no such thing."""
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self.descriptor = os.pidfd_open(pid)

    @property
    def is_gone(self) -> bool:
        """Whether it has ended: then this process has been given to another one."""
        return os.getppid() != self._pid

    def is_stopped(self) -> bool:
        """Tell whether it is stopped; where there is no /proc nobody can tell."""
        return self._stat()[:1] == ["T"]

    def ending(self) -> str:
        """Say how it ended, as far as the system still knows."""
        status = self._status()
        how = ""
        if os.WIFSIGNALED(status):
            how = f" (signal {os.WTERMSIG(status)})"
        elif os.WIFEXITED(status) and os.WEXITSTATUS(status):
            how = f" (exit code {os.WEXITSTATUS(status)})"
        return f"the worker's process ended{how}"

    def _status(self) -> int:
        """Return its wait status; 0 if nobody knows it any more."""
        fields = self._stat()
        if len(fields) > 40 and fields[-1].isdigit():
            return int(fields[-1])
        # Its parent has asked for the status already. Newer kernels keep it with the descriptor.
        told = bytearray(_PIDFD_INFO.size)
        _PIDFD_INFO.pack_into(told, 0, _PIDFD_INFO_EXIT, 0)
        with suppress(OSError, TypeError):
            fcntl.ioctl(self.descriptor, _PIDFD_GET_INFO, told)  # type: ignore[arg-type]  # None too
            known, status = _PIDFD_INFO.unpack(told)
            return int(status) if known & _PIDFD_INFO_EXIT else 0
        return 0

    def _stat(self) -> list[str]:
        try:
            text = Path(f"/proc/{self._pid}/stat").read_text("ascii", "replace")
        except OSError:
            return []
        return text.rpartition(")")[2].split()


class Keeping:
    """What a keeper does: listens to the worker, and keeps a link for each of its clients.

    Args:
        sock: the keeper's end of the socket pair.
        parent: the worker's process; None for a keeper that is a thread of it.
        started_at: when it was started, by the monotonic clock: so old are the first orders.
    """

    def __init__(
        self, sock: socket.socket, parent: Parent | None, started_at: float | None = None
    ) -> None:
        self._started_at = started_at
        # From the start, since a link tells what it has to say from its own thread.
        sock.setblocking(False)
        self._socket = sock
        self._parent = parent
        self._reader = FrameReader(MAX_ORDER_BYTES)
        self._links: dict[str, Link] = {}
        self._leaving: list[Link] = []
        self._speaking = threading.Lock()
        self._unsaid = bytearray()
        self._pipe: tuple[int, ...] = os.pipe()
        self._is_ended = False

    def run(self) -> None:
        """Serve until the worker says so, or is gone; then end what there is to end."""
        with self._socket:
            self._listen()
            reason = None
            if not self._is_ended and self._parent is not None:
                reason = self._parent.ending()
            for link in self._links.values():
                link.end(reason)
            for link in [*self._links.values(), *self._leaving]:
                link.join(_LAST_SECONDS)
            with self._speaking:
                self._unsaid.clear()
                for descriptor in self._pipe:
                    os.close(descriptor)
                self._pipe = ()

    def _listen(self) -> None:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        woken = self._pipe[0]
        poller.register(woken, select.POLLIN)
        parent = self._parent
        if parent is not None and parent.descriptor is not None:
            poller.register(parent.descriptor, select.POLLIN)
        tells = parent is None or parent.descriptor is not None
        while not self._is_ended:
            events = poller.poll(None if tells else _PARENT_LOOK_SECONDS * 1000)
            if any(descriptor == woken for descriptor, _ in events):
                os.read(woken, 4096)
            with self._speaking:
                self._say()
                rest = select.POLLOUT if self._unsaid else 0
            poller.modify(self._socket, select.POLLIN | rest)
            # Whether it is gone is asked first: what it has said before is read after that.
            is_gone = parent is not None and parent.is_gone
            if not self._read() or is_gone:
                return

    def _read(self) -> bool:
        """Take all that has arrived; False at the end."""
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            for order in self._reader.feed(data):
                self._take(*order)
            self._started_at = None

    def _take(self, what: str, key: str = "", *details: Any) -> None:
        if what == "end":
            self._is_ended = True
        elif what == "link":
            self._add(key, *details)
        elif what == "drop":
            link = self._links.pop(key)
            link.end()
            self._leaving = [*(each for each in self._leaving if each.is_alive()), link]
        else:
            lease = LeaseId.from_array(details[0])
            since = {"since": self._started_at} if what == "hold" else {}
            getattr(self._links[key], what)(lease, *details[1:], **since)

    def _add(self, key: str, target: dict[str, Any], identity: dict[str, Any]) -> None:
        def tell(what: str, *details: Any) -> None:
            self._tell(what, key, *details)

        if key in self._links:
            return
        is_stopped = self._parent.is_stopped if self._parent is not None else _never
        link = Link(target_from(target), Identity(**identity), is_stopped, tell)
        self._links[key] = link
        link.start()

    def _tell(self, *frame: Any) -> None:
        data = FrameWriter().encode(frame)
        with self._speaking:
            # It may not have looked for long: what it is not told it hears by its next call.
            if len(self._unsaid) + len(data) <= MAX_UNSAID_BYTES:
                self._unsaid += data
            self._say()
            if self._unsaid and self._pipe:
                os.write(self._pipe[1], b"w")

    def _say(self) -> None:
        """Send what the socket takes; of a frame that was begun the rest comes first."""
        try:
            while self._unsaid:
                del self._unsaid[: self._socket.send(self._unsaid)]
        except BlockingIOError:
            return
        except OSError:
            self._unsaid.clear()  # it is gone


def _never() -> bool:
    return False


def main() -> None:
    """Run as a process: a descriptor, the worker's process id, and when this one was started."""
    for name in _IGNORED:
        signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)
    descriptor, pid = map(int, sys.argv[1:3])
    Keeping(socket.socket(fileno=descriptor), Parent(pid), float(sys.argv[3])).run()


if __name__ == "__main__":
    main()
