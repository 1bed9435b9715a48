"""Are docs/data-model.md and docs/api.md true: every table and column, every example, every request?"""

from __future__ import annotations

import inspect
import re

import asyncpg
import pytest

from filled import execute, fill, values
from support.documents import CHECKOUT
from ycsync.api import endpoints

PAGE = (CHECKOUT / "docs" / "data-model.md").read_text()
API = (CHECKOUT / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
COLUMNS = """
select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'yclients'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
order by c.relname, a.attnum
"""


def described() -> list[tuple[str, str, str]]:
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        table = section.split("\n", 1)[0]
        for name, kind in re.findall(r"^\| `(\w+)` \| ([^|]+) \| \S[^|]* \|$", section, re.MULTILINE):
            found.append((table, name, kind.strip().replace("timestamptz", "timestamp with time zone")))
    return found


def test_every_table_and_column_is_described_with_its_type(database_url: str) -> None:
    fill(database_url)
    assert sorted(described()) == sorted(tuple(map(str, row)) for row in values(database_url, COLUMNS))


@pytest.mark.parametrize("example", EXAMPLES)
async def test_every_example_runs_and_finds_something(database_url: str, example: str) -> None:
    import asyncio

    await asyncio.to_thread(fill, database_url)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("update yclients.records set starts_at = starts_at - interval '4 months', staff_id = null")
        assert await connection.fetch(example)
    finally:
        await connection.close()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6


def test_the_copy_of_a_view_can_be_made_and_refreshed(database_url: str) -> None:
    (block,) = re.findall(r"```postgresql\n(.*?)```", PAGE, re.DOTALL)
    fill(database_url)
    execute(database_url, *block.strip().rstrip(";").split(";"))
    assert values(database_url, "select count(*) from reports.client_profiles") == [(6,)]


def test_every_request_is_named_in_the_page_of_the_api() -> None:
    functions = {
        name for name, one in inspect.getmembers(endpoints, inspect.isfunction) if one.__module__ == endpoints.__name__
    }
    functions = {name.removesuffix("_again") for name in functions}  # a second path has the name of the first
    named = set(re.findall(r"^\| `(\w+)` \|", API, re.MULTILINE))
    assert named == functions | {"auth"}
