"""What does the status page show besides the standing: requests one by one, batches, and what could not be stored?

Small questions, asked often and only while somebody looks (the requests: always, or the last hour would have holes).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ycsync.model.shape import shape
from ycsync.store.database import Database

ANSWER_S = 5.0
LONGEST_PAYLOAD = 65_536  # bytes; of a longer one no shape is told


@dataclass(frozen=True, slots=True)
class AtWork:
    """A batch that is at work."""

    id: int
    company: int
    stream: str
    preset: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """A batch that ended. `rows`: new, changed and deleted ones; `detail`: what went wrong."""

    id: int
    company: int
    stream: str
    preset: str
    started_at: datetime
    finished_at: datetime
    outcome: str
    requests: int
    rows: int
    errors: int
    retries: int
    throttled: int
    detail: str | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that could not be stored. `shape`: of its payload, without values; `id`: in the table `quarantine`."""

    id: int
    company: int
    stream: str
    reason: str
    first_seen: datetime
    last_seen: datetime
    bytes: int
    shape: str


@dataclass(frozen=True, slots=True)
class Glance:
    """What happened lately. `hour_rows`: written by the batches of the last hour."""

    at_work: tuple[AtWork, ...] = ()
    ended: tuple[Ended, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    hour_rows: int = 0


class Glances:
    """Asks one database; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database.within(ANSWER_S)
        self._sql = database.statements("glance.sql")

    async def left(self, egress: str, since: float) -> tuple[float, list[tuple[int, float]]]:
        """Now, by the database's clock, and which requests left since then: slot and instant, in seconds since 1970.

        One that was granted meanwhile may be told the next time only: ask for some seconds again.
        """
        now: datetime = await self._database.fetchval(self._sql["clock"])
        rows = await self._database.fetch(self._sql["left"], egress, datetime.fromtimestamp(since, UTC))
        return now.timestamp(), [(row["slot"], row["at"]) for row in rows]

    async def glance(self, batches: int, quarantined: int) -> Glance:
        """What happened lately: at most so many batches that ended, as many at work, and so many rows in quarantine."""
        ended = await self._database.fetch(self._sql["ended"], batches)
        at_work = await self._database.fetch(self._sql["at_work"], batches)
        bad = await self._database.fetch(self._sql["quarantined"], quarantined, LONGEST_PAYLOAD)
        return Glance(
            tuple(AtWork(**row) for row in at_work),
            tuple(Ended(**row) for row in ended),
            tuple(_quarantined(dict(row)) for row in bad),
            await self._database.fetchval(self._sql["hour"]),
        )


def _quarantined(row: dict[str, Any]) -> Quarantined:
    payload = row.pop("payload")
    return Quarantined(**row, shape="too large to be shown" if payload is None else shape(payload))
