"""Which windows of session dates read a whole salon's visits so that nothing is lost?

Page numbers over moving data lose rows: a row leaves a page that was read, another arrives at the end, and every count and id
is still right. What holds is that one answer is one moment. So visits are read in windows of session dates, each asked as a
single page; a window whose answer holds all of its rows is a snapshot, any other is split. The windows together cover all
dates, so a visit that has not changed since the reading began stood in one of them all the time, and was read. One that
moved from an unread window into one that was read has changed: the delta that closes the reading (`changed_after` its
beginning, plan.cursor) brings it. The windows are made newest first, so that active clients are complete first.

What is assumed of the server, and how it is checked in each answer:
- `start_date` and `end_date` filter by session date: a row outside its window is counted in `Answer.outside`;
- a list asked without both dates may answer a narrow window around today: both are always sent, far ones for an open end
  (plan.dates). In a salon's first pass the counts with and without them are compared;
- `end_date` includes its whole day: until a row later than midnight of a window's last day was seen, windows overlap by a day;
- a page holds what was asked, or as many rows as the server's cap, and the cap does not fall during a reading: a page shorter
  than the longest one (`longest`) was not cut. One as long may have been, whatever the count says, and is split, or the next
  page is probed. Documented defaults are 20 and 25 rows, so a first page of fewer than SMALLEST (or fewer than earlier
  readings had, `before`) is called cut only if the next page shows it;
- `total_count` counts the rows of the window: where a page that is not full promises more, the next page is probed, and if
  that is empty the count is called a lie (`lies`), as it is when it promised less than the page or the next one holds. Then it
  is as if there were none;
- a probe is a later moment: of a page as long as any, where there is no count to agree with it, an empty probe is not believed.
  A count that is the page's own, and agrees, is: it takes that the only rows beyond a full page leave between two requests;
- a day too full for a page is read by the dates on which its visits were made (plan.crowd), if `c_start_date` and `c_end_date`
  filter: a row made long before or after them says no (`Answer.strangers`), and the rows that have not changed since the day
  was counted must be as many as it had; once they were (`by_creation`), as many rows as it had are enough. What was made on one
  date is read by member of staff: who else worked that day shows in the sum alone, so the unchanged rows must be as many as the
  day had. Where the sum is another, the day is counted and cut anew, a few times, then read page by page. That is no snapshot:
  it ends when the rows that readings showed since a count, and that were there then, are as many as were counted. Where none
  says so, it takes that a row which stands still is shown by one of the readings, so it is the one place where an order among
  equal rows that stays helps, and a random one costs readings;
- client by client, the visits that stood still must be as many as the salon has (walk-ins), else the windows are read too.
No order of the rows is assumed; it only helps to guess where to cut.

Everything here is pure: a sweep and what was answered in, a sweep and what to ask out. Counts are rows, sizes rows a page.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

import msgspec

from ycsync.plan import crowd

FILL = 0.88  # how full a window is planned: Poisson noise and weekdays move the count by a tenth
FIRST_DATE = date(2005, 1, 1)  # before YCLIENTS existed; older windows are asked in one
MAX_SIZE = 1000  # documented 300, the back end accepts 1,000; the answer tells
MIN_SIZE = 25
MOST_TRIES = 6  # for a day to add up, before it is read page by page
SMALLEST = 15  # rows; fewer are nobody's page size (documented: 20, 25), unless the next page shows that they are


class Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """Visits of the session dates lo…hi (inclusive, salon-local; None: open), perhaps of one member of staff or client.

    Perhaps only those that were made on the dates made_lo…made_hi (the same).
    """

    lo: date | None = None
    hi: date | None = None
    staff_id: int | None = None
    client_id: int | None = None
    position: int | None = None  # in the queue of clients
    estimate: int = 0
    paged: bool = False  # cannot be split further: read page by page, until two readings agree
    root: bool = False
    made_lo: date | None = None
    made_hi: date | None = None
    tries: int = 0  # how often the day was cut already, and did not add up
    short: int = 0  # so many rows were missing then

    @property
    def by_creation(self) -> bool:
        """Is it a range of the dates on which visits were made?"""
        return self.made_lo is not None or self.made_hi is not None

    @property
    def part(self) -> bool:
        """Is it a part of a day that is too full for a page?"""
        return self.staff_id is not None or self.by_creation


class Answer(msgspec.Struct, frozen=True):
    """What one page showed, as far as the planner needs it."""

    asked: int
    rows: int
    distinct: int
    total: int | None
    oldest: date | None = None
    newest: date | None = None
    newest_first: bool = False
    cut: date | None = None  # see cut_date
    after_midnight: bool = False  # a row on the window's last day, later than 00:00
    outside: int = 0
    staff: tuple[int, ...] = ()
    steady: int = 0  # distinct rows that stand where they stood when the sweep began; of a part, when its day was counted
    counted_at: datetime | None = None  # what is dated before was so when it was counted
    made: tuple[date, ...] = ()  # when its rows were made; of a range of such dates the rows within, as are `own` and `steady`
    own: int = 0
    strangers: int = 0  # rows that were made long before or after the range
    next_page_empty: bool | None = None  # the answer to a probe


class Verdict(enum.Enum):
    """What an answer is worth."""

    WHOLE = "whole"  # every row of the window, of one moment
    SPLIT = "split"  # more rows than a page: the window was replaced by smaller ones
    PROBE = "probe"  # not clear: ask the next page and judge again


class Day(msgspec.Struct, frozen=True):
    """A day too full for a page, read in parts: is the sum as large as the day?"""

    day: date
    total: int
    found: int  # rows unchanged since it was counted: of those that came meanwhile, one may hide another that was not found
    open: int
    rows: int = 0  # all of them
    staff: bool = False  # a part is what one member of staff did
    counted_at: datetime | None = None  # None: when the sweep began


class Sweep(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far one reading of all windows is. `began`: before its first request left, the server's clock if known."""

    began: datetime | None = None
    changed_after: str | None = None
    scope_lo: date | None = None
    total: int | None = None
    seen: int = 0
    steady: int = 0  # rows seen that have not changed since it began, each counted once
    size: int = MAX_SIZE
    longest: int = 0
    before: int = 0  # the longest page of earlier readings
    lies: bool = False
    inclusive: bool = False
    density: float = 0.0
    frontier: date | None = None
    started: bool = False  # the first window of dates was made
    planned: bool = False
    single: bool = False
    pending: tuple[Window, ...] = ()
    days: tuple[Day, ...] = ()
    by_creation: bool | None = None  # do c_start_date and c_end_date filter? A day that added up says yes
    position: int = 0  # of the next client, when fetching client by client
    clients: int | None = None  # how many there are to fetch so; None: by windows

    @property
    def finished(self) -> bool:
        """True when every window was answered whole."""
        return self.total is not None and self.planned and not self.pending

    def counted_at(self, window: Window) -> datetime | None:
        """When the day was counted of which the window is a part. None: it is no part, or an older release counted it."""
        return next((day.counted_at for day in self.days if window.part and day.day == window.lo), None)


