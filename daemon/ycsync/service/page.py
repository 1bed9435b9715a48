"""What does the status page show? The same judgement as everywhere, by salon and by stream, and what happened lately.

Whoever looks is told from memory: the database is asked by the service's own loops, and for what only the page needs only
while somebody looks.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from ycsync import __version__
from ycsync.config import STREAMS, Settings, preset_keys
from ycsync.service import salons as by_salon
from ycsync.service.salons import SalonView
from ycsync.service.standing import Judged, instant, reload_problem, requests_as_json
from ycsync.service.traffic import Traffic
from ycsync.service.verdict import Refused, Verdict, cause, salons_troubles, verdict
from ycsync.store.glance import AtWork, Ended, Glance, Glances, Quarantined
from ycsync.store.report import Standing
from ycsync.web import Events, FirstWords, Query

BATCHES, ERRORS, QUARANTINED = 30, 30, 30
RECENT = 6  # buckets of traffic that each message has
OVERLAP_S = 10.0  # a request that was granted meanwhile may be told late
SPEED_S = 20.0
PACE_S, LEAST_SALONS = 600.0, 3
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reload:
    """The last reload: when, what was wrong with the file, and which keys wait for a restart."""

    at: datetime
    problem: str | None = None
    restart_needed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """How the service itself is. `lost`, `unread`: see `verdict`. `chosen_at`: the page chose its preset, not the file."""

    settings: Settings
    lost: datetime | None = None
    unread: datetime | None = None
    reload: Reload | None = None
    chosen_at: datetime | None = None
    file_preset: str = ""
    admin: bool = False


@dataclass(slots=True)
class _Speed:
    """Rows a second of the streams that fill, over the last SPEED_S."""

    judged: Sequence[Judged] = ()
    done: dict[tuple[int, str], int] = field(default_factory=dict)
    steps: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, judged: Sequence[Judged], now: float) -> None:
        """What is stored now; `now` on the monotonic clock."""
        if judged is self.judged and not self.done:
            return
        self.judged = judged
        done = {(one.row.company, one.row.stream): one.row.done for one in judged if one.state == "filling"}
        step = sum(max(0, rows - self.done[key]) for key, rows in done.items() if key in self.done)
        self.done = done
        self.steps.append((now, step))
        while self.steps[0][0] < now - SPEED_S:
            self.steps.popleft()

    def rows_s(self) -> float | None:
        """None while nothing fills."""
        if not self.done or len(self.steps) < 2:
            return None
        return sum(step for _, step in list(self.steps)[1:]) / max(1.0, self.steps[-1][0] - self.steps[0][0])


@dataclass(slots=True)
class _Pace:
    """How many salons are through their first pass, over the last PACE_S."""

    judged: Sequence[Judged] | None = None
    total: int = 0
    through: int = 0
    steps: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, judged: Sequence[Judged], now: float) -> None:
        """How they stand; `now` on the monotonic clock."""
        if judged is not self.judged:
            self.judged = judged
            self.total = len({one.row.company for one in judged if one.row.company and one.state != "off"})
            moving = {one.row.company for one in judged if one.row.company and one.state in ("filling", "waiting")}
            self.through = self.total - len(moving)
        self.steps.append((now, self.through))
        while self.steps[0][0] < now - PACE_S:
            self.steps.popleft()

    def share(self) -> float | None:
        """Of the salons, 0 to 1; None while none is known."""
        return self.steps[-1][1] / self.total if self.steps and self.total else None

    def left_s(self) -> float | None:
        """If the others go as fast as the last ones; None while too few are through to say so."""
        if not self.steps:
            return None
        (begun, before), (now, done) = self.steps[0], self.steps[-1]
        if done - before < LEAST_SALONS or now <= begun:
            return None
        return (self.total - done) * (now - begun) / (done - before)


class Page:
    """The page's figures."""

    def __init__(self, condition: Callable[[], Condition], clock: Callable[[], float] = time.monotonic) -> None:
        self._condition = condition
        self._clock = clock
        self.events = Events(self.sections)
        self.started_at = datetime.now(UTC)
        self._traffic = Traffic()
        self._asked = 0.0  # the database's clock at the last look at the requests
        self._glance = Glance()
        self._standing: Standing | None = None
        self._judged: tuple[Judged, ...] = ()
        self._read = 0.0  # on the monotonic clock, when the standing was read
        self._salons: dict[int, SalonView] = {}
        self._titles: dict[int, str] = {}
        self._version = 0
        self._speed = _Speed()
        self._pace = _Pace()
        self._told_once: dict[str, tuple[Settings, Any]] = {}  # what follows from the judgement and the settings

    # --- what is heard ------------------------------------------------------------------------------------------------

    def update(self, standing: Standing, judged: tuple[Judged, ...]) -> None:
        """How everything stands."""
        if self._standing is None or self._standing.salons is not standing.salons:
            self._titles = {salon.id: salon.title for salon in standing.salons}
        if self._judged is not judged:
            self._told_once.clear()
        self._standing, self._judged, self._read = standing, judged, self._clock()
        self._speed.add(judged, self._read)
        self._pace.add(judged, self._read)

    async def look(self, glances: Glances, egress: str) -> None:
        """Ask the database. Raises DatabaseError."""
        now, left = await glances.left(egress, self._asked - OVERLAP_S if self._asked else 0.0)
        self._asked = now
        self._traffic.add(left, now)
        if self.events.listeners:
            self._glance = await glances.glance(BATCHES, QUARANTINED)

    # --- what is told -------------------------------------------------------------------------------------------------

    def traffic(self) -> dict[str, Any]:
        """The requests of the last hour, see traffic.Traffic.series."""
        return self._traffic.series()

    def salons(self, query: Query) -> dict[str, Any]:
        """One window of the table."""
        self._group(self._condition().settings)
        return {"version": self._version, **by_salon.window(self._salons.values(), query)}

    def first_words(self) -> FirstWords:
        """The verdict, for a page that has not asked yet."""
        found = self._verdict(self._condition())
        return FirstWords(found.state, found.said, f"What to do: {found.troubles[0].todo}" if found.troubles else "")

    def known(self) -> frozenset[int]:
        """The salons that there are."""
        return frozenset(one.row.company for one in self._judged)

    def _verdict(self, condition: Condition) -> Verdict:
        problem = condition.reload
        refused = None if problem is None or problem.problem is None else Refused(problem.problem, problem.at)
        known = self._standing is not None
        pauses = self._standing.pauses if self._standing is not None else {}
        judged = self._judged if known else None
        troubles = self._once("troubles", condition.settings, lambda: salons_troubles(self._judged, condition.settings))
        found = verdict(
            judged, condition.settings, pauses, lost=condition.lost, unread=condition.unread, refused=refused, known=troubles
        )
        if found.share is not None or not (found.state == "filling" or found.meanwhile):
            return found
        # Of rows that are not counted yet no share can be said, but of salons.
        return replace(found, share=self._pace.share(), eta_s=self._pace.left_s())

    def sections(self) -> dict[str, Any]:
        """Everything but the table, by section; see `Events`."""
        condition = self._condition()
        settings, standing = condition.settings, self._standing
        self._group(settings)
        told = {
            "clock": self._now().timestamp(),
            "service": {"version": __version__, "pid": os.getpid(), "started_at": instant(self.started_at)},
            "verdict": _verdict(self._verdict(condition)),
            "settings": _settings(condition),
            "traffic": self._traffic.series(RECENT),
            "streams": self._once("streams", settings, lambda: _streams(self._judged, settings)),
            "salons": {
                "version": self._version,
                "total": len(self._salons),
                "states": Counter(one.state for one in self._salons.values()),
            },
            "batches": {
                "at_work": [self._told(one) for one in self._glance.at_work],
                "ended": [self._told(one) for one in self._glance.ended],
            },
            "errors": self._once("errors", settings, lambda: _errors(self._judged)),
            "quarantine": {
                "total": self._once("quarantined", settings, lambda: sum(one.row.quarantined for one in self._judged)),
                "shown": [self._told(one) for one in self._glance.quarantined],
            },
        }  # fmt: skip
        if standing is not None:
            told |= _standing(standing, settings, self._speed.rows_s(), self._glance.hour_rows)
        return told

    def _told(self, one: AtWork | Ended | Quarantined) -> dict[str, Any]:
        """With its instants as text, and the salon's title."""
        told = {name: getattr(one, name) for name in one.__dataclass_fields__}
        told = {key: instant(value) if isinstance(value, datetime) else value for key, value in told.items()}
        return {**told, "title": self._titles.get(one.company)}

    def _now(self) -> datetime:
        """By the database's clock."""
        if self._standing is None:
            return datetime.now(UTC)
        return self._standing.now + timedelta(seconds=self._clock() - self._read)

    def _once(self, what: str, settings: Settings, make: Callable[[], T]) -> T:
        """What `make` says; it is asked again when the judgement or the settings are new."""
        known = self._told_once.get(what)
        if known is None or known[0] is not settings:
            known = self._told_once[what] = settings, make()
        found: T = known[1]
        return found

    def _group(self, settings: Settings) -> None:
        """Bring the salons up to date; those of which nothing changed stay the same objects."""
        self._once("salons", settings, lambda: self._grouped(settings))

    def _grouped(self, settings: Settings) -> None:
        salons = by_salon.grouped(self._judged, settings, self._salons)
        if salons.keys() != self._salons.keys() or any(salons[key] is not self._salons[key] for key in salons):
            self._version += 1
        self._salons = salons


