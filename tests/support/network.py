"""Machines of their own on a network of their own: what it takes to run `ycsync run` on several, and to pull a cable.

Everything lies in network namespaces that a test makes and that end with it: a hub, in which PostgreSQL and the simulated
YCLIENTS listen, and machines with an address and process ids of their own, each on a cable to the hub. Needs root.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.memory import server_folder
from ycsync.store import embedded
from ycsync.store.embedded import EmbeddedPostgres

API, DATABASE = "10.77.0.2", "10.77.0.3"
NOBODY = "02:00:00:00:00:99"  # a hardware address that no card has: what is sent there is gone without a word
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _anchor(*command: str) -> subprocess.Popen[str]:
    """A process that holds namespaces; it ends with us, since its input does."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PATH": _PATH, "LANG": "C.UTF-8"}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", command
    return process


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _run(*command: str, given: str = "") -> None:
    subprocess.run(command, input=given, text=True, check=True, env={"PATH": _PATH, "LANG": "C.UTF-8"})


class Hub:
    """The network that all are on. `with Hub() as hub:`"""

    def __init__(self) -> None:
        self._anchor = _anchor("unshare", "--net", "--", "sh", "-c", "echo ready; exec cat >/dev/null")
        self._ours = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.namespace = os.open(f"/proc/{self._anchor.pid}/ns/net", os.O_RDONLY)
        self.machines: list[Machine] = []
        self._folder = server_folder()
        self._server = EmbeddedPostgres(self._folder, durable=False)
        self.dsn = ""  # by its socket, for the test itself

    def __enter__(self) -> Hub:
        try:
            self.ip(
                "link set lo up\nlink add hub type bridge\n"
                + "".join(f"addr add {address}/24 dev hub\n" for address in ("10.77.0.1", API, DATABASE))
                + "link set hub up\n"
            )
            self._serve()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _serve(self) -> None:
        settings = {"listen_addresses": DATABASE, "max_connections": "300"}
        before = dict(embedded._THROW_AWAY)
        embedded._THROW_AWAY.update(settings)
        try:
            with self.entered():
                self.dsn = self._server.start()
        finally:
            embedded._THROW_AWAY.clear()
            embedded._THROW_AWAY.update(before)
        with open(self._folder / "data" / "pg_hba.conf", "a") as rules:
            rules.write("host all all 10.77.0.0/24 trust\n")
        assert self._server._process is not None
        self._server._process.send_signal(signal.SIGHUP)

    def __exit__(self, *_: object) -> None:
        for machine in self.machines:
            machine.end()
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._anchor.kill()
        self._anchor.communicate()
        os.close(self.namespace)
        os.close(self._ours)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are the hub's, and so are those of processes that it starts."""
        with self.within(self.namespace):
            yield

    @contextlib.contextmanager
    def within(self, namespace: int) -> Iterator[None]:
        """The same for any network namespace."""
        _setns(namespace)
        try:
            yield
        finally:
            _setns(self._ours)

    def ip(self, commands: str) -> None:
        """Commands of `ip`, a line each, in the hub."""
        _run("nsenter", f"--net=/proc/{self._anchor.pid}/ns/net", "ip", "-batch", "-", given=commands)

    def url(self, name: str) -> str:
        """A database, as a machine reaches it."""
        return f"postgresql://ycsync@{DATABASE}:5432/{name}"


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Machine:
    """A machine on a cable to the hub, or, with `beside`, a second one behind the address of another.

    Its processes see no others, and it takes `localhost` for YCLIENTS: with plain HTTP tokens go to no other name.
    """

    def __init__(self, hub: Hub, folder: Path, *, beside: Machine | None = None) -> None:
        self._hub = hub
        self.folder = folder
        self.name = f"m{len(hub.machines) + 10}"
        self.address: str = beside.address if beside is not None else f"10.77.0.{len(hub.machines) + 10}"
        folder.mkdir(exist_ok=True)
        hosts = folder / "hosts"
        hosts.write_text(f"{API} localhost\n")
        script = 'mount --bind "$0" /etc/hosts && echo ready && exec cat >/dev/null'
        net = ("--net",) if beside is None else ()
        into = () if beside is None else ("nsenter", f"--net=/proc/{beside.inner}/ns/net")
        self._anchor = _anchor(
            *into, "unshare", *net, "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, str(hosts)
        )
        self.inner: int = _child_of(self._anchor.pid)
        self.processes: list[asyncio.subprocess.Process] = []
        hub.machines.append(self)
        if beside is None:
            hub.ip(f"link add {self.name} type veth peer name eth0 netns {self.inner}\nlink set {self.name} master hub up\n")
            self.ip(f"link set lo up\naddr add {self.address}/24 dev eth0\nlink set eth0 up\n")

    def ip(self, commands: str) -> None:
        """Commands of `ip`, a line each, on the machine."""
        _run("nsenter", f"--net=/proc/{self.inner}/ns/net", "ip", "-batch", "-", given=commands)

    def unplug(self) -> None:
        """The cable is out: no packet comes or goes, and nobody is told."""
        self._hub.ip(f"link set {self.name} down\n")

    def plug(self) -> None:
        """And in again."""
        self._hub.ip(f"link set {self.name} up\n")

    def lose(self, address: str) -> None:
        """What is sent to this address of the hub is gone; everything else goes on."""
        self.ip(f"neigh replace {address} lladdr {NOBODY} dev eth0 nud permanent\n")

    def find(self, address: str) -> None:
        """It is reached again."""
        self.ip(f"neigh del {address} dev eth0\n")

    def refuse(self, address: str) -> None:
        """There is no way to this address of the hub any more, and whoever tries is told."""
        self.ip(f"route add unreachable {address}/32\n")

    def allow(self, address: str) -> None:
        """There is one again."""
        self.ip(f"route del unreachable {address}/32\n")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are the machine's."""
        namespace = os.open(f"/proc/{self.inner}/ns/net", os.O_RDONLY)
        try:
            with self._hub.within(namespace):
                yield
        finally:
            os.close(namespace)

    async def start(self, *arguments: str, log: str = "log", **environ: str) -> Service:
        """`ycsync ARGUMENTS` on this machine, its output into a file of its folder."""
        with open(self.folder / log, "ab") as output:
            process = await asyncio.create_subprocess_exec(
                "nsenter", "-t", str(self.inner), "--net", "--pid", "--mount", "--", sys.executable, "-m", "ycsync", *arguments,
                env={"PATH": _PATH, "LANG": "C.UTF-8", "PYTHONPATH": os.pathsep.join(sys.path), **environ},
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self.processes.append(process)
        return Service(self, process, log)

    def log(self, name: str = "log") -> str:
        """What a command wrote so far."""
        file = self.folder / name
        return file.read_text("utf-8") if file.exists() else ""

    def end(self) -> None:
        """All its processes end with it, whatever they do."""
        self._anchor.kill()  # --kill-child
        self._anchor.communicate()


@dataclass(slots=True)
class Service:
    """A process on a machine."""

    machine: Machine
    process: asyncio.subprocess.Process
    log_name: str
    _pid: int | None = field(default=None)

    @property
    def pid(self) -> int:
        """Its number as we see it."""
        if self._pid is None:
            self._pid = _child_of(self.process.pid)
        return self._pid

    def signal(self, signum: signal.Signals) -> None:
        os.kill(self.pid, signum)
        if signum == signal.SIGCONT:
            self.process.send_signal(signum)  # nsenter stops with its child

    async def until_log(self, text: str, within_s: float = 30.0, times: int = 1) -> None:
        """It said this, so often."""
        async with asyncio.timeout(within_s):
            while self.log.count(text) < times:
                await asyncio.sleep(0.1)

    @property
    def log(self) -> str:
        return self.machine.log(self.log_name)
