"""Does everything work through PgBouncer, in session and in transaction mode, and does what cannot work say so at the start?

Debian's PgBouncer, in front of the test's own PostgreSQL. In transaction mode it is told to give each transaction another
session than the one before, which is the worst that it may do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from conftest import Effort
from faultproxy import Faults
from support.bouncer import Bouncer, PoolMode, bouncer
from support.house import STREAMS, assert_equal, open_house
from support.patience import SAFETY_S
from support.place import Place
from ycsync.errors import DatabaseError, DatabaseUnavailable
from ycsync.simulator import Options, Simulator
from ycsync.store.database import connect

pytestmark = pytest.mark.pgbouncer
BOTH: tuple[PoolMode, ...] = ("session", "transaction")
SMALL = Options(clients=60, visits=400, per_second=0, per_minute=0, latency=0, records_cap=60)


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("pool", [1, 5])
async def test_a_first_pass_and_its_deltas_are_exact(database_url: str, mode: PoolMode, pool: int) -> None:
    if mode == "session":
        pool += 9  # each connection of the pool keeps one
    async with (
        bouncer(database_url, mode, default_pool_size=pool) as between,
        Simulator(SMALL) as sim,
        open_house(sim.url, between.url) as house,
    ):
        (company,) = await house.companies()
        await asyncio.gather(*(house.proved(company, stream, units=3) for stream in STREAMS))
        await assert_equal(sim, house)
        salon = sim.world.salons[company]
        for client in sorted(salon.clients)[:5]:
            salon.change_client(client, comment="other words")
        for record in sorted(salon.records)[:5]:
            salon.change_record(record, comment="other words")
        await asyncio.gather(*(house.batch(company, stream) for stream in STREAMS))
        await assert_equal(sim, house)


@pytest.mark.parametrize("mode", BOTH)
async def test_many_statements_at_once_get_their_own_answers(database_url: str, mode: PoolMode, effort: Effort) -> None:
    """Unnamed statements too are a session's: an answer must never be that of another's question."""
    async with bouncer(database_url, mode, default_pool_size=20) as between:
        two = await asyncio.gather(*(connect(between.url, "yclients", size=8) for _ in range(2)))

        async def ask(n: int) -> bool:
            database = two[n % 2]
            if n % 3:
                value = await database.fetchval(f"select $1::bigint + {n % 7}", n)
                return bool(value == n + n % 7)
            async with database.transaction() as connection:
                texts = await connection.fetchval("select $1::text[]", [str(n)])
                return bool(texts == [str(n)])

        assert all(await asyncio.gather(*(ask(n) for n in range(effort.of(600, 20_000)))))
        for database in two:
            await database.close()


async def test_nothing_stays_behind_in_the_sessions_that_others_get(database_url: str) -> None:
    async with bouncer(database_url, "transaction", default_pool_size=1) as between, Simulator(SMALL) as sim:
        async with open_house(sim.url, between.url) as house:
            (company,) = await house.companies()
            await house.proved(company, "clients")
        other = await asyncpg.connect(between.url, statement_cache_size=0)
        async with other.transaction():
            assert await other.fetchval("select count(*) from pg_prepared_statements where name <> ''") == 0
            assert await other.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
            assert await other.fetchval("show client_min_messages") == "notice"
            assert await other.fetchval("show search_path") == '"$user", public'
        await other.close()


async def test_a_pooler_that_takes_the_parameters_is_found_out_all_the_same(database_url: str) -> None:
    async with bouncer(database_url, "transaction", ignore_startup_parameters="jit", default_pool_size=5) as between:
        database = await connect(between.url, "yclients", size=5)
        values = await asyncio.gather(*(database.fetchval("select $1::bigint", n) for n in range(100)))
        assert values == list(range(100))
        await database.close()


async def test_without_a_pooler_statements_stay_prepared(database_url: str) -> None:
    database = await connect(database_url, "yclients", size=1)
    for _ in range(2):
        await database.fetchval("select $1::bigint", 1)
    assert await database.fetchval("select count(*) from pg_prepared_statements") == 2
    assert await database.fetchval("show jit") == "off"
    assert await database.fetchval("show application_name") == "ycsync"
    await database.close()


@pytest.mark.parametrize("hint", ["", "?pgbouncer=true"])
async def test_statement_mode_is_refused_at_the_start_with_what_to_do(database_url: str, hint: str) -> None:
    async with bouncer(database_url, "statement") as between:
        with pytest.raises(DatabaseError) as error:
            await connect(between.url + hint, "yclients")
    assert not isinstance(error.value, DatabaseUnavailable), "trying again does not help"
    assert "pool_mode = transaction or session" in str(error.value)


async def test_a_pooler_without_its_database_says_what_it_knows(database_url: str) -> None:
    async with bouncer(database_url, "transaction", server_login_retry=1) as between:
        between.behind.refuse()
        with pytest.raises(DatabaseUnavailable, match=r"cannot be reached|does not answer"):
            await connect(between.url, "yclients", timeout_s=3)
        await between.behind.listen()
        async with asyncio.timeout(SAFETY_S):
            while True:
                try:
                    database = await connect(between.url, "yclients", timeout_s=3)
                    break
                except DatabaseUnavailable:
                    await asyncio.sleep(0.1)
        assert await database.fetchval("select 1") == 1
        # What is behind the pooler goes away while it is used, and comes back.
        between.behind.reset_all()
        between.behind.faults = Faults(reset=True)
        with pytest.raises(DatabaseUnavailable):
            await database.within(1.0).fetchval("select 1")
        between.behind.faults = Faults()
        async with asyncio.timeout(SAFETY_S):
            while True:
                try:
                    assert await database.fetchval("select 1") == 1
                    break
                except DatabaseUnavailable:
                    await asyncio.sleep(0.1)
        await database.close()


# --- real processes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def options() -> Options:
    return Options(clients=60, visits=400, latency=0.1, records_cap=80)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Real processes take their time: the mode that is harder, and in a soak both."""
    if "between" in metafunc.fixturenames:
        modes = BOTH if metafunc.config.getoption("--soak") else ("transaction",)
        metafunc.parametrize("between", modes, indirect=True)


