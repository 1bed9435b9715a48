"""Nothing done twice, nothing deleted by mistake: does a page commit whole or not at all, and once?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from ycsync.errors import DatabaseUnavailable, Fenced
from ycsync.model import Client, ClientId, Company, CompanyId, Record, RecordId, RecordService, Reject, Service, ServiceId
from ycsync.store.database import Database, connect
from ycsync.store.migrate import migrate
from ycsync.store.pages import Advance, Effect, EndOfSweep, PageRows, Pages, Swept
from ycsync.store.work import Work

SALON = 7
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def client(entity: int, **fields: Any) -> Client:
    return replace(Client(ClientId(entity), name=f"Клиент {entity}", raw=f'{{"id": {entity}}}'), **fields)


def record(entity: int, minutes: int = 0, lines: int = 1, **fields: Any) -> Record:
    services = tuple(RecordService(n, ServiceId(n + 1), f"Услуга {n}", cost=Decimal(100)) for n in range(lines))
    row = Record(RecordId(entity), at(minutes), date(2026, 3, 1), services=services, raw=f'{{"id": {entity}, "n": {lines}}}')
    return replace(row, **fields)


class Store:
    """One stream of one salon, and the version that its cursor has."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.pages = Pages(database)
        self.version = 0

    def advance(self, stream: str, version: int | None = None, **fields: Any) -> Advance:
        wanted = self.version if version is None else version
        return Advance(SALON, stream, wanted, '{"kind": "full"}', "filling", 10, fields.pop("done", 5), 1, **fields)

    async def put(self, stream: str, *pages: PageRows, **options: Any) -> Effect:
        effect = await self.pages.commit(self.advance(stream), pages, **options)
        self.version = effect.version
        return effect

    async def rows(self, table: str) -> dict[int, asyncpg.Record]:
        found = await self.database.fetch(f"select *, xmin::text, ctid::text from yclients.{table}")
        return {row["id"]: row for row in found}

    async def status(self, stream: str) -> asyncpg.Record:
        row = await self.database.fetchrow("select * from yclients.sync_status where stream = $1", stream)
        assert row is not None
        return row


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    database = await connect(database_url, "yclients")
    await migrate(database)
    await Work(database).ensure([SALON], ["clients", "records", "services"])
    yield Store(database)
    await database.close()


def clients(*rows: Client, minutes: float = 0, rejects: tuple[Reject, ...] = (), swept: Swept | None = None) -> PageRows:
    return PageRows("clients", rows, rejects, at(minutes), swept)


