"""What the views say of money that belongs to a whole visit, and of visits that no money is paid for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from benchmarks import profiles
from filled import make_schema
from support.house import open_salon
from ycsync import sql
from ycsync.model import CompanyId, parse_records
from ycsync.simulator import Salon

SALON, CLIENT, VISIT = 4001, 66, 82
CREAM = {"id": 11, "cost": 100, "amount": -1}
OIL = {"id": 12, "cost": 50, "amount": -1}
NAMELESS = {"cost": 70, "amount": -1}
MEMBERSHIP = {
    "id": 17, "title": "Массаж", "cost": 0, "cost_to_pay": 0, "manual_cost": 2500, "cost_per_unit": 2500, "first_cost": 2500,
    "discount": 0, "amount": 1,
}  # fmt: skip

Goods = Sequence[dict[str, Any]]
One = tuple[Any, ...]  # goods; "gone" where the record was cancelled; the minute in which it was read

NO_IDS: tuple[Any, ...] = (0, "", "0", None, [], {}, False)
VISITS: dict[str, tuple[tuple[One, ...], int]] = {
    "each record repeats the list": ((([CREAM, OIL],), ([CREAM, OIL],)), 150),
    "ids as text and as numbers": ((([CREAM],), ([{**CREAM, "id": "11"}],)), 100),
    "each record has its own": ((([CREAM],), ([OIL],)), 150),
    "only one record has it": ((([CREAM, OIL],), ([],)), 150),
    "one of two records was cancelled": ((([CREAM, OIL],), ([CREAM, OIL], "gone")), 150),
    "the record that has it was cancelled, the visit was not": ((([],), ([CREAM, OIL], "gone")), 150),
    "all were cancelled": ((([CREAM], "gone"), ([CREAM], "gone")), 0),
    "the list that was read last counts": ((([CREAM],), ([{**CREAM, "cost": 120}], "", 5)), 120),
    "in any order": ((([{**CREAM, "cost": 120}], "", 5), ([CREAM],)), 120),
    "a line was taken back since": ((([CREAM, OIL],), ([CREAM, {**OIL, "deleted": True}], "", 5)), 100),
    "a cancelled record is no newer than a living one": ((([CREAM],), ([{**CREAM, "cost": 9}], "gone", 5)), 100),
    "a list without ids, repeated": ((([NAMELESS, NAMELESS],), ([NAMELESS, NAMELESS],)), 140),
    "lists without ids that differ": ((([NAMELESS],), ([{**NAMELESS, "cost": 30}],)), 100),
    "0, empty and odd ids are none": (
        (([{**NAMELESS, "id": none} for none in NO_IDS],), ([],)), 490,
    ),
    "one sale came back": ((([CREAM, {**OIL, "amount": 1}],), ([CREAM, {**OIL, "amount": 1}],)), 50),
}  # fmt: skip


COLUMNS = "company_id, id, visit_id, client_id, starts_at, status, online, comment, cost, paid, raw, observed_at"


async def _store(connection: asyncpg.Connection, visit: int | None, records: Sequence[One], first: int, **raw: Any) -> None:
    for place, (goods, *rest) in enumerate(records):
        gone, minute = "gone" in rest, rest[1] if len(rest) > 1 else 0
        await connection.execute(
            f"""insert into yclients.records ({COLUMNS}, deleted_at)
            values ($1, $2, $3, $4, now() - interval '1 day', case when $5 then 'cancelled' else 'came' end, false, '', 0, 0,
                    $6::jsonb, now() - interval '1 hour' + $7 * interval '1 minute', case when $5 then now() end)""",
            SALON, first + place, visit, CLIENT, gone, json.dumps({"goods_transactions": goods, **raw}), minute,
        )  # fmt: skip


async def _client(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "insert into yclients.clients (company_id, id, name, surname, patronymic, phone_raw, email, card, comment, categories, "
        "raw, observed_at) values ($1, $2, '', '', '', '', '', '', '', '[]', '{}', now())",
        SALON,
        CLIENT,
    )


async def test_goods_are_the_visits_and_are_counted_once(database_url: str) -> None:
    await asyncio.to_thread(make_schema, database_url)
    connection = await asyncpg.connect(database_url)
    await _client(connection)
    for place, (records, _) in enumerate(VISITS.values()):
        await _store(connection, place + 1, records, 10 * (place + 1))
    rows = await connection.fetch("select visit_id, goods_amount from yclients.visits order by visit_id")
    found = {name: row["goods_amount"] for name, row in zip(VISITS, rows, strict=True)}
    assert found == {name: Decimal(wanted) for name, (_, wanted) in VISITS.items()}
    card = await connection.fetchrow("select goods_amount, visit_history from yclients.client_profiles")
    assert card is not None
    assert card["goods_amount"] == sum(found.values())
    history = {one["visit_id"]: one["goods_amount"] for one in json.loads(card["visit_history"])}
    assert history == {place + 1: wanted for place, (name, (_, wanted)) in enumerate(VISITS.items()) if "all were" not in name}
    await connection.close()


async def test_records_without_a_visit_and_visits_of_another_client_or_salon_share_no_goods(database_url: str) -> None:
    await asyncio.to_thread(make_schema, database_url)
    connection = await asyncpg.connect(database_url)
    await _store(connection, None, (([CREAM],), ([CREAM],)), 10)
    await _store(connection, 7, (([CREAM],), ([CREAM],)), 20)
    await connection.execute(
        f"insert into yclients.records ({COLUMNS}) select 4002, {COLUMNS.partition(',')[2]} from yclients.records "
        "where visit_id = 7"
    )
    rows = await connection.fetch("select goods_amount from yclients.visits order by company_id, visit_id nulls first")
    assert [row["goods_amount"] for row in rows] == [100] * 4
    await connection.close()


def payload(record: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": record, "company_id": SALON, "visit_id": VISIT, "client": {"id": CLIENT, "name": "Ольга"}, "staff_id": 9,
        "date": f"2026-03-02 1{record}:00:00", "attendance": 1, "deleted": False, "services": [], "goods_transactions": [],
        "finance_transactions": [], **fields,
    }  # fmt: skip


async def card_of(database_url: str, *records: dict[str, Any]) -> dict[str, Any]:
    """The card and the one visit of a client with these records, read from a server."""
    async with open_salon(database_url, clients=2, visits=0) as (sim, house):
        salon: Salon = sim.world.salons[SALON]
        salon.put_client({"id": CLIENT, "name": "Ольга", "phone": 79990000066})
        for record in records:
            salon.put_record(record)
        await house.companies()
        await house.cycle(SALON)
        assert await house.quarantined() == []
        visit = await house.database.fetchrow("select * from yclients.visits where visit_id = $1", VISIT)
        card = await house.database.fetchrow("select * from yclients.client_profiles where id = $1", CLIENT)
        assert visit is not None
        assert card is not None
        (told,) = json.loads(card["visit_history"])
        names = [name for name in ("services_amount", "list_amount", "goods_amount", "paid") if name in told]
        assert {name: told[name] for name in names} == {name: visit[name] for name in names}
        return {**dict(card), "paid": visit["paid"], "visit": dict(visit)}


async def test_goods_that_two_records_repeat_are_counted_once_through_the_whole_path(database_url: str) -> None:
    found = await card_of(database_url, *(payload(one, goods_transactions=[CREAM, OIL], paid_full=1) for one in (1, 2)))
    assert (found["visit"]["goods_amount"], found["goods_amount"]) == (150, 150)


SERVICE = {"id": 17, "title": "Стрижка", "amount": 1, "discount": 0}
THREE = {**SERVICE, "amount": 3, "cost_per_unit": 2000}


@pytest.mark.parametrize(
    ("payments", "paid"),
    [
        (([{"amount": 1500}], []), 1500),  # the whole bill stands at one record
        (([{"amount": 1000}], [{"amount": 500}]), 1500),
        (([{"amount": 1500}, {"amount": -300}], []), 1200),
        (([], []), 1500),  # none is listed: by the mark of being paid
    ],
)
async def test_a_bill_that_stands_at_one_record_is_not_paid_again_by_the_others_mark(
    database_url: str, payments: tuple[Goods, Goods], paid: int
) -> None:
    """`paid_full` is the whole visit's, the list of payments is not repeated."""
    found = await card_of(
        database_url,
        payload(1, services=[{**SERVICE, "cost": 1000}], finance_transactions=payments[0], paid_full=1),
        payload(2, services=[{**SERVICE, "cost": 500}], finance_transactions=payments[1], paid_full=1),
    )
    assert (found["paid"], found["total_spent"], found["average_bill"]) == (paid, paid, paid)


