"""A pass proves itself: sync's own batches read a salon in memory that changes between any two answers.

Each time a stream is called proved, `Desk.check` compares: whatever has not changed since the instant that is claimed is
there, as it is. At the end, after a cycle and a night on which nothing changes, everything is.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Effort
from support.desk import Desk
from support.salons import KINDS, Habits, Shop, Total
from ycsync.errors import ApiError

SOAK_S = 120.0  # for each of the three kinds of pass


@dataclass(frozen=True)
class Case:
    """One salon, one server, one way to be interrupted; `seed` begins every random choice."""

    seed: int
    streams: tuple[str, ...]
    habits: Habits
    history: str
    clients: int
    visits: int
    full_day: int
    churn: int
    pace: float
    units: int
    crash: float
    one_master: bool
    imported: bool
    zone: str


async def a_pass_a_cycle_and_a_night(desk: Desk, streams: tuple[str, ...], **options: Any) -> None:
    """Twice while the salon changes, then still: a cycle, then a night. What is claimed on the way the desk checks itself."""
    for _ in range(2 if desk.churn else 1):
        for stream in streams:
            await desk.until_proved(stream, **options)
    desk.churn = 0
    desk.habits = replace(desk.habits, failing=0.0, dropped=0.0)
    for stream in streams:
        desk.shop.clock += 1
        await desk.until_proved(stream, **options)
        desk.check(stream, desk.now())
    desk.night()
    for stream in streams:
        await desk.until_proved(stream, confirm=True, **options)
        desk.check(stream)


def run(case: Case) -> Desk:
    """Try one case."""
    shop = Shop(random.Random(case.seed), zone=case.zone, skew=case.habits.skew)
    shop.staff = 1 if case.one_master else 9
    if case.habits.usual:
        # Pages that cannot overlap are joined by their places: a client that returns between two requests moves them.
        shop.kinds = tuple(kind for kind in KINDS if kind != "returned client")
    shop.imported, shop.unmade = case.imported, case.habits.creation == "absent"
    shop.fill(case.clients, case.visits, case.full_day)
    desk = Desk(shop, case.habits, case.churn, case.pace)
    options = {"units": case.units, "crash": case.crash, "history": case.history}
    asyncio.run(a_pass_a_cycle_and_a_night(desk, case.streams, **options))
    return desk


def cases(streams: tuple[str, ...], history: str = "auto") -> st.SearchStrategy[Case]:
    """Every habit with every size; what contradicts itself or cannot be proved by anybody is made possible."""

    @st.composite
    def draw_case(draw: st.DrawFn) -> Case:
        cap = draw(st.sampled_from([20, 25, 37, 53, 97, 131, 300, 1000]))
        full_day = draw(st.sampled_from([0, 0, 0, 40, 160])) if "records" in streams else 0
        habits = Habits(
            cap=cap,
            usual=draw(st.sampled_from([0, 0, 0, 0, 20, 25])),
            reverts=draw(st.sampled_from([0, 0, 20, 25])) if cap > 25 else 0,
            newest_first=draw(st.booleans()),
            ties=draw(st.sampled_from(["random", "id", "day"])),
            end=draw(st.sampled_from(["day", "day", "instant", "before"])),
            total=draw(st.sampled_from(["true", "true", "true", "none", "high", "low", "page", "capped", "zero"])),
            beyond=draw(st.sampled_from(["nothing", "nothing", "404", "last", "first"])),
            dates=draw(st.integers(0, 20)) > 0,
            creation=draw(st.sampled_from(["day", "day", "instant", "ignored", "absent"])) if full_day else "day",
            changes=draw(st.integers(0, 12)) > 0,
            zone=draw(st.sampled_from(["local", "utc"])),
            clients_newest_first="clients" in streams and draw(st.integers(0, 9)) == 0,
            dropped=draw(st.sampled_from([0.0, 0.0, 0.05])),
            failing=draw(st.sampled_from([0.0, 0.0, 0.2])),
            server_time=draw(st.booleans()),
            skew=draw(st.sampled_from([0.0, 0.0, -90.0, 90.0])),
        )
        if habits.clients_newest_first:
            # An order that is not documented is read where nothing else is odd.
            total: Total = "none" if habits.total == "none" else "true"
            habits = replace(habits, usual=0, reverts=0, dropped=0.0, beyond="nothing", total=total)
        if habits.beyond in ("last", "first") and habits.total != "true" and "clients" in streams:
            # A count that lies and a list that begins again: what changes meanwhile may look like either, without end.
            habits = replace(habits, beyond="nothing")
        if habits.beyond in ("last", "first") and habits.total != "true" and not habits.dates:
            habits = replace(habits, beyond="nothing")  # the same with the visits, when all of them are one list
        if habits.beyond == "first" and habits.total != "true":
            habits = replace(habits, beyond="last")  # else nothing tells a list that has ended from one that begins again
        if full_day:
            # A day of several pages ends with a page that is short or empty; too low a count may be the sum that was found.
            habits = replace(
                habits,
                beyond="404" if habits.beyond == "404" else "nothing",
                total="page" if habits.total == "low" else habits.total,
            )
        return Case(
            seed=draw(st.integers(0, 10**9)),
            streams=streams,
            habits=habits,
            history=history,
            clients=draw(st.sampled_from([0, 1, 14, 19, 20, 21, 25, 26, 77, 300, 301, 450])),
            visits=draw(st.sampled_from([0, 1, 14, 19, 20, 21, 25, 26, 99, 100, 400, 900])),
            full_day=full_day,
            churn=draw(st.sampled_from([0, 1, 2, 3, 5])),
            pace=draw(st.sampled_from([0.2, 2.0, 100.0])),
            units=draw(st.sampled_from([1, 3, 80])),
            crash=draw(st.sampled_from([0.0, 0.0, 0.3])),
            one_master=draw(st.booleans()),
            imported=draw(st.integers(0, 4)) == 0,
            zone=draw(st.sampled_from(["Europe/Moscow", "America/New_York", "Asia/Vladivostok", "UTC"])),
        )

    return draw_case()


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of passes say the same few things."""
    for module in ("batch", "clients", "pages", "records", "windows"):
        monkeypatch.setattr(f"ycsync.sync.{module}.emit", lambda *_args, **_fields: None)