def _verdict(found: Verdict) -> dict[str, Any]:
    return {
        "state": found.state,
        "said": found.said,
        "since": instant(found.since),
        "share": None if found.share is None else round(found.share, 4),
        "eta_s": None if found.eta_s is None else round(found.eta_s),
        "eta_range_s": None if found.eta_range_s is None else [round(each) for each in found.eta_range_s],
        "meanwhile": found.meanwhile,
        "troubles": [
            {"what": one.what, "todo": one.todo, "since": instant(one.since), "more": one.more} for one in found.troubles
        ],
    }


def _settings(condition: Condition) -> dict[str, Any]:
    settings, reload = condition.settings, condition.reload
    return {
        "preset": settings.preset,
        "chosen_at": instant(condition.chosen_at),
        "file_preset": condition.file_preset,
        "presets": list(settings.presets),
        "keys": preset_keys(settings.active),
        "reload": None
        if reload is None
        else {"at": instant(reload.at), "problem": reload.problem, "restart_needed": list(reload.restart_needed)},
        "admin": condition.admin,
    }


def _streams(judged: Sequence[Judged], settings: Settings) -> list[dict[str, Any]]:
    """Each stream over all salons: how many are in which state, and how old the proofs are."""
    found = []
    by_stream: dict[str, list[Judged]] = {stream: [] for stream in STREAMS}
    for one in judged:
        if one.row.company and one.state != "off" and one.row.stream in by_stream:
            by_stream[one.row.stream].append(one)
    for stream, on in by_stream.items():
        if not on:
            continue
        cadence = settings.streams.get(stream) or STREAMS[stream]
        proofs = sorted(one.row.proved_as_of for one in on if one.row.proved_as_of is not None)
        found.append(
            {
                "stream": stream,
                "every_s": cadence.total_seconds(),
                "salons": len(on),
                "states": Counter(one.state for one in on),
                "oldest": instant(proofs[0]) if len(proofs) == len(on) else None,
                "median": instant(proofs[len(proofs) // 2]) if proofs else None,
                "rows": sum(one.row.done for one in on),
            }
        )
    return found


def _errors(judged: Sequence[Judged]) -> dict[str, Any]:
    """Those with one cause are one, told by the one that has it longest; the oldest first."""
    wrong = [one for one in judged if one.row.last_error is not None and one.state != "off"]
    wrong.sort(key=lambda one: (one.row.error_since is None, one.row.error_since))
    groups: dict[tuple[str, str], list[Judged]] = {}
    for one in wrong:
        groups.setdefault((one.state, cause(one)), []).append(one)
    return {
        "total": len(wrong),
        "groups": len(groups),
        "shown": [
            {
                "company": first.row.company, "title": first.title, "stream": first.row.stream, "state": state, "error": said,
                "since": instant(first.row.error_since), "failures": first.row.failures,
                "more": len(members) - 1, "salons": len({one.row.company for one in members}),
            }
            for (state, said), members in list(groups.items())[:ERRORS] for first in members[:1]
        ],
    }  # fmt: skip


def _standing(standing: Standing, settings: Settings, rows_s: float | None, hour_rows: int) -> dict[str, Any]:
    return {
        "as_of": instant(standing.now),
        "requests": {
            **requests_as_json(standing.usage, settings), "throttled_at": instant(standing.usage.throttled_at),
        },
        "paused": [
            {"company": company, "since": instant(at), "reason": standing.reasons.get(company)}
            for company, at in standing.pauses.items()
        ],
        "services": [
            {
                "role": worker.role, "pid": worker.pid, "version": worker.version, "egress": worker.egress,
                "started_at": instant(worker.started_at), "preset": worker.info.get("preset"),
                "reload_problem": reload_problem(worker.info),
            }
            for worker in standing.workers
        ],
        "hour": {
            "batches": standing.hour.batches, "failed": standing.hour.failed, "requests": standing.hour.requests,
            "errors": standing.hour.errors, "throttled": standing.hour.throttled, "working": standing.hour.working,
            "rows": hour_rows,
        },
        "rows_s": None if rows_s is None else round(rows_s),
    }  # fmt: skip
