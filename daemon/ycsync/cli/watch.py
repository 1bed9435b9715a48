"""`ycsync status --watch`: the standing again every second, until Ctrl-C, whatever becomes of database, file and window."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from ycsync.cli.output import document, screen_size
from ycsync.cli.reading import reading
from ycsync.cli.screen import BATCHES, Look, View, lines
from ycsync.config import Loaded, Settings, load
from ycsync.errors import ConfigError, DatabaseError
from ycsync.service import standing as judging
from ycsync.service.control import running
from ycsync.store.database import Database, translated
from ycsync.store.report import Report

REFRESH_S = 1.0
LOOK_S = 5.0  # a database that does not answer for so long is away
PROMPT_S = 0.2  # one that is well has answered by then, and the picture is of now


async def watch(loaded: Loaded, as_json: bool) -> int:
    """Until Ctrl-C, which is how it is meant to end. Exit code as `status`."""
    _end_with(signal.SIGTERM, signal.SIGHUP)
    watched: _Watched | None = None
    try:
        async with reading(loaded) as database:
            watched = _Watched(loaded, database, await _look(loaded, database))
            with _Objects() if as_json else _screen() as screen:
                await _follow(watched, screen)
    except asyncio.CancelledError:
        return 0 if watched is not None and watched.well else 1


def _end_with(*signals: signal.Signals) -> None:
    """As with Ctrl-C: the terminal is given back."""
    task = asyncio.current_task()
    assert task is not None
    for signum in signals:
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup
            asyncio.get_running_loop().add_signal_handler(signum, task.cancel)


async def _follow(watched: _Watched, screen: _Terminal | _Lines | _Objects) -> NoReturn:
    """Draw every second, and whenever the window changes, whether or not the database has answered."""
    asking: asyncio.Task[None] | None = None
    try:
        while True:
            screen.show(watched.view)
            await screen.wait(REFRESH_S)
            if asking is None:
                asking = asyncio.create_task(watched.again())
            await asyncio.wait((asking,), timeout=PROMPT_S)
            if asking.done():
                asking.result()
                asking = None
    finally:
        if asking is not None:
            asking.cancel()
            await asyncio.wait((asking,))


async def _look(loaded: Loaded, database: Database) -> View:
    """Raises DatabaseError."""
    settings = _settings(loaded)
    report = Report(database)
    with translated(database.where):
        async with asyncio.timeout(LOOK_S):
            standing = await report.standing(settings.yclients.egress)
            recent = await report.recent(BATCHES)
    return View(standing, judging.judge(standing, settings), recent, settings)


def _settings(loaded: Loaded) -> Settings:
    """As the file says now: it may be edited meanwhile."""
    if loaded.borrowed:  # of another database or budget than the running service's
        return loaded.settings
    with suppress(ConfigError):  # the service goes on with the old ones too
        return load(loaded.path, os.environ).settings
    return loaded.settings


class _Watched:
    """What is looked at, and how it was when it was seen last."""

    def __init__(self, loaded: Loaded, database: Database, view: View) -> None:
        self._loaded = loaded
        self._database = database
        self.view = view

    async def again(self) -> None:
        """As it is now, or, when nobody can be asked, as it was."""
        asked = datetime.now(UTC)
        try:
            self.view = await _look(self._loaded, self._database)
        except DatabaseError as error:
            since = asked if self.view.lost is None else self.view.lost[1]
            # The reason alone: the address would fill the line.
            why, stopped = str(error).removeprefix(f"{self._database.where}: "), False
            if self._loaded.database_url == "embedded" and not running(self._loaded.path):
                why, stopped = "the service is stopped, and its private PostgreSQL with it: systemctl start ycsync", True
            self.view = replace(self.view, lost=(why, since), stopped=stopped)

    @property
    def well(self) -> bool:
        """All that is on is complete and fresh, as far as can be seen."""
        return self.view.lost is None and judging.everything_well(self.view.judged)


class _Lines:
    """No terminal, or one that can only write on: a picture after the other."""

    def __init__(self, fancy: bool) -> None:
        self._fancy = fancy

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, view: View) -> None:
        """The picture, as long as it is."""
        look = Look(width=120, height=10_000, fancy=self._fancy)
        _say("\n".join(line.plain.rstrip() for line in lines(view, look, datetime.now(UTC))) + "\n")

    async def wait(self, seconds: float) -> None:
        """Until the next."""
        await asyncio.sleep(seconds)


class _Objects:
    """For programs: an object a line."""

    def __init__(self) -> None:
        self._shown: View | None = None

    def __enter__(self) -> _Objects:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, view: View) -> None:
        """What is known now; what was said already is not said again while the database has not answered."""
        if view.lost is not None:
            _say(document(judging.away_as_json(view.lost[0], datetime.now(UTC)), indent=None))
        elif view is not self._shown:
            _say(document(judging.as_json(view.standing, view.judged, view.settings), indent=None))
        self._shown = view

    async def wait(self, seconds: float) -> None:
        """Until the next."""
        await asyncio.sleep(seconds)


class _Terminal:
    """A terminal's whole screen, given back at the end. A window that changes its size is drawn at once."""

    def __init__(self, fancy: bool) -> None:
        self._fancy = fancy
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, screen=True)
        self._resized = asyncio.Event()

    def __enter__(self) -> _Terminal:
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, self._resized.set)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGWINCH)
        with self._there():
            self._live.stop()

    def show(self, view: View) -> None:
        """The picture, as large as the window is now."""
        width, height = screen_size(sys.stdout.fileno(), os.environ)
        self._console.size = ConsoleDimensions(width, height)
        drawn = lines(view, Look(width, height, self._fancy), datetime.now(UTC))
        with self._there():
            self._live.update(Group(*(Text.assemble(line, end="\n") for line in drawn)), refresh=True)

    async def wait(self, seconds: float) -> None:
        """Until the next, or until the window has another size."""
        self._resized.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._resized.wait()

    @contextmanager
    def _there(self) -> Iterator[None]:
        with _while_it_is_there():
            os.get_terminal_size(sys.stdout.fileno())  # the library writes nothing to a terminal that is none any more
            yield


def _say(text: str) -> None:
    with _while_it_is_there():
        print(text, flush=True)


@contextmanager
def _while_it_is_there() -> Iterator[None]:
    """A terminal that is gone (its window was closed, ssh ended) is a reader who has seen enough."""
    try:
        yield
    except OSError:
        raise BrokenPipeError from None


def _screen() -> _Terminal | _Lines:
    fancy = speaks_unicode(os.environ)
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return _Terminal(fancy)
    return _Lines(fancy)


def speaks_unicode(env: Mapping[str, str]) -> bool:
    """Does the terminal show more than ASCII? As the locale says, in the order in which the C library looks."""
    locale = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    return locale.lower().replace("-", "").endswith("utf8")
