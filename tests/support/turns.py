"""A house's scheduler, one turn at a time: whatever is due or will be is done now, and what it wrote can be looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from support.house import QUICK, House, open_house
from support.patience import SAFETY_S
from ycsync.scheduler import Current, Scheduler
from ycsync.service.overview import Overview
from ycsync.simulator import Options, Simulator


@dataclass(slots=True)
class Turns:
    """The real scheduler over a house; nothing waits for its time, and nothing runs between two turns."""

    sim: Simulator
    house: House
    scheduler: Scheduler
    overview: Overview
    requests: int = 0  # of the last turn

    async def turn(self, times: int = 1, *, timeout_s: float = 90.0) -> None:
        """Run everything that is switched on to its end, as if the time for it had come."""
        for _ in range(times):
            before = self.sim.report().requests
            await self._all("due_at = now()")
            self.scheduler.wake()
            async with asyncio.timeout(timeout_s):
                while self.scheduler.in_flight or await self._due():
                    await asyncio.sleep(0.01)
            await self._all("due_at = now() + interval '1 hour'")
            self.requests = self.sim.report().requests - before

    async def only(self, streams: Sequence[str]) -> None:
        """One cycle of these streams alone."""
        await self.house.database.execute(
            f"update {self.house.database.schema}.sync_status set due_at = now() where company_id <> 0 and stream = any ($1)",
            list(streams),
        )
        self.scheduler.wake()
        async with asyncio.timeout(30):
            while self.scheduler.in_flight or await self._due():
                await asyncio.sleep(0.01)
        await self._all("due_at = now() + interval '1 hour'")

    async def due(self, salons: str) -> None:
        """The time has come for all streams of the salons whose numbers begin so; what follows goes by its own times."""
        await self.house.database.execute(
            f"update {self.house.database.schema}.sync_status set due_at = now() where company_id::text like $1 || '%' "
            "and due_at is not null and claimed_by is null and stream <> 'hooks'",
            salons,
        )
        self.scheduler.wake()

    async def settle(self, *streams: str) -> None:
        """What was changed last is long ago: a delta finds nothing."""
        await self.house.database.execute(
            f"update {self.house.database.schema}.sync_status "
            "set cursor = jsonb_set(cursor, '{since}', to_jsonb(now() + interval '1 day')) "
            "where cursor ? 'since' and stream = any ($1)",
            list(streams or ("clients", "records")),
        )

    async def _all(self, what: str) -> None:
        await self.house.database.execute(
            f"update {self.house.database.schema}.sync_status set {what} "
            "where due_at is not null and claimed_by is null and stream <> 'hooks'"
        )

    async def _due(self) -> bool:
        query = (
            f"select 1 from {self.house.database.schema}.sync_status "
            "where claimed_by is not null or (due_at <= now() and stream <> 'hooks') limit 1"
        )
        return await self.house.database.fetchval(query) is not None

    async def rows(self) -> dict[tuple[int, str], dict[str, Any]]:
        """sync_status by salon and stream; without the rows that are switched off."""
        found = await self.house.database.fetch(
            f"select * from {self.house.database.schema}.sync_status "
            "where (due_at is not null or stream = 'companies') and stream <> 'hooks'"
        )
        return {(row["company_id"], row["stream"]): dict(row) for row in found}

    async def batches(self, company: int | None = None, stream: str | None = None) -> list[dict[str, Any]]:
        """Those that had begun, oldest first, once they ended: how one ended is written after its claim was given back."""
        begun = (
            f"from {self.house.database.schema}.sync_batches "
            "where ($1::bigint is null or company = $1) and ($2::text is null or stream = $2)"
        )
        last = await self.house.database.fetchval(f"select max(id) {begun}", company, stream)
        async with asyncio.timeout(SAFETY_S):
            while True:
                found = await self.house.database.fetch(f"select * {begun} and id <= $3 order by id", company, stream, last)
                if all(row["finished_at"] is not None for row in found):
                    break
                await asyncio.sleep(0.005)
        return [dict(row) for row in found]

    async def age(self, interval: str, streams: Sequence[str] = ("clients", "records")) -> None:
        """Time passes: what these streams proved was so long ago."""
        await self.house.database.execute(
            f"update {self.house.database.schema}.sync_status set last_success_at = last_success_at - $1::text::interval, "
            "proved_as_of = proved_as_of - $1::text::interval where stream = any ($2::text[])",
            interval,
            list(streams),
        )


@asynccontextmanager
async def open_turns(database_url: str, extra: str = "", preset: str = QUICK, **options: Any) -> AsyncIterator[Turns]:
    """A simulator without limits, a house that reads it and its scheduler, nothing done yet."""
    chosen: dict[str, Any] = {"per_second": 0, "per_minute": 0, **options}
    async with Simulator(Options(**chosen)) as sim, open_house(sim.url, database_url, extra, preset) as house:
        overview = Overview()
        worker = await house.work.register("service", "test", "0", {})
        scheduler = Scheduler(
            Current(house.settings), house.work, house.pages, house.api, worker, now=house.clock, observe=overview.batch
        )
        await scheduler.prepare()
        await house.database.execute(
            f"update {house.database.schema}.sync_status set due_at = now() + interval '1 hour' where due_at is not null"
        )
        task = asyncio.create_task(scheduler.run(), name="scheduler")
        try:
            yield Turns(sim, house, scheduler, overview)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
