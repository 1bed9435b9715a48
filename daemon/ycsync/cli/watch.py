"""`ycsync status --watch`: the standing again every second, until Ctrl-C, whatever becomes of database, file and window."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from ycsync.cli.reading import reading
from ycsync.cli.screen import BATCHES, Look, View, lines
from ycsync.config import Loaded, Settings, load
from ycsync.errors import ConfigError, DatabaseError
from ycsync.service import standing as judging
from ycsync.store.report import Report

REFRESH_S = 1.0


async def watch(loaded: Loaded, as_json: bool) -> int:
    """Until Ctrl-C, which is how it is meant to end. Exit code as `status`."""
    view: View | None = None
    try:
        async with reading(loaded) as database:
            watched = _Watched(loaded, Report(database))
            view = await watched.look()
            if as_json:
                while True:
                    print(
                        json.dumps(judging.as_json(view.standing, view.judged, view.settings), ensure_ascii=False), flush=True
                    )
                    await asyncio.sleep(REFRESH_S)
                    view = await watched.look()
            with _screen() as screen:
                while True:
                    screen.show(view)
                    await screen.wait(REFRESH_S)
                    view = await watched.again(view)
    except asyncio.CancelledError:
        return 0 if view is not None and judging.everything_well(view.judged) else 1


class _Watched:
    """What is looked at: the database, and the file, which may be edited meanwhile."""

    def __init__(self, loaded: Loaded, report: Report) -> None:
        self._loaded = loaded
        self._report = report

    async def look(self) -> View:
        """Raises DatabaseError."""
        settings = self._settings()
        standing = await self._report.standing(settings.yclients.egress)
        recent = await self._report.recent(BATCHES)
        return View(standing, judging.judge(standing, settings), recent, settings)

    async def again(self, before: View) -> View:
        """As it is now, or, when nobody can be asked, as it was."""
        try:
            return await self.look()
        except DatabaseError as error:
            since = datetime.now(UTC) if before.lost is None else before.lost[1]
            return replace(before, lost=(str(error), since))

    def _settings(self) -> Settings:
        with suppress(ConfigError):  # the service goes on with the old ones too
            return load(self._loaded.path, os.environ).settings
        return self._loaded.settings


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
        print("\n".join(line.plain.rstrip() for line in lines(view, look, datetime.now(UTC))) + "\n", flush=True)

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
        self._live.stop()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGWINCH)

    def show(self, view: View) -> None:
        """The picture, as large as the window is now."""
        with suppress(OSError):  # rather the window's than that of COLUMNS and LINES
            self._console.size = ConsoleDimensions(*os.get_terminal_size(sys.stdout.fileno()))
        width, height = self._console.size
        drawn = lines(view, Look(width, height, self._fancy), datetime.now(UTC))
        self._live.update(Group(*(Text.assemble(line, end="\n") for line in drawn)), refresh=True)

    async def wait(self, seconds: float) -> None:
        """Until the next, or until the window has another size."""
        self._resized.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._resized.wait()


def _screen() -> _Terminal | _Lines:
    fancy = speaks_unicode(os.environ)
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return _Terminal(fancy)
    return _Lines(fancy)


def speaks_unicode(env: Mapping[str, str]) -> bool:
    """Does the terminal show more than ASCII? As the locale says, in the order in which the C library looks."""
    locale = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    return locale.lower().replace("-", "").endswith("utf8")
