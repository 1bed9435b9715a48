"""Do the status line, /readyz, /api/status and /metrics say what was judged?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ycsync.api import Attempt
from ycsync.config import STREAMS, Settings
from ycsync.service import gauges, standing
from ycsync.service.overview import Overview
from ycsync.store.report import Salon, Standing, StreamRow, Usage, Worker

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SETTINGS = Settings()


def row(company: int, stream: str, *, phase: str = "live", lag_s: float = 30, code: str | None = None) -> StreamRow:
    at = NOW - timedelta(seconds=lag_s)
    return StreamRow(company, stream, phase, 4, 1, last_success_at=at, proved_as_of=at, error_code=code)


def overview(
    *rows: StreamRow,
    pauses: tuple[int, ...] = (),
    workers: tuple[Worker, ...] = (),
    clock: Callable[[], float] | None = None,
) -> Overview:
    told = {(0, "companies"): row(0, "companies")}
    for company in (4001, 4002):
        told.update({(company, stream): row(company, stream) for stream in STREAMS})
    told.update({(one.company, one.stream): one for one in rows})
    salons = (Salon(4001, "one", True), Salon(4002, "two", True))
    found = Overview(clock or (lambda: 0.0))
    found.update(Standing(NOW, salons, tuple(told.values()), Usage(2, 31), workers, dict.fromkeys(pauses, NOW)), SETTINGS)
    return found


def metric(found: Overview, name: str, lost: datetime | None = None, problem: str | None = None) -> str:
    lines = found.measure(SETTINGS, problem, lost).decode().splitlines()
    return next(line.rpartition(" ")[2] for line in lines if line.startswith(name + " "))


def test_before_anything_is_known_nothing_is_ready() -> None:
    found = Overview()
    assert found.reasons() == ("starting: nothing is known yet",)
    assert found.as_json(SETTINGS, None)["ready"] is False
    assert metric(found, "ycsync_ready") == "0.0"


def test_complete_and_fresh_is_ready_everywhere() -> None:
    found = overview()
    assert found.reasons() == ()
    assert found.as_json(SETTINGS, None)["ok"] is found.as_json(SETTINGS, None)["ready"] is True
    assert found.line(SETTINGS, None, None) == "2 salons, 2 complete; 31/160 requests a minute"
    assert metric(found, "ycsync_ready") == "1.0"
    assert metric(found, 'ycsync_streams{state="fresh",stream="records"}') == "2.0"
    assert metric(found, 'ycsync_lag_max_seconds{stream="records"}') == "30.0"
    assert metric(found, 'ycsync_limit_requests{window="60s"}') == "160.0"


def test_each_trouble_is_said_everywhere() -> None:
    found = overview(row(4001, "records", phase="stopped", code="http_403"), row(4002, "clients", lag_s=9000), pauses=(4002,))
    assert found.reasons() == ("salon 4001, records: stopped (http_403)", "salon 4002, clients: stale, paused")
    assert found.line(SETTINGS, "line 1: no", NOW) == (
        "DATABASE AWAY since 12:00:00 UTC; 2 salons, 0 complete; 1 stale; 1 stopped; 31/160 requests a minute; 1 paused; "
        "last reload refused: line 1: no"
    )
    assert found.as_json(SETTINGS, NOW)["reasons"][0] == "the database is away"
    assert metric(found, "ycsync_ready") == "0.0"
    assert metric(found, "ycsync_database_up", lost=NOW) == "0.0"
    assert metric(found, "ycsync_config_last_reload_successful", problem="line 1: no") == "0.0"


def test_a_salon_that_fills_shows_its_share() -> None:
    found = overview(row(4001, "records", phase="filling"))
    assert "1 filling (25%)" in found.line(SETTINGS, None, None)
    assert metric(found, 'ycsync_lag_max_seconds{stream="records"}') == "30.0"


def test_a_pause_between_batches_is_told() -> None:
    due = replace(row(4001, "records", phase="filling"), due_at=NOW + timedelta(seconds=130))
    found = overview(due, workers=(Worker("service", 1, "0", "default", NOW, NOW, {}),))
    assert "next batch in 2 min)" in found.line(SETTINGS, None, None)


def test_a_share_of_what_is_not_counted_yet_is_not_told() -> None:
    found = overview(row(4001, "records", phase="filling"), StreamRow(4001, "clients", "new"))
    assert "1 filling;" in found.line(SETTINGS, None, None)


def test_a_token_that_opens_nothing_is_told_though_no_salon_is_known() -> None:
    says = "companies: the user token is not accepted."
    found = overview(StreamRow(0, "companies", "stopped", last_error=says, error_code="http_401"))
    assert says in found.line(SETTINGS, None, None)


def test_a_salon_that_was_never_complete_lags_without_end() -> None:
    found = overview(StreamRow(4001, "records"))
    assert metric(found, 'ycsync_lag_max_seconds{stream="records"}') == "+Inf"
    assert found.reasons() == ("salon 4001, records: waiting",)


def test_requests_and_batches_are_counted() -> None:
    found = overview()
    found.attempt(Attempt("records", "throttled", 429, 0.2))
    found.metrics.batch("records", "proved", 1.5, retries=2, rows={"inserted": 7})
    assert metric(found, 'ycsync_requests_total{endpoint="records",outcome="throttled"}') == "1.0"
    assert metric(found, 'ycsync_batches_total{outcome="proved",stream="records"}') == "1.0"
    assert metric(found, 'ycsync_request_retries_total{stream="records"}') == "2.0"
    assert metric(found, 'ycsync_rows_total{effect="inserted",stream="records"}') == "7.0"
    assert 'company="' not in found.metrics.text().decode(), "a label for each salon would have no bound"


def test_lag_is_told_as_quantiles_over_salons_and_the_largest() -> None:
    found = overview(row(4001, "records", lag_s=10), row(4002, "records", lag_s=500))
    assert metric(found, 'ycsync_lag_seconds{quantile="0.5",stream="records"}') == "10.0"
    assert metric(found, 'ycsync_lag_seconds{quantile="0.99",stream="records"}') == "500.0"
    assert metric(found, 'ycsync_lag_max_seconds{stream="records"}') == "500.0"


def test_lag_goes_on_though_nothing_is_judged_anew() -> None:
    found = overview()
    assert found._standing is not None
    later = replace(found._standing, now=NOW + timedelta(seconds=40))
    judged = found.judged
    found.update(later, SETTINGS)
    assert found.judged is judged
    assert metric(found, 'ycsync_lag_max_seconds{stream="records"}') == "70.0"


def test_lag_grows_while_the_database_is_not_read() -> None:
    now = [0.0]
    found = overview(clock=lambda: now[0])
    now[0] = 70.0
    assert metric(found, 'ycsync_lag_max_seconds{stream="records"}', lost=NOW) == "100.0"
    assert metric(found, "ycsync_state_age_seconds") == "70.0"


def test_a_scrape_looks_at_no_salon(monkeypatch: pytest.MonkeyPatch) -> None:
    found = overview()

    def never(*_: object) -> None:
        raise AssertionError("a scrape must not cost more with more salons")

    for module, name in ((gauges.Gauges, "told"), (gauges, "of_streams"), (standing, "reasons"), (standing, "judge")):
        monkeypatch.setattr(module, name, never)
    monkeypatch.setattr(found, "_judged", None)
    assert metric(found, "ycsync_ready") == "1.0"


def test_pauses_limits_and_blocks_are_told() -> None:
    found = overview(pauses=(0, 4002))
    assert metric(found, "ycsync_paused") == "1.0"
    assert metric(found, "ycsync_paused_salons") == "1.0"
    assert metric(found, 'ycsync_limit_used_requests{window="60s"}') == "31.0"
    assert metric(found, 'ycsync_limit_api_requests{window="60s"}') == "200.0"
    assert metric(found, "ycsync_limit_blocked_seconds") == "0.0"


def test_a_pass_that_fills_tells_its_rows() -> None:
    found = overview(row(4001, "records", phase="filling"))
    assert metric(found, 'ycsync_pass_done_rows{stream="records"}') == "1.0"
    assert metric(found, 'ycsync_pass_expected_rows{stream="records"}') == "4.0"
    assert metric(found, 'ycsync_pass_expected_rows{stream="clients"}') == "0.0"


def test_when_settings_were_taken_last_is_told() -> None:
    found = overview()
    name = "ycsync_config_last_reload_success_timestamp_seconds"
    assert float(metric(found, name)) == pytest.approx(time.time(), abs=60)
    found.reloaded(NOW)
    assert float(metric(found, name)) == NOW.timestamp()


def test_what_was_read_long_ago_is_not_called_ready() -> None:
    now = 0.0
    found = overview(clock=lambda: now)
    assert found.unread_since() is None
    now = 31.0
    assert found.reasons()[0].startswith("the database does not tell how things stand, since ")
    assert found.reasons(lost=NOW) == ("the database is away",), "which says why"
    assert metric(found, "ycsync_ready") == "0.0"
    assert found.line(SETTINGS, None, None).startswith("NOT READ since ")
    assert Overview(lambda: 99.0).unread_since() is None, "it begins, and says so"


def test_streams_that_fail_before_they_were_complete_are_counted() -> None:
    failing = replace(row(4001, "records", phase="filling", code="http_500"), failures=3)
    assert metric(overview(failing), 'ycsync_streams_failing{stream="records"}') == "1.0"
    assert metric(overview(replace(failing, failures=2)), 'ycsync_streams_failing{stream="records"}') == "0.0"
