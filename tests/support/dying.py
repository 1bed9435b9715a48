"""Does a salon's database come through any number of deaths? `Scene` is the salon, its configuration and prepared databases;
`Trial` is one database, the commands that die in it, and what is compared after each death and at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import asyncpg

from support.house import differences, expected_rows
from support.killing import Death, Key, Point, Victims, open_victims
from support.patience import SAFETY_S
from support.remains import Reader, Rows, claims, gone, stored_rows, versions, wrong
from ycsync.plan import cursor as cursors
from ycsync.simulator import Simulator
from ycsync.simulator.report import Seen
from ycsync.sync.batch import CONCURRENCY
from ycsync.sync.clients import FEWEST, MOST

# What one salon may have under way at once: pages of visits, pages of clients, two lists of services, one of staff, the salons.
IN_FLIGHT = 2 * CONCURRENCY + 4
LISTS = {"service_categories": "services", "services": "services", "staff": "staff"}
CONFIG = """\
preset: quick
yclients: {{base_url: "{url}", per_minute: {minute}, per_second: {second}, timeout: 10s}}
http: {{listen: false}}
log: {{level: debug}}
streams: {{companies: 24h, services: 24h, staff: 24h, clients: {cadence}, records: {cadence}}}
{extra}
presets:
  quick:
    batch_size: 80
    interval: 0s
    per_minute: {minute}
    per_second: {second}
    min_delay: 0ms
    max_retries: 6
    recheck_days: 60
"""


@dataclass
class Scene:
    """One salon, one configuration, and databases made from templates."""

    simulator: Simulator
    victims: Victims
    config: Path
    server: str  # the DSN of the database server
    night: bool = False
    template: str = "template0"
    before: Rows = field(default_factory=dict)  # the salon as the template holds it
    after: Rows = field(default_factory=dict)  # the salon as it is
    changed_at: datetime = field(default_factory=lambda: datetime.now(UTC))  # nothing changes from then on
    usual: Counter[Key] = field(default_factory=Counter)  # what a run that nothing disturbs asks, and how often
    counted: int = 0  # requests that the template counts
    made: list[str] = field(default_factory=list)

    @property
    def company(self) -> int:
        """The only salon."""
        return next(iter(self.simulator.world.salons))

    def look(self) -> Rows:
        """The salon as it is now."""
        return expected_rows(self.simulator, self.simulator.world.salons[self.company])

    def url(self, name: str) -> str:
        """The DSN of one database."""
        return urlunsplit(urlsplit(self.server)._replace(path=f"/{name}"))

    async def database(self) -> str:
        """A fresh copy of the template; returns its name."""
        name = f"stop_{uuid.uuid4().hex}"
        admin = await asyncpg.connect(self.server)
        try:
            await admin.execute(f"create database {name} template {self.template} strategy file_copy")
        finally:
            await admin.close()
        self.made.append(name)
        return name

    async def drop_trial(self, trial: Trial) -> None:
        """One of them."""
        name = urlsplit(trial.url).path[1:]
        self.made.remove(name)
        await self._drop([name])

    async def drop(self) -> None:
        """Every database that was made here."""
        await self._drop(self.made)
        self.made.clear()

    async def _drop(self, names: Sequence[str]) -> None:
        admin = await asyncpg.connect(self.server)
        try:
            for name in names:
                await admin.execute(f"drop database if exists {name} with (force)")
        finally:
            await admin.close()

    async def filled(self) -> None:
        """From now on databases begin with everything that the salon holds now, proved."""
        name = await self.database()
        death = await self.victims.run("sync", url=self.url(name), config=self.config)
        assert death.code == 0, death.code
        self.before, self.template = self.look(), name
        connection = await asyncpg.connect(self.url(name))
        self.counted = int(await connection.fetchval("select sum(requests) from yclients.sync_status"))
        await connection.close()

    async def rehearse(self, *arguments: str) -> Death:
        """One run that nothing disturbs: it shows every point, and what the salon holds is what the database holds then."""
        self.after, self.changed_at = self.look(), datetime.now(UTC)
        trial = await self.trial()
        death = await trial.run(*arguments)
        assert death.code == 0, death.code
        await trial.check_end()
        self.usual_from(trial)
        return death

    def usual_from(self, trial: Trial) -> None:
        """What this trial asked is what a run asks that nothing disturbs."""
        for key, count in trial.past.items():
            self.usual[_timeless(key)] += count

    async def trial(self) -> Trial:
        """A new database to die in."""
        name = await self.database()
        self.simulator.forget()
        return Trial(self, self.url(name), Figures())


@dataclass
class Figures:
    """What the deaths of one trial, or of many, cost."""

    tried: int = 0
    hits: int = 0
    repeats: list[int] = field(default_factory=list)
    open: list[int] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Take another trial's along."""
        self.tried += other.tried
        self.hits += other.hits
        self.repeats += other.repeats
        self.open += other.open

    def __str__(self) -> str:
        repeats = sorted(self.repeats) or [0]
        return (
            f"{self.tried} tried, {self.hits} hit; repeated after a kill: median {repeats[len(repeats) // 2]}, "
            f"most {repeats[-1]}; in flight at a kill: most {max(self.open, default=0)}"
        )


