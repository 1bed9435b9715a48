"""The rows of an older release after migration 0010: phones, birthdays, and pages that were under way."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import asyncpg
import pytest

from filled import make_schema
from support.patience import SAFETY_S
from ycsync import sql
from ycsync.errors import Fenced
from ycsync.model import CompanyId, normalise_phone, parse_clients
from ycsync.store.database import connect
from ycsync.store.migrate import migrate
from ycsync.store.pages import Advance, Pages

pytestmark = pytest.mark.empty

BEFORE = 10
# phone_raw, phone as the older release stored it, phone now
PHONES = (
    ("+84912345678", "74912345678", "84912345678"),
    ("+81312345678", "71312345678", "81312345678"),
    ("+9607712345", "79607712345", "9607712345"),
    ("0049 176 0000000", "00491760000000", "491760000000"),
    ("+1 987-654-3210 ext. 5", None, "19876543210"),
    ("8 (999) 000-00-11", "79990000011", "79990000011"),
    ("+79990000011", "79990000011", "79990000011"),
    ("89990000011", "79990000011", "79990000011"),
    ("", None, None),
    ("12345", None, None),
    ("+7999*****11", None, None),
    ("+7999*****11", "79990000011", "79990000011"),  # a masked one never replaces a real one
)
BIRTHDAYS = (
    (date(1990, 5, 1), date(1990, 5, 1), 5, 1),
    (date(1900, 2, 28), None, 2, 28),
    (date(1970, 1, 1), date(1970, 1, 1), 1, 1),
    (None, None, None, None),
)


async def older(url: str) -> asyncpg.Connection:
    """The schema as the release before left it, with a stream and rows."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "create schema yclients; create table yclients.schema_migrations "
        "(version integer primary key, file text not null, applied_at timestamptz not null default now(), works_with integer)"
    )
    for version, file in sql.migrations():
        if version < BEFORE:
            text = sql.read(file).replace("@schema_literal", "yclients").replace("@schema", "yclients")
            await connection.execute(text)
            await connection.execute("insert into yclients.schema_migrations (version, file) values ($1, $2)", version, file)
    await connection.executemany(
        "insert into yclients.clients (company_id, id, name, surname, patronymic, phone, phone_raw, email, card, comment, "
        "categories, birth_date, raw, observed_at) values (4001, $1, 'A', '', '', $2, $3, '', '', '', '[]', $4, $5, "
        "now() - interval '1 day')",
        [
            (n, was, raw, BIRTHDAYS[n % 4][0], json.dumps({"id": n, "name": "A", "phone": raw}))
            for n, (raw, was, _) in enumerate(PHONES, 1)
        ],
    )
    await connection.execute(
        "insert into yclients.sync_status (company_id, stream, version) values (4001, 'clients', 7), (4001, 'hooks', 3), "
        "(4001, 'records', 5)"
    )
    return connection


async def test_phones_and_birthdays_are_read_again_by_the_new_rules(database_url: str) -> None:
    connection = await older(database_url)
    await asyncio.to_thread(make_schema, database_url)
    rows = await connection.fetch("select *, observed_at > now() - interval '1 hour' as told from yclients.clients order by id")
    for n, (row, (raw, was, now)) in enumerate(zip(rows, PHONES, strict=True), 1):
        before, *birthday = BIRTHDAYS[n % 4]
        assert (row["phone"], row["phone_raw"]) == (now, raw)
        assert now == was or normalise_phone(raw) == (now, False)
        assert [row["birth_date"], row["birth_month"], row["birth_day"]] == birthday
        # Whoever copies what changed sees these rows, and no others.
        assert row["told"] == (was != now or before != birthday[0]), raw
    await connection.close()


async def test_a_page_that_was_under_way_meanwhile_is_dropped(database_url: str) -> None:
    connection = await older(database_url)
    await asyncio.to_thread(make_schema, database_url)
    versions = await connection.fetch("select stream, version from yclients.sync_status order by stream")
    assert [tuple(row) for row in versions] == [("clients", 8), ("hooks", 4), ("records", 5)]
    await connection.close()
    database = await connect(database_url, "yclients", size=1)
    try:
        planned = Advance(4001, "clients", 7, "{}", "live", 1, 1, 1)
        with pytest.raises(Fenced):
            await Pages(database).commit(planned)
    finally:
        await database.close()


async def test_lists_whose_rows_were_kept_out_are_read_anew(database_url: str) -> None:
    connection = await older(database_url)
    await connection.execute(
        'update yclients.sync_status set cursor = \'{"since": "2026-01-01T00:00:00Z"}\'; '
        "insert into yclients.sync_status (company_id, stream, cursor) select 4002, stream, cursor from yclients.sync_status; "
        "insert into yclients.quarantine (company_id, stream, entity_id, reason, payload, first_seen, last_seen) "
        "values (4001, 'clients', '5', 'birth_date: not a date', '{}', now(), now())"
    )
    await asyncio.to_thread(make_schema, database_url)
    anew = await connection.fetch("select company_id, stream from yclients.sync_status where not cursor ? 'since'")
    assert [tuple(row) for row in anew] == [(4001, "clients")]
    await connection.close()


async def test_a_bot_that_asks_meanwhile_gets_its_answer_and_ends_no_migration(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await older(database_url)).close()
    original, bot = sql.read, await asyncpg.connect(database_url)
    held = "select exists (select from pg_locks where relation = 'yclients.clients'::regclass and mode = 'AccessExclusiveLock')"
    waits = "while not exists (select from pg_locks where not granted) loop perform pg_sleep(0.02); end loop;"
    # The clients' migration ends when the bot waits.
    monkeypatch.setattr(
        sql, "read", lambda file: original(file) + (f"\ndo $$ begin {waits} end $$" if file == "0010_phones.sql" else "")
    )

    async def ask() -> None:
        async with asyncio.timeout(SAFETY_S):
            while not await bot.fetchval(held):
                await asyncio.sleep(0.02)
        await bot.fetch("select * from yclients.client_profiles where company_id = 4001")

    asking = asyncio.create_task(ask())
    database = await connect(database_url, "yclients", size=1)
    try:
        assert (await migrate(database))[-1] == sql.migrations()[-1][0]
        await asking
    finally:
        await database.close()
        await bot.close()


async def test_a_row_that_comes_again_is_not_written_again(database_url: str) -> None:
    """What the migration made of a row is what the model makes of its payload."""
    connection = await older(database_url)
    await connection.execute("update yclients.clients set birth_date = '1990-05-01' where phone_raw <> '+7999*****11'")
    await asyncio.to_thread(make_schema, database_url)
    payloads: list[dict[str, Any]] = [
        {"id": n, "phone": raw, "birth_date": "1990-05-01"} for n, (raw, *_) in enumerate(PHONES, 1) if "*" not in raw
    ]
    for row in parse_clients(CompanyId(4001), [json.dumps(one).encode() for one in payloads]).rows:
        stored = await connection.fetchrow("select * from yclients.clients where id = $1", row.id)
        assert stored is not None
        for column in ("phone", "birth_date", "birth_month", "birth_day"):
            assert stored[column] == getattr(row, column), (row.phone_raw, column)
    await connection.close()
