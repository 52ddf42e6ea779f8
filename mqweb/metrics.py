"""Figures for Prometheus. Floor 2.

They are those of STATS and LIST, asked for at most once a second whoever asks, and of so many
queues at most; the sums over all queues are always whole. The names follow Prometheus' conventions:
seconds and bytes, `_total` for what only grows, labels for queue and state.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from mqclient.errors import MqError, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mqclient.models import QueueInfo
    from mqweb.connections import GatewayClient
    from mqweb.gateway import Gateway

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_KEPT_SECONDS: Final = 1.0
MOST_QUEUES: Final = 1000
"""Queues with figures of their own, by name; the rest is in the sums alone."""

_STATES: Final = ("ready", "delayed", "leased", "dead")
_COUNTED: Final = ("pushed", "pulled", "acked", "purged", "moved", "expired", "cancelled")

_SERVER: Final[tuple[tuple[str, str, str, str, str], ...]] = (
    ("server", "started_at", "gauge", "mqd_start_time_seconds", "When mqd started, since 1970."),
    ("server", "epoch", "gauge", "mqd_epoch", "Number of the start; it grows with each."),
    ("queues", "count", "gauge", "mqd_queues", "Queues."),
    ("queues", "bytes", "gauge", "mqd_ready_bytes", "Bytes of all ready messages."),
    ("queues", "waiting", "gauge", "mqd_waiting_pulls", "Pulls that wait for messages."),
    ("connections", "open", "gauge", "mqd_connections", "Connections."),
    ("connections", "limit", "gauge", "mqd_connections_limit", "Most connections."),
    ("connections", "opened", "counter", "mqd_connections_opened", "Connections taken."),
    ("connections", "refused", "counter", "mqd_connections_refused", "Connections refused."),
    ("requests", "frames", "counter", "mqd_frames", "Requests."),
    ("requests", "errors", "counter", "mqd_refusals", "Requests that were refused."),
    ("requests", "pushed", "counter", "mqd_pushed_messages", "Messages pushed."),
    ("requests", "pulled", "counter", "mqd_pulled_messages", "Messages pulled, leased or not."),
    ("rates", "frames", "gauge", "mqd_frames_per_second", "Requests a second, lately."),
    ("rates", "pushed", "gauge", "mqd_pushed_messages_per_second", "Pushed a second, lately."),
    ("rates", "pulled", "gauge", "mqd_pulled_messages_per_second", "Pulled a second, lately."),
    ("journal", "segments", "gauge", "mqd_journal_segments", "Segments of the journal."),
    ("journal", "bytes", "gauge", "mqd_journal_bytes", "The journal on the disk."),
    ("journal", "disk_free_bytes", "gauge", "mqd_disk_free_bytes", "Left on the journal's disk."),
    ("journal", "disk_bytes", "gauge", "mqd_disk_size_bytes", "Size of the journal's disk."),
    ("journal", "backlog_bytes", "gauge", "mqd_journal_backlog_bytes", "Not written yet."),
    ("journal", "written_bytes", "counter", "mqd_journal_written_bytes", "Bytes written."),
    ("journal", "batches", "counter", "mqd_journal_batches", "Batches written."),
    ("journal", "syncs", "counter", "mqd_journal_syncs", "Times that the disk was synced."),
    ("journal", "sync_seconds_mean", "gauge", "mqd_journal_sync_mean_seconds", "Mean of a sync."),
    ("journal", "sync_seconds_max", "gauge", "mqd_journal_sync_max_seconds", "Longest sync."),
    ("journal", "is_full", "gauge", "mqd_journal_full", "1 while the disk is full."),
    ("pages", "resident_bytes", "gauge", "mqd_resident_bytes", "Waiting messages in memory."),
    ("pages", "paged_bytes", "gauge", "mqd_paged_bytes", "Waiting messages put aside."),
    ("pages", "file_bytes", "gauge", "mqd_page_files_bytes", "What that takes on the disk."),
    ("pages", "written_bytes", "counter", "mqd_pages_written_bytes", "Put aside, in all."),
    ("pages", "read_bytes", "counter", "mqd_pages_read_bytes", "Brought back, in all."),
    ("pages", "write_failures", "counter", "mqd_page_write_failures", "Pages not written."),
    ("pages", "read_failures", "counter", "mqd_page_read_failures", "Pages not read."),
    ("snapshot", "records", "gauge", "mqd_snapshot_records", "Records of the last snapshot."),
    ("snapshot", "bytes", "gauge", "mqd_snapshot_bytes", "Size of the last snapshot."),
    ("snapshot", "seconds", "gauge", "mqd_snapshot_duration_seconds", "How long it took."),
    ("snapshot", "age_seconds", "gauge", "mqd_snapshot_age_seconds", "How old it is."),
    ("snapshot", "made", "counter", "mqd_snapshots", "Snapshots made."),
    ("snapshot", "failed", "counter", "mqd_snapshots_failed", "Snapshots that failed."),
    ("frame_log", "bytes", "gauge", "mqd_frame_log_bytes", "The frame log on the disk."),
    ("frame_log", "lost_records", "counter", "mqd_frame_log_lost_records", "Records lost."),
    ("frame_log", "is_behind", "gauge", "mqd_frame_log_behind", "1 while clients wait for it."),
    ("frame_log", "is_failing", "gauge", "mqd_frame_log_failing", "1 while it cannot be written."),
)
"""Part and key of STATS, kind, name, and what it is."""


class Figures:
    """What mqd has told at one moment, as a collector of prometheus-client.

    Args:
        stats: as STATS tells; None where mqd was not reached.
        infos: of all queues.
        gateway: whose own figures there are beside them.
    """

    def __init__(
        self, stats: Mapping[str, Any] | None, infos: Sequence[QueueInfo], gateway: Gateway
    ) -> None:
        self._stats = stats
        self._infos = infos
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        is_up = self._stats is not None
        yield _gauge("mqd_up", "1 if the gateway reaches mqd.", float(is_up))
        yield from self._of_gateway()
        if self._stats is not None:
            yield from _of_server(self._stats)
            yield from _of_queues(self._infos[:MOST_QUEUES])
            left = max(len(self._infos) - MOST_QUEUES, 0)
            yield _gauge("mqd_queues_left_out", "Queues without figures of their own.", left)

    def _of_gateway(self) -> Iterator[Metric]:
        gateway = self._gateway
        answers = CounterMetricFamily(
            "mqweb_answers", "Answers by the class of their status.", labels=["status"]
        )
        for group, count in sorted(gateway.answers.items()):
            answers.add_metric([f"{group}xx"], count)
        yield answers
        yield _gauge("mqweb_users", "Connections to mqd.", len(gateway.connections))
        yield _gauge("mqweb_event_streams", "Event streams.", len(gateway.streams))
        yield _counter("mqweb_event_streams_cut", "Streams that were cut.", gateway.streams.cut)
        yield _counter(
            "mqweb_pulled_messages",
            "Messages of plain pulls that were handed on; mqd counts them as acked.",
            gateway.settler.handed_on,
        )
        yield _counter(
            "mqweb_unconfirmed_pulls",
            "Plain pulls whose messages may be delivered once more.",
            gateway.settler.failed,
        )
        yield _gauge("mqweb_buffered_bytes", "Bodies on their way in.", gateway.buffers.taken)


class Metrics:
    """The figures of one gateway, kept for a second."""

    def __init__(self) -> None:
        self._text = b""
        self._made_at = -_KEPT_SECONDS
        self._making = asyncio.Lock()

    async def text(self, gateway: Gateway, client: GatewayClient | None) -> bytes:
        """Return the figures as Prometheus reads them.

        Args:
            gateway: its own are among them.
            client: who asks mqd; None where it is not reached.

        Raises:
            ServerError: mqd refuses to tell them.
        """
        if client is None:
            return _shown(gateway, None, ())
        async with self._making:
            if monotonic() - self._made_at >= _KEPT_SECONDS:
                try:
                    stats, infos = await asyncio.gather(client.stats(), client.queues())
                except ServerError:
                    raise
                except MqError:  # of this connection: what others are told is another matter
                    return _shown(gateway, None, ())
                self._text = _shown(gateway, stats, infos)
                self._made_at = monotonic()
            return self._text


def _shown(gateway: Gateway, stats: Mapping[str, Any] | None, infos: Sequence[QueueInfo]) -> bytes:
    registry = CollectorRegistry()
    registry.register(Figures(stats, infos, gateway))
    text: bytes = generate_latest(registry)
    return text


def _of_server(stats: Mapping[str, Any]) -> Iterator[Metric]:
    version = GaugeMetricFamily("mqd_version_info", "The version of mqd.", labels=["version"])
    version.add_metric([str(stats["server"]["version"])], 1)
    yield version
    sums = GaugeMetricFamily("mqd_messages", "Messages by state.", labels=["state"])
    for state in _STATES:
        sums.add_metric([state], stats["queues"][state])
    yield sums
    for part, key, kind, name, text in _SERVER:
        value = (stats.get(part) or {}).get(key)
        if value is not None:
            yield (_counter if kind == "counter" else _gauge)(name, text, float(value))


def _of_queues(infos: Iterable[QueueInfo]) -> Iterator[Metric]:
    infos = list(infos)
    depth = GaugeMetricFamily(
        "mqd_queue_messages", "Messages of a queue by state.", labels=["queue", "state"]
    )
    ages = GaugeMetricFamily(
        "mqd_queue_oldest_age_seconds",
        "For how long the oldest message has been in its state.",
        labels=["queue", "state"],
    )
    for info in infos:
        for state in _STATES:
            depth.add_metric([info.queue, state], getattr(info, state))
            name = "oldest_age_seconds" if state == "ready" else f"oldest_{state}_age_seconds"
            age = getattr(info, name)
            if age is not None:
                ages.add_metric([info.queue, state], age)
    yield depth
    yield ages
    for name, attribute, text in (
        ("mqd_queue_ready_bytes", "bytes", "Bytes of a queue's ready messages."),
        ("mqd_queue_waiting_pulls", "waiting", "Pulls that wait for a queue's messages."),
        ("mqd_queue_paused", "is_paused", "1 while a queue's delivery is stopped."),
    ):
        gauge = GaugeMetricFamily(name, text, labels=["queue"])
        for info in infos:
            gauge.add_metric([info.queue], float(getattr(info, attribute)))
        yield gauge
    for word in _COUNTED:
        counter = CounterMetricFamily(
            f"mqd_queue_{word}_messages", f"Messages of a queue: {word}.", labels=["queue"]
        )
        for info in infos:
            counter.add_metric([info.queue], getattr(info, word))
        yield counter


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)
