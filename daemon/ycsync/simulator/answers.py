"""How does YCLIENTS wrap data, and refuse a request? (How answers break is in faults.py.)

Texts and forms are those of yclients-api §1 and §2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from .salon import encode

Break = Literal["", "cut", "hang", "reset"]

NO_HEADER = "Не указаны авторизационные данные"
BAD_PARTNER = "Не указан идентификатор партнера"
BAD_PARTNER_ENGLISH = "Partner ID not specified"
BAD_USER = "Необходима авторизация"
NO_RIGHTS = "Недостаточно прав"
NOT_MANAGED = "Нет прав на управление филиалом"
NO_COMPANY = "Филиал не найден."
NOT_FOUND = "Не найдено"
GONE = "Метод больше не поддерживается"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes over the wire. `kind` is what the report counts; `rows` is the number of rows."""

    status: int
    body: bytes
    kind: str = ""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    rows: int = 0
    breaks: Break = ""


def listing(rows: Iterable[bytes], meta: Any) -> Answer:
    """Rows that are encoded already, in the envelope."""
    many = list(rows)
    body = b'{"success":true,"data":[' + b",".join(many) + b'],"meta":' + encode(meta) + b"}"
    return Answer(200, body, rows=len(many))


def single(data: Any, meta: Any = None, *, status: int = 200) -> Answer:
    """One object in the envelope; an empty meta is []."""
    return Answer(status, encode({"success": True, "data": data, "meta": [] if meta is None else meta}))


def refusal(status: int, message: str, *, errors: Any = None, errors_form: bool = False) -> Answer:
    """A refusal. `errors_form`: the envelope {errors:{message},meta:{message}} that some endpoints use."""
    meta: dict[str, Any] = {"message": message}
    if errors is not None:
        meta["errors"] = errors
    if errors_form:
        return Answer(status, encode({"errors": {"message": message}, "meta": meta}))
    return Answer(status, encode({"success": False, "data": None, "meta": meta}))


def licence(company_id: int, *, search: bool) -> Answer:
    """The salon's licence lapsed: 402 on clients/search, 403 elsewhere."""
    return refusal(402 if search else 403, f"Необходимо продлить лицензию в филиале с id: {company_id}")


def throttled(seconds: int, *, as_200: bool = False, retry_after: int | None = None) -> Answer:
    """The limit was exceeded."""
    message = f"Превышен лимит запросов, попробуйте повторить запрос через {seconds} секунд."
    body = refusal(429, message).body
    headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
    if as_200:
        return Answer(200, body, kind="429-in-200", headers=headers)
    return Answer(429, body, headers=headers)
