"""What does each key of config.yaml mean, and which values may it have?"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import time, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

import yaml

from ycsync.config.nodes import (
    Section,
    compose,
    did_you_mean,
    duration,
    integer,
    is_false,
    is_null,
    line_of,
    one_of,
    shown,
    text,
)
from ycsync.config.salons import read_companies
from ycsync.config.settings import (
    BUILT_IN_PRESETS,
    DEFAULT_PRESET,
    DEFAULT_STREAMS,
    MAX_BATCH_SIZE,
    DatabaseSettings,
    History,
    Hooks,
    Http,
    Log,
    LogLevel,
    Preset,
    Settings,
    Yclients,
)
from ycsync.errors import ConfigError, Problem, UsageError

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_MAX_RATE: Final = 100_000
_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PRESET_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
# Unquoted, YAML reads these as something other than a text.
_NOT_A_TEXT: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_HISTORIES: Final[tuple[History, ...]] = ("auto", "bulk", "by_client")
_LEVELS: Final[tuple[LogLevel, ...]] = ("debug", "info", "warning", "error")


def parse_settings(text: str, source: str) -> Settings:
    """The settings that `text` describes; raises ConfigError(source) with every mistake in it."""
    settings, problems = read_settings(text)
    if problems:
        raise ConfigError(source, problems)
    return settings


def read_settings(text: str) -> tuple[Settings, tuple[Problem, ...]]:
    """As much of the settings as can be read, and what is wrong with the rest, in the order of the lines."""
    root, broken = compose(text)
    if broken is not None:
        return Settings(), (broken,)
    problems: list[Problem] = []
    settings = _settings(Section.of(root, "", problems))
    return settings, tuple(sorted(problems, key=lambda problem: problem.line or 0))


def is_preset_name(name: str) -> bool:
    """Whether a preset may have this name: a word that YAML reads as a text without quotes."""
    return _PRESET_NAME.fullmatch(name) is not None and name.lower() not in _NOT_A_TEXT


def _settings(root: Section) -> Settings:
    yclients = _yclients(root.section("yclients"))
    presets = _presets(root.section("presets"), yclients)
    preset = root.value("preset", DEFAULT_PRESET, text)
    if preset not in presets:
        root.report("preset", f"there is no preset {shown(preset)}; {did_you_mean(preset, presets)}")
        preset = DEFAULT_PRESET
    companies, salons = read_companies(root, presets)
    settings = Settings(
        preset=preset,
        yclients=yclients,
        companies=companies,
        database=_database(root.section("database")),
        streams=_streams(root.section("streams")),
        http=_http(root.section("http")),
        hooks=_hooks(root.section("hooks")),
        log=_log(root.section("log")),
        presets=presets,
        history=root.value("history", "auto", one_of(_HISTORIES)),
        salons=salons,
    )
    root.reject_unknown()
    return settings


def _yclients(section: Section) -> Yclients:
    default = Yclients()
    read = Yclients(
        base_url=section.value("base_url", default.base_url, lambda node: base_url(text(node))),
        per_minute=section.value("per_minute", default.per_minute, integer(1, _MAX_RATE)),
        per_second=section.value("per_second", default.per_second, integer(1, _MAX_RATE)),
        egress=section.value("egress", default.egress, _egress),
        local_address=section.value("local_address", None, _local_address),
        ca_file=section.value("ca_file", None, lambda node: None if is_null(node) else text(node)),
        timeout=section.value("timeout", default.timeout, duration(_SECOND / 10, 600 * _SECOND)),
    )
    if read.local_address is not None and _is_loopback(read.local_address) and not _is_loopback(_host(read.base_url)):
        section.report("local_address", f"{read.local_address} reaches this machine only: write one that leads to YCLIENTS")
    section.reject_unknown()
    return read


def _presets(section: Section, limits: Yclients) -> Mapping[str, Preset]:
    presets: dict[str, Preset] = {}
    for name, built_in in BUILT_IN_PRESETS.items():
        presets[name] = _preset(section.section(name), built_in, limits)
    for name in section.entries:
        if name in presets:
            continue
        read = _preset(section.section(name), BUILT_IN_PRESETS[DEFAULT_PRESET], limits)
        if is_preset_name(name):
            presets[name] = read
        else:
            section.report(name, "a preset's name is letters, digits, _ and -, and not a word such as `on` or `no`")
    return MappingProxyType(presets)


def _preset(section: Section, base: Preset, limits: Yclients) -> Preset:
    """`base` with the file's keys. Rates in the file must fit the budget; inherited ones are cut to it."""
    preset = Preset(
        batch_size=section.value("batch_size", base.batch_size, integer(1, MAX_BATCH_SIZE)),
        interval=section.value("interval", base.interval, duration(0 * _SECOND, 7 * _DAY)),
        per_minute=_rate(section, "per_minute", base.per_minute, limits.per_minute),
        per_second=_rate(section, "per_second", base.per_second, limits.per_second),
        min_delay=section.value("min_delay", base.min_delay, duration(0 * _SECOND, 60 * _SECOND)),
        max_retries=section.value("max_retries", base.max_retries, integer(0, 20)),
        recheck_days=section.value("recheck_days", base.recheck_days, integer(0, 3650)),
        start_at=section.value("start_at", base.start_at, _start_at),
    )
    section.reject_unknown()
    return preset


