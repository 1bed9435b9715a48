"""Nothing is deleted by mistake: what must a sweep see before a row goes, and what makes it stop?"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from support.house import House, assert_equal, open_salon
from support.place import Place
from ycsync.errors import AccessDenied, ApiError, NotFound, Transient
from ycsync.simulator import Options, Salon

SALON, OTHER = 4001, 4002
BOTH = ("clients", "records")
TABLES = ("clients", "records", "services", "service_categories", "staff")


async def batches(house: House, stream: str, most: int) -> None:
    """One after the other."""
    for _ in range(most):
        await house.batch(SALON, stream)


@pytest.fixture
def options() -> Options:
    """The salon of the tests with real processes."""
    return Options(clients=60, visits=60, churn=0, per_second=0, per_minute=0)


async def alive(house: House, company: int = SALON) -> dict[str, set[int]]:
    return {table: await house.live(table, company) for table in TABLES}


async def night(house: House, *streams: str, company: int = SALON, **options: Any) -> None:
    house.tomorrow_night()
    await house.cycle(company, streams or BOTH, **options)


async def missing(house: House, stream: str, company: int = SALON) -> int:
    query = "select count(*) from yclients.sweep_missing where company_id = $1 and stream = $2"
    return int(await house.database.fetchval(query, company, stream))


async def held_back(house: House, stream: str, company: int = SALON) -> bool:
    query = "select error_code = 'held_back' from yclients.sync_status where company_id = $1 and stream = $2"
    return bool(await house.database.fetchval(query, company, stream))


def recent(salon: Salon, days: int) -> str:
    """A day well within what a night reads again."""
    return f"{salon.today() - timedelta(days=days)} 12:00:00"


# --- the sweep and its generation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", BOTH)
async def test_what_an_interrupted_sweep_missed_counts_no_more_in_the_next(database_url: str, stream: str) -> None:
    """A row is hidden while half of a sweep is read; the sweep dies, the row is back, unchanged."""
    async with open_salon(database_url, clients=200, visits=300, clients_cap=50, records_cap=60) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        if stream == "clients":
            gone = next(iter(salon.clients))
            salon.delete_client(gone)
        else:
            gone = max(salon.records, key=lambda one: str(salon.records[one]["date"]))
            kept = salon.bookings.rows[gone]
            salon.purge_record(gone)
        await house.afresh(SALON, stream)
        while not await missing(house, stream):
            result = await house.batch(SALON, stream, units=1)
            assert not result.proved, "the sweep ended before it missed anything"
        assert gone in await house.live(stream, SALON), "nothing goes before every page has committed"
        if stream == "clients":
            salon._put_client(salon._gone_clients[gone])
        else:
            salon._put_record(kept)
        await house.afresh(SALON, stream)
        for _ in range(200):
            result = await house.batch(SALON, stream, units=1)
            assert gone in await house.live(stream, SALON)
            if result.proved:
                break
        assert result.proved
        assert await missing(house, stream) == 0
        await assert_equal(sim, house)


@pytest.mark.parametrize("kind", ["403", "402-licence", "404", "html-502", "empty"])
@pytest.mark.parametrize("stream", BOTH)
async def test_a_sweep_with_a_page_that_failed_deletes_nothing(database_url: str, stream: str, kind: str) -> None:
    async with open_salon(database_url, clients=200, visits=400, clients_cap=50, records_cap=60) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        client = list(salon.clients)[3]
        salon.delete_client(client)
        record = max(salon.records, key=lambda one: str(salon.records[one]["date"]))
        salon.purge_record(record)
        before = await alive(house)
        await house.afresh(SALON, stream)
        while not await missing(house, stream):
            await house.batch(SALON, stream, units=1)
        sim.fail_next(kind, 10_000, f"/{stream}/")
        sim.fail_next(kind, 10_000, "/clients/search")
        sim.fail_next(kind, 10_000, "GET /company/4001")
        for _ in range(3):
            with pytest.raises((AccessDenied, NotFound, Transient, ApiError)):
                await batches(house, stream, 50)
            assert await alive(house) == before
        sim.heal()
        await house.proved(SALON, stream)
        now = await house.live(stream, SALON)
        assert before[stream] - now == {client if stream == "clients" else record}


async def test_a_sweep_of_one_salon_touches_no_row_of_another(database_url: str) -> None:
    async with open_salon(database_url, salons=2, clients=80, visits=120) as (sim, house):
        await house.companies()
        for company in (SALON, OTHER):
            await house.cycle(company)
        # The same ids in both: only the company tells them apart.
        for table in ("clients", "records"):
            columns = await house.database.fetchval(
                "select string_agg(quote_ident(column_name), ', ') from information_schema.columns where "
                "table_schema = 'yclients' and table_name = $1 and column_name <> 'company_id' and is_generated = 'NEVER'",
                table,
            )
            await house.database.execute(
                f"insert into yclients.{table} (company_id, {columns}) "
                f"select {OTHER}, {columns} from yclients.{table} where company_id = {SALON} on conflict do nothing"
            )
        salon, other = sim.world.salons[SALON], sim.world.salons[OTHER]
        before = await alive(house, OTHER)
        client = list(salon.clients)[5]
        salon.delete_client(client)
        record = salon.add_record()
        await house.cycle(SALON, BOTH)
        salon.purge_record(record)
        other.delete_client(list(other.clients)[7])
        await night(house)
        assert client not in await house.live("clients", SALON)
        assert record not in await house.live("records", SALON)
        assert await alive(house, OTHER) == before
        assert client in before["clients"]


# --- what is gone, and what returns ---------------------------------------------------------------------------------


async def test_a_cancelled_record_is_deleted_at_once_and_undeleted_when_it_is_reinstated(database_url: str) -> None:
    async with open_salon(database_url, clients=40, visits=120) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        record = next(one for one in salon.records if not salon.records[one]["deleted"])
        salon.cancel_record(record)
        await house.cycle(SALON, ("records",))
        row = (await house.stored("records", SALON))[record]
        assert row["deleted_at"] is not None
        assert row["status"] == "cancelled"
        salon.restore_record(record)
        await house.cycle(SALON, ("records",))
        row = (await house.stored("records", SALON))[record]
        assert row["deleted_at"] is None
        assert row["status"] != "cancelled"
        await assert_equal(sim, house)


async def test_rows_that_were_purged_or_merged_and_come_back_are_undeleted(database_url: str) -> None:
    async with open_salon(database_url, clients=60, visits=200) as (sim, house):
        salon = sim.world.salons[SALON]
        purged = salon.add_record(recent(salon, 5))
        await house.companies()
        await house.cycle(SALON)
        gone, into = list(salon.clients)[10:12]
        moved = list(salon.bookings.ids_of(gone))
        salon.merge_clients(gone, into, stamp=True)
        kept = salon.bookings.rows[purged]
        salon.purge_record(purged)
        await house.cycle(SALON, BOTH)
        assert {(await house.stored("records", SALON))[one]["client_id"] for one in moved} <= {into}
        await night(house)
        assert gone not in await house.live("clients", SALON)
        assert purged not in await house.live("records", SALON)
        await assert_equal(sim, house)
        salon.return_client(gone)
        salon._put_record(kept)
        house.now = None
        await night(house)
        assert gone in await house.live("clients", SALON)
        assert purged in await house.live("records", SALON)
        await assert_equal(sim, house)


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("cap", [37, 100])
async def test_rows_that_move_between_windows_during_a_sweep_are_at_no_time_deleted(
    database_url: str, direction: str, cap: int
) -> None:
    async with open_salon(database_url, clients=30, visits=500, records_cap=cap, direction=direction) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        ids = [one for one in sorted(salon.records) if not salon.records[one]["deleted"]]
        await house.afresh(SALON, "records")
        travellers: set[int] = set()
        for turn in range(300):
            result = await house.batch(SALON, "records", units=1)
            assert travellers <= await house.live("records", SALON)
            if result.proved:
                break
            # Back and forth, across what was read and what was not.
            one = ids[turn * 7 % len(ids)]
            travellers.add(one)
            salon.move_record(one, recent(salon, 600 if turn % 2 else 2))
        assert result.proved
        await house.cycle(SALON, ("records",))
        await assert_equal(sim, house)


# --- too many ---------------------------------------------------------------------------------------------------------


async def test_a_tenth_may_go_and_one_more_is_held_back(database_url: str) -> None:
    async with open_salon(database_url, clients=100, visits=30) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        ids = list(salon.clients)
        for one in ids[:10]:
            salon.delete_client(one)
        await night(house, "clients")
        assert len(await house.live("clients", SALON)) == 90
        assert not await held_back(house, "clients")
        for one in ids[10:20]:
            salon.delete_client(one)
        await night(house, "clients")
        assert len(await house.live("clients", SALON)) == 90
        assert await held_back(house, "clients")
        # An everyday cycle proves what changed, and does not hide that the sweep still asks.
        await house.cycle(SALON, ("clients",))
        assert await held_back(house, "clients")
        await night(house, "clients", confirm=True)
        assert len(await house.live("clients", SALON)) == 80
        assert not await held_back(house, "clients")


async def test_what_a_sweep_asks_is_answered_by_no_wish_and_no_failure(database_url: str) -> None:
    async with open_salon(database_url, clients=100, visits=30) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        gone = [salon.clients[one] for one in list(salon.clients)[:30]]
        for row in gone:
            salon.delete_client(row.id if hasattr(row, "id") else row["id"])
        await night(house, "clients")
        assert await held_back(house, "clients")
        # What a plain `ycsync sync` does, and a failed batch, and the success after it.
        await house.work.want([SALON], ["clients"], {})
        assert await held_back(house, "clients")
        await house.cycle(SALON, ("clients",))
        assert await held_back(house, "clients")
        me = await house.work.register("service", "default", "0", {})
        await house.database.execute("update yclients.sync_status set due_at = now() where stream = 'clients'")
        (claim,) = await house.work.claim(me, 9, ["clients"], [SALON])
        await house.work.fail(claim, me, 0.0, "no answer", "transient")
        assert not await held_back(house, "clients"), "what fails now is said first"
        await house.cycle(SALON, ("clients",))
        assert await held_back(house, "clients")
        assert len(await house.live("clients", SALON)) == 100
        # A sweep that finds them again has its answer.
        for one in list(salon._gone_clients):
            salon._put_client(salon._gone_clients[one])
        await night(house, "clients")
        assert not await held_back(house, "clients")
        await assert_equal(sim, house)


async def test_a_user_who_suddenly_sees_a_fraction_deletes_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limited to own records, and the contacts masked: rights shape the data, and nothing says so."""
    async with open_salon(database_url, clients=100, visits=400) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        before = await alive(house)
        phones = {one: row["phone"] for one, row in (await house.stored("clients", SALON)).items()}
        own = next(iter(salon.staff))
        salon.masked = True
        matches = type(salon.bookings)._matches
        few = set(list(salon.clients)[:20])
        monkeypatch.setattr(
            type(salon.bookings), "_matches", lambda self, row, wanted: row.staff_id == own and matches(self, row, wanted)
        )
        find = type(salon.bookings).find

        def narrowed(self: Any, wanted: Any, *args: Any, **kwargs: Any) -> Any:
            return find(self, type(wanted)(**{**_fields(wanted), "staff_id": own}), *args, **kwargs)

        monkeypatch.setattr(type(salon.bookings), "find", narrowed)
        monkeypatch.setattr(salon, "client_ids", lambda: sorted(few))
        for _ in range(3):
            await night(house)
            assert await alive(house) == before
        assert await held_back(house, "clients")
        assert {one: row["phone"] for one, row in (await house.stored("clients", SALON)).items()} == phones
        monkeypatch.undo()
        salon.masked = False
        await night(house)
        assert await alive(house) == before
        assert not await held_back(house, "clients")
        assert not await held_back(house, "records")
        # What left the weeks of the night in these nights keeps its masked payload until it is read again.
        await house.afresh(SALON, "records")
        await house.cycle(SALON, ("records",))
        await assert_equal(sim, house)


