"""Which wrong values may stand in which fields? Made from the structs that the model reads with."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from ycsync.model.page import RawEntity

SECRET = "secret-7f3a"  # in every text value, so that a reason that quotes one is found


VALUES: dict[str, Any] = {
    "null": None,
    "text": SECRET,
    "empty": "",
    "blank": "   ",
    "number": 17,
    "zero": 0,
    "negative": -5,
    "fraction": 2.5,
    "true": True,
    "false": False,
    "list": [SECRET],
    "empty list": [],
    "list of lists": [[[1]]],
    "list of numbers": [1, 2],
    "object": {"value": SECRET},
    "empty object": {},
    "object with an id": {"id": {"id": 5}},
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "the word NaN": "NaN",
    "2^31": 2**31,
    "2^63": 2**63,
    "10^400": 10**400,
    "1e308": 1e308,
    "tiny": 1e-300,
    "surrogate": "\ud800" + SECRET,
    "NUL": f"a\x00{SECRET}",
    "long": "x" * 70_000,
    "emoji": "\U0001f9d6‍♀️",
    "date": "2026-03-02 12:00:00",
    "no day": "2026-02-30 12:00:00",
    "zero date": "0000-00-00 00:00:00",
    "year 9999": "9999-12-31 23:59:59",
    "year 0001": "0001-01-01T00:00:00+14:00",
    "odd offset": "2026-03-02T12:00:00+99:99",
    "leap second": "2026-12-31 23:59:60",
}
# Inside of lists and objects that the model looks into.
_INNER = {
    "_RawRecord": (
        "client.id", "services.id", "services.title", "services.amount", "services.cost", "services.cost_per_unit",
        "services.discount", "services.first_cost", "finance_transactions.amount",
    ),
    "_RawStaff": ("position.title",),
}  # fmt: skip
_TABLES = {
    "_RawCompany": "companies",
    "_RawServiceCategory": "service_categories",
    "_RawService": "services",
    "_RawStaff": "staff",
    "_RawClient": "clients",
    "_RawRecord": "records",
}
FIELDS: dict[str, tuple[str, ...]] = {
    _TABLES[kind.__name__]: (*kind.__struct_fields__, *_INNER.get(kind.__name__, ())) for kind in RawEntity.__subclasses__()
}


def spoiled(good: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """A copy of the row with one wrong value."""
    row = copy.deepcopy(good)
    outer, _, inner = field.partition(".")
    if not inner:
        row[outer] = value
    elif outer in ("services", "finance_transactions"):
        lines = row.get(outer) or [{"id": 5, "title": "x", "amount": 1, "cost": 100}]
        lines[0][inner] = value
        row[outer] = lines
    else:
        row[outer] = {**(row.get(outer) or {}), inner: value}
    return row


def wrong_rows(table: str, good: dict[str, Any], first: int) -> Iterator[tuple[str, int, bytes]]:
    """(field, id, row as JSON) for every field and every wrong value; ids count from `first`."""
    number = first
    for field in FIELDS[table]:
        for value in VALUES.values():
            row = spoiled({**good, "id": number}, field, value)
            yield field, number, json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")
            number += 1
