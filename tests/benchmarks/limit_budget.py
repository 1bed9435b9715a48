"""How much of the API's budget is used while work waits, and is it ever exceeded? In real time, at real windows.

    python tests/benchmarks/limit_budget.py [--minutes 3] [--rtt 0.25] [--jitter 0] [--processes 2]
                                            [--per-minute 200] [--per-second 5]

Processes with a limiter each share one address and an embedded PostgreSQL; a server of this process notes when each request
arrives. The first minute (empty windows) counts for the limit and not for the use. Exit 1: over the limit, or under 97 %.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aiohttp import web

WORKER = """
import asyncio, sys
from ycsync.api import Api, Request, Tally, new_session
from ycsync.limiter import Limiter, Rates
from ycsync.store.database import connect
from ycsync.store.work import Work

async def main(dsn, url, per_second, per_minute):
    database = await connect(dsn, "yclients", size=4)
    owner = await Work(database).register("service", "default", "0", {})
    rates = Rates(per_second, per_minute, 0.0)
    limiter = Limiter(database, "yclients", "default", owner, lambda: rates, timeout_s=30)
    await limiter.prepare(per_second, per_minute)
    running = asyncio.create_task(limiter.run())
    async with new_session(timeout_s=30) as session:
        api = Api(session, url, "partner", "user", limiter)

        async def send(company):
            while True:
                await api.fetch(Request("x", company, "/x"), Tally(), tries=3)

        await asyncio.gather(running, *(send(n) for n in range(1, 9)))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


def densest(times: list[float], window: float) -> int:
    most = first = 0
    for place, at in enumerate(times):
        while at - times[first] >= window:
            first += 1
        most = max(most, place - first + 1)
    return most


async def measure(asked: argparse.Namespace, dsn: str) -> int:
    from ycsync.store.database import connect
    from ycsync.store.migrate import migrate

    database = await connect(dsn, "yclients", size=1)
    await migrate(database)
    arrivals: list[float] = []

    async def handle(_: web.Request) -> web.Response:
        trip = asked.rtt / 2
        await asyncio.sleep(max(0.0, trip + random.uniform(-1, 1) * asked.jitter / 2))
        arrivals.append(time.monotonic())
        await asyncio.sleep(max(0.0, trip + random.uniform(-1, 1) * asked.jitter / 2))
        return web.json_response({"success": True, "data": [], "meta": []})

    app = web.Application()
    app.router.add_get("/{tail:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    command = [sys.executable, "-c", WORKER, dsn, url, str(asked.per_second), str(asked.per_minute)]
    workers = [subprocess.Popen(command) for _ in range(asked.processes)]
    try:
        while not arrivals:
            await asyncio.sleep(0.05)
        await asyncio.sleep(60 * (1 + asked.minutes) + 2)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        await runner.cleanup()
        await database.close()
    arrivals.sort()
    begin = arrivals[0] + 60
    steady = [at for at in arrivals if begin <= at < begin + 60 * asked.minutes]
    share = len(steady) / (asked.per_minute * asked.minutes)
    second, minute = densest(arrivals, 1.0), densest(arrivals, 60.0)
    print(f"{len(arrivals)} requests; at most {second} of {asked.per_second} a second, {minute} of {asked.per_minute} a minute")
    print(f"{share:.1%} of the budget used over {asked.minutes} min, RTT {asked.rtt * 1000:.0f} ms")
    return 0 if second <= asked.per_second and minute <= asked.per_minute and share >= 0.97 else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=3)
    parser.add_argument("--rtt", type=float, default=0.25, help="seconds")
    parser.add_argument("--jitter", type=float, default=0.0, help="seconds, either way")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--per-minute", type=int, default=200)
    parser.add_argument("--per-second", type=int, default=5)
    asked = parser.parse_args()
    from ycsync.store.embedded import EmbeddedPostgres

    folder = Path(tempfile.mkdtemp(prefix="ycsync-bench-"))
    server = EmbeddedPostgres(folder, durable=False)
    try:
        return asyncio.run(measure(asked, server.start()))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
