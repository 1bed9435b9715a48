"""What does the server count when real processes are killed, cut off from their database, frozen and started again?

All runs share one minute of real time and one database; each has an address (`egress`) and a server of its own, so that they
also show that addresses do not touch each other's budgets. The run that measures is the one with the API's real figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from conftest import Effort
from faultproxy import NONE, FaultProxy, Faults
from limitlog import SCHEMA, Server, densest, end, fresh_database, ready, spawn
from ycsync.store.database import connect

pytestmark = [pytest.mark.xdist_group("limit-runs"), pytest.mark.timeout(3600)]
SECOND, MINUTE = 5, 200  # the API's limits
ROUND_TRIP_S = 0.25


@dataclass
class Runs:
    """One server for each run, after all are over, and what else is to be told."""

    servers: dict[str, Server] = field(default_factory=dict)
    seconds: float = 0.0
    since: dict[str, float] = field(default_factory=dict)  # when the measuring began
    events: dict[str, int] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # budgets of which somebody else was taken to use a part

    def share(self, name: str) -> float:
        """Of the budget of a run that measures."""
        begun = self.since[name]
        used = sum(1 for at in self.servers[name].arrivals if begun <= at < begun + self.seconds)
        return used / (MINUTE * self.seconds / 60)


LEAST = {"killed": 8, "hung": 4, "frozen": 4}  # disturbances


@dataclass
class Stage:
    """What a run needs: the database, its server, the processes that it started, and when to end."""

    name: str
    dsn: str
    server: Server
    until: float
    chance: random.Random
    runs: Runs
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    async def start(self, dsn: str = "", *, per_second: int = SECOND, per_minute: int = MINUTE, timeout_s: float = 5.0,
                    senders: int = 8) -> subprocess.Popen[str]:  # fmt: skip
        number = len(self.workers)
        worker = spawn(
            dsn or self.dsn, self.server.url, str(number), per_second, per_minute, senders,
            egress=self.name, timeout_s=timeout_s,
        )  # fmt: skip
        self.workers.append(worker)
        await ready(worker)
        return worker

    def goes_on(self, rest_s: float) -> bool:
        """Return whether there is time for one more disturbance, or, on a busy machine, too few of them yet."""
        return self.until - time.monotonic() > rest_s or self.runs.events.get(self.name, 0) < LEAST[self.name]

    def count(self) -> None:
        self.runs.events[self.name] = self.runs.events.get(self.name, 0) + 1


async def whole(stage: Stage) -> None:
    """Two processes with work waiting, and nothing goes wrong. The minute before was used up evenly: no need to wait for it."""
    database = await connect(stage.dsn, SCHEMA, size=1)
    await database.execute(
        f"""insert into {SCHEMA}.limiter_slots (egress, kind, slot, free_at)
        select $1, 60, s, now() + make_interval(secs => s * 60.0 / $2::int) from generate_series(0, $2::int - 1) s""",
        stage.name,
        MINUTE,
    )
    await database.close()
    for _ in range(2):
        await stage.start(timeout_s=30.0)
    stage.runs.since[stage.name] = time.monotonic()
    await asyncio.sleep(stage.runs.seconds)


async def killed(stage: Stage) -> None:
    """kill -9 and restart, over and over, while requests are on their way for up to 0.6 s, and some for longer."""
    for _ in range(3):
        await stage.start(per_minute=1000)
    while stage.goes_on(3):
        await asyncio.sleep(stage.chance.uniform(0.1, 2.5))
        victim = stage.chance.choice([worker for worker in stage.workers if worker.poll() is None])
        victim.send_signal(signal.SIGKILL)
        await asyncio.to_thread(victim.wait)
        await stage.start(per_minute=1000)
        stage.count()


async def hung(stage: Stage) -> None:
    """The database of one of two processes hangs for longer than a lease, again and again."""
    async with FaultProxy(upstream(stage.dsn)) as proxy:
        await stage.start(through(stage.dsn, proxy), per_minute=1000, timeout_s=1.0)
        await stage.start(per_minute=1000, timeout_s=1.0)
        while stage.goes_on(12):
            await asyncio.sleep(stage.chance.uniform(1.0, 3.0))
            proxy.faults = Faults(hang=True)
            await asyncio.sleep(stage.chance.uniform(7.5, 9.0))
            proxy.faults = NONE
            stage.count()
        await asyncio.sleep(2.0)


async def frozen(stage: Stage) -> None:
    """One of two processes is stopped for longer than a lease. A slow way to the database: a grant is on it at most times."""
    async with FaultProxy(upstream(stage.dsn)) as proxy:
        proxy.faults = Faults(latency_s=0.1)
        await stage.start(through(stage.dsn, proxy), per_minute=1000, timeout_s=1.0)
        await stage.start(per_minute=1000, timeout_s=1.0)
        while stage.goes_on(11):
            await asyncio.sleep(stage.chance.uniform(0.5, 2.0))
            stage.workers[0].send_signal(signal.SIGSTOP)
            await asyncio.sleep(stage.chance.uniform(7.2, 8.0))
            stage.workers[0].send_signal(signal.SIGCONT)
            stage.count()
        await asyncio.sleep(2.0)


async def crowded(stage: Stage) -> None:
    """Four processes share one budget."""
    for _ in range(4):
        await stage.start(per_second=20, per_minute=1000, senders=4)
    stage.runs.since[stage.name] = time.monotonic()
    stage.server.by.clear()
    await asyncio.sleep(10.0)


PLAYS: dict[str, tuple[Callable[[Stage], Coroutine[Any, Any, None]], Callable[[], Server]]] = {
    "whole": (
        whole,
        lambda: Server((ROUND_TRIP_S / 2,) * 2, (ROUND_TRIP_S / 2,) * 2, per_second=SECOND, per_minute=MINUTE, says="sliding"),
    ),
    "fixed": (
        whole,
        lambda: Server((ROUND_TRIP_S / 2,) * 2, (ROUND_TRIP_S / 2,) * 2, per_second=SECOND, per_minute=MINUTE, says="fixed"),
    ),
    "killed": (killed, lambda: Server((0.0, 0.6), (0.0, 0.1), stragglers=0.05, per_second=SECOND)),
    "hung": (hung, lambda: Server((0.0, 0.05), (0.0, 0.05), per_second=SECOND)),
    "frozen": (frozen, lambda: Server((0.0, 0.02), (0.0, 0.02), per_second=SECOND)),
    "crowded": (crowded, lambda: Server((0.0, 0.02), (0.0, 0.02), per_second=20)),
}


MEASURING = ("whole", "fixed")  # by how their servers count the minute, and say so


@pytest.fixture(scope="module")
def runs(postgres_dsn: str, effort: Effort) -> Runs:
    """All plays at once; the tests ask what came of them."""
    return asyncio.run(play(postgres_dsn, effort.of(60, 600), effort.seed))


async def play(dsn: str, seconds: int, seed: int) -> Runs:
    runs = Runs(seconds=seconds)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(dsn))
        until = time.monotonic() + seconds + 4.0
        stages = []
        for name, (_, server) in PLAYS.items():
            runs.servers[name] = await stack.enter_async_context(server().listening())
            stages.append(Stage(name, url, runs.servers[name], until, random.Random(f"{seed} {name}"), runs))
        try:
            await asyncio.gather(*(PLAYS[stage.name][0](stage) for stage in stages))
        finally:
            for stage in stages:
                for worker in stage.workers:
                    end(worker)
            await asyncio.sleep(0.7)  # what is on its way arrives
        database = await connect(url, SCHEMA, size=1)
        found = await database.fetch(f"select egress from {SCHEMA}.limiter_egress where others is not null")
        runs.others = [row["egress"] for row in found]
        said = f"select count(*) from {SCHEMA}.limiter_egress where server_limit = $1"
        assert await database.fetchval(said, MINUTE) == len(MEASURING), "the headers were read"
        await database.close()
    shares = ", ".join(f"{runs.share(name):.1%} ({name})" for name in MEASURING)
    print(f"figures: limit, seed {seed}: {shares} of the budget used in {seconds} s")
    for name, one in runs.servers.items():
        second, minute = densest(one.arrivals, 1.0), densest(one.arrivals, 60.0)
        print(
            f"figures: limit, {name}: {len(one.arrivals)} requests, most {second} in 1 s and {minute} in 60 s, "
            f"{one.refused} refused, {runs.events.get(name, 0)} times disturbed"
        )
    return runs


def through(dsn: str, proxy: FaultProxy) -> str:
    parts = urlsplit(dsn)
    user = f"{parts.username}@" if parts.username else ""
    return f"postgresql://{user}127.0.0.1:{proxy.port}{parts.path}"


def upstream(dsn: str) -> tuple[str, int] | str:
    parts = urlsplit(dsn)
    if parts.hostname:
        return parts.hostname, parts.port or 5432
    query = parse_qs(parts.query)
    return f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"


@pytest.mark.parametrize("name", list(PLAYS))
def test_no_window_of_the_server_holds_too_many_and_nothing_is_refused(runs: Runs, name: str) -> None:
    server = runs.servers[name]
    assert densest(server.arrivals, 1.0) <= server.per_second, name
    assert densest(server.arrivals, 60.0) <= server.per_minute, name
    assert server.refused == 0
    assert len(server.arrivals) > 0.3 * runs.seconds, "and work went on"


@pytest.mark.parametrize("name", MEASURING)
def test_ninety_seven_percent_of_the_budget_are_used_beside_all_that(runs: Runs, name: str) -> None:
    assert runs.share(name) >= 0.97, f"{runs.share(name):.1%} over {runs.seconds} s"


def test_nobody_else_is_taken_to_use_a_budget_that_is_ours_alone(runs: Runs) -> None:
    assert runs.others == []


def test_processes_were_killed_stopped_and_cut_off_and_the_others_went_on(runs: Runs) -> None:
    for name, least in LEAST.items():
        assert runs.events[name] >= least, runs.events
        assert len(runs.servers[name].arrivals) >= 1.2 * runs.seconds, f"{name}: {len(runs.servers[name].arrivals)}"
        assert max(runs.servers[name].arrivals) - min(runs.servers[name].arrivals) > 0.85 * runs.seconds


def test_four_processes_share_one_budget_and_none_starves(runs: Runs) -> None:
    server = runs.servers["crowded"]
    begun = runs.since["crowded"]
    used = sum(1 for at in server.arrivals if begun + 1 <= at < begun + 9)
    assert used >= 0.85 * 20 * 8 / 1.04, used
    assert len(server.by) == 4, server.by
    assert min(server.by.values()) >= 8, server.by
