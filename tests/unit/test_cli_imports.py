"""What each command imports: a command that needs little must not load what others need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Runs one command and names every module that it has loaded, on a line of its own.
_RUN = """\
import sys
from ycsync.cli import main
sys.argv = ["ycsync", *sys.argv[1:]]
try:
    main()
finally:
    print("\\nloaded:", *sys.modules)
"""
# What is slow to import, and what ycsync uses it for.
NETWORK = {"aiohttp", "ssl", "ycsync.api"}
DATABASE = {"asyncpg", "ycsync.store.database"}
LOOP = {"asyncio", "uvloop"}
METRICS = {"prometheus_client", "ycsync.metrics"}
TERMINAL = {"rich.console", "rich.progress", "rich.live"}
LOG = {"structlog"}
SERVICE = {"ycsync.service.daemon", "ycsync.web", "ycsync.simulator"}
FIRST = {"ycsync", "ycsync.cli", "ycsync.cli.app", "ycsync.service", "ycsync.service.early"}
ALL = NETWORK | DATABASE | LOOP | METRICS | TERMINAL | LOG | SERVICE


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    config = folder / "config.yaml"
    config.write_text("database: {url: embedded}\n", "utf-8")
    given = [str(config) if one == "CONFIG" else one for one in arguments]
    environ = {**os.environ, "STATE_DIRECTORY": str(folder), "RUNTIME_DIRECTORY": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *given], env=environ, cwd=folder, capture_output=True, text=True, timeout=100
    )
    return set(done.stdout.rpartition("\nloaded:")[2].split())


def test_the_version_is_printed_without_any_command(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "--version")
    assert {name for name in loaded if name.startswith("ycsync")} == FIRST
    assert not loaded & (ALL | {"yaml", "msgspec", "pydantic", "rich"})


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        ("config check --config CONFIG", ALL),
        ("preset list --config CONFIG", ALL),
        ("preset use gentle --config CONFIG", ALL),
        ("reload --config CONFIG", ALL),
        ("plan --clients 1 --visits 1 --config CONFIG", ALL),
        ("status --config CONFIG", ALL - DATABASE - LOOP - {"ssl"}),
        ("verify --config CONFIG", ALL - DATABASE - LOOP - {"ssl"}),
        ("pause --config CONFIG", ALL - DATABASE - LOOP - {"ssl"}),
        ("db erasures --config CONFIG", ALL - DATABASE - LOOP - {"ssl"}),
        ("simulate --latency soon", DATABASE | METRICS | TERMINAL | LOG | {"ycsync.api", "ycsync.web"}),
        ("sync nothing --config CONFIG", METRICS | SERVICE | LOG),
        ("hooks show --config CONFIG", METRICS | SERVICE | TERMINAL | LOG),
    ],
)
def test_a_command_loads_what_it_uses(tmp_path: Path, arguments: str, unneeded: set[str]) -> None:
    loaded = loaded_by(tmp_path, *arguments.split())
    assert "ycsync.cli.common" in loaded
    assert loaded & unneeded == set()


def test_a_mistyped_command_is_compared_with_names_only(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "statsu")
    assert {name for name in loaded if name.startswith("ycsync")} == FIRST
