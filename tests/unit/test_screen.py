"""Does `status --watch` fit every screen, and does it show first what needs a look?"""

from __future__ import annotations

import os
import pty
import termios
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ycsync.cli import watch as watching
from ycsync.cli.output import screen_size
from ycsync.cli.screen import Look, View, lines
from ycsync.cli.watch import speaks_unicode
from ycsync.config import Loaded, Secrets, Settings
from ycsync.errors import DatabaseUnavailable
from ycsync.service.control import Announcement
from ycsync.service.standing import judge
from ycsync.store.report import Ended, Hour, Salon, Standing, StreamRow, Usage, Worker

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
STREAMS = ("services", "staff", "clients", "records")
REFUSED = "salon 4002, records: the user of the token has no rights here. Give that user access to the salon."


def row(company: int, stream: str, phase: str = "live", **keys: object) -> StreamRow:
    at = NOW - timedelta(seconds=30)
    base = StreamRow(company, stream, phase, 300, 300, 12, last_success_at=at, proved_as_of=at)
    return replace(base, **keys)  # type: ignore[arg-type]


def view(salons: int = 3, *changed: StreamRow, titles: str = "Салон «Ольга» № {}", paused: bool = False) -> View:
    rows = {(0, "companies"): row(0, "companies")}
    rows |= {(company, stream): row(company, stream) for company in range(4001, 4001 + salons) for stream in STREAMS}
    rows |= {(one.company, one.stream): one for one in changed}
    listed = tuple(Salon(company, titles.format(company), True) for company in range(4001, 4001 + salons))
    service = Worker("service", 4711, "9.9", "default", NOW - timedelta(hours=3), NOW, {"preset": "balanced"})
    standing = Standing(
        NOW, listed, tuple(rows.values()), Usage(3, 120, 2), (service,), {0: NOW} if paused else {}, Hour(120, 3, 560, 2, 1, 4)
    )
    recent = tuple(
        Ended(4001, "clients", NOW - timedelta(seconds=n + 5), NOW - timedelta(seconds=n), "more", 12, 300, 0) for n in range(6)
    )
    settings = replace(Settings(), streams={**Settings().streams, "companies": None})
    return View(standing, judge(standing, settings), recent, settings)


FILLING = row(
    4001, "clients", "filling", expected=1000, done=310, batches=4, busy_s=20.0, spread=0.4, working=True, last_success_at=None,
    proved_as_of=None,
)  # fmt: skip
STOPPED = row(
    4002, "records", "stopped", last_error=REFUSED, error_code="http_403", error_since=NOW - timedelta(hours=2), failures=3
)


def shown(of: View, look: Look) -> list[str]:
    return [line.plain for line in lines(of, look, NOW)]


@given(st.integers(40, 250), st.integers(8, 80), st.booleans(), st.integers(0, 60), st.booleans(), st.booleans())
def test_it_fits_every_screen(width: int, height: int, fancy: bool, salons: int, troubled: bool, lost: bool) -> None:
    of = view(salons, *((FILLING, STOPPED) if troubled and salons > 1 else ()), titles="Salon {}", paused=troubled)
    if lost:
        of = replace(of, lost=("the database cannot be reached " * 5, NOW - timedelta(seconds=70)))
    found = shown(of, Look(width, height, fancy))
    assert len(found) <= height
    assert all(cell_len(line) <= width for line in found)
    assert all("\n" not in line for line in found)
    if not fancy:
        assert all(line.isascii() for line in found)
    if lost:
        assert any("DATABASE AWAY" in line for line in found)
    if troubled and salons > 1 and height >= 20:
        assert any("stopped" in line for line in found)


@given(st.integers(40, 250))
def test_wide_letters_fit_too(width: int) -> None:
    for line in shown(view(4, FILLING, STOPPED, titles="美容室 {} 東京都千代田区"), Look(width, 40)):
        assert cell_len(line) <= width


@given(
    st.integers(40, 250),
    st.sampled_from(["Салон «Ольга» — № {}…", "美容室 {} 東京都千代田区", "Lash & Brow 💇‍♀️ {}", "e\u0301t\u00e9 {}"]),
)
def test_a_screen_without_other_letters_gets_ascii_and_its_columns_stand(width: int, titles: str) -> None:
    refused = replace(STOPPED, last_error="отказ — нет прав")
    found = shown(view(4, FILLING, refused, titles=titles), Look(width, 40, fancy=False))
    assert all(line.isascii() and len(line) <= width for line in found)
    places = {
        line.index(word) for line in found for word in (" services  ", " staff  ", " clients  ", " records  ") if word in line
    }
    assert len(places) == 1


