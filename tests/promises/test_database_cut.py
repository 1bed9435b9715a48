"""Is nothing lost or doubled, and is no cursor ahead of its rows, wherever the conversation with PostgreSQL is cut?

A proxy that knows PostgreSQL's messages cuts before, in the middle of and after each of them, in both directions.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import Effort
from faultproxy import Cut, FaultProxy
from support.bouncer import through, upstream_of
from support.house import QUICK, SECRETS, STREAMS, House, assert_equal, open_house, settings_for
from support.patience import SAFETY_S
from ycsync import logs, sql
from ycsync.config import Loaded
from ycsync.errors import DatabaseUnavailable, Fenced
from ycsync.scheduler import loop as scheduling
from ycsync.scheduler import runner
from ycsync.service.engine import open_engine
from ycsync.simulator import Options, Simulator
from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate
from ycsync.store.pages import Advance, Effect, PageRows

SMALL = Options(clients=25, visits=120, per_second=0, per_minute=0, latency=0, records_cap=40)
TABLES = "clients, records, record_services, services, service_categories, staff, sync_status, sync_batches, sweep_missing"


@asynccontextmanager
async def cut_house(database_url: str, options: Options = SMALL) -> AsyncIterator[tuple[Simulator, FaultProxy, House, House]]:
    """The same salon and database twice: by way of the proxy, and past it."""
    async with (
        Simulator(options) as sim,
        FaultProxy(upstream_of(database_url)) as proxy,
        open_house(sim.url, through(database_url, proxy.port)) as house,
        open_house(sim.url, database_url) as beside,
    ):
        yield sim, proxy, house, beside


async def test_a_pages_commit_cut_at_every_message_is_whole_or_not_at_all(database_url: str, effort: Effort) -> None:
    """A real page of visits is committed again and again, with other words each time; the cut falls on each message in turn."""
    async with cut_house(database_url) as (_, proxy, house, beside):
        (company,) = await house.companies()
        advance, page = await a_page_of_visits(house, company)
        kinds: Counter[str] = Counter()
        unsaid = 0
        for odd in (True, False) if effort.soak else (True,):  # every second message is halved; in a soak then the others
            for position in range(1, 1000):
                half = bool(position % 2) is odd
                words = f"words {position} {half}"
                stood = await stand(beside, company)
                proxy.cut = cut = Cut(position, half=half)
                one = replace(advance, version=stood["version"], cursor=json.dumps({"words": words}), done=position)
                rows = replace(page, rows=[replace(row, comment=words) for row in page.rows], observed_at=datetime.now(UTC))
                try:
                    await house.pages.commit(one, [rows])
                    failed = False
                except DatabaseUnavailable:
                    failed = True
                if not cut.done.is_set():
                    break
                kinds[cut.last] += 1
                await settled(beside.database)
                stands = await stand(beside, company)
                where = (position, half, cut.last, failed)
                if stands == stood:
                    assert failed, where
                    assert words not in await comments(beside, company), where
                    await house.pages.commit(one, [rows])  # as the next batch would
                else:
                    assert stands == {"version": stood["version"] + 1, "cursor": one.cursor, "done": position}, where
                    if failed:
                        # It was stored, and nobody was told: who tries again is fenced, and does nothing twice.
                        unsaid += 1
                        with pytest.raises(Fenced):
                            await house.pages.commit(one, [rows])
                        assert await stand(beside, company) == stands, where
                assert await comments(beside, company) == Counter({words: len(page.rows)}), where
            assert position > 40, kinds
        assert unsaid >= 1, kinds
        assert {"sent B", "sent S", "sent Q", "answered C", "answered Z"} <= kinds.keys()


async def a_page_of_visits(house: House, company: int) -> tuple[Advance, PageRows]:
    """The largest page that a pass commits."""
    taken: list[tuple[Advance, PageRows]] = []
    commit = house.pages.commit

    async def listen(advance: Advance, pages: Sequence[PageRows] = (), **options: Any) -> Effect:
        taken.extend((advance, page) for page in pages)
        return await commit(advance, pages, **options)

    house.pages.commit = listen  # type: ignore[method-assign]
    await house.proved(company, "records")
    house.pages.commit = commit  # type: ignore[method-assign]
    advance, page = max(taken, key=lambda one: len(one[1].rows))
    assert len(page.rows) > 20
    await house.database.execute("delete from yclients.records")
    await house.database.execute("delete from yclients.record_services")
    return advance, page


async def settled(database: Database) -> None:
    """What was cut off has come to its end on the server: a commit that it had received is made, the rest rolled back."""
    await until(
        "select not exists (select from pg_stat_activity where datname = current_database() "
        "and state <> 'idle' and pid <> pg_backend_pid())",
        database,
        "a session that was cut goes on",
    )


async def stand(house: House, company: int) -> dict[str, Any]:
    row = await house.database.fetchrow(
        "select version, cursor::text as cursor, done from yclients.sync_status where company_id = $1 and stream = 'records'",
        company,
    )
    assert row is not None
    return dict(row)


async def comments(house: House, company: int) -> Counter[str]:
    return Counter(row["comment"] for row in (await house.stored("records", company)).values())


async def empty(database: Database) -> None:
    await database.execute(f"truncate {', '.join(f'yclients.{one.strip()}' for one in TABLES.split(','))}")


def positions(effort: Effort, total: int, quick: int, soak: int) -> list[int]:
    """A spread of a conversation's messages, begun by the seed; all of them when there are no more."""
    return sorted(random.Random(effort.seed).sample(range(1, total + 1), min(effort.of(quick, soak), total)))


