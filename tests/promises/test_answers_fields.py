"""A wrong value in any field of any row, on real pages: are the neighbours stored, is the row kept, and does it heal?"""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from structlog.typing import FilteringBoundLogger

from support.agree import of_turns
from support.cases import tried
from support.house import assert_equal, encode, expected_rows
from support.turns import Turns, open_turns
from support.wrong import FIELDS, VALUES, spoiled
from ycsync import logs
from ycsync.cli.wording import held
from ycsync.model import CompanyId, Parsed, parse_clients, parse_records
from ycsync.model.odd import ODD_FIELDS
from ycsync.scheduler import runner
from ycsync.service.standing import as_json, judge
from ycsync.simulator import Salon
from ycsync.simulator.lists import category_payload, service_payload, staff_payload
from ycsync.store.report import Report

FIRST = 5_000_000_000  # ids beyond 32 bits


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Few cases, or all."""
    match metafunc.function.__name__:
        case "test_wrong_values_in_lists":
            tried(metafunc, "table", ["services"], ["service_categories", "staff"])
        case "test_a_page_that_is_spoiled_once_heals":
            tried(metafunc, "kind", ["wrong-types", "not-objects"], ["nul", "zero-date", "huge-number", "cp1251"])


def cases(table: str) -> list[tuple[int, str, Any]]:
    """(id, field, wrong value), every field with every value."""
    pairs = [(field, value) for field in FIELDS[table] for name, value in VALUES.items() if not _other_row(table, field, name)]
    return [(FIRST + n, field, value) for n, (field, value) in enumerate(pairs)]


def _other_row(table: str, field: str, name: str) -> bool:
    # jsonb writes 1e308 out in full, which no float compares with. And a real server puts a visit where its date says.
    return name == "1e308" or (table == "records" and field == "date" and name in ("date", "year 9999", "year 0001"))


def put(salon: Salon, table: str, good: dict[str, Any], *, wrong: bool) -> None:
    """Every case as a row of its own; `wrong` false: the same rows, all well."""
    for number, field, value in cases(table):
        row = {**good, "id": number, "last_change_date": f"{salon.today()}T23:00:00+0300"}
        if table == "records":
            day = salon.today() - timedelta(days=number % 400)  # so that no day is too full
            row |= {"date": f"{day} 12:00:00", "datetime": f"{day}T12:00:00+03:00"}
        payload = spoiled(row, field, value) if wrong else row
        if table == "clients":
            salon.put_client(row)
            salon.change_client(number, **payload)
        elif table == "records":
            salon.put_record(row)
            salon.change_record(number, **{key: found for key, found in payload.items() if key != "client_id"})
        else:
            getattr(salon, table)[number] = payload


def odd_fields(rows: dict[tuple[int, str], dict[str, Any]]) -> dict[tuple[str, str], int]:
    """(stream, field) -> rows, of the salon 4001, as the database counts them."""
    return {
        (stream, field): counted["rows"]
        for (company, stream), row in rows.items()
        for field, counted in json.loads(row["odd"]).items()
        if company == 4001
    }


async def open_quarantine(turns: Turns) -> int:
    return sum(1 for *_, resolved in await turns.house.quarantined() if not resolved)


@pytest.mark.parametrize("table", ["clients", "records"])
async def test_wrong_values_in_rows_with_pages(database_url: str, table: str) -> None:
    async with open_turns(database_url, clients=30, visits=60, clients_cap=100, records_cap=200) as turns:
        salon = turns.sim.world.salons[4001]
        good = salon.clients[next(iter(salon.clients))] if table == "clients" else salon.records[next(iter(salon.records))]
        put(salon, table, dict(good), wrong=True)
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        kept = await open_quarantine(turns)
        assert kept == rejected(turns, salon, table) > 20
        placing = ("id:", "row:", "starts_at:") if table == "records" else ("id:", "row:")
        assert all(reason.startswith(placing) for *_, reason, _ in await turns.house.quarantined())
        assert {field for stream, field in odd_fields(await turns.rows()) if stream == table} == {
            field for stream, field in ODD_FIELDS if stream == table
        }
        (await of_turns(turns)).agree(True)
        assert {key: row["failures"] for key, row in (await turns.rows()).items() if row["failures"]} == {}
        # The same again: nothing is kept twice.
        await turns.house.afresh(4001, table)
        await turns.turn()
        assert await open_quarantine(turns) == kept
        put(salon, table, dict(good), wrong=False)
        await turns.turn()
        stored = await turns.house.live(table, 4001)
        assert {number for number, _, _ in cases(table)} <= stored
        # Rows whose id could not be read, or was another row's, are known to be well by a whole reading only.
        await a_while_ago(turns)
        turns.house.tomorrow_night()
        await turns.house.afresh(4001, table)
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        assert await open_quarantine(turns) == 0
        (await of_turns(turns)).agree(True)


async def a_while_ago(turns: Turns) -> None:
    """The server tells its time in whole seconds, so what was seen within this second may have been seen after it."""
    await turns.house.database.execute(
        f"update {turns.house.database.schema}.quarantine set last_seen = last_seen - interval '5 seconds', "
        "first_seen = first_seen - interval '5 seconds'"
    )


def rejected(turns: Turns, salon: Salon, table: str) -> int:
    """How many of the rows that the salon serves the model rejects; equal ones count once."""
    company = CompanyId(salon.id)
    zone = ZoneInfo(salon.company["timezone_name"])
    parsed: Parsed[Any]
    if table == "clients":
        parsed = parse_clients(company, [encode(salon.served_client(one)) for one in salon.clients], zone)
    else:
        parsed = parse_records(company, [encode(salon.served_record(one, consumables=False)) for one in salon.records], zone)
    return len({(reject.entity_id or reject.payload, reject.reason) for reject in parsed.rejects})


async def test_wrong_values_in_lists(database_url: str, table: str) -> None:
    makers = {
        "services": lambda: service_payload(1, "Стрижка", 30, 1000, 3600, []),
        "service_categories": lambda: category_payload(1, "Волосы", []),
        "staff": lambda: staff_payload(1, 4001, "Мастер", "мастер"),
    }
    async with open_turns(database_url, clients=3, visits=3) as turns:
        salon = turns.sim.world.salons[4001]
        turns.sim.options = turns.sim.options.__class__(**{**as_dict(turns.sim.options), "odd": False})
        turns.sim._endpoints.change(turns.sim.options)
        put(salon, table, makers[table](), wrong=True)
        await turns.turn()
        expected = expected_rows(turns.sim, salon)[table]
        assert {number for number in expected if not expected[number].deleted} == await turns.house.live(table, 4001)
        assert await open_quarantine(turns) > 10
        (await of_turns(turns)).agree(True)
        put(salon, table, makers[table](), wrong=False)
        await a_while_ago(turns)
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        assert await open_quarantine(turns) == 0


def as_dict(options: Any) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__slots__}


async def test_a_bad_row_that_is_deleted_in_the_salon_is_settled_by_the_next_whole_reading(database_url: str) -> None:
    async with open_turns(database_url, clients=30, visits=30) as turns:
        salon = turns.sim.world.salons[4001]
        record = next(iter(salon.records))
        salon.change_record(record, date="no date", datetime="")
        await turns.turn()
        assert await open_quarantine(turns) == 1
        salon.purge_record(record)
        await a_while_ago(turns)
        turns.house.tomorrow_night()
        await turns.house.afresh(4001, "records")
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        assert await open_quarantine(turns) == 0


async def test_an_odd_value_keeps_no_row_away_and_is_counted_everywhere(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, object, object]] = []

    def listen(log: FilteringBoundLogger, event: logs.Event, /, **keys: object) -> None:
        if event is logs.ROW_ODD:
            said.append((str(keys["stream"]), keys["fields"], keys["count"]))

    monkeypatch.setattr(runner, "emit", listen)
    async with open_turns(database_url, clients=30, visits=30, odd=False) as turns:
        salon = turns.sim.world.salons[4001]
        await turns.turn()
        before = odd_fields(await turns.rows())
        first, second, third = list(salon.clients)[:3]
        for client in (first, second):
            salon.change_client(client, birth_date="no date", discount="much", name="Anna")
        record = next(iter(salon.records))
        salon.change_record(record, services=[{"id": 5, "title": "x", "cost": "much"}])
        said.clear()
        await turns.turn()
        assert sorted(said) == [("clients", "birth_date 2, discount 2", 4), ("records", "services.cost 1", 1)]
        assert await open_quarantine(turns) == 0
        stored = (await turns.house.stored("clients", 4001))[first]
        assert (stored["name"], stored["birth_date"], stored["discount"]) == ("Anna", None, None)
        assert json.loads(stored["raw"])["birth_date"] == "no date"
        counted = Counter(before)
        counted.update({("clients", "birth_date"): 2, ("clients", "discount"): 2, ("records", "services.cost"): 1})
        # Read again as it was it is not counted again; a row that changed is.
        await turns.house.afresh(4001, "clients")
        await turns.turn()
        assert odd_fields(await turns.rows()) == counted
        salon.change_client(third, birth_date="32.01.1990")
        await turns.turn()
        counted["clients", "birth_date"] += 1
        assert odd_fields(await turns.rows()) == counted
        standing = await Report(turns.house.database).standing("default")
        judged = judge(standing, turns.house.settings)
        told = as_json(standing, judged, turns.house.settings)["odd"]
        assert {(one["stream"], one["field"]): one["rows"] for one in told} == counted
        assert {one["company"] for one in told} == {4001}
        lines = held(standing, judged)
        rows = counted["clients", "birth_date"]
        assert f"unread    clients.birth_date of {rows} rows: null in the table, `raw` keeps the value" in lines
        metrics = turns.overview.metrics.text().decode()
        for (stream, field), count in counted.items():
            assert f'ycsync_odd_values_total{{field="{field}",stream="{stream}"}} {count}.0' in metrics


async def test_a_page_that_is_spoiled_once_heals(database_url: str, kind: str) -> None:
    async with open_turns(database_url, clients=90, visits=200, clients_cap=40, records_cap=80) as turns:
        for match in ("/clients/4001", "/records/4001"):
            for skip in (0, 1, 3):
                turns.sim.fail_next(kind, match=match, skip=skip)
        for match in ("/services", "/service_categories", "/staff", "/companies"):
            turns.sim.fail_next(kind, match=match)
        await turns.turn()
        turns.sim.heal()
        await a_while_ago(turns)
        for stream in ("clients", "records", "services", "staff"):
            await turns.house.afresh(4001, stream)
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        assert await open_quarantine(turns) == 0
        (await of_turns(turns)).agree(True)
