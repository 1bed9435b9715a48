"""Stored times are those of the salon's time zone, also after it was corrected, and where it is not known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from support.house import House, expected_rows, follow, open_house, open_salon
from support.ledgers import wrong as wrong_ledger
from support.turns import open_turns
from ycsync.cli.inspect import verification
from ycsync.errors import Fenced
from ycsync.model.times import UNKNOWN
from ycsync.simulator import Options, Salon, Simulator
from ycsync.store import zones as store_zones
from ycsync.store.database import Connection
from ycsync.store.pages import Advance
from ycsync.sync import run_batch

SALON = 4001
OPTIONS: dict[str, Any] = {"clients": 30, "visits": 300, "per_second": 0, "per_minute": 0}
FIVE = 5 * 3600
NEW = "Asia/Yekaterinburg"


def visit_at_half_past_ten(salon: Salon, **fields: Any) -> int:
    """The oldest visit that is not cancelled is at 10:30 of the salon's clock; no delta brings it."""
    standing = [one for one in salon.records if not salon.records[one]["deleted"]]
    chosen = min(standing, key=lambda one: salon.records[one]["date"])
    salon.change_record(chosen, stamp=False, date="2025-03-02 10:30:00", **fields)
    return chosen


async def misplaced(house: House, sim: Simulator, salon: Salon) -> list[int]:
    """Visits that are not stored at the instant at which the salon has them."""
    stored = await house.stored("records", salon.id)
    return [one for one, row in expected_rows(sim, salon)["records"].items() if row.starts_at != stored[one]["starts_at"]]


@asynccontextmanager
async def corrected(database_url: str, **options: Any) -> AsyncIterator[tuple[Simulator, House, Salon]]:
    """A salon that was read by one zone, and corrected it; the list of salons has told."""
    async with open_salon(database_url, **{**OPTIONS, **options}) as (sim, house):
        salon = sim.world.salons[SALON]
        visit_at_half_past_ten(salon)
        await house.companies()
        await house.cycle(SALON)
        assert not await misplaced(house, sim, salon)
        salon.set_zone(NEW, FIVE)
        await house.companies()
        yield sim, house, salon


async def test_a_corrected_zone_moves_every_visit(database_url: str) -> None:
    async with Simulator(Options(**OPTIONS)) as sim:
        salon = sim.world.salons[SALON]
        visit = visit_at_half_past_ten(salon)
        assert (await follow(sim, database_url)).complete
        requests = [sim.report().requests]
        for zone in (None, NEW):
            if zone is not None:
                salon.set_zone(zone, FIVE)
            assert (await follow(sim, database_url)).complete
            requests.append(sim.report().requests)
        assert requests[2] - requests[1] == requests[1] - requests[0]  # the correction costs none
        async with open_house(sim.url, database_url) as house:
            stored = await house.stored("records", SALON)
            assert stored[visit]["starts_at"] == datetime(2025, 3, 2, 5, 30, tzinfo=UTC)
            assert not await misplaced(house, sim, salon)


async def test_work_that_is_cut_off_is_not_verified_and_goes_on(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_zones, "SLICE", 40)
    async with corrected(database_url) as (sim, house, salon):
        batch = await house._batch(SALON, "records", None, False)
        inner, slices = house.pages.zones.slice, 0

        async def dies(*args: Any) -> Any:
            nonlocal slices
            slices += 1
            if slices > 3:
                raise asyncio.CancelledError
            return await inner(*args)

        monkeypatch.setattr(house.pages.zones, "slice", dies)
        with pytest.raises(asyncio.CancelledError):
            await run_batch(batch)
        monkeypatch.undo()
        assert len(await misplaced(house, sim, salon)) == 300 - 3 * 40
        (integrity,) = [one for one in await verification(house.database, house.settings) if one.name == "integrity"]
        assert not integrity.passed
        assert "corrected time zone" in integrity.says
        await house.cycle(SALON)
        assert not await misplaced(house, sim, salon)
        (integrity,) = [one for one in await verification(house.database, house.settings) if one.name == "integrity"]
        assert integrity.passed


