"""How does a command get a pass done and watch it: by the service that runs already, or by itself when there is none?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ycsync.config import Loaded, Settings
from ycsync.errors import UsageError, YcsyncError
from ycsync.scheduler import Scope
from ycsync.service.engine import Engine, check_tokens, open_engine
from ycsync.service.standing import HELD_BACK
from ycsync.store.database import Database
from ycsync.store.moved import MovedVisits
from ycsync.store.work import StreamProgress, Work

POLL_S = 0.2
GIVE_UP_AFTER = 3  # failures in a row
CLOSING_GAP = timedelta(seconds=2)
WORTH_SAYING_S = 5.0  # of a wait
LOOKS = 2  # refusals of a token in a row that end the command: one may have been passing
LOOK_S = 10.0  # for the second, at most


@dataclass(frozen=True, slots=True)
class Wish:
    """What `ycsync sync` was asked for."""

    companies: tuple[int, ...]
    streams: tuple[str, ...]
    options: dict[str, object]
    afresh: bool = False
    max_batches: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: `complete` only when every stream was proved after the command began."""

    complete: bool
    rows: tuple[StreamProgress, ...]
    problems: tuple[str, ...] = ()
    by_service: bool = False


class Shows(Protocol):
    """Who is told how it stands. `next_at`: nothing is done until then, as the interval wants it."""

    def __call__(self, rows: Sequence[StreamProgress], by_service: bool, next_at: datetime | None) -> None: ...


