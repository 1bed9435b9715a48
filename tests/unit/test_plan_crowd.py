"""A day of more visits than a page is cut by the dates on which they were made, and what must add up."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from ycsync.plan import crowd
from ycsync.plan import sweep as sweeps
from ycsync.plan.sweep import Answer, Sweep, Verdict, Window

DAY = date(2026, 11, 2)
MADE = tuple(DAY - timedelta(days=place % 8) for place in range(24))
FULL = Answer(asked=24, rows=24, distinct=24, total=40, oldest=DAY, newest=DAY, staff=(1, 2), steady=24, made=MADE, own=24)


def test_no_range_is_expected_to_hold_more_than_was_asked_for_with_the_day_that_it_is_asked_longer() -> None:
    ends = crowd.cuts(MADE, total=48, most=20)
    assert list(ends) == sorted(set(ends))
    for lo, hi in zip((date.min, *ends), (*ends, date.max), strict=True):
        within = [made for made in MADE if lo < made and made - timedelta(days=1) <= hi]
        assert 2 * len(within) <= 20 + 6, "one date holds six"
    assert crowd.cuts([DAY] * 24, total=48, most=20) == ()


def split(by_creation: bool | None) -> Sweep:
    window = Window(lo=DAY, hi=DAY)
    sweep = Sweep(
        began=datetime(2026, 11, 20, tzinfo=UTC), total=500, planned=True, started=True, size=24, longest=24, inclusive=True,
        pending=(window,), by_creation=by_creation,
    )  # fmt: skip
    sweep, verdict = sweeps.absorb(sweep, window, FULL, DAY)
    assert verdict is Verdict.SPLIT
    return sweep


def answered(sweep: Sweep, steady: int, rows: int) -> Sweep:
    """Every range of the day answers with so many in all."""
    pieces = len(sweep.pending)
    for place, piece in enumerate(sweep.pending):
        own, still = (count // pieces + (place < count % pieces) for count in (rows, steady))
        answer = Answer(asked=24, rows=own, distinct=own, total=own, oldest=DAY, newest=DAY, steady=still, own=own)
        sweep, verdict = sweeps.absorb(sweep, piece, answer, DAY)
        assert verdict is Verdict.WHOLE
    return sweep


def test_the_ranges_of_a_day_are_open_at_both_ends_and_leave_no_gap() -> None:
    pieces = split(None).pending
    assert pieces[0].made_lo is None
    assert pieces[-1].made_hi is None
    for before, after in itertools.pairwise(pieces):
        assert before.made_hi is not None
        assert after.made_lo == before.made_hi + timedelta(days=1)


@pytest.mark.parametrize(
    ("known", "steady", "rows", "done"),
    [(None, 40, 40, True), (None, 38, 40, False), (True, 38, 40, True), (True, 38, 39, False), (None, 41, 41, False)],
)
def test_a_day_must_add_up_and_once_one_did_as_many_rows_are_enough(
    known: bool | None, steady: int, rows: int, done: bool
) -> None:
    sweep = answered(split(known), steady, rows)
    assert sweep.finished is done
    assert [(one.paged, one.tries) for one in sweep.pending] == ([] if done else [(False, 1)])
    assert not sweep.days
    if steady == 40:
        assert sweep.by_creation


@pytest.mark.parametrize("known", [None, True])
def test_a_day_that_does_not_add_up_is_counted_anew_and_at_last_read_page_by_page(known: bool | None) -> None:
    sweep = split(known)
    for tries in range(1, sweeps.MOST_TRIES + 1):
        sweep = answered(sweep, 38, 39)
        (day,) = sweep.pending
        assert day == Window(lo=DAY, hi=DAY, estimate=40, tries=tries, short=2)
        assert sweep.seen == 0, "what was read of it is not counted twice"
        at = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(minutes=tries)
        sweep, _ = sweeps.absorb(sweep, day, msgspec.structs.replace(FULL, counted_at=at), DAY)
        assert {sweep.counted_at(piece) for piece in sweep.pending} == {at}, "its rows are those unchanged since this count"
    (day,) = answered(sweep, 38, 39).pending
    assert day.paged


def test_a_day_of_which_the_same_rows_are_missing_and_nothing_moves_is_tried_once_more_only() -> None:
    sweep = answered(split(None), 39, 39)
    sweep, _ = sweeps.absorb(sweep, sweep.pending[0], FULL, DAY)
    (day,) = answered(sweep, 39, 39).pending
    assert day.paged


def test_until_a_day_has_added_up_one_is_tried_again_at_a_time() -> None:
    days = tuple(Window(lo=DAY - timedelta(days=n), hi=DAY - timedelta(days=n), tries=1, short=2) for n in range(3))
    other = Window(lo=DAY - timedelta(days=9), hi=DAY - timedelta(days=8))
    sweep = msgspec.structs.replace(split(None), pending=(*days, other))
    assert sweeps.hand_out(sweep, (), 9, DAY)[1] == (days[0], other)
    assert sweeps.hand_out(sweep, days[:1], 9, DAY)[1] == (other,)
    known = msgspec.structs.replace(sweep, by_creation=True)
    assert sweeps.hand_out(known, (), 9, DAY)[1] == (*days, other)


def test_a_server_that_does_not_filter_by_creation_is_found_out_and_no_day_is_cut_so_any_more() -> None:
    sweep = split(None)
    first, second, *_ = sweep.pending
    all_of_it = Answer(asked=24, rows=24, distinct=24, total=40, made=MADE[:9], own=9, strangers=6, staff=(1, 2), steady=9)
    sweep, verdict = sweeps.absorb(sweep, first, all_of_it, DAY)
    assert verdict is Verdict.SPLIT
    assert sweep.pending == (Window(lo=DAY, hi=DAY, estimate=40, paged=True),)
    late, verdict = sweeps.absorb(sweep, second, all_of_it, DAY)
    assert verdict is Verdict.SPLIT, "an answer that was still on its way stores nothing"
    assert late.pending == sweep.pending
    other = Window(lo=DAY - timedelta(days=1), hi=DAY - timedelta(days=1))
    sweep = msgspec.structs.replace(sweep, pending=(other,))
    sweep, _ = sweeps.absorb(sweep, other, msgspec.structs.replace(all_of_it, strangers=0), DAY)
    assert {piece.staff_id for piece in sweep.pending} == {1, 2}
