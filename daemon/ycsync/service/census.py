"""Which salons does the user token manage, and how large are they? And which rights lack? For `plan --live` and `doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from ycsync.api import Api, Page, Tally
from ycsync.api import endpoints as ep
from ycsync.errors import AccessDenied, ApiError, NotFound
from ycsync.model import parse_companies
from ycsync.model.declared import Paging
from ycsync.model.streams import DECLARED
from ycsync.plan.dates import far
from ycsync.plan.scan import Ask
from ycsync.plan.sweep import Window
from ycsync.sync.lists import COMPANIES_A_PAGE, MAX_PAGES

SMALLEST_PAGE = 20
NO_SALON = "the user token manages no active salon"
GIVE_ACCESS = "Give its user access to one in YCLIENTS."


@dataclass(frozen=True, slots=True)
class Managed:
    """The active salons of the user token, perhaps none: their titles by their ids.

    `server_time`: the API's clock at the first answer.
    """

    salons: dict[int, str]
    server_time: datetime | None


async def managed(api: Api, tries: int) -> Managed:
    """The active salons of the user token. Raises ApiError."""
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
    return Managed({company: title for company, (title, active) in sorted(found.items()) if active}, server_time)


async def exists(api: Api, company: int, tries: int) -> bool:
    """Does the user token reach a salon that the list does not name? The service asks so too. Raises ApiError."""
    try:
        await api.fetch(ep.company(company), Tally(), tries=tries)
    except (NotFound, AccessDenied):
        return False
    return True


async def clients(api: Api, company: int, tries: int) -> int:
    """How many clients the salon has. Raises ApiError."""
    return _counted(await _clients(api, company, tries), company, "clients")


async def visits(api: Api, company: int, tries: int) -> int:
    """How many visits the salon has. Raises ApiError."""
    return _counted(await _visits(api, company, tries), company, "records")


async def refused(api: Api, company: int, streams: Iterable[str], tries: int) -> list[AccessDenied]:
    """Ask for a row of each list of the salon's streams; returns the rights that lack.

    Staff and services have a second path each, as the service reads them. Raises ApiError: AccessDenied where the whole salon
    is refused.
    """
    found: list[AccessDenied] = []
    for ways in (way for stream in streams for way in _ways(company, stream)):
        try:
            await _first_of(api, ways, tries)
        except NotFound:
            continue  # "none": it says nothing of rights
        except AccessDenied as error:
            if not error.right:
                raise
            found.append(error)
    return found


def _ways(company: int, stream: str) -> list[tuple[ep.Request, ...]]:
    """The smallest requests that show whether a stream may be read: of each of its lists the paths, in turn."""
    today = datetime.now(UTC).date()
    match stream:
        case "clients":
            return [(ep.clients(company, Ask(1, 1), None), ep.clients_search(company, Ask(1, 1)))]
        case "records":
            return [(ep.records(company, Window(), 1, far(today)),)]
        case "staff":
            return [(ep.staff(company), ep.staff_again(company))]
        case "services":
            return [(ep.services(company), ep.services_again(company)), (ep.service_categories(company),)]
        case _ if stream in DECLARED:
            declared = DECLARED[stream]
            page, day = None if declared.paging is Paging.ANSWER else (1, 1), None if declared.paging is Paging.PAGES else today
            return [(ep.declared(declared, company, page=page, first=day, last=day),)]
    return []


async def _first_of(api: Api, ways: tuple[ep.Request, ...], tries: int) -> Page:
    """The answer by the first path that may be read. Raises what the first path was answered with."""
    first: ApiError | None = None
    for request in ways:
        try:
            return await api.fetch(request, Tally(), tries=tries)
        except (NotFound, AccessDenied) as error:
            # What is refused may be read by a second path of the same list; another list is read where this one is no more.
            if isinstance(error, AccessDenied) and not (error.right and ways[-1].endpoint == request.endpoint):
                raise
            first = first or error
    assert first is not None
    raise first


async def _clients(api: Api, company: int, tries: int) -> Page:
    try:
        return await api.fetch(ep.clients(company, Ask(1, 1), None), Tally(), tries=tries)
    except NotFound:
        # The list of full cards is formally deprecated; this is its successor.
        return await api.fetch(ep.clients_search(company, Ask(1, 1)), Tally(), tries=tries)


async def _visits(api: Api, company: int, tries: int) -> Page:
    return await api.fetch(ep.records(company, Window(), 1, far(datetime.now(UTC).date())), Tally(), tries=tries)


def _counted(answer: Page, company: int, what: str) -> int:
    """How many rows the list has, from an answer of one row."""
    if answer.total is None:
        raise ApiError(
            f"salon {company}, {what}: YCLIENTS does not say how many there are. Give the counts: --clients N --visits M."
        )
    return answer.total
