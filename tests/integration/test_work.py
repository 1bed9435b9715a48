"""Is work claimed once, in a fair order, and given back when its worker dies?"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import ycsync
from support.patience import SAFETY_S
from support.queue import STREAMS, database, due_in, me, names, put, row, work
from ycsync.limiter import TRANSIT_S, Limiter, Rates
from ycsync.store.database import Database, connect
from ycsync.store.work import WORKER_SILENT_S, BatchTotals, Work, process_start, this_host

__all__ = ["database", "me", "work"]  # fixtures


# --- claiming -----------------------------------------------------------------------------------------------------------------


async def test_the_longest_overdue_is_taken_first_and_a_wish_before_all(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records", due_at="now() - interval '1 min'")
    await put(database, 2, "records", due_at="now() - interval '3 min'")
    await put(database, 3, "records", due_at="now() - interval '2 min'")
    await put(database, 4, "records", due_at="now()", priority="100")
    await put(database, 5, "records", due_at="now() + interval '1 s'")
    await put(database, 6, "records", due_at="null")
    taken = [names(await work.claim(me, 1, STREAMS)) for _ in range(5)]
    assert taken == [[(4, "records")], [(2, "records")], [(3, "records")], [(1, "records")], []]


async def test_a_salon_that_is_always_due_does_not_starve_the_others(database: Database, work: Work, me: int) -> None:
    for company in range(1, 6):
        await put(database, company, "records", due_at="now() - interval '1 s'")
    turns: Counter[int] = Counter()
    for _ in range(50):
        (claim,) = await work.claim(me, 1, STREAMS)
        turns[claim.company] += 1
        await work.finish(claim, me, 0.0)
    assert set(turns.values()) == {10}


async def test_where_deltas_are_always_late_a_first_pass_that_is_later_still_goes_on(
    database: Database, work: Work, me: int
) -> None:
    """More salons than requests: something that is quick, or has not begun, is due at any moment."""
    await put(database, 1, "records", due_at="now() - interval '2 min'", phase="'live'")
    await put(database, 2, "records", due_at="now() - interval '6 min'", phase="'filling'")
    await put(database, 3, "records", due_at="now() - interval '9 min'", phase="'filling'")
    await put(database, 4, "records", due_at="now() - interval '3 min'")
    taken = [names(await work.claim(me, 1, STREAMS))[0][0] for _ in range(4)]
    assert taken == [3, 4, 1, 2]


async def test_only_what_is_asked_for_is_taken(database: Database, work: Work, me: int) -> None:
    await put(database, 0, "companies")
    for company in (1, 2):
        for stream in STREAMS:
            await put(database, company, stream)
    assert names(await work.claim(me, 9, ["staff"], [2])) == [(2, "staff")]
    assert names(await work.claim(me, 9, ["companies"], [2])) == [(0, "companies")]  # the time zones come from there
    assert await work.claim(me, 9, STREAMS, wanted_only=True) == []
    await work.want([1], ["records"], {"batch_size": 5})
    (claim,) = await work.claim(me, 9, STREAMS, wanted_only=True)
    assert (claim.company, claim.stream, claim.wanted, claim.options) == (1, "records", True, {"batch_size": 5})
    # What was asked for by name is taken though its stream is off.
    await work.want([2], ["services"], {})
    assert names(await work.claim(me, 9, ["clients"], [2], wanted_only=True)) == [(2, "services")]


async def test_without_a_place_for_filling_only_deltas_are_taken_a_wish_or_not(database: Database, work: Work, me: int) -> None:
    for company, phase in enumerate(("new", "filling", "closing", "stopped", "live"), 1):
        await put(database, company, "records", phase=f"'{phase}'")
    await put(database, 6, "records", phase="'live'", due_at="now() + interval '1 h'")
    await put(database, 7, "records", phase="'live'", failures="1")  # it may hang, and would hold a place for minutes
    await work.want([2, 6], ["records"], {})
    assert names(await work.claim(me, 9, STREAMS, no_filling=True)) == [(6, "records"), (5, "records")]
    assert names(await work.claim(me, 1, STREAMS)) == [(2, "records")]


async def test_two_workers_never_take_one_row(database_url: str, database: Database, work: Work) -> None:
    await database.execute(
        "insert into yclients.sync_status (company_id, stream, due_at) "
        "select c, 'records', now() from generate_series(1, 400) c"
    )
    pools = [await connect(database_url, "yclients", size=1) for _ in range(8)]

    async def take(pool: Database) -> list[int]:
        mine: list[int] = []
        worker = await Work(pool).register("service", "default", "0", {})
        while claims := await Work(pool).claim(worker, 3, STREAMS):
            mine += [claim.company for claim in claims]
        return mine

    taken = await asyncio.gather(*(take(pool) for pool in pools))
    assert sorted(company for mine in taken for company in mine) == list(range(1, 401))
    for pool in pools:
        await pool.close()


async def test_a_paused_salon_is_not_claimed_and_zero_pauses_all(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records")
    await put(database, 2, "records")
    await work.pause([1])
    await work.pause([1])
    assert names(await work.claim(me, 9, STREAMS)) == [(2, "records")]
    await work.pause([0])
    await put(database, 3, "records")
    assert await work.claim(me, 9, STREAMS) == []
    assert set(await work.pauses()) == {0, 1}
    await work.resume([0])
    assert await work.pauses() == {}
    assert sorted(names(await work.claim(me, 9, STREAMS))) == [(1, "records"), (3, "records")]


# --- workers ----------------------------------------------------------------------------------------------------------------


HOLDER = """
import asyncio, sys
from ycsync.limiter import Limiter, Rates
from ycsync.store.database import connect
from ycsync.store.work import Work

