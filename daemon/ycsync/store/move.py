"""Moves what one ycsync database holds to another one, without a request to YCLIENTS.

Erasures and pauses are merged, so that nobody who was erased is read again. Rows, cursors and quarantine are copied only into a
database in which no first pass ended yet: all of them in one transaction, or nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ycsync import sql
from ycsync.store.database import Connection, Database
from ycsync.store.erase import erase_client, erase_salon

COPY_S = 3600.0  # one table of a large salon
CHUNKS = 8  # read ahead of what is written; some 64 kB each


@dataclass(frozen=True, slots=True)
class Contents:
    """Rows of one ycsync database; `erasures` are those in force."""

    salons: int
    clients: int
    records: int
    erasures: int
    pauses: int

    def __bool__(self) -> bool:
        return any((self.salons, self.clients, self.records, self.erasures, self.pauses))

    def says(self) -> str:
        """Word the counts: "1 salon, 1,460 clients, …"."""
        counts = (
            (self.salons, "salon"), (self.clients, "client"), (self.records, "visit"), (self.erasures, "erasure"),
            (self.pauses, "pause"),
        )  # fmt: skip
        return ", ".join(f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in counts if count)


async def schema_made(database: Database) -> str | None:
    """Return the name of the schema that ycsync made: this one, or another; None: it made none."""
    found: str | None = await database.fetchval(database.statements("move.sql")["made"], database.schema)
    return found


async def contents(database: Database) -> Contents:
    """Count what is stored. The schema must be up to date."""
    row = await database.fetchrow(database.statements("move.sql")["contents"])
    assert row is not None
    return Contents(**row)


async def unread(database: Database) -> bool:
    """Return whether no salon, client or visit was stored yet."""
    return bool(await database.fetchval(database.statements("move.sql")["unread"]))


async def settled(database: Database) -> bool:
    """Return whether a first pass of clients or visits ended here."""
    return bool(await database.fetchval(database.statements("move.sql")["settled"]))


async def only_there(old: Database, new: Database) -> tuple[int, ...]:
    """Return the salons that were read to the end in `old`, and neither in `new` nor erased."""
    filled = {tuple(row) for row in await old.fetch(old.statements("move.sql")["filled"])}
    filled -= {tuple(row) for row in await new.fetch(new.statements("move.sql")["filled"])}
    erased = {row["company_id"] for row in await new.fetch(new.statements("pages.sql")["erased_salons"])}
    return tuple(sorted({company for company, _ in filled} - erased))


async def busy(database: Database) -> bool:
    """Return whether a service or a command works with this database."""
    return bool(await database.fetchval(database.statements("move.sql")["busy"]))


async def carry(old: Database, new: Database) -> None:
    """Merge the erasures and pauses of `old` into `new`; doing it again changes nothing."""
    statements = new.statements("move.sql")
    async with old.transaction(reading=True) as source:
        erasures = await source.fetch(old.statements("move.sql")["erasures"])
        pauses = await source.fetch(old.statements("move.sql")["pauses"])
    async with new.transaction() as connection:
        await connection.executemany(statements["carry_erasure"], [tuple(row) for row in erasures])
        await connection.executemany(statements["carry_pause"], [tuple(row) for row in pauses])


async def copy(old: Database, new: Database) -> dict[str, int]:
    """Copy every other table of `old` into `new`, whose own rows are dropped; returns the rows by table.

    Both schemas must be up to date and no process may work with either. Raises DatabaseError; then nothing was copied.
    """
    statements = new.statements("move.sql")
    copied: dict[str, int] = {}
    async with old.transaction(reading=True) as source, new.transaction() as target:
        await source.execute(statements["patient"])
        await target.execute(statements["patient"])
        for table in await target.fetch(statements["tables"], new.schema):
            name, columns = table["name"], table["columns"]
            here = f"{sql.quoted(new.schema)}.{sql.quoted(name)}"
            await target.execute(f"delete from {here}")
            copied[name] = await _copy(source, target, old.schema, new.schema, name, columns)
            if table["sequence"] is not None:
                highest = f"(select max({sql.quoted(table['counter'])}) from {here})"
                await target.execute(
                    f"select setval($1::text::regclass, {highest}) where {highest} is not null", table["sequence"]
                )
        for name in ("disown", "disown_batches", "disown_slots"):
            await target.execute(statements[name])
    return copied


async def enforce(database: Database) -> int:
    """Erase what erasures in force name and rows of which are here; returns how many of them there were."""
    present = await database.fetch(database.statements("move.sql")["present"])
    for company, client in present:
        if client is None:
            await erase_salon(database, company)
        else:
            await erase_client(database, company, client)
    return len(present)


async def _copy(
    source: Connection, target: Connection, old_schema: str, new_schema: str, table: str, columns: list[str]
) -> int:
    """Stream one table; returns its rows."""
    names = ", ".join(map(sql.quoted, columns))
    query = f"select {names} from {sql.quoted(old_schema)}.{sql.quoted(table)}"
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS)

    async def read() -> None:
        try:
            await source.copy_from_query(query, output=queue.put, format="binary", timeout=COPY_S)
        finally:
            await queue.put(None)

    reading = asyncio.create_task(read(), name=f"copy {table}")

    async def chunks() -> AsyncIterator[bytes]:
        while (chunk := await queue.get()) is not None:
            yield chunk
        await reading  # a source that failed must not look like the end of the table

    try:
        tag = await target.copy_to_table(
            table, schema_name=new_schema, columns=columns, source=chunks(), format="binary", timeout=COPY_S
        )
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return int(tag.rsplit(" ", 1)[-1])
