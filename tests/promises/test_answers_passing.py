"""An answer goes wrong now and then, on any endpoint, on the first, a middle and the last page: is anything lost by it?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from support.agree import of_turns
from support.cases import tried
from support.house import assert_equal
from support.turns import Turns, open_turns
from ycsync.simulator.options import RARE_FAULTS, RECOVERABLE_FAULTS

SALON: dict[str, Any] = {"clients": 130, "visits": 420, "clients_cap": 40, "records_cap": 100, "latency": 0.0}
ENDPOINTS = ("GET /companies", "GET /clients/4001", "GET /records/4001", "/company/4001/services", "/company/4001/staff")
PLACES = (0, 2, 3)  # answers before the fault: the first page, a middle one, one near the end
# What may be the size of the page: it came too late, was cut off, or was not whole. Only that may make pages smaller.
MAY_BE_SIZE = ("empty", "cut", "truncated", "reset", "bad-gzip", "cut-gzip", "utf-16", "204", "html-200", "html-504")
CLEAN = 60  # more requests than this first pass takes where nothing fails (about 35)


ALL = (*RECOVERABLE_FAULTS, *RARE_FAULTS)
# Three kinds at a time in the normal suite; in a soak each kind alone at all places too.
MIXED = [ALL[n : n + 3] if n + 3 <= len(ALL) else (*ALL[n:], *ALL)[:3] for n in range(0, len(ALL), 3)]
IN_A_NIGHT = ("cut", "truncated", "empty", "429-n0", "html-502", "data-null", "rows-lost", "meta-absent", "404")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Few cases, or all."""
    match metafunc.function.__name__:
        case "test_bad_answers_of_any_kind_lose_nothing":
            tried(metafunc, "kinds", MIXED, [(kind,) * 3 for kind in ALL])
        case "test_a_short_outage_makes_no_page_smaller_and_fails_no_batch":
            tried(metafunc, "kind", ["html-502", "429"], ["500", "success-false-200", "reset", "503", "html-403"])
        case "test_a_bad_answer_in_a_quiet_cycle_and_in_a_night_recheck_deletes_nothing":
            tried(metafunc, "kind", ["truncated", "data-null", "rows-lost", "404"], IN_A_NIGHT)


def spoil(turns: Turns, kinds: Sequence[str]) -> int:
    """Every endpoint fails at its first, a middle and a late answer; returns how often in all, at most."""
    for match in ENDPOINTS:
        many = match.startswith("GET /clients") or match.startswith("GET /records")
        for place, kind in zip(PLACES, kinds, strict=True):
            turns.sim.fail_next(kind, match=match, skip=place if many else 0)
    return len(ENDPOINTS) * len(PLACES)


async def sizes(turns: Turns) -> list[int]:
    """Page sizes that the cursors remember as "larger ones failed"."""
    return [size for row in (await turns.rows()).values() if (size := json.loads(row["cursor"] or "{}").get("size"))]


async def test_bad_answers_of_any_kind_lose_nothing(database_url: str, kinds: tuple[str, ...]) -> None:
    async with open_turns(database_url, **SALON) as turns:
        most = spoil(turns, kinds)
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        voices = await of_turns(turns)
        voices.agree(True)
        assert voices.codes() == {}
        assert all(row["failures"] == 0 and row["phase"] == "live" for row in voices.rows.values())
        batches = await turns.batches()
        assert {batch["outcome"] for batch in batches} <= {"proved", "more"}, batches
        # Every fault that was met is counted, as a refusal or as an error, and was tried again.
        bad = [seen.kind for seen in turns.sim.log if seen.kind != "200"]
        assert most // 2 <= len(bad) <= most, turns.sim.report()
        throttled = sum(1 for kind in bad if kind.startswith("429"))
        assert sum(batch["throttled"] for batch in batches) == throttled, (bad, batches)
        assert sum(batch["errors"] for batch in batches) == len(bad) - throttled, (bad, batches)
        assert sum(batch["requests"] for batch in batches) == turns.requests
        # One more request for each that failed, and where pages became smaller, twice as many of them.
        assert turns.requests <= CLEAN + 2 * len(bad), turns.sim.report()
        if not set(kinds) & set(MAY_BE_SIZE):
            assert await sizes(turns) == []


async def test_a_short_outage_makes_no_page_smaller_and_fails_no_batch(database_url: str, kind: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        turns.sim.fail_next(kind, times=3, match="/clients/4001", skip=1)
        turns.sim.fail_next(kind, times=3, match="/records/4001", skip=1)
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        (await of_turns(turns)).agree(True)
        if kind != "reset":
            assert await sizes(turns) == []


async def test_a_bad_answer_in_a_quiet_cycle_and_in_a_night_recheck_deletes_nothing(database_url: str, kind: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        salon = turns.sim.world.salons[4001]
        salon.change_client(next(iter(salon.clients)), comment="changed")
        salon.move_record(next(iter(salon.records)), f"{salon.today()} 10:00:00")
        spoil(turns, (kind,) * 3)
        await turns.turn()
        turns.sim.heal()
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        turns.house.tomorrow_night()
        spoil(turns, (kind,) * 3)
        await turns.turn()
        turns.sim.heal()
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        (await of_turns(turns)).agree(True)
