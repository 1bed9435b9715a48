"""How does one request go over the wire under its lease, and what came of it?

aiohttp with kept-alive connections, gzip, verified TLS and a time-out on everything. Whatever happens to a request, its lease
is given back in the way that keeps the server's count right.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from ycsync.api.outcome import Outcome, classify, http_date
from ycsync.errors import ApiError
from ycsync.limiter import Lease, Limiter
from ycsync.model import Envelope, MalformedBody, decode_envelope

ACCEPT = "application/vnd.yclients.v2+json"
MAX_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. `status` 0: no answer at all; `message`: the API's own words, for classifying only."""

    outcome: Outcome
    status: int = 0
    envelope: Envelope | None = None
    server_time: datetime | None = None
    timed_out: bool = False

    @property
    def message(self) -> str | None:
        """What the API said about it, if anything."""
        return None if self.envelope is None else self.envelope.message


async def send(
    session: aiohttp.ClientSession,
    limiter: Limiter,
    lease: Lease,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    params: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
) -> Answer:
    """Send one request and read its answer. Failures of the network are outcomes too; only cancellation is raised."""
    status = 0
    try:
        async with session.request(
            method, url, params=list(params), data=body, headers=headers, allow_redirects=False
        ) as response:
            status = response.status
            # The server has counted the request: from here one window is long enough.
            limiter.answered(lease)
            envelope = _decode(await _read(response))
            server_time = http_date(response.headers.get("Date"))
            message, success = (None, None) if envelope is None else (envelope.message, envelope.success)
            retry_after = response.headers.get("Retry-After")
            outcome = classify(status, message, success, retry_after, server_time or datetime.now(UTC))
            return Answer(outcome, status, envelope, server_time)
    except asyncio.CancelledError:
        limiter.abandoned(lease)
        raise
    except TimeoutError:
        # It may still arrive: the lease goes on until nothing can.
        return Answer(Outcome("transient", "no answer in time", heavy=True), status, timed_out=True)
    except aiohttp.ClientConnectorError as exc:
        limiter.answered(lease)
        return Answer(Outcome("transient", _connection_failed(exc)), status)
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        # The connection is closed: nothing more of it arrives at the server.
        limiter.answered(lease)
        return Answer(Outcome("transient", f"the answer was cut off ({type(exc).__name__})", heavy=status != 0), status)


def new_session(*, timeout_s: float, ca_file: str | None = None, connections: int = 16) -> aiohttp.ClientSession:
    """A session with kept-alive, verified, timed-out connections. Raises ApiError when the CA bundle cannot be read."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise ApiError(f"yclients.ca_file: the CA bundle cannot be read ({type(exc).__name__}).") from exc
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=context, keepalive_timeout=75, ttl_dns_cache=300),
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
            raise ValueError("the body is too large")
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
    return f"no connection ({type(exc.os_error).__name__})"
