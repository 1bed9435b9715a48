"""What does a simulated salon's store and till hold, and when does who work? Rows of goods, operations, payments and schedules.

They are made from the salon's records when one of them is asked for first, and change by their own mutators from then on.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import catalogue, rows
from .rows import DAY, Known, Payload, RecordRow

_SCHEDULED = (-30, 60)  # days around today that have a schedule at the start
_FIRST_OPERATION = 551_000


@dataclass(slots=True)
class Entry:
    """`at` is on the salon's clock, `changed` in Unix seconds; `payload` is served as it is."""

    at: int
    changed: int
    payload: Payload


class Ledger:
    """One salon's goods, goods operations, payments (by id) and schedules (by master and day)."""

    def __init__(self, known: Known, records: Iterable[RecordRow], now: int) -> None:
        self._offset = known.offset
        self.goods: dict[int, Entry] = {}
        self.operations: dict[int, Entry] = {}
        self.transactions: dict[int, Entry] = {}
        self.schedule: dict[tuple[int, str], Payload] = {}
        for good_id, title, price in catalogue.GOODS:
            self.put_good(good_id, now - 30 * DAY, title=title, cost=price)
        for row in records:
            if row.deleted or row.verbatim:
                continue
            self._from_record(row, known)
        self._next = {"operations": max(self.operations, default=_FIRST_OPERATION) + 1}
        self._next["transactions"] = max(self.transactions, default=_FIRST_OPERATION) + 1
        self._fill_schedule(known, (now + known.offset) // DAY)

    def _from_record(self, row: RecordRow, known: Known) -> None:
        end = row.start + row.length
        if row.good:
            good_id, title, price = catalogue.GOODS[row.good - 1]
            self._put(
                self.operations, row.id - 1_000_000_000, end, row.changed,
                {
                    "document_id": row.visit_id + 40_000, "type_id": 1, "type": "Продажа товаров",
                    "good": {"id": good_id, "title": title}, "storage": {"id": 1, "title": "Склад"},
                    "unit": {"id": 1, "title": "шт"}, "operation_unit_type": 1, "amount": -1,
                    "cost_per_unit": f"{price}.00", "cost": f"{price}.00", "discount": "0.00",
                    "master": {"id": row.staff_id, "title": known.staff[row.staff_id]["name"]}, "supplier": [],
                    "record_id": row.id, "service": [], "client": {"id": row.client_id} if row.client_id else [],
                },
            )  # fmt: skip
        amount = rows.cost_of(row, known)
        if row.paid and amount:
            self._put(
                self.transactions, row.id + 2_500_000_000, end, row.changed,
                {
                    "document_id": row.visit_id + 40_000, "expense": {"id": 5, "title": "Оказание услуг"},
                    "amount": f"{amount}.00", "comment": "", "master": {"id": row.staff_id}, "supplier": [],
                    "account": {"id": 3, "title": "Карты"}, "client": {"id": row.client_id} if row.client_id else [],
                    "record_id": row.id, "visit_id": row.visit_id,
                },
            )  # fmt: skip

    def _fill_schedule(self, known: Known, today: int) -> None:
        for staff_id in known.staff:
            for day in range(today + _SCHEDULED[0], today + _SCHEDULED[1]):
                if rows.mix(staff_id * 100_000 + day, 9) % 3:
                    self.put_day(staff_id, rows.day_text(day))

    def _put(self, table: dict[int, Entry], entry_id: int, at: int, changed: int, payload: Mapping[str, Any]) -> None:
        stamped = rows.instant_text(changed, self._offset)
        key = "create_date" if table is self.operations else "date"
        served = {"id": entry_id, **payload, key: rows.instant_text(at - self._offset, self._offset)}
        if table is self.transactions:
            served["id"] = str(entry_id)
        table[entry_id] = Entry(at, changed, {**served, "last_change_date": stamped})

    # -- changes ----------------------------------------------------------------------------------------

    def put_good(self, good_id: int, now: int, **fields: Any) -> None:
        """A good, new or changed."""
        before = self.goods[good_id].payload if good_id in self.goods else {}
        payload = {
            "good_id": good_id, "title": "", "label": "", "article": "", "category_id": 7, "cost": 0, "actual_cost": 0,
            "unit_short_title": "шт", "actual_amounts": [{"storage_id": 1, "amount": 12}], **before, **fields,
            "last_change_date": rows.instant_text(now, self._offset),
        }  # fmt: skip
        self.goods[good_id] = Entry(0, now, payload)

    def put_day(self, staff_id: int, day: str, slots: Iterable[tuple[str, str]] = (("10:00", "20:00"),)) -> None:
        """A master works on that day."""
        hours = [{"from": begin, "to": end} for begin, end in slots]
        self.schedule[staff_id, day] = {"staff_id": staff_id, "date": day, "slots": hours}

    def add(self, kind: str, at: int, now: int, **fields: Any) -> int:
        """A new operation or transaction at `at` on the salon's clock; returns its id."""
        table = self._table(kind)
        entry_id = self._next[kind]
        self._next[kind] += 1
        self._put(table, entry_id, at, now, {"amount": "100.00", "comment": "", **fields})
        return entry_id

    def change(self, kind: str, entry_id: int, now: int, *, at: int | None = None, **fields: Any) -> None:
        """Changed now; `at`: moved there."""
        table = self._table(kind)
        entry = table[entry_id]
        self._put(table, entry_id, entry.at if at is None else at, now, {**entry.payload, **fields})

    def remove(self, kind: str, entry_id: int) -> None:
        """Vanishes from every answer."""
        del self._table(kind)[entry_id]

    def _table(self, kind: str) -> dict[int, Entry]:
        return self.operations if kind == "operations" else self.transactions

    # -- questions --------------------------------------------------------------------------------------

    def find(
        self, kind: str, days: tuple[int | None, int | None], changed: tuple[int | None, int | None], rng: random.Random
    ) -> list[Payload]:
        """Those of these days (since 1970) and instants of change, both inclusive, newest first; equal ones in any order."""
        found = [
            entry
            for entry in (self.goods if kind == "goods" else self._table(kind)).values()
            if _within(entry.at // DAY, *days) and _within(entry.changed, *changed)
        ]
        if kind != "goods":
            rng.shuffle(found)
            found.sort(key=lambda entry: -entry.at)
        return [entry.payload for entry in found]

    def churn_once(self, today: int, now: int, rng: random.Random) -> None:
        """One change as a working day brings: a sale, a payment, one that moves or vanishes, a day off."""
        kind = rng.choice(("operations", "transactions"))
        table = self._table(kind)
        at = (today - int(rng.random() ** 3 * 300)) * DAY + rng.randrange(18, 42) * 1800
        match rng.randrange(6):
            case 0 | 1:
                self.add(kind, at, now)
            case 2 if table:
                self.change(kind, rng.choice(list(table)), now, comment=f"изменено {rng.randrange(1000)}")
            case 3 if table:
                recent = [one for one, entry in table.items() if entry.at // DAY >= today - 1]
                if recent:
                    self.remove(kind, rng.choice(recent))
            case 4 if self.schedule:
                del self.schedule[rng.choice(list(self.schedule))]
            case _:
                self.put_good(rng.randrange(41, 400), now, title=f"Товар {rng.randrange(1000)}")


def _within(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)
