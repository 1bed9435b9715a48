"""What does it cost to be looked at? The status page in a real browser, with a thousand salons.

    python tests/benchmarks/status_page.py [--salons N] [--minutes N] [--visits N] [--fill]

Runs the service in a process of its own, with a throw-away PostgreSQL and a simulated YCLIENTS, opens the page in headless
Chromium (apt-get install chromium) and leaves it open. Prints: the first contentful paint and the bytes of some first visits,
the time of /metrics, and the service's own processor time and memory while the page is open. The salons are complete and their
next batches are far away; with --fill they are empty, and the service reads them at the full rate of the preset `aggressive`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from playwright.async_api import Browser

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.first_sync import cpu_seconds, free_port
from support.browser import chromium
from ycsync.store.embedded import EmbeddedPostgres

SCRAPES, SETTLE_S = 100, 20.0
CONFIG = """\
preset: aggressive
yclients: {{base_url: "http://127.0.0.1:{simulator}/api/v1"}}
http: {{listen: "127.0.0.1:{port}"}}
"""
SEED = """
insert into yclients.companies (id, title, timezone, currency, active, raw, observed_at)
select 4000 + n, 'Salon ' || n, 'Europe/Moscow', 'RUB', true, '{}', now() from generate_series(1, $1::int) n;
"""
STATUS = """
insert into yclients.sync_status (company_id, stream, phase, expected, done, last_success_at, proved_as_of, due_at, requests)
select 4000 + n, s, 'live', 500, 500, now(), now() - n * interval '10 ms', now() + interval '20 hours', n
from generate_series(1, $1::int) n, unnest(array['companies', 'services', 'staff', 'clients', 'records']) s
"""
LISTED = """
insert into yclients.sync_status (company_id, stream, phase, expected, done, last_success_at, proved_as_of, due_at)
values (0, 'companies', 'live', $1::int, $1::int, now(), now(), now() + interval '20 hours')
"""
QUIET = "streams: {companies: 24h, services: 24h, staff: 24h, clients: 24h, records: 24h}\n"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
BYTES = "performance.getEntries().reduce((sum, each) => sum + (each.transferSize ?? 0), 0)"


async def ycsync(*arguments: str, env: dict[str, str], wait: bool = False) -> asyncio.subprocess.Process:
    """One command of ours."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ycsync", *arguments, env=env, stdout=asyncio.subprocess.DEVNULL,
        stderr=None if wait else asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if wait and await process.wait() != 0:
        raise SystemExit(f"ycsync {' '.join(arguments)}: exit {process.returncode}")
    return process


@asynccontextmanager
async def service(salons: int, fill: bool) -> AsyncIterator[tuple[int, str]]:
    """A running service with so many salons: its process id and its address."""
    with tempfile.TemporaryDirectory(prefix="ycsync-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = EmbeddedPostgres(folder / "postgres", durable=False)
        url = server.start()
        simulator, port = free_port(), free_port()
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(simulator=simulator, port=port) + ("" if fill else QUIET))
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        env = {**keep, "YCSYNC_DATABASE_URL": url, "YCLIENTS_PARTNER_TOKEN": "a", "YCLIENTS_USER_TOKEN": "b"}
        processes = []
        try:
            await ycsync("db", "migrate", "--config", str(config), env=env, wait=True)
            if not fill:
                connection = await asyncpg.connect(url)
                for statement in (SEED, STATUS, LISTED):
                    await connection.execute(statement, salons)
                await connection.close()
            size = ("--salons", str(salons), "--clients", "20", "--visits", "60", "--port", str(simulator))
            processes.append(await ycsync("simulate", *size, env=env))
            processes.append(await ycsync("run", "--config", str(config), env=env))
            address = f"http://127.0.0.1:{port}/"
            await until_up(address)
            yield processes[-1].pid, address
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
                await process.wait()
            server.stop()


async def until_up(address: str) -> None:
    """It answers, and has looked at the database."""
    async with asyncio.timeout(120), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{address}metrics") as answer:
                    if b"ycsync_state_age_seconds" in await answer.read():
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


async def visits(browser: Browser, address: str, times: int) -> dict[str, Any]:
    """What somebody waits for who opens the page for the first time."""
    paints, sizes = [], []
    for _ in range(times):
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(address)
        await page.locator("#table tbody tr").first.wait_for()
        await page.wait_for_function(f"{PAINT} !== null")
        paints.append(await page.evaluate(PAINT))
        await asyncio.sleep(1.0)  # the charts come last
        sizes.append(await page.evaluate(BYTES))
        await context.close()
    return {
        "first paint, median ms": round(statistics.median(paints)),
        "first paint, worst ms": round(max(paints)),
        "all bytes": max(sizes),
    }


async def scrapes(address: str, pid: int) -> dict[str, Any]:
    """How long one scrape takes, over a connection that is kept, and how much of it is the service's processor time."""
    taken, size, before = [], 0, cpu_seconds(pid)
    async with aiohttp.ClientSession() as session:
        for _ in range(SCRAPES):
            begun = time.perf_counter()
            async with session.get(f"{address}metrics") as answer:
                size = len(await answer.read())
            taken.append(1000 * (time.perf_counter() - begun))
            await asyncio.sleep(0.02)
    used = cpu_seconds(pid) - before
    return {
        "/metrics, processor ms": round(1000 * used / SCRAPES, 1),
        "/metrics, median ms": round(statistics.median(taken), 1),
        "/metrics, 95th of 100, ms": round(sorted(taken)[94], 1),
        "/metrics, bytes": size,
    }


def resident_mb(pid: int) -> float:
    """Resident memory of one process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1000


async def watched(browser: Browser, address: str, pid: int, minutes: int) -> dict[str, Any]:
    """Processor and memory of the service while one page is open, minute by minute."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(address)
    await page.locator("#table tbody tr").first.wait_for()
    await asyncio.sleep(SETTLE_S)
    shares, memory = [], [resident_mb(pid)]
    for _ in range(minutes):
        begun, before = time.monotonic(), cpu_seconds(pid)
        await asyncio.sleep(60.0)
        shares.append(100 * (cpu_seconds(pid) - before) / (time.monotonic() - begun))
        memory.append(resident_mb(pid))
        print(f"{shares[-1]:5.2f} % of a core  {memory[-1]:6.1f} MB", file=sys.stderr, flush=True)
    said = await page.locator("#said").inner_text()
    await context.close()
    return {
        "minutes": minutes,
        "per cent of a core, median minute": round(statistics.median(shares), 2),
        "per cent of a core, worst minute": round(max(shares), 2),
        "MB at the begin": round(memory[0], 1),
        "MB at the end": round(memory[-1], 1),
        "MB, most": round(max(memory), 1),
        "the page says": said,
    }


async def measure(salons: int, minutes: int, times: int, fill: bool) -> dict[str, Any]:
    """One run."""
    async with service(salons, fill) as (pid, address), chromium() as browser:
        found = await visits(browser, address, times)
        found |= await scrapes(address, pid)
        if minutes:
            found |= await watched(browser, address, pid, minutes)
        return {"salons": salons, **found}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--salons", type=int, default=1000)
    parser.add_argument("--minutes", type=int, default=5, help="0: the page is not left open")
    parser.add_argument("--visits", type=int, default=9, help="how often the page is opened for the first time")
    parser.add_argument("--fill", action="store_true", help="the service reads empty salons meanwhile")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.salons, arguments.minutes, arguments.visits, arguments.fill))
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:36} {value}")


if __name__ == "__main__":
    main()
