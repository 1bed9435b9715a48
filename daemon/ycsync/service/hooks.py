"""How does a thousand hints a second get into the database, each of them before its sender is told so?

One task keeps what waits: while one insert is under way the next hints gather, and each insert takes all of them. A hint that
could not be kept is answered so, and remembered in memory: YCLIENTS does not send it again, so it is kept when the database is
back, and if there are too many, what their salons have is looked at instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ycsync import logs
from ycsync.errors import DatabaseError
from ycsync.logs import emit, get_logger
from ycsync.model import Ended, Heard, Hint, one_of_each
from ycsync.model.hooks import DELETE
from ycsync.service.engine import Engine
from ycsync.service.overview import Overview
from ycsync.store.hooks import Hooks
from ycsync.web import NotKept

MOST_WAITING = 5_000  # hints that wait for an insert
MOST_MISSED = 20_000  # hints that could not be kept, in memory
RETRY_S = 1.0
UNKNOWN_S = 60.0  # between two looks for a salon that nobody knows
# What is looked at in a salon of which too many hints were missed.
ALL = ("records", "clients", "service", "staff", "good", "goods_operation", "finance_operation", "schedule")
Told = dict[tuple[int, str, int], tuple[str, int]]
_log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """What one body told, and whoever waits until it is kept."""

    hints: tuple[Hint, ...]
    ended: tuple[Ended, ...]
    kept: asyncio.Future[None]


@dataclass(slots=True)
class Intake:
    """Takes hints in, in one process.

    `wanted`: is this a salon that is synced? `unknown`: one was named that is not; `kept`: there is work.
    `count`: so many webhooks came, and what became of them (one of metrics.HOOK_RESULTS).
    """

    store: Hooks
    wanted: Callable[[int], bool]
    unknown: Callable[[], None]
    kept: Callable[[], None]
    count: Callable[[str, int], None]
    _waiting: list[_Waiting] = field(default_factory=list)
    _size: int = 0
    _missed: Told = field(default_factory=dict)
    _missed_ended: dict[int, Ended] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def hear(self, heard: Heard) -> None:
        """Returns when all of it is in the database. Raises NotKept."""
        hints = tuple(one for one in heard.hints if self.wanted(one.company))
        ended = tuple(one for one in heard.ended if self.wanted(one.company))
        ignored = len(heard.hints) - len(hints) + len(heard.ended) - len(ended)
        if ignored:
            self.unknown()
        if ignored + heard.ignored:
            self.count("ignored", ignored + heard.ignored)
        if not hints and not ended:
            return
        if self._size >= MOST_WAITING:
            self._miss(hints, ended)
            raise NotKept("too many wait to be kept; what changed is found without this webhook")
        waiting = _Waiting(hints, ended, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._size += len(hints) + len(ended)
        self._news.set()
        await waiting.kept

    async def run(self) -> None:
        """Keep what comes, until cancelled; then who waits is told that it is not kept."""
        try:
            while True:
                await self._next()
        finally:
            for one in self._take():
                self._answer(one, NotKept("the service stops; what changed is found without this webhook"))

    async def _next(self) -> None:
        if not self._waiting:
            self._news.clear()
            with suppress(TimeoutError):  # then what was missed is tried again
                async with asyncio.timeout(RETRY_S if self._missed or self._missed_ended else None):
                    await self._news.wait()
        taken = self._take()
        told = one_of_each(hint for one in taken for hint in one.hints)
        ended = [each for one in taken for each in one.ended]
        # What is missed from here on is not in this insert.
        missed, self._missed = self._missed, {}
        missed_ended, self._missed_ended = self._missed_ended, {}
        try:
            await self.store.hear(_together(missed, told), [*missed_ended.values(), *ended])
        except DatabaseError as exc:
            self._missed, self._missed_ended = _together(missed, self._missed), {**missed_ended, **self._missed_ended}
            for one in taken:
                self._miss(one.hints, one.ended)
                self._answer(one, NotKept("the database is away; what changed is found without this webhook"))
            if taken:
                emit(_log, logs.HOOKS_LOST, count=len(taken), error=exc)
            return
        except asyncio.CancelledError:
            for one in taken:
                self._answer(one, NotKept("the service stops; what changed is found without this webhook"))
            raise
        for each in (*missed_ended.values(), *ended):
            emit(_log, logs.SALON_ENDED, company=each.company, reason=each.reason)
        for one in taken:
            self.count("queued", len(one.hints) + len(one.ended))
            self._answer(one, None)
        self.kept()

    def _take(self) -> list[_Waiting]:
        taken, self._waiting, self._size = self._waiting, [], 0
        return taken

    def _answer(self, one: _Waiting, problem: NotKept | None) -> None:
        if one.kept.done():
            return  # whoever waited has gone
        if problem is None:
            one.kept.set_result(None)
        else:
            one.kept.set_exception(problem)

    def _miss(self, hints: tuple[Hint, ...], ended: tuple[Ended, ...]) -> None:
        """They are not kept, and shall be found soon all the same."""
        self.count("lost", len(hints) + len(ended))
        self._missed_ended.update({one.company: one for one in ended})
        for key, told in one_of_each(iter(hints)).items():
            if len(self._missed) < MOST_MISSED or key in self._missed:
                self._missed[key] = told
            else:
                for resource in ALL:
                    self._missed[key[0], resource, 0] = ("update", 1)


def _together(before: Told, told: Told) -> Told:
    """Both; that something was deleted is not forgotten."""
    found = dict(before)
    for key, (status, count) in told.items():
        old, counted = found.get(key, (status, 0))
        found[key] = (old if old == DELETE else status, counted + count)
    return found


def intake_of(engine: Engine, overview: Overview) -> Intake:
    """What takes hints in for a running service."""
    scheduler = engine.scheduler
    asked = -UNKNOWN_S
    asking: set[asyncio.Task[None]] = set()

    async def list_again() -> None:
        with suppress(DatabaseError):
            await engine.work.list_again()
            scheduler.wake()

    def unknown() -> None:
        nonlocal asked
        if time.monotonic() - asked >= UNKNOWN_S:
            asked = time.monotonic()
            task = asyncio.create_task(list_again(), name="list again")
            asking.add(task)
            task.add_done_callback(asking.discard)

    return Intake(
        Hooks(engine.database.named("queue")), lambda company: not scheduler.wanted.is_unwanted(company), unknown,
        scheduler.wake, overview.metrics.hook,
    )  # fmt: skip