async def test_a_page_that_was_read_by_the_former_zone_is_dropped(database_url: str) -> None:
    async with open_salon(database_url, **OPTIONS) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        for stream in ("records", "clients"):
            former = await house._batch(SALON, stream, None, False)
            await house.database.execute("update yclients.sync_status set zone = null where stream = $1", stream)
            salon.set_zone(*((NEW, FIVE) if stream == "records" else ("Europe/Moscow", 10_800)))
            await house.companies()
            with pytest.raises(Fenced, match="time zone changed"):
                await run_batch(former)
            later = await house._batch(SALON, stream, None, False)
            await house.proved(SALON, stream)
            with pytest.raises(Fenced):  # and whatever was planned before the times were computed
                await run_batch(later)


async def test_hints_wait_until_times_are_of_one_zone(database_url: str) -> None:
    async with corrected(database_url) as (sim, house, salon):
        await house.work.ensure([SALON], ["hooks"])
        await house.pages.hooks.hear({(SALON, "client", min(salon.clients)): ("update", 1)})
        before = sim.report().requests
        result = await house.batch(SALON, "hooks")
        assert (sim.report().requests - before, result.wait_s) == (0, 2.0)
        await house.cycle(SALON)
        await house.batch(SALON, "hooks")
        assert await house.database.fetchval("select count(*) from yclients.hooks") == 0


async def test_a_hint_that_was_read_by_the_former_zone_is_read_again(database_url: str) -> None:
    async with open_salon(database_url, **OPTIONS) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        await house.work.ensure([SALON], ["hooks"])
        await house.pages.hooks.hear({(SALON, "client", min(salon.clients)): ("update", 1)})
        former = await house._batch(SALON, "hooks", None, False)
        salon.set_zone(NEW, FIVE)
        await house.companies()
        await house.database.execute("update yclients.sync_status set zone = null")
        with pytest.raises(Fenced, match="time zone changed"):
            await run_batch(former)
        assert await house.database.fetchval("select count(*) from yclients.hooks") == 1


async def test_a_deletion_alone_that_was_asked_for_by_the_former_zone_is_dropped(database_url: str) -> None:
    async with corrected(database_url) as (_, house, _salon):
        await house.work.ensure([SALON], ["hooks"])

        async def within(_: Connection) -> None:
            """Some deletion."""

        advance = Advance(SALON, "hooks", 0, "{}", "live", None, 0, 0, zone="Europe/Moscow")
        with pytest.raises(Fenced, match="time zone changed"):
            await house.pages.commit(advance, within=within)


async def test_the_service_does_it_at_once_whenever_the_streams_are_due(database_url: str) -> None:
    async with open_turns(database_url, "streams: {clients: 24h, records: 24h}", clients=30, visits=300) as turns:
        salon = turns.sim.world.salons[SALON]
        visit_at_half_past_ten(salon)
        await turns.turn(2)
        salon.set_zone(NEW, FIVE)
        await turns.house.work.list_again()
        await turns.house.database.execute("update yclients.sync_status set due_at = now() where company_id = 0")
        turns.scheduler.wake()
        async with asyncio.timeout(30):
            while await misplaced(turns.house, turns.sim, salon):
                await asyncio.sleep(0.02)


async def test_streams_that_are_off_are_done_too(database_url: str) -> None:
    on = "streams: {goods_operations: 1h, transactions: 1h}"
    async with open_turns(database_url, on, clients=30, visits=300) as turns:
        salon, house = turns.sim.world.salons[SALON], turns.house
        for entries in (salon.ledger.transactions, salon.ledger.operations):
            for entry in entries.values():
                for key in ("date", "create_date"):
                    if key in entry.payload:
                        entry.payload[key] = entry.payload[key][:19].replace("T", " ")
        await turns.turn(2)
        assert await wrong_ledger(house, salon, "transactions") == await wrong_ledger(house, salon, "goods_operations") == []
        await house.database.execute("update yclients.sync_status set due_at = null where stream = 'transactions'")
        salon.set_zone(NEW, FIVE)
        assert await wrong_ledger(house, salon, "transactions")
        await house.database.execute("update yclients.sync_status set due_at = now() where company_id = 0")
        turns.scheduler.wake()
        async with asyncio.timeout(30):
            for stream in ("transactions", "goods_operations"):
                while await wrong_ledger(house, salon, stream):
                    await asyncio.sleep(0.02)


async def test_a_reader_of_changes_sees_what_moved(database_url: str) -> None:
    async with corrected(database_url) as (_, house, _salon):
        seen = await house.database.fetchval("select max(observed_at) from yclients.records")
        await house.cycle(SALON)
        assert await house.database.fetchval("select count(*) from yclients.records where observed_at > $1", seen) == 300


