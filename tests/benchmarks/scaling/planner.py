"""What does a batch ask? The planner of ycsync says so, about salons that are only counts.

`Real` runs plan.cursor, plan.sweep and plan.scan on every batch, answer by answer. `Quick` asks `Real` once for each size of
salon and each kind of reading, and goes by the same rule when a night is due: for simulations with millions of batches.
That both agree, and that `Real` asks as many requests as real passes, is what tests/unit/test_scale.py tries.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from itertools import accumulate
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from benchmarks.scaling.load import DAY, DAYS, HOUR, MONDAY, Place
from ycsync.plan import cursor as cursors
from ycsync.plan import scan as scans
from ycsync.plan import sweep as sweeps
from ycsync.plan.cursor import Cursor
from ycsync.plan.sweep import Answer, Window

IN_FLIGHT = 6  # as sync.batch.CONCURRENCY
COMPANIES_A_PAGE = 200  # as sync.lists
PAST_DAYS, FUTURE_DAYS = 730, 30
LISTS = {"services": (1, 1), "staff": (1,)}


@dataclass(frozen=True, slots=True)
class Asked:
    """A batch: requests that leave together, one group after the other. `proved`: the stream is complete after it."""

    kind: str  # fill, delta, recheck, lists
    groups: tuple[int, ...]
    proved: bool
    cursor: Cursor | None = None


class Planner(Protocol):
    """Decides what a batch of one salon's stream asks."""

    def asked(self, place: Place, stream: str, cursor: Cursor | None, now: int, units: int) -> Asked: ...
    def settle(self, place: Place, stream: str, now: int) -> None: ...


def instant(at: int) -> datetime:
    """An instant of the simulation as the planner takes it."""
    return MONDAY + timedelta(microseconds=at)


@cache
def _spread() -> tuple[float, ...]:
    """Which share of a salon's visits stands up to each day, from PAST_DAYS before today on."""
    level = [
        ((1.0 + 0.5 * age / PAST_DAYS) if age <= 0 else 0.9 * 0.87**age) * DAYS[age % 7]
        for age in range(-PAST_DAYS, FUTURE_DAYS + 1)
    ]
    total = sum(level)
    return tuple(one / total for one in accumulate(level))


class Book:
    """The visits of one salon as counts by day."""

    def __init__(self, visits: int, today: date) -> None:
        self.first = today - timedelta(days=PAST_DAYS)
        self._until = [0, *(round(visits * share) for share in _spread())]
        self.visits = visits

    def _place(self, day: date | None, default: int) -> int:
        return default if day is None else min(max((day - self.first).days, 0), len(self._until) - 1)

    def answer(self, window: Window, size: int, *, changed: bool) -> Answer:
        """What the API shows of a window; with `changed_after` there is little, and it fits a page."""
        if changed:
            return Answer(asked=size, rows=0, distinct=0, total=0)
        low = self._place(window.lo, 0)
        high = (
            len(self._until) - 1 if window.hi is None else min(max((window.hi - self.first).days + 1, 0), len(self._until) - 1)
        )
        low = min(low, high)
        total = self._until[high] - self._until[low]
        rows = min(total, size)
        if rows == 0:
            return Answer(asked=size, rows=0, distinct=0, total=0)
        # The newest come first: the page holds those of the last days.
        oldest = self._day(self._until[high] - rows)
        return Answer(
            asked=size, rows=rows, distinct=rows, total=total, oldest=oldest, newest=self._day(self._until[high] - 1),
            newest_first=True, cut=self._day(self._until[high] - 1 - min(rows - 1, int(sweeps.FILL * rows))),
            after_midnight=window.hi is not None, steady=rows,
        )  # fmt: skip

    def _day(self, place: int) -> date:
        """The day of the visit at this place, from 0."""
        return self.first + timedelta(days=max(0, bisect_left(self._until, place + 1) - 1))


