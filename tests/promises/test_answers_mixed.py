"""All faults at once, at random, on several salons that change meanwhile: is everything there when the trouble ends?"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from typing import Any

import pytest

from conftest import Effort
from support.agree import of_place, of_turns
from support.house import STREAMS, assert_equal, open_house, still
from support.patience import SAFETY_S
from support.place import Place
from support.turns import open_turns
from ycsync.config import parse_settings
from ycsync.simulator import Options
from ycsync.simulator.options import RARE_FAULTS, RECOVERABLE_FAULTS, SPOILED_DATA

KINDS = (*RECOVERABLE_FAULTS, *RARE_FAULTS, *SPOILED_DATA)
SALONS: dict[str, Any] = {"salons": 3, "clients": 70, "visits": 260, "clients_cap": 40, "records_cap": 90}


async def test_all_faults_mixed_without_waiting(database_url: str, effort: Effort) -> None:
    until = time.monotonic() + effort.of(0, 120)
    for seed in range(effort.seed, effort.seed + effort.of(2, 10_000)):
        async with open_turns(database_url, seed=seed, faults=0.2, churn=1, fault_kinds=KINDS, **SALONS) as turns:
            rng = random.Random(seed)
            for _ in range(3):
                await turns.turn()
                salon = turns.sim.world.salons[rng.choice((4001, 4002, 4003))]
                salon.deny = rng.choice((None, None, "401", "402", "403"))
            for salon in turns.sim.world.salons.values():
                salon.deny = None
            still(turns.sim)
            await turns.turn(2)
            turns.house.tomorrow_night()
            for company in turns.sim.world.salons:  # an old visit whose answer was spoiled is read again by a whole pass only
                for stream in STREAMS:
                    await turns.house.afresh(company, stream)
            await turns.turn(2)
            try:
                await assert_equal(turns.sim, turns.house)
                voices = await of_turns(turns)
                voices.agree(True)
                assert voices.codes() == {}
            except AssertionError as exc:
                raise AssertionError(f"seed {seed}") from exc
            await turns.house.database.execute(f"drop schema {turns.house.database.schema} cascade")
        if time.monotonic() > until and seed > effort.seed:
            break


@pytest.fixture
def options(effort: Effort) -> Options:
    """Small salons, quick answers, a fifth of them bad; they hang too, once in a while, and are a little slow."""
    kinds = (*KINDS, "hang") if effort.soak else RECOVERABLE_FAULTS
    return Options(
        **{**SALONS, "salons": effort.of(1, 4), "visits": effort.of(60, 260)},
        seed=effort.seed, faults=0.2, fault_kinds=kinds, churn=effort.of(0, 1), latency=0.02, jitter=0.02,
    )  # fmt: skip


async def test_a_service_lives_through_all_faults_with_their_real_waits(place: Place, effort: Effort) -> None:
    place.config.write_text(place.config.read_text("utf-8").replace("timeout: 5s", "timeout: 2s"), "utf-8")
    service = await place.start("run")
    await place.until_log("service.ready")
    rng = random.Random(effort.seed)
    ends = time.monotonic() + effort.of(6, 480)
    while time.monotonic() < ends:
        await asyncio.sleep(effort.of(2, 15))
        salon = place.simulator.world.salons[rng.choice(list(place.simulator.world.salons))]
        salon.deny = rng.choice((None, None, None, "402", "403"))
        assert service.returncode is None, f"seed {effort.seed}"
    for salon in place.simulator.world.salons.values():
        salon.deny = None
    still(place.simulator)
    place.simulator.options = replace(place.simulator.options, latency=0.0, jitter=0.0)
    # A pass from the beginning, asked of the service: the nights of this soak are too few.
    done = await place.run("sync", "--force", "--confirm-deletions", timeout=effort.of(60, 300))
    assert done.code == 0, (f"seed {effort.seed}", done)
    async with asyncio.timeout(SAFETY_S):
        while (await place.get("/readyz"))[0] != 200:
            await asyncio.sleep(0.2)
    async with open_house(place.simulator.url, place.database_url) as house:
        await assert_equal(place.simulator, house)
    voices = await of_place(place, parse_settings(place.config.read_text("utf-8"), "config.yaml"))
    voices.agree(True)
    report = place.simulator.report()
    assert report.max_1s <= 5, (f"seed {effort.seed}", report)
    assert report.max_60s <= 200, (f"seed {effort.seed}", report)