async def pass_with_cuts(house: House, proxy: FaultProxy, cut: Cut | None) -> int:
    """A whole first pass; a batch that fails for the database is made again. Returns the messages that it took."""
    proxy.cut = cut
    failures = 0
    company = 0
    while not company:
        try:
            (company,) = await house.companies()
        except DatabaseUnavailable:
            failures += 1
    for stream in STREAMS:
        while True:
            try:
                await house.proved(company, stream, units=2)
                break
            except DatabaseUnavailable:
                failures += 1
                assert failures < 3, "one cut is one failure"
    return 0 if cut is None else cut.seen


async def test_a_first_pass_cut_anywhere_is_exact_in_the_end(database_url: str, effort: Effort) -> None:
    async with cut_house(database_url) as (sim, proxy, house, beside):
        for _ in range(2):  # the second time statements are prepared already: the fewest messages that a pass takes
            await empty(beside.database)
            total = await pass_with_cuts(house, proxy, Cut(1 << 30))
        for position in positions(effort, total, 15, 1000):
            await empty(beside.database)
            await pass_with_cuts(house, proxy, Cut(position, half=bool(position % 2)))
            assert proxy.cut is not None
            where = (position, total, proxy.cut.last, effort.seed)
            assert proxy.cut.done.is_set() or position > total - 20, where
            try:
                await assert_equal(sim, beside)
            except AssertionError as error:
                raise AssertionError(where) from error


@pytest.mark.empty
async def test_a_migration_cut_at_every_message_can_be_made_again(database_url: str, effort: Effort) -> None:
    async with FaultProxy(upstream_of(database_url)) as proxy:
        beside = await connect(database_url, "yclients", size=1)
        url = through(database_url, proxy.port)
        database = await connect(url, "yclients", size=1)
        proxy.cut = Cut(1 << 30)
        await migrate(database)
        total = proxy.cut.seen
        await database.close()
        chosen = positions(effort, total, 10, 1000)
        for position in chosen:
            await beside.execute("drop schema yclients cascade")
            database = await connect(url, "yclients", size=1)
            proxy.cut = Cut(position, half=position % 3 == 0)
            try:
                await migrate(database)
            except DatabaseUnavailable:
                there = await beside.fetchval("select to_regclass('yclients.sync_status') is not null")
                versions = await beside.fetchval("select to_regclass('yclients.schema_migrations') is not null")
                assert there == versions, (position, proxy.cut.last)
            await migrate(database)
            assert await beside.fetchval("select count(*) from yclients.schema_migrations") == len(sql.migrations())
            await database.close()
        await beside.close()


