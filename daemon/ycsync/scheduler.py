"""When does work run? Due work is claimed, run as batches, and put back with the time when it is due again.

The schedule, a webhook and the command line are three ways to make a row of `sync_status` due; this loop takes what is due.
Filling a salon may take only a part of the places, so that deltas of others never wait for it. A reload swaps one reference;
batches under way keep the settings that they began with.
"""

from __future__ import annotations

import asyncio
import random
import time as clock
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from ycsync import logs
from ycsync.api import Api, Tally
from ycsync.config import STREAMS, Settings
from ycsync.errors import (
    AccessDenied,
    ApiError,
    DatabaseError,
    DatabaseUnavailable,
    Fenced,
    NoRoom,
    Throttled,
    UsageError,
    YcsyncError,
)
from ycsync.logs import emit, get_logger
from ycsync.store.pages import Pages
from ycsync.store.work import BatchTotals, Claim, Work
from ycsync.sync import Batch, Result, run_batch, run_companies

FILLING = 8  # batches of first passes at once
PLACES = 16  # batches at once
POLL_S = 1.0
DENIED_S = 3600.0
UNKNOWN_S = 60.0
NIGHT = timedelta(hours=12)
MAX_RETRY_S = 900.0
BEAT_S = 2.0
BEAT_TIMEOUT_S = 10.0
REAP_S = 4.0
FORGET_S = 3600.0
BOOK_S = 0.5
# The end of a batch could not be written: its claim is released with the next look at what is held but not done.
_UNSAID = (DatabaseUnavailable, NoRoom)
_log = get_logger(__name__)


