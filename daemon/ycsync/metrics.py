"""What is counted, and under which name does Prometheus find it?

Names and units follow the Prometheus conventions; docs/metrics.md lists them all. Labels are bounded: endpoints, streams,
outcomes and the like, never a salon. What is counted begins at 0 for every value that can be known beforehand, so that rates
and alerts work from the first scrape; what only the database knows is absent until it was read once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ycsync.config import STREAMS
from ycsync.model.odd import ODD_FIELDS
from ycsync.model.streams import DECLARED

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ENDPOINTS = (
    "auth", "companies", "company", "services", "service_categories", "staff", "clients", "clients_search", "clients_by_id",
    "client", "records", "record", "hooks_settings", *DECLARED,
)  # fmt: skip
QUEUED = "hooks"  # what webhooks told is fetched in batches too, though it is no stream
HOOK_RESULTS = ("queued", "ignored", "refused", "lost", "strange")
REQUEST_OUTCOMES = ("ok", "none", "throttled", "transient", "denied", "missing", "rejected")
BATCH_OUTCOMES = ("more", "turn", "proved", "failed", "denied", "stopped", "fenced", "lost")
EFFECTS = ("inserted", "changed", "deleted", "quarantined")
STATES = ("fresh", "stale", "filling", "waiting", "stopped", "off")
OPERATIONS = ("commit", "claim", "queue", "limiter", "report", "other")
QUANTILES = (0.5, 0.9, 0.99)
WINDOWS = ("1s", "60s")
# Few: each bucket is a line for every endpoint, stream and operation.
_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_BATCH_SECONDS = (0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0)
_DATABASE_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a line for each counter that no query needs


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stream over all salons, as it was when the database was read.

    `states`: how many salons are in which state; `lags`: seconds, of QUANTILES and then the largest; empty: none is on.
    `quarantined`: open rows. `done`, `expected`: rows of the passes that fill. `failing`: how many never were complete and
    failed several times in a row.
    """

    stream: str
    states: Mapping[str, int]
    lags: tuple[float, ...] = ()
    quarantined: int = 0
    done: int = 0
    expected: int = 0
    failing: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What the database told. `used`: requests in the last 1 s and 60 s; `blocked_s`: so long nothing leaves yet.

    `paused`: a command holds all requests; `paused_salons`: or those of so many salons. `hints`: what webhooks told and is not
    fetched yet. `server`: requests a minute that YCLIENTS says it allows, those left of them, and seconds until there are more
    (None: it did not say). `others`: requests a minute that others were seen to send.
    """

    streams: tuple[StreamState, ...]
    used: tuple[int, int]
    blocked_s: float = 0.0
    paused: bool = False
    paused_salons: int = 0
    hints: int = 0
    server: tuple[float | None, float | None, float | None] = (None, None, None)
    others: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """How things stand at a scrape. `told` None: nothing is known yet; `age_s`: it was read so long ago.

    `preset` and `api`: requests that each allows in 1 s and 60 s; `turn_age_s`: since work was looked for last.
    `loaded_at`: when settings were taken last, a Unix time.
    """

    told: Told | None
    age_s: float
    preset: tuple[int, int]
    api: tuple[int, int]
    ready: bool
    database: bool
    reload: bool
    loaded_at: float
    turn_age_s: float = 0.0


class Metrics:
    """The instruments of one process."""

    def __init__(self, version: str = "") -> None:
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
        self._throttles = Counter("ycsync_throttles", 'Answers that said "too many requests".', registry=registry)
        self._retries = Counter("ycsync_request_retries", "Requests sent again.", ("stream",), registry=registry)
        self._reread = Counter(
            "ycsync_pages_reread",
            "Pages read anew: a row stood in them twice, none where some were counted, or rows moved between two pages.",
            ("stream",),
            registry=registry,
        )
        self._batches = Counter("ycsync_batches", "Batches, by how they ended.", ("stream", "outcome"), registry=registry)
        self._batch_s = Histogram(
            "ycsync_batch_duration_seconds", "How long batches took.", ("stream",), buckets=_BATCH_SECONDS, registry=registry
        )
        self._rows = Counter("ycsync_rows", "Rows, by what became of them.", ("stream", "effect"), registry=registry)
        self._odd = Counter(
            "ycsync_odd_values",
            "Rows stored with a value that could not be read: its column is null, the payload keeps it.",
            ("stream", "field"),
            registry=registry,
        )
        self._database_s = Histogram(
            "ycsync_database_duration_seconds",
            "How long the database was used at a time: waiting for a connection, and a statement or a transaction.",
            ("operation",),
            buckets=_DATABASE_SECONDS,
            registry=registry,
        )
        self._hooks = Counter("ycsync_hooks", "Webhooks that came, by what became of them.", ("result",), registry=registry)
        self._hook_s = Histogram(
            "ycsync_hook_duration_seconds",
            "From a webhook until what it told was committed.",
            buckets=_SECONDS,
            registry=registry,
        )
        build = Gauge("ycsync_build_info", "1; the label tells the version that runs.", ("version",), registry=registry)
        build.labels(version).set(1)
        # What stands before each value, kept: making and checking it anew is most of what prometheus_client's own text costs.
        self._heads: dict[tuple[object, ...], str] = {}
        self._begin()
        self._operations = {name: self._database_s.labels(name) for name in OPERATIONS}
        self._state = _StateCollector()
        registry.register(self._state)
        _Process(registry=registry)

    def _begin(self) -> None:
        for endpoint in ENDPOINTS:
            self._latency.labels(endpoint)
            for outcome in REQUEST_OUTCOMES:
                self._requests.labels(endpoint, outcome)
        for result in HOOK_RESULTS:
            self._hooks.labels(result)
        for stream in (*STREAMS, QUEUED):
            for one in (self._retries, self._reread, self._batch_s):
                one.labels(stream)
            for outcome in BATCH_OUTCOMES:
                self._batches.labels(stream, outcome)
            for effect in EFFECTS:
                self._rows.labels(stream, effect)
        for stream, name in ODD_FIELDS:
            self._odd.labels(stream, name)

    def request(self, endpoint: str, outcome: str, seconds: float) -> None:
        """One request went as it did."""
        self._requests.labels(endpoint, outcome).inc()
        self._latency.labels(endpoint).observe(seconds)
        if outcome == "throttled":
            self._throttles.inc()

    def batch(
        self,
        stream: str,
        outcome: str,
        seconds: float,
        *,
        retries: int,
        rows: Mapping[str, int],
        reread: int = 0,
        waited: Iterable[float] = (),
        odd: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        """One batch ended; `rows`: effect (inserted, changed, deleted, quarantined) -> how many; `reread`: pages.

        `waited`: how long each hint of a webhook waited that it answered. `odd`: (stream, field) -> rows with an unreadable
        value.
        """
        for waited_s in waited:
            self._hook_s.observe(waited_s)
        self._batches.labels(stream, outcome).inc()
        self._batch_s.labels(stream).observe(seconds)
        self._retries.labels(stream).inc(retries)
        self._reread.labels(stream).inc(reread)
        for effect, count in rows.items():
            self._rows.labels(stream, effect).inc(count)
        for (of, name), count in (odd or {}).items():
            self._odd.labels(of, name).inc(count)

    def hook(self, result: str, count: int = 1) -> None:
        """So many webhooks came; `result`: one of HOOK_RESULTS."""
        self._hooks.labels(result).inc(count)

    def database(self, operation: str, seconds: float) -> None:
        """The database was used once; `operation`: one of OPERATIONS."""
        self._operations[operation].observe(seconds)

    def text(self, state: State | None = None) -> bytes:
        """Everything in the text format; `state`: how things stand now."""
        self._state.state = state
        lines = []
        for family in self.registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            lines.append(f"# HELP {name} {family.documentation}\n# TYPE {name} {family.type}\n")
            for sample in family.samples:
                key = (sample.name, *sample.labels.items())
                if (head := self._heads.get(key)) is None:
                    head = self._heads[key] = _head(sample.name, sample.labels)
                lines.append(f"{head}{floatToGoString(sample.value)}\n")  # type: ignore[no-untyped-call]
        return "".join(lines).encode()


def _head(name: str, labels: Mapping[str, str]) -> str:
    if not labels:
        return f"{name} "
    escaped = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
    pairs = ",".join(f'{key}="{value.translate(escaped)}"' for key, value in sorted(labels.items()))
    return f"{name}{{{pairs}}} "


class _Process(ProcessCollector):
    """process_*: where the unit's sandbox hides /proc/stat, the clocks tell when the machine started."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _StateCollector(Collector):
    """Gauges that are not counted but looked up, of one State."""

    def __init__(self) -> None:
        self.state: State | None = None

    def collect(self) -> Iterator[Metric]:
        """The gauges; none while nothing was looked up."""
        if self.state is not None:
            yield from _of_service(self.state)
            if self.state.told is not None:
                yield from _of_database(self.state.told, self.state.age_s)


