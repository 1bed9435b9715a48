"""What is wrong is said with its remedy, the right exit code, and nothing half-written."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from support.patience import SAFETY_S
from support.place import Place
from ycsync.simulator import Options


async def tables(place: Place) -> set[str]:
    """The tables of the schema."""
    connection = await asyncpg.connect(place.database_url)
    try:
        rows = await connection.fetch("select tablename from pg_tables where schemaname = 'yclients'")
        return {row["tablename"] for row in rows}
    finally:
        await connection.close()


@pytest.mark.empty
@pytest.mark.parametrize("command", ["run", "sync"])
async def test_a_bad_configuration_names_every_line(place: Place, command: str) -> None:
    place.config.write_text("preset: fast\nstream: {clients: 5m}\nyclients: {per_minute: many}\n")
    done = await place.run(command)
    assert done.code == 2
    assert "line 1" in done.err
    assert "line 2" in done.err
    assert "line 3" in done.err
    assert await tables(place) == set()


@pytest.mark.parametrize("command", ["run", "sync"])
async def test_a_missing_token_is_named(place: Place, command: str) -> None:
    done = await place.run(command, YCLIENTS_USER_TOKEN="")
    assert done.code == 2
    assert "YCLIENTS_USER_TOKEN" in done.err


@pytest.mark.parametrize(
    ("deny", "words"),
    [("401", "YCLIENTS_USER_TOKEN"), ("403", "rights"), ("402", "licence")],
)
async def test_a_salon_that_refuses_is_said_with_the_remedy(place: Place, deny: str, words: str) -> None:
    if deny == "401":
        place.simulator.fail_next("401", times=1000)
    else:
        place.simulator.world.salons[4001].deny = "403" if deny == "403" else "402"
    done = await place.run("sync")
    assert done.code == 1
    assert words in done.err, done.err
    assert "secret" not in done.out + done.err
    assert await place.fetchval("select count(*) from yclients.clients") == 0
    shown = await place.run("status")
    assert shown.code == 1


async def test_no_database_is_said_with_the_remedy(place: Place) -> None:
    url = "postgresql://someone:very-secret@127.0.0.1:1/nothing"
    for command in ("run", "sync", "status"):
        done = await place.run(command, YCSYNC_DATABASE_URL=url)
        assert done.code == 1, done
        assert "cannot be reached" in done.err
        assert "is YCSYNC_DATABASE_URL right?" in done.err
        assert "very-secret" not in done.err


@pytest.mark.empty
async def test_a_database_that_is_not_ours_is_left_alone(place: Place) -> None:
    connection = await asyncpg.connect(place.database_url)
    try:
        await connection.execute("create schema yclients; create table yclients.clients (id int, fio text)")
        await connection.execute("insert into yclients.clients values (1, 'kept')")
        done = await place.run("sync")
        assert done.code == 1
        assert "database.schema" in done.err
        assert await tables(place) == {"clients"}
        assert await connection.fetchval("select fio from yclients.clients") == "kept"
    finally:
        await connection.close()
    assert place.simulator.report().requests == 0


async def test_one_salon_without_rights_does_not_stop_the_others(place: Place, options: Options) -> None:
    del options
    place.simulator.world.salons[4002].deny = "403"
    done = await place.run("sync")
    assert done.code == 1
    assert "4002" in done.err
    assert "rights" in done.err
    salon = place.simulator.world.salons[4001]
    found = "select count(*) from yclients.records where company_id = 4001"
    assert await place.fetchval(found) == len(salon.records)
    assert await place.fetchval("select count(*) from yclients.sync_status where phase = 'stopped' and stream <> 'hooks'") == 4


async def test_a_salon_that_does_not_exist_does_not_stop_the_others(place: Place) -> None:
    place.config.write_text(place.config.read_text() + "companies: [4001, 999]\n")
    done = await place.run("sync", "--company", "4001")
    assert done.code == 0, done.err
    other = await place.run("sync", "--company", "999")
    assert other.code == 2
    assert "999" in other.err
    both = await place.run("sync")
    assert both.code == 1
    assert "999" in both.err
    assert "salon 4001" not in both.err


@pytest.mark.parametrize("options", [Options(clients=60, visits=200, salons=2, records_cap=50, clients_cap=25)])
async def test_a_salon_that_the_settings_leave_out_is_read_to_the_end_when_it_is_asked_for(place: Place) -> None:
    place.config.write_text(place.config.read_text() + "companies: [4001]\n")
    done = await place.run("sync", "--company", "4002", "--batch-size", "2")
    assert done.code == 0, done.err
    assert await place.fetchval("select count(*) from yclients.clients where company_id = 4002") == 60
    due = "select count(*) from yclients.sync_status where company_id = 4002 and due_at is not null and stream <> 'hooks'"
    assert await place.fetchval(due) == 0, "nobody asked for it to be kept fresh"


async def test_an_inactive_salon_is_read_when_it_is_named(place: Place) -> None:
    assert (await place.run("sync", "companies")).code == 0
    place.simulator.world.salons[4001].company["active"] = 0
    place.config.write_text(place.config.read_text() + "companies: [4001]\n")
    done = await place.run("sync")
    assert done.code == 0, done.err
    assert await place.fetchval("select active from yclients.companies where id = 4001") is False


async def test_client_by_client_reads_the_clients_first_though_nobody_asked_for_them(place: Place) -> None:
    place.config.write_text(place.config.read_text() + "history: by_client\n")
    done = await place.run("sync", "records")
    assert done.code == 0, done.err
    assert await place.fetchval("select count(*) from yclients.clients") == 60
    assert await place.fetchval("select count(*) from yclients.records") > 150  # type: ignore[operator]


async def test_client_by_client_without_the_clients_is_said_and_ends(place: Place) -> None:
    place.config.write_text(place.config.read_text() + "history: by_client\n")
    for path in ("/clients/", "/clients/search"):
        place.simulator.fail_next("403", 10**9, path)
    done = await place.run("sync", "records")
    assert done.code == 1
    assert "by_client" in done.err or "rights" in done.err


async def test_a_salon_that_is_erased_while_it_is_read_is_not_complete(place: Place) -> None:
    assert (await place.run("sync", "companies")).code == 0
    place.simulator.fail_next("hang", 10**9, "/records/")
    syncing = await place.start("sync", log="sync")
    await place.until(lambda: any("/records/" in seen.path for seen in place.simulator.log), "it reads")
    erased = await place.run("db", "erase", "--company", "4001", "--yes")
    assert erased.code == 0, erased.err
    assert await syncing.wait() == 1
    assert "erased" in place.log("sync")
    assert "Traceback" not in place.log("sync")


async def test_a_paused_salon_is_said_and_not_waited_for(place: Place) -> None:
    assert (await place.run("sync")).code == 0
    assert (await place.run("pause")).code == 0
    paused = await place.run("sync")
    assert paused.code == 1
    assert "ycsync resume" in paused.err
    assert (await place.run("resume")).code == 0
    assert (await place.run("sync")).code == 0


async def test_a_sweep_that_would_delete_too_much_is_not_called_complete(place: Place) -> None:
    assert (await place.run("sync")).code == 0
    salon = place.simulator.world.salons[4001]
    for client in list(salon.clients)[:20]:
        salon.delete_client(client)
    stopped = await place.run("sync", "--force", "clients")
    assert stopped.code == 1
    assert "--confirm-deletions" in stopped.err
    assert await place.fetchval("select count(*) from yclients.clients where deleted_at is null") == 60
    assert (await place.run("status")).code == 1
    confirmed = await place.run("sync", "--confirm-deletions", "clients")
    assert confirmed.code == 0, confirmed.err
    assert await place.fetchval("select count(*) from yclients.clients where deleted_at is null") == 40


async def test_a_service_with_a_wrong_token_is_not_ready_and_says_why(place: Place) -> None:
    place.simulator.fail_next("401", times=1000)
    await place.start("run")
    await place.until_log("api.denied")
    async with asyncio.timeout(SAFETY_S):
        while True:
            status, body = await place.get("/readyz")
            if "http_401" in str(body):
                break
            await asyncio.sleep(0.1)
    assert status == 503


@pytest.mark.empty
async def test_a_dry_run_without_a_database_is_no_plan(place: Place) -> None:
    done = await place.run("sync", "--dry-run", YCSYNC_DATABASE_URL="postgresql://someone@127.0.0.1:1/nothing")
    assert done.code == 1
    fresh = await place.run("sync", "--dry-run")
    assert fresh.code == 0
    assert await tables(place) == set()
    state = place.folder / "state"
    embedded = await place.run("sync", "--dry-run", YCSYNC_DATABASE_URL="embedded", STATE_DIRECTORY=str(state))
    assert (embedded.code, "knows nothing yet" in embedded.out) == (0, True), embedded
    assert not state.exists()


async def test_a_file_that_is_no_text_is_named_by_a_reload(place: Place) -> None:
    place.config.write_bytes(b"preset: \xff\xfe\n")
    done = await place.run("reload")
    assert done.code == 2
    assert str(place.config) in done.err
    assert "Traceback" not in done.err


@pytest.fixture
def options(request: pytest.FixtureRequest) -> Options:
    """A small salon, or two where the others are told of."""
    two = "without_rights" in request.node.name
    return Options(salons=2 if two else 1, clients=60, visits=600)
