"""`ycsync sync`: one pass to the end, with a progress bar, by the running service or by itself."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ycsync.cli.common import ConfigOption, command, run, settings_of
from ycsync.cli.reading import reading
from ycsync.config import STREAMS, Loaded, Settings, format_duration, parse_duration
from ycsync.errors import DatabaseError, UsageError
from ycsync.model.declared import Paging
from ycsync.model.streams import DECLARED
from ycsync.plan.cost import (
    LIST_OF_SALONS,
    bulk_requests,
    by_client_requests,
    client_pages,
    client_requests,
    declared_requests,
    prefers_by_client,
)
from ycsync.service.follow import Follower, Outcome, Wish
from ycsync.service.runtime import open_database
from ycsync.store.database import Database
from ycsync.store.work import StreamProgress, Work

LINE_EVERY_S = 5.0
SAME = timedelta(seconds=2)  # two clocks tell of one instant


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sync")(sync)


@command
def sync(
    streams: Annotated[
        list[str] | None, typer.Argument(metavar="[STREAM]…", help=f"{', '.join(STREAMS)} [default: those that are on]")
    ] = None,
    company: Annotated[list[int] | None, typer.Option("--company", help="Only this salon; may be repeated.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Another preset, for this pass.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Units of work a batch.")] = None,
    interval: Annotated[
        str | None, typer.Option("--interval", help="Between the starts of two batches: 90s, 3m, 0s.", metavar="DUR")
    ] = None,
    max_batches: Annotated[int | None, typer.Option("--max-batches", min=1, help="Stop after so many batches.")] = None,
    start_at: Annotated[
        str | None, typer.Option("--start-at", metavar="HH:MM", help="Wait until then (this machine's clock).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked; ask and write nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the last run stopped (the default).")] = False,
    force: Annotated[bool, typer.Option("--force", help="A fresh pass, over the rows that are there.")] = False,
    confirm_deletions: Annotated[
        bool, typer.Option("--confirm-deletions", help="Delete rows even if they are more than 10 %.")
    ] = False,
    config: ConfigOption = None,
) -> int:
    """One pass to the end. It goes on where the last one stopped; a running service is asked to do the work."""
    if resume and force:
        raise UsageError("--resume and --force contradict each other: --force starts from the beginning.")
    loaded = settings_of(config)
    asked = _streams(streams, loaded.settings)
    duration = _duration(interval)
    settings = loaded.settings.with_overrides(preset=preset, batch_size=batch_size, interval=duration)
    options: dict[str, object] = {}
    if preset is not None:
        options["preset"] = preset
    if batch_size is not None:
        options["batch_size"] = batch_size
    if duration is not None:
        options["interval_s"] = duration.total_seconds()
    if max_batches is not None:
        options["max_batches"] = max_batches
    if confirm_deletions:
        options["confirm_deletions"] = True
    wish = Wish(tuple(company or ()), asked, options, force or confirm_deletions, max_batches)
    start = start_at or (settings.active.start_at.strftime("%H:%M") if preset and settings.active.start_at else None)
    return run(_main(loaded, settings, wish, _at(start), dry_run))


async def _main(loaded: Loaded, settings: Settings, wish: Wish, start: datetime | None, dry_run: bool) -> int:
    if dry_run:
        return await _dry_run(loaded, settings, wish)
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    console = Console(stderr=True)
    begun = time.monotonic()
    try:
        if start is not None:
            console.print(f"waiting until {start:%H:%M}", highlight=False)
            await asyncio.sleep(max(0.0, (start - datetime.now().astimezone()).total_seconds()))
        async with open_database(loaded, migrating=True) as database:
            with Display(console, wish, settings.active.interval) as display:
                outcome = await Follower(loaded, settings, database, wish, display.show).run()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    return _report(outcome, time.monotonic() - begun)


def _report(outcome: Outcome, seconds: float) -> int:
    by_stream: dict[str, list[StreamProgress]] = {}
    for row in outcome.rows:
        by_stream.setdefault(row.stream, []).append(row)
    parts = [f"{sum(row.done for row in rows)} {stream}" for stream, rows in by_stream.items()]
    if outcome.complete:
        print(f"complete: {', '.join(parts)} in {seconds:.1f} s" + (" (by the service)" if outcome.by_service else ""))
        return 0
    print(f"not complete: {', '.join(parts)} after {seconds:.1f} s", file=sys.stderr)
    for problem in outcome.problems:
        print(f"ycsync: {problem}", file=sys.stderr)
    return 1


class Display:
    """Progress: bars on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, wish: Wish, interval: timedelta) -> None:
        self._console = console
        self._wish = wish
        self._interval = interval
        self._next: datetime | None = None
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description:10}"),
            BarColumn(),
            TextColumn("{task.completed:>7.0f} of {task.fields[expected]}"),
            TextColumn("{task.fields[requests]} requests"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._last = time.monotonic()
        self._asked = False

    def __enter__(self) -> Display:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._progress.stop()

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def show(self, rows: Sequence[StreamProgress], by_service: bool, next_at: datetime | None) -> None:
        """The streams as they stand; that nothing is done until `next_at` is said once."""
        if by_service and not self._asked:
            self._asked = True
            self._say(f"a service is running: it does the work {_asked_for(self._wish)}; this follows it")
        if next_at is not None and (self._next is None or abs(next_at - self._next) > SAME):
            self._next = next_at
            self._say(f"next batch at {_clock(next_at)} (interval {format_duration(self._interval)})")
        totals: dict[str, tuple[int, int, int]] = {}
        for row in rows:
            done, expected, requests = totals.get(row.stream, (0, 0, 0))
            totals[row.stream] = (done + row.done, expected + (row.expected or 0), requests + row.requests)
        if not self._live:
            if next_at is None and time.monotonic() - self._last >= LINE_EVERY_S:
                self._last = time.monotonic()
                texts = [f"{stream} {done}/{expected or '?'}" for stream, (done, expected, _) in totals.items()]
                print("; ".join(texts), file=sys.stderr, flush=True)
            return
        for stream, (done, expected, requests) in totals.items():
            if stream not in self._bars:
                self._bars[stream] = self._progress.add_task(stream, total=None, expected="?", requests=0)
            self._progress.update(
                self._bars[stream], completed=done, total=expected or None, expected=expected or "?", requests=requests
            )


def _asked_for(wish: Wish) -> str:
    """How a service does what it is asked. The limiter of its address keeps the rates of the service's own preset."""
    options = wish.options
    given = [f"--preset {options['preset']}"] if "preset" in options else []
    given += [f"--batch-size {options['batch_size']}"] if "batch_size" in options else []
    interval = options.get("interval_s")
    given += [f"--interval {format_duration(timedelta(seconds=interval))}"] if isinstance(interval, float) else []
    if not given:
        return "with its own settings"
    return f"with {', '.join(given)} as asked, at the requests a second and a minute of its own preset"


def _clock(at: datetime) -> str:
    """On this machine's clock, with the day if that is another."""
    local, today = at.astimezone(), datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"


def _streams(streams: Sequence[str] | None, settings: Settings) -> tuple[str, ...]:
    if not streams:
        return tuple(name for name, cadence in settings.streams.items() if cadence is not None)
    for name in streams:
        if name not in STREAMS:
            raise UsageError(f"no stream {name[:40]!r}: choose of {', '.join(STREAMS)}.")
    return tuple(dict.fromkeys(streams))


def _duration(text: str | None) -> timedelta | None:
    return None if text is None else parse_duration(text)


def _at(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        wall = datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise UsageError(f"--start-at takes a time of day such as 22:00, not {text[:20]!r}.") from None
    now = datetime.now().astimezone()
    at = now.replace(hour=wall.hour, minute=wall.minute, second=0, microsecond=0)
    return at if at > now - timedelta(minutes=1) else at + timedelta(days=1)


async def _dry_run(loaded: Loaded, settings: Settings, wish: Wish) -> int:
    """What the next pass would ask. Nothing is asked or written."""
    preset = settings.active
    every = format_duration(preset.interval)
    print(f"dry run with preset {settings.preset}: at most {preset.batch_size} units a batch, a batch every {every}")
    try:
        async with reading(loaded) as database:
            await _dry_rows(database, settings, wish)
    except DatabaseError as exc:
        if type(exc) is not DatabaseError and loaded.database_url != "embedded":
            raise  # it cannot be reached, or is not ours: that is no plan
        print(f"the database knows nothing yet ({exc})")
        print("first: the list of salons, 1 request; then each salon's services, staff, clients and visits.")
        print("`ycsync plan --live` asks the salon for its counts.")
    return 0


async def _dry_rows(database: Database, settings: Settings, wish: Wish) -> None:
    rows = await Work(database).progress(wish.companies or None, list({*wish.streams, "clients"}))
    clients = {row.company: _size(row) for row in rows if row.stream == "clients"}
    in_all: int | None = 0
    if "companies" in wish.streams:
        in_all = LIST_OF_SALONS
        print(f"the list of salons: {_requests(LIST_OF_SALONS)}")
    for row in rows:
        if not row.company or row.stream == "companies" or row.stream not in wish.streams:
            continue
        says, requests = _next(row, clients.get(row.company, 0), settings, wish.afresh)
        in_all = None if in_all is None or requests is None else in_all + requests
        print(f"salon {row.company}, {row.stream}: {says}")
    if wish.afresh and in_all and clients:
        print(f"in all about {_requests(in_all)}")


def _next(row: StreamProgress, clients: int, settings: Settings, afresh: bool) -> tuple[str, int | None]:
    """What the next pass of a stream asks, in words and in requests (None: that cannot be known)."""
    if row.stream in ("services", "staff"):
        requests = 2 if row.stream == "services" else 1
        return _requests(requests), requests
    size, declared = _size(row), DECLARED.get(row.stream)
    live = row.phase == "live"
    whole = declared is not None and (declared.paging is Paging.ANSWER or (live and declared.paging is Paging.PAGES))
    if declared is not None and (afresh or whole) and (size or live):
        requests = declared_requests(declared, size)
        return f"all {size}, about {_requests(requests)}", requests
    if not size and row.phase != "live":
        return "not counted yet", None
    if afresh:
        requests = client_requests(size) if row.stream == "clients" else _visits(clients, size, settings)
        return f"all {size} from the beginning, about {_requests(requests)}", requests
    if row.phase == "live":
        look = ", and 1 for the count" if row.stream == "clients" else ""
        return f"complete; what changed since {row.last_success_at:%Y-%m-%d %H:%M} UTC, 1 request or a few{look}", None
    left = max(0, size - row.done)
    if declared is not None:
        requests = declared_requests(declared, left)
    else:
        requests = client_pages(left) if row.stream == "clients" else bulk_requests(left)
    return f"{left} of {size} are left, about {_requests(requests)}", requests


def _visits(clients: int, visits: int, settings: Settings) -> int:
    """A whole reading of the visits, in the way that is chosen for it."""
    by_client = settings.history == "by_client" or (settings.history == "auto" and prefers_by_client(clients, visits))
    return by_client_requests(clients) if by_client else bulk_requests(visits)


def _size(row: StreamProgress) -> int:
    return max(row.expected or 0, row.done)


def _requests(number: int) -> str:
    return f"{number} request{'' if number == 1 else 's'}"
