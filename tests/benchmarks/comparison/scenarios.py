"""What is measured of a program: a first pass, one while the salon changes, one that is killed and started again."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.comparison.processes import Cost, measure
from benchmarks.comparison.salon_client import Row, salon
from benchmarks.comparison.tools import Job, Tool
from ycsync.store.embedded import EmbeddedPostgres

CHURN = 3  # changes of the salon after every answer


@dataclass(frozen=True, slots=True)
class Size:
    """How large the salon is. `limited`: the API's limits hold. `days`: its past, where two years would crowd its days."""

    name: str
    clients: int
    visits: int
    limited: bool = True
    days: int | None = None
    latency: float = 0.25


SIZES = {
    "100": Size("100", 100, 1_200, limited=False, latency=0.02),
    "1k": Size("1k", 1_000, 12_000),
    "10k": Size("10k", 10_000, 120_000),
    "100k": Size("100k", 100_000, 1_000_000, limited=False),
}


@dataclass(slots=True)
class Measured:
    """One row of the tables; what was not measured stays None."""

    tool: str
    size: str
    scenario: str
    limited: bool
    code: int = 0
    requests: int | None = None
    seconds: float | None = None
    refused: int | None = None
    max_1s: int | None = None
    max_60s: int | None = None
    peak_mb: float | None = None
    cpu_s: float | None = None
    stored: int | None = None
    held: int | None = None
    lost: int | None = None
    missing: int | None = None
    stale: int | None = None
    ghosts: int | None = None
    doubled: int | None = None
    next_requests: int | None = None
    next_missing: int | None = None
    next_stale: int | None = None
    next_lost: int | None = None
    next_ghosts: int | None = None
    killed_after: int | None = None
    repeated_requests: int | None = None
    repeated_rows: int | None = None
    samples: tuple[tuple[float, float], ...] = ()
    note: str = ""


@dataclass(slots=True)
class Place:
    """A database server, and folders of the benchmark's own."""

    root: Path
    socket: str
    logs: Path
    made: int = field(default=0)

    async def database(self) -> str:
        """A new, empty database."""
        self.made += 1
        name = f"bench_{self.made}"
        connection = await asyncpg.connect(f"postgresql://ycsync@/postgres?host={self.socket}&port=5432")
        await connection.execute(f"create database {name}")
        await connection.close()
        return name

    def folder(self) -> Path:
        """A new folder for one job."""
        folder = self.root / f"job-{self.made}"
        folder.mkdir()
        return folder


@contextmanager
def place(logs: Path, *, durable: bool = True) -> Iterator[Place]:
    """A server with its usual durability, unless nothing is measured; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ycsync-bench-") as name:
        root = Path(name)
        root.chmod(0o755)
        server = EmbeddedPostgres(root / "postgres", durable=durable)
        server.start()
        try:
            logs.mkdir(parents=True, exist_ok=True)
            yield Place(root, str(root / "postgres" / "data"), logs)
        finally:
            server.stop()


def options(size: Size, **more: Any) -> dict[str, Any]:
    """A simulated salon. Rows of one moment keep their order: pages lose rows by changes only, not by the server's dice."""
    limits = {} if size.limited else {"per_second": 0, "per_minute": 0}
    return {
        "clients": size.clients,
        "visits": size.visits,
        "latency": size.latency,
        "tie_order": "id",
        "days": size.days,
        **limits,
        **more,
    }


def _run(tool: Tool, job: Job, where: Place, name: str, **more: Any) -> Cost:
    command, environ = tool.command(job)
    return measure(command, environment=environ, folder=job.folder, log=where.logs / f"{name}.log", **more)


