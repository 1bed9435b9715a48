"""Is the simulation of a year what ycsync would do? Its clock, its queue, its planner, its limits, and its arithmetic."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from benchmarks import scale
from benchmarks.limit_budget import densest
from benchmarks.scaling import queues, report
from benchmarks.scaling.cases import MINUTE, TUESDAY, Case, moscow, simulate
from benchmarks.scaling.engine import Engine, Setup
from benchmarks.scaling.freshness import Freshness
from benchmarks.scaling.load import DAY, HOUR, MONDAY, SECOND, Load, Place, make_places
from benchmarks.scaling.planner import Quick, Real
from support.documents import CHECKOUT
from support.house import open_salon
from ycsync.config.settings import BUILT_IN_PRESETS

PRESET = BUILT_IN_PRESETS["aggressive"]


@pytest.mark.empty
async def test_the_unchanged_statements_run_in_virtual_time(database_url: str) -> None:
    queue = await queues.Real.open(database_url)
    try:
        await queue.prepare([7], 0, hints=False)
        assert {row.company for row in await queue.claim(0, 16, HOUR, no_filling=False)} == {0, 7}
        await queue.finish(queue.rows[7, "staff"], 0, Real(30, 1).asked(_place(), "staff", None, HOUR, 80), HOUR, DAY, DAY)
        rows = await queue.database.fetch(
            "select due_at, updated_at, claimed_at from yclients.sync_status where stream = 'staff'"
        )
        assert rows[0]["due_at"] - MONDAY == timedelta(hours=25)
        assert rows[0]["updated_at"] - MONDAY == timedelta(hours=1)
        # Defaults of columns too: the tables were made under that clock.
        assert await queue.database.fetchval("select started_at from yclients.workers") - MONDAY == timedelta(hours=1)
        assert await queue.claim(0, 16, 25 * HOUR - 1, no_filling=False) == []
        assert len(await queue.claim(0, 16, 25 * HOUR, no_filling=False)) == 1
    finally:
        await queue.close()


BUSY = Load(clients=100.0, changes_a_visit=2000.0)
NOON, NIGHT = moscow(TUESDAY, 12), moscow(TUESDAY, 3)


@pytest.mark.parametrize(
    ("case", "kinds"),
    [
        (
            Case(
                "a machine dies and comes back, and webhooks come as soon as a salon is complete", 6, 2, NOON, 2 * MINUTE,
                fill=True, hooks=True, exact=True, lost=(NOON + 10 * SECOND, NOON + 70 * SECOND), load=BUSY,
            ),
            {"fill", "lists", "hooks"},
        ),
        (Case("a night falls", 40, 1, NIGHT - MINUTE, 2 * MINUTE, warm=0, exact=True), {"delta", "recheck"}),
    ],
    ids=["machines", "night"],
)  # fmt: skip
async def test_the_queue_in_memory_takes_the_same_work_in_the_same_order(
    database_url: str, case: Case, kinds: set[str]
) -> None:
    memory = await asyncio.to_thread(simulate, case)
    real = await asyncio.to_thread(simulate, case, database_url)
    assert kinds <= set(memory.requests)
    assert real.count == memory.count > 10
    assert real.batches_in_order == memory.batches_in_order
    assert real.requests == memory.requests


async def test_the_quick_planner_asks_what_the_planner_asks() -> None:
    """Over a filling and the night after it."""
    places = make_places(30, Load(), 5)
    told = []
    for planner in (Real(PRESET.recheck_days, 30), Quick(Real(PRESET.recheck_days, 30))):
        engine = Engine(places, Setup(1, PRESET, Load()), queues.Memory(), planner)
        await engine.begin(moscow(TUESDAY, -1.5))  # Monday evening
        await engine.run(moscow(TUESDAY, 3.5))
        told.append(engine.told.requests)
    assert told[0]["fill"] > 500
    assert told[0]["recheck"] > 50
    for kind, count in told[0].items():
        assert told[1][kind] == pytest.approx(count, rel=0.02), kind


@pytest.mark.parametrize(("clients", "visits"), [(400, 2200)])
async def test_the_simulated_salon_costs_what_a_real_pass_costs(database_url: str, clients: int, visits: int) -> None:
    planner = Real(60, 1)
    place = _place(clients, visits)
    async with open_salon(database_url, clients=clients, visits=visits) as (_, house):
        (company,) = await house.companies()
        for stream in ("clients", "records"):
            cursor = None
            for kind in ("fill", "delta", "recheck"):
                if kind == "recheck":
                    house.tomorrow_night()
                before = house.requests
                await house.proved(company, stream)
                asked = planner.asked(place, stream, cursor, (house.clock() - MONDAY) // timedelta(microseconds=1), 500)
                cursor = asked.cursor
                assert asked.proved
                assert asked.kind == kind
                assert sum(asked.groups) == pytest.approx(house.requests - before, rel=0.1, abs=1), (stream, kind)


async def test_simulated_addresses_keep_the_limits_and_use_them() -> None:
    arrived: list[float] = []

    class Heard(Engine):
        """An engine whose requests are noted, when they reach the server."""

        def _at(self, at: int, what: str, one: object, other: object = None) -> None:
            if what == "answer":
                arrived.append((at - self._rtt // 2) / SECOND)
            super()._at(at, what, one, other)

    setup = Setup(1, PRESET, Load(jitter=0.0))
    engine = Heard(make_places(60, Load(), 1), setup, queues.Memory(), Quick(Real(30, 60)))
    await engine.begin(0)
    told = await engine.run(8 * MINUTE)
    assert densest(arrived, 1.0) <= 5
    assert densest(arrived, 60.0) <= 200
    assert told.requests.total() >= 0.97 * 200 * 8


def test_freshness_is_exact() -> None:
    fresh = Freshness()
    fresh.stretch(1.0, 301.0, 2.0)  # read every five minutes, and a second to store it
    assert fresh.weight == pytest.approx(600)
    assert fresh.quantile(0.5) == pytest.approx(151, abs=0.25)
    assert fresh.quantile(0.99) == pytest.approx(298, abs=0.25)
    for _ in range(1800):
        fresh.one(6.1)
    assert fresh.quantile(0.5) == pytest.approx(6.25)
    assert fresh.quantile(0.9) == pytest.approx(181, abs=0.25)
    both = Freshness()
    both.add(fresh, 3)
    assert both.quantile(0.9) == fresh.quantile(0.9)
    assert both.weight == pytest.approx(3 * 2400)


def test_the_document_has_a_place_for_all_that_its_command_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = "--quick --no-measuring --salons 3 --many 6 --curve 3 --jobs 1 --exact-minutes 0 --day-hours 0.2"
    monkeypatch.setattr("sys.argv", ["scale.py", *tiny.split()])
    scale.main()
    told = capsys.readouterr().out
    document = (CHECKOUT / "docs" / "scale.md").read_text("utf-8")
    assert "tests/benchmarks/scale.py --write docs/scale.md" in document
    written = report.written(document, told)
    assert "| 3 | without | 1 | 0.00 |" in written, "a table has become the one that was told"
    assert report.written(written, told) == written
    lines = document.splitlines()
    for assumption in report.assumptions(Load()).splitlines():
        assert not assumption.startswith("| `--") or assumption in lines


def _place(clients: int = 10, visits: int = 10) -> Place:
    return Place(7, clients, visits, 3, "Europe/Moscow", 0.0, 0.0)
