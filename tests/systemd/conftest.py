"""Which machine do the tests under a real systemd run on?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from systemd.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With the project installed, not booted yet: files may be added before `boot()`."""
    machine = Machine(tmp_path / "machine")
    machine.install_project()
    yield machine
    machine.stop()
