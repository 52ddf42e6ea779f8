"""A connection for threads: plain sockets, no event loop, no thread of its own. Floor 1.

Theory of operation. Many threads may have requests under way on one
connection. One of those that wait is the *leader*: it reads the socket and
wakes the others when their replies are there; when its own has come it passes
the lead on. With a single thread a round trip is one send and one recv.

    _state     guards what is in flight, who leads and what is unsent; held for moments
    _sending   held while bytes go out, so that frames do not mix

A thread whose send does not go through at once reads meanwhile if it leads:
the server may have stopped reading until somebody takes its replies.

An interrupt (Ctrl-C, an exception out of a signal handler) may strike anywhere. Where a
thread waits it does no harm: the call is given up. Anywhere else something may be half
done, so the connection is closed and the next call makes another one.

The socket is in blocking mode, with its time-out set in the kernel: that saves
the extra system call that Python's own socket time-outs cost for each recv.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from mqclient import calls
from mqclient.inflight import InFlight
from mqclient.polling import Polling, polling_of
from mqclient.probing import ASK, LOST, Probe
from mqclient.sockets import tune
from mqclient.waiters import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mqclient.calls import Call
    from mqclient.dialing import Attempt
    from mqclient.identity import Identity
    from mqclient.inflight import Request
    from mqclient.kept import KeptMessages
    from mqclient.models import ServerInfo
    from mqwire.frames import Frame

_SMALL_RECV_BYTES: Final = 64 * 1024
"""What costs a read no more than the least does."""
_LARGE_RECV_BYTES: Final = 1024 * 1024
_IDLE_SECONDS: Final = 1.0
"""A connection that has been quiet for longer is looked at before it is used."""
_LONGEST_RECV_SECONDS: Final = 3600.0
_RETRY_LEAD_SECONDS: Final = 0.1
_timeval = struct.Struct("@ll").pack
_new_lock = threading.Lock


def open_blocking(attempt: Attempt, identity: Identity, kept: KeptMessages) -> BlockingConnection:
    """Connect and authenticate.

    Raises:
        OSError, MqError: it did not work; nothing is left open.
    """
    deadline = monotonic() + attempt.seconds
    sock = _connect(attempt)
    connection = BlockingConnection(sock, kept, polling_of(sock))
    try:
        [request] = connection.exchange((calls.auth(attempt.credentials, identity),), deadline)
        connection.adopt(request.outcome())
    except BaseException:
        connection.close("it could not be opened")
        raise
    return connection


def _connect(attempt: Attempt) -> socket.socket:
    endpoint = attempt.endpoint
    if not endpoint.path:
        place = (endpoint.host, endpoint.port)
        sock = socket.create_connection(place, timeout=attempt.seconds)
        tune(sock)
    else:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(attempt.seconds)
            sock.connect(endpoint.path)
        except BaseException:
            sock.close()
            raise
    sock.setblocking(True)
    return sock


class BlockingConnection:
    """One connection; thread-safe; of no use any more once it is lost.

    Args:
        sock: a connected socket in blocking mode.
        kept: where messages go that nobody waits for any more.
        polling: looks at the socket before a thread sleeps on it; None for never.
    """

    def __init__(
        self, sock: socket.socket, kept: KeptMessages, polling: Polling | None = None
    ) -> None:
        self.server: ServerInfo | None = None
        self._socket = sock
        self._in_flight = InFlight(kept)
        self._state = _new_lock()
        self._sending = _new_lock()
        self._leader: Waiter | None = None  # who reads
        self._arrived: list[bytes] = []  # what was read and not looked at yet
        self._unsent: list[bytes] = []
        self._recv_bytes = _SMALL_RECV_BYTES
        self._recv_seconds = 0.0
        self._used_at = monotonic()
        self._probe = Probe(self._used_at)
        self._polling = polling

    @property
    def is_lost(self) -> bool:
        """Whether it is of no use any more."""
        return self._in_flight.is_lost

    def adopt(self, server: ServerInfo) -> None:
        """Take the server's limits over, once it has answered AUTH."""
        self.server = server
        self._in_flight.limits = server.limits

    def exchange(self, many: Sequence[Call], deadline: float) -> list[Request]:
        """Send calls in one go and wait for all replies.

        Args:
            many: the calls, in order.
            deadline: when to give up, by the monotonic clock.

        Returns:
            The requests, all done: answered, refused, expired or lost with the connection.
            If it is interrupted they are given up.
        """
        waiter = Waiter()
        requests: list[Request] = []
        try:
            started_at = monotonic()
            frames = self._begin(many, waiter, requests, started_at)
            if frames and not (
                self._send(frames, requests, waiter, deadline)
                and self._await_all(requests, waiter, deadline)
            ):
                self._expire(requests, deadline - started_at)
            if waiter.gamble is not None:
                waiter.gamble.took(monotonic() - started_at)
        except BaseException:
            if not waiter.is_waiting:
                self._fail("a call was interrupted")
            self._give_up(requests)
            raise
        finally:
            if self._leader is waiter:
                self._pass_on(waiter)
        return requests

    def close(self, why: str = "the client was closed") -> None:
        """Close it. What is in flight fails."""
        with self._state:
            self._lose(why)
        self._socket.close()

    def drain(self) -> None:
        """End the waits of consumers; of threads that are not ours too."""
        with self._state:
            self._in_flight.drain()
            self._collect()
        self._flush()

    def subscribe(self, take: Callable[[Frame], object]) -> None:
        """Have the frames behind the reply to a WATCH handed to `take`, by who reads."""
        self._in_flight.take_events = take

    def say(self, call: Call) -> None:
        """Send a call whose reply nobody waits for."""
        with self._state:
            self._say(self._in_flight.say(call))
        self._flush()

    def listen(self, has_come: Callable[[], bool], deadline: float) -> None:
        """Read until something has come, the connection is lost, or the time is over.

        For a connection over which nobody has calls under way.
        """
        waiter = Waiter()
        with self._state:
            self._leader = waiter
            self._probe.heard(monotonic())  # nobody was listening before
        try:
            while not has_come() and not self.is_lost and monotonic() < deadline:
                self._receive(waiter, deadline)
        except BaseException:
            if not waiter.is_waiting:
                self._fail("a call was interrupted")
            raise
        finally:
            self._pass_on(waiter)

    def abandon(self) -> None:
        """Close the descriptor of a forked child; the parent's connection lives on."""
        self._socket.close()

    # Sending

    def _begin(
        self, many: Sequence[Call], waiter: Waiter, requests: list[Request], now: float
    ) -> bytes:
        """Register the calls, take the lead if nobody has it, and return the frames."""
        in_flight = self._in_flight
        begin = in_flight.begin
        with self._state:
            leader = self._leader
            if leader is None and now - self._used_at > _IDLE_SECONDS:
                self._look()
            # One that has nothing in flight does not read any more: it is about to pass the
            # lead on, or was interrupted before it could.
            if leader is None or not in_flight.has(leader):
                self._leader = waiter
            else:
                waiter.follow()
            self._used_at = now
            is_alone = in_flight.is_idle
            if is_alone:
                self._probe.heard(now)  # nobody was listening: silence begins to count now
            frames = []
            for call in many:
                request, frame = begin(call, waiter)
                requests.append(request)
                frames.append(frame)
            # Threads that share the connection need the interpreter: none of them looks.
            if is_alone and self._polling is not None and requests:
                waiter.gamble = self._polling.gamble_of(requests[0].call)
                waiter.looks = waiter.gamble.looks
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _send(
        self, data: bytes, requests: Sequence[Request], waiter: Waiter, deadline: float
    ) -> bool:
        """Send all of `data`; False if the time was over before."""
        sending = self._sending
        if not sending.acquire(False) and not sending.acquire(True, _left(deadline)):
            return False
        try:
            for request in requests:
                request.is_sent = True
            try:
                sent = self._socket.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                for request in requests:
                    request.is_sent = False  # not one byte has left
                self._fail("the server has closed the connection", error)
                return True
            if sent != len(data):
                self._send_rest(memoryview(data)[sent:], requests, waiter, deadline)
        finally:
            sending.release()
        if self._unsent:
            self._flush()
        return True

    def _send_rest(
        self, rest: memoryview, requests: Sequence[Request], waiter: Waiter, deadline: float
    ) -> None:
        """Send what the kernel did not take at once, and read meanwhile if we lead."""
        while rest and not self.is_lost:
            left = _left(deadline)
            if not left:
                self._fail_half_sent(requests)
                return
            leads = self._leader is waiter
            poller = select.poll()
            poller.register(self._socket, select.POLLOUT | (select.POLLIN if leads else 0))
            for _, events in poller.poll(min(left, _RETRY_LEAD_SECONDS) * 1000):
                if leads and events & ~select.POLLOUT:
                    self._receive(waiter, deadline)
                    waiter.is_waiting = False
                if events & select.POLLOUT and not self.is_lost:
                    sent = self._send_some(rest)
                    rest = rest[sent:]

    def _fail_half_sent(self, requests: Sequence[Request]) -> None:
        """End a connection on which nothing can follow any more, at the end of our time."""
        with self._state:
            for request in requests:
                self._in_flight.expire(request, f"{request.call.verb} could not be sent in time")
            self._lose("a frame could not be sent in time; half of it is on its way")

    def _send_some(self, rest: memoryview) -> int:
        try:
            return self._socket.send(rest, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._fail("the connection broke", error)
            return 0

    def _flush(self) -> None:
        """Send what threads that have left wanted to say, unless somebody else is sending.

        That one calls this again when it has finished, so nothing stays behind.
        """
        while self._unsent and self._sending.acquire(False):
            try:
                with self._state:
                    data, self._unsent = b"".join(self._unsent), []
                if self._send_some(memoryview(data)) < len(data):
                    # It reads nothing; closing ends the waits as well.
                    self._fail("the server does not read")
            finally:
                self._sending.release()

    # Waiting

    def _await_all(self, requests: Sequence[Request], waiter: Waiter, deadline: float) -> bool:
        """Wait until all requests are done; False if the time was over before."""
        for request in requests:
            while request.reply is None and request.error is None:
                if deadline <= monotonic():
                    return False
                if self._leader is waiter:
                    self._receive(waiter, deadline)
                else:
                    waiter.sleep(_left(deadline))
        return True

    def _receive(self, waiter: Waiter, deadline: float) -> None:
        """Read once, until the deadline at most, and hand out what has come."""
        arrived = self._arrived
        if not (waiter.looks and self._is_found(waiter)):
            self._limit_recv(min(deadline, self._probe.next_at) - monotonic())
        try:
            # One C call reads and stores: an interrupt comes before or after, so that
            # no bytes get lost between the two.
            waiter.is_waiting = True
            if not arrived:
                arrived.extend(map(self._socket.recv, (self._recv_bytes,)))
            waiter.is_waiting = False
        except BlockingIOError:
            waiter.is_waiting = False
            self._look_after(monotonic())
            return  # the kernel's time-out; the caller judges whether it was ours
        except OSError as error:
            waiter.is_waiting = False
            self._fail("the connection broke", error)
            return
        data = arrived.pop()
        is_full = len(data) == self._recv_bytes
        with self._state:
            self._take(data)
            missing_bytes = self._in_flight.missing_bytes
        wanted_bytes = missing_bytes or (_LARGE_RECV_BYTES if is_full else 0)
        self._recv_bytes = min(max(wanted_bytes, _SMALL_RECV_BYTES), _LARGE_RECV_BYTES)
        if self._unsent:
            self._flush()

    def _is_found(self, waiter: Waiter) -> bool:
        """Look at the socket again and again for a moment, once in an exchange."""
        waiter.looks = False
        assert self._polling is not None
        assert waiter.gamble is not None
        waiter.is_waiting = True
        is_found = self._polling.run(waiter.gamble)
        waiter.is_waiting = False
        return is_found

    def _look_after(self, now: float) -> None:
        """Ask a server that is silent whether it is there, and give up one that is not."""
        with self._state:
            step = self._probe.step(now)
            if step == ASK:
                self._say(self._in_flight.ping())
            elif step == LOST:
                self._lose("nothing has come from the server, no answer to a PING either")
        self._flush()

    def _take(self, data: bytes) -> None:
        if data:
            in_flight = self._in_flight
            self._wake(in_flight.feed(data))
            if in_flight.unsent:
                self._collect()
            is_listening = in_flight.take_events is not None
            if (
                is_listening or not in_flight.is_idle
            ):  # else silence begins to count with the next request
                self._probe.heard(monotonic())
            if in_flight.is_lost:
                self._shut()
        else:
            self._lose("the server has closed the connection")

    def _limit_recv(self, left: float) -> None:
        """Have the next recv end after so many seconds, more or less."""
        left = max(left, 0.001)
        set_to = self._recv_seconds
        if set_to > left * 1.02 + 0.005 or set_to < left * 0.5:
            self._set_recv_seconds(left)

    def _set_recv_seconds(self, seconds: float) -> None:
        seconds = min(max(seconds, 0.001), _LONGEST_RECV_SECONDS)
        whole = int(seconds)
        value = _timeval(whole, int((seconds - whole) * 1e6))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        except OSError as error:
            self._fail("the connection is closed", error)
        self._recv_seconds = seconds

    def _look(self) -> None:
        """See whether the server has said goodbye while nobody was reading."""
        try:
            self._take(self._socket.recv(_SMALL_RECV_BYTES, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return
        except OSError as error:
            self._lose("the connection broke", error)

    def _pass_on(self, waiter: Waiter) -> None:
        """Give the lead to some thread that waits, or to the next that comes."""
        with self._state:
            if self._leader is not waiter:
                return  # one that has just begun has taken it already
            request = self._in_flight.waiting()
            self._leader = None if request is None else request.waker
            if self._leader is not None:
                self._leader.wake()

    def _wake(self, requests: Iterable[Request]) -> None:
        for request in requests:
            if request.waker is not self._leader:
                request.waker.wake()

    # Giving up

    def _expire(self, requests: Sequence[Request], seconds: float) -> None:
        with self._state:
            for request in requests:
                text = f"{request.call.verb} was not answered within {seconds:.3g} s"
                self._say(self._in_flight.expire(request, text))
        self._flush()

    def _give_up(self, requests: Sequence[Request]) -> None:
        with self._state:
            for request in requests:
                self._say(self._in_flight.give_up(request))
        self._flush()

    def _say(self, frame: bytes) -> None:
        if frame:
            self._unsent.append(frame)

    def _collect(self) -> None:
        """Take over what the core wants to say by itself."""
        frames = self._in_flight.unsent
        self._unsent += filter(None, frames)
        frames.clear()

    def _fail(self, why: str, cause: BaseException | None = None) -> None:
        with self._state:
            self._lose(why, cause)

    def _lose(self, why: str, cause: BaseException | None = None) -> None:
        self._wake(self._in_flight.lose(why, cause))
        self._unsent = []
        self._shut()

    def _shut(self) -> None:
        """End the connection both ways; a thread that reads comes back from it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended already


def _left(deadline: float) -> float:
    return min(max(deadline - monotonic(), 0.0), _LONGEST_RECV_SECONDS)
