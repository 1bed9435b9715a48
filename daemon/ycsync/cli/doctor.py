"""`ycsync doctor`: what is wrong here, and what is to be done about it?"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from ycsync import logs
from ycsync.cli.common import ConfigOption, JsonOption, command, run
from ycsync.cli.output import document, painted
from ycsync.service.doctor import Finding, as_json, examine, well
from ycsync.service.doctor.finding import DOCTOR_JSON

WIDTH = 120
WORDS = {"ok": "ok", "warn": "WARN", "fail": "FAIL", "skipped": "-"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=f"\b\n--json: {DOCTOR_JSON}")(doctor)


@command
def doctor(
    salons: Annotated[int, typer.Option("--salons", min=0, metavar="N", help="Try the rights to so many salons.")] = 10,
    as_json_: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """Look at everything that can be wrong, and say the remedy of each. Exit code 0: nothing failed; else 1.

    Costs one request, and one for each list of each salon that is tried: five with the streams that are on at first.
    """
    logs.configure("critical")  # what goes wrong is a finding
    found = run(examine(config, Path.cwd(), os.environ, salons))
    if as_json_:
        print(document(as_json(found)))
        return 0 if well(found) else 1
    for one in found:
        _print(one)
    failed, warned = (sum(one.level == level for one in found) for level in ("fail", "warn"))
    print()
    if failed or warned:
        print(f"{_count(failed, 'thing')} to mend, {_count(warned, 'warning')}.")
    else:
        print("Nothing is wrong.")
    return 0 if well(found) else 1


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print(one: Finding) -> None:
    head = f"{painted(WORDS[one.level], 4)}  {one.area:<9} "
    lines = [line for part in one.says.splitlines() for line in textwrap.wrap(part, WIDTH, break_on_hyphens=False)]
    if one.remedy and one.level in ("warn", "fail"):
        lines += textwrap.wrap(f"-> {one.remedy}", WIDTH, subsequent_indent="   ", break_on_hyphens=False)
    print(head + ("\n" + " " * 16).join(lines))
