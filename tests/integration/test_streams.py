"""Do the declared streams hold what the salon holds, whatever changes meanwhile, and is nothing deleted by mistake?"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from support.house import House, open_salon, still
from support.ledgers import expected, wrong
from support.turns import open_turns
from ycsync.errors import NotFound
from ycsync.model.declared import Paging
from ycsync.model.streams import DECLARED
from ycsync.simulator import Salon
from ycsync.store.erase import erase_client, erase_salon

SALON = 4001
ON = "streams: {schedules: 1h, goods: 24h, goods_operations: 1h, transactions: 1h}"
STREAMS = tuple(DECLARED)
LEDGERS = ("goods_operations", "transactions")
DAY = 86_400


async def begin(house: House) -> None:
    await house.companies()
    await house.work.ensure([SALON], STREAMS)
    await house.proved(SALON, "staff")


async def night(house: House) -> None:
    """The night comes; what was missed was missed hours ago."""
    house.tomorrow_night()
    await house.database.execute("update yclients.sweep_missing set since = since - interval '1 hour'")


def asked(salon: Salon) -> set[int]:
    """The days of the schedule that are asked for: from a week ago to 60 days ahead."""
    span = DECLARED["schedules"].span
    first, last = salon.today() - timedelta(days=span[0]), salon.today() + timedelta(days=span[1])
    rows = expected(salon, "schedules")
    return {entity for entity, row in rows.items() if first <= row.date <= last}


async def assert_all(house: House, salon: Salon, *streams: str) -> None:
    for stream in streams or STREAMS:
        among = asked(salon) | await house.live(stream, salon.id) if stream == "schedules" else None
        if among is not None:  # days that were asked for last: the night may be another day than the one before
            today = house.clock().astimezone(ZoneInfo(salon.company["timezone_name"])).date()
            first = (today - timedelta(days=DECLARED["schedules"].span[0]) - date(1970, 1, 1)).days
            among = {one for one in among if one % 100_000 >= first}
        problems = await wrong(house, salon, stream, among=among)
        assert not problems, (stream, len(problems), problems[:5])


@pytest.mark.parametrize("cap", [100, 25])
async def test_each_stream_holds_what_the_salon_holds(database_url: str, cap: int) -> None:
    async with open_salon(database_url, ON, clients=60, visits=900, ledger_cap=cap) as (sim, house):
        salon = sim.world.salons[SALON]
        for n in range(230):
            salon.ledger.put_good(500 + n, salon.now() - 90 * DAY, title=f"Товар {n}")
        await begin(house)
        await house.cycle(SALON, STREAMS)
        await assert_all(house, salon)
        assert await house.quarantined() == []
        before = sim.report().requests
        await house.cycle(SALON, STREAMS)
        assert sim.report().requests - before <= sum(stream.quiet for stream in DECLARED.values()) + 12  # payments at 25 a page


@pytest.mark.parametrize("seed", range(1, 7))
async def test_nothing_is_lost_while_the_lists_move(database_url: str, seed: int) -> None:
    options: dict[str, Any] = {"clients": 40, "visits": 700, "seed": seed, "churn": 3}
    async with open_salon(database_url, ON, **options) as (sim, house):
        salon = sim.world.salons[SALON]
        for n in range(180):
            salon.ledger.put_good(500 + n, salon.now() - 90 * DAY, title=f"Товар {n}")
        await begin(house)
        unmoved = {stream: dict(expected(salon, stream)) for stream in STREAMS}
        await house.cycle(SALON, STREAMS)
        for stream in STREAMS:  # what stood still was never out of the list, so it must be there after the first pass
            now = expected(salon, stream)
            still_there = {entity for entity, row in unmoved[stream].items() if now.get(entity) == row}
            stood = asked(salon) & still_there if stream == "schedules" else still_there
            assert stood <= await house.live(stream, SALON), stream
        still(sim)
        await night(house)
        await house.cycle(SALON, STREAMS, confirm=True)
        await assert_all(house, salon, "schedules", "goods", "goods_operations")
        await house.cycle(SALON, ("transactions",), confirm=True)
        for _ in range(2):  # payments that were moved far back are found once a week, and what is missed twice is gone
            house.now = house.clock() + timedelta(days=8)
            await night(house)
            await house.cycle(SALON, ("transactions",), confirm=True)
        await assert_all(house, salon, "transactions")


async def test_what_changes_is_there_after_one_cycle(database_url: str) -> None:
    async with open_salon(database_url, ON, clients=40, visits=600) as (sim, house):
        salon = sim.world.salons[SALON]
        await begin(house)
        await house.cycle(SALON, STREAMS)
        noon = (salon.now() + salon.offset) // DAY * DAY + DAY // 2
        sale = salon.ledger.add("operations", noon, salon.now(), type_id=1, cost="990.00")
        payment = salon.ledger.add("transactions", noon, salon.now(), amount="1800.50")
        old = next(iter(salon.ledger.operations))
        salon.ledger.change("operations", old, salon.now(), cost="1.07")
        salon.ledger.put_good(41, salon.now(), title="Крем новый", cost="510,50")
        day = salon.today() + timedelta(days=9)
        salon.ledger.put_day(next(iter(salon.staff)), day.isoformat(), [("10:00", "14:00"), ("15:00", "23:15")])
        await house.cycle(SALON, STREAMS)
        await assert_all(house, salon)
        assert {sale, old} <= await house.live("goods_operations", SALON)
        stored = await house.stored("transactions", SALON)
        assert str(stored[payment]["amount"]) == "1800.50"


async def test_a_day_off_vanishes_and_a_payment_taken_back_is_gone_but_never_on_a_doubtful_word(database_url: str) -> None:
    async with open_salon(database_url, ON, clients=40, visits=600) as (sim, house):
        salon = sim.world.salons[SALON]
        await begin(house)
        noon = (salon.now() + salon.offset) // DAY * DAY + DAY // 2
        payment = salon.ledger.add("transactions", noon, salon.now())
        await house.cycle(SALON, STREAMS)
        staff, day = next(iter(salon.ledger.schedule))
        future = (staff, (salon.today() + timedelta(days=3)).isoformat())
        salon.ledger.put_day(*future)
        await house.cycle(SALON, ("schedules",))
        before = {stream: await house.live(stream, SALON) for stream in STREAMS}
        sim.fail_next("rows-lost", 1, "/staff/schedule")
        sim.fail_next("all-twice", 4, "/transactions/")
        await house.cycle(SALON, STREAMS)
        assert {stream: await house.live(stream, SALON) for stream in STREAMS} == before
        del salon.ledger.schedule[future]
        salon.ledger.remove("transactions", payment)
        await house.cycle(SALON, STREAMS)
        await assert_all(house, salon, "schedules")
        assert payment in await house.live("transactions", SALON)  # it may have moved
        await night(house)
        await house.cycle(SALON, ("transactions",))
        assert payment not in await house.live("transactions", SALON)
        await assert_all(house, salon, "transactions")
        assert day is not None
        house.now = None
        salon.ledger.schedule.clear()  # a tenth at most goes without a question
        result = await house.proved(SALON, "schedules")
        assert result.held_back > 10
        assert await house.live("schedules", SALON)


async def test_a_payment_that_is_dated_back_is_never_called_gone(database_url: str) -> None:
    async with open_salon(database_url, ON, clients=40, visits=900) as (sim, house):
        salon = sim.world.salons[SALON]
        await begin(house)
        noon = (salon.now() + salon.offset) // DAY * DAY + DAY // 2
        payments = [salon.ledger.add("transactions", noon - n, salon.now()) for n in range(3)]
        await house.cycle(SALON, ("transactions",))
        for payment in payments:
            salon.ledger.change("transactions", payment, salon.now(), at=noon - 200 * DAY)
        await house.cycle(SALON, ("transactions",))
        assert set(payments) <= await house.live("transactions", SALON)
        await night(house)
        await house.cycle(SALON, ("transactions",))
        await assert_all(house, salon, "transactions")


async def test_days_that_do_not_say_whose_they_are_are_asked_for_by_master(database_url: str) -> None:
    async with open_salon(database_url, ON, clients=10, visits=40, schedule_names=False, schedule_days=40) as (sim, house):
        await begin(house)
        result = await house.proved(SALON, "schedules")
        assert result.held_back == 0
        salon = sim.world.salons[SALON]
        stored = await house.stored("schedules", SALON)
        assert {row["staff_id"] for row in stored.values()} == set(salon.staff)
        rows = expected(salon, "schedules")
        first, last = salon.today() - timedelta(days=7), salon.today() + timedelta(days=33 // 2)
        # Who was fired is not in the list, and no visit was read that names them.
        of_staff = {one: row for one, row in rows.items() if row.staff_id in salon.staff}
        assert {one for one, row in of_staff.items() if first <= row.date <= last} <= set(stored)


async def test_a_stream_that_is_not_offered_any_more_deletes_nothing(database_url: str) -> None:
    async with open_salon(database_url, ON, clients=40, visits=400) as (sim, house):
        await begin(house)
        await house.cycle(SALON, STREAMS)
        before = {stream: await house.live(stream, SALON) for stream in STREAMS}
        assert all(before.values())
        for stream in STREAMS:
            sim.fail_next("404", 50, DECLARED[stream].path.format(company=SALON))
            with pytest.raises(NotFound, match="not offer"):
                await house.proved(SALON, stream)
            sim.heal()
        assert {stream: await house.live(stream, SALON) for stream in STREAMS} == before


async def test_a_salon_that_has_none_of_it_is_complete(database_url: str) -> None:
    async with open_salon(database_url, ON, clients=5, visits=10, empty_as_404=True) as (sim, house):
        salon = sim.world.salons[SALON]
        for table in (salon.ledger.goods, salon.ledger.operations, salon.ledger.transactions, salon.ledger.schedule):
            table.clear()
        await begin(house)
        await house.cycle(SALON, STREAMS)
        for stream in STREAMS:
            assert not await house.live(stream, SALON)


async def test_a_user_who_may_not_see_money_stops_that_stream_alone(database_url: str) -> None:
    async with open_turns(database_url, ON, clients=20, visits=60) as turns:
        turns.sim.fail_next("403", 50, "GET /transactions/")
        await turns.turn(3)
        rows = await turns.rows()
        assert rows[SALON, "transactions"]["phase"] == "stopped"
        assert rows[SALON, "transactions"]["error_code"] == "no_right"
        others = {stream: row["phase"] for (company, stream), row in rows.items() if company and stream != "transactions"}
        assert set(others.values()) == {"live"}, others
        turns.sim.heal()
        await turns.turn(2)
        assert (await turns.rows())[SALON, "transactions"]["phase"] == "live"


def test_a_stream_is_a_declaration_of_a_few_lines() -> None:
    for stream in DECLARED.values():
        assert stream.path.count("{company}") == 1
        assert len({column for column, _ in stream.columns}) == len(stream.columns)
        assert (stream.paging is Paging.PAGES) == (stream.dated is None)
        assert isinstance(date.today() - timedelta(days=stream.span[0]), date)


async def test_an_erased_client_is_nobody_in_the_store_and_the_till_and_stays_so(database_url: str) -> None:
    async with open_salon(database_url, ON, clients=20, visits=60) as (sim, house):
        salon = sim.world.salons[SALON]
        noon = (salon.now() + salon.offset) // DAY * DAY + DAY // 2
        person = {"id": 70_003, "name": "Аделаида", "phone": "+79161234567"}
        sale = salon.ledger.add("operations", noon, salon.now(), client=person, type_id=1)
        payment = salon.ledger.add("transactions", noon, salon.now(), client=person, comment="принесёт щенка")
        await begin(house)
        await house.cycle(SALON, STREAMS)
        assert (await house.stored("transactions", SALON))[payment]["client_id"] == 70_003
        erased = await erase_client(house.database, SALON, 70_003)
        assert erased.cleaned["goods_operations"] >= 1
        for afresh in (False, True):
            for stream, entity in (("goods_operations", sale), ("transactions", payment)):
                row = (await house.stored(stream, SALON))[entity]
                assert row["client_id"] is None
                assert row["deleted_at"] is None
                assert not [word for word in ("Аделаида", "9161234567", "щенка", "70003") if word in str(row)]
                if afresh:
                    continue
                await house.afresh(SALON, stream)
                salon.ledger.change(stream.removeprefix("goods_"), entity, salon.now(), comment="щенка!")
            await house.cycle(SALON, LEDGERS)
        before = await house.database.fetchval("select count(*) from yclients.transactions")
        await erase_salon(house.database, SALON)
        assert before > 0
        for stream in STREAMS:
            assert not await house.stored(stream, SALON)
