"""A salon that tells what changes, over real HTTP, and a house whose scheduler and web server hear it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import aiohttp

from support.house import QUICK, House, open_house
from support.place import free_port
from support.shown import Shown, served
from ycsync.model import Heard
from ycsync.scheduler import Current, Scheduler
from ycsync.service.engine import Engine
from ycsync.service.hooks import Intake, intake_of
from ycsync.service.overview import Overview
from ycsync.simulator import Options, Salon, Simulator

SECRET = "a-secret-that-nobody-guesses"
FLAGS = ("salon", "service_category", "service", "good", "master", "client", "record", "finances_operation")


class Ears:
    """`web.Ears` of an intake."""

    def __init__(self, intake: Intake, secret: str | None) -> None:
        self.intake = intake
        self.secret = secret
        self.refused: list[str] = []

    def hook_secret(self) -> str | None:
        return self.secret

    async def hear(self, heard: Heard) -> None:
        await self.intake.hear(heard)

    def hook_refused(self, result: str) -> None:
        self.refused.append(result)


@dataclass(slots=True)
class Hooked:
    """Filled salons, their scheduler at work, and an address that takes webhooks."""

    sim: Simulator
    house: House
    scheduler: Scheduler
    overview: Overview
    intake: Intake
    ears: Ears
    port: int
    session: aiohttp.ClientSession

    @property
    def salon(self) -> Salon:
        return self.sim.world.salons[4001]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/{SECRET}"

    async def post(self, body: Any = None, *, raw: bytes | None = None, headers: dict[str, str] | None = None) -> int:
        """One webhook; returns the status."""
        options: dict[str, Any] = {"json": body} if raw is None else {"data": raw}
        async with self.session.post(self.url, headers=headers, **options) as answer:
            await answer.read()
            return answer.status

    async def until(self, query: str, wanted: object, timeout: float = 15.0) -> None:
        """Wait for a value in the database."""
        found: object = None
        try:
            async with asyncio.timeout(timeout):
                while (found := await self.house.database.fetchval(query)) != wanted:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{query}: {found!r}, not {wanted!r}") from None

    async def settled(self, timeout: float = 15.0) -> None:
        """Wait until everything that was told is worked off, and nothing runs."""
        await self.until(
            "select (select count(*) from yclients.hooks) + (select count(*) from yclients.sync_status "
            "where nudged_at is not null or claimed_by is not null)",
            0,
            timeout,
        )

    def asked(self, endpoint: str) -> int:
        """Requests to one endpoint, as the simulator calls it."""
        return sum(seen.endpoint == endpoint for seen in self.sim.log)


@asynccontextmanager
async def open_hooked(
    database_url: str, extra: str = "hooks: {url: 'https://sync.example.org'}", *, filled: bool = True, **options: Any
) -> AsyncIterator[Hooked]:
    """Salons whose first pass is through, and whose webhooks come 0.2 s after a change."""
    chosen: dict[str, Any] = {"per_second": 0, "per_minute": 0, "clients": 30, "visits": 60, "hook_delay": 0.2, **options}
    async with Simulator(Options(**chosen)) as sim, open_house(sim.url, database_url, extra, QUICK) as house:
        for company in await house.companies():
            if filled:
                await house.cycle(company)
        overview = Overview()
        worker = await house.work.register("service", "test", "0", {})
        scheduler = Scheduler(
            Current(house.settings), house.work, house.pages, house.api, worker, now=house.clock, observe=overview.batch
        )
        await scheduler.prepare()
        if filled:
            await house.database.execute(
                "update yclients.sync_status set due_at = now() + interval '1 hour' where stream <> 'hooks'"
            )
        engine = cast(Engine, SimpleNamespace(scheduler=scheduler, work=house.work, database=house.database))
        intake = intake_of(engine, overview)
        ears, port, shown = Ears(intake, SECRET), free_port(), Shown()
        tasks = [asyncio.create_task(scheduler.run()), asyncio.create_task(intake.run())]
        for salon in sim.world.salons.values():
            salon.hooks = {"urls": [f"http://127.0.0.1:{port}/hooks/{SECRET}"], "active": 1, **dict.fromkeys(FLAGS, 1)}
        sim.forget()
        try:
            async with served(port, shown, ears=ears), aiohttp.ClientSession() as session:
                yield Hooked(sim, house, scheduler, overview, intake, ears, port, session)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
