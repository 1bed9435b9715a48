"""Do the bulk endpoints page, filter and order as yclients-api §3 says?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from .conftest import Serve

C = 4001


async def test_pages_are_capped_and_the_default_size_is_the_documented_one(serve: Serve) -> None:
    api = await serve(clients=350, visits=1300, deleted=0.0)
    assert len(await api.rows(f"/clients/{C}")) == 20
    assert len(await api.rows(f"/clients/{C}", count=5000)) == 300
    assert len(await api.rows(f"/records/{C}", count=5000)) == 1000
    body = {"fields": ["id"], "page_size": 1000}
    status, found = await api.call("POST", f"/company/{C}/clients/search", json=body)
    assert (status, len(found["data"]), found["meta"]) == (200, 200, {"total_count": 350})
    del body["page_size"]
    assert len((await api.call("POST", f"/company/{C}/clients/search", json=body))[1]["data"]) == 25


async def test_a_smaller_cap_of_records_is_what_a_page_really_holds(serve: Serve) -> None:
    api = await serve(visits=700, records_cap=300, deleted=0.0)
    assert [len(await api.rows(f"/records/{C}", count=1000, page=p)) for p in (1, 2, 3, 4)] == [
        300,
        300,
        100,
        0,
    ]


async def test_meta_has_the_form_of_its_endpoint(serve: Serve) -> None:
    api = await serve(clients=30, visits=100, deleted=0.0)
    metas = {
        f"/clients/{C}": {"page": 1, "total_count": 30},
        f"/records/{C}": {"page": 1, "total_count": 100},
        f"/company/{C}/services": {"total_count": 20},
        f"/company/{C}/service_categories": {"total_count": 5},
        f"/company/{C}/staff": {"total_count": 2},
        f"/company/{C}": [],
        "/companies?my=1": [],
        f"/hooks_settings/{C}": [],
    }
    for path, meta in metas.items():
        answer = await api.get(path)
        assert answer["success"] is True
        assert answer["meta"] == meta, path


async def test_all_pages_together_are_the_salon(serve: Serve) -> None:
    api = await serve(clients=90, visits=500)
    salon = api.sim.world.salons[C]
    clients = await api.everything(f"/clients/{C}", count=40)
    assert [int(row["id"]) for row in clients] == sorted(salon.clients)
    live = {i for i, row in salon.records.items() if not row["deleted"]}
    records = await api.everything(f"/records/{C}", count=1000)
    assert {int(row["id"]) for row in records} == live
    with_deleted = await api.everything(f"/records/{C}", count=1000, with_deleted=1)
    assert {int(row["id"]) for row in with_deleted} == set(salon.records)
    assert 0 < len(live) < len(salon.records)


@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_records_are_ordered_by_session_date_and_ties_are_random(serve: Serve, direction: str) -> None:
    api = await serve(visits=800, direction=direction)
    noon = [api.sim.world.salons[C].add_record("2025-10-01 12:15:00") for _ in range(9)]
    orders = set()
    for _ in range(3):
        rows = await api.rows(f"/records/{C}", count=1000)
        dates = [row["date"] for row in rows]
        assert dates == sorted(dates, reverse=direction == "desc")
        orders.add(tuple(int(row["id"]) for row in rows if int(row["id"]) in noon))
    assert len(orders) > 1


async def test_ties_by_id_stay_as_they_are(serve: Serve) -> None:
    api = await serve(visits=50, tie_order="id")
    salon = api.sim.world.salons[C]
    noon = [salon.add_record("2025-10-01 12:15:00") for _ in range(9)]
    rows = await api.rows(f"/records/{C}", start_date="2025-10-01", end_date="2025-10-01")
    assert [int(row["id"]) for row in rows if int(row["id"]) in noon] == noon


async def test_end_date_is_a_whole_day(serve: Serve) -> None:
    api = await serve(visits=10)
    salon = api.sim.world.salons[C]
    late = salon.add_record("2020-03-05 23:59:59")
    salon.add_record("2020-03-06 00:00:00")
    rows = await api.rows(f"/records/{C}", start_date="2020-03-01", end_date="2020-03-05")
    assert [int(row["id"]) for row in rows] == [late]


async def test_records_are_filtered_by_client_staff_and_creation(serve: Serve) -> None:
    api = await serve(visits=600, clients=20)
    salon = api.sim.world.salons[C]
    client_id, staff_id = next(iter(salon.clients)), next(iter(salon.staff))

    def wanted(test: Any) -> set[int]:
        return {i for i, row in salon.records.items() if not row["deleted"] and test(row)}

    async def got(**params: Any) -> set[int]:
        return {int(row["id"]) for row in await api.rows(f"/records/{C}", count=1000, **params)}

    mine = wanted(lambda row: row["client"] is not None and row["client"]["id"] == client_id)
    assert await got(client_id=client_id) == mine != set()
    assert await got(staff_id=staff_id) == wanted(lambda row: row["staff_id"] == staff_id) != set()
    both = wanted(lambda row: row["staff_id"] == staff_id and "2025-05-01" <= row["date"] < "2025-07-01")
    assert await got(staff_id=staff_id, start_date="2025-05-01", end_date="2025-06-30") == both != set()
    made = wanted(lambda row: "2025-05-01" <= row["create_date"] < "2025-07-01")
    assert await got(c_start_date="2025-05-01", c_end_date="2025-06-30") == made != set()


@pytest.mark.parametrize(("undated", "narrow"), [("narrow", ("records",)), ("narrow-lists", ("records", "operations"))])
async def test_a_list_without_both_dates_is_narrow(serve: Serve, undated: str, narrow: tuple[str, ...]) -> None:
    api = await serve(undated=undated, visits=300)
    salon = api.sim.world.salons[C]
    salon.ledger.add("operations", salon.now() + 90 * 86_400, salon.now())
    salon.add_record(salon.today() + timedelta(days=90))
    paths = {"records": f"/records/{C}", "operations": f"/storages/transactions/{C}"}
    every = {"start_date": "2000-01-01", "end_date": "2035-01-01"}
    for name, path in paths.items():
        asked = {"with_deleted": 1, "count": 100}
        whole = len(await api.everything(path, **asked, **every))
        assert whole == (301 if name == "records" else len(salon.ledger.operations))
        for dates in ({}, {"start_date": "2000-01-01"}, {"end_date": "2035-01-01"}):
            assert (len(await api.everything(path, **asked, **dates)) < whole) == (name in narrow), (name, dates)
    client_id, own = next((one, ids) for one in salon.clients if len(ids := salon.bookings.ids_of(one)) > 3)
    assert len(await api.rows(f"/records/{C}", client_id=client_id, with_deleted=1)) < len(own)
    answer = await api.get(f"/records/{C}", count=1)
    assert answer["meta"]["total_count"] < 100


async def test_changed_after_is_inclusive_and_takes_every_spelling(serve: Serve) -> None:
    api = await serve(visits=60, clients=20)
    salon = api.sim.world.salons[C]
    record_id, client_id = list(salon.records)[5], list(salon.clients)[5]
    api.clock.now += 100
    salon.change_record(record_id, comment="new")
    salon.change_client(client_id, comment="new")
    assert salon.records[record_id]["last_change_date"] == "2025-10-09T11:55:00+0300"
    for text in (
        "2025-10-09T11:55:00",
        "2025-10-09 11:55:00",
        "2025-10-09T11:55:00+03:00",
        "2025-10-09T11:55:00+0300",
        "2025-10-09T08:55:00Z",
    ):
        params = {"changed_after": text, "with_deleted": 1}
        assert [int(r["id"]) for r in await api.rows(f"/records/{C}", **params)] == [record_id], text
        assert [int(r["id"]) for r in await api.rows(f"/clients/{C}", changed_after=text)] == [client_id], text
    assert await api.rows(f"/records/{C}", changed_after="2025-10-09T11:55:01") == []
    before = await api.get(f"/clients/{C}", changed_before="2025-10-09T11:54:59")
    assert before["meta"]["total_count"] == 19


async def test_changed_after_without_an_offset_may_be_utc(serve: Serve) -> None:
    api = await serve(visits=10, clients=20, changed_zone="utc", changed_inclusive=False)
    client_id = api.sim.world.salons[C].add_client()
    assert await api.rows(f"/clients/{C}", changed_after="2025-10-09T08:53:20") == []
    rows = await api.rows(f"/clients/{C}", changed_after="2025-10-09T08:53:19")
    assert [int(row["id"]) for row in rows] == [client_id]


async def test_a_date_that_is_none_is_refused_with_errors(serve: Serve) -> None:
    api = await serve(visits=10)
    status, body = await api.call("GET", f"/records/{C}", params={"start_date": "yesterday"})
    assert status == 422
    assert "start_date" in body["meta"]["errors"]


async def test_an_id_filter_that_matches_nobody_is_dropped(serve: Serve) -> None:
    api = await serve(clients=60)
    first, second, *_ = list(api.sim.world.salons[C].clients)
    rows = await api.rows(f"/clients/{C}", **{"id[0]": first, "id[1]": second})
    assert [int(row["id"]) for row in rows] == [first, second]
    nobody = await api.get(f"/clients/{C}", **{"id[]": 5})
    assert nobody["meta"]["total_count"] == 60


async def test_clients_are_found_by_phone_and_name(serve: Serve) -> None:
    api = await serve(clients=60)
    client_id = api.sim.world.salons[C].add_client(name="Аделаида", phone="+79995550001")
    for params in ({"phone": "9995550001"}, {"fullname": "аделаида"}):
        assert [int(row["id"]) for row in await api.rows(f"/clients/{C}", **params)] == [client_id]


async def test_finance_transactions_come_only_when_asked_for(serve: Serve) -> None:
    api = await serve(visits=300)
    plain = await api.rows(f"/records/{C}", count=1000)
    assert all(row["finance_transactions"] == [] for row in plain)
    full = await api.rows(f"/records/{C}", count=1000, include_finance_transactions=1)
    assert any(row["finance_transactions"] for row in full)


async def test_search_gives_the_asked_fields_in_the_asked_order(serve: Serve) -> None:
    api = await serve(clients=60)
    path = f"/company/{C}/clients/search"
    fields = ["id", "sold_amount"]
    body = {"fields": fields, "order_by": "sold_amount", "order_by_direction": "desc", "page_size": 100}
    _, found = await api.call("POST", path, json=body)
    sums = [float(row["sold_amount"]) for row in found["data"]]
    assert sums == sorted(sums, reverse=True)
    assert all(list(row) == fields for row in found["data"])
    ids = sorted(api.sim.world.salons[C].clients)[:2]
    wanted = {"fields": ["id"], "filters": [{"type": "id", "state": {"value": ids}}]}
    assert [row["id"] for row in (await api.call("POST", path, json=wanted))[1]["data"]] == ids
    status, body = await api.call("POST", path, json={"filters": [{"type": "colour", "state": {}}]})
    assert status == 400
    assert len(body["meta"]["errors"]["filters"]) == 1


async def test_visits_of_a_client_follow_the_cursor_to_the_end(serve: Serve) -> None:
    api = await serve(clients=1, visits=400)
    salon = api.sim.world.salons[C]
    client_id = next(iter(salon.clients))
    path = f"/company/{C}/clients/visits/search"
    status, _ = await api.call("POST", path, json={"client_id": client_id})
    assert status == 422
    seen: list[int] = []
    span: dict[str, Any] = {"from": None, "to": None}
    while True:
        body = {
            "client_id": client_id,
            "client_phone": "",
            "payment_statuses": [],
            "attendance": None,
            **span,
        }
        _, answer = await api.call("POST", path, json=body)
        cursor = answer["meta"]["dateCursor"]
        items = answer["data"]["records"] + answer["data"]["goods_transactions"]
        assert cursor["current"]["count"] == len(items)
        seen += [row["id"] for row in answer["data"]["records"]]
        if cursor["next"]["to"] is None:
            break
        assert len(items) >= 25
        span = {key: cursor["next"][key] for key in ("from", "to")}
    mine = [row.id for row in salon.bookings.of_client(client_id)]
    assert seen == mine
    assert len(mine) > 100


async def test_companies_are_paged_and_only_the_managed_ones_are_mine(serve: Serve) -> None:
    api = await serve(salons=25, clients=1, visits=1)
    api.sim.world.allowed.discard(4003)
    assert len(await api.rows("/companies", my=1)) == 20
    mine = await api.everything("/companies", my=1, count=10)
    assert [int(row["id"]) for row in mine] == [c for c in range(4001, 4026) if c != 4003]
    assert len(await api.rows("/companies", count=100)) == 25


async def test_an_empty_list_may_be_answered_as_404(serve: Serve) -> None:
    api = await serve(visits=10, empty_as_404=True)
    status, _ = await api.call("GET", f"/records/{C}", params={"start_date": "1999-01-01", "end_date": "1999-01-02"})
    assert status == 404
    api.sim.world.salons[C].staff.clear()
    assert (await api.call("GET", f"/company/{C}/staff"))[0] == 404


async def test_an_empty_list_may_be_answered_as_a_failure_with_200(serve: Serve) -> None:
    api = await serve(visits=10, empty_as_200=True)
    status, body = await api.call("GET", f"/records/{C}", params={"start_date": "1999-01-01", "end_date": "1999-01-02"})
    assert (status, body["success"], body["meta"]["message"]) == (200, False, "Не найдено")


async def test_hook_settings_are_replaced_whole(serve: Serve) -> None:
    api = await serve(clients=1, visits=1)
    path = f"/hooks_settings/{C}"
    await api.call("POST", path, json={"urls": ["https://example.com/a"], "active": 1, "record": 1})
    await api.call("POST", path, json={"urls": ["https://example.com/b"], "client": 1})
    settings = (await api.get(path))["data"]
    assert settings == {"urls": ["https://example.com/b"], "active": 0, "self_sending": 0, "client": 1}
