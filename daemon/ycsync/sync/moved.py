"""Asks again for visits whose client vanished: a merge of cards may move visits without a date of change, so no delta has them.

Two ways lead to the visits, and the one with fewer requests is taken. The vanished client's own list shows those that still
name it, which are right as they are, and the rest is read by dates. Or all of them are read by dates, many with one request. A
visit that is not shown on its day has changed its date or is gone: the delta and the night tell that. What YCLIENTS refuses is
left for a later batch. Nothing is deleted here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from ycsync.api import Page
from ycsync.errors import AccessDenied, NotFound, Rejected, Transient
from ycsync.model import Parsed, Record
from ycsync.model.times import UNKNOWN
from ycsync.plan import moved as moves
from ycsync.plan.cursor import Cursor
from ycsync.plan.sweep import FILL, SMALLEST, Window
from ycsync.store.database import Connection
from ycsync.store.moved import VisitToCheck
from ycsync.store.pages import PageRows
from ycsync.sync.batch import Batch

MOST_PAGES = 40  # of one day that is too full for a page
MOST_REFUSED = 5  # questions that were refused end the check for this batch: the delta must not wait for it
Visits = Sequence[VisitToCheck]
Read = Callable[[Window, int], Awaitable[tuple[Page, Parsed[Record]]]]  # a window, and the page's number


class VisitsCheck:
    """One batch's check of a salon's visits. `cursor`: what the stream remembers, which this does not change."""

    def __init__(self, batch: Batch, cursor: Cursor, size: int, read: Read) -> None:
        self.batch = batch
        self.cursor = cursor
        self.size = size
        self.read = read
        # A server may leave out the rows of the last date, until it was seen that this one does not.
        self.beyond = timedelta(days=0 if cursor.inclusive else 1)
        # By an unknown zone a session may stand on the day before in the salon.
        self.before = timedelta(days=1 if batch.zone is UNKNOWN else 0)
        self.waiting: dict[int, VisitToCheck] = {}
        self.refused = 0

    async def run(self) -> bool:
        """Check all that wait; False when the batch's units were used up first."""
        batch, zone = self.batch, self.batch.zone
        self.waiting = {one.id: one for one in await batch.pages.moved.pending(batch.company, zone)}
        if not self.waiting:
            return True
        days = [one.day for one in self.waiting.values()]
        rows = await batch.pages.moved.rows_a_day(batch.company, zone, min(days), max(days))
        room = int(FILL * min(self.size, self.cursor.longest or self.size))

        def by_date(visits: Visits) -> list[Visits]:
            found = moves.spans({one.day for one in visits}, rows, room, self.beyond.days)
            return [[one for one in visits if lo <= one.day <= hi] for lo, hi in found]

        unclear = [one for one in self.waiting.values() if not one.moved]
        clients = list(dict.fromkeys(one.client for one in unclear))
        if len(clients) < len(by_date(unclear)) and not await self._by_client(clients):
            return False
        return await self._by_date(by_date(list(self.waiting.values())))

    async def _by_client(self, clients: Sequence[int]) -> bool:
        for client in clients:
            if self.refused >= MOST_REFUSED:
                break
            if self.batch.room < 1:
                return False
            moved = [one.id for one in self.waiting.values() if one.client == client]
            if (answer := await self._ask(Window(client_id=client))) is None:
                await self._mark(moved)  # who vanished may have no list any more
                continue
            page, parsed = answer
            await self._commit(page, parsed, (), moved)
            if any(row.client_id != client for row in parsed.rows):
                break  # the server does not filter by client: the dates tell
        return True

    async def _by_date(self, groups: list[Visits]) -> bool:
        while groups and self.refused < MOST_REFUSED:
            visits = [one for one in groups.pop(0) if one.id in self.waiting]
            if not visits:
                continue
            if self.batch.room < 1:
                return False
            lo, hi = min(one.day for one in visits), max(one.day for one in visits)
            window = Window(lo=lo - self.before, hi=hi + self.beyond)
            if (answer := await self._ask(window)) is None:
                # Last: one day that is refused does not keep the others from being asked for.
                groups += _halves(visits) if lo < hi else ()
                continue
            page, parsed = answer
            whole = self._whole(page, parsed)
            if any(not lo - self.before <= row.session_date <= hi + self.beyond for row in parsed.rows):
                # The server does not filter by date. Then each night reads everything, and brings these too.
                await self._commit(page, parsed, list(self.waiting.values()))
                return True
            await self._commit(page, parsed, visits if whole else ())
            if whole:
                continue
            if lo < hi:
                groups[:0] = _halves(visits)
            else:
                await self._full_day(window, visits)
        return True

    async def _full_day(self, window: Window, visits: Visits) -> None:
        """The other pages of a day; they may lose rows, and what none of them shows is left to the readings of everything."""
        for number in range(2, MOST_PAGES):
            if (answer := await self._ask(window, number)) is None:
                return
            page, parsed = answer
            last = not parsed.rows or not any(one.id in self.waiting for one in visits)
            await self._commit(page, parsed, visits if last else ())
            if last:
                return

    async def _ask(self, window: Window, number: int = 1) -> tuple[Page, Parsed[Record]] | None:
        """An answer; None: YCLIENTS refuses this one, which says nothing of the stream."""
        self.batch.units -= 1
        self.batch.reread += 1
        try:
            return await self.read(window, number)
        except (Rejected, NotFound, Transient, AccessDenied) as exc:
            if (isinstance(exc, Transient) and exc.unreached) or (isinstance(exc, AccessDenied) and not exc.right):
                raise
            self.refused += 1
            return None

    def _whole(self, page: Page, parsed: Parsed[Record]) -> bool:
        """Return whether the answer holds every row of its window: its count says so, and it is not as long as pages get."""
        cut = parsed.seen >= SMALLEST and parsed.seen >= min(self.size, self.cursor.longest or self.size)
        return not cut and (parsed.seen < SMALLEST if page.total is None else parsed.seen >= page.total)

    async def _mark(self, moved: Sequence[int]) -> None:
        """Remember that these are to be read by date."""

        async def within(connection: Connection) -> None:
            await self.batch.pages.moved.checked(connection, self.batch.company, (), moved)

        await self.batch.commit(self.cursor, within=within)

    async def _commit(self, page: Page, parsed: Parsed[Record], others: Visits, moved: Sequence[int] = ()) -> None:
        """Store the rows; those that were shown, and `others`, are checked; of the rest `moved` are to be read by date."""
        checked = {*parsed.ids, *(one.id for one in others)} & self.waiting.keys()

        async def within(connection: Connection) -> None:
            await self.batch.pages.moved.checked(connection, self.batch.company, sorted(checked), moved)

        rows = PageRows("records", parsed.rows, parsed.rejects, page.observed_at)
        await self.batch.commit(self.cursor, [rows], within=within)
        self.batch.effect.untold = 0  # no webhook tells of these, which says nothing of those that should come
        for one in checked:
            del self.waiting[one]


def _halves(visits: Visits) -> list[Visits]:
    """Those before the middle one of their days, and the others."""
    days = sorted({one.day for one in visits})
    middle = days[len(days) // 2]
    return [[one for one in visits if one.day < middle], [one for one in visits if one.day >= middle]]
