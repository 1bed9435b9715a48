"""Does the command that the README names for its figures measure what it shows?"""

from __future__ import annotations

import asyncio
import json
import re
import sys

from support.documents import CHECKOUT


async def test_the_figures_of_the_readme_are_measured_by_the_command_beside_them() -> None:
    (script,) = re.findall(r"`\.venv/bin/python (tests/benchmarks/\w+\.py)`", (CHECKOUT / "README.md").read_text())
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, "--runs", "1", "--first", "--clients", "40", "--visits", "120", "--json",
        cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    (row,) = json.loads(out)
    assert row["case"] == "aggressive"
    assert 5 <= row["requests"] <= 12
    assert row["429"] == 0
