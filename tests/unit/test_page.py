"""Do the page's figures say what is so: one line for each cause, a share and a time while salons are not counted yet?"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ycsync.config import STREAMS, Settings
from ycsync.service.judging import Judging
from ycsync.service.page import Condition, Page, Reload
from ycsync.store.report import Salon, Standing, StreamRow, Usage, Worker

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SETTINGS = Settings()
WORKER = Worker("service", 1, "0", "default", NOW, NOW, {"preset": "balanced"})


class Shown:
    """A page whose salons, of which so many are through their first pass, a test moves through time."""

    def __init__(self, salons: int) -> None:
        self.at = 0.0
        self.condition = Condition(SETTINGS)
        self.page = Page(lambda: self.condition, lambda: self.at)
        self.salons = tuple(Salon(n, f"Salon {n}", True) for n in range(1, salons + 1))
        self.rows = {(n, stream): StreamRow(n, stream) for n in range(1, salons + 1) for stream in STREAMS}
        self.rows[0, "companies"] = self.live(0, "companies")
        self.judging = Judging()

    def live(self, company: int, stream: str, **more: Any) -> StreamRow:
        told = StreamRow(company, stream, "live", 10, 10, last_success_at=NOW, proved_as_of=NOW)
        return dataclasses.replace(told, **more)

    def finish(self, *companies: int) -> None:
        self.rows.update({(n, stream): self.live(n, stream) for n in companies for stream in STREAMS})

    def look(self, at: float) -> dict[str, Any]:
        """All sections, as JSON would have them, at this second."""
        self.at = at
        now = NOW + timedelta(seconds=at)
        standing = Standing(now, self.salons, tuple(self.rows.values()), Usage(2, 30), (WORKER,), {})
        self.page.update(standing, self.judging.judge(standing, SETTINGS))
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self.page.sections()))
        return found


def test_while_not_everything_is_counted_the_share_and_the_time_are_those_of_salons() -> None:
    shown = Shown(100)
    first = shown.look(0)["verdict"]
    assert (first["said"], first["share"], first["eta_s"]) == ("Filling 100 of 100 salons", 0.0, None)
    shown.finish(1, 2)
    assert shown.look(20)["verdict"]["eta_s"] is None, "two are too few to tell"
    shown.finish(*range(1, 11))
    told = shown.look(60)["verdict"]
    assert (told["said"], told["share"]) == ("Filling 90 of 100 salons", 0.1)
    assert told["eta_s"] == 540, "90 salons at 10 a minute"
    shown.look(60 + 601)
    assert shown.look(60 + 602)["verdict"]["eta_s"] is None, "none in the last ten minutes: nobody knows"


def test_the_speed_is_that_of_what_fills() -> None:
    shown = Shown(2)
    assert shown.look(0)["rows_s"] is None
    for second in range(0, 11, 2):
        shown.rows[1, "records"] = StreamRow(1, "records", "filling", 9000, 5000 + 100 * second)
        told = shown.look(30 + second)
    assert told["rows_s"] == 100, "what was there before it was looked at is no speed"
    shown.finish(1, 2)
    assert shown.look(60)["rows_s"] is None


def test_errors_with_one_cause_are_one_line_told_by_the_oldest() -> None:
    shown = Shown(4)
    shown.finish(1, 2, 3, 4)
    for n in (1, 2, 3):
        shown.rows[n, "clients"] = shown.live(
            n, "clients", last_error=f"salon {n}, clients: no connection, {n} times in a row", failures=n,
            error_since=NOW - timedelta(minutes=n),
        )  # fmt: skip
    shown.rows[4, "staff"] = shown.live(4, "staff", last_error="salon 4, staff: HTTP 500.", error_since=NOW)
    errors = shown.look(0)["errors"]
    assert (errors["total"], errors["groups"]) == (4, 2)
    assert [(one["error"], one["company"], one["more"], one["salons"]) for one in errors["shown"]] == [
        ("no connection", 3, 2, 3), ("HTTP 500", 4, 0, 1),
    ]  # fmt: skip


def test_first_words_are_the_verdict_and_what_to_do() -> None:
    shown = Shown(1)
    assert shown.page.first_words().state == "starting"
    shown.finish(1)
    shown.look(0)
    assert shown.page.first_words().said == "Complete and fresh: 1 salon"
    shown.condition = Condition(SETTINGS, reload=Reload(NOW, "line 3: preset"))
    words = shown.page.first_words()
    assert (words.state, words.said) == ("trouble", "The last reload was refused: line 3: preset")
    assert words.more.startswith("What to do: ")


@pytest.mark.parametrize("salons", [0, 3])
def test_every_section_is_there_from_the_first_look(salons: int) -> None:
    told = Shown(salons).look(0)
    assert {"verdict", "settings", "traffic", "streams", "salons", "batches", "errors", "quarantine", "requests"} <= told.keys()
    assert told["salons"]["total"] == salons
