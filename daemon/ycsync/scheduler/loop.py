"""Which work is taken when, and what of it is given back? A loop that claims what is due, and one that says that we live.

Filling a salon may take only a part of the places, so that deltas of others never wait for it; and where all of them are taken
and others wait, a batch that has had its turn gives its place away. A batch whose salon is slow to answer takes none: it waits
for YCLIENTS, not for us. A reload swaps one reference; batches under way keep the settings that they began with.
"""

from __future__ import annotations

import asyncio
import time as clock
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ycsync import logs
from ycsync.api import Api
from ycsync.errors import (
    DatabaseError,
    DatabaseUnavailable,
    YcsyncError,
)
from ycsync.logs import emit, get_logger
from ycsync.scheduler.runner import Runner
from ycsync.scheduler.wanted import Current, Scope, Wanted
from ycsync.store.pages import Pages
from ycsync.store.work import BatchTotals, Claim, Waiting, Work
from ycsync.sync.batch import Crowding

FILLING = 8  # batches of first passes at once
PLACES = 16  # batches at once
MOST = 64  # the same, those included that wait for slow salons
TURN = 20  # requests after which a batch gives its place to others that wait, unless no more than so many are left
LOOK_S = 0.5  # between two looks at what waits for a place
POLL_S = 1.0
BEAT_S = 2.0
BEAT_TIMEOUT_S = 10.0
REAP_S = 4.0
FORGET_S = 3600.0
_log = get_logger(__name__)


