"""Leases behind a FakeServer, as far as clients can tell them from real ones.

Time stands still: a lease ends when a test says so.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from mqwire.packs import join_bodies, split_pack
from support.fake_server import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer, Peer

EPOCH = 3
LONGEST_WAIT_SECONDS = 1.0
"""Longer waits never end by themselves."""


class FakeLeases:
    """One queue whose messages are leased, settled and given back.

    Args:
        server: what it is behind.
        bodies: the messages that it has, numbered from 1.
    """

    def __init__(self, server: FakeServer, *bodies: Any) -> None:
        self.ready = [(number, body) for number, body in enumerate(bodies, 1)]
        self.live: dict[int, dict[int, Any]] = {}
        self.done: list[int] = []
        self.failed: dict[int, dict[str, Any]] = {}
        self.returned: list[int] = []
        self.dead: dict[int, dict[str, Any]] = {}
        self.pushed: list[tuple[str, bytes]] = []
        self.extended: list[tuple[int, float]] = []
        self._waiting: list[tuple[Peer, tuple[Any, ...]]] = []
        self._timers: list[threading.Timer] = []
        self._steps: dict[str, list[Any]] = {}
        self._last = 0
        self._news = threading.Condition(threading.RLock())
        verbs = {
            "PULL": self._pull,
            "WAKE": self._wake,
            "ACK": self._ack,
            "NACK": self._nack,
            "REJECT": self._reject,
            "EXTEND": self._extend,
            "STEP": self._step,
        }
        for verb, answer in verbs.items():
            server.answers[verb] = answer

    def add(self, *messages: tuple[int, Any]) -> None:
        """Make messages ready, and serve who waits."""
        with self._news:
            self.ready += messages
            waiting, self._waiting = self._waiting, []
            for peer, frame in waiting:
                self._pull(peer, frame)

    def end(self, lease: int) -> None:
        """Let a lease run out: its messages are somebody else's."""
        with self._news:
            del self.live[lease]

    def until(self, is_true: Any) -> None:
        """Wait until something holds of it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._news:
            while not is_true(self):
                left = deadline - time.monotonic()
                assert left > 0, vars(self)
                self._news.wait(min(left, 0.05))

    def _pull(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        with self._news:
            taken, self.ready = self.ready[: frame[3]], self.ready[frame[3] :]
            wait = frame[4].get("wait", 0)
            if not taken and wait:
                self._waiting.append((peer, frame))
                if wait <= LONGEST_WAIT_SECONDS:
                    self._timers.append(threading.Timer(wait, self._end_wait, [peer, frame]))
                    self._timers[-1].start()
                return
            if not taken:
                peer.empty(frame)
                return
            self._last += 1
            self.live[self._last] = dict(taken)
            self._news.notify_all()
            ids = [number for message_id, _ in taken for number in (message_id, 1)]
            pack = join_bodies(body for _, body in taken)
            # Under the lock: replies leave in the order of what they tell.
            peer.ok(frame, ids, [pack], {}, [EPOCH, self._last])

    def _end_wait(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        with self._news:
            if (peer, frame) in self._waiting:
                self._waiting.remove((peer, frame))
                peer.empty(frame)

    def _wake(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        with self._news:
            mine = [each for each in self._waiting if each[0] is peer and each[1][1] == frame[2]]
            for each in mine:
                self._waiting.remove(each)
                peer.empty(each[1])
            peer.ok(frame, bool(mine))

    def _refusal(self, lease: tuple[int, int], runs: Any) -> tuple[str, dict[str, Any]] | None:
        if lease[1] not in self.live:
            why = "over" if lease[1] <= self._last else "unknown"
            return "LEASE_LOST", {"lease": list(lease), "why": why}
        for message_id in _ids(runs):
            if message_id not in self.live[lease[1]]:
                return "NOT_LEASED", {"lease": list(lease), "id": message_id}
        return None

    def _settle(self, peer: Peer, frame: tuple[Any, ...], note: Callable[[int], object]) -> None:
        """Settle, noting each message before the reply leaves."""
        lease, options = frame[2], frame[3] if len(frame) > 3 else {}
        with self._news:
            refusal = self._refusal(lease, options.get("ids", ()))
            if refusal is not None:
                peer.error(frame, refusal[0], **refusal[1])
                return
            taken = self._take(lease[1], options.get("ids", ()))
            for message_id, _ in taken:
                note(message_id)
            peer.ok(frame, len(taken), "synced")
            self._news.notify_all()

    def _take(self, seq: int, runs: Any) -> list[tuple[int, Any]]:
        held = self.live[seq]
        taken = [(each, held.pop(each)) for each in _ids(runs) or list(held)]
        if not held:
            del self.live[seq]
        return taken

    def _ack(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        self._settle(peer, frame, self.done.append)

    def _nack(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        options = frame[3] if len(frame) > 3 else {}
        if options.get("hand_back"):
            self._settle(peer, frame, self.returned.append)
        else:
            self._settle(peer, frame, lambda each: self.failed.update({each: options}))

    def _reject(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        options = frame[3] if len(frame) > 3 else {}
        self._settle(peer, frame, lambda each: self.dead.update({each: options}))

    def _extend(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        with self._news:
            self.extended.append((frame[2][1], frame[3]))
            refusal = self._refusal(frame[2], ())
            if refusal is None:
                peer.ok(frame)
            else:
                peer.error(frame, refusal[0], **refusal[1])
            self._news.notify_all()

    def _step(self, peer: Peer, frame: tuple[Any, ...]) -> None:
        with self._news:
            key = frame[-1]["key"]
            if key in self._steps:
                peer.ok(frame, self._steps[key], "synced", True, [])
                return
            for verb, *rest in frame[2]:
                if verb == "PUSH":
                    if rest[0] == "full":
                        peer.error(frame, "QUEUE_FULL", part=1)
                        return
                    continue
                refusal = self._refusal(rest[0], (rest[1] if rest[1:] else {}).get("ids", ()))
                if refusal is not None:
                    peer.error(frame, refusal[0], **refusal[1])
                    return
            results: list[Any] = []
            pieces = split_pack(frame[3]) if type(frame[3]) is bytes else []
            for verb, *rest in frame[2]:
                if verb == "PUSH":
                    self.pushed += [(rest[0], pieces.pop(0)) for _ in range(rest[1])]
                    results.append(1)
                else:
                    ids = (rest[1] if rest[1:] else {}).get("ids", ())
                    taken = [each for each, _ in self._take(rest[0][1], ids)]
                    self.done += taken
                    results.append(len(taken))
            self._steps[key] = results
            peer.ok(frame, results, "synced")
            self._news.notify_all()


def _ids(runs: Any) -> list[int]:
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [each for first, count in pairs for each in range(first, first + count)]
