"""How is one client or one record kept small, and turned into the payload that the API gives?

A million records as payloads would need gigabytes, so a salon keeps compact rows and builds a payload when it
is asked for one. What a row does not say (a comment, an e-mail) follows from its id by a hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from . import catalogue

Payload = dict[str, Any]
DAY = 86_400
_EPOCH = datetime(1970, 1, 1)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_MASK = (1 << 64) - 1


def mix(number: int, salt: int = 0) -> int:
    """A 64-bit hash (splitmix64): the same numbers give the same bits in every process."""
    x = (number * 0x9E3779B97F4A7C15 + (salt + 1) * 0xD1B54A32D192ED03) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


@lru_cache(maxsize=8192)
def day_text(day: int) -> str:
    """Days since 1970 as YYYY-MM-DD."""
    return date.fromordinal(_EPOCH_ORDINAL + day).isoformat()


def local_text(local: int, between: str = " ") -> str:
    """Seconds since 1970 on the salon's own clock as YYYY-MM-DD HH:MM:SS."""
    day, rest = divmod(local, DAY)
    hour, rest = divmod(rest, 3600)
    return f"{day_text(day)}{between}{hour:02d}:{rest // 60:02d}:{rest % 60:02d}"


def local_seconds(value: str | date | datetime) -> int:
    """The inverse of local_text; also of a naive datetime or a date (midnight). ValueError: it is no date."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return int((value.replace(tzinfo=None) - _EPOCH).total_seconds())


def instant_text(instant: int, offset: int) -> str:
    """A Unix time as YYYY-MM-DDTHH:MM:SS+0300 in the salon's zone."""
    sign = "-" if offset < 0 else "+"
    hours, rest = divmod(abs(offset), 3600)
    return f"{local_text(instant + offset, 'T')}{sign}{hours:02d}{rest // 60:02d}"


def hours_east(offset: int) -> int | float:
    """Seconds east of UTC as a company's `timezone`: 3, or 5.5."""
    return offset // 3600 if offset % 3600 == 0 else offset / 3600


@dataclass(slots=True)
class ClientRow:
    """`n` numbers the person (the same in every salon, so chains share phones); times are Unix seconds."""

    id: int
    n: int
    changed: int
    visits: int = 0
    spent: int = 0
    extra: Payload | None = None
    verbatim: bool = False  # `extra` is the whole payload, served as it is


