"""Are the salons of the table those that are asked for, in the order that is asked for, and only the changed ones new?"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ycsync.config import Settings
from ycsync.service.judging import Judging
from ycsync.service.salons import WORST, SalonView, grouped, window
from ycsync.store.report import Salon, Standing, StreamRow, Usage
from ycsync.web import Query
from ycsync.web.query import SORTS, STATES

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SETTINGS = Settings()
TITLES = ("Альфа", "Beta", "бета", "Gamma", None)


def standing(rows: dict[tuple[int, str], StreamRow], now: datetime = NOW, pauses: tuple[int, ...] = ()) -> Standing:
    salons = tuple(Salon(n, TITLES[n % len(TITLES)] or "", True) for n in range(1, 31))
    return Standing(now, salons, tuple(rows.values()), Usage(), (), dict.fromkeys(pauses, NOW))


def thirty() -> dict[tuple[int, str], StreamRow]:
    """Salon n: n requests a stream, proofs n minutes old; 7 is stopped, 11 never was complete, 13 has an error, 17 bad rows."""
    rows = {}
    for n in range(1, 31):
        for stream in Settings().kept():
            at = NOW - timedelta(minutes=n / 2)
            rows[n, stream] = StreamRow(n, stream, "live", 100, n, requests=n, last_success_at=at, proved_as_of=at)
    rows[7, "clients"] = dataclasses.replace(rows[7, "clients"], phase="stopped", last_error="no rights")
    rows[11, "records"] = StreamRow(11, "records")
    rows[13, "staff"] = dataclasses.replace(rows[13, "staff"], last_error="HTTP 500")
    rows[17, "clients"] = dataclasses.replace(rows[17, "clients"], quarantined=3)
    return rows


def salons(pauses: tuple[int, ...] = ()) -> dict[int, SalonView]:
    return grouped(Judging().judge(standing(thirty(), pauses=pauses), SETTINGS), SETTINGS, {})


def ids(query: Query, of: dict[int, SalonView] | None = None) -> list[int]:
    return [one["company"] for one in window((of or salons()).values(), query)["salons"]]


def test_the_worst_comes_first() -> None:
    assert ids(Query(limit=3)) == [7, 11, 13]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("stopped", [7]),
        ("waiting", [11]),
        ("fresh", [n for n in range(1, 31) if n not in (7, 11)]),
        ("trouble", [7, 13]),
        ("paused", [5]),
        ("filling", []),
        ("off", []),
    ],
)
def test_a_state_is_asked_for(state: str, expected: list[int]) -> None:
    assert sorted(ids(Query(state=state), salons(pauses=(5,)))) == expected


def test_a_salon_is_found_by_its_number_or_a_part_of_its_title() -> None:
    assert ids(Query(text="2", sort="id", limit=99)) == [2, *range(20, 30)]
    assert set(ids(Query(text="бета", limit=99))) == {2, 7, 12, 17, 22, 27}
    assert ids(Query(text="zz")) == []


@pytest.mark.parametrize(
    ("sort", "first", "last"),
    [("requests", 1, 30), ("progress", 11, 30), ("lag", 11, 1), ("quarantined", 1, 17), ("id", 1, 30), ("state", 7, 30)],
)
def test_each_order_has_its_ends(sort: str, first: int, last: int) -> None:
    assert ids(Query(sort=sort))[0] == first
    assert ids(Query(sort=sort, limit=99))[-1] == last
    back = Query(sort=sort, descending=True, limit=99)
    assert ids(back)[0] == last or sort == "state"
    assert sorted(ids(back)) == list(range(1, 31))


queries = st.builds(
    Query, text=st.sampled_from(["", "1", "бета", "a"]), state=st.sampled_from(STATES), sort=st.sampled_from(SORTS),
    descending=st.booleans(), limit=st.integers(1, 12),
)  # fmt: skip


@given(queries)
def test_windows_side_by_side_show_each_salon_once(query: Query) -> None:
    found = salons()
    everything = ids(dataclasses.replace(query, limit=200), found)
    leafed: list[int] = []
    while some := ids(dataclasses.replace(query, offset=len(leafed)), found):
        leafed += some
    assert leafed == everything
    assert len(set(leafed)) == len(leafed) == window(found.values(), query)["matched"]


def test_what_did_not_change_is_the_same_object() -> None:
    judging, rows = Judging(), thirty()
    before = grouped(judging.judge(standing(rows), SETTINGS), SETTINGS, {})
    rows[3, "clients"] = dataclasses.replace(rows[3, "clients"], done=55)
    after = grouped(judging.judge(standing(rows), SETTINGS), SETTINGS, before)
    assert {n for n in after if after[n] is not before[n]} == {3}


def test_the_state_of_a_salon_is_that_of_its_worst_stream_and_its_age_that_of_its_oldest_quick_proof() -> None:
    found = salons()
    assert {n: one.state for n, one in found.items() if one.state != "fresh"} == {7: "stopped", 11: "waiting"}
    assert all(WORST.index(one.state) == min(WORST.index(each.state) for each in one.judged) for one in found.values())
    assert found[11].oldest is None
    assert found[4].oldest == NOW - timedelta(minutes=2)


def test_what_is_told_is_json_with_each_stream() -> None:
    told = msgspec.json.decode(msgspec.json.encode(window(salons().values(), Query(text="7"))))
    assert told["salons"][0]["streams"][0].keys() <= {
        "stream", "state", "done", "expected", "proved_as_of", "last_success_at", "requests", "error", "next_at",
    }  # fmt: skip
    assert {one["stream"] for one in told["salons"][0]["streams"]} == set(Settings().kept())
