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
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from aiohttp import web

import ycsync
from ycsync import limiter as limiter_module
from ycsync import sql
from ycsync.api.outcome import wait_after
from ycsync.limiter import Lease, Limiter, Rates
from ycsync.ratelimit import RateHeaders, read_rate_headers
from ycsync.simulator.report import Budget
from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate

SCHEMA = "yclients"
EPOCH = datetime(2025, 10, 9, 8, tzinfo=UTC)
PLENTY = 1000
STRAGGLE_S = 1.9  # less than TRANSIT_S, for stragglers whose sender is killed


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
    """Notes when each request *arrives*: after a delay on its way here, before one on its way back.

    `stragglers`: this share of the requests is on its way for up to STRAGGLE_S. With limits it refuses what is over them,
    and counts it: `per_second` and `per_minute` in any half-open window. `says`: answers say how much is left of the minute, as
    it is counted by a server whose minute slides or is fixed.
    """

    up: tuple[float, float] = (0.0, 0.0)
    down: tuple[float, float] = (0.0, 0.0)
    stragglers: float = 0.0
    per_second: int = 1 << 30
    per_minute: int = 1 << 30
    arrivals: list[float] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    says: Literal["", "sliding", "fixed"] = ""
    url: str = ""
    random: random.Random = field(default_factory=lambda: random.Random(7))
    budget: Budget | None = None

    async def _handle(self, request: web.Request) -> web.Response:
        # What a client that is killed now has sent still arrives: this does not stop with the connection.
        late = self.stragglers and self.random.random() < self.stragglers
        await asyncio.sleep(self.random.uniform(0.0, STRAGGLE_S) if late else self.random.uniform(*self.up))
        now = time.monotonic()
        over = self.last(1.0, now) >= self.per_second or self.last(60.0, now) >= self.per_minute
        self.arrivals.append(now)
        said = {}
        if self.says:
            self.budget = self.budget or Budget(0, self.per_minute, fixed=self.says == "fixed")
            self.budget.take(now)
            said = self.budget.headers(now)
        self.by[request.path] += 1
        if over:
            self.refused += 1
            return web.json_response({"success": False, "data": None, "meta": {"message": "over the limit"}}, status=429)
        await asyncio.sleep(self.random.uniform(*self.down))
        return web.json_response({"success": True, "data": [], "meta": []}, headers=said)

    def last(self, window: float, now: float) -> int:
        """Requests that arrived in (now - window, now]."""
        return sum(1 for at in itertools.takewhile(lambda at: now - at < window, reversed(self.arrivals)))

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


@contextlib.asynccontextmanager
async def fresh_database(dsn: str) -> AsyncIterator[str]:
    """A migrated database, for what outlives one test's own."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
        url = urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
        database = await connect(url, SCHEMA, size=1)
        await migrate(database)
        await database.close()
        yield url
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


async def free(database: Database, kind: int, *, egress: str = "default") -> int:
    """How many slots of one window are free now."""
    return int(
        await database.fetchval(
            f"select count(*) from {SCHEMA}.limiter_slots where egress = $1 and kind = $2 and free_at <= now()", egress, kind
        )
    )


async def eventually(condition: Callable[[], Awaitable[object]], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < end, "it never came to that"
        await asyncio.sleep(0.02)


async def count_of(found: Sequence[asyncio.Future[Lease]]) -> int:
    return sum(1 for one in found if one.done())


WORKER = """
import asyncio, contextlib, sys
from ycsync.api import Api, Request, Tally, new_session
from ycsync.errors import YcsyncError
from ycsync.limiter import Limiter, Rates
from ycsync.store.database import connect
from ycsync.store.work import Work

