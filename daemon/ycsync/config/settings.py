"""Which settings are there, what are their defaults, and which of them does a reload not reach?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import time, timedelta
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

from ycsync.config.durations import format_duration
from ycsync.errors import UsageError
from ycsync.model.streams import DECLARED

History = Literal["auto", "bulk", "by_client"]
LogLevel = Literal["debug", "info", "warning", "error"]

STREAMS: Final[Mapping[str, timedelta]] = MappingProxyType(
    {
        "companies": timedelta(hours=24),
        "services": timedelta(hours=24),
        "staff": timedelta(hours=24),
        "clients": timedelta(minutes=5),
        "records": timedelta(minutes=5),
        **{stream.name: stream.every for stream in DECLARED.values()},
    }
)
"""The streams that can be configured, and how often each is refreshed once it is on."""

DEFAULT_STREAMS: Final[Mapping[str, timedelta | None]] = MappingProxyType(
    {name: None if name in DECLARED else every for name, every in STREAMS.items()}
)
"""What holds when the file does not say: those that not every salon uses are off (None)."""

MAX_BATCH_SIZE: Final = 100_000


@dataclass(frozen=True, slots=True)
class Preset:
    """How hard to work. A batch is at most `batch_size` units, one starts every `interval`."""

    batch_size: int
    interval: timedelta
    per_minute: int
    per_second: int
    min_delay: timedelta
    max_retries: int
    recheck_days: int
    start_at: time | None = None  # the salon's wall clock; None: at once


def preset_keys(preset: Preset) -> dict[str, str]:
    """The keys as the file has them."""
    keys = {
        "batch_size": str(preset.batch_size),
        "interval": format_duration(preset.interval),
        "per_minute": str(preset.per_minute),
        "per_second": str(preset.per_second),
        "min_delay": format_duration(preset.min_delay),
        "max_retries": str(preset.max_retries),
        "recheck_days": str(preset.recheck_days),
    }
    return keys if preset.start_at is None else {**keys, "start_at": f"{preset.start_at:%H:%M}"}


def _built_in(batch: int, every_m: int, rates: tuple[int, int], delay_ms: int, retries: int, days: int) -> Preset:
    return Preset(
        batch_size=batch,
        interval=timedelta(minutes=every_m),
        per_minute=rates[0],
        per_second=rates[1],
        min_delay=timedelta(milliseconds=delay_ms),
        max_retries=retries,
        recheck_days=days,
    )


BUILT_IN_PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "aggressive": _built_in(80, 10, (200, 5), 200, 3, 30),
        "balanced": _built_in(75, 3, (160, 4), 250, 3, 60),
        "conservative": _built_in(50, 30, (100, 3), 500, 5, 90),
        "night": dataclasses.replace(_built_in(25, 60, (50, 2), 1000, 5, 180), start_at=time(22, 0)),
    }
)
DEFAULT_PRESET: Final = "balanced"


@dataclass(frozen=True, slots=True)
class Yclients:
    """The API as it is reached from here. The two rates are the address's whole budget."""

    base_url: str = "https://api.yclients.com/api/v1"
    per_minute: int = 200
    per_second: int = 5
    egress: str = "default"
    local_address: str | None = None  # as ipaddress writes it; None: whichever the system chooses
    ca_file: str | None = None
    timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """`url` is `embedded` or a postgresql:// URL without a password."""

    url: str = "embedded"
    schema_name: str = "yclients"

    @property
    def embedded(self) -> bool:
        return self.url == "embedded"


@dataclass(frozen=True, slots=True)
class Http:
    """Where the status page, the metrics and the webhooks listen. An empty host: nowhere.

    `hosts`: names by which a browser may reach it, besides localhost and addresses; in lower case.
    """

    host: str = "127.0.0.1"
    port: int = 8787
    hosts: tuple[str, ...] = ()

    @property
    def enabled(self) -> bool:
        return bool(self.host)

    @property
    def listen(self) -> str:
        """`host:port` as it is written in the file; "" when switched off."""
        if not self.host:
            return ""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Hooks:
    """Webhooks. `url`: where YCLIENTS reaches this service, without a path of its own; None: none are expected.

    `reconcile`: how often changes are looked for all the same in a salon whose webhooks come.
    """

    url: str | None = None
    reconcile: timedelta = timedelta(minutes=30)

    @property
    def host(self) -> str | None:
        """The name in `url`, in lower case."""
        return None if self.url is None else urlsplit(self.url).hostname


