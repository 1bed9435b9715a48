"""Does a salon wait longer because another one is large, and how long do deltas wait while others are filled?

    python tests/benchmarks/fairness.py [--small 20] [--large 8] [--times 12] [--real] [--only NAME]...

The real scheduler and limiter on an embedded PostgreSQL and a simulated YCLIENTS, in one process. A small salon takes some 25
requests, a large one `--times` as many for each of its lists. The API's limits are five times the real ones, and the interval
between batches a fifth, unless --real is given (then it takes five times as long). Each scenario begins with an empty database:

    equal      all salons small and new: what the others are compared with
    one        the same, but the first of them is large
    crowd      `--large` large salons are being filled when the small ones come
    quiet      all salons filled: how late are deltas, from the instant when they are due to their commit
    deltas     the same while `--large` large salons are being filled

Prints, of the small salons, the seconds until all of their streams were proved: median, 95th percentile, their ratio, and the
last less the first; and of the deltas the median and the 95th percentile of their delay.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ycsync import logs
from ycsync.config import Loaded, Secrets, parse_settings
from ycsync.service.engine import Engine, open_engine
from ycsync.simulator import Options, Simulator
from ycsync.simulator.world import make_salon
from ycsync.store.database import connect
from ycsync.store.embedded import EmbeddedPostgres
from ycsync.store.migrate import migrate
from ycsync.store.work import BatchTotals, Claim

FIRST = 4001
STREAMS = ("services", "staff", "clients", "records")
SCENARIOS = ("equal", "one", "crowd", "quiet", "deltas")


@dataclass
class Speed:
    """Times the real limits."""

    asked: argparse.Namespace
    factor: int = field(init=False)

    def __post_init__(self) -> None:
        self.factor = 1 if self.asked.real else 5

    @property
    def cadence_s(self) -> float:
        return 60 / self.factor

    def text(self, url: str, salons: Sequence[int]) -> str:
        per_second, per_minute = 5 * self.factor, 200 * self.factor
        interval = 180 // self.factor
        # Evenly spaced, so that figures do not depend on how full the minute's window is when a scenario begins.
        return (
            f"preset: own\nyclients: {{base_url: {url}, per_minute: {per_minute}, per_second: {per_second}}}\n"
            f"companies: {list(salons)}\nhttp: {{listen: false}}\n"
            f"streams: {{clients: {self.cadence_s:.0f}s, records: {self.cadence_s:.0f}s}}\n"
            f"presets:\n  own: {{batch_size: 75, interval: {interval}s, per_minute: {per_minute}, per_second: {per_second}, "
            f"min_delay: {60_000 // per_minute}ms, max_retries: 3, recheck_days: 30}}\n"
        )


@dataclass
class Site:
    """One scenario's salons and its scheduler at work."""

    engine: Engine
    speed: Speed
    url: str
    ended: list[tuple[float, Claim, BatchTotals]] = field(default_factory=list)

    async def want(self, salons: Sequence[int]) -> None:
        """As a reload of the settings with these salons."""
        self.engine.current.settings = parse_settings(self.speed.text(self.url, salons), "bench")
        await self.engine.scheduler.prepare()
        self.engine.scheduler.wake()

    async def until_filled(self, salons: Sequence[int]) -> dict[int, float]:
        """Salon -> when all of its streams were proved, on the monotonic clock."""
        found: dict[int, float] = {}
        query = (
            "select company_id from yclients.sync_status where stream = any ($1) and last_success_at is not null "
            "group by company_id having count(*) = $2"
        )
        while not found.keys() >= set(salons):
            for row in await self.engine.database.fetch(query, list(STREAMS), len(STREAMS)):
                found.setdefault(row["company_id"], time.monotonic())
            await asyncio.sleep(0.1)
        return {company: at for company, at in found.items() if company in set(salons)}

    async def requests(self, salons: Sequence[int]) -> int:
        """That were made for these salons, as commits have counted them."""
        query = "select coalesce(sum(requests), 0) from yclients.sync_status where company_id = any ($1::bigint[])"
        return int(await self.engine.database.fetchval(query, list(salons)))

    def delays(self, salons: Sequence[int], since: float, until: float) -> list[float]:
        """Of the deltas that ended between: the time from when each was due to its end."""
        before: dict[tuple[int, str], float] = {}
        found = []
        for at, claim, totals in self.ended:
            key = (claim.company, claim.stream)
            if claim.company in salons and claim.stream in ("clients", "records"):
                if since <= at <= until and key in before:
                    found.append(max(0.0, at - before[key] - self.speed.cadence_s))
                if totals.outcome == "proved":
                    before[key] = at
        return found


