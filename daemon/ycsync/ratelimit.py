"""What the rate headers of answers say, and what they tell of others who use the same limit. Pure: time is given.

An answer says how many requests the server has counted in its window: `limit - remaining`. Ours among them are at most as
many as slots were taken when the request left or since (limiter.py: a slot is free one window after its answer). So what is
counted beyond them was sent by others. This lower bound holds for a sliding and for a fixed window, for answers that come late
or out of order, and for requests that the server has not seen yet; in a fixed window it is close only near the window's end,
hence the memory of a window.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

WINDOW_S = 60.0
MEMORY_S = WINDOW_S + 5.0  # as long as a bound holds: a fixed window shows its whole count at its end only
AGREEING = 4  # answers in a row that must show at least so many others; headers that are no count do not agree for long
TOLERANCE = 3  # fewer others a minute are not told from what is in flight
RESERVE = 2  # requests a minute that others may send before the next answer tells of them
LEAST_SHARE = 0.05  # of the limit stays ours, however much the headers say that others use
STUCK_SHARE = 0.25  # of the limit: a count that stands still while our own moves by so much is none
STUCK_S = MEMORY_S  # and so is one that stands at the limit for so long although nothing is refused
STUCK_ANSWERS = 5
LOW = 5  # requests left: fewer may be in flight, so that nothing leaves until the window ends
END_APART_S = 2.0  # a window's end is told in whole seconds, and some time after it was known
END_SEEN_S = (4.0, 10.0)  # an end that answers of so long, at least and at most, agree on is one
LONGEST_RESET_S = 2 * WINDOW_S  # a window that lasts longer is not the minute's
MOST_LIMITS = 10  # times our own limit: a larger one is not the minute's
FEWEST = 20  # requests a minute of another budget, from which it is compared with what others use here
APART = 8  # two counts that differ by no more are equal: what is in flight is in one of them
SPREAD = 20  # over so many requests a minute two counts must move together
MATCHES = 6  # in so many answers
MATCHED_S = 900.0  # as long as a match counts

_NUMBER = re.compile(r"\s*(-?[0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(?:[,;].*)?", re.DOTALL)
_EPOCH_S, _EPOCH_MS = 1e9, 1e12  # numbers from here on are instants, not spans


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """X-RateLimit-Limit, -Remaining and -Reset of one answer, in requests and seconds from now; None: absent or unreadable."""

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None


def read_rate_headers(headers: Mapping[str, str], now: datetime | None = None) -> RateHeaders:
    """Read the headers of one answer. `now`: the server's clock, for a Reset that is an instant."""
    limit, remaining = _number(headers.get("X-RateLimit-Limit")), _number(headers.get("X-RateLimit-Remaining"))
    return RateHeaders(
        None if limit is None or limit < 1 else int(limit),
        None if remaining is None else max(0, int(remaining)),
        _span(_number(headers.get("X-RateLimit-Reset")), now or datetime.now(UTC)),
    )


def _is_a_minutes(reset_s: float | None, limit: int, own_limit: int) -> bool:
    """Return whether what the headers count can be the limit of a minute, not that of an hour or a day."""
    return (reset_s is None or reset_s <= LONGEST_RESET_S) and limit <= MOST_LIMITS * own_limit


def _number(text: str | None) -> float | None:
    found = None if text is None else _NUMBER.fullmatch(text)
    return None if found is None else float(found[1])


