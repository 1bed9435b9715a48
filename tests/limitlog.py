"""What do the limiter's tests share? A server that notes arrivals, processes that send, and time that is moved by hand."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from aiohttp import web

import ycsync
from ycsync import limiter as limiter_module
from ycsync import sql
from ycsync.limiter import Lease, Limiter, Rates
from ycsync.store.database import Database, connect

SCHEMA = "yclients"
PLENTY = 1000


def densest(times: Sequence[float], window: float) -> int:
    """The most events in any window (t - window, t]: an exact log, not a bucket."""
    ordered = sorted(times)
    most = first = 0
    for place, at in enumerate(ordered):
        while at - ordered[first] >= window:
            first += 1
        most = max(most, place - first + 1)
    return most


@dataclass(slots=True)
class Server:
    """Notes when each request *arrives*: after a delay on its way here, before one on its way back."""

    up: tuple[float, float] = (0.0, 0.0)
    down: tuple[float, float] = (0.0, 0.0)
    arrivals: list[float] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)
    url: str = ""
    random: random.Random = field(default_factory=lambda: random.Random(7))

    async def _handle(self, request: web.Request) -> web.Response:
        # What a client that is killed now has sent still arrives: this does not stop with the connection.
        await asyncio.sleep(self.random.uniform(*self.up))
        self.arrivals.append(time.monotonic())
        self.by[request.path] += 1
        await asyncio.sleep(self.random.uniform(*self.down))
        return web.json_response({"success": True, "data": [], "meta": []})

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Server]:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


class Counting:
    """A database that counts what it is asked."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.asked = 0

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        self.asked += 1
        return await self.database.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        self.asked += 1
        return await self.database.fetchrow(query, *args)

    async def execute(self, query: str, *args: object) -> None:
        self.asked += 1
        await self.database.execute(query, *args)


@contextlib.asynccontextmanager
async def granting(
    database: Database | Counting,
    per_second: int = PLENTY,
    per_minute: int = PLENTY,
    *,
    egress: str = "default",
    owner: int = 1,
    timeout_s: float = 5.0,
    min_delay_s: float = 0.0,
) -> AsyncIterator[Limiter]:
    """A limiter that runs, with the slots of its address made."""
    rates = Rates(per_second, per_minute, min_delay_s)
    limiter = Limiter(database, SCHEMA, egress, owner, lambda: rates, timeout_s=timeout_s)
    await limiter.prepare(per_second, per_minute)
    task = asyncio.create_task(limiter.run())
    try:
        yield limiter
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await limiter.close()


async def free(database: Database, kind: int, *, egress: str = "default") -> int:
    """How many slots of one window are free now."""
    return int(
        await database.fetchval(
            f"select count(*) from {SCHEMA}.limiter_slots where egress = $1 and kind = $2 and free_at <= now()", egress, kind
        )
    )


async def eventually(condition: Callable[[], Awaitable[object]], within_s: float = 3.0) -> None:
    end = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < end, "it never came to that"
        await asyncio.sleep(0.02)


async def count_of(found: Sequence[asyncio.Future[Lease]]) -> int:
    return sum(1 for one in found if one.done())


WORKER = """
import asyncio, sys
from ycsync.api import Api, Request, Tally, new_session
from ycsync.errors import YcsyncError
from ycsync.limiter import Limiter, Rates
from ycsync.store.database import connect
from ycsync.store.work import Work

async def main(dsn, url, name, per_second, per_minute, senders):
    database = await connect(dsn, "yclients", size=4)
    work = Work(database)
    await work.reap()
    owner = await work.register("service", "default", "0", {})
    rates = Rates(per_second, per_minute, 0.0)
    limiter = Limiter(database, "yclients", "default", owner, lambda: rates, timeout_s=5)
    await limiter.prepare(per_second, per_minute)
    running = asyncio.create_task(limiter.run())
    async with new_session(timeout_s=5) as session:
        api = Api(session, url, "partner", "user", limiter)

        async def send(company):
            while True:
                try:
                    await api.fetch(Request("x", company, "/" + name), Tally(), tries=1)
                except YcsyncError as error:
                    print(type(error).__name__, file=sys.stderr)
                    await asyncio.sleep(0.1)

        async def mind():
            while True:
                await work.beat(owner)
                await work.reap()
                await asyncio.sleep(0.02)

        print("ready", flush=True)
        await asyncio.gather(mind(), running, *(send(n + 1) for n in range(senders)))

asyncio.run(main(*sys.argv[1:4], *map(int, sys.argv[4:])))
"""


