"""When may the next request leave?

YCLIENTS counts requests behind one IP address in windows of 1 s and 60 s. The budget lives in PostgreSQL as slots: one
row for each request that fits a window, per egress address. A request takes one slot of each window and keeps them until
one window after its *answer* arrived. The server saw the request before that, so two requests of one slot are always more
than a window apart as the server counts, whatever the latency, and however many processes share the address. Until the
answer is there a slot is held for the request's time-out and a window more, so that a process killed in the middle frees
nothing early.

aiolimiter only paces (the preset's `min_delay`); it guards nothing across a restart or a second process. The database's
clock is the only clock: a host whose clock jumps does not change what a window is.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from aiolimiter import AsyncLimiter

from ycsync import sql
from ycsync.errors import DatabaseError

PAUSE_POLL_S = 0.4  # a pause ends, or begins, within a second everywhere
NAP_S = (0.002, 0.25)  # between two questions to the database: at least, and at most (a slot may come back unused)
MARGIN_S = 2.0  # between a request's time-out and the end of its lease
TRANSIT_S = 1.0  # for so long a request may be on its way to the server after its sender has hung up


class Executor(Protocol):
    """What the limiter needs of the database (store.Database is one)."""

    async def fetch(self, query: str, *args: object) -> list[Any]: ...
    async def fetchrow(self, query: str, *args: object) -> Any: ...
    async def execute(self, query: str, *args: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Rates:
    """What this process may use of the budget: requests a second and a minute, and the least seconds between two."""

    per_second: int
    per_minute: int
    min_delay_s: float


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to send one request, now. `granted_at`: the database's clock, before the request leaves."""

    second: int
    second_lease: int
    minute: int
    minute_lease: int
    granted_at: datetime


@dataclass(slots=True, eq=False)
class _Waiter:
    company: int
    priority: int
    order: int
    granted: asyncio.Future[Lease]


