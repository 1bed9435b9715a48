"""When may the next request leave?

YCLIENTS counts requests behind one IP address in windows of 1 s and 60 s. The budget lives in PostgreSQL as slots: one
row for each request that fits a window, per egress address. A request takes one slot of each window and keeps them until
one window after its *answer* arrived. The server saw the request before that, so two requests of one slot are always more
than a window apart as the server counts, whatever the latency, and however many processes share the address. Until the
answer is there a slot is held for the request's time-out and a window more, so that a process killed in the middle frees
nothing early.

What is assumed, beyond that:
- A request reaches the server within RELAX_S of being sent, or never. So one without an answer gives its place in the
  *second* back after that (a salon that hangs must not hold all of them), while its place in the minute stays; and a lease is
  good to send with only until RELAX_S before its end (a process that was frozen asks again).
- Once its sender's end of the connection is closed, a request on its way arrives within TRANSIT_S, or never.
- The database's clock is the only clock of a window. When it jumps against our own (which runs on while the machine sleeps),
  the first process that notices moves the slots along; between the two a jump forward can only be missed by a process that
  began after it. A machine that stops all its clocks (a virtual machine on hold) is seen by the same comparison, except for a
  lease that was granted and not yet sent at that moment.

A minute's budget sent at 5 a second is used up after 40 s, and a change that a webhook tells would wait for 20. So what can
wait (PATIENT: first readings) takes only as much as leaves KEPT of the budget to the others until its slots come back: the end
of each minute is spread thinner, and all of it is used.

Others may use the same limit. What answers say of it in their headers (ratelimit.py) shows how much they use, and so much is
left to them.

aiolimiter only paces (the preset's `min_delay`); it guards nothing across a restart or a second process.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from aiolimiter import AsyncLimiter

from ycsync import sql
from ycsync.errors import DatabaseError
from ycsync.ratelimit import LOW, Neighbours, RateHeaders

PAUSE_POLL_S = 0.4  # a pause ends, or begins, within a second everywhere
NAP_S = (0.002, 0.25)  # between two questions to the database: at least, and at most (a slot may come back unused)
MARGIN_S = 2.0  # between a request's time-out and the end of its lease
TRANSIT_S = 2.0  # for so long a request may be on its way to the server after its sender has hung up
LONGEST_BLOCK_S = 3600.0  # what a server may ask for with a 429; who says more has a clock that is wrong
RELAX_S = 4.0  # for so long a request may be on its way to the server after it was sent
ASKED = 100  # the priority of what somebody waits for
PATIENT = 0  # the highest priority of what can wait
LATER_S = 0.01  # it asks so much later than others, of any process, who wait for the same slot
KEPT = 0.3  # of the minute's budget, for what cannot wait: 60 requests a minute of 200, one a second
SHARE = 8  # so many grants may pass a class of waiters over before one of them is due
HEAR_S = 1.0  # between two answers whose headers are compared with the slots
BLIND_S = 10.0  # after a jump of the clock, none is
JUMP_S = 0.02  # the database's clock and ours may differ by so much more than they did, and by DRIFT of the time between
DRIFT = 0.001


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
    """The right to send one request, now. `granted_at`: the database's clock, before the request leaves.

    `good_until`: by the limiter's own clock (`Limiter.still_good`), later than that nothing may be sent with it.
    """

    second: int
    second_lease: int
    minute: int
    minute_lease: int
    granted_at: datetime
    good_until: float = math.inf


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who wants to send a request for one salon. A class of waiters are those of one priority."""

    company: int
    priority: int
    order: int
    granted: asyncio.Future[Lease]


