"""How does systemd learn that the service is ready, reloading, alive or stopping? By sd_notify.

The protocol is in sd_notify(3): one datagram of `KEY=value` lines to the socket that $NOTIFY_SOCKET names.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_SEND_TIMEOUT_S: Final = 0.2
_LONGEST_STATUS: Final = 500


class Notifier:
    """Tells the service manager; without one ($NOTIFY_SOCKET is not set) does nothing. Never raises."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._address = _address(env.get("NOTIFY_SOCKET", ""))
        self.watchdog_interval: float | None = _watchdog_interval(env)
        """Seconds between two `watchdog()` calls: half of what systemd allows. None: no watchdog."""

    @property
    def enabled(self) -> bool:
        return self._address is not None

    def ready(self, status: str | None = None) -> bool:
        """The service works, or a reload is done. Returns whether the message was handed over."""
        return self._send("READY=1", *_status(status))

    def status(self, text: str) -> bool:
        """One line for `systemctl status`; no personal data."""
        return self._send(*_status(text))

    def reloading(self) -> bool:
        """A reload began; `ready()` must follow, also if the new file was refused."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str | None = None) -> bool:
        """The service is about to end."""
        return self._send("STOPPING=1", *_status(status))

    def watchdog(self) -> bool:
        """The service is alive: call it every `watchdog_interval`."""
        return self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> bool:
        """Starting, reloading or stopping needs `seconds` more from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={max(0, round(seconds * 1_000_000))}")

    def _send(self, *lines: str) -> bool:
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                # A full queue is worth a moment, as READY must arrive; a dead manager must not hold us up.
                sender.settimeout(_SEND_TIMEOUT_S)
                sender.connect(self._address)
                sender.sendall("\n".join(lines).encode("utf-8", "replace"))
        except (OSError, ValueError):
            return False
        return True


def _status(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    # A line break would begin another assignment.
    line = "".join(char if char.isprintable() else " " for char in text)
    return (f"STATUS={line[:_LONGEST_STATUS]}",)


def _address(name: str) -> bytes | None:
    """`/path` as it is, `@name` in Linux' abstract namespace; None for anything else."""
    if name.startswith("@"):
        return b"\0" + os.fsencode(name[1:])
    return os.fsencode(name) if name.startswith("/") else None


def _watchdog_interval(env: Mapping[str, str]) -> float | None:
    try:
        if int(env.get("WATCHDOG_PID") or os.getpid()) != os.getpid():
            return None
        microseconds = int(env.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 2_000_000 if microseconds > 0 else None
