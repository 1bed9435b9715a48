"""Which programs do the job, with which settings, and how is it read what they stored?"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncpg

from benchmarks.comparison import singer_job
from benchmarks.comparison.environments import environment, versions
from benchmarks.comparison.salon_client import Row
from ycsync import __version__

HERE = Path(__file__).parent
LIMITED = "per_minute: 200, per_second: 5, min_delay: 200ms"
UNLIMITED = "per_minute: 6000, per_second: 500, min_delay: 0ms"
CONFIG = """\
preset: benchmark
yclients: {{base_url: "{url}", per_minute: {per_minute}, per_second: {per_second}}}
http: {{listen: false}}
presets:
  benchmark: {{batch_size: 5000, interval: 0s, {rates}, max_retries: 3, recheck_days: 30}}
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One salon to read into one empty database. `limited`: the API's limits hold."""

    folder: Path
    url: str
    socket: str  # the folder of the database server's socket
    database: str
    limited: bool = True

    @property
    def dsn(self) -> str:
        """As asyncpg takes it."""
        return f"postgresql://ycsync@/{self.database}?host={self.socket}&port=5432"

    @property
    def dsn_with_password(self) -> str:
        """For programs that insist on a host and a password; the server asks for neither."""
        return f"postgresql://ycsync:none@localhost:5432/{self.database}?host={self.socket}"

    def environ(self, **more: str) -> dict[str, str]:
        """Nothing of the caller's but the path."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", **more}


class Tool(Protocol):
    """One of the programs."""

    name: str

    def prepare(self) -> None:
        """Make its environment; Unavailable says why there is none."""

    def version(self) -> str:
        """What was measured."""

    def command(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        """The command that does the job, or goes on with it, and its environment."""

    def stored(self, job: Job) -> list[tuple[Row, int]]:
        """Every row that its tables show: (kind, id) and its last change, Unix seconds."""


class Ycsync:
    """This project: the whole command."""

    name = "ycsync"

    def prepare(self) -> None:
        """The project's own environment is there."""

    def version(self) -> str:
        return f"ycsync {__version__}"

    def command(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        config = job.folder / "config.yaml"
        rates = LIMITED if job.limited else UNLIMITED
        per_minute, per_second = (200, 5) if job.limited else (6000, 500)
        config.write_text(CONFIG.format(url=job.url, rates=rates, per_minute=per_minute, per_second=per_second), "utf-8")
        (job.folder / "run").mkdir(exist_ok=True)
        environ = job.environ(
            PYTHONPATH=os.environ.get("PYTHONPATH", ""),
            RUNTIME_DIRECTORY=str(job.folder / "run"),
            YCLIENTS_PARTNER_TOKEN="a",
            YCLIENTS_USER_TOKEN="b",
            YCSYNC_DATABASE_URL=job.dsn,
        )
        return [sys.executable, "-m", "ycsync", "sync", "--config", str(config)], environ

    def stored(self, job: Job) -> list[tuple[Row, int]]:
        return _rows(
            job, "select id, extract(epoch from changed_at)::bigint from yclients.{table} {live}", "deleted_at is null"
        )


class Dlt:
    """dlt's rest_api source."""

    name = "dlt"

    def prepare(self) -> None:
        environment("dlt")

    def version(self) -> str:
        return versions("dlt", "dlt")

    def command(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        environ = job.environ(
            RUNTIME__DLTHUB_TELEMETRY="false",
            RUNTIME__LOG_LEVEL="WARNING",
            EXTRACT__WORKERS="4",  # one for each list
            # Processes: the second one's memory pays where there is much to normalise, and costs time where there is little.
            NORMALIZE__WORKERS="1" if job.limited else "2",
            DATA_WRITER__BUFFER_MAX_ITEMS="5000",
            DATA_WRITER__FILE_MAX_ITEMS="100000",  # files of this size are normalised and loaded side by side
        )
        script = str(HERE / "dlt_pipeline.py")
        return [str(environment("dlt") / "python"), script, job.url, job.dsn_with_password, str(job.folder)], environ

    def stored(self, job: Job) -> list[tuple[Row, int]]:
        return _rows(job, "select id, extract(epoch from last_change_date)::bigint from salon.{table}")


class Singer:
    """A Singer tap and a target."""

    name = "singer"

    def prepare(self) -> None:
        environment("singer-tap")
        environment("singer-target")

    def version(self) -> str:
        tap = versions("singer-tap", "tap-rest-api-msdk", "singer-sdk")
        return f"{tap}; {versions('singer-target', 'meltanolabs-target-postgres', 'singer-sdk')}"

    def command(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        script = singer_job.write(
            job.folder, job.url, job.dsn_with_password, environment("singer-tap"), environment("singer-target")
        )
        return ["bash", str(script)], job.environ()

    def stored(self, job: Job) -> list[tuple[Row, int]]:
        changed = "extract(epoch from (_sdc_raw_json ->> 'last_change_date')::timestamptz)::bigint"
        return _rows(job, f"select id, {changed} from salon.{{table}}")


TOOLS: dict[str, Tool] = {tool.name: tool for tool in (Ycsync(), Dlt(), Singer())}


def _rows(job: Job, query: str, live: str = "") -> list[tuple[Row, int]]:
    """`live`: which clients are not known to be gone; cancelled visits are rows like others."""

    async def read() -> list[tuple[Row, int]]:
        connection = await asyncpg.connect(job.dsn)
        try:
            found: list[tuple[Row, int]] = []
            for kind, condition in (("client", f"where {live}" if live else ""), ("record", "")):
                rows = await connection.fetch(query.replace("{table}", f"{kind}s").replace("{live}", condition))
                found += [((kind, row[0]), int(row[1])) for row in rows]
            return found
        finally:
            await connection.close()

    return asyncio.run(read())
