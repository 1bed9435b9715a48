"""Who gets the next lease, what does a lease cost, and what happens to those who wait?"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest

from faultproxy import FaultProxy
from limitlog import (
    PLENTY,
    SCHEMA,
    Counting,
    VirtualClock,
    count_of,
    densest,
    eventually,
    free,
    granting,
)
from support.patience import SAFETY_S
from ycsync import limiter as limiter_module
from ycsync.errors import DatabaseError, DatabaseUnavailable
from ycsync.limiter import PAUSE_POLL_S, Lease, Limiter, Rates
from ycsync.store.database import Database, connect
from ycsync.store.work import Work


async def freed(database: Database, give_back: Callable[[Lease], None], lease: Lease, window_s: float) -> None:
    """A slot of the second is free so long after what was said of its lease, on the database's clock: never mind the load."""
    before = await database.fetchval("select clock_timestamp()")
    give_back(lease)
    slot = f"select free_at, owner, clock_timestamp() as after from {SCHEMA}.limiter_slots where kind = 1 and slot = $1"
    async with asyncio.timeout(SAFETY_S):
        while (row := (await database.fetch(slot, lease.second))[0])["owner"] is not None:
            await asyncio.sleep(0.005)
    assert before <= row["free_at"] - timedelta(seconds=window_s) <= row["after"]


# --- one lease --------------------------------------------------------------------------------------------------------


async def test_nothing_is_taken_when_only_one_of_the_two_windows_has_a_slot(database: Database) -> None:
    for per_second, per_minute in ((1, 10), (10, 1)):
        egress = f"{per_second}-{per_minute}"
        async with granting(database, per_second, per_minute, egress=egress) as limiter:
            await limiter.acquire(1)
            waiting = asyncio.create_task(limiter.acquire(1))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            assert await free(database, 1, egress=egress) == per_second - 1
            assert await free(database, 60, egress=egress) == per_minute - 1
            waiting.cancel()


async def test_an_answer_after_the_lease_has_ended_does_not_free_the_next_ones_slot(database: Database) -> None:
    async with granting(database, 1) as limiter:
        old = await limiter.acquire(1)
        await database.execute(f"update {SCHEMA}.limiter_slots set free_at = now() - interval '1 s'")
        new = await limiter.acquire(1)
        assert (old.second, new.second) == (0, 0)
        before = await database.fetch(f"select kind, slot, free_at, owner from {SCHEMA}.limiter_slots order by 1, 2")
        for give_back in (limiter.answered, limiter.unused, limiter.abandoned):
            give_back(old)
            await limiter.close()
        mine = [row for row in before if row["owner"] is not None]
        assert len(mine) == 2
        after = await database.fetch(f"select kind, slot, free_at, owner from {SCHEMA}.limiter_slots order by 1, 2")
        assert [row for row in after if row["owner"] is not None] == mine


async def test_a_late_answer_never_prolongs_a_lease(database: Database) -> None:
    async with granting(database, 1) as limiter:
        lease = await limiter.acquire(1)
        await database.execute(f"update {SCHEMA}.limiter_slots set free_at = now() - interval '1 s' where owner is not null")
        limiter.answered(lease)
        await limiter.close()
        assert await free(database, 1) == 1


async def test_a_slot_is_free_one_window_after_the_answer_and_not_before(database: Database) -> None:
    async with granting(database, 1) as limiter:
        lease = await limiter.acquire(1)
        await asyncio.sleep(0.4)
        begun = time.monotonic()
        await freed(database, limiter.answered, lease, 1.0)
        await limiter.acquire(1)
        assert time.monotonic() - begun >= 0.99


async def test_a_wait_that_is_given_up_costs_nothing(database: Database) -> None:
    async with granting(database, 2, 4) as limiter:
        for patience in (0, 1, 2, 5, 20):  # turns of the loop: before, during and after the database is asked
            task = asyncio.create_task(limiter.acquire(1))
            for _ in range(patience):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for patience_s in (0.0005, 0.001, 0.002, 0.003, 0.005):
            with contextlib.suppress(TimeoutError):
                limiter.unused(await asyncio.wait_for(limiter.acquire(1), patience_s))

        # The granting is one loop: once it has served this one, the statement for a wait that was given up is over.
        limiter.unused(await asyncio.wait_for(limiter.acquire(1), SAFETY_S))

        async def everything_is_free() -> bool:
            return (await free(database, 1), await free(database, 60), await limiter.usage()) == (2, 4, (0, 0))

        await eventually(everything_is_free)


