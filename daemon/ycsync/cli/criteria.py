"""Was the job done as it must be? The criteria of success, each PASS or FAIL with its figures; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ycsync.cli.output import number
from ycsync.config import Settings
from ycsync.errors import NO_RIGHT
from ycsync.model.streams import DECLARED
from ycsync.service.standing import Judged, judge, wanted_companies
from ycsync.service.verdict import cause
from ycsync.store.report import Audit

MOST_ERRORS = 0.02
LEAST_FILLED = 0.99  # a client without a name and a phone, or with visits from before YCLIENTS, occurs
RECENT = timedelta(hours=24)

VERIFY_JSON = """\
One object:
  ok         true: every criterion passes (exit code 0)
  criteria   in this order: name (clients, visits, limit, errors, integrity, stability; and streams, if any of schedules,
             goods, goods_operations, transactions is on), passed, says (the line for people), figures (numbers by name)
New keys may be added; none is renamed or removed."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion. `says`: its figures for a person."""

    name: str
    title: str
    passed: bool
    says: str
    figures: dict[str, Any]


def criteria(audit: Audit, settings: Settings) -> tuple[Criterion, ...]:
    """All of them, in the order in which a person asks."""
    judged = judge(audit.standing, settings)
    wanted = wanted_companies(audit.standing, settings)
    return (
        _clients(audit, judged, wanted),
        _visits(audit, judged, wanted),
        _limit(audit, settings),
        _errors(audit),
        _integrity(audit, judged),
        _stability(audit, judged),
        *_declared(audit, judged, wanted, settings),
    )


def as_json(found: tuple[Criterion, ...]) -> dict[str, Any]:
    """The object of `verify --json`, see VERIFY_JSON."""
    return {
        "ok": all(one.passed for one in found),
        "criteria": [{"name": one.name, "passed": one.passed, "says": one.says, "figures": one.figures} for one in found],
    }


def _complete(audit: Audit, judged: tuple[Judged, ...], wanted: tuple[int, ...], stream: str) -> tuple[list[str], int, int]:
    """Why the stream is not complete (salon by salon), rows in the database, rows that the passes proved."""
    reasons: list[str] = [] if wanted else ["no salon is known yet"]
    held = proved = 0
    by_company = {one.row.company: one for one in judged if one.row.stream == stream}
    for company in wanted:
        live = audit.live.get((company, stream), 0)
        held += live
        one = by_company.get(company)
        if one is None or one.state == "off":
            reasons.append(f"salon {company}: switched off")
            continue
        proved += one.row.done
        if (lacks := _lacks(one)) is not None:
            reasons.append(f"salon {company}: {lacks}")
        elif one.row.last_success_at is None:
            reasons.append(f"salon {company}: not proved, {number(one.row.done)} of {_expected(one)}")
        elif one.row.error_code is not None:
            reasons.append(f"salon {company}: {one.row.error_code}")
        elif one.row.phase != "live":
            reasons.append(f"salon {company}: a pass is under way, {number(one.row.done)} of {_expected(one)}")
        elif live != one.row.done and not one.row.working:
            reasons.append(f"salon {company}: {number(live)} in the database, {number(one.row.done)} proved")
    return reasons, held, proved


def _lacks(one: Judged) -> str | None:
    """The right that a stream lacks, if it stopped for that: the first words of its error."""
    return cause(one).partition(". ")[0] if one.row.error_code == NO_RIGHT else None


def _expected(one: Judged) -> str:
    return "an unknown number" if one.row.expected is None else number(one.row.expected)


def _clients(audit: Audit, judged: tuple[Judged, ...], wanted: tuple[int, ...]) -> Criterion:
    reasons, held, proved = _complete(audit, judged, wanted, "clients")
    says = f"{number(held)} clients in the database, {number(proved)} proved, salons: {len(wanted)}"
    figures = {"salons": len(wanted), "clients": held, "proved": proved, "reasons": reasons}
    return Criterion("clients", "all clients there", not reasons, _with(says, reasons), figures)


def _visits(audit: Audit, judged: tuple[Judged, ...], wanted: tuple[int, ...]) -> Criterion:
    reasons, held, proved = _complete(audit, judged, wanted, "records")
    if audit.with_visits < LEAST_FILLED * audit.visitors:
        reasons.append(f"{number(audit.visitors - audit.with_visits)} clients lack their visits")
    says = (
        f"{number(held)} visits and {number(audit.deleted_records)} cancelled, {number(proved)} proved, "
        f"{number(audit.walk_ins)} without a client; "
        f"{number(audit.with_visits)} of {number(audit.visitors)} clients who came have theirs"
    )
    figures = {
        "visits": held,
        "cancelled": audit.deleted_records,
        "proved": proved,
        "without_client": audit.walk_ins,
        "clients_who_came": audit.visitors,
        "clients_with_visits": audit.with_visits,
        "reasons": reasons,
    }
    return Criterion("visits", "visits included", not reasons, _with(says, reasons), figures)


def _declared(audit: Audit, judged: tuple[Judged, ...], wanted: tuple[int, ...], settings: Settings) -> tuple[Criterion, ...]:
    """The streams that are on besides those that every salon has: are they complete?"""
    on = [stream for stream in DECLARED if settings.streams.get(stream) is not None]
    if not on:
        return ()
    found = {stream: _complete(audit, judged, wanted, stream) for stream in on}
    reasons = [f"{stream}: {reason}" for stream, (why, _, _) in found.items() for reason in why]
    says = ", ".join(f"{number(held)} {stream.replace('_', ' ')}" for stream, (_, held, _) in found.items())
    figures = {stream: {"rows": held, "proved": proved} for stream, (_, held, proved) in found.items()}
    said = _with(f"{says} in the database", reasons)
    return (Criterion("streams", "other streams complete", not reasons, said, {**figures, "reasons": reasons}),)


