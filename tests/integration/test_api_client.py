"""Does one lease mean one request, whatever the server and the network do, and does nothing secret come out?"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import ssl
import subprocess
import time
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import pytest

from ycsync.api import Api, Attempt, Page, Request, Tally, login, new_session
from ycsync.errors import AccessDenied, ApiError, NotFound, Rejected, Throttled, Transient, YcsyncError
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
    fates: list[str]
    waits: list[float]

    async def acquire(self, company: int, priority: int = 0) -> Lease:
        lease = await super().acquire(company, priority)
        self.granted += 1
        return lease

    def answered(self, lease: Lease) -> None:
        self.fates.append("answered")
        super().answered(lease)

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
    database = await connect(database_url, "yclients", size=3)
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


async def test_a_page_says_when_it_left_what_came_and_how_many_there_are(bench: Bench, server: Raw) -> None:
    before = await bench.database.fetchval("select clock_timestamp()")
    tally = Tally()
    page = await bench.api(server.url).fetch(GET, tally, tries=1)
    assert [json.loads(row) for row in page.rows] == ROWS
    assert page.total == 1
    assert before <= page.observed_at <= await bench.database.fetchval("select clock_timestamp()")
    assert tally == Tally(requests=1)
    assert [(one.endpoint, one.outcome, one.status) for one in bench.attempts] == [("clients", "ok", 200)]
    head = server.requests[0][1].decode()
    assert head.startswith("GET /api/v1/clients/4001?page=1&count=300 HTTP/1.1\r\n")
    assert f"Authorization: Bearer {PARTNER}, User {USER}\r\n" in head
    assert "gzip" in head
    assert await bench.held() == 0


BROKEN: dict[str, bytes] = {
    "empty": http(b""),
    "half a row": http(OK[: len(OK) // 2]),
    "no closing brace": http(OK[:-1]),
    "a page of the proxy, as 200": http(b"<html><h1>502</h1></html>", 200, "Content-Type: text/html"),
    "a page of the proxy": http(b"<html><h1>502 Bad Gateway</h1></html>", 502, "Content-Type: text/html"),
    "a list": http(b"[1]"),
    "null": http(b"null"),
    "a word": http(b'"ok"'),
    "not JSON": http(b"Fatal error: Allowed memory size exhausted"),
    "JSON after a warning": http(b"<br />Warning: x " + OK),
    "success false": http(envelope(False, None, message="Ошибка")),
    "cut by the peer": http(OK, length=len(OK) + 100),
    "gzip that is none": http(OK, 200, "Content-Encoding: gzip"),
    "gzip cut short": http(gzip.compress(OK * 50)[:-20], 200, "Content-Encoding: gzip"),
    "not HTTP": b"220 mail ready\r\n\r\n",
    "503": http(b"", 503),
    "404 of the proxy": http(b"<html>404</html>", 404),
}


@pytest.mark.parametrize("name", list(BROKEN))
async def test_a_broken_answer_is_asked_for_again_and_never_taken_for_an_empty_page(
    bench: Bench, server: Raw, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    broken = BROKEN[name]
    server.close_after = True  # what is cut is cut
    server.answers = [broken, broken, http()]
    tally = Tally()
    page = await bench.api(server.url).fetch(GET, tally, tries=3)
    assert len(page.rows) == 1
    assert tally == Tally(requests=3, retries=2, errors=2)
    assert len(server.requests) == bench.limiter.granted == 3
    server.answers = [broken]
    with pytest.raises(Transient, match="2 times in a row") as caught:
        await bench.api(server.url).fetch(GET, Tally(), tries=2)
    nothing_secret_in(caught.value, caplog)
    assert await bench.held() == 0


async def test_tries_are_counted_and_the_waits_between_them_grow_with_jitter(bench: Bench, server: Raw) -> None:
    server.answers = [http(b"", 500)]
    tally = Tally()
    with pytest.raises(Transient, match="salon 4001, clients: HTTP 500, 4 times in a row"):
        await bench.api(server.url).fetch(GET, tally, tries=4)
    assert tally == Tally(requests=4, retries=3, errors=4)
    assert len(server.requests) == 4
    for wait, ceiling in zip(bench.naps, (0.5, 1.0, 2.0), strict=True):
        assert ceiling / 2 <= wait <= ceiling


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (http(envelope(False, None, message="Необходима авторизация"), 401), AccessDenied, "YCLIENTS_USER_TOKEN"),
        (http(envelope(False, None, message="Partner ID not specified"), 401), AccessDenied, "YCLIENTS_PARTNER_TOKEN"),
        (http(envelope(False, None, message="Необходимо продлить лицензию"), 402), AccessDenied, "Renew"),
        (http(envelope(False, None, message="Недостаточно прав"), 403), AccessDenied, "access to the salon"),
        (http(envelope(False, None, message="Не найдено"), 404), NotFound, "404"),
        (http(b"", 410), NotFound, "410"),
        (http(envelope(False, None, message="Клиент Ольга 79990000011"), 422), Rejected, "422"),
        (http(b"", 302, "Location: http://127.0.0.1:9/elsewhere"), Rejected, "302"),
    ],
)
async def test_a_refusal_is_final_and_says_what_to_do(
    bench: Bench,
    server: Raw,
    caplog: pytest.LogCaptureFixture,
    answer: bytes,
    error: type[YcsyncError],
    says: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [answer]
    with pytest.raises(error, match=says) as caught:
        await bench.api(server.url).fetch(GET, Tally(), tries=5)
    assert len(server.requests) == 1
    nothing_secret_in(caught.value, caplog)
    assert await bench.held() == 0


async def test_a_redirect_takes_no_token_anywhere(bench: Bench, server: Raw) -> None:
    async with Raw().listening() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            server.answers = [http(b"", status, f"Location: {elsewhere.url}/x")]
            with pytest.raises(Rejected):
                await bench.api(server.url).fetch(GET, Tally(), tries=3)
            with pytest.raises(Transient):
                await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter)
        assert elsewhere.connections == 0


async def test_too_many_requests_wait_longer_each_time_and_end_after_a_few(bench: Bench, server: Raw) -> None:
    refusals: list[bytes | None] = [
        http(envelope(False, None, message=LIMIT), 429),
        http(envelope(False, None, message=LIMIT)),
        http(b"", 429, "Retry-After: 7"),
        http(envelope(False, None, message="Request limit exceeded. Try again in 9 seconds"), 200),
    ]
    server.answers = [*refusals, http()]
    tally = Tally()
    page = await bench.api(server.url).fetch(GET, tally, tries=1)
    assert len(page.rows) == 1
    assert tally == Tally(requests=5, retries=4, throttled=4)
    assert bench.limiter.waits == [2.0 * 1.5, 2.0 * 2, 7.0 * 2.5, 9.0 * 3]
    server.answers = refusals[:1]
    with pytest.raises(Throttled) as caught:
        await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert caught.value.wait_s == 2.0
    assert len(server.requests) - 5 <= 10
    assert await bench.held() == 0


# --- sizes and encodings ----------------------------------------------------------------------------------------------------


async def test_twenty_megabytes_are_read_gzipped_or_not_and_more_than_sixty_four_are_refused(bench: Bench, server: Raw) -> None:
    row = {"id": 1, "comment": "я" * 1000}
    big = envelope(data=[row] * 10_000)
    assert len(big) > 20_000_000
    for answer in (http(big), http(gzip.compress(big, 1), 200, "Content-Encoding: gzip")):
        server.answers = [answer]
        assert len((await bench.api(server.url).fetch(GET, Tally(), tries=1)).rows) == 10_000
    bomb = gzip.compress(b'{"success":true,"data":["' + b" " * (65 * 1024 * 1024) + b'"]}', 9)
    assert len(bomb) < 1_000_000
    server.answers = [http(bomb, 200, "Content-Encoding: gzip")]
    with pytest.raises(Transient):
        await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert await bench.held() == 0


# --- one lease, one request -------------------------------------------------------------------------------------------------


async def test_a_dead_kept_alive_connection_costs_exactly_one_request_a_lease(bench: Bench, server: Raw) -> None:
    api = bench.api(server.url)
    await api.fetch(GET, Tally(), tries=1)
    for _ in range(5):
        server.close_before = 1
        had, leases = len(server.requests), bench.limiter.granted
        with pytest.raises(Transient, match="cut off"):
            await api.fetch(GET, Tally(), tries=1)
        assert len(server.requests) - had == bench.limiter.granted - leases == 1
        await api.fetch(GET, Tally(), tries=2)
    assert len(server.requests) == bench.limiter.granted
    assert await bench.held() == 0


async def test_connections_are_kept_and_used_again(bench: Bench, server: Raw) -> None:
    for _ in range(5):
        await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert server.connections == 1


async def test_a_time_out_leaves_the_lease_for_the_request_may_still_arrive(database: Database) -> None:
    async with bench_of(database, timeout_s=0.2) as bench, Raw().listening() as server:
        server.answers = [None]
        with pytest.raises(Transient, match="no answer in time"):
            await bench.api(server.url).fetch(GET, Tally(), tries=1)
        assert await bench.held() == 1
        with pytest.raises(Transient, match="no answer in time"):
            await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter)
        assert await bench.held() == 2
        assert bench.limiter.fates == []


async def test_an_answer_that_stops_half_way_times_out(database: Database) -> None:
    async with bench_of(database, timeout_s=0.3) as bench, Raw().listening() as server:
        server.answers = [http(OK, length=len(OK) + 10)]
        begun = time.monotonic()
        with pytest.raises(Transient, match="no answer in time"):
            await bench.api(server.url).fetch(GET, Tally(), tries=1)
        assert time.monotonic() - begun < 1.5
        assert await bench.held() == 0, "the server has begun to answer, so it has counted"


async def test_a_refused_connection_gives_the_lease_back(bench: Bench) -> None:
    async with Raw().listening() as gone:
        url = gone.url
    with pytest.raises(Transient, match="no connection"):
        await bench.api(url).fetch(GET, Tally(), tries=2)
    with pytest.raises(Transient, match="no connection"):
        await login(bench.session, url, PARTNER, "user", PASSWORD, bench.limiter)
    assert bench.limiter.fates == ["answered"] * 3
    assert await bench.held() == 0


@pytest.mark.parametrize("which", ["page", "login"])
async def test_a_cancelled_request_gives_the_lease_back_as_abandoned(bench: Bench, server: Raw, which: str) -> None:
    server.answers = [None]
    if which == "page":
        task: asyncio.Task[object] = asyncio.create_task(bench.api(server.url).fetch(GET, Tally(), tries=3))
    else:
        task = asyncio.create_task(login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter))
    while not server.requests:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.limiter.fates == ["abandoned"]
    assert await bench.held() == 0


# --- who is spoken to -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


async def test_a_certificate_that_is_not_trusted_is_said_clearly_and_a_ca_file_trusts_it(
    database: Database, certificate: tuple[Path, Path]
) -> None:
    key, cert = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with Raw(context=context).listening() as server:
        async with bench_of(database) as bench:
            with pytest.raises(Transient, match=r"certificate is not trusted .*yclients\.ca_file"):
                await bench.api(server.url).fetch(GET, Tally(), tries=1)
            with pytest.raises(Transient, match=r"certificate is not trusted .*yclients\.ca_file"):
                await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter)
        assert server.requests == []
        async with bench_of(database, ca_file=str(cert)) as bench:
            assert (await bench.api(server.url).fetch(GET, Tally(), tries=1)).total == 1
            wrong_name = server.url.replace("localhost", "127.0.0.1")
            with pytest.raises(Transient, match="certificate is not trusted"):
                await bench.api(wrong_name).fetch(GET, Tally(), tries=1)


async def test_a_server_without_tls_is_not_called_an_untrusted_certificate(bench: Bench) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(http(b"speak HTTP", 400))
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Transient, match="base_url") as caught:
            await bench.api(f"https://localhost:{port}").fetch(GET, Tally(), tries=1)
        assert "trusted" not in str(caught.value)


async def test_a_ca_file_that_is_not_there_or_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("not a certificate")
    for name in ("absent.pem", "none.pem"):
        with pytest.raises(ApiError, match=r"yclients\.ca_file"):
            new_session(timeout_s=1, ca_file=str(tmp_path / name))


async def test_proxies_and_passwords_of_the_environment_are_ignored(
    database: Database, server: Raw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with bench_of(database) as bench:
        assert (await bench.api(server.url).fetch(GET, Tally(), tries=1)).total == 1
    assert b"Authorization: Bearer" in server.requests[0][1]


async def test_cookies_are_not_kept(bench: Bench, server: Raw) -> None:
    server.answers = [http(OK, 200, "Set-Cookie: session=1; Path=/")]
    for _ in range(2):
        await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert b"cookie" not in server.requests[1][1].lower()


# --- clocks -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_s", [-3600, 0, 3600])
async def test_the_watermark_is_the_earlier_of_the_two_clocks(bench: Bench, server: Raw, skew_s: int) -> None:
    said = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=skew_s)
    server.answers = [http(OK, 200, f"Date: {format_datetime(said, usegmt=True)}")]
    page = await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert page.server_time == said
    assert page.watermark == min(page.observed_at, said)


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Xyz 2025 99:99:99 GMT", "Thu, 09 Oct 2025 08:00:00 +999999999"])
async def test_a_date_that_is_none_is_no_date(bench: Bench, server: Raw, date: str) -> None:
    server.answers = [http(OK, 200, f"Date: {date}")]
    page: Page = await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert page.server_time is None
    assert page.watermark == page.observed_at


# --- signing in -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (http(envelope(False, None, message="Неверный пароль"), 401), AccessDenied, "YCLIENTS_PASSWORD"),
        (http(envelope(data={"uuid": "1", "flow": "sms"})), AccessDenied, "two-factor"),
        (http(b"<html>", 502), Transient, "502"),
        (http(envelope(False, None, message=LIMIT), 429), Throttled, "too many requests"),
        (http(envelope(False, None, message=LIMIT)), Throttled, "too many requests"),
        (http(b"", 200), Transient, "200"),
    ],
)
async def test_a_failed_sign_in_says_why(
    bench: Bench,
    server: Raw,
    caplog: pytest.LogCaptureFixture,
    answer: bytes,
    error: type[YcsyncError],
    says: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [answer]
    with pytest.raises(error, match=says) as caught:
        await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter)
    nothing_secret_in(caught.value, caplog)
    assert bool(bench.limiter.waits) == (error is Throttled)
    assert len(server.requests) == 1
    assert await bench.held() == 0


async def test_a_sign_in_gives_the_token(bench: Bench, server: Raw) -> None:
    server.answers = [http(envelope(data={"id": 1, "user_token": USER}), 201)]
    assert await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter) == USER
    assert await bench.held() == 0
