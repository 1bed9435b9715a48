"""Is the machine as the service needs it: Python, systemd, the unit, files and their rights, disk, the port?"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from ycsync import __version__
from ycsync.config import INSTALLED, Loaded, SalonTokens, Settings
from ycsync.config.secrets import FOLDER, Secrets, missing_secrets, secret_files
from ycsync.service.control import running
from ycsync.service.doctor.finding import Finding, Findings
from ycsync.store.embedded import default_root, exists
from ycsync.web import is_ours

OLDEST_SYSTEMD = 247  # LoadCredential=
HOMES = ("/home", "/root", "/run/user")  # which the unit does not see
UNIT = "ycsync.service"
PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
NSS = Path("/etc/nsswitch.conf")
PROPERTIES = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "NRestarts", "NeedDaemonReload",
    "ExecMainStartTimestampMonotonic",
)  # fmt: skip
LITTLE, NOTHING = 1 << 30, 100 << 20  # bytes of disk: worth a warning, too few
COMMAND_S = 5.0


def python(unit: bool) -> Findings:
    """The interpreter that runs this, which is the service's where the unit is installed."""
    version = ".".join(map(str, sys.version_info[:3]))
    base = os.path.realpath(sys.base_prefix)
    if unit and base.startswith(tuple(f"{home}/" for home in HOMES)):
        return [
            Finding(
                "python", "fail", f"Python {version} lies in {base}, which the service does not see (ProtectHome=)",
                "Install a Python of the system (apt-get install python3-venv), then deploy/install again.",
            )
        ]  # fmt: skip
    return [Finding("python", "ok", f"ycsync {__version__} with Python {version} in {sys.prefix}")]


