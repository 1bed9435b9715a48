"""Do `status`, `verify` and `plan` tell the truth about a database, in words, in JSON and in their exit codes?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from filled import call, fill, make_schema, write_config
from filled import execute as sql
from support.patience import SAFETY_S


def judged(config: Path) -> dict[str, dict[str, Any]]:
    """The criteria of `verify --json`, by name."""
    result = call(config, "verify", "--json")
    document = json.loads(result.stdout)
    assert document["ok"] == (result.exit_code == 0) == all(one["passed"] for one in document["criteria"])
    return {one["name"]: one for one in document["criteria"]}


def failing(config: Path) -> set[str]:
    return {name for name, one in judged(config).items() if not one["passed"]}


# --- status -----------------------------------------------------------------------------------------------------------


def test_status_of_a_complete_salon_is_well(config: Path, database_url: str) -> None:
    fill(database_url)
    result = call(config, "status")
    assert result.exit_code == 0, result.output
    assert "Everything that is on is complete and fresh." in result.stdout
    assert "7 in the last minute (limit 200)" in result.stdout
    assert "4001 Salon 4001" in result.stdout


def test_status_json_is_stable(config: Path, database_url: str) -> None:
    fill(database_url)
    result = call(config, "status", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert list(document) == [
        "ok", "as_of", "preset", "services", "requests", "paused", "hints", "own_presets", "gone", "erased",
        "quarantined", "odd", "last_hour", "streams",
    ]  # fmt: skip
    assert document["last_hour"] == {"batches": 10, "failed": 0, "requests": 200, "errors": 0, "throttled": 0, "working": 0}
    assert document["requests"] == {
        "second": 0, "minute": 7, "limit_second": 5, "limit_minute": 200, "preset_second": 4, "preset_minute": 160,
        "throttled": 0, "blocked_until": None, "server_limit": None, "server_remaining": None, "server_resets_at": None,
        "server_said_at": None, "others": None, "leaves_minute": None,
    }  # fmt: skip
    clients = next(one for one in document["streams"] if one["company"] == 4001 and one["stream"] == "clients")
    assert 30 <= clients.pop("lag_s") < 60
    assert clients.pop("last_success_at").endswith("+00:00")
    assert clients == {
        "company": 4001, "title": "Salon 4001", "stream": "clients", "state": "fresh", "phase": "live", "expected": 3,
        "done": 3, "eta_s": None, "eta_range_s": None, "next_s": None,
        "requests": 4, "quarantined": 0, "lacks": [], "paused": False, "error": None, "error_code": None,
        "error_since": None, "failures": 0,
    }  # fmt: skip


def test_status_tells_what_the_server_says_of_the_limit_and_who_else_uses_it(config: Path, database_url: str) -> None:
    fill(database_url)
    sql(
        database_url,
        "update yclients.limiter_egress set server_limit = 200, server_remaining = 37, server_said_at = now(), "
        "server_resets_at = now() + interval '50 s', others = 41, others_at = now(), leaves_second = 4, leaves_minute = 157",
    )
    said = call(config, "status").stdout
    assert re.search(r"^left      37 of 200 requests a minute, says YCLIENTS, more in (50|4\d) s$", said, re.MULTILINE)
    assert "SHARED    others send about 41 requests a minute out of this limit: ycsync leaves them that" in said
    requests = json.loads(call(config, "status", "--json").stdout)["requests"]
    assert (requests["server_limit"], requests["server_remaining"], requests["others"]) == (200, 37, 41)
    assert requests["leaves_minute"] == 157
    assert requests["server_resets_at"] > requests["server_said_at"]
    sql(
        database_url,
        "update yclients.limiter_egress set server_said_at = now() - interval '2 min', others_at = now() - interval '2 min'",
    )
    said = call(config, "status").stdout
    assert "says YCLIENTS" not in said
    assert "SHARED" not in said
    assert json.loads(call(config, "status", "--json").stdout)["requests"]["others"] is None


def test_status_names_budgets_that_the_server_counts_as_one(config: Path, database_url: str) -> None:
    fill(database_url)
    sql(
        database_url,
        "update yclients.limiter_egress set shares_with = '{far}', shares_at = now()",
        "insert into yclients.limiter_egress (egress, shares_with, shares_at) values ('far', '{default}', now())",
        *(
            "insert into yclients.workers (role, host, pid, pid_start, egress, version, info, address) "
            f"values ('service', '{egress}', 1, '1', '{egress}', '0', '{{}}', '192.168.1.5')"
            for egress in ("default", "far")
        ),
    )
    assert (
        "TOO FAST  YCLIENTS counts the requests of the egress names default and far together" in call(config, "status").stdout
    )
    sql(database_url, "update yclients.limiter_egress set shares_with = null where egress = 'far'")
    assert "TOO FAST" not in call(config, "status").stdout, "one of them alone proves nothing"


def test_status_of_a_stopped_salon_says_why_and_since_when(config: Path, database_url: str) -> None:
    fill(database_url)
    sql(
        database_url,
        "update yclients.sync_status set phase = 'stopped', last_error = 'the licence has lapsed', error_code = 'http_402', "
        "error_since = now() - interval '2 hours', failures = 3 where company_id = 4002 and stream = 'records'",
    )
    result = call(config, "status")
    assert result.exit_code == 1
    assert "4002 Salon 4002, records: the licence has lapsed (for 2 h 00 min, 3 times in a row)" in result.stdout
    assert "Not complete or not fresh: 1 of 11 streams." in result.stdout


def test_status_tells_the_time_that_is_left(config: Path, database_url: str) -> None:
    fill(database_url)
    sql(
        database_url,
        "update yclients.sync_status set phase = 'filling', expected = 1000, done = 250, claimed_by = 1, "
        "pass_started_at = now() - interval '10 seconds', last_success_at = null, proved_as_of = null "
        "where company_id = 4001 and stream = 'records'",
        "insert into yclients.sync_batches (company, stream, preset, started_at) "
        "values (4001, 'records', 'balanced', now() - interval '10 seconds')",
        "update yclients.sync_batches set started_at = now() - interval '2 hours', finished_at = now() - interval '1 hour' "
        "where finished_at is not null",
    )
    document = json.loads(call(config, "status", "--json").stdout)
    records = next(one for one in document["streams"] if one["company"] == 4001 and one["stream"] == "records")
    assert records["state"] == "filling"
    assert 29 <= records["eta_s"] <= 40
    low, high = records["eta_range_s"]
    assert 15 <= low < records["eta_s"] < high <= 60


def test_status_shows_pauses_and_the_service_and_its_refused_reload(config: Path, database_url: str) -> None:
    fill(database_url)
    info = json.dumps({"preset": "night", "reload": {"problem": "line 3: no such key", "count": 1}})
    sql(
        database_url,
        "insert into yclients.workers (role, host, pid, pid_start, egress, version, info) "
        f"values ('service', 'h', 4711, '1', 'default', '9.9', '{info}')",
        "insert into yclients.pauses (company_id) values (4001)",
    )
    text = call(config, "status").stdout
    assert "pid 4711, version 9.9" in text
    assert "last reload refused, the old settings hold: line 3: no such key" in text
    assert "works with preset night, not with the file's" in text
    assert "PAUSED    salon 4001" in text
    document = json.loads(call(config, "status", "--json").stdout)
    assert document["services"][0]["reload_problem"] == "line 3: no such key"
    assert [pause["company"] for pause in document["paused"]] == [4001]


@pytest.mark.empty
def test_status_neither_makes_nor_migrates_a_schema(config: Path, database_url: str) -> None:
    result = call(config, "status")
    assert result.exit_code == 1
    assert "ycsync db migrate" in result.stderr
    assert result.stdout == ""


def test_status_without_an_embedded_database_does_not_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    result = call(write_config(tmp_path), "status")
    assert result.exit_code == 1
    assert "there is no embedded database yet" in result.stderr
    assert not (tmp_path / "state").exists()


def test_status_of_an_unreachable_database_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YCSYNC_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    result = call(write_config(tmp_path), "status")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr
    assert "secret" not in result.stderr


async def test_status_watch_ends_with_ctrl_c(config: Path, database_url: str) -> None:
    await asyncio.to_thread(fill, database_url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ycsync", "status", "--watch", "--config", str(config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ},
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(SAFETY_S):
        while b"complete and fresh" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert errors == b""
    assert process.returncode == 0


@pytest.mark.parametrize("encoding", ["koi8-r", "ascii", "utf-8"])
def test_a_title_that_the_locale_cannot_write_costs_no_answer(config: Path, database_url: str, encoding: str) -> None:
    fill(database_url)
    sql(database_url, "update yclients.companies set title = 'Салон — 💇' where id = 4001")

    def said(*args: str) -> str:
        command = [sys.executable, "-m", "ycsync", *args, "--config", str(config)]
        env = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, env=env, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode(encoding)

    shown = {"koi8-r": "4001 Салон ? ?", "ascii": "4001 ????? ? ?", "utf-8": "4001 Салон — 💇"}[encoding]
    assert f"{shown} " in said("status")
    assert "Салон — 💇" in {one["title"] for one in json.loads(said("status", "--json"))["streams"]}


def on_a_terminal(config: Path, columns: int) -> list[str]:
    """What `status` draws there, without colours."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (30, columns))
    command = [sys.executable, "-m", "ycsync", "status", "--config", str(config)]
    env = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env)
    os.close(slave)
    drawn = b""
    with contextlib.suppress(OSError):  # it has ended
        while data := os.read(master, 65536):
            drawn += data
    os.close(master)
    process.wait()
    return re.sub(r"\x1b\[[0-9;]*m", "", drawn.decode()).splitlines()