@asynccontextmanager
async def held(url: str, table: str, entity: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """One row is locked by somebody else, until what this yields is called."""
    connection = await asyncpg.connect(url)
    try:
        lock = connection.transaction()
        await lock.start()
        await connection.execute(f"select from yclients.{table} where id = $1 for update", entity)
        yield lock.rollback
    finally:
        await connection.close()


async def waiting(store: Store, count: int) -> None:
    """Returns when so many commits wait for a lock."""
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    async with asyncio.timeout(20):
        while await store.database.fetchval(query) != count:
            await asyncio.sleep(0.01)


# --- the fence ----------------------------------------------------------------------------------------------------------


async def test_of_two_workers_with_one_cursor_one_wins_and_the_other_leaves_nothing(store: Store) -> None:
    async def work(number: int) -> int:
        try:
            await store.pages.commit(store.advance("clients", 0), [clients(client(number, name=f"{number}"))])
        except Fenced:
            return 0
        return number

    won = [number for number in await asyncio.gather(*(work(n) for n in range(1, 9))) if number]
    assert len(won) == 1
    assert set(await store.rows("clients")) == set(won)
    status = await store.status("clients")
    assert (status["version"], status["requests"]) == (1, 1)


async def test_a_page_is_never_applied_twice(store: Store) -> None:
    page = clients(client(1))
    advance = store.advance("clients")
    await store.pages.commit(advance, [page])
    with pytest.raises(Fenced):
        await store.pages.commit(advance, [page])
    assert (await store.status("clients"))["requests"] == 1


async def test_a_connection_cut_in_the_middle_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Pages._store

    async def cut(self: Pages, connection: Any, *args: Any) -> None:
        await stored(self, connection, *args)
        pid = await connection.fetchval("select pg_backend_pid()")
        await store.database.execute("select pg_terminate_backend($1)", pid)
        await connection.fetchval("select 1")

    monkeypatch.setattr(Pages, "_store", cut)
    with pytest.raises(DatabaseUnavailable):
        await store.put("clients", clients(client(1), rejects=(Reject("9", "row: bad", "{}"),)))
    monkeypatch.setattr(Pages, "_store", stored)
    assert await store.rows("clients") == {}
    assert await store.database.fetch("select * from yclients.quarantine") == []
    status = await store.status("clients")
    assert (status["version"], status["requests"], status["done"], status["cursor"]) == (0, 0, 0, None)
    await store.put("clients", clients(client(1)))
    assert set(await store.rows("clients")) == {1}


# --- rows ---------------------------------------------------------------------------------------------------------------


async def test_rows_that_came_unchanged_are_not_written(store: Store) -> None:
    await store.put("records", PageRows("records", [record(n, lines=2) for n in range(20)], (), at(0)))
    before, lines = await store.rows("records"), await store.database.fetch("select ctid::text from yclients.record_services")
    changed = record(3, lines=1)
    rows = [changed if n == 3 else record(n, lines=2) for n in range(20)]
    effect = await store.put("records", PageRows("records", rows, (), at(5)))
    assert (effect.inserted, effect.changed) == (0, 1)
    after = await store.rows("records")
    moved = {n for n in after if (after[n]["xmin"], after[n]["ctid"]) != (before[n]["xmin"], before[n]["ctid"])}
    assert moved == {3}
    left = await store.database.fetch("select ctid::text from yclients.record_services")
    assert len(left) == 39
    assert len({row["ctid"] for row in lines} & {row["ctid"] for row in left}) == 38


async def test_an_older_page_never_overwrites_a_newer_row(store: Store) -> None:
    await store.put("clients", clients(client(1, name="новое"), minutes=5))
    effect = await store.put("clients", clients(client(1, name="старое"), minutes=4))
    assert (effect.inserted, effect.changed) == (0, 0)
    assert (await store.rows("clients"))[1]["name"] == "новое"


@pytest.mark.parametrize("known", [True, False])
async def test_an_older_page_that_waited_for_a_newer_one(store: Store, database_url: str, known: bool) -> None:
    """Both are planned on the same row; the older one waits for the newer one's lock, and must not overwrite it then."""
    await store.put("records", PageRows("records", [record(1)] if known else [], (), at(0)))
    await store.put("records", PageRows("records", [record(2)], (), at(0)))
    newer = [PageRows("records", [row], (), at(9)) for row in (record(1, 90, 2), record(2, 90, 2))]
    async with held(database_url, "records", 2) as release:
        first = asyncio.create_task(store.pages.commit(store.advance("records"), newer))
        await waiting(store, 1)
        older = PageRows("records", [record(1, 30, 3)], (), at(3))
        second = asyncio.create_task(store.pages.commit(store.advance("services", 0), [older]))
        await waiting(store, 2)
        await release()
        await first
        assert ((await second).inserted, (await second).changed) == (0, 0)
    row = (await store.rows("records"))[1]
    assert (row["starts_at"], row["observed_at"]) == (at(90), at(9))
    lines = await store.database.fetch("select position from yclients.record_services where record_id = 1")
    assert len(lines) == 2


async def test_a_masked_phone_keeps_the_real_one(store: Store) -> None:
    real = client(1, phone="79990000001", phone_raw="+79990000001")
    await store.put("clients", clients(real, client(2, phone=None, phone_raw="+7999*****02", phone_masked=True)))
    masked = client(1, name="другое", phone=None, phone_raw="+7999*****01", phone_masked=True)
    await store.put("clients", clients(masked, minutes=1))
    rows = await store.rows("clients")
    assert (rows[1]["name"], rows[1]["phone"], rows[1]["phone_raw"]) == ("другое", "79990000001", "+79990000001")
    assert (rows[2]["phone"], rows[2]["phone_raw"]) == (None, "+7999*****02")
    await store.put("clients", clients(client(1, phone=None, phone_raw=""), minutes=2))
    assert (await store.rows("clients"))[1]["phone"] is None


async def test_a_row_that_returns_is_undeleted(store: Store) -> None:
    await store.put("records", PageRows("records", [record(1, deleted=True)], (), at(0)))
    first = (await store.rows("records"))[1]["deleted_at"]
    assert first == at(0)
    await store.put("records", PageRows("records", [record(1, deleted=True, comment="ещё")], (), at(1)))
    assert (await store.rows("records"))[1]["deleted_at"] == first
    await store.put("records", PageRows("records", [record(1)], (), at(2)))
    assert (await store.rows("records"))[1]["deleted_at"] is None


async def test_columns_of_which_an_answer_says_nothing_stay(store: Store) -> None:
    full = client(1, surname="Лис", comment="да", raw='{"id": 1, "surname": "Лис", "spent": 1}', spent=Decimal(1))
    await store.put("clients", clients(full))
    thin = client(1, spent=Decimal(2), raw='{"id": 1, "spent": 2}')
    untold = frozenset(("surname", "comment"))
    await store.put("clients", PageRows("clients", [thin, client(2, surname="")], (), at(1), None, untold))
    rows = await store.rows("clients")
    assert (rows[1]["surname"], rows[1]["comment"], rows[1]["spent"]) == ("Лис", "да", Decimal(2))
    assert '"surname": "Лис"' in rows[1]["raw"]
    assert (await store.put("clients", PageRows("clients", [thin], (), at(2), None, untold))).changed == 0


async def test_lines_of_a_record_are_replaced_with_it(store: Store) -> None:
    await store.put("records", PageRows("records", [record(1, lines=3), record(2, lines=2)], (), at(0)))
    await store.put("records", PageRows("records", [record(1, lines=0), record(2, lines=2)], (), at(1)))
    lines = await store.database.fetch("select record_id, position from yclients.record_services order by 1, 2")
    assert [tuple(line) for line in lines] == [(2, 0), (2, 1)]


# --- rows that cannot be stored -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad", [{"name": "a\x00b"}, {"sex_id": 2**40}, {"raw": "{"}, {"raw": '{"a": "\\u0000"}'}, {"name": "\ud800"}]
)
async def test_a_row_that_postgresql_refuses_does_not_stop_its_page(store: Store, bad: dict[str, Any]) -> None:
    rows = [client(n, **(bad if n in (4, 11) else {})) for n in range(1, 18)]
    effect = await store.put("clients", clients(*rows))
    assert (effect.inserted, effect.quarantined) == (15, 2)
    assert set(await store.rows("clients")) == set(range(1, 18)) - {4, 11}
    kept = await store.database.fetch("select entity_id, reason, resolved_at from yclients.quarantine order by 1")
    assert [row["entity_id"] for row in kept] == ["11", "4"]
    assert all("PostgreSQL refused" in row["reason"] for row in kept)
    await store.put("clients", clients(client(4), client(11), minutes=1))
    kept = await store.database.fetch("select resolved_at from yclients.quarantine")
    assert [row["resolved_at"] for row in kept] == [at(1), at(1)]