async def _output(*command: str) -> str | None:
    """What a command prints; None when it is not there, fails or hangs."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(COMMAND_S):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return said.decode(errors="replace") if process.returncode == 0 else None


async def unit_properties() -> Mapping[str, str] | None:
    """What systemd knows of the unit; None without systemd."""
    said = await _output("systemctl", "show", UNIT, "--property", ",".join(PROPERTIES))
    return None if said is None else dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


async def systemd(unit: Mapping[str, str] | None, path: Path | None) -> Findings:
    """systemd, and the unit in it."""
    if unit is None:
        return [Finding("systemd", "skipped", "no systemd runs here: whatever starts `ycsync run` must keep it running")]
    said = await _output("systemctl", "--version")
    number = next((int(word) for word in (said or "").split() if word.isdigit()), 0)
    found = [Finding("systemd", "ok", f"systemd {number}")]
    if number < OLDEST_SYSTEMD:
        found = [
            Finding(
                "systemd", "fail", f"systemd {number} cannot hand secrets to a service, {OLDEST_SYSTEMD} was the first",
                "Take a newer system: Debian 11, Ubuntu 22.04 or later.",
            )
        ]  # fmt: skip
    if unit.get("LoadState") != "loaded":
        return [*found, Finding("unit", "warn", f"{UNIT} is not installed", "Run deploy/install as root.")]
    if unit.get("NeedDaemonReload") == "yes":
        found.append(
            Finding(
                "unit", "warn", "its file was changed and systemd has not read it", "systemctl daemon-reload, then restart it."
            )
        )
    if unit.get("UnitFileState") != "enabled":
        found.append(Finding("unit", "warn", f"{UNIT} does not start with the machine", "systemctl enable ycsync"))
    state, result = unit.get("ActiveState", ""), unit.get("Result", "")
    if state == "failed":
        why = {"exit-code": "it ended with an error", "start-limit-hit": "it failed too often in a row"}.get(result, result)
        found.append(
            Finding(
                "unit", "fail", f"the service failed: {why}",
                "journalctl -u ycsync -n 30 says why; mend it, then systemctl start ycsync.",
            )
        )  # fmt: skip
    elif state in ("active", "reloading"):
        found.append(Finding("unit", "ok", "the service runs"))
        found += _refused(path)
    elif state == "activating" and (unit.get("SubState") == "auto-restart" or unit.get("NRestarts", "0") != "0"):
        found.append(
            Finding(
                "unit", "fail", f"the service starts again and again, {unit.get('NRestarts', '0')} times until now",
                "journalctl -u ycsync -p warning -n 30 says why.",
            )
        )  # fmt: skip
    elif state == "activating":
        found.append(Finding("unit", "warn", "the service is starting", "journalctl -u ycsync -n 30, if that lasts."))
    else:
        found.append(Finding("unit", "warn", "the service does not run", "systemctl start ycsync"))
    return found


def _refused(path: Path | None) -> Findings:
    problems = () if path is None else tuple(one.problem for one in running(path) if one.problem is not None)
    return [
        Finding(
            "unit",
            "fail",
            f"the last reload was refused, the old settings hold: {problem}",
            "Mend it, then systemctl reload ycsync.",
        )
        for problem in problems
    ]


def secrets(given: Secrets | None, path: Path | None, loaded: Loaded | None, unit: Mapping[str, str] | None) -> Findings:
    """Which secrets are there, who may read them, and has the service the same?"""
    hidden = None if loaded is None else loaded.hidden
    common = loaded is None or loaded.settings.needs_common_token
    folder = (path or INSTALLED).absolute().parent / FOLDER
    lacking = () if given is None else missing_secrets(given, common=common)
    closed = folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)
    if hidden is not None or (closed and lacking):
        return [Finding("secrets", "fail", f"{hidden or folder} may be read by root only", "Run this command with sudo.")]
    found: Findings = []
    for name, file in lacking:
        found.append(
            Finding("secrets", "fail", f"no {name}", f"Write it into {folder / file} (as root, nothing but the secret).")
        )
    tokens = SalonTokens() if loaded is None else loaded.salon_tokens
    for problem in tokens.missing:
        found.append(Finding("secrets", "fail", str(problem), "As it says; a variable of the service alone is not seen here."))
    if given is not None and not lacking:
        there = "partner token and " + ("user token" if given.user_token else "login and password" if given.login else "")
        there = f"{there.removesuffix(' and ')}{f', own user tokens of {len(tokens.found)} salons' if tokens.found else ''}"
        found.append(Finding("secrets", "ok", f"{there}{', database URL' if given.database_url else ''}"))
    if folder.is_dir() and not closed:
        found += _rights(folder) + _outdated(folder, unit)
    return found


def hooks(loaded: Loaded) -> Findings:
    """Do the address of webhooks and its secret go together?"""
    settings, secret = loaded.settings, loaded.secrets.hook_secret
    if loaded.hidden is not None or (settings.hooks.url is None and secret is None):
        return []
    if settings.hooks.url is None:
        says = "a hook secret is there, and hooks.url says no address: hooks are taken, and clients and visits are asked for "
        says += "as often as without"
        return [Finding("hooks", "warn", says, "Write hooks.url into config.yaml, reload, then `ycsync hooks install`.")]
    if secret is None:
        says = "hooks.url is set and there is no hook secret: every hook is answered 404"
        return [Finding("hooks", "warn", says, f"Write one into {loaded.secrets.folder / 'hook_secret'}, then restart.")]
    if not settings.http.enabled:
        says = "hooks.url is set and http.listen is off: no hook is heard"
        return [Finding("hooks", "warn", says, "Write http.listen into config.yaml, then restart.")]
    return [Finding("hooks", "ok", f"hooks come by {settings.hooks.url}; `ycsync hooks show` asks YCLIENTS")]


def _rights(folder: Path) -> Findings:
    found: Findings = []
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found.append(Finding("secrets", "warn", f"{folder} is open to other users", f"chmod 700 {folder}"))
    readable = []
    for file in sorted(folder.iterdir()):
        if not file.exists():
            found.append(Finding("secrets", "warn", f"{file} leads nowhere", "Write the secret into a file of that name."))
        elif file.name not in secret_files():
            found.append(
                Finding(
                    "secrets", "warn", f"{file} is read by nobody", f"The names that are read: {', '.join(secret_files())}."
                )
            )
        elif file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            readable.append(str(file))
    if readable:
        names = " ".join(readable)
        found.append(Finding("secrets", "warn", f"may be read by other users: {names}", f"chmod 600 {names}"))
    return found


def _outdated(folder: Path, unit: Mapping[str, str] | None) -> Findings:
    """systemd hands secrets out when a service starts."""
    began_us = (unit or {}).get("ExecMainStartTimestampMonotonic", "0")
    if not began_us.isdigit() or int(began_us) == 0 or (unit or {}).get("ActiveState") != "active":
        return []
    began = time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - int(began_us) / 1e6)
    newer = [
        file.name
        for file in folder.iterdir()
        if file.name in secret_files() and file.exists() and file.stat().st_mtime > began + 1
    ]
    if not newer:
        return []
    return [
        Finding(
            "secrets", "warn", f"the running service has older ones: {', '.join(sorted(newer))} changed after it started",
            "systemctl restart ycsync",
        )
    ]  # fmt: skip


def files(path: Path | None, unit: Mapping[str, str] | None) -> Findings:
    """May the service's own user read the configuration?"""
    if path is None or unit is None or unit.get("LoadState") != "loaded" or path.resolve() != INSTALLED:
        return []
    for each in (path, *path.resolve().parents):
        needed = stat.S_IROTH if each == path else stat.S_IXOTH
        if not each.stat().st_mode & needed:
            return [
                Finding(
                    "config", "fail", f"the service's user may not read {path}, because of the rights of {each}",
                    f"chmod {'644' if each == path else '755'} {each} (secrets are elsewhere).",
                )
            ]  # fmt: skip
    return []


