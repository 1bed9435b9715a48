"""Counts lie, rows come twice, filters and page sizes do nothing: is the database still what the salon is, and is that said?"""

from __future__ import annotations

from typing import Any

import pytest

from support.agree import of_turns
from support.cases import tried
from support.house import assert_equal
from support.turns import Turns, open_turns

FOREVER = 10**9
SALON: dict[str, Any] = {"clients": 130, "visits": 420, "clients_cap": 40, "records_cap": 100}
SPOILED = (
    "total-zero", "total-null", "total-text", "total-negative", "total-huge", "total-fewer", "lying-total",
    "meta-absent", "meta-list", "all-twice",
    "duplicate-ids",  # always, nobody could read such a page: it loses its last row
)  # fmt: skip


ONCE = [
    ("rows-lost", 0),
    ("rows-lost", 1),
    ("rows-lost", 3),
    ("total-zero", 0),
    ("total-fewer", 1),
    ("meta-absent", 3),
    ("all-twice", 1),
]
NIGHT = ["total-zero", "total-fewer", "lying-total", "meta-absent", "all-twice", "rows-lost"]
SIZES = [(status, most) for status in (400, 422) for most in (500, 300, 200, 100, 50, 25)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Few cases, or all."""
    match metafunc.function.__name__:
        case "test_a_count_that_lies_for_ever_costs_requests_but_no_row":
            tried(metafunc, "kind", ["total-zero", "total-text", "lying-total", "meta-list", "all-twice"], SPOILED[:-1])
        case "test_a_count_that_lies_once_is_found_out_or_does_no_harm":
            tried(metafunc, "kind, place", ONCE, [(kind, place) for kind in (*SPOILED, "rows-lost") for place in (0, 1, 3)])
        case "test_a_lie_in_the_nightly_reading_deletes_nobody_and_holds_nothing_up":
            tried(metafunc, "kind", ["rows-lost", "total-fewer"], NIGHT)
        case "test_ids_that_come_again_on_the_next_page_are_one_row":
            every = [(cap, ties) for cap in (20, 25, 40, 300) for ties in ("random", "day")]
            tried(metafunc, "clients_cap, ties", [(20, "day"), (40, "random")], every)
        case "test_a_page_size_that_is_refused_is_learnt":
            tried(metafunc, "status, most", [(400, 300), (422, 50)], SIZES)


async def assert_well(turns: Turns) -> None:
    await assert_equal(turns.sim, turns.house)
    voices = await of_turns(turns)
    voices.agree(True)
    assert voices.codes() == {}


async def test_a_count_that_lies_for_ever_costs_requests_but_no_row(database_url: str, kind: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        turns.sim.fail_next(kind, times=FOREVER)
        await turns.turn()
        await assert_well(turns)
        # Without a count that can be believed, a full page must be split down to what is surely whole.
        assert turns.requests <= 400, turns.sim.report()
        salon = turns.sim.world.salons[4001]
        salon.change_client(next(iter(salon.clients)), comment="changed")
        salon.pay_record(next(iter(salon.records)))
        await turns.turn()
        await assert_well(turns)


async def test_a_count_that_lies_once_is_found_out_or_does_no_harm(database_url: str, kind: str, place: int) -> None:
    async with open_turns(database_url, **SALON) as turns:
        for match in ("/clients/4001", "/records/4001"):
            turns.sim.fail_next(kind, match=match, skip=place)
        if place == 0:
            for match in ("/services", "/service_categories", "/staff"):
                turns.sim.fail_next(kind, match=match)
        await turns.turn()
        await assert_well(turns)


async def test_a_lie_in_the_nightly_reading_deletes_nobody_and_holds_nothing_up(database_url: str, kind: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        turns.house.tomorrow_night()
        for match in ("/clients/4001", "/records/4001", "/services", "/service_categories", "/staff"):
            turns.sim.fail_next(kind, match=match)
        await turns.turn()
        await assert_well(turns)


async def test_ids_that_come_again_on_the_next_page_are_one_row(database_url: str, clients_cap: int, ties: str) -> None:
    async with open_turns(
        database_url, clients=90, visits=260, clients_cap=clients_cap, records_cap=50, tie_order=ties
    ) as turns:
        await turns.turn()
        await assert_well(turns)


async def test_a_filter_by_change_that_does_nothing_is_found_out(database_url: str) -> None:
    async with open_turns(database_url, changed_ignored=True, **SALON) as turns:
        await turns.turn()
        await assert_well(turns)
        salon = turns.sim.world.salons[4001]
        salon.change_client(next(iter(salon.clients)), comment="changed")
        salon.pay_record(next(iter(salon.records)))
        salon.delete_client(list(salon.clients)[5])
        await turns.turn(2)
        await assert_well(turns)
        assert turns.requests <= 60, turns.sim.report()  # everything is read each time, once


async def test_a_page_size_that_is_refused_is_learnt(database_url: str, status: int, most: int) -> None:
    async with open_turns(database_url, clients=120, visits=400, count_refused=most, refuse_with=status) as turns:
        await turns.turn()
        await assert_well(turns)
        refused = sum(1 for seen in turns.sim.log if seen.status == status)
        # Halving 1,000 down to 25 takes six steps a stream, each with up to six pages in flight.
        assert refused <= 2 * 6 * 6, refused
        turns.sim.forget()
        salon = turns.sim.world.salons[4001]
        salon.change_client(next(iter(salon.clients)), comment="changed")
        await turns.turn()
        await assert_well(turns)
        assert turns.sim.report().answers.get(str(status), 0) == 0  # it is remembered


@pytest.mark.parametrize("options", [{"clients": 0, "visits": 0}, {"clients": 0, "visits": 0, "empty_as_404": True}])
async def test_an_empty_salon_is_complete(database_url: str, options: dict[str, Any]) -> None:
    async with open_turns(database_url, **options) as turns:
        for salon in turns.sim.world.salons.values():
            salon.services.clear()
            salon.service_categories.clear()
            salon.staff.clear()
        await turns.turn(2)
        await assert_well(turns)
        assert turns.requests <= 12