@pytest.mark.timeout(SOAK_S + 120)
@pytest.mark.parametrize(
    ("streams", "history", "examples"),
    [(("clients",), "auto", 200), (("records",), "auto", 60), (("clients", "records"), "by_client", 25)],
)
def test_whatever_the_server_does_and_the_salon_changes_nothing_is_lost_and_no_claim_is_wrong(
    effort: Effort, streams: tuple[str, ...], history: str, examples: int
) -> None:
    tried = 0

    @given(case=cases(streams, history))
    def prove(case: Case) -> None:
        nonlocal tried
        run(case)
        tried += 1

    # A case is small as it is, and says all that it takes to repeat it.
    chunk = settings(max_examples=examples, phases=[hypothesis.Phase.generate])(prove)
    if not effort.soak:
        chunk()
        assert tried >= examples
        return
    seeds = random.Random(effort.seed)
    until = time.monotonic() + SOAK_S
    while time.monotonic() < until:
        hypothesis.seed(seeds.randrange(10**9))(chunk)()
    print(f"figures: {tried} cases of {'+'.join(streams)} ({history}), from seed {effort.seed}")


@pytest.mark.parametrize("total", ["true", "high"])
async def test_a_list_whose_pages_do_not_go_on_is_an_error_and_no_claim_and_is_read_when_they_do(
    total: Literal["true", "high"],
) -> None:
    shop = Shop(random.Random(1))
    shop.fill(clients=200, visits=0)
    desk = Desk(shop, Habits(cap=50, pages=False, total=total))
    for _ in range(3):
        with pytest.raises(ApiError):
            await desk.until_proved("clients", errors=0)
    assert not desk.proofs
    desk.habits = Habits(cap=50)
    await desk.until_proved("clients", errors=1)
    desk.check("clients")


@pytest.mark.parametrize("cap", [1, 2, 3, 5, 7, 11, 14, 15])
@pytest.mark.parametrize("total", ["true", "none"])
@pytest.mark.parametrize("fixed", [False, True])
async def test_pages_of_a_handful_are_read_to_the_end(cap: int, total: Literal["true", "none"], fixed: bool) -> None:
    shop = Shop(random.Random(cap))
    shop.fill(clients=40, visits=40, days=60)
    desk = Desk(shop, Habits(cap=cap, usual=cap if fixed else 0, total=total, ties="id"))
    for stream in ("clients", "records"):
        await desk.until_proved(stream)
        desk.check(stream)


async def test_the_closing_readings_of_a_salon_that_never_rests_end_with_a_claim_that_is_true() -> None:
    """Every delta is larger than a page, so none is one moment: the desk checks what is claimed after the last."""
    shop = Shop(random.Random(1))
    shop.fill(clients=60, visits=400)
    desk = Desk(shop, Habits(cap=25), churn=5, pace=0.2)
    for _ in range(4):
        await desk.until_proved("records")
    assert sum("changed_after" in line and "start_date=2000" not in line for line in desk.log) > 20
    assert desk.proofs == 4


@pytest.mark.parametrize("stream", ["clients", "records"])
async def test_a_quiet_cycle_after_few_changes_is_one_request(stream: str) -> None:
    """What earlier readings taught of the server's pages saves the question whether so few rows are a page."""
    shop = Shop(random.Random(1))
    shop.fill(clients=150, visits=150)
    desk = Desk(shop)
    await desk.until_proved(stream)
    for rows in (0, 1, 14, 20, 25, 60):
        for row in list((shop.clients if stream == "clients" else shop.visits).values())[:rows]:
            row.note += 1
            shop.touch(row)
        before = desk.requests
        shop.clock += 3600
        await desk.until_proved(stream)
        assert desk.requests - before == 1, rows
        desk.check(stream)
        shop.clock += 3600


@pytest.mark.parametrize("creation", ["day", "instant", "ignored", "absent"])
@pytest.mark.parametrize(("churn", "most"), [(0, 100), (2, 215)])
async def test_days_of_more_visits_than_a_page_are_read_by_the_dates_on_which_they_were_made(
    creation: Literal["day", "instant", "ignored", "absent"], churn: int, most: int
) -> None:
    """Thirty masters work on each of eight days: by member of staff it takes 300 requests, 430 where the days change."""
    shop = Shop(random.Random(1))
    shop.staff = 30
    shop.unmade = creation == "absent"
    shop.fill(clients=0, visits=1600, days=8)
    desk = Desk(shop, Habits(cap=97, creation=creation), churn)
    await desk.until_proved("records")
    by_creation = [line for line in desk.log if "c_start_date" in line or "c_end_date" in line]
    if creation == "ignored":
        assert 0 < len(by_creation) < 10, "one day shows it"
    else:
        assert len(by_creation) > 20
        assert not [line for line in desk.log if "staff_id" in line]
    if creation in ("day", "instant"):
        assert desk.requests <= most
    desk.churn = 0
    desk.shop.clock += 1
    await desk.until_proved("records")
    desk.check("records", desk.now())
