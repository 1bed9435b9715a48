"""`ycsync status` and `ycsync verify`: what is in the database and how fresh, and was the job done as it must be?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live

from ycsync.cli import criteria as checks
from ycsync.cli.common import ConfigOption, JsonOption, colour, command, run, settings_of
from ycsync.cli.output import Grid, number, painted, show, span
from ycsync.cli.reading import reading
from ycsync.config import Loaded, Settings
from ycsync.errors import UsageError
from ycsync.service import standing as view
from ycsync.store.database import Database
from ycsync.store.report import Report, Standing

REFRESH_S = 1.0
HEADERS = ("salon", "stream", "state", "done", "ETA", "success", "lag", "requests")
FIGURES = frozenset({"done", "ETA", "success", "lag", "requests"})
TITLE_LENGTH = 28


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
    """What is in the database and how fresh. Exit code 0: all that is on is complete and fresh; else 1."""
    loaded = settings_of(config)
    if watch and as_json:
        raise UsageError("--watch and --json exclude each other: call `ycsync status --json` as often as you like.")
    return run(_watch(loaded) if watch else _status(loaded, as_json))


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
        print(json.dumps(checks.as_json(found), ensure_ascii=False, indent=2))
    else:
        width = max(len(one.title) for one in found)
        for one in found:
            print(f"{painted('PASS' if one.passed else 'FAIL')}  {one.title:<{width}}  {one.says}")
    return 0 if all(one.passed for one in found) else 1


async def _status(loaded: Loaded, as_json: bool) -> int:
    settings = loaded.settings
    async with reading(loaded) as database:
        standing = await Report(database).standing(settings.yclients.egress)
    judged = view.judge(standing, settings)
    if as_json:
        print(json.dumps(view.as_json(standing, judged, settings), ensure_ascii=False, indent=2))
    else:
        print("\n".join(_heading(standing, judged, settings)), end="\n\n")
        show(_grid(judged))
        print("\n".join(["", *_troubles(standing, judged)]))
    return 0 if view.everything_well(judged) else 1


async def _watch(loaded: Loaded) -> int:
    """Until Ctrl-C, which is how it is meant to end."""
    settings = loaded.settings
    judged: tuple[view.Judged, ...] = ()
    with Live(auto_refresh=False, screen=True, vertical_overflow="ellipsis") if colour() else nullcontext() as live:
        try:
            async with reading(loaded) as database:
                report = Report(database)
                while True:
                    standing = await report.standing(settings.yclients.egress)
                    # What needs a look comes first: a screen may be too short for all.
                    judged = tuple(sorted(view.judge(standing, settings), key=lambda one: one.well))
                    if live is not None:
                        live.update(_screen(standing, judged, settings), refresh=True)
                    else:
                        lines = (*_heading(standing, judged, settings), "", _grid(judged).plain())
                        print("\n".join((*lines, "", *_troubles(standing, judged), "")), flush=True)
                    await asyncio.sleep(REFRESH_S)
        except asyncio.CancelledError:
            return 0 if view.everything_well(judged) else 1


def _screen(standing: Standing, judged: tuple[view.Judged, ...], settings: Settings) -> RenderableType:
    return Group(*_heading(standing, judged, settings), _grid(judged).drawn(), *_troubles(standing, judged))


def _heading(standing: Standing, judged: tuple[view.Judged, ...], settings: Settings) -> list[str]:
    """What holds for all salons."""
    usage, limits, preset = standing.usage, settings.yclients, settings.active
    lines = [
        f"preset    {settings.preset}: at most {min(preset.per_minute, limits.per_minute)} requests a minute, "
        f"{min(preset.per_second, limits.per_second)} a second",
        f"requests  {usage.minute} in the last minute (limit {limits.per_minute}), "
        f"{usage.second} in the last second (limit {limits.per_second})"
        + (f"; refused {usage.throttled} times so far" if usage.throttled else ""),
    ]
    if usage.blocked_until is not None:
        wait_s = (usage.blocked_until - standing.now).total_seconds()
        lines.append(f"waiting   YCLIENTS said too many requests: nothing is sent for another {span(wait_s)}")
    for worker in standing.workers:
        up = span((standing.now - worker.started_at).total_seconds())
        lines.append(f"{worker.role:<8}  pid {worker.pid}, version {worker.version}, for {up}")
        if worker.role == "service":
            lines.extend(_about_service(worker.info, settings))
    if not any(worker.role == "service" for worker in standing.workers):
        lines.append("service   none is running: what follows ages until one does, or `ycsync sync` runs")
    for company, since in standing.pauses.items():
        which = "all salons" if company == 0 else f"salon {company}"
        age = span((standing.now - since).total_seconds())
        lines.append(f"PAUSED    {which}, for {age}; `ycsync resume` lets requests leave again")
    for one in judged:
        if one.row.quarantined:
            rows = "row is" if one.row.quarantined == 1 else "rows are"
            lines.append(f"quarantine  {_name(one)}, {one.row.stream}: {number(one.row.quarantined)} {rows} not in the table")
    return lines


def _about_service(info: dict[str, object], settings: Settings) -> Sequence[str]:
    lines = []
    if (problem := view.reload_problem(info)) is not None:
        lines.append(f"          last reload refused, the old settings hold: {problem}")
    preset = info.get("preset")
    if isinstance(preset, str) and preset != settings.preset:
        lines.append(f"          works with preset {preset}, not with the file's: `ycsync reload` makes it read the file")
    return lines


def _grid(judged: tuple[view.Judged, ...]) -> Grid:
    rows = [
        (
            _name(one),
            one.row.stream,
            f"{one.state}, paused" if one.paused and one.state != "off" else one.state,
            _done(one),
            span(one.eta_s),
            "never" if one.row.last_success_at is None else span(_age(one)),
            span(one.lag_s),
            number(one.row.requests),
        )
        for one in judged
    ]
    return Grid(HEADERS, rows, FIGURES)


def _age(one: view.Judged) -> float | None:
    """Seconds since the last success: as old as what it proved, less the time between the two."""
    row = one.row
    if one.lag_s is None or row.last_success_at is None or row.proved_as_of is None:
        return None
    return max(0.0, one.lag_s - (row.last_success_at - row.proved_as_of).total_seconds())


def _name(one: view.Judged) -> str:
    if one.row.company == 0:
        return "all salons"
    title = "" if one.title is None else " " + " ".join(one.title.split())
    return f"{one.row.company}{title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1] + '…'}"


def _done(one: view.Judged) -> str:
    row = one.row
    if row.expected is None or row.expected == row.done:
        return number(row.done)
    return f"{number(row.done)}/{number(row.expected)} ({row.done / max(1, row.expected):.0%})"


def _troubles(standing: Standing, judged: tuple[view.Judged, ...]) -> list[str]:
    """Errors with their age, and the verdict."""
    lines = []
    for one in judged:
        row = one.row
        if row.last_error is None or one.state == "off":
            continue
        since = "" if row.error_since is None else f" (for {span((standing.now - row.error_since).total_seconds())}"
        times = f", {row.failures} times in a row)" if since else ""
        lines.append(f"{_name(one)}, {row.stream}: {row.last_error}{since}{times}")
    if view.everything_well(judged):
        return [*lines, "Everything that is on is complete and fresh."]
    bad = sum(1 for one in judged if not one.well)
    known = any(one.row.company for one in judged)
    return [*lines, f"Not complete or not fresh: {bad} of {len(judged)} streams." if known else "No salon is known yet."]


def _kept(option: str, text: str) -> str:
    """Help text that keeps its lines."""
    return f"\b\n{option}: {text}"
