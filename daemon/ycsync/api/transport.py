"""How does one request go over the wire under its lease, and what came of it?

aiohttp with kept-alive connections, gzip, verified TLS and a time-out on everything. Whatever happens to a request, its lease
is given back in the way that keeps the server's count right.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ycsync.api.leaving import family_of
from ycsync.api.outcome import Outcome, classify, http_date
from ycsync.errors import ApiError
from ycsync.limiter import ASKED, RELAX_S, Lease, Limiter
from ycsync.model import Envelope, MalformedBody, decode_envelope
from ycsync.ratelimit import read_rate_headers

ALTEGIO_HOST = "alteg.io"  # the international brand of the same API
MAX_BODY = 64 * 1024 * 1024
# What was not acknowledged for so long is given up by the kernel. Else it would go on sending a request whose connection we
# left long ago, and deliver it when a cut network is back: more than RELAX_S after it was counted.
UNDELIVERED_S = RELAX_S - 1.0
_GIVEN_UP = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. `granted_at`: before it left. `status` 0: no answer at all."""

    outcome: Outcome
    granted_at: datetime
    status: int = 0
    envelope: Envelope | None = None
    server_time: datetime | None = None
    timed_out: bool = False
    unreached: bool = False  # it did not get as far as the server
    too_large: bool = False  # it would be again
    seconds: float = 0.0  # from sending to the answer's end

    @property
    def message(self) -> str | None:
        """The API's own words, for classifying only."""
        return None if self.envelope is None else self.envelope.message


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request as it went, for metrics: `outcome` is outcome.Kind, `seconds` from sending to the answer's end."""

    endpoint: str
    outcome: str
    status: int
    seconds: float


class _TooLarge(Exception):
    """The body is larger than MAX_BODY."""


class _TooLate(Exception):
    """The lease ended before the request could leave: the process was frozen, or the connection took that long."""


class _Departure:
    """The moment when a request leaves on its connection: the last at which its lease can be looked at."""

    def __init__(self, limiter: Limiter, lease: Lease) -> None:
        self._limiter = limiter
        self._lease = lease
        self._timer: asyncio.TimerHandle | None = None

    def leave(self) -> None:
        if not self._limiter.still_good(self._lease):
            raise _TooLate
        self._timer = asyncio.get_running_loop().call_later(RELAX_S, self._limiter.unanswered, self._lease)

    def over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


_departure: ContextVar[_Departure | None] = ContextVar("departure", default=None)


class _Connector(aiohttp.TCPConnector):
    """Tells a request's departure when it has its connection: what follows is written at once."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109  # aiohttp's signature
        connection = await super().connect(req, traces, timeout)
        if (departure := _departure.get()) is not None:
            try:
                _bound(connection)
                departure.leave()
            except _TooLate:
                connection.release()
                raise
        return connection


def _bound(connection: Any) -> None:
    """Nothing that is sent on it is on its way for longer than UNDELIVERED_S."""
    found = None if connection.transport is None else connection.transport.get_extra_info("socket")
    if found is not None and sys.platform == "linux":
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNDELIVERED_S * 1000))


def accept_of(base_url: str) -> str:
    """Return the media type that the API behind `base_url` is asked for: Altegio's on its host, else YCLIENTS' own."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    altegio = host == ALTEGIO_HOST or host.endswith(f".{ALTEGIO_HOST}")
    return "application/vnd.api.v2+json" if altegio else "application/vnd.yclients.v2+json"


async def send(
    session: aiohttp.ClientSession,
    limiter: Limiter,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    company: int = 0,
    priority: int = ASKED,
    params: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    granted: Callable[[], None] = lambda: None,
) -> Answer:
    """Wait for a lease, send one request and read its answer.

    Failures of the network are outcomes too; raised are only cancellation and the limiter's DatabaseError. `granted` is called
    when the request may leave.
    """
    while True:
        lease = await limiter.acquire(company, priority)
        granted()
        begun = time.perf_counter()
        departure = _Departure(limiter, lease)
        token = _departure.set(departure)
        try:
            asked = session.request(method, url, params=list(params), data=body, headers=headers, allow_redirects=False)
            answer = await _answer(limiter, lease, asked)
            return replace(answer, seconds=time.perf_counter() - begun)
        except _TooLate:
            limiter.unused(lease)
        finally:
            departure.over()
            _departure.reset(token)


