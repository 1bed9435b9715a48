"""How is what webhooks told kept until it is fetched, and taken off only when it was?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ycsync.model import Ended
from ycsync.store.database import Connection, Database
from ycsync.store.moved import MovedVisits

ANSWER_S = 5.0  # who is told waits for it


@dataclass(frozen=True, slots=True)
class Pending:
    """One hint that waits. `generation`: another one when it is told again. `age_s`: since it was told first."""

    resource: str
    resource_id: int
    status: str
    generation: int
    looked_for: bool
    age_s: float
    first_at: datetime


@dataclass(frozen=True, slots=True)
class StreamNow:
    """How one stream of the salon stands. `whole`: each reading of it reads everything."""

    phase: str
    failures: int
    nudged: bool
    whole: bool
    zone: str | None = None  # by which its rows' times were computed; None: not known

    @property
    def follows(self) -> bool:
        """Is everything there, so that a delta brings what changed?"""
        return self.phase == "live" and not self.whole


@dataclass(frozen=True, slots=True)
class Nudge:
    """A reading of a stream that a hint asks for; two of them begin at least `gap_s` apart."""

    company: int
    stream: str
    gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Flow:
    """`silent_s`: since a webhook of the salon came; None: never. `lossy`: some did not come lately."""

    silent_s: float | None = None
    lossy: bool = False


class Hooks:
    """The hints of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database.within(ANSWER_S)
        self._sql = database.statements("hooks.sql")
        self._moved = MovedVisits(database)

    async def hear(self, told: Mapping[tuple[int, str, int], tuple[str, int]], ended: Sequence[Ended] = ()) -> None:
        """Keep hints (salon, resource, id -> status, how often), and stop salons; all of it, or DatabaseError."""
        columns = (
            [company for company, _, _ in told],
            [resource for _, resource, _ in told],
            [one for _, _, one in told],
            [status for status, _ in told.values()],
            [count for _, count in told.values()],
        )
        if not ended:
            if told:
                await self._database.execute(self._sql["hear"], *columns)
            return
        reasons = {one.company: one.reason for one in ended}
        async with self._database.transaction() as connection:
            await connection.execute(self._sql["end_salon"], list(reasons), list(reasons.values()), timeout=ANSWER_S)
            await connection.execute(self._sql["hear"], *columns, timeout=ANSWER_S)

    async def pending(self, company: int, most: int) -> list[Pending]:
        """A salon's hints that may be worked on now."""
        return [Pending(**row) for row in await self._database.fetch(self._sql["pending"], company, most)]

    async def streams(self, company: int) -> dict[str, StreamNow]:
        """How the salon's streams stand."""
        rows = await self._database.fetch(self._sql["streams"], company)
        return {
            row["stream"]: StreamNow(row["phase"], row["failures"], row["nudged"], row["whole"], row["zone"]) for row in rows
        }

    async def hand_over(
        self, company: int, hints: Sequence[Pending], nudges: Sequence[Nudge], priority: int, *, keep_s: float | None = None
    ) -> set[str]:
        """Readings of streams are due in place of the hints, which are taken off, or looked at again in `keep_s`.

        Returns the streams that are due; in a stream that does not stand among them a later reading brings it anyway.
        """
        since = min(hint.first_at for hint in hints)
        async with self._database.transaction() as connection:
            rows = await connection.fetch(
                self._sql["nudge"], [one.company for one in nudges], [one.stream for one in nudges], since, priority,
                [one.gap_s for one in nudges],
            )  # fmt: skip
            if keep_s is None:
                await self.done(connection, company, hints)
            else:
                await self.later(connection, company, hints, keep_s)
        return {row["stream"] for row in rows}

    async def done(self, connection: Connection, company: int, hints: Sequence[Pending]) -> None:
        """Take these off, unless they were told again."""
        if hints:
            await connection.execute(self._sql["done"], company, *_keys(hints))

    async def later(
        self, connection: Connection, company: int, hints: Sequence[Pending], seconds: float, *, looked_for: bool = True
    ) -> None:
        """Look at these again. `looked_for`: one by one."""
        if hints:
            await connection.execute(self._sql["later"], company, *_keys(hints), seconds, looked_for)

    async def drop(self, company: int, hints: Sequence[Pending]) -> None:
        """Take these off for nothing."""
        await self._database.execute(self._sql["done"], company, *_keys(hints))

    async def keep(self, company: int, hints: Sequence[Pending], seconds: float) -> None:
        """Look at these again, one by one."""
        await self._database.execute(self._sql["later"], company, *_keys(hints), seconds, True)

    async def now(self) -> datetime:
        """The database's clock."""
        now: datetime = await self._database.fetchval("select clock_timestamp()")
        return now

    async def lock(self, connection: Connection, company: int, streams: Sequence[str]) -> None:
        """No page of these streams commits until this transaction ends."""
        await connection.execute(self._sql["lock_streams"], company, list(streams))

    async def gone(self, connection: Connection, company: int, table: str, read: Mapping[int, datetime]) -> int:
        """These were asked for at these instants and are not there any more; how many that changed."""
        if not read:
            return 0
        statement = self._sql["gone"].replace("{table}", table)
        gone = await connection.fetch(statement, company, list(read), list(read.values()))
        if table == "clients":
            await self._moved.vanished(connection, company, [row["id"] for row in gone])
        return len(gone)

    async def living(self, company: int, table: str, ids: Sequence[int]) -> set[int]:
        """Those that the database has as living."""
        statement = self._sql["living"].replace("{table}", table)
        return {row["id"] for row in await self._database.fetch(statement, company, list(ids))}

    async def witness(self, company: int, table: str, but: Sequence[int]) -> int | None:
        """A row that surely is there, to see whether the endpoint tells of such a one."""
        found: int | None = await self._database.fetchval(self._sql["witness"].replace("{table}", table), company, list(but))
        return found

    async def flow(self, company: int) -> Flow:
        """Do the salon's webhooks come?"""
        row = await self._database.fetchrow(self._sql["flow"], company)
        return Flow() if row is None else Flow(row["silent_s"], row["lossy"])

    async def lossy(self, company: int, seconds: float) -> None:
        """They did not all come: for so long they are not relied on."""
        await self._database.execute(self._sql["lossy"], company, seconds)


def _keys(hints: Sequence[Pending]) -> tuple[list[str], list[int], list[int]]:
    return [one.resource for one in hints], [one.resource_id for one in hints], [one.generation for one in hints]