async def test_quarantine_keeps_every_row_and_says_when_it_was_seen(store: Store) -> None:
    nameless = tuple(Reject(None, "id: not an id", f'{{"n": {n}}}') for n in (1, 2, 3))
    again = Reject(None, "id: not an id", '{"n":3}')  # the third one, spelt differently
    await store.put("clients", clients(rejects=(*nameless, again, Reject("5", "name: not a text", "{}"))))
    assert len(await store.database.fetch("select * from yclients.quarantine")) == 4
    await store.put("clients", clients(rejects=(nameless[0], Reject("5", "name: not a text", '{"later": 1}')), minutes=3))
    rows = await store.database.fetch("select entity_id, first_seen, last_seen, payload from yclients.quarantine")
    assert len(rows) == 4
    five = next(row for row in rows if row["entity_id"] == "5")
    assert (five["first_seen"], five["last_seen"], five["payload"]) == (at(0), at(3), '{"later": 1}')


async def test_a_page_from_before_does_not_resolve_what_went_wrong_since(store: Store) -> None:
    await store.put("clients", clients(rejects=(Reject("5", "name: not a text", "{}"),), minutes=3))
    await store.put("clients", clients(client(5), minutes=2))
    assert await store.database.fetchval("select resolved_at from yclients.quarantine") is None
    await store.put("clients", clients(client(5), minutes=4))
    assert await store.database.fetchval("select resolved_at from yclients.quarantine") == at(4)


