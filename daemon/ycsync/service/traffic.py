"""How much of both limits was used in the last hour? Buckets of ten seconds, each with the fullest window that ended in it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

BUCKET_S = 10
HOUR_S = 3600
SECOND_S, MINUTE_S = 1.0, 60.0


@dataclass(slots=True)
class Bucket:
    """`at`: when it begins (seconds since 1970, a multiple of BUCKET_S). The most requests in any second and any minute."""

    at: int
    second: int = 0
    minute: int = 0


class Traffic:
    """Hears when requests left, a few seconds late, and remembers an hour of it."""

    def __init__(self) -> None:
        self._buckets: deque[Bucket] = deque(maxlen=HOUR_S // BUCKET_S + 1)
        self._told: dict[tuple[int, float], None] = {}
        self._times: list[float] = []  # of the last two minutes, in order

    def add(self, left: Sequence[tuple[int, float]], now: float) -> None:
        """`left`: requests as slot and instant; those that were told before count once. `now`: when they were asked for."""
        new = [one for one in dict.fromkeys(left) if one not in self._told]
        self._told = {one: None for one in (*self._told, *new) if one[1] > now - MINUTE_S}
        self._times = sorted([*self._times, *(at for _, at in new)])
        for _, at in new:
            bucket = self._bucket(at)
            bucket.second = max(bucket.second, self._within(at, SECOND_S))
            bucket.minute = max(bucket.minute, self._within(at, MINUTE_S))
        # A minute stays as full as it was until the requests in it are a minute old.
        last = self._bucket(now)
        last.minute = max(last.minute, self._within(now, MINUTE_S))
        del self._times[: bisect_left(self._times, now - 2 * MINUTE_S)]

    def _within(self, at: float, window_s: float) -> int:
        """How many left in the window that ends at `at`; one that left just a window ago is in it no more."""
        return bisect_right(self._times, at) - bisect_right(self._times, at - window_s)

    def _bucket(self, at: float) -> Bucket:
        start = math.floor(at / BUCKET_S) * BUCKET_S
        if not self._buckets:
            self._buckets.append(Bucket(start))
        for bucket in reversed(self._buckets):
            if bucket.at == start:
                return bucket
            if bucket.at < start:
                break
        else:
            return self._buckets[0]  # from before anything is remembered
        # Buckets in which nobody looked are as full as at their beginning: what left before and still counted.
        for missed in range(max(self._buckets[-1].at, start - HOUR_S) + BUCKET_S, start, BUCKET_S):
            self._buckets.append(Bucket(missed, 0, self._within(missed, MINUTE_S)))
        self._buckets.append(Bucket(start))
        return self._buckets[-1]

    def series(self, last: int | None = None) -> dict[str, list[int]]:
        """The buckets as columns: at, second, minute; all of them, or so many of the last."""
        chosen = list(self._buckets)[-last:] if last else list(self._buckets)
        return {
            "at": [one.at for one in chosen],
            "second": [one.second for one in chosen],
            "minute": [one.minute for one in chosen],
        }
