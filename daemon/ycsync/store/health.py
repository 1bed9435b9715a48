"""What is this server, and may this role do in it what ycsync needs? Read only; works without a schema."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ycsync.store.database import Database

OLDEST, NEWEST = 14, 18  # major versions: what the statements need, and the newest that ycsync was tried with


@dataclass(frozen=True, slots=True)
class Server:
    """`version`: as server_version_num has it. `places`, `taken`: connections there are, and that others have open."""

    version: int
    standby: bool
    read_only: bool
    role: str
    superuser: bool
    database: str
    now: datetime
    may_create: bool
    encrypted: bool
    places: int
    taken: int
    role_limit: int

    @property
    def major(self) -> int:
        return self.version // 10_000


@dataclass(frozen=True, slots=True)
class Schema:
    """`made`: by a ycsync. `foreign_tables`: those in it whose owner this role is not."""

    may_use: bool
    may_create: bool
    made: bool
    foreign_tables: list[str]


async def server(database: Database) -> Server:
    """The server and the role. Raises DatabaseUnavailable or DatabaseError."""
    row = await database.fetchrow(database.statements("health.sql")["server"])
    assert row is not None
    return Server(**row)


async def schema(database: Database) -> Schema | None:
    """The schema of the settings; None when it is not there."""
    row = await database.fetchrow(database.statements("health.sql")["schema"], database.schema)
    return None if row is None else Schema(**row)
