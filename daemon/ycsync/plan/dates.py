"""The dates that are sent for an open end: asked without both, a list may answer a narrow window around today."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, NamedTuple

_PAST: Final = date(2000, 1, 1)  # before YCLIENTS existed
_AHEAD: Final = timedelta(days=5 * 366)  # nobody is booked five years ahead


class Dates(NamedTuple):
    """A first and a last day, salon-local, both inclusive."""

    first: date
    last: date


# The last day but one of the calendar: the day after the last one asked for must exist.
WIDEST: Final = Dates(date(1000, 1, 1), date(9999, 12, 30))


def far(today: date) -> Dates:
    """The dates that stand for "all" on this day of the salon."""
    return Dates(_PAST, today + _AHEAD)


def closed(lo: date | None, hi: date | None, ends: Dates) -> Dates:
    """Both dates of lo…hi (None: open), an open end taken from `ends`, but never beyond the other one."""
    first = ends.first if lo is None else lo
    last = ends.last if hi is None else hi
    return Dates(min(first, last) if lo is None else first, max(first, last) if hi is None else last)
