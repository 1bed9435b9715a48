"""How does ycsync reach its database, and what does each failure of the driver mean to a person?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from asyncpg import exceptions as pg

from ycsync import sql
from ycsync.errors import DatabaseError, DatabaseUnavailable, RowsRefused

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
COMMAND_TIMEOUT_S = 60.0

_GONE = (
    OSError,
    TimeoutError,
    asyncio.IncompleteReadError,
    pg.PostgresConnectionError,
    pg.OperatorInterventionError,
    pg.ReadOnlySQLTransactionError,
    pg.InsufficientResourcesError,
    pg.InvalidCatalogNameError,
    pg.InvalidAuthorizationSpecificationError,
    pg.ConnectionDoesNotExistError,
    pg.InterfaceError,
    pg.InternalClientError,
    pg.DeadlockDetectedError,
    pg.SerializationError,
)
_REFUSED = (
    pg.DataError,
    pg.IntegrityConstraintViolationError,
    pg.ProgramLimitExceededError,
)


def without_secret(url: str) -> str:
    """The URL without its password, for messages."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", url)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn the driver's errors into ours; `where` is the database's address without a password."""
    try:
        yield
    except _REFUSED as exc:
        # The message may quote a value; the state and the column do not.
        column = getattr(exc, "column_name", None)
        raise RowsRefused(f"PostgreSQL refused a value ({type(exc).__name__}{f', {column}' if column else ''})") from exc
    except pg.InvalidPasswordError as exc:
        raise DatabaseUnavailable(
            f"{where}: the password or role is not accepted. Set YCSYNC_DATABASE_URL (or the credential database_url) "
            "to a URL with the right role and password."
        ) from exc
    except pg.InvalidCatalogNameError as exc:
        raise DatabaseUnavailable(f"{where}: there is no such database. Create it, or correct database.url.") from exc
    except pg.InsufficientPrivilegeError as exc:
        raise DatabaseError(
            f"{where}: the role lacks a right ({exc.args[0] if exc.args else 'permission denied'}). "
            "Grant it CREATE on the database, or own the schema."
        ) from exc
    except _GONE as exc:
        raise DatabaseUnavailable(
            f"{where}: the database cannot be reached ({type(exc).__name__}). Is it running, and is database.url right?"
        ) from exc
    except pg.PostgresError as exc:
        raise DatabaseError(f"{where}: the database refused a statement ({type(exc).__name__}).") from exc


class Database:
    """A pool of connections to one schema; every failure comes out as one of `errors`."""

    def __init__(self, pool: asyncpg.Pool, schema: str, where: str) -> None:
        self.pool = pool
        self.schema = schema
        self.where = where

    def statements(self, file: str) -> Mapping[str, str]:
        """The named statements of one .sql file, for this schema."""
        return sql.load(file, self.schema)

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """All rows of one statement."""
        with translated(self.where):
            return list(await self.pool.fetch(query, *args))

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """The first row of one statement, if any."""
        with translated(self.where):
            return await self.pool.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        """The first value of the first row, if any."""
        with translated(self.where):
            return await self.pool.fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> None:
        """One statement whose rows do not matter."""
        with translated(self.where):
            await self.pool.execute(query, *args)

    async def executemany(self, query: str, args: Sequence[Sequence[object]]) -> None:
        """One statement for several sets of arguments, in one transaction."""
        with translated(self.where):
            await self.pool.executemany(query, args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction: all of it commits, or nothing."""
        with translated(self.where):
            async with self.pool.acquire() as connection, connection.transaction():
                yield connection

    async def close(self) -> None:
        """Give the connections back; those that hang are cut."""
        try:
            await asyncio.wait_for(self.pool.close(), 1.0)
        except (TimeoutError, *_GONE):
            self.pool.terminate()


async def connect(url: str, schema: str, *, size: int = 8, timeout_s: float = 10.0) -> Database:
    """Open the pool and prove that the database answers.

    `url`: a PostgreSQL URL. Raises DatabaseUnavailable with what to do.
    """
    where = without_secret(url) if "host=/" not in url else "the embedded PostgreSQL"
    # A transaction pooler (Supabase's port 6543, PgBouncer) gives each statement another session: nothing may be prepared
    # across statements there. ycsync keeps no state in a session (no LISTEN, no session locks), so it works through one.
    pooled = _port(url) == 6543 or "pgbouncer=true" in url
    url = url.replace("?pgbouncer=true", "?").replace("&pgbouncer=true", "").removesuffix("?")
    try:
        with translated(where):
            pool = await asyncio.wait_for(
                asyncpg.create_pool(
                    url,
                    min_size=1,
                    max_size=size,
                    command_timeout=COMMAND_TIMEOUT_S,
                    timeout=timeout_s,
                    max_inactive_connection_lifetime=300,
                    statement_cache_size=0 if pooled else 200,
                    server_settings=None if pooled else {"application_name": "ycsync", "jit": "off"},
                ),
                timeout_s,
            )
    except ValueError as exc:
        raise DatabaseUnavailable(f"{where}: this is not a PostgreSQL URL that can be used. Correct database.url.") from exc
    return Database(pool, schema, where)


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None
