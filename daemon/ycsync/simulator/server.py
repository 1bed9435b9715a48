"""How does a request to the simulated YCLIENTS get its answer: limit, fault, rights, data, delay, churn?"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import re
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType

from aiohttp import web

from . import answers, faults
from .answers import Answer
from .delivery import Delivery
from .endpoints import Call, Endpoints, Refused
from .options import FAULTS, Options
from .report import Budget, Meter, Report, Seen
from .world import World

PREFIX = "/api/v1"
_COMPRESS_FROM = 1024
_IN_A_THREAD_FROM = 64 * 1024


@dataclass(slots=True, eq=False)
class _Planned:
    kind: str
    left: int
    match: str
    skip: int = 0


class Simulator:
    """The fake YCLIENTS, on a port of its own.

    clock      wall time: today's date, and the stamp of every change
    monotonic  when requests arrive; time.monotonic, or `clock` when a clock was injected
    gate       an event that is set; clear it and every answer waits until it is set again

    Every request counts in report(); only accepted ones use up the server's own limit, which each client's address has
    alone, so a client that polls through refusals is seen by the report but is served again as soon as the window has room.
    Webhooks go to whoever a salon's settings name on this machine, see delivery.
    An answer shows one moment between the request's arrival and the answer, chosen at random (seeded).
    """

    def __init__(
        self,
        options: Options = Options(),  # noqa: B008  # frozen
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self.options = options
        self.world = World(options, clock)
        self.gate = asyncio.Event()
        self.gate.set()
        self._monotonic = monotonic or (time.monotonic if clock is time.time else clock)
        self.delivery = Delivery(options)
        for salon in self.world.salons.values():
            salon.tell = self.delivery.tell
        self._endpoints = Endpoints(self.world, options, clock)
        self._meter = Meter()
        self._budget = Budget(options.per_second, options.per_minute, fixed=options.minute == "fixed", others=options.others)
        self._planned: list[_Planned] = []
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = options.port
        self._faults = random.Random(f"{options.seed}/faults")
        self._churn = random.Random(f"{options.seed}/churn")
        self._delays = random.Random(f"{options.seed}/delays")

    # -- life -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listens; OSError when the port is taken."""
        self._stopping.clear()
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.options.host, self._port).start()
        except OSError:
            await self._runner.cleanup()
            self._runner = None
            raise
        self._port = self._runner.addresses[0][1]
        await self.delivery.open()

    async def stop(self) -> None:
        """Closes the port; unfinished answers are dropped. May be started again, on the same port."""
        self._stopping.set()
        await self.delivery.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self._port}{PREFIX}"

    @property
    def log(self) -> deque[Seen]:
        """Every request, oldest first (the last 200,000)."""
        return self._meter.log

    @property
    def others(self) -> deque[tuple[float, bool]]:
        """When each request of the simulated other clients came, oldest first, and whether it was accepted."""
        return self._budget.others_log

    def report(self) -> Report:
        refused = sum(not accepted for _, accepted in self.others)
        return replace(self._meter.report(), others=len(self.others), others_refused=refused)

    def forget(self) -> None:
        """Starts the report and the log anew; the limit's windows stay."""
        self._meter = Meter()

    def fail_next(self, kind: str, times: int = 1, match: str = "", *, skip: int = 0) -> None:
        """The next `times` requests whose "METHOD /path?query" (no /api/v1) contains `match` get this fault.

        `skip`: so many of them are answered well before. A fault that spoils data waits for an answer that has
        rows. A request over the limit uses up no fault.
        """
        if kind not in FAULTS:
            raise ValueError(f"unknown fault {kind!r}; known: {', '.join(FAULTS)}")
        self._planned.append(_Planned(kind, times, match, skip))

    def heal(self) -> None:
        """Forgets faults that are still waiting."""
        self._planned.clear()

    def change_user_token(self, token: str) -> None:
        """The user's password was changed: the old token is refused from now on, POST /auth gives this one."""
        self.options = replace(self.options, user_token=token)
        self._endpoints.change(self.options)

    # -- one request ------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        arrival = self._monotonic()
        path = request.path.removeprefix(PREFIX)
        peer = request.transport and request.transport.get_extra_info("peername")
        address = peer[0] if peer else ""
        seen = Seen(arrival, request.method, path, request.query_string, "", address=address)
        meter = self._meter
        meter.arrive(seen)
        account = address
        if self.options.limit_by == "token":
            account = request.headers.get("Authorization", "").partition(",")[0]
        wait = self._budget.take(arrival, account)
        rate = self._budget.headers(arrival, account) if self.options.rate_headers else {}
        seen.endpoint, numbers, handler = self._endpoints.find(request.method, path)
        if not request.path.startswith(PREFIX + "/"):
            seen.endpoint, handler = "unknown", self._endpoints.find("", "")[2]
        try:
            body = await request.text()
            seen.body = "" if seen.endpoint == "auth" else body  # a password is not kept
            meter.recognise(seen)
            await self.gate.wait()
            salon = self.world.salons.get(numbers[0]) if numbers else None
            delay = self.options.latency + (salon.slow if salon else 0.0) + self.options.jitter * self._delays.uniform(-1, 1)
            before = max(delay, 0.0) * self._delays.random()
            await _sleep(before)
            if wait > 0:
                answer = answers.throttled(int(wait), as_200=self.options.answer_429_as_200)
            else:
                query: dict[str, list[str]] = {}
                for key, value in request.query.items():
                    query.setdefault(key, []).append(value)
                language = request.headers.get("Accept-Language", "")
                call = Call(request.method, path, query, body, numbers, language)
                answer = self._answer(call, handler, seen, request.headers.get("Authorization"))
            await _sleep(max(delay, 0.0) - before)
            if answer.breaks == "hang":
                await self._stopping.wait()
        except asyncio.CancelledError:
            meter.answer(seen, 0, "left")
            raise
        meter.answer(seen, answer.status, answer.kind or str(answer.status))
        if answer.breaks in ("reset", "hang"):
            _reset(request)
            return web.Response()
        try:
            return await self._send(request, answer, rate)
        finally:
            if wait <= 0:
                self._change(numbers)

    def _answer(self, call: Call, handler: Callable[[Call], Answer], seen: Seen, header: str | None) -> Answer:
        company_id = call.numbers[0] if call.numbers else self.options.first_company
        kind, planned = self._pick_fault(f"{seen.method} {seen.path}?{seen.query}")
        if kind:
            broken = faults.broken(kind, company_id)
            if broken is not None:
                return broken
        try:
            answer = self._authorized(header, call) or handler(call)
        except Refused as refused:
            answer = refused.answer
        if kind:
            spoiled = faults.spoil(kind, answer)
            if spoiled is not None:
                return spoiled
            if planned is not None:
                planned.left += 1
                if planned not in self._planned:
                    self._planned.insert(0, planned)
        return answer

    def _pick_fault(self, line: str) -> tuple[str, _Planned | None]:
        for planned in self._planned:
            if planned.match in line:
                if planned.skip:
                    planned.skip -= 1
                    continue
                planned.left -= 1
                if planned.left <= 0:
                    self._planned.remove(planned)
                return planned.kind, planned
        if self.options.faults and self._faults.random() < self.options.faults:
            return self._faults.choice(self.options.fault_kinds), None
        return "", None

    def _authorized(self, header: str | None, call: Call) -> Answer | None:
        """None: allowed. A header must be there; what it says matters only if the options name tokens."""
        if not header:
            return answers.refusal(401, answers.NO_HEADER)
        found = re.fullmatch(r"Bearer\s+([^,\s]+)(?:\s*,\s*User\s+(\S+))?\s*", header)
        partner, user = found.groups() if found else (None, None)
        if self.options.partner_token is not None and partner != self.options.partner_token:
            russian = call.language.startswith("ru")
            return answers.refusal(401, answers.BAD_PARTNER if russian else answers.BAD_PARTNER_ENGLISH)
        if self.options.user_token is not None and user != self.options.user_token and call.path != "/auth":
            return answers.refusal(401, answers.BAD_USER)
        return None

    async def _send(self, request: web.Request, answer: Answer, rate: Mapping[str, str]) -> web.StreamResponse:
        response = web.Response(status=answer.status, content_type=answer.content_type, charset="utf-8")
        response.headers.extend(rate)
        response.headers.extend(dict(answer.headers))
        body = answer.body
        if answer.breaks == "cut":
            return await _cut(request, answer)
        broken = "Content-Encoding" in response.headers
        if not broken and len(body) >= _COMPRESS_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
            if len(body) >= _IN_A_THREAD_FROM:
                body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
            else:
                body = gzip.compress(body, 1, mtime=0)
            response.headers["Content-Encoding"] = "gzip"
        response.body = body
        return response

    def _change(self, numbers: tuple[int, ...]) -> None:
        """Churn: in the salon that was asked about, or in any."""
        for _ in range(self.options.churn):
            salon = self.world.salons.get(numbers[0]) if numbers else None
            if salon is None:
                salon = self._churn.choice(list(self.world.salons.values()))
            salon.churn_once(self._churn)


async def _sleep(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


def _reset(request: web.Request) -> None:
    """Closes the connection so that the client sees it reset."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _cut(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Half of the body that Content-Length promised, then the connection closes."""
    response = web.StreamResponse(status=answer.status)
    response.content_type = answer.content_type
    response.content_length = len(answer.body)
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def serve(options: Options, *, on_ready: Callable[[Simulator], None]) -> None:
    """Serves until it is cancelled; `on_ready` gets the simulator once it listens."""
    async with Simulator(options) as simulator:
        on_ready(simulator)
        await asyncio.Event().wait()
