"""What does the database hold, how fresh is it, and what happened to it? Read only, one moment for all figures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ycsync.model.streams import DECLARED
from ycsync.store.database import Connection, Database
from ycsync.store.tables import TABLES


@dataclass(frozen=True, slots=True)
class Odd:
    """One field of a stream whose value could not be read: in so many rows that were written, the last one when."""

    field: str
    rows: int
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One row of sync_status, with what the batches of a pass that fills tell about its speed."""

    company: int
    stream: str
    phase: str = "new"
    expected: int | None = None
    done: int = 0
    requests: int = 0
    last_success_at: datetime | None = None
    proved_as_of: datetime | None = None
    last_error: str | None = None
    error_code: str | None = None
    error_since: datetime | None = None
    failures: int = 0
    pass_started_at: datetime | None = None
    due_at: datetime | None = None
    working: bool = False
    batches: int = 0  # of this pass, that ended because they were full
    busy_s: float = 0.0  # that the pass's batches worked
    spread: float | None = None  # of their seconds a row: the standard deviation as a share of the mean
    quarantined: int = 0
    cadence_s: float | None = None  # how long it may be until the next batch, if longer than the settings say
    odd: tuple[Odd, ...] = ()
    lacks_categories: bool = False  # the right to them lacks, and the services are complete without


@dataclass(frozen=True, slots=True)
class Salon:
    """`listed`: YCLIENTS still lists it, and it is active."""

    id: int
    title: str
    listed: bool


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that works the queue, heard of within ten seconds. `info`: what it says of itself.

    `address`: of its machine (`host`), by which its requests leave; `seen_from`: as which one the database sees it.
    """

    role: str
    pid: int
    version: str
    egress: str
    started_at: datetime
    beat_at: datetime
    info: dict[str, Any]
    host: str = ""
    address: str | None = None
    seen_from: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Requests in the last second and minute behind one address; `throttled`: refusals ever, the last one when.

    `server_…`: what the server said of the limit, and when (None: it never did). `others`: requests a minute that others were
    seen to send lately (None: none were); `leaves`: requests a minute that this leaves ycsync.
    """

    second: int = 0
    minute: int = 0
    throttled: int = 0
    throttled_at: datetime | None = None
    blocked_until: datetime | None = None
    server_limit: int | None = None
    server_remaining: int | None = None
    server_resets_at: datetime | None = None
    server_said_at: datetime | None = None
    others: int | None = None
    leaves: int | None = None


@dataclass(frozen=True, slots=True)
class Batches:
    """What batches did since `since`: the last 24 hours, or ever when those were idle.

    `refused`: requests that a missing right or a wrong token cost; they are not among `requests` and `errors`.
    """

    batches: int
    since: datetime | None
    requests: int
    errors: int
    refused: int
    throttled: int
    failed: int
    lost: int
    denied: int


@dataclass(frozen=True, slots=True)
class Hour:
    """What batches of the last hour did: `batches` ended, `failed` of them with an error, `working` are still at work."""

    batches: int = 0
    failed: int = 0
    requests: int = 0
    errors: int = 0
    throttled: int = 0
    working: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """One batch that ended. `rows`: new ones; `outcome`: see the table sync_batches."""

    company: int
    stream: str
    started_at: datetime
    finished_at: datetime
    outcome: str
    requests: int
    rows: int
    errors: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How everything stands at the instant `now` of the database's clock."""

    now: datetime
    salons: tuple[Salon, ...]
    streams: tuple[StreamRow, ...]
    usage: Usage
    workers: tuple[Worker, ...]
    pauses: dict[int, datetime]
    hour: Hour = Hour()
    erased: Mapping[int, datetime] = field(default_factory=dict)  # salons that are not read, and since when
    reasons: Mapping[int, str] = field(default_factory=dict)  # why YCLIENTS took a salon away, of those that are paused for it
    hints: int = 0  # that webhooks told and are not fetched yet
    sharing: tuple[tuple[str, str], ...] = ()  # names of `egress` whose limits were seen to be one


@dataclass(frozen=True, slots=True)
class News:
    """What changed since another look. `standing`: with those streams alone, and with the salons if `salons`.

    `xmin`: what to ask with the next time; `rows`: how many streams there are in all.
    """

    standing: Standing
    salons: bool
    xmin: int
    rows: int


@dataclass(frozen=True, slots=True)
class Audit:
    """What the success criteria are judged by, of the same instant as `standing`."""

    standing: Standing
    batches: Batches
    stuck: int
    live: dict[tuple[int, str], int]
    clients: int
    nameless: int
    with_phone: int
    visitors: int  # clients that YCLIENTS says have visits
    with_visits: int  # and of whom the database has any
    records: int
    deleted_records: int
    walk_ins: int
    orphan_lines: int
    unguarded: tuple[str, ...]
    tables: int  # whose keys were looked at
    misplaced: int = 0  # streams with times that are still to be computed by the salon's corrected time zone


