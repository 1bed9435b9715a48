"""What does a client's card by phone cost, and what do whole views cost, at a million visits?

    python tests/benchmarks/profiles.py [--clients N] [--records N] [--lookups N] [--json]

Makes an embedded database with its default settings, on disk, fills it by SQL (one salon, records of some 1.5 kB, the busiest
client with about 500 visits) and measures through asyncpg. Nothing is read twice by the look-ups: each is another client.
Takes some minutes and 4 GB of disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from ycsync.store.database import connect
from ycsync.store.embedded import EmbeddedPostgres
from ycsync.store.migrate import migrate

COMPANY = 4001
BEFORE = (  # as the schema was before the migration that is measured
    "drop view yclients.client_profiles, yclients.visits",
    "drop function yclients.normalise_phone, yclients.json_amount",
    "alter table yclients.record_services drop column first_cost",
    "delete from yclients.schema_migrations where file like '%_views.sql'",
)
STAFF = """
insert into yclients.staff (company_id, id, name, specialization, fired, hidden, raw, observed_at)
select 4001, 900 + n, 'Staff ' || n, 'master', false, false, '{}', now() from generate_series(0, 29) n
"""
CLIENTS = """
insert into yclients.clients (company_id, id, name, surname, patronymic, phone, phone_raw, email, card, comment, categories,
                              visit_count, spent, raw, observed_at)
select 4001, n, 'Client ' || n, 'Surname', '', '7999' || lpad(n::text, 7, '0'), '+7999' || lpad(n::text, 7, '0'),
    'client' || n || '@example.com', '', '', '[]', 10, 20000,
    jsonb_build_object('id', n, 'name', 'Client ' || n, 'phone', '+7999' || lpad(n::text, 7, '0'),
                       'filler', repeat(md5(n::text), 14)),
    now()
from generate_series(1, $1::bigint) n
"""
# In the order of time; every tenth visit has two records, one record in ten sells a good; client 1 comes most often.
RECORDS = """
insert into yclients.records (company_id, id, visit_id, client_id, staff_id, starts_at, duration_s, attendance, status, online,
                              comment, cost, paid, created_at, raw, changed_at, observed_at, deleted_at)
select 4001, n, visit, 1 + floor($1 * power(u, 1.52)), 900 + (h & 7) + (h & 15), at, 3600, case when coming then 0 else 1 end,
    case when coming then 'waiting' when (h & 31) = 0 then 'no_show' when (h & 31) = 1 then 'cancelled' else 'came' end,
    false, '', 1800, case when coming then 0 else 1800 end, at - interval '3 days',
    jsonb_build_object('id', n, 'visit_id', visit, 'staff', jsonb_build_object('id', 900, 'name', 'Staff'),
        'client', jsonb_build_object('id', 1, 'name', 'Client', 'phone', '+79990000001'),
        'services', jsonb_build_array(jsonb_build_object('id', 301, 'title', 'Service', 'cost', 1800, 'first_cost', 2000)),
        'finance_transactions', jsonb_build_array(jsonb_build_object('id', n, 'amount', 1800)),
        'goods_transactions', case when n % 10 = 7
            then jsonb_build_array(jsonb_build_object('id', n, 'good_id', 41, 'title', 'Cream', 'amount', -1, 'cost', '500.00'))
            else '[]' end,
        'filler', (select string_agg(md5((n * 40 + m)::text), '') from generate_series(1, 30) m)),
    at, now(), case when (h & 31) = 1 and not coming then now() end
from (select *, (hashint8extended(visit, 1) & 1048575) / 1048576.0::float8 as u, hashint8extended(n, 2) as h,
             now() - interval '900 days' + n * interval '950 days' / $2 as at, n > $2 * 900.0 / 950 as coming
      from (select n, n - (n % 10 = 0)::int as visit from generate_series($3::bigint, $4::bigint) n) v) r
