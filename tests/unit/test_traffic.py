"""Does the chart of the last hour show each window as full as it was, however late and however often it was told?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ycsync.service.traffic import BUCKET_S, HOUR_S, Traffic

T0 = 1_772_452_800.0  # a multiple of BUCKET_S

gaps = st.lists(st.floats(0.0, 9.0).map(lambda gap: round(gap, 3)), min_size=1, max_size=120)


def fullest(times: list[float], start: int, window_s: float) -> int:
    """In the windows that end with a request of this bucket: looked at one by one."""
    ends = [at for at in times if start <= at < start + BUCKET_S]
    return max((sum(end - window_s < at <= end for at in times) for end in ends), default=0)


@given(gaps, st.integers(1, 20), st.integers(0, 10))
def test_every_bucket_has_its_fullest_second_and_minute(steps: list[float], each: int, overlap: int) -> None:
    times: list[float] = []
    at = T0
    for step in steps:
        times.append(at := round(at + step, 3))
    left = list(enumerate(times))
    traffic = Traffic()
    for n in range(0, len(left), each):
        told = left[max(0, n - overlap) : n + each]  # the last ones are told again
        traffic.add(told, told[-1][1] + 0.001)
    series = traffic.series()
    for start, second, minute in zip(series["at"], series["second"], series["minute"], strict=True):
        assert second == fullest(times, start, 1.0)
        assert minute >= fullest(times, start, 60.0)
        assert minute <= max(sum(end - 60.0 < at <= end for at in times) for end in [*times, start + BUCKET_S])
    assert series["at"] == list(range(series["at"][0], series["at"][-1] + BUCKET_S, BUCKET_S)), "no bucket is left out"


def test_a_minute_stays_full_until_it_is_over() -> None:
    traffic = Traffic()
    traffic.add([(slot, T0 + 0.1 * slot) for slot in range(100)], T0 + 10)
    for later in range(12, 90, 2):
        traffic.add([], T0 + later)
    minutes = dict(zip(traffic.series()["at"], traffic.series()["minute"], strict=True))
    assert minutes[int(T0) + 50] == 100
    assert minutes[int(T0) + 70] == 0


def test_who_was_away_for_a_while_finds_zeros_and_not_a_gap() -> None:
    traffic = Traffic()
    traffic.add([(1, T0)], T0 + 1)
    traffic.add([], T0 + 600)
    assert traffic.series()["second"] == [1, *[0] * 60]
    assert traffic.series()["minute"][5:8] == [1, 0, 0], "it counted for one minute"


def test_an_hour_is_remembered_and_no_more() -> None:
    traffic = Traffic()
    for n in range(500):
        traffic.add([(n, T0 + n * BUCKET_S)], T0 + n * BUCKET_S)
    series = traffic.series()
    assert len(series["at"]) == HOUR_S // BUCKET_S + 1
    assert series["at"][-1] == T0 + 499 * BUCKET_S
    traffic.add([(1, T0)], T0 + 500 * BUCKET_S)  # from before anything is remembered: no harm
    assert traffic.series(last=2) == {name: column[-2:] for name, column in traffic.series().items()}
