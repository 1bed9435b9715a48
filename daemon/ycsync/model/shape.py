"""What does a payload look like, without a word of what stands in it?

For whoever must find out why a row could not be stored: which fields it has, of which type, how long. A key that ycsync does
not know may itself be a name or a phone, so it is counted and not shown.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from ycsync.model.catalogue import _RawCompany, _RawService, _RawServiceCategory, _RawStaff
from ycsync.model.clients import _RawClient
from ycsync.model.records import _RawRecord
from ycsync.model.streams import DECLARED

MOST_KEYS: Final = 60
DEEPEST: Final = 3

_KINDS: Final = (_RawCompany, _RawService, _RawServiceCategory, _RawStaff, _RawClient, _RawRecord)
# What stands inside of visits and cards (YCLIENTS API, Records and Clients), besides the fields that are read of a row itself.
_INNER: Final = (
    "access", "account", "color", "cost_per_unit", "cost_to_pay", "created_user_id", "custom_fields", "data", "display_name",
    "documents", "first_cost", "is_new", "last_name", "manual_cost", "meta", "position", "price_max", "price_min", "success",
    "success_visits_count", "fail_visits_count", "type", "unit", "value",
)  # fmt: skip
_DECLARED: Final = (path for stream in DECLARED.values() for field in stream.fields for path in field.paths)
KNOWN: Final = frozenset(
    (
        *(name for kind in _KINDS for name in kind.__struct_encode_fields__),
        *(name for path in _DECLARED for name in path.split(".")),
        *_INNER,
    )
)
"""Keys that are words of the API, and so nobody's name."""


_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)


def shape(text: str) -> str:
    """The shape of one payload, as JSON text: `{id: text(5), name: text(12), services: list(2) of {id: number}, 3 others}`."""
    try:
        value = _DECODER.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return f"not JSON ({len(text)} characters)"
    return _shape(value, 0)


def _shape(value: Any, depth: int) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    if isinstance(value, (int, Decimal)):
        return "number"
    if isinstance(value, str):
        return f"text({len(value)})"
    if isinstance(value, list):
        inner = f" of {_shape(value[0], depth + 1)}" if value and depth < DEEPEST else ""
        return f"list({len(value)}){inner}"
    assert isinstance(value, dict)
    if depth >= DEEPEST:
        return f"object({len(value)})"
    shown = [key for key in value if key in KNOWN][:MOST_KEYS]
    parts = [f"{key}: {_shape(value[key], depth + 1)}" for key in shown]
    if others := len(value) - len(shown):
        parts.append(f"{others} other{'' if others == 1 else 's'}")
    return f"{{{', '.join(parts)}}}"
