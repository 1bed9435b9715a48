"""What do the tests of the queue share? A migrated database, one worker, and rows of sync_status as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate
from ycsync.store.work import Claim, Work

STREAMS = ("services", "staff", "clients", "records")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await connect(database_url, "yclients", size=4)
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
def work(database: Database) -> Work:
    return Work(database)


@pytest.fixture
async def me(work: Work) -> int:
    return await work.register("service", "default", "0", {})


async def put(database: Database, company: int, stream: str, **columns: str) -> None:
    """One row as it stands; each column is an SQL expression."""
    columns = {"due_at": "now()", **columns}
    await database.execute(
        f"insert into yclients.sync_status (company_id, stream, {', '.join(columns)}) "
        f"values ($1, $2, {', '.join(columns.values())})",
        company,
        stream,
    )


async def row(database: Database, company: int, stream: str) -> dict[str, object]:
    found = await database.fetchrow(
        "select *, extract(epoch from due_at - now())::float8 as due_in from yclients.sync_status "
        "where company_id = $1 and stream = $2",
        company,
        stream,
    )
    assert found is not None
    return dict(found)


async def due_in(database: Database, company: int, stream: str) -> float | None:
    value = (await row(database, company, stream))["due_in"]
    assert value is None or isinstance(value, float)
    return value


def names(claims: list[Claim]) -> list[tuple[int, str]]:
    return [(claim.company, claim.stream) for claim in claims]
