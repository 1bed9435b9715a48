"""Several machines, one database, one simulated YCLIENTS: what is done to them, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from support.house import QUICK, differences, expected_rows, open_house
from support.network import API, Hub, Machine, Service
from support.patience import SAFETY_S
from support.privacy import SECRETS
from ycsync.simulator import Options, Simulator

CONFIG = """\
preset: test
yclients:
  base_url: http://localhost:{port}/api/v1
  egress: {egress}
  timeout: 5s
  per_minute: {per_minute}
database: {{url: '{url}'}}
http: {{listen: false}}
log: {{level: debug}}
streams: {{companies: 24h, services: 24h, staff: 24h, clients: {cadence}, records: {cadence}}}
presets:
  test: {{batch_size: 4, interval: 0s, per_minute: {per_minute}, per_second: 5, min_delay: 10ms, max_retries: 3,
          recheck_days: 30}}
"""
# What must never happen is written down where it happens; who took what, too.
WATCH = """
create table public.wrong (company bigint, stream text, what text, at timestamptz default clock_timestamp());
create table public.taken (company bigint, stream text, worker bigint, at timestamptz default clock_timestamp());
create function public.watch() returns trigger language plpgsql as $$
begin
    if new.version < old.version then
        insert into public.wrong values (new.company_id, new.stream, format('version %s after %s', new.version, old.version));
    end if;
    if new.proved_as_of < old.proved_as_of then
        insert into public.wrong values (new.company_id, new.stream, 'proved for an earlier instant than before');
    end if;
    if new.claimed_by is distinct from old.claimed_by and new.claimed_by is not null then
        insert into public.taken values (new.company_id, new.stream, new.claimed_by);
    end if;
    return new;
