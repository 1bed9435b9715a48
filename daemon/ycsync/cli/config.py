"""`ycsync preset list|show|use|reset` and `ycsync config check`: reading and editing `config.yaml` in place."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ycsync.cli.common import ConfigOption, JsonOption, command
from ycsync.cli.output import Grid, show
from ycsync.config import (
    Loaded,
    Settings,
    backup_path,
    find_config,
    load,
    preset_keys,
    reset_preset,
    use_preset,
)
from ycsync.config.secrets import hidden_folder, missing_said
from ycsync.errors import ConfigError, UsageError, YcsyncError
from ycsync.service.control import reload_service

MOST_LINES = 20
HEADERS = (
    "preset", "batch", "interval", "a minute", "a second", "min delay", "retries", "recheck", "start at",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the commands."""
    presets = typer.Typer(no_args_is_help=True, help="The presets of the configuration: how hard to work.")
    presets.command("list")(list_presets)
    presets.command("show")(show_preset)
    presets.command("use")(use)
    presets.command("reset")(reset)
    app.add_typer(presets, name="preset")
    files = typer.Typer(no_args_is_help=True, help="The configuration file.")
    files.command("check")(check)
    app.add_typer(files, name="config")


@command
def list_presets(as_json: JsonOption = False, config: ConfigOption = None) -> int:
    """The presets; the one in force is marked. --json: a list of objects as `preset show --json` gives one."""
    settings = _settings(find_config(config, Path.cwd()))
    if as_json:
        print(json.dumps([_as_json(settings, name) for name in settings.presets], indent=2))
        return 0
    rows = [_row(settings, name) for name in settings.presets]
    show(Grid(HEADERS, rows, frozenset(HEADERS[1:])))
    return 0


@command
def show_preset(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="[default: the one in force]")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """One preset, key by key. --json: name, active, and the keys of the file; durations in seconds, as *_s."""
    path = find_config(config, Path.cwd())
    settings = _settings(path)
    chosen = settings.preset if name is None else name
    if chosen not in settings.presets:
        raise UsageError(f"{path}: there is no preset {chosen[:40]!r}: choose one of {', '.join(settings.presets)}")
    if as_json:
        print(json.dumps(_as_json(settings, chosen), indent=2))
        return 0
    print(f"{chosen}{' (in force)' if chosen == settings.preset else ''}")
    for key, value in preset_keys(settings.presets[chosen]).items():
        print(f"  {key:<13} {value}")
    return 0


@command
def use(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    config: ConfigOption = None,
) -> int:
    """Change the preset in the file, comments kept and a backup beside it, and make a running service take it."""
    path = find_config(config, Path.cwd())
    use_preset(path, name)
    print(f"{path}: preset {name}. The file as it was is {backup_path(path).name}; `ycsync preset reset` goes back to it.")
    return _reload(path)


@command
def reset(config: ConfigOption = None) -> int:
    """Go back to the file before the last `preset use`, edits by hand included, and make a running service take it."""
    path = find_config(config, Path.cwd())
    done = reset_preset(path)
    print(f"{path}: preset {done.preset} again.")
    for line in done.taken_back[:MOST_LINES]:
        print(f"also taken back: {line}")
    if (more := len(done.taken_back) - MOST_LINES) > 0:
        print(f"also taken back: {more} lines more")
    if done.taken_back:
        print("`ycsync preset reset` once more brings them again.")
    return _reload(path)


@command
def check(config: ConfigOption = None) -> int:
    """Check the file and the secrets: every mistake at once, each with its line; exit code 2 if there is one."""
    path = find_config(config, Path.cwd())
    try:
        loaded = load(path, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            print(f"{path}: {problem}", file=sys.stderr)
        return error.exit_code
    settings = loaded.settings
    salons = ", ".join(map(str, settings.companies)) or "every one of the user token"
    print(f"{path}: good. preset {settings.preset}; salons: {salons}")
    for company, own in settings.salons.items():
        told = [] if own.preset is None else [f"preset {own.preset}"]
        told += [] if own.user_token_env is None else [f"user token {own.user_token_env}"]
        print(f"salon {company}: {', '.join(told) or 'as all'}")
    for warning in (*_missing(loaded), *_elsewhere(settings)):
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _settings(path: Path) -> Settings:
    return load(path, os.environ).settings


def _reload(path: Path) -> int:
    print(reload_service(path) or "No service runs with this file; it holds from the next start.")
    return 0


def _missing(loaded: Loaded) -> tuple[str, ...]:
    """What the service will not start without. It may have its own, from systemd, that are not seen here."""
    missing = missing_said(loaded.secrets, common=loaded.settings.needs_common_token)
    missing += tuple(map(str, loaded.salon_tokens.missing))
    if missing and (hidden := hidden_folder(os.environ, loaded.path.absolute().parent)) is not None:
        return (f"{hidden} may be read by root only: whether the tokens are there was not looked at; with sudo it is",)
    return missing


def _elsewhere(settings: Settings) -> tuple[str, ...]:
    """What may hold on the machine of the service, and does not on this one."""
    address = settings.yclients.local_address
    if address is None:
        return ()
    from ycsync.api import check_local_address  # all of the client comes with it

    try:
        check_local_address(address)
    except YcsyncError as error:
        return (str(error),)
    return ()


def _row(settings: Settings, name: str) -> tuple[str, ...]:
    keys = preset_keys(settings.presets[name])
    keys["recheck_days"] += " d"
    marked = f"{'*' if name == settings.preset else ' '} {name}"
    return (marked, *keys.values(), *(["-"] if len(keys) < len(HEADERS) - 1 else []))


def _as_json(settings: Settings, name: str) -> dict[str, Any]:
    preset = settings.presets[name]
    return {
        "name": name,
        "active": name == settings.preset,
        "batch_size": preset.batch_size,
        "interval_s": preset.interval.total_seconds(),
        "per_minute": preset.per_minute,
        "per_second": preset.per_second,
        "min_delay_s": preset.min_delay.total_seconds(),
        "max_retries": preset.max_retries,
        "recheck_days": preset.recheck_days,
        "start_at": None if preset.start_at is None else f"{preset.start_at:%H:%M}",
    }
