"""Are a thousand webhooks a second heard, none lost, and how fresh do they keep a salon? A real service, in real time.

    python tests/benchmarks/hooks.py [--rate 1000] [--seconds 60] [--salons 5] [--samples 40] [--json]

Three processes besides PostgreSQL: `ycsync run`; the load, which sends each webhook when it is due, whether or not the ones
before are answered, and counts from when it was due; and this one, which simulates YCLIENTS with its real limits and changes a
client for each webhook. At the end every client of every salon must be in the database as it is. Then freshness: seconds from a
change in one salon to its row in the database while a large salon is filled beside it, with webhooks (which the simulator sends
0.2 s after the change; YCLIENTS takes about 5 s) and without. Exit 1: a hint was lost, the limit exceeded, or a webhook not
answered with 200.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.place import free_port
from ycsync.simulator import Options, Salon, Simulator
from ycsync.store.embedded import EmbeddedPostgres

SECRET = "a-secret-for-the-benchmark"
CONFIG = """\
preset: benchmark
companies: {companies}
yclients: {{base_url: {url}, egress: "{name}"}}
http: {{listen: "127.0.0.1:{port}"}}
hooks: {{url: {hooks}}}
streams: {{clients: {cadence}, records: {cadence}}}
log: {{level: warning}}
presets:
  benchmark: {{batch_size: 80, interval: 1s, per_minute: 200, per_second: 5, min_delay: 0ms, max_retries: 3, recheck_days: 30}}
"""
CONNECTIONS = 256
FLAGS = ("service", "master", "client", "record")


class Service:
    """`ycsync run` on a database of its own."""

    def __init__(self, folder: Path, database_url: str, sim: Simulator, name: str, *, hooks: bool, cadence: str) -> None:
        self.folder, self.url, self.sim, self.name = folder, database_url, sim, name
        self.hooks, self.cadence = hooks, cadence
        self.port = free_port()
        self.config = folder / f"{name}.yaml"
        self.process: asyncio.subprocess.Process | None = None

    @property
    def hook(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/{SECRET}"

    def wants(self, companies: Sequence[int]) -> None:
        """Only these salons, from the next start or reload on."""
        address = f"http://127.0.0.1:{self.port}" if self.hooks else ""
        self.config.write_text(
            CONFIG.format(
                companies=list(companies), url=self.sim.url, name=self.name, port=self.port, hooks=address, cadence=self.cadence
            ),
            "utf-8",
        )
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    async def start(self) -> None:
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        environ = {
            **os.environ, "YCLIENTS_PARTNER_TOKEN": "p", "YCLIENTS_USER_TOKEN": "u", "YCSYNC_DATABASE_URL": self.url,
            "YCSYNC_HOOK_SECRET": SECRET, "RUNTIME_DIRECTORY": str(run), "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        with (self.folder / f"{self.name}.log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ycsync", "run", "--config", str(self.config), env=environ, stdout=log, stderr=log
            )

    def cpu_s(self) -> float:
        """Processor seconds until now."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            await self.process.wait()


@asynccontextmanager
async def serving(
    server: str, folder: Path, sim: Simulator, name: str, *, hooks: bool, cadence: str, companies: Sequence[int]
) -> AsyncIterator[tuple[Service, asyncpg.Connection]]:
    """A service that has filled these salons, and a look into its database."""
    admin = await asyncpg.connect(server)
    await admin.execute(f"create database {name}")
    await admin.close()
    url = server.replace("/postgres?", f"/{name}?")
    service = Service(folder, url, sim, name, hooks=hooks, cadence=cadence)
    service.wants(companies)
    await service.start()
    database = await asyncpg.connect(url)
    try:
        await until(database, "select to_regclass('yclients.hooks') is not null", True)
        filled = "select count(*) from yclients.sync_status where stream in ('clients', 'records') and phase = 'live'"
        await until(database, filled, 2 * len(companies), 600)
        yield service, database
    finally:
        await service.stop()
        await database.close()


