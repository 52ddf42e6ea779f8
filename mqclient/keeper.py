"""The worker's side of its keeper: starts it, tells it what to hold, hears what is lost. Floor 1.

One keeper for each process, shared by its clients, started when the first lease is to be
held and ended with the last client that consumes. `mqclient.keeping` says what it does; this
module has the list of what it was told, so that one that dies is replaced by another.

Theory of operation. Orders are sent by whoever has them; a thread of its own reads what the
keeper says. Both ends are a socket pair: if this process ends, however it does, the keeper
reads the end of it. Credentials go through the socket pair and nowhere else.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

import mqclient
import mqwire
from mqclient.errors import LeaseLost
from mqclient.models import LeaseId
from mqwire.codes import Code
from mqwire.frames import FrameReader, FrameWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    OnLost = Callable[[LeaseLost], None]
    OnCancelled = Callable[[Sequence[int]], None]

_logger = logging.getLogger("mqclient")
_BOOT: Final = "import sys; sys.path += sys.argv[4:]; from mqclient.keeping import main; main()"
_SEND_SECONDS: Final = 5
_END_SECONDS: Final = 1.0
"""How long the end of this process waits for its keeper, which goes on by itself if need be."""
_SHORT_LIFE_SECONDS: Final = 60.0
_THREAD_SECONDS: Final = 300.0
"""After so long as a thread, a process is tried again between two jobs."""
_MAX_SHORT_LIVES: Final = 3
"""After so many keepers that have ended so soon, one after the other, a thread does it."""


class _Held(NamedTuple):
    """A lease that the keeper holds, so that another one can be told of it."""

    seconds: float
    on_lost: OnLost
    on_cancelled: OnCancelled
    unbegun: set[int]

    @property
    def more(self) -> tuple[Any, ...]:
        """What an order to hold it says of its messages."""
        return (sorted(self.unbegun),) if self.unbegun else ()


class Keeper:
    """The keeper of this process. Thread-safe; not for use in signal handlers."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._short_lives = 0
        self._needs_thread = False
        self._clients: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._held: dict[tuple[str, LeaseId], _Held] = {}

    @property
    def pid(self) -> int | None:
        """Process id of the keeper; None while there is none, or it is a thread."""
        return None if self._process is None else self._process.pid

    def join(self, key: str, target: dict[str, Any], identity: dict[str, Any]) -> None:
        """Let a client use the keeper, which starts with the first lease that it holds.

        Args:
            key: the client's own; no other client has it.
            target: where its server is and how to get in.
            identity: what AUTH says beside that.
        """
        with self._lock:
            if key not in self._clients:
                self._clients[key] = (target, identity)
                if self._socket is not None:
                    self._say("link", key, target, identity)

    def leave(self, key: str) -> None:
        """Take a client away, and hand back what it still holds; with the last one it ends."""
        with self._lock:
            if key not in self._clients:
                return
            for each, lease in list(self._held):
                if each == key:
                    self.hand_back(key, lease, None)
            del self._clients[key]
            self._say_if_there("drop", key)
            if not self._clients:
                self._end()

    def hold(
        self,
        key: str,
        lease: LeaseId,
        seconds: float,
        on_lost: OnLost,
        unbegun: Iterable[int] = (),
        on_cancelled: OnCancelled = lambda _ids: None,
    ) -> None:
        """Extend a lease from now on.

        Args:
            key: the client's own; no other client has it.
            lease: its id.
            seconds: its time.
            on_lost: called, in a thread of the keeper's, if the server says that it is lost.
            unbegun: messages of it that wait for `begin`: if this process is killed before,
                they have not lost their worker.
            on_cancelled: called in the same way with messages of it that were cancelled.
        """
        with self._lock:
            self._try_a_process_again()
            self._held[key, lease] = held = _Held(seconds, on_lost, on_cancelled, set(unbegun))
            if self._socket is None:
                self._start()
            else:
                self._say("hold", key, list(lease), seconds, *held.more)

    def begin(self, key: str, lease: LeaseId, message_id: int) -> None:
        """Say that a message is at work from now on."""
        with self._lock:
            held = self._held.get((key, lease))
            if held is not None and message_id in held.unbegun:
                held.unbegun.discard(message_id)
                self._say_if_there("begin", key, list(lease), message_id)

    def release(self, key: str, lease: LeaseId) -> None:
        """Extend a lease no more."""
        with self._lock:
            if self._held.pop((key, lease), None) is not None:
                self._say_if_there("release", key, list(lease))

    def hand_back(self, key: str, lease: LeaseId, ids: Sequence[int] | None) -> None:
        """Have messages given back that nobody has begun with; None for the whole lease.

        It returns at once; the keeper tries for some time, after the end of this process too.
        """
        with self._lock:
            held = self._held.get((key, lease))
            if ids is None:
                self._held.pop((key, lease), None)
            elif held is not None:
                held.unbegun.difference_update(ids)
            if key in self._clients:
                named = None if ids is None else list(ids)
                self._say_if_there("hand_back", key, list(lease), named)

    def abandon(self) -> None:
        """Let go of what belongs to the parent of a forked child."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.returncode = 0  # the parent's child, not ours: nothing to wait for

    def end(self) -> None:
        """End it, since this process ends in good order: what it holds is handed back."""
        with self._lock:
            process = self._process
            for key in list(self._clients):
                self.leave(key)
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)

    # Inside; the caller has the lock

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        timeval = struct.pack("@ll", _SEND_SECONDS, 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        self._started_at = monotonic()
        if not self._needs_thread:
            self._process = _spawn(theirs)
        if self._process is not None:
            theirs.close()
        else:
            self._needs_thread = True
            _run_in_thread(theirs)
        arguments = (ours, self._process)
        threading.Thread(
            target=self._hear, args=arguments, name="mqclient-keeper", daemon=True
        ).start()
        for key, (target, identity) in self._clients.items():
            self._say("link", key, target, identity)
        for (key, lease), held in self._held.items():
            self._say("hold", key, list(lease), held.seconds, *held.more)

    def _end(self) -> None:
        sock = self._socket
        self._socket = self._process = None
        self._short_lives = 0
        self._needs_thread = False  # what was short then may be there the next time
        if sock is None:
            return
        # The thread that listens closes the socket, and waits for the process.
        with suppress(OSError):
            sock.sendall(FrameWriter().encode(("end",)))
            sock.shutdown(socket.SHUT_WR)

    def _try_a_process_again(self) -> None:
        """Leave a thread that does a process's work, now and then, when nothing depends on it."""
        if not self._needs_thread or self._held or self._socket is None:
            return
        if monotonic() - self._started_at >= _THREAD_SECONDS:
            self._end()

    def _say_if_there(self, *order: Any) -> None:
        if self._socket is not None:
            self._say(*order)

    def _say(self, *order: Any) -> None:
        assert self._socket is not None
        try:
            self._socket.sendall(FrameWriter().encode(order))
        except OSError:
            # It is dead, or does not read: another one is told all that this one was.
            self._replace(self._socket)

    def _replace(self, sock: socket.socket) -> None:
        if self._socket is not sock:
            return
        process, self._process, self._socket = self._process, None, None
        if process is not None:
            process.kill()
            process.wait()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        is_short = monotonic() - self._started_at < _SHORT_LIFE_SECONDS
        self._short_lives = self._short_lives + 1 if is_short else 0
        self._needs_thread = self._needs_thread or self._short_lives >= _MAX_SHORT_LIVES
        _logger.warning("the keeper of leases has ended unexpectedly; another one is started")
        self._start()

    # In the thread that listens

    def _hear(self, sock: socket.socket, process: subprocess.Popen[bytes] | None) -> None:
        reader = FrameReader(1 << 20)
        with sock:
            while True:
                try:
                    data = sock.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    break
                for frame in reader.feed(data):
                    self._take(*frame)
            with self._lock:
                if self._clients:
                    self._replace(sock)
        if process is not None:
            process.wait()

    def _take(self, what: str, key: str, *details: Any) -> None:
        if what == "trouble":
            _logger.warning("keeper of leases: %s", details[0])
            return
        lease = LeaseId.from_array(details[0])
        if what == "cancelled":
            with self._lock:
                told = self._held.get((key, lease))
            if told is not None:
                told.on_cancelled(details[1])
            return
        with self._lock:
            held = self._held.pop((key, lease), None)
        if held is not None:
            held.on_lost(LeaseLost(Code.LEASE_LOST.name, details[1], details[2]))


