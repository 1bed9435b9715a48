"""Which stored times depend on the salon's time zone, and how they are computed again from `raw` when it changes.

The work goes in slices, each a transaction that advances the cursor's `version`: what a page read by the former zone does not
commit afterwards. `sync_status.zone` says by which zone the stream's rows were computed; it changes after the last slice, so
that work that was cut off begins again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from ycsync import sql
from ycsync.errors import Fenced, RowsRefused
from ycsync.model import Parsed
from ycsync.model.declared import INSTANT
from ycsync.model.streams import DECLARED
from ycsync.store.database import Connection, Database, translated

SLICE = 5000  # rows a transaction
PAYLOADS = 500  # that Python reads at once

# Column -> where the payload has it; the first that says something counts.
_CHANGED: Final = {"changed_at": ("last_change_date",)}
_TIMES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "records": {"starts_at": ("date", "datetime"), "created_at": ("create_date",), **_CHANGED},
    "clients": {"first_visit_at": ("first_visit_date",), "last_visit_at": ("last_visit_date",), **_CHANGED},
    **{
        stream.name: {**{field.column: field.paths for field in stream.fields if field.kind is INSTANT}, **_CHANGED}
        for stream in DECLARED.values()
    },
}
ZONED: Final = frozenset(_TIMES)
"""Streams with times that are computed by the salon's zone; their tables have the same names."""
_STAMPED: Final = {"starts_at": "datetime"}  # where the clock shows an hour twice, the offset of this text tells which is meant
_NOTHING: Final = "('', '0', 'false', '[]', '{}')"

Parse = Callable[[Sequence[bytes]], Parsed[Any]]


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slice did. `last`: its last id, None: there was none left; `reread`: rows that Python had to read."""

    version: int
    last: int | None
    changed: int = 0
    reread: int = 0


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A stream whose rows are of the zone `before` (None: not known) in a salon whose zone is `zone` now."""

    company: int
    stream: str
    version: int
    cursor: str | None
    before: str | None
    zone: str


class Zones:
    """Computes the times of one database's rows anew."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("zones.sql")

    async def slice(self, company: int, stream: str, version: int, after: int, zone: str, parse: Parse) -> Slice:
        """Compute the times of the next rows after id `after`. `zone`: empty: unknown, then `parse` reads every payload.

        Raises Fenced, DatabaseUnavailable or DatabaseError; then nothing was changed.
        """
        async with self._database.transaction() as connection:
            await self._advanced(connection, self._sql["lock"], company, stream, version)
            rows = await connection.fetch(self._sql["slice"].replace("{table}", stream), company, after, SLICE)
            if not rows:
                return Slice(version, None)
            version = await self._advanced(connection, self._sql["fence"], company, stream, version)
            ids = [row["id"] for row in rows]
            changed, odd = await self._recompute(connection, company, stream, after, ids, zone)
            for place in range(0, len(odd), PAYLOADS):
                changed += await self._reread(connection, company, stream, odd[place : place + PAYLOADS], parse)
        return Slice(version, ids[-1], changed, len(odd))

    async def settle(self, company: int, stream: str, version: int, zone: str, cursor: str | None, *, anew: bool) -> int:
        """Every row is of this zone now; returns the version. `anew`: the reading under way begins again. Raises Fenced."""
        async with self._database.transaction() as connection:
            settled = await self._advanced(connection, self._sql["settle"], company, stream, version, zone, cursor)
            if anew:
                await connection.execute(self._sql["forget_missing"], company, stream)
        return settled

    async def due(self, connection: Connection) -> None:
        """Salons were stored: streams whose rows are of another zone than their salon's are due now."""
        await connection.execute(self._sql["due"])

    async def idle(self) -> tuple[Misplaced, ...]:
        """Streams that are switched off and whose rows are of another zone than their salon's."""
        rows = await self._database.fetch(self._sql["idle"])
        return tuple(Misplaced(**row) for row in rows)

    async def _advanced(self, connection: Connection, statement: str, company: int, stream: str, *args: object) -> int:
        version = await connection.fetchval(statement, company, stream, *args)
        if version is None:
            raise Fenced(
                f"salon {company}, {stream}: another worker advanced this cursor while times were computed for another time "
                "zone; that goes on from where it is."
            )
        return int(version)

    async def _recompute(
        self, connection: Connection, company: int, stream: str, after: int, ids: list[int], zone: str
    ) -> tuple[int, list[int]]:
        """How many rows the statement changed, and ids of those that it cannot read."""
        if not zone:
            return 0, ids
        try:
            with translated(self._database.where, self._database.url_from):
                async with connection.transaction():
                    row = await connection.fetchrow(recompute(stream, self._database.schema), company, after, ids[-1], zone)
        except RowsRefused:  # a zone that this PostgreSQL does not know, or a text that is no date
            return 0, ids
        assert row is not None
        return row["changed"], row["odd"]

    async def _reread(self, connection: Connection, company: int, stream: str, ids: list[int], parse: Parse) -> int:
        """Read payloads again in Python; how many rows changed. What cannot be read any more stays as it is."""
        rows = await connection.fetch(self._sql["payloads"].replace("{table}", stream), company, ids)
        parsed = parse([row["raw"].encode() for row in rows]).rows
        columns = [[row.id for row in parsed], *([getattr(row, name) for row in parsed] for name in _TIMES[stream])]
        tag: str = await connection.execute(_rewrite(stream, self._database.schema), company, *columns)
        return int(tag.rsplit(" ", 1)[-1])


@cache
def recompute(stream: str, schema: str) -> str:
    """The statement that computes one slice's times by the salon's zone."""
    names = list(_TIMES[stream])
    texts = [
        f"('{name}', t.{name}, {_said(paths)}, {_raw(_STAMPED[name]) if name in _STAMPED else 'null'})"
        for name, paths in _TIMES[stream].items()
    ]
    return _filled(
        "recompute",
        stream,
        schema,
        texts=", ".join(texts),
        picked=", ".join(f"max(instant) filter (where name = '{name}') as {name}" for name in names),
        assigned=", ".join(f"{name} = coalesce(f.{name}, t.{name})" for name in names),
        new=", ".join(f"coalesce(f.{name}, t.{name})" for name in names),
        old=", ".join(f"t.{name}" for name in names),
    )


@cache
def _rewrite(stream: str, schema: str) -> str:
    names = list(_TIMES[stream])
    return _filled(
        "rewrite",
        stream,
        schema,
        arrays=", ".join(["$2::bigint[]", *(f"${n}::timestamptz[]" for n in range(3, 3 + len(names)))]),
        names=", ".join(names),
        given=", ".join(f"{name} = n.{name}" for name in names),
        stored=", ".join(f"t.{name}" for name in names),
        incoming=", ".join(f"n.{name}" for name in names),
    )


def _filled(statement: str, stream: str, schema: str, **parts: str) -> str:
    text = sql.load("zones.sql", schema)[statement].replace("{table}", stream)
    for key, part in parts.items():
        text = text.replace("{" + key + "}", part)
    return text


def _raw(path: str) -> str:
    return f"t.raw #>> '{{{path.replace('.', ',')}}}'"


def _said(paths: Sequence[str]) -> str:
    """The first text that is not PHP's way to say nothing."""
    texts = [
        f"case when btrim({_raw(path)}) not in {_NOTHING} and {_raw(path)} !~ '^ *(0000-00-00|-0001-11-30)' "
        f"then btrim({_raw(path)}) end"
        for path in paths
    ]
    return f"coalesce({', '.join(texts)})"
