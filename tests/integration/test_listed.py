"""Staff, services and categories that leave their list while others still name them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from filled import make_schema
from support.house import House, assert_equal, open_salon
from ycsync.simulator import Salon, Simulator

SALON = 4001
LISTS = ("services", "staff")
Open = tuple[Simulator, House, Salon]


@pytest.fixture
async def salon(database_url: str) -> AsyncIterator[Open]:
    """A salon of 20 members of staff and 20 services that was read once."""
    async with open_salon(database_url, clients=10, visits=300) as (sim, house):
        found = sim.world.salons[SALON]
        for _ in range(18):
            found.add_staff()
        await house.companies()
        await house.cycle(SALON)
        yield sim, house, found


async def state(house: House, table: str, entity: int) -> str:
    row = (await house.stored(table, SALON))[entity]
    assert (row["deleted_at"] is None) or row["listed"]
    return "deleted" if row["deleted_at"] is not None else "listed" if row["listed"] else "not listed"


async def named(house: House, table: str, entity: int) -> bool:
    query = {
        "staff": "select exists (select from yclients.records where staff_id = $1)",
        "services": "select exists (select from yclients.record_services where service_id = $1)",
    }[table]
    return bool(await house.database.fetchval(query, entity))


async def test_who_is_fired_and_what_is_taken_from_the_price_list_stays_as_long_as_visits_name_it(salon: Open) -> None:
    _, house, found = salon
    proved = f"select last_success_at from yclients.sync_status where company_id = {SALON} and stream = 'services'"
    worked, service = next(iter(found.staff)), next(iter(found.services))
    idle, unused = found.add_staff("Инна"), found.add_service("Новинка")
    await house.cycle(SALON, LISTS)
    assert await named(house, "staff", worked)
    assert await named(house, "services", service)
    before = await house.stored("staff", SALON)
    found.fire_staff(worked)
    await house.cycle(SALON, LISTS)
    found.fire_staff(idle)
    found.remove_service(service)
    await house.cycle(SALON, LISTS)
    # Stamped when it is committed, after the cursor: a reader who looked meanwhile finds it the next time.
    left = (await house.stored("services", SALON))[service]
    assert left["observed_at"] >= await house.database.fetchval(proved)
    found.remove_service(unused)
    await house.cycle(SALON, LISTS)
    assert await state(house, "staff", worked) == await state(house, "services", service) == "not listed"
    assert await state(house, "staff", idle) == await state(house, "services", unused) == "deleted"
    after = (await house.stored("staff", SALON))[worked]
    assert after["observed_at"] > before[worked]["observed_at"], "who looks for changes sees it"
    assert {key: one for key, one in after.items() if key not in ("listed", "observed_at")} == {
        key: one for key, one in before[worked].items() if key not in ("listed", "observed_at")
    }
    liked = "select f ->> 'name' from yclients.client_profiles, jsonb_array_elements(favourite_staff) f"
    names = await house.database.fetch(liked)
    assert before[worked]["name"] in {row[0] for row in names}
    # It stays so, and comes back as it was.
    await house.cycle(SALON, LISTS)
    assert await state(house, "staff", worked) == "not listed"
    found.rehire_staff(worked)
    found.rehire_staff(idle)
    await house.cycle(SALON, LISTS)
    assert await state(house, "staff", worked) == await state(house, "staff", idle) == "listed"


async def test_a_member_of_staff_whom_the_list_calls_deleted_is_deleted(salon: Open) -> None:
    _, house, found = salon
    gone = next(iter(found.staff))
    assert await named(house, "staff", gone)
    found.staff[gone]["status"] = 1
    await house.cycle(SALON, LISTS)
    assert await state(house, "staff", gone) == "deleted"


async def test_a_category_stays_as_long_as_a_service_that_stays_is_in_it(salon: Open) -> None:
    _, house, found = salon
    service = next(iter(found.services))
    category = found.services[service]["category_id"]
    empty = 39
    found.service_categories[empty] = {"id": empty, "title": "Пусто", "weight": 1}
    unused = found.add_service("Новинка")
    found.services[unused]["category_id"] = empty
    await house.cycle(SALON, LISTS)
    for one in [one for one, row in found.services.items() if row["category_id"] == category]:
        found.remove_service(one)
    del found.service_categories[category]
    await house.cycle(SALON, LISTS, confirm=True)
    assert await state(house, "service_categories", category) == "not listed"
    # With the last service that kept it the category goes too, in one answer.
    found.remove_service(unused)
    del found.service_categories[empty]
    await house.cycle(SALON, LISTS)
    assert await state(house, "services", unused) == "deleted"
    assert await state(house, "service_categories", empty) == "deleted"


@pytest.mark.parametrize("table", LISTS)
async def test_a_list_that_loses_more_than_a_tenth_asks_and_is_not_emptied_step_by_step(salon: Open, table: str) -> None:
    _, house, found = salon
    rows = found.services if table == "services" else found.staff
    for one in list(rows)[:8]:  # one by one that is everyday life
        rows.pop(one)
        assert (await house.proved(SALON, table)).held_back == 0
    stored = await house.stored(table, SALON)
    listed = {one for one, row in stored.items() if row["listed"] and row["deleted_at"] is None}
    assert listed == set(rows)
    for one in list(rows)[:2]:  # two of twelve, though two of all that are stored are a tenth
        rows.pop(one)
    assert (await house.proved(SALON, table)).held_back == 2
    assert await house.stored(table, SALON) == stored
    said = await house.database.fetchval("select held_back from yclients.sync_status where stream = $1", table)
    assert f"2 of {len(listed)} rows" in said
    assert (await house.proved(SALON, table, confirm=True)).held_back == 0
    after = await house.stored(table, SALON)
    assert {one for one, row in after.items() if row["listed"] and row["deleted_at"] is None} == set(rows)
    assert (await house.proved(SALON, table)).held_back == 0, "what left is asked about once"


async def test_a_list_that_now_leaves_out_the_fired_does_not_ask(database_url: str) -> None:
    """The second path to the same list may hold them or not."""
    async with open_salon(database_url, clients=10, visits=300, fired_listed=True) as (sim, house):
        found = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        for one in list(found.staff)[1:]:
            found.fire_staff(one)
        await house.cycle(SALON, LISTS)
        await assert_equal(sim, house)
        fired = [one for one, row in found.staff.items() if row["fired"]]
        assert len(fired) > 1
        for one in fired:
            del found.staff[one]
        assert (await house.proved(SALON, "staff")).held_back == 0
        assert {await state(house, "staff", one) for one in fired} == {"not listed"}


async def test_none_at_all_is_an_answer_where_only_those_are_left_who_are_not_listed(salon: Open) -> None:
    sim, house, found = salon
    found.staff.clear()
    await house.proved(SALON, "staff", confirm=True)
    sim.fail_next("404", 10, "/staff")
    await house.proved(SALON, "staff")


BEFORE = (
    "alter table yclients.staff drop column listed",
    "alter table yclients.services drop column listed",
    "alter table yclients.service_categories drop column listed",
    "delete from yclients.schema_migrations where file like '%_listed.sql'",
)
ROWS = """
insert into yclients.staff (company_id, id, name, specialization, fired, hidden, raw, observed_at, deleted_at)
select c, n, '', '', false, false, case when n = 3 then '{"status": "1"}' else '{"status": 0}' end::jsonb, '2026-01-01',
    case when n < 5 then '2026-01-01'::timestamptz end
