"""What would a year of a thousand and of forty thousand salons take? In virtual time, with the real planner and queue.

    python tests/benchmarks/scale.py [--quick] [--out FOLDER | --write DOCUMENT] [--seed N] [--jobs N]
                                     [--salons N] [--many N] [--curve N,N,…] [--preset NAME] [--no-measuring]
                                     [one option for each assumption, see --help]

Prints tables (Markdown) and writes them to FOLDER, with the curve of addresses needed as CSV and SVG. Requests, freshness,
addresses and rows are virtual and the same on every machine for a seed; bytes a row and milliseconds are measured here, at the
end, one thing at a time. docs/scale.md explains what is enumerated and what is multiplied. About 15 minutes on two cores;
--quick: one minute with few salons, to see that it works.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scaling import report
from benchmarks.scaling.costs import batch_cost, queue_costs
from benchmarks.scaling.load import Load
from benchmarks.scaling.storage import row_sizes
from benchmarks.scaling.year import Question, find

CURVE, QUICK_CURVE = "100,300,1000,3000,10000,40000", "50,200"


def measured(quick: bool) -> report.Measured:
    """Bytes and milliseconds, on this machine."""
    if quick:
        return report.Measured(row_sizes(100, 1200, 1000), queue_costs((4000,), 200), (batch_cost(120, 5),))
    rows = (4_000, 40_000, 160_000, 360_000)
    return report.Measured(
        row_sizes(1000, 12_000, 50_000), queue_costs(rows, 2000), (batch_cost(1200, 40), batch_cost(12_000, 40))
    )


def asked() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few salons, short stretches")
    parser.add_argument("--out", type=Path, help="a folder for the tables and the picture")
    parser.add_argument(
        "--write", type=Path, help="a document (docs/scale.md): its tables, the picture beside it, become these"
    )
    parser.add_argument("--salons", type=int, help="1000, whose year is simulated")
    parser.add_argument("--many", type=int, help="40000, whose busiest hours are")
    parser.add_argument("--curve", help=f"{CURVE}: numbers of salons; the other two are added")
    parser.add_argument("--preset", default="aggressive")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="simulations at once")
    parser.add_argument("--day-hours", type=float, help="24: a day is so long; less is for a trial")
    parser.add_argument("--exact-minutes", type=float, help="15: so long are the stretches of the real queue; 0: none")
    parser.add_argument("--no-measuring", action="store_true", help="neither bytes nor milliseconds")
    for one in fields(Load):
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=float, default=one.default, help=one.metadata["what"])
    return parser.parse_args()


def main() -> None:
    """Simulate, measure, print, write."""
    given = asked()
    begun = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {what}", file=sys.stderr, flush=True)

    salons = given.salons or (50 if given.quick else 1000)
    many = given.many or (200 if given.quick else 40_000)
    sizes = {int(one) for one in (given.curve or (QUICK_CURVE if given.quick else CURVE)).split(",")}
    question = Question(
        salons=salons,
        many=many,
        curve=tuple(sorted(sizes | {salons, many})),
        preset=given.preset,
        load=Load(**{one.name: getattr(given, one.name) for one in fields(Load)}),
        seed=given.seed,
        jobs=given.jobs,
        exact_minutes=(3 if given.quick else 15) if given.exact_minutes is None else given.exact_minutes,
        day_hours=given.day_hours or (4 if given.quick else 24),
    )
    found = find(question, say)
    found_here = None
    if not given.no_measuring:
        say("bytes and milliseconds")
        found_here = measured(given.quick)
    text = report.everything(found, found_here)
    print(text)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "scale.md").write_text(text, "utf-8")
        (given.out / "addresses.csv").write_text(report.csv(found), "utf-8")
        (given.out / "addresses.svg").write_text(report.curve(found), "utf-8")
    if given.write is not None:
        given.write.write_text(report.written(given.write.read_text("utf-8"), text), "utf-8")
        given.write.with_name("scale-addresses.svg").write_text(report.curve(found), "utf-8")
    say("done")
    if any(memory.batches_in_order != real.batches_in_order for memory, real in found.exact):
        raise SystemExit("The queue in memory does not do what the real one does: the figures above are not to be trusted.")


if __name__ == "__main__":
    main()