def _rate(section: Section, key: str, inherited: int, limit: int) -> int:
    if not section.has(key):
        return min(section.value(key, inherited, integer(1, _MAX_RATE)), limit)
    rate = section.value(key, min(inherited, limit), integer(1, _MAX_RATE))
    if rate > limit:
        section.report(key, f"{rate} is above yclients.{key} ({limit}): lower it to at most {limit}")
    return min(rate, limit)


def _database(section: Section) -> DatabaseSettings:
    default = DatabaseSettings()
    read = DatabaseSettings(
        url=section.value("url", default.url, lambda node: _file_database_url(text(node))),
        schema_name=section.value("schema", default.schema_name, _schema),
    )
    section.reject_unknown()
    return read


def _streams(section: Section) -> Mapping[str, timedelta | None]:
    streams: dict[str, timedelta | None] = {}
    for name, default in DEFAULT_STREAMS.items():
        streams[name] = section.value(name, default, _cadence)
    section.reject_unknown("stream")
    return MappingProxyType(streams)


def _cadence(node: yaml.ScalarNode) -> timedelta | None:
    return None if is_false(node) else duration(_SECOND, 365 * _DAY)(node)


def _http(section: Section) -> Http:
    read = replace(section.value("listen", Http(), _listen), hosts=_hosts(section))
    section.reject_unknown()
    return read


def _hosts(section: Section) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for node in section.items("hosts"):
        name = node.value.strip().lower().rstrip(".") if isinstance(node, yaml.ScalarNode) else ""
        if not _is_host(name, bracketed=False):
            message = "must be names without scheme and port, as in [status.example.org]"
            section.problems.append(Problem(line_of(node), section.name("hosts"), message))
        names[name] = None
    return tuple(names)


def _hooks(section: Section) -> Hooks:
    default = Hooks()
    read = Hooks(
        url=section.value("url", default.url, lambda node: None if is_null(node) or is_false(node) else _hooks_url(text(node))),
        reconcile=section.value("reconcile", default.reconcile, duration(_SECOND, _DAY)),
    )
    section.reject_unknown()
    return read


def _hooks_url(url: str) -> str:
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable() or " " in url:
        raise UsageError("must be the https:// address by which YCLIENTS reaches this service, as in https://sync.example.org")
    try:
        _ = parts.port
    except ValueError:
        raise UsageError("the port must be a number from 0 to 65535") from None
    if "@" in parts.netloc or parts.query or parts.fragment or url.endswith(("?", "#")):
        raise UsageError("must hold no user, password, `?` or `#`")
    if "hooks" in parts.path.split("/"):
        raise UsageError("must be the address without /hooks/ and what follows: the secret is kept elsewhere")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise UsageError("plain http would show the secret to the network: use https (http only for localhost)")
    return url.rstrip("/")


def _log(section: Section) -> Log:
    read = Log(level=section.value("level", "info", one_of(_LEVELS)))
    section.reject_unknown()
    return read


