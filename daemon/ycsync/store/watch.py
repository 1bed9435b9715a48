"""How does everything stand, asked again every few seconds? Only what changed since the last time is read.

A thousand salons have five thousand rows of `sync_status`, of which a handful change between two looks. A row version that
the last look did not see was written by a transaction that was not over then, so its `xmin` is not below that look's oldest
running transaction; counting the rows shows when some are gone. What fills is read each time: its speed is its batches'.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from ycsync.store.report import Report, Salon, Standing, StreamRow

WHOLE_S = 300.0  # so often everything is read all the same: rows in quarantine may be erased by hand


class Watch:
    """The standing of one database; rows and salons that have not changed stay the same objects."""

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._xmin: int | None = None  # None: read everything
        self._whole_at = -WHOLE_S
        self._rows: dict[tuple[int, str], StreamRow] = {}
        self._streams: tuple[StreamRow, ...] = ()
        self._salons: tuple[Salon, ...] = ()

    async def standing(self, egress: str) -> Standing:
        """How everything stands. Raises DatabaseError; the next look reads everything then."""
        since, self._xmin = self._xmin, None
        if since is None or self._clock() - self._whole_at >= WHOLE_S:
            return await self._whole(egress)
        news = await self._report.news(egress, since)
        changed = {key: row for key, row in self._kept(news.standing).items() if row is not self._rows.get(key)}
        rows = {**self._rows, **changed} if changed else self._rows
        if len(rows) != news.rows:
            return await self._whole(egress)
        self._xmin = news.xmin
        self._take(rows)
        if news.standing.salons != self._salons and news.salons:
            self._salons = news.standing.salons
        return self._told(news.standing)

    async def _whole(self, egress: str) -> Standing:
        begun = self._clock()
        news = await self._report.news(egress, None)
        self._xmin, self._whole_at = news.xmin, begun
        self._take(self._kept(news.standing))
        self._salons = self._salons if news.standing.salons == self._salons else news.standing.salons
        return self._told(news.standing)

    def _take(self, rows: dict[tuple[int, str], StreamRow]) -> None:
        if rows is not self._rows:
            self._rows, self._streams = rows, tuple(rows.values())

    def _kept(self, standing: Standing) -> dict[tuple[int, str], StreamRow]:
        """Its streams; the object that there was, where it is equal."""
        found = {}
        for row in standing.streams:
            key = row.company, row.stream
            old = self._rows.get(key)
            found[key] = old if old == row and old is not None else row
        return found

    def _told(self, standing: Standing) -> Standing:
        return replace(standing, salons=self._salons, streams=self._streams)
