"""How are the lists that come in one answer read: the salons, and each salon's services, categories and staff?

One answer is one moment, so what is not in it left the list: it is gone, or not listed while what is stored names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from typing import Any

from msgspec.structs import replace as struct_replace

from ycsync.api import Page, Request
from ycsync.api import endpoints as ep
from ycsync.errors import AccessDenied, ApiError, NotFound
from ycsync.logs import API_ASSUMPTION, emit, get_logger
from ycsync.model import Company, CompanyId, Parsed, parse_companies, parse_service_categories, parse_services, parse_staff
from ycsync.model.rights import lacking
from ycsync.plan.cursor import Cursor, decode
from ycsync.store.pages import EndOfSweep, PageRows, Swept
from ycsync.sync.batch import SWEEP_SHARE, Batch, Result, repeats

COMPANIES_A_PAGE = 200
MAX_PAGES = 500
_log = get_logger(__name__)

Ask = Callable[[int], Request]
Parse = Callable[..., Parsed[Any]]


@dataclass(frozen=True, slots=True)
class _List:
    """A list in one answer. `again`: its second path, for users who have no right to the first."""

    table: str
    ask: Ask
    parse: Parse
    again: Ask | None = None


_LISTS: dict[str, tuple[_List, ...]] = {
    # Services before their categories: a category stays as long as a service of it does.
    "services": (
        _List("services", ep.services, parse_services, ep.services_again),
        _List("service_categories", ep.service_categories, parse_service_categories),
    ),
    "staff": (_List("staff", ep.staff, parse_staff, ep.staff_again),),
}


@dataclass(slots=True)
class _Read:
    """What of a stream's lists was read. `gone`: tables of lists that were answered with 404."""

    pages: list[PageRows] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    as_of: datetime | None = None
    rows: int = 0


async def run(batch: Batch) -> Result:
    """Read one salon's services (with their categories) or staff."""
    before = decode(batch.claim.cursor)
    read = await _read(batch, before)
    pages, as_of, none_on = read.pages, read.as_of, before.none_on
    if not pages and none_on != batch.today:
        # "None", or "no such salon": the salon itself is asked, once a day.
        await batch.fetch(ep.company(batch.company))
        none_on = batch.today
    cursor = _remembering(Cursor(kind="delta", since=None, none_on=none_on), read.refused, batch.today)
    # Rows that are there are not called an empty list: what came is stored, but nothing is proved.
    lost = [table for table in read.gone if await batch.pages.count(batch.company, table)]
    if lost:
        await batch.commit(cursor, [replace(page, swept=None) for page in pages])
        raise NotFound(
            f"salon {batch.company}, {batch.claim.stream}: YCLIENTS does not offer {' and '.join(lost)} any more; "
            "what is stored stays as it was. Update ycsync if this lasts."
        )
    batch.tally.errors -= len(read.gone)  # an answer that says "none" is no error
    batch.phase = "live"
    batch.expected = batch.done = read.rows
    tables = tuple(page.table for page in pages)
    effect = await batch.commit(
        struct_replace(cursor, since=as_of),
        pages,
        proved_as_of=as_of if as_of is not None else batch.now(),
        end_of_sweep=EndOfSweep(
            tables, SWEEP_SHARE, batch.confirm_deletions, settled=min((page.observed_at for page in pages), default=None)
        ),
        forget_sweep=True,
    )
    return Result(proved=True, held_back=effect.held_back)


async def _read(batch: Batch, before: Cursor) -> _Read:
    """All lists of the stream, each by the path that may be read."""
    read = _Read(refused=set(before.refused) if before.refused_on == batch.today else set())
    lists = _LISTS[batch.claim.stream]
    if batch.claim.phase == "stopped":  # where one list may be read again, so may be the others
        read.refused -= {one.table for one in lists if one.again is None}
    for one in lists:
        table, parse = one.table, partial(one.parse, CompanyId(batch.company))
        try:
            answer = await _ask(batch, one, parse, read.refused)
        except NotFound:
            # Some endpoints answer 404 to "none": the list is empty. Nothing is deleted on such a word.
            read.gone.append(table)
            continue
        except AccessDenied as exc:
            if exc.right and table in read.refused:  # the next try goes by the second path alone
                await batch.commit(_remembering(before, read.refused, batch.today))
            raise
        if table in read.refused and table not in before.refused:
            _say_refused(batch, table)
        if answer is not None:
            await _take(batch, read, table, parse, *answer)
    return read


