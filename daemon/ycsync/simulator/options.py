"""What kind of YCLIENTS is simulated: its size, its speed, its limits and its faults?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Answers that carry no data, or broken data, but that a client recovers from by asking again.
# Only these are drawn by `Options.faults`; the others stop a salon, lie, or never end: a test asks for them.
RECOVERABLE_FAULTS: tuple[str, ...] = (
    "429",
    "429-n0",
    "429-retry-after",
    "429-in-200",
    "success-false-200",
    "html-502",
    "500",
    "empty",
    "cut",
    "truncated",
    "reset",
)
REFUSALS: tuple[str, ...] = ("401", "403", "402-licence", "403-licence", "404", "410")
SPOILED_DATA: tuple[str, ...] = (
    "duplicate-ids",
    "lying-total",
    "wrong-types",
    "nul",
    "zero-date",
    "huge-number",
)
FAULTS: tuple[str, ...] = (*RECOVERABLE_FAULTS, "hang", *REFUSALS, *SPOILED_DATA)


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes are per salon; times are seconds; 0 means unlimited in `per_second` and `per_minute`.

    visits           records (lines of the appointment book), cancelled and future ones included
    latency, jitter  how long each answer takes, and how much it varies; a request is counted on arrival
    faults           share of answers that are broken, drawn from RECOVERABLE_FAULTS
    churn            changes made in the salon after every answered request
    deleted          share of records that are cancelled at the start
    tie_order        order among records of one session date and time: "random" anew for each request, by
                     "id", or "day": the whole day is in random order
    changed_zone     how a `changed_after` without an offset is read: "local" (the salon's zone) or "utc"
    odd              odd types: ids and money as strings, 0/1 for booleans, [] for {}, offsets without colon
    empty_as_404     an empty list of clients or records is answered as 404
    two_factor       POST /auth answers 200 with a second step instead of a token
    """

    host: str = "127.0.0.1"
    port: int = 0
    salons: int = 1
    clients: int = 100
    visits: int = 1200
    seed: int = 1
    latency: float = 0.0
    jitter: float = 0.0
    faults: float = 0.0
    churn: int = 0
    per_second: int = 5
    per_minute: int = 200
    records_cap: int = 1000
    clients_cap: int = 300
    search_cap: int = 200
    deleted: float = 0.05
    tie_order: Literal["random", "id", "day"] = "random"
    direction: Literal["asc", "desc"] = "desc"
    partner_token: str | None = None
    user_token: str | None = None
    first_company: int = 4001
    odd: bool = True
    answer_429_as_200: bool = False
    changed_zone: Literal["local", "utc"] = "local"
    changed_inclusive: bool = True
    empty_as_404: bool = False
    two_factor: bool = False
