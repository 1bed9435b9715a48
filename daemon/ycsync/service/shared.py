"""Decide when to say that others use the limit: once, and again only after they had stopped. Pure: time is given."""

from __future__ import annotations

import math

from ycsync.store.report import Usage

ENDED_S = 900.0  # without others for so long, they have stopped: a bot rests between two bookings


class Shared:
    """Remembers when others were seen last."""

    def __init__(self) -> None:
        self._seen_at = -math.inf

    def is_news(self, usage: Usage, now: float) -> bool:
        """Return whether others are seen that were not seen lately. `now`: monotonic seconds."""
        if usage.others is None:
            return False
        before, self._seen_at = self._seen_at, now
        return now - before > ENDED_S
