"""Does each way to write a day, an instant, a birthday or a time zone come to mean what its column needs?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

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
)

# A machine's first run builds Hypothesis' tables of Unicode, seconds that say nothing about the code.
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=timezone(timedelta(hours=3))).astimezone(UTC)


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
