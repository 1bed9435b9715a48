"""What do the figures look like? Runs in an environment of its own (requirements-plots.lock).

python plots.py FOLDER        reads FOLDER/result.json, writes PNG and SVG beside it and prints their names
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

Row = dict[str, Any]
COLOURS = {"ycsync": "#0b6e4f", "dlt": "#c1666b", "singer": "#4a6fa5"}
NAMES = {"ycsync": "ycsync", "dlt": "dlt rest_api", "singer": "Singer tap + target"}
CLIENTS = {"100": "100 clients", "1k": "1,000 clients", "10k": "10,000 clients", "100k": "100,000 clients"}


def bars(axes: Any, rows: list[Row], key: str, title: str, unit: str, *, log: bool = False) -> None:
    """Groups of bars: a group for each size, a bar for each program, its value above it."""
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    tools = list(dict.fromkeys(row["tool"] for row in rows))
    width = 0.8 / max(1, len(tools))
    for place, tool in enumerate(tools):
        found = {row["size"]: row[key] for row in rows if row["tool"] == tool and row[key] is not None}
        at = [sizes.index(size) + (place - (len(tools) - 1) / 2) * width for size in found]
        drawn = axes.bar(at, list(found.values()), width * 0.92, label=NAMES[tool], color=COLOURS[tool])
        axes.bar_label(drawn, [f"{value:,.0f}" for value in found.values()], padding=2, fontsize=8)
    axes.set_xticks(range(len(sizes)), [CLIENTS[size] for size in sizes])
    axes.set_title(title, fontsize=11)
    axes.set_ylabel(unit)
    if log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(max(low * 0.5, 0.5), high * 4)
        axes.yaxis.set_major_formatter("{x:,.0f}")
    else:
        axes.set_ylim(0, max(1, axes.get_ylim()[1] * 1.3))
        axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)


def draw(out: Path, name: str, draws: list[Any]) -> str:
    """One picture of several axes, side by side."""
    figure, all_axes = plt.subplots(1, len(draws), figsize=(5.6 * len(draws), 4.2), squeeze=False, layout="constrained")
    for axes, one in zip(all_axes[0], draws, strict=True):
        one(axes)
    all_axes[0][0].legend(frameon=False, fontsize=9, loc="lower right" if name.startswith("memory") else "upper left")
    for ending in ("png", "svg"):
        figure.savefig(out / f"{name}.{ending}", dpi=110)
    plt.close(figure)
    return name


def memory(axes: Any, rows: list[Row], title: str) -> None:
    """Resident memory over the time of a run."""
    for row in rows:
        axes.plot(*zip(*row["samples"], strict=True), label=NAMES[row["tool"]], color=COLOURS[row["tool"]], linewidth=1.5)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel("resident MB, all its processes")
    axes.set_ylim(0, None)
    axes.spines[["top", "right"]].set_visible(False)


def main(folder: str) -> None:
    out = Path(folder)
    result = json.loads((out / "result.json").read_text("utf-8"))
    rows: list[Row] = result["rows"]
    names = []
    # One row a program and size: the quiet pass, or where there was none the changing one.
    first = {
        (row["size"], row["tool"]): row for scenario in ("changing", "quiet") for row in rows if row["scenario"] == scenario
    }
    cost = sorted(first.values(), key=lambda row: list(CLIENTS).index(row["size"]))
    changing = [row for row in rows if row["scenario"] == "changing"]
    killed = [row for row in rows if row["scenario"] == "killed"]
    if cost:
        names.append(
            draw(
                out,
                "cost",
                [
                    lambda axes: bars(axes, cost, "requests", "Requests of a first pass", "requests (log)", log=True),
                    lambda axes: bars(axes, cost, "seconds", "Time of a first pass", "seconds (log)", log=True),
                    lambda axes: bars(axes, cost, "peak_mb", "Memory at most", "resident MB"),
                ],
            )
        )
        largest = cost[-1]["size"]
        names.append(
            draw(
                out,
                "memory",
                [
                    lambda axes: memory(
                        axes, [r for r in cost if r["size"] == largest], f"Memory of a first pass, {CLIENTS[largest]}"
                    )
                ],
            )
        )
    if changing:
        names.append(
            draw(
                out,
                "changing",
                [
                    lambda axes: bars(axes, changing, "next_lost", "Unchanged rows that were lost for good", "rows"),
                    lambda axes: bars(axes, changing, "next_ghosts", "Deleted clients still shown as clients", "rows"),
                ],
            )
        )
    if killed:
        names.append(
            draw(
                out,
                "killed",
                [
                    lambda axes: bars(axes, killed, "repeated_requests", "Requests repeated after SIGKILL", "requests"),
                    lambda axes: bars(axes, killed, "repeated_rows", "Rows read twice after SIGKILL", "rows"),
                ],
            )
        )
    for figure in result["figures"]:
        if figure["samples"]:
            size = figure["what"].split(" clients")[0].replace(",", "")

            def flat(axes: Any, figure: Row = figure) -> None:
                row = {"tool": "ycsync", "samples": figure["samples"]}
                memory(axes, [row], figure["what"].split(", the API")[0] + ", without limits")
                axes.axhline(150, color="#999", linestyle="--", linewidth=1, label="goal: 150 MB")
                axes.set_ylim(0, 170)

            names.append(draw(out, f"memory-{size}", [flat]))
    print(", ".join(names))


if __name__ == "__main__":
    main(*sys.argv[1:])