def test_on_a_terminal_what_is_fresh_of_many_salons_shares_a_line(config: Path, database_url: str) -> None:
    fill(database_url, range(4001, 4041))
    sql(
        database_url,
        "update yclients.sync_status set phase = 'stopped', last_error = 'salon ' || company_id || ', ' || stream || ': no', "
        "error_code = 'http_403' where company_id between 4010 and 4015",
    )
    found = on_a_terminal(config, 70)
    table = [line for line in found if line.startswith("40")]
    assert [line[:4] for line in table[:30]] == [str(company) for company in range(4010, 4016) for _ in range(5)]
    assert all("stopped" in line and len(line) <= 70 for line in table[:30])
    assert found[found.index(table[29]) + 1].startswith("34 salons: 171 streams fresh, not older than ")
    assert sum(line.startswith("salon 40") for line in found) == 20
    assert found[-2:] == ["and 10 more errors: `ycsync status | less`", "Not complete or not fresh: 30 of 201 streams."]
    piped = call(config, "status").stdout.splitlines()
    assert sum(" fresh " in line for line in piped) == 171
    assert sum(line.startswith("salon 40") for line in piped) == 30


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify_passes_a_complete_salon(config: Path, database_url: str) -> None:
    fill(database_url)
    result = call(config, "verify")
    assert result.exit_code == 0, result.output
    assert [line[:4] for line in result.stdout.splitlines()] == ["PASS"] * 6
    assert "6 clients in the database, 6 proved, salons: 2" in result.stdout
    assert "18 visits and 0 cancelled" in result.stdout
    assert list(judged(config)) == ["clients", "visits", "limit", "errors", "integrity", "stability"]


