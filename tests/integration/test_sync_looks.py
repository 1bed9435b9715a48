"""A first pass, and one that a command asked for, end with a look at the count: clients that were deleted are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from support.house import QUICK, House, assert_equal, follow, open_house, open_salon
from support.turns import open_turns
from ycsync.simulator import Options, Simulator
from ycsync.store.report import Report
from ycsync.sync import run_batch

SALON = 4001


async def asked(house: House, stream: str = "clients") -> Any:
    """A batch of a pass that a command asked for."""
    batch = await house._batch(SALON, stream, None, False)
    batch.claim = replace(batch.claim, wanted=True)
    assert (await run_batch(batch)).proved
    return batch


@contextmanager
def after(sim: Simulator, path: str, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Something happens right after the first answer to such a request."""
    left = [1]
    change = sim._change

    def acting(numbers: tuple[int, ...]) -> None:
        change(numbers)
        if left[0] and path in f"{sim.log[-1].path}?{sim.log[-1].query}":
            left[0] -= 1
            act()

    monkeypatch.setattr(sim, "_change", acting)
    yield
    monkeypatch.setattr(sim, "_change", change)
    assert not left[0], "it never came to that"


async def test_a_second_sync_misses_no_client_that_was_deleted(database_url: str) -> None:
    async with Simulator(Options(clients=1460, visits=50, per_second=0, per_minute=0)) as sim:
        salon = sim.world.salons[SALON]
        assert (await follow(sim, database_url)).complete
        for one in list(salon.clients)[700:720]:
            salon.delete_client(one)
        assert (await follow(sim, database_url)).complete
        async with open_house(sim.url, database_url) as house:
            assert len(await house.live("clients", SALON)) == 1440
            await assert_equal(sim, house)


@pytest.mark.parametrize("empty_as_404", [False, True])
@pytest.mark.parametrize("count", [1, 12, 20])
async def test_however_many_are_deleted_during_a_first_pass_none_is_left(
    database_url: str, monkeypatch: pytest.MonkeyPatch, count: int, empty_as_404: bool
) -> None:
    """As many as a page holds, too: the last page is beyond the end then."""
    async with open_salon(database_url, clients=200, visits=10, clients_cap=50, empty_as_404=empty_as_404) as (sim, house):
        salon = sim.world.salons[SALON]

        def vanish() -> None:
            for one in list(salon.clients)[:count]:
                salon.delete_client(one)

        await house.companies()
        with after(sim, "page=4", vanish, monkeypatch):
            await house.cycle(SALON)
        assert len(await house.live("clients", SALON)) == 200 - count
        await assert_equal(sim, house)


async def test_a_look_costs_one_request(database_url: str) -> None:
    async with open_salon(database_url, clients=200, visits=10) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        sim.forget()
        await asked(house)
        assert [seen.endpoint for seen in sim.log] == ["clients", "clients"], "a delta, and the look"
        sim.forget()
        await house.cycle(SALON, ("clients",))
        assert len(sim.log) == 1, "nobody asked"


