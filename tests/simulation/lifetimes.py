"""How long a lease has lived at least, and when it must have been over.

A lease ends by being settled, at its deadline, when its holder has had no connection for the
grace (unless it is detached), when its queue is deleted, and when an end of the server undoes it. `not_before` is the
earliest of what the history allows: before it, the lease lived. `overdue` says by when the
server must have taken it back; a little later is a mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqwire.levels import Level
from simulation.facts import EPSILON_SECONDS, covers
from simulation.history import NEVER

if TYPE_CHECKING:
    from simulation.facts import Facts, LeaseSeen
    from simulation.history import Moment, Op

SLACK_SECONDS = 0.1


def is_detached(who: str) -> bool:
    """Tell whether a holder keeps its leases without a connection."""
    return who.startswith("admin~")


class Lifetimes:
    """The lives of all leases.

    Args:
        facts: what is known.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        history = facts.history
        self._grace_seconds = facts.scenario.grace_seconds
        self._crashes = history.crashes
        self._starts = history.starts[1:]
        self._presences = {who: self._presence(who) for who in facts.auths}
        for lease in facts.leases.values():
            lease.may_end = min(
                self._undoing(lease),
                self._absence(lease),
                self._deletion(lease),
                self._jump(lease),
            )

    def not_before(
        self, lease: LeaseSeen, message_id: int, now: Moment, but: Op | None = None
    ) -> Moment:
        """Return when a message's stay under a lease can have ended at the earliest.

        Args:
            lease: which.
            message_id: under it.
            now: what is asked is whether it lived then: an end of the server that came later
                has undone nothing by that time.
            but: a settlement that is not taken into account.
        """
        end = min(lease.may_end, self._deadline(lease, message_id, now))
        for op in lease.settled:
            if op is not but and op.came < end and op.who == lease.who and covers(op, message_id):
                end = op.came
        return end

    # What ends a lease, at the earliest

    def _deadline(self, lease: LeaseSeen, message_id: int, now: Moment) -> Moment:
        """Go through its extensions: one that was granted counts, one in doubt only against it.

        One that came after the deadline was granted for what else the lease had, which may have
        had deadlines of its own.
        """
        facts = self._facts
        deadline = lease.begin[0] + lease.seconds
        last_left = lease.begin
        for op in lease.extends:
            if op.error is not None or op.who != lease.who or not covers(op, message_id):
                continue
            after = op.came[0] + op.parts[1]
            if op.left < now:
                level = min(lease.level, facts.extended_level(lease))
                is_undone = facts.is_undone(level, op.left, now)
            else:  # it lived then, unless the server has ended meanwhile and forgot that it did not
                is_undone = facts.is_undone(Level.ACCEPTED, now, op.came)
            # Of two that were under way together either may have been the last.
            is_sure = op.is_ok and not is_undone and op.came > last_left and op.came[0] < deadline
            deadline = after if is_sure else min(deadline, after)
            last_left = max(last_left, op.end)
        return (deadline - EPSILON_SECONDS, 0)

    def _undoing(self, lease: LeaseSeen) -> Moment:
        for crash in self._crashes:
            if crash.at > lease.begin and crash.undoes(lease.level):
                return crash.at
        return NEVER

    def _deletion(self, lease: LeaseSeen) -> Moment:
        came = [op.came for op in self._facts.others["DELETE"] if op.parts[0] == lease.queue]
        return min((each for each in came if each > lease.op.came), default=NEVER)

    def _jump(self, lease: LeaseSeen) -> Moment:
        """A clock that was set forward while the server was down: then only the grace is sure."""
        if not self._facts.scenario.jumps:
            return NEVER
        for start in self._starts:
            if start > lease.begin:
                return (start[0] + self._grace_seconds - EPSILON_SECONDS, 0)
        return NEVER

    # Who is there

    def _presence(self, who: str) -> list[tuple[Moment, Moment, Moment]]:
        """Return for each connection since when it may be there, since when it is, until when."""
        return sorted((op.came, op.left, op.conn.ended) for op in self._facts.auths[who])

    def _absence(self, lease: LeaseSeen) -> Moment:
        """Return when the holder can have been taken for gone at the earliest."""
        if lease.who.startswith("#"):
            return lease.op.conn.ended
        if is_detached(lease.who):
            return NEVER
        until = lease.op.conn.ended
        spans = self._presences.get(lease.who, [])
        while True:
            before = until
            for _, since, ended in spans:
                if since <= until and ended > until:
                    until = ended
            if until is NEVER or until == NEVER:
                return NEVER
            gone = self._gone(until)
            for _, since, ended in spans:
                if until < since <= gone and ended > until:
                    until = ended
                    break
            if until == before:
                return gone

    def _gone(self, since: Moment) -> Moment:
        """Return when somebody who has been away since then is taken for gone."""
        gone_seconds = since[0] + self._grace_seconds
        for start in self._starts:
            crash = max((each.at for each in self._crashes if each.at < start), default=None)
            assert crash is not None
            if start > since and gone_seconds - EPSILON_SECONDS > crash[0]:
                gone_seconds = start[0] + self._grace_seconds
        return (gone_seconds - EPSILON_SECONDS, 0)

    # What must have been over

    def overdue(self, lease: LeaseSeen, op: Op) -> str | None:
        """Say why a lease was over when a claim came, if the clock alone tells that."""
        facts = self._facts
        since, now = lease.end, op.came
        if facts.is_still(since[0], now[0]):
            return None
        if not facts.has_crash(lease.begin, now):
            ends = [
                self._latest(lease, message_id, op)
                for message_id in lease.taken
                if covers(op, message_id)
            ]
            if ends:
                # It is enough that one is there, but for those that are named.
                end = min(ends) if "ids" in op.options else max(ends)
                if now[0] > end + SLACK_SECONDS:
                    return f"its deadline had passed at {end:.3f}"
        return self._was_gone(lease, now)

    def _latest(self, lease: LeaseSeen, message_id: int, op: Op) -> float:
        """Tell by when a message's stay had ended for the clock when a claim came."""
        ends = [lease.end[0] + lease.seconds]
        ends += [
            each.end[0] + each.parts[1]
            for each in lease.extends
            if each.error is None
            and each.came < op.came
            and each is not op
            and covers(each, message_id)
        ]
        # After a start no lease runs out before everybody had the time to come back.
        ends += [start[0] + self._grace_seconds for start in self._starts if start < op.came]
        return max(ends)

    def _was_gone(self, lease: LeaseSeen, now: Moment) -> str | None:
        if lease.who.startswith("#") or is_detached(lease.who):
            return None
        until = lease.end
        for since, _, ended in self._presences.get(lease.who, []):
            if since > now:
                break
            if since > until:
                away_since = max([until[0], *(start[0] for start in self._starts if start < since)])
                is_forgotten = self._facts.is_undone(Level.ACCEPTED, since, now)
                if not is_forgotten and since[0] > (
                    away_since + self._grace_seconds + SLACK_SECONDS
                ):
                    return f"its holder was away from {away_since:.3f} to {since[0]:.3f}"
            until = max(until, ended)
        return None
