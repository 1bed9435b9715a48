"""How does a batch read a list page by page? In overlapping pages (plan.scan), each stored with the cursor it proves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import msgspec

from ycsync.api import Page, Request
from ycsync.api import endpoints as ep
from ycsync.errors import ApiError, NotFound, Rejected, Transient
from ycsync.logs import API_ASSUMPTION, PAGE_SIZE_CHANGED, PASS_RESTARTED, emit, get_logger
from ycsync.model import Parsed
from ycsync.plan import cursor as cursors
from ycsync.plan import scan as scans
from ycsync.plan.scan import Ask, Scan, Verdict
from ycsync.store.pages import EndOfSweep, PageRows, Swept
from ycsync.sync.batch import SWEEP_SHARE, Batch, InFlight, Result, not_offered, repeats, smaller_by, unfiltered, why_smaller

R = TypeVar("R")
_log = get_logger(__name__)


class PagesBatch(ABC, Generic[R]):
    """One batch of such a stream. A subclass says what is asked and how it is read."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.stream = batch.claim.stream
        before = cursors.decode(batch.claim.cursor)
        self.fresh = not before.busy
        days = batch.settings.active.recheck_days
        self.cursor = cursors.begin(before, self.stream, batch.now(), batch.zone, days, wanted=batch.claim.wanted)
        self.result: Result | None = None
        self.smaller = False  # pages are asked smaller; that is remembered as soon as one of them comes

    @abstractmethod
    def request(self, ask: Ask, scan: Scan) -> Request:
        """What asks for one page."""

    @abstractmethod
    def parse(self, rows: Sequence[bytes]) -> Parsed[R]:
        """The rows of an answer."""

    async def empty(self, ask: Ask) -> bool:
        """Return whether a 404 may mean "none" here; else the list is to be read another way now.

        Raises NotFound where there is no such list, or no such salon.
        """
        batch = self.batch
        if await batch.pages.count(batch.company, self.stream):
            # Rows that are stored are not called none while the list does not show one.
            first = msgspec.structs.replace(self.scan, changed_after=None)
            try:
                await batch.fetch(self.request(Ask(1, 1), first))
            except NotFound:
                raise not_offered(batch) from None
        else:
            await batch.fetch(ep.company(batch.company))
        return True

    async def began(self, parsed: Parsed[R]) -> None:
        """The first page of a reading came."""

    async def close(self) -> None:
        """The stream is proved: a last look, which may take `result` away again."""

    @property
    def untold(self) -> frozenset[str]:
        """Columns of which the answers say nothing: what is stored stays."""
        return frozenset()

    @property
    def scan(self) -> Scan:
        """The reading under way."""
        assert self.cursor.scan is not None
        return self.cursor.scan

    @scan.setter
    def scan(self, scan: Scan) -> None:
        self.cursor = msgspec.structs.replace(self.cursor, scan=scan)

    async def run(self) -> Result:
        """Read until the stream is proved or the batch's units are used up."""
        batch = self.batch
        while self.result is None:
            if (room := batch.room) < 1:
                return Result(proved=False)
            # Pages are asked ahead, but absorbed in order: each must join on to the one before.
            async with InFlight[Ask]() as flight:
                for ask in scans.asks(self.scan, min(batch.ahead, room)):
                    batch.units -= 1
                    flight.start(ask, self._page(ask, self.scan))
                for task, ask in list(flight.items()):
                    try:
                        page, parsed = await task
                    except (Transient, Rejected) as exc:
                        self._smaller(exc)
                        break
                    except NotFound:
                        if (empty := await self._nothing(ask)) is None:
                            break
                        page, parsed = empty
                    flight.pop(task, None)
                    if not await self._absorb(ask, page, parsed) or self.result is not None:
                        break
            if self._proved:
                await self.close()
        return self.result

    @property
    def _proved(self) -> bool:
        return self.result is not None

    async def _page(self, ask: Ask, scan: Scan) -> tuple[Page, Parsed[R]]:
        none = self._is_delta(ask, scan) and self.cursor.none_on == self.batch.today
        return await self.batch.read(replace(self.request(ask, scan), none=none), self.parse)

    @staticmethod
    def _is_delta(ask: Ask, scan: Scan) -> bool:
        return ask.page == 1 and scan.changed_after is not None

    async def _nothing(self, ask: Ask) -> tuple[Page, Parsed[R]] | None:
        """A page without rows instead of a 404 that means "none"; None: read anew. For a delta that is looked at once a day."""
        batch = self.batch
        if not await self.empty(ask):
            return None
        batch.reread += 1
        try:
            return await self._page(ask, self.scan)  # once is no proof
        except NotFound as exc:
            if self._is_delta(ask, self.scan):
                self.cursor = msgspec.structs.replace(self.cursor, none_on=batch.today)
            return batch.nothing(exc, 2), self.parse(())

    async def _absorb(self, ask: Ask, page: Page, parsed: Parsed[R]) -> bool:
        """Store one page; False when what was asked after it is void."""
        batch = self.batch
        if self.smaller:
            self.smaller = False
            self.cursor = msgspec.structs.replace(self.cursor, size=self.scan.size)
        before = self.scan
        if before.longest == 0:
            before = msgspec.structs.replace(before, began=page.watermark)
            self._check_delta(parsed)
            if before.changed_after is not None and not (page.absent or parsed.seen):
                self.cursor = msgspec.structs.replace(self.cursor, none_on=None)  # "none" is not said with a 404 here
            await self.began(parsed)
        scan, verdict = scans.absorb(before, ask, parsed.ids, parsed.seen, page.total)
        self.scan = scan
        if verdict is Verdict.AGAIN:
            if scans.stuck(scan):
                raise ApiError(
                    f"salon {batch.company}, {self.stream}: the list changes faster than it can be read; tried again later."
                )
            batch.reread += 1
            if parsed.seen or page.total is not None:  # an empty page of a list without a count is as a rule its end
                emit(_log, PASS_RESTARTED, **batch.where, reason="rows vanished between two pages", count=scan.back)
            await batch.commit(self.cursor)
            return False
        if self.cursor.kind == "full":
            if not (before.longest == 0 and scan.done):
                batch.phase = "filling"
                batch.pass_started_at = batch.pass_started_at or page.observed_at
            batch.expected, batch.done = scan.total, min(scan.pos, scan.total or scan.pos)
        await self._store(ask, page, parsed, before, scan)
        return scan.size == before.size

    async def _store(self, ask: Ask, page: Page, parsed: Parsed[R], before: Scan, scan: Scan) -> None:
        batch = self.batch
        swept = None
        if scan.changed_after is None and scan.ascending and not repeats(parsed):
            last = parsed.ids[-1] if parsed.ids else before.last_id
            swept = Swept(parsed.ids, "ids", before.last_id or None, None if scan.done else last)
        pages = [PageRows(self.stream, parsed.rows, parsed.rejects, page.observed_at, swept, self.untold)]
        forget, self.fresh = self.fresh, False
        if not scan.done:
            await batch.commit(self.cursor, pages, forget_sweep=forget)
            return
        whole = self.cursor.kind != "delta" and scan.ascending
        since = self.scan.began if whole else self.cursor.whole_since
        self.cursor, proved = cursors.finish(
            self.cursor, self.stream, batch.now(), batch.zone, batch.settings.active.recheck_days
        )
        # Who came back while the list was read is in the deltas that close it: nobody is gone before they are read too.
        whole = whole or self.cursor.swept
        self.cursor = msgspec.structs.replace(
            self.cursor, swept=whole and proved is None, whole_since=None if proved else since
        )
        batch.phase = "live" if proved is not None or batch.phase == "live" else "closing"
        effect = await batch.commit(
            self.cursor,
            pages,
            proved_as_of=proved,
            end_of_sweep=EndOfSweep((self.stream,), SWEEP_SHARE, batch.confirm_deletions, settled=since)
            if whole and proved
            else None,
            forget_sweep=forget,
            count=proved is not None,
        )
        if proved is not None:
            self.result = Result(proved=True, held_back=effect.held_back)

    def _check_delta(self, parsed: Parsed[R]) -> None:
        if self.scan.changed_after is not None and unfiltered(parsed, self.cursor.since):
            emit(
                _log, API_ASSUMPTION, **self.batch.where, assumption="changed_after filters",
                action="every cycle reads everything",
            )  # fmt: skip
            self.cursor = msgspec.structs.replace(self.cursor, delta_ignored=True)

    def _smaller(self, error: Transient | Rejected) -> None:
        """A page that may be too large is asked smaller, down to the smallest; anything else ends the batch."""
        if not self.batch.too_large(error, self.scan.size, scans.MIN_SIZE):
            raise error
        self.scan = scans.shrink(self.scan, smaller_by(error))
        self.smaller = True
        emit(_log, PAGE_SIZE_CHANGED, **self.batch.where, size=self.scan.size, reason=why_smaller(error))
