"""How are a salon's webhooks sent? Once, some seconds after the change, in no order, to whoever listens on this machine.

Not sent again if it fails, as the real ones (yclients-api §4). `data` is a part of the row: whoever trusts it is wrong.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from .options import Options
from .rows import Payload

TIMEOUT_S = 15.0
_SHAKEN = 0.2  # the delay varies by this share of it
_FLAGS = {"company": "salon", "staff": "master", "schedule": "master", "finance_operation": "finances_operation"}
_TOLD = ("id", "last_change_date", "deleted")


class Delivery:
    """Sends webhooks while it is open. `answers`: how many were answered with which status; "lost": sent to nobody."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.answers: Counter[str] = Counter()
        self.own_edits = False  # what changes now is changed by the user of the token, who installed the webhooks
        self._session: aiohttp.ClientSession | None = None
        self._rng = random.Random(f"{options.seed}/hooks")
        self._sending: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """From now on changes are told."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), connector=aiohttp.TCPConnector(limit=64)
        )

    async def close(self) -> None:
        """What is not sent yet never is."""
        session, self._session = self._session, None
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        if session is not None:
            await session.close()

    def tell(self, company: int, settings: Payload, resource: str, row_id: int, status: str, row: Payload) -> None:
        """A row of a salon changed."""
        if self._session is None or not _on(settings.get("active")) or not _on(settings.get(_FLAGS.get(resource, resource))):
            return
        if self.own_edits and not _on(settings.get("self_sending")):
            return
        data = {key: row[key] for key in _TOLD if key in row}
        told: Any = [] if resource == "schedule" else data
        body = {"company_id": company, "resource": resource, "resource_id": row_id, "status": status, "data": told}
        for url in settings.get("urls") or ():
            if self._rng.random() < self.options.hook_loss:
                self.answers["lost"] += 1
                continue
            times = 2 if self._rng.random() < self.options.hook_double else 1
            for _ in range(times):
                self.send(str(url), body)

    def send(self, url: str, body: Any) -> None:
        """One webhook, after the delay. Anything but a listener on this machine gets none."""
        if not _is_loopback(url):
            self.answers["elsewhere"] += 1
            return
        delay = self.options.hook_delay * self._rng.uniform(1 - _SHAKEN, 1 + _SHAKEN)
        task = asyncio.get_running_loop().create_task(self._send(url, body, delay), name="webhook")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, url: str, body: Any, delay: float) -> None:
        await asyncio.sleep(delay)
        if self._session is None:
            return
        try:
            async with self._session.post(url, json=body) as answer:
                self.answers[str(answer.status)] += 1
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.answers["failed"] += 1


def _on(flag: Any) -> bool:
    return str(flag).lower() in ("1", "true")


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
