"""What does a command cost: seconds, memory over time, processor; and how is it killed in the middle?"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.2
LOOK_S = 0.02
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """`samples`: (seconds since the start, resident MB of all its processes)."""

    code: int
    seconds: float
    peak_mb: float
    cpu_s: float
    samples: tuple[tuple[float, float], ...]


def resident_mb(session: int) -> float:
    """Resident memory of every process of a session; what they share counts once for each."""
    pages = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue  # it ended
            if int(fields[3]) == session:
                pages += int(fields[21])
    return pages * PAGE / 1e6


def measure(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    kill: Callable[[], bool] | None = None,
    timeout: float = 7200.0,
) -> Cost:
    """Run a command in a session of its own to its end, or until `kill` says so: then all of it dies at once (SIGKILL)."""
    with log.open("ab") as output:
        before = os.times()
        begun = time.monotonic()
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        samples: list[tuple[float, float]] = []
        over = threading.Event()

        def sample() -> None:
            while not over.is_set():
                if resident := resident_mb(process.pid):  # none: it has just ended
                    samples.append((time.monotonic() - begun, resident))
                over.wait(SAMPLE_S)

        sampler = threading.Thread(target=sample, name="memory")
        sampler.start()
        try:
            while process.poll() is None:
                late = time.monotonic() - begun > timeout
                if late or (kill is not None and kill()):
                    break
                time.sleep(LOOK_S)
        finally:
            seconds = time.monotonic() - begun
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            over.set()
            sampler.join()
        after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(process.returncode, seconds, max(mb for _, mb in samples), cpu, tuple(samples))
