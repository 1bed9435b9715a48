"""When does work run? Due work is claimed (`loop`), run as batches (`runner`), and put back with the time when it is due again.

The schedule, a webhook and the command line are three ways to make a row of `sync_status` due; this takes what is due.
"""

from __future__ import annotations

from ycsync.scheduler.loop import FILLING, PLACES, Scheduler
from ycsync.scheduler.wanted import Current, Scope

__all__ = ["FILLING", "PLACES", "Current", "Scheduler", "Scope"]
