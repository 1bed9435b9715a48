"""Does `status --watch` work on a real terminal: size, resize, Ctrl-C, a database that goes away, no colour, no terminal?"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from faultproxy import NONE, FaultProxy, Faults
from filled import execute as sql
from filled import fill, write_config
from support.bouncer import through, upstream_of
from support.patience import SAFETY_S, Stopwatch
from ycsync.cli.watch import LOOK_S

TITLE = "Салон «Ольга» — 💇"
ALTERNATE, BACK, CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


class Terminal:
    """A pseudo-terminal with a command in it."""

    def __init__(self, config: Path, columns: int, rows: int, *, stderr: int | None, env: dict[str, str]) -> None:
        self.output = ""
        self._master, slave = pty.openpty()
        os.set_blocking(self._master, False)
        self.size(columns, rows)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ycsync", "status", "--watch", "--config", str(config)],
            stdin=slave, stdout=slave, stderr=slave if stderr is None else stderr, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **env},
        )  # fmt: skip
        os.close(slave)

    def size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        self.size(columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    def read(self) -> str:
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self._master, 65536):
                self.output += data.decode(errors="replace")
        return self.output

    async def until(self, text: str, timeout_s: float = SAFETY_S) -> str:
        """What was written since this was asked last, up to now."""
        begun, deadline = len(self.output), time.monotonic() + timeout_s
        while text not in plain(self.read()[begun:]):
            assert self.process.poll() is None, self.output[-2000:]
            assert time.monotonic() < deadline, plain(self.output[-3000:])
            await asyncio.sleep(0.05)
        return self.output[begun:]

    async def interrupt(self, signum: signal.Signals = signal.SIGINT, own: Stopwatch | None = None) -> int:
        self.process.send_signal(signum)
        while self.process.poll() is None:
            if own is not None:
                own.look()
            self.read()
            await asyncio.sleep(0.02)
        self.read()
        return self.process.returncode

    def hang_up(self) -> None:
        """As when ssh ends: there is no terminal any more."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._master >= 0:
            self.hang_up()


