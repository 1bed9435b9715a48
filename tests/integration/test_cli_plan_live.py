"""Does `ycsync plan --live` ask YCLIENTS how large the salons are, with two requests a salon and under the budget?"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from filled import values, write_config
from ycsync.simulator import Options, Simulator


async def test_plan_live_counts_each_salon_with_two_requests(tmp_path: Path, database_url: str) -> None:
    async with Simulator(Options(salons=2, clients=40, visits=300)) as simulator:
        config = write_config(tmp_path, f"yclients: {{base_url: '{simulator.url}'}}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ycsync", "plan", "--live", "--json", "--config", str(config),
            stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "YCSYNC_DATABASE_URL": database_url,
                "YCLIENTS_PARTNER_TOKEN": "partner",
                "YCLIENTS_USER_TOKEN": "user",
            },
        )  # fmt: skip
        out, _ = await process.communicate()
        report = simulator.report()
    assert process.returncode == 0
    document = json.loads(out)
    assert document["source"] == "live"
    assert [(salon["clients"], salon["visits"]) for salon in document["salons"]] == [(40, 300)] * 2
    assert report.requests == 1 + 2 * 2
    # It leaves nothing behind but the schema: no worker, and nothing that is due.
    query = "select (select count(*) from yclients.workers), (select count(*) from yclients.sync_status)"
    assert await asyncio.to_thread(values, database_url, query) == [(0, 0)]