def hand_out(sweep: Sweep, in_flight: Collection[Window], room: int, today: date) -> tuple[Sweep, tuple[Window, ...]]:
    """Up to `room` windows to ask now, and the sweep that remembers them as pending."""
    if sweep.total is None:
        return (sweep, ()) if in_flight or room < 1 else (sweep, (Window(lo=sweep.scope_lo, root=True),))
    waiting = [window for window in sweep.pending if window not in in_flight]
    if sweep.by_creation is None:
        # Once one day has added up less is asked of the others: they are not tried again before.
        trying = next((window.lo for window in sweep.pending if window.tries), None)
        waiting = [window for window in waiting if not window.tries or window.lo == trying]
    out = waiting[:room]
    fresh: list[Window] = []
    while len(out) + len(fresh) < room and not sweep.planned:
        sweep, window = _next(sweep, today)
        sweep = msgspec.structs.replace(sweep, pending=(*sweep.pending, window))
        fresh.append(window)
    return sweep, (*out, *fresh)


def _next(sweep: Sweep, today: date) -> tuple[Sweep, Window]:
    if sweep.clients is not None:
        window = Window(position=sweep.position)
        position = sweep.position + 1
        return msgspec.structs.replace(sweep, position=position, planned=position >= sweep.clients), window
    assert sweep.total is not None
    target = max(1, int(FILL * sweep.size))
    # What is in flight usually holds a little less than was estimated: the past is thinner than the present.
    left = sweep.total - sweep.seen - int(0.75 * sum(window.estimate for window in sweep.pending))
    hi = sweep.frontier
    overlap = timedelta(days=0 if sweep.inclusive or hi is None else 1)
    asked_hi = None if hi is None else hi + overlap
    width = max(1, int(target / max(sweep.density, 1e-3)))
    newest = hi if hi is not None else today + timedelta(days=7)
    lo = newest - timedelta(days=min(width, 3650) - 1)
    floor = max(sweep.scope_lo or FIRST_DATE, FIRST_DATE)
    if (left <= target and sweep.started) or lo <= floor:
        window = Window(lo=sweep.scope_lo, hi=asked_hi, estimate=max(0, left))
        return msgspec.structs.replace(sweep, planned=True, started=True), window
    window = Window(lo=lo, hi=asked_hi, estimate=min(target, max(left, 0)))
    return msgspec.structs.replace(sweep, frontier=lo - timedelta(days=1), started=True), window


