"""Does a page of raw rows become the rows that it means, and does a bad row stop only itself?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ycsync.model import (
    Client,
    CompanyId,
    Parsed,
    Record,
    RecordService,
    Reject,
    decode_envelope,
    parse_clients,
    parse_companies,
    parse_records,
    parse_service_categories,
    parse_services,
    parse_staff,
)
from ycsync.model.times import UNKNOWN

COMPANY = CompanyId(4564)
ZONE = ZoneInfo("Asia/Tokyo")
TWINS = Path(__file__).parent / "samples"
SHARED = Path(__file__).parents[3] / "shared" / "samples"

Parser = Callable[[Sequence[bytes]], Parsed[Any]]


def _records(raws: Sequence[bytes]) -> Parsed[Record]:
    return parse_records(COMPANY, raws, ZONE)


def _clients(raws: Sequence[bytes]) -> Parsed[Client]:
    return parse_clients(COMPANY, raws, ZONE)


PARSERS: dict[str, Parser] = {
    "client": _clients,
    "record": _records,
    "visit": lambda raws: _records([json.dumps(row).encode() for row in json.loads(raws[0])["records"]]),
    "companies": parse_companies,
    "service-categories": lambda raws: parse_service_categories(COMPANY, raws),
    "services": lambda raws: parse_services(COMPANY, raws),
    # The samples' staff belong to another salon than their records.
    "staff": lambda raws: parse_staff(CompanyId(json.loads(raws[0])["company_id"]), raws),
}


def _parser(path: Path) -> Parser | None:
    return next((parse for name, parse in PARSERS.items() if path.stem.startswith(name)), None)


SAMPLES = [path for folder in (TWINS, SHARED) for path in sorted(folder.glob("*.json"))]


def _twin(name: str) -> tuple[bytes, ...]:
    return decode_envelope((TWINS / name).read_bytes()).rows


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_every_sample_parses_whole(path: Path) -> None:
    body = path.read_bytes()
    envelope = decode_envelope(body)
    data = json.loads(body)["data"]
    assert envelope.success
    assert len(envelope.rows) == (len(data) if isinstance(data, list) else 1)
    parse = _parser(path)
    if parse is None:
        return
    parsed = parse(envelope.rows)
    assert parsed.rejects == ()
    assert parsed.rows
    assert parsed.ids == tuple(row.id for row in parsed.rows)
    if not path.stem.startswith("visit"):
        assert [row.raw.encode() for row in parsed.rows] == list(envelope.rows)


def test_a_full_client_card() -> None:
    raw = _twin("clients.json")[0]
    assert _clients([raw]).rows == (
        Client(
            id=66,  # type: ignore[arg-type]
            name="Ольга",
            phone="79990000011",
            phone_raw="+79990000011",
            email="olga@example.com",
            sex_id=0,
            birth_date=date(1990, 5, 1),
            birth_month=5,
            birth_day=1,
            discount=Decimal(10),
            importance_id=3,
            card="000000415",
            comment="тест",
            categories='[{"id": 3, "title": "VIP", "color": "#ff8800"}]',
            spent=Decimal("71842.50"),
            balance=Decimal("0.00"),
            visit_count=34,
            changed_at=datetime(2020, 2, 1, 8, tzinfo=UTC),
            raw=raw.decode(),
        ),
    )


def test_a_client_card_of_php_shapes() -> None:
    client = _clients(_twin("clients.json")).rows[1]
    assert (client.id, client.phone, client.phone_raw, client.birth_date) == (
        16,
        "79990000012",
        "89990000012",
        None,
    )
    assert (client.categories, client.comment, client.visit_count) == ("[]", "", 3)


def test_a_client_found_by_search_has_that_endpoints_names() -> None:
    client = _clients(_twin("clients.json")).rows[2]
    assert (client.visit_count, client.spent) == (5, Decimal("1250.50"))
    assert client.first_visit_at == datetime(2025, 1, 10, 3, tzinfo=UTC)
    assert client.last_visit_at is None
    assert (client.phone, client.phone_raw, client.phone_masked) == (None, "+7999*****13", True)


def test_a_naive_time_without_a_zone_is_utc() -> None:
    client = parse_clients(COMPANY, [b'{"id":1,"first_visit_date":"2025-01-10 12:00:00"}']).rows[0]
    assert client.first_visit_at == datetime(2025, 1, 10, 12, tzinfo=UTC)


def test_in_a_salon_without_a_zone_times_have_the_offset_of_their_payload() -> None:
    text = (
        b'{"id":1,"date":"2026-03-02 02:30:00","datetime":"2026-03-02T02:30:00+0530","create_date":"2026-03-01 09:00:00",'
        b'"attendance":0,"last_visit_date":"2026-03-02 10:30:00","last_change_date":"2026-03-02T10:30:00+0530"}'
    )
    record, client = parse_records(COMPANY, [text], UNKNOWN).rows[0], parse_clients(COMPANY, [text], UNKNOWN).rows[0]
    assert (record.starts_at, record.session_date) == (datetime(2026, 3, 1, 21, tzinfo=UTC), date(2026, 3, 2))
    assert record.created_at == datetime(2026, 3, 1, 3, 30, tzinfo=UTC)
    assert client.last_visit_at == datetime(2026, 3, 2, 5, tzinfo=UTC)
    nothing = parse_records(COMPANY, [b'{"id":1,"date":"2026-03-02 02:30:00"}'], UNKNOWN).rows[0]
    assert nothing.starts_at == datetime(2026, 3, 2, 2, 30, tzinfo=UTC)


def test_a_salon_that_names_no_zone_is_known_by_that() -> None:
    known, unknown = parse_companies([b'{"id":1,"timezone":"+05:30"}', b'{"id":2,"timezone":"India Standard Time"}']).rows
    assert (known.timezone, known.timezone_known) == ("Asia/Kolkata", True)
    assert (unknown.timezone, unknown.timezone_known) == ("UTC", False)


def test_a_record_with_its_lines() -> None:
    record = _records(_twin("records.json")).rows[0]
    assert record.starts_at == datetime(2019, 1, 16, 18, 30, tzinfo=UTC)
    assert record.starts_at.tzinfo is UTC
    assert record.session_date == date(2019, 1, 17)
    assert (record.visit_id, record.client_id, record.staff_id, record.activity_id) == (
        8263004,
        18936825,
        9,
        None,
    )
    assert (record.duration_s, record.attendance, record.status, record.online) == (3600, 1, "came", False)
    assert (str(record.cost), str(record.paid)) == ("150.30", "150.30")
    assert record.services == (
        RecordService(0, 1, "Маникюр", Decimal(1), Decimal(100), Decimal(0), Decimal(100), Decimal(100)),  # type: ignore[arg-type]
        RecordService(1, 2, "Покрытие", Decimal(2), Decimal("25.15"), Decimal("12.5"), Decimal("50.30")),  # type: ignore[arg-type]
    )


def test_a_walk_in_who_did_not_come() -> None:
    record = _records(_twin("records.json")).rows[1]
    assert (record.client_id, record.status, record.online, record.comment) == (None, "no_show", True, "0")
    assert (record.cost, record.paid, record.activity_id) == (Decimal(0), Decimal(0), 77)


def test_a_deleted_record_is_cancelled() -> None:
    record = _records(_twin("records.json")).rows[2]
    assert (record.deleted, record.status, record.attendance, record.staff_id) == (True, "cancelled", 2, None)


def test_companies() -> None:
    first, second = parse_companies(_twin("companies.json")).rows
    assert (first.id, first.timezone, first.currency, first.active) == (1050, "Europe/Moscow", "р", True)
    assert (second.id, second.timezone, second.active) == (4001, "Asia/Tokyo", False)


def test_services() -> None:
    first, second = parse_services(COMPANY, _twin("services.json")).rows
    assert (first.id, first.category_id, first.price_min, first.weight) == (79067, 4, Decimal("1000.00"), 2)
    assert (first.active, first.duration_s, second.active, second.duration_s) == (True, None, False, 3600)


def test_service_categories() -> None:
    rows = parse_service_categories(COMPANY, _twin("service-categories.json")).rows
    assert [(row.id, row.title, row.weight) for row in rows] == [(345, "Стрижки", 10), (3456, "Маникюр", 9)]


def test_staff() -> None:
    first, second = parse_staff(COMPANY, _twin("staff.json")).rows
    assert (first.position_title, first.fired, first.deleted, first.user_id) == ("Мастер", False, False, None)
    assert (second.position_title, second.fired, second.hidden, second.deleted) == (None, True, True, True)
    assert second.user_id == 501


def _record(**fields: Any) -> Parsed[Record]:
    return _records([json.dumps({"id": 5, "date": "2026-03-02 12:00:00", **fields}).encode()])


@pytest.mark.parametrize(
    ("fields", "paid"),
    [
        ({"paid_full": 1}, "30"),
        ({"paid_full": "1"}, "30"),
        ({"paid_full": 0}, "0"),
        ({}, "0"),
        ({"paid_full": 1, "finance_transactions": []}, "30"),
        ({"paid_full": 1, "services": [{"cost": "odd", "cost_to_pay": 30}]}, "30"),
        ({"paid_full": 1, "finance_transactions": [{"amount": "12,50"}]}, "12.50"),
        ({"paid_full": 0, "finance_transactions": [{"amount": 40}, {"amount": -10}, {"amount": None}]}, "30"),
    ],
)
def test_what_was_paid(fields: dict[str, Any], paid: str) -> None:
    assert str(_record(**{"services": [{"cost": 10}, {"cost": 20}], **fields}).rows[0].paid) == paid


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({"services": [{"cost": "1 800 руб"}, {"cost": 500}]}, "500"),
        ({"services": [{"cost": "abc"}]}, "0"),
        ({"services": "oops"}, "0"),
        ({"services": [{"cost": 500}], "paid_full": "perhaps"}, "500"),
    ],
)
def test_what_was_paid_is_not_known_where_what_it_is_all_of_cannot_be_read(fields: dict[str, Any], cost: str) -> None:
    (row,) = _record(**{"paid_full": 1, **fields}).rows
    assert (str(row.cost), row.paid) == (cost, None)


@pytest.mark.parametrize(
    ("line", "cost"),
    [
        ({"cost": 1, "cost_to_pay": 2, "manual_cost": 3}, 1),
        ({"cost": 0, "manual_cost": 3}, 0),
        ({"cost": None, "cost_to_pay": "2", "manual_cost": 3}, 2),
        ({"manual_cost": 3, "amount": 5}, 3),
        ({"title": "x"}, 0),
    ],
)
def test_the_cost_of_a_line(line: dict[str, Any], cost: int) -> None:
    record = _record(services=[line]).rows[0]
    assert record.services[0].cost == record.cost == Decimal(cost)


NO_PRICES: tuple[Any, ...] = (None, "", [], {}, False, True, "даром", "1,2,3", [5], 10**31)


@pytest.mark.parametrize(
    ("line", "price"),
    [
        ({"first_cost": 2500, "cost": 0, "cost_to_pay": 0, "manual_cost": 2500, "cost_per_unit": 2500, "amount": 1}, "2500"),
        ({"first_cost": "4 000,50", "cost_per_unit": "2000.25", "amount": 2}, "4000.50"),  # the line's, whatever the amount
        ({"first_cost": 0}, "0"),
        ({"cost": 1, "cost_per_unit": 1}, None),
        *(({"first_cost": odd}, None) for odd in NO_PRICES),
    ],
)
def test_the_list_price_of_a_line(line: dict[str, Any], price: str | None) -> None:
    (found,) = _record(services=[{"title": "Маникюр", **line}]).rows
    assert found.services[0].first_cost == (None if price is None else Decimal(price))


@pytest.mark.parametrize("client", [None, [], {}, "", 0, False, {"id": 0}, {"id": None}])
def test_a_walk_in_has_no_client(client: Any) -> None:
    assert _record(client=client).rows[0].client_id is None


def test_a_record_without_a_client_object_may_have_the_clients_id() -> None:
    assert _record(client=[], client_id="7").rows[0].client_id == 7


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"date": None}, "starts_at: missing"),
        ({"date": "0000-00-00 00:00:00"}, "starts_at: missing"),
        ({"date": "завтра"}, "starts_at: not a date"),
        ({"date": "9999-12-31 23:59:59", "datetime": "x"}, None),
        ({"date": "0001-01-01 00:00:00"}, "starts_at: out of range"),
        ({"company_id": 1}, None),  # the salon is the one that was asked; what a payload says of it differs in chains
        ({"company_id": "4564"}, None),
        ({"company_id": 0}, None),
    ],
)
def test_a_record_without_a_date_is_rejected_whole(fields: dict[str, Any], reason: str | None) -> None:
    parsed = _record(**fields)
    if reason is None:
        assert parsed.rejects == ()
        return
    assert parsed.rows == ()
    assert parsed.ids == (5,)
    (reject,) = parsed.rejects
    assert (reject.entity_id, reject.reason) == ("5", reason)
    assert json.loads(reject.payload)["id"] == 5


@pytest.mark.parametrize(
    ("fields", "column", "value"),
    [
        ({"attendance": 5}, "attendance", None),
        ({"attendance": "came"}, "attendance", None),
        ({"seance_length": 2**31}, "duration_s", None),
        ({"visit_id": 2**63}, "visit_id", None),
        ({"staff_id": "secretname"}, "staff_id", None),
        ({"client": {"id": -1}}, "client_id", None),
        ({"client": "secretname"}, "client_id", None),
        ({"services": "secretname"}, "services", ()),
        ({"services": ["secretname"]}, "services", ()),
        ({"finance_transactions": [{"amount": "x"}, {"amount": 5}]}, "paid", None),
        ({"finance_transactions": "x"}, "paid", None),
        ({"comment": {"text": "secretname"}}, "comment", ""),
        ({"deleted": "secretname"}, "deleted", False),
        ({"online": [1]}, "online", False),
        ({"last_change_date": "secretname"}, "changed_at", None),
        ({"create_date": "2026-02-30T00:00:00+0300"}, "created_at", None),
    ],
)
def test_an_odd_value_of_a_record_is_null_and_noted(fields: dict[str, Any], column: str, value: Any) -> None:
    parsed = _record(**fields)
    assert parsed.rejects == ()
    (row,) = parsed.rows
    assert (row.odd, getattr(row, column), row.status) == ((column,), value, "waiting")
    assert json.loads(row.raw) == {"id": 5, "date": "2026-03-02 12:00:00", **fields}
    good = _record().rows[0]
    others = {name for name in Record.__dataclass_fields__ if name not in (column, "odd", "raw")}
    assert {name: getattr(row, name) for name in others} == {name: getattr(good, name) for name in others}


@pytest.mark.parametrize(
    ("line", "odd", "stored"),
    [
        ({"cost": "secretname"}, "services.cost", (1, None)),
        ({"cost": float("nan")}, "services.cost", (1, None)),
        ({"cost": float("inf")}, "services.cost", (1, None)),
        ({"cost": "x", "manual_cost": 70}, "services.cost", (1, 70)),
        ({"amount": 10**31, "cost": 5}, "services.amount", (None, 5)),
    ],
)
def test_an_odd_value_of_a_line_is_null_and_the_other_lines_count(
    line: dict[str, Any], odd: str, stored: tuple[Any, ...]
) -> None:
    (row,) = _record(services=[line, "secretname", {"cost": 30}]).rows
    assert row.odd == ("services", odd)
    assert [(one.amount, one.cost) for one in row.services] == [stored, (1, 30)]
    assert row.cost == 30 + (stored[1] or 0)


@pytest.mark.parametrize(
    ("fields", "column", "value"),
    [
        ({"birth_date": "1990-00-00"}, "birth_date", None),
        ({"birth_date": "1990-02"}, "birth_date", None),
        ({"sex_id": 2**31}, "sex_id", None),
        ({"spent": "1e40"}, "spent", None),
        ({"discount": "NaN"}, "discount", None),
        ({"phone": ["79990000011"]}, "phone", None),
        ({"categories": "VIP"}, "categories", "[]"),
        ({"visits": "many"}, "visit_count", None),
    ],
)
def test_an_odd_value_of_a_client_is_null_and_noted(fields: dict[str, Any], column: str, value: Any) -> None:
    parsed = _clients([json.dumps({"id": 5, "name": "a", **fields}).encode(), b'{"id":6}'])
    assert parsed.rejects == ()
    row, neighbour = parsed.rows
    assert (row.odd, getattr(row, column), row.name, neighbour.odd) == ((column,), value, "a", ())
    assert json.loads(row.raw) == {"id": 5, "name": "a", **fields}


@pytest.mark.parametrize(
    ("birth_date", "known", "month", "day"),
    [
        ("952041600", date(2000, 3, 3), 3, 3),
        ("01.02.1990", date(1990, 2, 1), 2, 1),
        ("1900-05-01", None, 5, 1),
        ("0000-05-01", None, 5, 1),
    ],
)
def test_the_forms_of_a_birthday_are_read(birth_date: str, known: date | None, month: int, day: int) -> None:
    raw = {"id": 1, "name": "A", "phone": "70000000000", "birth_date": birth_date}
    (row,) = _clients([json.dumps(raw).encode()]).rows
    assert (row.birth_date, row.birth_month, row.birth_day, row.odd) == (known, month, day, ())
    assert row.phone == "70000000000"


@pytest.mark.parametrize(
    ("raw", "entity", "reason"),
    [
        (b"null", None, "row: not an object"),
        (b"[]", None, "row: not an object"),
        (b'"text"', None, "row: not an object"),
        (b"{}", None, "id: not an id"),
        (b'{"id":null}', None, "id: not an id"),
        (b'{"id":"abc"}', "abc", "id: not an id"),
        (b'{"id":true}', None, "id: not an id"),
        (b'{"id":0}', "0", "id: not an id"),
        (b'{"id":9223372036854775808}', "9223372036854775808", "id: not an id"),
        (b'{"id":"' + b"x" * 100 + b'"}', "x" * 64, "id: not an id"),
        (b'{"id":5', None, "row: not JSON"),
        (b"\x00\xff", None, "row: not JSON"),
        (b'{"id":5,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", None, "row: nested too deeply"),
    ],
)
def test_a_row_without_an_id_is_rejected(raw: bytes, entity: str | None, reason: str) -> None:
    parsed = _clients([raw, b'{"id":6}'])
    (reject,) = parsed.rejects
    assert (reject.entity_id, reject.reason) == (entity, reason)
    json.loads(reject.payload) if len(raw) < 1000 else None
    assert (parsed.seen, parsed.ids, len(parsed.rows)) == (2, (6,), 1)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"a\u0000b", "ab"),
        (rb"a\ud800b", "a\ufffdb"),
        (rb"a\udc00b", "a\ufffdb"),
        (rb"a\ud83d\u0041", "a\ufffdA"),
        (b"a\xffb", "a\ufffdb"),
        (b"a\xed\xa0\x80b", "a\ufffd\ufffd\ufffdb"),
        (b"a\x01b", "a\x01b"),
    ],
)
def test_a_comment_with_a_bad_character_is_a_comment_still(written: bytes, read: str) -> None:
    raw = b'{"id":1,"comment":"' + written + b'","spent":1.10,"x":1e-5}'
    (client,) = _clients([raw]).rows
    assert client.comment == read
    assert str(client.spent) == "1.10"
    assert json.loads(client.raw) == {"id": 1, "comment": read, "spent": 1.1, "x": 1e-5}
    assert "\\u0000" not in client.raw


@pytest.mark.parametrize(
    "written",
    [
        rb"\ud83d\ude00",
        rb"\\u0000",
        rb"\\\\ud800",
        "😀".encode(),
        rb"#0e1234",
        rb"\u043e\u0442",
        rb"say \"1e9999999\"",
    ],
)
def test_what_jsonb_accepts_is_kept_letter_by_letter(written: bytes) -> None:
    raw = b' {"id": 1, "comment":"' + written + b'", "n": 1e200}'
    assert _clients([raw]).rows[0].raw == raw.decode()


@pytest.mark.parametrize("number", ["1e400000", "-1e-400000", "1E+99999999999999999999", "9" * 140_000, "0." + "1" * 20_000])
def test_a_number_beyond_numeric_becomes_its_text_in_raw(number: str) -> None:
    raw = f'{{"id":1,"sum":{number},"spent":12.50}}'.encode()
    (client,) = _clients([raw]).rows
    assert json.loads(client.raw)["sum"] == number
    assert str(client.spent) == "12.50"
    (odd,) = _clients([f'{{"id":1,"spent":{number}}}'.encode()]).rows
    assert (odd.spent, odd.odd) == (None, ("spent",))


def test_the_last_of_several_rows_with_one_id_counts() -> None:
    parsed = _clients([b'{"id":1,"name":"a"}', b'{"id":2}', b'{"id":"1","name":"b"}'])
    assert [(row.id, row.name) for row in parsed.rows] == [(1, "b"), (2, "")]
    assert (parsed.seen, parsed.ids) == (3, (1, 2))


def test_a_good_row_is_never_lost_to_a_bad_one_of_its_id() -> None:
    good, bad = b'{"id":1,"date":"2026-03-02 12:00:00","comment":"a"}', b'{"id":1,"date":"x"}'
    after = _records([bad, good])
    assert ([row.comment for row in after.rows], after.rejects) == (["a"], ())
    before = _records([good, bad])
    assert [row.comment for row in before.rows] == ["a"]
    assert before.rejects == (Reject("1", "starts_at: not a date", bad.decode()),)
