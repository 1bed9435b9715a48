"""Does every answer that the vendor's documentation prints go through the whole path and come back as it was read?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web

from support.house import House, differences, open_house
from ycsync.model import (
    CompanyId,
    Parsed,
    decode_envelope,
    parse_clients,
    parse_companies,
    parse_records,
    parse_service_categories,
    parse_services,
    parse_staff,
)
from ycsync.model.declared import Declared, parse_declared
from ycsync.model.streams import DECLARED, GOODS, GOODS_OPERATIONS, SCHEDULES, TRANSACTIONS

SALON = 4564
MASTER = 901
TWINS = Path(__file__).parents[1] / "unit" / "samples"
VENDORS = Path(__file__).parents[3] / "shared" / "samples"
EMPTY = b'{"success": true, "data": [], "meta": {"total_count": 0}}'
ZONE = ZoneInfo("Europe/Moscow")


def declared(stream: Declared, company: CompanyId, raws: Sequence[bytes], zone: ZoneInfo) -> Parsed[Any]:
    """As the vendor prints a schedule it is one master's: then whose it is stands in the request."""
    return parse_declared(stream, raws, zone, **({"staff_id": MASTER} if stream is SCHEDULES else {}))


# file name without its ending -> where it is served, the table, and how it is read
SERVED: dict[str, tuple[str, str, Callable[..., Parsed[Any]]]] = {
    "client": ("/clients/", "clients", parse_clients),
    "clients": ("/clients/", "clients", parse_clients),
    "clients-list": ("/clients/", "clients", parse_clients),
    "record": ("/records/", "records", parse_records),
    "records": ("/records/", "records", parse_records),
    "records-list": ("/records/", "records", parse_records),
    "services": ("/services", "services", parse_services),
    "services-deprecated": ("/services", "services", parse_services),
    "service-categories": ("/service_categories", "service_categories", parse_service_categories),
    "staff": ("/staff", "staff", parse_staff),
    "goods": ("/goods/", "goods", partial(declared, GOODS)),
    "storage-transactions": ("/storages/transactions/", "goods_operations", partial(declared, GOODS_OPERATIONS)),
    "transactions": ("/transactions/", "transactions", partial(declared, TRANSACTIONS)),
    "schedule": ("/staff/schedule", "schedules", partial(declared, SCHEDULES)),
    "companies": ("/companies", "companies", parse_companies),
    "companies-list": ("/companies", "companies", parse_companies),
}
FILES = [
    path for folder in (TWINS, VENDORS) if folder.is_dir() for path in sorted(folder.glob("*.json")) if path.stem in SERVED
]


class Vendor:
    """A server that answers one endpoint with one file, whatever page or filter is asked for, and all others with nothing."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/api/v1")
        companies = {"success": True, "data": {"id": SALON, "title": "Салон", "timezone_name": str(ZONE)}, "meta": []}
        body = json.dumps(companies).encode() if path in ("/companies", f"/company/{SALON}") else EMPTY
        for part, file in self.files.items():
            first = request.query.get("page", "1") == "1"
            if first and (path.startswith(part) or path.endswith(part)):
                body = file
        return web.Response(body=body, content_type="application/json")


@pytest.fixture
async def vendor() -> AsyncIterator[tuple[Vendor, str]]:
    server = Vendor()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield server, f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
    await runner.cleanup()


async def read_all(house: House, table: str) -> None:
    stream = "services" if table == "service_categories" else table
    await house.work.ensure([SALON], [stream])
    if stream == "schedules":
        await house.database.execute(
            "insert into yclients.staff (company_id, id, name, specialization, fired, hidden, raw, observed_at) "
            "values ($1, $2, '', '', false, false, '{}', now())",
            SALON,
            MASTER,
        )
    await house.proved(SALON, stream)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
async def test_a_sample_is_stored_and_read_back_as_it_was_parsed(
    vendor: tuple[Vendor, str], database_url: str, path: Path
) -> None:
    server, url = vendor
    where, table, parse = SERVED[path.stem]
    body = path.read_bytes()
    raws = decode_envelope(body).rows
    if table == "companies":
        parsed = parse(raws)
    elif table in ("clients", "records", *DECLARED):
        parsed = parse(CompanyId(SALON), raws, ZONE)
    else:
        parsed = parse(CompanyId(SALON), raws)
    assert parsed.rows
    assert not parsed.rejects
    async with open_house(url, database_url) as house:
        await house.companies()
        server.files[where] = body
        if table == "companies":
            await house.companies()
            for row in parsed.rows:
                assert await differences(house, {table: {row.id: row}}, row.id) == []
        else:
            await read_all(house, table)
            assert await differences(house, {table: {row.id: row for row in parsed.rows}}, SALON) == []
        assert await house.quarantined() == []


def test_there_is_a_sample_of_every_table() -> None:
    tables = {SERVED[path.stem][1] for path in FILES}
    assert tables == {"clients", "records", "services", "service_categories", "staff", "companies", *DECLARED}
