"""A simulated salon, a migrated database and everything between them, without limits and without waiting."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp

from ycsync.api import Api, Tally
from ycsync.config import Loaded, parse_settings
from ycsync.config.secrets import Secrets
from ycsync.config.settings import Settings
from ycsync.limiter import Lease
from ycsync.model import (
    CompanyId,
    parse_clients,
    parse_companies,
    parse_records,
    parse_service_categories,
    parse_services,
    parse_staff,
)
from ycsync.ratelimit import RateHeaders
from ycsync.service.follow import Follower, Outcome, Wish
from ycsync.simulator import Options, Salon, Simulator
from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate
from ycsync.store.pages import Pages
from ycsync.store.tables import RECORDS, TABLES
from ycsync.store.work import Claim, Work
from ycsync.sync import Batch, Result, run_batch, run_companies

STREAMS = ("services", "staff", "clients", "records")
SECRETS = Secrets(partner_token="partner", user_token="user")
QUICK = "{batch_size: 80, interval: 0s, per_minute: 6000, per_second: 500, min_delay: 0ms, max_retries: 6, recheck_days: 60}"


class FreeLimiter:
    """Grants every request at once; the limits have tests of their own."""

    async def acquire(self, company: int, priority: int = 0) -> Lease:
        return Lease(0, 0, 0, 0, datetime.now(UTC))

    def answered(self, lease: Lease) -> None:
        """Nothing was taken."""

    def heard(self, lease: Lease, headers: RateHeaders) -> None:
        """Nothing is counted."""

    def still_good(self, lease: Lease) -> bool:
        """For ever."""
        return True

    def abandoned(self, lease: Lease) -> None:
        """Nothing was taken."""

    def unanswered(self, lease: Lease) -> None:
        """Nothing was taken."""

    def unused(self, lease: Lease) -> None:
        """Nothing was taken."""

    async def throttled(self, wait_s: float) -> None:
        """Nothing waits."""


async def _no_sleep(_: float) -> None:
    """Retries come at once."""


def settings_for(base_url: str, extra: str = "", preset: str = QUICK) -> Settings:
    """Settings with limits that no test reaches."""
    text = (
        f"preset: quick\nyclients: {{base_url: {base_url}, per_minute: 6000, per_second: 500, timeout: 10s}}\n"
        f"http: {{listen: false}}\n{extra}\npresets:\n  quick: {preset}\n"
    )
    return parse_settings(text, "test.yaml")


@dataclass(slots=True)
class House:
    """One base URL, one database; a batch runs when it is told to."""

    settings: Settings
    database: Database
    api: Api
    pages: Pages
    work: Work
    now: datetime | None = None
    requests: int = 0
    failures: int = 0  # batches in a row that failed before, as the next ones are told
    results: list[Result] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now or datetime.now(UTC)

    async def companies(self) -> tuple[int, ...]:
        """Read the list of salons and make the rows of their streams."""
        await self.work.ensure([0], ["companies"])
        _, listed = await run_companies(await self._batch(0, "companies", None, False))
        await self.work.ensure(listed.wanted, STREAMS)
        return listed.wanted

    async def _batch(self, company: int, stream: str, units: int | None, confirm: bool) -> Batch:
        row = await self.database.fetchrow(
            f"select *, cursor::text as text from {self.database.schema}.sync_status where company_id = $1 and stream = $2",
            company,
            stream,
        )
        assert row is not None
        claim = Claim(
            company, stream, row["phase"], row["expected"], row["done"], row["text"], row["version"], self.failures,
            row["last_success_at"], row["pass_started_at"], False, {}, 0, zone=row["zone"],
        )  # fmt: skip
        zone = ZoneInfo("UTC") if company == 0 else await self.pages.zone(company)
        assert zone is not None
        return Batch(
            claim=claim,
            settings=self.settings,
            api=self.api,
            pages=self.pages,
            zone=zone,
            now=self.clock,
            tally=Tally(),
            units=self.settings.active.batch_size if units is None else units,
            confirm_deletions=confirm,
            version=claim.version,
            phase=claim.phase,
            expected=claim.expected,
            done=claim.done,
            pass_started_at=claim.pass_started_at,
        )

    async def batch(self, company: int, stream: str, *, units: int | None = None, confirm: bool = False) -> Result:
        """One batch."""
        batch = await self._batch(company, stream, units, confirm)
        try:
            result = await run_batch(batch)
        finally:
            self.requests += batch.tally.requests
        self.results.append(result)
        return result

    async def proved(self, company: int, stream: str, *, units: int | None = None, confirm: bool = False) -> Result:
        """Batches until the stream is proved."""
        for _ in range(400):
            result = await self.batch(company, stream, units=units, confirm=confirm)
            if result.proved:
                return result
        raise AssertionError(f"{stream} of salon {company} was never proved")

    async def cycle(self, company: int, streams: Sequence[str] = STREAMS, **options: Any) -> None:
        """Every stream, one after the other."""
        for stream in streams:
            await self.proved(company, stream, **options)

    async def afresh(self, company: int, stream: str) -> None:
        """What `ycsync sync --force` does to a stream."""
        await self.work.want([company], [stream], {}, afresh=True)

    def tomorrow_night(self, company_zone: str = "Europe/Moscow") -> None:
        """The clock goes to 4:30 of the salon's next day: a recheck is due."""
        local = self.clock().astimezone(ZoneInfo(company_zone)) + timedelta(days=1)
        self.now = local.replace(hour=4, minute=30).astimezone(UTC)

    async def stored(self, table: str, company: int) -> dict[int, dict[str, Any]]:
        """All rows of one table."""
        key = "id" if table == "companies" else "company_id"
        rows = await self.database.fetch(f"select * from {self.database.schema}.{table} where {key} = $1", company)
        return {row["id"]: dict(row) for row in rows}

    async def live(self, table: str, company: int) -> set[int]:
        """Ids of rows that are not deleted."""
        return {entity for entity, row in (await self.stored(table, company)).items() if row["deleted_at"] is None}

    async def quarantined(self) -> list[tuple[str, str | None, str, bool]]:
        """(stream, id, reason, resolved) of everything that could not be stored."""
        rows = await self.database.fetch(f"select * from {self.database.schema}.quarantine order by id")
        return [(row["stream"], row["entity_id"], row["reason"], row["resolved_at"] is not None) for row in rows]


