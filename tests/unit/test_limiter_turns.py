"""Who is next among those who wait, and does the limiter notice a clock that jumps? Without a database."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.patience import SAFETY_S
from ycsync.limiter import SHARE, Clocks, Lease, Limiter, Rates, Turns

COMMAND, LISTS, DELTA, FILLING = 100, 6, 5, 0
WHEN = datetime(2025, 10, 9, 8, tzinfo=UTC)


def nobody(_: int) -> bool:
    return False


def serve(turns: Turns) -> tuple[int, int]:
    """One grant; who had it (priority, salon)."""
    waiter = turns.next(nobody)
    assert waiter is not None
    turns.served(waiter)
    waiter.granted.cancel()
    return waiter.priority, waiter.company


async def test_a_delta_overtakes_a_filling_at_once_or_after_one_request() -> None:
    turns = Turns()
    for company in range(100):
        turns.wait(company, FILLING)
    after = []
    for _ in range(50):
        turns.wait(7, DELTA)
        served = [serve(turns)[0]]
        while served[-1] != DELTA:
            served.append(serve(turns)[0])
        after.append(len(served) - 1)
    assert max(after) <= 1
    assert after.count(0) > 40


async def test_every_class_has_a_share_while_a_command_never_rests() -> None:
    turns = Turns()
    had: Counter[int] = Counter()
    for priority in (COMMAND, LISTS, DELTA, FILLING):
        turns.wait(1, priority)
    for _ in range(1100):
        priority, _ = serve(turns)
        had[priority] += 1
        turns.wait(1, priority)
    assert had[COMMAND] >= 1100 * SHARE / (SHARE + 3) - SHARE
    assert min(had.values()) >= 1100 / (SHARE + 3) - 2


@given(st.lists(st.tuples(st.sampled_from([COMMAND, 105, LISTS, DELTA, FILLING]), st.integers(1, 4)), max_size=30), st.data())
def test_nobody_waits_for_ever_whoever_else_comes(wanted: list[tuple[int, int]], data: st.DataObject) -> None:
    async def look() -> None:
        turns = Turns()
        priority, company = data.draw(st.tuples(st.sampled_from([FILLING, DELTA, LISTS]), st.integers(1, 4)))
        for rival in wanted:
            turns.wait(rival[1], rival[0])
        mine = turns.wait(company, priority)
        ahead = sum(1 for rival in wanted if rival[0] == priority)
        # In its class: those that were there, and one more turn of each other salon. Between two turns of a class: SHARE
        # grants to higher ones, and one to each other class that is due.
        bound = (ahead + 4 + 1) * (SHARE + 5)
        for _ in range(bound):
            turns.wait(data.draw(st.integers(1, 4)), data.draw(st.sampled_from([COMMAND, 105])))
            serve(turns)
            if mine.done():
                return
        pytest.fail(f"still waiting after {bound} grants")

    asyncio.run(look())


async def test_one_salons_higher_class_does_not_cost_it_its_turn_in_a_lower_one() -> None:
    turns = Turns()
    for company in (1, 2):
        for _ in range(60):
            turns.wait(company, FILLING)
    had: Counter[int] = Counter()
    for _ in range(20 * (SHARE + 1)):
        turns.wait(1, COMMAND)
        priority, company = serve(turns)
        if priority == FILLING:
            had[company] += 1
    assert abs(had[1] - had[2]) <= 1
    assert had[1] >= 8


async def test_a_stopped_salon_earns_nothing_while_it_is_stopped() -> None:
    turns = Turns()
    turns.wait(9, FILLING)
    for _ in range(3 * SHARE):
        turns.wait(1, DELTA)
        waiter = turns.next(lambda company: company == 9)
        assert waiter is not None
        assert waiter.company == 1
        turns.served(waiter)
        waiter.granted.cancel()
    turns.wait(1, DELTA)
    assert serve(turns)[0] == DELTA
    assert turns.next(lambda company: True) is None
    assert len(turns) == 1


# --- clocks -------------------------------------------------------------------------------------------------------------


def read(clocks: Clocks, ours: float, theirs: float, *, took: float = 0.01) -> float:
    """An answer that came `took` after it was asked for, and was given in the middle."""
    return clocks.jumped(ours - took / 2, ours + took / 2, WHEN + timedelta(seconds=theirs))


@pytest.mark.parametrize("took", [0.0, 0.001, 0.2, 20.0])
def test_a_clock_that_goes_on_is_no_jump_however_long_answers_take(took: float) -> None:
    clocks = Clocks()
    at = 100.0
    for number in range(200):
        at += 0.01 + number % 7
        assert read(clocks, at, at * 1.0002 + 5000, took=took) == 0.0  # 200 ppm apart


@pytest.mark.parametrize("by", [0.1, 3.0, 3600.0, -0.1, -3.0, -3600.0])
def test_a_jump_is_seen_once_and_not_taken_for_less(by: float) -> None:
    clocks = Clocks()
    for ours in (10.0, 10.5):
        assert read(clocks, ours, ours) == 0.0
    seen = read(clocks, 11.0, 11.0 + by)
    if by > 0:
        assert by <= seen <= by + 0.02
    else:
        assert by - 0.02 <= seen < 0
    assert read(clocks, 11.5, 11.5 + by) == 0.0


def test_a_slow_answer_does_not_make_the_limiter_forget_what_it_knew() -> None:
    clocks = Clocks()
    assert read(clocks, 10.0, 10.0) == 0.0
    assert read(clocks, 30.0, 30.0, took=20.0) == 0.0
    assert read(clocks, 31.0, 34.0) > 2.9


class NoDatabase:
    """There is none to ask."""

    async def fetch(self, query: str, *args: object) -> list[Any]:
        raise AssertionError(query)

    async def fetchrow(self, query: str, *args: object) -> Any:
        raise AssertionError(query)

    async def execute(self, query: str, *args: object) -> None:
        raise AssertionError(query)


class Generous(Limiter):
    """Grants whatever is asked for; notes when."""

    granted: list[int]

    async def ask(self, company: int, *, patient: bool = False) -> Lease | float:
        self.granted.append(company)
        return Lease(0, 0, 0, 0, WHEN)


async def test_a_salon_with_a_pace_of_its_own_keeps_it_and_holds_up_nobody() -> None:
    pace_s = 0.05
    rates = Rates(1000, 1000, 0.0)
    limiter = Generous(
        NoDatabase(),
        "s", "e", 1, lambda: rates, timeout_s=1.0, pace=lambda company: pace_s if company == 1 else 0.0,
    )  # fmt: skip
    limiter.granted = []
    running = asyncio.create_task(limiter.run())
    begun = asyncio.get_running_loop().time()
    await asyncio.gather(*(limiter.acquire(company) for company in (1, 1, 1, 2, 2, 2)))
    assert limiter.granted == [1, 2, 2, 2, 1, 1]
    assert asyncio.get_running_loop().time() - begun >= 2 * pace_s
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Tight(Generous):
    """A minute with room for those only that cannot wait."""

    async def ask(self, company: int, *, patient: bool = False) -> Lease | float:
        return 3600.0 if patient else await super().ask(company)


async def test_a_first_reading_that_waits_for_room_holds_up_nobody_and_has_its_turn_among_those_that_cannot_wait() -> None:
    rates = Rates(1000, 1000, 0.0)
    limiter = Tight(NoDatabase(), "s", "e", 1, lambda: rates, timeout_s=1.0)
    limiter.granted = []
    running = asyncio.create_task(limiter.run())
    filling = asyncio.create_task(limiter.acquire(1, FILLING))
    await asyncio.sleep(0)
    assert limiter.granted == []
    async with asyncio.timeout(SAFETY_S):
        await limiter.acquire(2, DELTA)
        assert limiter.granted == [2], "it did not wait until the filling asks again"
        await asyncio.gather(*(limiter.acquire(2, DELTA) for _ in range(2 * SHARE)), filling)
    assert limiter.granted.count(1) == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Returning(Generous):
    """Notes the leases that were given back; one who waits may give up while the database is asked."""

    returned: list[Lease]
    gives_up: asyncio.Task[Lease] | None = None

    async def ask(self, company: int, *, patient: bool = False) -> Lease | float:
        if self.gives_up is not None:
            self.gives_up.cancel()
            self.gives_up = None
            await asyncio.sleep(0)
        await super().ask(company, patient=patient)
        return Lease(company, 1, company, 1, WHEN)

    def unused(self, lease: Lease) -> None:
        self.returned.append(lease)


async def test_a_waiter_cancelled_at_its_grant_returns_it() -> None:
    """The lease was granted, and the one who waited is cancelled before it wakes up: nobody else knows of the lease."""
    limiter = Returning(NoDatabase(), "s", "e", 1, lambda: Rates(1000, 1000, 0.0), timeout_s=1.0)
    limiter.granted, limiter.returned = [], []
    waiting = asyncio.create_task(limiter.acquire(1))
    await asyncio.sleep(0)
    waiter = limiter._turns.next(nobody)
    assert waiter is not None
    lease = Lease(3, 1, 7, 1, WHEN)
    waiter.granted.set_result(lease)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert limiter.returned == [lease]


async def test_a_lease_for_a_waiter_that_gave_up_is_returned() -> None:
    """It gave up while the database was asked for its lease."""
    limiter = Returning(NoDatabase(), "s", "e", 1, lambda: Rates(1000, 1000, 0.0), timeout_s=1.0)
    limiter.granted, limiter.returned = [], []
    waiting = asyncio.create_task(limiter.acquire(1))
    limiter.gives_up = waiting
    running = asyncio.create_task(limiter.run())
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await limiter.acquire(2) not in limiter.returned
    assert limiter.granted == [1, 2]
    assert len(limiter.returned) == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