# --- sweeps -------------------------------------------------------------------------------------------------------------

WHOLE = EndOfSweep(("clients",), 0.10)


async def live(store: Store) -> set[int]:
    return {entity for entity, row in (await store.rows("clients")).items() if row["deleted_at"] is None}


async def fill(store: Store, count: int = 50) -> None:
    await store.put("clients", clients(*(client(n) for n in range(1, count + 1))))


def sweep_page(*ids: int, minutes: float = 5, rejects: tuple[Reject, ...] = ()) -> PageRows:
    return clients(*(client(n) for n in ids), minutes=minutes, rejects=rejects, swept=Swept(ids, "ids"))


async def test_a_sweep_deletes_what_no_page_showed(store: Store) -> None:
    await fill(store)
    effect = await store.put("clients", sweep_page(*range(1, 46)), end_of_sweep=WHOLE)
    assert (effect.deleted, effect.held_back) == (5, 0)
    assert await live(store) == set(range(1, 46))


async def test_a_sweep_that_would_delete_more_than_a_tenth_stops_and_asks(store: Store) -> None:
    await fill(store)
    page = sweep_page(*range(1, 45))
    effect = await store.put("clients", page, end_of_sweep=WHOLE)
    assert (effect.deleted, effect.held_back, len(await live(store))) == (0, 6, 50)
    effect = await store.put("clients", page, end_of_sweep=replace(WHOLE, confirmed=True), forget_sweep=True)
    assert effect.deleted == 6


async def test_one_row_may_always_go(store: Store) -> None:
    await fill(store, 3)
    assert (await store.put("clients", sweep_page(1, 2), end_of_sweep=WHOLE)).deleted == 1
    assert (await store.put("clients", sweep_page(minutes=6), end_of_sweep=WHOLE, forget_sweep=True)).held_back == 2


async def test_an_answer_with_a_row_whose_id_cannot_be_read_proves_nothing_gone(store: Store) -> None:
    await fill(store)
    for reject in (Reject(None, "id: not an id", "{}"), Reject("x9", "id: not an id", "{}")):
        page = sweep_page(*range(1, 50), rejects=(reject,))
        assert (await store.put("clients", page, end_of_sweep=WHOLE, forget_sweep=True)).deleted == 0
    # A row whose id is known, but nothing else of it, is there.
    page = clients(*(client(n) for n in range(1, 50)), minutes=6, rejects=(Reject("50", "name: not a text", "{}"),))
    page = replace(page, swept=Swept(tuple(range(1, 51)), "ids"))
    assert (await store.put("clients", page, end_of_sweep=WHOLE, forget_sweep=True)).deleted == 0


async def test_a_row_that_a_later_page_shows_unchanged_is_not_missing(store: Store) -> None:
    await fill(store)
    await store.put("clients", sweep_page(*range(1, 50), minutes=5))
    effect = await store.put("clients", clients(client(50), minutes=6), end_of_sweep=WHOLE)
    assert (effect.deleted, await live(store)) == (0, set(range(1, 51)))


async def test_an_older_page_does_not_find_what_a_sweep_missed(store: Store) -> None:
    await fill(store)
    await store.put("clients", sweep_page(*range(1, 50), minutes=5))
    assert (await store.put("clients", clients(client(50), minutes=4), end_of_sweep=WHOLE)).deleted == 1


async def test_what_an_earlier_sweep_missed_counts_no_more(store: Store) -> None:
    await fill(store)
    await store.put("clients", sweep_page(*range(1, 30), minutes=5))
    effect = await store.put("clients", sweep_page(*range(1, 51), minutes=9), end_of_sweep=WHOLE, forget_sweep=True)
    assert (effect.deleted, effect.held_back) == (0, 0)


