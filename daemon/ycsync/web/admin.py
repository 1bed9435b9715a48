"""Who may change something, and what? Only who shows the admin token, and nobody where none is configured.

The token comes in `Authorization: Bearer …`. A browser never sends that by itself, so there is nothing that another site's page
could ride on; what says that it comes from such a page is refused all the same, and so is a body that a plain form could send.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from ycsync.logs import HTTP_DENIED, emit, get_logger
from ycsync.web.guard import is_from_elsewhere

FAILURES, WITHIN_S = 5, 60.0  # wrong tokens, of anybody, until all must wait
LONGEST_BODY = 4096
_log = get_logger(__name__)


class Refusal(Exception):
    """It cannot be done; the message says why and what to do."""


class Actions(Protocol):
    """What can be done from the page. Each returns a sentence; raises Refusal."""

    def admin_token(self) -> str | None:
        """None: nothing can be changed from here."""

    async def pause(self, company: int) -> str:
        """Hold the requests of one salon; 0: of all."""

    async def resume(self, company: int) -> str:
        """Let them go; 0: all."""

    async def use_preset(self, name: str) -> str:
        """Work with another preset."""


def _bytes(given: str) -> bytes:
    """As it came: a header may hold any byte."""
    return given.strip().encode("utf-8", "surrogateescape")


class Admin:
    """Checks and carries out what is asked with POST."""

    def __init__(
        self, actions: Actions, names: Callable[[], tuple[str, ...]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._actions = actions
        self._names = names
        self._now = now
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._busy = asyncio.Lock()

    async def check(self, request: web.Request) -> web.Response:
        """Is this the token?"""
        await self._allowed(request)
        return web.json_response({"said": "The token is right."})

    async def pause(self, request: web.Request) -> web.Response:
        """Body: {"company": ID}, 0 for all."""
        return await self._do(request, "company", int, self._actions.pause)

    async def resume(self, request: web.Request) -> web.Response:
        """Body: {"company": ID}, 0 for all."""
        return await self._do(request, "company", int, self._actions.resume)

    async def use_preset(self, request: web.Request) -> web.Response:
        """Body: {"preset": NAME}."""
        return await self._do(request, "preset", str, self._actions.use_preset)

    async def _do(
        self, request: web.Request, key: str, kind: type[int] | type[str], act: Callable[[Any], Awaitable[str]]
    ) -> web.Response:
        body = await self._allowed(request)
        value: Any = body.get(key) if isinstance(body, dict) else None
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < 2**63):
            raise web.HTTPBadRequest(text=f'the body must be {{"{key}": {"a number" if kind is int else "a name"}}}')
        async with self._busy:
            try:
                return web.json_response({"said": await act(value)})
            except Refusal as exc:
                raise web.HTTPConflict(text=str(exc)) from exc

    async def _allowed(self, request: web.Request) -> Any:
        """The body, if whoever asks may."""
        token = self._actions.admin_token()
        if token is None:
            raise web.HTTPForbidden(text="this page only shows: no admin token is configured (credentials/admin_token)")
        if is_from_elsewhere(request.headers, self._names()):
            raise self._denied(web.HTTPForbidden, "another site's page asks")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="the body must be application/json")
        if (wait_s := self._wait_s()) > 0:
            # Before the token is looked at: else the right one could be found among any number of guesses.
            raise web.HTTPTooManyRequests(
                text=f"too many wrong tokens: try again in {wait_s:.0f} s", headers={"Retry-After": f"{wait_s:.0f}"}
            )
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(_bytes(given), token.encode()):
            self._failures.append(self._now())
            raise self._denied(web.HTTPUnauthorized, "the admin token is missing or wrong")
        try:
            return await request.json()
        except ValueError as exc:
            raise web.HTTPBadRequest(text="the body is not JSON") from exc

    def _wait_s(self) -> float:
        if len(self._failures) < FAILURES:
            return 0.0
        left = WITHIN_S - (self._now() - self._failures[0])
        return max(1.0, left) if left > 0 else 0.0

    def _denied(self, kind: type[web.HTTPException], reason: str) -> web.HTTPException:
        emit(_log, HTTP_DENIED, reason=reason)
        headers = {"WWW-Authenticate": 'Bearer realm="ycsync"'} if kind is web.HTTPUnauthorized else None
        return kind(text=reason, headers=headers)
