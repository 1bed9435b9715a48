"""Does ycsync live through what happens to databases: failover, read-only, restart, silence, and limits of every kind?"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from conftest import Effort
from faultproxy import NONE, FaultProxy, Faults
from support.bouncer import through, upstream_of
from support.memory import server_folder
from support.patience import SAFETY_S, Stopwatch, own_clock
from support.place import Place
from ycsync.errors import DatabaseError, DatabaseUnavailable
from ycsync.simulator import Options
from ycsync.store.database import Database, connect, without_secret
from ycsync.store.embedded import EmbeddedPostgres
from ycsync.store.migrate import migrate

# --- one connection pool ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(url: str, size: int = 4, timeout_s: float = 10.0) -> AsyncIterator[Database]:
    database = await connect(url, "yclients", size=size, timeout_s=timeout_s)
    try:
        yield database
    finally:
        await database.close()


async def restrict(url: str, setting: str) -> None:
    """Sessions that begin from now on, in this database, have this setting."""
    admin = await asyncpg.connect(url)
    await admin.execute(f"alter database {urlsplit(url).path[1:]} set {setting}")
    await admin.close()


async def test_all_sessions_ended_by_the_server_cost_one_failure_at_most(database_url: str) -> None:
    async with opened(database_url) as database, opened(database_url, size=1) as admin:
        await asyncio.gather(*(database.execute("select pg_sleep(0.02)") for _ in range(4)))
        await admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        failures = 0
        for _ in range(8):
            try:
                assert await database.fetchval("select 1") == 1
            except DatabaseUnavailable:
                failures += 1
        assert failures <= 1


async def test_after_a_session_that_the_server_ended_no_older_one_is_used(database_url: str) -> None:
    async with opened(database_url) as database:
        ask = "select pg_backend_pid()::int from pg_sleep(0.05)"
        old: list[int] = await asyncio.gather(*(database.fetchval(ask) for _ in range(4)))
        used = await database.fetchval(ask)
        os.kill(used, signal.SIGTERM)
        with pytest.raises(DatabaseUnavailable):
            await _until_it_fails(database)
        # The rest end later, and nobody here has heard of it yet when the next statement is sent.
        for each in set(old) - {used}:
            os.kill(each, signal.SIGTERM)
        time.sleep(0.3)  # noqa: ASYNC251 - the loop must not hear of it
        assert await database.fetchval("select 1") == 1


async def _until_it_fails(database: Database) -> None:
    for _ in range(100):
        await database.fetchval("select 1")


@pytest.mark.empty
async def test_sessions_that_began_read_only_are_not_used_when_that_is_over(database_url: str) -> None:
    await restrict(database_url, "default_transaction_read_only = on")
    async with opened(database_url) as database:
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await migrate(database)
        await asyncio.gather(*(database.fetchval("select pg_sleep(0.02)") for _ in range(4)))
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await migrate(database)
        admin = await asyncpg.connect(database_url)
        await admin.execute("set default_transaction_read_only = off")
        await admin.execute(f"alter database {urlsplit(database_url).path[1:]} reset default_transaction_read_only")
        await admin.close()
        assert await migrate(database), "a session of before would be read-only for ever"


async def test_a_server_that_restarts_is_found_again() -> None:
    folder = server_folder()
    server = EmbeddedPostgres(folder, durable=False)
    try:
        url = server.start()
        async with opened(url) as database:
            assert await database.fetchval("select 1") == 1
            server.stop()
            with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
                await database.fetchval("select 1")
            assert server.start() == url
            assert await database.fetchval("select 1") == 1
    finally:
        server.stop()
        shutil.rmtree(folder)


async def sleeps(database: Database) -> None:
    await database.execute("select pg_sleep(5)")


async def waits_for_a_lock(database: Database) -> None:
    async with database.transaction() as first, database.transaction() as second:
        await first.execute("lock table locked in exclusive mode")
        await second.execute("lock table locked in exclusive mode")


async def rests_in_a_transaction(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("select 1")
        await asyncio.sleep(0.3)
        await connection.execute("select 1")


@pytest.mark.parametrize(
    ("setting", "harm", "words"),
    [
        ("statement_timeout = '100ms'", sleeps, "statement_timeout"),
        ("lock_timeout = '100ms'", waits_for_a_lock, "lock_timeout"),
        ("idle_in_transaction_session_timeout = '100ms'", rests_in_a_transaction, "cannot be reached"),
    ],
)
async def test_a_limit_that_the_role_has_is_told_and_passes(
    database_url: str, setting: str, harm: Callable[[Database], Awaitable[None]], words: str
) -> None:
    async with opened(database_url) as database:
        await database.execute("create table locked (id integer)")
    await restrict(database_url, setting)
    async with opened(database_url) as database:
        with pytest.raises(DatabaseUnavailable, match=words):
            await harm(database)
        assert await database.fetchval("select 1") == 1


async def test_a_deadlock_is_something_to_try_again(database_url: str) -> None:
    async with opened(database_url) as database:
        await database.execute("create table locks (id integer primary key, n integer not null)")
        await database.execute("insert into locks values (1, 0), (2, 0)")
        both = asyncio.Barrier(2)

        async def update(first: int, second: int) -> None:
            async with database.transaction() as connection:
                await connection.execute("set local deadlock_timeout = '50ms'")
                await connection.execute("update locks set n = n + 1 where id = $1", first)
                await both.wait()
                await connection.execute("update locks set n = n + 1 where id = $1", second)

        results = await asyncio.gather(update(1, 2), update(2, 1), return_exceptions=True)
        (failure,) = [result for result in results if result is not None]
        assert isinstance(failure, DatabaseUnavailable)
        assert "tried again" in str(failure)
        assert await database.fetchval("select sum(n) from locks") == 2


async def test_a_server_that_is_full_says_so_and_is_used_when_it_is_not(database_url: str) -> None:
    async with opened(database_url) as database:
        await database.execute("create role few login connection limit 1")
        try:
            url = database_url.replace("postgresql://" + (urlsplit(database_url).username or ""), "postgresql://few", 1)
            async with opened(url, size=2) as few:
                async with few.transaction():
                    with pytest.raises(DatabaseUnavailable, match="no free connection"):
                        await few.fetchval("select 1")
                assert await few.fetchval("select 1") == 1
        finally:
            await database.execute("drop role few")


# --- silence -----------------------------------------------------------------------------------------------------------------


async def test_silence_ends_a_statement_in_time_and_the_sessions_of_before_are_left(database_url: str) -> None:
    async with (
        FaultProxy(upstream_of(database_url)) as proxy,
        opened(through(database_url, proxy.port), timeout_s=SAFETY_S) as database,
    ):
        await asyncio.gather(*(database.execute("select pg_sleep(0.02)") for _ in range(4)))
        quick = database.within(0.2)
        proxy.faults = Faults(hang=True)
        begun = own_clock()
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            await quick.fetchval("select 1")
        assert own_clock() - begun < 0.8
        # A firewall that forgot the old connections, with the server there again: nothing of before is waited for.
        proxy.faults = NONE
        accepted = proxy.accepted
        assert await asyncio.gather(*(database.fetchval("select 1") for _ in range(4))) == [1, 1, 1, 1]
        assert proxy.accepted >= accepted + 4


async def test_a_page_that_is_dropped_while_nothing_answers_is_dropped_at_once(database_url: str) -> None:
    async with FaultProxy(upstream_of(database_url)) as proxy, opened(through(database_url, proxy.port)) as database:
        await database.execute("create table rows (id integer)")
        inside = asyncio.Event()

        async def page() -> None:
            async with database.transaction() as connection, connection.transaction():
                await connection.execute("insert into rows values (1)")
                proxy.faults = Faults(hang=True)
                inside.set()
                await connection.execute("insert into rows values (2)")

        storing = asyncio.create_task(page())
        await inside.wait()
        await asyncio.sleep(0.05)
        begun = own_clock()
        storing.cancel()
        await asyncio.wait({storing}, timeout=SAFETY_S)
        assert storing.cancelled()
        assert own_clock() - begun < 0.5
        proxy.faults = NONE
        assert await database.fetchval("select count(*) from rows") == 0


async def test_closing_does_not_wait_for_a_database_that_hangs(database_url: str) -> None:
    async with FaultProxy(upstream_of(database_url)) as proxy:
        database = await connect(through(database_url, proxy.port), "yclients", size=4)
        hanging = [asyncio.create_task(database.execute("select pg_sleep(30)")) for _ in range(4)]
        await asyncio.sleep(0.1)
        proxy.faults = Faults(hang=True)
        begun = own_clock()
        await database.close()
        assert own_clock() - begun < 0.5
        assert {type(one) for one in await asyncio.gather(*hanging, return_exceptions=True)} == {DatabaseUnavailable}


# --- URLs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.empty
async def test_of_several_hosts_the_first_that_writes_is_taken(database_url: str) -> None:
    async with FaultProxy(upstream_of(database_url)) as standby, FaultProxy(upstream_of(database_url)) as primary:
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        url = (
            through(database_url, primary.port).replace(f"127.0.0.1:{primary.port}", hosts) + "?target_session_attrs=read-write"
        )
        standby.faults = Faults(hang=True)  # a host that is gone, without a word
        async with opened(url, timeout_s=1.0) as database:
            assert await database.fetchval("select 1") == 1
            primary.refuse()
            with pytest.raises(DatabaseUnavailable):
                await database.fetchval("select 1")
            standby.faults = NONE  # the failover is done
            assert await database.fetchval("select 1") == 1
            assert await migrate(database)


async def test_of_several_hosts_those_that_only_read_are_passed_over(database_url: str) -> None:
    await restrict(database_url, "default_transaction_read_only = on")
    async with FaultProxy(upstream_of(database_url)) as one, FaultProxy(upstream_of(database_url)) as other:
        url = through(database_url, one.port).replace(f":{one.port}", f":{one.port},127.0.0.1:{other.port}")
        with pytest.raises(DatabaseUnavailable):
            await connect(url + "?target_session_attrs=read-write", "yclients", size=1)
        assert one.accepted
        assert other.accepted


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:password-secret-3@db:5432/x",
        "postgresql://me:pass/password-secret-3@db:5432/x",
        "postgresql://me:p@password-secret-3@db:5432/x",
        "postgresql://me@db/x?password=password-secret-3",
        "postgresql://db/x?user=me&sslpassword=password-secret-3&sslmode=require",
        "postgresql://me:password-secret-3@one:1,two:2/x?target_session_attrs=read-write",
    ],
)
async def test_no_form_of_url_tells_its_password(url: str) -> None:
    assert "secret" not in without_secret(url)
    assert without_secret(url).startswith("postgresql://")
    with pytest.raises(DatabaseError) as error:
        await connect(re.sub(r"@(db|one:1,two:2)", "@127.0.0.1:1", url).replace("//db", "//127.0.0.1:1"), "yclients", size=1)
    assert "secret" not in str(error.value)


async def test_words_for_other_programs_in_a_url_are_not_sent(database_url: str) -> None:
    glue = "&" if "?" in database_url else "?"
    async with opened(f"{database_url}{glue}pgbouncer=true&connection_limit=1") as database:
        assert await database.fetchval("select $1::int", 5) == 5
    async with FaultProxy(upstream_of(database_url)) as proxy:
        url = through(database_url, proxy.port)
        async with opened(f"{url}?pgbouncer=true&sslmode=prefer") as database:
            assert await database.fetchval("select $1::int", 5) == 5


# --- real processes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def proxy(place: Place) -> AsyncIterator[FaultProxy]:
    """Between the processes of the place and its database."""
    async with FaultProxy(upstream_of(place.database_url)) as proxy:
        place.environ["YCSYNC_DATABASE_URL"] = through(place.database_url, proxy.port)
        yield proxy


@pytest.fixture
def options(request: pytest.FixtureRequest) -> Options:
    """A larger salon where something happens in the middle of a pass."""
    slow = "middle" in request.node.name
    return (
        Options(clients=150, visits=1200, latency=0.1, records_cap=100)
        if slow
        else Options(clients=40, visits=200, records_cap=30)
    )


async def ready(place: Place, status: int = 200, timeout: float = 90) -> object:
    """Wait for an answer of /readyz."""
    async with asyncio.timeout(timeout):
        while True:
            with suppress(aiohttp.ClientError):
                code, body = await place.get("/readyz")
                if code == status:
                    return body
            await asyncio.sleep(0.05)


async def goes_on(place: Place, words: str) -> None:
    """A change of the salon arrives."""
    salon = place.simulator.world.salons[4001]
    client = sorted(salon.clients)[0]
    salon.change_client(client, comment=words)
    async with asyncio.timeout(SAFETY_S):
        while await place.fetchval(f"select comment from yclients.clients where id = {client}") != words:
            await asyncio.sleep(0.05)


async def nothing_runs_for_ever(place: Place) -> None:
    """Every batch but those of now has an end."""
    async with asyncio.timeout(SAFETY_S):
        while await place.fetchval(
            "select count(*) from yclients.sync_batches b where finished_at is null and exists "
            "(select from yclients.sync_batches later "
            "where later.stream = b.stream and later.company = b.company and later.id > b.id)"
        ):
            await asyncio.sleep(0.1)


async def test_the_service_lives_through_a_database_that_goes_and_comes_back(place: Place, proxy: FaultProxy) -> None:
    service = await place.start("run")
    await ready(place)
    proxy.refuse()
    assert "the database is away" in str(await ready(place, 503))
    asked = await place.run("sync")
    assert asked.code == 1
    assert "cannot be reached" in asked.err
    await proxy.listen()
    await ready(place)
    await goes_on(place, "after the first")
    assert (place.log().count("event=database.lost"), place.log().count("event=database.back")) == (1, 1)
    # A failover: the sessions end, and the next ones begin read-only and stay so.
    name = urlsplit(place.database_url).path[1:]
    admin = await asyncpg.connect(place.database_url)
    await admin.execute(f"alter database {name} set default_transaction_read_only = on")
    await admin.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()", name
    )
    await ready(place, 503)
    await admin.execute(f"alter database {name} reset default_transaction_read_only")
    await admin.close()
    await ready(place)
    await goes_on(place, "after the second")
    assert (place.log().count("event=database.lost"), place.log().count("event=database.back")) == (2, 2)
    await nothing_runs_for_ever(place)
    for word in ("internal.unexpected", "Traceback", "asyncpg"):
        assert word not in place.log(), word
    assert service.returncode is None


async def test_a_command_whose_database_is_cut_says_so_and_the_next_one_goes_on_in_the_middle(
    place: Place, proxy: FaultProxy
) -> None:
    sync = await place.start("sync")
    await place.until(lambda: place.simulator.report().requests > 5, "requests")
    proxy.refuse()
    assert await asyncio.wait_for(sync.wait(), SAFETY_S) == 1
    assert "Traceback" not in place.log()
    assert "the database" in place.log()
    await proxy.listen()
    again = await place.run("sync")
    assert again.code == 0, again.err
    salon = place.simulator.world.salons[4001]
    assert await place.fetchval("select count(*) from yclients.records") == len(salon.records)
    assert await place.fetchval("select count(*) from yclients.sync_batches where finished_at is null") == 0
    assert place.simulator.report().repeats <= 12


async def test_no_command_waits_long_for_a_database_that_hangs_in_the_middle(place: Place, proxy: FaultProxy) -> None:
    sync = await place.start("sync")
    await place.until(lambda: place.simulator.report().requests > 5, "requests")
    proxy.faults = Faults(hang=True)
    begun = Stopwatch(sync.pid)
    status, other, code = await asyncio.gather(place.run("status"), place.run("sync"), begun.during(sync.wait()))
    assert (status.code, other.code, code) == (1, 1, 1)
    assert max(status.seconds, other.seconds, begun.seconds) < 25, "by their own clocks"
    for said in (status.err, other.err, place.log()):
        assert "the database" in said
        assert "Traceback" not in said


async def test_sigterm_ends_the_service_in_time_when_the_database_hangs_in_the_middle(
    place: Place, proxy: FaultProxy, effort: Effort
) -> None:
    for known in (False, True) if effort.soak else (False,):
        service = await place.start("run")
        before = place.simulator.report().requests
        await place.until(lambda: place.simulator.report().requests > before + 5, "requests")  # noqa: B023
        proxy.faults = Faults(hang=True)
        if known:
            await place.until_log("event=database.lost")
        else:
            await asyncio.sleep(0.3)  # pages arrive, and hang in their commits
        stopped = await place.stop(service)
        assert (stopped.code, stopped.seconds < 2) == (0, True), stopped
        proxy.faults = NONE


async def test_a_killed_command_does_not_leave_its_pace_to_the_service(place: Place) -> None:
    await place.start("run")
    await ready(place)
    sync = await place.start(
        "sync", "records", "--force", "--max-batches", "1", "--batch-size", "1", "--interval", "1h", log="log2"
    )
    async with asyncio.timeout(SAFETY_S):
        while not await place.fetchval("select exists (select from yclients.sync_status where options ? 'max_batches')"):
            await asyncio.sleep(0.01)
    sync.kill()
    await sync.wait()
    async with asyncio.timeout(SAFETY_S):
        while not await place.fetchval(
            "select phase = 'live' and options = '{}' and wanted_at is null from yclients.sync_status where stream = 'records'"
        ):
            await asyncio.sleep(0.1)
    assert await place.fetchval("select count(*) from yclients.workers") == 1
