"""Is the limit kept as the server counts it, and is the budget used, whatever happens to processes and network?"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
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
    end,
    granting,
    ready,
    spawn,
)
from ycsync import limiter as limiter_module
from ycsync import sql
from ycsync.limiter import Limiter
from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await connect(database_url, SCHEMA, size=4)
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
async def clock(database_url: str, database: Database) -> AsyncIterator[VirtualClock]:
    clock = await VirtualClock.install(database_url)
    yield clock
    await clock.database.close()


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


async def test_no_second_is_over_the_limit_while_workers_are_killed_and_started_again(
    database_url: str, database: Database
) -> None:
    # Requests are on their way for up to 0.6 s when their sender dies, and the survivors find it dead at once.
    server = Server(up=(0.0, 0.6), down=(0.0, 0.1))
    chance = random.Random(5)
    async with server.listening():
        workers = [spawn(database_url, server.url, str(n), 5, PLENTY, 5) for n in range(3)]
        try:
            for worker in workers:
                await ready(worker)
            for turn in range(6):
                await asyncio.sleep(chance.uniform(0.2, 0.9))
                victim = workers[turn % 3]
                victim.send_signal(signal.SIGKILL)
                await asyncio.to_thread(end, victim)
                workers[turn % 3] = spawn(database_url, server.url, f"{turn}-again", 5, PLENTY, 5)
            await ready(workers[-1])
            before = len(server.arrivals)
            await asyncio.sleep(2.2)
        finally:
            for worker in workers:
                end(worker)
            await asyncio.sleep(0.8)
    assert densest(server.arrivals, 1.0) <= 5
    assert len(server.arrivals) - before >= 5, "after the killing, work goes on"


async def test_eight_processes_share_one_budget_to_the_last_slot_and_none_starves(
    database_url: str, database: Database
) -> None:
    server = Server(up=(0.0, 0.02), down=(0.0, 0.02))
    async with server.listening():
        workers = [spawn(database_url, server.url, str(n), 20, PLENTY, 4) for n in range(8)]
        try:
            for worker in workers:
                await ready(worker)
            await asyncio.sleep(1.0)
            begun, had = time.monotonic(), len(server.arrivals)
            server.by.clear()
            await asyncio.sleep(4.0)
            seconds, sent = time.monotonic() - begun, len(server.arrivals) - had
        finally:
            for worker in workers:
                end(worker)
            await asyncio.sleep(0.1)
    assert densest(server.arrivals, 1.0) <= 20
    # Slots come back in bursts, of which three or four fall into the time; what is used of a budget is measured below.
    assert sent >= 0.75 * 20 * seconds / 1.04, f"{sent} in {seconds:.1f} s"
    assert len(server.by) == 8, server.by
    assert min(server.by.values()) >= 2, server.by


async def test_no_minute_and_no_second_is_over_the_limit_in_four_virtual_minutes_of_deaths_and_jitter(
    clock: VirtualClock,
) -> None:
    fleet = Fleet(clock, 5, 200, up=(0.0, 0.6), down=(0.0, 0.6), deaths=15.0)
    await fleet.run(3, 240.0)
    assert densest(fleet.arrivals, 60.0) <= 200
    assert densest(fleet.arrivals, 1.0) <= 5
    assert len(fleet.arrivals) > 0.85 * 800


async def test_ninety_seven_percent_of_a_minutes_budget_is_used_in_virtual_time(clock: VirtualClock) -> None:
    fleet = Fleet(clock, 5, 200, up=(0.125, 0.125), down=(0.125, 0.125))
    await fleet.run(2, 302.0)
    later = [at for at in fleet.arrivals if 61.0 <= at < 301.0]
    assert len(later) >= 0.97 * 200 * 4
    assert densest(fleet.arrivals, 60.0) == 200


async def test_the_budget_of_a_second_is_used_while_work_waits(database: Database) -> None:
    rtt = 0.25
    server = Server(up=(rtt / 2, rtt / 2), down=(rtt / 2, rtt / 2))
    async with server.listening(), aiohttp.ClientSession() as session, granting(database, 5) as limiter:

        async def send(company: int) -> None:
            while True:
                lease = await limiter.acquire(company)
                async with session.get(f"{server.url}/{company}"):
                    limiter.answered(lease)

        senders = [asyncio.create_task(send(n)) for n in range(8)]
        await asyncio.sleep(5 * (1 + rtt) + 0.2)
        for task in senders:
            task.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
    assert densest(server.arrivals, 1.0) <= 5
    spans = sorted(server.arrivals)
    pace = (len(spans) - 5) / (spans[-1] - spans[4]) if len(spans) > 5 else 0.0
    assert pace >= 0.97 * 5 / (1 + rtt), f"{pace:.2f} a second"


async def test_another_program_on_the_same_address_costs_few_refusals(clock: VirtualClock) -> None:
    """It takes 50 of the 200 a minute, and nobody told us: fifteen virtual minutes against the server's own log."""
    database = clock.database
    statements = sql.load("limiter.sql", SCHEMA)
    await database.execute(statements["prepare"], "default", 5, 200)
    accepted: list[float] = []
    ours = refused = 0
    at, other = 0.0, 0.0
    floor, rtt, streak = 2.0, 0.25, 0
    while at < 900.0:
        while other <= at:  # evenly, accepted or not
            accepted = [when for when in accepted if when > other - 60]
            if len(accepted) < 200:
                accepted.append(other)
            other += 60 / 50
        await clock.to(at)
        rows = await database.fetch(statements["acquire"], "default", 5, 200, 1, 32.0, 1)
        if not rows:
            row = await database.fetchrow(statements["wait"], "default", 5, 200, 1)
            assert row is not None
            at += limiter_module.nap_s(row["seconds"])
            continue
        kinds = {row["kind"]: row for row in rows}
        accepted = [when for when in accepted if when > at - 60]
        at += rtt
        await clock.to(at)
        await database.execute(
            statements["release"], "default", kinds[1]["slot"], kinds[1]["lease"], kinds[60]["slot"], kinds[60]["lease"]
        )
        if len(accepted) >= 200:
            refused, streak = refused + 1, streak + 1
            await database.execute(statements["throttled"], "default", floor * (1 + streak / 2))
        else:
            accepted.append(at)
            ours, streak = ours + 1, 0
    assert refused <= 20, f"{refused} refusals in a quarter of an hour"
    assert ours >= 0.6 * 150 * 15, f"{ours} of {150 * 15} that were left"
