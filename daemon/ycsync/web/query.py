"""Which salons does the page want to see, and in which order?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SORTS: Final = ("salon", "id", "state", "lag", "progress", "requests", "quarantined")
STATES: Final = ("", "trouble", "stopped", "stale", "filling", "waiting", "fresh", "paused", "off")
MOST: Final = 200
_LONGEST: Final = 100
_FARTHEST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Query:
    """`text`: a part of the title, or the beginning of the number. `limit` rows from `offset` on.

    `state`: "" for any, "trouble": stopped, stale or with errors.
    """

    text: str = ""
    state: str = ""
    sort: str = "state"
    descending: bool = False
    offset: int = 0
    limit: int = 50

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Query:
        """From the address's parameters q, state, sort, order, offset, limit. Raises ValueError with what to do."""
        state, sort, order = asked.get("state", ""), asked.get("sort", "state"), asked.get("order", "asc")
        for name, value, allowed in (("state", state, STATES), ("sort", sort, SORTS), ("order", order, ("asc", "desc"))):
            if value not in allowed:
                raise ValueError(f"{name} must be one of: {', '.join(filter(None, allowed))}")
        text = asked.get("q", "").strip()
        if len(text) > _LONGEST:
            raise ValueError(f"q must be at most {_LONGEST} characters")
        return cls(
            text.casefold(), state, sort, order == "desc",
            _number(asked, "offset", 0, _FARTHEST, 0), _number(asked, "limit", 1, MOST, 50),
        )  # fmt: skip


def _number(asked: Mapping[str, str], name: str, low: int, high: int, default: int) -> int:
    text = asked.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise ValueError(f"{name} must be a whole number from {low} to {high}")
    return int(text)
