"""What do tests share? An environment of their own, and an empty database each."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from ycsync.store.embedded import EmbeddedPostgres

_FOREIGN = ("YCSYNC_", "YCLIENTS_", "XDG_")
_SYSTEMD = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the tokens, database or service of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name in _SYSTEMD:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """The DSN of a server with superuser rights: one a worker, or the one of YCSYNC_TEST_DATABASE_URL."""
    if given := os.environ.get("YCSYNC_TEST_DATABASE_URL"):
        yield given
        return
    # Not pytest's own folder: the path of a socket is short.
    folder = Path(tempfile.mkdtemp(prefix="ycsync-test-"))
    server = EmbeddedPostgres(folder, durable=False)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
async def database_url(postgres_dsn: str) -> AsyncIterator[str]:
    """The DSN of an empty database that is this test's alone."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres_dsn)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()
