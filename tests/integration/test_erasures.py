"""Does what was erased stay erased, whatever comes, without anything else being missed, and does it come back when told to?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from limitlog import granting
from support.house import House, assert_equal, differences, expected_rows, open_salon
from support.patience import SAFETY_S
from support.turns import open_turns
from ycsync.cli.criteria import criteria
from ycsync.errors import Fenced
from ycsync.service.standing import as_json, judge
from ycsync.simulator import Salon, Simulator
from ycsync.store.erase import erase_client, erase_salon, erasures, readmit
from ycsync.store.report import Report
from ycsync.sync import run_batch

SALON = 4001
BOTH = ("clients", "records")
WORDS = ("Аделаида", "Первозванская", "adelaida@example.org", "9161234567", "только к Анне", "принесёт щенка")


def prepare(sim: Simulator) -> tuple[Salon, int, list[int]]:
    """A client like no other, with visits; also as the companion and as the buyer in a visit of another."""
    salon = sim.world.salons[SALON]
    victim = list(salon.clients)[7]
    salon.change_client(
        victim, name=WORDS[0], surname=WORDS[1], display_name=f"{WORDS[0]} {WORDS[1]}", email=WORDS[2],
        phone=f"+7{WORDS[3]}", comment=WORDS[4], card="",
    )  # fmt: skip
    mine = [salon.add_record(client_id=victim, comment=WORDS[5], record_labels=[{"title": WORDS[0]}]) for _ in range(3)]
    other = list(salon.clients)[9]
    salon.add_record(
        client_id=other, comer={"id": victim, "name": WORDS[0], "phone": f"+7{WORDS[3]}"},
        goods_transactions=[{"id": 5, "client_id": str(victim), "amount": -1, "comment": WORDS[5]}],
    )  # fmt: skip
    return salon, victim, mine


async def everything(house: House) -> dict[str, str]:
    """All that the schema holds, as text, by table."""
    tables = await house.database.fetch("select tablename as name from pg_tables where schemaname = 'yclients'")
    return {
        row["name"]: "\n".join(
            one["t"] for one in await house.database.fetch(f"select t::text as t from yclients.{row['name']} t")
        )
        for row in tables
    }


async def traces(house: House, victim: int) -> list[str]:
    """Where anything of the client stands: words, phone, e-mail, and the id but for the list of erasures."""
    found = []
    for table, text in (await everything(house)).items():
        found += [f"{table}: {word}" for word in WORDS if word in text]
        if table != "erasures" and re.search(rf"(?<!\d){victim}(?!\d)", text):
            found.append(f"{table}: the id")
    return found


async def agrees(house: House) -> None:
    """What verify says of the rows and their counts."""
    audit = await Report(house.database).audit("default", (SALON,))
    found = {one.name: one for one in criteria(audit, house.settings)}
    for name in ("clients", "visits", "integrity"):
        assert found[name].passed, found[name].says


async def test_whatever_comes_of_an_erased_client_nothing_is_stored_and_nothing_else_is_missed(database_url: str) -> None:
    async with open_salon(database_url, clients=60, visits=200, records_cap=90, clients_cap=25) as (sim, house):
        salon, victim, mine = prepare(sim)
        another = next(
            one for one, row in salon.records.items() if row["client"] and row["client"]["id"] != victim and not row["deleted"]
        )
        bad = salon.add_record(client_id=victim, attendance=1, comment=WORDS[5])
        dates: dict[int, dict[str, Any]] = {
            one: {key: salon.records[one][key] for key in ("date", "datetime")} for one in (bad, mine[1])
        }
        no_date: dict[str, Any] = {"date": "no date", "datetime": "no date"}
        salon.change_record(bad, **no_date)
        await house.companies()
        await house.cycle(SALON)
        assert len(await traces(house, victim)) > 10
        assert any(entity == str(bad) for _, entity, _, _ in await house.quarantined())
        salon.change_record(bad, **dates[bad])

        first = await erase_client(house.database, SALON, victim)
        assert first.rows["clients"] == 1
        assert first.cleaned["records"] >= len(mine) + 1
        assert await traces(house, victim) == []

        async def force() -> None:
            for stream in BOTH:
                await house.afresh(SALON, stream)

        async def change() -> None:
            salon.change_client(victim, comment=WORDS[4] + "!")
            salon.change_record(mine[0], comment=WORDS[5] + "!")
            salon.add_record(client_id=victim, comment=WORDS[5])

        async def night() -> None:
            house.tomorrow_night()

        async def move() -> None:
            salon.change_record(another, client_id=victim, comment=WORDS[5])

        async def spoil() -> None:
            salon.change_client(victim, visits="many")
            salon.change_record(mine[1], **no_date)
            salon.change_record(mine[2], id=0, comment=WORDS[5])

        async def mend() -> None:
            salon.change_client(victim, visits=3)
            salon.change_record(mine[1], **dates[mine[1]])
            salon.change_record(mine[2], id=mine[2])

        for what in (force, change, night, move, spoil, force, mend, force):
            await what()
            await house.cycle(SALON, BOTH)
            assert await traces(house, victim) == [], what.__name__
            await agrees(house)
        # Of the others nothing is missed, and of the visits that stay all but the person.
        expected = expected_rows(sim, salon)
        theirs = {id_ for id_, row in expected["records"].items() if row.client_id == victim}
        assert len(theirs) > len(mine)
        kept: dict[str, dict[int, Any]] = {
            "clients": {id_: row for id_, row in expected["clients"].items() if id_ != victim},
            "records": {id_: row for id_, row in expected["records"].items() if f"{victim}" not in row.raw},
        }
        assert await differences(house, {"clients": kept["clients"]}, SALON) == []
        gone = {f"records {id_}: should be gone" for id_ in expected["records"].keys() - kept["records"].keys()}
        assert set(await differences(house, {"records": kept["records"]}, SALON)) <= gone
        stored = await house.stored("records", SALON)
        for id_ in theirs:
            for column in ("visit_id", "staff_id", "starts_at", "attendance", "status", "cost", "paid", "created_at"):
                assert stored[id_][column] == getattr(expected["records"][id_], column), column
            assert stored[id_]["client_id"] is None
        # A pass over rows that did not change writes none of them.
        before = {id_: row["observed_at"] for id_, row in stored.items()}
        await force()
        await house.cycle(SALON, BOTH)
        assert {id_: row["observed_at"] for id_, row in (await house.stored("records", SALON)).items()} == before

        assert (await erase_client(house.database, SALON, victim)).total == 0
        audit = await erasures(house.database)
        assert [(one.company, one.client, one.lifted_at) for one in audit] == [(SALON, victim, None)] * 2
        assert audit[0].rows == first.by_table
        assert audit[0].seen_at is not None
        assert await readmit(house.database, SALON, victim)
        await house.cycle(SALON, BOTH)
        await assert_equal(sim, house)
        assert all(one.lifted_at is not None for one in await erasures(house.database))
        assert not await readmit(house.database, SALON, victim)


async def test_a_pass_that_overlaps_with_an_erasure_at_any_point_brings_nothing_back(database_url: str) -> None:
    async with open_salon(database_url, clients=60, visits=200, records_cap=40, clients_cap=20) as (sim, house):
        _, victim, _ = prepare(sim)
        await house.companies()
        await house.cycle(SALON)
        fenced = 0

        async def read(stream: str) -> None:
            nonlocal fenced
            while True:
                try:
                    await house.proved(SALON, stream)
                    return
                except Fenced:
                    fenced += 1

        async def erase(after: int) -> None:
            while len(sim.log) < after:
                await asyncio.sleep(0)
            await erase_client(house.database, SALON, victim)

        for after in (0, 1, 2, 4, 7, 11):
            for stream in BOTH:
                await house.afresh(SALON, stream)
            sim.forget()
            await asyncio.gather(*map(read, BOTH), erase(after))
            assert await traces(house, victim) == [], after
            await agrees(house)
            assert await readmit(house.database, SALON, victim)
            await house.cycle(SALON, BOTH)
        assert fenced >= 3, "no pass was under way"
        await assert_equal(sim, house)


@pytest.mark.parametrize("erased_there", [True, False])
async def test_who_vanishes_at_the_end_of_a_first_pass_is_missed_though_somebody_was_erased(
    database_url: str, erased_there: bool
) -> None:
    async with open_salon(database_url, clients=60, visits=50) as (sim, house):
        salon, victim, _ = prepare(sim)
        await house.companies()
        await erase_client(house.database, SALON, victim)
        await house.cycle(SALON)
        if erased_there:
            salon.delete_client(victim)
            await house.database.execute("update yclients.erasures set seen_at = seen_at - interval '1 minute'")
            await house.afresh(SALON, "clients")
            await house.cycle(SALON, BOTH)
        gone = list(salon.clients)[30]

        async def close() -> bool:
            batch = await house._batch(SALON, "clients", None, False)
            batch.claim = replace(batch.claim, wanted=True)
            assert (await run_batch(batch)).proved
            return batch.reread > 0

        assert not await close(), "an erased client is nobody who vanished"
        salon.delete_client(gone)
        assert await close()
        assert gone not in await house.live("clients", SALON)


async def test_a_pass_client_by_client_goes_on_without_the_erased_one(database_url: str) -> None:
    async with open_salon(database_url, "history: by_client", clients=40, visits=700, records_cap=50) as (sim, house):
        salon, victim, _ = prepare(sim)
        await house.companies()
        await house.cycle(SALON, ("services", "staff", "clients"))
        await house.batch(SALON, "records", units=6)
        assert await house.database.fetchval("select count(*) from yclients.history_queue") == 40
        await erase_client(house.database, SALON, victim)
        await house.proved(SALON, "records")
        assert set(await house.stored("records", SALON)) == set(salon.records)
        assert await traces(house, victim) == []
        await agrees(house)


@contextmanager
def without_requests(sim: Simulator, company: int) -> Iterator[None]:
    """Nothing is asked of this salon meanwhile."""
    sim.forget()
    yield
    assert [seen.path for seen in sim.log if str(company) in seen.path] == []


@pytest.mark.parametrize("named", ["", "companies: [4001, 4002]"])
async def test_an_erased_salon_is_not_read_until_it_is_readmitted(database_url: str, named: str) -> None:
    async with open_turns(database_url, named, clients=30, visits=60, salons=2) as turns:
        sim, house = turns.sim, turns.house
        await turns.turn(2)
        await assert_equal(sim, house)
        titles = {salon.id: salon.company["title"] for salon in sim.world.salons.values()}
        sim.world.salons[SALON].add_record(comment=WORDS[5])
        sim.forget()
        turns.scheduler.wake()
        await erase_salon(house.database, SALON)
        with without_requests(sim, SALON):
            await turns.scheduler.prepare()
            await turns.turn(2)
        held = await everything(house)
        assert [name for name, text in held.items() if titles[SALON] in text or WORDS[5] in text] == [], held["companies"]
        held.pop("erasures")
        kept = {name for name, text in held.items() if re.search(rf"(?<!\d){SALON}(?!\d)", text)}
        assert kept == set()
        standing = await Report(house.database).standing("default")
        told = as_json(standing, judge(standing, house.settings), house.settings)
        assert [one["company"] for one in told["erased"]] == [SALON]
        assert {one["company"] for one in told["streams"]} == {0, 4002}
        assert all(one["state"] == "fresh" for one in told["streams"]), told["streams"]
        assert all(one["error"] is None for one in told["streams"])
        await assert_equal(sim, house, 4002)
        assert await readmit(house.database, SALON, None)
        await turns.turn(2)
        await assert_equal(sim, house)


async def test_an_erasure_of_a_salon_holds_its_requests_and_ends_its_batches(database_url: str) -> None:
    async with open_turns(database_url, clients=30, visits=60, salons=2) as turns:
        await turns.turn(2)
        async with granting(turns.house.database) as limiter:
            limiter.unused(await asyncio.wait_for(limiter.acquire(SALON), SAFETY_S))
            turns.sim.fail_next("hang", 10**6, f"/records/{SALON}")
            await turns.house.database.execute("update yclients.sync_status set due_at = now() where stream = 'records'")
            turns.scheduler.wake()
            while not any(f"/records/{SALON}" in seen.path for seen in turns.sim.log if seen.path.startswith("/")):
                await asyncio.sleep(0.01)
            await erase_salon(turns.house.database, SALON)
            waiting = asyncio.create_task(limiter.acquire(SALON))
            limiter.unused(await asyncio.wait_for(limiter.acquire(4002), SAFETY_S))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            assert await readmit(turns.house.database, SALON, None)
            limiter.unused(await asyncio.wait_for(waiting, SAFETY_S))
