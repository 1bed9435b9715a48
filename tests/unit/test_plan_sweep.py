"""Nothing lost: do windows of session dates read a salon exactly while it changes under them?"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ycsync.plan import sweep as sweeps
from ycsync.plan.sweep import Answer, Sweep, Verdict, Window

TODAY = date(2026, 11, 23)
BEGAN = datetime(2026, 11, 23, 12, tzinfo=UTC)
Page = list[tuple[int, "Visit"]]


@dataclass(slots=True)
class Visit:
    day: date
    staff: int
    at_midnight: bool = False
    changed: int = 0
    note: int = 0

    def state(self) -> tuple[date, int, int]:
        return self.day, self.staff, self.note


@dataclass(slots=True)
class Server:
    """A salon that changes after every request, and answers as the API may."""

    seed: int
    visits: int = 1500
    cap: int = 1000
    changes: int = 3
    newest_first: bool = True
    inclusive: bool = True  # end_date names the last day that is in
    midnight_in: bool = False  # …or its first instant only
    total: str = "true"  # "none", "high", "low" (no larger than the page)
    full_day: int = 0  # visits of one day
    one_staff: bool = False
    midnights: float = 0.02
    random_ties: bool = True
    rows: dict[int, Visit] = field(default_factory=dict)
    now: int = 0
    requests: int = 0
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        for _ in range(self.visits):
            self.add()
        for _ in range(self.full_day):
            self.add(TODAY - timedelta(days=40))

    def some_day(self) -> date:
        if self.rng.random() < 0.03:
            return TODAY + timedelta(days=self.rng.randint(0, 40))
        return TODAY - timedelta(days=int(730 * (1 - self.rng.random() ** 0.7)))

    def add(self, day: date | None = None) -> None:
        staff = 1 if self.one_staff else self.rng.randint(1, 9)
        visit = Visit(day or self.some_day(), staff, self.rng.random() < self.midnights, self.now)
        self.rows[len(self.rows) + 1] = visit

    def change(self) -> None:
        for _ in range(self.changes):
            self.now += 1
            kind = self.rng.random()
            if kind < 0.4 or not self.rows:
                self.add()
                continue
            visit = self.rng.choice(list(self.rows.values()))
            if kind < 0.8:
                visit.day = self.some_day()
            elif kind < 0.9:
                visit.staff = self.rng.randint(1, 9)
            else:
                visit.note += 1
            visit.changed = self.now

    def holds(self, window: Window, visit: Visit) -> bool:
        if window.lo is not None and visit.day < window.lo:
            return False
        if window.hi is not None and visit.day > window.hi:
            return False
        if window.hi is not None and visit.day == window.hi and not self.inclusive:
            return self.midnight_in and visit.at_midnight
        return window.staff_id in (None, visit.staff)

    def ask(self, window: Window, size: int, since: int | None, page: int = 1) -> tuple[Page, int | None]:
        self.requests += 1
        found = [(i, v) for i, v in self.rows.items() if self.holds(window, v) and (since is None or v.changed > since)]
        found = [(i, v) for i, v in found if window.staff_id in (None, v.staff)]
        if self.random_ties:
            self.rng.shuffle(found)
        found.sort(key=lambda row: row[1].day, reverse=self.newest_first)
        count = min(size, self.cap)
        rows = [
            (i, Visit(v.day, v.staff, v.at_midnight, v.changed, v.note)) for i, v in found[(page - 1) * count : page * count]
        ]
        total = {"true": len(found), "none": None, "high": len(found) + 7, "low": min(len(found), count)}[self.total]
        self.change()
        return rows, total


def answer_to(window: Window, sweep: Sweep, rows: Page, total: int | None, began: int) -> Answer:
    days = [visit.day for _, visit in rows]
    newest_first = len(days) > 1 and days[0] > days[-1]
    return Answer(
        asked=sweep.size,
        rows=len(rows),
        distinct=len({i for i, _ in rows}),
        total=total,
        oldest=min(days, default=None),
        newest=max(days, default=None),
        newest_first=newest_first,
        cut=sweeps.cut_date(days, newest_first),
        after_midnight=any(v.day == window.hi and not v.at_midnight for _, v in rows),
        staff=tuple(sorted({v.staff for _, v in rows})),
        steady=sum(1 for _, v in rows if v.changed <= began),
    )


@dataclass(slots=True)
class Reader:
    """What `sync.records` does with the planner: several requests in flight, answers in any order, a crash at any step."""

    server: Server
    flight: int = 4
    crashes: float = 0.0
    stored: dict[int, Visit] = field(default_factory=dict)
    inclusive: bool = False

    def read_paged(self, window: Window, sweep: Sweep, since: int | None, began: int) -> tuple[Page, int | None]:
        rows: dict[int, Visit] = {}
        quiet = 0
        for reading in range(40):
            new: set[int] = set()
            number = 0
            total = None
            while True:
                number += 1
                page, total = self.server.ask(window, sweep.size, since, number)
                new |= {i for i, v in page if i not in rows and (reading == 0 or v.changed <= began)}
                rows.update(page)
                if len(page) < sweep.size and (not page or len(page) < sweep.longest):
                    break
            quiet = 0 if new else quiet + 1
            counted = total is not None and not sweep.lies and len(rows) >= total
            if number == 1 or quiet >= (1 if counted else 3):
                return list(rows.items()), total
        raise AssertionError("a window that cannot be split does not settle")

    def sweep(self, since: int | None) -> tuple[int, bool]:
        server, rng = self.server, self.server.rng
        began = server.now
        sweep = Sweep(began=BEGAN, inclusive=self.inclusive)
        flight: list[tuple[Window, Answer, Page]] = []
        for _ in range(4000):
            if sweep.finished:
                self.inclusive = sweep.inclusive
                return began, sweep.single
            if rng.random() < self.crashes:
                # Everything in flight is lost; what was committed is the cursor.
                flight.clear()
            sweep = msgspec.json.decode(msgspec.json.encode(sweep), type=Sweep)
            sweep, windows = sweeps.hand_out(sweep, [w for w, _, _ in flight], self.flight - len(flight), TODAY)
            for window in windows:
                flight.append((window, *self.request(window, sweep, since, began)))
            window, answer, rows = flight.pop(rng.randrange(len(flight)))
            after, verdict = sweeps.absorb(sweep, window, answer, TODAY)
            if verdict is Verdict.PROBE:
                continue
            sweep = after
            if verdict is Verdict.WHOLE:
                for i, visit in rows:
                    if i not in self.stored or self.stored[i].changed <= visit.changed:
                        self.stored[i] = visit
        raise AssertionError("the sweep does not end")

    def request(self, window: Window, sweep: Sweep, since: int | None, began: int) -> tuple[Answer, Page]:
        if window.paged:
            rows, total = self.read_paged(window, sweep, since, began)
            answer = answer_to(window, sweep, rows, total, began)
            return msgspec.structs.replace(answer, next_page_empty=True), rows
        rows, total = self.server.ask(window, sweep.size, since)
        answer = answer_to(window, sweep, rows, total, began)
        if sweeps.judge(sweep, answer) is Verdict.PROBE:
            more, _ = self.server.ask(window, sweep.size, since, 2)
            new = {i for i, _ in more} - {i for i, _ in rows}
            answer = msgspec.structs.replace(answer, next_page_empty=not new)
        return answer, rows

    def passes(self) -> int:
        """Read everything, close the pass; returns the requests of the first reading."""
        since, single = self.sweep(None)
        requests = self.server.requests
        for _ in range(30):
            if single:
                break
            since, single = self.sweep(since)
        self.server.changes = 0
        self.sweep(since)
        return requests

    def assert_exact(self) -> None:
        have = {i: v.state() for i, v in self.stored.items()}
        assert have == {i: v.state() for i, v in self.server.rows.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"visits": 12_300}, 26),
        ({"visits": 12_300, "newest_first": False}, 26),
        ({"visits": 12_300, "cap": 300}, 70),
        ({"visits": 12_300, "cap": 300, "newest_first": False}, 70),
        ({"visits": 999}, 3),
        ({"visits": 0, "changes": 0}, 1),
    ],
)
def test_a_salon_that_changes_is_read_exactly_within_the_budget(seed: int, options: dict[str, int], most: int) -> None:
    reader = Reader(Server(seed, **options))  # type: ignore[arg-type]
    requests = reader.passes()
    assert requests <= most
    reader.assert_exact()


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    visits=st.sampled_from([0, 1, 24, 25, 26, 99, 100, 400, 900]),
    cap=st.sampled_from([25, 26, 50, 77, 100, 131, 300, 1000]),
    changes=st.integers(0, 3),
    newest_first=st.booleans(),
    end=st.sampled_from([(True, False), (False, False), (False, True)]),
    total=st.sampled_from(["true", "true", "none", "high", "low"]),
    flight=st.integers(1, 6),
    crashes=st.sampled_from([0.0, 0.2]),
    full_day=st.sampled_from([0, 0, 40, 160]),
    one_staff=st.booleans(),
)
def test_any_server_and_any_order_of_answers_read_exactly(
    seed: int, visits: int, cap: int, changes: int, newest_first: bool, end: tuple[bool, bool], total: str,
    flight: int, crashes: float, full_day: int, one_staff: bool,
) -> None:  # fmt: skip
    if total == "low":
        # A count that is the page's own looks like a small salon: only the probe of the next page, a later moment, tells.
        changes = 0
    if full_day > cap:
        # A day that only fits several pages cannot be a snapshot: while it changes nothing can be proved of it.
        changes = 0
    server = Server(
        seed, visits, cap, changes, newest_first, inclusive=end[0], midnight_in=end[1], total=total,
        full_day=full_day, one_staff=one_staff,
        # Neither a count nor an order: then pages of one day cannot be put together at all.
        random_ties=total == "true" or full_day <= cap // 2,
    )  # fmt: skip
    reader = Reader(server, flight, crashes)
    reader.passes()
    reader.assert_exact()


@pytest.mark.parametrize("inclusive", [True, False])
def test_a_full_day_whose_visits_all_begin_at_midnight_ends(inclusive: bool) -> None:
    server = Server(1, 60, cap=25, changes=0, inclusive=inclusive, midnight_in=True, full_day=80, midnights=1.0)
    reader = Reader(server)
    reader.passes()
    reader.assert_exact()


def test_a_day_by_staff_is_read_whole_when_new_visits_hide_an_unknown_master() -> None:
    """The sum of the masters' visits equals the day's, though one master's were never asked for."""
    day = TODAY - timedelta(days=1)
    sweep = Sweep(began=BEGAN, total=500, planned=True, started=True, size=25, longest=25, inclusive=True)
    window = Window(lo=day, hi=day)
    sweep = msgspec.structs.replace(sweep, pending=(window,))
    full = Answer(asked=25, rows=25, distinct=25, total=30, oldest=day, newest=day, staff=(1, 2), steady=25)
    sweep, verdict = sweeps.absorb(sweep, window, full, TODAY)
    assert verdict is Verdict.SPLIT
    assert {piece.staff_id for piece in sweep.pending} == {1, 2}
    for piece, steady in zip(sweep.pending, (12, 13), strict=True):
        rows = steady + 3  # three new ones each, while the unknown master's five are missing
        answer = Answer(asked=25, rows=rows, distinct=rows, total=rows, oldest=day, newest=day, steady=steady)
        sweep, _ = sweeps.absorb(sweep, piece, answer, TODAY)
    assert [(one.lo, one.hi, one.paged, one.staff_id) for one in sweep.pending] == [(day, day, True, None)]


