"""Which user token goes with a request, and how is one got for a login and password?

A user token has no documented expiry but changes with the user's password, so a refused one is got anew, once. Until then the
others go on with the one that there is: it may be one salon alone that refuses it. A sign-in that gives the same token again
says that; then, and when the login is refused, none is tried at once: YCLIENTS locks out those who guess.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import aiohttp
import msgspec

from ycsync.api.outcome import denial, refusal
from ycsync.api.transport import Attempt, accept_of, send
from ycsync.errors import AccessDenied, Throttled, Transient
from ycsync.limiter import Limiter

REFUSED_S = 900.0  # so long after a refused login none is tried
_REFUSED = (400, 401, 403, 404, 422)


class UserToken:
    """The user token: given by the settings, or signed in for when the first request needs it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        partner_token: str,
        limiter: Limiter,
        *,
        token: str | None = None,
        login: str | None = None,
        password: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[Attempt], None] = lambda _: None,
    ) -> None:
        self._session = session
        self._base_url = base_url
        self._partner_token = partner_token
        self._limiter = limiter
        self._token = token
        self._login = login
        self._password = password
        self._clock = clock
        self._observe = observe
        self._lock = asyncio.Lock()
        self._refused: AccessDenied | None = None
        self._refused_at = 0.0
        self._confirmed_at: float | None = None  # when a sign-in gave the token that was refused once more

    async def get(self) -> str:
        """The token. Raises AccessDenied, Throttled or Transient when signing in fails."""
        if (known := self._token) is not None:
            return known
        async with self._lock:  # one signs in, the others wait for it
            return self._token or await self._sign_in()

    async def _sign_in(self) -> str:
        if self._refused is not None and self._clock() - self._refused_at < REFUSED_S:
            raise AccessDenied(str(self._refused), self._refused.status)
        try:
            token = await login(
                self._session, self._base_url, self._partner_token, self._login or "", self._password or "", self._limiter,
                observe=self._observe,
            )  # fmt: skip
        except AccessDenied as exc:
            self._refused, self._refused_at = exc, self._clock()
            raise
        self._confirmed_at = self._clock() if token == self._token else None
        self._refused, self._token = None, token
        return token

    async def renewed(self, token: str) -> bool:
        """A request was refused `token`. True: there is another one now. Raises as `get` does."""
        if not (self._login and self._password):
            return False
        async with self._lock:  # one signs in, the others wait for it
            if self._token != token:
                return True
            if self._confirmed_at is not None and self._clock() - self._confirmed_at < REFUSED_S:
                return False
            return await self._sign_in() != token


async def login(
    session: aiohttp.ClientSession,
    base_url: str,
    partner_token: str,
    login_name: str,
    password: str,
    limiter: Limiter,
    *,
    observe: Callable[[Attempt], None] = lambda _: None,
) -> str:
    """A user token for a login and password. Raises AccessDenied, Throttled or Transient."""
    answer = await send(
        session,
        limiter,
        "POST",
        base_url.rstrip("/") + "/auth",
        headers={
            "Authorization": f"Bearer {partner_token}",
            "Accept": accept_of(base_url),
            "Content-Type": "application/json",
        },
        body=msgspec.json.encode({"login": login_name, "password": password}),
    )
    outcome, envelope = answer.outcome, answer.envelope
    observe(Attempt("auth", outcome.kind, answer.status, answer.seconds))
    if outcome.kind == "throttled":
        await limiter.throttled(outcome.wait_s)
        raise Throttled("auth: YCLIENTS answers 'too many requests'", outcome.wait_s)
    if envelope is not None and envelope.success and envelope.rows:
        with suppress(ValueError):
            if found := _token(envelope.rows[0]):
                return found
        raise AccessDenied(
            "auth: this user has two-factor sign-in. Make a user token in YCLIENTS and set YCLIENTS_USER_TOKEN.", 401
        )
    if answer.status in (*_REFUSED, 200) and envelope is not None and not envelope.success:
        if refusal(answer.status, envelope.message) in ("partner", "header"):
            raise AccessDenied(f"auth: {denial(answer.status, envelope.message)}", 401)
        raise AccessDenied(
            "auth: YCLIENTS_LOGIN and YCLIENTS_PASSWORD are not accepted. Correct them, then `systemctl restart ycsync`.", 401
        )
    raise Transient(f"auth: {outcome.reason}. Is yclients.base_url right, and is YCLIENTS reachable?")


def _token(row: bytes) -> str | None:
    value = msgspec.json.decode(row)
    token = value.get("user_token") if isinstance(value, dict) else None
    return token if isinstance(token, str) and token else None
