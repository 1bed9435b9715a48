"""Erasures taken over from a private database: which of the two databases is blamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from ycsync.errors import DatabaseError, DatabaseUnavailable
from ycsync.service import private

DOWN = DatabaseUnavailable("postgresql://new: the connection was closed")


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(private, "private_root", lambda _loaded: tmp_path)


def beside(monkeypatch: pytest.MonkeyPatch, *, opens: bool) -> None:
    @asynccontextmanager
    async def found(_loaded: Any, *, migrating: bool) -> AsyncIterator[private.Private]:
        if not opens:
            raise DOWN
        yield private.Private(*cast(Any, (None, None, None, False)))

    monkeypatch.setattr(private, "private_beside", found)


async def test_an_outage_while_erasures_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def carry(*_: object) -> None:
        raise DOWN

    beside(monkeypatch, opens=True)
    monkeypatch.setattr(private, "carry", carry)
    with pytest.raises(DatabaseUnavailable, match="new"):
        await private._take_over(cast(Any, None), cast(Any, None))


async def test_a_private_database_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    beside(monkeypatch, opens=False)
    with pytest.raises(DatabaseError, match="cannot be opened"):
        await private._take_over(cast(Any, None), cast(Any, None))
