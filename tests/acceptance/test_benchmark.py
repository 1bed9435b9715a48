"""Do the commands that the README names for its figures measure what it shows?"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

import pytest

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
    assert found["/metrics, median ms"] <= 20
    assert found["/metrics, bytes"] < 60_000, "no line for each salon"