def test_a_token_that_was_mistyped_and_mended_is_no_error_rate(config: Path, database_url: str) -> None:
    fill(database_url)
    sql(
        database_url,
        "insert into yclients.sync_batches (company, stream, preset, started_at, finished_at, outcome, requests, errors) "
        "select 0, 'companies', 'balanced', now(), now(), 'denied', 10, 10 from generate_series(1, 3)",
    )
    assert failing(config) == set()
    assert (
        "0 of 200 requests in 24 h: 0.00%; 30 more refused for a token, a right or a licence" in call(config, "verify").stdout
    )


def test_verify_says_how_many_batches_may_end_badly(config: Path, database_url: str) -> None:
    fill(database_url)
    sql(
        database_url,
        "insert into yclients.sync_batches (company, stream, preset, started_at, finished_at, outcome) "
        "select 4001, 'staff', 'balanced', now(), now(), 'lost' from generate_series(1, 11)",
    )
    assert "[11 batches did not end well, 10 may" in call(config, "verify").stdout


def test_verify_of_an_empty_database_passes_nothing_that_is_not_so(config: Path, database_url: str) -> None:
    make_schema(database_url)
    assert failing(config) == {"clients", "visits", "errors", "stability"}


@pytest.mark.parametrize(
    ("statement", "criteria"),
    [
        ("update yclients.clients set deleted_at = now() where id = 70001", {"clients"}),
        ("update yclients.sync_status set last_success_at = null where stream = 'clients'", {"clients"}),
        ("delete from yclients.record_services; delete from yclients.records where client_id = 70001", {"visits"}),
        ("update yclients.sync_batches set throttled = 1 where stream = 'staff'", {"limit"}),
        ("update yclients.limiter_egress set throttled = 1, slow_since = now()", {"limit"}),
        ("update yclients.sync_batches set errors = 1", {"errors"}),
        ("alter table yclients.records drop constraint records_pkey", {"integrity"}),
        ("delete from yclients.records where client_id is null", {"visits", "integrity"}),
        ("update yclients.clients set name = '', phone_raw = '' where id = 70001", {"integrity"}),
        (
            "insert into yclients.quarantine (company_id, stream, entity_id, reason, payload, first_seen, last_seen) "
            "values (4001, 'clients', '7', 'no id', '{}', now(), now())",
            {"integrity"},
        ),
        (
            "insert into yclients.sync_batches (company, stream, preset, started_at, finished_at, outcome) "
            "select 4001, 'staff', 'balanced', now(), now(), 'failed' from generate_series(1, 11)",
            {"stability"},
        ),
        ("update yclients.sync_status set claimed_by = 99 where stream = 'staff' and company_id = 4001", {"stability"}),
        (
            "insert into yclients.sync_batches (company, stream, preset, worker_id, started_at, requests) "
            "values (4001, 'staff', 'balanced', 99, now(), 0)",
            {"stability"},
        ),
        ("update yclients.sync_status set proved_as_of = now() - interval '1 hour' where stream = 'records'", {"stability"}),
    ],
)
def test_verify_fails_what_is_wrong_and_only_that(config: Path, database_url: str, statement: str, criteria: set[str]) -> None:
    fill(database_url)
    sql(database_url, *statement.split("; "))
    assert failing(config) == criteria


