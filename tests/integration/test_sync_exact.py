"""Nothing lost: is the database what the salon is, after a pass over HTTP?"""

from __future__ import annotations

from typing import Any

import pytest

from support.house import STREAMS, assert_equal, follow, open_house, open_salon, still
from ycsync.service.follow import Wish
from ycsync.simulator import Options, Simulator

SALON = 4001


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"records_cap": 300, "visits": 2500},
        {"records_cap": 77, "clients_cap": 25, "direction": "asc", "tie_order": "day"},
        {"clients": 0, "visits": 0},
        {"clients": 40, "visits": 0},
        {"clients": 0, "visits": 60},
        {"clients": 0, "visits": 0, "empty_as_404": True},
        {"clients": 130, "visits": 90, "empty_as_404": True, "changed_inclusive": False},
        {"salons": 3, "clients": 60, "visits": 300, "changed_zone": "utc"},
    ],
)
async def test_a_pass_and_a_quiet_cycle_equal_the_salon(database_url: str, options: dict[str, Any]) -> None:
    async with open_salon(database_url, **options) as (sim, house):
        for company in await house.companies():
            await house.cycle(company)
        await assert_equal(sim, house)
        for company in sim.world.salons:
            await house.cycle(company, ("clients", "records"))
        await assert_equal(sim, house)
        assert await house.quarantined() == []


@pytest.mark.parametrize(
    "options",
    [
        {"churn": 3, "seed": 2},
        {"churn": 3, "seed": 3, "records_cap": 300, "visits": 2500, "clients": 700, "direction": "asc"},
        {"churn": 2, "seed": 4, "records_cap": 97, "clients_cap": 60, "tie_order": "day"},
        {"churn": 3, "seed": 5, "faults": 0.2, "records_cap": 300},
        {"churn": 1, "seed": 6, "salons": 3, "clients": 60, "visits": 400, "records_cap": 100},
    ],
)
async def test_a_salon_that_changes_after_every_answer_is_equal_after_one_cycle_more(
    database_url: str, options: dict[str, Any]
) -> None:
    async with open_salon(database_url, **options) as (sim, house):
        for company in await house.companies():
            await house.cycle(company)
        still(sim)
        for company in sim.world.salons:
            await house.cycle(company, ("clients", "records"))
            house.tomorrow_night(sim.world.salons[company].company["timezone_name"])
            await house.cycle(company, ("clients",))  # who was deleted shows in a whole list only
        await assert_equal(sim, house)


async def test_the_whole_command_equals_the_salon(database_url: str) -> None:
    async with Simulator(Options(clients=700, visits=3000, salons=2, per_second=0, per_minute=0)) as sim:
        outcome = await follow(sim, database_url)
        assert outcome.complete
        async with open_house(sim.url, database_url) as house:
            await assert_equal(sim, house)


async def test_a_pass_goes_on_where_its_units_were_used_up(database_url: str) -> None:
    async with open_salon(database_url, clients=700, visits=2500, records_cap=300) as (sim, house):
        await house.companies()
        await house.cycle(SALON, units=3)
        await assert_equal(sim, house)
        assert len(house.results) > 6
        repeated = [(seen.path, seen.query) for seen in sim.log if "page=1" in seen.query]
        assert len(repeated) == len(set(repeated))


async def test_a_forced_pass_reads_everything_over_the_rows_that_are_there(database_url: str) -> None:
    async with Simulator(Options(clients=300, visits=2500, per_second=0, per_minute=0)) as sim:
        assert (await follow(sim, database_url)).complete
        before = sim.report().requests
        assert (await follow(sim, database_url, wish=Wish((), STREAMS, {}, afresh=True))).complete
        assert sim.report().requests - before > 6
        async with open_house(sim.url, database_url) as house:
            await assert_equal(sim, house)


async def test_a_batch_size_of_three_ends_complete_and_equal(database_url: str) -> None:
    async with Simulator(Options(clients=700, visits=2000, records_cap=300, per_second=0, per_minute=0)) as sim:
        outcome = await follow(sim, database_url, wish=Wish((), ("companies", *STREAMS), {"batch_size": 3}))
        assert outcome.complete
        async with open_house(sim.url, database_url) as house:
            await assert_equal(sim, house)


