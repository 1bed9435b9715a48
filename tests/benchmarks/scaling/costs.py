"""What do the queue and a whole batch cost in processor time? Measured: the real statements, and real processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.first_sync import cpu_seconds, environment, free_port
from benchmarks.scaling.storage import CURSOR
from ycsync.store.database import Database, connect
from ycsync.store.embedded import EmbeddedPostgres
from ycsync.store.migrate import migrate
from ycsync.store.pages import Advance, Pages
from ycsync.store.report import Report
from ycsync.store.work import Work

STREAMS = ("services", "staff", "clients", "records")
AT_ONCE, LOOKS = 4, 20
_FILL = """
insert into yclients.sync_status (company_id, stream, phase, expected, done, cursor, due_at)
select 4000 + n, s, $3, 12000, 12000, $4::text::jsonb, now() - random() * $5::float8 * interval '1 second'
from generate_series(1, $1::int) n, unnest($2::text[]) s
"""
_HOUR = """
insert into yclients.sync_batches (company, stream, preset, worker_id, started_at, finished_at, outcome, requests)
select 4001, 'records', 'balanced', 1, now() - n * interval '3600 s' / $1::int, now(), 'proved', 1
from generate_series($1::int, 1, -1) n
"""
_UNFILLED = "update yclients.sync_status set phase = 'new', due_at = now() - interval '1 hour' where company_id > 4100"
CONFIG = """\
preset: test
yclients: {{base_url: "http://127.0.0.1:{port}/api/v1"}}
http: {{listen: false}}
streams: {{companies: 24h, services: 24h, staff: 24h, clients: 1s, records: 1s}}
presets:
  test: {{batch_size: 100, interval: 1s, per_minute: 200, per_second: 5, min_delay: 0ms, max_retries: 3, recheck_days: 30}}
"""


@dataclass(frozen=True, slots=True)
class QueueCost:
    """Milliseconds a statement, the median as the service waits for it; and PostgreSQL's processor time a batch."""

    rows: int
    claim: float
    claim_all_due: float  # when everything else is due and still to be filled
    advance: float
    finish: float
    looks: float  # what every service asks every 4 s besides
    cpu: float
    standing: float  # processor time of one look at how everything stands, after an hour of batches


@dataclass(frozen=True, slots=True)
class BatchCost:
    """Processor time, milliseconds a batch, of an address at its full rate."""

    visits: int
    batches_a_second: float
    service: float
    postgres: float


def queue_costs(rows: tuple[int, ...], cycles: int) -> tuple[QueueCost, ...]:
    """The statements of the queue with so many rows in it."""
    found = []
    for count in rows:
        folder = Path(mkdtemp(prefix="ycsync-scale-"))
        server = EmbeddedPostgres(folder, durable=False)
        try:
            found.append(asyncio.run(_queue(server.start(), count, cycles)))
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)
    return tuple(found)


