"""Is the limit kept as the server counts it, and is the budget used, whatever happens to processes and network?"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from limitlog import (
    PLENTY,
    SCHEMA,
    Fleet,
    Server,
    VirtualClock,
    densest,
    granting,
)
from ycsync.limiter import MARGIN_S, Lease, Limiter, Rates
from ycsync.store.database import Database, connect


@pytest.fixture
async def clock(database_url: str, database: Database) -> AsyncIterator[VirtualClock]:
    async with VirtualClock.open(database_url) as clock:
        yield clock


async def test_a_dead_process_frees_a_window_after_its_lease(database: Database) -> None:
    """The server may have counted its last request as late as that."""
    async with granting(database, 1, 1, timeout_s=5.0) as limiter:
        lease = await limiter.acquire(1)
        taken = await database.fetch(
            f"select kind, extract(epoch from free_at - $1)::float8 as held_s from {SCHEMA}.limiter_slots", lease.granted_at
        )
        held_s = {row["kind"]: row["held_s"] for row in taken}
        assert held_s == {1: 5.0 + MARGIN_S + 1, 60: 5.0 + MARGIN_S + 60}


# --- the promise: never over the limit as the server counts it ----------------------------------------------------------


async def test_no_second_is_over_the_limit_with_jitter_cancellations_and_time_outs(
    database_url: str, database: Database
) -> None:
    server = Server(up=(0.0, 0.3), down=(0.02, 0.3))
    chance = random.Random(3)
    stop = time.monotonic() + 4
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(server.listening())
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)))
        limiters = []
        for owner in range(3):
            own = await connect(database_url, SCHEMA, size=3)
            stack.push_async_callback(own.close)
            limiters.append(await stack.enter_async_context(granting(own, 5, PLENTY, owner=owner, timeout_s=0.5)))

        async def send(limiter: Limiter, company: int) -> None:
            lease = await limiter.acquire(company)
            try:
                async with session.get(f"{server.url}/{company}"):
                    limiter.answered(lease)
            except TimeoutError:
                pass  # the lease goes on
            except asyncio.CancelledError:
                limiter.abandoned(lease)
                raise

        async def keep_sending(limiter: Limiter, company: int) -> None:
            while time.monotonic() < stop:
                with contextlib.suppress(TimeoutError):
                    patience = chance.uniform(0.0, 1.0) if chance.random() < 0.3 else 60.0
                    await asyncio.wait_for(send(limiter, company), patience)

        await asyncio.wait([asyncio.create_task(keep_sending(limiters[n % 3], 1 + n)) for n in range(24)], timeout=6.5)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if getattr(task.get_coro(), "__name__", "") == "keep_sending":
                task.cancel()
        await asyncio.sleep(0.7)
    assert densest(server.arrivals, 1.0) <= 5
    assert len(server.arrivals) >= 12


async def test_no_minute_and_no_second_is_over_the_limit_in_two_virtual_minutes_of_deaths_and_jitter(
    clock: VirtualClock,
) -> None:
    fleet = Fleet(clock, 5, 200, up=(0.0, 0.6), down=(0.0, 0.6), deaths=15.0)
    await fleet.run(3, 130.0)
    assert densest(fleet.arrivals, 60.0) <= 200
    assert densest(fleet.arrivals, 1.0) <= 5
    assert len(fleet.arrivals) > 0.8 * 400


async def test_ninety_seven_percent_of_a_minutes_budget_is_used_in_virtual_time(clock: VirtualClock) -> None:
    fleet = Fleet(clock, 5, 200, up=(0.125, 0.125), down=(0.125, 0.125))
    await fleet.run(2, 182.0)
    later = [at for at in fleet.arrivals if 61.0 <= at < 181.0]
    assert len(later) >= 0.97 * 200 * 2
    assert densest(fleet.arrivals, 60.0) == 200


@pytest.mark.parametrize("patient", [True, False])
async def test_a_change_hardly_waits_while_first_readings_use_all_that_is_left_of_each_minute(
    clock: VirtualClock, patient: bool
) -> None:
    fleet = Fleet(clock, 5, 200, up=(0.05, 0.3), down=(0.05, 0.3), patient=patient, changes=4.0)
    await fleet.run(2, 242.0)
    later = [at for at in fleet.arrivals if 61.0 <= at < 241.0]
    assert len(later) >= 0.97 * 200 * 3
    assert densest(fleet.arrivals, 60.0) <= 200
    assert densest(fleet.arrivals, 1.0) <= 5
    if patient:
        assert len(fleet.waits) > 30
        assert sorted(fleet.waits)[int(0.95 * len(fleet.waits))] < 1
        assert max(fleet.waits) < 2.5
    else:
        assert max(fleet.waits) > 5, "what cannot wait finds the minute used up"


async def test_a_first_reading_has_its_part_beside_processes_whose_work_never_ends(clock: VirtualClock) -> None:
    fleet = Fleet(clock, 5, 200, up=(0.05, 0.3), down=(0.05, 0.3), patient=True, hungry=3)
    await fleet.run(4, 242.0)
    assert densest(fleet.arrivals, 60.0) <= 200
    assert fleet.granted[4] >= fleet.granted.total() / 20
    assert fleet.granted[4] <= fleet.granted.total() / 5


async def test_another_program_on_the_same_address_costs_few_refusals(clock: VirtualClock) -> None:
    """It takes 50 of the 200 a minute, and nobody told us: six virtual minutes against the server's own log."""
    rates = Rates(5, 200, 0.0)
    limiter = clock.limiter("default", 1, lambda: rates)
    await limiter.prepare(5, 200)
    accepted: list[float] = []
    ours = refused = 0
    at, other = 0.0, 0.0
    floor, rtt, streak = 2.0, 0.25, 0
    while at < 360.0:
        while other <= at:  # evenly, accepted or not
            accepted = [when for when in accepted if when > other - 60]
            if len(accepted) < 200:
                accepted.append(other)
            other += 60 / 50
        await clock.to(at)
        lease = await limiter.ask(1)
        if not isinstance(lease, Lease):
            at += lease
            continue
        accepted = [when for when in accepted if when > at - 60]
        at += rtt
        await clock.to(at)
        limiter.answered(lease)
        await limiter.close()
        if len(accepted) >= 200:
            refused, streak = refused + 1, streak + 1
            await limiter.throttled(floor * (1 + streak / 2))
        else:
            accepted.append(at)
            ours, streak = ours + 1, 0
    assert refused <= 9, f"{refused} refusals in six minutes"
    assert ours >= 0.6 * 150 * 6, f"{ours} of {150 * 6} that were left"
