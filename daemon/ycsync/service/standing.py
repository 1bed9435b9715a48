"""Is everything that is on complete and fresh, and when will it be?

`ycsync status`, `verify`, /readyz, /api/status and the metrics all say what is judged here, so that they cannot differ. Pure.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from ycsync.config import STREAMS, Settings
from ycsync.store.report import Salon, Standing, StreamRow, Usage

STALE_FACTOR = 3  # cadences without a proven success, and
STALE_GRACE = timedelta(minutes=2)
PAUSE_S = 5.0  # nothing happens for so long: that is worth a word, or it looks like hanging
# The range of an ETA, as a share of the work that is left: what one batch tells, the least and the most that is said.
UNKNOWN_SPREAD, NARROWEST, WIDEST = 0.25, 0.1, 0.8
SAID_LATELY = timedelta(minutes=1)  # what YCLIENTS said longer ago of a minute is over
HELD_BACK = "held_back"  # a sweep stopped and asks
REASONS = {"uninstalled": "the application was taken out of this salon", "frozen": "this salon was frozen"}
State = Literal["fresh", "stale", "filling", "waiting", "stopped", "off"]

STATUS_JSON = """\
One object:
  ok             true: all that is on is complete and fresh (exit code 0)
  as_of          when this was true, by the database's clock; all instants are ISO 8601, UTC
  preset         the preset of the configuration
  services       running services: pid, version, started_at, preset, reload_problem (null: none),
                 egress, address (of its machine, by which its requests leave; null: not known)
  requests       second, minute: sent in the last 1 s and 60 s; limit_second, limit_minute: the API's limits;
                 preset_second, preset_minute: the preset's; throttled: refusals ever; blocked_until (null: not);
                 server_limit, server_remaining, server_resets_at: what YCLIENTS said of the minute, at server_said_at
                 (null: it did not); others: requests a minute that others send out of the same limit (null: none seen),
                 leaves_minute: what that leaves ycsync
  paused         company (0: all), since, reason (null: a command; uninstalled, frozen: YCLIENTS said so)
  hints          what webhooks told and is not fetched yet
  own_presets    company, preset: the salons that have a preset of their own
  gone           company, title: salons that YCLIENTS lists no more; what is stored stays, and nothing is asked for them
  erased         company, since: salons that were erased and are not read
  quarantined    rows that could not be stored, open
  odd            company, stream, field, rows (that were written with a value of this field that could not be read: its column
                 is null, `raw` keeps it), last_seen
  last_hour      batches (that ended), failed (of them), requests, errors, throttled (theirs), working (batches)
  streams        company (0: the list of salons), title (null: not known), stream,
                 state: fresh | stale | filling | waiting | stopped | off, phase, expected, done, eta_s, eta_range_s (two,
                 from and to; null as eta_s), next_s (until its next batch begins; null: one is at work, or none will),
                 last_success_at, lag_s (everything older than that is there), requests, quarantined,
                 lacks (lists of it that may not be read, and that it is complete without), paused,
                 error, error_code, error_since, failures (in a row)
With --watch, while the database does not answer, the object has these keys only:
  ok             false
  as_of          now, by this machine's clock
  error          what is wrong