async def until(database: asyncpg.Connection, query: str, wanted: object, timeout: float = 60) -> None:
    async with asyncio.timeout(timeout):
        while await database.fetchval(query) != wanted:
            await asyncio.sleep(0.1)


# --- the load --------------------------------------------------------------------------------------------------------------


async def load(port: int) -> None:
    """Sends a webhook for each line `company client` of standard input, when it comes; prints what came of them."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    waiting: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
    times: list[float] = []
    statuses: Counter[str] = Counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (one := await waiting.get()) is not None:
            due, line = one
            company, client = line.split()
            body = b'{"company_id":%b,"resource":"client","resource_id":%b,"status":"update","data":{"id":%b}}' % (
                company, client, client,
            )  # fmt: skip
            head = b"POST /hooks/%b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % (SECRET.encode(), len(body)) + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(int(row[15:]) for row in answer.split(b"\r\n") if row.lower().startswith(b"content-length:"))
            await reader.readexactly(length)
            times.append(loop.time() - due)
            statuses[answer[9:12].decode()] += 1
        writer.close()

    connections = [asyncio.create_task(connection()) for _ in range(CONNECTIONS)]
    print("ready", flush=True)
    begun = 0.0
    while line := await lines.readline():
        begun = begun or loop.time()
        waiting.put_nowait((loop.time(), line))
    for _ in connections:
        waiting.put_nowait(None)
    await asyncio.gather(*connections)
    seconds = loop.time() - begun
    times.sort()
    told = {f"p{q * 100:g} ms": round(1000 * times[min(len(times) - 1, int(q * len(times)))], 1) for q in (0.5, 0.95, 0.99)}
    print(
        json.dumps(
            {"statuses": statuses, "a second": round(len(times) / seconds), **told, "max ms": round(1000 * times[-1], 1)}
        )
    )


async def burst(asked: argparse.Namespace, server: str, folder: Path) -> dict[str, Any]:
    """So many webhooks a second for so long."""
    options = Options(salons=asked.salons, clients=asked.clients, visits=300, latency=0.1)
    async with Simulator(options) as sim:
        companies = list(sim.world.salons)
        async with serving(server, folder, sim, "burst", hooks=True, cadence="5m", companies=companies) as (service, database):
            clients = [(salon, one) for salon in sim.world.salons.values() for one in salon.clients]
            process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--load", str(service.port),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdout.readline()
            begun, sent, worked = time.monotonic(), 0, service.cpu_s()
            while (now := time.monotonic() - begun) < asked.seconds:
                due = min(int(now * asked.rate), asked.rate * asked.seconds)
                for number in range(sent, due):
                    salon, client = clients[(number * 7919) % len(clients)]
                    salon.change_client(client, comment=f"words {number}")
                    process.stdin.write(b"%d %d\n" % (salon.id, client))
                sent = due
                await asyncio.sleep(0.01)
            process.stdin.close()
            answered = json.loads(await process.stdout.read())
            await process.wait()
            heard, worked = time.monotonic(), service.cpu_s() - worked
            await until(database, "select count(*) from yclients.hooks", 0, 1800)
            await asyncio.sleep(3)
            drained = time.monotonic() - heard - 3
            wrong = sum([await differing(database, salon) for salon in sim.world.salons.values()])
            report = sim.report()
            return {
                "sent": sent, **answered, "of a core": round(worked / (heard - begun), 2),
                "clients that differ at the end": wrong, "worked off after s": round(drained, 1),
                "requests": report.requests, "most in 1 s": report.max_1s, "most in 60 s": report.max_60s,
                "429": report.answers.get("429", 0),
            }  # fmt: skip


async def differing(database: asyncpg.Connection, salon: Salon) -> int:
    """Clients whose comment in the database is not the salon's."""
    rows = await database.fetch("select id, comment from yclients.clients where company_id = $1", salon.id)
    stored = {row["id"]: row["comment"] for row in rows}
    return sum(stored.get(one) != card["comment"] for one, card in salon.clients.items())


