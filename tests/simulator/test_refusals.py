"""Are refusals and faults those of yclients-api §1 and §2?"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from ycsync.simulator import FAULTS

from .conftest import HEADER, Api, Serve, until

C = 4001


def message(body: dict[str, Any]) -> str:
    text = body["meta"]["message"]
    assert isinstance(text, str)
    return text


async def test_tokens_are_checked_when_the_options_name_them(serve: Serve) -> None:
    api = await serve(visits=10, partner_token="p", user_token="u")
    for header, expected in (
        ({}, "Не указаны авторизационные данные"),
        ({"Authorization": "Bearer x, User u"}, "Partner ID not specified"),
        ({"Authorization": "Bearer p, User x"}, "Необходима авторизация"),
        ({"Authorization": "Bearer p"}, "Необходима авторизация"),
    ):
        api.header = header
        status, body = await api.call("GET", f"/company/{C}")
        assert (status, message(body)) == (401, expected)
    api.header = {"Authorization": "Bearer x, User u", "Accept-Language": "ru-RU"}
    status, body = await api.call("GET", f"/company/{C}")
    assert (status, message(body)) == (401, "Не указан идентификатор партнера")
    api.header = {"Authorization": "Bearer p, User u"}
    assert (await api.call("GET", f"/company/{C}"))[0] == 200


@pytest.mark.parametrize(("wrong_login", "status"), [("401", 401), ("200", 200)])
async def test_a_wrong_password_is_refused_with_either_status(serve: Serve, wrong_login: str, status: int) -> None:
    api = await serve(visits=10, wrong_login=wrong_login)
    found, body = await api.call("POST", "/auth", json={"login": "someone", "password": "wrong"})
    assert (found, body["success"], message(body)) == (status, False, "Неверный логин или пароль")


async def test_rights_differ_by_endpoint(serve: Serve) -> None:
    api = await serve(visits=10, refused=("staff", "services (second path)"))
    status, body = await api.call("GET", f"/company/{C}/staff")
    assert (status, message(body)) == (403, "Недостаточно прав")
    assert await api.rows(f"/staff/{C}")
    assert await api.rows(f"/company/{C}/services")
    assert (await api.call("GET", f"/services/{C}"))[0] == 403
    assert await api.rows(f"/records/{C}")


async def test_the_second_paths_need_not_be_there(serve: Serve) -> None:
    api = await serve(visits=10, second_paths=False)
    for path in (f"/staff/{C}", f"/services/{C}"):
        status, body = await api.call("GET", path)
        assert (status, message(body)) == (404, "Не найдено")


async def test_any_token_does_but_a_header_must_be_there(serve: Serve) -> None:
    api = await serve(visits=10)
    assert (await api.call("GET", f"/company/{C}"))[0] == 200
    api.header = {}
    assert (await api.call("GET", f"/company/{C}"))[0] == 401


async def test_login_gives_the_user_token(serve: Serve) -> None:
    api = await serve(visits=10, partner_token="p", user_token="u")
    api.header = {"Authorization": "Bearer p"}
    status, body = await api.call("POST", "/auth", json={"login": "a@example.com", "password": "secret"})
    assert (status, body["data"]["user_token"]) == (201, "u")
    assert (await api.call("POST", "/auth", json={"login": "a@example.com"}))[0] == 401
    assert all("secret" not in repr(seen) for seen in api.sim.log)


async def test_login_with_a_second_factor_gives_no_token(serve: Serve) -> None:
    api = await serve(visits=10, two_factor=True)
    status, body = await api.call("POST", "/auth", json={"login": "a@example.com", "password": "x"})
    assert status == 200
    assert set(body["data"]) == {"uuid", "flow", "transport"}


async def test_a_salon_can_be_denied(serve: Serve) -> None:
    api = await serve(salons=2, visits=10)
    salon = api.sim.world.salons[C]
    search = f"/company/{C}/clients/search"
    salon.deny = "402"
    lapsed = f"Необходимо продлить лицензию в филиале с id: {C}"
    for method, path, expected in (("GET", f"/records/{C}", 403), ("POST", search, 402)):
        status, body = await api.call(method, path)
        assert (status, message(body)) == (expected, lapsed)
    salon.deny = "403"
    status, body = await api.call("GET", f"/records/{C}")
    assert (status, message(body)) == (403, "Недостаточно прав")
    salon.deny = "401"
    assert (await api.call("GET", f"/records/{C}"))[0] == 401
    assert (await api.call("GET", "/records/4002"))[0] == 200
    api.sim.world.allowed.discard(4002)
    status, body = await api.call("GET", "/company/4002/staff")
    assert (status, message(body)) == (403, "Нет прав на управление филиалом")
    assert body["errors"] == {"message": "Нет прав на управление филиалом"}


async def test_what_is_not_there_is_404(serve: Serve) -> None:
    api = await serve(visits=10)
    for path, expected in (
        ("/records/1", "Филиал не найден."),
        (f"/client/{C}/1", "Не найдено"),
        (f"/record/{C}/1", "Не найдено"),
        ("/nothing", "Не найдено"),
    ):
        status, body = await api.call("GET", path)
        assert (status, message(body)) == (404, expected)


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("429", 429, "через 1 секунд"),
        ("429-n0", 429, "через 0 секунд"),
        ("429-in-200", 200, "через 1 секунд"),
        ("success-false-200", 200, '"success":false'),
        ("html-502", 502, "<html>"),
        ("500", 500, '"success":false'),
        ("empty", 200, ""),
        ("401", 401, "Необходима авторизация"),
        ("401-partner", 401, "Не указан идентификатор партнера"),
        ("401-partner-english", 401, "Partner ID not specified"),
        ("403", 403, "Недостаточно прав"),
        ("402-licence", 402, "лицензию в филиале с id: 4001"),
        ("403-licence", 403, "лицензию в филиале с id: 4001"),
        ("404", 404, "Не найдено"),
        ("410", 410, "message"),
    ],
)
async def test_a_fault_is_answered_once(serve: Serve, kind: str, status: int, text: str) -> None:
    api = await serve(visits=10)
    api.sim.fail_next(kind)
    async with api.session.get(f"{api.sim.url}/records/{C}", headers=HEADER) as answer:
        body = await answer.text()
    assert answer.status == status
    assert text in body if text else body == ""
    await api.get(f"/records/{C}")


async def test_retry_after_can_be_given(serve: Serve) -> None:
    api = await serve(visits=10)
    api.sim.fail_next("429-retry-after")
    async with api.session.get(f"{api.sim.url}/records/{C}", headers=HEADER) as answer:
        assert answer.headers["Retry-After"] == "2"


async def test_truncated_json_is_valid_http(serve: Serve) -> None:
    api = await serve(visits=10)
    api.sim.fail_next("truncated")
    with pytest.raises(json.JSONDecodeError):
        await api.call("GET", f"/records/{C}")


async def test_connections_are_cut_and_reset(serve: Serve) -> None:
    api = await serve(visits=10)
    api.sim.fail_next("cut")
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.call("GET", f"/records/{C}")
    # POST: aiohttp itself sends a GET again when a kept connection turns out to be dead.
    api.sim.fail_next("reset")
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.call("POST", f"/company/{C}/clients/search", json={})
    assert (await api.call("POST", f"/company/{C}/clients/search", json={}))[0] == 200


async def test_a_hanging_request_ends_when_the_client_leaves(serve: Serve) -> None:
    api = await serve(visits=10)
    api.sim.fail_next("hang")
    call = asyncio.create_task(api.call("GET", f"/company/{C}"))
    await until(lambda: api.sim.report().endpoints)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: api.sim.log[0].kind != "pending")
    assert api.sim.log[0].kind == "left"


async def test_faults_can_be_aimed_and_repeated(serve: Serve) -> None:
    api = await serve(visits=10)
    api.sim.fail_next("500", times=2, match="/records/")
    assert (await api.call("GET", f"/company/{C}"))[0] == 200
    assert [(await api.call("GET", f"/records/{C}"))[0] for _ in range(3)] == [500, 500, 200]
    with pytest.raises(ValueError, match="unknown fault"):
        api.sim.fail_next("bad-luck")
    api.sim.fail_next("500", times=9)
    api.sim.heal()
    assert (await api.call("GET", f"/company/{C}"))[0] == 200


async def _spoiled(api: Api, kind: str, path: str) -> dict[str, Any]:
    api.sim.fail_next(kind)
    return await api.get(path)


async def test_data_can_be_spoiled(serve: Serve) -> None:
    api = await serve(visits=10, deleted=0.0)
    records, clients = f"/records/{C}", f"/clients/{C}"
    twice = await _spoiled(api, "duplicate-ids", records)
    assert len(twice["data"]) == 10
    assert len({int(row["id"]) for row in twice["data"]}) == 9
    assert (await _spoiled(api, "lying-total", records))["meta"]["total_count"] == 17
    assert (await _spoiled(api, "nul", records))["data"][0]["comment"] == "before\0after"
    assert (await _spoiled(api, "zero-date", records))["data"][0]["date"] == "0000-00-00 00:00:00"
    assert (await _spoiled(api, "zero-date", clients))["data"][0]["birth_date"] == "0000-00-00 00:00:00"
    assert isinstance((await _spoiled(api, "wrong-types", records))["data"][0]["id"], dict)
    assert (await _spoiled(api, "huge-number", clients))["data"][0]["spent"] == 10**400


async def test_a_fault_of_the_data_waits_for_data(serve: Serve) -> None:
    api = await serve(visits=10)
    api.sim.fail_next("nul")
    assert await api.rows(f"/records/{C}", start_date="1999-01-01", end_date="1999-01-02") == []
    assert (await api.rows(f"/records/{C}"))[0]["comment"] == "before\0after"
    assert (await api.rows(f"/records/{C}"))[0]["comment"] != "before\0after"


async def test_a_share_of_answers_is_broken_the_same_way_for_one_seed(serve: Serve) -> None:
    async def kinds(seed: int) -> list[str]:
        api = await serve(visits=10, faults=0.4, seed=seed)
        for page in range(60):
            try:
                url = f"{api.sim.url}/company/{C}/clients/search"
                async with api.session.post(url, json={"page": page}, headers=HEADER) as answer:
                    await answer.read()
            except aiohttp.ClientError:
                pass
        return [seen.kind for seen in api.sim.log]

    first = await kinds(1)
    assert first == await kinds(1)
    assert first != await kinds(2)
    assert 10 <= sum(kind != "200" for kind in first) <= 40
    assert not {"hang", "401", "403", "nul", "duplicate-ids"} & set(first)
    assert set(first) - {"200", "502"} <= set(FAULTS)
