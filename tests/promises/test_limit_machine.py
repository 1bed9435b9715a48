"""Is there any order of events in which the server counts too many requests? A machine looks for one, in time moved by hand.

The real limiter and its real statements run on a real PostgreSQL; the processes, the network and the server are played here.
What is played is bounded by what ycsync/limiter.py assumes, and by nothing else: a request arrives within RELAX_S of being
sent, within TRANSIT_S of its sender's end, or never; and no process begins between a jump of the database's clock and the
moment that another one notices it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from conftest import Effort
from limitlog import SCHEMA, VirtualClock, fresh_database
from ycsync import sql
from ycsync.limiter import RELAX_S, TRANSIT_S, Lease, Limiter, Rates

T = TypeVar("T")
LIMITS = st.sampled_from([(2, 40), (2, 5), (1, 3)])  # the API's, a second and a minute: small, so that a few events fill them
EGRESSES = ("one", "two")
ADDRESSES = st.sampled_from(["one", "one", "one", "two"])
PRESETS = st.sampled_from([(9, 99), (9, 99), (2, 5), (1, 99), (9, 3)])
TIME_OUTS = st.sampled_from([1.0, 30.0])
# The worst are the ends; what lies between is for luck.
DELAYS = st.sampled_from([0.0, RELAX_S, 0.0, RELAX_S, 0.3, 1.0, TRANSIT_S, 3.0])
FATES = ["answered", "unanswered", "abandoned", "crash", "late", "jump"]
PLACES = st.integers(0, 99)  # which of those that there are, modulo


@dataclass(slots=True, eq=False)
class Sent:
    """A lease, and the request that left with it. `arrives` None: never."""

    process: Process
    lease: Lease
    left: float | None = None
    arrives: float | None = None
    over: bool = False  # answered, or given up
    timed_out: bool = False

    def hang_up(self, now: float) -> None:
        """The sender's end is closed: what is on its way arrives soon, or never. Soon is the worse."""
        self.over = True
        if self.arrives is not None:
            self.arrives = min(self.arrives, max(now, self.left or 0.0) + TRANSIT_S)


@dataclass(slots=True, eq=False)
class Process:
    egress: str
    owner: int
    timeout_s: float
    rates: Rates
    limiter: Limiter = field(init=False)


