"""Is what a command wishes done, and forgotten with it? What do changed settings do to what waits?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ycsync
from support.queue import STREAMS, database, due_in, me, names, put, row, work
from ycsync.errors import DatabaseError
from ycsync.store.database import Database
from ycsync.store.work import Work

__all__ = ["database", "me", "work"]  # fixtures


# --- wishes -----------------------------------------------------------------------------------------------------------------


async def prove(database: Database, company: int, stream: str) -> None:
    await database.execute(
        "update yclients.sync_status set last_success_at = clock_timestamp(), phase = 'live' "
        "where company_id = $1 and stream = $2",
        company,
        stream,
    )


async def test_a_wish_is_served_by_a_success_later_than_the_wish(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records", due_at="now() + interval '1 h'", last_success_at="now()")
    wishes = await work.want([1], ["records"], {"batch_size": 7})
    (claim,) = await work.claim(me, 9, STREAMS)
    assert (claim.priority, claim.wanted, claim.options) == (100, True, {"batch_size": 7})
    await work.finish(claim, me, 0.0)
    (claim,) = await work.claim(me, 9, STREAMS)
    assert claim.wanted, "a batch that proved nothing serves no wish"
    await prove(database, 1, "records")
    await work.finish(claim, me, 60.0)
    (progress,) = await work.progress([1], ["records"])
    assert progress.last_success_at is not None
    assert progress.last_success_at > wishes[1, "records"]
    now = await row(database, 1, "records")
    assert (now["wanted_at"], now["priority"], now["options"]) == (None, 0, "{}")


async def test_a_wish_for_what_is_being_done_takes_nothing_from_its_worker(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records")
    (claim,) = await work.claim(me, 9, STREAMS)
    await work.want([1], ["records"], {})
    assert await work.claim(me, 9, STREAMS) == []
    await work.finish(claim, me, 3600.0)
    assert (await row(database, 1, "records"))["wanted_at"] is not None


async def test_a_forced_pass_begins_anew_and_fences_who_is_at_work(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records", phase="'live'", done="10", cursor="'{}'", failures="3", last_error="'x'")
    (claim,) = await work.claim(me, 9, STREAMS)
    await work.want([1], ["records"], {}, afresh=True)
    now = await row(database, 1, "records")
    assert (now["phase"], now["done"], now["cursor"], now["failures"], now["last_error"]) == ("new", 0, None, 0, None)
    assert now["version"] == claim.version + 1


async def test_a_wish_that_is_withdrawn_leaves_the_schedule(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records", due_at="now() + interval '1 h'")
    wanted = await work.want([1], ["records"], {"batch_size": 7})
    await work.unwant(wanted)
    (claim,) = await work.claim(me, 9, STREAMS)
    assert (claim.wanted, claim.priority, claim.options) == (False, 0, {})


async def test_withdrawing_a_wish_leaves_the_later_wish_of_another(database: Database, work: Work, me: int) -> None:
    await put(database, 1, "records", due_at="now() + interval '1 h'")
    first = await work.want([1], ["records"], {})
    await work.want([1], ["records"], {"batch_size": 9})
    await work.unwant(first)
    (claim,) = await work.claim(me, 9, STREAMS)
    assert (claim.wanted, claim.options) == (True, {"batch_size": 9})


COMMAND = """
import asyncio, sys
from ycsync.store.database import connect
from ycsync.store.work import Work

async def main(dsn):
    work = Work(await connect(dsn, "yclients", size=1))
    await work.want([1], ["records", "clients"], {"max_batches": 1, "interval_s": 3600})
    print("wished", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


async def test_the_wish_of_a_command_that_was_killed_and_its_pace_are_forgotten(
    database_url: str, database: Database, work: Work, me: int
) -> None:
    await put(database, 1, "records")
    await put(database, 1, "clients", due_at="now() + interval '1 h'")
    await put(database, 2, "records")
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, database_url],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(ycsync.__file__).parent.parent)},
    )
    assert command.stdout is not None
    assert command.stdout.readline() == b"wished\n"
    taken = await work.claim(me, 1, STREAMS, [1])
    assert [claim.options for claim in taken] == [{"max_batches": 1, "interval_s": 3600}]
    assert await work.reap() == [], "it lives"
    assert (await row(database, 1, "records"))["wanted_at"] is not None
    await work.want([2], ["records"], {"batch_size": 3})  # another command's
    command.send_signal(signal.SIGKILL)
    command.wait()
    command.stdout.close()
    assert len(await work.reap()) == 1
    for stream in ("records", "clients"):
        now = await row(database, 1, stream)
        assert (now["wanted_at"], now["priority"], now["options"]) == (None, 0, "{}")
    await work.finish(taken[0], me, 0.0)
    assert sorted(names(await work.claim(me, 9, STREAMS))) == [(1, "clients"), (1, "records"), (2, "records")]


