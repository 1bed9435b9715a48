"""Who may tell that something changed, and when is he told that it was heard? Whoever knows the address, once it is kept.

`POST /hooks/<secret>`: YCLIENTS signs nothing, so the address is the secret. Where none is configured, and to any other, the
answer is what it is for a page that does not exist, whatever the method. 200 says that the hint is in the database; nothing of
the body is kept but which thing of which salon it names.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from typing import Protocol

from aiohttp import web

from ycsync.model import Heard, NotAHook, parse_hooks

LONGEST_HOOK = 64 * 1024  # bytes of a body
BODY_S = 10.0  # for it to come
NOTHING_HERE = "there is nothing here; the page is at /"
PATH = "/hooks/{secret}"


class NotKept(Exception):
    """The hint could not be kept; the message says why."""


class Ears(Protocol):
    """Whoever keeps what webhooks tell."""

    def hook_secret(self) -> str | None:
        """None: no webhook is taken."""

    async def hear(self, heard: Heard) -> None:
        """Returns when it is kept. Raises NotKept."""

    def hook_refused(self, result: str) -> None:
        """One was not taken: `refused` (the right secret, and a body that is none) or `strange` (another secret)."""


class Hooks:
    """Takes webhooks."""

    def __init__(self, ears: Ears) -> None:
        self._ears = ears
        self._never = secrets.token_bytes(32)  # what no address equals

    async def take(self, request: web.Request) -> web.Response:
        """Any method; only POST with the secret is answered otherwise than 404."""
        known = self._is_secret(request.match_info["secret"])
        if not known or request.method != "POST":
            if request.method == "POST":
                self._ears.hook_refused("strange")
            raise web.HTTPNotFound(text=NOTHING_HERE)
        try:
            heard = parse_hooks(await _body(request))
        except NotAHook as exc:
            self._ears.hook_refused("refused")
            raise web.HTTPBadRequest(text=str(exc)) from None
        except web.HTTPException:
            self._ears.hook_refused("refused")
            raise
        try:
            await self._ears.hear(heard)
        except NotKept as exc:
            raise web.HTTPServiceUnavailable(text=str(exc), headers={"Retry-After": "5"}) from None
        return web.json_response({"heard": True})

    def _is_secret(self, given: str) -> bool:
        """In the same time whatever is given, and whether or not there is a secret."""
        secret = self._ears.hook_secret()
        wanted = self._never if secret is None else hashlib.sha256(secret.encode()).digest()
        return hmac.compare_digest(hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest(), wanted)


async def _body(request: web.Request) -> bytes:
    """Raises 413 as soon as it is too long, 400 when it does not come whole, 408 when it does not come."""
    if (request.content_length or 0) > LONGEST_HOOK:
        raise web.HTTPRequestEntityTooLarge(LONGEST_HOOK, request.content_length or 0, text="the body is too long")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.content.iter_any():
                size += len(part)
                if size > LONGEST_HOOK:
                    raise web.HTTPRequestEntityTooLarge(LONGEST_HOOK, size, text="the body is too long")
                parts.append(part)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not come") from None
    except (OSError, ValueError, web.RequestPayloadError):
        raise web.HTTPBadRequest(text="the body cannot be read") from None
    return b"".join(parts)
