"""What is left behind by a machine that is cut off, what does one do that reaches only the database, and by which address?"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from support.bouncer import bouncer
from support.house import SECRETS, House, follow, open_salon
from support.patience import SAFETY_S, own_clock
from support.queue import STREAMS, database, me, put, work
from ycsync.config import Loaded
from ycsync.errors import DatabaseUnavailable, Transient, YcsyncError
from ycsync.scheduler import Current, Scheduler, runner
from ycsync.service.engine import open_engine
from ycsync.simulator import Simulator
from ycsync.store import database as store
from ycsync.store.database import Database, connect
from ycsync.store.work import BatchTotals, Work

__all__ = ["database", "me", "work"]  # fixtures


# --- what a machine leaves behind that vanishes in the middle of a page -----------------------------------------------------


async def dead_machine(database: Database) -> int:
    return int(
        await database.fetchval(
            "insert into yclients.workers (role, host, pid, pid_start, egress, version, beat_at) "
            "values ('service', 'elsewhere', 1, '1', 'default', '0', now() - interval '1 minute') returning id"
        )
    )


async def test_a_row_that_it_holds_locked_keeps_nothing_else_from_being_taken_over(
    database: Database, work: Work, me: int
) -> None:
    other = await dead_machine(database)
    for company in (1, 2):
        await put(database, company, "records")
    assert len(await work.claim(other, 9, STREAMS)) == 2
    async with database.transaction() as session:  # its session: the server has not missed it yet
        await session.execute("update yclients.sync_status set version = version + 1 where company_id = 1")
        begun = own_clock()
        assert await work.reap() == [other]
        assert own_clock() - begun < 5
        assert [claim.company for claim in await work.claim(me, 9, STREAMS)] == [2]
    assert await work.reap() == []
    assert [claim.company for claim in await work.claim(me, 9, STREAMS)] == [1]


@pytest.mark.parametrize("pooled", [pytest.param(True, marks=pytest.mark.pgbouncer), False])
async def test_its_session_is_ended_by_the_server_and_frees_what_it_held(
    database_url: str, pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_OPTIONS", {**store._OPTIONS, "idle_in_transaction_session_timeout": "300ms"})
    monkeypatch.setattr(store, "_IDLE_SQL", store._IDLE_SQL.replace("15s", "300ms"))
    async with bouncer(database_url, "transaction") if pooled else asyncio.timeout(SAFETY_S) as between:
        other = await connect(database_url, "yclients", size=1)
        vanished = await connect(between.url if pooled else database_url, "yclients")  # type: ignore[union-attr]
        assert vanished.pooled is pooled

        async def vanish() -> None:
            async with vanished.transaction() as session:
                await session.execute("select pg_advisory_xact_lock(7)")
                while await other.fetchval("select exists (select from pg_locks where locktype = 'advisory' and objid = 7)"):
                    await asyncio.sleep(0.05)
                await session.execute("select 1")

        with pytest.raises(DatabaseUnavailable):
            await vanish()
        assert await other.fetchval("select pg_try_advisory_lock(7)")
        await other.close()
        await vanished.close()


# --- one that reaches the database and not YCLIENTS -------------------------------------------------------------------------


async def failing(house: House, worker: int) -> Scheduler:
    """A service that has no way to YCLIENTS works until it took its first batches."""

    async def unreached(*_: object, **__: object) -> None:
        raise Transient("clients: no connection to YCLIENTS", unreached=True)

    house.api.fetch = unreached  # type: ignore[method-assign, assignment]
    scheduler = Scheduler(Current(house.settings), house.work, house.pages, house.api, worker)
    task = asyncio.create_task(scheduler.run())
    async with asyncio.timeout(SAFETY_S):
        while not await house.database.fetchval("select count(*) from yclients.sync_batches where worker_id = $1", worker):
            await asyncio.sleep(0.02)
        while scheduler.in_flight:
            await asyncio.sleep(0.02)
    await asyncio.sleep(1.2)  # it would ask again by now
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return scheduler


@pytest.mark.parametrize("another", [True, False])
async def test_its_work_is_left_to_a_machine_that_reaches_it_and_fails_only_where_none_does(
    database_url: str, another: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_salon(database_url, salons=9, clients=5, visits=20) as (_, house):
        await house.companies()
        me = await house.work.register("service", "here", "0", {})
        other = await house.work.register("service", "there", "0", {})
        if another:
            (claim,) = await house.work.claim(other, 1, ["clients"])
            batch = await house.work.open_batch(claim, "test", other)
            await house.work.close_batch(batch, BatchTotals("proved", requests=1))
            await house.work.finish(claim, other, 60.0)
        scheduler = await failing(house, me)
        tried = await house.database.fetchval("select count(*) from yclients.sync_batches where worker_id = $1", me)
        failed = await house.database.fetchval("select count(*) from yclients.sync_status where failures > 0")
        if not another:
            assert failed >= 9
            return
        # Each stream is due for the other one, none is said to have failed, and this one holds nothing and takes no more.
        assert failed == 0
        assert tried <= 16
        due = "select count(*) from yclients.sync_status where due_at <= now() and claimed_by is null and stream <> 'companies'"
        assert await house.database.fetchval(due) == 9 * 4 - 1
        monkeypatch.setattr(runner, "UNREACHED_S", 0.0)
        assert not scheduler._runner.rests()
        assert await scheduler._claim() == 1  # one batch tries again
        await scheduler._drop()


# --- by which address -------------------------------------------------------------------------------------------------------


async def test_requests_leave_by_the_address_that_is_asked_for_and_the_limit_is_its_own(database_url: str) -> None:
    async with open_salon(database_url, clients=20, visits=60) as (sim, house):
        outcome = await follow(sim, database_url, extra="")
        assert set(sim.report().addresses) == {"127.0.0.1"}
        assert outcome.complete
        sim.forget()
        loaded = by(house, sim, "127.0.0.7")
        async with open_engine(loaded, house.database, role="service") as engine:
            rows = await house.database.fetch("select address from yclients.workers where id = $1", engine.scheduler.worker)
            assert [row["address"] for row in rows] == ["127.0.0.7"]
            engine.scheduler.api._sleep = asyncio.sleep
            task = asyncio.create_task(engine.scheduler.run())
            await house.work.want([4001], ["clients"], {}, afresh=True)
            async with asyncio.timeout(SAFETY_S):
                while not sim.report().requests:
                    await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert set(sim.report().addresses) == {"127.0.0.7"}


def by(house: House, sim: Simulator, address: str) -> Loaded:
    """The settings of a service that leaves by this address."""
    settings = replace(house.settings, yclients=replace(house.settings.yclients, local_address=address))
    return Loaded(Path("test.yaml"), settings, SECRETS)


async def test_an_address_that_is_not_this_machines_stops_the_start_before_anything_is_written(database_url: str) -> None:
    async with open_salon(database_url, clients=1, visits=1) as (sim, house):
        with pytest.raises(YcsyncError, match=r"203\.0\.113\.7 is not an address of this machine"):
            async with open_engine(by(house, sim, "203.0.113.7"), house.database, role="service"):
                raise AssertionError("it started")
        assert await house.database.fetchval("select count(*) from yclients.workers") == 0
        assert sim.report().requests == 0
