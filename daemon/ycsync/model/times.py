"""Which instant or day does a text of the API name?

`date` is naive and salon-local; `datetime`, `create_date` and `last_change_date` carry an offset, with a
colon or without. `0000-00-00…`, and `-0001-11-30…` (PHP's way to print it), mean nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from ycsync.model.values import FieldError, is_empty

_NOTHING = ("0000-00-00", "-0001-11-30")
_ISO_DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ].*)?", re.ASCII)
_RUSSIAN_DAY = re.compile(r"(\d\d?)\.(\d\d?)\.(\d{4})", re.ASCII)
_UNIX_TIME = re.compile(r"-?\d{1,10}", re.ASCII)
_MOST_SECONDS = 10**10
_DAY_S = 86_400
_FEWEST_SECONDS = 100_000_000  # a smaller Unix time is taken for one only if it is a whole day
_UNIX_YEARS = range(1901, 2100)  # of a Unix time that may be a birthday: ten digits of a phone are none
_NO_YEAR = ("0000", "1900")  # how YCLIENTS writes a birthday whose year is not known

UNKNOWN: Final = ZoneInfo.no_cache("UTC")
"""Stands for the time zone of a salon that names none; compared by identity. Its clock is UTC's."""

# Offsets that are not whole hours, and the place that has each without summer time today. PostgreSQL reads `+05:30` with the
# sign turned round (POSIX), a name as ZoneInfo does. Others (-03:30, +10:30, +12:45) are unknown: there the clock changes.
_PLACES: Final = {
    210: "Asia/Tehran",
    270: "Asia/Kabul",
    330: "Asia/Kolkata",
    345: "Asia/Kathmandu",
    390: "Asia/Yangon",
    525: "Australia/Eucla",
    570: "Australia/Darwin",
    -570: "Pacific/Marquesas",
}
_OFFSETS: Final = (
    re.compile(r"(?:UTC|GMT)? ?(?P<sign>[+-]?)(?P<hours>[0-9]{1,2})(?:\.(?P<share>[0-9]{1,9}))?", re.IGNORECASE),
    re.compile(r"(?:UTC|GMT)? ?(?P<sign>[+-]?)(?P<hours>[0-9]{1,2}):(?P<minutes>[0-5][0-9])", re.IGNORECASE),
    re.compile(r"(?:UTC|GMT)? ?(?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-5][0-9])", re.IGNORECASE),
)


def _text(value: Any, field: str) -> str | None:
    if value.__class__ is not str:
        if is_empty(value) or value == 0:
            return None
        raise FieldError(f"{field}: not a date")
    text: str = value.strip()
    if text in ("", "0") or text.startswith(_NOTHING):
        return None
    return text


def _read(text: str, field: str) -> datetime:
    # fromisoformat also reads 20260302 and week dates; a phone number must not become a day.
    if len(text) < 10 or text[4] != "-" or text[7] != "-":
        raise FieldError(f"{field}: not a date")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise FieldError(f"{field}: not a date") from None


def as_instant(value: Any, field: str, zone: tzinfo = UTC) -> datetime | None:
    """An instant in UTC; a text without an offset is read in `zone`."""
    text = _text(value, field)
    if text is None:
        return None
    moment = _read(text, field)
    try:
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (OverflowError, ValueError):  # before year 1 or after 9999 once it is in UTC
        raise FieldError(f"{field}: out of range") from None


def as_day(value: Any, field: str) -> date | None:
    """A calendar day. 1970-01-01 stays: whether it was meant, only the salon knows."""
    text = _text(value, field)
    return None if text is None else _read(text, field).date()


class Birthday(NamedTuple):
    """A birthday. `date` is None where its year is not known."""

    date: date | None
    month: int | None
    day: int | None


NO_BIRTHDAY = Birthday(None, None, None)


def as_birthday(value: Any, field: str) -> Birthday:
    """A birthday from `1990-05-01`, `01.05.1990` or a Unix time. Raises FieldError.

    The year 1900 or 0000 means that the year is unknown. A Unix time names the day that it is in UTC.
    1970-01-01 stays: whether it was meant, only the salon knows.
    """
    if value.__class__ is int and 0 < abs(value) < _MOST_SECONDS:
        value = str(value)
    text = _text(value, field)
    if text is None:
        return NO_BIRTHDAY
    if found := _ISO_DAY.fullmatch(text):
        year, month, day = found[1], found[2], found[3]
    elif found := _RUSSIAN_DAY.fullmatch(text):
        year, month, day = found[3], found[2], found[1]
    elif _UNIX_TIME.fullmatch(text):
        return _birthday_of_unix_time(int(text), field)
    else:
        raise FieldError(f"{field}: not a date")
    try:
        if year in _NO_YEAR:
            leap = date(2000, int(month), int(day))  # 29 February is a birthday too
            return Birthday(None, leap.month, leap.day)
        known = date(int(year), int(month), int(day))
    except ValueError:
        raise FieldError(f"{field}: not a date") from None
    return Birthday(known, known.month, known.day)


