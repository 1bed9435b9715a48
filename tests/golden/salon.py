"""One run of a service over two small simulated salons, from which golden tests take outputs."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from support.patience import SAFETY_S
from support.place import Place, place_in
from ycsync.simulator import Options, Simulator

OPTIONS = Options(
    salons=2, clients=60, visits=400, per_second=0, per_minute=0, rate_headers=False, tie_order="id"
)
CONFIG = """\
preset: golden
yclients:
  base_url: {url}
  egress: golden
  per_minute: 6000
  per_second: 100
http: {{listen: "127.0.0.1:{port}"}}
streams: {{clients: 24h, records: 24h, goods: 24h, goods_operations: 24h, transactions: 24h}}
log: {{level: debug}}
presets:
  golden: {{batch_size: 1000, interval: 1s, per_minute: 6000, per_second: 100, min_delay: 0ms}}
"""
SYSTEMCTL = """\
#!/bin/sh
case $1 in
    --version) echo 'systemd 252 (252.1-1)' ;;
    show) echo LoadState=not-found ;;
esac
"""
PAGES = ("/metrics", "/healthz", "/readyz", "/api/status", "/api/salons", "/api/traffic")
COMMANDS = ("status --json", "status", "verify --json", "verify", "plan --json", "plan")
DOCTOR = ("doctor --json", "doctor")  # which sends requests, and is seen on the page
COMPLETE = "2 salons, 2 complete"
WEEK_S = 7 * 86_400
TUESDAY_NOON = 1_759_838_400.0  # 2025-10-07 12:00 UTC


@dataclass(frozen=True)
class Said:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


@dataclass
class Run:
    """Outputs of the service and the commands. `commands`: keyed by their arguments."""

    place: Place
    pages: dict[str, str] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)
    commands: dict[str, Said] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    log: str = ""


def last_tuesday() -> Callable[[], float]:
    """Return a clock that began at noon of the last Tuesday: a salon depends on the weekday."""
    shift = (time.time() - TUESDAY_NOON) // WEEK_S * WEEK_S + TUESDAY_NOON - time.time()
    return lambda: time.time() + shift


async def run_once(folder: Path, database_url: str) -> Run:
    """Start the service on an empty database, wait until it is filled, collect outputs, stop it."""
    simulator = Simulator(OPTIONS, clock=last_tuesday(), monotonic=time.monotonic)
    manager = f"ycsync-golden-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(f"\0{manager}")
        async with simulator:
            place = _place(folder, database_url, simulator)
            run = Run(place)
            try:
                service = await place.start("run", NOTIFY_SOCKET=f"@{manager}")
                await _until_complete(run, listener)
                await _look(run)
                run.told += _heard(listener)
                await place.stop(service)
                run.told += _heard(listener)
                run.log = place.log()
            finally:
                await place.end()
    return run


def _place(folder: Path, database_url: str, simulator: Simulator) -> Place:
    place = place_in(folder, database_url, simulator)
    place.config.write_text(CONFIG.format(url=simulator.url, port=place.port), "utf-8")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text(SYSTEMCTL, "utf-8")
    (programs / "systemctl").chmod(0o755)
    place.environ |= {"STATE_DIRECTORY": str(folder / "state"), "PATH": str(programs)}
    return place


def _heard(listener: socket.socket) -> list[str]:
    """Return the datagrams received so far."""
    heard: list[str] = []
    while True:
        try:
            heard.append(listener.recv(4096).decode())
        except BlockingIOError:
            return heard


async def _until_complete(run: Run, listener: socket.socket) -> None:
    """Wait until both salons are complete, no batch runs, and systemd has that status line."""
    place = run.place
    await place.until_log("event=service.ready", SAFETY_S)
    async with asyncio.timeout(SAFETY_S), aiohttp.ClientSession() as session:
        while True:
            state = json.loads(await _page(session, place, "/api/status"))
            run.told += _heard(listener)
            said = any(COMPLETE in told for told in run.told)
            if said and state["ready"] and state["last_hour"]["working"] == 0:
                break
            await asyncio.sleep(0.05)


async def _look(run: Run) -> None:
    await asyncio.gather(_pages(run), _commands(run, COMMANDS))
    await _commands(run, DOCTOR)


async def _pages(run: Run) -> None:
    async with aiohttp.ClientSession() as session:
        for path in PAGES:
            run.pages[path] = await _page(session, run.place, path)
        run.sections = await _sections(session, run.place)


async def _commands(run: Run, commands: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "golden.several",
        str(run.place.config),
        *commands,
        env=run.place.environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    run.place.processes.append(process)
    async with asyncio.timeout(SAFETY_S):
        out, _ = await process.communicate()
    run.commands |= {command: Said(**said) for command, said in json.loads(out).items()}


async def _page(session: aiohttp.ClientSession, place: Place, path: str) -> str:
    async with session.get(f"http://127.0.0.1:{place.port}{path}") as response:
        return await response.text()


async def _sections(session: aiohttp.ClientSession, place: Place) -> dict[str, Any]:
    """Return the sections of the page's event stream, the ended batches included."""
    found: dict[str, Any] = {}
    url = f"http://127.0.0.1:{place.port}/api/events"
    async with asyncio.timeout(SAFETY_S), session.get(url) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                found |= json.loads(line.removeprefix(b"data: "))
                if found["batches"]["ended"]:
                    break
    return found
