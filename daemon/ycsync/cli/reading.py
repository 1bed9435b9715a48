"""How does a command read a database that may not be there, without making one?"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ycsync.config import Loaded
from ycsync.errors import DatabaseUnavailable
from ycsync.service.runtime import open_database
from ycsync.store.database import Database
from ycsync.store.embedded import default_root, exists


@asynccontextmanager
async def reading(loaded: Loaded, *, size: int = 2) -> AsyncIterator[Database]:
    """The database as it is: nothing is made and nothing migrated. Raises DatabaseUnavailable or DatabaseError."""
    if loaded.database_url == "embedded":
        # `open_database` would make an empty server, which is no answer to a question about data.
        root = default_root(os.environ)
        if not exists(root):
            raise DatabaseUnavailable(
                f"{root}: there is no embedded database yet. Start the service or run `ycsync sync`; "
                "if the service runs as another user, run this command as that user or as root."
            )
    async with open_database(loaded, size=size) as database:
        yield database