def _of_service(state: State) -> Iterator[Metric]:
    yield _gauge("ycsync_ready", "1 when /readyz says so: complete, fresh, nothing stopped.", state.ready)
    yield _gauge("ycsync_database_up", "1 while the database answers.", state.database)
    yield _gauge("ycsync_config_last_reload_successful", "0 when the last reload was refused.", state.reload)
    yield _gauge(
        "ycsync_config_last_reload_success_timestamp_seconds",
        "When settings were taken last: at the start, or by a reload.",
        state.loaded_at,
    )
    yield _gauge(
        "ycsync_scheduler_turn_age_seconds",
        "Since work was looked for last, which is done every second; it grows while the service is stuck.",
        state.turn_age_s,
    )
    yield _by(
        "ycsync_limit_requests",
        "Requests that the preset allows in a window.",
        "window",
        zip(WINDOWS, state.preset, strict=True),
    )
    yield _by(
        "ycsync_limit_api_requests",
        "Requests that the API allows in a window, behind one address.",
        "window",
        zip(WINDOWS, state.api, strict=True),
    )


_BY_STREAM: tuple[tuple[str, str, Callable[[StreamState], int]], ...] = (
    (
        "ycsync_streams_failing",
        "Streams of all salons that fill or wait, and whose last three tries or more failed.",
        lambda one: one.failing,
    ),
    ("ycsync_quarantine_rows", "Rows that could not be stored and have not come well since.", lambda one: one.quarantined),
    ("ycsync_pass_done_rows", "Rows that passes which fill have stored, of all salons.", lambda one: one.done),
    (
        "ycsync_pass_expected_rows",
        "Rows that passes which fill will have stored, as far as it is known.",
        lambda one: one.expected,
    ),
)


