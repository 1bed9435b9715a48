"""How does the whole look to `systemctl status`, /readyz, /api/status and /metrics? What is judged, said in their ways."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from ycsync import __version__
from ycsync.api import Attempt
from ycsync.config import Settings
from ycsync.errors import NO_RIGHT
from ycsync.metrics import Metrics, State, Told
from ycsync.service import gauges
from ycsync.service import standing as view
from ycsync.service.judging import Judging
from ycsync.service.standing import PAUSE_S, Judged
from ycsync.store.report import Standing
from ycsync.store.work import BatchTotals, Claim

UNREAD_S = 30.0  # without a look at the database that worked: what is known may not be so any more


class Overview:
    """Hears of every request and batch of this process, and of how everything stands in the database."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.metrics = Metrics(__version__)
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._standing: Standing | None = None
        self._judged: tuple[Judged, ...] = ()
        self._judging = Judging()
        self._said: tuple[tuple[Judged, ...] | None, list[str]] = (None, [])  # of the salons, and what it was said of
        self._reasons: tuple[str, ...] = ("starting: nothing is known yet",)
        self._gauges = gauges.Gauges()
        self._told: Told | None = None
        self._read = 0.0  # on the clock, when the standing was read
        self._loaded_at = time.time()

    def attempt(self, attempt: Attempt) -> None:
        """One request went as it did."""
        self._counts["requests"] += 1
        self._counts["errors"] += attempt.outcome not in ("ok", "none", "throttled")
        self.metrics.request(attempt.endpoint, attempt.outcome, attempt.seconds)

    def batch(self, claim: Claim, totals: BatchTotals, seconds: float) -> None:
        """One batch ended."""
        self._counts["batches"] += 1
        self._counts["failed"] += totals.outcome in ("failed", "lost", "denied")
        self._counts["rows"] += totals.effects.get("inserted", 0)
        self._counts["changed"] += totals.effects.get("changed", 0)
        self.metrics.batch(
            claim.stream,
            totals.outcome,
            seconds,
            retries=totals.retries,
            rows=totals.effects,
            reread=totals.reread,
            waited=totals.waited,
            odd=totals.odd,
        )

    def update(self, standing: Standing, settings: Settings) -> None:
        """What the database says, every two seconds."""
        self._standing = standing
        before, self._judged = self._judged, self._judging.judge(standing, settings)
        if self._judged is not before:
            self._reasons = view.reasons(self._judged)
        self._told = self._gauges.told(standing, self._judged)
        self._read = self._clock()

    def reloaded(self, at: datetime) -> None:
        """A reload was taken."""
        self._loaded_at = at.timestamp()

    @property
    def judged(self) -> tuple[Judged, ...]:
        """Every stream, as it was when the database was read last."""
        return self._judged

    def hour(self) -> dict[str, int]:
        """What this process did since this was asked last, and how many streams are fresh now."""
        counts, self._counts = self._counts, Counter()
        on = [one for one in self._judged if one.state != "off"]
        figures = {key: counts[key] for key in ("requests", "errors", "batches", "failed", "rows", "changed")}
        return {"streams": len(on), "fresh": sum(one.well for one in on), **figures}

    def paused(self) -> frozenset[int]:
        """Salons whose requests a command holds; 0: all."""
        return frozenset() if self._standing is None else frozenset(self._standing.pauses)

    def unread_since(self) -> datetime | None:
        """Since when nothing could be read of how things stand, if that is long; None before the first look."""
        age_s = self._clock() - self._read
        if self._standing is None or age_s <= UNREAD_S:
            return None
        return datetime.now(UTC) - timedelta(seconds=age_s)

    def reasons(self, lost: datetime | None = None, problem: str | None = None) -> tuple[str, ...]:
        """Why not all is as it should be; empty when it is: database, settings, and data that is complete and fresh.

        `lost`: since when the database is away; `problem`: why the last reload was refused.
        """
        said = self._reasons
        if problem is not None:
            said = (f"the last reload was refused: {problem}", *said)
        if lost is not None:
            return ("the database is away", *said)
        if (since := self.unread_since()) is not None:
            return (f"the database does not tell how things stand, since {since:%H:%M:%S} UTC", *said)
        return said

    def measure(self, settings: Settings, problem: str | None, lost: datetime | None, turned: float | None = None) -> bytes:
        """The metrics, with the state as it is now. `turned`: when work was looked for last, on the monotonic clock."""
        limits, preset, now = settings.yclients, settings.active, self._clock()
        state = State(
            told=self._told,
            age_s=now - self._read,
            preset=(min(preset.per_second, limits.per_second), min(preset.per_minute, limits.per_minute)),
            api=(limits.per_second, limits.per_minute),
            ready=not self.reasons(lost, problem),
            database=lost is None,
            reload=problem is None,
            loaded_at=self._loaded_at,
            turn_age_s=now - turned if turned else 0.0,
        )
        return self.metrics.text(state)

    def line(self, settings: Settings, problem: str | None, lost: datetime | None) -> str:
        """One line for `systemctl status`."""
        if self._said[0] is not self._judged:
            self._said = (self._judged, self._salons_said())
        parts = list(self._said[1])
        if self._standing is not None:
            parts.append(f"{self._standing.usage.minute}/{settings.active.per_minute} requests a minute")
            if self._standing.pauses:
                parts.append("PAUSED" if 0 in self._standing.pauses else f"{len(self._standing.pauses)} paused")
        for one in self._judged[:1]:
            # Without the list of salons there is none to be counted as stopped.
            if one.row.company == 0 and one.row.last_error is not None:
                parts.append(one.row.last_error)
        if lost is not None:
            parts.insert(0, "DATABASE AWAY since " + lost.strftime("%H:%M:%S UTC"))
        elif (since := self.unread_since()) is not None:
            parts.insert(0, f"NOT READ since {since:%H:%M:%S UTC}")
        if problem is not None:
            parts.append(f"last reload refused: {problem}")
        return "; ".join(parts)

    def _salons_said(self) -> list[str]:
        by_salon: dict[int, list[Judged]] = {}
        for one in self._judged:
            if one.row.company and one.state != "off":
                by_salon.setdefault(one.row.company, []).append(one)
        groups: dict[str, list[int]] = {}
        for company, judged in by_salon.items():
            groups.setdefault(_worst(judged), []).append(company)
        parts = [f"{len(by_salon)} salon{'' if len(by_salon) == 1 else 's'}, {len(groups.get('complete', ()))} complete"]
        if filling := groups.get("filling"):
            parts.append(self._filling([one for company in filling for one in by_salon[company]], len(filling)))
        parts += [f"{len(groups[group])} {group}" for group in ("stale", "stopped", "without a right") if group in groups]
        return parts

    def _filling(self, judged: list[Judged], salons: int) -> str:
        # A share of what is not counted yet would be one of nothing.
        known = all(one.row.expected for one in judged if one.state in ("filling", "waiting"))
        expected = sum(one.row.expected or 0 for one in judged)
        told = []
        if known and expected:
            told.append(f"{sum(min(one.row.done, one.row.expected or 0) for one in judged) / expected:.0%}")
        if etas := [one.eta_s for one in judged if one.eta_s is not None]:
            left = max(etas)
            told.append(f"{left:.0f} s left" if left < 60 else f"{left / 60:.0f} min left")
        nexts = [one.next_s for one in judged if one.state in ("filling", "waiting")]
        soon = min((next_s for next_s in nexts if next_s is not None), default=0.0)
        if None not in nexts and soon >= PAUSE_S:
            told.append(f"next batch in {soon:.0f} s" if soon < 60 else f"next batch in {soon / 60:.0f} min")
        return f"{salons} filling" + (f" ({', '.join(told)})" if told else "")

    def as_json(self, settings: Settings, lost: datetime | None, problem: str | None = None) -> dict[str, Any]:
        """The body of /api/status: what `ycsync status --json` prints, and `ready` with its reasons."""
        said = self.reasons(lost, problem)
        found: dict[str, Any] = {"ready": not said, "reasons": list(said), "preset": settings.preset}
        if self._standing is not None:
            found = {**view.as_json(self._standing, self._judged, settings), **found}
        return found


def _worst(judged: list[Judged]) -> str:
    """The group in which a salon is counted."""
    states = {one.state for one in judged}
    if "stopped" in states:
        rights_only = all(one.row.error_code == NO_RIGHT for one in judged if one.state == "stopped")
        return "without a right" if rights_only else "stopped"
    if states & {"filling", "waiting"}:
        return "filling"
    return "stale" if "stale" in states else "complete"
