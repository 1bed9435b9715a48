"""Which statements does ycsync send? They live in the .sql files beside this module, named and described.

In a file each statement begins with `-- name: the_name`, followed by comment lines that describe it.
`@schema` stands for the quoted name of the user's schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def read(file: str) -> str:
    """The text of one .sql file of this package, such as `migrations/0001_initial.sql`."""
    return resources.files(__package__).joinpath(file).read_text("utf-8")


def migrations() -> tuple[tuple[int, str], ...]:
    """(version, file) of every numbered migration, ascending."""
    folder = resources.files(__package__).joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((int(name.split("_", 1)[0]), f"migrations/{name}") for name in names)


def quoted(schema: str) -> str:
    """The schema's name as an SQL identifier."""
    return '"' + schema.replace('"', '""') + '"'


@cache
def load(file: str, schema: str) -> Mapping[str, str]:
    """The named statements of one file, for one schema."""
    parts = _NAME.split(read(file).replace("@schema", quoted(schema)))
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
