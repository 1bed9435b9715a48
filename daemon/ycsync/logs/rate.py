"""How many lines of one kind may be written? A few at once, then a few a minute, and a later one says how many were left out.

A kind is an event, a salon and a stream, so that one salon in trouble hides no other. For a thousand salons in trouble at once
an event is bounded over all of them too; but the first error of a kind in an hour is written whatever the others said, or a
salon that stopped would be one of the thousand that nobody reads about.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

BURST, EVERY_S = 20, 5.0  # lines of one event, salon and stream at once; then one every so many seconds
ALL_BURST, ALL_EVERY_S = 300, 0.5  # the same for one event of all salons
FIRST_S = 3600.0  # an error that was not written for so long is written
MOST_KEPT = 20_000  # kinds: a thousand salons with all their streams, in trouble of four sorts


@dataclass(slots=True)
class _Bucket:
    """So many lines are `left`, as of `at`; `suppressed` ones it refused, and no line has told of them yet."""

    left: float
    at: float
    suppressed: int = 0
    written_at: float = -math.inf

    def fill(self, now: float, burst: int, every_s: float) -> None:
        self.left = min(float(burst), self.left + (now - self.at) / every_s)
        self.at = now

    def write(self, now: float) -> int:
        """A line is written. Returns how many it must tell of."""
        self.left, self.written_at = max(0.0, self.left - 1), now
        suppressed, self.suppressed = self.suppressed, 0
        return suppressed


class Rate:
    """Counts lines. `clock`: seconds that only go forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[tuple[str, object, object], _Bucket] = {}
        self._events: dict[str, _Bucket] = {}

    def take(self, event: str, company: object = None, stream: object = None, *, error: bool = False) -> int | None:
        """May a line be written? None: no.

        Else the number of lines that were left out before it: of its kind, and of its event because all salons together
        wrote too many.
        """
        now = self._clock()
        if len(self._kinds) >= MOST_KEPT:
            self._forget()
        kind = self._kinds.setdefault((event, company, stream), _Bucket(float(BURST), now))
        all_salons = self._events.setdefault(event, _Bucket(float(ALL_BURST), now))
        kind.fill(now, BURST, EVERY_S)
        all_salons.fill(now, ALL_BURST, ALL_EVERY_S)
        if not (error and now - kind.written_at >= FIRST_S):
            for bucket in (kind, all_salons):
                if bucket.left < 1:
                    bucket.suppressed += 1
                    return None
        return kind.write(now) + all_salons.write(now)

    def pending(self) -> int:
        """Lines that were left out, of which no line has told yet."""
        return sum(bucket.suppressed for buckets in (self._kinds, self._events) for bucket in buckets.values())

    def _forget(self) -> None:
        """The half that spoke longest ago; what it left out is told by the next line of its event."""
        by_age = sorted(self._kinds, key=lambda key: self._kinds[key].at)
        for key in by_age[: len(by_age) // 2]:
            self._events[key[0]].suppressed += self._kinds.pop(key).suppressed


_rate = Rate()


def take(event: str, company: object, stream: object, *, error: bool) -> int | None:
    """Rate.take of this process."""
    return _rate.take(event, company, stream, error=error)


def reset() -> None:
    """Begin to count anew, as a new process does: for tests."""
    global _rate
    _rate = Rate()