def judge(sweep: Sweep, answer: Answer) -> Verdict:
    """Does the answer hold every row of its window?"""
    total = answer.total
    uncounted = total is None or sweep.lies
    # As long as any other page: perhaps it was the server's cap that ended it.
    longest = 0 < answer.rows >= sweep.longest
    asked = answer.rows >= answer.asked
    if answer.next_page_empty is not None:
        # The probe is a later moment: a row may have left meanwhile and drawn the next page's only one into this one.
        short = answer.rows < max(SMALLEST, sweep.before) and not asked
        unclear = longest and not short and (uncounted or (total is not None and answer.distinct < total))
        return Verdict.WHOLE if answer.next_page_empty and not unclear else Verdict.SPLIT
    if total is None or uncounted:
        # Nothing tells but the next page, and that only of a page so short that it was hardly cut.
        if not longest and not asked:
            return Verdict.WHOLE
        return Verdict.PROBE if answer.rows < max(SMALLEST, sweep.before) and not asked else Verdict.SPLIT
    if answer.distinct >= total:
        # A count that a page as long as any fulfils may be the page's, not the window's.
        small = answer.rows < max(SMALLEST, sweep.before)
        return Verdict.PROBE if asked or (longest and not small) else Verdict.WHOLE
    full = asked or (sweep.longest > 0 and longest and answer.rows >= MIN_SIZE)
    if answer.rows < total and (full or (answer.rows >= 100 and answer.rows % 50 == 0)):
        return Verdict.SPLIT
    return Verdict.PROBE


def absorb(sweep: Sweep, window: Window, answer: Answer, today: date) -> tuple[Sweep, Verdict]:
    """The sweep after one answer. On PROBE nothing changed: ask the next page, set `next_page_empty`, absorb again."""
    if window.by_creation and (answer.strangers or window not in sweep.pending):
        return _uncrowded(sweep, window, answer), Verdict.SPLIT
    verdict = Verdict.WHOLE if window.paged else judge(sweep, answer)
    if verdict is Verdict.PROBE:
        return sweep, verdict
    # More rows than one moment held, or no more than those of the page where there is another page: that is no count.
    lies = sweep.lies or (
        answer.total is not None
        and not window.paged
        and (
            (verdict is Verdict.WHOLE and answer.total > answer.distinct == answer.rows)
            or answer.distinct > answer.total
            or (answer.next_page_empty is False and answer.total <= answer.distinct)
        )
    )
    size = sweep.size
    if verdict is Verdict.SPLIT and not lies and 0 < answer.rows < answer.asked:
        size = min(size, max(answer.rows, SMALLEST))  # the server's own cap, learnt from its answer
    sweep = msgspec.structs.replace(
        sweep,
        longest=sweep.longest if window.paged else max(sweep.longest, answer.rows),
        lies=lies,
        size=size,
        inclusive=sweep.inclusive or answer.after_midnight,
    )
    if window.root:
        return _root(sweep, answer, verdict, today), verdict
    rest = tuple(other for other in sweep.pending if other != window)
    if verdict is Verdict.SPLIT:
        pieces = split(window, answer, sweep)
        sweep = msgspec.structs.replace(sweep, pending=(*pieces, *rest))
        if window.lo is not None and any(piece.part for piece in pieces):
            before = [day for day in sweep.days if day.day == window.lo] if window.part else []
            day = before[0] if before else Day(window.lo, answer.total or answer.rows, 0, 1, counted_at=answer.counted_at)
            staff = day.staff or any(piece.staff_id is not None for piece in pieces)
            day = msgspec.structs.replace(day, open=day.open + len(pieces) - 1, staff=staff)
            others = [other for other in sweep.days if other.day != window.lo]
            sweep = msgspec.structs.replace(sweep, days=(*others, day))
        return sweep, verdict
    density = sweep.density
    if window.lo is not None and window.hi is not None and not window.part and window.client_id is None:
        rows_a_day = max(answer.rows, 0.5) / ((window.hi - window.lo).days + 1)
        density = (density + 4 * rows_a_day) / 5 if density else rows_a_day
    sweep = msgspec.structs.replace(sweep, pending=rest, density=density)
    seen = sweep.seen + (answer.own if window.by_creation else answer.distinct)
    steady = sweep.steady + (0 if window.part else answer.steady)
    sweep = msgspec.structs.replace(sweep, seen=seen, steady=steady)
    sweep = _day(sweep, window, answer)
    if sweep.finished and sweep.clients is not None and (sweep.lies or sweep.steady != sweep.total):
        sweep = then_windows(sweep)
    return sweep, Verdict.WHOLE


