"""What do so many services do with so many salons, instant by instant?

Virtual time: events in a heap. A service here is one address: it claims as scheduler.loop does (its places, its share for
filling, a look each second), asks what the planner says, and its requests take turns (limiter.Turns) for the slots of two
windows as in limiter.sql: a slot is free one window after its answer.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.scaling.freshness import Freshness
from benchmarks.scaling.load import HOUR, SECOND, Load, Place
from benchmarks.scaling.planner import IN_FLIGHT, Asked, Planner, instant, settled
from benchmarks.scaling.queues import HINTS, Queue, Row, rows_of
from ycsync.config import STREAMS
from ycsync.config.settings import Preset, Yclients
from ycsync.limiter import KEPT, LATER_S, Turns
from ycsync.plan.cursor import RECHECK_HOUR
from ycsync.scheduler.loop import FILLING, PLACES, POLL_S
from ycsync.store.work import WORKER_SILENT_S

POLL = round(POLL_S * SECOND)
SILENT = round((WORKER_SILENT_S + 2) * SECOND)  # until somebody finds that a service is gone: it looks every 4 s
LISTS = frozenset(("companies", "services", "staff"))
DELTAS = frozenset(("clients", "records"))


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated."""

    addresses: int
    preset: Preset
    load: Load
    cadence_s: float = 300.0  # of clients and records
    hooks: bool = False
    api: Yclients = field(default_factory=Yclients)
    seed: int = 1


@dataclass(slots=True, eq=False)
class Batch:
    """One batch of one row. `read`: when the server saw its first request."""

    row: Row
    asked: Asked
    begun: int
    priority: int
    fills: bool
    group: int = 0
    left: int = 0
    in_flight: int = 0
    read: int = 0
    events: tuple[int, ...] = ()  # hints: when what they tell of happened


@dataclass(slots=True, eq=False)
class Service:
    """One process behind one address."""

    number: int
    turns: Turns
    second: list[int]  # when each slot is free, a heap; those in flight are not here
    minute: list[int]
    running: dict[Batch, None] = field(default_factory=dict)
    filling: int = 0
    waiting: dict[asyncio.Future[Any], Batch] = field(default_factory=dict)
    paced: int = 0
    grant_at: int = -1
    poll_at: int = 0
    up: bool = True


@dataclass(slots=True)
class Told:
    """What happened, from the instant `since` on."""

    since: int = 0
    until: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    changed_batches: float = 0.0  # deltas that brought something, in the mean
    claims: int = 0
    busiest_minute: int = 0
    freshness: Freshness = field(default_factory=Freshness)
    changes: float = 0.0
    filled: list[int] = field(default_factory=list)  # when each salon was complete
    late: Freshness = field(default_factory=Freshness)  # deltas: from the instant when they were due to their beginning
    order: list[tuple[int, int, str, tuple[int, ...]]] = field(default_factory=list)  # if asked for: every batch

    @property
    def hours(self) -> float:
        """How long that was."""
        return (self.until - self.since) / HOUR


