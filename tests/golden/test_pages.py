"""The pages of the running service: metrics, status, and the sections of the status page."""

from __future__ import annotations

import json

import pytest

from golden.compare import Golden, as_json, as_metrics, sections
from golden.salon import Run

pytestmark = pytest.mark.xdist_group("golden")

# Their values follow from the salon and the settings alone.
KEPT = (
    "ycsync_ready",
    "ycsync_database_up",
    "ycsync_config_last_reload_successful",
    "ycsync_build_info",
    "ycsync_streams",
    "ycsync_streams_failing",
    "ycsync_pass_done_rows",
    "ycsync_pass_expected_rows",
    "ycsync_quarantine_rows",
    "ycsync_paused",
    "ycsync_paused_salons",
    "ycsync_limit_requests",
    "ycsync_limit_api_requests",
    "ycsync_limit_blocked_seconds",
    "ycsync_limit_others_requests",
    "ycsync_throttles",
    "ycsync_request_retries",
    "ycsync_rows",
    "ycsync_hooks",
    "ycsync_hooks_waiting",
)


def test_metrics(run: Run, golden: Golden) -> None:
    golden("metrics.txt", as_metrics(run.pages["/metrics"], KEPT))


def test_api_status(run: Run, golden: Golden) -> None:
    golden("api_status.json", as_json(json.loads(run.pages["/api/status"])))


def test_the_other_answers_in_json(run: Run, golden: Golden) -> None:
    paths = ("/healthz", "/readyz", "/api/salons", "/api/traffic")
    told = sections((path, as_json(json.loads(run.pages[path]))) for path in paths)
    golden("api_others.txt", told)


def test_the_sections_that_the_page_is_told(run: Run, golden: Golden) -> None:
    told = dict(run.sections)
    ended = sorted(told["batches"]["ended"], key=lambda one: (one["company"], one["stream"]))
    golden("page_sections.json", as_json({**told, "batches": {**told["batches"], "ended": ended}}))