class Follower:
    """Carries one wish through."""

    def __init__(
        self,
        loaded: Loaded,
        settings: Settings,
        database: Database,
        wish: Wish,
        show: Shows,
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._database = database
        self._wish = wish
        self._show = show
        self._work = Work(database)
        self._by_service = False
        self._wanted: dict[tuple[int, str], datetime] = {}
        self._engine: Engine | None = None  # this process's own, once there was no service
        self._refused_at: float | None = None  # monotonic: since when all that is left waits for a second look at its token

    async def run(self) -> Outcome:
        """Until every stream is proved, or one cannot be. Raises YcsyncError."""
        async with AsyncExitStack() as stack:
            try:
                return await self._run(stack)
            finally:
                if self._wanted:
                    await self._work.unwant(self._wanted)

    async def _run(self, stack: AsyncExitStack) -> Outcome:
        if not await self._work.services():
            check_tokens(self._loaded)
        await self._work.ensure([0], ["companies"])
        streams = [stream for stream in self._wish.streams if stream != "companies"]
        erased = await self._work.erased()
        companies = await self._companies(erased)
        known = set(await self._work.companies(inactive=True))
        first: Outcome | None = None
        unsure = not companies or not known.issuperset(companies) or await self._token_refused(companies)
        if "companies" in self._wish.streams or unsure:
            first = await self._until_served([0], ["companies"], stack, options={})
            if not first.complete:
                return first
            companies = await self._companies(erased)
            known = set(await self._work.companies(inactive=True))
        held, unknown = self._not_served(companies, known, erased)
        companies = [company for company in companies if company in known]
        if not companies:
            raise UsageError("\n".join(unknown or held) or "no salon is known.")
        if not streams:
            assert first is not None
            return replace(first, complete=not unknown, problems=unknown)
        await self._work.ensure(companies, self._settings.kept(streams))
        if "records" in streams and "clients" not in streams and await self._needs_clients(companies):
            streams = ["clients", *streams]
        before = {(row.company, row.stream): row.phase for row in await self._work.progress(companies, streams)}
        outcome = await self._until_served(companies, streams, stack, options=self._wish.options)
        filled = any(phase != "live" for phase in before.values())
        if outcome.complete and filled:
            outcome = await self._close(outcome, stack)
        if outcome.complete and "records" in streams:
            outcome = await self._read_moved(outcome, companies, stack)
        return replace(outcome, complete=outcome.complete and not unknown, problems=(*unknown, *outcome.problems))

    def _not_served(
        self, companies: Sequence[int], known: Collection[int], erased: Mapping[int, datetime]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is said of the salons that were erased, and of all that whoever asked does not get."""
        named = sorted(set(self._wish.companies or self._settings.companies) & erased.keys())
        held = tuple(
            f"salon {company}: it was erased on {erased[company]:%Y-%m-%d} and is not read again. "
            f"If it is to come back: `ycsync db readmit --company {company}`."
            for company in named
        )
        # What the settings name is said by who reads them; whoever asks for such a salon does not get it.
        unknown = (held if self._wish.companies else ()) + tuple(
            f"salon {company}: YCLIENTS does not know it, or the user of the token has no rights there."
            for company in sorted(set(companies).difference(known))
        )
        return held, unknown

    async def _companies(self, erased: Collection[int]) -> list[int]:
        """The salons that were asked for, but those that were erased."""
        companies = self._wish.companies or self._settings.companies or await self._work.companies()
        return [company for company in companies if company not in erased]

    async def _token_refused(self, companies: Sequence[int]) -> bool:
        """Return whether the common user token was refused when the list of salons was asked for last: that is asked first."""
        if self._settings.own_tokens.issuperset(companies):
            return False
        rows = await self._work.progress([0], ["companies"])
        return any(row.phase == "stopped" and row.error_code == "http_401" for row in rows)

    async def _needs_clients(self, companies: Sequence[int]) -> bool:
        """Visits are read client by client, and who they are is not known yet: without a wish nobody would read them."""
        if self._settings.history != "by_client" or self._settings.streams.get("clients") is None:
            return False
        return any(row.last_success_at is None for row in await self._work.progress(companies, ["clients"]))

    async def _close(self, outcome: Outcome, stack: AsyncExitStack) -> Outcome:
        """A stream was proved while others were still being filled: what changed in it since is read before the end."""
        proved = [(row, row.last_success_at) for row in outcome.rows if row.last_success_at is not None]
        last = max(at for _, at in proved)
        old = [row for row, at in proved if row.stream in ("clients", "records") and last - at > CLOSING_GAP]
        if not old:
            return outcome
        companies = sorted({row.company for row in old})
        return await self._once_more(outcome, companies, sorted({row.stream for row in old}), stack)

    async def _read_moved(self, outcome: Outcome, companies: Sequence[int], stack: AsyncExitStack) -> Outcome:
        """Clients vanished, and visits still name them: who has them now is asked for."""
        moved = await MovedVisits(self._database).salons(companies)
        return await self._once_more(outcome, moved, ["records"], stack) if moved else outcome

    async def _once_more(
        self, outcome: Outcome, companies: Sequence[int], streams: Sequence[str], stack: AsyncExitStack
    ) -> Outcome:
        """Another pass of some streams: what others found out since is for them to read."""
        again = await self._until_served(companies, streams, stack, options=self._wish.options, afresh=False)
        rows = {(row.company, row.stream): row for row in (*outcome.rows, *again.rows)}
        return Outcome(again.complete, tuple(rows.values()), again.problems, again.by_service)

    async def _until_served(
        self,
        companies: Sequence[int],
        streams: Sequence[str],
        stack: AsyncExitStack,
        options: dict[str, object],
        *,
        afresh: bool | None = None,
    ) -> Outcome:
        fresh = self._wish.afresh if afresh is None else afresh
        self._wanted = await self._work.want(companies, streams, options, afresh=fresh)
        engine = self._engine
        paused: set[int] = set()
        next_at: datetime | None = None
        since_check = 10.0
        while True:
            rows = tuple(
                row for row in await self._work.progress(companies, streams) if (row.company, row.stream) in self._wanted
            )
            if len(rows) < len(self._wanted):
                gone = sorted({company for company, _ in self._wanted.keys() - {(row.company, row.stream) for row in rows}})
                raise YcsyncError(f"salon {', '.join(map(str, gone))} was erased from the database meanwhile.")
            if since_check >= 1.0:
                next_at = await self._waits(rows)
            self._show(rows, self._by_service, next_at)
            if (outcome := self._judge(rows, paused)) is not None:
                return outcome
            if since_check >= 1.0:
                since_check = 0.0
                paused = set(await self._work.pauses())
            if since_check == 0.0 and engine is None:
                self._by_service = bool(await self._work.services())
                if not self._by_service:
                    engine = self._engine = await self._start(stack)
            if engine is not None:
                self._check(engine)
                engine.scheduler.wake()
            await asyncio.sleep(POLL_S)
            since_check += POLL_S

    async def _waits(self, rows: Sequence[StreamProgress]) -> datetime | None:
        """When the next batch begins, if all that is left waits for it, and longer than one wonders; else None."""
        left = [row for row in rows if row.wanted_at is not None]
        if not left or any(row.claimed_by is not None or row.batches == 0 or row.failures for row in left):
            return None
        streams, companies = {row.stream for row in left}, {row.company for row in left}
        wait_s = await self._work.next_due(list(streams), list(companies), wanted_only=True)
        return None if wait_s is None or wait_s < WORTH_SAYING_S else datetime.now(UTC) + timedelta(seconds=wait_s)

    async def _start(self, stack: AsyncExitStack) -> Engine:
        """No service runs (any more): this process does the work itself."""
        engine = await stack.enter_async_context(
            open_engine(self._loaded, self._database, role="sync", scope=Scope(wanted_only=True), settings=self._settings)
        )
        task = asyncio.create_task(engine.scheduler.run(), name="scheduler")
        self._task = task

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        stack.push_async_callback(end)
        return engine

    def _check(self, engine: Engine) -> None:
        engine.check()
        if self._task.done() and not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise YcsyncError(f"the scheduler ended ({type(error).__name__}).") from error
        if engine.scheduler.database_lost is not None:
            # A command is not a service: it says so and ends; what was committed is kept.
            raise YcsyncError(f"{self._database.where}: the database went away. What was committed is kept; run it again.")

    def _judge(self, rows: Sequence[StreamProgress], paused: set[int]) -> Outcome | None:
        # A wish that was served is gone from its row; the success is that of a batch that began after it.
        open_rows = [
            row
            for row in rows
            if row.wanted_at is not None
            or row.last_success_at is None
            or row.last_success_at < self._wanted[row.company, row.stream]
        ]
        if not open_rows:
            held = tuple(row.last_error or "" for row in rows if row.error_code == HELD_BACK)
            return Outcome(not held, tuple(rows), held, self._by_service)
        if paused and all(0 in paused or row.company in paused for row in open_rows):
            said = "requests are paused. `ycsync resume` lets them leave again."
            return Outcome(False, tuple(rows), (said,), self._by_service)
        failed, most = self._failed(open_rows), self._wish.max_batches
        spent = [row for row in open_rows if most is not None and row.batches >= most and row.claimed_by is None]
        if len(failed) + len(spent) < len(open_rows):
            return None
        problems = [_problem(row) for row in failed]
        problems += [f"{_name(row)}: {row.done} of {row.expected or '?'} after {row.batches} batches" for row in spent]
        return Outcome(False, tuple(rows), tuple(dict.fromkeys(problems)), self._by_service)

    def _failed(self, open_rows: Sequence[StreamProgress]) -> list[StreamProgress]:
        """Those that failed for good. A token that was refused just now is looked at again soon: that is waited for."""
        failed = [row for row in open_rows if row.phase == "stopped" or row.failures >= GIVE_UP_AFTER]
        looked_for = [row for row in failed if row.error_code == "http_401" and row.failures < LOOKS]
        if not looked_for:
            self._refused_at = None
            return failed
        self._refused_at = self._refused_at or time.monotonic()
        waits = time.monotonic() - self._refused_at < LOOK_S
        return [row for row in failed if row not in looked_for] if waits else failed


def _problem(row: StreamProgress) -> str:
    """Why a stream was not proved. Most errors say themselves where it was: one that stopped several streams is said once."""
    said = row.last_error or "not complete"
    return said if said.startswith((f"salon {row.company}, ", f"salon {row.company}: ")) else f"{_name(row)}: {said}"


def _name(row: StreamProgress) -> str:
    return f"salon {row.company}, {row.stream}" if row.company else row.stream
