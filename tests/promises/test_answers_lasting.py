"""One salon's answers go wrong for long: is it said, do the others go on, is it polite, and is nothing lost in the end?"""

from __future__ import annotations

import pytest

from support.agree import of_turns
from support.cases import tried
from support.house import assert_equal
from support.turns import open_turns

STREAMS = ("services", "staff", "clients", "records")
CODES = {
    "500": "transient", "html-502": "transient", "html-504": "transient", "success-false-200": "transient",
    "empty": "transient", "truncated": "transient", "cut": "transient", "reset": "transient", "json-list": "transient",
    "data-null": "transient", "data-object": "transient", "204": "transient", "302": "transient", "html-200": "transient",
    "html-403": "transient", "html-404": "transient", "bad-gzip": "transient", "utf-16": "transient",
    "429": "throttled", "429-in-200": "throttled", "429-html": "throttled", "400": "rejected", "422": "rejected",
}  # fmt: skip
# One stream's batch asks at most so often in vain before it ends: 7 tries (max_retries: 6) of each of the seven page sizes
# from 1,000 to 25, where the size may be the cause.
MOST_A_STREAM = 7 * 7
FOREVER = 10**9
QUICK = ("html-502", "html-403", "429-in-200", "302", "422", "data-null", "truncated", "reset")
MATCHES = ("/clients/4001", "/records/4001", "/company/4001/")
LATER = ("500", "429", "json-list", "data-null", "truncated", "rows-lost")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Few cases, or all."""
    match metafunc.function.__name__:
        case "test_a_salon_that_fails_from_the_start":
            tried(metafunc, "kind", QUICK, list(CODES))
        case "test_a_salon_that_was_complete_and_fails_is_complete_until_it_is_stale":
            quick = [("500", MATCHES[0]), ("data-null", MATCHES[1]), ("429", MATCHES[2]), ("rows-lost", MATCHES[0])]
            tried(metafunc, "kind, match", quick, [(kind, match) for kind in LATER for match in MATCHES])


async def test_a_salon_that_fails_from_the_start(database_url: str, kind: str) -> None:
    async with open_turns(database_url, salons=2, clients=60, visits=150) as turns:
        turns.sim.fail_next(kind, times=FOREVER, match="/4001")
        await turns.turn()
        await assert_equal(turns.sim, turns.house, 4002)
        voices = await of_turns(turns)
        voices.agree(False)
        rows = voices.rows
        assert voices.codes() == {(4001, stream): CODES[kind] for stream in STREAMS}
        for stream in STREAMS:
            row = rows[4001, stream]
            assert (row["phase"] in ("new", "filling"), row["failures"], row["last_success_at"]) == (True, 1, None)
            assert "4001" in row["last_error"]
            assert rows[4002, stream]["phase"] == "live"
            (batch,) = await turns.batches(4001, stream)
            assert batch["outcome"] == "failed"
            assert batch["requests"] <= MOST_A_STREAM, (kind, stream, batch)
            assert batch["throttled" if CODES[kind] == "throttled" else "errors"] >= 1
        # A second try is no storm either, and nothing that was proved elsewhere suffers.
        await turns.turn()
        refused = sum(1 for seen in turns.sim.log if "/4001" in seen.path)
        assert refused <= 2 * MOST_A_STREAM * len(STREAMS)
        (await of_turns(turns)).agree(False)
        turns.sim.heal()
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        voices = await of_turns(turns)
        voices.agree(True)
        assert voices.codes() == {}


async def test_a_salon_that_was_complete_and_fails_is_complete_until_it_is_stale(
    database_url: str, kind: str, match: str
) -> None:
    async with open_turns(database_url, salons=2, clients=60, visits=150) as turns:
        await turns.turn()
        before = (await of_turns(turns)).rows
        salon = turns.sim.world.salons[4001]
        salon.change_client(next(iter(salon.clients)), comment="changed")
        salon.pay_record(next(iter(salon.records)))
        salon.add_service()
        turns.sim.fail_next(kind, times=FOREVER, match=match)
        await turns.turn()
        voices = await of_turns(turns)
        failed = {key for key in voices.codes() if key[0] == 4001}
        if kind != "rows-lost":
            assert failed
        for key in failed:
            assert voices.rows[key]["last_success_at"] == before[key]["last_success_at"], key
        voices.agree(True)  # what was proved a moment ago is still fresh
        await turns.age("4 days", ("services", "staff", "clients", "records"))
        await turns.turn()
        if kind != "rows-lost":
            (await of_turns(turns)).agree(False)
        turns.sim.heal()
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        (await of_turns(turns)).agree(True)


async def test_the_list_of_salons_fails_and_the_salons_go_on(database_url: str) -> None:
    async with open_turns(database_url, salons=2, clients=60, visits=150) as turns:
        await turns.turn()
        turns.sim.fail_next("500", times=FOREVER, match="/companies")
        for salon in turns.sim.world.salons.values():
            salon.change_client(next(iter(salon.clients)), comment="changed")
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        voices = await of_turns(turns)
        assert voices.codes() == {(0, "companies"): "transient"}
        voices.agree(True)
        await turns.age("4 days", ("companies",))
        await turns.turn()
        (await of_turns(turns)).agree(False)
        turns.sim.heal()
        await turns.turn()
        (await of_turns(turns)).agree(True)
