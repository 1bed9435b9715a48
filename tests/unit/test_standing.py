"""Is a stream judged fresh, stale, filling or stopped as it is, and when does it say it will be done?"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ycsync.cli.output import Grid, span
from ycsync.config import Settings
from ycsync.service.standing import STATUS_JSON, as_json, eta, everything_well, judge
from ycsync.store.report import Salon, Standing, StreamRow, Usage, Worker

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SETTINGS = Settings()


def row(stream: str, company: int = 4001, *, lag_s: float = 30, phase: str = "live") -> StreamRow:
    at = NOW - timedelta(seconds=lag_s)
    return StreamRow(company, stream, phase, 3, 3, 2, last_success_at=at, proved_as_of=at)


def standing(*rows: StreamRow, paused: tuple[int, ...] = ()) -> Standing:
    told = {(one.company, one.stream): one for one in (row("companies", 0), *(row(name) for name in Settings().kept()))}
    told.update({(one.company, one.stream): one for one in rows})
    salons = (Salon(4001, "Salon", True),)
    return Standing(NOW, salons, tuple(told.values()), Usage(1, 9), (), dict.fromkeys(paused, NOW))


def likely(row: StreamRow, now: datetime, interval: timedelta) -> float | None:
    found = eta(row, now, interval)
    return None if found is None else found.likely_s


def state(found: Standing, stream: str, settings: Settings = SETTINGS) -> str:
    return next(one.state for one in judge(found, settings) if one.row.stream == stream and one.row.company)


def test_all_streams_fresh_is_well() -> None:
    judged = judge(standing(), SETTINGS)
    assert {one.state for one in judged} == {"fresh"}
    assert everything_well(judged)


@pytest.mark.parametrize(("lag_s", "expected"), [(17 * 60, "fresh"), (17 * 60 + 1, "stale")])
def test_three_cadences_and_two_minutes_are_fresh(lag_s: float, expected: str) -> None:
    found = standing(row("clients", lag_s=lag_s))
    assert state(found, "clients") == expected
    assert everything_well(judge(found, SETTINGS)) == (expected == "fresh")


@pytest.mark.parametrize(
    ("phase", "expected"), [("new", "waiting"), ("filling", "filling"), ("closing", "filling"), ("stopped", "stopped")]
)
def test_a_pass_that_is_not_through_is_not_well(phase: str, expected: str) -> None:
    found = standing(row("records", phase=phase))
    assert state(found, "records") == expected
    assert not everything_well(judge(found, SETTINGS))


def test_a_stream_that_is_off_does_not_count() -> None:
    settings = dataclasses.replace(SETTINGS, streams=MappingProxyType({**Settings().streams, "staff": None}))
    found = standing(row("staff", phase="stopped"))
    assert state(found, "staff", settings) == "off"
    assert everything_well(judge(found, settings))


def test_a_salon_that_the_settings_name_and_nobody_read_yet_waits() -> None:
    settings = dataclasses.replace(SETTINGS, companies=(4001, 4002))
    judged = judge(standing(), settings)
    assert {one.state for one in judged if one.row.company == 4002} == {"waiting"}
    assert not everything_well(judged)


def test_a_salon_that_the_settings_leave_out_does_not_count() -> None:
    settings = dataclasses.replace(SETTINGS, companies=(4001,))
    found = standing(row("clients", 4002, phase="stopped"))
    assert everything_well(judge(found, settings))


def test_no_salon_at_all_is_not_well() -> None:
    empty = Standing(NOW, (), (row("companies", 0),), Usage(), (), {})
    assert not everything_well(judge(empty, SETTINGS))


def test_a_pause_is_told_and_is_no_fault_while_all_is_fresh() -> None:
    judged = judge(standing(paused=(4001,)), SETTINGS)
    assert [one.paused for one in judged] == [one.row.company == 4001 for one in judged]
    assert everything_well(judged)


def filling(**changes: object) -> StreamRow:
    base = StreamRow(4001, "records", "filling", 1000, 250, 5, pass_started_at=NOW, working=True, busy_s=10.0)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_the_first_batch_goes_on_at_its_speed() -> None:
    assert likely(filling(), NOW, timedelta(minutes=3)) == pytest.approx(30)


def test_further_batches_wait_for_their_interval() -> None:
    # One batch of 250 rows took 10 s; three more begin 180 s apart, the first of them in a minute.
    waiting = filling(working=False, batches=1, due_at=NOW + timedelta(seconds=60))
    assert likely(waiting, NOW, timedelta(minutes=3)) == pytest.approx(60 + 30 + 2 * 170)


def test_a_batch_that_was_stopped_tells_nothing_of_what_a_batch_holds() -> None:
    # Stopped at 250 of 1,000 rows, begun anew at once: it need not wait for a third batch's turn.
    assert likely(filling(batches=0), NOW, timedelta(minutes=3)) == pytest.approx(30)
    assert likely(filling(working=False, due_at=NOW + timedelta(seconds=60)), NOW, timedelta(minutes=3)) == pytest.approx(
        60 + 30
    )


@pytest.mark.parametrize(("roles", "told"), [((), False), (("doctor",), False), (("service",), True), (("sync",), True)])
def test_where_nobody_works_no_end_is_told(roles: tuple[str, ...], told: bool) -> None:
    workers = tuple(Worker(role, 1, "0", "default", NOW, NOW, {}) for role in roles)
    found = dataclasses.replace(standing(filling(working=False)), workers=workers)
    (one,) = [one for one in judge(found, SETTINGS) if one.row.stream == "records"]
    assert (one.eta_s is not None) == told


def test_nothing_done_yet_says_nothing() -> None:
    assert eta(filling(done=0), NOW, timedelta(minutes=3)) is None
    assert eta(filling(expected=None), NOW, timedelta(minutes=3)) is None


def test_every_key_of_the_json_is_documented() -> None:
    document = as_json(standing(), judge(standing(), SETTINGS), SETTINGS)
    for key in (*document, *document["requests"], *document["streams"][0]):
        assert key in STATUS_JSON


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.4, "0 s"), (75, "1 min 15 s"), (600, "10 min"), (7200, "2 h 00 min"), (180_000, "2 d 2 h")],
)
def test_spans_are_short(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_a_plain_table_is_aligned_by_what_is_seen() -> None:
    grid = Grid(("salon", "many\nrows"), [("Салон", "1"), ("美容室", "1,000")], {"many\nrows"})
    assert grid.plain().splitlines() == ["         many", "salon    rows", "Салон       1", "美容室  1,000"]


@pytest.mark.parametrize(("width", "name"), [(40, "4001 Салон на углу"), (30, "4001 Салон на уг…"), (10, "4001 …")])
def test_a_drawn_table_is_in_colour_and_where_it_is_narrow_the_name_gives_way(width: int, name: str) -> None:
    grid = Grid(("salon", "state", "done"), [("4001 Салон на углу", "stale", "12")], {"done"})
    heads, rule, row = grid.drawn(width).splitlines()
    assert row == f"{name}  \x1b[33mstale\x1b[0m    12"
    assert heads == f"\x1b[1m{'salon':<{len(name)}}  state  done\x1b[0m"
    assert rule == "─" * (len(name) + 13)


@given(
    done=st.integers(1, 100_000),
    more=st.integers(0, 100_000),
    busy_s=st.floats(0.1, 1e5),
    batches=st.integers(0, 500),
    spread=st.none() | st.floats(0, 10),
    interval_s=st.floats(0, 3600),
)
def test_the_range_of_an_eta_holds_it_and_narrows_with_what_is_known(
    done: int, more: int, busy_s: float, batches: int, spread: float | None, interval_s: float
) -> None:
    row = StreamRow(4001, "clients", "filling", done + more, done, busy_s=busy_s, batches=batches, working=True, spread=spread)
    interval = timedelta(seconds=interval_s)
    found = eta(row, NOW, interval)
    assert found is not None
    assert 0 <= found.low_s <= found.likely_s <= found.high_s
    work_s = more * busy_s / done
    width = found.high_s - found.low_s
    assert 2 * 0.1 * work_s - 1e-6 <= width <= 2 * 0.8 * work_s + 1e-6  # waiting for a batch's time does not vary
    if spread is not None and batches >= 2:
        evener = eta(dataclasses.replace(row, spread=spread / 2), NOW, interval)
        assert evener is not None
        assert evener.high_s - evener.low_s <= width + 1e-6
    if more == 0:
        assert found.high_s == 0
