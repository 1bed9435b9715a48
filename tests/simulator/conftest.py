"""What do the simulator's tests share: a clock that stands still, and a client that reads JSON?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from ycsync.simulator import Options, Simulator

HEADER = {"Authorization": "Bearer partner, User user"}


@dataclass(slots=True)
class Clock:
    """Wall and monotonic clock in one; moves only when told to. It starts at 2025-10-09 08:53:20 UTC."""

    now: float = 1_760_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Api:
    """A simulator and a client of it."""

    sim: Simulator
    clock: Clock
    session: aiohttp.ClientSession
    header: dict[str, str] = field(default_factory=lambda: dict(HEADER))

    async def call(self, method: str, path: str, json: Any = None, params: Any = None) -> tuple[int, dict[str, Any]]:
        url = self.sim.url + path
        async with self.session.request(method, url, json=json, params=params, headers=self.header) as answer:
            return answer.status, await answer.json(content_type=None)

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        status, body = await self.call("GET", path, params=params)
        assert status == 200, body
        return body

    async def rows(self, path: str, **params: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.get(path, **params))["data"]
        return rows

    async def everything(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All pages, read one after the other."""
        found: list[dict[str, Any]] = []
        page = 1
        while rows := await self.rows(path, page=page, **params):
            found += rows
            page += 1
        return found


async def until(condition: Callable[[], object]) -> None:
    """Lets the server run until something is so."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """serve(**options) starts a simulator without limits whose lists need no dates, unless the options name some."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def start(**options: Any) -> Api:
            clock = Clock()
            chosen = Options(**{"per_second": 0, "per_minute": 0, "undated": "all", **options})
            sim = await stack.enter_async_context(Simulator(chosen, clock=clock))
            return Api(sim, clock, session)

        yield start
