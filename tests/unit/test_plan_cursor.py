"""Where does a stream stand? A pass, the deltas that close it, cycles, and the nights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ycsync.model.times import UNKNOWN
from ycsync.plan import cursor as cursors
from ycsync.plan.cursor import Cursor
from ycsync.plan.scan import Scan
from ycsync.plan.sweep import Sweep

NIGHT = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)  # 4:30 in Moscow
MOSCOW = ZoneInfo("Europe/Moscow")
NOON = datetime(2026, 11, 23, 9, tzinfo=UTC)
ZONES = (
    "Europe/Moscow", "Asia/Vladivostok", "Europe/Kaliningrad", "America/New_York", "Europe/London", "America/St_Johns",
    "Pacific/Kiritimati", "Atlantic/Azores", "Australia/Lord_Howe", "UTC",
)  # fmt: skip


@settings(max_examples=500)
@given(
    since=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(ZONES),
    fold=st.integers(0, 1),
)
def test_changed_after_is_never_later_than_meant_in_any_zone_that_it_may_be_read_in(
    since: datetime, zone: str, fold: int
) -> None:
    sent = datetime.fromisoformat(cursors.changed_after(since, ZoneInfo(zone)))
    for place in (UTC, ZoneInfo(zone), MOSCOW):
        read = sent.replace(tzinfo=place, fold=fold).astimezone(UTC)
        assert read <= since - cursors.OVERLAP + timedelta(seconds=1)


@pytest.mark.parametrize("minute", range(0, 180, 15))
def test_an_hour_that_the_clock_shows_twice_loses_nothing(minute: int) -> None:
    zone = ZoneInfo("America/New_York")
    since = datetime(2026, 11, 1, 4, 30, tzinfo=UTC) + timedelta(minutes=minute)
    sent = datetime.fromisoformat(cursors.changed_after(since, zone))
    for fold in (0, 1):
        assert sent.replace(tzinfo=zone, fold=fold).astimezone(UTC) <= since - cursors.OVERLAP


def test_where_the_zone_is_unknown_changed_after_is_early_enough_for_any() -> None:
    sent = datetime.fromisoformat(cursors.changed_after(NOON, UNKNOWN))
    for hours in range(-12, 15):
        assert sent.replace(tzinfo=timezone(timedelta(hours=hours))) <= NOON - cursors.OVERLAP


def test_a_corrected_zone_begins_a_delta_anew_with_its_own_filter() -> None:
    live = Cursor(kind="delta", since=NOON, rechecked_on=NOON.date(), dated=True)
    assert cursors.rezoned(live, "records", MOSCOW, ZoneInfo("Asia/Yekaterinburg"), NOON, missing=True) == (live, False)
    delta = begun(msgspec.structs.replace(live, swept=True, whole_since=NIGHT), "records", NOON)
    delta = msgspec.structs.replace(delta, swept=True, whole_since=NIGHT)
    new, anew = cursors.rezoned(delta, "records", MOSCOW, ZoneInfo("Etc/GMT+1"), NOON, missing=False)
    assert (anew, new.sweep, new.since) == (True, None, None)  # further west: what changed lately may have been held back
    berlin = ZoneInfo("Europe/Berlin")
    new, anew = cursors.rezoned(delta, "records", ZoneInfo("America/New_York"), berlin, NOON, missing=False)
    assert new.sweep is not None
    assert (anew, new.kind, new.swept, new.whole_since, new.sweep.began) == (True, "delta", True, NIGHT, None)
    assert new.sweep.changed_after == cursors.changed_after(NOON, berlin)


@pytest.mark.parametrize("stream", ["records", "clients", "transactions"])
def test_a_corrected_zone_begins_a_whole_reading_anew_only_if_it_missed_rows(stream: str) -> None:
    full = begun(Cursor(), stream, NOON)
    zone = ZoneInfo("Asia/Yekaterinburg")
    assert cursors.rezoned(full, stream, MOSCOW, zone, NOON, missing=False) == (full, False)
    new, anew = cursors.rezoned(full, stream, MOSCOW, zone, NOON, missing=True)
    reading = new.sweep or new.scan
    assert reading is not None
    assert (anew, new.kind, reading.began) == (True, "full", None)


def begun(cursor: Cursor, stream: str, now: datetime) -> Cursor:
    """The next reading, its first request just sent."""
    cursor = cursors.begin(cursor, stream, now, MOSCOW, 60)
    if cursor.sweep is not None:
        return msgspec.structs.replace(cursor, sweep=msgspec.structs.replace(cursor.sweep, began=now))
    assert cursor.scan is not None
    return msgspec.structs.replace(cursor, scan=msgspec.structs.replace(cursor.scan, began=now))


def ended(cursor: Cursor, stream: str, now: datetime, *, single: bool) -> tuple[Cursor, datetime | None]:
    reading = {"single": single}
    if cursor.sweep is not None:
        cursor = msgspec.structs.replace(cursor, sweep=msgspec.structs.replace(cursor.sweep, **reading))
    else:
        assert cursor.scan is not None
        cursor = msgspec.structs.replace(cursor, scan=msgspec.structs.replace(cursor.scan, **reading))
    after, proved = cursors.finish(cursor, stream, now, MOSCOW, 60)
    if after.sweep is not None:
        after = msgspec.structs.replace(after, sweep=msgspec.structs.replace(after.sweep, began=now))
    if after.scan is not None:
        after = msgspec.structs.replace(after, scan=msgspec.structs.replace(after.scan, began=now))
    return after, proved


@pytest.mark.parametrize("stream", ["records", "clients"])
def test_a_pass_of_several_answers_is_closed_by_a_delta_from_its_beginning(stream: str) -> None:
    cursor = begun(Cursor(), stream, NOON)
    assert cursor.kind == "full"
    cursor, proved = ended(cursor, stream, NOON + timedelta(minutes=5), single=False)
    assert (proved, cursor.kind, cursor.since) == (None, "delta", NOON)
    reading = cursor.sweep or cursor.scan
    assert reading is not None
    assert reading.changed_after == cursors.changed_after(NOON, MOSCOW)
    later = NOON + timedelta(minutes=5)
    cursor, proved = ended(cursor, stream, NOON + timedelta(minutes=6), single=True)
    assert (proved, cursor.busy, cursor.since) == (later, False, later)


@pytest.mark.parametrize("stream", ["records", "clients"])
def test_a_pass_of_one_answer_is_proved_at_once(stream: str) -> None:
    cursor, proved = ended(begun(Cursor(), stream, NOON), stream, NOON, single=True)
    assert (proved, cursor.since, cursor.busy) == (NOON, NOON, False)


@pytest.mark.parametrize("stream", ["records", "clients"])
def test_closing_rounds_are_bounded_and_claim_no_more_than_was_read(stream: str) -> None:
    cursor = begun(Cursor(), stream, NOON)
    rounds, proved, now = 0, None, NOON
    began = NOON
    while proved is None:
        rounds += 1
        assert rounds <= 1 + cursors.MAX_ROUNDS
        reading = cursor.sweep or cursor.scan
        assert reading is not None
        assert reading.began is not None
        began = reading.began
        now += timedelta(minutes=10)
        cursor, proved = ended(cursor, stream, now, single=False)
    assert proved == began


def live(stream: str, size: int = 0) -> Cursor:
    cursor, _ = ended(begun(Cursor(), stream, NOON), stream, NOON, single=True)
    return msgspec.structs.replace(cursor, size=size)


@pytest.mark.parametrize("stream", ["records", "clients"])
def test_a_recheck_comes_once_a_night(stream: str) -> None:
    cursor = live(stream)
    assert begun(cursor, stream, NOON + timedelta(hours=1)).kind == "delta"
    assert begun(cursor, stream, datetime(2026, 11, 23, 21, 30, tzinfo=UTC)).kind == "delta"  # 0:30 there
    night = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
    cursor = begun(cursor, stream, night)
    assert cursor.kind == "recheck"
    cursor, proved = ended(cursor, stream, night, single=False)
    while proved is None:
        cursor, proved = ended(cursor, stream, night, single=True)
    assert begun(cursor, stream, night + timedelta(hours=1)).kind == "delta"
    assert begun(cursor, stream, night + timedelta(days=1)).kind == "recheck"


def test_the_recheck_of_visits_reads_the_recent_past_and_still_closes_with_what_changed() -> None:
    night = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
    cursor = begun(live("records"), "records", night)
    assert cursor.sweep is not None
    assert cursor.sweep.scope_lo is not None
    assert cursor.sweep.scope_lo.isoformat() == "2026-09-25"
    cursor, proved = ended(cursor, "records", night, single=True)
    # Visits of other days may have changed: what was proved before is where the delta begins.
    assert (proved, cursor.kind, cursor.since) == (None, "delta", NOON)


@pytest.mark.parametrize(("stream", "sizes"), [("records", [50, 100, 200, 400, 800, 0]), ("clients", [25, 50, 100, 200, 0])])
def test_pages_that_had_to_shrink_grow_again_night_by_night(stream: str, sizes: list[int]) -> None:
    cursor = live(stream, sizes[0])
    night = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
    for size in sizes[1:]:
        cursor = begun(cursor, stream, night)
        assert cursor.size == size
        proved = None
        while proved is None:
            cursor, proved = ended(cursor, stream, night, single=True)
        night += timedelta(days=1)


def test_a_cursor_survives_being_stored_and_one_that_cannot_be_read_begins_anew() -> None:
    cursor = Cursor(kind="delta", sweep=Sweep(began=NOON, changed_after="2026-01-01T00:00:00"), since=NOON, swept=True)
    assert cursors.decode(cursors.encode(cursor)) == cursor
    assert cursors.decode(cursors.encode(Cursor(scan=Scan(began=NOON)))) == Cursor(scan=Scan(began=NOON))
    assert cursors.decode(None) == Cursor()
    assert cursors.decode('{"kind": "something else"}') == Cursor()


def test_the_lists_that_cannot_filter_are_read_whole_every_cycle() -> None:
    assert begun(msgspec.structs.replace(live("clients"), search=True), "clients", NOON).kind == "full"
    assert begun(msgspec.structs.replace(live("records"), delta_ignored=True), "records", NOON).kind == "full"


@pytest.mark.parametrize(
    ("stream", "mark"), [("clients", "search"), ("clients", "delta_ignored"), ("records", "delta_ignored")]
)
def test_what_the_server_did_not_do_is_tried_again_once_a_night_though_everything_is_read_every_cycle(
    stream: str, mark: str
) -> None:
    cursor, now, tried = msgspec.structs.replace(live(stream), **{mark: True}), NOON, []
    while now < NOON + timedelta(days=3):
        cursor = begun(cursor, stream, now)
        if not getattr(cursor, mark):
            tried.append(now)
            cursor = msgspec.structs.replace(cursor, **{mark: True})  # it still does not
        proved = None
        while proved is None:
            cursor, proved = ended(cursor, stream, now, single=True)
        now += timedelta(minutes=30)
    assert [each.astimezone(MOSCOW).day for each in tried] == [24, 25, 26]


def test_marks_of_an_earlier_sweep_are_not_applied_by_a_later_delta() -> None:
    assert not begun(msgspec.structs.replace(live("clients"), swept=True), "clients", NOON).swept


def test_payments_are_closed_by_their_last_days_and_read_whole_once_a_week_or_when_one_is_missed() -> None:
    stream, night = "transactions", NIGHT
    first = begun(Cursor(), stream, night)
    assert (first.kind, first.sweep and first.sweep.scope_lo) == ("full", None)
    closing, proved = ended(first, stream, night, single=False)
    assert proved is None
    assert closing.sweep is not None
    assert closing.sweep.changed_after is None  # nothing can be asked for by its change
    assert closing.sweep.scope_lo == (night - cursors.RECENT).astimezone(MOSCOW).date()
    done, proved = ended(closing, stream, night, single=False)
    assert proved == night  # one reading of the last days closes it, however many answers it took
    cycle = begun(done, stream, night + timedelta(hours=1))
    assert (cycle.kind, cycle.swept_from) == ("delta", closing.sweep.scope_lo)
    tomorrow = night + timedelta(days=1)
    assert begun(done, stream, tomorrow).kind == "recheck"
    assert cursors.begin(done, stream, tomorrow, MOSCOW, 60, doubted=True).kind == "full"
    assert begun(done, stream, night + cursors.WHOLE_AFTER).kind == "full"


def test_a_list_without_dates_is_read_whole_each_night() -> None:
    first = begun(Cursor(), "goods", NIGHT)
    assert first.scan is not None
    assert first.scan.size == 100
    done, proved = ended(first, "goods", NIGHT, single=True)
    assert proved == NIGHT
    again = begun(done, "goods", NIGHT + timedelta(days=1))
    assert again.kind == "recheck"
    assert again.scan is not None
    assert again.scan.changed_after is None
