"""What is counted, and under which name does Prometheus find it?

Names and units follow the Prometheus conventions. Labels are bounded: endpoints, streams and outcomes, never a salon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BATCH_SECONDS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stream over all salons: how many are in which state, the largest lag, and open quarantine rows."""

    stream: str
    states: Mapping[str, int]
    lag_s: float | None
    quarantined: int = 0


class Metrics:
    """The instruments of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "ycsync_requests", "Requests to YCLIENTS, by what came of them.", ("endpoint", "outcome"), registry=registry
        )
        self._latency = Histogram(
            "ycsync_request_duration_seconds",
            "From sending a request to the end of its answer.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Counter("ycsync_batches", "Batches, by how they ended.", ("stream", "outcome"), registry=registry)
        self._batch_s = Histogram(
            "ycsync_batch_duration_seconds", "How long batches took.", ("stream",), buckets=_BATCH_SECONDS, registry=registry
        )
        self._rows = Counter("ycsync_rows", "Rows, by what became of them.", ("stream", "effect"), registry=registry)
        self._retries = Counter("ycsync_request_retries", "Requests sent again.", ("stream",), registry=registry)
        self._streams = Gauge(
            "ycsync_streams",
            "Streams of all salons, by state: a stream is in exactly one.",
            ("stream", "state"),
            registry=registry,
        )
        self._lag = Gauge(
            "ycsync_lag_seconds",
            "Since the last proven success, of the salon that is furthest behind; +Inf: one was never complete.",
            ("stream",),
            registry=registry,
        )
        self._quarantine = Gauge(
            "ycsync_quarantine_rows",
            "Rows that could not be stored and have not come well since.",
            ("stream",),
            registry=registry,
        )
        self._ready = Gauge("ycsync_ready", "1 when /readyz says so: complete, fresh, nothing stopped.", registry=registry)
        self._database = Gauge("ycsync_database_up", "1 while the database answers.", registry=registry)
        self._reload = Gauge("ycsync_config_last_reload_successful", "0 when the last reload was refused.", registry=registry)
        self._used = Gauge(
            "ycsync_limit_used_requests", "Requests in the last window, behind this address.", ("window",), registry=registry
        )
        self._limit = Gauge(
            "ycsync_limit_requests", "Requests that the preset allows in a window.", ("window",), registry=registry
        )
        self._database.set(1)
        self._reload.set(1)

    def request(self, endpoint: str, outcome: str, seconds: float) -> None:
        """One request went as it did."""
        self._requests.labels(endpoint, outcome).inc()
        self._latency.labels(endpoint).observe(seconds)

    def batch(self, stream: str, outcome: str, seconds: float, *, retries: int, rows: Mapping[str, int]) -> None:
        """One batch ended; `rows`: effect (inserted, changed, deleted, quarantined) -> how many."""
        self._batches.labels(stream, outcome).inc()
        self._batch_s.labels(stream).observe(seconds)
        self._retries.labels(stream).inc(retries)
        for effect, count in rows.items():
            self._rows.labels(stream, effect).inc(count)

    def state(
        self,
        streams: Iterable[StreamState],
        used: tuple[int, int],
        limits: tuple[int, int],
        *,
        ready: bool,
        database: bool,
        reload: bool,
    ) -> None:
        """How things stand, every few seconds. `used` and `limits`: per second and per minute."""
        self._streams.clear()
        self._lag.clear()
        self._quarantine.clear()
        for one in streams:
            for state, count in one.states.items():
                self._streams.labels(one.stream, state).set(count)
            if one.lag_s is not None:
                self._lag.labels(one.stream).set(one.lag_s)
            self._quarantine.labels(one.stream).set(one.quarantined)
        for window, count, limit in zip(("1s", "60s"), used, limits, strict=True):
            self._used.labels(window).set(count)
            self._limit.labels(window).set(limit)
        self._ready.set(ready)
        self._database.set(database)
        self._reload.set(reload)

    def text(self) -> bytes:
        """Everything in the text format."""
        return generate_latest(self.registry)
