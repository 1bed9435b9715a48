"""What do the settings want to be worked on: which streams, which salons, how often?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ycsync.config import Settings
from ycsync.logs import SALON_ERASED, emit, get_logger
from ycsync.store.work import HOOKS, Work

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
class Wanted:
    """What the settings in force want, and what the database has been told of it."""

    current: Current
    work: Work
    scope: Scope = field(default_factory=Scope)
    _salons: frozenset[int] | None = None  # the salons of the settings; None: not known yet

    async def prepare(self) -> None:
        """Rows for the salons that are known, and due only what the settings want. Call at start and after a reload."""
        await self.work.ensure([0], ["companies"])
        known, settings = await self.work.companies(), self.current.settings
        named = {*settings.companies, *settings.own_tokens}
        erased = await self.work.erased() if named else {}
        for company in sorted(erased.keys() & named):
            emit(_log, SALON_ERASED, company=company, since=erased[company].isoformat(timespec="seconds"))
        asked = settings.companies or sorted({*known, *settings.own_tokens})
        wanted = [company for company in asked if company not in erased]
        await self.apply(wanted)
        await self._recadence()
        if not set(wanted) <= set(known):
            await self.work.list_again()

    async def apply(self, companies: Sequence[int]) -> None:
        """These salons are wanted: what is switched on is due, what is not is not."""
        self._salons = frozenset(companies) if companies else None
        if companies:
            await self.work.ensure(companies, [*self.current.settings.kept(), HOOKS])
        on = [name for name, cadence in self.current.settings.streams.items() if cadence is not None]
        await self.work.enabled([*on, "companies", HOOKS], list(companies))

    async def _recadence(self) -> None:
        """What a start or a reload changed applies to what waits; the list of salons changes none of it."""
        settings = self.current.settings
        on = [name for name, cadence in settings.streams.items() if cadence is not None]
        own = {one: settings.for_salon(one).active.interval for one in settings.own_presets}
        for stream in on:
            cadence = settings.streams[stream]
            if cadence is not None:
                waits = {one: max(cadence, interval).total_seconds() for one, interval in own.items()}
                await self.work.recadence(stream, max(cadence, settings.active.interval).total_seconds(), waits)

    def streams(self) -> list[str]:
        """The streams to claim work of."""
        on = [name for name, cadence in self.current.settings.streams.items() if cadence is not None]
        if "companies" not in on:
            on.append("companies")  # the time zones come from there
        # What a command asked for by name runs even when its schedule is off.
        return [*on, HOOKS] if not self.scope.wanted_only else list(self.current.settings.streams)

    def companies(self) -> list[int] | None:
        """The salons to claim work of; None: all."""
        return None if self.scope.companies is None else list(self.scope.companies)

    def is_unwanted(self, company: int) -> bool:
        """Of a salon that the settings do not name (any more): only a command asks for it."""
        return self._salons is not None and company != 0 and company not in self._salons
