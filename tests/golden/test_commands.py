"""The outputs of `status`, `verify`, `plan` and `doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filled import call, write_config
from golden.compare import Golden, as_json, as_table, as_text
from golden.salon import Run

pytestmark = pytest.mark.xdist_group("golden")

STATUS_TABLE = {"success": "<span>", "lag": "<span>", "requests": "<n>"}
STATUS_TEXT = {
    r"^requests  \d+ in the last minute": "requests  <n> in the last minute",
    r", \d+ in the last second": ", <n> in the last second",
    r"pid \d+, version \S+, for .*$": "pid <pid>, version <version>, for <span>",
}
VERIFY_TEXT = {
    r"last second \d+ of": "last second <n> of",
    r"last minute \d+ of": "last minute <n> of",
    r"of \d+ requests in 24 h": "of <n> requests in 24 h",
    r"\d+ batches in 24 h": "<n> batches in 24 h",
    r"keys unique in (\d+) of \1 tables": "keys unique in <n> of <n> tables",
}
DOCTOR_TEXT = {
    r"ycsync \S+ with Python \S+ in [^\s\"]+": "ycsync <version> with Python <version> in <folder>",
    r"127\.0\.0\.1:\d+": "127.0.0.1:<port>",
    r"PostgreSQL \d+, [a-z ]+; role \w+": "PostgreSQL <version>, <kind>; role <role>",
    r"the role \w+ is": "the role <role> is",
    r"[^\s\"]+/config\.yaml": "<folder>/config.yaml",
}


def said(run: Run, command: str) -> str:
    """Return the standard output of a command that succeeded without a complaint."""
    done = run.commands[command]
    assert (done.code, done.err) == (0, ""), done
    return done.out


def test_status_json(run: Run, golden: Golden) -> None:
    golden("status.json", as_json(json.loads(said(run, "status --json"))))


def test_status(run: Run, golden: Golden) -> None:
    header = "salon stream state done ETA success lag requests"
    golden("status.txt", as_text(as_table(said(run, "status"), header, STATUS_TABLE), STATUS_TEXT))


def test_verify_json(run: Run, golden: Golden) -> None:
    golden("verify.json", as_text(as_json(json.loads(said(run, "verify --json"))), VERIFY_TEXT))


def test_verify(run: Run, golden: Golden) -> None:
    golden("verify.txt", as_text(said(run, "verify"), VERIFY_TEXT))


def test_plan_json(run: Run, golden: Golden) -> None:
    golden("plan.json", said(run, "plan --json"))


def test_plan(run: Run, golden: Golden) -> None:
    golden("plan.txt", said(run, "plan"))


def test_plan_of_given_counts(tmp_path: Path, golden: Golden) -> None:
    asked = ("plan", "--clients", "1000", "--visits", "12000")
    config = write_config(tmp_path)
    golden("plan_given.json", call(config, *asked, "--json").stdout)
    golden("plan_given.txt", call(config, *asked).stdout)


def test_doctor_json(run: Run, golden: Golden) -> None:
    golden("doctor.json", as_text(as_json(json.loads(said(run, "doctor --json"))), DOCTOR_TEXT))


def test_doctor(run: Run, golden: Golden) -> None:
    golden("doctor.txt", as_text(said(run, "doctor"), DOCTOR_TEXT))
