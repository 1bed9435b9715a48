"""How many bytes is a row, with its indexes and what lies beside the table? Measured on tables that ycsync itself filled."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from zoneinfo import ZoneInfo

from ycsync.model import CompanyId, parse_clients, parse_records, parse_service_categories, parse_services, parse_staff
from ycsync.simulator import Options, Salon, Simulator
from ycsync.simulator.salon import encode
from ycsync.store.database import Database, connect
from ycsync.store.embedded import EmbeddedPostgres
from ycsync.store.migrate import migrate
from ycsync.store.pages import Advance, PageRows, Pages

SALONS, UPDATES, CHUNKS = 1, 4, 10
LISTS = 99  # salons of which only the lists are stored, besides
CURSOR = '{"kind":"delta","since":"2026-03-02T10:00:00.123456Z","rechecked_on":"2026-03-02","longest":300,"inclusive":true}'
TABLES = ("clients", "records", "record_services", "services", "service_categories", "staff", "sync_status", "sync_batches")
_SIZE = """
select count(*) as rows, pg_table_size('yclients.{table}')::float8 as table_bytes,
       pg_indexes_size('yclients.{table}')::float8 as indexes
from yclients.{table}
"""
_BATCHES = """
insert into yclients.sync_batches (company, stream, preset, worker_id, started_at)
select 4001 + n % 3, case when n % 2 = 0 then 'clients' else 'records' end, 'balanced', 1, now() + n * interval '1 ms'
from generate_series(1, $1::int) n
"""
_ENDED = """
update yclients.sync_batches set finished_at = started_at + interval '0.4 s', outcome = 'proved', requests = 1,
    rows = case when id % 10 = 0 then 2 else 0 end