@pytest.fixture
async def between(request: pytest.FixtureRequest, place: Place) -> AsyncIterator[Bouncer]:
    """A pooler between the processes of the place and their database."""
    async with bouncer(
        place.database_url, request.param, default_pool_size=5 if request.param == "transaction" else 60
    ) as between:
        place.environ["YCSYNC_DATABASE_URL"] = between.url
        yield between


async def test_service_and_commands_share_the_work_and_the_limit_through_a_kill(place: Place, between: Bouncer) -> None:
    service = await place.start("run")
    await place.until(lambda: place.simulator.report().requests > 4, "requests")
    service.kill()
    await service.wait()
    sync = await place.start("sync", log="log2")  # it does the work itself, until there is a service again
    service = await place.start("run")
    assert await asyncio.wait_for(sync.wait(), SAFETY_S) == 0, place.log("log2")
    salon = place.simulator.world.salons[4001]
    assert await place.fetchval("select count(*) from yclients.records") == len(salon.records)
    assert await place.fetchval("select count(*) from yclients.clients") == len(salon.clients)
    paused = await place.run("pause")
    assert paused.code == 0, paused.err
    await asyncio.sleep(1.0)
    before = place.simulator.report().requests
    asked = await place.run("sync", "staff")
    assert asked.code == 1
    assert "paused" in asked.err
    assert place.simulator.report().requests == before
    assert (await place.run("resume")).code == 0
    done = await place.run("sync", "staff")
    assert done.code == 0, done.err
    assert "by the service" in done.out
    status = await place.run("status")
    assert status.code == 0, status.err
    report = place.simulator.report()
    assert report.max_1s <= 5
    assert report.max_60s <= 200
    assert report.answers.keys() <= {"200", "left"}  # left: those of the killed one
    assert report.repeats <= 12
    stopped = await place.stop(service)
    assert (stopped.code, stopped.seconds < 2) == (0, True), stopped
    for word in ("database.lost", "internal.unexpected", "Traceback", "prepared statement"):
        assert word not in place.log() + place.log("log2"), word
    assert await place.fetchval("select count(*) from yclients.workers") == 0


async def test_a_service_behind_statement_mode_says_so_and_does_not_begin(place: Place) -> None:
    async with bouncer(place.database_url, "statement") as between:
        place.environ["YCSYNC_DATABASE_URL"] = between.url
        service, sync = await asyncio.gather(place.run("run"), place.run("sync"))
    for command in (service, sync):
        assert command.code == 1
        assert "pool_mode = transaction or session" in command.err
    assert place.simulator.report().requests == 0
