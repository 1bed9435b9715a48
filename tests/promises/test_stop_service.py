"""`ycsync run` stopped at any await, by SIGKILL or SIGTERM, while it starts, works and stops: does the next one go on?"""

from __future__ import annotations

import asyncio
import random
import signal
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from conftest import Effort
from support.dying import Figures, Scene, open_scene
from support.killing import Point, all_points, points_of
from support.patience import SAFETY_S
from support.place import Place
from ycsync.simulator import Options, Simulator

SALON = Options(clients=40, visits=300, records_cap=60, clients_cap=25, per_second=0, per_minute=0)
OUT_S = 2.0  # by the service's own clock, see support.patience: it holds on a busy machine
IN_FLIGHT = 12  # six pages of visits, six of clients
HITS = 0.3  # of the deaths that are planned, at least; a place is not reached each time: who comes first is chance
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def scene(tmp_path: Path, postgres_dsn: str) -> AsyncIterator[Scene]:
    """A salon, and services to kill."""
    async with Simulator(SALON) as simulator, open_scene(simulator, tmp_path, postgres_dsn) as scene:
        scene.after = scene.look()
        yield scene


@contextmanager
def _told(what: str, point: Point) -> Iterator[None]:
    """A failure says what had happened where."""
    try:
        yield
    except AssertionError as exc:
        raise AssertionError(f"{exc}\nafter {what} at {point}") from exc


