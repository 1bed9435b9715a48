"""The statement that computes times again reads each text as model/times.py does, in zones of many kinds."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from conftest import Effort
from ycsync.model import CompanyId, Parsed, parse_clients, parse_records
from ycsync.model.declared import parse_declared
from ycsync.model.streams import DECLARED
from ycsync.model.times import zone_name
from ycsync.store import tables
from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate
from ycsync.store.work import Work
from ycsync.store.zones import ZONED, Zones

SALON = 7
ZONES = (
    "Europe/Berlin",
    "Europe/Moscow",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Asia/Yekaterinburg",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "America/St_Johns",
    "America/New_York",
    "America/Caracas",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Etc/GMT-3",
    "UTC",
)
# Rules of the future change, and PostgreSQL and Python may know different ones: only two zones are looked at beyond 2025.
SETTLED, FAR = 2025, {"Europe/Berlin": 2045, "America/New_York": 2045}
_INSERT = """
insert into yclients.records
    (company_id, id, starts_at, created_at, changed_at, status, online, comment, cost, raw, observed_at)
select $1, (raw ->> 'id')::bigint, $2, $2, $2, 'came', false, '', 0, raw, $2
from unnest($3::text[]) t(line), to_jsonb(line::jsonb) raw
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await connect(database_url, "yclients")
    await migrate(database)
    await Work(database).ensure([SALON], sorted(ZONED))
    yield database
    await database.close()


def refused(raws: Sequence[bytes]) -> Parsed[Any]:
    """Python is not asked to read what the statement should."""
    raise AssertionError(raws[:3])


def changes(zone: ZoneInfo) -> Iterator[datetime]:
    """The instants at which the clock of a zone changed, to the minute."""
    at, end = datetime(1955, 1, 1, tzinfo=UTC), datetime(FAR.get(zone.key, SETTLED), 1, 1, tzinfo=UTC)
    while at < end:
        then = at + timedelta(days=1)
        if at.astimezone(zone).utcoffset() != then.astimezone(zone).utcoffset():
            low, high = at, then
            while high - low > timedelta(minutes=1):
                middle = low + ((high - low) / 2)
                middle -= timedelta(seconds=middle.second, microseconds=middle.microsecond)
                same = middle.astimezone(zone).utcoffset() == at.astimezone(zone).utcoffset()
                low, high = (middle, high) if same and middle > low else (low, middle)
            yield high
        at = then


def walls(zone: ZoneInfo, rng: random.Random) -> Iterator[datetime]:
    """Wall clocks about each change, and some at any time."""
    for change in changes(zone):
        offsets = {(change + timedelta(minutes=n)).astimezone(zone).utcoffset() for n in (-1, 1)}
        for offset in offsets:
            assert offset is not None
            for minutes in (-61, -60, -31, -30, -1, 0, 1, 29, 30, 59, 60, 61):
                yield (change + offset + timedelta(minutes=minutes)).replace(tzinfo=None)
    for _ in range(300):
        yield datetime(1930, 1, 1) + timedelta(seconds=rng.randrange((SETTLED - 1931) * 365 * 86_400))


def stamped(wall: datetime, zone: ZoneInfo, rng: random.Random) -> str | None:
    """The text with the offset, right or wrong, or none."""
    offset = wall.replace(tzinfo=zone, fold=rng.randrange(2)).utcoffset()
    assert offset is not None
    minutes = round(offset.total_seconds() / 60)
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    text = wall.isoformat(timespec="seconds")
    return rng.choice(
        [
            None,
            "",
            text,
            f"{text}{sign}{hours:02d}:{rest:02d}",
            f"{text}{sign}{hours:02d}{rest:02d}",
            f"{text}.000{sign}{hours:02d}:{rest:02d}",
            f"{text}+07:00",
            f"{text}Z",
        ]
    )


def record(entity: int, wall: datetime, zone: ZoneInfo, rng: random.Random) -> dict[str, Any]:
    forms = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", " %Y-%m-%d %H:%M ", "%Y-%m-%d %H:%M:%S.250000")
    form = rng.choice(forms)
    told = rng.choice(["both", "both", "both", "date", "datetime"])
    other = datetime(2000, 1, 1) + timedelta(minutes=rng.randrange(24 * 365 * 1440))
    return {
        "id": entity,
        "date": rng.choice([None, "", "0000-00-00 00:00:00", False]) if told == "datetime" else f"{wall:{form}}",
        "datetime": wall.isoformat() if told == "datetime" else stamped(wall, zone, rng),
        "create_date": rng.choice([str(other), f"{other.isoformat()}+0530", other.date().isoformat()]),
        "last_change_date": f"{wall:{form}}",
    }


async def computed(database: Database, zone: str, parse: Any = refused) -> tuple[dict[int, Any], int]:
    """All visits after the statement ran over them, and how many Python had to read."""
    zones, after, reread = Zones(database), 0, 0
    version = await database.fetchval("select version from yclients.sync_status where stream = 'records'")
    while True:
        done = await zones.slice(SALON, "records", version, after, zone, parse)
        if done.last is None:
            break
        version, after, reread = done.version, done.last, reread + done.reread
    return {row["id"]: row for row in await database.fetch("select * from yclients.records")}, reread


