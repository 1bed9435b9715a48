"""How are visits read? In windows of session dates (sync.windows), or client by client where that costs less."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ycsync.api import Page, Request
from ycsync.api import endpoints as ep
from ycsync.errors import NotFound, Rejected, Transient
from ycsync.logs import API_ASSUMPTION, emit, get_logger
from ycsync.model import CompanyId, Parsed, Record, parse_records
from ycsync.plan import cursor as cursors
from ycsync.plan import sweep as sweeps
from ycsync.plan.cost import bulk_requests
from ycsync.plan.dates import WIDEST, Dates
from ycsync.plan.sweep import Answer, Sweep, Window
from ycsync.sync.batch import Batch, Result
from ycsync.sync.moved import VisitsCheck
from ycsync.sync.windows import Placed, WindowsBatch

QUEUE_CHUNK = 500
CLIENTS_WAIT_S = 3.0
_log = get_logger(__name__)


class RecordsBatch(WindowsBatch[Record]):
    """One batch of the records stream."""

    documented_size = 300  # rows a page that the API is documented to give; more is asked until it is refused

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self.queue: dict[int, int] = {}

    async def run(self) -> Result:
        """As every stream of windows; but client by client waits for the clients, and visits of vanished ones are asked for."""
        if await self._waits_for_clients():
            return Result(proved=False, wait_s=CLIENTS_WAIT_S)
        if self.fresh and self.cursor.since is not None and not await self._check().run():
            return Result(proved=False)
        return await super().run()

    def _check(self) -> VisitsCheck:
        """The check of visits whose client vanished, between two readings."""
        plain = Sweep(size=self.sweep.size)

        async def read(window: Window, number: int) -> tuple[Page, Parsed[Record]]:
            return await self._read(self.request(window, plain, number))

        return VisitsCheck(self.batch, cursors.decode(self.batch.claim.cursor), plain.size, read)

    def request(self, window: Window, sweep: Sweep, page: int) -> Request:
        return ep.records(self.batch.company, window, sweep.size, self.ends, sweep.changed_after, page)

    def parse(self, rows: Sequence[bytes]) -> Parsed[Record]:
        return parse_records(CompanyId(self.batch.company), rows, self.batch.zone)

    def place(self, row: Record) -> Placed:
        made = None if row.created_at is None else row.created_at.astimezone(self.batch.zone).date()
        return Placed(row.session_date, row.starts_at, row.staff_id, row.client_id, made)

    async def resolved(self, window: Window) -> Window:
        """A place in the queue of clients becomes that client."""
        if window.position is None:
            return window
        if window.position not in self.queue:
            self.queue.update(await self.batch.pages.history_queue(self.batch.company, window.position, QUEUE_CHUNK))
        return msgspec.structs.replace(window, client_id=self.queue.get(window.position, 0))

    async def widened(self, answer: Answer) -> bool:
        """Compare the count with that of the list without dates, in a salon's first pass.

        A smaller one shows why both dates are sent; a larger one that visits lie outside of them.
        """
        total = answer.total
        first = self.cursor.kind == "full" and self.cursor.since is None and not self.cursor.wide
        if not first or self.sweep.lies or total is None or total <= answer.rows:
            return False
        undated = await self._count(None)
        if undated is None or undated == total:
            return False
        if undated < total:
            self._unexpected("records without dates are a narrow window", "both dates are always sent", undated)
            return False
        # A visit may have been made between the two: what is larger than a count before and one after it is no such visit.
        again = await self._count(self.ends)
        if again is None or undated <= again:
            return False
        widest = await self._count(WIDEST)
        wide = widest is not None and widest > again
        action = "the widest dates are sent" if wide else "those outside cannot be asked for, and are not read"
        self._unexpected("every visit lies between the far dates", action, undated - again)
        self.cursor = msgspec.structs.replace(self.cursor, wide=wide)
        return wide

    def _unexpected(self, assumption: str, action: str, got: int) -> None:
        emit(_log, API_ASSUMPTION, **self.batch.where, assumption=assumption, action=action, got=got)

    async def _count(self, ends: Dates | None) -> int | None:
        """How many visits there are between these dates; None: no count came, and only a comparison is lost."""
        try:
            return (await self.batch.fetch(ep.records(self.batch.company, Window(), 1, ends))).total
        except (NotFound, Rejected, Transient):
            return None

    async def choose_way(self) -> None:
        """Bulk or client by client, by their cost."""
        batch = self.batch
        history = batch.settings.history
        if self.cursor.kind != "full" or history == "bulk" or self.sweep.total is None:
            return
        if not await batch.pages.proved(batch.company, "clients"):
            return
        clients = await batch.pages.count(batch.company, "clients")
        if history == "by_client" or clients < bulk_requests(self.sweep.total, self.sweep.size):
            queued = await batch.pages.fill_history_queue(batch.company)
            self.sweep = sweeps.by_client(self.sweep, queued)

    async def _waits_for_clients(self) -> bool:
        """Client by client is forced, and the clients are not there yet; asking now would be for nothing."""
        settings = self.batch.settings
        if settings.history != "by_client" or self.cursor.kind != "full" or self.sweep.total is not None:
            return False
        if settings.streams.get("clients") is None:
            return False  # they will never come: the windows are read instead
        if await self.batch.pages.proved(self.batch.company, "clients"):
            return False
        if await self.batch.pages.failing(self.batch.company, "clients"):
            raise Transient(
                f"salon {self.batch.company}, records: `history: by_client` needs the clients, and they cannot be read; "
                "see what is said of the clients."
            )
        return True
