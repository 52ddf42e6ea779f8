"""Bugs to plant in order, time, keys, steps and cancellations; as those of `simulation.mutants`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqd.core import held, order_records, records, step_records, view_records
from mqd.core.broker import Broker
from mqd.core.errors import BrokerError
from mqd.core.held import Held
from mqd.core.jobs import Jobs
from mqd.core.keys import Keys
from mqd.core.queue import Queue
from mqd.engine.jobs import LocalJobs
from mqd.engine.local import LocalEngine
from mqwire.levels import Level
from simulation.disk import SimStorage

if TYPE_CHECKING:
    from collections.abc import Callable


def _drop_records(patch: Any, *kinds: int) -> None:
    append = SimStorage.append

    def forgetful(self: SimStorage, record: Any, /) -> None:
        if record[0] not in kinds:
            append(self, record)

    patch(SimStorage, "append", forgetful)


def _judge_otherwise(patch: Any, **said: int) -> None:
    """Let pushes say something else than they do."""
    judged = Queue.judged

    def judging(self: Queue, extras: Any, now_ms: int) -> Any:
        return judged(self, extras._replace(**said), now_ms)

    patch(Queue, "judged", judging)


# Steps


def steps_are_journaled_in_pieces(patch: Any) -> None:
    """Each part of a step without a key is a record of its own: a crash may come between them."""
    append = SimStorage.append

    def piecemeal(self: SimStorage, record: Any, /) -> None:
        if record[0] != step_records.STEP:
            append(self, record)
            return
        for part in record[1]:
            append(self, part)
            self.commit(Level.ACCEPTED)

    patch(SimStorage, "append", piecemeal)


def steps_forget_their_pushes(patch: Any) -> None:
    """What a step has settled is journaled, and what it has pushed is not."""
    append = SimStorage.append
    settling = {step_records.STEP: 1, step_records.KEYED_STEP: 5}

    def forgetful(self: SimStorage, record: Any, /) -> None:
        place = settling.get(record[0])
        if place is not None:
            kept = tuple(each for each in record[place] if each[0] not in _PUSHES)
            record = (*record[:place], kept)
        append(self, record)

    patch(SimStorage, "append", forgetful)


_PUSHES = {records.PUSH, order_records.PUSH_WITH, step_records.KEYED_PUSH}


def refused_steps_have_begun(patch: Any) -> None:
    """The parts before one that is refused are carried out."""
    step = LocalEngine.step

    def halfway(self: LocalEngine, parts: Any, key: Any, level: Any) -> Any:
        try:
            return step(self, parts, key, level)
        except BrokerError as error:
            if error.details.get("part"):
                step(self, parts[: error.details["part"]], None, level)
            raise

    patch(LocalEngine, "step", halfway)


def refusals_name_another_part(patch: Any) -> None:
    """A step that is refused tells another part than that which was."""
    step = LocalEngine.step

    def misled(self: LocalEngine, parts: Any, key: Any, level: Any) -> Any:
        try:
            return step(self, parts, key, level)
        except BrokerError as error:
            error.details["part"] = (error.details["part"] + 1) % len(parts)
            raise

    patch(LocalEngine, "step", misled)


def steps_forget_their_keys(patch: Any) -> None:
    """A step that comes again with its key is carried out again."""
    patch(Keys, "step_results", lambda *_arguments: None)


# Keys


def keys_are_not_looked_at(patch: Any) -> None:
    """A push that comes again with its key is carried out again."""
    patch(Keys, "first_id", lambda *_arguments: None)


def keys_are_not_journaled(patch: Any) -> None:
    """After a crash a push that comes again with its key is carried out again."""
    append = SimStorage.append

    def forgetful(self: SimStorage, record: Any, /) -> None:
        append(self, record[-1] if record[0] == step_records.KEYED_PUSH else record)

    patch(SimStorage, "append", forgetful)


def snapshots_forget_keys(patch: Any) -> None:
    """A snapshot is made without the keys."""
    export = Broker.export
    patch(
        Broker,
        "export",
        lambda self: (each for each in export(self) if each[0] != step_records.KEYS),
    )


# Order


def priorities_are_not_looked_at(patch: Any) -> None:
    """Everything has the usual priority."""
    _judge_otherwise(patch, priority=128)


def low_priorities_come_first(patch: Any) -> None:
    """The lower a priority, the sooner."""
    judged = Queue.judged

    def judging(self: Queue, extras: Any, now_ms: int) -> Any:
        return judged(self, extras._replace(priority=255 - extras.priority), now_ms)

    patch(Queue, "judged", judging)


def low_priorities_starve(patch: Any) -> None:
    """No take ever goes by age."""
    patch(Held, "goes_by_age", lambda _self: False)


def age_comes_too_often(patch: Any) -> None:
    """Every fourth take goes by age."""
    patch(held, "BY_AGE_EVERY", 4)


# Time


def pushes_are_not_delayed(patch: Any) -> None:
    """A message is ready at once whatever its push says."""
    _judge_otherwise(patch, due_ms=0)


def delays_end_early(patch: Any) -> None:
    """A delayed message is ready when something else of its queue is due."""
    due = Held.due
    patch(Held, "due", lambda self, now_ms, most: due(self, now_ms + 400, most))


def nothing_expires(patch: Any) -> None:
    """A message is delivered however long it has waited."""
    patch(Held, "expired", lambda *_arguments: ([], 0))
    patch(
        Held,
        "next_ms",
        lambda self: self.times.next_ms(),
    )


def the_returned_do_not_expire(patch: Any) -> None:
    """A message that comes back from a lease waits for ever."""
    add_ready = Held.add_ready

    def adding(self: Held, message: Any) -> None:
        message.expires_ms = 0
        add_ready(self, message)

    patch(Held, "add_ready", adding)


def everything_expires_soon(patch: Any) -> None:
    """A message lives for a second at most if its push says how long it may."""
    judged = Queue.judged

    def judging(self: Queue, extras: Any, now_ms: int) -> Any:
        return judged(self, extras._replace(ttl_ms=min(extras.ttl_ms, 1000)), now_ms)

    patch(Queue, "judged", judging)


def expired_letters_are_dropped(patch: Any) -> None:
    """What is too old is dropped, also where it should become a dead letter."""
    init = Queue.__init__

    def making(self: Queue, *arguments: Any) -> None:
        init(self, *arguments)
        self.keeps_expired = False

    patch(Queue, "__init__", making)


# What stops a delivery


def cancels_forget_their_record(patch: Any) -> None:
    """A CANCEL is not journaled."""
    _drop_records(patch, view_records.CANCEL, view_records.MARK)


def marks_are_not_looked_at(patch: Any) -> None:
    """A leased message that was cancelled is tried again when it comes back."""
    plan = Jobs._plan_return

    def planning(self: Jobs, lease: Any, *arguments: Any) -> Any:
        lease.cancelled = None
        return plan(self, lease, *arguments)

    patch(Jobs, "_plan_return", planning)


def holders_are_not_told(patch: Any) -> None:
    """An extension does not tell which messages were cancelled."""
    patch(LocalJobs, "cancelled", lambda *_arguments: ())


def pauses_forget_their_record(patch: Any) -> None:
    """A PAUSE is not journaled: a restart ends it."""
    _drop_records(patch, order_records.PAUSE)


def pauses_are_for_pushes_alone(patch: Any) -> None:
    """Whoever asks a paused queue gets its messages."""
    patch(Queue, "available", property(lambda self: self.ready))


def caps_are_not_looked_at(patch: Any) -> None:
    """A queue has as many leased messages as are asked for."""
    patch(Queue, "available", property(lambda self: 0 if self.is_paused else self.ready))


def caps_do_not_bound_a_pull(patch: Any) -> None:
    """A pull gets as many messages as it asks for where the cap leaves room for one."""
    lease = Jobs.lease

    def leasing(self: Jobs, queue: Any, *arguments: Any) -> Any:
        most, queue.max_leased = queue.max_leased, None
        try:
            return lease(self, queue, *arguments)
        finally:
            queue.max_leased = most

    patch(Jobs, "lease", leasing)


MUTANTS: dict[str, Callable[[Any], None]] = {
    each.__name__: each
    for each in (
        steps_are_journaled_in_pieces,
        steps_forget_their_pushes,
        refused_steps_have_begun,
        refusals_name_another_part,
        steps_forget_their_keys,
        keys_are_not_looked_at,
        keys_are_not_journaled,
        snapshots_forget_keys,
        priorities_are_not_looked_at,
        low_priorities_come_first,
        low_priorities_starve,
        age_comes_too_often,
        pushes_are_not_delayed,
        delays_end_early,
        nothing_expires,
        the_returned_do_not_expire,
        everything_expires_soon,
        expired_letters_are_dropped,
        cancels_forget_their_record,
        marks_are_not_looked_at,
        holders_are_not_told,
        pauses_forget_their_record,
        pauses_are_for_pushes_alone,
        caps_are_not_looked_at,
        caps_do_not_bound_a_pull,
    )
}
