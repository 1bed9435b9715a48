"""What does POST /company/{c}/clients/visits/search answer for one client?

Records and goods sales of the client, newest first. A page holds 25 of them, and more when the last ones
share a date. `meta.dateCursor.next` names the days of the next page; nulls in it end the list.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from . import catalogue, rows
from .rows import DAY, Payload, RecordRow
from .salon import Salon

_PAGE = 25
_NOTHING: Payload = {"from": None, "to": None, "count": None}


def search(salon: Salon, body: Payload) -> tuple[Payload, Payload]:
    """data and meta. ValueError or TypeError when the body's values cannot be used."""
    client_id = int(body["client_id"])
    attendance = body["attendance"]
    statuses = set(body["payment_statuses"] or ())
    newest = None if body["to"] is None else rows.local_seconds(body["to"]) // DAY
    found = [
        row
        for row in salon.bookings.of_client(client_id)
        if (attendance is None or row.attendance == int(attendance))
        and (not statuses or _status(row) in statuses)
        and (newest is None or row.start // DAY <= newest)
    ]
    pages = _pages(found)
    page, follows = (pages[0] if pages else []), (pages[1] if len(pages) > 1 else [])
    data = {
        "goods_transactions": [_goods(salon, row) for row in page if row.good],
        "records": [_record(salon, row) for row in page],
    }
    cursor = {
        "previous": {"from": None, "to": None, "count": 0},
        "current": _span(page) if page else {"from": None, "to": None, "count": 0},
        "next": _span(follows) if follows else dict(_NOTHING),
    }
    return data, {"dateCursor": cursor}


def _items(row: RecordRow) -> int:
    return 2 if row.good else 1


def _pages(found: list[RecordRow]) -> list[list[RecordRow]]:
    """The first two pages: at least 25 items each if there are so many, and never a day in two pages."""
    pages: list[list[RecordRow]] = [[]]
    items = 0
    for row, following in pairwise([*found, None]):
        if row is None:
            break
        pages[-1].append(row)
        items += _items(row)
        if items >= _PAGE and following is not None and following.start // DAY != row.start // DAY:
            if len(pages) == 2:
                break
            pages.append([])
            items = 0
    return [page for page in pages if page]


def _span(page: list[RecordRow]) -> Payload:
    return {
        "from": rows.day_text(page[-1].start // DAY),
        "to": rows.day_text(page[0].start // DAY),
        "count": sum(_items(row) for row in page),
    }


def _status(row: RecordRow) -> str:
    return "paid_full" if row.paid else "paid_not"


def _record(salon: Salon, row: RecordRow) -> Payload:
    payload = salon.records[row.id]
    staff = salon.known_staff.get(row.staff_id, {})
    return {
        "id": row.id,
        "comment": payload.get("comment", ""),
        "date": payload.get("date"),
        "visit_id": row.visit_id,
        "attendance": row.attendance,
        "services": [
            {
                "id": line["id"],
                "title": line["title"],
                "first_cost": line["first_cost"],
                "discount_percent": line["discount"],
                "cost_to_pay": line["cost_to_pay"],
                "paid_sum": line["cost_to_pay"] if row.paid else 0,
                "payment_status": _status(row),
                "consumables": [],
            }
            for line in rows.service_lines(row, salon.known)
        ],
        "staff": {
            "id": row.staff_id,
            "name": staff.get("name", ""),
            "company_id": salon.id,
            "position": staff.get("position", []),
        },
        "company": {"id": salon.id, "title": salon.company["title"]},
        "tips": {"has_tips": False, "sum": None},
    }


def _goods(salon: Salon, row: RecordRow) -> Payload:
    good_id, title, price = catalogue.GOODS[row.good - 1]
    good: dict[str, Any] = {
        "id": good_id,
        "title": title,
        "amount": -1,
        "unit": "шт",
        "cost_per_unit": price,
        "first_cost": -price,
        "discount_percent": 0,
        "cost_to_pay": price,
        "paid_sum": price if row.paid else 0,
        "payment_status": _status(row),
    }
    return {
        "id": row.id - 1_000_000_000,
        "comment": "",
        "date": rows.local_text(row.start + row.length),
        "visit_id": row.visit_id,
        "record_id": row.id,
        "goods": [good],
        "staff": {"id": row.staff_id, "name": salon.known_staff.get(row.staff_id, {}).get("name", "")},
        "company": {"id": salon.id, "title": salon.company["title"]},
    }
