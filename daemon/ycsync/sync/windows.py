"""How does a batch read a list that is filtered by dates? In windows (plan.sweep), each stored with the cursor it proves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Generic, Protocol, TypeVar

import msgspec

from ycsync.api import Page, Request
from ycsync.api import endpoints as ep
from ycsync.errors import ApiError, NotFound, Rejected
from ycsync.logs import API_ASSUMPTION, PAGE_SIZE_CHANGED, emit, get_logger
from ycsync.model import Parsed
from ycsync.model.times import UNKNOWN
from ycsync.plan import cursor as cursors
from ycsync.plan import sweep as sweeps
from ycsync.plan.cursor import Cursor
from ycsync.plan.dates import WIDEST, Dates, closed, far
from ycsync.plan.sweep import Answer, Sweep, Verdict, Window
from ycsync.store.pages import EndOfSweep, PageRows, Swept
from ycsync.sync.batch import (
    SWEEP_SHARE,
    Batch,
    InFlight,
    Result,
    distinct,
    not_offered,
    repeats,
    smaller_by,
    unfiltered,
    why_smaller,
)

SETTLED_ROUNDS = 16  # readings of a window that cannot be split, until one shows nothing that those before did not
QUIET_MOVING = 6  # readings that bring nothing new, where no count is reached: of 200 rows in random order each shows 2/3
QUIET_UNCOUNTED = 3  # readings that bring nothing new, where no count confirms that they are enough
STRANGE_DAYS = 2  # a range is asked a day longer, and the server may reckon in another zone
NEVER = datetime.min.replace(tzinfo=UTC)
WEST, EAST = timedelta(hours=12), timedelta(hours=14)  # so much later and earlier than in UTC a day may begin


class Dated(Protocol):
    """What a row says of itself, whatever else it holds."""

    @property
    def id(self) -> int: ...
    @property
    def changed_at(self) -> datetime | None: ...


R = TypeVar("R", bound=Dated)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a row stands: its day in the salon, its instant, and whose it is and when it was made, if that can be asked for."""

    day: date
    at: datetime
    staff_id: int | None = None
    client_id: int | None = None
    made: date | None = None


@dataclass(slots=True)
class _Count:
    """How many rows a window had, and which of those were shown since.

    They are dated before `at` (see Page.counted_at), or were shown before as well, with the same date (`before`).
    """

    at: datetime
    total: int
    before: Mapping[int, datetime]
    shown: set[int] = field(default_factory=set)

    def show(self, dates: Mapping[int, datetime]) -> None:
        """A page came with these rows, and when each of them changed last."""
        self.shown |= {id_ for id_, date_ in dates.items() if date_ < self.at or self.before.get(id_) == date_}


