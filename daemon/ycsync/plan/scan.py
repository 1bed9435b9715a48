"""Which pages of a list ordered by id read all of it so that nothing is lost?

Clients have no dates to make windows of, so they are read page by page while the salon changes. A page is one moment of one
interval of ids: every client between its first and its last id stands on it. So pages are asked so that they overlap by a
few rows; if the next page begins at or below the last id that is covered, there is no gap between them, whatever was
inserted or deleted meanwhile. If it begins above, rows vanished and others may have slipped between: a page further back is
asked. The list is covered when a page that reaches its end has joined on. A reading to which only the first page brought
anything is one moment; any other is closed by a delta (plan.cursor).

What is assumed of the server, and how it is checked in each answer:
- the list is ordered by id, ascending (documented): `ascending`. Where the order is another one, the join is proved by a row
  that both pages hold, which needs no more than an order that stays; nobody is then called gone for not standing in it;
- a page is as large as it is asked, or as the server's cap: a page with more rows than were asked is `fixed` in size. Pages
  cannot overlap then, so after a page that begins above, the one right before it is read again: as rows before it only
  vanish, whatever slipped between stands there now (`bridge`). Besides the order this takes that no client who was deleted
  returns between these two requests; who does so is found by the next night's reading;
- a page that is shorter than was asked ends the list, or is the cap. It is no end where the count promises more, where there
  is no count, or where the count agrees but no earlier page was longer (it may be the page's own): then the next page is asked
  for, and where others were longer, first with the same count, before so few are called a page (`probing`). With a count that
  agrees, a cap of fewer than SMALLEST rows would be taken for the end; with none, or a true one, it is not;
- after the end a page is empty, or one of those before: it holds nothing above what is covered (`idle`). A list of which
  MAX_BACK pages in a row bring nothing, and whose count promises more, is an error, not the end: `stuck`.

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
SMALLEST = 15  # rows; where the count agrees, a first page of fewer is nobody's page size (documented: 20, 25)
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
    reach: int = 0  # the furthest that `pos` ever was
    known: int = 0  # ids that were seen, each once
    last_id: int = 0  # ascending: every id up to this one is covered
    tail: tuple[int, ...] = ()  # the last ids that were covered, for the join when ids do not ascend
    ascending: bool = True
    longest: int = 0  # rows of the longest page
    before: int = 0  # the same of earlier readings
    back: int = 0  # pages asked further back, in a row
    idle: int = 0  # pages that lay within what is covered, in a row
    fixed: bool = False  # pages are as large as the server likes, whatever is asked: they cannot overlap
    ahead: Ask | None = None  # a page to ask, or that did not join on, and its first id
    ahead_id: int = 0
    bridge: int = 0  # nothing is left out between what is covered and this id
    probing: int = 0  # `ahead` is asked to learn whether so few rows are a page
    probed: int = 0  # the last id of that page
    only_first: bool = True  # no page but the first brought anything
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
    if scan.ahead is not None and scan.back == 0:
        return (scan.ahead,)
    if scan.ahead is not None and scan.back == 1 and scan.ahead.page > 1:
        return (Ask(scan.ahead.page - 1, scan.ahead.count),)
    # The further back, the larger the steps: where the server cut its pages in the middle, places are far from where they were.
    pos = max(0, scan.pos - scan.back * (scan.back + 1) // 2 * scan.size)
    if scan.fixed:
        return (Ask(pos // scan.size + 1, scan.size),)
    out: list[Ask] = []
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
    can be found for which that falls where it is wanted; for a very small size the overlap is less, or none.
    """
    for overlap in range(OVERLAP, 0, -1):
        ask = _overlapping(pos, size, overlap)
        if ask.start + ask.count > pos:
            return ask
    return Ask(pos // size + 1, size)


def _overlapping(pos: int, size: int, overlap: int) -> Ask:
    want = pos - overlap
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
    replace = msgspec.structs.replace
    if rows > ask.count and not scan.fixed:
        scan = replace(scan, fixed=True, size=rows, pos=scan.pos // rows * rows)
    first = scan.longest == 0
    ascending = scan.ascending and all(a < b for a, b in pairwise(ids))
    goes_on = scan.probing > 0 and bool(ids) and (ids[0] > scan.probed if ascending else not set(ids) <= set(scan.tail))
    if goes_on:
        # So few rows are a page after all.
        scan = replace(scan, size=scan.probing, pos=(ask.page - 1) * scan.probing)
    count = scan.size if scan.fixed else min(ask.count, scan.size)
    start = (ask.page - 1) * count
    known = scan.known + sum(1 for one in ids if one > scan.last_id)
    missing = total is not None and (start + rows < total or (ascending and known < total))
    # The longest page so far: perhaps it is the server's own cap that ends it, whatever its count says. A server may give
    # its default of 20 whatever is asked, so a short page with more promised is not the end; the next one tells.
    promised = rows >= max(scan.longest, 1) if total is None else rows >= max(SMALLEST, scan.longest + 1, scan.before)
    more = missing or promised
    # From the list's beginning there is nothing to join on to.
    joins = start == 0 or _joins(replace(scan, ascending=ascending), ids)
    if ascending:
        # Nor does a page inside of what is covered show the end.
        above = bool(ids) and ids[-1] > scan.last_id
        fresh = bool(ids) and ids[-1] != scan.last_id
    else:
        above = fresh = start + rows > scan.pos and not set(ids) <= set(scan.tail)
    short = rows < count
    idle = 0 if above else scan.idle + 1
    ended = _ended(scan, ask, ids)
    if scan.probing and not goes_on:
        done = bool(ids) and not above
    elif short:
        done = ended or not (more and fresh)
    else:
        # Beyond its end a list may show its last page again, or its first.
        done = ended or (start >= scan.reach > 0 and not above and not missing and (total is not None or idle > 1))
    # Other pages were longer, or it is the first: the next page is asked for the same count before so few are called a page.
    capped = short and not done
    doubtful = capped and not goes_on and (rows < scan.longest or (first and rows < MIN_SIZE))
    longest = scan.longest
    scan = replace(
        scan,
        ascending=ascending,
        longest=max(scan.longest, rows),
        total=total,
        idle=idle,
    )
    if not joins or idle > MAX_BACK:
        return replace(
            scan, back=scan.back + 1, ahead=ask, ahead_id=ids[0] if ids else 0, bridge=0, probing=0, probed=0
        ), Verdict.AGAIN
    if not ascending and not done and not doubtful and short and longest > rows:
        # Page numbers meant other places than was thought: what is stored is right, but where it stands is not known.
        return scan, Verdict.JOINED
    bridge = _bridge(scan, ask, ids)
    ahead = scan.ahead if bridge else Ask(ask.page + 1, ask.count) if doubtful else None
    # The server cut its pages to so many rows, so page numbers mean other places than was thought.
    pos = ask.page * rows if capped and not doubtful else start + rows
    return (
        replace(
            scan,
            size=min(scan.size, rows) if capped and not doubtful else scan.size,
            pos=pos,
            reach=pos if capped and not doubtful else max(scan.reach, pos),
            last_id=max(scan.last_id, *ids) if ids else scan.last_id,
            known=known,
            tail=ids[-OVERLAP:] if ids else scan.tail,
            back=0,
            ahead=ahead,
            ahead_id=0,
            bridge=bridge,
            probing=rows if doubtful else 0,
            probed=ids[-1] if doubtful else 0,
            only_first=first or (scan.only_first and not above),
            done=done,
            single=done and (start == 0 or (ascending and scan.only_first and not above)),
        ),
        Verdict.JOINED,
    )


def _bridge(scan: Scan, ask: Ask, ids: tuple[int, ...]) -> int:
    """The first id of the page that did not join on, if `ids` is the page right before it, asked after it."""
    if not _right_before(scan, ask, ids):
        return 0
    reaches = ids[-1] >= scan.last_id if scan.ascending else ids[-1] == scan.tail[-1]
    return scan.ahead_id if reaches else 0


def _ended(scan: Scan, ask: Ask, ids: tuple[int, ...]) -> bool:
    """Was the page after this one empty, just before this one was asked?"""
    return scan.back > 0 and scan.ahead_id == 0 and _right_before(scan, ask, ids)


def _right_before(scan: Scan, ask: Ask, ids: tuple[int, ...]) -> bool:
    ahead = scan.ahead
    return ahead is not None and bool(ids) and (ask.page + 1, ask.count) == (ahead.page, ahead.count)


def _joins(scan: Scan, ids: tuple[int, ...]) -> bool:
    if not ids:
        return False
    if scan.ascending:
        return ids[0] <= max(scan.last_id, scan.bridge)
    return ids[0] == scan.bridge or not set(ids).isdisjoint(scan.tail)


def stuck(scan: Scan) -> bool:
    """True when going back did not help: the list moves faster than it can be read, or its pages do not go on."""
    return scan.back > MAX_BACK or scan.idle > MAX_BACK


def hopeless(scan: Scan) -> bool:
    """True when the page after this state was, or would be, one too many: what is stored of such a reading leads nowhere."""
    return scan.back >= MAX_BACK or scan.idle >= MAX_BACK


def anew(scan: Scan, size: int) -> Scan:
    """The same reading from the list's beginning."""
    return Scan(changed_after=scan.changed_after, size=size, before=scan.before)


def shrink(scan: Scan, by: int) -> Scan:
    """A page timed out or failed twice: ask smaller ones from now on."""
    return msgspec.structs.replace(scan, size=max(MIN_SIZE, scan.size // by))