def test_what_needs_a_look_comes_first_and_says_why() -> None:
    found = shown(view(3, FILLING, STOPPED), Look(140, 40))
    streams = [line for line in found if " services " in line or " clients " in line or " records " in line]
    assert "stopped" in streams[0]
    assert "filling" in streams[1]
    assert any(line.startswith(REFUSED) and line.endswith("(for 2 h 00 min, 3 times in a row)") for line in found)
    assert found[-1] == "Not complete or not fresh: 2 of 13 streams."


def test_it_tells_progress_limits_and_the_last_hour() -> None:
    found = "\n".join(shown(view(2, FILLING), Look(150, 40)))
    assert "310/1,000 (31%)" in found
    assert "███████░░░░░░░░░░░░░░░░░" in found
    assert "to" in next(line for line in found.splitlines() if "filling" in line).split("(31%)")[1]
    assert "3/5 requests in the last second, the preset takes 4" in found
    assert "120/200 requests in the last minute, the preset takes 160" in found
    assert "last hour  120 batches ended, 3 failed; 560 requests, 2 failed, 1 refused; 4 at work" in found
    assert "4001 clients: more, 300 new rows, 12 requests, 5.0 s" in found


def test_fresh_salons_share_a_line_where_there_is_no_room_and_all_do_where_there_is_less() -> None:
    few = shown(view(8, STOPPED), Look(100, 34))
    assert any(line.startswith("4003 Салон «Ольга» № 4003: 4 streams fresh, not older than 30 s") for line in few)
    many = shown(view(50, STOPPED), Look(100, 24))
    assert any(line.startswith("50 salons: 200 streams fresh") for line in many)
    assert any("stopped" in line for line in many)


def test_what_moves_is_seen_before_what_waits_for_its_turn() -> None:
    new = row(4001, "clients", "new", expected=None, done=0, last_success_at=None, proved_as_of=None)
    waiting = [replace(new, company=company, stream=stream) for company in range(4003, 4041) for stream in STREAMS]
    few = shown(view(12, FILLING, *waiting[:40]), Look(100, 34))
    assert any("filling" in line for line in few)
    assert any(line.startswith("4003 Салон «Ольга» № 4003: 4 streams waiting for their turn") for line in few)
    many = shown(view(40, FILLING, STOPPED, *waiting), Look(100, 24))
    assert any("filling" in line for line in many)
    assert any(line.startswith("38 salons: 152 streams waiting for their turn") for line in many)
    assert any("stopped" in line for line in many)


def test_more_troubles_than_lines_are_counted() -> None:
    stopped = [replace(STOPPED, company=company) for company in range(4001, 4041)]
    found = shown(view(40, *stopped), Look(100, 24))
    kept = sum("stopped" in line for line in found)
    (rest,) = [line for line in found if "more that are not fresh" in line]
    assert kept + int(rest.split(" ")[1]) == 40


@pytest.mark.parametrize("height", [20, 24, 40])
def test_many_pauses_and_quarantines_leave_the_streams_on_the_screen(height: int) -> None:
    bad = [row(company, "clients", quarantined=2) for company in range(4001, 4031)]
    stopped = [replace(STOPPED, company=company) for company in range(4001, 4011)]
    of = view(40, *bad, *stopped)
    of = replace(of, standing=replace(of.standing, pauses=dict.fromkeys(range(4001, 4006), NOW)))
    found = shown(of, Look(100, height))
    assert len(found) <= height
    assert sum(line.startswith(("PAUSED", "quarantine")) for line in found) == 3
    assert "and 32 more: `ycsync status`" in found
    assert sum(" records  " in line and "stopped" in line for line in found) >= 2
    assert any(line.startswith("40 salons: 151 streams fresh") for line in found)
    # The batches that ended last give way, and stay where there is room.
    assert sum("new rows" in line for line in found) == {20: 1, 24: 5, 40: 6}[height]


def test_a_pause_between_batches_does_not_look_like_hanging() -> None:
    between = replace(FILLING, working=False, due_at=NOW + timedelta(seconds=130))
    new = row(4002, "records", "new", expected=None, done=0, due_at=NOW + timedelta(hours=4), proved_as_of=None)
    found = "\n".join(shown(view(2, between, new), Look(140, 40)))
    assert "filling, next in 2 min 10 s" in found
    assert "waiting, next in 4 h 00 min" in found
    assert "next in" not in "\n".join(shown(view(2, replace(between, due_at=NOW)), Look(140, 40)))
    many = [replace(new, company=company) for company in range(4001, 4041)]
    assert "40 salons: 40 streams waiting, the next begins in 4 h 00 min" in "\n".join(shown(view(40, *many), Look(100, 24)))