def users(loaded: Loaded | None, unit: Mapping[str, str] | None) -> Findings:
    """Is the service's user known to the C library, which initdb asks?"""
    if loaded is None or loaded.database_url != "embedded" or unit is None or unit.get("LoadState") != "loaded":
        return []
    try:
        lines = NSS.read_text().splitlines()
    except OSError:
        lines = []
    if any("systemd" in line.split() for line in lines if line.startswith("passwd:")) or exists(default_root(os.environ)):
        return []
    return [
        Finding(
            "database", "fail", "the private PostgreSQL cannot be made: the C library does not know the users of DynamicUser=",
            "apt-get install libnss-systemd; or put the URL of a database of yours into the credential database_url.",
        )
    ]  # fmt: skip


def disk(loaded: Loaded | None) -> Findings:
    """Room for the private PostgreSQL."""
    if loaded is not None and loaded.database_url != "embedded":
        return []
    root = default_root(os.environ)
    there = next(path for path in (root, *root.parents) if path.exists())
    free, inodes = shutil.disk_usage(there).free, os.statvfs(there)
    says = f"{free / (1 << 30):.1f} GB free for the private PostgreSQL in {root}"
    if free < NOTHING or (inodes.f_files and inodes.f_favail < 1000):
        return [Finding("disk", "fail", f"{says}, {inodes.f_favail} files", f"Make room on the disk of {there}.")]
    return [
        Finding("disk", "warn" if free < LITTLE else "ok", says, f"Make room on the disk of {there}." if free < LITTLE else "")
    ]


def _first_open_port() -> int:
    """Below it only root may listen."""
    try:
        return int(PORTS.read_text())
    except (OSError, ValueError):
        return 1024


async def _answers(healthz: str) -> bool:
    """Whether it is ycsync that answers there. Raises OSError when nobody takes the connection."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=COMMAND_S)) as session,
            session.get(healthz, allow_redirects=False) as response,
        ):
            return is_ours(await response.json(content_type=None))
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):  # not HTTP, not JSON, or never an end
        return False


async def port(settings: Settings, path: Path | None, unit: Mapping[str, str] | None) -> Findings:
    """May the status page be opened, or is it?"""
    http = settings.http
    if not http.enabled:
        return [Finding("http", "skipped", "http.listen is off: no /metrics, no /readyz")]
    if path is not None and running(path):
        try:
            ours = await _answers(f"http://{http.listen}/healthz")
        except OSError:
            return [
                Finding(
                    "http", "fail", f"the service runs, and nothing answers at {http.listen}",
                    "Another program held the port at its start: systemctl restart ycsync, or choose another in http.listen.",
                )
            ]  # fmt: skip
        if not ours:
            return [
                Finding(
                    "http", "fail", f"another program answers at http://{http.listen}: the service runs without its pages",
                    "Choose another port in http.listen, or end that program; then systemctl restart ycsync.",
                )
            ]  # fmt: skip
        return [Finding("http", "ok", f"http://{http.listen} answers")]
    if unit is not None and unit.get("LoadState") == "loaded" and path == INSTALLED and 0 < http.port < _first_open_port():
        return [
            Finding(
                "http", "fail", f"the service's user may not open port {http.port} of http.listen",
                f"Choose a port from {_first_open_port()} on, and put a web server before it if it must be this one.",
            )
        ]  # fmt: skip
    try:
        server = await asyncio.start_server(lambda _, writer: writer.close(), http.host, http.port)
    except OSError as error:
        return [
            Finding(
                "http",
                "fail",
                f"{http.listen} cannot be opened ({error.strerror})",
                "Choose another port or address in http.listen.",
            )
        ]
    server.close()
    return [Finding("http", "ok", f"{http.listen} is free")]
