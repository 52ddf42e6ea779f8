"""One queue: its messages, bounds and counters, and those who wait for messages."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mqd.core.errors import queue_full
from mqd.core.fifo import Batch, Fifo
from mqd.core.held import HELD_BYTES, Held
from mqd.core.results import Kept
from mqd.core.retries import Retries
from mqd.core.shelves import Shelves
from mqd.core.whereabouts import Whereabouts
from mqwire.levels import LEVELS, Level

if TYPE_CHECKING:
    from mqd.core.leases import Lease
    from mqd.core.messages import Message
    from mqd.core.paging import Pager
    from mqd.core.parcels import PushExtras, Terms


class Waiter:
    """One who waits for messages of a queue, served in the order of coming.

    Args:
        most: how many messages it takes at most.
        room_bytes: how large packs and headers may be together.
    """

    __slots__ = ("most", "room_bytes")

    def __init__(self, most: int, room_bytes: int) -> None:
        self.most = most
        self.room_bytes = room_bytes


class Queue:
    """One queue. Its persistent part changes through records only, see `mqd.core.broker`.

    After every record `pushed` is the sum of `pulled`, `acked`, `purged`, `moved`, `expired`,
    `cancelled`, and the ready, delayed, leased and dead messages.

    Args:
        uid: its number, never used twice.
        name: what clients call it.
        options: as they are on record: `max_messages`, `max_bytes`, and `durability` (a
            level's word) where the queue has a level of its own; `dead_letter`, the name of
            another queue; `max_leased`; `ttl_seconds` and `on_expiry` (a word of
            `mqwire.verbs.EXPIRED_FATES`, the first where nothing is said);
            `expires_seconds`; `keep_results_seconds`; and those of `mqd.core.retries.Retries`.
        created_ms: when it was created.
        pager: as of `Fifo`.
    """

    __slots__ = (
        "acked",
        "cancelled",
        "created_ms",
        "dead_letter",
        "expired",
        "fifo",
        "free_bytes",
        "free_messages",
        "held",
        "idle_ms",
        "is_paused",
        "keeps_expired",
        "kept",
        "leased",
        "leases",
        "level",
        "max_bytes",
        "max_leased",
        "max_messages",
        "moved",
        "name",
        "options",
        "pulled",
        "purged",
        "pushed",
        "retries",
        "ttl_ms",
        "uid",
        "used_ms",
        "waiters",
        "where",
    )

    def __init__(
        self,
        uid: int,
        name: str,
        options: dict[str, Any],
        created_ms: int,
        pager: Pager | None = None,
    ) -> None:
        self.uid = uid
        self.name = name
        self.options = options
        self.max_messages: int = options["max_messages"]
        self.max_bytes: int = options["max_bytes"]
        word = options.get("durability")
        self.level: Level | None = None if word is None else LEVELS[word]
        self.dead_letter: str | None = options.get("dead_letter")
        self.retries = Retries(options)
        self.max_leased: int | None = options.get("max_leased")
        """Most messages that may be under leases; None for as many as there are."""
        self.is_paused = False
        """Whether nothing is to be delivered."""
        self.ttl_ms = int(1000 * options.get("ttl_seconds", 0))
        """How long messages may wait; 0 for ever."""
        self.keeps_expired: bool = options.get("on_expiry") == "dead_letter"
        """Whether those that have waited too long become dead letters and are not dropped."""
        self.idle_ms = int(1000 * options.get("expires_seconds", 0))
        """How long the queue is kept without use; 0 for ever."""
        self.created_ms = self.used_ms = created_ms
        """`used_ms` is when it was used last. It is on no record: whoever carries out a command
        that names the queue sets it, beside pushes and leases, which set it themselves."""
        self.pushed = self.pulled = self.purged = self.acked = self.moved = self.expired = 0
        self.cancelled = 0
        self.fifo = Fifo(pager)
        self.held: Held | None = None
        """Messages that do not lie in `fifo`; None until there was one."""
        self.leased = 0
        """Messages under leases."""
        self.leases: Shelves[Lease] = Shelves()
        """These leases by number, the oldest first; kept by `mqd.core.leases.LeaseBook`."""
        self.free_messages: int = self.max_messages
        """What the messages outside `fifo`, leased or held, leave of the bound for those in it."""
        self.free_bytes: int = self.max_bytes
        """The same of `max_bytes`."""
        keep_seconds = options.get("keep_results_seconds")
        self.kept = None if keep_seconds is None else Kept(int(1000 * keep_seconds))
        """What has become of its messages, where it keeps that."""
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.where = Whereabouts(self.leases)
        """Which lease each leased message is under; kept by `mqd.core.leases`."""

    @property
    def ready(self) -> int:
        """How many messages wait for nothing but somebody to take them."""
        held = self.held
        return self.fifo.count if held is None else self.fifo.count + held.ready_count

    @property
    def available(self) -> int:
        """How many messages can be leased now; nothing is to be taken where that is 0.

        None while the queue is paused, or holds as many leased messages as it may.
        """
        if self.is_paused:
            return 0
        if self.max_leased is None:
            return self.ready
        return max(0, min(self.ready, self.max_leased - self.leased))

    def has_overdue(self, now_ms: int) -> bool:
        """Tell whether messages wait that have waited too long: they are to go first."""
        if self.held is None:
            return False
        expires_ms = self.held.expiries.next_ms()
        return expires_ms is not None and expires_ms <= now_ms

    @property
    def delayed(self) -> int:
        """How many messages wait for a time."""
        return 0 if self.held is None else self.held.delayed_count

    @property
    def dead(self) -> int:
        """How many messages are dead and have stayed."""
        return 0 if self.held is None else len(self.held.dead)

    @property
    def size_bytes(self) -> int:
        """Encoded bodies and headers of the ready messages."""
        return self.fifo.size_bytes + (0 if self.held is None else self.held.ready_bytes)

    @property
    def outside(self) -> int:
        """How many messages are not in `fifo`."""
        return self.max_messages - self.free_messages

    def hold(self) -> Held:
        """Return the place of messages with an object of their own."""
        if self.held is None:
            self.held = Held()
        return self.held

    def check_room(self, count: int, size_bytes: int) -> None:
        """Return if `count` messages of `size_bytes` together fit.

        Every message counts until it is gone, be it ready, delayed, leased or dead.

        Raises:
            BrokerError: QUEUE_FULL, with the bound that they would pass.
        """
        fifo = self.fifo
        if fifo.count + count > self.free_messages:
            present = fifo.count + self.outside
            raise queue_full(self.name, "max_messages", self.max_messages, present, count)
        if fifo.size_bytes + size_bytes > self.free_bytes:
            present = fifo.size_bytes + self.max_bytes - self.free_bytes
            raise queue_full(self.name, "max_bytes", self.max_bytes, present, size_bytes)

    def room(self) -> tuple[int, int]:
        """Tell how many messages, and how many bytes, fit beside what is there."""
        return (self.free_messages - self.fifo.count, self.free_bytes - self.fifo.size_bytes)

    def take(self, most: int, room_bytes: int) -> list[Batch]:
        """Remove the first ready messages, in batches whose ids follow each other.

        They are counted as pulled. All that it takes goes by age, or none.
        """
        fifo, held = self.fifo, self.held
        if (held is None or not held.ready_count) and not fifo.has_gaps:
            batch = fifo.take(most, room_bytes)
            self.pulled += batch.count
            return [batch]
        by_age = held is not None and held.goes_by_age()
        batches: list[Batch] = []
        while most and self.ready:
            first = None if held is None else held.first(by_age=by_age)
            at_least = 0 if batches else 1
            limit = min(most, max(1, room_bytes // HELD_BYTES))
            if held is None or first is None or (fifo.count and fifo.first_id < first[0]):
                limit = limit if first is None else min(limit, first[0] - fifo.first_id)
                before_bytes = fifo.size_bytes
                batch = fifo.take(limit, room_bytes, at_least)
                taken_bytes = before_bytes - fifo.size_bytes
            else:
                batch = found = held.take(first[1], limit, room_bytes, at_least)
                taken_bytes = found.size_bytes
                self.free_messages += found.count
                self.free_bytes += taken_bytes
            if not batch.count:
                break
            batches.append(batch)
            most -= batch.count
            room_bytes -= taken_bytes + HELD_BYTES * batch.count
            self.pulled += batch.count
        return batches

    def judged(self, extras: PushExtras, now_ms: int) -> tuple[int, int, int, Terms | None]:
        """Return what a record says of a push beyond a plain one: see `mqd.core.parcels`."""
        priority, due_ms, ttl_ms, max_attempts, max_losses = extras
        if due_ms <= now_ms:
            due_ms = 0
        has_terms = ttl_ms or max_attempts or max_losses
        if self.ttl_ms and not 0 < ttl_ms < self.ttl_ms:
            expires_ms = now_ms + self.ttl_ms
        else:
            expires_ms = now_ms + ttl_ms if ttl_ms else 0
        terms = (ttl_ms, max_attempts, max_losses) if has_terms else None
        return (priority, due_ms, expires_ms, terms)

    def expiry_ms(self, now_ms: int, message: Message) -> int:
        """Tell when a message expires that comes to the queue anew; 0 for never."""
        ttls = [ttl_ms for ttl_ms in (self.ttl_ms, message.own_terms[0]) if ttl_ms]
        return now_ms + min(ttls) if ttls else 0

    def leave(self, count: int, size_bytes: int) -> None:
        """Account for messages outside `fifo` that are gone from the queue."""
        self.free_messages += count
        self.free_bytes += size_bytes

    def enter(self, count: int, size_bytes: int) -> None:
        """Account for messages that are outside `fifo` now."""
        self.free_messages -= count
        self.free_bytes -= size_bytes

    def oldest_ms(self) -> int | None:
        """When the oldest ready message was pushed; None if none is ready."""
        oldest_ms = self.fifo.oldest_ms()
        pushed_ms = None if self.held is None else self.held.oldest_ms()
        if oldest_ms is None or pushed_ms is None:
            return pushed_ms if oldest_ms is None else oldest_ms
        return min(oldest_ms, pushed_ms)

    def oldest_leased_ms(self) -> int | None:
        """When the oldest lease was given; None if there is none."""
        lease = next(iter(self.leases.values()), None)
        return None if lease is None else lease.leased_ms

    def info(self, now_ms: int) -> dict[str, Any]:
        """Describe the queue, as PROTOCOL.md section 5 (INFO). Nothing is scanned for it."""
        held = self.held
        delayed_ms = None if held is None else held.delayed_since_ms()
        dead_ms = None if held is None else held.dead_since_ms()
        return {
            "queue": self.name,
            "ready": self.ready,
            "delayed": self.delayed,
            "leased": self.leased,
            "dead": self.dead,
            "bytes": self.size_bytes,
            "oldest_age_seconds": _age_seconds(self.oldest_ms(), now_ms),
            "oldest_delayed_age_seconds": _age_seconds(delayed_ms, now_ms),
            "oldest_leased_age_seconds": _age_seconds(self.oldest_leased_ms(), now_ms),
            "oldest_dead_age_seconds": _age_seconds(dead_ms, now_ms),
            "pushed": self.pushed,
            "pulled": self.pulled,
            "acked": self.acked,
            "purged": self.purged,
            "moved": self.moved,
            "expired": self.expired,
            "cancelled": self.cancelled,
            "waiting": len(self.waiters),
            "is_paused": self.is_paused,
            "options": dict(self.options),
            "created_at": self.created_ms / 1000,
        }


def _age_seconds(since_ms: int | None, now_ms: int) -> float | None:
    return None if since_ms is None else max(0, now_ms - since_ms) / 1000
