"""The blocking client: what users call. Floor 1: a thin shell around calls and steps."""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from mqclient import calls, steps
from mqclient.backups import Backup
from mqclient.base import check_wait
from mqclient.checks import check_callable
from mqclient.errors import ConnectionLost, RequestTimeout
from mqclient.job_client import JobClient
from mqclient.pipelines import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from mqclient.backups import Destination
    from mqclient.batches import Messages
    from mqclient.messages import Message
    from mqclient.models import QueueInfo, SnapshotInfo
    from mqclient.options import PushOptions, QueueOptions


class Client(JobClient):
    """A connection to an mqd server, for code that blocks.

        with mqclient.Client() as client:
            client.create("jobs", if_missing=True)
            client.push("jobs", {"lr": 0.1})
            message = client.pull("jobs", wait=60)
            print(message.body)

    Args:
        url: `mq://user:password@host:port`, `mq://:token@host:port`,
            `mq+unix://user:password@/path` or `file:///path/address.json`; None takes the
            variable MQ_URL, else the address file that a server of the same user on this
            machine has written (MQ_ADDRESS_FILE or ~/.mqd/default.json).
        codec: how bodies are encoded that are not bytes: `json`, `msgpack`, `raw` (bytes
            only) or a `Codec`. Every client reads the built-in three, whatever its own is.
        timeout: seconds that each call may take, on top of the `wait` of a pull and
            including a reconnect. Every method takes its own instead. `push_many`, and
            `pull_many` and `peek` past one frame, take it for each frame.
        connect_timeout: seconds that connecting may take, refused attempts included: a
            server that is just starting is waited for.
        name: what the server's logs call this client.
        address_file: an address file to use instead of a URL.
        keys: whether pushes get a key that are not given one.
        server_wait: seconds for which `connect` and `with` wait for a server that is not
            there yet, also where its address file is not; it is logged once. None: they do
            not, and loops of `consume` wait for 300.
        detached: for a gateway, which holds leases for workers that it cannot watch: the name
            of a holder whose leases end at their time alone, be it connected or not. Clients of
            one user with one name are one holder, this process after a restart too.
        token: to come in with, for a URL without credentials, or instead of the address file's
            own; None takes MQ_TOKEN or the file that MQ_TOKEN_FILE names for such a URL.

    Raises:
        ConfigurationError: one of these makes no sense.

    It connects at the first call, at `connect` or on entering `with`.

    *Bodies.* Bytes are sent as they are and come back as bytes. Anything else that JSON
    can hold, a dataclass too, is sent as JSON text and comes back as JSON does: tuples as
    lists, keys as strings; `into=SomeDataclass` restores and checks the type. A body that
    cannot be decoded raises BodyError where `Message.body` is looked at, never in a pull.

    *Errors* are all MqError: InterfaceError for misuse, ServerError with one subclass for
    each code of the protocol, ConnectFailed, ConnectionLost, RequestTimeout,
    ProtocolError, BodyError.

    *Lost connections.* What is under way fails with ConnectionLost, whose `in_doubt` says
    whether it may have been carried out; the cause is the server's own error if it gave
    one. The next call connects again. A call that is not in doubt (a look, or one that
    had not been sent) is tried once more by itself.

    *A push is sent again* within its time if its reply was lost, also after a restart of the
    server: each goes out with a key, by which its queue knows for some minutes that it was
    there before. A queue that was created with `dedupe_seconds=0` knows no keys: then, and
    where it may have forgotten, ConnectionLost is raised with `in_doubt`, as it is with
    `keys=False` and in pipelines, which send a key only where one is given.

    *Delivery is at most once.* A pull that is given up (time-out, Ctrl-C) tells the server
    so. If messages come for it all the same they are kept and handed to the next pull of
    that queue by this client; what is still kept at `close` is lost, and logged.

    *Threads* may share a client: calls of others go on while one waits in a pull. *Forks*
    may too: the child connects by itself; kept messages stay with the parent.
    """

    def connect(self, *, timeout: float | None = None) -> None:
        """Connect now, if the client is not connected.

        Raises:
            ConnectFailed: nothing answers; the text says what to do.
            AuthFailed: the credentials are not valid.
        """
        self._ready(monotonic() + self._connect_seconds(timeout))

    def close(self) -> None:
        """Close the connection. Calls of other threads fail; later calls are refused.

        Jobs that were not settled are handed back, and spend no attempt.
        """
        if not self._is_closed:
            self._is_closed = True
            self._leave_keeper()
            for connection in [*self._others, self._connection]:
                if connection is not None:
                    connection.close()
            self._report_kept()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def create(
        self,
        queue: str,
        *,
        max_messages: int | None = None,
        max_bytes: int | None = None,
        durability: str | None = None,
        if_missing: bool = False,
        timeout: float | None = None,
        **more: Unpack[QueueOptions],
    ) -> QueueInfo:
        """Create a queue.

        Args:
            queue: its name.
            max_messages: bound of the messages in it; None for the server's default.
            max_bytes: bound of their size; None for the server's default.
            durability: what its pushes, pulls and purges reach that say nothing else:
                `synced`, `written` or `accepted`; None for the server's.
            if_missing: leave a queue of this name as it is, and return its info.
            timeout: seconds; None for the client's.
            more: what becomes of jobs that fail: `dead_letter`, `max_attempts`,
                `max_worker_losses`, `backoff` and others, see `mqclient.options`.

        Raises:
            QueueExists, BadName, OutOfRange, TooManyQueues, AccessDenied, NoJournal: it was
                refused.

        Durability: when it returns, the queue is there at its own level.
        """
        call = calls.create(
            queue,
            max_messages=max_messages,
            max_bytes=max_bytes,
            durability=durability,
            if_missing=if_missing,
            **more,
        )
        info: QueueInfo = self._result(call, self._seconds(timeout))
        return info

    def delete(self, queue: str, *, timeout: float | None = None) -> int:
        """Delete a queue and return how many messages went with it.

        Raises:
            QueueNotFound: there is no such queue.
        """
        removed: int = self._result(calls.delete(queue), self._seconds(timeout))
        return removed

    def queues(
        self, pattern: str | None = None, *, timeout: float | None = None
    ) -> list[QueueInfo]:
        """Return the infos of all queues, or of those that fit a pattern with `*` and `?`."""
        infos: list[QueueInfo] = self._result(calls.queues(pattern), self._seconds(timeout))
        return infos

    def info(self, queue: str, *, timeout: float | None = None) -> QueueInfo:
        """Return the info of one queue.

        Raises:
            QueueNotFound: there is no such queue.
        """
        info: QueueInfo = self._result(calls.info(queue), self._seconds(timeout))
        return info

    def push(
        self,
        queue: str,
        body: Any,
        *,
        headers: Mapping[str, Any] | None = None,
        durability: str | None = None,
        timeout: float | None = None,
        **more: Unpack[PushOptions],
    ) -> int:
        """Push one message and return its id.

        Args:
            queue: where to.
            body: bytes, anything that the codec can hold, or a dataclass.
            headers: a small map of text to scalars.
            durability: where the message is when it returns: `synced` on the disk,
                `written` in the kernel, `accepted` in the server's memory; None for the
                queue's level.
            timeout: seconds; None for the client's.
            more: `priority`, `delay`, `not_before`, `ttl`, `max_attempts`,
                `max_worker_losses` and `key`, see `mqclient.options`.

        Raises:
            QueueFull, QueueNotFound, BodyTooLarge, BadHeaders, StorageFull, NoJournal: it
                was refused.
            KeyReused: the key was given before, with another message.
            ConnectionLost, RequestTimeout: with `in_doubt`, it may have been pushed.
            ProtocolError: it was pushed, but the server tells of less than `durability`.

        Durability: when it returns, the level asked for, or a higher one, has been reached;
        else the queue's, which `info(queue).durability` tells. `server.durability` is that
        of queues that have none of their own.
        """
        call = self._push_call(queue, body, headers, durability, more)
        message_id: int = self._result(call, self._seconds(timeout))
        return message_id

    def push_many(
        self,
        queue: str,
        bodies: Iterable[Any],
        *,
        headers: Mapping[str, Any] | Iterable[Mapping[str, Any] | None] | None = None,
        on_progress: Callable[[int], object] | None = None,
        durability: str | None = None,
        timeout: float | None = None,
        **more: Unpack[PushOptions],
    ) -> list[int]:
        """Push many messages, in as few frames as the limits allow, and return their ids.

        Each frame is all or nothing; the whole is not.

        Args:
            queue: where to.
            bodies: any number, also from a generator, which is read as it is pushed.
            headers: one map for all, or a map or None for each body.
            on_progress: called after each frame with the count pushed so far.
            durability: as with `push`; each frame waits for it.
            timeout: seconds for each frame; None for the client's.
            more: as with `push`, the same for all. A `key` names the first frame, and with a
                number behind it the others: the same bodies pushed again are not there twice.

        Raises:
            MqError: the first error, as with `push`; its `pushed` has the ids so far.
        """
        seconds = self._seconds(timeout)
        check_callable(on_progress, "on_progress")
        said = self._more_of_frames(durability, more)
        limits = self._limits(seconds)
        operation = steps.push_many(
            self._encoder, limits, queue, bodies, headers, on_progress, said
        )
        ids: list[int] = self._run(operation, seconds)
        return ids

    def pull(
        self,
        queue: str,
        *,
        wait: float = 0.0,
        durability: str | None = None,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Message | None:
        """Remove the oldest message and return it, or None if there is none.

        Args:
            queue: where from.
            wait: seconds to wait for a message, at most.
            durability: what the removal reaches before the message leaves the server:
                `synced`, `written` or `accepted`; None for the queue's level. With
                `accepted` a message may be there again after the server has died.
            into: a dataclass (or another type) that the body is restored to.
            timeout: seconds on top of `wait`; None for the client's.

        Raises:
            QueueNotFound: there is no such queue, or it was deleted meanwhile.
            ConnectionLost, RequestTimeout: with `in_doubt`, a message may have been
                removed; after a time-out it is kept for the next pull if it arrives.
        """
        source = self._source(queue, into)
        if not check_wait(wait) and not self._kept.concern(queue):
            call = calls.pull_one(source, durability)
            message: Message | None = self._result(call, self._seconds(timeout))
            return message or next(iter(self._kept.take(source, 1)), None)
        messages = self.pull_many(
            queue, 1, wait=wait, durability=durability, into=into, timeout=timeout
        )
        return messages[0] if messages else None

    def pull_many(
        self,
        queue: str,
        count: int,
        *,
        wait: float = 0.0,
        durability: str | None = None,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Messages:
        """Remove up to `count` of the oldest messages and return them.

        It waits until there is at least one. More than one frame's worth is asked for
        frame by frame, without waiting, until one does not come back full; an error after
        the first frame ends the pull without being raised.

        Args:
            queue: where from.
            count: most messages, from 1 on.
            wait: seconds to wait for the first message, at most.
            durability: as with `pull`.
            into: a dataclass (or another type) that bodies are restored to.
            timeout: seconds on top of `wait`, for each frame; None for the client's.

        Raises:
            QueueNotFound, ConnectionLost, RequestTimeout: as with `pull`.
        """
        steps.check_count(count)
        seconds = self._seconds(timeout)
        source = self._source(queue, into)
        if durability is not None:
            calls.check_level(durability)
        limits = self._limits(seconds)
        operation = steps.pull_many(self._kept, limits, source, count, check_wait(wait), durability)
        messages: Messages = self._run(operation, seconds)
        return messages

    def peek(
        self,
        queue: str,
        count: int = 1,
        *,
        skip: int = 0,
        state: str | None = None,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Messages:
        """Return up to `count` of the oldest messages after the first `skip`; change nothing.

        Args:
            queue: where.
            count: most messages, from 1 on.
            skip: how many to pass over.
            state: those that are `ready` (None too), `delayed`, `leased` or `dead`.
            into: a dataclass (or another type) that bodies are restored to.
            timeout: seconds for each frame; None for the client's.

        Raises:
            QueueNotFound: there is no such queue.
        """
        steps.check_count(count)
        steps.check_count(skip, "skip", 0)
        seconds = self._seconds(timeout)
        source = self._source(queue, into, 0)
        operation = steps.peek(self._limits(seconds), source, count, skip, state)
        messages: Messages = self._run(operation, seconds)
        return messages

    def purge(self, queue: str, *, state: str | None = None, timeout: float | None = None) -> int:
        """Remove messages of a queue and return how many there were.

        Args:
            queue: where.
            state: None or `waiting` for those that are ready or delayed, `dead` for those
                that are dead. Leased ones stay.
            timeout: seconds; None for the client's.

        Raises:
            QueueNotFound: there is no such queue.
        """
        removed: int = self._result(calls.purge(queue, state), self._seconds(timeout))
        return removed

    def pause(self, queue: str, *, timeout: float | None = None) -> None:
        """Stop the delivery of a queue's messages, until `resume`.

        Pulls find it empty, or wait. Pushes go on, and so do the leases that are out.

        Raises:
            QueueNotFound: there is no such queue.

        Durability: a pause survives a restart of the server.
        """
        self._result(calls.pause(queue), self._seconds(timeout))

    def resume(self, queue: str, *, timeout: float | None = None) -> None:
        """Let a queue's messages be delivered again; one that is not paused stays as it is."""
        self._result(calls.resume(queue), self._seconds(timeout))

    def stats(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Return the server's figures, as PROTOCOL.md section 5 (STATS) lists them.

            client.stats()["journal"]["sync_seconds_mean"]

        Returns:
            A dict for each part; None for one that the server does not have, such as
            `journal` where it keeps its state in memory alone.
        """
        figures: dict[str, Any] = self._result(calls.stats(), self._seconds(timeout))
        return figures

    def snapshot(self, *, timeout: float | None = None) -> SnapshotInfo:
        """Make a snapshot on the server's disk now; the server serves everybody meanwhile.

        Args:
            timeout: seconds; None for ten minutes, or the client's if that is longer.

        Raises:
            SnapshotFailed, NoJournal, AccessDenied: there is none.

        Durability: when it returns, all that was answered before is in it, synced.
        """
        info: SnapshotInfo = self._result(calls.snapshot(), self._snapshot_seconds(timeout))
        return info

    def backup(
        self,
        file: Destination,
        *,
        overwrite: bool = False,
        on_progress: Callable[[int, int], object] | None = None,
        timeout: float | None = None,
    ) -> SnapshotInfo:
        """Write a backup of the server, of which `mqd restore` makes a data directory.

        It is a snapshot, made now and fetched over a connection of its own.

        Args:
            file: a path, or a file object open for bytes, which is flushed and not closed.
            overwrite: replace a file of that path, once all of the backup is there.
            on_progress: called with the bytes fetched so far, and the bytes that there are.
            timeout: seconds for the snapshot; None for ten minutes, or the client's if that
                is longer. Each piece after that may take as long as any other call.

        Raises:
            FileExistsError, OSError: the file is there already, or cannot be written.
            SnapshotFailed, NoJournal, AccessDenied: there is no backup.
            ConnectionLost, RequestTimeout: it broke off; it has to begin again.

        Durability: when it returns, the file has its name and is synced, with mode 0600. A
        backup that fails leaves nothing under a path; in a file object, what it has written.
        """
        seconds = self._snapshot_seconds(timeout)
        copy = Backup(file, overwrite=overwrite)
        try:
            self._copy(copy, seconds, on_progress)
        except (ConnectionLost, RequestTimeout) as error:
            copy.discard()
            raise copy.unfinished(error) from error
        except BaseException:
            copy.discard()
            raise
        return copy.info

    def ping(self, *, timeout: float | None = None) -> float:
        """Return the seconds that a round trip to the server takes."""
        seconds = self._seconds(timeout)
        self._ready(monotonic() + seconds)
        started_at = time.perf_counter()
        self._result(calls.ping(), seconds)
        return time.perf_counter() - started_at

    def pipeline(self, *, raise_errors: bool = True, timeout: float | None = None) -> Pipeline:
        """Return a pipeline: calls that are sent in one go.

            with client.pipeline() as p:
                p.push("results", {"score": 0.97})
                p.pull("jobs")
            first_id, message = p.results

        Leaving `with`, or `run`, sends them and waits for all replies. Each is carried
        out, or refused, by itself.

        Args:
            raise_errors: raise the first error once all replies are there; with False,
                and in `results` in any case, errors stand in the places of results.
            timeout: seconds for all of it, on top of the longest wait in it.
        """
        return Pipeline(self, timeout, raise_errors=raise_errors)
