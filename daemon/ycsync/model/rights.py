"""The right that each endpoint needs, in the words in which a salon's owner finds it in YCLIENTS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Right:
    """`reads`: what an endpoint shows; `section`: where its right stands among a user's access rights."""

    reads: str
    section: str


_CLIENTS = Right("clients", "Клиентская база")
_VISITS = Right("visits", "Журнал записи")
RIGHTS: Final[Mapping[str, Right]] = {
    "clients": _CLIENTS,
    "clients_search": _CLIENTS,
    "clients_by_id": _CLIENTS,
    "client": _CLIENTS,
    "records": _VISITS,
    "record": _VISITS,
    "staff": Right("staff", "Сотрудники"),
    "services": Right("services", "Услуги"),
    "service_categories": Right("service categories", "Услуги"),
    "schedules": Right("working hours", "График работы"),
    "goods": Right("goods", "Склад"),
    "goods_operations": Right("goods operations", "Склад"),
    "transactions": Right("payments", "Финансы"),
}
"""By a request's endpoint, as `api.endpoints` names it."""


def lacking(endpoint: str) -> str:
    """What a 403 of one endpoint means, and what to ask the salon's owner for."""
    right = RIGHTS.get(endpoint)
    if right is None:
        what, which = "to ask for this", "to it"
    else:
        what, which = f"to read {right.reads}", f"«{right.section}»"
    again = "day" if endpoint == "service_categories" else "hour"  # the services are read without them, once a day
    return (
        f"no right {what} (HTTP 403). Ask the salon's owner to give the API user the right {which} in YCLIENTS: "
        f"Settings, Users, Access rights. The salon's other streams go on; ycsync tries again every {again}."
    )
