"""Bugs to plant in the server, to see whether the simulation sees them.

Each is a function that patches the server's own classes by the `patch` that it is given (as
`monkeypatch.setattr`), and says in its docstring what is wrong then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqd.core import job_records, job_state
from mqd.core.broker import Broker
from mqd.core.errors import BrokerError
from mqd.core.jobs import Jobs
from mqd.core.leases import Lease, LeaseBook
from mqd.engine import deliveries, jobs, local
from mqd.engine.jobs import LocalJobs
from mqd.engine.local import LocalEngine
from mqd.engine.presence import Presence
from mqd.net.holder import Holder, Keepalive
from mqd.net.pending import Pending
from mqwire import causes
from mqwire.codes import Code
from mqwire.levels import Level
from simulation.disk import Disk, SimStorage

if TYPE_CHECKING:
    from collections.abc import Callable


def _drop_records(patch: Any, kind: int) -> None:
    append = SimStorage.append

    def forgetful(self: SimStorage, record: Any, /) -> None:
        if record[0] != kind:
            append(self, record)

    patch(SimStorage, "append", forgetful)


def ack_forgets_its_record(patch: Any) -> None:
    """An ack is carried out and answered, and not journaled."""
    _drop_records(patch, job_records.ACK)


def lease_forgets_its_record(patch: Any) -> None:
    """A lease is not journaled: after a crash its messages are there for everybody."""
    append = SimStorage.append
    kinds = {job_records.LEASE, job_records.ACK, job_records.EXTEND, job_records.RETURN}

    def forgetful(self: SimStorage, record: Any, /) -> None:
        if record[0] not in kinds:
            append(self, record)

    patch(SimStorage, "append", forgetful)


def extend_forgets_its_record(patch: Any) -> None:
    """An extension is not journaled: a restart takes it back."""
    _drop_records(patch, job_records.EXTEND)


def extend_does_nothing(patch: Any) -> None:
    """EXTEND is answered with OK, and the deadline stays."""
    patch(LeaseBook, "extend", lambda _self, _lease, _deadline_ms: None)


def extensions_are_of_the_whole(patch: Any) -> None:
    """An extension of some messages of a lease is one of all."""
    extend = LocalJobs.extend
    patch(
        LocalJobs,
        "extend",
        lambda self, claim, lease_ms: extend(self, (*claim[:2], (), claim[3]), lease_ms),
    )


def own_deadlines_are_forgotten(patch: Any) -> None:
    """An extension of some messages of a lease is answered with OK, and does nothing."""
    patch(LeaseBook, "extend_some", lambda _self, lease, _deadline_ms, _ids: lease.count)


def lost_leases_are_answered_ok(patch: Any) -> None:
    """An ack of a lease that is over is answered with OK and changes nothing."""
    ack = LocalJobs.ack

    def kind(self: LocalJobs, claim: Any, level: Any, *result: Any) -> Any:
        try:
            return ack(self, claim, level, *result)
        except BrokerError as error:
            if error.code is not Code.LEASE_LOST or error.details["why"] != "over":
                raise
            return 1, self._commits.level if level is None else level

    patch(LocalJobs, "ack", kind)


def expiry_leaves_the_lease(patch: Any) -> None:
    """A lease whose deadline has passed can still be acknowledged: its messages go twice."""
    closed: dict[tuple[int, int], Any] = {}
    apply, find = job_state.JobState._apply_return, LeaseBook.find

    def leaving(self: Any, uid: int, epoch: int, seq: int, cause: str, *rest: Any) -> int:
        lease = self.book.by_seq[seq]
        count: int = apply(self, uid, epoch, seq, cause, *rest)
        if cause == causes.EXPIRED:
            closed[epoch, seq] = lease
        return count

    def finding(self: LeaseBook, claim: Any) -> Any:
        lease = closed.get((claim[0], claim[1]))
        if lease is not None and claim[1] not in self.by_seq and claim[3] == lease.who:
            self.open(lease)
        return find(self, claim)

    patch(job_state.JobState, "_apply_return", leaving)
    patch(LeaseBook, "find", finding)


def foreign_acks_are_taken(patch: Any) -> None:
    """Nobody asks whose lease it is."""
    find = LeaseBook.find
    patch(LeaseBook, "find", lambda self, claim: find(self, (*claim[:3], None)))


def epochs_stand_still(patch: Any) -> None:
    """Every start is the first one: lease ids that were lost with the power come again."""
    begin = LocalJobs.begin

    def beginning(self: LocalJobs, now_ms: int) -> None:
        begin(self, now_ms)
        self._jobs.epoch = 1

    patch(LocalJobs, "begin", beginning)
    init = LocalEngine.__init__

    def making(self: LocalEngine, *arguments: Any) -> None:
        init(self, *arguments)
        self.epoch = self.broker.jobs.epoch = 1

    patch(LocalEngine, "__init__", making)


def epochs_are_not_looked_at(patch: Any) -> None:
    """The number of a lease is enough to settle it."""
    find = LeaseBook.find

    def finding(self: LeaseBook, claim: Any) -> Any:
        lease = self.by_seq.get(claim[1])
        return find(self, claim if lease is None else (lease.epoch, *claim[1:]))

    patch(LeaseBook, "find", finding)


def replies_do_not_wait(patch: Any) -> None:
    """A reply leaves before its records are written."""
    patch(LocalEngine, "has_reached", lambda _self, _needs: True)


def synced_is_written(patch: Any) -> None:
    """A reply at `synced` leaves when its records are written."""

    def has_reached(self: LocalEngine, needs: Any) -> bool:
        return self._storage.written_lsn >= max(needs)

    patch(LocalEngine, "has_reached", has_reached)


def messages_leave_before_their_push(patch: Any) -> None:
    """A pull does not wait for the level of the push of what it returns."""
    needs = LocalEngine.needs

    def careless(self: LocalEngine, level: Level, *, shows_messages: bool) -> Any:
        del shows_messages
        return needs(self, level, shows_messages=False)

    patch(LocalEngine, "needs", careless)


def leases_leave_before_their_record(patch: Any) -> None:
    """The reply with a lease does not wait until the lease is written."""
    for module in (deliveries, jobs, local):
        patch(module, "level_of_lease", lambda _level, _asked: Level.ACCEPTED)


def the_gone_keep_their_leases(patch: Any) -> None:
    """When the grace ends nothing is taken back."""
    patch(Jobs, "plan_gone", lambda *_arguments, **_options: iter(()))


def the_gone_keep_their_other_leases(patch: Any) -> None:
    """When the grace ends, one lease is taken back and the others are forgotten."""
    of_owner = LeaseBook.of_owner
    patch(Jobs, "holds", lambda _self, _who: False)
    patch(LeaseBook, "of_owner", lambda self, who, _most: of_owner(self, who, 1))


def grace_is_no_time(patch: Any) -> None:
    """A holder whose connection has broken is gone at once."""
    leave = LocalJobs.leave
    patch(LocalJobs, "leave", lambda self, who, **_: leave(self, who, has_grace=False))


def a_second_connection_is_not_seen(patch: Any) -> None:
    """A holder is gone with the first of its connections."""

    def leave(self: Presence, who: str, gone_ms: int) -> None:
        left = self._connections.pop(who, 1) - 1
        if left:
            self._connections[who] = left
        self.miss(who, gone_ms)

    patch(Presence, "leave", leave)


def a_return_ends_no_absence(patch: Any) -> None:
    """A holder that comes back within its grace is taken for gone when that ends."""

    def arrive(self: Presence, who: str) -> None:
        self._connections[who] = self._connections.get(who, 0) + 1

    patch(Presence, "arrive", arrive)


def restarts_forget_holders(patch: Any) -> None:
    """After a restart nobody is counted as away, and leases run out by their old deadlines."""

    def begin(self: LocalJobs, now_ms: int) -> None:
        self.now_ms = now_ms

    patch(LocalJobs, "begin", begin)


def nameless_holders_have_grace(patch: Any) -> None:
    """The leases of a connection without an instance are not handed back when it breaks."""
    leaving = Holder.leave

    def leave(self: Holder, unsent: Any) -> None:
        if self._has_instance:
            leaving(self, unsent)
        self._has_arrived = False

    patch(Holder, "leave", leave)


def the_detached_are_missed(patch: Any) -> None:
    """A detached holder is gone when its grace ends, as any other."""
    leave = LocalJobs.leave
    patch(
        LocalJobs,
        "leave",
        lambda self, who, *, has_grace, **_: leave(self, who, has_grace=has_grace),
    )


def restarts_miss_the_detached(patch: Any) -> None:
    """After a restart a detached holder has to come back, as any other."""
    patch(jobs, "is_detached", lambda _owner: False)


def the_detached_are_many(patch: Any) -> None:
    """Detached connections without an instance are a holder each."""
    known_as = Holder.__init__

    def be_known_as(self: Holder, *arguments: Any) -> None:
        known_as(self, *arguments)
        user, (epoch, number) = arguments[1:3]
        if self._is_detached and not self._has_instance:
            self.who = f"{user}~{epoch}.{number}"

    patch(Holder, "__init__", be_known_as)


def the_returned_wait_behind_the_new(patch: Any) -> None:
    """A message that was handed back comes after those that were pushed later."""
    grant = job_state._grant_mixed

    def fresh_first(lease: Any, most: int, room_bytes: int) -> Any:
        if lease.queue.fifo.count:
            return [job_state._grant_fresh(lease, most, room_bytes, 1)]
        return grant(lease, most, room_bytes)

    patch(job_state, "_grant_mixed", fresh_first)


def a_part_is_the_whole(patch: Any) -> None:
    """An ack of some messages of a lease is one of all."""
    finish = job_state.JobState.finish
    patch(job_state.JobState, "finish", lambda self, lease, _ids: finish(self, lease, ()))


def pulls_forget_their_record(patch: Any) -> None:
    """A pull without a lease is not journaled."""
    from mqd.core import records

    _drop_records(patch, records.PULL)


def waits_outlive_their_connection(patch: Any) -> None:
    """A waiting pull whose client has gone is served."""
    patch(Pending, "forget_all", lambda _self: None)
    if hasattr(Pending, "close"):
        patch(Pending, "close", lambda _self: None)


def _set_deadlines(patch: Any, other: Callable[[int, int], int]) -> None:
    init = Lease.__init__

    def making(
        self: Lease, queue: Any, name: Any, deadline_ms: int, owner: Any, leased_ms: int
    ) -> None:
        init(self, queue, name, other(deadline_ms, leased_ms), owner, leased_ms)

    patch(Lease, "__init__", making)


def leases_end_early(patch: Any) -> None:
    """A lease runs for half of its time."""
    _set_deadlines(patch, lambda deadline_ms, now_ms: (deadline_ms + now_ms) // 2)


def leases_do_not_end(patch: Any) -> None:
    """Nothing happens at a deadline: it is a day later than was asked."""
    _set_deadlines(patch, lambda deadline_ms, _now_ms: deadline_ms + 86_400_000)


def snapshots_forget_leases(patch: Any) -> None:
    """A snapshot is made without what is leased."""
    patch(job_state.JobState, "export_leases", lambda _self: iter(()))


def snapshots_forget_what_was_returned(patch: Any) -> None:
    """A snapshot is made without messages that were given back."""
    export = Broker.export
    patch(
        Broker,
        "export",
        lambda self: (each for each in export(self) if each[0] != job_records.KEEP),
    )


def dead_letters_vanish(patch: Any) -> None:
    """A message that does not fit into the dead-letter queue is dropped."""
    from mqd.core.dead_letters import Yard

    patch(Yard, "move", staticmethod(lambda *_arguments: None))


def nacks_do_not_delay(patch: Any) -> None:
    """A message is ready at once whatever the nack says."""
    plan = Jobs.plan_nack

    def at_once(self: Jobs, claim: Any, now_ms: int, **options: Any) -> Any:
        return plan(self, claim, now_ms, **{**options, "delay_ms": 0})

    patch(Jobs, "plan_nack", at_once)


def budgets_are_not_looked_at(patch: Any) -> None:
    """A message is tried again however often it has failed."""
    from mqd.core.retries import Retries

    patch(Retries, "is_spent", lambda *_arguments: False)


def silence_is_not_noticed(patch: Any) -> None:
    """A client that has promised to be heard, and is not, is left alone."""
    patch(Keepalive, "_check", lambda _self: None)


def purges_forget_their_record(patch: Any) -> None:
    """A purge is not journaled."""
    from mqd.core import records

    _drop_records(patch, records.PURGE)


def recovery_loses_the_last_promise(patch: Any) -> None:
    """A start drops the newest payload."""
    recover = Disk.recover

    def forgetful(self: Disk) -> Broker:
        if len(self.payloads) > 5:
            del self.payloads[-1]
        return recover(self)

    patch(Disk, "recover", forgetful)


MUTANTS: dict[str, Callable[[Any], None]] = {
    each.__name__: each
    for each in (
        ack_forgets_its_record,
        lease_forgets_its_record,
        extend_forgets_its_record,
        extend_does_nothing,
        extensions_are_of_the_whole,
        own_deadlines_are_forgotten,
        lost_leases_are_answered_ok,
        expiry_leaves_the_lease,
        foreign_acks_are_taken,
        epochs_stand_still,
        epochs_are_not_looked_at,
        replies_do_not_wait,
        synced_is_written,
        messages_leave_before_their_push,
        leases_leave_before_their_record,
        the_gone_keep_their_leases,
        the_gone_keep_their_other_leases,
        grace_is_no_time,
        a_second_connection_is_not_seen,
        a_return_ends_no_absence,
        restarts_forget_holders,
        nameless_holders_have_grace,
        the_detached_are_missed,
        restarts_miss_the_detached,
        the_detached_are_many,
        the_returned_wait_behind_the_new,
        a_part_is_the_whole,
        pulls_forget_their_record,
        waits_outlive_their_connection,
        leases_end_early,
        leases_do_not_end,
        snapshots_forget_leases,
        snapshots_forget_what_was_returned,
        dead_letters_vanish,
        nacks_do_not_delay,
        budgets_are_not_looked_at,
        silence_is_not_noticed,
        purges_forget_their_record,
        recovery_loses_the_last_promise,
    )
}
