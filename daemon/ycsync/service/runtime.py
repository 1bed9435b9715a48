"""What must stand before any command can work: settings, the private PostgreSQL if there is one, a migrated schema."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ycsync.config import Loaded
from ycsync.errors import DatabaseError
from ycsync.logs import DATABASE_EMBEDDED, emit, get_logger
from ycsync.service.private import migrate_database
from ycsync.store.database import Database, connect
from ycsync.store.embedded import EmbeddedPostgres, default_root
from ycsync.store.migrate import is_current

_log = get_logger(__name__)


class Server:
    """The private PostgreSQL of `database.url: embedded`; with any other URL there is nothing to do."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._embedded = EmbeddedPostgres(default_root(os.environ)) if url == "embedded" else None

    def start(self) -> str:
        """The URL to connect to; blocks until the server answers, about 0.2 s."""
        if self._embedded is None:
            return self._url
        url = self._embedded.start()
        emit(_log, DATABASE_EMBEDDED, state="running" if self._embedded.owner else "shared")
        return url

    def stop(self) -> None:
        """Stop the server if this process started it."""
        if self._embedded is not None:
            self._embedded.stop()


@asynccontextmanager
async def open_database(loaded: Loaded, *, migrating: bool = False, size: int = 8) -> AsyncIterator[Database]:
    """The database of the settings, for one command.

    `migrating`: bring the schema up to date first; else it must be. Raises DatabaseUnavailable, ForeignSchema or DatabaseError.
    """
    server = Server(loaded.database_url)
    url = server.start()
    try:
        database = await connect(url, loaded.settings.database.schema_name, size=size, url_from=loaded.database_url_from)
        try:
            if migrating:
                await migrate_database(loaded, database)
            elif not await is_current(database):
                raise DatabaseError(
                    f"{database.where}: schema {database.schema} is not there yet or not up to date. "
                    "Run `ycsync db migrate`, or start the service: it does so itself."
                )
            yield database
        finally:
            await database.close()
    finally:
        server.stop()