def spawn(dsn: str, url: str, name: str, per_second: int, per_minute: int, senders: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, dsn, url, name, str(per_second), str(per_minute), str(senders)]
    env = {**os.environ, "PYTHONPATH": str(Path(ycsync.__file__).parents[1])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


async def ready(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    assert (await asyncio.to_thread(worker.stdout.readline)).strip() == "ready"


def end(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()
    assert worker.stdout is not None
    worker.stdout.close()


@dataclass(slots=True)
class VirtualClock:
    """now() of one database, moved by hand: 60 s windows in the statements as they are, without waiting."""

    database: Database
    at: float = 0.0

    @classmethod
    async def install(cls, url: str) -> VirtualClock:
        admin = await asyncpg.connect(url)
        await admin.execute(
            """
            create schema fakeclock;
            create table fakeclock.clock (t timestamptz not null);
            insert into fakeclock.clock values ('2025-10-09T08:00:00Z');
            create function fakeclock.now() returns timestamptz language sql stable
                as 'select t from fakeclock.clock';
            """
        )
        await admin.execute(f'alter database "{urlsplit(url).path[1:]}" set search_path = fakeclock, pg_catalog')
        await admin.close()
        return cls(await connect(url, SCHEMA, size=1))

    async def to(self, seconds: float) -> None:
        assert seconds >= self.at
        self.at = seconds
        await self.database.execute(
            "update fakeclock.clock set t = '2025-10-09T08:00:00Z'::timestamptz + make_interval(secs => $1::float8)", seconds
        )


@dataclass(slots=True)
class Fleet:
    """Processes in virtual time that send as much as they may; some die, and their neighbours find them at once."""

    clock: VirtualClock
    per_second: int
    per_minute: int
    up: tuple[float, float]
    down: tuple[float, float]
    deaths: float = 0.0
    senders: int = 6
    arrivals: list[float] = field(default_factory=list)
    random: random.Random = field(default_factory=lambda: random.Random(11))

    async def run(self, processes: int, seconds: float) -> None:
        database = self.clock.database
        limiter, work = sql.load("limiter.sql", SCHEMA), sql.load("work.sql", SCHEMA)
        await database.execute(limiter["prepare"], "default", self.per_second, self.per_minute)
        order = itertools.count()
        events: list[tuple[float, int, str, tuple[int, Lease | None]]] = []
        owners = itertools.count(1)
        alive = {next(owners): 0 for _ in range(processes)}  # owner -> requests in flight

        def at(when: float, what: str, owner: int, lease: Lease | None = None) -> None:
            heapq.heappush(events, (when, next(order), what, (owner, lease)))

        for owner in alive:
            at(self.random.random(), "acquire", owner)
            if self.deaths:
                at(self.random.expovariate(1 / self.deaths), "die", owner)
        while events and events[0][0] < seconds:
            when, _, what, (owner, lease) = heapq.heappop(events)
            if what == "arrive":
                self.arrivals.append(when)
                continue
            if owner not in alive:
                continue
            await self.clock.to(when)
            if what == "die":
                del alive[owner]
                await database.execute(work["free_slots"], [owner], limiter_module.TRANSIT_S)
                born = next(owners)
                alive[born] = 0
                at(when + self.random.random(), "acquire", born)
                at(when + self.random.expovariate(1 / self.deaths), "die", born)
            elif what == "answer":
                assert lease is not None
                alive[owner] -= 1
                await database.execute(
                    limiter["release"], "default", lease.second, lease.second_lease, lease.minute, lease.minute_lease
                )
            elif alive[owner] >= self.senders:
                at(when + 0.05, "acquire", owner)
            else:
                rows = await database.fetch(limiter["acquire"], "default", self.per_second, self.per_minute, owner, 32.0, 1)
                if rows:
                    kinds = {row["kind"]: row for row in rows}
                    assert kinds.keys() == {1, 60}
                    taken = Lease(kinds[1]["slot"], kinds[1]["lease"], kinds[60]["slot"], kinds[60]["lease"], kinds[1]["at"])
                    alive[owner] += 1
                    arrives = when + self.random.uniform(*self.up)
                    at(arrives, "arrive", owner)
                    at(arrives + self.random.uniform(*self.down), "answer", owner, taken)
                    at(when + 0.001, "acquire", owner)
                else:
                    row = await database.fetchrow(limiter["wait"], "default", self.per_second, self.per_minute, 1)
                    assert row is not None
                    at(when + limiter_module.nap_s(row["seconds"]), "acquire", owner)
