"""A pass proves itself over HTTP and PostgreSQL: a salon that changes in every way after every answer ends exact."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

import pytest

from conftest import Effort
from support.house import House, assert_equal, open_salon, still
from ycsync.errors import ApiError
from ycsync.simulator import Salon, Simulator

SALON = 4001
BOTH = ("clients", "records")
SOAK_S = 360.0


@dataclass(frozen=True)
class Case:
    """One salon and one server."""

    seed: int
    clients: int
    visits: int
    full_day: int
    changes: int
    history: str
    records_cap: int
    clients_cap: int
    tie_order: str
    direction: str
    changed_zone: str
    units: int


def drawn(seed: int, turn: int) -> Case:
    """Every cap, order and way in a few turns; the sizes by chance."""
    rng = random.Random(f"{seed}/{turn}")
    records_cap = (53, 300, 37, 97, 1000)[turn % 5]
    return Case(
        seed=rng.randrange(10**6),
        clients=rng.choice([12, 60, 130, 350]),
        visits=rng.choice([90, 400, 900]) if records_cap < 100 else rng.choice([400, 1500]),
        full_day=rng.choice([0, records_cap + 30]) if records_cap < 100 else 0,
        changes=turn % 5 + 1,
        history="by_client" if turn % 4 == 3 else "auto",
        records_cap=records_cap,
        clients_cap=(41, 300, 23)[turn % 3],
        tie_order=("random", "day", "id")[turn % 3],
        direction=("desc", "asc")[turn % 2],
        changed_zone=rng.choice(["local", "utc"]),
        units=rng.choice([4, 80]),
    )


def traceless(salon: Salon, rng: random.Random) -> None:
    """A payment of the last days that moves no time of change."""
    today = salon.today()
    recent = [
        one for one in rng.sample(list(salon.bookings.rows), min(40, len(salon.bookings.rows)))
        if abs(_days(salon, one, today)) < 50
    ]  # fmt: skip
    if recent:
        salon.pay_record(recent[0], stamp=False)


def _days(salon: Salon, record: int, today: Any) -> int:
    return int(salon.bookings.rows[record].start // 86_400 - (today.toordinal() - 719_163))


def merge(salon: Salon, rng: random.Random) -> None:
    """Two cards of one person become one: the visits of the card that goes are the other's."""
    if len(salon.clients) < 2:
        return
    salon.merge_clients(*rng.sample(list(salon.clients), 2), stamp=True)  # without: integration/test_sync_merged.py


def nudge(salon: Salon, rng: random.Random) -> None:
    """A visit moves to the next day: across the edge of a window."""
    if salon.bookings.rows:
        one = rng.choice(list(salon.bookings.rows))
        date = salon.records[one]["date"]
        salon.move_record(one, f"{date[:8]}{1 + int(date[8:10]) % 28:02d}{date[10:]}")


def back(salon: Salon, rng: random.Random) -> None:
    """A client that was deleted is there again."""
    if salon._gone_clients:
        salon.return_client(rng.choice(list(salon._gone_clients)))


def walk_in(salon: Salon, rng: random.Random) -> None:
    """A visit that belongs to nobody."""
    salon.add_record(f"{salon.today()} {rng.randrange(9, 20):02d}:00:00", client_id=None)


MORE = (traceless, merge, nudge, back, walk_in)


def restless(sim: Simulator, changes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every answer, so many changes: those of the simulator's own churn, and MORE."""
    rng = random.Random(f"{sim.options.seed}/more")

    def change(numbers: tuple[int, ...]) -> None:
        salon = sim.world.salons[SALON]
        for _ in range(changes):
            if rng.random() < 0.4:
                rng.choice(MORE)(salon, rng)
            else:
                salon.churn_once(rng)

    monkeypatch.setattr(sim, "_change", change)


async def proved(house: House, stream: str, **options: Any) -> None:
    """Batches until it is proved; a day that moves faster than it can be read is tried again, as the service does."""
    for _ in range(20):
        try:
            await house.proved(SALON, stream, **options)
        except ApiError:
            continue
        return
    raise AssertionError(f"{stream} is never proved")


async def a_pass(case: Case, database_url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Fill a restless salon, let it stand still, read a cycle and a night. Returns requests and changes."""
    options: dict[str, Any] = {
        "seed": case.seed, "clients": case.clients, "visits": case.visits, "records_cap": case.records_cap,
        "clients_cap": case.clients_cap, "tie_order": case.tie_order, "direction": case.direction,
        "changed_zone": case.changed_zone,
    }  # fmt: skip
    extra = "" if case.history == "auto" else f"history: {case.history}"
    async with open_salon(database_url, extra, **options) as (sim, house):
        salon = sim.world.salons[SALON]
        staff = list(salon.staff)
        for place in range(case.full_day):
            salon.add_record(f"2026-03-02 {9 + place % 11:02d}:30:00", staff_id=staff[place % (1 + place % len(staff))])
        await house.companies()
        with monkeypatch.context() as patched:
            restless(sim, case.changes, patched)
            for stream in ("services", "staff", *BOTH):
                await proved(house, stream, units=case.units)
            requests = house.requests
            for stream in BOTH:
                await proved(house, stream)
        still(sim)
        await house.cycle(SALON, BOTH)
        house.tomorrow_night()
        await house.cycle(SALON, BOTH, confirm=True)  # of so few, many are gone
        await assert_equal(sim, house)
        doubled = await house.database.fetchval(
            "select count(*) - count(distinct (company_id, id)) from yclients.records where company_id = $1", SALON
        )
        assert doubled == 0
        return requests, requests * case.changes


@pytest.mark.parametrize("turn", range(6))
async def test_a_salon_that_changes_in_every_way_after_every_answer_is_exact_after_a_cycle_and_a_night(
    database_url: str, effort: Effort, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    case = drawn(effort.seed, turn)
    try:
        await a_pass(case, database_url, monkeypatch)
    except AssertionError as error:
        raise AssertionError(case) from error


@pytest.mark.timeout(SOAK_S + 240)
async def test_hundreds_of_restless_salons_are_exact(
    database_url: str, effort: Effort, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = time.monotonic() + effort.of(0, int(SOAK_S))
    turn, changes = 6, 0
    while turn == 6 or time.monotonic() < until:
        case = drawn(effort.seed, turn)
        try:
            changes += (await a_pass(case, database_url, monkeypatch))[1]
        except AssertionError as error:
            raise AssertionError((effort.seed, turn, case)) from error
        await empty(database_url)
        turn += 1
    print(f"figures: {turn - 6} salons, {changes} changes while they were read, from seed {effort.seed}")


async def empty(database_url: str) -> None:
    """The next salon begins with nothing."""
    import asyncpg

    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("drop schema yclients cascade")
    finally:
        await connection.close()


async def test_a_filter_that_was_not_applied_once_is_trusted_again_the_next_night(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_salon(database_url, clients=30, visits=400) as (sim, house):
        await house.companies()
        await house.cycle(SALON)
        with monkeypatch.context() as patched:
            patched.setattr(sim._endpoints, "_changed", lambda call, salon: (None, None))
            await house.cycle(SALON, BOTH)
        ignored = "select count(*) from yclients.sync_status where (cursor->>'delta_ignored')::bool"
        assert await house.database.fetchval(ignored) == 2
        house.tomorrow_night()
        await house.cycle(SALON, BOTH)
        await house.cycle(SALON, BOTH)
        assert await house.database.fetchval(ignored) == 0
        sim.forget()
        await house.cycle(SALON, BOTH)
        assert all("changed_after=" in seen.query for seen in sim.log)
        await assert_equal(sim, house)
