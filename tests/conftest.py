"""What do tests share? An environment of their own, and an empty database each."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest

from support.databases import new_database
from support.memory import server_folder
from ycsync.logs import rate
from ycsync.store.database import connect
from ycsync.store.embedded import EmbeddedPostgres
from ycsync.store.migrate import migrate

# Files whose tests take longest: who starts last must not be waited for alone. Groups of tests go before all single ones.
LONGEST = ("test_stop_anywhere.py", "test_stop_service.py", "test_service.py", "test_database_failover.py")
_FOREIGN = ("YCSYNC_", "YCLIENTS_", "XDG_")
_SYSTEMD = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC")


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try: `seed` begins every random choice; `of(quick, soak)` is the number for this run."""

    soak: bool
    seed: int

    def of(self, quick: int, soak: int) -> int:
        """`quick` in the normal suite, `soak` with `./deploy/test --soak`."""
        return soak if self.soak else quick


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options of a long run, and the one of the golden files."""
    parser.addoption("--soak", action="store_true", help="try the promises for about an hour, with seeds of their own")
    parser.addoption("--seed", type=int, default=None, help="begin with this seed (a soak prints the one it took)")
    parser.addoption("--accept", action="store_true", help="write the golden files of tests/golden as the program is now")


def pytest_configure(config: pytest.Config) -> None:
    """One seed for all processes of a run."""
    # Whoever set it for a shell of their own must not have each of hundreds of commands compile all of ycsync anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Started in the background of a shell, or to outlive it; what the tests start must hear its signals all the same.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is not None:
        config.option.seed = given["seed"]
    elif config.getoption("--seed") is None:
        config.option.seed = random.SystemRandom().randrange(1, 1_000_000) if config.getoption("--soak") else 1
    hypothesis.settings.register_profile("quick", derandomize=True, deadline=None, database=None)
    hypothesis.settings.register_profile("soak", deadline=None, database=None, print_blob=True)
    hypothesis.settings.load_profile("soak" if config.getoption("--soak") else "quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; else the order stays."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """What was drawn goes to the worker processes."""
    node.workerinput["seed"] = node.config.getoption("--seed")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the tests measured: the lines that begin with "figures: "."""
    found: dict[str, None] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for line in getattr(report, "capstdout", "").splitlines():
                if line.startswith("figures: "):
                    found[line] = None
            found |= {line: None for name, line in getattr(report, "user_properties", ()) if name == "figures"}
    if found:
        terminalreporter.section("what was measured")
        for line in found:
            terminalreporter.write_line(line.removeprefix("figures: "))


def pytest_report_header(config: pytest.Config) -> str:
    """So that a run can be repeated."""
    return f"{'soak' if config.getoption('--soak') else 'quick'}, seed {config.getoption('--seed')} (--seed repeats it)"


@pytest.fixture(scope="session")
def effort(pytestconfig: pytest.Config) -> Effort:
    """How hard to try."""
    return Effort(pytestconfig.getoption("--soak"), pytestconfig.getoption("--seed"))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the tokens, database or service of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name in _SYSTEMD:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _own_count_of_lines() -> None:
    """What other tests said leaves out no line of this one."""
    rate.reset()


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """The DSN of a server with superuser rights: one a worker, or the one of YCSYNC_TEST_DATABASE_URL."""
    if given := os.environ.get("YCSYNC_TEST_DATABASE_URL"):
        yield given
        return
    folder = server_folder()
    server = EmbeddedPostgres(folder, durable=False)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def migrated(postgres_dsn: str) -> Iterator[str]:
    """The name of a database in which every migration ran: a copy of it takes a sixth of the time."""
    loop = asyncio.new_event_loop()
    made = new_database(postgres_dsn, "template0")

    async def begin() -> str:
        url = await made.__aenter__()
        database = await connect(url, "yclients", size=1)
        await migrate(database)
        await database.close()
        return urlsplit(url).path[1:]

    yield loop.run_until_complete(begin())
    loop.run_until_complete(made.__aexit__(None, None, None))
    loop.close()


@pytest.fixture
async def database_url(postgres_dsn: str, migrated: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The DSN of a database that is this test's alone: with the schema `yclients`; marked `empty`: without it."""
    empty = request.node.get_closest_marker("empty") is not None
    async with new_database(postgres_dsn, "template0" if empty else migrated) as url:
        yield url
