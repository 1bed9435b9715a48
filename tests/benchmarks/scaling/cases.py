"""Which stretches of time are simulated, and what is told of each? One case is one simulation, in a process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.scaling import planner, queues
from benchmarks.scaling.engine import Engine, Setup, Told
from benchmarks.scaling.freshness import Freshness
from benchmarks.scaling.load import DAY, HOUR, SECOND, Load, make_places
from ycsync.config.settings import BUILT_IN_PRESETS
from ycsync.store.embedded import EmbeddedPostgres

MOSCOW = 3 * HOUR  # a day is Moscow's, where most salons are
TUESDAY, WEDNESDAY, SATURDAY, SUNDAY = 1, 2, 5, 6
MINUTE = 60 * SECOND
DELTA_S, RECONCILE_S = 300.0, 1800.0  # cadences: by itself, and while hooks flow
OVERDUE = 0.05  # of the cadence, in the median: more, and the addresses do not keep up


@dataclass(frozen=True, slots=True)
class Case:
    """A stretch. `fill`: from empty; else of salons that were filled long ago, after a warm-up. Times: microseconds."""

    name: str
    salons: int
    addresses: int
    begin: int
    length: int
    warm: int = 30 * MINUTE
    hooks: bool = False
    fill: bool = False
    age: float = 0.0
    lost: tuple[int, int] | None = None  # one address is gone from then to then
    exact: bool = False  # the planner itself on every batch
    preset: str = "aggressive"
    load: Load = field(default_factory=Load)
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What a case told."""

    case: Case
    hours: float
    requests: Counter[str]
    batches: Counter[str]
    freshness: Freshness
    late: Freshness
    changes: float
    changed_batches: float
    claims: int
    busiest_minute: int
    filled: tuple[float, ...]  # hours from the beginning, by salon
    batches_in_order: str  # a digest of who was taken when and what it asked
    count: int

    @property
    def all(self) -> int:
        """All requests."""
        return sum(self.requests.values())

    @property
    def keeps_up(self) -> bool:
        """Is work begun when it is due?"""
        return self.late.quantile(0.5) <= OVERDUE * cadence_s(self.case.hooks)


def cadence_s(hooks: bool) -> float:
    """How often clients and records are asked for."""
    return RECONCILE_S if hooks else DELTA_S


def moscow(day: int, hour: float) -> int:
    """An instant by Moscow's clock; day 0 is a Monday."""
    return day * DAY + round(hour * HOUR) - MOSCOW


def simulate(case: Case, database_url: str | None = None) -> Figures:
    """Run one case; with a database, on the real queue."""
    return asyncio.run(_simulate(case, database_url))


def simulate_really(case: Case) -> Figures:
    """Run one case on the real queue, in a throw-away PostgreSQL."""
    folder = Path(mkdtemp(prefix="ycsync-scale-"))
    server = EmbeddedPostgres(folder, durable=False)
    try:
        return simulate(case, server.start())
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _simulate(case: Case, database_url: str | None) -> Figures:
    queue = queues.Memory() if database_url is None else await queues.Real.open(database_url)
    try:
        engine = _engine(case, queue, keep_order=case.exact)
        if case.fill:
            await engine.begin(case.begin)
        else:
            await engine.begin_live(case.begin - case.warm)
            await engine.run(case.begin)
            engine.measure()
        if case.lost is not None:
            engine.outage(0, *case.lost)
        end = case.begin + case.length
        if case.fill and not case.exact:
            while engine.now < end and len(engine.told.filled) < case.salons:
                await engine.run(min(end, engine.now + 10 * MINUTE))
            end = engine.now
        told = await engine.run(end)
    finally:
        if isinstance(queue, queues.Real):
            await queue.close()
    return _figures(case, told)


def _engine(case: Case, queue: queues.Queue, *, keep_order: bool) -> Engine:
    preset = BUILT_IN_PRESETS[case.preset]
    places = make_places(case.salons, case.load, case.seed, age_years=case.age)
    real = planner.Real(preset.recheck_days, case.salons)
    setup = Setup(case.addresses, preset, case.load, cadence_s=cadence_s(case.hooks), hooks=case.hooks, seed=case.seed)
    return Engine(places, setup, queue, real if case.exact else planner.Quick(real), keep_order=keep_order)


def _figures(case: Case, told: Told) -> Figures:
    order = hashlib.sha256(repr(told.order).encode()).hexdigest()[:12] if case.exact else ""
    return Figures(
        case=case,
        hours=told.hours,
        requests=told.requests,
        batches=told.batches,
        freshness=told.freshness,
        late=told.late,
        changes=told.changes,
        changed_batches=told.changed_batches,
        claims=told.claims,
        busiest_minute=told.busiest_minute,
        filled=tuple((at - case.begin) / HOUR for at in told.filled),
        batches_in_order=order,
        count=sum(told.batches.values()),
    )


# --- how many addresses -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needed:
    """The smallest numbers of addresses, and what freshness is with them in the busiest hours."""

    salons: int
    hooks: bool
    keeps_up: Figures
    patient: Figures | None  # without hooks: half as many do, if ten minutes are soon enough
    tried: tuple[int, ...]


def needed(question: tuple[int, bool, str, Load, int]) -> Needed:
    """How many addresses do so many salons need, on a Saturday at noon? (salons, hooks, preset, load, seed)"""
    salons, hooks, preset, load, seed = question
    known: dict[int, Figures] = {}

    def tried(addresses: int) -> Figures:
        if addresses not in known:
            at, warm = moscow(SATURDAY, 12), (35 if hooks else 20) * MINUTE
            case = Case("needed", salons, addresses, at, 15 * MINUTE, warm, hooks, preset=preset, load=load, seed=seed)
            known[addresses] = simulate(case)
        return known[addresses]

    guess = _minute(salons, hooks, load, seed) / min(BUILT_IN_PRESETS[preset].per_minute, 200)
    keeps_up = _least(lambda n: tried(n).keeps_up, guess)
    patient = None
    if not hooks:
        patient = tried(_least(lambda n: tried(n).freshness.quantile(0.99) <= 2 * DELTA_S, guess / 2))
    return Needed(salons, hooks, tried(keeps_up), patient, tuple(sorted(known)))


def _minute(salons: int, hooks: bool, load: Load, seed: int) -> float:
    """Requests a minute in that hour, if none waits."""
    readings = salons * 2 * 60 / cadence_s(hooks)
    if not hooks:
        return readings
    records = sum(place.now(moscow(SATURDAY, 12)) * (1 - place.client_share) for place in make_places(salons, load, seed))
    return readings + 60 * records * (1 - load.hook_loss) * (1 + load.hook_cards)


def _least(good: Callable[[int], bool], guess: float) -> int:
    """The smallest number that is good, near a guess; beyond 40 to within a fortieth."""
    at = max(1, int(guess))
    step = max(1, at // 40)
    if good(at):
        while at > step and good(at - step):
            at -= step
        return at
    while not good(at):
        at += step
    return at