def _counted(row: Measured, report: Mapping[str, Any], cost: Cost) -> None:
    row.code, row.seconds, row.peak_mb, row.cpu_s, row.samples = (
        cost.code, cost.seconds, cost.peak_mb, cost.cpu_s, cost.samples,
    )  # fmt: skip
    row.requests, row.refused = report["requests"], report["refused"]
    row.max_1s, row.max_60s = report["max_1s"], report["max_60s"]
    if cost.code:
        row.note = f"ended with {cost.code}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What a database shows beside what the salon holds.

    lost      there before the run and after it, unchanged all the time, and not stored: no moment at which that was right
    missing   in the salon now and not stored, those included
    stale     stored as it was before its last change
    ghosts    clients that are gone from the salon and shown as if they were not
    doubled   rows stored more than once
    """

    stored: int
    lost: int
    missing: int
    stale: int
    ghosts: int
    doubled: int


def difference(before: Mapping[Row, int], now: Mapping[Row, int], stored: list[tuple[Row, int]]) -> Difference:
    """`before`, `now`: what the salon held as the run began and after it, with the times of change."""
    times = dict(stored)
    missing = [row for row in now if row not in times]
    counts = Counter(row for row, _ in stored)
    return Difference(
        stored=len(times),
        lost=sum(1 for row in missing if before.get(row) == now[row]),
        missing=len(missing),
        stale=sum(1 for row, changed in now.items() if row in times and times[row] < changed),
        ghosts=sum(1 for row in times if row[0] == "client" and row not in now),
        doubled=sum(1 for count in counts.values() if count > 1),
    )


def first_pass(tool: Tool, size: Size, where: Place, database: str) -> Measured:
    """A quiet salon into an empty database."""
    row = Measured(tool.name, size.name, "quiet", size.limited)
    with salon(**options(size, warm=not size.limited)) as source:
        job = Job(where.folder(), source.url, where.socket, database, size.limited)
        before = source.snapshot(job.folder)
        cost = _run(tool, job, where, f"{tool.name}-{size.name}-quiet")
        _counted(row, source.ask("report"), cost)
        _differ(row, tool, job, before, before)
    return row


def changing(tool: Tool, size: Size, where: Place, database: str) -> Measured:
    """The salon changes after every answer until the run ends; then nothing does, and the program runs once more."""
    row = Measured(tool.name, size.name, "changing", size.limited)
    name = f"{tool.name}-{size.name}-changing"
    with salon(**options(size, churn=CHURN, warm=not size.limited)) as source:
        job = Job(where.folder(), source.url, where.socket, database, size.limited)
        before = source.snapshot(job.folder)
        cost = _run(tool, job, where, name)
        source.ask("still")
        _counted(row, source.ask("report"), cost)
        now = source.snapshot(job.folder)
        _differ(row, tool, job, before, now)
        source.ask("forget")
        again = _run(tool, job, where, name)
        row.code = row.code or again.code
        row.next_requests = source.ask("report")["requests"]
        after = difference(before, now, tool.stored(job))
        row.next_lost, row.next_missing, row.next_stale, row.next_ghosts = after.lost, after.missing, after.stale, after.ghosts
    return row


def killed(tool: Tool, size: Size, where: Place, database: str, requests: int) -> Measured:
    """SIGKILL after half of the `requests` of a whole pass; what is asked and read again after that?"""
    row = Measured(tool.name, size.name, "killed", size.limited)
    name = f"{tool.name}-{size.name}-killed"
    half = requests // 2
    with salon(**options(size, warm=not size.limited)) as source:
        job = Job(where.folder(), source.url, where.socket, database, size.limited)
        before = source.snapshot(job.folder)
        _run(tool, job, where, name, kill=lambda: source.ask("report")["requests"] >= half)
        first = source.ask("report")
        read = source.served(job.folder)
        source.ask("forget")
        cost = _run(tool, job, where, name)
        second = source.ask("report")
        _counted(row, second, cost)
        row.requests = first["requests"] + second["requests"]
        row.refused = first["refused"] + second["refused"]
        row.killed_after = first["requests"]
        # Windows depend on what was answered first: an undisturbed pass may need a few requests more.
        row.repeated_requests = max(0, row.requests - requests)
        row.repeated_rows = len(read & source.served(job.folder))
        _differ(row, tool, job, before, before)
    return row


def _differ(row: Measured, tool: Tool, job: Job, before: Mapping[Row, int], now: Mapping[Row, int]) -> None:
    found = difference(before, now, tool.stored(job))
    row.held, row.stored = len(now), found.stored
    row.lost, row.missing, row.stale = found.lost, found.missing, found.stale
    row.ghosts, row.doubled = found.ghosts, found.doubled