"""
LINES = """
insert into yclients.record_services (company_id, record_id, position, service_id, title, amount, unit_cost, discount, cost)
select company_id, id, 0, 301 + id % 20, 'Service ' || id % 20, 1, 1800, 0, 1800 from yclients.records
"""
CARD = "select * from yclients.client_profiles where phone = yclients.normalise_phone($1)"
HEAD = """select name, visit_count, total_spent, loyalty_level, last_visit_at from yclients.client_profiles
where phone = yclients.normalise_phone($1)"""
WHOLE = {
    "client_profiles, all columns": "select count(p) from (select * from yclients.client_profiles "
    "where company_id = 4001 offset 0) p",
    "client_profiles, level and sums": "select count((p.loyalty_level, p.total_spent)) from yclients.client_profiles p "
    "where company_id = 4001",
    "visits, all columns": "select count(v) from (select * from yclients.visits where company_id = 4001 offset 0) v",
    "visits, status and paid": "select sum(paid) from yclients.visits where company_id = 4001 and status = 'came'",
    "visits, one day": """select count(v) from (select * from yclients.visits where company_id = 4001 and visit_id = any (array(
        select visit_id from yclients.records where company_id = 4001
            and starts_at between now() - interval '11 days' and now() - interval '10 days')) offset 0) v""",
}
SIZES = """
select c.relname::text as name, pg_total_relation_size(c.oid) / 1000000 as mb from pg_class c
where c.relnamespace = 'yclients'::regnamespace
    and c.relname in ('clients', 'records', 'record_services', 'clients_by_phone', 'records_by_client', 'records_by_visit',
                      'record_services_pkey')
order by 1
"""


async def seconds(connection: asyncpg.Connection, statement: str, *args: object) -> float:
    """How long one statement takes."""
    begun = time.perf_counter()
    await connection.fetch(statement, *args, timeout=3600)
    return time.perf_counter() - begun


async def fill(connection: asyncpg.Connection, clients: int, records: int) -> None:
    """One salon, as a first pass would leave it."""
    await connection.execute(STAFF)
    await connection.execute(CLIENTS, clients, timeout=3600)
    for first in range(1, records + 1, 100_000):
        await connection.execute(RECORDS, clients, records, first, min(records, first + 99_999), timeout=3600)
    await connection.execute(LINES, timeout=3600)
    await connection.execute("vacuum analyze", timeout=3600)


async def lookups(connection: asyncpg.Connection, statement: str, numbers: list[int]) -> dict[str, float]:
    """Cards by phone, one client after the other."""
    taken = sorted([1000 * await seconds(connection, statement, f"8 (999) {n:07d}") for n in numbers])
    at = {"median": 0.5, "p95": 0.95, "p99": 0.99}
    return {name: round(taken[min(len(taken) - 1, int(share * len(taken)))], 2) for name, share in at.items()} | {
        "worst": round(taken[-1], 2)
    }


async def measure(url: str, clients: int, records: int, times: int) -> dict[str, Any]:
    """Fill, migrate, look up, read whole."""
    database = await connect(url, "yclients", size=2)
    await migrate(database)
    connection = await asyncpg.connect(url)
    plain = await asyncpg.connect(url, statement_cache_size=0)
    for statement in BEFORE:
        await connection.execute(statement)
    await fill(connection, clients, records)
    begun = time.perf_counter()
    await migrate(database)
    found: dict[str, Any] = {"clients": clients, "records": records}
    found["migration, ms"] = round(1000 * (time.perf_counter() - begun), 1)
    await database.close()
    draw = random.Random(1)
    drawn = draw.sample(range(1, clients + 1), min(clients, 3 * times))
    for _ in range(10):  # the session learns the statements and the catalogue
        await lookups(connection, CARD, [1])
        await lookups(plain, CARD, [1])
        await lookups(connection, HEAD, [1])
    found["card by phone, ms"] = await lookups(connection, CARD, drawn[:times])
    found["card by phone, not prepared, ms"] = await lookups(plain, CARD, drawn[times : 2 * times])
    found["name, level and sums by phone, ms"] = await lookups(connection, HEAD, drawn[2 * times : 3 * times])
    busiest = await connection.fetchrow(
        "select client_id, count(*) as records from yclients.records group by 1 order by 2 desc limit 1", timeout=3600
    )
    assert busiest is not None
    again = [busiest["client_id"]] * 50
    found["busiest client's records"] = busiest["records"]
    found["busiest client's card, ms"] = await lookups(connection, CARD, again)
    found["busiest client's card, not prepared, ms"] = await lookups(plain, CARD, again)
    for name, statement in WHOLE.items():
        found[f"{name}, s"] = round(statistics.median([await seconds(connection, statement) for _ in range(3)]), 3)
    found |= {f"{row['name']}, MB": int(row["mb"]) for row in await connection.fetch(SIZES)}
    await connection.close()
    await plain.close()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--lookups", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ycsync-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = EmbeddedPostgres(folder / "postgres")
        url = server.start()
        try:
            found = asyncio.run(measure(url, arguments.clients, arguments.records, arguments.lookups))
        finally:
            server.stop()
    if arguments.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:44} {value}")


if __name__ == "__main__":
    main()
