"""What does an HTTP answer mean: take it, ask again, slow down, stop this salon, or give up?

One table for all endpoints (YCLIENTS API, "Limits" and "Authorization and envelope"). The limit is told by its status
or by its text, since the same body was seen with HTTP 200.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from ycsync.limiter import LONGEST_BLOCK_S
from ycsync.ratelimit import LONGEST_RESET_S, RateHeaders

Kind = Literal["ok", "throttled", "transient", "denied", "missing", "rejected"]
Refusal = Literal["partner", "header", "user", "licence", "salon", "right"]

FLOOR_S = 2.0  # the least wait after a 429: its N is often 0, which misleads
_LIMIT_TEXT = re.compile(r"лимит запросов|limit (?:of requests )?exceeded|rate limit|too many requests|request limit", re.I)
_SECONDS = re.compile(r"(\d+)\s*(?:секунд|second)", re.I)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_RIGHTS = re.compile(r"недостаточно прав|access denied|not enough rights", re.I)
_SALON = re.compile(r"нет прав на управление|(?:rights?|allowed|permission) to manage", re.I)
_LICENCE = re.compile(r"продлить лицензию|licen[cs]e", re.I)
# The texts follow Accept-Language: each is known in Russian and in English.
_PARTNER = re.compile(r"партн[её]р|partner", re.I)
_PARTNER_ID = re.compile(r"идентификатор\w* партн[её]ра|partner (?:id|token)", re.I)
_HEADER = re.compile(r"не указан\w* авторизационн\w+ данн|authorization data", re.I)
_USER = re.compile(r"необходима авторизация|authorization (?:is )?required|unauthorized", re.I)
_NONE = re.compile(r"не найден|not found", re.I)

_BY_STATUS: dict[int, Kind] = {
    400: "rejected",
    401: "denied",
    402: "denied",
    403: "denied",
    404: "missing",
    405: "missing",
    408: "transient",
    410: "missing",
    413: "transient",
    422: "rejected",
    425: "transient",
    429: "throttled",
}
_ONLY_IN_AN_ENVELOPE = (402, 403, 404)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`wait_s`: for "throttled", how long to send nothing. `reason`: for people, without personal data.

    `heavy`: for "transient", it may be the answer's size that was too much.
    """

    kind: Kind
    reason: str
    wait_s: float = 0.0
    heavy: bool = False


def classify(
    status: int,
    message: str | None,
    success: bool | None,
    retry_after: str | None,
    now: datetime | None = None,
    rate: RateHeaders | None = None,
) -> Outcome:
    """The outcome of one answer. `success` None: the body could not be read as the API's envelope.

    `now`: the server's clock, for a Retry-After that names a time. `rate`: what the headers say of the limit.
    """
    text = message or ""
    if status == 429 or (not success and _LIMIT_TEXT.search(text)):
        return Outcome("throttled", f"HTTP {status}, limit of requests", wait_after(text, retry_after, now, rate))
    if 200 <= status < 300:
        if success is None:
            return Outcome("transient", f"HTTP {status} with a body that is not the API's", heavy=True)
        if success:
            return Outcome("ok", f"HTTP {status}")
        if any(words.search(text) for words in (_LICENCE, _SALON, _RIGHTS, _PARTNER_ID, _HEADER, _USER)):
            return Outcome("denied", f"HTTP {status}, access is refused")
        if _NONE.search(text):
            return Outcome("missing", f"HTTP {status} with success: false")
        return Outcome("transient", f"HTTP {status} with success: false")
    kind = _BY_STATUS.get(status, "transient" if status >= 500 or 300 <= status < 400 else "rejected")
    if success is None and status in _ONLY_IN_AN_ENVELOPE:
        # The proxy's own page, not the API's answer: nothing is known to be missing, or forbidden.
        return Outcome("transient", f"HTTP {status} with a body that is not the API's")
    return Outcome(kind, f"HTTP {status}", heavy=status in (413, 504))


def wait_after(message: str, retry_after: str | None, now: datetime | None = None, rate: RateHeaders | None = None) -> float:
    """Return the seconds to wait after "too many requests": max(Retry-After, N, floor, Reset), at most LONGEST_BLOCK_S.

    A Reset of more than LONGEST_RESET_S is not that of a minute, and not believed.
    """
    waits = [FLOOR_S, _seconds(retry_after, now)]
    if rate is not None and rate.reset_s is not None and rate.reset_s <= LONGEST_RESET_S and not rate.remaining:
        # Where requests remain in the minute it was too many in a second: the floor cures that.
        waits.append(rate.reset_s)
    if found := _SECONDS.search(message):
        waits.append(float(found[1]))
    return min(max(waits), LONGEST_BLOCK_S)


def _seconds(retry_after: str | None, now: datetime | None) -> float:
    """Retry-After is a number of seconds, or a date; 0 when it is neither."""
    if retry_after is None:
        return 0.0
    text = retry_after.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    until = http_date(text)
    return 0.0 if until is None or now is None else (until - now).total_seconds()


def http_date(text: str | None) -> datetime | None:
    """The instant that a Date or Retry-After header names; None when it names none."""
    if text is None:
        return None
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):  # as odd as the text may be
        return None


def refusal(status: int, message: str | None) -> Refusal:
    """What a refusal of access is about: a token, the licence, the salon, or the right to one endpoint."""
    text = message or ""
    if status == 402 or _LICENCE.search(text):
        return "licence"
    if status == 401 or status < 400:  # a refusal inside of a 200 is told by its words alone
        if _PARTNER.search(text):
            return "partner"
        if _HEADER.search(text):
            return "header"
        if status == 401 or _USER.search(text):
            return "user"
    return "salon" if _SALON.search(text) else "right"


STATUS: dict[Refusal, int] = {"partner": 401, "header": 401, "user": 401, "licence": 402, "salon": 403, "right": 403}
"""The status that goes with a refusal whose answer said 200."""


def denial(status: int, message: str | None, owned: str | None = None) -> str:
    """What a refusal of the salon itself, or of a token, means, and what to do.

    `owned`: where the salon's own user token stands, if it has one.
    """
    kind = refusal(status, message)
    if kind == "licence":
        return "the salon's YCLIENTS licence has lapsed. Renew it in YCLIENTS; ycsync tries again by itself."
    if kind == "partner":
        return (
            "the partner token is not accepted. Write the right one into credentials/yclients_partner_token beside "
            "config.yaml (or set YCLIENTS_PARTNER_TOKEN), then `systemctl restart ycsync`."
        )
    if kind == "header":
        return (
            "YCLIENTS received no tokens. Look for a proxy that removes the Authorization header on the way to "
            "`yclients.base_url`; ycsync tries again by itself."
        )
    if kind == "user" and owned is not None:
        return (
            f"the salon's own user token is not accepted (it changes with the user's password). Correct {owned}, "
            "then `systemctl restart ycsync`."
        )
    if kind == "user":
        return (
            "the user token is not accepted (it changes with the user's password). "
            "Write the new one into credentials/yclients_user_token beside config.yaml (or set YCLIENTS_USER_TOKEN), "
            "then `systemctl restart ycsync`."
        )
    return (
        "the user of the token has no rights here. Give that user access to the salon and its client base in YCLIENTS; "
        "ycsync tries again by itself."
    )