def _birthday_of_unix_time(seconds: int, field: str) -> Birthday:
    known = date(1970, 1, 1) + timedelta(days=seconds // _DAY_S)
    plausible = abs(seconds) >= _FEWEST_SECONDS or seconds % _DAY_S == 0
    if not plausible or known.year not in _UNIX_YEARS:
        raise FieldError(f"{field}: not a date")
    return Birthday(known, known.month, known.day)


def as_session(local: Any, stamped: Any, zone: tzinfo) -> tuple[datetime, date] | None:
    """When a record starts, in UTC, and its day in the salon; None if neither text says.

    `local` (the API's `date`) is trusted before `stamped` (`datetime`), whose offset has been seen wrong;
    where the clock shows an hour twice, that offset tells which one is meant, if it is one of the two.
    """
    text = _text(local, "starts_at")
    if text is None:
        text = _text(stamped, "starts_at")
        if text is None:
            return None
    moment = _read(text, "starts_at")
    try:
        if moment.tzinfo is not None:
            return moment.astimezone(UTC), moment.astimezone(zone).date()
        wall = moment.replace(tzinfo=zone)
        first, second = wall.utcoffset(), wall.replace(fold=1).utcoffset()
        # In a gap the later offset is the greater one, and fold 0 is what PHP does too.
        if first != second and first is not None and second is not None and first > second:
            wall = wall.replace(fold=int(_offset(stamped) == second))
        return wall.astimezone(UTC), moment.date()
    except (OverflowError, ValueError):
        raise FieldError("starts_at: out of range") from None


def _offset(stamped: Any) -> timedelta | None:
    try:
        text = _text(stamped, "starts_at")
        return None if text is None else _read(text, "starts_at").utcoffset()
    except FieldError:  # it was only to help
        return None


@lru_cache(maxsize=1024)
def is_zone(name: str) -> bool:
    """Whether `name` is a place's time zone, or UTC, that ZoneInfo knows."""
    if "/" not in name and name not in ("UTC", "GMT"):
        return False  # `localtime`, `Factory` and the like depend on the machine
    if name.startswith(("posix/", "right/")):
        return False
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return False
    return True


def zone_name(name: Any, zone: Any) -> str | None:
    """A company's IANA zone: `timezone_name`, else `timezone` (a name, or an offset: 3, 5.5, +05:30); None: unknown."""
    for value in (name, zone):
        if isinstance(value, str) and is_zone(value.strip()):
            return value.strip()
    for value in (name, zone):
        if (minutes := _minutes_east(value)) is None or not -12 * 60 <= minutes <= 14 * 60:
            continue
        if minutes % 60:
            return _PLACES.get(minutes)
        hours = minutes // 60
        return f"Etc/GMT{-hours:+d}" if hours else "UTC"  # the sign of Etc/ names is turned round (POSIX)
    return None


def _minutes_east(value: Any) -> int | None:
    """An offset in minutes: hours as a number or its text, `+05:30`, `UTC+5:30`, `+0530`; None: it is none."""
    if isinstance(value, Decimal) or (value.__class__ is int and -100 < value < 100):
        value = str(value)
    if not isinstance(value, str):
        return None
    for form in _OFFSETS:
        if match := form.fullmatch(value.strip()):
            parts = match.groupdict(default="0")
            minutes = Decimal(f"{parts['hours']}.{parts.get('share', 0)}") * 60 + int(parts.get("minutes", 0))
            if minutes != int(minutes):
                return None
            return -int(minutes) if parts["sign"] == "-" else int(minutes)
    return None


def zone_key(zone: ZoneInfo) -> str:
    """The zone as `sync_status.zone` keeps it: its name, or an empty text where it is unknown."""
    return "" if zone is UNKNOWN else zone.key


def zone_of(key: str) -> ZoneInfo:
    """The inverse of `zone_key`."""
    return ZoneInfo(key) if key else UNKNOWN


def local_zone(zone: tzinfo, *stamped: Any) -> tzinfo:
    """The zone of a payload's times without an offset: `zone`, or where it is unknown the first offset in `stamped`, or UTC."""
    if zone is UNKNOWN:
        for text in stamped:
            if (offset := _offset(text)) is not None:
                return timezone(offset)
        return UTC
    return zone