@pytest.mark.parametrize(
    ("longest", "asked", "distinct", "total", "first", "after_an_empty_page"),
    [
        (31, 1000, 30, 30, Verdict.WHOLE, Verdict.WHOLE),
        (30, 1000, 30, 30, Verdict.PROBE, Verdict.WHOLE),
        (31, 30, 30, 30, Verdict.PROBE, Verdict.WHOLE),
        (31, 1000, 29, 30, Verdict.PROBE, Verdict.WHOLE),
        (30, 1000, 29, 30, Verdict.PROBE, Verdict.SPLIT),
        (30, 1000, 30, 31, Verdict.SPLIT, Verdict.SPLIT),
        (30, 1000, 30, None, Verdict.SPLIT, Verdict.SPLIT),
    ],
)
def test_what_a_page_of_thirty_rows_is_worth(
    longest: int, asked: int, distinct: int, total: int | None, first: Verdict, after_an_empty_page: Verdict
) -> None:
    """As long as any page, with a row shown twice or no count: an empty next page is a later moment, and not believed."""
    sweep = Sweep(total=500, longest=longest, before=10)
    answer = Answer(asked=asked, rows=30, distinct=distinct, total=total)
    assert sweeps.judge(sweep, answer) is first
    assert sweeps.judge(sweep, msgspec.structs.replace(answer, next_page_empty=True)) is after_an_empty_page


