"""A migration that reads large tables takes longer than any other statement may."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg
import pytest

from ycsync import sql
from ycsync.store import database as module
from ycsync.store.database import connect
from ycsync.store.migrate import migrate

pytestmark = pytest.mark.empty


@pytest.mark.parametrize("limit", ["the client's", "the role's"])
async def test_no_limit_for_statements_ends_a_migration(database_url: str, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    last = sql.migrations()[-1][1]
    original = sql.read
    monkeypatch.setattr(sql, "read", lambda file: original(file) + ("\nselect pg_sleep(1.5);" if file == last else ""))
    if limit == "the client's":
        monkeypatch.setattr(module, "COMMAND_TIMEOUT_S", 1.0)
    else:
        connection = await asyncpg.connect(database_url)
        await connection.execute(f"alter database {urlsplit(database_url).path[1:]} set statement_timeout = '1s'")
        await connection.close()
    database = await connect(database_url, "yclients", size=1)
    try:
        assert len(await migrate(database)) == len(sql.migrations())
    finally:
        await database.close()
