"""Is every metric there from the beginning, within bounds, and described?"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import time
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ycsync import metrics
from ycsync.api import endpoints
from ycsync.api.outcome import Kind
from ycsync.config import STREAMS
from ycsync.metrics import Metrics, State, StreamState, Told
from ycsync.model import CompanyId
from ycsync.model.streams import DECLARED
from ycsync.plan.dates import WIDEST
from ycsync.plan.scan import Ask
from ycsync.plan.sweep import Window
from ycsync.service.gauges import spread
from ycsync.service.standing import State as Judgement

TOLD = Told(
    tuple(StreamState(stream, {"fresh": 1}, (1.0, 2.0, 3.0, 4.0)) for stream in STREAMS),
    (1, 2),
    server=(200, 40, 12.0),
    others=30,
)
STATE = State(
    told=TOLD, age_s=0.5, preset=(4, 160), api=(5, 200), ready=True, database=True, reload=True, loaded_at=1.0,
)  # fmt: skip
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def names(text: str) -> set[str]:
    """Names of series, as queries have them."""
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def value(text: str, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    raise AssertionError(f"there is no {name} {labels}")


def test_what_is_counted_begins_at_zero() -> None:
    text = Metrics("1").text().decode()
    for endpoint in metrics.ENDPOINTS:
        for outcome in metrics.REQUEST_OUTCOMES:
            assert value(text, "ycsync_requests_total", endpoint=endpoint, outcome=outcome) == 0
    for stream in STREAMS:
        assert value(text, "ycsync_pages_reread_total", stream=stream) == 0
        assert value(text, "ycsync_batches_total", stream=stream, outcome="failed") == 0
        assert value(text, "ycsync_rows_total", stream=stream, effect="quarantined") == 0
    assert value(text, "ycsync_throttles_total") == 0


def test_what_only_the_database_knows_is_absent_until_it_was_read() -> None:
    text = Metrics().text(State(None, 0, (4, 160), (5, 200), False, True, True, 1.0)).decode()
    assert "ycsync_ready" in names(text)
    assert not names(text) & {"ycsync_quarantine_rows", "ycsync_lag_seconds", "ycsync_limit_used_requests"}


def test_what_the_server_says_of_the_limit_is_shown_once_it_said_so() -> None:
    text = Metrics().text(STATE).decode()
    assert value(text, "ycsync_limit_server_requests") == 200
    assert value(text, "ycsync_limit_server_remaining_requests") == 40
    assert value(text, "ycsync_limit_server_reset_seconds") == 11.5, "read half a second ago"
    assert value(text, "ycsync_limit_others_requests") == 30
    silent = Metrics().text(dataclasses.replace(STATE, told=Told((), (1, 2)))).decode()
    assert value(silent, "ycsync_limit_others_requests") == 0
    assert not [name for name in names(silent) if name.startswith("ycsync_limit_server_")]


def test_the_labels_known_beforehand_are_those_that_come() -> None:
    assert {*get_args(Kind), "none"} == set(metrics.REQUEST_OUTCOMES)
    assert set(get_args(Judgement)) == set(metrics.STATES)
    made = {
        endpoints.companies(1, 1).endpoint,
        endpoints.clients(1, Ask(1, 1), None).endpoint,
        endpoints.clients_search(1, Ask(1, 1)).endpoint,
        endpoints.records(1, Window(), 1, WIDEST).endpoint,
        *(endpoints.declared(stream, 1).endpoint for stream in DECLARED.values()),
        endpoints.clients_by_id(1, [1]).endpoint,
        endpoints.client(1, 1).endpoint,
        endpoints.record(1, 1).endpoint,
        endpoints.hooks_settings(1).endpoint,
        *(getattr(endpoints, name)(CompanyId(1)).endpoint for name in ("company", "services", "service_categories", "staff")),
        *(getattr(endpoints, f"{name}_again")(CompanyId(1)).endpoint for name in ("services", "staff")),  # second paths
    }
    assert made == set(metrics.ENDPOINTS) - {"auth"}
    functions = inspect.getmembers(endpoints, lambda one: inspect.isfunction(one) and one.__module__ == endpoints.__name__)
    assert len(functions) == len(made) - len(DECLARED) + 1 + 2


def test_a_throttle_is_counted_as_it_comes() -> None:
    found = Metrics()
    found.request("records", "throttled", 0.1)
    found.request("records", "ok", 0.1)
    assert value(found.text().decode(), "ycsync_throttles_total") == 1


def test_database_time_is_counted_by_operation() -> None:
    found = Metrics()
    found.database("commit", 0.02)
    text = found.text().decode()
    assert value(text, "ycsync_database_duration_seconds_count", operation="commit") == 1
    assert value(text, "ycsync_database_duration_seconds_bucket", operation="commit", le="0.025") == 1
    assert value(text, "ycsync_database_duration_seconds_bucket", operation="commit", le="0.005") == 0
    assert value(text, "ycsync_database_duration_seconds_count", operation="claim") == 0


def test_this_process_began_before_now_though_nothing_tells_when_the_machine_did(monkeypatch: pytest.MonkeyPatch) -> None:
    real = open

    def hidden(path: object, *args: object) -> object:
        if path == "/proc/stat":  # as in the unit's sandbox
            raise FileNotFoundError(path)
        return real(path, *args)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", hidden)
    started = value(Metrics().text().decode(), "process_start_time_seconds")
    assert time.time() - 3600 * 4 < started <= time.time()


@pytest.mark.parametrize(
    ("lags", "said"),
    [
        ([], ()),
        ([7.0], (7.0, 7.0, 7.0, 7.0)),
        ([float(n) for n in range(1, 101)], (50.0, 90.0, 99.0, 100.0)),
        ([1.0, 2.0, math.inf], (2.0, math.inf, math.inf, math.inf)),
    ],
)
def test_quantiles_are_lags_that_salons_have(lags: list[float], said: tuple[float, ...]) -> None:
    assert spread(lags) == said


def test_the_text_is_that_of_the_library_itself() -> None:
    found = Metrics('"1"\\\n')
    found.batch("records", "more", 3.0, retries=1, rows={"inserted": 300}, reread=2)
    found.request("records", "ok", math.pi)

    def own(text: bytes) -> list[bytes]:
        return [line for line in text.splitlines() if not line.startswith(b"process_")]  # they move between the two

    assert own(found.text(STATE)) == own(generate_latest(found.registry))


def test_every_metric_is_described_and_every_described_one_is_there() -> None:
    text = Metrics("1").text(STATE).decode()
    families = {
        family.name + ("_total" if family.type == "counter" and not family.name.endswith("_total") else "")
        for family in text_string_to_metric_families(text)
    }
    described = set(re.findall(r"^\| `([a-z_]+)", DOCS.read_text("utf-8"), re.MULTILINE))
    assert described == families
