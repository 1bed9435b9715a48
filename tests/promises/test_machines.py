"""Do several machines on one database keep every promise when one of them is killed, cut off, frozen or upgraded?

Each has a network namespace and process ids of its own, so to the others it is another machine: nobody sees whether its process
lives. All plays run at once on one network and one PostgreSQL, each with a database and a simulated YCLIENTS of its own,
which counts by address. Half a minute of silence is made by moving the beat back in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import ycsync
from conftest import Effort
from support import privacy
from support.house import FreeLimiter
from support.network import API, DATABASE, Hub
from support.patience import SAFETY_S
from support.scene import Scene, open_scene
from ycsync.api import new_session
from ycsync.api.transport import Answer, send
from ycsync.limiter import RELAX_S

pytestmark = [pytest.mark.namespaces, pytest.mark.xdist_group("machines"), pytest.mark.timeout(600)]


async def shared(scene: Scene, kills: int = 1) -> None:
    """Two addresses; behind the first two machines with one name. Then one is killed."""
    first = scene.machine("a")
    other, standby = scene.machine("b"), scene.machine("a", beside=first)
    _, service, _ = await asyncio.gather(*(scene.serve(machine) for machine in (first, other, standby)))
    scene.sim.forget()
    async with scene.busy():
        begun = time.monotonic()
        await asyncio.sleep(8)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAFETY_S):
                while scene.sim.report().max_1s <= 5:  # what two addresses may send at once, a busy machine seldom does
                    await asyncio.sleep(0.2)
        report = scene.sim.report()
        scene.figures["rate"] = round(report.requests / (time.monotonic() - begun), 1)
        scene.figures["densest"] = report.max_1s
        scene.figures["requests"] = {name: one.requests for name, one in report.addresses.items()}
        await scene.until("select count(distinct worker_id) = 3 from yclients.sync_batches where outcome in ('more', 'proved')")
        scene.figures["batches"] = [
            row["count"] for row in await scene.rows("select count(*) from yclients.sync_batches group by worker_id")
        ]
        for number in range(1, kills + 1):
            await asyncio.sleep(scene.chance.uniform(0.1, 1.5))
            service.signal(signal.SIGKILL)
            await service.process.wait()
            scene.figures["gone"] = await scene.silent(other)
            if number < kills:
                service = await scene.serve(other, log=f"log{number}")


async def cut(scene: Scene) -> None:
    """Of three machines one loses its network and one is frozen, both are given up, and both come back."""
    machines = [scene.machine(egress) for egress in "abc"]
    services = await asyncio.gather(*map(scene.serve, machines))
    away, frozen, _ = machines
    async with scene.busy():
        await asyncio.sleep(scene.chance.uniform(2.5, 4.0))
        away.unplug()
        await asyncio.sleep(scene.chance.uniform(0.0, 0.5))
        services[1].signal(signal.SIGSTOP)
        begun = time.monotonic()
        await asyncio.sleep(1.0)
        gone = [*await scene.silent(away), *await scene.silent(frozen)]
        scene.figures["recovered"] = time.monotonic() - begun
        held = await scene.rows("select distinct company, stream from public.taken where worker = any($1)", gone)
        scene.figures["held"] = len(held)
        await asyncio.sleep(3.0)
        services[1].signal(signal.SIGCONT)
        await asyncio.sleep(scene.chance.uniform(0.0, 1.0))
        back = await scene.value("select clock_timestamp()")
        away.plug()
        known = [number for service in services[:2] for number in await scene.returned(service)]
        scene.figures["known"] = known
        for worker in known:
            await scene.until("select exists (select from yclients.sync_batches where worker_id = $1 and outcome in "
                              "('more', 'proved'))", worker, within_s=90)  # fmt: skip
        scene.figures["twice"] = await scene.value(
            "select count(*) from public.taken where worker = any($1) and at > $2", gone, back
        )


async def astray(scene: Scene) -> None:
    """One machine loses the database, the other YCLIENTS; then both find them again."""
    machines = [scene.machine(egress) for egress in "ab"]
    services = await asyncio.gather(*map(scene.serve, machines))
    blind, mute = machines
    async with scene.busy():
        await asyncio.sleep(3.0)
        blind.lose(DATABASE)
        await asyncio.sleep(1.0)
        gone = await scene.silent(blind)
        blind.find(DATABASE)
        await scene.returned(services[0])
        scene.figures["gone"] = gone
        await scene.until("select count(*) filter (where worker_id = 2) > 0 from yclients.sync_batches")
        mute.refuse(API)
        await services[1].until_log("batch.handed_over", 30)
        await asyncio.sleep(2.0)
        scene.figures["failures"] = await scene.value("select coalesce(max(failures), 0) from yclients.sync_status")
        scene.figures["waits"] = await scene.value(
            "select coalesce(max(extract(epoch from due_at - now())), 0)::float8 from yclients.sync_status "
            "where stream in ('clients', 'records')"
        )
        mute.allow(API)


async def upgraded(scene: Scene) -> None:
    """The one machine has a newer release than the other: its migration runs while the older one works."""
    older, newer = scene.machine("a"), scene.machine("b")
    release = scene.folder / "newer"
    shutil.copytree(Path(ycsync.__file__).parent, release / "ycsync", ignore=shutil.ignore_patterns("__pycache__"))
    migrations = release / "ycsync" / "sql" / "migrations"
    newest = max(int(file.name[:4]) for file in migrations.glob("*.sql"))
    (migrations / "0099_more.sql").write_text(f"-- works with: {newest}\nalter table @schema.clients add column more text;\n")
    version = release / "ycsync" / "__init__.py"
    version.write_text(version.read_text().replace('"0.', '"9.'))
    async with scene.busy():
        before = await scene.serve(older)
        await asyncio.sleep(2.5)
        after = await scene.serve(newer, code=release)
        await scene.until(
            "select count(distinct w.version) = 2 from yclients.sync_batches b join yclients.workers w on w.id = b.worker_id "
            "where b.outcome in ('more', 'proved') and b.started_at > (select max(applied_at) from yclients.schema_migrations)"
        )
        await asyncio.sleep(2.0)
        scene.figures["migrated"] = "event=database.migrated" in after.log
        scene.figures["both"] = {
            row["version"][0]: row["count"]
            for row in await scene.rows(
                "select w.version, count(*) from yclients.sync_batches b join yclients.workers w on w.id = b.worker_id "
                "where b.outcome in ('more', 'proved') and b.started_at > (select max(applied_at) from "
                "yclients.schema_migrations) group by 1"
            )
        }
        before.signal(signal.SIGTERM)
        scene.figures["code"] = await before.process.wait()
        await asyncio.sleep(1.0)
    scene.figures["failed"] = [
        dict(row) for row in await scene.rows("select * from yclients.sync_batches where outcome in ('failed', 'lost')")
    ]


async def late(scene: Scene) -> None:
    """A request is sent when the cable has just been pulled, by a connection that was good; then it is plugged in again."""
    machine = scene.machine("a")
    async with new_session(timeout_s=2.0) as session:
        url, headers = scene.sim.url + "/company/4001", {"Authorization": "Bearer p, User u"}

        async def ask() -> Answer:
            return await send(session, FreeLimiter(), "GET", url, headers=headers)  # type: ignore[arg-type]

        with machine.entered():
            assert (await ask()).status == 200
        machine.unplug()
        answer = await ask()
        scene.figures["answer"] = (answer.status, answer.outcome.kind)
        await asyncio.sleep(RELAX_S - 2.0)
        machine.plug()
        await asyncio.sleep(6.0)
    scene.figures["arrived"] = scene.sim.report().requests


PLAYS: dict[str, Callable[[Scene], Coroutine[Any, Any, None]]] = {
    "shared": shared, "cut": cut, "astray": astray, "upgraded": upgraded, "late": late,
}  # fmt: skip
Played = dict[str, tuple[Scene, list[str]]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, effort: Effort) -> Played:
    """All plays at once, each to its end; and where its database is not what its salons hold."""
    return asyncio.run(play(tmp_path_factory.mktemp("machines"), effort.seed))


async def play(folder: Path, seed: int) -> Played:
    with Hub() as hub:
        scenes = [await open_scene(name, hub, folder, seed) for name in PLAYS]

        async def one(scene: Scene) -> list[str]:
            await PLAYS[scene.name](scene)
            return await scene.settled() if scene.services else []

        try:
            found = await asyncio.gather(*map(one, scenes))
        finally:
            for scene in scenes:
                await scene.end()
    for scene in scenes:
        traffic = {name: (seen.requests, seen.max_1s) for name, seen in scene.sim.report().addresses.items()}
        print(f"figures: machines, {scene.name}: {traffic} (requests, most in 1 s), {scene.changes} changes, {scene.figures}")
    return {scene.name: (scene, wrong) for scene, wrong in zip(scenes, found, strict=True)}


@pytest.mark.parametrize("name", list(PLAYS))
def test_each_address_keeps_its_limit_and_nothing_is_lost_or_done_twice(played: Played, name: str) -> None:
    scene, wrong = played[name]
    assert wrong == []
    assert scene.too_dense() == []
    for machine in scene.machines:
        for log in machine.folder.glob("log*"):
            assert not privacy.private(log.read_text("utf-8")), log
            assert "event=unexpected" not in log.read_text("utf-8"), log


def test_addresses_of_their_own_share_the_work_and_two_machines_behind_one_share_its_limit(played: Played) -> None:
    figures = played["shared"][0].figures
    assert len(figures["requests"]) == 2
    assert max(figures["requests"].values()) <= 2 * min(figures["requests"].values()), figures
    assert len(figures["batches"]) == 3, "each of the three did some"
    assert figures["densest"] > 5, "more than one address may send"


def test_what_a_vanished_machine_held_is_taken_over_and_both_work_on_under_a_new_number(played: Played) -> None:
    figures = played["cut"][0].figures
    assert figures["held"] > 0
    assert len(figures["known"]) == 2
    assert figures["twice"] == 0, "nothing was taken under a number that was given up"


def test_a_machine_without_a_way_to_yclients_makes_no_stream_fail(played: Played) -> None:
    figures = played["astray"][0].figures
    assert figures["failures"] == 0
    assert figures["waits"] < 5


def test_two_releases_work_side_by_side_on_the_migrated_schema(played: Played) -> None:
    figures = played["upgraded"][0].figures
    assert figures["migrated"]
    assert figures["both"].keys() == {"0", "9"}
    assert figures["code"] == 0
    assert figures["failed"] == []


def test_a_request_that_a_cut_network_holds_is_never_delivered_when_it_is_back(played: Played) -> None:
    figures = played["late"][0].figures
    assert figures["answer"] == (0, "transient")
    assert figures["arrived"] == 1
