"""Made-up states of salons and the service, all at one instant."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ycsync.config import STREAMS, Settings, parse_settings
from ycsync.model.streams import DECLARED
from ycsync.store.report import Audit, Batches, Hour, Odd, Salon, Standing, StreamRow, Usage, Worker

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SALONS = (Salon(4001, "Salon 1", True), Salon(4002, "Salon 2", True))
SERVICE = Worker(
    "service", 4711, "1.2.3", "default", NOW - timedelta(hours=3), NOW, {"preset": "balanced"}
)
HERE = replace(SERVICE, address="192.0.2.1")
USUAL = tuple(stream for stream in STREAMS if stream not in DECLARED)
USAGE = Usage(second=2, minute=31)
BLOCKED = replace(USAGE, throttled=3, blocked_until=NOW + timedelta(seconds=20))
SHARED = replace(
    USAGE,
    server_limit=200,
    server_remaining=37,
    server_said_at=NOW - timedelta(seconds=5),
    server_resets_at=NOW + timedelta(seconds=50),
    others=41,
    leaves=157,
)
NAMED = parse_settings("companies: [4001, 4003, {id: 4002, preset: night}]", "config.yaml")


@dataclass(frozen=True)
class State:
    """One state.

    standing  None: the database has not been queried yet
    lost      since when there is no database
    problem   why the last reload was refused
    unread_s  seconds since the last query
    """

    name: str
    standing: Standing | None
    settings: Settings = field(default_factory=Settings)
    lost: datetime | None = None
    problem: str | None = None
    unread_s: float = 0.0


def ago(**span: float) -> datetime:
    """Return an instant before now."""
    return NOW - timedelta(**span)


def row(company: int, stream: str, **more: Any) -> StreamRow:
    """Return a stream that is complete and fresh, changed by `more`."""
    live = StreamRow(company, stream, "live", 10, 10, 4, ago(seconds=20), ago(seconds=30))
    return replace(live, **more)


def stopped(company: int, stream: str, error: str, code: str, **more: Any) -> StreamRow:
    """Return a stream that an error stopped."""
    told = {"phase": "stopped", "last_error": error, "error_code": code, "failures": 3, **more}
    return row(company, stream, error_since=ago(hours=2), **told)


def failed(error: str, **span: float) -> dict[str, Any]:
    """Return the columns of a transient failure, `span` ago."""
    return {"last_error": error, "error_code": "transient", "error_since": ago(**span)}


def standing(*rows: StreamRow, salons: tuple[Salon, ...] = SALONS, **more: Any) -> Standing:
    """Return everything complete and fresh, changed by these rows and by `more`."""
    told = {(0, "companies"): row(0, "companies", expected=2, done=2)}
    told |= {(salon.id, stream): row(salon.id, stream) for salon in salons for stream in USUAL}
    told |= {(one.company, one.stream): one for one in rows}
    usual: dict[str, Any] = {
        "usage": USAGE,
        "workers": (SERVICE,),
        "pauses": {},
        "hour": Hour(batches=12, failed=1, requests=90, errors=2),
    }
    return Standing(NOW, salons, tuple(told.values()), **{**usual, **more})


def filling(**more: Any) -> Standing:
    """Return a salon being filled: a quarter of its visits, most of its clients."""
    begun = {"phase": "filling", "last_success_at": None, "proved_as_of": None, "working": True}
    visits = {"expected": 1000, "done": 250, "busy_s": 10.0, "pass_started_at": ago(seconds=10)}
    clients = {"expected": 100, "done": 80, "busy_s": 4.0}
    return standing(
        row(4001, "records", **{**begun, **visits, **more}),
        row(4001, "clients", **{**begun, **clients}),
    )


def _licence() -> Standing:
    error = "salon 4002, clients: HTTP 402: the licence has lapsed. Renew it in YCLIENTS."
    return standing(*(stopped(4002, stream, error, "http_402") for stream in USUAL))


def _everything() -> Standing:
    """Return several troubles at once."""
    no_right = 'salon 4001, staff: the right to "staff" is missing. Ask the salon\'s owner for it.'
    cut = "salon 4002, clients: no connection, 4 times in a row"
    return standing(
        stopped(4001, "staff", no_right, "no_right"),
        row(4001, "services", lacks_categories=True),
        row(4001, "clients", odd=(Odd("birth_date", 3, ago(days=1)), Odd("email", 1, ago(days=2)))),
        row(4002, "records", quarantined=2),
        row(4002, "clients", proved_as_of=ago(hours=1), failures=4, **failed(cut, hours=1)),
        salons=(*SALONS, Salon(4009, "Salon that went", False)),
        pauses={4001: ago(minutes=5)},
        erased={4008: ago(days=30)},
        hints=7,
        usage=replace(BLOCKED, throttled_at=ago(minutes=9)),
    )


FAILED = Audit(
    standing=_everything(),
    batches=Batches(40, ago(hours=20), 900, 45, 12, throttled=3, failed=9, lost=2, denied=1),
    stuck=1,
    live={(4001, "clients"): 9, (4002, "clients"): 10, (4001, "records"): 10},
    clients=200,
    nameless=5,
    with_phone=150,
    visitors=100,
    with_visits=90,
    records=1234,
    deleted_records=56,
    walk_ins=7,
    orphan_lines=8,
    unguarded=("goods",),
    tables=11,
    misplaced=1,
)
EMPTY = Audit(
    standing=standing(row(0, "companies", expected=None, done=0), salons=()),
    batches=Batches(0, None, 0, 0, 0, 0, 0, 0, 0),
    stuck=0,
    live={},
    clients=0,
    nameless=0,
    with_phone=0,
    visitors=0,
    with_visits=0,
    records=0,
    deleted_records=0,
    walk_ins=0,
    orphan_lines=0,
    unguarded=(),
    tables=11,
)
SWEEP = "salon 4001, records: 90 of 300 would be deleted."
RIGHT = "salon 4002, staff: no right. Ask its owner."
TOKEN = "companies: the user token is not accepted."
ONCE = "salon 4002, clients: HTTP 500, once"
STATES = (
    State("starting: the database was not asked yet", None),
    State(
        "no salon is known yet",
        standing(row(0, "companies", expected=None, done=0), salons=()),
    ),
    State("filling", filling()),
    State(
        "filling, waiting for the next batch",
        filling(working=False, batches=1, due_at=NOW + timedelta(seconds=130)),
    ),
    State("filling, not all is counted", filling(expected=None, done=0)),
    State("filling, and no service runs", replace(filling(working=False), workers=())),
    State("live", standing()),
    State(
        "live, and the last try of one stream failed",
        standing(row(4002, "clients", failures=1, **failed(ONCE, minutes=1))),
    ),
    State("stale", standing(row(4002, "records", proved_as_of=ago(hours=3)))),
    State("all paused", standing(pauses={0: ago(minutes=12)})),
    State("one salon paused", standing(pauses={4002: ago(minutes=12)})),
    State(
        "taken out of one salon in YCLIENTS",
        standing(pauses={4002: ago(days=2)}, reasons={4002: "uninstalled"}),
    ),
    State("denied: a licence has lapsed", _licence()),
    State("denied: a right is missing", standing(stopped(4002, "staff", RIGHT, "no_right"))),
    State(
        "denied: the user token is not accepted",
        standing(stopped(0, "companies", TOKEN, "http_401"), salons=()),
    ),
    State(
        "stopped: a sweep would delete too much",
        standing(stopped(4001, "records", SWEEP, "held_back", phase="live")),
    ),
    State("refused by YCLIENTS: it waits", standing(usage=BLOCKED)),
    State("others use the limit too", standing(usage=SHARED)),
    State(
        "two names for one address",
        standing(
            workers=(HERE, replace(HERE, egress="far")),
            sharing=(("default", "far"), ("far", "default")),
        ),
    ),
    State("named salons, one of them not listed", standing(), NAMED),
    State("the database is away", standing(), lost=ago(seconds=90)),
    State("the database does not tell", standing(), unread_s=75.0),
    State("the last reload was refused", standing(), problem="line 3: no preset 'nigth'"),
    State("several troubles at once", _everything()),
)
