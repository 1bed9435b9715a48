"""Which work is due, and who takes it? The real queue in virtual time, and one in memory that takes the same in the same order.

`Real` is the queue of ycsync: store.work.Work and store.pages.Pages on PostgreSQL, their statements as they are. Its clock is
moved by hand: a schema `virtual` with functions of its own called now() and clock_timestamp() stands before pg_catalog in the
database's search path, so the unchanged statements call these. `Memory` is for what would take days otherwise;
tests/unit/test_scale.py tries that both take the same work in the same order.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import asyncpg

from benchmarks.scaling.load import MONDAY, SECOND
from benchmarks.scaling.planner import Asked, instant
from ycsync.plan.cursor import Cursor, decode, encode
from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate
from ycsync.store.pages import Advance, Pages
from ycsync.store.work import HINTED, Claim, Work

QUEUED = ("services", "staff", "clients", "records")
HINTS = "hooks"  # what webhooks told: a row of its own for each salon, always due, and claimed when there is something
LATER = 300 * SECOND  # a first pass goes before what is due so much later (work.sql)

_VIRTUAL = """
create schema if not exists virtual;
create or replace function virtual.now() returns timestamptz language sql stable
    as $$ select pg_catalog.current_setting('virtual.now')::pg_catalog.timestamptz $$;
create or replace function virtual.clock_timestamp() returns timestamptz language sql stable
    as $$ select pg_catalog.current_setting('virtual.now')::pg_catalog.timestamptz $$;
