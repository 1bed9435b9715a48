"""A server that shows a `Shop` as the API may, and the rows that were stored of it: see support/salons.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from support.salons import COMPANY, RECHECK_DAYS, Habits, Row, Shop
from ycsync.api import Page, Request, Tally
from ycsync.config import parse_settings
from ycsync.errors import ApiError, Fenced, NotFound, Transient
from ycsync.model.times import zone_key
from ycsync.store.moved import VisitToCheck
from ycsync.store.pages import Advance, Effect, EndOfSweep, PageRows
from ycsync.store.work import Claim
from ycsync.sync import Batch, run_batch


@dataclass(slots=True)
class _Kept:
    row: Any
    observed_at: datetime
    deleted: bool


class NothingMoved:
    """`store.moved.MovedVisits` of a salon whose visits never move without a date of change."""

    async def pending(self, company: int, zone: str) -> list[VisitToCheck]:
        return []


@dataclass(slots=True)
class Desk:
    """The server's answers, and the database's rows. Every random choice is the shop's."""

    shop: Shop
    habits: Habits = field(default_factory=Habits)
    churn: int = 0  # changes after every answer
    pace: float = 1.0  # seconds that a request takes
    requests: int = 0
    log: list[str] = field(default_factory=list)
    tables: dict[str, dict[int, _Kept]] = field(default_factory=lambda: {"records": {}, "clients": {}})
    missing: dict[str, dict[int, datetime]] = field(default_factory=lambda: {"records": {}, "clients": {}})
    proved_at: dict[str, datetime] = field(default_factory=dict)
    moved: NothingMoved = field(default_factory=lambda: NothingMoved())
    cursors: dict[str, tuple[int, str | None, str]] = field(default_factory=dict)  # version, cursor, phase
    queue: list[int] = field(default_factory=list)
    proofs: int = 0

    # --- api.Api ------------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.shop.clock, UTC)

    async def fetch(self, request: Request, tally: Tally, *, tries: int, priority: int = 0) -> Page:
        shop, rng = self.shop, self.shop.rng
        observed_at = self.now()
        tally.requests += 1
        self.requests += 1
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        shop.clock += self.pace * rng.random()
        if all(rng.random() < self.habits.failing for _ in range(tries)):
            raise Transient("salon 4001: a simulated failure")
        query: dict[str, Any] = dict(request.params)
        self.log.append(f"{request.path}?{'&'.join(f'{k}={v}' for k, v in request.params)}")
        if request.endpoint == "company":
            page = Page(observed_at, (), None)
        else:
            if request.body is not None:
                body = json.loads(request.body)
                query |= {"page": body["page"], "count": body["page_size"]}
            rows = self._visits(query) if request.endpoint == "records" else self._clients(query)
            page = self._page(rows, query, observed_at, searched=request.body is not None)
        shop.clock += self.pace * rng.random()
        page = replace(page, took_s=(self.now() - observed_at).total_seconds())
        for _ in range(self.churn):
            shop.change()
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        return page

    def _size(self, count: int) -> int:
        habits = self.habits
        if habits.usual:
            return habits.usual
        if count > habits.cap and habits.reverts:
            return habits.reverts
        return min(count, habits.cap)

    def _page(self, rows: list[Row], query: Mapping[str, Any], observed_at: datetime, *, searched: bool) -> Page:
        habits, rng = self.habits, self.shop.rng
        size, number = self._size(int(query["count"])), int(query["page"]) if habits.pages else 1
        found = rows[(number - 1) * size : number * size]
        if not found and rows and number > 1 and habits.beyond in ("last", "first"):
            last = (len(rows) - 1) // size if habits.beyond == "last" else 0
            found = rows[last * size : (last + 1) * size]
        if not found and habits.beyond == "404" and not searched:
            server = self.now() + timedelta(seconds=habits.skew) if habits.server_time else None
            raise NotFound("salon 4001: not found", observed_at, None if server is None else server.replace(microsecond=0))
        total = {
            "true": len(rows),
            "none": None,
            "high": len(rows) + 7,
            "low": max(0, len(rows) - 7),
            "page": len(found),
            "capped": min(len(rows), 100),
            "zero": 0,
        }[habits.total]
        texts = [row.text() for row in found]
        if len(texts) > 1 and rng.random() < habits.dropped:
            texts[rng.randrange(len(texts))] = rng.choice(texts)
        server = self.now() + timedelta(seconds=habits.skew) if habits.server_time else None
        return Page(observed_at, tuple(texts), total, None if server is None else server.replace(microsecond=0))

    def _since(self, query: Mapping[str, str]) -> float | None:
        if "changed_after" not in query or not self.habits.changes:
            return None
        zone = self.shop.zone if self.habits.zone == "local" else UTC
        return datetime.fromisoformat(query["changed_after"]).replace(tzinfo=zone).timestamp()

    def _clients(self, query: Mapping[str, str]) -> list[Row]:
        since = self._since(query)
        found = [row for row in self.shop.clients.values() if since is None or int(row.stamp) >= since]
        return sorted(found, key=lambda row: row.id, reverse=self.habits.clients_newest_first)

    def _visits(self, query: Mapping[str, str]) -> list[Row]:
        habits = self.habits
        since = self._since(query)
        lo, hi = self._dates(query)
        if hi is not None:
            hi += {"day": timedelta(days=1), "instant": timedelta(seconds=1), "before": timedelta(0)}[habits.end]
        staff, client = query.get("staff_id"), query.get("client_id")
        made_lo, made_hi = self._made(query)
        found = [
            row
            for row in self.shop.visits.values()
            if (since is None or int(row.stamp) >= since)
            and (lo is None or row.at >= lo)
            and (hi is None or row.at < hi)
            and (made_lo is None or (row.made is not None and row.made >= made_lo))
            and (made_hi is None or (row.made is not None and row.made < made_hi))
            and (staff is None or row.staff == int(staff))
            and (client is None or row.client == int(client))
        ]
        if habits.ties != "id":
            self.shop.rng.shuffle(found)
        key = (lambda row: row.at.date()) if habits.ties == "day" else (lambda row: row.at)
        return sorted(found, key=key, reverse=habits.newest_first)

    def _dates(self, query: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
        """The dates asked for; what the server makes of one that is left out."""
        if not self.habits.dates:
            return None, None
        lo = datetime.fromisoformat(query["start_date"]) if "start_date" in query else None
        hi = datetime.fromisoformat(query["end_date"]) if "end_date" in query else None
        if self.habits.undated == "narrow":
            lo, hi = lo or self.shop.today - timedelta(days=30), hi or self.shop.today + timedelta(days=30)
        return lo, hi

    def _made(self, query: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
        habits = self.habits
        lo = datetime.fromisoformat(query["c_start_date"]) if "c_start_date" in query else None
        hi = datetime.fromisoformat(query["c_end_date"]) if "c_end_date" in query else None
        if habits.creation == "ignored":
            return None, None
        if hi is not None:
            hi += timedelta(seconds=1) if habits.creation == "instant" else timedelta(days=1)
        return lo, hi

    # --- store.pages.Pages --------------------------------------------------------------------------------------------

    async def commit(
        self,
        advance: Advance,
        pages: Sequence[PageRows] = (),
        *,
        end_of_sweep: EndOfSweep | None = None,
        forget_sweep: bool = False,
        count: bool = False,
        recount: None = None,
        within: None = None,
    ) -> Effect:
        await asyncio.sleep(0)  # a commit may be the last thing that never happened
        stream = advance.stream
        version = self.cursors.get(stream, (0, None, "new"))[0]
        if version != advance.version:
            raise Fenced("the cursor is another one")
        effect = Effect(version=version + 1)
        self.cursors[stream] = (version + 1, advance.cursor, advance.phase)
        table, missing = self.tables[stream], self.missing[stream]
        if forget_sweep:
            missing.clear()
        for page in pages:
            self._keep(table, missing, page, effect)
        if end_of_sweep is not None:
            self._end(table, missing, end_of_sweep, effect)
        effect.live = sum(1 for kept in table.values() if not kept.deleted)
        if advance.proved_as_of is not None:
            self.proofs += 1
            self.proved_at[stream] = advance.proved_as_of
            self.check(stream, advance.proved_as_of)
        return effect

    def _keep(self, table: dict[int, _Kept], missing: dict[int, datetime], page: PageRows, effect: Effect) -> None:
        assert not page.rejects
        for row in page.rows:
            known = table.get(row.id)
            if known is None or (
                known.observed_at <= page.observed_at and (known.deleted != row.deleted or known.row.raw != row.raw)
            ):
                table[row.id] = _Kept(row, page.observed_at, row.deleted)
                effect.inserted += known is None
                effect.changed += known is not None
        swept = page.swept
        if swept is not None:
            ids = set(swept.ids)
            for one, kept in table.items():
                if kept.deleted or kept.observed_at >= page.observed_at or one in ids:
                    continue
                place: Any = one if swept.by == "ids" else kept.row.starts_at
                above = swept.lo is None or (place > swept.lo if swept.by == "ids" else place >= swept.lo)
                below = swept.hi is None or (place <= swept.hi if swept.by == "ids" else place < swept.hi)
                if above and below:
                    missing[one] = page.observed_at
        for one in [row.id for row in page.rows] if swept is None else swept.ids:
            if one in missing and missing[one] <= page.observed_at:
                del missing[one]

    def _end(self, table: dict[int, _Kept], missing: dict[int, datetime], sweep: EndOfSweep, effect: Effect) -> None:
        live = sum(1 for kept in table.values() if not kept.deleted)
        gone = [one for one, seen in missing.items() if not table[one].deleted and table[one].observed_at < seen]
        if len(gone) > max(1, sweep.share * live) and not sweep.confirmed:
            effect.held_back += len(gone)
            return
        for one in gone:
            table[one].deleted, table[one].observed_at = True, missing[one]
        effect.deleted += len(gone)
        missing.clear()

    async def count(self, company: int, table: str) -> int:
        return sum(1 for kept in self.tables[table].values() if not kept.deleted)

    async def clients_known(self, company: int, shown: Sequence[int]) -> int:
        return len({one for one, kept in self.tables["clients"].items() if not kept.deleted} | set(shown))

    async def proved(self, company: int, stream: str) -> bool:
        return stream in self.proved_at

    async def failing(self, company: int, stream: str) -> bool:
        return False

    async def fill_history_queue(self, company: int) -> int:
        self.queue = [one for one, kept in self.tables["clients"].items() if not kept.deleted]
        return len(self.queue)

    async def history_queue(self, company: int, position: int, limit: int) -> dict[int, int]:
        return {place: self.queue[place] for place in range(position, min(len(self.queue), position + limit))}

    # --- what must hold -----------------------------------------------------------------------------------------------

    def wrong(self, stream: str, before: datetime | None = None) -> list[str]:
        """Where the tables are not the salon; `before`: of rows alone that have not changed since then."""
        table = self.tables[stream]
        rows = self.shop.visits if stream == "records" else self.shop.clients
        limit = None if before is None else before.timestamp() + min(self.shop.skew, 0)
        found: list[str] = []
        for one, row in rows.items():
            if limit is not None and (row.stamp >= limit or row.traceless):
                continue
            kept = table.get(one)
            if kept is None:
                found.append(f"{stream} {one} of {row.at}: missing")
            elif kept.row.raw != row.text().decode():
                found.append(f"{stream} {one} of {row.at}: stale")
            elif kept.deleted != row.deleted:
                found.append(f"{stream} {one} of {row.at}: deleted is {kept.deleted}")
        if limit is None and (stream == "records" or not self.habits.clients_newest_first):
            found += [f"{stream} {one}: should be gone" for one, kept in table.items() if not kept.deleted and one not in rows]
        return found

    def check(self, stream: str, before: datetime | None = None) -> None:
        """Nothing is missing, stale or doubled."""
        problems = self.wrong(stream, before)
        claim = "at the end" if before is None else f"proved as of {before}"
        assert not problems, (claim, len(problems), problems[:5], self.log[-12:])

    # --- what the service does ----------------------------------------------------------------------------------------

    async def batch(
        self, stream: str, *, units: int = 80, history: str = "auto", confirm: bool = False, crash: float = 0.0
    ) -> bool:
        """One batch, perhaps ended in the middle of anything; was the stream proved?"""
        version, cursor, phase = self.cursors.get(stream, (0, None, "new"))
        zone = zone_key(self.shop.zone)
        claim = Claim(COMPANY, stream, phase, None, 0, cursor, version, 0, None, None, False, {}, 0, zone=zone)
        batch = Batch(
            claim=claim,
            settings=SETTINGS if history == "auto" else replace(SETTINGS, history=history),  # type: ignore[arg-type]
            api=self,  # type: ignore[arg-type]
            pages=self,  # type: ignore[arg-type]
            zone=self.shop.zone,
            now=self.now,
            tally=Tally(),
            units=units,
            confirm_deletions=confirm,
            version=version,
            phase=phase,
        )
        task = asyncio.create_task(run_batch(batch))
        if self.shop.rng.random() < crash:
            for _ in range(self.shop.rng.randrange(60)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            return (await task).proved
        except asyncio.CancelledError:
            return False

    async def until_proved(self, stream: str, *, errors: int = 40, **options: Any) -> None:
        """Batches until the stream is proved; one that fails is tried again, as the service does."""
        for _ in range(3000):
            try:
                if await self.batch(stream, **options):
                    return
            except ApiError:
                errors -= 1
                if errors < 0:
                    raise
                self.shop.clock += 60
        raise AssertionError(f"{stream} is never proved; the last requests: {self.log[-12:]}")

    def night(self) -> None:
        """The clock goes to 4:30 of the salon's next day."""
        tomorrow = self.shop.today.date() + timedelta(days=1)
        self.shop.clock = datetime.combine(tomorrow, time(4, 30), self.shop.zone).timestamp()


SETTINGS = parse_settings(
    "preset: quick\nhttp: {listen: false}\npresets:\n  quick: {batch_size: 80, interval: 0s, per_minute: 200, per_second: 5,"
    f" min_delay: 0ms, max_retries: 3, recheck_days: {RECHECK_DAYS}}}\n",
    "test.yaml",
)
