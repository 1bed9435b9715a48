"""How long may it take? Bounds that hold on a busy machine, and safety nets that never decide.

A process that is ready to run and gets no processor waits for other programs, not for anything of ycsync. Linux counts that
time (the second figure of `schedstat`), so what is left of the wall clock is what the process itself took: its work, and its
waiting for answers, locks and timers. Where the kernel does not count, nothing is taken off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path

SAFETY_S = 90.0
"""For a wait that ends by what is waited for; a test that reaches it has failed."""


def starved_s(process: int | str = "self") -> float | None:
    """Seconds that its main thread was ready to run and did not; None: it has ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
        waited = int(Path(f"/proc/{process}/schedstat").read_text("utf-8").split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0 if Path(f"/proc/{process}").exists() else None
    except (ProcessLookupError, IndexError):
        return None
    return None if state in "ZX" else waited


def own_clock() -> float:
    """Seconds of this process, without those that it waited for a processor. For upper bounds only."""
    return time.monotonic() - (starved_s() or 0.0)


class Stopwatch:
    """What another process takes by itself, from now on. Another process is looked at again and again while it lives."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begun, self._starved = time.monotonic(), starved_s(pid)
        self.seconds = 0.0

    def look(self) -> None:
        """Bring `seconds` up to date; once it has ended they stay."""
        starved, now = starved_s(self._pid), time.monotonic()
        if starved is not None and self._starved is not None:
            self.seconds = max(self.seconds, now - self._begun - (starved - self._starved))

    async def during(self, what: Awaitable[int], every_s: float = 0.01) -> int:
        """Wait for `what`, looking all the while; returns what it gives."""
        waiting = asyncio.ensure_future(what)
        async with asyncio.timeout(SAFETY_S):
            while not waiting.done():
                self.look()
                await asyncio.wait({waiting}, timeout=every_s)
        return waiting.result()
