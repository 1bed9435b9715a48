"""How is one request sent, and what comes of it? aiohttp in, Page(observed_at, rows, total) out.

Connections are kept alive, answers come gzipped, everything has a time-out. Each attempt takes a lease of the limiter
first. Retries follow `outcome.classify`; what cannot be answered is raised as one of `errors`, without token or body.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from ycsync.api.endpoints import Request
from ycsync.api.endpoints import company as company_request
from ycsync.api.outcome import STATUS, Outcome, denial, refusal
from ycsync.api.signin import UserToken
from ycsync.api.transport import Answer, Attempt, accept_of, send
from ycsync.config import SalonTokens
from ycsync.errors import AccessDenied, NotFound, Rejected, Throttled, Transient
from ycsync.limiter import ASKED, LONGEST_BLOCK_S, RELAX_S, Limiter
from ycsync.logs import API_RETRY, LIMIT_THROTTLED, emit, get_logger
from ycsync.model.rights import lacking

MAX_THROTTLES = 8
TIMED_OUT = 2  # for so many failures a time-out counts: it costs long, and a smaller page may do
BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
CLOCKS_APART = timedelta(minutes=10)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: raw rows as JSON text, and `total` of what the filter matches, if the server said it.

    `observed_at`: before the request left, by the database's clock. `server_time`: the server's own (its Date header), at some
    instant of the `took_s` seconds that the answer took. `absent`: it was a 404 that means "none": nothing is gone on its word.
    """

    observed_at: datetime
    rows: tuple[bytes, ...]
    total: int | None
    server_time: datetime | None = None
    took_s: float = 0.0
    absent: bool = False

    @property
    def watermark(self) -> datetime:
        """What changed before this instant is in the page, by the earlier of the two clocks."""
        return self.observed_at if self.server_time is None else min(self.observed_at, self.server_time)

    @property
    def counted_at(self) -> datetime:
        """What is dated before this instant was so when the rows were counted: nothing after the count is dated so early.

        A change is dated in whole seconds, by the server's clock; where it does not tell that one, ours may be ahead of it.
        """
        if self.server_time is None:
            return self.observed_at - CLOCKS_APART
        return min(self.observed_at, self.server_time - timedelta(seconds=self.took_s)) - timedelta(seconds=1)


@dataclass(slots=True)
class Tally:
    """What one batch's requests cost."""

    requests: int = 0
    retries: int = 0
    errors: int = 0
    throttled: int = 0