async def test_a_row_changed_after_the_sweep_looked_is_not_deleted(store: Store) -> None:
    await fill(store)
    await store.put("clients", sweep_page(*range(1, 50), minutes=5))
    await store.put("clients", clients(client(50, name="здесь"), minutes=6))
    assert (await store.put("clients", end_of_sweep=WHOLE)).deleted == 0


async def test_a_reading_settles_what_it_did_not_show_again(store: Store) -> None:
    for entity, minutes in (("5", 3), ("6", 9)):
        await store.put("clients", clients(rejects=(Reject(entity, "name: not a text", "{}"),), minutes=minutes))
    await store.put("clients", end_of_sweep=replace(WHOLE, settled=at(6)))
    left = await store.database.fetch("select entity_id from yclients.quarantine where resolved_at is null")
    assert [row["entity_id"] for row in left] == ["6"]


async def test_a_list_of_salons_misses_none_that_is_newer(store: Store) -> None:
    await Work(store.database).ensure([0], ["companies"])
    salons = [PageRows("companies", [Company(CompanyId(n))], (), at(minutes)) for n, minutes in ((1, 0), (2, 6))]
    for minutes, left in ((5, {1, 2}), (7, {1})):
        listed = EndOfSweep((), 0.1, salons=(1,), observed_at=at(minutes))
        advance = replace(store.advance("companies"), company=0)
        store.version = (await store.pages.commit(advance, salons, end_of_sweep=listed)).version
        salons = []
        assert await store.pages.salons() == left


@pytest.mark.parametrize("by", ["ids", "dates"])
async def test_a_page_misses_no_row_that_is_newer_than_it(store: Store, by: str) -> None:
    table, row = ("clients", client(5)) if by == "ids" else ("records", record(5))
    await store.put(table, PageRows(table, [row], (), at(6)))
    for minutes, missed in ((5, False), (6, False), (7, True)):
        await store.put(table, PageRows(table, [], (), at(minutes), Swept((), by)))
        assert await store.pages.doubted(SALON, table) is missed


async def test_a_row_seen_while_a_sweep_missed_it_stays(store: Store, database_url: str) -> None:
    """Neither commit sees the other: only the instants of the two requests tell which of them is right."""
    await fill(store)
    missed = [sweep_page(*range(1, 49)), clients(client(1, name="держит"), minutes=5)]
    async with held(database_url, "clients", 1) as release:
        sweep = asyncio.create_task(store.pages.commit(store.advance("clients"), missed))
        await waiting(store, 1)
        await store.pages.commit(store.advance("services", 0), [clients(client(50, name="здесь"), minutes=6)])
        assert not sweep.done()
        await release()
        store.version = (await sweep).version
    assert (await store.put("clients", end_of_sweep=WHOLE)).deleted == 1
    assert await live(store) == set(range(1, 51)) - {49}


async def test_an_older_page_does_not_bring_a_deleted_row_back(store: Store) -> None:
    await fill(store)
    await store.put("clients", sweep_page(*range(1, 50), minutes=5), end_of_sweep=WHOLE)
    await store.put("clients", clients(client(50), minutes=4))
    assert 50 not in await live(store)
    await store.put("clients", clients(client(50), minutes=6))
    assert 50 in await live(store)


async def test_a_deletion_is_stamped_when_it_is_committed(store: Store) -> None:
    """Who looked in between at what changed finds it afterwards."""
    await fill(store)
    await store.put("clients", sweep_page(*range(1, 50), minutes=5))
    looked = await store.database.fetchval("select clock_timestamp()")
    await store.put("clients", end_of_sweep=WHOLE)
    row = (await store.rows("clients"))[50]
    assert row["deleted_at"] == at(5)
    assert row["observed_at"] > looked