New keys may be added; none is renamed or removed."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One stream of one salon, judged. `lag_s`: everything that changed longer ago is in the database, when it was judged.

    `next_s`: what fills or waits does nothing until then, when its next batch begins. `held`: why YCLIENTS took it away.
    """

    row: StreamRow
    title: str | None
    state: State
    lag_s: float | None
    eta_s: float | None
    paused: bool
    eta_range_s: tuple[float, float] | None = None
    next_s: float | None = None
    held: str | None = None

    @property
    def well(self) -> bool:
        """Complete and fresh, or switched off."""
        return self.state in ("fresh", "off")


def wanted_companies(standing: Standing, settings: Settings) -> tuple[int, ...]:
    """The salons that the settings want: those named, else all that are listed; none that was erased."""
    named = settings.companies or tuple(salon.id for salon in standing.salons if salon.listed)
    return tuple(company for company in named if company not in standing.erased) if standing.erased else named


def gone(standing: Standing, settings: Settings) -> tuple[Salon, ...]:
    """Salons that are not wanted because YCLIENTS lists them no more, or calls them inactive."""
    return () if settings.companies else tuple(salon for salon in standing.salons if not salon.listed)


def judge(standing: Standing, settings: Settings) -> tuple[Judged, ...]:
    """Every stream that is on or ever was, by salon; one that is on and has no row yet waits."""
    rows = {(row.company, row.stream): row for row in standing.streams}
    wanted = wanted_companies(standing, settings)
    rows.setdefault((0, "companies"), StreamRow(0, "companies"))
    for company in wanted:
        for stream, cadence in settings.streams.items():
            if cadence is not None:
                rows.setdefault((company, stream), StreamRow(company, stream))
    titles = {salon.id: salon.title for salon in standing.salons}
    order = {stream: n for n, stream in enumerate(STREAMS)}
    keys = sorted(rows, key=lambda key: (key[0], order.get(key[1], len(order)), key[1]))
    return tuple(judge_one(rows[key], titles.get(key[0]), key[0] in wanted, standing, settings) for key in keys)


def judge_one(row: StreamRow, title: str | None, wanted: bool, standing: Standing, settings: Settings) -> Judged:
    """One stream; `wanted`: its salon is one of `wanted_companies`."""
    listing = row.company == 0
    cadence = settings.streams.get(row.stream)
    if listing or row.stream == "companies":
        # The time zones come from there: the list is read even when its own schedule is off.
        cadence = cadence or STREAMS["companies"]
        on = listing or (wanted and settings.streams.get(row.stream) is not None)
    else:
        on = wanted and cadence is not None
    lag = lag_s(row, standing.now)
    state: State
    if not on or cadence is None:
        state = "off"
    elif row.phase == "stopped" or row.error_code == HELD_BACK:  # a sweep that asks
        state = "stopped"
    elif row.phase in ("filling", "closing"):
        state = "filling"
    elif row.phase == "new" or lag is None:
        state = "waiting"
    else:
        state = "fresh" if lag <= fresh_for(cadence, row).total_seconds() else "stale"
    paused = 0 in standing.pauses or row.company in standing.pauses
    moving = state in ("filling", "waiting") and not paused and (row.working or at_work(standing))
    interval = settings.for_salon(row.company).active.interval
    left = eta(row, standing.now, interval) if moving and state == "filling" else None
    next_s = None
    if moving and not row.working and row.due_at is not None:
        next_s = max(0.0, (row.due_at - standing.now).total_seconds())
    held = standing.reasons.get(row.company)
    if left is None:
        return Judged(row, title, state, lag, None, paused, next_s=next_s, held=held)
    return Judged(row, title, state, lag, left.likely_s, paused, (left.low_s, left.high_s), next_s, held)


def lag_s(row: StreamRow, now: datetime) -> float | None:
    """Everything that changed longer ago is in the database; None: it never was complete."""
    return None if row.proved_as_of is None else max(0.0, (now - row.proved_as_of).total_seconds())


def at_work(standing: Standing) -> bool:
    """Does anybody work the queue?"""
    return any(worker.role in ("service", "sync") for worker in standing.workers)


def fresh_for(cadence: timedelta, row: StreamRow | None = None) -> timedelta:
    """How old the proven state may be: a few cycles may fail before anybody needs to look.

    Where webhooks tell what changed the next cycle may be later than the cadence says: then it is waited for.
    """
    longer = timedelta(seconds=0.0 if row is None or row.cadence_s is None else row.cadence_s) - cadence
    return cadence * STALE_FACTOR + STALE_GRACE + max(timedelta(0), longer)


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until a pass that fills is through: at the speed that it had, and at what that may become."""

    likely_s: float
    low_s: float
    high_s: float


def eta(row: StreamRow, now: datetime, interval: timedelta) -> Eta | None:
    """When is a pass that fills through? None while nothing is known.

    What varies is the work, by how unlike its batches were: less the more of them there were. Waiting for the next batch
    does not vary.
    """
    if row.expected is None or row.done <= 0 or row.busy_s <= 0:
        return None
    left = max(0, row.expected - row.done)
    work_s = left * row.busy_s / row.done
    begun = row.batches + (1 if row.working else 0)
    wait_s = 0.0 if row.working or row.due_at is None else max(0.0, (row.due_at - now).total_seconds())
    if row.batches > 0:
        # What is left takes further batches, each of which starts an interval after the one before.
        further = math.ceil(left * begun / row.done)
        idle_s = max(0.0, interval.total_seconds() - row.busy_s / begun)
        wait_s += max(0, further - 1) * idle_s
    spread = UNKNOWN_SPREAD if row.spread is None or row.batches < 2 else row.spread
    half = min(WIDEST, max(NARROWEST, 2 * spread / math.sqrt(max(1, row.batches))))
    return Eta(wait_s + work_s, wait_s + work_s * (1 - half), wait_s + work_s * (1 + half))


def everything_well(judged: tuple[Judged, ...]) -> bool:
    """All that is on is complete and fresh, and there is a salon at all."""
    return all(one.well for one in judged) and any(one.row.company and one.state == "fresh" for one in judged)


