"""Which streams are declared, and what of them is kept?

Each needs, besides its declaration here, a migration that makes its table; docs/streams.md has the recipe. They cost requests
and are not what every salon uses, so they are off until the settings give them a cadence.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from ycsync.model.declared import (
    DAY,
    FLAG,
    ID,
    INSTANT,
    INTEGER,
    JSON,
    MONEY,
    TEXT,
    Declared,
    Field,
    Paging,
    staff_day,
)

_EMPTY: Final = ("[]", "{}", "null")


def _works(values: dict[str, Any]) -> dict[str, Any]:
    """A day with hours is one on which somebody works, whatever else is said or not."""
    return {**values, "is_working": values["is_working"] or values["slots"] not in _EMPTY}


SCHEDULES: Final = Declared(
    name="schedules",
    path="/company/{company}/staff/schedule",
    paging=Paging.ANSWER,
    every=timedelta(hours=1),
    span=(7, 60),
    dated="date",
    key=staff_day,
    derived=_works,
    fields=(
        Field("staff_id", ID, ("staff_id", "staff.id", "master_id"), needed=True),
        Field("date", DAY, needed=True),
        Field("is_working", FLAG),
        Field("slots", JSON),
    ),
)
"""Working hours (YCLIENTS API, staff/schedule): a row a master and day; a day that is taken out of the schedule vanishes."""

GOODS: Final = Declared(
    name="goods",
    path="/goods/{company}",
    paging=Paging.PAGES,
    every=timedelta(hours=24),
    size=100,  # above it the API silently gives 25
    changes=True,
    quiet=3,
    key=("good_id", "id"),
    fields=(
        Field("title", TEXT, ("title", "label")),
        Field("article", TEXT),
        Field("category_id", ID),
        Field("cost", MONEY),
        Field("actual_cost", MONEY),
        Field("unit", TEXT, ("unit_short_title",)),
        Field("amounts", JSON, ("actual_amounts",)),
    ),
)
"""The store's catalogue (YCLIENTS API, goods): its list has no count, so it ends with an empty page."""

GOODS_OPERATIONS: Final = Declared(
    name="goods_operations",
    path="/storages/transactions/{company}",
    paging=Paging.WINDOWS,
    every=timedelta(hours=1),
    dated="created_at",
    changes=True,
    fields=(
        Field("document_id", ID),
        Field("type_id", INTEGER),
        Field("type", TEXT),
        Field("good_id", ID, ("good.id", "good_id")),
        Field("good_title", TEXT, ("good.title",)),
        Field("storage_id", ID, ("storage.id", "storage_id")),
        Field("amount", MONEY),
        Field("unit_cost", MONEY, ("cost_per_unit",)),
        Field("discount", MONEY),
        Field("cost", MONEY),
        Field("staff_id", ID, ("master.id", "master_id")),
        Field("client_id", ID, ("client.id", "clients.id", "client_id")),
        Field("record_id", ID),
        Field("created_at", INSTANT, ("create_date",), needed=True),
    ),
)
"""What went in and out of the store (YCLIENTS API, storages/transactions): `type_id` 1 is a sale, its amount negative."""

TRANSACTIONS: Final = Declared(
    name="transactions",
    path="/transactions/{company}",
    paging=Paging.WINDOWS,
    every=timedelta(hours=1),
    dated="paid_at",
    quiet=3,
    fields=(
        Field("document_id", ID),
        Field("expense_id", ID, ("expense.id", "expense_id")),
        Field("expense", TEXT, ("expense.title",)),
        Field("account_id", ID, ("account.id", "account_id")),
        Field("account", TEXT, ("account.title",)),
        Field("amount", MONEY),
        Field("comment", TEXT),
        Field("staff_id", ID, ("master.id", "master_id")),
        Field("client_id", ID, ("client.id", "client_id")),
        Field("record_id", ID),
        Field("visit_id", ID),
        Field("paid_at", INSTANT, ("date",), needed=True),
    ),
)
"""Payments (YCLIENTS API, transactions). The API cannot be asked for what changed: recent days are read again instead."""

DECLARED: Final = {stream.name: stream for stream in (SCHEDULES, GOODS, GOODS_OPERATIONS, TRANSACTIONS)}
