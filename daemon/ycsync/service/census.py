"""Which salons does the user token manage, and how large are they? A request or two a salon, for `plan --live` and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ycsync.api import Api, Request, Tally
from ycsync.api import endpoints as ep
from ycsync.errors import ApiError, NotFound
from ycsync.model import parse_companies
from ycsync.plan.scan import Ask
from ycsync.plan.sweep import Window
from ycsync.sync.lists import COMPANIES_A_PAGE, MAX_PAGES

SMALLEST_PAGE = 20


@dataclass(frozen=True, slots=True)
class Managed:
    """The active salons of the user token: their titles by their ids. `server_time`: the API's clock at the first answer."""

    salons: dict[int, str]
    server_time: datetime | None


async def managed(api: Api, tries: int) -> Managed:
    """The active salons of the user token. Raises ApiError, also when there is none."""
    found: dict[int, tuple[str, bool]] = {}
    server_time = None
    for page in range(1, MAX_PAGES):
        answer = await api.fetch(ep.companies(page, COMPANIES_A_PAGE), Tally(), tries=tries)
        server_time = server_time or answer.server_time
        parsed = parse_companies(answer.rows)
        new = [row for row in parsed.rows if row.id not in found]
        found.update((row.id, (row.title, row.active)) for row in new)
        # As sync.lists reads it: the server chooses the page's size, and no page is as small as that but the last.
        if not new or parsed.seen < SMALLEST_PAGE or (answer.total is not None and len(found) >= answer.total):
            break
    salons = {company: title for company, (title, active) in sorted(found.items()) if active}
    if not salons:
        raise ApiError("companies: the user token manages no active salon. Give its user access to one in YCLIENTS.")
    return Managed(salons, server_time)


async def clients(api: Api, company: int, tries: int) -> int:
    """How many clients the salon has. Raises ApiError."""
    try:
        return await _count(api, ep.clients(company, Ask(1, 1), None), tries)
    except NotFound:
        # The list of full cards is formally deprecated; this is its successor.
        return await _count(api, ep.clients_search(company, Ask(1, 1)), tries)


async def visits(api: Api, company: int, tries: int) -> int:
    """How many visits the salon has. Raises ApiError."""
    return await _count(api, ep.records(company, Window(), 1), tries)


async def _count(api: Api, request: Request, tries: int) -> int:
    """How many rows the list has, from an answer of one row."""
    answer = await api.fetch(request, Tally(), tries=tries)
    if answer.total is None:
        raise ApiError(
            f"salon {request.company}, {request.endpoint}: YCLIENTS does not say how many there are. "
            "Give the counts: --clients N --visits M."
        )
    return answer.total
