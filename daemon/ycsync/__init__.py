"""ycsync keeps a beauty salon's YCLIENTS data in its owner's PostgreSQL."""

from __future__ import annotations

__version__ = "0.1.0"