async def main(dsn, url, egress, name, timeout_s, per_second, per_minute, senders):
    database = await connect(dsn, "yclients", size=2)
    work = Work(database)
    await work.reap()
    owner = await work.register("service", egress, "0", {})
    rates = Rates(per_second, per_minute, 0.0)
    limiter = Limiter(database, "yclients", egress, owner, lambda: rates, timeout_s=timeout_s)
    await limiter.prepare(per_second, per_minute)
    running = asyncio.create_task(limiter.run())
    async with new_session(timeout_s=timeout_s) as session:
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
                with contextlib.suppress(YcsyncError):
                    await work.beat(owner)
                    await work.reap()
                await asyncio.sleep(0.1)

        print("ready", flush=True)
        await asyncio.gather(mind(), running, *(send(n + 1) for n in range(senders)))

asyncio.run(main(*sys.argv[1:5], float(sys.argv[5]), *map(int, sys.argv[6:])))
"""


def spawn(
    dsn: str,
    url: str,
    name: str,
    per_second: int,
    per_minute: int,
    senders: int,
    *,
    egress: str = "default",
    timeout_s: float = 5.0,
    environ: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """A process that sends as much as it may; it says "ready" when it begins."""
    numbers = map(str, (timeout_s, per_second, per_minute, senders))
    command = [sys.executable, "-c", WORKER, dsn, url, egress, name, *numbers]
    env = {**os.environ, "PYTHONPATH": str(Path(ycsync.__file__).parents[1]), **(environ or {})}
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
    """One session of a database whose now() is moved by hand: 60 s windows in the statements as they are, without waiting.

    It is what the limiter needs of a database, and `seconds` its own clock. `offset`: by how much the database's clock
    is ahead of everybody else's.
    """

    connection: asyncpg.Connection
    at: float = 0.0
    offset: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # one session answers one question at a time

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[VirtualClock]:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(
                """
                create schema if not exists fakeclock;
                create or replace function fakeclock.now() returns timestamptz language sql stable
                    as $$ select current_setting('fakeclock.t')::timestamptz $$;
                set search_path = fakeclock, pg_catalog;
                set jit = off;
                """
            )
            clock = cls(connection)
            await clock.to(0.0)
            yield clock
        finally:
            await connection.close()

    async def to(self, seconds: float) -> None:
        assert seconds >= self.at
        self.at = seconds
        await self._set()

    async def jump(self, seconds: float) -> None:
        """The database's clock jumps; time does not."""
        self.offset += seconds
        await self._set()

    def seconds(self) -> float:
        return self.at

    async def _set(self) -> None:
        at = EPOCH + timedelta(seconds=self.at + self.offset)
        await self.connection.execute(f"set fakeclock.t = '{at.isoformat()}'")

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        async with self.turn:
            return list(await self.connection.fetch(query, *args))

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        async with self.turn:
            return await self.connection.fetchrow(query, *args)

    async def execute(self, query: str, *args: object) -> None:
        async with self.turn:
            await self.connection.execute(query, *args)

    def limiter(self, egress: str, owner: int, rates: Callable[[], Rates], timeout_s: float = 30.0) -> Limiter:
        """A process's limiter, in this time; its `ask` is called by hand."""
        return Limiter(self, SCHEMA, egress, owner, rates, timeout_s=timeout_s, clock=self.seconds)