@pytest.mark.parametrize(
    ("lines", "wanted"),  # what is to be paid, the list price, what was paid
    [
        ([MEMBERSHIP], (0, 2500, 0)),
        ([MEMBERSHIP, {**SERVICE, "cost": 1800, "first_cost": 2000}], (1800, 4500, 1800)),
        ([{**THREE, "cost": 5400, "first_cost": 6000}], (5400, 6000, 5400)),
        ([{**THREE, "cost": 0}], (0, 6000, 0)),  # no first_cost: the price of one times the amount
        ([{**SERVICE, "cost": 700}], (700, 700, 700)),
        ([], (0, 0, 0)),
    ],
)
async def test_a_membership_visit_costs_no_money_and_keeps_its_list_price(
    database_url: str, lines: Goods, wanted: tuple[int, int, int]
) -> None:
    found = await card_of(database_url, payload(1, services=lines, paid_full=1))
    visit, names = found["visit"], ("services_amount", "list_amount")
    assert (*(visit[name] for name in names), visit["paid"]) == wanted
    assert (*(found[name] for name in names), found["total_spent"]) == wanted


async def test_cancelled_records_have_no_list_price(database_url: str) -> None:
    found = await card_of(database_url, payload(1, services=[MEMBERSHIP]), payload(2, services=[MEMBERSHIP], deleted=True))
    assert (found["visit"]["list_amount"], found["list_amount"]) == (2500, 2500)


