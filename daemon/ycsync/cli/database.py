"""`ycsync db migrate`, `ycsync pause|resume`: the schema, and stopping all requests."""

from __future__ import annotations

from typing import Annotated

import typer

from ycsync.cli import erasure, moving
from ycsync.cli.common import ConfigOption, command, run, settings_of
from ycsync.cli.reading import reading
from ycsync.config import Loaded
from ycsync.errors import UsageError
from ycsync.service.private import migrate_database
from ycsync.service.runtime import Server
from ycsync.service.standing import REASONS
from ycsync.store.database import Database, connect
from ycsync.store.report import Report
from ycsync.store.work import Work

CompaniesOption = Annotated[
    list[int] | None, typer.Option("--company", min=1, help="Only this salon; may be repeated.", metavar="ID")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The database: its schema, and erasure of personal data.")
    group.command("migrate")(migrate)
    erasure.register(group)
    moving.register(group)
    app.add_typer(group, name="db")
    app.command("pause")(pause)
    app.command("resume")(resume)


@command
def migrate(config: ConfigOption = None) -> int:
    """Make the schema, or bring it up to date. The service and `ycsync sync` do so by themselves."""
    return run(_migrate(settings_of(config)))


async def _migrate(loaded: Loaded) -> int:
    server = Server(loaded.database_url)
    url = server.start()
    try:
        database = await connect(url, loaded.settings.database.schema_name, size=1, url_from=loaded.database_url_from)
        try:
            ran = await migrate_database(loaded, database)
        finally:
            await database.close()
    finally:
        server.stop()
    if ran:
        print(f"Schema {database.schema} is at version {ran[-1]} now; {len(ran)} migrations ran.")
    else:
        print(f"Schema {database.schema} is up to date; nothing was changed.")
    return 0


@command
def pause(company: CompaniesOption = None, config: ConfigOption = None) -> int:
    """Stop all requests within a second, on every machine; the services keep running."""
    return run(_pause(settings_of(config, lenient=True), tuple(company or ())))


async def _pause(loaded: Loaded, companies: tuple[int, ...]) -> int:
    async with reading(loaded) as database:
        await _known(database, companies)
        await Work(database).pause(companies or (0,))
    print(f"Paused: {_names(companies)}. `ycsync resume` lets requests leave again.")
    return 0


@command
def resume(company: CompaniesOption = None, config: ConfigOption = None) -> int:
    """Let requests leave again: of one salon, or of all."""
    return run(_resume(settings_of(config, lenient=True), tuple(company or ())))


async def _resume(loaded: Loaded, companies: tuple[int, ...]) -> int:
    async with reading(loaded) as database:
        work = Work(database)
        paused, reasons = await work.pauses(), await work.reasons()
        if companies and 0 in paused:
            raise UsageError("all salons are paused, not single ones: `ycsync resume` without --company lets all go on.")
        await work.resume(companies or (0,))
    kept = sorted(reasons) if not companies else []
    for one in kept:
        why = REASONS.get(reasons[one], reasons[one])
        print(f"Still held: salon {one} (in YCLIENTS {why}); `ycsync resume --company {one}` asks it again.")
    if not (paused.keys() - set(kept) if not companies else set(companies) & paused.keys()):
        print(f"Not paused: {_names(companies)}; nothing was changed.")
        return 0
    print(f"Resumed: {_names(companies)}.")
    return 0


async def _known(database: Database, companies: tuple[int, ...]) -> None:
    """A mistyped salon must not be taken for a paused one."""
    if companies:
        known = {salon.id for salon in await Report(database).salons()}
        if unknown := sorted(set(companies) - known):
            raise UsageError(f"no such salon in the database: {', '.join(map(str, unknown))}. `ycsync status` lists them.")


def _names(companies: tuple[int, ...]) -> str:
    if not companies:
        return "all salons"
    return f"{'salon' if len(companies) == 1 else 'salons'} {', '.join(map(str, companies))}"
