"""What each job of a consumer is, and what its end sends. Floor 1.

    open --- done | fail | reject | hand back ---> settled
      |                        `-- no answer --> given up (in doubt; the lease runs out)
      `--- the server says so ----------------> lost

What a job's end sends is written once, as operations (`mqclient.steps`); `Job` and `AsyncJob`
(`mqclient.jobs`) carry them out in their own way.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mqclient import lease_calls, steps
from mqclient.checks import check_pushes, check_seconds, reason_text
from mqclient.codecs import encode_result
from mqclient.errors import (
    AccessDenied,
    InterfaceError,
    JobCancelled,
    LeaseLost,
    MqError,
    NotLeased,
    QueueNotFound,
    ServerError,
)

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping

    from mqclient.base import BaseClient
    from mqclient.calls import Call
    from mqclient.messages import Message
    from mqclient.models import LeaseId
    from mqclient.steps import StepsOf

_logger = logging.getLogger("mqclient")

OPEN: Final = "open"
SETTLING: Final = "being settled"
SETTLED: Final = "settled"
LOST: Final = "somebody else's by now"
GIVEN_UP: Final = "given up: whether it was settled is in doubt"
RETURNED: Final = "handed back, since its consumer was closed"


class Batch:
    """The messages that one pull has brought, under one lease.

    Args:
        lease: its id.
        seconds: its time.
        ids: the messages.
    """

    def __init__(self, lease: LeaseId, seconds: float, ids: Iterable[int]) -> None:
        self.lease = lease
        self.seconds = seconds
        self.jobs: list[BaseJob] = []
        self.left = set(ids)
        """Those that have not been settled."""
        self.error: LeaseLost | None = None
        """The server's word that the lease is lost."""

    @property
    def unbegun(self) -> list[int]:
        """Those that are said to begin later; a single one is at work from the start."""
        return [job.id for job in self.jobs] if len(self.jobs) > 1 else []

    def cancel(self, ids: Collection[int]) -> None:
        """Take the server's word that messages were cancelled, and tell their jobs."""
        for job in self.jobs:
            if job.id in ids:
                job.tell_cancelled()

    def lose(self, error: LeaseLost) -> None:
        """Take the server's word that the lease is lost, and tell the jobs."""
        self.error = error
        for job in self.jobs:
            job.tell_lost()