@dataclass(slots=True)
class RecordRow:
    """`start` is on the salon's clock, `created` and `changed` are Unix seconds; client_id 0 is a walk-in.

    `services` holds (service id, amount, discount in percent); `good` is a good's index plus one, or 0. A `membership` pays
    for the services.
    """

    id: int
    visit_id: int
    client_id: int
    staff_id: int
    start: int
    length: int
    created: int
    changed: int
    attendance: int
    deleted: bool
    paid: bool
    services: tuple[tuple[int, int, int], ...]
    good: int = 0
    activity_id: int = 0
    extra: Payload | None = None
    verbatim: bool = False
    membership: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What every payload of a salon refers to, listed today or not."""

    company_id: int
    title: str
    offset: int
    services: Mapping[int, tuple[str, int, int]]  # id -> title, price, seconds
    staff: Mapping[int, Payload]


def money(numerator: int, denominator: int = 1) -> int | float:
    """An amount as the API gives it: whole roubles as an int, kopecks as a float."""
    whole, rest = divmod(numerator, denominator)
    return whole if rest == 0 else round(numerator / denominator, 2)


def phone_of(n: int) -> str:
    """The person's phone as the salon typed it: mostly +7999…, some odd, empty, masked or someone else's."""
    kind = mix(n, 11) % 200
    if kind < 6:
        return ""
    if kind < 10:
        return f"+7999*****{n % 100:02d}"
    if kind < 16:
        return f"8999{n % 10_000_000:07d}"
    if kind < 18:
        return f"+7999{max(n - 1, 0) % 10_000_000:07d}"  # the same family, one phone
    if kind < 19:
        return "12345"
    if kind < 22:
        return f"7999{n % 10_000_000:07d}"
    if kind < 26:  # abroad, in Vietnam and in the Maldives, and behind a switchboard
        digits = f"{n % 10_000_000:07d}"
        return (f"+8491{digits}", f"+960{digits}", f"0084 91 {digits}", f"+7999{digits} доб. {n % 100}")[kind - 22]
    return f"+7999{n % 10_000_000:07d}"


def _birth_date(h: int) -> str | int:
    kind = h % 100
    if kind < 40:
        return ""
    if kind < 46:
        return "1970-01-01"
    if kind < 49:
        return 0
    year, month, day = 1950 + (h >> 8) % 58, 1 + (h >> 16) % 12, 1 + (h >> 24) % 28
    if kind < 57:  # 1900: the year is unknown
        return f"1900-{month:02d}-{day:02d}"
    if kind < 60:  # Unix time as a text, as in the vendor's example
        return str(int(datetime(year, month, day, tzinfo=UTC).timestamp()))
    if kind < 63:
        return (f"{day:02d}.{month:02d}.{year}", f"{year}-{month:02d}", f"0000-{month:02d}-{day:02d}")[kind - 60]
    return f"{year}-{month:02d}-{day:02d}"


def client_payload(row: ClientRow, offset: int) -> Payload:
    """The full card of GET /clients, in canonical types."""
    if row.verbatim:
        return dict(row.extra or {})
    n = row.n
    h = mix(n, 1)
    woman = h % 10 != 0
    first = catalogue.WOMEN[(h >> 4) % 20] if woman else catalogue.MEN[(h >> 4) % 10]
    surname = ""
    if (h >> 12) % 3:
        surname = catalogue.SURNAMES[(h >> 14) % 20] + ("а" if woman else "")
    patronymic = catalogue.PATRONYMICS[(h >> 20) % 3][0 if woman else 1] if (h >> 22) % 5 == 0 else ""
    importance = 3 if row.visits >= 20 else 2 if row.visits >= 10 else 1 if row.visits >= 5 else 0
    categories: list[dict[str, object]] = []
    if row.visits >= 20:
        categories.append(catalogue.CLIENT_CATEGORIES[0])
    if row.visits >= 8:
        categories.append(catalogue.CLIENT_CATEGORIES[1])
    balance = (0, 0, 0, 0, 0, 0, 150, -300, 0.5)[(h >> 26) % 9]
    payload: Payload = {
        "id": row.id,
        "name": first,
        "surname": surname,
        "patronymic": patronymic,
        "display_name": f"{first} {surname}".strip(),
        "phone": phone_of(n),
        "email": f"client{n}@example.com" if (h >> 30) % 4 == 0 else "",
        "categories": [dict(category) for category in categories],
        "sex": "Неизвестно" if (h >> 34) % 5 == 0 else "Женский" if woman else "Мужской",
        "sex_id": 0 if (h >> 34) % 5 == 0 else 2 if woman else 1,
        "discount": (0, 0, 0, 0, 5, 10)[(h >> 38) % 6],
        "importance_id": importance,
        "importance": catalogue.IMPORTANCE[importance],
        "card": f"{n:09d}" if (h >> 42) % 8 == 0 else "",
        "birth_date": _birth_date(mix(n, 2)),
        "comment": catalogue.CLIENT_COMMENTS[(h >> 46) % 7],
        "sms_check": (h >> 50) & 1,
        "sms_not": (h >> 51) & 1,
        "spent": row.spent,
        "paid": row.spent + balance,
        "balance": balance,
        "visits": row.visits,
        "last_change_date": instant_text(row.changed, offset),
        "custom_fields": {},
    }
    if row.extra:
        payload.update(row.extra)
    return payload


def mask(payload: Payload) -> None:
    """Hide the phone and the e-mail of a card, in place, as for a user without the contacts right."""
    phone = str(payload.get("phone") or "")
    if len(phone) > 6:
        payload["phone"] = f"{phone[:5]}*****{phone[-2:]}"
    if payload.get("email"):
        payload["email"] = "*****"


def service_lines(row: RecordRow, known: Known) -> list[Payload]:
    """The record's services with their money."""
    lines = []
    for service_id, amount, discount in row.services:
        title, price, _ = known.services[service_id]
        cost = 0 if row.membership else money(price * amount * (100 - discount), 100)
        lines.append(
            {
                "id": service_id,
                "title": title,
                "cost": cost,
                "cost_to_pay": cost,
                "manual_cost": price * amount,
                "cost_per_unit": price,
                "discount": 0 if row.membership else discount,
                "first_cost": price * amount,
                "amount": amount,
            }
        )
    return lines


def cost_of(row: RecordRow, known: Known) -> int:
    """What is to be paid for the record in money, services and goods, in whole roubles (rounded down)."""
    total = 0
    if not row.membership:
        total = sum(known.services[sid][1] * amount * (100 - discount) for sid, amount, discount in row.services)
    if row.good:
        total += catalogue.GOODS[row.good - 1][2] * 100
    return total // 100


def goods_lines(row: RecordRow, known: Known) -> list[Payload]:
    """Goods sold with the record: a sale takes from the store, so the amount is negative."""
    if not row.good:
        return []
    good_id, title, price = catalogue.GOODS[row.good - 1]
    return [
        {
            "id": row.id - 1_000_000_000,
            "document_id": row.visit_id + 40_000,
            "type_id": 1,
            "good_id": good_id,
            "title": title,
            "amount": -1,
            "unit": "шт",
            "operation_unit_type": 1,
            "cost_per_unit": price,
            "discount": 0,
            "cost": price,
            "cost_to_pay": price,
            "manual_cost": price,
            "first_cost": price,
            "storage_id": 1,
            "client_id": row.client_id,
            "master_id": row.staff_id,
            "create_date": instant_text(row.start + row.length - known.offset, known.offset),
            "comment": "",
            "deleted": False,
        }
    ]


