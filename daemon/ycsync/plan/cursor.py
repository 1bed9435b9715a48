"""Where does a stream stand, and what does it read next: everything, what changed, or the recent past again?

A pass reads everything once (`full`), then what changed since the pass began (`delta`), until one delta fits a single answer:
that answer is one moment, and everything that changed before it is in the database. A delta too large for one answer is read
like a pass, and after MAX_ROUNDS of them the instant at which the last began is claimed. In the sense of `since` that is
true: whatever has not changed after it is in the database as it is. A row that changed while each of the readings went on
may be older there, or missing, until the next cycle, which begins with what changed since that instant.

Once a night the recent past is read again (`recheck`), because `changed_after` may not move when only a payment changes,
and lists without dates are read whole, because they have no other way to tell a deletion.

A list that cannot be asked for what changed (payments) is closed by its last days: what is new is dated now, as a rule. A row
that"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from ycsync.model.declared import Paging
from ycsync.model.streams import DECLARED
from ycsync.model.times import UNKNOWN
from ycsync.plan import scan as scans
from ycsync.plan import sweep as sweeps
from ycsync.plan.scan import Scan
from ycsync.plan.sweep import Sweep

Kind = Literal["full", "delta", "recheck"]


@dataclass(frozen=True, slots=True)
class Way:
    """How one stream can be read: by pages in order of id, or by windows of dates; with which pages; by what changed or not.

    `counted`: its answers count the rows of the whole list.
    """

    pages: bool
    size: int
    changes: bool = True
    counted: bool = True


WAYS: Final[Mapping[str, Way]] = {
    "clients": Way(True, scans.MAX_SIZE),
    "records": Way(False, sweeps.MAX_SIZE),
    **{
        stream.name: Way(stream.paging is Paging.PAGES, stream.size, stream.changes, counted=False)
        for stream in DECLARED.values()
        if stream.paging is not Paging.ANSWER
    },
}
OVERLAP = timedelta(minutes=10)
MAX_ROUNDS = 3
RECHECK_HOUR = 3  # salon-local: nobody works then
RECENT = timedelta(days=2)  # where nothing tells what changed: so long before the last reading, rows are read again each time
WHOLE_AFTER = timedelta(days=7)  # and everything so often
READINGS = 3  # of a whole list in one pass, until the count at its end agrees with what is stored
_MOSCOW = ZoneInfo("Europe/Moscow")
_WEST = timezone(timedelta(hours=-12))  # where a day begins last


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one stream of one salon remembers."""

    kind: Kind = "full"
    sweep: Sweep | None = None  # visits
    scan: Scan | None = None  # clients
    since: datetime | None = None  # whatever has not changed after it is in the database as it is
    rounds: int = 0
    rechecked_on: date | None = None
    whole_on: date | None = None  # when everything was read last, where nothing tells what changed
    size: int = 0  # rows a page that worked where larger ones failed; 0: none failed
    longest: int = 0  # rows of the longest page of earlier readings
    inclusive: bool = False
    dated: bool = False  # both dates were sent in all that it rests on: release 0.1.0 left out those of open ends
    wide: bool = False  # rows lie outside the far dates: the widest are sent
    search: bool = False  # the list of full cards is gone: clients/search is used
    delta_ignored: bool = False  # the server does not filter by changed_after
    whole_since: datetime | None = None  # a reading of everything, which deltas still close, began then
    swept: bool = False  # a whole reading missed rows: they are gone if the deltas that close it do not bring them
    swept_from: date | None = None  # the session date from which that reading read; None: all
    refused: tuple[str, ...] = ()  # lists that one answer holds of which the first path was refused, for a right that lacks
    refused_on: date | None = None  # on this day; the next day it is asked again
    none_on: date | None = None  # on this day a 404 was seen to mean "none": another one needs no confirmation
    # A look at the count ends this pass, and where it does not agree, the list may be read so often again. None: no look.
    readings: int | None = None

    @property
    def busy(self) -> bool:
        """True while a reading is under way."""
        return self.sweep is not None or self.scan is not None


