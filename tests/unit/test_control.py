"""Does a service say what commands need of it, and are the words of an older one, or of a stranger, taken for what they are?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from ycsync.config import InForce
from ycsync.service import control
from ycsync.service.control import Announcement, Beacon, running

IN_FORCE = InForce("postgresql://me@host/db", "salon", "second")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    return tmp_path / "config.yaml"


@pytest.fixture
def beacon(config: Path) -> Iterator[Beacon]:
    beacon = Beacon(config, IN_FORCE)
    yield beacon
    beacon.close()


def test_what_it_works_with_stays_through_reloads_good_and_bad(config: Path, beacon: Beacon) -> None:
    beacon.reloaded("line 1: no", ())
    beacon.reloaded(None, ("database.url",))
    assert running(config) == (Announcement(os.getpid(), str(config), 2, None, ("database.url",), IN_FORCE),)


def test_an_older_service_does_not_say_what_it_works_with(config: Path, beacon: Beacon) -> None:
    (file,) = (config.parent / "run").iterdir()
    older = asdict(beacon.announced)
    del older["in_force"]
    file.write_text(json.dumps(older))
    assert running(config) == (Announcement(os.getpid(), str(config)),)


def test_what_another_user_left_below_tmp_is_not_believed(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = Path(f"/tmp/ycsync-test-{os.getpid()}")
    monkeypatch.setattr(control, "directories", lambda: (below,))
    beacon = Beacon(config, IN_FORCE)
    try:
        assert len(running(config)) == 1
        monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
        assert running(config) == ()
    finally:
        beacon.close()
        below.rmdir()
