"""What happens to those who wait when YCLIENTS says "too many", and how does the pace recover?"""

from __future__ import annotations

import asyncio
import time

from limitlog import (
    SCHEMA,
    Counting,
    count_of,
    granting,
)
from support.patience import SAFETY_S
from ycsync.limiter import Limiter
from ycsync.store.database import Database, connect

BLOCKED_FOR = f"select extract(epoch from blocked_until - now())::float8 from {SCHEMA}.limiter_egress"


# --- too many requests --------------------------------------------------------------------------------------------------


async def test_too_many_requests_stop_everybody_behind_the_address(database_url: str, database: Database) -> None:
    second = await connect(database_url, SCHEMA, size=2)
    async with granting(database) as one, granting(second, owner=2) as other:
        await one.throttled(0.6)
        begun = time.monotonic()
        assert await database.fetchval(BLOCKED_FOR) <= 0.6
        await asyncio.gather(one.acquire(1), other.acquire(2))
        assert time.monotonic() - begun >= 0.58
    await second.close()


async def test_a_long_wait_outlives_a_restart_but_not_a_clock_that_was_put_back(database: Database) -> None:
    async with granting(database) as limiter:
        await limiter.throttled(3000.0)
    async with granting(database, owner=2):
        assert 2990 < await database.fetchval(BLOCKED_FOR) <= 3000
    await database.execute(
        f"update {SCHEMA}.limiter_egress set blocked_until = now() + interval '2 h', slow_since = now() + interval '1 h'"
    )
    async with granting(database, owner=3):
        assert await database.fetchval(BLOCKED_FOR) <= 600


async def test_a_shorter_wait_does_not_cut_a_longer_one_short(database: Database) -> None:
    async with granting(database) as limiter:
        await limiter.throttled(0.6)
        await limiter.throttled(0.1)
        begun = time.monotonic()
        await limiter.acquire(1)
        assert time.monotonic() - begun >= 0.58


async def usable(database: Counting, limiter: Limiter) -> int:
    """How many requests a burst gets through: the database was asked for more, twice, and gave none."""
    await database.execute(f"update {SCHEMA}.limiter_slots set free_at = '-infinity', owner = null")
    await database.execute(f"update {SCHEMA}.limiter_egress set blocked_until = '-infinity'")
    tasks = [asyncio.create_task(limiter.acquire(1)) for _ in range(30)]
    through = -1
    while await count_of(tasks) > through:
        through, asked = await count_of(tasks), database.asked
        async with asyncio.timeout(SAFETY_S):
            while database.asked < asked + 3 and through == await count_of(tasks):
                await asyncio.sleep(0.01)
    done, waiting = await asyncio.wait(tasks, timeout=0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return len(done)


async def test_after_too_many_requests_it_goes_slower_and_recovers_over_ten_minutes(database: Database) -> None:
    asked = Counting(database)
    async with granting(asked, 40, 20) as limiter:
        assert await usable(asked, limiter) == 20
        for _ in range(5):
            await limiter.throttled(0.01)  # one event: the answers to one burst
        assert await usable(asked, limiter) == 14
        shares = []
        for _ in range(10):
            await database.execute(f"update {SCHEMA}.limiter_egress set slow_since = slow_since - interval '60 s'")
            shares.append(await usable(asked, limiter))
        assert shares == sorted(shares)
        assert shares[0] < 20
        assert shares[-1] == 20


async def test_too_many_requests_again_and_again_slow_down_to_a_tenth_and_no_further(database: Database) -> None:
    asked = Counting(database)
    async with granting(asked, 100, 20) as limiter:
        for _ in range(12):
            await limiter.throttled(0.01)
            await database.execute(f"update {SCHEMA}.limiter_egress set slow_since = slow_since - interval '6 s'")
        assert 2 <= await usable(asked, limiter) <= 3
