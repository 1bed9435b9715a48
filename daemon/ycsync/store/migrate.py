"""Is the schema ours and up to date, and how does it get there?

Numbered migrations run once each, in one transaction under an advisory lock, so that several processes may start together.
A schema that holds tables of the same names with other columns is somebody else's: nothing is written to it.

A migration that only adds says so in its first line, `-- works with: N`: a ycsync whose newest migration is N goes on with the
newer schema. That is the way back after an upgrade.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from ycsync import sql
from ycsync.errors import ForeignSchema, NewerSchema
from ycsync.store.database import Connection, Database
from ycsync.store.tables import TABLES, VIEWS

_COLUMNS = """
select c.relname as table_name, a.attname as column_name, format_type(a.atttypid, a.atttypmod) as type
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f')
"""
MIGRATION_S = 3600.0  # a column that is filled in reads a table whole
_WORKS_WITH = re.compile(r"-- works with: (\d+)\n")
_TYPES = {"timestamptz": "timestamp with time zone"}


async def migrate(database: Database) -> tuple[int, ...]:
    """Bring the schema up to date; returns the versions that ran.

    Raises ForeignSchema or NewerSchema before anything is written.
    """
    ran: list[int] = []
    schema = database.schema
    async with database.transaction() as connection:
        # The lock is the transaction's, so a process that dies gives it back, and it works through any pooler.
        # A limit of the role's own would end a long migration at every start.
        await connection.execute("set local statement_timeout = 0")
        await connection.execute(
            "select pg_advisory_xact_lock($1)", zlib.crc32(f"ycsync:{schema}".encode()), timeout=MIGRATION_S
        )
        await connection.execute("set local client_min_messages = warning")
        present = await _columns(connection, schema)
        if "schema_migrations" in present:
            applied = await _applied(connection, schema, present)
        else:
            _refuse_foreign(schema, present, database.where)
            applied = set()
            if not await connection.fetchval("select exists (select from pg_namespace where nspname = $1)", schema):
                await connection.execute(f"create schema {sql.quoted(schema)}")
            await connection.execute(
                f"create table {sql.quoted(schema)}.schema_migrations "
                "(version integer primary key, file text not null, applied_at timestamptz not null default now(), "
                "works_with integer)"
            )
        table = f"{sql.quoted(schema)}.schema_migrations"
        if "schema_migrations" in present and "works_with" not in present["schema_migrations"]:
            await connection.execute(f"alter table {table} add column works_with integer")
        await _refuse_newer(connection, schema, applied, database.where)
        for version, file in sql.migrations():
            if version in applied:
                continue
            _refuse_taken(schema, [name for name, since in VIEWS.items() if since == version], present, database.where)
            text = sql.read(file).replace("@schema_literal", schema.replace("'", "''"))
            works_with = _WORKS_WITH.match(text)
            await connection.execute(text.replace("@schema", sql.quoted(schema)), timeout=MIGRATION_S)
            await connection.execute(
                f"insert into {table} (version, file, works_with) values ($1, $2, $3)",
                version, file, None if works_with is None else int(works_with[1]),
            )  # fmt: skip
            ran.append(version)
        _check(schema, await _columns(connection, schema), database.where)
    return tuple(ran)


async def is_current(database: Database) -> bool:
    """True when every migration that this ycsync knows has run; writes nothing. Raises ForeignSchema or NewerSchema."""
    async with database.transaction() as connection:
        present = await _columns(connection, database.schema)
        if "schema_migrations" not in present:
            _refuse_foreign(database.schema, present, database.where)
            return False
        applied = await _applied(connection, database.schema, present)
        if "works_with" in present["schema_migrations"]:  # an older one has no newer versions
            await _refuse_newer(connection, database.schema, applied, database.where)
        return applied >= {version for version, _ in sql.migrations()}


async def _columns(connection: Connection, schema: str) -> dict[str, dict[str, str]]:
    present: dict[str, dict[str, str]] = {}
    for row in await connection.fetch(_COLUMNS, schema):
        present.setdefault(row["table_name"], {})[row["column_name"]] = row["type"]
    return present


async def _applied(connection: Connection, schema: str, present: dict[str, dict[str, str]]) -> set[int]:
    if present["schema_migrations"].get("version") != "integer" or "file" not in present["schema_migrations"]:
        raise ForeignSchema(
            f"schema {schema}: its table schema_migrations is another program's. "
            "Give ycsync a schema of its own: set database.schema in config.yaml."
        )
    rows = await connection.fetch(f"select version from {sql.quoted(schema)}.schema_migrations")
    return {row["version"] for row in rows}


async def _refuse_newer(connection: Connection, schema: str, applied: set[int], where: str) -> None:
    known = sql.migrations()
    newer = applied - {version for version, _ in known}
    rows = await connection.fetch(
        f"select works_with from {sql.quoted(schema)}.schema_migrations where version = any($1::int[])", list(newer)
    )
    if any(row["works_with"] is None or row["works_with"] > known[-1][0] for row in rows):
        raise NewerSchema(
            f"{where}: schema {schema} is at version {max(newer)}, newer than this ycsync knows ({known[-1][0]}). "
            "Install the newer ycsync again."
        )


def _refuse_foreign(schema: str, present: dict[str, dict[str, str]], where: str) -> None:
    _refuse_taken(
        schema,
        [*TABLES, "record_services", "sync_status", "sync_batches", "quarantine", "workers", "pauses", *VIEWS],
        present,
        where,
    )


def _refuse_taken(schema: str, ours: Sequence[str], present: dict[str, dict[str, str]], where: str) -> None:
    if taken := sorted(present.keys() & set(ours)):
        raise ForeignSchema(
            f"{where}: schema {schema} already holds tables that ycsync did not make: {', '.join(taken)}. "
            "Nothing was changed. Set database.schema in config.yaml to a schema of its own (it is created), "
            "or rename the old tables."
        )


def _check(schema: str, present: dict[str, dict[str, str]], where: str) -> None:
    for table in TABLES.values():
        columns = present.get(table.name, {})
        for name, type_ in table.columns:
            if columns.get(name) != _TYPES.get(type_, type_):
                raise ForeignSchema(
                    f"{where}: {schema}.{table.name}.{name} is {columns.get(name, 'missing')}, not {type_}: "
                    "the table is not as ycsync made it. Put it back, or set database.schema to a new schema."
                )
