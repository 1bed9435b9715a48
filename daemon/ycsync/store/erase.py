"""How is one client's, or one salon's, personal data erased so that nothing brings it back, until somebody says so?

An erasure takes the rows of `sync_status` first, as each page does that commits: a page before it is erased with the rest, one
that was planned before it commits no more, and one after it sees the line in `erasures` and leaves out what that names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ycsync.model.erasure import stripped, without
from ycsync.model.streams import DECLARED
from ycsync.store.database import Connection, Database
from ycsync.store.personal import MENTIONS, PERSONAL, Personal
from ycsync.store.work import salons_lock

# The first one first: a worker that commits a page needs its row of sync_status, so none commits after that.
_SALON = (
    ("sync_status", "company_id"),
    ("hooks", "company_id"),
    ("hooks_heard", "company_id"),
    ("sweep_missing", "company_id"),
    ("history_queue", "company_id"),
    ("visits_to_check", "company_id"),
    ("quarantine", "company_id"),
    ("record_services", "company_id"),
    ("records", "company_id"),
    ("clients", "company_id"),
    ("services", "company_id"),
    ("service_categories", "company_id"),
    ("staff", "company_id"),
    *((stream, "company_id") for stream in DECLARED),
    ("sync_batches", "company"),
    ("pauses", "company_id"),
    ("companies", "id"),
)
_SEARCH_S = 600.0  # a salon of a million visits is searched whole


@dataclass(frozen=True, slots=True)
class Erased:
    """Rows erased, by table; `cleaned`: rows that stay without the client, by table."""

    rows: dict[str, int]
    cleaned: dict[str, int]

    @property
    def total(self) -> int:
        """Rows that were erased or cleaned."""
        return sum(self.rows.values()) + sum(self.cleaned.values())

    @property
    def by_table(self) -> dict[str, int]:
        """Both, without the tables where there was nothing."""
        names = dict.fromkeys((*self.rows, *self.cleaned))
        both = {name: self.rows.get(name, 0) + self.cleaned.get(name, 0) for name in names}
        return {name: rows for name, rows in both.items() if rows}


@dataclass(frozen=True, slots=True)
class Erasure:
    """One line of the audit. `client`: None: the whole salon; `seen_at`: YCLIENTS still had the client then."""

    id: int
    company: int
    client: int | None
    erased_at: datetime
    rows: Mapping[str, int]
    role: str
    seen_at: datetime | None
    lifted_at: datetime | None


async def erase_client(database: Database, company: int, client: int) -> Erased:
    """Erase one client: the card and every payload that names it; the visits stay, as nobody's."""
    statements = database.statements("erase.sql")
    rows: dict[str, int] = {}
    cleaned: dict[str, int] = {}
    async with database.transaction() as connection:
        await connection.execute(statements["fence"], company)
        await connection.execute(statements["begin_history"], company, client)
        card = await connection.fetchrow(statements["client"], company, client)
        live = card is not None and card["live"]
        rows["clients"] = 0 if card is None else 1
        if live:
            await connection.execute(statements["uncount"], company)
        named = [await _named(connection, statements, table, personal, company, client) for table, personal in PERSONAL.items()]
        phone = None if card is None or card["phone"] is None else card["phone"][-10:]
        email = None if card is None else card["email"] or None
        rows["quarantine"] = await _count(connection, statements["quarantine"], company, client, phone, email)
        for table, which in MENTIONS.items():
            query = statements["mention"].replace("{table}", table).replace("{which}", which)
            rows[table] = await _count(connection, query, company, client)
        # After the searches, which take minutes: the rows are stamped with the time, and the commit follows at once.
        for one in named:
            await _rewrite(connection, statements["rewrite"], one, company)
            if one.count or PERSONAL[one.table].column != "id":
                cleaned[one.table] = one.count
        erased = Erased(rows, cleaned)
        seen_at = card["observed_at"] if card is not None and live else None
        await connection.execute(statements["audit"], company, client, json.dumps(erased.by_table), seen_at)
    return erased


async def erase_salon(database: Database, company: int) -> Erased:
    """Erase everything of one salon, what ycsync remembers of its work included; erasures of its clients stay in force."""
    statements = database.statements("erase.sql")
    rows: dict[str, int] = {}
    async with database.transaction() as connection:
        await connection.execute("select pg_advisory_xact_lock($1)", salons_lock(database))
        await connection.execute(statements["fence_list"])
        for table, key in _SALON:
            query = statements["salon"].replace("{table}", table).replace("{key}", key)
            rows[table] = await _count(connection, query, company)
        erased = Erased(rows, {})
        await connection.execute(statements["audit"], company, None, json.dumps(erased.by_table), None)
    return erased


async def readmit(database: Database, company: int, client: int | None) -> bool:
    """Let what was erased be read again, from the beginning; False when it was not erased. The audit keeps its line."""
    statements = database.statements("erase.sql")
    async with database.transaction() as connection:
        if client is not None:
            await connection.execute(statements["fence"], company)
        if not await connection.fetch(statements["lift"], company, client):
            return False
        if client is None:
            await connection.execute(statements["list_again"])
        else:
            await connection.execute(statements["begin_again"], company, list(PERSONAL))
    return True


async def erasures(database: Database) -> tuple[Erasure, ...]:
    """The audit, oldest first."""
    found = await database.fetch(database.statements("erase.sql")["erasures"])
    return tuple(Erasure(**{**row, "rows": json.loads(row["rows"])}) for row in found)


@dataclass(frozen=True, slots=True)
class _Named:
    """One table's rows that stay and name the client, with their payloads without it: the client's own, and others."""

    table: str
    own: list[tuple[int, str]]
    others: list[tuple[int, str]]

    @property
    def count(self) -> int:
        return len(self.own) + len(self.others)


async def _named(
    connection: Connection, statements: Mapping[str, str], table: str, personal: Personal, company: int, client: int
) -> _Named:
    """Find the rows of one table that name the client."""
    query = statements["named"].replace("{table}", table).replace("{column}", personal.column)
    found = await connection.fetch(query, company, client, timeout=_SEARCH_S)
    own = [(row["id"], stripped(row["raw"], personal.stays)) for row in found if row["own"]]
    others = [(row["id"], raw) for row in found if not row["own"] and (raw := without(row["raw"], (client,))) != row["raw"]]
    return _Named(table, own, others)


async def _rewrite(connection: Connection, statement: str, named: _Named, company: int) -> None:
    """Take the client out of these rows."""
    text = statement.replace("{table}", named.table)
    values = PERSONAL[named.table].blank.items()
    blank = "".join(f"{name} = {'null' if value is None else repr(value)}, " for name, value in values)
    for changed, columns in ((named.own, blank), (named.others, "")):
        if changed:
            query = text.replace("{blank}", columns)
            await connection.execute(query, company, [id_ for id_, _ in changed], [raw for _, raw in changed])


async def _count(connection: Connection, query: str, *args: object) -> int:
    tag: str = await connection.execute(query, *args, timeout=_SEARCH_S)
    return int(tag.rsplit(" ", 1)[-1])