async def test_a_day_with_more_visits_than_a_page_is_read_whole(database_url: str) -> None:
    async with open_salon(database_url, clients=60, visits=300, records_cap=60, tie_order="day", churn=1) as (sim, house):
        salon = sim.world.salons[SALON]
        staff = list(salon.staff)
        for place in range(150):
            salon.add_record(
                f"2026-03-02 {10 + place % 9}:00:00", staff_id=staff[0] if place < 100 else staff[place % len(staff)]
            )
        await house.companies()
        await house.cycle(SALON)
        still(sim)
        await house.cycle(SALON, ("clients", "records"))
        house.tomorrow_night()
        await house.cycle(SALON, ("clients",), confirm=True)  # many of so few are gone
        await assert_equal(sim, house)


@pytest.mark.parametrize("churn", [0, 2])
async def test_history_client_by_client_is_exact_with_walk_ins(database_url: str, churn: int) -> None:
    async with open_salon(database_url, "history: by_client", clients=30, visits=1500, churn=churn) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        asked = {seen.query for seen in sim.log if "client_id=" in seen.query}
        assert len(asked) >= 25
        still(sim)
        await house.cycle(SALON, ("clients", "records"))
        house.tomorrow_night()
        await house.cycle(SALON, ("clients",), confirm=True)  # a seventh of so few are gone
        await assert_equal(sim, house)


async def test_visits_that_come_while_clients_are_read_do_not_hide_walk_ins(database_url: str) -> None:
    """As many new visits as there are walk-ins make the count right, and the walk-ins would be missing."""
    async with open_salon(database_url, "history: by_client", clients=10, visits=1200) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON, ("services", "staff", "clients"))
        walk_ins = sum(1 for row in salon.bookings.rows.values() if row.client_id == 0)
        assert walk_ins
        await house.batch(SALON, "records", units=1)
        for _ in range(walk_ins):
            salon.add_record(client_id=next(iter(salon.clients)))
        await house.proved(SALON, "records")
        await assert_equal(sim, house)


async def test_the_successor_of_the_list_of_clients_is_used_when_the_list_is_gone(database_url: str) -> None:
    async with open_salon(database_url, clients=450, visits=50) as (sim, house):
        await house.companies()
        sim.fail_next("410", 10_000, "GET /clients/")
        await house.proved(SALON, "clients")
        assert await house.live("clients", SALON) == set(sim.world.salons[SALON].clients)
        sim.world.salons[SALON].delete_client(min(sim.world.salons[SALON].clients))
        await house.proved(SALON, "clients")
        assert await house.live("clients", SALON) == set(sim.world.salons[SALON].clients)


async def test_full_cards_keep_what_the_search_does_not_tell(database_url: str) -> None:
    async with open_salon(database_url, clients=120, visits=50) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.proved(SALON, "clients")
        before = await house.stored("clients", SALON)
        sim.fail_next("404", 10_000, "GET /clients/")
        changed = min(salon.clients)
        salon.change_client(changed, name="Вера", phone="+79990000777")
        await house.proved(SALON, "clients")
        after = await house.stored("clients", SALON)
        assert (after[changed]["name"], after[changed]["phone"]) == ("Вера", "79990000777")
        for column in ("surname", "patronymic", "birth_date", "sex_id", "categories", "comment", "balance", "changed_at"):
            assert {one: row[column] for one, row in after.items()} == {one: row[column] for one, row in before.items()}
        assert '"custom_fields"' in after[changed]["raw"]


async def test_a_cycle_without_clients_that_changed_is_not_taken_for_the_end_of_the_list(database_url: str) -> None:
    async with open_salon(database_url, clients=120, visits=200, empty_as_404=True) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        house.now = None
        await house.database.execute(
            "update yclients.sync_status set cursor = jsonb_set(cursor, '{since}', '\"2030-01-01T00:00:00Z\"')"
        )
        await house.cycle(SALON, ("clients", "records"))
        await assert_equal(sim, house)
        assert not [seen for seen in sim.log if seen.endpoint == "clients/search"]
