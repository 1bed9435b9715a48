"""What do the golden tests share? The comparison, and one run of the service."""

from __future__ import annotations

import asyncio

import pytest

from golden.compare import Golden, compare
from golden.salon import Run, run_once
from support.databases import new_database


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Golden:
    """golden(NAME, TEXT) fails with a diff unless that file holds TEXT; `--accept` writes it."""
    accept = bool(pytestconfig.getoption("--accept"))

    def check(name: str, text: str) -> None:
        if said := compare(name, text, accept=accept):
            pytest.fail(said, pytrace=False)

    return check


@pytest.fixture(scope="session")
def run(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The one run: who uses it belongs to the group `golden`, so that one worker has it."""

    async def once() -> Run:
        async with new_database(postgres_dsn, "template0") as url:
            return await run_once(tmp_path_factory.mktemp("golden"), url)

    return asyncio.run(once())
