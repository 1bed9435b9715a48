"""How long does it take from a change in a salon to its row in the database?

A reading sees what changed since the reading before it. So the changes of that stretch, evenly spread over it, waited from
(commit - reading) to (commit - reading before): no single change is drawn, and no figure is noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

BIN_S = 0.25
BINS = int(4 * 3600 / BIN_S)


def _empty() -> list[float]:
    return [0.0] * (BINS + 2)


@dataclass(slots=True)
class Freshness:
    """Changes by how long they waited. Weights are changes, waits seconds."""

    _edges: list[float] = field(default_factory=_empty)  # the difference from one bin to the next, for stretches
    _single: list[float] = field(default_factory=_empty)
    longest: float = 0.0
    weight: float = 0.0

    def stretch(self, least_s: float, most_s: float, a_second: float) -> None:
        """Changes of so many a second waited evenly from `least_s` to `most_s`."""
        edges = self._edges
        for at, sign in ((least_s, a_second), (most_s, -a_second)):
            place = min(at / BIN_S, BINS)
            whole = int(place)
            part = place - whole
            edges[whole] += sign * BIN_S * (1 - part)
            edges[whole + 1] += sign * BIN_S * part
        self.weight += a_second * (most_s - least_s)
        self.longest = max(self.longest, most_s)

    def one(self, wait_s: float) -> None:
        """One change waited so long."""
        self._single[min(int(wait_s / BIN_S), BINS)] += 1.0
        self.weight += 1.0
        self.longest = max(self.longest, wait_s)

    def add(self, other: Freshness, times: float = 1.0) -> None:
        """The changes of another stretch of time, so many times."""
        self._edges = [mine + times * its for mine, its in zip(self._edges, other._edges, strict=True)]
        self._single = [mine + times * its for mine, its in zip(self._single, other._single, strict=True)]
        self.weight += times * other.weight
        self.longest = max(self.longest, other.longest)

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the changes was in the database."""
        within, wanted = 0.0, share * self.weight * (1 - 1e-9)
        for place, (stretched, single) in enumerate(zip(accumulate(self._edges), self._single, strict=True)):
            within += stretched + single
            if within >= wanted:
                return (place + 1) * BIN_S
        return BINS * BIN_S
