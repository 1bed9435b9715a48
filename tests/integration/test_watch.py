"""Does looking at what changed say the same as looking at everything, whatever else writes meanwhile?"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from conftest import Effort
from ycsync.config import Settings
from ycsync.service.judging import Judging
from ycsync.service.standing import judge
from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate
from ycsync.store.report import Report, Standing
from ycsync.store.watch import WHOLE_S, Watch

STREAMS = ("companies", "services", "staff", "clients", "records")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await connect(database_url, "yclients")
    await migrate(database)
    await database.execute(
        "insert into yclients.companies (id, title, timezone, currency, active, raw, observed_at) "
        "select 4000 + n, 'salon ' || n, 'UTC', '', true, '{}', now() from generate_series(1, 6) n"
    )
    await database.execute(
        "insert into yclients.sync_status (company_id, stream, phase, proved_as_of) "
        "select 4000 + n, s, 'live', now() from generate_series(1, 6) n, unnest($1::text[]) s",
        list(STREAMS),
    )
    yield database
    await database.close()


CHANGES = (
    "update yclients.sync_status set done = done + 1, proved_as_of = now() where company_id = {c} and stream = '{s}'",
    "update yclients.sync_status set phase = 'filling', pass_started_at = now() where company_id = {c} and stream = '{s}'",
    "update yclients.sync_status set phase = 'stopped', last_error = 'no' where company_id = {c}",
    "update yclients.sync_status set claimed_by = 1 where company_id = {c} and stream = '{s}'",
    "delete from yclients.sync_status where company_id = {c} and stream = '{s}'",
    "insert into yclients.sync_status (company_id, stream) values ({c}, '{s}') on conflict do nothing",
    "update yclients.companies set title = title || '.' where id = {c}",
    "update yclients.companies set active = not active where id = {c}",
    "insert into yclients.pauses (company_id) values ({c}) on conflict do nothing",
    "delete from yclients.pauses",
    "insert into yclients.sync_batches (company, stream, preset, started_at) values ({c}, '{s}', 'p', now())",
    # As a page's commit does: what could not be stored, and the stream's own row.
    "with bad as (insert into yclients.quarantine (company_id, stream, entity_id, reason, payload, first_seen, last_seen) "
    "values ({c}, '{s}', '{n}', 'why', '{{}}', now(), now())) "
    "update yclients.sync_status set version = version + 1 where company_id = {c} and stream = '{s}'",
)


def told(standing: Standing) -> tuple[object, ...]:
    """What must be the same. How long batches have worked goes on between two looks."""
    rows = sorted(standing.streams, key=lambda row: (row.company, row.stream))
    return [replace(row, busy_s=0.0, spread=None) for row in rows], standing.salons, standing.pauses.keys()


async def test_what_changed_is_all_that_changed_also_when_it_commits_late(
    database: Database, database_url: str, effort: Effort
) -> None:
    rng = random.Random(effort.seed)
    watch, judging, settings = Watch(Report(database)), Judging(), Settings()
    async with AsyncExitStack() as stack:
        writers = [await asyncpg.connect(database_url) for _ in range(4)]
        for writer in writers:
            stack.push_async_callback(writer.close)
        open_ones: dict[int, Any] = {}
        n = looks = 0
        for _ in range(effort.of(250, 4000)):
            n += 1
            who = rng.randrange(len(writers))
            if who in open_ones and rng.random() < 0.5:
                transaction = open_ones.pop(who)
                await (transaction.commit() if rng.random() < 0.8 else transaction.rollback())
            else:
                if who not in open_ones and rng.random() < 0.5:
                    open_ones[who] = writers[who].transaction()
                    await open_ones[who].start()
                text = rng.choice(CHANGES).format(c=4000 + rng.randrange(1, 7), s=rng.choice(STREAMS), n=n)
                try:
                    async with writers[who].transaction():  # a savepoint, if it is in one: its numbers are others
                        await writers[who].execute("set local lock_timeout = '20ms'")
                        await writers[who].execute(text)
                except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                    continue
            if rng.random() < 0.4:
                looks += 1
                seen, whole = await watch.standing("default"), await Report(database).standing("default")
                assert told(seen) == told(whole), f"look {looks}"
                again = judge(seen, settings)
                assert [(one.row, one.state, one.paused, one.title) for one in judging.judge(seen, settings)] == [
                    (one.row, one.state, one.paused, one.title) for one in again
                ]
        assert looks > 20


async def test_what_did_not_change_is_not_read_again(database: Database) -> None:
    watch, judging, settings = Watch(Report(database)), Judging(), Settings()
    first = await watch.standing("default")
    judged = judging.judge(first, settings)
    second = await watch.standing("default")
    assert second.streams is first.streams
    assert second.salons is first.salons
    assert judging.judge(second, settings) is judged
    await database.execute("update yclients.sync_status set done = 7 where company_id = 4003 and stream = 'clients'")
    third = await watch.standing("default")
    other = [new for new, old in zip(third.streams, first.streams, strict=True) if new is not old]
    assert [(row.company, row.stream, row.done) for row in other] == [(4003, "clients", 7)]
    assert sum(new is not old for new, old in zip(judging.judge(third, settings), judged, strict=True)) == 1


async def test_a_minute_later_everything_is_read(database: Database) -> None:
    now = 0.0
    watch = Watch(Report(database), lambda: now)
    await database.execute(
        "insert into yclients.quarantine (company_id, stream, reason, payload, first_seen, last_seen) "
        "values (4001, 'clients', 'why', '{}', now(), now())"
    )
    assert sum(row.quarantined for row in (await watch.standing("default")).streams) == 1
    await database.execute("delete from yclients.quarantine")  # by hand: no stream says so
    now = WHOLE_S - 1
    assert sum(row.quarantined for row in (await watch.standing("default")).streams) == 1
    now = WHOLE_S
    assert sum(row.quarantined for row in (await watch.standing("default")).streams) == 0


async def test_what_is_fresh_becomes_stale_by_time_alone(database: Database) -> None:
    watch, judging, settings = Watch(Report(database)), Judging(), Settings()
    standing = await watch.standing("default")
    assert {one.state for one in judging.judge(standing, settings) if one.row.stream == "clients"} == {"fresh"}
    later = Standing(
        datetime.now(UTC) + timedelta(minutes=18), standing.salons, standing.streams, standing.usage, standing.workers, {}
    )
    assert judging.judge(later, settings) != judge(standing, settings)
    states = {one.row.stream: one.state for one in judging.judge(later, settings) if one.row.company}
    assert states == {"companies": "fresh", "services": "fresh", "staff": "fresh", "clients": "stale", "records": "stale"}
