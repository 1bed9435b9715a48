"""What does one batch carry: the claim, the settings it began with, and how far it has come?"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ycsync.api import Api, Page, Request, Tally
from ycsync.config import Settings
from ycsync.errors import NotFound, Rejected, Transient
from ycsync.logs import PAGE_COMMITTED, ROW_QUARANTINED, emit, get_logger
from ycsync.model import Parsed
from ycsync.model.times import zone_key
from ycsync.plan.cursor import Cursor, encode
from ycsync.store.database import Connection
from ycsync.store.pages import Advance, Effect, EndOfSweep, PageRows, Pages
from ycsync.store.work import HOOKS, Claim
from ycsync.store.zones import ZONED

CROWDED = 2
CONCURRENCY = 6  # pages in flight: more than the limit lets out within one slow answer
IGNORED_AFTER = timedelta(hours=26)  # a row changed so long before `changed_after` was not to be sent
IGNORED_ROWS = 5
SWEEP_SHARE = 0.10  # a sweep that would delete more of the rows stops and asks
OUTAGE_BATCHES = 2  # so many batches in a row that end in 5xx are an outage; then it may be the pages that are too large
PRECEDENCE = 5  # of what is quick, over passes
REPEATED_TRIES = 2  # a page that shows a row twice may have lost another one for it: it is asked so often again

_READ_BY_ZONE = ZONED | {HOOKS}

T = TypeVar("T")
R = TypeVar("R")
_log = get_logger(__name__)


class Crowding:
    """Does work wait for places, and is this batch's turn over? Here: nobody else is there."""

    def crowded(self) -> bool:
        """Does anything wait for a place like this one's?"""
        return False

    def turn_over(self, requests: int, left: float) -> bool:
        """Is the place to be given away, after so many requests of about `left` more?"""
        return False


