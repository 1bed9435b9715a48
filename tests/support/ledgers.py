"""What must the tables of the declared streams hold, by what the simulated salon holds?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from support.house import House, encode, plain
from ycsync.model.declared import parse_declared
from ycsync.model.streams import DECLARED
from ycsync.simulator import Salon


def payloads(salon: Salon) -> dict[str, list[dict[str, Any]]]:
    """Stream -> what the simulator would serve of it, all of it."""
    ledger = salon.ledger
    return {
        "schedules": list(ledger.schedule.values()),
        "goods": [entry.payload for entry in ledger.goods.values()],
        "goods_operations": [entry.payload for entry in ledger.operations.values()],
        "transactions": [entry.payload for entry in ledger.transactions.values()],
    }


def expected(salon: Salon, stream: str) -> Mapping[int, Any]:
    """Id -> the row."""
    zone = ZoneInfo(salon.company["timezone_name"])
    parsed = parse_declared(DECLARED[stream], [encode(one) for one in payloads(salon)[stream]], zone)
    assert not parsed.rejects
    return {row.id: row for row in parsed.rows}


async def wrong(house: House, salon: Salon, stream: str, *, among: set[int] | None = None) -> list[str]:
    """Where a table is not what the salon holds. `among`: only these rows are compared."""
    rows = expected(salon, stream)
    stored = await house.stored(stream, salon.id)
    live = {entity for entity, row in stored.items() if row["deleted_at"] is None}
    if among is not None:
        live &= among
        rows = {entity: row for entity, row in rows.items() if entity in among}
    found = [f"{entity}: missing" for entity in sorted(set(rows) - live)]
    found += [f"{entity}: should be gone" for entity in sorted(live - set(rows))]
    for entity, row in rows.items():
        for name, _ in DECLARED[stream].columns:
            if entity in stored and plain(name, stored[entity][name]) != plain(name, getattr(row, name)):
                found.append(f"{entity}: {name}")
    return found