def _client_of_record(client: Payload) -> Payload:
    return {
        "id": client["id"],
        "name": client.get("name", ""),
        "surname": client.get("surname", ""),
        "patronymic": client.get("patronymic", ""),
        "display_name": client.get("display_name", client.get("name", "")),
        "phone": client.get("phone", ""),
        "card": client.get("card", ""),
        "email": client.get("email", ""),
        "success_visits_count": client.get("visits", 0),
        "fail_visits_count": 0,
        "discount": client.get("discount", 0),
        "is_new": client.get("visits", 0) in (0, 1),
        "custom_fields": {},
        "client_tags": [],
    }


def finance_lines(row: RecordRow, known: Known) -> list[Payload]:
    """What was paid for the record (include_finance_transactions=1)."""
    amount = cost_of(row, known)
    if not row.paid or not amount:
        return []
    when = row.start + row.length
    return [
        {
            "id": row.id + 2_500_000_000,
            "document_id": row.visit_id + 40_000,
            "date": local_text(when),
            "type_id": 5,
            "expense_id": 5,
            "account_id": 3,
            "amount": amount,
            "client_id": row.client_id,
            "master_id": row.staff_id,
            "supplier_id": 0,
            "comment": "",
            "item_id": row.services[0][0] if row.services else 0,
            "target_type_id": 1,
            "record_id": row.id,
            "goods_transaction_id": 0,
            "expense": {"id": 5, "title": "Оказание услуг", "type": 1},
            "account": {"id": 3, "title": "Карты", "is_cash": False},
            "last_change_date": instant_text(row.changed, known.offset),
        }
    ]


@dataclass(frozen=True, slots=True)
class OfVisit:
    """The records whose goods and payments a record's payload lists, and whether the payload says that all is paid."""

    goods: Sequence[RecordRow]
    payments: Sequence[RecordRow]
    paid: bool


def of_visit(row: RecordRow, visit: Sequence[RecordRow], goods: str, bill: str) -> OfVisit:
    """What the row's payload repeats of its visit, by the options of these names; a cancelled record's sale stays."""
    visit = [one for one in visit if not one.verbatim] or [row]
    sold = visit if goods == "visit" else [row]
    if bill == "record":
        return OfVisit(sold, (row,), row.paid)
    living = [one for one in visit if not one.deleted] or visit
    return OfVisit(sold, living if row is living[0] else (), all(one.paid for one in living))


def record_payload(row: RecordRow, client: Payload | None, known: Known, visit: OfVisit | None = None) -> Payload:
    """A record as GET /records gives it with every include_… switched on, in canonical types.

    `visit`: what it repeats of its visit; None: all is its own.
    """
    if row.verbatim:
        return dict(row.extra or {})
    visit = visit or OfVisit((row,), (row,), row.paid)
    h = mix(row.id, 3)
    staff = known.staff[row.staff_id]
    offset = instant_text(0, known.offset)[-5:]
    payload: Payload = {
        "id": row.id,
        "company_id": known.company_id,
        "staff_id": row.staff_id,
        "services": service_lines(row, known),
        "goods_transactions": [line for one in visit.goods for line in goods_lines(one, known)],
        "staff": {
            "id": row.staff_id,
            "api_id": None,
            "name": staff["name"],
            "specialization": staff["specialization"],
            "position": staff["position"],
            "avatar": "",
            "avatar_big": "",
            "rating": 0,
            "votes_count": 0,
        },
        "client": None if client is None else _client_of_record(client),
        "comer": None,
        "clients_count": 1,
        "date": local_text(row.start),
        "datetime": f"{local_text(row.start, 'T')}{offset[:3]}:{offset[3:]}",
        "create_date": instant_text(row.created, known.offset),
        "last_change_date": instant_text(row.changed, known.offset),
        "comment": catalogue.RECORD_COMMENTS[h % 9],
        "online": (h >> 8) % 3 == 0,
        "visit_attendance": row.attendance,
        "attendance": row.attendance,
        "confirmed": 1 if row.attendance in (1, 2) else 0,
        "seance_length": row.length,
        "length": row.length,
        "visit_id": row.visit_id,
        "created_user_id": 501 + (h >> 16) % 3,
        "deleted": row.deleted,
        "paid_full": 1 if visit.paid else 0,
        "prepaid": False,
        "record_labels": [],
        "activity_id": row.activity_id,
        "custom_fields": {},
        "documents": [],
        "consumables": [],
        "finance_transactions": [line for one in visit.payments for line in finance_lines(one, known)],
    }
    if row.extra:
        payload.update(row.extra)
    return payload
