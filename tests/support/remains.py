"""What did a process that was killed leave in the database, and may that be? Rows by the salon, cursors by the rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from support.house import plain
from ycsync.plan import cursor as cursors
from ycsync.store.tables import TABLES

Rows = dict[str, dict[int, Any]]


def claims(
    stream: str, cursor: cursors.Cursor, queue: Mapping[int, int], before: Rows, after: Rows, changed_at: datetime
) -> tuple[set[int], set[int]]:
    """(ids that the cursor says are in the database as they are now, ids that may be there at all)."""
    everything = set(after[stream])
    known = cursor.since is not None and (not before or cursor.since >= changed_at)
    if known and (not cursor.busy or cursor.kind == "delta"):
        # What was proved was read after the last change; nothing has changed since.
        return everything, everything
    if not cursor.busy:
        return set(), everything
    if stream == "clients":
        assert cursor.scan is not None
        covered = {entity for entity in everything if entity <= cursor.scan.last_id}
        return covered, covered
    return _visits(cursor, queue, after)


def _visits(cursor: cursors.Cursor, queue: Mapping[int, int], after: Rows) -> tuple[set[int], set[int]]:
    sweep = cursor.sweep
    assert sweep is not None
    if sweep.total is None:
        return set(), set()
    covered: set[int] = set()
    allowed: set[int] = set()
    fetched = {queue[place] for place in range(sweep.position) if place in queue}
    waiting = {queue.get(one.position) for one in sweep.pending if one.position is not None}
    for entity, row in after["records"].items():
        day, client = row.session_date, row.client_id
        if sweep.scope_lo is not None and day < sweep.scope_lo:
            continue
        if sweep.position and client in fetched and client not in waiting:
            covered.add(entity)
        if sweep.clients is not None:
            continue
        handed_out = sweep.planned or (sweep.frontier is not None and day > sweep.frontier)
        missing = [
            one
            for one in sweep.pending
            if one.position is None
            and (one.lo is None or day >= one.lo)
            and (one.hi is None or day <= one.hi)
            and one.staff_id in (None, row.staff_id)
        ]
        if handed_out and not missing:
            covered.add(entity)
        # Windows overlap by a day: a row on the edge of one that waits may have come with its neighbour.
        edges = [abs((day - edge).days) for one in sweep.pending for edge in (one.lo, one.hi) if edge is not None]
        if sweep.frontier is not None:
            edges.append(abs((day - sweep.frontier).days))
        if min(edges, default=9) <= 1 or (any(one.part for one in sweep.pending) and handed_out):
            allowed.add(entity)
    return covered, allowed | covered


def wrong(row: asyncpg.Record, rows: int, workers: set[int], *, first: bool) -> list[str]:
    """What a row of sync_status says that cannot be so. `first`: of a first pass."""
    cursor = cursors.decode(row["text"])
    live = row["phase"] == "live"
    told = {
        # A salon's own row of the companies stream has no cursor: the list of salons is read for all of them.
        "live without a proof": live
        and (row["last_success_at"] is None or (cursor.since is None and row["stream"] != "companies")),
        "proved, but not live": not live and row["last_success_at"] is not None and first,
        # The version alone moves too: when the claim of a worker that died is given to another.
        "a cursor without a version": row["text"] is not None and row["version"] == 0,
        "new with a cursor": row["phase"] == "new" and row["text"] is not None and cursor.since is not None,
        "done is not the rows": live and not cursor.busy and row["stream"] == "clients" and row["done"] > rows,
        "done is more than expected": row["expected"] is not None and row["done"] > row["expected"],
        "claimed by nobody": row["claimed_by"] is not None and row["claimed_by"] not in workers,
        "an error": row["last_error"] is not None,
    }
    return [text for text, is_so in told.items() if is_so]


class Reader:
    """As much of a House as `differences` needs, on one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.database = self
        self.schema = "yclients"
        self._connection = connection

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        return list(await self._connection.fetch(query, *args))

    async def stored(self, table: str, company: int) -> dict[int, dict[str, Any]]:
        key = "id" if table == "companies" else "company_id"
        rows = await self.fetch(f"select * from yclients.{table} where {key} = $1", company)
        return {row["id"]: dict(row) for row in rows}


def versions(rows: Rows) -> dict[str, dict[int, tuple[Any, ...]]]:
    """Each row of the salon as `stored_rows` shows it: (deleted, values, lines)."""
    out: dict[str, dict[int, tuple[Any, ...]]] = {table: {} for table in TABLES}
    for table, parsed in rows.items():
        for entity, row in parsed.items():
            values = tuple(plain(name, getattr(row, name)) for name, _ in TABLES[table].columns)
            lines = [
                (one.position, one.service_id, one.title, one.amount, one.unit_cost, one.discount, one.cost, one.first_cost)
                for one in getattr(row, "services", ())
            ]
            out[table][entity] = (row.deleted, values, lines if table == "records" else [])
    return out


def gone(row: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """The same row, deleted."""
    return None if row is None else (True, *row[1:])


async def stored_rows(connection: asyncpg.Connection, company: int) -> dict[str, dict[int, tuple[Any, ...]]]:
    """Each row of the database: (deleted, values, lines)."""
    reader = Reader(connection)
    lines: dict[int, list[tuple[Any, ...]]] = {}
    for line in await connection.fetch(
        "select * from yclients.record_services where company_id = $1 order by record_id, position", company
    ):
        lines.setdefault(line["record_id"], []).append(tuple(line.values())[2:])
    out: dict[str, dict[int, tuple[Any, ...]]] = {}
    for table in TABLES:
        out[table] = {
            entity: (
                row["deleted_at"] is not None,
                tuple(plain(name, row[name]) for name, _ in TABLES[table].columns),
                lines.get(entity, []) if table == "records" else [],
            )
            for entity, row in (await reader.stored(table, company)).items()
        }
    return out
