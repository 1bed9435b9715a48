"""Signals that reach `ycsync run` before its event loop listens to them.

Their default action would end the process: SIGHUP while the modules are imported, which takes most of a start, and SIGTERM
without an exit code. This module comes first, so it imports nothing but `signal`.

States: not listening (any other command) → listening: SIGTERM and SIGINT end the process at once → held: they are noted, for
the loop to be told of. SIGHUP is noted in both; the configuration that is read after it has satisfied it.
"""

from __future__ import annotations

import signal
from types import FrameType

_listening = False
_held = False
stop: str | None = None
"""The name of the signal that asks the service to stop; None: there was none."""
reload = False
"""A SIGHUP came after the configuration began to be read."""


def listen() -> None:
    """Take the signals over from the default action."""
    global _listening
    for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _heard)
    _listening = True


def _heard(signum: int, _frame: FrameType | None) -> None:
    global reload, stop
    if signum == signal.SIGHUP:
        reload = True
        return
    first, stop = stop is None, signal.Signals(signum).name
    if first and not _held:  # a second one must not interrupt what cleans up after the first
        raise SystemExit(0)


def reading() -> None:
    """The configuration is read from now on: an earlier SIGHUP asks for nothing more."""
    global reload
    reload = False


def hold() -> None:
    """A loop starts, which must not be torn: from now on signals are noted only. Ends the process if it was asked to."""
    global _held
    _held = True
    if stop is not None:
        raise SystemExit(0)  # the first attempt was caught by whoever was interrupted


def ended() -> None:
    """The loop has given the signals back: SIGHUP must not kill what is put away now."""
    if _listening:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