@dataclass
class Trial:
    """One database through deaths and restarts."""

    scene: Scene
    url: str
    figures: Figures
    past: Counter[Key] = field(default_factory=Counter)  # requests of the runs before
    open: Counter[Key] = field(default_factory=Counter)  # of these, what no commit held at the last death
    proved: frozenset[str] = frozenset()  # streams that were proved then: asking again is a new wish, not a repetition
    lost: set[int] = field(default_factory=set)  # batches that were under way at a death
    seen: int = 0
    ever_open: int = 0

    async def run(self, *arguments: str, at: Point | None = None, **spec: Any) -> Death:
        """A run to its end or its death, and what it asked again."""
        death = await self.scene.victims.run(
            *arguments, url=self.url, config=self.scene.config, at=at, night=self.scene.night, **spec
        )
        self.account(death)
        if at is not None:
            self.figures.tried += 1
            self.figures.hits += death.hit
        return death

    async def serve(self, *, at: Point | None = None, stop: int = signal.SIGTERM, **spec: Any) -> Death:
        """`ycsync run` until everything is proved and nothing is under way; then it is asked to stop, if it lives."""
        scene = self.scene
        said = len(scene.victims.log())
        pid = await scene.victims.start("run", url=self.url, config=scene.config, at=at, night=scene.night, poll=0.2, **spec)
        ending = asyncio.create_task(scene.victims.ended())
        try:
            async with asyncio.timeout(SAFETY_S):
                while not ending.done() and not ("service.ready" in scene.victims.log()[said:] and await self._idle()):
                    await asyncio.sleep(0.02)
            if not ending.done() and not scene.victims.has_told():  # else it stops already, or is gone
                os.kill(pid, stop)
            death = await ending
        finally:
            ending.cancel()
        self.account(death, wishes=False)
        if at is not None:
            self.figures.tried += 1
            self.figures.hits += death.hit
        return death

    async def _idle(self) -> bool:
        connection = await asyncpg.connect(self.url)
        try:
            if await connection.fetchval("select to_regclass('yclients.sync_status')") is None:
                return False
            return bool(
                await connection.fetchval(
                    "select count(*) > 5 and bool_and(phase = 'live' and claimed_by is null) from yclients.sync_status"
                )
            )
        finally:
            await connection.close()

    def account(self, death: Death, *, wishes: bool = True) -> None:
        """What was asked now that had been asked before must have been in flight at the last death."""
        log = list(self.scene.simulator.log)[self.seen :]
        self.seen += len(log)
        now = keys_of(log)
        again = Counter({key: count for key, count in now.items() if key in self.past and not (wishes and self._wished(key))})
        if self.past:
            self.figures.repeats.append(again.total())
        # A pass may ask the same twice by itself (a page that proves that another one was the last, the next delta).
        usual = Counter({key: max(0, self.scene.usual[_timeless(key)] - 1) for key in again})
        wrong = again - self.open - usual
        assert not wrong, f"asked again, though it had been committed: {wrong}"
        assert death.open.total() <= IN_FLIGHT, death.open
        self.figures.open.append(death.open.total())
        self.ever_open += death.open.total()
        self.past += now
        # What was in flight at an earlier death and was not reached since is still to be asked.
        self.open = death.open + (self.open - now)

    def _wished(self, key: Key) -> bool:
        """A command proves every stream after it began: lists are read again, and what changed since the last proof."""
        _, path, query, _ = key
        first, last = path.split("/")[1], path.split("/")[-1]
        if first == "companies":
            return True
        if last in LISTS:
            return LISTS[last] in self.proved
        # What changed since, and a look at the count: a small page at the end of the list of clients.
        sizes = [int(value) for name, value in json.loads(query) if name == "count"]
        looks = first == "clients" and bool(sizes) and FEWEST <= sizes[0] <= MOST
        return first in self.proved and ("changed_after" in query or looks)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """The database once the dead process's sessions are gone: what it sent last has been done, or never will be."""
        connection = await asyncpg.connect(self.url)
        try:
            async with asyncio.timeout(SAFETY_S):
                while await connection.fetchval(
                    "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
                    " and backend_type = 'client backend'"
                ):
                    await asyncio.sleep(0.005)
            yield connection
        finally:
            await connection.close()

    async def check_dead(self) -> None:
        """What a death left: whole rows, honest counters, a cursor neither ahead of the rows nor behind them."""
        async with self.connection() as connection:
            if await connection.fetchval("select to_regclass('yclients.sync_status')") is None:
                objects = await connection.fetchval(
                    "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'yclients'"
                )
                assert objects == 0, "half a schema"
                return
            stored = await stored_rows(connection, self.scene.company)
            status = {
                row["stream"]: row
                for row in await connection.fetch(
                    "select *, cursor::text as text from yclients.sync_status where company_id = $1 and stream <> 'hooks'",
                    self.scene.company,
                )
            }
            asked = await connection.fetchval("select coalesce(sum(requests), 0) from yclients.sync_status")
            queue = {
                row["position"]: row["client_id"] for row in await connection.fetch("select * from yclients.history_queue")
            }
            self.lost |= {
                row["id"] for row in await connection.fetch("select id from yclients.sync_batches where finished_at is null")
            }
            workers = {row["id"] for row in await connection.fetch("select id from yclients.workers")}
        old, new = versions(self.scene.before), versions(self.scene.after)
        problems = [
            f"{table} {entity}: neither as it was nor as it is"
            for table, rows in stored.items()
            for entity, row in rows.items()
            if row not in (old[table].get(entity), new[table].get(entity), gone(old[table].get(entity)))
        ]
        for stream, row in status.items():
            problems += [
                f"{stream}: {one}" for one in wrong(row, len(stored.get(stream, ())), workers, first=not self.scene.before)
            ]
        for stream in ("clients", "records"):
            if stream in status:
                cursor = cursors.decode(status[stream]["text"])
                scene = self.scene
                covered, allowed = claims(stream, cursor, queue, scene.before, scene.after, scene.changed_at)
                problems += [
                    f"{stream} {entity}: the cursor is ahead of it"
                    for entity in sorted(covered)
                    if stored[stream].get(entity) != new[stream].get(entity)
                ]
                if not self.scene.before:
                    problems += [f"{stream} {entity}: ahead of the cursor" for entity in sorted(set(stored[stream]) - allowed)]
                vanished = {one for one in stored[stream] if one not in new[stream] and not old[stream][one][0]}
                deleted = {one for one in vanished if stored[stream][one][0]}
                left = vanished - deleted
                if deleted and left:
                    problems.append(f"{stream}: a sweep deleted {len(deleted)} rows and left {len(left)}")
                if deleted and cursor.busy:
                    problems.append(f"{stream}: rows are gone before every page of the sweep was committed")
        assert not problems, (len(problems), problems[:8])
        assert asked - self.scene.counted <= self.seen + self.open.total(), "more requests are counted than were made"
        self.proved = frozenset(
            stream for stream, row in status.items() if row["phase"] == "live" and not cursors.decode(row["text"]).busy
        )

    async def check_left(self) -> None:
        """After an end in order nobody holds anything, and no batch is open or lost."""
        self.lost.clear()
        async with self.connection() as connection:
            if await connection.fetchval("select to_regclass('yclients.sync_status')") is None:
                return
            for what, query in {
                "claims": "select count(*) from yclients.sync_status where claimed_by is not null",
                "workers": "select count(*) from yclients.workers",
                "open batches": "select count(*) from yclients.sync_batches where finished_at is null or outcome = 'lost'",
            }.items():
                assert not await connection.fetchval(query), what

    async def check_end(self) -> None:
        """After a run that ended in order: exact, nothing claimed, nothing open."""
        async with self.connection() as connection:
            problems = await differences(Reader(connection), self.scene.after, self.scene.company)  # type: ignore[arg-type]
            status = await connection.fetch("select * from yclients.sync_status where stream <> 'hooks'")
            for row in status:
                told = {
                    "claimed": row["claimed_by"] is not None,
                    "wanted": row["wanted_at"] is not None or row["options"] != "{}" or row["priority"] != 0,
                    "not live": row["phase"] != "live",
                    "an error": row["last_error"] is not None,
                    "done is not expected": row["done"] != row["expected"],
                }
                problems += [f"{row['stream']}: {text}" for text, is_so in told.items() if is_so]
            live = await stored_rows(connection, self.scene.company)
            for row in status:
                if row["stream"] in ("clients", "records"):
                    rows = sum(1 for one in live[row["stream"]].values() if not one[0])
                    if row["done"] != rows:
                        problems.append(f"{row['stream']}: done is {row['done']}, but {rows} rows are there")
            leftovers = {
                "workers": "select count(*) from yclients.workers",
                "open batches": "select count(*) from yclients.sync_batches where finished_at is null",
                "slots of dead workers": "select count(*) from yclients.limiter_slots where owner is not null",
                "rows that a sweep looks for": "select count(*) from yclients.sweep_missing",
                "lines of no visit": "select count(*) from yclients.record_services l where not exists (select from"
                " yclients.records r where r.company_id = l.company_id and r.id = l.record_id)",
            }
            for what, query in leftovers.items():
                if count := await connection.fetchval(query):
                    problems.append(f"{count} {what}")
            outcomes = {row["id"]: row["outcome"] for row in await connection.fetch("select * from yclients.sync_batches")}
            problems += [f"batch {one}: {outcomes[one]}" for one in self.lost if outcomes[one] != "lost"]
            asked = await connection.fetchval("select coalesce(sum(requests), 0) from yclients.sync_status")
        assert not problems, (len(problems), problems[:8])
        assert asked - self.scene.counted <= self.seen + self.ever_open, "more requests are counted than were made"


def keys_of(seen: Sequence[Seen]) -> Counter[Key]:
    """What was asked, and how often."""
    return Counter(
        (one.method, one.path, json.dumps(sorted([*pair] for pair in parse_qsl(one.query))), one.body) for one in seen
    )


def _timeless(key: Key) -> Key:
    """The same request at another time."""
    return (key[0], key[1], re.sub(r'(?<="changed_after", )"[^"]*"', '"*"', key[2]), key[3])


@asynccontextmanager
async def open_scene(
    simulator: Simulator, folder: Path, server: str, *, extra: str = "", per_second: int = 100, cadence: str = "5m"
) -> AsyncIterator[Scene]:
    """The stage: a configuration for the simulator, and processes to kill."""
    config = folder / "config.yaml"
    minute = per_second * 40 if per_second <= 5 else per_second * 12
    config.write_text(CONFIG.format(url=simulator.url, minute=minute, second=per_second, extra=extra, cadence=cadence), "utf-8")
    async with open_victims(folder) as victims:
        scene = Scene(simulator, victims, config, server)
        try:
            yield scene
        finally:
            await scene.drop()
