"""A service that only shows, for tests of the web server: everything is what the test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ycsync.config import Http
from ycsync.web import Ears, Events, FirstWords, Health, Query, Refusal, Web

TOKEN = "an-admin-token-for-tests"


@dataclass
class Shown:
    """`web.Source` and `web.Actions`; `did`: what was done through it."""

    token: str | None = None
    names: tuple[str, ...] = ()
    well: Health = field(default_factory=lambda: Health(alive=True, ready=True))
    state: dict[str, Any] = field(default_factory=lambda: {"ok": True})
    refuses: str = ""
    did: list[tuple[str, object]] = field(default_factory=list)
    asked: list[Query] = field(default_factory=list)

    def hosts(self) -> tuple[str, ...]:
        return self.names

    def health(self) -> Health:
        return self.well

    def status(self) -> dict[str, Any]:
        return self.state

    def first_words(self) -> FirstWords:
        return FirstWords("complete", "Complete & <fresh>")

    def salons(self, query: Query) -> dict[str, Any]:
        self.asked.append(query)
        return {"matched": 0, "salons": []}

    def traffic(self) -> dict[str, Any]:
        return {"at": []}

    def measure(self) -> bytes:
        return b"ycsync_ready 1\n"

    def admin_token(self) -> str | None:
        return self.token

    async def pause(self, company: int) -> str:
        return self._do("pause", company)

    async def resume(self, company: int) -> str:
        return self._do("resume", company)

    async def use_preset(self, name: str) -> str:
        return self._do("preset", name)

    def _do(self, what: str, value: object) -> str:
        if self.refuses:
            raise Refusal(self.refuses)
        self.did.append((what, value))
        return f"{what} done"

    def events(self) -> Events:
        """What is shown, as events."""
        return Events(lambda: self.state)


def served(port: int, shown: Shown | None = None, events: Events | None = None, ears: Ears | None = None) -> Web:
    """A web server of it on loopback."""
    shown = Shown() if shown is None else shown
    return Web(Http(port=port), shown, shown, shown.events() if events is None else events, ears)
