"""Which events are there, what does each mean to the operator, and which keys may it carry?

`emit` prints no other key than the declared ones, so that a name, a phone or a token cannot slip into a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from structlog.typing import FilteringBoundLogger

Level = Literal["debug", "info", "warning", "error", "critical"]


@dataclass(frozen=True, slots=True)
class Event:
    """A thing that can be said: its dotted name, how loud, what it means, and which keys it may carry."""

    name: str
    level: Level
    meaning: str
    keys: tuple[str, ...] = ()


COMMON_KEYS: Final = ("company", "stream", "batch", "preset", "phase", "error", "exc_info")
"""Keys that any event may carry."""


CONFIG_REJECTED = Event("config.rejected", "error", "a bad file: nothing changed", ("file", "line", "key", "problem"))
CONFIG_RELOADED = Event("config.reloaded", "info", "the file is in force from the next batch", ("file", "changed"))
CONFIG_RESTART_NEEDED = Event("config.restart_needed", "warning", "only a restart applies these", ("keys", "file"))
SERVICE_STARTING = Event("service.starting", "info", "the process began", ("version", "pid", "file"))
SERVICE_READY = Event(
    "service.ready",
    "info",
    "settings and database are good: work begins",
    ("version", "companies", "egress", "listen"),
)
SERVICE_STOPPING = Event("service.stopping", "info", "no further request leaves", ("reason", "in_flight"))
SERVICE_STOPPED = Event("service.stopped", "info", "everything is committed or dropped whole", ("duration_s",))
SERVICE_FAILED = Event("service.failed", "error", "the process ends; the error says what to do", ("task",))
SERVICE_PAUSED = Event("service.paused", "warning", "requests are stopped by command", ("reason",))
SERVICE_RESUMED = Event("service.resumed", "info", "requests leave again", ("reason",))
BATCH_STARTED = Event("batch.started", "debug", "a batch began", ("units", "expected", "done"))
BATCH_COMMITTED = Event(
    "batch.committed",
    "info",
    "a batch is in the database",
    (
        "units",
        "requests",
        "rows",
        "changed",
        "done",
        "expected",
        "duration_s",
        "retries",
        "throttled",
        "eta_s",
    ),
)
BATCH_QUIET = Event("batch.quiet", "debug", "a delta found nothing new", ("requests", "duration_s"))
BATCH_FAILED = Event(
    "batch.failed",
    "error",
    "a batch ended early; its cursor stands where its last page was committed",
    ("requests", "rows", "errors", "duration_s", "retry_in_s", "attempt"),
)
BATCH_FENCED = Event("batch.fenced", "warning", "another worker advanced the cursor: this page was dropped", ("version",))
PAGE_COMMITTED = Event(
    "page.committed",
    "debug",
    "one page is in the database",
    ("rows", "changed", "total", "page", "duration_s", "version"),
)
PAGE_SIZE_CHANGED = Event(
    "page.size_changed",
    "info",
    "the server gives or bears other pages than asked",
    ("asked", "got", "size", "reason"),
)
PASS_STARTED = Event("pass.started", "info", "a whole pass began", ("expected", "plan", "requests", "reason"))
PASS_PROVED = Event(
    "pass.proved",
    "info",
    "the stream is proved complete",
    ("rows", "expected", "requests", "duration_s", "deleted"),
)
PASS_RESTARTED = Event("pass.restarted", "warning", "the data moved under the pages: they are read again", ("reason", "count"))
LIMIT_THROTTLED = Event(
    "limit.throttled",
    "warning",
    "the server said 429: all wait, then go slower",
    ("status", "wait_s", "rate", "egress"),
)
LIMIT_RECOVERED = Event("limit.recovered", "info", "the rate is back where it was", ("rate", "egress", "duration_s"))
API_RETRY = Event(
    "api.retry",
    "warning",
    "a request failed and is sent again",
    ("endpoint", "status", "attempt", "wait_s", "reason"),
)
API_DENIED = Event(
    "api.denied",
    "error",
    "401, 402 or 403: this salon stops, the others go on",
    ("endpoint", "status", "reason", "remedy"),
)
API_ASSUMPTION = Event(
    "api.assumption",
    "warning",
    "the server is not as assumed; `action` says what was done instead",
    ("assumption", "action", "endpoint", "expected", "got"),
)
API_REJECTED = Event("api.rejected", "error", "the server refuses this request as it is", ("endpoint", "status", "reason"))
ROW_QUARANTINED = Event(
    "row.quarantined",
    "warning",
    "a row cannot be stored; it is kept in `quarantine`",
    ("entity", "reason", "count"),
)
SWEEP_STOPPED = Event(
    "sweep.stopped",
    "error",
    "a sweep would delete too much: it stopped and asks",
    ("would_delete", "of", "percent", "remedy"),
)
DATABASE_LOST = Event("database.lost", "error", "no database: requests stop until it is back", ("retry_in_s", "attempt"))
DATABASE_BACK = Event("database.back", "info", "the database answers again", ("duration_s",))
DATABASE_MIGRATED = Event("database.migrated", "info", "the schema was brought up to date", ("version", "applied"))
DATABASE_EMBEDDED = Event("database.embedded", "info", "the private server runs or has stopped", ("state", "version"))
DATABASE_WARNING = Event("database.warning", "warning", "the database is not as it should be", ("reason", "remedy"))
WORKER_REAPED = Event("worker.reaped", "warning", "a dead worker's work is taken over", ("worker", "leases", "slots", "age_s"))
HTTP_UNAVAILABLE = Event(
    "http.unavailable",
    "error",
    "http.listen cannot be opened: choose another port; the sync goes on without it",
    ("listen", "reason"),
)
HOOK_RECEIVED = Event("hook.received", "debug", "a webhook put work into the queue", ("resource", "status", "entity"))
HOOK_REJECTED = Event("hook.rejected", "warning", "a webhook that cannot be used", ("reason", "status"))
UNEXPECTED = Event("unexpected", "error", "a fault of ycsync: please report the type and the frames", ("task", "where"))

CATALOGUE: Final[Mapping[str, Event]] = {e.name: e for e in list(globals().values()) if isinstance(e, Event)}
"""Every event by its name."""


def emit(logger: FilteringBoundLogger, event: Event, **keys: object) -> None:
    """Logs `event`. A key that it does not declare is not printed; its name is, as `undeclared`."""
    undeclared = [key for key in keys if key not in event.keys and key not in COMMON_KEYS]
    for key in undeclared:
        del keys[key]
    if undeclared:
        keys["undeclared"] = ",".join(sorted(undeclared))
    getattr(logger, event.level)(event.name, **keys)
