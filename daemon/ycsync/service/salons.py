"""How does each salon stand, all its streams together, and which of a thousand are to be seen? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from ycsync.config import STREAMS, Settings
from ycsync.service.standing import Judged
from ycsync.web import Query

# The worst first: a salon is in the worst state that one of its streams is in.
WORST = ("stopped", "stale", "filling", "waiting", "fresh", "off")
QUICK = timedelta(hours=1)  # streams that are refreshed at least so often tell how fresh a salon is


class StreamView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stream of a salon. Instants are by the database's clock; `proved_as_of`: what changed before is there."""

    stream: str
    state: str
    done: int = 0
    expected: int | None = None
    eta_s: int | None = None
    next_at: datetime | None = None
    proved_as_of: datetime | None = None
    last_success_at: datetime | None = None
    error: str | None = None
    error_code: str | None = None
    error_since: datetime | None = None
    failures: int = 0
    requests: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class SalonView:
    """One salon. `oldest`: the proof of its quick streams that is oldest; None: one was never complete."""

    company: int
    title: str | None
    state: str
    paused: bool
    troubled: bool
    done: int
    expected: int | None
    oldest: datetime | None
    requests: int
    quarantined: int
    judged: tuple[Judged, ...]


def grouped(judged: Sequence[Judged], settings: Settings, before: Mapping[int, SalonView]) -> dict[int, SalonView]:
    """Every salon that has a stream that is on; one of which nothing changed is the object that it was."""
    members: dict[int, list[Judged]] = {}
    for one in judged:
        if one.row.company and one.state != "off":
            members.setdefault(one.row.company, []).append(one)
    found = {}
    for company, streams in members.items():
        old = before.get(company)
        found[company] = old if old is not None and _same(old.judged, streams) else _salon(company, streams, settings)
    return found


def _same(before: Sequence[Judged], now: Sequence[Judged]) -> bool:
    return len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))


def _salon(company: int, judged: list[Judged], settings: Settings) -> SalonView:
    rows = [one.row for one in judged]
    quick = [one.row for one in judged if (settings.streams.get(one.row.stream) or STREAMS.get(one.row.stream, QUICK)) <= QUICK]
    proofs = [row.proved_as_of for row in quick or rows]
    expected = [row.expected for row in rows]
    known = [each for each in expected if each is not None]
    proved = [at for at in proofs if at is not None]
    return SalonView(
        company=company,
        title=judged[0].title,
        state=min((one.state for one in judged), key=WORST.index),
        paused=any(one.paused for one in judged),
        troubled=any(one.state in ("stopped", "stale") or one.row.last_error is not None for one in judged),
        done=sum(row.done if row.expected is None else min(row.done, row.expected) for row in rows),
        expected=sum(known) if len(known) == len(expected) else None,
        oldest=min(proved) if len(proved) == len(proofs) else None,
        requests=sum(row.requests for row in rows),
        quarantined=sum(row.quarantined for row in rows),
        judged=tuple(judged),
    )


def window(salons: Iterable[SalonView], query: Query) -> dict[str, Any]:
    """The salons that are asked for: `matched` of them all, and those of the window with their streams."""
    found = [one for one in salons if _matches(one, query)]
    found.sort(key=lambda one: one.company)
    if query.sort != "id" or query.descending:
        found.sort(key=lambda one: _key(one, query.sort), reverse=query.descending)
    shown = found[query.offset : query.offset + query.limit]
    return {"matched": len(found), "offset": query.offset, "salons": [_told(one) for one in shown]}


def _matches(one: SalonView, query: Query) -> bool:
    if query.state == "trouble" and not one.troubled:
        return False
    if query.state == "paused" and not one.paused:
        return False
    if query.state not in ("", "trouble", "paused", one.state):
        return False
    return not query.text or query.text in (one.title or "").casefold() or str(one.company).startswith(query.text)


def _key(one: SalonView, sort: str) -> Any:
    if sort == "salon":
        return (one.title or "").casefold()
    if sort == "state":
        return (WORST.index(one.state), not one.troubled)
    if sort == "lag":
        return (one.oldest is not None, 0.0 if one.oldest is None else one.oldest.timestamp())
    if sort == "progress":
        return one.done / one.expected if one.expected else -1.0
    return {"id": one.company, "requests": one.requests, "quarantined": one.quarantined}[sort]


def _told(one: SalonView) -> dict[str, Any]:
    return {
        "company": one.company,
        "title": one.title,
        "state": one.state,
        "paused": one.paused,
        "held": one.judged[0].held,
        "done": one.done,
        "expected": one.expected,
        "oldest": one.oldest,
        "requests": one.requests,
        "quarantined": one.quarantined,
        "streams": [_stream(each) for each in one.judged],
    }


def _stream(one: Judged) -> StreamView:
    row = one.row
    return StreamView(
        row.stream, one.state, row.done, row.expected, None if one.eta_s is None else round(one.eta_s),
        None if one.next_s is None else row.due_at, row.proved_as_of, row.last_success_at, row.last_error, row.error_code,
        row.error_since, row.failures, row.requests, row.quarantined,
    )  # fmt: skip
