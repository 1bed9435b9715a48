"""What does ycsync itself reach of its goals? Each figure with its goal, and the command that measures it alone."""

from __future__ import annotations

import asyncio
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks import first_sync
from benchmarks.comparison.processes import measure
from benchmarks.comparison.salon_client import salon
from benchmarks.comparison.scenarios import SIZES, Size, killed, options, place
from benchmarks.comparison.tools import TOOLS, Job

RUNS = 3
BEGUN_S = 20.0  # a service has read its small salon by then


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    what: str
    goal: str
    measured: str
    met: bool
    command: str
    samples: tuple[tuple[float, float], ...] = ()


def first_passes(runs: int = RUNS) -> list[Figure]:
    """1,000 clients and 12,000 visits into an empty database, as a whole command."""
    figures = []
    for case, requests, seconds in ((first_sync.CASES[0], 40, 12.0), (first_sync.CASES[2], 80, 25.0)):
        done = [first_sync.measure(case, 1000, 12_000) for _ in range(runs)]
        took = statistics.median(run.seconds for run in done)
        asked = int(statistics.median(run.requests for run in done))
        refused = sum(run.refused for run in done)
        figures.append(
            Figure(
                f"1,000 clients, 12,000 visits, empty database: {case.name}",
                f"≤ {requests} requests, ≤ {seconds:.0f} s, no 429",
                f"{asked} requests, {took:.1f} s (median of {runs}), {refused} × 429",
                asked <= requests and took <= seconds and refused == 0,
                f"tests/benchmarks/first_sync.py --runs {runs}",
            )
        )
    return figures


def by_client() -> Figure:
    """One request a client, forced."""
    run = first_sync.measure(first_sync.BY_CLIENT, 1000, 12_000)
    return Figure(
        "the same, one request a client forced",
        "≤ 1.1 requests a client, no 429",
        f"{run.requests:,} requests, {run.seconds:.0f} s, densest minute {run.max_60s} of 200, {run.refused} × 429",
        run.requests <= 1100 and run.refused == 0,
        "tests/benchmarks/first_sync.py --first --by-client",
    )


