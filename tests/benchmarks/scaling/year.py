"""What is simulated for a year, and how does a year come of it?

Enumerated, batch by batch: the filling of all salons, a Tuesday, a Saturday, a Sunday, and a Tuesday a year later.
Multiplied: a week is four Tuesdays (Monday to Thursday), two Saturdays (and Friday) and a Sunday; a year is 365/7 weeks, half
way between the first and the last. Of the many salons their filling, an hour of a Saturday and a night are enumerated; their
year is that of the fewer ones by the number of salons. What is multiplied is checked: another day, another age, the hour and
the night of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from benchmarks.scaling.cases import (
    MINUTE,
    MOSCOW,
    SATURDAY,
    SUNDAY,
    TUESDAY,
    WEDNESDAY,
    Case,
    Figures,
    Needed,
    moscow,
    needed,
    simulate,
    simulate_really,
)
from benchmarks.scaling.freshness import Freshness
from benchmarks.scaling.load import HOUR, Load

DAYS = (
    ("Tuesday", TUESDAY, 0.0),
    ("Wednesday", WEDNESDAY, 0.0),
    ("Saturday", SATURDAY, 0.0),
    ("Sunday", SUNDAY, 0.0),
    ("Tuesday, a year later", TUESDAY, 1.0),
)
WEEK = {"Tuesday": 4, "Saturday": 2, "Sunday": 1}
A = TypeVar("A")
B = TypeVar("B")
WEEKS = 365 / 7
ONE_MONDAY = 10 * HOUR - MOSCOW  # an engineer starts the service


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for."""

    salons: int
    many: int
    curve: tuple[int, ...]
    preset: str
    load: Load
    seed: int
    jobs: int
    exact_minutes: float
    day_hours: float = 24.0  # less than a day: for a trial


@dataclass(frozen=True, slots=True)
class Year:
    """A year of so many salons, with or without hooks."""

    salons: int
    hooks: bool
    addresses: int
    requests: dict[str, float]
    freshness: Freshness
    changes: float
    batches_a_day: dict[str, float]
    changed_a_day: float


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that was simulated."""

    question: Question
    needed: tuple[Needed, ...]
    cases: dict[tuple[str, int, bool], Figures]
    exact: tuple[tuple[Figures, Figures], ...]  # in memory, and on the real queue
    fills: tuple[Figures, ...]
    years: tuple[Year, ...]


def find(question: Question, say: Callable[[str], None]) -> Found:
    """Simulate all of it, in as many processes as asked for."""
    with _workers(question.jobs) as pool:
        asked = [
            (salons, hooks, question.preset, question.load, question.seed)
            for salons in sorted(question.curve, reverse=True)
            for hooks in (False, True)
        ]
        say(f"addresses needed by {', '.join(map(str, sorted(question.curve)))} salons")
        found = tuple(pool.map(needed, asked))
        by = {(one.salons, one.hooks): one.keeps_up.case.addresses for one in found}
        say("days, fillings, hours; the real queue")
        cases, exact, fills = _cases(question, by), _exact(question, by), _fills(question, by[question.salons, False])
        told = list(pool.map(simulate, [*cases, *exact, *fills]))
        really = list(pool.map(simulate_really, exact))
    first, last = len(cases), len(cases) + len(exact)
    pairs = tuple(zip(told[first:last], really, strict=True))
    known = {(one.case.name, one.case.salons, one.case.hooks): one for one in told[:first]}
    years = tuple(
        _year(question, known, salons, hooks) for salons in (question.salons, question.many) for hooks in (False, True)
    )
    return Found(question, found, known, pairs, tuple(told[last:]), years)


class _Alone:
    """One after the other, in this process."""

    def map(self, function: Callable[[A], B], given: Iterable[A]) -> Iterator[B]:
        """As an executor's."""
        return map(function, given)


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor | _Alone]:
    if jobs == 1:
        yield _Alone()
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield pool


