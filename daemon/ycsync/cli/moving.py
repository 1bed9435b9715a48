"""`ycsync db move`: the private PostgreSQL's data into the database that the settings name."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ycsync.cli.common import ConfigOption, command, run, settings_of
from ycsync.config import Loaded
from ycsync.errors import DatabaseError, UsageError
from ycsync.service.private import Private, private_beside, private_root
from ycsync.store.database import Database, connect
from ycsync.store.embedded import EmbeddedPostgres
from ycsync.store.migrate import migrate
from ycsync.store.move import Contents, busy, carry, contents, copy, enforce, only_there, settled, unread

RemoveOption = Annotated[bool, typer.Option("--remove", help="Remove the private database afterwards, without asking.")]


@dataclass(frozen=True, slots=True)
class _Moved:
    """`copied`: rows too, and not only erasures and pauses; `erased`: how many erased clients or salons were erased again.

    `left`: salons that only the private database holds.
    """

    folder: Path
    where: str
    holds: Contents
    copied: bool
    erased: int
    left: tuple[int, ...]


def register(group: typer.Typer) -> None:
    """Add the command to `ycsync db`."""
    group.command("move")(move)


@command
def move(remove: RemoveOption = False, config: ConfigOption = None) -> int:
    """Copy the private database into the one that the settings name, erasures and pauses included. Asks YCLIENTS nothing.

    Put the new URL into the settings and stop the service first. Where a first pass ended in the new database its rows stay,
    and only erasures and pauses are taken over. The old database is removed only if you say so.
    """
    loaded = settings_of(config)
    if loaded.database_url == "embedded":
        raise UsageError(
            "the settings still name the private database. Set YCSYNC_DATABASE_URL (or the credential database_url, or "
            "database.url) to the database that it shall move to, then run this again."
        )
    moved = run(_move(loaded))
    if moved is None:
        print("There is no private database with rows here; nothing was moved.")
        return 0
    print(_said(moved))
    if moved.left:
        print(
            f"{'Salon' if len(moved.left) == 1 else 'Salons'} {', '.join(map(str, moved.left))} would be lost with it, so "
            f"{moved.folder} is not removed. If that may be, remove the folder yourself."
        )
        return int(remove)
    if remove or (
        sys.stdin.isatty() and typer.confirm(f"Remove the private database in {moved.folder}?", default=False, err=True)
    ):
        EmbeddedPostgres(moved.folder).remove()
        print(f"Removed: {moved.folder}.")
    else:
        print(f"{moved.folder} still holds the same personal data: `ycsync db move --remove` removes it.")
    return 0


async def _move(loaded: Loaded) -> _Moved | None:
    if private_root(loaded) is None:
        return None
    new = await connect(loaded.database_url, loaded.settings.database.schema_name, size=2, url_from=loaded.database_url_from)
    try:
        await migrate(new)
        async with private_beside(loaded, migrating=True) as private:
            return None if private is None else await _into(new, private)
    finally:
        await new.close()


async def _into(new: Database, private: Private) -> _Moved:
    if private.shared or await busy(new):
        where = f"the private database in {private.folder}" if private.shared else new.where
        raise DatabaseError(
            f"{where}: a service or a command works with it. Stop it first (systemctl stop ycsync), then try again."
        )
    await carry(private.database, new)
    # A pass that is under way is not given up for a database that no pass ended in either.
    copying = await unread(new) or (not await settled(new) and await settled(private.database))
    if copying:
        await copy(private.database, new)
    left = () if copying else await only_there(private.database, new)
    return _Moved(private.folder, new.where, await contents(private.database), copying, await enforce(new), left)


def _said(moved: _Moved) -> str:
    if moved.copied:
        return f"Moved into {moved.where}: {moved.holds.says()}. YCLIENTS was not asked."
    again = f"; {moved.erased} that were erased there are erased here again" if moved.erased else ""
    return (
        f"YCLIENTS was read into {moved.where} already: its rows stay. Erasures and pauses were taken over{again}. "
        "What YCLIENTS shows no more (deleted rows, quarantine, the history of batches) is in the private database only."
    )
