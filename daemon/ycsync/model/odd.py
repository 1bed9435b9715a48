"""The fields whose unreadable values are counted, by stream: every column that a payload gives, save what places a row."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ycsync.model.streams import DECLARED

_TAIL: Final = ("changed_at", "deleted")
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "companies": ("title", "currency", "active", *_TAIL),
        "services": (
            "category_id",
            "title",
            "booking_title",
            "price_min",
            "price_max",
            "duration_s",
            "discount",
            "active",
            "comment",
            "weight",
            *_TAIL,
            *(f"service_categories.{name}" for name in ("title", "weight", *_TAIL)),
        ),
        "staff": ("name", "specialization", "position_title", "fired", "hidden", "user_id", "weight", *_TAIL),
        "clients": (
            "name",
            "surname",
            "patronymic",
            "phone",
            "email",
            "sex_id",
            "birth_date",
            "discount",
            "importance_id",
            "card",
            "comment",
            "categories",
            "spent",
            "balance",
            "visit_count",
            "first_visit_at",
            "last_visit_at",
            "changed_at",
        ),
        "records": (
            "visit_id",
            "client_id",
            "staff_id",
            "duration_s",
            "attendance",
            "online",
            "comment",
            "paid",
            "activity_id",
            "created_at",
            *_TAIL,
            "services",
            *(f"services.{name}" for name in ("service_id", "title", "amount", "unit_cost", "discount", "cost", "first_cost")),
        ),
        **{
            stream.name: (*(field.column for field in stream.fields if not field.needed), *_TAIL)
            for stream in DECLARED.values()
        },
    }
)
ODD_FIELDS: Final = tuple((stream, name) for stream, names in _FIELDS.items() for name in names)
"""(stream, field). Categories of services come with the services."""
