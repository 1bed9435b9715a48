"""Do the commands that the README names for its figures measure what it shows?"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.comparison.scenarios import difference
from support.documents import CHECKOUT

SCRIPTS = re.findall(r"`\.venv/bin/python (tests/benchmarks/\w+\.py)[^`]*`", (CHECKOUT / "README.md").read_text("utf-8"))


async def measured(script: str, *arguments: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, *arguments, "--json", cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


def test_the_readme_names_both() -> None:
    assert SCRIPTS == ["tests/benchmarks/first_sync.py", "tests/benchmarks/status_page.py"]


async def test_the_figures_of_a_first_pass_are_measured_by_the_command_beside_them() -> None:
    (row,) = await measured(SCRIPTS[0], "--runs", "1", "--first", "--clients", "40", "--visits", "120")
    assert row["case"] == "aggressive"
    assert 5 <= row["requests"] <= 12
    assert row["429"] == 0


@pytest.mark.browser
async def test_the_figures_of_the_status_page_are_measured_by_the_command_beside_them() -> None:
    """And its bytes and the time of /metrics are what was promised, here too."""
    found = await measured(SCRIPTS[1], "--salons", "1000", "--minutes", "0", "--visits", "1")
    assert found["salons"] == 1000
    assert 20_000 < found["all bytes"] <= 100_000
    assert found["first paint, median ms"] > 0
    assert 0 < found["/metrics, processor ms"] <= 20, "what it takes by itself, whatever else the machine does"
    assert found["/metrics, bytes"] < 60_000, "no line for each salon"


async def test_the_comparison_runs_and_loses_nothing(tmp_path: Path) -> None:
    """Without a network, so ycsync alone; a tiny salon that changes after every answer."""
    found = await measured("tests/benchmarks/compare.py", "--quick", "--out", str(tmp_path))
    (row,) = found["rows"]
    assert (row["tool"], row["code"], row["refused"]) == ("ycsync", 0, 0)
    assert row["held"] >= 1300
    assert (row["lost"], row["doubled"]) == (0, 0)
    assert (row["next_missing"], row["next_stale"]) == (0, 0)
    assert row["peak_mb"] > 30
    assert "| ycsync | 100 |" in (tmp_path / "tables.md").read_text("utf-8")
    assert (tmp_path / "changing.csv").read_text("utf-8").count("\n") == 2


def test_what_the_comparison_calls_lost_missing_stale_gone_and_doubled() -> None:
    before = {("client", 1): 10, ("client", 2): 10, ("client", 3): 10, ("record", 1): 10, ("record", 2): 10}
    now = {("client", 1): 10, ("client", 2): 10, ("record", 1): 10, ("record", 2): 20, ("record", 3): 20}
    stored = [(("client", 1), 10), (("client", 1), 10), (("client", 3), 10), (("record", 2), 10)]
    found = difference(before, now, stored)
    assert found.lost == 2, "client 2 and record 1 stood still and are not there"
    assert found.missing == 3, "and record 3 came meanwhile"
    assert (found.stale, found.ghosts, found.doubled, found.stored) == (1, 1, 1, 3)