def budget() -> Figure:
    """The share of the limit that is used while work waits, at real windows."""
    command = [sys.executable, str(Path(first_sync.__file__).with_name("limit_budget.py")), "--minutes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = re.search(r"([\d.]+)% of the budget", done.stdout)
    return Figure(
        "the budget's use while work waits (two processes, 250 ms)",
        "≥ 97 %, never more than 5 a second and 200 a minute",
        (done.stdout.strip().replace("\n", "; ")) or done.stderr.strip()[-200:],
        done.returncode == 0 and said is not None,
        "tests/benchmarks/limit_budget.py --minutes 2",
    )


def quiet_cycle(latency: float = 0.25) -> Figure:
    """A complete, quiet salon: what does the service ask in one cycle?"""
    cycles = 3
    with tempfile.TemporaryDirectory(prefix="ycsync-bench-") as name, salon(clients=100, visits=500, latency=latency) as source:
        folder = Path(name)
        folder.chmod(0o755)
        service = _service(folder, source.url, "streams: {clients: 10s, records: 10s}")
        try:
            _until(lambda: source.ask("report")["endpoints"].get("records", 0) >= 1, BEGUN_S)
            time.sleep(12)
            source.ask("forget")
            _until(lambda: source.ask("report")["endpoints"].get("records", 0) >= cycles, 20.0 * cycles)
            asked = source.ask("report")["endpoints"]
        finally:
            service.kill()
            service.wait()
    most = max(asked.get("clients", 0), asked.get("records", 0))
    return Figure(
        "a quiet salon, one cycle",
        "2 requests",
        f"{asked.get('clients', 0)} and {asked.get('records', 0)} requests in {cycles} cycles",
        most <= cycles,
        "tests/benchmarks/compare.py --only figures",
    )


def restart(out: Path) -> Figure:
    """kill -9 in the middle of a pass."""
    tool, size = TOOLS["ycsync"], SIZES["1k"]
    whole = 30
    with place(out / "logs") as where:
        row = killed(tool, size, where, asyncio.run(where.database()), whole)
    assert row.requests is not None
    return Figure(
        "restart after `kill -9` in the middle",
        "no more than the requests in flight repeated (≤ 6 pages)",
        f"{row.requests} requests in both runs together, {row.repeated_rows} rows read twice, {row.missing} missing",
        row.missing == 0 and (row.repeated_rows or 0) <= 6 * 1000,
        "tests/benchmarks/compare.py --only comparison --tools ycsync --sizes 1k",
    )


def idle() -> Figure:
    share = first_sync.idle()
    return Figure(
        "idle service", "< 1 % of a core", f"{share:.2f} % of a core", share < 1, "tests/benchmarks/first_sync.py --idle"
    )


def stop() -> Figure:
    """SIGTERM to a service that reads a large salon."""
    with (
        tempfile.TemporaryDirectory(prefix="ycsync-bench-") as name,
        salon(clients=2000, visits=24_000, latency=0.25) as source,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        took = []
        for _ in range(RUNS):
            service = _service(folder, source.url, "")
            source.ask("forget")
            _until(lambda: source.ask("report")["requests"] >= 8, 60.0)
            begun = time.monotonic()
            service.send_signal(signal.SIGTERM)
            service.wait(30)
            took.append(time.monotonic() - begun)
    worst = max(took)
    return Figure(
        "`systemctl stop` (SIGTERM while it reads)",
        "≤ 2 s",
        f"{worst:.2f} s (worst of {RUNS})",
        worst <= 2,
        "tests/benchmarks/compare.py --only figures",
    )


def throughput(size: Size, out: Path) -> Figure:
    """The whole command with an API that does not slow it down: visits a second through parse and commit, and memory.

    The simulator has encoded every row beforehand and answers at once, over HTTP and gzipped, without limits; so what is
    measured is this program and its PostgreSQL, with what HTTP costs both. Visits count from their first batch to their last.
    """
    fast = Size(size.name, size.clients, size.visits, limited=False, days=size.days, latency=0.0)
    tool = TOOLS["ycsync"]
    with place(out / "logs") as where, salon(**options(fast, warm=True, tie_order="random")) as source:
        job = Job(where.folder(), source.url, where.socket, asyncio.run(where.database()), limited=False)
        command, environ = tool.command(job)
        cost = measure(command, environment=environ, folder=job.folder, log=where.logs / f"throughput-{size.name}.log")
        rows, seconds, requests = asyncio.run(_visits(job.dsn))
    rate = rows / seconds if seconds else 0.0
    steady = [mb for at, mb in cost.samples if at > cost.seconds / 4]
    return Figure(
        f"{size.clients:,} clients, {size.visits:,} visits, the API not the bottleneck",
        "≤ 150 MB, flat; ≥ 5,000 records/s through parse and commit",
        f"{rate:,.0f} records/s ({rows:,} in {seconds:.0f} s, {requests:,} requests), "
        f"{cost.cpu_s:.0f} s of processor time in all; "
        f"at most {cost.peak_mb:.0f} MB, {min(steady):.0f} to {max(steady):.0f} MB after the first quarter",
        cost.code == 0 and rate >= 5000 and cost.peak_mb <= 150,
        f"tests/benchmarks/compare.py --only figures --sizes {size.name}",
        cost.samples,
    )


async def _visits(dsn: str) -> tuple[int, float, int]:
    """Rows, seconds from the first batch's start to the last one's end, and requests of the records stream."""
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetchrow(
            "select count(*) as rows, (select extract(epoch from max(finished_at) - min(started_at))::float from"
            " yclients.sync_batches where stream = 'records' and rows > 0) as seconds, (select sum(requests)::int from"
            " yclients.sync_batches where stream = 'records') as requests from yclients.records"
        )
        assert found is not None
        return found["rows"], found["seconds"] or 0.0, found["requests"] or 0
    finally:
        await connection.close()


def _service(folder: Path, url: str, more: str) -> subprocess.Popen[bytes]:
    config = folder / "config.yaml"
    config.write_text(f"preset: aggressive\nyclients: {{base_url: '{url}'}}\nhttp: {{listen: false}}\n{more}\n", "utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "ycsync", "run", "--config", str(config)],
        env=first_sync.environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _until(true: Callable[[], bool], timeout: float) -> None:
    """Wait for what another process does. TimeoutError: it did not."""
    over = time.monotonic() + timeout
    while not true():
        if time.monotonic() > over:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.05)


def all_of_them(sizes: Sequence[Size], out: Path) -> list[Figure]:
    """In the order of the table; about a quarter of an hour with 100,000 clients."""
    figures = [*first_passes(), by_client(), budget(), quiet_cycle(), restart(out), idle(), stop()]
    return [*figures, *(throughput(size, out) for size in sizes if size.clients > 1000)]
