"""Tables, plots and figures: what is written into the folder of a benchmark's results?"""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.comparison.environments import Unavailable, environment

Row = dict[str, Any]
Column = tuple[str, str]  # heading, key


@dataclass(slots=True)
class Result:
    """Everything that one run of compare.py found."""

    machine: str
    command: str
    versions: dict[str, str] = field(default_factory=dict)
    figures: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


COST: tuple[Column, ...] = (
    ("Program", "tool"), ("Salon", "size"), ("Limit", "limited"), ("Requests", "requests"), ("Seconds", "seconds"),
    ("429", "refused"), ("Most in 1 s", "max_1s"), ("in 60 s", "max_60s"), ("Peak MB", "peak_mb"), ("CPU s", "cpu_s"),
    ("", "note"),
)  # fmt: skip
CHANGING: tuple[Column, ...] = (
    ("Program", "tool"), ("Salon", "size"), ("Rows at the end", "held"), ("Lost", "lost"), ("Missing", "missing"),
    ("Stale", "stale"), ("Gone, shown", "ghosts"), ("Next run: requests", "next_requests"), ("lost", "next_lost"),
    ("missing", "next_missing"), ("stale", "next_stale"), ("gone, shown", "next_ghosts"),
)  # fmt: skip
KILLED: tuple[Column, ...] = (
    ("Program", "tool"), ("Salon", "size"), ("Killed after", "killed_after"), ("Requests in all", "requests"),
    ("Requests repeated", "repeated_requests"), ("Rows read twice", "repeated_rows"), ("Missing", "missing"),
)  # fmt: skip
TABLES = (
    ("cost", "First pass of a quiet salon into an empty database", "quiet", COST),
    ("changing-cost", "First pass of a salon that changes three times after every answer", "changing", COST),
    ("changing", "What is stored of it, and after one more run when nothing changes any more", "changing", CHANGING),
    ("killed", "SIGKILL after half of the requests, then started again", "killed", KILLED),
)


def machine() -> str:
    """Where and when."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        memory = int(lines.readline().split()[1]) / 1e6
    load = os.getloadavg()[0]
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{now}, {os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}, load before: {load:.1f}"


def save(out: Path, name: str, rows: list[Row]) -> None:
    """Figures as they are found: a run that is stopped loses none."""
    (out / f"{name}.json").write_text(json.dumps(rows), "utf-8")


def write(out: Path, result: Result, *, draw: bool) -> None:
    """Everything; a plot that cannot be drawn is said in the tables."""
    (out / "result.json").write_text(json.dumps(asdict(result)), "utf-8")
    drawn = _draw(out) if draw else "not drawn"
    parts = [f"{result.machine}. `{result.command}`"]
    parts += [f"{name}: {version}" for name, version in result.versions.items()]
    if result.figures:
        parts.append("## Goals\n\n" + _figures(result.figures))
        _csv(out / "goals.csv", [("What", "what"), ("Goal", "goal"), ("Measured", "measured"), ("Met", "met")], result.figures)
    for name, title, scenario, columns in TABLES:
        rows = [row for row in result.rows if row["scenario"] == scenario]
        if rows:
            parts.append(f"## {title}\n\n{table(columns, rows)}")
            _csv(out / f"{name}.csv", columns, rows)
    parts.append(f"Plots: {drawn}")
    (out / "tables.md").write_text("\n\n".join(parts) + "\n", "utf-8")


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Markdown."""
    used = [(heading, key) for heading, key in columns if key != "note" or any(row["note"] for row in rows)]
    lines = ["| " + " | ".join(heading for heading, _ in used) + " |", "|" + "---|" * len(used)]
    lines += ["| " + " | ".join(_text(key, row[key]) for _, key in used) + " |" for row in rows]
    return "\n".join(lines)


def _figures(figures: Sequence[Row]) -> str:
    lines = ["| What | Goal | Measured | |", "|---|---|---|---|"]
    lines += [
        f"| {row['what']} | {row['goal']} | {row['measured']} | {'met' if row['met'] else '**missed**'} |" for row in figures
    ]
    return "\n".join(lines)


def _text(key: str, value: object) -> str:
    if value is None:
        return "–"
    if key == "limited":
        return "5/s, 200/min" if value else "off"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _csv(path: Path, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([heading or "Note" for heading, _ in columns])
        writer.writerows([row[key] for _, key in columns] for row in rows)


def _draw(out: Path) -> str:
    try:
        python = environment("plots") / "python"
    except Unavailable as exc:
        return f"not drawn: {exc}"
    script = Path(__file__).with_name("plots.py")
    done = subprocess.run([str(python), str(script), str(out)], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"not drawn: {done.stderr.strip().splitlines()[-1]}"