def test_what_to_do_is_not_cut_off_where_there_is_room() -> None:
    long = "companies: " + "the user token is not accepted " * 4 + "and a new one goes into a file: systemctl restart ycsync"
    bad = row(0, "companies", "stopped", last_error=long, error_code="http_401", error_since=NOW, failures=1)
    found = shown(view(1, bad), Look(80, 30))
    assert "systemctl restart ycsync" in "\n".join(found)
    assert len(shown(view(1, bad), Look(80, 16))) <= 16
    # What stopped several streams is said once.
    others = [replace(bad, company=4001, stream=stream) for stream in STREAMS]
    found = shown(view(1, bad, *others), Look(80, 30))
    assert sum("the user token is not accepted" in line for line in found[-8:]) <= 3
    assert "(5 streams, for 0 s)" in " ".join(found)


def test_a_service_that_was_stopped_with_its_database_is_no_broken_database() -> None:
    of = replace(view(1), lost=("the service is stopped", NOW - timedelta(seconds=45)), stopped=True)
    found = shown(of, Look(100, 30))
    assert "NO SERVICE RUNS" in found[0]
    assert found[1].startswith("DATABASE AWAY for 45 s: the service is stopped")


def test_a_batch_that_was_cut_off_has_no_figures_to_show() -> None:
    of = view(1)
    of = replace(of, recent=(replace(of.recent[0], outcome="lost", rows=0, requests=0),))
    assert "4001 clients: cut off; what it had committed is kept" in "\n".join(shown(of, Look(100, 30)))


def test_two_rows_in_quarantine_are_named() -> None:
    found = shown(view(3, row(4001, "clients", quarantined=1), row(4002, "records", quarantined=1_200)), Look(120, 24))
    told = [line for line in found if line.startswith("quarantine")]
    assert told == [
        "quarantine  4001 Салон «Ольга» № 4001, clients: 1 row is not in the table",
        "quarantine  4002 Салон «Ольга» № 4002, records: 1,200 rows are not in the table",
    ]
    assert not any("more: `ycsync status`" in line for line in found)


def test_a_pause_and_a_missing_service_are_said() -> None:
    found = shown(view(1, paused=True), Look())
    assert any(line.startswith("PAUSED") for line in found)
    without = view(1)
    without = replace(without, standing=replace(without.standing, workers=()))
    assert "NO SERVICE RUNS" in shown(without, Look())[0]


@pytest.mark.parametrize(
    ("env", "fancy"),
    [
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "ru_RU.utf8"}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, False),
        ({"LC_CTYPE": "POSIX", "LANG": "C.UTF-8"}, False),
        ({}, False),
    ],
)
def test_a_terminal_without_other_letters_gets_ascii(env: dict[str, str], fancy: bool) -> None:
    assert speaks_unicode(env) is fancy


@pytest.mark.parametrize(
    ("window", "env", "size"),
    [
        ((100, 30), {"COLUMNS": "70", "LINES": "20"}, (100, 30)),
        ((0, 0), {}, (80, 24)),
        ((0, 24), {"LINES": "50"}, (80, 50)),
        ((80, 0), {"COLUMNS": "132", "LINES": "wide"}, (132, 24)),
        ((0, 0), {"COLUMNS": "0", "LINES": ""}, (80, 24)),
    ],
)
def test_a_terminal_that_does_not_know_its_size_gets_one(
    window: tuple[int, int], env: dict[str, str], size: tuple[int, int]
) -> None:
    master, slave = pty.openpty()
    try:
        termios.tcsetwinsize(slave, window[::-1])
        assert screen_size(slave, env) == size
    finally:
        os.close(master)
        os.close(slave)


def test_what_is_no_terminal_has_a_size_too() -> None:
    assert screen_size(-1, {"COLUMNS": "100"}) == (100, 24)


def test_a_title_moves_nothing_on_the_screen() -> None:
    found = "\n".join(shown(view(2, titles="S\x1b[2J\u202e\x07{}\nx"), Look(160, 40)))
    assert "4001 S?[2J??4001 x" in found
    assert "\x1b" not in found


@pytest.mark.parametrize("runs", [False, True])
async def test_a_private_database_that_ended_with_its_service_is_told_apart_from_a_broken_one(
    runs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(*_: object) -> View:
        raise DatabaseUnavailable("the address: refused")

    monkeypatch.setattr(watching, "_look", look)
    monkeypatch.setattr(watching, "running", lambda _: (Announcement(1, ""),) if runs else ())
    database: Any = SimpleNamespace(where="the address")
    watched = watching._Watched(Loaded(tmp_path / "config.yaml", Settings(), Secrets()), database, view(1))
    await watched.again()
    assert watched.view.lost is not None
    assert watched.view.lost[0] == "refused" if runs else "systemctl start ycsync" in watched.view.lost[0]
    assert watched.view.stopped is not runs