@dataclass(frozen=True, slots=True)
class SalonCounts:
    """How large one salon is, as the database knows it."""

    company: int
    title: str
    clients: int
    visits: int


class Report:
    """Reads one database; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("report.sql")

    @asynccontextmanager
    async def _moment(self) -> AsyncIterator[Connection]:
        async with self._database.transaction(reading=True) as connection:
            yield connection

    async def standing(self, egress: str) -> Standing:
        """How everything stands."""
        async with self._moment() as connection:
            return await self._standing(connection, egress)

    async def news(self, egress: str, since: int | None) -> News:
        """What changed since the look whose `xmin` was `since`; None: everything."""
        async with self._moment() as connection:
            head = await _one(connection, self._sql["news"], since)
            return News(await self._standing(connection, egress, since, salons=head["salons"]), **head)

    async def audit(self, egress: str, companies: Sequence[int] | None = None) -> Audit:
        """What the success criteria are judged by. `companies`: None: all that are listed."""
        async with self._moment() as connection:
            standing = await self._standing(connection, egress)
            listed = [salon.id for salon in standing.salons if salon.listed]
            chosen = list(companies) if companies else listed
            clients = await _one(connection, self._sql["clients"], chosen)
            records = await _one(connection, self._sql["records"], chosen)
            live = await connection.fetch(self._sql["live"], chosen)
            for stream in DECLARED:
                live += await connection.fetch(self._sql["live_of"].replace("{stream}", stream), chosen)
            batches = await _one(connection, self._sql["batches"])
            keys = {table.name: "company_id,id" if table.scoped else "id" for table in TABLES.values()}
            keys["record_services"] = "company_id,record_id,position"
            unguarded = await connection.fetch(self._sql["unguarded"], self._database.schema, list(keys), list(keys.values()))
            return Audit(
                standing=standing,
                batches=Batches(**batches),
                stuck=await connection.fetchval(self._sql["stuck"]),
                live={(row["company"], row["stream"]): row["rows"] for row in live},
                clients=clients["live"],
                nameless=clients["nameless"],
                with_phone=clients["with_phone"],
                visitors=clients["visitors"],
                with_visits=clients["with_visits"],
                records=records["stored"],
                deleted_records=records["deleted"],
                walk_ins=records["walk_ins"],
                orphan_lines=records["orphans"],
                unguarded=tuple(row["name"] for row in unguarded),
                tables=len(keys),
                misplaced=await connection.fetchval(self._sql["misplaced"]),
            )

    async def recent(self, most: int) -> tuple[Ended, ...]:
        """The batches that ended last, the newest first."""
        return tuple(Ended(**row) for row in await self._database.fetch(self._sql["recent"], most))

    async def salons(self) -> tuple[Salon, ...]:
        """Every salon that the database knows."""
        return tuple(Salon(**row) for row in await self._database.fetch(self._sql["salons"]))

    async def counts(self) -> tuple[SalonCounts, ...]:
        """How large each listed salon is."""
        return tuple(SalonCounts(**row) for row in await self._database.fetch(self._sql["counts"]))

    async def _standing(
        self, connection: Connection, egress: str, since: int | None = None, *, salons: bool = True
    ) -> Standing:
        listed = await connection.fetch(self._sql["salons"]) if salons else []
        paused = await connection.fetch(self._sql["pauses"])
        return Standing(
            now=await connection.fetchval(self._sql["now"]),
            salons=tuple(Salon(**row) for row in listed),
            streams=tuple(_stream(dict(row)) for row in await connection.fetch(self._sql["streams"], since)),
            usage=Usage(**await _one(connection, self._sql["usage"], egress)),
            workers=tuple(
                Worker(**{**row, "info": json.loads(row["info"])}) for row in await connection.fetch(self._sql["workers"])
            ),
            hour=Hour(**await _one(connection, self._sql["hour"])),
            pauses={row["company"]: row["since"] for row in paused},
            reasons={row["company"]: row["reason"] for row in paused if row["reason"] is not None},
            hints=await connection.fetchval(self._sql["hints"]),
            sharing=tuple((row["one"], row["other"]) for row in await connection.fetch(self._sql["sharing"])),
            erased={row["company"]: row["since"] for row in await connection.fetch(self._sql["erased"])},
        )


def _stream(row: Mapping[str, Any]) -> StreamRow:
    if row["odd"] == "{}":
        return StreamRow(**{**row, "odd": ()})
    odd: dict[str, dict[str, Any]] = json.loads(row["odd"])
    fields = (Odd(name, one["rows"], datetime.fromisoformat(one["last_seen"])) for name, one in odd.items())
    return StreamRow(**{**row, "odd": tuple(sorted(fields, key=lambda one: (-one.rows, one.field)))})


async def _one(connection: Connection, query: str, *args: object) -> Mapping[str, Any]:
    """The row of a statement that always gives one."""
    row = await connection.fetchrow(query, *args)
    assert row is not None
    return dict(row)