class WindowsBatch(ABC, Generic[R]):
    """One batch of such a stream. A subclass says what is asked, how it is read, and where its rows stand."""

    documented_size = 25  # rows a page that the API is documented to give, where more is asked until it is refused

    def __init__(self, batch: Batch, *, doubted: bool = False) -> None:
        self.batch = batch
        self.stream = batch.claim.stream
        days = batch.settings.active.recheck_days
        before = cursors.decode(batch.claim.cursor)
        self.cursor: Cursor = cursors.begin(before, self.stream, batch.now(), batch.zone, days, doubted=doubted)
        self.fresh = self.cursor.sweep is not before.sweep
        self.far = far(self.today)  # of one day for all of the batch: what was asked for is what an answer proves
        self.asked: dict[Window, int] = {}  # with which size each was asked last
        self.smaller = False  # pages are asked smaller; that is remembered as soon as one of them comes
        self.there = False  # a 404 was answered, and the list is there
        self.result: Result | None = None

    @abstractmethod
    def request(self, window: Window, sweep: Sweep, page: int) -> Request:
        """What asks for one page of a window."""

    @abstractmethod
    def parse(self, rows: Sequence[bytes]) -> Parsed[R]:
        """The rows of an answer."""

    @abstractmethod
    def place(self, row: R) -> Placed:
        """Where a row stands."""

    async def resolved(self, window: Window) -> Window:
        """A window as it is to be asked for."""
        return window

    async def widened(self, answer: Answer) -> bool:
        """Whether a list known to be long is to be asked for anew, with dates further apart."""
        return False

    async def choose_way(self) -> None:
        """The list is known to be long: it may be read another way than by windows."""

    @property
    def sweep(self) -> Sweep:
        """The reading under way."""
        assert self.cursor.sweep is not None
        return self.cursor.sweep

    @sweep.setter
    def sweep(self, sweep: Sweep) -> None:
        self.cursor = msgspec.structs.replace(self.cursor, sweep=sweep)

    @property
    def today(self) -> date:
        """The salon's date."""
        return self.batch.today

    @property
    def ends(self) -> Dates:
        """The dates that are sent for open ends."""
        return WIDEST if self.cursor.wide else self.far

    async def run(self) -> Result:
        """Read until the stream is proved or the batch's units are used up."""
        batch = self.batch
        async with InFlight[Window]() as flight:
            while True:
                room = max(0, min(batch.ahead - len(flight), batch.room))
                self.sweep, windows = sweeps.hand_out(self.sweep, list(flight.values()), room, self.today)
                for window in windows:
                    batch.units -= 1
                    self.asked[window] = self.sweep.size
                    flight.start(window, self._ask(window))
                if not flight:
                    return Result(proved=False)
                for window, task in await flight.finished():
                    if task.exception() is not None:
                        await self._failed(window, task.exception())
                        continue
                    await self._absorb(window, *task.result())
                    if (result := self.result) is not None:
                        return result

    async def _ask(self, window: Window) -> tuple[Page, Parsed[R], Answer]:
        sweep = self.sweep
        asked = await self.resolved(window)
        if window.paged:
            return await self._settled(asked, sweep)
        page, parsed, answer = await self._page(asked, sweep, 1)
        if sweeps.judge(sweep, answer) is Verdict.PROBE:
            _, more = await self._read(self.request(asked, sweep, 2))
            new = set(more.ids) - set(parsed.ids)
            answer = msgspec.structs.replace(answer, next_page_empty=not new)
        return page, parsed, answer

    async def _page(self, window: Window, sweep: Sweep, number: int) -> tuple[Page, Parsed[R], Answer]:
        delta = window.root and number == 1 and self.cursor.kind == "delta"
        page, parsed = await self._read(self.request(window, sweep, number), delta=delta)
        return page, parsed, self._answer(window, sweep, page, parsed)

    async def _read(self, request: Request, *, delta: bool = False) -> tuple[Page, Parsed[R]]:
        """One answer. A 404 is one without rows if the list is there; for a delta that is looked at once a day."""
        try:
            return await self.batch.read(replace(request, none=delta and self.cursor.none_on == self.today), self.parse)
        except NotFound:
            if not self.there:
                await self._find_list()
        self.batch.reread += 1
        try:
            return await self.batch.read(request, self.parse)  # once is no proof
        except NotFound as exc:
            if delta:
                self.cursor = msgspec.structs.replace(self.cursor, none_on=self.today)
            return self.batch.nothing(exc, 2), self.parse(())

    async def _find_list(self) -> None:
        """Return where a 404 may mean "none". Raises NotFound where it means that there is no such list, or no such salon."""
        batch = self.batch
        if await batch.pages.count(batch.company, self.stream):
            # Rows that are stored are not called none while the list does not show one.
            first = msgspec.structs.replace(self.sweep, changed_after=None, size=1)
            try:
                await batch.fetch(self.request(Window(root=True), first, 1))
            except NotFound:
                raise not_offered(batch) from None
        else:
            await batch.fetch(ep.company(batch.company))
        self.there = True

    def _steady(self, rows: Sequence[R], since: datetime | None = None) -> set[int]:
        """Rows unchanged since then, or since the sweep began. Those that have changed are in the delta that closes it."""
        since = since or self.sweep.began
        if since is None:
            return set()
        return {row.id for row in rows if row.changed_at is not None and row.changed_at < since}

    def _answer(self, window: Window, sweep: Sweep, page: Page, parsed: Parsed[R]) -> Answer:
        placed = [self.place(row) for row in parsed.rows]
        own = [(row, one) for row, one in zip(parsed.rows, placed, strict=True) if _distance(one.made, window) == 0]
        dates = [one.day for one in placed]
        newest_first = len(dates) > 1 and dates[0] > dates[-1]
        counted_at = sweep.counted_at(window)
        last_day = [one for one in placed if one.day == window.hi] if window.hi else []
        return Answer(
            asked=sweep.size,
            rows=parsed.seen,
            distinct=distinct(parsed),
            total=page.total,
            oldest=min(dates, default=None),
            newest=max(dates, default=None),
            newest_first=newest_first,
            cut=sweeps.cut_date(dates, newest_first),
            after_midnight=self.batch.zone is not UNKNOWN  # then nobody knows when midnight was
            and any(one.at.astimezone(self.batch.zone).time() != time(0) for one in last_day),
            outside=sum(1 for one in placed if _outside(one, window)),
            staff=tuple(sorted({one.staff_id for one in placed if one.staff_id is not None})),
            steady=len(self._steady([row for row, _ in own], counted_at)),
            counted_at=page.counted_at,
            made=tuple(one.made for _, one in own if one.made is not None),
            own=len({row.id for row, _ in own}),
            strangers=sum(1 for one in placed if _distance(one.made, window) > STRANGE_DAYS),
        )

    async def _settled(self, window: Window, sweep: Sweep) -> tuple[Page, Parsed[R], Answer]:
        """A window that is too full and cannot be split: page by page, until a reading shows nothing new that was there before.

        Pages of one reading may lose rows, even where nothing changes (the order of equal rows is open): readings add up.
        """
        first: Page | None = None
        rows: list[bytes] = []
        found: set[int] = set()
        dates: dict[int, datetime] = {}  # when each changed last, as it was shown last
        counts: list[_Count] = []
        quiet = 0
        for reading in range(SETTLED_ROUNDS):
            new: set[int] = set()
            number = 0
            while True:
                number += 1
                page, parsed, answer = await self._page(window, sweep, number)
                self.batch.reread += reading > 0
                first = first or page
                if number == 1 and page.total is not None:
                    counts.append(_Count(page.counted_at, page.total, dict(dates)))
                shown = {row.id: row.changed_at for row in parsed.rows if row.changed_at is not None}
                for count in counts:
                    count.show(shown)
                dates |= shown
                rows += page.rows
                new |= (self._steady(parsed.rows) if reading else set(parsed.ids)) - found
                found.update(parsed.ids)
                if answer.rows < sweep.size and (answer.rows == 0 or answer.rows < sweep.longest):
                    break
                if number > 10_000:
                    raise ApiError(f"salon {self.batch.company}, {self.stream}: the pages of a window do not end")
            quiet = 0 if new else quiet + 1
            believed = all(len(each.shown) <= each.total for each in counts)
            complete = believed and any(len(each.shown) == each.total for each in counts)
            counted = page.total is not None and not sweep.lies
            enough = QUIET_UNCOUNTED if not counted else 1 if complete else QUIET_MOVING
            if number == 1 or quiet >= enough:
                parsed = self.parse(tuple(rows))
                answer = self._answer(window, sweep, page, parsed)
                return first, parsed, msgspec.structs.replace(answer, rows=len(found), next_page_empty=True)
        raise ApiError(
            f"salon {self.batch.company}, {self.stream}: a full day changes faster than it can be read; tried again later."
        )

    async def _failed(self, window: Window, error: BaseException | None) -> None:
        """A page that may be too large is asked smaller, down to the smallest; anything else ends the batch."""
        assert error is not None
        if not self.batch.too_large(error, self.sweep.size, sweeps.MIN_SIZE):
            raise error
        if self.asked.get(window, 0) > self.sweep.size:
            return  # smaller pages are asked already
        if isinstance(error, Rejected) and self.sweep.size > self.documented_size:
            self.sweep = msgspec.structs.replace(self.sweep, size=self.documented_size, longest=0)
        else:
            self.sweep = sweeps.shrink(self.sweep, smaller_by(error))
        self.smaller = True
        emit(_log, PAGE_SIZE_CHANGED, **self.batch.where, size=self.sweep.size, reason=why_smaller(error))

    async def _absorb(self, window: Window, page: Page, parsed: Parsed[R], answer: Answer) -> None:
        batch = self.batch
        if self.smaller:
            self.smaller = False
            self.cursor = msgspec.structs.replace(self.cursor, size=self.sweep.size)
        if window.root:
            self.sweep = msgspec.structs.replace(self.sweep, began=page.watermark)
            self._check_delta(parsed)
            if self.cursor.kind == "delta" and not (page.absent or parsed.seen):
                self.cursor = msgspec.structs.replace(self.cursor, none_on=None)  # "none" is not said with a 404 here
        before = self.sweep
        sweep, verdict = sweeps.absorb(before, window, answer, self.today)
        if verdict is Verdict.PROBE:
            # Judged clear when it was asked, but a later answer taught otherwise: it is asked again.
            batch.reread += 1
            return
        if window.root and verdict is Verdict.SPLIT and await self.widened(answer):
            batch.reread += 1
            return
        if answer.outside and verdict is Verdict.SPLIT:
            sweep = self._unfiltered(sweep, window, answer)
        self.sweep = sweep
        if window.root and verdict is Verdict.SPLIT:
            await self.choose_way()
            if self.cursor.kind == "full":
                batch.phase = "filling"
                batch.pass_started_at = page.observed_at
        pages: list[PageRows] = []
        if verdict is Verdict.WHOLE:
            swept = None if page.absent else self._swept(window, answer, parsed)
            pages = [PageRows(self.stream, parsed.rows, parsed.rejects, page.observed_at, swept)]
        if sweep.lies and not before.lies:
            emit(_log, API_ASSUMPTION, **batch.where, assumption="total_count", action="pages are read to their end")
        if self.cursor.kind == "full":
            batch.expected = self.sweep.total
            batch.done = min(self.sweep.seen, self.sweep.total or 0)
        await self._store(pages)

    async def _store(self, pages: list[PageRows]) -> None:
        batch, way = self.batch, cursors.WAYS[self.stream]
        forget = self.fresh and way.changes  # where nothing tells what moved, a doubt lasts until it is settled
        self.fresh = False
        if self.sweep.finished and self.sweep.clients is not None and self.sweep.steady < (self.sweep.total or 0):
            self.sweep = sweeps.then_windows(self.sweep)
        if not self.sweep.finished:
            await batch.commit(self.cursor, pages, forget_sweep=forget)
            return
        windows = self.cursor.kind != "delta" or not way.changes
        whole = windows and not self.cursor.delta_ignored
        since = self.sweep.began if whole and self.cursor.kind == "full" else self.cursor.whole_since
        start = self.cursor.swept_from
        self.cursor, proved = cursors.finish(
            self.cursor, self.stream, batch.now(), batch.zone, batch.settings.active.recheck_days
        )
        # A row that moved while the windows were read is in the deltas that close it: nothing is gone before they are read too.
        whole = whole or self.cursor.swept
        self.cursor = msgspec.structs.replace(
            self.cursor, swept=whole and proved is None, whole_since=None if proved else since
        )
        batch.phase = "live" if proved is not None or batch.phase == "live" else "closing"
        changed = batch.effect.inserted + batch.effect.changed + batch.effect.deleted > 0 or bool(pages)
        effect = await batch.commit(
            self.cursor,
            pages,
            proved_as_of=proved,
            end_of_sweep=EndOfSweep(
                (self.stream,),
                SWEEP_SHARE,
                batch.confirm_deletions,
                settled=since,
                start=None if start is None else self._midnight(start),
                doubted_before=None if way.changes else since or NEVER,
            )
            if whole and proved
            else None,
            forget_sweep=forget,
            count=proved is not None and changed,
        )
        if proved is not None:
            self.result = Result(proved=True, held_back=effect.held_back)

    def _swept(self, window: Window, answer: Answer, parsed: Parsed[R]) -> Swept | None:
        """What this window proves to be gone: only a whole reading of all staff and clients proves anything."""
        if (
            self.sweep.changed_after is not None
            or window.part
            or window.position is not None
            or window.paged
            or answer.outside
            or repeats(parsed)
            or (parsed.seen == 0 and not window.root)
        ):
            return None
        first, last = closed(window.lo, window.hi, self.ends)
        day = timedelta(days=1 if self.sweep.inclusive else 0)
        lo, hi = self._midnight(first), self._midnight(last + day)
        if self.batch.zone is UNKNOWN:
            # Only what lies in these days by every clock of the world may be called missing.
            lo, hi = lo + WEST, hi - EAST
        return Swept(parsed.ids, "dates", lo, hi)

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(0), self.batch.zone)

    def _check_delta(self, parsed: Parsed[R]) -> None:
        if self.sweep.changed_after is not None and unfiltered(parsed, self.cursor.since):
            emit(
                _log, API_ASSUMPTION, **self.batch.where, assumption="changed_after filters",
                action="every cycle reads everything",
            )  # fmt: skip
            self.cursor = msgspec.structs.replace(self.cursor, delta_ignored=True)

    def _unfiltered(self, sweep: Sweep, window: Window, answer: Answer) -> Sweep:
        """The server does not filter by date: windows are no use, all is read page by page."""
        emit(
            _log, API_ASSUMPTION, **self.batch.where, assumption="start_date and end_date filter",
            action="all is read page by page until two readings agree", got=answer.outside,
        )  # fmt: skip
        everything = Window(paged=True, estimate=sweep.total or 0)
        return msgspec.structs.replace(sweep, pending=(everything,), planned=True, days=())


def _distance(day: date | None, window: Window) -> int:
    """Days between a date and the range of dates on which the window's rows were made."""
    if day is not None and window.made_lo is not None and day < window.made_lo:
        return (window.made_lo - day).days
    if day is not None and window.made_hi is not None and day > window.made_hi:
        return (day - window.made_hi).days
    return 0


def _outside(placed: Placed, window: Window) -> bool:
    return (
        (window.lo is not None and placed.day < window.lo)
        or (window.hi is not None and placed.day > window.hi)
        or (window.staff_id is not None and placed.staff_id != window.staff_id)
        or (window.client_id is not None and placed.client_id != window.client_id)
    )
