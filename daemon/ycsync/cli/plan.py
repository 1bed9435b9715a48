"""`ycsync plan`: what would each preset cost, in bulk and one request a client, and which way does ycsync take?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from ycsync.cli.common import ConfigOption, JsonOption, command, run, settings_of
from ycsync.cli.output import Grid, narrow, number, percent, show, span
from ycsync.config import Loaded, Settings
from ycsync.errors import ApiError, DatabaseError, UsageError
from ycsync.model.streams import DECLARED
from ycsync.plan.cost import (
    KEYS_DO_NOT_HELP,
    RTT_S,
    Cost,
    Counts,
    addresses_needed,
    bulk_requests,
    by_client_requests,
    estimate_all,
    prefers_by_client,
    quiet_requests_per_day,
)

# Counts that are given need no database and no client: `_stored` and `_live` import what they use.
AT_ONCE = 6
DOCUMENTED_PAGE = 300
COSTS = ("requests", "batches", "duration", "limit", "risk")

PLAN_JSON = """\
One object:
  source     given | database | live: where the counts are from
  salons     company (null: given), clients, visits
  limits     minute, second: the API's; rtt_s: the time to an answer that is reckoned with
  picks      way: bulk | by_client, how visits are fetched, and why
  own_presets  company, preset: salons that have one of their own, which `presets` does not reckon with
  quiet      requests_per_cycle, requests_per_day: of one salon in which nothing happens; addresses: so many IP
             addresses keep all salons fresh under the preset in force
  presets    name, active, start_at (null: at once), and bulk and by_client, each with requests, batches,
             duration_s, low_s, high_s, requests_per_minute, share_of_limit (0 to 1), risk