@dataclass(slots=True)
class Scheduler:
    """Claims and runs batches until cancelled."""

    current: Current
    work: Work
    pages: Pages
    api: Api
    worker: int
    scope: Scope = field(default_factory=Scope)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    observe: Callable[[Claim, BatchTotals, float], None] = lambda _claim, _totals, _seconds: None
    reregister: Callable[[], Awaitable[int]] | None = None
    info: Callable[[], dict[str, object] | None] = lambda: None
    database_lost: datetime | None = None
    last_turn: float = 0.0
    wanted: Wanted = field(init=False)
    _runner: Runner = field(init=False)
    _running: dict[asyncio.Task[None], tuple[Claim, bool]] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _claiming: asyncio.Lock = field(default_factory=asyncio.Lock)
    _waiting: Waiting = field(default_factory=Waiting)  # for a place
    _looked: float = 0.0

    def __post_init__(self) -> None:
        self.wanted = Wanted(self.current, self.work, self.scope)
        self._runner = Runner(
            self.wanted,
            self.work,
            self.pages,
            self.api,
            self.now,
            lambda *told: self.observe(*told),
            self.wake,
            lambda claim: _Crowding(self, claim),
        )

    async def prepare(self) -> None:
        """Rows for the salons that are known, and due only what the settings want. Call at start and after a reload."""
        await self.wanted.prepare()

    async def run(self) -> None:
        """Work until cancelled; then what is in hand is dropped whole."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(), name="beat")
                group.create_task(self._loop(), name="claim")
        finally:
            await self._drop()

    def wake(self) -> None:
        """Something became due."""
        self._wake.set()

    @property
    def in_flight(self) -> int:
        """Batches under way."""
        return len(self._running)

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            self.last_turn = clock.monotonic()
            try:
                taken = await self._claim()
                if taken is not None:
                    self._database_is(back=True)
            except DatabaseError as exc:  # whatever it is, the service goes on when it is over
                self._database_is(back=False, error=exc)
                taken = 0
            if not taken:
                await self._sleep(POLL_S)

    async def _claim(self) -> int | None:
        """Take what is due and start it; how many, or None if there was no place to ask for."""
        held = [fills for claim, fills in self._running.values() if not self.api.is_slow(claim.company)]
        filling = sum(held)
        free = min(PLACES - len(held), MOST - len(self._running))
        no_filling = filling >= FILLING
        await self._look(full=free < 1, filled=no_filling)
        if self._runner.unreached_at is not None:  # one batch tries whether YCLIENTS is reached again
            free = 0 if self._runner.rests() or self._running else 1
        if free < 1:
            return None
        async with self._claiming:
            return await self._claim_and_start(free if no_filling else min(free, FILLING - filling), no_filling)

    async def _claim_and_start(self, places: int, no_filling: bool) -> int:
        claims = await self.work.claim(
            self.worker,
            places,
            self.wanted.streams(),
            self.wanted.companies(),
            wanted_only=self.scope.wanted_only,
            no_filling=no_filling,
        )
        for claim in claims:
            task = asyncio.create_task(self._runner.run(claim, self.worker), name=f"batch {claim.stream} {claim.company}")
            self._running[task] = (claim, _fills(claim))
            task.add_done_callback(self._done)
        return len(claims)

    async def _look(self, *, full: bool, filled: bool) -> None:
        """What is due and finds no place? Batches that have had their turn ask (`_Crowding`)."""
        if not full and not filled:
            self._waiting = Waiting()
        elif clock.monotonic() - self._looked > LOOK_S:
            self._looked = clock.monotonic()
            found = await self.work.waits(self.wanted.streams(), self.wanted.companies(), wanted_only=self.scope.wanted_only)
            self._waiting = found if full else replace(found, quick=None)

    @property
    def waiting(self) -> Waiting:
        """What waits for a place, as it was looked at last."""
        return self._waiting

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            emit(_log, logs.UNEXPECTED, task=task.get_name(), error=error, exc_info=error)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _drop(self) -> None:
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running), timeout=1.0)

    async def _beat(self) -> None:
        """Say that this worker lives, and free what dead ones held."""
        reaped = forgot = 0.0
        paused: set[asyncio.Task[None]] = set()
        while True:
            try:
                async with asyncio.timeout(BEAT_TIMEOUT_S):
                    alive = await self.work.beat(self.worker, self.info())
                if not alive and self.reregister is not None:
                    # Given up by another worker: whatever is under way here is not ours any more.
                    for task in list(self._running):
                        task.cancel()
                    emit(_log, logs.WORKER_GIVEN_UP, worker=self.worker)
                    self.worker = await self.reregister()
                paused = await self._give_up_paused(paused)
                if clock.monotonic() - reaped > REAP_S:
                    for dead in await self.work.reap():
                        emit(_log, logs.WORKER_REAPED, worker=dead)
                    async with self._claiming:  # what is claimed and what runs are the same outside of it
                        doing = [(claim.company, claim.stream) for claim, _ in self._running.values()]
                        await self.work.release(self.worker, doing)
                    reaped = clock.monotonic()
                if clock.monotonic() - forgot > FORGET_S:
                    await self.work.forget_batches()
                    forgot = clock.monotonic()
            except DatabaseError as exc:
                self._database_is(back=False, error=exc)
            except TimeoutError:
                self._database_is(back=False, error=DatabaseUnavailable("the database does not answer"))
            await asyncio.sleep(BEAT_S)

    async def _give_up_paused(self, before: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Batches of paused salons give their places to others, once what they had asked for has had time to come.

        Those of erased ones too: their requests wait for ever.
        """
        pauses = {*await self.work.pauses(), *await self.work.erased()}
        if not pauses:
            return set()
        now = {task for task, (claim, _) in self._running.items() if 0 in pauses or claim.company in pauses}
        for task in now & before:
            task.cancel()  # its claim is released with the next look at what is held but not done
        return now - before

    # Only who asks it regularly says so: a batch may meet one dead connection, or the end of a loss that is over already.
    def _database_is(self, *, back: bool, error: YcsyncError | None = None) -> None:
        if back and self.database_lost is not None:
            lost, self.database_lost = self.database_lost, None
            emit(_log, logs.DATABASE_BACK, duration_s=round((self.now() - lost).total_seconds(), 1))
        if not back and self.database_lost is None:
            self.database_lost = self.now()
            emit(_log, logs.DATABASE_LOST, error=error, retry_in_s=POLL_S)


def _fills(claim: Claim) -> bool:
    """A pass, or what failed last and may hang: what takes a part of the places only (as `claim` has it too)."""
    return claim.phase != "live" or claim.failures > 0


@dataclass(frozen=True, slots=True)
class _Crowding(Crowding):
    """Who waits for the place of one batch, while it works."""

    scheduler: Scheduler
    claim: Claim

    def crowded(self) -> bool:
        waiting = self.scheduler.waiting
        return self._at_least(waiting.slow if _fills(self.claim) else waiting.quick)

    def turn_over(self, requests: int, left: float) -> bool:
        if self.claim.phase in ("filling", "closing") and requests and self._at_least(self.scheduler.waiting.fresh):
            return True  # whoever has had a turn gives way at once to who has not begun
        return requests >= TURN and left > TURN and self.crowded()

    def _at_least(self, waiting: int | None) -> bool:
        return waiting is not None and waiting >= self.claim.priority
