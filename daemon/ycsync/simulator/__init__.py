"""What is a YCLIENTS to try ycsync against, without a salon?

A seeded one, over real HTTP, with the limits, odd types and faults of yclients-api.
"""

from __future__ import annotations

from .options import FAULTS, RECOVERABLE_FAULTS, Options
from .report import Report, Seen, Traffic, format_report
from .salon import Salon
from .server import Simulator, serve
from .world import World

__all__ = [
    "FAULTS",
    "RECOVERABLE_FAULTS",
    "Options",
    "Report",
    "Salon",
    "Seen",
    "Simulator",
    "Traffic",
    "World",
    "format_report",
    "serve",
]
