"""Where does a throw-away PostgreSQL lie? In memory, if there is room: a database is made there in an eighth of the time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 4_000_000_000  # bytes: several servers, each with its log


def server_folder() -> Path:
    """A new folder for a server; a short path, since that of its socket must be short."""
    return Path(tempfile.mkdtemp(prefix="ycsync-test-", dir=MEMORY if _has_room() else None))


def _has_room() -> bool:
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return False
    return os.access(MEMORY, os.W_OK | os.X_OK) and found.f_bavail * found.f_frsize >= ROOM