def reasons(judged: tuple[Judged, ...], most: int = 20) -> tuple[str, ...]:
    """Why not everything is well, a line each; empty when it is."""
    said = []
    for one in judged:
        if one.well:
            continue
        where = f"salon {one.row.company}, {one.row.stream}" if one.row.company else one.row.stream
        why = f"{one.state} ({one.row.error_code})" if one.row.error_code else one.state
        said.append(f"{where}: {why}{', paused' if one.paused else ''}")
    if not said and not everything_well(judged):
        said.append("no salon is known yet")
    return (*said[:most], *([f"and {len(said) - most:,} more"] if len(said) > most else []))


def requests_as_json(usage: Usage, settings: Settings) -> dict[str, Any]:
    """How many requests left lately, beside what may leave; see STATUS_JSON."""
    limits, preset = settings.yclients, settings.active
    return {
        "second": usage.second,
        "minute": usage.minute,
        "limit_second": limits.per_second,
        "limit_minute": limits.per_minute,
        "preset_second": min(preset.per_second, limits.per_second),
        "preset_minute": min(preset.per_minute, limits.per_minute),
        "throttled": usage.throttled,
        "blocked_until": instant(usage.blocked_until),
        "server_limit": usage.server_limit,
        "server_remaining": usage.server_remaining,
        "server_resets_at": instant(usage.server_resets_at),
        "server_said_at": instant(usage.server_said_at),
        "others": usage.others,
        "leaves_minute": usage.leaves,
    }


def as_json(standing: Standing, judged: tuple[Judged, ...], settings: Settings) -> dict[str, Any]:
    """The object of `status --json`, see STATUS_JSON."""
    return {
        "ok": everything_well(judged),
        "as_of": instant(standing.now),
        "preset": settings.preset,
        "services": [
            {
                "pid": worker.pid,
                "version": worker.version,
                "started_at": instant(worker.started_at),
                "preset": worker.info.get("preset"),
                "reload_problem": reload_problem(worker.info),
                "egress": worker.egress,
                "address": worker.address,
            }
            for worker in standing.workers
            if worker.role == "service"
        ],
        "requests": requests_as_json(standing.usage, settings),
        "paused": [
            {"company": company, "since": instant(at), "reason": standing.reasons.get(company)}
            for company, at in standing.pauses.items()
        ],
        "hints": standing.hints,
        "own_presets": [{"company": company, "preset": preset} for company, preset in settings.own_presets.items()],
        "gone": [{"company": salon.id, "title": salon.title} for salon in gone(standing, settings)],
        "erased": [{"company": company, "since": instant(at)} for company, at in standing.erased.items()],
        "quarantined": sum(one.row.quarantined for one in judged),
        "odd": [
            {
                "company": one.row.company,
                "stream": one.row.stream,
                "field": odd.field,
                "rows": odd.rows,
                "last_seen": instant(odd.last_seen),
            }
            for one in judged
            for odd in one.row.odd
        ],
        "last_hour": asdict(standing.hour),
        "streams": [
            {
                "company": one.row.company,
                "title": one.title,
                "stream": one.row.stream,
                "state": one.state,
                "phase": one.row.phase,
                "expected": one.row.expected,
                "done": one.row.done,
                "eta_s": None if one.eta_s is None else round(one.eta_s),
                "eta_range_s": None if one.eta_range_s is None else [round(each) for each in one.eta_range_s],
                "next_s": None if one.next_s is None else round(one.next_s),
                "last_success_at": instant(one.row.last_success_at),
                "lag_s": None if (lag := lag_s(one.row, standing.now)) is None else round(lag, 1),
                "requests": one.row.requests,
                "quarantined": one.row.quarantined,
                "lacks": ["service_categories"] if one.row.lacks_categories else [],
                "paused": one.paused,
                "error": one.row.last_error,
                "error_code": one.row.error_code,
                "error_since": instant(one.row.error_since),
                "failures": one.row.failures,
            }
            for one in judged
        ],
    }


def away_as_json(error: str, now: datetime) -> dict[str, Any]:
    """The object of `status --watch --json` while the database cannot be asked, see STATUS_JSON."""
    return {"ok": False, "as_of": instant(now), "error": error}


def instant(value: datetime | None) -> str | None:
    """For JSON: ISO 8601 in UTC, to the second."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="seconds")


def reload_problem(info: dict[str, Any]) -> str | None:
    """Why a service refused its last reload, if it did."""
    told = info.get("reload")
    problem = told.get("problem") if isinstance(told, dict) else None
    return problem if isinstance(problem, str) else None