async def _answer(limiter: Limiter, lease: Lease, asked: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> Answer:
    at, status = lease.granted_at, 0
    try:
        async with asked as response:
            status = response.status
            # The server has counted the request: from here one window is long enough.
            limiter.answered(lease)
            server_time = http_date(response.headers.get("Date"))
            rate = read_rate_headers(response.headers, server_time)
            limiter.heard(lease, rate)
            envelope = _decode(await _read(response))
            message, success = (None, None) if envelope is None else (envelope.message, envelope.success)
            retry_after = response.headers.get("Retry-After")
            outcome = classify(status, message, success, retry_after, server_time or datetime.now(UTC), rate)
            return Answer(outcome, at, status, envelope, server_time)
    except asyncio.CancelledError:
        limiter.abandoned(lease)
        raise
    except TimeoutError as exc:
        # It may still arrive: the lease goes on until nothing can.
        unreached = isinstance(exc, aiohttp.ConnectionTimeoutError)
        return Answer(Outcome("transient", "no answer in time", heavy=True), at, status, timed_out=True, unreached=unreached)
    except aiohttp.ClientConnectorError as exc:
        limiter.answered(lease)
        return Answer(Outcome("transient", _connection_failed(exc)), at, status, unreached=True)
    except _TooLarge:
        limiter.answered(lease)
        return Answer(Outcome("transient", "the answer is too large", heavy=True), at, status, too_large=True)
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        unreached = not status and isinstance(exc, OSError) and exc.errno in _GIVEN_UP
        if unreached:
            limiter.abandoned(lease)  # our own kernel's word: the last copy may be on its way still
        else:
            # The server's side closed the connection: nothing more of it arrives there.
            limiter.answered(lease)
        cut = Outcome("transient", f"the answer was cut off ({type(exc).__name__})", heavy=status != 0)
        return Answer(cut, at, status, unreached=unreached)


def new_session(
    *, timeout_s: float, ca_file: str | None = None, local_address: str | None = None, connections: int = 256
) -> aiohttp.ClientSession:
    """A session with kept-alive, verified, timed-out connections. Raises ApiError when the CA bundle cannot be read.

    The limiter says how many requests are under way: one that waited for a connection would be taken for one that hangs.
    `local_address`: of this machine, to leave by; the server's addresses of the other family are then not asked.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise ApiError(f"yclients.ca_file: the CA bundle cannot be read ({type(exc).__name__}).") from exc
    session = aiohttp.ClientSession(
        connector=_Connector(
            limit=connections,
            ssl=context,
            keepalive_timeout=75,
            ttl_dns_cache=300,
            family=socket.AF_UNSPEC if local_address is None else family_of(local_address),
            local_addr=None if local_address is None else (local_address, 0),
        ),
        timeout=aiohttp.ClientTimeout(total=timeout_s, connect=min(10.0, timeout_s)),
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=16384,
        max_field_size=16384,
        trust_env=False,
    )
    # aiohttp sends a GET again by itself when a kept-alive connection turns out dead. That request would leave without a
    # lease, so it is switched off (a private name; a test against a real server holds it).
    session._retry_connection = False
    return session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(256 * 1024):
        size += len(chunk)
        if size > MAX_BODY:
            raise _TooLarge
        chunks.append(chunk)
    return b"".join(chunks)


def _decode(body: bytes) -> Envelope | None:
    try:
        return decode_envelope(body)
    except MalformedBody:
        return None


def _connection_failed(exc: aiohttp.ClientConnectorError) -> str:
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return "the server's certificate is not trusted (yclients.ca_file names a CA bundle)"
    if isinstance(exc, aiohttp.ClientSSLError):
        return "the server does not speak TLS as it should. Is yclients.base_url right?"
    if exc.os_error.errno == errno.EADDRNOTAVAIL:
        return "no address to leave by: yclients.local_address must be one of this machine's (`ip -brief address` lists them)"
    return f"no connection to YCLIENTS ({type(exc.os_error).__name__})"