def _of_database(told: Told, age_s: float) -> Iterator[Metric]:
    yield _gauge(
        "ycsync_state_age_seconds",
        "Since the database was asked last how things stand: so old are the gauges that come from it.",
        age_s,
    )
    yield _by(
        "ycsync_limit_used_requests",
        "Requests in the last window, behind this address.",
        "window",
        zip(WINDOWS, told.used, strict=True),
    )
    yield _gauge(
        "ycsync_limit_blocked_seconds",
        'For so long nobody behind this address sends yet, since YCLIENTS said "too many requests".',
        max(0.0, told.blocked_s - age_s),
    )
    yield _gauge("ycsync_limit_others_requests", "Requests a minute that others send out of the same limit.", told.others)
    limit, remaining, reset_s = told.server
    if limit is not None:
        yield _gauge("ycsync_limit_server_requests", "Requests a minute that YCLIENTS says it allows.", limit)
    if remaining is not None:
        yield _gauge("ycsync_limit_server_remaining_requests", "Requests that YCLIENTS said were left of them.", remaining)
    if reset_s is not None:
        yield _gauge("ycsync_limit_server_reset_seconds", "Until more are left, as YCLIENTS said.", max(0.0, reset_s - age_s))
    yield _gauge("ycsync_paused", "1 while a command holds all requests.", told.paused)
    yield _gauge("ycsync_paused_salons", "Single salons whose requests a command holds.", told.paused_salons)
    yield _gauge("ycsync_hooks_waiting", "Things that webhooks named and that are not fetched yet.", told.hints)
    streams = Metric("ycsync_streams", "Streams of all salons, by state: a stream is in exactly one.", "gauge")
    longest = Metric(
        "ycsync_lag_max_seconds",
        "Since the last proven success, of the salon that is furthest behind; +Inf: one was never complete.",
        "gauge",
    )
    lags = Metric(
        "ycsync_lag_seconds",
        "Since the last proven success: quantiles over the salons; +Inf: those were never complete.",
        "summary",
    )
    for one in told.streams:
        for state in STATES:
            streams.add_sample(streams.name, {"stream": one.stream, "state": state}, one.states.get(state, 0))
        if one.lags:
            for quantile, lag_s in zip(QUANTILES, one.lags[:-1], strict=True):
                lags.add_sample(lags.name, {"stream": one.stream, "quantile": str(quantile)}, lag_s + age_s)
            longest.add_sample(longest.name, {"stream": one.stream}, one.lags[-1] + age_s)
    yield from (streams, longest, lags)
    for name, said, value in _BY_STREAM:
        yield _by(name, said, "stream", ((one.stream, value(one)) for one in told.streams))


def _gauge(name: str, said: str, value: float) -> Metric:
    found = Metric(name, said, "gauge")
    found.add_sample(name, {}, value)
    return found


def _by(name: str, said: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    found = Metric(name, said, "gauge")
    for key, value in values:
        found.add_sample(name, {label: key}, value)
    return found
