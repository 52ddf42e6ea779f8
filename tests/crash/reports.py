"""What a report says (`crash.serving`), and how a recovery is held against it."""

from __future__ import annotations

import json
import shutil
import tempfile
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crash.history import View, new_broker, view
from crash.script import Action, Script, Shape, make_body
from crash.serving import tags_of
from mqd.core.fifo import ANY_SIZE
from mqd.store.files import OsFiles
from mqd.store.recovery import Recovered, recover
from mqwire.levels import Level
from mqwire.packs import join_bodies
from support.ledger import Event, Pull, Push, Removal, judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqd.core.broker import Broker
    from mqd.core.records import Record


class Violation(AssertionError):  # noqa: N818  the name says what is the matter
    """A promise was broken."""


def keep(place: Path) -> Path:
    """Copy a directory to where it stays, for whoever has to look into it."""
    kept = Path(tempfile.mkdtemp(prefix="mqd-crash-"))
    shutil.copytree(place, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
    return kept


class Seen(NamedTuple):
    """What somebody outside knows of the server."""

    epoch: int
    """Of the last run, once it is certain; 0 before."""
    begun: int
    """The last commit that was begun; they count from 1."""
    acknowledged: dict[int, Level]
    """The highest level that was reported for a commit."""
    actions: list[tuple[int, list[Any]]]
    """What was begun, and in which commit."""
    folds: int

    def promised(self, level: Level) -> int:
        """Return the last commit of which something was promised; 0 for none."""
        return max((n for n, reached in self.acknowledged.items() if reached >= level), default=0)


def read_report(path: Path, until: float = inf) -> Seen:
    """Read a report; its writer may have died in a line.

    Args:
        path: the report.
        until: a time of the monotonic clock; nobody has heard of what was promised later.
    """
    epoch = begun = folds = 0
    acknowledged: dict[int, Level] = {}
    actions: list[tuple[int, list[Any]]] = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        word, *values = json.loads(line)
        if word == "run" and values[1] < until:
            epoch = values[0]
        elif word == "begin":
            begun = values[0]
            actions += [(begun, action) for action in values[1]]
        elif word == "ack" and values[2] < until:
            acknowledged[values[0]] = Level(values[1])
        elif word == "fold":
            folds += 1
    return Seen(epoch, begun, acknowledged, actions, folds)


def events(seen: Seen, run: int) -> list[Event]:
    """Return what was done as a history for the ledger."""
    found: list[Event] = []
    for commit, (verb, uid, number, *rest) in seen.actions:
        reached = seen.acknowledged.get(commit)
        wanted = Level(number)
        level = wanted if reached is not None and wanted <= reached else None
        queue = f"#{uid}"
        if verb == "push":
            first_id, tags = rest
            known_id = first_id if level is not None else 0
            found.append(Push(queue, "driver", tuple(tags), run, level, known_id))
        elif verb == "pull" and level is None:
            found.append(Pull(queue, "driver", len(rest[1]), run))
        elif verb == "pull":
            first_id, tags = rest
            ids = tuple(range(first_id, first_id + len(tags)))
            found.append(Pull(queue, "driver", len(tags), run, level, ids, tuple(tags)))
        elif verb == "removal":
            found.append(Removal(queue, run, rest[0], level))
    return found


def empty(broker: Broker, run: int) -> list[Event]:
    """Push one more message into each queue, and take all out; in memory only."""
    found: list[Event] = []
    for queue in broker.queues():
        tag = f"probe-{run}-{queue.uid}"
        pack = join_bodies([make_body(tag, 0)])
        first_id = broker.apply(broker.plan_push(queue.name, 1, pack, (), broker.clock_ms))
        name = f"#{queue.uid}"
        found.append(Push(name, "probe", (tag,), run, Level.SYNCED, first_id))
        batches = broker.take(queue, queue.fifo.count, ANY_SIZE)
        ids = tuple(n for each in batches for n in range(each.first_id, each.first_id + each.count))
        tags = tuple(tag for each in batches for tag in tags_of(each.packs))
        found.append(Pull(name, "probe", len(ids), run, Level.SYNCED, ids, tags))
    return found


class Follower:
    """Carries out what a server was told to, and knows its state after each commit.

    Args:
        start: records that rebuild the state before the first commit.
    """

    def __init__(self, start: Iterable[Record] = ()) -> None:
        self.broker = new_broker()
        self.broker.apply_all(start)
        self.views: list[View] = [view(self.broker)]

    def follow(self, seed: str, shape: Shape, commits: int) -> None:
        """Do so many commits of a script."""
        script = Script(self.broker, seed, shape)
        for _ in range(commits):
            script.commit(self._apply)
            self.views.append(view(self.broker))

    def _apply(self, action: Action) -> None:
        self.broker.apply(action.record)


class Reopened(NamedTuple):
    """What a recovery has made of a directory."""

    broker: Broker
    recovered: Recovered


def reopen(directory: str, segment_bytes: int) -> Reopened:
    """Recover a directory on a real disk, and stop."""
    broker = new_broker()
    recovered = recover(OsFiles(), directory, broker.apply_all, segment_bytes=segment_bytes)
    recovered.writer.abandon()
    return Reopened(broker, recovered)


def judge_state(broker: Broker, views: list[View], promised: int, begun: int) -> int:
    """Find out after which commit the state is.

    Args:
        broker: what was recovered.
        views: the state after each commit, from the one before the first on.
        promised: the last commit of which something was promised.
        begun: the last commit that was begun.

    Raises:
        Violation: it is the state after none of those from `promised` to `begun`.
    """
    found = view(broker)
    for commit in range(begun, promised - 1, -1):
        if views[commit] == found:
            return commit
    older = [commit for commit in range(promised) if views[commit] == found]
    if older:
        raise Violation(
            f"lost: the state is that after commit {older[-1]}, {promised} was promised"
        )
    raise Violation(f"the state is that of no moment between commits {promised} and {begun}")


def judge_history(history: list[Event], promised: Level) -> int:
    """Have the ledger judge a history. Returns how many messages were delivered in it."""
    verdict = judge(history, promised)
    if verdict.violations:
        raise Violation("; ".join(verdict.violations[:10]))
    return verdict.counts["delivered"]