OLD_LINES: tuple[tuple[Any, list[Any]], ...] = (
    ([MEMBERSHIP, {**SERVICE, "first_cost": "2 000,50"}], [2500, Decimal("2000.50")]),
    ([{}, None, MEMBERSHIP, [], SERVICE], [2500, None]),  # only what is a line has a position
    ({"0": SERVICE, "2": MEMBERSHIP, "10": {**SERVICE, "first_cost": 3}}, [None, 2500, 3]),
    (MEMBERSHIP, [2500]),
    ([{**SERVICE, "first_cost": "даром"}], [None]),
    ("", []),
)  # fmt: skip


async def test_the_migration_fills_in_the_list_price_of_what_is_stored_and_keeps_what_was_built_on_the_views(
    database_url: str,
) -> None:
    await asyncio.to_thread(make_schema, database_url)
    connection = await asyncpg.connect(database_url)
    for statement in profiles.BEFORE:
        await connection.execute(statement)
    views = sql.read("migrations/0004_views.sql").replace("@schema_literal", "yclients")
    await connection.execute(views.replace("@schema", "yclients"))
    await connection.execute("insert into yclients.schema_migrations (version, file) values (4, '0004_views.sql')")
    await connection.execute("create view public.mine as select id, total_spent from yclients.client_profiles")
    await connection.execute("create role ycsync_reads_money; grant select on yclients.visits to ycsync_reads_money")
    await _client(connection)
    zone = ZoneInfo("Europe/Moscow")
    for place, (lines, _) in enumerate(OLD_LINES):
        (record,) = parse_records(CompanyId(SALON), [json.dumps(payload(1, services=lines), default=float).encode()], zone).rows
        await _store(connection, place + 1, (([],),), place + 1, services=lines)
        await connection.executemany(
            "insert into yclients.record_services (company_id, record_id, position, title, amount, unit_cost, cost) "
            "values ($1, $2, $3, $4, $5, $6, $7)",
            [(SALON, place + 1, one.position, one.title, one.amount, one.unit_cost, one.cost) for one in record.services],
        )
    await asyncio.to_thread(make_schema, database_url)
    rows = await connection.fetch("select record_id, first_cost from yclients.record_services order by record_id, position")
    found: list[list[Any]] = [[row["first_cost"] for row in rows if row["record_id"] == n + 1] for n in range(len(OLD_LINES))]
    assert found == [prices for _, prices in OLD_LINES]
    assert await connection.fetchval("select count(*) from public.mine") == 1
    options = "select count(*) from pg_class where relname in ('visits', 'client_profiles') and reloptions is not null"
    assert await connection.fetchval(options) == 2
    assert await connection.fetchval("select has_table_privilege('ycsync_reads_money', 'yclients.visits', 'select')")
    await connection.execute("drop owned by ycsync_reads_money; drop role ycsync_reads_money")
    await connection.close()
