"""`ycsync hooks install|show|remove`: telling YCLIENTS where each salon's webhooks go, and nobody else loses theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace

import typer

from ycsync.api import Api
from ycsync.cli.common import ConfigOption, JsonOption, command, run, settings_of
from ycsync.cli.database import CompaniesOption
from ycsync.cli.output import document, span
from ycsync.config import Loaded
from ycsync.errors import ApiError, UsageError, YcsyncError
from ycsync.service import census, subscribe
from ycsync.service.engine import check_tokens, open_engine
from ycsync.service.runtime import open_database
from ycsync.service.subscribe import Address, Subscription
from ycsync.store.hooks import Hooks

SHOW_JSON = """\
One object:
  ok         true: the webhooks of all these salons come here (exit code 0)
  url        our address, its secret hidden
  salons     company, installed, active, others (addresses of others), old (ours with another secret), off (flags that are
             needed and not set), self_sending (false: changes by the token's own user are not told; null: not said),
             error (null: none; then these are null), silent_s (seconds since a webhook of the salon came last; null: none
             ever did)
New keys may be added; none is renamed or removed."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one salon. `now`: how its webhooks are set; None: it is not known, and `problem` says why."""

    company: int
    now: Subscription | None = None
    problem: str | None = None
    note: str = ""
    silent_s: float | None = None


Act = Callable[[Api, int], Awaitable[Told]]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Webhooks: where YCLIENTS sends what changed in a salon.")
    group.command("install")(install)
    group.command("show", epilog=f"\b\n--json: {SHOW_JSON}")(show)
    group.command("remove")(remove)
    app.add_typer(group, name="hooks")


@command
def install(company: CompaniesOption = None, config: ConfigOption = None) -> int:
    """Have the salons' webhooks sent here; all other addresses and flags stay.

    Costs three requests a salon, or one if it is so already.
    """
    loaded = settings_of(config)
    address = _address(loaded, secret=True)
    flags = subscribe.flags_for(loaded.settings.streams)

    async def act(api: Api, one: int) -> Told:
        before = await subscribe.read(api, one)
        now = subscribe.judged(before, address, flags)
        if now.works and not now.old and now.self_sending:
            return Told(one, now, note="was so already")
        wanted = subscribe.installed(before, address, flags)
        after = await subscribe.write(api, one, wanted, address, there=True)
        woken = now.others and not now.active
        note = f"was switched off: {now.others} addresses of others get webhooks again too" if woken else ""
        return Told(one, subscribe.judged(after, address, flags), note=note)

    found = run(_each(loaded, company, act))
    for one in found:
        _print(one, address)
    return 0 if all(one.now is not None and one.now.works for one in found) else 1


@command
def show(company: CompaniesOption = None, as_json: JsonOption = False, config: ConfigOption = None) -> int:
    """Where the salons' webhooks go. Costs a request a salon. Exit code 0: those of all come here; else 1."""
    loaded = settings_of(config)
    address = _address(loaded, secret=False)
    flags = subscribe.flags_for(loaded.settings.streams)

    async def act(api: Api, one: int) -> Told:
        return Told(one, subscribe.judged(await subscribe.read(api, one), address, flags))

    found = run(_each(loaded, company, act, heard=True))
    well = bool(found) and all(one.now is not None and one.now.works for one in found)
    if as_json:
        empty = dict.fromkeys(Subscription.__dataclass_fields__)
        salons = [
            {
                "company": one.company,
                **(empty if one.now is None else asdict(one.now)),
                "error": one.problem,
                "silent_s": one.silent_s,
            }
            for one in found
        ]
        print(document({"ok": well, "url": address.shown, "salons": salons}))
    else:
        for one in found:
            _print(one, address, heard=True)
    return 0 if well else 1


@command
def remove(company: CompaniesOption = None, config: ConfigOption = None) -> int:
    """Have the salons' webhooks not sent here any more; all other addresses and flags stay."""
    loaded = settings_of(config)
    address = _address(loaded, secret=False)

    async def act(api: Api, one: int) -> Told:
        before = await subscribe.read(api, one)
        if not any(map(address.is_ours, subscribe.urls_of(before))):
            return Told(one, subscribe.judged(before, address, ()), note="was so already")
        after = await subscribe.write(api, one, subscribe.removed(before, address), address, there=False)
        return Told(one, subscribe.judged(after, address, ()))

    found = run(_each(loaded, company, act))
    for one in found:
        _print(one, address)
    return 0 if all(one.now is not None and not one.now.installed for one in found) else 1


def _address(loaded: Loaded, *, secret: bool) -> Address:
    """Raises UsageError with what is missing."""
    hooks, secrets = loaded.settings.hooks, loaded.secrets
    if hooks.url is None:
        raise UsageError(
            f"{loaded.path}: hooks.url is empty: write the address by which YCLIENTS reaches this service, "
            "as in https://sync.example.org"
        )
    if secret and secrets.hook_secret is None:
        raise UsageError(
            f"no hook secret: write letters and digits that nobody guesses into {secrets.folder / 'hook_secret'}, or set "
            "YCSYNC_HOOK_SECRET; then restart the service"
        )
    return Address(hooks.url, secrets.hook_secret)


async def _each(loaded: Loaded, companies: list[int] | None, act: Act, *, heard: bool = False) -> list[Told]:
    """Do it for each salon, one after the other, under the budget of all. One's trouble does not stop the others.

    `heard`: say when a webhook came last, too.
    """
    check_tokens(loaded)
    async with _opened(loaded) as (api, hooks, paused, erased):
        if 0 in paused:
            raise YcsyncError("requests are paused: `ycsync resume` lets them leave again, then ask once more.")
        chosen = tuple(companies or ()) or loaded.settings.companies
        if not chosen:
            settings = loaded.settings
            listed = (await census.managed(api, subscribe.TRIES)).salons if settings.needs_common_token else {}
            chosen = tuple(sorted({*listed, *settings.own_tokens} - erased))
        if not chosen:
            raise YcsyncError(f"{census.NO_SALON}. {census.GIVE_ACCESS}")
        told = [await _one(api, company, act, paused, erased) for company in chosen]
        return [replace(one, silent_s=(await hooks.flow(one.company)).silent_s) for one in told] if heard else told


async def _one(api: Api, company: int, act: Act, paused: frozenset[int], erased: frozenset[int]) -> Told:
    if company in erased:
        return Told(
            company, problem=f"it was erased, and nothing is asked there; `ycsync db readmit --company {company}` lifts that"
        )
    if company in paused:
        return Told(company, problem=f"it is paused; `ycsync resume --company {company}` lets requests leave again")
    try:
        return await act(api, company)
    except (ApiError, UsageError, subscribe.NotSubscribed) as exc:
        return Told(company, problem=str(exc).removeprefix(f"salon {company}, hooks_settings: "))


@asynccontextmanager
async def _opened(loaded: Loaded) -> AsyncIterator[tuple[Api, Hooks, frozenset[int], frozenset[int]]]:
    async with (
        open_database(loaded, migrating=True, size=4) as database,
        open_engine(loaded, database, role="hooks") as engine,
    ):
        yield engine.api, Hooks(database), frozenset(await engine.work.pauses()), frozenset(await engine.work.erased())


def _print(one: Told, address: Address, *, heard: bool = False) -> None:
    if one.now is None:
        print(f"salon {one.company}: {one.problem}")
        return
    now = one.now
    parts = [f"sent to {address.shown}" if now.installed else f"not sent to {address.shown}"]
    if now.installed and not now.active:
        parts.append("switched off")
    if now.installed and now.off:
        parts.append(f"without {', '.join(now.off)}")
    if now.installed and now.self_sending is False:
        parts.append("without what the user of the token changes (self_sending 0): `ycsync hooks install` sets it")
    if now.old:
        parts.append(f"{now.old} with an older secret")
    if now.others:
        parts.append(f"{now.others} other address{'' if now.others == 1 else 'es'}")
    if one.note:
        parts.append(one.note)
    if heard:
        parts.append("none came yet" if one.silent_s is None else f"the last one came {span(one.silent_s)} ago")
    print(f"salon {one.company}: {'; '.join(parts)}")
