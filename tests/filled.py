"""How does a database look after a pass? Two salons filled by hand, for tests of what reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from ycsync.cli.app import app
from ycsync.store.database import connect
from ycsync.store.migrate import migrate

SALONS = (4001, 4002)
STREAMS = ("companies", "services", "staff", "clients", "records")
CLIENTS = 3  # a salon; each has two visits, a third visit has no client
PHONE = "79990000001"

_FILL = f"""
insert into yclients.companies (id, title, timezone, currency, active, raw, observed_at)
select c, 'Salon ' || c, 'Europe/Moscow', '₽', true, '{{}}', now() from unnest($1::bigint[]) c;

insert into yclients.clients (company_id, id, name, surname, patronymic, phone, phone_raw, email, card, comment, categories,
                              visit_count, raw, observed_at)
select c, 70000 + n, 'Client ' || n, '', '', '7999000000' || n, '+7999000000' || n, '', '', '', '[]', 2,
       jsonb_build_object('id', 70000 + n, 'phone', '+7999000000' || n), now()
from unnest($1::bigint[]) c, generate_series(1, {CLIENTS}) n;

insert into yclients.records (company_id, id, visit_id, client_id, starts_at, attendance, status, online, comment, cost, raw,
                              observed_at)
select c, 1900 + n * 10 + v, n * 10 + v, case when v < 3 then 70000 + n end, now() - interval '1 day', 1, 'came', false,
       'as last time', 1800,
       jsonb_build_object('id', 1900 + n * 10 + v, 'services', '[]'::jsonb, 'comment', 'as last time', 'client',
                          jsonb_build_object('id', 70000 + n, 'phone', '+7999000000' || n)), now()
from unnest($1::bigint[]) c, generate_series(1, {CLIENTS}) n, generate_series(1, 3) v;

insert into yclients.record_services (company_id, record_id, position, title, cost)
select company_id, id, 0, 'Manicure', 1800 from yclients.records;

insert into yclients.sync_status (company_id, stream, phase, expected, done, last_success_at, proved_as_of, requests, due_at)
select c, s, 'live', n, n, now() - interval '20 seconds', now() - interval '30 seconds', 4, now()
from unnest($1::bigint[]) c, unnest($2::text[]) s,
     lateral (select case s when 'clients' then {CLIENTS} when 'records' then {CLIENTS * 3} else 1 end as n) x
union all
select 0, 'companies', 'live', 2, 2, now() - interval '20 seconds', now() - interval '30 seconds', 1, now();

insert into yclients.sync_batches (company, stream, preset, started_at, finished_at, outcome, requests, rows)
select c, s, 'balanced', now() - interval '40 seconds', now() - interval '20 seconds', 'proved', 20, 9
from unnest($1::bigint[]) c, unnest($2::text[]) s;

insert into yclients.limiter_egress (egress) values ('default');

insert into yclients.limiter_slots (egress, kind, slot, used_at)
select 'default', 60, n, now() - interval '10 seconds' from generate_series(0, 6) n;
"""


@pytest.fixture
def config(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose database is this test's."""
    monkeypatch.setenv("YCSYNC_DATABASE_URL", database_url)
    return write_config(tmp_path)


def call(config: Path, *args: str, answer: str | None = None) -> Result:
    """Run a command in this process; `answer`: what somebody types."""
    return CliRunner().invoke(app, [*args, "--config", str(config)], input=answer)


def execute(url: str, *statements: str) -> None:
    """Run statements."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def values(url: str, query: str) -> list[tuple[object, ...]]:
    """The rows of a query."""

    async def run() -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(run())


def make_schema(url: str) -> None:
    """The empty schema."""

    async def run() -> None:
        database = await connect(url, "yclients", size=1)
        try:
            await migrate(database)
        finally:
            await database.close()

    asyncio.run(run())


def fill(url: str, salons: Sequence[int] = SALONS) -> None:
    """Both salons, complete and fresh."""
    make_schema(url)
    ids = f"array[{', '.join(map(str, salons))}]"
    streams = "array['" + "', '".join(STREAMS) + "']"
    execute(url, _FILL.replace("$1", ids).replace("$2", streams))


def write_config(folder: Path, *lines: str) -> Path:
    """A configuration; `lines` replace nothing, they are the file."""
    path = folder / "config.yaml"
    path.write_text("\n".join(("preset: balanced", "http: {listen: false}", *lines, "")), "utf-8")
    return path