def _cases(question: Question, addresses: dict[tuple[int, bool], int]) -> list[Case]:
    cases: list[Case] = []
    for hooks in (False, True):
        for salons in (question.many, question.salons):
            case = Case(
                "", salons, addresses[salons, hooks], 0, 0, hooks=hooks, preset=question.preset, load=question.load,
                seed=question.seed,
            )  # fmt: skip
            cases.append(replace(case, name="filling", fill=True, begin=ONE_MONDAY, length=20 * HOUR))
            warm = (30 if hooks else 15) * MINUTE
            cases.append(replace(case, name="hour", begin=moscow(SATURDAY, 12), length=HOUR // 2, warm=warm))
            cases.append(replace(case, name="night", begin=moscow(TUESDAY, 3), length=HOUR, warm=warm))
            if salons == question.salons:
                day = replace(case, length=round(question.day_hours * HOUR))
                for name, when, age in DAYS:
                    if hooks and name == "Wednesday":
                        continue
                    cases.append(replace(day, name=name, begin=moscow(when, 0), age=age))
                noon = moscow(TUESDAY, 12)
                cases.append(replace(case, name="two hours", begin=noon, length=2 * HOUR))
                cases.append(
                    replace(case, name="an address lost for an hour", begin=noon, length=2 * HOUR, lost=(noon, noon + HOUR))
                )
    return cases


def _exact(question: Question, addresses: dict[tuple[int, bool], int]) -> list[Case]:
    """Stretches for the planner itself and the real queue."""
    length = round(question.exact_minutes * MINUTE)
    if not length:
        return []
    case = Case(
        "", question.salons, addresses[question.salons, False], 0, length, exact=True, preset=question.preset,
        load=question.load, seed=question.seed,
    )  # fmt: skip
    hooked = replace(case, addresses=addresses[question.salons, True], hooks=True)
    return [
        replace(case, name="filling", fill=True, begin=ONE_MONDAY),
        replace(case, name="night", begin=moscow(TUESDAY, 3) - length // 3, warm=0),
        replace(hooked, name="noon, with webhooks", begin=moscow(SATURDAY, 12), warm=0),
    ]


def _fills(question: Question, usual: int) -> list[Case]:
    case = Case(
        "filling", question.salons, 1, ONE_MONDAY, 40 * HOUR, fill=True, preset=question.preset, load=question.load,
        seed=question.seed,
    )  # fmt: skip
    return [replace(case, addresses=count) for count in sorted({1, usual, 2 * usual, 4 * usual})]


def _year(question: Question, known: dict[tuple[str, int, bool], Figures], salons: int, hooks: bool) -> Year:
    """Four Tuesdays, two Saturdays and a Sunday, and growth."""
    few = question.salons
    times = salons / few
    per_day = 24 / question.day_hours
    first, last = known["Tuesday", few, hooks], known["Tuesday, a year later", few, hooks]
    week: Counter[str] = Counter()
    batches: Counter[str] = Counter()
    fresh = Freshness()
    changes = changed = 0.0
    for name, days in WEEK.items():
        day = known[name, few, hooks]
        for kind, count in day.requests.items():
            week[kind] += round(days * count * per_day)
        for kind, count in day.batches.items():
            batches[kind] += round(days * count * per_day)
        fresh.add(day.freshness, days)
        changes += days * day.changes * per_day
        changed += days * day.changed_batches * per_day
    grown = {kind: (1 + last.requests[kind] / max(1, first.requests[kind])) / 2 for kind in week}
    requests = {kind: count * WEEKS * times * grown[kind] for kind, count in week.items()}
    filling = known["filling", salons, hooks]
    for kind in ("fill", "lists"):
        requests[kind] = requests.get(kind, 0.0) + filling.requests[kind]
    if salons != few:
        fresh = Freshness()
        hour, night = known["hour", salons, hooks], known["night", salons, hooks]
        # Addresses that are used a little more make the cycle a little longer.
        same = known["hour", few, hooks]
        requests["delta"] *= hour.requests["delta"] / hour.hours / salons / (same.requests["delta"] / same.hours / few)
        fresh.add(night.freshness, 7)
        rest = max(0.0, changes * times - 7 * night.changes)
        fresh.add(hour.freshness, rest / hour.changes)
    growth = (1 + last.changes / first.changes) / 2
    return Year(
        salons=salons,
        hooks=hooks,
        addresses=filling.case.addresses,
        requests=requests,
        freshness=fresh,
        changes=changes * WEEKS * times * growth,
        batches_a_day={kind: count / 7 / few for kind, count in batches.items()},
        changed_a_day=changed / 7 / few,
    )


def within(found: Sequence[float]) -> float:
    """How far figures that should be equal lie apart, of the larger."""
    return (max(found) - min(found)) / max(*found, 1e-9)


def checks(found: Found) -> list[tuple[str, str, float]]:
    """What was multiplied, and how far it is from what was enumerated: (what, of, share)."""
    question = found.question
    rows: list[tuple[str, str, float]] = []
    for hooks in (False, True):
        said = "with webhooks" if hooks else "without"

        def of(name: str, salons: int, hooks: bool = hooks) -> Figures:
            return found.cases[name, salons, hooks]

        few, many = question.salons, question.many
        if not hooks:
            rows.append(
                ("Tuesday and Wednesday, requests", str(few), within([of("Tuesday", few).all, of("Wednesday", few).all]))
            )
            both = [of(name, few).freshness.quantile(0.99) for name in ("Tuesday", "Wednesday")]
            rows.append(("Tuesday and Wednesday, freshness p99", str(few), within(both)))
        both = [of(name, few).freshness.quantile(0.5) for name in ("Saturday", "hour")]
        rows.append((f"the Saturday and its noon, freshness p50, {said}", str(few), within(both)))
        for name in ("hour", "night"):
            both = [of(name, few).all / few, of(name, many).all / many]
            rows.append((f"{name} of {few} and of {many}, requests a salon, {said}", str(many), within(both)))
    return rows