where finished_at is null
"""
_QUEUE = """
insert into yclients.sync_status (company_id, stream, phase, expected, done, cursor, last_success_at, proved_as_of, due_at)
select 100000 + n, s, 'live', 12000, 12000, $1::text::jsonb, now(), now(), now() + random() * interval '5 minutes'
from generate_series(1, 1000) n, unnest(array['services', 'staff', 'clients', 'records']) s
"""
_CYCLE = (
    "update yclients.sync_status set claimed_by = 1, claimed_at = now() where company_id % 10 = $1",
    "update yclients.sync_status set version = version + 1, cursor = $2::text::jsonb, last_success_at = now(), "
    "due_at = now() + random() * interval '5 minutes' where company_id % 10 = $1",
    "update yclients.sync_status set claimed_by = null, claimed_at = null, batches = batches + 1 where company_id % 10 = $1",
)


@dataclass(frozen=True, slots=True)
class RowSize:
    """Bytes of one row in the mean: in the table (with TOAST and free space), and in its indexes."""

    table: str
    rows: int
    table_bytes: float
    indexes: float
    after_updates: float  # table and indexes, when each of a third of the rows was written UPDATES times more

    @property
    def all(self) -> float:
        """Both, as they are at first."""
        return self.table_bytes + self.indexes


def row_sizes(clients: int, visits: int, batches: int) -> tuple[RowSize, ...]:
    """Fill a throw-away PostgreSQL with simulated salons of that size."""
    folder = Path(mkdtemp(prefix="ycsync-scale-"))
    server = EmbeddedPostgres(folder, durable=False)
    try:
        return asyncio.run(_measure(server.start(), clients, visits, batches))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(url: str, clients: int, visits: int, batches: int) -> tuple[RowSize, ...]:
    database = await connect(url, "yclients", size=2)
    try:
        await migrate(database)
        async with Simulator(Options(salons=SALONS, clients=clients, visits=visits)) as sim:
            for salon in sim.world.salons.values():
                await _fill(database, salon)
            # Half-empty pages of a table with a few rows would be called rows' bytes.
            async with Simulator(Options(salons=LISTS, clients=0, visits=0, first_company=90_000)) as more:
                for salon in more.world.salons.values():
                    await _fill(database, salon)
            await _churn(database, batches)
            first = await _sizes(database)
            for time in range(UPDATES):
                for salon in sim.world.salons.values():
                    await _change(database, salon, time)
                await database.execute("vacuum")
            later = await _sizes(database)
    finally:
        await database.close()
    return tuple(
        RowSize(name, int(rows), table / rows, indexes / rows, (later[name][1] + later[name][2]) / rows)
        for name, (rows, table, indexes) in first.items()
    )


async def _churn(database: Database, batches: int) -> None:
    """The queue and the history of batches after some cycles; PostgreSQL cleans up when a fifth is dead, as by default."""
    await database.execute(_QUEUE, CURSOR)
    for _ in range(CHUNKS):
        await database.execute(_BATCHES, batches // CHUNKS)
        await database.execute(_ENDED)
        await database.execute("vacuum yclients.sync_batches")
        for tenth in range(10):
            for statement in _CYCLE:
                await database.execute(statement, tenth, *([CURSOR] if "$2" in statement else []))
            if tenth % 2:
                await database.execute("vacuum yclients.sync_status")


async def _sizes(database: Database) -> dict[str, tuple[float, float, float]]:
    await database.execute("vacuum analyze")
    found = {}
    for table in TABLES:
        row = await database.fetchrow(_SIZE.replace("{table}", table))
        assert row is not None
        found[table] = (float(row["rows"]), row["table_bytes"], row["indexes"])
    return found


async def _fill(database: Database, salon: Salon) -> None:
    company, zone = CompanyId(salon.id), ZoneInfo(salon.company["timezone_name"])
    await _store(database, salon.id, "clients", _cards(salon), partial(parse_clients, company, zone=zone))
    await _store(database, salon.id, "records", _records(salon), partial(parse_records, company, zone=zone))
    for table, listed, parse in (
        ("service_categories", salon.service_categories, parse_service_categories),
        ("services", salon.services, parse_services),
        ("staff", salon.staff, parse_staff),
    ):
        rows = [encode(payload) for payload in listed.values()]
        await _store(database, salon.id, table, rows, partial(parse, company))


def _cards(salon: Salon) -> list[bytes]:
    return [encode(salon.served_client(one)) for one in salon.clients]


def _records(salon: Salon, ids: Sequence[int] | None = None) -> list[bytes]:
    return [encode(salon.served_record(one, consumables=False)) for one in (list(salon.records) if ids is None else ids)]


async def _change(database: Database, salon: Salon, time: int) -> None:
    """A third of the visits and of the clients changes, as it does in a year, and is stored again."""
    visits, people = list(salon.records)[time % 3 :: 3], list(salon.clients)[time % 3 :: 3]
    for one in visits:
        salon.change_record(one, comment=f"changed {time}")
    for one in people:
        salon.change_client(one, comment=f"changed {time}")
    company, zone = CompanyId(salon.id), ZoneInfo(salon.company["timezone_name"])
    await _store(database, salon.id, "records", _records(salon, visits), partial(parse_records, company, zone=zone))
    cards = [encode(salon.served_client(one)) for one in people]
    await _store(database, salon.id, "clients", cards, partial(parse_clients, company, zone=zone))


async def _store(
    database: Database, company: int, stream: str, rows: Sequence[bytes], parse: Callable[[Sequence[bytes]], Any]
) -> None:
    pages = Pages(database)
    await database.execute(
        "insert into yclients.sync_status (company_id, stream) values ($1, $2) on conflict do nothing", company, stream
    )
    for first in range(0, len(rows), 300):
        version = await database.fetchval(
            "select version from yclients.sync_status where company_id = $1 and stream = $2", company, stream
        )
        parsed = parse(rows[first : first + 300])
        observed = datetime.now(UTC) + timedelta(seconds=1)
        await pages.commit(
            Advance(company, stream, version, CURSOR, "live", 1, 1, 1),
            [PageRows(stream, parsed.rows, parsed.rejects, observed)],
        )
