"""Does a batch cost the same with forty thousand salons as with one, and after a year of batches as after a day?

What is counted is pages of the database, not time: each statement that runs once a batch, or every few seconds, may look at
few of them, whatever the tables hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from support.queue import STREAMS, database, me, work
from ycsync import sql
from ycsync.store.database import Connection, Database
from ycsync.store.tables import TABLES
from ycsync.store.work import Work

__all__ = ["database", "me", "work"]  # fixtures

SALONS, BATCHES, FEW = 5_000, 30_000, 300
WORK, GLANCE, REPORT, PAGES = (sql.load(f"{name}.sql", "yclients") for name in ("work", "glance", "report", "pages"))
FILL = f"""
insert into yclients.sync_status (company_id, stream, phase, due_at)
select n, s, 'live', now() + random() * interval '300 s' from generate_series(1, {SALONS}) n, unnest($1::text[]) s
"""
QUEUES = f"""
insert into yclients.sync_status (company_id, stream, phase, priority, due_at)
select n, 'hooks', 'live', 50, now() - interval '1 day' from generate_series(1, {SALONS}) n
"""
HISTORY = f"""
insert into yclients.sync_batches (company, stream, preset, worker_id, started_at, finished_at, outcome, rows)
select n, 'records', 'balanced', 1, now() - n * interval '1 s', now() - n * interval '1 s', 'proved', n % 2
from generate_series(1, {BATCHES}) n
"""
SALON = """
insert into yclients.records (company_id, id, starts_at, status, online, comment, cost, raw, observed_at)
select c, n, now(), 'came', false, '', 0, jsonb_build_object('x', repeat('x', 700)), now()
from generate_series(1, 4) c, generate_series(1, 3000) n
"""
EVERY_SALON = {
    "nothing is due": "due_at = now() + interval '1 hour'",
    "everything is due": "due_at = now() - random() * interval '1 hour'",
    "everything is due and still to be filled": "due_at = now() - random() * interval '1 hour', phase = 'new'",
    "everything is due and has begun": "due_at = now() - random() * interval '1 hour', phase = 'filling'",
    "everything is due and failed before": "due_at = now() - random() * interval '1 hour', phase = 'live', failures = 1",
}


async def looked_at(connection: Connection, statement: str, *args: object) -> int:
    """Pages of the database that a statement looks at; what it writes is taken back."""
    async with connection.transaction():
        await connection.execute("savepoint before")
        (row,) = await connection.fetch(f"explain (analyze, buffers, format json) {statement}", *args)
        await connection.execute("rollback to savepoint before")
    plan: Mapping[str, Any] = json.loads(row[0])[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


async def test_a_batch_looks_at_few_rows_of_the_queue_whatever_is_due(database: Database, work: Work, me: int) -> None:
    await database.execute(FILL, list(STREAMS))
    await database.execute(QUEUES)
    await database.execute(
        "insert into yclients.hooks (company_id, resource, resource_id, status, received) "
        "select 100 + n, 'record', n, 'update', 1 from generate_series(1, 4) n"
    )
    for what, change in EVERY_SALON.items():
        await database.execute(f"update yclients.sync_status set {change} where stream <> 'hooks'")
        await database.execute("vacuum analyze yclients.sync_status")
        for no_filling in (False, True):
            streams = [*STREAMS, "hooks"]
            claim = WORK["claim"], me, 16, streams, None, False, no_filling
            async with database.transaction() as connection:
                assert await looked_at(connection, *claim) <= FEW, what
                assert await looked_at(connection, WORK["waits"], streams, None, False) <= FEW, what
                await connection.execute("insert into yclients.pauses (company_id) values (0)")
                assert await looked_at(connection, *claim) <= FEW, f"{what}, and all is paused"
                await connection.execute("delete from yclients.pauses")
    await database.execute(HISTORY)
    await database.execute("analyze yclients.sync_batches")
    assert len(await work.claim(me, 16, STREAMS)) == 16
    async with database.transaction() as connection:
        for statements, name, args in (
            (WORK, "unclaim", ()),
            (WORK, "unwant_dead", ()),
            (WORK, "close_undone", (me, [], [])),
            (WORK, "close_batches", ()),
            (WORK, "give_back", (me,)),
            (WORK, "leave", (me, 2.0)),
            (WORK, "forget_batches", ()),
            (GLANCE, "at_work", (10,)),
            (REPORT, "stuck", ()),
        ):
            assert await looked_at(connection, statements[name], *args) <= FEW, name


async def test_a_delta_counts_what_is_there_without_reading_the_rows(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("set local synchronous_commit = on")  # vacuum knows only what is on the disk to be visible
        await connection.execute(SALON)
    await database.execute("vacuum analyze yclients.records")
    async with database.transaction() as connection:
        rows = await connection.fetchval("select pg_relation_size('yclients.records') / 8192 / 4")
        pages = await looked_at(connection, TABLES["records"].filled(PAGES["count_rows"]), 1)
    assert rows > 200, "the salon's rows take so many pages"
    assert pages < rows / 10
