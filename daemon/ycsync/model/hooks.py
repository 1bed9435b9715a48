"""What does the body of a webhook tell: which things changed, in which salon? Nothing else of it is kept.

Documented is `{company_id, resource, resource_id, status, data}` (YCLIENTS API, "Webhooks"); `data` may be partial, so it is
not looked at, and what is wrong in its texts and numbers costs no hint. The life of the application comes as
`{salon_id, application_id, event, partner_token}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ycsync.model.payload import Unreadable, read_leniently
from ycsync.model.values import FieldError, as_id

CREATE, UPDATE, DELETE = "create", "update", "delete"
UNINSTALLED, FROZEN = "uninstalled", "frozen"
SINGLE: Final = ("client", "record")
"""What is fetched by its id; of everything else the list is read."""

_GOODS_OPERATION, _FINANCE_OPERATION = "goods_operation", "finance_operation"
_RESOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "client": "client",
        "record": "record",
        "service": "service",
        "service_category": "service_category",
        "staff": "staff",
        "master": "staff",
        "company": "company",
        "salon": "company",
        "good": "good",
        "schedule": "schedule",  # resource_id is the member of staff, data is []
        "finance_operation": _FINANCE_OPERATION,
        "finances_operation": _FINANCE_OPERATION,
    }
)
_EVENTS: Final[Mapping[str, str]] = MappingProxyType({"uninstall": UNINSTALLED, "freeze": FROZEN})


class NotAHook(ValueError):
    """The body is no webhook: not JSON, or not an object. Quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something changed. `resource_id` 0: the list that it stands in is read anew."""

    company: int
    resource: str
    resource_id: int
    status: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The application was taken out of a salon, or the salon was frozen: it is not to be asked any more."""

    company: int
    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What one body told. `ignored`: so many parts of it told nothing that is known."""

    hints: tuple[Hint, ...] = ()
    ended: tuple[Ended, ...] = ()
    ignored: int = 0


def parse_hooks(body: bytes) -> Heard:
    """One webhook, or a list of them. Raises NotAHook and nothing else."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        value = _read_again(body)
    if not isinstance(value, (dict, list)):
        raise NotAHook("the body must be an object")
    found = [_read(one) for one in (value if isinstance(value, list) else [value])]
    return Heard(
        tuple(one for one in found if isinstance(one, Hint)),
        tuple(one for one in found if isinstance(one, Ended)),
        found.count(None),
    )


def _read_again(body: bytes) -> Any:
    """Read what strict JSON refuses: half an emoji, a raw line break, NaN, a BOM, bytes of cp1251. Raises NotAHook."""
    try:
        return read_leniently(body)
    except Unreadable:
        raise NotAHook("the body is not JSON") from None


def _read(value: Any) -> Hint | Ended | None:
    if not isinstance(value, dict):
        return None
    try:
        if "event" in value and "resource" not in value:
            reason = _EVENTS.get(_word(value["event"]))
            return None if reason is None else Ended(as_id(value.get("salon_id"), "salon_id"), reason)
        resource = _resource(_word(value.get("resource")))
        if resource is None:
            return None
        company = as_id(value.get("company_id"), "company_id")
        one = as_id(value.get("resource_id"), "resource_id") if resource in SINGLE else 0
    except FieldError:
        return None
    status = _word(value.get("status"))
    return Hint(company, resource, one, status if status in (CREATE, UPDATE, DELETE) else UPDATE)


def _resource(name: str) -> str | None:
    return _GOODS_OPERATION if name.startswith("goods_operation") else _RESOURCES.get(name)


def _word(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def one_of_each(hints: Iterator[Hint]) -> dict[tuple[int, str, int], tuple[str, int]]:
    """By salon, resource and id: the status and how often it was told. That something was deleted is not forgotten."""
    found: dict[tuple[int, str, int], tuple[str, int]] = {}
    for hint in hints:
        key = (hint.company, hint.resource, hint.resource_id)
        status, count = found.get(key, (hint.status, 0))
        found[key] = (status if status == DELETE else hint.status, count + 1)
    return found
