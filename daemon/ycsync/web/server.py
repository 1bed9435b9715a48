"""What is served where? `/` the page, `/api/*` what it shows, `/hooks/*`, `/healthz`, `/readyz` and `/metrics` for programs.

Nothing personal is in any answer, and none waits for the database but those that change or tell something.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from aiohttp import web

from ycsync.config import Http
from ycsync.logs import HTTP_UNAVAILABLE, emit, get_logger
from ycsync.metrics import CONTENT_TYPE
from ycsync.web.admin import LONGEST_BODY, Actions, Admin
from ycsync.web.events import Events
from ycsync.web.guard import HEADERS, is_host_known, is_read_from_elsewhere
from ycsync.web.hooks import NOTHING_HERE, PATH, Ears, Hooks
from ycsync.web.page import FILES, FirstWords, asset, page
from ycsync.web.query import Query

SERVICE = "ycsync"  # who answers: a port may be somebody else's
SMALLEST_PACKED = 1024
_log = get_logger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Health:
    """`alive`: the loop turns. `ready`: database, settings and data are as they should be; else `reasons`."""

    alive: bool
    ready: bool
    reasons: tuple[str, ...] = ()


class Source(Protocol):
    """What there is to show. All of it is at hand: nothing here waits for the database."""

    def hosts(self) -> tuple[str, ...]:
        """Names by which this service may be asked, besides localhost and addresses."""

    def health(self) -> Health:
        """For /healthz and /readyz."""

    def status(self) -> dict[str, Any]:
        """For /api/status."""

    def first_words(self) -> FirstWords:
        """For the page itself."""

    def salons(self, query: Query) -> dict[str, Any]:
        """For /api/salons."""

    def traffic(self) -> dict[str, Any]:
        """For /api/traffic."""

    def measure(self) -> bytes:
        """For /metrics."""


def is_ours(healthz: object) -> bool:
    """Whether this JSON is what a service of ycsync answers to /healthz; releases from before the mark said `alive` alone."""
    if not isinstance(healthz, dict) or not isinstance(healthz.get("alive"), bool):
        return False
    return healthz.get("service") == SERVICE or len(healthz) == 1


class Web:
    """Serves on `http.listen` while the context is open; nowhere when that is switched off."""

    def __init__(self, http: Http, source: Source, actions: Actions, events: Events, ears: Ears | None = None) -> None:
        self._http = http
        self._source = source
        self._events = events
        self._admin = Admin(actions, source.hosts)
        self._hooks = None if ears is None else Hooks(ears)
        self._runner: web.AppRunner | None = None
        self.address = "off"

    async def __aenter__(self) -> Web:
        if not self._http.enabled:
            return self
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.5)
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
        await self._events.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=LONGEST_BODY, middlewares=[self._guarded])
        app.on_response_prepare.append(_secured)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/api/status", self._status),
                web.get("/api/salons", self._salons),
                web.get("/api/traffic", self._traffic),
                web.get("/api/events", self._events.listen),
                web.post("/api/admin", self._admin.check),
                web.post("/api/pause", self._admin.pause),
                web.post("/api/resume", self._admin.resume),
                web.post("/api/preset", self._admin.use_preset),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/{file}", self._file),
            ]
        )
        if self._hooks is not None:
            app.router.add_route("*", PATH, self._hooks.take)
        return app

    def _names(self) -> tuple[str, ...]:
        return (self._http.host, *self._source.hosts())

    def _must_mean_us(self, request: web.Request) -> None:
        if not is_host_known(request.headers.get("Host"), self._names()):
            raise web.HTTPMisdirectedRequest(
                text="not asked by a name of this service: add it to `http.hosts` in config.yaml and reload"
            )

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            # Whoever tells by a webhook comes through a proxy, by whatever name; what he must know stands in the address.
            if request.match_info.route.resource is None or request.match_info.route.resource.canonical != PATH:
                self._must_mean_us(request)
            if request.path.startswith("/api/") and is_read_from_elsewhere(request.headers, self._names()):
                raise web.HTTPForbidden(text="another site's page asks")
            return await handler(request)
        except web.HTTPException as exc:
            kept = {name: exc.headers[name] for name in ("Allow", "Retry-After", "WWW-Authenticate") if name in exc.headers}
            said = NOTHING_HERE if exc.status == 404 else exc.text
            return web.json_response({"error": said}, status=exc.status, headers=kept)

    # --- the page ---------------------------------------------------------------------------------------------------------

    async def _page(self, _request: web.Request) -> web.Response:
        response = web.Response(body=page(self._source.first_words()), content_type="text/html", charset="utf-8")
        response.enable_compression()
        return response

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["file"]
        if name not in FILES or name == "index.html":
            raise web.HTTPNotFound(text=NOTHING_HERE)
        return _asset(request, name)

    async def _salons(self, request: web.Request) -> web.Response:
        try:
            query = Query.of(request.query)
        except ValueError as exc:
            raise web.HTTPBadRequest(text=str(exc)) from exc
        return _json(request, self._source.salons(query))

    async def _traffic(self, request: web.Request) -> web.Response:
        return _json(request, self._source.traffic())

    # --- for programs -----------------------------------------------------------------------------------------------------

    async def _status(self, request: web.Request) -> web.Response:
        return _json(request, self._source.status())

    async def _healthz(self, _request: web.Request) -> web.Response:
        alive = self._source.health().alive
        return web.json_response({"service": SERVICE, "alive": alive}, status=200 if alive else 503)

    async def _readyz(self, _request: web.Request) -> web.Response:
        health = self._source.health()
        return web.json_response({"ready": health.ready, "reasons": list(health.reasons)}, status=200 if health.ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._source.measure(), headers={"Content-Type": CONTENT_TYPE})


async def _secured(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.pop("Server", None)


def _asset(request: web.Request, name: str) -> web.Response:
    file = asset(name)
    # Asked again each time, and answered with nothing while it is the same: an upgrade shows at once.
    headers = {"Content-Type": file.kind, "ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if file.tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=file.packed, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=file.body, headers=headers)


def _json(request: web.Request, value: dict[str, Any]) -> web.Response:
    body = msgspec.json.encode(value)
    response = web.Response(body=body, content_type="application/json", charset="utf-8")
    if len(body) >= SMALLEST_PACKED:
        response.enable_compression()
    return response
