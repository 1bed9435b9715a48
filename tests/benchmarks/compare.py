"""How fast, how careful and how small is ycsync, and how is it beside dlt and a Singer tap doing the same job?

    python tests/benchmarks/compare.py [--sizes 1k,10k,100k] [--tools ycsync,dlt,singer] [--out FOLDER]
                                       [--only figures|comparison] [--real-limit] [--quick] [--json]

Every program reads one simulated salon (clients, visits, services, staff) into an empty PostgreSQL, over HTTP at 250 ms an
answer: a quiet salon; one that changes three times after every answer; and one run that is killed in the middle and started
again. Beside that stand the figures of ycsync that docs/benchmarks.md names, each with its goal. dlt, the Singer tap and its
target, and what draws the plots, are installed from PyPI into .cache/benchmarks, as the lock files beside this one say. Tables
(Markdown, CSV), plots (SVG, PNG) and all figures (JSON) go into the folder, by default .cache/benchmarks/results.

At 100k the API's limits are switched off, unless --real-limit: 1,500 requests would take 8 minutes of waiting. --quick: a tiny
salon that changes, nothing but ycsync: it tries this script, it measures nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.comparison import figures, report
from benchmarks.comparison.environments import CACHE, Unavailable
from benchmarks.comparison.scenarios import SIZES, Measured, Place, Size, changing, first_pass, killed, place
from benchmarks.comparison.tools import TOOLS, Tool


def compare(tool: Tool, size: Size, where: Place) -> list[Measured]:
    """Every scenario. Where a run is long, or only tried, there is one, and the salon changes in it."""

    def database() -> str:
        return asyncio.run(where.database())

    if size.clients >= 100_000 or size.clients <= 100:
        return [changing(tool, size, where, database())]
    quiet = first_pass(tool, size, where, database())
    rows = [quiet, changing(tool, size, where, database())]
    if quiet.code == 0 and quiet.requests is not None:
        rows.append(killed(tool, size, where, database(), quiet.requests))
    return rows


def comparison(names: list[str], sizes: list[Size], out: Path, *, durable: bool) -> tuple[list[Measured], dict[str, str]]:
    """All rows, and each program's version or why it could not be measured."""
    rows: list[Measured] = []
    versions: dict[str, str] = {}
    with place(out / "logs", durable=durable) as where:
        for name in names:
            tool = TOOLS[name]
            try:
                tool.prepare()
            except Unavailable as exc:
                versions[name] = f"not measured: {exc}"
                continue
            versions[name] = tool.version()
        for size in sizes:
            for name in names:
                if not versions[name].startswith("not measured"):
                    print(f"{time.strftime('%H:%M:%S')} {name}, {size.name}", file=sys.stderr, flush=True)
                    rows += compare(TOOLS[name], size, where)
                    report.save(out, "comparison", [asdict(row) for row in rows])
    return rows, versions


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1k,10k,100k", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--out", type=Path, default=CACHE / "results")
    parser.add_argument("--only", choices=("figures", "comparison"))
    parser.add_argument("--real-limit", action="store_true", help="the API's limits also with 100,000 clients")
    parser.add_argument("--quick", action="store_true", help="tries the script: a tiny salon, only ycsync")
    parser.add_argument("--json", action="store_true", help="print the figures instead of the tables")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    out: Path = asked.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    names = ["ycsync"] if asked.quick else asked.tools.split(",")
    sizes = [SIZES["100"]] if asked.quick else [SIZES[name] for name in asked.sizes.split(",")]
    if asked.real_limit:
        sizes = [replace(size, limited=True) for size in sizes]
    result = report.Result(report.machine(), " ".join(["python", *sys.argv]))
    if asked.only != "comparison" and not asked.quick:
        result.figures = [asdict(one) for one in figures.all_of_them(sizes, out)]
    if asked.only != "figures":
        rows, result.versions = comparison(names, sizes, out, durable=not asked.quick)
        result.rows = [asdict(row) for row in rows]
    report.write(out, result, draw=not asked.quick)
    print(json.dumps(asdict(result)) if asked.json else (out / "tables.md").read_text("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
