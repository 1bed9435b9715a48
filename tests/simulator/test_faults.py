"""Does every fault break the answer that it should, in the way that it says?"""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from support.patience import SAFETY_S
from ycsync.simulator import FAULTS
from ycsync.simulator.options import RARE_FAULTS, RECOVERABLE_FAULTS

from .conftest import HEADER, Api, Serve

C = 4001
NEVER_ANSWER = ("hang", "reset", "cut", "bad-gzip", "cut-gzip")


async def answered(api: Api, path: str) -> tuple[int, bytes]:
    async with api.session.get(api.sim.url + path, headers=HEADER, allow_redirects=False) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind not in NEVER_ANSWER])
async def test_a_fault_changes_one_answer_and_is_counted(serve: Serve, kind: str) -> None:
    api = await serve(clients=30, visits=20)
    path = f"/clients/{C}?count=30"
    well = await answered(api, path)
    api.sim.forget()
    api.sim.fail_next(kind, match="/clients/")
    assert await answered(api, path) != well
    assert await answered(api, path) == well
    said = set(api.sim.report().answers) - {"200"}
    assert said, kind


@pytest.mark.parametrize("kind", ["bad-gzip", "cut", "reset"])
async def test_a_body_that_cannot_be_read_whole(serve: Serve, kind: str) -> None:
    api = await serve(clients=30, visits=20)
    api.sim.fail_next(kind, times=2)  # aiohttp itself asks again once after a reset
    with pytest.raises(aiohttp.ClientError):
        await answered(api, f"/clients/{C}?count=30")


async def test_a_compressed_body_that_ends_early_is_no_json(serve: Serve) -> None:
    api = await serve(clients=30, visits=20)
    api.sim.fail_next("cut-gzip")
    with pytest.raises((aiohttp.ClientError, json.JSONDecodeError)):  # aiohttp gives what it could unpack
        await api.call("GET", f"/clients/{C}?count=30")


@pytest.mark.parametrize("kind", [*RECOVERABLE_FAULTS, *RARE_FAULTS])
def test_what_may_be_asked_again_is_a_fault(kind: str) -> None:
    assert kind in FAULTS


async def test_the_first_answers_may_be_left_well(serve: Serve) -> None:
    api = await serve(clients=30, visits=20)
    api.sim.fail_next("500", match="/clients/", skip=2)
    assert [(await answered(api, f"/clients/{C}"))[0] for _ in range(4)] == [200, 200, 500, 200]


async def test_retry_after_may_be_a_date(serve: Serve) -> None:
    api = await serve(clients=1, visits=1)
    api.sim.fail_next("429-date")
    async with api.session.get(f"{api.sim.url}/clients/{C}", headers=HEADER) as answer:
        until = parsedate_to_datetime(answer.headers["Retry-After"]).timestamp()
    assert 0 < until - time.time() <= 4


@pytest.mark.parametrize(("kind", "total"), [("total-zero", 0), ("total-fewer", 23), ("lying-total", 37), ("total-null", None)])
async def test_a_count_may_lie(serve: Serve, kind: str, total: int | None) -> None:
    api = await serve(clients=30, visits=20)
    api.sim.fail_next(kind)
    body = await api.get(f"/clients/{C}", count=30)
    assert (len(body["data"]), body["meta"]["total_count"]) == (30, total)


async def test_rows_may_be_lost_while_they_are_counted(serve: Serve) -> None:
    api = await serve(clients=30, visits=20)
    api.sim.fail_next("rows-lost")
    body = await api.get(f"/clients/{C}")
    assert (body["data"], body["meta"]["total_count"]) == ([], 30)


async def test_text_may_be_in_another_encoding(serve: Serve) -> None:
    api = await serve(clients=3, visits=20)
    path = f"/clients/{C}"
    _, well = await answered(api, path)
    for kind, encoding in (("cp1251", "cp1251"), ("utf-16", "utf-16"), ("bom", "utf-8-sig")):
        api.sim.fail_next(kind)
        _, body = await answered(api, path)
        assert json.loads(body.decode(encoding)) == json.loads(well)


@pytest.mark.parametrize("status", [400, 422])
async def test_a_page_that_is_too_large_may_be_refused(serve: Serve, status: int) -> None:
    api = await serve(clients=30, visits=20, count_refused=20, refuse_with=status)
    for path in (f"/clients/{C}", f"/records/{C}"):
        assert (await answered(api, f"{path}?count=21"))[0] == status
        assert (await answered(api, f"{path}?count=20"))[0] == 200
        assert (await answered(api, path))[0] == 200


async def test_the_filter_by_change_may_do_nothing(serve: Serve) -> None:
    api = await serve(clients=30, visits=20, changed_ignored=True)
    assert len(await api.rows(f"/clients/{C}", changed_after="2099-01-01T00:00:00", count=30)) == 30


async def test_a_changed_password_ends_the_token(serve: Serve) -> None:
    api = await serve(clients=1, visits=1, user_token="user")
    assert (await answered(api, f"/clients/{C}"))[0] == 200
    api.sim.change_user_token("another")
    assert (await answered(api, f"/clients/{C}"))[0] == 401
    status, body = await api.call("POST", "/auth", json={"login": "a", "password": "b"})
    assert (status, body["data"]["user_token"]) == (201, "another")


async def test_one_salon_may_be_slow(serve: Serve) -> None:
    api = await serve(salons=2, clients=1, visits=1)
    api.sim.world.salons[C].slow = 3600.0
    async with asyncio.timeout(SAFETY_S):
        await answered(api, f"/clients/{C + 1}")
    api.sim.world.salons[C].slow = 0.2
    begun = time.monotonic()
    await answered(api, f"/clients/{C}")
    assert time.monotonic() - begun >= 0.2
