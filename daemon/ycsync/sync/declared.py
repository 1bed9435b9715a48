"""How is a declared stream read (model.declared)? By pages, by windows of dates, or in one answer, as its declaration says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from ycsync.api import Page, Request
from ycsync.api import endpoints as ep
from ycsync.errors import NotFound, Rejected
from ycsync.logs import API_ASSUMPTION, PAGE_SIZE_CHANGED, emit, get_logger
from ycsync.model import Parsed
from ycsync.model.declared import Declared, Paging, parse_declared
from ycsync.model.streams import DECLARED
from ycsync.plan.cursor import Cursor, decode
from ycsync.plan.dates import closed
from ycsync.plan.scan import Ask, Scan
from ycsync.plan.sweep import Sweep, Window
from ycsync.store.pages import EndOfSweep, PageRows, Swept
from ycsync.sync.batch import SWEEP_SHARE, Batch, Result, not_offered, repeats, why_smaller
from ycsync.sync.pages import PagesBatch
from ycsync.sync.windows import Placed, WindowsBatch

SHORTEST_SPAN = timedelta(days=7)
STAFF_WAIT_S = 60.0
_log = get_logger(__name__)


async def run(batch: Batch) -> Result:
    """One batch of a declared stream."""
    paging = DECLARED[batch.claim.stream].paging
    if paging is Paging.PAGES:
        return await _Pages(batch).run()
    if paging is Paging.WINDOWS:
        return await _Windows(batch, doubted=await batch.pages.doubted(batch.company, batch.claim.stream)).run()
    return await _Answer(batch).run()


class _Pages(PagesBatch[Any]):
    def request(self, ask: Ask, scan: Scan) -> Request:
        return ep.declared(
            DECLARED[self.stream], self.batch.company, page=(ask.page, ask.count), changed_after=scan.changed_after
        )

    def parse(self, rows: Sequence[bytes]) -> Parsed[Any]:
        return parse_declared(DECLARED[self.stream], rows, self.batch.zone)


class _Windows(WindowsBatch[Any]):
    def request(self, window: Window, sweep: Sweep, page: int) -> Request:
        first, last = closed(window.lo, window.hi, self.ends)
        return ep.declared(
            DECLARED[self.stream], self.batch.company, page=(page, sweep.size), first=first, last=last,
            changed_after=sweep.changed_after,
        )  # fmt: skip

    def parse(self, rows: Sequence[bytes]) -> Parsed[Any]:
        return parse_declared(DECLARED[self.stream], rows, self.batch.zone)

    def place(self, row: Any) -> Placed:
        at: datetime = getattr(row, str(DECLARED[self.stream].dated))
        return Placed(row.day, at)


class _Answer:
    """All of some days in one answer, which is one moment: a day that is not in it any more is gone."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.stream: Declared = DECLARED[batch.claim.stream]
        self.none_on = decode(batch.claim.cursor).none_on

    async def run(self) -> Result:
        """Read the days around today."""
        batch, stream = self.batch, self.stream
        today = batch.now().astimezone(batch.zone).date()
        first, last = today - timedelta(days=stream.span[0]), today + timedelta(days=stream.span[1])
        while True:
            try:
                if (pages := await self._read(first, last)) is None:
                    return Result(proved=False, wait_s=STAFF_WAIT_S)
                break
            except Rejected as exc:  # perhaps it is more days than may be asked for
                if last - first <= SHORTEST_SPAN:
                    raise
                last = first + max((last - first) / 2, SHORTEST_SPAN)
                emit(_log, PAGE_SIZE_CHANGED, **batch.where, size=(last - first).days + 1, reason=why_smaller(exc))
        as_of = min(page.watermark for page, _, _ in pages)
        batch.phase = "live"
        batch.expected = batch.done = sum(parsed.seen for _, parsed, _ in pages)
        effect = await batch.commit(
            Cursor(kind="delta", since=as_of, none_on=self.none_on),
            [PageRows(stream.name, parsed.rows, parsed.rejects, page.observed_at, swept) for page, parsed, swept in pages],
            proved_as_of=as_of,
            end_of_sweep=EndOfSweep((stream.name,), SWEEP_SHARE, batch.confirm_deletions, settled=as_of, start=first),
            forget_sweep=True,
            count=True,
        )
        return Result(proved=True, held_back=effect.held_back)

    async def _read(self, first: date, last: date) -> list[tuple[Page, Parsed[Any], Swept | None]] | None:
        """Answers, their rows, and what they prove to be gone; None: who works here must be known first."""
        page, parsed = await self._ask(first, last)
        if parsed.rows or not parsed.rejects:
            return [(page, parsed, self._swept(first, last, [parsed]))]
        # The answer does not say whose days it tells: then they are asked for one by one.
        batch = self.batch
        staff = await batch.pages.staff_ids(batch.company)
        emit(
            _log, API_ASSUMPTION, **batch.where, assumption="each day says whose it is", action="each master is asked for",
            got=len(staff),
        )  # fmt: skip
        answers = [(one, await self._ask(first, last, one)) for one in staff]
        if not answers:
            return None if batch.settings.streams.get("staff") else [(page, parsed, None)]
        swept = self._swept(first, last, [each for _, (_, each) in answers])
        return [(each, rows, swept if n == len(answers) - 1 else None) for n, (_, (each, rows)) in enumerate(answers)]

    async def _ask(self, first: date, last: date, staff: int | None = None) -> tuple[Page, Parsed[Any]]:
        batch = self.batch
        more = () if staff is None else (("staff_ids[]", str(staff)),)
        request = ep.declared(self.stream, batch.company, first=first, last=last, more=more)
        given = {} if staff is None else {"staff_id": staff}

        def parse(rows: tuple[bytes, ...]) -> Parsed[Any]:
            return parse_declared(self.stream, rows, batch.zone, **given)

        try:
            return await batch.read(request, parse)
        except NotFound as exc:
            if await batch.pages.count(batch.company, self.stream.name):
                raise not_offered(batch) from None
            if self.none_on != batch.today:
                await batch.fetch(ep.company(batch.company))
                self.none_on = batch.today
            return batch.nothing(exc), parse(())

    def _swept(self, first: date, last: date, answers: Sequence[Parsed[Any]]) -> Swept | None:
        """What the answers prove to be gone; nothing where a row stands twice or could not be read."""
        if any(repeats(parsed) for parsed in answers):
            return None
        ids = tuple(entity for parsed in answers for entity in parsed.ids)
        return Swept(ids, "dates", first, last + timedelta(days=1))