@asynccontextmanager
async def site(speed: Speed, dsn: str, small: Sequence[int], large: Sequence[int]) -> AsyncIterator[Site]:
    """A simulator with these salons, a scheduler on an empty database."""
    options = Options(
        salons=len(small) + len(large), clients=200, visits=1000, clients_cap=50, records_cap=100, latency=0.08, jitter=0.04,
        first_company=FIRST, per_second=5 * speed.factor, per_minute=200 * speed.factor,
    )  # fmt: skip
    times = speed.asked.times
    async with Simulator(options) as sim:
        for company in large:
            size = replace(options, clients=options.clients * times, visits=options.visits * times)
            sim.world.salons[company] = make_salon(size, company - FIRST, time.time)
        database = await connect(dsn, "yclients", size=12)
        await database.execute("drop schema if exists yclients cascade")
        await migrate(database)
        settings = parse_settings(speed.text(sim.url, [*small, *large]), "bench")
        loaded = Loaded(Path("bench"), settings, Secrets(partner_token="partner", user_token="user"))
        try:
            async with open_engine(loaded, database, role="service") as engine:
                found = Site(engine, speed, sim.url)
                engine.scheduler.observe = lambda claim, totals, _: found.ended.append((time.monotonic(), claim, totals))
                running = asyncio.create_task(engine.scheduler.run())
                try:
                    yield found
                finally:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
        finally:
            await database.close()


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def say_filled(name: str, seconds: Sequence[float]) -> None:
    middle, late = quantile(seconds, 0.5), quantile(seconds, 0.95)
    print(
        f"{name:<8} small salons filled after: p50 {middle:6.1f} s  p95 {late:6.1f} s  p95/p50 {late / middle:4.2f}  "
        f"first {min(seconds):5.1f}  last {max(seconds):6.1f}  last - first {max(seconds) - min(seconds):5.1f}",
        flush=True,
    )


async def filling(name: str, speed: Speed, dsn: str) -> None:
    few, many = speed.asked.large, speed.asked.small
    large = {"equal": [], "one": [FIRST], "crowd": [FIRST + n for n in range(few)]}[name]
    small = [FIRST + len(large) + n for n in range(many + (name == "equal"))]
    async with site(speed, dsn, small, large) as at:
        if name == "crowd":
            await at.want(large)
            await asyncio.sleep(150 / speed.factor)  # all of them have begun, and have had a turn
        begun, before, small_before = time.monotonic(), await at.requests(large), await at.requests(small)
        await at.want([*large, *small])
        done = await at.until_filled(small)
        say_filled(name, [when - begun for company, when in done.items() if company != FIRST or large])
        beside, own = await at.requests(large) - before, await at.requests(small) - small_before
        print(
            f"         {own} requests for them, {beside} for large salons meanwhile, {time.monotonic() - begun:.0f} s",
            flush=True,
        )


async def deltas(name: str, speed: Speed, dsn: str) -> None:
    large = [FIRST + n for n in range(speed.asked.large)] if name == "deltas" else []
    small = [FIRST + len(large) + n for n in range(speed.asked.small)]
    async with site(speed, dsn, small, large) as at:
        await at.want(small)
        await at.until_filled(small)
        await asyncio.sleep(75 / speed.factor)
        if large:
            await at.want([*small, *large])
        begun = time.monotonic()
        await asyncio.sleep(3 * speed.cadence_s + 10)
        found = at.delays(small, begun, time.monotonic())
        filled = await at.requests(large)
        says = (
            f"{name:<8} {len(found)} deltas, due to done: p50 {quantile(found, 0.5):5.2f} s  p95 {quantile(found, 0.95):5.2f} s"
        )
        print(
            f"{says}  longest {max(found):5.2f}" + (f"  (beside {filled} requests for them)" if large else ""),
            flush=True,
        )


async def measure(asked: argparse.Namespace, dsn: str) -> None:
    speed = Speed(asked)
    for name in asked.only or SCENARIOS:
        await (deltas if name in ("quiet", "deltas") else filling)(name, speed, dsn)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=20)
    parser.add_argument("--large", type=int, default=8)
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--real", action="store_true", help="the API's real limits")
    parser.add_argument("--only", action="append", choices=SCENARIOS)
    asked = parser.parse_args()
    logs.configure("error")
    folder = Path(tempfile.mkdtemp(prefix="ycsync-bench-"))
    server = EmbeddedPostgres(folder, durable=False)
    try:
        asyncio.run(measure(asked, server.start()))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
