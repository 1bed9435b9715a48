"""Are requests counted exactly, and refused as YCLIENTS refuses them?"""

from __future__ import annotations

import asyncio
import random

import aiohttp
import pytest

from ycsync.simulator import Options, Simulator, format_report
from ycsync.simulator import serve as serve_forever

from .conftest import Api, Serve, until

C = 4001
TEXT = "Превышен лимит запросов, попробуйте повторить запрос через"


async def test_the_sixth_request_of_a_second_is_refused(serve: Serve) -> None:
    api = await serve(visits=10, per_second=5, per_minute=200)
    statuses = [(await api.call("GET", f"/company/{C}"))[0] for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    _, body = await api.call("GET", f"/company/{C}")
    assert body == {"success": False, "data": None, "meta": {"message": f"{TEXT} 1 секунд."}}
    api.clock.now += 0.5
    assert (await api.call("GET", f"/company/{C}"))[1]["meta"]["message"] == f"{TEXT} 0 секунд."
    api.clock.now += 0.5
    assert (await api.call("GET", f"/company/{C}"))[0] == 200
    report = api.sim.report()
    assert (report.requests, report.max_1s, report.max_60s) == (9, 8, 9)
    assert report.answers == {"200": 6, "429": 3}


async def test_refused_requests_do_not_prolong_the_refusal(serve: Serve) -> None:
    api = await serve(visits=10, per_second=0, per_minute=3)
    for _ in range(3):
        assert (await api.call("GET", f"/company/{C}"))[0] == 200
    for _ in range(5):
        api.clock.now += 10
        assert (await api.call("GET", f"/company/{C}"))[0] == 429
    api.clock.now += 10
    assert (await api.call("GET", f"/company/{C}"))[0] == 200


async def test_windows_are_exact(serve: Serve) -> None:
    api = await serve(visits=10)
    rng = random.Random(3)
    arrivals = []
    for _ in range(150):
        api.clock.now += rng.choice((0.0, 0.01, 0.125, 0.5, 2.0))
        arrivals.append(api.clock.now)
        await api.call("GET", f"/company/{C}")
    report = api.sim.report()
    for length, most in ((1.0, report.max_1s), (60.0, report.max_60s)):
        assert most == max(sum(end - length < t <= end for t in arrivals) for end in arrivals)
    assert [seen.arrival for seen in api.sim.log] == arrivals


async def test_a_request_is_counted_when_it_arrives_not_when_it_is_answered(serve: Serve) -> None:
    api = await serve(visits=10)
    api.sim.gate.clear()
    call = asyncio.create_task(api.call("GET", f"/company/{C}"))
    await until(lambda: api.sim.log)
    assert api.sim.report().requests == 1
    assert api.sim.report().answers == {}
    assert api.sim.log[0].kind == "pending"
    api.sim.gate.set()
    assert (await call)[0] == 200
    assert api.sim.log[0].status == 200


async def test_a_429_may_hide_in_a_200(serve: Serve) -> None:
    api = await serve(visits=10, per_second=1, answer_429_as_200=True)
    await api.get(f"/company/{C}")
    status, body = await api.call("GET", f"/company/{C}")
    assert status == 200
    assert body["meta"]["message"].startswith(TEXT)
    assert api.sim.report().answers == {"200": 1, "429-in-200": 1}


async def test_the_report_counts_endpoints_and_repeats(serve: Serve) -> None:
    api = await serve(visits=10)
    for page in (1, 2, 1):
        await api.get(f"/records/{C}", page=page)
    for fields in (["id"], ["id"], ["name"]):
        await api.call("POST", f"/company/{C}/clients/search", json={"fields": fields})
    report = api.sim.report()
    assert report.endpoints == {"records": 3, "clients/search": 3}
    assert report.repeats == 2
    text = format_report(report)
    assert "6 in 1 s, 6 in 60 s" in text
    assert "records: 3" in text
    api.sim.forget()
    assert api.sim.report().requests == 0


async def test_latency_and_jitter_delay_the_answer_only(serve: Serve) -> None:
    api = await serve(visits=10, latency=0.004, jitter=0.002)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await api.get(f"/company/{C}")
    assert loop.time() - began >= 0.002


async def test_serving_goes_on_until_it_is_cancelled() -> None:
    ready: asyncio.Queue[Simulator] = asyncio.Queue()
    task = asyncio.create_task(serve_forever(Options(visits=10), on_ready=ready.put_nowait))
    sim = await ready.get()
    async with aiohttp.ClientSession() as session, session.get(f"{sim.url}/company/{C}") as answer:
        assert answer.status == 401
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sim.report().answers == {"401": 1}


async def test_a_stopped_simulator_starts_again_on_its_port(serve: Serve) -> None:
    api = await serve(visits=10)
    url = api.sim.url
    await api.sim.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.get(f"/company/{C}")
    await api.sim.start()
    assert api.sim.url == url
    await api.get(f"/company/{C}")


async def test_each_address_has_a_limit_of_its_own_and_its_own_figures() -> None:
    async with Simulator(Options(visits=10, per_second=2, per_minute=0)) as sim:
        for address, expected in (("127.0.0.1", [200, 200, 429]), ("127.0.0.2", [200, 200])):
            connector = aiohttp.TCPConnector(local_addr=(address, 0))
            async with aiohttp.ClientSession(connector=connector, headers={"Authorization": "Bearer a, User b"}) as session:
                for status in expected:
                    async with session.get(f"{sim.url}/company/{C}") as response:
                        assert response.status == status
        report = sim.report()
        assert {name: (one.requests, one.max_1s) for name, one in report.addresses.items()} == {
            "127.0.0.1": (3, 3), "127.0.0.2": (2, 2),
        }  # fmt: skip
        assert report.max_1s == 5
        assert "from       127.0.0.2: 2, densest 2 in 1 s" in format_report(report)


async def rate(api: Api, partner: str = "partner") -> tuple[int, dict[str, int]]:
    """Status, and what the headers say of the limit."""
    header = {"Authorization": f"Bearer {partner}, User user"}
    async with api.session.get(f"{api.sim.url}/company/{C}", headers=header) as answer:
        said = {name.removeprefix("X-RateLimit-"): int(value) for name, value in answer.headers.items() if "RateLimit" in name}
        return answer.status, said


@pytest.mark.parametrize("minute", ["sliding", "fixed"])
async def test_answers_say_how_much_is_left_of_the_minute(serve: Serve, minute: str) -> None:
    api = await serve(visits=10, per_second=0, per_minute=3, minute=minute)
    begun = api.clock.now
    said = []
    for second in (0, 20, 40, 50, 60, 85):
        api.clock.now = begun + second
        said.append(await rate(api))
    full = {"Limit": 3}
    sliding = minute == "sliding"
    assert said == [
        (200, {**full, "Remaining": 2, "Reset": 60}),
        (200, {**full, "Remaining": 1, "Reset": 40}),
        (200, {**full, "Remaining": 0, "Reset": 20}),
        (429, {**full, "Remaining": 0, "Reset": 10}),
        (200, {**full, "Remaining": 0 if sliding else 2, "Reset": 20 if sliding else 60}),
        (200, {**full, "Remaining": 0 if sliding else 1, "Reset": 15 if sliding else 35}),
    ]


async def test_the_headers_may_be_absent(serve: Serve) -> None:
    api = await serve(visits=10, rate_headers=False)
    assert await rate(api) == (200, {})
    assert await rate(await serve(visits=10, per_minute=0)) == (200, {})


@pytest.mark.parametrize(("limit_by", "left"), [("address", [4, 3, 2]), ("token", [4, 4, 3])])
async def test_a_limit_is_an_addresss_or_a_partner_tokens(serve: Serve, limit_by: str, left: list[int]) -> None:
    api = await serve(visits=10, per_minute=5, limit_by=limit_by)
    assert [(await rate(api, partner))[1]["Remaining"] for partner in ("one", "two", "one")] == left


async def test_other_clients_use_the_same_limit_and_are_refused_as_we_are(serve: Serve) -> None:
    api = await serve(visits=10, per_second=0, per_minute=20, others=12)
    assert (await rate(api))[1]["Remaining"] == 20 - 12 - 1
    statuses = [(await rate(api))[0] for _ in range(10)]
    assert statuses == [200] * 7 + [429] * 3
    api.clock.now += 30
    assert (await rate(api))[0] == 429
    report = api.sim.report()
    assert (report.requests, report.max_60s) == (12, 12), "the others are in none of our figures"
    assert (report.others, report.others_refused) == (19, 0), "one leaves the window as the next comes"
    assert "others     19, 0 of them refused" in format_report(report)
    assert [accepted for _, accepted in api.sim.others] == [True] * 19
