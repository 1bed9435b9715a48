"""Is the data complete and fresh, when will it be, or what is wrong, since when, and what is to be done? Pure.

What somebody has to know at one glance: one state, one sentence, and the troubles behind it, the worst first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from ycsync.config import STREAMS, Settings
from ycsync.errors import NO_RIGHT
from ycsync.service.standing import REASONS, Judged, fresh_for

MOST = 6
LASTING = 3  # failures in a row
_WHERE = re.compile(r"^(salon \d+, \w+|companies): ")  # as an error begins
_TIMES = re.compile(r"(, \d+ times in a row|, once|\.)$")  # and as it may end
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
    """`said`: one sentence. `since`: when that began; `share`: of the rows that are wanted, 0 to 1, if known.

    `eta_range_s`: seconds, from and to, if known. `meanwhile`: what fills although there is trouble; the share and the time
    are of that then.
    """

    state: VerdictState
    said: str
    since: datetime | None = None
    share: float | None = None
    eta_s: float | None = None
    eta_range_s: tuple[float, float] | None = None
    troubles: tuple[Trouble, ...] = ()
    meanwhile: str | None = None


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
    unread: datetime | None = None,
    refused: Refused | None = None,
    known: Sequence[Trouble] | None = None,
) -> Verdict:
    """`judged` None: nothing was read yet. `lost`: since when the database is away; `unread`: since when it answers but could
    not be asked how things stand.

    `known`: the `salons_troubles` of what is judged, if they were found before.
    """
    if known is None:
        known = salons_troubles(judged or (), settings)
    of_all = tuple(_of_all(lost, unread, refused))
    troubles = (*of_all, *known)
    if 0 in pauses and not of_all:
        # Somebody wanted it so; what else is wrong comes after that.
        return Verdict("paused", "Paused: no request leaves until `ycsync resume`", pauses[0], troubles=troubles[:MOST])
    on = [one for one in judged or () if one.state != "off"]
    held = f"; {len(pauses)} paused" if pauses else ""
    if troubles:
        told = Verdict("trouble", _trouble_said(troubles), troubles[0].since, troubles=troubles[:MOST])
        if lost is None and any(one.state in ("filling", "waiting") and not one.paused for one in on):
            fills = _filling(on, held)
            told = replace(
                told, share=fills.share, eta_s=fills.eta_s, eta_range_s=fills.eta_range_s, meanwhile=fills.said.lower()
            )
        return told
    if judged is None:
        return Verdict("starting", "Starting: nothing is known yet")
    if moving := [one for one in on if one.state in ("filling", "waiting")]:
        if all(one.paused for one in moving):
            first = min(pauses[one.row.company] for one in moving)
            held_back = _salons(len({one.row.company for one in moving}))
            return Verdict("paused", f"{held_back} paused before all was there: `ycsync resume`", first)
        return _filling(on, held)
    if not any(one.row.company for one in on):
        return Verdict("starting", "No salon is known yet")
    salons = len({one.row.company for one in on if one.row.company})
    failed = sum(one.row.last_error is not None for one in on)
    last = f"; the last try of {failed:,} stream{'' if failed == 1 else 's'} failed" if failed else ""
    return Verdict("complete", f"Complete and fresh: {_salons(salons)}{held}{last}")


def _trouble_said(troubles: Sequence[Trouble]) -> str:
    salons = troubles[0].more
    more = f" (and {_salons(salons, 'more ')})" if salons else ""
    return f"{troubles[0].what}{more}"


def _salons(count: int, more: str = "") -> str:
    return f"{count:,} {more}salon{'' if count == 1 else 's'}"


def _of_all(lost: datetime | None, unread: datetime | None, refused: Refused | None) -> Iterable[Trouble]:
    if lost is not None:
        todo = "Nothing is lost: no request leaves meanwhile, and it goes on by itself. `ycsync doctor` names what is wrong."
        yield Trouble("The database is away", todo, lost)
    elif unread is not None:
        todo = "Work may go on, but what is shown was so then. The journal (`database.unread`) and `ycsync status` say why."
        yield Trouble("The database does not tell how things stand", todo, unread)
    if refused is not None:
        todo = "The settings from before hold. Mend the file, then `systemctl reload ycsync`."
        yield Trouble(f"The last reload was refused: {refused.problem}", todo, refused.at)


def salons_troubles(judged: Sequence[Judged], settings: Settings) -> list[Trouble]:
    """What is wrong with salons: those with one cause are one trouble, told by the salon that has it longest."""
    groups: dict[tuple[str, str, str], list[Judged]] = {}
    listed = any(one.row.company == 0 and one.state == "fresh" for one in judged)
    stopped = {one.row.company for one in judged if one.state == "stopped" and one.row.error_code != NO_RIGHT}
    for one in judged:
        if one.row.company in stopped and one.state != "stopped":
            continue  # it says why already
        if (kind := _kind(one, listed)) is not None:
            # A right lacks to one stream: each says which.
            stream = one.row.stream if one.row.error_code == NO_RIGHT else ""
            groups.setdefault((kind, one.row.error_code or "", stream), []).append(one)
    order = ("stopped", "stale", "failing", "unlisted")
    found = []
    for (kind, *_), members in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), -len(item[1]))):
        since, _, first = min(((_since(one, kind, settings), n, one) for n, one in enumerate(members)), key=_earliest)
        more = len({one.row.company for one in members}) - 1
        found.append(Trouble(_what(first, kind), _todo(first, kind), since, more))
    return found


def _earliest(told: tuple[datetime | None, int, Judged]) -> tuple[bool, float, int]:
    at, n, _ = told
    return at is None, 0.0 if at is None else at.timestamp(), n


def _kind(one: Judged, listed: bool) -> str | None:
    """`listed`: the list of salons is known, and so is who is not in it."""
    if one.state in ("stopped", "stale"):
        return "stopped" if one.state == "stopped" else "stale"
    if one.state in ("filling", "waiting") and one.row.failures >= LASTING:
        return "failing"
    if listed and one.row.company and one.state == "waiting" and one.title is None:
        return "unlisted"
    # Without the list of salons there is none that could be judged.
    return "failing" if one.row.company == 0 and one.state != "off" and one.row.last_error is not None else None


def _since(one: Judged, kind: str, settings: Settings) -> datetime | None:
    if kind == "stale" and one.row.proved_as_of is not None:
        cadence = settings.streams.get(one.row.stream) or STREAMS.get(one.row.stream, DEFAULT_CADENCE)
        return one.row.proved_as_of + fresh_for(cadence, one.row)
    return one.row.error_since


def cause(one: Judged) -> str:
    """The error without where it happened and how often: what salons may have in common."""
    return _TIMES.sub("", _WHERE.sub("", one.row.last_error or ""))


def _what(one: Judged, kind: str) -> str:
    where = f"Salon {one.row.company}" if one.row.company else "The list of salons"
    if kind == "unlisted":
        return f"{where} is not among those that YCLIENTS lists"
    said = f": {cause(one)}" if one.row.last_error else ""
    if kind == "stopped" and said and one.row.error_code != NO_RIGHT:
        return f"{where} is stopped{said}"
    is_what = {"stopped": "is stopped", "stale": "is stale", "failing": "fails"}[kind]
    return f"{where}, {one.row.stream}, {is_what}{said}" if one.row.company else f"{where} {is_what}{said}"


def _todo(one: Judged, kind: str) -> str:
    if one.held is not None and kind == "stale":
        again = f"`ycsync resume --company {one.row.company}`"
        return f"In YCLIENTS {REASONS.get(one.held, one.held)}. If it is wanted again: {again}."
    if one.paused and kind == "stale":
        return "Its requests are held: `ycsync resume`."
    if kind == "unlisted" or one.row.error_code == "notfound":
        return "Is its number right in `companies:` of config.yaml, and may the user of the token manage it?"
    if one.row.error_code == NO_RIGHT:
        return "Ask the salon's owner for this right. The salon's other streams go on; it is tried again every hour."
    if kind == "stopped":
        return "What the message says. The other salons go on; it is tried again by itself from time to time."
    if one.row.error_code == "transient":
        return (
            "It is tried again by itself. If it lasts: this machine's network, a proxy, `yclients.base_url`; `ycsync doctor`."
        )
    if one.row.last_error:
        return "It is tried again by itself. If it lasts: what the message says, and `ycsync doctor`."
    return "Are the requests at the limit? Then there are too many salons for this cadence: see `streams:` in config.yaml."


def _filling(on: Sequence[Judged], held: str) -> Verdict:
    # Those that are held do not move: what is said of the rest is said without them.
    on = [one for one in on if not one.paused or one.state not in ("filling", "waiting")]
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
    said = f"Filling {filling:,} of {_salons(salons)}" if salons else "Reading the list of salons"
    return Verdict("filling", said + held, None, share, eta_s, span)