@pytest.mark.parametrize(("minutes", "lives"), [(4, False), (6, True)])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_page_wins_over_a_sweep_that_missed_the_row_before_it(
    store: Store, database_url: str, minutes: float, lives: bool, waits: bool
) -> None:
    """The sweep missed the row at 5 and commits now; the other stream's page left in between, or before, and commits last."""
    await fill(store)
    await store.put("clients", sweep_page(*range(1, 50), minutes=5))
    other = store.pages.commit(store.advance("records", 0), [clients(client(50, name="здесь"), minutes=minutes)])
    if waits:  # two connections: the page's upsert waits for the sweep's row, and then looks at it again
        apply = store.database.statements("pages.sql")["sweep_apply"].replace("{table}", "clients").replace("{doubted}", "")
        sweeping = await asyncpg.connect(database_url)
        try:
            async with sweeping.transaction():
                assert await sweeping.execute(apply, SALON, "clients") == "UPDATE 1"
                task = asyncio.create_task(other)
                while not await store.database.fetchval("select count(*) from pg_locks where not granted"):
                    assert not task.done(), "the page did not wait"
                    await asyncio.sleep(0.01)
            await task
        finally:
            await sweeping.close()
    else:
        assert (await store.put("clients", end_of_sweep=WHOLE)).deleted == 1
        await other
    assert (50 in await live(store)) is lives
    assert (await store.rows("clients"))[50]["observed_at"] == at(6) or not lives


async def test_a_page_never_revives_what_a_later_page_showed_as_deleted(store: Store) -> None:
    """Deleted at 1, changed while deleted at 8: a page of 6 on which it lived is older than what is known."""
    await store.put("records", PageRows("records", [record(1, deleted=True, status="cancelled")], (), at(1)))
    again = record(1, deleted=True, status="cancelled", comment="ещё")
    await store.put("records", PageRows("records", [again], (), at(8)))
    await store.put("records", PageRows("records", [record(1, status="waiting")], (), at(6)))
    row = (await store.rows("records"))[1]
    assert (row["status"], row["deleted_at"]) == ("cancelled", at(1))
    await store.put("records", PageRows("records", [record(1, status="waiting")], (), at(9)))
    assert (await store.rows("records"))[1]["deleted_at"] is None


async def test_a_list_that_lacks_a_salon_is_stamped_when_it_is_committed(store: Store) -> None:
    await Work(store.database).ensure([0], ["companies"])
    await store.database.execute(
        "insert into yclients.companies select n, 'Salon', 'UTC', '', true, '{}', null, $1 from generate_series(1, 9) n", at(0)
    )
    begun = await store.database.fetchval("select clock_timestamp()")
    end = EndOfSweep((), 0.10, salons=tuple(range(1, 9)), observed_at=at(5))
    advance = Advance(0, "companies", 0, "{}", "live", 8, 8, 1)
    assert (await store.pages.commit(advance, end_of_sweep=end)).deleted == 1
    row = (await store.rows("companies"))[9]
    assert row["deleted_at"] == at(5)
    assert row["observed_at"] > begun


async def test_what_a_read_confirmed_to_be_gone_is_stamped_when_it_is_committed(store: Store) -> None:
    await fill(store)
    begun = await store.database.fetchval("select clock_timestamp()")
    async with store.database.transaction() as connection:
        assert await store.pages.hooks.gone(connection, SALON, "clients", {50: at(5)}) == 1
    row = (await store.rows("clients"))[50]
    assert row["deleted_at"] == at(5)
    assert row["observed_at"] > begun
    await store.put("clients", clients(client(50), minutes=4))
    assert 50 not in await live(store)
    await store.put("clients", clients(client(50), minutes=6))
    assert 50 in await live(store)


async def test_dates_sweep_only_what_stands_in_their_window(store: Store) -> None:
    rows = [record(n, minutes=60 * n) for n in range(1, 31)]
    await store.put("records", PageRows("records", rows, (), at(0)))
    swept = Swept((10, 11), "dates", at(600), at(780))  # 12 is missing; 13 is where the window ends
    page = PageRows("records", rows[9:11], (), at(5), swept)
    await store.put("records", page, end_of_sweep=EndOfSweep(("records",), 0.1))
    gone = {entity for entity, row in (await store.rows("records")).items() if row["deleted_at"] is not None}
    assert gone == {12}


async def test_lists_of_two_tables_are_swept_together(store: Store) -> None:
    service = Service(ServiceId(1), title="Маникюр")
    await store.put("services", PageRows("services", [service], (), at(0)))
    page = PageRows("services", [], (), at(1), Swept((), "ids"))
    effect = await store.put("services", page, end_of_sweep=EndOfSweep(("services",), 0.1), forget_sweep=True)
    assert effect.deleted == 1
