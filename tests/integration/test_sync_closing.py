"""A first sync ends with one state of the salon: what happened to the clients while the visits were read is there too."""

from __future__ import annotations

import asyncio

import asyncpg

from support.house import assert_equal, follow, open_house
from support.patience import SAFETY_S
from ycsync.simulator import Options, Simulator

SALON = 4001
# Twelve pages of visits at 0.2 s: the clients are proved long before.
SLOW = "{batch_size: 80, interval: 0s, per_minute: 6000, per_second: 500, min_delay: 300ms, max_retries: 3, recheck_days: 60}"


async def test_a_client_deleted_while_the_visits_are_read_is_gone_at_the_end(database_url: str) -> None:
    async with Simulator(Options(clients=60, visits=3000, per_second=0, per_minute=0, records_cap=200)) as sim:
        salon = sim.world.salons[SALON]
        task = asyncio.create_task(follow(sim, database_url, preset=SLOW))
        connection = await asyncpg.connect(database_url)
        try:
            async with asyncio.timeout(SAFETY_S):
                while not task.done() and not await _proved(connection):
                    await asyncio.sleep(0.02)
        finally:
            await connection.close()
        assert not task.done(), "the visits were read too fast for this test"
        gone, changed = list(salon.clients)[3:5]
        salon.delete_client(gone)
        salon.change_client(changed, comment="changed while the visits were read")
        outcome = await task
        assert outcome.complete
        async with open_house(sim.url, database_url) as house:
            assert gone not in await house.live("clients", SALON)
            await assert_equal(sim, house)


async def _proved(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    if await connection.fetchval("select to_regclass('yclients.sync_status')") is None:
        return False
    query = "select last_success_at is not null from yclients.sync_status where stream = 'clients'"
    return bool(await connection.fetchval(query))
