"""Which columns do the entity tables have, and what is the statement that stores a page of one?

The columns here, the migrations and the rows of `model` name the same things; `migrate` checks the database against this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ycsync import sql
from ycsync.model.declared import Declared
from ycsync.model.streams import DECLARED

Column = tuple[str, str]


@dataclass(frozen=True, slots=True)
class NamedBy:
    """A table and its column that hold the ids of another; `living`: a condition on its rows (`n`) that count."""

    table: str
    column: str
    living: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One entity table: its own columns (name, PostgreSQL type) in the order of the statement's arrays."""

    name: str
    columns: tuple[Column, ...]
    scoped: bool = True  # keyed by company_id and id, not by id alone
    kept: Mapping[str, str] | None = None  # column -> flag of the row: while it is true the stored value stays
    dated: Column | None = None  # what windows of dates are swept by
    named_by: NamedBy | None = None  # what names rows that left their list: those stay, with `listed` false
    expected_to_leave: str = ""  # condition on rows that may leave their list in any number
    flagged: str = "t.raw ->> 'deleted' in ('true', '1')"  # SQL: the payload of `t` itself says that it is deleted

    @property
    def arrays(self) -> tuple[Column, ...]:
        """The arrays of the statement: the columns, then the flags."""
        flags = dict.fromkeys((self.kept or {}).values())
        return (*self.columns, *((flag, "boolean") for flag in flags), ("deleted", "boolean"))

    def filled(self, statement: str) -> str:
        """The statement for this table: its name, its dates, and which rows stand in its list."""
        at, kind = self.dated or ("", "")
        listed = "" if self.named_by is None else "and listed"
        guarded = f"{listed} and not ({self.expected_to_leave})" if self.expected_to_leave else listed
        named = self.named_by or NamedBy("", "")
        parts = {
            "table": self.name, "at": at, "kind": kind, "listed": listed, "guarded": guarded,
            "named": named.table, "column": named.column, "living": named.living,
        }  # fmt: skip
        for name, part in parts.items():
            statement = statement.replace("{" + name + "}", part)
        return statement

    @property
    def seen_at(self) -> str:
        """SQL: since when the stored row `t` is known to be as it is; no page that left earlier overwrites it.

        A row that pages no longer showed was deleted later than it was missed: `observed_at` is the deletion's commit,
        `deleted_at` is when the page that missed it left. A page that left between the two and shows the row is newer.
        """
        return f"case when t.deleted_at is not null and ({self.flagged}) is not true then t.deleted_at else t.observed_at end"


_TAIL: tuple[Column, ...] = (("raw", "jsonb"), ("changed_at", "timestamptz"))

COMPANIES = Table(
    "companies",
    (
        ("id", "bigint"),
        ("title", "text"),
        ("timezone", "text"),
        ("timezone_known", "boolean"),
        ("currency", "text"),
        ("active", "boolean"),
        *_TAIL,
    ),
    scoped=False,
    # A zone that was known stays while YCLIENTS does not tell it.
    kept={"timezone": "timezone_unknown", "timezone_known": "timezone_unknown"},
)
SERVICE_CATEGORIES = Table(
    "service_categories",
    (("id", "bigint"), ("title", "text"), ("weight", "integer"), ("listed", "boolean"), *_TAIL),
    named_by=NamedBy("services", "category_id", "and n.deleted_at is null"),
)
SERVICES = Table(
    "services",
    (
        ("id", "bigint"),
        ("category_id", "bigint"),
        ("title", "text"),
        ("booking_title", "text"),
        ("price_min", "numeric"),
        ("price_max", "numeric"),
        ("duration_s", "integer"),
        ("discount", "numeric"),
        ("active", "boolean"),
        ("comment", "text"),
        ("weight", "integer"),
        ("listed", "boolean"),
        *_TAIL,
    ),
    named_by=NamedBy("record_services", "service_id"),
)
STAFF = Table(
    "staff",
    (
        ("id", "bigint"),
        ("name", "text"),
        ("specialization", "text"),
        ("position_title", "text"),
        ("fired", "boolean"),
        ("hidden", "boolean"),
        ("user_id", "bigint"),
        ("weight", "integer"),
        ("listed", "boolean"),
        *_TAIL,
    ),
    named_by=NamedBy("records", "staff_id"),
    expected_to_leave="fired",
    flagged="t.raw ->> 'status' = '1'",
)
CLIENTS = Table(
    "clients",
    (
        ("id", "bigint"),
        ("name", "text"),
        ("surname", "text"),
        ("patronymic", "text"),
        ("phone", "text"),
        ("phone_raw", "text"),
        ("email", "text"),
        ("sex_id", "integer"),
        ("birth_date", "date"),
        ("birth_month", "smallint"),
        ("birth_day", "smallint"),
        ("discount", "numeric"),
        ("importance_id", "integer"),
        ("card", "text"),
        ("comment", "text"),
        ("categories", "jsonb"),
        ("spent", "numeric"),
        ("balance", "numeric"),
        ("visit_count", "integer"),
        ("first_visit_at", "timestamptz"),
        ("last_visit_at", "timestamptz"),
        *_TAIL,
    ),
    kept={"phone": "phone_masked", "phone_raw": "phone_masked", "email": "email_masked"},
)
RECORDS = Table(
    "records",
    (
        ("id", "bigint"),
        ("visit_id", "bigint"),
        ("client_id", "bigint"),
        ("staff_id", "bigint"),
        ("starts_at", "timestamptz"),
        ("duration_s", "integer"),
        ("attendance", "integer"),
        ("status", "text"),
        ("online", "boolean"),
        ("comment", "text"),
        ("cost", "numeric"),
        ("paid", "numeric"),
        ("activity_id", "bigint"),
        ("created_at", "timestamptz"),
        *_TAIL,
    ),
    dated=("starts_at", "timestamptz"),
    flagged="t.status = 'cancelled'",
)


