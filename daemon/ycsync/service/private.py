"""The private PostgreSQL that is left behind when the settings name another database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ycsync.config import Loaded
from ycsync.errors import DatabaseError, YcsyncError
from ycsync.logs import DATABASE_LEFT_BEHIND, DATABASE_MIGRATED, emit, get_logger
from ycsync.store.database import Database, connect
from ycsync.store.embedded import EmbeddedPostgres, default_root
from ycsync.store.migrate import migrate
from ycsync.store.move import Contents, carry, contents, schema_made, unread

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Private:
    """The private server with what it holds; `shared`: another process runs it."""

    database: Database
    holds: Contents
    folder: Path
    shared: bool


@asynccontextmanager
async def private_beside(loaded: Loaded, *, migrating: bool) -> AsyncIterator[Private | None]:
    """Open the private PostgreSQL of this user if the settings name another database; None: there is none with rows.

    `migrating`: bring its schema up to date. Raises DatabaseUnavailable or DatabaseError when it is there and cannot be opened.
    """
    root = private_root(loaded)
    if root is None:
        yield None
        return
    server = EmbeddedPostgres(root)
    try:
        url, wanted = server.start(), loaded.settings.database.schema_name
        database = await connect(url, wanted, size=2)
        try:
            schema = await schema_made(database)
            if schema not in (None, wanted):  # the settings gave the new database's schema another name
                await database.close()
                database = await connect(url, schema, size=2)
            yield None if schema is None else await _private(database, server, migrating)
        finally:
            await database.close()
    finally:
        server.stop()


async def _private(database: Database, server: EmbeddedPostgres, migrating: bool) -> Private | None:
    if migrating:
        await migrate(database)
    holds = await contents(database)
    return Private(database, holds, server.root, not server.owner) if holds else None


def private_root(loaded: Loaded) -> Path | None:
    """Return the folder of a private PostgreSQL that this user has made and the settings do not name."""
    if loaded.database_url == "embedded":
        return None
    try:
        root = default_root(os.environ)
        return root if (root / "data").exists() else None
    except (KeyError, PermissionError):  # a user without a home, or with a home of somebody else's, has made none
        return None


async def migrate_database(loaded: Loaded, database: Database) -> tuple[int, ...]:
    """Bring the schema up to date; returns the versions that ran.

    Before anything is read into an empty database, the erasures and pauses of a private one that is left behind are taken over:
    YCLIENTS still has who was erased there. Raises DatabaseUnavailable or DatabaseError.
    """
    ran = await migrate(database)
    if ran:
        emit(_log, DATABASE_MIGRATED, version=ran[-1], applied=len(ran))
    if await unread(database):
        await _take_over(loaded, database)
    return ran


async def _take_over(loaded: Loaded, database: Database) -> None:
    """Without the erasures nothing may be read: a private database that cannot be opened is said, and ends the start."""
    async with AsyncExitStack() as stack:
        try:
            private = await stack.enter_async_context(private_beside(loaded, migrating=True))
        except YcsyncError as error:
            raise DatabaseError(
                f"the private database in {private_root(loaded)}, which the settings name no more, may hold erasures and "
                "cannot be opened. Mend it, so that nobody who was erased is read again. If nobody was, move that folder away "
                f"and start again. It says: {error}"
            ) from error
        if private is not None:  # an outage of the new database is no fault of the private one
            await carry(private.database, database)
            emit(_log, DATABASE_LEFT_BEHIND, folder=str(private.folder), holds=private.holds.says())


async def left_behind(loaded: Loaded) -> tuple[str, str] | None:
    """Return what the doctor says of a private database that is left behind, and the remedy."""
    try:
        async with private_beside(loaded, migrating=False) as private:
            if private is None:
                return None
            says = f"a private PostgreSQL with {private.holds.says()} is still in {private.folder}"
            return says, "Stop the service, then `ycsync db move`: it takes over what it may and offers to remove it."
    except YcsyncError as error:
        return f"a private PostgreSQL is still there and cannot be opened: {error}", f"Look into {private_root(loaded)}."
