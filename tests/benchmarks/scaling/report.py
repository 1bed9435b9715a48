"""How are the findings told: tables in Markdown, and the curve of addresses as a picture?"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from benchmarks.scaling.cases import Figures
from benchmarks.scaling.costs import BatchCost, QueueCost
from benchmarks.scaling.load import ZONES, Load, make_places
from benchmarks.scaling.storage import LISTS, SALONS, RowSize
from benchmarks.scaling.year import Found, Year, checks
from ycsync.config import STREAMS

KINDS = ("fill", "delta", "recheck", "lists", "hooks")
QUIET_DAYS, KEPT_DAYS = 7, 365  # how long a batch is remembered (work.sql, forget_batches)
STREAMS_A_SALON = len(STREAMS) + 1  # and the queue of its webhooks


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured beside the simulation."""

    sizes: tuple[RowSize, ...]
    queue: tuple[QueueCost, ...]
    batches: tuple[BatchCost, ...]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; figures stand to the right."""
    cells = [[_cell(one) for one in row] for row in rows]
    right = [bool(rows) and all(not isinstance(row[place], str) for row in rows) for place in range(len(head))]
    line = "|".join("--:" if one else "---" for one in right)
    return "\n".join([f"| {' | '.join(head)} |", f"|{line}|", *(f"| {' | '.join(row)} |" for row in cells)])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def time(seconds: float) -> str:
    """A duration as people say it."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def of_bytes(count: float) -> str:
    """A size as people say it."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _quantiles(figures: Figures | Year) -> tuple[str, str]:
    return time(figures.freshness.quantile(0.5)), time(figures.freshness.quantile(0.99))


def _hooks(yes: bool) -> str:
    return "with" if yes else "without"


def everything(found: Found, measured: Measured | None) -> str:
    """All tables."""
    parts = [
        ("The run", run(found)),
        ("Assumptions", assumptions(found.question.load)),
        ("A year", years(found)),
        ("Addresses needed", addresses(found)),
        ("To fill all salons from empty", fillings(found)),
        ("Hours that are not like others", stretches(found)),
        ("Is what was multiplied right?", checked(found)),
        ("The real queue and the one in memory", exactly(found)),
    ]
    if measured is not None:
        parts += [
            ("Bytes a row", sizes(measured)),
            ("Rows and storage after a year", storage(found, measured)),
            ("What the queue costs", queue(measured)),
            ("What a batch costs", batches(measured)),
        ]
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts) + "\n"


def written(document: str, tables: str) -> str:
    """A document whose tables, the first under each title, are these; its words stay."""
    for part in tables.split("## ")[1:]:
        title, _, text = part.partition("\n")
        fresh = re.search(r"^\|.*?(?=\n[^|]|\n*\Z)", text, re.MULTILINE | re.DOTALL)
        assert fresh is not None
        place = re.compile(rf"(^## {re.escape(title)}\n.*?)^\|.*?(?=\n[^|]|\n*\Z)", re.MULTILINE | re.DOTALL)
        found = place.search(document)
        if found is None or "\n## " in found[1]:
            raise SystemExit(f"the document has no table under '{title}'")
        document = document[: found.start()] + found[1] + fresh[0] + document[found.end() :]
    return document


def run(found: Found) -> str:
    """What was asked for."""
    asked = found.question
    options = (
        ("`--salons`", f"{asked.salons:,}", "whose days are simulated in full"),
        ("`--many`", f"{asked.many:,}", "whose filling, busiest half hour and night are"),
        (
            "`--preset`",
            asked.preset,
            "the budget that an address uses, the interval of batches, the days that a night reads again",
        ),
        ("`--seed`", str(asked.seed), "of every random choice"),
        ("`--exact-minutes`", f"{asked.exact_minutes:g}", "of each stretch on the real queue"),
        ("`--day-hours`", f"{asked.day_hours:g}", "of a simulated day"),
    )
    return table(("Option", "Value", "What"), options)


def assumptions(load: Load) -> str:
    """What is assumed, and the option that changes it."""
    rows: list[tuple[object, ...]] = [
        (f"`--{one.name.replace('_', '-')}`", getattr(load, one.name), one.metadata["what"]) for one in fields(load)
    ]
    zones = ", ".join(f"UTC+{ahead}: {share:g} %" for share, ahead, _ in ZONES)
    return table(("Option", "Value", "What"), rows) + f"\n\nSalons by time zone: {zones}."


def years(found: Found) -> str:
    """Requests by kind, and freshness."""
    rows = [
        (
            year.salons, _hooks(year.hooks), year.addresses, *(round(year.requests.get(kind, 0) / 1e6, 2) for kind in KINDS),
            sum(year.requests.values()) / 1e6, sum(year.requests.values()) / (365 * 1440) / year.addresses, *_quantiles(year),
        )
        for year in found.years
    ]  # fmt: skip
    kinds = [f"{kind}, million" for kind in KINDS]
    head = ("Salons", "Webhooks", "Addresses", *kinds, "all, million", "a minute and address", "p50", "p99")
    return table(head, rows)


def addresses(found: Found) -> str:
    """How many addresses so many salons need."""
    rows = []
    for salons in found.question.curve:
        plain, hooked = (
            next(one for one in found.needed if (one.salons, one.hooks) == (salons, hooks)) for hooks in (False, True)
        )
        assert plain.patient is not None
        rows.append(
            (
                salons, plain.keeps_up.case.addresses, *_quantiles(plain.keeps_up), plain.patient.case.addresses,
                *_quantiles(plain.patient), hooked.keeps_up.case.addresses, *_quantiles(hooked.keeps_up),
            )
        )  # fmt: skip
    head = (
        "Salons", "Every 5 min", "p50", "p99", "p99 within 10 min", "p50", "p99", "Webhooks, and every 30 min", "p50", "p99",
    )  # fmt: skip
    return table(head, rows)


def fillings(found: Found) -> str:
    """How long the first passes take."""
    many = [one for (name, salons, _), one in found.cases.items() if name == "filling" and salons == found.question.many]
    rows = []
    for one in (*found.fills, *many):
        half = one.filled[len(one.filled) // 2] if one.filled else math.inf
        last = time(3600 * one.filled[-1]) if len(one.filled) == one.case.salons else f"not within {one.hours:.0f} h"
        rows.append(
            (
                one.case.salons, one.case.addresses, _hooks(one.case.hooks), one.requests["fill"] + one.requests["lists"],
                one.requests["delta"], time(3600 * half), last, *_quantiles(one),
            )
        )  # fmt: skip
    head = ("Salons", "Addresses", "Webhooks", "Requests to fill", "deltas meanwhile", "half of them", "all", "p50", "p99")
    return table(head, rows)


def stretches(found: Found) -> str:
    """The busiest hour, the night, and a lost address."""
    rows = []
    for (name, salons, hooks), one in found.cases.items():
        if name in ("hour", "night", "two hours", "an address lost for an hour"):
            said = {"hour": "Saturday, from 12 on", "night": "Tuesday, 3 to 4", "two hours": "Tuesday, 12 to 14"}.get(
                name, name
            )
            rows.append(
                (
                    said, salons, _hooks(hooks), one.case.addresses, one.all / one.hours / 60 / one.case.addresses,
                    one.busiest_minute, one.requests["recheck"], *_quantiles(one), time(one.late.quantile(0.99)),
                )
            )  # fmt: skip
    head = (
        "When (Moscow)", "Salons", "Webhooks", "Addresses", "a minute and address", "most in a minute", "rechecks", "p50",
        "p99", "late, p99",
    )  # fmt: skip
    return table(head, sorted(rows, key=lambda row: (str(row[0]), row[1], str(row[2]))))


def checked(found: Found) -> str:
    """How far what was multiplied is from what was enumerated."""
    return table(("What", "Salons", "apart"), [(what, of, f"{share:.1%}") for what, of, share in checks(found)])


def exactly(found: Found) -> str:
    """The same stretch on both queues, with the planner itself on every batch."""
    rows = []
    for memory, real in found.exact:
        same = "the same" if (memory.batches_in_order, memory.count) == (real.batches_in_order, real.count) else "NOT the same"
        rows.append((memory.case.name, memory.case.salons, f"{memory.hours * 60:.0f} min", real.count, real.claims, same))
    return table(("Stretch", "Salons", "Time", "Batches", "Claims", "Work taken, order, instants, requests"), rows)


def sizes(measured: Measured) -> str:
    """Bytes of a row."""
    rows = [(f"`{one.table}`", one.rows, one.table_bytes, one.indexes, one.all, one.after_updates) for one in measured.sizes]
    return table(("Table", "Rows measured", "table", "indexes", "both", "after a year's updates"), rows)


def rows_of(year: Year, found: Found, measured: Measured, *, first: bool = False) -> dict[str, float]:
    """Rows of one salon in the mean, by table, after a year (or on the first day)."""
    places = make_places(found.question.salons, found.question.load, found.question.seed, age_years=0.0 if first else 1.0)
    clients = sum(place.clients for place in places) / len(places)
    visits = sum(place.visits for place in places) / len(places)
    by = {one.table: one for one in measured.sizes}
    lines = by["record_services"].rows / by["records"].rows
    lists = {name: by[name].rows / (SALONS + LISTS) for name in ("services", "service_categories", "staff")}
    all_batches = sum(year.batches_a_day.values())
    told = year.changed_a_day + year.batches_a_day.get("hooks", 0.0)
    kept = QUIET_DAYS * (all_batches - told) + KEPT_DAYS * told
    return {
        "clients": clients, "records": visits, "record_services": visits * lines, **lists,
        "sync_status": STREAMS_A_SALON, "sync_batches": 0.0 if first else kept,
    }  # fmt: skip


def storage(found: Found, measured: Measured) -> str:
    """Rows and bytes by table, of a salon and of all."""
    by = {one.table: one for one in measured.sizes}
    rows: list[tuple[object, ...]] = []
    for year in found.years:
        if year.salons != found.question.salons:
            continue
        total = 0.0
        for name, count in rows_of(year, found, measured).items():
            size = count * by[name].after_updates
            total += size
            rows.append((_hooks(year.hooks), f"`{name}`", count, of_bytes(size), *_times(found, size)))
        rows.append((_hooks(year.hooks), "all", "", of_bytes(total), *_times(found, total)))
    few, many = found.question.salons, found.question.many
    return table(("Webhooks", "Table", "Rows a salon", "a salon", f"{few:,} salons", f"{many:,} salons"), rows)


def _times(found: Found, size: float) -> tuple[str, str]:
    return of_bytes(size * found.question.salons), of_bytes(size * found.question.many)


def queue(measured: Measured) -> str:
    """Statements of the queue by the number of its rows."""
    rows = [
        (
            one.rows,
            one.claim,
            one.claim_all_due,
            one.advance,
            one.finish,
            one.looks,
            one.cpu,
            round(1000 / one.cpu),
            one.standing,
        )
        for one in measured.queue
    ]
    head = (
        "Rows of `sync_status`", "claim, ms", "claim past all that fills, ms", "advance, ms", "finish, ms", "every 4 s, ms",
        "processor a batch, ms", "batches/s of one core", "a look at the standing, processor ms",
    )  # fmt: skip
    return table(head, rows)


def batches(measured: Measured) -> str:
    """A whole quiet delta, of a real service."""
    rows = [
        (one.visits, one.batches_a_second, one.service, one.postgres, f"{one.batches_a_second * one.service / 10:.1f} %",
         f"{one.batches_a_second * one.postgres / 10:.1f} %")
        for one in measured.batches
    ]  # fmt: skip
    head = ("Visits of a salon", "batches/s", "service, ms", "PostgreSQL, ms", "service, of a core", "PostgreSQL, of a core")
    return table(head, rows)


def csv(found: Found) -> str:
    """The curve of addresses."""
    lines = ["salons,webhooks,goal,addresses,p50_s,p99_s,requests_a_minute_and_address"]
    for one in found.needed:
        for goal, figures in (("keeps up", one.keeps_up), ("p99 within 10 min", one.patient)):
            if figures is not None:
                p50, p99 = figures.freshness.quantile(0.5), figures.freshness.quantile(0.99)
                rate = figures.all / figures.hours / 60 / figures.case.addresses
                lines.append(f"{one.salons},{_hooks(one.hooks)},{goal},{figures.case.addresses},{p50},{p99},{rate:.1f}")
    return "\n".join(lines) + "\n"


def curve(found: Found) -> str:
    """The same as a picture: addresses by salons, both logarithmic."""
    width, height, left, bottom = 640, 400, 60, 50
    salons = found.question.curve
    most = max(one.keeps_up.case.addresses for one in found.needed)
    low, high = math.log10(min(salons)), math.log10(max(salons))
    top = math.log10(max(10, most)) * 1.05

    def at(x: float, y: float) -> str:
        across = left + (math.log10(x) - low) / max(high - low, 0.1) * (width - left - 20)
        return f"{across:.0f},{height - bottom - math.log10(y) / top * (height - bottom - 20):.0f}"

    lines = [
        ("every 5 min", "#1f5fbf", [(one.salons, one.keeps_up.case.addresses) for one in found.needed if not one.hooks]),
        ("p99 within 10 min", "#8a8a8a", [(one.salons, one.patient.case.addresses) for one in found.needed if one.patient]),
        (
            "webhooks, and every 30 min",
            "#c2410c",
            [(one.salons, one.keeps_up.case.addresses) for one in found.needed if one.hooks],
        ),
    ]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        "<title>Addresses needed by the number of salons</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for count in salons:
        x, y = at(count, 1).split(",")
        out.append(f'<text x="{x}" y="{int(y) + 18}" text-anchor="middle">{count:,}</text>')
        out.append(f'<path d="M{x} 20V{y}" stroke="#eee"/>')
    for count in (1, 2, 5, 10, 20, 50, 100, 200, 500):
        if count <= 10**top:
            y = at(min(salons), count).split(",")[1]
            out.append(f'<text x="{left - 8}" y="{int(y) + 4}" text-anchor="end">{count}</text>')
            out.append(f'<path d="M{left} {y}H{width - 20}" stroke="#eee"/>')
    for place, (name, colour, points) in enumerate(lines):
        path = " ".join(at(x, y) for x, y in sorted(points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.extend(f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3" fill="{colour}"/>' for p in path.split())
        out.append(f'<text x="{left + 16}" y="{40 + 18 * place}" fill="{colour}">{name}</text>')
    out.append(f'<text x="{width / 2:.0f}" y="{height - 10}" text-anchor="middle">salons</text>')
    out.append(
        f'<text x="14" y="{height / 2:.0f}" transform="rotate(-90 14 {height / 2:.0f})" text-anchor="middle">addresses</text>'
    )
    return "\n".join([*out, "</svg>"]) + "\n"