def encode(cursor: Cursor) -> str:
    """The cursor as the JSON text that sync_status keeps."""
    return msgspec.json.encode(cursor).decode()


def decode(text: str | None) -> Cursor:
    """The cursor of a row of sync_status; nothing, or one of another version, begins anew."""
    if text is None:
        return Cursor()
    try:
        return msgspec.json.decode(text, type=Cursor)
    except msgspec.ValidationError:
        return Cursor()


def changed_after(since: datetime, zone: ZoneInfo) -> str:
    """The filter for "changed since": `since` less an overlap, as YYYY-MM-DDTHH:MM:SS.

    The zone in which the API reads it is not documented, so the earliest of the readings that make sense is sent:
    whichever the server chooses, the instant is not later than was meant.
    """
    return _earliest(since - OVERLAP, zone).strftime("%Y-%m-%dT%H:%M:%S")


def _earliest(instant: datetime, zone: ZoneInfo) -> datetime:
    """The earliest of the wall clocks by which the server may read; where the zone is unknown, of the whole world."""
    return min(_wall(instant, place) for place in (UTC, _WEST if zone is UNKNOWN else zone, _MOSCOW))


def _wall(instant: datetime, place: tzinfo) -> datetime:
    wall = instant.astimezone(place)
    # An hour that the clock shows twice may be read as the later one: the hour before it is shown once.
    if wall.replace(fold=0).utcoffset() != wall.replace(fold=1).utcoffset():
        wall -= timedelta(hours=1)
    return wall.replace(tzinfo=None)


def begin(
    cursor: Cursor,
    stream: str,
    now: datetime,
    zone: ZoneInfo,
    recheck_days: int,
    *,
    doubted: bool = False,
    wanted: bool = False,
) -> Cursor:
    """The cursor with a reading under way: the one that it has, or the next that is due.

    `doubted`: rows were missed where they stood; the next night tells whether they are gone or have moved. `wanted`: a command
    asked for this pass.
    """
    replace = msgspec.structs.replace
    if cursor.scan is not None and scans.hopeless(cursor.scan):
        return replace(cursor, scan=scans.anew(cursor.scan, cursor.size or WAYS[stream].size))
    if not WAYS[stream].pages and not cursor.dated:
        # What was read, or is being read, without both dates may be a narrow window around today: all is read anew.
        cursor = replace(cursor, dated=True, sweep=None, since=None, swept=False, whole_since=None)
    if cursor.busy:
        return replace(cursor, readings=READINGS) if wanted and cursor.readings is None and WAYS[stream].pages else cursor
    first = cursor.since is None
    local, way = now.astimezone(zone), WAYS[stream]
    night = local.hour >= RECHECK_HOUR and cursor.rechecked_on is not None and cursor.rechecked_on < local.date()
    if night:
        # What the server did not do may have been a passing fault, or a few odd rows: each night it may show that it does.
        # The night is used up here, not by a reading of everything that happens to end after midnight.
        cursor = replace(cursor, delta_ignored=False, rechecked_on=local.date())
        if cursor.search:  # an outage may have hidden the list of full cards, and only it tells a birthday or a balance
            cursor = replace(cursor, search=False, size=0)
    if cursor.since is None or cursor.delta_ignored or (cursor.search and stream == "clients"):
        cursor = replace(cursor, kind="full", rounds=0)
    elif night:
        week = doubted or (cursor.whole_on is not None and local.date() - cursor.whole_on >= WHOLE_AFTER)
        size = cursor.size if cursor.search else _larger(cursor.size, way.size)
        cursor = replace(cursor, kind="full" if week else "recheck", rounds=0, size=size)
    elif wanted and way.pages and not way.counted:
        cursor = replace(cursor, kind="recheck", rounds=0)  # only the ids tell what was deleted
    else:
        cursor = replace(cursor, kind="delta", rounds=0)
    scope = None
    if cursor.kind == "recheck" and not way.pages:
        scope = local.date() - timedelta(days=recheck_days)
    elif cursor.kind == "delta" and not way.changes:
        scope = _recent(cursor, zone)
    cursor = replace(cursor, swept=False, swept_from=scope, whole_since=None)
    if way.pages and way.counted and cursor.readings is None and (wanted or first):  # one that is owed stays as it is
        cursor = replace(cursor, readings=READINGS - (cursor.kind != "delta"))
    return _reading(cursor, stream, zone)


