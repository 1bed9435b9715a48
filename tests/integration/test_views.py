"""Do the views say what the payloads say, whatever these hold, to whom they may, at the price of one client's rows?"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import profiles
from filled import execute, fill, make_schema, values
from support.house import open_salon
from ycsync import sql
from ycsync.errors import ForeignSchema
from ycsync.model.phones import normalise_phone
from ycsync.simulator import Salon
from ycsync.store.database import connect
from ycsync.store.erase import erase_client
from ycsync.store.migrate import migrate

SALON = 4001
LEVELS = (("VIP", 20, 50_000), ("Gold", 10, 20_000), ("Silver", 5, 8_000), ("Bronze", 2, 0))
MIGRATIONS = [file for _, file in sql.migrations() if file.endswith("views.sql")]


# --- what they say, reckoned from the payloads ------------------------------------------------------------------------------


def amount(value: Any) -> Decimal:
    return Decimal(str(value).replace(" ", "").replace(",", "."))


def record(payload: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """One record as a reader of its payload understands it."""
    services = sum((amount(line["cost"]) for line in payload["services"]), Decimal(0))
    payments = [amount(one["amount"]) for one in payload["finance_transactions"]]
    start = datetime.fromisoformat(payload["date"]).replace(tzinfo=zone).astimezone(UTC)
    return {
        "id": int(payload["id"]),
        "live": str(payload["deleted"]) not in ("1", "True"),
        "start": start,
        "end": start + timedelta(seconds=int(payload["seance_length"])),
        "status": {-1: "no_show", 0: "waiting", 1: "came", 2: "confirmed"}[int(payload["attendance"])],
        "staff": int(payload["staff_id"]),
        "titles": [line["title"] for line in payload["services"]],
        "services": services,
        "list": sum((amount(line["first_cost"]) for line in payload["services"]), Decimal(0)),
        "goods": {int(line["id"]): abs(amount(line["cost"])) for line in payload["goods_transactions"]},
        "paid": sum(payments) if payments else services if payload["paid_full"] in (1, True) else Decimal(0),
    }


def visits_of(salon: Salon) -> dict[tuple[int, int | None], dict[str, Any]]:
    """By visit and client: the salon's appointment book."""
    zone = ZoneInfo(salon.company["timezone_name"])
    found: dict[tuple[int, int | None], list[dict[str, Any]]] = defaultdict(list)
    for row_id in salon.records:
        payload = salon.served_record(row_id)
        client = payload["client"]
        found[int(payload["visit_id"]), int(client["id"]) if client else None].append(record(payload, zone))
    return {key: visit(sorted(records, key=lambda one: (one["start"], one["id"]))) for key, records in found.items()}


def visit(records: list[dict[str, Any]]) -> dict[str, Any]:
    live = [one for one in records if one["live"]]
    counted = live or records
    statuses = [one["status"] for one in live]
    return {
        "record_ids": [one["id"] for one in counted],
        "starts_at": min(one["start"] for one in counted),
        "ends_at": max(one["end"] for one in counted),
        "status": next((one for one in ("came", "no_show", "confirmed", "waiting") if one in statuses), "cancelled"),
        "staff_ids": sorted({one["staff"] for one in counted}),
        "services": [title for one in counted for title in one["titles"]],
        **{f"{name}_amount": sum((one[name] for one in live), Decimal(0)) for name in ("services", "list")},
        # Each record repeats the visit's.
        "goods_amount": sum({key: cost for one in records for key, cost in one["goods"].items()}.values()) if live else 0,
        "paid": sum((one["paid"] for one in live), Decimal(0)),
        "came": [one for one in live if one["status"] == "came"],
    }