async def put(database: Database, payloads: Sequence[dict[str, Any]]) -> None:
    await database.execute("delete from yclients.records")
    await database.execute(_INSERT, SALON, datetime(2020, 1, 1, tzinfo=UTC), [json.dumps(one) for one in payloads])


@pytest.mark.parametrize("name", ZONES)
async def test_the_statement_reads_as_python_does(database: Database, name: str, effort: Effort) -> None:
    zone, rng = ZoneInfo(name), random.Random(f"{effort.seed}/{name}")
    payloads = [record(entity, wall, zone, rng) for entity, wall in enumerate(walls(zone, rng), 1)]
    expected = parse_records(CompanyId(SALON), [json.dumps(one).encode() for one in payloads], zone).rows
    assert len(expected) == len(payloads)
    await put(database, payloads)
    stored, reread = await computed(database, name)
    columns = ("starts_at", "created_at", "changed_at")
    # A text with an offset says the same in every zone: it was read when it came, and is not read again.
    aware = datetime(2020, 1, 1, tzinfo=UTC)
    wrong = [
        (payloads[row.id - 1], column, stored[row.id][column], getattr(row, column))
        for row in expected
        for column in columns
        if stored[row.id][column] != getattr(row, column)
        and not (column == "created_at" and "+0530" in payloads[row.id - 1]["create_date"] and stored[row.id][column] == aware)
    ]
    assert not wrong, (len(wrong), wrong[:3])
    assert reread == 0


async def test_what_is_written_in_an_unusual_way_is_read_by_python(database: Database) -> None:
    texts = ("2026-03-02T10", "2026-03-02 10:30:00,5", "2026-03-02x10:30", "2026-03-02 10:30:00.1234567")
    payloads = [{"id": n, "date": text, "datetime": None} for n, text in enumerate(texts, 1)]
    zone = ZoneInfo("Asia/Yekaterinburg")

    def parse(raws: Sequence[bytes]) -> Parsed[Any]:
        return parse_records(CompanyId(SALON), raws, zone)

    await put(database, payloads)
    stored, reread = await computed(database, zone.key, parse)
    expected = parse([json.dumps(one).encode() for one in payloads]).rows
    assert len(expected) == reread == len(texts)
    assert {row.id: row.starts_at for row in expected} == {entity: row["starts_at"] for entity, row in stored.items()}


@pytest.mark.parametrize("broken", ["2026-02-30 10:30:00", "2026-13-01 10:30:00"])
async def test_a_text_that_is_no_date_stops_nothing(database: Database, broken: str) -> None:
    """`raw` keeps what the column could not take."""
    zone = ZoneInfo("Asia/Yekaterinburg")
    await put(database, [{"id": 1, "date": "2026-03-02 10:30:00"}, {"id": 2, "date": broken}])
    stored, _ = await computed(database, zone.key, lambda raws: parse_records(CompanyId(SALON), raws, zone))
    assert stored[1]["starts_at"] == datetime(2026, 3, 2, 5, 30, tzinfo=UTC)
    assert stored[2]["starts_at"] == datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("stream", sorted(ZONED - {"records", "schedules"}))
async def test_each_stream_has_a_statement_that_reads_its_own_columns(database: Database, stream: str) -> None:
    company, zone = CompanyId(SALON), ZoneInfo("Asia/Kolkata")
    payload = {
        "id": 5,
        "good_id": 5,
        "amount": 1,
        "name": "",
        "phone": "",
        "date": "2026-03-02 10:30:00",
        "create_date": "2026-03-02 11:30:00",
        "first_visit_date": "2026-03-02 12:30:00",
        "last_visit_date": "2026-03-02 13:30:00",
        "last_change_date": "2026-03-02 14:30:00",
    }
    raw = json.dumps(payload).encode()

    def parse(place: ZoneInfo) -> Any:
        parsed = parse_clients(company, [raw], place) if stream == "clients" else parse_declared(DECLARED[stream], [raw], place)
        return parsed.rows[0]

    table = tables.TABLES[stream]
    await database.execute(
        tables.upsert(stream, "yclients"), datetime.now(UTC), SALON, *tables.arrays(table, [parse(ZoneInfo("Europe/Moscow"))])
    )
    await Zones(database).slice(SALON, stream, 0, 0, zone.key, refused)
    (stored,) = await database.fetch(f"select * from yclients.{stream}")
    times = [name for name, kind in table.columns if kind == "timestamptz"]
    assert times
    assert {name: stored[name] for name in times} == {name: getattr(parse(zone), name) for name in times}


async def test_an_offset_becomes_a_zone_that_postgresql_reads_as_python_does(database: Database) -> None:
    named = 0
    for minutes in range(-14 * 60, 15 * 60, 15):
        sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
        name = zone_name(None, f"{sign}{hours:02d}:{rest:02d}")
        if name is None:
            assert minutes % 60 or minutes < -12 * 60
            continue
        named += 1
        for month in (1, 7):
            wall = datetime(2024, month, 2, 10, 30)
            expected = (wall - timedelta(minutes=minutes)).replace(tzinfo=UTC)
            assert wall.replace(tzinfo=ZoneInfo(name)).astimezone(UTC) == expected
            assert await database.fetchval("select $1::timestamp at time zone $2", wall, name) == expected
    assert named == 27 + 8
