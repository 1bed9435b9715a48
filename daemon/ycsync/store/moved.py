"""Keeps which visits name a client who vanished, until YCLIENTS was asked whose they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from ycsync.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class VisitToCheck:
    """One such visit. `client`: the vanished one; `day`: of the session, in the salon; `moved`: that client's list lacks it."""

    id: int
    client: int
    day: date
    moved: bool = False


class MovedVisits:
    """The visits to check of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("moved.sql")

    async def vanished(self, connection: Connection, company: int, clients: Sequence[int]) -> None:
        """Remember the visits of these clients, in the transaction that deletes the clients."""
        if clients:
            await connection.execute(self._sql["vanished"], company, list(clients))

    async def pending(self, company: int, zone: ZoneInfo) -> list[VisitToCheck]:
        """Return the salon's visits to check, oldest session first."""
        found = await self._database.fetch(self._sql["pending"], company)
        visits = [
            VisitToCheck(row["id"], row["client"], row["starts_at"].astimezone(zone).date(), row["moved"])
            for row in found
            if row["client"] is not None
        ]
        if len(visits) < len(found):
            await self._database.execute(self._sql["forget"], company)
        return visits

    async def rows_a_day(self, company: int, zone: ZoneInfo, first: date, last: date) -> dict[date, int]:
        """Return about how many visits each of these days has: those stored, by the distance from UTC on the last day."""
        distance = datetime.combine(last, time.max, zone).utcoffset()
        rows = await self._database.fetch(self._sql["rows_a_day"], company, distance, first, last)
        return {row["day"]: row["rows"] for row in rows}

    async def checked(self, connection: Connection, company: int, visits: Sequence[int], moved: Sequence[int] = ()) -> None:
        """Take these off; of `moved` it is known that the list of the vanished client lacks them."""
        await connection.execute(self._sql["checked"], company, list(visits))
        if moved:
            await connection.execute(self._sql["moved"], company, list(moved))

    async def salons(self, companies: Sequence[int]) -> list[int]:
        """Return those of these salons that have visits to check."""
        return [row["company_id"] for row in await self._database.fetch(self._sql["salons"], list(companies))]
