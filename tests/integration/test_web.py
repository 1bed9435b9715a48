"""Does the web server answer only who may ask, and does nobody who listens hold up anything? Over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from support.patience import SAFETY_S, own_clock
from support.place import free_port
from support.shown import TOKEN, Shown, served
from ycsync.web import Events, Health
from ycsync.web.events import MOST_LISTENERS, SOONEST_S
from ycsync.web.page import FILES

JSON = {"Content-Type": "application/json"}
KEY = {"Authorization": f"Bearer {TOKEN}", **JSON}


class Served:
    """One server and a client of it."""

    def __init__(self, port: int, shown: Shown, session: aiohttp.ClientSession, events: Events) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.shown = shown
        self.session = session
        self.events = events

    async def get(self, path: str, **headers: str) -> tuple[int, str, Any]:
        async with self.session.get(self.url + path, headers={n.replace("_", "-"): v for n, v in headers.items()}) as answer:
            return answer.status, await answer.text(), answer.headers

    async def post(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        data = json.dumps({} if body is None else body)
        async with self.session.post(self.url + path, data=data, headers=KEY if headers is None else headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
def shown() -> Shown:
    return Shown(token=TOKEN)


@pytest.fixture
async def web(shown: Shown) -> AsyncIterator[Served]:
    port, events = free_port(), shown.events()
    async with served(port, shown, events), aiohttp.ClientSession() as session:
        yield Served(port, shown, session, events)


# --- what is shown ----------------------------------------------------------------------------------------------------


async def test_the_page_needs_nothing_from_elsewhere_and_may_take_nothing(web: Served) -> None:
    size = 0
    for name in ("", *(file for file in FILES if file != "index.html")):
        status, text, headers = await web.get(f"/{name}", Accept_Encoding="identity")
        assert status == 200
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text.replace("https://github.com/leeoniya/uPlot", "")
        size += len(gzip.compress(text.encode(), 9))
    assert size < 45_000, "bytes, as a browser is sent them"


async def test_a_file_that_is_known_is_not_sent_again(web: Served) -> None:
    _, _, headers = await web.get("/page.js")
    status, text, _ = await web.get("/page.js", If_None_Match=headers["ETag"])
    assert (status, text) == (304, "")


async def test_nothing_else_is_served(web: Served) -> None:
    for path in ("/__init__.py", "/../config.yaml", "/%2e%2e/web/server.py", "/uPlot.LICENSE.txt", "/api/nothing", "/hooks/x"):
        status, text, headers = await web.get(path)
        assert (status, headers["Content-Type"].split(";")[0]) == (404, "application/json"), path
        assert json.loads(text)["error"]


async def test_health_and_readiness_are_status_codes_with_reasons(web: Served) -> None:
    assert (await web.get("/healthz"))[0] == (await web.get("/readyz"))[0] == 200
    web.shown.well = Health(alive=False, ready=False, reasons=("the database is away",))
    status, text, _ = await web.get("/healthz")
    assert (status, json.loads(text)) == (503, {"service": "ycsync", "alive": False})
    status, text, _ = await web.get("/readyz")
    assert (status, json.loads(text)) == (503, {"ready": False, "reasons": ["the database is away"]})


@pytest.mark.parametrize(
    "query", ["sort=x", "state=x", "order=x", "offset=-1", "offset=1e9", "limit=0", "limit=201", "limit=٣", "q=" + "x" * 101]
)
async def test_a_question_that_makes_no_sense_is_told_so(web: Served, query: str) -> None:
    status, text, _ = await web.get(f"/api/salons?{query}")
    assert status == 400
    assert "must be" in json.loads(text)["error"]
    assert not web.shown.asked


# --- who may ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:8787", "LOCALHOST", "[::1]:8787", "10.1.2.3", "Status.Example.org:443"]
)
async def test_an_address_localhost_and_a_name_of_the_settings_are_answered(web: Served, host: str) -> None:
    web.shown.names = ("status.example.org",)
    for path in ("/", "/api/status", "/metrics", "/healthz"):
        assert (await web.get(path, Host=host))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:8787", "a b", "[", ""]
)
async def test_a_name_of_somebody_elses_is_not(web: Served, host: str) -> None:
    for path in ("/", "/api/status", "/api/events", "/metrics", "/healthz"):
        status, text, _ = await web.get(path, Host=host)
        assert status == 421
        assert "http.hosts" in json.loads(text)["error"]


async def test_without_an_admin_token_nothing_can_be_changed(web: Served) -> None:
    web.shown.token = None
    for path in ("/api/admin", "/api/pause", "/api/resume", "/api/preset"):
        status, body = await web.post(path, {"company": 0, "preset": "night"})
        assert status == 403
        assert "no admin token is configured" in body["error"]
    assert not web.shown.did


async def test_with_the_token_it_can(web: Served) -> None:
    assert await web.post("/api/admin") == (200, {"said": "The token is right."})
    assert await web.post("/api/pause", {"company": 0}) == (200, {"said": "pause done"})
    assert (await web.post("/api/resume", {"company": 4001}))[0] == 200
    assert (await web.post("/api/preset", {"preset": "night"}, {**KEY, "Origin": web.url, "Sec-Fetch-Site": "same-origin"}))[
        0
    ] == 200
    assert web.shown.did == [("pause", 0), ("resume", 4001), ("preset", "night")]
    web.shown.refuses = "The database is away."
    assert await web.post("/api/pause", {"company": 0}) == (409, {"error": "The database is away."})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**JSON}, 401),
        ({**JSON, "Authorization": "Bearer wrong"}, 401),
        ({**JSON, "Authorization": f"Basic {TOKEN}"}, 401),
        ({**JSON, "Authorization": TOKEN}, 401),
        ({**JSON, "Cookie": f"token={TOKEN}"}, 401),
        ({**KEY, "Origin": "http://evil.example"}, 403),
        ({**KEY, "Origin": "null"}, 403),
        ({**KEY, "Origin": "http://127.0.0.1:1"}, 403),
        ({**KEY, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**KEY, "Sec-Fetch-Site": "same-site"}, 403),
        ({**KEY, "Content-Type": "text/plain"}, 415),
        ({**KEY, "Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_another_sites_page_and_who_has_no_token_change_nothing(
    web: Served, headers: dict[str, str], status: int
) -> None:
    assert (await web.post("/api/pause", {"company": 0}, headers))[0] == status
    assert not web.shown.did


async def test_a_proxys_name_may_ask_by_another_name_than_the_browser(web: Served) -> None:
    web.shown.names = ("status.example.org",)
    assert (await web.post("/api/pause", {"company": 0}, {**KEY, "Origin": "https://status.example.org"}))[0] == 200


@pytest.mark.parametrize(
    "body", [[], {}, {"company": "0"}, {"company": True}, {"company": -1}, {"company": 2**63}, {"company": None}, "x"]
)
async def test_a_body_that_makes_no_sense_changes_nothing(web: Served, body: object) -> None:
    status, told = await web.post("/api/pause", body)
    assert (status, "body must be" in told["error"]) == (400, True)
    assert not web.shown.did


async def test_a_body_without_end_is_refused(web: Served) -> None:
    assert (await web.post("/api/pause", {"company": 0, "more": "x" * 10_000}))[0] == 413
    assert not web.shown.did


async def test_nobody_guesses_the_token(web: Served) -> None:
    wrong = {**JSON, "Authorization": "Bearer guess"}
    assert [(await web.post("/api/admin", {}, wrong))[0] for _ in range(6)] == [401] * 5 + [429]
    assert (await web.post("/api/admin"))[0] == 429, "the right one too, or guessing would go on"


async def test_a_token_of_any_bytes_is_a_wrong_one(web: Served) -> None:
    """Not a fault of the service: it is counted and refused like every other."""
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        head = b"POST /api/admin HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Content-Length: 2\r\nAuthorization: Bearer \xff\xfe\xc3\r\n\r\n{}")
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        writer.close()
    assert (await web.post("/api/admin"))[0] == 429


@pytest.mark.parametrize("path", ["/api/status", "/api/events", "/api/salons", "/api/traffic"])
async def test_another_sites_page_reads_nothing_and_a_link_there_may_be_clicked(web: Served, path: str) -> None:
    assert (await web.get(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors"))[0] == 403
    assert (await web.get(path, Origin="http://evil.example"))[0] == 403
    if path != "/api/events":
        assert (await web.get(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate"))[0] == 200


async def test_a_change_is_not_made_with_get(web: Served) -> None:
    for path in ("/api/pause", "/api/resume", "/api/preset", "/api/admin"):
        async with web.session.get(web.url + path, headers=KEY) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


# --- who listens ------------------------------------------------------------------------------------------------------


async def listen(web: Served) -> tuple[aiohttp.ClientResponse, Any]:
    response = await web.session.get(f"{web.url}/api/events")
    assert response.content_type == "text/event-stream"

    async def heard() -> dict[str, Any]:
        while True:
            line = await response.content.readline()
            assert line, "the connection ended"
            if line.startswith(b"data: "):
                found: dict[str, Any] = json.loads(line[6:])
                return found

    return response, heard


async def test_who_listens_hears_all_of_it_first_and_then_what_is_new(web: Served) -> None:
    web.shown.state = {"a": 1, "b": {"c": [1, "x\ny"]}}
    response, heard = await listen(web)
    assert await heard() == {"a": 1, "b": {"c": [1, "x\ny"]}}
    web.shown.state = {"a": 2, "b": {"c": [1, "x\ny"]}}
    await web.events.publish()
    assert await heard() == {"a": 2}
    await web.events.publish()
    web.shown.state = {"a": 2, "b": 3}
    await web.events.publish()
    assert await heard() == {"b": 3}
    response.close()


async def test_what_nobody_listens_to_is_not_even_made(web: Served) -> None:
    made = 0

    def sections() -> dict[str, Any]:
        nonlocal made
        made += 1
        return {"n": made}

    events = Events(sections)
    async with served(port := free_port(), web.shown, events):
        await events.publish()
        assert made == 0
        async with web.session.get(f"http://127.0.0.1:{port}/api/events") as response:
            await response.content.readline()
            assert made == 1


async def test_who_comes_and_goes_all_the_time_has_nothing_made_for_each_time(web: Served) -> None:
    made = 0

    def sections() -> dict[str, Any]:
        nonlocal made
        made += 1
        return {"n": made}

    async with served(port := free_port(), web.shown, Events(sections)):
        begun = asyncio.get_running_loop().time()
        for _ in range(20):
            async with web.session.get(f"http://127.0.0.1:{port}/api/events") as response:
                await response.content.readline()
                assert (await response.content.readuntil(b"}\n\n")).count(b'"n"') == 1, "whoever comes hears all of it"
        assert made <= 1 + (asyncio.get_running_loop().time() - begun) / SOONEST_S


async def test_who_comes_when_too_many_listen_is_told_so(web: Served) -> None:
    several = [await listen(web) for _ in range(MOST_LISTENERS)]
    status, text, headers = await web.get("/api/events")
    assert (status, headers["Retry-After"]) == (503, "30")
    assert "too many" in json.loads(text)["error"]
    for response, _ in several:
        response.close()
    async with asyncio.timeout(SAFETY_S):
        while web.events.listeners:
            await asyncio.sleep(0.01)
            await web.events.publish()


async def test_who_takes_nothing_is_cut_and_holds_up_nobody(web: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ycsync.web.events.SEND_S", 0.3)
    slow = socket.create_connection(("127.0.0.1", web.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    async with asyncio.timeout(SAFETY_S):
        while not web.events.listeners:
            await asyncio.sleep(0.01)
    response, heard = await listen(web)
    await heard()
    longest = 0.0
    async with asyncio.timeout(SAFETY_S):
        n = 0
        while web.events.listeners > 1:  # until the slow one is given up
            n += 1
            web.shown.state = {"n": n, "much": "x" * 500_000 + str(n)}
            begun = own_clock()
            await web.events.publish()
            longest = max(longest, own_clock() - begun)
            assert (await heard())["n"] == n, "the other one hears everything meanwhile"
    assert longest < 0.2, "publishing never waits for a listener"
    slow.close()
    response.close()


async def test_the_end_of_the_service_does_not_wait_for_who_listens(shown: Shown) -> None:
    events = shown.events()
    async with aiohttp.ClientSession() as session:
        async with served(port := free_port(), shown, events):
            response = await session.get(f"http://127.0.0.1:{port}/api/events")
            await response.content.readline()
            begun = own_clock()
        assert own_clock() - begun < 0.4
        response.close()
