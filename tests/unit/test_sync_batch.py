"""What does a batch conclude from one answer, or from none?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ycsync.api import Page, Request, Tally
from ycsync.errors import Rejected, Transient
from ycsync.sync.batch import REPEATED_TRIES, Batch, InFlight, smaller_by, unfiltered

SINCE = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD, NEW = SINCE - timedelta(days=3), SINCE + timedelta(minutes=1)


def answer(*changed: datetime | None) -> Any:
    return SimpleNamespace(rows=[SimpleNamespace(changed_at=at) for at in changed])


@pytest.mark.parametrize(
    ("changed", "ignored"),
    [
        ([OLD], False),  # a payment moved what the filter looks at, not what the row shows
        ([OLD] * 4, False),
        ([OLD] * 5, True),
        ([OLD] * 5 + [NEW] * 5, False),
        ([OLD] * 6 + [NEW] * 5, True),
        ([None] * 9, False),
        ([SINCE - timedelta(hours=25)] * 9, False),  # an offset that the server reads otherwise is no proof
        ([], False),
    ],
)
def test_a_filter_is_distrusted_for_several_old_rows(changed: list[datetime | None], ignored: bool) -> None:
    assert unfiltered(answer(*changed), SINCE) is ignored
    assert unfiltered(answer(*changed), None) is False


def test_few_sizes_are_tried_when_each_takes_a_whole_time_out() -> None:
    assert smaller_by(Transient("no answer in time", heavy=True, slow=True)) == 8
    assert smaller_by(Transient("too large", heavy=True)) == 2
    assert smaller_by(Rejected("this size is refused")) == 2


@pytest.mark.parametrize(("wrong", "reread"), [(0, 0), (1, 1), (9, REPEATED_TRIES)])
async def test_a_page_that_shows_a_row_twice_is_read_anew_and_counted(
    monkeypatch: pytest.MonkeyPatch, wrong: int, reread: int
) -> None:
    answers = [(b"1", b"1")] * wrong + [(b"1", b"2")]

    async def fetch(_self: Batch, _request: Request) -> Page:
        return Page(SINCE, answers.pop(0), 2)

    monkeypatch.setattr(Batch, "fetch", fetch)
    held: Any = SimpleNamespace()
    batch = Batch(held, held, held, held, ZoneInfo("UTC"), lambda: SINCE, Tally(), 1)

    def parse(rows: tuple[bytes, ...]) -> Any:
        return SimpleNamespace(ids=tuple(int(row) for row in rows), rejects=(), seen=len(rows))

    await batch.read(Request("clients", 1, "/clients/1"), parse)
    assert batch.reread == reread


async def test_of_several_that_fail_at_once_nobody_complains_later(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise Transient("no answer")

    async with InFlight[int]() as flight:
        flight.start(1, fail())
        flight.start(2, fail())
        assert len(await flight.finished()) == 2
    import gc

    gc.collect()
    assert "never retrieved" not in caplog.text