async def _take(batch: Batch, read: _Read, table: str, parse: Parse, request: Request, page: Page, parsed: Parsed[Any]) -> None:
    """One list was answered: its rows, with those of its other pages if it has any."""
    one_answer = page.total is None or page.total <= parsed.seen
    if not one_answer:
        parsed = await _rest(batch, request, parse, page, parsed)
    whole = not repeats(parsed) and one_answer  # pages joined are not one moment: nothing is gone on their word
    swept = Swept(parsed.ids, "ids") if whole else None
    read.pages.append(PageRows(table, parsed.rows, parsed.rejects, page.observed_at, swept))
    read.as_of = page.watermark if read.as_of is None else min(read.as_of, page.watermark)
    read.rows += parsed.seen


def _remembering(cursor: Cursor, refused: set[str], today: date) -> Cursor:
    """The cursor with the paths that are not asked again today."""
    return struct_replace(cursor, refused=tuple(sorted(refused)), refused_on=today if refused else None)


async def _ask(batch: Batch, one: _List, parse: Parse, refused: set[str]) -> tuple[Request, Page, Parsed[Any]] | None:
    """One list by the path that may be read; None: the user has no right to it, and the rest does without it.

    What is refused by its first path is added to `refused`; what stands there is not asked by it. Raises AccessDenied where
    no path may be read.
    """
    request, denied = one.ask(batch.company), None
    if one.table not in refused:
        try:
            return request, *await batch.read(request, parse)
        except AccessDenied as exc:
            if not exc.right:
                raise
            denied = exc
        refused.add(one.table)
        batch.tally.errors -= 1  # what is read without it fails nothing
    if one.again is None:
        return None
    again = one.again(batch.company)
    try:
        return again, *await batch.read(again, parse)
    except NotFound:
        if denied is None:  # this path was there before: the first one tells
            return request, *await batch.read(request, parse)
        raise denied from None


def _say_refused(batch: Batch, table: str) -> None:
    """That a list is read in another way, or not at all, is said once."""
    action = {
        "services": "GET /services/{company} is asked instead",
        "staff": "GET /staff/{company} is asked instead",
        "service_categories": f"services are kept without them: {lacking(table)}",
    }[table]
    emit(
        _log, API_ASSUMPTION, **batch.where, assumption=f"the user may read GET /company/{{company}}/{table}",
        action=action, endpoint=table,
    )  # fmt: skip


async def _rest(
    batch: Batch, request: Request, parse: Callable[[Sequence[bytes]], Parsed[Any]], page: Page, parsed: Parsed[Any]
) -> Parsed[Any]:
    """The list promises more rows than came: perhaps it has pages after all. Where no page brings a new row, the count lies."""
    raws = list(page.rows)
    for number in range(2, MAX_PAGES):
        try:
            more = await batch.fetch(replace(request, params=(("page", str(number)),)))
        except NotFound:
            return parsed
        if set(parse(more.rows).ids) <= set(parsed.ids):
            return parsed
        raws.extend(more.rows)
        parsed = parse(raws)
    return parsed


@dataclass(frozen=True, slots=True)
class Listed:
    """The salons to be synced, those that cannot be (and why), and when the list was read.

    `erased`: salons that the list or the settings name and that must not be read. `denied`: the common user token was refused,
    so only salons with a token of their own were read.
    """

    wanted: tuple[int, ...]
    refused: dict[int, ApiError]
    as_of: datetime
    erased: tuple[int, ...] = ()
    denied: AccessDenied | None = None


@dataclass(slots=True)
class _Found:
    """What was read so far. `whole`: the list was read to its end."""

    rows: dict[int, Company] = field(default_factory=dict)
    pages: list[PageRows] = field(default_factory=list)
    first: Page | None = None
    whole: bool = False


