"""Message keys: how a push or a step that is sent again is known.

Theory of operation. A key is remembered with a digest of what it came with and with the
result, from the record of its push on, for the time that the queue says or until too many
others have come, whatever becomes of the messages. Which keys are there is state, changed
by records alone: each key that comes in lets a few old ones go, so that nothing has to
look for them and no step of it is long. A key that is past its time may still be there,
but is never judged by; so a broker that was rebuilt without it answers the same.

Keys of pushes belong to their queue, those of steps to the server as a whole: whoever lets
users choose them sees to it that one user's are not another's.

Memory: about 230 bytes for a key of 36 characters, so about 15 MB for a queue whose keys
are at their bound.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqd.core import step_records as records
from mqd.core.errors import key_reused
from mqwire.limits import DEFAULT_DEDUPE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.fifo import HeaderRun
    from mqd.core.queue import Queue
    from mqd.core.records import Record

MAX_KEYS: Final = 65_536
"""Keys of a queue, and keys of steps; past that the oldest go."""

MAX_RESULTS: Final = 262_144
"""Results that are remembered for steps, 2 MiB of them; past that the oldest steps go. A step
has few parts as a rule, and 1,024 of them at most."""

DIGEST_BYTES: Final = 16

_STEP_DEDUPE_MS: Final = 1000 * DEFAULT_DEDUPE_SECONDS
_FORGET_AT_ONCE: Final = 2  # more than one comes in, so what is past goes, and never all at once
_EXPORTED_TOGETHER: Final = 64
_HEAD: Final = struct.Struct(f">Q{DIGEST_BYTES}s")
_RESULT: Final = struct.Struct(">q")
_WITH_ONE: Final = struct.Struct(f">Q{DIGEST_BYTES}sq")
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

    __slots__ = ("_dedupe_ms", "_max_keys", "_max_results", "_packed", "_results")

    def __init__(self, dedupe_ms: int, max_keys: int, max_results: int) -> None:
        self._dedupe_ms = dedupe_ms
        self._max_keys = max_keys
        self._max_results = max_results
        self._packed: OrderedDict[str, bytes] = OrderedDict()
        self._results = 0

    def __len__(self) -> int:
        return len(self._packed)

    def get(self, key: str, now_ms: int) -> Known | None:
        """Return what is remembered of a key that is not past its time."""
        packed = self._packed.get(key)
        if packed is None:
            return None
        known = _unpacked(packed)
        return known if known.made_ms > now_ms - self._dedupe_ms else None

    def add(self, key: str, known: Known) -> None:
        """Remember a key that comes now; some of those that are past their time go for it."""
        packed = self._packed
        if key in packed:
            self._forget(key)
        digest, made_ms, results = known
        since_ms = made_ms - self._dedupe_ms
        for _ in range(_FORGET_AT_ONCE):
            oldest = next(iter(packed), None)
            if oldest is None or _MADE_MS.unpack_from(packed[oldest])[0] > since_ms:
                break
            self._forget(oldest)
        most = self._max_results - len(results)
        while packed and (len(packed) >= self._max_keys or self._results > most):
            self._forget(next(iter(packed)))
        if len(results) == 1:
            packed[key] = _WITH_ONE.pack(made_ms, digest, results[0])
        else:
            tail = b"".join([_RESULT.pack(each) for each in results])
            packed[key] = _HEAD.pack(made_ms, digest) + tail
        self._results += len(results)

    def living(self, now_ms: int) -> Iterator[tuple[str, bytes, int, Results]]:
        """Yield the keys that are not past their time, the oldest first."""
        since_ms = now_ms - self._dedupe_ms
        for key, packed in self._packed.items():
            known = _unpacked(packed)
            if known.made_ms > since_ms:
                yield (key, *known)

    def _forget(self, key: str) -> None:
        packed = self._packed.pop(key)
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
        self.appliers: dict[int, Callable[..., int]] = {
            records.KEYED_PUSH: self._apply_push,
            records.KEYS: self._apply_keys,
        }

    def first_id(self, queue: Queue, key: str, digest: bytes, now_ms: int) -> int | None:
        """Return the first id of the push that a key came with; None if the key is free.

        Args:
            queue: the queue that is pushed to.
            key: of the push.
            digest: of its content, see `digest_of_push`.
            now_ms: when.

        Raises:
            BrokerError: KEY_REUSED: it came with something else.
        """
        ring = self._rings.get(queue.uid)
        known = None if ring is None else ring.get(key, now_ms)
        if known is None:
            return None
        if known.digest != digest:
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
            is_step = uid == records.STEPS
            dedupe_ms = _STEP_DEDUPE_MS if is_step else _dedupe_ms_of(self._by_uid[uid])
            ring = self._rings[uid] = KeyRing(dedupe_ms, MAX_KEYS, MAX_RESULTS)
        ring.add(key, Known(digest, now_ms, results))

    def drop(self, uid: int) -> None:
        """Forget the keys of a queue that is deleted."""
        self._rings.pop(uid, None)

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
    """Tell the content of a push in a few bytes. A pack says itself how many bodies it holds.

    The same headers, said once for all messages or for each, are not the same content.
    """
    digest = blake2b(pack, digest_size=DIGEST_BYTES).digest()
    if not headers:
        return digest
    runs = [(offset, count, sorted(values.items())) for offset, count, values, _ in headers]
    return digest_of(digest, runs)


def digest_of(*values: Any) -> bytes:
    """Tell values in a few bytes: numbers, texts and binaries, and lists and tuples of them."""
    return blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
