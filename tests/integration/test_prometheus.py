"""Does a real Prometheus take the metrics, the alert rules and the dashboard's queries, of the real service?"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from support.patience import SAFETY_S
from support.place import Place, free_port, place
from ycsync.simulator import Options

__all__ = ["place"]

pytestmark = [pytest.mark.prometheus, pytest.mark.xdist_group("prometheus")]

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "ycsync.rules.yml"


@pytest.fixture
def options() -> Options:
    return Options(clients=60, visits=300, latency=0.02)


@dataclass
class Prometheus:
    """A running one."""

    url: str
    session: aiohttp.ClientSession

    async def ask(self, path: str, **params: str) -> Any:
        async with self.session.get(f"{self.url}/api/v1/{path}", params=params) as response:
            body = await response.json()
        assert body["status"] == "success", (params, body)
        return body["data"]

    async def query(self, expression: str) -> list[float]:
        """The values of an instant query."""
        found = await self.ask("query", query=expression)
        return [float(one["value"][1]) for one in found["result"]]

    async def alerts(self) -> dict[str, set[str]]:
        """Alert -> its states, of those that are pending or fire."""
        found: dict[str, set[str]] = {}
        for one in (await self.ask("alerts"))["alerts"]:
            found.setdefault(one["labels"]["alertname"], set()).add(one["state"])
        return found

    async def until(self, expression: str, timeout: float = 15) -> None:
        """Wait until a query has a result."""
        async with asyncio.timeout(timeout):
            while not await self.query(expression):
                await asyncio.sleep(0.1)

    async def until_alert(self, name: str, timeout: float = 10) -> None:
        """Wait until an alert is at least pending."""
        async with asyncio.timeout(timeout):
            while name not in await self.alerts():
                await asyncio.sleep(0.1)


@asynccontextmanager
async def prometheus(folder: Path, scraped: int) -> AsyncIterator[Prometheus]:
    """Debian's, scraping one service each second; it ends with the context."""
    example = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    example["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    example["rule_files"] = [str(RULES)]
    example["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{scraped}"]
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(example), "utf-8")
    port = free_port()
    with open(folder / "prometheus.log", "wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}", "--web.console.templates=", "--web.console.libraries=",
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session:
            found = Prometheus(f"http://127.0.0.1:{port}", session)
            async with asyncio.timeout(SAFETY_S):
                while True:
                    assert process.returncode is None, (folder / "prometheus.log").read_text()
                    try:
                        async with session.get(f"{found.url}/-/ready") as response:
                            if response.status == 200:
                                break
                    except aiohttp.ClientConnectionError:
                        pass
                    await asyncio.sleep(0.05)
            yield found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def promtool(*arguments: str, text: str | None = None) -> None:
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, cwd=RULES.parent, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (text and (done.stdout or done.stderr)), done.stdout + done.stderr


def test_rules_and_the_example_are_valid_and_each_rule_does_what_it_says() -> None:
    promtool("check", "rules", RULES.name)
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", "ycsync.rules.test.yml")


def dashboard_queries() -> list[tuple[str, str]]:
    """(panel, expression), with the dashboard's variables filled in."""
    board = json.loads((DEPLOY / "grafana" / "ycsync.json").read_text("utf-8"))
    found = []
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")
            assert "$" not in expression, expression
            found.append((panel["title"], expression))
    return found


async def test_every_query_has_an_answer_and_only_real_trouble_is_an_alert(place: Place, tmp_path: Path) -> None:
    service = await place.start("run")
    await place.until_log("service.ready")
    async with prometheus(tmp_path, place.port) as watcher:
        await watcher.until("ycsync_ready == 1")
        # Two scrapes make a rate; requests go on, since clients and records are due each second.
        await watcher.until('sum(increase(ycsync_requests_total{outcome="ok"}[1m])) > 0')
        await watcher.until('sum(rate(ycsync_batch_duration_seconds_count{stream="records"}[1m])) > 0')
        async with watcher.session.get(f"http://127.0.0.1:{place.port}/metrics") as response:
            promtool("check", "metrics", text=await response.text())

        for title, expression in dashboard_queries():
            values = await watcher.query(expression)
            assert values, (title, expression)
            assert not all(map(math.isnan, values)), (title, expression)
        for rule in yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]:
            assert await watcher.query(rule["expr"]) == [], rule["alert"]
        assert (await watcher.query("ycsync_lag_max_seconds < 60 and ycsync_lag_max_seconds >= 0"))[4:]
        assert await watcher.query('ycsync_limit_api_requests{window="60s"}') == [200.0]
        told = (await watcher.ask("rules"))["groups"][0]["rules"]
        assert {one["health"] for one in told} == {"ok"}
        assert await watcher.alerts() == {}

        good = place.config.read_text("utf-8")
        place.config.write_text(good.replace("preset: test", "preset: none_such"), "utf-8")
        assert (await place.run("reload")).code == 2
        await watcher.until_alert("YcsyncReloadRefused")
        assert (await watcher.alerts()).keys() == {"YcsyncReloadRefused"}
        place.config.write_text(good, "utf-8")
        before = (await watcher.query("ycsync_config_last_reload_success_timestamp_seconds"))[0]
        assert (await place.run("reload")).code == 0
        await watcher.until(f"ycsync_config_last_reload_success_timestamp_seconds > {before}")
        await watcher.until("ycsync_config_last_reload_successful == 1")

        place.simulator.fail_next("429", times=1)
        await watcher.until("ycsync_throttles_total > 0")
        place.simulator.fail_next("403", times=1_000_000, match="/4001")
        await watcher.until_alert("YcsyncSalonStopped")
        assert await watcher.query("ycsync_ready") == [0.0]

        service.kill()
        await service.wait()
        await watcher.until_alert("YcsyncDown")
