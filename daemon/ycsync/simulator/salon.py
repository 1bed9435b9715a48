"""What does one simulated salon hold, how does it change, and which of its rows match a question?"""

from __future__ import annotations

import json
import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Literal

from . import odd, rows
from .bookings import Bookings, Changes, View
from .ledger import Ledger
from .lists import service_payload, staff_payload
from .options import Options
from .rows import DAY, ClientRow, Known, Payload, RecordRow, hours_east

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_CACHED_ROWS = 60_000  # about 130 MB of encoded records; older ones are encoded again

Deny = Literal["401", "402", "403"]


def encode(value: Any) -> bytes:
    """JSON as the wire has it."""
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


class Salon:
    """One salon. Every mutator stamps last_change_date with the simulator's clock, to the second.

    `clients` and `records` map ids to payloads in canonical types (copies: change them by the mutators).
    `services`, `service_categories` and `staff` are plain payloads that may be edited. A client's visits
    and spent are what they were at the start: visits made later do not move them, so a card changes only when
    told to. A cancelled record stays in `records` with "deleted": true; a deleted client vanishes and its
    records stay.
    """

    def __init__(self, company: Payload, offset: int, clock: Callable[[], float], options: Options) -> None:
        self.company = company
        self.id: int = company["id"]
        self.offset = offset
        self.deny: Deny | None = None
        self.refuses: set[str] = set()  # endpoints, by their names, that the user of the token has no right to
        self.slow = 0.0  # seconds that each of its answers takes longer than the others'
        self.hooks: Payload = {"urls": [], "active": 0, "self_sending": 0}
        self.tell: Callable[[int, Payload, str, int, str, Payload], None] | None = None  # whoever sends its webhooks
        self.services: dict[int, Payload] = {}
        self.service_categories: dict[int, Payload] = {}
        self.staff: dict[int, Payload] = {}
        self.known_services: dict[int, tuple[str, int, int]] = {}
        self.known_staff: dict[int, Payload] = {}
        self.known = Known(self.id, company["title"], offset, self.known_services, self.known_staff)
        self._clock = clock
        self._odd = options.odd
        self._options = options
        self._masked = False
        self._ledger: Ledger | None = None
        self._clients: dict[int, ClientRow] = {}
        self._gone_clients: dict[int, ClientRow] = {}
        self.bookings = Bookings(offset)
        self._records = self.bookings.rows
        self._client_ids: list[int] = []  # ascending
        self._record_ids: list[int] = []  # for churn's choice
        self._changed_clients = Changes()
        self._cache: dict[tuple[str, int, int], bytes] = {}
        self._next_client = self._next_record = self._next_visit = self._next_n = self._next_service = self._next_staff = 0
        self.clients: Mapping[int, Payload] = View(self._clients, self._client)
        self.records: Mapping[int, Payload] = View(self._records, self._record)

    # -- filling (world.py) -----------------------------------------------------------------------------

    def load(self, clients: Iterable[ClientRow], records: Iterable[RecordRow], next_ids: dict[str, int]) -> None:
        """Takes the salon's first rows (ids ascending) and the ids to go on with."""
        for client in clients:
            self._clients[client.id] = client
        self._client_ids = list(self._clients)
        before: RecordRow | None = None
        for record in records:
            self.bookings.add(record)
            if before is not None and before.visit_id == record.visit_id:
                self.bookings.share(record.visit_id, (before.id, record.id))
            before = record
        self._record_ids = list(self._records)
        self._changed_clients.load((c.changed, c.id) for c in self._clients.values())
        self.bookings.changes.load((r.changed, r.id) for r in self._records.values())
        self._next_client, self._next_n = next_ids["client"], next_ids["n"]
        self._next_record, self._next_visit = next_ids["record"], next_ids["visit"]
        self._next_service, self._next_staff = next_ids["service"], next_ids["staff"]

    # -- payloads ---------------------------------------------------------------------------------------

    @property
    def masked(self) -> bool:
        """The user lacks the contacts right: phones and e-mails are masked wherever they are served."""
        return self._masked

    @masked.setter
    def masked(self, value: bool) -> None:
        self._masked = value
        self._cache.clear()

    def now(self) -> int:
        return int(self._clock())

    def visit(self, record_id: int) -> list[int]:
        """The records that form one visit with this one, itself included."""
        return [one.id for one in self.bookings.of_visit(self._records[record_id])]

    def today(self) -> date:
        return datetime.fromisoformat(rows.day_text((self.now() + self.offset) // DAY)).date()

    def _client(self, client_id: int) -> Payload:
        row = self._clients.get(client_id) or self._gone_clients[client_id]
        return rows.client_payload(row, self.offset)

    def _record(self, record_id: int) -> Payload:
        row = self._records[record_id]
        known = row.client_id in self._clients or row.client_id in self._gone_clients
        visit = rows.of_visit(row, self.bookings.of_visit(row), self._options.goods, self._options.bill)
        return rows.record_payload(row, self._client(row.client_id) if known else None, self.known, visit)

    def served_client(self, client_id: int) -> Payload:
        """The card as it goes over the wire: odd types, masked phones."""
        payload = self._client(client_id)
        if self._masked:
            rows.mask(payload)
        return odd.odd_client(payload) if self._odd and not self._clients[client_id].verbatim else payload

    def served_record(self, record_id: int, *, finance: bool = True, consumables: bool = True) -> Payload:
        """The record as it goes over the wire; without `finance` or `consumables` those lists are empty."""
        payload = self._record(record_id)
        if self._masked and isinstance(payload.get("client"), dict):
            rows.mask(payload["client"])
        if self._odd and not self._records[record_id].verbatim:
            odd.odd_record(payload)
        if not finance:
            payload["finance_transactions"] = []
        if not consumables:
            payload["consumables"] = []
        return payload

    def encoded_client(self, client_id: int) -> bytes:
        return self._encoded("c", client_id, 0, lambda: self.served_client(client_id))

    def encoded_record(self, record_id: int, *, finance: bool, consumables: bool) -> bytes:
        return self._encoded(
            "r",
            record_id,
            finance + 2 * consumables,
            lambda: self.served_record(record_id, finance=finance, consumables=consumables),
        )

    def _encoded(self, kind: str, row_id: int, form: int, build: Callable[[], Payload]) -> bytes:
        key = (kind, row_id, form)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _CACHED_ROWS:
                del self._cache[next(iter(self._cache))]
            found = self._cache[key] = encode(build())
        return found

    def _forget_record(self, record_id: int) -> None:
        for form in range(4):
            self._cache.pop(("r", record_id, form), None)

    def _forget_client(self, client_id: int) -> None:
        self._cache.pop(("c", client_id, 0), None)
        for record_id in self.bookings.ids_of(client_id):
            self._forget_record(record_id)  # a record shows its client's name and phone

    @property
    def ledger(self) -> Ledger:
        """The store, the till and the schedule; made when they are asked for first."""
        if self._ledger is None:
            self._ledger = Ledger(self.known, self._records.values(), self.now())
        return self._ledger

    def set_zone(self, name: str, offset: int) -> None:
        """The salon corrects its time zone: bookings keep their hours and instants stay, without a new last_change_date."""
        self.company.update(timezone_name=name, timezone=hours_east(offset))
        self.offset = offset
        self.known = replace(self.known, offset=offset)
        self.bookings.move_clock(offset)
        self._cache.clear()

    # -- questions --------------------------------------------------------------------------------------

    def client_ids(self) -> list[int]:
        """Ascending; not to be changed."""
        return self._client_ids

    def changed_client_ids(self, first: int | None, last: int | None) -> list[int]:
        found = {
            row_id
            for changed, row_id in self._changed_clients.between(first, last)
            if row_id in self._clients and self._clients[row_id].changed == changed
        }
        return sorted(found)

    # -- clients change ---------------------------------------------------------------------------------

    def add_client(self, **fields: Any) -> int:
        """A new client with the next id; `fields` replace parts of the card."""
        row = ClientRow(self._next_client, self._next_n, self.now(), extra=dict(fields) or None)
        self._next_client += 1
        self._next_n += 1
        self._put_client(row)
        return row.id

    def put_client(self, payload: Payload) -> int:
        """A card that is served exactly as given (a vendor's sample, say); replaces one of the same id."""
        client_id = int(payload["id"])
        self._put_client(ClientRow(client_id, 0, self.now(), extra=dict(payload), verbatim=True))
        self._next_client = max(self._next_client, client_id + 1)
        return client_id

    def _tell(self, resource: str, row_id: int, status: str, row: Payload | None = None) -> None:
        if self.tell is not None and self.hooks["urls"]:
            self.tell(self.id, self.hooks, resource, row_id, status, {"id": row_id} if row is None else row)

    def _put_client(self, row: ClientRow) -> None:
        self._tell("client", row.id, "update" if row.id in self._clients else "create")
        if row.id not in self._clients:
            insort(self._client_ids, row.id)
        self._clients[row.id] = row
        self._gone_clients.pop(row.id, None)
        self._changed_clients.note(row.changed, row.id)
        self._forget_client(row.id)

    def change_client(self, client_id: int, *, stamp: bool = True, **fields: Any) -> None:
        """`stamp=False`: the card changes and last_change_date does not."""
        row = self._clients[client_id]
        row.extra = {**(row.extra or {}), **fields}
        if stamp:
            row.changed = self.now()
            self._changed_clients.note(row.changed, client_id)
        self._forget_client(client_id)
        self._tell("client", client_id, "update")

    def delete_client(self, client_id: int) -> None:
        """Vanishes from every answer about clients; its records stay and show its last name and phone."""
        self._gone_clients[client_id] = self._clients.pop(client_id)
        del self._client_ids[bisect_left(self._client_ids, client_id)]
        self._forget_client(client_id)
        self._tell("client", client_id, "delete")

    def return_client(self, client_id: int) -> None:
        """A deleted client is there again, changed now."""
        row = self._gone_clients[client_id]
        row.changed = self.now()
        self._put_client(row)

    def merge_clients(self, gone: int, into: int, *, stamp: bool = False) -> None:
        """Two cards of one person become one: the card `gone` vanishes, and its visits are the other's.

        The card that stays is dated now. `stamp`: the visits are too; without it no `changed_after` shows that they moved.
        """
        for record_id in list(self.bookings.ids_of(gone)):
            self.change_record(record_id, stamp=stamp, client_id=into)
        self.delete_client(gone)
        self.change_client(into)

    # -- records change ---------------------------------------------------------------------------------

    def add_record(
        self,
        date: str | date | datetime | None = None,
        *,
        client_id: int | None = 0,
        staff_id: int | None = None,
        services: Iterable[int] | None = None,
        attendance: int = 0,
        **fields: Any,
    ) -> int:
        """A new record on `date` (the salon's clock; today at noon when not given).

        client_id None is a walk-in, 0 some client of the salon. `fields` replace parts of the payload.
        """
        record_id = self._next_record
        self._next_record += 1
        self._next_visit += 1
        visit_id = int(fields.pop("visit_id", self._next_visit))
        h = rows.mix(record_id, 7)
        if client_id == 0 and self._client_ids:
            client_id = self._client_ids[h % len(self._client_ids)]
        staff_ids = list(self.staff)
        service_ids = list(self.services)
        chosen = tuple(services) if services is not None else (service_ids[(h >> 16) % len(service_ids)],)
        start = rows.local_seconds(date) if date is not None else (self.now() + self.offset) // DAY * DAY + 43_200
        now = self.now()
        row = RecordRow(
            id=record_id,
            visit_id=visit_id,
            client_id=client_id or 0,
            staff_id=staff_id if staff_id is not None else staff_ids[(h >> 8) % len(staff_ids)],
            start=start,
            length=sum(self.known_services[one][2] for one in chosen),
            created=now,
            changed=now,
            attendance=attendance,
            deleted=False,
            paid=False,
            services=tuple((one, 1, 0) for one in chosen),
            extra=dict(fields) or None,
        )
        if visit_id != self._next_visit:
            self.bookings.share(visit_id, (*(one.id for one in self._records.values() if one.visit_id == visit_id), record_id))
        self._put_record(row)
        return record_id

    def put_record(self, payload: Payload) -> int:
        """A record that is served exactly as given, found by its `date`, client, staff and `deleted`."""
        record_id = int(payload["id"])
        client = payload.get("client") or {}
        try:
            start = rows.local_seconds(payload.get("date") or "")
        except (ValueError, TypeError):
            start = self.now() + self.offset  # a date that is none must be found somewhere
        row = RecordRow(
            id=record_id,
            visit_id=int(payload.get("visit_id") or 0),
            client_id=int(client.get("id") or 0),
            staff_id=int(payload.get("staff_id") or 0),
            start=start,
            length=int(payload.get("length") or 0),
            created=self.now(),
            changed=self.now(),
            attendance=int(payload.get("attendance") or 0),
            deleted=bool(payload.get("deleted")),
            paid=bool(payload.get("paid_full")),
            services=(),
            extra=dict(payload),
            verbatim=True,
        )
        self.purge_record(record_id)
        self._put_record(row)
        self._next_record = max(self._next_record, record_id + 1)
        return record_id

    def _put_record(self, row: RecordRow) -> None:
        self._record_ids.append(row.id)
        self.bookings.add(row)
        self.bookings.changes.note(row.changed, row.id)
        self._forget_record(row.id)
        self._tell("record", row.id, "create")

    def _touch(self, row: RecordRow, *, stamp: bool = True) -> None:
        """The row changed, and with it each record that shows something of it."""
        visit = self.bookings.of_visit(row)
        shown = any(one.good for one in visit) if self._options.bill == "record" else True
        for one in visit if shown else [row]:
            self._note(one, stamp=stamp)

    def _note(self, row: RecordRow, *, stamp: bool = True) -> None:
        if stamp:
            row.changed = self.now()
            self.bookings.changes.note(row.changed, row.id)
        self._forget_record(row.id)
        self._tell("record", row.id, "delete" if row.deleted else "update")

    def move_record(self, record_id: int, new_date: str | date | datetime) -> None:
        self.change_record(record_id, date=new_date)

    def change_record(self, record_id: int, *, stamp: bool = True, **fields: Any) -> None:
        """Changes parts of the payload; `date`, `client_id`, `staff_id`, `deleted` also where it is found.

        A value that cannot be one (a date 0000-00-00, say) is served as given; the record is found as before.
        `stamp=False`: last_change_date stays, as some payments are said to leave it.
        """
        row = self._records[record_id]
        extra = dict(row.extra or {})
        self.bookings.remove(row)
        if "date" in fields and not row.verbatim:
            try:
                row.start = rows.local_seconds(fields["date"])
                fields.pop("date")
                extra.pop("date", None)
            except (ValueError, TypeError, AttributeError):
                pass
        if "client_id" in fields:
            row.client_id = fields.pop("client_id") or 0
        if not row.verbatim:
            if fields.get("staff_id") in self.known_staff:
                row.staff_id = fields.pop("staff_id")
            if fields.get("attendance") in (-1, 0, 1, 2):
                row.attendance = fields.pop("attendance")
            if isinstance(fields.get("deleted"), bool):
                row.deleted = fields.pop("deleted")
        extra.update(fields)
        row.extra = extra or None
        self.bookings.add(row)
        self._touch(row, stamp=stamp)

    def pay_record(self, record_id: int, *, stamp: bool = True) -> None:
        """The visit took place and was paid in full."""
        row = self._records[record_id]
        row.paid = True
        row.attendance = 1
        self._touch(row, stamp=stamp)

    def cancel_record(self, record_id: int) -> None:
        self.change_record(record_id, deleted=True)

    def restore_record(self, record_id: int) -> None:
        self.change_record(record_id, deleted=False)

    def purge_record(self, record_id: int) -> None:
        """Gone from every list, even with with_deleted=1; only GET /record still knows it."""
        row = self._records.get(record_id)
        if row is None:
            return
        self.bookings.remove(row)
        self._record_ids.remove(record_id)
        self._forget_record(record_id)
        self._tell("record", record_id, "delete")
        for one in self.bookings.of_visit(row) if row.good else ():
            self._note(one)

    # -- services and staff -----------------------------------------------------------------------------

    def add_service(self, title: str = "Новая услуга", price: int = 1000, seconds: int = 3600) -> int:
        service_id = self._next_service
        self._next_service += 1
        category = next(iter(self.service_categories))
        self.known_services[service_id] = (title, price, seconds)
        self.services[service_id] = service_payload(service_id, title, category, price, seconds, list(self.staff))
        self._tell("service", service_id, "create")
        return service_id

    def remove_service(self, service_id: int) -> None:
        """No longer listed; records go on naming it."""
        del self.services[service_id]
        self._tell("service", service_id, "delete")

    def add_staff(self, name: str = "Новый мастер") -> int:
        staff_id = self._next_staff
        self._next_staff += 1
        self.staff[staff_id] = self.known_staff[staff_id] = staff_payload(staff_id, self.id, name, "мастер")
        self._tell("staff", staff_id, "create")
        return staff_id

    def fire_staff(self, staff_id: int) -> None:
        """Leaves the list, unless the list holds the fired too; records go on naming the member of staff."""
        self.known_staff[staff_id]["fired"] = 1
        if not self._options.fired_listed:
            self.staff.pop(staff_id, None)
        self._tell("staff", staff_id, "update")

    def rehire_staff(self, staff_id: int) -> None:
        """The same member of staff, with the same id, stands in the list again."""
        self.known_staff[staff_id]["fired"] = 0
        self.staff[staff_id] = self.known_staff[staff_id]
        self._tell("staff", staff_id, "update")

    # -- churn ------------------------------------------------------------------------------------------

    def churn_once(self, rng: random.Random) -> str:
        """Makes one change such as a working day brings, and returns its name."""
        today = (self.now() + self.offset) // DAY
        if self._ledger is not None:
            self._ledger.churn_once(today, self.now(), rng)
        name = rng.choice(_CHURN)
        slot = rng.randrange(18, 42) * 1800
        if name == "new":
            self.add_record(_at((today + rng.randrange(0, 30)) * DAY + slot))
        elif name == "back-dated":
            self.add_record(_at((today - rng.randrange(1, 700)) * DAY + slot), attendance=1)
        elif name == "new-client":
            self.add_client()
        elif name in ("changed-client", "deleted-client"):
            if self._client_ids:
                client_id = rng.choice(self._client_ids)
                if name == "changed-client":
                    self.change_client(client_id, comment=f"изменено {rng.randrange(1_000_000)}")
                else:
                    self.delete_client(client_id)
        elif self._record_ids:
            record_id = rng.choice(self._record_ids)
            if name == "moved":
                self.move_record(record_id, _at((today + rng.randrange(-700, 30)) * DAY + slot))
            elif name == "cancelled":
                self.cancel_record(record_id)
            elif name == "restored":
                self.restore_record(record_id)
            else:
                self.pay_record(record_id)
        return name


_CHURN = (
    "new", "new", "back-dated", "moved", "moved", "cancelled", "restored", "paid",
    "new-client", "changed-client", "deleted-client",
)  # fmt: skip


def _at(local: int) -> str:
    return rows.local_text(local)
