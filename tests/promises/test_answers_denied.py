"""Token, licence or rights are refused, at the start or in the middle: only what it is about stops, and it comes back."""

from __future__ import annotations

from typing import Any

import pytest

from support.agree import of_turns
from support.cases import tried
from support.house import assert_equal
from support.turns import Turns, open_turns

STREAMS = ("services", "staff", "clients", "records")
FOREVER = 10**9
SALON: dict[str, Any] = {"salons": 3, "clients": 60, "visits": 150, "clients_cap": 25, "records_cap": 50}
# Requests that a refused salon may cost in one turn: each of its four streams may have begun when the first refusal comes,
# with up to six pages in flight.
MOST_REFUSED = 4 * 6


def refused(turns: Turns, company: int = 4002) -> int:
    return sum(1 for seen in turns.sim.log if f"/{company}" in seen.path and seen.status in (401, 402, 403))


async def assert_only_this_salon_stopped(turns: Turns, code: str, words: str) -> None:
    for other in (4001, 4003):
        await assert_equal(turns.sim, turns.house, other)
    voices = await of_turns(turns)
    voices.agree(False)
    assert voices.codes() == {(4002, stream): code for stream in STREAMS}
    for stream in STREAMS:
        row = voices.rows[4002, stream]
        assert row["phase"] == "stopped"
        assert words in row["last_error"]
    assert all(row["phase"] == "live" for (company, _), row in voices.rows.items() if company in (4001, 4003))


async def assert_back(turns: Turns) -> None:
    await turns.turn()
    await assert_equal(turns.sim, turns.house)
    voices = await of_turns(turns)
    voices.agree(True)
    assert voices.codes() == {}


KINDS = ("401", "401-partner", "402-licence", "403-licence", "403")
MATCHES = ("/clients/4002", "/records/4002", "/company/4002/staff")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Few cases, or all."""
    match metafunc.function.__name__:
        case "test_a_salon_that_was_complete_and_refuses":
            tried(metafunc, "deny, code, words", CASES[1:2], CASES)
        case "test_a_refusal_in_the_middle_of_a_pass":
            quick = [("401", MATCHES[1]), ("402-licence", MATCHES[0]), ("403", MATCHES[0]), ("401-partner", MATCHES[2])]
            tried(metafunc, "kind, match", quick, [(kind, match) for kind in KINDS for match in MATCHES])
        case "test_a_token_that_ends_for_all_salons_and_is_accepted_again":
            tried(metafunc, "kind", ["401"], ["401-partner"])


CASES = [("401", "http_401", "token"), ("402", "http_403", "licence"), ("403", "no_right", "no right to read")]


@pytest.mark.parametrize(("deny", "code", "words"), CASES)
async def test_a_salon_that_refuses_from_the_start(database_url: str, deny: Any, code: str, words: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        turns.sim.world.salons[4002].deny = deny
        await turns.turn()
        await assert_only_this_salon_stopped(turns, code, words)
        assert refused(turns) <= MOST_REFUSED
        assert {batch["outcome"] for batch in await turns.batches(4002)} == {"denied"}
        turns.sim.forget()
        await turns.turn()
        assert refused(turns) <= MOST_REFUSED
        await assert_only_this_salon_stopped(turns, code, words)
        turns.sim.world.salons[4002].deny = None
        await assert_back(turns)


async def test_a_salon_that_was_complete_and_refuses(database_url: str, deny: Any, code: str, words: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        for salon in turns.sim.world.salons.values():
            salon.change_client(next(iter(salon.clients)), comment="changed")
            salon.pay_record(next(iter(salon.records)))
        turns.sim.world.salons[4002].deny = deny
        turns.sim.forget()
        await turns.turn()
        await assert_only_this_salon_stopped(turns, code, words)
        assert refused(turns) <= MOST_REFUSED
        turns.sim.world.salons[4002].deny = None
        await assert_back(turns)


async def test_a_refusal_in_the_middle_of_a_pass(database_url: str, kind: str, match: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        turns.sim.fail_next(kind, times=FOREVER, match=match, skip=0 if "company" in match else 2)
        await turns.turn()
        for other in (4001, 4003):
            await assert_equal(turns.sim, turns.house, other)
        voices = await of_turns(turns)
        voices.agree(kind == "403" and match.endswith("staff"))
        if kind == "403":  # the right to one list
            staff = match.endswith("staff")
            assert voices.codes() == {} if staff else {(4002, match.split("/")[1]): "no_right"}
        else:
            assert set(voices.codes().values()) == {f"http_{kind[:3]}"}
            assert {company for company, _ in voices.codes()} == {4002}
        assert refused(turns) <= MOST_REFUSED
        words = {"401": "user token", "401-partner": "partner token", "403": "no right"}.get(kind, "licence")
        assert all(words in row["last_error"] for key, row in voices.rows.items() if key in voices.codes())
        turns.sim.heal()
        await assert_back(turns)


async def test_a_token_that_ends_for_all_salons_and_is_accepted_again(database_url: str, kind: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        turns.sim.fail_next(kind, times=FOREVER, skip=9)
        await turns.turn()
        voices = await of_turns(turns)
        voices.agree(False)
        assert set(voices.codes().values()) == {"http_401"}
        refusals = sum(1 for seen in turns.sim.log if seen.status == 401)
        assert refusals <= 3 * MOST_REFUSED
        turns.sim.forget()
        await turns.turn()
        assert turns.sim.report().requests <= 3 * MOST_REFUSED + 2
        turns.sim.heal()
        await turns.turn()
        await assert_back(turns)


async def test_a_salon_that_is_taken_from_the_user_and_given_back(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        turns.sim.world.allowed.discard(4002)
        turns.sim.forget()
        await turns.turn()
        assert refused(turns) <= MOST_REFUSED
        for other in (4001, 4003):
            await assert_equal(turns.sim, turns.house, other)
        stored = await turns.house.stored("companies", 4002)
        assert stored[4002]["deleted_at"] is not None
        # Its rows stay: nobody said that the clients are gone.
        assert len(await turns.house.live("clients", 4002)) == 60
        await turns.turn()
        # It is not wanted any more, so the rest is complete.
        (await of_turns(turns)).agree(True)
        turns.sim.forget()
        await turns.turn()
        assert refused(turns) == 0
        salon = turns.sim.world.salons[4002]
        salon.change_client(next(iter(salon.clients)), comment="changed")
        turns.sim.world.allowed.add(4002)
        await turns.turn(2)
        await assert_back(turns)


async def test_a_salon_that_the_settings_name_and_the_list_does_not(database_url: str) -> None:
    async with open_turns(database_url, extra="companies: [4001, 4002, 4003]", **SALON) as turns:
        await turns.turn()
        turns.sim.world.allowed.discard(4002)
        turns.sim.forget()
        await turns.turn()
        await assert_only_this_salon_stopped(turns, "http_403", "rights")
        assert refused(turns) <= MOST_REFUSED + 1
        turns.sim.world.allowed.add(4002)
        await turns.turn()
        await assert_back(turns)
