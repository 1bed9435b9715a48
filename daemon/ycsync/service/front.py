"""What does the running service answer whoever asks over HTTP, and what does it do for whoever has the admin token?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ycsync.config import NotWritable, use_preset
from ycsync.errors import ConfigError, DatabaseError, UsageError
from ycsync.logs import HTTP_ACTED, emit, get_logger
from ycsync.model import Heard
from ycsync.service.engine import Engine
from ycsync.service.hooks import Intake
from ycsync.web import FirstWords, Health, Query, Refusal

if TYPE_CHECKING:
    from ycsync.service.daemon import Daemon

_log = get_logger(__name__)


class Front:
    """One running service, as its web server sees it: `web.Source`, `web.Actions` and `web.Ears`."""

    def __init__(self, daemon: Daemon, engine: Engine, intake: Intake) -> None:
        self._daemon = daemon
        self._engine = engine
        self._intake = intake

    # --- web.Source ---------------------------------------------------------------------------------------------------

    def hosts(self) -> tuple[str, ...]:
        settings = self._engine.current.settings
        return settings.http.hosts if settings.hooks.host is None else (*settings.http.hosts, settings.hooks.host)

    def health(self) -> Health:
        return self._daemon.health(self._engine)

    def status(self) -> dict[str, Any]:
        engine, daemon = self._engine, self._daemon
        return daemon.overview.as_json(engine.current.settings, engine.scheduler.database_lost, daemon.problem)

    def first_words(self) -> FirstWords:
        return self._daemon.page.first_words()

    def salons(self, query: Query) -> dict[str, Any]:
        return self._daemon.page.salons(query)

    def traffic(self) -> dict[str, Any]:
        return self._daemon.page.traffic()

    def measure(self) -> bytes:
        engine, daemon = self._engine, self._daemon
        scheduler = engine.scheduler
        return daemon.overview.measure(engine.current.settings, daemon.problem, scheduler.database_lost, scheduler.last_turn)

    # --- web.Ears -----------------------------------------------------------------------------------------------------

    def hook_secret(self) -> str | None:
        return self._daemon.loaded.secrets.hook_secret

    async def hear(self, heard: Heard) -> None:
        await self._intake.hear(heard)

    def hook_refused(self, result: str) -> None:
        self._daemon.overview.metrics.hook(result)

    # --- web.Actions --------------------------------------------------------------------------------------------------

    def admin_token(self) -> str | None:
        return self._daemon.loaded.secrets.admin_token

    async def pause(self, company: int) -> str:
        self._known(company)
        try:
            await self._engine.work.pause([company])
        except DatabaseError as exc:
            raise Refusal(str(exc)) from exc
        self._acted("pause", company)
        return f"No request leaves for {_name(company)} any more, from any machine."

    async def resume(self, company: int) -> str:
        self._known(company)
        try:
            if company and 0 in await self._engine.work.pauses():
                raise Refusal("All salons are paused, not single ones: let all go on.")
            await self._engine.work.resume([company])
        except DatabaseError as exc:
            raise Refusal(str(exc)) from exc
        self._engine.scheduler.wake()
        self._acted("resume", company)
        return f"Requests for {_name(company)} leave again."

    async def use_preset(self, name: str) -> str:
        daemon, path = self._daemon, self._daemon.loaded.path
        if name not in self._engine.current.settings.presets:
            raise Refusal(f"There is no such preset; there are: {', '.join(self._engine.current.settings.presets)}.")
        try:
            await asyncio.to_thread(use_preset, path, name)
        except NotWritable:
            await daemon.choose(self._engine, name)
            self._acted(f"preset {name}", 0)
            return (
                f"Preset {name} is in force until the next reload or restart: this service may not write {path}. "
                f"`ycsync preset use {name}`, as root, makes it last."
            )
        except ConfigError as exc:
            raise Refusal(f"{path} has a mistake and was left as it is: {exc.problems[0]}") from exc
        except UsageError as exc:
            raise Refusal(str(exc)) from exc
        self._acted(f"preset {name}", 0)
        try:
            problem = await daemon.reload_now()
        except TimeoutError as exc:
            raise Refusal(f"{path} says {name} now, and the service has not taken it yet; see its log.") from exc
        if problem is not None:
            raise Refusal(f"{path} says {name} now, and the service did not take it: {problem}")
        return f"Preset {name} is in force, and {path} says so."

    def _known(self, company: int) -> None:
        if company and company not in self._daemon.page.known():
            raise Refusal("There is no such salon.")

    def _acted(self, action: str, company: int) -> None:
        emit(_log, HTTP_ACTED, action=action, salons=str(company) if company else "all")
        self._daemon.page.events.joined.set()  # what it changed is to be seen at once


def _name(company: int) -> str:
    return f"salon {company}" if company else "any salon"