New keys may be added; none is renamed or removed."""


@dataclass(frozen=True, slots=True)
class Size:
    """One salon; `company` None: as given on the command line."""

    company: int | None
    clients: int
    visits: int


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", epilog=f"\b\n--json: {PLAN_JSON}")(plan)


@command
def plan(
    live: Annotated[bool, typer.Option("--live", help="Ask YCLIENTS how large the salons are: 2 requests each.")] = False,
    clients: Annotated[int | None, typer.Option("--clients", min=0, metavar="N", help="Of a salon.")] = None,
    visits: Annotated[int | None, typer.Option("--visits", min=0, metavar="M", help="Of a salon.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """What each preset would cost to fill an empty database, and the old way, one request a client, beside it.

    Without options the salons in the database are reckoned with.
    """
    loaded = settings_of(config)
    if live and (clients is not None or visits is not None):
        raise UsageError("--live asks YCLIENTS for the counts: leave --clients and --visits away.")
    if (clients is None) != (visits is None):
        raise UsageError("give both --clients N and --visits M, or neither.")
    if clients is not None and visits is not None:
        source, sizes = "given", [Size(None, clients, visits)]
    elif live:
        source, sizes = "live", run(_live(loaded))
    else:
        source, sizes = "database", run(_stored(loaded))
    settings = loaded.settings
    if as_json:
        print(json.dumps(_as_json(settings, source, sizes), indent=2))
    else:
        _print(settings, source, sizes)
    return 0


async def _stored(loaded: Loaded) -> list[Size]:
    """The salons as the database knows them."""
    from ycsync.cli.reading import reading
    from ycsync.store.report import Report

    try:
        async with reading(loaded) as database:
            found = await Report(database).counts()
    except DatabaseError as error:
        raise UsageError(f"{error}\nOr give the counts: --clients N --visits M, or --live to ask YCLIENTS.") from error
    wanted = loaded.settings.companies
    sizes = [
        Size(salon.company, salon.clients, salon.visits)
        for salon in found
        if (not wanted or salon.company in wanted) and salon.clients + salon.visits > 0
    ]
    if not sizes:
        raise UsageError("the database holds no salon yet: give --clients N --visits M, or --live to ask YCLIENTS.")
    return sizes


async def _live(loaded: Loaded) -> list[Size]:
    """The salons as YCLIENTS counts them, under the same budget as everything else that leaves this address."""
    import asyncio

    from ycsync.service import census
    from ycsync.service.engine import open_engine
    from ycsync.service.runtime import open_database

    async with (
        open_database(loaded, migrating=True, size=4) as database,
        open_engine(loaded, database, role="plan") as engine,
    ):
        tries = loaded.settings.active.max_retries + 1
        settings = loaded.settings
        companies = settings.companies
        if not companies:
            companies = tuple(sorted({*(await census.managed(engine.api, tries)).salons, *settings.own_tokens}))
        erased = await engine.work.erased()  # no request leaves for them
        companies = tuple(company for company in companies if company not in erased)
        if not companies:
            raise ApiError(f"companies: {census.NO_SALON}. {census.GIVE_ACCESS}")
        places = asyncio.Semaphore(AT_ONCE)

        async def size(company: int) -> Size:
            async with places:
                clients = await census.clients(engine.api, company, tries)
                visits = await census.visits(engine.api, company, tries)
                return Size(company, clients, visits)

        tasks = [asyncio.create_task(size(company)) for company in companies]
        try:
            return [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _costs(settings: Settings, sizes: Sequence[Size]) -> list[tuple[str, Cost, Cost]]:
    """Every preset: in bulk, and one request a client."""
    salons = [Counts(size.clients, size.visits) for size in sizes]
    return [
        (
            name,
            estimate_all(preset, settings.yclients, salons),
            estimate_all(preset, settings.yclients, salons, by_client=True),
        )
        for name, preset in settings.presets.items()
    ]


def _picks(settings: Settings, sizes: Sequence[Size]) -> tuple[str, str]:
    """How visits are fetched, and why."""
    bulk = sum(bulk_requests(size.visits) for size in sizes)
    single = sum(by_client_requests(size.clients) for size in sizes)
    figures = f"the visits take about {number(bulk)} requests in bulk, {number(single)} client by client"
    if settings.history == "by_client":
        return "by_client", f"the configuration says history: by_client; {figures}"
    if settings.history == "bulk":
        return "bulk", f"the configuration says history: bulk; {figures}"
    few = sum(prefers_by_client(size.clients, size.visits) for size in sizes)
    if few == len(sizes):
        return "by_client", f"the cheaper one: {figures}"
    rest = f"; {few} of {len(sizes)} salons have so few clients that theirs go client by client" if few else ""
    return "bulk", f"the cheaper one: {figures}{rest}"


def _print(settings: Settings, source: str, sizes: Sequence[Size]) -> None:
    clients, visits = sum(size.clients for size in sizes), sum(size.visits for size in sizes)
    limits = settings.yclients
    salons = f"{len(sizes)} salons, " if len(sizes) > 1 else ""
    origin = {"given": "as given", "database": "as the database has them", "live": "as YCLIENTS counts them"}[source]
    print(f"{salons}{number(clients)} clients, {number(visits)} visits, {origin}; into an empty database")
    print(f"limits {limits.per_minute} requests a minute, {limits.per_second} a second; answers in {RTT_S * 1000:.0f} ms\n")
    _show(settings, _costs(settings, sizes))
    way, why = _picks(settings, sizes)
    print(f"\nycsync goes {'in bulk' if way == 'bulk' else 'client by client'}: {why}.")
    small = sum(bulk_requests(size.visits, DOCUMENTED_PAGE) for size in sizes)
    if small > sum(bulk_requests(size.visits) for size in sizes):
        print(f"If YCLIENTS gives only {DOCUMENTED_PAGE} visits a page, the visits take about {number(small)} requests.")
    waits = [f"{name} at {preset.start_at:%H:%M}" for name, preset in settings.presets.items() if preset.start_at]
    if waits:
        print(f"A first pass waits for its time of day: {', '.join(waits)}; the durations begin there.")
    if own := [size.company for size in sizes if size.company in settings.own_presets]:
        print(
            f"Not reckoned with: {len(own)} of these salons {'has a preset' if len(own) == 1 else 'have presets'} of their own."
        )
    a_day = quiet_requests_per_day(settings.streams)
    if declared := [stream for stream in DECLARED if settings.streams.get(stream) is not None]:
        print(f"Not reckoned with: the first pass of {', '.join(declared)}; nobody knows beforehand how much they hold.")
    print(f"After that a quiet salon takes 2 requests a cycle, {number(a_day)} a day, and its nightly recheck.")
    budget = _budget(settings)
    needed = addresses_needed(len(sizes), settings.streams, budget)
    if needed > 1:
        cycles = number(round(a_day * len(sizes) / 1440))
        print(
            f"To keep {len(sizes)} salons fresh takes {cycles} requests a minute; preset {settings.preset} sends {budget}: "
            f"{needed} IP addresses, or a longer cadence in `streams`."
        )
    print(f"{KEYS_DO_NOT_HELP}.")
    print("limit: the largest share of it that is used in any minute or second; what is left is for other programs.")


def _budget(settings: Settings) -> int:
    """Requests a minute that the preset in force sends from one address."""
    return min(settings.active.per_minute, settings.yclients.per_minute)


def _show(settings: Settings, costs: list[tuple[str, Cost, Cost]]) -> None:
    """Both ways side by side; on a narrow terminal one below the other."""
    names = [f"{'*' if name == settings.preset else ' '} {name}" for name, _, _ in costs]
    bulk = _grid("in bulk", names, [cost for _, cost, _ in costs])
    single = _grid("one a client", names, [cost for _, _, cost in costs])
    both = Grid(
        (*bulk.headers, *(f"\n{header}" if "\n" not in header else header for header in single.headers[1:])),
        [(*one, *other[1:]) for one, other in zip(bulk.rows, single.rows, strict=True)],
        {*bulk.right, *single.right, *(f"\n{header}" for header in single.right)},
    )
    if narrow(both):
        show(bulk)
        print()
        show(single)
    else:
        show(both)


def _grid(way: str, names: Sequence[str], costs: Sequence[Cost]) -> Grid:
    headers = ("preset", f"{way}\n{COSTS[0]}", *COSTS[1:])
    return Grid(headers, [(name, *_cells(cost)) for name, cost in zip(names, costs, strict=True)], frozenset(headers[1:5]))


def _cells(cost: Cost) -> tuple[str, ...]:
    return (
        number(cost.requests), number(cost.batches), span(cost.duration_s), percent(cost.share_of_limit), cost.risk,
    )  # fmt: skip


def _as_json(settings: Settings, source: str, sizes: Sequence[Size]) -> dict[str, Any]:
    way, why = _picks(settings, sizes)
    limits = settings.yclients
    return {
        "source": source,
        "salons": [asdict(size) for size in sizes],
        "limits": {"minute": limits.per_minute, "second": limits.per_second, "rtt_s": RTT_S},
        "picks": {"way": way, "why": why},
        "quiet": {
            "requests_per_cycle": sum(settings.streams.get(name) is not None for name in ("clients", "records")),
            "requests_per_day": quiet_requests_per_day(settings.streams),
            "addresses": addresses_needed(len(sizes), settings.streams, _budget(settings)),
        },
        "own_presets": [{"company": company, "preset": preset} for company, preset in settings.own_presets.items()],
        "presets": [
            {
                "name": name,
                "active": name == settings.preset,
                "start_at": f"{start:%H:%M}" if (start := settings.presets[name].start_at) else None,
                "bulk": _cost_json(bulk),
                "by_client": _cost_json(single),
            }
            for name, bulk, single in _costs(settings, sizes)
        ],
    }


def _cost_json(cost: Cost) -> dict[str, Any]:
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(cost).items()}
    return rounded
