"""`ycsync db migrate|erase`, `ycsync pause|resume`: the schema, erasure of personal data, and stopping all requests."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ycsync.cli.common import ConfigOption, command, run, settings_of
from ycsync.cli.output import number
from ycsync.cli.reading import reading
from ycsync.config import Loaded
from ycsync.errors import UsageError
from ycsync.service.runtime import Server
from ycsync.store.database import Database, connect
from ycsync.store.erase import erase_client, erase_salon
from ycsync.store.migrate import migrate as migrate_schema
from ycsync.store.report import Report
from ycsync.store.work import Work

CompaniesOption = Annotated[
    list[int] | None, typer.Option("--company", min=1, help="Only this salon; may be repeated.", metavar="ID")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The database: its schema, and erasure of personal data.")
    group.command("migrate")(migrate)
    group.command("erase")(erase)
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
            ran = await migrate_schema(database)
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
def erase(
    company: Annotated[int, typer.Option("--company", min=1, help="The salon.", metavar="ID")],
    client: Annotated[int | None, typer.Option("--client", min=1, help="Only this client of it.", metavar="ID")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
) -> int:
    """Erase the personal data of one client, or everything of one salon. It cannot be undone.

    A client's visits stay, without the client. What YCLIENTS still has is fetched again: erase it there first.
    """
    loaded = settings_of(config)
    what = f"salon {company}, everything" if client is None else f"salon {company}, client {client}"
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{what}: erasing cannot be undone. Say --yes, or run this in a terminal to be asked.")
        if not typer.confirm(f"Erase {what}? It cannot be undone.", default=False, err=True):
            print("Nothing was erased.")
            return 1
    return run(_erase(loaded, company, client))


async def _erase(loaded: Loaded, company: int, client: int | None) -> int:
    async with reading(loaded) as database:
        if client is None:
            erased = await erase_salon(database, company)
        else:
            erased = await erase_client(database, company, client)
    if not erased.total:
        print(f"Nothing of {'this salon' if client is None else 'this client'} was in the database.")
        return 0
    parts = [f"{table} {number(rows)}" for table, rows in erased.rows.items() if rows]
    if parts:
        print(f"Rows erased: {', '.join(parts)}.")
    if erased.cleaned:
        print(f"Visits that stay without their client: {number(erased.cleaned)}.")
    print(_returns(loaded, company, client))
    return 0


def _returns(loaded: Loaded, company: int, client: int | None) -> str:
    """What would bring it back."""
    if client is not None:
        return "If YCLIENTS still has this client, the next reading of the card or of a visit brings it back: erase it there."
    if company in loaded.settings.companies:
        return f"The configuration still names salon {company}: take it out of `companies`, or it is fetched again."
    if not loaded.settings.companies:
        return (
            "`companies` is empty, which means every salon of the user token: take the token's rights to this salon "
            "away, or name the others there, or it is fetched again."
        )
    return "The configuration does not name this salon, so nothing fetches it again."


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
        paused = await work.pauses()
        if companies and 0 in paused:
            raise UsageError("all salons are paused, not single ones: `ycsync resume` without --company lets all go on.")
        await work.resume(companies or (0,))
    if not (paused if not companies else set(companies) & paused.keys()):
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