from unnest(array[4001, 4002]) c, generate_series(1, 5) n;
insert into yclients.services (company_id, id, category_id, title, booking_title, active, comment, raw, observed_at, deleted_at)
select 4001, n, 30 + n, '', '', true, '', case when n = 3 then '{"deleted": true}' else '{}' end::jsonb, '2026-01-01',
    case when n < 5 then '2026-01-01'::timestamptz end
from generate_series(1, 5) n;
insert into yclients.service_categories (company_id, id, title, raw, observed_at, deleted_at)
select 4001, 30 + n, '', '{}', '2026-01-01', case when n < 5 then '2026-01-01'::timestamptz end from generate_series(1, 5) n;
insert into yclients.records (company_id, id, staff_id, starts_at, status, online, comment, cost, raw, observed_at)
select 4001, n, n, now(), 'came', false, '', 0, '{}', now() from unnest(array[1, 3, 5]) n;
insert into yclients.record_services (company_id, record_id, position, service_id, title)
select 4001, n, 0, n, '' from unnest(array[1, 3, 5]) n;
"""


async def test_the_migration_brings_back_what_visits_name(database_url: str) -> None:
    await asyncio.to_thread(make_schema, database_url)
    connection = await asyncpg.connect(database_url)
    for statement in (*BEFORE, ROWS):
        await connection.execute(statement)
    await asyncio.to_thread(make_schema, database_url)
    found: dict[str, Any] = {}
    for table in ("staff", "services", "service_categories"):
        rows = await connection.fetch(
            "select company_id, id % 10 as id, listed, deleted_at is null as live, observed_at > '2026-01-02' as told "
            f"from yclients.{table} order by 1, 2"
        )
        found[table] = [tuple(row)[1:] for row in rows]
    same = [(n, True, n == 5, False) for n in range(1, 6)]
    # 1: named by a visit; 3: YCLIENTS itself called it deleted; 4002 has no visits.
    back = [(1, False, True, True), *same[1:]]
    assert found == {"staff": back + same, "services": back, "service_categories": back}
    await connection.close()
