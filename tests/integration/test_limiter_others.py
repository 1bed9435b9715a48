"""Does the limiter leave others what they use, by what answers say of the limit, and nothing where nobody else is?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from limitlog import SCHEMA, Fleet, VirtualClock, densest, eventually, granting
from ycsync.api import Api, Request, Tally, new_session
from ycsync.limiter import Lease
from ycsync.ratelimit import RateHeaders
from ycsync.simulator import Options, Simulator
from ycsync.simulator.report import Budget
from ycsync.store.database import Database
from ycsync.store.report import Report

MEASURED = (121.0, 181.0)  # a minute of virtual time, when all is learnt
TOLD = f"select others, leaves_minute from {SCHEMA}.limiter_egress where others is not null"


@pytest.fixture
async def clock(database_url: str, database: Database) -> AsyncIterator[VirtualClock]:
    async with VirtualClock.open(database_url) as clock:
        yield clock


@dataclass
class Outcome:
    """Of the minute that is measured."""

    own: int
    refused: int
    together: list[float]  # all arrivals, the others' too


async def play(clock: VirtualClock, server: Budget, **how: Any) -> Outcome:
    """Two processes with work waiting, 250 ms an answer."""
    fleet = Fleet(clock, 5, 200, up=(0.125, 0.125), down=(0.125, 0.125), server=server, **how)
    begun, ended = MEASURED
    await fleet.run(2, ended + 1.0)
    return Outcome(
        sum(begun <= at < ended for at in fleet.arrivals),
        sum(begun <= at < ended for at in fleet.refused),
        [at for at in (*fleet.arrivals, *(when for when, _ in server.others_log)) if begun - 60 <= at < ended],
    )


@pytest.mark.parametrize(("others", "patient"), [(40, True), (100, False)])
async def test_others_keep_their_part_nothing_is_refused_and_the_rest_is_used(
    clock: VirtualClock, others: int, patient: bool
) -> None:
    server = Budget(5, 200, others=others)
    found = await play(clock, server, patient=patient)
    assert found.refused == 0
    assert all(accepted for when, accepted in server.others_log if when >= MEASURED[0])
    assert densest(found.together, 1.0) <= 5
    assert densest([at for at in found.together if at >= MEASURED[0]], 60.0) <= 200
    assert found.own >= 0.97 * (200 - others), f"{found.own} of {200 - others}"


async def test_a_fixed_window_that_others_use_refuses_nothing(clock: VirtualClock) -> None:
    found = await play(clock, Budget(5, 200, fixed=True, others=40), patient=True)
    assert found.refused == 0
    assert found.own >= 0.97 * 160


async def test_what_others_used_is_taken_back_when_they_stop(clock: VirtualClock) -> None:
    server = Budget(5, 200, others=60)
    fleet = Fleet(clock, 5, 200, up=(0.125, 0.125), down=(0.125, 0.125), server=server)
    fleet.headers = lambda headers: _until(server, clock, 30.0, headers)
    await fleet.run(2, 242.0)
    minutes = [sum(begun <= at < begun + 60 for at in fleet.arrivals) for begun in (1.0, 61.0, 121.0, 181.0)]
    assert minutes[0] <= 140
    assert minutes == sorted(minutes), "step by step"
    assert minutes[-1] >= 0.97 * 200


def _until(server: Budget, clock: VirtualClock, at: float, headers: dict[str, str]) -> dict[str, str]:
    """The other clients end."""
    if clock.at >= at:
        server._others = 0
    return headers


@pytest.mark.parametrize(
    "remaining",
    [lambda _: "0", lambda chance: str(chance.randrange(201))],
    ids=["always none", "any"],
)
async def test_headers_that_mean_nothing_cost_less_than_half(clock: VirtualClock, remaining: object) -> None:
    chance = random.Random(5)
    assert callable(remaining)

    def spoiled(headers: dict[str, str]) -> dict[str, str]:
        return {**headers, "X-RateLimit-Remaining": remaining(chance)}

    found = await play(clock, Budget(5, 200), headers=spoiled)
    assert found.refused == 0
    assert found.own > 0.5 * 200


# --- two budgets --------------------------------------------------------------------------------------------------------


async def sharing(database: Database) -> tuple[tuple[str, str], ...]:
    return (await Report(database).standing("far")).sharing


SHARES = f"select egress from {SCHEMA}.limiter_egress where shares_with is not null order by egress"


async def test_two_names_whose_limit_is_the_tokens_are_found_and_stay_below_it(clock: VirtualClock) -> None:
    found = await play(clock, Budget(0, 200), egresses=("far", "near"))
    assert [row["egress"] for row in await clock.fetch(SHARES)] == ["far", "near"]
    assert found.refused <= 2, "each knows the other by its answers only"
    assert found.own >= 0.95 * 200


async def test_two_names_with_a_limit_each_are_not_taken_for_one(clock: VirtualClock) -> None:
    """Others send 100 a minute to each: as much as the other name does."""
    found = await play(clock, Budget(5, 200, others=100), egresses=("far", "near"), apart=True)
    assert found.own >= 0.9 * 2 * 100
    assert await clock.fetch(SHARES) == []


async def test_only_what_both_find_is_told(database: Database) -> None:
    async with granting(database, 5, 200, egress="far"), granting(database, 5, 200, egress="near", owner=2):
        await database.execute(
            f"update {SCHEMA}.limiter_egress set shares_at = now(), "
            "shares_with = array[case egress when 'far' then 'near' else 'far' end]"
        )
        assert await sharing(database) == (("far", "near"),)
        await database.execute(f"update {SCHEMA}.limiter_egress set shares_with = '{{third}}' where egress = 'near'")
        assert await sharing(database) == ()


# --- the whole way ------------------------------------------------------------------------------------------------------


async def test_others_are_seen_over_http_and_told(database: Database) -> None:
    async with (
        Simulator(Options(visits=10, others=60)) as simulator,
        new_session(timeout_s=5.0) as session,
        granting(database, 5, 200) as limiter,
    ):
        api = Api(session, simulator.url, "partner", "user", limiter)

        async def seen() -> bool:
            await api.fetch(Request("company", 4001, "/company/4001"), Tally(), tries=1)
            return bool(await database.fetch(TOLD))

        await eventually(seen, within_s=30.0)
        usage = (await Report(database).standing("default")).usage
        assert usage.server_limit == 200
        assert usage.server_remaining is not None
        assert 55 <= (usage.others or 0) <= 65
        assert usage.leaves == 200 - (usage.others or 0) - 2
        assert usage.server_resets_at is not None
        assert usage.server_said_at is not None


async def test_what_others_leave_holds_for_every_process_at_once(database: Database) -> None:
    async with granting(database, 50, 20) as one, granting(database, 50, 20, owner=2) as other:
        await database.execute(
            f"update {SCHEMA}.limiter_egress set others = 13, others_at = now(), leaves_second = 50, leaves_minute = 5"
        )
        taken = [await limiter.acquire(1) for limiter in (one, other, one, other, one)]
        refused = [await limiter.ask(1) for limiter in (one, other)]
        assert all(isinstance(found, float) and found > 0 for found in refused)
        one.unused(taken[0])
        await one.close()
        assert isinstance(await other.ask(1), Lease)
        await database.execute(f"update {SCHEMA}.limiter_egress set others_at = now() - interval '66 s'")
        assert isinstance(await one.ask(1), Lease), "what was not seen for a minute holds no more"


async def test_slots_taken_before_others_were_seen_count_too(database: Database) -> None:
    async with granting(database, 50, 20) as limiter:
        for _ in range(8):  # the last slots are taken first
            await limiter.acquire(1)
        await database.execute(
            f"update {SCHEMA}.limiter_egress set others = 13, others_at = now(), leaves_second = 50, leaves_minute = 5"
        )
        assert not isinstance(await limiter.ask(1), Lease)


@pytest.mark.parametrize(("held_s", "free"), [(30.0, False), (3600.0, True)], ids=["held", "a clock that was put back"])
async def test_a_minute_that_others_have_used_up_is_waited_for(database: Database, held_s: float, free: bool) -> None:
    async with granting(database, 5, 20) as limiter:
        await database.execute(f"update {SCHEMA}.limiter_egress set held_until = now() + make_interval(secs => $1)", held_s)
        assert isinstance(await limiter.ask(1), Lease) == free


async def test_headers_are_compared_once_a_second(database: Database) -> None:
    async with granting(database, 50, 200) as limiter:
        for remaining in (190, 150, 110):
            limiter.heard(await limiter.acquire(1), RateHeaders(200, remaining, 30.0))
        await limiter.close()
        said = f"select server_limit, server_remaining from {SCHEMA}.limiter_egress"
        assert tuple(dict((await database.fetch(said))[0]).values()) == (200, 190)
        limiter.heard(await limiter.acquire(1), RateHeaders(None, None, None))
        await asyncio.sleep(0)
        assert tuple(dict((await database.fetch(said))[0]).values()) == (200, 190)
