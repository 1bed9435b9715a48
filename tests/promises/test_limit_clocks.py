"""What does the server count when clocks jump: the process's, or the database's? (Debian's libfaketime moves them.)"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from limitlog import Server, densest, end, fresh_database, ready, spawn
from support.memory import server_folder
from ycsync.store.embedded import EmbeddedPostgres

pytestmark = pytest.mark.faketime
LIBRARY = "faketime/libfaketimeMT.so.1"


class Wrong:
    """A clock of processes that are started with `environ`: right, until `by` says otherwise."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.by(0)
        found = sorted(Path("/usr/lib").glob(f"*/{LIBRARY}"))
        assert found, "the package libfaketime is missing (deploy/test leaves these tests out without it)"
        self.environ = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
            # What counts on through everything is not what a wrong date is about.
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def by(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", "ascii")
        new.chmod(0o644)
        new.replace(self._file)


@pytest.fixture
def wrong() -> Iterator[Wrong]:
    folder = Path(tempfile.mkdtemp(prefix="ycsync-test-"))
    folder.chmod(0o755)  # the database's user reads it too
    yield Wrong(folder)
    shutil.rmtree(folder)


@pytest.fixture
def moved_dsn(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A PostgreSQL whose clock can be moved."""
    folder = server_folder()
    server = EmbeddedPostgres(folder, durable=False)
    with monkeypatch.context() as only_there:
        for name, value in wrong.environ.items():
            only_there.setenv(name, value)
        dsn = server.start()
    try:
        yield dsn
    finally:
        server.stop()
        shutil.rmtree(folder)


async def count(dsn: str, server: Server, environ: dict[str, str], jumps: list[tuple[float, int]], wrong: Wrong) -> None:
    """Two processes send as much as they may, and at some seconds after their start a clock is wrong by so many."""
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(dsn))
        await stack.enter_async_context(server.listening())
        for number in range(2):
            worker = spawn(
                url, server.url, str(number), server.per_second, server.per_minute, 6, timeout_s=1.0, environ=environ
            )
            stack.callback(end, worker)
            await ready(worker)
        begun = time.monotonic()
        for at, seconds in jumps:
            await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
            wrong.by(seconds)


async def test_a_process_whose_clock_jumps_sends_no_more_and_no_less(postgres_dsn: str, wrong: Wrong) -> None:
    server = Server((0.0, 0.05), (0.0, 0.05), per_second=5, per_minute=1000)
    await count(postgres_dsn, server, wrong.environ, [(1.0, 3600), (2.2, -7200), (3.4, 30), (4.6, 0), (6.0, 0)], wrong)
    assert densest(server.arrivals, 1.0) <= 5
    assert server.refused == 0
    assert len(server.arrivals) >= 0.85 * 5 / 1.1 * 6


async def test_a_database_whose_clock_jumps_does_not_shorten_a_window(moved_dsn: str, wrong: Wrong) -> None:
    server = Server((0.0, 0.05), (0.0, 0.05), per_second=5, per_minute=40)
    await count(moved_dsn, server, {}, [(2.0, 90), (9.0, 92), (13.0, 92)], wrong)
    assert densest(server.arrivals, 60.0) <= 40
    assert densest(server.arrivals, 1.0) <= 5
    assert server.refused == 0


async def test_a_database_whose_clock_is_put_back_an_hour_does_not_stop_the_work(moved_dsn: str, wrong: Wrong) -> None:
    server = Server((0.0, 0.05), (0.0, 0.05), per_second=5, per_minute=1000)
    await count(moved_dsn, server, {}, [(2.0, -3600), (13.0, -3600)], wrong)
    assert densest(server.arrivals, 1.0) <= 5
    assert server.refused == 0
    # A second's slots are held for one lease (6 s) and a second more at most.
    assert sum(1 for at in server.arrivals if at > max(server.arrivals) - 3) >= 10
