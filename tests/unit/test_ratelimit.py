"""What do the headers of answers say, and when do they show that others use the limit?"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ycsync.ratelimit import MEMORY_S, Allowance, Neighbours, RateHeaders, allowance, read_rate_headers
from ycsync.service.shared import ENDED_S, Shared
from ycsync.store.report import Usage

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
NAMES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (("200", "137", "23"), RateHeaders(200, 137, 23.0)),
        ((" 200 ", "137.0", "22.5"), RateHeaders(200, 137, 22.5)),
        (("200, 200;w=60", "0", "0"), RateHeaders(200, 0, 0.0)),
        ((None, "5", None), RateHeaders(None, 5, None)),
        ((None, None, None), RateHeaders()),
        (("", "many", "soon"), RateHeaders()),
        (("0", "-3", "-1"), RateHeaders(None, 0, None)),
        (("1e3", "0x10", "\u0663"), RateHeaders()),
        (("9" * 400, "9" * 400, "nan"), RateHeaders()),
        # instants, in seconds and in milliseconds, and one that is over
        (("200", "1", str(int(NOW.timestamp()) + 40)), RateHeaders(200, 1, 40.0)),
        (("200", "1", str(int(NOW.timestamp() * 1000) + 1500)), RateHeaders(200, 1, 1.5)),
        (("200", "1", str(int(NOW.timestamp()) - 40)), RateHeaders(200, 1, None)),
    ],
)
def test_headers_are_read_as_far_as_they_make_sense(said: tuple[str | None, ...], read: RateHeaders) -> None:
    headers = {name: text for name, text in zip(NAMES, said, strict=True) if text is not None}
    assert read_rate_headers(headers, NOW) == read


@given(st.tuples(*[st.one_of(st.text(max_size=30), st.from_regex(r"-?[0-9.,;]{1,20}"))] * 3))
def test_no_text_in_a_header_is_an_error(said: tuple[str, ...]) -> None:
    read = read_rate_headers(dict(zip(NAMES, said, strict=True)), NOW)
    assert read.limit is None or read.limit >= 1
    assert read.remaining is None or read.remaining >= 0
    assert read.reset_s is None or read.reset_s >= 0


def heard(samples: Iterable[tuple[float, int, int]], *, limit: int = 200, own: int = 200, **said: Any) -> Neighbours:
    """What (when, what the server counts, own slots taken) leave behind."""
    found = Neighbours()
    for at, used, held in samples:
        found.add(at, RateHeaders(limit, limit - used, said.get("reset_s", 20.0)), own, held, {})
    return found


def test_what_the_server_counts_beyond_our_own_is_left_to_others() -> None:
    found = heard((float(n), 90, 50) for n in range(4))
    assert found.allowance(4.0, 5) == Allowance(40, 4, 158)
    assert found.allowance(4.0 + MEMORY_S, 5) is None


@pytest.mark.parametrize("beyond", [0, 1, 2])
def test_a_few_more_are_what_is_in_flight(beyond: int) -> None:
    assert heard((float(n), 100 + beyond, 100) for n in range(60)).allowance(60.0, 5) is None


def test_answers_must_agree_in_a_row() -> None:
    odd = [(float(n), 190 if n % 4 else 50, 50) for n in range(60)]
    assert heard(odd).allowance(60.0, 5) is None
    assert heard(odd[:3]).allowance(3.0, 5) is None


def test_others_are_remembered_for_a_window_and_then_less_and_less() -> None:
    # They stop at 100 s: what the server counts of them falls for a minute.
    found, seen = Neighbours(), []
    for at in range(240):
        others = 40 if at < 100 else max(0, 40 - (at - 100) * 40 // 60)
        found.add(float(at), RateHeaders(200, 200 - 100 - others, 1.0), 200, 100, {})
        left = found.allowance(float(at), 5)
        seen.append(0 if left is None else left.others)
    assert max(seen[10:150]) == min(seen[10:150]) == 40
    assert 0 < seen[190] < seen[175] < seen[150]
    assert seen[230] == 0
    assert all(later <= sooner for sooner, later in itertools.pairwise(seen[10:]))


def test_a_fixed_window_with_all_its_requests_ours_shows_no_others() -> None:
    # 200 a minute evenly; the server's windows begin 25 s into ours.
    samples = []
    for n in range(600):
        at = n * 0.3
        samples.append((at, int((at + 25) % 60 / 0.3) + 1, min(n + 1, 201)))
    assert heard(samples).allowance(180.0, 5) is None


def test_a_fixed_window_shows_its_others_at_its_end() -> None:
    samples = []
    for second in range(240):
        begun = second % 60
        samples.append((float(second), begun * 100 // 60 + begun * 40 // 60, min(second, 60) * 100 // 60))
    left = heard(samples).allowance(239.0, 5)
    assert left is not None
    assert 30 <= left.others <= 40


@pytest.mark.parametrize(
    ("limit", "reset_s"),
    [(100_000, 20.0), (200, 3000.0)],
    ids=["far more than ours", "an hour's"],
)
def test_what_is_not_the_minutes_limit_tells_nothing(limit: int, reset_s: float) -> None:
    found = heard([(float(n), 190, 10) for n in range(60)], limit=limit, reset_s=reset_s)
    assert found.allowance(60.0, 5) is None


def test_headers_that_never_move_are_not_believed_for_long() -> None:
    at_zero = [(float(n), 200, 10) for n in range(100)]
    assert heard(at_zero[:60]).allowance(60.0, 5) is not None
    assert heard(at_zero).allowance(100.0, 5) is None
    falling = [(float(n), 200, 200 - 5 * n) for n in range(14)]
    assert heard(falling).allowance(14.0, 5) is None, "our own fell by a quarter of the limit"
    refused = Neighbours()
    for at, used, held in at_zero:
        refused.add(at, RateHeaders(200, 200 - used, 1.0), 200, held, {})
        if at % 30 == 0:
            refused.confirm()
    assert refused.allowance(100.0, 5) is not None, "what is refused is used up"


def test_random_headers_leave_more_than_half() -> None:
    chance = random.Random(1)
    found, least, taken = Neighbours(), 200, 0
    for at in range(600):
        found.add(float(at), RateHeaders(200, chance.randrange(201), None), 200, taken, {})
        left = found.allowance(float(at), 5)
        taken = 200 if left is None else left.minute
        if at > 300:
            least = min(least, taken)
    assert least > 100


def test_a_jump_of_the_clock_forgets_everything() -> None:
    found = heard((float(n), 90, 50) for n in range(10))
    found.forget(20.0)
    for at in range(10, 20):
        found.add(float(at), RateHeaders(200, 0, 1.0), 200, 0, {})
    assert found.allowance(20.0, 5) is None


@pytest.mark.parametrize(
    ("others", "left"),
    [(3, Allowance(3, 4, 195)), (60, Allowance(60, 4, 138)), (61, Allowance(61, 3, 137)), (200, Allowance(200, 1, 10))],
)
def test_a_part_of_the_limit_is_always_ours(others: int, left: Allowance) -> None:
    assert allowance(others, 200, 5) == left


def test_what_is_low_waits_for_the_end_of_a_window_that_has_one() -> None:
    fixed, sliding = Neighbours(), Neighbours()
    held_fixed = [fixed.add(float(n), RateHeaders(200, 30 - 3 * n, 40.0 - n), 200, 100 + 2 * n, {}) for n in range(10)]
    held_sliding = [sliding.add(float(n), RateHeaders(200, 30 - 3 * n, 40.0), 200, 100 + 2 * n, {}) for n in range(10)]
    assert held_fixed == [0.0] * 9 + [31.0]
    assert held_sliding == [0.0] * 10
    alone = Neighbours()
    assert [alone.add(float(n), RateHeaders(200, 3, 40.0 - n), 200, 197, {}) for n in range(10)] == [0.0] * 10


# --- two budgets that are one -------------------------------------------------------------------------------------------


def beside(samples: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """Which budgets share this one's limit, by (what the server counts beyond our own, what the other one sent)."""
    found = Neighbours()
    for at, (beyond, sent) in enumerate(samples):
        found.add(float(at), RateHeaders(200, 200 - 50 - beyond, 1.0), 200, 50, {"other": sent, "idle": 0})
    return found.sharing()


