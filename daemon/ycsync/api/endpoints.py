"""Which request asks for which page? (YCLIENTS API, "Endpoints")"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import msgspec

from ycsync.model.declared import Declared
from ycsync.plan.dates import Dates, closed
from ycsync.plan.scan import Ask
from ycsync.plan.sweep import Window

SEARCH_FIELDS = (
    "id", "name", "phone", "email", "discount", "first_visit_date", "last_visit_date", "sold_amount", "visits_count",
)  # fmt: skip
SEARCH_SIZE = 200


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `endpoint` is its name in metrics and logs; `company` 0: none in particular."""

    endpoint: str
    company: int
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    keyless: bool = False  # the answer is no row: it has no id
    none: bool = False  # a 404 is known to mean that nothing is there: it is an answer, see Page.absent

    @property
    def method(self) -> str:
        """GET, or POST when there is a body."""
        return "GET" if self.body is None else "POST"


def companies(page: int, count: int) -> Request:
    """The salons that the user token may manage."""
    return Request("companies", 0, "/companies", (("my", "1"), ("page", str(page)), ("count", str(count))))


def company(company_id: int) -> Request:
    """One salon."""
    return Request("company", company_id, f"/company/{company_id}")


def services(company_id: int) -> Request:
    """All services of a salon, in one answer."""
    return Request("services", company_id, f"/company/{company_id}/services")


def service_categories(company_id: int) -> Request:
    """All service categories of a salon, in one answer."""
    return Request("service_categories", company_id, f"/company/{company_id}/service_categories")


def staff(company_id: int) -> Request:
    """Everybody who works or worked at a salon, in one answer."""
    return Request("staff", company_id, f"/company/{company_id}/staff")


def services_again(company_id: int) -> Request:
    """All services of a salon by their second path, which users who are no administrators may read too."""
    return Request("services", company_id, f"/services/{company_id}")


def staff_again(company_id: int) -> Request:
    """Everybody who works or worked at a salon, by the second path."""
    return Request("staff", company_id, f"/staff/{company_id}")


def clients(company_id: int, ask: Ask, changed_after: str | None) -> Request:
    """A page of full client cards, ascending id."""
    params = [("page", str(ask.page)), ("count", str(ask.count))]
    if changed_after is not None:
        params.append(("changed_after", changed_after))
    return Request("clients", company_id, f"/clients/{company_id}", tuple(params))


def clients_search(company_id: int, ask: Ask) -> Request:
    """A page of the clients' search, the successor of the list of cards: fewer fields, no changed filter."""
    body = {
        "page": ask.page,
        "page_size": ask.count,
        "fields": SEARCH_FIELDS,
        "order_by": "id",
        "order_by_direction": "ASC",
        "operation": "AND",
        "filters": [],
    }
    path = f"/company/{company_id}/clients/search"
    return Request("clients_search", company_id, path, (), msgspec.json.encode(body))


def records(
    company_id: int, window: Window, size: int, ends: Dates | None, changed_after: str | None = None, page: int = 1
) -> Request:
    """Visits of one window of session dates, cancelled ones included; `ends` are sent for its open ends.

    None: no dates are sent, only to learn what the server makes of that.
    """
    params = [
        ("page", str(page)),
        ("count", str(size)),
        ("with_deleted", "1"),
        ("include_finance_transactions", "1"),
    ]
    if ends is not None:
        first, last = closed(window.lo, window.hi, ends)
        params += [("start_date", first.isoformat()), ("end_date", last.isoformat())]
    if window.made_lo is not None:
        params.append(("c_start_date", window.made_lo.isoformat()))
    if window.made_hi is not None:
        # A day longer: perhaps the server takes it for the day's first instant.
        params.append(("c_end_date", (window.made_hi + timedelta(days=1)).isoformat()))
    if window.staff_id is not None:
        params.append(("staff_id", str(window.staff_id)))
    if window.client_id is not None:
        params.append(("client_id", str(window.client_id)))
    if changed_after is not None:
        params.append(("changed_after", changed_after))
    return Request("records", company_id, f"/records/{company_id}", tuple(params))


def declared(
    stream: Declared,
    company_id: int,
    *,
    page: tuple[int, int] | None = None,
    first: date | None = None,
    last: date | None = None,
    changed_after: str | None = None,
    more: tuple[tuple[str, str], ...] = (),
) -> Request:
    """One answer of a declared stream. `page`: its number from 1, and rows; `first`, `last`: days in the salon, inclusive."""
    params: list[tuple[str, str]] = []
    if page is not None:
        params += [("page", str(page[0])), ("count", str(page[1]))]
    if first is not None:
        params.append(("start_date", first.isoformat()))
    if last is not None:
        params.append(("end_date", last.isoformat()))
    if changed_after is not None:
        params.append(("changed_after", changed_after))
    return Request(stream.name, company_id, stream.path.format(company=company_id), (*params, *more))


def clients_by_id(company_id: int, ids: Sequence[int]) -> Request:
    """Full cards of these clients. A filter that matches nobody may be left out by the server: then others come."""
    params = [("page", "1"), ("count", str(len(ids))), *(("id[]", str(one)) for one in ids)]
    return Request("clients_by_id", company_id, f"/clients/{company_id}", tuple(params))


def client(company_id: int, client_id: int) -> Request:
    """One full card."""
    return Request("client", company_id, f"/client/{company_id}/{client_id}")


def record(company_id: int, record_id: int) -> Request:
    """One visit."""
    return Request("record", company_id, f"/record/{company_id}/{record_id}", (("include_finance_transactions", "1"),))


def hooks_settings(company_id: int, settings: bytes | None = None) -> Request:
    """To which addresses a salon's webhooks go; with `settings`, a JSON object, all of it is replaced by them."""
    return Request("hooks_settings", company_id, f"/hooks_settings/{company_id}", (), settings, keyless=True)