@asynccontextmanager
async def open_house(base_url: str, database_url: str, extra: str = "", preset: str = QUICK) -> AsyncIterator[House]:
    """A house on an empty database."""
    database = await connect(database_url, "yclients")
    try:
        await migrate(database)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            # aiohttp's own retries would hide a cut connection; the client switches them off too.
            session._retry_connection = False
            settings = settings_for(base_url, extra, preset)
            api = Api(session, base_url, "partner", "user", FreeLimiter(), sleep=_no_sleep)  # type: ignore[arg-type]
            yield House(settings, database, api, Pages(database), Work(database))
    finally:
        await database.close()


@asynccontextmanager
async def open_salon(
    database_url: str, extra: str = "", preset: str = QUICK, **options: Any
) -> AsyncIterator[tuple[Simulator, House]]:
    """A simulator without limits and a house that reads it."""
    chosen: dict[str, Any] = {"per_second": 0, "per_minute": 0, **options}
    async with Simulator(Options(**chosen)) as sim, open_house(sim.url, database_url, extra, preset) as house:
        yield sim, house


async def follow(
    sim: Simulator, database_url: str, *, extra: str = "", preset: str = QUICK, wish: Wish | None = None
) -> Outcome:
    """A pass as `ycsync sync` makes it: scheduler, limiter and all."""
    settings = settings_for(sim.url, extra, preset)
    database = await connect(database_url, "yclients")
    try:
        await migrate(database)
        loaded = Loaded(Path("test.yaml"), settings, SECRETS)
        wish = wish or Wish((), ("companies", *STREAMS), {})
        return await Follower(loaded, settings, database, wish, lambda *_: None).run()
    finally:
        await database.close()


