"""How is a stream declared in a few lines: where it is asked for, how it is paged, and which columns its rows have?

A declaration (`model.streams` holds them) is all that the rest needs: request, parser, row, columns, reading and cadence follow
from it. What it cannot say (another way of paging, rows of several tables) is written by hand, as for clients and records.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cache
from typing import Any, Final

import msgspec

from ycsync.model.lenient import Lenient
from ycsync.model.page import parse_page
from ycsync.model.payload import encode
from ycsync.model.rows import Parsed
from ycsync.model.times import UNKNOWN, as_day, as_instant, local_zone
from ycsync.model.values import FieldError, as_bool, as_id, as_int, as_money, as_object, as_optional_id, as_text, is_empty

Payload = Mapping[str, Any]
Reader = Callable[[Any, str, tzinfo], Any]


class Paging(enum.Enum):
    """How a list is read so that nothing is lost while it changes."""

    ANSWER = "answer"  # all of a span of days in one answer: one moment
    PAGES = "pages"  # page by page, each overlapping the one before (plan.scan)
    WINDOWS = "windows"  # by windows of dates, each one answer (plan.sweep)


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of column: PostgreSQL's name for it, how a value becomes one, and what an unreadable value becomes."""

    sql: str
    read: Reader
    empty: Any = None


def _json(value: Any, field: str, _zone: tzinfo) -> str:
    return encode([] if is_empty(value) else value).decode()


ID: Final = Kind("bigint", lambda value, field, _zone: as_optional_id(value, field))
TEXT: Final = Kind("text", lambda value, field, _zone: as_text(value, field), "")
INTEGER: Final = Kind("integer", lambda value, field, _zone: as_int(value, field))
MONEY: Final = Kind("numeric", lambda value, field, _zone: as_money(value, field))
FLAG: Final = Kind("boolean", lambda value, field, _zone: as_bool(value, field), False)
DAY: Final = Kind("date", lambda value, field, _zone: as_day(value, field))
INSTANT: Final = Kind("timestamptz", as_instant)
JSON: Final = Kind("jsonb", _json, "[]")


@dataclass(frozen=True, slots=True)
class Field:
    """One column. `at`: where it stands in the payload, `good.id` inside of another; the first that says something counts.

    `needed`: it places the row (its id, the date that windows filter by), so a row without it goes to quarantine.
    """

    column: str
    kind: Kind
    at: tuple[str, ...] = ()
    needed: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it is looked for."""
        return self.at or (self.column,)

    def of(self, payload: Payload, zone: tzinfo, read: Lenient) -> Any:
        """The column's value; an unreadable one is noted in `read`. Raises FieldError where the column is needed."""
        try:
            found = self.kind.read(self._value(payload), self.column, zone)
        except FieldError:
            if self.needed:
                raise
            read.note(self.column)
            return self.kind.empty
        if self.needed and found is None:
            raise FieldError(f"{self.column}: missing")
        return found

    def _value(self, payload: Payload) -> Any:
        """The first place that says something. Raises FieldError where only places that cannot be read might."""
        problem: FieldError | None = None
        for path in self.paths:
            try:
                value = _at(payload, path)
            except FieldError as error:
                problem = error
                continue
            if not is_empty(value):
                return value
        if problem is not None:
            raise problem
        return None


def _at(payload: Payload, path: str) -> Any:
    *outer, last = path.split(".")
    for name in outer:
        payload = as_object(payload.get(name), name)
    return payload.get(last)


@dataclass(frozen=True, slots=True)
class Declared:
    """One stream of a salon.

    path     of the request, with {company}
    every    how often it is read once it is switched on
    size     rows of a page that may be asked for
    dated    the column by whose day in the salon the list is filtered (WINDOWS and ANSWER)
    changes  the list can be asked for what changed (`changed_after`)
    span     days before and after today that one answer is asked for (ANSWER)
    key      where a row's id stands, or what makes one of its columns
    quiet    requests of a cycle in which nothing happened, about
    derived  columns that follow from the others when the payload does not say them
    """

    name: str
    path: str
    paging: Paging
    every: timedelta
    fields: tuple[Field, ...]
    size: int = 100
    dated: str | None = None
    changes: bool = False
    span: tuple[int, int] = (0, 0)
    key: tuple[str, ...] | Callable[[Mapping[str, Any]], int] = ("id",)
    quiet: int = 1
    derived: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Name and PostgreSQL type of each column of its own."""
        return tuple((field.column, field.kind.sql) for field in self.fields)


_decoder: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


@cache
def _row_type(stream: Declared) -> Any:
    """A frozen row with the columns; `day`, its day in the salon, is what windows filter by."""
    names = ["id", *(name for name, _ in stream.columns), "changed_at", "deleted", "raw", "day", "odd"]
    return dataclasses.make_dataclass(stream.name, names, frozen=True, slots=True)


def parse_declared(stream: Declared, raws: Sequence[bytes], zone: tzinfo = UTC, **given: Any) -> Parsed[Any]:
    """Rows of a declared stream: objects with its columns. `given`: what the request says and its rows leave out."""
    make = _row_type(stream)
    stamped = ["last_change_date", *(path for field in stream.fields if field.kind is INSTANT for path in field.paths)]

    def values(payload: Payload, read: Lenient) -> dict[str, Any]:
        place = local(payload)
        payload = {**given, **payload} if given else payload
        found = {field.column: field.of(payload, place, read) for field in stream.fields}
        return found if stream.derived is None else stream.derived(found)

    def local(payload: Payload) -> tzinfo:
        return local_zone(zone, *map(payload.get, stamped)) if zone is UNKNOWN else zone

    def identify(payload: dict[str, Any]) -> Any:
        if callable(stream.key):
            return stream.key(values(payload, Lenient()))
        for name in stream.key:
            if not is_empty(payload.get(name)):
                return payload[name]
        return None

    def build(entity: int, payload: dict[str, Any], text: str) -> Any:
        read = Lenient()
        found, place = values(payload, read), local(payload)
        return make(
            id=entity,
            **found,
            changed_at=read.instant(payload.get("last_change_date"), "changed_at", place),
            deleted=read.flag(payload.get("deleted"), "deleted"),
            raw=text,
            day=None if stream.dated is None else _day(found[stream.dated], place),
            odd=read.odd,
        )

    return parse_page(raws, _decoder, build, identify)


def _day(value: date | datetime | None, zone: tzinfo) -> date | None:
    return value.astimezone(zone).date() if isinstance(value, datetime) else value


def staff_day(values: Mapping[str, Any]) -> int:
    """The id of a master's day, which the API gives none: both in one number. Raises FieldError."""
    staff, day = as_id(values["staff_id"], "staff_id"), values["date"]
    if staff > 90_000_000_000_000:
        raise FieldError("staff_id: out of range")
    return int(staff * 100_000 + (day - date(1970, 1, 1)).days)
