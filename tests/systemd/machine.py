"""How does a test get a real systemd, with this checkout installed as a user would install it?"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import time
from pathlib import Path

SDNS = Path(__file__).parent / "sdns"
CHECKOUT = Path(__file__).parents[2]
HOME = "/opt/ycsync"
WHEELS = CHECKOUT / ".cache" / "wheels"
BROUGHT = (
    "daemon", "deploy", "systemd", "docs", "config.yaml", "pyproject.toml", "requirements.lock", "README.md", "LICENSE",
)  # fmt: skip


class Machine:
    """A systemd of its own, over a throw-away overlay of this machine's file system, on a network of its own.

    `files` is laid over `/` at boot; what is in `share` inside is `/run/share`. Boots in about a second.
    """

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state"
        self.files = folder / "files"
        self.share = self._state / "share"
        self._binds: dict[Path, str] = {}
        self._booted = False
        self.files.mkdir(parents=True)
        self.share.mkdir(parents=True)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Puts a file into the machine: before it boots as if installed, later into the running one."""
        if self._booted:
            self.run("install", "-D", "-m", f"{mode:o}", "/dev/stdin", path, stdin=text)
            return
        target = self.files / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def install_project(self) -> None:
        """Puts this checkout's package, its packages and its unit where the unit expects them."""
        base = Path(sys.base_prefix)
        python = Path(os.path.realpath(sys.executable))
        if not base.is_relative_to("/usr"):  # a Python in a home, which the unit cannot see
            self._binds[base] = f"{HOME}/python"
            python = Path(HOME) / "python" / python.relative_to(base)
            self.write(
                "/etc/systemd/system/ycsync.service.d/python.conf",
                f"[Service]\nEnvironment=LD_LIBRARY_PATH={HOME}/python/lib\n",
            )
        self._binds[Path(site.getsitepackages()[0])] = f"{HOME}/site-packages"
        self.write(f"{HOME}/venv/pyvenv.cfg", f"home = {python.parent}\ninclude-system-site-packages = false\n")
        venv = self.files / HOME.lstrip("/") / "venv"
        (venv / "bin").mkdir()
        (venv / "bin" / "python").symlink_to(python)
        library = f"{HOME}/venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        self.write(f"{library}/ycsync.pth", f"{HOME}/daemon\n{HOME}/site-packages\n")
        main = "import sys\nfrom ycsync.cli import main\nsys.exit(main())\n"
        self.write(f"{HOME}/venv/bin/ycsync", f"#!{HOME}/venv/bin/python\n{main}", 0o755)
        daemon = self.files / HOME.lstrip("/") / "daemon"
        shutil.copytree(CHECKOUT / "daemon", daemon, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        self.write("/etc/systemd/system/ycsync.service", (CHECKOUT / "systemd" / "ycsync.service").read_text())
        for folder, _, names in os.walk(self.files):  # whatever the umask of the checkout
            os.chmod(folder, 0o755)
            for path in (Path(folder) / name for name in names):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | 0o444)

    def bring_checkout(self) -> None:
        """Puts this checkout where an administrator would have cloned it, and its packages as files beside it."""
        if not WHEELS.is_dir():
            raise AssertionError(f"no {WHEELS}: ./deploy/test fetches the packages that deploy/install installs")
        self._binds[WHEELS] = "/root/wheels"
        for name in BROUGHT:
            source, target = CHECKOUT / name, self.files / "root" / "ycsync" / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def install(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs deploy/install there."""
        return self.run("/root/ycsync/deploy/install", *options, check=check, timeout_s=300)

    def boot(self) -> None:
        binds = "\n".join(f"{source}\t{target}" for source, target in self._binds.items())
        done = self._sdns("boot", str(self._state), str(self.files), env={**os.environ, "BINDS": binds})
        if done.returncode != 0:
            raise AssertionError(f"no systemd: {done.stdout}{done.stderr}")
        self._booted = True

    def run(
        self, *command: str, check: bool = True, timeout_s: float = 60, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside as root; a failing one is an AssertionError with what it said."""
        done = self._sdns("exec", str(self._state), *command, timeout_s=timeout_s, stdin=stdin)
        if check and done.returncode != 0:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{said}\n{self.journal()}")
        return done

    def systemctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *arguments, check=check)

    def show(self, name: str, unit: str = "ycsync") -> str:
        """A property of a unit: `ActiveState`, `MainPID`, `StatusText`."""
        return self.systemctl("show", "--property", name, "--value", unit).stdout.strip()

    def journal(self, unit: str = "ycsync", output: str = "short") -> str:
        command = ("journalctl", "--no-pager", "--quiet", "--output", output, "--unit", unit)
        self.run("journalctl", "--sync", check=False)
        return self.run(*command, check=False).stdout

    def wait_for(self, name: str, value: str, unit: str = "ycsync", timeout_s: float = 90) -> None:
        deadline = time.monotonic() + timeout_s
        while (now := self.show(name, unit)) != value:
            if time.monotonic() > deadline:
                raise AssertionError(f"{unit}: {name} is {now}, not {value}\n{self.journal(unit)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Powers off; what a service held is released, and its processes are gone."""
        if (self._state / "pid").exists():
            self._sdns("stop", str(self._state))
        self._booted = False

    def _sdns(
        self,
        *arguments: str,
        timeout_s: float = 60,
        stdin: str | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SDNS, *arguments],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=env,
            check=False,
        )