class Limiter:
    """Hands out leases: the highest priority first, then the salon that was served longest ago.

    One task (`run`) asks the database for all waiters of this process.
    """

    def __init__(
        self,
        executor: Executor,
        schema: str,
        egress: str,
        owner: int,
        rates: Callable[[], Rates],
        *,
        timeout_s: float,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._executor = executor
        self._sql = sql.load("limiter.sql", schema)
        self._egress = egress
        self.owner = owner
        self._rates = rates
        self._lease_s = timeout_s + MARGIN_S
        self._sleep = sleep
        self._waiters: list[_Waiter] = []
        self._order = itertools.count()
        self._arrived = asyncio.Event()
        self._served: dict[int, int] = {}  # salon -> when it was served last, in grants
        self._paused: dict[int, float] = {}  # salon (0: all) -> not to be asked for before this time of the loop
        self._pacer: AsyncLimiter | None = None
        self._releases: set[asyncio.Task[None]] = set()

    async def prepare(self, per_second: int, per_minute: int) -> None:
        """Make the slots of this address: the API's whole budget, not the preset's."""
        await self._executor.execute(self._sql["prepare"], self._egress, per_second, per_minute)

    async def acquire(self, company: int, priority: int = 0) -> Lease:
        """Wait for the right to send one request for this salon (0: none in particular); higher priorities first."""
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiters.append(_Waiter(company, priority, next(self._order), granted))
        self._arrived.set()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self.unused(granted.result())
            raise

    def answered(self, lease: Lease) -> None:
        """The answer began to arrive (or the server closed the connection): free one window from now."""
        self._later(self._give_back("release", lease))

    def abandoned(self, lease: Lease) -> None:
        """We hung up before an answer: what was sent may be on its way still, so free a little later."""
        self._later(self._give_back("abandoned", lease, TRANSIT_S))

    def unused(self, lease: Lease) -> None:
        """The request never left."""
        self._later(self._give_back("unused", lease))

    async def throttled(self, wait_s: float) -> None:
        """The server said "too many": nobody behind this address sends for so long, then everybody slower."""
        await self._executor.execute(self._sql["throttled"], self._egress, wait_s)

    async def usage(self) -> tuple[int, int]:
        """Requests that left in the last second and in the last minute, behind this address."""
        row = await self._executor.fetchrow(self._sql["usage"], self._egress)
        return (row["second"], row["minute"]) if row is not None else (0, 0)

    async def run(self) -> None:
        """Grant leases until cancelled; while the database fails, its error is raised to all waiters."""
        paced = False
        while True:
            self._arrived.clear()
            waiter, pause_s = self._next()
            if waiter is None:
                await self._arrival(pause_s)
                continue
            if not paced:
                await self._pace()
                paced = True
                continue  # somebody more important may have come meanwhile
            try:
                lease = await self._take(waiter.company)
                nap = 0.0 if lease is not None else await self._nap_s(waiter.company)
            except DatabaseError as exc:
                self._fail_all(exc)
                continue
            if lease is None:
                if nap:
                    await self._sleep(nap)
                continue
            self._waiters.remove(waiter)
            if waiter.granted.done():  # given up while the database was asked
                self.unused(lease)
                continue
            self._served[waiter.company] = next(self._order)
            waiter.granted.set_result(lease)
            await self._paced()
            paced = False

    async def close(self) -> None:
        """Let the releases that are on their way arrive."""
        if self._releases:
            await asyncio.wait(self._releases, timeout=0.5)

    def _next(self) -> tuple[_Waiter | None, float | None]:
        """Who is next; if nobody, seconds until a pause is to be looked at again (None: nobody waits)."""
        self._waiters = [waiter for waiter in self._waiters if not waiter.granted.done()]
        now = asyncio.get_running_loop().time()
        self._paused = {company: until for company, until in self._paused.items() if until > now}
        free = [w for w in self._waiters if 0 not in self._paused and w.company not in self._paused]
        if free:
            return min(free, key=lambda w: (-w.priority, self._served.get(w.company, -1), w.order)), None
        return None, (min(self._paused.values()) - now if self._waiters else None)

    async def _arrival(self, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            return

    async def _pace(self) -> None:
        """Wait until the least delay since the last grant is over."""
        if self._pacer is not None and self._rates().min_delay_s > 0:
            await self._pacer.acquire()

    async def _paced(self) -> None:
        """The delay counts from now: a grant may come long after its turn, when the budget was used up."""
        delay = self._rates().min_delay_s
        self._pacer = AsyncLimiter(1, delay) if delay > 0 else None
        if self._pacer is not None:
            await self._pacer.acquire()

    async def _take(self, company: int) -> Lease | None:
        rates = self._rates()
        rows = await self._executor.fetch(
            self._sql["acquire"],
            self._egress,
            rates.per_second,
            rates.per_minute,
            self.owner,
            self._lease_s,
            company,
        )
        by_kind = {row["kind"]: row for row in rows}
        if by_kind.keys() != {1, 60}:
            return None
        second, minute = by_kind[1], by_kind[60]
        return Lease(second["slot"], second["lease"], minute["slot"], minute["lease"], second["at"])

    async def _nap_s(self, company: int) -> float:
        """How long to sleep after a refusal: 0 when it is this salon that is paused, and others may go on."""
        rates = self._rates()
        row = await self._executor.fetchrow(self._sql["wait"], self._egress, rates.per_second, rates.per_minute, company)
        if row["paused"] is not None:
            self._paused[row["paused"]] = asyncio.get_running_loop().time() + PAUSE_POLL_S
            return 0.0
        return nap_s(row["seconds"])

    def _fail_all(self, exc: DatabaseError) -> None:
        for waiter in self._waiters:
            if not waiter.granted.done():
                waiter.granted.set_exception(exc)
        self._waiters.clear()

    def _later(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _give_back(self, statement: str, lease: Lease, *more: object) -> None:
        # A release that does not arrive is safe: the lease ends by itself, only later.
        with suppress(DatabaseError):
            await self._executor.execute(
                self._sql[statement],
                self._egress,
                lease.second,
                lease.second_lease,
                lease.minute,
                lease.minute_lease,
                *more,
            )


def nap_s(seconds: float) -> float:
    """How long to sleep when a slot is expected in so many seconds."""
    return min(max(seconds, NAP_S[0]), NAP_S[1])
