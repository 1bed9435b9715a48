"""A token, a licence or a salon that is refused once and good again soon: how soon is it seen, and what do the looks cost?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.agree import of_turns
from support.house import assert_equal, follow
from support.turns import Turns, open_turns
from ycsync.scheduler import loop, runner
from ycsync.service.follow import Wish
from ycsync.simulator import Options, Simulator
from ycsync.store.database import Database

STREAMS = ("services", "staff", "clients", "records")
SALON: dict[str, Any] = {"salons": 3, "clients": 20, "visits": 40}
FOREVER = 10**9


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same looks, a twentieth of the time apart."""
    monkeypatch.setattr(runner, "LOOKS_S", tuple(seconds / 20 for seconds in runner.LOOKS_S[:3]) + runner.LOOKS_S[3:])
    monkeypatch.setattr(loop, "POLL_S", 0.02)


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await what():
            await asyncio.sleep(0.02)


async def phases(turns: Turns, company: int) -> set[str]:
    return {row["phase"] for (salon, stream), row in (await turns.rows()).items() if salon == company and stream in STREAMS}


async def fails(turns: Turns, times: int, company: int = 4002) -> None:
    """Wait until the salon was refused so often in a row, and what looked is not at it now."""

    async def so_often() -> bool:
        rows = [row for (salon, stream), row in (await turns.rows()).items() if salon == company and stream in STREAMS]
        return all(row["failures"] >= times and row["claimed_by"] is None for row in rows)

    await until(so_often)


def of(turns: Turns, company: int) -> list[str]:
    return [seen.path for seen in turns.sim.log if str(company) in seen.path]


def test_the_looks_come_in_seconds_then_minutes_then_each_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    waits = [runner._look_s(n) for n in range(1, 9)]
    assert waits == [4.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 3600.0, 3600.0]


@pytest.mark.parametrize("kind", ["401", "403-licence", "402-licence"])
async def test_a_refusal_that_passes_stops_a_salon_for_seconds(database_url: str, kind: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        turns.sim.fail_next(kind, match="/clients/4002")
        await turns.only(("clients",))

        async def back() -> bool:
            return await phases(turns, 4002) == {"live"}

        assert "denied" in {batch["outcome"] for batch in await turns.batches(4002)}
        # `only` puts everything off for an hour at its end: one stream looks, as it was about to, and wakes the others.
        await turns.house.database.execute(
            "update yclients.sync_status set due_at = now() where company_id = 4002 and stream = 'clients'"
        )
        turns.scheduler.wake()
        await until(back)
        voices = await of_turns(turns)
        voices.agree(True)
        assert voices.codes() == {}
        await assert_equal(turns.sim, turns.house)


async def test_each_look_at_a_salon_costs_one_request(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        turns.sim.world.salons[4002].deny = "401"
        await turns.due("4002")
        await fails(turns, 1)
        turns.sim.forget()
        await fails(turns, 3)
        assert len(of(turns, 4002)) == 2
        rows = await turns.rows()
        due = sorted(rows[4002, stream]["due_at"] for stream in STREAMS)
        assert (due[1] - due[0]).total_seconds() > 3000  # the others sleep
        turns.sim.world.salons[4002].deny = None

        async def back() -> bool:
            return await phases(turns, 4002) == {"live"}

        await until(back)
        await assert_equal(turns.sim, turns.house)


async def test_while_the_token_is_refused_for_all_the_list_alone_looks(database_url: str) -> None:
    async with open_turns(database_url, **{**SALON, "salons": 12}) as turns:
        await turns.turn()
        await turns.age("1 hour", ["companies"])
        turns.sim.fail_next("401", times=FOREVER)
        await turns.due("4")
        for company in range(4001, 4013):
            await fails(turns, 1, company)

        async def list_refused() -> bool:
            return bool((await turns.rows())[0, "companies"]["error_code"] == "http_401")

        await until(list_refused)
        turns.sim.forget()
        await turns.house.work.wake()  # as a restart does: one stream of each salon is due

        async def looked() -> bool:
            waits = all(row["due_at"] is None or row["due_at"] > woken_at for row in (await turns.rows()).values())
            return waits and bool(turns.sim.log) and not turns.scheduler.in_flight

        woken_at = await turns.house.database.fetchval("select clock_timestamp()")
        await until(looked)
        assert {seen.path for seen in turns.sim.log} == {"/companies"}
        turns.sim.heal()
        await turns.house.work.wake()

        async def all_back() -> bool:
            return {row["phase"] for row in (await turns.rows()).values()} == {"live"}

        await until(all_back)
        await assert_equal(turns.sim, turns.house)
        (await of_turns(turns)).agree(True)


@pytest.mark.parametrize("match", ["/companies", "/clients/4001", "/records/4001"])
async def test_a_command_goes_on_after_one_refusal(database_url: str, match: str) -> None:
    async with Simulator(Options(clients=20, visits=40, per_second=0, per_minute=0)) as sim:
        sim.fail_next("401", match=match)
        outcome = await follow(sim, database_url)
        assert outcome.complete, outcome.problems


@pytest.mark.parametrize("first", ["companies", "staff"])
async def test_a_command_ends_after_a_second_refusal_and_says_it_once(database_url: str, first: str) -> None:
    async with Simulator(Options(clients=20, visits=40, per_second=0, per_minute=0)) as sim:
        sim.fail_next("401", times=FOREVER, match="" if first == "companies" else "/4001")
        outcome = await follow(sim, database_url)
        assert not outcome.complete
        assert all("the user token is not accepted" in said for said in outcome.problems)
        assert len(outcome.problems) == len({said.split(": ")[0] for said in outcome.problems})
        refused = sum(seen.status == 401 for seen in sim.log)
        assert refused == 2 if first == "companies" else refused <= 4 * 6 + 1
        # The next one asks the list first, and so finds at once that the token is good again.
        sim.heal()
        again = await follow(sim, database_url, wish=Wish((), ("clients",), {}))
        assert again.complete, again.problems


async def test_a_stream_without_its_right_does_not_hold_up_a_command(database_url: str) -> None:
    async with Simulator(Options(clients=20, visits=40, per_second=0, per_minute=0)) as sim:
        sim.world.salons[4001].refuses = {"clients"}
        outcome = await follow(sim, database_url)
        assert not outcome.complete
        (said,) = outcome.problems
        assert said.startswith("salon 4001, clients: no right to read clients (HTTP 403). Ask the salon's owner")
        done = {row.stream: row.phase for row in outcome.rows}
        assert done["records"] == done["staff"] == done["services"] == "live"


async def test_those_that_are_refused_together_choose_one_that_looks(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        work, database = turns.house.work, turns.house.database
        for stream in STREAMS:
            await database.execute(
                "update yclients.sync_status set phase = 'stopped', error_code = 'http_401', failures = 1, "
                "due_at = now() + interval '4 s' where company_id = 4002 and stream = $1",
                stream,
            )
        await asyncio.gather(*(work.stop_company(4002, 4.0, "refused", "http_401", 1) for _ in STREAMS))
        assert await looks(database) == 1
        failures = await database.fetchval("select max(failures) from yclients.sync_status where company_id = 4002")
        assert failures == 1  # together they are one refusal


async def looks(database: Database) -> int:
    """How many of the salon's streams are due within a minute."""
    found: int = await database.fetchval(
        "select count(*) from yclients.sync_status where company_id = 4002 and due_at < now() + interval '1 minute' "
        "and stream <> 'hooks'"
    )
    return found