def _fields(wanted: Any) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in wanted.__dataclass_fields__}


@pytest.mark.parametrize("as_404", [False, True])
async def test_an_answer_without_rows_never_empties_a_salon(
    database_url: str, monkeypatch: pytest.MonkeyPatch, as_404: bool
) -> None:
    async with open_salon(database_url, clients=50, visits=120, empty_as_404=as_404) as (sim, house):
        salon = sim.world.salons[SALON]
        await house.companies()
        await house.cycle(SALON)
        before = await alive(house)
        monkeypatch.setattr(type(salon.bookings), "find", lambda *_args, **_kwargs: ([], 0))
        monkeypatch.setattr(salon, "client_ids", lambda: [])
        for name in ("services", "service_categories", "staff"):
            monkeypatch.setattr(salon, name, {})
        for _ in range(2):
            house.tomorrow_night()
            for stream in ("services", "staff", *BOTH):
                with suppress(NotFound):  # "none" and "no such list" look alike; neither deletes
                    await house.proved(SALON, stream)
            assert await alive(house) == before
            for stream in BOTH:
                await house.afresh(SALON, stream)
        monkeypatch.undo()
        await night(house, "services", "staff", *BOTH)
        await assert_equal(sim, house)


# --- the command ------------------------------------------------------------------------------------------------------


