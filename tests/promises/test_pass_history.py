"""Is the whole history read, whatever a server makes of a list that is asked for without dates?"""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest

from support.desk import Desk
from support.salons import Habits, Row, Shop

Events = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    """What is said of the visits."""
    said: Events = []
    for module in ("batch", "records", "windows"):
        monkeypatch.setattr(f"ycsync.sync.{module}.emit", lambda _log, event, **fields: said.append({"event": event, **fields}))
    return said


def opened(visits: int, **habits: Any) -> Desk:
    shop = Shop(random.Random(1))
    shop.fill(clients=20, visits=visits)
    return Desk(shop, Habits(**habits))


def some(desk: Desk, count: int) -> list[Row]:
    """Visits of the salon, always the same ones."""
    return list(desk.shop.visits.values())[10 : 10 + count]


def assumptions(events: Events) -> list[str]:
    return [said["assumption"] for said in events if "assumption" in said]


@pytest.mark.parametrize("visits", [60, 900, 2600])
@pytest.mark.parametrize("history", ["bulk", "by_client"])
async def test_history_does_not_hang_on_missing_dates(events: Events, visits: int, history: str) -> None:
    desk = opened(visits)
    if history == "by_client":
        await desk.until_proved("clients")
    await desk.until_proved("records", history=history)
    desk.check("records")
    undated = [line for line in desk.log if line.startswith("/records/") and not ("start_date" in line and "end_date" in line)]
    assert len(undated) == (visits > 1000), undated
    assert assumptions(events) == ["records without dates are a narrow window"] * (visits > 1000)
    old, late = some(desk, 2)
    old.at, late.at = datetime(2001, 2, 3), desk.shop.today + timedelta(days=1700)
    for row in list(desk.shop.visits.values())[:200]:
        desk.shop.touch(row)
    await desk.until_proved("records")
    desk.check("records")
    desk.night()
    await desk.until_proved("records")
    desk.check("records")


async def test_where_dates_change_nothing_nothing_is_said(events: Events) -> None:
    desk = opened(2600, undated="all")
    await desk.until_proved("records")
    desk.check("records")
    assert assumptions(events) == []
    assert sum("start_date" not in line for line in desk.log) == 1


@pytest.mark.parametrize("undated", ["all", "narrow"])
async def test_visits_outside_the_far_dates(events: Events, undated: Literal["all", "narrow"]) -> None:
    """They are found where the list without dates shows them, and never deleted for not being shown."""
    desk = opened(2600, undated=undated)
    odd = some(desk, 3) if undated == "all" else []
    for row, at in zip(odd, (datetime(1999, 12, 31, 10), datetime(2203, 5, 1, 10), datetime(2204, 1, 1)), strict=False):
        row.at = at
    await desk.until_proved("records")
    desk.check("records")
    wide = ["every visit lies between the far dates"] if odd else ["records without dates are a narrow window"]
    assert assumptions(events) == wide
    for row in odd:
        row.note += 1
        desk.shop.touch(row)
    desk.shop.clock += 3600
    await desk.until_proved("records")
    desk.check("records")
    desk.night()
    await desk.until_proved("records")
    desk.check("records")


async def test_visits_that_no_dates_show_are_said_once(events: Events) -> None:
    """The list without dates counts more than any dates show: nothing is read again for it, and no claim waits for it."""
    desk = opened(2600, undated="all")
    (odd,) = some(desk, 1)
    odd.at, odd.traceless = datetime(9999, 12, 31, 10), True  # the desk asks no claim to hold it
    await desk.until_proved("records")
    (said,) = [said for said in events if "assumption" in said]
    assert (said["assumption"], said["got"]) == ("every visit lies between the far dates", 1)
    assert "not read" in said["action"]
    assert desk.wrong("records") == [f"records {odd.id} of {odd.at}: missing"]


@pytest.mark.parametrize("visits", [300, 2600])
async def test_a_row_outside_what_was_asked_stays(visits: int) -> None:
    """A reading says nothing of dates that it did not ask for, so what is stored of them is not gone."""
    desk = opened(visits, dates=False)
    late, old = some(desk, 2)
    late.at, old.at = datetime(2203, 5, 1, 10), datetime(1999, 12, 31, 10)
    await desk.until_proved("records")
    desk.check("records")
    desk.habits = Habits()
    desk.cursors["records"] = (desk.cursors["records"][0], None, "live")
    desk.shop.clock += 3600
    await desk.until_proved("records")
    desk.check("records")


@pytest.mark.parametrize("units", [None, 2])
async def test_what_was_read_without_dates_is_read_anew(units: int | None) -> None:
    """A pass of an earlier release left out the dates of open ends; `units`: it was under way when this one began."""
    desk = opened(2600)
    await (desk.until_proved("records") if units is None else desk.batch("records", units=units))
    version, cursor, phase = desk.cursors["records"]
    before = json.loads(str(cursor))
    assert before.pop("dated") is True
    desk.cursors["records"] = (version, json.dumps(before), phase)
    seen = desk.shop.today - timedelta(days=30)
    desk.tables["records"] = {one: kept for one, kept in desk.tables["records"].items() if desk.shop.visits[one].at > seen}
    desk.proved_at.clear()
    await desk.until_proved("records")
    desk.check("records")
    asked = desk.requests
    await desk.until_proved("records")
    assert desk.requests - asked == 1
