"""What does one row of each table hold, once the API's JSON has been understood?

Field names are the database's column names. `raw` is the payload as JSON text that PostgreSQL's jsonb
accepts; `changed_at` is the API's own time of the last change, if it gave one. `odd` names the columns whose
value could not be read, and so is null. Instants are aware UTC, money is Decimal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Generic, Literal, TypeVar

from ycsync.model.ids import (
    ActivityId,
    ClientId,
    CompanyId,
    RecordId,
    ServiceCategoryId,
    ServiceId,
    StaffId,
    UserId,
    VisitId,
)

RecordStatus = Literal["came", "no_show", "waiting", "confirmed", "cancelled"]

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Company:
    """A salon. `timezone` is a name that ZoneInfo and PostgreSQL accept, always: UTC where it is not known."""

    id: CompanyId
    title: str = ""
    timezone: str = "UTC"
    timezone_known: bool = True
    currency: str = ""
    active: bool = True
    changed_at: datetime | None = None
    deleted: bool = False
    raw: str = "{}"
    odd: tuple[str, ...] = ()

    @property
    def timezone_unknown(self) -> bool:
        """Whether the zone that was known before stays."""
        return not self.timezone_known


@dataclass(frozen=True, slots=True)
class ServiceCategory:
    """A heading of the price list. Of each list: a row that was read stands in it, so it is `listed`."""

    id: ServiceCategoryId
    title: str = ""
    weight: int | None = None
    listed: bool = True
    changed_at: datetime | None = None
    deleted: bool = False
    raw: str = "{}"
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A line of the price list."""

    id: ServiceId
    category_id: ServiceCategoryId | None = None
    title: str = ""
    booking_title: str = ""
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    duration_s: int | None = None
    discount: Decimal | None = None
    active: bool = True
    comment: str = ""
    weight: int | None = None
    listed: bool = True
    changed_at: datetime | None = None
    deleted: bool = False
    raw: str = "{}"
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Staff:
    """A master of the salon. `fired` ones still stand in old records; `deleted` is the API's `status` 1."""

    id: StaffId
    name: str = ""
    specialization: str = ""
    position_title: str | None = None
    fired: bool = False
    hidden: bool = False
    user_id: UserId | None = None
    weight: int | None = None
    listed: bool = True
    changed_at: datetime | None = None
    deleted: bool = False
    raw: str = "{}"
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Client:
    """A client's card. `phone` is for look-ups (digits, country code first), `phone_raw` as it came."""

    id: ClientId
    name: str = ""
    surname: str = ""
    patronymic: str = ""
    phone: str | None = None
    phone_raw: str = ""
    phone_masked: bool = False
    email: str = ""
    email_masked: bool = False
    sex_id: int | None = None
    birth_date: date | None = None
    birth_month: int | None = None
    birth_day: int | None = None
    discount: Decimal | None = None
    importance_id: int | None = None
    card: str = ""
    comment: str = ""
    categories: str = "[]"
    spent: Decimal | None = None
    balance: Decimal | None = None
    visit_count: int | None = None
    first_visit_at: datetime | None = None
    last_visit_at: datetime | None = None
    changed_at: datetime | None = None
    deleted: bool = False
    raw: str = "{}"
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordService:
    """One service line of a record; `position` counts from 0. None: it could not be read.

    `cost`: what is to be paid for the whole line in money; `first_cost`: its list price, None where YCLIENTS gives none.
    """

    position: int
    service_id: ServiceId | None = None
    title: str = ""
    amount: Decimal | None = Decimal(1)
    unit_cost: Decimal | None = None
    discount: Decimal | None = _ZERO
    cost: Decimal | None = _ZERO
    first_cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One appointment. `session_date`, its day in the salon's own time, is what `start_date` filters by."""

    id: RecordId
    starts_at: datetime
    session_date: date
    visit_id: VisitId | None = None
    client_id: ClientId | None = None
    staff_id: StaffId | None = None
    duration_s: int | None = None
    attendance: int | None = None
    status: RecordStatus = "waiting"
    online: bool = False
    comment: str = ""
    cost: Decimal = _ZERO
    paid: Decimal | None = None
    activity_id: ActivityId | None = None
    created_at: datetime | None = None
    changed_at: datetime | None = None
    deleted: bool = False
    services: tuple[RecordService, ...] = ()
    raw: str = "{}"
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """A payload that could not become a row. `reason` names a field, never a value; `payload` fits jsonb."""

    entity_id: str | None
    reason: str
    payload: str


Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Parsed(Generic[Row]):
    """A page, understood: every raw row is in `rows` or `rejects`, save repetitions of an id (the last wins).

    `seen` counts raw rows; `ids` are the distinct ids of the page in its order, rejected rows' included.
    """

    rows: tuple[Row, ...]
    rejects: tuple[Reject, ...]
    seen: int
    ids: tuple[int, ...]
