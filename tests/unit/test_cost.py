"""Are the costs that `ycsync plan` prints, and by which a way is chosen, those that were measured?"""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ycsync.config import BUILT_IN_PRESETS, STREAMS, Preset, Settings, Yclients
from ycsync.model.streams import GOODS, SCHEDULES, TRANSACTIONS
from ycsync.plan.cost import (
    Counts,
    bulk_requests,
    by_client_requests,
    client_pages,
    client_requests,
    declared_requests,
    estimate,
    estimate_all,
    prefers_by_client,
    quiet_requests_per_day,
    risk,
)

LIMITS = Yclients()
PRESETS = st.sampled_from(list(BUILT_IN_PRESETS.values()))
MANY = st.integers(0, 200_000)


@pytest.mark.parametrize(("page", "least", "most"), [(1000, 18, 20), (300, 59, 63)])
def test_bulk_requests_are_those_that_whole_passes_took(page: int, least: int, most: int) -> None:
    assert least <= bulk_requests(12_300, page) <= most


@pytest.mark.parametrize("records", [0, 1, 999])
def test_visits_that_fit_one_page_take_one_request(records: int) -> None:
    assert bulk_requests(records, 1000) == 1


@pytest.mark.parametrize(("clients", "pages"), [(0, 1), (1, 1), (299, 1), (300, 2), (1000, 4), (10_000, 36), (100_000, 361)])
def test_client_pages_are_those_that_scans_took(clients: int, pages: int) -> None:
    assert client_pages(clients) == pages


def test_the_main_job_costs_what_the_design_allows() -> None:
    cost = estimate(BUILT_IN_PRESETS["aggressive"], LIMITS, 1000, 12_000)
    assert cost.requests <= 40
    assert cost.batches == 1
    assert cost.duration_s <= 12
    assert estimate(BUILT_IN_PRESETS["balanced"], LIMITS, 1000, 12_000).duration_s <= 20


@pytest.mark.parametrize(("preset", "hours"), [("aggressive", 2.0), ("balanced", 0.65), ("conservative", 9.5), ("night", 39.0)])
def test_the_old_way_takes_as_long_as_the_handbook_says(preset: str, hours: float) -> None:
    cost = estimate(BUILT_IN_PRESETS[preset], LIMITS, 1000, 12_000, by_client=True)
    assert cost.requests > 1000
    assert cost.duration_s / 3600 == pytest.approx(hours, rel=0.06)


@pytest.mark.parametrize(
    ("preset", "word"), [("aggressive", "High"), ("balanced", "Low"), ("conservative", "Very low"), ("night", "Minimal")]
)
def test_the_built_in_presets_carry_the_handbooks_risks(preset: str, word: str) -> None:
    assert estimate(BUILT_IN_PRESETS[preset], LIMITS, 1000, 12_000).risk == word


def test_the_risk_follows_the_share_and_not_the_name() -> None:
    generous = dataclasses.replace(LIMITS, per_minute=2000, per_second=50)
    assert estimate(BUILT_IN_PRESETS["aggressive"], generous, 1000, 12_000).risk == "Minimal"
    assert [risk(share) for share in (1.0, 0.8, 0.5, 0.25, 0.0)] == ["High", "Low", "Very low", "Minimal", "Minimal"]


def test_a_full_minutes_budget_comes_round_once_a_minute() -> None:
    eager = Preset(100_000, timedelta(0), 200, 5, timedelta(0), 3, 30)
    cost = estimate(eager, LIMITS, 1000, 12_000, by_client=True)
    # Five full minutes' budgets and a little more; each slot is free 60 s after its answer.
    assert cost.duration_s == pytest.approx(1011 / 200 * 60.25, rel=0.03)
    assert cost.requests_per_minute == 200
    assert cost.share_of_limit == 1.0


def test_few_clients_with_many_visits_go_client_by_client() -> None:
    assert prefers_by_client(10, 20_000)
    assert not prefers_by_client(1000, 12_000)
    assert not prefers_by_client(0, 0)


def test_many_salons_share_one_budget() -> None:
    preset = BUILT_IN_PRESETS["aggressive"]
    one = estimate(preset, LIMITS, 1000, 12_000)
    ten = estimate_all(preset, LIMITS, [Counts(1000, 12_000)] * 10)
    assert ten.requests == 10 * (one.requests - 1) + 1  # the list of salons is read once
    assert ten.batches == one.batches
    assert ten.duration_s > 5 * one.duration_s


def test_a_quiet_salon_costs_two_requests_a_cycle() -> None:
    five_minutes: dict[str, timedelta | None] = dict.fromkeys(("clients", "records"), timedelta(minutes=5))
    assert quiet_requests_per_day(five_minutes) == 2 * 288
    assert quiet_requests_per_day(Settings().streams) == 2 * 288 + 4
    assert quiet_requests_per_day(STREAMS) == 2 * 288 + 4 + 24 + 3 + 24 + 3 * 24
    assert quiet_requests_per_day({"clients": None}) == 0


def test_a_declared_stream_costs_by_how_it_is_read() -> None:
    assert declared_requests(SCHEDULES, 5000) == 1
    assert declared_requests(GOODS, 0) == 3
    assert declared_requests(GOODS, 230) == client_pages(230, 100) + 2
    assert declared_requests(TRANSACTIONS, 10_000) == bulk_requests(10_000, 100)


@given(PRESETS, MANY, MANY, st.booleans())
def test_a_cost_stays_within_its_bounds(preset: Preset, clients: int, visits: int, by_client: bool) -> None:
    cost = estimate(preset, LIMITS, clients, visits, by_client=by_client)
    assert cost.low_s <= cost.duration_s <= cost.high_s
    assert 1 <= cost.requests_per_minute <= min(preset.per_minute, cost.requests)
    assert 0 < cost.share_of_limit <= 1
    assert cost.batches >= 1


@given(PRESETS, MANY, MANY, st.integers(1, 5_000), st.booleans())
def test_more_to_fetch_never_costs_less(preset: Preset, clients: int, visits: int, more: int, by_client: bool) -> None:
    small = estimate(preset, LIMITS, clients, visits, by_client=by_client)
    large = estimate(preset, LIMITS, clients + more, visits + more, by_client=by_client)
    assert large.requests >= small.requests
    assert large.batches >= small.batches
    assert large.duration_s >= small.duration_s


@given(MANY, st.integers(25, 1000))
def test_a_smaller_page_never_takes_fewer_requests(rows: int, page: int) -> None:
    assert bulk_requests(rows, page) >= bulk_requests(rows, 1000)
    assert bulk_requests(rows, page) * page >= rows or rows < page


@given(st.integers(0, 20_000))
def test_all_requests_of_a_pass_are_counted(clients: int) -> None:
    cost = estimate(BUILT_IN_PRESETS["balanced"], LIMITS, clients, 0, by_client=True)
    assert cost.requests == 4 + client_requests(clients) + by_client_requests(clients)