@dataclass(slots=True)
class Batch:
    """One batch of one stream of one salon. Settings stay those of its beginning, whatever a reload brings."""

    claim: Claim
    settings: Settings
    api: Api
    pages: Pages
    zone: ZoneInfo
    now: Callable[[], datetime]
    tally: Tally
    units: int  # that may still be started
    priority: int = 0
    quick: int | None = None  # after so many requests the rest has no precedence any more; None: it has none
    crowding: Crowding = field(default_factory=lambda: Crowding())
    gave_way: bool = False  # it did, and so has units left
    started: float = 0.0  # on the monotonic clock: what an interval counts from
    confirm_deletions: bool = False
    version: int = 0
    phase: str = "new"
    expected: int | None = None
    done: int = 0
    pass_started_at: datetime | None = None
    booked: int = 0  # requests that commits have counted
    reread: int = 0  # pages that were read anew, for the metrics
    waited: list[float] = field(default_factory=list)  # seconds that hints waited until they were committed
    effect: Effect = field(default_factory=Effect)
    begun: float = field(default_factory=time.monotonic)

    @property
    def company(self) -> int:
        """The salon."""
        return self.claim.company

    @property
    def where(self) -> dict[str, object]:
        """What every log line of this batch says."""
        return self.claim.log_context()

    @property
    def _due_in_s(self) -> float | None:
        """The list of salons is not done with its commit: what it makes known must still begin."""
        cadence = self.settings.streams.get(self.claim.stream)
        return None if cadence is None or self.claim.stream == "companies" else cadence.total_seconds()

    @property
    def room(self) -> int:
        """How many units may be started now: none once the turn is over and others wait for the place."""
        if not self.gave_way and self.units > 0:
            self.gave_way = self.crowding.turn_over(self.tally.requests, self._left)
        return 0 if self.gave_way else self.units

    @property
    def ahead(self) -> int:
        """How many requests may wait or be on their way at once: who waits in a crowd gains nothing by asking ahead."""
        return CROWDED if self.crowding.crowded() else CONCURRENCY

    @property
    def _left(self) -> float:
        """About how many requests are left, at what each brought so far."""
        done = self.done - self.claim.done
        if self.expected is None or done <= 0:
            return math.inf
        return self.tally.requests * (self.expected - self.done) / done

    async def fetch(self, request: Request) -> Page:
        """One answer, with the preset's retries."""
        tries = self.settings.active.max_retries + 1
        late = self.quick is not None and self.tally.requests >= self.quick
        return await self.api.fetch(request, self.tally, tries=tries, priority=self.priority - (PRECEDENCE if late else 0))

    async def read(self, request: Request, parse: Callable[[tuple[bytes, ...]], Parsed[R]]) -> tuple[Page, Parsed[R]]:
        """One answer and its rows; one that shows a row twice, or none where it counts some, is asked again."""
        for _ in range(REPEATED_TRIES):
            page = await self.fetch(request)
            parsed = parse(page.rows)
            if not repeats(parsed) and not hollow(request, page):
                return page, parsed
            self.reread += 1
        page = await self.fetch(request)
        return page, parse(page.rows)

    def too_large(self, error: BaseException, size: int, smallest: int) -> bool:
        """May smaller pages come where one of `size` rows failed with `error`?"""
        if size <= smallest:
            return False
        if isinstance(error, Transient):
            return error.heavy or self.claim.failures >= OUTAGE_BATCHES
        return isinstance(error, Rejected)

    @property
    def today(self) -> date:
        """The salon's date."""
        return self.now().astimezone(self.zone).date()

    def nothing(self, error: NotFound, errors: int = 1) -> Page:
        """The answer without rows that a 404 is which means "none". So many of these are no errors then."""
        self.tally.errors -= errors
        return Page(error.asked_at or self.now(), (), 0, error.server_time, absent=True)

    async def commit(
        self,
        cursor: Cursor,
        pages: Sequence[PageRows] = (),
        *,
        proved_as_of: datetime | None = None,
        end_of_sweep: EndOfSweep | None = None,
        forget_sweep: bool = False,
        count: bool = False,
        recount: str | None = None,
        within: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> Effect:
        """Store pages and cursor in one transaction; raises Fenced when another worker advanced the cursor."""
        requests = self.tally.requests - self.booked
        effect = await self.pages.commit(
            Advance(
                company=self.company,
                stream=self.claim.stream,
                version=self.version,
                cursor=encode(cursor),
                phase=self.phase,
                expected=self.expected,
                done=self.done,
                requests=requests,
                proved_as_of=proved_as_of,
                pass_started_at=self.pass_started_at,
                due_in_s=self._due_in_s if proved_as_of is not None else None,
                zone=zone_key(self.zone) if self.claim.stream in _READ_BY_ZONE else None,
            ),
            pages,
            end_of_sweep=end_of_sweep,
            forget_sweep=forget_sweep,
            count=count,
            recount=recount,
            within=within,
        )
        self.version = effect.version
        self.booked += requests
        self.effect.inserted += effect.inserted
        self.effect.changed += effect.changed
        self.effect.deleted += effect.deleted
        self.effect.quarantined += effect.quarantined
        self.effect.untold += effect.untold
        self.effect.odd.update(effect.odd)
        self.effect.held_back = max(self.effect.held_back, effect.held_back)
        emit(
            _log, PAGE_COMMITTED, **self.where, rows=effect.inserted, changed=effect.changed, deleted=effect.deleted,
            done=self.done, version=effect.version,
        )  # fmt: skip
        if effect.quarantined:
            emit(_log, ROW_QUARANTINED, **self.where, count=effect.quarantined, reason="; ".join(effect.reasons[:5]))
        if count:
            self.expected = self.done = effect.live
        return effect


@dataclass(frozen=True, slots=True)
class Result:
    """How a batch ended: `proved`: the stream is complete and fresh; else there is more to do, or `wait_s` for something."""

    proved: bool
    wait_s: float | None = None
    held_back: int = 0


def not_offered(batch: Batch) -> NotFound:
    """Rows are stored of a list that is not there any more: they are not called an empty list on such a word."""
    company, stream = batch.company, batch.claim.stream
    return NotFound(
        f"salon {company}, {stream}: YCLIENTS does not offer them any more; what is stored stays as it was. "
        f"If the salon does not use them, switch the stream off: `streams: {{{stream}: false}}` in config.yaml."
    )


def smaller_by(error: BaseException) -> int:
    """How much smaller the next page is. Each size that times out holds the batch's place for minutes: few are tried."""
    return 8 if isinstance(error, Transient) and error.slow else 2


def unfiltered(parsed: Parsed[Any], since: datetime | None) -> bool:
    """Does an answer to `changed_after` show that nothing was filtered?

    One old row does not: a payment may move what the filter looks at and not what the row shows.
    """
    if since is None:
        return False
    old = sum(1 for row in parsed.rows if row.changed_at is not None and row.changed_at < since - IGNORED_AFTER)
    return old >= IGNORED_ROWS and old > len(parsed.rows) // 2


def why_smaller(error: BaseException) -> str:
    """For the log: why pages are asked smaller."""
    return "the server refuses pages of this size" if isinstance(error, Rejected) else "a page failed"


def distinct(parsed: Parsed[Any]) -> int:
    """Rows of an answer, each id once; a row whose id cannot be read counts as one."""
    ids = {str(entity) for entity in parsed.ids}
    return len(ids) + sum(1 for reject in parsed.rejects if reject.entity_id not in ids)


def repeats(parsed: Parsed[Any]) -> bool:
    """Does an answer show a row twice? Then another one may be missing, and nothing is gone for not standing in it."""
    return distinct(parsed) < parsed.seen


def hollow(request: Request, page: Page) -> bool:
    """Is an answer empty although its own count says that rows stand there? They were lost, or the count lies for ever."""
    if request.body is not None or page.rows or not page.total:
        return False
    asked = dict(request.params)
    return page.total > (int(asked.get("page", "1")) - 1) * int(asked.get("count", "1"))


class InFlight(dict[asyncio.Task[Any], T]):
    """Requests under way and what each is for; leaving the context cancels those that remain."""

    def start(self, what: T, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Begin one."""
        self[asyncio.create_task(coroutine, name="page")] = what

    async def finished(self) -> list[tuple[T, asyncio.Task[Any]]]:
        """Wait for at least one; returns those that are done."""
        done, _ = await asyncio.wait(self, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled():
                task.exception()  # who fails second is not looked at any more, and asyncio would complain
        return [(self.pop(task), task) for task in done]

    async def __aenter__(self) -> InFlight[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop()

    async def drop(self) -> None:
        """Cancel all that is under way."""
        for task in self:
            task.cancel()
        if self:
            await asyncio.gather(*self, return_exceptions=True)
        self.clear()
