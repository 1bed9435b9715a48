"""Does what a webhook tells come into the database, with few requests, and is nothing deleted or lost by it?"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from support.hooked import SECRET, open_hooked
from support.house import differences, expected_rows
from support.patience import own_clock
from ycsync.service.standing import judge
from ycsync.store.report import Report


async def test_a_change_is_in_the_database_a_moment_after_its_webhook(database_url: str) -> None:
    async with open_hooked(database_url, hook_double=0.5) as hooked:
        sim, salon, house = hooked.sim, hooked.salon, hooked.house
        client, moved, cancelled, purged = next(iter(salon.clients)), *list(salon.records)[:3]
        gone = list(salon.clients)[1]
        salon.change_client(client, comment="new words")
        salon.add_client(name="Новая")
        salon.delete_client(gone)
        salon.move_record(moved, "2026-05-05 10:00:00")
        salon.cancel_record(cancelled)
        salon.purge_record(purged)
        salon.add_record(client_id=client)
        salon.remove_service(next(iter(salon.services)))
        begun = own_clock()
        await hooked.until("select count(*) from yclients.hooks_heard", 1)
        await house.database.execute("update yclients.sync_status set last_success_at = last_success_at - interval '1 minute'")
        await hooked.until(f"select comment from yclients.clients where id = {client}", "new words")
        assert own_clock() - begun < 5
        await hooked.until(f"select deleted_at is not null from yclients.clients where id = {gone}", True)
        await hooked.until(f"select deleted_at is not null from yclients.records where id = {purged}", True)
        await hooked.settled()
        expected = expected_rows(sim, salon)
        problems = [one for one in await differences(house, expected, 4001) if str(purged) not in one]
        assert problems == []
        # A list a burst, not a request a change; and what is gone was asked for alone, beside one that is there.
        assert hooked.asked("clients") <= 4
        assert hooked.asked("records") <= 5
        assert hooked.asked("client") <= 2
        assert hooked.asked("record") <= 2
        assert await house.database.fetchval("select count(*) from yclients.sync_batches where stream = 'hooks'") >= 1


async def test_a_burst_is_answered_whole_and_costs_few_requests(database_url: str) -> None:
    async with open_hooked(database_url, clients=300, visits=10) as hooked:
        clients = list(hooked.salon.clients)
        hooked.salon.hooks["urls"] = []
        for number, client in enumerate(clients):
            hooked.salon.change_client(client, comment=f"words {number}")
        times: list[float] = []

        async def tell(number: int) -> int:
            begun = time.monotonic()
            body = {"company_id": "4001", "resource": "client", "resource_id": clients[number % 300], "status": "update"}
            status = await hooked.post(body)
            times.append(time.monotonic() - begun)
            return status

        statuses = await asyncio.gather(*(tell(number) for number in range(1000)))
        assert set(statuses) == {200}
        await hooked.settled()
        wrong = "select count(*) from yclients.clients where comment not like 'words %'"
        assert await hooked.house.database.fetchval(wrong) == 0
        assert hooked.sim.report().requests <= 12, "a hundred with one request"
        assert hooked.overview.metrics.text().decode().count('ycsync_hooks_total{result="queued"} 1000.0') == 1


async def test_what_only_a_broken_endpoint_calls_missing_is_not_deleted(database_url: str) -> None:
    async with open_hooked(database_url) as hooked:
        sim, house = hooked.sim, hooked.house
        client, record = next(iter(hooked.salon.clients)), next(iter(hooked.salon.records))
        before = await house.live("clients", 4001), await house.live("records", 4001)
        sim.fail_next("404", 100, "GET /clients/")
        sim.fail_next("404", 100, "GET /client/")
        sim.fail_next("404", 100, "GET /record/")
        for resource, one in (("client", client), ("record", record)):
            body = {"company_id": 4001, "resource": resource, "resource_id": one, "status": "delete", "data": {"id": one}}
            assert await hooked.post([body]) == 200
        await hooked.settled()
        assert hooked.asked("client") + hooked.asked("record") >= 4, "each, and one that is there beside it"
        assert (await house.live("clients", 4001), await house.live("records", 4001)) == before


async def test_a_salon_that_took_the_application_out_is_not_asked_any_more(database_url: str) -> None:
    async with open_hooked(database_url, salons=2) as hooked:
        client = next(iter(hooked.salon.clients))
        body = {"salon_id": 4001, "application_id": 7, "event": "uninstall", "partner_token": "never-kept"}
        assert await hooked.post(body) == 200
        assert await hooked.post({"salon_id": 4002, "application_id": 7, "event": "freeze", "partner_token": "x"}) == 200
        assert await hooked.house.work.reasons() == {4001: "uninstalled", 4002: "frozen"}
        assert await hooked.post({"company_id": 4001, "resource": "client", "resource_id": client, "status": "update"}) == 200
        await hooked.house.work.resume([0])
        await asyncio.sleep(1.5)
        assert hooked.sim.report().requests == 0
        hooked.salon.change_client(client, comment="new words")
        await hooked.house.work.resume([4001])
        await hooked.until(f"select comment from yclients.clients where id = {client}", "new words")
        assert set(await hooked.house.work.reasons()) == {4002}


async def test_only_who_knows_the_address_is_heard(database_url: str) -> None:
    async with open_hooked(database_url, visits=0, clients=2) as hooked:
        base, hint = hooked.url.rpartition("/")[0], {"company_id": 4001, "resource": "client", "resource_id": 1}
        bodies = []
        for url in (f"{base}/wrong", f"{base}/{SECRET}x", f"{base}/{SECRET[:-1]}", f"{base}/", f"{base}/%ff%00"):
            async with hooked.session.post(url, json=hint) as answer:
                assert answer.status == 404
                bodies.append(await answer.text())
        async with hooked.session.get(hooked.url) as answer:
            assert (answer.status, await answer.text()) == (404, bodies[0])
        hooked.ears.secret = None
        async with hooked.session.post(hooked.url, json=hint) as answer:
            assert (answer.status, await answer.text()) == (404, bodies[0])
        hooked.ears.secret = SECRET
        assert len(set(bodies)) == 1
        assert await hooked.post(raw=b"{") == await hooked.post(raw=b"7") == await hooked.post(raw=b"") == 400
        assert await hooked.post(raw=b"[" + b" " * 70_000 + b"]") == 413
        assert Counter(hooked.ears.refused) == {"strange": 5, "refused": 4}
        # By whatever name, from wherever: the address is the secret. What nobody knows is heard and ignored.
        other = {"Host": "sync.example.org", "Origin": "https://yclients.com"}
        assert await hooked.post({"company_id": 9, "resource": "client", "resource_id": 5}, headers=other) == 200
        assert await hooked.post({"company_id": 4001, "resource": "moon", "resource_id": 5}, headers=other) == 200
        assert await hooked.house.database.fetchval("select count(*) from yclients.hooks") == 0
        assert 'result="ignored"} 2.0' in hooked.overview.metrics.text().decode()


async def test_what_could_not_be_kept_is_said_and_found_all_the_same(database_url: str) -> None:
    async with open_hooked(database_url) as hooked:
        client = next(iter(hooked.salon.clients))
        hooked.salon.hooks["urls"] = []
        hooked.salon.change_client(client, comment="new words")
        execute = hooked.house.database.execute
        await execute("alter table yclients.hooks rename to away")
        body = {"company_id": 4001, "resource": "client", "resource_id": client, "status": "update"}
        assert await hooked.post(body) == 503
        assert 'result="lost"} 1.0' in hooked.overview.metrics.text().decode()
        await execute("alter table yclients.away rename to hooks")
        await hooked.until(f"select comment from yclients.clients where id = {client}", "new words")


async def test_changes_are_looked_for_less_often_while_webhooks_come_and_as_always_when_one_was_missed(
    database_url: str,
) -> None:
    async with open_hooked(database_url) as hooked:
        salon, database = hooked.salon, hooked.house.database
        due = "select round(extract(epoch from due_at - now()) / 60)::int from yclients.sync_status where stream = 'clients' "
        due += "and company_id = 4001"

        async def delta() -> None:
            await database.execute(
                "update yclients.sync_status set due_at = now(), last_success_at = null where stream = 'clients'"
            )
            hooked.scheduler.wake()
            await hooked.until(
                "select count(*) from yclients.sync_status where last_success_at is null and stream = 'clients'", 0
            )
            await hooked.settled()

        await delta()
        assert await database.fetchval(due) == 5, "nothing was heard of this salon yet"
        one, two, *_ = salon.clients
        salon.change_client(one, comment="told")
        await hooked.until(f"select comment from yclients.clients where id = {one}", "told")
        await delta()
        assert await database.fetchval(due) == 30
        standing = await Report(database).standing("default")
        late = replace(standing, now=standing.now + timedelta(minutes=40))
        assert {each.state for each in judge(late, hooked.house.settings) if each.row.stream == "clients"} == {"fresh"}
        assert "hooks" not in {each.row.stream for each in judge(late, hooked.house.settings)}
        # One that nobody told of, two minutes ago.
        salon.hooks["urls"] = []
        salon.change_client(two, comment="not told")
        row = salon._clients[two]
        row.changed -= 120
        salon._changed_clients.note(row.changed, two)
        salon._forget_client(two)
        await delta()
        assert await database.fetchval(f"select comment from yclients.clients where id = {two}") == "not told"
        assert await database.fetchval(due) == 5


async def test_a_visit_that_its_endpoint_calls_deleted_is_deleted(database_url: str) -> None:
    """GET /record answers 200 with `deleted: true`, with or without the rest of the visit."""
    async with open_hooked(database_url) as hooked:
        salon = hooked.salon
        whole, thin = list(salon.records)[:2]
        for one in (whole, thin):
            salon.purge_record(one)
        salon.bookings.gone[thin].extra = {"date": None, "datetime": ""}
        for one in (whole, thin):
            await hooked.until(f"select deleted_at is not null from yclients.records where id = {one}", True)
        await hooked.settled()
        assert hooked.asked("record") == 2, "what says that it is deleted needs no other visit beside it"
        assert await hooked.house.quarantined() == []


async def test_a_visit_that_is_deleted_may_be_answered_404_too(database_url: str) -> None:
    async with open_hooked(database_url, deleted_as_404=True) as hooked:
        gone = next(iter(hooked.salon.records))
        hooked.salon.purge_record(gone)
        await hooked.until(f"select deleted_at is not null from yclients.records where id = {gone}", True)
        await hooked.settled()
        assert hooked.asked("record") == 2, "it, and one that is there"


async def test_a_schedule_hook_makes_the_schedules_due(database_url: str) -> None:
    extra = "hooks: {url: 'https://sync.example.org'}\nstreams: {schedules: 1h}"
    async with open_hooked(database_url, extra, filled=False) as hooked:
        salon, work = hooked.salon, hooked.house.work
        await work.ensure([4001], ["schedules"])
        hooked.scheduler.wake()
        phase = "select phase from yclients.sync_status where company_id = 4001 and stream = 'schedules'"
        await hooked.until(phase, "live")
        await hooked.settled()
        await hooked.house.database.execute(
            "update yclients.sync_status set due_at = now() + interval '1 hour', last_success_at = now() - interval '1 minute' "
            "where stream = 'schedules'"
        )
        staff, day = next(iter(salon.staff)), str(salon.today())
        salon.ledger.put_day(staff, day, [("07:00", "08:15")])
        assert salon.tell is not None
        salon.tell(4001, salon.hooks, "schedule", staff, "update", {})
        hours = f"select slots->0->>'to' from yclients.schedules where staff_id = {staff} and date = '{day}'"
        await hooked.until(hours, "08:15")


async def test_the_users_own_edits_are_told_with_self_sending(database_url: str) -> None:
    async with open_hooked(database_url) as hooked:
        client = next(iter(hooked.salon.clients))
        hooked.sim.delivery.own_edits = True
        hooked.salon.hooks["self_sending"] = 1
        hooked.salon.change_client(client, comment="by the owner")
        await hooked.until(f"select comment from yclients.clients where id = {client}", "by the owner")
        await hooked.settled()
        hooked.salon.hooks["self_sending"] = 0
        before = dict(hooked.sim.delivery.answers)
        hooked.salon.change_client(client, comment="not told")
        hooked.sim.delivery.own_edits = False
        hooked.salon.change_client(client, card="7")
        await hooked.until(f"select card from yclients.clients where id = {client}", "7")
        await hooked.settled()
        assert hooked.sim.delivery.answers["200"] == before["200"] + 1
