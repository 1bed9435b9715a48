"""Does every kind of answer get the right outcome, wait and advice?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ycsync.api.client import backoff_s
from ycsync.api.outcome import FLOOR_S, Kind, classify, denial, refusal, wait_after
from ycsync.config import STREAMS
from ycsync.model.rights import RIGHTS, lacking
from ycsync.ratelimit import RateHeaders

LIMIT = "Превышен лимит запросов, попробуйте повторить запрос через {} секунд."
LICENCE = "Необходимо продлить лицензию в филиале с id: 4001"
NOW = datetime(2025, 10, 9, 8, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "message", "success", "kind"),
    [
        (200, None, True, "ok"),
        (201, None, True, "ok"),
        (202, None, True, "ok"),
        # the API says no, in a 200
        (200, "Произошла ошибка", False, "transient"),
        (200, None, False, "transient"),
        (200, LICENCE, False, "denied"),
        (200, "Не указан идентификатор партнера", False, "denied"),
        (200, "Необходима авторизация", False, "denied"),
        (200, "Нет прав на управление филиалом", False, "denied"),
        (200, "Не найдено", False, "missing"),
        (200, "Филиал не найден.", False, "missing"),
        # a body that is not the API's
        (200, None, None, "transient"),
        (204, None, None, "transient"),
        # the limit, by status or by text, whatever else there is
        (429, None, None, "throttled"),
        (429, LIMIT.format(0), False, "throttled"),
        (200, LIMIT.format(7), False, "throttled"),
        (403, LIMIT.format(7), False, "throttled"),
        (503, "Too Many Requests", False, "throttled"),
        (200, "The limit of requests exceeded, try again in 3 seconds.", False, "throttled"),
        (200, "Request limit exceeded. Please repeat the request in 3 seconds", False, "throttled"),
        (200, "Rate limit reached", False, "throttled"),
        # redirects are not followed; a proxy that sends one today need not tomorrow
        (301, None, None, "transient"),
        (302, None, None, "transient"),
        (307, None, None, "transient"),
        (308, None, None, "transient"),
        (400, "Ошибка", False, "rejected"),
        (401, "Необходима авторизация", False, "denied"),
        (401, None, None, "denied"),
        (402, LICENCE, False, "denied"),
        (403, "Недостаточно прав", False, "denied"),
        (403, LICENCE, False, "denied"),
        (404, "Не найдено", False, "missing"),
        (404, None, None, "transient"),
        (405, None, None, "missing"),
        (406, None, None, "rejected"),
        (408, None, None, "transient"),
        (409, "Конфликт", False, "rejected"),
        (410, None, None, "missing"),
        (413, None, None, "transient"),
        (414, None, None, "rejected"),
        (418, None, None, "rejected"),
        (422, "Ошибка", False, "rejected"),
        (425, None, None, "transient"),
        (451, None, None, "rejected"),
        *[(status, None, None, "transient") for status in (500, 501, 502, 503, 504, 507, 520, 522, 524, 530, 599)],
    ],
)
def test_the_outcome_of_every_status(status: int, message: str | None, success: bool | None, kind: Kind) -> None:
    outcome = classify(status, message, success, None)
    assert outcome.kind == kind
    assert (outcome.wait_s >= FLOOR_S) == (kind == "throttled")


def test_a_message_about_a_limit_does_not_spoil_an_answer_that_came() -> None:
    assert classify(200, "Rate limit: 12 of 200 used", True, None).kind == "ok"


def test_a_reason_never_quotes_the_message() -> None:
    for status in (200, 400, 403, 404, 422, 429, 500):
        for success in (True, False, None):
            assert "Ольга" not in classify(status, "Клиент Ольга +79990000011 не найден", success, None).reason
            assert "Ольга" not in denial(status, "Клиент Ольга +79990000011 не найден")


@pytest.mark.parametrize(
    ("message", "retry_after", "seconds"),
    [
        ("", None, FLOOR_S),
        (LIMIT.format(0), None, FLOOR_S),
        (LIMIT.format(1), "0", FLOOR_S),
        (LIMIT.format(17), None, 17.0),
        (LIMIT.format(17), "30", 30.0),
        (LIMIT.format(41), "30", 41.0),
        ("try again in 12 seconds", None, 12.0),
        ("", "5", 5.0),
        ("", " 5 ", 5.0),
        ("", "4.5", 4.5),
        ("", "Thu, 09 Oct 2025 08:00:20 GMT", 20.0),
        ("", "Thu, 09 Oct 2025 07:59:00 GMT", FLOOR_S),
        ("", "-7", FLOOR_S),
        ("", "soon", FLOOR_S),
        ("", "nan", FLOOR_S),
        ("", "inf", FLOOR_S),
        ("", "", FLOOR_S),
        ("", "99999999999", 3600.0),
        (LIMIT.format("9" * 400), "9" * 400, 3600.0),
    ],
)
def test_the_wait_is_the_longest_that_was_asked_for(message: str, retry_after: str | None, seconds: float) -> None:
    assert wait_after(message, retry_after, NOW) == seconds


@given(st.text(), st.none() | st.text())
def test_no_text_breaks_the_wait(message: str, retry_after: str | None) -> None:
    assert FLOOR_S <= wait_after(message, retry_after, NOW) <= 3600.0


@pytest.mark.parametrize(
    ("status", "message", "remedy"),
    [
        (401, "Partner ID not specified", "YCLIENTS_PARTNER_TOKEN"),
        (401, "Не указан идентификатор партнера", "YCLIENTS_PARTNER_TOKEN"),
        (401, "Не указан идентификатор партнёра", "YCLIENTS_PARTNER_TOKEN"),
        (200, "Не указан идентификатор партнера", "YCLIENTS_PARTNER_TOKEN"),
        (401, "Не указаны авторизационные данные", "Authorization header"),
        (200, "Необходима авторизация", "YCLIENTS_USER_TOKEN"),
        (401, "Необходима авторизация", "YCLIENTS_USER_TOKEN"),
        (401, None, "YCLIENTS_USER_TOKEN"),
        (402, None, "Renew"),
        (403, LICENCE, "Renew"),
        (200, LICENCE, "Renew"),
        (403, "Недостаточно прав", "access to the salon"),
        (403, "Нет прав на управление филиалом", "access to the salon"),
    ],
)
def test_a_refusal_names_its_remedy(status: int, message: str | None, remedy: str) -> None:
    assert remedy in denial(status, message)


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("staff", "no right to read staff (HTTP 403). Ask the salon's owner to give the API user the right «Сотрудники»"),
        ("clients", "«Клиентская база»"),
        ("clients_by_id", "«Клиентская база»"),
        ("records", "«Журнал записи»"),
        ("transactions", "«Финансы»"),
        ("hooks_settings", "no right to ask for this"),
    ],
)
def test_a_right_that_lacks_is_named_with_whom_to_ask(endpoint: str, says: str) -> None:
    assert says in lacking(endpoint)


def test_every_stream_has_a_right_that_can_be_named() -> None:
    assert {*STREAMS} - {"companies"} <= RIGHTS.keys()


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (401, "Не указан идентификатор партнера", "partner"),
        (401, "Не указаны авторизационные данные", "header"),
        (401, "Необходима авторизация", "user"),
        (401, None, "user"),
        (402, None, "licence"),
        (403, LICENCE, "licence"),
        (403, "Нет прав на управление филиалом", "salon"),
        (403, "You have no permission to manage the location", "salon"),
        (403, "Недостаточно прав", "right"),
        (403, None, "right"),
    ],
)
def test_a_refusal_is_about_one_thing(status: int, message: str | None, kind: str) -> None:
    assert refusal(status, message) == kind


def test_a_token_that_is_not_accepted_names_the_restart_that_a_new_one_needs() -> None:
    for message in ("Partner ID not specified", "Необходима авторизация"):
        assert denial(401, message).endswith("`systemctl restart ycsync`.")


def test_retries_wait_longer_each_time_with_jitter_and_a_ceiling() -> None:
    assert [backoff_s(n, lambda: 1.0) for n in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert [backoff_s(n, lambda: 0.0) for n in (1, 2, 3, 4)] == [0.25, 0.5, 1.0, 2.0]
    assert backoff_s(60, lambda: 1.0) == 30.0
    assert backoff_s(5000, lambda: 1.0) == 30.0


@pytest.mark.parametrize(
    ("retry_after", "rate", "wait_s"),
    [
        (None, RateHeaders(200, 0, 37.0), 37.0),
        ("50", RateHeaders(200, 0, 37.0), 50.0),
        (None, RateHeaders(200, None, 37.0), 37.0),
        (None, RateHeaders(None, None, 0.5), FLOOR_S),
        (None, RateHeaders(200, 0, 3600.0), FLOOR_S),
        (None, RateHeaders(200, 0, 1e9), FLOOR_S),
        # too many in a second: the minute is not used up
        (None, RateHeaders(200, 120, 37.0), FLOOR_S),
        (None, RateHeaders(), FLOOR_S),
    ],
)
def test_too_many_requests_wait_until_the_limit_begins_anew(retry_after: str | None, rate: RateHeaders, wait_s: float) -> None:
    assert classify(429, LIMIT.format(0), False, retry_after, NOW, rate).wait_s == wait_s
