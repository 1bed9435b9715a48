"""Is the database there, new enough, writable, reached well, and may this role do what it must?"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ycsync.api import leaving_address
from ycsync.config import Loaded, Yclients
from ycsync.errors import ForeignSchema, NewerSchema, YcsyncError
from ycsync.service.addresses import clashes
from ycsync.service.doctor.finding import Finding, Findings, Level
from ycsync.service.private import left_behind
from ycsync.service.runtime import Server
from ycsync.store import health
from ycsync.store.database import Database, connect
from ycsync.store.embedded import default_root, exists
from ycsync.store.endpoint import endpoint_of, is_local
from ycsync.store.migrate import is_current
from ycsync.store.report import Report, Worker
from ycsync.store.work import this_host

FEW_PLACES = 12  # connections that the service opens at most
SKEW_S = 5.0


@dataclass(slots=True)
class Looked:
    """What was found of the database.

    `usable`: it is writable and its schema current, so the budget in it can be asked for a request.
    `fresh`: there is no schema yet, so it may be made, with the budget in it.
    """

    findings: Findings = field(default_factory=list)
    database: Database | None = None
    writable: bool = True
    usable: bool = False
    fresh: bool = False
    paused: frozenset[int] = frozenset()

    def say(self, level: Level, says: str, remedy: str = "") -> None:
        """One finding more."""
        self.findings.append(Finding("database", level, says, remedy))


@asynccontextmanager
async def look(loaded: Loaded) -> AsyncIterator[Looked]:
    """Everything about the database; it stays open for the questions that need it."""
    looked = Looked()
    embedded = loaded.database_url == "embedded"
    if embedded and not exists(default_root(os.environ)):
        looked.fresh = True
        looked.say("ok", "a private PostgreSQL, which is made when it is first needed")
        yield looked
        return
    if not embedded and (problem := endpoint_of(loaded.database_url).problem) is not None:
        looked.say("fail", problem)
        yield looked
        return
    server = Server(loaded.database_url)
    database: Database | None = None
    try:
        try:
            database = await connect(
                server.start(), loaded.settings.database.schema_name, size=4, url_from=loaded.database_url_from
            )
            await _server(looked, loaded, database, embedded)
            await _schema(looked, database, loaded.settings.yclients)
            looked.database = database
            if (left := await left_behind(loaded)) is not None:
                looked.say("warn", *left)
        except YcsyncError as error:
            looked.say("fail", str(error), (None if embedded else endpoint_of(loaded.database_url).hint) or "")
        yield looked
    finally:
        if database is not None:
            await database.close()
        server.stop()


async def _server(looked: Looked, loaded: Loaded, database: Database, embedded: bool) -> None:
    found = await health.server(database)
    kind = "private" if embedded else endpoint_of(loaded.database_url).kind
    way = ", through a pooler" if database.pooled else ""
    says = f"PostgreSQL {found.major}, {kind}{way}; role {found.role}"
    if found.major < health.OLDEST:
        looked.say("fail", f"{says}: too old", f"ycsync needs PostgreSQL {health.OLDEST} or newer: upgrade the server.")
    elif found.major > health.NEWEST:
        looked.say(
            "warn", f"{says}: newer than what ycsync was tried with ({health.NEWEST})", "Watch the journal after the start."
        )
    else:
        looked.say("ok", says)
    if found.standby or found.read_only:
        what = "a standby" if found.standby else "read-only (default_transaction_read_only)"
        looked.writable = False
        looked.say("fail", f"it is {what}: nothing can be stored", "Give the primary's address in the database URL.")
    if embedded:
        return
    if not found.encrypted and not database.pooled and not is_local(loaded.database_url):
        looked.say("warn", "the connection is not encrypted", "Add ?sslmode=require to the URL, and TLS to the server.")
    if found.superuser:
        looked.say(
            "warn", f"the role {found.role} is a superuser and may do far more than ycsync needs",
            "Make a role for it: deploy/supabase/role.sql does, for any PostgreSQL.",
        )  # fmt: skip
    left = found.places - found.taken
    if found.role_limit >= 0 and found.role_limit < FEW_PLACES:
        looked.say(
            "warn",
            f"the role may open {found.role_limit} connections only",
            f"alter role {found.role} connection limit {FEW_PLACES};",
        )
    if not database.pooled and left < FEW_PLACES:
        looked.say(
            "warn", f"{left} of {found.places} connections are free; ycsync opens up to {FEW_PLACES}",
            "Raise max_connections, or use fewer programs.",
        )  # fmt: skip
    skew_s = abs((found.now - datetime.now(UTC)).total_seconds())
    if skew_s > SKEW_S:
        looked.say(
            "warn", f"its clock and this machine's are {skew_s:.0f} s apart",
            "Set both by the network's time (timedatectl shows whether it is on).",
        )  # fmt: skip
    schema = await health.schema(database)
    if schema is None:
        if not found.may_create:
            looked.writable = False
            looked.say(
                "fail", f"the role {found.role} may not make the schema {database.schema}",
                f"As its owner: grant create on database {found.database} to {found.role}; or run deploy/supabase/role.sql.",
            )  # fmt: skip
    elif not (schema.may_use and schema.may_create):
        looked.writable = False
        looked.say(
            "fail", f"the role {found.role} may not make tables in the schema {database.schema}",
            f"As its owner: grant usage, create on schema {database.schema} to {found.role};",
        )  # fmt: skip
    elif schema.made and schema.foreign_tables:
        looked.say(
            "fail", f"tables of the schema {database.schema} belong to another role: {', '.join(schema.foreign_tables[:3])}, …",
            f"As a superuser: alter table … owner to {found.role}; for each of them, or use the role that made them.",
        )  # fmt: skip


async def _schema(looked: Looked, database: Database, yclients: Yclients) -> None:
    made = await health.schema(database)
    try:
        current = await is_current(database)
    except (ForeignSchema, NewerSchema) as error:
        looked.say("fail", str(error))
        return
    if not current:
        missing = made is None or not made.made
        looked.fresh = missing and looked.writable
        if missing:
            looked.say("ok", f"schema {database.schema} is not there yet; it is made when it is first needed")
        else:
            looked.say(
                "warn", f"schema {database.schema} is older than this ycsync", "ycsync db migrate, or start the service."
            )
        return
    looked.usable = looked.writable
    standing = await Report(database).standing(yclients.egress)
    looked.paused = frozenset(standing.pauses)
    looked.say("ok", f"schema {database.schema} is up to date")
    if standing.pauses:
        which = "all salons" if 0 in standing.pauses else ", ".join(f"salon {company}" for company in standing.pauses)
        looked.say("warn", f"requests are paused by command: {which}", "ycsync resume")
    # As it would be with a service that is started with these settings.
    address = await leaving_address(yclients.base_url, yclients.local_address)
    here = Worker("service", 0, "", yclients.egress, standing.now, standing.now, {}, this_host(), address)
    for clash in clashes((*standing.workers, here), standing.sharing):
        looked.say("fail" if clash.kind in ("doubled", "shared") else "warn", clash.says, clash.remedy)
