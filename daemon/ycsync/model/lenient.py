"""Reads the optional values of one row: a value that cannot be read becomes null, never a reason to refuse the row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, TypeVar

from ycsync.model.times import as_instant
from ycsync.model.values import (
    FieldError,
    as_bool,
    as_int,
    as_money,
    as_object,
    as_optional_id,
    as_text,
    is_empty,
    listed,
)

T = TypeVar("T")


class Lenient:
    """The readers of `model.values` for one row. An unreadable value gives null, or the column's empty value.

    `odd`: the columns with an unreadable value, each once.
    """

    __slots__ = ("odd",)

    def __init__(self) -> None:
        self.odd: tuple[str, ...] = ()

    def note(self, field: str) -> None:
        """Note that a value of this column cannot be read."""
        if field not in self.odd:
            self.odd = (*self.odd, field)

    def read(self, reader: Callable[[Any, str], T], value: Any, field: str, empty: T) -> T:
        """Return what `reader` makes of the value, or `empty`."""
        try:
            return reader(value, field)
        except FieldError:
            self.note(field)
            return empty

    def text(self, value: Any, field: str) -> str:
        """A text; unreadable: an empty one."""
        if value.__class__ is str:
            text: str = value
            return text
        return self.read(as_text, value, field, "")

    def id(self, value: Any, field: str) -> int | None:
        """An id; missing or unreadable: None."""
        try:
            return as_optional_id(value, field)
        except FieldError:
            self.note(field)
            return None

    def integer(self, value: Any, field: str) -> int | None:
        """A whole number; missing or unreadable: None."""
        try:
            return as_int(value, field)
        except FieldError:
            self.note(field)
            return None

    def money(self, value: Any, field: str, missing: Decimal | None = None) -> Decimal | None:
        """An amount; unreadable: None, whatever stands for a missing one."""
        try:
            found = as_money(value, field)
        except FieldError:
            self.note(field)
            return None
        return missing if found is None else found

    def flag(self, value: Any, field: str, default: bool = False) -> bool:
        """A flag; missing or unreadable: `default`."""
        try:
            return as_bool(value, field, default)
        except FieldError:
            self.note(field)
            return default

    def instant(self, value: Any, field: str, zone: tzinfo = UTC) -> datetime | None:
        """An instant in UTC; missing or unreadable: None."""
        try:
            return as_instant(value, field, zone)
        except FieldError:
            self.note(field)
            return None

    def object(self, value: Any, field: str) -> dict[str, Any]:
        """An object; missing or unreadable: an empty one."""
        return self.read(as_object, value, field, {})

    def objects(self, value: Any, field: str) -> Sequence[dict[str, Any]]:
        """A list's objects, save empty ones and what is no object; unreadable: none."""
        found: list[dict[str, Any]] = []
        items: list[Any] = self.read(listed, value, field, [])
        for item in items:
            if item.__class__ is dict:
                if item:
                    found.append(item)
            elif not is_empty(item) and item != 0:
                self.note(field)
        return found
