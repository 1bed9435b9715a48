"""How does a real `ycsync` die at a chosen await? A process that forks itself for each command, and counts every suspension.

Everything is imported once, before any event loop or thread, so that a command costs no start. The child runs the command as
it is, on asyncio's own loop (what is written is sent at once, so that "before the answer" is exactly that), and every task is
wrapped: whenever a coroutine of ycsync lets go of the loop ("leaves") and whenever it gets it back ("returns"), the place
is counted by the innermost line of ycsync and, in a database call, by the statement. At the chosen place the process sends
itself a signal. SIGKILL is the end: nothing of Python runs any more, the kernel closes the sockets.

One line of JSON in for each command, two out: its pid, and how it ended.
"""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import contextvars
import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import typer
import uvloop

import ycsync.cli
from support.patience import own_clock
from ycsync.cli.app import app
from ycsync.plan import cursor as cursors
from ycsync.service import daemon, follow
from ycsync.store.work import Claim, Work
from ycsync.sync import batch as batches
from ycsync.sync import records
from ycsync.sync.clients import ClientsBatch
from ycsync.sync.records import RecordsBatch

ROOT = str(Path(ycsync.cli.__file__).parents[1]) + os.sep
_MANAGER = contextlib._AsyncGeneratorContextManager
_MANAGERS = {_MANAGER.__aenter__.__code__, _MANAGER.__aexit__.__code__}
_FRAMES = ("cr_frame", "ag_frame", "gi_frame")
_AWAITED = ("cr_await", "ag_await", "gi_yieldfrom")
_window: contextvars.ContextVar[object] = contextvars.ContextVar("window", default=None)


def place_of(coroutine: Any) -> str | None:
    """Where a coroutine of ycsync stands: what reads, the line that waits, the statement if it is one. None: not ours."""
    reader = place = statement = None
    while coroutine is not None:
        frame = next((one for name in _FRAMES if (one := getattr(coroutine, name, None)) is not None), None)
        if frame is not None:
            file = frame.f_code.co_filename
            if file.startswith(ROOT):
                line = f"{file.removeprefix(ROOT)}:{frame.f_lineno}"
                if line.startswith("sync/"):
                    reader = reader if "batch.py" in line and reader else line
                elif not line.startswith("store/database.py") or place is None or frame.f_code.co_name == "transaction":
                    place = line
                place, statement = place or line, None
            elif "/asyncpg/" in file and "query" in frame.f_code.co_varnames:
                statement = " ".join(str(frame.f_locals.get("query")).split())[:32]
            elif frame.f_code in _MANAGERS:
                # Where an async generator is waited for, only its manager knows it.
                coroutine = frame.f_locals["self"].gen
                continue
        coroutine = next((one for name in _AWAITED if (one := getattr(coroutine, name, None)) is not None), None)
    return None if place is None else " ".join(part for part in (reader, place, statement) if part)