async def _live(place: Place) -> object:
    return await place.fetchval("select count(*) from yclients.clients where deleted_at is null")


async def test_the_command_stops_says_so_and_goes_on_when_it_is_told_to(place: Place) -> None:
    assert (await place.run("sync")).code == 0
    assert await _live(place) == 60
    salon = place.simulator.world.salons[SALON]
    for one in list(salon.clients)[:20]:
        salon.delete_client(one)
    plain = await place.run("sync")  # no client is in a delta any more: the count at the end of the pass tells
    assert plain.code == 1, plain.err
    assert "--confirm-deletions" in plain.out + plain.err
    stopped = await place.run("sync", "--force")
    assert stopped.code == 1, stopped.err
    assert "--confirm-deletions" in stopped.out + stopped.err
    assert await _live(place) == 60
    status = await place.run("status", "--json")
    assert "--confirm-deletions" in json.dumps(json.loads(status.out), ensure_ascii=False)
    assert await place.fetchval("select error_code from yclients.sync_status where stream = 'clients'") == "held_back"
    # Asking again without a word changes nothing.
    assert (await place.run("sync", "--force")).code == 1
    assert await _live(place) == 60
    confirmed = await place.run("sync", "--confirm-deletions")
    assert confirmed.code == 0, confirmed.out + confirmed.err
    assert await _live(place) == 40
    assert await place.fetchval("select error_code from yclients.sync_status where stream = 'clients'") is None
    assert (await place.run("sync")).code == 0
