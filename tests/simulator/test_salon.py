"""Does a simulated salon look like one, change as one, and wear the odd types of yclients-api §5?"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ycsync.simulator import Options, Salon, Simulator

from .conftest import HEADER, Clock, Serve

C = 4001
NOW = "2025-10-09T11:53:20+0300"


def make(**options: Any) -> tuple[Salon, Clock]:
    clock = Clock()
    return Simulator(Options(**options), clock=clock).world.salons[C], clock


def test_a_seed_and_a_day_give_one_salon() -> None:
    one, _ = make(seed=7, visits=400)
    two, clock = make(seed=7, visits=400)
    clock.now += 3600
    other, _ = make(seed=8, visits=400)
    assert dict(one.records) == dict(two.records)
    assert dict(one.clients) == dict(two.clients)
    assert dict(one.records) != dict(other.records)


def test_the_time_of_day_does_not_matter() -> None:
    def at(now: float) -> Salon:
        return Simulator(Options(visits=200), clock=lambda: now).world.salons[C]

    assert dict(at(1_760_000_000).records) == dict(at(1_760_030_000).records)


def test_a_salon_looks_like_one() -> None:
    salon, _ = make(clients=500, visits=6000)
    records = list(salon.records.values())
    assert len(records) == 6000
    assert len(salon.clients) == 500
    today = "2025-10-09"
    dates = [row["date"] for row in records]
    assert min(dates) >= "2023-10-09"
    assert today in {text[:10] for text in dates}
    assert any(text[:10] > today for text in dates)
    assert max(dates)[:10] <= "2025-11-09"
    weekdays = Counter(datetime.fromisoformat(text).weekday() for text in dates)
    assert weekdays[6] * 2 < min(weekdays[day] for day in range(6))
    assert sum(text < "2024-10-09" for text in dates) < sum("2024-10-09" <= text < today for text in dates)
    visits = sorted((card["visits"] for card in salon.clients.values()), reverse=True)
    assert sum(visits[:50]) > sum(visits) / 4
    assert 0.02 < sum(row["client"] is None for row in records) / 6000 < 0.07
    assert 0.03 < sum(row["deleted"] for row in records) / 6000 < 0.07
    assert {row["attendance"] for row in records} == {-1, 0, 1, 2}
    assert all(row["attendance"] in (0, 2) for row in records if row["date"][:10] > today)
    assert any(row["activity_id"] > 0 for row in records)
    assert any(len(row["services"]) > 1 for row in records)
    assert any(row["goods_transactions"] for row in records)
    assert len({row["visit_id"] for row in records}) < 6000
    ids = list(salon.records)
    assert ids[0] < 2**31 <= ids[-1]
    listed = set(salon.services)
    assert {line["id"] for row in records for line in row["services"]} - listed


def test_stamps_are_in_order_and_in_the_past() -> None:
    salon, _ = make(visits=3000)
    for row in salon.records.values():
        date = datetime.fromisoformat(row["datetime"])
        created = datetime.fromisoformat(row["create_date"])
        changed = datetime.fromisoformat(row["last_change_date"])
        assert created < date
        assert created <= changed
        assert row["last_change_date"] < NOW
    changed_days = {row["last_change_date"][:10] for row in salon.records.values()}
    assert len(changed_days) > 300


def test_phones_and_birthdays_are_as_odd_as_people_type_them() -> None:
    salon, _ = make(clients=3000, visits=10)
    phones = [card["phone"] for card in salon.clients.values()]
    assert "" in phones
    assert any("*" in phone for phone in phones)
    assert any(phone.startswith("8999") for phone in phones)
    assert any(count > 1 for phone, count in Counter(phones).items() if phone)
    assert any(phone.startswith(("+8491", "+960", "0084")) for phone in phones)
    assert any("доб." in phone for phone in phones)
    birthdays = [card["birth_date"] for card in salon.clients.values()]
    assert {"", "1970-01-01", 0} <= set(birthdays)
    forms = (r"1900-\d\d-\d\d", r"-?\d{8,}", r"\d\d\.\d\d\.\d{4}", r"\d{4}-\d\d", r"0000-\d\d-\d\d")
    for form in forms:
        assert any(re.fullmatch(form, str(one)) for one in birthdays), form


def test_sex_1_is_male_and_2_female() -> None:
    salon, _ = make(clients=200, visits=10)
    assert {(card["sex_id"], card["sex"]) for card in salon.clients.values()} == {
        (0, "Неизвестно"),
        (1, "Мужской"),
        (2, "Женский"),
    }


def test_a_client_knows_its_visits() -> None:
    salon, _ = make(clients=30, visits=500)
    came = Counter(
        row["client"]["id"] for row in salon.records.values() if row["client"] and row["attendance"] == 1 and not row["deleted"]
    )
    assert {i: card["visits"] for i, card in salon.clients.items()} == {i: came[i] for i in salon.clients}


def test_salons_differ_in_zone_and_ids() -> None:
    world = Simulator(Options(salons=3, visits=50), clock=Clock()).world
    assert list(world.salons) == [4001, 4002, 4003]
    zones = [salon.company["timezone_name"] for salon in world.salons.values()]
    assert zones == ["Europe/Moscow", "Asia/Vladivostok", "Asia/Yekaterinburg"]
    assert not set(world.salons[4001].clients) & set(world.salons[4002].clients)
    assert next(iter(world.salons[4002].records.values()))["datetime"].endswith("+10:00")


def test_mutators_change_and_stamp() -> None:
    salon, clock = make(clients=20, visits=100)
    client_id = next(iter(salon.clients))
    record_id = salon.add_record("2025-10-20 10:00:00", client_id=client_id)
    assert salon.records[record_id]["last_change_date"] == NOW
    clock.now += 60
    changes: list[tuple[Callable[[], None], dict[str, Any]]] = [
        (lambda: salon.move_record(record_id, "2025-10-21 11:00:00"), {"date": "2025-10-21 11:00:00"}),
        (
            lambda: salon.move_record(record_id, datetime(2025, 10, 22, 9, 30)),
            {"date": "2025-10-22 09:30:00"},
        ),
        (lambda: salon.cancel_record(record_id), {"deleted": True}),
        (lambda: salon.restore_record(record_id), {"deleted": False}),
        (lambda: salon.pay_record(record_id), {"paid_full": 1, "attendance": 1}),
        (lambda: salon.change_record(record_id, comment="x\0y"), {"comment": "x\0y"}),
        (lambda: salon.change_record(record_id, client_id=None), {"client": None}),
    ]
    for change, expected in changes:
        clock.now += 60
        change()
        row = salon.records[record_id]
        assert {key: row[key] for key in expected} == expected
        stamp = datetime.fromtimestamp(clock.now, datetime.fromisoformat(NOW).tzinfo)
        assert row["last_change_date"] == stamp.strftime("%Y-%m-%dT%H:%M:%S%z")
    assert row["finance_transactions"]
    salon.purge_record(record_id)
    assert record_id not in salon.records


def test_a_payment_may_leave_the_stamp() -> None:
    salon, clock = make(visits=10)
    record_id = salon.add_record()
    clock.now += 60
    salon.pay_record(record_id, stamp=False)
    assert salon.records[record_id]["last_change_date"] == NOW
    assert salon.records[record_id]["paid_full"] == 1


async def test_a_deleted_client_vanishes_and_its_records_stay(serve: Serve) -> None:
    api = await serve(clients=20, visits=100)
    salon = api.sim.world.salons[C]
    client_id = salon.add_client(name="Инга")
    record_id = salon.add_record("2025-10-01", client_id=client_id)
    salon.delete_client(client_id)
    assert (await api.call("GET", f"/client/{C}/{client_id}"))[0] == 404
    assert (await api.get(f"/clients/{C}"))["meta"]["total_count"] == 20
    record = (await api.get(f"/record/{C}/{record_id}"))["data"]
    assert int(record["client"]["id"]) == client_id
    assert record["client"]["name"] == "Инга"
    salon.return_client(client_id)
    assert (await api.get(f"/clients/{C}"))["meta"]["total_count"] == 21


@pytest.mark.parametrize("stamp", [False, True])
async def test_cards_that_are_merged_are_one_and_have_all_visits(serve: Serve, stamp: bool) -> None:
    """As a rule nothing dates the visits: no `changed_after` shows that they moved."""
    api = await serve(clients=20, visits=100)
    salon = api.sim.world.salons[C]
    gone, into = salon.add_client(name="Инга"), next(iter(salon.clients))
    record_id = salon.add_record("2025-10-01", client_id=gone)
    before = salon.records[record_id]["last_change_date"]
    salon._clock = lambda: 1_900_000_000.0
    salon.merge_clients(gone, into, stamp=stamp)
    assert (await api.call("GET", f"/client/{C}/{gone}"))[0] == 404
    record = (await api.get(f"/record/{C}/{record_id}"))["data"]
    assert int(record["client"]["id"]) == into
    assert (record["last_change_date"] != before) is stamp
    assert salon.clients[into]["last_change_date"] != before
    assert (await api.get(f"/records/{C}", client_id=gone))["meta"]["total_count"] == 0


async def test_an_answer_shows_a_change_at_once(serve: Serve) -> None:
    api = await serve(clients=20, visits=100)
    salon = api.sim.world.salons[C]
    client_id = next(iter(salon.clients))
    record_id = salon.add_record("2025-10-01", client_id=client_id)
    await api.everything(f"/records/{C}", count=100)
    await api.everything(f"/clients/{C}", count=100)
    salon.change_client(client_id, name="Новое")
    salon.change_record(record_id, comment="новый")
    rows = await api.everything(f"/records/{C}", count=100)
    mine = next(row for row in rows if int(row["id"]) == record_id)
    assert (mine["client"]["name"], mine["comment"]) == ("Новое", "новый")
    assert (await api.rows(f"/clients/{C}"))[0]["name"] == "Новое"


async def test_lists_change(serve: Serve) -> None:
    api = await serve(visits=10)
    salon = api.sim.world.salons[C]
    gone = next(iter(salon.services))
    salon.remove_service(gone)
    service_id, staff_id = salon.add_service("Новинка"), salon.add_staff("Инна")
    services = {int(row["id"]) for row in await api.rows(f"/company/{C}/services")}
    assert service_id in services
    assert gone not in services
    assert staff_id in {int(row["id"]) for row in await api.rows(f"/company/{C}/staff")}


async def test_payloads_can_be_put_in_as_they_are(serve: Serve) -> None:
    api = await serve(visits=10, clients=2)
    salon = api.sim.world.salons[C]
    record = {
        "id": 2,
        "client": None,
        "date": "2019-01-16 16:00:00",
        "visit_id": "82",
        "staff_id": 9,
        "deleted": 0,
    }
    salon.put_record(record)
    salon.put_client({"id": 66, "name": "Клиент", "phone": 79990000066})
    assert await api.rows(f"/records/{C}", start_date="2019-01-16", end_date="2019-01-16") == [
        {**record, "finance_transactions": [], "consumables": []}
    ]
    assert (await api.rows(f"/clients/{C}"))[0] == {"id": 66, "name": "Клиент", "phone": 79990000066}


def test_churn_makes_every_kind_of_change_and_is_seeded() -> None:
    def run(seed: int) -> tuple[Counter[str], dict[int, Any]]:
        salon, _ = make(clients=50, visits=100)
        rng = random.Random(seed)
        return Counter(salon.churn_once(rng) for _ in range(300)), dict(salon.records)

    names, records = run(1)
    assert set(names) == {
        *("new", "back-dated", "moved", "cancelled", "restored", "paid"),
        *("new-client", "changed-client", "deleted-client"),
    }
    assert records == run(1)[1]
    assert records != run(2)[1]


async def test_the_salon_churns_after_every_answer(serve: Serve) -> None:
    api = await serve(salons=2, visits=100, churn=3)
    before = [dict(api.sim.world.salons[c].records) for c in (4001, 4002)]
    for _ in range(10):
        await api.get("/records/4002")
    after = [dict(api.sim.world.salons[c].records) for c in (4001, 4002)]
    assert before[0] == after[0]
    assert before[1] != after[1]


async def test_types_are_odd_and_values_are_the_same(serve: Serve) -> None:
    api = await serve(clients=200, visits=900)
    salon = api.sim.world.salons[C]
    records = await api.everything(f"/records/{C}", count=1000, include_finance_transactions=1)
    clients = await api.everything(f"/clients/{C}", count=300)

    def types(rows: list[dict[str, Any]], key: str) -> set[type]:
        return {type(row[key]) for row in rows}

    assert types(records, "id") == {int, str}
    assert types(records, "visit_id") == {int, str}
    assert types(records, "deleted") == {int, bool}
    assert types(records, "client") == {dict, list, type(None)}
    assert types(records, "custom_fields") == {dict, list}
    lines = [line for row in records for line in row["services"]]
    assert types(lines, "cost") == {int, float, str}
    assert {len(row["datetime"]) for row in records} == {24, 25, 29}
    assert types(clients, "phone") == {int, str}
    assert types(clients, "spent") == {int, float, str}
    services = await api.rows(f"/company/{C}/services")
    assert types(services, "id") == {int, str}
    assert types(await api.rows(f"/company/{C}/staff"), "position") == {dict, list}
    for row in records:
        held = salon.records[int(row["id"])]
        assert int(row["visit_id"]) == held["visit_id"]
        assert datetime.fromisoformat(row["datetime"]) == datetime.fromisoformat(held["datetime"])
        for sent, kept in zip(row["services"], held["services"], strict=True):
            assert float(sent["cost"]) == kept["cost"]
    again = await api.everything(f"/clients/{C}", count=300)
    assert again == clients


async def test_odd_types_can_be_switched_off(serve: Serve) -> None:
    api = await serve(clients=50, visits=200, odd=False)
    salon = api.sim.world.salons[C]
    finance = {"include_finance_transactions": 1}
    for row in await api.everything(f"/records/{C}", count=1000, **finance):
        assert row == salon.records[row["id"]]
    for row in await api.everything(f"/clients/{C}", count=300):
        assert row == salon.clients[row["id"]]


async def test_what_was_served_can_be_asked_for(serve: Serve) -> None:
    api = await serve(visits=200)
    salon = api.sim.world.salons[C]
    for row in await api.everything(f"/records/{C}", count=1000):
        assert row == json.loads(json.dumps(salon.served_record(int(row["id"]), finance=False)))


async def test_without_the_contacts_right_phones_are_masked(serve: Serve) -> None:
    api = await serve(clients=20, visits=100)
    salon = api.sim.world.salons[C]
    await api.rows(f"/clients/{C}")
    salon.masked = True
    for row in await api.rows(f"/clients/{C}"):
        assert row["phone"] in ("", "12345") or "*" in str(row["phone"])
        assert row["email"] in ("", "*****")
    for row in await api.rows(f"/records/{C}"):
        assert not row["client"] or row["client"]["phone"] in ("", "12345") or "*" in row["client"]["phone"]


@pytest.mark.parametrize(("accept", "encoding"), [("gzip, deflate", "gzip"), ("identity", None)])
async def test_big_answers_are_gzipped_for_those_who_accept_it(serve: Serve, accept: str, encoding: str | None) -> None:
    api = await serve(visits=500)
    header = {**HEADER, "Accept-Encoding": accept}
    url = f"{api.sim.url}/records/{C}?count=1000"
    async with api.session.get(url, headers=header) as answer:
        assert answer.headers.get("Content-Encoding") == encoding
        sent = int(answer.headers["Content-Length"])
        body = await answer.read()
    assert len(json.loads(body)["data"]) > 400
    assert sent < len(body) / 5 if encoding else sent == len(body)
    assert len(gzip.compress(body, 1)) < len(body)


def test_the_simulator_imports_nothing_of_ycsync() -> None:
    import ycsync.simulator

    for module in Path(ycsync.simulator.__file__).parent.glob("*.py"):
        text = module.read_text()
        assert "from .." not in text
        assert "import ycsync" not in text
        assert "from ycsync" not in text


def test_each_record_of_a_visit_repeats_its_goods_and_changes_with_them() -> None:
    salon, clock = make(clients=30, visits=3000)
    sold = [one for one in salon.records.values() if one["goods_transactions"]]
    shared = [one for one in sold if len(salon.visit(one["id"])) > 1]
    assert len(shared) > 10
    for one in shared:
        assert all(salon.records[other]["goods_transactions"] == one["goods_transactions"] for other in salon.visit(one["id"]))
    first, second = salon.visit(shared[0]["id"])[:2]
    clock.now += 60
    salon.move_record(first, "2025-03-03 10:00:00")
    assert json.loads(salon.encoded_record(second, finance=True, consumables=True)) == salon.served_record(second)
    assert salon.records[second]["last_change_date"] == salon.records[first]["last_change_date"]
    third = salon.add_record("2025-03-03 12:00:00", visit_id=shared[0]["visit_id"])
    assert salon.records[third]["goods_transactions"] == salon.records[first]["goods_transactions"]
    salon.cancel_record(first)
    assert salon.records[second]["goods_transactions"] == salon.records[third]["goods_transactions"] != []
    own, _ = make(clients=30, visits=3000, goods="record")
    assert sum(len(one["goods_transactions"]) for one in own.records.values()) == sum(
        one.good > 0 for one in own.bookings.rows.values()
    )


def test_a_record_that_is_purged_takes_its_sale_out_of_the_visit() -> None:
    salon, _ = make(clients=30, visits=3000)
    (row, other) = next(
        (row, other)
        for row in salon.bookings.rows.values()
        if row.good
        for other in salon.visit(row.id)
        if other != row.id and not salon.bookings.rows[other].good
    )
    assert salon.served_record(other)["goods_transactions"]
    salon.purge_record(row.id)
    assert json.loads(salon.encoded_record(other, finance=True, consumables=True))["goods_transactions"] == []


def test_a_membership_pays_what_then_costs_no_money() -> None:
    salon, _ = make(clients=30, visits=3000)
    paid = [one for one in salon.records.values() if one["paid_full"] and one["services"]]
    free = [one for one in paid if all(line["cost"] == line["cost_to_pay"] == 0 for line in one["services"])]
    worth = [one for one in free if any(line["first_cost"] for line in one["services"])]
    assert 0.02 < len(worth) / len(paid) < 0.07
    for one in worth:
        for line in one["services"]:
            assert line["first_cost"] == line["manual_cost"] == line["cost_per_unit"] * line["amount"]
        goods = salon.bookings.rows[one["id"]].good
        assert bool(one["finance_transactions"]) == bool(goods)
    none, _ = make(clients=30, visits=3000, memberships=0.0)
    assert not any(one.membership for one in none.bookings.rows.values())


def test_a_bill_may_stand_at_one_record_of_a_visit() -> None:
    salon, _ = make(clients=30, visits=3000, bill="visit")
    alone, _ = make(clients=30, visits=3000)
    several = 0
    for visit in {tuple(salon.visit(one)) for one in salon.records}:
        together = [salon.records[one] for one in visit]
        listed = [one for one in together if one["finance_transactions"]]
        assert len(listed) <= 1
        assert len({one["paid_full"] for one in together}) == 1
        several += len(visit) > 1 and bool(listed)
        of_each = [line for one in visit if not alone.bookings.rows[one].deleted or len(visit) == 1
                   for line in alone.records[one]["finance_transactions"]]  # fmt: skip
        assert [line for one in listed for line in one["finance_transactions"]] == of_each
    assert several > 10


def test_who_is_fired_leaves_the_list_and_is_named_by_records() -> None:
    salon, _ = make(clients=30, visits=600)
    fired = {key for key, one in salon.known_staff.items() if one["fired"]}
    assert fired
    assert not fired & set(salon.staff)
    assert fired <= {one["staff_id"] for one in salon.records.values()}
    one = next(iter(salon.staff))
    salon.fire_staff(one)
    assert one not in salon.staff
    salon.rehire_staff(one)
    assert salon.staff[one]["fired"] == 0
    both, _ = make(clients=30, visits=600, fired_listed=True)
    both.fire_staff(one)
    assert both.staff[one]["fired"] == 1
    assert fired <= set(both.staff)