def _limit(audit: Audit, settings: Settings) -> Criterion:
    usage, limits = audit.standing.usage, settings.yclients
    # A refusal long ago was another day's: it stays in the figures and fails nothing.
    recent = usage.throttled_at is not None and audit.standing.now - usage.throttled_at < RECENT
    within = usage.second <= limits.per_second and usage.minute <= limits.per_minute
    says = (
        f"{audit.batches.throttled} refusals (429) in {_since(audit)}, {usage.throttled} ever; "
        f"last second {usage.second} of {limits.per_second}, last minute {usage.minute} of {limits.per_minute}"
    )
    figures = {
        "throttled": audit.batches.throttled,
        "throttled_ever": usage.throttled,
        "second": usage.second,
        "minute": usage.minute,
        "limit_second": limits.per_second,
        "limit_minute": limits.per_minute,
    }
    passed = audit.batches.throttled == 0 and not recent and within
    return Criterion("limit", "no limit violation", passed, says, figures)


def _errors(audit: Audit) -> Criterion:
    batches = audit.batches
    rate = batches.errors / batches.requests if batches.requests else 0.0
    says = f"{number(batches.errors)} of {number(batches.requests)} requests in {_since(audit)}: {rate:.2%}"
    if not batches.requests:
        says = "nothing was answered" if batches.refused else "nothing was asked yet"
    if batches.refused:
        # A wrong token or a lapsed licence stops its salon and shows there; mended, it says nothing about the service.
        says += f"; {number(batches.refused)} more refused for a token, a right or a licence"
    figures = {
        "errors": batches.errors,
        "requests": batches.requests,
        "rate": round(rate, 5),
        "refused": batches.refused,
    }
    passed = batches.requests > 0 and rate < MOST_ERRORS
    return Criterion("errors", "error rate < 2 %", passed, says, figures)


def _integrity(audit: Audit, judged: tuple[Judged, ...]) -> Criterion:
    quarantined = sum(one.row.quarantined for one in judged if one.state != "off")
    reasons: list[str] = []
    if audit.unguarded:
        reasons.append(f"no unique key on {', '.join(audit.unguarded)}")
    if audit.orphan_lines:
        reasons.append(f"{number(audit.orphan_lines)} lines belong to no visit")
    if audit.clients - audit.nameless < LEAST_FILLED * audit.clients:
        reasons.append("too many clients without a name and a phone")
    if quarantined:
        reasons.append("rows in quarantine are not in their tables: see the table quarantine for why")
    if audit.misplaced:
        reasons.append(f"times of {number(audit.misplaced)} streams are not yet computed by their salon's corrected time zone")
    phones = audit.with_phone / audit.clients if audit.clients else 0.0
    says = (
        f"keys unique in {audit.tables - len(audit.unguarded)} of {audit.tables} tables; ids and times always filled; "
        f"{number(audit.nameless)} clients without a name and a phone, {phones:.1%} with a usable phone; "
        f"{number(quarantined)} rows in quarantine"
    )
    figures = {
        "tables_without_unique_key": list(audit.unguarded),
        "orphan_lines": audit.orphan_lines,
        "clients_without_name_and_phone": audit.nameless,
        "clients_with_phone": audit.with_phone,
        "quarantined": quarantined,
        "streams_of_a_former_zone": audit.misplaced,
        "reasons": reasons,
    }
    title = "no duplicates, required fields filled"
    return Criterion("integrity", title, not reasons, _with(says, reasons), figures)


RECOVERED = 10  # batches in 24 h that may have failed or been cut off, when everything is well again


def _stability(audit: Audit, judged: tuple[Judged, ...]) -> Criterion:
    batches = audit.batches
    old = [one for one in judged if not one.well]
    services = sum(1 for worker in audit.standing.workers if worker.role == "service")
    says = (
        f"{number(batches.batches)} batches in {_since(audit)}: {batches.failed} failed, {batches.lost} cut off, "
        f"{batches.denied} denied; {audit.stuck} stuck; streams not complete and fresh: {len(old)}; "
        f"{services or 'no'} service{'s' if services > 1 else ''} running"
    )
    reasons = [f"salon {one.row.company}, {one.row.stream}: {', '.join(filter(None, (one.state, _lacks(one))))}" for one in old]
    # A restart or an outage that was recovered from is not instability; a loop of them is.
    bad = batches.failed + batches.lost + batches.denied
    if bad > RECOVERED:
        reasons.insert(
            0, f"{number(bad)} batches did not end well, {RECOVERED} may: `journalctl -u ycsync -p warning` says why"
        )
    figures = {
        "batches": batches.batches,
        "failed": batches.failed,
        "lost": batches.lost,
        "denied": batches.denied,
        "stuck": audit.stuck,
        "not_fresh": len(old),
        "services": services,
        "reasons": reasons,
    }
    passed = not (audit.stuck or old) and bad <= RECOVERED and batches.batches > 0
    return Criterion("stability", "service stable", passed, _with(says, reasons), figures)


def _since(audit: Audit) -> str:
    since = audit.batches.since
    if since is None or audit.standing.now - since <= RECENT:
        return "24 h"
    return f"all since {since:%Y-%m-%d}"


def _with(says: str, reasons: list[str]) -> str:
    """The figures, and the first few reasons against."""
    if not reasons:
        return says
    shown = "; ".join(reasons[:3])
    return f"{says} [{shown}{f'; and {len(reasons) - 3} more' if len(reasons) > 3 else ''}]"
