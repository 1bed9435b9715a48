"""In which order is everything looked at, so that one thing that is wrong hides no other?"""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

from ycsync.config import Loaded, Secrets, find_config, load, load_secrets
from ycsync.config.secrets import missing_secrets
from ycsync.errors import ConfigError
from ycsync.service.doctor import database, machine, yclients
from ycsync.service.doctor.finding import Finding, Findings, looked

MACHINE_S = 12.0
DATABASE_S = 30.0
RIGHTS_S = 60.0


async def examine(config: Path | None, cwd: Path, env: Mapping[str, str], most: int = 20) -> Findings:
    """Every finding, in the order in which things depend on each other. `most`: salons that are tried."""
    path, loaded, found = _configuration(config, cwd, env)
    unit = await machine.unit_properties()
    given: Secrets | None = None
    with suppress(ConfigError):  # said already
        given = load_secrets(env, None if path is None else path.absolute().parent)
    parts = [
        looked("python", to_thread(machine.python, unit is not None and unit.get("LoadState") == "loaded"), MACHINE_S),
        looked("systemd", machine.systemd(unit, path), MACHINE_S),
        looked("config", to_thread(machine.files, path, unit), MACHINE_S),
        looked("secrets", to_thread(machine.secrets, given, path, loaded, unit), MACHINE_S),
        looked("disk", to_thread(machine.disk, loaded), MACHINE_S),
        looked("database", to_thread(machine.users, loaded, unit), MACHINE_S),
    ]
    if loaded is None:
        rest = Finding("database", "skipped", "network, database and tokens are looked at when the configuration is good")
        return [*found, *chain.from_iterable(await asyncio.gather(*parts)), rest]
    parts += [
        looked("http", machine.port(loaded.settings, path, unit), MACHINE_S),
        looked("network", yclients.reach(loaded), MACHINE_S),
        _data(loaded, most),
    ]
    return [*found, *chain.from_iterable(await asyncio.gather(*parts))]


def _configuration(config: Path | None, cwd: Path, env: Mapping[str, str]) -> tuple[Path | None, Loaded | None, Findings]:
    path: Path | None = None
    try:
        path = find_config(config, cwd)
        loaded = load(path, env)
    except ConfigError as error:
        return (
            path,
            None,
            [
                Finding("config", "fail", f"{error.source}: {one}", "Mend it; `ycsync config check` tells.")
                for one in error.problems
            ],
        )
    good = Finding("config", "ok", f"{path}, preset {loaded.settings.preset}")
    return path, loaded, [good, *yclients.limits(loaded.settings.yclients), *machine.hooks(loaded)]


async def _data(loaded: Loaded, most: int) -> Findings:
    """The database, and with the budget in it the tokens."""
    if loaded.hidden is not None:
        return [Finding("database", "skipped", "its URL and the tokens are among the secrets")]
    found: Findings = []

    async def both() -> Findings:
        async with database.look(loaded) as seen:
            found.extend(seen.findings)
            if missing_secrets(loaded.secrets, common=loaded.settings.needs_common_token) or loaded.salon_tokens.missing:
                found.append(Finding("tokens", "skipped", "not all are there"))
            else:
                found.extend(await looked("tokens", yclients.rights(loaded, seen, most, RIGHTS_S / 2), RIGHTS_S))
        return found

    said = await looked("database", both(), DATABASE_S + RIGHTS_S)
    return said if said is found else [*found, *said]
