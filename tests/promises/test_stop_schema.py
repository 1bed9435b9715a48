"""`ycsync db migrate` and `ycsync db erase` killed at every statement: is it all or nothing, and does the next run finish?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conftest import Effort
from support.dying import Scene, Trial, open_scene
from support.killing import Death, Point, all_points
from ycsync.simulator import Options, Simulator

SALON = Options(clients=20, visits=100, per_second=0, per_minute=0)
QUICK = 6
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def scene(tmp_path: Path, postgres_dsn: str) -> AsyncIterator[Scene]:
    """A small salon, and commands to kill."""
    async with Simulator(SALON) as simulator, open_scene(simulator, tmp_path, postgres_dsn) as scene:
        yield scene


def chosen(rehearsal: Death, effort: Effort) -> list[Point]:
    """Every point, or some evenly and the last: after the commit."""
    points = all_points(rehearsal)
    points.sort(key=lambda point: point.edge == "returns")
    return points if effort.soak else [*points[:: max(1, len(points) // QUICK)], points[-1]]


async def _objects(trial: Trial) -> list[str]:
    """Everything that the schema is made of."""
    async with trial.connection() as connection:
        rows = await connection.fetch(
            "select c.relname || coalesce('.' || a.attname, '') as name from pg_namespace n"
            " left join pg_class c on c.relnamespace = n.oid left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
            " where n.nspname = 'yclients' order by 1"
        )
        return [row["name"] for row in rows]


async def test_a_migration_is_done_or_not(scene: Scene, effort: Effort) -> None:
    trial = await scene.trial()
    rehearsal = await trial.run("db", "migrate")
    assert rehearsal.code == 0
    whole = await _objects(trial)
    assert len(whole) > 100
    seen = set()
    for point in chosen(rehearsal, effort):
        trial = await scene.trial()
        death = await trial.run("db", "migrate", at=point)
        assert death.hit, point
        left = await _objects(trial)
        assert left in ([], whole), (str(point), len(left))
        seen.add(len(left))
        assert (await trial.run("db", "migrate")).code == 0, point
        assert await _objects(trial) == whole, point
        await scene.drop_trial(trial)
    assert seen == {0, len(whole)}, "never killed both before and after the commit"


async def _rows(trial: Trial) -> dict[str, int]:
    """Rows of every table that holds something of a salon."""
    async with trial.connection() as connection:
        tables = await connection.fetch(
            "select distinct table_name, column_name from information_schema.columns where table_schema = 'yclients'"
            " and (column_name = 'company_id' or (table_name = 'companies' and column_name = 'id'))"
            " and table_name <> 'erasures' and table_name in (select tablename from pg_tables where schemaname = 'yclients')"
        )
        return {
            name: await connection.fetchval(f"select count(*) from yclients.{name} where {key} = {trial.scene.company}")
            for name, key in tables
        }


async def test_an_erased_salon_is_gone_or_whole(scene: Scene, effort: Effort) -> None:
    await scene.filled()
    what = ("db", "erase", "--company", str(scene.company), "--yes")
    trial = await scene.trial()
    before = await _rows(trial)
    rehearsal = await trial.run(*what)
    assert rehearsal.code == 0
    gone = await _rows(trial)
    assert set(gone.values()) == {0}
    seen = set()
    for point in chosen(rehearsal, effort):
        trial = await scene.trial()
        death = await trial.run(*what, at=point)
        assert death.hit, point
        left = await _rows(trial)
        assert left in (before, gone), (str(point), left)
        seen.add(left == gone)
        assert (await trial.run(*what)).code == 0, point
        assert await _rows(trial) == gone, point
        await scene.drop_trial(trial)
    assert seen == {True, False}


async def test_an_erased_client_is_gone_or_whole(scene: Scene, effort: Effort) -> None:
    await scene.filled()
    salon = scene.simulator.world.salons[scene.company]
    client = next((row.get("client") or {}).get("id") for row in salon.records.values() if row.get("client"))
    what = ("db", "erase", "--company", str(scene.company), "--client", str(client), "--yes")

    async def look(trial: Trial) -> tuple[int, ...]:
        async with trial.connection() as connection:
            row = await connection.fetchrow(
                "select (select count(*) from yclients.clients where id = $1),"
                " (select count(*) from yclients.records where client_id = $1),"
                " (select count(*) from yclients.records where raw::text ~ ('\\m' || $1::text || '\\M')),"
                " (select done from yclients.sync_status where stream = 'clients')",
                client,
            )
            assert row is not None
            return tuple(row)

    trial = await scene.trial()
    before = await look(trial)
    rehearsal = await trial.run(*what)
    assert rehearsal.code == 0
    gone = await look(trial)
    assert before[0] == 1
    assert gone == (0, 0, 0, before[3] - 1)
    for point in chosen(rehearsal, effort):
        trial = await scene.trial()
        death = await trial.run(*what, at=point)
        assert death.hit, point
        left = await look(trial)
        assert left in (before, gone), (str(point), left)
        assert (await trial.run(*what)).code == 0, point
        assert await look(trial) == gone, point
        await scene.drop_trial(trial)