async def test_a_request_that_was_cut_off_here_may_be_on_its_way_and_keeps_its_slot_longer(database: Database) -> None:
    async with granting(database, 1) as limiter:
        lease = await limiter.acquire(1)
        begun = time.monotonic()
        await freed(database, limiter.abandoned, lease, 1.0 + limiter_module.TRANSIT_S)
        await limiter.acquire(1)
        assert time.monotonic() - begun >= 1.0 + limiter_module.TRANSIT_S - 0.05


async def test_what_left_is_counted_in_the_usage(database: Database) -> None:
    async with granting(database, 5, 10) as limiter:
        for _ in range(3):
            limiter.answered(await limiter.acquire(1))
        assert await limiter.usage() == (3, 3)
        await database.execute(f"update {SCHEMA}.limiter_slots set used_at = used_at - interval '2 s'")
        assert await limiter.usage() == (0, 3)


async def test_another_address_has_a_budget_of_its_own(database: Database) -> None:
    async with granting(database, 1, egress="one") as one, granting(database, 1, egress="other", owner=2) as other:
        await one.acquire(1)
        await one.throttled(1800.0)
        await asyncio.wait_for(other.acquire(1), SAFETY_S)
        blocked = asyncio.create_task(one.acquire(1))
        await asyncio.sleep(0.2)
        assert not blocked.done()
        blocked.cancel()


async def test_a_smaller_preset_takes_fewer_slots_of_the_same_budget(database: Database) -> None:
    async with granting(database, 5, 20, owner=1) as whole, granting(database, 2, 20, owner=2) as part:
        for _ in range(2):
            await asyncio.wait_for(part.acquire(1), SAFETY_S)
        third = asyncio.create_task(part.acquire(1))
        for _ in range(3):
            await asyncio.wait_for(whole.acquire(1), SAFETY_S)
        await asyncio.sleep(0.1)
        assert not third.done()
        third.cancel()


# --- who is next --------------------------------------------------------------------------------------------------------