def _root(sweep: Sweep, answer: Answer, verdict: Verdict, today: date) -> Sweep:
    if verdict is Verdict.WHOLE:
        return msgspec.structs.replace(
            sweep, total=answer.distinct, seen=answer.distinct, planned=True, started=True, single=True
        )
    total = answer.total if answer.total is not None and not sweep.lies else answer.rows * 4
    oldest, newest = answer.oldest, answer.newest
    if oldest is None or newest is None:
        return msgspec.structs.replace(sweep, total=total, density=float(max(1, sweep.size // 30)))
    if answer.newest_first and newest > oldest:
        days = (newest - oldest).days + 1
        recent = (min(newest, today) - oldest).days + 1
        density = answer.rows / max(1, recent if recent > 0 else days)
        if answer.cut is not None and answer.cut < newest:
            first = Window(lo=answer.cut + timedelta(days=1), estimate=int(FILL * answer.rows))
            return msgspec.structs.replace(
                sweep, total=total, density=density, started=True, pending=(first,), frontier=answer.cut
            )
        return msgspec.structs.replace(sweep, total=total, density=density)
    density = total / max(1, (max(newest, today) - oldest).days + 1)
    return msgspec.structs.replace(sweep, total=total, density=density)


def split(window: Window, answer: Answer, sweep: Sweep) -> tuple[Window, ...]:
    """Smaller windows that together cover `window`, newest first; one that is no smaller is read page by page."""
    replace = msgspec.structs.replace
    whole = replace(window, estimate=0)
    pieces = _pieces(window, answer, sweep)
    return tuple(replace(piece, paged=True) if replace(piece, estimate=0) == whole else piece for piece in pieces)


def _pieces(window: Window, answer: Answer, sweep: Sweep) -> tuple[Window, ...]:
    total = max(answer.total or 0, answer.rows + 1)
    parts = max(2, math.ceil(total / (FILL * sweep.size)))
    day = timedelta(days=1)
    replace = msgspec.structs.replace
    if window.position is not None and window.client_id is None:
        return (replace(window, paged=True),)
    if window.lo is not None and window.hi is not None:
        days = (window.hi - window.lo).days + 1
        if days == 1 or (not sweep.inclusive and days == 2):
            return _crowded(window, answer, sweep)
        step = max(1, days // parts)
        overlap = timedelta(days=0) if sweep.inclusive else day
        pieces: list[Window] = []
        hi = window.hi
        while hi >= window.lo:
            lo = max(window.lo, hi - (step - 1) * day)
            if (lo - window.lo).days < step // 2:
                lo = window.lo
            asked = min(window.hi, hi + overlap)
            pieces.append(replace(window, lo=lo, hi=asked, estimate=int(total * ((hi - lo).days + 1) / days)))
            hi = lo - day
        return tuple(pieces) if len(pieces) > 1 else (replace(window, paged=True, estimate=total),)
    cut = answer.cut
    if cut is None or answer.oldest is None or answer.newest is None:
        return (replace(window, paged=True, estimate=total),)
    # Open at an end: the page shows where to cut, so that what it covered fits next time.
    late = day if not sweep.inclusive else timedelta(days=0)
    share = max(1, int(FILL * answer.rows))
    if answer.newest_first and cut < answer.newest:
        after = replace(window, lo=cut + day, estimate=share)
        before = replace(window, hi=cut + late, estimate=max(0, total - share))
        return (after, before)
    if not answer.newest_first and cut > answer.oldest:
        after = replace(window, lo=cut, estimate=max(0, total - share))
        before = replace(window, hi=cut - day + late, estimate=share)
        return (after, before)
    # One day fills the page: it is cut out.
    three = (
        replace(window, lo=cut + day, estimate=total // 3),
        replace(window, lo=cut, hi=cut + late, estimate=total // 3),
        replace(window, hi=cut - day + late, estimate=total // 3),
    )
    return tuple(piece for piece in three if piece.lo is None or piece.hi is None or piece.lo <= piece.hi)


def cut_date(dates: Sequence[date], newest_first: bool) -> date | None:
    """The session date up to which a page that was cut off is asked again: FILL of its rows lie on its known side.

    `dates`: of the page's rows, any order.
    """
    if not dates:
        return None
    ordered = sorted(dates, reverse=newest_first)
    return ordered[min(len(ordered) - 1, int(FILL * len(ordered)))]


def _crowded(window: Window, answer: Answer, sweep: Sweep) -> tuple[Window, ...]:
    """Parts of one day: by the dates on which its visits were made, else by member of staff, else page by page."""
    replace = msgspec.structs.replace
    total = answer.total or answer.rows
    # What the parts miss shows in the sum alone, so without a count that can be believed they prove nothing.
    counted = answer.total is not None and answer.total > answer.rows and not sweep.lies
    if window.staff_id is not None or window.client_id is not None or not counted:
        return (replace(window, paged=True, estimate=total),)
    ends = crowd.cuts(answer.made, total, int(FILL * sweep.size)) if sweep.by_creation is not False else ()
    if ends:
        begins = (window.made_lo, *(end + timedelta(days=1) for end in ends))
        ranges = zip(begins, (*ends, window.made_hi), strict=True)
        estimate = total // (len(ends) + 1)
        return tuple(replace(window, made_lo=lo, made_hi=hi, estimate=estimate) for lo, hi in ranges)
    if not answer.staff:
        return (replace(window, paged=True, estimate=total),)
    return tuple(replace(window, staff_id=staff, estimate=total // len(answer.staff)) for staff in answer.staff)


def _uncrowded(sweep: Sweep, window: Window, answer: Answer) -> Sweep:
    """The server does not filter by the date on which a visit was made: this day is read page by page, others by staff."""
    if not answer.strangers:
        return sweep  # its day was given up already
    given_up = [other for other in sweep.pending if other.by_creation]
    others = tuple(other for other in sweep.pending if not other.by_creation)
    days = dict.fromkeys((other.lo, other.hi) for other in given_up)
    again = tuple(Window(lo=lo, hi=hi, estimate=answer.total or answer.rows, paged=True) for lo, hi in days)
    left = tuple(day for day in sweep.days if all(day.day != lo for lo, _ in days))
    return msgspec.structs.replace(sweep, pending=(*again, *others), days=left, by_creation=False)


def _day(sweep: Sweep, window: Window, answer: Answer) -> Sweep:
    """Book the answer for a part of a day; a day whose sum is another is read page by page."""
    if not window.part or window.lo is None:
        return sweep
    replace = msgspec.structs.replace
    days: list[Day] = []
    for day in sweep.days:
        if day.day != window.lo:
            days.append(day)
            continue
        rows = answer.own if window.by_creation else answer.distinct
        day = replace(day, found=day.found + answer.steady, rows=day.rows + rows, open=day.open - 1)
        if day.open > 0:
            days.append(day)
        elif day.found == day.total:
            sweep = sweep if day.staff else replace(sweep, by_creation=True)
        elif day.staff or sweep.by_creation is None or day.rows < day.total:
            # Fewer: something was not asked for, or left after the count: it is counted and cut anew. More: the count was none.
            # As many fewer as last time, and nothing moved: whatever is missing will be so again.
            short = day.total - day.found
            same = short == window.short and day.rows == day.found
            if window.tries < MOST_TRIES and not same and not day.staff and sweep.by_creation is not False:
                again = Window(lo=window.lo, hi=window.hi, estimate=day.total, tries=window.tries + 1, short=short)
            else:
                again = Window(lo=window.lo, hi=window.hi, estimate=abs(short), paged=True)
            sweep = replace(sweep, pending=(*sweep.pending, again), seen=sweep.seen - day.rows)
    return replace(sweep, days=tuple(days))


def by_client(sweep: Sweep, clients: int) -> Sweep:
    """Fetch the visits client by client instead: `clients` of them wait in the queue."""
    if clients == 0:
        return sweep
    return msgspec.structs.replace(sweep, clients=clients, pending=(), planned=False)


def then_windows(sweep: Sweep) -> Sweep:
    """The clients are done, but the salon counts other than their visits (walk-ins, a lie): read the windows too."""
    return msgspec.structs.replace(sweep, clients=None, planned=False, seen=0, steady=0, frontier=None, started=False)


def shrink(sweep: Sweep, by: int) -> Sweep:
    """A page timed out or failed twice: ask smaller ones from now on."""
    return msgspec.structs.replace(sweep, size=max(MIN_SIZE, sweep.size // by), longest=0)