def _span(reset: float | None, now: datetime) -> float | None:
    """Seconds from now, of a number that is a span or a Unix time in seconds or milliseconds; None: it lies in the past."""
    if reset is None:
        return None
    if reset >= _EPOCH_S:
        reset = (reset / 1000 if reset >= _EPOCH_MS else reset) - now.timestamp()
    return reset if reset >= 0 else None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What others use of the limit, in requests a minute, and what that leaves ycsync: requests a second and a minute."""

    others: int
    second: int
    minute: int


def allowance(others: int, limit: int, per_second: int) -> Allowance:
    """Return what `others` requests a minute leave of `limit` a minute and `per_second` a second."""
    least = max(1, math.ceil(limit * LEAST_SHARE))
    return Allowance(others, max(1, per_second - math.ceil(others / WINDOW_S)), max(least, limit - others - RESERVE))


@dataclass(slots=True)
class _Match:
    """Answers in which what others use was what another budget had sent."""

    found: deque[tuple[float, int]] = field(default_factory=deque)  # when, and how much

    def add(self, at: float, beyond: int, sent: int) -> None:
        while self.found and self.found[0][0] < at - MATCHED_S:
            self.found.popleft()
        if beyond > sent + APART:
            self.found.clear()  # somebody else uses the limit here: the rest may be theirs as well
        elif sent >= FEWEST and beyond >= sent - APART:
            self.found.append((at, sent))

    @property
    def proved(self) -> bool:
        counts = [sent for _, sent in self.found]
        return len(counts) >= MATCHES and max(counts) - min(counts) >= SPREAD


@dataclass(slots=True)
class _Still:
    """A count that does not move: since when, over how many answers, and our own least and most meanwhile."""

    used: int
    since: float
    least: int
    most: int
    answers: int = 0


class Neighbours:
    """How many requests a minute others send out of the limit, by the headers of the answers that one process gets."""

    def __init__(self) -> None:
        self._beyond: deque[tuple[float, int]] = deque()  # when, and what the server counted beyond our own
        self._limit: int | None = None
        self._blind_until = -math.inf
        self._still: _Still | None = None
        self._matches: dict[str, _Match] = {}
        self._ends: deque[tuple[float, float]] = deque()  # when, and when the window ends
        self._left: deque[int] = deque(maxlen=AGREEING)  # what remained, of the last answers

    def add(self, at: float, headers: RateHeaders, own_limit: int, held: int, beside: Mapping[str, int]) -> float:
        """Take one answer; return for how many seconds nothing may leave, so that it is not refused.

        `at`: seconds. `held`: own slots taken, see above; `beside`: those of other budgets, by name.
        """
        limit = headers.limit or own_limit
        if headers.remaining is None or at < self._blind_until or not _is_a_minutes(headers.reset_s, limit, own_limit):
            return 0.0
        if limit != self._limit:
            self._limit, self._still = limit, None
            self._beyond.clear()
        used = limit - headers.remaining
        while self._beyond and self._beyond[0][0] < at - MEMORY_S:
            self._beyond.popleft()
        if self._is_stuck(at, used, held):
            self._beyond.clear()
            return 0.0
        self._beyond.append((at, used - held))
        for name, sent in beside.items():
            self._matches.setdefault(name, _Match()).add(at, used - held, sent)
        self._left.append(headers.remaining)
        ends = self._has_an_end(at, headers.reset_s)
        low = headers.remaining <= LOW and used - held >= TOLERANCE
        return min(headers.reset_s or 0.0, WINDOW_S) if low and ends and self._runs_out() else 0.0

    def allowance(self, at: float, per_second: int) -> Allowance | None:
        """Return what the others leave; None: no others were seen."""
        shown = [beyond for when, beyond in self._beyond if when >= at - MEMORY_S]
        agreed = (min(shown[n : n + AGREEING]) for n in range(len(shown) - AGREEING + 1))
        others = max(agreed, default=0)
        if others < TOLERANCE or self._limit is None:
            return None
        return allowance(min(others, self._limit), self._limit, per_second)

    def sharing(self) -> tuple[str, ...]:
        """Return the names of other budgets whose requests are what others use here, in all answers compared."""
        return tuple(sorted(name for name, match in self._matches.items() if match.proved))

    def confirm(self) -> None:
        """A request was refused: a count that stands at the limit is real."""
        self._still = None

    def forget(self, until: float) -> None:
        """The database's clock jumped: what was compared is worthless, and so is what comes before `until`."""
        self._beyond.clear()
        self._matches.clear()
        self._still, self._blind_until = None, until

    def _runs_out(self) -> bool:
        """Return whether what remained only fell, in the last answers."""
        left = list(self._left)
        return left[0] > left[-1] and left == sorted(left, reverse=True)

    def _has_an_end(self, at: float, reset_s: float | None) -> bool:
        """Return whether all that is counted lasts until one instant: where a window slides, Reset tells only of a part."""
        if reset_s is None:
            return False
        self._ends.append((at, at + reset_s))
        while self._ends[0][0] < at - END_SEEN_S[1] or abs(self._ends[0][1] - at - reset_s) > END_APART_S:
            self._ends.popleft()
        return at - self._ends[0][0] >= END_SEEN_S[0]

    def _is_stuck(self, at: float, used: int, held: int) -> bool:
        """Return whether the server's count does not move although it should."""
        if self._still is None or self._still.used != used:
            self._still = _Still(used, at, held, held)
        still, limit = self._still, self._limit or 0
        still.answers += 1
        still.least, still.most = min(still.least, held), max(still.most, held)
        lasting = used >= limit and at - still.since > STUCK_S
        return still.answers > STUCK_ANSWERS and (lasting or still.most - still.least >= STUCK_SHARE * limit)
