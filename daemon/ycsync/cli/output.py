"""How are tables, spans of time and numbers shown: drawn on a terminal, plain and aligned elsewhere?"""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

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
_CODES = {"green": "32", "red": "31", "yellow": "33", "cyan": "36", "dim": "2"}
LEAST_NAME = 6
COLUMNS, ROWS = 80, 24  # of a terminal that does not know its size


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: `right` names the columns of figures. A header may have several lines."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: Collection[str] = field(default_factory=frozenset)

    def plain(self) -> str:
        """Aligned text, two spaces between the columns."""
        widths = self._widths()
        return "\n".join("  ".join(self._cells(line, widths)).rstrip() for line in (*self._heads(), *self.rows))

    def drawn(self, width: int) -> str:
        """The same for a terminal so wide. Where it is narrow the first column, a name, gives way."""
        widths = self._widths()
        widths[0] = max(LEAST_NAME, widths[0] - max(0, _total(widths) - width))
        heads = [f"\x1b[1m{'  '.join(self._cells(line, widths)).rstrip()}\x1b[0m" for line in self._heads()]
        lines = ("  ".join(map(_coloured, self._cells(line, widths))).rstrip() for line in self.rows)
        rule = ("─" if _takes_every_letter() else "-") * _total(widths)
        return "\n".join((*heads, rule, *lines))

    def _heads(self) -> list[tuple[str, ...]]:
        heads = [header.split("\n") for header in self.headers]
        height = max(map(len, heads))
        return list(zip(*([""] * (height - len(head)) + head for head in heads), strict=True))

    def _widths(self) -> list[int]:
        return [max(map(cell_len, column)) for column in zip(*self._heads(), *self.rows, strict=True)]

    def _cells(self, line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
        for cell, width, header in zip(line, widths, self.headers, strict=True):
            text = cell if cell_len(cell) <= width else set_cell_size(cell, width - 1) + "…"
            space = " " * (width - cell_len(text))
            yield space + text if header in self.right else text + space


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _coloured(cell: str) -> str:
    word = cell.strip()
    return f"\x1b[{_CODES[COLOURS[word]]}m{cell}\x1b[0m" if word in COLOURS else cell


def show(grid: Grid) -> None:
    """Print the table as the output wants it."""
    if colour():
        print(grid.drawn(_width()))
    else:
        print(grid.plain())


def _takes_every_letter() -> bool:
    return codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"


def document(value: object, indent: int | None = 2) -> str:
    """JSON with the letters as they are, or escaped where the output does not take all of them: nothing of it is lost."""
    return json.dumps(value, ensure_ascii=not _takes_every_letter(), indent=indent)


def narrow(grid: Grid) -> bool:
    """Is it too wide for the terminal? Never true elsewhere."""
    return colour() and max(map(cell_len, grid.plain().splitlines())) > _width()


def _width() -> int:
    return screen_size(sys.stdout.fileno(), os.environ)[0]


def screen_size(terminal: int, env: Mapping[str, str]) -> tuple[int, int]:
    """Columns and lines: the window's own, which change, rather than those of COLUMNS and LINES.

    A serial console or a terminal that was just made says 0 and 0: it does not know its size.
    """
    with suppress(OSError):
        size = os.get_terminal_size(terminal)
        if size.columns and size.lines:
            return size.columns, size.lines
    given = (env.get(name, "") for name in ("COLUMNS", "LINES"))
    columns, rows = (int(text) if text.isdecimal() else 0 for text in given)
    return columns or COLUMNS, rows or ROWS


def painted(word: str, width: int = 0) -> str:
    """The word, at least so wide, coloured on a terminal."""
    text = f"{word:<{width}}"
    return _coloured(text) if colour() else text


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
