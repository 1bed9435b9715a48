"""Do the database, the status, the readiness and the verification say the same, whatever has happened?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.agree import of_turns
from support.cases import tried
from support.house import QUICK, assert_equal
from support.turns import Turns, open_turns
from ycsync.config import parse_settings

FOREVER = 10**9
SALON: dict[str, Any] = {"salons": 2, "clients": 60, "visits": 150}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Few cases, or all."""
    match metafunc.function.__name__:
        case "test_what_was_proved_too_long_ago_is_stale_for_all":
            every = ["clients", "records", "services", "staff", "companies"]
            tried(metafunc, "stream", ["clients", "companies"], every)
        case "test_a_stream_that_is_switched_off_is_nobodys_concern":
            tried(metafunc, "kind", ["401", "500"], ["429", "403-licence", "success-false-200"])


async def test_before_anything_and_in_the_middle_nobody_says_complete(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        (await of_turns(turns)).agree(False)
        turns.sim.fail_next("500", times=FOREVER, match="/records/4002")
        await turns.turn()
        voices = await of_turns(turns)
        voices.agree(False)
        assert voices.rows[4001, "records"]["phase"] == "live"
        turns.sim.heal()
        await turns.turn()
        (await of_turns(turns)).agree(True)


async def test_what_was_proved_too_long_ago_is_stale_for_all(database_url: str, stream: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        cadence = turns.house.settings.streams[stream]
        assert cadence is not None
        limit = cadence * 3 + timedelta(minutes=2)
        await turns.age(f"{limit.total_seconds() - 30} seconds", [stream])
        (await of_turns(turns)).agree(True)
        await turns.age("60 seconds", [stream])
        (await of_turns(turns)).agree(False)
        await turns.turn()
        (await of_turns(turns)).agree(True)


async def test_a_batch_that_moves_rows_but_proves_nothing_does_not_refresh(database_url: str) -> None:
    async with open_turns(database_url, clients=90, visits=300, clients_cap=25, records_cap=60) as turns:
        await turns.turn()
        before = (await of_turns(turns)).rows
        salon = turns.sim.world.salons[4001]
        for client in list(salon.clients):
            salon.change_client(client, comment="changed")
        for record in list(salon.records):
            salon.pay_record(record)
        # Some pages come, the rest does not.
        turns.sim.fail_next("500", times=FOREVER, match="/clients/4001", skip=2)
        turns.sim.fail_next("500", times=FOREVER, match="/records/4001", skip=2)
        await turns.turn()
        after = (await of_turns(turns)).rows
        batches = await turns.batches(4001, "clients")
        assert batches[-1]["outcome"] == "failed"
        assert batches[-1]["rows"] > 0  # rows did move
        for stream in ("clients", "records"):
            for column in ("last_success_at", "proved_as_of"):
                assert after[4001, stream][column] == before[4001, stream][column], (stream, column)
            assert after[4001, stream]["error_code"] == "transient"
        await turns.age("1 hour")
        (await of_turns(turns)).agree(False)
        await turns.turn()
        (await of_turns(turns)).agree(False)
        turns.sim.heal()
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        (await of_turns(turns)).agree(True)


async def test_a_sweep_that_asks_is_not_complete_until_it_is_answered(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        salon = turns.sim.world.salons[4001]
        for client in list(salon.clients)[:20]:
            salon.delete_client(client)
        turns.house.tomorrow_night()
        await turns.turn()
        voices = await of_turns(turns)
        voices.agree(False)
        assert voices.codes() == {(4001, "clients"): "held_back"}
        assert "--confirm-deletions" in voices.rows[4001, "clients"]["last_error"]
        await turns.turn()  # a quiet cycle settles nothing
        (await of_turns(turns)).agree(False)
        await turns.house.work.want([4001], ["clients"], {"confirm_deletions": True}, afresh=True)
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        (await of_turns(turns)).agree(True)


@pytest.mark.parametrize("company", [0, 4001])
async def test_a_pause_is_no_failure_but_what_it_makes_old_is_stale(database_url: str, company: int) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        await turns.house.work.pause([company])
        (await of_turns(turns)).agree(True)
        await turns.age("1 hour")
        (await of_turns(turns)).agree(False)
        await turns.house.work.resume([company])
        await turns.turn()
        (await of_turns(turns)).agree(True)


async def test_a_pass_that_was_asked_for_from_the_beginning_is_not_complete_before_it_is(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        await turns.house.afresh(4001, "records")
        (await of_turns(turns)).agree(False)
        turns.sim.fail_next("500", times=FOREVER, match="/records/4001", skip=1)
        await turns.turn()
        (await of_turns(turns)).agree(False)
        turns.sim.heal()
        await turns.turn()
        (await of_turns(turns)).agree(True)


async def test_rows_in_quarantine_do_not_pass_the_verification(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        salon = turns.sim.world.salons[4001]
        record = next(iter(salon.records))
        date = salon.records[record]["date"]
        salon.change_record(record, date="no date")
        await turns.turn()
        voices = await of_turns(turns)
        voices.agree(True)
        assert voices.verified is False
        salon.change_record(record, date=date)
        await turns.turn()
        voices = await of_turns(turns)
        voices.agree(True)
        assert voices.verified is True


async def test_a_stream_that_is_switched_off_is_nobodys_concern(database_url: str, kind: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        turns.sim.fail_next(kind, times=FOREVER, match="/company/4001/staff")
        await turns.turn()
        voices = await of_turns(turns)
        voices.agree(False)
        await reload(turns, "streams: {staff: false}")
        turns.sim.heal()
        await turns.turn()
        voices = await of_turns(turns)
        voices.agree(True)


async def test_a_salon_that_is_not_wanted_any_more_is_nobodys_concern(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        turns.sim.world.salons[4002].deny = "403"
        await turns.turn()
        (await of_turns(turns)).agree(False)
        await reload(turns, "companies: [4001]")
        await turns.turn()
        (await of_turns(turns)).agree(True)


async def test_the_list_of_salons_counts_even_when_its_own_schedule_is_off(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        await reload(turns, "streams: {companies: false}")
        await turns.turn()
        (await of_turns(turns)).agree(True)
        await turns.age("5 days", ["companies"])
        (await of_turns(turns)).agree(False)
        await turns.turn()  # the time zones come from there, and new salons
        (await of_turns(turns)).agree(True)


async def test_a_server_whose_clock_is_behind_is_as_stale_for_one_as_for_the_other(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        # What is proved is as old as the earlier of the two clocks says; the commit itself was a moment ago.
        await turns.house.database.execute(
            f"update {turns.house.database.schema}.sync_status set proved_as_of = proved_as_of - interval '1 hour' "
            "where stream = 'records'"
        )
        (await of_turns(turns)).agree(False)


async def test_no_salon_at_all_is_not_complete(database_url: str) -> None:
    async with open_turns(database_url, salons=1, clients=3, visits=3) as turns:
        turns.sim.world.allowed.clear()
        await turns.turn()
        voices = await of_turns(turns)
        voices.agree(False)
        assert voices.codes() == {(0, "companies"): "apierror"}


async def reload(turns: Turns, extra: str) -> None:
    """What SIGHUP does with a good file."""
    text = (
        f"preset: quick\nyclients: {{base_url: {turns.sim.url}, per_minute: 6000, per_second: 500, timeout: 10s}}\n"
        f"http: {{listen: false}}\n{extra}\npresets:\n  quick: {QUICK}\n"
    )
    turns.house.settings = turns.scheduler.current.settings = parse_settings(text, "test.yaml")
    await turns.scheduler.prepare()
    await turns.house.work.wake()
