"""Ranges of dates that hold the visits to check: none is left out, none is larger than a page, and there are few."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ycsync.plan.moved import spans

FIRST = date(2026, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def held(span: tuple[date, date], rows: dict[date, int], beyond: int) -> int:
    last = span[1] + timedelta(days=beyond)
    return sum(count for one, count in rows.items() if span[0] <= one <= last)


@given(
    days=st.sets(st.integers(0, 60)),
    rows=st.dictionaries(st.integers(0, 62).map(day), st.integers(0, 40)),
    room=st.integers(1, 120),
    beyond=st.integers(0, 1),
)
def test_each_day_is_in_one_range_and_a_range_of_several_fits_a_page(
    days: set[int], rows: dict[date, int], room: int, beyond: int
) -> None:
    wanted = {day(one) for one in days}
    found = spans(wanted, rows, room, beyond)
    assert [sum(lo <= one <= hi for lo, hi in found) for one in wanted] == [1] * len(wanted)
    assert all(held(span, rows, beyond) <= room for span in found if span[0] < span[1])
    for one, other in pairwise(found):
        assert one[1] < other[0]
        assert held((one[0], other[0]), rows, beyond) > room, "the next day fits the range too"


def test_thousands_of_visits_cost_as_many_requests_as_a_reading_of_everything() -> None:
    rows = {day(one): 160 for one in range(730)}
    assert len(spans(rows, rows, 900, 0)) == 146
