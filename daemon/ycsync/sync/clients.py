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
from ycsync.plan import scan as scans
from ycsync.plan.scan import Ask, Scan
from ycsync.sync.batch import Batch
from ycsync.sync.pages import PagesBatch

# What clients/search does not tell; a card that is known keeps it.
NOT_IN_SEARCH = frozenset(
    ("surname", "patronymic", "sex_id", "birth_date", "importance_id", "card", "comment", "categories", "balance", "changed_at")
)
_log = get_logger(__name__)


class ClientsBatch(PagesBatch[Client]):
    """One batch of the clients stream."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self.checked = False

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
        """At the end of a first sync, look once more for clients that were deleted since."""
        if self.batch.claim.options.get("closing") and await self._somebody_vanished():
            self.result = None

    async def _somebody_vanished(self) -> bool:
        """The end of a first sync: a client deleted since its page was read shows only in the count. Then all is read again."""
        if self.checked or self.cursor.search or self.cursor.busy:
            return False
        self.checked = True
        page = await self.batch.fetch(ep.clients(self.batch.company, Ask(1, 1), None))
        if page.total is None or page.total >= await self.batch.pages.clients_known(self.batch.company):
            return False
        size = self.cursor.size or scans.MAX_SIZE
        self.cursor = msgspec.structs.replace(self.cursor, kind="recheck", rounds=0, scan=Scan(size=size))
        self.fresh = True
        self.batch.reread += max(1, math.ceil(self.batch.done / size))
        emit(_log, PASS_RESTARTED, **self.batch.where, reason="clients were deleted since their pages were read", count=1)
        return True

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