class Turns:
    """Who is next? The highest priority, but whoever was passed over SHARE times is due; then the salon served longest ago.

    So a delta overtakes a filling at once (or after one request), and nobody waits for ever behind a class that never rests.
    """

    def __init__(self) -> None:
        self._waiters: list[Waiter] = []
        self._order = itertools.count()
        self._served: dict[tuple[int, int], int] = {}  # priority and salon -> when it was served last, in grants
        self._passed: dict[int, int] = {}  # priority -> grants to higher ones since it waits, or since it had its last

    def wait(self, company: int, priority: int) -> asyncio.Future[Lease]:
        """One more waits; what it waits for is returned."""
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiters.append(Waiter(company, priority, next(self._order), granted))
        return granted

    def __len__(self) -> int:
        self._waiters = [waiter for waiter in self._waiters if not waiter.granted.done()]
        return len(self._waiters)

    def next(self, stopped: Callable[[int], bool]) -> Waiter | None:
        """Whose turn it is, among those whose salon is not stopped."""
        self._waiters = [waiter for waiter in self._waiters if not waiter.granted.done()]
        free = [waiter for waiter in self._waiters if not stopped(waiter.company)]
        self._passed = {waiter.priority: self._passed.get(waiter.priority, 0) for waiter in free}
        if not free:
            return None
        late, due = max((passed, priority) for priority, passed in self._passed.items())
        turn = due if late >= SHARE else max(self._passed)
        return min(
            (waiter for waiter in free if waiter.priority == turn),
            key=lambda waiter: (self._served.get((turn, waiter.company), -1), waiter.order),
        )

    def may_be_patient(self, waiter: Waiter) -> bool:
        """Can it wait? Not one whose turn it is although others cannot: they would all wait for it. `next` came before."""
        return waiter.priority <= PATIENT and all(priority <= PATIENT for priority in self._passed)

    def served(self, waiter: Waiter) -> None:
        """It was its turn, and it is over."""
        self._waiters.remove(waiter)
        self._served[waiter.priority, waiter.company] = next(self._order)
        for priority in self._passed:
            if priority < waiter.priority:
                self._passed[priority] += 1
        self._passed[waiter.priority] = 0

    def fail(self, exc: DatabaseError) -> None:
        """All that wait are told that it is no use now."""
        for waiter in self._waiters:
            if not waiter.granted.done():
                waiter.granted.set_exception(exc)
        self._waiters.clear()


class Clocks:
    """Did the database's clock jump? Each answer tells between which two differences from our own clock it stands."""

    def __init__(self) -> None:
        self._low = -math.inf
        self._high = math.inf
        self._at = 0.0

    def jumped(self, asked: float, answered: float, database: datetime) -> float:
        """By how many seconds, at most, it went forward (negative: back) since it was read before; 0: it did not."""
        low, high = database.timestamp() - answered, database.timestamp() - asked
        drift = (answered - self._at) * DRIFT
        old_low, old_high = self._low - drift, self._high + drift
        self._at = answered
        if low > old_high + JUMP_S or high < old_low - JUMP_S:
            self._low, self._high = low, high
            return high - old_low if low > old_high else low - old_high
        low, high = max(low, old_low), min(high, old_high)
        self._low, self._high = min(low, high), max(low, high)
        return 0.0