async def test_a_start_cut_at_every_message_says_so_and_leaves_nothing_behind(database_url: str, effort: Effort) -> None:
    async with FaultProxy(upstream_of(database_url)) as proxy:
        url = through(database_url, proxy.port)
        position = 0
        while True:
            position += 1
            proxy.cut = Cut(position, half=bool(position % 2))
            try:
                database = await connect(url, "yclients", size=2)
            except DatabaseUnavailable:
                continue
            if not proxy.cut.done.is_set():
                await database.close()
                break
            await database.close()
        assert position > 10


# --- the queue: claims, beats and the ends of batches -------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A scheduler that waits for nothing, and the names of the events that it logs."""
    for name, seconds in (("POLL_S", 0.02), ("BEAT_S", 0.05), ("REAP_S", 0.1)):
        monkeypatch.setattr(scheduling, name, seconds)
    events: list[str] = []

    def listen(_log: object, event: logs.Event, **_fields: object) -> None:
        events.append(event.name)

    monkeypatch.setattr(scheduling, "emit", listen)
    monkeypatch.setattr(runner, "emit", listen)
    return events


async def until(true: str, database: Database, what: object) -> None:
    try:
        async with asyncio.timeout(SAFETY_S):
            while not await database.fetchval(true):
                await asyncio.sleep(0.02)
    except TimeoutError:
        rows = await database.fetch("select stream, phase, due_at - now(), claimed_by from yclients.sync_status order by 1")
        raise AssertionError((what, [tuple(row) for row in rows])) from None


FILLED = (
    "select count(*) = 4 from yclients.sync_status "
    "where company_id <> 0 and stream not in ('companies', 'hooks') and phase = 'live'"
)
ALL_ENDED = (
    "select not exists (select from yclients.sync_batches where finished_at is null) "
    "and not exists (select from yclients.sync_status where claimed_by is not null)"
)


async def engine_pass(sim: Simulator, url: str, beside: Database, proxy: FaultProxy, cut: Cut) -> int:
    """What the service does, from an empty database until everything is there and every batch has its end."""
    settings = settings_for(sim.url, "streams: {clients: 24h, records: 24h}", QUICK)
    database = await connect(url, "yclients", size=4)
    try:
        async with open_engine(Loaded(Path("test.yaml"), settings, SECRETS), database, role="service") as engine:
            await engine.scheduler.prepare()
            proxy.cut = cut
            running = asyncio.create_task(engine.scheduler.run())
            try:
                await until(FILLED, beside, (cut.after, cut.last))
                await until(ALL_ENDED, beside, (cut.after, cut.last))
                assert not running.done(), running
                engine.check()
            finally:
                proxy.cut = None
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    finally:
        await database.close()
    return cut.seen


async def test_the_queue_goes_on_wherever_it_is_cut(database_url: str, effort: Effort, said: list[str]) -> None:
    async with cut_house(database_url) as (sim, proxy, _, beside):
        url = through(database_url, proxy.port)
        total = await engine_pass(sim, url, beside.database, proxy, Cut(1 << 30))
        for position in positions(effort, total, 10, 500):
            await empty(beside.database)
            said.clear()
            await engine_pass(sim, url, beside.database, proxy, Cut(position, half=bool(position % 2)))
            try:
                assert logs.UNEXPECTED.name not in said
                # Several batches may feel one cut, the last of them when the next claim has succeeded already.
                assert said.count(logs.DATABASE_BACK.name) <= said.count(logs.DATABASE_LOST.name) <= 3
                await assert_equal(sim, beside)
                outcomes = {row["outcome"] for row in await beside.database.fetch("select outcome from yclients.sync_batches")}
                assert outcomes <= {"proved", "more", "lost", "fenced"}, outcomes
                assert await beside.database.fetchval("select count(*) from yclients.workers") == 0
            except AssertionError as error:
                raise AssertionError((position, total, effort.seed)) from error
