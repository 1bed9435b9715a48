"""How is a line given to journald with each of its values in a field of its own?

The native protocol of systemd (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram an entry, `KEY=value` lines, and a value of
more than one line with its length before it.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

SOCKET: Final = Path("/run/systemd/journal/socket")
_NO_FIELD: Final = re.compile(r"[^A-Z0-9_]")
_LONGEST_FIELD: Final = 64


def field(key: str) -> str:
    """The field's name for a key of ours: `duration_s` is YCSYNC_DURATION_S."""
    return f"YCSYNC_{_NO_FIELD.sub('_', key.upper())}"[:_LONGEST_FIELD]


def encoded(fields: Mapping[str, str]) -> bytes:
    """One entry as journald reads it."""
    parts = []
    for name, value in fields.items():
        data = value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


class Journal:
    """journald's socket, opened when the first entry is sent."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, fields: Mapping[str, str]) -> bool:
        """Give journald one entry; False when it does not take it: then it must be said in another way."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            self._socket.sendto(encoded(fields), str(self._path))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None