def _declared(stream: Declared) -> Table:
    dated = next((column for column in stream.columns if column[0] == stream.dated), None)
    return Table(stream.name, (("id", "bigint"), *stream.columns, *_TAIL), dated=dated)


TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (COMPANIES, SERVICE_CATEGORIES, SERVICES, STAFF, CLIENTS, RECORDS, *map(_declared, DECLARED.values()))
}
# The views, and the migration that makes each.
VIEWS: Mapping[str, int] = {"visits": 4, "client_profiles": 4}


@cache
def upsert(table_name: str, schema: str, untold: frozenset[str] = frozenset()) -> str:
    """The statement that stores a page of one table; its arrays are `Table.arrays`, from $3 on.

    `untold`: columns of which the page says nothing; rows that are there keep them, and what `raw` says of them.
    """
    table = TABLES[table_name]
    names = [name for name, _ in table.columns]
    kept = table.kept or {}
    types = dict(table.columns)

    def value(name: str, base: str) -> str:
        if name in untold:
            return f"case when t.id is null then {base} else t.{name} end"
        if untold and name == "raw":
            return f"coalesce(t.raw, '{{}}') || {base}"
        if flag := kept.get(name):
            before = f"nullif(t.{name}, '')" if types[name] == "text" else f"t.{name}"
            return f"case when i.{flag} then coalesce({before}, {base}) else {base} end"
        return base

    values = [f"{value(name, f'i.{name}')} as {name}" for name in names]
    parts = {
        "arrays": ", ".join(f"${n}::{type_}[]" for n, (_, type_) in enumerate(table.arrays, 3)),
        "names, deleted": ", ".join(name for name, _ in table.arrays),
        "names": ", ".join(names),
        "values": ", ".join(values),
        "stored": ", ".join(f"t.{name}" for name in names),
        "values_cast": ", ".join(value(name, f"i.{name}") for name in names),
        "table": table.name,
        "seen_at": table.seen_at,
        "match": "t.company_id = $2::bigint and t.id = i.id" if table.scoped else "$2::bigint = 0 and t.id = i.id",
        "scope": "company_id, " if table.scoped else "",
        "scope_value": "$2::bigint, " if table.scoped else "",
        "key": "company_id, id" if table.scoped else "id",
        "assignments": ", ".join(f"{name} = excluded.{name}" for name in names if name != "id"),
    }
    text = sql.load("upsert.sql", schema)["upsert"]
    text = text.replace("{names}, deleted", parts.pop("names, deleted"), 1)
    for key, part in parts.items():
        text = text.replace("{" + key + "}", part)
    return text


def arrays(table: Table, rows: Sequence[object]) -> list[list[object]]:
    """The rows turned into one list a column, as the statement wants them."""
    return [[getattr(row, name) for row in rows] for name, _ in table.arrays]
