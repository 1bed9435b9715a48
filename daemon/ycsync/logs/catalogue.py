"""Which events are there, what does each mean to the operator, and which keys may it carry?

`emit` prints no other key than the declared ones, so that a name, a phone or a token cannot slip into a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

Level = Literal["debug", "info", "warning", "error", "critical"]


@dataclass(frozen=True, slots=True)
class Event:
    """A thing that can be said: its dotted name, how loud, what it means, and which keys it may carry.

    `action`: what the operator does about a warning or an error.
    """

    name: str
    level: Level
    meaning: str
    keys: tuple[str, ...] = ()
    action: str = ""


COMMON_KEYS: Final = ("company", "stream", "batch", "preset", "phase", "error", "exc_info", "suppressed")
"""Keys that any event may carry."""

KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "action": "what was done",
        "applied": "how many migrations ran",
        "assumption": "what the server was taken to do",
        "attempt": "how many times in a row it failed, this one included",
        "batch": "the batch's number, as in the table `sync_batches`",
        "batches": "batches that ended since the last such line",
        "changed": "rows that were there and are different now",
        "company": "the salon; 0 is the list of salons",
        "count": "how many",
        "deleted": "rows that YCLIENTS no longer has",
        "done": "rows of the stream that are stored",
        "duration_s": "how long it took, in seconds",
        "egress": "the budget's name, `yclients.egress`",
        "endpoint": "the request's name, as in the API as we use it",
        "error": "what went wrong, for people",
        "errors": "requests that failed",
        "exception": "the kinds of the exceptions, the outermost first",
        "expected": "rows that the stream should have",
        "failed": "batches that failed since the last such line",
        "fields": "which fields, each with how many rows",
        "file": "the configuration's path",
        "folder": "where the private PostgreSQL lies",
        "frames": "where in the program, the innermost first",
        "fresh": "streams that are complete and fresh",
        "got": "how many rows showed it",
        "holds": "how many rows of each kind",
        "in_flight": "batches in work",
        "key": "the setting",
        "keys": "the settings",
        "leaves": "requests a minute that others leave ycsync",
        "line": "the line in the file",
        "listen": "the address of the status page",
        "module": "the part of ycsync that says it",
        "of": "how many rows it read",
        "others": "requests a minute that others send out of the same limit",
        "phase": "what the batch does: filling, closing or live",
        "pid": "the process",
        "preset": "the preset in force",
        "problem": "what is wrong and what to do",
        "reason": "why",
        "remedy": "what to do",
        "requests": "requests that were sent",
        "retries": "requests that had to be sent again",
        "retry_in_s": "when it is tried again, in seconds",
        "rows": "rows that are new",
        "salons": "which salons",
        "scope": "`client` or `salon`",
        "since": "since when",
        "size": "rows a page from now on",
        "state": "`running`: started by this process; `shared`: by another",
        "status": "the HTTP status; 0: no answer",
        "stream": "what is fetched: clients, records, services, staff, companies, schedules, goods, goods_operations, "
        "transactions; hooks: what webhooks told",
        "streams": "streams that are on",
        "suppressed": "so many lines like this one were left out before it: of its event, salon and stream, and of its event "
        "where all salons together had too many",
        "task": "which part of the process",
        "text": "the library's words, without values",
        "throttled": "answers that said too many requests",
        "undeclared": "keys that were left out: a fault of ycsync",
        "units": "how much the batch may do",
        "version": "of ycsync, of the schema, or of the cursor",
        "wait_s": "how long nothing is sent, in seconds",
        "worker": "the process's number in the table `workers`",
        "would_delete": "how many rows it would delete",
        "zone": "the salon's time zone; `unknown`: YCLIENTS does not name it",
    }
)
"""What each key means."""


CONFIG_REJECTED = Event(
    "config.rejected", "error", "a bad file: nothing changed, the old settings hold", ("file", "line", "key", "problem"),
    "Mend the line, then `systemctl reload ycsync`. `ycsync config check` names every mistake.",
)  # fmt: skip
CONFIG_RELOADED = Event("config.reloaded", "info", "the file is in force from the next batch", ("file",))
CONFIG_RESTART_NEEDED = Event(
    "config.restart_needed", "warning", "the rest of the file is in force, these are not", ("keys", "file"),
    "`systemctl restart ycsync`: it costs no work.",
)  # fmt: skip
SERVICE_STARTING = Event("service.starting", "info", "the process began", ("version", "pid", "file"))
SERVICE_READY = Event("service.ready", "info", "settings and database are good: work begins", ("version", "egress", "listen"))
SERVICE_ALIVE = Event(
    "service.alive", "info", "once an hour: what was done since the last such line",
    ("streams", "fresh", "requests", "errors", "batches", "failed", "rows", "changed"),
)  # fmt: skip
SERVICE_PAUSED = Event(
    "service.paused", "warning", "a command holds the requests of all salons or of some", ("salons",),
    "`ycsync resume` lets them leave again.",
)  # fmt: skip
SERVICE_RESUMED = Event("service.resumed", "info", "requests leave again", ("salons",))
SERVICE_STOPPING = Event("service.stopping", "info", "no further request leaves", ("reason", "in_flight"))
SERVICE_STOPPED = Event("service.stopped", "info", "everything is committed or dropped whole", ("duration_s",))
SERVICE_FAILED = Event(
    "service.failed", "error", "the process ends", (),
    "What the error says. `ycsync doctor` looks at everything around it. systemd starts it again unless only you can mend it.",
)  # fmt: skip
BATCH_STARTED = Event("batch.started", "debug", "a batch began", ("units", "expected", "done"))
BATCH_COMMITTED = Event(
    "batch.committed", "info", "a batch is in the database: what, how many, how long, with how many requests",
    ("requests", "rows", "changed", "deleted", "done", "expected", "duration_s", "retries", "errors", "throttled"),
)  # fmt: skip
BATCH_QUIET = Event("batch.quiet", "debug", "nothing new since the last cycle", ("requests", "duration_s"))
BATCH_FAILED = Event(
    "batch.failed", "error", "a batch ended early; it goes on where its last page was committed",
    ("requests", "errors", "duration_s", "retry_in_s", "attempt"),
    "Nothing, if it passes: it is tried again by itself. If it lasts, what the error says; `ycsync status` shows since when.",
)  # fmt: skip
BATCH_HANDED_OVER = Event(
    "batch.handed_over", "warning", "this machine does not reach YCLIENTS and another one does: the work is left to that one, "
    "and this one tries again with one batch at a time", ("retry_in_s",),
    "Look at this machine's network, DNS and firewall: `ycsync doctor`.",
)  # fmt: skip
BATCH_FENCED = Event(
    "batch.fenced", "warning",
    "another worker advanced the cursor, or the salon's time zone changed: this page was dropped whole", ("version",),
    "Nothing: the other worker has it. Often: is a machine's clock or network bad?",
)  # fmt: skip
PAGE_COMMITTED = Event(
    "page.committed", "debug", "one page is in the database", ("rows", "changed", "deleted", "done", "version")
)
PAGE_SIZE_CHANGED = Event("page.size_changed", "info", "smaller pages are asked for", ("size", "reason"))
PASS_PROVED = Event("pass.proved", "info", "the stream is proved complete", ("rows", "expected", "deleted"))
PASS_RESTARTED = Event(
    "pass.restarted", "warning", "the data moved under the pages: some are read again", ("reason", "count"),
    "Nothing: that is how nothing gets lost.",
)  # fmt: skip
LIMIT_DOUBLED = Event(
    "limit.doubled", "error", "services with different names in `yclients.egress` leave by one address: together they send "
    "more than YCLIENTS allows", ("problem", "remedy"),
    "Give them one name, or an address to each (`yclients.local_address`), and restart them.",
)  # fmt: skip
LIMIT_SHARED = Event(
    "limit.shared",
    "warning",
    "YCLIENTS counts more requests than ycsync sends: others use the limit too, and ycsync leaves them what they use",
    ("egress", "others", "leaves"),
    "Nothing, if you know the other program. Else: who sends from this address, or with this partner token?",
)
LIMIT_THROTTLED = Event(
    "limit.throttled", "warning", "the server said too many requests: everybody on this address waits, then goes slower",
    ("status", "wait_s"),
    "Nothing, if rare, or where `ycsync status` shows SHARED. Else lower `yclients.per_minute` by what another program needs.",
)  # fmt: skip
API_RETRY = Event(
    "api.retry", "warning", "a request failed and is sent again", ("endpoint", "status", "attempt", "wait_s", "reason"),
    "Nothing, unless `batch.failed` follows.",
)  # fmt: skip
API_DENIED = Event(
    "api.denied", "error", "401, 402 or 403: what it is about stops (the salon, or one stream), the rest goes on", ("status",),
    "What the error says: a new token, the licence, or a right to ask the owner for. `ycsync doctor` tries all.",
)  # fmt: skip
API_ASSUMPTION = Event(
    "api.assumption", "warning", "the server is not as assumed; `action` says what was done instead",
    ("assumption", "action", "endpoint", "got"),
    "Nothing is lost, it costs more requests. Please report it.",
)  # fmt: skip
ROW_QUARANTINED = Event(
    "row.quarantined", "warning", "rows cannot be stored whole; they are kept in the table `quarantine`", ("reason", "count"),
    "Look at them there; mend them in YCLIENTS and they leave it by themselves. A form that is new: please report it.",
)  # fmt: skip
ROW_ODD = Event(
    "row.odd",
    "info",
    "values could not be read: their columns are null, `raw` keeps them; `ycsync status` counts them by field",
    ("fields", "count"),
)
SWEEP_STOPPED = Event(
    "sweep.stopped", "error", "a sweep would delete too much: it stopped and asks", ("would_delete", "of", "remedy"),
    "Look in YCLIENTS whether so much is gone. If so: `ycsync sync --confirm-deletions`. If not: the user's rights.",
)  # fmt: skip
DATABASE_LOST = Event(
    "database.lost", "error", "no database: requests stop until it is back", ("retry_in_s",),
    "Mend the database or the way to it; ycsync goes on by itself. `ycsync doctor` tells more.",
)  # fmt: skip
DATABASE_UNREAD = Event(
    "database.unread", "error", "the database works, but did not tell for 30 s how things stand; /readyz says no meanwhile", (),
    "What the error says: a lock that another program holds on a table, a right that was taken, a time-out too short.",
)  # fmt: skip
DATABASE_BACK = Event("database.back", "info", "the database answers again", ("duration_s",))
DATABASE_MIGRATED = Event("database.migrated", "info", "the schema was brought up to date", ("version", "applied"))
DATABASE_LEFT_BEHIND = Event(
    "database.left_behind", "warning",
    "the settings name a new database, and a private one with rows is left; its erasures and pauses were taken over",
    ("folder", "holds"),
    "Stop the service and run `ycsync db move`, which offers to remove the old one. As long as no first pass ended here it "
    "copies everything, without asking YCLIENTS.",
)  # fmt: skip
DATABASE_EMBEDDED = Event("database.embedded", "info", "the private PostgreSQL runs", ("state",))
WORKER_REAPED = Event(
    "worker.reaped", "warning", "a worker that is gone had work: it is taken over", ("worker",),
    "Nothing. Look at that machine if it should be working.",
)  # fmt: skip
WORKER_GIVEN_UP = Event(
    "worker.given_up", "warning", "this service was not heard of for half a minute, so others took its work over; what it had "
    "in hand is dropped, and it goes on with new work", ("worker",),
    "Look whether this machine was frozen, or cut off from the database.",
)  # fmt: skip
HTTP_UNAVAILABLE = Event(
    "http.unavailable", "error", "http.listen cannot be opened; the sync goes on without it", ("listen", "reason"),
    "Choose another port in `http.listen`, or end the program that holds it, then `systemctl restart ycsync`.",
)  # fmt: skip
HTTP_DENIED = Event(
    "http.denied", "warning", "somebody asked the status page for a change and was refused", ("reason",),
    "Nothing, if it was you with a mistyped token. Else: who reaches `http.listen`?",
)  # fmt: skip
HTTP_ACTED = Event(
    "http.acted", "info", "the status page changed something, with the admin token", ("action", "salons"),
)  # fmt: skip
SALON_ERASED = Event(
    "salon.erased", "warning", "the settings name a salon that was erased: it is not read", ("since",),
    "Take it out of `companies`. If it is to come back: `ycsync db readmit --company ID`.",
)  # fmt: skip
SALON_ZONE_CHANGED = Event(
    "salon.zone_changed",
    "warning",
    "a salon's time zone is another one: the stored times of a stream were computed again from `raw`, without a request; "
    "`count` of its rows are written in an unusual way",
    ("zone", "changed", "count"),
    "Make reports and copies that hold such times anew. Is the new zone right?",
)
ERASURE_DONE = Event(
    "erasure.done", "info", "a command erased a client or a salon; the table `erasures` has the line", ("scope", "rows"),
)  # fmt: skip
ERASURE_LIFTED = Event("erasure.lifted", "info", "what was erased may be read again", ("scope",))
HOOKS_LOST = Event(
    "hooks.lost", "warning", "webhooks came and could not be kept; what they told is looked for when the database is back",
    ("count",), "The database or the way to it; YCLIENTS does not send them again, and nothing needs to be done for them.",
)  # fmt: skip
HOOKS_LOSSY = Event(
    "hooks.lossy",
    "info",
    "a delta found changes that no webhook had told: for a while changes are looked for as without them",
    ("count",),
)
HOOKS_UNCONFIRMED = Event(
    "hooks.unconfirmed", "warning", "something is said to be deleted, and no read could confirm it: it stays until the night's "
    "sweep", ("count", "reason"), "Nothing. If it lasts: does YCLIENTS still answer for single clients and visits?",
)  # fmt: skip
SALON_ENDED = Event(
    "salon.ended", "warning", "YCLIENTS says that the application was taken out of a salon, or that it froze the salon: "
    "nothing is asked there any more", ("reason",),
    "If it is wanted again: install the application in YCLIENTS, then `ycsync resume --company ID`.",
)  # fmt: skip
UNEXPECTED = Event(
    "unexpected", "error", "a fault of ycsync; the work is tried again", ("task",),
    "Please report it with its `exception` and `frames`, which hold no data.",
)  # fmt: skip
LIBRARY = Event(
    "library", "warning", "a library that ycsync uses complains; it comes at the library's own level", ("text",),
    "Nothing, unless something else goes wrong at the same time.",
)  # fmt: skip

CATALOGUE: Final[Mapping[str, Event]] = {e.name: e for e in list(globals().values()) if isinstance(e, Event)}
"""Every event by its name."""


def emit(logger: FilteringBoundLogger, event: Event, /, **keys: object) -> None:
    """Logs `event`, unless too many like it came.

    A key that it does not declare is not printed; its name is, as `undeclared`.
    """
    emit_at(event.level, logger, event, **keys)


def emit_at(level: Level, logger: FilteringBoundLogger, event: Event, /, **keys: object) -> None:
    """The same, at another level than the event's own."""
    undeclared = [key for key in keys if key not in event.keys and key not in COMMON_KEYS]
    for key in undeclared:
        del keys[key]
    if undeclared:
        keys["undeclared"] = ",".join(sorted(undeclared))
    getattr(logger, level)(event.name, **keys)