def test_budgets_whose_counts_move_together_are_one() -> None:
    assert beside((n - 2, n) for n in range(0, 100, 5)) == ("other",)


@pytest.mark.parametrize(
    "samples",
    [
        [(100, n) for n in range(0, 120, 2)],  # a bot here, and the other one grows past what it uses
        [(100, 100)] * 60,  # equal by chance, and neither moves
        [(n, 100) for n in range(0, 120, 2)],  # the bot grows
        [(0, n) for n in range(0, 120, 2)],  # alone here
        [(n % 15, n % 15) for n in range(60)],  # too few to tell
        [*((n, n) for n in range(20, 60, 3)), (100, 60)],  # more than the other one sent: somebody else is here too
    ],
)
def test_budgets_of_their_own_are_not_taken_for_one(samples: list[tuple[int, int]]) -> None:
    assert beside(samples) == ()


# --- saying so ----------------------------------------------------------------------------------------------------------


def test_others_are_said_once_and_again_only_after_they_had_stopped() -> None:
    shared, busy, quiet = Shared(), Usage(others=40, leaves=158), Usage()
    told = ((0.0, busy), (60.0, busy), (120.0, quiet), (ENDED_S, busy), (ENDED_S + 60, quiet), (3 * ENDED_S, busy))
    assert [shared.is_news(usage, now) for now, usage in told] == [True, False, False, False, False, True]