async def run_companies(batch: Batch) -> tuple[Result, Listed]:
    """Read the salons that the settings want: those that they name, or all of the user token.

    One that the list does not name, and one with a user token of its own, is asked alone; if it is refused, the others go on.
    """
    settings = batch.settings
    erased = await batch.pages.erased_salons()
    only, own = settings.companies, sorted(settings.own_tokens - erased)
    found, denied = _Found(), None
    if settings.needs_common_token:
        try:
            await _list(batch, found, set() if only else await batch.pages.salons(), settings.own_tokens)
        except AccessDenied as exc:
            if not own:
                raise
            denied = exc
    seen = bool(found.rows)
    alone = [one for one in only if one not in found.rows and one not in settings.own_tokens | erased and denied is None]
    refused = await _alone(batch, found, [*alone, *own])
    _check_zones(found.rows.values())
    if found.first is None:
        raise denied or next(iter(refused.values()), ApiError("companies: every salon of `companies:` was erased."))
    as_of = found.first.watermark
    if denied is not None:
        await batch.commit(Cursor(kind="delta", since=None), found.pages)
        return Result(proved=False), Listed(tuple(one for one in own if one in found.rows), refused, as_of, denied=denied)
    batch.phase = "live"
    batch.expected = batch.done = len(found.rows.keys() - erased)
    # Only a list that was read to its end, and is not narrowed by the settings, tells which salons are gone.
    listed = (*found.rows, *refused) if seen and found.whole and not only else None
    effect = await batch.commit(
        Cursor(kind="delta", since=as_of),
        found.pages,
        proved_as_of=as_of,
        end_of_sweep=EndOfSweep(
            (), SWEEP_SHARE, batch.confirm_deletions, listed, found.first.observed_at, found.first.observed_at
        ),
    )
    # Who is not in it is asked for as long as it is not known to be gone: the list may have been cut off.
    wanted = {*(only or (await batch.pages.active_salons() if found.rows else ())), *own}
    named = {*only, *found.rows, *settings.own_tokens}
    return Result(proved=True, held_back=effect.held_back), Listed(
        tuple(sorted(wanted - erased)), refused, as_of, tuple(named & erased)
    )


def _check_zones(salons: Iterable[Company]) -> None:
    for salon in salons:
        if not salon.timezone_known:
            emit(
                _log,
                API_ASSUMPTION,
                company=salon.id,
                stream="companies",
                assumption="each salon names its time zone",
                action="the zone known before stays; else times are read by the offset in each payload. Set it in YCLIENTS",
            )


async def _list(batch: Batch, found: _Found, known: set[int], own: frozenset[int]) -> None:
    """The list of the common user token, without the salons that have one of their own."""
    rows: set[int] = set()
    for number in range(1, MAX_PAGES):
        page = await batch.fetch(ep.companies(number, COMPANIES_A_PAGE))
        found.first = found.first or page
        parsed = parse_companies(page.rows)
        new = [row for row in parsed.rows if row.id not in rows]
        rows.update(row.id for row in new)
        shared = [row for row in new if row.id not in own]
        found.rows.update((row.id, row) for row in shared)
        found.pages.append(PageRows("companies", shared, parsed.rejects, page.observed_at))
        # The page size is the server's to choose; only an empty or repeated page, or the whole count, is the end.
        found.whole = not parsed.rejects and (not new if page.total is None else len(rows) >= page.total)
        if not new or found.whole or (page.total is None and parsed.seen < 20 and rows >= known - own):
            break


async def _alone(batch: Batch, found: _Found, companies: Sequence[int]) -> dict[int, ApiError]:
    """Salons asked for one by one; returns those that are refused."""
    refused: dict[int, ApiError] = {}
    for company in companies:
        try:
            page = await batch.fetch(ep.company(company))
        except (NotFound, AccessDenied) as exc:
            refused[company] = exc
            continue
        found.first = found.first or page
        parsed = parse_companies(page.rows)
        found.rows.update((row.id, row) for row in parsed.rows)
        found.pages.append(PageRows("companies", parsed.rows, parsed.rejects, page.observed_at))
    return refused
