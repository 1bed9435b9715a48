"""Which records of a salon match a question, and in which order, without looking at all of them?"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .rows import DAY, Payload, RecordRow


class View(Mapping[int, Payload]):
    """Rows as payloads, built when asked for: a copy each time, so changing one changes nothing."""

    def __init__(self, rows_by_id: Mapping[int, Any], build: Callable[[int], Payload]) -> None:
        self._rows = rows_by_id
        self._build = build

    def __getitem__(self, row_id: int) -> Payload:
        if row_id not in self._rows:
            raise KeyError(row_id)
        return self._build(row_id)

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class Changes:
    """Ids by the time of their last change; entries that a later change made stale are skipped."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int]] = []

    def load(self, entries: Iterable[tuple[int, int]]) -> None:
        self._entries = sorted(entries)

    def note(self, changed: int, row_id: int) -> None:
        entry = (changed, row_id)
        if not self._entries or self._entries[-1] <= entry:
            self._entries.append(entry)
        else:
            insort(self._entries, entry)

    def between(self, first: int | None, last: int | None) -> Iterator[tuple[int, int]]:
        """Entries with first <= changed <= last."""
        begin = 0 if first is None else bisect_left(self._entries, (first, -1))
        end = len(self._entries) if last is None else bisect_right(self._entries, (last, 1 << 62))
        for place in range(begin, end):
            yield self._entries[place]


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Days since 1970 on the salon's clock, instants as Unix seconds; both ends belong to the range."""

    client_id: int | None = None
    staff_id: int | None = None
    first_day: int | None = None
    last_day: int | None = None
    created_first_day: int | None = None
    created_last_day: int | None = None
    changed_from: int | None = None
    changed_to: int | None = None
    with_deleted: bool = False


class Bookings:
    """The appointment book: records by id, day, client and time of change.

    A row is taken out (`remove`) before its day, client or `deleted` changes, and put back (`add`) after.
    """

    def __init__(self, offset: int) -> None:
        self.rows: dict[int, RecordRow] = {}
        self.gone: dict[int, RecordRow] = {}  # taken out, as they were
        self.changes = Changes()
        self._offset = offset
        self._shared: dict[int, list[int]] = {}  # visits of several records
        self._by_client: dict[int, list[int]] = {}
        self._days: dict[int, tuple[set[int], set[int]]] = {}  # day -> live, cancelled

    def move_clock(self, offset: int) -> None:
        """The salon's clock is so many seconds east of UTC from now on; the bookings keep their hours."""
        self._offset = offset

    def add(self, row: RecordRow) -> None:
        self.rows[row.id] = row
        self.gone.pop(row.id, None)
        self._days.setdefault(row.start // DAY, (set(), set()))[row.deleted].add(row.id)
        self._by_client.setdefault(row.client_id, []).append(row.id)

    def remove(self, row: RecordRow) -> None:
        self.gone[row.id] = self.rows.pop(row.id)
        day = row.start // DAY
        self._days[day][row.deleted].discard(row.id)
        if not any(self._days[day]):
            del self._days[day]
        self._by_client[row.client_id].remove(row.id)

    def share(self, visit_id: int, record_ids: Iterable[int]) -> None:
        """These records form one visit, beside those that were said to."""
        ids = self._shared.setdefault(visit_id, [])
        ids += [one for one in record_ids if one not in ids]

    def of_visit(self, row: RecordRow) -> list[RecordRow]:
        """The records of the row's visit that are there, cancelled ones and the row itself included."""
        return [self.rows[one] for one in self._shared.get(row.visit_id, (row.id,)) if one in self.rows]

    def ids_of(self, client_id: int) -> list[int]:
        """Ids of the client's records, cancelled ones included."""
        return self._by_client.get(client_id, [])

    def of_client(self, client_id: int) -> list[RecordRow]:
        """The client's live records, newest first."""
        found = [self.rows[record_id] for record_id in self.ids_of(client_id)]
        return sorted((r for r in found if not r.deleted), key=lambda r: (r.start, r.id), reverse=True)

    def find(
        self,
        wanted: RecordFilter,
        begin: int,
        end: int,
        *,
        tie_order: str,
        descending: bool,
        rng: random.Random,
    ) -> tuple[list[int], int]:
        """Ids begin..end of the matching records ordered by session date, and how many match."""
        only_days = (
            wanted.client_id is None
            and wanted.staff_id is None
            and wanted.created_first_day is None
            and wanted.created_last_day is None
            and wanted.changed_from is None
            and wanted.changed_to is None
        )
        days: dict[int, set[int]] = {}
        if only_days:
            for day, (live, cancelled) in self._days.items():
                if _within(day, wanted.first_day, wanted.last_day):
                    days[day] = live | cancelled if wanted.with_deleted and cancelled else live
        else:
            for row in self._candidates(wanted):
                if self._matches(row, wanted):
                    days.setdefault(row.start // DAY, set()).add(row.id)
        page: list[int] = []
        seen = 0
        for day in sorted(days, reverse=descending):
            size = len(days[day])
            if seen < end and seen + size > begin:
                ordered = self._order(days[day], tie_order, descending, rng)
                page += ordered[max(begin - seen, 0) : end - seen]
            seen += size
        return page, seen

    def _order(self, ids: Iterable[int], tie_order: str, descending: bool, rng: random.Random) -> list[int]:
        ordered = sorted(ids)
        if tie_order != "id":
            rng.shuffle(ordered)
        if tie_order != "day":  # a stable sort: ties stay as they were shuffled
            ordered.sort(key=lambda record_id: self.rows[record_id].start, reverse=descending)
        return ordered

    def _candidates(self, wanted: RecordFilter) -> Iterator[RecordRow]:
        if wanted.client_id is not None:
            for record_id in self._by_client.get(wanted.client_id, ()):
                yield self.rows[record_id]
        elif wanted.changed_from is not None or wanted.changed_to is not None:
            for changed, record_id in self.changes.between(wanted.changed_from, wanted.changed_to):
                row = self.rows.get(record_id)
                if row is not None and row.changed == changed:
                    yield row  # maybe twice: the caller collects ids in sets
        else:
            for day, (live, cancelled) in self._days.items():
                if _within(day, wanted.first_day, wanted.last_day):
                    for record_id in (*live, *cancelled):
                        yield self.rows[record_id]

    def _matches(self, row: RecordRow, wanted: RecordFilter) -> bool:
        return (
            (wanted.with_deleted or not row.deleted)
            and (wanted.client_id is None or row.client_id == wanted.client_id)
            and (wanted.staff_id is None or row.staff_id == wanted.staff_id)
            and _within(row.start // DAY, wanted.first_day, wanted.last_day)
            and _within((row.created + self._offset) // DAY, wanted.created_first_day, wanted.created_last_day)
            and _within(row.changed, wanted.changed_from, wanted.changed_to)
        )


def _within(value: int, first: int | None, last: int | None) -> bool:
    return (first is None or value >= first) and (last is None or value <= last)