def _recent(cursor: Cursor, zone: ZoneInfo) -> date | None:
    """The day from which a list that does not tell what changed is read again."""
    return None if cursor.since is None else (cursor.since - RECENT).astimezone(zone).date()


def _larger(size: int, most: int) -> int:
    """Pages that failed once need not fail for ever: each night they may be twice as large."""
    return 0 if size * 2 >= most else size * 2


def _reading(cursor: Cursor, stream: str, zone: ZoneInfo) -> Cursor:
    way = WAYS[stream]
    replace = msgspec.structs.replace
    since, scope = None, cursor.swept_from if cursor.kind == "recheck" else None
    if cursor.kind == "delta" and not way.changes:
        scope = _recent(cursor, zone)
    elif cursor.kind == "delta" and cursor.since is not None:
        since = changed_after(cursor.since, zone)
    size = cursor.size or way.size
    if way.pages:
        return replace(cursor, scan=Scan(changed_after=since, size=size, before=cursor.longest))
    sweep = Sweep(changed_after=since, scope_lo=scope, size=size, inclusive=cursor.inclusive, before=cursor.longest)
    return replace(cursor, sweep=sweep)


def finish(cursor: Cursor, stream: str, now: datetime, zone: ZoneInfo, recheck_days: int) -> tuple[Cursor, datetime | None]:
    """The reading is complete: the cursor after it, and the instant up to which the stream is now proved (None: not yet)."""
    reading: Sweep | Scan | None = cursor.sweep if cursor.sweep is not None else cursor.scan
    if reading is None or reading.began is None:
        raise AssertionError("finish: no reading is under way")
    began = reading.began
    replace = msgspec.structs.replace
    way = WAYS[stream]
    whole = cursor.kind == "full" or (cursor.kind == "recheck" and way.pages)
    if cursor.sweep is not None:
        cursor = replace(cursor, inclusive=cursor.sweep.inclusive)
    # The server's cap is learnt anew from each reading's first page, for nothing.
    longest = reading.longest if whole and not reading.single else max(cursor.longest, reading.longest)
    cursor = replace(cursor, sweep=None, scan=None, longest=longest)
    if cursor.rechecked_on is None:
        cursor = replace(cursor, rechecked_on=now.astimezone(zone).date())
    if not way.changes and cursor.kind == "full":
        cursor = replace(cursor, whole_on=now.astimezone(zone).date())
    if whole:
        cursor = replace(cursor, since=began)
        if reading.single or cursor.search or cursor.delta_ignored:
            return cursor, began
    elif cursor.kind == "delta":
        cursor = replace(cursor, since=began, rounds=cursor.rounds + 1)
        if reading.single or cursor.rounds >= (MAX_ROUNDS if way.changes else 1):
            return cursor, began
    return _reading(replace(cursor, kind="delta"), stream, zone), None


def rezoned(
    cursor: Cursor, stream: str, before: ZoneInfo | None, zone: ZoneInfo, now: datetime, *, missing: bool
) -> tuple[Cursor, bool]:
    """The cursor after the salon's zone changed, and whether the reading under way begins anew.

    `before`: None: not known. `missing`: that reading missed rows, which look as if they were seen since.
    """
    if stream not in WAYS:
        return cursor, False
    replace = msgspec.structs.replace
    if before is not None and cursor.since is not None and _wall(now, zone) < _earliest(now, before):
        # The server may have read what was asked lately by a clock further west, and have held back what changed.
        return replace(cursor, since=None, sweep=None, scan=None), True
    reading: Sweep | Scan | None = cursor.sweep if cursor.sweep is not None else cursor.scan
    if reading is not None and (missing or reading.changed_after is not None):
        return _reading(replace(cursor, sweep=None, scan=None), stream, zone), True
    return cursor, False
