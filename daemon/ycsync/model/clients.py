"""What does a client's card look like in the API's JSON?

Full cards come from `GET /clients/{company}`; the thinner ones of `POST …/clients/search` name the same
things `visits_count`, `sold_amount`, `first_visit_date` and `last_visit_date`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from ycsync.model.ids import ClientId, CompanyId
from ycsync.model.lenient import Lenient
from ycsync.model.page import RawEntity, decoder_for, parse_page
from ycsync.model.phones import normalise_phone
from ycsync.model.rows import Client, Parsed
from ycsync.model.times import NO_BIRTHDAY, as_birthday, local_zone
from ycsync.model.values import FieldError

_NO_LIST = (b"null", b"{}", b"false", b'""', b"0")


class _RawClient(RawEntity):
    name: Any = None
    surname: Any = None
    patronymic: Any = None
    phone: Any = None
    email: Any = None
    sex_id: Any = None
    birth_date: Any = None
    discount: Any = None
    importance_id: Any = None
    card: Any = None
    comment: Any = None
    categories: msgspec.Raw = msgspec.Raw(b"[]")
    spent: Any = None
    sold_amount: Any = None
    balance: Any = None
    visits: Any = None
    visits_count: Any = None
    first_visit_date: Any = None
    last_visit_date: Any = None


_clients = decoder_for(_RawClient)


def parse_clients(company: CompanyId, raws: Sequence[bytes], zone: ZoneInfo | None = None) -> Parsed[Client]:
    """Client cards. `zone` is the salon's, for times without an offset (without it they are read as UTC)."""
    local: tzinfo = zone or UTC

    def build(entity: int, payload: _RawClient, text: str) -> Client:
        return _client(entity, payload, text, local)

    return parse_page(raws, _clients, build)


def _client(entity: int, payload: _RawClient, text: str, zone: tzinfo) -> Client:
    read = Lenient()
    local = local_zone(zone, payload.last_change_date, payload.first_visit_date, payload.last_visit_date)
    phone_raw = read.text(payload.phone, "phone")
    phone, masked = normalise_phone(phone_raw)
    email = read.text(payload.email, "email")
    spent = payload.sold_amount if payload.spent is None else payload.spent
    birthday = read.read(as_birthday, payload.birth_date, "birth_date", NO_BIRTHDAY)
    visits = payload.visits_count if payload.visits is None else payload.visits
    return Client(
        id=ClientId(entity),
        name=read.text(payload.name, "name"),
        surname=read.text(payload.surname, "surname"),
        patronymic=read.text(payload.patronymic, "patronymic"),
        phone=phone,
        phone_raw=phone_raw,
        phone_masked=masked,
        email=email,
        email_masked="*" in email,  # no address holds one; without the contacts right the API hides letters behind them
        sex_id=read.integer(payload.sex_id, "sex_id"),
        birth_date=birthday.date,
        birth_month=birthday.month,
        birth_day=birthday.day,
        discount=read.money(payload.discount, "discount"),
        importance_id=read.integer(payload.importance_id, "importance_id"),
        card=read.text(payload.card, "card"),
        comment=read.text(payload.comment, "comment"),
        categories=read.read(_categories, bytes(payload.categories), "categories", "[]"),
        spent=read.money(spent, "spent"),
        balance=read.money(payload.balance, "balance"),
        visit_count=read.integer(visits, "visit_count"),
        first_visit_at=read.instant(payload.first_visit_date, "first_visit_at", local),
        last_visit_at=read.instant(payload.last_visit_date, "last_visit_at", local),
        changed_at=read.instant(payload.last_change_date, "changed_at", local),
        raw=text,
        odd=read.odd,
    )


def _categories(raw: bytes, field: str) -> str:
    """The list as JSON text; it is a part of a payload that jsonb is known to accept."""
    if raw[:1] == b"[":
        return raw.decode()
    if raw in _NO_LIST:
        return "[]"
    raise FieldError(f"{field}: not a list")
