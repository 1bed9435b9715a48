"""When a salon's time zone changed, the stored times of its streams are computed again, without a request."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ycsync.errors import Fenced
from ycsync.logs import SALON_ZONE_CHANGED, emit, get_logger
from ycsync.model import CompanyId, Parsed, parse_clients, parse_records
from ycsync.model.declared import parse_declared
from ycsync.model.streams import DECLARED
from ycsync.model.times import zone_key, zone_of
from ycsync.plan import cursor as cursors
from ycsync.store.pages import Pages
from ycsync.store.zones import ZONED, Misplaced
from ycsync.sync.batch import Batch

_log = get_logger(__name__)


async def align(batch: Batch) -> None:
    """Before a batch asks for anything: the stream's rows are of the salon's zone. Raises Fenced, or another DatabaseError."""
    claim, zone = batch.claim, zone_key(batch.zone)
    if claim.stream not in ZONED or claim.zone == zone:
        return
    rows = Misplaced(claim.company, claim.stream, batch.version, claim.cursor, claim.zone, zone)
    version, cursor = await _recompute(batch.pages, rows, batch.now())
    batch.version = version
    batch.claim = dataclasses.replace(claim, version=version, cursor=cursor, zone=zone)


async def align_idle(pages: Pages, now: datetime) -> None:
    """The same of streams that are switched off, of which no batch begins."""
    for rows in await pages.zones.idle():
        with suppress(Fenced):  # it was switched on meanwhile: its own batch does it
            await _recompute(pages, rows, now)


async def _recompute(pages: Pages, rows: Misplaced, now: datetime) -> tuple[int, str | None]:
    """Compute all rows of the stream, slice by slice; returns the version and the cursor that go on from here."""
    company, stream, version, zone = rows.company, rows.stream, rows.version, zone_of(rows.zone)
    changed = reread = 0
    after: int | None = 0
    while after is not None:
        done = await pages.zones.slice(company, stream, version, after, rows.zone, _parser(company, stream, zone))
        version, after = done.version, done.last
        changed += done.changed
        reread += done.reread
    cursor, anew = rows.cursor, False
    if cursor is not None and (rows.before is not None or changed):
        before = None if rows.before is None else zone_of(rows.before)
        missing = await pages.doubted(company, stream)
        moved, anew = cursors.rezoned(cursors.decode(cursor), stream, before, zone, now, missing=missing)
        cursor = cursors.encode(moved) if anew else cursor
    version = await pages.zones.settle(company, stream, version, rows.zone, cursor, anew=anew and cursors.WAYS[stream].changes)
    if rows.before is not None or changed:
        emit(
            _log, SALON_ZONE_CHANGED, company=company, stream=stream, zone=rows.zone or "unknown", changed=changed, count=reread
        )
    return version, cursor


def _parser(company: int, stream: str, zone: ZoneInfo) -> Any:
    def parse(raws: Sequence[bytes]) -> Parsed[Any]:
        if stream == "records":
            return parse_records(CompanyId(company), raws, zone)
        if stream == "clients":
            return parse_clients(CompanyId(company), raws, zone)
        return parse_declared(DECLARED[stream], raws, zone)

    return parse
