"""In which ways does an answer of the simulated YCLIENTS go wrong?

Three kinds: an answer that never was one (`broken`), an answer that says something else than the salon's data (also
`broken`), and a real answer that was spoiled on its way (`spoil`). yclients-api §1, §2 and §5 name most of them; the rest
is what proxies do.
"""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import replace
from email.utils import formatdate
from typing import Any

from . import answers
from .answers import Answer, licence, refusal, throttled
from .salon import encode

_HTML = "<html>\r\n<head><title>{0}</title></head>\r\n<body>{0}</body>\r\n</html>\r\n"
# JSON that is no envelope, or an envelope that says nothing that can be believed.
SHAPES: dict[str, bytes] = {
    "json-list": b'[{"id":1},{"id":2}]',
    "json-number": b"42",
    "json-string": b'"ok"',
    "json-null": b"null",
    "json-empty": b"{}",
    "data-absent": b'{"success":true,"meta":[]}',
    "data-null": b'{"success":true,"data":null,"meta":[]}',
    "data-number": b'{"success":true,"data":7,"meta":[]}',
    "data-string": b'{"success":true,"data":"ok","meta":[]}',
    "data-true": b'{"success":true,"data":true,"meta":[]}',
    "data-object": b'{"success":true,"data":{"status":"ok"},"meta":[]}',
}
_PAGES = {"html-502": (502, "502 Bad Gateway"), "html-503": (503, "503 Service Temporarily Unavailable"),
          "html-504": (504, "504 Gateway Time-out"), "html-403": (403, "403 Forbidden"), "html-404": (404, "404 Not Found"),
          "html-200": (200, "Checking your browser")}  # fmt: skip
_TOTALS: dict[str, Any] = {
    "total-zero": 0,
    "total-null": None,
    "total-text": "many",
    "total-negative": -5,
    "total-huge": 10**30,
}


def broken(kind: str, company_id: int) -> Answer | None:
    """The answer of a fault that needs no data; None for a fault that spoils a real answer (see spoil)."""
    if kind in SHAPES:
        return Answer(200, SHAPES[kind], kind=kind)
    if kind in _PAGES:
        status, title = _PAGES[kind]
        body = _HTML.format(title).encode()
        # A 502 counts as "502", as it always did; the others would hide behind the status of a real answer.
        return Answer(status, body, kind="" if status >= 500 else kind, content_type="text/html")
    match kind:
        case "429":
            return throttled(1)
        case "429-n0":
            return throttled(0)
        case "429-retry-after":
            return throttled(0, retry_after=2)
        case "429-date":
            answer = throttled(0)
            return replace(answer, headers=(("Retry-After", formatdate(time.time() + 3, usegmt=True)),))
        case "429-html":
            return Answer(429, _HTML.format("429 Too Many Requests").encode(), content_type="text/html")
        case "429-english":
            return refusal(429, "The limit of requests is exceeded, try again in 1 seconds.")
        case "429-in-200":
            return throttled(1, as_200=True)
        case "success-false-200":
            return Answer(200, refusal(200, "Произошла ошибка").body, kind=kind)
        case "500":
            return refusal(500, "Внутренняя ошибка сервера")
        case "503":
            return refusal(503, "Сервис временно недоступен")
        case "empty-502":
            return Answer(502, b"")
        case "empty":
            return Answer(200, b"", kind=kind)
        case "204":
            return Answer(204, b"")
        case "302":
            return Answer(302, b"", headers=(("Location", "/api/v1/elsewhere"),))
        case "bad-gzip":
            return Answer(200, b"\x1f\x8b\x08\x00no gzip at all", kind=kind, headers=(("Content-Encoding", "gzip"),))
        case "hang":
            return Answer(0, b"", kind=kind, breaks="hang")
        case "reset":
            return Answer(0, b"", kind=kind, breaks="reset")
        case "400":
            return refusal(400, "Произошла ошибка", errors={"filters": ["Неизвестный фильтр"]})
        case "422":
            return refusal(422, "Произошла ошибка", errors={"count": ["count: неверное значение"]})
        case "401":
            return refusal(401, answers.BAD_USER)
        case "401-partner":
            return refusal(401, answers.BAD_PARTNER)
        case "401-partner-english":
            return refusal(401, answers.BAD_PARTNER_ENGLISH)
        case "403":
            return refusal(403, answers.NO_RIGHTS)
        case "402-licence":
            return licence(company_id, search=True)
        case "403-licence":
            return licence(company_id, search=False)
        case "404":
            return refusal(404, answers.NOT_FOUND)
        case "410":
            return refusal(410, answers.GONE)
    return None


