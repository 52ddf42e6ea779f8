"""Message keys: how a push or a step that is sent again is known.

Theory of operation. A key is remembered with a digest of what it came with and with the
result, from the record of its push on, for the time that the queue says or until too many
others have come, whatever becomes of the messages. A key that is past its time may still be
there, but is never judged by; so a broker that was rebuilt without it answers the same, and
`Keys.forget`, which lets such keys go, makes no record. Each key that comes in lets a few of
them go too, so no step is long. Where all queues together have too many keys, those go first
whose time ends first: what is past its time goes before all others, so it makes no difference
which of it is still there.

Keys of pushes belong to their queue, those of steps to the server as a whole: whoever lets
users choose them sees to it that one user's are not another's.

Memory: about 230 bytes for a key of 36 characters, so about 15 MB for a queue whose keys
are at their bound, and 120 MB for all of them.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqd.core import step_records as records
from mqd.core.checksum import crc32
from mqd.core.deadlines import Timetable
from mqd.core.errors import key_reused
from mqwire.limits import DEFAULT_DEDUPE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.fifo import HeaderRun
    from mqd.core.queue import Queue
    from mqd.core.records import Record

MAX_KEYS: Final = 65_536
"""Keys of a queue, and keys of steps; past that the oldest go."""

MAX_ALL_KEYS: Final = 524_288
"""Keys of all queues and steps together; past that those go whose time ends first."""

MAX_RESULTS: Final = 262_144
"""Results that are remembered for steps, 2 MiB of them; past that the oldest steps go. A step
has few parts as a rule, and 1,024 of them at most."""

LOOK_EVERY_MS: Final = 1000
"""How often it is looked for keys that are past their time, at most."""

DIGEST_BYTES: Final = 16

_NEVER_MS: Final = 2**62

_STEP_DEDUPE_MS: Final = 1000 * DEFAULT_DEDUPE_SECONDS
_FORGET_AT_ONCE: Final = 2  # more than one comes in, so what is past goes, and never all at once
_EXPORTED_TOGETHER: Final = 64
_HEAD: Final = struct.Struct(f">Q{DIGEST_BYTES}s")
_RESULT: Final = struct.Struct(">q")
_WITH_ONE: Final = struct.Struct(f">Q{DIGEST_BYTES}sq")
_CONTENT: Final = struct.Struct(">QII")
_MADE_MS: Final = struct.Struct(">Q")

Results: TypeAlias = "tuple[int, ...]"
"""See `mqd.core.step_records`."""


class Known(NamedTuple):
    """What is remembered of a key."""

    digest: bytes
    made_ms: int
    results: Results


class KeyRing:
    """Keys with what is remembered of them, the oldest first.

    Args:
        dedupe_ms: how long a key is judged by.
        max_keys: how many there may be.
        max_results: how many results they may have together.
    """

    __slots__ = (
        "_dedupe_ms",
        "_first_ends_ms",
        "_max_keys",
        "_max_results",
        "_packed",
        "_results",
        "due_ms",
    )

    def __init__(self, dedupe_ms: int, max_keys: int, max_results: int) -> None:
        self._dedupe_ms = dedupe_ms
        self._max_keys = max_keys
        self._max_results = max_results
        self._packed: OrderedDict[str, bytes] = OrderedDict()
        self._results = 0
        self._first_ends_ms = _NEVER_MS  # no key is past its time before that
        self.due_ms = 0
        """When `Keys` has it in its timetable, which alone sets it."""

    def __len__(self) -> int:
        return len(self._packed)

    def get(self, key: str, now_ms: int) -> Known | None:
        """Return what is remembered of a key that is not past its time."""
        packed = self._packed.get(key)
        if packed is None:
            return None
        known = _unpacked(packed)
        return known if known.made_ms > now_ms - self._dedupe_ms else None

    def add(self, key: str, digest: bytes, made_ms: int, results: Results) -> None:
        """Remember a key that comes now; some of those that are past their time go for it."""
        packed = self._packed
        if key in packed:
            self._count_off(packed.pop(key))
        if self._first_ends_ms <= made_ms:
            self.forget(made_ms, _FORGET_AT_ONCE)
        most = self._max_results - len(results)
        while packed and (len(packed) >= self._max_keys or self._results > most):
            self.forget_oldest()
        if not packed:
            self._first_ends_ms = made_ms + self._dedupe_ms
        if len(results) == 1:
            packed[key] = _WITH_ONE.pack(made_ms, digest, results[0])
        else:
            tail = b"".join([_RESULT.pack(each) for each in results])
            packed[key] = _HEAD.pack(made_ms, digest) + tail
        self._results += len(results)

    def next_ms(self) -> int | None:
        """When the first of them is past its time; None if there is none."""
        oldest = next(iter(self._packed.values()), None)
        if oldest is None:
            return None
        made_ms: int = _MADE_MS.unpack_from(oldest)[0]
        return made_ms + self._dedupe_ms

    def forget(self, now_ms: int, most: int) -> int:
        """Let go of keys that are past their time, `most` at most; returns how many."""
        count = 0
        while (next_ms := self.next_ms()) is not None and next_ms <= now_ms and count < most:
            self.forget_oldest()
            count += 1
        self._first_ends_ms = _NEVER_MS if next_ms is None else next_ms
        return count

    def forget_oldest(self) -> None:
        """Let go of the key that has been there for longest."""
        self._count_off(self._packed.popitem(last=False)[1])

    def living(self, now_ms: int) -> Iterator[tuple[str, bytes, int, Results]]:
        """Yield the keys that are not past their time, the oldest first."""
        since_ms = now_ms - self._dedupe_ms
        for key, packed in self._packed.items():
            known = _unpacked(packed)
            if known.made_ms > since_ms:
                yield (key, *known)

    def _count_off(self, packed: bytes) -> None:
        self._results -= (len(packed) - _HEAD.size) // _RESULT.size


def _unpacked(packed: bytes) -> Known:
    made_ms, digest = _HEAD.unpack_from(packed)
    results = tuple(each for (each,) in _RESULT.iter_unpack(packed[_HEAD.size :]))
    return Known(digest, made_ms, results)


class Keys:
    """All keys of a broker.

    Args:
        by_uid: the broker's queues by number.
        apply: carries out the record of a push.
    """

    def __init__(self, by_uid: dict[int, Queue], apply: Callable[[Record], int]) -> None:
        self._by_uid = by_uid
        self._apply = apply
        self._rings: dict[int, KeyRing] = {}
        self._times: Timetable[int] = Timetable()  # rings by when a key ends, or before that
        self._all = 0  # how many keys there are
        self._looked_ms = 0
        self.appliers: dict[int, Callable[..., int]] = {
            records.KEYED_PUSH: self._apply_push,
            records.KEYS: self._apply_keys,
        }

    def first_id(
        self, queue: Queue, key: str, pack: bytes, headers: tuple[HeaderRun, ...], now_ms: int
    ) -> int | None:
        """Return the first id of the push that a key came with; None if the key is free.

        Args:
            queue: the queue that is pushed to.
            key: of the push.
            pack: its messages.
            headers: theirs.
            now_ms: when.

        Raises:
            BrokerError: KEY_REUSED: it came with something else.
        """
        ring = self._rings.get(queue.uid)
        known = None if ring is None else ring.get(key, now_ms)
        if known is None:
            return None
        # Journals may hold keys with a hash of all that was pushed, as they were made once.
        if known.digest not in (digest_of_push(pack, headers), digest_of_content(pack, headers)):
            raise key_reused(key, queue.name)
        return known.results[0]

    def keyed(self, queue: Queue, key: str, digest: bytes, now_ms: int, push: Record) -> Record:
        """Return the record of a push with its key: as it is where the queue keeps no keys."""
        if queue.uid not in self._rings and not _dedupe_ms_of(queue):
            return push
        return (records.KEYED_PUSH, queue.uid, key, digest, now_ms, push)

    def step_results(self, key: str, digest: bytes, now_ms: int) -> Results | None:
        """Return what the step that a key came with has answered; None if the key is free.

        Raises:
            BrokerError: KEY_REUSED: it came with other parts.
        """
        ring = self._rings.get(records.STEPS)
        known = None if ring is None else ring.get(key, now_ms)
        if known is None:
            return None
        if known.digest != digest:
            raise key_reused(key)
        return known.results

    def count(self, queue: Queue | None = None) -> int:
        """Tell how many keys are kept for a queue, or for steps; some may be past their time."""
        return len(self._rings.get(records.STEPS if queue is None else queue.uid, ()))

    def remember(self, uid: int, key: str, digest: bytes, now_ms: int, results: Results) -> None:
        """Take in a key, of a push to a queue or, with `STEPS`, of a step."""
        ring = self._rings.get(uid)
        if ring is None:
            ring = self._new_ring(uid, now_ms)
        before = len(ring)
        ring.add(key, digest, now_ms, results)
        self._all += len(ring) - before
        while self._all > MAX_ALL_KEYS:
            self._forget_one()

    def _new_ring(self, uid: int, now_ms: int) -> KeyRing:
        is_step = uid == records.STEPS
        dedupe_ms = _STEP_DEDUPE_MS if is_step else _dedupe_ms_of(self._by_uid[uid])
        ring = self._rings[uid] = KeyRing(dedupe_ms, MAX_KEYS, MAX_RESULTS)
        ring.due_ms = now_ms + dedupe_ms
        self._times.add(ring.due_ms, uid)
        return ring

    def _forget_one(self) -> None:
        """Let go of the key whose time ends first."""
        while True:
            uid = next(self._times.due(_NEVER_MS), None)
            if uid is None:
                continue  # the timetable is not through what was removed from it
            ring = self._rings[uid]
            if ring.next_ms() == ring.due_ms:
                break
            self._retime(uid, ring)
        ring.forget_oldest()
        self._all -= 1
        self._retime(uid, ring)

    def _retime(self, uid: int, ring: KeyRing) -> None:
        """Note when the first key of a ring ends; one without keys goes."""
        self._times.remove(ring.due_ms, uid)
        next_ms = ring.next_ms()
        if next_ms is None:
            del self._rings[uid]
        else:
            ring.due_ms = next_ms
            self._times.add(next_ms, uid)

    def next_ms(self) -> int | None:
        """When `forget` is to be called; None for never."""
        next_ms = self._times.next_ms()
        return None if next_ms is None else max(next_ms, self._looked_ms + LOOK_EVERY_MS)

    def forget(self, now_ms: int, most: int) -> int:
        """Let go of keys that are past their time, `most` at most; returns how many.

        Nothing that can be asked for changes by that, so there is no record of it.
        """
        count = rings = 0
        while count < most and rings < most:
            uid = next(self._times.due(now_ms), None)
            if uid is None:
                self._looked_ms = now_ms
                break
            ring = self._rings[uid]
            count += ring.forget(now_ms, most - count)
            rings += 1
            self._retime(uid, ring)
        self._all -= count
        return count

    def drop(self, uid: int) -> None:
        """Forget the keys of a queue that is deleted."""
        ring = self._rings.pop(uid, None)
        if ring is not None:
            self._times.remove(ring.due_ms, uid)
            self._all -= len(ring)

    def export(self, clock_ms: int) -> Iterator[Record]:
        """Yield the records of all keys that are not past their time at `clock_ms`."""
        for uid, ring in sorted(self._rings.items()):
            living = ring.living(clock_ms)
            while together := tuple(islice(living, _EXPORTED_TOGETHER)):
                yield (records.KEYS, uid, together)

    def _apply_push(self, uid: int, key: str, digest: bytes, now_ms: int, push: Record) -> int:
        first_id = self._apply(push)
        self.remember(uid, key, digest, now_ms, (first_id,))
        return first_id

    def _apply_keys(self, uid: int, keys: tuple[tuple[str, bytes, int, Results], ...]) -> int:
        for key, digest, made_ms, results in keys:
            self.remember(uid, key, digest, made_ms, results)
        return len(keys)


def _dedupe_ms_of(queue: Queue) -> int:
    return int(1000 * queue.options.get("dedupe_seconds", DEFAULT_DEDUPE_SECONDS))


def digest_of_push(pack: bytes, headers: tuple[HeaderRun, ...]) -> bytes:
    """Tell the content of a push in a few bytes: a pack's size and checksum, and its headers.

    Who gives one key to two pushes by mistake is found out but once in four thousand million
    times. The same headers, said once for all messages or for each, are not the same content.
    """
    digest = _CONTENT.pack(0, len(pack), crc32(pack))
    return digest_of(digest, _in_full(headers)) if headers else digest


def digest_of_content(pack: bytes, headers: tuple[HeaderRun, ...]) -> bytes:
    """Tell the content of a push by a hash of all of it: for that of a step, and older keys."""
    digest = blake2b(pack, digest_size=DIGEST_BYTES).digest()
    return digest_of(digest, _in_full(headers)) if headers else digest


def _in_full(headers: tuple[HeaderRun, ...]) -> list[Any]:
    return [(offset, count, sorted(values.items())) for offset, count, values, _ in headers]


def digest_of(*values: Any) -> bytes:
    """Tell values in a few bytes: numbers, texts and binaries, and lists and tuples of them."""
    return blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
