"""How many requests and seconds does the main job take, as a whole command?

    python tests/benchmarks/first_sync.py [--runs N] [--first] [--by-client] [--idle]

Runs `ycsync sync` in a process of its own against the simulator in another, over loopback, into an empty embedded database,
and prints the median of the runs with what the simulator counted. Needs nothing but the project's own environment.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CONFIG = """\
preset: {preset}
yclients:
  base_url: http://127.0.0.1:{port}/api/v1
database:
  url: embedded
http: {{listen: false}}
{more}
"""


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    preset: str
    simulate: tuple[str, ...] = ()
    sync: tuple[str, ...] = ()
    more: str = ""


CASES = (
    Case("aggressive", "aggressive"),
    Case("balanced", "balanced"),
    Case("aggressive, 300 visits a page", "aggressive", ("--records-cap", "300")),
)
BY_CLIENT = Case(
    "client by client, forced", "aggressive", (), ("--batch-size", "5000", "--interval", "0s"), "history: by_client"
)


@dataclass(frozen=True)
class Run:
    """What one run cost."""

    seconds: float
    requests: int
    max_1s: int
    max_60s: int
    refused: int


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the caller's but the path; tokens that the simulator accepts."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
    state = folder / "state"
    state.mkdir(mode=0o755, exist_ok=True)
    return {**keep, "STATE_DIRECTORY": str(state), "YCLIENTS_PARTNER_TOKEN": "a", "YCLIENTS_USER_TOKEN": "b"}


def measure(case: Case, clients: int, visits: int) -> Run:
    """One run of the whole command."""
    with tempfile.TemporaryDirectory(prefix="ycsync-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        port = free_port()
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(preset=case.preset, port=port, more=case.more))
        ycsync = [sys.executable, "-m", "ycsync"]
        size = ["--clients", str(clients), "--visits", str(visits), "--latency", "250ms", "--port", str(port)]
        simulator = subprocess.Popen([*ycsync, "simulate", *size, *case.simulate], stdout=subprocess.PIPE, text=True)
        assert simulator.stdout is not None
        try:
            simulator.stdout.readline()
            begun = time.perf_counter()
            subprocess.run(
                [*ycsync, "sync", *case.sync, "--config", str(config)],
                env=environment(folder),
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            seconds = time.perf_counter() - begun
        finally:
            simulator.send_signal(signal.SIGINT)
            told = simulator.communicate(timeout=10)[0]
        requests = re.search(r"requests\s+(\d+)", told)
        densest = re.search(r"densest\s+(\d+) in 1 s, (\d+) in 60 s", told)
        assert requests is not None
        assert densest is not None
        refused = re.search(r"429[^:]*: (\d+)", told)
        return Run(seconds, int(requests[1]), int(densest[1]), int(densest[2]), 0 if refused is None else int(refused[1]))


def idle(seconds: float = 60.0) -> float:
    """Per cent of a core that a service uses whose salon is quiet."""
    with tempfile.TemporaryDirectory(prefix="ycsync-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        port = free_port()
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(preset="balanced", port=port, more=""))
        ycsync = [sys.executable, "-m", "ycsync"]
        size = ["--clients", "100", "--visits", "500", "--port", str(port)]
        simulator = subprocess.Popen([*ycsync, "simulate", *size], stdout=subprocess.DEVNULL)
        service = subprocess.Popen(
            [*ycsync, "run", "--config", str(config)], env=environment(folder), stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(15)
            before = cpu_seconds(service.pid)
            time.sleep(seconds)
            return 100 * (cpu_seconds(service.pid) - before) / seconds
        finally:
            for process in (service, simulator):
                process.send_signal(signal.SIGTERM)
                process.wait(10)


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--visits", type=int, default=12000)
    parser.add_argument("--first", action="store_true", help="the first row only")
    parser.add_argument("--by-client", action="store_true", help="also one request a client: five minutes a run")
    parser.add_argument("--idle", action="store_true", help="also the processor's use of an idle service: 75 s")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    chosen = CASES[:1] if arguments.first else CASES
    for case in (*chosen, *((BY_CLIENT,) if arguments.by_client else ())):
        runs = [measure(case, arguments.clients, arguments.visits) for _ in range(1 if case is BY_CLIENT else arguments.runs)]
        rows.append(
            {
                "case": case.name,
                "runs": len(runs),
                "requests": statistics.median(run.requests for run in runs),
                "seconds": round(statistics.median(run.seconds for run in runs), 1),
                "most in 1 s": max(run.max_1s for run in runs),
                "most in 60 s": max(run.max_60s for run in runs),
                "429": sum(run.refused for run in runs),
            }
        )
        if not arguments.json:
            print("  ".join(f"{key}: {value}" for key, value in rows[-1].items()), flush=True)
    if arguments.idle:
        rows.append({"case": "idle service", "per cent of a core": round(idle(), 2)})
        if not arguments.json:
            print("  ".join(f"{key}: {value}" for key, value in rows[-1].items()), flush=True)
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
