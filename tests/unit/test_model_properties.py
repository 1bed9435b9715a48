"""Whatever stands in any field: is every row accounted for, and is everything in a row storable?"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ycsync.model import (
    CompanyId,
    Parsed,
    Reject,
    parse_clients,
    parse_companies,
    parse_records,
    parse_service_categories,
    parse_services,
    parse_staff,
)

# A machine's first run builds Hypothesis' tables of Unicode, seconds that say nothing about the code.
_unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

COMPANY = CompanyId(4001)
ZONE = ZoneInfo("Europe/Berlin")

FIELDS: dict[str, tuple[Callable[[Sequence[bytes]], Parsed[Any]], dict[str, Any]]] = {
    "companies": (
        parse_companies,
        {
            "title": "Салон",
            "timezone": 3,
            "timezone_name": "Europe/Moscow",
            "currency_short_title": "р",
            "active": 1,
        },
    ),
    "service_categories": (
        lambda raws: parse_service_categories(COMPANY, raws),
        {"title": "Маникюр", "weight": "1", "company_id": 4001},
    ),
    "services": (
        lambda raws: parse_services(COMPANY, raws),
        {
            "category_id": "4",
            "title": "Маникюр",
            "booking_title": "",
            "price_min": "1.00",
            "price_max": 2,
            "duration": 3600,
            "discount": 0,
            "active": "1",
            "comment": "",
            "weight": 1,
        },
    ),
    "staff": (
        lambda raws: parse_staff(COMPANY, raws),
        {
            "name": "Анна",
            "specialization": "",
            "position": {"title": "Мастер"},
            "fired": 0,
            "hidden": 0,
            "user_id": 1,
            "status": 0,
            "weight": 1,
            "company_id": 4001,
        },
    ),
    "clients": (
        lambda raws: parse_clients(COMPANY, raws, ZONE),
        {
            "name": "Ольга",
            "surname": "",
            "patronymic": "",
            "phone": "+79990000011",
            "email": "",
            "sex_id": 1,
            "birth_date": "1990-05-01",
            "discount": 10,
            "importance_id": 0,
            "card": "",
            "comment": "",
            "categories": [],
            "spent": 8200,
            "sold_amount": "1.5",
            "balance": 0.5,
            "visits": 5,
            "visits_count": "5",
            "first_visit_date": "2025-01-10 12:00:00",
            "last_visit_date": None,
            "company_id": None,
        },
    ),
    "records": (
        lambda raws: parse_records(COMPANY, raws, ZONE),
        {
            "visit_id": "1",
            "client": {"id": 7},
            "client_id": 7,
            "staff_id": 1,
            "date": "2026-03-02 12:00:00",
            "datetime": "2026-03-02T12:00:00+01:00",
            "seance_length": 3600,
            "length": 3600,
            "attendance": 1,
            "online": True,
            "comment": "",
            "services": [{"id": 1, "title": "x", "cost": 1, "amount": 1, "discount": 0, "cost_per_unit": 1}],
            "finance_transactions": [{"amount": "1.00"}],
            "paid_full": 1,
            "activity_id": 0,
            "create_date": "2026-03-01T09:00:00+0300",
            "deleted": False,
            "company_id": 4001,
        },
    ),
}

_any_text = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    [
        "\x00",
        "\ud800",
        "a\udc00",
        "0000-00-00 00:00:00",
        "9999-12-31 23:59:59",
        "0001-01-01 00:00:00",
        "NaN",
        "1e999999",
        "1e30",
        "-1,5",
        "9223372036854775808",
        "true",
        "+7999*****11",
        "2026-10-25 02:30:00",
        "2026-03-29T02:30:00+0200",
    ]
)
_any_number = st.integers() | st.floats() | st.integers(-(10**400), 10**400) | st.sampled_from([2**31, 2**63, -(2**31)])
_any_json = st.recursive(
    st.none() | st.booleans() | _any_number | _any_text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_any_text, inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "title", "cost", "amount", "discount", "0", "1"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_ids = st.integers(1, 4) | st.sampled_from(["1", "2", 3.0]) | _any_json


@st.composite
def _pages(draw: st.DrawFn, fields: dict[str, Any]) -> list[bytes]:
    def payload() -> Any:
        if draw(st.integers(0, 9)) == 0:
            return draw(_any_json)
        odd = draw(st.lists(st.sampled_from([*fields, "last_change_date", "extra"]), max_size=2, unique=True))
        return {"id": draw(_ids), **fields, **{name: draw(_any_json) for name in odd}}

    def write(value: Any) -> bytes:
        ascii_only = draw(st.booleans())
        return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", errors="surrogatepass")

    return [write(payload()) for _ in range(draw(st.integers(0, 4)))]


def _refuse_constant(name: str) -> Any:
    raise AssertionError(f"jsonb refuses {name}")


def _assert_jsonb(text: str) -> None:
    text.encode()
    value = json.loads(text, parse_constant=_refuse_constant, parse_float=Decimal, parse_int=Decimal)
    _assert_clean(value)


def _assert_clean(value: Any) -> None:
    if isinstance(value, str):
        assert "\x00" not in value
        value.encode()
    elif isinstance(value, Decimal):
        assert value.is_finite()
        assert value.adjusted() < 131_072
    elif isinstance(value, list):
        for item in value:
            _assert_clean(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _assert_clean(key)
            _assert_clean(item)


_SMALL = {
    "birth_month",
    "birth_day",
    "sex_id",
    "importance_id",
    "attendance",
    "duration_s",
    "visit_count",
    "weight",
    "position",
}


def _assert_storable(row: Any) -> None:
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, str):
            _assert_clean(value)
            if field.name in ("raw", "categories"):
                _assert_jsonb(value)
        elif isinstance(value, int):
            bits = 31 if field.name in _SMALL else 63
            assert -(2**bits) <= value < 2**bits
        elif isinstance(value, Decimal):
            assert value.is_finite()
            assert value.adjusted() <= 31
        elif isinstance(value, datetime):
            assert value.tzinfo is UTC
        elif isinstance(value, date):
            assert 1 <= value.year <= 9999
        else:
            assert isinstance(value, tuple)
            for line in value:
                if field.name == "odd":
                    assert re.fullmatch(r"[a-z_.]+", line)
                else:
                    _assert_storable(line)


def _assert_fits(reject: Reject) -> None:
    _assert_jsonb(reject.payload)
    # The field, and one of our own reasons: no value can be part of it.
    assert re.fullmatch(r"[a-z_.]+: [a-zA-Z '0-9,-]+", reject.reason)
    # Only what places a row keeps it from being stored.
    assert reject.reason.startswith(("id:", "row:", "starts_at:"))
    if reject.entity_id is not None:
        assert 0 < len(reject.entity_id) <= 64
        _assert_clean(reject.entity_id)


@pytest.mark.parametrize("stream", FIELDS)
@settings(_unhurried, max_examples=200)
@given(data=st.data())
def test_any_json_in_any_field_is_a_storable_row_or_a_reject(stream: str, data: st.DataObject) -> None:
    parse, fields = FIELDS[stream]
    raws = data.draw(_pages(fields))
    parsed = parse(raws)
    assert parsed.seen == len(raws)
    stored = {row.id for row in parsed.rows}
    named = {int(reject.entity_id or 0) for reject in parsed.rejects if _names(reject, parsed.ids)}
    nameless = [reject for reject in parsed.rejects if not _names(reject, parsed.ids)]
    assert len(stored) == len(parsed.rows)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert stored | named == set(parsed.ids)
    assert len(parsed.ids) + len(nameless) <= len(raws)
    # Each raw row alone: exactly one row or one reject.
    for raw in raws:
        alone = parse([raw])
        assert len(alone.rows) + len(alone.rejects) == 1
    for row in parsed.rows:
        _assert_storable(row)
    for reject in parsed.rejects:
        _assert_fits(reject)


def _names(reject: Reject, ids: tuple[int, ...]) -> bool:
    return not reject.reason.startswith(("id:", "row:")) and reject.entity_id is not None and int(reject.entity_id) in ids


@pytest.mark.parametrize("stream", FIELDS)
def test_the_payload_that_the_fields_are_varied_from_is_good(stream: str) -> None:
    parse, fields = FIELDS[stream]
    parsed = parse([json.dumps({"id": 1, **fields}).encode()])
    assert (len(parsed.rows), parsed.rejects) == (1, ())


@pytest.mark.parametrize("stream", FIELDS)
@_unhurried
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_one_row_or_one_reject(stream: str, raw: bytes) -> None:
    parsed = FIELDS[stream][0]([raw])
    assert len(parsed.rows) + len(parsed.rejects) == 1
    for reject in parsed.rejects:
        _assert_fits(reject)
