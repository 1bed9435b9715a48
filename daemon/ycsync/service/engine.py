"""What works the queue: limiter, API client and scheduler on one database, for the service and for `ycsync sync`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import ClientSession

from ycsync import __version__
from ycsync.api import Api, Attempt, UserToken, check_local_address, leaving_address, new_session
from ycsync.config import Loaded, Settings
from ycsync.config.secrets import missing_said
from ycsync.errors import DatabaseError, DatabaseUnavailable, NoRoom, UsageError, YcsyncError
from ycsync.limiter import Limiter, Rates
from ycsync.scheduler import Current, Scheduler, Scope
from ycsync.store.database import Database
from ycsync.store.pages import Pages
from ycsync.store.work import Work

CLOSE_S = 0.5  # for each of the last things that the database is told


@dataclass(slots=True)
class Engine:
    """Everything that `ycsync sync` and the service have in common."""

    current: Current
    database: Database
    work: Work
    limiter: Limiter
    api: Api
    scheduler: Scheduler
    granting: asyncio.Task[None]

    def check(self) -> None:
        """Raise when the limiter's own task has ended: nothing would ever leave again."""
        if self.granting.done() and not self.granting.cancelled():
            error = self.granting.exception()
            raise YcsyncError(f"the limiter ended ({type(error).__name__}): a fault of ycsync. Start it again.") from error


def rates_of(settings: Settings) -> Rates:
    """What the preset in force may use of the budget."""
    preset = settings.active
    return Rates(
        min(preset.per_second, settings.yclients.per_second),
        min(preset.per_minute, settings.yclients.per_minute),
        preset.min_delay.total_seconds(),
    )


def check_tokens(loaded: Loaded) -> None:
    """Say which tokens are missing, before anything is started. Raises UsageError, or ConfigError with the salons' lines."""
    if missing := missing_said(loaded.secrets, common=loaded.settings.needs_common_token):
        raise UsageError("; ".join(missing))
    loaded.salon_tokens.check(loaded.path)


def pace_s(settings: Settings, company: int) -> float:
    """Least seconds between two requests for a salon that has a preset of its own; 0: the budget alone holds it."""
    if company not in settings.own_presets:
        return 0.0
    preset = settings.for_salon(company).active
    return max(preset.min_delay.total_seconds(), 1 / preset.per_second, 60 / preset.per_minute)


async def _registered(register: Callable[[], Awaitable[int]], work: Work) -> int:
    """The worker's number. A stop in the middle waits for it: a row that nobody knows would stand until the next start."""
    asking = asyncio.ensure_future(register())
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        with suppress(DatabaseError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await work.leave(await asking)
        raise


@asynccontextmanager
async def open_engine(
    loaded: Loaded,
    database: Database,
    *,
    role: str,
    scope: Scope | None = None,
    info: Callable[[], dict[str, object] | None] = lambda: None,
    observe: Callable[[Attempt], None] = lambda _: None,
    settings: Settings | None = None,
) -> AsyncIterator[Engine]:
    """Register this process as a worker and put the parts together; the scheduler is prepared, not yet running."""
    check_tokens(loaded)
    current = Current(loaded.settings if settings is None else settings)
    work = Work(database.named("queue"))
    yclients = loaded.settings.yclients
    check_local_address(yclients.local_address)
    await work.reap()

    async def register() -> int:
        address = await leaving_address(yclients.base_url, yclients.local_address)
        return await work.register(role, yclients.egress, __version__, info() or {}, address)

    worker = await _registered(register, work)
    timeout_s = yclients.timeout.total_seconds()
    limiter = Limiter(
        database.named("limiter"), database.schema, yclients.egress, worker, lambda: rates_of(current.settings),
        timeout_s=timeout_s, pace=lambda company: pace_s(current.settings, company),
    )  # fmt: skip
    granting = asyncio.create_task(limiter.run(), name="limiter")
    session: ClientSession | None = None
    try:
        await limiter.prepare(yclients.per_second, yclients.per_minute)
        session = new_session(timeout_s=timeout_s, ca_file=yclients.ca_file, local_address=yclients.local_address)
        secrets = loaded.secrets
        partner = secrets.partner_token or ""
        user = UserToken(
            session,
            yclients.base_url,
            partner,
            limiter,
            token=secrets.user_token or None,
            login=secrets.login,
            password=secrets.password,
            observe=observe,
        )
        api = Api(session, yclients.base_url, partner, user, limiter, observe=observe, own=loaded.salon_tokens)

        async def reregister() -> int:
            limiter.owner = await register()
            return limiter.owner

        scheduler = Scheduler(current, work, Pages(database), api, worker, scope or Scope(), info=info, reregister=reregister)
        yield Engine(current, database, work, limiter, api, scheduler, granting)
    finally:
        granting.cancel()
        await asyncio.gather(granting, return_exceptions=True)
        if session is not None:
            await session.close()
        await limiter.close(min(CLOSE_S, database.patience_s))  # a database that hangs is not waited for once more
        with suppress(DatabaseUnavailable, NoRoom, TimeoutError):  # the next worker finds that this one is gone
            async with asyncio.timeout(CLOSE_S):
                await work.leave(limiter.owner)
