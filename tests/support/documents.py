"""Which commands do the documents show?"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/operation.md", "docs/events.md")
ENDLESS = "until Ctrl-C"
_FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_PROGRAM = re.compile(r"(ycsync|systemctl|journalctl|systemd-analyze|timedatectl|\./deploy/\w+|deploy/\w+)( |$)")
_PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b(?!=)|…")


def fenced() -> list[tuple[str, bool]]:
    """Each line of a block of commands, in their order, and whether it goes on until it is stopped."""
    found = []
    for name in DOCUMENTS:
        for block in _FENCE.findall((CHECKOUT / name).read_text()):
            for line in filter(None, (line.strip() for line in block.splitlines())):
                command, _, comment = line.partition(" #")
                found.append((command.strip(), ENDLESS in comment))
    return found


def inline() -> list[str]:
    """Each command in the middle of a text or in a table."""
    found = []
    for name in DOCUMENTS:
        text = _FENCE.sub("", (CHECKOUT / name).read_text())
        found += [" ".join(each.split()) for each in _INLINE.findall(text)]
    return [each for each in dict.fromkeys(found) if _PROGRAM.match(each)]


def has_placeholder(command: str) -> bool:
    """Is a word of it to be replaced by the reader?"""
    return any(_PLACEHOLDER.search(word) for word in shlex.split(command)[1:] if not word.startswith("YCSYNC_"))
