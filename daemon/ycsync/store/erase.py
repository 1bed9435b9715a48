"""How is one client's, or one salon's, personal data erased so that no page under way brings it back?"""

from __future__ import annotations

from dataclasses import dataclass

from ycsync.store.database import Connection, Database

# The first one first: a worker that commits a page needs its row of sync_status, so none commits after that.
_SALON = (
    ("sync_status", "company_id"),
    ("sweep_missing", "company_id"),
    ("history_queue", "company_id"),
    ("quarantine", "company_id"),
    ("record_services", "company_id"),
    ("records", "company_id"),
    ("clients", "company_id"),
    ("services", "company_id"),
    ("service_categories", "company_id"),
    ("staff", "company_id"),
    ("sync_batches", "company"),
    ("companies", "id"),
)


@dataclass(frozen=True, slots=True)
class Erased:
    """Rows erased, by table; `cleaned`: visits that stay without their client."""

    rows: dict[str, int]
    cleaned: int = 0

    @property
    def total(self) -> int:
        """Rows that were erased or cleaned."""
        return sum(self.rows.values()) + self.cleaned


async def erase_client(database: Database, company: int, client: int) -> Erased:
    """Erase one client: the card and every payload that names it; the visits stay, as nobody's."""
    statements = database.statements("erase.sql")
    rows: dict[str, int] = {}
    async with database.transaction() as connection:
        await connection.execute(statements["fence"], company)
        phone = await connection.fetchval(statements["phone"], company, client)
        gone = await connection.fetch(statements["client"], company, client)
        rows["clients"] = len(gone)
        if live := sum(1 for row in gone if row["live"]):
            await connection.execute(statements["uncount"], company, live)
        cleaned = await _count(connection, statements["client_records"], company, client)
        rows["quarantine"] = await _count(connection, statements["client_quarantine"], company, client, phone)
        rows["sweep_missing"] = await _count(connection, statements["client_missing"], company, client)
    return Erased(rows, cleaned)


async def erase_salon(database: Database, company: int) -> Erased:
    """Erase everything of one salon, what ycsync remembers of its work included."""
    statement = database.statements("erase.sql")["salon"]
    rows: dict[str, int] = {}
    async with database.transaction() as connection:
        for table, key in _SALON:
            rows[table] = await _count(connection, statement.replace("{table}", table).replace("{key}", key), company)
    return Erased(rows)


async def _count(connection: Connection, query: str, *args: object) -> int:
    tag: str = await connection.execute(query, *args)
    return int(tag.rsplit(" ", 1)[-1])
