"""How is a span of time written in the configuration? One whole number and a unit: `250ms`, `5m`, `24h`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from ycsync.errors import UsageError

_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_SHAPE: Final = re.compile(r"([0-9]{1,12})(ms|[smhd])")
_LONGEST: Final = timedelta(days=3650)
_HELP: Final = 'write a whole number and a unit (ms, s, m, h, d), as in "250ms", "5m" or "24h"'


def parse_duration(text: str) -> timedelta:
    """`"5m"` -> five minutes. Raises UsageError with the remedy; nothing negative, nothing beyond 3650d."""
    stripped = text.strip()
    shape = _SHAPE.fullmatch(stripped)
    if shape is None:
        shown = repr(stripped[:40])
        if re.fullmatch(r"[0-9]{1,12}", stripped):
            raise UsageError(f"{shown} has no unit: {_HELP}")
        raise UsageError(f"{shown} is not a duration: {_HELP}")
    count, unit = int(shape[1]), _UNITS[shape[2]]
    # Compared as whole numbers: multiplying first would overflow timedelta.
    if count > _LONGEST // unit:
        raise UsageError(f"{stripped!r} is too long: at most {format_duration(_LONGEST)}")
    return count * unit


def format_duration(span: timedelta) -> str:
    """The shortest exact spelling, rounded to whole milliseconds; `parse_duration` reads it back."""
    if not span:
        return "0s"
    for name, unit in _UNITS.items():
        if not span % unit:
            return f"{span // unit}{name}"
    return f"{round(span / _UNITS['ms'])}ms"
