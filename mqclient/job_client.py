"""What the blocking client offers to those who work on jobs: leases and loops. Floor 1.

A part of `mqclient.client`, which has everything else that users call.
"""

from __future__ import annotations

import _thread
from typing import TYPE_CHECKING

from mqclient import lease_calls
from mqclient.base import check_lease, check_wait
from mqclient.consuming import Consumer, consume_settings
from mqclient.lease_calls import Leased
from mqclient.leases import Lease, lease_id
from mqclient.view_client import ViewClient

if TYPE_CHECKING:
    from collections.abc import Collection

    from typing_extensions import Unpack

    from mqclient.consuming import ConsumeOptions
    from mqclient.models import Holder, LeaseId


class JobClient(ViewClient):
    """The methods of `Client` that have to do with jobs."""

    def lease(
        self,
        queue: str,
        count: int = 1,
        *,
        seconds: float = 60.0,
        wait: float = 0.0,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Lease | None:
        """Take up to `count` of the oldest messages under a lease, or return None.

        They stay at the server, for nobody else, until they are settled or the lease ends;
        then somebody else gets them. Nothing happens by itself: for a loop over jobs, with
        leases that are extended, see `consume`.

        Args:
            queue: where from.
            count: most messages, from 1 to what a frame may hold.
            seconds: time of the lease.
            wait: seconds to wait for the first message, at most.
            into: a dataclass (or another type) that bodies are restored to.
            timeout: seconds on top of `wait`; None for the client's.

        Raises:
            QueueNotFound: there is no such queue, or it was deleted meanwhile.
            ConnectionLost, RequestTimeout: with `in_doubt`, messages may have been leased;
                they come back when the lease ends. What arrives late is handed back.
        """
        call = self._lease_call(queue, count, check_lease(seconds), check_wait(wait), into)
        leased = self._result(call, self._seconds(timeout))
        return None if leased is None else Lease(self, leased)

    def lease_named(self, lease: LeaseId | str) -> Lease:
        """Return a lease that was taken before, to settle or extend it; asks nothing.

        It is for a `detached` client, whose holder is the same after the process has ended,
        and which is told by somebody else which lease is meant. Its messages are not there
        again; a settlement whose reply was lost may return 0.

        Args:
            lease: its id, or the text of it.

        Raises:
            InterfaceError: the text is no id of a lease.
        """
        return Lease(self, Leased(lease_id(lease), []))

    def consume(
        self,
        queue: str,
        *,
        lease: float = 60.0,
        prefetch: int = 1,
        wait: float | None = None,
        into: type | None = None,
        **more: Unpack[ConsumeOptions],
    ) -> Consumer:
        """Work on the messages of a queue, one at a time.

            for job in client.consume("jobs"):
                with job:
                    work(job.body)

        A block that ends well acknowledges its job, one that raises gives it back as failed,
        and the loop goes on; `Job` says it all. Each job is to be settled before the next
        one is asked for: by its block, or by its methods. Threads that work at the same time
        have a loop each, over the same client.

        *The lease* is extended while the job runs, however long that is, by a small process
        beside this one (`mqclient.keeping`): also where the job holds the interpreter lock.
        If this process dies, the job is another worker's within seconds; while it is stopped
        the lease is not extended and runs out.

        *Lost connections* are tried again for as long as it takes, once there was one. A
        server that is not there yet is waited for as the client's `server_wait` says, and for
        300 s where that says nothing; it is logged once.

        *The end.* The loop ends when nothing has come for `wait` seconds, after `drain`, and
        after SIGTERM, which a loop in the main thread takes where the program has not: the
        client drains, and the job under way is interrupted by `Drained` and handed back.
        What was not begun is handed back in each case, after `break` and `close` too, and
        spends no attempt.

        Args:
            queue: where from.
            lease: seconds of the lease: after so long a job comes back if this process is
                stopped, or its machine is cut off.
            prefetch: most messages that are held at a time, the one at work included. More
                saves round trips where jobs are short, and keeps them from other workers.
            wait: seconds without a message after which the loop ends; None for no end.
            into: a dataclass (or another type) that bodies are restored to.
            more: `raise_errors=True` lets the errors of blocks through, which end the loop
                then; `handle_signals=False` leaves SIGTERM alone.

        Raises:
            QueueNotFound, AccessDenied, ...: from the loop.
            InterfaceError: from the loop, if a job was not settled.
        """
        source = self._source(queue, into)
        settings = consume_settings(lease, prefetch, wait, more)
        return Consumer(self, source, settings)

    def drain(self) -> None:
        """Begin no more jobs: the loops of `consume` end, and new ones are empty.

        What was prefetched is handed back at once, and waits are ended. The jobs under way
        go on to their end; one that looks at `job.is_draining` may hand itself back. It
        returns at once, and may be called by any thread and in signal handlers. There is no
        way back: it is for a process that is about to end.
        """
        self._is_draining = True
        _thread.start_new_thread(self._finish_drain, ())

    def holders(
        self,
        pattern: str | None = None,
        *,
        count: int | None = None,
        timeout: float | None = None,
    ) -> list[Holder]:
        """Return who holds leases now, of all queues or of those that fit a pattern.

        Args:
            pattern: of queues; None for all.
            count: most leases, the oldest; None for what the server tells at a time.
            timeout: seconds; None for the client's.
        """
        call = lease_calls.holders(pattern, count)
        found: list[Holder] = self._result(call, self._seconds(timeout))
        return found

    def redrive(
        self,
        queue: str,
        *,
        ids: Collection[int] | None = None,
        count: int | None = None,
        cause: str | None = None,
        origin: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Let dead messages be tried again, with new budgets; return how many.

        Dead letters go back to the queue that they came from.

        Args:
            queue: where they are dead, or dead letters.
            ids: which; None for the oldest.
            count: most messages; None for what the server takes at a time.
            cause: those alone whose last delivery ended so: `nack`, `reject`, `expired` (its
                lease ran out) or `gone` (its worker was lost).
            origin: dead letters alone that came from this queue.
            timeout: seconds; None for the client's.
        """
        call = lease_calls.redrive(queue, ids=ids, count=count, cause=cause, origin=origin)
        moved: int = self._result(call, self._seconds(timeout))
        return moved
