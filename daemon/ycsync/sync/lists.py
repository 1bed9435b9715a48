"""How are the lists that come in one answer read: the salons, and each salon's services, categories and staff?

One answer is one moment, so what is not in it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from ycsync.api import Page, Request
from ycsync.api import endpoints as ep
from ycsync.errors import AccessDenied, ApiError, NotFound
from ycsync.model import CompanyId, Parsed, parse_companies, parse_service_categories, parse_services, parse_staff
from ycsync.plan.cursor import Cursor
from ycsync.store.pages import EndOfSweep, PageRows, Swept
from ycsync.sync.batch import SWEEP_SHARE, Batch, Result, repeats

COMPANIES_A_PAGE = 200
MAX_PAGES = 500

_LISTS: dict[str, tuple[tuple[str, Callable[[int], Request], Callable[..., Parsed[Any]]], ...]] = {
    "services": (
        ("service_categories", ep.service_categories, parse_service_categories),
        ("services", ep.services, parse_services),
    ),
    "staff": (("staff", ep.staff, parse_staff),),
}


async def run(batch: Batch) -> Result:
    """Read one salon's services (with their categories) or staff."""
    pages: list[PageRows] = []
    as_of: datetime | None = None
    rows = 0
    gone: list[str] = []
    for table, request, parse in _LISTS[batch.claim.stream]:
        try:
            page, parsed = await batch.read(request(batch.company), partial(parse, CompanyId(batch.company)))
        except NotFound:
            # Some endpoints answer 404 to "none": the list is empty. Nothing is deleted on such a word.
            gone.append(table)
            continue
        one_answer = page.total is None or page.total <= parsed.seen
        if not one_answer:
            parsed = await _rest(batch, request(batch.company), partial(parse, CompanyId(batch.company)), page, parsed)
        whole = not repeats(parsed) and one_answer  # pages joined are not one moment: nothing is gone on their word
        swept = Swept(parsed.ids, "ids") if whole else None
        pages.append(PageRows(table, parsed.rows, parsed.rejects, page.observed_at, swept))
        as_of = page.watermark if as_of is None else min(as_of, page.watermark)
        rows += parsed.seen
    if not pages:
        # "None", or "no such salon": the salon itself is asked.
        await batch.fetch(ep.company(batch.company))
    # Rows that are there are not called an empty list: what came is stored, but nothing is proved.
    lost = [table for table in gone if await batch.pages.count(batch.company, table)]
    if lost:
        await batch.commit(Cursor(kind="delta", since=None), [replace(page, swept=None) for page in pages])
        raise NotFound(
            f"salon {batch.company}, {batch.claim.stream}: YCLIENTS does not offer {' and '.join(lost)} any more; "
            "what is stored stays as it was. Update ycsync if this lasts."
        )
    batch.phase = "live"
    batch.expected = batch.done = rows
    tables = tuple(page.table for page in pages)
    effect = await batch.commit(
        Cursor(kind="delta", since=as_of),
        pages,
        proved_as_of=as_of if as_of is not None else batch.now(),
        end_of_sweep=EndOfSweep(
            tables, SWEEP_SHARE, batch.confirm_deletions, settled=min((page.observed_at for page in pages), default=None)
        ),
        forget_sweep=True,
    )
    return Result(proved=True, held_back=effect.held_back)


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

    `erased`: salons that the list or the settings name and that must not be read.
    """

    wanted: tuple[int, ...]
    refused: dict[int, ApiError]
    as_of: datetime
    erased: tuple[int, ...] = ()


async def run_companies(batch: Batch, only: Sequence[int]) -> tuple[Result, Listed]:
    """Read the salons of the user token.

    `only`: the salons of the settings (empty: all that the token may manage). One that the list does not name is asked
    alone; if it is refused, the others go on.
    """
    refused: dict[int, ApiError] = {}
    rows: dict[int, Any] = {}
    pages: list[PageRows] = []
    first: Page | None = None
    whole = False
    known = set() if only else await batch.pages.salons()
    for number in range(1, MAX_PAGES):
        page = await batch.fetch(ep.companies(number, COMPANIES_A_PAGE))
        first = first or page
        parsed = parse_companies(page.rows)
        new = [row for row in parsed.rows if row.id not in rows]
        rows.update((row.id, row) for row in new)
        pages.append(PageRows("companies", new, parsed.rejects, page.observed_at))
        # The page size is the server's to choose; only an empty or repeated page, or the whole count, is the end.
        whole = not parsed.rejects and (not new if page.total is None else len(rows) >= page.total)
        if not new or whole or (page.total is None and parsed.seen < 20 and set(rows) >= known):
            break
    assert first is not None
    erased = await batch.pages.erased_salons()
    for company in only:
        if company not in rows and company not in erased:
            try:
                page = await batch.fetch(ep.company(company))
            except (NotFound, AccessDenied) as exc:
                refused[company] = exc
                continue
            parsed = parse_companies(page.rows)
            rows.update((row.id, row) for row in parsed.rows)
            pages.append(PageRows("companies", parsed.rows, parsed.rejects, page.observed_at))
    named = set(only) or {row.id for row in rows.values() if row.active}
    wanted = tuple(sorted(named - erased))
    batch.phase = "live"
    batch.expected = batch.done = len(rows.keys() - erased)
    # Only a list that was read to its end, and is not narrowed by the settings, tells which salons are gone.
    listed = tuple(rows) if rows and whole and not only else None
    effect = await batch.commit(
        Cursor(kind="delta", since=first.watermark),
        pages,
        proved_as_of=first.watermark,
        end_of_sweep=EndOfSweep((), SWEEP_SHARE, batch.confirm_deletions, listed, first.observed_at, first.observed_at),
    )
    return Result(proved=True, held_back=effect.held_back), Listed(wanted, refused, first.watermark, tuple(named & erased))