def _egress(node: yaml.ScalarNode) -> str:
    name = text(node)
    if not _NAME.fullmatch(name):
        raise UsageError(f"must be a short name of letters, digits, '.', '_' and '-', not {shown(name)}")
    return name


def _local_address(node: yaml.ScalarNode) -> str | None:
    if is_null(node):
        return None
    try:
        address = ipaddress.ip_address(text(node))
    except ValueError:
        address = None
    if address is None or address.is_unspecified or address.is_multicast or address.is_link_local:
        raise UsageError(f"must be one IP address of this machine, as in 203.0.113.7 or 2001:db8::7, not {shown(node.value)}")
    return str(address)


def _host(url: str) -> str:
    parts = _split(url)
    return (parts.hostname if parts is not None else None) or ""


def _start_at(node: yaml.ScalarNode) -> time | None:
    if is_null(node) or is_false(node):
        return None
    shape = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text(node))
    if shape is None:
        raise UsageError(f'must be a time of day from "00:00" to "23:59", not {shown(node.value)}')
    return time(int(shape[1]), int(shape[2]))


def _schema(node: yaml.ScalarNode) -> str:
    name = text(node)
    if not _IDENTIFIER.fullmatch(name):
        raise UsageError(f"must be lower-case letters, digits and _, at most 63, not {shown(name)}")
    if name.startswith("pg_") or name in {"public", "information_schema"}:
        raise UsageError(f"{name} belongs to PostgreSQL or to others: name a schema of ycsync's own, as in `yclients`")
    return name


def _listen(node: yaml.ScalarNode) -> Http:
    if is_false(node) or (not is_null(node) and not node.value.strip()):
        return Http(host="", port=0)
    value = text(node)
    shape = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", value)
    host = (shape[1] or shape[2]) if shape else ""
    if shape is None or int(shape[3]) > 65535 or not _is_host(host, bracketed=shape[1] is not None):
        raise UsageError(
            f'must be "host:port", as in "127.0.0.1:8787" or "[::1]:8787", or false to listen nowhere, not {shown(value)}'
        )
    return Http(host=host, port=int(shape[3]))


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        return (ipaddress.ip_address(host).version == 6) is bracketed
    except ValueError:
        # Four numbers that are not an address are a slip of the pen, not a name.
        return not bracketed and _HOST_NAME.fullmatch(host) is not None and not host.rpartition(".")[2].isdigit()


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.hostname
    except ValueError:
        return None
    return parts


def base_url(url: str) -> str:
    """The API's address without a closing slash; plain http only to this machine, as tokens travel along."""
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or " " in url:
        raise UsageError("must be an https:// address, as in https://api.yclients.com/api/v1")
    try:
        _ = parts.port
    except ValueError:
        raise UsageError("the port must be a number from 0 to 65535") from None
    if "@" in parts.netloc:
        raise UsageError("must not hold a user or a password")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise UsageError("must end with the path: remove what follows `?` or `#`")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise UsageError("plain http would show the tokens to the network: use https (http only for localhost)")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_database_url(url: str) -> str:
    """`embedded` or a PostgreSQL URL; raises UsageError, which never repeats the value."""
    if url == "embedded":
        return url
    parts = _split(url)
    if parts is None or parts.scheme not in {"postgres", "postgresql"} or "://" not in url:
        raise UsageError('must be "embedded" or postgresql://user@host:5432/database')
    if not url.isprintable() or " " in url:
        raise UsageError("must not hold spaces or line breaks: percent-encode them (a space is %20)")
    return url


def _file_database_url(url: str) -> str:
    check_database_url(url)
    # Not `urlsplit().password`: an unencoded / or # in a password hides it from that.
    tail = url.partition("://")[2]
    in_query = any(key.lower() in {"password", "sslpassword"} for key, _ in parse_qsl(tail.partition("?")[2]))
    if in_query or re.match(r"[^/@?]*:[^@]*@", tail):
        raise UsageError(
            "a password does not belong in this file (it is safe to commit): put the whole URL into "
            "YCSYNC_DATABASE_URL or the systemd credential `database_url`, "
            "and leave `embedded` or a URL without a password here"
        )
    return url
