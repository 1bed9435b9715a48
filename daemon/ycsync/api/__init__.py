"""How does ycsync speak to YCLIENTS? aiohttp in, Page(observed_at, rows, total) out."""

from __future__ import annotations

from ycsync.api.client import Api, Page, Tally, backoff_s
from ycsync.api.endpoints import Request
from ycsync.api.leaving import check_local_address, leaving_address
from ycsync.api.signin import UserToken, login
from ycsync.api.transport import Attempt, new_session

__all__ = [
    "Api", "Attempt", "Page", "Request", "Tally", "UserToken", "backoff_s",
    "check_local_address", "leaving_address", "login", "new_session",
]  # fmt: skip
