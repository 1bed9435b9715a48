"""Which figures over all salons does Prometheus get? Worked out when a judgement changed, not once a scrape."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from ycsync.config import STREAMS
from ycsync.metrics import QUANTILES, StreamState, Told
from ycsync.service.standing import SAID_LATELY, Judged
from ycsync.service.verdict import LASTING
from ycsync.store.report import Standing

T = TypeVar("T")


@dataclass(slots=True)
class _Sum:
    states: Counter[str] = field(default_factory=Counter)
    proved: list[datetime] = field(default_factory=list)
    never: int = 0
    quarantined: int = 0
    done: int = 0
    expected: int = 0
    failing: int = 0

    def add(self, one: Judged) -> None:
        self.states[one.state] += 1
        self.quarantined += one.row.quarantined
        if one.state != "off":
            if (proved := one.row.proved_as_of) is None:
                self.never += 1
            else:
                self.proved.append(proved)
        if one.state in ("filling", "waiting"):
            self.failing += one.row.failures >= LASTING
        if one.state == "filling":
            self.expected += one.row.expected or 0
            self.done += one.row.done

    def ages(self) -> tuple[float, ...]:
        """As they would be at the Unix time 0, so that they go on by themselves."""
        oldest_last: list[datetime | None] = [*sorted(self.proved, reverse=True), *[None] * self.never]
        return tuple(math.inf if proved is None else -proved.timestamp() for proved in spread(oldest_last))


class Gauges:
    """The figures of the last look; those of a judgement that is still the same are kept, only their lags go on."""

    def __init__(self) -> None:
        self._judged: tuple[Judged, ...] | None = None
        self._streams: tuple[StreamState, ...] = ()

    def told(self, standing: Standing, judged: tuple[Judged, ...]) -> Told:
        """What the metrics say of the database."""
        if judged is not self._judged:
            self._judged, self._streams = judged, of_streams(judged)
        now, usage = standing.now.timestamp(), standing.usage
        streams = tuple(replace(one, lags=tuple(max(0.0, now + age) for age in one.lags)) for one in self._streams)
        blocked_s = 0.0 if usage.blocked_until is None else (usage.blocked_until - standing.now).total_seconds()
        paused = set(standing.pauses)
        lately = usage.server_said_at is not None and standing.now - usage.server_said_at < SAID_LATELY
        resets_at = usage.server_resets_at if lately else None
        reset_s = None if resets_at is None else max(0.0, (resets_at - standing.now).total_seconds())
        server = usage.server_limit, usage.server_remaining if lately else None, reset_s
        used, salons = (usage.second, usage.minute), len(paused - {0})
        return Told(streams, used, blocked_s, 0 in paused, salons, standing.hints, server, usage.others or 0)


def of_streams(judged: Iterable[Judged]) -> tuple[StreamState, ...]:
    """Each stream over all salons, its lags as they would be at the Unix time 0.

    The streams of the settings are there though no salon is known yet.
    """
    sums = {stream: _Sum() for stream in STREAMS}
    for one in judged:
        stream = one.row.stream
        if stream not in sums:
            sums[stream] = _Sum()
        sums[stream].add(one)
    return tuple(
        StreamState(stream, dict(sum_.states), sum_.ages(), sum_.quarantined, sum_.done, sum_.expected, sum_.failing)
        for stream, sum_ in sums.items()
    )


def spread(ordered: Sequence[T]) -> tuple[T, ...]:
    """Those at QUANTILES (each the first that so large a share does not come after), and the last; empty: there is none."""
    if not ordered:
        return ()
    return (*(ordered[math.ceil(quantile * len(ordered)) - 1] for quantile in QUANTILES), ordered[-1])
