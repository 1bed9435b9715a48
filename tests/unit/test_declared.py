"""Is every row of a declared stream read or rejected, whatever stands in it, and is each column what its declaration says?"""

from __future__ import annotations

import copy
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from support.wrong import SECRET, VALUES, spoiled
from ycsync.model import decode_envelope
from ycsync.model.declared import parse_declared, staff_day
from ycsync.model.streams import DECLARED, GOODS, GOODS_OPERATIONS, SCHEDULES, TRANSACTIONS
from ycsync.model.times import UNKNOWN
from ycsync.model.values import FieldError

SAMPLES = Path(__file__).parent / "samples"
FILES = {
    "schedules": "schedule", "goods": "goods", "goods_operations": "storage-transactions", "transactions": "transactions",
}  # fmt: skip
ZONE = ZoneInfo("Asia/Vladivostok")


def rows(stream: str) -> list[Any]:
    parsed = parse_declared(DECLARED[stream], decode_envelope((SAMPLES / f"{FILES[stream]}.json").read_bytes()).rows, ZONE)
    assert not parsed.rejects
    return list(parsed.rows)


def test_a_good_is_known_by_its_own_key_and_keeps_money_exact() -> None:
    first, second = rows("goods")
    assert (first.id, first.cost, first.actual_cost, first.category_id) == (41, Decimal(500), Decimal("300.50"), 7)
    assert (second.title, second.category_id, second.unit, second.amounts) == ("Масло", None, "", "[]")


def test_an_operation_names_what_is_inside_of_objects() -> None:
    first, second = rows("goods_operations")
    assert (first.good_id, first.storage_id, first.staff_id, first.client_id, first.record_id) == (
        41,
        1,
        901,
        70001,
        1900000001,
    )
    assert first.amount == -1
    assert first.created_at == datetime(2026, 3, 2, 9, 10, tzinfo=UTC)
    assert first.day == date(2026, 3, 2)
    assert (second.client_id, second.good_id, second.unit_cost, second.record_id) == (70002, None, Decimal("1.07"), None)


def test_a_payment_without_an_offset_is_read_in_the_salons_zone() -> None:
    first, second = rows("transactions")
    assert (first.id, first.amount, first.account, first.visit_id) == (4815162342, Decimal(1800), "Карты", 880001)
    assert second.paid_at == datetime(2026, 3, 2, 4, tzinfo=UTC)
    assert (second.day, second.amount, second.client_id) == (date(2026, 3, 2), Decimal("-250.5"), None)


def test_a_payment_in_a_salon_without_a_zone_has_the_offset_of_its_payload() -> None:
    text = b'{"id":1,"amount":1,"date":"2026-03-02 02:30:00","last_change_date":"2026-03-02T10:30:00+0530"}'
    (row,) = parse_declared(DECLARED["transactions"], [text], UNKNOWN).rows
    assert (row.paid_at, row.day) == (datetime(2026, 3, 1, 21, tzinfo=UTC), date(2026, 3, 2))


def test_a_day_of_a_master_has_an_id_of_its_own() -> None:
    first, second, third = rows("schedules")
    assert (first.id, second.id) == (901 * 100_000 + 20516, 901 * 100_000 + 20517)
    assert (first.is_working, second.is_working, third.is_working) == (True, False, True)
    assert json.loads(first.slots)[1] == {"from": "15:00", "to": "23:15"}
    assert len({one.id for one in (first, second, third)}) == 3
    with pytest.raises(FieldError):
        staff_day({"staff_id": 2**62, "date": date(2026, 3, 4)})


def test_days_of_a_request_for_one_master_are_that_masters() -> None:
    raw = b'{"date": "2016-02-04", "is_working": 1, "slots": [{"from": "10:00", "to": "14:00"}]}'
    assert parse_declared(SCHEDULES, [raw], ZONE).rejects
    (row,) = parse_declared(SCHEDULES, [raw], ZONE, staff_id=901).rows
    assert row.staff_id == 901


@pytest.mark.parametrize("stream", list(DECLARED))
def test_a_wrong_value_costs_at_most_its_own_row(stream: str) -> None:
    declared = DECLARED[stream]
    good = json.loads((SAMPLES / f"{FILES[stream]}.json").read_text("utf-8"))["data"][0]
    key = {"goods": "good_id", "schedules": "staff_id"}.get(stream, "id")
    raws: list[bytes] = []
    fields = {path for field in declared.fields for path in field.paths} | {"id", "last_change_date", "deleted"}
    for field in sorted(fields):
        for value in VALUES.values():
            row = spoiled({**copy.deepcopy(good), key: 10_000 + len(raws)}, field, value)
            raws.append(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    neighbours = [json.dumps({**good, key: number}).encode() for number in (1, 2)]
    parsed = parse_declared(declared, [neighbours[0], *raws, neighbours[1]], ZONE)
    placing = {"id", "row", *(field.column for field in declared.fields if field.needed)}
    assert {reject.reason.partition(":")[0] for reject in parsed.rejects} <= placing
    stored = {row.id // 100_000 if stream == "schedules" else row.id for row in parsed.rows}
    assert {1, 2} <= stored
    assert len(stored) + len(parsed.rejects) >= parsed.seen - 2 * len(VALUES)  # wrong ids may be right ones, or equal
    for reject in parsed.rejects:
        assert SECRET not in reject.reason
        json.loads(reject.payload)


@pytest.mark.parametrize(
    ("stream", "missing"),
    [
        (GOODS, "good_id"),
        (GOODS_OPERATIONS, "create_date"),
        (TRANSACTIONS, "date"),
        (SCHEDULES, "date"),
    ],
)
def test_a_row_without_what_it_needs_goes_to_quarantine_whole(stream: Any, missing: str) -> None:
    good = json.loads((SAMPLES / f"{FILES[stream.name]}.json").read_text("utf-8"))["data"][0]
    del good[missing]
    parsed = parse_declared(stream, [json.dumps(good).encode()], ZONE)
    assert not parsed.rows
    (reject,) = parsed.rejects
    assert json.loads(reject.payload) == good


def test_what_does_not_place_a_row_is_null_when_it_cannot_be_read() -> None:
    good = json.loads((SAMPLES / "transactions.json").read_text("utf-8"))["data"][0]
    odd = {"amount": "many", "account": "x", "comment": ["x"], "last_change_date": "x", "deleted": "perhaps"}
    (row,) = parse_declared(TRANSACTIONS, [json.dumps({**good, **odd}).encode()], ZONE).rows
    assert (row.amount, row.account_id, row.account, row.comment, row.changed_at, row.deleted) == (
        None,
        None,
        "",
        "",
        None,
        False,
    )
    assert row.odd == ("account_id", "account", "amount", "comment", "changed_at", "deleted")
    assert json.loads(row.raw)["amount"] == "many"
    del good["amount"]
    (row,) = parse_declared(TRANSACTIONS, [json.dumps(good).encode()], ZONE).rows
    assert (row.amount, row.odd) == (None, ())


def test_only_what_places_a_row_is_needed() -> None:
    for stream in DECLARED.values():
        placing = {"staff_id", stream.dated} if callable(stream.key) else {stream.dated} - {None}
        assert {field.column for field in stream.fields if field.needed} == placing
