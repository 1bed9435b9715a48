"""Which tables name a client, and what of a page may be stored when some were erased?

A table that names clients is one line of PERSONAL: what erases a client and what keeps it erased both go by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ycsync.model import Reject
from ycsync.model.erasure import Stays, numbers, stripped, suspects, without

_NOTHING: frozenset[str] = frozenset()
_LINE = frozenset(
    ("id", "title", "amount", "cost", "cost_to_pay", "cost_per_unit", "manual_cost", "first_cost", "discount")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Personal:
    """How a table's rows name a client. `column`: that holds the client's id; `id`: the row is the client, and goes whole.

    A row that stays is nobody's: `blank` are its columns then (SQL, as Python has it), `stays` is what is left of its `raw`.
    """

    column: str
    blank: Mapping[str, Any] = field(default_factory=dict)
    stays: Stays = field(default_factory=dict)


def _keys(*plain: str, **nested: frozenset[str]) -> Stays:
    return {**dict.fromkeys(plain, _NOTHING), **nested}


PERSONAL: Mapping[str, Personal] = {
    "clients": Personal("id"),
    "records": Personal(
        "client_id",
        {"client_id": None, "comment": ""},
        _keys(
            "id", "company_id", "staff_id", "date", "datetime", "create_date", "last_change_date", "online", "visit_attendance",
            "attendance", "confirmed", "seance_length", "length", "visit_id", "deleted", "paid_full", "prepaid", "activity_id",
            "clients_count", services=_LINE,
        ),
    ),
    "goods_operations": Personal(
        "client_id",
        {"client_id": None},
        _keys(
            "id", "document_id", "type_id", "type", "amount", "create_date", "last_change_date", "cost_per_unit", "cost",
            "discount", "record_id", "operation_unit_type", good=_LINE, storage=_LINE, unit=_LINE, master=_LINE,
        ),
    ),
    "transactions": Personal(
        "client_id",
        {"client_id": None, "comment": ""},
        _keys(
            "id", "document_id", "date", "amount", "record_id", "visit_id", "last_change_date", expense=_LINE, account=_LINE,
            master=_LINE,
        ),
    ),
}  # fmt: skip

# Places that hold ids of clients and nothing else: the lines of a client go. $1 company, $2 client.
MENTIONS: Mapping[str, str] = {
    "sweep_missing": "company_id = $1 and stream = 'clients' and id = $2",
    "history_queue": "company_id = $1 and client_id = $2",
    "hooks": "company_id = $1 and resource = 'client' and resource_id = $2",
}


@dataclass(frozen=True, slots=True)
class Admitted:
    """What of a page may be stored. `met`: erased clients whose cards it showed."""

    rows: Sequence[Any]
    rejects: Sequence[Reject]
    met: frozenset[int] = frozenset()


def admitted(table: str, rows: Sequence[Any], rejects: Sequence[Reject], erased: frozenset[int]) -> Admitted:
    """A page of one table as it may be stored in a salon some of whose clients were erased."""
    personal = PERSONAL.get(table)
    if personal is None or not erased:
        return Admitted(rows, rejects)
    kept = [reject for reject in rejects if erased.isdisjoint(numbers(reject.payload))]
    if personal.column == "id":
        ids = {str(one): one for one in erased}
        met = {row.id for row in rows if row.id in erased} | {ids[one.entity_id] for one in rejects if one.entity_id in ids}
        kept = [reject for reject in kept if reject.entity_id not in ids]
        return Admitted(_without([row for row in rows if row.id not in erased], erased), kept, frozenset(met))
    nobodys = [
        replace(row, raw=stripped(row.raw, personal.stays), **personal.blank)
        if getattr(row, personal.column) in erased
        else row
        for row in rows
    ]
    return Admitted(_without(nobodys, erased), kept)


def _without(rows: Sequence[Any], erased: frozenset[int]) -> list[Any]:
    """The rows without the erased ones that payloads of others may name."""
    found = list(rows)
    for place in suspects([row.raw for row in rows], erased):
        found[place] = replace(found[place], raw=without(found[place].raw, erased))
    return found
