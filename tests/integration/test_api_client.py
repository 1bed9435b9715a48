"""Does one lease mean one request, whatever the server and the network do, and does nothing secret come out?"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from support.bench import GET, LIMIT, OK, PARTNER, PASSWORD, ROWS, USER, Bench, Raw, bench_of, envelope, http, nothing_secret_in
from support.patience import own_clock
from ycsync.api import Page, Request, Tally, login, transport
from ycsync.errors import AccessDenied, NotFound, Rejected, Throttled, Transient, YcsyncError
from ycsync.store.database import Database


async def test_a_page_says_when_it_left_what_came_and_how_many_there_are(bench: Bench, server: Raw) -> None:
    before = await bench.database.fetchval("select clock_timestamp()")
    tally = Tally()
    page = await bench.api(server.url).fetch(GET, tally, tries=1)
    assert [json.loads(row) for row in page.rows] == ROWS
    assert page.total == 1
    assert before <= page.observed_at <= await bench.database.fetchval("select clock_timestamp()")
    assert tally == Tally(requests=1)
    assert [(one.endpoint, one.outcome, one.status) for one in bench.attempts] == [("clients", "ok", 200)]
    head = server.requests[0][1].decode()
    assert head.startswith("GET /api/v1/clients/4001?page=1&count=300 HTTP/1.1\r\n")
    assert f"Authorization: Bearer {PARTNER}, User {USER}\r\n" in head
    assert "gzip" in head
    assert await bench.held() == 0


BROKEN: dict[str, bytes] = {
    "empty": http(b""),
    "half a row": http(OK[: len(OK) // 2]),
    "no closing brace": http(OK[:-1]),
    "a page of the proxy, as 200": http(b"<html><h1>502</h1></html>", 200, "Content-Type: text/html"),
    "a page of the proxy": http(b"<html><h1>502 Bad Gateway</h1></html>", 502, "Content-Type: text/html"),
    "a list": http(b"[1]"),
    "null": http(b"null"),
    "a word": http(b'"ok"'),
    "not JSON": http(b"Fatal error: Allowed memory size exhausted"),
    "JSON after a warning": http(b"<br />Warning: x " + OK),
    "success false": http(envelope(False, None, message="Ошибка")),
    "cut by the peer": http(OK, length=len(OK) + 100),
    "gzip that is none": http(OK, 200, "Content-Encoding: gzip"),
    "gzip cut short": http(gzip.compress(OK * 50)[:-20], 200, "Content-Encoding: gzip"),
    "not HTTP": b"220 mail ready\r\n\r\n",
    "503": http(b"", 503),
    "404 of the proxy": http(b"<html>404</html>", 404),
}


@pytest.mark.parametrize("name", list(BROKEN))
async def test_a_broken_answer_is_asked_for_again_and_never_taken_for_an_empty_page(
    bench: Bench, server: Raw, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    broken = BROKEN[name]
    server.close_after = True  # what is cut is cut
    server.answers = [broken, broken, http()]
    tally = Tally()
    page = await bench.api(server.url).fetch(GET, tally, tries=3)
    assert len(page.rows) == 1
    assert tally == Tally(requests=3, retries=2, errors=2)
    assert len(server.requests) == bench.limiter.granted == 3
    server.answers = [broken]
    with pytest.raises(Transient, match="2 times in a row") as caught:
        await bench.api(server.url).fetch(GET, Tally(), tries=2)
    nothing_secret_in(caught.value, caplog)
    assert await bench.held() == 0


async def test_tries_are_counted_and_the_waits_between_them_grow_with_jitter(bench: Bench, server: Raw) -> None:
    server.answers = [http(b"", 500)]
    tally = Tally()
    with pytest.raises(Transient, match="salon 4001, clients: HTTP 500, 4 times in a row"):
        await bench.api(server.url).fetch(GET, tally, tries=4)
    assert tally == Tally(requests=4, retries=3, errors=4)
    assert len(server.requests) == 4
    for wait, ceiling in zip(bench.naps, (0.5, 1.0, 2.0), strict=True):
        assert ceiling / 2 <= wait <= ceiling


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (http(envelope(False, None, message="Необходима авторизация"), 401), AccessDenied, "YCLIENTS_USER_TOKEN"),
        (http(envelope(False, None, message="Partner ID not specified"), 401), AccessDenied, "YCLIENTS_PARTNER_TOKEN"),
        (http(envelope(False, None, message="Необходимо продлить лицензию"), 402), AccessDenied, "Renew"),
        (http(envelope(False, None, message="Недостаточно прав"), 403), AccessDenied, "Клиентская база"),
        (http(envelope(False, None, message="Не найдено"), 404), NotFound, "404"),
        (http(b"", 410), NotFound, "410"),
        (http(envelope(False, None, message="Клиент Ольга 79990000011"), 422), Rejected, "422"),
    ],
)
async def test_a_refusal_is_final_and_says_what_to_do(
    bench: Bench,
    server: Raw,
    caplog: pytest.LogCaptureFixture,
    answer: bytes,
    error: type[YcsyncError],
    says: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [answer]
    with pytest.raises(error, match=says) as caught:
        await bench.api(server.url).fetch(GET, Tally(), tries=5)
    assert len(server.requests) == 1
    nothing_secret_in(caught.value, caplog)
    assert await bench.held() == 0


async def test_a_redirect_takes_no_token_anywhere(bench: Bench, server: Raw) -> None:
    async with Raw().listening() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            server.answers = [http(b"", status, f"Location: {elsewhere.url}/x")]
            with pytest.raises(Transient):
                await bench.api(server.url).fetch(GET, Tally(), tries=3)
            with pytest.raises(Transient):
                await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter)
        assert elsewhere.connections == 0


async def test_too_many_requests_wait_longer_each_time_and_end_after_a_few(bench: Bench, server: Raw) -> None:
    refusals: list[bytes | None] = [
        http(envelope(False, None, message=LIMIT), 429),
        http(envelope(False, None, message=LIMIT)),
        http(b"", 429, "Retry-After: 7"),
        http(envelope(False, None, message="Request limit exceeded. Try again in 9 seconds"), 200),
    ]
    server.answers = [*refusals, http()]
    tally = Tally()
    page = await bench.api(server.url).fetch(GET, tally, tries=1)
    assert len(page.rows) == 1
    assert tally == Tally(requests=5, retries=4, throttled=4)
    assert bench.limiter.waits == [2.0 * 1.5, 2.0 * 2, 7.0 * 2.5, 9.0 * 3]
    server.answers = refusals[:1]
    with pytest.raises(Throttled) as caught:
        await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert caught.value.wait_s == 2.0
    assert len(server.requests) - 5 <= 10
    assert await bench.held() == 0


# --- sizes and encodings ----------------------------------------------------------------------------------------------------


async def test_twenty_megabytes_are_read_gzipped_or_not_and_more_than_sixty_four_are_refused(bench: Bench, server: Raw) -> None:
    row = {"id": 1, "comment": "я" * 1000}
    big = envelope(data=[row] * 10_000)
    assert len(big) > 20_000_000
    for answer in (http(big), http(gzip.compress(big, 1), 200, "Content-Encoding: gzip")):
        server.answers = [answer]
        assert len((await bench.api(server.url).fetch(GET, Tally(), tries=1)).rows) == 10_000
    bomb = gzip.compress(b'{"success":true,"data":["' + b" " * (65 * 1024 * 1024) + b'"]}', 9)
    assert len(bomb) < 1_000_000
    server.answers = [http(bomb, 200, "Content-Encoding: gzip")]
    with pytest.raises(Transient):
        await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert await bench.held() == 0


# --- one lease, one request -------------------------------------------------------------------------------------------------


async def test_a_dead_kept_alive_connection_costs_exactly_one_request_a_lease(bench: Bench, server: Raw) -> None:
    api = bench.api(server.url)
    await api.fetch(GET, Tally(), tries=1)
    for _ in range(5):
        server.close_before = 1
        had, leases = len(server.requests), bench.limiter.granted
        with pytest.raises(Transient, match="cut off"):
            await api.fetch(GET, Tally(), tries=1)
        assert len(server.requests) - had == bench.limiter.granted - leases == 1
        await api.fetch(GET, Tally(), tries=2)
    assert len(server.requests) == bench.limiter.granted
    assert await bench.held() == 0


async def test_connections_are_kept_and_used_again(bench: Bench, server: Raw) -> None:
    for _ in range(5):
        await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert server.connections == 1


async def test_a_time_out_leaves_the_lease_for_the_request_may_still_arrive(database: Database) -> None:
    async with bench_of(database, timeout_s=0.2) as bench, Raw().listening() as server:
        server.answers = [None]
        with pytest.raises(Transient, match="no answer in time"):
            await bench.api(server.url).fetch(GET, Tally(), tries=1)
        assert await bench.held() == 1
        with pytest.raises(Transient, match="no answer in time"):
            await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter)
        assert await bench.held() == 2
        assert bench.limiter.fates == []


async def test_a_request_without_an_answer_gives_its_place_in_the_second_back(
    bench: Bench, server: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "RELAX_S", 0.05)
    server.answers = [None]
    task = asyncio.create_task(bench.api(server.url).fetch(GET, Tally(), tries=1))
    while not bench.limiter.fates:
        await asyncio.sleep(0.01)
    assert bench.limiter.fates == ["unanswered"]
    held = "select kind from yclients.limiter_slots where owner is not null"
    while [row["kind"] for row in await bench.database.fetch(held)] != [60]:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_answer_in_time_leaves_no_timer_behind(bench: Bench, server: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "RELAX_S", 0.2)
    await bench.api(server.url).fetch(GET, Tally(), tries=1)
    await asyncio.sleep(0.3)
    assert bench.limiter.fates == ["answered"]


async def test_a_lease_that_ended_before_the_request_could_leave_is_acquired_anew(bench: Bench, server: Raw) -> None:
    bench.limiter.late = (2,)  # the first look is the limiter's own, the second is made on the connection
    assert (await bench.api(server.url).fetch(GET, Tally(), tries=1)).total == 1
    assert bench.limiter.fates == ["unused", "answered"]
    assert (bench.limiter.granted, len(server.requests)) == (2, 1)
    assert server.connections == 1, "the connection was kept"


async def test_a_salon_that_hangs_gets_one_request_at_a_time_until_it_answers(database: Database) -> None:
    async with bench_of(database, timeout_s=0.3) as bench, Raw().listening() as server:
        server.answers = [None]
        api = bench.api(server.url)
        with pytest.raises(Transient):
            await api.fetch(GET, Tally(), tries=1)
        asked = len(server.requests)
        tasks = [asyncio.create_task(api.fetch(GET, Tally(), tries=1)) for _ in range(6)]
        while len(server.requests) == asked:
            await asyncio.sleep(0.01)
        assert len(server.requests) == asked + 1
        assert await bench.held() == 2, "the one that timed out, and the one under way"
        other = Request("clients", 4002, "/clients/4002")
        server.answers = [http()]
        assert (await api.fetch(other, Tally(), tries=1)).total == 1, "another salon does not wait"
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one).__name__ for one in done] == ["Transient", *["Page"] * 5]


async def test_a_time_out_counts_for_two_failures(database: Database) -> None:
    async with bench_of(database, timeout_s=0.2) as bench, Raw().listening() as server:
        server.answers = [None]
        tally = Tally()
        with pytest.raises(Transient, match="2 times in a row") as caught:
            await bench.api(server.url).fetch(GET, tally, tries=4)
        assert caught.value.heavy
        assert tally.requests == 2


async def test_an_answer_that_stops_half_way_times_out(database: Database) -> None:
    async with bench_of(database, timeout_s=0.3) as bench, Raw().listening() as server:
        server.answers = [http(OK, length=len(OK) + 10)]
        begun = own_clock()
        with pytest.raises(Transient, match="no answer in time"):
            await bench.api(server.url).fetch(GET, Tally(), tries=1)
        assert own_clock() - begun < 1.5
        assert await bench.held() == 0, "the server has begun to answer, so it has counted"


async def test_a_refused_connection_gives_the_lease_back(bench: Bench) -> None:
    async with Raw().listening() as gone:
        url = gone.url
    with pytest.raises(Transient, match="no connection"):
        await bench.api(url).fetch(GET, Tally(), tries=2)
    with pytest.raises(Transient, match="no connection"):
        await login(bench.session, url, PARTNER, "user", PASSWORD, bench.limiter)
    assert bench.limiter.fates == ["answered"] * 3
    assert await bench.held() == 0


@pytest.mark.parametrize("which", ["page", "login"])
async def test_a_cancelled_request_gives_the_lease_back_as_abandoned(bench: Bench, server: Raw, which: str) -> None:
    server.answers = [None]
    if which == "page":
        task: asyncio.Task[object] = asyncio.create_task(bench.api(server.url).fetch(GET, Tally(), tries=3))
    else:
        task = asyncio.create_task(login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter))
    while not server.requests:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.limiter.fates == ["abandoned"]
    assert await bench.held() == 0


# --- clocks -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_s", [-3600, 0, 3600])
async def test_the_watermark_is_the_earlier_of_the_two_clocks(bench: Bench, server: Raw, skew_s: int) -> None:
    said = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=skew_s)
    server.answers = [http(OK, 200, f"Date: {format_datetime(said, usegmt=True)}")]
    page = await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert page.server_time == said
    assert page.watermark == min(page.observed_at, said)


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Xyz 2025 99:99:99 GMT", "Thu, 09 Oct 2025 08:00:00 +999999999"])
async def test_a_date_that_is_none_is_no_date(bench: Bench, server: Raw, date: str) -> None:
    server.answers = [http(OK, 200, f"Date: {date}")]
    page: Page = await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert page.server_time is None
    assert page.watermark == page.observed_at
