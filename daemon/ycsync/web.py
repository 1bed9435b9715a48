"""What does the service answer over HTTP? Health, state and metrics; nothing personal, nothing that changes anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ycsync.config import Http
from ycsync.logs import HTTP_UNAVAILABLE, emit, get_logger
from ycsync.metrics import CONTENT_TYPE

SERVICE = "ycsync"  # who answers: a port may be somebody else's
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """`alive`: the loop turns. `ready`: database, settings and data are as they should be; else `reasons`."""

    alive: bool
    ready: bool
    reasons: tuple[str, ...] = ()


def is_ours(healthz: object) -> bool:
    """Whether this JSON is what a service of ycsync answers to /healthz; releases from before the mark said `alive` alone."""
    if not isinstance(healthz, dict) or not isinstance(healthz.get("alive"), bool):
        return False
    return healthz.get("service") == SERVICE or len(healthz) == 1


class Web:
    """Serves on `http.listen` while the context is open; nowhere when that is switched off."""

    def __init__(
        self, http: Http, health: Callable[[], Health], state: Callable[[], dict[str, Any]], metrics: Callable[[], bytes]
    ) -> None:
        self._http = http
        self._health = health
        self._state = state
        self._metrics = metrics
        self._runner: web.AppRunner | None = None
        self.address = "off"

    async def __aenter__(self) -> Web:
        if not self._http.enabled:
            return self
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/api/status", self._status)
        app.router.add_get("/metrics", self._measured)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._http.host, self._http.port).start()
        except OSError as exc:
            # The data matters more than the page about it: the service works on, and says so.
            await self._runner.cleanup()
            self._runner = None
            self.address = "nowhere"
            emit(_log, HTTP_UNAVAILABLE, listen=self._http.listen, reason=exc.strerror or type(exc).__name__)
            return self
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        alive = self._health().alive
        return web.json_response({"service": SERVICE, "alive": alive}, status=200 if alive else 503)

    async def _readyz(self, _request: web.Request) -> web.Response:
        health = self._health()
        return web.json_response({"ready": health.ready, "reasons": list(health.reasons)}, status=200 if health.ready else 503)

    async def _measured(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(self._state())