class Points:
    """Counts places; at the chosen one it writes down what was under way and sends the signal."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.at: tuple[str, str, int] | None = tuple(spec["at"]) if spec.get("at") else None
        self.signal = int(spec.get("signal") or signal.SIGKILL)
        self.armed = not spec.get("armed_by_stop")
        self.report = spec["report"]
        self.asked: dict[int, list[tuple[object, list[str]]]] = {}  # by batch: (page, request) that no commit holds yet
        self.hit: float | None = None

    def pass_by(self, edge: str, place: str | None) -> None:
        """A task leaves or returns."""
        if place is None or not self.armed:
            return
        self.counts[place, edge] += 1
        if self.at is None or self.hit is not None:
            return
        where, which, number = self.at
        if place == where and edge == which and self.counts[place, edge] == number:
            self.hit = own_clock()
            self.write()
            os.kill(os.getpid(), self.signal)

    def write(self) -> None:
        """What the test wants to know, said before the end."""
        open_requests = [request for pages in self.asked.values() for _, request in pages]
        told = {
            "hit": self.hit is not None,
            "seconds": None if self.hit is None else own_clock() - self.hit,
            "open": open_requests,
            "points": [[place, edge, count] for (place, edge), count in self.counts.items()],
        }
        with open(f"{self.report}.new", "w", encoding="utf-8") as file:
            json.dump(told, file)
        os.replace(file.name, self.report)  # whole, or not there


class Counted(collections.abc.Coroutine[Any, Any, Any]):
    """A coroutine whose every suspension is counted."""

    def __init__(self, inner: Any, points: Points) -> None:
        self._inner = inner
        self._points = points
        self._begun = False

    def _step(self, go: Callable[[], Any]) -> Any:
        if self._begun:
            self._points.pass_by("returns", place_of(self._inner))
        self._begun = True
        yielded = go()
        self._points.pass_by("leaves", place_of(self._inner))
        return yielded

    def send(self, value: Any) -> Any:
        return self._step(lambda: self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._step(lambda: self._inner.throw(*error))

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return (yield from self._inner.__await__())


def _watch_requests(points: Points) -> None:
    """Keep a list of requests that left and whose page no commit holds yet."""
    fetch, commit, finish = batches.Batch.fetch, batches.Batch.commit, Work.finish

    async def watched_fetch(self: Any, request: Any, **options: Any) -> Any:
        body = "" if request.body is None else request.body.decode()
        asked = [request.method, request.path, json.dumps(sorted(request.params)), body]
        points.asked.setdefault(id(self), []).append((_window.get(), asked))
        return await fetch(self, request, **options)

    async def watched_commit(self: Any, *args: Any, **options: Any) -> Any:
        effect = await commit(self, *args, **options)
        if self.claim.stream != "companies":
            forget(self, None)  # a list: all its answers are in this commit
        return effect

    async def watched_finish(
        self: Work, claim: Claim, worker: int, due_in_s: float | None, cadence_s: float | None = None, zone: str | None = None
    ) -> None:
        await finish(self, claim, worker, due_in_s, cadence_s, zone)
        if claim.stream == "companies":
            # The list of salons is in hand until the salons that it names have begun.
            for batch, pages in points.asked.items():
                points.asked[batch] = [one for one in pages if one[1][1] != "/companies"]

    def forget(batch: Any, window: object) -> None:
        points.asked[id(batch)] = [one for one in points.asked.get(id(batch), []) if one[0] != window]

    def watched_ask(name: str, kind: type[Any]) -> None:
        ask: Callable[..., Coroutine[Any, Any, Any]] = getattr(kind, name)
        absorb: Callable[..., Coroutine[Any, Any, Any]] = kind._absorb

        async def asking(self: Any, page: object, *more: Any) -> Any:
            _window.set(page)
            return await ask(self, page, *more)

        async def absorbing(self: Any, page: object, *more: Any) -> Any:
            result = await absorb(self, page, *more)
            forget(self.batch, page)
            return result

        setattr(kind, name, asking)
        kind._absorb = absorbing

    batches.Batch.fetch = watched_fetch  # type: ignore[method-assign]
    batches.Batch.commit = watched_commit  # type: ignore[method-assign]
    Work.finish = watched_finish  # type: ignore[method-assign]
    watched_ask("_ask", RecordsBatch)
    watched_ask("_page", ClientsBatch)


def run(spec: dict[str, Any]) -> int:
    """One command, in this (forked) process; returns its exit code."""
    output = os.open(spec["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(spec["environ"])
    points = Points(spec)
    _watch_requests(points)
    follow.POLL_S = spec.get("poll", 0.02)  # how often a command looks is no part of what is tried
    records.CLIENTS_WAIT_S = 0.05  # and so is how long visits wait for clients
    if spec.get("night"):
        cursors.RECHECK_HOUR = 0  # whatever the hour is now
    stop = daemon.Daemon._stop

    def stopping(self: daemon.Daemon, name: str) -> None:
        points.armed = True
        stop(self, name)

    daemon.Daemon._stop = stopping  # type: ignore[method-assign]

    def new_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(lambda loop, inner, **options: asyncio.Task(Counted(inner, points), loop=loop, **options))
        return loop

    uvloop.new_event_loop = new_loop  # type: ignore[assignment]
    code: Any = 70
    try:
        app(spec["arguments"])
    except SystemExit as exc:
        code = exc.code or 0
    except BaseException:
        traceback.print_exc()
    for late in (signal.SIGTERM, signal.SIGINT):
        signal.signal(late, signal.SIG_IGN)  # it has ended; only the report is left to be written
    if points.hit is None or points.signal != signal.SIGKILL:
        points.write()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code)


def main() -> None:
    """Fork once for each line."""
    # A command imports what it needs when it is used; here all of it is there before the fork.
    importlib.import_module("structlog")
    dict(typer.main.get_group(app).commands)
    assert threading.active_count() == 1, "a process with threads must not fork"
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(run(json.loads(line)))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