async def test_a_command_of_another_machine_is_heard_of_while_it_follows_its_wish(
    database: Database, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(database, 1, "records")
    await work.want([1], ["records"], {"max_batches": 1})
    await database.execute("update yclients.workers set host = 'another', beat_at = now() - interval '25 s'")
    monkeypatch.setattr("ycsync.store.work.FOLLOW_S", 0.0)
    await work.progress([1], ["records"])
    other = Work(database)
    await database.execute("update yclients.workers set beat_at = beat_at - interval '25 s'")
    assert await other.reap() == []
    await database.execute("update yclients.workers set beat_at = beat_at - interval '25 s'")
    assert len(await other.reap()) == 1
    assert (await row(database, 1, "records"))["options"] == "{}"
    with pytest.raises(DatabaseError, match="run it again"):
        await work.progress([1], ["records"])


async def test_a_command_that_ends_in_order_leaves_no_worker(database: Database, work: Work) -> None:
    await put(database, 1, "records")
    wanted = await work.want([1], ["records"], {})
    await work.want([1], ["records"], {})
    assert await database.fetchval("select count(*) from yclients.workers where role = 'command'") == 1
    assert await work.services() == []
    await work.unwant(wanted)
    assert await database.fetchval("select count(*) from yclients.workers") == 0


# --- what the settings want -------------------------------------------------------------------------------------------------


async def test_what_is_switched_off_is_not_due_and_is_due_when_switched_on_again(database: Database, work: Work) -> None:
    await work.ensure([0], ["companies"])
    await work.ensure([1, 2], ["companies", *STREAMS])
    await work.enabled(["companies", "records", "clients"], [1])

    async def due() -> list[tuple[int, str]]:
        rows = await database.fetch(
            "select company_id, stream from yclients.sync_status where due_at is not null and "
            "not (stream = 'companies' and company_id <> 0) order by 1, 2"
        )
        return [(one["company_id"], one["stream"]) for one in rows]

    assert await due() == [(0, "companies"), (1, "clients"), (1, "records")]
    await database.execute(
        "update yclients.sync_status set due_at = now() + interval '1 h' where stream = 'records' and due_at is not null"
    )
    await work.enabled(["companies", "records", "staff"], None)
    assert await due() == [(0, "companies"), (1, "records"), (1, "staff"), (2, "records"), (2, "staff")]
    still, again = await due_in(database, 1, "records"), await due_in(database, 2, "records")
    assert still is not None
    assert again is not None
    assert still > 3500
    assert again <= 0


async def test_a_full_disk_does_not_hide_how_a_command_ended(database: Database, work: Work) -> None:
    await work.ensure([1], ["records"])
    wishes = await work.want([1], ["records"], {})
    await database.execute(
        "create function no_room() returns trigger language plpgsql as "
        "$$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$"
    )
    await database.execute("create trigger no_room before update on yclients.sync_status execute function no_room()")
    await work.unwant(wishes)  # the last that a command does: its own result is what counts
    assert (await row(database, 1, "records"))["wanted_at"] is not None


async def test_a_reload_does_not_cancel_what_a_command_asked_for(database: Database, work: Work, me: int) -> None:
    await work.ensure([1], STREAMS)
    await work.enabled(["records"], [1])
    await work.want([1], ["services"], {})
    await work.enabled(["records"], [1])  # the service was reloaded, or has read the list of salons
    assert names(await work.claim(me, 9, STREAMS, wanted_only=True)) == [(1, "services")]
    await work.enabled(["records"], [2])
    assert (1, "services") not in names(await work.claim(me, 9, ["records"]))


async def test_what_is_at_work_while_settings_change_is_left_alone(database: Database, work: Work, me: int) -> None:
    await work.ensure([1], ["records"])
    await work.claim(me, 9, STREAMS)
    await work.enabled([], [1])
    assert (await row(database, 1, "records"))["claimed_by"] == me


async def test_a_shorter_interval_applies_to_what_waits_already_but_not_to_errors(database: Database, work: Work) -> None:
    await put(database, 1, "records", due_at="now() + interval '1 h'")
    await put(database, 2, "records", due_at="now() + interval '10 s'")
    await put(database, 3, "records", due_at="now() + interval '1 h'", error_code="'http_403'")
    await put(database, 4, "records", due_at="null")
    await work.recadence("records", 300.0)
    waits = [await due_in(database, company, "records") for company in (1, 2, 3, 4)]
    assert waits[3] is None
    assert [round(wait, -1) for wait in waits[:3] if wait is not None] == [300, 10, 3600]