async def test_rows_of_an_older_release_are_computed_once_more(database_url: str) -> None:
    """They may be of a zone that was corrected long ago; nothing tells."""
    async with corrected(database_url) as (sim, house, salon):
        await house.database.execute("update yclients.sync_status set zone = null")
        await house.cycle(SALON)
        assert not await misplaced(house, sim, salon)


async def test_deletions_of_a_night_that_is_cut_by_a_correction_are_found(database_url: str) -> None:
    async with open_salon(database_url, **{**OPTIONS, "visits": 1500, "records_cap": 100}) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        gone = sorted(salon.records, key=lambda one: salon.records[one]["date"])[-60:-20:4]
        for one in gone:
            salon.purge_record(one)
        house.tomorrow_night()
        for _ in range(20):
            await house.batch(SALON, "records", units=1)
            if await house.pages.doubted(SALON, "records"):
                break
        assert await house.pages.doubted(SALON, "records")
        salon.set_zone(NEW, FIVE)
        await house.companies()
        await house.proved(SALON, "records")
        assert not set(gone) & await house.live("records", SALON)


# --- a zone that is not known -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["name", "hours", "offset", "words", "none"])
@pytest.mark.parametrize("odd", [True, False])
async def test_a_salon_in_india(database_url: str, told: Any, odd: bool) -> None:
    async with Simulator(Options(**OPTIONS, odd=odd, zone="Asia/Kolkata", zone_told=told)) as sim:
        visit = visit_at_half_past_ten(sim.world.salons[SALON])
        assert (await follow(sim, database_url)).complete
        async with open_house(sim.url, database_url) as house:
            stored = await house.stored("records", SALON)
            assert stored[visit]["starts_at"] == datetime(2025, 3, 2, 5, 0, tzinfo=UTC)
            known = (await house.stored("companies", SALON))[SALON]
            zone = await house.pages.zone(SALON)
            if told in ("words", "none"):
                assert (known["timezone"], known["timezone_known"], zone) == ("UTC", False, UNKNOWN)
            else:
                assert (known["timezone"], known["timezone_known"]) == ("Asia/Kolkata", True)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/Bogota"])
async def test_nothing_is_taken_for_deleted_where_nobody_knows_when_a_day_begins(database_url: str, zone: str) -> None:
    options = {**OPTIONS, "visits": 700, "records_cap": 60, "zone": zone, "zone_told": "none"}
    async with open_salon(database_url, **options) as (sim, house):
        salon = sim.world.salons[SALON]
        for day in range(1, 70):
            date = (datetime.now(UTC) - timedelta(days=day)).date()
            for hour in (0, 1, 4, 23):
                salon.bookings.rows[salon.add_record(f"{date} {hour:02d}:15:00")].changed -= 30 * 86_400  # no delta shows it
        await house.companies()
        await house.cycle(SALON)
        everything = await house.live("records", SALON)
        house.tomorrow_night("UTC")  # its days, where nobody knows better
        await house.proved(SALON, "records", confirm=True)
        assert await house.live("records", SALON) == everything


async def test_a_zone_that_becomes_known_later_is_used_and_stays(database_url: str) -> None:
    """Without an offset in the payload the times were UTC's; a salon that stops telling its zone keeps it."""
    async with open_salon(database_url, **OPTIONS, odd=False, zone="Asia/Kolkata", zone_told="none") as (sim, house):
        salon = sim.world.salons[SALON]
        visit = visit_at_half_past_ten(salon, datetime="", create_date="", last_change_date="")
        await house.companies()
        await house.cycle(SALON)
        assert (await house.stored("records", SALON))[visit]["starts_at"] == datetime(2025, 3, 2, 10, 30, tzinfo=UTC)
        salon.set_zone("Asia/Kolkata", 19_800)
        for _ in range(2):
            await house.companies()
            await house.cycle(SALON)
            assert (await house.stored("records", SALON))[visit]["starts_at"] == datetime(2025, 3, 2, 5, 0, tzinfo=UTC)
            assert await house.pages.zone(SALON) == ZoneInfo("Asia/Kolkata")
            for key in ("timezone_name", "timezone"):
                salon.company.pop(key, None)
