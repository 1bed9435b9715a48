"""How does the benchmark speak with the salon's process?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Row = tuple[str, int]  # kind, id


class Salon:
    """A simulated salon in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url
        self.pid = process.pid

    def ask(self, *command: str) -> Any:
        """One command of salon.py."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*command, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def snapshot(self, folder: Path) -> dict[Row, int]:
        """(kind, id) -> last change, Unix seconds, of every row that the salon holds now."""
        path = folder / "snapshot"
        self.ask("snapshot", str(path))
        with path.open(encoding="ascii") as lines:
            return {(kind, int(row)): int(changed) for kind, row, changed in (line.split() for line in lines)}

    def served(self, folder: Path) -> set[Row]:
        """Which rows went out since the last `forget`."""
        path = folder / "served"
        self.ask("served", str(path))
        with path.open(encoding="ascii") as lines:
            return {(kind, int(row)) for kind, row in (line.split() for line in lines)}


@contextmanager
def salon(**options: Any) -> Iterator[Salon]:
    """A salon that listens; see salon.py for the options."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("salon.py")), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Salon(process, process.stdout.readline().strip())
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
