"""Rights differ by endpoint: what may not be read stops alone, and the second paths of staff and services are asked."""

from __future__ import annotations

from typing import Any

import pytest

from support.agree import of_turns
from support.house import assert_equal
from support.turns import Turns, open_turns
from ycsync.cli.wording import errors, held
from ycsync.service import standing as view
from ycsync.service.verdict import salons_troubles
from ycsync.simulator.world import World
from ycsync.store.report import Report

SALON: dict[str, Any] = {"salons": 2, "clients": 40, "visits": 80}
SECOND = {"staff": "/staff/4001", "services": "/services/4001"}


def asked(turns: Turns, path: str) -> int:
    return sum(1 for seen in turns.sim.log if seen.path == path)


def refuse(turns: Turns, *endpoints: str) -> None:
    world: World = turns.sim.world
    world.salons[4001].refuses = set(endpoints)


@pytest.mark.parametrize("stream", ["staff", "services"])
async def test_the_second_path_is_asked_where_the_first_is_refused(database_url: str, stream: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        refuse(turns, stream)
        first, second = f"/company/4001/{stream}", SECOND[stream]
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        voices = await of_turns(turns)
        voices.agree(True)
        assert voices.codes() == {}
        assert sum(batch["errors"] for batch in await turns.batches(4001)) == 0
        assert (asked(turns, first), asked(turns, second)) == (1, 1)
        # For the rest of the day the refused path is not asked.
        await turns.turn(2)
        assert (asked(turns, first), asked(turns, second)) == (1, 3)
        turns.house.tomorrow_night()
        await turns.turn()
        assert (asked(turns, first), asked(turns, second)) == (2, 4)
        refuse(turns)
        turns.house.tomorrow_night()
        await turns.turn(2)
        assert (asked(turns, first), asked(turns, second)) == (4, 4)
        await assert_equal(turns.sim, turns.house)


@pytest.mark.parametrize("second_paths", [True, False])
async def test_a_list_that_no_path_shows_stops_alone(database_url: str, second_paths: bool) -> None:
    async with open_turns(database_url, second_paths=second_paths, **SALON) as turns:
        await turns.turn()
        refuse(turns, "staff", "staff (second path)")
        await turns.turn(2)
        await assert_equal(turns.sim, turns.house)
        voices = await of_turns(turns)
        voices.agree(False)
        assert voices.codes() == {(4001, "staff"): "no_right"}
        said = voices.rows[4001, "staff"]["last_error"]
        assert said.startswith(
            "salon 4001, staff: no right to read staff (HTTP 403). Ask the salon's owner to give the API user"
        )
        assert "«Сотрудники»" in said
        stability = next(one for one in voices.told["verify"] if one["name"] == "stability")
        assert stability["figures"]["reasons"] == ["salon 4001, staff: stopped, no right to read staff (HTTP 403)"]
        refuse(turns)
        await turns.turn()
        voices = await of_turns(turns)
        voices.agree(True)
        assert voices.codes() == {}


async def test_categories_that_may_not_be_read_leave_the_services_complete(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with open_turns(database_url, **SALON) as turns:
        refuse(turns, "service_categories")
        await turns.turn(2)
        voices = await of_turns(turns)
        voices.agree(True)
        salon = turns.sim.world.salons[4001]
        assert await turns.house.live("services", 4001) == set(salon.services)
        assert await turns.house.live("service_categories", 4001) == set()
        assert capfd.readouterr().err.count("services are kept without them: no right to read service categories") == 1
        standing = await Report(turns.house.database).standing(turns.house.settings.yclients.egress)
        judged = view.judge(standing, turns.house.settings)
        (said,) = held(standing, judged)
        assert said.startswith("without   ")
        assert "service_categories: no right to read service categories (HTTP 403). Ask the salon's owner" in said
        refuse(turns)
        turns.house.tomorrow_night()
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        standing = await Report(turns.house.database).standing(turns.house.settings.yclients.egress)
        assert held(standing, view.judge(standing, turns.house.settings)) == []
        # What is stored stays when the right is taken away.
        refuse(turns, "service_categories")
        await turns.turn()
        await assert_equal(turns.sim, turns.house)


@pytest.mark.parametrize(("endpoint", "stream", "right"), [
    ("records", "records", "Журнал записи"), ("clients", "clients", "Клиентская база"),
], ids=["visits", "clients"])  # fmt: skip
async def test_visits_or_clients_that_may_not_be_read_stop_alone(
    database_url: str, endpoint: str, stream: str, right: str
) -> None:
    async with open_turns(database_url, **SALON) as turns:
        refuse(turns, endpoint)
        await turns.turn(2)
        voices = await of_turns(turns)
        voices.agree(False)
        assert voices.codes() == {(4001, stream): "no_right"}
        assert f"«{right}»" in voices.rows[4001, stream]["last_error"]
        salon = turns.sim.world.salons[4001]
        other, rows = ("records", salon.records) if stream == "clients" else ("clients", salon.clients)
        assert await turns.house.live(other, 4001) == {one for one in rows if not rows[one].get("deleted")}
        assert sum(1 for seen in turns.sim.log if seen.path == "/companies") == 2  # it is no sign that the salon went
        refuse(turns)
        await turns.turn()
        await assert_equal(turns.sim, turns.house)
        (await of_turns(turns)).agree(True)


async def test_a_list_refused_in_the_words_of_the_whole_salon_stops_alone(database_url: str) -> None:
    async with open_turns(database_url, refused_as="salon", **SALON) as turns:
        refuse(turns, "staff", "services", "clients")
        await turns.turn(2)
        assert (await of_turns(turns)).codes() == {(4001, "clients"): "no_right"}
        salon = turns.sim.world.salons[4001]
        assert await turns.house.live("staff", 4001) == set(salon.staff), "by its second path"
        assert await turns.house.live("records", 4001) == {n for n, one in salon.records.items() if not one.get("deleted")}
        refuse(turns)
        await turns.turn()
        (await of_turns(turns)).agree(True)


async def test_each_stream_says_which_right_it_lacks(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        refuse(turns, "staff", "staff (second path)", "records")
        await turns.turn()
        house = turns.house
        standing = await Report(house.database).standing(house.settings.yclients.egress)
        judged = view.judge(standing, house.settings)
        told = sorted(one.what for one in salons_troubles(judged, house.settings))
        assert [what.split(" (")[0] for what in told] == [
            "Salon 4001, records, is stopped: no right to read visits",
            "Salon 4001, staff, is stopped: no right to read staff",
        ]
        said = sorted(errors(standing, judged))
        assert [line.split(" (")[0] for line in said] == [
            "salon 4001, records: no right to read visits", "salon 4001, staff: no right to read staff",
        ]  # fmt: skip


async def test_a_salon_of_which_nothing_may_be_read_is_looked_for_in_the_list(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        await turns.age("10 minutes", ["companies"])
        turns.sim.world.salons[4001].deny = "403"
        turns.sim.forget()
        await turns.only(("services", "staff", "clients", "records"))
        voices = await of_turns(turns)
        assert voices.codes() == {(4001, stream): "no_right" for stream in ("services", "staff", "clients", "records")}
        assert asked(turns, "/companies") == 1


async def test_a_salon_that_the_user_may_not_manage_stops_as_a_whole(database_url: str) -> None:
    async with open_turns(database_url, **SALON) as turns:
        await turns.turn()
        turns.sim.world.allowed.discard(4001)
        await turns.only(("clients",))
        rows = await turns.rows()
        assert {rows[4001, stream]["error_code"] for stream in ("services", "staff", "clients", "records")} == {"http_403"}
