"""Where two cards of one person are merged, the visits of the card that goes are the other's at the end: nothing dates that."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from support.hooked import open_hooked
from support.house import House, assert_equal, follow, open_house, open_salon
from ycsync.errors import Rejected
from ycsync.plan.sweep import Window
from ycsync.simulator import Options, Salon, Simulator
from ycsync.sync.moved import VisitsCheck

SALON = 4001
BOTH = ("clients", "records")
ASTRAY = """
select count(*) from yclients.records r join yclients.clients c on c.company_id = r.company_id and c.id = r.client_id
where c.deleted_at is not null and r.deleted_at is null
"""


def merge(salon: Salon, times: int, seed: int = 13) -> set[int]:
    """So many pairs of cards become one each; returns the living visits that moved."""
    rng, moved = random.Random(seed), set()
    for gone in rng.sample(list(salon.clients), times):
        into = rng.choice([one for one in salon.clients if one != gone])
        moved |= {one for one in salon.bookings.ids_of(gone) if not salon.bookings.rows[one].deleted}
        salon.merge_clients(gone, into)
    return moved


async def astray(house: House) -> int:
    """Living visits that name a deleted client."""
    return int(await house.database.fetchval(ASTRAY))


async def waiting(house: House) -> int:
    return int(await house.database.fetchval("select count(*) from yclients.visits_to_check"))


async def night(house: House) -> None:
    house.tomorrow_night()
    await house.cycle(SALON, BOTH)


async def test_after_merges_and_a_night_no_visit_names_a_deleted_client(database_url: str) -> None:
    async with open_salon(database_url, clients=300, visits=1200) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        assert len(merge(salon, 8)) >= 20
        await night(house)
        assert await astray(house) == 0
        assert await waiting(house) == 0
        await assert_equal(sim, house)


async def test_a_command_is_complete_when_the_visits_have_moved(database_url: str) -> None:
    async with Simulator(Options(clients=300, visits=1200, per_second=0, per_minute=0)) as sim:
        salon = sim.world.salons[SALON]
        assert (await follow(sim, database_url)).complete
        assert merge(salon, 8)
        assert (await follow(sim, database_url)).complete
        async with open_house(sim.url, database_url) as house:
            assert await astray(house) == 0
            await assert_equal(sim, house)


async def test_a_webhook_that_tells_of_the_deleted_card_brings_its_visits(database_url: str) -> None:
    async with open_hooked(database_url, clients=40, visits=400) as hooked:
        salon, house = hooked.salon, hooked.house
        gone, into = sorted(salon.clients, key=lambda one: -len(salon.bookings.ids_of(one)))[:2]
        assert len(salon.bookings.ids_of(gone)) > 3
        salon.merge_clients(gone, into)
        await hooked.until(f"select deleted_at is not null from yclients.clients where id = {gone}", True)
        await house.database.execute("update yclients.sync_status set due_at = now() where stream = 'records'")
        hooked.scheduler.wake()
        await hooked.until("select count(*) from yclients.visits_to_check", 0)
        await hooked.until(ASTRAY, 0)


async def test_a_client_that_was_only_deleted_costs_one_request_and_keeps_its_visits(database_url: str) -> None:
    async with open_salon(database_url, clients=100, visits=1200, records_cap=50) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        gone = max(salon.clients, key=lambda one: len(salon.bookings.ids_of(one)))
        salon.delete_client(gone)
        house.tomorrow_night()
        await house.cycle(SALON, ("clients",))
        living = await astray(house)
        assert living > 3
        assert await waiting(house) >= living
        before = await house.live("records", SALON)
        sim.forget()
        await house.cycle(SALON, ("records",))
        assert sum(f"client_id={gone}" in seen.query for seen in sim.log) == 1
        assert await waiting(house) == 0
        assert await astray(house) == living
        assert await house.live("records", SALON) == before
        await assert_equal(sim, house)
        sim.forget()
        await house.cycle(SALON, ("records",))
        assert len(sim.log) == 1, "asked once"


@pytest.mark.parametrize("refused", ["client_id=", "start_date="])
async def test_a_question_that_is_refused_keeps_no_delta_from_coming(
    database_url: str, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    # Which question costs less decides: of one client with visits in many windows, or of few windows with visits of three.
    alone = refused == "client_id="
    async with open_salon(database_url, clients=12 if alone else 60, visits=600, records_cap=50 if alone else 1000) as (
        sim,
        house,
    ):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        merge(salon, 1 if alone else 3)
        house.tomorrow_night()
        await house.cycle(SALON, ("clients",))
        read, asked = VisitsCheck._ask, []

        async def refusing(self: VisitsCheck, window: Window, number: int = 1) -> Any:
            named = "client_id=" if window.client_id is not None else "start_date="
            if named == refused:
                monkeypatch.setattr(self, "read", refuse)
            return await read(self, window, number)

        async def refuse(*_: object) -> None:
            asked.append(refused)
            raise Rejected("salon 4001, records: YCLIENTS refuses the request (HTTP 422)")

        monkeypatch.setattr(VisitsCheck, "_ask", refusing)
        salon.change_record(changed := next(iter(salon.records)), comment="words")
        await house.cycle(SALON, ("records",))
        comment = await house.database.fetchval("select comment from yclients.records where id = $1", changed)
        assert comment == "words", "the delta came"
        assert asked, "and it was asked"
        monkeypatch.undo()
        await house.cycle(SALON, ("records",))
        assert await astray(house) == 0
        assert await waiting(house) == 0
        await assert_equal(sim, house)


async def test_a_day_that_is_refused_keeps_no_other_from_being_asked_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_salon(database_url, clients=60, visits=600) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        merge(sim.world.salons[SALON], 3)
        house.tomorrow_night()
        await house.cycle(SALON, ("clients",))
        before, read, asked = await waiting(house), VisitsCheck._ask, []

        async def refusing(self: VisitsCheck, window: Window, number: int = 1) -> Any:
            oldest = min(one.day for one in self.waiting.values())
            if window.lo is not None and window.hi is not None and window.lo <= oldest <= window.hi:
                asked.append(window)
                self.refused += 1
                return None
            return await read(self, window, number)

        monkeypatch.setattr(VisitsCheck, "_ask", refusing)
        for _ in range(4):
            await house.cycle(SALON, ("records",))
        assert asked
        assert await waiting(house) < before / 4
        monkeypatch.undo()
        await house.cycle(SALON, ("records",))
        assert await waiting(house) == 0
        await assert_equal(sim, house)


async def test_many_merges_cost_no_more_than_a_reading_of_everything(database_url: str) -> None:
    async with open_salon(database_url, clients=400, visits=4000, records_cap=300) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        moved = merge(salon, 39)
        house.tomorrow_night()
        await house.cycle(SALON, ("clients",))
        assert await waiting(house) >= len(moved) > 200
        sim.forget()
        await house.cycle(SALON, ("records",))
        assert await astray(house) == 0
        assert len([seen for seen in sim.log if seen.endpoint == "records"]) <= 25, "a reading of everything takes 17"
        await assert_equal(sim, house)


async def test_a_check_that_is_stopped_goes_on_where_it_was(database_url: str) -> None:
    """Each batch may ask two requests, and the process dies after each."""
    async with open_salon(database_url, clients=300, visits=3000, records_cap=60) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        assert merge(salon, 20)
        house.tomorrow_night()
        await house.cycle(SALON, ("clients",))
        left = await waiting(house)
        for _ in range(200):
            await house.batch(SALON, "records", units=2)
            now = await waiting(house)
            assert now <= left
            left = now
            if not left:
                break
        assert left == 0
        assert await astray(house) == 0


@pytest.mark.parametrize("kind", ["client", "dates", "absent", "low", "page"])
async def test_a_server_that_filters_or_counts_otherwise_loses_no_visit(
    database_url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async with open_salon(database_url, clients=100, visits=900, records_cap=100) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        merge(salon, 6)
        plain = list(salon.clients)[5]
        salon.delete_client(plain)
        before = await house.live("records", SALON)
        house.tomorrow_night()
        await house.cycle(SALON, ("clients",))
        find = type(salon.bookings).find

        def otherwise(self: Any, wanted: Any, *args: Any, **options: Any) -> tuple[list[int], int]:
            if kind == "client":
                wanted = replace(wanted, client_id=None)
            if kind == "dates":
                wanted = replace(wanted, first_day=None, last_day=None)
            ids, total = find(self, wanted, *args, **options)
            return ids, {"low": max(0, total - 7), "page": len(ids)}.get(kind, total)

        if kind == "absent":
            sim.fail_next("meta-list", 10_000, "/records/")
        monkeypatch.setattr(type(salon.bookings), "find", otherwise)
        for _ in range(2):
            await house.cycle(SALON, ("records",))
        assert await house.live("records", SALON) == before
        assert await waiting(house) == 0
        monkeypatch.undo()
        sim.heal()
        if kind == "dates":
            await night(house)  # such a server's nights read everything
        await assert_equal(sim, house)
