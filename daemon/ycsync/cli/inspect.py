"""`ycsync status` and `ycsync verify`: what is in the database and how fresh, and was the job done as it must be?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ycsync.cli import criteria as checks
from ycsync.cli import wording
from ycsync.cli.common import ConfigOption, JsonOption, command, run, settings_of
from ycsync.cli.output import Grid, document, number, painted, show, span
from ycsync.cli.reading import reading
from ycsync.config import Loaded, Settings
from ycsync.errors import ConfigError
from ycsync.service import standing as view
from ycsync.store.database import Database
from ycsync.store.report import Report

HEADERS = ("salon", "stream", "state", "done", "ETA", "success", "lag", "requests")
MANY, MANY_ERRORS = 100, 20  # lines on a screen
FIGURES = frozenset({"done", "ETA", "success", "lag", "requests"})


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status", epilog=_kept("--json", view.STATUS_JSON))(status)
    app.command("verify", epilog=_kept("--json", checks.VERIFY_JSON))(verify)


@command
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """What is in the database and how fresh. Exit code 0: all that is on is complete and fresh; else 1.

    A mistake in the configuration that has nothing to do with it is said, and makes the exit code 2.

    With --watch and --json one object a line, a second.
    """
    loaded = settings_of(config, lenient=True)
    code = run(_watch(loaded, as_json) if watch else _status(loaded, as_json))
    return ConfigError.exit_code if loaded.mistakes else code


@command
def verify(as_json: JsonOption = False, config: ConfigOption = None) -> int:
    """The success criteria, each PASS or FAIL with its figures. Exit code 0: every one passes; else 1."""
    loaded = settings_of(config)
    return run(_verify(loaded, as_json))


async def verification(database: Database, settings: Settings) -> tuple[checks.Criterion, ...]:
    """The criteria, judged on this database now."""
    audit = await Report(database).audit(settings.yclients.egress, settings.companies)
    return checks.criteria(audit, settings)


async def _verify(loaded: Loaded, as_json: bool) -> int:
    async with reading(loaded) as database:
        found = await verification(database, loaded.settings)
    if as_json:
        print(document(checks.as_json(found)))
    else:
        width = max(len(one.title) for one in found)
        for one in found:
            print(f"{painted('PASS' if one.passed else 'FAIL')}  {one.title:<{width}}  {one.says}")
    return 0 if all(one.passed for one in found) else 1


async def _watch(loaded: Loaded, as_json: bool) -> int:
    from ycsync.cli.watch import watch  # it draws with rich, which one look does not need

    return await watch(loaded, as_json)


async def _status(loaded: Loaded, as_json: bool) -> int:
    settings = loaded.settings
    async with reading(loaded) as database:
        standing = await Report(database).standing(settings.yclients.egress)
    judged = view.judge(standing, settings)
    if as_json:
        print(document(view.as_json(standing, judged, settings)))
    else:
        print("\n".join(wording.heading(standing, judged, settings)), end="\n\n")
        troubles = wording.errors(standing, judged)
        # On a screen what needs a look would scroll away among thousands of lines; elsewhere all of them are wanted.
        brief = sys.stdout.isatty() and len(judged) > MANY
        fresh = [one for one in judged if one.state == "fresh"] if brief else []
        shown = [one for one in judged if not one.well] if brief else judged
        if shown:
            show(_grid(shown))
        if fresh:
            print(f"{wording.together(fresh)}; `ycsync status | less` shows each")
        if brief and len(troubles) > MANY_ERRORS:
            troubles[MANY_ERRORS:] = [f"and {number(len(troubles) - MANY_ERRORS)} more errors: `ycsync status | less`"]
        print("\n".join(["", *troubles, wording.verdict(judged)]))
    return 0 if view.everything_well(judged) else 1


def _grid(judged: Sequence[view.Judged]) -> Grid:
    rows = [
        (
            wording.name(one),
            one.row.stream,
            wording.state(one),
            wording.done(one),
            span(one.eta_s),
            "never" if one.row.last_success_at is None else span(wording.age_s(one)),
            span(one.lag_s),
            number(one.row.requests),
        )
        for one in judged
    ]
    return Grid(HEADERS, rows, FIGURES)


def _kept(option: str, text: str) -> str:
    """Help text that keeps its lines."""
    return f"\b\n{option}: {text}"