# --- what the database must hold ---------------------------------------------------------------------------------------


def still(sim: Simulator) -> None:
    """Nothing changes and nothing fails any more."""
    options = replace(sim.options, churn=0, faults=0.0)
    sim.options = options
    sim._endpoints._options = options
    sim.heal()


def encode(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass")


def expected_rows(sim: Simulator, salon: Salon) -> dict[str, dict[int, Any]]:
    """What the salon holds, as the model reads what the simulator serves."""
    served = sim._endpoints
    company = CompanyId(salon.id)
    zone = ZoneInfo(salon.company["timezone_name"])

    def listing(name: str) -> list[bytes]:
        call = _Call(salon.id)
        return [encode(row) for row in json.loads(getattr(served, name)(call).body)["data"] or ()]

    parsed = {
        "companies": parse_companies([row for row in listing("_companies") if int(json.loads(row)["id"]) == salon.id]),
        "services": parse_services(company, listing("_services")),
        "service_categories": parse_service_categories(company, listing("_categories")),
        "staff": parse_staff(company, listing("_staff")),
        "clients": parse_clients(company, [encode(salon.served_client(one)) for one in salon.clients], zone),
        "records": parse_records(company, [encode(salon.served_record(one, consumables=False)) for one in salon.records], zone),
    }
    return {table: {row.id: row for row in found.rows} for table, found in parsed.items()}  # type: ignore[attr-defined]


class _Call:
    """The least of a request that the lists look at."""

    def __init__(self, company: int) -> None:
        self.method = "GET"
        self.numbers = (company,)
        self.path = f"/company/{company}"

    def flag(self, _: str) -> bool:
        return True

    def integer(self, key: str) -> int | None:
        return 300 if key == "count" else None


def plain(name: str, value: Any) -> Any:
    """jsonb as Python sees it, so that spelling does not matter."""
    if name in ("raw", "categories", "slots", "amounts") and isinstance(value, str):
        return json.loads(value)
    return value


async def differences(house: House, expected: Mapping[str, Mapping[int, Any]], company: int) -> list[str]:
    """Where the database is not what was expected, column by column; ids only, so that a failure can be read."""
    found: list[str] = []
    for table, rows in expected.items():
        stored = await house.stored(table, company)
        live = {entity for entity, row in stored.items() if row["deleted_at"] is None and row.get("listed", True)}
        wanted = {entity for entity, row in rows.items() if not row.deleted}
        found += [f"{table} {entity}: missing" for entity in sorted(wanted - live)]
        found += [f"{table} {entity}: should be gone" for entity in sorted(live - wanted)]
        for entity, row in rows.items():
            if entity not in stored:
                found.append(f"{table} {entity}: was never stored")
                continue
            for name, _ in TABLES[table].columns:
                have, want = plain(name, stored[entity][name]), plain(name, getattr(row, name))
                if have != want:
                    found.append(f"{table} {entity}: {name}")
    if RECORDS.name in expected:
        lines = await house.database.fetch(
            f"select * from {house.database.schema}.record_services where company_id = $1 order by record_id, position", company
        )
        have_lines: dict[int, list[tuple[Any, ...]]] = {}
        for line in lines:
            have_lines.setdefault(line["record_id"], []).append(tuple(line.values())[2:])
        for entity, row in expected[RECORDS.name].items():
            want_lines = [
                (one.position, one.service_id, one.title, one.amount, one.unit_cost, one.discount, one.cost, one.first_cost)
                for one in row.services
            ]
            if have_lines.get(entity, []) != want_lines:
                found.append(f"record_services {entity}")
    return found


async def assert_equal(sim: Simulator, house: House, company: int | None = None) -> None:
    """The database holds exactly what the salon holds."""
    for salon in sim.world.salons.values():
        if company in (None, salon.id):
            problems = await differences(house, expected_rows(sim, salon), salon.id)
            assert not problems, (len(problems), problems[:10])
