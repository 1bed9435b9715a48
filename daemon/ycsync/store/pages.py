"""How does a page get into the database: rows, cursor and counters in one transaction, or nothing?

A commit is fenced by the cursor's `version`: if another worker advanced it since this page was planned, the transaction
rolls back and Fenced is raised. Rows that PostgreSQL refuses are looked for by halves and go to quarantine; the rest of
their page is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ycsync.errors import Fenced, RowsRefused
from ycsync.model import Record, Reject
from ycsync.model.payload import as_json_string
from ycsync.model.times import zone_of
from ycsync.store import tables
from ycsync.store.database import Connection, Database, translated
from ycsync.store.hooks import Hooks
from ycsync.store.moved import MovedVisits
from ycsync.store.personal import Admitted, admitted
from ycsync.store.zones import Zones


@dataclass(frozen=True, slots=True)
class Swept:
    """What a page proves to be gone: rows of this range that are not among `ids` (None: open at that end)."""

    ids: tuple[int, ...]
    by: str  # "ids" or "dates"
    lo: int | datetime | date | None = None  # ids: above this; dates: from this instant or day
    hi: int | datetime | date | None = None  # ids: up to this; dates: before this instant or day


@dataclass(frozen=True, slots=True)
class PageRows:
    """The rows of one answer for one table. `observed_at`: before the request left."""

    table: str
    rows: Sequence[Any]
    rejects: Sequence[Reject]
    observed_at: datetime
    swept: Swept | None = None
    untold: frozenset[str] = frozenset()  # columns of which this answer says nothing: what is stored stays


@dataclass(frozen=True, slots=True)
class Advance:
    """The cursor's next state, and what is said of the stream with it."""

    company: int
    stream: str
    version: int  # the version that this was planned on
    cursor: str
    phase: str
    expected: int | None
    done: int
    requests: int
    proved_as_of: datetime | None = None
    pass_started_at: datetime | None = None
    due_in_s: float | None = None  # with a proof: when it is due again, should this process not live to say so
    zone: str | None = None  # by which the pages were read, as `sync_status.zone` has it; None: it does not matter


@dataclass(slots=True)
class Effect:
    """What the commit did, in rows."""

    inserted: int = 0
    changed: int = 0
    quarantined: int = 0
    deleted: int = 0
    held_back: int = 0  # rows that a sweep would delete, but they are too many
    live: int = 0
    version: int = 0
    untold: int = 0  # rows that were written though they had changed long before the request left
    reasons: list[str] = field(default_factory=list)
    odd: Counter[tuple[str, str]] = field(default_factory=Counter)  # (stream, field) -> rows written with an unreadable value


@dataclass(frozen=True, slots=True)
class EndOfSweep:
    """Every page of a sweep has committed: delete what was missing, unless it is more than `share` of the rows."""

    tables: tuple[str, ...]
    share: float
    confirmed: bool = False  # the user said that the deletions are right
    salons: tuple[int, ...] | None = None  # the whole list of salons, when that is what was read
    observed_at: datetime | None = None  # of that list
    settled: datetime | None = None  # all was read since then: what was quarantined before and not again is there no more
    start: datetime | date | None = None  # only what is dated from here on was swept
    doubted_before: datetime | None = None  # only what was missed before and since this instant is gone; the rest is in doubt


_FEW = 10
TOLD_AFTER = timedelta(minutes=1)  # by then a webhook has told of a change, if it tells at all


def _may_go(share: float, live: int, swept: int) -> float:
    """How many rows may go unasked, of `live` ones of which `swept` were in the range that was read.

    The share counts of what was read: a user who sees a fraction from now on must not empty the recent weeks, though they are
    few beside ten years. A few weeks are soon a dozen visits, so there ten may go; and one row always may: in a list of eight
    that is more than the share, and everyday life.
    """
    return max(1, min(share * live, max(_FEW, share * swept)))


def _of(statement: str, name: str) -> str:
    """The statement for one table."""
    return tables.TABLES[name].filled(statement)