@dataclass(slots=True)
class Fleet:
    """Processes in virtual time that send as much as they may; some die, and their neighbours find them at once.

    `server`: counts what arrives, says so in headers, and refuses what is too much.
    """

    clock: VirtualClock
    per_second: int
    per_minute: int
    up: tuple[float, float]
    down: tuple[float, float]
    deaths: float = 0.0
    senders: int = 6
    patient: bool = False  # they leave room to those that are not
    hungry: int = 0  # so many of them do not
    granted: Counter[int] = field(default_factory=Counter)  # by process
    changes: float = 0.0  # seconds between two requests that cannot wait, each of a process of its own
    waits: list[float] = field(default_factory=list)  # of those
    arrivals: list[float] = field(default_factory=list)
    random: random.Random = field(default_factory=lambda: random.Random(11))
    server: Budget | None = None
    egresses: tuple[str, ...] = ("default",)  # taken by the processes in turn
    apart: bool = False  # the server has a limit for each of them
    refused: list[float] = field(default_factory=list)
    headers: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers  # what becomes of the server's
    said: dict[Lease, tuple[RateHeaders, bool]] = field(default_factory=dict)  # and whether it was refused

    def egress(self, owner: int) -> str:
        """The budget that a process takes from."""
        return self.egresses[owner % len(self.egresses)]

    def arrive(self, when: float, owner: int, lease: Lease | None) -> None:
        """The server counts a request."""
        self.arrivals.append(when)
        if self.server is not None and lease is not None:
            account = self.egress(owner) if self.apart else ""
            refused = self.server.take(when, account) > 0
            self.said[lease] = read_rate_headers(self.headers(self.server.headers(when, account))), refused
            if refused:
                self.refused.append(when)

    async def hear(self, limiter: Limiter, lease: Lease) -> None:
        """The answer is there."""
        limiter.answered(lease)
        if lease in self.said:
            headers, refused = self.said.pop(lease)
            limiter.heard(lease, headers)
            if refused:
                await limiter.throttled(wait_after("", None, None, headers))
        await limiter.close()

    async def run(self, processes: int, seconds: float) -> None:
        free_slots = sql.load("work.sql", SCHEMA)["free_slots"]
        rates = Rates(self.per_second, self.per_minute, 0.0)
        order = itertools.count()
        events: list[tuple[float, int, str, int, Lease | None]] = []
        owners = itertools.count(1)
        alive: dict[int, Limiter] = {}
        flying: Counter[int] = Counter()  # owner -> requests in flight

        def at(when: float, what: str, owner: int, lease: Lease | None = None) -> None:
            heapq.heappush(events, (when, next(order), what, owner, lease))

        async def begin(when: float) -> None:
            owner = next(owners)
            alive[owner] = self.clock.limiter(self.egress(owner), owner, lambda: rates)
            await alive[owner].prepare(self.per_second, self.per_minute)
            at(when + self.random.random(), "acquire", owner)
            if self.deaths:
                at(when + self.random.expovariate(1 / self.deaths), "die", owner)

        for _ in range(processes):
            await begin(0.0)
        live = self.clock.limiter(self.egress(0), 0, lambda: rates)
        begun: float | None = None
        if self.changes:
            at(self.random.expovariate(1 / self.changes), "change", 0)
        while events and events[0][0] < seconds:
            when, _, what, owner, lease = heapq.heappop(events)
            if what == "arrive":
                self.arrive(when, owner, lease)
                continue
            if what == "change":
                await self.clock.to(when)
                begun = when if begun is None else begun
                if isinstance(found := await live.ask(2), Lease):
                    self.waits.append(when - begun)
                    begun = None
                    at(when + self.random.uniform(*self.up), "arrive", 0, found)
                    at(when + 0.5, "answer", 0, found)
                    at(when + 0.5 + self.random.expovariate(1 / self.changes), "change", 0)
                else:
                    at(when + found + self.random.uniform(0.0, 0.003), "change", 0)
                continue
            limiter = alive.get(owner) if owner else live
            if limiter is None:
                continue
            await self.clock.to(when)
            if what == "die":
                del alive[owner]
                await self.clock.execute(free_slots, [owner], limiter_module.TRANSIT_S)
                await begin(when)
            elif what == "answer":
                assert lease is not None
                flying[owner] -= 1
                await self.hear(limiter, lease)
            elif flying[owner] >= self.senders:
                at(when + 0.05, "acquire", owner)
            else:
                found = await limiter.ask(1, patient=self.patient and owner > self.hungry)
                if isinstance(found, Lease):
                    flying[owner] += 1
                    self.granted[owner] += 1
                    arrives = when + self.random.uniform(*self.up)
                    at(arrives, "arrive", owner, found)
                    at(arrives + self.random.uniform(*self.down), "answer", owner, found)
                    at(when + 0.001, "acquire", owner)
                else:
                    at(when + found + self.random.uniform(0.0, 0.003), "acquire", owner)