async def _queue(url: str, rows: int, cycles: int) -> QueueCost:
    database = await connect(url, "yclients", size=1)
    try:
        await migrate(database)
        work, pages = Work(database), Pages(database)
        me = await work.register("service", "default", "0", {})
        await database.execute(_FILL, rows // len(STREAMS), list(STREAMS), "live", CURSOR, 300.0)
        await database.execute("vacuum analyze yclients.sync_status")
        backend = int(await database.fetchval("select pg_backend_pid()"))
        times: dict[str, list[float]] = {"claim": [], "advance": [], "finish": [], "looks": []}
        await _cycles(work, pages, me, times, cycles // 10)  # what is prepared once is prepared
        for each in times.values():
            each.clear()
        before = cpu_seconds(backend)
        await _cycles(work, pages, me, times, cycles)
        cpu = 1000 * (cpu_seconds(backend) - before) / cycles
        for _ in range(9):
            begun = time.perf_counter()
            await work.reap()
            await work.release(me, [])
            times["looks"].append(time.perf_counter() - begun)
        standing = await _standing(database, rows, backend)
        await database.execute(_UNFILLED)
        await database.execute("vacuum analyze yclients.sync_status")
        ms = {name: 1000 * statistics.median(each) for name, each in times.items()}
        return QueueCost(
            rows,
            ms["claim"],
            await _claim_in_front(database, work, me),
            ms["advance"],
            ms["finish"],
            ms["looks"],
            cpu,
            standing,
        )
    finally:
        await database.close()


async def _cycles(work: Work, pages: Pages, me: int, times: dict[str, list[float]], count: int) -> None:
    done = 0
    while done < count:
        begun = time.perf_counter()
        claims = await work.claim(me, AT_ONCE, STREAMS)
        times["claim"].append(time.perf_counter() - begun)
        for claim in claims:
            begun = time.perf_counter()
            due = 300.0
            await pages.commit(Advance(claim.company, claim.stream, claim.version, CURSOR, "live", 1, 1, 1, due_in_s=due))
            times["advance"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            await work.finish(claim, me, due)
            times["finish"].append(time.perf_counter() - begun)
        done += len(claims)


async def _standing(database: Database, rows: int, backend: int) -> float:
    """Two batches every five minutes for each salon is what an hour holds."""
    report = Report(database)
    await database.execute(_HOUR, rows // len(STREAMS) * 24)
    await database.execute("vacuum analyze yclients.sync_batches")
    since = (await report.news("default", None)).xmin
    before = cpu_seconds(backend)
    for _ in range(LOOKS):
        await report.news("default", since)
    return 1000 * (cpu_seconds(backend) - before) / LOOKS


async def _claim_in_front(database: Database, work: Work, me: int) -> float:
    """A claim for deltas only, while everything else waits to be filled."""
    taken = []
    for _ in range(50):
        begun = time.perf_counter()
        claims = await work.claim(me, AT_ONCE, STREAMS, no_filling=True)
        taken.append(time.perf_counter() - begun)
        for claim in claims:
            await work.finish(claim, me, 0.0)
    return 1000 * statistics.median(taken)


def batch_cost(visits: int, seconds: float) -> BatchCost:
    """A real service at the API's full rate, whose salons of that size are quiet: what it and PostgreSQL use."""
    folder = Path(mkdtemp(prefix="ycsync-scale-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    url = server.start()
    port = free_port()
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(port=port))
    ycsync = [sys.executable, "-m", "ycsync"]
    size = ["--salons", "3", "--clients", str(max(10, visits // 12)), "--visits", str(visits), "--port", str(port)]
    env = {**environment(folder), "YCSYNC_DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [subprocess.Popen([*ycsync, "simulate", *size], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
    try:
        time.sleep(2)
        processes.append(subprocess.Popen([*ycsync, "run", "--config", str(config)], env=env, stderr=subprocess.DEVNULL))
        return asyncio.run(_batches(url, visits, seconds, processes[1].pid, folder / "postgres" / "data"))
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            process.wait()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _batches(url: str, visits: int, seconds: float, service: int, data: Path) -> BatchCost:
    database = await connect(url, "yclients", size=1)
    try:
        async with asyncio.timeout(600):
            while not await _all_live(database):
                await asyncio.sleep(0.5)
        await database.execute("vacuum analyze")
        postmaster = int((data / "postmaster.pid").read_text().split("\n")[0])
        counted = "select count(*) from yclients.sync_batches where finished_at is not null"
        begun, first = time.monotonic(), await database.fetchval(counted)
        before = cpu_seconds(service), _family(postmaster)
        await asyncio.sleep(seconds)
        after = cpu_seconds(service), _family(postmaster)
        count = await database.fetchval(counted) - first
        lasted = time.monotonic() - begun
        return BatchCost(visits, count / lasted, 1000 * (after[0] - before[0]) / count, 1000 * (after[1] - before[1]) / count)
    finally:
        await database.close()


async def _all_live(database: Database) -> bool:
    if not await database.fetchval("select to_regclass('yclients.sync_status') is not null"):
        return False
    live = await database.fetchval("select count(*) from yclients.sync_status where phase = 'live' and company_id > 0")
    return int(live) >= 15  # three salons, five streams


def _family(postmaster: int) -> float:
    """Processor seconds of a server: of its processes that are, and of those that were."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        mine = int(stat.parent.name) == postmaster
        if mine or int(fields[1]) == postmaster:
            times = fields[11:15] if mine else fields[11:13]
            total += sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return total
