"""Where is a day cut that holds more visits than a page? By the dates on which its visits were made.

That date never changes, so a visit that stands still stands in one of the ranges all the time, as with the windows of session
dates; the first range has no beginning and the last no end, so every visit is in one, whatever zone the server reckons in.
Everything here is pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

_DAY = timedelta(days=1)


def cuts(made: Sequence[date], total: int, most: int) -> tuple[date, ...]:
    """The last date of each range but the last one, so that no range is expected to hold more than `most` visits.

    `made`: the dates of the visits that one page showed, of `total`. Each range is asked a day longer than it is, in case the
    server takes its end for the day's first instant. Empty: they were all made on one date.
    """
    counts = Counter(made)
    days = sorted(counts)
    if len(days) < 2:
        return ()
    scale = max(1.0, total / len(made))
    found: list[date] = []
    held = 0.0
    for place, day in enumerate(days):
        rows = counts[day] * scale
        late = counts[day + _DAY] * scale
        if held and held + rows + late > most:
            found.append(days[place - 1])
            held = 0.0
        held += rows
    return tuple(found) or (days[(len(days) - 1) // 2],)
