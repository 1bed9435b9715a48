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
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from aiolimiter import AsyncLimiter

from ycsync import sql
from ycsync.errors import DatabaseUnavailable

PAUSE_POLL_S = 0.4  # a pause ends, or begins, within a second everywhere
BUSY_POLL_S = 0.05  # slots in flight: their answers may come any moment
MARGIN_S = 2.0  # between a request's time-out and the end of its lease


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


@dataclass(order=True, slots=True)
class _Waiter:
    rank: int
    order: int
    company: int = field(compare=False)
    granted: asyncio.Future[Lease] = field(compare=False)


class Limiter:
    """Hands out leases, the highest priority first. One task (`run`) asks the database for all waiters of this process."""

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
        self._pacer: tuple[float, AsyncLimiter] | None = None
        self._releases: set[asyncio.Task[None]] = set()

    async def prepare(self, per_second: int, per_minute: int) -> None:
        """Make the slots of this address: the API's whole budget, not the preset's."""
        await self._executor.execute(self._sql["prepare"], self._egress, per_second, per_minute)

    async def acquire(self, company: int, priority: int = 0) -> Lease:
        """Wait for the right to send one request for this salon (0: none in particular); higher priorities first."""
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, _Waiter(-priority, next(self._order), company, granted))
        self._arrived.set()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self.unused(granted.result())
            raise

    def answered(self, lease: Lease) -> None:
        """The answer began to arrive (or the connection is known to be dead): free one window from now."""
        self._later(self._give_back("release", lease))

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
        """Grant leases until cancelled; raises DatabaseUnavailable to all waiters while the database is away."""
        while True:
            self._arrived.clear()
            waiter = self._next()
            if waiter is None:
                await self._arrived.wait()
                continue
            await self._pace()
            waiter = self._next()
            if waiter is None:
                continue
            try:
                lease = await self._take(waiter.company)
                wait_s = 0.0 if lease is not None else await self._wait_s(waiter)
            except DatabaseUnavailable as exc:
                self._fail_all(exc)
                continue
            if lease is None:
                await self._sleep(wait_s)
                continue
            self._waiters.remove(waiter)
            heapq.heapify(self._waiters)
            if waiter.granted.done():  # given up while the database was asked
                self.unused(lease)
            else:
                waiter.granted.set_result(lease)

    async def close(self) -> None:
        """Let the releases that are on their way arrive."""
        if self._releases:
            await asyncio.wait(self._releases, timeout=0.5)

    def _next(self) -> _Waiter | None:
        while self._waiters and self._waiters[0].granted.done():
            heapq.heappop(self._waiters)
        return self._waiters[0] if self._waiters else None

    async def _pace(self) -> None:
        delay = self._rates().min_delay_s
        if delay <= 0:
            return
        if self._pacer is None or self._pacer[0] != delay:
            self._pacer = (delay, AsyncLimiter(1, delay))
        await self._pacer[1].acquire()

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

    async def _wait_s(self, waiter: _Waiter) -> float:
        rates = self._rates()
        row = await self._executor.fetchrow(self._sql["wait"], self._egress, rates.per_second, rates.per_minute, waiter.company)
        if row is None or row["paused"]:
            # A paused salon must not stand in the way of the others.
            waiter.order = next(self._order)
            heapq.heapify(self._waiters)
            others = any(w.company != waiter.company for w in self._waiters if not w.granted.done())
            return 0.02 if others else PAUSE_POLL_S
        # A slot in flight is free when its answer comes, which nobody can tell: look again soon.
        seconds: float = row["seconds"]
        return min(max(seconds, 0.002), BUSY_POLL_S)

    def _fail_all(self, exc: DatabaseUnavailable) -> None:
        for waiter in self._waiters:
            if not waiter.granted.done():
                waiter.granted.set_exception(exc)
        self._waiters.clear()

    def _later(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _give_back(self, statement: str, lease: Lease) -> None:
        # A release that does not arrive is safe: the lease ends by itself, only later.
        try:
            await self._executor.execute(
                self._sql[statement],
                self._egress,
                lease.second,
                lease.second_lease,
                lease.minute,
                lease.minute_lease,
            )
        except DatabaseUnavailable:
            return
