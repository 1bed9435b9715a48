"""Is the data complete and fresh, when will it be, or what is wrong, since when, and what is to be done? Pure.

What somebody has to know at one glance: one state, one sentence, and the troubles behind it, the worst first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ycsync.config import STREAMS, Settings
from ycsync.service.standing import Judged, fresh_for

MOST = 6
LASTING = 3  # failures in a row
DEFAULT_CADENCE = timedelta(hours=24)
VerdictState = Literal["starting", "trouble", "paused", "filling", "complete"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong. `todo`: what to do; `more`: so many other salons have the same."""

    what: str
    todo: str
    since: datetime | None = None
    more: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`said`: one sentence. `since`: the first of the troubles; `share`: of the rows that are wanted, 0 to 1, if known.

    `eta_range_s`: seconds, from and to, if known.
    """

    state: VerdictState
    said: str
    since: datetime | None = None
    share: float | None = None
    eta_s: float | None = None
    eta_range_s: tuple[float, float] | None = None
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The last reload was refused: why, and when."""

    problem: str
    at: datetime


def verdict(
    judged: Sequence[Judged] | None,
    settings: Settings,
    pauses: dict[int, datetime],
    *,
    lost: datetime | None = None,
    refused: Refused | None = None,
    known: Sequence[Trouble] | None = None,
) -> Verdict:
    """`judged` None: nothing was read yet. `lost`: since when the database is away.

    `known`: the `salons_troubles` of what is judged, if they were found before.
    """
    if known is None:
        known = salons_troubles(judged or (), settings)
    troubles = (*_of_all(lost, refused), *known)
    if troubles:
        since = min((one.since for one in troubles if one.since is not None), default=None)
        return Verdict("trouble", _trouble_said(troubles), since, troubles=troubles[:MOST])
    if judged is None:
        return Verdict("starting", "Starting: nothing is known yet")
    on = [one for one in judged if one.state != "off"]
    if 0 in pauses:
        return Verdict("paused", "Paused: no request leaves until `ycsync resume`", pauses[0])
    if any(one.state in ("filling", "waiting") for one in on):
        return _filling(on)
    if not any(one.row.company for one in on):
        return Verdict("starting", "No salon is known yet")
    salons = len({one.row.company for one in on if one.row.company})
    held = f"; {len(pauses)} paused" if pauses else ""
    return Verdict("complete", f"Complete and fresh: {salons:,} salon{'' if salons == 1 else 's'}{held}")


def _trouble_said(troubles: Sequence[Trouble]) -> str:
    salons = troubles[0].more
    more = f" (and {salons:,} more salon{'' if salons == 1 else 's'})" if salons else ""
    return f"{troubles[0].what}{more}"


def _of_all(lost: datetime | None, refused: Refused | None) -> Iterable[Trouble]:
    if lost is not None:
        todo = "Nothing is lost: no request leaves meanwhile, and it goes on by itself. `ycsync doctor` names what is wrong."
        yield Trouble("The database is away", todo, lost)
    if refused is not None:
        todo = "The settings from before hold. Mend the file, then `systemctl reload ycsync`."
        yield Trouble(f"The last reload was refused: {refused.problem}", todo, refused.at)


def salons_troubles(judged: Sequence[Judged], settings: Settings) -> list[Trouble]:
    """What is wrong with salons: those with one cause are one trouble, told by the salon that has it longest."""
    groups: dict[tuple[str, str], list[Judged]] = {}
    for one in judged:
        if (kind := _kind(one)) is not None:
            groups.setdefault((kind, one.row.error_code or ""), []).append(one)
    order = ("stopped", "stale", "failing")
    found = []
    for (kind, _), members in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), -len(item[1]))):
        since, _, first = min(((_since(one, kind, settings), n, one) for n, one in enumerate(members)), key=_earliest)
        more = len({one.row.company for one in members}) - 1
        found.append(Trouble(_what(first, kind), _todo(first, kind), since, more))
    return found


def _earliest(told: tuple[datetime | None, int, Judged]) -> tuple[bool, float, int]:
    at, n, _ = told
    return at is None, 0.0 if at is None else at.timestamp(), n


def _kind(one: Judged) -> str | None:
    if one.state in ("stopped", "stale"):
        return "stopped" if one.state == "stopped" else "stale"
    if one.state in ("filling", "waiting") and one.row.failures >= LASTING:
        return "failing"
    # Without the list of salons there is none that could be judged.
    return "failing" if one.row.company == 0 and one.state != "off" and one.row.last_error is not None else None


def _since(one: Judged, kind: str, settings: Settings) -> datetime | None:
    if kind == "stale" and one.row.proved_as_of is not None:
        cadence = settings.streams.get(one.row.stream) or STREAMS.get(one.row.stream, DEFAULT_CADENCE)
        return one.row.proved_as_of + fresh_for(cadence)
    return one.row.error_since


def _what(one: Judged, kind: str) -> str:
    where = f"Salon {one.row.company}" if one.row.company else "The list of salons"
    if kind == "stopped" and one.row.last_error:
        return f"{where} is stopped: {one.row.last_error}"
    said = f": {one.row.last_error}" if one.row.last_error else ""
    is_what = {"stopped": "is stopped", "stale": "is stale", "failing": "fails"}[kind]
    return f"{where}, {one.row.stream}, {is_what}{said}" if one.row.company else f"{where} {is_what}{said}"


def _todo(one: Judged, kind: str) -> str:
    if one.paused:
        return "Its requests are held: `ycsync resume`."
    if kind == "stopped":
        return "What the message says. The other salons go on; it is tried again by itself from time to time."
    if one.row.last_error:
        return "It is tried again by itself. If it lasts: what the message says, and `ycsync doctor`."
    return "Are the requests at the limit? Then there are too many salons for this cadence: see `streams:` in config.yaml."


def _filling(on: Sequence[Judged]) -> Verdict:
    moving = [one for one in on if one.state in ("filling", "waiting")]
    counted = [one for one in on if one.row.company and one.row.expected]
    expected = sum(one.row.expected or 0 for one in counted)
    done = sum(min(one.row.done, one.row.expected or 0) for one in counted)
    # A share of what is not counted yet would be one of nothing.
    known = all(one.row.expected for one in moving if one.row.company) and expected > 0
    share = done / expected if known else None
    etas = [one for one in moving if one.eta_s is not None]
    complete = known and len(etas) == len(moving)
    eta_s = max((one.eta_s or 0.0 for one in etas), default=0.0) if complete else None
    ranges = [one.eta_range_s for one in etas if one.eta_range_s is not None]
    span = (max(low for low, _ in ranges), max(high for _, high in ranges)) if complete and ranges else None
    salons = len({one.row.company for one in on if one.row.company})
    filling = len({one.row.company for one in moving if one.row.company})
    said = f"Filling {filling:,} of {salons:,} salon{'' if salons == 1 else 's'}" if salons else "Reading the list of salons"
    return Verdict("filling", said, None, share, eta_s, span)