def test_a_refusal_of_last_week_fails_nothing_today(config: Path, database_url: str) -> None:
    fill(database_url)
    sql(database_url, "update yclients.limiter_egress set throttled = 2, slow_since = now() - interval '7 days'")
    assert failing(config) == set()
    assert judged(config)["limit"]["figures"]["throttled_ever"] == 2


def test_verify_forgives_an_outage_that_was_recovered_from(config: Path, database_url: str) -> None:
    fill(database_url)
    sql(database_url, "update yclients.sync_batches set outcome = 'lost' where stream = 'staff'")
    assert failing(config) == set()


# --- plan -------------------------------------------------------------------------------------------------------------


def test_plan_reckons_with_the_salons_in_the_database(config: Path, database_url: str) -> None:
    fill(database_url)
    document = json.loads(call(config, "plan", "--json").stdout)
    assert document["source"] == "database"
    assert document["salons"] == [
        {"company": 4001, "clients": 3, "visits": 9},
        {"company": 4002, "clients": 3, "visits": 9},
    ]
    assert list(document) == ["source", "salons", "limits", "picks", "quiet", "own_presets", "presets"]
    assert [one["name"] for one in document["presets"]] == ["aggressive", "balanced", "conservative", "night"]
    assert set(document["presets"][0]["bulk"]) == {
        "requests", "batches", "duration_s", "low_s", "high_s", "requests_per_minute", "share_of_limit", "risk",
    }  # fmt: skip


def test_plan_of_given_counts_needs_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    result = call(write_config(tmp_path), "plan", "--clients", "1000", "--visits", "12000")
    assert result.exit_code == 0, result.output
    assert "* balanced" in result.stdout
    assert "one a client" in result.stdout
    assert "ycsync goes in bulk" in result.stdout


def test_plan_without_any_counts_asks_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    config = write_config(tmp_path)
    for args in ((), ("--clients", "5"), ("--live", "--clients", "5", "--visits", "5")):
        result = call(config, "plan", *args)
        assert result.exit_code == 2
        assert "--clients" in result.stderr


@pytest.mark.parametrize(("history", "way"), [("auto", "bulk"), ("by_client", "by_client"), ("bulk", "bulk")])
def test_plan_follows_the_configured_way(tmp_path: Path, history: str, way: str) -> None:
    config = write_config(tmp_path, f"history: {history}")
    document = json.loads(call(config, "plan", "--clients", "1000", "--visits", "12000", "--json").stdout)
    assert document["picks"]["way"] == way