async def _places(scene: Scene, effort: Effort, quick: int, *, stopping: bool = False) -> list[Point]:
    trial = await scene.trial()
    death = await trial.serve(armed_by_stop=stopping)
    assert death.code == 0
    await trial.check_end()
    scene.usual_from(trial)
    if effort.soak:
        points = all_points(death)
        random.Random(effort.seed).shuffle(points)
        return points
    points = points_of(death)
    return points[:: max(1, len(points) // quick)]


async def test_a_service_that_is_killed_leaves_its_work_to_the_next_one(scene: Scene, effort: Effort) -> None:
    points = await _places(scene, effort, 8)
    figures, begun = Figures(), time.monotonic()
    for point in points:
        trial = await scene.trial()
        with _told("a death", point):
            death = await trial.serve(at=point)
            if death.hit:
                assert death.code == -signal.SIGKILL
                await trial.check_dead()
                death = await trial.serve()
            assert death.code == 0
            await trial.check_end()
        figures.add(trial.figures)
        await scene.drop_trial(trial)
        if time.monotonic() - begun > 80:
            break
    print("figures: the service,", figures, f"seed {effort.seed}; {time.monotonic() - begun:.0f} s")
    assert figures.hits >= HITS * figures.tried


async def test_what_was_committed_is_not_asked_again_because_the_batch_was_not_finished(scene: Scene, effort: Effort) -> None:
    """Between the last commit of a batch and the row that says when it is due again."""
    trial = await scene.trial()
    death = await trial.serve()
    scene.usual_from(trial)
    places = [place for place, edge in death.points if edge == "leaves" and "The batch is over" in place]
    assert len(places) == 1, "the statement that finishes a batch has another name"
    for number in range(3, 3 + effort.of(2, 6)):
        point = Point(places[0], "leaves", number)
        trial = await scene.trial()
        with _told("a death", point):
            assert (await trial.serve(at=point)).hit
            await trial.check_dead()
            assert (await trial.serve()).code == 0
            await trial.check_end()


async def test_a_batch_that_was_stopped_is_not_called_lost(scene: Scene, effort: Effort) -> None:
    """SIGTERM while the books of a batch are opened or closed: `lost` is what a crash leaves, and `verify` counts it."""
    trial = await scene.trial()
    death = await trial.serve()
    scene.usual_from(trial)
    books = ("The batch is over", 'update "yclients".sync_batches')
    # Each stream has its own: what is done only once is the end's, not a batch's.
    often = [place for (place, edge), count in death.points.items() if edge == "leaves" and count > 3]
    places = [place for place in often if any(text in place for text in books)]
    assert len(places) == len(books), places
    tried = hits = 0
    for number in range(3, 3 + effort.of(3, 8)):
        for place in places:
            point = Point(place, "leaves", number)
            trial = await scene.trial()
            with _told("SIGTERM", point):
                death = await trial.serve(at=point, signal=signal.SIGTERM)
                assert death.code == 0
                tried, hits = tried + 1, hits + death.hit
                await trial.check_left()
    assert hits >= tried / 2


async def test_the_wish_of_a_command_dies_with_it(scene: Scene) -> None:
    """`--max-batches` holds the stream back for an hour; a command that was killed does not, once a service starts."""
    trial = await scene.trial()
    what = ("sync", "--max-batches", "1", "--batch-size", "1")
    rehearsal = await trial.run(*what)
    places = [place for place, edge in rehearsal.points if edge == "leaves" and "The command that aske" in place]
    assert rehearsal.code == 1
    assert places
    trial = await scene.trial()
    assert (await trial.run(*what, at=Point(places[0], "leaves", 1))).hit
    assert (await trial.serve()).code == 0
    await trial.check_end()


async def test_a_service_that_is_killed_while_it_stops_leaves_nothing_half_done(scene: Scene, effort: Effort) -> None:
    points = await _places(scene, effort, 4, stopping=True)
    figures, begun = Figures(), time.monotonic()
    for point in points:
        trial = await scene.trial()
        with _told("a death", point):
            death = await trial.serve(at=point, armed_by_stop=True)
            await trial.check_dead()
            if death.hit:
                assert death.code == -signal.SIGKILL
                death = await trial.serve()
            assert death.code == 0
            await trial.check_end()
        figures.add(trial.figures)
        await scene.drop_trial(trial)
        if time.monotonic() - begun > 40:
            break
    print("figures: the service,", figures, f"seed {effort.seed}; {time.monotonic() - begun:.0f} s")
    assert figures.hits >= HITS * figures.tried


async def test_sigterm_at_any_await_ends_the_service_within_two_seconds(scene: Scene, effort: Effort) -> None:
    points = await _places(scene, effort, 8)
    figures, begun, slowest = Figures(), time.monotonic(), 0.0
    for point in points:
        trial = await scene.trial()
        with _told("SIGTERM", point):
            death = await trial.serve(at=point, signal=signal.SIGTERM)
            assert death.code == 0, death.code
            if death.hit:
                assert death.seconds is not None
                assert death.seconds < OUT_S, death.seconds
                slowest = max(slowest, death.seconds)
            await trial.check_dead()
            await trial.check_left()
            assert (await trial.serve()).code == 0
            await trial.check_end()
        figures.add(trial.figures)
        await scene.drop_trial(trial)
        if time.monotonic() - begun > 80:
            break
    print("figures: SIGTERM,", figures, f"slowest {slowest:.2f} s; seed {effort.seed}; {time.monotonic() - begun:.0f} s")
    assert figures.hits >= HITS * figures.tried


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_service_that_is_stopped_before_it_is_ready_ends_at_once(place: Place, signum: signal.Signals) -> None:
    # Another process brings the schema up to date and never ends: the start waits for its lock.
    other = await asyncpg.connect(place.database_url)
    async with other.transaction():
        await other.execute("select pg_advisory_xact_lock($1)", zlib.crc32(b"ycsync:yclients"))
        service = await place.start("run")
        async with asyncio.timeout(SAFETY_S):
            while not await other.fetchval("select exists (select from pg_locks where not granted)"):
                await asyncio.sleep(0.02)
        stopped = await place.stop(service, signum)
    await other.close()
    # On a busy machine too: without the time that it waits for a processor.
    assert (stopped.code, stopped.seconds < OUT_S, stopped.requests) == (0, True, 0), stopped
    assert "service.starting" in place.log()
    assert "service.ready" not in place.log()
    assert "service.stopped" in place.log()
    assert "Traceback" not in place.log()
    again = await place.run("sync")
    assert again.code == 0, again.err


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_service_that_works_ends_in_order(place: Place, signum: signal.Signals) -> None:
    service = await place.start("run")
    await place.until(lambda: place.simulator.report().requests > 4, "requests")
    stopped = await place.stop(service, signum)
    assert (stopped.code, stopped.seconds < OUT_S) == (0, True), stopped
    assert stopped.requests <= IN_FLIGHT, "those that had left"
    assert "Traceback" not in place.log()
    assert await place.fetchval("select count(*) from yclients.workers") == 0
    assert await place.fetchval("select count(*) from yclients.sync_batches where finished_at is null") == 0
    again = await place.run("sync")
    assert again.code == 0, again.err