def test_a_count_that_is_the_pages_own_is_found_out() -> None:
    window = Window(lo=TODAY - timedelta(days=9), hi=TODAY)
    sweep = Sweep(began=BEGAN, total=500, planned=True, longest=30, pending=(window,))
    days = tuple(TODAY - timedelta(days=n) for n in range(9))
    answer = Answer(
        asked=1000, rows=30, distinct=30, total=30, oldest=min(days), newest=TODAY, newest_first=True,
        cut=sweeps.cut_date(days, True), next_page_empty=False,
    )  # fmt: skip
    after, verdict = sweeps.absorb(sweep, window, answer, TODAY)
    assert (verdict, after.lies, after.size) == (Verdict.SPLIT, True, sweep.size)


@pytest.mark.parametrize(("found", "done"), [(15, True), (14, False), (16, False)])
def test_a_day_by_staff_must_add_up_exactly(found: int, done: bool) -> None:
    """More than were counted says that the count is too low, and then it proves no part to be whole."""
    day = TODAY - timedelta(days=1)
    sweep = Sweep(began=BEGAN, total=500, planned=True, size=25, longest=25, inclusive=True, pending=(Window(lo=day, hi=day),))
    full = Answer(asked=25, rows=25, distinct=25, total=30, oldest=day, newest=day, staff=(1, 2), steady=25)
    sweep, _ = sweeps.absorb(sweep, sweep.pending[0], full, TODAY)
    for piece in sweep.pending:
        answer = Answer(asked=25, rows=found, distinct=found, total=found, oldest=day, newest=day, steady=found)
        sweep, _ = sweeps.absorb(sweep, piece, answer, TODAY)
    assert sweep.finished is done
    assert [(one.lo, one.hi, one.paged) for one in sweep.pending] == ([] if done else [(day, day, True)])


