"""Nothing lost: do overlapping pages of clients read all of them while some come and go?"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ycsync.plan import scan as scans
from ycsync.plan.scan import Ask, Scan, Verdict


@dataclass(slots=True)
class Server:
    """A list of ids that changes after every request, and answers as the API may."""

    seed: int
    clients: int = 1000
    cap: int = 300
    changes: int = 3
    lies: int = 0  # how much total_count is off; None: there is none
    counted: bool = True
    descending: bool = False
    cap_later: int | None = None  # from the third request on
    ids: list[int] = field(default_factory=list)
    requests: int = 0
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.ids = list(range(1, self.clients * 3 + 1, 3))

    def change(self) -> None:
        for _ in range(self.changes):
            if self.rng.random() < 0.5 and self.ids:
                self.ids.pop(self.rng.randrange(len(self.ids)))
            else:
                self.ids.append((self.ids[-1] if self.ids else 0) + self.rng.randint(1, 3))

    def ask(self, ask: Ask) -> tuple[tuple[int, ...], int | None]:
        self.requests += 1
        cap = self.cap_later if self.cap_later is not None and self.requests > 2 else self.cap
        count = min(ask.count, cap)
        ids = self.ids[::-1] if self.descending else self.ids
        page = tuple(ids[(ask.page - 1) * count : ask.page * count])
        total = max(0, len(ids) + self.lies) if self.counted else None
        self.change()
        return page, total


def read(server: Server, room: int = 6, crashes: float = 0.0) -> tuple[set[int], Scan]:
    """What `sync.clients` does: pages asked ahead, absorbed in order; after a crash the last committed cursor goes on."""
    scan = Scan()
    seen: set[int] = set()
    flight: list[tuple[Ask, tuple[tuple[int, ...], int | None]]] = []
    for _ in range(1500):
        if scan.done:
            return seen, scan
        if server.rng.random() < crashes:
            flight.clear()
        scan = msgspec.json.decode(msgspec.json.encode(scan), type=Scan)
        if not flight:
            flight = [(ask, server.ask(ask)) for ask in scans.asks(scan, room)]
        ask, (page, total) = flight.pop(0)
        size = scan.size
        scan, verdict = scans.absorb(scan, ask, page, len(page), total)
        assert not scans.stuck(scan)
        if verdict is Verdict.JOINED:
            seen |= set(page)
        if verdict is Verdict.AGAIN or scan.size != size:
            flight.clear()
    raise AssertionError("the scan does not end")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("changes", "most"), [(0, 5), (3, 6)])
def test_a_thousand_clients_are_four_to_six_pages(seed: int, changes: int, most: int) -> None:
    server = Server(seed, changes=changes)
    start = set(server.ids)
    seen, _ = read(server)
    assert start & set(server.ids) <= seen
    assert 4 <= server.requests <= most + (2 if changes else 0)


@settings(max_examples=250, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    clients=st.sampled_from([0, 1, 5, 24, 25, 26, 77, 130, 299, 300, 301, 450, 900]),
    cap=st.sampled_from([25, 26, 50, 77, 130, 200, 300]),
    changes=st.integers(0, 4),
    lies=st.sampled_from([0, 0, 7, -7, 40, -60]),
    counted=st.sampled_from([True, True, False]),
    room=st.integers(1, 6),
    crashes=st.sampled_from([0.0, 0.2]),
)
def test_whoever_was_there_all_the_time_is_found(
    seed: int, clients: int, cap: int, changes: int, lies: int, counted: bool, room: int, crashes: float
) -> None:
    server = Server(seed, clients, cap, changes, lies, counted)
    start = set(server.ids)
    seen, _ = read(server, room, crashes)
    assert start & set(server.ids) <= seen


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("counted", [True, False])
def test_another_order_that_stays_is_read_too(seed: int, counted: bool) -> None:
    server = Server(seed, 700, changes=0, descending=True, counted=counted)
    seen, scan = read(server)
    assert seen == set(server.ids)
    assert not scan.ascending


@pytest.mark.parametrize("later", [200, 77])
@pytest.mark.parametrize("clients", [700, 3000])
def test_a_server_that_gives_less_from_the_middle_on_loses_nobody(later: int, clients: int) -> None:
    server = Server(1, clients, changes=0, cap_later=later)
    seen, _ = read(server)
    assert seen == set(server.ids)


def test_when_all_that_were_read_are_gone_the_rest_is_still_read() -> None:
    server = Server(1, 600, changes=0)
    scan, _ = scans.absorb(Scan(), Ask(1, 300), tuple(server.ids[:300]), 300, 600)
    server.ids = server.ids[450:]
    for _ in range(20):
        if scan.done:
            break
        ask = scans.asks(scan, 1)[0]
        page, total = server.ask(ask)
        scan, _ = scans.absorb(scan, ask, page, len(page), total)
    assert scan.done
    assert scan.last_id == server.ids[-1]


def test_nobody_is_an_answer() -> None:
    scan, verdict = scans.absorb(Scan(), Ask(1, 300), (), 0, 0)
    assert (verdict, scan.done, scan.single) == (Verdict.JOINED, True, True)


def test_a_short_page_is_one_moment_and_a_second_one_is_not() -> None:
    scan, _ = scans.absorb(Scan(), Ask(1, 300), (1, 2, 3), 3, 3)
    assert scan.single
    scan, _ = scans.absorb(Scan(), Ask(1, 300), tuple(range(1, 301)), 300, 310)
    scan, _ = scans.absorb(scan, Ask(2, 297), tuple(range(298, 311)), 13, 310)
    assert scan.done
    assert not scan.single


def test_a_gap_is_seen_and_read_again() -> None:
    scan, _ = scans.absorb(Scan(), Ask(1, 300), tuple(range(1, 301)), 300, 600)
    again, verdict = scans.absorb(scan, Ask(2, 297), tuple(range(304, 601)), 297, 596)
    assert verdict is Verdict.AGAIN
    assert scans.asks(again, 1)[0].start < scans.asks(scan, 1)[0].start


@pytest.mark.parametrize("size", [25, 26, 31, 77, 300])
def test_there_is_always_a_page_that_goes_beyond(size: int) -> None:
    for pos in range(20_000):
        ask = scans.ask_at(pos, size)
        assert ask.start <= max(0, pos - scans.OVERLAP)
        assert ask.start + ask.count > pos or pos < size


@given(pos=st.integers(0, 100_000), size=st.integers(scans.MIN_SIZE, scans.MAX_SIZE))
def test_a_page_begins_before_what_is_covered_and_goes_beyond(pos: int, size: int) -> None:
    ask = scans.ask_at(pos, size)
    assert ask.start <= max(0, pos - scans.OVERLAP)
    assert ask.count <= size
    assert ask.start + ask.count > min(pos, size - 1)


@pytest.mark.parametrize("cap", [15, 20, 24])
@pytest.mark.parametrize("counted", [True, False])
def test_a_server_that_gives_its_small_default_whatever_is_asked_is_read_to_the_end(cap: int, counted: bool) -> None:
    ids = tuple(range(1, 201))
    scan, seen, asked = Scan(), set[int](), 0
    while not scan.done:
        asked += 1
        assert asked < 100
        ask = scans.asks(scan, 1)[0]
        count = min(ask.count, cap)
        page = ids[(ask.page - 1) * count : ask.page * count]
        seen.update(page)
        scan, _ = scans.absorb(scan, ask, page, len(page), len(ids) if counted else None)
    assert seen == set(ids)


@pytest.mark.parametrize(("order", "counted", "repeated"), [(1, True, 3), (-1, True, 3), (1, False, 1)])
def test_a_repeated_first_page_ends_no_list_that_goes_on(order: int, counted: bool, repeated: int) -> None:
    """Pages of 50 whatever is asked, so that the next one begins where the last ended; it shows the first one again."""
    ids, total = tuple(range(1, 201)[::order]), 200 if counted else None
    scan, _ = scans.absorb(Scan(size=25), Ask(1, 25), ids[:50], 50, total)
    for _ in range(repeated):
        ask = scans.asks(scan, 1)[0]
        scan, _ = scans.absorb(scan, ask, ids[:50], 50, total)
        assert not scan.done
    seen = set(ids[:50])
    for _ in range(30):
        if scan.done:
            break
        ask = scans.asks(scan, 1)[0]
        page = ids[(ask.page - 1) * 50 : ask.page * 50]
        seen.update(page)
        scan, _ = scans.absorb(scan, ask, page, len(page), total)
    assert scan.done
    assert seen == set(ids)


@pytest.mark.parametrize("last", [(1,), ()])
def test_a_page_that_shows_no_order_does_not_restore_it(last: tuple[int, ...]) -> None:
    """Who is not shown by a list without the documented order is not gone, however its last page looks."""
    scan, _ = scans.absorb(Scan(), Ask(1, 300), tuple(range(600, 300, -1)), 300, 301)
    assert not scan.ascending
    scan, _ = scans.absorb(scan, Ask(2, 300), last, len(last), 301)
    assert not scan.ascending


@pytest.mark.parametrize(
    ("before", "bridged"),
    [(tuple(range(20, 520, 10)), True), ((5, *range(10, 500, 10)), False)],
)
def test_a_gap_is_bridged_by_a_page_that_reaches_it(before: tuple[int, ...], bridged: bool) -> None:
    """The page before the gap is read again: one has left it, or one came back to it and pushed its last row out."""
    page = tuple(range(10, 510, 10))
    scan, _ = scans.absorb(Scan(size=25), Ask(1, 25), page, 50, 150)
    ask = scans.asks(scan, 1)[0]
    scan, verdict = scans.absorb(scan, ask, tuple(range(520, 1020, 10)), 50, 150)
    assert verdict is Verdict.AGAIN
    again = scans.asks(scan, 1)[0]
    assert again.page == ask.page - 1
    scan, verdict = scans.absorb(scan, again, before, 50, 150)
    assert verdict is Verdict.JOINED
    assert scan.bridge == (520 if bridged else 0)
