"""What the records of results and cancellations change, and what is past its time.

As `mqd.core.job_state`: here is carried out what was decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqd.core import view_records as records
from mqd.core.cancelling import remove_waiting
from mqd.core.deadlines import Timetable
from mqd.core.results import Kept, Outcome, done_with
from mqwire.runs import Runs, ids_of, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.job_state import JobState
    from mqd.core.leases import Lease
    from mqd.core.queue import Queue
    from mqd.core.records import Record
    from mqd.core.results import Result


class ViewState:
    """Carries out the records of `mqd.core.view_records`.

    Args:
        by_uid: the broker's queues by number.
        state: that of their jobs.
    """

    def __init__(self, by_uid: dict[int, Queue], state: JobState) -> None:
        self._by_uid = by_uid
        self._state = state
        self._times: Timetable[Kept] = Timetable()
        self.appliers: dict[int, Callable[..., int]] = {
            records.DONE: self._apply_done,
            records.RESULTS: self._apply_results,
            records.CANCEL: self._apply_cancel,
            records.MARK: self._apply_mark,
            records.CANCELLED: self._apply_cancelled,
        }

    def adopt(self, queue: Queue) -> None:
        """Take note of a new queue."""
        if queue.kept is not None:
            queue.kept.times = self._times

    def drop(self, queue: Queue) -> None:
        """Forget all about a queue that is deleted."""
        if queue.kept is not None:
            queue.kept.clear()

    def export(self, queue: Queue, now_ms: int) -> Iterator[Record]:
        """Yield the records of what only records of this module tell of a queue."""
        if queue.kept is not None:
            yield from queue.kept.export(queue.uid, now_ms)
        if queue.cancelled:
            yield (records.CANCELLED, queue.uid, queue.cancelled)

    def export_marks(self) -> Iterator[Record]:
        """Yield the records of the cancelled messages that are leased; the leases are there."""
        for lease in self._state.book.by_seq.values():
            if lease.cancelled:
                ids = runs_of(sorted(lease.cancelled))
                yield (records.MARK, lease.queue.uid, lease.seq, ids)

    def finish(self, lease: Lease, ids: Runs, now_ms: int, result: Result) -> int:
        """Let messages of a lease be done, as `JobState.finish`, and remember it."""
        kept = lease.queue.kept
        assert kept is not None, "only for queues that keep results"
        for found, outcome in done_with(lease, ids, now_ms, result):
            kept.add(found, outcome)
        self._state.clock_ms = now_ms
        return self._state.finish(lease, ids)

    def next_ms(self) -> int | None:
        """When `forget` has something to do; None for never."""
        return self._times.next_ms()

    def forget(self, now_ms: int, most: int) -> int:
        """Let go of results that are past their time, of about `most` messages.

        Nothing that can be asked for changes by that, so there is no record of it.

        Returns:
            Of how many messages they were.
        """
        count = 0
        while count < most and (kept := next(self._times.due(now_ms), None)) is not None:
            count += kept.forget(now_ms, most - count)
        return count

    def _apply_done(
        self, _uid: int, _epoch: int, seq: int, ids: Runs, now_ms: int, result: Result
    ) -> int:
        return self.finish(self._state.book.by_seq[seq], ids, now_ms, result)

    def _apply_results(self, uid: int, groups: tuple[Any, ...]) -> int:
        kept = self._by_uid[uid].kept
        assert kept is not None, "only queues that keep results have any"
        for ids, *fields in groups:
            kept.add(ids, Outcome(*fields))
        return len(groups)

    def _apply_cancel(self, uid: int, ids: Runs, now_ms: int) -> int:
        queue = self._by_uid[uid]
        count = remove_waiting(queue, ids, now_ms)
        self._state.set_alarm(queue)
        self._state.clock_ms = now_ms
        return count

    def _apply_mark(self, _uid: int, seq: int, ids: Runs) -> int:
        lease = self._state.book.by_seq[seq]
        if lease.cancelled is None:
            lease.cancelled = set()
        before = len(lease.cancelled)
        lease.cancelled.update(ids_of(ids))
        return len(lease.cancelled) - before

    def _apply_cancelled(self, uid: int, count: int) -> int:
        queue = self._by_uid[uid]
        queue.cancelled = count
        queue.pushed += count
        return 0