def profile(visits: dict[int, dict[str, Any]], names: dict[int, str]) -> dict[str, Any]:
    """What the visits of one client come to."""
    came = {key: one for key, one in visits.items() if one["status"] == "came"}
    spent = sum((one["paid"] for one in came.values()), Decimal(0))
    records = sorted((one for v in came.values() for one in v["came"]), key=lambda one: (one["start"], one["id"]), reverse=True)
    titles = dict.fromkeys(title for one in records[:50] for title in one["titles"])
    by_staff: dict[int, tuple[set[int], list[datetime]]] = defaultdict(lambda: (set(), []))
    for key, one in came.items():
        for part in one["came"]:
            by_staff[part["staff"]][0].add(key)
            by_staff[part["staff"]][1].append(part["start"])
    liked = sorted(by_staff.items(), key=lambda item: (-len(item[1][0]), -max(item[1][1]).timestamp(), item[0]))[:3]
    history = sorted(
        (item for item in visits.items() if item[1]["status"] != "cancelled"),
        key=lambda item: (item[1]["starts_at"], item[1]["record_ids"][0]),
        reverse=True,
    )
    return {
        "visit_count": len(came),
        "no_show_count": sum(one["status"] == "no_show" for one in visits.values()),
        "total_spent": spent,
        "services_amount": sum((one["services_amount"] for one in came.values()), Decimal(0)),
        "list_amount": sum((one["list_amount"] for one in came.values()), Decimal(0)),
        "goods_amount": sum((one["goods_amount"] for one in came.values()), Decimal(0)),
        "average_bill": (spent / len(came)).quantize(Decimal("0.01"), ROUND_HALF_UP) if came else None,
        "first_visit_at": min((one["starts_at"] for one in came.values()), default=None),
        "last_visit_at": max((one["starts_at"] for one in came.values()), default=None),
        "last_services": list(titles)[:5],
        "favourite_staff": [{"staff_id": key, "name": names[key], "visits": len(found)} for key, (found, _) in liked],
        "loyalty_level": next((name for name, least, money in LEVELS if len(came) >= least and spent >= money), "New"),
        "visit_history": [
            {
                "visit_id": key,
                "starts_at": one["starts_at"],
                "status": one["status"],
                "services": one["services"],
                "staff": [names[staff] for staff in one["staff_ids"]],
                "services_amount": one["services_amount"],
                "list_amount": one["list_amount"],
                "goods_amount": one["goods_amount"],
                "paid": one["paid"],
            }
            for key, one in history[:50]
        ],
    }


def read(row: asyncpg.Record) -> dict[str, Any]:
    found = dict(row)
    for name in ("favourite_staff", "visit_history"):
        found[name] = json.loads(found[name], parse_float=Decimal)
    for one in found["visit_history"]:
        one["starts_at"] = datetime.fromisoformat(one["starts_at"])
    return found


async def test_profiles_and_visits_say_what_the_salons_payloads_say(database_url: str) -> None:
    async with open_salon(database_url, clients=25, visits=900) as (sim, house):
        salon = sim.world.salons[SALON]
        busiest = max(salon.client_ids(), key=lambda one: len(salon.bookings.ids_of(one)))
        # A visit of three records: one is cancelled, one did not happen, one did.
        first = salon.add_record("2025-03-01 10:00:00", client_id=busiest, attendance=1)
        for attendance, deleted in ((-1, False), (1, True)):
            shared = salon.records[first]["visit_id"]
            salon.add_record("2025-03-01 11:00:00", client_id=busiest, attendance=attendance, visit_id=shared, deleted=deleted)
        dearest = max(salon.known_services, key=lambda one: salon.known_services[one][1])
        for times in (0, 1, 3, 6):  # New, New, Bronze, Silver
            rare = salon.add_client(name="Rare")
            for hour in range(times):
                when = f"2025-04-0{times} 1{hour}:00:00"
                salon.pay_record(salon.add_record(when, client_id=rare, services=[dearest]))
        gone = salon.add_client(name="Nobody")
        salon.add_record("2025-03-02 10:00:00", client_id=gone, attendance=1)
        sold = next(one for one in salon.records.values() if one["goods_transactions"] and one["client"] and not one["deleted"])
        for deleted in (False, True):  # each of three records repeats what was sold
            ids = {"client_id": sold["client"]["id"], "visit_id": sold["visit_id"]}
            salon.add_record(sold["date"], attendance=1, deleted=deleted, **ids)
        assert any(line["cost"] == 0 < line["first_cost"] for one in salon.records.values() for line in one["services"])
        await house.companies()
        await house.cycle(SALON)
        salon.delete_client(gone)
        await house.database.execute("update yclients.clients set deleted_at = now() where id = $1", gone)

        book = visits_of(salon)
        stored = await house.database.fetch("select * from yclients.visits where company_id = $1", SALON)
        assert {
            (row["visit_id"], row["client_id"]): {k: v for k, v in row.items() if k in visit_columns} for row in stored
        } == {key: {name: one[name] for name in visit_columns} for key, one in book.items()}
        assert len(stored) == len(book)

        names = {int(key): one["name"] for key, one in salon.known_staff.items()}
        rows = await house.database.fetch("select * from yclients.client_profiles where company_id = $1", SALON)
        assert {row["id"] for row in rows} == set(salon.client_ids())
        levels = set()
        for row in rows:
            theirs = {key: one for (key, client), one in book.items() if client == row["id"]}
            expected, have = profile(theirs, names), read(row)
            assert {name: have[name] for name in expected} == expected, row["id"]
            levels.add(have["loyalty_level"])
        assert levels == {"VIP", "Gold", "Silver", "Bronze", "New"}
        assert max(len(read(row)["visit_history"]) for row in rows) == 50 < max(row["visit_count"] for row in rows)


