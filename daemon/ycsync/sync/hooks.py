"""How does one batch work off what webhooks told of a salon? A hint is never believed: what it names is read.

Clients are fetched by their ids, many with one request. Visits come with a delta, one request for any number of them, and what
stands in lists with its list: those streams are made due, and remember it until a batch that began afterwards succeeded. What
was not found is deleted only when a read of it says `deleted: true`, or 404 while the same endpoint shows a row that is there.

A hint is taken off with the commit of what it told, unless it was told again meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from ycsync.api import Page, Request
from ycsync.api import endpoints as ep
from ycsync.errors import AccessDenied, NotFound, Rejected, Transient
from ycsync.logs import HOOKS_UNCONFIRMED, emit, get_logger
from ycsync.model import CompanyId, Parsed, parse_clients, parse_records
from ycsync.model.payload import Unreadable, read_leniently
from ycsync.model.times import zone_key
from ycsync.model.values import FieldError, as_bool
from ycsync.plan.cursor import Cursor
from ycsync.store.database import Connection
from ycsync.store.hooks import Nudge, Pending, StreamNow
from ycsync.store.pages import PageRows
from ycsync.store.work import HINTED
from ycsync.sync.batch import Batch, Result

AT_ONCE = 100  # ids in one request
MOST = 5 * AT_ONCE  # hints in one batch
SINGLES = 5  # things that are read one by one in a batch
WITNESSES = 2
COALESCE_S = 1.0  # between two batches of a salon: what comes meanwhile costs no request of its own
DELTA_S = 2.0  # between two looks whether the delta is through
PATIENCE_S = 60.0  # for it
PASS_S = 60.0  # between two looks whether the first pass is through
GIVE_UP = 5  # failures in a row: then the delta brings what the ids could not
FORGET_S = 86_400.0
# Which stream reads what a hint names, and how long after its last success at the soonest.
LISTS: dict[str, tuple[str, float]] = {
    "service": ("services", 10.0),
    "service_category": ("services", 10.0),
    "staff": ("staff", 10.0),
    "company": ("companies", 60.0),
    "good": ("goods", 10.0),
    "schedule": ("schedules", 10.0),
    "goods_operation": ("goods_operations", 10.0),
    "finance_operation": ("transactions", 10.0),
    # Of these too many hints came to be kept one by one.
    "clients": ("clients", 0.0),
    "records": ("records", 0.0),
}
Alone = Callable[[int, int], Request]
Parse = Callable[..., Parsed[Any]]
_log = get_logger(__name__)


@dataclass(slots=True)
class Looked:
    """What reading one by one showed: rows that are there, and ids that are not, with the instant before each was asked for."""

    pages: list[PageRows] = field(default_factory=list)
    missing: dict[int, datetime] = field(default_factory=dict)
    done: list[Pending] = field(default_factory=list)
    again: list[Pending] = field(default_factory=list)
    works: bool = False  # the endpoint shows what is there


class HooksBatch:
    """One batch of a salon's hints."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.hooks = batch.pages.hooks
        self.streams: dict[str, StreamNow] = {}
        self.singles = SINGLES
        self.read_at = time.monotonic()
        batch.phase = "live"

    async def run(self) -> Result:
        """Work off what is there now; more of it later."""
        batch = self.batch
        pending = await self.hooks.pending(batch.company, MOST)
        self.read_at = time.monotonic()
        self.streams = await self.hooks.streams(batch.company)
        on = {stream for stream, cadence in batch.settings.streams.items() if cadence is not None} | {"companies"}
        if any(state.zone not in (None, zone_key(batch.zone)) for stream, state in self.streams.items() if stream in on):
            # Times are being computed for another zone: a row read now would look older than one that was touched since.
            return Result(proved=True, wait_s=DELTA_S)
        # What was looked for in vain for a day: a night's sweep has told.
        dropped = [one for one in pending if _stream(one) not in on or (one.looked_for and one.age_s > FORGET_S)]
        await self._drop(dropped)
        wanted = _rest(pending, dropped)
        await self._lists([one for one in wanted if one.resource in LISTS])
        await self._records([one for one in wanted if one.resource == "record"])
        await self._clients([one for one in wanted if one.resource == "client"])
        if batch.claim.failures or batch.claim.phase != "live":
            await batch.commit(Cursor(), proved_as_of=batch.now())
        return Result(proved=True, wait_s=0.0 if len(pending) == MOST else COALESCE_S)

    # --- what a stream of its own reads -------------------------------------------------------------------------------

    async def _lists(self, hints: list[Pending]) -> None:
        if hints:
            chosen = {LISTS[one.resource] for one in hints}
            nudges = [Nudge(0 if stream == "companies" else self.batch.company, stream, gap) for stream, gap in sorted(chosen)]
            await self.hooks.hand_over(self.batch.company, hints, nudges, HINTED)

    async def _records(self, hints: list[Pending]) -> None:
        """A delta is due; what it should have brought as deleted and did not is asked for."""
        state = self.streams.get("records")
        through = state is not None and state.phase == "live"
        told = [one for one in hints if one.status != "delete"]
        deleted = [one for one in hints if one.status == "delete" and not one.looked_for]
        looked = [one for one in hints if one.status == "delete" and one.looked_for]
        delta = [Nudge(self.batch.company, "records")]
        if told:  # while the first pass is under way, its closing delta brings them
            await self.hooks.hand_over(self.batch.company, told, delta, HINTED)
        if deleted:
            wait_s = DELTA_S if through else PASS_S
            await self.hooks.hand_over(self.batch.company, deleted, delta, HINTED, keep_s=wait_s)
        if not looked:
            return
        if not through:
            await self._keep(looked, PASS_S)
            return
        assert state is not None
        waiting = [one for one in looked if state.nudged and one.age_s < PATIENCE_S]
        await self._keep(waiting, DELTA_S)
        await self._one_by_one("records", ep.record, partial(parse_records, zone=self.batch.zone), _rest(looked, waiting))

    # --- clients ------------------------------------------------------------------------------------------------------

    async def _clients(self, hints: list[Pending]) -> None:
        batch = self.batch
        state = self.streams.get("clients")
        if state is None or state.phase != "live":
            # The first pass is under way: its closing delta brings what changed; what was deleted is looked at after it.
            await self._drop([one for one in hints if one.status != "delete"])
            await self._keep([one for one in hints if one.status == "delete"], PASS_S)
            return
        told = [one for one in hints if not one.looked_for]
        if batch.claim.failures >= GIVE_UP and state.follows and (left := [one for one in told if one.status != "delete"]):
            await self.hooks.hand_over(batch.company, left, [Nudge(batch.company, "clients")], HINTED)
            told = _rest(told, left)
        for place in range(0, len(told), AT_ONCE):
            await self._by_ids(told[place : place + AT_ONCE])
        looked = [one for one in hints if one.looked_for]
        await self._one_by_one("clients", ep.client, partial(parse_clients, zone=batch.zone), looked)

    async def _by_ids(self, hints: list[Pending]) -> None:
        """Cards by their ids. The API may leave out a filter that matches nobody: only what was asked for counts."""
        batch = self.batch
        asked = {one.resource_id for one in hints}
        try:
            page = await batch.fetch(ep.clients_by_id(batch.company, sorted(asked)))
        except NotFound:
            await self._keep(hints, 0.0)
            return
        except AccessDenied as exc:
            if not exc.right:
                raise
            await self._drop(hints)  # the stream of clients stops for the same right, and says so
            return
        except Rejected:
            if len(hints) == 1:
                await self._keep(hints, 0.0)
                return
            middle = len(hints) // 2
            await self._by_ids(hints[:middle])
            await self._by_ids(hints[middle:])
            return
        parsed = parse_clients(CompanyId(batch.company), page.rows, batch.zone)
        rows = sorted((row for row in parsed.rows if row.id in asked), key=lambda row: row.id)
        names = {str(one) for one in asked}
        rejects = [one for one in parsed.rejects if one.entity_id in names]
        found = asked & set(parsed.ids)
        here = [one for one in hints if one.resource_id in found]
        absent = _rest(hints, here)
        # Fewer rows than there are for these ids: the rest is asked for once more, not called absent.
        cut = bool(found) and set(parsed.ids) <= asked and page.total is not None and page.total > parsed.seen
        await self._commit(
            [PageRows("clients", rows, rejects, page.observed_at)], "clients", done=here, again=absent, looked_for=not cut
        )

    # --- one by one ---------------------------------------------------------------------------------------------------

    async def _one_by_one(self, table: str, request: Alone, parse: Parse, hints: list[Pending]) -> None:
        """What was not found where it should be: read, and deleted if it is not there."""
        batch = self.batch
        chosen, later = hints[: self.singles], hints[self.singles :]
        if not chosen:
            return
        self.singles -= len(chosen)
        living = await self.hooks.living(batch.company, table, [one.resource_id for one in hints])
        found = Looked(again=list(later))
        asked_at = await self.hooks.now()  # before any of them left
        for one in chosen:
            if one.status == "delete" and one.resource_id not in living:
                found.done.append(one)  # nothing is left to be deleted
                continue
            try:
                page = await batch.fetch(request(batch.company, one.resource_id))
            except NotFound:
                batch.tally.errors -= 1  # an answer that was asked for
                if one.resource_id in living:
                    found.missing[one.resource_id] = asked_at
                found.done.append(one)
            except Transient as exc:
                if exc.unreached:
                    raise
                found.again.append(one)
            except (Rejected, AccessDenied) as exc:
                if isinstance(exc, AccessDenied) and not exc.right:
                    raise
                found.done.append(one)  # of this one nothing can be learnt; the night's sweep tells
                self._unconfirmed(table, 1, "it may not be read alone")
            else:
                self._there(table, page, parse(CompanyId(batch.company), page.rows), one, found)
                if found.works and one.resource_id in living and _says_deleted(page):
                    found.missing[one.resource_id] = asked_at
        if found.missing and not (found.works or await self._works(table, request, parse, list(found.missing))):
            self._unconfirmed(table, len(found.missing), "the endpoint does not show what is there either")
            found.missing.clear()
        await self._commit(
            found.pages, table, done=found.done, again=found.again, looked_for=True, missing=found.missing,
            again_s=0.0 if found.again == list(later) else DELTA_S,
        )  # fmt: skip

    def _there(self, table: str, page: Page, parsed: Parsed[Any], one: Pending, found: Looked) -> None:
        """It is there. A visit that lives came with the delta already; only that it was cancelled is kept of this answer."""
        found.done.append(one)
        if parsed.ids != (one.resource_id,):
            return
        found.works = True
        rows = [row for row in parsed.rows if table == "clients" or row.deleted]
        found.pages.append(PageRows(table, rows, parsed.rejects if table == "clients" else (), page.observed_at))

    async def _works(self, table: str, request: Alone, parse: Parse, missing: Sequence[int]) -> bool:
        """Does the endpoint show a row that is there? Else its 404 says nothing of the others."""
        but = list(missing)
        for _ in range(WITNESSES):
            witness = await self.hooks.witness(self.batch.company, table, but)
            if witness is None:
                return False
            try:
                page = await self.batch.fetch(request(self.batch.company, witness))
            except NotFound:
                but.append(witness)  # it may have been deleted just now
                continue
            except (Rejected, AccessDenied) as exc:
                if isinstance(exc, AccessDenied) and not exc.right:
                    raise
                return False
            parsed = parse(CompanyId(self.batch.company), page.rows)
            return bool(parsed.ids == (witness,))
        return False

    def _unconfirmed(self, table: str, count: int, reason: str) -> None:
        emit(_log, HOOKS_UNCONFIRMED, company=self.batch.company, stream=table, count=count, reason=reason)

    # --- what becomes of hints ----------------------------------------------------------------------------------------

    async def _commit(
        self,
        pages: Sequence[PageRows],
        stream: str,
        *,
        done: Sequence[Pending],
        again: Sequence[Pending],
        looked_for: bool,
        missing: dict[int, datetime] | None = None,
        again_s: float = 0.0,
    ) -> None:
        """Rows, deletions and the hints that they answer, all or nothing."""
        gone = 0

        async def within(connection: Connection) -> None:
            nonlocal gone
            company = self.batch.company
            await self.hooks.lock(connection, company, [stream])
            gone = await self.hooks.gone(connection, company, stream, missing or {})
            await self.hooks.done(connection, company, done)
            await self.hooks.later(connection, company, again, again_s, looked_for=looked_for)

        await self.batch.commit(Cursor(), pages, proved_as_of=self.batch.now(), recount=stream, within=within)
        self.batch.effect.deleted += gone
        waited = time.monotonic() - self.read_at
        self.batch.waited += [one.age_s + waited for one in done]

    async def _drop(self, hints: Sequence[Pending]) -> None:
        """What nobody wants to know, or what comes anyway."""
        if hints:
            await self.hooks.drop(self.batch.company, hints)

    async def _keep(self, hints: Sequence[Pending], seconds: float) -> None:
        """To be looked at one by one, in so many seconds."""
        if hints:
            await self.hooks.keep(self.batch.company, hints, seconds)


def _says_deleted(page: Page) -> bool:
    """Does an answer for one row say that it is deleted? Its other fields may be gone, so that no row can be made of it."""
    try:
        payload = read_leniently(page.rows[0])
        return isinstance(payload, dict) and as_bool(payload.get("deleted"), "deleted")
    except (Unreadable, FieldError):
        return False


def _stream(hint: Pending) -> str:
    if hint.resource in LISTS:
        return LISTS[hint.resource][0]
    return f"{hint.resource}s"


def _rest(hints: Sequence[Pending], but: Sequence[Pending]) -> list[Pending]:
    gone = {one.generation for one in but}
    return [one for one in hints if one.generation not in gone]
