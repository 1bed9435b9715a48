"""Which pages of a list ordered by id read all of it so that nothing is lost?

Clients have no dates to make windows of, so they are read page by page while the salon changes. A page is one moment of one
interval of ids: every client between its first and its last id stands on it. So pages are asked so that they overlap by a
few rows; if the next page begins at or below the last id that is covered, there is no gap between them, whatever was
inserted or deleted meanwhile. If it begins above, rows vanished and others may have slipped between: a page further back is
asked. The list is covered when a page that reaches its end has joined on. A count may say that there is more, and then the
next page is asked; that there is no more, it is believed only of a page shorter than another one.

What is assumed: the list is ordered by id, ascending (documented). Each page is checked; where the order is another one, the
join is proved by a row that both pages hold, which needs no more than an order that stays.

Pure: a scan and what was answered in, a scan and what to ask out.
"""

from __future__ import annotations

import enum
from datetime import datetime
from itertools import pairwise

import msgspec

OVERLAP = 3  # rows that may vanish between two pages before one must be read again
MAX_SIZE = 300
MIN_SIZE = 25
SMALLEST = 15  # the documented defaults are 20 and 25 rows a page
MAX_BACK = 40


class Ask(msgspec.Struct, frozen=True):
    """One page: its number from 1, its size, and so the place in the list where it begins, from 0."""

    page: int
    count: int

    @property
    def start(self) -> int:
        """The place of its first row in the list, from 0."""
        return (self.page - 1) * self.count


class Scan(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far one reading of the list is."""

    began: datetime | None = None
    changed_after: str | None = None
    total: int | None = None
    size: int = MAX_SIZE
    pos: int = 0  # rows of the list that are covered
    known: int = 0  # ids that were seen, each once
    last_id: int = 0  # ascending: every id up to this one is covered
    tail: tuple[int, ...] = ()  # the last ids that were covered, for the join when ids do not ascend
    ascending: bool = True
    longest: int = 0  # rows of the longest page
    back: int = 0  # pages asked further back, in a row
    done: bool = False
    single: bool = False


class Verdict(enum.Enum):
    """What a page is worth."""

    JOINED = "joined"
    AGAIN = "again"  # it does not join on: what was asked after it is void


def asks(scan: Scan, room: int) -> tuple[Ask, ...]:
    """Up to `room` pages to ask, in order, as if each gives what it should."""
    if scan.done or room < 1:
        return ()
    if scan.longest == 0:
        return (Ask(1, scan.size),)
    out: list[Ask] = []
    # The further back, the larger the steps: where the server cut its pages in the middle, places are far from where they were.
    pos = max(0, scan.pos - scan.back * (scan.back + 1) // 2 * scan.size)
    while len(out) < room:
        ask = ask_at(pos, scan.size)
        out.append(ask)
        pos = ask.start + ask.count
        if scan.total is None or pos >= scan.total:
            break
    return tuple(out)


def ask_at(pos: int, size: int) -> Ask:
    """The page that covers most beyond `pos` and begins at least OVERLAP rows before it.

    The API knows page numbers, not offsets: with count c, page p begins at (p - 1) * c. A count a little under the size
    can be found for which that falls where it is wanted.
    """
    want = pos - OVERLAP
    if want <= 0:
        return Ask(1, size)
    best = Ask(1, size)
    usual = size - max(4, size // 6)
    for count in range(size, 1, -1):
        if count <= usual and best.start + best.count > pos:
            break
        ask = Ask(want // count + 1, count)
        if ask.start + ask.count > best.start + best.count:
            best = ask
    return best


def absorb(scan: Scan, ask: Ask, ids: tuple[int, ...], rows: int, total: int | None) -> tuple[Scan, Verdict]:
    """The scan after one page. `ids`: the distinct ids in the page's order; `rows`: how many rows it held."""
    ascending = scan.ascending and all(a < b for a, b in pairwise(ids))
    short = rows < ask.count
    known = scan.known + sum(1 for one in ids if one > scan.last_id)
    missing = total is not None and (ask.start + rows < total or (ascending and known < total))
    promised = missing if total is not None else rows >= scan.longest
    # The longest page so far: perhaps it is the server's own cap that ends it, whatever its count says. A server may give
    # its default of 20 whatever is asked, so a short page with more promised is not the end; the next one tells. Fewer than
    # SMALLEST rows are no server's page: there it is the count that lies.
    more = short and rows >= SMALLEST and (promised or (rows >= MIN_SIZE and rows > scan.longest))
    # From the list's beginning there is nothing to join on to.
    joins = ask.start == 0 or _joins(msgspec.structs.replace(scan, ascending=ascending), ids)
    if ascending:
        # Nor does a page inside of what is covered show the end.
        fresh = bool(ids) and ids[-1] != scan.last_id
    else:
        fresh = ask.start + rows > scan.pos and not set(ids) <= set(scan.tail)
    done = short and not (more and fresh)
    capped = more and fresh
    longest = scan.longest
    scan = msgspec.structs.replace(
        scan,
        ascending=ascending,
        size=min(scan.size, rows) if capped else scan.size,
        longest=max(scan.longest, rows),
        total=total,
    )
    if not joins:
        return msgspec.structs.replace(scan, back=scan.back + 1), Verdict.AGAIN
    if not ascending and not done and short and longest > rows:
        # Page numbers meant other places than was thought: what is stored is right, but where it stands is not known.
        return scan, Verdict.JOINED
    return (
        msgspec.structs.replace(
            scan,
            # The server cut its pages to so many rows, so page numbers mean other places than was thought.
            pos=ask.page * rows if capped else ask.start + rows,
            last_id=max(scan.last_id, *ids) if ids else scan.last_id,
            known=known,
            tail=ids[-OVERLAP:] if ids else scan.tail,
            back=0,
            done=done,
            single=done and ask.start == 0,
        ),
        Verdict.JOINED,
    )


def _joins(scan: Scan, ids: tuple[int, ...]) -> bool:
    if not ids:
        return False
    if scan.ascending:
        return ids[0] <= scan.last_id
    return not set(ids).isdisjoint(scan.tail)


def stuck(scan: Scan) -> bool:
    """True when going back did not help: the list moves faster than it can be read."""
    return scan.back > MAX_BACK


def shrink(scan: Scan) -> Scan:
    """A page timed out or failed twice: ask smaller ones from now on."""
    return msgspec.structs.replace(scan, size=max(MIN_SIZE, scan.size // 2))
