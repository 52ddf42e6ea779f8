"""What the processes of a pipeline have in common: a bare connection, and when to die.

Each is a process of its own. It draws all it does from a seed, tells what it was told in
lines on a pipe that outlives it, and kills itself at a moment of the protocol that it was
given:

    NAME dies MOMENT            NAME done KEY COUNT TIMES      NAME freezes SECONDS
    NAME refused KEY WHY        NAME pushed NEXT               NAME counts WHAT

What it is not: a client to copy. It looks at nothing that a worker would do with a job.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

from mqwire.address import Address
from mqwire.frames import FrameReader, FrameWriter
from support.server import PASSWORD

MOMENTS = (
    "connected",
    "auth_sent",
    "authenticated",
    "pull_sent",
    "reply_torn",
    "leased",
    "frame_cut",
    "step_sent",
    "step_answered",
    "nack_sent",
)
"""When a worker may kill itself, in the order in which it comes to them."""

CONNECTING = MOMENTS[:3]
PUSHING = ("push_sent", "push_answered")
"""When a producer may."""

_PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 0.01
_LEVELS = ("written",) * 7 + ("synced",)


class Task(NamedTuple):
    """What a process is to be."""

    place: str
    """Directory of the server's address file and socket."""
    name: str
    """Of this life; keys begin with it."""
    instance: str
    seed: str
    stage: int
    """Of a worker, from 0; of a producer the number of the next job."""
    moment: str
    passes: int
    """The how-manieth time it comes to the moment is its last."""
    most: int
    """How many messages a PULL takes; of a producer, how many jobs there are."""
    is_control: bool


class Broken(Exception):  # noqa: N818  the name says what is the matter
    """The connection is no more."""


class Wrong(AssertionError):  # noqa: N818  as above
    """The server has answered what it may not."""


class Link:
    """A connection with bare frames.

    Args:
        place: directory of the server's address file and socket.
        is_local: whether to take the socket.

    Raises:
        OSError: nobody is there.
    """

    def __init__(self, place: Path, *, is_local: bool) -> None:
        if is_local:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            target: Any = str(place / "mqd.sock")
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            urls = Address.from_json((place / "address.json").read_text()).urls
            url = next(url for url in urls if url.startswith("mq://"))
            host, _, port = url.removeprefix("mq://").rpartition(":")
            target = (host, int(port))
        self.socket.settimeout(_PATIENCE_SECONDS)
        try:
            self.socket.connect(target)
        except OSError:
            self.socket.close()
            raise
        self._reader = FrameReader(2**31)
        self._writer = FrameWriter()
        self._frames: list[Any] = []
        self._last_id = 0

    def encode(self, verb: str, *arguments: Any) -> bytes:
        """Return the next request's frame."""
        self._last_id += 1
        return self._writer.encode((verb, self._last_id, *arguments))

    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            Broken: the connection is gone.
        """
        try:
            self.socket.sendall(data)
        except TimeoutError as error:
            raise Wrong("the server reads nothing") from error
        except OSError as error:
            raise Broken from error

    def read(self) -> Any:
        """Return the next reply, without its id.

        Raises:
            Broken: the connection is gone.
        """
        while not self._frames:
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError as error:
                raise Wrong("the server answers nothing") from error
            except OSError as error:
                raise Broken from error
            if not data:
                raise Broken
            self._frames += self._reader.feed(data)
            if self._reader.error is not None:
                raise Wrong("the server's stream is broken") from self._reader.error
        frame = self._frames.pop(0)
        if frame[0] == 0:
            raise Broken
        return frame[1:]

    def call(self, verb: str, *arguments: Any) -> Any:
        """Ask for something that cannot be refused; returns the results."""
        self.send(self.encode(verb, *arguments))
        return results_of(self.read())

    def close(self) -> None:
        """Break it off."""
        self.socket.close()


def results_of(reply: Any) -> Any:
    """Return the results of a reply that cannot be a refusal."""
    if reply[0] != "OK":
        raise Wrong(f"refused: {reply}")
    return reply[1:]


class Actor:
    """What workers and producers have in common.

    Args:
        task: what to be.
        report: a pipe for what it tells.
    """

    def __init__(self, task: Task, report: int) -> None:
        self.is_told_to_stop = False
        self._task = task
        self._report = report
        self._chooser = random.Random(task.seed)
        self._passes_left = task.passes
        self._link: Link | None = None

    def run(self) -> None:
        """Work until somebody says stop, over as many connections as it takes."""
        while not self.is_told_to_stop:
            self._work_until_broken()

    def _work_until_broken(self) -> None:
        try:
            self._connect()
            while not self.is_told_to_stop:
                self._turn()
        except Broken:
            self._tell("counts", "connections.broken")
        finally:
            if self._link is not None:
                self._link.close()

    def _turn(self) -> None:
        raise NotImplementedError

    def _connect(self) -> None:
        """Come in, however long it takes.

        Raises:
            Broken: the connection is gone already.
            Wrong: nobody is there for a minute.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        self._link = self._try_to_connect()
        while self._link is None:
            if time.monotonic() > deadline:
                raise Wrong("there is no server")
            if self.is_told_to_stop:
                raise Broken
            time.sleep(RETRY_SECONDS)
            self._link = self._try_to_connect()
        self._pass("connected")
        who = {"user": "agent", "password": PASSWORD}
        self._send("AUTH", who, {"client": "pipeline", "instance": self._task.instance})
        self._pass("auth_sent")
        reply = self._there.read()
        if reply[0] != "OK":
            if reply[1] != "AUTH_BUSY":
                raise Wrong(f"AUTH: {reply}")
            raise Broken
        self._pass("authenticated")

    def _try_to_connect(self) -> Link | None:
        try:
            return Link(Path(self._task.place), is_local=self._chooser.random() < 0.5)
        except (OSError, ValueError):
            return None  # it is not there just now

    @property
    def _there(self) -> Link:
        assert self._link is not None, "it is connected"
        return self._link

    def _send(self, verb: str, *arguments: Any) -> None:
        self._there.send(self._there.encode(verb, *arguments))

    def _call(self, verb: str, *arguments: Any) -> Any:
        self._send(verb, *arguments)
        return self._there.read()

    def _tell(self, *words: Any) -> None:
        """Write a line; the pipe takes it whole or not at all."""
        line = " ".join(map(str, (self._task.name, *words))) + "\n"
        os.write(self._report, line.encode())

    def _is_last(self, moment: str) -> bool:
        """Tell whether this is the moment to die; the one who asks has come to it."""
        if moment != self._task.moment:
            return False
        self._passes_left -= 1
        return self._passes_left <= 0

    def _pass(self, moment: str) -> None:
        if self._is_last(moment):
            self._die(moment)

    def _die(self, moment: str) -> None:
        self._tell("dies", moment)
        os.kill(os.getpid(), signal.SIGKILL)

    def _level(self) -> dict[str, str]:
        return {"durability": self._chooser.choice(_LEVELS)}
