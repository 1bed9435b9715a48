"""What do the API client's tests share? A server that answers with bytes, and a limiter that notes what becomes of its leases.

The fixtures `database`, `bench` and `server` are for a test module to import.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from ycsync.api import Api, Attempt, Request, new_session
from ycsync.limiter import Lease, Limiter, Rates
from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate

PARTNER, USER = "synthetic-partner-token", "synthetic-user-token"
PASSWORD = "synthetic-password"
SECRETS = (PARTNER, USER, "Ольга", "79990000011", PASSWORD)
GET = Request("clients", 4001, "/clients/4001", (("page", "1"), ("count", "300")))
ROWS = [{"id": 70001, "name": "Ольга", "phone": "+79990000011"}]
LIMIT = "Превышен лимит запросов, попробуйте повторить запрос через 0 секунд."


def envelope(success: object = True, data: object = None, **meta: object) -> bytes:
    return json.dumps({"success": success, "data": data, "meta": meta or []}, ensure_ascii=False).encode()


OK = envelope(data=ROWS, total_count=1)


def http(body: bytes = OK, status: int = 200, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Raw:
    """A server that answers with the bytes it was given: one answer a request, then the last one again and again."""

    answers: list[bytes | None] = field(default_factory=lambda: [http()])  # None: never
    close_after: bool = False  # each connection ends, unannounced, after its first answer
    close_before: int = 0  # so many requests on a kept connection are answered by closing it
    requests: list[tuple[int, bytes]] = field(default_factory=list)  # (connection, head)
    connections: int = 0
    port: int = 0
    context: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://localhost:{self.port}/api/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection, served = self.connections, 0
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                body = await reader.readexactly(length)
                self.requests.append((connection, head + body))
                if served and self.close_before:
                    self.close_before -= 1
                    break
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    await asyncio.sleep(3600)
                assert answer is not None
                writer.write(answer)
                await writer.drain()
                served += 1
                if self.close_after or b"Connection: close" in answer:
                    break
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Raw]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in asyncio.all_tasks():
                if getattr(task.get_coro(), "__qualname__", "") == "Raw._serve":
                    task.cancel()
            await asyncio.sleep(0.01)


class Noting(Limiter):
    """A limiter that notes what becomes of its leases, and that a test does not wait for."""

    granted = 0
    looks = 0
    late: tuple[int, ...] = ()  # which of the looks at a lease find it ended
    fates: list[str]
    waits: list[float]

    async def acquire(self, company: int, priority: int = 0) -> Lease:
        lease = await super().acquire(company, priority)
        self.granted += 1
        return lease

    def answered(self, lease: Lease) -> None:
        self.fates.append("answered")
        super().answered(lease)

    def unanswered(self, lease: Lease) -> None:
        self.fates.append("unanswered")
        super().unanswered(lease)

    def still_good(self, lease: Lease) -> bool:
        self.looks += 1
        return self.looks not in self.late and super().still_good(lease)

    def unused(self, lease: Lease) -> None:
        self.fates.append("unused")
        super().unused(lease)

    def abandoned(self, lease: Lease) -> None:
        self.fates.append("abandoned")
        super().abandoned(lease)

    async def throttled(self, wait_s: float) -> None:
        self.waits.append(wait_s)


@dataclass(slots=True)
class Bench:
    """A client and its limiter on a real database."""

    database: Database
    limiter: Noting
    session: aiohttp.ClientSession
    attempts: list[Attempt] = field(default_factory=list)
    naps: list[float] = field(default_factory=list)

    def api(self, url: str) -> Api:
        async def nap(seconds: float) -> None:
            self.naps.append(seconds)

        return Api(self.session, url, PARTNER, USER, self.limiter, observe=self.attempts.append, sleep=nap)

    async def held(self) -> int:
        """Leases that nobody gave back."""
        await self.limiter.close()
        return int(
            await self.database.fetchval(
                "select count(*) from yclients.limiter_slots where kind = 60 and owner is not null and free_at > now()"
            )
        )


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await connect(database_url, "yclients", size=4)
    await migrate(database)
    yield database
    await database.close()


@contextlib.asynccontextmanager
async def bench_of(database: Database, *, timeout_s: float = 5.0, ca_file: str | None = None) -> AsyncIterator[Bench]:
    limiter = Noting(database, "yclients", "default", 1, lambda: Rates(500, 500, 0.0), timeout_s=timeout_s)
    limiter.fates, limiter.waits = [], []
    await limiter.prepare(500, 500)
    running = asyncio.create_task(limiter.run())
    async with new_session(timeout_s=timeout_s, ca_file=ca_file) as session:
        yield Bench(database, limiter, session)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await limiter.close()


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    async with bench_of(database) as bench:
        yield bench


@pytest.fixture
async def server() -> AsyncIterator[Raw]:
    async with Raw().listening() as server:
        yield server


def nothing_secret_in(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    said = str(error) + repr(error) + "".join(traceback.format_exception(error)) + caplog.text
    for secret in SECRETS:
        assert secret not in said


# --- what comes of an answer ------------------------------------------------------------------------------------------------
