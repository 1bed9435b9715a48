"""The recipe of docs/data-model.md for programs that keep a copy misses no change and no deletion, run as it stands there."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import asyncpg

from support.documents import CHECKOUT
from support.house import QUICK, House
from support.turns import Turns, open_turns
from ycsync.store.erase import erase_client

SALON = 4001
EXAMPLES = re.findall(r"```sql\n(.*?);\n```", (CHECKOUT / "docs" / "data-model.md").read_text(), re.DOTALL)
(NEXT_LOOK,) = (one for one in EXAMPLES if "as next_look" in one)
(CHANGED,) = (one for one in EXAMPLES if "as gone" in one)
SINCE = "now() - interval '1 hour'"
# A request a batch: between the page that misses a row and the commit that deletes it there are many batches.
SHORT = QUICK.replace("batch_size: 80", "batch_size: 1")


def sharp(query: str) -> str:
    """The recipe without the minute that it goes back: in a test of seconds that would hide every mistake."""
    assert "interval '1 minute'" in query
    return query.replace("interval '1 minute'", "interval '0 minutes'")


@dataclass(slots=True)
class Reader:
    """A program with a copy of two tables."""

    connection: asyncpg.Connection[asyncpg.Record]
    begin: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    copy: dict[str, dict[int, str]] = field(default_factory=lambda: {"clients": {}, "records": {}})
    looks: int = 0

    async def look(self) -> None:
        """Once, as the page says."""
        following = await self.connection.fetchval(sharp(NEXT_LOOK))
        for table, copy in self.copy.items():
            assert SINCE in CHANGED
            query = CHANGED.replace(SINCE, "$1::timestamptz").replace("yclients.clients", f"yclients.{table}")
            if table != "clients":
                query = query.split("union all")[0]
            rows = await self.connection.fetch(query, self.begin)
            kept = [row["id"] for row in rows if not row["gone"]]
            for row in rows:
                copy.pop(row["id"], None)
            select = f"select id, raw::text as raw from yclients.{table} where company_id = {SALON} and deleted_at is null"
            for row in await self.connection.fetch(f"{select} and id = any ($1::bigint[])", kept):
                copy[row["id"]] = row["raw"]
        self.begin = following
        self.looks += 1


async def truth(house: House, table: str) -> dict[int, str]:
    query = f"select id, raw::text as raw from yclients.{table} where company_id = {SALON} and deleted_at is null"
    return {row["id"]: row["raw"] for row in await house.database.fetch(query)}


async def watched(turns: Turns, reader: Reader, act: Callable[[], Awaitable[object]]) -> None:
    """The reader looks all the time while something goes on, and once after."""
    task = asyncio.ensure_future(act())
    while not task.done():
        await reader.look()
        await asyncio.sleep(0.002)
    await task
    await reader.look()
    for table in reader.copy:
        have, want = reader.copy[table], await truth(turns.house, table)
        assert have.keys() - want.keys() == set(), f"{table}: deletions were missed"
        assert want.keys() - have.keys() == set(), f"{table}: new rows were missed"
        assert have == want, f"{table}: changes were missed"


async def test_a_reader_of_what_changed_misses_nothing_while_a_salon_changes(database_url: str) -> None:
    async with open_turns(database_url, preset=SHORT, clients=60, visits=120, clients_cap=10, records_cap=25) as turns:
        sim, house, rng = turns.sim, turns.house, random.Random(17)
        salon = sim.world.salons[SALON]
        reader = Reader(await asyncpg.connect(database_url))
        try:
            await turns.turn()
            await turns.turn()
            await reader.look()
            assert len(reader.copy["clients"]) == 60
            for _ in range(3):
                for _ in range(12):
                    salon.churn_once(rng)
                salon.delete_client(rng.choice(list(salon.clients)))
                salon.purge_record(rng.choice(list(salon.records)))
                before = reader.looks
                house.tomorrow_night()
                await watched(turns, reader, turns.turn)
                assert reader.looks > before + 5, "the reader did not look meanwhile"
            gone = next(iter(reader.copy["clients"]))
            await watched(turns, reader, lambda: erase_client(house.database, SALON, gone))
        finally:
            await reader.connection.close()
