"""Is the time that the database takes counted, each use once and under what it was for?"""

from __future__ import annotations

import asyncio

import pytest

from ycsync.errors import DatabaseError
from ycsync.store.database import connect


async def test_each_use_is_told_once_with_its_operation_and_time(database_url: str) -> None:
    told: list[tuple[str, float]] = []
    database = await connect(database_url, "yclients", observe=lambda operation, seconds: told.append((operation, seconds)))
    try:
        await database.fetchval("select 1")
        await database.named("claim").within(5.0).fetchval("select pg_sleep(0.05)")
        async with database.within(5.0).named("commit").transaction() as connection:
            await connection.execute("select 1")
            await connection.execute("select 2")
        with pytest.raises(DatabaseError):
            await database.fetchval("select no_such_column")
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(database.named("limiter").fetchval("select 1"))
    finally:
        await database.close()
    assert [operation for operation, _ in told] == ["other", "claim", "commit", "other", *["limiter"] * 3]
    assert told[1][1] >= 0.05
    assert all(0 < seconds < 30 for _, seconds in told)
