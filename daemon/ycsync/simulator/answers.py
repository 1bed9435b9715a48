"""How does YCLIENTS wrap data, refuse a request, and break an answer?

Texts and forms are those of yclients-api §1 and §2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from .salon import encode

Break = Literal["", "cut", "hang", "reset"]

NO_HEADER = "Не указаны авторизационные данные"
BAD_PARTNER = "Partner ID not specified"
BAD_USER = "Необходима авторизация"
NO_RIGHTS = "Недостаточно прав"
NOT_MANAGED = "Нет прав на управление филиалом"
NO_COMPANY = "Филиал не найден."
NOT_FOUND = "Не найдено"
GONE = "Метод больше не поддерживается"
_HTML = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>502 Bad Gateway</body>\r\n</html>\r\n"


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


def broken(kind: str, company_id: int) -> Answer | None:
    """The answer of a fault that needs no data; None for a fault that spoils a real answer (see spoil)."""
    match kind:
        case "429":
            return throttled(1)
        case "429-n0":
            return throttled(0)
        case "429-retry-after":
            return throttled(0, retry_after=2)
        case "429-in-200":
            return throttled(1, as_200=True)
        case "success-false-200":
            return Answer(200, refusal(200, "Произошла ошибка").body, kind=kind)
        case "html-502":
            return Answer(502, _HTML.encode(), content_type="text/html")
        case "500":
            return refusal(500, "Внутренняя ошибка сервера")
        case "empty":
            return Answer(200, b"", kind=kind)
        case "hang":
            return Answer(0, b"", kind=kind, breaks="hang")
        case "reset":
            return Answer(0, b"", kind=kind, breaks="reset")
        case "401":
            return refusal(401, BAD_USER)
        case "403":
            return refusal(403, NO_RIGHTS)
        case "402-licence":
            return licence(company_id, search=True)
        case "403-licence":
            return licence(company_id, search=False)
        case "404":
            return refusal(404, NOT_FOUND)
        case "410":
            return refusal(410, GONE)
    return None


def spoil(kind: str, answer: Answer) -> Answer | None:
    """A real answer, broken. None if there is nothing in it to break: the fault waits for the next one.

    duplicate-ids: the first row comes twice and pushes the last one off the page.
    lying-total: total_count is 7 too many.
    wrong-types, nul, zero-date, huge-number: the first row has fields of another type, a NUL in its
    comment, a date 0000-00-00 00:00:00, numbers that no column holds.
    """
    if kind == "cut":
        return Answer(answer.status, answer.body, kind=kind, breaks="cut")
    if kind == "truncated":
        return Answer(answer.status, answer.body[: max(len(answer.body) * 2 // 3, 1)], kind=kind)
    if answer.status != 200 or not answer.rows:
        return None
    envelope = json.loads(answer.body)
    data, meta = envelope["data"], envelope["meta"]
    first = data[0]
    match kind:
        case "duplicate-ids":
            data.insert(1, first)
            if len(data) > 2:
                data.pop()
        case "lying-total":
            if not isinstance(meta, dict) or "total_count" not in meta:
                return None
            meta["total_count"] += 7
        case "wrong-types":
            wrong = {"name": ["x"], "services": "none", "staff": 17, "date": 12.5, "title": None}
            first.update(wrong, id={"value": first.get("id")})
        case "nul":
            first["comment"] = "before\u0000after"
        case "zero-date":
            key = "date" if "date" in first else "birth_date"
            first[key] = "0000-00-00 00:00:00"
        case "huge-number":
            huge = 10**400
            if first.get("services"):
                first["services"][0]["cost"] = huge
                first["services"][0]["cost_to_pay"] = huge
            first.update({"seance_length": huge} if "services" in first else {"spent": huge, "visits": huge})
    return Answer(200, encode(envelope), kind=kind, rows=len(data))
