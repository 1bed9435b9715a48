"""How does ycsync speak to YCLIENTS? aiohttp in, Page(observed_at, rows, total) out."""

from __future__ import annotations

from ycsync.api.client import Api, Attempt, Page, Tally, backoff_s, login, new_session
from ycsync.api.endpoints import Request

__all__ = ["Api", "Attempt", "Page", "Request", "Tally", "backoff_s", "login", "new_session"]