@dataclass(slots=True)
class Real:
    """The planner itself, on every batch."""

    recheck_days: int
    companies: int  # how many salons the list of them holds
    _zones: dict[str, ZoneInfo] = field(default_factory=dict)

    def asked(self, place: Place, stream: str, cursor: Cursor | None, now: int, units: int) -> Asked:
        """The groups of requests of one batch, and the cursor after it."""
        if stream == "companies":
            return Asked("lists", (1,) * math.ceil(self.companies / COMPANIES_A_PAGE), True)
        if stream in LISTS:
            return Asked("lists", LISTS[stream], True)
        zone = self._zones.get(place.zone) or self._zones.setdefault(place.zone, ZoneInfo(place.zone))
        at = instant(now)
        begun = cursors.begin(cursor or Cursor(), stream, at, zone, self.recheck_days)
        kind = "fill" if begun.kind == "full" else begun.kind
        read = self._clients if stream == "clients" else self._records
        return read(place, begun, at, zone, units, kind)

    def settle(self, place: Place, stream: str, now: int) -> None:
        """A salon that was filled long ago: its cursor says so."""

    def _records(self, place: Place, cursor: Cursor, at: datetime, zone: ZoneInfo, units: int, kind: str) -> Asked:
        today = at.astimezone(zone).date()
        book: Book | None = None
        groups: list[int] = []
        while units > 0:
            sweep = cursor.sweep
            assert sweep is not None
            sweep, windows = sweeps.hand_out(sweep, (), min(IN_FLIGHT, units), today)
            units -= len(windows)
            groups.append(len(windows))
            for window in windows:
                if window.root:
                    sweep = msgspec.structs.replace(sweep, began=at)
                if sweep.changed_after is None and book is None:
                    book = Book(place.visits, today)
                answer = (book or _NOTHING).answer(window, sweep.size, changed=sweep.changed_after is not None)
                sweep, verdict = sweeps.absorb(sweep, window, answer, today)
                if window.root and verdict is sweeps.Verdict.SPLIT and kind == "fill":
                    groups.append(1)  # the count without dates, see sync.records
                if verdict is sweeps.Verdict.PROBE:
                    groups.append(1)
                    answer = msgspec.structs.replace(answer, next_page_empty=answer.total == answer.rows)
                    sweep, _ = sweeps.absorb(sweep, window, answer, today)
            cursor = msgspec.structs.replace(cursor, sweep=sweep)
            if sweep.finished:
                cursor, proved = cursors.finish(cursor, "records", at, zone, self.recheck_days)
                if proved is not None:
                    return Asked(kind, tuple(groups), True, cursor)
        return Asked(kind, tuple(groups), False, cursor)

    def _clients(self, place: Place, cursor: Cursor, at: datetime, zone: ZoneInfo, units: int, kind: str) -> Asked:
        groups: list[int] = []
        while units > 0:
            scan = cursor.scan
            assert scan is not None
            pages = scans.asks(scan, min(IN_FLIGHT, units))
            units -= len(pages)
            groups.append(len(pages))
            total = place.clients if scan.changed_after is None else 0
            for page in pages:
                if scan.longest == 0:
                    scan = msgspec.structs.replace(scan, began=at)
                ids = tuple(range(page.start + 1, min(page.start + page.count, total) + 1))
                scan, _ = scans.absorb(scan, page, ids, len(ids), total)
            cursor = msgspec.structs.replace(cursor, scan=scan)
            if scan.done:
                cursor, proved = cursors.finish(cursor, "clients", at, zone, self.recheck_days)
                if proved is not None:
                    return Asked(kind, tuple(groups), True, cursor)
        return Asked(kind, tuple(groups), False, cursor)


def settled(place: Place, stream: str, since: datetime, night: date) -> Cursor:
    """The cursor of a salon that was filled long ago; `night`: the day of its last nightly reading."""
    longest = min(place.clients, scans.MAX_SIZE) if stream == "clients" else min(place.visits, sweeps.MAX_SIZE)
    return Cursor(kind="delta", since=since, rechecked_on=night, longest=longest, inclusive=stream == "records", dated=True)


_NOTHING = Book(0, date(2026, 3, 2))


@dataclass(slots=True)
class Quick:
    """The same, looked up: what `Real` asks of a salon of about this size."""

    real: Real
    hour: int = cursors.RECHECK_HOUR
    _known: dict[tuple[str, str, int, int], tuple[Asked, ...]] = field(default_factory=dict)
    _left: dict[tuple[int, str], list[Asked]] = field(default_factory=dict)
    _night: dict[tuple[int, str], int] = field(default_factory=dict)  # the local day of the last reading of the past

    def asked(self, place: Place, stream: str, cursor: Cursor | None, now: int, units: int) -> Asked:
        """The groups of requests of one batch; `cursor` is not looked at, and not given."""
        if stream == "companies" or stream in LISTS:
            return self.real.asked(place, stream, None, now, units)
        key = place.company, stream
        batches = self._left.pop(key, None)
        if batches is None:
            local = now + place.ahead * HOUR
            today, since = local // DAY, self._night.get(key)
            if since is None:
                kind, self._night[key] = "fill", today
            elif since < today and local % DAY >= self.hour * HOUR:
                kind, self._night[key] = "recheck", today
            else:
                return _DELTA
            batches = list(self._of_size(place, stream, kind, now, units))
        if len(batches) > 1:
            self._left[key] = batches[1:]
        elif batches[0].kind == "fill":
            self._night[key] = (now + place.ahead * HOUR) // DAY
        return batches[0]

    def settle(self, place: Place, stream: str, now: int) -> None:
        """A salon that was filled long ago, and whose last night is done."""
        self._night[place.company, stream] = (now + (place.ahead - self.hour) * HOUR) // DAY

    def _of_size(self, place: Place, stream: str, kind: str, now: int, units: int) -> tuple[Asked, ...]:
        rows = place.clients if stream == "clients" else place.visits
        size = round(50 * math.log(max(rows, 1)))  # within one per cent
        key = stream, kind, size, units
        if key not in self._known:
            about = max(1, round(math.exp(size / 50)))
            model = Place(0, about, about, place.ahead, place.zone, 0.0, 0.0)
            cursor = settled(model, stream, instant(now - DAY), date(2000, 1, 1)) if kind == "recheck" else None
            batches: list[Asked] = []
            while not batches or not batches[-1].proved:
                at = now if kind == "fill" else now - (now + place.ahead * HOUR) % DAY + 12 * HOUR
                batches.append(self.real.asked(model, stream, cursor, at, units))
                cursor = batches[-1].cursor
            self._known[key] = tuple(Asked(one.kind, one.groups, one.proved) for one in batches)
        return self._known[key]


_DELTA = Asked("delta", (1,), True)