def _spawn(theirs: socket.socket) -> subprocess.Popen[bytes] | None:
    """Start a keeper as a process; None where that cannot be done."""
    why = _cannot_spawn()
    if why is not None:
        _logger.warning(_THREAD_TEXT, why)
        return None
    packages = (mqclient, mqwire, msgpack)
    roots = dict.fromkeys(str(Path(str(each.__file__)).parents[1]) for each in packages)
    numbers = (str(theirs.fileno()), str(os.getpid()), repr(monotonic()))
    try:
        return subprocess.Popen(  # noqa: S603  this very interpreter, with a text of ours
            [sys.executable, "-I", "-S", "-c", _BOOT, *numbers, *roots],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            cwd="/",
            env={k: v for k, v in os.environ.items() if not k.startswith(("MQ_", "PYTHON"))},
        )
    except (OSError, subprocess.SubprocessError) as error:
        _logger.warning(_THREAD_TEXT, error)
        return None


_THREAD_TEXT: Final = (
    "no process can be started to keep leases (%s): a thread does it, which a job that holds the "
    "interpreter lock for long can stop"
)


def _cannot_spawn() -> str | None:
    """Say why there is no interpreter that could be started; None if there is one.

    In a frozen application `sys.executable` is the application itself: it would be run again.
    """
    if getattr(sys, "frozen", False) or "__compiled__" in globals():
        return "this is a frozen application, which has no interpreter of its own"
    return None if sys.executable else "Python does not know where its interpreter is"


def _run_in_thread(theirs: socket.socket) -> None:
    from mqclient.keeping import Keeping  # noqa: PLC0415  only where there is no process

    keeping = Keeping(theirs, None)
    threading.Thread(target=keeping.run, name="mqclient-keeping", daemon=True).start()


_keeper = Keeper()


def keeper() -> Keeper:
    """Return the keeper of this process."""
    return _keeper


def _after_fork_in_child() -> None:
    global _keeper  # noqa: PLW0603  one for each process
    _keeper.abandon()
    _keeper = Keeper()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(lambda: keeper().end())