def plain(text: str) -> str:
    """Without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def config(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YCSYNC_DATABASE_URL", database_url)
    fill(database_url)
    return write_config(tmp_path)


@contextlib.contextmanager
def watching(config: Path, columns: int = 100, rows: int = 30, *, stderr: int | None = None, **env: str) -> Iterator[Terminal]:
    terminal = Terminal(config, columns, rows, stderr=stderr, env=env)
    try:
        yield terminal
    finally:
        terminal.close()


async def test_it_takes_the_screen_follows_the_window_and_gives_it_back(config: Path, database_url: str) -> None:
    with watching(config, 120, 40) as terminal:
        first = await terminal.until("Everything that is on is complete and fresh.")
        assert first.startswith(ALTERNATE)
        assert "requests in the last minute, the preset takes" in plain(first)
        terminal.resize(44, 14)
        small = plain(await terminal.until("salons: "))
        assert "the preset takes" not in small.split("salons: ")[0].rpartition("ycsync")[2]
        update = "update yclients.sync_status set phase = 'stopped', last_error = 'no rights' where company_id = 4002"
        await asyncio.to_thread(sql, database_url, update)
        await terminal.until("Not complete or not fresh")
        assert await terminal.interrupt() == 1
        assert BACK in terminal.output


async def test_a_terminal_that_does_not_know_its_size_shows_something(config: Path) -> None:
    with watching(config, 0, 0, COLUMNS="", LINES="") as terminal:
        await terminal.until("Everything that is on is complete and fresh.")
        terminal.resize(120, 40)
        await terminal.until("requests in the last minute, the preset takes")
        assert await terminal.interrupt() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
async def test_it_ends_with_other_signals_as_with_ctrl_c(config: Path, signum: signal.Signals) -> None:
    with watching(config) as terminal:
        await terminal.until("Everything that is on is complete and fresh.")
        assert await terminal.interrupt(signum) == 0
        left = terminal.output.rpartition(ALTERNATE)[2]
        assert BACK in left
        assert CURSOR in left
        assert "Traceback" not in left


@pytest.mark.parametrize(("term", "told"), [("xterm", True), ("xterm", False), ("dumb", False)])
async def test_it_ends_with_its_terminal(config: Path, tmp_path: Path, term: str, told: bool) -> None:
    with (tmp_path / "stderr").open("w+") as stderr, watching(config, stderr=stderr.fileno(), TERM=term) as terminal:
        await terminal.until("Everything that is on is complete and fresh.")
        terminal.hang_up()
        if told:
            terminal.process.send_signal(signal.SIGHUP)
        assert await asyncio.to_thread(terminal.process.wait, 10) == 0
        stderr.seek(0)
        assert stderr.read() == ""


async def test_without_colour_there_is_none_and_without_letters_ascii(config: Path, database_url: str) -> None:
    await asyncio.to_thread(sql, database_url, f"update yclients.companies set title = '{TITLE}'")
    with watching(config, NO_COLOR="1", LC_ALL="C") as terminal:
        out = await terminal.until("Everything that is on is complete and fresh.")
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", out)
        assert "[#" in plain(out) or "[." in plain(out)
        assert plain(out).isascii()
        assert await terminal.interrupt() == 0


async def test_a_terminal_that_can_only_write_gets_one_picture_after_the_other(config: Path) -> None:
    with watching(config, TERM="dumb") as terminal:
        await terminal.until("Everything that is on is complete and fresh.")
        await terminal.until("Everything that is on is complete and fresh.")
        assert "\x1b" not in terminal.output
        assert await terminal.interrupt() == 0


async def test_it_survives_the_loss_of_the_database_and_an_edit_of_the_file(
    config: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultProxy(upstream_of(database_url)) as proxy:
        with watching(config, 140, 40, YCSYNC_DATABASE_URL=through(database_url, proxy.port)) as terminal:
            await terminal.until("Everything that is on is complete and fresh.")
            proxy.refuse()
            proxy.reset_all()
            away = plain(await terminal.until("DATABASE AWAY"))
            assert "4001 Salon 4001" in away
            config.write_text(config.read_text().replace("preset: balanced", "preset: conservative"))
            await proxy.listen()
            await terminal.until("preset conservative")
            again = plain(await terminal.until("Everything that is on is complete and fresh."))
            assert "DATABASE AWAY" not in again.rpartition("ycsync 0")[2]
            assert await terminal.interrupt() == 0


async def test_a_database_that_hangs_holds_neither_the_picture_nor_the_end(config: Path, database_url: str) -> None:
    async with FaultProxy(upstream_of(database_url)) as proxy:
        with watching(config, 140, 40, YCSYNC_DATABASE_URL=through(database_url, proxy.port)) as terminal:
            await terminal.until("Everything that is on is complete and fresh.")
            proxy.faults = Faults(hang=True)
            for _ in range(2):  # the clock goes on; by now a question is pending
                assert "DATABASE AWAY" not in plain(await terminal.until("preset balanced"))
            terminal.resize(44, 14)
            small = await terminal.until("salons: ")
            assert "the preset takes" not in plain(small).rpartition("ycsync 0")[2]
            terminal.resize(140, 40)
            away = plain(await terminal.until("DATABASE AWAY for"))
            told = re.findall(r"DATABASE AWAY for (\d+) s: .*the database does not answer", away)
            assert told
            assert int(told[0]) >= LOOK_S - 1
            proxy.faults = NONE
            again = plain(await terminal.until("Everything that is on is complete and fresh."))
            while "DATABASE AWAY" in again.rpartition("ycsync 0")[2]:
                again = plain(await terminal.until("Everything that is on is complete and fresh."))
            proxy.faults = Faults(hang=True)
            for _ in range(3):
                await terminal.until("preset balanced")
            own = Stopwatch(terminal.process.pid)
            assert await terminal.interrupt(own=own) == 0
            assert own.seconds < 5
            assert BACK in terminal.output


async def test_a_database_that_is_away_at_the_end_is_not_well(config: Path, database_url: str) -> None:
    async with FaultProxy(upstream_of(database_url)) as proxy:
        with watching(config, YCSYNC_DATABASE_URL=through(database_url, proxy.port)) as terminal:
            await terminal.until("Everything that is on is complete and fresh.")
            proxy.refuse()
            await terminal.until("DATABASE AWAY")
            assert await terminal.interrupt() == 1


async def test_for_programs_it_is_one_object_a_line(config: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ycsync", "status", "--watch", "--json", "--config", str(config), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    documents = [json.loads(await asyncio.wait_for(process.stdout.readline(), SAFETY_S)) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    await process.stdout.read()
    assert await process.wait() == 0
    assert all(one["ok"] is True for one in documents)
    assert documents[0]["as_of"] <= documents[1]["as_of"]


@pytest.mark.parametrize("how", ["refused", "hangs"])
async def test_for_programs_it_goes_on_too_while_the_database_is_away(config: Path, database_url: str, how: str) -> None:
    async with FaultProxy(upstream_of(database_url)) as proxy:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ycsync", "status", "--watch", "--json", "--config", str(config),
            stdout=asyncio.subprocess.PIPE, env={**os.environ, "YCSYNC_DATABASE_URL": through(database_url, proxy.port)},
        )  # fmt: skip
        assert process.stdout is not None

        async def next_one(ok: bool) -> dict[str, Any]:
            assert process.stdout is not None
            async with asyncio.timeout(SAFETY_S):
                while True:
                    found: dict[str, Any] = json.loads(await process.stdout.readline())
                    if found["ok"] is ok:
                        return found

        await next_one(True)
        if how == "hangs":
            proxy.faults = Faults(hang=True)
        else:
            proxy.refuse()
        away = [await next_one(False) for _ in range(2)]
        assert all(list(one) == ["ok", "as_of", "error"] for one in away)
        assert ("does not answer" if how == "hangs" else "cannot be reached") in away[0]["error"]
        first, second = (datetime.fromisoformat(one["as_of"]) for one in away)
        assert timedelta(0) <= second - first <= timedelta(seconds=3)
        proxy.faults = NONE
        await proxy.listen()
        assert (await next_one(True))["streams"]
        process.send_signal(signal.SIGINT)
        await process.stdout.read()
        assert await process.wait() == 0
