"""Does one glance tell what is so: complete, filling, paused or in trouble, since when, and what to do?"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ycsync.config import Settings
from ycsync.service.standing import everything_well, judge
from ycsync.service.verdict import Refused, Verdict, verdict
from ycsync.store.report import Salon, Standing, StreamRow, Usage, Worker

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SETTINGS = Settings(
    streams=MappingProxyType({**Settings().streams, "clients": timedelta(minutes=5), "records": timedelta(minutes=5)})
)
NINE = dataclasses.replace(SETTINGS, companies=(1, 2, 9))
HALF: dict[str, Any] = {
    "phase": "filling", "lag_s": None, "done": 50, "pass_started_at": NOW, "batches": 5, "busy_s": 50.0,
}  # fmt: skip
WORKER = Worker("service", 1, "0", "default", NOW, NOW, {})


def row(company: int, stream: str, *, lag_s: float | None = 30, phase: str = "live", **more: Any) -> StreamRow:
    at = None if lag_s is None else NOW - timedelta(seconds=lag_s)
    told = StreamRow(company, stream, phase, 100, 100, last_success_at=at, proved_as_of=at)
    return dataclasses.replace(told, **more)


def standing(*rows: StreamRow, salons: int = 2, pauses: tuple[int, ...] = ()) -> Standing:
    told = {(0, "companies"): row(0, "companies")}
    for company in range(1, salons + 1):
        told.update({(company, stream): row(company, stream) for stream in Settings().kept()})
    told.update({(one.company, one.stream): one for one in rows})
    listed = tuple(Salon(company, f"Salon {company}", True) for company in range(1, salons + 1))
    return Standing(NOW, listed, tuple(told.values()), Usage(), (WORKER,), dict.fromkeys(pauses, NOW))


def found(*rows: StreamRow, salons: int = 2, pauses: tuple[int, ...] = (), **more: Any) -> Verdict:
    told = standing(*rows, salons=salons, pauses=pauses)
    return verdict(judge(told, SETTINGS), SETTINGS, dict(told.pauses), **more)


def test_all_is_well() -> None:
    assert found() == Verdict("complete", "Complete and fresh: 2 salons")
    assert found(salons=1).said == "Complete and fresh: 1 salon"
    assert found(pauses=(2,)).said == "Complete and fresh: 2 salons; 1 paused"


def test_before_anything_is_known() -> None:
    assert verdict(None, SETTINGS, {}) == Verdict("starting", "Starting: nothing is known yet")
    assert found(salons=0).said == "No salon is known yet"
    assert found(row(0, "companies", phase="new", lag_s=None), salons=0).said == "Reading the list of salons"


def test_a_share_is_said_once_everything_is_counted() -> None:
    told = found(row(1, "records", **HALF))
    assert (told.state, told.said) == ("filling", "Filling 1 of 2 salons")
    assert told.share == pytest.approx(950 / 1000)
    assert told.eta_s is not None
    assert told.eta_range_s is not None
    assert told.eta_range_s[0] <= told.eta_s <= told.eta_range_s[1]
    unknown = found(row(1, "records", **HALF), row(2, "clients", phase="new", lag_s=None, expected=None))
    assert (unknown.said, unknown.share, unknown.eta_s) == ("Filling 2 of 2 salons", None, None)


def test_all_paused_is_no_trouble_and_says_how_it_ends() -> None:
    told = found(pauses=(0,))
    assert (told.state, told.since) == ("paused", NOW)
    assert "ycsync resume" in told.said


def test_the_worst_is_told_first_and_salons_with_one_cause_once() -> None:
    first, later = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    denied: dict[str, Any] = {
        "phase": "stopped",
        "error_code": "http_403",
        "last_error": "salon 1, clients: no rights: give them.",
    }
    told = found(
        row(1, "clients", **denied, error_since=later),
        row(3, "clients", **{**denied, "last_error": "salon 3: no rights"}, error_since=first),
        row(2, "records", lag_s=4 * 3600),
        salons=3,
        lost=NOW - timedelta(minutes=1),
        refused=Refused("line 1: preset", NOW),
    )
    assert told.state == "trouble"
    assert told.said == "The database is away"
    assert told.since == NOW - timedelta(minutes=1), "since when the database is away, whatever else is wrong for longer"
    stale = NOW - timedelta(seconds=4 * 3600) + timedelta(minutes=17)
    assert told.troubles[3].since == stale, "since three cadences and two minutes"
    assert [one.what.split(":")[0] for one in told.troubles] == [
        "The database is away", "The last reload was refused", "Salon 3 is stopped", "Salon 2, records, is stale",
    ]  # fmt: skip
    assert (told.troubles[2].more, told.troubles[2].since) == (1, first), "by the one that has it longest"
    assert all(one.todo for one in told.troubles)


def test_the_sentence_counts_the_other_salons() -> None:
    rows = [row(n, "clients", phase="stopped", last_error="no rights") for n in (1, 2, 3)]
    assert found(*rows, salons=3).said == "Salon 1 is stopped: no rights (and 2 more salons)"
    assert found(*rows[:2], salons=3).said == "Salon 1 is stopped: no rights (and 1 more salon)"


def test_what_fails_again_and_again_is_a_trouble_and_what_failed_once_is_not() -> None:
    failing: dict[str, Any] = {"phase": "filling", "lag_s": None, "last_error": "HTTP 500", "error_since": NOW}
    assert found(row(1, "clients", **failing, failures=2)).state == "filling"
    told = found(row(1, "clients", **failing, failures=3))
    assert told.said == "Salon 1, clients, fails: HTTP 500"
    listing = found(row(0, "companies", phase="new", lag_s=None, last_error="HTTP 401", failures=1))
    assert listing.said == "The list of salons fails: HTTP 401"


def test_an_error_is_said_without_the_place_that_is_said_already() -> None:
    told = found(row(1, "clients", phase="stopped", last_error="salon 1, clients: no rights here. Give them."))
    assert told.said == "Salon 1 is stopped: no rights here. Give them"


def test_a_salon_that_is_held_while_it_fills_is_left_out_of_what_is_said_of_the_rest() -> None:
    told = found(row(1, "records", **HALF), row(2, "records", **{**HALF, "expected": None}), pauses=(2,))
    assert (told.state, told.said) == ("filling", "Filling 1 of 2 salons; 1 paused")
    assert told.eta_s is not None
    alone = found(row(2, "records", **HALF), pauses=(2,))
    assert (alone.state, alone.since) == ("paused", NOW)
    assert alone.said == "1 salon paused before all was there: `ycsync resume`"


def test_a_salon_that_only_the_settings_know_is_named() -> None:
    told = found(row(9, "clients", phase="new", lag_s=None))
    judged = judge(dataclasses.replace(standing(), streams=standing(row(9, "clients", phase="new", lag_s=None)).streams), NINE)
    said = verdict(judged, NINE, {})
    assert told.state == "complete", "the settings do not name it"
    assert said.said == "Salon 9 is not among those that YCLIENTS lists"
    assert "`companies:`" in said.troubles[0].todo


def test_everything_held_is_the_headline_and_the_rest_comes_after_it() -> None:
    denied = row(1, "clients", phase="stopped", last_error="salon 1, company: no such thing", error_code="notfound")
    told = found(denied, row(2, "clients", lag_s=9999), pauses=(0,))
    assert (told.state, told.said) == ("paused", "Paused: no request leaves until `ycsync resume`")
    assert [one.what for one in told.troubles] == ["Salon 1 is stopped: no such thing", "Salon 2, clients, is stale"]
    assert "`companies:`" in told.troubles[0].todo, "resuming does not mend that"
    assert told.troubles[1].todo == "Its requests are held: `ycsync resume`."
    assert found(denied, pauses=(0,), lost=NOW).state == "trouble"


def test_a_trouble_does_not_hide_what_fills_meanwhile() -> None:
    stopped = row(1, "clients", phase="stopped", last_error="no rights")
    told = found(stopped, row(2, "records", **HALF))
    assert (told.state, told.meanwhile) == ("trouble", "filling 1 of 2 salons")
    assert told.share is not None
    assert told.eta_s is not None
    assert found(stopped, row(2, "records", **HALF), lost=NOW).meanwhile is None


def test_a_stopped_salon_is_one_trouble() -> None:
    told = found(row(1, "clients", phase="stopped", last_error="no rights"), row(1, "records", lag_s=9999))
    assert len(told.troubles) == 1


def test_a_failed_try_is_said_though_all_is_fresh_still() -> None:
    told = found(row(1, "clients", last_error="HTTP 500", failures=1))
    assert (told.state, told.said) == ("complete", "Complete and fresh: 2 salons; the last try of 1 stream failed")


def test_a_database_that_does_not_tell_is_not_called_fine() -> None:
    told = found(unread=NOW - timedelta(minutes=2))
    assert (told.state, told.since) == ("trouble", NOW - timedelta(minutes=2))
    assert told.said == "The database does not tell how things stand"
    assert found(unread=NOW, lost=NOW).troubles[0].what == "The database is away"
    assert len(found(unread=NOW, lost=NOW).troubles) == 1


def test_what_is_stale_because_it_is_paused_says_that() -> None:
    told = found(row(1, "clients", lag_s=9999), pauses=(1,))
    assert told.troubles[0].todo == "Its requests are held: `ycsync resume`."


phases = st.sampled_from(["new", "filling", "closing", "live", "stopped"])
rows = st.builds(
    row,
    st.integers(1, 3),
    st.sampled_from(Settings().kept()),
    phase=phases,
    lag_s=st.none() | st.sampled_from([1, 1000, 2000, 999_999]),
    failures=st.integers(0, 4),
    last_error=st.none() | st.just("HTTP 500"),
    expected=st.none() | st.integers(0, 200),
    done=st.integers(0, 200),
)


@given(st.lists(rows, max_size=8), st.sets(st.integers(0, 3), max_size=2))
def test_it_says_complete_exactly_when_everything_is(found_rows: list[StreamRow], pauses: set[int]) -> None:
    told = standing(*found_rows, salons=3, pauses=tuple(pauses))
    judged = judge(told, SETTINGS)
    said = verdict(judged, SETTINGS, dict(told.pauses))
    if said.state == "complete":
        assert everything_well(judged)
    if everything_well(judged):
        assert said.state == ("paused" if 0 in pauses else "complete")
    if said.state == "filling":
        assert any(one.state in ("filling", "waiting") and not one.paused for one in judged)
    assert said.share is None or 0 <= said.share <= 1
