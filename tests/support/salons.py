"""A salon in memory that changes as it likes; support/desk.py shows it to sync's own batches, without HTTP or PostgreSQL.

`Shop` changes between any two answers. `Desk` stands for both `api.Api` and `store.pages.Pages`: it answers requests by the
`Habits` of a server, keeps rows as the statements of pages.sql do, and checks each time a stream is called proved that this
is so: every row whose last change is older than the instant that is claimed is there, as it is.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

COMPANY = 4001
NOON = datetime(2026, 11, 23, 9, tzinfo=UTC)
RECHECK_DAYS = 60
Order = Literal["random", "id", "day"]
Total = Literal["true", "none", "high", "low", "page", "capped", "zero"]
Beyond = Literal["nothing", "404", "last", "first"]


@dataclass(frozen=True, slots=True)
class Habits:
    """How a server answers.

    cap       rows of a page at most
    usual     rows of a page whatever is asked (0: what is asked, up to the cap)
    reverts   more than the cap is answered with so many rows (0: with the cap)
    end       what `end_date` means: its whole day, its first instant, or the days before it
    total     `total_count`: true, absent, too high, too low, of the page, no more than 100, or always 0
    beyond    what a page after the last holds
    creation  what `c_end_date` means: its whole day, its first instant; or neither it nor c_start_date filters; or they do,
              and rows that show no date on which they were made are in no range
    dropped   how often an answer shows one row twice and another not at all
    undated   without one of its dates a list is of 30 days around today, or it is all of it
    failing   how often a request is answered with an error
    """

    cap: int = 1000
    usual: int = 0
    reverts: int = 0
    newest_first: bool = True
    ties: Order = "random"
    end: Literal["day", "instant", "before"] = "day"
    total: Total = "true"
    beyond: Beyond = "nothing"
    pages: bool = True  # a page's number means anything
    dates: bool = True  # start_date and end_date filter
    undated: Literal["narrow", "all"] = "narrow"
    creation: Literal["day", "instant", "ignored", "absent"] = "day"
    changes: bool = True  # changed_after filters
    zone: Literal["local", "utc"] = "local"  # in which changed_after is read
    clients_newest_first: bool = False
    dropped: float = 0.0
    failing: float = 0.0
    server_time: bool = True
    skew: float = 0.0  # seconds that the server's clock is ahead


@dataclass(slots=True)
class Row:
    """A visit or a client. `stamp`: its last change as the server says; `traceless`: it changed since without a stamp."""

    id: int
    stamp: float
    at: datetime = datetime(2026, 1, 1)  # immutable; salon-local
    client: int = 0
    staff: int = 0
    made: datetime | None = None  # salon-local
    deleted: bool = False
    note: int = 0
    traceless: bool = False
    purged_at: float | None = None
    _text: bytes | None = None

    def text(self) -> bytes:
        """The payload as it goes over the wire."""
        if self._text is None:
            payload: dict[str, Any] = {
                "id": self.id,
                "comment": str(self.note),
                "last_change_date": datetime.fromtimestamp(int(self.stamp), UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
            }
            if self.staff:
                payload |= {
                    "date": self.at.isoformat(" "),
                    "staff_id": self.staff,
                    "client": {"id": self.client} if self.client else None,
                    "deleted": self.deleted,
                    "create_date": None if self.made is None else self.made.isoformat(" "),
                }
            self._text = json.dumps(payload).encode()
        return self._text


class Shop:
    """The salon. `clock` is the true time, in seconds since 1970."""

    def __init__(self, rng: random.Random, *, zone: str = "Europe/Moscow", skew: float = 0.0) -> None:
        self.rng = rng
        self.zone = ZoneInfo(zone)
        self.skew = skew
        self.clock = NOON.timestamp()
        self.visits: dict[int, Row] = {}
        self.clients: dict[int, Row] = {}
        self.gone: dict[int, Row] = {}
        self.staff = 9
        self.kinds = KINDS
        self.imported = self.unmade = False
        self._last = {"visits": 0, "clients": 0}

    def fill(self, clients: int, visits: int, full_day: int = 0, days: int = 730) -> None:
        """The salon before the first request: all of it changed long ago."""
        long_ago = self.clock - 40 * 86_400
        for _ in range(clients):
            self.new_client().stamp = long_ago - self.rng.randrange(10**7)
        for place in range(visits + full_day):
            at = self.some_time(days) if place < visits else self._day(40) + timedelta(hours=10, minutes=place % 600)
            row = self.new_visit(at)
            row.stamp = long_ago - self.rng.randrange(10**7)
            # Some salons brought all of them from another program on one day.
            row.made = self._day(800) if self.imported else at - timedelta(minutes=self.rng.randrange(20 * 1440))
            if self.unmade and self.rng.random() < 0.1:
                row.made = None

    @property
    def today(self) -> datetime:
        """Today's midnight on the salon's clock."""
        return datetime.fromtimestamp(self.clock, self.zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)

    def _day(self, before: int) -> datetime:
        return self.today - timedelta(days=before)

    def some_time(self, days: int = 730) -> datetime:
        """A session: mostly the past, thinner the longer ago; some at midnight."""
        rng = self.rng
        before = -rng.randrange(40) if rng.random() < 0.05 else int(days * (1 - rng.random() ** 0.7))
        slot = 0 if rng.random() < 0.03 else rng.randrange(18, 47)
        return self._day(before) + timedelta(minutes=30 * slot)

    def _next(self, kind: str) -> int:
        self._last[kind] += self.rng.randint(1, 3)
        return self._last[kind]

    def touch(self, row: Row) -> None:
        """The row changed now, and says so."""
        row.stamp, row.traceless, row._text = self.clock + self.skew, False, None

    def new_client(self) -> Row:
        row = Row(self._next("clients"), self.clock + self.skew)
        self.clients[row.id] = row
        return row

    def new_visit(self, at: datetime) -> Row:
        client = self.rng.choice(list(self.clients)) if self.clients and self.rng.random() < 0.9 else 0
        now = datetime.fromtimestamp(int(self.clock), self.zone).replace(tzinfo=None)
        row = Row(self._next("visits"), self.clock + self.skew, at, client, self.rng.randint(1, self.staff), now)
        self.visits[row.id] = row
        return row

    def merge(self, gone: int, into: int) -> None:
        """Two cards of one person become one: the other's visits are this one's."""
        self.delete_client(gone)
        for row in self.visits.values():
            if row.client == gone:
                row.client = into
                self.touch(row)
        self.touch(self.clients[into])

    def delete_client(self, client: int) -> None:
        self.gone[client] = self.clients.pop(client)

    def change(self) -> str:
        """One change such as a working day brings; returns its name."""
        rng = self.rng
        self.clock += rng.choice((0, 0, 1, 7))
        kind = rng.choice(self.kinds)
        visits, clients = list(self.visits.values()), list(self.clients)
        if kind == "new" or (not visits and kind in ("moved", "nudged", "cancelled", "paid", "staff", "traceless")):
            self.new_visit(self.some_time())
        elif kind in ("moved", "nudged", "cancelled", "paid", "staff"):
            row = rng.choice(visits)
            if kind == "moved":
                row.at = self.some_time()
            elif kind == "nudged":
                row.at += timedelta(days=rng.choice((-1, 1)))
            elif kind == "cancelled":
                row.deleted = not row.deleted
            elif kind == "staff":
                row.staff = rng.randint(1, self.staff)
            else:
                row.note += 1
            self.touch(row)
        elif kind == "traceless":
            row = rng.choice(visits)
            if self._day(RECHECK_DAYS - 3) < row.at < self._day(-60):
                row.note += 1
                row._text, row.traceless = None, True
        elif kind == "new client" or not clients:
            self.new_client()
        elif kind == "changed client":
            row = self.clients[rng.choice(clients)]
            row.note += 1
            self.touch(row)
        elif kind == "deleted client":
            self.delete_client(rng.choice(clients))
        elif kind == "returned client" and self.gone:
            row = self.gone.pop(rng.choice(list(self.gone)))
            self.clients[row.id] = row
            self.touch(row)
        elif kind == "merged" and len(clients) > 1:
            self.merge(*rng.sample(clients, 2))
        return kind


KINDS: tuple[str, ...] = (
    "new", "new", "moved", "moved", "moved", "nudged", "cancelled", "paid", "staff", "traceless",
    "new client", "changed client", "deleted client", "returned client", "merged",
)  # fmt: skip
