"""A wrong value in any field that the model reads: is each row read, and rejected only where it cannot be placed?

The fields are taken from the model itself, so that one that is added is tried as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from support.wrong import FIELDS, SECRET, VALUES, wrong_rows
from ycsync.model import (
    CompanyId,
    Parsed,
    parse_clients,
    parse_companies,
    parse_records,
    parse_service_categories,
    parse_services,
    parse_staff,
)
from ycsync.model.odd import ODD_FIELDS
from ycsync.model.page import RawEntity

COMPANY = CompanyId(4001)
ZONE = ZoneInfo("Europe/Moscow")
SAMPLES = Path(__file__).parent / "samples"
PARSERS: dict[str, Callable[[Sequence[bytes]], Parsed[Any]]] = {
    "companies": parse_companies,
    "service_categories": lambda raws: parse_service_categories(COMPANY, raws),
    "services": lambda raws: parse_services(COMPANY, raws),
    "staff": lambda raws: parse_staff(COMPANY, raws),
    "clients": lambda raws: parse_clients(COMPANY, raws, ZONE),
    "records": lambda raws: parse_records(COMPANY, raws, ZONE),
}
ROWS = {
    "null": b"null", "number": b"7", "text": b'"text"', "list": b"[]", "empty": b"{}", "true": b"true", "NaN": b"NaN",
    "nested lists": b"[" * 5000 + b"]" * 5000, "nested value": b'{"id":1,"x":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "id twice": b'{"id":1,"id":2}', "cut": b'{"id":1', "nothing": b"", "no text": b"\xff\xfe", "bad key": b'{"id":1,"\xff":2}',
    "huge id": b'{"id":' + b"9" * 5000 + b"}", "id with exponent": b'{"id":1e400}',
}  # fmt: skip
FILES = {"service_categories": "service-categories"}
PLACING = {"id", "date", "datetime"}  # what places a row: its id, and a record's visit date


def good_row(table: str) -> dict[str, Any]:
    rows = json.loads((SAMPLES / f"{FILES.get(table, table)}.json").read_text("utf-8"))["data"]
    row: dict[str, Any] = dict(rows[0])
    return row


def test_every_struct_of_the_model_is_tried() -> None:
    read = {field for kind in RawEntity.__subclasses__() for field in kind.__struct_fields__}
    tried = {field.split(".")[0] for fields in FIELDS.values() for field in fields}
    assert read == tried


@pytest.mark.parametrize("table", list(PARSERS))
def test_a_wrong_value_costs_at_most_its_own_row(table: str) -> None:
    good = good_row(table)
    cases = list(wrong_rows(table, good, 10_000))
    assert len(cases) >= len(VALUES) * 3
    raws = [raw for _, _, raw in cases]
    neighbour = json.dumps({**good, "id": 1}).encode()
    parsed = PARSERS[table]([neighbour, *raws, neighbour.replace(b'"id": 1', b'"id": 2')])
    assert {1, 2} <= {row.id for row in parsed.rows}
    # Each row is somewhere: under its id, or, where the id itself was spoiled, as a reject.
    stored = {row.id for row in parsed.rows}
    rejected = {reject.entity_id for reject in parsed.rejects}
    for field, number, _ in cases:
        if field not in PLACING:
            assert number in stored, (field, number)
        elif field != "id":
            assert number in stored or str(number) in rejected, (field, number)
    assert {reject.reason.partition(":")[0] for reject in parsed.rejects} <= {"id", "row", "starts_at"}
    assert len(stored) + len(parsed.rejects) >= parsed.seen - len(VALUES)  # wrong ids may be right ones, or equal
    for reject in parsed.rejects:
        assert SECRET not in reject.reason
        json.loads(reject.payload)
        assert "\\u0000" not in reject.payload.replace("\\\\", "")


@pytest.mark.parametrize("table", list(PARSERS))
def test_what_a_row_calls_odd_is_empty_in_it(table: str) -> None:
    empty = (None, "", (), "[]", False)
    odd: set[str] = set()
    for row in PARSERS[table]([raw for _, _, raw in wrong_rows(table, good_row(table), 10_000)]).rows:
        for column in row.odd:
            odd.add(column)
            if "." not in column and column not in ("active", "services"):  # those are true, and what is left of the list
                assert getattr(row, column) in empty, column
    stream, prefix = ("services", f"{table}.") if table == "service_categories" else (table, "")
    assert {(stream, f"{prefix}{column}") for column in odd} == {
        one for one in ODD_FIELDS if one[0] == stream and one[1].startswith(prefix) and (prefix or "categories." not in one[1])
    }


@pytest.mark.parametrize("table", list(PARSERS))
def test_one_page_of_wrong_rows_is_read_as_each_row_alone(table: str) -> None:
    cases = list(wrong_rows(table, good_row(table), 10_000))
    together = PARSERS[table]([raw for field, _, raw in cases if field != "id"])
    stored = {row.id for row in together.rows}
    for field, number, raw in cases:
        if field == "id":
            continue
        alone = PARSERS[table]([raw])
        assert len(alone.rows) + len(alone.rejects) == 1, (field, number)
        assert bool(alone.rows) == (number in stored), (field, number)


@pytest.mark.parametrize("table", list(PARSERS))
@pytest.mark.parametrize("raw", ROWS.values(), ids=list(ROWS))
def test_a_row_that_is_none_is_a_reject(table: str, raw: bytes) -> None:
    parsed = PARSERS[table]([raw, json.dumps({**good_row(table), "id": 5}).encode()])
    assert 5 in {row.id for row in parsed.rows}
    assert len(parsed.rows) + len(parsed.rejects) == 2
    for reject in parsed.rejects:
        json.loads(reject.payload)
