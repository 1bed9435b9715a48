"""Who gets the scheduler's places when some salons are paused, and some are asked for by a command?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.house import House, open_salon
from support.patience import SAFETY_S
from ycsync.scheduler import Current, Scheduler, Scope
from ycsync.scheduler import loop as scheduling
from ycsync.simulator import Simulator


@pytest.fixture
async def salons(database_url: str) -> AsyncIterator[tuple[Simulator, House]]:
    """Nine salons, one more than may be filled at once, of which nothing is known yet but their list."""
    async with open_salon(database_url, salons=9, clients=5, visits=20) as (sim, house):
        await house.companies()
        await house.database.execute("update yclients.sync_status set due_at = null where stream <> 'clients'")
        yield sim, house


async def eventually(house: House, query: str, wanted: int) -> None:
    async with asyncio.timeout(SAFETY_S):
        while await house.database.fetchval(query) != wanted:
            await asyncio.sleep(0.02)


def scheduler_of(house: House, worker: int, **options: object) -> Scheduler:
    return Scheduler(Current(house.settings), house.work, house.pages, house.api, worker, **options)  # type: ignore[arg-type]


async def test_paused_salons_give_their_places_to_others(
    salons: tuple[Simulator, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    sim, house = salons
    monkeypatch.setattr(scheduling, "BEAT_S", 0.1)
    monkeypatch.setattr(scheduling, "REAP_S", 0.05)
    sim.gate.clear()  # whoever is asked does not answer
    worker = await house.work.register("service", "test", "0", {})
    scheduler = scheduler_of(house, worker)
    task = asyncio.create_task(scheduler.run())
    try:
        claimed = "select count(*) from yclients.sync_status where claimed_by is not null"
        await eventually(house, claimed, scheduling.FILLING)
        held = await house.database.fetch("select company_id from yclients.sync_status where claimed_by is not null")
        paused = [row["company_id"] for row in held]
        await house.work.pause(paused)
        left = next(iter(set(sim.world.salons) - set(paused)))
        await eventually(house, f"{claimed} and company_id = {left}", 1)
        sim.gate.set()
        proved = "select count(*) from yclients.sync_status where stream = 'clients' and last_success_at is not null"
        await eventually(house, proved, 1)
        await eventually(house, claimed, 0)
        await house.work.resume(paused)
        await eventually(house, proved, 9)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_a_command_asks_for_leaves_places_to_the_deltas_of_others(salons: tuple[Simulator, House]) -> None:
    sim, house = salons
    for company in sim.world.salons:
        await house.proved(company, "clients")
    await house.database.execute("update yclients.sync_status set due_at = null")
    first, *rest = sim.world.salons
    await house.work.want(rest, ["clients", "records"], {}, afresh=True)
    await house.database.execute(
        "update yclients.sync_status set due_at = now() where stream = 'clients' and company_id = $1", first
    )
    sim.gate.clear()
    worker = await house.work.register("service", "test", "0", {})
    scheduler = scheduler_of(house, worker, scope=Scope())
    task = asyncio.create_task(scheduler.run())
    try:
        claimed = "select count(*) from yclients.sync_status where claimed_by is not null"
        await eventually(house, f"{claimed} and company_id = {first}", 1)
        assert await house.database.fetchval(f"{claimed} and phase <> 'live'") == scheduling.FILLING
    finally:
        sim.gate.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_full_disk_is_said_and_costs_few_requests(
    salons: tuple[Simulator, House], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server answers and cannot store: that no request leaves in vain is worth waiting longer each time."""
    sim, house = salons
    monkeypatch.setattr(scheduling, "FILLING", 1)
    await house.database.execute("update yclients.sync_status set due_at = null where company_id <> 4001")
    await house.database.execute(
        "create function no_room() returns trigger language plpgsql as "
        "$$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$"
    )
    await house.database.execute("create trigger no_room before insert on yclients.clients execute function no_room()")
    before = sim.report().requests
    worker = await house.work.register("service", "test", "0", {})
    task = asyncio.create_task(scheduler_of(house, worker).run())
    try:
        await eventually(house, "select failures from yclients.sync_status where company_id = 4001 and stream = 'clients'", 1)
        row = await house.database.fetchrow(
            "select last_error, due_at - now() as wait from yclients.sync_status where company_id = 4001 and stream = 'clients'"
        )
        assert row is not None
        assert "the database's disk is full. Make room" in row["last_error"]
        assert row["wait"].total_seconds() > 2
        assert sim.report().requests - before <= 2
        assert "batch.failed" in "".join(capsys.readouterr())
        # Room was made.
        await house.database.execute("drop trigger no_room on yclients.clients")
        await house.database.execute("update yclients.sync_status set due_at = now() where company_id = 4001")
        await eventually(house, "select count(*) from yclients.clients where company_id = 4001", 5)
    finally:
        task.cancel()
