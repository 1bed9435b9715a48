"""Does one value of PHP-shaped JSON come to mean what its column needs?"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ycsync.model.lenient import Lenient
from ycsync.model.phones import normalise_phone
from ycsync.model.times import (
    NO_BIRTHDAY,
    UNKNOWN,
    as_birthday,
    as_day,
    as_instant,
    as_session,
    local_zone,
    zone_key,
    zone_name,
    zone_of,
)
from ycsync.model.values import (
    FieldError,
    add_up,
    as_bool,
    as_id,
    as_int,
    as_money,
    as_optional_id,
    as_text,
)

# A machine's first run builds Hypothesis' tables of Unicode, seconds that say nothing about the code.
_unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=timezone(timedelta(hours=3))).astimezone(UTC)


EXTENSIONS = (
    " ext. 5",
    " Ext 12",
    ";ext=5",
    " доб. 12",
    " (доб.12)",
    " ДОБ 1",
    " вн. 3",
    "x5",
    " x 12",
    "х5",
    " #5",
    "#1234",
    ",5",
    ",,5",
)


@pytest.mark.parametrize(
    ("raw", "phone"),
    [
        ("79990000011", "79990000011"),
        ("+79990000011", "79990000011"),
        ("+7 (999) 000-00-11", "79990000011"),
        ("89990000011", "79990000011"),
        ("8 999 000 00 11", "79990000011"),
        ("9990000011", "79990000011"),
        ("1990000011", "1990000011"),
        ("+12025550100", "12025550100"),
        ("000001", None),
        ("0000001", None),
        ("0912345678", "0912345678"),
        ("123456789012345", "123456789012345"),
        ("1234567890123456", None),
        ("", None),
        ("нет", None),
        ("+", None),
    ],
)
def test_a_phone_is_normalised_for_look_ups(raw: str, phone: str | None) -> None:
    assert normalise_phone(raw) == (phone, False)


@pytest.mark.parametrize(
    ("raw", "phone"),
    [
        ("+84912345678", "84912345678"),
        ("+81312345678", "81312345678"),
        ("+86 131 1234 567", "861311234567"),
        ("+8201012345678", "8201012345678"),
        ("+9607712345", "9607712345"),
        ("+99890123456", "99890123456"),
        (" (+84) 912-345-678", "84912345678"),
        ("тел. +84912345678", "84912345678"),
        ("0049 176 0000000", "491760000000"),
        ("(00) 49 176 0000000", "491760000000"),
        ("0084912345678", "84912345678"),
        ("007 999 000 00 11", "79990000011"),
        ("+0049 176 0000000", "491760000000"),
        ("+8 999 000 00 11", "79990000011"),  # no country has +89
        ("00 8 999 000 00 11", "79990000011"),
        ("+8 495 000 00 11", "84950000011"),  # Vietnam has +84
        ("+1234567", "1234567"),
        ("+123456", None),
        ("+1234567890123456", None),
        ("00123456", None),
        ("0000000000", None),
    ],
)
def test_with_a_plus_or_00_the_digits_are_the_number(raw: str, phone: str | None) -> None:
    assert normalise_phone(raw) == (phone, False)


@pytest.mark.parametrize(
    ("raw", "phone"),
    [
        *(("+1 987-654-3210" + more, "19876543210") for more in EXTENSIONS),
        *(("8 (999) 000-00-11" + more, "79990000011") for more in EXTENSIONS),
        ("+9607712345 ext. 5", "9607712345"),
        ("+960771234#5", None),
        ("+79990000011, +79990000012", None),  # two numbers
        ("8,999,000,00,11", "79990000011"),
    ],
)
def test_an_extension_is_dropped_and_is_no_mask(raw: str, phone: str | None) -> None:
    assert normalise_phone(raw)[0] == phone


@pytest.mark.parametrize(
    "raw",
    [
        "+7999*****11",
        "7999xxxxx11",
        "7999XXX0011",
        "+7999•••••11",
        "7999ххх0011",
        "*",
        "+7 999 ### 00 11",
        "+7999*****11 ext. 5",
        "+7999*****11,5",
        "+7 (999) 000-00-x1",
        "+7 999 000 00 #1",
        "+7 999 x00 00 11",
        "7999000001x1",
        "+79990000011*5",
        "x5",
        "#5",
        "ext. 5",
    ],
)
def test_a_masked_phone_is_no_phone(raw: str) -> None:
    assert normalise_phone(raw) == (None, True)


@_unhurried
@given(st.text())
def test_a_normalised_phone_is_digits_and_stays_as_it_is(raw: str) -> None:
    phone, masked = normalise_phone(raw)
    if phone is not None:
        assert not masked
        assert re.fullmatch("[0-9]{7,15}", phone)
        abroad = phone if phone.startswith("0") else f"+{phone}"  # a plus says that it is whole already
        assert normalise_phone(abroad) == (phone, False)


@_unhurried
@given(st.from_regex("9[0-9]{9}", fullmatch=True))
def test_every_way_to_write_a_russian_number_is_one_phone(ten: str) -> None:
    assert {normalise_phone(prefix + ten)[0] for prefix in ("", "7", "8", "+7", "+7 ", "8-")} == {"7" + ten}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        ("12", 12),
        (" 12 ", 12),
        ("12.0", 12),
        (Decimal("12.0"), 12),
        (2**63 - 1, 2**63 - 1),
        ("007", 7),
    ],
)
def test_an_id_is_a_number_or_its_digits(value: Any, expected: int) -> None:
    assert as_id(value, "id") == expected


@pytest.mark.parametrize(
    "value",
    [0, -1, True, False, None, "", "abc", "1e3", 2**63, str(2**63), Decimal("1.5"), [], {}, [1], "9" * 5000],
)
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^id: not an id$"):
        as_id(value, "id")


@pytest.mark.parametrize("value", [None, 0, "0", "", " ", [], {}, False, Decimal(0)])
def test_an_optional_id_may_be_missing_in_every_way(value: Any) -> None:
    assert as_optional_id(value, "staff_id") is None


@pytest.mark.parametrize(("value", "expected"), [(-1, -1), ("-1", -1), (Decimal("3.0"), 3), ("", None), ([], None)])
def test_a_whole_number(value: Any, expected: int | None) -> None:
    assert as_int(value, "weight") == expected


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, "2147483648", Decimal("1E+20")])
def test_a_number_beyond_its_column_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^weight: out of range$"):
        as_int(value, "weight")


@pytest.mark.parametrize("value", [True, "x", "1,5", Decimal("1.5"), [1], {"a": 1}, "NaN"])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^weight: not a whole number$"):
        as_int(value, "weight")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1800, "1800"),
        (Decimal("0.03"), "0.03"),
        ("1000.00", "1000.00"),
        ("1 250,50", "1250.50"),
        ("1\u00a0250.50", "1250.50"),
        ("-12.5", "-12.5"),
        (".5", "0.5"),
        ("1e3", "1E+3"),
        (0, "0"),
        (10**30, str(10**30)),
    ],
)
def test_money_is_exactly_what_was_written(value: Any, expected: str) -> None:
    assert str(as_money(value, "cost")) == expected


@pytest.mark.parametrize("value", [None, "", " ", [], {}, False])
def test_no_money_is_none(value: Any) -> None:
    assert as_money(value, "cost") is None


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "1,2,3",
        "1.2.3",
        "1_000",
        "abc",
        True,
        [1],
        10**30 + 1,
        -(10**31),
        "1e31",
        Decimal("1e-200"),
    ],
)
def test_what_is_no_money_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^cost: (not a number|out of range)$"):
        as_money(value, "cost")


def test_a_sum_is_not_rounded() -> None:
    assert add_up([Decimal(10**30), Decimal("0.01")]) == Decimal("1000000000000000000000000000000.01")


@pytest.mark.parametrize("value", [True, 1, "1", "true", Decimal("1.0")])
def test_yes(value: Any) -> None:
    assert as_bool(value, "active") is True


@pytest.mark.parametrize("value", [False, 0, "0", "false", Decimal(0)])
def test_no(value: Any) -> None:
    assert as_bool(value, "active", default=True) is False


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_a_missing_flag_has_its_default(value: Any) -> None:
    assert as_bool(value, "active", default=True) is True
    assert as_bool(value, "active") is False


@pytest.mark.parametrize("value", [2, -1, "yes", [0], {"a": 1}, Decimal("0.5")])
def test_what_is_no_flag_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^active: neither yes nor no$"):
        as_bool(value, "active")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        (0, "0"),
        (79990000011, "79990000011"),
        (Decimal("7.9990000011E+10"), "79990000011"),
        (Decimal("1.50"), "1.50"),
        (True, "true"),
        (None, ""),
        (False, ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_a_text(value: Any, expected: str) -> None:
    assert as_text(value, "comment") == expected


def test_a_list_is_no_text() -> None:
    with pytest.raises(FieldError, match=r"^comment: not a text$"):
        as_text(["a"], "comment")


@pytest.mark.parametrize("value", [None, [], {}, "", 0, False, [None, [], {}]])
def test_no_objects(value: Any) -> None:
    read = Lenient()
    assert list(read.objects(value, "services")) == []
    assert read.odd == ()


def test_a_php_list_with_gaps_is_a_list() -> None:
    assert list(Lenient().objects({"0": {"id": 1}, "2": {"id": 3}}, "services")) == [{"id": 1}, {"id": 3}]
    assert list(Lenient().objects({"id": 1}, "services")) == [{"id": 1}]


@pytest.mark.parametrize(("value", "good"), [("text", []), (5, []), (["x", {"id": 1}, 7, [1]], [{"id": 1}])])
def test_of_a_list_what_is_no_object_is_left_out_and_noted(value: Any, good: list[Any]) -> None:
    read = Lenient()
    assert list(read.objects(value, "services")) == good
    assert read.odd == ("services",)


def test_an_unreadable_value_becomes_the_columns_empty_value_and_is_noted_once() -> None:
    read = Lenient()
    assert read.text(["x"], "name") == read.text({"a": 1}, "name") == ""
    assert (read.id("x", "user_id"), read.integer("x", "weight"), read.instant("x", "changed_at")) == (None, None, None)
    assert (read.flag("x", "active", default=True), read.flag("x", "deleted")) == (True, False)
    assert read.money("x", "cost", Decimal(1)) is None
    assert read.money(None, "cost", Decimal(1)) == 1
    assert read.object("x", "position_title") == {}
    assert read.odd == ("name", "user_id", "weight", "changed_at", "active", "deleted", "cost", "position_title")


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T12:00:00+03:00",
        "2026-03-02T12:00:00+0300",
        "2026-03-02T12:00:00.000+03:00",
        "2026-03-02T09:00:00Z",
        "2026-03-02 12:00:00",
        " 2026-03-02 12:00:00 ",
        "2026-03-02T12:00",
    ],
)
def test_every_way_to_write_an_instant(text: str) -> None:
    assert as_instant(text, "changed_at", ZoneInfo("Europe/Moscow")) == NOON


@pytest.mark.parametrize(
    "value",
    [None, "", "0", 0, [], {}, False, "0000-00-00", "0000-00-00 00:00:00", "-0001-11-30T00:00:00+0000"],
)
def test_every_way_to_write_no_date(value: Any) -> None:
    assert as_instant(value, "changed_at") is None
    assert as_day(value, "birth_date") is None


@pytest.mark.parametrize(
    "value",
    [
        "завтра",
        "2026-02-30",
        "2026-13-01 00:00:00",
        "20260302",
        "79990000011",
        "2026-W10-1",
        20260302,
        True,
        ["x"],
        "2026-03-02T12:00:00+99:00",
        "1990-00-00",
        "01.05.1990",
    ],
)
def test_what_is_no_date_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^changed_at: not a date$"):
        as_instant(value, "changed_at")


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+03:00", "9999-12-31T23:59:59-03:00"])
def test_an_instant_beyond_the_calendar_is_refused(value: str) -> None:
    with pytest.raises(FieldError, match=r"^changed_at: out of range$"):
        as_instant(value, "changed_at")


def test_a_day() -> None:
    assert as_day("1990-05-01", "date") == date(1990, 5, 1)
    assert as_day("1990-05-01 00:00:00", "date") == date(1990, 5, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1990-05-01", date(1990, 5, 1)),
        ("1990-05-01 00:00:00", date(1990, 5, 1)),
        ("1970-01-01", date(1970, 1, 1)),  # whether it was meant, only the salon knows
        ("952041600", date(2000, 3, 3)),
        (952041600, date(2000, 3, 3)),
        ("952041601", date(2000, 3, 3)),
        ("-300000000", date(1960, 6, 29)),
        ("86400", date(1970, 1, 2)),
        ("01.02.1990", date(1990, 2, 1)),
        ("1.2.1990", date(1990, 2, 1)),
        ("2000-02-29", date(2000, 2, 29)),
    ],
)
def test_a_birth_date(value: Any, expected: date) -> None:
    assert as_birthday(value, "birth_date") == (expected, expected.month, expected.day)


@pytest.mark.parametrize(
    ("value", "month", "day"),
    [
        ("1900-05-01", 5, 1),
        ("1900-05-01 00:00:00", 5, 1),
        ("1900-02-29", 2, 29),
        ("0000-05-01", 5, 1),
        ("01.02.1900", 2, 1),
    ],
)
def test_a_birthday_without_a_year(value: Any, month: int, day: int) -> None:
    assert as_birthday(value, "birth_date") == (None, month, day)


@pytest.mark.parametrize("value", [None, "", " ", 0, "0", False, [], {}, "0000-00-00", "-0001-11-30 00:00:00"])
def test_no_birthday(value: Any) -> None:
    assert as_birthday(value, "birth_date") == NO_BIRTHDAY


@pytest.mark.parametrize(
    "value",
    [
        "1990-02",
        "1990",
        1990,
        "1990-00-00",
        "0000-05-00",
        "1990-02-30",
        "1900-13-01",
        "32.01.1990",
        "01.02.90",
        "завтра",
        17,
        True,
        "19900501",
        19900501,
        "79990000011",
        "9990000011",
        9990000011,
        "9" * 400,
        10**400,
        ["1990-05-01"],
        "٠١.٠٢.١٩٩٠",
    ],
)
def test_what_is_no_birthday_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^birth_date: not a date$"):
        as_birthday(value, "birth_date")


def test_the_local_date_is_trusted_before_the_offset() -> None:
    session = as_session("2026-03-02 12:00:00", "2026-03-02T12:00:00+05:00", ZoneInfo("Europe/Moscow"))
    assert session == (NOON, date(2026, 3, 2))


def test_without_a_local_date_the_offset_counts() -> None:
    session = as_session("0000-00-00 00:00:00", "2026-03-02T12:00:00+03:00", ZoneInfo("Asia/Tokyo"))
    assert session == (NOON, date(2026, 3, 2))
    assert as_session(None, "", ZoneInfo("Asia/Tokyo")) is None


@pytest.mark.parametrize(
    ("stamped", "hour"),
    [
        ("2026-10-25T02:30:00+02:00", 0),
        ("2026-10-25T02:30:00+0100", 1),
        ("2026-10-25T02:30:00+07:00", 0),
        ("garbage", 0),
        (None, 0),
    ],
)
def test_in_an_hour_shown_twice_the_offset_tells_which(stamped: str | None, hour: int) -> None:
    session = as_session("2026-10-25 02:30:00", stamped, ZoneInfo("Europe/Berlin"))
    assert session == (datetime(2026, 10, 25, hour, 30, tzinfo=UTC), date(2026, 10, 25))


def test_an_hour_that_the_clock_skips_is_after_the_gap() -> None:
    session = as_session("2026-03-29 02:30:00", "2026-03-29T02:30:00+02:00", ZoneInfo("Europe/Berlin"))
    assert session == (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), date(2026, 3, 29))


@pytest.mark.parametrize(
    ("name", "zone", "expected"),
    [
        ("Europe/Moscow", 3, "Europe/Moscow"),
        (None, "Europe/Moscow", "Europe/Moscow"),
        ("Mars/Olympus", "Asia/Tokyo", "Asia/Tokyo"),
        ("", 3, "Etc/GMT-3"),
        (None, "3", "Etc/GMT-3"),
        (None, -5, "Etc/GMT+5"),
        (None, Decimal("3.0"), "Etc/GMT-3"),
        (None, 0, "UTC"),
        (None, Decimal("5.5"), "Asia/Kolkata"),
        (None, "5.5", "Asia/Kolkata"),
        (None, "+05:30", "Asia/Kolkata"),
        (None, "+0530", "Asia/Kolkata"),
        (None, "UTC+5:30", "Asia/Kolkata"),
        ("gmt +05:45", None, "Asia/Kathmandu"),
        (None, Decimal("5.75"), "Asia/Kathmandu"),
        (None, Decimal("6.5"), "Asia/Yangon"),
        (None, Decimal("-9.5"), "Pacific/Marquesas"),
        ("Europe/Moscow", Decimal("5.5"), "Europe/Moscow"),
        ("India Standard Time", 3, "Etc/GMT-3"),
        (None, "-03:30", None),
        (None, Decimal("10.5"), None),
        (None, Decimal("5.51"), None),
        (None, "India Standard Time", None),
        (None, None, None),
        (None, 99, None),
        (None, 330, None),
        (None, "330", None),
        (None, 10**4000, None),
        (None, Decimal("1E+1000000"), None),
        (None, True, None),
        ([], {}, None),
        ("Europe", "localtime", None),
        ("../../etc/passwd", "posix/Europe/Moscow", None),
        ("a/" + "b" * 5000, "9" * 5000, None),
    ],
)
def test_a_companys_zone_is_one_that_exists_or_unknown(name: Any, zone: Any, expected: str | None) -> None:
    assert zone_name(name, zone) == expected
    assert expected is None or ZoneInfo(expected).key == expected


@pytest.mark.parametrize(
    ("stamped", "hours"),
    [(("2026-03-02T10:30:00+0530", "2026-03-02T10:30:00+03:00"), 5.5), ((None, "x", "2026-03-02", "2026-03-02T10:30:00Z"), 0)],
)
def test_where_the_zone_is_unknown_the_first_offset_of_the_payload_counts(stamped: tuple[Any, ...], hours: float) -> None:
    place = local_zone(UNKNOWN, *stamped)
    assert datetime(2026, 3, 2, tzinfo=place).utcoffset() == timedelta(hours=hours)
    moscow = ZoneInfo("Europe/Moscow")
    assert local_zone(moscow, *stamped) is moscow


def test_a_zone_is_kept_by_its_name_and_an_unknown_one_by_none() -> None:
    for zone in (ZoneInfo("Asia/Kolkata"), ZoneInfo("UTC"), UNKNOWN):
        assert zone_of(zone_key(zone)) is zone