@given(
    lo=st.none() | st.dates(date(2024, 1, 1), TODAY),
    length=st.none() | st.integers(0, 900),
    rows=st.integers(1, 1000),
    total=st.integers(1, 50_000),
    inclusive=st.booleans(),
    newest_first=st.booleans(),
    data=st.data(),
)
def test_the_pieces_of_a_window_cover_it(
    lo: date | None, length: int | None, rows: int, total: int, inclusive: bool, newest_first: bool, data: st.DataObject
) -> None:
    first = lo or date(2024, 1, 1)
    hi = None if length is None else first + timedelta(days=length)
    last = hi or TODAY + timedelta(days=60)
    days = sorted(data.draw(st.lists(st.dates(first, last), min_size=1, max_size=5)), reverse=newest_first)
    answer = Answer(
        asked=1000, rows=rows, distinct=rows, total=total, oldest=min(days), newest=max(days), newest_first=newest_first,
        cut=sweeps.cut_date(days, newest_first), staff=(1, 2),
    )  # fmt: skip
    window = Window(lo=lo, hi=hi)
    sweep = Sweep(size=300, inclusive=inclusive)
    pieces = sweeps.split(window, answer, sweep)
    covered_to = timedelta(0 if inclusive else 1)
    for day in (first + timedelta(days=n) for n in range(0, (last - first).days + 1 - covered_to.days, 7)):
        assert any((p.lo is None or p.lo <= day) and (p.hi is None or day <= p.hi - covered_to) for p in pieces), (day, pieces)
