"""Which instant or day does a text of the API name?

`date` is naive and salon-local; `datetime`, `create_date` and `last_change_date` carry an offset, with a
colon or without. `0000-00-00…`, and `-0001-11-30…` (PHP's way to print it), mean nothing.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from ycsync.model.values import FieldError, is_empty

_NOTHING = ("0000-00-00", "-0001-11-30")


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


def as_session(local: Any, stamped: Any, zone: ZoneInfo) -> tuple[datetime, date] | None:
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


def zone_name(name: Any, zone: Any) -> str:
    """A company's IANA zone: `timezone_name`, else `timezone` (a name, or whole hours east), else UTC."""
    for value in (name, zone):
        if isinstance(value, str) and is_zone(value.strip()):
            return value.strip()
    if isinstance(zone, str):
        try:
            zone = int(zone)
        except ValueError:
            return "UTC"
    if isinstance(zone, bool) or not isinstance(zone, (int, Decimal)):
        return "UTC"
    if not -12 <= zone <= 14 or zone != int(zone):
        return "UTC"
    hours = int(zone)
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"  # the sign of Etc/ names is turned round (POSIX)
