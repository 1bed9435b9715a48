"""Over HTTP and PostgreSQL: both dates are always sent, so a narrow window around today is never called the whole history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from support.house import House, assert_equal, open_salon
from support.ledgers import wrong
from ycsync.service import census
from ycsync.simulator import Salon, Simulator

SALON = 4001
LEDGERS = ("goods_operations", "transactions")
ON = "streams: {goods_operations: 1h, transactions: 1h}"
FAR = datetime(2203, 5, 1, 10), datetime(1999, 12, 31, 10)


def undated(sim: Simulator, *paths: str) -> list[str]:
    """Requests to these lists that left out a date."""
    asked = [seen for seen in sim.log if any(seen.path.endswith(f"{path}/{SALON}") for path in paths)]
    assert asked
    return [seen.query for seen in asked if not {"start_date", "end_date"} <= parse_qs(seen.query).keys()]


async def assert_whole(sim: Simulator, house: House, salon: Salon) -> None:
    await assert_equal(sim, house)
    for stream in LEDGERS:
        assert await wrong(house, salon, stream) == []


@pytest.mark.parametrize(("visits", "compared"), [(900, 0), (1500, 1)])
async def test_history_is_read_where_undated_lists_are_narrow(database_url: str, visits: int, compared: int) -> None:
    async with open_salon(database_url, ON, clients=60, visits=visits, undated="narrow-lists") as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.work.ensure([SALON], LEDGERS)
        await house.cycle(SALON)
        await house.cycle(SALON, LEDGERS)
        await assert_whole(sim, house, salon)
        records = [seen.query for seen in sim.log if "/records/" in seen.path]
        assert len(undated(sim, "/records")) == compared, "a salon of one page pays for no comparison"
        assert undated(sim, "/storages/transactions", "/transactions") == []
        assert "start_date=2000-01-01" in records[0]
        late = (salon.today() + timedelta(days=5 * 365)).isoformat()
        assert parse_qs(records[0])["end_date"] > [late]
        # What changed long ago or far ahead comes with the next delta.
        for number, record_id in enumerate(list(salon.records)[:50]):
            salon.move_record(record_id, salon.today() + timedelta(days=200 * (number % 9) - 1000))
        await house.cycle(SALON, ("records", *LEDGERS))
        await assert_whole(sim, house, salon)
        assert len(undated(sim, "/records")) == compared
        assert await census.visits(house.api, SALON, 1) == len(salon.records)


@pytest.mark.parametrize("options", [{"undated": "all"}, {"undated": "all", "churn": 2}])
async def test_visits_outside_the_far_dates_are_found(database_url: str, options: dict[str, Any]) -> None:
    async with open_salon(database_url, clients=60, visits=1500, **options) as (sim, house):
        salon = sim.world.salons[SALON]
        odd = [salon.add_record(at) for at in FAR]
        await house.companies()
        await house.cycle(SALON)
        assert set(odd) <= await house.live("records", SALON)
        salon.cancel_record(odd[0])
        await house.cycle(SALON, ("records",))
        live = await house.live("records", SALON)
        assert (odd[0] in live, odd[1] in live) == (False, True)


async def test_visits_that_were_not_asked_for_stay(database_url: str) -> None:
    """A salon of one page is asked for the far dates alone: what is stored of others is neither renewed nor deleted."""
    async with open_salon(database_url, clients=60, visits=300) as (sim, house):
        salon = sim.world.salons[SALON]
        odd = [salon.add_record(salon.today()) for _ in FAR]
        await house.companies()
        await house.cycle(SALON)
        for record_id, at in zip(odd, FAR, strict=True):
            await house.database.execute("update yclients.records set starts_at = $2 where id = $1", record_id, at)
            salon.change_record(record_id, date=at)
        await house.afresh(SALON, "records")
        await house.cycle(SALON, ("records",))
        assert set(odd) <= await house.live("records", SALON)


async def test_an_upgraded_salon_is_read_anew_once(database_url: str) -> None:
    """The cursor of release 0.1.0 rests on lists that were asked for without dates."""
    async with open_salon(database_url, clients=60, visits=300) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        await house.database.execute("update yclients.sync_status set cursor = cursor - 'dated' where stream = 'records'")
        for table in ("record_services", "records"):
            await house.database.execute(f"delete from yclients.{table}")
        await house.cycle(SALON, ("records",))
        await assert_equal(sim, house)
        before = sim.report().requests
        await house.cycle(SALON, ("records",))
        assert sim.report().requests - before == 1
