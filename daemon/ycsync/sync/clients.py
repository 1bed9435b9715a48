"""How are the clients read? Page by page in order of id (sync.pages), by the list of full cards or by clients/search."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from ycsync.api import Request
from ycsync.api import endpoints as ep
from ycsync.errors import NotFound
from ycsync.logs import API_ASSUMPTION, PASS_RESTARTED, emit, get_logger
from ycsync.model import Client, CompanyId, Parsed, parse_clients
from ycsync.plan import cursor as cursors
from ycsync.plan import scan as scans
from ycsync.plan.scan import Ask, Scan
from ycsync.sync.batch import Batch
from ycsync.sync.pages import PagesBatch

# What clients/search does not tell; a card that is known keeps it.
NOT_IN_SEARCH = frozenset(
    (
        "surname",
        "patronymic",
        "sex_id",
        "birth_date",
        "birth_month",
        "birth_day",
        "importance_id",
        "card",
        "comment",
        "categories",
        "balance",
        "changed_at",
    )
)
FEWEST, MOST = 10, 20  # rows of the page that is looked at for the count: no more than the API gives unasked
_log = get_logger(__name__)


def last_page(known: int) -> Ask:
    """The page on which a list of so many rows ends, of a size that leaves room for rows that came and that went."""
    size = max(range(FEWEST, MOST + 1), key=lambda size: min(known % size, size - known % size))
    return Ask(known // size + 1, size)


class ClientsBatch(PagesBatch[Client]):
    """One batch of the clients stream."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self.deleted: int | None = None  # rows deleted before the list was read again for its count

    def request(self, ask: Ask, scan: Scan) -> Request:
        if self.cursor.search:
            return ep.clients_search(self.batch.company, ask)
        return ep.clients(self.batch.company, ask, scan.changed_after)

    def parse(self, rows: Sequence[bytes]) -> Parsed[Client]:
        return parse_clients(CompanyId(self.batch.company), rows, self.batch.zone)

    @property
    def untold(self) -> frozenset[str]:
        return NOT_IN_SEARCH if self.cursor.search else frozenset()

    async def close(self) -> None:
        """End a first pass, or one that a command asked for, with a look at the count; read the list again if it disagrees.

        A deleted client is in no delta: only the count and the ids show it. A look that a killed process owes stays in the
        cursor.
        """
        if self.cursor.readings is None or self.cursor.search:
            return
        held_back = self.result is not None and self.result.held_back > 0
        if not held_back and self.cursor.readings > 0 and await self._disagrees():
            self.result = None
            await self._read_again(self.cursor.readings - 1)
            return
        self.cursor = msgspec.structs.replace(self.cursor, readings=None)
        await self.batch.commit(self.cursor)

    async def _disagrees(self) -> bool:
        """Ask for the count, on the last page: clients that came since the delta stand there, and are not taken for others."""
        batch, only_changes = self.batch, self.cursor.readings == cursors.READINGS
        stored = await batch.pages.clients_known(batch.company, ())
        ask = last_page(stored)
        try:
            page, parsed = await batch.read(ep.clients(batch.company, ask, None), self.parse)
        except NotFound:  # beyond the end; or the list is no more, which the next reading finds out
            batch.tally.errors -= 1  # an answer that was asked for
            return stored > 0
        if page.total is None or ask.start <= page.total < ask.start + parsed.seen:
            return only_changes  # no count, or none that can be right: the ids tell, once
        known = await batch.pages.clients_known(batch.company, parsed.ids)
        if page.total == known or (page.total > known and not only_changes):
            return False
        if self.deleted is not None and batch.effect.deleted == self.deleted:
            emit(
                _log, API_ASSUMPTION, **batch.where, assumption="total_count counts the clients", got=page.total,
                action="a pass that a command asks for reads all ids",
            )  # fmt: skip
            return False
        return True

    async def _read_again(self, readings: int) -> None:
        """Begin the reading in the database too: a batch whose units are used up must not look like the pass's end."""
        batch, size = self.batch, self.cursor.size or scans.MAX_SIZE
        self.cursor = msgspec.structs.replace(self.cursor, kind="recheck", rounds=0, scan=Scan(size=size), readings=readings)
        self.deleted = batch.effect.deleted
        batch.reread += max(1, math.ceil(batch.done / size))
        emit(_log, PASS_RESTARTED, **batch.where, reason="the count of clients is not that of those stored", count=1)
        await batch.commit(self.cursor, forget_sweep=True)

    async def empty(self, ask: Ask) -> bool:
        """A 404 may mean "none on this page", or that the list is no more: then its successor is read (False)."""
        batch, company = self.batch, self.batch.company
        if self.cursor.search:
            raise NotFound(f"salon {company}, clients: YCLIENTS does not offer clients/search any more.")
        try:
            await batch.fetch(ep.clients(company, Ask(1, 1), None))
            return True
        except NotFound:
            batch.tally.errors -= 1
        try:
            page = await batch.fetch(ep.clients_search(company, Ask(1, 1)))
        except NotFound:
            if await batch.pages.count(company, "clients"):
                raise NotFound(
                    f"salon {company}, clients: YCLIENTS offers neither list of clients. Is the salon's id right?"
                ) from None
            batch.tally.errors -= 1
            await batch.fetch(ep.company(company))
            return True
        if not page.rows:
            return True
        await self._search_instead()
        return False

    async def began(self, parsed: Parsed[Client]) -> None:
        masked = sum(1 for row in parsed.rows if row.phone_masked or row.email_masked)
        if masked > len(parsed.rows) // 2:  # some cards hold a number with stars as somebody typed it
            emit(
                _log, API_ASSUMPTION, **self.batch.where, assumption="the user may see contacts", got=masked,
                action="real phones and e-mails are kept as they were; give the user of the token the right to see contacts",
            )  # fmt: skip

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
