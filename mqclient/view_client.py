"""What the blocking client offers to those who follow messages. Floor 1.

A part of `mqclient.client`, which has everything else that users call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqclient import calls, tracking, view_calls
from mqclient.account_client import AccountClient
from mqclient.base import check_wait
from mqclient.steps import check_count
from mqclient.watching import DEFAULT_CREDIT, Watch

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mqclient.log_models import LogTail
    from mqclient.messages import Message
    from mqclient.view_models import Cancellation, Status


class ViewClient(AccountClient):
    """The methods of `Client` that look at single messages, cancel them, and watch."""

    def status(
        self, queue: str, ids: int | Collection[int], *, timeout: float | None = None
    ) -> list[Status]:
        """Return where messages are, in the order of their ids.

        What has become of those that have left the queue is known where it was created with
        `keep_results_seconds`; else they are `gone`.

        Raises:
            QueueNotFound: there is no such queue.
        """
        seconds = self._seconds(timeout)
        calls.check_queue(queue)
        found: list[Status] = self._run(tracking.status(queue, tracking.ids_of(ids)), seconds)
        return found

    def wait(
        self, queue: str, ids: int | Collection[int], *, timeout: float | None = None
    ) -> list[Status]:
        """Wait until messages have come to an end, and return what has become of them.

            [status] = client.wait("jobs", client.push("jobs", {"lr": 0.1}))
            print(status.state, status.result)

        The server tells when it is so: nobody polls. Lost connections are made again.

        Args:
            queue: where.
            ids: one, or any number.
            timeout: seconds that it may take; None for as long as it takes. When they are over
                the messages are told of as they are then: `is_over` says which have come to
                their end.

        Raises:
            QueueNotFound: there is no such queue, or it was deleted meanwhile.
            ConnectFailed: there was no connection before, and none can be made.
        """
        self._seconds(None)
        calls.check_queue(queue)
        operation = tracking.wait(
            queue,
            tracking.ids_of(ids),
            tracking.seconds_of(timeout),
            was_connected=self._was_connected,
        )
        found: list[Status] = self._run(operation, self._timeout)
        return found

    def cancel(
        self,
        queue: str,
        ids: int | Collection[int],
        *,
        durability: str | None = None,
        timeout: float | None = None,
    ) -> Cancellation:
        """Have messages not worked on any more, and return how many these were.

        Those that wait are removed. Those that are under leases are marked: their workers are
        told (`Job.cancelled`), and they are not tried again unless they are done. All others
        are passed over.

        Args:
            queue: where.
            ids: one, or any number.
            durability: what is reached when it returns; None for the queue's level.
            timeout: seconds for each 1024 of them; None for the client's.

        Raises:
            QueueNotFound: there is no such queue.
            ConnectionLost, RequestTimeout: with `in_doubt`, it may have been done; it may be
                done again, and counts what was left then.
        """
        seconds = self._seconds(timeout)
        calls.check_queue(queue)
        operation = tracking.cancel(queue, tracking.ids_of(ids), durability)
        done: Cancellation = self._run(operation, seconds)
        return done

    def watch(
        self,
        pattern: str | None = None,
        *,
        events: Sequence[str] | None = None,
        credit: int = DEFAULT_CREDIT,
        wait: float | None = None,
    ) -> Watch:
        """Return what happens from now on, as an iterator of events.

            with client.watch("jobs*", events=["acked", "dead"]) as watch:
                for event in watch:
                    print(event.kind, event.queue, event.ids)

        It begins on entering `with`, or with the first event that is asked for, over a
        connection of its own. A loop that is too slow, and one whose connection was lost, gets
        an event of the kind `missed` in the place of those that it has missed.

        Args:
            pattern: of queues; None for all.
            events: the kinds that are of interest; None for all.
            credit: how many events the server may be ahead, from 1 to 65536.
            wait: seconds without an event after which it ends; None for no end.

        Raises:
            AccessDenied, BadName, OutOfRange, ConnectFailed: from `with` or the first event.
        """
        seconds = None if wait is None else check_wait(wait)
        return Watch(self, pattern, events, credit, seconds)

    def peek_one(
        self,
        queue: str,
        message_id: int,
        *,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Message | None:
        """Return one message of a queue in whichever state it is; change nothing.

        `state` of it tells that; None is returned where the queue does not hold it (any more):
        `status` tells what became of it.

        Args:
            queue: where.
            message_id: which.
            into: a dataclass (or another type) that its body is restored to.
            timeout: seconds; None for the client's.

        Raises:
            QueueNotFound: there is no such queue.
        """
        check_count(message_id, "message_id")
        call = view_calls.peek_one(self._source(queue, into, 0), message_id)
        message: Message | None = self._result(call, self._seconds(timeout))
        return message

    def frames(
        self,
        after: int | None = None,
        *,
        count: int | None = None,
        timeout: float | None = None,
    ) -> LogTail:
        """Return the newest frames of the server's frame log; for administrators.

            tail = client.frames()
            while True:
                for frame in tail.frames:
                    print(frame.time, frame.user, frame.verb, frame.queue, frame.code)
                time.sleep(1)
                tail = client.frames(tail.last)

        The server keeps the last 4096 reads and writes, 1 MiB at most; `mqctl log` reads all
        that there is. What asks for frames is not told itself.

        Args:
            after: `last` of the tail before: only what came since then, the oldest first;
                None for the newest.
            count: most reads and writes that are told of; None for all that there are.
            timeout: seconds; None for the client's.

        Raises:
            AccessDenied: the user is no administrator.
            NoFrameLog: the server keeps none.
        """
        call = view_calls.frames(after, count)
        tail: LogTail = self._result(call, self._seconds(timeout))
        return tail