@dataclass(slots=True)
class Current:
    """The settings in force: one reference, swapped by a reload."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class Scope:
    """What this scheduler works on: a service on everything, a command on what it asked for."""

    companies: tuple[int, ...] | None = None
    wanted_only: bool = False
    streams: tuple[str, ...] | None = None


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
    _wanted: frozenset[int] | None = None  # the salons of the settings; None: not known yet
    _running: dict[asyncio.Task[None], tuple[Claim, bool]] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _claiming: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def prepare(self) -> None:
        """Rows for the salons that are known, and due only what the settings want. Call at start and after a reload."""
        await self.work.ensure([0], ["companies"])
        wanted = await self._wanted_companies()
        await self._apply(wanted)
        if not set(wanted) <= set(await self.work.companies()):
            await self.work.list_again()

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
        filling = sum(1 for _, fills in self._running.values() if fills)
        free = PLACES - len(self._running)
        if free < 1:
            return None
        no_filling = filling >= FILLING
        async with self._claiming:
            return await self._claim_and_start(free if no_filling else min(free, FILLING - filling), no_filling)

    async def _claim_and_start(self, places: int, no_filling: bool) -> int:
        claims = await self.work.claim(
            self.worker,
            places,
            self._streams(),
            self._companies(),
            wanted_only=self.scope.wanted_only,
            no_filling=no_filling,
        )
        for claim in claims:
            task = asyncio.create_task(self._run(claim), name=f"batch {claim.stream} {claim.company}")
            self._running[task] = (claim, claim.phase != "live" or claim.failures > 0)
            task.add_done_callback(self._done)
        return len(claims)

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
        """Batches of paused salons give their places to others, once what they had asked for has had time to come."""
        pauses = await self.work.pauses()
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

    # --- one batch ----------------------------------------------------------------------------------------------------

    async def _run(self, claim: Claim) -> None:
        begun = clock.monotonic()
        tally = Tally()
        batch_id: int | None = None
        batch: Batch | None = None
        outcome, detail = "failed", None
        try:
            settings = self._settings_for(claim)
            zone = await self._zone(claim)
            if zone is None:
                # Not in the list of salons (yet): the list is read again, and begins what waits.
                await self.work.list_again()
                await self.work.finish(claim, self.worker, DENIED_S if claim.phase == "stopped" else UNKNOWN_S)
                return
            if (wait_s := self._before_start(claim, settings, zone)) is not None:
                await self.work.finish(claim, self.worker, wait_s)
                return
            batch = self._batch(claim, settings, zone, tally)
            batch_id = await self.work.open_batch(claim, settings.preset, self.worker)
            emit(
                _log, logs.BATCH_STARTED, **batch.where, batch=batch_id, preset=settings.preset,
                units=batch.units, expected=claim.expected, done=claim.done,
            )  # fmt: skip
            result = await self._work(batch)
            outcome = "proved" if result.proved else "more"
            await self.work.finish(claim, self.worker, self._due_in(claim, settings, result, begun))
            if claim.phase == "stopped":
                await self.work.unstop(claim.company)
            self._say(batch, batch_id, result, clock.monotonic() - begun)
        except Fenced:
            outcome = "fenced"
            emit(_log, logs.BATCH_FENCED, **claim.log_context(), version=claim.version)
            try:
                await self.work.finish(claim, self.worker, 0.0)
            except _UNSAID:
                self.wake()
        except DatabaseUnavailable as exc:
            outcome, detail = "lost", str(exc)
            self.wake()
        except AccessDenied as exc:
            outcome, detail = "denied", str(exc)
            await self._denied(claim, exc)
        except YcsyncError as exc:
            detail = str(exc)
            await self._failed(claim, exc, _code(exc), tally, begun)
        except asyncio.CancelledError:
            outcome = "stopped"
            raise
        except Exception as exc:
            # A fault of ours must not stop the other salons: it is said, and this stream is tried again later.
            detail = type(exc).__name__
            emit(_log, logs.UNEXPECTED, **claim.log_context(), task="batch", error=exc, exc_info=exc)
            await self._failed(claim, exc, "unexpected", tally, begun)
        finally:
            if batch_id is not None:
                await self._close(claim, batch, batch_id, outcome, tally, detail, clock.monotonic() - begun)

    async def _close(
        self, claim: Claim, batch: Batch | None, batch_id: int, outcome: str, tally: Tally, detail: str | None, s: float
    ) -> None:
        rows = 0 if batch is None else batch.effect.inserted + batch.effect.changed + batch.effect.deleted
        effects: dict[str, int] = {}
        if batch is not None:
            done = batch.effect
            effects = {
                "inserted": done.inserted, "changed": done.changed, "deleted": done.deleted, "quarantined": done.quarantined,
            }  # fmt: skip
        reread = 0 if batch is None else batch.reread
        totals = BatchTotals(
            outcome, tally.requests, rows, tally.errors, tally.retries, tally.throttled, detail, effects, reread
        )  # fmt: skip
        self.observe(claim, totals, s)
        closing = asyncio.ensure_future(self.work.close_batch(batch_id, totals))
        try:
            async with asyncio.timeout(BOOK_S):
                await asyncio.shield(closing)
        except (YcsyncError, TimeoutError):
            closing.cancel()  # a worker that starts later closes it as lost
        except asyncio.CancelledError:
            # What a batch did is written down even if the stop comes meanwhile: a moment, not a request.
            await asyncio.wait((closing,), timeout=BOOK_S)
            closing.cancel()
            raise

    async def _work(self, batch: Batch) -> Result:
        if batch.claim.stream != "companies":
            return await run_batch(batch)
        result, listed = await run_companies(batch, batch.settings.companies)
        if not listed.wanted:
            raise ApiError(
                "companies: the user token manages no salon. Give its user access to a salon in YCLIENTS, "
                "or name salons under `companies:` in config.yaml."
            )
        await self._apply(listed.wanted)
        known = [one for one in listed.wanted if one not in listed.refused]
        await self.work.company_listed(known, listed.as_of)
        await self.work.begin(known)
        for company, error in listed.refused.items():
            emit(_log, logs.API_DENIED, company=company, error=error)
            code = f"http_{error.status}" if isinstance(error, AccessDenied) else _code(error)
            await self.work.stop_company(company, DENIED_S, str(error), code)
        self._wake.set()
        return result

    def _batch(self, claim: Claim, settings: Settings, zone: ZoneInfo, tally: Tally) -> Batch:
        live = claim.phase == "live"
        return Batch(
            claim=claim,
            settings=settings,
            api=self.api,
            pages=self.pages,
            zone=zone,
            now=self.now,
            tally=tally,
            units=settings.active.batch_size,
            # A command's wish before everything, the lists before deltas, deltas before filling.
            priority=claim.priority + (5 if live else 0) + (6 if claim.stream in ("companies", "services", "staff") else 0),
            confirm_deletions=bool(claim.options.get("confirm_deletions")),
            version=claim.version,
            phase="new" if claim.phase == "stopped" else claim.phase,
            expected=claim.expected,
            done=claim.done,
            pass_started_at=claim.pass_started_at,
        )

    async def _zone(self, claim: Claim) -> ZoneInfo | None:
        if claim.stream == "companies":
            return ZoneInfo("UTC")
        name = await self.pages.zone(claim.company)
        return None if name is None else ZoneInfo(name)

    def _settings_for(self, claim: Claim) -> Settings:
        options = claim.options
        interval = options.get("interval_s")
        try:
            return self.current.settings.with_overrides(
                preset=options.get("preset"),
                batch_size=options.get("batch_size"),
                interval=None if interval is None else timedelta(seconds=interval),
            )
        except UsageError:  # the preset was taken out of the file since
            return self.current.settings

    def _before_start(self, claim: Claim, settings: Settings, zone: ZoneInfo) -> float | None:
        """A preset with `start_at` begins a pass from that hour of the salon's day on: seconds until then, or None: now."""
        start = settings.active.start_at
        if start is None or claim.phase != "new" or claim.stream in ("companies", "services", "staff") or claim.wanted:
            return None
        now = self.now().astimezone(zone)
        at = now.replace(hour=start.hour, minute=start.minute, second=0, microsecond=0)
        if at > now:
            at -= timedelta(days=1)
        # The night is twelve hours long: who is not reached at its beginning still begins in it.
        return None if now < at + NIGHT else (at + timedelta(days=1) - now).total_seconds()

    def _due_in(self, claim: Claim, settings: Settings, result: Result, begun: float) -> float | None:
        if self._unwanted(claim) and (result.proved or not claim.wanted):
            return None
        if result.proved:
            cadence = self.current.settings.streams.get(claim.stream)
            if cadence is None and claim.stream == "companies":
                cadence = STREAMS["companies"]  # the time zones and new salons come from there, whatever the schedule says
            return None if cadence is None else cadence.total_seconds()
        if result.wait_s is not None:
            return result.wait_s
        most = claim.options.get("max_batches")
        if most is not None and claim.batches + 1 >= most:
            return 3600.0  # the command that asked ends now, and gives the rest back
        return max(0.0, settings.active.interval.total_seconds() - (clock.monotonic() - begun))

    def _unwanted(self, claim: Claim) -> bool:
        """Of a salon that the settings do not name (any more): only a command asks for it."""
        return self._wanted is not None and claim.company != 0 and claim.company not in self._wanted

    async def _failed(self, claim: Claim, error: Exception, code: str, tally: Tally, begun: float) -> None:
        wait_s = min(MAX_RETRY_S, 5.0 * 2.0 ** min(claim.failures, 10)) * random.uniform(0.8, 1.2)
        if isinstance(error, Throttled):
            wait_s = max(wait_s, error.wait_s)
        emit(
            _log, logs.BATCH_FAILED, **claim.log_context(), error=error, requests=tally.requests, errors=tally.errors,
            attempt=claim.failures + 1, retry_in_s=round(wait_s), duration_s=round(clock.monotonic() - begun, 2),
        )  # fmt: skip
        message = str(error) if isinstance(error, YcsyncError) else f"a fault of ycsync ({type(error).__name__})"
        try:
            again_s = None if self._unwanted(claim) and not claim.wanted else wait_s
            await self.work.fail(claim, self.worker, again_s, message, code)
        except _UNSAID:
            self.wake()

    async def _denied(self, claim: Claim, error: AccessDenied) -> None:
        emit(_log, logs.API_DENIED, **claim.log_context(), status=error.status, error=error)
        try:
            again_s = None if self._unwanted(claim) and not claim.wanted else DENIED_S
            await self.work.fail(claim, self.worker, again_s, str(error), f"http_{error.status}", "stopped")
            if claim.company:
                await self.work.stop_company(claim.company, DENIED_S, str(error), f"http_{error.status}")
        except _UNSAID:
            self.wake()

    def _say(self, batch: Batch, batch_id: int, result: Result, seconds: float) -> None:
        effect, tally = batch.effect, batch.tally
        recovered = batch.claim.failures > 0  # a log that ended with a failure must not stay silent
        if (
            batch.claim.phase == "live"
            and not recovered
            and not (effect.inserted or effect.changed or effect.deleted or effect.held_back)
        ):
            emit(_log, logs.BATCH_QUIET, **batch.where, batch=batch_id, requests=tally.requests, duration_s=round(seconds, 2))
            return
        emit(
            _log, logs.BATCH_COMMITTED, **batch.where, batch=batch_id, preset=batch.settings.preset, phase=batch.phase,
            rows=effect.inserted, changed=effect.changed, deleted=effect.deleted, done=batch.done, expected=batch.expected,
            duration_s=round(seconds, 2), requests=tally.requests, retries=tally.retries, errors=tally.errors,
            throttled=tally.throttled,
        )  # fmt: skip
        if result.proved and batch.claim.phase != "live":
            emit(_log, logs.PASS_PROVED, **batch.where, rows=batch.done, expected=batch.expected, deleted=effect.deleted)
        if result.held_back:
            emit(
                _log, logs.SWEEP_STOPPED, **batch.where, would_delete=result.held_back, of=effect.live or batch.done,
                remedy="if that is right: ycsync sync --confirm-deletions",
            )  # fmt: skip

    # --- what the settings want ---------------------------------------------------------------------------------------

    def _streams(self) -> list[str]:
        on = [name for name, cadence in self.current.settings.streams.items() if cadence is not None]
        if "companies" not in on:
            on.append("companies")  # the time zones come from there
        # What a command asked for by name runs even when its schedule is off.
        return on if not self.scope.wanted_only else list(self.current.settings.streams)

    def _companies(self) -> list[int] | None:
        return None if self.scope.companies is None else list(self.scope.companies)

    async def _wanted_companies(self) -> Sequence[int]:
        return self.current.settings.companies or await self.work.companies()

    async def _apply(self, companies: Sequence[int]) -> None:
        self._wanted = frozenset(companies) if companies else None
        if companies:
            await self.work.ensure(companies, list(self.current.settings.streams))
        on = [name for name, cadence in self.current.settings.streams.items() if cadence is not None]
        await self.work.enabled([*on, "companies"], list(companies))
        for stream in on:
            cadence = self.current.settings.streams[stream]
            if cadence is not None:
                await self.work.recadence(stream, max(cadence, self.current.settings.active.interval).total_seconds())


def _code(error: YcsyncError) -> str:
    return type(error).__name__.lower()
