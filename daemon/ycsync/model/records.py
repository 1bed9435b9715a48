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
from ycsync.model.lenient import Lenient
from ycsync.model.page import RawEntity, decoder_for, parse_page
from ycsync.model.rows import Parsed, Record, RecordService, RecordStatus
from ycsync.model.times import as_session, local_zone
from ycsync.model.values import FieldError, add_up, is_empty

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
    """Build a record. Raises FieldError where its date cannot be read: without it the record has no place."""
    local = local_zone(zone, payload.datetime, payload.create_date, payload.last_change_date)
    session = as_session(payload.date, payload.datetime, local)
    if session is None:
        raise FieldError("starts_at: missing")
    read = Lenient()
    attendance = read.integer(payload.attendance, "attendance")
    if attendance not in _STATUS:
        read.note("attendance")
        attendance = None
    deleted = read.flag(payload.deleted, "deleted")
    length = payload.length if payload.seance_length is None else payload.seance_length
    lines = _lines(payload.services, read)
    cost = add_up([line.cost for line in lines if line.cost is not None]) if lines else _ZERO
    visit = read.id(payload.visit_id, "visit_id")
    client = _client_id(payload, read)
    staff = read.id(payload.staff_id, "staff_id")
    activity = read.id(payload.activity_id, "activity_id")
    return Record(
        id=RecordId(entity),
        starts_at=session[0],
        session_date=session[1],
        visit_id=None if visit is None else VisitId(visit),
        client_id=client,
        staff_id=None if staff is None else StaffId(staff),
        duration_s=read.integer(length, "duration_s"),
        attendance=attendance,
        status="cancelled" if deleted else _STATUS[attendance],
        online=read.flag(payload.online, "online"),
        comment=read.text(payload.comment, "comment"),
        cost=cost,
        paid=_paid(payload, lines, cost, read),
        activity_id=None if activity is None else ActivityId(activity),
        created_at=read.instant(payload.create_date, "created_at", local),
        changed_at=read.instant(payload.last_change_date, "changed_at", local),
        deleted=deleted,
        services=lines,
        raw=text,
        odd=read.odd,
    )


def _client_id(payload: _RawRecord, read: Lenient) -> ClientId | None:
    """A walk-in's `client` is null or `[]`."""
    person = payload.client
    value = person.get("id") if person.__class__ is dict else person
    if is_empty(value):
        value = payload.client_id
    client = read.id(value, "client_id")
    return None if client is None else ClientId(client)


def _lines(value: Any, read: Lenient) -> tuple[RecordService, ...]:
    if not value:
        return ()
    return tuple([_line(position, line, read) for position, line in enumerate(read.objects(value, "services"))])


def _line(position: int, line: dict[str, Any], read: Lenient) -> RecordService:
    get = line.get
    service = read.id(get("id"), "services.service_id")
    cost = None
    missing: Decimal | None = _ZERO  # a line without a cost is free; one whose cost cannot be read may cost anything
    for name in ("cost", "cost_to_pay", "manual_cost"):
        value = get(name)
        cost = read.money(value, "services.cost")
        if cost is not None:
            break
        if not is_empty(value):
            missing = None
    return RecordService(
        position=position,
        service_id=None if service is None else ServiceId(service),
        title=read.text(get("title"), "services.title"),
        amount=read.money(get("amount"), "services.amount", _ONE),
        unit_cost=read.money(get("cost_per_unit"), "services.unit_cost"),
        discount=read.money(get("discount"), "services.discount", _ZERO),
        cost=missing if cost is None else cost,
        first_cost=read.money(get("first_cost"), "services.first_cost"),
    )


def _paid(payload: _RawRecord, lines: tuple[RecordService, ...], cost: Decimal, read: Lenient) -> Decimal | None:
    """The sum of the payments if any are listed; else the whole cost or nothing, by `paid_full`.

    None where a payment, or what it is all of, cannot be read: the sum of the others is not what was paid.
    """
    if payload.finance_transactions:
        payments = read.objects(payload.finance_transactions, "paid")
        amounts = [read.money(payment.get("amount"), "paid", _ZERO) for payment in payments]
        if "paid" in read.odd:
            return None
        if payments:
            return add_up([amount for amount in amounts if amount is not None])
    whole = read.flag(payload.paid_full, "paid")
    if "paid" in read.odd or (whole and ("services" in read.odd or any(line.cost is None for line in lines))):
        return None
    return cost if whole else _ZERO
