"""How is a user token got, and got anew?"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

from support.bench import GET, LIMIT, PARTNER, PASSWORD, USER, Bench, Raw, envelope, http, nothing_secret_in
from ycsync.api import Api, Tally, UserToken, login
from ycsync.api.signin import REFUSED_S
from ycsync.errors import AccessDenied, Throttled, Transient, YcsyncError

# --- signing in -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (http(envelope(False, None, message="Неверный пароль"), 401), AccessDenied, "YCLIENTS_PASSWORD"),
        (http(envelope(False, None, message="Неверный логин или пароль")), AccessDenied, "YCLIENTS_PASSWORD"),
        (http(envelope(False, None, message="Не найдено")), AccessDenied, "YCLIENTS_PASSWORD"),
        (http(envelope(False, None, message="Не указан идентификатор партнера"), 401), AccessDenied, "YCLIENTS_PARTNER_TOKEN"),
        (http(envelope(data={"uuid": "1", "flow": "sms"})), AccessDenied, "two-factor"),
        (http(b"<html>", 502), Transient, "502"),
        (http(envelope(False, None, message=LIMIT), 429), Throttled, "too many requests"),
        (http(envelope(False, None, message=LIMIT)), Throttled, "too many requests"),
        (http(b"", 200), Transient, "200"),
    ],
)
async def test_a_failed_sign_in_says_why(
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
        await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter)
    nothing_secret_in(caught.value, caplog)
    assert bool(bench.limiter.waits) == (error is Throttled)
    assert len(server.requests) == 1
    assert await bench.held() == 0


async def test_a_sign_in_gives_the_token(bench: Bench, server: Raw) -> None:
    server.answers = [http(envelope(data={"id": 1, "user_token": USER}), 201)]
    assert await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter) == USER
    assert await bench.held() == 0


async def test_a_sign_in_is_counted_like_any_request(bench: Bench, server: Raw) -> None:
    server.answers = [http(envelope(data={"id": 1, "user_token": USER}), 201), http(b"<html>", 502)]
    await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter, observe=bench.attempts.append)
    with pytest.raises(Transient):
        await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter, observe=bench.attempts.append)
    assert [(one.endpoint, one.outcome, one.status) for one in bench.attempts] == [
        ("auth", "ok", 201),
        ("auth", "transient", 502),
    ]


def signing_in(bench: Bench, url: str, *, token: str | None = None, clock: list[float] | None = None) -> Api:
    """A client that has a login and a password, and perhaps a token already."""
    times = clock or [0.0]
    user = UserToken(
        bench.session, url, PARTNER, bench.limiter, token=token, login="user", password=PASSWORD, clock=lambda: times[0]
    )
    return Api(bench.session, url, PARTNER, user, bench.limiter, observe=bench.attempts.append)


SIGNED_IN = http(envelope(data={"id": 1, "user_token": "anew"}), 201)
NOT_ACCEPTED = http(envelope(False, None, message="Необходима авторизация"), 401)


@pytest.mark.parametrize(
    ("host", "accept"),
    [
        ("api.alteg.io", "application/vnd.api.v2+json"),
        ("app.alteg.io", "application/vnd.api.v2+json"),
        ("Alteg.io", "application/vnd.api.v2+json"),
        ("api.yclients.com", "application/vnd.yclients.v2+json"),
        ("notalteg.io", "application/vnd.yclients.v2+json"),
        ("alteg.io.example", "application/vnd.yclients.v2+json"),
        ("localhost", "application/vnd.yclients.v2+json"),
    ],
)
async def test_every_request_asks_for_the_media_type_of_its_host(
    bench: Bench, server: Raw, monkeypatch: pytest.MonkeyPatch, host: str, accept: str
) -> None:
    real = socket.getaddrinfo

    def here(_: object, *args: Any, **options: Any) -> Any:
        return real("127.0.0.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    server.answers = [SIGNED_IN, http()]
    await signing_in(bench, server.url.replace("localhost", host)).fetch(GET, Tally(), tries=1)
    heads = [head.decode() for _, head in server.requests]
    assert [head.split(" ")[1].split("?")[0] for head in heads] == ["/api/v1/auth", "/api/v1/clients/4001"]
    assert all(f"Accept: {accept}\r\n" in head for head in heads)


async def test_the_first_requests_sign_in_once_for_all(bench: Bench, server: Raw) -> None:
    server.answers = [SIGNED_IN, http()]
    api = signing_in(bench, server.url)
    await asyncio.gather(*(api.fetch(GET, Tally(), tries=1) for _ in range(4)))
    heads = [head.decode() for _, head in server.requests]
    assert [head.split(" ")[0] for head in heads] == ["POST", "GET", "GET", "GET", "GET"]
    assert all("User anew" in head for head in heads[1:])


async def test_a_token_that_is_refused_is_got_anew_once_and_the_request_goes_on(bench: Bench, server: Raw) -> None:
    server.answers = [NOT_ACCEPTED, SIGNED_IN, http()]
    tally = Tally()
    page = await signing_in(bench, server.url, token="old").fetch(GET, tally, tries=1)
    assert len(page.rows) == 1
    assert [b"User old" in head for _, head in server.requests] == [True, False, False]
    assert tally == Tally(requests=2, retries=1, errors=1)
    server.answers = [NOT_ACCEPTED, SIGNED_IN, NOT_ACCEPTED]
    with pytest.raises(AccessDenied, match="user token is not accepted"):
        await signing_in(bench, server.url, token="old").fetch(GET, Tally(), tries=5)


async def test_a_refused_token_without_a_login_is_final(bench: Bench, server: Raw) -> None:
    server.answers = [NOT_ACCEPTED]
    with pytest.raises(AccessDenied):
        await bench.api(server.url).fetch(GET, Tally(), tries=5)
    assert len(server.requests) == 1


async def test_a_refused_login_is_not_tried_again_at_once(bench: Bench, server: Raw) -> None:
    server.answers = [http(envelope(False, None, message="Неверный пароль"), 401)]
    clock = [0.0]
    api = signing_in(bench, server.url, clock=clock)
    for _ in range(5):
        with pytest.raises(AccessDenied, match="YCLIENTS_PASSWORD"):
            await api.fetch(GET, Tally(), tries=1)
    assert len(server.requests) == 1
    clock[0] = REFUSED_S + 1
    server.answers = [SIGNED_IN, http()]
    assert (await api.fetch(GET, Tally(), tries=1)).total == 1


async def test_a_salon_that_refuses_the_common_token_does_not_sign_it_out(bench: Bench, server: Raw) -> None:
    """The sign-in gives the same token again, or fails: the others go on with it, and no more sign-ins follow."""
    same = http(envelope(data={"id": 1, "user_token": "old"}), 201)
    clock = [0.0]
    api = signing_in(bench, server.url, token="old", clock=clock)
    server.answers = [NOT_ACCEPTED, same, NOT_ACCEPTED, http()]
    for _ in range(2):
        with pytest.raises(AccessDenied, match="user token is not accepted"):
            await api.fetch(GET, Tally(), tries=1)
    assert (await api.fetch(GET, Tally(), tries=1)).total == 1
    assert [head.split(b" ")[0] for _, head in server.requests] == [b"GET", b"POST", b"GET", b"GET"]
    server.requests.clear()
    clock[0] = REFUSED_S + 1
    server.answers = [NOT_ACCEPTED, http(b"<html>", 502), http()]
    with pytest.raises(Transient):
        await api.fetch(GET, Tally(), tries=1)
    assert (await api.fetch(GET, Tally(), tries=1)).total == 1
    assert b"User old" in server.requests[-1][1]
