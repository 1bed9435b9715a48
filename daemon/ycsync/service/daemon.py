"""How does the service live: signals first, READY when it can work, reload by swapping one reference, out within 2 s?"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ycsync import __version__, logs
from ycsync.config import InForce, Loaded, load, needs_restart
from ycsync.errors import ConfigError, DatabaseError, YcsyncError
from ycsync.logs import emit, get_logger
from ycsync.notify import Notifier
from ycsync.scheduler import Scheduler
from ycsync.service import early
from ycsync.service.addresses import Clash, doubled
from ycsync.service.control import RELOAD_TIMEOUT_S, Beacon
from ycsync.service.engine import Engine, check_tokens, open_engine
from ycsync.service.front import Front
from ycsync.service.hooks import intake_of
from ycsync.service.overview import Overview
from ycsync.service.page import Condition, Page, Reload
from ycsync.service.private import migrate_database
from ycsync.service.runtime import Server
from ycsync.service.shared import Shared
from ycsync.store.database import connect
from ycsync.store.glance import Glances
from ycsync.store.migrate import MIGRATION_S, is_current
from ycsync.store.report import Report
from ycsync.store.watch import Watch
from ycsync.web import Health, Web

LATE_TURN_S = 15.0  # the scheduler's loop turns every second; later than this it is stuck
STATUS_S, SELDOM_S = 2.0, 5.0  # between two looks at everything: as a rule, and at most
SOONEST_S = 0.5  # between two looks for the page
SHARE = 0.002  # of a core, for looking and for telling
ALIVE_S = 3600.0
TELL_S = 2.0
RETRY_S = 1.0
_log = get_logger(__name__)


class Daemon:
    """One run of the service."""

    def __init__(self, loaded: Loaded, server: Server, notifier: Notifier) -> None:
        self.loaded = loaded
        self.started = loaded.settings  # what a reload does not change holds until the end
        self.server = server
        self.notifier = notifier
        self.stop = asyncio.Event()
        self.hangup = asyncio.Event()
        self.overview = Overview()
        self.problem: str | None = None
        self.beacon: Beacon | None = None
        self.page = Page(self._condition)
        self.reload: Reload | None = None
        self.reloaded = asyncio.Event()
        self.file_preset = loaded.settings.preset
        self.chosen_at: datetime | None = None  # the preset was, on the page
        self.scheduler: Scheduler | None = None
        self.reason = "asked"
        self.stop_at: float | None = None  # on the monotonic clock: when it was asked to stop first
        self.live = False

    async def run(self, url: str) -> int:
        """Work until SIGTERM or SIGINT; returns the exit code. Raises YcsyncError when it cannot begin."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop, signum.name)
        loop.add_signal_handler(signal.SIGHUP, self.hangup.set)
        if early.reload:
            self.hangup.set()
        if early.stop is not None:
            self._stop(early.stop)
        emit(_log, logs.SERVICE_STARTING, version=__version__, pid=os.getpid(), file=str(self.loaded.path))
        working = asyncio.create_task(self._work(url), name="service")
        stopping = asyncio.create_task(self.stop.wait(), name="stop")
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not self.live:
            working.cancel()  # asked to stop while it was starting: there is nothing to finish
        stopping.cancel()
        try:
            return await working
        except asyncio.CancelledError:
            if self.beacon is None:
                emit(_log, logs.SERVICE_STOPPED, duration_s=0.0)
            return 0

    async def _work(self, url: str) -> int:
        check_tokens(self.loaded)
        settings = self.loaded.settings
        database = await connect(
            url, settings.database.schema_name, size=12, url_from=self.loaded.database_url_from,
            observe=self.overview.metrics.database,
        )  # fmt: skip
        begun = time.monotonic()
        self.beacon = Beacon(self.loaded.path, InForce.of(self.started))
        try:
            if not await is_current(database):
                self.notifier.extend_timeout(MIGRATION_S)  # a large table takes longer than systemd waits for a start
            await migrate_database(self.loaded, database)
            async with open_engine(
                self.loaded, database, role="service", info=self._info, observe=self.overview.attempt
            ) as engine:
                await engine.scheduler.prepare()
                await engine.work.wake()
                engine.scheduler.observe = self.overview.batch
                self.live = True
                await self._live(engine)
        finally:
            self.beacon.close()
            await database.close()
            emit(_log, logs.SERVICE_STOPPED, duration_s=round(time.monotonic() - (self.stop_at or begun), 2))
        return 0

    def _stop(self, name: str) -> None:
        if self.stop_at is None:  # a second signal changes nothing
            self.reason, self.stop_at = name, time.monotonic()
        self.stop.set()

    async def _live(self, engine: Engine) -> None:
        settings = self.loaded.settings
        self.scheduler = engine.scheduler
        intake = intake_of(engine, self.overview)
        front = Front(self, engine, intake)
        web = Web(settings.http, front, front, self.page.events, front)
        async with web:
            listen = web.address
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(engine.scheduler.run(), name="scheduler"),
                    group.create_task(intake.run(), name="hooks"),
                    group.create_task(self._reload_on_hangup(engine), name="reload"),
                    group.create_task(self._look(engine), name="look"),
                    group.create_task(self._tell(engine), name="status"),
                    group.create_task(self._look_for_page(engine), name="glance"),
                    group.create_task(self._watchdog(engine), name="watchdog"),
                    group.create_task(self._restart_server(engine), name="database"),
                ]
                emit(_log, logs.SERVICE_READY, version=__version__, egress=settings.yclients.egress, listen=listen)
                self.notifier.ready("working")
                await self.stop.wait()
                self.notifier.stopping("stopping: what is in hand is committed or dropped whole")
                emit(_log, logs.SERVICE_STOPPING, reason=self.reason, in_flight=engine.scheduler.in_flight)
                for task in tasks:
                    task.cancel()

    def _info(self) -> dict[str, object]:
        return {
            "config": str(self.loaded.path),
            "preset": self.loaded.settings.preset,
            "reload": {"problem": self.problem, "count": self.beacon.announced.reloads if self.beacon else 0},
        }

    # --- reload -------------------------------------------------------------------------------------------------------

    async def _reload_on_hangup(self, engine: Engine) -> None:
        assert self.beacon is not None
        applied = True
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if applied else RETRY_S):
                    await self.hangup.wait()
            if not self.hangup.is_set():
                applied = await self._apply(engine)
                continue
            self.hangup.clear()
            self.notifier.reloading()
            restart = self._swap(engine)
            if self.problem is None:
                applied = await self._apply(engine)
                emit(_log, logs.CONFIG_RELOADED, file=str(self.loaded.path), preset=self.loaded.settings.preset)
            if restart:
                emit(_log, logs.CONFIG_RESTART_NEEDED, file=str(self.loaded.path), keys=", ".join(restart))
            await self._say_settings(engine)
            self.reload = Reload(datetime.now(UTC), self.problem, restart)
            if self.problem is None:
                self.overview.reloaded(self.reload.at)
            # Before whoever waits for the reload goes on: what they then read in `systemctl status` is so now.
            self.notifier.ready(self._line(engine))
            self.beacon.reloaded(self.problem, restart)
            self.reloaded.set()

    async def _say_settings(self, engine: Engine) -> None:
        """`ycsync status` asks the database: it must not say less than whoever changed the settings was told."""
        with contextlib.suppress(DatabaseError, TimeoutError):
            async with asyncio.timeout(TELL_S):
                await engine.work.beat(engine.scheduler.worker, self._info())

    async def _apply(self, engine: Engine) -> bool:
        """Tell the database what the settings want; False when it is away, and this is to be done again."""
        yclients = engine.current.settings.yclients
        try:
            await engine.limiter.prepare(yclients.per_second, yclients.per_minute)
            await engine.scheduler.prepare()
            await engine.work.wake()
        except DatabaseError:
            return False  # the scheduler, which asks all the time, says so
        engine.scheduler.wake()
        return True

    def _swap(self, engine: Engine) -> tuple[str, ...]:
        """Parse and check everything, then swap one reference; a bad file changes nothing. Returns what needs a restart."""
        path = self.loaded.path
        try:
            fresh = load(path, os.environ)
            fresh.salon_tokens.check(path)
        except ConfigError as exc:
            self.problem = str(exc.problems[0]) if exc.problems else str(exc)
            if (others := len(exc.problems) - 1) > 0:
                self.problem += f" (and {others} more mistake{'' if others == 1 else 's'}: `ycsync config check`)"
            for problem in exc.problems:
                emit(
                    _log, logs.CONFIG_REJECTED, file=str(path), line=problem.line, key=problem.key,
                    problem=problem.message,
                )  # fmt: skip
            return ()
        except (YcsyncError, OSError) as exc:
            self.problem = f"{path} cannot be read"
            emit(_log, logs.CONFIG_REJECTED, file=str(path), problem=self.problem, error=exc)
            return ()
        restart = needs_restart(self.started, fresh.settings)
        self.problem = None
        self.loaded = fresh
        self.file_preset, self.chosen_at = fresh.settings.preset, None
        engine.current.settings = fresh.settings
        engine.api.own = fresh.salon_tokens
        logs.configure(fresh.settings.log.level)
        return restart

    async def reload_now(self) -> str | None:
        """As SIGHUP does; returns what is wrong with the file, if anything. Raises TimeoutError."""
        self.reloaded.clear()
        self.hangup.set()
        async with asyncio.timeout(RELOAD_TIMEOUT_S):
            await self.reloaded.wait()
        return self.problem

    async def choose(self, engine: Engine, preset: str) -> None:
        """Work with another preset than the file's, until the next reload or restart."""
        settings = dataclasses.replace(engine.current.settings, preset=preset)
        self.loaded = dataclasses.replace(self.loaded, settings=settings)
        self.chosen_at = None if preset == self.file_preset else datetime.now(UTC)
        engine.current.settings = settings
        await self._apply(engine)
        await self._say_settings(engine)

    # --- telling and watching -----------------------------------------------------------------------------------------

    async def _look(self, engine: Engine) -> None:
        """Ask the database how everything stands."""
        watch = Watch(Report(engine.database.named("report")))
        paused, cost_s, said = frozenset[int](), 0.0, False
        clashes: tuple[Clash, ...] = ()
        shared = Shared()
        while True:
            try:
                standing = await watch.standing(self.started.yclients.egress)
                begun = time.thread_time()
                self.overview.update(standing, engine.current.settings)
                self.page.update(standing, self.overview.judged)
                before, clashes = clashes, doubled(standing.workers, standing.sharing)
                for clash in set(clashes) - set(before):
                    emit(_log, logs.LIMIT_DOUBLED, problem=clash.says, remedy=clash.remedy)
                if shared.is_news(usage := standing.usage, time.monotonic()):
                    egress = self.started.yclients.egress
                    emit(_log, logs.LIMIT_SHARED, egress=egress, others=usage.others, leaves=usage.leaves)
                cost_s, said = time.thread_time() - begun, False
            except YcsyncError as exc:
                # That the database is away is said by who works with it; here it may be one statement that it refuses.
                if not said and engine.scheduler.database_lost is None and self.overview.unread_since() is not None:
                    emit(_log, logs.DATABASE_UNREAD, error=exc)
                    said = True
            if (now_paused := self.overview.paused()) != paused:
                _say_paused(now_paused - paused, paused - now_paused)
                paused = now_paused
            await asyncio.sleep(_pause(cost_s))

    async def _tell(self, engine: Engine) -> None:
        """STATUS of `systemctl status`: progress, ETA, and what is wrong; and the same for whoever has the page open.

        Whether or not the database answers.
        """
        said_at = time.monotonic()
        while True:
            if time.monotonic() - said_at >= ALIVE_S:
                emit(_log, logs.SERVICE_ALIVE, **self.overview.hour())
                said_at = time.monotonic()
            begun = time.thread_time()
            self.notifier.status(self._line(engine))
            await self.page.events.publish()
            await asyncio.sleep(_pause(time.thread_time() - begun))

    async def _look_for_page(self, engine: Engine) -> None:
        """What only the page shows, asked from the database."""
        glances, joined = Glances(engine.database.named("report")), self.page.events.joined
        while True:
            joined.clear()
            with contextlib.suppress(YcsyncError):
                await self.page.look(glances, self.started.yclients.egress)
            await asyncio.sleep(SOONEST_S)  # whoever comes and goes all the time is answered no more often
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATUS_S - SOONEST_S):
                    await joined.wait()

    def _condition(self) -> Condition:
        lost = None if self.scheduler is None else self.scheduler.database_lost
        return Condition(
            self.loaded.settings, lost, self.overview.unread_since(), self.reload, self.chosen_at, self.file_preset,
            self.loaded.secrets.admin_token is not None,
        )  # fmt: skip

    def _line(self, engine: Engine) -> str:
        return self.overview.line(engine.current.settings, self.problem, engine.scheduler.database_lost)

    async def _watchdog(self, engine: Engine) -> None:
        """Tell systemd that the loop turns: only while the scheduler's own loop does."""
        interval = self.notifier.watchdog_interval or LATE_TURN_S / 3
        while True:
            engine.check()
            if not self._stuck(engine):
                self.notifier.watchdog()
            await asyncio.sleep(min(interval, 1.0))

    def _stuck(self, engine: Engine) -> bool:
        # While the database hangs a turn takes as long as its statements may; that is no reason to be killed.
        late = time.monotonic() - engine.scheduler.last_turn
        return engine.scheduler.last_turn > 0 and late > LATE_TURN_S + 60.0

    async def _restart_server(self, engine: Engine) -> None:
        """The private PostgreSQL died: start it again. Blocks the loop a moment, in the thread that owns it."""
        while True:
            await asyncio.sleep(2.0)
            if engine.scheduler.database_lost is not None and self.loaded.database_url == "embedded":
                with contextlib.suppress(YcsyncError):
                    self.server.start()

    def health(self, engine: Engine) -> Health:
        """For /healthz and /readyz."""
        reasons = self.overview.reasons(engine.scheduler.database_lost, self.problem)
        return Health(alive=not self._stuck(engine), ready=not reasons, reasons=reasons)


def _pause(cost_s: float) -> float:
    """Until the next time: with thousands of salons, looking and telling take no more than their share of the processor."""
    return min(SELDOM_S, max(STATUS_S, cost_s / SHARE))


def _say_paused(held: frozenset[int], let: frozenset[int]) -> None:
    for event, companies in ((logs.SERVICE_PAUSED, held), (logs.SERVICE_RESUMED, let)):
        if companies:
            emit(_log, event, salons="all" if 0 in companies else ", ".join(map(str, sorted(companies)[:20])))


def serve(path: Path, run: Callable[[Loaded, Server, Notifier, str], int], environ: dict[str, str]) -> int:
    """Load the settings, start the private server in this thread (it dies with it), and run."""
    early.reading()
    loaded = load(path, environ)
    logs.configure(loaded.settings.log.level)
    notifier = Notifier(environ)
    server = Server(loaded.database_url)
    url = server.start()
    try:
        early.hold()
        return run(loaded, server, notifier, url)
    finally:
        early.ended()
        server.stop()
