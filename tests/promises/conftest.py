"""Every promise is tried at debug level, and everything that was said is searched for what is private."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import privacy
from support.place import options, place
from ycsync import logs

__all__ = ["nothing_private", "options", "place", "searched_url"]


@pytest.fixture
def searched_url(request: pytest.FixtureRequest) -> str | None:
    """The database of the test, if it has one."""
    url: str | None = request.getfixturevalue("database_url") if "database_url" in request.fixturenames else None
    return url


@pytest.fixture(autouse=True)
async def nothing_private(
    searched_url: str | None, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> AsyncIterator[None]:
    """Promise 7, in every test of this folder: its output, its files and what the database says of errors."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    logs.configure("debug")
    try:
        yield
    finally:
        logs.configure("info")
    captured = capfd.readouterr()
    for line in captured.out.splitlines():
        if line.startswith("figures: "):  # for the end of the run, see tests/conftest.py
            request.node.user_properties.append(("figures", line))
    said = {"the test's own output": captured.out + captured.err}
    if folder is not None:
        said.update((path.name, path.read_text("utf-8", "replace")) for path in folder.rglob("*log*") if path.is_file())
    if searched_url is not None:
        said.update(await privacy.told_by(searched_url))
    for where, text in said.items():
        found = privacy.private(text)
        assert not found, f"{where} holds {found[:5]}"
