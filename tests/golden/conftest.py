"""Fixtures of the golden tests: the comparison, and one run of the service."""

from __future__ import annotations

import asyncio

import pytest

from golden.compare import Golden, compare
from golden.salon import Run, run_once
from support.databases import new_database


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Golden:
    """Return golden(NAME, TEXT): fail with a diff unless the file holds TEXT, or rewrite it."""
    accept = bool(pytestconfig.getoption("--accept"))

    def check(name: str, text: str) -> None:
        if said := compare(name, text, accept=accept):
            pytest.fail(said, pytrace=False)

    return check


@pytest.fixture(scope="session")
def run(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the run. Its tests are in the xdist group `golden`, so that it is made once."""

    async def once() -> Run:
        async with new_database(postgres_dsn, "template0") as url:
            return await run_once(tmp_path_factory.mktemp("golden"), url)

    return asyncio.run(once())
