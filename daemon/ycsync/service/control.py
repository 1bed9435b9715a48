"""How does a command find the running service of a configuration, and make it reload?

The service keeps a small file in its runtime directory, locked as long as it lives: its pid, its configuration, which database
and budget it works with, and the result of its last reload. systemd makes that directory (`RuntimeDirectory=ycsync`); without
systemd it lies below /tmp.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ycsync.config import InForce
from ycsync.errors import YcsyncError

RELOAD_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the service says of itself. `reloads` counts finished reloads, good or bad; `problem` is the last one's, if any.

    `in_force` holds until the service ends, whatever is reloaded; None: an older one, which does not say.
    """

    pid: int
    config: str
    reloads: int = 0
    problem: str | None = None
    restart_needed: tuple[str, ...] = ()
    in_force: InForce | None = None


class ReloadFailed(YcsyncError):
    """The running service did not take the configuration; it goes on with the one that it had."""


class ReloadRefused(ReloadFailed):
    """It found a mistake in it, and has said so in its log."""


def directories() -> tuple[Path, ...]:
    """Where the file may be: the first is where a service started from here puts it."""
    own = [Path(os.environ["RUNTIME_DIRECTORY"].split(":")[0])] if os.environ.get("RUNTIME_DIRECTORY") else []
    if os.environ.get("XDG_RUNTIME_DIR"):
        own.append(Path(os.environ["XDG_RUNTIME_DIR"]) / "ycsync")
    own.append(Path(f"/tmp/ycsync-{os.geteuid()}"))
    return (*own, Path("/run/ycsync"))


def _name(config: Path) -> str:
    return f"service-{hashlib.sha256(str(config.resolve()).encode()).hexdigest()[:16]}"


class Beacon:
    """The service's side: the file, locked while the service lives."""

    def __init__(self, config: Path, in_force: InForce | None = None) -> None:
        directory = directories()[0]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One file a process: a second service with the same configuration is a standby, and shares the work.
        self._path = directory / f"{_name(config)}-{os.getpid()}.json"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.announced = Announcement(os.getpid(), str(config.resolve()), in_force=in_force)
        self._write()

    def reloaded(self, problem: str | None, restart_needed: tuple[str, ...] = ()) -> None:
        """A reload is finished: live, or refused with this problem."""
        old = self.announced
        self.announced = replace(old, reloads=old.reloads + 1, problem=problem, restart_needed=restart_needed)
        self._write()

    def close(self) -> None:
        """The service ends."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)

    def _write(self) -> None:
        data = json.dumps(asdict(self.announced)).encode()
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))


def running(config: Path) -> tuple[Announcement, ...]:
    """The services that run with this configuration."""
    found: dict[int, Announcement] = {}
    for directory in filter(_ours, directories()):
        for path in sorted(directory.glob(f"{_name(config)}-*.json")):
            announced = _announced(path)
            if announced is not None:
                found[announced.pid] = announced
    return tuple(found.values())


def _ours(directory: Path) -> bool:
    """Below /tmp anybody may have made it, and what is said there decides whom this process signals and connects to."""
    try:
        return directory.parent != Path("/tmp") or directory.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _announced(path: Path) -> Announcement | None:
    """What a file says, if its service lives: then the file is locked. A file left by a dead one says nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd)
    finally:
        os.close(fd)
    return None


def _read(fd: int) -> Announcement | None:
    try:
        value = json.loads(os.pread(fd, 65536, 0))
        return Announcement(
            int(value["pid"]), str(value["config"]), int(value["reloads"]), value["problem"],
            tuple(value["restart_needed"]), _in_force(value.get("in_force")),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None


def _in_force(value: Any) -> InForce | None:
    return None if value is None else InForce(str(value["url"]), str(value["schema_name"]), str(value["egress"]))


def reload_service(config: Path, *, timeout_s: float = RELOAD_TIMEOUT_S) -> str | None:
    """Make the services that run with this file read it again, and wait until they have.

    Returns a sentence saying what happened; None when no service runs with this file. Raises ReloadFailed.
    """
    told: str | None = None
    for one in running(config):
        told = _reload_one(config, one, timeout_s) or told
    return told


def _reload_one(config: Path, before: Announcement, timeout_s: float) -> str | None:
    try:
        os.kill(before.pid, signal.SIGHUP)
    except ProcessLookupError:
        return None
    except PermissionError as exc:
        raise ReloadFailed(f"the service (pid {before.pid}) is another user's: run `systemctl reload ycsync` as root.") from exc
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        now = next((one for one in running(config) if one.pid == before.pid), None)
        if now is None:
            raise ReloadFailed("the service ended while it was reloading; see its log (journalctl -u ycsync).")
        if now.reloads > before.reloads:
            if now.problem is not None:
                raise ReloadRefused(f"the service keeps its old settings: {now.problem}")
            if now.restart_needed:
                keys = ", ".join(now.restart_needed)
                return f"The service has reloaded; {keys} take effect with `systemctl restart ycsync`."
            return "The service has reloaded; the next batch uses the new settings."
        time.sleep(0.05)
    raise ReloadFailed(f"the service (pid {before.pid}) did not answer within {timeout_s:.0f} s; see its log.")
