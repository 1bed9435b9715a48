"""Is a hint taken off, and a delta called served, only by what began after it was told?"""

from __future__ import annotations

import pytest

from support.queue import database, due_in, me, names, put, row, work
from ycsync.store.database import Database
from ycsync.store.hooks import Hooks, Nudge
from ycsync.store.work import HINTED, Work

__all__ = ["database", "me", "work"]
ON = ("hooks", "clients", "records", "staff")


@pytest.fixture
async def hooks(database: Database) -> Hooks:
    for stream in ON[1:]:
        await put(database, 1, stream, phase="'live'", due_at="now() + interval '5 minutes'", last_success_at="now()")
    await Work(database).ensure([1, 2], ["hooks"])
    return Hooks(database)


async def test_a_hint_that_comes_while_it_is_worked_on_stays(database: Database, work: Work, me: int, hooks: Hooks) -> None:
    assert await work.claim(me, 9, ON) == []
    await hooks.hear({(1, "client", 5): ("delete", 3), (1, "client", 6): ("update", 1)})
    (claim,) = await work.claim(me, 9, ON, no_filling=True)
    assert (claim.company, claim.stream, claim.phase) == (1, "hooks", "live")
    pending = await hooks.pending(1, 9)
    await hooks.hear({(1, "client", 5): ("update", 1), (2, "client", 5): ("update", 1)})
    await hooks.drop(1, pending)
    (left,) = await hooks.pending(1, 9)
    assert (left.resource_id, left.status, left.looked_for) == (5, "delete", False)
    # A worker that was given up, and wakes, takes off nothing that was told after it had looked.
    await hooks.drop(1, [left])
    await hooks.hear({(1, "client", 5): ("update", 1)})
    await hooks.drop(1, [*pending, left])
    assert [one.resource_id for one in await hooks.pending(1, 9)] == [5]
    await work.finish(claim, me, 0.0)
    assert sorted(names(await work.claim(me, 9, ON))) == [(1, "hooks"), (2, "hooks")]
    await work.leave(me)
    other = await work.register("service", "default", "0", {})
    assert sorted(names(await work.claim(other, 9, ON))) == [(1, "hooks"), (2, "hooks")]


async def test_a_delta_that_began_before_the_hint_does_not_serve_it(
    database: Database, work: Work, me: int, hooks: Hooks
) -> None:
    async def told(stream: str, resource: str) -> None:
        await hooks.hear({(1, resource, 0): ("update", 1)})
        hints = await hooks.pending(1, 9)
        assert await hooks.hand_over(1, hints, [Nudge(1, stream)], HINTED) == {stream}
        assert await hooks.pending(1, 9) == []

    await database.execute("update yclients.sync_status set due_at = now() where stream = 'records'")
    (before,) = await work.claim(me, 9, ON)
    await told("records", "record")
    await database.execute("update yclients.sync_status set last_success_at = clock_timestamp() where stream = 'records'")
    await work.finish(before, me, 300.0)
    assert (await due_in(database, 1, "records") or 0) <= 0, "once more"
    (after,) = await work.claim(me, 9, ON)
    assert (after.stream, after.nudged, after.priority) == ("records", True, HINTED)
    await work.fail(after, me, 0.0, "no answer", "transient")
    assert (await row(database, 1, "records"))["nudged_at"] is not None, "a failure serves nothing"
    (again,) = await work.claim(me, 9, ON)
    await database.execute("update yclients.sync_status set last_success_at = clock_timestamp() where stream = 'records'")
    await work.finish(again, me, 300.0)
    found = await row(database, 1, "records")
    assert (found["nudged_at"], found["heard_at"], found["priority"]) == (None, None, 0)
    assert (await due_in(database, 1, "records") or 0) > 200


async def test_a_list_is_not_read_again_and_again_and_what_is_not_through_is_left_to_its_pass(
    database: Database, hooks: Hooks
) -> None:
    await database.execute("update yclients.sync_status set phase = 'filling' where stream = 'records'")
    await database.execute("update yclients.sync_status set cursor = '{\"delta_ignored\": true}' where stream = 'clients'")
    await hooks.hear({(1, "staff", 0): ("update", 1), (1, "records", 0): ("update", 1)})
    nudges = [Nudge(1, "staff", 10.0), Nudge(1, "records"), Nudge(1, "clients")]
    assert await hooks.hand_over(1, await hooks.pending(1, 9), nudges, HINTED) == {"staff"}
    assert 5 < (await due_in(database, 1, "staff") or 0) <= 10
    assert await hooks.pending(1, 9) == []
