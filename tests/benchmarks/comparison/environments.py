"""Where do the other programs come from? From PyPI, as their lock files say, each into an environment of its own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1]
CHECKOUT = BENCHMARKS.parents[1]
CACHE = CHECKOUT / ".cache" / "benchmarks"


class Unavailable(Exception):
    """An environment could not be made; the message says why."""


def environment(name: str) -> Path:
    """The folder `bin` of the environment of requirements-NAME.lock; made unless it is there already."""
    lock = BENCHMARKS / f"requirements-{name}.lock"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    root = CACHE / name
    stamp = root / "lock.sha256"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making the environment of {name}", file=sys.stderr, flush=True)
        shutil.rmtree(root, ignore_errors=True)
        venv.create(root, with_pip=True)
        pip = [str(root / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{lock.name} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        stamp.write_text(wanted)
    return root / "bin"


def versions(name: str, *packages: str) -> str:
    """What is installed there, for the table."""
    code = "import importlib.metadata as m, sys; print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    python = str(CACHE / name / "bin" / "python")
    return subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True).stdout.strip()