visit_columns = (
    "record_ids", "starts_at", "ends_at", "status", "staff_ids", "services", "services_amount", "goods_amount", "paid",
    "list_amount",
)  # fmt: skip


# --- whatever a payload holds -----------------------------------------------------------------------------------------------

SALE = {"amount": -1, "cost": 500}
NO_GOODS: tuple[Any, ...] = (
    None, "", "abc", 0, 7, True, [], {}, [[]], [[SALE]], [None, 1, "x"], {"0": 1}, {"a": {"b": []}},
)  # fmt: skip
NO_COST: tuple[Any, ...] = (
    None, "", "abc", "1,2,3", "--1", "1e999", "1e-", ".", True, [], {}, [1], "9" * 70, "٣", "NaN", "Infinity",
)  # fmt: skip
GOODS: tuple[tuple[Any, int | str], ...] = (
    ([SALE, {"amount": "-2", "cost": "1 250,50"}], "1750.50"),
    ([{"amount": -1, "cost": -500}, {"cost": "+500.0"}], 1000),  # a sale, whatever its sign
    ([SALE, {"amount": 1, "cost": "200"}], 300),  # some of it came back
    ([{"amount": -1, "cost": [], "cost_to_pay": "", "manual_cost": 70}], 70),
    ([{**SALE, "deleted": True}, {**SALE, "deleted": "1"}, {**SALE, "deleted": 0}], 500),
    ({"0": SALE, "2": SALE}, 1000),  # a list of PHP's, with a gap
    (SALE, 500),
    ([{"amount": -1, "cost": "1e3"}, {"cost": "1e-2"}], "1000.01"),
    ([{"amount": {}, "cost": 5}, {"amount": "many", "cost": 5}], 10),
    ([{"cost": Decimal("1E+200")}, SALE], 500),
    *((goods, 0) for goods in NO_GOODS),
    *(([{"cost": cost}], 0) for cost in NO_COST),
)
RAWS = ("null", "[]", "{}", '"text"', "7", '[{"goods_transactions": [1]}]', '{"goods_transactions": 1e400}', '{"staff": "x"}')


def test_no_payload_makes_a_view_fail_and_goods_are_counted_as_far_as_they_are_understood(database_url: str) -> None:
    make_schema(database_url)
    raws = [json.dumps({"goods_transactions": goods}, default=float) for goods, _ in GOODS]

    async def run() -> tuple[list[asyncpg.Record], asyncpg.Record | None]:
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            """insert into yclients.records (company_id, id, visit_id, client_id, starts_at, status, online, comment, cost, raw,
                                             observed_at, staff_id)
            select 4001, n, nullif(n, 9), 1, now() - n * interval '1 day', 'came', false, '', 0, raw::jsonb, now(), 77
            from unnest($1::text[]) with ordinality r(raw, n)""",
            [*raws, *RAWS],
        )
        await connection.execute(
            """insert into yclients.clients (company_id, id, name, surname, patronymic, phone_raw, email, card, comment,
                                             categories, raw, observed_at)
            values (4001, 1, '', '', '', '', '', '', '', '[]', '[]', now())"""
        )
        visits = await connection.fetch("select *, record_ids[1] as n from yclients.visits order by record_ids[1]")
        one = await connection.fetchrow("select * from yclients.client_profiles")
        await connection.close()
        return visits, one

    visits, one = asyncio.run(run())
    wanted = [Decimal(expected) for _, expected in GOODS] + [Decimal(0)] * len(RAWS)
    for row, raw, expected in zip(visits, [*raws, *RAWS], wanted, strict=True):
        assert row["goods_amount"] == expected, raw
    assert one is not None
    assert (one["goods_amount"], one["visit_count"]) == (sum(wanted), len(wanted))
    assert json.loads(one["favourite_staff"]) == [{"staff_id": 77, "name": None, "visits": len(wanted)}]