class World(RuleBasedStateMachine):
    """Processes, their requests, and two addresses as the server sees them."""

    clock: ClassVar[VirtualClock]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.dead: list[Process] = []
        self.requests: list[Sent] = []
        self.log: dict[str, list[float]] = defaultdict(list)
        self.owners = 0
        self.clock.at = self.clock.offset = 0.0
        self.unnoticed: set[str] = set()  # addresses that a jump of the clock is still to be noticed at
        self.weather = ""
        self.limits = (1, 1)
        self.do(self.clock.to(0.0))
        for table in ("limiter_slots", "limiter_egress", "pauses"):
            self.do(self.clock.execute(f"delete from {SCHEMA}.{table}"))

    def do(self, what: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await what

        return self.runner.run(wrapped())

    @property
    def now(self) -> float:
        return self.clock.at

    @property
    def held(self) -> list[Sent]:
        return [one for one in self.requests if not one.over and one.left is None]

    @property
    def open(self) -> list[Sent]:
        return [one for one in self.requests if not one.over and one.left is not None]

    # --- processes ------------------------------------------------------------------------------------------------------

    @initialize(
        limits=LIMITS, weather=st.sampled_from(["calm", "calm", "throttled", "jumps"]),
        presets=st.lists(PRESETS, min_size=2, max_size=2), timeout_s=TIME_OUTS,
    )  # fmt: skip
    def begin_the_first(self, limits: tuple[int, int], weather: str, presets: list[tuple[int, int]], timeout_s: float) -> None:
        self.limits = limits
        # What slows everything down is left out of most tries: a budget that is not used up cannot be exceeded.
        self.weather = weather
        for preset in presets:
            self.begin("one", preset, timeout_s)

    @precondition(lambda self: len(self.processes) < 4 and not self.unnoticed)
    @rule(egress=ADDRESSES, preset=PRESETS, timeout_s=TIME_OUTS)
    def begin(self, egress: str, preset: tuple[int, int], timeout_s: float) -> None:
        self.owners += 1
        process = Process(egress, self.owners, timeout_s, self._rates(preset))
        process.limiter = self.clock.limiter(egress, self.owners, lambda: process.rates, timeout_s)
        self.do(process.limiter.prepare(*self.limits))
        self.processes.append(process)

    @precondition(lambda self: self.processes)
    @rule(place=PLACES, preset=PRESETS)
    def reload(self, place: int, preset: tuple[int, int]) -> None:
        process = self.processes[place % len(self.processes)]
        process.rates = self._rates(preset)
        self.do(process.limiter.prepare(*self.limits))

    @precondition(lambda self: len(self.processes) > 1 and not self.unnoticed)
    @rule(place=PLACES)
    def crash(self, place: int) -> None:
        process = self.processes.pop(place % len(self.processes))
        self.dead.append(process)
        for one in self.requests:
            if one.process is process and not one.over:
                one.hang_up(self.now)

    @precondition(lambda self: self.dead)
    @rule(place=PLACES)
    def reap(self, place: int) -> None:
        process = self.dead[place % len(self.dead)]
        self.do(self.clock.execute(sql.load("work.sql", SCHEMA)["free_slots"], [process.owner], TRANSIT_S))

    # --- requests -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.processes)
    @rule(place=PLACES, company=st.integers(1, 2), patient=st.booleans())
    def acquire(self, place: int, company: int, patient: bool) -> None:
        process = self.processes[place % len(self.processes)]
        found = self.do(process.limiter.ask(company, patient=patient))
        if isinstance(found, Lease):
            self.requests.append(Sent(process, found))
        self.settle(process)

    @rule(place=PLACES, delay=DELAYS)
    def burst(self, place: int, delay: float) -> None:
        """As many requests as are granted leave at the worst moment: as soon as a slot is free."""
        process = self.processes[place % len(self.processes)]
        for one in self.all_slots(process):
            one.left, one.arrives = self.now, self.now + delay

    @rule(
        place=PLACES, other=PLACES, delay=DELAYS, idle=st.sampled_from([0.0, 0.0, 0.0, 1.9, 6.5, 27.9]),
        after=st.sampled_from([0.0, 0.3, RELAX_S]), fate=st.sampled_from(FATES),
    )  # fmt: skip
    def attack(self, place: int, other: int, delay: float, idle: float, after: float, fate: str) -> None:
        """A burst, a fate, and another's burst as soon as that allows it. Single rules would seldom meet like this."""
        process = self.processes[place % len(self.processes)]
        mine = self.all_slots(process)
        self.time_goes_on(idle)
        for one in mine:
            self.leave(one, delay)
        self.time_goes_on(after)
        if fate == "crash" and len(self.processes) > 1 and not self.unnoticed:
            self.crash(place)
            self.reap(len(self.dead) - 1)
        elif fate == "jump" and self.weather == "jumps":
            self.the_databases_clock_jumps(70.0 if after else 3.0)
        for one in mine:
            if not one.over and self.may_say(one, fate):
                self._say(one, fate)
        self.burst(other, 0.0)
        if fate == "late":
            for one in mine:
                if one.timed_out:
                    self._say(one, "answered")
            self.burst(other, 0.0)

    def may_say(self, one: Sent, what: str) -> bool:
        if what == "answered":
            return one.arrives is not None and one.arrives <= self.now
        if what == "unanswered":
            return one.left is not None and one.left + RELAX_S <= self.now
        return what == "abandoned"

    def all_slots(self, process: Process) -> list[Sent]:
        """All that is granted at the moment of the next slot."""
        wait = sql.load("limiter.sql", SCHEMA)["wait"]
        for _ in range(3):
            row = self.do(self.clock.fetchrow(wait, process.egress, process.rates.per_second, process.rates.per_minute, 3, 0.0))
            assert row is not None
            self.time_goes_on(row["seconds"])
        mine = []
        while isinstance(found := self.do(process.limiter.ask(3)), Lease):
            mine.append(Sent(process, found))
        self.settle(process)
        self.requests += mine
        return mine

    def leave(self, one: Sent, delay: float | None) -> None:
        if one.process.limiter.still_good(one.lease):
            one.left, one.arrives = self.now, None if delay is None else self.now + delay
        else:
            self._say(one, "unused")

    @precondition(lambda self: self.open)
    @rule()
    def all_are_answered_as_they_arrive(self) -> None:
        for one in sorted(self.open, key=lambda one: (one.arrives is None, one.arrives)):
            if one.arrives is not None and not one.over:
                self.time_goes_on(max(0.0, one.arrives - self.now))
                if not one.over:
                    self._say(one, "answered")

    def settle(self, process: Process) -> None:
        self.do(process.limiter.close())
        self.unnoticed.discard(process.egress)

    @precondition(lambda self: self.held)
    @rule(place=PLACES, delay=st.one_of(st.none(), DELAYS))
    def send(self, place: int, delay: float | None) -> None:
        """At any time after the grant: the sender may have been frozen."""
        self.leave(self.held[place % len(self.held)], delay)

    @precondition(lambda self: any(one.timed_out for one in self.requests))
    @rule(place=PLACES, what=st.sampled_from(["answered", "unanswered", "abandoned"]))
    def a_frozen_process_wakes_and_says_what_is_long_over(self, place: int, what: str) -> None:
        late = [one for one in self.requests if one.timed_out]
        one = late[place % len(late)]
        getattr(one.process.limiter, what)(one.lease)
        self.do(one.process.limiter.close())

    @precondition(lambda self: self.held)
    @rule(place=PLACES)
    def cancel_before_sending(self, place: int) -> None:
        self._say(self.held[place % len(self.held)], "unused")

    @precondition(lambda self: self.open)
    @rule()
    def none_has_an_answer_after_the_time_that_takes(self) -> None:
        for one in list(self.open):
            assert one.left is not None
            self.time_goes_on(max(0.0, one.left + RELAX_S - self.now))
            if not one.over:
                one.process.limiter.unanswered(one.lease)
                self.do(one.process.limiter.close())

    @precondition(lambda self: self.open)
    @rule(place=PLACES)
    def cancel_after_sending(self, place: int) -> None:
        self._say(self.open[place % len(self.open)], "abandoned")

    # --- circumstances --------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.001, 0.3, 0.999, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 30.0, 59.0]))
    def time_goes_on(self, seconds: float) -> None:
        to = round(self.now + seconds, 6)
        for one in self.open:  # time-outs, each at its moment
            assert one.left is not None
            if one.left + one.process.timeout_s <= to:
                one.hang_up(one.left + one.process.timeout_s)
                one.timed_out = True
        self.do(self.clock.to(to))

    @precondition(lambda self: self.processes and self.weather == "throttled")
    @rule(place=PLACES, wait_s=st.sampled_from([0.0, 1.0, 10.0]))
    def throttled(self, place: int, wait_s: float) -> None:
        self.do(self.processes[place % len(self.processes)].limiter.throttled(wait_s))

    @rule(company=st.sampled_from([1, 0]))
    def pause_and_resume(self, company: int) -> None:
        """A paused salon is given nothing; the others are."""
        work = sql.load("work.sql", SCHEMA)
        self.do(self.clock.execute(work["pause"], [company]))
        for process in self.processes:
            assert not isinstance(self.do(process.limiter.ask(1)), Lease)
        self.do(self.clock.execute(work["resume"], [company]))

    @precondition(lambda self: self.processes and self.weather == "jumps")
    @rule(seconds=st.sampled_from([3.0, 15.0, 70.0, 3600.0, -3.0, -70.0, -3600.0]))
    def the_databases_clock_jumps(self, seconds: float) -> None:
        self.do(self.clock.jump(seconds))
        self.unnoticed = {process.egress for process in self.processes}

    # --- what must hold -------------------------------------------------------------------------------------------------

    @invariant()
    def the_server_never_counts_too_many(self) -> None:
        for egress in EGRESSES:
            arrivals = sorted(
                one.arrives
                for one in self.requests
                if one.process.egress == egress and one.arrives is not None and one.arrives <= self.now
            )
            for window, limit in zip((1.0, 60.0), self.limits, strict=True):
                for first, last in zip(arrivals, arrivals[limit:], strict=False):
                    # A microsecond is what the database's clock can tell.
                    assert last - first >= window - 1e-6, f"{egress}: {limit + 1} in {window:.0f} s, {arrivals}"
                if len(arrivals) >= limit:
                    event(f"a window of {window:.0f} s was full")

    def teardown(self) -> None:
        """Everything that is on its way arrives; after an hour of quiet the whole budget is there again."""
        self.do(self.clock.to(self.now + RELAX_S))
        self.the_server_never_counts_too_many()
        self.do(self.clock.to(self.now + 3700.0))
        for egress in EGRESSES:
            limiter = self.clock.limiter(egress, 1000, lambda: Rates(*self.limits, 0.0))
            self.do(limiter.prepare(*self.limits))
            self.do(self.clock.to(self.now + 100.0))
            granted = [self.do(limiter.ask(1)) for _ in range(self.limits[0] + 1)]
            assert [isinstance(one, Lease) for one in granted] == [True] * self.limits[0] + [False], "a slot is lost"

    def _say(self, one: Sent, what: str) -> None:
        getattr(one.process.limiter, what)(one.lease)
        if what != "unanswered" and not one.over:
            one.hang_up(self.now)
        self.do(one.process.limiter.close())

    def _rates(self, preset: tuple[int, int]) -> Rates:
        return Rates(min(preset[0], self.limits[0]), min(preset[1], self.limits[1]), 0.0)


@pytest.mark.timeout(3600)
def test_no_order_of_events_makes_the_server_count_too_many(postgres_dsn: str, effort: Effort) -> None:
    with asyncio.Runner() as runner:
        opened = fresh_database(postgres_dsn)
        clocked = VirtualClock.open(runner.run(enter(opened)))
        World.runner, World.clock = runner, runner.run(enter(clocked))
        try:
            run_state_machine_as_test(
                hypothesis_seed(effort.seed)(World),
                settings=settings(
                    max_examples=effort.of(150, 4000),
                    stateful_step_count=effort.of(50, 60),
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(leave(clocked))
            runner.run(leave(opened))


async def enter(opened: AbstractAsyncContextManager[T]) -> T:
    return await opened.__aenter__()


async def leave(opened: AbstractAsyncContextManager[object]) -> None:
    await opened.__aexit__(None, None, None)
