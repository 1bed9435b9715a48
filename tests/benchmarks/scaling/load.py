"""How large are the salons, where are they, and when do they change? Every figure here is an assumption, and an option."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime

SECOND = 1_000_000  # time is counted in microseconds, as PostgreSQL does
HOUR = 3600 * SECOND
DAY = 24 * HOUR
WEEK = 7 * DAY
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)  # instants of the simulation are counted from here
# Share of the salons (per cent), hours before UTC, IANA name.
ZONES: tuple[tuple[float, int, str], ...] = (
    (1, 2, "Europe/Kaliningrad"),
    (65, 3, "Europe/Moscow"),
    (7, 4, "Europe/Samara"),
    (12, 5, "Asia/Yekaterinburg"),
    (2, 6, "Asia/Omsk"),
    (8, 7, "Asia/Novosibirsk"),
    (2, 8, "Asia/Irkutsk"),
    (1, 9, "Asia/Yakutsk"),
    (2, 10, "Asia/Vladivostok"),
)
# Of a salon's changes, by its own clock: little before nine, most from eleven to eight.
HOURS = (1, 0.5, 0.3, 0.2, 0.2, 0.3, 0.5, 1, 3, 6, 8, 9, 9, 9, 9, 9, 9, 9, 9, 8, 5, 3, 2, 1.5)
# Monday to Sunday; the simulator (`ycsync simulate`) has the same.
DAYS = (0.9, 1.0, 1.0, 1.1, 1.35, 1.4, 0.35)


def told(value: float, what: str) -> float:
    """An assumption, and what it means: that stands in docs/scale.md and in the help of the command."""
    found: float = field(default=value, metadata={"what": what})
    return found


@dataclass(frozen=True, slots=True)
class Load:
    """The assumptions."""

    clients: float = told(1000.0, "clients of the median salon at the beginning of the year")
    spread: float = told(0.8, "sigma of the log-normal sizes: with 0.8, one salon in ten has 2.8 times the median")
    visits_a_client: float = told(12.0, "visits of a client in the salon's history")
    history_years: float = told(2.0, "years of that history: 12,000 visits are 16 a day")
    growth: float = told(0.2, "growth of a salon in the year, in clients and in visits a day")
    changes_a_visit: float = told(4.0, "changes of a visit's record: made, confirmed, came, paid")
    client_changes_a_visit: float = told(1.0, "changes of a client's card for each visit")
    hook_loss: float = told(0.01, "share of webhooks that never arrive")
    hook_delay: float = told(5.0, "seconds from a change to its webhook")
    hook_cards: float = told(0.25, "share of webhooks that cost a second request, for the client's card")
    rtt: float = told(0.25, "seconds from a request to its answer")
    jitter: float = told(0.1, "seconds by which an answer may come earlier or later")
    commit: float = told(0.02, "seconds to parse and commit a page and to end its batch")


def rate_of_week() -> tuple[float, ...]:
    """How much a salon changes in each hour of its own week; 1.0 is the mean."""
    raw = [day * hour for day in DAYS for hour in HOURS]
    mean = sum(raw) / len(raw)
    return tuple(one / mean for one in raw)


RATES = rate_of_week()


@dataclass(slots=True)
class Place:
    """One salon: its size, its place, how often it changes."""

    company: int
    clients: int
    visits: int
    ahead: int  # hours before UTC
    zone: str
    rate: float  # changes a second in the mean of a week: of records and of clients, each seen by its own stream
    client_share: float

    def now(self, at: int) -> float:
        """Changes a second at an instant."""
        return self.rate * RATES[(at // HOUR + self.ahead) % 168]


def make_places(count: int, load: Load, seed: int, *, first: int = 4001, age_years: float = 0.0) -> list[Place]:
    """So many salons, always the same ones for a seed; `age_years`: how long they have been growing since the beginning."""
    rng = random.Random(f"{seed}/salons")
    grown = (1 + load.growth) ** age_years
    bounds: list[float] = []
    total = 0.0
    for share, _, _ in ZONES:
        total += share
        bounds.append(total)
    found = []
    for number in range(count):
        start = load.clients * math.exp(rng.gauss(0.0, load.spread))
        a_day = start * load.visits_a_client / load.history_years / 365
        # Growth of the year: new clients come, and visits of the year are added to the history.
        clients = max(5, round(start * grown))
        visits = max(10, round(start * load.visits_a_client + a_day * 365 * age_years * (1 + load.growth * age_years / 2)))
        _, ahead, zone = ZONES[min(bisect_right(bounds, rng.random() * total), len(ZONES) - 1)]
        rate = a_day * grown * (load.changes_a_visit + load.client_changes_a_visit) / 86_400
        share = load.client_changes_a_visit / (load.changes_a_visit + load.client_changes_a_visit)
        found.append(Place(first + number, clients, visits, ahead, zone, rate, share))
    return found