async def freshness(asked: argparse.Namespace, server: str, folder: Path, *, hooks: bool) -> dict[str, Any]:
    """Seconds from a change to its row, while another salon is filled."""
    options = Options(salons=2, clients=300, visits=500, latency=0.25, hook_delay=0.2, records_cap=100)
    cadence = "5m" if hooks else f"{asked.cycle}s"
    async with Simulator(options) as sim:
        small, large = sim.world.salons.values()
        for _ in range(asked.backfill):
            large.add_record(f"{2021 + _ % 5}-{1 + _ % 12:02}-{1 + _ % 28:02} 12:00:00")
        name = "with_hooks" if hooks else "without"
        async with serving(server, folder, sim, name, hooks=hooks, cadence=cadence, companies=[small.id]) as (
            service,
            database,
        ):
            small.hooks = {"urls": [service.hook] if hooks else [], "active": 1, **dict.fromkeys(FLAGS, 1)}
            service.wants([small.id, large.id])
            filling = f"select phase from yclients.sync_status where company_id = {large.id} and stream = 'records'"
            await until(database, filling, "filling")
            times: list[float] = []
            moments = random.Random(1)
            during = 0
            clients, records = list(small.clients), list(small.records)
            for number in range(asked.samples):
                during += await database.fetchval(filling) == "filling"
                if number % 2:
                    table, one = "records", records[number]
                    small.change_record(one, comment=f"fresh {number}")
                else:
                    table, one = "clients", clients[number]
                    small.change_client(one, comment=f"fresh {number}")
                begun = time.monotonic()
                query = f"select comment from yclients.{table} where company_id = {small.id} and id = {one}"
                async with asyncio.timeout(120):
                    while await database.fetchval(query) != f"fresh {number}":
                        await asyncio.sleep(0.01)
                times.append(time.monotonic() - begun)
                await asyncio.sleep(0.3 + moments.uniform(0, 2 if hooks else asked.cycle))  # at any moment of a cycle
            report = sim.report()
            return {
                "p50 s": round(statistics.median(times), 2), "p95 s": round(sorted(times)[int(0.95 * len(times))], 2),
                "max s": round(max(times), 2), "samples": len(times), "while the other was filled": during,
                "cycle s": None if hooks else asked.cycle,
                "most in 1 s": report.max_1s, "most in 60 s": report.max_60s, "429": report.answers.get("429", 0),
            }  # fmt: skip


async def measure(asked: argparse.Namespace, server: str, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if asked.seconds:
        found["burst"] = await burst(asked, server, folder)
    if asked.samples:
        found["fresh, with webhooks"] = await freshness(asked, server, folder, hooks=True)
        found["fresh, without"] = await freshness(asked, server, folder, hooks=False)
    return found


def well(found: dict[str, Any]) -> bool:
    one = found.get("burst")
    kept = one is None or (not one["clients that differ at the end"] and set(one["statuses"]) == {"200"})
    return kept and all(each["most in 1 s"] <= 5 and each["most in 60 s"] <= 200 and not each["429"] for each in found.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000, help="webhooks a second")
    parser.add_argument("--seconds", type=int, default=60, help="0: no burst")
    parser.add_argument("--salons", type=int, default=5)
    parser.add_argument("--clients", type=int, default=1000, help="a salon; a webhook names one of them")
    parser.add_argument("--samples", type=int, default=40, help="changes whose way is timed; 0: none")
    parser.add_argument("--backfill", type=int, default=120_000, help="visits of the salon that is filled meanwhile")
    parser.add_argument("--cycle", type=int, default=10, help="seconds, where there are no webhooks")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.load:
        asyncio.run(load(asked.load))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="ycsync-bench-"))
    server = EmbeddedPostgres(folder / "state", durable=True)
    try:
        found = asyncio.run(measure(asked, server.start(), folder))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        print(json.dumps(found))
    else:
        for what, figures in found.items():
            print(f"{what}\n" + "\n".join(f"  {key:<32} {value}" for key, value in figures.items()))
    return 0 if well(found) else 1


if __name__ == "__main__":
    sys.exit(main())
