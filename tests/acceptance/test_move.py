"""Moving from the private PostgreSQL to a database of one's own: nobody who was erased comes back, and nothing is asked."""

from __future__ import annotations

import asyncpg
import pytest

from support.place import Finished, Place
from ycsync.simulator import Options

TABLES = ("companies", "services", "staff", "clients", "records", "record_services", "quarantine", "sync_status")
ERASED = 70002


@pytest.fixture
def options() -> Options:
    return Options(clients=40, visits=120)


class Private:
    """A folder with a private PostgreSQL that a first `ycsync sync` has filled, in which a client was erased."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.state = place.folder / "state"

    async def old(self, *arguments: str) -> Finished:
        """Run a command with the private database."""
        return await self.place.run(*arguments, STATE_DIRECTORY=str(self.state), YCSYNC_DATABASE_URL="embedded")

    async def new(self, *arguments: str) -> Finished:
        """Run a command with the new database."""
        return await self.place.run(*arguments, STATE_DIRECTORY=str(self.state))

    async def fill(self) -> None:
        """First pass, erasure and pause."""
        erase = ("db", "erase", "--company", "4001", "--client", str(ERASED), "--yes")
        for arguments in (("sync",), erase, ("pause", "--company", "4001")):
            done = await self.old(*arguments)
            assert done.code == 0, done.out + done.err


@pytest.fixture
async def private(place: Place) -> Private:
    one = Private(place)
    await one.fill()
    return one


async def counts(place: Place) -> dict[str, int]:
    connection = await asyncpg.connect(place.database_url)
    try:
        return {table: await connection.fetchval(f"select count(*) from yclients.{table}") for table in TABLES}
    finally:
        await connection.close()


async def execute(place: Place, statement: str) -> None:
    connection = await asyncpg.connect(place.database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def ids(place: Place, table: str, column: str) -> set[int]:
    connection = await asyncpg.connect(place.database_url)
    try:
        return {row[0] for row in await connection.fetch(f"select {column} from yclients.{table}")}
    finally:
        await connection.close()


async def test_move_takes_everything_and_asks_nothing(place: Place, private: Private) -> None:
    asked = len(place.simulator.log)
    moved = await private.new("db", "move")
    assert moved.code == 0, moved.err
    assert "Moved into" in moved.out
    assert "39 clients" in moved.out
    assert f"{private.state}/postgres still holds the same personal data" in moved.out
    assert len(place.simulator.log) == asked
    found = await counts(place)
    assert found["clients"] == 39
    assert found["records"] >= 120
    assert found["record_services"] >= found["records"]
    assert await ids(place, "pauses", "company_id") == {4001}
    assert await ids(place, "erasures", "client_id") == {ERASED}
    # The cursors came too: what follows is a delta, and the erased client stays away.
    assert (await private.new("resume", "--company", "4001")).code == 0
    synced = await private.new("sync")
    assert synced.code == 0, synced.err
    assert ERASED not in await ids(place, "clients", "id")
    assert (await counts(place))["clients"] == 39
    verified = await private.new("verify")
    assert verified.code == 0, verified.out
    again = await private.new("db", "move", "--remove")
    assert again.code == 0, again.err
    assert "its rows stay" in again.out
    assert not (private.state / "postgres").exists()
    nothing = await private.new("db", "move")
    assert (nothing.code, "nothing was moved" in nothing.out) == (0, True)


async def test_a_first_start_takes_erasures_and_pauses_over(place: Place, private: Private) -> None:
    await place.start("run", STATE_DIRECTORY=str(private.state))
    await place.until_log("database.left_behind")
    await place.until_log("service.ready")
    assert (await private.new("resume", "--company", "4001")).code == 0
    synced = await private.new("sync")
    assert synced.code == 0, synced.err
    found = await ids(place, "clients", "id")
    assert (len(found), ERASED in found) == (39, False)
    doctor = await private.new("doctor")
    assert "a private PostgreSQL with 1 salon, 39 clients" in doctor.out
    assert "ycsync db move" in doctor.out
    busy = await private.new("db", "move")
    assert (busy.code, "Stop it first" in busy.err) == (1, True)


async def test_move_into_a_database_that_was_read_erases_again(place: Place, private: Private) -> None:
    assert (await place.run("sync", STATE_DIRECTORY=str(place.folder / "other"))).code == 0
    assert ERASED in await ids(place, "clients", "id")
    moved = await private.new("db", "move")
    assert moved.code == 0, moved.err
    assert "1 that were erased there are erased here again" in moved.out
    assert ERASED not in await ids(place, "clients", "id")
    assert ERASED not in await ids(place, "records", "client_id")
    assert await ids(place, "pauses", "company_id") == {4001}
    # What only the private database holds is not thrown away with it: visits that were not read here, a salon that is not here.
    for statement in (
        "update yclients.sync_status set last_success_at = null where stream = 'records'",
        "delete from yclients.companies",
    ):
        await execute(place, statement)
        kept = await private.new("db", "move", "--remove")
        assert (kept.code, "Salon 4001 would be lost with it" in kept.out) == (1, True), "it was asked to remove"
        assert (private.state / "postgres" / "data").exists()


async def test_move_replaces_what_was_read_before_a_first_pass_ended(place: Place, private: Private) -> None:
    """A service that was started too early has read the list of salons within a second."""
    assert (await place.run("db", "migrate", STATE_DIRECTORY=str(place.folder / "other"))).code == 0
    await execute(
        place,
        "insert into yclients.companies (id, title, timezone, currency, active, raw, observed_at) "
        "values (4001, 'Salon', 'Europe/Moscow', 'RUB', true, '{}', now())",
    )
    moved = await private.new("db", "move")
    assert (moved.code, "Moved into" in moved.out) == (0, True), moved.err
    assert (await counts(place))["clients"] == 39


async def test_move_keeps_a_first_pass_where_only_an_erasure_is_left(place: Place, private: Private) -> None:
    assert (await private.old("db", "erase", "--company", "4001", "--yes")).code == 0
    assert (await place.run("db", "migrate", STATE_DIRECTORY=str(place.folder / "other"))).code == 0
    await execute(
        place,
        "insert into yclients.companies (id, title, timezone, currency, active, raw, observed_at) "
        "values (4002, 'Salon', 'Europe/Moscow', 'RUB', true, '{}', now())",
    )
    moved = await private.new("db", "move")
    assert (moved.code, "its rows stay" in moved.out) == (0, True), moved.err
    assert await ids(place, "companies", "id") == {4002}
    assert 4001 in await ids(place, "erasures", "company_id")


async def test_erasures_are_found_in_a_schema_of_another_name(place: Place, private: Private) -> None:
    text = place.config.read_text("utf-8")
    place.config.write_text(f"{text}\ndatabase: {{schema: salon}}\n")
    assert (await private.new("db", "migrate")).code == 0
    connection = await asyncpg.connect(place.database_url)
    try:
        assert await connection.fetchval("select array_agg(client_id) from salon.erasures") == [ERASED]
    finally:
        await connection.close()


async def test_a_private_database_that_cannot_be_opened_is_not_passed_over(place: Place, private: Private) -> None:
    version = private.state / "postgres" / "data" / "PG_VERSION"
    version.write_text("12\n")
    started = await private.new("sync")
    assert started.code == 1
    assert "which the settings name no more, may hold erasures and cannot be opened" in started.err
    assert await ids(place, "clients", "id") == set()


async def test_move_needs_a_new_address_first(place: Place, private: Private) -> None:
    refused = await private.old("db", "move")
    assert (refused.code, "still name the private database" in refused.err) == (2, True)


async def test_a_broken_copy_leaves_nothing_behind(place: Place, private: Private) -> None:
    """The copy is one transaction: a table that the new database refuses takes the others with it."""
    assert (await place.run("db", "migrate", STATE_DIRECTORY=str(place.folder / "other"))).code == 0
    connection = await asyncpg.connect(place.database_url)
    try:
        await connection.execute("alter table yclients.staff add constraint none_here check (id < 0)")
        failed = await private.new("db", "move")
        assert failed.code == 1
        assert {table: count for table, count in (await counts(place)).items() if count} == {}
        await connection.execute("alter table yclients.staff drop constraint none_here")
    finally:
        await connection.close()
    assert (await private.new("db", "move")).code == 0
    assert (await counts(place))["clients"] == 39