TYPED = st.lists(
    st.one_of(
        st.sampled_from("0123456789"),
        st.sampled_from("89+ -()*xXхХ×•●·#_…⁎∗.,;=:\n\t٣９||"),
        st.sampled_from(
            ["ext", "Ext. 5", "доб", " ДОБ. 12", "вн", "x5", "#12", ",5", ";ext=5", "+", "00", "+84", "+89", "+7999"]
        ),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    ),
    max_size=150,
).map("".join)
NEAR = st.lists(
    st.sampled_from(["+", "00", "8", "7", "9", "1", "999", "000", "84", "x5", "#1", ",2", "ext", "доб. 3", "*", " ", "\n"])
)


def test_a_phone_is_normalised_in_sql_as_in_the_model(database_url: str) -> None:
    make_schema(database_url)
    known = ["8 (999) 000-00-11", "9990000011", "+7 999 000 00 11", "+7999*****11", "", "+", "12345"]
    known += [
        "+84912345678",
        "+81312345678",
        "+9607712345",
        "0049 176 0000000",
        "+8 999 000 00 11",
        "+0049 176",
        "тел. +84912345678",
    ]
    numbers_before = ("+1 987-654-3210", "8 (999) 000-00-11", "+9607712345", "+960771234", "+7999*****11", "7999000001", "")
    extensions = ("ext. 5", ";ext=5", " доб. 12", "x5", " х 5", "#5", ",5", ",,5", " #1)\n", "#1234567", "x", " вн 1 x2")
    known += [number + more for number in numbers_before for more in extensions]
    known += [
        prefix + digit * count
        for digit in "7890"
        for count in range(5, 17)
        for prefix in ("", "+", "8", "+8-9", "00", "+89", "0 0", "-0")
    ]
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database_url))

        @settings(max_examples=60)
        @given(TYPED, st.lists(NEAR.map("".join), max_size=20), st.lists(st.integers(0, 10**16), max_size=5))
        def agree(typed: str, near: list[str], numbers: list[int]) -> None:
            texts = [
                *known,
                *near,
                *typed.split("|"),
                *map(str, numbers),
                *(f"+{n}" for n in numbers),
                *(f"8 {n}" for n in numbers),
            ]
            query = "select yclients.normalise_phone(t) as phone from unnest($1::text[]) with ordinality u(t, n) order by n"
            rows = runner.run(connection.fetch(query, texts))
            assert [row["phone"] for row in rows] == [normalise_phone(text)[0] for text in texts]

        agree()
        assert runner.run(connection.fetchval("select yclients.normalise_phone(null)")) is None
        runner.run(connection.close())


# --- what a look-up costs ---------------------------------------------------------------------------------------------------