class Engine:
    """One simulation; it can be run on from where it stands."""

    def __init__(
        self, places: Sequence[Place], setup: Setup, queue: Queue, planner: Planner, *, keep_order: bool = False
    ) -> None:
        self.setup, self.queue, self.planner = setup, queue, planner
        self.places = {place.company: place for place in places}
        preset, api = setup.preset, setup.api
        second = min(preset.per_second, api.per_second)
        minute = min(preset.per_minute, api.per_minute)
        self.services = [Service(n, Turns(), [0] * second, [0] * minute) for n in range(setup.addresses)]
        self.told = Told()
        self.now = 0
        self._kept = KEPT * minute / (60 * SECOND)  # slots a tick, for what cannot wait
        self._delay = round(preset.min_delay.total_seconds() * SECOND)
        self._interval = round(preset.interval.total_seconds() * SECOND)
        self._rng = random.Random(f"{setup.seed}/engine")
        self._hooks = random.Random(f"{setup.seed}/hooks")
        self._events: list[tuple[int, int, str, Any, Any]] = []
        self._count = 0
        self._keep_order = keep_order
        self._read: dict[tuple[int, str], int] = {}
        self._open = {place.company: 4 for place in places}  # streams of a salon that were never complete
        self._hints: dict[int, list[int]] = {}
        self._minutes: Counter[tuple[int, int]] = Counter()
        self._rtt = round(setup.load.rtt * SECOND)
        self._jitter = setup.load.jitter * SECOND
        self._commit = round(setup.load.commit * SECOND)

    # --- what is done with it ---------------------------------------------------------------------------------------------

    async def begin(self, at: int = 0) -> None:
        """Empty salons, all due; the services start."""
        await self.queue.prepare(list(self.places), at, hints=self.setup.hooks)
        self._start_services(at)

    async def begin_live(self, at: int) -> None:
        """Salons that were filled long ago, their next readings spread evenly; the services start."""
        rng = random.Random(f"{self.setup.seed}/due")
        rows = rows_of(list(self.places), hints=self.setup.hooks)
        for row in rows:
            row.live = True
            cadence = self._cadence(row.stream)
            row.due = at if row.stream == HINTS else at + round(rng.random() * cadence)
            place = self.places.get(row.company)
            if row.stream in DELTAS and place is not None:
                # The night before this instant is done.
                done = instant(at + place.ahead * HOUR - RECHECK_HOUR * HOUR).date()
                row.cursor = settled(place, row.stream, instant(at), done)
                self.planner.settle(place, row.stream, at)
        await self.queue.settle(rows)
        self._open = dict.fromkeys(self._open, 0)
        self._start_services(at)

    def _start_services(self, at: int) -> None:
        self.now = at
        self.told = Told(since=at)
        for service in self.services:
            # Nobody starts at the same instant as another.
            service.poll_at = at + 10_000 + service.number * POLL // len(self.services)
            self._at(service.poll_at, "poll", service)
        if self.setup.hooks:
            self._at(at, "hour", None)

    def measure(self) -> None:
        """What is told begins now."""
        self.told = Told(since=self.now)
        self._minutes.clear()

    async def run(self, until: int) -> Told:
        """Go on until then."""
        handlers: dict[str, Callable[[Any, Any], Awaitable[None]]] = {
            "poll": self._poll, "grant": self._granting, "answer": self._answered, "done": self._done, "hour": self._hour,
            "hook": self._hooked, "down": self._down, "gone": self._gone, "up": self._up,
        }  # fmt: skip
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, what, one, other = heapq.heappop(events)
            await handlers[what](one, other)
        self.now = self.told.until = until
        self.told.busiest_minute = max(self._minutes.values(), default=0)
        return self.told

    def outage(self, service: int, begin: int, end: int) -> None:
        """One machine, and its address, is gone from then to then."""
        self._at(begin, "down", self.services[service])
        self._at(end, "up", self.services[service])

    def _at(self, at: int, what: str, one: Any, other: Any = None) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, what, one, other))

    # --- a service -------------------------------------------------------------------------------------------------------

    async def _poll(self, service: Service, _: object) -> None:
        if not service.up:
            return
        if service.poll_at > self.now:
            self._at(service.poll_at, "poll", service)
            return
        await self._claim(service)
        self._at(service.poll_at, "poll", service)

    async def _claim(self, service: Service) -> None:
        """As scheduler.loop: until nothing is taken; then not before a second has passed or a batch has ended."""
        while True:
            free = PLACES - len(service.running)
            if free < 1:
                break
            no_filling = service.filling >= FILLING
            limit = free if no_filling else min(free, FILLING - service.filling)
            self.told.claims += 1
            rows = await self.queue.claim(service.number, limit, self.now, no_filling=no_filling)
            if not rows:
                break
            for row in rows:
                self._start(service, row)
        service.poll_at = self.now + POLL

    def _start(self, service: Service, row: Row) -> None:
        live = row.live
        events: tuple[int, ...] = ()
        if row.stream == HINTS:
            events = tuple(self._hints.pop(row.company, ()))
            cards = self._hooks.random() < self.setup.load.hook_cards
            asked = Asked("hooks", (2,) if cards else (1,), True)
        else:
            place = self.places.get(row.company, _NOBODY)
            asked = self.planner.asked(place, row.stream, row.cursor, self.now, self.setup.preset.batch_size)
        if live and row.stream in DELTAS and row.due is not None:
            self.told.late.one((self.now - row.due) / SECOND)
        # As scheduler.runner: lists before deltas, deltas before filling.
        priority = row.priority + (5 if live else 0) + (6 if row.stream in LISTS else 0)
        batch = Batch(row, asked, self.now, priority, not live or row.failures > 0, events=events)
        service.running[batch] = None
        service.filling += batch.fills
        self.told.batches[asked.kind] += 1
        if self._keep_order:
            self.told.order.append((self.now, row.company, row.stream, asked.groups))
        batch.left = asked.groups[0]
        self._ask(service, batch)

    def _ask(self, service: Service, batch: Batch) -> None:
        while batch.left and batch.in_flight < IN_FLIGHT:
            batch.left -= 1
            batch.in_flight += 1
            service.waiting[service.turns.wait(batch.row.company, batch.priority)] = batch
        self._grant(service)

    async def _granting(self, service: Service, at: int) -> None:
        if service.grant_at == self.now:
            service.grant_at = -1
        self._grant(service)

    def _grant(self, service: Service) -> None:
        """Requests leave as long as both windows have a slot and the pace allows."""
        now, second, minute = self.now, service.second, service.minute
        while service.waiting and service.up:
            if not second or not minute:
                return  # the next answer brings one back
            at = max(second[0], minute[0], service.paced)
            if at > now:
                if service.grant_at < 0 or at < service.grant_at:
                    service.grant_at = at
                    self._at(at, "grant", service)
                return
            waiter = service.turns.next(_nobody)
            assert waiter is not None
            if service.turns.may_be_patient(waiter) and (at := now + self._short(minute)) > now:
                service.grant_at = at
                self._at(at, "grant", service)
                return
            service.turns.served(waiter)
            waiter.granted.cancel()
            batch = service.waiting.pop(waiter.granted)
            heapq.heappop(second)
            heapq.heappop(minute)
            service.paced = now + self._delay
            self.told.requests[batch.asked.kind] += 1
            self._minutes[service.number, now // (60 * SECOND)] += 1
            trip = self._rtt + round(self._rng.uniform(-self._jitter, self._jitter))
            if not batch.read:
                batch.read = now + trip // 2
            self._at(now + trip, "answer", service, batch)

    def _short(self, minute: list[int]) -> int:
        """How long until a first reading may take a slot of the minute: as limiter.sql keeps room for others."""
        ahead = sorted(at - self.now for at in minute if at > self.now)
        free = len(minute) - len(ahead)
        kept = max((self._kept * ticks - place for place, ticks in enumerate(ahead)), default=0.0)
        return 0 if free > kept else round((kept - free) / self._kept) + round(LATER_S * SECOND)

    async def _answered(self, service: Service, batch: Batch) -> None:
        heapq.heappush(service.second, self.now + SECOND)
        heapq.heappush(service.minute, self.now + 60 * SECOND)
        if batch in service.running:
            batch.in_flight -= 1
            if not batch.left and not batch.in_flight:
                batch.group += 1
                if batch.group == len(batch.asked.groups):
                    self._at(self.now + self._commit, "done", service, batch)
                else:
                    batch.left = batch.asked.groups[batch.group]
        if batch.left:
            self._ask(service, batch)
        else:
            self._grant(service)

    async def _done(self, service: Service, batch: Batch) -> None:
        if service.running.pop(batch, 0) == 0:
            return  # its service is gone
        service.filling -= batch.fills
        row, asked = batch.row, batch.asked
        cadence = self._cadence(row.stream)
        if row.stream == HINTS:
            due_in = 0
        elif asked.proved:
            due_in = cadence
        else:
            due_in = max(0, self._interval - (self.now - batch.begun))
        first = not row.live
        await self.queue.finish(row, service.number, asked, self.now, due_in, cadence)
        if row.stream in DELTAS and asked.proved:
            self._fresh(batch)
        for event in batch.events:
            self.told.freshness.one((self.now - event) / SECOND)
        if first and asked.proved and row.company:
            self._open[row.company] -= 1
            if not self._open[row.company]:
                self.told.filled.append(self.now)
        await self._claim(service)

    def _cadence(self, stream: str) -> int:
        if stream in DELTAS:
            return round(self.setup.cadence_s * SECOND)
        return round(STREAMS["services"].total_seconds() * SECOND)

    def _fresh(self, batch: Batch) -> None:
        row = batch.row
        key = row.company, row.stream
        before, self._read[key] = self._read.get(key), batch.read
        if before is None:
            return
        place = self.places[row.company]
        share = place.client_share if row.stream == "clients" else 1 - place.client_share
        rate = place.now((before + batch.read) // 2) * share
        stretch = (batch.read - before) / SECOND
        self.told.changes += rate * stretch
        if self.setup.hooks:
            rate *= self.setup.load.hook_loss  # the others were told of
        self.told.changed_batches += 1 - math.exp(-rate * stretch)
        self.told.freshness.stretch((self.now - batch.read) / SECOND, (self.now - before) / SECOND, rate)

    # --- webhooks ---------------------------------------------------------------------------------------------------------

    async def _hour(self, _: object, __: object) -> None:
        """The changes of the next hour, and the webhooks that tell of them."""
        load = self.setup.load
        for place in self.places.values():
            mean = place.now(self.now) * (1 - place.client_share) * (1 - load.hook_loss) * 3600
            for _ in range(_poisson(self._hooks, mean)):
                at = self.now + round(self._hooks.random() * HOUR)
                self._at(at + round(load.hook_delay * SECOND), "hook", place.company, at)
        self._at(self.now + HOUR, "hour", None)

    async def _hooked(self, company: int, event: int) -> None:
        if self._open[company]:
            return  # it is still being filled: the closing delta brings it
        self._hints.setdefault(company, []).append(event)
        await self.queue.hint(self.queue.rows[company, HINTS], self.now)

    # --- a machine is lost ------------------------------------------------------------------------------------------------

    async def _down(self, service: Service, _: object) -> None:
        service.up = False
        held = [batch.row for batch in service.running]
        service.running.clear()
        service.waiting.clear()
        service.turns = Turns()
        service.filling = 0
        self._at(self.now + SILENT, "gone", held)

    async def _gone(self, rows: list[Row], _: object) -> None:
        await self.queue.release(rows, self.now)

    async def _up(self, service: Service, _: object) -> None:
        service.up = True
        service.poll_at = self.now
        self._at(self.now, "poll", service)


_NOBODY = Place(0, 0, 0, 0, "UTC", 0.0, 0.0)


def _nobody(_: int) -> bool:
    return False


def _poisson(rng: random.Random, mean: float) -> int:
    """How many of a mean of `mean`, which is small."""
    left, count = rng.expovariate(1.0), 0
    while left < mean:
        left += rng.expovariate(1.0)
        count += 1
    return count
