"""What does one JSON value mean in a typed column?

PHP writes ids as `12` or `"12"`, flags as `true`, `1` or `"1"`, money as `12`, `12.5` or `"12,50"`, and
nothing as `null`, `""`, `false`, `[]` or `{}` (YCLIENTS API, "Quirks"). A value that is not empty and cannot
be understood, or that the column's SQL type cannot hold, raises FieldError: its text names the field and
never quotes the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any, cast

MAX_ID = 2**63 - 1
_INT4_MIN, _INT4_MAX = -(2**31), 2**31 - 1
_MONEY_MAX = 10**30
_MONEY_SCALE = 100  # digits after the point; more than that is no amount of anything

_WHOLE = re.compile(r"\s*([+-]?[0-9]{1,40})(?:\.0*)?\s*")
_AMOUNT = re.compile(r"[+-]?(?:[0-9]{1,60}(?:\.[0-9]{0,100})?|\.[0-9]{1,100})(?:[eE][+-]?[0-9]{1,3})?")
_SPACES = re.compile(r"[\s\u00a0\u202f\u2009]+")
_EXACT = Context(prec=400)  # sums of amounts are never rounded

_TRUE = frozenset(("1", "true"))
_FALSE = frozenset(("0", "false", ""))


class FieldError(ValueError):
    """One field of a payload cannot be stored: `starts_at: not a date`. Never quotes the value."""


def is_empty(value: Any) -> bool:
    """Whether PHP meant "nothing" (0 is a value here: columns for which it is nothing say so themselves)."""
    return value is None or value is False or value == "" or (value.__class__ in (list, dict) and not value)


def as_id(value: Any, field: str) -> int:
    """An id that must be there: 1 to 2^63-1."""
    if value.__class__ is not int:
        value = _whole(value, field, "not an id")
    if not 1 <= value <= MAX_ID:
        raise FieldError(f"{field}: not an id")
    return cast(int, value)


def as_optional_id(value: Any, field: str) -> int | None:
    """An id that may be missing; 0 means that too."""
    if value.__class__ is not int:
        if is_empty(value) or (value.__class__ is str and not value.strip()):
            return None
        value = _whole(value, field, "not an id")
    if value == 0:
        return None
    if not 1 <= value <= MAX_ID:
        raise FieldError(f"{field}: not an id")
    return cast(int, value)


def as_int(value: Any, field: str) -> int | None:
    """A whole number that fits `integer`."""
    if value.__class__ is not int:
        if is_empty(value) or (value.__class__ is str and not value.strip()):
            return None
        value = _whole(value, field, "not a whole number")
    if not _INT4_MIN <= value <= _INT4_MAX:
        raise FieldError(f"{field}: out of range")
    return cast(int, value)


def _whole(value: Any, field: str, reason: str) -> int:
    if value.__class__ is str and (match := _WHOLE.fullmatch(value)):
        return int(match[1])
    # The bounds come first: int() of a Decimal such as 1E+100000 would be slow.
    if value.__class__ is Decimal and -_MONEY_MAX < value < _MONEY_MAX and value == value.to_integral_value():
        return int(value)
    raise FieldError(f"{field}: {reason}")


def as_money(value: Any, field: str) -> Decimal | None:
    """An amount, exactly as it was written: a comma or a point, spaces between thousands."""
    if value.__class__ is int:
        if -_MONEY_MAX <= value <= _MONEY_MAX:
            return Decimal(value)
        raise FieldError(f"{field}: out of range")
    if value.__class__ is Decimal:
        amount = value
    elif value.__class__ is str:
        text = _SPACES.sub("", value)
        if not text:
            return None
        if "," in text and "." not in text:
            text = text.replace(",", ".", 1)
        if not _AMOUNT.fullmatch(text):
            raise FieldError(f"{field}: not a number")
        amount = Decimal(text)
    elif is_empty(value):
        return None
    else:
        raise FieldError(f"{field}: not a number")
    if not -_MONEY_MAX <= amount <= _MONEY_MAX or cast(int, amount.as_tuple().exponent) < -_MONEY_SCALE:
        raise FieldError(f"{field}: out of range")
    return amount


def add_up(amounts: Sequence[Decimal]) -> Decimal:
    """The exact sum; the default context would round beyond 28 digits."""
    if len(amounts) == 1:
        return amounts[0]
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def as_bool(value: Any, field: str, default: bool = False) -> bool:
    """A flag; `default` stands for a missing one."""
    if value.__class__ is bool:
        return value
    if value is None:
        return default
    if value.__class__ in (int, Decimal) and value in (0, 1):
        return bool(value)
    if value.__class__ is str:
        text = value.strip().lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return default if text == "" else False
    elif value.__class__ in (list, dict) and not value:
        return default
    raise FieldError(f"{field}: neither yes nor no")


def as_text(value: Any, field: str) -> str:
    """A text; a number's own digits where one stands for it; nothing is an empty text."""
    if value.__class__ is str:
        return value
    if is_empty(value):
        return ""
    if value is True:
        return "true"
    if value.__class__ is int:
        return str(value)
    if value.__class__ is Decimal:
        # A phone may come as 7.9990000011E10: whole numbers are written out.
        whole = -_MONEY_MAX < value < _MONEY_MAX and value == value.to_integral_value()
        return str(int(value)) if whole else str(value)
    raise FieldError(f"{field}: not a text")


def as_object(value: Any, field: str) -> dict[str, Any]:
    """An object; `[]`, null and the like are an empty one."""
    if value.__class__ is dict:
        return cast(dict[str, Any], value)
    if is_empty(value) or value == 0:
        return {}
    raise FieldError(f"{field}: not an object")


def listed(value: Any, field: str) -> list[Any]:
    """A list's items; PHP writes a list with gaps in its keys as `{"0": …, "2": …}`, and any other object is one item."""
    if value.__class__ is dict:
        return list(value.values()) if all(key.isdecimal() for key in value) else [value]
    if is_empty(value) or value == 0:
        return []
    if value.__class__ is not list:
        raise FieldError(f"{field}: not a list")
    return value