def spoil(kind: str, answer: Answer) -> Answer | None:
    """A real answer, broken. None if there is nothing in it to break: the fault waits for the next one.

    cut, truncated: the connection ends early; the body does. cut-gzip: the compressed body does.
    cp1251, utf-16, bom: the text is encoded in another way than JSON is.
    meta-absent, meta-list: the meta is not there, or is []; total-…: its count is wrong.
    rows-lost: data is [], the meta is the real one.
    duplicate-ids: the first row comes twice and pushes the last one off the page.
    all-twice: every row comes twice. lying-total: total_count is 7 too many; total-fewer: 7 too few.
    wrong-types, nul, zero-date, huge-number: the first row has fields of another type, a NUL in its
    comment, a date 0000-00-00 00:00:00, numbers that no column holds. not-objects: rows that are none come too.
    """
    if kind == "cut":
        return Answer(answer.status, answer.body, kind=kind, breaks="cut")
    if kind == "truncated":
        return Answer(answer.status, answer.body[: max(len(answer.body) * 2 // 3, 1)], kind=kind)
    if kind == "cut-gzip":
        whole = gzip.compress(answer.body, 1, mtime=0)
        return replace(answer, body=whole[: len(whole) // 2], kind=kind, headers=(("Content-Encoding", "gzip"),))
    if answer.status != 200 or not answer.rows:
        return None
    if kind == "bom":
        return replace(answer, body=b"\xef\xbb\xbf" + answer.body, kind=kind)
    if kind in ("cp1251", "utf-16"):
        # The header goes on saying UTF-8, as headers do.
        return replace(answer, body=answer.body.decode("utf-8", "replace").encode(kind, "replace"), kind=kind)
    envelope = json.loads(answer.body)
    if not _spoil_meta(kind, envelope) and not _spoil_rows(kind, envelope["data"]):
        return None
    return Answer(200, encode(envelope), kind=kind, rows=len(envelope["data"]))


def _spoil_meta(kind: str, envelope: dict[str, Any]) -> bool:
    """The envelope is changed in place; False: this fault is another one, or there is nothing to break."""
    if kind == "meta-absent":
        del envelope["meta"]
        return True
    if kind == "meta-list":
        envelope["meta"] = []
        return True
    meta = envelope["meta"]
    counted = isinstance(meta, dict) and "total_count" in meta
    if kind == "rows-lost" and counted:
        envelope["data"] = []
        return True
    if not counted:
        return False
    if kind == "lying-total":
        meta["total_count"] += 7
    elif kind == "total-fewer":
        meta["total_count"] = max(meta["total_count"] - 7, 0)
    elif kind in _TOTALS:
        meta["total_count"] = _TOTALS[kind]
    else:
        return False
    return True


def _spoil_rows(kind: str, data: list[Any]) -> bool:
    """The rows are changed in place; False: this fault is another one."""
    first = data[0]
    match kind:
        case "duplicate-ids":
            data.insert(1, first)
            if len(data) > 2:
                data.pop()
        case "all-twice":
            data += list(data)
        case "not-objects":
            data += [None, 5, "row", [], {}]
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
        case _:
            return False
    return True
