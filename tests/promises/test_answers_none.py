"""A list without rows that is answered with 404 or with `success: false`: an answer like any other, no word to delete by."""

from __future__ import annotations

from typing import Any

import pytest

from support.agree import of_turns
from support.cases import tried
from support.house import assert_equal, follow, open_house
from support.turns import Turns, open_turns
from ycsync.simulator import Options, Simulator
from ycsync.simulator.report import Seen

NEWER = "streams: {schedules: 1h, goods: 1h, goods_operations: 1h, transactions: 1h}"
WAYS: list[dict[str, Any]] = [{"empty_as_404": True}, {"empty_as_200": True}]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Few cases, or all."""
    if "way" in metafunc.fixturenames:
        tried(metafunc, "way", WAYS, WAYS)


def asked(turns: Turns) -> list[Seen]:
    """Requests of the salon, without the list of salons."""
    return [seen for seen in turns.sim.log if "4001" in seen.path]


async def quiet(turns: Turns, streams: tuple[str, ...] = ("clients", "records")) -> list[Seen]:
    """What a cycle of these streams asks."""
    turns.sim.forget()
    before = len(await turns.batches())
    await turns.only(streams)
    batches = (await turns.batches())[before:]
    assert {batch["outcome"] for batch in batches} == {"proved"}
    assert sum(batch["errors"] for batch in batches) == 0
    return asked(turns)


async def test_a_quiet_cycle_costs_two_requests_and_no_error(database_url: str, way: dict[str, Any]) -> None:
    async with open_turns(database_url, clients=60, visits=150, **way) as turns:
        await turns.turn()
        await turns.settle()
        await quiet(turns)
        turns.house.api._observe = turns.overview.attempt  # the status page and /metrics count no error either
        for _ in range(3):
            assert len(await quiet(turns)) == 2
        assert (turns.overview._counts["requests"], turns.overview._counts["errors"]) == (
            6,
            0,
        )
        voices = await of_turns(turns)
        voices.agree(True)
        assert voices.verified, voices.told["verify"]
        salon = turns.sim.world.salons[4001]
        salon.change_client(next(iter(salon.clients)), comment="changed")
        salon.pay_record(next(iter(salon.records)))
        await turns.turn()
        await assert_equal(turns.sim, turns.house)


async def test_a_salon_without_anything_is_complete_and_cheap(database_url: str, way: dict[str, Any]) -> None:
    async with open_turns(database_url, NEWER, clients=0, visits=0, **way) as turns:
        salon = turns.sim.world.salons[4001]
        for one in (salon.services, salon.service_categories, salon.staff, salon.ledger.goods, salon.ledger.operations,
                    salon.ledger.transactions, salon.ledger.schedule):  # fmt: skip
            one.clear()
        streams = ("services", "staff", "clients", "records", "schedules", "goods", "goods_operations", "transactions")
        await turns.turn(2)
        assert len(await quiet(turns)) == 2
        assert len(await quiet(turns, streams)) == 9
        voices = await of_turns(turns)
        voices.agree(True)
        assert voices.verified, voices.told["verify"]
        salon.add_client()
        salon.add_staff()
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        (await of_turns(turns)).agree(True)


async def test_goods_operations_and_payments_that_did_not_change_are_no_lost_list(database_url: str) -> None:
    async with open_turns(database_url, NEWER, clients=20, visits=60, empty_as_404=True) as turns:
        ledger = turns.sim.world.salons[4001].ledger
        for rows in (ledger.operations, ledger.transactions):
            assert rows
        await turns.turn()
        await turns.settle()
        await turns.settle("goods", "goods_operations", "transactions")
        await turns.turn()
        voices = await of_turns(turns)
        assert voices.codes() == {}
        voices.agree(True)


@pytest.mark.parametrize("match", ["GET /records/4001", "GET /goods/4001", "GET /transactions/4001"])
async def test_a_list_that_is_gone_is_not_called_unchanged(database_url: str, match: str) -> None:
    """The same 404, but the list does not show what is stored of it either."""
    async with open_turns(database_url, NEWER, clients=20, visits=60, empty_as_404=True) as turns:
        await turns.turn()
        stream = match.split("/")[1]
        turns.sim.fail_next("404", times=10**9, match=match)
        await turns.turn()
        voices = await of_turns(turns)
        assert voices.codes() == {(4001, stream): "notfound"}
        await assert_equal(turns.sim, turns.house)


async def test_a_server_that_shows_empty_lists_is_asked_twice_each_time(database_url: str) -> None:
    """Where "none" came as a list since, a 404 is a fault again until it is confirmed."""
    async with open_turns(database_url, clients=20, visits=60) as turns:
        await turns.turn()
        await turns.settle()
        for _ in range(2):
            turns.sim.fail_next("404", times=3, match="/clients/4001")
            turns.sim.fail_next("404", times=1, match="/records/4001")
            turns.sim.forget()
            await turns.turn()
            assert len([seen for seen in asked(turns) if "/records/4001" in seen.path]) == 3
            turns.sim.heal()
        (await of_turns(turns)).agree(True)


@pytest.mark.parametrize("size", [0, 20])
async def test_a_command_calls_none_no_error(database_url: str, size: int) -> None:
    options = Options(clients=size, visits=2 * size, per_second=0, per_minute=0, empty_as_404=True)
    async with Simulator(options) as sim, open_house(sim.url, database_url) as house:
        for _ in range(2):
            outcome = await follow(sim, database_url)
            assert outcome.complete, outcome.problems
        assert await house.database.fetchval("select sum(errors) from yclients.sync_batches") == 0