async def test_one_client_costs_that_clients_rows(database_url: str) -> None:
    """Prepared, for a value that is not known yet too: no table that grows is read from one end to the other."""
    await asyncio.to_thread(make_schema, database_url)
    connection = await asyncpg.connect(database_url)
    await profiles.fill(connection, 1_000, 6_000)
    await connection.execute("set plan_cache_mode = force_generic_plan")
    await connection.execute(f"prepare card(text) as {profiles.CARD}")
    await connection.execute(
        "prepare one(bigint, bigint) as select * from yclients.client_profiles where company_id = $1 and id = $2"
    )
    await connection.execute(
        "prepare theirs(bigint, bigint) as select * from yclients.visits where company_id = $1 and client_id = $2"
    )
    for statement in (
        "execute card('8 (999) 0000001')", "execute one(4001, 1)", "execute theirs(4001, 1)", profiles.WHOLE["visits, one day"],
        profiles.CARD.replace("$1", "'89990000001'"),
    ):  # fmt: skip
        plan = "\n".join(row[0] for row in await connection.fetch(f"explain (analyze, costs off, timing off) {statement}"))
        assert "Seq Scan on records" not in plan, plan
        assert "Seq Scan on record_services" not in plan, plan
        assert "Seq Scan on clients" not in plan, plan
        assert "rows=0" not in plan.splitlines()[0], plan
    await connection.close()


async def test_an_erased_client_has_no_profile_and_the_visits_are_nobodys(database_url: str) -> None:
    await asyncio.to_thread(fill, database_url)
    database = await connect(database_url, "yclients", size=1)
    card = "select id, visit_count from yclients.client_profiles where phone = yclients.normalise_phone('8 999 000-00-01')"
    try:
        # One phone, two salons: one row each.
        assert [tuple(row) for row in await database.fetch(card)] == [(70001, 2), (70001, 2)]
        await erase_client(database, SALON, 70001)
        assert len(await database.fetch(card)) == 1
        of_nobody = await database.fetch("select visit_id from yclients.visits where company_id = 4001 and client_id is null")
        assert {11, 12} <= {row["visit_id"] for row in of_nobody}
    finally:
        await database.close()


# --- whom they tell it, and where they stand --------------------------------------------------------------------------------


@pytest.mark.parametrize("least", ["150000", "990000"])  # as on this server, and as on PostgreSQL 14
async def test_who_may_read_no_table_reads_nothing_in_a_view(
    database_url: str, least: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a schema of any name."""
    original = sql.read
    assert [original(file).count("150000") for file in MIGRATIONS] == [1] * len(MIGRATIONS)
    monkeypatch.setattr(
        sql, "read", lambda file: original(file).replace("150000", least) if file in MIGRATIONS else original(file)
    )
    database = await connect(database_url, "Мой 'салон\"", size=1)
    schema = sql.quoted(database.schema)
    role = f"reader_{database_url.partition('test_')[2][:32]}"
    try:
        await migrate(database)
        await database.execute(
            f"insert into {schema}.clients (company_id, id, name, surname, patronymic, phone, phone_raw, email, card, comment, "
            "categories, raw, observed_at) values (4001, 1, '', '', '', '79990000001', '', '', '', '', '[]', '{}', now())"
        )
        await database.execute(
            f"insert into {schema}.records (company_id, id, client_id, starts_at, status, online, comment, cost, raw, "
            "observed_at) values (4001, 1, 1, now(), 'came', false, '', 0, '{}', now())"
        )
        async with database.transaction() as connection:
            await connection.execute(f"create role {role}")
            await connection.execute(f"grant usage on schema {schema} to {role}")
            await connection.execute(f"grant select on all tables in schema {schema} to {role}")
            views = "client_profiles", "visits"
            assert [await connection.fetchval(f"select count(*) from {schema}.{name}") for name in views] == [1, 1]
            await connection.execute(f"set local role {role}")
            assert [await connection.fetchval(f"select count(*) from {schema}.{name}") for name in views] == [0, 0]
            await connection.execute("reset role")
            await connection.execute(f"drop owned by {role}")
            await connection.execute(f"drop role {role}")
    finally:
        await database.close()


def test_a_view_of_somebody_elses_with_that_name_stays(database_url: str) -> None:
    make_schema(database_url)
    execute(
        database_url,
        *profiles.BEFORE,
        "create view yclients.client_profiles as select id, name from yclients.clients",
    )
    with pytest.raises(ForeignSchema, match=r"did not make: client_profiles\."):
        make_schema(database_url)
    assert values(database_url, "select count(*) from yclients.schema_migrations where file like '%views.sql'") == [(0,)]
    execute(database_url, "drop view yclients.client_profiles")
    make_schema(database_url)
    assert values(database_url, "select count(*) from yclients.client_profiles") == [(0,)]
