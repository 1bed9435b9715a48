"""How many lines of one kind may be written? A few at once, then a few a minute, and the next one says how many were left out.

By event, salon and stream, so that one salon in trouble hides no other; and by event, for five hundred salons in trouble at
once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

BURST, EVERY_S = 20, 5.0  # lines of one event, salon and stream at once; then one every so many seconds
ALL_BURST, ALL_EVERY_S = 300, 0.5  # the same for one event of all salons
MOST_KEPT = 5_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float
    suppressed: int = 0

    def fill(self, now: float, burst: int, every_s: float) -> None:
        self.left = min(float(burst), self.left + (now - self.at) / every_s)
        self.at = now


class Rate:
    """Counts lines. `clock`: seconds that only go forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[tuple[object, ...], _Bucket] = {}
        self._events: dict[str, _Bucket] = {}

    def take(self, event: str, company: object = None, stream: object = None) -> int | None:
        """May a line be written? None: no. Else the number of lines of its kind that were left out before it."""
        now = self._clock()
        if len(self._kinds) >= MOST_KEPT:
            self._forget(now)
        kind = self._kinds.setdefault((event, company, stream), _Bucket(float(BURST), now))
        all_salons = self._events.setdefault(event, _Bucket(float(ALL_BURST), now))
        kind.fill(now, BURST, EVERY_S)
        all_salons.fill(now, ALL_BURST, ALL_EVERY_S)
        if kind.left < 1 or all_salons.left < 1:
            kind.suppressed += 1
            return None
        kind.left -= 1
        all_salons.left -= 1
        suppressed, kind.suppressed = kind.suppressed, 0
        return suppressed

    def _forget(self, now: float) -> None:
        """Those that are full again say nothing; if none is, all begin anew."""
        full_s = BURST * EVERY_S
        self._kinds = {key: one for key, one in self._kinds.items() if now - one.at < full_s or one.suppressed}
        if len(self._kinds) >= MOST_KEPT:
            self._kinds.clear()


_rate = Rate()


def take(event: str, company: object, stream: object) -> int | None:
    """Rate.take of this process."""
    return _rate.take(event, company, stream)


def reset() -> None:
    """Begin to count anew."""
    global _rate
    _rate = Rate()
