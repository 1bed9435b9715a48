"""`kill -9` at any await of `ycsync sync`: is everything there after the next run, and was nothing done twice?

The quick form kills at places spread over each kind of pass; several deaths in a row share a database. The soak takes
every place, edge and repetition as time allows, in random order, each with a database of its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from conftest import Effort
from support.dying import Figures, Scene, open_scene
from support.killing import Point, all_points, points_of
from ycsync.simulator import Options, Simulator
from ycsync.simulator.report import Budget
from ycsync.simulator.salon import Salon

SALON = Options(clients=40, visits=300, records_cap=60, clients_cap=25, per_second=0, per_minute=0)
DEATHS = 6  # in one database, one after the other
pytestmark = pytest.mark.timeout(400)
HITS = 0.4  # a resumed run does not pass every place of a first one; so many must have died where they were told to


async def until_done(scene: Scene, figures: Figures, points: Sequence[Point]) -> list[Point]:
    """Die at each point in turn, then run to the end; a run that is not hit is complete. Returns the points not tried."""
    left = list(points)
    died: list[Point] = []
    trial = await scene.trial()
    try:
        while left:
            died.append(left.pop(0))
            death = await trial.run("sync", at=died[-1])
            if not death.hit:
                break
            await trial.check_dead()
        else:
            death = await trial.run("sync")
        assert death.code == 0, death.code
        await trial.check_end()
    except AssertionError as exc:
        raise AssertionError(f"{exc}\nafter deaths at {[str(point) for point in died]}") from exc
    figures.add(trial.figures)
    await scene.drop_trial(trial)
    return left


async def kill_everywhere(
    scene: Scene, effort: Effort, quick: int, soak_s: float, only: str = "", part: tuple[int, int] = (0, 1)
) -> Figures:
    """`quick` places, evenly; or every point in random order for so many seconds. `only`: places that contain this.

    `part`: which of how many equal parts of the quick places.
    """
    rehearsal = await scene.rehearse("sync")
    found = [point for point in all_points(rehearsal) if only in point.place]
    figures = Figures()
    begun = time.monotonic()
    if effort.soak:
        random.Random(effort.seed).shuffle(found)
        for point in found:
            await until_done(scene, figures, [point])
            if time.monotonic() - begun > soak_s:
                break
    else:
        places = [point for point in points_of(rehearsal) if only in point.place]
        left = places[:: max(1, len(places) // quick)][part[0] :: part[1]]
        while left:
            left = [*await until_done(scene, figures, left[:DEATHS]), *left[DEATHS:]]
    told = f"{len({point.place for point in found})} places, {len(found)} points; {figures}; seed {effort.seed}"
    print(f"figures: {told}; {time.monotonic() - begun:.0f} s")
    assert figures.hits >= HITS * figures.tried, told
    assert max(figures.open) > 1, "nothing was ever in flight: nothing was tried"
    return figures


@asynccontextmanager
async def _scene(folder: Path, server: str, extra: str = "", **options: object) -> AsyncIterator[Scene]:
    chosen = Options(**{**{name: getattr(SALON, name) for name in SALON.__slots__}, **options})
    async with Simulator(chosen) as simulator, open_scene(simulator, folder, server, extra=extra) as scene:
        yield scene


@pytest.mark.parametrize("half", [0, 1])  # side by side: both take as long as anything else here
async def test_a_first_pass_in_bulk(tmp_path: Path, postgres_dsn: str, effort: Effort, half: int) -> None:
    async with _scene(tmp_path, postgres_dsn) as scene:
        await kill_everywhere(scene, Effort(effort.soak, effort.seed + half), 40, 90, part=(half, 2))


async def test_a_first_pass_client_by_client(tmp_path: Path, postgres_dsn: str, effort: Effort) -> None:
    async with _scene(tmp_path, postgres_dsn, "history: by_client", clients=12, visits=120) as scene:
        await kill_everywhere(scene, effort, 6, 70, "records.py")


def _much_happens(salon: Salon) -> None:
    """More than one page holds, so that the delta has windows of its own."""
    rng = random.Random(1)
    for client in list(salon.clients)[::2]:
        salon.change_client(client, comment="other words")
    salon.add_client()
    for number, record in enumerate(rng.sample(list(salon.records), 90)):
        if number % 9 == 0:
            salon.cancel_record(record)
        elif number % 3 == 0:
            salon.move_record(record, datetime.now(UTC) + timedelta(days=number % 20))
        else:
            salon.change_record(record, comment="other words")


def _something_is_gone(salon: Salon) -> None:
    """Without a trace: only a reading of everything tells."""
    recent = (datetime.now(UTC) - timedelta(days=30)).date().isoformat()
    records = [record for record in salon.records if str(salon.records[record]["date"])[:10] > recent]
    for record in records[::6][:8]:
        salon.purge_record(record)
    for record in records[1::6][:8]:
        salon.pay_record(record, stamp=False)
    visited = {(salon.records[record].get("client") or {}).get("id") for record in salon.records}
    spare = [client for client in salon.clients if client not in visited]
    for client in spare[:2]:
        salon.delete_client(client)


async def _changed(scene: Scene, change: Callable[[Salon], None]) -> None:
    for _ in range(3):
        scene.simulator.world.salons[scene.company].add_client()  # they never come
    await scene.filled()
    change(scene.simulator.world.salons[scene.company])


async def test_a_delta_of_a_live_salon(tmp_path: Path, postgres_dsn: str, effort: Effort) -> None:
    async with _scene(tmp_path, postgres_dsn) as scene:
        await _changed(scene, _much_happens)
        await kill_everywhere(scene, effort, 8, 70, "sync/")


async def test_a_night_with_deletions(tmp_path: Path, postgres_dsn: str, effort: Effort) -> None:
    async with _scene(tmp_path, postgres_dsn) as scene:
        await _changed(scene, _something_is_gone)
        scene.night = True
        connection = await asyncpg.connect(scene.url(scene.template))
        await connection.execute(
            'update yclients.sync_status set cursor = cursor || \'{"rechecked_on": "2020-01-01"}\' where cursor is not null'
        )
        await connection.close()
        await kill_everywhere(scene, effort, 8, 70, "sync/")
        before, after = scene.before, scene.after
        assert any(row not in after["records"] for row in before["records"])
        assert any(row not in after["clients"] for row in before["clients"])


async def test_restarts_in_a_row_stay_within_the_limit(tmp_path: Path, postgres_dsn: str, effort: Effort) -> None:
    """What a dead process had in flight still counts, for the server has counted it."""
    options = Options(clients=20, visits=100, records_cap=60, latency=0.05, jitter=0.04)
    async with Simulator(options) as simulator, open_scene(simulator, tmp_path, postgres_dsn, per_second=5) as scene:
        rehearsal = await scene.rehearse("sync")
        random_ = random.Random(effort.seed)
        points = [point for point in all_points(rehearsal) if "api/" in point.place or "answer arrived" in point.place]
        begun = time.monotonic()
        for _ in range(effort.of(1, 12)):
            trial = await scene.trial()
            # A new database knows nothing of the requests before it; neither must the server.
            simulator._budget = Budget(options.per_second, options.per_minute)
            chosen = sorted(random_.sample(points, 3), key=lambda point: point.number)
            for point in chosen:
                death = await trial.run("sync", at=point)
                await trial.check_dead()  # also of a run that lived: the next one is a new wish for what it has proved
                if not death.hit:
                    break
            assert (await trial.run("sync")).code == 0
            await trial.check_end()
            report = simulator.report()
            assert report.max_1s <= 5, (report, [str(point) for point in chosen])
            assert report.max_60s <= 200, report
            assert report.answers.keys() <= {"200", "left", "pending"}, report
            await scene.drop_trial(trial)
            if time.monotonic() - begun > 60:
                break
