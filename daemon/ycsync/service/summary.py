"""How does the whole look, in one line and as JSON: what is complete, what is filling, what is wrong?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ycsync.api import Attempt
from ycsync.config import Settings
from ycsync.store.work import BatchTotals, Claim, StreamProgress

STALE_FACTOR = 3  # cadences without a proven success, and
STALE_GRACE = timedelta(minutes=2)
HELD_BACK = "held_back"  # a sweep stopped and asks


class Summary:
    """Observes batches and requests; the status line, /api/status, /readyz and the metrics read it."""

    def __init__(self) -> None:
        self.rows: Sequence[StreamProgress] = ()
        self.usage = (0, 0)
        self.pauses: Mapping[int, datetime] = {}
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.batches: Counter[tuple[str, str]] = Counter()
        self.stored: Counter[str] = Counter()
        self.throttled = 0
        self.started = time.time()
        self._speed: tuple[float, int] | None = None
        self._eta_s: float | None = None

    def attempt(self, attempt: Attempt) -> None:
        """One request went as it did."""
        self.attempts[attempt.endpoint, attempt.outcome] += 1
        self.throttled += attempt.outcome == "throttled"

    def batch(self, claim: Claim, totals: BatchTotals, _seconds: float) -> None:
        """One batch ended."""
        self.batches[claim.stream, totals.outcome] += 1
        self.stored[claim.stream] += totals.rows

    def update(self, rows: Sequence[StreamProgress], usage: tuple[int, int], pauses: Mapping[int, datetime]) -> None:
        """What the database says, every two seconds."""
        self.rows, self.usage, self.pauses = rows, usage, pauses
        filling = [row for row in rows if row.phase in ("filling", "closing") and row.expected]
        done = sum(min(row.done, row.expected or 0) for row in filling)
        left = sum(row.expected or 0 for row in filling) - done
        now = time.monotonic()
        if not filling:
            self._speed, self._eta_s = None, None
        elif self._speed is None or done < self._speed[1]:
            self._speed = (now, done)
        elif done > self._speed[1] and now > self._speed[0]:
            self._eta_s = left * (now - self._speed[0]) / (done - self._speed[1])

    def stale(self, settings: Settings) -> list[StreamProgress]:
        """Streams that are on and have no proven success recent enough."""
        now = datetime.now(UTC)
        wanted = self.wanted()
        found = []
        for row in self.rows:
            cadence = settings.streams.get(row.stream)
            if cadence is None or row.company not in wanted:
                continue
            limit = cadence * STALE_FACTOR + STALE_GRACE
            if row.last_success_at is None or now - row.last_success_at > limit:
                found.append(row)
        return found

    def reasons(self, settings: Settings) -> list[str]:
        """Why the data is not complete and fresh; empty when it is."""
        if not self.rows:
            return ["no salon is known yet"]
        wanted = self.wanted()
        bad = [row for row in self.rows if row.company in wanted and (row.phase == "stopped" or row.error_code == HELD_BACK)]
        named = {(row.company, row.stream): row for row in (*bad, *self.stale(settings))}
        if wanted == {0} and not named:
            return ["no salon is known yet"]
        reasons = [
            f"salon {row.company}, {row.stream}: "
            + (row.error_code or ("never complete" if row.last_success_at is None else "stale"))
            for row in named.values()
        ]
        return reasons[:20]

    def wanted(self) -> set[int]:
        """The salons that are synced (0: their list)."""
        return {0} | {row.company for row in self.rows if row.scheduled}

    def line(self, settings: Settings, problem: str | None, lost: datetime | None) -> str:
        """One line for `systemctl status`."""
        companies = self.wanted() - {0}
        stopped = {row.company for row in self.rows if row.phase == "stopped"} & companies
        filling = ({row.company for row in self.rows if row.phase in ("new", "filling", "closing")} & companies) - stopped
        parts = [f"{len(companies)} salons, {len(companies - filling - stopped)} complete"]
        if filling:
            wanted = [row for row in self.rows if row.company in filling and row.expected]
            share = sum(min(r.done, r.expected or 0) for r in wanted) / max(1, sum(r.expected or 0 for r in wanted))
            eta = "" if self._eta_s is None else f", ETA {int(self._eta_s) // 60}:{int(self._eta_s) % 60:02d}"
            parts.append(f"{len(filling)} filling ({share:.0%}{eta})")
        if stopped:
            parts.append(f"{len(stopped)} stopped")
        parts.append(f"{self.usage[1]}/{settings.active.per_minute} requests a minute")
        if self.pauses:
            parts.append("PAUSED" if 0 in self.pauses else f"{len(self.pauses)} paused")
        if lost is not None:
            parts.insert(0, "DATABASE AWAY since " + lost.strftime("%H:%M:%S UTC"))
        if problem is not None:
            parts.append(f"last reload refused: {problem}")
        return "; ".join(parts)

    def as_json(self, settings: Settings) -> dict[str, Any]:
        """The body of /api/status."""
        return {
            "preset": settings.preset,
            "ready": not self.reasons(settings),
            "reasons": self.reasons(settings),
            "requests": {"second": self.usage[0], "minute": self.usage[1]},
            "limits": {"second": settings.active.per_second, "minute": settings.active.per_minute},
            "paused": sorted(self.pauses),
            "streams": [
                {
                    "company": row.company,
                    "stream": row.stream,
                    "phase": row.phase,
                    "expected": row.expected,
                    "done": row.done,
                    "requests": row.requests,
                    "last_success_at": row.last_success_at.isoformat() if row.last_success_at else None,
                    "error": row.last_error,
                }
                for row in self.rows
            ],
        }
