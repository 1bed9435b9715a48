"""Does a pass that is followed say who does it, and how, and what it waits for, once?"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from ycsync.cli import sync
from ycsync.cli.sync import Display
from ycsync.service.follow import Wish
from ycsync.store.work import StreamProgress

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
ROW = StreamProgress(4001, "clients", "filling", 100, 50, 3, None, None, None, NOW, None, 1, 0, True)


def shown(wish: Wish, *calls: tuple[bool, datetime | None]) -> list[str]:
    text = io.StringIO()
    with Display(Console(file=text, width=200), wish, timedelta(minutes=3)) as display:
        for by_service, next_at in calls:
            display.show([ROW], by_service, next_at)
    return text.getvalue().splitlines()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "it does the work with its own settings; this follows it"),
        ({"confirm_deletions": True, "max_batches": 2}, "it does the work with its own settings; this follows it"),
        (
            {"preset": "night", "batch_size": 25, "interval_s": 90.0},
            "it does the work with --preset night, --batch-size 25, --interval 90s as asked, at the requests a second and a "
            "minute of its own preset; this follows it",
        ),
    ],
)
def test_what_a_service_honours_is_said_once(options: dict[str, object], says: str) -> None:
    wish = Wish((), ("clients",), options)
    assert shown(wish, (False, None), (True, None), (True, None)) == [f"a service is running: {says}"]


def test_the_next_batch_is_said_once_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sync, "LINE_EVERY_S", 0.0)
    at = datetime.now(UTC) + timedelta(days=2)
    clock = f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
    near, later = at + timedelta(milliseconds=400), at + timedelta(minutes=3)
    said = shown(Wish((), ("clients",), {}), (False, at), (False, near), (False, near), (False, None), (False, later))
    assert said[0] == f"next batch at {clock} (interval 3m)"
    assert len(said) == 2
    assert capsys.readouterr().err.splitlines() == ["clients 50/100"], "the same figures are not repeated meanwhile"
