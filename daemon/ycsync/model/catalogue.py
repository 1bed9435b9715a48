"""What do salons, price lists and staff look like in the API's JSON?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ycsync.model.ids import CompanyId, ServiceCategoryId, ServiceId, StaffId, UserId
from ycsync.model.lenient import Lenient
from ycsync.model.page import RawEntity, decoder_for, parse_page
from ycsync.model.rows import Company, Parsed, Service, ServiceCategory, Staff
from ycsync.model.times import zone_name


class _RawCompany(RawEntity):
    title: Any = None
    timezone: Any = None
    timezone_name: Any = None
    currency_short_title: Any = None
    active: Any = None


class _RawServiceCategory(RawEntity):
    title: Any = None
    weight: Any = None


class _RawService(RawEntity):
    category_id: Any = None
    title: Any = None
    booking_title: Any = None
    price_min: Any = None
    price_max: Any = None
    duration: Any = None
    discount: Any = None
    active: Any = None
    comment: Any = None
    weight: Any = None


class _RawStaff(RawEntity):
    name: Any = None
    specialization: Any = None
    position: Any = None
    fired: Any = None
    hidden: Any = None
    user_id: Any = None
    status: Any = None
    weight: Any = None


_companies = decoder_for(_RawCompany)
_service_categories = decoder_for(_RawServiceCategory)
_services = decoder_for(_RawService)
_staff = decoder_for(_RawStaff)


def parse_companies(raws: Sequence[bytes]) -> Parsed[Company]:
    """Salons, from `GET /companies` or `GET /company/{id}`."""
    return parse_page(raws, _companies, _company)


def parse_service_categories(company: CompanyId, raws: Sequence[bytes]) -> Parsed[ServiceCategory]:
    """Headings of the price list, from `GET /company/{id}/service_categories`."""
    return parse_page(raws, _service_categories, _service_category)


def parse_services(company: CompanyId, raws: Sequence[bytes]) -> Parsed[Service]:
    """Lines of the price list, from `GET /company/{id}/services`."""
    return parse_page(raws, _services, _service)


def parse_staff(company: CompanyId, raws: Sequence[bytes]) -> Parsed[Staff]:
    """Masters, from `GET /company/{id}/staff`."""
    return parse_page(raws, _staff, _master)


def _company(entity: int, payload: _RawCompany, text: str) -> Company:
    read = Lenient()
    zone = zone_name(payload.timezone_name, payload.timezone)
    return Company(
        id=CompanyId(entity),
        title=read.text(payload.title, "title"),
        timezone=zone or "UTC",
        timezone_known=zone is not None,
        currency=read.text(payload.currency_short_title, "currency"),
        active=read.flag(payload.active, "active", default=True),
        changed_at=read.instant(payload.last_change_date, "changed_at"),
        deleted=read.flag(payload.deleted, "deleted"),
        raw=text,
        odd=read.odd,
    )


def _service_category(entity: int, payload: _RawServiceCategory, text: str) -> ServiceCategory:
    read = Lenient()
    return ServiceCategory(
        id=ServiceCategoryId(entity),
        title=read.text(payload.title, "title"),
        weight=read.integer(payload.weight, "weight"),
        changed_at=read.instant(payload.last_change_date, "changed_at"),
        deleted=read.flag(payload.deleted, "deleted"),
        raw=text,
        odd=read.odd,
    )


def _service(entity: int, payload: _RawService, text: str) -> Service:
    read = Lenient()
    category = read.id(payload.category_id, "category_id")
    return Service(
        id=ServiceId(entity),
        category_id=None if category is None else ServiceCategoryId(category),
        title=read.text(payload.title, "title"),
        booking_title=read.text(payload.booking_title, "booking_title"),
        price_min=read.money(payload.price_min, "price_min"),
        price_max=read.money(payload.price_max, "price_max"),
        duration_s=read.integer(payload.duration, "duration_s"),
        discount=read.money(payload.discount, "discount"),
        active=read.flag(payload.active, "active", default=True),
        comment=read.text(payload.comment, "comment"),
        weight=read.integer(payload.weight, "weight"),
        changed_at=read.instant(payload.last_change_date, "changed_at"),
        deleted=read.flag(payload.deleted, "deleted"),
        raw=text,
        odd=read.odd,
    )


def _master(entity: int, payload: _RawStaff, text: str) -> Staff:
    read = Lenient()
    user = read.id(payload.user_id, "user_id")
    position = read.object(payload.position, "position_title").get("title")
    return Staff(
        id=StaffId(entity),
        name=read.text(payload.name, "name"),
        specialization=read.text(payload.specialization, "specialization"),
        position_title=read.text(position, "position_title") or None,
        fired=read.flag(payload.fired, "fired"),
        hidden=read.flag(payload.hidden, "hidden"),
        user_id=None if user is None else UserId(user),
        weight=read.integer(payload.weight, "weight"),
        changed_at=read.instant(payload.last_change_date, "changed_at"),
        deleted=read.integer(payload.status, "deleted") == 1,
        raw=text,
        odd=read.odd,
    )
