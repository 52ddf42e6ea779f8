"""A broker with one queue and its history, and short ways to lead jobs through their lives."""

from __future__ import annotations

import pytest

from mqd.core.broker import Bounds, Broker
from mqd.core.errors import BrokerError
from mqd.core.fifo import ANY_SIZE
from mqd.core.parcels import PushExtras
from mqwire.packs import join_bodies, split_pack

BOUNDS = Bounds(max_messages=100, max_bytes=1000, max_queues=4)


class Desk:
    """A broker with one queue, its history, and short ways to do things."""

    def __init__(self, **options):
        self.broker = Broker(BOUNDS)
        self.jobs = self.broker.jobs
        self.jobs.epoch = 7
        self.history = []
        for record in self.broker.plan_creation("jobs", options, 0):
            self.do(record)

    def do(self, record):
        self.history.append(record)
        return self.broker.apply(record)

    def push(self, *texts, name="jobs", headers=(), now_ms=0):
        pack = join_bodies(texts)
        return self.do(self.broker.plan_push(name, len(texts), pack, headers, now_ms))

    def push_with(self, *texts, headers=(), now_ms=0, **extras):
        """Push with what `PushExtras` take."""
        pack, extras = join_bodies(texts), PushExtras(**extras)
        planned = self.broker.plan_push("jobs", len(texts), pack, headers, now_ms, extras=extras)
        return self.do(planned)

    def lease(self, most=1, name="jobs", room=ANY_SIZE, deadline_ms=100, owner="w1", now_ms=0):
        """Lease; returns the lease's sequence number and the batches."""
        queue = self.broker.queue(name)
        record, batches = self.jobs.lease(queue, most, room, deadline_ms, owner, now_ms)
        self.history.append(record)
        return record[3], batches

    def nack(self, seq, *ids, now_ms=0, **how):
        return self.do(self.jobs.plan_nack((7, seq, ids, None), now_ms, **how))

    def hand_back(self, seq, *ids):
        return self.do(self.jobs.plan_hand_back((7, seq, ids, None), 0))

    def reject(self, seq, *ids, reason=""):
        return self.do(self.jobs.plan_reject((7, seq, ids, None), 0, reason=reason))

    def expire(self, now_ms, most=100):
        return sum(self.do(record) for record in self.jobs.plan_expiry(now_ms, most))

    def texts(self, name="jobs"):
        """Pull everything that is ready; the texts in the order in which they came."""
        queue, found = self.broker.queue(name), []
        while queue.ready:
            found += texts_of(self.broker.take(queue, 100, ANY_SIZE))
        return found

    def info(self, name="jobs"):
        return self.broker.queue(name).info(0)

    def counts(self, name="jobs"):
        info = self.info(name)
        return {key: info[key] for key in ("ready", "delayed", "leased", "dead") if info[key]}

    def rebuilt(self, *, is_exported=False):
        other = Broker(Bounds(0, 0, 0))
        other.apply_all(self.broker.export() if is_exported else self.history)
        other.jobs.epoch = 8
        return other


def ack(jobs, claim, now_ms=0, result=None):
    """Let leased messages be done in one pass, as the engine does; returns the record."""
    return jobs.finish(jobs.lease_of(claim), claim[2], now_ms, result)


def texts_of(batches):
    return [piece[1:].decode() for b in batches for pack in b.packs for piece in split_pack(pack)]


def refusal(plan, *arguments, **options):
    with pytest.raises(BrokerError) as caught:
        plan(*arguments, **options)
    return caught.value
