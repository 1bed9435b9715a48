"""How is one batch run: with which settings it begins, how it ends, and when the next one is due?"""

from __future__ import annotations

import asyncio
import random
import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
    NotFound,
    Throttled,
    Transient,
    UsageError,
    YcsyncError,
)
from ycsync.logs import emit, get_logger
from ycsync.model.times import zone_key
from ycsync.plan import reconcile
from ycsync.scheduler.wanted import Wanted
from ycsync.store.pages import Pages
from ycsync.store.work import HINTED, HOOKS, BatchTotals, Claim, Work
from ycsync.store.zones import ZONED
from ycsync.sync import Batch, Result, align_idle, run_batch, run_companies
from ycsync.sync.batch import Crowding

# After so many seconds one stream of a refused salon looks again, by refusals in a row: a token may be good again at once.
LOOKS_S = (4.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
DENIED_S = LOOKS_S[-1]
HELD_S = 5.0  # after the list of salons, for a salon that waits for its answer
UNKNOWN_S = 60.0
RECONCILED = ("clients", "records")  # streams of which webhooks tell each change
NIGHT = timedelta(hours=12)
MAX_RETRY_S = 900.0
BOOK_S = 0.5
QUICK = 20  # requests of a salon that is filled which go before passes
UNREACHED_S = 20.0
# The end of a batch could not be written: its claim is released with the next look at what is held but not done.
_UNSAID = (DatabaseUnavailable, NoRoom)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rest:
    """What a batch that gave its place away had left: units, and when it began. Another process begins a new one instead."""

    units: int
    begun: float


@dataclass(slots=True)
class Runner:
    """Runs batches. `observe`: told of each that ended; `wake`: something became due; `crowding`: who waits for a place."""

    wanted: Wanted
    work: Work
    pages: Pages
    api: Api
    now: Callable[[], datetime]
    observe: Callable[[Claim, BatchTotals, float], None]
    wake: Callable[[], None]
    crowding: Callable[[Claim], Crowding] = lambda _: Crowding()
    unreached_at: float | None = None  # monotonic: since when this machine does not reach YCLIENTS, while another one does
    _rests: dict[tuple[int, str], Rest] = field(default_factory=dict)

    def rests(self) -> bool:
        """Is work to be left to other machines for now?"""
        return self.unreached_at is not None and clock.monotonic() - self.unreached_at < UNREACHED_S

    async def run(self, claim: Claim, worker: int) -> None:
        """Run one batch to its end, and say when the next is due. Raises nothing but cancellation."""
        begun = clock.monotonic()
        tally = Tally()
        batch_id: int | None = None
        batch: Batch | None = None
        outcome, detail = "failed", None
        try:
            batch = await self._begin(claim, worker, tally, begun)
            if batch is None:
                return
            if claim.stream != HOOKS:  # most of them cost no request: those that do are written down when they end
                batch_id = await self.work.open_batch(claim, batch.settings.preset, worker)
            emit(
                _log, logs.BATCH_STARTED, **batch.where, batch=batch_id, preset=batch.settings.preset,
                units=batch.units, expected=claim.expected, done=claim.done,
            )  # fmt: skip
            result = await self._work(batch)
            outcome = "proved" if result.proved else "turn" if batch.gave_way else "more"
            await self._finish(worker, batch, result, begun)
            self._say(batch, batch_id, result, clock.monotonic() - begun)
        except Fenced:
            outcome = "fenced"
            emit(_log, logs.BATCH_FENCED, **claim.log_context(), version=claim.version)
            try:
                await self.work.finish(claim, worker, 0.0)
            except _UNSAID:
                self.wake()
        except DatabaseUnavailable as exc:
            outcome, detail = "lost", str(exc)
            self.wake()
        except AccessDenied as exc:
            outcome, detail = "denied", str(exc)
            await self._denied(claim, worker, exc)
        except YcsyncError as exc:
            detail = str(exc)
            if not await self._left_to_another(claim, worker, exc):
                await self._failed(claim, worker, exc, _code(exc), tally, begun)
        except asyncio.CancelledError:
            outcome = "stopped"
            raise
        except Exception as exc:
            # A fault of ours must not stop the other salons: it is said, and this stream is tried again later.
            detail = type(exc).__name__
            emit(_log, logs.UNEXPECTED, **claim.log_context(), task="batch", error=exc, exc_info=exc)
            await self._failed(claim, worker, exc, "unexpected", tally, begun)
        finally:
            if batch is not None and batch.effect.odd:
                _say_odd(batch)
            if batch_id is not None or (claim.stream == HOOKS and (tally.requests or outcome != "proved")):
                await self._close(claim, worker, batch, batch_id, outcome, tally, detail, clock.monotonic() - begun)
            elif batch is not None and claim.stream == HOOKS:
                self.observe(claim, _totals(batch, outcome, tally, detail), clock.monotonic() - begun)

    async def _begin(self, claim: Claim, worker: int, tally: Tally, begun: float) -> Batch | None:
        """The batch; None where it does not begin now, and when it is looked at again is written down."""
        settings, zone = self._settings_for(claim), await self._zone(claim)
        if zone is None:
            # Not in the list of salons (yet): the list is read again, and begins what waits.
            await self.work.list_again()
            await self.work.finish(claim, worker, _look_s(claim.failures) if claim.phase == "stopped" else UNKNOWN_S)
            return None
        wait_s = self._held_s(claim)
        if wait_s is None:
            wait_s = self._before_start(claim, settings, zone)
        if wait_s is not None:
            await self.work.finish(claim, worker, wait_s)
            return None
        return self._batch(claim, settings, zone, tally, self._rest(claim, settings, begun))

    async def _finish(self, worker: int, batch: Batch, result: Result, begun: float) -> None:
        """When the next one is due is written down; what was refused or asked for is looked at."""
        claim = batch.claim
        if batch.tally.requests > batch.tally.errors:  # most batches of hints ask nothing
            self.unreached_at = None
        due_in_s = self._due_in(batch, result)
        read_by = zone_key(batch.zone) if claim.stream in ZONED else None
        await self.work.finish(claim, worker, *await self._with_hooks(claim, batch, due_in_s, result), read_by)
        if result.proved and claim.heard_s is not None:
            batch.waited.append(claim.heard_s + clock.monotonic() - begun)
        if claim.phase == "stopped" or claim.wanted:
            await self._answers_again(claim)

    async def _close(
        self, claim: Claim, worker: int, batch: Batch | None, batch_id: int | None, outcome: str, tally: Tally,
        detail: str | None, s: float,
    ) -> None:  # fmt: skip
        totals = _totals(batch, outcome, tally, detail)
        self.observe(claim, totals, s)
        closing = asyncio.ensure_future(self._book(claim, worker, batch, batch_id, totals))
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

    async def _book(self, claim: Claim, worker: int, batch: Batch | None, batch_id: int | None, totals: BatchTotals) -> None:
        if batch_id is None:
            batch_id = await self.work.open_batch(claim, "" if batch is None else batch.settings.preset, worker)
        await self.work.close_batch(batch_id, totals)

    async def _work(self, batch: Batch) -> Result:
        if batch.claim.stream != "companies":
            return await run_batch(batch)
        result, listed = await run_companies(batch)
        if not listed.wanted and not listed.erased:
            raise ApiError(
                "companies: the user token manages no salon. Give its user access to a salon in YCLIENTS, "
                "or name salons under `companies:` in config.yaml."
            )
        if listed.denied is None:
            await self.wanted.apply(listed.wanted)
        else:
            await self.work.ensure(listed.wanted, batch.settings.kept())
        known = [one for one in listed.wanted if one not in listed.refused]
        await self.work.company_listed(known, listed.as_of)
        await self.work.begin(known)
        await align_idle(self.pages, self.now())
        for company, error in listed.refused.items():
            emit(_log, logs.API_DENIED, company=company, error=error)
            look_s = LOOKS_S[0] if isinstance(error, AccessDenied) else DENIED_S
            await self.work.stop_company(company, look_s, str(error), _code(error))
        self.wake()
        if listed.denied is not None:
            raise listed.denied
        return result

    def _rest(self, claim: Claim, settings: Settings, now: float) -> Rest | None:
        """The rest of the batch that gave its place away, if its interval is not over: then a new one is due."""
        rest = self._rests.pop((claim.company, claim.stream), None)
        return rest if rest is not None and now - rest.begun < settings.active.interval.total_seconds() else None

    def _batch(self, claim: Claim, settings: Settings, zone: ZoneInfo, tally: Tally, rest: Rest | None) -> Batch:
        live = claim.phase == "live"
        units = settings.active.batch_size if rest is None else min(rest.units, settings.active.batch_size)
        return Batch(
            claim=claim,
            settings=settings,
            api=self.api,
            pages=self.pages,
            zone=zone,
            now=self.now,
            tally=tally,
            units=units,
            priority=_priority(claim),
            # A long reading of a salon that is filled goes on as a pass does.
            quick=(QUICK if rest is None else 0) if live else None,
            # A command that counts batches is not to find them cut into turns.
            crowding=Crowding() if "max_batches" in claim.options else self.crowding(claim),
            confirm_deletions=bool(claim.options.get("confirm_deletions")),
            version=claim.version,
            phase="new" if claim.phase == "stopped" else claim.phase,
            expected=claim.expected,
            done=claim.done,
            pass_started_at=claim.pass_started_at,
            started=clock.monotonic() if rest is None else rest.begun,
        )

    async def _zone(self, claim: Claim) -> ZoneInfo | None:
        if claim.stream == "companies":
            return ZoneInfo("UTC")
        return await self.pages.zone(claim.company)

    def _settings_for(self, claim: Claim) -> Settings:
        options, settings = claim.options, self.wanted.current.settings.for_salon(claim.company)
        interval = options.get("interval_s")
        try:
            return settings.with_overrides(
                preset=options.get("preset"),
                batch_size=options.get("batch_size"),
                interval=None if interval is None else timedelta(seconds=interval),
            )
        except UsageError:  # the preset was taken out of the file since
            return settings

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

    async def _with_hooks(
        self, claim: Claim, batch: Batch, due_in_s: float | None, result: Result
    ) -> tuple[float | None, float | None]:
        """Seconds until the next batch, and how long that may be: later than the cadence where webhooks tell what changed."""
        hooks = self.wanted.current.settings.hooks
        if not result.proved or due_in_s is None or hooks.url is None or claim.stream not in RECONCILED:
            return due_in_s, None
        flow = await self.pages.hooks.flow(claim.company)
        lossy = flow.lossy
        if flow.silent_s is not None and not claim.nudged and claim.phase == "live" and batch.effect.untold:
            # No webhook had told of these: until it is clear that they come again, changes are looked for as without them.
            await self.pages.hooks.lossy(claim.company, reconcile.window(hooks.reconcile).total_seconds())
            lossy = True
            emit(_log, logs.HOOKS_LOSSY, **claim.log_context(), count=batch.effect.untold)
        silent = None if flow.silent_s is None else timedelta(seconds=flow.silent_s)
        due_in = reconcile.due_in(timedelta(seconds=due_in_s), hooks.reconcile, silent, lossy=lossy).total_seconds()
        return due_in, due_in if due_in > due_in_s else None

    def _due_in(self, batch: Batch, result: Result) -> float | None:
        claim, settings = batch.claim, batch.settings
        if batch.gave_way and not result.proved and batch.units > 0 and result.wait_s is None:
            self._rests[claim.company, claim.stream] = Rest(batch.units, batch.started)
        if self.wanted.is_unwanted(claim.company) and (result.proved or not claim.wanted):
            return None
        if claim.stream == HOOKS:
            return result.wait_s
        if result.proved:
            cadence = self.wanted.current.settings.streams.get(claim.stream)
            if cadence is None and claim.stream == "companies":
                cadence = STREAMS["companies"]  # the time zones and new salons come from there, whatever the schedule says
            return None if cadence is None else cadence.total_seconds()
        if result.wait_s is not None:
            return result.wait_s
        most = claim.options.get("max_batches")
        if most is not None and claim.batches + 1 >= most:
            return 3600.0  # the command that asked ends now, and gives the rest back
        if (claim.company, claim.stream) in self._rests:
            return 0.0
        return max(0.0, settings.active.interval.total_seconds() - (clock.monotonic() - batch.started))

    async def _failed(self, claim: Claim, worker: int, error: Exception, code: str, tally: Tally, begun: float) -> None:
        wait_s = min(MAX_RETRY_S, 5.0 * 2.0 ** min(claim.failures, 10)) * random.uniform(0.8, 1.2)
        if isinstance(error, Throttled):
            wait_s = max(wait_s, error.wait_s)
        emit(
            _log, logs.BATCH_FAILED, **claim.log_context(), error=error, requests=tally.requests, errors=tally.errors,
            attempt=claim.failures + 1, retry_in_s=round(wait_s), duration_s=round(clock.monotonic() - begun, 2),
        )  # fmt: skip
        message = str(error) if isinstance(error, YcsyncError) else f"a fault of ycsync ({type(error).__name__})"
        try:
            again_s = None if self.wanted.is_unwanted(claim.company) and not claim.wanted else wait_s
            await self.work.fail(claim, worker, again_s, message, code)
            if isinstance(error, NotFound) and claim.failures == 0:
                await self._perhaps_gone(claim)
        except _UNSAID:
            self.wake()

    async def _left_to_another(self, claim: Claim, worker: int, error: YcsyncError) -> bool:
        """A machine that is cut off from YCLIENTS would make every stream fail in turn, though others could do the work."""
        if not isinstance(error, Transient) or not error.unreached:
            return False
        try:
            left = await self.work.hand_over(claim, worker)
        except DatabaseError:
            return False
        if left:
            self.unreached_at = clock.monotonic()
            emit(_log, logs.BATCH_HANDED_OVER, **claim.log_context(), error=error, retry_in_s=UNREACHED_S)
        return left

    async def _denied(self, claim: Claim, worker: int, error: AccessDenied) -> None:
        """A right that lacks stops its own stream; a token, the licence or the salon itself stops all streams of the salon."""
        emit(_log, logs.API_DENIED, **claim.log_context(), status=error.status, error=error)
        first = claim.phase != "stopped"
        failures = 1 if first else claim.failures + 1
        wait_s = DENIED_S if error.right else _look_s(failures)
        try:
            again_s = None if self.wanted.is_unwanted(claim.company) and not claim.wanted else wait_s
            await self.work.fail(claim, worker, again_s, str(error), error.code, "stopped", failures)
            if claim.company and not error.right:
                await self.work.stop_company(claim.company, wait_s, str(error), error.code, failures)
            if first and claim.company:
                await self._ask_list(claim, error)
        except _UNSAID:
            self.wake()

    async def _ask_list(self, claim: Claim, error: AccessDenied) -> None:
        """Refused for the first time: the list of salons tells whether all are refused, or whether this one went."""
        if error.status == 401:
            if claim.company not in self.wanted.current.settings.own_tokens:
                await self.work.ask_list()
                self.wake()
        elif not error.right or await self.work.all_stopped(claim.company):
            await self._perhaps_gone(claim)

    def _held_s(self, claim: Claim) -> float | None:
        """Seconds until the list of salons tells whether the common token is refused for all; None: nothing waits for that."""
        common = claim.company and claim.company not in self.wanted.current.settings.own_tokens
        refused = claim.phase == "stopped" and claim.error_code == "http_401"
        if claim.list_s is None or claim.wanted or not common or not refused:
            return None
        return claim.list_s + HELD_S

    async def _answers_again(self, claim: Claim) -> None:
        """What was refused is answered: the salon's other streams go on, or one stream of each salon looks."""
        if claim.company:
            await self.work.unstop(claim.company)
        else:
            await self.work.wake("http_401")
        self.wake()

    async def _perhaps_gone(self, claim: Claim) -> None:
        """Refused for the first time: the list tells whether it is this salon that went. It is not read again all the time."""
        settings = self.wanted.current.settings
        if claim.company and not settings.companies and claim.company not in settings.own_tokens:
            await self.work.list_again()
            self.wake()

    def _say(self, batch: Batch, batch_id: int | None, result: Result, seconds: float) -> None:
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


def _say_odd(batch: Batch) -> None:
    odd = sorted(batch.effect.odd.items(), key=lambda item: -item[1])
    fields = ", ".join(f"{name if stream == batch.claim.stream else f'{stream}.{name}'} {rows}" for (stream, name), rows in odd)
    emit(_log, logs.ROW_ODD, **batch.where, fields=fields, count=sum(rows for _, rows in odd))


def _totals(batch: Batch | None, outcome: str, tally: Tally, detail: str | None) -> BatchTotals:
    if batch is None:
        return BatchTotals(outcome, tally.requests, 0, tally.errors, tally.retries, tally.throttled, detail)
    done = batch.effect
    effects = {
        "inserted": done.inserted, "changed": done.changed, "deleted": done.deleted, "quarantined": done.quarantined,
    }  # fmt: skip
    return BatchTotals(
        outcome, tally.requests, done.inserted + done.changed + done.deleted, tally.errors, tally.retries, tally.throttled,
        detail, effects, batch.reread, tuple(batch.waited), dict(done.odd),
    )  # fmt: skip


def _priority(claim: Claim) -> int:
    """A command's wish before everything, then what webhooks told, the lists before deltas, deltas before filling."""
    if claim.stream == HOOKS or (claim.nudged and not claim.wanted):
        return HINTED + 5  # one class: whatever a salon's hints need, its turn comes with those of the others
    return (
        claim.priority + (5 if claim.phase == "live" else 0) + (6 if claim.stream in ("companies", "services", "staff") else 0)
    )


def _code(error: YcsyncError) -> str:
    return error.code if isinstance(error, AccessDenied) else type(error).__name__.lower()


def _look_s(failures: int) -> float:
    """Seconds until one stream of a refused salon looks again, after so many refusals in a row."""
    return LOOKS_S[min(max(failures, 1), len(LOOKS_S)) - 1]
