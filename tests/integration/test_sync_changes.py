"""Nothing deleted by mistake, nothing missed: what do cycles, nights and spoilt answers do to rows that are there?"""

from __future__ import annotations

import pytest

from support.house import House, assert_equal, follow, open_house, open_salon, still
from ycsync.errors import NotFound, Transient
from ycsync.service.follow import Wish
from ycsync.simulator import Options, Simulator
from ycsync.sync.batch import OUTAGE_BATCHES
from ycsync.sync.clients import FEWEST, MOST

SALON = 4001
BOTH = ("clients", "records")


async def night(house: House, *streams: str) -> None:
    house.tomorrow_night()
    await house.cycle(SALON, streams or BOTH)


@pytest.mark.parametrize("visits", [150, 1500])
async def test_a_quiet_cycle_is_two_requests(database_url: str, visits: int) -> None:
    async with open_salon(database_url, clients=100, visits=visits) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        sim.forget()
        for _ in range(3):
            await house.cycle(SALON, BOTH)
        assert [seen.endpoint for seen in sim.log] == ["clients", "records"] * 3


async def test_a_change_is_there_within_one_cycle(database_url: str) -> None:
    async with open_salon(database_url, clients=100, visits=1500) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        salon = sim.world.salons[SALON]
        ids = list(salon.records)
        salon.add_record("2026-03-04 12:00:00")
        salon.move_record(ids[0], "2025-11-11 10:00:00")
        salon.cancel_record(ids[1])
        salon.pay_record(ids[2])
        salon.change_client(min(salon.clients), comment="просит звонить")
        salon.add_client(name="Новая")
        await house.cycle(SALON, BOTH)
        await assert_equal(sim, house)
        salon.restore_record(ids[1])
        await house.cycle(SALON, BOTH)
        await assert_equal(sim, house)


async def test_a_payment_that_leaves_no_trace_is_found_at_night(database_url: str) -> None:
    async with open_salon(database_url, clients=100, visits=1500) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        salon = sim.world.salons[SALON]
        salon.pay_record(salon.add_record(), stamp=False)
        await house.cycle(SALON, BOTH)
        salon.pay_record(max(salon.records), stamp=False)
        await night(house)
        await assert_equal(sim, house)


@pytest.mark.parametrize("visits", [150, 1500])
async def test_deleted_clients_and_purged_visits_are_swept_at_night_and_return(database_url: str, visits: int) -> None:
    async with open_salon(database_url, clients=100, visits=visits) as (sim, house):
        salon = sim.world.salons[SALON]
        recent = salon.add_record()
        await house.companies()
        await house.cycle(SALON)
        client_id = list(salon.clients)[50]
        salon.delete_client(client_id)
        salon.purge_record(recent)
        await house.cycle(SALON, BOTH)
        assert recent in await house.live("records", SALON)
        await night(house)
        assert recent not in await house.live("records", SALON)
        assert client_id not in await house.live("clients", SALON)
        salon.return_client(client_id)
        house.now = None
        await house.cycle(SALON, BOTH)
        assert client_id in await house.live("clients", SALON)


async def test_a_night_on_which_half_of_the_clients_are_hidden_deletes_nobody_until_asked_to(database_url: str) -> None:
    async with open_salon(database_url, clients=100, visits=50) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        salon = sim.world.salons[SALON]
        hidden = list(salon.clients)[:50]
        for one in hidden:
            salon.delete_client(one)
        await night(house)
        assert len(await house.live("clients", SALON)) == 100
        assert house.results[-2].held_back == 50
        # They are all back, unchanged as far as the list says: nobody is missing any more.
        for one in hidden:
            salon._put_client(salon._gone_clients[one])
        await night(house)
        assert len(await house.live("clients", SALON)) == 100
        for one in hidden:
            salon.delete_client(one)
        house.tomorrow_night()
        await house.proved(SALON, "clients", confirm=True)
        assert len(await house.live("clients", SALON)) == 50


async def test_a_visit_that_moves_between_windows_is_at_no_time_shown_as_deleted(database_url: str) -> None:
    async with open_salon(database_url, clients=60, visits=900, records_cap=100) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        salon = sim.world.salons[SALON]
        oldest = min(salon.records, key=lambda one: salon.records[one]["date"])
        await house.afresh(SALON, "records")
        await house.batch(SALON, "records", units=4)  # the newest windows are read
        salon.move_record(oldest, "2026-11-20 12:00:00")
        for _ in range(200):
            result = await house.batch(SALON, "records", units=1)
            assert oldest in await house.live("records", SALON)
            if result.proved:
                break
        await assert_equal(sim, house)


@pytest.mark.parametrize("kind", ["wrong-types", "duplicate-ids", "nul", "zero-date", "huge-number", "lying-total"])
@pytest.mark.parametrize("cap", [1000, 60])
async def test_spoilt_answers_delete_nothing_and_lose_nothing_for_longer_than_they_last(
    database_url: str, kind: str, cap: int
) -> None:
    async with open_salon(database_url, clients=90, visits=200, records_cap=cap, clients_cap=min(cap, 300)) as (sim, house):
        await house.companies()
        for path in ("GET /clients/", "GET /records/", "/services", "/staff"):
            sim.fail_next(kind, 2, path)
        await house.cycle(SALON)
        if kind == "duplicate-ids":
            await assert_equal(sim, house)
        for path in ("GET /clients/", "GET /records/", "/services", "/staff"):
            sim.fail_next(kind, 2, path)
        before = {table: await house.live(table, SALON) for table in ("clients", "records", "services", "staff")}
        await house.afresh(SALON, "clients")
        await house.afresh(SALON, "records")
        await house.cycle(SALON)
        for table, ids in before.items():
            assert ids <= await house.live(table, SALON), table
        still(sim)
        await house.afresh(SALON, "clients")
        await house.afresh(SALON, "records")
        await house.cycle(SALON)
        await assert_equal(sim, house)
        assert all(resolved for _, entity, _, resolved in await house.quarantined() if entity is not None)


