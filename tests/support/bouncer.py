"""What does it take to put a real PgBouncer between ycsync and PostgreSQL?

It speaks to PostgreSQL through a fault proxy of the test's own, so that a Unix socket that only root may open will do, and so
that a test may cut what is behind it as well.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from faultproxy import FaultProxy
from support.patience import SAFETY_S
from support.place import free_port

PoolMode = Literal["session", "transaction", "statement"]

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def upstream_of(url: str) -> tuple[str, int] | str:
    """Where the server of a DSN listens, as a fault proxy wants it."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    port = int(asked["port"][0]) if "port" in asked else parts.port or 5432
    host = asked["host"][0] if "host" in asked else parts.hostname or "127.0.0.1"
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


def through(url: str, port: int) -> str:
    """The same database and role, through a port of this machine."""
    parts = urlsplit(url)
    role = quote(unquote(parts.username or "postgres"), safe="")
    secret = f":{parts.password}" if parts.password else ""
    return f"postgresql://{role}{secret}@127.0.0.1:{port}{parts.path}"


@dataclass
class Bouncer:
    """A running PgBouncer. `url`: the database through it; `behind`: what stands between it and PostgreSQL."""

    url: str
    behind: FaultProxy
    log: Path


@asynccontextmanager
async def bouncer(database_url: str, mode: PoolMode, **settings: object) -> AsyncIterator[Bouncer]:
    """PgBouncer in front of the server of `database_url`, on a port of its own."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    folder = Path(tempfile.mkdtemp(prefix="ycsync-test-"))
    port = free_port()
    parts = urlsplit(database_url)
    async with FaultProxy(upstream_of(database_url)) as behind:
        password = f" password={unquote(parts.password)}" if parts.password else ""
        every = f"host=127.0.0.1 port={behind.port} user={unquote(parts.username or 'postgres')}{password}"
        given = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": mode,
            "default_pool_size": 15,
            "max_client_conn": 200,
            # A client gets the session that rested longest, never the one that it had before.
            "server_round_robin": 1,
            "logfile": folder / "pgbouncer.log",
            "admin_users": "admin",
            "stats_period": 3600,
            **settings,
        }
        lines = [f"{key} = {value}" for key, value in given.items()]
        (folder / "pgbouncer.ini").write_text("\n".join(["[databases]", f"* = {every}", "[pgbouncer]", *lines, ""]), "utf-8")
        process = await asyncio.create_subprocess_exec(
            program,
            str(folder / "pgbouncer.ini"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=_end_with_us,
            **_account(folder),
        )
        try:
            await _answers(port, process)
            yield Bouncer(through(database_url, port), behind, folder / "pgbouncer.log")
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()
            shutil.rmtree(folder)


def _account(folder: Path) -> dict[str, Any]:
    """PgBouncer refuses to run as root, as PostgreSQL does."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _end_with_us() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


async def _answers(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(SAFETY_S):
        while True:
            assert process.returncode is None, "PgBouncer ended while it started"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return
