"""Which salon's stream is due, who works on it, and what becomes of it?

Work is claimed from `sync_status` with FOR UPDATE SKIP LOCKED, the longest overdue first. A claim lasts as long as its worker:
a worker on this machine whose process is gone is known to be dead at once, one on another machine after WORKER_SILENT_S.
Nothing here needs a session of its own, so it works through any pooler. Every statement is small: a database that has not
answered it in ANSWER_S hangs.

A wish belongs to the command that made it: the command is a worker too, and says so by following its wish. What a dead one
wished, and how, is forgotten.
"""

from __future__ import annotations

import json
import os
import socket
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ycsync import __version__
from ycsync.errors import DatabaseError, DatabaseUnavailable, NoRoom
from ycsync.limiter import TRANSIT_S
from ycsync.store.database import Database

HOOKS = "hooks"  # not a stream of the settings: the queue of what webhooks told
HINTED = 20  # the priority of what webhooks told: below what a command asks for, above all that is due by time
WORKER_SILENT_S = 30.0
FOLLOW_S = 5.0  # a command that follows its wish says so often
ANSWER_S = 10.0
NOTHING: Mapping[int, float] = MappingProxyType({})
LAST_WORD_S = 1.0  # who ends does not wait: what it leaves behind is found


@dataclass(frozen=True, slots=True)
class Claim:
    """One stream of one salon, taken by this worker."""

    company: int
    stream: str
    phase: str
    expected: int | None
    done: int
    cursor: str | None
    version: int
    failures: int
    last_success_at: datetime | None
    pass_started_at: datetime | None
    wanted: bool
    options: dict[str, Any]
    priority: int
    batches: int = 0
    nudged: bool = False  # a webhook asked for it
    heard_s: float | None = None  # how long the oldest hint that asked for it had waited then
    zone: str | None = None  # by which its rows' times were computed; None: not known
    error_code: str | None = None  # of its last failure
    list_s: float | None = None  # the common user token is refused: seconds until the list of salons is asked again

    def log_context(self) -> dict[str, object]:
        """What every log line about this claim says."""
        return {"company": self.company, "stream": self.stream}


@dataclass(frozen=True, slots=True)
class Waiting:
    """The highest priority of what is due and waits: quick work, the rest, and what of the rest has not begun; None: none."""

    quick: int | None = None
    slow: int | None = None
    fresh: int | None = None


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """How one stream of one salon stands, for a command that follows it."""

    company: int
    stream: str
    phase: str
    expected: int | None
    done: int
    requests: int
    last_success_at: datetime | None
    last_error: str | None
    error_code: str | None
    wanted_at: datetime | None
    claimed_by: int | None
    batches: int
    failures: int
    scheduled: bool  # false: switched off, or of a salon that is not wanted


@dataclass(frozen=True, slots=True)
class BatchTotals:
    """The closing figures of a batch."""

    outcome: str
    requests: int = 0
    rows: int = 0
    errors: int = 0
    retries: int = 0
    throttled: int = 0
    detail: str | None = None
    effects: Mapping[str, int] = field(default_factory=dict)  # what became of rows, for the metrics
    reread: int = 0  # pages that were read anew
    waited: tuple[float, ...] = ()  # seconds from a hint to the commit of what it told
    odd: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (stream, field) -> rows with an unreadable value


def this_host() -> str:
    """This machine, and the namespace in which process ids are ours.

    The unit's sandbox hides /proc/sys, so the boot's id cannot be asked; a process's start time tells boots apart well enough.
    """
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()
    except OSError:
        machine = ""
    return f"{machine or socket.gethostname()}/{os.readlink('/proc/self/ns/pid')}"


def is_gone(pid: int, started: str) -> bool:
    """Is it certain that this process of ours is no more? Another user's process that lives is never called gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # it, or a later one with its number, lives: its worker falls silent if it is not the one
    return process_start(pid) != started


def process_start(pid: int) -> str | None:
    """When a process started, in ticks since boot; None when there is no such process (or only its remains)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rsplit(")", 1)[-1].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def salons_lock(database: Database) -> int:
    """Whoever makes rows of `sync_status` shares this lock; who erases a salon has it alone. It is the transaction's."""
    return zlib.crc32(f"ycsync salons:{database.schema}".encode())


