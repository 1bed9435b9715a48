"""Which ranges of dates hold the visits to check with the fewest requests? Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta

DAY = timedelta(days=1)


def spans(days: Collection[date], rows: Mapping[date, int], room: int, beyond: int) -> tuple[tuple[date, date], ...]:
    """Return ranges of dates (first, last) that hold all of `days`; each has at most `room` rows, or is one day.

    `rows`: how many each day has. `beyond`: so many days after a range are asked with it, and counted.
    """
    found: list[tuple[date, date]] = []
    known = sorted(rows)
    place = held = 0  # of `known`, the next day that is not in `held`: the rows of the range under way
    for day in sorted(set(days)):
        ahead, more = place, 0
        while ahead < len(known) and known[ahead] <= day + beyond * DAY:
            more += rows[known[ahead]]
            ahead += 1
        if found and held + more <= room:
            found[-1] = (found[-1][0], day)
            held, place = held + more, ahead
        else:
            found.append((day, day))
            held = sum(rows.get(day + number * DAY, 0) for number in range(beyond + 1))
            place = ahead
    return tuple(found)