class Api:
    """Sends requests with one pair of tokens; a salon that has a user token of its own is asked for with that one alone."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        partner_token: str,
        user_token: str | UserToken,
        limiter: Limiter,
        *,
        observe: Callable[[Attempt], None] = lambda _: None,
        sleep: Callable[[float], Any] = asyncio.sleep,
        own: SalonTokens | None = None,
    ) -> None:
        self.own = own or SalonTokens()  # a reload swaps it
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._accept = accept_of(base_url)
        self._partner_token = partner_token
        self._user = (
            user_token
            if isinstance(user_token, UserToken)
            else UserToken(session, base_url, partner_token, limiter, token=user_token)
        )
        self._limiter = limiter
        self._observe = observe
        self._sleep = sleep
        self._hanging: set[int] = set()  # salons whose last request got no answer
        self._slow: set[int] = set()  # salons whose last request took longer than RELAX_S, or takes it now
        self._asking: Counter[int] = Counter()  # salon -> requests that wait or are under way
        self._doors: dict[int, asyncio.Lock] = {}

    async def fetch(self, request: Request, tally: Tally, *, tries: int, priority: int = ASKED) -> Page:
        """The answer to one request, after at most `tries` attempts (a time-out counts for TIMED_OUT).

        Raises Transient (time-outs, 5xx, broken bodies: all tries failed), Throttled, AccessDenied, NotFound, Rejected.
        """
        attempts = failed = throttled = 0
        signed_in_anew = False
        where = f"salon {request.company}, {request.endpoint}: " if request.company else f"{request.endpoint}: "
        while True:
            token = await self._token(request.company)
            answer, page = await self._in_turn(request, tally, priority, token)
            if page is not None:
                return page
            outcome = answer.outcome
            if outcome.kind == "throttled":
                tally.throttled += 1
                throttled += 1
                wait_s = min(outcome.wait_s * (1 + throttled / 2), LONGEST_BLOCK_S)
                emit(_log, LIMIT_THROTTLED, company=request.company, status=answer.status, wait_s=wait_s)
                await self._limiter.throttled(wait_s)
                if throttled > MAX_THROTTLES:
                    raise Throttled(f"{where}YCLIENTS keeps answering 'too many requests'", outcome.wait_s)
                tally.retries += 1
                continue
            tally.errors += 1
            if outcome.kind == "denied":
                owned = self.own.origins.get(request.company)
                expired = refusal(answer.status, answer.message) == "user"
                if expired and owned is None and not signed_in_anew and await self._user.renewed(token):
                    signed_in_anew = True
                    tally.retries += 1
                    continue
                raise await self._denied(request, where, answer, owned, tally, priority)
            if outcome.kind == "missing":
                said = f"{where}YCLIENTS knows no such thing ({outcome.reason})"
                raise NotFound(said, answer.granted_at, answer.server_time)
            if outcome.kind == "rejected":
                raise Rejected(f"{where}YCLIENTS refuses the request ({outcome.reason})")
            attempts += 1
            failed += tries if answer.too_large else TIMED_OUT if answer.timed_out else 1
            if failed >= tries:
                times = "once" if attempts == 1 else f"{attempts} times in a row"
                raise Transient(f"{where}{outcome.reason}, {times}", heavy=outcome.heavy, slow=answer.timed_out,
                                unreached=answer.unreached)  # fmt: skip
            tally.retries += 1
            wait_s = backoff_s(attempts)
            emit(
                _log, API_RETRY, company=request.company, endpoint=request.endpoint, status=answer.status,
                attempt=attempts, wait_s=round(wait_s, 1), reason=outcome.reason,
            )  # fmt: skip
            await self._sleep(wait_s)

    async def _denied(
        self, request: Request, where: str, answer: Answer, owned: str | None, tally: Tally, priority: int
    ) -> AccessDenied:
        """The salon itself refused, or one of its endpoints, which tells nothing of the others, whatever its words are."""
        about = refusal(answer.status, answer.message)
        right = about in ("right", "salon") and request.company != 0 and request.endpoint != "company"
        if right and about == "salon":
            try:
                await self.fetch(company_request(request.company), tally, tries=1, priority=priority)
            except (AccessDenied, NotFound):
                right = False
        said = lacking(request.endpoint) if right else denial(answer.status, answer.message, owned)
        return AccessDenied(where + said, _status(answer), right=right)

    async def _token(self, company: int) -> str:
        """The user token that goes with a request for this salon. Raises AccessDenied where its own one is missing."""
        if (origin := self.own.origins.get(company)) is None:
            return await self._user.get()
        if (token := self.own.found.get(company)) is None:
            raise AccessDenied(f"salon {company}: {origin}: its own user token is not there, and no other is used for it.", 401)
        return token

    async def _in_turn(self, request: Request, tally: Tally, priority: int, token: str) -> tuple[Answer, Page | None]:
        """One attempt. A salon that leaves requests without an answer, or that is slow while others want one, gets one at a
        time: each holds a place in the second for RELAX_S, and others need those.
        """
        self._asking[request.company] += 1
        try:
            while self._narrow(request.company):
                async with self._doors.setdefault(request.company, asyncio.Lock()):
                    if self._narrow(request.company):
                        return await self._attempt(request, tally, priority, token)
            return await self._attempt(request, tally, priority, token)
        finally:
            self._asking[request.company] -= 1
            if not self._asking[request.company]:
                del self._asking[request.company]

    def is_slow(self, company: int) -> bool:
        """Does this salon take long to answer, or not answer at all?"""
        return company in self._slow or company in self._hanging

    def _narrow(self, company: int) -> bool:
        return company in self._hanging or (company in self._slow and len(self._asking) > 1)

    async def _attempt(self, request: Request, tally: Tally, priority: int, token: str) -> tuple[Answer, Page | None]:
        timers: list[asyncio.TimerHandle] = []

        def granted() -> None:
            tally.requests += 1
            timers.append(asyncio.get_running_loop().call_later(RELAX_S, self._slow.add, request.company))

        try:
            answer = await send(
                self._session,
                self._limiter,
                request.method,
                self._base_url + request.path,
                headers=self._headers(token),
                company=request.company,
                priority=priority,
                params=request.params,
                body=request.body,
                granted=granted,
            )
        finally:
            for timer in timers:
                timer.cancel()
        if (
            answer.envelope is not None
            and answer.outcome.kind == "ok"
            and answer.envelope.single
            and not request.keyless
            and b'"id"' not in answer.envelope.rows[0]
        ):
            # It is no row: to take it for one of a list would prove that nothing else is there.
            answer = replace(answer, outcome=Outcome("transient", f"HTTP {answer.status} with something that is no row"))
        none = request.none and answer.outcome.kind == "missing"
        self._observe(Attempt(request.endpoint, "none" if none else answer.outcome.kind, answer.status, answer.seconds))
        if answer.status:
            self._hanging.discard(request.company)
        elif answer.timed_out:
            self._hanging.add(request.company)
        if answer.seconds < RELAX_S:
            self._slow.discard(request.company)
        if none:
            return answer, Page(answer.granted_at, (), 0, answer.server_time, answer.seconds, absent=True)
        if answer.outcome.kind != "ok" or answer.envelope is None:
            return answer, None
        envelope = answer.envelope
        return answer, Page(answer.granted_at, envelope.rows, envelope.total, answer.server_time, answer.seconds)

    def _headers(self, user_token: str) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._partner_token}, User {user_token}",
            "Accept": self._accept,
            "Content-Type": "application/json",
            "Accept-Language": "ru-RU",
        }


def _status(answer: Answer) -> int:
    """The status of a refusal, also where it came inside of a 200."""
    return answer.status if answer.status >= 400 else STATUS[refusal(answer.status, answer.message)]


def backoff_s(failed: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds before the next try after `failed` failures: doubling, with full jitter on the upper half."""
    ceiling = min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(failed - 1, 16))
    return float(ceiling * (0.5 + 0.5 * jitter()))