async def main(dsn):
    database = await connect(dsn, "yclients", size=2)
    work = Work(database)
    owner = await work.register("service", "default", "0", {})
    limiter = Limiter(database, "yclients", "default", owner, lambda: Rates(5, 50, 0.0), timeout_s=30)
    await limiter.prepare(5, 50)
    running = asyncio.create_task(limiter.run())
    claims = await work.claim(owner, 9, ["records"])
    await work.open_batch(claims[0], "balanced", owner)
    for n in range(5):
        await limiter.acquire(1)
    print(owner, len(claims), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


async def test_what_a_killed_process_held_is_free_at_once(database_url: str, database: Database, work: Work, me: int) -> None:
    for company in (1, 2, 3):
        await put(database, company, "records")
    env = {**os.environ, "PYTHONPATH": str(Path(ycsync.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", HOLDER, database_url], stdout=subprocess.PIPE, text=True, env=env) as holder:
        assert holder.stdout is not None
        owner, held = map(int, (await asyncio.to_thread(holder.stdout.readline)).split())
        assert held == 3
        assert await work.reap() == []
        assert await work.claim(me, 9, STREAMS) == []
        holder.send_signal(signal.SIGKILL)
        while process_start(holder.pid) is not None:  # gone, or its remains only: nobody has waited for it
            await asyncio.sleep(0.005)
        died = time.monotonic()
        before = await database.fetchval("select clock_timestamp()")
        assert await work.reap() == [owner]
        after = await database.fetchval("select clock_timestamp()")
    assert len(await work.claim(me, 9, STREAMS)) == 3
    assert await database.fetchval("select outcome from yclients.sync_batches") == "lost"
    limiter = Limiter(database, "yclients", "default", me, lambda: Rates(5, 50, 0.0), timeout_s=30)
    running = asyncio.create_task(limiter.run())
    free = await database.fetchval("select min(free_at) from yclients.limiter_slots where kind = 1")
    assert before <= free - timedelta(seconds=1.0 + TRANSIT_S) <= after
    await asyncio.wait_for(limiter.acquire(1), SAFETY_S)
    assert time.monotonic() - died >= 1.0 + TRANSIT_S - 0.05
    running.cancel()


async def test_a_silent_worker_of_another_machine_is_given_up_after_a_while(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records")
    other = await database.fetchval(
        "insert into yclients.workers (role, host, pid, pid_start, egress, version) "
        "values ('service', 'elsewhere', 1, '1', 'default', '0') returning id"
    )
    (claim,) = await work.claim(other, 9, STREAMS)
    await database.execute("insert into yclients.limiter_slots values ('default', 1, 0, now() + interval '20 s', $1)", other)
    for silent, gone in ((WORKER_SILENT_S - 2, []), (WORKER_SILENT_S + 1, [other])):
        await database.execute(
            "update yclients.workers set beat_at = now() - make_interval(secs => $2) where id = $1", other, silent
        )
        assert await work.reap() == gone
    # Its requests may be under way: their slots stay until their leases end.
    assert await database.fetchval("select free_at > now() + interval '15 s' from yclients.limiter_slots")
    (again,) = await work.claim(me, 9, STREAMS)
    assert again.version > claim.version, "a page that it reads still commits no more"
    assert not await work.beat(other)
    # When it comes back it can neither finish nor fail what is another's now.
    await work.finish(claim, other, 0.0)
    await work.fail(claim, other, 0.0, "late", "late")
    assert (await row(database, 1, "records"))["claimed_by"] == me
    await work.finish(again, me, 60.0)
    assert (await row(database, 1, "records"))["claimed_by"] is None


async def test_a_worker_lives_as_long_as_it_beats(database: Database, work: Work, me: int) -> None:
    await database.execute("update yclients.workers set beat_at = now() - interval '1 h'")
    assert await work.services() == []
    assert await work.beat(me, {"state": "well"})
    assert await work.reap() == []
    assert [(one["id"], one["pid"], one["info"]) for one in await work.services()] == [(me, os.getpid(), {"state": "well"})]


async def test_a_process_id_that_was_given_to_another_process_is_a_dead_worker(database: Database, work: Work, me: int) -> None:
    reused = await database.fetchval(
        "insert into yclients.workers (role, host, pid, pid_start, egress, version) "
        "values ('service', $1, $2, '12345', 'default', '0') returning id",
        this_host(),
        os.getpid(),
    )
    assert await work.reap() == [reused]


async def test_who_leaves_in_order_gives_everything_back(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records")
    (claim,) = await work.claim(me, 9, STREAMS)
    batch = await work.open_batch(claim, "balanced", me)
    await work.close_batch(batch, BatchTotals("stopped", requests=3))
    await work.leave(me)
    assert (await row(database, 1, "records"))["claimed_by"] is None
    assert await database.fetchval("select outcome from yclients.sync_batches") == "stopped"


async def test_what_is_held_but_not_done_is_given_back(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records")
    await put(database, 2, "records")
    await work.claim(me, 9, STREAMS)
    await work.release(me, [(1, "records")])
    assert names(await work.claim(me, 9, STREAMS)) == [(2, "records")]


async def test_a_batch_whose_end_could_not_be_written_is_lost_while_its_worker_lives(
    database: Database, work: Work, me: int
) -> None:
    other = await work.register("service", "default", "0", {})
    for company in (1, 2, 3):
        await put(database, company, "records")
    one, two = await work.claim(me, 2, STREAMS)
    (three,) = await work.claim(other, 1, STREAMS)
    gone = await work.open_batch(one, "balanced", me)  # the answers to its end, or to this, were cut off
    before = await work.open_batch(two, "balanced", me)
    runs = await work.open_batch(two, "balanced", me)
    others = await work.open_batch(three, "balanced", other)
    ended = await work.open_batch(one, "balanced", me)
    await work.close_batch(ended, BatchTotals("proved"))
    await work.release(me, [(two.company, two.stream)])
    outcomes = await database.fetch("select id, outcome, finished_at is null as open from yclients.sync_batches")
    assert {one["id"]: (one["outcome"], one["open"]) for one in outcomes} == {
        gone: ("lost", False),
        before: ("lost", False),
        runs: ("running", True),
        others: ("running", True),
        ended: ("proved", False),
    }
    assert names(await work.claim(me, 9, STREAMS)) == [(one.company, one.stream)]


# --- how a batch ends -------------------------------------------------------------------------------------------------------


async def test_finished_work_is_due_again_when_it_was_said_or_never(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records")
    (claim,) = await work.claim(me, 9, STREAMS)
    await work.finish(claim, me, 60.0)
    due = await due_in(database, 1, "records")
    assert due is not None
    assert 59 < due <= 60.1
    await database.execute("update yclients.sync_status set due_at = now()")
    (claim,) = await work.claim(me, 9, STREAMS)
    assert claim.batches == 1
    await work.finish(claim, me, None)
    assert await due_in(database, 1, "records") is None
    assert await work.next_due(STREAMS, None) is None


async def test_a_failure_is_said_and_counted(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records")
    for failures in (1, 2):
        (claim,) = await work.claim(me, 9, STREAMS)
        await work.fail(claim, me, 0.0, "it failed", "transient")
        now = await row(database, 1, "records")
        assert (now["failures"], now["last_error"], now["error_code"]) == (failures, "it failed", "transient")
        assert now["error_since"] is not None
    await database.execute("update yclients.sync_status set due_at = now() + interval '1 h'")
    await work.wake()
    assert len(await work.claim(me, 9, STREAMS)) == 1


async def test_a_salon_that_is_stopped_leaves_the_others_alone_and_wakes_nothing_that_is_off(
    database: Database, work: Work
) -> None:
    await put(database, 1, "records")
    await put(database, 1, "staff", due_at="null")
    await put(database, 2, "records")
    await work.stop_company(1, 3600.0, "no rights", "http_403")
    due = await due_in(database, 1, "records")
    assert due is not None
    assert due > 3590
    assert (await row(database, 1, "records"))["phase"] == "stopped"
    assert await due_in(database, 1, "staff") is None
    assert (await row(database, 2, "records"))["phase"] == "new"


async def test_old_batches_are_forgotten_quiet_ones_sooner(database: Database, work: Work) -> None:
    for age, rows in (("8 days", 0), ("8 days", 5), ("366 days", 5), ("1 day", 0)):
        await database.execute(
            "insert into yclients.sync_batches (company, stream, preset, started_at, rows) "
            f"values (1, 'records', 'balanced', now() - interval '{age}', {rows})"
        )
    await work.forget_batches()
    kept = await database.fetch("select rows from yclients.sync_batches order by started_at")
    assert [one["rows"] for one in kept] == [5, 0]