"""


@dataclass(slots=True, eq=False)
class Row:
    """One stream of one salon. Times are microseconds of the simulation."""

    company: int
    stream: str
    place: int  # in the order of the streams, where two are due at the same instant
    due: int | None = None
    live: bool = False
    begun: bool = False  # a first pass that has had a turn
    hinted: bool = False
    failures: int = 0
    priority: int = 0
    claimed: bool = False
    cursor: Cursor | None = None
    claim: Claim | None = None


class Queue(Protocol):
    """What the simulated services ask of the queue."""

    @property
    def rows(self) -> dict[tuple[int, str], Row]: ...
    async def prepare(self, companies: Sequence[int], at: int, *, hints: bool) -> None: ...
    async def settle(self, rows: Sequence[Row]) -> None: ...
    async def claim(self, worker: int, limit: int, at: int, *, no_filling: bool) -> list[Row]: ...
    async def finish(self, row: Row, worker: int, asked: Asked, at: int, due_in: int, cadence: int) -> None: ...
    async def hint(self, row: Row, at: int) -> None: ...
    async def release(self, rows: Sequence[Row], at: int) -> None: ...


def rows_of(companies: Sequence[int], *, hints: bool) -> list[Row]:
    """A row for each salon and stream, and one for the list of salons."""
    streams = (*QUEUED, HINTS) if hints else QUEUED
    rows = [Row(0, "companies", len(streams))]
    # What webhooks told is before all that is due by the clock.
    rows += [Row(company, stream, place) for company in companies for place, stream in enumerate(streams)]
    for row in rows:
        if row.stream == HINTS:
            row.live, row.priority = True, HINTED
    return rows


Entry = tuple[int, int, int, Row]


@dataclass(slots=True)
class Memory:
    """sync_status in memory, with the orders of the statement `claim`."""

    rows: dict[tuple[int, str], Row] = field(default_factory=dict)
    _hinted: list[Entry] = field(default_factory=list)
    _quick: list[Entry] = field(default_factory=list)
    _fresh: list[Entry] = field(default_factory=list)
    _begun: list[Entry] = field(default_factory=list)

    async def prepare(self, companies: Sequence[int], at: int, *, hints: bool) -> None:
        """A row for each salon and stream, due one after the other from `at` on; hints are claimed when there are some."""
        for number, row in enumerate(rows_of(companies, hints=hints)):
            self.rows[row.company, row.stream] = row
            self._due(row, at + number)

    async def settle(self, rows: Sequence[Row]) -> None:
        """These rows, as they are: salons that were filled long ago."""
        for row in rows:
            self.rows[row.company, row.stream] = row
            if row.due is not None:
                self._due(row, row.due)

    def _due(self, row: Row, at: int) -> None:
        row.due = at
        entry = at, row.company, row.place, row
        if row.stream == HINTS:
            if row.hinted:
                heapq.heappush(self._hinted, entry)
        elif row.live and row.failures == 0:
            heapq.heappush(self._quick, entry)
        else:
            heapq.heappush(self._begun if row.begun else self._fresh, entry)

    async def claim(self, worker: int, limit: int, at: int, *, no_filling: bool) -> list[Row]:
        """Up to `limit` rows that are due, as the statement `claim` takes them."""
        taken: list[Row] = []
        heaps = (
            (self._hinted,),
            (self._quick,) if no_filling else (self._quick, self._fresh, self._begun),
        )
        for equals in heaps:
            while len(taken) < limit:
                ready = [heap for heap in equals if _ready(heap, at)]
                if not ready:
                    break
                row = heapq.heappop(min(ready, key=self._first))[3]
                row.claimed, row.hinted = True, False
                taken.append(row)
        return taken

    def _first(self, heap: list[Entry]) -> tuple[int, int, int]:
        at, company, place, _ = heap[0]
        return at + (LATER if heap is self._begun else 0), company, place

    async def finish(self, row: Row, worker: int, asked: Asked, at: int, due_in: int, cadence: int) -> None:
        """The batch is over; the next one is due in so long."""
        row.claimed = False
        row.live = row.live or asked.proved
        row.begun = not row.live
        row.failures = 0 if asked.proved else row.failures
        row.cursor = asked.cursor
        self._due(row, at + due_in)

    async def hint(self, row: Row, at: int) -> None:
        """A webhook came."""
        if not row.hinted:
            row.hinted = True
            if not row.claimed and row.due is not None:
                self._due(row, row.due)

    async def release(self, rows: Sequence[Row], at: int) -> None:
        """Whoever worked on these is gone."""
        for row in rows:
            row.claimed = False
            self._due(row, at)


def _ready(heap: list[Entry], at: int) -> bool:
    """Is its first row due? What is not as it says is dropped."""
    while heap and (heap[0][3].claimed or heap[0][3].due != heap[0][0]):
        heapq.heappop(heap)
    return bool(heap) and heap[0][0] <= at


@dataclass(slots=True)
class Real:
    """The queue of ycsync itself; see the module. One connection, whose clock is moved before each statement."""

    database: Database
    work: Work
    pages: Pages
    rows: dict[tuple[int, str], Row] = field(default_factory=dict)
    worker: dict[int, int] = field(default_factory=dict)
    _at: int = -1

    @classmethod
    async def open(cls, url: str) -> Real:
        """On an empty database that is the simulation's alone."""
        admin = await asyncpg.connect(url)
        try:
            await admin.execute(_VIRTUAL)
            name = urlsplit(url).path.lstrip("/") or await admin.fetchval("select current_database()")
            await admin.execute(f'alter database "{name}" set search_path = virtual, pg_catalog, public')
            await admin.execute(f"alter database \"{name}\" set virtual.now = '{MONDAY.isoformat()}'")
        finally:
            await admin.close()
        database = await connect(url, "yclients", size=1)
        await migrate(database)
        return cls(database, Work(database), Pages(database))

    async def close(self) -> None:
        """Nothing is kept."""
        await self.database.close()

    async def _now(self, at: int) -> None:
        if at != self._at:
            self._at = at
            await self.database.execute("select set_config('virtual.now', $1, false)", instant(at).isoformat())

    async def _me(self, worker: int) -> int:
        if worker not in self.worker:
            self.worker[worker] = await self.work.register("service", f"address-{worker}", "0", {})
        return self.worker[worker]

    async def prepare(self, companies: Sequence[int], at: int, *, hints: bool) -> None:
        """As the service does it at its start; salon by salon, so that the order of equals is known."""
        for number, row in enumerate(rows_of(companies, hints=hints)):
            self.rows[row.company, row.stream] = row
            await self._now(at + number)
            await self.work.ensure([row.company], [row.stream])
        await self.database.execute("analyze yclients.sync_status")

    async def settle(self, rows: Sequence[Row]) -> None:
        """These rows, as they are: salons that were filled long ago."""
        await self.database.execute(
            "insert into yclients.sync_status (company_id, stream, phase, cursor, due_at, priority) "
            "select c, s, 'live', k::jsonb, d, p "
            "from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::int[]) t (c, s, k, d, p)",
            [row.company for row in rows],
            [row.stream for row in rows],
            [None if row.cursor is None else encode(row.cursor) for row in rows],
            [None if row.due is None else instant(row.due) for row in rows],
            [row.priority for row in rows],
        )
        self.rows.update(((row.company, row.stream), row) for row in rows)
        await self.database.execute("analyze yclients.sync_status")

    async def _set(self, row: Row, what: str) -> None:
        await self.database.execute(
            f"update yclients.sync_status set {what} where company_id = $1 and stream = $2", row.company, row.stream
        )

    async def claim(self, worker: int, limit: int, at: int, *, no_filling: bool) -> list[Row]:
        """As a service claims."""
        await self._now(at)
        streams = [*QUEUED, "companies", HINTS]
        claims = await self.work.claim(await self._me(worker), limit, streams, no_filling=no_filling)
        taken = []
        for claim in claims:
            row = self.rows[claim.company, claim.stream]
            row.claim, row.live, row.failures = claim, claim.phase == "live", claim.failures
            row.cursor = None if claim.cursor is None else decode(claim.cursor)
            taken.append(row)
        if hinted := [row.company for row in taken if row.stream == HINTS]:
            await self.database.execute("delete from yclients.hooks where company_id = any ($1::bigint[])", hinted)
        return taken

    async def finish(self, row: Row, worker: int, asked: Asked, at: int, due_in: int, cadence: int) -> None:
        """The cursor is committed, then the batch ends: as in a batch of a service."""
        claim = row.claim
        assert claim is not None
        await self._now(at)
        if row.stream != HINTS:
            advance = Advance(
                company=row.company,
                stream=row.stream,
                version=claim.version,
                cursor=encode(asked.cursor or Cursor(kind="delta")),
                phase="live" if asked.proved or claim.phase == "live" else "filling",
                expected=0,
                done=0,
                requests=sum(asked.groups),
                proved_as_of=instant(at) if asked.proved else None,
                due_in_s=cadence / SECOND if asked.proved else None,
            )
            await self.pages.commit(advance)
        row.due = at + due_in
        await self.work.finish(claim, await self._me(worker), due_in / SECOND)

    async def hint(self, row: Row, at: int) -> None:
        """A webhook came, and is kept as the service keeps it."""
        await self._now(at)
        hear = self.database.statements("hooks.sql")["hear"]
        await self.database.execute(hear, [row.company], ["record"], [at], ["update"], [1])

    async def release(self, rows: Sequence[Row], at: int) -> None:
        """Their workers have been silent for too long: another one finds that."""
        await self._now(at)
        for row in rows:
            await self._set(row, "claimed_by = null, claimed_at = null, due_at = now()")