@dataclass(frozen=True, slots=True)
class Log:
    level: LogLevel = "info"


@dataclass(frozen=True, slots=True)
class SalonSettings:
    """What one salon has of its own; None: as all have it. `user_token_env` says where its token is, never what it is.

    `line`: of the file, for what is found out later.
    """

    preset: str | None = None
    user_token_env: str | None = None
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the file says, checked. Never changed: a reload builds another and swaps the reference.

    `companies` empty: every salon of the user token. `salons`: those with settings of their own, named in `companies` or
    beside every other.
    """

    preset: str = DEFAULT_PRESET
    yclients: Yclients = field(default_factory=Yclients)
    companies: tuple[int, ...] = ()
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    streams: Mapping[str, timedelta | None] = field(default_factory=lambda: DEFAULT_STREAMS)  # None: off
    http: Http = field(default_factory=Http)
    hooks: Hooks = field(default_factory=Hooks)
    log: Log = field(default_factory=Log)
    presets: Mapping[str, Preset] = field(default_factory=lambda: BUILT_IN_PRESETS)
    history: History = "auto"
    salons: Mapping[int, SalonSettings] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def active(self) -> Preset:
        """The preset in force."""
        return self.presets[self.preset]

    def for_salon(self, company: int) -> Settings:
        """These settings as they hold for one salon: with its own preset, if it has one."""
        own = self.salons.get(company)
        return self if own is None or own.preset is None else dataclasses.replace(self, preset=own.preset)

    @property
    def own_presets(self) -> dict[int, str]:
        """The salons that have a preset of their own, and its name."""
        return {company: own.preset for company, own in self.salons.items() if own.preset is not None}

    @property
    def own_tokens(self) -> frozenset[int]:
        """The salons that are asked for with a user token of their own."""
        return frozenset(company for company, own in self.salons.items() if own.user_token_env is not None)

    @property
    def needs_common_token(self) -> bool:
        """Is any salon asked for with the user token that all share?"""
        return not self.companies or not self.own_tokens.issuperset(self.companies)

    def kept(self, more: Collection[str] = ()) -> list[str]:
        """The streams that each salon has a row of `sync_status` for: those that are on, and those that are on as a rule."""
        return [name for name in STREAMS if self.streams.get(name) or DEFAULT_STREAMS[name] is not None or name in more]

    def with_overrides(
        self, *, preset: str | None = None, batch_size: int | None = None, interval: timedelta | None = None
    ) -> Settings:
        """These settings as the command line changes them. Raises UsageError for a value that cannot be.

        A preset that is asked for holds for all salons, those that have one of their own included.
        """
        name = self.preset if preset is None else preset
        if name not in self.presets:
            raise UsageError(f"no preset {name[:40]!r}: choose one of {', '.join(self.presets)}")
        changed = self.presets[name]
        if batch_size is not None:
            if not 1 <= batch_size <= MAX_BATCH_SIZE:
                raise UsageError(f"a batch size is 1 to {MAX_BATCH_SIZE}, not {batch_size}")
            changed = dataclasses.replace(changed, batch_size=batch_size)
        if interval is not None:
            if interval < timedelta(0):
                raise UsageError("an interval cannot be negative")
            changed = dataclasses.replace(changed, interval=interval)
        presets = MappingProxyType({**self.presets, name: changed})
        salons = self.salons
        if preset is not None:
            salons = MappingProxyType({one: dataclasses.replace(own, preset=None) for one, own in salons.items()})
        return dataclasses.replace(self, preset=name, presets=presets, salons=salons)


RESTART_KEYS: Final[Mapping[str, Callable[[Settings], object]]] = MappingProxyType(
    {
        "yclients.base_url": lambda s: s.yclients.base_url,
        "yclients.egress": lambda s: s.yclients.egress,
        "yclients.local_address": lambda s: s.yclients.local_address,
        "yclients.ca_file": lambda s: s.yclients.ca_file,
        "yclients.timeout": lambda s: s.yclients.timeout,
        "database.url": lambda s: s.database.url,
        "database.schema": lambda s: s.database.schema_name,
        "http.listen": lambda s: s.http.listen,
    }
)
"""What is opened once at the start: connections, the listening socket, the budget's name."""


def needs_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys that differ and that a reload does not apply, in the file's order."""
    return tuple(key for key, read in RESTART_KEYS.items() if read(old) != read(new))
