"""How does everybody who looks hear what is new, so that none of them can hold up the service?

What there is to say has sections. A section is encoded once, for all, when it changes; each listener has its own task, which
sends the sections that it has not sent yet, the latest of each, and waits for its own connection alone. Who is too slow misses
what is old; who takes nothing at all is cut.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

MOST_LISTENERS = 32
SOONEST_S = 0.5  # whoever comes may hear what was said so shortly ago
SEND_S = 10.0  # to take one message
_RETRY = b"retry: 2000\n\n"


class Events:
    """Server-sent events: each message is a JSON object with the sections that are new; the first one has all."""

    def __init__(self, sections: Callable[[], Mapping[str, Any]]) -> None:
        """`sections`: how each is now."""
        self._now = sections
        self._sections: dict[str, tuple[int, bytes]] = {}
        self._version = 0
        self._news = asyncio.Condition()
        self._closed = False
        self._said_at = -SOONEST_S
        self._encoder = msgspec.json.Encoder()
        self.listeners = 0
        self.joined = asyncio.Event()  # somebody began to listen

    async def publish(self) -> None:
        """Say how each section is now, if anybody listens."""
        if not self.listeners:
            return
        self._version += 1
        self._said_at = time.monotonic()
        for name, value in self._now().items():
            body = self._encoder.encode(value)
            if name not in self._sections or self._sections[name][1] != body:
                self._sections[name] = (self._version, body)
        async with self._news:
            self._news.notify_all()

    async def close(self) -> None:
        """Let every listener go."""
        self._closed = True
        async with self._news:
            self._news.notify_all()

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """Answer one request until either side ends."""
        if self.listeners >= MOST_LISTENERS:
            raise web.HTTPServiceUnavailable(text="too many pages are open: close some", headers={"Retry-After": "30"})
        self.listeners += 1
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        try:
            await response.prepare(request)
            self.joined.set()
            if time.monotonic() - self._said_at >= SOONEST_S:
                await self.publish()
            await self._send(request, response)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.listeners -= 1
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse) -> None:
        sent, first = 0, _RETRY
        while not self._closed:
            body, sent = self._since(sent), self._version
            if body is not None:
                async with asyncio.timeout(SEND_S):
                    await response.write(first + body)
                first = b""
            async with self._news:
                await self._news.wait_for(lambda: self._closed or self._version > sent)  # noqa: B023
            if request.transport is None or request.transport.is_closing():
                return

    def _since(self, version: int) -> bytes | None:
        new = [b'"%b":%b' % (name.encode(), body) for name, (at, body) in self._sections.items() if at > version]
        return b"data: {%b}\n\n" % b",".join(new) if new else None