async def test_masked_contacts_keep_the_phones_that_are_known(database_url: str) -> None:
    async with open_salon(database_url, clients=40, visits=40) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        before = {one: row["phone"] for one, row in (await house.stored("clients", SALON)).items()}
        sim.world.salons[SALON].masked = True
        await night(house)
        after = {one: row["phone"] for one, row in (await house.stored("clients", SALON)).items()}
        assert after == {one: phone for one, phone in before.items()}


async def test_filters_that_the_server_ignores_lose_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ycsync.simulator.endpoints._day", lambda call, key: None)
    async with open_salon(database_url, clients=60, visits=300, records_cap=100, tie_order="id", undated="all") as (
        sim,
        house,
    ):
        await house.companies()
        await house.cycle(SALON)
        await assert_equal(sim, house)


async def test_a_salon_that_is_not_there_is_no_empty_salon(database_url: str) -> None:
    async with open_salon(database_url, clients=20, visits=20) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        sim.world.salons.pop(SALON)
        for stream in BOTH:
            with pytest.raises(NotFound):
                await house.batch(SALON, stream)
        assert len(await house.live("clients", SALON)) == 20


def sizes(sim: Simulator, endpoint: str) -> set[int]:
    """The page sizes that were asked for; a question for the count alone has none."""
    asked = {int(seen.query.split("count=")[1].split("&")[0]) for seen in sim.log if seen.endpoint == endpoint}
    return asked - {1}


async def test_pages_that_are_cut_off_together_are_asked_half_as_large_once(database_url: str) -> None:
    async with open_salon(database_url, clients=20, visits=3000, records_cap=1000) as (sim, house):
        await house.companies()
        await house.cycle(SALON, ("services", "staff", "clients"))
        await house.batch(SALON, "records", units=1)
        sim.fail_next("cut", 40, "GET /records/")
        await house.proved(SALON, "records")
        assert sizes(sim, "records") == {1000, 500}
        await assert_equal(sim, house)


async def test_an_outage_ends_the_batch_and_makes_no_page_smaller(database_url: str) -> None:
    async with open_salon(database_url, clients=700, visits=3000, records_cap=1000) as (sim, house):
        await house.companies()
        await house.cycle(SALON, ("services", "staff"))
        sim.fail_next("html-502", 1000)
        for stream in BOTH:
            with pytest.raises(Transient, match="502"):
                await house.batch(SALON, stream)
        sim.heal()
        await house.cycle(SALON, BOTH)
        assert sizes(sim, "records") == {1000}
        assert max(sizes(sim, "clients")) == 300
        looks = {size for size in sizes(sim, "clients") if size in range(FEWEST, MOST + 1)}
        assert len(looks) == 1, "the look at the count that ends a first pass"
        assert min(sizes(sim, "clients") - looks) > 150, "only what an overlap needs"
        await assert_equal(sim, house)


async def test_pages_that_go_on_failing_are_too_large_after_all_but_only_what_works_is_remembered(database_url: str) -> None:
    async with open_salon(database_url, clients=20, visits=3000, records_cap=1000) as (sim, house):
        await house.companies()
        await house.cycle(SALON, ("services", "staff", "clients"))
        sim.fail_next("500", 10_000, "count=1000")
        house.failures = OUTAGE_BATCHES
        await house.proved(SALON, "records")
        assert sizes(sim, "records") == {1000, 500}
        house.failures = 0
        sim.forget()
        sim.fail_next("cut", 10_000, "GET /records/")
        with pytest.raises(Transient):
            await house.batch(SALON, "records")
        assert min(sizes(sim, "records")) == 25
        sim.heal()
        sim.forget()
        await house.proved(SALON, "records")
        assert sizes(sim, "records") == {500}, "a size at which nothing came either is not kept"


async def test_faults_of_every_kind_end_complete_through_the_whole_command(database_url: str) -> None:
    preset = (
        "{batch_size: 80, interval: 0s, per_minute: 6000, per_second: 500, min_delay: 0ms, max_retries: 9, recheck_days: 60}"
    )
    options = Options(clients=300, visits=1500, per_second=0, per_minute=0, records_cap=300)
    async with Simulator(options) as sim:
        for kind in ("500", "html-502", "empty", "cut", "truncated", "reset", "success-false-200"):
            sim.fail_next(kind, 1, "GET /records/")
            sim.fail_next(kind, 1, "GET /clients/")
        outcome = await follow(sim, database_url, preset=preset, wish=Wish((), ("companies", *BOTH), {}))
        assert outcome.complete
        async with open_house(sim.url, database_url) as house:
            salon = sim.world.salons[SALON]
            assert await house.live("clients", SALON) == set(salon.clients)
            assert set(await house.stored("records", SALON)) == set(salon.records)