class Work:
    """The queue of one database, as one worker sees it."""

    def __init__(self, database: Database) -> None:
        self._patient = database
        self._database = database.within(ANSWER_S)
        self._claiming = self._database.named("claim")
        self._last_word = database.within(LAST_WORD_S)
        self._sql = database.statements("work.sql")
        self._command: int | None = None  # this process as a worker that wishes, once it has
        self._followed = 0.0

    async def register(self, role: str, egress: str, version: str, info: dict[str, object], address: str | None = None) -> int:
        """Announce this process; returns the worker's id. `address`: of this machine, by which its requests leave."""
        pid = os.getpid()
        return int(
            await self._database.fetchval(
                self._sql["register"],
                role,
                this_host(),
                pid,
                process_start(pid) or "",
                egress,
                version,
                json.dumps(info),
                address,
                not self._database.pooled,
            )
        )

    async def beat(self, worker: int, info: dict[str, object] | None = None) -> bool:
        """Say that this worker lives; False when it was given up meanwhile and must register again."""
        text = None if info is None else json.dumps(info)
        return await self._database.fetchval(self._sql["beat"], worker, text) is not None

    async def leave(self, worker: int) -> None:
        """This worker ends in order, its connections to the API closed: what it held is due again at once."""
        await self._database.execute(self._sql["leave"], worker, TRANSIT_S)
        await self._database.execute(self._sql["give_back"], worker)

    async def reap(self) -> list[int]:
        """Free what dead workers held: claims, and the request slots of those whose process is known to be gone."""
        local = await self._database.fetch(self._sql["local_workers"], this_host())
        dead = [row["id"] for row in local if is_gone(row["pid"], row["pid_start"])]
        gone = [row["id"] for row in await self._database.fetch(self._sql["reap"], dead, WORKER_SILENT_S)]
        if dead:
            await self._database.execute(self._sql["free_slots"], dead, TRANSIT_S)
        if gone:
            await self._database.execute(self._sql["close_batches"])
        await self._database.execute(self._sql["unclaim"])
        await self._database.execute(self._sql["unwant_dead"])
        return gone

    async def ensure(self, companies: Sequence[int], streams: Sequence[str]) -> None:
        """Every salon has a row for every stream, but those that were erased."""
        async with self._database.transaction() as connection:
            # Not while one is being erased: it would be made again by who did not see that.
            await connection.execute("select pg_advisory_xact_lock_shared($1)", salons_lock(self._database))
            await connection.execute(self._sql["ensure"], list(companies), list(streams), HINTED)

    async def erased(self) -> dict[int, datetime]:
        """Salons that were erased and not readmitted, and when."""
        return {row["company_id"]: row["erased_at"] for row in await self._database.fetch(self._sql["erased"])}

    async def enabled(self, streams: Sequence[str], companies: Sequence[int] | None) -> None:
        """Make due only what the settings want."""
        await self._database.execute(self._sql["enabled"], list(streams), None if companies is None else list(companies))

    async def claim(
        self,
        worker: int,
        limit: int,
        streams: Sequence[str],
        companies: Sequence[int] | None = None,
        *,
        wanted_only: bool = False,
        no_filling: bool = False,
    ) -> list[Claim]:
        """Take up to `limit` pieces of work that are due. `no_filling`: only deltas.

        What a command asks for overtakes the rest, but a pass of it takes no more places than any other pass.
        """
        rows = await self._claiming.fetch(
            self._sql["claim"],
            worker,
            limit,
            list(streams),
            None if companies is None else list(companies),
            wanted_only,
            no_filling,
        )
        return [
            Claim(
                company=row["company_id"],
                stream=row["stream"],
                phase=row["phase"],
                expected=row["expected"],
                done=row["done"],
                cursor=row["cursor"],
                version=row["version"],
                failures=row["failures"],
                last_success_at=row["last_success_at"],
                pass_started_at=row["pass_started_at"],
                wanted=row["wanted_at"] is not None,
                options={key: value for key, value in json.loads(row["options"]).items() if key != "by"},
                priority=row["priority"],
                batches=row["batches"],
                nudged=row["nudged"],
                heard_s=row["heard_s"],
                zone=row["zone"],
                error_code=row["error_code"],
                list_s=row["list_s"],
            )
            for row in rows
        ]

    async def waits(self, streams: Sequence[str], companies: Sequence[int] | None, *, wanted_only: bool = False) -> Waiting:
        """What is due and waits for a place."""
        asked = list(streams), None if companies is None else list(companies), wanted_only
        row = await self._claiming.fetchrow(self._sql["waits"], *asked)
        assert row is not None
        return Waiting(row["quick"], row["slow"], row["fresh"])

    async def next_due(
        self, streams: Sequence[str], companies: Sequence[int] | None, *, wanted_only: bool = False
    ) -> float | None:
        """Seconds until something is due that nobody works on (negative: it is); None: nothing ever."""
        value: float | None = await self._database.fetchval(
            self._sql["next_due"], list(streams), None if companies is None else list(companies), wanted_only
        )
        return value

    async def finish(
        self, claim: Claim, worker: int, due_in_s: float | None, cadence_s: float | None = None, zone: str | None = None
    ) -> None:
        """The batch ended in order; the next one is due in so many seconds. `cadence_s`: see the column; `zone`: it read by."""
        await self._database.execute(
            self._sql["finish"], claim.company, claim.stream, worker, due_in_s, cadence_s, HINTED, zone
        )

    async def fail(
        self,
        claim: Claim,
        worker: int,
        due_in_s: float | None,
        error: str,
        code: str,
        phase: str | None = None,
        failures: int | None = None,
    ) -> None:
        """The batch failed: say what happened, and try again in so many seconds (None: not by itself).

        `failures`: how many in a row it were by now; None: one more.
        """
        await self._database.execute(
            self._sql["fail"], claim.company, claim.stream, worker, due_in_s, error, code, phase, failures
        )

    async def hand_over(self, claim: Claim, worker: int) -> bool:
        """This machine does not reach YCLIENTS: if another service does, it gets the work, and True is returned."""
        if not await self._database.fetchval(self._sql["others_reach"], worker):
            return False
        await self._database.execute(self._sql["hand_over"], claim.company, claim.stream, worker)
        return True

    async def stop_company(self, company: int, look_in_s: float, error: str, code: str, failures: int | None = None) -> None:
        """Stop all streams of a salon that is refused as a whole; one of them looks again in so many seconds."""
        await self._database.execute(self._sql["stop_company"], company, look_in_s, error, code, failures)

    async def unstop(self, company: int) -> None:
        """The salon answers again: its other streams are due now."""
        await self._database.execute(self._sql["unstop"], company)

    async def all_stopped(self, company: int) -> bool:
        """Return whether no stream of the salon is read any more."""
        return bool(await self._database.fetchval(self._sql["all_stopped"], company))

    async def ask_list(self) -> None:
        """A salon refuses the common user token: the list of salons is due, before everything."""
        await self._database.execute(self._sql["ask_list"], HINTED)

    async def want(
        self,
        companies: Sequence[int],
        streams: Sequence[str],
        options: dict[str, object],
        *,
        afresh: bool = False,
    ) -> dict[tuple[int, str], datetime]:
        """Ask for a pass now; it is served when last_success_at is later than the instant returned.

        The wish lasts as long as this process follows it by `progress`.
        """
        if self._command is None:
            self._command = await self.register("command", "", __version__, {})
            self._followed = time.monotonic()
        text = json.dumps({**options, "by": self._command})
        rows = await self._database.fetch(self._sql["want"], list(companies), list(streams), text, afresh)
        return {(row["company_id"], row["stream"]): row["wanted_at"] for row in rows}

    async def unwant(self, wanted: Mapping[tuple[int, str], datetime]) -> None:
        """The command that asked is gone: its wishes (as `want` returned them) and options with it."""
        companies, streams = [company for company, _ in wanted], [stream for _, stream in wanted]
        command, self._command = self._command, None
        with suppress(DatabaseUnavailable, NoRoom):  # then who looks for dead workers does this
            await self._last_word.execute(self._sql["unwant"], companies, streams, list(wanted.values()))
            if command is not None:
                await self._last_word.execute(self._sql["leave"], command, TRANSIT_S)

    async def list_again(self) -> None:
        """A salon is wanted that the list does not hold: read the list again."""
        await self._database.execute(self._sql["list_again"])

    async def begin(self, companies: Sequence[int]) -> None:
        """These salons are known now: what waited for that begins."""
        await self._database.execute(self._sql["begin"], list(companies))

    async def release(self, worker: int, doing: Sequence[tuple[int, str]]) -> None:
        """Give back what this worker holds but does not do, and close the batches whose end could not be written."""
        companies, streams = [company for company, _ in doing], [stream for _, stream in doing]
        await self._database.execute(self._sql["release"], worker, companies, streams)
        await self._database.execute(self._sql["close_undone"], worker, companies, streams)

    async def wake(self, code: str | None = None) -> None:
        """What waits after an error (with this code; None: any) is tried again at once, one stream of a stopped salon."""
        await self._database.execute(self._sql["wake"], code)

    async def recadence(self, stream: str, seconds: float, own: Mapping[int, float] = NOTHING) -> None:
        """Nothing of this stream waits longer than so many seconds; `own`: salon -> its own seconds."""
        await self._database.execute(self._sql["recadence"], stream, seconds, list(own), list(own.values()))

    async def progress(self, companies: Sequence[int] | None, streams: Sequence[str]) -> list[StreamProgress]:
        """How the streams stand. Raises DatabaseError when this process had wished and was taken for dead meanwhile."""
        if self._command is not None and time.monotonic() - self._followed > FOLLOW_S:
            if not await self.beat(self._command):
                raise DatabaseError(
                    f"{self._database.where}: nothing was heard of this command for {WORKER_SILENT_S:.0f} s, so what it asked "
                    "for was dropped. What was committed is kept; run it again."
                )
            self._followed = time.monotonic()
        rows = await self._database.fetch(self._sql["progress"], None if companies is None else list(companies), list(streams))
        return [StreamProgress(**{_RENAMED.get(key, key): value for key, value in row.items()}) for row in rows]

    async def companies(self, *, inactive: bool = False) -> list[int]:
        """Salons that the database knows and that still exist; those that YCLIENTS calls inactive only if asked for."""
        return [row["id"] for row in await self._database.fetch(self._sql["companies"], inactive)]

    async def company_listed(self, companies: Sequence[int], as_of: datetime) -> None:
        """The list of salons was read: their own `companies` rows say so."""
        await self._database.execute(self._sql["company_listed"], list(companies), as_of)

    async def open_batch(self, claim: Claim, preset: str, worker: int) -> int:
        """A line in sync_batches for a batch that starts now; returns its id."""
        return int(await self._database.fetchval(self._sql["open_batch"], claim.company, claim.stream, preset, worker))

    async def close_batch(self, batch: int, totals: BatchTotals) -> None:
        """The batch's closing figures."""
        await self._database.execute(
            self._sql["close_batch"],
            batch,
            totals.outcome,
            totals.requests,
            totals.rows,
            totals.errors,
            totals.retries,
            totals.throttled,
            totals.detail,
        )

    async def forget_batches(self) -> None:
        """Drop batches, and hints of webhooks, that are too old to matter."""
        await self._patient.execute(self._sql["forget_batches"])
        await self._patient.execute(self._sql["forget_hooks"])

    async def services(self) -> list[dict[str, Any]]:
        """Services that beat within the last ten seconds: id, host, pid, info."""
        rows = await self._database.fetch(self._sql["services"])
        return [{**row, "info": json.loads(row["info"])} for row in rows]

    async def reasons(self) -> dict[int, str]:
        """Salon -> why YCLIENTS took it away, of those that are held for that."""
        rows = await self._database.fetch(self._sql["pauses"])
        return {row["company_id"]: row["reason"] for row in rows if row["reason"] is not None}

    async def pause(self, companies: Sequence[int]) -> None:
        """No further request for these salons (0: for any), on every machine."""
        await self._database.execute(self._sql["pause"], list(companies))

    async def resume(self, companies: Sequence[int]) -> None:
        """Requests for these salons may leave again (0: for all but those that YCLIENTS took away)."""
        await self._database.execute(self._sql["resume"], list(companies))

    async def pauses(self) -> dict[int, datetime]:
        """Salon (0: all) -> since when it is paused."""
        return {row["company_id"]: row["since"] for row in await self._database.fetch(self._sql["pauses"])}


_RENAMED = {"company_id": "company"}
