"""The lines of the log, in each form. docs/events.md, which a test compares, has the events."""

from __future__ import annotations

import io
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from golden.compare import Golden, as_log, sections
from golden.salon import Run
from support.logged import Terminal, logging_restored
from ycsync import logs
from ycsync.errors import DatabaseUnavailable
from ycsync.logs.catalogue import CATALOGUE

__all__ = ["logging_restored"]
# What differs from run to run, or with the number of requests.
VARYING = {
    "*": ("ts", "batch", "version", "requests", "duration_s"),
    "database.migrated": ("applied",),
    "page.committed": ("rows", "changed", "done"),
    "service.ready": ("listen",),
    "service.starting": ("pid", "file"),
}
STYLES: Mapping[str, Mapping[str, str]] = {"in colour": {}, "without colour": {"NO_COLOR": "1"}}


@pytest.mark.xdist_group("golden")
def test_the_log_of_a_sync(run: Run, golden: Golden) -> None:
    golden("log_of_a_sync.txt", as_log(run.log, VARYING))


@pytest.mark.usefixtures("logging_restored")
def test_a_line_of_each_event(golden: Golden) -> None:
    stream = io.StringIO()
    logs.configure("debug", stream=stream, env={})
    logger = logs.get_logger("golden")
    for event in sorted(CATALOGUE.values(), key=lambda one: one.name):
        told: dict[str, object] = {key: f"<{key}>" for key in event.keys}
        logs.emit(logger, event, company=4001, stream="records", **told)
    lines = re.sub(r"^ts=\S+", "ts=<ts>", stream.getvalue(), flags=re.MULTILINE)
    golden("event_lines.txt", lines)


def say() -> None:
    """A line with numbers, one about an error, and one with a key that is not declared."""
    logger = logs.get_logger("golden")
    told = {"rows": 60, "duration_s": 1.25}
    logs.emit(logger, logs.BATCH_COMMITTED, company=4001, stream="clients", **told)
    logs.emit(logger, logs.DATABASE_LOST, retry_in_s=2.0, error=DatabaseUnavailable("it is away"))
    logs.emit(logger, logs.SERVICE_ALIVE, streams=5, colour="green")


@pytest.mark.usefixtures("logging_restored")
def test_a_line_on_a_terminal(golden: Golden) -> None:
    parts = []
    for title, env in STYLES.items():
        stream = Terminal()
        logs.configure("info", stream=stream, env=env)
        say()
        lines = re.sub(r"\d\d:\d\d:\d\d", "<time>", stream.getvalue()).replace("\x1b", "\\e")
        parts.append((title, lines.rstrip()))
    golden("terminal_lines.txt", sections(parts))


@pytest.mark.usefixtures("logging_restored")
def test_an_entry_of_the_journal(tmp_path: Path, golden: Golden) -> None:
    path = tmp_path / "journal"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald,
        (tmp_path / "err").open("w", encoding="utf-8") as stderr,
    ):
        journald.bind(str(path))
        journald.settimeout(5)
        status = os.fstat(stderr.fileno())
        env = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        logs.configure("info", stream=stderr, env=env, journal=path)
        say()
        entries = [journald.recv(65536).decode() for _ in range(3)]
        logs.configure("info", stream=io.StringIO(), env={})
    golden("journal_entries.txt", "\n".join(entries))
