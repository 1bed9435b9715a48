"""Do all who may be asked about one place say the same: is it complete and fresh, or not?

The voices: the rows of `sync_status`, `ycsync status --json` and its exit code, `/readyz`, `/api/status`, `/metrics`, `ycsync
verify` (which may say no for reasons of its own, but never yes alone), and the last word of the log.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg

from support.place import Place
from support.turns import Turns
from ycsync.cli.criteria import as_json as criteria_as_json
from ycsync.cli.inspect import verification
from ycsync.config import Settings
from ycsync.service import standing as view
from ycsync.store.report import Report

_TROUBLE = ("api.denied", "batch.failed", "sweep.stopped", "database.lost", "unexpected")
_GOOD = ("batch.committed", "batch.quiet", "pass.proved", "database.back")
_METRIC = re.compile(r"^(ycsync_[a-z_]+)(?:\{([^}]*)\})? ([-+0-9.eEinfNa]+)$", re.MULTILINE)


@dataclass
class Voices:
    """What was said: `complete` by each voice that was heard, and the texts for a failure's message."""

    complete: dict[str, bool] = field(default_factory=dict)
    verified: bool | None = None
    rows: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    def agree(self, complete: bool) -> None:
        """All say `complete`, or none does."""
        wrong = [name for name, said in self.complete.items() if said != complete]
        assert not wrong, (f"complete is {complete}, but not for {wrong}", self.complete, self.told)
        assert complete or not self.verified, ("verified, but not complete", self.complete, self.told)

    def codes(self) -> dict[tuple[int, str], str]:
        """The error codes that stand in sync_status."""
        return {key: row["error_code"] for key, row in self.rows.items() if row["error_code"] is not None}


def by_the_table(rows: dict[tuple[int, str], dict[str, Any]], settings: Settings, now: datetime) -> bool:
    """Complete and fresh, by what the documentation promises of each row: `live`, proved lately, nothing held back."""
    # The list of salons is read even where its own schedule is off.
    wanted = {
        key: row for key, row in rows.items() if key[0] == 0 or row["due_at"] is not None or row["claimed_by"] is not None
    }
    for (_, stream), row in wanted.items():
        cadence = settings.streams.get(stream) or timedelta(days=1)
        oldest = now - (cadence * 3 + timedelta(minutes=2))
        if row["phase"] != "live" or row["last_success_at"] is None or row["error_code"] == "held_back":
            return False
        if row["proved_as_of"] is None or row["proved_as_of"] < oldest:
            return False
    return any(company for company, _ in wanted)


async def of_turns(turns: Turns) -> Voices:
    """What the database, the commands and the service would say of a house."""
    voices = Voices()
    settings, house = turns.house.settings, turns.house
    voices.rows = await turns.rows()
    now = await house.database.fetchval("select now()")
    voices.complete["sync_status"] = by_the_table(voices.rows, settings, now)
    standing = await Report(house.database).standing(settings.yclients.egress)
    judged = view.judge(standing, settings)
    voices.complete["status"] = view.everything_well(judged)
    voices.told["status"] = {f"{one.row.company} {one.row.stream}": one.state for one in judged if not one.well}
    overview = turns.overview
    overview.update(standing, settings)
    voices.complete["/readyz"] = not overview.reasons()
    voices.told["/readyz"] = overview.reasons()
    state = overview.as_json(settings, None)
    voices.complete["/api/status"] = state["ready"]
    assert state["ok"] == state["ready"], state["reasons"]
    voices.complete["/metrics"] = _measured(overview.measure(settings, None, None).decode())["ycsync_ready"] == 1.0
    found = criteria_as_json(await verification(house.database, settings))
    voices.verified = found["ok"]
    voices.told["verify"] = [one for one in found["criteria"] if not one["passed"]]
    return voices


async def of_place(place: Place, settings: Settings, *, service: bool = True, log: str = "log") -> Voices:
    """What the real commands, and the service that runs, say of a place."""
    voices = Voices()
    connection = await asyncpg.connect(place.database_url)
    try:
        found = await connection.fetch(
            "select * from yclients.sync_status where (due_at is not null or claimed_by is not null) and stream <> 'hooks'"
        )
    finally:
        await connection.close()
    voices.rows = {(row["company_id"], row["stream"]): dict(row) for row in found}
    voices.complete["sync_status"] = by_the_table(voices.rows, settings, datetime.now(UTC))
    status = await place.run("status", "--json")
    said = json.loads(status.out)
    voices.complete["status --json"] = said["ok"]
    voices.complete["status, exit code"] = status.code == 0
    voices.told["status"] = [one for one in said["streams"] if one["state"] not in ("fresh", "off")]
    verify = await place.run("verify", "--json")
    found_out = json.loads(verify.out)
    assert found_out["ok"] == (verify.code == 0)
    voices.verified = found_out["ok"]
    voices.told["verify"] = [one for one in found_out["criteria"] if not one["passed"]]
    if service:
        await _of_service(place, voices)
        _of_log(place, voices, log)
    return voices


async def _of_service(place: Place, voices: Voices) -> None:
    code, body = await place.get("/readyz")
    assert isinstance(body, dict)
    assert body["ready"] == (code == 200)
    voices.complete["/readyz"] = body["ready"]
    voices.told["/readyz"] = body["reasons"]
    _, state = await place.get("/api/status")
    assert isinstance(state, dict)
    voices.complete["/api/status"] = state["ready"]
    url = f"http://127.0.0.1:{place.port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        metrics = _measured(await response.text())
    voices.complete["/metrics"] = metrics["ycsync_ready"] == 1.0
    voices.told["/metrics"] = metrics


def _measured(text: str) -> dict[str, float]:
    """Metrics without labels, by name."""
    return {name: float(value) for name, labels, value in _METRIC.findall(text) if not labels}


def _of_log(place: Place, voices: Voices, name: str) -> None:
    """Of a stream that has an error, trouble is the last word of the log, about it or about its salon; else it is not."""
    last: dict[tuple[str, str], str] = {}
    for line in place.log(name).splitlines():
        event = next((one for one in (*_TROUBLE, *_GOOD) if one in line), None)
        if event is not None:
            words = dict(re.findall(r"(\w+)=(\S+)", line))
            last[words.get("company", ""), words.get("stream", "")] = event
    voices.told["log"] = {f"{company} {stream}": event for (company, stream), event in last.items()}
    for (company, stream), row in voices.rows.items():
        of_salon = {event for (one, _), event in last.items() if one == str(company)}
        of_stream = last.get((str(company), stream))
        if (code := row["error_code"]) is not None:
            heard = {of_stream, *of_salon} & set(_TROUBLE)
            assert heard, (f"salon {company}, {stream} has {code}, of which the log says nothing", voices.told["log"])
        elif row["last_success_at"] is not None:
            assert of_stream not in _TROUBLE, (f"salon {company}, {stream}: well, but the log ends badly", voices.told["log"])