class Limiter:
    """Hands out leases, in the order of Turns. One task (`run`) asks the database for all waiters of this process."""

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
        clock: Callable[[], float] | None = None,
        pace: Callable[[int], float] = lambda _: 0.0,
    ) -> None:
        self._own_pace = pace  # salon -> least seconds between two of its requests, beyond what holds for all
        self._executor = executor
        self._sql = sql.load("limiter.sql", schema)
        self._egress = egress
        self.owner = owner
        self._rates = rates
        self._lease_s = max(timeout_s, RELAX_S) + MARGIN_S
        self._sleep = sleep
        self._clock = clock or _boot_clock
        self._clocks = Clocks()
        self._jump: float | None = None  # how far the database's clock went forward, as long as the slots do not know
        self._turns = Turns()
        self._waits_since: float | None = None  # what can wait was refused first, since it had its last
        self._arrived = asyncio.Event()
        self._paused: dict[int, float] = {}  # salon (0: all) -> not to be asked for before this time of the loop
        self._pacer: AsyncLimiter | None = None
        self._releases: set[asyncio.Task[None]] = set()
        self._whole = Rates(0, 0, 0.0)  # what the API allows
        self._neighbours = Neighbours()
        self._hear_at = -math.inf
        self._hearing = False

    async def prepare(self, per_second: int, per_minute: int) -> None:
        """Make the slots of this address: the API's whole budget, not the preset's."""
        self._whole = Rates(per_second, per_minute, 0.0)
        await self._executor.execute(self._sql["prepare"], self._egress, per_second, per_minute)
        asked = self._clock()
        row = await self._executor.fetchrow(self._sql["clock"])
        self._look_at_clock(asked, row["at"])
        # A clock that was put back before this process began shows as slots that are held for longer than any lease.
        await self._move_along()

    async def acquire(self, company: int, priority: int = ASKED) -> Lease:
        """Wait for the right to send one request for this salon (0: none in particular); see Turns for who goes first."""
        while True:
            granted = self._turns.wait(company, priority)
            self._arrived.set()
            try:
                lease = await granted
            except asyncio.CancelledError:
                if granted.done() and not granted.cancelled() and granted.exception() is None:
                    self.unused(granted.result())
                raise
            if self.still_good(lease):
                return lease
            self.unused(lease)  # this process was frozen, or the database answered very late

    def still_good(self, lease: Lease) -> bool:
        """May a request leave with it now? To be asked right before sending; if not, it is `unused` and to be acquired anew."""
        return self._clock() < lease.good_until

    def answered(self, lease: Lease) -> None:
        """The answer began to arrive (or the server closed the connection): free one window from now."""
        self._give_back("release", lease)

    def abandoned(self, lease: Lease) -> None:
        """We hung up before an answer: what was sent may be on its way still, so free a little later."""
        self._give_back("abandoned", lease, TRANSIT_S)

    def unanswered(self, lease: Lease) -> None:
        """RELAX_S after the request left, or later, and no answer yet: free its place in the second, not in the minute."""
        self._later("unanswered", lease.second, lease.second_lease)

    def unused(self, lease: Lease) -> None:
        """The request never left."""
        self._give_back("unused", lease)

    def heard(self, lease: Lease, headers: RateHeaders) -> None:
        """The answer to this lease's request said something of the limit; once a second it is compared with the slots."""
        if headers.remaining is None or self._hearing:
            return
        if self._clock() < self._hear_at and headers.remaining > 2 * LOW:
            return
        self._hearing, self._hear_at = True, self._clock() + HEAR_S
        self._follow(self._compare(lease, headers))

    async def throttled(self, wait_s: float) -> None:
        """The server said "too many": nobody behind this address sends for so long, then everybody slower."""
        self._neighbours.confirm()
        await self._executor.execute(self._sql["throttled"], self._egress, wait_s)

    async def usage(self) -> tuple[int, int]:
        """Requests that left in the last second and in the last minute, behind this address."""
        row = await self._executor.fetchrow(self._sql["usage"], self._egress)
        return (row["second"], row["minute"]) if row is not None else (0, 0)

    async def ask(self, company: int, *, patient: bool = False) -> Lease | float:
        """Ask the database once: a lease, or for how long to sleep (0: this salon is paused, and others may go on).

        `patient`: it leaves KEPT of the budget to those that are not, but not for ever: other processes may have work without
        end. After as long as SHARE requests take it asks as they do.
        """
        if self._jump is not None:
            await self._move_along()
        waits, begun = patient, self._clock()
        since = begun if self._waits_since is None else self._waits_since
        patient = patient and begun - since < SHARE * 60 / self._rates().per_minute
        kept = KEPT if patient else 0.0
        lease = await self._take(company, kept)
        if waits:
            self._waits_since = since if lease is None else None
        if lease is not None:
            return lease
        nap = await self._nap_s(company, kept)
        return nap + LATER_S if patient and nap else nap

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
                patient = self._turns.may_be_patient(waiter)
                lease = await self.ask(waiter.company, patient=patient)
            except DatabaseError as exc:
                self._turns.fail(exc)
                continue
            if not isinstance(lease, Lease):
                if patient:
                    await self._arrival(lease)  # who comes meanwhile may find room
                elif lease:
                    await self._sleep(lease)
                continue
            if waiter.granted.done():  # given up while the database was asked
                self.unused(lease)
                continue
            self._turns.served(waiter)
            if waiter.company and (pace_s := self._own_pace(waiter.company)) > 0:
                self._paused[waiter.company] = asyncio.get_running_loop().time() + pace_s
            waiter.granted.set_result(lease)
            await self._paced()
            paced = False

    async def close(self, within_s: float = 0.5) -> None:
        """Let the releases that are on their way arrive."""
        if self._releases:
            await asyncio.wait(self._releases, timeout=within_s)

    def _next(self) -> tuple[Waiter | None, float | None]:
        """Who is next; if nobody, seconds until a pause is to be looked at again (None: nobody waits)."""
        now = asyncio.get_running_loop().time()
        self._paused = {company: until for company, until in self._paused.items() if until > now}
        waiter = self._turns.next(lambda company: 0 in self._paused or company in self._paused)
        if waiter is not None:
            return waiter, None
        return None, (min(self._paused.values()) - now if len(self._turns) else None)

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

    async def _take(self, company: int, kept: float) -> Lease | None:
        rates = self._rates()
        asked = self._clock()
        rows = await self._executor.fetch(
            self._sql["acquire"],
            self._egress,
            rates.per_second,
            rates.per_minute,
            self.owner,
            self._lease_s,
            company,
            kept,
        )
        by_kind = {row["kind"]: row for row in rows}
        if by_kind.keys() != {1, 60}:
            return None
        second, minute = by_kind[1], by_kind[60]
        # The slots end so long after the database's now(), which was not before we asked.
        good_until = asked + self._lease_s - RELAX_S
        lease = Lease(second["slot"], second["lease"], minute["slot"], minute["lease"], second["at"], good_until)
        if self._look_at_clock(asked, lease.granted_at):
            # These slots may have come too early; they are as good as new when any request before this one has arrived.
            self._give_back("abandoned", lease, RELAX_S)
            return None
        return lease

    async def _nap_s(self, company: int, kept: float) -> float:
        """How long to sleep after a refusal: 0 when it is this salon that is paused, and others may go on."""
        rates = self._rates()
        asked = self._clock()
        row = await self._executor.fetchrow(self._sql["wait"], self._egress, rates.per_second, rates.per_minute, company, kept)
        self._look_at_clock(asked, row["at"])
        if row["paused"] is not None:
            self._paused[row["paused"]] = asyncio.get_running_loop().time() + PAUSE_POLL_S
            return 0.0
        return nap_s(row["seconds"])

    def _look_at_clock(self, asked: float, database: datetime) -> bool:
        jump = self._clocks.jumped(asked, self._clock(), database)
        if jump:
            self._jump = max(0.0, jump) + (self._jump or 0.0)
            self._neighbours.forget(self._clock() + BLIND_S)
        return self._jump is not None

    async def _move_along(self) -> None:
        """The database's clock jumped: move the slots along, before anything else is taken."""
        await self._executor.execute(self._sql["jumped"], self._egress, self._jump or 0.0, self._lease_s, LONGEST_BLOCK_S)
        self._jump = None

    def _give_back(self, statement: str, lease: Lease, *more: object) -> None:
        self._later(statement, lease.second, lease.second_lease, lease.minute, lease.minute_lease, *more)

    async def _compare(self, lease: Lease, headers: RateHeaders) -> None:
        """Tell the database what an answer said and what others leave, and learn how many requests of ours it may count."""
        found = self._neighbours.allowance(self._clock(), self._whole.per_second)
        leaves = (None, None, None) if found is None else (found.others, found.second, found.minute)
        said = headers.limit, headers.remaining, headers.reset_s
        sharing = self._neighbours.sharing() or None
        try:
            rows = await self._executor.fetch(
                self._sql["heard"], self._egress, lease.granted_at, *said, *leaves, sharing, found is not None
            )
        except DatabaseError:
            return  # what is not compared is not known: nothing else depends on it
        finally:
            self._hearing = False
        taken = {row["egress"]: row["taken"] for row in rows}
        held = taken.pop(self._egress, 0)
        beside = {egress: count for egress, count in taken.items() if found is not None}
        if hold_s := self._neighbours.add(self._clock(), headers, self._whole.per_minute, held, beside):
            await self._tell("hold", hold_s)

    def _later(self, statement: str, *args: object) -> None:
        self._follow(self._tell(statement, *args))

    def _follow(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(doing)
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _tell(self, statement: str, *args: object) -> None:
        # What does not arrive is safe: the lease ends by itself, only later.
        with suppress(DatabaseError):
            await self._executor.execute(self._sql[statement], self._egress, *args)


def nap_s(seconds: float) -> float:
    """How long to sleep when a slot is expected in so many seconds."""
    return min(max(seconds, NAP_S[0]), NAP_S[1])


def _boot_clock() -> float:
    """Seconds that go on while the machine sleeps, where there is such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
