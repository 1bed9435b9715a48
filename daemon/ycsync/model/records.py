"""What does a visit record look like in the API's JSON?

`GET /records/{company}`; a visit consists of several records, a record of several service lines. A cancelled
record is a deleted one. `manual_cost` is a line's total before loyalty, not a price for one. `cost` is what is to be paid
in money: 0 where a membership or certificate pays. `first_cost` is the line's list price.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ycsync.model.ids import ActivityId, ClientId, CompanyId, RecordId, ServiceId, StaffId, VisitId
from ycsync.model.page import RawEntity, decoder_for, parse_page
from ycsync.model.rows import Parsed, Record, RecordService, RecordStatus
from ycsync.model.times import as_instant, as_session, local_zone
from ycsync.model.values import (
    FieldError,
    add_up,
    as_bool,
    as_int,
    as_money,
    as_objects,
    as_optional_id,
    as_text,
    is_empty,
)

_ZERO = Decimal(0)
_ONE = Decimal(1)
_STATUS: dict[int | None, RecordStatus] = {
    -1: "no_show",
    None: "waiting",
    0: "waiting",
    1: "came",
    2: "confirmed",
}


class _RawRecord(RawEntity):
    visit_id: Any = None
    client: Any = None
    client_id: Any = None
    staff_id: Any = None
    date: Any = None
    datetime: Any = None
    seance_length: Any = None
    length: Any = None
    attendance: Any = None
    online: Any = None
    comment: Any = None
    services: Any = None
    finance_transactions: Any = None
    paid_full: Any = None
    activity_id: Any = None
    create_date: Any = None


_records = decoder_for(_RawRecord)


def parse_records(company: CompanyId, raws: Sequence[bytes], zone: ZoneInfo) -> Parsed[Record]:
    """Visit records with their service lines; `zone` is the salon's, in which `date` is written (UNKNOWN: see local_zone)."""

    def build(entity: int, payload: _RawRecord, text: str) -> Record:
        return _record(entity, payload, text, zone)

    return parse_page(raws, _records, build)


def _record(entity: int, payload: _RawRecord, text: str, zone: ZoneInfo) -> Record:
    local = local_zone(zone, payload.datetime, payload.create_date, payload.last_change_date)
    session = as_session(payload.date, payload.datetime, local)
    if session is None:
        raise FieldError("starts_at: missing")
    attendance = as_int(payload.attendance, "attendance")
    status = _STATUS.get(attendance)
    if status is None:
        raise FieldError("attendance: not one of -1, 0, 1, 2")
    deleted = as_bool(payload.deleted, "deleted")
    length = payload.length if payload.seance_length is None else payload.seance_length
    lines = _lines(payload.services)
    cost = add_up([line.cost for line in lines]) if lines else _ZERO
    visit = as_optional_id(payload.visit_id, "visit_id")
    client = _client_id(payload)
    staff = as_optional_id(payload.staff_id, "staff_id")
    activity = as_optional_id(payload.activity_id, "activity_id")
    return Record(
        id=RecordId(entity),
        starts_at=session[0],
        session_date=session[1],
        visit_id=None if visit is None else VisitId(visit),
        client_id=client,
        staff_id=None if staff is None else StaffId(staff),
        duration_s=as_int(length, "duration_s"),
        attendance=attendance,
        status="cancelled" if deleted else status,
        online=as_bool(payload.online, "online"),
        comment=as_text(payload.comment, "comment"),
        cost=cost,
        paid=_paid(payload, cost),
        activity_id=None if activity is None else ActivityId(activity),
        created_at=as_instant(payload.create_date, "created_at", local),
        changed_at=as_instant(payload.last_change_date, "changed_at", local),
        deleted=deleted,
        services=lines,
        raw=text,
    )


def _client_id(payload: _RawRecord) -> ClientId | None:
    """A walk-in's `client` is null or `[]`."""
    person = payload.client
    value = person.get("id") if person.__class__ is dict else person
    if is_empty(value):
        value = payload.client_id
    client = as_optional_id(value, "client_id")
    return None if client is None else ClientId(client)


def _lines(value: Any) -> tuple[RecordService, ...]:
    if not value:
        return ()
    return tuple([_line(position, line) for position, line in enumerate(as_objects(value, "services"))])


def _line(position: int, line: dict[str, Any]) -> RecordService:
    get = line.get
    service = as_optional_id(get("id"), "services.service_id")
    amount = as_money(get("amount"), "services.amount")
    cost = None
    for name in ("cost", "cost_to_pay", "manual_cost"):
        cost = as_money(get(name), "services.cost")
        if cost is not None:
            break
    return RecordService(
        position=position,
        service_id=None if service is None else ServiceId(service),
        title=as_text(get("title"), "services.title"),
        amount=_ONE if amount is None else amount,
        unit_cost=as_money(get("cost_per_unit"), "services.unit_cost"),
        discount=as_money(get("discount"), "services.discount") or _ZERO,
        cost=_ZERO if cost is None else cost,
        first_cost=_list_price(get("first_cost")),
    )


def _list_price(value: Any) -> Decimal | None:
    """The amount, or None where it is none: no reason to reject the record."""
    try:
        return as_money(value, "services.first_cost")
    except FieldError:
        return None


def _paid(payload: _RawRecord, cost: Decimal) -> Decimal:
    """The sum of the payments if any are listed; else the whole cost or nothing, by `paid_full`."""
    if payload.finance_transactions:
        payments = as_objects(payload.finance_transactions, "paid")
        if payments:
            return add_up([as_money(payment.get("amount"), "paid") or _ZERO for payment in payments])
    return cost if payload.paid_full in (1, True, "1") else _ZERO