end $$;
create trigger watch before update on yclients.sync_status for each row execute function public.watch();
"""


@dataclass
class Scene:
    """One play. `per_minute`: of each address, at the server and in the settings; 0: as good as none."""

    name: str
    hub: Hub
    folder: Path
    sim: Simulator
    chance: random.Random
    per_minute: int = 0
    cadence: str = "2s"
    machines: list[Machine] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    changes: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    _connection: asyncpg.Connection | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def dsn(self) -> str:
        return self.hub.dsn.replace("/postgres?", f"/{self.name}?")

    def machine(self, egress: str, *, beside: Machine | None = None) -> Machine:
        """One more, configured."""
        machine = Machine(self.hub, self.folder / f"{self.name}-{len(self.machines)}", beside=beside)
        (machine.folder / "config.yaml").write_text(
            CONFIG.format(
                port=self.sim._port,
                egress=egress,
                url=self.hub.url(self.name),
                per_minute=self.per_minute or 2000,
                cadence=self.cadence,
            )
        )
        self.machines.append(machine)
        return machine

    async def serve(self, machine: Machine, *, log: str = "log", code: Path | None = None) -> Service:
        """The service on it, at work."""
        environ = {
            "YCLIENTS_PARTNER_TOKEN": SECRETS[0], "YCLIENTS_USER_TOKEN": SECRETS[1], "RUNTIME_DIRECTORY": str(machine.folder),
        }  # fmt: skip
        if code is not None:
            environ["PYTHONPATH"] = os.pathsep.join([str(code), *sys.path])
        config = str(machine.folder / "config.yaml")
        service = await machine.start("run", "--config", config, log=log, **environ)
        self.services.append(service)
        await service.until_log("service.ready", 60)
        return service

    async def value(self, query: str, *args: object) -> Any:
        async with self._asking:
            return await (await self._session()).fetchval(query, *args)

    async def rows(self, query: str, *args: object) -> list[Any]:
        async with self._asking:
            return list(await (await self._session()).fetch(query, *args))

    async def _session(self) -> asyncpg.Connection:
        if self._connection is None:
            self._connection = await asyncpg.connect(self.dsn)
        return self._connection

    async def until(self, query: str, *args: object, within_s: float = 60.0) -> None:
        """The database says yes."""
        async with asyncio.timeout(within_s):
            while not await self.value(query, *args):
                await asyncio.sleep(0.15)

    async def workers(self, machine: Machine) -> list[int]:
        """The numbers under which its processes are known now."""
        space = os.stat(f"/proc/{machine.inner}/ns/pid").st_ino
        found = await self.rows("select id from yclients.workers where host like '%/pid:[' || $1 || ']'", str(space))
        return [row["id"] for row in found]

    async def returned(self, service: Service) -> list[int]:
        """It noticed that it was given up, and has a number again."""
        await service.until_log("worker.given_up", 60)
        async with asyncio.timeout(SAFETY_S):
            while not (known := await self.workers(service.machine)):
                await asyncio.sleep(0.05)
        return known

    async def silent(self, machine: Machine) -> list[int]:
        """Half a minute passes without a word from it, as the database counts."""
        gone = await self.workers(machine)
        assert gone
        await self.value("update yclients.workers set beat_at = beat_at - interval '31 seconds' where id = any($1)", gone)
        await self.until("select not exists (select from yclients.workers where id = any($1))", gone, within_s=SAFETY_S)
        return gone

    @contextlib.asynccontextmanager
    async def busy(self, every_s: float = 0.15) -> AsyncIterator[None]:
        """Meanwhile something changes in the salons all the time."""

        async def change() -> None:
            salons = list(self.sim.world.salons.values())
            while True:
                salon, chance = self.chance.choice(salons), self.chance
                self.changes += 1
                kind = self.changes % 5
                record, client = chance.choice(list(salon.records)), chance.choice(salon.client_ids())
                if kind == 0:
                    salon.add_record()
                elif kind == 1:
                    salon.move_record(record, f"2026-0{chance.randint(1, 9)}-1{chance.randint(0, 9)} 12:00:00")
                elif kind == 2:
                    salon.change_client(client, comment=str(self.changes))
                elif kind == 3:
                    salon.add_client(name="Новая")
                else:
                    salon.pay_record(record)
                await asyncio.sleep(every_s)

        changing = asyncio.create_task(change())
        try:
            yield
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)

    async def settled(self, within_s: float = 3 * SAFETY_S) -> list[str]:
        """All that changed until now is proved; then: where the database is not what the salons hold, and what went wrong."""
        now = await self.value("select clock_timestamp()")
        pending = (
            "select count(*) from yclients.sync_status where company_id > 0 and stream in ('clients', 'records') "
            "and (phase <> 'live' or proved_as_of is null or proved_as_of < $1)"
        )
        try:
            await self.until(f"select ({pending}) = 0 and exists (select from yclients.sync_status where company_id > 0)",
                             now, within_s=within_s)  # fmt: skip
        except TimeoutError:
            return [f"never settled: {[dict(row) for row in await self.rows('select * from yclients.sync_status')]}"]
        found = [f"{row['company']} {row['stream']}: {row['what']}" for row in await self.rows("select * from public.wrong")]
        async with open_house("http://localhost/api/v1", self.dsn, preset=QUICK) as house:
            for salon in self.sim.world.salons.values():
                found += [
                    f"salon {salon.id}, {one}" for one in await differences(house, expected_rows(self.sim, salon), salon.id)
                ]
        return found

    def too_dense(self) -> list[str]:
        """Addresses from which the server saw more than it allows, and refusals."""
        report = self.sim.report()
        limits = self.sim.options
        return [
            f"{address}: {one.max_1s} in 1 s, {one.max_60s} in 60 s"
            for address, one in report.addresses.items()
            if one.max_1s > limits.per_second or (limits.per_minute and one.max_60s > limits.per_minute)
        ] + [f"{count} answered {kind}" for kind, count in report.answers.items() if kind.startswith("429")]

    async def end(self) -> None:
        """No process outlives it."""
        if self._connection is not None:
            await self._connection.close()
        for service in self.services:
            if service.process.returncode is None:
                with contextlib.suppress(ProcessLookupError, IndexError):
                    service.signal(signal.SIGKILL)
                await service.process.wait()
        await self.sim.stop()


async def open_scene(name: str, hub: Hub, folder: Path, seed: int, *, per_minute: int = 0, cadence: str = "2s",
                     **options: Any) -> Scene:  # fmt: skip
    """The stage: an empty database and salons, nobody at work."""
    chosen: dict[str, Any] = {"salons": 6, "clients": 120, "visits": 600, "records_cap": 100, "latency": 0.1, **options}
    sim = Simulator(Options(host=API, per_minute=per_minute, **chosen))
    with hub.entered():
        await sim.start()
    admin = await asyncpg.connect(hub.dsn)
    await admin.execute(f"create database {name}")
    await admin.close()
    scene = Scene(name, hub, folder, sim, random.Random(f"{seed} {name}"), per_minute, cadence)
    async with open_house("http://localhost/api/v1", scene.dsn):  # the schema
        pass
    connection = await asyncpg.connect(scene.dsn)
    await connection.execute(WATCH)
    await connection.close()
    return scene