def _rows(tag: str) -> int:
    """How many rows a statement changed, by what PostgreSQL says of it."""
    return int(tag.rsplit(" ", 1)[-1])


def _nameless(page: PageRows) -> bool:
    """Does the answer hold a row whose id could not be read? It may be any row, so none is known to be missing."""
    ids = set() if page.swept is None else {str(entity) for entity in page.swept.ids}
    return any(reject.entity_id not in ids for reject in page.rejects)


class Pages:
    """Commits pages to one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._committing = database.named("commit")
        self._sql = database.statements("pages.sql")
        self.hooks = Hooks(database)
        self.zones = Zones(database)
        self.moved = MovedVisits(database)

    async def commit(
        self,
        advance: Advance,
        pages: Sequence[PageRows] = (),
        *,
        end_of_sweep: EndOfSweep | None = None,
        forget_sweep: bool = False,
        count: bool = False,
        recount: str | None = None,
        within: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> Effect:
        """Store the pages and advance the cursor, all or nothing.

        `forget_sweep`: a reading begins, what an earlier one missed counts no more. `count`: expected and done become
        the number of live rows. `within`: what else belongs to it, done before the pages. Raises Fenced, DatabaseUnavailable
        or DatabaseError; then nothing was stored.
        """
        effect = Effect()
        async with self._committing.transaction() as connection:
            version = await self._advance(connection, advance, ends_sweep=end_of_sweep is not None)
            effect.version = version
            if within is not None:
                await within(connection)
            if forget_sweep:
                for table in {advance.stream, *(page.table for page in pages)}:
                    await connection.execute(self._sql["sweep_clear"], advance.company, table)
            erased = await self._erased(connection, advance) if pages or within is not None else frozenset[int]()
            for page in pages:
                await self._store(connection, advance.company, page, erased, effect)
            if effect.changed and advance.stream == tables.COMPANIES.name:
                await self.zones.due(connection)
            if end_of_sweep is not None:
                await self._end_sweep(connection, advance, end_of_sweep, effect)
            if count:
                live = await connection.fetchval(_of(self._sql["count_rows"], advance.stream), advance.company)
                await connection.execute(
                    f"update {self._table('sync_status')} set expected = $3, done = $3 where company_id = $1 and stream = $2",
                    advance.company,
                    advance.stream,
                    live,
                )
                effect.live = live
            if recount is not None:  # what webhooks told was proved of another stream's rows
                live = await connection.fetchval(_of(self._sql["count_rows"], recount), advance.company)
                await connection.execute(
                    f"update {self._table('sync_status')} set expected = $3, done = $3 "
                    "where company_id = $1 and stream = $2 and phase = 'live'",
                    advance.company,
                    recount,
                    live,
                )
        return effect

    def _table(self, name: str) -> str:
        return f'"{self._database.schema}".{name}'

    async def _advance(self, connection: Connection, advance: Advance, *, ends_sweep: bool) -> int:
        version = await connection.fetchval(
            self._sql["advance"],
            advance.company,
            advance.stream,
            advance.version,
            advance.cursor,
            advance.phase,
            advance.expected,
            advance.done,
            advance.requests,
            advance.proved_as_of,
            advance.pass_started_at,
            ends_sweep,
            advance.due_in_s,
        )
        if version is None:
            raise Fenced(
                f"salon {advance.company}, {advance.stream}: another worker advanced this cursor; "
                "the page was dropped and the batch goes on from where that worker is."
            )
        return int(version)

    async def _erased(self, connection: Connection, advance: Advance) -> frozenset[int]:
        """Clients of this salon (for the list of salons: salons) that were erased and must not be stored.

        The cursor's row is locked by now, and an erasure takes it first: each one is either seen here or finds what this page
        stores. So nothing may be remembered of it from one page to the next.
        """
        if advance.stream == tables.COMPANIES.name:
            return frozenset(row["company_id"] for row in await connection.fetch(self._sql["erased_salons"]))
        row = await connection.fetchrow(self._sql["erased_clients"], advance.company)
        assert row is not None
        if row["salon"]:
            raise Fenced(f"salon {advance.company} was erased; the page was dropped.")
        if advance.zone is not None and row["zone"] != advance.zone:
            # As with erasures: who computes the stored times anew takes the cursor's row first.
            raise Fenced(f"salon {advance.company}, {advance.stream}: the salon's time zone changed; the page was dropped.")
        return frozenset(row["clients"])

    async def _admitted(self, connection: Connection, company: int, page: PageRows, erased: frozenset[int]) -> Admitted:
        """What of a page may be stored; of a client that may not it is kept that YCLIENTS still has it."""
        if page.table == tables.COMPANIES.name:
            names = set(map(str, erased))
            return Admitted(
                [row for row in page.rows if row.id not in erased],
                [reject for reject in page.rejects if reject.entity_id not in names],
            )
        found = admitted(page.table, page.rows, page.rejects, erased)
        if found.met:
            await connection.execute(self._sql["erased_met"], company, list(found.met), page.observed_at)
        return found

    async def _store(
        self, connection: Connection, company: int, page: PageRows, erased: frozenset[int], effect: Effect
    ) -> None:
        stored = await self._admitted(connection, company, page, erased)
        refused = await self._upsert(connection, company, page, list(stored.rows), effect)
        rejects = (*stored.rejects, *refused)
        if rejects:
            await self._quarantine(connection, company, page, rejects)
            effect.quarantined += len(rejects)
            effect.reasons.extend(sorted({reject.reason for reject in rejects}))
        if page.rows:
            bad = {reject.entity_id for reject in rejects}
            good = [text for row in page.rows if (text := str(row.id)) not in bad]
            await connection.execute(self._sql["resolve"], company, page.table, page.observed_at, good)
        if page.swept is not None and not _nameless(page):
            swept = page.swept
            await connection.execute(
                _of(self._sql[f"missing_{swept.by}"], page.table),
                company,
                page.table,
                page.observed_at,
                swept.lo,
                swept.hi,
                list(swept.ids),
            )
        seen = [row.id for row in page.rows] if page.swept is None else list(page.swept.ids)
        if seen:
            await connection.execute(self._sql["found"], company, page.table, page.observed_at, seen)

    async def _quarantine(self, connection: Connection, company: int, page: PageRows, rejects: Sequence[Reject]) -> None:
        """Keep what could not be stored; a payload that jsonb refuses as well is kept as text."""
        try:
            with translated(self._database.where, self._database.url_from):
                async with connection.transaction():
                    await self._write_rejects(connection, company, page, rejects)
        except RowsRefused:
            texts = [as_json_string(reject.payload.encode("utf-8", "replace")) for reject in rejects]
            as_text = [Reject(one.entity_id, one.reason, text) for one, text in zip(rejects, texts, strict=True)]
            await self._write_rejects(connection, company, page, as_text)

    async def _write_rejects(self, connection: Connection, company: int, page: PageRows, rejects: Sequence[Reject]) -> None:
        await connection.execute(
            self._sql["quarantine"],
            company,
            page.table,
            page.observed_at,
            [reject.entity_id for reject in rejects],
            [reject.reason for reject in rejects],
            [reject.payload for reject in rejects],
        )

    async def _upsert(
        self, connection: Connection, company: int, page: PageRows, rows: list[Any], effect: Effect
    ) -> list[Reject]:
        """Store rows, by halves where PostgreSQL refuses some; returns those that it refuses alone."""
        if not rows:
            return []
        try:
            with translated(self._database.where, self._database.url_from):
                async with connection.transaction():
                    await self._write(connection, company, page, rows, effect)
        except RowsRefused as exc:
            if len(rows) == 1:
                row = rows[0]
                return [Reject(str(row.id), str(exc), row.raw)]
            middle = len(rows) // 2
            return [
                *await self._upsert(connection, company, page, rows[:middle], effect),
                *await self._upsert(connection, company, page, rows[middle:], effect),
            ]
        return []

    async def _write(self, connection: Connection, company: int, page: PageRows, rows: list[Any], effect: Effect) -> None:
        table = tables.TABLES[page.table]
        written = await connection.fetch(
            tables.upsert(table.name, self._database.schema, page.untold),
            page.observed_at,
            company if table.scoped else 0,
            *tables.arrays(table, rows),
        )
        inserted = sum(1 for row in written if row["inserted"])
        changed = {row["id"] for row in written}
        long_ago = page.observed_at - TOLD_AFTER
        effect.untold += sum(
            1 for row in rows if row.id in changed and row.changed_at is not None and row.changed_at < long_ago
        )
        if table is tables.RECORDS and written:
            if inserted < len(changed):
                await connection.execute(self._sql["replace_lines"], company, list(changed))
            await self._write_lines(connection, company, [row for row in rows if row.id in changed])
        # Only of rows that were written: what comes again as it was is not counted again.
        odd = Counter(name for row in rows if row.odd and row.id in changed for name in row.odd)
        if odd:
            await self._count_odd(connection, company, page, odd, effect)
        effect.inserted += inserted
        effect.changed += len(written) - inserted

    async def _count_odd(self, connection: Connection, company: int, page: PageRows, odd: Counter[str], effect: Effect) -> None:
        """Add to the stream's counts of values that could not be read, by field."""
        stream = "services" if page.table == tables.SERVICE_CATEGORIES.name else page.table
        prefix = "" if stream == page.table else f"{page.table}."
        named = {f"{prefix}{name}": rows for name, rows in odd.items()}
        await connection.execute(self._sql["count_odd"], company, stream, page.observed_at, list(named), list(named.values()))
        effect.odd.update({(stream, name): rows for name, rows in named.items()})

    async def _write_lines(self, connection: Connection, company: int, records: Sequence[Record]) -> None:
        lines = [(record.id, line) for record in records for line in record.services]
        if not lines:
            return
        await connection.execute(
            self._sql["insert_lines"],
            company,
            [record_id for record_id, _ in lines],
            [line.position for _, line in lines],
            [line.service_id for _, line in lines],
            [line.title for _, line in lines],
            [line.amount for _, line in lines],
            [line.unit_cost for _, line in lines],
            [line.discount for _, line in lines],
            [line.cost for _, line in lines],
            [line.first_cost for _, line in lines],
        )

    async def _end_sweep(self, connection: Connection, advance: Advance, sweep: EndOfSweep, effect: Effect) -> None:
        if sweep.settled is not None and not sweep.tables:
            await connection.execute(self._sql["settle"], advance.company, advance.stream, sweep.settled)
        if sweep.salons is not None:
            row = await connection.fetchrow(
                self._sql["salons_gone"], list(sweep.salons), sweep.observed_at, sweep.share, sweep.confirmed
            )
            assert row is not None
            effect.deleted += row["deleted"]
            if row["missing"] > row["deleted"]:
                effect.held_back, effect.live = row["missing"], row["live"]
        for table in sweep.tables:
            if sweep.settled is not None:
                await connection.execute(self._sql["settle"], advance.company, table, sweep.settled)
                if table == tables.CLIENTS.name:
                    await connection.execute(self._sql["erased_gone"], advance.company, sweep.settled)
            await self._end_table(connection, advance.company, table, sweep, effect)
        if effect.held_back:
            where = f"salon {advance.company}, {advance.stream}" if advance.company else advance.stream
            said = (
                f"{where}: {effect.held_back} of {effect.live} rows are not in YCLIENTS. "
                "That is more than 10 %, so nothing was deleted. If it is right: ycsync sync --confirm-deletions"
            )
            await connection.execute(self._sql["hold_back"], advance.company, advance.stream, said)

    async def _end_table(self, connection: Connection, company: int, table: str, sweep: EndOfSweep, effect: Effect) -> None:
        """Delete what a sweep missed in one table, and unlist what left its list; too much at once is held back instead."""
        doubted = "" if sweep.doubted_before is None else "and m.since < $3::timestamptz and m.observed_at >= $3"
        before = [] if sweep.doubted_before is None else [sweep.doubted_before]
        start = [] if sweep.start is None else [sweep.start]
        since = f"and {{at}} >= ${3 + len(before)}::{{kind}}" if start else ""
        counted = await connection.fetchrow(
            _of(self._sql["sweep_count"].replace("{since}", since).replace("{doubted}", doubted), table),
            *(company, table, *before, *start),
        )
        assert counted is not None
        missing, live = counted["missing"], counted["live"]
        if missing > _may_go(sweep.share, live, counted["swept"]) and not sweep.confirmed:
            effect.held_back += missing
            effect.live = counted["swept"]
            return
        listed = tables.TABLES[table].named_by is not None
        if listed:
            effect.changed += _rows(await connection.execute(_of(self._sql["unlist"], table), company, table))
        if missing or listed:
            apply = _of(self._sql["sweep_apply"].replace("{doubted}", doubted), table)
            gone = await connection.fetch(apply, company, table, *before)
            effect.deleted += len(gone)
            if table == tables.CLIENTS.name:
                await self.moved.vanished(connection, company, [row["id"] for row in gone])
        end = "sweep_clear" if sweep.doubted_before is None else "sweep_settle"
        await connection.execute(_of(self._sql[end], table), company, table)

    # --- what a batch reads -------------------------------------------------------------------------------------------

    async def zone(self, company: int) -> ZoneInfo | None:
        """The salon's time zone (UNKNOWN where YCLIENTS does not name it), if the salon is known."""
        key: str | None = await self._database.fetchval(self._sql["zone"], company)
        return None if key is None else zone_of(key)

    async def salons(self) -> set[int]:
        """The salons that the last list named."""
        return {row["id"] for row in await self._database.fetch(self._sql["salons"])}

    async def active_salons(self) -> list[int]:
        """Those of them that are not switched off in YCLIENTS."""
        return [row["id"] for row in await self._database.fetch(self._sql["active_salons"])]

    async def staff_ids(self, company: int) -> tuple[int, ...]:
        """Everybody who works or worked here, as far as the database knows."""
        return tuple(row["id"] for row in await self._database.fetch(self._sql["staff_ids"], company))

    async def doubted(self, company: int, stream: str) -> bool:
        """Was a row of the stream missed of which it is not known whether it is gone?"""
        return bool(await self._database.fetchval(self._sql["doubted"], company, stream))

    async def count(self, company: int, table: str) -> int:
        """Live rows of one table; of a list, those that stand in it."""
        return int(await self._database.fetchval(_of(self._sql["count_rows"], table), company))

    async def clients_known(self, company: int, shown: Sequence[int]) -> int:
        """How many clients YCLIENTS has, as far as is known; `shown`: ids on a page that was not stored."""
        return int(await self._database.fetchval(self._sql["clients_known"], company, list(shown)))

    async def erased_salons(self) -> frozenset[int]:
        """Salons that were erased: they are not read again."""
        return frozenset(row["company_id"] for row in await self._database.fetch(self._sql["erased_salons"]))

    async def proved(self, company: int, stream: str) -> bool:
        """Was this stream of the salon ever proved complete?"""
        return bool(await self._database.fetchval(self._sql["proved"], company, stream))

    async def failing(self, company: int, stream: str) -> bool:
        """Did this stream of the salon fail several times in a row, or was it refused?"""
        return bool(await self._database.fetchval(self._sql["failing"], company, stream))

    async def fill_history_queue(self, company: int) -> int:
        """Queue every client of the salon, the most active first; returns how many."""
        async with self._database.transaction() as connection:
            await connection.execute(self._sql["clear_history_queue"], company)
            tag: str = await connection.execute(self._sql["fill_history_queue"], company)
        return int(tag.rsplit(" ", 1)[-1])

    async def history_queue(self, company: int, position: int, limit: int) -> dict[int, int]:
        """position -> client id, from `position` on."""
        rows = await self._database.fetch(self._sql["history_queue"], company, position, limit)
        return {row["position"]: row["client_id"] for row in rows}
