"""When is a full day read to its end? Where rows that were counted at one instant were all shown since, unchanged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from ycsync.api import Page, Request
from ycsync.model import Parsed
from ycsync.plan import sweep as sweeps
from ycsync.plan.sweep import Sweep, Verdict, Window
from ycsync.sync.windows import Placed, WindowsBatch

DAY = date(2026, 11, 2)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=9)
SIZE = 25
SEEDS = range(150)


@dataclass
class Visit:
    id: int
    changed_at: datetime | None = LONG_AGO
    staff: int = 1


def parsed(rows: Sequence[Visit]) -> Parsed[Visit]:
    found = {row.id: row for row in rows}
    return cast(Parsed[Visit], SimpleNamespace(rows=list(found.values()), ids=list(found), seen=len(found), rejects=()))


class Read(WindowsBatch[Visit]):
    """Pages of a day's visits in random order; `counted`: what the server says of `visits` visits; `pages`: how many came."""

    def __init__(self, visits: list[Visit], *, less: int = 0, seed: int = 0, shuffled: bool = True) -> None:
        self.visits, self.less, self.random, self.shuffled = visits, less, random.Random(seed), shuffled
        self.pages = 0
        batch = SimpleNamespace(zone=ZoneInfo("Europe/Moscow"), now=lambda: NOON, reread=0, company=1)
        self.batch, self.stream = cast(Any, batch), "records"
        sweep = Sweep(began=NOON - timedelta(minutes=9), total=500, size=SIZE, longest=SIZE, inclusive=True, planned=True)
        self.cursor = cast(Any, SimpleNamespace(sweep=sweep))

    def request(self, window: Window, sweep: Sweep, page: int) -> Request:
        return cast(Request, page)

    def parse(self, rows: Sequence[bytes]) -> Parsed[Visit]:
        return parsed(cast(Sequence[Visit], rows))

    def place(self, row: Visit) -> Placed:
        return Placed(DAY, datetime(2026, 11, 2, 9, tzinfo=UTC), row.staff, None, DAY)

    async def _read(self, request: Request, *, delta: bool = False) -> tuple[Page, Parsed[Visit]]:
        number = cast(int, request)
        self.pages += 1
        if self.shuffled:
            self.random.shuffle(self.visits)
        rows = tuple(self.visits[(number - 1) * SIZE : number * SIZE])
        at = NOON + timedelta(seconds=self.pages)
        page = Page(at, cast(Any, rows), len(self.visits) - self.less, at + timedelta(seconds=0.5), 0.5)
        self.turn(number)
        return page, parsed(rows)

    def turn(self, number: int) -> None:
        """What happens after a page."""

    async def settled(self) -> set[int]:
        _, rows, _ = await self._settled(Window(lo=DAY, hi=DAY, paged=True), self.sweep)
        return set(rows.ids)


async def test_a_day_in_random_order_that_stands_still_is_read_whole_and_no_longer_than_until_its_count_is_reached() -> None:
    pages = 0
    for seed in SEEDS:
        read = Read([Visit(n) for n in range(60)], seed=seed)
        assert await read.settled() == set(range(60)), seed
        pages += read.pages
    assert pages / len(SEEDS) < 3 * 6


async def test_one_that_leaves_before_it_was_shown_costs_little_as_a_later_count_is_without_it() -> None:
    class Leaving(Read):
        def turn(self, number: int) -> None:
            if self.pages == 1:
                self.visits.pop()

    pages = 0
    for seed in SEEDS:
        read = Leaving([Visit(n) for n in range(60)], seed=seed)
        left = await read.settled()
        assert left >= {visit.id for visit in read.visits}, seed
        pages += read.pages
    assert pages / len(SEEDS) < 3 * 7


async def test_one_that_leaves_after_it_was_shown_does_not_stand_for_one_that_never_was() -> None:
    class Leaving(Read):
        def turn(self, number: int) -> None:
            if self.pages == 3:
                self.visits.pop(0)  # of those that page 1 of this reading would have shown: most were shown by now

    for seed in SEEDS:
        read = Leaving([Visit(n) for n in range(60)], seed=seed)
        assert await read.settled() >= {visit.id for visit in read.visits}, seed


async def test_one_that_comes_does_not_stand_for_one_that_never_was_shown() -> None:
    class Coming(Read):
        def turn(self, number: int) -> None:
            if self.pages == 3:
                self.visits.append(Visit(100 + self.pages, NOON + timedelta(seconds=self.pages)))

    for seed in SEEDS:
        read = Coming([Visit(n) for n in range(60)], seed=seed)
        assert await read.settled() >= set(range(60)), seed


async def test_a_count_that_was_exceeded_ends_no_reading() -> None:
    """As many as it says are shown before all are, and a later count starts with none again."""
    for seed in SEEDS:
        read = Read([Visit(n) for n in range(60)], less=8, seed=seed)
        assert await read.settled() == set(range(60)), seed


async def test_what_has_just_changed_is_known_by_what_an_earlier_reading_showed() -> None:
    read = Read([Visit(n, NOON + timedelta(hours=1)) for n in range(60)], shuffled=False)
    assert await read.settled() == set(range(60))
    assert read.pages == 3 * 2


@pytest.mark.parametrize(("late_s", "done"), [(-3, True), (0, False), (1, False)])
async def test_a_row_that_came_in_the_second_of_the_count_does_not_stand_for_one_that_was_not_asked_for(
    late_s: int, done: bool
) -> None:
    """Two masters are on the page that was counted, a third is not: 39 rows and one that came are as many as were counted."""
    read = Read([])
    visits = [Visit(n, staff=1 + n % 2) for n in range(39)]
    window = Window(lo=DAY, hi=DAY)
    at = NOON + timedelta(seconds=0.4)  # the server's clock; it looked 0.1 s later, and answered at 12:00:01
    page = Page(at, (), 40, NOON + timedelta(seconds=1), 0.6)
    sweep = Sweep(**{**_fields(read.sweep), "pending": (window,), "by_creation": False, "started": True})
    sweep, verdict = sweeps.absorb(sweep, window, read._answer(window, sweep, page, parsed(visits[:SIZE])), DAY)
    assert verdict is Verdict.SPLIT
    visits.append(Visit(99, NOON + timedelta(seconds=late_s)))
    later = Page(NOON + timedelta(seconds=2), (), None, NOON + timedelta(seconds=2))
    for piece in sweep.pending:
        own = [visit for visit in visits if visit.staff == piece.staff_id]
        count = Page(later.observed_at, (), len(own), later.server_time)
        sweep, _ = sweeps.absorb(sweep, piece, read._answer(piece, sweep, count, parsed(own)), DAY)
    assert sweep.finished is done


def _fields(sweep: Sweep) -> dict[str, Any]:
    return {name: getattr(sweep, name) for name in sweep.__struct_fields__}
