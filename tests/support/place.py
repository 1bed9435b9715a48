"""The real command in real processes: what it takes to run one against a simulated salon and a database of its own.

The fixtures `place` and `options` are for a conftest to import.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from support.patience import Stopwatch
from ycsync.simulator import Options, Simulator

CONFIG = """\
preset: test
yclients:
  base_url: {url}
  egress: {egress}
  timeout: 5s
http: {{listen: "127.0.0.1:{port}"}}
streams: {{companies: 24h, services: 24h, staff: 24h, clients: 1s, records: 1s}}
presets:
  test: {{batch_size: 100, interval: 1s, per_minute: 200, per_second: 5, min_delay: 10ms, max_retries: 3, recheck_days: 30}}
  other: {{batch_size: 100, interval: 1s, per_minute: 100, per_second: 3, min_delay: 10ms, max_retries: 3, recheck_days: 30}}
"""


@dataclass
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float  # of its own, see support.patience


@dataclass
class Stopped:
    """How a service ended that was asked to. `requests`: those that left meanwhile."""

    code: int
    seconds: float  # of its own
    requests: int


@dataclass
class Place:
    """A folder with a configuration, a simulated salon and a database; every process started here ends with the test."""

    folder: Path
    database_url: str
    simulator: Simulator
    config: Path
    port: int
    environ: dict[str, str] = field(default_factory=dict)
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, *arguments: str, log: str = "log", **environ: str) -> asyncio.subprocess.Process:
        """Start `ycsync ARGUMENTS` in the background, its output into a file of the folder."""
        with open(self.folder / log, "ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "ycsync",
                *arguments,
                "--config",
                str(self.config),
                env={**self.environ, **environ},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.processes.append(process)
        return process

    async def run(self, *arguments: str, timeout: float = 120, **environ: str) -> Finished:
        """Run `ycsync ARGUMENTS` to its end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ycsync",
            *arguments,
            "--config",
            str(self.config),
            env={**self.environ, **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.processes.append(process)
        watch = Stopwatch(process.pid)
        said = asyncio.create_task(process.communicate())
        async with asyncio.timeout(timeout):
            while not said.done():
                watch.look()
                await asyncio.wait({said}, timeout=0.02)
        out, err = said.result()
        assert process.returncode is not None
        return Finished(process.returncode, out.decode(), err.decode(), watch.seconds)

    async def stop(self, process: asyncio.subprocess.Process, signum: signal.Signals = signal.SIGTERM) -> Stopped:
        """Ask a service to end, and wait until it has."""
        before, watch = self.simulator.report().requests, Stopwatch(process.pid)
        process.send_signal(signum)
        code = await watch.during(process.wait())
        return Stopped(code, watch.seconds, self.simulator.report().requests - before)

    def log(self, name: str = "log") -> str:
        """What a background command wrote so far."""
        return (self.folder / name).read_text("utf-8")

    async def get(self, path: str) -> tuple[int, object]:
        """One answer of the service's own HTTP."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}{path}") as response:
            return response.status, await response.json()

    async def until(self, true: Callable[[], bool], what: str, timeout: float = 90) -> None:
        """Wait for something that another process does."""
        async with asyncio.timeout(timeout):
            while not true():
                await asyncio.sleep(0.02)
        assert true(), what

    async def until_log(self, text: str, timeout: float = 90, name: str = "log") -> None:
        """Wait for a line."""
        await self.until(lambda: text in self.log(name), text, timeout)

    async def fetchval(self, query: str) -> object:
        """One value from the database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def end(self) -> None:
        """No process outlives the test."""
        for process in self.processes:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def place_in(folder: Path, database_url: str, simulator: Simulator) -> Place:
    """A place with everything in order."""
    port = free_port()
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(url=simulator.url, egress=f"test-{port}", port=port), "utf-8")
    runtime = folder / "run"
    runtime.mkdir()
    place = Place(folder, database_url, simulator, config, port)
    place.environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LANG": "C.UTF-8",
        "RUNTIME_DIRECTORY": str(runtime),
        "YCLIENTS_PARTNER_TOKEN": "partner-secret-1",
        "YCLIENTS_USER_TOKEN": "user-secret-2",
        "YCSYNC_DATABASE_URL": database_url,
    }
    return place


@pytest.fixture
def options() -> Options:
    """The salon; a test module may override it."""
    return Options(clients=150, visits=1500, latency=0.05)


@pytest.fixture
async def place(tmp_path: Path, database_url: str, options: Options) -> AsyncIterator[Place]:
    """Everything in order; see `place_in`."""
    async with Simulator(options) as simulator:
        place = place_in(tmp_path, database_url, simulator)
        try:
            yield place
        finally:
            await place.end()