async def order_of(limiter: Limiter, wanted: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """In which order (company, priority) waiters that came in this order are served."""
    served: list[tuple[int, int]] = []

    async def one(company: int, priority: int) -> None:
        lease = await limiter.acquire(company, priority)
        served.append((company, priority))
        limiter.unused(lease)

    tasks = [asyncio.create_task(one(*want)) for want in wanted]
    await asyncio.wait_for(asyncio.gather(*tasks), SAFETY_S)
    return served


async def test_a_higher_priority_goes_first(database: Database) -> None:
    async with granting(database) as limiter:
        served = await order_of(limiter, [(1, 0), (1, 5), (2, 100), (3, 0), (2, 5)])
        assert [priority for _, priority in served] == [100, 5, 5, 0, 0]


async def test_a_salon_with_one_request_does_not_wait_for_another_salons_hundred(database: Database) -> None:
    async with granting(database) as limiter:
        served = await order_of(limiter, [*[(1, 0)] * 100, (2, 0), (3, 0)])
        assert served.index((2, 0)) <= 3
        assert served.index((3, 0)) <= 3
        # Having been quiet earns no credit, and having been busy costs nothing later.
        served = await order_of(limiter, [*[(4, 0)] * 10, *[(1, 0)] * 10])
        assert {company for company, _ in served[:4]} == {1, 4}


async def test_a_paused_salon_blocks_nobody_even_at_a_higher_priority(database: Database) -> None:
    asked = Counting(database)
    await Work(database).pause([7])
    async with granting(asked, min_delay_s=0.05) as limiter:
        paused = [asyncio.create_task(limiter.acquire(7, 106)) for _ in range(20)]
        await asyncio.sleep(0.2)
        asked.asked = 0
        begun = time.monotonic()
        for _ in range(10):
            limiter.unused(await asyncio.wait_for(limiter.acquire(1, 0), SAFETY_S))
        assert await free(database, 60) >= PLENTY - 1
        assert await count_of(paused) == 0
        await limiter.close()
        assert asked.asked <= 40 + 8 * (time.monotonic() - begun)
        for task in paused:
            task.cancel()


@pytest.mark.parametrize("company", [0, 1])
async def test_a_pause_and_its_end_work_within_a_second(database: Database, company: int) -> None:
    work = Work(database)
    granted: list[float] = []
    async with granting(database) as limiter:

        async def send() -> None:
            while True:
                limiter.unused(await limiter.acquire(1))
                granted.append(time.monotonic())
                await asyncio.sleep(0.01)

        task = asyncio.create_task(send())
        await asyncio.sleep(0.2)
        await work.pause([company])
        paused = time.monotonic()
        await asyncio.sleep(1.2)
        # In the 0.2 s that it may take, a request each 0.01 s; a busy machine sends fewer.
        assert sum(at > paused for at in granted) <= 20
        stopped = len(granted)
        await asyncio.sleep(PAUSE_POLL_S)
        assert len(granted) == stopped
        await work.resume([company])

        async def goes_on() -> bool:
            return len(granted) > stopped

        await eventually(goes_on)
        assert PAUSE_POLL_S < 1.0, "so often it looks whether the pause is over"
        task.cancel()


async def test_a_pause_of_all_salons_asks_the_database_only_now_and_then(database: Database) -> None:
    asked = Counting(database)
    await Work(database).pause([0])
    async with granting(asked) as limiter:
        waiting = [asyncio.create_task(limiter.acquire(n)) for n in range(1, 101)]
        await asyncio.sleep(0.1)
        asked.asked = 0
        begun = time.monotonic()
        await asyncio.sleep(2.0)
        assert asked.asked <= 8 * (time.monotonic() - begun)
        for task in waiting:
            task.cancel()


# --- what it costs ------------------------------------------------------------------------------------------------------


async def test_nobody_waiting_means_no_query_at_all(database: Database) -> None:
    asked = Counting(database)
    async with granting(asked) as limiter:
        limiter.answered(await limiter.acquire(1))
        await limiter.close()
        asked.asked = 0
        await asyncio.sleep(0.5)
        assert asked.asked == 0


@pytest.mark.parametrize("factor", [1.0, 0.5])
async def test_waiting_for_a_used_up_minute_costs_a_few_queries_a_second(database: Database, factor: float) -> None:
    asked = Counting(database)
    async with granting(asked, 5, 4) as limiter:
        await database.execute(f"update {SCHEMA}.limiter_egress set slow_factor = $1, slow_since = now()", factor)
        for _ in range(int(4 * factor)):
            limiter.answered(await limiter.acquire(1))
        waiting = [asyncio.create_task(limiter.acquire(n)) for n in range(5)]
        await asyncio.sleep(0.1)
        asked.asked = 0
        begun = time.monotonic()
        await asyncio.sleep(2.0)
        assert not any(task.done() for task in waiting)
        assert asked.asked <= 12 * (time.monotonic() - begun)
        for task in waiting:
            task.cancel()


async def test_pacing_keeps_the_least_delay_between_two_requests_after_a_wait_too(database: Database) -> None:
    granted: list[float] = []
    async with granting(database, 3, min_delay_s=0.15) as limiter:
        for _ in range(8):
            lease = await limiter.acquire(1)
            granted.append(time.monotonic())
            limiter.answered(lease)
    assert min(later - sooner for sooner, later in itertools.pairwise(granted)) >= 0.14
    assert densest(granted, 1.0) <= 3


# --- when the database goes away ------------------------------------------------------------------------------------------


async def test_without_a_database_the_waiters_are_told_and_later_it_goes_on(database_url: str, database: Database) -> None:
    parts = urlsplit(database_url)
    upstream: tuple[str, int] | str
    if parts.hostname:
        upstream = (parts.hostname, parts.port or 5432)
    else:
        folder = next(value for key, _, value in (one.partition("=") for one in parts.query.split("&")) if key == "host")
        port = next(
            (value for key, _, value in (one.partition("=") for one in parts.query.split("&")) if key == "port"), "5432"
        )
        upstream = f"{folder.replace('%2F', '/')}/.s.PGSQL.{port}"
    async with FaultProxy(upstream) as proxy:
        user = f"{parts.username}@" if parts.username else ""
        through = await connect(f"postgresql://{user}127.0.0.1:{proxy.port}{parts.path}", SCHEMA, size=2)
        async with granting(through, 2) as limiter:
            held = await limiter.acquire(1)
            proxy.refuse()
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
                    await asyncio.wait_for(limiter.acquire(1), SAFETY_S)
            limiter.answered(held)  # does not arrive, which is safe
            await limiter.close()
            await proxy.listen()
            lease = await asyncio.wait_for(limiter.acquire(1), SAFETY_S)
            limiter.unused(lease)
        await through.close()


async def test_a_statement_that_the_database_refuses_reaches_the_waiters_and_does_not_end_the_granting(
    database: Database,
) -> None:
    async with granting(database) as limiter:
        await database.execute(f"alter table {SCHEMA}.limiter_slots rename to away")
        with pytest.raises(DatabaseError):
            await asyncio.wait_for(limiter.acquire(1), SAFETY_S)
        limiter.answered(Lease(0, 0, 0, 0, await database.fetchval("select now()")))
        await limiter.close()
        await database.execute(f"alter table {SCHEMA}.away rename to limiter_slots")
        await asyncio.wait_for(limiter.acquire(1), SAFETY_S)


# --- no answer, no time -------------------------------------------------------------------------------------------------


async def test_a_request_without_an_answer_gives_its_second_back_and_keeps_its_minute(database: Database) -> None:
    async with granting(database, 1, 3) as limiter:
        old = await limiter.acquire(1)
        begun = time.monotonic()
        await freed(database, limiter.unanswered, old, 1.0)
        new = await limiter.acquire(2)
        assert time.monotonic() - begun >= 0.99
        assert old.second == new.second
        assert old.minute != new.minute
        assert await free(database, 60) == 1
        # Whatever becomes of it: the second is somebody else's by now, the minute is its own still.
        limiter.answered(old)
        await limiter.close()
        held = f"select slot from {SCHEMA}.limiter_slots where owner is not null and kind = $1"
        assert [row["slot"] for row in await database.fetch(held, 1)] == [new.second]
        assert [row["slot"] for row in await database.fetch(held, 60)] == [new.minute]


async def test_salons_that_hang_leave_the_others_their_requests(database_url: str, database: Database) -> None:
    """Two salons with four requests each that are never answered (time-out: 30 s), two virtual minutes long."""
    async with VirtualClock.open(database_url) as clock:
        limiter = clock.limiter("default", 1, lambda: Rates(5, 200, 0.0))
        await limiter.prepare(5, 200)
        hanging: list[tuple[float, Lease]] = []
        healthy = turn = 0
        due: list[tuple[float, Lease, str]] = []
        while clock.at < 120.0:
            while due and due[0][0] <= clock.at:
                _, lease, what = due.pop(0)
                getattr(limiter, what)(lease)
            await limiter.close()
            hanging = [one for one in hanging if one[0] > clock.at]
            found = await limiter.ask(1)
            if not isinstance(found, Lease):
                await clock.to(min(clock.at + found, due[0][0] if due else 1e9))
                continue
            turn += 1
            if turn % 3 and len(hanging) < 8:
                hanging.append((clock.at + 30.0, found))
                due.append((clock.at + limiter_module.RELAX_S, found, "unanswered"))
            else:
                healthy += 1
                due.append((clock.at + 0.25, found, "answered"))
            due.sort(key=lambda one: one[0])
    assert healthy >= 120, f"{healthy} requests in two minutes"


@dataclass(slots=True)
class Frozen:
    """A way to the database on which the first grant is for longer than it lasts, or whose process is stopped meanwhile."""

    clock: VirtualClock
    grants: int = 0

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        rows = await self.clock.fetch(query, *args)
        self.grants += 1
        if self.grants == 1:
            await self.clock.to(self.clock.at + 29.0)
        return rows

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        return await self.clock.fetchrow(query, *args)

    async def execute(self, query: str, *args: object) -> None:
        await self.clock.execute(query, *args)


async def test_a_grant_that_came_too_late_to_be_sent_is_asked_for_again(database_url: str, database: Database) -> None:
    async with VirtualClock.open(database_url) as clock:
        limiter = clock.limiter("default", 1, lambda: Rates(5, 20, 0.0), timeout_s=30.0)
        await limiter.prepare(5, 20)
        lease = await limiter.ask(1)
        assert isinstance(lease, Lease)
        await clock.to(27.9)
        assert limiter.still_good(lease)
        await clock.to(28.1)  # the request could be on its way when the lease ends
        assert not limiter.still_good(lease)

        frozen = Frozen(clock)
        limiter = Limiter(frozen, SCHEMA, "default", 1, lambda: Rates(5, 20, 0.0), timeout_s=30.0, clock=clock.seconds)
        running = asyncio.create_task(limiter.run())
        lease = await asyncio.wait_for(limiter.acquire(1), SAFETY_S)
        await limiter.close()
        assert limiter.still_good(lease)
        assert frozen.grants == 2
        held = f"select count(*) from {SCHEMA}.limiter_slots where owner is not null and kind = 60"
        assert await database.fetchval(held) == 2, "the first one and the last; what was too late is given back"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
