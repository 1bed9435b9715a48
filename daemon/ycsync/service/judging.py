"""How is everything judged again and again, when hardly anything changed? As `standing.judge` does, but only what may differ.

A stream's judgement depends on its row, on what holds for all (settings, salons, pauses, erasures, whether anybody works), and
on time: what is fresh becomes stale at a known instant, what is due already only waits for its turn, and what fills or waits
for its time is reckoned anew each time.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ycsync.config import STREAMS, Settings
from ycsync.service.standing import Judged, at_work, fresh_for, judge, judge_one, wanted_companies
from ycsync.store.report import Standing, StreamRow

_ALWAYS, _NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Judging:
    """The judgement of the last look; what did not change stays the same object, and so does the whole if nothing did."""

    def __init__(self) -> None:
        self._circumstances: tuple[object, ...] = ()
        self._wanted: frozenset[int] = frozenset()
        self._found: tuple[Judged, ...] = ()
        self._until: list[datetime | None] = []  # each one's judgement holds until then; None: until its row changes
        self._next = _ALWAYS  # when the first of them may change by time alone
        self._streams: tuple[StreamRow, ...] = ()
        self._rows = 0

    def judge(self, standing: Standing, settings: Settings) -> tuple[Judged, ...]:
        """Equal to `standing.judge`, but for `lag_s` of what was not judged again."""
        circumstances = (settings, standing.salons, standing.pauses, standing.reasons, standing.erased, at_work(standing))
        if circumstances != self._circumstances or len(standing.streams) != self._rows:
            self._circumstances, self._rows = circumstances, len(standing.streams)
            self._wanted = frozenset(wanted_companies(standing, settings))
            self._found = judge(standing, settings)
            self._until = [_until(one, settings) for one in self._found]
            self._streams, self._next = standing.streams, self._soonest()
            return self._found
        if standing.streams is self._streams and standing.now < self._next:
            return self._found
        self._streams = standing.streams
        rows = {(row.company, row.stream): row for row in standing.streams}
        found: list[Judged] | None = None
        for n, (one, until) in enumerate(zip(self._found, self._until, strict=True)):
            row = rows.get((one.row.company, one.row.stream), one.row)  # a stream that has no row yet waits
            if row is one.row and (until is None or standing.now < until):
                continue
            again = judge_one(row, one.title, one.row.company in self._wanted, standing, settings)
            if again != one:
                found = list(self._found) if found is None else found
                found[n] = again
                self._until[n] = _until(again, settings)
        if found is not None:
            self._found = tuple(found)
        self._next = self._soonest()
        return self._found

    def _soonest(self) -> datetime:
        return min((until for until in self._until if until is not None), default=_NEVER)


def _until(one: Judged, settings: Settings) -> datetime | None:
    if one.state == "waiting" and not one.next_s:
        return None
    if one.state in ("filling", "waiting"):
        return _ALWAYS
    if one.state != "fresh" or one.row.proved_as_of is None:
        return None
    return one.row.proved_as_of + fresh_for(settings.streams.get(one.row.stream) or STREAMS[one.row.stream], one.row)