class BaseJob:
    """A message to be worked on; see `Job`."""

    lost: threading.Event | asyncio.Event
    cancelled: threading.Event | asyncio.Event

    def __init__(
        self, client: BaseClient, message: Message, batch: Batch, *, raise_errors: bool
    ) -> None:
        self.message = message
        """The message itself."""
        self._client = client
        self._batch = batch
        self._raise_errors = raise_errors
        self._state = OPEN
        self._error: NotLeased | None = None
        self._is_inside = False
        self._is_drained = False
        self._is_told_to_end = False

    @property
    def id(self) -> int:
        """The message's number in its queue."""
        return self.message.id

    @property
    def queue(self) -> str:
        """The queue that it came from."""
        return self.message.queue

    @property
    def body(self) -> Any:
        """The message's body, decoded; raises BodyError where that cannot be."""
        return self.message.body

    @property
    def headers(self) -> dict[str, Any]:
        """The message's headers; empty if it has none."""
        return self.message.headers

    @property
    def deliveries(self) -> int:
        """How often the message was handed out, this time included."""
        return self.message.deliveries

    @property
    def attempts(self) -> int:
        """How often it has failed so far."""
        return self.message.attempts

    @property
    def losses(self) -> int:
        """How often its worker was lost so far."""
        return self.message.losses

    @property
    def lease(self) -> LeaseId:
        """The lease that it is under."""
        return self._batch.lease

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be said about it."""
        return self._state != OPEN or self._batch.error is not None

    @property
    def is_lost(self) -> bool:
        """Whether the server has said that the job is no longer this worker's."""
        return self.lost.is_set()

    @property
    def is_draining(self) -> bool:
        """Whether the client drains: a job that can stop may hand itself back."""
        return self._client.is_draining

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled the job: nobody needs its result any more."""
        return self.cancelled.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled if the job was cancelled; the end of its block lets it go then.

        To be called now and then by a job that takes long.
        """
        if self.is_cancelled:
            raise JobCancelled(f"the job {self.id} of {self.queue!r} was cancelled")

    def raise_if_lost(self) -> None:
        """Raise LeaseLost, or NotLeased, if the job is no longer this worker's.

        To be called now and then by a job that takes long.
        """
        error = self._batch.error or self._error
        if self.is_lost and error is not None:
            raise error

    def tell_lost(self) -> None:
        """Note that the server says that the job is somebody else's by now."""
        if self._state == OPEN:
            self.lost.set()

    def tell_cancelled(self) -> None:
        """Note that the server says that the job was cancelled."""
        if self._state == OPEN:
            self.cancelled.set()

    def __repr__(self) -> str:
        is_lost = self._state == OPEN and self._batch.error is not None
        state = LOST if is_lost else self._state
        return f"{type(self).__name__}(id={self.id}, queue={self.queue!r}, {state})"

    # What is sent

    def _done(self, push: Mapping[str, Iterable[Any]] | None, result: Any = None) -> StepsOf:
        raw = None if result is None else encode_result(result)
        if push is None:
            return self._settle(lambda lease, ids: lease_calls.ack(lease, ids, result=raw))
        check_pushes(push)

        def make(lease: LeaseId, ids: list[int] | None) -> Call:
            part = lease_calls.ack_part(lease, ids, raw)
            return self._client._step_call(part, push)  # noqa: SLF001  a part of the client

        return self._settle(make)

    def _fail(self, reason: str | BaseException, delay: float | None) -> StepsOf:
        text = reason_text(reason)
        check_seconds(delay, "delay")
        return self._settle(lambda *of: lease_calls.nack(*of, reason=text, delay=delay))

    def _reject(self, reason: str | BaseException) -> StepsOf:
        text = reason_text(reason)
        return self._settle(lambda *of: lease_calls.reject(*of, reason=text))

    def _hand_back(self) -> StepsOf:
        return self._settle(lambda *of: lease_calls.nack(*of, hand_back=True))

    def _settle(self, make: Callable[[LeaseId, list[int] | None], Call]) -> StepsOf:
        batch = self._batch
        if self._state != OPEN:
            raise InterfaceError(f"the job {self.id} of {self.queue!r} is {self._state}")
        if batch.error is not None:
            raise batch.error
        # Without ids it is for all that is under the lease: also for what the keeper is about
        # to hand back, and for what was given up in doubt. So only where there is no other.
        call = make(batch.lease, None if len(batch.jobs) == 1 else [self.id])
        self._state = SETTLING
        ends_at = monotonic() + max(batch.seconds, self._client._timeout)  # noqa: SLF001  a part of the client
        try:
            yield from steps.settle(call, 1, ends_at)
        except LeaseLost as error:
            self._state = OPEN  # not settled, and never will be
            batch.lose(error)
            self._leave()
            raise
        except NotLeased as error:
            self._state, self._error = LOST, error  # the others of its lease are well
            self.lost.set()
            self._leave()
            raise
        except ServerError:
            self._state = OPEN  # refused: nothing has changed
            raise
        except BaseException:
            self._state = GIVEN_UP
            self._leave()
            raise
        self._state = SETTLED
        self._leave()

    def _leave(self) -> None:
        """Let the lease be extended no more, once none of its messages needs it."""
        batch = self._batch
        batch.left.discard(self.id)
        if not batch.left or batch.error is not None:
            self._client._release(batch.lease)  # noqa: SLF001  a part of the client

    def _end(self, error: BaseException | None) -> Generator[Any, Any, bool]:
        """Settle at the end of the block; the result is whether its error is swallowed."""
        self._is_inside = False
        trouble = None
        if not self.is_settled:
            try:
                if error is None:
                    yield from self._done(None)
                elif isinstance(error, Exception) and not _is_of_setup(error):
                    yield from self._fail(error, None)
                else:
                    yield from self._hand_back()
            except MqError as settling:
                trouble = settling
        if error is None:
            return self._judge(trouble)
        if trouble is not None:
            _logger.warning("%r ended with an error, and could not say so: %s", self, trouble)
        if not isinstance(error, Exception):
            return self._is_drained or isinstance(error, JobCancelled)
        if self._raise_errors or _is_of_setup(error):
            return False
        if error in (self._batch.error, self._error):  # nothing in the job has failed
            _logger.warning("%r has lost its lease, and may be run once more: %s", self, error)
        else:
            _logger.error("%r failed", self, exc_info=error)
        return True

    def _judge(self, trouble: MqError | None) -> bool:
        """Judge what became of a job that ended well, but could not be settled."""
        if trouble is None:
            return False
        is_expected = isinstance(trouble, LeaseLost | NotLeased) or steps.is_passing(trouble)
        if self._raise_errors or not is_expected:
            raise trouble
        _logger.warning("%r is done, but may be run once more: %s", self, trouble)
        return False


def _is_of_setup(error: BaseException) -> bool:
    """Tell whether an error is none of the job's: any other job would meet it as well.

    The library was misused, the server lacks a queue or a right, or it has no room just now.
    """
    if isinstance(error, ServerError):
        return error.is_retryable or isinstance(error, QueueNotFound | AccessDenied)
    return isinstance(error, InterfaceError)
