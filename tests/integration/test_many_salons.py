"""Many salons under one roof: own tokens, own presets, salons that come and go, fair turns, and one salon's trouble."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from support.house import QUICK, House, assert_equal
from support.patience import SAFETY_S, own_clock
from support.turns import Turns, open_turns
from ycsync.api import client
from ycsync.config import SalonTokens
from ycsync.scheduler import loop
from ycsync.service import standing as view
from ycsync.simulator import answers
from ycsync.simulator.world import make_salon
from ycsync.store.report import Report

COMMON, OWN = "user", "own-token-4002"
STREAMS = ("services", "staff", "clients", "records")
SMALL: dict[str, Any] = {"clients": 30, "visits": 60}


class Rights:
    """Which user token opens which salons; and which token each request came with."""

    def __init__(self, turns: Turns, monkeypatch: pytest.MonkeyPatch, rights: dict[str, set[int]]) -> None:
        self.rights = rights
        self.seen: list[tuple[int, str]] = []  # salon (0: none), user token
        judge = turns.sim._authorized

        def authorized(header: str | None, call: Any) -> Any:
            user = (header or "").rpartition("User ")[2]
            self.seen.append((call.numbers[0] if call.numbers else 0, user))
            turns.sim.world.allowed = set(self.rights.get(user, ()))
            if user not in self.rights:
                return answers.refusal(401, answers.BAD_USER)
            return judge(header, call)

        monkeypatch.setattr(turns.sim, "_authorized", authorized)

    def of(self, company: int) -> set[str]:
        return {user for seen, user in self.seen if seen == company}


def own(turns: Turns) -> None:
    turns.house.api.own = SalonTokens({4002: OWN}, {4002: "YCLIENTS_TOKEN_4002"})


@pytest.mark.parametrize("named", ["4001, 4003", "all"])
async def test_a_salons_own_token_opens_it_and_no_other(
    database_url: str, monkeypatch: pytest.MonkeyPatch, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    extra = f"companies: [{named}, {{id: 4002, user_token_env: YCLIENTS_TOKEN_4002}}]"
    async with open_turns(database_url, extra, salons=3, odd=False, **SMALL) as turns:
        own(turns)
        rights = Rights(turns, monkeypatch, {COMMON: {4001, 4003}, OWN: {4002}})
        await turns.turn()
        turns.sim.world.allowed = {4001, 4002, 4003}
        await assert_equal(turns.sim, turns.house)
        assert {company: rights.of(company) for company in (0, 4001, 4002, 4003)} == {
            0: {COMMON}, 4001: {COMMON}, 4002: {OWN}, 4003: {COMMON},
        }  # fmt: skip
        # It is refused: this salon alone stops, and says which token it is.
        del rights.rights[OWN]
        await turns.turn()
        rows = await turns.rows()
        assert {key[0] for key, row in rows.items() if row["error_code"] is not None} == {4002}
        assert {rows[4002, stream]["phase"] for stream in STREAMS} == {"stopped"}
        assert "Correct YCLIENTS_TOKEN_4002" in rows[4002, "clients"]["last_error"]
        assert rights.of(4002) == {OWN}
        # The common one is refused: the other way round.
        rights.rights = {OWN: {4002}}
        await turns.turn()
        rows = await turns.rows()
        assert {row["phase"] for (company, stream), row in rows.items() if company == 4002 and stream in STREAMS} == {"live"}
        assert rows[0, "companies"]["error_code"] == "http_401"
        assert rights.of(4002) == {OWN}
        assert OWN not in {user for company, user in rights.seen if company != 4002}
        assert OWN not in caplog.text


async def test_a_salon_whose_own_token_is_missing_is_asked_for_with_no_other(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = "companies: [4001, {id: 4002, user_token_env: YCLIENTS_TOKEN_4002}]"
    async with open_turns(database_url, extra, salons=2, **SMALL) as turns:
        turns.house.api.own = SalonTokens({}, {4002: "YCLIENTS_TOKEN_4002"})
        rights = Rights(turns, monkeypatch, {COMMON: {4001, 4002}})
        await turns.turn()
        await assert_equal(turns.sim, turns.house, 4001)
        assert not rights.of(4002)
        assert "its own user token is not there" in (await turns.rows())[4002, "clients"]["last_error"]


async def test_a_salon_with_a_preset_of_its_own_works_by_it(database_url: str) -> None:
    extra = "companies: [4001, {id: 4002, preset: other}]"
    presets = QUICK + "\n  other: " + QUICK.replace("batch_size: 80", "batch_size: 2").replace("interval: 0s", "interval: 1h")
    async with open_turns(database_url, extra, presets, salons=2, clients_cap=5, **SMALL) as turns:
        await turns.turn()
        used = {(batch["company"], batch["preset"]) for batch in await turns.batches() if batch["company"]}
        assert used == {(4001, "quick"), (4002, "other")}
        rows = await turns.rows()
        assert rows[4001, "clients"]["phase"] == "live"
        assert rows[4002, "clients"]["phase"] == "filling"
        assert rows[4002, "clients"]["requests"] == 2
        # A reload does not make it wait less than its own interval.
        await turns._all("due_at = now() + interval '3 hours'")
        await turns.scheduler.prepare()
        waits = await turns.house.database.fetch(
            "select company_id, extract(epoch from due_at - now()) as s from yclients.sync_status "
            "where stream = 'clients' order by 1"
        )
        assert [round(row["s"] / 60) for row in waits] == [5, 60]


# --- salons that appear and vanish ------------------------------------------------------------------------------------


async def told(turns: Turns) -> dict[str, Any]:
    standing = await Report(turns.house.database).standing("test")
    return view.as_json(standing, view.judge(standing, turns.house.settings), turns.house.settings)


def asked(turns: Turns, company: int) -> int:
    return sum(1 for seen in turns.sim.log if f"/{company}" in seen.path)


async def test_a_salon_appears_vanishes_and_comes_back(database_url: str) -> None:
    async with open_turns(database_url, salons=3, **SMALL) as turns:
        turns.sim.world.allowed = {4001, 4002}
        await turns.turn()
        assert asked(turns, 4003) == 0
        turns.sim.world.allowed.add(4003)
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        turns.sim.world.allowed.remove(4002)
        await turns.turn()
        turns.sim.forget()
        await turns.turn()
        assert asked(turns, 4002) == 0
        assert asked(turns, 4003) > 0
        assert len(await turns.house.live("clients", 4002)) == 30
        said = await told(turns)
        assert [one["company"] for one in said["gone"]] == [4002]
        assert said["ok"]
        turns.sim.world.allowed.add(4002)
        turns.sim.world.salons[4002].add_client(name="Новая")
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        said = await told(turns)
        assert said["gone"] == []
        assert said["ok"]


async def test_a_list_that_is_cut_off_or_empty_takes_nobody_away(database_url: str) -> None:
    async with open_turns(database_url, "streams: {services: false, staff: false, records: false}", salons=6, **SMALL) as turns:
        await turns.turn()
        for left in ({4001, 4002}, set[int]()):
            turns.sim.world.allowed = left
            await turns.turn()
            rows = await turns.rows()
            assert {company for company, stream in rows if stream == "clients"} == set(turns.sim.world.salons)
            assert rows[0, "companies"]["error_code"] in ("held_back", "apierror")
            assert len(await turns.house.pages.salons()) == 6
        turns.sim.world.allowed = set(turns.sim.world.salons)
        await turns.turn(2)
        assert (await told(turns))["ok"]


async def test_a_refusal_makes_the_list_be_read_again_and_not_for_each_one(database_url: str) -> None:
    async with open_turns(database_url, salons=7, clients=3, visits=3) as turns:
        await turns.turn()
        await turns.age("10 minutes", ["companies"])
        turns.sim.forget()

        async def refuse(company: int) -> None:
            turns.sim.world.allowed.remove(company)
            await turns.house.database.execute(
                "update yclients.sync_status set due_at = now() where company_id = $1 and stream = 'clients'", company
            )
            turns.scheduler.wake()
            async with asyncio.timeout(SAFETY_S):
                while turns.scheduler.in_flight or await turns._due():
                    await asyncio.sleep(0.01)

        await refuse(4005)
        lists = [seen for seen in turns.sim.log if seen.path == "/companies"]
        assert [one["company"] for one in (await told(turns))["gone"]] == [4005]
        turns.sim.forget()
        await refuse(4006)
        assert lists
        assert not [seen for seen in turns.sim.log if seen.path == "/companies"]
        assert (await turns.rows())[4006, "clients"]["phase"] == "stopped"


# --- fair turns -------------------------------------------------------------------------------------------------------


def enlarge(turns: Turns, companies: Sequence[int], clients: int) -> None:
    for company in companies:
        turns.sim.world.salons[company] = make_salon(
            replace(turns.sim.options, clients=clients), company - 4001, turns.sim.world.salons[company].now
        )


@asynccontextmanager
async def crowd(database_url: str, monkeypatch: pytest.MonkeyPatch, preset: str = QUICK) -> AsyncIterator[Turns]:
    """Two places for passes, both of large salons (4001, 4002: some 45 pages each) that have begun; nothing is due."""
    monkeypatch.setattr(loop, "FILLING", 2)
    monkeypatch.setattr(loop, "LOOK_S", 0.0)
    monkeypatch.setattr(loop, "POLL_S", 0.01)
    monkeypatch.setattr(loop, "TURN", 4)
    only = "streams: {services: false, staff: false, records: false}"
    async with open_turns(database_url, only, preset, salons=5, clients=10, visits=0, clients_cap=20, latency=0.004) as turns:
        enlarge(turns, (4001, 4002), clients=800)
        await turns.house.work.pause([0])  # nothing is claimed before all is in place
        await turns.house.companies()
        await turns._all("due_at = now() + interval '1 hour'")
        await turns.house.work.resume([0])
        yield turns


async def begin(house: House, *companies: int) -> None:
    await house.database.execute(
        "update yclients.sync_status set due_at = now() where stream = 'clients' and company_id = any ($1::bigint[])",
        list(companies),
    )


async def until(true: Any) -> None:
    async with asyncio.timeout(SAFETY_S):
        while not await true():
            await asyncio.sleep(0.005)


async def crowd_in(turns: Turns, *companies: int) -> None:
    """They become due, and the scheduler sees it, while what is under way waits for its answers: however slow all this is,
    the large salons get no page further meanwhile.
    """
    turns.sim.gate.clear()
    turns.sim.forget()
    await begin(turns.house, *companies)
    turns.scheduler.wake()

    async def seen() -> bool:
        return turns.scheduler.waiting.fresh is not None

    await until(seen)
    turns.sim.gate.set()


async def test_small_salons_do_not_wait_for_the_size_of_large_ones(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with crowd(database_url, monkeypatch) as turns:
        house = turns.house

        async def proved(*companies: int) -> bool:
            rows = await turns.rows()
            return all(rows[company, "clients"]["last_success_at"] is not None for company in companies)

        async def begun() -> bool:
            return asked(turns, 4001) >= 20 and asked(turns, 4002) >= 20

        await begin(house, 4001, 4002)
        turns.scheduler.wake()
        await until(begun)
        await crowd_in(turns, 4003, 4004, 4005)
        await until(lambda: proved(4003, 4004, 4005))
        beside = asked(turns, 4001) + asked(turns, 4002)
        # What was in flight, and a turn of each: not the rest of two batches of 75 pages.
        assert beside <= 2 * (4 + 6) + 12, beside
        await until(lambda: proved(4001, 4002))
        for company, salon in turns.sim.world.salons.items():
            assert await house.live("clients", company) == set(salon.clients)
        outcomes = {batch["outcome"] for batch in await turns.batches(4001, "clients")}
        assert outcomes == {"turn", "proved"} or outcomes == {"more", "proved", "turn"}


async def test_who_gave_its_place_away_goes_on_with_the_batch_that_it_had(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interval of an hour counts from the batch's beginning, and the batch has the units that it has."""
    preset = QUICK.replace("interval: 0s", "interval: 1h").replace("batch_size: 80", "batch_size: 30")
    async with crowd(database_url, monkeypatch, preset) as turns:
        house = turns.house
        await begin(house, 4001, 4002)
        turns.scheduler.wake()

        async def begun() -> bool:
            return asked(turns, 4001) >= 10 and asked(turns, 4002) >= 10

        await until(begun)
        await crowd_in(turns, 4003, 4004, 4005)

        async def waits() -> bool:
            rows = await turns.rows()
            large = [rows[company, "clients"] for company in (4001, 4002)]
            return all(row["claimed_by"] is None and row["requests"] >= 30 for row in large)

        await until(waits)
        for company in (4001, 4002):
            batches = await turns.batches(company, "clients")
            assert {batch["outcome"] for batch in batches} == {"turn", "more"}
            assert sum(batch["requests"] for batch in batches) == 30
            due = (await turns.rows())[company, "clients"]["due_at"] - batches[0]["started_at"]
            assert 3590 < due.total_seconds() < 3610


