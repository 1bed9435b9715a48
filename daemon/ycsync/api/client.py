"""How is one request sent, and what comes of it? aiohttp in, Page(observed_at, rows, total) out.

Connections are kept alive, answers come gzipped, everything has a time-out. Each attempt takes a lease of the limiter
first. Retries follow `outcome.classify`; what cannot be answered is raised as one of `errors`, without token or body.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from ycsync.api.endpoints import Request
from ycsync.api.outcome import Outcome, classify, denial, http_date
from ycsync.errors import AccessDenied, ApiError, NotFound, Rejected, Throttled, Transient
from ycsync.limiter import Limiter
from ycsync.model import Envelope, MalformedBody, decode_envelope

ACCEPT = "application/vnd.yclients.v2+json"
MAX_BODY = 64 * 1024 * 1024
MAX_THROTTLES = 8
BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: raw rows as JSON text, and `total` of what the filter matches, if the server said it.

    `observed_at`: before the request left, by the database's clock. `server_time`: the server's own (its Date header).
    """

    observed_at: datetime
    rows: tuple[bytes, ...]
    total: int | None
    server_time: datetime | None = None

    @property
    def watermark(self) -> datetime:
        """What changed before this instant is in the page, by the earlier of the two clocks."""
        return self.observed_at if self.server_time is None else min(self.observed_at, self.server_time)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request as it went, for metrics: `outcome` is outcome.Kind, `seconds` from sending to the answer's end."""

    endpoint: str
    outcome: str
    status: int
    seconds: float


@dataclass(slots=True)
class Tally:
    """What one batch's requests cost."""

    requests: int = 0
    retries: int = 0
    errors: int = 0
    throttled: int = 0


