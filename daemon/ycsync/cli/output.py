"""How are tables, spans of time and numbers shown: drawn on a terminal, plain and aligned elsewhere?"""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ycsync.cli.common import colour

COLOURS = {
    "fresh": "green",
    "PASS": "green",
    "filling": "cyan",
    "waiting": "yellow",
    "stale": "yellow",
    "stopped": "red",
    "FAIL": "red",
    "off": "dim",
    "ok": "green",
    "WARN": "yellow",
    "-": "dim",
    "High": "red",
    "Low": "green",
    "Very low": "green",
    "Minimal": "green",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: `right` names the columns of figures. A header may have several lines."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: Collection[str] = field(default_factory=frozenset)

    def plain(self) -> str:
        """Aligned text, two spaces between the columns."""
        heads = [header.split("\n") for header in self.headers]
        height = max(map(len, heads))
        lines = list(zip(*([""] * (height - len(head)) + head for head in heads), strict=True)) + list(self.rows)
        widths = [max(cell_len(line[n]) for line in lines) for n in range(len(self.headers))]
        return "\n".join("  ".join(self._cells(line, widths)).rstrip() for line in lines)

    def _cells(self, line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
        for cell, width, header in zip(line, widths, self.headers, strict=True):
            space = " " * (width - cell_len(cell))
            yield space + cell if header in self.right else cell + space

    def drawn(self) -> Table:
        """The same for a terminal."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for n, header in enumerate(self.headers):
            # Where it is narrow the first column, a name, gives way.
            table.add_column(Text(header), justify="right" if header in self.right else "left", no_wrap=n > 0, vertical="top")
        for row in self.rows:
            table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
        return table


def show(grid: Grid) -> None:
    """Print the table as the output wants it."""
    if colour():
        Console(highlight=False).print(grid.drawn())
    else:
        print(grid.plain())


def document(value: object, indent: int | None = 2) -> str:
    """JSON with the letters as they are, or escaped where the output does not take all of them: nothing of it is lost."""
    every = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    return json.dumps(value, ensure_ascii=not every, indent=indent)


def narrow(grid: Grid) -> bool:
    """Is it too wide for the terminal? Never true elsewhere."""
    return colour() and max(map(cell_len, grid.plain().splitlines())) > Console().width


def painted(word: str, width: int = 0) -> str:
    """The word, at least so wide, coloured on a terminal."""
    codes = {"green": "32", "red": "31", "yellow": "33", "dim": "2"}
    text = f"{word:<{width}}"
    return f"\x1b[{codes[COLOURS[word]]}m{text}\x1b[0m" if colour() else text


def span(seconds: float | None) -> str:
    """`40 s`, `12 min`, `1 h 05 min`, `3 d 4 h`; a dash for None."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest:02d} s" if minutes < 10 and rest else f"{minutes} min"
    minutes = round(whole / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def number(value: int) -> str:
    """Digits in groups of three."""
    return f"{value:,}"


def percent(share: float) -> str:
    """`80 %`."""
    return f"{share * 100:.0f} %"
