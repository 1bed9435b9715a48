"""`ycsync db erase|readmit|erasures`: how is personal data erased so that it stays erased, and how is that undone?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ycsync import logs
from ycsync.cli.common import ConfigOption, JsonOption, command, run, settings_of
from ycsync.cli.output import Grid, document, number, show
from ycsync.cli.reading import reading
from ycsync.config import Loaded
from ycsync.errors import UsageError
from ycsync.logs import emit, get_logger
from ycsync.service.standing import instant
from ycsync.store.erase import Erased, Erasure, erase_client, erase_salon, erasures, readmit
from ycsync.store.migrate import is_current

CompanyOption = Annotated[int, typer.Option("--company", min=1, help="The salon.", metavar="ID")]
ClientOption = Annotated[int | None, typer.Option("--client", min=1, help="Only this client of it.", metavar="ID")]
_log = get_logger(__name__)

ERASE_JSON = """\
One object:
  company, client   as they were given (client null: the whole salon)
  rows              how many were erased or cleaned, by table; empty: nothing was there
New keys may be added; none is renamed or removed."""
READMIT_JSON = """\
One object:
  company, client   as they were given (client null: the salon)
  lifted            true: it may be read again; false: it was not erased, and nothing was changed
New keys may be added; none is renamed or removed."""
ERASURES_JSON = """\
One object:
  erasures   id, company, client (null: the whole salon), erased_at, rows (by table), role (of the database, that erased),
             seen_at (YCLIENTS still had the client then; null: not when all were read last), lifted_at (null: in force)
New keys may be added; none is renamed or removed."""


def register(group: typer.Typer) -> None:
    """Add the commands to `ycsync db`."""
    group.command("erase", epilog=_kept(ERASE_JSON))(erase)
    group.command("readmit", epilog=_kept(READMIT_JSON))(readmit_command)
    group.command("erasures", epilog=_kept(ERASURES_JSON))(erasures_command)


def _kept(text: str) -> str:
    return f"\b\n--json: {text}"


@command
def erase(
    company: CompanyOption,
    client: ClientOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """Erase the personal data of one client, or everything of one salon. It cannot be undone.

    A client's visits stay, without the client. What YCLIENTS still has is left out from then on, until `ycsync db readmit`.
    """
    loaded = settings_of(config)
    what = f"salon {company}, everything" if client is None else f"salon {company}, client {client}"
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{what}: erasing cannot be undone. Say --yes, or run this in a terminal to be asked.")
        if not typer.confirm(f"Erase {what}? It cannot be undone.", default=False, err=True):
            print("Nothing was erased.")
            return 1
    erased = run(_erase(loaded, company, client))
    if as_json:
        print(document({"company": company, "client": client, "rows": erased.by_table}))
    else:
        print("\n".join(_said(erased, company, client)))
    return 0


async def _erase(loaded: Loaded, company: int, client: int | None) -> Erased:
    async with reading(loaded) as database:
        if not await is_current(database):
            raise UsageError(f"schema {database.schema} is older than this ycsync: run `ycsync db migrate` first.")
        if client is None:
            erased = await erase_salon(database, company)
        else:
            erased = await erase_client(database, company, client)
    emit(_log, logs.ERASURE_DONE, company=company, scope=_scope(client), rows=erased.total)
    return erased


def _said(erased: Erased, company: int, client: int | None) -> list[str]:
    lines = []
    if not erased.total:
        who = "this salon" if client is None else "this client"
        lines.append(f"Nothing of {who} was in the database. If its number is another one, `readmit` (below) takes this back.")
    if parts := [f"{table} {number(rows)}" for table, rows in erased.rows.items() if rows]:
        lines.append(f"Rows erased: {', '.join(parts)}.")
    if parts := [f"{table} {number(rows)}" for table, rows in erased.cleaned.items() if rows]:
        lines.append(f"Rows that stay without the client: {', '.join(parts)}.")
    one = f"--company {company}" + ("" if client is None else f" --client {client}")
    lines.append(f"What YCLIENTS still has is not read again, until `ycsync db readmit {one}`.")
    return lines


@command
def readmit_command(
    company: CompanyOption, client: ClientOption = None, as_json: JsonOption = False, config: ConfigOption = None
) -> int:
    """Let a client or a salon that was erased be read again: the next pass brings what YCLIENTS has."""
    lifted = run(_readmit(settings_of(config), company, client))
    what = f"salon {company}" if client is None else f"client {client} of salon {company}"
    if as_json:
        print(document({"company": company, "client": client, "lifted": lifted}))
    elif lifted:
        print(f"Readmitted: {what}. The service, or the next `ycsync sync`, reads it from the beginning.")
    else:
        print(f"Not erased: {what}; nothing was changed.")
    return 0


async def _readmit(loaded: Loaded, company: int, client: int | None) -> bool:
    async with reading(loaded) as database:
        lifted = await readmit(database, company, client)
    if lifted:
        emit(_log, logs.ERASURE_LIFTED, company=company, scope=_scope(client))
    return lifted


@command
def erasures_command(as_json: JsonOption = False, config: ConfigOption = None) -> int:
    """What was erased, when, and whether YCLIENTS still has it."""
    found = run(_erasures(settings_of(config)))
    if as_json:
        print(document({"erasures": [_as_json(one) for one in found]}))
    elif not found:
        print("Nothing was erased.")
    else:
        show(Grid(("salon", "client", "erased", "rows", "YCLIENTS", "readmitted"), [_cells(one) for one in found], frozenset()))
    return 0


async def _erasures(loaded: Loaded) -> tuple[Erasure, ...]:
    async with reading(loaded) as database:
        return await erasures(database)


def _as_json(one: Erasure) -> Mapping[str, Any]:
    return {
        "id": one.id,
        "company": one.company,
        "client": one.client,
        "erased_at": instant(one.erased_at),
        "rows": one.rows,
        "role": one.role,
        "seen_at": instant(one.seen_at),
        "lifted_at": instant(one.lifted_at),
    }


def _cells(one: Erasure) -> tuple[str, ...]:
    has = "" if one.client is None or one.lifted_at is not None else "no" if one.seen_at is None else "still has it"
    return (
        str(one.company),
        "all" if one.client is None else str(one.client),
        f"{one.erased_at:%Y-%m-%d %H:%M}",
        number(sum(one.rows.values())),
        has,
        "" if one.lifted_at is None else f"{one.lifted_at:%Y-%m-%d %H:%M}",
    )


def _scope(client: int | None) -> str:
    return "salon" if client is None else "client"
