"""What does it cost to fill a salon: how many requests and batches, how long, and how close to the limit?

Bulk pages cost by the number of visits, client by client by the number of clients. Pure arithmetic over counts:
the same figures choose the way (`sync.records`) and are printed (`ycsync plan`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import Literal, Protocol

from ycsync.config import Preset
from ycsync.model.declared import Declared, Paging
from ycsync.model.streams import DECLARED
from ycsync.plan.scan import MAX_SIZE as CLIENTS_A_PAGE
from ycsync.plan.scan import ask_at
from ycsync.plan.sweep import MAX_SIZE as RECORDS_A_PAGE

Risk = Literal["High", "Low", "Very low", "Minimal"]

# Windows are planned nearly full (sweep.FILL), some are split, the last ones hold what is left: measured over
# whole passes, a request brings so much of a page.
EFFECTIVE_FILL = 0.71
CLOSING_DELTA = 1
LISTS_A_SALON = 3  # services, their categories, staff
LIST_OF_SALONS = 1
RTT_S = 0.25
# The share of the limit above which the risk is so called. The words are those of the handbook that the four
# built-in presets come from.
_RISKS: tuple[tuple[float, Risk], ...] = ((0.85, "High"), (0.55, "Low"), (0.3, "Very low"))
KEYS_DO_NOT_HELP = (
    "More user tokens or partner keys do not raise the limit, it is per IP address. What does: a second machine on the same "
    "database, or a second service on this one, with an address and a yclients.egress of its own (yclients.local_address)"
)
_TURNS = 3  # answers that nothing can be asked before: the list of salons, the first page, the closing delta
_DAY_S = 86_400.0


class Limits(Protocol):
    """The API's limits for one address, requests in any 60 s and in any 1 s (config.Yclients is one)."""

    @property
    def per_minute(self) -> int: ...
    @property
    def per_second(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Counts:
    """How large a salon is."""

    clients: int
    visits: int


@dataclass(frozen=True, slots=True)
class Cost:
    """One way under one preset. Durations are seconds from the first request to the last answer."""

    requests: int
    batches: int  # that follow each other; the lists come with the first
    duration_s: float
    low_s: float
    high_s: float
    requests_per_minute: int  # the most in any 60 s
    share_of_limit: float  # the larger of both windows' shares; 1.0 leaves nothing for others at this address
    risk: Risk


def bulk_requests(records: int, page_size: int = RECORDS_A_PAGE) -> int:
    """Requests to read so many visits in windows of session dates, with the closing delta; see plan.sweep."""
    if records < page_size:
        return 1  # the first answer holds everything: one moment, nothing to close
    return 1 + math.ceil(records / (EFFECTIVE_FILL * page_size)) + CLOSING_DELTA


def client_pages(clients: int, page_size: int = CLIENTS_A_PAGE) -> int:
    """Pages to read so many client cards; they overlap by a few rows, see plan.scan."""
    pages, position = 0, 0
    while True:
        ask = ask_at(position, page_size)
        pages += 1
        position = ask.start + ask.count
        if position > clients:
            return pages


def client_requests(clients: int, page_size: int = CLIENTS_A_PAGE) -> int:
    """Requests to read so many client cards, with the closing delta."""
    pages = client_pages(clients, page_size)
    return pages if pages == 1 else pages + CLOSING_DELTA


def by_client_requests(clients: int) -> int:
    """Requests for the visits, one a client: the first of all counts them, the closing delta is the last."""
    return 1 + clients + CLOSING_DELTA


def declared_requests(stream: Declared, rows: int) -> int:
    """Requests to read so many rows of a declared stream, with what closes it."""
    if stream.paging is Paging.ANSWER:
        return 1
    if stream.paging is Paging.PAGES:
        return client_pages(rows, stream.size) + 1 + CLOSING_DELTA  # its end is an empty page
    return bulk_requests(rows, stream.size)


def prefers_by_client(clients: int, records: int, page_size: int = RECORDS_A_PAGE) -> bool:
    """Is one request a client the cheaper way to the visits? Only where few clients have very many."""
    return records >= page_size and clients < bulk_requests(records, page_size)


def estimate(
    preset: Preset, limits: Limits, clients: int, visits: int, *, by_client: bool = False, rtt_s: float = RTT_S
) -> Cost:
    """The cost to fill one salon from nothing. `rtt_s`: from a request to its answer."""
    return estimate_all(preset, limits, (Counts(clients, visits),), by_client=by_client, rtt_s=rtt_s)


def estimate_all(
    preset: Preset,
    limits: Limits,
    salons: Sequence[Counts],
    *,
    by_client: bool = False,
    rtt_s: float = RTT_S,
    records_page: int = RECORDS_A_PAGE,
) -> Cost:
    """The cost to fill salons from nothing, side by side under one budget. At least one salon."""
    rounds = [LIST_OF_SALONS]
    for salon in salons:
        history = by_client_requests(salon.clients) if by_client else bulk_requests(salon.visits, records_page)
        for requests in (LISTS_A_SALON, client_requests(salon.clients), history):
            rounds = [sum(pair) for pair in zip_longest(rounds, _batches(requests, preset), fillvalue=0)]
    in_minute = _most_in_minute(rounds, preset, limits)
    in_second = min(_most_in_second(preset, limits), max(rounds))
    share = max(in_minute / limits.per_minute, in_second / limits.per_second)
    return Cost(
        requests=sum(rounds),
        batches=len(rounds),
        duration_s=_lasts(rounds, preset, limits, rtt_s),
        low_s=_lasts([math.ceil(size * 0.9) for size in rounds], preset, limits, rtt_s * 0.6),
        high_s=_lasts([math.ceil(size * 1.15) for size in rounds], preset, limits, rtt_s * 3),
        requests_per_minute=in_minute,
        share_of_limit=share,
        risk=risk(share),
    )


def risk(share: float) -> Risk:
    """What a share of the limit (1.0: all of it) means for everything else behind the same address."""
    return next((word for above, word in _RISKS if share > above), "Minimal")


def quiet_requests_per_day(streams: Mapping[str, timedelta | None]) -> int:
    """What a salon in which nothing happens costs in a day, its nightly recheck apart.

    `streams`: how often each is refreshed; None: never. A cycle of clients and visits is two requests: each answer
    fits a page, and so proves its stream.
    """
    a_cycle = {"services": 2, **{name: stream.quiet for name, stream in DECLARED.items()}}
    return sum(
        round(_DAY_S / every.total_seconds() * a_cycle.get(stream, 1))
        for stream, every in streams.items()
        if every is not None and every > timedelta(0)
    )


def addresses_needed(salons: int, streams: Mapping[str, timedelta | None], budget: int) -> int:
    """How many IP addresses it takes to keep so many salons fresh, when each may send `budget` requests a minute.

    Nothing else helps: the API counts by address, whichever tokens a request has.
    """
    return max(1, math.ceil(salons * quiet_requests_per_day(streams) / (_DAY_S / 60) / budget))


def _batches(requests: int, preset: Preset) -> list[int]:
    """The requests of one stream, batch by batch."""
    return [min(preset.batch_size, requests - done) for done in range(0, requests, preset.batch_size)]


def _pace(preset: Preset, limits: Limits, rtt_s: float) -> float:
    """Requests a second while the minute's budget lasts: a slot is free one second after its answer."""
    by_slots = min(preset.per_second, limits.per_second) / (1 + rtt_s)
    delay = preset.min_delay.total_seconds()
    return by_slots if delay <= 0 else min(by_slots, 1 / delay)


def _takes(requests: int, preset: Preset, limits: Limits, rtt_s: float) -> float:
    """Seconds from the first of so many requests to the answer of the last."""
    if requests < 1:
        return 0.0
    pace = _pace(preset, limits, rtt_s)
    # A slot of the minute is free a minute after its answer: a full minute's budget comes round that often.
    full, rest = divmod(requests - 1, min(preset.per_minute, limits.per_minute))
    return max((requests - 1) / pace, full * (60 + rtt_s) + rest / pace) + rtt_s


def _lasts(rounds: Sequence[int], preset: Preset, limits: Limits, rtt_s: float) -> float:
    """Seconds from the first request to the last answer; a batch starts an interval after the one before."""
    interval = preset.interval.total_seconds()
    waits = sum(max(interval, _takes(size, preset, limits, rtt_s)) for size in rounds[:-1])
    return waits + _takes(rounds[-1], preset, limits, rtt_s) + _TURNS * rtt_s


def _most_in_second(preset: Preset, limits: Limits) -> int:
    """The most that may leave in any second."""
    per_second = min(preset.per_second, limits.per_second)
    delay = preset.min_delay.total_seconds()
    return per_second if delay <= 0 else max(1, min(per_second, math.ceil(round(1 / delay, 6))))


def _most_in_minute(rounds: Sequence[int], preset: Preset, limits: Limits) -> int:
    """The most that may leave in any 60 s."""
    work = max(rounds) if preset.interval >= timedelta(minutes=1) else sum(rounds)
    by_pace = math.floor(60 * _pace(preset, limits, 0.0)) + 1
    return min(work, preset.per_minute, limits.per_minute, by_pace)