class Api:
    """Sends requests for one pair of tokens."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        partner_token: str,
        user_token: str,
        limiter: Limiter,
        *,
        observe: Callable[[Attempt], None] = lambda _: None,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._headers = {
            "Authorization": f"Bearer {partner_token}, User {user_token}",
            "Accept": ACCEPT,
            "Content-Type": "application/json",
            "Accept-Language": "ru-RU",
        }
        self._limiter = limiter
        self._observe = observe
        self._sleep = sleep

    async def fetch(self, request: Request, tally: Tally, *, tries: int, priority: int = 0) -> Page:
        """The answer to one request, after at most `tries` attempts.

        Raises Transient (time-outs, 5xx, broken bodies: all tries failed), Throttled, AccessDenied, NotFound, Rejected.
        """
        failed = throttled = 0
        while True:
            outcome, page, message, status = await self._attempt(request, tally, priority)
            if page is not None:
                return page
            if outcome.kind == "throttled":
                tally.throttled += 1
                throttled += 1
                await self._limiter.throttled(outcome.wait_s * (1 + throttled / 2))
                if throttled > MAX_THROTTLES:
                    raise Throttled(f"{request.endpoint}: YCLIENTS keeps answering 'too many requests'", outcome.wait_s)
                tally.retries += 1
                continue
            tally.errors += 1
            where = f"salon {request.company}, {request.endpoint}: " if request.company else f"{request.endpoint}: "
            if outcome.kind == "denied":
                raise AccessDenied(where + denial(status, message), status)
            if outcome.kind == "missing":
                raise NotFound(f"{where}YCLIENTS knows no such thing ({outcome.reason})")
            if outcome.kind == "rejected":
                raise Rejected(f"{where}YCLIENTS refuses the request ({outcome.reason})")
            failed += 1
            if failed >= tries:
                raise Transient(f"{where}{outcome.reason}, {failed} times in a row")
            tally.retries += 1
            await self._sleep(backoff_s(failed))

    async def _attempt(self, request: Request, tally: Tally, priority: int) -> tuple[Outcome, Page | None, str | None, int]:
        lease = await self._limiter.acquire(request.company, priority)
        tally.requests += 1
        status = 0
        message: str | None = None
        page: Page | None = None
        begun = time.perf_counter()
        try:
            async with self._session.request(
                request.method,
                self._base_url + request.path,
                params=list(request.params),
                data=request.body,
                headers=self._headers,
                allow_redirects=False,
            ) as response:
                status = response.status
                # The server has counted the request: from here one window is long enough.
                self._limiter.answered(lease)
                body = await _read(response)
                envelope = _decode(body)
                message = envelope.message if envelope is not None else None
                success = envelope.success if envelope is not None else None
                server_time = http_date(response.headers.get("Date"))
                retry_after = response.headers.get("Retry-After")
                outcome = classify(status, message, success, retry_after, server_time or datetime.now(UTC))
                if outcome.kind == "ok" and envelope is not None:
                    page = Page(lease.granted_at, envelope.rows, envelope.total, server_time)
        except asyncio.CancelledError:
            self._limiter.abandoned(lease)
            raise
        except TimeoutError:
            # It may still arrive: the lease goes on until nothing can.
            outcome = Outcome("transient", "no answer in time")
        except aiohttp.ClientConnectorError as exc:
            self._limiter.answered(lease)
            outcome = Outcome("transient", _connection_failed(exc))
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            # The connection is closed: nothing more of it arrives at the server.
            self._limiter.answered(lease)
            outcome = Outcome("transient", f"the answer was cut off ({type(exc).__name__})")
        self._observe(Attempt(request.endpoint, outcome.kind, status, time.perf_counter() - begun))
        return outcome, page, message, status


async def login(
    session: aiohttp.ClientSession, base_url: str, partner_token: str, login_name: str, password: str, limiter: Limiter
) -> str:
    """A user token for a login and password. Raises AccessDenied, Throttled or Transient."""
    lease = await limiter.acquire(0)
    status = 0
    try:
        async with session.post(
            base_url.rstrip("/") + "/auth",
            json={"login": login_name, "password": password},
            headers={"Authorization": f"Bearer {partner_token}", "Accept": ACCEPT},
            allow_redirects=False,
        ) as response:
            limiter.answered(lease)
            status = response.status
            envelope = _decode(await _read(response))
            retry_after = response.headers.get("Retry-After")
    except asyncio.CancelledError:
        limiter.abandoned(lease)
        raise
    except TimeoutError as exc:
        raise Transient("auth: no answer in time. Is yclients.base_url right, and is YCLIENTS reachable?") from exc
    except aiohttp.ClientConnectorError as exc:
        limiter.answered(lease)
        raise Transient(f"auth: {_connection_failed(exc)}. Is YCLIENTS reachable?") from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        limiter.answered(lease)
        raise Transient(f"auth: the answer was cut off ({type(exc).__name__}). Is yclients.base_url right?") from exc
    message, success = (None, None) if envelope is None else (envelope.message, envelope.success)
    outcome = classify(status, message, success, retry_after, datetime.now(UTC))
    if outcome.kind == "throttled":
        await limiter.throttled(outcome.wait_s)
        raise Throttled("auth: YCLIENTS answers 'too many requests'", outcome.wait_s)
    if envelope is not None and envelope.success and envelope.rows:
        with suppress(ValueError):
            import_token = _token(envelope.rows[0])
            if import_token:
                return import_token
        raise AccessDenied(
            "auth: this user has two-factor sign-in. Make a user token in YCLIENTS and set YCLIENTS_USER_TOKEN.", 401
        )
    if status in (400, 401, 403, 404, 422):
        raise AccessDenied("auth: YCLIENTS_LOGIN and YCLIENTS_PASSWORD are not accepted. Correct them.", 401)
    raise Transient(f"auth: HTTP {status}")


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


def backoff_s(failed: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds before the next try after `failed` failures: doubling, with full jitter on the upper half."""
    ceiling = min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(failed - 1, 16))
    return float(ceiling * (0.5 + 0.5 * jitter()))


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


def _token(row: bytes) -> str | None:
    value = msgspec.json.decode(row)
    token = value.get("user_token") if isinstance(value, dict) else None
    return token if isinstance(token, str) and token else None


def _connection_failed(exc: aiohttp.ClientConnectorError) -> str:
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return "the server's certificate is not trusted (yclients.ca_file names a CA bundle)"
    if isinstance(exc, aiohttp.ClientSSLError):
        return "the server does not speak TLS as it should. Is yclients.base_url right?"
    return f"no connection ({type(exc.os_error).__name__})"