@pytest.mark.parametrize("size", [19, 20, 40, 200, 225, 780])
async def test_one_that_came_does_not_hide_one_that_went(database_url: str, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """One is deleted before, and one is made between the delta and the look: as many as there were."""
    async with open_salon(database_url, clients=size, visits=10) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        gone = list(salon.clients)[size // 2]
        salon.delete_client(gone)
        with after(sim, "changed_after", salon.add_client, monkeypatch):
            await asked(house)
        assert gone not in await house.live("clients", SALON)


async def test_clients_deleted_while_they_are_read_again_are_gone_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_salon(database_url, clients=200, visits=10, clients_cap=50) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        salon.delete_client(list(salon.clients)[3])

        def vanish() -> None:
            salon.delete_client(next(iter(salon.clients)))

        with after(sim, "page=4", vanish, monkeypatch):
            await asked(house)
        await assert_equal(sim, house)


async def test_a_salon_that_never_rests_ends_a_pass_all_the_same(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_salon(database_url, clients=300, visits=10, clients_cap=50) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        salon.delete_client(list(salon.clients)[3])
        sim.forget()
        monkeypatch.setattr(sim, "_change", lambda _: salon.delete_client(next(iter(salon.clients))))
        for _ in range(9):  # a batch at a time, as few requests as it likes
            batch = await house._batch(SALON, "clients", 5, False)
            batch.claim = replace(batch.claim, wanted=True)
            if (await run_batch(batch)).proved:
                break
        else:
            raise AssertionError("the pass does not end")
        assert len(sim.log) < 50
        assert await house.database.fetchval("select deleted_at is not null from yclients.clients order by id limit 1")


async def test_clients_deleted_during_the_first_pass_of_a_service_are_gone(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_turns(database_url, clients=200, visits=10, clients_cap=50) as turns:
        salon = turns.sim.world.salons[SALON]

        def vanish() -> None:
            salon.delete_client(next(iter(salon.clients)))

        with after(turns.sim, "/clients/4001?page=2", vanish, monkeypatch):
            await turns.turn(2)
        assert len(await turns.house.live("clients", SALON)) == 199
        await assert_equal(turns.sim, turns.house)


async def test_a_look_that_is_owed_is_not_lost_with_the_process(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch dies between the commit that proves the stream and the look."""
    async with open_salon(database_url, clients=60, visits=10) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.proved(SALON, "clients")
        gone = list(salon.clients)[9]
        salon.delete_client(gone)
        batch = await house._batch(SALON, "clients", None, False)
        batch.claim = replace(batch.claim, wanted=True)
        with monkeypatch.context() as patch:
            patch.setattr("ycsync.sync.clients.ClientsBatch.close", _die)
            with pytest.raises(KeyboardInterrupt):
                await run_batch(batch)
        assert gone in await house.live("clients", SALON)
        await house.cycle(SALON, ("clients",))
        assert gone not in await house.live("clients", SALON)
        sim.forget()
        await house.cycle(SALON, ("clients",))
        assert len(sim.log) == 1, "it is owed once"


async def _die(_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["total-fewer", "meta-list", "total-zero", "total-huge"])
async def test_a_count_that_is_none_costs_one_reading_of_the_ids(database_url: str, kind: str) -> None:
    async with open_salon(database_url, clients=200, visits=10) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        gone = list(salon.clients)[9]
        salon.delete_client(gone)
        sim.fail_next(kind, 10_000, "/clients/")
        sim.forget()
        await asked(house)
        assert gone not in await house.live("clients", SALON)
        assert len(sim.log) <= 12
        sim.heal()
        await asked(house)
        await assert_equal(sim, house)


async def test_goods_that_were_deleted_are_gone_after_a_second_sync(database_url: str) -> None:
    extra = "streams: {goods: 24h}"
    async with open_salon(database_url, extra, clients=30, visits=300) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.work.ensure([SALON], ["goods"])
        await house.proved(SALON, "goods")
        gone = next(iter(salon.ledger.goods))
        del salon.ledger.goods[gone]
        await asked(house, "goods")
        assert gone not in await house.live("goods", SALON)


@pytest.mark.parametrize("size", [1, 2])
async def test_a_pass_whose_look_needs_more_than_a_batch_is_not_called_served(database_url: str, size: int) -> None:
    preset = QUICK.replace("batch_size: 80", f"batch_size: {size}")
    async with Simulator(Options(clients=300, visits=10, per_second=0, per_minute=0, clients_cap=50)) as sim:
        salon = sim.world.salons[SALON]
        assert (await follow(sim, database_url, preset=preset)).complete
        for one in list(salon.clients)[100:110]:
            salon.delete_client(one)
        outcome = await follow(sim, database_url, preset=preset)
        assert outcome.complete
        async with open_house(sim.url, database_url) as house:
            assert len(await house.live("clients", SALON)) == 290
            standing = await Report(house.database).standing("default")
            assert {row.done for row in standing.streams if row.stream == "clients"} == {290}


@pytest.mark.parametrize("empty_as_404", [False, True])
async def test_a_small_salon_whose_clients_are_all_gone_is_read_again(database_url: str, empty_as_404: bool) -> None:
    async with open_salon(database_url, clients=8, visits=10, empty_as_404=empty_as_404) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        for one in list(salon.clients):
            salon.delete_client(one)
        assert (await asked(house)).effect.held_back == 8, "all of them at once is asked about"
