"""How does a test make a real command die at a chosen place, and how did it end? (support.victim is the other side.)"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.privacy import SECRETS

Key = tuple[str, str, str, str]  # of a request: method, path, query, body


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the code where a task leaves the loop or returns to it; `number`: at which time."""

    place: str
    edge: str
    number: int

    def __str__(self) -> str:
        return f"{self.place} [{self.edge} {self.number}]"


@dataclass(frozen=True, slots=True)
class Death:
    """How a command ended: `hit`: at the point that was asked for; `open`: requests whose page no commit holds."""

    code: int
    hit: bool
    seconds: float | None  # of its own, from the signal to the end, if it was not SIGKILL
    open: Counter[Key]
    points: dict[tuple[str, str], int]


class Victims:
    """A process that forks one command after the other."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self.folder = folder

    async def start(self, *arguments: str, url: str, config: Path, at: Point | None = None, **spec: Any) -> int:
        """Start `ycsync ARGUMENTS`; returns its pid. `ended` must follow."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        environ = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "RUNTIME_DIRECTORY": str(self.folder),
            "YCLIENTS_PARTNER_TOKEN": SECRETS[0],
            "YCLIENTS_USER_TOKEN": SECRETS[1],
            "YCSYNC_DATABASE_URL": url,
        }
        order = {
            "arguments": [*arguments, "--config", str(config)],
            "output": str(self.folder / "log"),
            "report": str(report),
            "environ": environ,
            "at": None if at is None else [at.place, at.edge, at.number],
            **spec,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return int((await self._line())["pid"])

    async def ended(self, timeout: float = 90) -> Death:
        """Wait for its end."""
        async with asyncio.timeout(timeout):
            code = int((await self._line())["code"])
        report = self.folder / "report.json"
        told = (
            json.loads(report.read_text("utf-8"))
            if report.exists()
            else {"hit": False, "seconds": None, "open": [], "points": []}
        )
        asked = Counter[Key]((method, path, query, body) for method, path, query, body in told["open"])
        return Death(code, told["hit"], told["seconds"], asked, {(place, edge): count for place, edge, count in told["points"]})

    def has_told(self) -> bool:
        """Is its report there: was the signal of its point sent, or has it ended?"""
        return (self.folder / "report.json").exists()

    def log(self) -> str:
        """What all commands have said so far."""
        file = self.folder / "log"
        return file.read_text("utf-8") if file.exists() else ""

    async def run(self, *arguments: str, url: str, config: Path, at: Point | None = None, **spec: Any) -> Death:
        """One command from its start to its end."""
        await self.start(*arguments, url=url, config=config, at=at, **spec)
        return await self.ended()

    async def _line(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the process that forks has ended"
        told: Mapping[str, Any] = json.loads(line)
        return told


@asynccontextmanager
async def open_victims(folder: Path) -> AsyncIterator[Victims]:
    """The forking process; it ends with the context."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "support.victim",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield Victims(process, folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def points_of(death: Death, numbers: Sequence[str] = ("first", "middle", "last")) -> list[Point]:
    """Every place once, in the order in which the run reached it: its edges and numbers take turns."""
    points: list[Point] = []
    for index, place in enumerate(dict.fromkeys(place for place, _ in death.points)):
        edges = [edge for edge in ("leaves", "returns") if (place, edge) in death.points]
        edge = edges[index % len(edges)]
        count = death.points[place, edge]
        number = {"first": 1, "middle": (count + 1) // 2, "last": count}[numbers[index // 2 % len(numbers)]]
        points.append(Point(place, edge, number))
    return points


def all_points(death: Death) -> list[Point]:
    """Every place, edge and number."""
    return [Point(place, edge, number) for (place, edge), count in death.points.items() for number in range(1, count + 1)]
