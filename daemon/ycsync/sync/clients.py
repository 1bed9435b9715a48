"""How does one batch read the clients? Overlapping pages in order of id (plan.scan), each stored with the cursor it proves."""

from __future__ import annotations

import math

import msgspec

from ycsync.api import Page
from ycsync.api import endpoints as ep
from ycsync.errors import ApiError, NotFound, Rejected, Transient
from ycsync.logs import API_ASSUMPTION, PAGE_SIZE_CHANGED, PASS_RESTARTED, emit, get_logger
from ycsync.model import Client, CompanyId, Parsed, parse_clients
from ycsync.plan import cursor as cursors
from ycsync.plan import scan as scans
from ycsync.plan.scan import Ask, Scan, Verdict
from ycsync.store.pages import EndOfSweep, PageRows, Swept
from ycsync.sync.batch import CONCURRENCY, SWEEP_SHARE, Batch, InFlight, Result, repeats, smaller_by, unfiltered, why_smaller

STREAM = "clients"
# What clients/search does not tell; a card that is known keeps it.
NOT_IN_SEARCH = frozenset(
    ("surname", "patronymic", "sex_id", "birth_date", "importance_id", "card", "comment", "categories", "balance", "changed_at")
)
_log = get_logger(__name__)


class ClientsBatch:
    """One batch of the clients stream."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        before = cursors.decode(batch.claim.cursor)
        self.fresh = not before.busy
        self.cursor = cursors.begin(before, STREAM, batch.now(), batch.zone, batch.settings.active.recheck_days)
        self.result: Result | None = None
        self.checked = False
        self.smaller = False  # pages are asked smaller; that is remembered as soon as one of them comes

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
            if batch.units < 1:
                return Result(proved=False)
            # Pages are asked ahead, but absorbed in order: each must join on to the one before.
            async with InFlight[Ask]() as flight:
                for ask in scans.asks(self.scan, min(CONCURRENCY, batch.units)):
                    batch.units -= 1
                    flight.start(ask, self._page(ask, self.scan))
                for task, ask in list(flight.items()):
                    try:
                        page, parsed = await task
                    except (Transient, Rejected) as exc:
                        self._smaller(exc)
                        break
                    except NotFound:
                        if (empty := await self._nobody(ask)) is None:
                            await self._search_instead()
                            break
                        page, parsed = empty
                    flight.pop(task, None)
                    if not await self._absorb(ask, page, parsed) or self.result is not None:
                        break
            await self._close()
        return self.result

    async def _close(self) -> None:
        """At the end of a first sync, look once more for clients that were deleted since."""
        if self.result is not None and self.batch.claim.options.get("closing") and await self._somebody_vanished():
            self.result = None

    async def _somebody_vanished(self) -> bool:
        """The end of a first sync: a client deleted since its page was read shows only in the count. Then all is read again."""
        if self.checked or self.cursor.search or self.cursor.busy:
            return False
        self.checked = True
        page = await self.batch.fetch(ep.clients(self.batch.company, Ask(1, 1), None))
        if page.total is None or page.total >= await self.batch.pages.count(self.batch.company, STREAM):
            return False
        size = self.cursor.size or scans.MAX_SIZE
        self.cursor = msgspec.structs.replace(self.cursor, kind="recheck", rounds=0, scan=Scan(size=size))
        self.fresh = True
        self.batch.reread += max(1, math.ceil(self.batch.done / size))
        emit(_log, PASS_RESTARTED, **self.batch.where, reason="clients were deleted since their pages were read", count=1)
        return True

    async def _page(self, ask: Ask, scan: Scan) -> tuple[Page, Parsed[Client]]:
        if self.cursor.search:
            request = ep.clients_search(self.batch.company, ask)
        else:
            request = ep.clients(self.batch.company, ask, scan.changed_after)
        return await self.batch.read(request, self._parse)

    def _parse(self, rows: tuple[bytes, ...]) -> Parsed[Client]:
        return parse_clients(CompanyId(self.batch.company), rows, self.batch.zone)

    async def _nobody(self, ask: Ask) -> tuple[Page, Parsed[Client]] | None:
        """404 may mean "none on this page", or that the list is no more: an empty page, or None for the latter."""
        company = self.batch.company
        if self.cursor.search:
            raise NotFound(f"salon {company}, clients: YCLIENTS does not offer clients/search any more.")
        try:
            page = await self.batch.fetch(ep.clients(company, Ask(1, 1), None))
        except NotFound:
            try:
                page = await self.batch.fetch(ep.clients_search(company, Ask(1, 1)))
            except NotFound:
                raise NotFound(
                    f"salon {company}, clients: YCLIENTS offers neither list of clients. Is the salon's id right?"
                ) from None
            if page.rows:
                return None
        self.batch.reread += 1
        try:
            return await self._page(ask, self.scan)  # once is no proof
        except NotFound:
            return self.batch.nothing(page), self._parse(())

    async def _absorb(self, ask: Ask, page: Page, parsed: Parsed[Client]) -> bool:
        """Store one page; False when what was asked after it is void."""
        batch = self.batch
        if self.smaller:
            self.smaller = False
            self.cursor = msgspec.structs.replace(self.cursor, size=self.scan.size)
        before = self.scan
        if before.longest == 0:
            before = msgspec.structs.replace(before, began=page.watermark)
            self._check_delta(parsed)
            self._check_contacts(parsed)
        scan, verdict = scans.absorb(before, ask, parsed.ids, parsed.seen, page.total)
        self.scan = scan
        if verdict is Verdict.AGAIN:
            if scans.stuck(scan):
                raise ApiError(
                    f"salon {batch.company}, clients: the list changes faster than it can be read; tried again later."
                )
            batch.reread += 1
            emit(_log, PASS_RESTARTED, **batch.where, reason="clients vanished between two pages", count=scan.back)
            await batch.commit(self.cursor)
            return False
        if self.cursor.kind == "full":
            if not (before.longest == 0 and scan.done):
                batch.phase = "filling"
                batch.pass_started_at = batch.pass_started_at or page.observed_at
            batch.expected, batch.done = scan.total, min(scan.pos, scan.total or scan.pos)
        await self._store(ask, page, parsed, before, scan)
        return scan.size == before.size

    async def _store(self, ask: Ask, page: Page, parsed: Parsed[Client], before: Scan, scan: Scan) -> None:
        batch = self.batch
        swept = None
        if scan.changed_after is None and scan.ascending and not repeats(parsed):
            last = parsed.ids[-1] if parsed.ids else before.last_id
            swept = Swept(parsed.ids, "ids", before.last_id or None, None if scan.done else last)
        untold = NOT_IN_SEARCH if self.cursor.search else frozenset[str]()
        pages = [PageRows(STREAM, parsed.rows, parsed.rejects, page.observed_at, swept, untold)]
        forget, self.fresh = self.fresh, False
        if not scan.done:
            await batch.commit(self.cursor, pages, forget_sweep=forget)
            return
        whole = self.cursor.kind != "delta" and scan.ascending
        since = self.scan.began if whole else self.cursor.whole_since
        self.cursor, proved = cursors.finish(self.cursor, STREAM, batch.now(), batch.zone, batch.settings.active.recheck_days)
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
            end_of_sweep=EndOfSweep((STREAM,), SWEEP_SHARE, batch.confirm_deletions, settled=since)
            if whole and proved
            else None,
            forget_sweep=forget,
            count=proved is not None,
        )
        if proved is not None:
            self.result = Result(proved=True, held_back=effect.held_back)

    def _check_delta(self, parsed: Parsed[Client]) -> None:
        if self.scan.changed_after is not None and unfiltered(parsed, self.cursor.since):
            emit(
                _log, API_ASSUMPTION, **self.batch.where, assumption="changed_after filters",
                action="every cycle reads everything",
            )  # fmt: skip
            self.cursor = msgspec.structs.replace(self.cursor, delta_ignored=True)

    def _check_contacts(self, parsed: Parsed[Client]) -> None:
        masked = sum(1 for row in parsed.rows if row.phone_masked or row.email_masked)
        if masked > len(parsed.rows) // 2:  # some cards hold a number with stars as somebody typed it
            emit(
                _log, API_ASSUMPTION, **self.batch.where, assumption="the user may see contacts", got=masked,
                action="real phones and e-mails are kept as they were; give the user of the token the right to see contacts",
            )  # fmt: skip

    def _smaller(self, error: Transient | Rejected) -> None:
        """A page that may be too large is asked smaller, down to the smallest; anything else ends the batch."""
        if not self.batch.too_large(error, self.scan.size, scans.MIN_SIZE):
            raise error
        self.scan = scans.shrink(self.scan, smaller_by(error))
        self.smaller = True
        emit(_log, PAGE_SIZE_CHANGED, **self.batch.where, size=self.scan.size, reason=why_smaller(error))

    async def _search_instead(self) -> None:
        """The list of full cards is deprecated; when it is gone its successor is asked, from the beginning."""
        emit(
            _log, API_ASSUMPTION, **self.batch.where, assumption="GET /clients is there",
            action="clients/search is used; it has fewer fields", endpoint="clients",
        )  # fmt: skip
        self.cursor = msgspec.structs.replace(
            self.cursor, search=True, kind="full", scan=Scan(size=ep.SEARCH_SIZE), size=ep.SEARCH_SIZE
        )
        self.fresh = True
        await self.batch.commit(self.cursor)