# --- one salon's trouble ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["hangs", "slow", "500", "403"])
async def test_deltas_of_others_do_not_wait_for_salons_in_trouble(
    database_url: str, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """More batches of salons in trouble than there are places, and all of them come first."""
    monkeypatch.setattr(loop, "PLACES", 4)
    monkeypatch.setattr(loop, "FILLING", 2)
    monkeypatch.setattr(loop, "POLL_S", 0.02)
    monkeypatch.setattr(client, "RELAX_S", 0.1)
    bad, good = (4001, 4002, 4003, 4004), (4005, 4006, 4007)
    async with open_turns(database_url, salons=7, clients=3, visits=3) as turns:
        await turns.turn()
        for company in bad:
            salon = turns.sim.world.salons[company]
            salon.slow = 30.0 if trouble == "slow" else 0.0
            salon.deny = "403" if trouble == "403" else None
            if trouble in ("hangs", "500"):
                turns.sim.fail_next(trouble if trouble == "500" else "hang", times=10**6, match=f"/{company}")
        house = turns.house
        since = await house.database.fetchval("select clock_timestamp()")
        await house.database.execute(
            "update yclients.sync_status set due_at = now() where stream in ('clients', 'records') and company_id <> 0"
        )
        turns.scheduler.wake()
        query = (
            "select count(*) from yclients.sync_status where stream in ('clients', 'records') "
            "and company_id = any ($1::bigint[]) and last_success_at > $2"
        )

        async def fresh() -> bool:
            return bool(await house.database.fetchval(query, list(good), since) == 2 * len(good))

        begun = own_clock()
        await until(fresh)
        assert own_clock() - begun < 8.0  # an answer that does not come is waited for ten seconds
        assert await house.database.fetchval(query, list(bad), since) == 0


async def test_a_slow_salon_gets_one_request_at_a_time_only_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    api = client.Api.__new__(client.Api)
    api._slow, api._hanging = {4001}, set()
    api._asking = Counter({4001: 6})
    assert not api._narrow(4001)
    api._asking[4002] += 1
    assert api._narrow(4001)
    assert not api._narrow(4002)
    assert api.is_slow(4001)
